/* Locks against a model that keeps one cell for each byte. */
#include <glib.h>
#include <stdlib.h>

#include "ph_commands.h"
#include "runtime/base/limits.h"
#include "runtime/wire/call.h"
#include "server/core/range_lock_private.h"

enum { BYTES = 24, SESSIONS = 3, OWNERS = 3, HANDLES = 2, WAITS_MAX = 8, STEPS = 50000 };

struct cell {
    int type; /* 0 none, 1 shared, 2 exclusive */
    uint64_t handle;
};

struct model_wait {
    int session, owner;
    struct ph_lock_want want;
    uint64_t request;
};

struct answer {
    uint64_t request;
    uint32_t status;
};

struct world {
    struct ph_locks *locks;
    struct ph_lock_session session[SESSIONS];
    struct cell cell[SESSIONS][OWNERS][BYTES];
    struct model_wait wait[SESSIONS * WAITS_MAX + 1];
    size_t waits;
    struct answer got[1024], expected[1024];
    size_t got_count, expected_count;
    uint64_t next_request, random;
};

static uint32_t pick(struct world *world, uint32_t below)
{
    world->random = world->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t) (world->random >> 33) % below;
}

static void on_answer(void *data, struct ph_lock_session *session, uint64_t request, uint32_t status)
{
    struct world *world = data;

    world->got[world->got_count++] = (struct answer){request, status};
}

static void world_init(struct world *world, uint64_t seed)
{
    *world = (struct world){.random = seed, .next_request = 1};
    world->locks = ph_locks_new(seed, on_answer, world);
    for (int i = 0; i < SESSIONS; i++)
        ph_lock_session_init(&world->session[i], (uint64_t) i + 1);
}

static bool model_conflict(const struct world *world, int session, int owner, const struct ph_lock_want *want)
{
    for (int s = 0; s < SESSIONS; s++) {
        for (int o = 0; o < OWNERS; o++) {
            for (uint64_t b = want->start; b < want->end && (s != session || o != owner); b++) {
                if (world->cell[s][o][b].type == 2 || (world->cell[s][o][b].type == 1 && !want->shared))
                    return true;
            }
        }
    }
    return false;
}

static void model_set(struct world *world, int session, int owner, const struct ph_lock_want *want, int type)
{
    for (uint64_t b = want->start; b < want->end; b++)
        world->cell[session][owner][b] = (struct cell){type, type == 0 ? 0 : want->handle};
}

static void model_unwait(struct world *world, size_t index)
{
    for (size_t i = index; i + 1 < world->waits; i++)
        world->wait[i] = world->wait[i + 1];
    world->waits--;
}

static void model_expect(struct world *world, uint64_t request, uint32_t status)
{
    world->expected[world->expected_count++] = (struct answer){request, status};
}

static bool model_wake_once(struct world *world)
{
    bool passed = false, again = false;

    for (size_t i = 0; i < world->waits;) {
        struct model_wait wait = world->wait[i];

        if (model_conflict(world, wait.session, wait.owner, &wait.want)) {
            passed = true;
            i++;
            continue;
        }
        again = again || (passed && wait.want.shared);
        model_set(world, wait.session, wait.owner, &wait.want, wait.want.shared ? 1 : 2);
        model_expect(world, wait.request, PH_ST_OK);
        model_unwait(world, i);
    }
    return again;
}

static void model_wake(struct world *world)
{
    while (model_wake_once(world))
        continue;
}

/* Whether party P of all stands in the way of what SELF wants. */
static bool model_blocks(const struct world *world, int p, int self, const struct ph_lock_want *want)
{
    bool blocks = false;

    for (uint64_t b = want->start; p != self && b < want->end; b++) {
        int type = world->cell[p / OWNERS][p % OWNERS][b].type;

        blocks = blocks || type == 2 || (type == 1 && !want->shared);
    }
    return blocks;
}

/* Whether SELF, who wants WANT, would wait, over any number of others, for GOAL. */
static bool model_waits_for(const struct world *world, int self, const struct ph_lock_want *want, int goal,
                            unsigned seen)
{
    for (int p = 0; p < SESSIONS * OWNERS; p++) {
        if (!model_blocks(world, p, self, want))
            continue;
        if (p == goal)
            return true;
        for (size_t i = 0; (seen & 1u << p) == 0 && i < world->waits; i++) {
            const struct model_wait *wait = &world->wait[i];

            if (wait->session * OWNERS + wait->owner == p &&
                model_waits_for(world, p, &wait->want, goal, seen | 1u << p))
                return true;
        }
    }
    return false;
}

static uint32_t model_take(struct world *world, int session, int owner, const struct ph_lock_want *want,
                           bool wait, uint64_t request)
{
    if (!model_conflict(world, session, owner, want)) {
        model_set(world, session, owner, want, want->shared ? 1 : 2);
        if (want->shared)
            model_wake(world);
        return PH_ST_OK;
    }
    if (!wait)
        return PH_ST_WOULD_BLOCK;
    if (model_waits_for(world, session * OWNERS + owner, want, session * OWNERS + owner, 0))
        return PH_ST_DEADLOCK;
    world->wait[world->waits++] = (struct model_wait){session, owner, *want, request};
    return PH_PENDING;
}

/* What the real locks look like, byte by byte; checks their order on the way. */
struct picture {
    struct world *world;
    struct cell cell[SESSIONS][OWNERS][BYTES];
    size_t locks[SESSIONS];
};

static bool paint(struct ph_interval *node, void *data)
{
    struct picture *picture = data;
    struct ph_lock *lock = ph_lock_of_file(node);
    struct ph_lock_party *party = lock->owner->party;
    long session = party->session - picture->world->session;

    g_assert_cmpuint(node->start, <, node->end);
    picture->locks[session]++;
    for (uint64_t b = node->start; b < node->end && b < BYTES; b++) {
        struct cell *cell = &picture->cell[session][party->owner][b];

        g_assert_cmpint(cell->type, ==, 0); /* an owner's locks never overlap */
        *cell = (struct cell){node->exclusive ? 2 : 1, lock->handle};
    }
    return false;
}

static void compare(struct world *world)
{
    struct picture picture = {.world = world};
    const struct ph_lock_want key = {.object = 7};
    struct ph_lock_file *file = ph_lock_file_get(world->locks, &key, false);

    if (file != NULL)
        ph_interval_walk(file->locks, 0, PH_LOCK_TO_END, false, paint, &picture);
    for (int s = 0; s < SESSIONS; s++) {
        g_assert_cmpuint(picture.locks[s], ==, world->session[s].locks);
        for (int o = 0; o < OWNERS; o++) {
            for (int b = 0; b < BYTES; b++) {
                g_assert_cmpint(picture.cell[s][o][b].type, ==, world->cell[s][o][b].type);
                g_assert_cmpuint(picture.cell[s][o][b].handle, ==, world->cell[s][o][b].handle);
            }
        }
    }
    g_assert_cmpuint(world->got_count, ==, world->expected_count);
    for (size_t i = 0; i < world->got_count; i++) {
        g_assert_cmpuint(world->got[i].request, ==, world->expected[i].request);
        g_assert_cmpuint(world->got[i].status, ==, world->expected[i].status);
    }
    world->got_count = world->expected_count = 0;
}

static void step_take(struct world *world, int session, int owner, struct ph_lock_want *want)
{
    uint64_t request = world->next_request++;
    bool wait = world->session[session].waits < WAITS_MAX / 2 && pick(world, 2) == 0;
    uint32_t expected, got;

    want->shared = pick(world, 2) == 0;
    expected = model_take(world, session, owner, want, wait, request);
    got = ph_locks_take(world->locks, &world->session[session], want, wait, request, NULL);
    g_assert_cmpuint(got, ==, expected);
}

static void step_cancel(struct world *world)
{
    size_t index = world->waits == 0 ? 0 : pick(world, (uint32_t) world->waits);
    struct model_wait wait = world->wait[index];

    if (world->waits == 0) {
        g_assert_false(ph_locks_cancel(world->locks, &world->session[0], 1));
        return;
    }
    model_unwait(world, index);
    model_expect(world, wait.request, PH_ST_CANCELLED);
    g_assert_true(ph_locks_cancel(world->locks, &world->session[wait.session], wait.request));
}

static void step_end_handle(struct world *world, int session, uint64_t handle)
{
    for (size_t i = 0; i < world->waits;) {
        struct model_wait wait = world->wait[i];

        if (wait.session == session && wait.want.handle == handle) {
            model_unwait(world, i);
            model_expect(world, wait.request, PH_ST_CANCELLED);
        } else {
            i++;
        }
    }
    for (int o = 0; o < OWNERS; o++) {
        for (int b = 0; b < BYTES; b++) {
            if (world->cell[session][o][b].handle == handle)
                world->cell[session][o][b] = (struct cell){0, 0};
        }
    }
    model_wake(world);
    ph_locks_end_handle(world->locks, &world->session[session], 0, 7, handle);
}

/* The order in which a session's locks go decides who is woken first; so only
 * who got what in the end is compared, which is the same for every order. */
static void step_end_session(struct world *world, int session)
{
    for (size_t i = 0; i < world->waits;) {
        if (world->wait[i].session == session)
            model_unwait(world, i);
        else
            i++;
    }
    ph_locks_end_session(world->locks, &world->session[session]);
    g_assert_cmpuint(world->session[session].locks + world->session[session].waits, ==, 0);
    for (int o = 0; o < OWNERS; o++) {
        for (int b = 0; b < BYTES; b++)
            world->cell[session][o][b] = (struct cell){0, 0};
    }
    for (size_t i = 0; i < world->got_count; i++) {
        g_assert_cmpuint(world->got[i].status, ==, PH_ST_OK);
        for (size_t w = 0; w < world->waits; w++) {
            struct model_wait wait = world->wait[w];

            if (wait.request != world->got[i].request)
                continue;
            g_assert_false(model_conflict(world, wait.session, wait.owner, &wait.want));
            model_set(world, wait.session, wait.owner, &wait.want, wait.want.shared ? 1 : 2);
            model_unwait(world, w);
            break;
        }
    }
    world->got_count = 0;
    model_wake(world);
    g_assert_cmpuint(world->expected_count, ==, 0); /* nobody who could go on was left waiting */
}

static void step(struct world *world)
{
    int session = (int) pick(world, SESSIONS), owner = (int) pick(world, OWNERS);
    uint64_t start = pick(world, BYTES), end = start + 1 + pick(world, (uint32_t) (BYTES - start));
    uint64_t handle = (uint64_t) session * HANDLES + pick(world, HANDLES) + 1;
    struct ph_lock_want want = {
        .object = 7, .start = start, .end = end, .owner = (uint64_t) owner, .handle = handle};
    uint32_t what = pick(world, 1000);

    if (what < 550) {
        step_take(world, session, owner, &want);
    } else if (what < 900) {
        model_set(world, session, owner, &want, 0);
        model_wake(world);
        g_assert_cmpuint(ph_locks_give(world->locks, &world->session[session], &want, NULL), ==, PH_ST_OK);
    } else if (what < 950) {
        step_cancel(world);
    } else if (what < 985) {
        step_end_handle(world, session, handle);
    } else {
        step_end_session(world, session);
    }
}

static void test_model(void)
{
    const char *given = g_getenv("PH_TEST_SEED");
    uint64_t seed = given != NULL ? g_ascii_strtoull(given, NULL, 10) : (uint64_t) g_get_monotonic_time();
    struct world world;

    g_test_message("PH_TEST_SEED=%" G_GUINT64_FORMAT, seed);
    world_init(&world, seed);
    for (int i = 0; i < STEPS; i++) {
        step(&world);
        compare(&world);
    }
    for (int s = 0; s < SESSIONS; s++)
        step_end_session(&world, s);
    g_assert_cmpuint(world.locks->files.count + world.locks->owners.count + world.locks->parties.count, ==,
                     0);
    ph_locks_free(world.locks);
}

static uint32_t take(struct world *world, int session, struct ph_lock_want want, bool wait, uint64_t request)
{
    want.handle = (uint64_t) session + 1;
    return ph_locks_take(world->locks, &world->session[session], &want, wait, request, NULL);
}

static void test_conversion_gives_up_first(void)
{
    const struct ph_lock_want shared = {.object = 7, .whole_file = true, .shared = true};
    const struct ph_lock_want exclusive = {.object = 7, .whole_file = true};
    struct world world;

    world_init(&world, 1);
    g_assert_cmpuint(take(&world, 0, shared, false, 1), ==, PH_ST_OK);
    g_assert_cmpuint(take(&world, 1, shared, false, 2), ==, PH_ST_OK);
    g_assert_cmpuint(take(&world, 0, exclusive, true, 3), ==, PH_PENDING);
    /* The first gave its shared lock up; the second finds nothing in its way. */
    g_assert_cmpuint(take(&world, 1, exclusive, true, 4), ==, PH_ST_OK);
    g_assert_cmpuint(world.got_count, ==, 0);
    ph_locks_end_session(world.locks, &world.session[1]);
    g_assert_cmpuint(world.got_count, ==, 1);
    g_assert_cmpuint(world.got[0].request, ==, 3);
    ph_locks_end_session(world.locks, &world.session[0]);
    ph_locks_free(world.locks);
}

static void test_kinds_do_not_see_each_other(void)
{
    const struct ph_lock_want whole = {.object = 7, .whole_file = true};
    const struct ph_lock_want range = {.object = 7, .start = 0, .end = PH_LOCK_TO_END};
    struct world world;

    world_init(&world, 1);
    g_assert_cmpuint(take(&world, 0, whole, false, 1), ==, PH_ST_OK);
    g_assert_cmpuint(take(&world, 1, range, false, 2), ==, PH_ST_OK);
    ph_locks_end_session(world.locks, &world.session[0]);
    ph_locks_end_session(world.locks, &world.session[1]);
    ph_locks_free(world.locks);
}

static void test_long_circle_is_refused(void)
{
    enum { PARTIES = 1000 };
    struct world world;

    world_init(&world, 1);
    for (uint64_t i = 0; i < PARTIES; i++) {
        const struct ph_lock_want own = {.object = 7 + i, .start = 0, .end = 1, .owner = i};

        g_assert_cmpuint(take(&world, (int) (i % SESSIONS), own, false, i), ==, PH_ST_OK);
    }
    for (uint64_t i = 0; i < PARTIES; i++) {
        const struct ph_lock_want next = {.object = 7 + (i + 1) % PARTIES, .start = 0, .end = 1, .owner = i};
        uint32_t expected = i == PARTIES - 1 ? PH_ST_DEADLOCK : PH_PENDING;

        g_assert_cmpuint(take(&world, (int) (i % SESSIONS), next, true, i), ==, expected);
    }
    for (int s = 0; s < SESSIONS; s++)
        ph_locks_end_session(world.locks, &world.session[s]);
    ph_locks_free(world.locks);
}

static void test_limits(void)
{
    struct ph_lock_want want = {.object = 7, .owner = 1, .shared = true};
    struct world world;

    world_init(&world, 1);
    for (uint64_t i = 0; i < PH_SESSION_LOCKS_MAX; i++) {
        want.start = 3 * i;
        want.end = want.start + 2;
        g_assert_cmpuint(take(&world, 0, want, false, i), ==, PH_ST_OK);
    }
    want.start = want.end + 1;
    want.end = want.start + 1;
    g_assert_cmpuint(take(&world, 0, want, false, 0), ==, PH_ST_NO_LOCKS);
    /* What joins two does not add one. */
    want.start = 2;
    want.end = 3;
    g_assert_cmpuint(take(&world, 0, want, false, 0), ==, PH_ST_OK);
    g_assert_cmpuint(world.session[0].locks, ==, PH_SESSION_LOCKS_MAX - 1);
    ph_locks_end_session(world.locks, &world.session[0]);
    ph_locks_free(world.locks);
}

/* 10,000 locks of 10,000 owners on one file. */
static void test_many_locks(void)
{
    enum { MANY = 10000 };
    struct world world;

    world_init(&world, 1);
    for (uint64_t i = 0; i < MANY; i++) {
        const struct ph_lock_want want = {.object = 7, .start = 2 * i, .end = 2 * i + 1, .owner = i};

        g_assert_cmpuint(take(&world, (int) (i % SESSIONS), want, false, i), ==, PH_ST_OK);
    }
    for (uint64_t i = 0; i < MANY; i++) {
        const struct ph_lock_want all = {.object = 7, .start = 0, .end = PH_LOCK_TO_END, .owner = MANY};
        const struct ph_lock_want other = {.object = 7, .start = 2 * i, .end = 2 * i + 1, .owner = i};
        struct ph_lock_found found;

        g_assert_true(ph_locks_test(world.locks, &world.session[0], &all, &found));
        g_assert_cmpuint(found.start, ==, 2 * i);
        g_assert_cmpuint(ph_locks_give(world.locks, &world.session[i % SESSIONS], &other, NULL), ==,
                         PH_ST_OK);
    }
    ph_locks_free(world.locks);
}

static void test_ranges(void)
{
    uint64_t start, end;

    g_assert_false(ph_lock_range(5, 0, &start, &end));
    g_assert_true(ph_lock_range(5, 3, &start, &end));
    g_assert_cmpuint(end, ==, 8);
    g_assert_true(ph_lock_range(5, (uint64_t) INT64_MAX - 5, &start, &end));
    g_assert_cmpuint(end, ==, PH_LOCK_TO_END);
    g_assert_true(ph_lock_range(5, (uint64_t) INT64_MAX - 6, &start, &end));
    g_assert_cmpuint(end, ==, INT64_MAX - 1);
    g_assert_true(ph_lock_range(INT64_MAX, 1, &start, &end));
    g_assert_cmpuint(end, ==, PH_LOCK_TO_END);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/range-lock/same-as-byte-by-byte", test_model);
    g_test_add_func("/range-lock/flock-conversion-gives-up-first", test_conversion_gives_up_first);
    g_test_add_func("/range-lock/kinds-do-not-see-each-other", test_kinds_do_not_see_each_other);
    g_test_add_func("/range-lock/long-circle-is-refused", test_long_circle_is_refused);
    g_test_add_func("/range-lock/session-limits-hold", test_limits);
    g_test_add_func("/range-lock/ten-thousand-locks-stay-fast", test_many_locks);
    g_test_add_func("/range-lock/ends-of-ranges", test_ranges);
    return g_test_run();
}
