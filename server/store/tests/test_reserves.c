/* Space that is promised to sessions. */
#include <glib.h>

#include "server/store/reserves.h"

enum { A = 1, B = 2, C = 3 };

static void test_need_is_met(void)
{
    struct ph_reserves reserves = {0};
    g_assert_cmpuint(ph_reserves_set(&reserves, A, 60, 0, 100), ==, 60);
    g_assert_cmpuint(ph_reserves_of_others(&reserves, B), ==, 60);
    g_assert_cmpuint(ph_reserves_of_others(&reserves, A), ==, 0);
    g_assert_cmpuint(ph_reserves_set(&reserves, B, 60, 0, 100), ==, 40);
    g_assert_cmpuint(reserves.total, ==, 100);
    ph_reserves_clear(&reserves);
}

/* What one wants ahead of need leaves as much for others. */
static void test_more_is_shared(void)
{
    struct ph_reserves reserves = {0};
    g_assert_cmpuint(ph_reserves_set(&reserves, A, 20, 1000, 100), ==, 40);
    g_assert_cmpuint(ph_reserves_set(&reserves, B, 0, 1000, 100), ==, 15);
    g_assert_cmpuint(ph_reserves_set(&reserves, C, 0, 8, 100), ==, 8);
    ph_reserves_clear(&reserves);
}

static void test_what_was_promised_stays(void)
{
    struct ph_reserves reserves = {0};
    ph_reserves_set(&reserves, A, 0, 40, 1000);
    /* Others, or somebody behind the server's back, filled the disk. */
    g_assert_cmpuint(ph_reserves_set(&reserves, A, 10, 100, 50), ==, 40);
    g_assert_cmpuint(ph_reserves_set(&reserves, A, 10, 10, 50), ==, 20);
    g_assert_cmpuint(ph_reserves_set(&reserves, A, 0, 0, 50), ==, 0);
    g_assert_cmpuint(reserves.count, ==, 0);
    ph_reserves_clear(&reserves);
}

static void test_use(void)
{
    struct ph_reserves reserves = {0};
    ph_reserves_set(&reserves, A, 30, 0, 100);
    g_assert_cmpuint(ph_reserves_use(&reserves, A, 20), ==, 0);
    g_assert_cmpuint(ph_reserves_of_others(&reserves, B), ==, 10);
    g_assert_cmpuint(ph_reserves_use(&reserves, A, 25), ==, 15);
    g_assert_cmpuint(ph_reserves_use(&reserves, B, 25), ==, 25);
    g_assert_cmpuint(reserves.total, ==, 0);
    ph_reserves_clear(&reserves);
}

static void test_end(void)
{
    struct ph_reserves reserves = {0};
    for (uint64_t session = 1; session <= 20; session++)
        ph_reserves_set(&reserves, session, session, 0, 1000);
    g_assert_cmpuint(reserves.total, ==, 210);
    ph_reserves_end(&reserves, 7);
    ph_reserves_end(&reserves, 7);
    ph_reserves_end(&reserves, 99);
    g_assert_cmpuint(reserves.total, ==, 203);
    g_assert_cmpuint(ph_reserves_of_others(&reserves, 20), ==, 183);
    ph_reserves_clear(&reserves);
}

static void test_numbers_do_not_run_over(void)
{
    struct ph_reserves reserves = {0};
    g_assert_cmpuint(ph_reserves_set(&reserves, A, UINT64_MAX, UINT64_MAX, 100), ==, 100);
    g_assert_cmpuint(ph_reserves_set(&reserves, B, 5, UINT64_MAX, 100), ==, 0);
    g_assert_cmpuint(ph_reserves_set(&reserves, B, 5, UINT64_MAX, 40), ==, 0);
    ph_reserves_end(&reserves, A);
    g_assert_cmpuint(ph_reserves_set(&reserves, B, 0, UINT64_MAX, 100), ==, 25);
    ph_reserves_clear(&reserves);
}

/* At random: as long as only what is promised is used, no promise is broken. */
static void test_promises_are_kept(void)
{
    struct ph_reserves reserves = {0};
    uint64_t available = 1000000, promised[8] = {0};
    for (int i = 0; i < 100000; i++) {
        uint64_t session = (uint64_t) g_test_rand_int_range(0, 8);
        uint64_t bytes = (uint64_t) g_test_rand_int_range(0, 1000);
        if (g_test_rand_int_range(0, 3) == 0) {
            promised[session] = ph_reserves_set(&reserves, session, MIN(bytes, promised[session]),
                                                (uint64_t) g_test_rand_int_range(0, 100000), available);
        } else {
            bytes = MIN(bytes, promised[session]);
            g_assert_cmpuint(ph_reserves_use(&reserves, session, bytes), ==, 0);
            promised[session] -= bytes;
            available -= bytes;
        }
        if (g_test_rand_int_range(0, 50) == 0)
            available += (uint64_t) g_test_rand_int_range(0, 20000); /* something was removed */
        g_assert_cmpuint(reserves.total, <=, available);
    }
    ph_reserves_clear(&reserves);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/store/reserves/need is met as far as there is space", test_need_is_met);
    g_test_add_func("/store/reserves/more is shared", test_more_is_shared);
    g_test_add_func("/store/reserves/what was promised stays", test_what_was_promised_stays);
    g_test_add_func("/store/reserves/use counts it down", test_use);
    g_test_add_func("/store/reserves/a session that ends has none", test_end);
    g_test_add_func("/store/reserves/numbers do not run over", test_numbers_do_not_run_over);
    g_test_add_func("/store/reserves/no promise is broken", test_promises_are_kept);
    return g_test_run();
}
