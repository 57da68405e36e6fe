/* One message as one line of text, for logs and traces. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "ph_commands.h"
#include "ph_protocol.h"
#include "runtime/wire/command.h"
#include "runtime/wire/reflect.h"

struct text {
    char *out;
    size_t size, used;
    bool cut;
};

__attribute__((format(printf, 2, 3))) static void put(struct text *text, const char *format, ...)
{
    if (text->cut)
        return;
    va_list arguments;
    va_start(arguments, format);
    int count = vsnprintf(text->out + text->used, text->size - text->used, format, arguments);
    va_end(arguments);
    if (count < 0 || (size_t) count >= text->size - text->used) {
        text->cut = true;
        text->used = text->size - 1;
        text->out[text->used] = '\0';
        return;
    }
    text->used += (size_t) count;
}

static void put_bytes(struct text *text, const ProtobufCBinaryData *bytes)
{
    put(text, "\"");
    for (size_t i = 0; i < bytes->len && !text->cut; i++) {
        uint8_t byte = bytes->data[i];
        if (byte == '"' || byte == '\\')
            put(text, "\\%c", byte);
        else if (byte >= 0x20 && byte < 0x7f)
            put(text, "%c", byte);
        else
            put(text, "\\x%02x", byte);
    }
    put(text, "\"");
}

static void put_message(struct text *text, const ProtobufCMessage *message,
                        const struct ph_message_rule *rule);

/* Times read as "2025-03-01T12:00:00.000000042Z". */
static bool put_time(struct text *text, const ProtobufCMessage *message)
{
    if (message->descriptor != ph_rule_time.descriptor)
        return false;
    const Pohmel__Time *moment = (const Pohmel__Time *) message;
    char words[40];
    time_t seconds = (time_t) moment->seconds;
    struct tm broken;
    if (gmtime_r(&seconds, &broken) == NULL ||
        strftime(words, sizeof words, "%Y-%m-%dT%H:%M:%S", &broken) == 0)
        return false;
    put(text, "%s.%09" PRIu32 "Z", words, moment->nanoseconds);
    return true;
}

static void put_value(struct text *text, const void *value, const ProtobufCFieldDescriptor *field,
                      const struct ph_field_rule *rule)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_UINT64: {
        uint64_t number = *(const uint64_t *) value;
        bool opaque = rule->kind == PH_KIND_COOKIE || rule->kind == PH_KIND_OWNER || rule->bits != 0;
        if (opaque)
            put(text, "0x%" PRIx64, number);
        else
            put(text, "%" PRIu64, number);
        break;
    }
    case PROTOBUF_C_TYPE_UINT32: {
        uint32_t number = *(const uint32_t *) value;
        if (rule->bits != 0)
            put(text, "0x%" PRIx32, number);
        else
            put(text, "%" PRIu32, number);
        break;
    }
    case PROTOBUF_C_TYPE_SINT64:
        put(text, "%" PRId64, *(const int64_t *) value);
        break;
    case PROTOBUF_C_TYPE_SINT32:
        put(text, "%" PRId32, *(const int32_t *) value);
        break;
    case PROTOBUF_C_TYPE_BOOL:
        put(text, "%s", *(const protobuf_c_boolean *) value ? "yes" : "no");
        break;
    case PROTOBUF_C_TYPE_BYTES:
        put_bytes(text, value);
        break;
    case PROTOBUF_C_TYPE_MESSAGE: {
        const ProtobufCMessage *message = *(const ProtobufCMessage *const *) value;
        if (put_time(text, message))
            break;
        put(text, "{");
        put_message(text, message, rule->message);
        put(text, "}");
        break;
    }
    default:
        put(text, "?");
    }
}

/* Whether a single field holds anything but its default, which is not on the wire either. */
static bool is_set(const uint8_t *base, const ProtobufCFieldDescriptor *field)
{
    if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0 &&
        *(const uint32_t *) (base + field->quantifier_offset) != field->id)
        return false;
    static const uint8_t zero[sizeof(uint64_t)];
    const void *value = base + field->offset;
    if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        return *(const ProtobufCMessage *const *) value != NULL;
    if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0)
        return true;
    if (field->type == PROTOBUF_C_TYPE_BYTES)
        return ((const ProtobufCBinaryData *) value)->len > 0;
    return memcmp(value, zero, ph_value_size(field->type)) != 0;
}

static void put_repeated(struct text *text, const uint8_t *base, const ProtobufCFieldDescriptor *field,
                         const struct ph_field_rule *rule)
{
    size_t count = *(const size_t *) (base + field->quantifier_offset);
    const uint8_t *values = *(const uint8_t *const *) (base + field->offset);
    put(text, "[");
    for (size_t i = 0; i < count && !text->cut; i++) {
        put(text, "%s", i > 0 ? " " : "");
        put_value(text, values + i * ph_value_size(field->type), field, rule);
    }
    put(text, "]");
}

static void put_message(struct text *text, const ProtobufCMessage *message,
                        const struct ph_message_rule *rule)
{
    const uint8_t *base = (const uint8_t *) message;
    const char *gap = "";
    for (unsigned i = 0; i < rule->descriptor->n_fields && !text->cut; i++) {
        const ProtobufCFieldDescriptor *field = &rule->descriptor->fields[i];
        bool repeated = field->label == PROTOBUF_C_LABEL_REPEATED;
        if (repeated ? *(const size_t *) (base + field->quantifier_offset) == 0 : !is_set(base, field))
            continue;
        put(text, "%s%s:", gap, field->name);
        gap = " ";
        if (repeated)
            put_repeated(text, base, field, &rule->fields[i]);
        else
            put_value(text, base + field->offset, field, &rule->fields[i]);
    }
}

size_t ph_print(const ProtobufCMessage *message, const struct ph_message_rule *rule, char *out, size_t size)
{
    if (size == 0)
        return 0;
    struct text text = {.out = out, .size = size};
    out[0] = '\0';
    if (message->descriptor == rule->descriptor)
        put_message(&text, message, rule);
    if (text.cut) {
        size_t dots = size - 1 < 3 ? size - 1 : 3;
        memset(out + size - 1 - dots, '.', dots);
    }
    return text.used;
}
