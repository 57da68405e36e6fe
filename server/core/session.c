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

static struct ph_session *find(struct ph_server *server, const uint8_t client[PH_CLIENT_ID_BYTES])
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
    for (size_t i = 0; i < PH_SESSION_SLOTS; i++)
        ph_slot_clear(&session->slots[i]);
    ph_handles_clear(&session->handles);
    free(session);
}

void ph_session_end(struct ph_server *server, struct ph_session *session, bool lost)
{
    struct ph_lease_session *lease = session->lease;

    if (session->ended)
        return;
    session->ended = true;
    server->session_count--;
    ph_table_remove(&server->clients, &session->node);
    ph_locks_end_session(server->locks, &session->locks);
    ph_server_unpark_all(server, session, PH_ST_NO_SESSION);
    session->lease = NULL;
    if (lease != NULL && lost)
        ph_lease_session_lost(server->leases, lease, session->conn->left);
    else if (lease != NULL)
        ph_lease_session_end(server->leases, lease);
    session->conn->session = NULL;
    session->conn->state = PH_CONN_ENDED;
    session->conn = NULL;
    if (session->running == 0)
        free_session(server, session);
}

void ph_session_call_done(struct ph_server *server, struct ph_session *session)
{
    if (--session->running == 0 && session->ended)
        free_session(server, session);
}

uint32_t ph_session_open(struct ph_server_conn *conn, const uint8_t client[PH_CLIENT_ID_BYTES],
                         uint64_t number, const struct ph_export_entry *entry, bool read_only,
                         struct ph_fault *fault)
{
    struct ph_server *server = conn->server;
    struct ph_session *session = find(server, client);

    if (conn->closed)
        return ph_fault_set(fault, PH_ST_NO_SESSION, "the connection was closed meanwhile");
    if (session != NULL && number <= session->number)
        return ph_fault_set(fault, PH_ST_BUSY,
                            "the client has a session of this or a higher number open already");
    if (session != NULL) {
        struct ph_server_conn *older = session->conn;

        ph_session_end(server, session, false);
        ph_server_close(older, PH_ST_NO_SESSION, "the client opened a newer session");
    }
    ph_leases_client_is_back(server->leases, client);
    session = PH_CORE_NEW(struct ph_session);
    memcpy(session->client, client, PH_CLIENT_ID_BYTES);
    session->id = ++server->last_session;
    session->number = number;
    session->entry = entry;
    session->read_only = read_only || entry->export->read_only;
    session->conn = conn;
    session->handles.seed = server->seed;
    ph_lock_session_init(&session->locks, session->id);
    ph_table_add(&server->clients, &session->node, client_hash(server, client));
    server->session_count++;
    conn->session = session;
    conn->state = PH_CONN_OPEN;
    return PH_ST_OK;
}
