/* The lease table against a naive model, in worlds of chance: whatever happens, no two sessions hold what
 * excludes each other, no change runs beside a lease of somebody else, nothing is granted for what was read
 * before a change, and all that waits goes when those who are asked answer. In every other world there are
 * leases on ranges. */
#include <glib.h>
#include <string.h>

#include "runtime/base/random.h"
#include "server/core/lease.h"

enum { SESSIONS = 4, OBJECTS = 5, CLAIMS = 24, WORLDS = 1500, STEPS = 400, READINGS = 4, BYTES = 16 };

/* What a session holds, as far as it was told. */
struct held {
    uint64_t id;
    enum ph_lease_mode mode;
    bool recalled;
    enum ph_lease_mode keep;
    bool part;
    struct ph_lease_bytes bytes;
};

/* A command: a claim, or an acquire. */
struct command {
    struct ph_lease_claim claim;
    bool used, acquires, went;
    int session; /* SESSIONS: one that does not cache */
    size_t count;
    struct ph_lease_want wants[PH_LEASE_CLAIM_KEYS];
    enum ph_lease_mode mode;
    bool part; /* an acquire of BYTES */
    struct ph_lease_bytes bytes;
};

/* A reading on its way. */
struct reading {
    bool used, spoilt; /* SPOILT: a change of the object ran since */
    int session;
    uint64_t object, since;
};

struct world {
    struct ph_random random;
    struct ph_leases *leases;
    struct ph_lease_session *session[SESSIONS];
    struct held held[SESSIONS][OBJECTS + 1];
    struct command command[CLAIMS];
    struct reading reading[READINGS];
    uint64_t last_id;
    bool ranges;
    uint64_t known[OBJECTS + 1]; /* no more than this size was told since there were no ranges */
};

static uint64_t below(struct world *world, uint64_t bound)
{
    return ph_random_below(&world->random, bound);
}

static int index_of(const struct world *world, const struct ph_lease_session *session)
{
    for (int i = 0; i < SESSIONS; i++) {
        if (world->session[i] == session)
            return i;
    }
    g_assert_not_reached();
}

static void on_recall(void *data, struct ph_lease_session *session, uint64_t object, uint64_t lease,
                      enum ph_lease_mode keep, const struct ph_lease_bytes *bytes)
{
    struct world *world = data;
    struct held *held = &world->held[index_of(world, session)][object];

    g_assert_cmpuint(held->id, ==, lease);
    g_assert_true(!held->recalled || keep < held->keep); /* once, or once more for more */
    held->recalled = true;
    held->keep = keep;
}

/* The table says what is held now. */
static void take(struct world *world, int session, uint64_t object, uint64_t id, enum ph_lease_mode mode)
{
    struct held *held = &world->held[session][object];

    g_assert_cmpuint(id, !=, 0);
    if (held->id != id) {
        g_assert_cmpuint(id, >, world->last_id);
        world->last_id = id;
    }
    *held = (struct held){.id = id, .mode = mode};
    held->part = ph_leases_range(world->leases, world->session[session], id, &held->bytes);
}

/* Some bytes, perhaps none. */
static struct ph_lease_bytes some_bytes(struct world *world, uint64_t first, uint64_t end)
{
    uint64_t start = first + below(world, end - first);

    return (struct ph_lease_bytes){start, start + below(world, end - start + 1)};
}

static bool overlap(const struct ph_lease_bytes *one, const struct ph_lease_bytes *other)
{
    return one->start < one->end && other->start < other->end && one->start < other->end &&
           other->start < one->end;
}

/* What was granted is what was asked for, or more; somebody finds out how large the object is. */
static void check_granted(struct world *world, const struct command *command)
{
    uint64_t object = command->wants[0].object, size = below(world, BYTES / 2);
    const struct held *held = &world->held[command->session][object];

    if (!held->part)
        return;
    g_assert_true(command->part);
    g_assert_cmpuint(held->bytes.start, <=, command->bytes.start);
    g_assert_cmpuint(held->bytes.end, >=, command->bytes.end);
    ph_leases_size_known(world->leases, world->session[command->session], held->id, size);
    if (size > world->known[object])
        world->known[object] = size;
}

static void acquired(struct world *world, struct command *command)
{
    command->used = false;
    if (!command->claim.refused)
        take(world, command->session, command->wants[0].object, command->claim.lease,
             ph_leases_mode(world->leases, world->session[command->session], command->claim.lease));
    if (!command->claim.refused)
        check_granted(world, command);
}

static void on_go(void *data, struct ph_lease_claim *claim)
{
    struct world *world = data;
    struct command *command = (struct command *) (void *) ((char *) claim - offsetof(struct command, claim));

    g_assert_true(command->used);
    g_assert_false(command->went);
    command->went = true;
    if (command->acquires)
        acquired(world, command);
}

static void on_fence(void *data, struct ph_lease_session *session)
{
    g_assert_not_reached(); /* no time passes */
}

/* ---- What is promised ------------------------------------------------------ */

static bool concerns(const struct command *command, uint64_t object, bool change)
{
    for (size_t i = 0; i < command->count; i++) {
        if ((command->wants[i].object == object || command->wants[i].object == PH_LEASE_ALL) &&
            (command->wants[i].change || !change))
            return true;
    }
    return false;
}

static bool runs(const struct command *command)
{
    return command->used && !command->acquires && command->claim.state == PH_LEASE_RUNNING;
}

/* Who has a range excludes who wants its bytes, or what depends on the size. */
static bool excludes(const struct world *world, const struct held *held, const struct command *command,
                     uint64_t object)
{
    bool result = false;

    for (size_t i = 0; i < command->count; i++) {
        const struct ph_lease_want *want = &command->wants[i];

        if (want->object != object && want->object != PH_LEASE_ALL)
            continue;
        result = result || !want->part || overlap(&want->bytes, &held->bytes) ||
                 (!want->change && want->bytes.end > world->known[object] &&
                  held->bytes.end > world->known[object]);
    }
    return result;
}

static void check_ranges(struct world *world, uint64_t object)
{
    unsigned ranges = 0, others = 0;

    for (int i = 0; i < SESSIONS; i++) {
        const struct held *held = &world->held[i][object];

        ranges += held->part;
        others += held->mode != PH_LEASE_NONE && !held->part;
        for (int j = 0; j < SESSIONS && held->part; j++)
            g_assert_false(i != j && world->held[j][object].part &&
                           overlap(&held->bytes, &world->held[j][object].bytes));
        for (unsigned j = 0; j < CLAIMS && held->part; j++)
            g_assert_false(runs(&world->command[j]) && world->command[j].session != i &&
                           excludes(world, held, &world->command[j], object));
    }
    g_assert_true(ranges == 0 || others == 0);
    if (ranges == 0)
        world->known[object] = 0;
}

static void check_object(const struct world *world, uint64_t object)
{
    unsigned holders = 0, exclusive = 0;

    for (int i = 0; i < SESSIONS; i++) {
        const struct held *held = &world->held[i][object];

        g_assert_cmpint(ph_leases_mode(world->leases, world->session[i], held->id), ==, held->mode);
        if (held->part)
            continue;
        holders += held->mode != PH_LEASE_NONE;
        exclusive += held->mode == PH_LEASE_EXCLUSIVE;
        for (unsigned j = 0; j < CLAIMS && held->mode != PH_LEASE_NONE; j++) {
            const struct command *command = &world->command[j];

            if (!runs(command) || command->session == i)
                continue;
            g_assert_false(concerns(command, object, true));
            g_assert_false(held->mode == PH_LEASE_EXCLUSIVE && concerns(command, object, false));
        }
    }
    g_assert_true(exclusive == 0 || (exclusive == 1 && holders == 1));
}

static void check(struct world *world)
{
    for (uint64_t object = 1; object <= OBJECTS; object++) {
        check_object(world, object);
        check_ranges(world, object);
    }
}

/* ---- What happens ----------------------------------------------------------- */

static void spoil(struct world *world, const struct command *command)
{
    for (unsigned i = 0; i < READINGS; i++)
        world->reading[i].spoilt =
            world->reading[i].spoilt || concerns(command, world->reading[i].object, true);
}

static void spoil_running(struct world *world)
{
    for (unsigned i = 0; i < CLAIMS; i++) {
        if (runs(&world->command[i]))
            spoil(world, &world->command[i]);
    }
}

static struct command *unused(struct world *world)
{
    for (unsigned i = 0; i < CLAIMS; i++) {
        if (!world->command[i].used)
            return &world->command[i];
    }
    return NULL;
}

static void begin_claim(struct world *world)
{
    struct command *command = unused(world);

    if (command == NULL)
        return;
    *command = (struct command){.used = true, .session = (int) below(world, SESSIONS + 1)};
    command->count = below(world, 12) == 0 ? 0 : 1 + below(world, PH_LEASE_CLAIM_KEYS);
    for (size_t i = 0; i < command->count; i++)
        command->wants[i] = (struct ph_lease_want){.object = (uint64_t) i + 1 + below(world, OBJECTS - i),
                                                   .change = below(world, 2) == 0};
    if (world->ranges && command->count == 1 && below(world, 3) > 0) {
        command->wants[0].part = true;
        command->wants[0].bytes = some_bytes(world, 0, BYTES);
    }
    if (command->count == 0)
        command->wants[command->count++] = (struct ph_lease_want){.object = PH_LEASE_ALL, .change = true};
    ph_leases_claim(world->leases, &command->claim,
                    command->session == SESSIONS ? NULL : world->session[command->session], 0, command->wants,
                    command->count);
}

static void begin_acquire(struct world *world)
{
    struct command *command = unused(world);

    if (command == NULL)
        return;
    *command = (struct command){.used = true, .acquires = true, .session = (int) below(world, SESSIONS)};
    command->count = 1;
    command->wants[0].object = 1 + below(world, OBJECTS);
    command->mode = 1 + (enum ph_lease_mode) below(world, 2);
    command->part = world->ranges && command->mode == PH_LEASE_EXCLUSIVE && below(world, 4) > 0;
    command->bytes = some_bytes(world, 0, BYTES);
    command->bytes.end += command->bytes.start == command->bytes.end;
    if (ph_leases_acquire(world->leases, &command->claim, world->session[command->session],
                          command->wants[0].object, command->mode, command->part ? &command->bytes : NULL))
        acquired(world, command);
    else if (command->claim.state == PH_LEASE_IDLE) {
        g_assert_true(command->claim.refused);
        command->used = false;
    }
}

/* A command is done, or one that waits is given up. */
static void end_command(struct world *world, bool waiting)
{
    struct command *command = &world->command[below(world, CLAIMS)];

    if (!command->used || (command->claim.state == PH_LEASE_WAITING) != waiting)
        return;
    ph_leases_claim_end(world->leases, &command->claim);
    command->used = false;
}

static void keep_part(struct world *world, int session, uint64_t object)
{
    struct held *held = &world->held[session][object];
    struct ph_lease_bytes all = {0, BYTES};
    uint64_t id = held->id;

    if (held->part)
        all = (struct ph_lease_bytes){held->bytes.start, MIN(held->bytes.end, held->bytes.start + BYTES)};
    all = some_bytes(world, all.start, all.end);
    *held = (struct held){0};
    if (all.start < all.end)
        *held = (struct held){.id = id, .mode = PH_LEASE_EXCLUSIVE, .part = true, .bytes = all};
    g_assert_true(ph_leases_keep_part(world->leases, world->session[session], id, &all));
}

static void give_back(struct world *world, int session, uint64_t object)
{
    struct held *held = &world->held[session][object];
    uint64_t id = held->id;

    if (held->mode == PH_LEASE_NONE)
        return;
    if (world->ranges && held->mode == PH_LEASE_EXCLUSIVE && below(world, 2) == 0) {
        keep_part(world, session, object);
        return;
    }
    if (held->part && below(world, 2) == 0) {
        *held = (struct held){0}; /* a range cannot be shared */
        g_assert_true(ph_leases_keep_shared(world->leases, world->session[session], id));
        return;
    }
    if (!held->part && held->mode == PH_LEASE_EXCLUSIVE && below(world, 2) == 0) {
        held->mode = PH_LEASE_SHARED;
        held->recalled = held->recalled && held->keep == PH_LEASE_NONE;
        g_assert_true(ph_leases_keep_shared(world->leases, world->session[session], id));
        return;
    }
    *held = (struct held){0};
    g_assert_true(ph_leases_release(world->leases, world->session[session], id));
    g_assert_false(ph_leases_release(world->leases, world->session[session], id));
}

static void begin_reading(struct world *world)
{
    struct reading *reading = &world->reading[below(world, READINGS)];

    *reading = (struct reading){.used = true,
                                .session = (int) below(world, SESSIONS),
                                .object = 1 + below(world, OBJECTS),
                                .since = ph_leases_clock(world->leases)};
}

static void end_reading(struct world *world)
{
    struct reading *reading = &world->reading[below(world, READINGS)];
    enum ph_lease_mode mode;
    uint64_t id;

    if (!reading->used)
        return;
    reading->used = false;
    id = ph_leases_grant(world->leases, world->session[reading->session], NULL, reading->object,
                         reading->since, &mode);
    if (id == 0)
        return;
    g_assert_false(reading->spoilt);
    g_assert_false(world->held[reading->session][reading->object].recalled);
    take(world, reading->session, reading->object, id, mode);
}

static void change_outside(struct world *world)
{
    uint64_t object = below(world, 4) == 0 ? PH_LEASE_ALL : 1 + below(world, OBJECTS);
    struct command nobodys = {.count = 1, .wants = {{object, true}}};

    spoil(world, &nobodys);
    ph_leases_changed_outside(world->leases, 0, object);
}

static void step(struct world *world)
{
    spoil_running(world);
    switch (below(world, 12)) {
    case 0:
    case 1:
        begin_claim(world);
        break;
    case 2:
        begin_acquire(world);
        break;
    case 3:
    case 4:
        end_command(world, false);
        break;
    case 5:
        end_command(world, true);
        break;
    case 6:
    case 7:
        give_back(world, (int) below(world, SESSIONS), 1 + below(world, OBJECTS));
        break;
    case 8:
    case 9:
        begin_reading(world);
        break;
    case 10:
        end_reading(world);
        break;
    default:
        if (below(world, 10) == 0)
            change_outside(world);
        break;
    }
    spoil_running(world);
    check(world);
}

/* Everybody answers, everything that runs ends: nothing waits any more. */
static void come_to_rest(struct world *world)
{
    for (unsigned round = 0; round < 4 * CLAIMS; round++) {
        for (unsigned i = 0; i < CLAIMS; i++) {
            if (runs(&world->command[i])) {
                ph_leases_claim_end(world->leases, &world->command[i].claim);
                world->command[i].used = false;
            }
        }
        for (int i = 0; i < SESSIONS; i++) {
            for (uint64_t object = 1; object <= OBJECTS; object++) {
                if (world->held[i][object].recalled)
                    give_back(world, i, object);
            }
        }
        check(world);
    }
    for (unsigned i = 0; i < CLAIMS; i++)
        g_assert_false(world->command[i].used);
}

static void run_world(uint64_t seed)
{
    static const uint64_t epoch = 3;
    struct world world = {0};
    const struct ph_lease_hooks hooks = {on_recall, on_go, on_fence, on_fence, &world};
    size_t count = 0;

    ph_random_seed(&world.random, seed);
    world.ranges = seed % 2 == 0;
    world.leases = ph_leases_new(&epoch, 1, seed, &hooks);
    for (uint8_t i = 0; i < SESSIONS; i++) {
        uint8_t client[PH_LEASE_CLIENT_BYTES] = {i};

        world.session[i] = ph_lease_session_new(world.leases, 0, client, NULL, "");
        if (world.ranges)
            ph_lease_session_takes_ranges(world.session[i]);
    }
    for (unsigned i = 0; i < STEPS; i++)
        step(&world);
    come_to_rest(&world);
    for (int i = 0; i < SESSIONS; i++) {
        for (uint64_t object = 1; object <= OBJECTS; object++)
            count += world.held[i][object].mode != PH_LEASE_NONE;
    }
    g_assert_cmpuint(ph_leases_count(world.leases), ==, count);
    ph_leases_free(world.leases);
}

static void test_model(void)
{
    for (uint64_t seed = 1; seed <= WORLDS; seed++) {
        g_test_message("world %" G_GUINT64_FORMAT, seed);
        run_world(seed);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/lease/agrees-with-a-naive-model", test_model);
    return g_test_run();
}
