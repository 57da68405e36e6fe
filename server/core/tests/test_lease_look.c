/* What people see of the leases, and what is asked back for them. */
#include "server/core/lease_look.h"

#include <string.h>

#include "server/core/tests/lease_world.h"

enum { MANY = 5000, FIRST = 1000 };

/* One part of a sweep after the other, up to its end. */
static struct ph_lease_sweep sweep_all(struct world *world, uint64_t newest)
{
    struct ph_lease_sweep sweep = {0};

    while (!sweep.cursor.end) {
        size_t looks = 7;

        ph_leases_sweep(world->leases, 0, newest, &sweep, &looks);
    }
    return sweep;
}

static void test_all_are_shown(void)
{
    struct world world;
    struct ph_table_cursor cursor = {0};
    g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
    struct ph_lease_view view;
    uint8_t client[PH_LEASE_CLIENT_BYTES] = {9};
    struct ph_lease_session *elsewhere;
    unsigned more = FIRST + MANY;

    set_up(&world);
    elsewhere = ph_lease_session_new(world.leases, 1, client, &world, "elsewhere");
    for (unsigned i = 0; i < MANY; i++)
        g_assert_cmpuint(grant(&world, world.one, FIRST + i), !=, 0);
    grant(&world, elsewhere, FILE_A);
    while (!cursor.end) {
        size_t looks = 100;

        while (ph_leases_scan(world.leases, 0, &cursor, &looks, &view)) {
            g_assert_cmpstr(view.who, ==, "host");
            g_hash_table_add(seen, GUINT_TO_POINTER(view.object));
        }
        for (unsigned i = 0; i < 50 && more < FIRST + 4 * MANY; i++)
            grant(&world, world.two, more++); /* the tables grow */
    }
    for (unsigned i = 0; i < MANY; i++)
        g_assert_true(g_hash_table_contains(seen, GUINT_TO_POINTER(FIRST + i)));
    g_assert_false(g_hash_table_contains(seen, GUINT_TO_POINTER(FILE_A)));
    tear_down(&world);
}

static void test_recalled_and_left(void)
{
    struct world world;
    struct ph_table_cursor cursor = {0};
    struct ph_lease_claim change;
    struct ph_lease_left left = {0};
    struct ph_lease_view view;
    size_t looks = SIZE_MAX;

    set_up(&world);
    grant(&world, world.one, FILE_A);
    g_assert_false(claim(&world, &change, world.two, FILE_A, true));
    ph_leases_tick(world.leases, 1700);
    g_assert_true(ph_leases_scan(world.leases, 0, &cursor, &looks, &view));
    g_assert_true(view.recalled);
    g_assert_cmpuint(view.recalled_ms, ==, 700);
    g_assert_false(view.lost);
    g_assert_false(ph_leases_scan(world.leases, 0, &cursor, &looks, &view));

    ph_lease_session_lost(world.leases, world.one, false);
    ph_leases_tick(world.leases, 2000);
    cursor = (struct ph_table_cursor){0};
    g_assert_true(ph_leases_scan(world.leases, 0, &cursor, &looks, &view));
    g_assert_true(view.lost);
    g_assert_cmpuint(ph_leases_left(world.leases, 0, &left, 1), ==, 1);
    g_assert_cmpuint(left.leases, ==, 1);
    g_assert_cmpuint(left.lost_ms, ==, 300);
    g_assert_cmpuint(ph_leases_left(world.leases, 1, &left, 1), ==, 0);
    ph_leases_claim_end(world.leases, &change);
    tear_down(&world);
}

static void test_a_sweep_asks_for_what_is_exclusive(void)
{
    struct world world;
    struct ph_lease_sweep sweep;
    uint64_t id, newest;

    set_up(&world);
    grant(&world, world.one, DIRECTORY);
    id = acquire(&world, world.one, FILE_A, PH_LEASE_EXCLUSIVE);
    newest = ph_leases_newest(world.leases, 0);
    acquire(&world, world.two, FILE_B, PH_LEASE_EXCLUSIVE); /* later than the wish */
    sweep = sweep_all(&world, newest);
    g_assert_cmpuint(sweep.waiting, ==, 1);
    assert_recalls(&world, 1);
    g_assert_cmpuint(recalled(&world, 0)->lease, ==, id);
    g_assert_cmpint(recalled(&world, 0)->keep, ==, PH_LEASE_SHARED);

    /* Asking again asks nobody twice, and it is over when the holder has answered. */
    g_assert_cmpuint(sweep_all(&world, newest).waiting, ==, 1);
    assert_recalls(&world, 1);
    g_assert_true(ph_leases_keep_shared(world.leases, world.one, id));
    g_assert_cmpuint(sweep_all(&world, newest).waiting, ==, 0);
    g_assert_cmpuint(ph_lease_session_count(world.one), ==, 2);
    tear_down(&world);
}

static void test_a_sweep_does_not_ask_for_all_at_once(void)
{
    struct world world;
    unsigned rounds = 0;
    uint64_t newest;

    set_up(&world);
    for (unsigned i = 0; i < MANY; i++)
        acquire(&world, world.one, FIRST + i, PH_LEASE_EXCLUSIVE);
    newest = ph_leases_newest(world.leases, 0);
    for (guint answered = 0; sweep_all(&world, newest).waiting > 0; rounds++) {
        g_assert_cmpuint(ph_lease_session_recalled(world.one), <=, PH_RECALLS_AT_ONCE);
        g_assert_cmpuint(world.recalls->len, >, answered);
        for (; answered < world.recalls->len; answered++)
            g_assert_true(ph_leases_keep_shared(world.leases, world.one, recalled(&world, answered)->lease));
    }
    g_assert_cmpuint(rounds, ==, (MANY + PH_RECALLS_AT_ONCE - 1) / PH_RECALLS_AT_ONCE);
    g_assert_false(ph_leases_exclusive(world.leases));
    tear_down(&world);
}

static void test_a_sweep_waits_for_nobody_who_is_gone(void)
{
    struct world world;
    struct ph_lease_sweep sweep;

    set_up(&world);
    acquire(&world, world.one, FILE_A, PH_LEASE_EXCLUSIVE);
    ph_lease_session_lost(world.leases, world.one, false);
    sweep = sweep_all(&world, ph_leases_newest(world.leases, 0));
    g_assert_cmpuint(sweep.waiting, ==, 0);
    g_assert_cmpuint(sweep.lost, ==, 1);
    assert_recalls(&world, 0);
    tear_down(&world);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/server/lease/look/all leases of an export are shown, while more come",
                    test_all_are_shown);
    g_test_add_func("/server/lease/look/what is recalled, and who left leases behind",
                    test_recalled_and_left);
    g_test_add_func("/server/lease/look/a sweep asks for what is exclusive, and waits for that",
                    test_a_sweep_asks_for_what_is_exclusive);
    g_test_add_func("/server/lease/look/a sweep does not ask a client for all at once",
                    test_a_sweep_does_not_ask_for_all_at_once);
    g_test_add_func("/server/lease/look/a sweep waits for nobody who is gone",
                    test_a_sweep_waits_for_nobody_who_is_gone);
    return g_test_run();
}
