/* What umount(8) asks its helper for, and the unmount itself. */
#ifndef PH_CLIENT_UMOUNT_UMOUNT_H
#define PH_CLIENT_UMOUNT_UMOUNT_H

#include <glib.h>
#include <sys/types.h>

/* Exit codes of umount(8). */
enum { UMOUNT_OK = 0, UMOUNT_USAGE = 1, UMOUNT_FAILED = 32 };

struct umount_options {
    const char *mount_point;
    const char *mount_namespace; /* -N: a process or a file; NULL for ours */
    gboolean verbose, lazy, force, read_only_instead;
};

/* Reads the command line; FALSE with ERROR when it is wrong. */
gboolean umount_parse(int argc, char **argv, struct umount_options *options, GError **error);

/* Prints "umount.fuse.pohmelfs: ..." as one line on stderr. */
void umount_say(const char *format, ...) G_GNUC_PRINTF(1, 2);

/* Takes the mount at PATH away. 0 or an errno; words were printed by whoever failed. */
int umount_detach(const char *path, const struct umount_options *options);

/* Waits until the process DAEMON has ended, TIMEOUT_MS at most. FALSE when it has not. */
gboolean umount_wait_for(pid_t daemon, guint timeout_ms);

#endif
