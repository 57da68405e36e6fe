/* The way of a command to its handler: known, decoded, valid, within its
 * limits; and of its answer back: one that the command may give. The switches
 * over the commands themselves are generated (ph_dispatch.c). */
#include "ph_dispatch.h"

#include <stdio.h>
#include <string.h>

static ProtobufCMessage *reply_new(const struct ph_command_info *command, struct ph_call *call)
{
    const ProtobufCMessageDescriptor *descriptor = command->reply->descriptor;
    ProtobufCMessage *reply = ph_arena_alloc(call->arena, descriptor->sizeof_message);
    if (reply == NULL) {
        ph_fault_set(&call->fault, PH_ST_NO_MEMORY, "%s: no room left for the reply", command->name);
        return NULL;
    }
    protobuf_c_message_init(descriptor, reply);
    return reply;
}

/* Replaces what FAULT says; the words so far stay as the reason. */
static uint32_t fault_replace(struct ph_fault *fault, const char *command, const char *problem,
                              const char *detail)
{
    struct ph_fault before = *fault;
    fault->status = PH_ST_OK;
    fault->text[0] = '\0';
    return ph_fault_set(fault, PH_ST_IO_ERROR, "%s: %s %s%s%s", command, problem, detail,
                        before.text[0] != '\0' ? ": " : "", before.text);
}

/* What the handler answered, made into one of the answers that the command may give. */
static uint32_t answer_check(const struct ph_command_info *command, struct ph_call *call, uint32_t status)
{
    if (status == PH_PENDING)
        return status;
    if (!ph_command_may_answer(command, status))
        return fault_replace(&call->fault, command->name, "the server has no answer for",
                             ph_status_name(status));
    if (status == PH_ST_OK && call->payload_out != NULL &&
        call->payload_out->len > command->reply_payload_max) {
        char size[32];
        snprintf(size, sizeof size, "%zu bytes", call->payload_out->len);
        return fault_replace(&call->fault, command->name, "the reply's payload is too large:", size);
    }
    if (status != PH_ST_OK && call->fault.status == PH_ST_OK)
        ph_fault_set(&call->fault, status, "%s: %s", command->name, ph_status_text(status));
    return status;
}

static void payload_drop(struct ph_call *call)
{
    ph_blob_unref(call->payload_out);
    call->payload_out = NULL;
}

/* A transaction that failed tells the result of each of its commands. */
static bool reply_counts(const struct ph_command_info *command, uint32_t status,
                         const ProtobufCMessage *reply)
{
    if (status == PH_ST_OK)
        return true;
    return status != PH_PENDING && command->number == PH_CMD_TRANSACT &&
           ((const Pohmel__TransactReply *) reply)->n_results > 0;
}

uint32_t ph_dispatch_message(const struct ph_dispatch *dispatch, const struct ph_command_info *command,
                             const ProtobufCMessage *request, struct ph_call *call, ProtobufCMessage **reply)
{
    *reply = NULL;
    ProtobufCMessage *built = reply_new(command, call);
    if (built == NULL)
        return PH_ST_NO_MEMORY;
    uint32_t status =
        answer_check(command, call, ph_dispatch_handler(dispatch, command->number, call, request, built));
    if (status != PH_ST_OK && status != PH_PENDING)
        payload_drop(call);
    if (reply_counts(command, status, built))
        *reply = built;
    return status;
}

uint32_t ph_dispatch_request(const struct ph_dispatch *dispatch, uint16_t number, const uint8_t *message,
                             size_t len, struct ph_call *call, ProtobufCMessage **reply)
{
    *reply = NULL;
    const struct ph_command_info *command = ph_command_info(number);
    if (command == NULL)
        return ph_fault_set(&call->fault, PH_ST_UNKNOWN_COMMAND, "command %u is not known", number);
    if (command->layer == PH_LAYER_PEER)
        return ph_fault_set(&call->fault, PH_ST_WRONG_STATE, "%s is for the other side to send",
                            command->name);
    if (command->effect == PH_EFFECT_CHANGES)
        return ph_fault_set(&call->fault, PH_ST_WRONG_STATE, "%s was sent outside a transaction",
                            command->name);
    if (call->payload_in != NULL && call->payload_in->len > command->request_payload_max)
        return ph_fault_set(&call->fault, PH_ST_MALFORMED, "%s: payload of %zu bytes where %u are allowed",
                            command->name, call->payload_in->len, command->request_payload_max);
    const ProtobufCMessage *request = ph_decode(command->request, message, len, call->arena, &call->fault);
    if (request == NULL)
        return PH_ST_MALFORMED;
    return ph_dispatch_message(dispatch, command, request, call, reply);
}

uint32_t ph_dispatch_change(const struct ph_store_ops *ops, void *store, struct ph_call *call,
                            const Pohmel__Change *change, Pohmel__ChangeResult *result)
{
    const struct ph_command_info *command;
    if (!ph_change_info(change, &command)) {
        result->status = ph_fault_set(&call->fault, PH_ST_MALFORMED, "a change without a command");
        return result->status;
    }
    ProtobufCMessage *reply = reply_new(command, call);
    if (reply == NULL) {
        result->status = PH_ST_NO_MEMORY;
        return result->status;
    }
    result->status = answer_check(command, call, ph_change_handler(ops, store, call, change, reply));
    if (result->status == PH_ST_OK)
        ph_change_result_set(result, command->number, reply);
    return result->status;
}
