/* Generated from idl/ by gen/generate.py. Do not edit. */
#include "ph_stubs.h"

static const ProtobufCMessage *message_of(const struct ph_reply *reply, const struct ph_message_rule *rule)
{
    if (reply->status != PH_ST_OK || reply->message == NULL || reply->message->descriptor != rule->descriptor)
        return NULL;
    return reply->message;
}

static const Pohmel__ChangeResult *result_of(const struct ph_reply *reply)
{
    const Pohmel__TransactReply *message = (const Pohmel__TransactReply *) message_of(reply, &ph_rule_transact_reply);
    if (message == NULL || message->n_results != 1 || message->results[0]->status != PH_ST_OK)
        return NULL;
    return message->results[0];
}

static uint64_t send_change(const struct ph_stub *stub, Pohmel__Change *change, struct ph_blob *payload,
                            ph_reply_fn fn, void *data)
{
    Pohmel__TransactRequest request = POHMEL__TRANSACT_REQUEST__INIT;
    request.n_changes = 1;
    request.changes = &change;
    return stub->send(stub->self, PH_CMD_TRANSACT, &request.base, payload, fn, data);
}

uint64_t ph_send_transact(const struct ph_stub *stub, const Pohmel__TransactRequest *request,
    struct ph_blob *payload, ph_reply_fn fn, void *data)
{
    return stub->send(stub->self, PH_CMD_TRANSACT, &request->base, payload, fn, data);
}

const Pohmel__TransactReply *ph_reply_transact(const struct ph_reply *reply)
{
    return (const Pohmel__TransactReply *) message_of(reply, &ph_rule_transact_reply);
}

uint64_t ph_send_find_it(const struct ph_stub *stub, const Pohmel__FindRequest *request,
    struct ph_blob *payload, ph_reply_fn fn, void *data)
{
    return stub->send(stub->self, PH_CMD_FIND_IT, &request->base, payload, fn, data);
}

const Pohmel__FindReply *ph_reply_find_it(const struct ph_reply *reply)
{
    return (const Pohmel__FindReply *) message_of(reply, &ph_rule_find_reply);
}

uint64_t ph_send_put(const struct ph_stub *stub, const Pohmel__PutRequest *request,
    struct ph_blob *payload, ph_reply_fn fn, void *data)
{
    Pohmel__Change change = POHMEL__CHANGE__INIT;
    change.command_case = POHMEL__CHANGE__COMMAND_PUT;
    change.put = (Pohmel__PutRequest *) request;
    return send_change(stub, &change, payload, fn, data);
}

const Pohmel__PutResult *ph_reply_put(const struct ph_reply *reply)
{
    const Pohmel__ChangeResult *result = result_of(reply);
    if (result == NULL || result->result_case != POHMEL__CHANGE_RESULT__RESULT_PUT)
        return NULL;
    return result->put;
}

