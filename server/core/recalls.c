/* What the table of leases has done: events to clients, calls that go on, sessions that are fenced. */
#include <stdio.h>
#include <string.h>

#include "server/core/memory.h"
#include "server/core/private.h"

void ph_server_say(struct ph_server *server, const char *format, const char *who, size_t count)
{
    char text[2 * PH_LEASE_WHO_BYTES + PH_FAULT_TEXT_MAX_BYTES];
    int len = snprintf(text, sizeof(text), format, who, count);
    struct ph_blob *blob = len <= 0 ? NULL : ph_blob_new((size_t) len);

    if (blob == NULL)
        return;
    memcpy(blob->data, text, (size_t) len);
    blob->len = (size_t) len;
    ph_actions_add(server->out, PH_ACTION_LOG)->message = blob;
}

void ph_server_send_event(struct ph_server_conn *conn, uint16_t command, const ProtobufCMessage *event)
{
    struct ph_action *action;
    struct ph_blob *blob;

    /* Who is not there, or not told yet that it is, is asked when it is back. */
    if (conn == NULL || conn->closed || conn->state == PH_CONN_OPENING)
        return;
    blob = ph_blob_new(ph_encoded_size(event));
    if (blob == NULL)
        return; /* the holder is fenced for not answering */
    blob->len = ph_encode(event, blob->data);
    action = ph_actions_add(conn->server->out, PH_ACTION_SEND);
    action->conn = ph_server_conn_ref(conn);
    action->header = (struct ph_frame_header){.kind = PH_FRAME_EVENT, .command = command, .slot = PH_NO_SLOT};
    action->message = blob;
}

static void on_recall(void *data, struct ph_lease_session *lease_session, uint64_t object, uint64_t lease,
                      enum ph_lease_mode keep, const struct ph_lease_bytes *bytes)
{
    const struct ph_session *session = ph_lease_session_owner(lease_session);
    Pohmel__RecallEvent event = POHMEL__RECALL_EVENT__INIT;
    Pohmel__Range range = POHMEL__RANGE__INIT;

    (void) data;
    event.object = object;
    event.lease = lease;
    event.keep = (uint32_t) keep;
    if (bytes != NULL) {
        range.offset = bytes->start;
        range.length = bytes->end - bytes->start;
        event.range = &range;
    }
    ph_server_send_event(session->conn, PH_CMD_RECALL, &event.base);
}

static void on_go(void *data, struct ph_lease_claim *claim)
{
    (void) data;
    ph_server_unpark(PH_TABLE_ENTRY(claim, struct ph_server_call, claim), PH_ST_OK);
}

static void on_fence(void *data, struct ph_lease_session *lease_session)
{
    struct ph_server *server = data;
    struct ph_session *session = ph_lease_session_owner(lease_session);
    Pohmel__FencedEvent event = POHMEL__FENCED_EVENT__INIT;

    if (session->conn == NULL) {
        ph_server_say(
            server,
            "%s lost its connection and did not come back; others wait for what it holds: it is fenced "
            "(leases: %zu)",
            ph_lease_session_who(lease_session), ph_lease_session_count(lease_session));
        ph_session_end(server, session, true);
        return;
    }
    ph_server_say(server,
                  "%s did not give back a lease that others wait for: it is fenced, and told to start afresh "
                  "(leases not given back: %zu)",
                  ph_lease_session_who(lease_session), ph_lease_session_recalled(lease_session));
    event.session = session->number;
    ph_server_send_event(session->conn, PH_CMD_FENCED, &event.base);
    ph_server_close(session->conn, PH_ST_FENCED, "it did not give back a lease in time");
    ph_session_end(server, session, true);
}

static void on_expired(void *data, struct ph_lease_session *lease_session)
{
    ph_server_say(data, "%s is gone; the leases that it left behind have expired (%zu)",
                  ph_lease_session_who(lease_session), ph_lease_session_count(lease_session));
}

struct ph_leases *ph_server_leases_new(struct ph_server *server)
{
    const struct ph_lease_hooks hooks = {on_recall, on_go, on_fence, on_expired, server};
    uint64_t *epochs = ph_core_new0((server->export_count + 1) * sizeof(*epochs));
    struct ph_leases *leases;

    for (size_t i = 0; i < server->export_count; i++) {
        struct ph_store *store = server->exports[i].export->store;

        epochs[i] = store->epoch(store->self);
    }
    leases = ph_leases_new(epochs, server->export_count, server->seed, &hooks);
    free(epochs);
    return leases;
}

void ph_server_session_caches(struct ph_server *server, struct ph_session *session, const uint8_t *host,
                              size_t host_len)
{
    char who[PH_LEASE_WHO_BYTES], shown[PH_HOST_MAX_BYTES + 1];
    size_t len = 0;

    for (; len < host_len && len < PH_HOST_MAX_BYTES; len++)
        shown[len] = host[len] > ' ' && host[len] < 0x7f ? (char) host[len] : '?';
    shown[len] = '\0';
    snprintf(who, sizeof(who), "client %02x%02x%02x%02x%s%s", session->client[0], session->client[1],
             session->client[2], session->client[3], len == 0 ? "" : " on ", shown);
    session->lease =
        ph_lease_session_new(server->leases, session->entry->index, session->client, session, who);
    session->caches = session->lease != NULL;
}

void ph_server_changed_outside(struct ph_server *server, size_t export_index, uint64_t object,
                               struct ph_actions *actions)
{
    ph_server_enter(server, actions);
    if (export_index < server->export_count)
        ph_leases_changed_outside(server->leases, export_index, object);
    ph_server_leave(server);
}

void ph_server_tick(struct ph_server *server, uint64_t now_ms, struct ph_actions *actions)
{
    ph_server_enter(server, actions);
    server->now_ms = now_ms;
    ph_server_glimpse_tick(server);
    ph_leases_tick(server->leases, now_ms);
    ph_sessions_tick(server);
    ph_server_tick_grace(server);
    if (server->shutting_down)
        ph_server_unpark_all(server, NULL, PH_ST_SHUTTING_DOWN);
    ph_server_leave(server);
}
