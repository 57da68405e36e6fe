/* Sessions: opening, ending, and what they hold. docs/protocol.md, section 4. */
#include <string.h>

#include "server/core/memory.h"
#include "server/core/private.h"

static uint64_t client_hash(const struct ph_server *server, const uint8_t client[PH_CLIENT_ID_BYTES])
{
    uint64_t words[PH_CLIENT_ID_BYTES / sizeof(uint64_t)];

    memcpy(words, client, sizeof(words));
    return ph_table_hash(ph_table_hash(server->seed, words[0]), words[1]);
}

struct ph_session *ph_session_find(struct ph_server *server, const uint8_t client[PH_CLIENT_ID_BYTES])
{
    struct ph_table_node *node = ph_table_first(&server->clients, client_hash(server, client));

    for (; node != NULL; node = ph_table_next(node)) {
        struct ph_session *session = PH_TABLE_ENTRY(node, struct ph_session, node);

        if (memcmp(session->client, client, PH_CLIENT_ID_BYTES) == 0)
            return session;
    }
    return NULL;
}

const struct ph_export_entry *ph_server_find_export(struct ph_server *server, const uint8_t *name, size_t len,
                                                    struct ph_fault *fault)
{
    if (len == 0 && server->export_count == 1)
        return &server->exports[0];
    if (len == 0) {
        ph_fault_set(fault, PH_ST_NO_EXPORT, "the server has %zu exports; name the one that is wanted",
                     server->export_count);
        return NULL;
    }
    for (size_t i = 0; i < server->export_count; i++) {
        const char *own = server->exports[i].export->name;

        if (strlen(own) == len && memcmp(own, name, len) == 0)
            return &server->exports[i];
    }
    /* Cut to printable bytes: the words go to logs and terminals. */
    char shown[64];
    size_t n = 0;

    for (; n < len && n < sizeof(shown) - 1; n++)
        shown[n] = name[n] >= 0x20 && name[n] < 0x7f ? (char) name[n] : '?';
    shown[n] = '\0';
    ph_fault_set(fault, PH_ST_NO_EXPORT, "the server has no export \"%s\"", shown);
    return NULL;
}

/* Frees what is left; its handles are closed by the store. */
static void free_session(struct ph_server *server, struct ph_session *session)
{
    struct ph_action *action = ph_actions_add(server->out, PH_ACTION_END_SESSION);

    action->export = session->entry->export;
    action->session = session->id;
    action->listed = session->listed;
    memcpy(action->client, session->client, sizeof(action->client));
    action->number = session->number;
    for (size_t i = 0; i < PH_SESSION_SLOTS; i++)
        ph_slot_clear(&session->slots[i]);
    ph_handles_clear(&session->handles);
    free(session);
}

/* Nothing comes to it, or goes from it, over its connection any more. */
static void unlink_conn(struct ph_session *session)
{
    if (session->conn == NULL)
        return;
    session->conn->session = NULL;
    session->conn->state = PH_CONN_ENDED;
    session->conn = NULL;
}

void ph_session_end(struct ph_server *server, struct ph_session *session, bool lost)
{
    struct ph_lease_session *lease = session->lease;
    bool left = session->conn != NULL && session->conn->left;

    if (session->ended)
        return;
    session->ended = true;
    server->session_count--;
    ph_session_not_away(server, session);
    server->leaving += session->listed;
    LIST_REMOVE(session, of_server);
    ph_table_remove(&server->clients, &session->node);
    ph_locks_end_session(server->locks, &session->locks);
    ph_server_unpark_all(server, session, PH_ST_NO_SESSION);
    ph_server_glimpse_end_session(session);
    session->lease = NULL;
    if (lease != NULL && session->listed)
        ph_lease_session_hold(lease, session->id);
    if (lease != NULL && lost)
        ph_lease_session_lost(server->leases, lease, left);
    else if (lease != NULL)
        ph_lease_session_end(server->leases, lease);
    unlink_conn(session);
    ph_session_claims_no_more(server, session);
    if (session->running == 0)
        free_session(server, session);
}

void ph_session_call_done(struct ph_server *server, struct ph_session *session, struct ph_server_call *call)
{
    LIST_REMOVE(call, of_session);
    session->running--;
    if (session->running == 0 && session->ended)
        free_session(server, session);
    else if (session->resumer != NULL)
        ph_session_wake_resumer(server, session);
}

void ph_sessions_clear(struct ph_server *server)
{
    struct ph_actions actions = {0};

    ph_server_enter(server, &actions);
    while (!LIST_EMPTY(&server->sessions))
        ph_session_end(server, LIST_FIRST(&server->sessions), false);
    ph_server_leave(server);
    ph_actions_clear(&actions);
}

/* Makes room for one more of PEER, at the expense of sessions that are away. False where there is none. */
static bool make_room(struct ph_server *server, uint64_t peer)
{
    struct ph_session *session, *gone = NULL;
    size_t of_peer = 0;

    LIST_FOREACH(session, &server->sessions, of_server)
    {
        of_peer += session->peer == peer;
    }
    if (server->session_count < PH_SESSIONS_MAX && of_peer < PH_PEER_SESSIONS_MAX)
        return true;
    TAILQ_FOREACH(session, &server->away, of_away)
    {
        if (session->peer != peer && of_peer >= PH_PEER_SESSIONS_MAX)
            continue;
        gone = session;
        break;
    }
    if (gone == NULL)
        return false;
    ph_session_end(server, gone, true);
    return true;
}

static struct ph_session *add_session(struct ph_server *server, const struct ph_session_wish *wish)
{
    struct ph_session *session = PH_CORE_NEW(struct ph_session);

    memcpy(session->client, wish->client, PH_CLIENT_ID_BYTES);
    session->id = ++server->last_session;
    session->number = wish->number;
    session->entry = wish->entry;
    session->read_only = wish->read_only || wish->entry->export->read_only;
    session->resumable = wish->resumable;
    session->listed = wish->listed;
    session->handles.seed = server->seed;
    LIST_INIT(&session->calls);
    TAILQ_INIT(&session->asked);
    ph_lock_session_init(&session->locks, session->id);
    ph_table_add(&server->clients, &session->node, client_hash(server, wish->client));
    LIST_INSERT_HEAD(&server->sessions, session, of_server);
    server->session_count++;
    return session;
}

void ph_session_restore(struct ph_server *server, const struct ph_session_wish *wish,
                        const struct ph_store_session *stored)
{
    struct ph_session *session = add_session(server, wish);

    for (size_t i = 0; i < PH_SESSION_SLOTS; i++)
        session->slots[i].any = true;
    if (stored->leases) {
        ph_server_session_caches(server, session, (const uint8_t *) stored->host, strlen(stored->host));
        session->writes_back = session->caches && stored->write_back && !session->read_only;
    }
    session->claims = session->claimed = true;
    ph_session_put_away(server, session);
}

uint32_t ph_session_may_open(struct ph_server_conn *conn, const struct ph_session_wish *wish,
                             struct ph_fault *fault)
{
    const struct ph_session *session = ph_session_find(conn->server, wish->client);

    if (conn->closed)
        return ph_fault_set(fault, PH_ST_NO_SESSION, "the connection was closed meanwhile");
    if (session != NULL && wish->number <= session->number)
        return ph_fault_set(fault, PH_ST_BUSY,
                            "the client has a session of this or a higher number open already");
    return PH_ST_OK;
}

uint32_t ph_session_open(struct ph_server_conn *conn, const struct ph_session_wish *wish,
                         struct ph_fault *fault)
{
    struct ph_server *server = conn->server;
    struct ph_session *session = ph_session_find(server, wish->client);
    uint32_t status = ph_session_may_open(conn, wish, fault);

    if (status != PH_ST_OK)
        return status;
    if (session != NULL) {
        struct ph_server_conn *older = session->conn;

        ph_session_end(server, session, false);
        if (older != NULL)
            ph_server_close(older, PH_ST_NO_SESSION, "the client opened a newer session");
    }
    ph_leases_client_is_back(server->leases, wish->client);
    if (!make_room(server, conn->peer))
        return ph_fault_set(fault, PH_ST_LIMIT,
                            "the server keeps as many sessions as it may (%d, and %d for one machine)",
                            PH_SESSIONS_MAX, PH_PEER_SESSIONS_MAX);
    conn->session = add_session(server, wish);
    conn->session->conn = conn;
    conn->session->peer = conn->peer;
    conn->state = PH_CONN_OPEN;
    return PH_ST_OK;
}
