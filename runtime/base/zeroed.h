/* Memory that is zero, for what is made and freed with each request: calloc of the C library (glibc before
 * 2.41) goes past the lists of free memory that each thread has, fills them by what is freed, and takes five
 * times as long. */
#ifndef PH_RUNTIME_BASE_ZEROED_H
#define PH_RUNTIME_BASE_ZEROED_H

#include <stdlib.h>
#include <string.h>

/* SIZE bytes, zeroed, to be freed with free. Never NULL: the process ends where there is no memory. */
static inline void *ph_zeroed(size_t size)
{
    void *memory = malloc(size);
    if (memory == NULL)
        abort();
    __asm__("" : "+r"(memory)); /* or the compiler makes a calloc of both */
    return memset(memory, 0, size);
}

#endif
