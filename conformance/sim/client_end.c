/* The shell around a client core in the simulated world. */
#include <string.h>

#include "conformance/sim/world.h"
#include "conformance/sim/writeback.h"
#include "ph_commands.h"
#include "runtime/base/limits.h"
#include "runtime/wire/command.h"

enum {
    CONNECT_DELAY_US = 5000,
    SHUFFLE_PER_MILLE = 300,
    PATIENCE_MS = 600000,
    CLOSE_WITHIN_MS = 5000,
    RESTART_US = 3000000,
    OFFSET_MS = 100000,
    HARD_CRASH_US = 40000000, /* until the server sees that a machine is gone */
};

/* A transaction that was sent twice: both answers must be the same. */
struct repeat {
    int answers;
    uint32_t status, crc;
};

uint64_t sim_client_send(struct sim_client *client, uint64_t generation, uint16_t command,
                         const ProtobufCMessage *message, struct ph_blob *payload, ph_reply_fn fn, void *data)
{
    struct ph_client_actions actions;
    struct ph_client_request *request = ph_request_encode(command, message, payload);
    request->fn = fn;
    request->data = data;
    if (generation != 0)
        ph_request_for_flush(request, generation);
    ph_client_actions_init(&actions);
    uint64_t ticket = ph_client_submit(client->core, request, sim_client_ms(client), &actions);
    sim_client_act(client, &actions);
    return ticket;
}

static uint64_t stub_send(void *self, uint16_t command, const ProtobufCMessage *message,
                          struct ph_blob *payload, ph_reply_fn fn, void *data)
{
    return sim_client_send(self, 0, command, message, payload, fn, data);
}

static void start_programs(struct sim_client *client)
{
    for (int i = 0; i < client->world->profile.processes; i++) {
        client->processes[i].client = client;
        client->processes[i].index = i;
        if (client->caching)
            sim_program_start(&client->processes[i]);
        else
            sim_process_start(&client->processes[i]);
    }
}

struct sim_client *sim_client_new(struct world *world, int index)
{
    struct sim_client *client = g_new0(struct sim_client, 1);
    struct ph_client_config config = {.export_name = "model",
                                      .host = "simulated",
                                      .server_name = "server",
                                      .leases = world->caching,
                                      .write_back = world->write_back,
                                      .patience_ms = PATIENCE_MS,
                                      .seed = ph_random_next(&world->random)};
    client->world = world;
    client->index = index;
    client->clock_ppm = world->profile.clock_ppm[index];
    client->clock_offset_ms = world->caching ? sim_below(world, OFFSET_MS) : 0;
    g_snprintf(client->name, sizeof(client->name), "client%d", index);
    ph_random_bytes(&world->random, config.client, sizeof(config.client));
    config.resumable = world->profile.resumable;
    memcpy(client->id, config.client, sizeof(client->id));
    client->ended = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
    client->core = ph_client_new(&config, sim_client_ms(client));
    ph_reclaim_init(&client->reclaim);
    client->stub = (struct ph_stub){.send = stub_send, .self = client};
    client->owned = g_hash_table_new(NULL, NULL);
    client->repeats = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
    if (world->caching)
        client->caching = sim_caching_new(client);
    if (world->write_back)
        client->writeback = sim_writeback_new(client);
    g_ptr_array_add(world->all_clients, client);
    world->clients[index] = client;
    start_programs(client);
    return client;
}

void sim_client_own(struct sim_client *client, void *data, GDestroyNotify free_data)
{
    g_hash_table_insert(client->owned, data, (gpointer) (uintptr_t) free_data);
}

void sim_client_disown(struct sim_client *client, void *data)
{
    g_hash_table_remove(client->owned, data);
}

void sim_client_free(void *data)
{
    struct sim_client *client = data;
    GHashTableIter iter;
    gpointer owned, free_owned;
    g_hash_table_iter_init(&iter, client->owned);
    while (g_hash_table_iter_next(&iter, &owned, &free_owned)) {
        g_hash_table_iter_remove(&iter);
        ((GDestroyNotify) (uintptr_t) free_owned)(owned);
    }
    g_hash_table_unref(client->owned);
    g_hash_table_unref(client->ended);
    ph_reclaim_clear(&client->reclaim);
    sim_writeback_free(client->writeback);
    ph_client_free(client->core);
    sim_caching_free(client->caching);
    g_hash_table_unref(client->repeats);
    g_free(client);
}

static void on_restart(struct world *world, void *data)
{
    int index = GPOINTER_TO_INT(data);
    sim_trace_line(&world->result->trace, world->now_us, "world", "client%d starts again", index);
    struct sim_client *client = sim_client_new(world, index);
    if (world->calm && client->writeback)
        sim_writeback_drain(client->writeback);
    if (world->ending)
        sim_client_shutdown(client);
}

/* The server finds out that a machine is gone. */
static void on_machine_gone(struct world *world, void *data)
{
    (void) world;
    sim_conn_cut(data);
}

void sim_client_crash(struct sim_client *client, gboolean hard)
{
    struct world *world = client->world;
    struct sim_conn *conn = client->conn;
    struct ph_fault fault = {.status = PH_ST_IO_ERROR};
    sim_trace_line(&world->result->trace, world->now_us, client->name, "crashes%s",
                   hard ? ", with its machine" : "");
    world->result->crashes++;
    client->dead = TRUE;
    if (conn)
        client->last_conn = conn;
    if (conn)
        sim_phases_lost(world->phases, conn);
    sim_programs_died(client);
    if (client->writeback)
        sim_writeback_died(client->writeback);
    if (conn && hard)
        sim_after(world, sim_below(world, HARD_CRASH_US), on_machine_gone, conn, NULL);
    else if (conn)
        sim_conn_close(conn, SIM_END_CLIENT, &fault);
    sim_after(world, sim_below(world, RESTART_US), on_restart, GINT_TO_POINTER(client->index), NULL);
}

static void on_resume(struct world *world, void *data)
{
    struct sim_client *client = data;
    sim_trace_line(&world->result->trace, world->now_us, client->name, "goes on");
    if (sim_chance(world, 500))
        sim_client_tick(client);
}

void sim_client_pause(struct sim_client *client, uint64_t us)
{
    struct world *world = client->world;
    sim_trace_line(&world->result->trace, world->now_us, client->name,
                   "stands still for %" G_GUINT64_FORMAT " us", us);
    world->result->pauses++;
    client->paused_until_us = world->now_us + us;
    client->trouble_us = client->paused_until_us;
    client->ticked = FALSE;
    sim_after_at(client, us, on_resume, client, NULL);
}

/* As the link does it: decodes the answer and calls back. */
static void complete(struct sim_client *client, const struct ph_client_action *action)
{
    struct ph_reply reply = {.status = action->status, .text = action->text ? action->text : ""};
    struct ph_fault fault = {0};
    struct ph_arena *arena = ph_arena_new(PH_ARENA_CAP_BYTES);
    if (!action->request->fn) {
        ph_arena_free(arena);
        return;
    }
    if (action->frame && action->status == PH_ST_OK) {
        reply.message = ph_decode(ph_command_info(action->request->command)->reply, action->frame->message,
                                  action->frame->header.message_len, arena, &fault);
        reply.payload = action->frame->payload;
        reply.again = action->request->again;
        if (!reply.message)
            sim_violate(client->world, "%s: the server's answer is malformed: %s", client->name, fault.text);
    }
    action->request->fn(action->request->data, &reply);
    ph_arena_free(arena);
}

static void send_once(struct sim_client *client, const struct ph_frame_header *header,
                      struct ph_client_request *request)
{
    sim_trace_frame(client->world, client->name, header, request->message, request->message_len);
    sim_phases_asked(client->world->phases, client->conn, header, request->message, request->message_len);
    ph_conn_send(client->conn->ends[SIM_END_CLIENT], header, request->message, request->message_len,
                 request->payload);
}

static void send_request(struct sim_client *client, const struct ph_client_action *action)
{
    struct ph_frame_header header = action->header;
    if (!client->conn)
        return;
    send_once(client, &header, action->request);
    if (header.command != PH_CMD_TRANSACT ||
        !sim_chance(client->world, client->world->profile.repeat_per_mille))
        return;
    client->world->result->repeats++;
    g_hash_table_insert(client->repeats, g_memdup2(&header.id, sizeof(header.id)), g_new0(struct repeat, 1));
    header.flags = PH_FLAG_RETRY;
    send_once(client, &header, action->request);
}

static void on_connect(struct world *world, void *data)
{
    struct sim_client *client = data;
    struct ph_client_actions actions;
    if (client->closed)
        return;
    if (world->server && (world->calm || !sim_chance(world, world->profile.connect_fails_per_mille))) {
        client->conn = sim_conn_new(client);
        return;
    }
    struct ph_fault fault = {.status = PH_ST_IO_ERROR, .text = "connection refused"};
    ph_client_actions_init(&actions);
    ph_client_disconnected(client->core, &fault, sim_client_ms(client), &actions);
    sim_client_act(client, &actions);
}

static void disconnect(struct sim_client *client, const struct ph_client_action *action)
{
    struct sim_conn *conn = client->conn;
    struct ph_fault fault = {.status = action->status};
    /* Neither end does anything wrong in this world, but its leases may run out. */
    if (!client->caching || (action->status != PH_ST_FENCED && action->status != PH_ST_IO_ERROR &&
                             !(client->world->profile.resumable && action->status == PH_ST_NO_SESSION)))
        sim_violate(client->world, "%s gave its connection up: %s", client->name, action->text);
    if (!conn)
        return;
    g_strlcpy(fault.text, action->text, sizeof(fault.text));
    ph_conn_goaway(conn->ends[SIM_END_CLIENT], action->status);
    sim_conn_close(conn, SIM_END_CLIENT, &fault);
}

/* An event of the server. */
static void hear(struct sim_client *client, const struct ph_frame *frame)
{
    struct ph_fault fault = {0};
    uint16_t command = frame->header.command;
    if (command != PH_CMD_RECALL && command != PH_CMD_GLIMPSE)
        return;
    struct ph_arena *arena = ph_arena_new(PH_ARENA_CAP_BYTES);
    const ProtobufCMessage *event = ph_decode(ph_command_info(command)->request, frame->message,
                                              frame->header.message_len, arena, &fault);
    if (!event)
        sim_violate(client->world, "%s: the server sent a malformed event: %s", client->name, fault.text);
    else if (command == PH_CMD_RECALL)
        sim_caching_recall(client->caching, (const Pohmel__RecallEvent *) event);
    else
        sim_caching_glimpse(client->caching, (const Pohmel__GlimpseEvent *) event);
    ph_arena_free(arena);
}

static void act(struct sim_client *client, const struct ph_client_action *action)
{
    struct ph_client_actions more;
    switch (action->kind) {
    case PH_CLIENT_SEND:
        send_request(client, action);
        break;
    case PH_CLIENT_SEND_CANCEL:
        client->world->result->cancels++;
        sim_trace_frame(client->world, client->name, &action->header, NULL, 0);
        if (client->conn)
            ph_conn_send(client->conn->ends[SIM_END_CLIENT], &action->header, NULL, 0, NULL);
        break;
    case PH_CLIENT_COMPLETE:
        complete(client, action);
        break;
    case PH_CLIENT_WALK:
        ph_client_actions_init(&more);
        ph_client_resume(client->core, action->request, false, sim_client_ms(client), &more);
        sim_client_act(client, &more);
        break;
    case PH_CLIENT_CONNECT:
        sim_after_at(client, sim_below(client->world, CONNECT_DELAY_US), on_connect, client, NULL);
        break;
    case PH_CLIENT_DISCONNECT:
        disconnect(client, action);
        break;
    case PH_CLIENT_OPENED:
        client->world->result->sessions++;
        client->opened_start = client->world->starts;
        sim_trace_line(&client->world->result->trace, client->world->now_us, client->name, "session %u open",
                       (unsigned) ph_client_opened(client->core)->generation);
        if (client->caching)
            sim_caching_opened(client->caching);
        if (client->writeback)
            sim_writeback_opened(client->writeback);
        break;
    case PH_CLIENT_CLOSED:
        client->closed = TRUE;
        client->closed_in_order = client->close_answered;
        break;
    case PH_CLIENT_LOST:
        if (client->writeback)
            sim_writeback_lost(client->writeback);
        if (client->caching)
            sim_caching_lost(client->caching);
        break;
    case PH_CLIENT_EVENT:
        hear(client, action->frame);
        break;
    case PH_CLIENT_CLAIMS:
        sim_reclaim_claim(client);
        break;
    case PH_CLIENT_GRANTS:
        sim_reclaim_grant(client, action->frame);
        break;
    case PH_CLIENT_CLAIMED:
        sim_reclaim_done(client);
        break;
    case PH_CLIENT_LATE:
    case PH_CLIENT_REFUSED:
    case PH_CLIENT_IDS:
        break;
    case PH_CLIENT_EXPIRED:
        if (client->caching)
            sim_caching_expired(client->caching);
        break;
    }
}

/* Threads that send at the same time get their frames out in any order. */
static void shuffle_sends(struct sim_client *client, struct ph_client_actions *actions)
{
    if (actions->count < 2 || !sim_chance(client->world, SHUFFLE_PER_MILLE))
        return;
    for (size_t i = actions->count - 1; i > 0; i--) {
        size_t j = sim_below(client->world, i + 1);
        if (actions->items[i].kind != PH_CLIENT_SEND || actions->items[j].kind != PH_CLIENT_SEND)
            continue;
        struct ph_client_action keep = actions->items[i];
        actions->items[i] = actions->items[j];
        actions->items[j] = keep;
    }
}

void sim_client_act(struct sim_client *client, struct ph_client_actions *actions)
{
    shuffle_sends(client, actions);
    for (size_t i = 0; i < actions->count; i++)
        act(client, &actions->items[i]);
    ph_client_actions_clear(actions);
    if (client->conn)
        sim_conn_flush(client->conn, SIM_END_CLIENT);
}

void sim_client_tick(struct sim_client *client)
{
    struct ph_client_actions actions;
    uint64_t now_ms = sim_client_ms(client);
    if (client->world->now_us < client->paused_until_us)
        return;
    client->ticked = TRUE;
    if (client->writeback)
        sim_writeback_tick(client->writeback);
    if (now_ms < ph_client_deadline(client->core))
        return;
    ph_client_actions_init(&actions);
    ph_client_tick(client->core, now_ms, &actions);
    sim_client_act(client, &actions);
}

void sim_client_ready(struct sim_conn *conn)
{
    struct sim_client *client = conn->client;
    struct ph_client_actions actions;
    const struct ph_hello *peer = ph_conn_peer(conn->ends[SIM_END_CLIENT]);
    ph_client_actions_init(&actions);
    ph_client_connected(client->core, peer->message_max, peer->payload_max, sim_client_ms(client), &actions);
    sim_client_act(client, &actions);
}

/* Whether FRAME is the second answer to a transaction that was sent twice. */
static gboolean is_second_answer(struct sim_client *client, const struct ph_frame *frame)
{
    struct repeat *repeat = g_hash_table_lookup(client->repeats, &frame->header.id);
    if (frame->header.kind != PH_FRAME_REPLY || !repeat)
        return FALSE;
    if (repeat->answers++ == 0) {
        repeat->status = frame->header.status;
        repeat->crc = frame->header.body_crc;
        return FALSE;
    }
    if (repeat->status != frame->header.status || repeat->crc != frame->header.body_crc)
        sim_violate(client->world, "%s: transaction %" G_GUINT64_FORMAT " was answered in two ways",
                    client->name, frame->header.id);
    g_hash_table_remove(client->repeats, &frame->header.id);
    return TRUE;
}

void sim_client_frame(struct sim_conn *conn, struct ph_frame *frame)
{
    struct sim_client *client = conn->client;
    struct ph_client_actions actions;
    sim_phases_done(client->world->phases, conn, &frame->header);
    if (is_second_answer(client, frame)) {
        ph_frame_free(frame);
        return;
    }
    if (frame->header.kind == PH_FRAME_REPLY && frame->header.command == PH_CMD_SESSION_CLOSE)
        client->close_answered = TRUE;
    ph_client_actions_init(&actions);
    ph_client_frame(client->core, frame, sim_client_ms(client), &actions);
    sim_client_act(client, &actions);
}

void sim_client_closed(struct sim_conn *conn, const struct ph_fault *fault)
{
    struct sim_client *client = conn->client;
    struct ph_client_actions actions;
    sim_trace_line(&client->world->result->trace, client->world->now_us, client->name,
                   "connection %d is gone: %s", conn->number, fault->text);
    sim_phases_lost(client->world->phases, conn);
    if (client->conn != conn)
        return;
    client->conn = NULL;
    client->last_conn = conn;
    g_hash_table_remove_all(client->repeats);
    ph_client_actions_init(&actions);
    ph_client_disconnected(client->core, fault, sim_client_ms(client), &actions);
    sim_client_act(client, &actions);
}

void sim_client_shutdown(struct sim_client *client)
{
    struct ph_client_actions actions;
    uint64_t now_ms = sim_client_ms(client);
    ph_client_actions_init(&actions);
    ph_client_shutdown(client->core, now_ms + CLOSE_WITHIN_MS, now_ms, &actions);
    sim_client_act(client, &actions);
}
