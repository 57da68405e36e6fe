#include "server/store/tests/starve_here.h"

#include <errno.h>
#include <glib.h>
#include <stdatomic.h>
#include <stdlib.h>

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__

bool starve_possible(void)
{
    g_test_skip("the sanitizer has an allocator of its own");
    return false;
}

void starve_begin(long number)
{
}

bool starve_end(void)
{
    return false;
}

#else

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);

static atomic_bool counts;
static atomic_long left;

static bool starves(void)
{
    if (!atomic_load_explicit(&counts, memory_order_relaxed) || atomic_fetch_sub(&left, 1) != 0)
        return false;
    errno = ENOMEM;
    return true;
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

bool starve_possible(void)
{
    return true;
}

void starve_begin(long number)
{
    atomic_store(&left, number);
    atomic_store(&counts, true);
}

bool starve_end(void)
{
    atomic_store(&counts, false);
    return atomic_load(&left) < 0;
}

#endif
