/* What became of transactions of several commands, asked for in another session than theirs: sessions end
 * when the machine loses power, and the marks of transactions are there afterwards.
 * docs/decisions/0016-several-commands.md. */
#include <string.h>

#include "ph_commands.h"
#include "server/store/posix_undo.h"

/* Whether all marks are there of what came after SINCE. */
static bool is_remembered(const struct ph_posix_store *store, uint64_t since)
{
    uint64_t last = ph_undo_log_last(store->undo);
    return since <= last && last - since <= PH_UNDO_MARKS;
}

bool ph_outcome_is_settled(struct ph_posix_store *store, struct ph_call *call,
                           const Pohmel__TransactRequest *request, uint32_t *status)
{
    enum ph_undo_verdict verdict;
    if (request->key == 0 || call->client == NULL)
        return false;
    verdict = ph_undo_log_verdict(store->undo, call->client, request->key);
    if (verdict == PH_UNDO_DONE)
        *status = PH_ST_OK;
    else if (verdict == PH_UNDO_FORBIDDEN)
        *status =
            ph_fault_set(&call->fault, PH_ST_STALE,
                         "the client has asked what became of the transaction, and was told that it is not "
                         "executed");
    else if (!is_remembered(store, request->since))
        *status = ph_fault_set(&call->fault, PH_ST_STALE,
                               "the transaction is older than the last %d, which the server remembers",
                               PH_UNDO_MARKS);
    else
        return false;
    return true;
}

/* From now on it is not executed any more. */
static uint32_t forbid(struct ph_posix_store *store, struct ph_call *call, uint64_t key)
{
    struct ph_undo_name name = {.session = call->session_number, .key = key};
    uint32_t status = ph_several_clear_away(store, call);
    if (status != PH_ST_OK)
        return status;
    memcpy(name.client, call->client, sizeof name.client);
    return ph_undo_log_begin(store->undo) && ph_undo_log_mark(store->undo, PH_UNDO_FORBIDDEN, &name)
               ? PH_ST_OK
               : ph_store_errno(call, "write down that a transaction is not executed");
}

static uint32_t settle(struct ph_posix_store *store, struct ph_call *call,
                       const Pohmel__OutcomeRequest *request, Pohmel__OutcomeReply *reply)
{
    enum ph_undo_verdict verdict = ph_undo_log_verdict(store->undo, call->client, request->key);
    reply->done = verdict == PH_UNDO_DONE;
    if (verdict != PH_UNDO_UNKNOWN)
        return PH_ST_OK;
    if (is_remembered(store, request->since))
        return forbid(store, call, request->key);
    return ph_fault_set(&call->fault, PH_ST_LIMIT,
                        "the server remembers the last %d transactions of several commands, and this one was "
                        "sent before these",
                        PH_UNDO_MARKS);
}

uint32_t ph_posix_outcome(void *self, struct ph_call *call, const Pohmel__OutcomeRequest *request,
                          Pohmel__OutcomeReply *reply)
{
    struct ph_posix_store *store = self;
    uint32_t status = ph_store_check_writable(store, call);
    if (status == PH_ST_OK && (store->undo == NULL || call->client == NULL))
        status = ph_fault_set(&call->fault, PH_ST_UNSUPPORTED,
                              "the server does not remember what became of transactions");
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
