/* Loaded before the C library (LD_PRELOAD) of a program under test: the allocation with the number STARVE_AT,
 * counted from its start, is told that there is no memory. */
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);
void *malloc(size_t size);
void *calloc(size_t count, size_t size);
void *realloc(void *memory, size_t size);

static atomic_long left = -1;

__attribute__((constructor)) static void begin(void)
{
    const char *at = getenv("STARVE_AT");
    if (at != NULL)
        atomic_store(&left, strtol(at, NULL, 10));
}

/* It is this one's turn. */
static int starves(void)
{
    if (atomic_load_explicit(&left, memory_order_relaxed) < 0)
        return 0;
    if (atomic_fetch_sub(&left, 1) != 0)
        return 0;
    errno = ENOMEM;
    return 1;
}

void *malloc(size_t size)
{
    return starves() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return starves() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size)
{
    return starves() ? NULL : __libc_realloc(memory, size);
}
