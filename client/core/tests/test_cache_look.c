/* Leases as people are shown them. */
#include <glib.h>

#include "client/core/cache_look.h"
#include "client/core/tests/cache_bench.h"

static void test_leases_are_shown_as_they_are(void)
{
    struct bench b;
    struct ph_cache_lease lease;
    set_up(&b);
    struct ph_cache_ask ask = ph_cache_ask(b.cache, 5000);
    learn(&b, ask, HOME, 1, 100);
    learn_mode(&b, ask, FILE_ID, 7, 101, EXCLUSIVE);
    learn(&b, ask, OTHER, 3, 0); /* without one */
    entry(&b, ask, 100, "a", FILE_ID);

    g_assert_false(ph_cache_lease_of(b.cache, OTHER, &lease));
    g_assert_true(ph_cache_lease_of(b.cache, HOME, &lease));
    g_assert_true(lease.is_directory);
    g_assert_cmpuint(lease.names, ==, 1);
    g_assert_cmpuint(lease.mode, ==, SHARED);
    g_assert_true(ph_cache_lease_of(b.cache, FILE_ID, &lease));
    g_assert_false(lease.is_directory);
    g_assert_cmpuint(lease.lease, ==, 101);
    g_assert_cmpuint(lease.mode, ==, EXCLUSIVE);
    g_assert_cmpuint(lease.learned_ms, ==, 5000);
    g_assert_cmpint(lease.state, ==, PH_CACHE_LEASE_HELD);

    ph_cache_reply_begin(b.cache, HOME);
    ph_cache_recall(b.cache, HOME, 100, 0);
    g_assert_true(ph_cache_lease_of(b.cache, HOME, &lease));
    g_assert_cmpint(lease.state, ==, PH_CACHE_LEASE_RECALLED);
    ph_cache_reply_end(b.cache, HOME);
    g_assert_true(ph_cache_lease_of(b.cache, HOME, &lease));
    g_assert_cmpint(lease.state, ==, PH_CACHE_LEASE_DROPPING);
    ph_cache_free(b.cache);
}

enum { LEASES = 1000000, AT_ONCE = 64 };

/* A million leases, some at a time; each once, as nothing changes meanwhile. */
static void test_a_million_in_parts(void)
{
    struct bench b;
    struct ph_lru_cursor cursor = {0};
    struct ph_cache_lease lease;
    uint64_t sum = 0, expected = 0, found = 0;
    set_up(&b);
    struct ph_cache_ask ask = ph_cache_ask(b.cache, 5000);
    for (uint64_t i = 1; i <= LEASES; i++) {
        learn(&b, ask, 1000 + i, 1, 1000 + i);
        expected += 1000 + i;
    }
    while (!cursor.end) {
        size_t looks = AT_ONCE;
        for (unsigned i = 0; i < AT_ONCE && ph_cache_scan(b.cache, &cursor, &looks, &lease); i++) {
            sum += lease.object;
            found++;
        }
    }
    g_assert_cmpuint(found, ==, LEASES);
    g_assert_cmpuint(sum, ==, expected);
    ph_cache_free(b.cache);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/client/cache look/leases are shown as they are", test_leases_are_shown_as_they_are);
    g_test_add_func("/client/cache look/a million leases come in parts, each once", test_a_million_in_parts);
    return g_test_run();
}
