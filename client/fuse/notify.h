/* Telling the kernel that what it keeps is not to be used any more. Which of these
 * may block until requests are answered is said with each. */
#ifndef PH_CLIENT_FUSE_NOTIFY_H
#define PH_CLIENT_FUSE_NOTIFY_H

#include <stdint.h>

#include "client/fuse/mount.h"
#include "client/fuse/workers.h"

/* Through SESSION; what may block runs on WORKERS. Never NULL. */
struct ph_notifier *ph_notifier_new(struct fuse_session *session, struct ph_workers *workers);

/* Work that was handed out must be done. NULL is fine. */
void ph_notifier_free(struct ph_notifier *notifier);

/* All names, absent ones too, and listings of the mount are to be asked for again. Does not block. */
void ph_notify_epoch(struct ph_notifier *notifier);

/* The attributes and access lists of OBJECT. Does not block. 0, or a negative errno: -ENOENT where the kernel
 * does not know the object, or has not read yet the answer that tells of it. */
int ph_notify_attr(struct ph_notifier *notifier, uint64_t object);

/* The same, and LEN bytes of its data at OFFSET (LEN 0: to the end), or the listing of a directory. For
 * files blocks while reads of these pages and incomplete writes to them are not answered. */
int ph_notify_data(struct ph_notifier *notifier, uint64_t object, uint64_t offset, uint64_t len);

/* Drops what the kernel keeps of LEN bytes at OFFSET of OBJECT (LEN 0: to the end), soon. */
void ph_notifier_drop_range(struct ph_notifier *notifier, uint64_t object, uint64_t offset, uint64_t len);

/* The same, then calls THEN(DATA), once, from another thread. */
void ph_notifier_drop_range_then(struct ph_notifier *notifier, uint64_t object, uint64_t offset, uint64_t len,
                                 void (*then)(void *data), void *data);

/* Drops all that the kernel keeps of OBJECT's data and attributes, then calls THEN(DATA), once, from
 * another thread. */
void ph_notifier_drop_then(struct ph_notifier *notifier, uint64_t object, void (*then)(void *data),
                           void *data);

#endif
