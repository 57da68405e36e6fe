#include "server/core/lease_look.h"

#include <string.h>

#include "runtime/base/limits.h"
#include "server/core/lease_private.h"

/* The next lease of SPACE, or NULL. */
static struct ph_lease *scan(const struct ph_leases *leases, size_t space, struct ph_table_cursor *cursor,
                             size_t *looks)
{
    struct ph_table_node *node;

    while (*looks > 0 && (node = ph_table_scan(&leases->ids, cursor, looks)) != NULL) {
        struct ph_lease *lease = PH_TABLE_ENTRY(node, struct ph_lease, node);

        *looks -= *looks > 0;
        if (lease->object->space == space)
            return lease;
    }
    return NULL;
}

bool ph_leases_scan(const struct ph_leases *leases, size_t space, struct ph_table_cursor *cursor,
                    size_t *looks, struct ph_lease_view *out)
{
    const struct ph_lease *lease = scan(leases, space, cursor, looks);

    if (lease == NULL)
        return false;
    *out = (struct ph_lease_view){
        .object = lease->object->object,
        .id = lease->id,
        .mode = (enum ph_lease_mode) lease->mode,
        .recalled = ph_lease_is_recalled(lease),
        .recalled_ms = ph_lease_is_recalled(lease) ? leases->now_ms - lease->recalled_ms : 0,
        .lost = lease->session->lost,
    };
    memcpy(out->who, lease->session->who, sizeof(out->who));
    return true;
}

size_t ph_leases_left(const struct ph_leases *leases, size_t space, struct ph_lease_left *out, size_t max)
{
    const struct ph_lease_session *session;
    size_t count = 0;

    LIST_FOREACH(session, &leases->space[space].all, of_space)
    {
        if (!session->lost)
            continue;
        if (count < max) {
            out[count].leases = session->count;
            out[count].lost_ms = leases->now_ms - session->lost_ms;
            memcpy(out[count].who, session->who, sizeof(out[count].who));
        }
        count++;
    }
    return count;
}

uint64_t ph_leases_newest(const struct ph_leases *leases, size_t space)
{
    return (leases->space[space].epoch << PH_LEASE_ID_COUNT_BITS) | leases->last_id;
}

void ph_leases_sweep(struct ph_leases *leases, size_t space, uint64_t newest, struct ph_lease_sweep *sweep,
                     size_t *looks)
{
    struct ph_lease *lease;

    while ((lease = scan(leases, space, &sweep->cursor, looks)) != NULL) {
        if (lease->mode != PH_LEASE_EXCLUSIVE || lease->id > newest)
            continue;
        if (lease->session->lost) {
            sweep->lost++;
            continue;
        }
        sweep->waiting++;
        /* A holder is not asked for everything at once; later sweeps come here again. */
        if (lease->session->recalled_count < PH_RECALLS_AT_ONCE)
            ph_lease_recall(leases, lease, lease->span == NULL ? PH_LEASE_SHARED : PH_LEASE_NONE);
    }
    ph_lease_settle(leases);
}
