/* The commands of pohmelctl. Each takes its arguments, its own name first, and
 * returns the exit code; errors were printed. */
#ifndef PH_CLIENT_CTL_COMMANDS_H
#define PH_CLIENT_CTL_COMMANDS_H

#include <glib.h>

enum { CTL_OK = 0, CTL_FAILED = 1, CTL_USAGE = 2 };

/* Arguments begin with the name of the command; see pohmelctl(1) for what each does. */
int ctl_mkpath(int argc, char **argv);
int ctl_rmtree(int argc, char **argv);
int ctl_flush(int argc, char **argv);
int ctl_status(int argc, char **argv);
int ctl_top(int argc, char **argv);
int ctl_leases(int argc, char **argv);
int ctl_conflicts(int argc, char **argv);
int ctl_state(int argc, char **argv);
int ctl_txn(int argc, char **argv);

/* Prints "pohmelctl: ..." as one line on stderr. Returns CTL_FAILED. */
int ctl_complain(const char *format, ...) G_GNUC_PRINTF(1, 2);

/* Prints how the command (or, NULL, the program) is used. Returns CTL_USAGE. */
int ctl_usage(const char *command);

/* Has the server whose state directory (or control socket) is PATH do COMMAND, and prints what it says.
 * Returns the exit code. */
int ctl_ask_server(const char *path, const char *command);

/* Makes PATH and all that are missing above it with the permission bits MODE,
 * MADE being raised by the number of directories made. FALSE with ERROR. */
gboolean ctl_make_path(const char *path, guint32 mode, guint *made, GError **error);

/* Removes PATH and everything below it. FALSE with ERROR; with code ENOENT when it was not there. */
gboolean ctl_remove_tree(const char *path, guint64 *removed, GError **error);

#endif
