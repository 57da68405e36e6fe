/* Directories that are known to be removed, while the kernel has them: somebody's working directory, or open.
 * A server that was started anew does not know them any more; here they are empty directories without a name,
 * as on a local disk. Thread safe. docs/decisions/0021-files-without-a-name.md. */
#ifndef PH_CLIENT_FUSE_GONE_DIRS_H
#define PH_CLIENT_FUSE_GONE_DIRS_H

#include "client/core/cache.h"

struct ph_gone_dirs;

/* None. Never NULL. */
struct ph_gone_dirs *ph_gone_dirs_new(void);

/* NULL is fine. */
void ph_gone_dirs_free(struct ph_gone_dirs *dirs);

/* ATTR, as it was last, is of a directory that has no name any more; of anything else it is ignored. */
void ph_gone_dirs_add(struct ph_gone_dirs *dirs, const struct ph_cached_attr *attr);

/* Whether OBJECT is one; *ATTR (may be NULL) is what to tell of it. */
bool ph_gone_dirs_find(struct ph_gone_dirs *dirs, uint64_t object, struct ph_cached_attr *attr);

/* The kernel has forgotten OBJECT. */
void ph_gone_dirs_forget(struct ph_gone_dirs *dirs, uint64_t object);

#endif
