/* A transaction of several commands while it is gathered, step by step, from what a user asks for
 * (client/control.h); then it is one message, which the server executes all or nothing
 * (docs/protocol.md, 5.1).
 *
 * Objects go by numbers that the transaction gives: who asks for steps cannot name what was not open to them.
 * Pure; not thread safe. */
#ifndef PH_CLIENT_FUSE_TXN_H
#define PH_CLIENT_FUSE_TXN_H

#include <stddef.h>
#include <stdint.h>

#include "client/control.h"
#include "ph_protocol.h"
#include "runtime/base/blob.h"

struct ph_txn;

/* New, without commands, for CALLER (copied). DIRECTORY is object 1. Never NULL. */
struct ph_txn *ph_txn_new(const Pohmel__Caller *caller, uint64_t directory);

/* Frees it and its message. NULL is fine. */
void ph_txn_free(struct ph_txn *txn);

/* OBJECT gets a number, in *NUMBER. PH_ST_LIMIT when there are too many. */
uint32_t ph_txn_object(struct ph_txn *txn, uint64_t object, uint32_t *number);

/* Whether a step of ACTION makes an object, which needs an id. */
int ph_txn_makes(uint32_t action);

/* Adds the command that STEP asks for; MADE is the id of what it makes, 0 where it makes nothing. The number
 * of what it makes comes in STEP->subject. PH_ST_INVALID when the step names what there is not or breaks a
 * rule of the protocol, PH_ST_LIMIT when the transaction would be too large; then nothing was added. */
uint32_t ph_txn_add(struct ph_txn *txn, struct ph_ioc_txn *step, uint64_t made);

/* How many commands it has. */
size_t ph_txn_count(const struct ph_txn *txn);

/* Cuts it into parts that fit into one message each; how many there are: 0 without commands. Nothing is added
 * later. */
size_t ph_txn_cut(struct ph_txn *txn);

/* The commands of part WHICH, from 0, which are the transaction's, their number in *COUNT, and in *PAYLOAD a
 * reference to what belongs to them (NULL for nothing). */
Pohmel__Change **ph_txn_part(const struct ph_txn *txn, size_t which, size_t *count, struct ph_blob **payload);

#endif
