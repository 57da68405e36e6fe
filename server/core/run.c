/* Calls: from admission to the answer. */
#include <string.h>

#include "server/core/memory.h"
#include "server/core/private.h"

/* Calls, with the first block of their arenas, that are kept for later requests. */
enum { SPARE_CALLS_MAX = 64 };

/* What a request may take when it is decoded and answered.. */
static size_t arena_cap(const struct ph_frame_header *header)
{
    size_t cap = PH_ARENA_BASE_BYTES + (size_t) PH_ARENA_FACTOR * header->message_len;

    /* A listing is far larger than the request for it; its message is limited. */
    if (header->command == PH_CMD_READDIR || cap > PH_ARENA_CAP_BYTES)
        return PH_ARENA_CAP_BYTES;
    return cap;
}

struct ph_server_call *ph_server_call_new(struct ph_server_conn *conn, struct ph_frame *frame, uint32_t cost)
{
    struct ph_server *server = conn->server;
    struct ph_server_call *call = server->spare;
    size_t cap = arena_cap(&frame->header);

    if (call != NULL) {
        struct ph_arena *arena = call->call.arena;

        server->spare = call->next_spare;
        server->spare_count--;
        memset(call, 0, sizeof(*call));
        ph_arena_reset(arena, cap);
        call->call.arena = arena;
    } else {
        call = PH_CORE_NEW(struct ph_server_call);
        call->call.arena = ph_arena_new(cap);
    }
    call->server = server;
    call->conn = ph_server_conn_ref(conn);
    call->session = conn->session;
    call->frame = frame;
    call->cost = cost;
    call->call.context = call;
    call->call.payload_in = frame->payload;
    if (call->session != NULL) {
        call->call.session = call->session->id;
        call->call.client = call->session->client;
        call->call.write_back = call->session->writes_back;
        call->call.session_number = call->session->number;
        if (frame->header.command == PH_CMD_TRANSACT) {
            call->call.in_slot = true;
            call->call.slot = frame->header.slot;
            call->call.sequence = frame->header.sequence;
            call->call.request_crc = frame->header.body_crc;
        }
        call->session->running++;
        LIST_INSERT_HEAD(&call->session->calls, call, of_session);
    }
    server->running++;
    ph_gate_count(call);
    LIST_INSERT_HEAD(&conn->calls, call, of_conn);
    return call;
}

static struct ph_blob *encode(const ProtobufCMessage *message)
{
    size_t size = message == NULL ? 0 : ph_encoded_size(message);
    struct ph_blob *blob;

    if (size == 0)
        return NULL;
    blob = ph_blob_new(size);
    if (blob == NULL)
        return NULL;
    blob->len = ph_encode(message, blob->data);
    return blob;
}

struct ph_blob *ph_server_words(const struct ph_fault *fault)
{
    size_t len = strnlen(fault->text, PH_FAULT_TEXT_MAX_BYTES);
    struct ph_blob *blob = len == 0 ? NULL : ph_blob_new(len);

    if (blob == NULL)
        return NULL;
    memcpy(blob->data, fault->text, len);
    blob->len = len;
    return blob;
}

/* A parked call begins at its start. */
static void begin_again(struct ph_server_call *call)
{
    call->parked = false;
    ph_arena_reset(call->call.arena, arena_cap(&call->frame->header));
    ph_blob_unref(call->call.payload_out);
    call->call.payload_out = NULL;
    call->call.payload_used = 0;
    call->call.fault = (struct ph_fault){0};
    call->status = PH_ST_OK;
}

/* Decodes and executes; *REPLY is what is to be sent. */
static void dispatch(struct ph_server_call *call, ProtobufCMessage **reply)
{
    const struct ph_export_entry *entry = call->session == NULL ? NULL : call->session->entry;
    const struct ph_frame *frame = call->frame;
    struct ph_dispatch dispatch = {
        .session_ops = &ph_server_session_ops,
        .session = call->server,
        .store_ops = entry == NULL ? NULL : &entry->ops,
        .store = entry == NULL ? NULL : entry->export->store->self,
    };

    call->status = ph_dispatch_request(&dispatch, frame->header.command, frame->message,
                                       frame->header.message_len, &call->call, reply);
}

void ph_server_execute(struct ph_server_call *call)
{
    ProtobufCMessage *reply = NULL;

    if (call->parked)
        begin_again(call);
    call->since = ph_leases_clock(call->server->leases);
    if (call->verdict != PH_ST_OK || __atomic_load_n(&call->stray, __ATOMIC_RELAXED))
        call->status = call->verdict != PH_ST_OK ? call->verdict : PH_ST_NO_SESSION;
    else if (!ph_gate_parks(call) && !ph_server_reading_waits(call))
        dispatch(call, &reply);
    if (reply != NULL && !ph_server_grant(call, reply))
        reply = NULL;
    if (call->status == PH_PENDING)
        return;
    if (call->status != PH_ST_OK && call->call.fault.status == PH_ST_OK)
        ph_fault_set(&call->call.fault, call->status, "%s", ph_status_text(call->status));
    call->message = encode(reply);
    if (call->message != NULL && call->message->len > PH_MESSAGE_MAX_BYTES) {
        ph_blob_unref(call->message);
        call->message = NULL;
        call->status =
            ph_fault_set(&call->call.fault, PH_ST_LIMIT, "the answer would be larger than a message may be");
    }
    if (call->status == PH_ST_OK) {
        call->payload = call->call.payload_out;
        call->call.payload_out = NULL;
    } else {
        call->payload = ph_server_words(&call->call.fault);
    }
}

void ph_server_reply(struct ph_server_conn *conn, const struct ph_frame_header *request, uint64_t id,
                     uint32_t cost, uint32_t status, struct ph_blob *message, struct ph_blob *payload)
{
    struct ph_action *action;

    if (conn->closed)
        return;
    action = ph_actions_add(conn->server->out, PH_ACTION_SEND);
    action->conn = ph_server_conn_ref(conn);
    action->header = (struct ph_frame_header){
        .kind = PH_FRAME_REPLY,
        .command = request->command,
        .credits = (uint16_t) cost,
        .status = status,
        .id = id,
        .slot = request->slot,
        .sequence = request->sequence,
    };
    action->message = message == NULL ? NULL : ph_blob_ref(message);
    action->payload = payload == NULL ? NULL : ph_blob_ref(payload);
    if (conn->session != NULL && conn->session->lease != NULL)
        ph_lease_session_answered(conn->session->lease);
}

void ph_server_lock_answer(void *data, struct ph_lock_session *locks, uint64_t request, uint32_t status)
{
    struct ph_session *session = PH_TABLE_ENTRY(locks, struct ph_session, locks);
    const struct ph_frame_header header = {.command = PH_CMD_LOCK, .slot = PH_NO_SLOT};

    (void) data;
    /* The credits were given back inside when the wait began. */
    if (session->conn != NULL)
        ph_server_reply(session->conn, &header, request, ph_credit_cost(0, 0), status, NULL, NULL);
}

/* Records the answer of a transaction, and gives it to whoever asked again meanwhile. */
static void finish_slot(struct ph_server_call *call)
{
    const struct ph_frame_header *header = &call->frame->header;
    struct ph_slot *slot = &call->session->slots[header->slot];
    struct ph_server_conn *conn = call->session->conn;
    unsigned repeats = conn == NULL ? 0 : slot->repeats;

    ph_slot_done(slot, call->status, call->message, call->payload);
    /* They may have come over another connection than the first. */
    for (unsigned i = 0; i < repeats; i++) {
        const struct ph_slot_repeat *repeat = &slot->repeat[i];

        conn->credits -= repeat->cost;
        ph_server_reply(conn, header, repeat->id, repeat->cost, call->status, call->message, call->payload);
    }
}

static void finish(struct ph_server_call *call)
{
    struct ph_server_conn *conn = call->conn;
    const struct ph_frame_header *header = &call->frame->header;

    ph_leases_claim_end(call->server->leases, &call->claim);
    ph_server_glimpse_forget(call);
    ph_gate_open(call);
    ph_gate_uncount(call);
    LIST_REMOVE(call, of_conn);
    call->server->running--;
    conn->credits -= call->cost;
    if (call->session != NULL) {
        if (header->command == PH_CMD_TRANSACT)
            finish_slot(call);
        ph_session_call_done(call->server, call->session, call);
    } else if (conn->state == PH_CONN_OPENING && conn->session == NULL) {
        conn->state = PH_CONN_NEW; /* SESSION_OPEN failed; another may be tried */
    }
    if (call->status != PH_PENDING)
        ph_server_reply(conn, header, header->id, call->cost, call->status, call->message, call->payload);
    if (conn->state == PH_CONN_OPENING && header->command == PH_CMD_SESSION_OPEN)
        ph_session_resumed(call->server, conn);
}

static void free_call(struct ph_server_call *call)
{
    ph_arena_free(call->call.arena);
    free(call);
}

void ph_server_done(struct ph_server_call *call, struct ph_actions *actions)
{
    struct ph_server *server = call->server;
    struct ph_server_conn *conn = call->conn;
    struct ph_frame *frame = call->frame;
    struct ph_blob *message = call->message, *payload = call->payload, *unsent = call->call.payload_out;
    bool keep;

    if (call->parked) {
        *actions = call->actions;
        call->actions = (struct ph_actions){0};
        ph_server_enter(server, actions);
        ph_server_settle(call);
        ph_server_leave(server);
        return;
    }
    /* First what the handler set in motion: it came before the answer. */
    *actions = call->actions;
    call->actions = (struct ph_actions){0};
    ph_server_enter(server, actions);
    finish(call);
    keep = server->spare_count < SPARE_CALLS_MAX;
    if (keep) {
        call->next_spare = server->spare;
        server->spare = call;
        server->spare_count++;
    }
    ph_server_leave(server);
    if (!keep)
        free_call(call);
    ph_frame_free(frame);
    ph_blob_unref(message);
    ph_blob_unref(payload);
    ph_blob_unref(unsent);
    ph_server_conn_unref(conn);
}

struct ph_call_summary ph_server_call_summary(const struct ph_server_call *call)
{
    return (struct ph_call_summary){
        .command = call->frame->header.command,
        .status = call->status,
        .text = call->call.fault.text,
        .conn = call->conn,
    };
}

void ph_server_free_spare(struct ph_server *server)
{
    while (server->spare != NULL) {
        struct ph_server_call *call = server->spare;

        server->spare = call->next_spare;
        free_call(call);
    }
}
