/* TRANSACT: what it concerns is claimed, then the store executes it; what it opens is charged. */
#include <stdlib.h>

#include "server/core/private.h"

/* The call that a handler was called for. */
static struct ph_server_call *of(struct ph_call *call)
{
    return call->context;
}

uint32_t ph_server_charge_handle(struct ph_call *call, struct ph_opening *opening)
{
    struct ph_session *session = of(call)->session;
    uint32_t status = PH_ST_OK;

    ph_server_enter(of(call)->server, &of(call)->actions);
    if (ph_handles_find(&session->handles, opening->handle) == NULL) {
        if (session->handles.table.count >= PH_SESSION_HANDLES_MAX) {
            status = ph_fault_set(&call->fault, PH_ST_LIMIT, "a session may have %d handles open",
                                  PH_SESSION_HANDLES_MAX);
        } else {
            ph_handles_add(&session->handles, opening->handle, opening->object, opening->access);
            opening->added = true;
        }
    }
    ph_server_leave(of(call)->server);
    return status;
}

void ph_server_settle_handle(struct ph_call *call, const struct ph_opening *opening)
{
    struct ph_session *session = of(call)->session;
    struct ph_handle *entry;

    ph_server_enter(of(call)->server, &of(call)->actions);
    entry = ph_handles_find(&session->handles, opening->handle);
    if (opening->object != 0 && entry == NULL)
        entry = ph_handles_add(&session->handles, opening->handle, opening->object, opening->access);
    if (opening->object != 0)
        entry->object = opening->object;
    else if (opening->added && entry != NULL)
        ph_handles_remove(&session->handles, entry);
    ph_server_leave(of(call)->server);
}

/* What a command of a transaction opens. */
static struct ph_opening opens(const Pohmel__Change *change)
{
    switch ((int) change->command_case) {
    case PH_CMD_CREATE:
        return (struct ph_opening){.handle = change->create->handle, .access = change->create->access};
    case PH_CMD_TMPFILE:
        return (struct ph_opening){.handle = change->tmpfile->handle, .access = change->tmpfile->access};
    default:
        return (struct ph_opening){0};
    }
}

/* The object on which it was opened; 0 where it was not. */
static uint64_t opened(const Pohmel__ChangeResult *result)
{
    if (result->status != PH_ST_OK)
        return 0;
    if (result->result_case == (int) PH_CMD_CREATE)
        return result->create->attr->object;
    return result->result_case == (int) PH_CMD_TMPFILE ? result->tmpfile->attr->object : 0;
}

/* What the commands of a transaction open, staged ones first. */
struct openings {
    struct ph_opening *each;
    size_t count, charged, staged;
};

static void put_openings(struct openings *openings, Pohmel__Change *const *changes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        openings->each[openings->count++] = opens(changes[i]);
}

static uint32_t charge_all(struct ph_call *call, const Pohmel__TransactRequest *request,
                           struct openings *openings)
{
    const struct ph_staged *staged = call->staged;
    uint32_t status = PH_ST_OK;

    openings->staged = staged == NULL ? 0 : staged->commands;
    openings->each = ph_arena_alloc0(staged == NULL ? call->arena : staged->arena,
                                     openings->staged + request->n_changes, sizeof(*openings->each));
    if (openings->each == NULL)
        return PH_ST_NO_MEMORY;
    for (size_t i = 0; staged != NULL && i < staged->count; i++)
        put_openings(openings, staged->part[i].request->changes, staged->part[i].request->n_changes);
    put_openings(openings, request->changes, request->n_changes);
    for (; openings->charged < openings->count && status == PH_ST_OK; openings->charged++) {
        struct ph_opening *opening = &openings->each[openings->charged];

        if (opening->handle != 0)
            status = ph_server_charge_handle(call, opening);
    }
    return status;
}

/* After the store: the charges are settled by what came of them. Of staged commands nobody tells: they made
 * what they were to make. */
static void settle_all(struct ph_call *call, uint32_t status, const Pohmel__TransactReply *reply,
                       const struct openings *openings)
{
    for (size_t i = 0; i < openings->charged; i++) {
        struct ph_opening *opening = &openings->each[i];
        size_t own = i - openings->staged;

        if (opening->handle == 0)
            continue;
        if (i < openings->staged)
            opening->object = status == PH_ST_OK ? opening->object : 0;
        else
            opening->object = own < reply->n_results ? opened(reply->results[own]) : 0;
        ph_server_settle_handle(call, opening);
    }
}

/* The store does it, its handles charged to the session. */
static uint32_t transact_charged(struct ph_call *call, const Pohmel__TransactRequest *request,
                                 Pohmel__TransactReply *reply)
{
    struct ph_store *store = of(call)->session->entry->export->store;
    struct openings openings = {0};
    uint32_t status = charge_all(call, request, &openings);

    if (status == PH_ST_OK)
        status = store->transact(store->self, call, request, reply);
    settle_all(call, status, reply, &openings);
    return status;
}

/* CREATE cut another file than the one that had the name before: who caches that one is told now. */
static void check_found(struct ph_call *call, const struct ph_change_plan *plan,
                        const Pohmel__TransactReply *reply)
{
    struct ph_server *server = of(call)->server;
    const Pohmel__CreateResult *result =
        plan->found != 0 && reply->n_results == 1 ? reply->results[0]->create : NULL;

    if (result == NULL || result->created || result->attr == NULL || result->attr->object == plan->found)
        return;
    ph_server_changed_outside(server, of(call)->session->entry->index, result->attr->object,
                              &of(call)->actions);
}

/* An earlier run of the server did it: what it opened then is open again, and charged. */
static bool transacted_before(struct ph_call *call, const Pohmel__TransactRequest *request,
                              Pohmel__TransactReply *reply)
{
    struct ph_store *store = of(call)->session->entry->export->store;

    if (store->recorded == NULL || !store->recorded(store->self, call, request, reply))
        return false;
    for (size_t i = 0; i < request->n_changes; i++) {
        struct ph_opening opening = opens(request->changes[i]);

        if (opening.handle == 0 || ph_server_charge_handle(call, &opening) != PH_ST_OK)
            continue;
        /* The results of several commands may not have been kept. */
        if (i < reply->n_results)
            opening.object = opened(reply->results[i]);
        ph_server_settle_handle(call, &opening);
    }
    call->fault = (struct ph_fault){0};
    return true;
}

/* One command. */
static uint32_t transact_one(struct ph_call *call, const Pohmel__TransactRequest *request,
                             Pohmel__TransactReply *reply)
{
    struct ph_change_plan plan;
    uint32_t status;

    for (;;) {
        ph_server_plan(of(call), request, &plan);
        status = ph_server_claim(of(call), &plan);
        if (status != PH_ST_OK)
            return status;
        status = transact_charged(call, plan.request, reply);
        if (!ph_server_plan_raced(of(call), &plan, status))
            break;
        /* A name was given to another object in between: again, with that one. */
        reply->n_results = 0;
        call->payload_used = 0;
        call->fault = (struct ph_fault){0};
    }
    if (status == PH_ST_OK)
        check_found(call, &plan, reply);
    return status;
}

static uint32_t load_staged(struct ph_call *call, const Pohmel__TransactRequest *request)
{
    const struct ph_store *store = of(call)->session->entry->export->store;

    if (request->staged == 0)
        return PH_ST_OK;
    if (store->staged == NULL)
        return ph_fault_set(&call->fault, PH_ST_UNSUPPORTED, "the server keeps no parts of transactions");
    return store->staged(store->self, call, request->staged, request->parts, &call->staged);
}

/* What was read of the parts. A parked call reads them again when it goes on. */
static void release_staged(struct ph_call *call)
{
    struct ph_staged *staged = call->staged;

    call->staged = NULL;
    if (staged != NULL)
        staged->release(staged);
}

/* Several commands, or one behind others that were staged. R-5.3-3, R-5.4-1. */
static uint32_t transact_several(struct ph_call *call, const Pohmel__TransactRequest *request,
                                 Pohmel__TransactReply *reply)
{
    struct ph_store *store = of(call)->session->entry->export->store;
    uint32_t status;

    if (!store->several)
        return ph_fault_set(&call->fault, PH_ST_UNSUPPORTED,
                            "the server executes transactions of one command only");
    status = load_staged(call, request);
    if (status == PH_ST_OK && request->n_changes + (call->staged == NULL ? 0 : call->staged->commands) >
                                  PH_TRANSACTION_COMMANDS_MAX)
        status = ph_fault_set(&call->fault, PH_ST_LIMIT, "a transaction may have %d commands",
                              PH_TRANSACTION_COMMANDS_MAX);
    if (status == PH_ST_OK)
        status = ph_server_claim_several(of(call), request);
    if (status == PH_ST_OK)
        status = transact_charged(call, request, reply);
    release_staged(call);
    return status;
}

/* The parts of a transaction that was answered are of no use any more. */
static void drop_staged(struct ph_call *call, const Pohmel__TransactRequest *request, uint32_t status)
{
    struct ph_store *store = of(call)->session->entry->export->store;

    if (request->staged != 0 && store->drop_staged != NULL && status != PH_PENDING && status != PH_ST_STALE)
        store->drop_staged(store->self, call, request->staged);
}

uint32_t ph_server_transact(void *self, struct ph_call *call, const Pohmel__TransactRequest *request,
                            Pohmel__TransactReply *reply)
{
    uint32_t status;

    if (of(call)->session->read_only)
        return PH_ST_READ_ONLY;
    status = ph_server_check_payload(call, request->changes, request->n_changes);
    if (status != PH_ST_OK)
        return status;
    if (transacted_before(call, request, reply))
        status = PH_ST_OK;
    else if (request->n_changes == 1 && request->staged == 0)
        return transact_one(call, request, reply);
    else
        status = transact_several(call, request, reply);
    drop_staged(call, request, status);
    return status;
}

uint32_t ph_server_stage(void *self, struct ph_call *call, const Pohmel__StageRequest *request,
                         Pohmel__Nothing *reply)
{
    const struct ph_frame *frame = of(call)->frame;
    struct ph_store *store = of(call)->session->entry->export->store;
    uint32_t status;

    (void) self;
    (void) reply;
    if (of(call)->session->read_only)
        return PH_ST_READ_ONLY;
    if (!store->several || store->stage == NULL)
        return ph_fault_set(&call->fault, PH_ST_UNSUPPORTED, "the server keeps no parts of transactions");
    if (request->drop) {
        store->drop_staged(store->self, call, request->transaction);
        return PH_ST_OK;
    }
    if (request->part == 0 || request->n_changes == 0)
        return ph_fault_set(&call->fault, PH_ST_INVALID, "a part has a number, and commands");
    status = ph_server_check_payload(call, request->changes, request->n_changes);
    return status == PH_ST_OK
               ? store->stage(store->self, call, request, frame->message, frame->header.message_len)
               : status;
}

uint32_t ph_server_outcome(void *self, struct ph_call *call, const Pohmel__OutcomeRequest *request,
                           Pohmel__OutcomeReply *reply)
{
    struct ph_store *store = of(call)->session->entry->export->store;

    (void) self;
    if (of(call)->session->read_only)
        return PH_ST_READ_ONLY;
    return store->outcome != NULL ? store->outcome(store->self, call, request, reply)
                                  : ph_fault_set(&call->fault, PH_ST_UNSUPPORTED,
                                                 "the server does not remember what became of transactions");
}
