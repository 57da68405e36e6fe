/* Asking a mount for something: client/control.h with errors in words. */
#ifndef PH_CLIENT_CTL_CALL_H
#define PH_CLIENT_CTL_CALL_H

#include <glib.h>
#include <stdbool.h>

#include "client/control.h"

#define PH_CALL_ERROR ph_call_error_quark()

/* Errors of these functions; their codes are errno values. */
GQuark ph_call_error_quark(void);

/* Opens PATH to ask through it. -1 with ERROR. */
int ph_call_open(const char *path, GError **error);

/* Opens something on the mount of PATH to ask about PATH, without opening that if it is no directory, and
 * tells the object that it is in *OBJECT. -1 with ERROR, also where that is not on a Pohmel mount. */
int ph_call_open_about(const char *path, uint64_t *object, GError **error);

/* Whether FD (named PATH in words) is on a Pohmel mount; else ERROR with code ENOTTY. */
bool ph_call_is_pohmel(int fd, const char *path, GError **error);

/* Sends the request NUMBER with CONTROL, whose members ERROR and TEXT say what
 * came of it. FALSE with ERROR (for a person, naming PATH) when it was not done. */
bool ph_call_flush(int fd, const char *path, struct ph_ioc_flush *control, GError **error);
bool ph_call_mkpath(int fd, const char *path, struct ph_ioc_mkpath *control, GError **error);
bool ph_call_rmtree(int fd, const char *path, struct ph_ioc_rmtree *control, GError **error);
bool ph_call_leases(int fd, const char *path, struct ph_ioc_leases *control, GError **error);
bool ph_call_state(int fd, const char *path, struct ph_ioc_state *control, GError **error);
bool ph_call_status(int fd, const char *path, struct ph_ioc_status *control, GError **error);

#endif
