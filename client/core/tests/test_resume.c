/* What the session core promises about a session that outlives its connection. Section 4.4. */
#include <string.h>

#include "client/core/tests/world.h"
#include "ph_commands.h"
#include "runtime/base/limits.h"

static void init(struct world *world, uint64_t patience_ms)
{
    world_init_write_back(world, patience_ms, 1);
    world->resumable = true;
    world_open(world);
    sent_free(world_take(world, PH_CMD_IDS_GRANT));
}

/* The connection breaks, another one is made, and the server has kept the session. */
static void resume(struct world *world)
{
    world_open_sent(world);
    world->resumed = true;
    world_open_answered(world);
    world->resumed = false;
}

static void test_same_slot(void)
{
    struct world world;
    struct outcome write, look, later;
    init(&world, 5000);
    g_assert_true(world_asked(&world).session == 0); /* answered */
    world_write(&world, 100, &write);
    world_getattr(&world, 7, &look);
    struct sent *first = world_take(&world, PH_CMD_TRANSACT);
    struct ph_frame_header before = first->header;
    sent_free(first);
    uint32_t free = ph_client_credits_free(world.client);
    world_lose(&world, "reset");
    world_write(&world, 100, &later);
    world_open_sent(&world);
    struct world_asked asked = world_asked(&world);
    g_assert_true(asked.resume && asked.resumable);
    g_assert_cmpuint(asked.session, ==, 1);
    world.resumed = true;
    world_open_answered(&world);

    struct sent *again = world_take(&world, PH_CMD_TRANSACT);
    g_assert_cmpuint(again->header.slot, ==, before.slot);
    g_assert_cmpuint(again->header.sequence, ==, before.sequence);
    g_assert_cmpuint(again->header.flags, ==, PH_FLAG_RETRY);
    g_assert_cmpuint(before.flags, ==, 0);
    struct sent *next = world_take(&world, PH_CMD_TRANSACT);
    g_assert_cmpuint(next->header.slot, !=, before.slot);
    g_assert_cmpuint(next->header.flags, ==, 0);
    struct sent *asks = world_take(&world, PH_CMD_GETATTR);
    g_assert_cmpuint(asks->header.flags, ==, 0);
    g_assert_cmpint(write.completions + look.completions + later.completions, ==, 0);
    world_answer(&world, next, PH_ST_OK, NULL);
    world_answer(&world, again, PH_ST_OK, NULL);
    world_answer(&world, asks, PH_ST_OK, NULL);
    g_assert_cmpint(write.completions, ==, 1);
    g_assert_cmpuint(write.status, ==, PH_ST_OK);
    g_assert_cmpint(look.completions, ==, 1);
    g_assert_cmpint(later.completions, ==, 1);
    g_assert_cmpint(world.losses, ==, 0);
    g_assert_cmpint(world.opens, ==, 1);
    g_assert_cmpuint(ph_client_opened(world.client)->generation, ==, 1);
    g_assert_cmpuint(ph_client_counters(world.client)->resumes, ==, 1);
    g_assert_cmpuint(ph_client_credits_free(world.client), ==, free + 2);
    world_clear(&world);
}

static void test_twice(void)
{
    struct world world;
    struct outcome write;
    init(&world, 5000);
    world_write(&world, 100, &write);
    world_lose(&world, "reset");
    resume(&world);
    world_lose(&world, "reset");
    world_open_sent(&world);
    world_lose(&world, "reset"); /* while it opens */
    resume(&world);
    struct sent *again = world_take(&world, PH_CMD_TRANSACT);
    g_assert_cmpuint(again->header.sequence, ==, 1);
    g_assert_null(world_take(&world, PH_CMD_TRANSACT));
    world_answer(&world, again, PH_ST_OK, NULL);
    g_assert_cmpint(write.completions, ==, 1);
    g_assert_cmpint(world.losses, ==, 0);
    world_clear(&world);
}

static void test_forgotten(void)
{
    struct world world;
    struct outcome write, flush, queued;
    init(&world, 5000);
    world_write(&world, 100, &write);
    world_flush(&world, 1, 100, &flush);
    world_lose(&world, "reset");
    world_getattr(&world, 7, &queued);
    world_open_sent(&world);
    g_assert_cmpint(world.losses, ==, 0);
    world_answer(&world, world_take(&world, PH_CMD_SESSION_OPEN), PH_ST_NO_SESSION, NULL);
    g_assert_cmpint(world.losses, ==, 1);
    world_lose(&world, "closed");
    g_assert_cmpint(write.completions, ==, 1);
    g_assert_cmpuint(write.status, ==, PH_ST_IO_ERROR);
    g_assert_cmpint(write.losses, ==, 1);
    g_assert_cmpint(flush.completions, ==, 1);
    g_assert_cmpint(queued.completions, ==, 0);
    world_open_sent(&world);
    g_assert_false(world_asked(&world).resume);
    g_assert_cmpuint(world_asked(&world).session, ==, 2);
    world_open_answered(&world);
    g_assert_cmpuint(ph_client_opened(world.client)->generation, ==, 2);
    g_assert_null(world_take(&world, PH_CMD_TRANSACT));
    world_answer(&world, world_take(&world, PH_CMD_GETATTR), PH_ST_OK, NULL);
    g_assert_cmpint(queued.completions, ==, 1);
    world_clear(&world);
}

static void test_busy(void)
{
    struct world world;
    struct outcome write;
    init(&world, 60000);
    world_write(&world, 100, &write);
    world_lose(&world, "reset");
    world_open_sent(&world);
    world_answer(&world, world_take(&world, PH_CMD_SESSION_OPEN), PH_ST_SHUTTING_DOWN, NULL);
    world_lose(&world, "closed");
    g_assert_cmpint(world.losses, ==, 0);
    g_assert_cmpint(write.completions, ==, 0);
    resume(&world);
    world_answer(&world, world_take(&world, PH_CMD_TRANSACT), PH_ST_OK, NULL);
    g_assert_cmpuint(write.status, ==, PH_ST_OK);
    world_clear(&world);
}

/* Leases run out by what was answered in the session, connection or not, and are good again with its
 * resuming. */
static void test_expiry(void)
{
    struct world world;
    init(&world, UINT64_MAX);
    uint64_t answered_ms = ph_client_answered_sent_ms(world.client);
    world_lose(&world, "reset");
    while (world.now_ms < answered_ms + 60000 - 60000 / 50 - PH_LEASE_MARGIN_MS - 10) {
        world_pass(&world, 10);
        g_assert_cmpint(world.expiries, ==, 0);
    }
    g_assert_cmpuint(ph_client_answered_sent_ms(world.client), ==, answered_ms);
    world_pass(&world, 10);
    world_pass(&world, 10);
    g_assert_cmpint(world.expiries, ==, 1);
    g_assert_cmpint(world.losses, ==, 0);
    ph_client_connected(world.client, 1 << 18, 1 << 20, world.now_ms, &world.actions);
    world_act(&world);
    uint64_t sent_ms = world.now_ms;
    world_pass(&world, 100);
    g_assert_cmpuint(ph_client_answered_sent_ms(world.client), ==, answered_ms);
    world.resumed = true;
    world_open_answered(&world);
    g_assert_cmpuint(ph_client_answered_sent_ms(world.client), ==, sent_ms);
    g_assert_cmpint(world.expiries, ==, 1);
    world_clear(&world);
}

/* A process that was stopped for long finds its leases run out: it asks whether the session is still there.
 */
static void test_stopped(void)
{
    struct world world;
    init(&world, UINT64_MAX);
    world_pass(&world, 3600 * 1000);
    g_assert_cmpint(world.expiries, ==, 1);
    g_assert_cmpint(world.losses, ==, 0);
    g_assert_cmpint(world.disconnects, ==, 1);
    world_lose(&world, "closed");
    resume(&world);
    g_assert_true(ph_client_is_open(world.client));
    g_assert_cmpint(world.losses, ==, 0);
    world_clear(&world);
}

static void test_soft(void)
{
    struct world world;
    struct outcome write, look, flush;
    init(&world, 3000);
    world_write(&world, 100, &write);
    world_flush(&world, 1, 100, &flush);
    world_getattr(&world, 7, &look);
    world_lose(&world, "the cable broke");
    world_pass(&world, 2999);
    g_assert_cmpint(write.completions + look.completions, ==, 0);
    world_pass(&world, 1);
    g_assert_cmpint(write.completions, ==, 1);
    g_assert_cmpuint(write.status, ==, PH_ST_IO_ERROR);
    g_assert_nonnull(strstr(write.text, "the cable broke"));
    g_assert_cmpint(look.completions, ==, 1);
    g_assert_cmpint(flush.completions, ==, 0);
    /* Its slot is not free before the server has said what became of it. */
    ph_client_connected(world.client, 1 << 18, 1 << 20, world.now_ms, &world.actions);
    world_act(&world);
    world.resumed = true;
    world_open_answered(&world);
    struct sent *first = world_take(&world, PH_CMD_TRANSACT), *second = world_take(&world, PH_CMD_TRANSACT);
    g_assert_true(first->header.flags == PH_FLAG_RETRY && second->header.flags == PH_FLAG_RETRY);
    g_assert_true(atomic_load(&first->request->wire) & PH_WIRE_CANCEL);
    world_answer(&world, first, PH_ST_OK, NULL);
    world_answer(&world, second, PH_ST_OK, NULL);
    g_assert_cmpint(write.completions, ==, 1);
    g_assert_cmpint(flush.completions, ==, 1);
    g_assert_cmpuint(flush.status, ==, PH_ST_OK);
    world_clear(&world);
}

static void test_hard(void)
{
    struct world world;
    struct outcome write, look, later;
    init(&world, UINT64_MAX);
    world_write(&world, 100, &write);
    uint64_t ticket = world_getattr(&world, 7, &look);
    world_lose(&world, "the cable broke");
    world_getattr(&world, 8, &later);
    for (int hour = 0; hour < 48; hour++)
        world_pass(&world, 3600 * 1000);
    g_assert_cmpint(write.completions + look.completions + later.completions, ==, 0);
    ph_client_abandon(world.client, ticket, &world.actions);
    world_act(&world);
    g_assert_cmpint(look.completions, ==, 1);
    g_assert_cmpuint(look.status, ==, PH_ST_CANCELLED);
    ph_client_connected(world.client, 1 << 18, 1 << 20, world.now_ms, &world.actions);
    world_act(&world);
    world.resumed = true;
    world_open_answered(&world);
    struct sent *again = world_take(&world, PH_CMD_GETATTR);
    g_assert_true(atomic_load(&again->request->wire) & PH_WIRE_CANCEL); /* the shell says it behind */
    world_answer(&world, again, PH_ST_OK, NULL);
    g_assert_cmpint(look.completions, ==, 1);
    world_clear(&world);
}

/* Who would wait for ever for a server that is another one by now is told so. */
static void test_other_volume(void)
{
    struct world world;
    struct outcome write, look;
    init(&world, UINT64_MAX);
    world_write(&world, 100, &write);
    world_lose(&world, "gone");
    world_getattr(&world, 7, &look);
    world.volume[3]++;
    resume(&world);
    g_assert_nonnull(strstr(world.disconnect_text, "another volume"));
    world_lose(&world, "closed");
    g_assert_cmpint(world.losses, ==, 1);
    g_assert_cmpuint(write.status, ==, PH_ST_IO_ERROR);
    g_assert_cmpint(look.completions, ==, 1);
    g_assert_nonnull(strstr(look.text, "another volume"));
    world_getattr(&world, 7, &look);
    g_assert_cmpint(look.completions, ==, 1);
    world.volume[3]--; /* it was put back */
    world_open(&world);
    world_getattr(&world, 7, &look);
    world_answer(&world, world_take(&world, PH_CMD_GETATTR), PH_ST_OK, NULL);
    g_assert_cmpuint(look.status, ==, PH_ST_OK);
    world_clear(&world);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/client/resume/what was sent goes again: transactions in their slots", test_same_slot);
    g_test_add_func("/client/resume/however often the connection breaks", test_twice);
    g_test_add_func("/client/resume/a session that is forgotten is lost, and a new one opened",
                    test_forgotten);
    g_test_add_func("/client/resume/a server that cannot now is asked again", test_busy);
    g_test_add_func("/client/resume/leases run out without a connection and come back with it", test_expiry);
    g_test_add_func("/client/resume/a process that was stopped asks before it goes on", test_stopped);
    g_test_add_func(
        "/client/resume/soft: who waits is told after its time, what is under way is not forgotten",
        test_soft);
    g_test_add_func("/client/resume/hard: nobody is told, whoever is killed goes", test_hard);
    g_test_add_func("/client/resume/another volume is not waited for", test_other_volume);
    return g_test_run();
}
