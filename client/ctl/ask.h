/* Asking mounts for their status without being held up by one that lets nobody in. */
#ifndef PH_CLIENT_CTL_ASK_H
#define PH_CLIENT_CTL_ASK_H

#include <glib.h>

/* The status of the mount at PATH as "key: value" lines appended to TEXT, the daemon's process first. FALSE
 * with ERROR (PH_CALL_ERROR); with code ETIMEDOUT when there was no answer within some seconds. */
gboolean ctl_ask_status(const char *path, GString *text, GError **error);

#endif
