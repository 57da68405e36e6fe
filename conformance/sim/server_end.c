/* The shell around the server core in the simulated world. */
#include <string.h>

#include "conformance/sim/world.h"
#include "ph_commands.h"
#include "runtime/base/limits.h"
#include "runtime/wire/command.h"

enum { END_SESSION_US = 3000, TRACE_MESSAGE_BYTES = 300 };

struct ending_session {
    uint64_t start; /* in which the session ended */
    struct ph_action action;
};

static void no_guard(void *data)
{
    (void) data; /* one thread */
}

void sim_server_init(struct world *world)
{
    world->store = model_store_new(&world->now_us, world->caching);
    world->exports[0] = (struct ph_server_export){
        .name = "model", .store = model_store_interface(world->store), .watched = true};
    model_store_between(world->store, sim_middle, world);
    world->running = g_ptr_array_new();
    sim_server_start(world);
}

void sim_server_start(struct world *world)
{
    static const struct ph_server_guard guard = {.enter = no_guard, .leave = no_guard};
    world->starts++;
    world->server = ph_server_new(world->exports, 1, &guard, ph_random_next(&world->random));
    sim_server_tick(world); /* what happens from now on is dated by it */
}

void sim_server_clear(struct world *world)
{
    ph_server_free(world->server);
    g_ptr_array_unref(world->running);
    model_store_free(world->store);
}

void sim_trace_frame(struct world *world, const char *from, const struct ph_frame_header *header,
                     const uint8_t *message, size_t len)
{
    char text[TRACE_MESSAGE_BYTES] = "";
    struct sim_trace *trace = &world->result->trace;
    if (trace->off)
        return;
    const struct ph_command_info *info = ph_command_info(header->command);
    if (header->kind == PH_FRAME_CONTROL || !info) {
        sim_trace_line(trace, world->now_us, from, "control %u of %" G_GUINT64_FORMAT, header->command,
                       header->id);
        return;
    }
    const struct ph_message_rule *rule = header->kind == PH_FRAME_REPLY ? info->reply : info->request;
    struct ph_arena *arena = ph_arena_new(1 << 20);
    struct ph_fault fault = {0};
    ProtobufCMessage *decoded = message ? ph_decode(rule, message, len, arena, &fault) : NULL;
    if (decoded)
        ph_print(decoded, rule, text, sizeof(text));
    if (header->kind == PH_FRAME_REQUEST)
        sim_trace_line(trace, world->now_us, from, "%s #%" G_GUINT64_FORMAT "%s slot %d seq %u %s",
                       info->name, header->id, header->flags & PH_FLAG_RETRY ? " again" : "",
                       (int) header->slot, header->sequence, text);
    else if (header->kind == PH_FRAME_EVENT)
        sim_trace_line(trace, world->now_us, from, "event %s %s", info->name, text);
    else
        sim_trace_line(trace, world->now_us, from, "%s #%" G_GUINT64_FORMAT " %s %s", info->name, header->id,
                       ph_status_name(header->status), text);
    ph_arena_free(arena);
}

static void perform(struct world *world, struct ph_actions *actions);

static void on_end_session(struct world *world, void *data)
{
    g_autofree struct ending_session *ending = data;
    struct ph_actions actions = {0};
    if (ending->start != world->starts || !world->server)
        return;
    ph_server_end_session(world->server, &ending->action, &actions);
    perform(world, &actions);
}

/* Nothing of the session is executed from now on, but for what is being executed. */
static void note_end(struct world *world, const struct ph_action *action)
{
    for (guint i = 0; i < world->all_clients->len; i++) {
        struct sim_client *client = world->all_clients->pdata[i];
        if (memcmp(client->id, action->client, sizeof(client->id)) != 0)
            continue;
        g_hash_table_insert(client->ended, g_memdup2(&action->number, sizeof(action->number)),
                            g_memdup2(&world->now_us, sizeof(world->now_us)));
    }
}

static void on_execute(struct world *world, void *data);

static struct sim_running *new_running(struct world *world, struct ph_server_call *call)
{
    struct sim_running *running = g_new0(struct sim_running, 1);
    running->call = call;
    g_ptr_array_add(world->running, running);
    return running;
}

/* Who was there all the time, and could answer, is not to be fenced. */
static void check_fenced(struct sim_conn *conn)
{
    struct world *world = conn->world;
    world->result->fences++;
    if (!conn->cut && !conn->client->dead &&
        conn->client->trouble_us + PH_RECALL_TIMEOUT_MS * 1000ULL < world->now_us)
        sim_violate(world, "%s was fenced, though it was there", conn->client->name);
}

static void perform_one(struct world *world, const struct ph_action *action)
{
    struct sim_conn *conn = action->conn ? ph_server_conn_data(action->conn) : NULL;
    struct ph_fault fault = {.status = action->status};
    struct ending_session *ending;
    switch (action->kind) {
    case PH_ACTION_SEND:
        if (conn->closed[SIM_END_SERVER])
            break;
        sim_phases_answered(world->phases, conn, &action->header);
        sim_trace_frame(world, "server", &action->header, action->message ? action->message->data : NULL,
                        action->message ? action->message->len : 0);
        ph_conn_send(conn->ends[SIM_END_SERVER], &action->header,
                     action->message ? action->message->data : NULL,
                     action->message ? action->message->len : 0, action->payload);
        sim_conn_flush(conn, SIM_END_SERVER);
        break;
    case PH_ACTION_CLOSE:
        sim_trace_line(&world->result->trace, world->now_us, "server", "closes connection %d: %s",
                       conn->number, action->reason);
        if (action->status == PH_ST_FENCED)
            check_fenced(conn);
        ph_conn_goaway(conn->ends[SIM_END_SERVER], action->status);
        g_strlcpy(fault.text, action->reason, sizeof(fault.text));
        sim_conn_close(conn, SIM_END_SERVER, &fault);
        break;
    case PH_ACTION_END_SESSION:
        ending = g_new0(struct ending_session, 1);
        note_end(world, action);
        ending->start = world->starts;
        ending->action = *action;
        sim_after(world, sim_below(world, END_SESSION_US), on_end_session, ending, g_free);
        break;
    case PH_ACTION_RUN:
        sim_after(world, sim_below(world, world->profile.disk_us), on_execute,
                  new_running(world, action->call), g_free);
        break;
    case PH_ACTION_LOG:
        sim_trace_line(&world->result->trace, world->now_us, "server", "%.*s", (int) action->message->len,
                       (const char *) action->message->data);
        break;
    }
}

static void perform(struct world *world, struct ph_actions *actions)
{
    for (size_t i = 0; i < actions->count; i++)
        perform_one(world, ph_actions_get(actions, i));
    ph_actions_clear(actions);
}

static void on_done(struct world *world, void *data)
{
    g_autofree struct sim_running *running = data;
    struct ph_actions actions = {0};
    if (!running->call)
        return;
    g_ptr_array_remove_fast(world->running, running);
    ph_server_done(running->call, &actions);
    perform(world, &actions);
}

static void execute(struct world *world, struct sim_running *running)
{
    ph_server_execute(running->call);
    running->executed = TRUE;
    /* Others may run between the deed and its answer. */
    sim_after(world, sim_below(world, world->profile.answer_us), on_done, running, g_free);
}

static void on_execute(struct world *world, void *data)
{
    struct sim_running *running = data;
    gboolean beside = world->executing;
    if (!running->call) {
        g_free(running);
        return;
    }
    world->executing = TRUE;
    execute(world, running);
    world->executing = beside;
    if (world->broken_off && !beside)
        sim_server_bury(world);
}

static void note_session(struct sim_conn *conn, const struct ph_frame *frame)
{
    if (frame->header.kind != PH_FRAME_REQUEST || frame->header.command != PH_CMD_SESSION_OPEN)
        return;
    Pohmel__SessionOpenRequest *open =
        pohmel__session_open_request__unpack(NULL, frame->header.message_len, frame->message);
    if (!open)
        return;
    conn->session = open->session;
    pohmel__session_open_request__free_unpacked(open, NULL);
}

void sim_server_frame(struct sim_conn *conn, struct ph_frame *frame)
{
    struct world *world = conn->world;
    struct ph_actions actions = {0};
    struct ph_server_call *call = NULL;
    note_session(conn, frame);
    sim_phases_arrived(world->phases, conn, &frame->header);
    enum ph_admission admission = ph_server_frame(conn->server_conn, frame, &actions, &call);
    perform(world, &actions);
    if (admission == PH_ADMIT_NOTHING)
        return;
    struct sim_running *running = new_running(world, call);
    if (admission == PH_ADMIT_SLOW)
        sim_after(world, sim_below(world, world->profile.disk_us), on_execute, running, g_free);
    else
        execute(world, running);
}

void sim_server_closed(struct sim_conn *conn)
{
    struct ph_actions actions = {0};
    sim_trace_line(&conn->world->result->trace, conn->world->now_us, "server", "connection %d is gone",
                   conn->number);
    ph_server_conn_closed(conn->server_conn, conn->left, &actions);
    perform(conn->world, &actions);
}

void sim_server_tick(struct world *world)
{
    struct ph_actions actions = {0};
    if (!world->server)
        return;
    ph_server_tick(world->server, sim_server_ms(world), &actions);
    perform(world, &actions);
}
