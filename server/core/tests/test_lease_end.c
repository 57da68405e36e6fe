/* How leases end: changes from outside, ends of sessions, time, limits. */
#include "server/core/tests/lease_world.h"

static void test_changed_outside(void)
{
    struct world world;
    enum ph_lease_mode mode;
    uint64_t since, id;

    set_up(&world);
    since = ph_leases_clock(world.leases);
    id = grant(&world, world.one, FILE_A);
    ph_leases_changed_outside(world.leases, 0, FILE_A);
    ph_leases_changed_outside(world.leases, 0, FILE_A);
    assert_recalls(&world, 1);
    g_assert_cmpuint(ph_leases_grant(world.leases, world.two, NULL, FILE_A, since, &mode), ==, 0);
    g_assert_cmpuint(grant(&world, world.two, FILE_A), !=, 0); /* read afterwards */
    g_assert_cmpuint(grant(&world, world.two, FILE_B), !=, 0);
    ph_leases_changed_outside(world.leases, 0, PH_LEASE_ALL);
    ph_leases_changed_outside(world.leases, 0, PH_LEASE_ALL);
    assert_recalls(&world, 3);
    g_assert_true(ph_leases_release(world.leases, world.one, id));
    g_assert_true(ph_leases_release(world.leases, world.two, recalled(&world, 1)->lease));
    g_assert_cmpuint(grant(&world, world.one, FILE_A), ==, 0);
    g_assert_true(ph_leases_release(world.leases, world.two, recalled(&world, 2)->lease));
    g_assert_cmpuint(grant(&world, world.one, FILE_A), !=, 0);
    g_assert_cmpuint(world.gone->len, ==, 0);
    ph_leases_changed_outside(world.leases, 1, PH_LEASE_ALL); /* another export */
    assert_recalls(&world, 3);
    tear_down(&world);
}

static void test_orderly_end(void)
{
    struct world world;
    struct ph_lease_claim change;

    set_up(&world);
    grant(&world, world.one, FILE_A);
    g_assert_false(claim(&world, &change, world.two, FILE_A, true));
    ph_lease_session_end(world.leases, world.one);
    g_assert_true(went(&world, &change));
    ph_leases_claim_end(world.leases, &change);
    g_assert_cmpuint(ph_leases_count(world.leases), ==, 0);
    tear_down(&world);
}

static void test_left_behind_until_it_expires(void)
{
    const uint64_t kept_ms = PH_LEASE_TTL_MS + PH_LEASE_TTL_MS / 1000 * (1000 - PH_LEASE_RATE_PER_MILLE);
    struct world world;
    struct ph_lease_claim change;
    uint64_t answered_ms = 5000;

    set_up(&world);
    grant(&world, world.one, FILE_A);
    ph_lease_session_answered(world.one);
    /* The answer may have been given just before the tick that dates it. */
    ph_leases_tick(world.leases, answered_ms);
    ph_lease_session_lost(world.leases, world.one, false);
    g_assert_false(claim(&world, &change, world.two, FILE_A, true));
    assert_recalls(&world, 0); /* there is nobody to ask */
    ph_leases_tick(world.leases, answered_ms + kept_ms - 1);
    g_assert_false(went(&world, &change));
    ph_leases_tick(world.leases, answered_ms + kept_ms);
    g_assert_true(went(&world, &change));
    g_assert_cmpuint(world.expired, ==, 1);
    ph_leases_claim_end(world.leases, &change);
    tear_down(&world);
}

static void test_left_by_itself(void)
{
    struct world world;
    struct ph_lease_claim change;

    set_up(&world);
    grant(&world, world.one, FILE_A);
    ph_lease_session_answered(world.one);
    ph_leases_tick(world.leases, 5000);
    ph_lease_session_lost(world.leases, world.one, true);
    g_assert_false(claim(&world, &change, world.two, FILE_A, true));
    ph_leases_tick(world.leases, 5000 + PH_LEASE_LEFT_MS - 1);
    g_assert_false(went(&world, &change));
    ph_leases_tick(world.leases, 5000 + PH_LEASE_LEFT_MS);
    g_assert_true(went(&world, &change));
    ph_leases_claim_end(world.leases, &change);
    tear_down(&world);
}

static void test_back_again(void)
{
    struct world world;
    struct ph_lease_claim change;

    set_up(&world);
    grant(&world, world.one, FILE_A);
    ph_lease_session_lost(world.leases, world.one, false);
    g_assert_false(claim(&world, &change, world.two, FILE_A, true));
    session_new(&world, 3); /* somebody else */
    g_assert_false(went(&world, &change));
    session_new(&world, 1);
    g_assert_true(went(&world, &change));
    ph_leases_claim_end(world.leases, &change);
    tear_down(&world);
}

static void test_mute_holder_is_fenced(void)
{
    struct world world;
    struct ph_lease_claim change;
    uint64_t now_ms = 1000;

    set_up(&world);
    grant(&world, world.one, FILE_A);
    grant(&world, world.two, FILE_B);
    g_assert_false(claim(&world, &change, world.two, FILE_A, true));
    for (; now_ms < 1000 + PH_RECALL_TIMEOUT_MS; now_ms += TICK_MS) {
        ph_lease_session_answered(world.one); /* it talks, but does not answer */
        ph_leases_tick(world.leases, now_ms);
        g_assert_cmpuint(world.fenced->len, ==, 0);
    }
    ph_leases_tick(world.leases, now_ms);
    g_assert_cmpuint(world.fenced->len, ==, 1);
    g_assert_true(world.fenced->pdata[0] == world.one);
    /* It may use its lease as long as it does not know. */
    g_assert_false(went(&world, &change));
    ph_leases_tick(world.leases, now_ms + PH_LEASE_TTL_MS);
    g_assert_false(went(&world, &change));
    ph_leases_tick(world.leases, now_ms + 2 * PH_LEASE_TTL_MS);
    g_assert_true(went(&world, &change));
    ph_leases_claim_end(world.leases, &change);
    tear_down(&world);
}

static void test_silent_holder_is_fenced_and_gone(void)
{
    struct world world;
    struct ph_lease_claim change;

    set_up(&world);
    grant(&world, world.one, FILE_A);
    ph_leases_tick(world.leases, 1000000);
    g_assert_cmpuint(ph_leases_count(world.leases), ==, 1); /* nobody wants it */
    g_assert_false(claim(&world, &change, world.two, FILE_A, true));
    ph_leases_tick(world.leases, 1000000 + PH_RECALL_TIMEOUT_MS);
    g_assert_cmpuint(world.fenced->len, ==, 1);
    g_assert_true(went(&world, &change));
    ph_leases_claim_end(world.leases, &change);
    tear_down(&world);
}

/* Nothing of it is looked at after that: only a sanitizer sees it. */
static void test_fenced_may_be_ended_at_once(void)
{
    struct world world;
    struct ph_lease_claim change;

    set_up(&world);
    world.ends_fenced = true;
    grant(&world, world.one, FILE_A);
    g_assert_false(claim(&world, &change, world.two, FILE_A, true));
    ph_leases_tick(world.leases, 1000 + PH_RECALL_TIMEOUT_MS);
    g_assert_cmpuint(world.fenced->len, ==, 1);
    g_assert_cmpuint(world.expired, ==, 0);
    g_assert_true(went(&world, &change));
    ph_leases_claim_end(world.leases, &change);
    tear_down(&world);
}

static void test_dropped_waits_let_others_go(void)
{
    struct world world;
    struct ph_lease_claim exclusive = {0}, reading, change;

    set_up(&world);
    acquire(&world, world.one, FILE_A, PH_LEASE_EXCLUSIVE);
    g_assert_false(ph_leases_acquire(world.leases, &exclusive, world.two, FILE_A, PH_LEASE_EXCLUSIVE, NULL));
    g_assert_false(claim(&world, &reading, world.three, FILE_A, false));
    g_assert_true(ph_leases_release(world.leases, world.one, recalled(&world, 0)->lease));
    g_assert_true(went(&world, &exclusive));
    g_assert_false(went(&world, &reading));
    g_assert_false(claim(&world, &change, world.three, FILE_A, true));
    ph_leases_claim_end(world.leases, &reading);
    ph_leases_claim_end(world.leases, &change);
    g_assert_cmpint(reading.state, ==, PH_LEASE_IDLE);
    ph_lease_session_end(world.leases, world.two);
    g_assert_false(went(&world, &change));
    g_assert_cmpuint(grant(&world, world.one, FILE_A), !=, 0);
    tear_down(&world);
}

static void test_limit_costs_leases_only(void)
{
    struct world world;
    struct ph_lease_claim one_more = {0};

    set_up(&world);
    for (uint64_t i = 0; i < PH_SESSION_LEASES_MAX; i++)
        g_assert_cmpuint(grant(&world, world.one, 1000 + i), !=, 0);
    g_assert_cmpuint(grant(&world, world.one, FILE_A), ==, 0);
    g_assert_false(ph_leases_acquire(world.leases, &one_more, world.one, FILE_A, PH_LEASE_SHARED, NULL));
    g_assert_cmpint(one_more.state, ==, PH_LEASE_IDLE);
    g_assert_cmpuint(grant(&world, world.two, FILE_A), !=, 0);
    tear_down(&world);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/lease/changed-behind-the-server", test_changed_outside);
    g_test_add_func("/lease/gone-with-an-orderly-end", test_orderly_end);
    g_test_add_func("/lease/left-behind-until-it-expires", test_left_behind_until_it_expires);
    g_test_add_func("/lease/left-behind-for-a-moment-by-who-closed-the-connection", test_left_by_itself);
    g_test_add_func("/lease/gone-when-the-client-is-back", test_back_again);
    g_test_add_func("/lease/a-mute-holder-is-fenced", test_mute_holder_is_fenced);
    g_test_add_func("/lease/a-silent-holder-is-fenced-and-gone", test_silent_holder_is_fenced_and_gone);
    g_test_add_func("/lease/who-is-fenced-may-be-ended-at-once", test_fenced_may_be_ended_at_once);
    g_test_add_func("/lease/a-dropped-wait-lets-others-go", test_dropped_waits_let_others_go);
    g_test_add_func("/lease/a-limit-costs-leases-only", test_limit_costs_leases_only);
    return g_test_run();
}
