#include "server/core/tests/caching_world.h"

#include <string.h>

#include "runtime/base/limits.h"
#include "server/core/table.h"
#include "server/core/tests/stepped.h"

static void run(struct world *world, struct ph_server_call *call);

static void reply_free(void *data)
{
    struct reply *reply = data;

    g_bytes_unref(reply->message);
    g_free(reply);
}

static void take_frame(struct client *client, const struct ph_action *action)
{
    const struct ph_blob *blob = action->message;
    g_autoptr(GBytes) bytes = blob == NULL ? g_bytes_new(NULL, 0) : g_bytes_new(blob->data, blob->len);
    struct reply *reply;

    if (action->header.kind == PH_FRAME_EVENT) {
        g_assert_cmpuint(action->header.slot, ==, PH_NO_SLOT);
        g_assert_cmpuint(action->header.credits, ==, 0);
        if (action->header.command == PH_CMD_RECALL)
            g_ptr_array_add(client->recalls, g_bytes_ref(bytes));
        else if (action->header.command == PH_CMD_GLIMPSE)
            g_ptr_array_add(client->glimpses, g_bytes_ref(bytes));
        else
            client->fenced += action->header.command == PH_CMD_FENCED;
        return;
    }
    reply = g_new0(struct reply, 1);
    reply->status = action->header.status;
    reply->message = g_bytes_ref(bytes);
    reply->payload = action->payload != NULL;
    g_assert_false(g_hash_table_contains(client->replies, GSIZE_TO_POINTER(action->header.id)));
    g_hash_table_insert(client->replies, GSIZE_TO_POINTER(action->header.id), reply);
}

static void perform(struct world *world, struct ph_actions *actions);

static void end_session(struct world *world, const struct ph_action *action)
{
    struct ph_actions actions = {0};

    ph_server_end_session(world->server, action, &actions);
    perform(world, &actions);
}

static void perform(struct world *world, struct ph_actions *actions)
{
    for (size_t i = 0; i < actions->count; i++) {
        struct ph_action *action = ph_actions_get(actions, i);
        struct client *client = action->conn == NULL ? NULL : ph_server_conn_data(action->conn);

        switch (action->kind) {
        case PH_ACTION_SEND:
            take_frame(client, action);
            break;
        case PH_ACTION_CLOSE:
            client->close_status = action->status;
            break;
        case PH_ACTION_END_SESSION:
            end_session(world, action);
            break;
        case PH_ACTION_RUN:
            g_queue_push_tail(&world->runs, action->call);
            break;
        case PH_ACTION_LOG:
            g_byte_array_append(world->log, action->message->data, (guint) action->message->len);
            break;
        }
    }
    ph_actions_clear(actions);
    if (!world->hold_runs)
        world_let_run(world);
}

static void run(struct world *world, struct ph_server_call *call)
{
    struct ph_actions actions = {0};

    ph_server_execute(call);
    ph_server_done(call, &actions);
    perform(world, &actions);
}

void world_let_run(struct world *world)
{
    struct ph_server_call *call;

    while ((call = g_queue_pop_head(&world->runs)) != NULL)
        run(world, call);
}

void world_init(struct world *world)
{
    const struct ph_server_guard guard = stepped_guard(&world->inside);

    *world = (struct world){.fake = ph_fake_store_new(), .log = g_byte_array_new()};
    world->export = (struct ph_server_export){.name = "one", .store = ph_fake_store_interface(world->fake)};
    world->server = ph_server_new(&world->export, 1, &guard, 4711);
    g_queue_init(&world->runs);
    world_tick(world, 1000);
}

void world_restart(struct world *world, uint64_t now_ms)
{
    const struct ph_server_guard guard = stepped_guard(&world->inside);

    ph_server_free(world->server);
    ph_fake_store_restart(world->fake);
    world->server = ph_server_new(&world->export, 1, &guard, 4712);
    world_tick(world, now_ms);
}

void world_clear(struct world *world)
{
    g_assert_cmpuint(ph_server_running(world->server), ==, 0);
    ph_server_free(world->server);
    ph_fake_store_free(world->fake);
    g_byte_array_unref(world->log);
}

void world_tick(struct world *world, uint64_t now_ms)
{
    struct ph_actions actions = {0};

    ph_server_tick(world->server, now_ms, &actions);
    perform(world, &actions);
}

static void give(struct client *client, const struct ph_frame_header *header, const ProtobufCMessage *message)
{
    struct ph_actions actions = {0};
    struct ph_server_call *call;

    ph_server_frame(client->conn, stepped_frame(header, message), &actions, &call);
    perform(client->world, &actions);
    if (call != NULL)
        run(client->world, call);
}

uint64_t client_send(struct client *client, uint16_t command, const ProtobufCMessage *message)
{
    struct ph_frame_header header = {
        .kind = PH_FRAME_REQUEST, .command = command, .id = client->next_id++, .slot = PH_NO_SLOT};

    give(client, &header, message);
    return header.id;
}

static uint64_t transact_all(struct client *client, Pohmel__Change **changes, size_t count, uint32_t slot,
                             uint32_t sequence, uint32_t payload_len)
{
    Pohmel__TransactRequest transaction = POHMEL__TRANSACT_REQUEST__INIT;
    struct ph_frame_header header = {.kind = PH_FRAME_REQUEST,
                                     .command = PH_CMD_TRANSACT,
                                     .id = client->next_id++,
                                     .slot = slot,
                                     .sequence = sequence,
                                     .payload_len = payload_len};

    transaction.changes = changes;
    transaction.n_changes = count;
    give(client, &header, &transaction.base);
    return header.id;
}

static uint64_t transact(struct client *client, Pohmel__Change *change, uint32_t slot, uint32_t sequence,
                         uint32_t payload_len)
{
    return transact_all(client, &change, 1, slot, sequence, payload_len);
}

/* Each in a slot of its own, so that one may wait while others go on. */
uint64_t client_change(struct client *client, Pohmel__Change *change, uint32_t payload_len)
{
    return transact(client, change, client->next_sequence++, 1, payload_len);
}

uint64_t client_changes(struct client *client, Pohmel__Change **changes, size_t count)
{
    return transact_all(client, changes, count, client->next_sequence++, 1, 0);
}

uint64_t client_transact(struct client *client, Pohmel__Change *change, uint32_t slot, uint32_t sequence)
{
    return transact(client, change, slot, sequence, 0);
}

void client_cancel(struct client *client, uint64_t id)
{
    struct ph_frame_header header = {
        .kind = PH_FRAME_CONTROL, .command = PH_CONTROL_CANCEL, .id = id, .slot = PH_NO_SLOT};

    give(client, &header, NULL);
}

void client_connect(struct client *client, struct world *world)
{
    *client = (struct client){.world = world, .next_id = 1};
    client->replies = g_hash_table_new_full(NULL, NULL, NULL, reply_free);
    client->recalls = g_ptr_array_new_with_free_func((GDestroyNotify) g_bytes_unref);
    client->glimpses = g_ptr_array_new_with_free_func((GDestroyNotify) g_bytes_unref);
    client->conn = ph_server_conn_new(world->server, client, NULL);
}

uint64_t client_open(struct client *client, uint8_t who, uint64_t number, unsigned what)
{
    Pohmel__SessionOpenRequest open = POHMEL__SESSION_OPEN_REQUEST__INIT;
    uint8_t id[16] = {who};

    open.client = (ProtobufCBinaryData){sizeof(id), id};
    open.session = number;
    open.leases = (what & OPEN_CACHES) != 0;
    open.write_back = (what & OPEN_WRITES) != 0;
    open.glimpses = (what & OPEN_TELLS) != 0;
    open.ranges = (what & OPEN_RANGES) != 0;
    open.resumable = (what & OPEN_RESUMABLE) != 0;
    open.resume = (what & OPEN_RESUMES) != 0;
    return client_send(client, PH_CMD_SESSION_OPEN, &open.base);
}

static void open_session(struct client *client, struct world *world, uint8_t who, uint64_t number,
                         bool caches, bool writes_back, bool tells)
{
    Pohmel__SessionOpenReply *reply;
    uint64_t asked, root;

    client_connect(client, world);
    asked = client_open(client, who, number,
                        (caches ? OPEN_CACHES : 0u) | (writes_back ? OPEN_WRITES : 0u) |
                            (tells ? OPEN_TELLS : 0u));
    reply = (void *) client_message(client, asked, &pohmel__session_open_reply__descriptor);
    g_assert_cmpint(reply->leases, ==, caches);
    /* Its recall could overtake the reply that tells of the session. */
    g_assert_cmpuint(reply->root->lease, ==, 0);
    pohmel__session_open_reply__free_unpacked(reply, NULL);
    if (caches)
        client_getattr(client, PH_OBJECT_ROOT, &root);
}

void client_init(struct client *client, struct world *world, uint8_t who, uint64_t number, bool caches)
{
    open_session(client, world, who, number, caches, false, false);
}

void client_init_writing(struct client *client, struct world *world, uint8_t who, uint64_t number)
{
    open_session(client, world, who, number, true, true, false);
}

void client_init_telling(struct client *client, struct world *world, uint8_t who, uint64_t number)
{
    open_session(client, world, who, number, true, true, true);
}

void client_clear(struct client *client)
{
    struct ph_actions actions = {0};

    ph_server_conn_closed(client->conn, false, &actions);
    perform(client->world, &actions);
    ph_server_conn_unref(client->conn);
    g_hash_table_unref(client->replies);
    g_ptr_array_unref(client->recalls);
    g_ptr_array_unref(client->glimpses);
}

uint32_t client_status(struct client *client, uint64_t id)
{
    struct reply *reply = g_hash_table_lookup(client->replies, GSIZE_TO_POINTER(id));

    return reply == NULL ? PH_PENDING : reply->status;
}

bool client_brought(struct client *client, uint64_t id)
{
    struct reply *reply = g_hash_table_lookup(client->replies, GSIZE_TO_POINTER(id));

    return reply != NULL && reply->payload;
}

ProtobufCMessage *client_message(struct client *client, uint64_t id, const ProtobufCMessageDescriptor *type)
{
    struct reply *reply = g_hash_table_lookup(client->replies, GSIZE_TO_POINTER(id));
    ProtobufCMessage *message;

    g_assert_cmpuint(client_status(client, id), ==, PH_ST_OK);
    message = protobuf_c_message_unpack(type, NULL, g_bytes_get_size(reply->message),
                                        g_bytes_get_data(reply->message, NULL));
    g_assert_nonnull(message);
    return message;
}

uint64_t client_getattr(struct client *client, uint64_t object, uint64_t *lease)
{
    Pohmel__GetattrRequest ask = POHMEL__GETATTR_REQUEST__INIT;
    Pohmel__Caller caller = POHMEL__CALLER__INIT;
    uint64_t id;

    ask.caller = &caller;
    ask.object = object;
    id = client_send(client, PH_CMD_GETATTR, &ask.base);
    if (lease != NULL) {
        Pohmel__GetattrReply *reply = (void *) client_message(client, id, &pohmel__getattr_reply__descriptor);

        *lease = reply->attr->lease;
        g_assert_cmpint(reply->attr->lease != 0, ==, reply->attr->lease_mode != 0);
        pohmel__getattr_reply__free_unpacked(reply, NULL);
    }
    return id;
}

uint64_t client_lookup(struct client *client, const char *name, uint64_t *lease, uint64_t *directory_lease)
{
    Pohmel__LookupRequest ask = POHMEL__LOOKUP_REQUEST__INIT;
    Pohmel__Caller caller = POHMEL__CALLER__INIT;
    ProtobufCBinaryData bytes = {strlen(name), (uint8_t *) name};
    Pohmel__LookupReply *reply;
    uint64_t id;

    ask.caller = &caller;
    ask.parent = PH_OBJECT_ROOT;
    ask.names = &bytes;
    ask.n_names = 1;
    ask.data_max = PH_SMALL_FILE_MAX_BYTES;
    id = client_send(client, PH_CMD_LOOKUP, &ask.base);
    if (lease == NULL)
        return id;
    reply = (void *) client_message(client, id, &pohmel__lookup_reply__descriptor);
    *lease = reply->n_found == 1 ? reply->found[0]->lease : 0;
    *directory_lease = reply->directory->lease;
    pohmel__lookup_reply__free_unpacked(reply, NULL);
    return id;
}

uint64_t client_create(struct client *client, const char *name, uint64_t object, bool truncate)
{
    Pohmel__Change change = POHMEL__CHANGE__INIT;
    Pohmel__CreateRequest create = POHMEL__CREATE_REQUEST__INIT;
    Pohmel__Caller caller = POHMEL__CALLER__INIT;

    create.caller = &caller;
    create.parent = PH_OBJECT_ROOT;
    create.name = (ProtobufCBinaryData){strlen(name), (uint8_t *) name};
    create.object = object;
    create.truncate = truncate;
    change.command_case = POHMEL__CHANGE__COMMAND_CREATE;
    change.create = &create;
    return client_change(client, &change, 0);
}

uint64_t client_remove(struct client *client, const char *name, uint64_t expected)
{
    Pohmel__Change change = POHMEL__CHANGE__INIT;
    Pohmel__RemoveRequest remove = POHMEL__REMOVE_REQUEST__INIT;
    Pohmel__Caller caller = POHMEL__CALLER__INIT;

    remove.caller = &caller;
    remove.parent = PH_OBJECT_ROOT;
    remove.name = (ProtobufCBinaryData){strlen(name), (uint8_t *) name};
    remove.object = expected;
    change.command_case = POHMEL__CHANGE__COMMAND_REMOVE;
    change.remove = &remove;
    return client_change(client, &change, 0);
}

uint64_t client_rename(struct client *client, const char *from, const char *to)
{
    Pohmel__Change change = POHMEL__CHANGE__INIT;
    Pohmel__RenameRequest rename = POHMEL__RENAME_REQUEST__INIT;
    Pohmel__Caller caller = POHMEL__CALLER__INIT;

    rename.caller = &caller;
    rename.old_parent = rename.new_parent = PH_OBJECT_ROOT;
    rename.old_name = (ProtobufCBinaryData){strlen(from), (uint8_t *) from};
    rename.new_name = (ProtobufCBinaryData){strlen(to), (uint8_t *) to};
    change.command_case = POHMEL__CHANGE__COMMAND_RENAME;
    change.rename = &rename;
    return client_change(client, &change, 0);
}

uint64_t client_acquire(struct client *client, uint64_t object, uint32_t mode)
{
    Pohmel__LeaseAcquireRequest ask = POHMEL__LEASE_ACQUIRE_REQUEST__INIT;

    ask.object = object;
    ask.mode = mode;
    return client_send(client, PH_CMD_LEASE_ACQUIRE, &ask.base);
}

uint64_t client_acquired(struct client *client, uint64_t id)
{
    Pohmel__LeaseAcquireReply *reply =
        (void *) client_message(client, id, &pohmel__lease_acquire_reply__descriptor);
    uint64_t lease = reply->grant->lease;

    g_assert_cmpuint(reply->grant->attr->lease, ==, lease);
    pohmel__lease_acquire_reply__free_unpacked(reply, NULL);
    return lease;
}

void client_release(struct client *client, uint64_t lease, bool keep)
{
    Pohmel__LeaseReleaseRequest release = POHMEL__LEASE_RELEASE_REQUEST__INIT;
    uint64_t id;

    if (keep) {
        release.kept = &lease;
        release.n_kept = 1;
    } else {
        release.leases = &lease;
        release.n_leases = 1;
    }
    id = client_send(client, PH_CMD_LEASE_RELEASE, &release.base);
    g_assert_cmpuint(client_status(client, id), ==, PH_ST_OK);
}

uint64_t client_recalled(struct client *client, guint index, uint64_t object, uint32_t keep)
{
    Pohmel__RecallEvent *event;
    uint64_t lease;

    g_assert_cmpuint(client->recalls->len, >, index);
    event = pohmel__recall_event__unpack(NULL, g_bytes_get_size(client->recalls->pdata[index]),
                                         g_bytes_get_data(client->recalls->pdata[index], NULL));
    g_assert_cmpuint(event->object, ==, object);
    g_assert_cmpuint(event->keep, ==, keep);
    lease = event->lease;
    pohmel__recall_event__free_unpacked(event, NULL);
    return lease;
}

uint64_t client_open_file(struct client *client, uint64_t object, uint64_t handle, bool reopen)
{
    Pohmel__OpenRequest open = POHMEL__OPEN_REQUEST__INIT;
    Pohmel__Caller caller = POHMEL__CALLER__INIT;

    open.caller = &caller;
    open.object = object;
    open.handle = handle;
    open.access = 3;
    open.reopen = reopen;
    return client_send(client, PH_CMD_OPEN, &open.base);
}

uint64_t client_lock_file(struct client *client, uint64_t object, uint64_t handle, bool wait)
{
    Pohmel__LockRequest lock = POHMEL__LOCK_REQUEST__INIT;
    Pohmel__Range range = POHMEL__RANGE__INIT;

    range.length = 10;
    lock.object = object;
    lock.handle = handle;
    lock.owner = 7;
    lock.range = &range;
    lock.wait = wait;
    return client_send(client, PH_CMD_LOCK, &lock.base);
}

size_t world_leases(struct world *world)
{
    struct ph_table_cursor cursor = {0};
    struct ph_lease_view views[16];
    size_t count = 0;

    while (!cursor.end)
        count += ph_server_look_leases(world->server, 0, &cursor, views, G_N_ELEMENTS(views));
    return count;
}
