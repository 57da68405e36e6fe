/* What became of transactions of several commands, asked for in another session than theirs: sessions end
 * when the machine loses power, and the marks of transactions are there afterwards.
 * docs/decisions/0016-several-commands.md. */
#include <string.h>

#include "ph_commands.h"
#include "server/store/posix_undo.h"

bool ph_outcome_is_settled(struct ph_posix_store *store, struct ph_call *call,
                           const Pohmel__TransactRequest *request, uint32_t *status)
{
    if (request->key == 0 || call->client == NULL)
        return false;
    switch (ph_undo_log_verdict(store->undo, call->client, request->key)) {
    case PH_UNDO_DONE:
        *status = PH_ST_OK;
        return true;
    case PH_UNDO_FORBIDDEN:
        *status =
            ph_fault_set(&call->fault, PH_ST_STALE,
                         "the client has asked what became of the transaction, and was told that it is not "
                         "executed");
        return true;
    default:
        return false;
    }
}

/* From now on it is not executed any more. */
static uint32_t forbid(struct ph_posix_store *store, struct ph_call *call, uint64_t key)
{
    struct ph_undo_name name = {.session = call->session_number, .key = key};
    memcpy(name.client, call->client, sizeof name.client);
    if (!ph_undo_log_begin(store->undo) || !ph_undo_log_mark(store->undo, PH_UNDO_FORBIDDEN, &name))
        return ph_store_errno(call, "write down that a transaction is not executed");
    return PH_ST_OK;
}

static uint32_t settle(struct ph_posix_store *store, struct ph_call *call,
                       const Pohmel__OutcomeRequest *request, Pohmel__OutcomeReply *reply)
{
    enum ph_undo_verdict verdict = ph_undo_log_verdict(store->undo, call->client, request->key);
    uint64_t last = ph_undo_log_last(store->undo);
    reply->done = verdict == PH_UNDO_DONE;
    if (verdict != PH_UNDO_UNKNOWN)
        return PH_ST_OK;
    if (request->since > last || last - request->since > PH_UNDO_MARKS)
        return ph_fault_set(
            &call->fault, PH_ST_LIMIT,
            "the server remembers the last %d transactions of several commands, and this one was sent "
            "before these",
            PH_UNDO_MARKS);
    return forbid(store, call, request->key);
}

uint32_t ph_posix_outcome(void *self, struct ph_call *call, const Pohmel__OutcomeRequest *request,
                          Pohmel__OutcomeReply *reply)
{
    struct ph_posix_store *store = self;
    uint32_t status = ph_store_check_writable(store, call);
    if (status == PH_ST_OK && (store->undo == NULL || call->client == NULL))
        status = PH_ST_UNSUPPORTED;
    if (status != PH_ST_OK)
        return status;
    ph_creds_server();
    pthread_mutex_lock(&store->several_lock);
    if (request->key != 0)
        status = settle(store, call, request, reply);
    reply->now = ph_undo_log_last(store->undo);
    pthread_mutex_unlock(&store->several_lock);
    return status;
}
