/* The promises of the lease table, each by its name: what is granted, and who waits for whom. */
#include "server/core/tests/lease_world.h"

static void test_shared_by_many(void)
{
    struct world world;
    enum ph_lease_mode mode;
    uint64_t id;

    set_up(&world);
    id = grant(&world, world.one, FILE_A);
    g_assert_cmpuint(id, !=, 0);
    g_assert_cmpuint(grant(&world, world.two, FILE_A), !=, 0);
    /* What is held already is named again. */
    g_assert_cmpuint(
        ph_leases_grant(world.leases, world.one, NULL, FILE_A, ph_leases_clock(world.leases), &mode), ==, id);
    g_assert_cmpint(mode, ==, PH_LEASE_SHARED);
    g_assert_cmpuint(ph_leases_count(world.leases), ==, 2);
    tear_down(&world);
}

static void test_ids_are_never_used_twice(void)
{
    struct world world;
    uint64_t last = 0;

    set_up(&world);
    for (unsigned i = 0; i < 100; i++) {
        uint64_t id = grant(&world, world.one, FILE_A);

        g_assert_cmpuint(id, >, last);
        g_assert_cmpuint(id >> 40, ==, EPOCH);
        g_assert_true(ph_leases_release(world.leases, world.one, id));
        last = id;
    }
    tear_down(&world);
}

static void test_changed_since_it_was_read(void)
{
    struct world world;
    struct ph_lease_claim change, other;
    enum ph_lease_mode mode;
    uint64_t since;

    set_up(&world);
    /* A change that began and ended in between. */
    since = ph_leases_clock(world.leases);
    g_assert_true(claim(&world, &change, NULL, FILE_A, true));
    ph_leases_claim_end(world.leases, &change);
    g_assert_cmpuint(ph_leases_grant(world.leases, world.one, NULL, FILE_A, since, &mode), ==, 0);
    /* One that began before and ended in between. */
    g_assert_true(claim(&world, &change, NULL, FILE_A, true));
    since = ph_leases_clock(world.leases);
    ph_leases_claim_end(world.leases, &change);
    g_assert_cmpuint(ph_leases_grant(world.leases, world.one, NULL, FILE_A, since, &mode), ==, 0);
    /* One that still runs. */
    g_assert_true(claim(&world, &change, world.one, FILE_A, true));
    since = ph_leases_clock(world.leases);
    g_assert_cmpuint(ph_leases_grant(world.leases, world.one, NULL, FILE_A, since, &mode), ==, 0);
    /* Its own is not in the way, but another's. */
    g_assert_cmpuint(ph_leases_grant(world.leases, world.one, &change, FILE_A, since, &mode), !=, 0);
    g_assert_true(claim(&world, &other, world.one, FILE_A, true));
    since = ph_leases_clock(world.leases);
    g_assert_cmpuint(ph_leases_grant(world.leases, world.one, &change, FILE_A, since, &mode), ==, 0);
    ph_leases_claim_end(world.leases, &change);
    ph_leases_claim_end(world.leases, &other);
    g_assert_cmpuint(grant(&world, world.two, FILE_A), !=, 0);
    tear_down(&world);
}

/* Where two change a file in turn, a lease that goes out with each answer is one to be taken back for the
 * next. */
static void test_what_is_fought_over(void)
{
    struct world world;
    struct ph_lease_claim change;
    enum ph_lease_mode mode;

    set_up(&world);
    uint64_t held = grant(&world, world.one, FILE_A);
    g_assert_false(claim(&world, &change, world.two, FILE_A, true));
    g_assert_true(ph_leases_release(world.leases, world.one, held));
    uint64_t since = ph_leases_clock(world.leases);
    g_assert_cmpuint(ph_leases_grant(world.leases, world.two, &change, FILE_A, since, &mode), ==, 0);
    g_assert_cmpuint(mode, ==, PH_LEASE_NONE);
    g_assert_cmpuint(ph_leases_grant(world.leases, world.two, &change, FILE_B, since, &mode), !=, 0);
    ph_leases_claim_end(world.leases, &change);
    /* Who reads gets one, and keeps it when it changes the file. */
    g_assert_cmpuint(grant(&world, world.one, FILE_A), !=, 0);
    g_assert_true(claim(&world, &change, world.one, FILE_A, true));
    since = ph_leases_clock(world.leases);
    held = ph_leases_grant(world.leases, world.one, &change, FILE_A, since, &mode);
    g_assert_cmpuint(held, !=, 0);
    ph_leases_claim_end(world.leases, &change);
    g_assert_true(ph_leases_release(world.leases, world.one, held));
    /* The fight is forgotten. */
    for (uint64_t ms = TICK_MS; ms <= 2000; ms += TICK_MS)
        ph_leases_tick(world.leases, ms);
    g_assert_true(claim(&world, &change, world.two, FILE_A, true));
    since = ph_leases_clock(world.leases);
    g_assert_cmpuint(ph_leases_grant(world.leases, world.two, &change, FILE_A, since, &mode), !=, 0);
    ph_leases_claim_end(world.leases, &change);
    tear_down(&world);
}

static void test_change_waits_for_all_others(void)
{
    struct world world;
    struct ph_lease_claim change;
    uint64_t first, second;

    set_up(&world);
    first = grant(&world, world.one, FILE_A);
    second = grant(&world, world.two, FILE_A);
    grant(&world, world.three, FILE_A); /* its own lease is not in the way */
    g_assert_false(claim(&world, &change, world.three, FILE_A, true));
    assert_recalls(&world, 2);
    for (guint i = 0; i < 2; i++) {
        g_assert_cmpuint(recalled(&world, i)->object, ==, FILE_A);
        g_assert_cmpint(recalled(&world, i)->keep, ==, PH_LEASE_NONE);
        g_assert_true(recalled(&world, i)->session != world.three);
    }
    /* While it waits nothing is granted. */
    g_assert_cmpuint(grant(&world, world.one, FILE_A), ==, 0);
    g_assert_true(ph_leases_release(world.leases, world.one, first));
    g_assert_false(went(&world, &change));
    g_assert_cmpuint(grant(&world, world.one, FILE_A), ==, 0);
    g_assert_true(ph_leases_release(world.leases, world.two, second));
    g_assert_true(went(&world, &change));
    /* Nor while it runs. */
    g_assert_cmpuint(grant(&world, world.one, FILE_A), ==, 0);
    ph_leases_claim_end(world.leases, &change);
    g_assert_cmpuint(grant(&world, world.one, FILE_A), !=, 0);
    assert_recalls(&world, 2);
    tear_down(&world);
}

static void test_recalled_once(void)
{
    struct world world;
    struct ph_lease_claim changes[3];

    set_up(&world);
    grant(&world, world.one, FILE_A);
    for (unsigned i = 0; i < 3; i++)
        g_assert_false(claim(&world, &changes[i], world.two, FILE_A, true));
    assert_recalls(&world, 1);
    g_assert_true(ph_leases_release(world.leases, world.one, recalled(&world, 0)->lease));
    for (unsigned i = 0; i < 3; i++) {
        g_assert_true(went(&world, &changes[i])); /* changes do not exclude each other */
        ph_leases_claim_end(world.leases, &changes[i]);
    }
    tear_down(&world);
}

static void test_reading_waits_for_exclusive_only(void)
{
    struct world world;
    struct ph_lease_claim reading, change;
    uint64_t id;

    set_up(&world);
    grant(&world, world.one, FILE_A);
    g_assert_true(claim(&world, &reading, world.two, FILE_A, false));
    ph_leases_claim_end(world.leases, &reading);
    g_assert_false(ph_leases_exclusive(world.leases));
    id = acquire(&world, world.one, FILE_A, PH_LEASE_EXCLUSIVE);
    g_assert_true(ph_leases_exclusive(world.leases));
    g_assert_true(ph_leases_taken(world.leases, world.two, 0, FILE_A));
    g_assert_false(ph_leases_taken(world.leases, world.one, 0, FILE_A)); /* rule 6: its own reading goes on */
    g_assert_false(claim(&world, &reading, world.two, FILE_A, false));
    assert_recalls(&world, 1);
    g_assert_cmpint(recalled(&world, 0)->keep, ==, PH_LEASE_SHARED);
    /* A change wants more: asked for again, and once. */
    g_assert_false(claim(&world, &change, world.three, FILE_A, true));
    assert_recalls(&world, 2);
    g_assert_cmpint(recalled(&world, 1)->keep, ==, PH_LEASE_NONE);
    g_assert_true(ph_leases_release(world.leases, world.one, id));
    g_assert_true(went(&world, &reading));
    g_assert_true(went(&world, &change));
    ph_leases_claim_end(world.leases, &reading);
    ph_leases_claim_end(world.leases, &change);
    tear_down(&world);
}

static void test_kept_as_shared(void)
{
    struct world world;
    struct ph_lease_claim reading, change;
    uint64_t id;

    set_up(&world);
    id = acquire(&world, world.one, FILE_A, PH_LEASE_EXCLUSIVE);
    g_assert_false(claim(&world, &reading, world.two, FILE_A, false));
    g_assert_true(ph_leases_keep_shared(world.leases, world.one, id));
    g_assert_true(went(&world, &reading));
    ph_leases_claim_end(world.leases, &reading);
    g_assert_cmpint(ph_leases_mode(world.leases, world.one, id), ==, PH_LEASE_SHARED);
    g_assert_false(ph_leases_exclusive(world.leases));
    g_assert_cmpuint(grant(&world, world.two, FILE_A), !=, 0);
    g_assert_true(ph_leases_release(world.leases, world.one, id));
    g_assert_true(ph_leases_release(world.leases, world.two, grant(&world, world.two, FILE_A)));
    /* What is asked for altogether remains asked for. */
    id = acquire(&world, world.one, FILE_A, PH_LEASE_EXCLUSIVE);
    g_assert_false(claim(&world, &change, world.two, FILE_A, true));
    assert_recalls(&world, 2);
    g_assert_true(ph_leases_keep_shared(world.leases, world.one, id));
    g_assert_cmpint(ph_leases_mode(world.leases, world.one, id), ==, PH_LEASE_SHARED);
    g_assert_cmpuint(ph_lease_session_recalled(world.one), ==, 1);
    g_assert_false(went(&world, &change));
    g_assert_true(ph_leases_release(world.leases, world.one, id));
    g_assert_true(went(&world, &change));
    assert_recalls(&world, 2);
    ph_leases_claim_end(world.leases, &change);
    tear_down(&world);
}

static void test_release_names_its_id(void)
{
    struct world world;
    uint64_t old, current;

    set_up(&world);
    old = grant(&world, world.one, FILE_A);
    current = acquire(&world, world.one, FILE_A, PH_LEASE_EXCLUSIVE); /* upgraded: a new id */
    g_assert_cmpuint(current, !=, old);
    g_assert_cmpuint(ph_leases_count(world.leases), ==, 1);
    g_assert_false(ph_leases_release(world.leases, world.one, old));
    g_assert_false(ph_leases_release(world.leases, world.two, current)); /* not its own */
    g_assert_false(ph_leases_keep_shared(world.leases, world.one, old));
    g_assert_cmpint(ph_leases_mode(world.leases, world.one, current), ==, PH_LEASE_EXCLUSIVE);
    g_assert_true(ph_leases_release(world.leases, world.one, current));
    g_assert_false(ph_leases_release(world.leases, world.one, current));
    tear_down(&world);
}

static void test_recalled_is_not_named_again(void)
{
    struct world world;
    struct ph_lease_claim change;

    set_up(&world);
    grant(&world, world.one, FILE_A);
    g_assert_false(claim(&world, &change, NULL, FILE_A, true));
    g_assert_cmpuint(grant(&world, world.one, FILE_A), ==, 0);
    ph_leases_claim_end(world.leases, &change); /* cancelled */
    g_assert_cmpuint(grant(&world, world.one, FILE_A), ==, 0);
    g_assert_cmpuint(ph_lease_session_recalled(world.one), ==, 1);
    tear_down(&world);
}

static void test_first_come_first_served(void)
{
    struct world world;
    struct ph_lease_claim exclusive = {0}, change, shared = {0};

    set_up(&world);
    acquire(&world, world.one, FILE_A, PH_LEASE_SHARED);
    g_assert_false(ph_leases_acquire(world.leases, &exclusive, world.two, FILE_A, PH_LEASE_EXCLUSIVE, NULL));
    g_assert_false(claim(&world, &change, NULL, FILE_A, true));
    g_assert_false(ph_leases_acquire(world.leases, &shared, world.three, FILE_A, PH_LEASE_SHARED, NULL));
    assert_recalls(&world, 1);
    g_assert_true(ph_leases_release(world.leases, world.one, recalled(&world, 0)->lease));
    /* The first one has it, and is asked for it at once by the second one. */
    g_assert_true(went(&world, &exclusive));
    assert_recalls(&world, 2);
    g_assert_cmpuint(recalled(&world, 1)->lease, ==, exclusive.lease);
    g_assert_false(went(&world, &change));
    g_assert_true(ph_leases_release(world.leases, world.two, exclusive.lease));
    g_assert_true(went(&world, &change));
    g_assert_false(went(&world, &shared)); /* not while the change is being made */
    ph_leases_claim_end(world.leases, &change);
    g_assert_true(went(&world, &shared));
    g_assert_cmpuint(shared.lease, !=, 0);
    tear_down(&world);
}

static void test_both_want_to_upgrade(void)
{
    struct world world;
    struct ph_lease_claim first = {0}, second = {0};
    uint64_t ones, twos;

    set_up(&world);
    ones = grant(&world, world.one, FILE_A);
    twos = grant(&world, world.two, FILE_A);
    g_assert_false(ph_leases_acquire(world.leases, &first, world.one, FILE_A, PH_LEASE_EXCLUSIVE, NULL));
    assert_recalls(&world, 1);
    /* Whose own lease is asked for gives that back first. */
    g_assert_false(ph_leases_acquire(world.leases, &second, world.two, FILE_A, PH_LEASE_EXCLUSIVE, NULL));
    g_assert_cmpint(second.state, ==, PH_LEASE_IDLE);
    g_assert_true(second.refused);
    g_assert_true(ph_leases_release(world.leases, world.two, twos));
    g_assert_true(went(&world, &first));
    g_assert_cmpint(ph_leases_mode(world.leases, world.one, ones), ==, PH_LEASE_NONE);
    g_assert_false(ph_leases_acquire(world.leases, &second, world.two, FILE_A, PH_LEASE_EXCLUSIVE, NULL));
    assert_recalls(&world, 2);
    g_assert_true(ph_leases_release(world.leases, world.one, first.lease));
    g_assert_true(went(&world, &second));
    g_assert_cmpint(ph_leases_mode(world.leases, world.two, second.lease), ==, PH_LEASE_EXCLUSIVE);
    tear_down(&world);
}

static void test_refused_while_it_waits(void)
{
    struct world world;
    struct ph_lease_claim upgrade = {0};
    uint64_t id;

    set_up(&world);
    id = grant(&world, world.one, FILE_A);
    grant(&world, world.two, FILE_A);
    g_assert_false(ph_leases_acquire(world.leases, &upgrade, world.one, FILE_A, PH_LEASE_EXCLUSIVE, NULL));
    g_assert_cmpint(upgrade.state, ==, PH_LEASE_WAITING);
    ph_leases_changed_outside(world.leases, 0, FILE_A);
    g_assert_true(went(&world, &upgrade));
    g_assert_true(upgrade.refused);
    g_assert_cmpint(ph_leases_mode(world.leases, world.one, id), ==,
                    PH_LEASE_SHARED); /* until it is released */
    tear_down(&world);
}

static void test_laundered_writes_do_not_wait(void)
{
    struct world world;
    struct ph_lease_claim change, laundered = {0};

    set_up(&world);
    grant(&world, world.one, FILE_A);
    grant(&world, world.two, FILE_A);
    g_assert_false(claim(&world, &change, NULL, FILE_A, true));
    g_assert_true(ph_leases_holds(world.leases, world.one, FILE_A));
    ph_leases_claim_at_once(world.leases, &laundered, world.one, &(struct ph_lease_want){.object = FILE_A});
    g_assert_cmpint(laundered.state, ==, PH_LEASE_RUNNING);
    g_assert_false(went(&world, &change));
    ph_leases_claim_end(world.leases, &laundered);
    assert_recalls(&world, 2);
    ph_leases_claim_end(world.leases, &change);
    /* Alone, it has the leases of others taken back as any change. */
    grant(&world, world.three, FILE_B);
    ph_leases_claim_at_once(world.leases, &laundered, world.one, &(struct ph_lease_want){.object = FILE_B});
    assert_recalls(&world, 3);
    ph_leases_claim_end(world.leases, &laundered);
    tear_down(&world);
}

static void test_several_objects(void)
{
    static const struct ph_lease_want wants[] = {
        {.object = FILE_A, .change = true}, {.object = FILE_B, .change = true}, {.object = DIRECTORY}};
    struct world world;
    struct ph_lease_claim change = {0};
    uint64_t a, b;

    set_up(&world);
    a = grant(&world, world.one, FILE_A);
    b = grant(&world, world.two, FILE_B);
    grant(&world, world.two, DIRECTORY);
    g_assert_false(ph_leases_claim(world.leases, &change, NULL, 0, wants, G_N_ELEMENTS(wants)));
    assert_recalls(&world, 2);
    g_assert_true(ph_leases_release(world.leases, world.one, a));
    g_assert_false(went(&world, &change));
    g_assert_cmpuint(grant(&world, world.one, FILE_A), ==, 0);
    g_assert_true(ph_leases_release(world.leases, world.two, b));
    g_assert_true(went(&world, &change));
    g_assert_true(ph_lease_claim_covers(&change, wants, G_N_ELEMENTS(wants)));
    g_assert_false(
        ph_lease_claim_covers(&change, &(struct ph_lease_want){.object = DIRECTORY, .change = true}, 1));
    ph_leases_claim_end(world.leases, &change);
    tear_down(&world);
}

static void test_everything(void)
{
    struct world world;
    struct ph_lease_claim all, other;
    uint64_t a, b;

    set_up(&world);
    a = grant(&world, world.one, FILE_A);
    b = grant(&world, world.two, FILE_B);
    grant(&world, world.three, DIRECTORY);
    g_assert_false(claim(&world, &all, world.three, PH_LEASE_ALL, true));
    assert_recalls(&world, 2);
    g_assert_cmpuint(grant(&world, world.one, DIRECTORY), ==, 0);
    g_assert_true(claim(&world, &other, world.one, 99, true)); /* changes do not exclude each other */
    ph_leases_claim_end(world.leases, &other);
    g_assert_true(ph_leases_release(world.leases, world.one, a));
    g_assert_false(went(&world, &all));
    g_assert_true(ph_leases_release(world.leases, world.two, b));
    g_assert_true(went(&world, &all));
    g_assert_cmpuint(grant(&world, world.one, DIRECTORY), ==, 0);
    ph_leases_claim_end(world.leases, &all);
    g_assert_cmpuint(grant(&world, world.one, DIRECTORY), !=, 0);
    tear_down(&world);
}

static void test_everything_is_recalled_in_portions(void)
{
    enum { MANY = 3 * PH_RECALLS_AT_ONCE };
    struct world world;
    struct ph_lease_claim all;
    guint released = 0;

    set_up(&world);
    for (uint64_t i = 0; i < MANY; i++)
        g_assert_cmpuint(grant(&world, world.one, 1000 + i), !=, 0);
    g_assert_false(claim(&world, &all, world.two, PH_LEASE_ALL, true));
    assert_recalls(&world, PH_RECALLS_AT_ONCE);
    while (released < world.recalls->len) {
        g_assert_true(ph_leases_release(world.leases, world.one, recalled(&world, released++)->lease));
        g_assert_cmpuint(world.recalls->len - released, <=, PH_RECALLS_AT_ONCE);
    }
    g_assert_cmpuint(released, ==, MANY);
    g_assert_true(went(&world, &all));
    ph_leases_claim_end(world.leases, &all);
    tear_down(&world);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/lease/shared-by-many", test_shared_by_many);
    g_test_add_func("/lease/ids-are-never-used-twice", test_ids_are_never_used_twice);
    g_test_add_func("/lease/none-where-it-was-changed-since-it-was-read", test_changed_since_it_was_read);
    g_test_add_func("/lease/none-with-a-change-of-what-is-fought-over", test_what_is_fought_over);
    g_test_add_func("/lease/a-change-waits-for-all-others", test_change_waits_for_all_others);
    g_test_add_func("/lease/recalled-once", test_recalled_once);
    g_test_add_func("/lease/reading-waits-for-exclusive-only", test_reading_waits_for_exclusive_only);
    g_test_add_func("/lease/kept-as-shared", test_kept_as_shared);
    g_test_add_func("/lease/a-release-names-its-id", test_release_names_its_id);
    g_test_add_func("/lease/what-is-recalled-is-not-named-again", test_recalled_is_not_named_again);
    g_test_add_func("/lease/first-come-first-served", test_first_come_first_served);
    g_test_add_func("/lease/two-that-upgrade-both-get-it", test_both_want_to_upgrade);
    g_test_add_func("/lease/an-acquire-is-refused-when-its-own-lease-is-recalled",
                    test_refused_while_it_waits);
    g_test_add_func("/lease/laundered-writes-do-not-wait", test_laundered_writes_do_not_wait);
    g_test_add_func("/lease/several-objects-together", test_several_objects);
    g_test_add_func("/lease/everything-on-an-export", test_everything);
    g_test_add_func("/lease/everything-in-portions", test_everything_is_recalled_in_portions);
    return g_test_run();
}
