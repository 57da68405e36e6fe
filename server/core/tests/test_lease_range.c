/* The promises of leases on ranges of bytes, each by its name. */
#include "server/core/tests/lease_world.h"

#define KIB UINT64_C(1024)

static void set_up_ranges(struct world *world)
{
    set_up(world);
    ph_lease_session_takes_ranges(world->one);
    ph_lease_session_takes_ranges(world->two);
}

/* Asks for a range; the claim, where it waits, is the caller's. */
static bool ask(struct world *world, struct ph_lease_claim *claim, struct ph_lease_session *session,
                uint64_t start, uint64_t end)
{
    const struct ph_lease_bytes bytes = {start, end};

    *claim = (struct ph_lease_claim){0};
    return ph_leases_acquire(world->leases, claim, session, FILE_A, PH_LEASE_EXCLUSIVE, &bytes);
}

static uint64_t ask_at_once(struct world *world, struct ph_lease_session *session, uint64_t start,
                            uint64_t end)
{
    struct ph_lease_claim claim;

    g_assert_true(ask(world, &claim, session, start, end));
    g_assert_cmpuint(claim.lease, !=, 0);
    return claim.lease;
}

static void assert_bytes(const struct world *world, const struct ph_lease_session *session, uint64_t id,
                         uint64_t start, uint64_t end)
{
    struct ph_lease_bytes bytes;

    g_assert_true(ph_leases_range(world->leases, session, id, &bytes));
    g_assert_cmpuint(bytes.start, ==, start);
    g_assert_cmpuint(bytes.end, ==, end);
}

static bool claim_bytes(struct world *world, struct ph_lease_claim *claim, struct ph_lease_session *own,
                        bool change, uint64_t start, uint64_t end)
{
    const struct ph_lease_want want = {
        .object = FILE_A, .change = change, .part = true, .bytes = {start, end}};

    *claim = (struct ph_lease_claim){0};
    return ph_leases_claim(world->leases, claim, own, 0, &want, 1);
}

static bool keep(struct world *world, struct ph_lease_session *session, uint64_t id, uint64_t start,
                 uint64_t end)
{
    const struct ph_lease_bytes bytes = {start, end};

    return ph_leases_keep_part(world->leases, session, id, &bytes);
}

static void assert_recalled_bytes(const struct world *world, guint index, uint64_t id, uint64_t start,
                                  uint64_t end)
{
    const struct recall *recall = recalled(world, index);

    g_assert_cmpuint(recall->lease, ==, id);
    g_assert_cmpint(recall->keep, ==, PH_LEASE_NONE);
    g_assert_true(recall->part);
    g_assert_cmpuint(recall->bytes.start, ==, start);
    g_assert_cmpuint(recall->bytes.end, ==, end);
}

/* Ranges of ONE and TWO: all below 1 MiB, and all from there on. */
struct halves {
    uint64_t first, second;
};

static struct halves halves(struct world *world)
{
    struct halves halves;
    struct ph_lease_claim claim;

    halves.first = ask_at_once(world, world->one, 0, 4 * KIB);
    assert_bytes(world, world->one, halves.first, 0, PH_LEASE_BYTES_END);
    g_assert_false(ask(world, &claim, world->two, 1024 * KIB, 1028 * KIB));
    assert_recalled_bytes(world, 0, halves.first, 1024 * KIB, 1028 * KIB);
    g_assert_true(keep(world, world->one, halves.first, 0, 1024 * KIB));
    g_assert_true(went(world, &claim));
    halves.second = claim.lease;
    assert_bytes(world, world->one, halves.first, 0, 1024 * KIB);
    assert_bytes(world, world->two, halves.second, 1024 * KIB, PH_LEASE_BYTES_END);
    assert_recalls(world, 1);
    return halves;
}

static void test_side_by_side(void)
{
    struct world world;
    struct ph_lease_claim write, read;

    set_up_ranges(&world);
    halves(&world);
    /* Each writes and reads what it has; nobody is asked. */
    g_assert_true(claim_bytes(&world, &write, world.one, true, 0, 4 * KIB));
    g_assert_true(claim_bytes(&world, &read, world.two, true, 2048 * KIB, 2052 * KIB));
    ph_leases_claim_end(world.leases, &write);
    ph_leases_claim_end(world.leases, &read);
    assert_recalls(&world, 1);
    tear_down(&world);
}

static void test_a_gap_is_shared_out(void)
{
    struct world world;
    uint64_t first, second;

    set_up_ranges(&world);
    first = ask_at_once(&world, world.one, 0, 4 * KIB);
    g_assert_true(keep(&world, world.one, first, 0, 64 * KIB));
    second = ask_at_once(&world, world.two, 1088 * KIB, 1092 * KIB);
    assert_bytes(&world, world.two, second, 576 * KIB, PH_LEASE_BYTES_END);
    /* What is left of it is not worth halving. */
    g_assert_true(keep(&world, world.two, second, 128 * KIB + 576 * KIB, 800 * KIB));
    g_assert_true(ph_leases_release(world.leases, world.one, first));
    first = ask_at_once(&world, world.one, 0, 600 * KIB);
    assert_bytes(&world, world.one, first, 0, 704 * KIB);
    tear_down(&world);
}

static void test_what_is_kept_may_still_be_wanted(void)
{
    struct world world;
    struct ph_lease_claim claim, change;
    uint64_t first;

    set_up_ranges(&world);
    first = ask_at_once(&world, world.one, 0, 4 * KIB);
    g_assert_false(ask(&world, &claim, world.two, 8 * KIB, 12 * KIB));
    g_assert_false(claim_bytes(&world, &change, world.three, true, 0, 1));
    assert_recalls(&world, 1); /* once, until it is answered */
    g_assert_true(keep(&world, world.one, first, 0, 10 * KIB));
    assert_recalled_bytes(&world, 1, first, 8 * KIB, 12 * KIB);
    g_assert_true(keep(&world, world.one, first, 0, 8 * KIB));
    g_assert_true(went(&world, &claim));
    assert_recalled_bytes(&world, 2, first, 0, 1);
    g_assert_true(ph_leases_release(world.leases, world.one, first));
    g_assert_true(went(&world, &change));
    ph_leases_claim_end(world.leases, &change);
    tear_down(&world);
}

static void test_only_what_it_has_can_be_kept(void)
{
    struct world world;
    uint64_t first, shared;

    set_up_ranges(&world);
    first = ask_at_once(&world, world.one, 0, 4 * KIB);
    g_assert_true(keep(&world, world.one, first, 4 * KIB, 8 * KIB));
    g_assert_true(keep(&world, world.one, first, 0, 8 * KIB)); /* more than it is */
    g_assert_cmpint(ph_leases_mode(world.leases, world.one, first), ==, PH_LEASE_NONE);
    g_assert_false(keep(&world, world.one, first, 4 * KIB, 8 * KIB));
    shared = grant(&world, world.one, FILE_A);
    g_assert_true(keep(&world, world.one, shared, 4 * KIB, 8 * KIB));
    g_assert_cmpint(ph_leases_mode(world.leases, world.one, shared), ==, PH_LEASE_NONE);
    tear_down(&world);
}

/* It is how the bytes get to the server that must be there before they can be given back. */
static void test_writing_back_never_waits(void)
{
    struct world world;
    struct halves pair;
    struct ph_lease_claim other, own, outside;

    set_up_ranges(&world);
    pair = halves(&world);
    g_assert_false(claim_bytes(&world, &other, world.two, true, 0, 4 * KIB));
    assert_recalled_bytes(&world, 1, pair.first, 0, 4 * KIB);
    g_assert_true(claim_bytes(&world, &own, world.one, true, 0, 1024 * KIB));
    ph_leases_claim_end(world.leases, &own);
    g_assert_false(claim_bytes(&world, &outside, world.one, true, 1023 * KIB, 1025 * KIB));
    g_assert_true(ph_leases_release(world.leases, world.one, pair.first));
    g_assert_true(went(&world, &other));
    ph_leases_claim_end(world.leases, &other);
    g_assert_true(ph_leases_release(world.leases, world.two, pair.second));
    g_assert_true(went(&world, &outside));
    ph_leases_claim_end(world.leases, &outside);
    tear_down(&world);
}

/* Where a read goes past what is known to be there, what others have written behind it shows. */
static void test_reading_past_the_known_size(void)
{
    struct world world;
    struct halves pair;
    struct ph_lease_claim read;

    set_up_ranges(&world);
    pair = halves(&world);
    ph_leases_size_known(world.leases, world.two, pair.second, 64 * KIB);
    ph_leases_size_known(world.leases, world.two, pair.second, 32 * KIB); /* it does not become less */
    g_assert_true(claim_bytes(&world, &read, world.two, false, 1024 * KIB, 1028 * KIB) == false);
    assert_recalls(&world, 2);
    g_assert_false(recalled(&world, 1)->part); /* all that it has written beyond matters */
    ph_leases_claim_end(world.leases, &read);
    g_assert_true(ph_leases_release(world.leases, world.one, pair.first));
    pair.first = ask_at_once(&world, world.one, 0, 4 * KIB);
    /* Below it nobody is asked. */
    g_assert_true(claim_bytes(&world, &read, world.one, false, 0, 64 * KIB));
    ph_leases_claim_end(world.leases, &read);
    assert_recalls(&world, 2);
    g_assert_false(claim_bytes(&world, &read, world.one, false, 0, 64 * KIB + 1));
    g_assert_cmpuint(recalled(&world, 2)->lease, ==, pair.second);
    ph_leases_claim_end(world.leases, &read);
    tear_down(&world);
}

static void test_nobody_has_the_size(void)
{
    struct world world;
    struct halves pair;
    struct ph_lease_claim look, asks;
    enum ph_lease_mode mode;

    set_up_ranges(&world);
    pair = halves(&world);
    /* No reply names a lease, to those who have ranges neither. */
    g_assert_cmpuint(grant(&world, world.one, FILE_A), ==, 0);
    g_assert_cmpuint(grant(&world, world.three, FILE_A), ==, 0);
    g_assert_cmpuint(
        ph_leases_grant_alone(world.leases, world.one, NULL, FILE_A, ph_leases_clock(world.leases), &mode),
        ==, 0);
    g_assert_false(ph_leases_holds_alone(world.leases, world.one, FILE_A));
    g_assert_true(ph_leases_taken(world.leases, world.one, 0, FILE_A));
    /* Extended attributes are another thing. */
    g_assert_true(claim_bytes(&world, &asks, NULL, false, 0, 0));
    ph_leases_claim_end(world.leases, &asks);
    g_assert_false(claim(&world, &look, NULL, FILE_A, false));
    assert_recalls(&world, 3);
    g_assert_false(recalled(&world, 1)->part);
    g_assert_false(recalled(&world, 2)->part);
    g_assert_true(ph_leases_release(world.leases, world.one, pair.first));
    g_assert_false(went(&world, &look));
    g_assert_true(ph_leases_keep_shared(world.leases, world.two, pair.second)); /* there is no such thing */
    g_assert_true(went(&world, &look));
    ph_leases_claim_end(world.leases, &look);
    g_assert_cmpuint(ph_leases_count(world.leases), ==, 0);
    tear_down(&world);
}

static void test_a_whole_lease_is_split(void)
{
    struct world world;
    struct ph_lease_claim change;
    uint64_t whole;

    set_up_ranges(&world);
    whole = acquire(&world, world.one, FILE_A, PH_LEASE_EXCLUSIVE);
    g_assert_false(claim_bytes(&world, &change, world.three, true, 8 * KIB, 12 * KIB));
    assert_recalled_bytes(&world, 0, whole, 8 * KIB, 12 * KIB);
    g_assert_true(keep(&world, world.one, whole, 0, 8 * KIB));
    g_assert_true(went(&world, &change));
    ph_leases_claim_end(world.leases, &change);
    assert_bytes(&world, world.one, whole, 0, 8 * KIB);
    g_assert_true(ph_leases_release(world.leases, world.one, whole));
    /* Who does not know ranges is asked for all of it; who reads wants it to be shared. */
    whole = acquire(&world, world.three, FILE_A, PH_LEASE_EXCLUSIVE);
    g_assert_false(claim_bytes(&world, &change, world.one, true, 8 * KIB, 12 * KIB));
    g_assert_false(recalled(&world, 1)->part);
    g_assert_true(ph_leases_release(world.leases, world.three, whole));
    ph_leases_claim_end(world.leases, &change);
    whole = acquire(&world, world.one, FILE_A, PH_LEASE_EXCLUSIVE);
    g_assert_false(claim_bytes(&world, &change, world.two, false, 8 * KIB, 12 * KIB));
    g_assert_false(recalled(&world, 2)->part);
    g_assert_cmpint(recalled(&world, 2)->keep, ==, PH_LEASE_SHARED);
    ph_leases_claim_end(world.leases, &change);
    tear_down(&world);
}

static void test_one_lease_for_each_session(void)
{
    struct world world;
    struct halves pair;
    struct ph_lease_claim claim = {0};

    set_up_ranges(&world);
    pair = halves(&world);
    g_assert_cmpuint(ask_at_once(&world, world.one, 8 * KIB, 9 * KIB), ==, pair.first);
    g_assert_false(ask(&world, &claim, world.one, 1020 * KIB, 1025 * KIB));
    g_assert_true(claim.refused);
    claim = (struct ph_lease_claim){0};
    g_assert_false(ph_leases_acquire(world.leases, &claim, world.one, FILE_A, PH_LEASE_SHARED, NULL));
    g_assert_true(claim.refused);
    /* Who has the whole of it is answered with that, or gets more of it. */
    g_assert_true(ph_leases_release(world.leases, world.one, pair.first));
    g_assert_true(ph_leases_release(world.leases, world.two, pair.second));
    pair.first = grant(&world, world.one, FILE_A);
    pair.first = ask_at_once(&world, world.one, 8 * KIB, 9 * KIB);
    g_assert_true(ph_leases_holds_alone(world.leases, world.one, FILE_A));
    g_assert_cmpuint(ask_at_once(&world, world.one, 8 * KIB, 9 * KIB), ==, pair.first);
    /* Who does not know ranges gets none. */
    g_assert_true(ph_leases_release(world.leases, world.one, pair.first));
    pair.first = ask_at_once(&world, world.three, 8 * KIB, 9 * KIB);
    g_assert_true(ph_leases_holds_alone(world.leases, world.three, FILE_A));
    tear_down(&world);
}

/* A range without bytes is in nobody's way, wherever it is: it asks for everything. */
static void test_a_range_without_bytes(void)
{
    struct world world;
    struct halves pair;
    struct ph_lease_claim claim;

    set_up_ranges(&world);
    pair = halves(&world);
    ph_lease_session_takes_ranges(world.three);
    g_assert_false(ask(&world, &claim, world.three, 512 * KIB, 512 * KIB));
    assert_recalls(&world, 3);
    g_assert_true(ph_leases_release(world.leases, world.one, pair.first));
    g_assert_true(ph_leases_release(world.leases, world.two, pair.second));
    g_assert_true(went(&world, &claim));
    g_assert_true(ph_leases_holds_alone(world.leases, world.three, FILE_A));
    tear_down(&world);
}

/* What is being written when a range is granted is not in it, unless it is over. */
static void test_a_range_waits_for_writes_under_way(void)
{
    struct world world;
    struct halves pair;
    struct ph_lease_claim own, through, claim;

    set_up_ranges(&world);
    pair = halves(&world);
    g_assert_true(ph_leases_release(world.leases, world.two, pair.second));
    /* Of the first's own range: others get no bytes of that. */
    g_assert_true(claim_bytes(&world, &own, world.one, true, 0, 4 * KIB));
    pair.second = ask_at_once(&world, world.two, 1024 * KIB, 1028 * KIB);
    g_assert_true(ph_leases_release(world.leases, world.two, pair.second));
    /* Of nobody's: it may be of what is granted. */
    g_assert_true(claim_bytes(&world, &through, world.three, true, 1030 * KIB, 1034 * KIB));
    g_assert_false(ask(&world, &claim, world.two, 1024 * KIB, 1028 * KIB));
    ph_leases_claim_end(world.leases, &through);
    g_assert_true(went(&world, &claim));
    /* Of what was the first's until it gave it back. */
    g_assert_true(ph_leases_release(world.leases, world.two, claim.lease));
    g_assert_true(keep(&world, world.one, pair.first, 512 * KIB, 1024 * KIB));
    g_assert_false(ask(&world, &claim, world.two, 0, 4 * KIB));
    ph_leases_claim_end(world.leases, &own);
    g_assert_true(went(&world, &claim));
    tear_down(&world);
}

/* Records of two that take turns: a round trip for each would be more than writing through costs. */
static void test_no_ranges_where_many_write_everywhere(void)
{
    struct world world;
    struct ph_lease_claim claim, change;
    uint64_t id;

    set_up_ranges(&world);
    for (unsigned i = 0; i < PH_RANGE_FIGHTS_MAX; i++) {
        id = ask_at_once(&world, world.one, i * KIB, i * KIB + 1);
        g_assert_false(claim_bytes(&world, &change, world.three, true, i * KIB, i * KIB + 1));
        g_assert_true(ph_leases_release(world.leases, world.one, id));
        g_assert_true(went(&world, &change));
        ph_leases_claim_end(world.leases, &change);
    }
    g_assert_false(ask(&world, &claim, world.one, 0, 1));
    g_assert_true(claim.refused);
    for (uint64_t ms = 1000; ms <= 1000 + PH_RANGE_FIGHTS_MS; ms += TICK_MS)
        ph_leases_tick(world.leases, ms);
    ask_at_once(&world, world.one, 0, 1);
    tear_down(&world);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/lease-range/side-by-side", test_side_by_side);
    g_test_add_func("/lease-range/gap", test_a_gap_is_shared_out);
    g_test_add_func("/lease-range/kept-but-wanted", test_what_is_kept_may_still_be_wanted);
    g_test_add_func("/lease-range/kept-is-held", test_only_what_it_has_can_be_kept);
    g_test_add_func("/lease-range/writing-back", test_writing_back_never_waits);
    g_test_add_func("/lease-range/known-size", test_reading_past_the_known_size);
    g_test_add_func("/lease-range/nobody-has-the-size", test_nobody_has_the_size);
    g_test_add_func("/lease-range/split", test_a_whole_lease_is_split);
    g_test_add_func("/lease-range/one-each", test_one_lease_for_each_session);
    g_test_add_func("/lease-range/no-bytes", test_a_range_without_bytes);
    g_test_add_func("/lease-range/under-way", test_a_range_waits_for_writes_under_way);
    g_test_add_func("/lease-range/thrashing", test_no_ranges_where_many_write_everywhere);
    return g_test_run();
}
