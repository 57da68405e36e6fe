#include "server/core/peek.h"

#include "ph_commands.h"
#include "runtime/base/limits.h"
#include "runtime/wire/command.h"

/* Numbers of the fields that are looked at (idl/objects.proto, idl/session.proto, idl/changes.proto). */
enum {
    FIELD_READ_OBJECT = 2, /* of all requests that read; LOOKUP's is called parent */
    FIELD_READ_OFFSET = 4,
    FIELD_READ_LENGTH = 5,
    FIELD_OPEN_ACCESS = 4,
    FIELD_OPEN_REOPEN = 8,
    FIELD_TRANSACT_CHANGES = 1,
    FIELD_WRITE_STABLE = 8,
};

/* A bit of OPEN's access. */
enum { ACCESS_WRITE = 2 };

/* How protobuf lays a value out, the low bits of each tag. */
enum { LAYOUT_VARINT = 0, LAYOUT_64_BIT = 1, LAYOUT_BYTES = 2, LAYOUT_32_BIT = 5 };

struct cursor {
    const uint8_t *at, *end;
    /* The field read last. */
    uint64_t number, value; /* VALUE: of a varint, or the length of BYTES */
    unsigned layout;
    const uint8_t *bytes;
};

static bool read_varint(struct cursor *cursor, uint64_t *out)
{
    *out = 0;
    for (unsigned shift = 0; shift < 64 && cursor->at < cursor->end; shift += 7) {
        uint8_t byte = *cursor->at++;

        *out |= (uint64_t) (byte & 0x7f) << shift;
        if (byte < 0x80)
            return true;
    }
    return false;
}

static bool next_field(struct cursor *cursor)
{
    uint64_t tag, skip;

    if (!read_varint(cursor, &tag))
        return false;
    cursor->number = tag >> 3;
    cursor->layout = tag & 7;
    cursor->value = 0;
    switch (cursor->layout) {
    case LAYOUT_VARINT:
        return read_varint(cursor, &cursor->value);
    case LAYOUT_BYTES:
        if (!read_varint(cursor, &cursor->value))
            return false;
        skip = cursor->value;
        break;
    case LAYOUT_64_BIT:
        skip = 8;
        break;
    case LAYOUT_32_BIT:
        skip = 4;
        break;
    default:
        return false;
    }
    if (skip > (size_t) (cursor->end - cursor->at))
        return false;
    cursor->bytes = cursor->at;
    cursor->at += skip;
    return true;
}

/* Largest value that FIELD has in a message: a field may come twice, and which
 * one counts is the decoder's affair. */
static uint32_t largest(const uint8_t *message, size_t len, uint64_t field)
{
    struct cursor cursor = {.at = message, .end = message + len};
    uint32_t result = 0;

    while (next_field(&cursor)) {
        if (cursor.number == field && cursor.layout == LAYOUT_VARINT && (uint32_t) cursor.value > result)
            result = (uint32_t) cursor.value;
    }
    return result;
}

uint32_t ph_peek_wanted(uint16_t command, const uint8_t *message, size_t len)
{
    uint32_t wanted = command == PH_CMD_READ ? largest(message, len, FIELD_READ_LENGTH) : 0;

    return wanted < PH_PAYLOAD_MAX_BYTES ? wanted : PH_PAYLOAD_MAX_BYTES;
}

static bool slow_transaction(const uint8_t *message, size_t len)
{
    struct cursor changes = {.at = message, .end = message + len};
    struct cursor change;
    const struct ph_command_info *info;

    if (!next_field(&changes) || changes.number != FIELD_TRANSACT_CHANGES || changes.layout != LAYOUT_BYTES)
        return true;
    change = (struct cursor){.at = changes.bytes, .end = changes.bytes + changes.value};
    if (!next_field(&change) || change.layout != LAYOUT_BYTES || change.number > UINT16_MAX)
        return true;
    info = ph_command_info((uint16_t) change.number);
    /* Whatever follows the first command (others, or parts that were staged) is for a thread that may wait. */
    if (info == NULL || info->cost == PH_COST_DISK || changes.at != changes.end)
        return true;
    return change.number == PH_CMD_WRITE && largest(change.bytes, change.value, FIELD_WRITE_STABLE) != 0;
}

bool ph_peek_slow(uint16_t command, const uint8_t *message, size_t len)
{
    const struct ph_command_info *info = ph_command_info(command);

    if (info == NULL)
        return false;
    if (command == PH_CMD_TRANSACT)
        return slow_transaction(message, len);
    /* Closing waits for a disk only with the last handle of a file without names;
     * waking another thread for each close would cost every caller more. */
    if (command == PH_CMD_CLOSE)
        return false;
    return info->cost == PH_COST_DISK;
}

bool ph_peek_opens_to_write(uint16_t command, const uint8_t *message, size_t len)
{
    return command == PH_CMD_OPEN && (largest(message, len, FIELD_OPEN_ACCESS) & ACCESS_WRITE) != 0;
}

bool ph_peek_reopens(uint16_t command, const uint8_t *message, size_t len)
{
    return command == PH_CMD_OPEN && largest(message, len, FIELD_OPEN_REOPEN) != 0;
}

uint64_t ph_peek_read_object(uint16_t command, const uint8_t *message, size_t len)
{
    struct cursor cursor = {.at = message, .end = message + len};
    uint64_t object = 0;

    switch (command) {
    case PH_CMD_LOOKUP:
    case PH_CMD_GETATTR:
    case PH_CMD_READLINK:
    case PH_CMD_ACCESS:
    case PH_CMD_READDIR:
    case PH_CMD_OPEN:
    case PH_CMD_READ:
    case PH_CMD_SEEK:
    case PH_CMD_GETXATTR:
    case PH_CMD_LISTXATTR:
        break;
    default:
        return 0;
    }
    /* Of a field that comes twice the decoder takes the last. */
    while (next_field(&cursor)) {
        if (cursor.number == FIELD_READ_OBJECT && cursor.layout == LAYOUT_VARINT)
            object = cursor.value;
    }
    return object;
}

bool ph_peek_read_bytes(const uint8_t *message, size_t len, uint64_t *start, uint64_t *end)
{
    struct cursor cursor = {.at = message, .end = message + len};
    uint64_t length = 0;

    *start = 0;
    while (next_field(&cursor)) {
        if (cursor.layout != LAYOUT_VARINT)
            continue;
        if (cursor.number == FIELD_READ_OFFSET)
            *start = cursor.value;
        if (cursor.number == FIELD_READ_LENGTH)
            length = (uint32_t) cursor.value;
    }
    if (*start > INT64_MAX || length > INT64_MAX - *start)
        return false;
    *end = *start + length;
    return true;
}
