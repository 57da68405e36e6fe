/* Generated from idl/ by gen/generate.py. Do not edit. */
#ifndef PH_DISPATCH_H
#define PH_DISPATCH_H

#include "ph_commands.h"
#include "ph_protocol.h"
#include "runtime/wire/call.h"

/* Commands of the session layer. Handlers return a status; NULL is answered UNSUPPORTED.
 * REPLY is initialised; what it points to is allocated in call->arena. */
struct ph_session_ops {
    /* Runs changes. */
    uint32_t (*transact)(void *self, struct ph_call *call, const Pohmel__TransactRequest *request, Pohmel__TransactReply *reply);
};

/* Commands of the store. */
struct ph_store_ops {
    /* Finds a thing. */
    uint32_t (*find_it)(void *self, struct ph_call *call, const Pohmel__FindRequest *request, Pohmel__FindReply *reply);
    /* Stores a thing. */
    uint32_t (*put)(void *self, struct ph_call *call, const Pohmel__PutRequest *request, Pohmel__PutResult *reply);
};

/* Who answers. */
struct ph_dispatch {
    const struct ph_session_ops *session_ops;
    void *session;
    const struct ph_store_ops *store_ops;
    void *store;
};

/* Executes one request: decodes MESSAGE into the arena of CALL, validates it,
 * checks the payload's size, calls the handler. Returns the status to answer, with words in
 * call->fault, or PH_PENDING when the handler will answer later. *REPLY, in
 * the arena, is set when the status is OK; a transaction that failed has one
 * as well when its handler filled in results. NULL otherwise. */
uint32_t ph_dispatch_request(const struct ph_dispatch *dispatch, uint16_t command, const uint8_t *message,
                             size_t len, struct ph_call *call, ProtobufCMessage **reply);

/* The same for a REQUEST that is decoded and valid already. */
uint32_t ph_dispatch_message(const struct ph_dispatch *dispatch, const struct ph_command_info *command,
                             const ProtobufCMessage *request, struct ph_call *call, ProtobufCMessage **reply);

/* Calls the handler of one command; UNSUPPORTED where there is none, or the
 * command is not one of the requests. */
uint32_t ph_dispatch_handler(const struct ph_dispatch *dispatch, uint16_t command, struct ph_call *call,
                             const ProtobufCMessage *request, ProtobufCMessage *reply);

/* Executes one command of a transaction, decoded and valid already. RESULT (initialised) gets the status and, on
 * success, what the command returned, in the arena of CALL. Returns the status. */
uint32_t ph_dispatch_change(const struct ph_store_ops *ops, void *store, struct ph_call *call,
                            const Pohmel__Change *change, Pohmel__ChangeResult *result);

/* The command that CHANGE holds. False when it holds none. */
bool ph_change_info(const Pohmel__Change *change, const struct ph_command_info **out);

/* Calls the handler of the command that CHANGE holds, UNSUPPORTED where there
 * is none; REPLY is of the type that the command returns. */
uint32_t ph_change_handler(const struct ph_store_ops *ops, void *store, struct ph_call *call,
                           const Pohmel__Change *change, ProtobufCMessage *reply);

/* Puts REPLY, of the type that COMMAND returns, into RESULT. */
void ph_change_result_set(Pohmel__ChangeResult *result, uint16_t command, ProtobufCMessage *reply);

#endif
