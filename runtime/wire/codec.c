/* Bytes to messages and back. The decoder of protobuf-c allocates as the peer
 * pleases; an arena with a cap bounds that. docs/protocol.md, section 2.3. */
#include <string.h>

#include "ph_commands.h"
#include "runtime/wire/command.h"

static void *arena_alloc(void *arena, size_t size)
{
    return ph_arena_alloc(arena, size);
}

/* Everything goes with the arena. */
static void arena_free(void *arena, void *pointer)
{
}

ProtobufCMessage *ph_decode(const struct ph_message_rule *rule, const uint8_t *bytes, size_t len,
                            struct ph_arena *arena, struct ph_fault *fault)
{
    static const uint8_t nothing;
    ProtobufCAllocator allocator = {.alloc = arena_alloc, .free = arena_free, .allocator_data = arena};
    ProtobufCMessage *message =
        protobuf_c_message_unpack(rule->descriptor, &allocator, len, bytes != NULL ? bytes : &nothing);
    if (message == NULL) {
        ph_fault_set(fault, PH_ST_MALFORMED,
                     "%s of %zu bytes: not a valid encoding, or too large when decoded",
                     rule->descriptor->short_name, len);
        return NULL;
    }
    if (ph_validate(message, rule, fault) != 0)
        return NULL;
    return message;
}

size_t ph_encoded_size(const ProtobufCMessage *message)
{
    return protobuf_c_message_get_packed_size(message);
}

size_t ph_encode(const ProtobufCMessage *message, uint8_t *out)
{
    return protobuf_c_message_pack(message, out);
}
