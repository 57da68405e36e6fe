/* What the session core promises about connecting, sending and completing. */
#include <string.h>

#include "client/core/tests/world.h"
#include "ph_commands.h"
#include "runtime/base/limits.h"
#include "runtime/base/random.h"

static void lose(struct world *world, const char *text)
{
    struct ph_fault fault = {.status = PH_ST_IO_ERROR};
    g_strlcpy(fault.text, text, sizeof(fault.text));
    ph_client_disconnected(world->client, &fault, world->now_ms, &world->actions);
    world_act(world);
}

static void test_queued_until_open(void)
{
    struct world world;
    struct outcome first, second;
    world_init(&world, 5000, false, 1);
    world_getattr(&world, 1, &first);
    world_getattr(&world, 2, &second);
    g_assert_null(world_take(&world, PH_CMD_GETATTR));
    world_open(&world);
    g_assert_cmpint(world.opens, ==, 1);
    struct sent *sent = world_take(&world, PH_CMD_GETATTR);
    struct sent *next = world_take(&world, PH_CMD_GETATTR);
    g_assert_nonnull(sent);
    g_assert_nonnull(next);
    g_assert_cmpuint(sent->header.id, <, next->header.id);
    world_answer(&world, next, PH_ST_OK, NULL);
    world_answer(&world, sent, PH_ST_NOT_FOUND, NULL);
    g_assert_cmpint(first.completions, ==, 1);
    g_assert_cmpuint(first.status, ==, PH_ST_NOT_FOUND);
    g_assert_cmpint(second.completions, ==, 1);
    g_assert_cmpuint(second.status, ==, PH_ST_OK);
    world_clear(&world);
}

static void test_loss(void)
{
    struct world world;
    struct outcome flying, queued, late;
    world_init(&world, 3000, false, 1);
    world.credits = 2;
    world_open(&world);
    sent_free(world_take(&world, PH_CMD_IDS_GRANT));
    world_getattr(&world, 1, &flying);
    world_getattr(&world, 2, &queued);
    g_assert_cmpuint(ph_client_queued(world.client), ==, 1);
    lose(&world, "the cable broke");
    g_assert_cmpint(flying.completions, ==, 1);
    g_assert_cmpuint(flying.status, ==, PH_ST_IO_ERROR);
    g_assert_cmpstr(flying.text, ==, "connection to there:1025 lost: the cable broke");
    world_pass(&world, 100); /* it connects, and nothing comes of it */
    g_assert_cmpint(world.connects, ==, 2);
    world_getattr(&world, 3, &late);
    world_pass(&world, 2899);
    g_assert_cmpint(queued.completions, ==, 0);
    world_pass(&world, 1);
    g_assert_cmpint(queued.completions, ==, 1);
    g_assert_cmpuint(queued.status, ==, PH_ST_IO_ERROR);
    g_assert_cmpint(late.completions, ==, 0);
    world_pass(&world, 100);
    g_assert_cmpint(late.completions, ==, 1);
    world_clear(&world);
}

static void test_vain_attempts(void)
{
    struct world world;
    struct outcome outcome;
    world_init(&world, 3000, false, 1);
    world_open(&world);
    lose(&world, "gone");
    uint64_t start_ms = world.now_ms;
    world_getattr(&world, 1, &outcome);
    for (int connects = world.connects; outcome.completions == 0;) {
        g_assert_cmpuint(world.now_ms - start_ms, <=, 3000);
        world_pass(&world, 10);
        if (world.connects > connects) {
            connects = world.connects;
            lose(&world, "refused");
        }
    }
    g_assert_cmpuint(world.now_ms - start_ms, ==, 3000);
    g_assert_cmpint(world.connects, >, 3);
    world_clear(&world);
}

static void test_no_patience(void)
{
    struct world world;
    struct outcome outcome;
    world_init(&world, 0, false, 1);
    world_open(&world);
    lose(&world, "gone");
    world_getattr(&world, 1, &outcome);
    g_assert_cmpint(outcome.completions, ==, 1);
    g_assert_cmpuint(outcome.status, ==, PH_ST_IO_ERROR);
    g_assert_nonnull(strstr(outcome.text, "there:1025"));
    world_clear(&world);
}

static void test_next_session(void)
{
    struct world world;
    struct outcome outcome;
    world_init(&world, 5000, false, 1);
    world_open(&world);
    lose(&world, "gone");
    world_getattr(&world, 1, &outcome);
    world_open(&world);
    g_assert_cmpuint(ph_client_opened(world.client)->generation, ==, 2);
    struct sent *sent = world_take(&world, PH_CMD_GETATTR);
    g_assert_nonnull(sent);
    world_answer(&world, sent, PH_ST_OK, NULL);
    g_assert_cmpint(outcome.completions, ==, 1);
    world_clear(&world);
}

static void ask_sync(struct world *world, struct outcome *outcome)
{
    Pohmel__Caller caller = POHMEL__CALLER__INIT;
    Pohmel__SyncRequest message = POHMEL__SYNC_REQUEST__INIT;
    message.caller = &caller;
    message.object = PH_OBJECT_ROOT;
    message.tree = true;
    world_submit(world, PH_CMD_SYNC, &message.base, NULL, outcome);
}

/* RESTORES: it makes again what the server lost. LOST: the server says that it lost something. */
static void sync_through_a_start(bool restores, bool lost, struct outcome *sync)
{
    struct world world;
    struct outcome look;
    world_init(&world, 5000, false, 1);
    if (restores)
        ph_client_restores(world.client);
    world_open(&world);
    lose(&world, "gone");
    ask_sync(&world, sync);
    world_getattr(&world, 1, &look);
    world.epoch += lost;
    world_open(&world);
    if (restores) {
        g_assert_cmpint(sync->completions, ==, 0);
        ph_client_restored(world.client, world.now_ms, &world.actions);
        world_act(&world);
    }
    struct sent *sent = world_take(&world, PH_CMD_SYNC);
    g_assert_true((sent == NULL) == (sync->completions == 1));
    if (sent != NULL)
        world_answer(&world, sent, PH_ST_OK, NULL);
    world_answer(&world, world_take(&world, PH_CMD_GETATTR), PH_ST_OK, NULL);
    g_assert_cmpint(look.completions, ==, 1);
    g_assert_cmpint(sync->completions, ==, 1);
    world_clear(&world);
}

static void test_sync_through_a_loss_of_power(void)
{
    struct outcome sync;
    sync_through_a_start(false, true, &sync);
    g_assert_cmpuint(sync.status, ==, PH_ST_IO_ERROR);
    g_assert_nonnull(strstr(sync.text, "power"));
    sync_through_a_start(false, false, &sync);
    g_assert_cmpuint(sync.status, ==, PH_ST_OK);
    sync_through_a_start(true, true, &sync);
    g_assert_cmpuint(sync.status, ==, PH_ST_OK);
}

static void test_other_volume(void)
{
    struct world world;
    world_init(&world, 5000, false, 1);
    world_open(&world);
    lose(&world, "gone");
    world.volume[3]++;
    world_open(&world);
    g_assert_false(ph_client_is_open(world.client));
    g_assert_cmpint(world.disconnects, ==, 1);
    g_assert_nonnull(strstr(world.disconnect_text, "another volume"));
    world_clear(&world);
}

/* Pauses between attempts that all fail. */
static void pauses(uint64_t seed, uint64_t *out, int count)
{
    struct world world;
    world_init(&world, 0, false, seed);
    world_pass(&world, 0);
    for (int i = 0; i < count; i++) {
        lose(&world, "refused");
        out[i] = ph_client_deadline(world.client) - world.now_ms;
        world_pass(&world, out[i]);
        g_assert_cmpint(world.connects, ==, i + 2);
    }
    world_clear(&world);
}

static void test_pauses(void)
{
    uint64_t first[10], again[10], other[10];
    pauses(1, first, 10);
    pauses(1, again, 10);
    pauses(2, other, 10);
    g_assert_cmpmem(first, sizeof(first), again, sizeof(again));
    g_assert_cmpint(memcmp(first, other, sizeof(first)), !=, 0);
    uint64_t expected = PH_RECONNECT_FIRST_MS;
    for (int i = 0; i < 10; i++) {
        g_assert_cmpuint(first[i], >=, expected / 2);
        g_assert_cmpuint(first[i], <=, expected);
        expected = MIN(expected * 2, PH_RECONNECT_MAX_MS);
    }
}

/* A server that is back is found again within two seconds, however long it was away. */
static void test_found_again_soon(void)
{
    enum { FOUND_MS = 2000 };
    uint64_t pause[30];
    pauses(3, pause, 30);
    for (int i = 0; i < 30; i++)
        g_assert_cmpuint(pause[i], <, FOUND_MS);
}

/* What an attempt took that failed slowly (a machine that is switched off refuses nothing)
 * counts as pause: nobody has been asked too often then. */
static void test_pause_from_beginning(void)
{
    struct world world;
    world_init(&world, 0, false, 1);
    world_pass(&world, 0);
    for (int i = 0; i < 10; i++) {
        world_pass(&world, PH_HANDSHAKE_TIMEOUT_MS);
        lose(&world, "timed out");
        uint64_t pause_ms = ph_client_deadline(world.client) - world.now_ms;
        g_assert_cmpuint(pause_ms, >=, PH_RECONNECT_FIRST_MS / 2);
        g_assert_cmpuint(pause_ms, <=, PH_RECONNECT_FIRST_MS);
        world_pass(&world, pause_ms);
        g_assert_cmpint(world.connects, ==, i + 2);
    }
    world_clear(&world);
}

static void test_open_timeout(void)
{
    struct world world;
    world_init(&world, 0, false, 1);
    world_pass(&world, 0);
    ph_client_connected(world.client, 1 << 18, 1 << 20, world.now_ms, &world.actions);
    world_act(&world);
    world_pass(&world, PH_HANDSHAKE_TIMEOUT_MS - 1);
    g_assert_cmpint(world.disconnects, ==, 0);
    world_pass(&world, 1);
    g_assert_cmpint(world.disconnects, ==, 1);
    g_assert_cmpint(world.refusals, ==, 1);
    g_assert_nonnull(strstr(world.disconnect_text, "did not answer"));
    world_clear(&world);
}

static void test_refused(void)
{
    struct world world;
    world_init(&world, 0, false, 1);
    world_pass(&world, 0);
    ph_client_connected(world.client, 1 << 18, 1 << 20, world.now_ms, &world.actions);
    world_act(&world);
    world_answer(&world, world_take(&world, PH_CMD_SESSION_OPEN), PH_ST_NO_EXPORT, NULL);
    g_assert_cmpint(world.refusals, ==, 1);
    g_assert_cmpint(world.disconnects, ==, 1);
    g_assert_nonnull(strstr(world.disconnect_text, "no export \"home\""));
    world_clear(&world);
}

/* HOW spoils the header of a good reply. */
static void check_protocol_error(void (*how)(struct ph_frame_header *header), uint32_t status)
{
    struct world world;
    struct outcome outcome;
    world_init(&world, 0, false, 1);
    world_open(&world);
    world_getattr(&world, 1, &outcome);
    struct sent *sent = world_take(&world, PH_CMD_GETATTR);
    struct ph_frame_header header = sent->header;
    sent_free(sent);
    header.kind = PH_FRAME_REPLY;
    header.credits = 1;
    how(&header);
    world_reply(&world, &header, NULL);
    g_assert_cmpint(world.disconnects, ==, 1);
    g_assert_cmpuint(world.disconnect_status, ==, status);
    g_assert_cmpint(outcome.completions, ==, 0);
    lose(&world, "closed");
    g_assert_cmpint(outcome.completions, ==, 1);
    g_assert_cmpuint(outcome.status, ==, PH_ST_IO_ERROR);
    g_assert_nonnull(strstr(outcome.text, "broke the protocol"));
    world_clear(&world);
}

static void other_id(struct ph_frame_header *header)
{
    header->id += 1000;
}

static void other_command(struct ph_frame_header *header)
{
    header->command = PH_CMD_READ;
}

static void other_credits(struct ph_frame_header *header)
{
    header->credits = 2;
}

static void a_request(struct ph_frame_header *header)
{
    header->kind = PH_FRAME_REQUEST;
}

static void test_protocol_errors(void)
{
    check_protocol_error(other_id, PH_ST_MALFORMED);
    check_protocol_error(other_command, PH_ST_MALFORMED);
    check_protocol_error(other_credits, PH_ST_MALFORMED);
    check_protocol_error(a_request, PH_ST_WRONG_STATE);
}

static void test_renewed_when_idle(void)
{
    struct world world;
    world_init(&world, 0, true, 1);
    world_open(&world);
    world_pass(&world, 60000 / 3 - 1);
    g_assert_null(world_take(&world, PH_CMD_SESSION_RENEW));
    world_pass(&world, 1);
    struct sent *sent = world_take(&world, PH_CMD_SESSION_RENEW);
    g_assert_nonnull(sent);
    world_answer(&world, sent, PH_ST_OK, NULL);
    world_pass(&world, 15000);
    world_getattr(&world, 1, NULL);
    world_pass(&world, 15000);
    g_assert_null(world_take(&world, PH_CMD_SESSION_RENEW));
    world_clear(&world);
}

static void test_shutdown(void)
{
    struct world world;
    struct outcome flying, late;
    world_init(&world, 0, true, 1);
    world_open(&world);
    world_getattr(&world, 1, &flying);
    ph_client_shutdown(world.client, world.now_ms + 5000, world.now_ms, &world.actions);
    world_act(&world);
    world_getattr(&world, 2, &late);
    g_assert_cmpint(late.completions, ==, 1);
    g_assert_null(world_take(&world, PH_CMD_SESSION_CLOSE));
    world_answer(&world, world_take(&world, PH_CMD_GETATTR), PH_ST_OK, NULL);
    g_assert_cmpuint(flying.status, ==, PH_ST_OK);
    struct sent *sent = world_take(&world, PH_CMD_SESSION_CLOSE);
    g_assert_nonnull(sent);
    g_assert_cmpint(world.closes, ==, 0);
    world_answer(&world, sent, PH_ST_OK, NULL);
    g_assert_cmpint(world.closes, ==, 1);
    g_assert_cmpuint(world.close_status, ==, PH_ST_OK);
    world_clear(&world);
}

static void test_shutdown_while_opening(void)
{
    struct world world;
    world_init(&world, 0, true, 1);
    world_open_sent(&world);
    ph_client_shutdown(world.client, world.now_ms + 5000, world.now_ms, &world.actions);
    world_act(&world);
    g_assert_cmpint(world.closes, ==, 0);
    world_open_answered(&world);
    struct sent *sent = world_take(&world, PH_CMD_SESSION_CLOSE);
    g_assert_nonnull(sent);
    world_answer(&world, sent, PH_ST_OK, NULL);
    g_assert_cmpint(world.closes, ==, 1);
    world_clear(&world);
}

static void test_shutdown_deadline(void)
{
    struct world world;
    struct outcome flying;
    world_init(&world, 0, true, 1);
    world_open(&world);
    world_getattr(&world, 1, &flying);
    ph_client_shutdown(world.client, world.now_ms + 5000, world.now_ms, &world.actions);
    world_act(&world);
    g_assert_cmpuint(ph_client_deadline(world.client), ==, world.now_ms + 5000);
    world_pass(&world, 5000);
    g_assert_cmpint(world.closes, ==, 1);
    g_assert_cmpuint(world.close_status, !=, PH_ST_OK);
    g_assert_cmpint(flying.completions, ==, 1);
    g_assert_cmpuint(flying.status, ==, PH_ST_IO_ERROR);
    world_clear(&world);
}

static void test_ids(void)
{
    struct world world;
    world_init(&world, 0, false, 1);
    world_open(&world);
    g_assert_cmpuint(ph_client_take_ids(world.client, 1, world.now_ms, &world.actions), ==, 0);
    g_assert_true(ph_client_ids_coming(world.client));
    struct sent *sent = world_take(&world, PH_CMD_IDS_GRANT);
    g_assert_nonnull(sent);
    g_assert_null(world_take(&world, PH_CMD_IDS_GRANT));
    Pohmel__IdsGrantReply reply = POHMEL__IDS_GRANT_REPLY__INIT;
    reply.first = PH_OBJECT_GIVEN_FIRST;
    reply.count = PH_IDS_LOW_WATER + 10;
    world_answer(&world, sent, PH_ST_OK, &reply.base);
    g_assert_cmpint(world.ids, ==, 1);
    g_assert_cmpuint(ph_client_take_ids(world.client, 10, world.now_ms, &world.actions), ==,
                     PH_OBJECT_GIVEN_FIRST);
    world_act(&world);
    g_assert_null(world_take(&world, PH_CMD_IDS_GRANT));
    g_assert_cmpuint(ph_client_take_ids(world.client, 1, world.now_ms, &world.actions), ==,
                     PH_OBJECT_GIVEN_FIRST + 10);
    world_act(&world);
    sent = world_take(&world, PH_CMD_IDS_GRANT);
    g_assert_nonnull(sent); /* in the background, long before they run out */
    world_answer(&world, sent, PH_ST_NO_OBJECTS, NULL);
    g_assert_cmpint(world.ids, ==, 2);
    world_clear(&world);
}

static void test_no_ids_for_readers(void)
{
    struct world world;
    world_init(&world, 1000, true, 1);
    world_open(&world);
    g_assert_cmpuint(ph_client_take_ids(world.client, 1, world.now_ms, &world.actions), ==, 0);
    world_act(&world);
    g_assert_false(ph_client_ids_coming(world.client));
    g_assert_null(world_take(&world, PH_CMD_IDS_GRANT));
    world_clear(&world);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/client/session/requests wait for the session and go out in order",
                    test_queued_until_open);
    g_test_add_func("/client/session/a lost connection fails what flew; what waited waits its patience",
                    test_loss);
    g_test_add_func("/client/session/vain attempts to connect do not prolong the patience",
                    test_vain_attempts);
    g_test_add_func("/client/session/without patience requests fail at once", test_no_patience);
    g_test_add_func("/client/session/what was queued goes out in the next session", test_next_session);
    g_test_add_func(
        "/client/session/a sync that waited through a loss of power does not say that all is well",
        test_sync_through_a_loss_of_power);
    g_test_add_func("/client/session/another volume is not taken for the first", test_other_volume);
    g_test_add_func("/client/session/pauses double, from the seed alone", test_pauses);
    g_test_add_func("/client/session/a server that is back is found within two seconds",
                    test_found_again_soon);
    g_test_add_func("/client/session/a pause counts from the beginning of the attempt",
                    test_pause_from_beginning);
    g_test_add_func("/client/session/an open that is not answered is given up", test_open_timeout);
    g_test_add_func("/client/session/a refusal is told with its reason", test_refused);
    g_test_add_func("/client/session/a server that breaks the protocol is left", test_protocol_errors);
    g_test_add_func("/client/session/an idle session is renewed", test_renewed_when_idle);
    g_test_add_func("/client/session/ends in order once all is answered", test_shutdown);
    g_test_add_func("/client/session/a session that was just opening is closed too",
                    test_shutdown_while_opening);
    g_test_add_func("/client/session/ends at its deadline in any case", test_shutdown_deadline);
    g_test_add_func("/client/session/ids are asked for before they run out", test_ids);
    g_test_add_func("/client/session/readers need no ids", test_no_ids_for_readers);
    return g_test_run();
}
