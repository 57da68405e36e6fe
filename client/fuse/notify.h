/* Telling the kernel that pages of a file are not what the file holds. From a thread of
 * its own: such a notification may block until requests are answered. */
#ifndef PH_CLIENT_FUSE_NOTIFY_H
#define PH_CLIENT_FUSE_NOTIFY_H

#include "client/fuse/mount.h"

/* Starts the thread, which writes to the kernel of SESSION. Never NULL. */
struct ph_notifier *ph_notifier_new(struct fuse_session *session);

/* Ends the thread; what is still queued is dropped. NULL is fine. */
void ph_notifier_free(struct ph_notifier *notifier);

/* Drops what the kernel keeps of LEN bytes at OFFSET of OBJECT (LEN 0: to the end). */
void ph_notifier_drop_range(struct ph_notifier *notifier, uint64_t object, uint64_t offset, uint64_t len);

/* Drops all that the kernel keeps of OBJECT's data and attributes, then calls THEN(DATA), once, from
 * the notifier's thread (also when the notifier ends before it comes to it). */
void ph_notifier_drop_then(struct ph_notifier *notifier, uint64_t object, void (*then)(void *data),
                           void *data);

#endif
