/* The server as a whole, and its connections. */
#include "server/core/server_core.h"

#include "server/core/memory.h"
#include "server/core/private.h"

void ph_server_enter(struct ph_server *server, struct ph_actions *actions)
{
    server->guard.enter(server->guard.data);
    server->out = actions;
}

void ph_server_leave(struct ph_server *server)
{
    server->out = NULL;
    server->guard.leave(server->guard.data);
}

struct ph_server *ph_server_new(const struct ph_server_export *exports, size_t count,
                                const struct ph_server_guard *guard, uint64_t seed)
{
    struct ph_server *server = PH_CORE_NEW(struct ph_server);

    server->exports = ph_core_new0((count + 1) * sizeof(*server->exports));
    server->export_count = count;
    for (size_t i = 0; i < count; i++) {
        server->exports[i].index = i;
        server->exports[i].export = &exports[i];
        ph_server_wrap_store(&server->exports[i]);
    }
    server->guard = *guard;
    server->seed = seed;
    server->lease_ms = PH_LEASE_TTL_MS;
    server->locks = ph_locks_new(seed, ph_server_lock_answer, server);
    server->leases = ph_server_leases_new(server);
    LIST_INIT(&server->conns);
    LIST_INIT(&server->sessions);
    TAILQ_INIT(&server->away);
    TAILQ_INIT(&server->glimpses);
    ph_server_begin_grace(server);
    return server;
}

void ph_server_leases_last(struct ph_server *server, uint32_t time_ms)
{
    server->lease_ms = time_ms;
    ph_leases_last(server->leases, time_ms);
}

void ph_server_free(struct ph_server *server)
{
    if (server == NULL)
        return;
    ph_sessions_clear(server);
    ph_server_free_spare(server);
    ph_locks_free(server->locks);
    ph_leases_free(server->leases);
    ph_table_clear(&server->clients);
    free(server->exports);
    free(server);
}

struct ph_server_conn *ph_server_conn_new(struct ph_server *server, void *data, void (*release)(void *data))
{
    struct ph_server_conn *conn = PH_CORE_NEW(struct ph_server_conn);

    conn->server = server;
    conn->refs = 1;
    conn->data = data;
    conn->release = release;
    LIST_INIT(&conn->calls);
    ph_server_enter(server, NULL);
    LIST_INSERT_HEAD(&server->conns, conn, of_server);
    conn->listed = true;
    ph_server_leave(server);
    return conn;
}

struct ph_server_conn *ph_server_conn_ref(struct ph_server_conn *conn)
{
    __atomic_fetch_add(&conn->refs, 1, __ATOMIC_RELAXED);
    return conn;
}

void ph_server_conn_unref(struct ph_server_conn *conn)
{
    if (conn == NULL || __atomic_sub_fetch(&conn->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    if (conn->release != NULL)
        conn->release(conn->data);
    free(conn);
}

void ph_server_conn_set_peer(struct ph_server_conn *conn, uint64_t peer)
{
    conn->peer = peer;
}

void *ph_server_conn_data(const struct ph_server_conn *conn)
{
    return conn->data;
}

bool ph_server_conn_in_session(struct ph_server_conn *conn)
{
    bool result;

    ph_server_enter(conn->server, NULL);
    result = conn->session != NULL;
    ph_server_leave(conn->server);
    return result;
}

void ph_server_conn_closed(struct ph_server_conn *conn, bool left, struct ph_actions *actions)
{
    ph_server_enter(conn->server, actions);
    conn->closed = true;
    conn->left = left;
    if (conn->listed)
        LIST_REMOVE(conn, of_server);
    conn->listed = false;
    if (conn->session != NULL && conn->session->resumable)
        ph_session_leave_conn(conn->server, conn->session);
    else if (conn->session != NULL)
        ph_session_end(conn->server, conn->session, true);
    ph_server_leave(conn->server);
}

void ph_server_close(struct ph_server_conn *conn, uint32_t status, const char *reason)
{
    struct ph_action *action;

    if (conn->closed)
        return;
    conn->closed = true;
    action = ph_actions_add(conn->server->out, PH_ACTION_CLOSE);
    action->conn = ph_server_conn_ref(conn);
    action->status = status;
    action->reason = reason;
}

void ph_server_shut_down(struct ph_server *server)
{
    ph_server_enter(server, NULL);
    server->shutting_down = true;
    ph_server_leave(server);
}

size_t ph_server_running(struct ph_server *server)
{
    size_t running;

    ph_server_enter(server, NULL);
    running = server->running;
    ph_server_leave(server);
    return running;
}

size_t ph_server_sessions(struct ph_server *server)
{
    size_t count;

    ph_server_enter(server, NULL);
    count = server->session_count - server->away_count;
    ph_server_leave(server);
    return count;
}

size_t ph_server_sessions_away(struct ph_server *server)
{
    size_t count;

    ph_server_enter(server, NULL);
    count = server->away_count;
    ph_server_leave(server);
    return count;
}

void ph_server_close_all(struct ph_server *server, uint32_t status, const char *reason,
                         struct ph_actions *actions)
{
    struct ph_server_conn *conn;

    ph_server_enter(server, actions);
    LIST_FOREACH(conn, &server->conns, of_server)
    ph_server_close(conn, status, reason);
    ph_server_leave(server);
}
