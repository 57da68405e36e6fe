/* What the generator knows of each command and message, as tables. The tables
 * are generated (ph_commands.c); the types stand here. */
#ifndef PH_WIRE_COMMAND_H
#define PH_WIRE_COMMAND_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/arena.h"
#include "runtime/base/blob.h"
#include "runtime/base/fault.h"

/* Meaning of a field; the same numbers as enum Kind in idl/options.proto. */
enum ph_kind {
    PH_KIND_PLAIN = 1,
    PH_KIND_NAME,
    PH_KIND_OPAQUE,
    PH_KIND_OBJECT_ID,
    PH_KIND_HANDLE,
    PH_KIND_SESSION_ID,
    PH_KIND_LEASE_ID,
    PH_KIND_EPOCH,
    PH_KIND_COOKIE,
    PH_KIND_VERSION,
    PH_KIND_TIME,
    PH_KIND_OWNER,
    PH_KIND_USER_ID,
    PH_KIND_XATTR_NAME,
    PH_KIND_TARGET,
};

/* Rules of one field, in the order of the message's descriptor. */
struct ph_field_rule {
    uint32_t number;
    enum ph_kind kind;
    bool required;
    uint32_t min_len, max_len;             /* bytes fields */
    uint32_t min_count, max_count;         /* repeated fields */
    uint64_t min, max;                     /* integers; max is UINT64_MAX where there is none */
    uint64_t bits;                         /* integers used as sets: bits defined; 0 where not a set */
    const struct ph_message_rule *message; /* sub-messages */
};

struct ph_message_rule {
    const ProtobufCMessageDescriptor *descriptor;
    const struct ph_field_rule *fields; /* descriptor->n_fields of them */
};

enum ph_effect { PH_EFFECT_READS = 1, PH_EFFECT_CHANGES, PH_EFFECT_CONTROLS };
enum ph_cost { PH_COST_QUICK = 1, PH_COST_DISK };
enum ph_layer { PH_LAYER_SESSION = 1, PH_LAYER_STORE, PH_LAYER_PEER };
enum ph_profile { PH_PROFILE_BASE = 1, PH_PROFILE_LOCKING, PH_PROFILE_CACHING, PH_PROFILE_EXTENDED };

struct ph_command_info {
    uint16_t number;
    const char *name;    /* "LOOKUP" */
    const char *section; /* of docs/protocol.md */
    enum ph_effect effect;
    enum ph_cost cost;
    enum ph_layer layer;
    enum ph_profile profile;
    uint8_t lease; /* LeaseNeed */
    bool event, reserved;
    uint32_t request_payload_max, reply_payload_max;
    const struct ph_message_rule *request, *reply;
    const uint32_t *errors; /* statuses it may answer, common ones included, ended by 0 */
};

/* The command of that number, or NULL. Generated. */
const struct ph_command_info *ph_command_info(uint16_t number);

/* All commands in order of their numbers; *COUNT of them. Generated. */
const struct ph_command_info *ph_commands(size_t *count);

/* Whether COMMAND may answer STATUS. */
bool ph_command_may_answer(const struct ph_command_info *command, uint32_t status);

/* Statuses. Generated from enum Status. */
const char *ph_status_name(uint32_t status); /* "NOT_FOUND", or "status 1234"-like for unknown ones */
const char *ph_status_text(uint32_t status); /* words for a person */
int ph_status_to_errno(uint32_t status);     /* positive errno; EIO for unknown ones; 0 for OK */
uint32_t ph_status_from_errno(int error);    /* IO_ERROR for those without a status */

/* Checks MESSAGE, decoded, against RULE and everything below it: lengths,
 * counts, ranges, names without '/' or NUL, required members, no unknown bits.
 * Unknown fields are allowed (section 2.3). Returns 0 or MALFORMED with the
 * field's path in FAULT. */
uint32_t ph_validate(const ProtobufCMessage *message, const struct ph_message_rule *rule,
                     struct ph_fault *fault);

/* Decodes LEN bytes as a message of RULE's type into ARENA and validates it.
 * NULL with FAULT filled in when it is malformed or the arena's cap is reached.
 * The message lives as long as the arena; it must not be freed. */
ProtobufCMessage *ph_decode(const struct ph_message_rule *rule, const uint8_t *bytes, size_t len,
                            struct ph_arena *arena, struct ph_fault *fault);

/* Encoded size of MESSAGE in bytes, and the encoding itself into OUT (that many bytes). */
size_t ph_encoded_size(const ProtobufCMessage *message);
size_t ph_encode(const ProtobufCMessage *message, uint8_t *out);

/* Appends MESSAGE as one line of text ("name:\"a\" object:17") to OUT, which holds
 * SIZE bytes, always ended by NUL, cut with "..." where it does not fit.
 * Returns the length. Bytes that are not printable are escaped. */
size_t ph_print(const ProtobufCMessage *message, const struct ph_message_rule *rule, char *out, size_t size);

#endif
