/* One command as a server executes it. The generated dispatcher
 * (ph_dispatch.h) decodes, validates, calls the handler and leaves the reply
 * here; handlers do only the deed. */
#ifndef PH_WIRE_CALL_H
#define PH_WIRE_CALL_H

#include <stdbool.h>
#include <stdint.h>

#include "ph_protocol.h"
#include "runtime/base/arena.h"
#include "runtime/base/blob.h"
#include "runtime/base/fault.h"

struct ph_staged; /* server/store/store.h */

struct ph_call {
    uint64_t session; /* server-wide number of the session, 0 before it is open */
    const uint8_t
        *client; /* 16 bytes that name the client for as long as it lives; NULL where nobody knows */
    /* Of a transaction in a slot: the session's number as its client knows it, slot and sequence number, and
     * checksum of the request. */
    bool in_slot;
    uint64_t session_number;
    uint32_t slot, sequence, request_crc;
    void *record;             /* of the store, while it executes the transaction */
    struct ph_staged *staged; /* parts that come before the commands of the transaction; NULL for none */
    bool write_back; /* the session makes changes in its cache: attributes are to tell whether they are plain
                      */
    void *context;   /* of the session layer; the store never looks at it */
    struct ph_arena *arena;      /* decoded request and everything in the reply live here */
    struct ph_blob *payload_in;  /* borrowed; NULL for none */
    size_t payload_used;         /* bytes that earlier commands of the transaction took */
    struct ph_blob *payload_out; /* owned: set by a handler, sent behind the reply */
    struct ph_fault fault;       /* words behind a status, for the log and the peer */
};

/* Answer of a handler that will answer later (locks). Never on the wire. */
#define PH_PENDING UINT32_MAX

/* Takes LEN bytes of the payload for one command of a transaction: their
 * start, or NULL when fewer are left (answer MALFORMED then). */
const uint8_t *ph_call_take_payload(struct ph_call *call, size_t len);

/* Bytes of its transaction's payload that CHANGE says are its own (docs/protocol.md, 5.1); 0 for most. */
uint64_t ph_change_payload(const Pohmel__Change *change);

#endif
