/* The table of leases, as people are shown it, and what they ask of it. With the mutex of the server core. */
#ifndef PH_SERVER_CORE_LEASE_LOOK_H
#define PH_SERVER_CORE_LEASE_LOOK_H

#include "server/core/lease.h"
#include "server/core/table.h"

/* One lease. */
struct ph_lease_view {
    uint64_t object, id;
    enum ph_lease_mode mode;
    bool recalled;
    uint64_t recalled_ms; /* if so: how long ago */
    bool lost;            /* its holder's connection is lost: it is kept until it expires */
    char who[PH_LEASE_WHO_BYTES];
};

/* The next lease of export SPACE behind CURSOR (cleared at first; ph_table_scan) in *OUT. False at the end,
 * or when *LOOKS is used up. */
bool ph_leases_scan(const struct ph_leases *leases, size_t space, struct ph_table_cursor *cursor,
                    size_t *looks, struct ph_lease_view *out);

/* Those who left leases on SPACE behind. */
struct ph_lease_left {
    char who[PH_LEASE_WHO_BYTES];
    size_t leases;
    uint64_t lost_ms; /* how long ago */
};

/* The first MAX of them into OUT; returns how many there are. */
size_t ph_leases_left(const struct ph_leases *leases, size_t space, struct ph_lease_left *out, size_t max);

/* Id of the newest lease of SPACE. */
uint64_t ph_leases_newest(const struct ph_leases *leases, size_t space);

/* What a sweep found. */
struct ph_lease_sweep {
    struct ph_table_cursor cursor;
    size_t waiting; /* exclusive leases that are asked for */
    size_t lost;    /* those of clients that cannot be asked */
};

/* Asks for the exclusive leases on SPACE that are no newer than NEWEST, whose holders keep them as shared;
 * goes on at the cursor of SWEEP, until *LOOKS leases and buckets were looked at, or the cursor is at its
 * end. For who wants all that clients have not written back: sweeps until nothing is waiting. */
void ph_leases_sweep(struct ph_leases *leases, size_t space, uint64_t newest, struct ph_lease_sweep *sweep,
                     size_t *looks);

#endif
