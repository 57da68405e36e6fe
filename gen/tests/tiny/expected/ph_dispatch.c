/* Generated from idl/ by gen/generate.py. Do not edit. */
#include "ph_dispatch.h"

uint32_t ph_dispatch_handler(const struct ph_dispatch *dispatch, uint16_t command, struct ph_call *call,
                             const ProtobufCMessage *request, ProtobufCMessage *reply)
{
    switch (command) {
    case PH_CMD_TRANSACT:
        if (dispatch->session_ops == NULL || dispatch->session_ops->transact == NULL)
            return PH_ST_UNSUPPORTED;
        return dispatch->session_ops->transact(dispatch->session, call, (const Pohmel__TransactRequest *) request, (Pohmel__TransactReply *) reply);
    case PH_CMD_FIND_IT:
        if (dispatch->store_ops == NULL || dispatch->store_ops->find_it == NULL)
            return PH_ST_UNSUPPORTED;
        return dispatch->store_ops->find_it(dispatch->store, call, (const Pohmel__FindRequest *) request, (Pohmel__FindReply *) reply);
    default:
        return PH_ST_UNSUPPORTED;
    }
}

bool ph_change_info(const Pohmel__Change *change, const struct ph_command_info **out)
{
    *out = ph_command_info((uint16_t) change->command_case);
    return *out != NULL;
}

uint32_t ph_change_handler(const struct ph_store_ops *ops, void *store, struct ph_call *call,
                           const Pohmel__Change *change, ProtobufCMessage *reply)
{
    switch ((int) change->command_case) {
    case PH_CMD_PUT:
        if (ops == NULL || ops->put == NULL)
            return PH_ST_UNSUPPORTED;
        return ops->put(store, call, change->put, (Pohmel__PutResult *) reply);
    default:
        return PH_ST_MALFORMED;
    }
}

void ph_change_result_set(Pohmel__ChangeResult *result, uint16_t command, ProtobufCMessage *reply)
{
    switch (command) {
    case PH_CMD_PUT:
        result->put = (Pohmel__PutResult *) reply;
        break;
    default:
        return;
    }
    result->result_case = (Pohmel__ChangeResult__ResultCase) command;
}
