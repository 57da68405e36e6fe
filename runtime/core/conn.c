/* One end of a connection: what a byte, a frame or the passing of time does to
 * it. The greeting is in hello.c, waiting output in output.c. */
#include "runtime/core/conn.h"

#include <stdlib.h>
#include <string.h>

#include "ph_commands.h"
#include "runtime/base/limits.h"
#include "runtime/core/hello.h"
#include "runtime/core/output.h"

enum {
    /* Until it has said hello, a peer makes us hold no more than this. */
    INPUT_BYTES_GREETING = PH_GREETING_MAX_BYTES + 2 * PH_FRAME_HEADER_BYTES,
    INPUT_BYTES_OPEN = 64 * 1024,
    /* What is still to come of a frame goes straight to its place from here on;
     * less is read together with what follows it. */
    DIRECT_MIN_BYTES = 16 * 1024,
    /* A payload below this is copied behind its header instead of becoming a
     * part of the output on its own. */
    GATHER_MAX_BYTES = 4096,
};

#define NEVER UINT64_MAX

enum state {
    AWAIT_BANNER,
    AWAIT_HELLO,
    OPEN,
    ENDED, /* nothing is read any more: a fault, or the peer's GOAWAY */
};

struct ph_conn {
    enum ph_conn_role role;
    enum state state;
    struct ph_hello own, peer;
    struct ph_banner banner; /* the peer's */
    struct ph_fault fault;   /* why it ENDED; status 0 for a goodbye */

    uint8_t *input; /* bytes read and not understood yet: START to END */
    size_t input_capacity, input_start, input_end;
    struct ph_frame *frame; /* being received */
    size_t body_got;        /* bytes of its message and payload that are there */
    uint32_t body_crc;      /* of those */
    bool direct;            /* the last space given out was in FRAME itself */

    struct ph_frame **ready; /* ring of whole frames */
    size_t ready_capacity, ready_first, ready_count;

    struct ph_output output;
    bool greeting_unseen; /* nobody has looked at the output yet */
    bool greeted;         /* the peer's hello has come and fits */
    bool said_goodbye;

    uint64_t born_ms, heard_ms, frame_since_ms; /* NEVER while no frame is half there */
    uint64_t ping_id;
    bool ping_out, held;
};

static void queue_greeting(struct ph_conn *conn, const struct ph_hello *hello)
{
    uint8_t greeting[PH_GREETING_MAX_BYTES];
    size_t len = ph_greeting_encode(hello, greeting);
    memcpy(ph_output_reserve(&conn->output, len), greeting, len);
}

static void *allocate(size_t size)
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
    conn->born_ms = conn->heard_ms = now_ms;
    conn->frame_since_ms = NEVER;
    conn->input_capacity = INPUT_BYTES_GREETING;
    conn->input = allocate(conn->input_capacity);
    conn->greeting_unseen = true;
    queue_greeting(conn, &conn->own);
    return conn;
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

/* The end: conn->fault is filled in (or not, for a goodbye). */
static void end(struct ph_conn *conn)
{
    conn->state = ENDED;
    ph_frame_free(conn->frame);
    conn->frame = NULL;
    conn->frame_since_ms = NEVER;
}

static void end_and_tell(struct ph_conn *conn)
{
    end(conn);
    ph_conn_goaway(conn, conn->fault.status);
}

static uint32_t answer(struct ph_conn *conn, struct ph_fault *fault)
{
    if (conn->fault.status != 0 && fault != NULL)
        *fault = conn->fault;
    return conn->fault.status;
}

/* ---- Input ---------------------------------------------------------------- */

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
    if (conn->state == ENDED)
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
    if (conn->state == OPEN && conn->input_capacity < INPUT_BYTES_OPEN) {
        uint8_t *larger = allocate(INPUT_BYTES_OPEN);
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
        struct ph_frame **ring = allocate(capacity * sizeof *ring);
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

static void queue_control(struct ph_conn *conn, enum ph_control control, uint64_t id, uint32_t status)
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

/* A control frame that has come. Returns whether it is one for our user. */
static bool handle_control(struct ph_conn *conn, const struct ph_frame_header *header)
{
    if (header->message_len != 0 || header->payload_len != 0) {
        ph_fault_set(&conn->fault, PH_ST_MALFORMED, "a control frame with a message or payload");
        end_and_tell(conn);
        return false;
    }
    switch (header->command) {
    case PH_CONTROL_PING:
        if (!conn->said_goodbye)
            queue_control(conn, PH_CONTROL_PONG, header->id, 0);
        return false;
    case PH_CONTROL_PONG:
        return false;
    case PH_CONTROL_CANCEL:
        return true;
    case PH_CONTROL_GOAWAY:
        if (header->status != 0)
            ph_fault_set(&conn->fault, header->status, "the %s ended the connection: %s",
                         conn->role == PH_CONN_CLIENT ? "server" : "client", ph_status_text(header->status));
        end(conn);
        return false;
    default:
        ph_fault_set(&conn->fault, PH_ST_MALFORMED, "an unknown control frame, number %u", header->command);
        end_and_tell(conn);
        return false;
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
    if (ph_frame_header_decode(conn->input + conn->input_start, conn->own.message_max, conn->own.payload_max,
                               &header, &conn->fault) != 0) {
        end_and_tell(conn);
        return;
    }
    conn->input_start += PH_FRAME_HEADER_BYTES;
    if (!kind_fits_role(header.kind, conn->role)) {
        ph_fault_set(&conn->fault, PH_ST_WRONG_STATE, "a frame of kind %u, which a %s does not send",
                     header.kind, conn->role == PH_CONN_CLIENT ? "server" : "client");
        end_and_tell(conn);
        return;
    }
    if (header.kind == PH_FRAME_CONTROL && !handle_control(conn, &header)) {
        conn->frame_since_ms = NEVER;
        return;
    }
    conn->frame = frame_new(&header);
    if (conn->frame == NULL) {
        ph_fault_set(&conn->fault, PH_ST_NO_MEMORY, "no memory for a frame of %u + %u bytes",
                     header.message_len, header.payload_len);
        end_and_tell(conn);
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
        end_and_tell(conn);
        return;
    }
    ready_push(conn, conn->frame);
    conn->frame = NULL;
    conn->frame_since_ms = NEVER;
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
        queue_greeting(conn, &hello);
        conn->said_goodbye = true;
        end(conn);
    } else {
        end_and_tell(conn);
    }
}

/* Returns whether the banner was whole and fits. */
static bool take_banner(struct ph_conn *conn)
{
    const uint8_t *bytes = conn->input + conn->input_start;
    size_t there = conn->input_end - conn->input_start;
    size_t len = there < PH_BANNER_BYTES ? there : PH_BANNER_BYTES;
    if (ph_banner_check_start(bytes, len, &conn->fault) != 0) {
        end(conn); /* a GOAWAY would mean nothing to it */
        return false;
    }
    if (there < PH_BANNER_BYTES)
        return false;
    if (ph_banner_decode(bytes, conn->role, &conn->banner, &conn->fault) != 0) {
        refuse(conn);
        return false;
    }
    conn->input_start += PH_BANNER_BYTES;
    conn->state = AWAIT_HELLO;
    return true;
}

/* Returns whether the hello was whole and fits. */
static bool take_hello(struct ph_conn *conn)
{
    if (conn->input_end - conn->input_start < conn->banner.hello_len)
        return false;
    if (ph_hello_decode(conn->input + conn->input_start, conn->banner.hello_len, &conn->peer, &conn->fault) != 0 ||
        ph_hello_match(&conn->own, &conn->peer, conn->role, &conn->fault) != 0) {
        refuse(conn);
        return false;
    }
    conn->input_start += conn->banner.hello_len;
    conn->state = OPEN;
    conn->greeted = true;
    return true;
}

/* One step of understanding the input. Returns whether another may follow. */
static bool step(struct ph_conn *conn)
{
    switch (conn->state) {
    case AWAIT_BANNER:
        return take_banner(conn);
    case AWAIT_HELLO:
        return take_hello(conn);
    case OPEN:
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
    if (conn->state == ENDED)
        return answer(conn, fault);
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
    if (conn->state == OPEN && half_there && conn->frame_since_ms == NEVER)
        conn->frame_since_ms = now_ms;
    return answer(conn, fault);
}

bool ph_conn_ready(const struct ph_conn *conn)
{
    return conn->greeted;
}

bool ph_conn_ended(const struct ph_conn *conn)
{
    return conn->state == ENDED;
}

const struct ph_hello *ph_conn_peer(const struct ph_conn *conn)
{
    return &conn->peer;
}

/* ---- Output --------------------------------------------------------------- */

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
    queue_control(conn, PH_CONTROL_GOAWAY, 0, status);
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

/* ---- Time ----------------------------------------------------------------- */

void ph_conn_hold(struct ph_conn *conn, bool hold, uint64_t now_ms)
{
    if (conn->held && !hold) {
        conn->heard_ms = now_ms;
        if (conn->frame_since_ms != NEVER)
            conn->frame_since_ms = now_ms;
    }
    conn->held = hold;
}

uint64_t ph_conn_deadline(const struct ph_conn *conn)
{
    if (conn->state == ENDED || conn->held)
        return NEVER;
    if (conn->state != OPEN)
        return conn->born_ms + PH_HANDSHAKE_TIMEOUT_MS;
    uint64_t deadline = conn->heard_ms + (conn->ping_out ? PH_PING_TIMEOUT_MS : PH_PING_IDLE_MS);
    if (conn->frame_since_ms != NEVER && conn->frame_since_ms + PH_FRAME_TIMEOUT_MS < deadline)
        deadline = conn->frame_since_ms + PH_FRAME_TIMEOUT_MS;
    return deadline;
}

uint32_t ph_conn_tick(struct ph_conn *conn, uint64_t now_ms, struct ph_fault *fault)
{
    const char *them = conn->role == PH_CONN_CLIENT ? "server" : "client";
    if (now_ms < ph_conn_deadline(conn))
        return answer(conn, fault);
    if (conn->state != OPEN) {
        ph_fault_set(&conn->fault, PH_ST_LIMIT, "the %s did not say hello within %d s", them,
                     PH_HANDSHAKE_TIMEOUT_MS / 1000);
        end_and_tell(conn);
    } else if (now_ms >= conn->heard_ms + PH_PING_TIMEOUT_MS) {
        ph_fault_set(&conn->fault, PH_ST_IO_ERROR, "the %s was silent for %d s", them,
                     PH_PING_TIMEOUT_MS / 1000);
        end_and_tell(conn);
    } else if (conn->frame_since_ms != NEVER && now_ms >= conn->frame_since_ms + PH_FRAME_TIMEOUT_MS) {
        ph_fault_set(&conn->fault, PH_ST_LIMIT, "the %s did not finish a frame within %d s", them,
                     PH_FRAME_TIMEOUT_MS / 1000);
        end_and_tell(conn);
    } else if (!conn->said_goodbye) {
        queue_control(conn, PH_CONTROL_PING, ++conn->ping_id, 0);
        conn->ping_out = true;
    }
    return answer(conn, fault);
}
