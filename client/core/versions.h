/* Which version each file had when it was last opened: whether what the kernel
 * keeps of its data may stay. Bounded; the least recently opened is forgotten
 * first. Pure; not thread safe. */
#ifndef PH_CLIENT_CORE_VERSIONS_H
#define PH_CLIENT_CORE_VERSIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ph_versions;

/* Remembers CAPACITY objects at most (1 or more). Never NULL. */
struct ph_versions *ph_versions_new(size_t capacity);

/* NULL is fine. */
void ph_versions_free(struct ph_versions *versions);

/* Whether OBJECT is remembered with VERSION; from now on it is. Version 0 means
 * that the server does not know, and is never the same. */
bool ph_versions_same(struct ph_versions *versions, uint64_t object, uint64_t version);

/* OBJECT is not remembered any more. */
void ph_versions_forget(struct ph_versions *versions, uint64_t object);

/* Number of objects remembered. */
size_t ph_versions_count(const struct ph_versions *versions);

#endif
