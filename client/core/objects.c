/* Which objects a request names, found by the generated rules. */
#include "client/core/request.h"
#include "ph_commands.h"
#include "runtime/base/limits.h"
#include "runtime/wire/command.h"

struct collector {
    uint64_t *objects;
    size_t count, max;
    const Pohmel__Caller *caller;
};

static void add(struct collector *collector, uint64_t object)
{
    if (object == 0)
        return;
    for (size_t i = 0; i < collector->count; i++) {
        if (collector->objects[i] == object)
            return;
    }
    if (collector->count < collector->max)
        collector->objects[collector->count++] = object;
}

static void collect(struct collector *collector, const ProtobufCMessage *message,
                    const struct ph_message_rule *rule);

static void collect_field(struct collector *collector, const ProtobufCMessage *message,
                          const ProtobufCFieldDescriptor *field, const struct ph_field_rule *rule)
{
    const uint8_t *base = (const uint8_t *) message;
    const void *member = base + field->offset;
    bool repeated = field->label == PROTOBUF_C_LABEL_REPEATED;
    size_t count = repeated ? *(const size_t *) (base + field->quantifier_offset) : 1;
    if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) &&
        *(const uint32_t *) (base + field->quantifier_offset) != field->id)
        return;
    if (rule->kind == PH_KIND_OBJECT_ID && !repeated) {
        add(collector, *(const uint64_t *) member);
        return;
    }
    if (field->type != PROTOBUF_C_TYPE_MESSAGE || !rule->message)
        return;
    const ProtobufCMessage *const *items =
        repeated ? *(const ProtobufCMessage *const *const *) member : member;
    for (size_t i = 0; i < count; i++) {
        if (!items[i])
            continue;
        if (rule->message == &ph_rule_caller)
            collector->caller = (const Pohmel__Caller *) items[i];
        else
            collect(collector, items[i], rule->message);
    }
}

/* Messages are never nested in themselves (the generator refuses), so this ends. */
static void collect(struct collector *collector, const ProtobufCMessage *message,
                    const struct ph_message_rule *rule)
{
    for (unsigned i = 0; i < rule->descriptor->n_fields; i++)
        collect_field(collector, message, &rule->descriptor->fields[i], &rule->fields[i]);
}

size_t ph_request_objects(const struct ph_client_request *request, struct ph_arena *arena, uint64_t *objects,
                          size_t max, const Pohmel__Caller **caller)
{
    const struct ph_command_info *info = ph_command_info(request->command);
    struct ph_fault fault = {0};
    struct collector collector = {.objects = objects, .max = max};
    *caller = NULL;
    if (!info || !info->request)
        return 0;
    ProtobufCMessage *message =
        ph_decode(info->request, request->message, request->message_len, arena, &fault);
    if (!message)
        return 0;
    collect(&collector, message, info->request);
    *caller = collector.caller;
    return collector.count;
}
