/* A filesystem as the watch sees it: how its events tell which file they are of. */
#ifndef PH_SERVER_WATCH_VOLUME_H
#define PH_SERVER_WATCH_VOLUME_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One mount, from /proc/self/mountinfo. */
struct ph_mount {
    char *point, *type;
    unsigned id;
};

/* The mounts of this process, in the order of their making (the last one on a
 * point is the one that shows). TEXT is the content of mountinfo. To be freed with g_ptr_array_unref. */
GPtrArray *ph_mounts_parse(const char *text);

/* A filesystem; one for several mounts of it. */
struct ph_volume;

/* The filesystem of MOUNT, looked at through PATH, which lies on it. NULL: changes in it
 * cannot be told for sure; *WHY says so in words (static text). */
struct ph_volume *ph_volume_new(const struct ph_mount *mount, const char *path, const char **why);
void ph_volume_free(struct ph_volume *volume); /* NULL is fine */

/* Whether both are the same filesystem. */
bool ph_volume_same(const struct ph_volume *volume, const struct ph_volume *other);

/* A file in an event: the filesystem's id and a handle, as the kernel wrote them. */
struct ph_file_id {
    int32_t fsid[2];
    int32_t handle_type;
    uint32_t handle_bytes;
    const uint8_t *handle;
};

/* Whether FILE may lie in VOLUME. */
bool ph_volume_has(const struct ph_volume *volume, const struct ph_file_id *file);

/* Finds out device (as of makedev) and inode number of FILE. False: it is gone already. */
bool ph_volume_identify(const struct ph_volume *volume, const struct ph_file_id *file, uint64_t *dev,
                        uint64_t *ino);

#endif
