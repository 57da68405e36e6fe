/* The place where a mount goes, looked at from outside: never through the mount itself. */
#ifndef PH_CLIENT_FUSE_MOUNT_POINT_H
#define PH_CLIENT_FUSE_MOUNT_POINT_H

#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

/* Checks that something can be mounted on PATH: it is a directory without a
 * Pohmel mount on it, and there are /dev/fuse and, for an ordinary user,
 * fusermount3. Returns its absolute path without links, or NULL with ERROR. */
char *ph_mount_point_check(const char *path, bool root, GError **error);

/* Finds the topmost mount on PATH in TABLE, which has the form of
 * /proc/self/mountinfo: its device and type. FALSE when there is none. */
gboolean ph_mount_point_find(const char *table, const char *path, unsigned *device_major,
                             unsigned *device_minor, char **type);

/* Device number of the topmost mount on PATH now, 0 when there is none. */
dev_t ph_mount_point_device(const char *path);

/* Has the kernel read far ahead of sequential readers of the mount on PATH.
 * Does nothing where that is not allowed. */
void ph_mount_point_set_read_ahead(const char *path);

/* Takes the mount on PATH away, LAZY also while it is in use. Whether it is gone from there. */
bool ph_mount_point_unmount(const char *path, bool lazy);

#endif
