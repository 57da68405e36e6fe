/* Checks a decoded message against the rules of its fields, all the way down.
 * Messages do not contain themselves (the generator refuses that), so the
 * recursion is bounded by the schema. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ph_commands.h"
#include "runtime/wire/command.h"
#include "runtime/wire/reflect.h"

/* Where we are, as a chain on the stack: the path is only spelled out for a fault. */
struct place {
    const struct place *above;
    const char *message; /* of the outermost only */
    const char *field;
    size_t index;
    bool repeated;
};

static size_t place_text(const struct place *place, char *out, size_t size)
{
    size_t used = 0;
    if (place->above != NULL)
        used = place_text(place->above, out, size);
    if (used >= size - 1)
        return used;
    int count;
    if (place->field == NULL)
        count = snprintf(out + used, size - used, "%s", place->message);
    else if (place->repeated)
        count = snprintf(out + used, size - used, ".%s[%zu]", place->field, place->index);
    else
        count = snprintf(out + used, size - used, ".%s", place->field);
    return count < 0 ? used : used + (size_t) count;
}

__attribute__((format(printf, 3, 4))) static uint32_t bad(struct ph_fault *fault, const struct place *place,
                                                          const char *format, ...)
{
    char path[128], what[96];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    place_text(place, path, sizeof path);
    return ph_fault_set(fault, PH_ST_MALFORMED, "%s: %s", path, what);
}

static uint32_t check_integer(uint64_t value, const struct ph_field_rule *rule, const struct place *place,
                              struct ph_fault *fault)
{
    if (value < rule->min)
        return bad(fault, place, "%" PRIu64 " is below %" PRIu64, value, rule->min);
    if (value > rule->max)
        return bad(fault, place, "%" PRIu64 " is above %" PRIu64, value, rule->max);
    if (rule->bits != 0 && (value & ~rule->bits) != 0)
        return bad(fault, place, "0x%" PRIx64 " has bits besides 0x%" PRIx64, value, rule->bits);
    return 0;
}

static uint32_t check_bytes(const ProtobufCBinaryData *value, const struct ph_field_rule *rule,
                            const struct place *place, struct ph_fault *fault)
{
    bool name = rule->kind == PH_KIND_NAME;
    bool text = name || rule->kind == PH_KIND_XATTR_NAME || rule->kind == PH_KIND_TARGET;

    if (value->len < rule->min_len || (text && value->len == 0))
        return bad(fault, place, "%zu bytes are too few", value->len);
    if (value->len > rule->max_len)
        return bad(fault, place, "%zu bytes are more than %" PRIu32, value->len, rule->max_len);
    if (text && memchr(value->data, 0, value->len) != NULL)
        return bad(fault, place, "contains a NUL");
    if (!name)
        return 0;
    if (memchr(value->data, '/', value->len) != NULL)
        return bad(fault, place, "contains a '/'");
    if (value->data[0] == '.' && (value->len == 1 || (value->len == 2 && value->data[1] == '.')))
        return bad(fault, place, "\".\" and \"..\" are not names");
    return 0;
}

static uint32_t check_message(const ProtobufCMessage *message, const struct ph_message_rule *rule,
                              const struct place *above, struct ph_fault *fault);

/* One value, at VALUE in memory. */
static uint32_t check_value(const void *value, const ProtobufCFieldDescriptor *field,
                            const struct ph_field_rule *rule, const struct place *place,
                            struct ph_fault *fault)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_UINT32:
        return check_integer(*(const uint32_t *) value, rule, place, fault);
    case PROTOBUF_C_TYPE_UINT64:
        return check_integer(*(const uint64_t *) value, rule, place, fault);
    case PROTOBUF_C_TYPE_BYTES:
        return check_bytes(value, rule, place, fault);
    case PROTOBUF_C_TYPE_MESSAGE: {
        const ProtobufCMessage *message = *(const ProtobufCMessage *const *) value;
        if (message == NULL)
            return rule->required ? bad(fault, place, "is missing") : 0;
        return check_message(message, rule->message, place, fault);
    }
    default: /* flags and signed numbers have no limits */
        return 0;
    }
}

static uint32_t check_repeated(const uint8_t *base, const ProtobufCFieldDescriptor *field,
                               const struct ph_field_rule *rule, struct place *place, struct ph_fault *fault)
{
    size_t count = *(const size_t *) (base + field->quantifier_offset);
    if (count < rule->min_count)
        return bad(fault, place, "%zu are fewer than %" PRIu32, count, rule->min_count);
    if (count > rule->max_count)
        return bad(fault, place, "%zu are more than %" PRIu32, count, rule->max_count);
    const uint8_t *values = *(const uint8_t *const *) (base + field->offset);
    place->repeated = true;
    for (size_t i = 0; i < count; i++) {
        place->index = i;
        uint32_t status = check_value(values + i * ph_value_size(field->type), field, rule, place, fault);
        if (status != 0)
            return status;
    }
    return 0;
}

static uint32_t check_field(const uint8_t *base, const ProtobufCFieldDescriptor *field,
                            const struct ph_field_rule *rule, struct place *place, struct ph_fault *fault)
{
    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        return check_repeated(base, field, rule, place, fault);
    if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0) {
        uint32_t member = *(const uint32_t *) (base + field->quantifier_offset);
        if (member == 0 && rule->required)
            return bad(fault, place->above, "none of its members is set");
        if (member != field->id)
            return 0;
    }
    return check_value(base + field->offset, field, rule, place, fault);
}

static uint32_t check_message(const ProtobufCMessage *message, const struct ph_message_rule *rule,
                              const struct place *above, struct ph_fault *fault)
{
    const ProtobufCMessageDescriptor *descriptor = rule->descriptor;
    for (unsigned i = 0; i < message->n_unknown_fields; i++) {
        /* No field has this number; the decoder takes it when it is written in a roundabout way. */
        if (message->unknown_fields[i].tag == 0)
            return bad(fault, above, "has a field numbered 0");
    }
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        struct place place = {.above = above, .field = descriptor->fields[i].name};
        uint32_t status =
            check_field((const uint8_t *) message, &descriptor->fields[i], &rule->fields[i], &place, fault);
        if (status != 0)
            return status;
    }
    return 0;
}

uint32_t ph_validate(const ProtobufCMessage *message, const struct ph_message_rule *rule,
                     struct ph_fault *fault)
{
    struct place place = {.message = rule->descriptor->short_name};
    if (message->descriptor != rule->descriptor)
        return bad(fault, &place, "another message than expected");
    return check_message(message, rule, &place, fault);
}
