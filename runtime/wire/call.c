/* Payload of a frame, cut up among the commands of a transaction. */
#include "runtime/wire/call.h"

#include <stddef.h>

const uint8_t *ph_call_take_payload(struct ph_call *call, size_t len)
{
    static const uint8_t nothing;
    if (len == 0)
        return &nothing;
    if (call->payload_in == NULL || call->payload_used > call->payload_in->len ||
        len > call->payload_in->len - call->payload_used)
        return NULL;
    const uint8_t *start = call->payload_in->data + call->payload_used;
    call->payload_used += len;
    return start;
}
