/* Another name of files that have several: the one by which each was known before the last. Where that is
 * taken away, this one leads to the file, also after a restart. A few thousand, newer ones push out older
 * ones; what is kept may be out of date. Not thread-safe; libc only. */
#ifndef PH_SERVER_STORE_OTHER_NAMES_H
#define PH_SERVER_STORE_OTHER_NAMES_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/base/limits.h"

struct ph_other_names;

/* The caller owns it; a process without memory ends. */
struct ph_other_names *ph_other_names_new(void);
void ph_other_names_free(struct ph_other_names *others);

/* OBJECT is called NAME below PARENT as well. */
void ph_other_names_put(struct ph_other_names *others, uint64_t object, uint64_t parent, const char *name);

/* False where none is kept. Else its directory, and the name. */
bool ph_other_names_find(const struct ph_other_names *others, uint64_t object, uint64_t *parent,
                         char name[PH_NAME_MAX_BYTES + 1]);

#endif
