/* Generated from idl/ by gen/generate.py. Do not edit. */
#ifndef PH_STUBS_H
#define PH_STUBS_H

#include "ph_commands.h"
#include "ph_protocol.h"
#include "runtime/wire/stub.h"

/* ph_send_X sends the command X; see struct ph_stub in runtime/wire/stub.h for PAYLOAD, FN, DATA
 * and the ticket returned. A change is sent as a transaction of its own.
 * ph_reply_X is the typed reply to it, borrowed for the time of the callback: NULL when the
 * command failed or the peer answered with something else. */

/* Runs changes. */
uint64_t ph_send_transact(const struct ph_stub *stub, const Pohmel__TransactRequest *request,
    struct ph_blob *payload, ph_reply_fn fn, void *data);
const Pohmel__TransactReply *ph_reply_transact(const struct ph_reply *reply);

/* Finds a thing. */
uint64_t ph_send_find_it(const struct ph_stub *stub, const Pohmel__FindRequest *request,
    struct ph_blob *payload, ph_reply_fn fn, void *data);
const Pohmel__FindReply *ph_reply_find_it(const struct ph_reply *reply);

/* Stores a thing. */
uint64_t ph_send_put(const struct ph_stub *stub, const Pohmel__PutRequest *request,
    struct ph_blob *payload, ph_reply_fn fn, void *data);
const Pohmel__PutResult *ph_reply_put(const struct ph_reply *reply);

#endif
