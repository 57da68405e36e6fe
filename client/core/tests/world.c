#include "client/core/tests/world.h"

#include <string.h>

#include "ph_commands.h"
#include "runtime/wire/command.h"

static void init(struct world *world, uint64_t patience_ms, bool read_only, bool write_back, uint64_t seed)
{
    memset(world, 0, sizeof(*world));
    struct ph_client_config config = {.client = "0123456789abcde",
                                      .export_name = "home",
                                      .host = "here",
                                      .server_name = "there:1025",
                                      .read_only = read_only,
                                      .leases = write_back,
                                      .write_back = write_back,
                                      .resumable = true,
                                      .patience_ms = patience_ms,
                                      .seed = seed};
    world->now_ms = 1000;
    world->client = ph_client_new(&config, world->now_ms);
    world->credits = WORLD_CREDITS;
    world->slots = WORLD_SLOTS;
    world->epoch = 1;
    world->write_back = write_back;
    memset(world->volume, 7, sizeof(world->volume));
    ph_client_actions_init(&world->actions);
}

void world_init(struct world *world, uint64_t patience_ms, bool read_only, uint64_t seed)
{
    init(world, patience_ms, read_only, false, seed);
}

void world_init_write_back(struct world *world, uint64_t patience_ms, uint64_t seed)
{
    init(world, patience_ms, false, true, seed);
}

void sent_free(struct sent *sent)
{
    ph_request_unref(sent->request);
    g_free(sent);
}

static void drop_sent(struct world *world)
{
    struct sent *sent;
    while ((sent = g_queue_pop_head(&world->sent)))
        sent_free(sent);
}

void world_clear(struct world *world)
{
    ph_client_fail_all(world->client, PH_ST_IO_ERROR, "over", &world->actions);
    world_act(world);
    drop_sent(world);
    struct ph_client_request *parked;
    while ((parked = g_queue_pop_head(&world->parked)))
        ph_request_unref(parked);
    ph_client_free(world->client);
}

static void complete(const struct world *world, const struct ph_client_action *action)
{
    struct outcome *outcome = action->request->data;
    if (!outcome)
        return;
    outcome->completions++;
    outcome->losses = world->losses;
    outcome->status = action->status;
    g_strlcpy(outcome->text, action->text ? action->text : "", sizeof(outcome->text));
}

static void act(struct world *world, const struct ph_client_action *action)
{
    switch (action->kind) {
    case PH_CLIENT_SEND: {
        struct sent *sent = g_new0(struct sent, 1);
        sent->header = action->header;
        sent->request = ph_request_ref(action->request);
        g_queue_push_tail(&world->sent, sent);
        break;
    }
    case PH_CLIENT_SEND_CANCEL:
        world->cancels++;
        break;
    case PH_CLIENT_COMPLETE:
        complete(world, action);
        break;
    case PH_CLIENT_WALK:
        g_queue_push_tail(&world->parked, ph_request_ref(action->request));
        break;
    case PH_CLIENT_CONNECT:
        world->connects++;
        break;
    case PH_CLIENT_DISCONNECT:
        world->disconnects++;
        world->disconnect_status = action->status;
        g_strlcpy(world->disconnect_text, action->text, sizeof(world->disconnect_text));
        drop_sent(world);
        break;
    case PH_CLIENT_OPENED:
        world->opens++;
        break;
    case PH_CLIENT_REFUSED:
        world->refusals++;
        break;
    case PH_CLIENT_IDS:
        world->ids++;
        break;
    case PH_CLIENT_LATE:
        action->request->late(action->request->late_data);
        break;
    case PH_CLIENT_LOST:
        world->losses++;
        break;
    case PH_CLIENT_CLAIMS:
        world->claims++;
        break;
    case PH_CLIENT_GRANTS:
        world->grants++;
        break;
    case PH_CLIENT_CLAIMED:
        world->claimed++;
        break;
    case PH_CLIENT_EXPIRED:
        world->expiries++;
        break;
    case PH_CLIENT_EVENT:
        world->events++;
        break;
    case PH_CLIENT_CLOSED:
        world->closes++;
        world->close_status = action->status;
        break;
    }
}

void world_act(struct world *world)
{
    for (size_t i = 0; i < world->actions.count; i++)
        act(world, &world->actions.items[i]);
    ph_client_actions_clear(&world->actions);
}

void world_pass(struct world *world, uint64_t ms)
{
    world->now_ms += ms;
    ph_client_tick(world->client, world->now_ms, &world->actions);
    world_act(world);
}

void world_lose(struct world *world, const char *text)
{
    struct ph_fault fault = {.status = PH_ST_IO_ERROR};
    g_strlcpy(fault.text, text, sizeof(fault.text));
    ph_client_disconnected(world->client, &fault, world->now_ms, &world->actions);
    world_act(world);
    drop_sent(world);
}

struct world_asked world_asked(struct world *world)
{
    struct world_asked asked = {0};
    for (GList *at = world->sent.head; at; at = at->next) {
        const struct sent *sent = at->data;
        if (sent->header.command != PH_CMD_SESSION_OPEN)
            continue;
        struct ph_fault fault = {0};
        struct ph_arena *arena = ph_arena_new(PH_ARENA_CAP_BYTES);
        const Pohmel__SessionOpenRequest *request = (const Pohmel__SessionOpenRequest *) ph_decode(
            ph_command_info(PH_CMD_SESSION_OPEN)->request, sent->request->message, sent->request->message_len,
            arena, &fault);
        g_assert_nonnull(request);
        asked = (struct world_asked){request->session, request->resume, request->resumable};
        ph_arena_free(arena);
    }
    return asked;
}

void world_open_sent(struct world *world)
{
    int connects = world->connects;
    for (int i = 0; i < 1000 && world->connects == connects; i++)
        world_pass(world, i ? 10 : 0);
    drop_sent(world);
    ph_client_connected(world->client, 1 << 18, 1 << 20, world->now_ms, &world->actions);
    world_act(world);
}

void world_open_answered(struct world *world)
{
    struct sent *open = world_take(world, PH_CMD_SESSION_OPEN);
    g_assert_nonnull(open);

    Pohmel__Time time = POHMEL__TIME__INIT;
    Pohmel__Attr root = POHMEL__ATTR__INIT;
    root.object = 1;
    root.accessed = root.modified = root.changed = &time;
    Pohmel__Space space = POHMEL__SPACE__INIT;
    space.block_size = 4096;
    space.name_max = 255;
    Pohmel__ExportInfo info = POHMEL__EXPORT_INFO__INIT;
    info.root = 1;
    info.read_only = world->read_only;
    info.acts_as_caller = world->write_back;
    info.space = &space;
    info.volume = (ProtobufCBinaryData){.data = world->volume, .len = sizeof(world->volume)};
    Pohmel__SessionOpenReply reply = POHMEL__SESSION_OPEN_REPLY__INIT;
    reply.epoch = world->epoch;
    reply.resumable = world->resumable;
    reply.resumed = world->resumed;
    reply.lease_ttl_ms = 60000;
    reply.leases = world->write_back;
    reply.slots = world->slots;
    reply.credits = world->credits;
    reply.export_info = &info;
    reply.root = &root;
    world_answer(world, open, PH_ST_OK, &reply.base);
}

void world_open(struct world *world)
{
    world_open_sent(world);
    world_open_answered(world);
}

static uint64_t submit(struct world *world, struct ph_client_request *request, struct outcome *outcome)
{
    request->data = outcome;
    if (outcome)
        memset(outcome, 0, sizeof(*outcome));
    uint64_t ticket = ph_client_submit(world->client, request, world->now_ms, &world->actions);
    world_act(world);
    return ticket;
}

uint64_t world_submit(struct world *world, uint16_t command, const ProtobufCMessage *message,
                      struct ph_blob *payload, struct outcome *outcome)
{
    return submit(world, ph_request_encode(command, message, payload), outcome);
}

uint64_t world_getattr(struct world *world, uint64_t object, struct outcome *outcome)
{
    Pohmel__Caller caller = POHMEL__CALLER__INIT;
    Pohmel__GetattrRequest message = POHMEL__GETATTR_REQUEST__INIT;
    message.caller = &caller;
    message.object = object;
    return world_submit(world, PH_CMD_GETATTR, &message.base, NULL, outcome);
}

static struct ph_client_request *write_of(uint32_t bytes)
{
    Pohmel__Caller caller = POHMEL__CALLER__INIT;
    Pohmel__WriteRequest write = POHMEL__WRITE_REQUEST__INIT;
    write.caller = &caller;
    write.object = 5;
    write.handle = 1;
    write.length = bytes;
    Pohmel__Change change = POHMEL__CHANGE__INIT, *changes[] = {&change};
    change.command_case = POHMEL__CHANGE__COMMAND_WRITE;
    change.write = &write;
    Pohmel__TransactRequest transact = POHMEL__TRANSACT_REQUEST__INIT;
    transact.n_changes = 1;
    transact.changes = changes;
    struct ph_blob *payload = ph_blob_new(bytes);
    memset(payload->data, 'x', bytes);
    payload->len = bytes;
    struct ph_client_request *request = ph_request_encode(PH_CMD_TRANSACT, &transact.base, payload);
    ph_blob_unref(payload);
    return request;
}

uint64_t world_write(struct world *world, uint32_t bytes, struct outcome *outcome)
{
    return submit(world, write_of(bytes), outcome);
}

uint64_t world_read(struct world *world, uint32_t bytes, struct outcome *outcome)
{
    Pohmel__Caller caller = POHMEL__CALLER__INIT;
    Pohmel__ReadRequest message = POHMEL__READ_REQUEST__INIT;
    message.caller = &caller;
    message.object = message.handle = 1;
    message.length = bytes;
    return world_submit(world, PH_CMD_READ, &message.base, NULL, outcome);
}

uint64_t world_flush(struct world *world, uint64_t generation, uint32_t bytes, struct outcome *outcome)
{
    struct ph_client_request *request = write_of(bytes);
    ph_request_for_flush(request, generation);
    return submit(world, request, outcome);
}

uint64_t world_flush_close(struct world *world, uint64_t generation, struct outcome *outcome)
{
    Pohmel__CloseRequest message = POHMEL__CLOSE_REQUEST__INIT;
    message.object = message.handle = 1;
    struct ph_client_request *request = ph_request_encode(PH_CMD_CLOSE, &message.base, NULL);
    ph_request_for_flush(request, generation);
    return submit(world, request, outcome);
}

struct sent *world_take(struct world *world, uint16_t command)
{
    for (GList *at = world->sent.head; at; at = at->next) {
        struct sent *sent = at->data;
        if (sent->header.command != command)
            continue;
        g_queue_delete_link(&world->sent, at);
        return sent;
    }
    return NULL;
}

void world_reply(struct world *world, const struct ph_frame_header *header, const ProtobufCMessage *message)
{
    size_t len = message ? ph_encoded_size(message) : 0;
    struct ph_frame *frame = calloc(1, sizeof(*frame) + len);
    frame->header = *header;
    frame->header.message_len = (uint32_t) len;
    if (message)
        ph_encode(message, frame->message);
    ph_client_frame(world->client, frame, world->now_ms, &world->actions);
    world_act(world);
}

void world_answer(struct world *world, struct sent *sent, uint32_t status, const ProtobufCMessage *message)
{
    struct ph_frame_header header = sent->header;
    header.kind = PH_FRAME_REPLY;
    header.status = status;
    header.credits = (uint16_t) sent->request->cost;
    sent_free(sent);
    world_reply(world, &header, message);
}
