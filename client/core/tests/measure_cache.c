/* Memory and time of a full cache: a million objects in a thousand directories, each with its name. */
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "client/core/cache.h"

enum { DIRECTORIES = 1000, FILES = 1000, BYTES_MAX = 600 * 1000 * 1000 };

static size_t resident_bytes(void)
{
    g_autofree char *text = NULL;
    g_assert_true(g_file_get_contents("/proc/self/statm", &text, NULL, NULL));
    char *end = NULL;
    strtoull(text, &end, 10);
    return strtoull(end, NULL, 10) * 4096;
}

static void learn(struct ph_cache *cache, uint64_t object, uint32_t mode)
{
    struct ph_cache_ask ask = ph_cache_ask(cache, 0);
    struct ph_cached_attr out;
    Pohmel__Attr attr = POHMEL__ATTR__INIT;
    attr.object = object;
    attr.mode = mode;
    attr.version = attr.lease = object;
    attr.lease_mode = POHMEL__LEASE_MODE__MODE_SHARED;
    ph_cache_learn(cache, &ask, &attr, 0, &out);
}

static void fill(struct ph_cache *cache)
{
    for (uint64_t i = 0; i < DIRECTORIES; i++) {
        uint64_t directory = 1 + i * (FILES + 1);
        learn(cache, directory, S_IFDIR);
        for (uint64_t j = 1; j <= FILES; j++) {
            char name[32];
            int len = snprintf(name, sizeof(name), "some-file-%06u.c", (unsigned) j);
            struct ph_cache_ask ask = ph_cache_ask(cache, 0);
            learn(cache, directory + j, S_IFREG);
            ph_cache_learn_entry(cache, &ask, directory, directory, name, (size_t) len, directory + j, 0);
            ph_cache_kernel_add(cache, directory + j, 1);
        }
    }
}

int main(void)
{
    size_t before = resident_bytes();
    gint64 begun_us = g_get_monotonic_time();
    struct ph_cache *cache = ph_cache_new(2000000, 2000000);
    ph_cache_session(cache, 1, PH_LEASE_TTL_MS, true, true);
    fill(cache);
    gint64 filled_us = g_get_monotonic_time();
    size_t bytes = resident_bytes() - before;
    struct ph_cache_counters counters;
    ph_cache_count(cache, &counters);
    gint64 lost_us = g_get_monotonic_time();
    ph_cache_lost(cache);
    lost_us = g_get_monotonic_time() - lost_us;
    printf("%lu objects, %lu entries: %zu MB, %zu bytes each; filled in %ld ms, forgotten in %ld ms\n",
           (unsigned long) counters.objects, (unsigned long) counters.entries, bytes / 1000000,
           bytes / (DIRECTORIES * FILES), (long) (filled_us - begun_us) / 1000, (long) lost_us / 1000);
    ph_cache_free(cache);
    return counters.entries == DIRECTORIES * FILES && bytes < BYTES_MAX ? 0 : 1;
}
