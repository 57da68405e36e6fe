/* What the bytes of the peer mean: greeting, headers, bodies, control frames. */
#include "runtime/core/conn.h"

#include <stdlib.h>
#include <string.h>

#include "ph_commands.h"
#include "runtime/core/conn_private.h"

enum {
    INPUT_BYTES_OPEN = 64 * 1024,
    /* What is still to come of a frame goes straight to its place from here on;
     * less is read together with what follows it. */
    DIRECT_MIN_BYTES = 16 * 1024,
};

/* Bytes of the frame's message and payload that are still to come, and where
 * they go: first all of the message, then the payload. */
static size_t body_missing(struct ph_conn *conn, uint8_t **where)
{
    struct ph_frame *frame = conn->frame;
    size_t message_len = frame->header.message_len;
    if (conn->body_got < message_len) {
        *where = frame->message + conn->body_got;
        return message_len - conn->body_got;
    }
    size_t got = conn->body_got - message_len;
    if (got == frame->header.payload_len)
        return 0;
    *where = frame->payload->data + got;
    return frame->header.payload_len - got;
}

size_t ph_conn_space(struct ph_conn *conn, uint8_t **where)
{
    if (conn->state == PH_CONN_ENDED)
        return 0;
    conn->direct = false;
    if (conn->frame != NULL) {
        size_t missing = body_missing(conn, where);
        if (missing >= DIRECT_MIN_BYTES) {
            conn->direct = true;
            return missing;
        }
    }
    size_t waiting = conn->input_end - conn->input_start;
    if (conn->state == PH_CONN_OPEN && conn->input_capacity < INPUT_BYTES_OPEN) {
        uint8_t *larger = ph_conn_allocate(INPUT_BYTES_OPEN);
        memcpy(larger, conn->input + conn->input_start, waiting);
        free(conn->input);
        conn->input = larger;
        conn->input_capacity = INPUT_BYTES_OPEN;
    } else if (conn->input_start > 0) {
        memmove(conn->input, conn->input + conn->input_start, waiting);
    }
    conn->input_start = 0;
    conn->input_end = waiting;
    *where = conn->input + waiting;
    return conn->input_capacity - waiting;
}

static void ready_push(struct ph_conn *conn, struct ph_frame *frame)
{
    if (conn->ready_count == conn->ready_capacity) {
        size_t capacity = conn->ready_capacity == 0 ? 16 : conn->ready_capacity * 2;
        struct ph_frame **ring = ph_conn_allocate(capacity * sizeof *ring);
        for (size_t i = 0; i < conn->ready_count; i++)
            ring[i] = conn->ready[(conn->ready_first + i) % conn->ready_capacity];
        free(conn->ready);
        conn->ready = ring;
        conn->ready_capacity = capacity;
        conn->ready_first = 0;
    }
    conn->ready[(conn->ready_first + conn->ready_count++) % conn->ready_capacity] = frame;
}

struct ph_frame *ph_conn_take(struct ph_conn *conn)
{
    if (conn->ready_count == 0)
        return NULL;
    struct ph_frame *frame = conn->ready[conn->ready_first];
    conn->ready_first = (conn->ready_first + 1) % conn->ready_capacity;
    conn->ready_count--;
    return frame;
}

/* A control frame that has come. Returns whether it is one for our user. */
static bool handle_control(struct ph_conn *conn, const struct ph_frame_header *header)
{
    if (header->message_len != 0 || header->payload_len != 0) {
        ph_fault_set(&conn->fault, PH_ST_MALFORMED, "a control frame with a message or payload");
        ph_conn_end_and_tell(conn);
        return false;
    }
    switch (header->command) {
    case PH_CONTROL_PING:
        /* A peer that pings and does not read must not make us hold ever more; what
         * waits for it will show that we live. R-3.3-3. */
        if (!conn->said_goodbye && conn->output.bytes < PH_OUTPUT_SMALL_BYTES)
            ph_conn_queue_control(conn, PH_CONTROL_PONG, header->id, 0);
        return false;
    case PH_CONTROL_PONG:
        return false;
    case PH_CONTROL_CANCEL:
        return true;
    case PH_CONTROL_GOAWAY:
        if (header->status != 0)
            ph_fault_set(&conn->fault, header->status, "the %s ended the connection: %s",
                         conn->role == PH_CONN_CLIENT ? "server" : "client", ph_status_text(header->status));
        ph_conn_end(conn);
        return false;
    default:
        return false; /* of a later version: R-3.3-1 */
    }
}

static bool kind_fits_role(uint8_t kind, enum ph_conn_role own)
{
    switch (kind) {
    case PH_FRAME_REQUEST:
        return own == PH_CONN_SERVER;
    case PH_FRAME_REPLY:
    case PH_FRAME_EVENT:
        return own == PH_CONN_CLIENT;
    default:
        return true;
    }
}

/* Memory for a frame whose header was verified. NULL when there is none. */
static struct ph_frame *frame_new(const struct ph_frame_header *header)
{
    struct ph_frame *frame = malloc(sizeof *frame + header->message_len);
    if (frame == NULL)
        return NULL;
    frame->header = *header;
    frame->payload = NULL;
    if (header->payload_len > 0) {
        frame->payload = ph_blob_new(header->payload_len);
        if (frame->payload == NULL) {
            free(frame);
            return NULL;
        }
        frame->payload->len = header->payload_len;
    }
    return frame;
}

/* A whole header waits in the input. */
static void begin_frame(struct ph_conn *conn)
{
    struct ph_frame_header header;
    if (ph_frame_header_decode(conn->input + conn->input_start, conn->message_max, conn->payload_max, &header,
                               &conn->fault) != 0) {
        ph_conn_end_and_tell(conn);
        return;
    }
    conn->input_start += PH_FRAME_HEADER_BYTES;
    if (!kind_fits_role(header.kind, conn->role)) {
        ph_fault_set(&conn->fault, PH_ST_WRONG_STATE, "a frame of kind %u, which a %s does not send",
                     header.kind, conn->role == PH_CONN_CLIENT ? "server" : "client");
        ph_conn_end_and_tell(conn);
        return;
    }
    if (header.kind == PH_FRAME_CONTROL && !handle_control(conn, &header)) {
        conn->frame_since_ms = PH_NEVER_MS;
        return;
    }
    conn->frame = frame_new(&header);
    if (conn->frame == NULL) {
        ph_fault_set(&conn->fault, PH_ST_NO_MEMORY, "no memory for a frame of %u + %u bytes",
                     header.message_len, header.payload_len);
        ph_conn_end_and_tell(conn);
        return;
    }
    conn->body_got = 0;
    conn->body_crc = 0;
}

/* COUNT more bytes of the frame's body stand in their place at WHERE. */
static void body_arrived(struct ph_conn *conn, const uint8_t *where, size_t count)
{
    conn->body_crc = ph_crc32c(conn->body_crc, where, count);
    conn->body_got += count;
}

static void finish_frame(struct ph_conn *conn)
{
    if (conn->body_crc != conn->frame->header.body_crc) {
        ph_fault_set(&conn->fault, PH_ST_MALFORMED,
                     "the checksum of a frame's body does not fit: bytes were changed on the way");
        ph_conn_end_and_tell(conn);
        return;
    }
    ready_push(conn, conn->frame);
    conn->frame = NULL;
    conn->frame_since_ms = PH_NEVER_MS;
}

/* Moves what the input holds of the frame's body to its place. Returns whether
 * the frame was finished (or was the last straw). */
static bool fill_frame(struct ph_conn *conn)
{
    uint8_t *where;
    size_t missing;
    while ((missing = body_missing(conn, &where)) > 0) {
        size_t there = conn->input_end - conn->input_start;
        if (there == 0)
            return false;
        size_t count = there < missing ? there : missing;
        memcpy(where, conn->input + conn->input_start, count);
        conn->input_start += count;
        body_arrived(conn, where, count);
    }
    finish_frame(conn);
    return true;
}

/* No common ground: says so in the greeting if that is still here, else by GOAWAY. */
static void refuse(struct ph_conn *conn)
{
    if (conn->greeting_unseen) {
        struct ph_hello hello = conn->own;
        hello.refusal = conn->fault.status;
        ph_output_clear(&conn->output);
        ph_conn_queue_greeting(conn, &hello);
        conn->said_goodbye = true;
        ph_conn_end(conn);
    } else {
        ph_conn_end_and_tell(conn);
    }
}

/* Returns whether the banner was whole and fits. */
static bool take_banner(struct ph_conn *conn)
{
    const uint8_t *bytes = conn->input + conn->input_start;
    size_t there = conn->input_end - conn->input_start;
    size_t len = there < PH_BANNER_BYTES ? there : PH_BANNER_BYTES;
    if (ph_banner_check_start(bytes, len, &conn->fault) != 0) {
        ph_conn_end(conn); /* a GOAWAY would mean nothing to it */
        return false;
    }
    if (there < PH_BANNER_BYTES)
        return false;
    if (ph_banner_decode(bytes, conn->role, &conn->banner, &conn->fault) != 0) {
        refuse(conn);
        return false;
    }
    conn->input_start += PH_BANNER_BYTES;
    conn->state = PH_CONN_AWAIT_HELLO;
    return true;
}

/* Returns whether the hello was whole and fits. */
static bool take_hello(struct ph_conn *conn)
{
    if (conn->input_end - conn->input_start < conn->banner.hello_len)
        return false;
    if (ph_hello_decode(conn->input + conn->input_start, conn->banner.hello_len, &conn->peer, &conn->fault) !=
            0 ||
        ph_hello_match(&conn->own, &conn->peer, conn->role, &conn->fault) != 0) {
        refuse(conn);
        return false;
    }
    conn->input_start += conn->banner.hello_len;
    conn->state = PH_CONN_OPEN;
    conn->greeted = true;
    return true;
}

/* One step of understanding the input. Returns whether another may follow. */
static bool step(struct ph_conn *conn)
{
    switch (conn->state) {
    case PH_CONN_AWAIT_BANNER:
        return take_banner(conn);
    case PH_CONN_AWAIT_HELLO:
        return take_hello(conn);
    case PH_CONN_OPEN:
        if (conn->frame != NULL)
            return fill_frame(conn);
        if (conn->input_end - conn->input_start < PH_FRAME_HEADER_BYTES)
            return false;
        begin_frame(conn);
        return true;
    default:
        return false;
    }
}

uint32_t ph_conn_received(struct ph_conn *conn, size_t count, uint64_t now_ms, struct ph_fault *fault)
{
    if (conn->state == PH_CONN_ENDED)
        return ph_conn_answer(conn, fault);
    if (count > 0) {
        conn->heard_ms = now_ms;
        conn->ping_out = false;
    }
    if (conn->direct) {
        uint8_t *where = NULL;
        body_missing(conn, &where);
        body_arrived(conn, where, count);
        conn->direct = false;
    } else {
        conn->input_end += count;
    }
    while (step(conn))
        ;
    bool half_there = conn->frame != NULL || conn->input_start < conn->input_end;
    if (conn->state == PH_CONN_OPEN && half_there && conn->frame_since_ms == PH_NEVER_MS)
        conn->frame_since_ms = now_ms;
    return ph_conn_answer(conn, fault);
}
