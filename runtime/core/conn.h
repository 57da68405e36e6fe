/* One end of a connection, pure: bytes in, frames out; frames in, bytes out.
 * Banner, hello and keep-alive happen in here. docs/protocol.md, sections 2 and 3.
 * Not thread safe; the shell around it holds a lock. */
#ifndef PH_CORE_CONN_H
#define PH_CORE_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "runtime/base/blob.h"
#include "runtime/base/fault.h"
#include "runtime/wire/frame.h"

enum ph_conn_role { PH_CONN_CLIENT, PH_CONN_SERVER };

/* Features, docs/protocol.md section 3.2. */
enum ph_feature {
    PH_FEATURE_LOCKS = 1 << 0,
    PH_FEATURE_XATTRS = 1 << 1,
    PH_FEATURE_TREES = 1 << 2,  /* MKPATH, RMTREE */
    PH_FEATURE_LEASES = 1 << 3, /* not in this version */
};

struct ph_hello {
    uint64_t features, features_required;
    uint32_t message_max, payload_max;
    char implementation[65];
    uint32_t refusal;
};

struct ph_conn;

/* New end; the banner and hello of OWN are queued as output at once.
 * NOW_MS is of a monotonic clock, as everywhere below. */
struct ph_conn *ph_conn_new(enum ph_conn_role role, const struct ph_hello *own, uint64_t now_ms);
void ph_conn_free(struct ph_conn *conn);

/* Where the next bytes from the peer go; returns how many fit (never 0 while
 * the connection is sound). Large payloads land in their blob at once. */
size_t ph_conn_space(struct ph_conn *conn, uint8_t **where);

/* COUNT bytes were put there. Returns 0, or a status: the connection is at its
 * end, FAULT says why, and a GOAWAY for the peer was queued where that is due. */
uint32_t ph_conn_received(struct ph_conn *conn, size_t count, uint64_t now_ms, struct ph_fault *fault);

/* From now on frames with more than MESSAGE_MAX bytes of message or PAYLOAD_MAX
 * bytes of payload are wrong headers (R-2.4-3); never more than our hello said.
 * A frame whose header has come is not affected. Section 3.1. */
void ph_conn_limit(struct ph_conn *conn, uint32_t message_max, uint32_t payload_max);

/* The next whole frame (owned by the caller), or NULL. Pings and pongs are dealt with inside. */
struct ph_frame *ph_conn_take(struct ph_conn *conn);

/* Both hellos were exchanged and fit (true to the end of the connection and
 * beyond); ph_conn_peer is then filled in and no longer changes. */
bool ph_conn_ready(const struct ph_conn *conn);
const struct ph_hello *ph_conn_peer(const struct ph_conn *conn);

/* Nothing more is read: after a fault, or (without one) after the peer's GOAWAY
 * with status 0, its goodbye. Frames that came before can still be taken. */
bool ph_conn_ended(const struct ph_conn *conn);

/* Queues a frame: lengths and checksums of HEADER are filled in here. MESSAGE
 * is copied; of PAYLOAD (NULL for none) a reference is taken, its len must not
 * change any more. Both must be within the limits of ph_conn_peer. Dropped
 * after a GOAWAY of ours. */
void ph_conn_send(struct ph_conn *conn, const struct ph_frame_header *header, const uint8_t *message,
                  size_t message_len, struct ph_blob *payload);

/* Queues GOAWAY with STATUS; nothing can be sent after it. */
void ph_conn_goaway(struct ph_conn *conn, uint32_t status);

/* Output waiting: fills up to MAX of IOV, returns how many; bytes in all. */
int ph_conn_output(struct ph_conn *conn, struct iovec *iov, int max);
size_t ph_conn_output_bytes(const struct ph_conn *conn);

/* COUNT bytes of the output were written. */
void ph_conn_sent(struct ph_conn *conn, size_t count);

/* While HOLD, the caller reads nothing on purpose, and the peer's silence is
 * not held against it. */
void ph_conn_hold(struct ph_conn *conn, bool hold, uint64_t now_ms);

/* When ph_conn_tick wants to be called next (monotonic ms); UINT64_MAX for never. */
uint64_t ph_conn_deadline(const struct ph_conn *conn);

/* Time passed: pings, timeouts. Returns 0, or a status with FAULT: the end. */
uint32_t ph_conn_tick(struct ph_conn *conn, uint64_t now_ms, struct ph_fault *fault);

#endif
