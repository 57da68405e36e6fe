#include "conformance/fuzz/sample.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/base/limits.h"
#include "runtime/wire/reflect.h"

/* Repeated fields get so many elements more than they need. */
enum { EXTRA_COUNT = 2, EXTRA_LEN = 12 };

static void *take(struct ph_arena *arena, size_t count, size_t size)
{
    void *memory = ph_arena_alloc0(arena, count, size);
    if (memory == NULL)
        abort(); /* the samples' arena is made large enough */
    return memory;
}

static uint64_t sample_integer(const struct ph_field_rule *rule, uint64_t type_max, struct ph_random *random)
{
    uint64_t max = rule->max < type_max ? rule->max : type_max;
    uint64_t value;
    switch (ph_random_below(random, 4)) {
    case 0:
        value = rule->min;
        break;
    case 1:
        value = max;
        break;
    case 2:
        value = rule->min + ph_random_below(random, 100);
        break;
    default:
        value = ph_random_next(random);
    }
    if (rule->bits != 0)
        value &= rule->bits;
    if (value < rule->min || value > max)
        value = rule->min;
    return value;
}

static void sample_bytes(ProtobufCBinaryData *out, const struct ph_field_rule *rule, struct ph_random *random,
                         struct ph_arena *arena)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz";
    bool text =
        rule->kind == PH_KIND_NAME || rule->kind == PH_KIND_XATTR_NAME || rule->kind == PH_KIND_TARGET;
    uint32_t min = text && rule->min_len == 0 ? 1 : rule->min_len;
    uint32_t spread = rule->max_len - min < EXTRA_LEN ? rule->max_len - min : EXTRA_LEN;
    out->len = min + ph_random_below(random, spread + 1);
    if (ph_random_chance(random, 30))
        out->len = rule->max_len < PH_ARENA_BASE_BYTES ? rule->max_len : PH_ARENA_BASE_BYTES;
    out->data = take(arena, out->len, 1);
    for (size_t i = 0; i < out->len; i++)
        out->data[i] = text ? (uint8_t) letters[ph_random_below(random, sizeof letters - 1)]
                            : (uint8_t) ph_random_next(random);
}

/* One value, to VALUE in memory. */
static void sample_value(void *value, const ProtobufCFieldDescriptor *field, const struct ph_field_rule *rule,
                         struct ph_random *random, struct ph_arena *arena)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_UINT32:
        *(uint32_t *) value = (uint32_t) sample_integer(rule, UINT32_MAX, random);
        break;
    case PROTOBUF_C_TYPE_UINT64:
        *(uint64_t *) value = sample_integer(rule, UINT64_MAX, random);
        break;
    case PROTOBUF_C_TYPE_BYTES:
        sample_bytes(value, rule, random, arena);
        break;
    case PROTOBUF_C_TYPE_BOOL:
        *(protobuf_c_boolean *) value = (protobuf_c_boolean) ph_random_below(random, 2);
        break;
    case PROTOBUF_C_TYPE_SINT64:
        *(int64_t *) value = (int64_t) ph_random_next(random);
        break;
    case PROTOBUF_C_TYPE_MESSAGE:
        if (rule->required || ph_random_chance(random, 700))
            *(ProtobufCMessage **) value = ph_sample_message(rule->message, random, arena);
        break;
    default:
        abort(); /* a type that the schema did not use when this was written */
    }
}

static void sample_repeated(uint8_t *base, const ProtobufCFieldDescriptor *field,
                            const struct ph_field_rule *rule, struct ph_random *random,
                            struct ph_arena *arena)
{
    struct ph_field_rule element = *rule;
    size_t count = rule->min_count + ph_random_below(random, EXTRA_COUNT + 1);
    if (count > rule->max_count)
        count = rule->max_count;
    element.required = true; /* there are no holes in a list */
    uint8_t *values = take(arena, count, ph_value_size(field->type));
    for (size_t i = 0; i < count; i++)
        sample_value(values + i * ph_value_size(field->type), field, &element, random, arena);
    *(size_t *) (base + field->quantifier_offset) = count;
    *(uint8_t **) (base + field->offset) = values;
}

/* Whether FIELD is the member that its oneof gets: the choice is the same for
 * all of one oneof because it follows from CHOICE. */
static bool is_chosen(const ProtobufCMessageDescriptor *descriptor, const ProtobufCFieldDescriptor *field,
                      uint64_t choice)
{
    unsigned members = 0, place = 0;
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *other = &descriptor->fields[i];
        if ((other->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) == 0 ||
            other->quantifier_offset != field->quantifier_offset)
            continue;
        if (other == field)
            place = members;
        members++;
    }
    return choice % members == place;
}

ProtobufCMessage *ph_sample_message(const struct ph_message_rule *rule, struct ph_random *random,
                                    struct ph_arena *arena)
{
    const ProtobufCMessageDescriptor *descriptor = rule->descriptor;
    uint8_t *base = take(arena, 1, descriptor->sizeof_message);
    uint64_t choice = ph_random_next(random);
    protobuf_c_message_init(descriptor, base);
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &descriptor->fields[i];
        struct ph_field_rule field_rule = rule->fields[i];
        if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            sample_repeated(base, field, &field_rule, random, arena);
            continue;
        }
        if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0) {
            if (!is_chosen(descriptor, field, choice))
                continue;
            *(uint32_t *) (base + field->quantifier_offset) = field->id;
            field_rule.required = true;
        }
        sample_value(base + field->offset, field, &field_rule, random, arena);
    }
    return (ProtobufCMessage *) base;
}
