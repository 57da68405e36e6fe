/* Payload of a frame, cut up among the commands of a transaction. */
#include "runtime/wire/call.h"

#include <stddef.h>

#include "ph_commands.h"

uint64_t ph_change_payload(const Pohmel__Change *change)
{
    switch ((unsigned) change->command_case) {
    case PH_CMD_CREATE:
        return change->create->length;
    case PH_CMD_WRITE:
        return change->write->length;
    case PH_CMD_SETXATTR:
        return change->setxattr->length;
    default:
        return 0;
    }
}

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
