/* The core stepped by hand: no socket, no thread, no clock. */
#include <glib.h>
#include <string.h>

#include "ph_dispatch.h"
#include "server/core/peek.h"
#include "server/core/server_core.h"
#include "server/core/tests/fake_store.h"
#include "server/core/tests/stepped.h"

struct world {
    struct ph_fake_store *fake;
    struct ph_server_export exports[2];
    struct ph_server *server;
    bool inside;
};

/* A client's end: what it was sent last. */
struct client {
    struct world *world;
    struct ph_server_conn *conn;
    uint64_t next_id;
    unsigned replies, closes;
    struct ph_frame_header header; /* of the last reply */
    GByteArray *message, *payload;
    uint32_t close_status;
    struct ph_server_call *call; /* admitted and not run yet */
};

static void world_init(struct world *world, bool read_only, size_t exports)
{
    const struct ph_server_guard guard = stepped_guard(&world->inside);

    *world = (struct world){.fake = ph_fake_store_new()};
    world->exports[0] = (struct ph_server_export){"one", ph_fake_store_interface(world->fake), read_only};
    world->exports[1] = (struct ph_server_export){"two", ph_fake_store_interface(world->fake), false};
    world->server = ph_server_new(world->exports, exports, &guard, 4711);
}

static void world_clear(struct world *world)
{
    ph_server_free(world->server);
    ph_fake_store_free(world->fake);
}

static void perform(struct world *world, struct ph_actions *actions)
{
    for (size_t i = 0; i < actions->count; i++) {
        struct ph_action *action = ph_actions_get(actions, i);
        struct client *client = action->conn == NULL ? NULL : ph_server_conn_data(action->conn);

        if (action->kind == PH_ACTION_END_SESSION) {
            action->export->store->end_session(action->export->store->self, action->session);
        } else if (action->kind == PH_ACTION_CLOSE) {
            client->closes++;
            client->close_status = action->status;
        } else if (action->kind == PH_ACTION_SEND) {
            client->replies++;
            client->header = action->header;
            g_byte_array_set_size(client->message, 0);
            g_byte_array_set_size(client->payload, 0);
            if (action->message != NULL)
                g_byte_array_append(client->message, action->message->data, (guint) action->message->len);
            if (action->payload != NULL)
                g_byte_array_append(client->payload, action->payload->data, (guint) action->payload->len);
        }
    }
    ph_actions_clear(actions);
}

static void client_init(struct client *client, struct world *world)
{
    *client = (struct client){.world = world, .next_id = 1};
    client->message = g_byte_array_new();
    client->payload = g_byte_array_new();
    client->conn = ph_server_conn_new(world->server, client, NULL);
}

static void client_clear(struct client *client)
{
    struct ph_actions actions = {0};

    ph_server_conn_closed(client->conn, false, &actions);
    perform(client->world, &actions);
    ph_server_conn_unref(client->conn);
    g_byte_array_unref(client->message);
    g_byte_array_unref(client->payload);
}

/* Gives a frame to the core; a call that it admits stays in client->call. */
static enum ph_admission give(struct client *client, const struct ph_frame_header *header,
                              const ProtobufCMessage *message, uint32_t payload_len)
{
    struct ph_frame_header given = *header;
    struct ph_actions actions = {0};
    enum ph_admission admission;

    given.payload_len = payload_len;
    admission = ph_server_frame(client->conn, stepped_frame(&given, message), &actions, &client->call);
    perform(client->world, &actions);
    return admission;
}

static void run_call(struct client *client)
{
    struct ph_actions actions = {0};

    ph_server_execute(client->call);
    ph_server_done(client->call, &actions);
    client->call = NULL;
    perform(client->world, &actions);
}

static struct ph_frame_header request_header(struct client *client, uint16_t command)
{
    return (struct ph_frame_header){
        .kind = PH_FRAME_REQUEST, .command = command, .id = client->next_id++, .slot = PH_NO_SLOT};
}

/* Sends a request and runs it; the status of its reply, PH_PENDING for none. */
static uint32_t request(struct client *client, uint16_t command, const ProtobufCMessage *message)
{
    struct ph_frame_header header = request_header(client, command);
    unsigned before = client->replies;

    if (give(client, &header, message, 0) != PH_ADMIT_NOTHING)
        run_call(client);
    if (client->replies == before)
        return PH_PENDING;
    g_assert_cmpuint(client->header.id, ==, header.id);
    g_assert_cmpuint(client->header.command, ==, command);
    g_assert_cmpuint(client->header.kind, ==, PH_FRAME_REPLY);
    return client->header.status;
}

static uint32_t open_session(struct client *client, uint8_t who, uint64_t number, const char *export)
{
    Pohmel__SessionOpenRequest open = POHMEL__SESSION_OPEN_REQUEST__INIT;
    uint8_t id[16] = {who};

    open.client = (ProtobufCBinaryData){sizeof(id), id};
    open.session = number;
    open.export_name = (ProtobufCBinaryData){strlen(export), (uint8_t *) export};
    return request(client, PH_CMD_SESSION_OPEN, &open.base);
}

static uint32_t transact(struct client *client, uint32_t slot, uint32_t sequence, const char *name,
                         uint64_t handle)
{
    struct ph_frame_header header = request_header(client, PH_CMD_TRANSACT);
    Pohmel__TransactRequest transaction = POHMEL__TRANSACT_REQUEST__INIT;
    Pohmel__Change change = POHMEL__CHANGE__INIT, *changes = &change;
    Pohmel__CreateRequest create = POHMEL__CREATE_REQUEST__INIT;
    Pohmel__Caller caller = POHMEL__CALLER__INIT;
    unsigned before = client->replies;

    create.caller = &caller;
    create.parent = 1;
    create.name = (ProtobufCBinaryData){strlen(name), (uint8_t *) name};
    create.object = 100 + handle;
    create.handle = handle;
    create.access = 3;
    change.command_case = POHMEL__CHANGE__COMMAND_CREATE;
    change.create = &create;
    transaction.changes = &changes;
    transaction.n_changes = 1;
    header.slot = slot;
    header.sequence = sequence;
    if (give(client, &header, &transaction.base, 0) != PH_ADMIT_NOTHING)
        run_call(client);
    return client->replies == before ? PH_PENDING : client->header.status;
}

static uint32_t lock_file(struct client *client, uint64_t handle, uint64_t owner, bool wait)
{
    Pohmel__LockRequest lock = POHMEL__LOCK_REQUEST__INIT;
    Pohmel__Range range = POHMEL__RANGE__INIT;

    range.length = 10;
    lock.object = 101;
    lock.handle = handle;
    lock.owner = owner;
    lock.process = 42;
    lock.range = &range;
    lock.wait = wait;
    return request(client, PH_CMD_LOCK, &lock.base);
}

static uint32_t unlock_file(struct client *client, uint64_t owner)
{
    Pohmel__UnlockRequest unlock = POHMEL__UNLOCK_REQUEST__INIT;
    Pohmel__Range range = POHMEL__RANGE__INIT;

    range.length = 10;
    unlock.object = 101;
    unlock.owner = owner;
    unlock.range = &range;
    return request(client, PH_CMD_UNLOCK, &unlock.base);
}

static uint32_t close_file(struct client *client, uint64_t handle)
{
    Pohmel__CloseRequest close = POHMEL__CLOSE_REQUEST__INIT;

    close.handle = handle;
    close.object = 101;
    return request(client, PH_CMD_CLOSE, &close.base);
}

static void test_order_of_things(void)
{
    Pohmel__SessionRenewRequest renew = POHMEL__SESSION_RENEW_REQUEST__INIT;
    Pohmel__SessionCloseRequest close = POHMEL__SESSION_CLOSE_REQUEST__INIT;
    struct world world;
    struct client client;

    world_init(&world, false, 1);
    client_init(&client, &world);
    g_assert_cmpuint(request(&client, PH_CMD_SESSION_RENEW, &renew.base), ==, PH_ST_WRONG_STATE);
    g_assert_cmpuint(client.payload->len, >, 0); /* it says why */
    g_assert_cmpuint(request(&client, 999, &renew.base), ==, PH_ST_UNKNOWN_COMMAND);
    g_assert_cmpuint(open_session(&client, 1, 1, "nowhere"), ==, PH_ST_NO_EXPORT);
    g_assert_cmpuint(open_session(&client, 1, 1, ""), ==, PH_ST_OK);
    g_assert_cmpuint(client.header.credits, ==, 0);
    g_assert_true(ph_server_conn_in_session(client.conn));
    g_assert_cmpuint(open_session(&client, 1, 2, ""), ==, PH_ST_WRONG_STATE);
    g_assert_cmpuint(request(&client, PH_CMD_SESSION_RENEW, &renew.base), ==, PH_ST_OK);
    g_assert_cmpuint(request(&client, PH_CMD_CREATE, &renew.base), ==, PH_ST_WRONG_STATE);
    g_assert_cmpuint(request(&client, PH_CMD_RECALL, &renew.base), ==, PH_ST_WRONG_STATE);
    g_assert_cmpuint(request(&client, PH_CMD_LEASE_ACQUIRE, &renew.base), !=, PH_ST_OK);
    g_assert_cmpuint(request(&client, PH_CMD_SESSION_CLOSE, &close.base), ==, PH_ST_OK);
    g_assert_cmpuint(ph_fake_store_ended(world.fake), ==, 1);
    g_assert_cmpuint(request(&client, PH_CMD_SESSION_RENEW, &renew.base), ==, PH_ST_NO_SESSION);
    g_assert_cmpuint(open_session(&client, 1, 3, ""), ==, PH_ST_OK);
    client_clear(&client);
    g_assert_cmpuint(ph_fake_store_ended(world.fake), ==, 2);
    world_clear(&world);
}

static void test_exports_by_name(void)
{
    struct world world;
    struct client first, second;

    world_init(&world, true, 2);
    client_init(&first, &world);
    client_init(&second, &world);
    g_assert_cmpuint(open_session(&first, 1, 1, ""), ==, PH_ST_NO_EXPORT);
    g_assert_cmpuint(open_session(&first, 1, 1, "one"), ==, PH_ST_OK);
    g_assert_cmpuint(open_session(&second, 2, 1, "two"), ==, PH_ST_OK);
    g_assert_cmpuint(transact(&first, 0, 1, "a", 0), ==, PH_ST_READ_ONLY);
    g_assert_cmpuint(ph_fake_store_transactions(world.fake), ==, 0);
    g_assert_cmpuint(transact(&second, 0, 1, "a", 0), ==, PH_ST_OK);
    client_clear(&first);
    client_clear(&second);
    world_clear(&world);
}

static void test_newer_session_ends_older(void)
{
    struct world world;
    struct client old, late, fresh;

    world_init(&world, false, 1);
    client_init(&old, &world);
    client_init(&late, &world);
    client_init(&fresh, &world);
    g_assert_cmpuint(open_session(&old, 1, 5, ""), ==, PH_ST_OK);
    g_assert_cmpuint(transact(&old, 0, 1, "a", 1), ==, PH_ST_OK);
    g_assert_cmpuint(open_session(&late, 1, 5, ""), ==, PH_ST_BUSY);
    g_assert_cmpuint(open_session(&fresh, 1, 6, ""), ==, PH_ST_OK);
    g_assert_cmpuint(old.closes, ==, 1);
    g_assert_cmpuint(old.close_status, ==, PH_ST_NO_SESSION);
    g_assert_cmpuint(ph_fake_store_handles(world.fake), ==, 0);
    g_assert_cmpuint(ph_server_sessions(world.server), ==, 1);
    client_clear(&old);
    client_clear(&late);
    client_clear(&fresh);
    world_clear(&world);
}

static void test_exactly_once(void)
{
    struct world world;
    struct client client;
    guint len;

    world_init(&world, false, 1);
    client_init(&client, &world);
    g_assert_cmpuint(open_session(&client, 1, 1, ""), ==, PH_ST_OK);
    g_assert_cmpuint(transact(&client, 3, 1, "a", 1), ==, PH_ST_OK);
    len = client.message->len;
    g_assert_cmpuint(len, >, 0);
    for (int i = 0; i < 3; i++) {
        g_assert_cmpuint(transact(&client, 3, 1, "a", 1), ==, PH_ST_OK);
        g_assert_cmpuint(client.message->len, ==, len);
        g_assert_cmpuint(client.header.sequence, ==, 1);
    }
    g_assert_cmpuint(ph_fake_store_transactions(world.fake), ==, 1);
    g_assert_cmpuint(transact(&client, 3, 3, "a", 1), ==, PH_ST_BAD_SEQUENCE);
    g_assert_cmpuint(transact(&client, 64, 1, "a", 1), ==, PH_ST_BAD_SEQUENCE);
    g_assert_cmpuint(transact(&client, 3, 2, "a", 1), ==, PH_ST_OK);
    g_assert_cmpuint(ph_fake_store_transactions(world.fake), ==, 2);
    client_clear(&client);
    world_clear(&world);
}

static void test_locks_between_sessions(void)
{
    Pohmel__LockTestRequest test = POHMEL__LOCK_TEST_REQUEST__INIT;
    Pohmel__Range range = POHMEL__RANGE__INIT;
    struct world world;
    struct client a, b;
    unsigned replies;

    world_init(&world, false, 1);
    client_init(&a, &world);
    client_init(&b, &world);
    g_assert_cmpuint(open_session(&a, 1, 1, ""), ==, PH_ST_OK);
    g_assert_cmpuint(open_session(&b, 2, 1, ""), ==, PH_ST_OK);
    g_assert_cmpuint(transact(&a, 0, 1, "a", 1), ==, PH_ST_OK);
    g_assert_cmpuint(transact(&b, 0, 1, "a", 1), ==, PH_ST_OK);
    g_assert_cmpuint(lock_file(&a, 9, 7, false), ==, PH_ST_BAD_HANDLE);
    g_assert_cmpuint(lock_file(&a, 1, 7, false), ==, PH_ST_OK);
    g_assert_cmpuint(lock_file(&b, 1, 7, false), ==, PH_ST_WOULD_BLOCK);
    range.length = 1;
    test.object = 101;
    test.range = &range;
    g_assert_cmpuint(request(&b, PH_CMD_LOCK_TEST, &test.base), ==, PH_ST_OK);
    g_assert_cmpuint(b.message->len, >, 0);
    g_assert_cmpuint(lock_file(&b, 1, 7, true), ==, PH_PENDING);
    replies = b.replies;
    g_assert_cmpuint(unlock_file(&a, 7), ==, PH_ST_OK);
    g_assert_cmpuint(b.replies, ==, replies + 1);
    g_assert_cmpuint(b.header.status, ==, PH_ST_OK);
    g_assert_cmpuint(b.header.command, ==, PH_CMD_LOCK);
    /* The end of a client, and the end of a handle, free what they held. */
    g_assert_cmpuint(lock_file(&a, 1, 7, true), ==, PH_PENDING);
    replies = a.replies;
    g_assert_cmpuint(close_file(&b, 1), ==, PH_ST_OK);
    g_assert_cmpuint(a.replies, ==, replies + 1);
    g_assert_cmpuint(transact(&b, 0, 2, "a", 2), ==, PH_ST_OK);
    g_assert_cmpuint(lock_file(&b, 2, 7, true), ==, PH_PENDING);
    replies = b.replies;
    client_clear(&a);
    g_assert_cmpuint(b.replies, ==, replies + 1);
    client_clear(&b);
    world_clear(&world);
}

static void test_cancel(void)
{
    struct ph_frame_header cancel = {
        .kind = PH_FRAME_CONTROL, .command = PH_CONTROL_CANCEL, .slot = PH_NO_SLOT};
    struct world world;
    struct client client;
    unsigned replies;

    world_init(&world, false, 1);
    client_init(&client, &world);
    g_assert_cmpuint(open_session(&client, 1, 1, ""), ==, PH_ST_OK);
    g_assert_cmpuint(transact(&client, 0, 1, "a", 1), ==, PH_ST_OK);
    g_assert_cmpuint(lock_file(&client, 1, 7, false), ==, PH_ST_OK);
    cancel.id = client.next_id; /* of the request that follows */
    g_assert_cmpuint(lock_file(&client, 1, 8, true), ==, PH_PENDING);
    replies = client.replies;
    g_assert_cmpint(give(&client, &cancel, NULL, 0), ==, PH_ADMIT_NOTHING);
    g_assert_cmpuint(client.replies, ==, replies + 1);
    g_assert_cmpuint(client.header.id, ==, cancel.id);
    g_assert_cmpuint(client.header.status, ==, PH_ST_CANCELLED);
    g_assert_cmpint(give(&client, &cancel, NULL, 0), ==, PH_ADMIT_NOTHING);
    g_assert_cmpuint(client.replies, ==, replies + 1);
    client_clear(&client);
    world_clear(&world);
}

/* Waiting locks do not use up the credits that the unlock needs. */
static void test_waits_do_not_hold_credits(void)
{
    struct world world;
    struct client client;

    world_init(&world, false, 1);
    client_init(&client, &world);
    g_assert_cmpuint(open_session(&client, 1, 1, ""), ==, PH_ST_OK);
    g_assert_cmpuint(transact(&client, 0, 1, "a", 1), ==, PH_ST_OK);
    g_assert_cmpuint(lock_file(&client, 1, 7, false), ==, PH_ST_OK);
    for (uint64_t i = 0; i < PH_SESSION_LOCK_WAITS_MAX; i++)
        g_assert_cmpuint(lock_file(&client, 1, 100 + i, true), ==, PH_PENDING);
    g_assert_cmpuint(lock_file(&client, 1, 99, true), ==, PH_ST_LIMIT);
    g_assert_cmpuint(client.closes, ==, 0);
    client_clear(&client);
    world_clear(&world);
}

static void test_credits(void)
{
    Pohmel__ReadRequest read = POHMEL__READ_REQUEST__INIT;
    Pohmel__Caller caller = POHMEL__CALLER__INIT;
    struct ph_server_call *held[PH_SESSION_CREDITS / 17];
    struct ph_frame_header header;
    struct world world;
    struct client client;

    world_init(&world, false, 1);
    client_init(&client, &world);
    g_assert_cmpuint(open_session(&client, 1, 1, ""), ==, PH_ST_OK);
    g_assert_cmpuint(transact(&client, 0, 1, "a", 1), ==, PH_ST_OK);
    read.caller = &caller;
    read.object = 101;
    read.handle = 1;
    read.length = PH_PAYLOAD_MAX_BYTES; /* 17 credits each */
    for (size_t i = 0; i < G_N_ELEMENTS(held); i++) {
        header = request_header(&client, PH_CMD_READ);
        g_assert_cmpint(give(&client, &header, &read.base, 0), ==, PH_ADMIT_QUICK);
        held[i] = client.call;
    }
    client.call = held[0];
    run_call(&client);
    g_assert_cmpuint(client.header.credits, ==, 17);
    header = request_header(&client, PH_CMD_READ);
    g_assert_cmpint(give(&client, &header, &read.base, 0), ==, PH_ADMIT_QUICK);
    held[0] = client.call;
    g_assert_cmpuint(client.closes, ==, 0);
    header = request_header(&client, PH_CMD_READ);
    g_assert_cmpint(give(&client, &header, &read.base, 0), ==, PH_ADMIT_NOTHING);
    g_assert_cmpuint(client.closes, ==, 1);
    g_assert_cmpuint(client.close_status, ==, PH_ST_NO_CREDIT);
    for (size_t i = 0; i < G_N_ELEMENTS(held); i++) {
        client.call = held[i];
        run_call(&client);
    }
    client_clear(&client);
    world_clear(&world);
}

/* The session of a client that goes while a command runs ends after the command. */
static void test_end_waits_for_running(void)
{
    Pohmel__LookupRequest lookup = POHMEL__LOOKUP_REQUEST__INIT;
    Pohmel__Caller caller = POHMEL__CALLER__INIT;
    ProtobufCBinaryData name = {1, (uint8_t *) "a"};
    struct ph_actions actions = {0};
    struct ph_frame_header header;
    struct world world;
    struct client client;

    world_init(&world, false, 1);
    client_init(&client, &world);
    g_assert_cmpuint(open_session(&client, 1, 1, ""), ==, PH_ST_OK);
    lookup.caller = &caller;
    lookup.parent = 1;
    lookup.names = &name;
    lookup.n_names = 1;
    header = request_header(&client, PH_CMD_LOOKUP);
    g_assert_cmpint(give(&client, &header, &lookup.base, 0), ==, PH_ADMIT_QUICK);
    ph_server_conn_closed(client.conn, false, &actions);
    perform(&world, &actions);
    g_assert_cmpuint(ph_fake_store_ended(world.fake), ==, 0);
    g_assert_cmpuint(ph_server_running(world.server), ==, 1);
    run_call(&client);
    g_assert_cmpuint(ph_fake_store_ended(world.fake), ==, 1);
    g_assert_cmpuint(ph_server_running(world.server), ==, 0);
    ph_server_conn_unref(client.conn);
    g_byte_array_unref(client.message);
    g_byte_array_unref(client.payload);
    world_clear(&world);
}

static void test_garbage_is_answered(void)
{
    struct world world;
    struct client client;
    uint64_t random = 99;

    world_init(&world, false, 1);
    client_init(&client, &world);
    g_assert_cmpuint(open_session(&client, 1, 1, ""), ==, PH_ST_OK);
    for (int i = 0; i < 20000 && client.closes == 0; i++) {
        struct ph_frame *frame;
        struct ph_actions actions = {0};
        size_t len;

        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        len = (random >> 40) % 64;
        frame = calloc(1, sizeof(*frame) + len);
        frame->header.kind = PH_FRAME_REQUEST;
        frame->header.command = (uint16_t) ((random >> 33) % 100);
        frame->header.slot =
            frame->header.command == PH_CMD_TRANSACT ? (uint32_t) (random >> 50) % 70 : PH_NO_SLOT;
        frame->header.sequence = (uint32_t) (random >> 45) % 4;
        frame->header.id = client.next_id++;
        frame->header.message_len = (uint32_t) len;
        for (size_t b = 0; b < len; b++)
            frame->message[b] = (uint8_t) ((random >> (b % 50)) ^ (b * 37));
        if (frame->header.command == PH_CMD_SESSION_CLOSE)
            frame->header.command = 0;
        if (ph_server_frame(client.conn, frame, &actions, &client.call) != PH_ADMIT_NOTHING)
            run_call(&client);
        perform(&world, &actions);
    }
    g_assert_cmpuint(client.closes, ==, 0);
    g_assert_cmpuint(client.replies, ==, 20001);
    client_clear(&client);
    world_clear(&world);
}

static void test_peek(void)
{
    const uint8_t cut[] = {0x28, 0xff, 0xff};
    const uint8_t twice[] = {0x28, 0x05, 0x28, 0x90, 0x4e};

    g_assert_cmpuint(ph_peek_wanted(PH_CMD_READ, cut, sizeof(cut)), ==, 0);
    g_assert_cmpuint(ph_peek_wanted(PH_CMD_READ, twice, sizeof(twice)), ==, 10000);
    /* The object stands in field 2; the last one counts, and commands that no lease concerns have none. */
    const uint8_t object[] = {0x10, 0x05, 0x10, 0xac, 0x02};
    g_assert_cmpuint(ph_peek_read_object(PH_CMD_GETATTR, object, sizeof(object)), ==, 300);
    g_assert_cmpuint(ph_peek_read_object(PH_CMD_GETATTR, object, 2), ==, 5);
    g_assert_cmpuint(ph_peek_read_object(PH_CMD_STATFS, object, sizeof(object)), ==, 0);
    g_assert_cmpuint(ph_peek_wanted(PH_CMD_LOOKUP, twice, sizeof(twice)), ==, 0);
    g_assert_true(ph_peek_slow(PH_CMD_TRANSACT, cut, sizeof(cut)));
    g_assert_true(ph_peek_slow(PH_CMD_SYNC, NULL, 0));
    g_assert_false(ph_peek_slow(PH_CMD_GETATTR, NULL, 0));
    g_assert_false(ph_peek_slow(60000, NULL, 0));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/server-core/order-of-things", test_order_of_things);
    g_test_add_func("/server-core/exports-by-name-and-read-only", test_exports_by_name);
    g_test_add_func("/server-core/newer-session-ends-older", test_newer_session_ends_older);
    g_test_add_func("/server-core/transactions-take-effect-once", test_exactly_once);
    g_test_add_func("/server-core/locks-hold-between-sessions", test_locks_between_sessions);
    g_test_add_func("/server-core/waits-can-be-cancelled", test_cancel);
    g_test_add_func("/server-core/waits-do-not-hold-credits", test_waits_do_not_hold_credits);
    g_test_add_func("/server-core/credits-bound-what-is-in-flight", test_credits);
    g_test_add_func("/server-core/sessions-end-after-their-commands", test_end_waits_for_running);
    g_test_add_func("/server-core/garbage-is-answered", test_garbage_is_answered);
    g_test_add_func("/server-core/peeking-is-bounded", test_peek);
    return g_test_run();
}
