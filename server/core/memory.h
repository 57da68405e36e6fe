/* Memory of the server core. What a peer can make the core hold is bounded by
 * the limits of its session, so that running out is a fault of the machine:
 * the program ends then, as GLib's allocator would. */
#ifndef PH_SERVER_CORE_MEMORY_H
#define PH_SERVER_CORE_MEMORY_H

#include <stdlib.h>

/* SIZE bytes, cleared; never NULL. Freed with free(). */
static inline void *ph_core_new0(size_t size)
{
    void *memory = calloc(1, size);

    if (memory == NULL)
        abort();
    return memory;
}

/* A cleared T. */
#define PH_CORE_NEW(T) ((T *) ph_core_new0(sizeof(T)))

#endif
