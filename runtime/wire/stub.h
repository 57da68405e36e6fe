/* What the generated client stubs (ph_stubs.h) stand on. */
#ifndef PH_WIRE_STUB_H
#define PH_WIRE_STUB_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>

#include "runtime/base/blob.h"

/* An answer. All of it is borrowed for the time of the callback; take a
 * reference of the payload to keep it. */
struct ph_reply {
    uint32_t status;                 /* enum ph_status */
    const ProtobufCMessage *message; /* NULL unless status is 0 */
    struct ph_blob *payload;         /* NULL for none */
    const char *text;                /* words behind a failure, "" for none */
    bool again; /* the request was sent again over another connection: it may have been executed before others
                 * whose answers came before */
};

/* Called exactly once for each request sent, on any thread, perhaps before
 * the send returns. */
typedef void (*ph_reply_fn)(void *data, const struct ph_reply *reply);

/* Where the stubs send through. */
struct ph_stub {
    /* Sends MESSAGE as COMMAND, with PAYLOAD behind it (borrowed; NULL for
     * none). Returns a ticket to cancel it by; 0 when FN was called already. */
    uint64_t (*send)(void *self, uint16_t command, const ProtobufCMessage *message, struct ph_blob *payload,
                     ph_reply_fn fn, void *data);
    void *self;
};

#endif
