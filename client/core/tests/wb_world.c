/* Write-back between a user and a server: does what the shell of a mount does. */
#include "client/core/tests/wb_world.h"

#include <string.h>

#include "runtime/wire/command.h"

enum { LEASES_MS = 1 << 30 };

static void carry_out(struct wb_world *world, struct ph_wb_actions *actions);

static ProtobufCMessage *copy(const ProtobufCMessage *message)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    g_autofree uint8_t *packed = g_malloc(len + 1);
    protobuf_c_message_pack(message, packed);
    return protobuf_c_message_unpack(message->descriptor, NULL, len, packed);
}

static void free_sent(void *data)
{
    struct wb_sent *sent = data;
    protobuf_c_message_free_unpacked(sent->message, NULL);
    ph_blob_unref(sent->payload);
    wb_model_reply_clear(&sent->reply);
    g_free(sent);
}

void wb_world_begin(struct wb_world *world, const struct ph_wb_config *config, GRand *rand)
{
    *world = (struct wb_world){.wb = ph_wb_new(config), .server = wb_model_new(true, rand)};
    world->now = (struct ph_wb_now){.ms = 100000, .leases_until_ms = 100000 + LEASES_MS, .real = {1000, 0}};
    world->server->now = world->now.real;
    world->sent = g_ptr_array_new_with_free_func(free_sent);
    world->pending = g_ptr_array_new();
    world->failed = g_ptr_array_new_with_free_func(g_free);
    world->list_directories = world->acquire = true;
}

void wb_world_drop(struct wb_asked *asked)
{
    g_ptr_array_remove(asked->world->pending, asked);
    protobuf_c_message_free_unpacked(asked->message, NULL);
    ph_blob_unref(asked->payload);
    wb_model_reply_clear(&asked->reply);
    g_free(asked);
}

void wb_world_end(struct wb_world *world)
{
    ph_wb_free(world->wb);
    while (world->pending->len > 0)
        wb_world_drop(g_ptr_array_index(world->pending, 0));
    g_ptr_array_unref(world->sent);
    g_ptr_array_unref(world->pending);
    g_ptr_array_unref(world->failed);
    wb_model_free(world->server);
}

void wb_world_forget(struct wb_asked *asked)
{
    if (asked->done)
        wb_world_drop(asked);
    else
        asked->forgotten = true;
}

/* --- Actions --- */

static struct wb_asked *asked_with(const struct wb_world *world, uint64_t ticket)
{
    for (guint i = 0; i < world->pending->len; i++) {
        struct wb_asked *asked = g_ptr_array_index(world->pending, i);
        if (asked->ticket == ticket)
            return asked;
    }
    return NULL;
}

static void send(struct wb_world *world, const struct ph_wb_action *action)
{
    struct wb_sent *sent = g_new0(struct wb_sent, 1);
    sent->call = action->call;
    sent->ticket = ph_wb_call_ticket(action->call);
    sent->outer = action->command;
    sent->message = copy(action->message);
    sent->command = wb_model_inner(action->command, sent->message, &sent->inner);
    sent->payload = action->payload != NULL ? ph_blob_ref(action->payload) : NULL;
    sent->asked = asked_with(world, sent->ticket);
    g_ptr_array_add(world->sent, sent);
    ph_wb_sent(world->wb, sent->ticket, ++world->last_link_ticket);
}

static void internally(struct wb_world *world, uint16_t command, const void *message)
{
    struct wb_asked *asked = wb_world_ask(world, command, message, NULL);
    asked->internal = true;
    if (asked->done)
        wb_world_drop(asked);
}

static void acquire(struct wb_world *world, uint64_t object)
{
    Pohmel__LeaseAcquireRequest message = POHMEL__LEASE_ACQUIRE_REQUEST__INIT;
    message.object = object;
    message.mode = POHMEL__LEASE_MODE__MODE_EXCLUSIVE;
    internally(world, PH_CMD_LEASE_ACQUIRE, &message);
}

static void acquire_range(struct wb_world *world, const struct ph_wb_action *action)
{
    Pohmel__LeaseAcquireRequest message = POHMEL__LEASE_ACQUIRE_REQUEST__INIT;
    Pohmel__Range range = POHMEL__RANGE__INIT;
    message.object = action->object;
    message.mode = POHMEL__LEASE_MODE__MODE_EXCLUSIVE;
    message.range = &range;
    range.offset = action->offset;
    range.length = action->len;
    internally(world, PH_CMD_LEASE_ACQUIRE, &message);
}

static void release_range(struct wb_world *world, const struct ph_wb_action *action)
{
    Pohmel__LeaseReleaseRequest message = POHMEL__LEASE_RELEASE_REQUEST__INIT;
    Pohmel__Range range = POHMEL__RANGE__INIT;
    Pohmel__LeaseKept kept = POHMEL__LEASE_KEPT__INIT, *parts[] = {&kept};
    uint64_t lease = action->lease;
    kept.lease = lease;
    kept.range = &range;
    range.offset = action->offset;
    range.length = action->len;
    message.n_leases = action->kind == PH_WB_RETURN;
    message.leases = &lease;
    message.n_parts = action->kind == PH_WB_KEEP;
    message.parts = parts;
    internally(world, PH_CMD_LEASE_RELEASE, &message);
}

static void list(struct wb_world *world, uint64_t object, uint64_t cookie)
{
    Pohmel__Caller caller = POHMEL__CALLER__INIT;
    Pohmel__ReaddirRequest message = POHMEL__READDIR_REQUEST__INIT;
    message.caller = &caller;
    message.object = object;
    message.cookie = cookie;
    message.count = 4;
    message.bytes_max = 65536;
    message.attributes = true;
    internally(world, PH_CMD_READDIR, &message);
}

static void ask_space(struct wb_world *world, const struct ph_wb_action *action)
{
    Pohmel__Caller caller = POHMEL__CALLER__INIT;
    Pohmel__StatfsRequest message = POHMEL__STATFS_REQUEST__INIT;
    message.caller = &caller;
    message.object = 1;
    message.reserve = true;
    message.needed = action->needed;
    message.more = action->more;
    internally(world, PH_CMD_STATFS, &message);
}

static void carry_out_one(struct wb_world *world, struct ph_wb_action *action)
{
    if (world->told != NULL)
        world->told(world->data, action);
    switch (action->kind) {
    case PH_WB_SEND:
        send(world, action);
        break;
    case PH_WB_COMPLETE:
        if (action->fn != NULL)
            action->fn(action->data, &action->reply);
        break;
    case PH_WB_EXCLUSIVE:
        if (world->acquire)
            acquire(world, action->object);
        break;
    case PH_WB_RANGE:
        acquire_range(world, action);
        break;
    case PH_WB_RETURN:
    case PH_WB_KEEP:
        release_range(world, action);
        break;
    case PH_WB_LIST:
        if (world->list_directories)
            list(world, action->object, 0);
        break;
    case PH_WB_SPACE:
        ask_space(world, action);
        break;
    case PH_WB_BORN:
        world->born_old = action->old_lease;
        world->born_new = action->lease;
        break;
    case PH_WB_RESTORED:
    case PH_WB_LOST:
        break;
    case PH_WB_FAILED:
        g_ptr_array_add(world->failed,
                        g_strdup_printf("%s: %s", action->text, ph_status_text(action->status)));
        break;
    default:
        break;
    }
}

static void carry_out(struct wb_world *world, struct ph_wb_actions *actions)
{
    for (size_t i = 0; i < actions->count; i++)
        carry_out_one(world, actions->items[i]);
    ph_wb_actions_clear(actions);
}

/* --- The user --- */

static void go_on_listing(struct wb_world *world, const struct wb_asked *asked)
{
    const Pohmel__ReaddirReply *reply = (const Pohmel__ReaddirReply *) asked->reply.message;
    if (asked->reply.status == PH_ST_OK && !reply->end && reply->n_entries > 0)
        list(world, ((const Pohmel__ReaddirRequest *) asked->inner)->object,
             reply->entries[reply->n_entries - 1]->cookie);
}

static void on_reply(void *data, const struct ph_reply *reply)
{
    struct wb_asked *asked = data;
    struct wb_world *world = asked->world;
    g_assert_false(asked->done);
    asked->done = true;
    asked->reply.status = reply->status;
    asked->reply.message = reply->message != NULL ? copy(reply->message) : NULL;
    asked->reply.payload = reply->payload != NULL ? ph_blob_ref(reply->payload) : NULL;
    g_ptr_array_remove(world->pending, asked);
    if (world->answered != NULL)
        world->answered(world->data, asked);
    if (asked->internal && asked->command == PH_CMD_READDIR)
        go_on_listing(world, asked);
    if (asked->internal || asked->forgotten)
        wb_world_drop(asked);
}

static const ProtobufCMessage *wrap(uint16_t command, const void *message, Pohmel__TransactRequest *transact,
                                    Pohmel__Change *change, Pohmel__Change **changes)
{
    if (ph_command_info(command)->effect != PH_EFFECT_CHANGES)
        return message;
    pohmel__transact_request__init(transact);
    pohmel__change__init(change);
    change->command_case = (Pohmel__Change__CommandCase) command;
    change->create = (Pohmel__CreateRequest *) message;
    changes[0] = change;
    transact->n_changes = 1;
    transact->changes = changes;
    return &transact->base;
}

struct wb_asked *wb_world_ask(struct wb_world *world, uint16_t command, const void *message,
                              struct ph_blob *payload)
{
    Pohmel__TransactRequest transact;
    Pohmel__Change change, *changes[1];
    const ProtobufCMessage *outer = wrap(command, message, &transact, &change, changes);
    struct wb_asked *asked = g_new0(struct wb_asked, 1);
    struct ph_wb_actions actions;
    asked->world = world;
    asked->number = ++world->asked_count;
    asked->outer = outer == message ? command : PH_CMD_TRANSACT;
    asked->message = copy(outer);
    asked->command = wb_model_inner(asked->outer, asked->message, &asked->inner);
    asked->payload = payload;
    g_ptr_array_add(world->pending, asked);
    ph_wb_actions_init(&actions);
    asked->ticket =
        ph_wb_submit(world->wb, asked->outer, outer, payload, on_reply, asked, &world->now, &actions);
    carry_out(world, &actions);
    return asked;
}

/* --- The server --- */

void wb_world_execute(struct wb_world *world, struct wb_sent *sent)
{
    if (sent->executed)
        return;
    sent->executed = true;
    world->server->now = world->now.real;
    wb_model_execute(world->server, sent->outer, sent->message, sent->payload, &sent->reply);
    if (sent->asked != NULL)
        sent->asked->executed = true;
    if (world->executing != NULL)
        world->executing(world->data, sent);
}

static void answer(struct wb_world *world, struct wb_sent *sent)
{
    struct ph_wb_actions actions;
    struct ph_reply reply = {.status = sent->reply.status,
                             .message = sent->reply.message,
                             .payload = sent->reply.payload,
                             .text = ""};
    guint index;
    g_assert_true(g_ptr_array_find(world->sent, sent, &index));
    g_ptr_array_steal_index(world->sent, index);
    ph_wb_actions_init(&actions);
    ph_wb_answered(world->wb, sent->call, &reply, &world->now, &actions);
    carry_out(world, &actions);
    free_sent(sent);
}

void wb_world_deliver(struct wb_world *world, struct wb_sent *sent)
{
    wb_world_execute(world, sent);
    answer(world, sent);
}

void wb_world_refuse(struct wb_world *world, struct wb_sent *sent, uint32_t status)
{
    wb_model_reply_clear(&sent->reply);
    sent->reply.status = status;
    answer(world, sent);
}

void wb_world_settle(struct wb_world *world)
{
    for (unsigned i = 0; world->sent->len > 0; i++) {
        g_assert_cmpuint(i, <, 100000);
        wb_world_deliver(world, g_ptr_array_index(world->sent, 0));
    }
}

/* --- What happens --- */

void wb_world_open(struct wb_world *world)
{
    struct ph_wb_actions actions;
    ph_wb_actions_init(&actions);
    ph_wb_opened(world->wb, 1, true, &world->now, &actions);
    carry_out(world, &actions);
}

void wb_world_lose(struct wb_world *world)
{
    GPtrArray *sent = g_ptr_array_new();
    for (guint i = 0; i < world->pending->len; i++)
        ((struct wb_asked *) g_ptr_array_index(world->pending, i))->blurred = true;
    for (guint i = 0; i < world->sent->len; i++)
        g_ptr_array_add(sent, g_ptr_array_index(world->sent, i));
    ph_wb_lost(world->wb);
    wb_model_end_session(world->server);
    for (guint i = 0; i < sent->len; i++)
        wb_world_refuse(world, g_ptr_array_index(sent, i), PH_ST_NO_SESSION);
    g_ptr_array_unref(sent);
}

void wb_world_tick(struct wb_world *world, uint64_t ms)
{
    struct ph_wb_actions actions;
    world->now.ms += ms;
    world->now.leases_until_ms += ms;
    ph_wb_actions_init(&actions);
    ph_wb_tick(world->wb, &world->now, &actions);
    carry_out(world, &actions);
}

void wb_world_recall(struct wb_world *world, uint64_t object, uint64_t lease)
{
    struct ph_wb_actions actions;
    struct wb_node *node = wb_model_node(world->server, object);
    if (node != NULL && node->lease == lease)
        node->recalled = true;
    ph_wb_actions_init(&actions);
    ph_wb_recalled(world->wb, object, lease, &world->now, &actions);
    carry_out(world, &actions);
}

static void ignore(void *data, const struct ph_reply *reply)
{
    *(uint32_t *) data = reply->status;
}

void wb_world_flush(struct wb_world *world, uint64_t object)
{
    static uint32_t status;
    struct ph_wb_actions actions;
    ph_wb_actions_init(&actions);
    ph_wb_flush(world->wb, object, ignore, &status, &world->now, &actions);
    carry_out(world, &actions);
}

unsigned wb_world_count(const struct wb_world *world, uint16_t command)
{
    unsigned count = 0;
    for (guint i = 0; i < world->sent->len; i++) {
        const struct wb_sent *sent = g_ptr_array_index(world->sent, i);
        count += !sent->executed && sent->command == command;
    }
    return count;
}

struct wb_sent *wb_world_find(const struct wb_world *world, uint16_t command)
{
    for (guint i = 0; i < world->sent->len; i++) {
        struct wb_sent *sent = g_ptr_array_index(world->sent, i);
        if (!sent->executed && sent->command == command)
            return sent;
    }
    return NULL;
}
