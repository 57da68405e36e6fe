#include "server/connection.h"

#include <pthread.h>
#include <unistd.h>

#include "ph_commands.h"
#include "runtime/base/limits.h"
#include "runtime/io/channel.h"
#include "server/log.h"
#include "server/peer.h"

enum {
    DRAIN_LOOK_MS = 10, /* how often a connection that is not served is looked at again */
    /* Commands of one connection that are executed at the same time; the others
     * wait, so that no client can have all threads for itself. */
    PARALLEL_MAX = 16,
};

struct connection {
    struct ph_switch *all;
    struct ph_server_conn *core;
    struct ph_channel *channel;
    struct ph_loop *loop;
    GSource *handshake;    /* ends it when no session is opened in time after it was accepted */
    bool timed;            /* such a source waits, that one or a later one; atomic */
    int waits_for_drain;   /* atomic */
    bool open;             /* a session is; atomic */
    pthread_mutex_t mutex; /* guards what follows */
    unsigned executing;
    GQueue parked; /* calls that wait for one of those to end */
};

static const struct ph_hello own_hello = {
    .features = PH_FEATURE_LOCKS | PH_FEATURE_XATTRS | PH_FEATURE_TREES,
    .message_max = PH_MESSAGE_MAX_BYTES,
    .payload_max = PH_PAYLOAD_MAX_BYTES,
    .implementation = "pohmel-server " PH_VERSION,
};

static void release(void *data)
{
    struct connection *connection = data;

    ph_channel_unref(connection->channel);
    pthread_mutex_destroy(&connection->mutex);
    g_free(connection);
}

static void unref_core(gpointer core)
{
    ph_server_conn_unref(core);
}

/* Unsent bytes from which on it is not served. A stranger has nothing to ask for. */
static size_t output_limit(const struct connection *connection)
{
    bool open = __atomic_load_n(&connection->open, __ATOMIC_RELAXED);

    return open ? PH_OUTPUT_PAUSE_BYTES : PH_OUTPUT_SMALL_BYTES;
}

/* A peer that does not read what it asked for is not served until it did. */
static gboolean look_at_drain(gpointer data)
{
    struct connection *connection = ph_server_conn_data(data);

    if (ph_channel_output_bytes(connection->channel) > output_limit(connection) / 2)
        return G_SOURCE_CONTINUE;
    __atomic_store_n(&connection->waits_for_drain, 0, __ATOMIC_RELEASE);
    ph_channel_pause(connection->channel, FALSE);
    return G_SOURCE_REMOVE;
}

static void pause_if_full(struct connection *connection)
{
    GSource *source;

    if (ph_channel_output_bytes(connection->channel) <= output_limit(connection) ||
        __atomic_exchange_n(&connection->waits_for_drain, 1, __ATOMIC_ACQ_REL) != 0)
        return;
    ph_channel_pause(connection->channel, TRUE);
    source = g_timeout_source_new(DRAIN_LOOK_MS);
    g_source_set_callback(source, look_at_drain, ph_server_conn_ref(connection->core), unref_core);
    g_source_attach(source, ph_loop_context(connection->loop));
    g_source_unref(source);
}

/* Who has no session by now does not get one. */
static gboolean handshake_over(gpointer data)
{
    struct connection *connection = ph_server_conn_data(data);

    __atomic_store_n(&connection->timed, false, __ATOMIC_RELEASE);
    if (!ph_server_conn_in_session(connection->core))
        ph_channel_close(connection->channel, PH_ST_WRONG_STATE, "no session was opened in time");
    return G_SOURCE_REMOVE;
}

/* From now on it is a stranger, who has to open a session in time. Returns the source of that. */
static GSource *expect_session(struct connection *connection)
{
    GSource *source = g_timeout_source_new(PH_HANDSHAKE_TIMEOUT_MS);

    __atomic_store_n(&connection->open, false, __ATOMIC_RELAXED);
    __atomic_store_n(&connection->timed, true, __ATOMIC_RELEASE);
    ph_channel_limit(connection->channel, PH_FIRST_MESSAGE_MAX_BYTES, 0);
    g_source_set_callback(source, handshake_over, ph_server_conn_ref(connection->core), unref_core);
    g_source_attach(source, ph_loop_context(connection->loop));
    return source;
}

/* The session is open, and the client about to hear of it. */
static void admit_large(struct connection *connection)
{
    __atomic_store_n(&connection->open, true, __ATOMIC_RELAXED);
    ph_channel_limit(connection->channel, PH_MESSAGE_MAX_BYTES, PH_PAYLOAD_MAX_BYTES);
}

static void send_action(const struct ph_action *action)
{
    struct connection *connection = ph_server_conn_data(action->conn);
    const uint8_t *message = action->message == NULL ? NULL : action->message->data;

    if (action->header.command == PH_CMD_SESSION_OPEN && action->header.status == PH_ST_OK)
        admit_large(connection);
    else if (action->header.command == PH_CMD_SESSION_CLOSE && action->header.status == PH_ST_OK &&
             !__atomic_load_n(&connection->timed, __ATOMIC_ACQUIRE))
        g_source_unref(expect_session(connection));
    ph_channel_send(connection->channel, &action->header, message,
                    action->message == NULL ? 0 : action->message->len, action->payload);
    pause_if_full(connection);
}

struct ending {
    struct ph_switch *all;
    struct ph_action action;
};

static void end_session(void *data)
{
    g_autofree struct ending *ending = data;
    struct ph_actions actions = {0};

    ph_server_end_session(ending->all->core, &ending->action, &actions);
    ph_perform(ending->all, &actions, TRUE);
}

static void end_session_action(struct ph_switch *all, const struct ph_action *action, gboolean may_wait)
{
    struct ending *ending = g_new0(struct ending, 1);

    ending->all = all;
    ending->action = *action; /* which has no references */
    if (may_wait)
        end_session(ending);
    else
        ph_pool_push(all->pool, end_session, ending);
}

static void run_on_pool(void *call);

static void log_action(const struct ph_action *action)
{
    ph_log("%.*s", (int) action->message->len, (const char *) action->message->data);
}

void ph_perform(struct ph_switch *all, struct ph_actions *actions, gboolean may_wait)
{
    for (size_t i = 0; i < actions->count; i++) {
        const struct ph_action *action = ph_actions_get(actions, i);
        struct connection *connection = action->conn == NULL ? NULL : ph_server_conn_data(action->conn);

        switch (action->kind) {
        case PH_ACTION_SEND:
            send_action(action);
            break;
        case PH_ACTION_CLOSE:
            ph_log_detail("%s: closing: %s", ph_channel_peer_name(connection->channel), action->reason);
            ph_channel_close(connection->channel, action->status, action->reason);
            break;
        case PH_ACTION_END_SESSION:
            end_session_action(all, action, may_wait);
            break;
        case PH_ACTION_RUN:
            ph_pool_push(all->pool, run_on_pool, action->call);
            break;
        case PH_ACTION_LOG:
            log_action(action);
            break;
        }
    }
    ph_actions_clear(actions);
}

/* Failures that are part of daily work (no such file ...) are only of interest to who looks for them. */
static void log_call(const struct ph_server_call *call)
{
    struct ph_call_summary summary = ph_server_call_summary(call);
    const struct ph_command_info *info = ph_command_info(summary.command);
    struct connection *connection = ph_server_conn_data(summary.conn);

    if (!ph_log_detailed() || summary.status == PH_ST_OK || summary.status == PH_PENDING)
        return;
    ph_log_detail("%s: %s: %s%s%s", ph_channel_peer_name(connection->channel),
                  info == NULL ? "?" : info->name, ph_status_name(summary.status),
                  summary.text[0] == '\0' ? "" : ": ", summary.text);
}

static void execute(struct ph_switch *all, struct ph_server_call *call, gboolean may_wait)
{
    struct ph_actions actions = {0};

    __atomic_fetch_add(&all->executing, 1, __ATOMIC_ACQ_REL);
    ph_server_execute(call);
    log_call(call);
    ph_server_done(call, &actions);
    ph_perform(all, &actions, may_wait);
    __atomic_fetch_sub(&all->executing, 1, __ATOMIC_ACQ_REL);
}

/* CALL may be executed now, or (false) is parked until another one ends. */
static bool begin(struct connection *connection, struct ph_server_call *call)
{
    bool go;

    pthread_mutex_lock(&connection->mutex);
    go = connection->executing < PARALLEL_MAX;
    if (go)
        connection->executing++;
    else
        g_queue_push_tail(&connection->parked, call);
    pthread_mutex_unlock(&connection->mutex);
    return go;
}

/* One has ended; the next that was parked for it, or NULL. */
static struct ph_server_call *end_and_next(struct connection *connection)
{
    struct ph_server_call *next;

    pthread_mutex_lock(&connection->mutex);
    next = g_queue_pop_head(&connection->parked);
    if (next == NULL)
        connection->executing--;
    pthread_mutex_unlock(&connection->mutex);
    return next;
}

static void run(struct ph_server_call *call, gboolean may_wait)
{
    struct ph_server_conn *core = ph_server_conn_ref(ph_server_call_summary(call).conn);
    struct connection *connection = ph_server_conn_data(core);

    if (begin(connection, call)) {
        for (; call != NULL; call = end_and_next(connection))
            execute(connection->all, call, may_wait);
    }
    ph_server_conn_unref(core);
}

void ph_connection_run(void *call)
{
    run(call, FALSE);
}

static void run_on_pool(void *call)
{
    run(call, TRUE);
}

static void on_frame(void *data, struct ph_channel *channel, struct ph_frame *frame)
{
    struct connection *connection = data;
    struct ph_actions actions = {0};
    struct ph_server_call *call;

    switch (ph_server_frame(connection->core, frame, &actions, &call)) {
    case PH_ADMIT_QUICK:
        ph_loop_add(connection->loop, call);
        break;
    case PH_ADMIT_SLOW:
        ph_pool_push(connection->all->pool, run_on_pool, call);
        break;
    case PH_ADMIT_NOTHING:
        break;
    }
    ph_perform(connection->all, &actions, FALSE);
}

static void on_ready(void *data, struct ph_channel *channel)
{
    ph_log_detail("%s: connected with %s", ph_channel_peer_name(channel),
                  ph_channel_peer(channel)->implementation);
}

static void on_closed(void *data, struct ph_channel *channel, const struct ph_fault *fault)
{
    struct connection *connection = data;
    struct ph_switch *all = connection->all;
    struct ph_actions actions = {0};

    if (fault->status != 0)
        ph_log_detail("%s: closed: %s", ph_channel_peer_name(channel), fault->text);
    else
        ph_log_detail("%s: closed by the client", ph_channel_peer_name(channel));
    if (connection->handshake != NULL) {
        g_source_destroy(connection->handshake);
        g_clear_pointer(&connection->handshake, g_source_unref);
    }
    ph_server_conn_closed(connection->core, ph_channel_peer_left(channel), &actions);
    ph_perform(all, &actions, FALSE);
    ph_server_conn_unref(connection->core);
    __atomic_fetch_sub(&all->connections, 1, __ATOMIC_ACQ_REL);
}

static const struct ph_channel_events channel_events = {
    .ready = on_ready,
    .frame = on_frame,
    .closed = on_closed,
};

static const char *too_many(struct ph_switch *all)
{
    unsigned connections = ph_connections(all);

    if (connections >= PH_CONNECTIONS_MAX)
        return "there are too many connections";
    if (connections >= ph_server_sessions(all->core) + PH_UNAUTHENTICATED_CONNECTIONS_MAX)
        return "there are too many connections without a session";
    return NULL;
}

void ph_connection_accept(struct ph_switch *all, int fd)
{
    const char *refusal = too_many(all);
    struct connection *connection;

    if (refusal != NULL) {
        ph_log("turned a client away: %s", refusal);
        close(fd);
        return;
    }
    connection = g_new0(struct connection, 1);
    connection->all = all;
    pthread_mutex_init(&connection->mutex, NULL);
    g_queue_init(&connection->parked);
    connection->loop = ph_loops_next(all->loops);
    connection->core = ph_server_conn_new(all->core, connection, release);
    ph_server_conn_set_peer(connection->core, ph_peer_of(fd));
    connection->channel = ph_channel_new(fd, PH_CONN_SERVER, &own_hello, &channel_events, connection);
    __atomic_fetch_add(&all->connections, 1, __ATOMIC_ACQ_REL);
    connection->handshake = expect_session(connection);
    ph_channel_attach(connection->channel, ph_loop_context(connection->loop));
}

unsigned ph_connections(struct ph_switch *all)
{
    return __atomic_load_n(&all->connections, __ATOMIC_ACQUIRE);
}

unsigned ph_executing(struct ph_switch *all)
{
    return __atomic_load_n(&all->executing, __ATOMIC_ACQUIRE);
}
