/* The shell around the server core in the simulated world. */
#include "conformance/sim/world.h"
#include "ph_commands.h"
#include "runtime/base/limits.h"
#include "runtime/wire/command.h"

enum { END_SESSION_US = 3000, TRACE_MESSAGE_BYTES = 300 };

/* A call on its way through the server. */
struct running {
    struct sim_conn *conn;
    struct ph_server_call *call;
};

struct ending_session {
    struct ph_store *store;
    uint64_t session;
};

static void no_guard(void *data)
{
    (void) data; /* one thread */
}

void sim_server_init(struct world *world)
{
    static const struct ph_server_guard guard = {.enter = no_guard, .leave = no_guard};
    world->store = model_store_new(&world->now_us);
    world->exports[0] = (struct ph_server_export){
        .name = "model", .store = model_store_interface(world->store), .watched = true};
    world->server = ph_server_new(world->exports, 1, &guard, ph_random_next(&world->random));
}

void sim_server_clear(struct world *world)
{
    ph_server_free(world->server);
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

static void on_end_session(struct world *world, void *data)
{
    g_autofree struct ending_session *ending = data;
    (void) world;
    ending->store->end_session(ending->store->self, ending->session);
}

static void on_execute(struct world *world, void *data);

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
    struct running *running;
    switch (action->kind) {
    case PH_ACTION_SEND:
        if (conn->closed[SIM_END_SERVER])
            break;
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
        ending->store = action->export->store;
        ending->session = action->session;
        sim_after(world, sim_below(world, END_SESSION_US), on_end_session, ending, g_free);
        break;
    case PH_ACTION_RUN:
        running = g_new0(struct running, 1);
        running->call = action->call;
        sim_after(world, sim_below(world, world->profile.disk_us), on_execute, running, g_free);
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
    g_autofree struct running *running = data;
    struct ph_actions actions = {0};
    ph_server_done(running->call, &actions);
    perform(world, &actions);
}

static void on_execute(struct world *world, void *data)
{
    struct running *running = data;
    ph_server_execute(running->call);
    /* Others may run between the deed and its answer. */
    sim_after(world, sim_below(world, world->profile.answer_us), on_done, running, g_free);
}

void sim_server_frame(struct sim_conn *conn, struct ph_frame *frame)
{
    struct world *world = conn->world;
    struct ph_actions actions = {0};
    struct ph_server_call *call = NULL;
    enum ph_admission admission = ph_server_frame(conn->server_conn, frame, &actions, &call);
    perform(world, &actions);
    if (admission == PH_ADMIT_NOTHING)
        return;
    struct running *running = g_new0(struct running, 1);
    running->conn = conn;
    running->call = call;
    if (admission == PH_ADMIT_SLOW)
        sim_after(world, sim_below(world, world->profile.disk_us), on_execute, running, g_free);
    else
        on_execute(world, running);
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
    ph_server_tick(world->server, sim_now_ms(world), &actions);
    perform(world, &actions);
}
