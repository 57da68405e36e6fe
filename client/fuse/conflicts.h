/* Where changes go that could not be written back: files below one directory of this machine, and a line for
 * each in its index. docs/decisions/0014-the-client-survives.md. Any thread. */
#ifndef PH_CLIENT_FUSE_CONFLICTS_H
#define PH_CLIENT_FUSE_CONFLICTS_H

#include <glib.h>
#include <stdint.h>

#include "runtime/base/blob.h"

struct ph_conflicts;

#define PH_CONFLICTS_INDEX "index"

/* Below DIRECTORY, which is made when it is needed; NULL: where such things belong, by MOUNT_POINT. Never
 * NULL. */
struct ph_conflicts *ph_conflicts_new(const char *directory, const char *mount_point);

/* NULL is fine. */
void ph_conflicts_free(struct ph_conflicts *conflicts);

/* Bytes of OBJECT (DATA, at OFFSET) that were lost; they are kept with those of the same object, until
 * ph_conflicts_enter. PATH: where it was in the mount, "" for not known. */
void ph_conflicts_data(struct ph_conflicts *conflicts, uint64_t object, const char *path, uint64_t offset,
                       const struct ph_blob *data);

/* A change of OBJECT was lost: WHAT was to be done, and WHY it was not. What was kept of its data belongs to
 * it. Returns the name of the file with the data below the directory, to be freed with g_free; NULL where
 * there is none. */
char *ph_conflicts_enter(struct ph_conflicts *conflicts, uint64_t object, const char *path, const char *what,
                         const char *why);

/* Lines of "pohmelctl status". */
void ph_conflicts_status(struct ph_conflicts *conflicts, GString *out);

#endif
