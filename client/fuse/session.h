/* A mount from beginning to end: the kernel's side of it, the threads that serve it. */
#ifndef PH_CLIENT_FUSE_SESSION_H
#define PH_CLIENT_FUSE_SESSION_H

#include <glib.h>

#include "client/fuse/mount.h"

struct ph_session;

/* Mounts on PLACE with the kernel options KERNEL what LINK leads to, and starts to
 * serve. When it returns, the kernel's INIT is answered or will be at once. NULL
 * with ERROR, one line. LINK, COHERENCE and WRITEBACK (NULL: changes go through) stay the
 * caller's; SIGUSR1 is used to wake threads. */
struct ph_session *ph_session_start(struct ph_link *link, struct ph_coherence *coherence,
                                    struct ph_writeback *writeback, const char *place, const char *kernel,
                                    GError **error);

/* A descriptor that becomes readable when the mount was taken away. */
int ph_session_ended_fd(const struct ph_session *session);

/* The mount's /dev/fuse; of the session. */
int ph_session_device(const struct ph_session *session);

/* Takes the mount away if it is still there. Programs that use it have a few seconds to
 * finish. All requests are answered when it returns. */
void ph_session_stop(struct ph_session *session);

/* Frees what ph_session_stop left; after ph_link_shutdown. False: threads are stuck in the kernel; the
 * process is to end without freeing what they use, the link among it. */
bool ph_session_free(struct ph_session *session);

#endif
