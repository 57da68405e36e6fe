/* What the session core promises about what is open: in a session that goes on at a server that was started
 * anew, section 4.5, and in the one after a session that was lost, 4.7. */
#include <string.h>

#include "client/core/tests/world.h"
#include "ph_commands.h"
#include "runtime/base/arena.h"
#include "runtime/base/limits.h"
#include "runtime/wire/command.h"

static void init(struct world *world)
{
    world_init_write_back(world, UINT64_MAX, 1);
    world->resumable = true;
    world_open(world);
    sent_free(world_take(world, PH_CMD_IDS_GRANT));
}

/* The server dies; another one in the same place answers the resuming. */
static void restart(struct world *world)
{
    world_lose(world, "reset");
    world->epoch++;
    world->resumed = true;
    world_open(world);
    world->resumed = false;
}

static void answer(struct world *world, uint16_t command)
{
    struct sent *sent = world_take(world, command);
    g_assert_nonnull(sent);
    world_answer(world, sent, PH_ST_OK, NULL);
}

static void submit(struct world *world, uint16_t command, const ProtobufCMessage *message)
{
    struct outcome outcome;
    world_submit(world, command, message, NULL, &outcome);
    answer(world, command);
    g_assert_cmpuint(outcome.status, ==, PH_ST_OK);
}

static void open_file(struct world *world, uint64_t object, uint64_t handle)
{
    Pohmel__Caller caller = POHMEL__CALLER__INIT;
    Pohmel__OpenRequest message = POHMEL__OPEN_REQUEST__INIT;
    caller.uid = 42;
    message.caller = &caller;
    message.object = object;
    message.handle = handle;
    message.access = 3;
    message.data_max = 4096;
    submit(world, PH_CMD_OPEN, &message.base);
}

/* The server closes it at once. */
static void open_briefly(struct world *world, uint64_t object, uint64_t handle)
{
    struct outcome outcome;
    Pohmel__Time time = POHMEL__TIME__INIT;
    Pohmel__Attr attr = POHMEL__ATTR__INIT;
    Pohmel__OpenReply reply = POHMEL__OPEN_REPLY__INIT;
    Pohmel__Caller caller = POHMEL__CALLER__INIT;
    Pohmel__OpenRequest message = POHMEL__OPEN_REQUEST__INIT;
    message.caller = &caller;
    message.object = object;
    message.handle = handle;
    message.access = 1;
    message.brief = true;
    attr.object = object;
    attr.accessed = attr.modified = attr.changed = &time;
    reply.attr = &attr;
    reply.closed = true;
    world_submit(world, PH_CMD_OPEN, &message.base, NULL, &outcome);
    world_answer(world, world_take(world, PH_CMD_OPEN), PH_ST_OK, &reply.base);
    g_assert_cmpuint(outcome.status, ==, PH_ST_OK);
}

static void close_file(struct world *world, uint64_t object, uint64_t handle)
{
    Pohmel__CloseRequest message = POHMEL__CLOSE_REQUEST__INIT;
    message.object = object;
    message.handle = handle;
    submit(world, PH_CMD_CLOSE, &message.base);
}

static void lock(struct world *world, uint64_t handle, uint64_t offset, uint64_t length, bool shared)
{
    Pohmel__Range range = POHMEL__RANGE__INIT;
    Pohmel__LockRequest message = POHMEL__LOCK_REQUEST__INIT;
    range.offset = offset;
    range.length = length;
    message.object = 10;
    message.handle = handle;
    message.owner = 5;
    message.range = &range;
    message.shared = shared;
    submit(world, PH_CMD_LOCK, &message.base);
}

static void unlock(struct world *world, uint64_t offset, uint64_t length)
{
    Pohmel__Range range = POHMEL__RANGE__INIT;
    Pohmel__UnlockRequest message = POHMEL__UNLOCK_REQUEST__INIT;
    range.offset = offset;
    range.length = length;
    message.object = 10;
    message.owner = 5;
    message.range = &range;
    submit(world, PH_CMD_UNLOCK, &message.base);
}

static const void *message_of(const struct sent *sent, struct ph_arena *arena)
{
    struct ph_fault fault = {0};
    return ph_decode(ph_command_info(sent->header.command)->request, sent->request->message,
                     sent->request->message_len, arena, &fault);
}

static void confirm(struct world *world)
{
    Pohmel__ReclaimDoneReply reply = POHMEL__RECLAIM_DONE_REPLY__INIT;
    reply.confirmed = true;
    struct sent *sent = world_take(world, PH_CMD_RECLAIM_DONE);
    g_assert_nonnull(sent);
    world_answer(world, sent, PH_ST_OK, &reply.base);
}

static void claim(struct world *world, size_t count)
{
    g_autofree struct ph_claim *claims = g_new0(struct ph_claim, count + 1);
    for (size_t i = 0; i < count; i++)
        claims[i] = (struct ph_claim){.object = 10 + i, .lease = 1000 + i, .version = 7, .mode = 2};
    ph_client_claims(world->client, claims, count, world->now_ms, &world->actions);
    world_act(world);
}

/* Handles, then locks, then leases, then transactions and the end of it, then all else. */
static void test_order(void)
{
    struct world world;
    struct outcome write, look, late;
    init(&world);
    open_file(&world, 10, 1);
    open_file(&world, 11, 2);
    open_file(&world, 12, 3);
    open_briefly(&world, 13, 4);
    close_file(&world, 11, 2);
    lock(&world, 1, 0, 100, false);
    unlock(&world, 40, 20);
    world_write(&world, 10, &write);
    world_getattr(&world, 7, &look);
    restart(&world);
    world_getattr(&world, 8, &late);
    g_assert_false(ph_client_is_open(world.client));
    struct ph_arena *arena = ph_arena_new(PH_ARENA_CAP_BYTES);
    for (uint64_t handle = 1; handle <= 3; handle += 2) {
        struct sent *sent = world_take(&world, PH_CMD_OPEN);
        const Pohmel__OpenRequest *open = message_of(sent, arena);
        g_assert_cmpuint(open->handle, ==, handle);
        g_assert_cmpuint(open->object, ==, 9 + handle);
        g_assert_cmpuint(open->caller->uid, ==, 42);
        g_assert_true(open->reopen && open->access == 3 && open->data_max == 0);
        g_assert_null(world_take(&world, PH_CMD_LOCK));
        world_answer(&world, sent, PH_ST_OK, NULL);
    }
    for (int i = 0; i < 2; i++) {
        struct sent *sent = world_take(&world, PH_CMD_LOCK);
        const Pohmel__LockRequest *again = message_of(sent, arena);
        g_assert_cmpuint(again->range->length, ==, 40);
        g_assert_true(again->range->offset == 0 || again->range->offset == 60);
        g_assert_true(again->handle == 1 && again->owner == 5 && !again->wait && !again->shared);
        g_assert_cmpint(world.claims, ==, 0);
        world_answer(&world, sent, PH_ST_OK, NULL);
    }
    g_assert_cmpint(world.claims, ==, 1);
    claim(&world, 2);
    struct sent *sent = world_take(&world, PH_CMD_RECLAIM);
    const Pohmel__ReclaimRequest *reclaim = message_of(sent, arena);
    g_assert_cmpuint(reclaim->n_claims, ==, 2);
    g_assert_cmpuint(reclaim->claims[1]->lease, ==, 1001);
    g_assert_cmpuint(reclaim->claims[1]->version, ==, 7);
    g_assert_null(world_take(&world, PH_CMD_TRANSACT));
    g_assert_cmpint(world.claimed, ==, 0);
    world_answer(&world, sent, PH_ST_OK, NULL);
    g_assert_cmpint(world.grants, ==, 1);
    g_assert_cmpint(world.claimed, ==, 1);
    sent = world_take(&world, PH_CMD_TRANSACT);
    g_assert_cmpuint(sent->header.flags, ==, PH_FLAG_RETRY);
    g_assert_null(world_take(&world, PH_CMD_GETATTR));
    g_assert_cmpuint(ph_client_opened(world.client)->epoch, ==, 1);
    confirm(&world); /* does not wait for the transaction */
    g_assert_true(ph_client_is_open(world.client));
    g_assert_cmpuint(ph_client_opened(world.client)->epoch, ==, 2);
    answer(&world, PH_CMD_GETATTR);
    answer(&world, PH_CMD_GETATTR);
    world_answer(&world, sent, PH_ST_OK, NULL);
    g_assert_true(write.completions == 1 && look.completions == 1 && late.completions == 1);
    g_assert_true(world.losses == 0 && world.opens == 1);
    ph_arena_free(arena);
    world_clear(&world);
}

/* The first answer of the new server does not make leases last longer: only the end of it all does. */
static void test_leases_wait(void)
{
    struct world world;
    init(&world);
    uint64_t before_ms = ph_client_answered_sent_ms(world.client);
    world_pass(&world, 1000);
    restart(&world);
    g_assert_cmpuint(ph_client_answered_sent_ms(world.client), ==, before_ms);
    claim(&world, 1);
    answer(&world, PH_CMD_RECLAIM);
    g_assert_cmpuint(ph_client_answered_sent_ms(world.client), ==, before_ms);
    uint64_t sent_ms = world.now_ms;
    world_pass(&world, 50);
    confirm(&world);
    g_assert_cmpuint(ph_client_answered_sent_ms(world.client), ==, sent_ms);
    world_clear(&world);
}

static void test_again(void)
{
    struct world world;
    struct outcome write;
    init(&world);
    open_file(&world, 10, 1);
    world_write(&world, 10, &write);
    restart(&world);
    answer(&world, PH_CMD_OPEN);
    claim(&world, 3);
    world_lose(&world, "reset");
    world.resumed = true;
    world_open(&world); /* of the same start: it was not done */
    answer(&world, PH_CMD_OPEN);
    g_assert_cmpint(world.claims, ==, 2);
    claim(&world, 3);
    answer(&world, PH_CMD_RECLAIM);
    confirm(&world);
    answer(&world, PH_CMD_TRANSACT);
    g_assert_cmpint(write.completions, ==, 1);
    g_assert_cmpint(world.losses, ==, 0);
    world_clear(&world);
}

static void test_too_late(void)
{
    struct world world;
    struct outcome write;
    init(&world);
    world_write(&world, 10, &write);
    restart(&world);
    claim(&world, 1);
    world_answer(&world, world_take(&world, PH_CMD_RECLAIM), PH_ST_NO_SESSION, NULL);
    g_assert_cmpint(world.losses, ==, 1);
    world_lose(&world, "closed");
    g_assert_cmpuint(write.status, ==, PH_ST_IO_ERROR);
    world_open(&world);
    g_assert_cmpuint(ph_client_opened(world.client)->generation, ==, 2);
    world_clear(&world);
}

/* More than fit into one request, or at once. */
static void test_many(void)
{
    struct world world;
    init(&world);
    for (uint64_t handle = 1; handle <= 100; handle++)
        open_file(&world, 1000 + handle, handle);
    restart(&world);
    size_t opens = 0;
    for (struct sent *sent; (sent = world_take(&world, PH_CMD_OPEN)); opens++) {
        g_assert_cmpuint(world.sent.length, <, WORLD_CREDITS);
        world_answer(&world, sent, opens == 50 ? PH_ST_STALE : PH_ST_OK, NULL);
    }
    g_assert_cmpuint(opens, ==, 100);
    g_assert_cmpuint(ph_client_counters(world.client)->not_reopened, ==, 1);
    claim(&world, 2500);
    for (int i = 0; i < 3; i++)
        answer(&world, PH_CMD_RECLAIM);
    confirm(&world);
    g_assert_true(ph_client_is_open(world.client));
    world_clear(&world);
}

/* --- After a session that was lost --- */

/* It was fenced; the next one is opened. */
static void lose(struct world *world)
{
    world_getattr(world, 1, NULL);
    struct sent *sent = world_take(world, PH_CMD_GETATTR);
    if (sent == NULL) /* it waits until all is open again, and longer than this function */
        sent = world_take(world, PH_CMD_OPEN);
    world_answer(world, sent, PH_ST_FENCED, NULL);
    world_lose(world, "closed");
    world_open(world);
}

static bool has(const struct world *world, uint64_t handle)
{
    return ph_client_has_handle(world->client, handle);
}

/* Takes the OPEN of HANDLE, which is to be the next. */
static struct sent *take_again(struct world *world, uint64_t handle)
{
    struct ph_arena *arena = ph_arena_new(PH_ARENA_CAP_BYTES);
    struct sent *sent = world_take(world, PH_CMD_OPEN);
    g_assert_nonnull(sent);
    const Pohmel__OpenRequest *open = message_of(sent, arena);
    g_assert_true(open->handle == handle && open->reopen && open->access == 3 && open->data_max == 0);
    ph_arena_free(arena);
    return sent;
}

static void test_open_files_outlive_the_session(void)
{
    struct world world;
    struct outcome again;
    init(&world);
    for (uint64_t handle = 1; handle <= 4; handle++)
        open_file(&world, 9 + handle, handle);
    open_file(&world, 20, PH_HANDLE_OWN_BIT | 1);
    close_file(&world, 11, 2);
    lock(&world, 1, 0, 100, false); /* of object 10 */
    lose(&world);
    world_getattr(&world, 8, &again);
    g_assert_true(!has(&world, 1) && !has(&world, 2) && has(&world, 3) && has(&world, 4));
    g_assert_false(has(&world, PH_HANDLE_OWN_BIT | 1));
    struct sent *third = take_again(&world, 3), *fourth = take_again(&world, 4);
    g_assert_null(world_take(&world, PH_CMD_OPEN));
    world_answer(&world, third, PH_ST_OK, NULL);
    g_assert_null(world_take(&world, PH_CMD_GETATTR)); /* it may be about what is being opened */
    world_answer(&world, fourth, PH_ST_STALE, NULL);
    g_assert_false(has(&world, 4));
    g_assert_cmpuint(ph_client_counters(world.client)->not_reopened, ==, 1);
    answer(&world, PH_CMD_GETATTR);
    g_assert_cmpuint(again.status, ==, PH_ST_OK);
    lose(&world);
    world_answer(&world, take_again(&world, 3), PH_ST_OK, NULL);
    g_assert_null(world_take(&world, PH_CMD_OPEN));
    world_clear(&world);
}

/* Who wakes up and goes on before it knows that its session is over sees no error. */
static void test_what_was_asked_after_a_pause_waits_for_the_session(void)
{
    struct world world;
    struct outcome read, wrote;
    init(&world);
    open_file(&world, 10, 1);
    world.now_ms += ph_client_opened(world.client)->lease_ttl_ms;
    world_read(&world, 100, &read);
    world_write(&world, 100, &wrote);
    g_assert_null(world_take(&world, PH_CMD_READ));
    g_assert_null(world_take(&world, PH_CMD_TRANSACT));
    world_pass(&world, 0);
    g_assert_cmpint(world.disconnects, ==, 1);
    world_lose(&world, "paused");
    world_open_sent(&world);
    world_answer(&world, world_take(&world, PH_CMD_SESSION_OPEN), PH_ST_FENCED, NULL);
    world_lose(&world, "closed");
    world_open(&world);
    world_answer(&world, take_again(&world, 1), PH_ST_OK, NULL);
    answer(&world, PH_CMD_READ);
    answer(&world, PH_CMD_TRANSACT);
    g_assert_cmpuint(read.status, ==, PH_ST_OK);
    g_assert_cmpuint(wrote.status, ==, PH_ST_OK);
    world_clear(&world);
}

/* A close is sent before all else, and then what it closed is opened all the same. */
static void test_what_was_closed_meanwhile_is_closed(void)
{
    struct world world;
    struct outcome closed;
    Pohmel__CloseRequest message = POHMEL__CLOSE_REQUEST__INIT;
    init(&world);
    open_file(&world, 10, 1);
    lose(&world);
    message.object = 10;
    message.handle = 1;
    world_submit(&world, PH_CMD_CLOSE, &message.base, NULL, &closed);
    world_answer(&world, world_take(&world, PH_CMD_CLOSE), PH_ST_BAD_HANDLE, NULL);
    g_assert_false(has(&world, 1));
    world_answer(&world, take_again(&world, 1), PH_ST_OK, NULL);
    answer(&world, PH_CMD_CLOSE);
    lose(&world);
    g_assert_null(world_take(&world, PH_CMD_OPEN));
    world_clear(&world);
}

static void test_connections_that_break_meanwhile(void)
{
    struct world world;
    struct outcome look;
    init(&world);
    for (uint64_t handle = 1; handle <= 100; handle++)
        open_file(&world, 1000 + handle, handle);
    lose(&world);
    world_answer(&world, take_again(&world, 1), PH_ST_OK, NULL);
    world_lose(&world, "reset");
    world.resumed = true;
    world_open(&world); /* the same session */
    world.resumed = false;
    world_getattr(&world, 7, &look);
    size_t opens = 0;
    for (struct sent *sent; (sent = world_take(&world, PH_CMD_OPEN)); opens++)
        world_answer(&world, sent, PH_ST_OK, NULL);
    g_assert_cmpuint(opens, ==, 99);
    answer(&world, PH_CMD_GETATTR);
    lose(&world); /* and another */
    for (opens = 0; opens < 10; opens++)
        world_answer(&world, take_again(&world, 1 + opens), PH_ST_OK, NULL);
    lose(&world);
    for (opens = 0; opens < 100; opens++)
        world_answer(&world, take_again(&world, 1 + opens), PH_ST_OK, NULL);
    world_getattr(&world, 7, &look);
    answer(&world, PH_CMD_GETATTR);
    world_clear(&world);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/client/recover/handles, locks, leases, transactions, all else, in this order",
                    test_order);
    g_test_add_func("/client/recover/leases last longer from the end of it on", test_leases_wait);
    g_test_add_func("/client/recover/begins anew when the connection breaks", test_again);
    g_test_add_func("/client/recover/a session that comes too late is lost", test_too_late);
    g_test_add_func("/client/recover/however much there is", test_many);
    g_test_add_func("/client/recover/open files outlive a session that is lost, but for locked ones",
                    test_open_files_outlive_the_session);
    g_test_add_func("/client/recover/what was asked after a pause waits for the session",
                    test_what_was_asked_after_a_pause_waits_for_the_session);
    g_test_add_func("/client/recover/what was closed in between is closed",
                    test_what_was_closed_meanwhile_is_closed);
    g_test_add_func("/client/recover/open files outlive sessions that end while they are opened again",
                    test_connections_that_break_meanwhile);
    return g_test_run();
}
