/* Leases that are asked for, and given back. docs/protocol.md, sections 9.1 and 9.2. */
#include "server/core/private.h"

/* The call that a handler was called for. */
static struct ph_server_call *of(struct ph_call *call)
{
    return call->context;
}

static uint32_t refuse_cacheless(struct ph_call *call)
{
    return ph_fault_set(&call->fault, PH_ST_WRONG_STATE, "the session was opened without leases");
}

/* What is granted. */
struct granted {
    uint64_t id;
    bool part; /* BYTES only */
    struct ph_lease_bytes bytes;
};

static struct ph_lease_bytes bytes_of(const Pohmel__Range *range)
{
    uint64_t room = PH_LEASE_BYTES_END - range->offset;

    return (struct ph_lease_bytes){range->offset,
                                   range->length > room ? PH_LEASE_BYTES_END : range->offset + range->length};
}

/* Guard held. OK: the lease is in *GRANTED. */
static uint32_t acquire(struct ph_server_call *call, const Pohmel__LeaseAcquireRequest *request,
                        struct granted *out)
{
    struct ph_session *session = call->session;
    struct ph_leases *leases = call->server->leases;
    struct ph_lease_bytes bytes;
    bool granted = call->attempts > 0; /* it waited for this */

    if (session->ended || ph_server_is_stray(call))
        return PH_ST_NO_SESSION;
    if (call->server->grace)
        return ph_server_wait_for_grace(call);
    if (request->range != NULL)
        bytes = bytes_of(request->range);
    if (!granted)
        granted =
            ph_leases_acquire(leases, &call->claim, session->lease, request->object,
                              (enum ph_lease_mode) request->mode, request->range == NULL ? NULL : &bytes);
    if (!granted && call->claim.state == PH_LEASE_WAITING) {
        call->attempts++;
        return ph_server_park(call);
    }
    if (call->claim.refused)
        return ph_fault_set(&call->call.fault, PH_ST_NO_LEASE,
                            "the lease that it has is to be given back first, or many write there now");
    out->id = call->claim.lease;
    out->part = out->id != 0 && ph_leases_range(leases, session->lease, out->id, &out->bytes);
    return out->id != 0
               ? PH_ST_OK
               : ph_fault_set(&call->call.fault, PH_ST_LIMIT, "the session holds all leases that it may");
}

/* Under a range nothing but the size is known, and that it does not become less. */
static uint32_t describe_range(struct ph_call *call, const struct ph_lease_bytes *bytes,
                               Pohmel__LeaseGrant *grant)
{
    grant->range = PH_ARENA_NEW(call->arena, Pohmel__Range);
    if (grant->range == NULL)
        return PH_ST_NO_MEMORY;
    pohmel__range__init(grant->range);
    grant->range->offset = bytes->start;
    grant->range->length = bytes->end - bytes->start;
    grant->attr->version = 0;
    return PH_ST_OK;
}

/* Attributes under the lease ID, which is in force already: nothing can change behind them. */
static uint32_t describe_grant(struct ph_call *call, const Pohmel__LeaseAcquireRequest *request, uint64_t id,
                               Pohmel__LeaseGrant *grant)
{
    const struct ph_store *store = of(call)->session->entry->export->store;
    Pohmel__GetattrRequest ask = POHMEL__GETATTR_REQUEST__INIT;
    Pohmel__GetattrReply answer = POHMEL__GETATTR_REPLY__INIT;
    Pohmel__Caller nobody = POHMEL__CALLER__INIT;
    uint32_t status;

    if (grant == NULL)
        return PH_ST_NO_MEMORY;
    if (store->ops->getattr == NULL)
        return PH_ST_UNSUPPORTED;
    ask.caller = &nobody;
    ask.object = request->object;
    status = store->ops->getattr(store->self, call, &ask, &answer);
    pohmel__lease_grant__init(grant);
    grant->lease = id;
    grant->object = request->object;
    grant->mode = request->mode;
    grant->attr = answer.attr;
    return status;
}

uint32_t ph_server_lease_acquire(void *self, struct ph_call *call, const Pohmel__LeaseAcquireRequest *request,
                                 Pohmel__LeaseAcquireReply *reply)
{
    struct ph_server *server = self;
    struct ph_session *session = of(call)->session;
    uint32_t status;
    struct granted granted = {0};
    uint64_t id;

    if (!session->caches)
        return refuse_cacheless(call);
    if (session->read_only && request->mode == PH_LEASE_EXCLUSIVE)
        return ph_fault_set(&call->fault, PH_ST_UNSUPPORTED, "a read-only session has nothing to change");
    ph_server_enter(server, &of(call)->actions);
    status = acquire(of(call), request, &granted);
    ph_server_leave(server);
    if (status != PH_ST_OK)
        return status;
    id = granted.id;
    reply->grant = PH_ARENA_NEW(call->arena, Pohmel__LeaseGrant);
    status = describe_grant(call, request, id, reply->grant);
    if (status == PH_ST_OK && granted.part)
        status = describe_range(call, &granted.bytes, reply->grant);
    ph_server_enter(server, &of(call)->actions);
    if (status != PH_ST_OK && session->lease != NULL)
        ph_leases_release(server->leases, session->lease, id);
    else if (status == PH_ST_OK && session->lease != NULL &&
             ph_leases_mode(server->leases, session->lease, id) != PH_LEASE_NONE)
        reply->grant->mode = (uint32_t) ph_leases_mode(server->leases, session->lease, id);
    if (status == PH_ST_OK && session->lease != NULL && granted.part)
        ph_leases_size_known(server->leases, session->lease, id, reply->grant->attr->size);
    ph_server_leave(server);
    if (status == PH_ST_OK && !granted.part) {
        reply->grant->attr->lease = id;
        reply->grant->attr->lease_mode = reply->grant->mode;
    }
    return status;
}

/* Nothing is written back in this version: `flush` and `applied` number nothing. Ids that are not current are
 * ignored: they were released before, or replaced. */
uint32_t ph_server_lease_release(void *self, struct ph_call *call, const Pohmel__LeaseReleaseRequest *request,
                                 Pohmel__LeaseReleaseReply *reply)
{
    struct ph_server *server = self;
    struct ph_session *session = of(call)->session;

    if (!session->caches)
        return refuse_cacheless(call);
    ph_server_enter(server, &of(call)->actions);
    for (size_t i = 0; i < request->n_leases && session->lease != NULL; i++)
        ph_leases_release(server->leases, session->lease, request->leases[i]);
    for (size_t i = 0; i < request->n_kept && session->lease != NULL; i++)
        ph_leases_keep_shared(server->leases, session->lease, request->kept[i]);
    for (size_t i = 0; i < request->n_parts && session->lease != NULL; i++) {
        struct ph_lease_bytes bytes = bytes_of(request->parts[i]->range);

        ph_leases_keep_part(server->leases, session->lease, request->parts[i]->lease, &bytes);
    }
    ph_server_leave(server);
    return PH_ST_OK;
}
