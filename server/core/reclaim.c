/* Leases that were held before a start are claimed again. docs/protocol.md, section 9.6. */
#include "runtime/base/mutant.h"
#include "server/core/private.h"

/* A claim that is looked at. */
struct claim {
    const Pohmel__LeaseClaim *claim;
    uint64_t lease; /* what it got; 0 for nothing */
    bool fresh;     /* and did not have already */
};

/* Guard held. */
static void take(struct ph_server_call *call, struct claim *one)
{
    struct ph_session *session = call->session;
    struct ph_leases *leases = call->server->leases;
    const Pohmel__LeaseClaim *claim = one->claim;

    one->lease = 0;
    one->fresh = false;
    if (!session->claimed || session->lease == NULL || session->conn != call->conn || claim->range != NULL)
        return;
    if (!ph_leases_is_earlier(leases, session->entry->index, claim->lease)) {
        one->lease = ph_leases_confirm(leases, session->lease, claim->object,
                                       (enum ph_lease_mode) claim->mode, claim->lease);
        return;
    }
    if (!session->claims)
        return;
    if (claim->mode == PH_LEASE_EXCLUSIVE && session->read_only)
        return;
    one->lease = ph_leases_reclaim(leases, session->lease, claim->object, (enum ph_lease_mode) claim->mode,
                                   &one->fresh);
}

/* Guard held. */
static void give_back(struct ph_server_call *call, const struct claim *one)
{
    if (call->session->lease != NULL && one->fresh)
        ph_leases_release(call->server->leases, call->session->lease, one->lease);
}

/* Whether the object is what the client believes it to be. Its attributes go into *ATTR. */
static bool is_unchanged(struct ph_call *call, const struct claim *one, Pohmel__Attr **attr)
{
    struct ph_server_call *own = call->context;
    const struct ph_store *store = own->session->entry->export->store;
    Pohmel__GetattrRequest ask = POHMEL__GETATTR_REQUEST__INIT;
    Pohmel__GetattrReply answer = POHMEL__GETATTR_REPLY__INIT;
    Pohmel__Caller nobody = POHMEL__CALLER__INIT;

    ask.caller = &nobody;
    ask.object = one->claim->object;
    if (store->ops->getattr == NULL || store->ops->getattr(store->self, call, &ask, &answer) != PH_ST_OK) {
        call->fault = (struct ph_fault){0};
        return false;
    }
    *attr = answer.attr;
    /* What it has under the new lease already it may have changed itself meanwhile. */
    return !one->fresh || one->claim->version == 0 || one->claim->version == answer.attr->version;
}

static bool fill(struct ph_call *call, const struct claim *one, Pohmel__Attr *attr,
                 Pohmel__ReclaimReply *reply)
{
    Pohmel__LeaseGrant *grant = PH_ARENA_NEW(call->arena, Pohmel__LeaseGrant);

    if (grant == NULL)
        return false;
    pohmel__lease_grant__init(grant);
    grant->lease = attr->lease = one->lease;
    grant->object = one->claim->object;
    grant->mode = attr->lease_mode = one->claim->mode;
    grant->attr = attr;
    reply->grants[reply->n_grants++] = grant;
    return true;
}

/* One after the other: what is looked at is protected by the lease from before. */
static uint32_t reclaim_one(struct ph_call *call, const Pohmel__LeaseClaim *asked,
                            Pohmel__ReclaimReply *reply)
{
    struct ph_server_call *own = call->context;
    struct claim one = {.claim = asked};
    Pohmel__Attr *attr = NULL;
    bool unchanged, filled;

    ph_server_enter(own->server, &own->actions);
    take(own, &one);
    ph_server_leave(own->server);
    if (one.lease == 0)
        return PH_ST_OK;
    unchanged = is_unchanged(call, &one, &attr);
    filled = unchanged && fill(call, &one, attr, reply);
    if (filled)
        return PH_ST_OK;
    ph_server_enter(own->server, &own->actions);
    give_back(own, &one);
    ph_server_leave(own->server);
    return unchanged ? PH_ST_NO_MEMORY : PH_ST_OK;
}

uint32_t ph_server_reclaim(void *self, struct ph_call *call, const Pohmel__ReclaimRequest *request,
                           Pohmel__ReclaimReply *reply)
{
    struct ph_server_call *own = call->context;
    struct ph_server *server = self;
    uint32_t status = PH_ST_OK;
    bool claimed, claims;

    ph_server_enter(server, &own->actions);
    claimed = own->session->claimed;
    claims = own->session->claims;
    ph_server_leave(server);
    if (!claimed)
        return ph_fault_set(&call->fault, PH_ST_NO_LEASE, "there is nothing that the session could claim");
    if (!own->session->caches)
        return ph_fault_set(&call->fault, PH_ST_WRONG_STATE, "the session was opened without leases");
    reply->grants = ph_arena_alloc0(call->arena, request->n_claims + 1, sizeof(*reply->grants));
    if (reply->grants == NULL)
        return PH_ST_NO_MEMORY;
    for (size_t i = 0; i < request->n_claims && status == PH_ST_OK; i++)
        status = reclaim_one(call, request->claims[i], reply);
    if (status == PH_ST_OK && !claims && reply->n_grants == 0)
        return ph_fault_set(&call->fault, PH_ST_NO_LEASE,
                            "the session has said that it claims nothing more, and holds nothing of this");
    return status;
}

uint32_t ph_server_reclaim_done(void *self, struct ph_call *call, const Pohmel__ReclaimDoneRequest *request,
                                Pohmel__ReclaimDoneReply *reply)
{
    struct ph_server_call *own = call->context;
    struct ph_server *server = self;

    ph_server_enter(server, &own->actions);
    reply->confirmed = !own->session->ended && !ph_server_is_stray(own);
    if (reply->confirmed)
        ph_session_claims_no_more(server, own->session);
    ph_server_leave(server);
    return PH_ST_OK;
}
