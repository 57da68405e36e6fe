#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conformance/fuzz/target.h"
#include "ph_dispatch.h"
#include "runtime/base/limits.h"
#include "runtime/core/conn.h"

/* A broken promise: says which and aborts, so that the fuzzer keeps the input. */
#define PROMISE(condition)                                                                                   \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: broken promise: %s\n", __FILE__, __LINE__, #condition);                  \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

enum { AT_MESSAGE_LEN = 32, AT_PAYLOAD_LEN = 36, AT_BODY_CRC = 40, AT_HEADER_CRC = 44 };

static const struct ph_hello hello = {
    .features = PH_FEATURE_LOCKS | PH_FEATURE_XATTRS | PH_FEATURE_TREES,
    .message_max = PH_MESSAGE_MAX_BYTES,
    .payload_max = PH_PAYLOAD_MAX_BYTES,
    .implementation = "fuzz",
};

/* ---- Frames --------------------------------------------------------------- */

static uint32_t get32(const uint8_t *in)
{
    return in[0] | (uint32_t) in[1] << 8 | (uint32_t) in[2] << 16 | (uint32_t) in[3] << 24;
}

static void put32(uint8_t *out, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        out[i] = (uint8_t) (value >> (8 * i));
}

static void repair(uint8_t *bytes, size_t len)
{
    while (len >= PH_FRAME_HEADER_BYTES) {
        uint64_t body = (uint64_t) get32(bytes + AT_MESSAGE_LEN) + get32(bytes + AT_PAYLOAD_LEN);
        if (body <= len - PH_FRAME_HEADER_BYTES)
            put32(bytes + AT_BODY_CRC, ph_crc32c(0, bytes + PH_FRAME_HEADER_BYTES, (size_t) body));
        put32(bytes + AT_HEADER_CRC, ph_crc32c(0, bytes, AT_HEADER_CRC));
        if (body > len - PH_FRAME_HEADER_BYTES)
            return;
        bytes += PH_FRAME_HEADER_BYTES + body;
        len -= PH_FRAME_HEADER_BYTES + (size_t) body;
    }
}

/* ---- Commands ------------------------------------------------------------- */

static uint32_t on_transact(void *self, struct ph_call *call, const Pohmel__TransactRequest *request,
                            Pohmel__TransactReply *reply)
{
    const struct ph_store_ops *ops = self;
    uint32_t first = 0;
    for (size_t i = 0; i < request->n_changes; i++) {
        Pohmel__ChangeResult result = POHMEL__CHANGE_RESULT__INIT;
        uint32_t status = ph_dispatch_change(ops, NULL, call, request->changes[i], &result);
        PROMISE(result.status == status);
        if (first == 0)
            first = status;
    }
    return first;
}

static uint32_t take_payload(struct ph_call *call, uint32_t len)
{
    const uint8_t *bytes = ph_call_take_payload(call, len);
    volatile uint8_t sum = 0; /* touches each byte, for the sanitizer to see */
    if (bytes == NULL)
        return PH_ST_MALFORMED;
    for (uint32_t i = 0; i < len; i++)
        sum = (uint8_t) (sum + bytes[i]);
    return PH_ST_UNSUPPORTED;
}

static uint32_t on_write(void *self, struct ph_call *call, const Pohmel__WriteRequest *request,
                         Pohmel__WriteResult *reply)
{
    return take_payload(call, request->length);
}

static uint32_t on_setxattr(void *self, struct ph_call *call, const Pohmel__SetxattrRequest *request,
                            Pohmel__AttrResult *reply)
{
    return take_payload(call, request->length);
}

/* All else is NULL: answered UNSUPPORTED when it was decoded and found valid. */
static const struct ph_store_ops store_ops = {.write = on_write, .setxattr = on_setxattr};
static const struct ph_session_ops session_ops = {.transact = on_transact};

/* What decodes and is valid must print, encode, and decode to the same bytes again. */
static void check_message(const struct ph_message_rule *rule, const uint8_t *bytes, size_t len)
{
    size_t cap = PH_ARENA_BASE_BYTES + PH_ARENA_FACTOR * len;
    struct ph_fault fault = {0};
    struct ph_arena *arena = ph_arena_new(cap);
    ProtobufCMessage *message = ph_decode(rule, bytes, len, arena, &fault);
    PROMISE(ph_arena_used(arena) <= cap);
    PROMISE((message == NULL) == (fault.status != 0));
    if (message != NULL) {
        char text[200];
        PROMISE(ph_print(message, rule, text, sizeof text) < sizeof text);
        PROMISE(strlen(text) < sizeof text);
        size_t size = ph_encoded_size(message);
        uint8_t *again = malloc(size + 1), *twice = malloc(size + 1);
        PROMISE(ph_encode(message, again) == size);
        struct ph_arena *second = ph_arena_new(2 * cap + PH_ARENA_FACTOR * size);
        ProtobufCMessage *copy = ph_decode(rule, again, size, second, NULL);
        PROMISE(copy != NULL && ph_encoded_size(copy) == size);
        ph_encode(copy, twice);
        PROMISE(memcmp(again, twice, size) == 0);
        ph_arena_free(second);
        free(again);
        free(twice);
    }
    ph_arena_free(arena);
}

static void run_request(const struct ph_frame *frame)
{
    const struct ph_dispatch dispatch = {
        .session_ops = &session_ops, .session = (void *) &store_ops, .store_ops = &store_ops};
    const struct ph_command_info *info = ph_command_info(frame->header.command);
    size_t cap = PH_ARENA_BASE_BYTES + PH_ARENA_FACTOR * (size_t) frame->header.message_len;
    struct ph_call call = {.arena = ph_arena_new(cap), .payload_in = frame->payload};
    ProtobufCMessage *reply = NULL;
    uint32_t status = ph_dispatch_request(&dispatch, frame->header.command, frame->message,
                                          frame->header.message_len, &call, &reply);
    PROMISE(ph_arena_used(call.arena) <= cap);
    PROMISE(status != 0); /* nothing here can succeed but an empty transaction, which is not allowed */
    PROMISE(info == NULL ? status == PH_ST_UNKNOWN_COMMAND : ph_command_may_answer(info, status));
    PROMISE(call.payload_out == NULL);
    ph_arena_free(call.arena);
}

static void run_frame(const struct ph_frame *frame, bool client)
{
    const struct ph_command_info *info = ph_command_info(frame->header.command);
    PROMISE(frame->header.message_len <= PH_MESSAGE_MAX_BYTES);
    PROMISE(frame->header.payload_len <= PH_PAYLOAD_MAX_BYTES);
    PROMISE((frame->payload == NULL) == (frame->header.payload_len == 0));
    if (frame->header.kind == PH_FRAME_CONTROL) {
        PROMISE(frame->header.command == PH_CONTROL_CANCEL);
        return;
    }
    PROMISE(client == (frame->header.kind != PH_FRAME_REQUEST));
    if (frame->header.kind == PH_FRAME_REQUEST)
        run_request(frame);
    if (info == NULL)
        return;
    check_message(frame->header.kind == PH_FRAME_REPLY ? info->reply : info->request, frame->message,
                  frame->header.message_len);
}

/* ---- The connection ------------------------------------------------------- */

/* What a proper peer says first, to OUT. Returns its length. */
static size_t greeting(enum ph_conn_role role, uint8_t *out)
{
    struct ph_conn *conn = ph_conn_new(role, &hello, 0);
    struct iovec iov;
    ph_conn_output(conn, &iov, 1);
    memcpy(out, iov.iov_base, iov.iov_len);
    ph_conn_free(conn);
    return iov.iov_len;
}

static size_t piece_size(uint8_t flags)
{
    static const size_t sizes[] = {SIZE_MAX, 1, 7, 4096};
    return sizes[(flags & PH_FUZZ_PIECES) >> 3];
}

static void run_frames(struct ph_conn *conn, bool client)
{
    struct ph_frame *frame;
    while ((frame = ph_conn_take(conn)) != NULL) {
        run_frame(frame, client);
        ph_frame_free(frame);
    }
}

static void feed(struct ph_conn *conn, const uint8_t *bytes, size_t len, uint8_t flags)
{
    struct ph_fault fault = {0};
    uint64_t now_ms = 0;
    size_t piece = piece_size(flags);
    while (len > 0 && !ph_conn_ended(conn)) {
        uint8_t *where;
        size_t space = ph_conn_space(conn, &where);
        PROMISE(space > 0);
        size_t count = len < space ? len : space;
        if (count > piece)
            count = piece;
        memcpy(where, bytes, count);
        uint32_t status = ph_conn_received(conn, count, now_ms, &fault);
        PROMISE(status == fault.status);
        PROMISE(status == 0 || (ph_conn_ended(conn) && fault.text[0] != '\0'));
        run_frames(conn, (flags & PH_FUZZ_CLIENT) != 0);
        bytes += count;
        len -= count;
    }
    uint8_t *where;
    PROMISE(ph_conn_ended(conn) == (ph_conn_space(conn, &where) == 0));
    /* Whatever came: in the end silence is the end, and says so. */
    bool had_ended = ph_conn_ended(conn);
    ph_conn_tick(conn, now_ms + PH_PING_TIMEOUT_MS, &fault);
    PROMISE(ph_conn_ended(conn));
    PROMISE(had_ended || fault.status != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    uint8_t flags = data[0];
    enum ph_conn_role own = (flags & PH_FUZZ_CLIENT) != 0 ? PH_CONN_CLIENT : PH_CONN_SERVER;
    enum ph_conn_role other = own == PH_CONN_CLIENT ? PH_CONN_SERVER : PH_CONN_CLIENT;
    size_t greeting_len = 0, len = size - 1;
    uint8_t *bytes = malloc(PH_BANNER_BYTES + PH_HELLO_MAX_BYTES + len);
    if (bytes == NULL)
        abort();
    if ((flags & PH_FUZZ_GREETED) != 0)
        greeting_len = greeting(other, bytes);
    memcpy(bytes + greeting_len, data + 1, len);
    if ((flags & PH_FUZZ_REPAIRED) != 0)
        repair(bytes + greeting_len, len);
    struct ph_conn *conn = ph_conn_new(own, &hello, 0);
    size_t own_greeting = ph_conn_output_bytes(conn);
    struct iovec iov;
    ph_conn_output(conn, &iov, 1); /* it is on its way */
    feed(conn, bytes, greeting_len + len, flags);
    /* A pong for each ping, a GOAWAY and a ping of ours: no more. */
    PROMISE(ph_conn_output_bytes(conn) <= own_greeting + len + 2 * PH_FRAME_HEADER_BYTES);
    ph_conn_free(conn);
    free(bytes);
    return 0;
}
