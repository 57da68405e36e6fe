/* Sessions without a connection: kept, with all that they hold, until their client takes them up again, or
 * until somebody else wants what they hold. docs/protocol.md, section 4.5. */
#include <stdio.h>

#include "runtime/base/mutant.h"
#include "server/core/private.h"

bool ph_server_is_stray(const struct ph_server_call *call)
{
    return call->session != NULL && call->session->conn != call->conn &&
           call->frame->header.command != PH_CMD_TRANSACT;
}

static void say(struct ph_server *server, const char *format, const struct ph_session *session)
{
    char who[2 * sizeof(session->client)];

    snprintf(who, sizeof(who), "client %02x%02x%02x%02x", session->client[0], session->client[1],
             session->client[2], session->client[3]);
    ph_server_say(server, format, session->lease == NULL ? who : ph_lease_session_who(session->lease),
                  session->handles.table.count);
}

/* Too many are away: the one that went first ends, of the same peer where that one has too many. */
static void keep_few(struct ph_server *server, uint64_t peer)
{
    struct ph_session *session, *first = NULL;
    size_t of_peer = 0;

    if (server->grace)
        return; /* most of them have not come back yet */
    TAILQ_FOREACH(session, &server->away, of_away)
    {
        if (session->peer != peer)
            continue;
        first = first == NULL ? session : first;
        of_peer++;
    }
    if (of_peer <= PH_PEER_AWAY_SESSIONS_MAX && server->away_count <= PH_AWAY_SESSIONS_MAX)
        return;
    if (of_peer <= PH_PEER_AWAY_SESSIONS_MAX)
        first = TAILQ_FIRST(&server->away);
    say(server, "%s lost its connection, and is not waited for: too many did (open handles: %zu)", first);
    ph_session_end(server, first, true);
}

/* What came over the connection that is gone, and would be answered there only, is given up. */
static void drop_strays(struct ph_server *server, struct ph_session *session)
{
    struct ph_server_call *call;

    ph_locks_end_waits(server->locks, &session->locks);
    for (size_t i = 0; i < PH_SESSION_SLOTS; i++)
        ph_slot_detach(&session->slots[i]);
    LIST_FOREACH(call, &session->calls, of_session)
    {
        if (!ph_server_is_stray(call))
            continue;
        __atomic_store_n(&call->stray, true, __ATOMIC_RELAXED);
        ph_server_unpark(call, PH_ST_NO_SESSION);
    }
}

void ph_session_put_away(struct ph_server *server, struct ph_session *session)
{
    session->away = true;
    session->wanted = false;
    session->away_ms = server->now_ms;
    TAILQ_INSERT_TAIL(&server->away, session, of_away);
    server->away_count++;
    if (session->lease != NULL)
        ph_lease_session_away(session->lease);
}

void ph_session_leave_conn(struct ph_server *server, struct ph_session *session)
{
    session->conn->session = NULL;
    session->conn->state = PH_CONN_ENDED;
    session->conn = NULL;
    ph_session_put_away(server, session);
    drop_strays(server, session);
    ph_server_glimpse_end_session(session);
    keep_few(server, session->peer); /* which is not this one: it went last */
}

void ph_session_not_away(struct ph_server *server, struct ph_session *session)
{
    if (session->resumer != NULL)
        ph_server_unpark(session->resumer, PH_ST_OK);
    session->resumer = NULL;
    if (!session->away)
        return;
    session->away = false;
    TAILQ_REMOVE(&server->away, session, of_away);
    server->away_count--;
}

static bool has_strays(const struct ph_session *session)
{
    const struct ph_server_call *call;

    LIST_FOREACH(call, &session->calls, of_session)
    {
        if (ph_server_is_stray(call))
            return true;
    }
    return false;
}

void ph_session_wake_resumer(struct ph_server *server, struct ph_session *session)
{
    (void) server;
    if (has_strays(session))
        return;
    ph_server_unpark(session->resumer, PH_ST_OK);
    session->resumer = NULL;
}

uint32_t ph_session_resume(struct ph_server_call *call, const struct ph_session_wish *wish,
                           struct ph_fault *fault)
{
    struct ph_server_conn *conn = call->conn, *older;
    struct ph_server *server = conn->server;
    struct ph_session *session = ph_session_find(server, wish->client);

    if (conn->closed)
        return ph_fault_set(fault, PH_ST_NO_SESSION, "the connection was closed meanwhile");
    if (session == NULL || !session->resumable || session->number != wish->number ||
        session->entry != wish->entry)
        return ph_fault_set(fault, PH_ST_NO_SESSION,
                            "the server does not have that session (any more); a new one can be opened");
    older = session->conn;
    if (older != NULL) {
        ph_session_leave_conn(server, session);
        ph_server_close(older, PH_ST_NO_SESSION, "the client took its session up on another connection");
    }
    if (session->resumer != NULL && session->resumer != call)
        ph_server_unpark(session->resumer, PH_ST_NO_SESSION);
    session->resumer = NULL;
    if (has_strays(session)) {
        session->resumer = call;
        return ph_server_wait(call);
    }
    for (size_t i = 0; i < PH_SESSION_SLOTS && PH_MUTANT(RECORD_LOST); i++) {
        if (!session->slots[i].busy)
            session->slots[i] = (struct ph_slot){.any = true};
    }
    ph_session_not_away(server, session);
    session->conn = conn;
    session->peer = conn->peer;
    conn->session = session;
    return PH_ST_OK;
}

void ph_session_resumed(struct ph_server *server, struct ph_server_conn *conn)
{
    conn->state = PH_CONN_OPEN;
    if (conn->session->lease != NULL)
        ph_lease_session_back(server->leases, conn->session->lease);
}

bool ph_session_is_wanted(struct ph_server *server, struct ph_session *session)
{
    if (!session->away)
        return false;
    session->wanted = true;
    if (server->now_ms < session->away_ms + ph_lease_kept_ms(server->lease_ms))
        return false;
    say(server,
        "%s lost its connection and did not come back; others wait for its locks: it is fenced "
        "(open handles: %zu)",
        session);
    ph_session_end(server, session, true);
    return true;
}

void ph_sessions_tick(struct ph_server *server)
{
    struct ph_session *next;

    for (struct ph_session *session = TAILQ_FIRST(&server->away); session != NULL; session = next) {
        next = TAILQ_NEXT(session, of_away);
        /* Put away at the start, before it was known what time it is: the machine may have run for months. */
        if (session->away_ms == 0)
            session->away_ms = server->now_ms;
        if (session->wanted && ph_session_is_wanted(server, session))
            continue;
        if (server->now_ms < session->away_ms + PH_AWAY_MAX_MS)
            continue;
        say(server, "%s did not come back: it is not waited for any longer (open handles: %zu)", session);
        ph_session_end(server, session, true);
    }
}
