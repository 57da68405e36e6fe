/* The frame header: 48 bytes, little endian. docs/protocol.md, section 2.
 *
 *  off len
 *    0   4  magic "PHM1"
 *    4   1  header length / 4 (12)
 *    5   1  kind
 *    6   1  flags
 *    7   1  traffic class
 *    8   2  command
 *   10   2  credits: asked for (request), given back (reply)
 *   12   4  status (reply)
 *   16   8  id: chosen by the requester, unique among its requests in flight
 *   24   4  slot of a transaction, PH_NO_SLOT otherwise
 *   28   4  sequence number within the slot
 *   32   4  message length
 *   36   4  payload length
 *   40   4  CRC-32C of message and payload
 *   44   4  CRC-32C of bytes 0 to 43
 *
 * Replies. Status 0: the message is the command's reply. Any other status: the
 * message is empty (but a TRANSACT whose commands were run always carries its
 * TransactReply), and the payload holds words for a person: UTF-8, no NUL,
 * at most PH_FAULT_TEXT_MAX_BYTES, none where there is nothing to add.
 *
 * Credits. A request costs ph_credit_cost(payload_len, wanted), wanted being
 * `length` for READ and 0 for all else; its reply gives back exactly that.
 *
 * Slots. The first transaction of a slot in a session has sequence number 1, each
 * further one the number before plus 1 (0 follows 2^32 - 1). All else has
 * slot PH_NO_SLOT and sequence 0.
 */
#ifndef PH_WIRE_FRAME_H
#define PH_WIRE_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/blob.h"
#include "runtime/base/fault.h"
#include "runtime/base/limits.h"

enum ph_frame_kind {
    PH_FRAME_REQUEST = 1,
    PH_FRAME_REPLY = 2,
    PH_FRAME_EVENT = 3,
    PH_FRAME_CONTROL = 4, /* `command` is an enum ph_control */
};

enum ph_control {
    PH_CONTROL_PING = 1, /* answered by PONG with the same id */
    PH_CONTROL_PONG = 2,
    PH_CONTROL_CANCEL = 3, /* id: the request that need not wait any longer */
    PH_CONTROL_GOAWAY = 4, /* status says why; the sender closes */
};

enum ph_frame_flag {
    PH_FLAG_RETRY = 1 << 0, /* sent before, with the same slot and sequence number */
};

/* Which traffic goes first and may use the reserved credits. */
enum ph_traffic_class {
    PH_CLASS_NORMAL = 0,
    PH_CLASS_RELEASE = 1, /* releases, flushes that a recall waits for, renewals */
};

#define PH_NO_SLOT UINT32_MAX

struct ph_frame_header {
    uint8_t kind, flags, traffic_class;
    uint16_t command, credits;
    uint32_t status;
    uint64_t id;
    uint32_t slot, sequence;
    uint32_t message_len, payload_len;
    uint32_t body_crc;
};

/* A whole frame as received. Owned by who took it; see ph_frame_free. */
struct ph_frame {
    struct ph_frame_header header;
    struct ph_blob *payload; /* NULL when payload_len is 0 */
    uint8_t message[];       /* header.message_len bytes */
};

/* Frees FRAME and its reference to the payload. NULL is fine. */
void ph_frame_free(struct ph_frame *frame);

/* Writes HEADER, with both checksums in place, into OUT. body_crc is taken as it stands. */
void ph_frame_header_encode(const struct ph_frame_header *header, uint8_t out[PH_FRAME_HEADER_BYTES]);

/* Reads and verifies a header: magic, length, checksum, known kind and flags,
 * message and payload within MESSAGE_MAX and PAYLOAD_MAX. Nothing of OUT is
 * touched on failure. Returns 0 or the status in FAULT. R-2.2-*. */
uint32_t ph_frame_header_decode(const uint8_t in[PH_FRAME_HEADER_BYTES], uint32_t message_max,
                                uint32_t payload_max, struct ph_frame_header *out, struct ph_fault *fault);

/* CRC-32C (Castagnoli) of LEN bytes, continuing from CRC (0 to start). Uses the
 * processor's instruction where there is one. RFC 3720, appendix B.4. */
uint32_t ph_crc32c(uint32_t crc, const void *bytes, size_t len);

/* The same without the instruction: what other processors run, and its check. */
uint32_t ph_crc32c_tables(uint32_t crc, const void *bytes, size_t len);

#endif
