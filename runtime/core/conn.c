/* The life of one end of a connection: its output, and what the passing of time
 * does to it. What comes in is understood in conn_input.c. */
#include "runtime/core/conn.h"

#include <stdlib.h>
#include <string.h>

#include "ph_commands.h"
#include "runtime/core/conn_private.h"

/* A payload below this is copied behind its header instead of becoming a part
 * of the output on its own. */
enum { GATHER_MAX_BYTES = 4096 };

void ph_conn_queue_greeting(struct ph_conn *conn, const struct ph_hello *hello)
{
    uint8_t greeting[PH_GREETING_MAX_BYTES];
    size_t len = ph_greeting_encode(hello, greeting);
    memcpy(ph_output_reserve(&conn->output, len), greeting, len);
}

void *ph_conn_allocate(size_t size)
{
    void *memory = malloc(size);
    if (memory == NULL)
        abort();
    return memory;
}

struct ph_conn *ph_conn_new(enum ph_conn_role role, const struct ph_hello *own, uint64_t now_ms)
{
    struct ph_conn *conn = calloc(1, sizeof *conn);
    if (conn == NULL)
        abort();
    conn->role = role;
    conn->own = *own;
    if (conn->own.message_max > PH_MESSAGE_MAX_BYTES)
        conn->own.message_max = PH_MESSAGE_MAX_BYTES;
    if (conn->own.payload_max > PH_PAYLOAD_MAX_BYTES)
        conn->own.payload_max = PH_PAYLOAD_MAX_BYTES;
    ph_conn_limit(conn, conn->own.message_max, conn->own.payload_max);
    conn->born_ms = conn->heard_ms = now_ms;
    conn->frame_since_ms = PH_NEVER_MS;
    conn->input_capacity = PH_INPUT_BYTES_GREETING;
    conn->input = ph_conn_allocate(conn->input_capacity);
    conn->greeting_unseen = true;
    ph_conn_queue_greeting(conn, &conn->own);
    return conn;
}

void ph_conn_limit(struct ph_conn *conn, uint32_t message_max, uint32_t payload_max)
{
    conn->message_max = message_max < conn->own.message_max ? message_max : conn->own.message_max;
    conn->payload_max = payload_max < conn->own.payload_max ? payload_max : conn->own.payload_max;
}

void ph_conn_free(struct ph_conn *conn)
{
    if (conn == NULL)
        return;
    struct ph_frame *frame;
    while ((frame = ph_conn_take(conn)) != NULL)
        ph_frame_free(frame);
    ph_frame_free(conn->frame);
    ph_output_clear(&conn->output);
    free(conn->ready);
    free(conn->input);
    free(conn);
}

void ph_conn_end(struct ph_conn *conn)
{
    conn->state = PH_CONN_ENDED;
    ph_frame_free(conn->frame);
    conn->frame = NULL;
    conn->frame_since_ms = PH_NEVER_MS;
}

void ph_conn_end_and_tell(struct ph_conn *conn)
{
    ph_conn_end(conn);
    ph_conn_goaway(conn, conn->fault.status);
}

uint32_t ph_conn_answer(const struct ph_conn *conn, struct ph_fault *fault)
{
    if (conn->fault.status != 0 && fault != NULL)
        *fault = conn->fault;
    return conn->fault.status;
}

bool ph_conn_ready(const struct ph_conn *conn)
{
    return conn->greeted;
}

bool ph_conn_ended(const struct ph_conn *conn)
{
    return conn->state == PH_CONN_ENDED;
}

const struct ph_hello *ph_conn_peer(const struct ph_conn *conn)
{
    return &conn->peer;
}

static void queue_frame(struct ph_conn *conn, const struct ph_frame_header *header, const uint8_t *message,
                        size_t message_len, struct ph_blob *payload)
{
    struct ph_frame_header full = *header;
    full.message_len = (uint32_t) message_len;
    full.payload_len = payload != NULL ? (uint32_t) payload->len : 0;
    full.body_crc = ph_crc32c(0, message, message_len);
    if (full.payload_len > 0)
        full.body_crc = ph_crc32c(full.body_crc, payload->data, full.payload_len);
    bool gather = full.payload_len < GATHER_MAX_BYTES;
    size_t len = PH_FRAME_HEADER_BYTES + message_len + (gather ? full.payload_len : 0);
    uint8_t *out = ph_output_reserve(&conn->output, len);
    ph_frame_header_encode(&full, out);
    if (message_len > 0)
        memcpy(out + PH_FRAME_HEADER_BYTES, message, message_len);
    if (!gather)
        ph_output_blob(&conn->output, payload);
    else if (full.payload_len > 0)
        memcpy(out + PH_FRAME_HEADER_BYTES + message_len, payload->data, full.payload_len);
}

void ph_conn_queue_control(struct ph_conn *conn, enum ph_control control, uint64_t id, uint32_t status)
{
    struct ph_frame_header header = {
        .kind = PH_FRAME_CONTROL,
        .command = (uint16_t) control,
        .id = id,
        .status = status,
        .slot = PH_NO_SLOT,
    };
    queue_frame(conn, &header, NULL, 0, NULL);
}

void ph_conn_send(struct ph_conn *conn, const struct ph_frame_header *header, const uint8_t *message,
                  size_t message_len, struct ph_blob *payload)
{
    if (!conn->said_goodbye)
        queue_frame(conn, header, message, message_len, payload);
}

void ph_conn_goaway(struct ph_conn *conn, uint32_t status)
{
    if (conn->said_goodbye)
        return;
    ph_conn_queue_control(conn, PH_CONTROL_GOAWAY, 0, status);
    conn->said_goodbye = true;
}

int ph_conn_output(struct ph_conn *conn, struct iovec *iov, int max)
{
    conn->greeting_unseen = false;
    return ph_output_vector(&conn->output, iov, max);
}

size_t ph_conn_output_bytes(const struct ph_conn *conn)
{
    return conn->output.bytes;
}

void ph_conn_sent(struct ph_conn *conn, size_t count)
{
    ph_output_sent(&conn->output, count);
}

void ph_conn_hold(struct ph_conn *conn, bool hold, uint64_t now_ms)
{
    if (conn->held && !hold) {
        conn->heard_ms = now_ms;
        if (conn->frame_since_ms != PH_NEVER_MS)
            conn->frame_since_ms = now_ms;
    }
    conn->held = hold;
}

uint64_t ph_conn_deadline(const struct ph_conn *conn)
{
    if (conn->state == PH_CONN_ENDED || conn->held)
        return PH_NEVER_MS;
    if (conn->state != PH_CONN_OPEN)
        return conn->born_ms + PH_HANDSHAKE_TIMEOUT_MS;
    uint64_t deadline = conn->heard_ms + (conn->ping_out ? PH_PING_TIMEOUT_MS : PH_PING_IDLE_MS);
    if (conn->frame_since_ms != PH_NEVER_MS && conn->frame_since_ms + PH_FRAME_TIMEOUT_MS < deadline)
        deadline = conn->frame_since_ms + PH_FRAME_TIMEOUT_MS;
    return deadline;
}

uint32_t ph_conn_tick(struct ph_conn *conn, uint64_t now_ms, struct ph_fault *fault)
{
    const char *them = conn->role == PH_CONN_CLIENT ? "server" : "client";
    if (now_ms < ph_conn_deadline(conn))
        return ph_conn_answer(conn, fault);
    if (conn->state != PH_CONN_OPEN) {
        ph_fault_set(&conn->fault, PH_ST_LIMIT, "the %s did not say hello within %d s", them,
                     PH_HANDSHAKE_TIMEOUT_MS / 1000);
        ph_conn_end_and_tell(conn);
    } else if (now_ms >= conn->heard_ms + PH_PING_TIMEOUT_MS) {
        ph_fault_set(&conn->fault, PH_ST_IO_ERROR, "the %s was silent for %d s", them,
                     PH_PING_TIMEOUT_MS / 1000);
        ph_conn_end_and_tell(conn);
    } else if (conn->frame_since_ms != PH_NEVER_MS && now_ms >= conn->frame_since_ms + PH_FRAME_TIMEOUT_MS) {
        ph_fault_set(&conn->fault, PH_ST_LIMIT, "the %s did not finish a frame within %d s", them,
                     PH_FRAME_TIMEOUT_MS / 1000);
        ph_conn_end_and_tell(conn);
    } else if (!conn->said_goodbye) {
        ph_conn_queue_control(conn, PH_CONTROL_PING, ++conn->ping_id, 0);
        conn->ping_out = true;
    }
    return ph_conn_answer(conn, fault);
}
