/* Two ends of a connection driven against each other by hand, for tests. */
#ifndef PH_CORE_TESTS_CONN_PAIR_H
#define PH_CORE_TESTS_CONN_PAIR_H

#include <glib.h>
#include <string.h>

#include "ph_commands.h"
#include "runtime/base/limits.h"
#include "runtime/base/random.h"
#include "runtime/core/conn.h"

#define START_MS 1000

static const struct ph_hello hello = {
    .features = PH_FEATURE_LOCKS | PH_FEATURE_XATTRS,
    .message_max = PH_MESSAGE_MAX_BYTES,
    .payload_max = PH_PAYLOAD_MAX_BYTES,
    .implementation = "test 1.0",
};

/* Takes all that CONN has to say, PIECE bytes at a time as a socket might. */
static inline GByteArray *drain(struct ph_conn *conn, size_t piece)
{
    GByteArray *bytes = g_byte_array_new();
    struct iovec iov[3];
    int count;
    while ((count = ph_conn_output(conn, iov, 3)) > 0) {
        size_t taken = 0;
        for (int i = 0; i < count && taken < piece; i++) {
            size_t len = MIN(iov[i].iov_len, piece - taken);
            g_byte_array_append(bytes, iov[i].iov_base, (guint) len);
            taken += len;
        }
        ph_conn_sent(conn, taken);
    }
    g_assert_cmpuint(ph_conn_output_bytes(conn), ==, 0);
    return bytes;
}

/* Gives LEN bytes to CONN, PIECE at a time. Returns the first failure. */
static inline uint32_t feed(struct ph_conn *conn, const uint8_t *bytes, size_t len, size_t piece,
                            struct ph_fault *fault)
{
    while (len > 0) {
        uint8_t *where;
        size_t space = ph_conn_space(conn, &where);
        if (space == 0)
            break;
        size_t count = MIN(MIN(space, len), piece);
        memcpy(where, bytes, count);
        uint32_t status = ph_conn_received(conn, count, START_MS, fault);
        if (status != 0)
            return status;
        bytes += count;
        len -= count;
    }
    return 0;
}

static inline uint32_t pass(struct ph_conn *from, struct ph_conn *to, struct ph_fault *fault)
{
    g_autoptr(GByteArray) bytes = drain(from, SIZE_MAX);
    return feed(to, bytes->data, bytes->len, SIZE_MAX, fault);
}

struct pair {
    struct ph_conn *client, *server;
};

static inline void pair_start(struct pair *pair, const struct ph_hello *client, const struct ph_hello *server)
{
    pair->client = ph_conn_new(PH_CONN_CLIENT, client, START_MS);
    pair->server = ph_conn_new(PH_CONN_SERVER, server, START_MS);
}

static inline void pair_open(struct pair *pair)
{
    pair_start(pair, &hello, &hello);
    g_assert_cmpuint(pass(pair->client, pair->server, NULL), ==, 0);
    g_assert_cmpuint(pass(pair->server, pair->client, NULL), ==, 0);
    g_assert_true(ph_conn_ready(pair->client) && ph_conn_ready(pair->server));
}

static inline void pair_end(struct pair *pair)
{
    ph_conn_free(pair->client);
    ph_conn_free(pair->server);
}

static inline struct ph_blob *blob_of(size_t len, uint64_t seed)
{
    struct ph_random random;
    struct ph_blob *blob = ph_blob_new(len);
    ph_random_seed(&random, seed);
    ph_random_bytes(&random, blob->data, len);
    blob->len = len;
    return blob;
}

/* Sends a frame of KIND with the message and payload that ID stands for. */
static inline void send_frame(struct ph_conn *conn, uint8_t kind, uint64_t id, size_t message_len,
                              size_t payload_len)
{
    struct ph_frame_header header = {.kind = kind, .command = PH_CMD_LOOKUP, .id = id, .slot = PH_NO_SLOT};
    struct ph_blob *message = blob_of(message_len, id), *payload = NULL;
    if (payload_len > 0)
        payload = blob_of(payload_len, id + 1000);
    ph_conn_send(conn, &header, message->data, message_len, payload);
    ph_blob_unref(message);
    ph_blob_unref(payload);
}

static inline void check_frame(struct ph_frame *frame, uint64_t id, size_t message_len, size_t payload_len)
{
    g_assert_nonnull(frame);
    struct ph_blob *message = blob_of(message_len, id), *payload = blob_of(payload_len, id + 1000);
    g_assert_cmpuint(frame->header.id, ==, id);
    g_assert_cmpmem(frame->message, frame->header.message_len, message->data, message_len);
    g_assert_cmpuint(frame->header.payload_len, ==, payload_len);
    if (payload_len > 0)
        g_assert_cmpmem(frame->payload->data, frame->payload->len, payload->data, payload_len);
    else
        g_assert_null(frame->payload);
    ph_blob_unref(message);
    ph_blob_unref(payload);
    ph_frame_free(frame);
}

#endif
