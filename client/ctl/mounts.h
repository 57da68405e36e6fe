/* The mounts of this process's namespace, from /proc/self/mountinfo. Nothing
 * here touches a mounted filesystem, so that one that hangs does no harm. */
#ifndef PH_CLIENT_CTL_MOUNTS_H
#define PH_CLIENT_CTL_MOUNTS_H

#include <glib.h>
#include <stdbool.h>

struct ph_mount_entry {
    char *path, *type, *source;
};

#define PH_MOUNT_TYPE "fuse.pohmelfs"

/* All mounts (struct ph_mount_entry) in the order in which they were made;
 * free with g_ptr_array_unref. NULL with ERROR. */
GPtrArray *ph_mounts_read(GError **error);

/* The same from TEXT, which is what mountinfo holds; lines not understood are left out. */
GPtrArray *ph_mounts_parse(const char *text);

/* The uppermost mount at exactly PATH, or NULL. */
const struct ph_mount_entry *ph_mounts_at(GPtrArray *mounts, const char *path);

/* A mount at PATH or below it, or NULL. */
const struct ph_mount_entry *ph_mounts_below(GPtrArray *mounts, const char *path);

/* Whether ENTRY is one of ours. */
bool ph_mount_is_pohmel(const struct ph_mount_entry *entry);

#endif
