/* The commands of the session layer. Handlers run outside the guard and enter
 * it where they look at, or change, what the core keeps. */
#include <string.h>

#include "server/core/private.h"

/* Access of a handle, as OPEN, CREATE and TMPFILE have it. */
enum { PH_ACCESS_READ = 1, PH_ACCESS_WRITE = 2 };

/* The call that a handler was called for. */
static struct ph_server_call *of(struct ph_call *call)
{
    return call->context;
}

/* The session that was just opened caches. No lease on the root goes with it: its recall could overtake this
 * reply, and reach a client that has no session yet. Guard held. */
static void begin_caching(struct ph_server_call *call, const Pohmel__SessionOpenRequest *request)
{
    struct ph_session *session = call->conn->session;

    ph_server_session_caches(call->server, session, request->host.data, request->host.len);
    session->writes_back = session->caches && request->write_back && !session->read_only;
    session->glimpses = request->glimpses && session->writes_back;
    session->ranges = request->ranges && session->writes_back;
    if (session->ranges)
        ph_lease_session_takes_ranges(session->lease);
}

/* Guard held. */
static void tell_session(const struct ph_session *session, bool resumed, Pohmel__SessionOpenReply *reply)
{
    reply->resumed = resumed;
    reply->resumable = session->resumable;
    reply->leases = session->caches;
    reply->ranges = session->ranges;
    reply->watched = session->caches && session->entry->export->watched;
}

/* The session, about to be opened, enters the list of the store, where that has one. */
static uint32_t enter_list(struct ph_server_call *call, const Pohmel__SessionOpenRequest *request,
                           struct ph_session_wish *wish)
{
    const struct ph_store *store = wish->entry->export->store;
    struct ph_store_session stored = {.number = wish->number,
                                      .read_only = wish->read_only,
                                      .leases = request->leases,
                                      .write_back = request->write_back};
    uint32_t status;

    if (store->enter_session == NULL)
        return PH_ST_OK;
    ph_server_enter(call->server, &call->actions);
    status = ph_session_may_open(call->conn, wish, &call->call.fault);
    ph_server_leave(call->server);
    if (status != PH_ST_OK)
        return status;
    memcpy(stored.client, wish->client, sizeof(stored.client));
    for (size_t i = 0; i < request->host.len && request->host.data[i] != 0; i++)
        stored.host[i] = (char) request->host.data[i];
    status = store->enter_session(store->self, &stored, &call->call.fault);
    wish->listed = status == PH_ST_OK;
    return status;
}

static uint32_t session_open(void *self, struct ph_call *call, const Pohmel__SessionOpenRequest *request,
                             Pohmel__SessionOpenReply *reply)
{
    struct ph_server *server = self;
    const struct ph_export_entry *entry =
        ph_server_find_export(server, request->export_name.data, request->export_name.len, &call->fault);
    struct ph_session_wish wish = {request->client.data, request->session,   entry,
                                   request->read_only,   request->resumable, false};
    struct ph_store *store;
    uint32_t status;

    if (entry == NULL)
        return PH_ST_NO_EXPORT;
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
    reply->unbroken = ph_server_unbroken(store, reply->epoch);
    reply->lease_ttl_ms = server->lease_ms;
    reply->slots = PH_SESSION_SLOTS;
    reply->credits = PH_SESSION_CREDITS;
    reply->commands_max = store->several ? PH_TRANSACTION_COMMANDS_MAX : 1;
    reply->staged_max = store->several && store->stage != NULL ? PH_SESSION_STAGED_BYTES : 0;
    if (!request->resume && request->resumable)
        status = enter_list(of(call), request, &wish);
    if (status != PH_ST_OK)
        return status;
    ph_server_enter(server, &of(call)->actions);
    if (request->resume)
        status = ph_session_resume(of(call), &wish, &call->fault);
    else
        status = ph_session_open(of(call)->conn, &wish, &call->fault);
    if (status == PH_ST_OK && request->leases && !request->resume)
        begin_caching(of(call), request);
    if (status == PH_ST_OK)
        tell_session(of(call)->conn->session, request->resume, reply);
    ph_server_leave(server);
    if (status != PH_ST_OK && wish.listed)
        store->leave_session(store->self, wish.client, wish.number);
    return status;
}

static uint32_t session_close(void *self, struct ph_call *call, const Pohmel__SessionCloseRequest *request,
                              Pohmel__Nothing *reply)
{
    ph_server_enter(self, &of(call)->actions);
    ph_session_end(self, of(call)->session, false);
    ph_server_leave(self);
    return PH_ST_OK;
}

static uint32_t session_renew(void *self, struct ph_call *call, const Pohmel__SessionRenewRequest *request,
                              Pohmel__Nothing *reply)
{
    return PH_ST_OK;
}

/* OPEN of the store, charged to the session. SELF is the store's. */
static uint32_t open_charged(void *self, struct ph_call *call, const Pohmel__OpenRequest *request,
                             Pohmel__OpenReply *reply)
{
    const struct ph_session *session = of(call)->session;
    struct ph_opening opening = {
        .handle = request->handle, .object = request->object, .access = request->access};
    uint32_t status;

    if (session->read_only && (request->access & PH_ACCESS_WRITE) != 0)
        return PH_ST_READ_ONLY;
    status = ph_server_charge_handle(call, &opening);
    if (status != PH_ST_OK)
        return status;
    status = session->entry->export->store->ops->open(self, call, request, reply);
    if (status != PH_ST_OK)
        opening.object = 0;
    ph_server_settle_handle(call, &opening);
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
        ph_locks_end_handle(server->locks, &session->locks, session->entry->index, entry->object,
                            entry->handle);
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

/* Byte ranges need a handle open for what the lock is about, as locally. R-8.1-2. */
static bool access_suffices(const struct ph_handle *entry, const struct ph_lock_want *want)
{
    return want->whole_file || (entry->access & (want->shared ? PH_ACCESS_READ : PH_ACCESS_WRITE)) != 0;
}

/* Who has been away for too long, and has a lock that stands in the way, ends. Guard held. */
static void end_those_away(struct ph_server *server, struct ph_session *session,
                           const struct ph_lock_want *want)
{
    struct ph_lock_session *other;

    do {
        other = ph_locks_in_the_way(server->locks, &session->locks, want);
    } while (other != NULL && ph_session_is_wanted(server, PH_TABLE_ENTRY(other, struct ph_session, locks)));
}

/* Guard held. */
static uint32_t take_lock(struct ph_call *call, const struct ph_lock_want *want, bool wait)
{
    struct ph_server_call *running = of(call);
    struct ph_session *session = running->session;
    struct ph_handle *entry = ph_handles_find(&session->handles, want->handle);

    if (session->ended || ph_server_is_stray(running))
        return PH_ST_NO_SESSION;
    if (running->server->grace && (wait || !session->claims))
        return ph_server_wait_for_grace(running);
    if (entry == NULL || entry->object != want->object)
        return ph_fault_set(&call->fault, PH_ST_BAD_HANDLE, "the handle is not open on that object");
    if (!access_suffices(entry, want))
        return ph_fault_set(&call->fault, PH_ST_BAD_HANDLE, "the handle is not open for %s",
                            want->shared ? "reading" : "writing");
    if (running->cancelled)
        return PH_ST_CANCELLED;
    entry->locked = true;
    end_those_away(running->server, session, want);
    return ph_locks_take(running->server->locks, &session->locks, want, wait, running->frame->header.id,
                         &call->fault);
}

static uint32_t lock(void *self, struct ph_call *call, const Pohmel__LockRequest *request,
                     Pohmel__Nothing *reply)
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
    if (server->grace && !session->ended && !ph_server_is_stray(of(call))) {
        uint32_t status = ph_server_wait_for_grace(of(call));

        ph_server_leave(server);
        return status;
    }
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

const struct ph_session_ops ph_server_session_ops = {
    .session_open = session_open,
    .session_close = session_close,
    .session_renew = session_renew,
    .transact = ph_server_transact,
    .stage = ph_server_stage,
    .outcome = ph_server_outcome,
    .close = close_handle,
    .lock = lock,
    .unlock = unlock,
    .lock_test = lock_test,
    .lease_acquire = ph_server_lease_acquire,
    .lease_release = ph_server_lease_release,
    .glimpse_answer = ph_server_glimpse_answer,
    .reclaim = ph_server_reclaim,
    .reclaim_done = ph_server_reclaim_done,
};
