/* Credits, slots, and the end of each request exactly once. */
#include <string.h>

#include "client/core/tests/world.h"
#include "ph_commands.h"
#include "runtime/base/limits.h"
#include "runtime/base/random.h"

static void test_slots(void)
{
    struct world world;
    struct outcome outcomes[6];
    world_init(&world, 0, true, 1);
    world_open(&world);
    for (int i = 0; i < 6; i++)
        world_write(&world, 10, &outcomes[i]);
    struct sent *sent[WORLD_SLOTS];
    bool seen[WORLD_SLOTS] = {false};
    for (int i = 0; i < WORLD_SLOTS; i++) {
        sent[i] = world_take(&world, PH_CMD_TRANSACT);
        g_assert_nonnull(sent[i]);
        g_assert_cmpuint(sent[i]->header.slot, <, WORLD_SLOTS);
        g_assert_cmpuint(sent[i]->header.sequence, ==, 1);
        g_assert_false(seen[sent[i]->header.slot]);
        seen[sent[i]->header.slot] = true;
    }
    g_assert_null(world_take(&world, PH_CMD_TRANSACT));
    struct outcome reader;
    world_getattr(&world, 1, &reader); /* is not held up by them */
    g_assert_nonnull(world.sent.head);
    uint32_t slot = sent[2]->header.slot;
    world_answer(&world, sent[2], PH_ST_OK, NULL);
    sent[2] = world_take(&world, PH_CMD_TRANSACT);
    g_assert_cmpuint(sent[2]->header.slot, ==, slot);
    g_assert_cmpuint(sent[2]->header.sequence, ==, 2);
    for (int i = 0; i < WORLD_SLOTS; i++)
        world_answer(&world, sent[i], PH_ST_OK, NULL);
    world_clear(&world);
}

static void test_big_not_starved(void)
{
    struct world world;
    struct outcome small[12], big, after;
    world_init(&world, 0, true, 1);
    world.credits = 36; /* 8 of them for releases, 9 never for what may be held */
    world_open(&world);
    for (int i = 0; i < 12; i++)
        world_getattr(&world, 1, &small[i]);
    world_write(&world, 1 << 20, &big); /* 17 credits */
    world_getattr(&world, 2, &after);
    g_assert_cmpuint(ph_client_queued(world.client), ==, 2);
    for (int i = 0; i < 11; i++)
        world_answer(&world, world_take(&world, PH_CMD_GETATTR), PH_ST_OK, NULL);
    struct sent *sent = world_take(&world, PH_CMD_TRANSACT);
    g_assert_nonnull(sent);
    g_assert_cmpuint(sent->request->cost, ==, 17);
    g_assert_cmpuint(sent->header.credits, ==, 0); /* R-3.6-5 */
    world_answer(&world, sent, PH_ST_OK, NULL);
    g_assert_cmpuint(ph_client_queued(world.client), ==, 0);
    world_clear(&world);
}

/* Others may wait for a lease of ours, which can only be given back when a read was answered. */
static void test_reads_pass_held(void)
{
    struct world world;
    struct outcome writes[16], read;
    world_init(&world, 0, true, 1);
    world.credits = 64;
    world.slots = 16;
    world_open(&world);
    for (int i = 0; i < 16; i++)
        world_write(&world, 1 << 18, &writes[i]); /* 5 credits each */
    g_assert_cmpuint(ph_client_queued(world.client), >, 0);
    world_read(&world, 1 << 19, &read);
    struct sent *sent = world_take(&world, PH_CMD_READ);
    g_assert_nonnull(sent);
    sent_free(sent);
    world_clear(&world);
}

/* With exclusive leases of others whatever looks at an object may wait, not only what changes it. */
static void test_reads_pass_looks(void)
{
    struct world world;
    struct outcome looks[WORLD_CREDITS], read;
    world_init(&world, 0, true, 1);
    world_open(&world);
    for (int i = 0; i < WORLD_CREDITS; i++)
        world_getattr(&world, 1, &looks[i]);
    g_assert_cmpuint(ph_client_queued(world.client), >, 0);
    world_read(&world, 1 << 19, &read);
    struct sent *sent = world_take(&world, PH_CMD_READ);
    g_assert_nonnull(sent);
    sent_free(sent);
    world_clear(&world);
}

/* A big one that waits for what small ones of another kind take is not overtaken by these. */
static void test_big_passed_by_no_look(void)
{
    struct world world;
    struct outcome small[10], big, after;
    world_init(&world, 0, true, 1);
    world.credits = 36; /* 19 for what may be held */
    world_open(&world);
    for (int i = 0; i < 10; i++)
        world_getattr(&world, 1, &small[i]);
    world_write(&world, 1 << 20, &big); /* 17 credits */
    world_getattr(&world, 2, &after);
    for (int i = 0; i < 7; i++)
        world_answer(&world, world_take(&world, PH_CMD_GETATTR), PH_ST_OK, NULL);
    g_assert_cmpuint(ph_client_queued(world.client), ==, 2); /* not even the one that there is room for */
    world_answer(&world, world_take(&world, PH_CMD_GETATTR), PH_ST_OK, NULL);
    g_assert_cmpuint(ph_client_queued(world.client), ==, 1);
    struct sent *sent = world_take(&world, PH_CMD_TRANSACT);
    g_assert_nonnull(sent);
    sent_free(sent);
    world_clear(&world);
}

static void test_too_big_ever(void)
{
    struct world world;
    struct outcome outcome;
    world_init(&world, 1000, true, 1);
    world.credits = 16;
    world_write(&world, 1 << 20, &outcome); /* taken before the credits are known */
    world_open(&world);
    g_assert_cmpint(outcome.completions, ==, 1);
    g_assert_cmpuint(outcome.status, ==, PH_ST_LIMIT);
    g_assert_cmpuint(ph_client_payload_max(world.client), <, 1 << 20);
    world_clear(&world);
}

static void test_releases_pass(void)
{
    struct world world;
    struct outcome reads[80], unlocked;
    world_init(&world, 0, true, 1);
    world_open(&world);
    for (int i = 0; i < 80; i++)
        world_read(&world, 1, &reads[i]);
    g_assert_cmpuint(ph_client_queued(world.client), ==, 80 - (WORLD_CREDITS - PH_RELEASE_CREDITS));
    Pohmel__Range range = POHMEL__RANGE__INIT;
    Pohmel__UnlockRequest unlock = POHMEL__UNLOCK_REQUEST__INIT;
    unlock.object = 1;
    unlock.range = &range;
    world_submit(&world, PH_CMD_UNLOCK, &unlock.base, NULL, &unlocked);
    struct sent *sent = world_take(&world, PH_CMD_UNLOCK);
    g_assert_nonnull(sent);
    g_assert_cmpuint(sent->header.traffic_class, ==, PH_CLASS_RELEASE);
    world_answer(&world, sent, PH_ST_OK, NULL);
    world_clear(&world);
}

static void submit_lock(struct world *world, struct outcome *outcome, uint64_t *ticket)
{
    Pohmel__Range range = POHMEL__RANGE__INIT;
    Pohmel__LockRequest lock = POHMEL__LOCK_REQUEST__INIT;
    range.length = 1;
    lock.object = lock.handle = 1;
    lock.range = &range;
    lock.wait = true;
    *ticket = world_submit(world, PH_CMD_LOCK, &lock.base, NULL, outcome);
}

static void test_waits_leave_room(void)
{
    struct world world;
    struct outcome waits[WORLD_CREDITS], reader;
    uint64_t tickets[WORLD_CREDITS];
    world_init(&world, 0, true, 1);
    world_open(&world);
    for (int i = 0; i < WORLD_CREDITS; i++)
        submit_lock(&world, &waits[i], &tickets[i]);
    g_assert_cmpuint(ph_client_queued(world.client), ==, WORLD_CREDITS / 2);
    world_getattr(&world, 1, &reader);
    struct sent *sent = world_take(&world, PH_CMD_GETATTR);
    g_assert_nonnull(sent);
    world_answer(&world, sent, PH_ST_OK, NULL);
    world_clear(&world);
}

static void test_cancel(void)
{
    struct world world;
    struct outcome flying, queued;
    uint64_t ticket;
    world_init(&world, 0, true, 1);
    world.credits = 1;
    world_open(&world);
    submit_lock(&world, &flying, &ticket);
    uint64_t second = world_getattr(&world, 1, &queued);
    ph_client_cancel(world.client, second, &world.actions);
    world_act(&world);
    g_assert_cmpint(queued.completions, ==, 1);
    g_assert_cmpuint(queued.status, ==, PH_ST_CANCELLED);
    g_assert_cmpint(world.cancels, ==, 0);
    ph_client_cancel(world.client, ticket, &world.actions);
    world_act(&world);
    g_assert_cmpint(world.cancels, ==, 1);
    g_assert_cmpint(flying.completions, ==, 0);
    world_answer(&world, world_take(&world, PH_CMD_LOCK), PH_ST_CANCELLED, NULL);
    g_assert_cmpint(flying.completions, ==, 1);
    ph_client_cancel(world.client, ticket, &world.actions);
    ph_client_cancel(world.client, 999, &world.actions);
    world_act(&world);
    g_assert_cmpint(world.cancels, ==, 1);
    world_clear(&world);
}

static void test_abandon(void)
{
    struct world world;
    struct outcome outcome;
    world_init(&world, 0, true, 1);
    world_open(&world);
    uint64_t ticket = world_getattr(&world, 1, &outcome);
    ph_client_abandon(world.client, ticket, &world.actions);
    world_act(&world);
    g_assert_cmpint(outcome.completions, ==, 1);
    g_assert_cmpuint(outcome.status, ==, PH_ST_CANCELLED);
    g_assert_cmpuint(ph_client_in_flight(world.client), ==, 1);
    world_answer(&world, world_take(&world, PH_CMD_GETATTR), PH_ST_OK, NULL);
    g_assert_cmpint(outcome.completions, ==, 1);
    g_assert_cmpuint(ph_client_credits_free(world.client), ==, WORLD_CREDITS);
    world_clear(&world);
}

static void test_abandoned_open_is_closed(void)
{
    struct world world;
    struct outcome outcome;
    Pohmel__Caller caller = POHMEL__CALLER__INIT;
    Pohmel__OpenRequest open = POHMEL__OPEN_REQUEST__INIT;
    open.caller = &caller;
    open.object = 17;
    open.handle = 4;
    open.access = 1;
    world_init(&world, 0, true, 1);
    world_open(&world);
    uint64_t ticket = world_submit(&world, PH_CMD_OPEN, &open.base, NULL, &outcome);
    ph_client_abandon(world.client, ticket, &world.actions);
    world_act(&world);
    world_answer(&world, world_take(&world, PH_CMD_OPEN), PH_ST_OK, NULL);
    struct sent *sent = world_take(&world, PH_CMD_CLOSE);
    g_assert_nonnull(sent);
    world_answer(&world, sent, PH_ST_OK, NULL);
    g_assert_cmpuint(ph_client_in_flight(world.client), ==, 0);
    world_clear(&world);
}

static void test_stale_is_tried_again(void)
{
    struct world world;
    struct outcome found, lost, dropped;
    world_init(&world, 0, true, 1);
    world_open(&world);
    world_getattr(&world, 5, &found);
    world_answer(&world, world_take(&world, PH_CMD_GETATTR), PH_ST_STALE, NULL);
    g_assert_cmpint(found.completions, ==, 0);
    struct ph_client_request *request = g_queue_pop_head(&world.parked);
    ph_client_resume(world.client, request, true, world.now_ms, &world.actions);
    world_act(&world);
    ph_request_unref(request);
    world_answer(&world, world_take(&world, PH_CMD_GETATTR), PH_ST_STALE, NULL);
    g_assert_cmpint(found.completions, ==, 1); /* once is enough */
    g_assert_cmpuint(found.status, ==, PH_ST_STALE);

    world_getattr(&world, 6, &lost);
    world_answer(&world, world_take(&world, PH_CMD_GETATTR), PH_ST_STALE, NULL);
    request = g_queue_pop_head(&world.parked);
    ph_client_resume(world.client, request, false, world.now_ms, &world.actions);
    world_act(&world);
    ph_request_unref(request);
    g_assert_cmpuint(lost.status, ==, PH_ST_STALE);

    uint64_t ticket = world_getattr(&world, 7, &dropped);
    world_answer(&world, world_take(&world, PH_CMD_GETATTR), PH_ST_STALE, NULL);
    ph_client_abandon(world.client, ticket, &world.actions);
    world_act(&world);
    g_assert_cmpuint(dropped.status, ==, PH_ST_CANCELLED);
    request = g_queue_pop_head(&world.parked);
    ph_client_resume(world.client, request, true, world.now_ms, &world.actions);
    world_act(&world);
    ph_request_unref(request);
    g_assert_cmpint(dropped.completions, ==, 1);
    world_clear(&world);
}

static void test_server_leaving(void)
{
    struct world world;
    struct outcome reader, writer, later;
    world_init(&world, 5000, true, 1);
    world_open(&world);
    world_getattr(&world, 1, &reader);
    world_write(&world, 10, &writer);
    struct sent *writing = world_take(&world, PH_CMD_TRANSACT);
    world_answer(&world, world_take(&world, PH_CMD_GETATTR), PH_ST_SHUTTING_DOWN, NULL);
    world_getattr(&world, 2, &later);
    g_assert_true(g_queue_is_empty(&world.sent)); /* nothing new to a server that leaves */
    world_answer(&world, writing, PH_ST_OK, NULL);
    g_assert_cmpint(writer.completions, ==, 1); /* what it began it answers */
    g_assert_cmpint(reader.completions, ==, 0);
    struct ph_fault fault = {.status = PH_ST_SHUTTING_DOWN, .text = "leaving"};
    ph_client_disconnected(world.client, &fault, world.now_ms, &world.actions);
    world_act(&world);
    world_open(&world);
    world_answer(&world, world_take(&world, PH_CMD_GETATTR), PH_ST_OK, NULL);
    world_answer(&world, world_take(&world, PH_CMD_GETATTR), PH_ST_OK, NULL);
    g_assert_cmpint(reader.completions, ==, 1);
    g_assert_cmpuint(reader.status, ==, PH_ST_OK);
    g_assert_cmpint(later.completions, ==, 1);
    world_clear(&world);
}

static void test_refused_transaction(void)
{
    struct world world;
    struct outcome refused, next;
    world_init(&world, 0, true, 1);
    world.slots = 1;
    world_open(&world);
    world_write(&world, 10, &refused);
    world_answer(&world, world_take(&world, PH_CMD_TRANSACT), PH_ST_WRONG_STATE, NULL);
    g_assert_cmpuint(refused.status, ==, PH_ST_WRONG_STATE);
    world_write(&world, 10, &next);
    struct sent *sent = world_take(&world, PH_CMD_TRANSACT);
    g_assert_cmpuint(sent->header.sequence, ==, 1); /* R-5.1-8: still the next one */
    world_answer(&world, sent, PH_ST_NO_SPACE, NULL);
    world_write(&world, 10, &next);
    sent = world_take(&world, PH_CMD_TRANSACT);
    g_assert_cmpuint(sent->header.sequence, ==, 2); /* R-5.1-9 */
    sent_free(sent);
    world_clear(&world);
}

enum { RANDOM_STEPS = 4000 };

/* One random thing to a random request. */
static void random_step(struct world *world, struct ph_random *random, struct outcome *outcomes,
                        uint64_t *tickets, int *count)
{
    int n = g_queue_get_length(&world->sent);
    switch (ph_random_below(random, 8)) {
    case 0:
    case 1:
        tickets[*count] = world_getattr(world, 1, &outcomes[*count]);
        ++*count;
        break;
    case 2:
        tickets[*count] = world_write(world, (uint32_t) ph_random_below(random, 300000), &outcomes[*count]);
        ++*count;
        break;
    case 3:
        ph_client_cancel(world->client, ph_random_below(random, 2 * RANDOM_STEPS), &world->actions);
        break;
    case 4:
        ph_client_abandon(world->client, ph_random_below(random, 2 * RANDOM_STEPS), &world->actions);
        break;
    default:
        if (n > 0) {
            struct sent *sent = g_queue_pop_nth(&world->sent, (guint) ph_random_below(random, (uint64_t) n));
            bool ids = sent->header.command == PH_CMD_IDS_GRANT;
            world_answer(world, sent, ids ? PH_ST_NO_OBJECTS : PH_ST_NOT_FOUND, NULL);
        }
    }
    world_act(world);
    if (ph_random_chance(random, 5)) {
        struct ph_fault fault = {.status = PH_ST_IO_ERROR, .text = "cut"};
        ph_client_disconnected(world->client, &fault, world->now_ms, &world->actions);
        world_act(world);
        world_open(world);
    }
}

/* Credits in use are those of what is in flight, and never more than there are. */
static void check_credits(struct world *world)
{
    uint32_t used = 0;
    for (GList *at = world->sent.head; at; at = at->next)
        used += ((struct sent *) at->data)->request->cost;
    g_assert_cmpuint(used, <=, world->credits);
    g_assert_cmpuint(ph_client_credits_free(world->client), ==, world->credits - used);
}

static void test_random(void)
{
    guint32 seed = g_test_rand_int();
    g_test_message("seed %u", seed);
    struct world world;
    struct ph_random random;
    g_autofree struct outcome *outcomes = g_new0(struct outcome, RANDOM_STEPS);
    g_autofree uint64_t *tickets = g_new0(uint64_t, RANDOM_STEPS);
    int count = 0;
    ph_random_seed(&random, seed);
    world_init(&world, 100000, false, seed);
    world_open(&world);
    for (int i = 0; i < RANDOM_STEPS; i++) {
        random_step(&world, &random, outcomes, tickets, &count);
        check_credits(&world);
    }
    while (!g_queue_is_empty(&world.sent))
        world_answer(&world, g_queue_pop_head(&world.sent), PH_ST_NOT_FOUND, NULL);
    for (int i = 0; i < count; i++)
        g_assert_cmpint(outcomes[i].completions, ==, 1);
    g_assert_cmpuint(ph_client_queued(world.client), ==, 0);
    g_assert_cmpuint(ph_client_in_flight(world.client), ==, 0);
    world_clear(&world);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/client/flow/a slot has one transaction at a time and counts from 1", test_slots);
    g_test_add_func("/client/flow/big requests are not starved by small ones", test_big_not_starved);
    g_test_add_func("/client/flow/what can never be paid for fails", test_too_big_ever);
    g_test_add_func("/client/flow/releases pass when credits are short", test_releases_pass);
    g_test_add_func("/client/flow/locks that wait leave room for others", test_waits_leave_room);
    g_test_add_func("/client/flow/cancelled: at once when queued, by the server when in flight", test_cancel);
    g_test_add_func("/client/flow/abandoned: at once, and the answer is dropped", test_abandon);
    g_test_add_func("/client/flow/what an abandoned request opened is closed", test_abandoned_open_is_closed);
    g_test_add_func("/client/flow/stale is tried again once, if the object is found",
                    test_stale_is_tried_again);
    g_test_add_func("/client/flow/a server that leaves keeps nobody from the next session",
                    test_server_leaving);
    g_test_add_func("/client/flow/a transaction refused unseen keeps its number", test_refused_transaction);
    g_test_add_func("/client/flow/every request ends once, whatever happens", test_random);
    g_test_add_func("/client/flow/what may be held leaves credits for reads", test_reads_pass_held);
    g_test_add_func("/client/flow/what looks at objects leaves credits for reads", test_reads_pass_looks);
    g_test_add_func("/client/flow/big requests are not starved by small ones of another kind",
                    test_big_passed_by_no_look);
    return g_test_run();
}
