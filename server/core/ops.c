/* The commands of the session layer. Handlers run outside the guard and enter
 * it where they look at, or change, what the core keeps. */
#include <string.h>

#include "server/core/private.h"

/* The call that a handler was called for. */
static struct ph_server_call *of(struct ph_call *call)
{
    return call->context;
}

static uint32_t session_open(void *self, struct ph_call *call, const Pohmel__SessionOpenRequest *request,
                             Pohmel__SessionOpenReply *reply)
{
    struct ph_server *server = self;
    const struct ph_export_entry *entry =
        ph_server_find_export(server, request->export_name.data, request->export_name.len, &call->fault);
    struct ph_store *store;
    uint32_t status;

    if (entry == NULL)
        return PH_ST_NO_EXPORT;
    if (request->resume)
        return ph_fault_set(&call->fault, PH_ST_NO_SESSION, "this server does not keep sessions that were broken off");
    store = entry->export->store;
    reply->export_info = PH_ARENA_NEW(call->arena, Pohmel__ExportInfo);
    reply->root = PH_ARENA_NEW(call->arena, Pohmel__Attr);
    if (reply->export_info == NULL || reply->root == NULL)
        return PH_ST_NO_MEMORY;
    pohmel__export_info__init(reply->export_info);
    pohmel__attr__init(reply->root);
    status = store->describe(store->self, call->arena, reply->export_info, reply->root, &call->fault);
    if (status != PH_ST_OK)
        return status;
    reply->export_info->read_only = reply->export_info->read_only || entry->export->read_only;
    reply->epoch = store->epoch(store->self);
    reply->lease_ttl_ms = PH_LEASE_TTL_MS;
    reply->slots = PH_SESSION_SLOTS;
    reply->credits = PH_SESSION_CREDITS;
    ph_server_enter(server, &of(call)->actions);
    status = ph_session_open(of(call)->conn, request->client.data, request->session, entry, &call->fault);
    ph_server_leave(server);
    return status;
}

static uint32_t session_close(void *self, struct ph_call *call, const Pohmel__SessionCloseRequest *request,
                              Pohmel__Nothing *reply)
{
    ph_server_enter(self, &of(call)->actions);
    ph_session_end(self, of(call)->session);
    ph_server_leave(self);
    return PH_ST_OK;
}

static uint32_t session_renew(void *self, struct ph_call *call, const Pohmel__SessionRenewRequest *request,
                              Pohmel__Nothing *reply)
{
    return PH_ST_OK;
}

/* Charges HANDLE, about to be opened on OBJECT (0: not known yet), to the
 * session. *ADDED says whether it was not open before. */
static uint32_t charge_handle(struct ph_call *call, uint64_t handle, uint64_t object, bool *added)
{
    struct ph_session *session = of(call)->session;
    uint32_t status = PH_ST_OK;

    *added = false;
    ph_server_enter(of(call)->server, &of(call)->actions);
    if (ph_handles_find(&session->handles, handle) == NULL) {
        if (session->handles.table.count >= PH_SESSION_HANDLES_MAX) {
            status = ph_fault_set(&call->fault, PH_ST_LIMIT, "a session may have %d handles open",
                                  PH_SESSION_HANDLES_MAX);
        } else {
            ph_handles_add(&session->handles, handle, object);
            *added = true;
        }
    }
    ph_server_leave(of(call)->server);
    return status;
}

/* HANDLE was opened on OBJECT, or (0) could not be opened. A CLOSE that came in
 * between took the charge away: it is put back, the handle being open. */
static void settle_handle(struct ph_call *call, uint64_t handle, uint64_t object, bool added)
{
    struct ph_session *session = of(call)->session;
    struct ph_handle *entry;

    ph_server_enter(of(call)->server, &of(call)->actions);
    entry = ph_handles_find(&session->handles, handle);
    if (object != 0 && entry == NULL)
        entry = ph_handles_add(&session->handles, handle, object);
    if (object != 0)
        entry->object = object;
    else if (added && entry != NULL)
        ph_handles_remove(&session->handles, entry);
    ph_server_leave(of(call)->server);
}

/* The handle that a command of a transaction opens; 0 for none. */
static uint64_t opens(const Pohmel__Change *change)
{
    switch ((int) change->command_case) {
    case PH_CMD_CREATE:
        return change->create->handle;
    case PH_CMD_TMPFILE:
        return change->tmpfile->handle;
    default:
        return 0;
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

/* After the store: COUNT charges are settled by what came of them. */
static void settle_all(struct ph_call *call, const Pohmel__TransactRequest *request,
                       const Pohmel__TransactReply *reply, const bool *added, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t handle = opens(request->changes[i]);

        if (handle != 0)
            settle_handle(call, handle, i < reply->n_results ? opened(reply->results[i]) : 0, added[i]);
    }
}

static uint32_t transact(void *self, struct ph_call *call, const Pohmel__TransactRequest *request,
                         Pohmel__TransactReply *reply)
{
    const struct ph_server_export *export = of(call)->session->entry->export;
    bool *added = ph_arena_alloc0(call->arena, request->n_changes, sizeof(bool));
    uint32_t status = PH_ST_OK;
    size_t charged = 0;

    if (added == NULL)
        return PH_ST_NO_MEMORY;
    if (export->read_only)
        return PH_ST_READ_ONLY;
    for (; charged < request->n_changes && status == PH_ST_OK; charged++) {
        uint64_t handle = opens(request->changes[charged]);

        if (handle != 0)
            status = charge_handle(call, handle, 0, &added[charged]);
    }
    if (status == PH_ST_OK)
        status = export->store->transact(export->store->self, call, request, reply);
    settle_all(call, request, reply, added, charged);
    return status;
}

/* OPEN of the store, charged to the session. SELF is the store's. */
static uint32_t open_charged(void *self, struct ph_call *call, const Pohmel__OpenRequest *request,
                             Pohmel__OpenReply *reply)
{
    const struct ph_server_export *export = of(call)->session->entry->export;
    bool added;
    uint32_t status = charge_handle(call, request->handle, request->object, &added);

    if (status != PH_ST_OK)
        return status;
    status = export->store->ops->open(self, call, request, reply);
    settle_handle(call, request->handle, status == PH_ST_OK ? request->object : 0, added);
    return status;
}

void ph_server_wrap_store(struct ph_export_entry *entry)
{
    entry->ops = *entry->export->store->ops;
    if (entry->ops.open != NULL)
        entry->ops.open = open_charged;
}

static uint32_t close_handle(void *self, struct ph_call *call, const Pohmel__CloseRequest *request,
                             Pohmel__Nothing *reply)
{
    struct ph_server *server = self;
    struct ph_session *session = of(call)->session;
    const struct ph_server_export *export = session->entry->export;
    struct ph_handle *entry;

    ph_server_enter(server, &of(call)->actions);
    entry = ph_handles_find(&session->handles, request->handle);
    if (entry != NULL && entry->locked)
        ph_locks_end_handle(server->locks, &session->locks, session->entry->index, entry->object, entry->handle);
    if (entry != NULL)
        ph_handles_remove(&session->handles, entry);
    ph_server_leave(server);
    return export->store->close(export->store->self, call->session, request->handle);
}

/* What a request says of a lock; false when its range is empty. */
static bool make_want(struct ph_call *call, struct ph_lock_want *want, const Pohmel__Range *range)
{
    want->space = of(call)->session->entry->index;
    return want->whole_file || ph_lock_range(range->offset, range->length, &want->start, &want->end);
}

static uint32_t refuse_range(struct ph_call *call)
{
    return ph_fault_set(&call->fault, PH_ST_INVALID, "the range of a lock must not be empty");
}

/* Guard held. */
static uint32_t take_lock(struct ph_call *call, const struct ph_lock_want *want, bool wait)
{
    struct ph_server_call *running = of(call);
    struct ph_session *session = running->session;
    struct ph_handle *entry = ph_handles_find(&session->handles, want->handle);

    if (session->ended)
        return PH_ST_NO_SESSION;
    if (entry == NULL || entry->object != want->object)
        return ph_fault_set(&call->fault, PH_ST_BAD_HANDLE, "the handle is not open on that object");
    if (running->cancelled)
        return PH_ST_CANCELLED;
    entry->locked = true;
    return ph_locks_take(running->server->locks, &session->locks, want, wait, running->frame->header.id,
                         &call->fault);
}

static uint32_t lock(void *self, struct ph_call *call, const Pohmel__LockRequest *request, Pohmel__Nothing *reply)
{
    struct ph_lock_want want = {
        .object = request->object,
        .whole_file = request->whole_file,
        .shared = request->shared,
        .owner = request->owner,
        .handle = request->handle,
        .process = request->process,
    };
    uint32_t status;

    if (!make_want(call, &want, request->range))
        return refuse_range(call);
    ph_server_enter(self, &of(call)->actions);
    status = take_lock(call, &want, request->wait);
    ph_server_leave(self);
    return status;
}

static uint32_t unlock(void *self, struct ph_call *call, const Pohmel__UnlockRequest *request,
                       Pohmel__Nothing *reply)
{
    struct ph_server *server = self;
    struct ph_lock_want want = {
        .object = request->object,
        .whole_file = request->whole_file,
        .owner = request->owner,
    };
    struct ph_session *session = of(call)->session;
    uint32_t status = PH_ST_NO_SESSION;

    if (!make_want(call, &want, request->range))
        return refuse_range(call);
    ph_server_enter(server, &of(call)->actions);
    if (!session->ended)
        status = ph_locks_give(server->locks, &session->locks, &want, &call->fault);
    ph_server_leave(server);
    return status;
}

static uint32_t lock_test(void *self, struct ph_call *call, const Pohmel__LockTestRequest *request,
                          Pohmel__LockTestReply *reply)
{
    struct ph_server *server = self;
    struct ph_lock_want want = {
        .object = request->object,
        .shared = request->shared,
        .owner = request->owner,
    };
    struct ph_session *session = of(call)->session;
    struct ph_lock_found found;

    if (!make_want(call, &want, request->range))
        return refuse_range(call);
    ph_server_enter(server, &of(call)->actions);
    reply->conflict = !session->ended && ph_locks_test(server->locks, &session->locks, &want, &found);
    ph_server_leave(server);
    if (!reply->conflict)
        return PH_ST_OK;
    reply->range = PH_ARENA_NEW(call->arena, Pohmel__Range);
    if (reply->range == NULL)
        return PH_ST_NO_MEMORY;
    pohmel__range__init(reply->range);
    reply->range->offset = found.start;
    reply->range->length = found.end - found.start;
    if (found.end == PH_LOCK_TO_END && found.start < PH_LOCK_TO_END - 1)
        reply->range->length--; /* lengths reach up to 2^63 - 1, which means the end */
    reply->shared = found.shared;
    reply->process = found.process;
    return PH_ST_OK;
}

/* Leases and reclaiming have no handlers: they are answered UNSUPPORTED in this version. */
const struct ph_session_ops ph_server_session_ops = {
    .session_open = session_open,
    .session_close = session_close,
    .session_renew = session_renew,
    .transact = transact,
    .close = close_handle,
    .lock = lock,
    .unlock = unlock,
    .lock_test = lock_test,
};
