/* Who can say what has become of an object, without giving it back. */
#include "runtime/base/mutant.h"
#include "server/core/lease_private.h"

struct ph_lease_session *ph_leases_teller(const struct ph_leases *leases, const struct ph_lease_session *own,
                                          size_t space, uint64_t object, uint64_t *id)
{
    const struct ph_lease_object *entry = ph_lease_object_find(leases, space, object);
    const struct ph_lease *lease = entry == NULL ? NULL : LIST_FIRST(&entry->holders);

    /* Who waits is given it first: its holder will not have it by then. */
    if (lease == NULL || lease->mode != PH_LEASE_EXCLUSIVE || lease->span != NULL || lease->session == own ||
        lease->session->lost || ph_lease_is_recalled(lease) || entry->queue != NULL)
        return NULL;
    *id = lease->id;
    return lease->session;
}

void ph_leases_will_share(struct ph_leases *leases, struct ph_lease_session *session, uint64_t id)
{
    struct ph_lease *lease = ph_lease_find(leases, session, id);

    if (lease == NULL || lease->mode != PH_LEASE_EXCLUSIVE || lease->span != NULL)
        return;
    ph_lease_mark_recalled(leases, lease, PH_LEASE_SHARED);
    ph_lease_settle(leases);
}

bool ph_leases_take_hint(struct ph_leases *leases, size_t space, uint64_t object)
{
    const struct ph_lease_object *entry = ph_lease_object_find(leases, space, object);
    struct ph_lease *lease = entry == NULL ? NULL : LIST_FIRST(&entry->holders);

    if (lease == NULL || lease->mode != PH_LEASE_EXCLUSIVE || lease->span != NULL || lease->hinted)
        return false;
    lease->hinted = 1;
    return true;
}
