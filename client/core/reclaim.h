/* The leases of a session that goes on at a server that was started anew: what is claimed, and what was
 * granted. Pure; used on one thread. Section 9.6 of docs/protocol.md. */
#ifndef PH_CLIENT_CORE_RECLAIM_H
#define PH_CLIENT_CORE_RECLAIM_H

#include <stddef.h>

#include "client/core/claim.h"
#include "client/core/lru.h"
#include "ph_protocol.h"

/* A claim, and its grant: id 0 for none. */
struct ph_reclaimed {
    struct ph_lru_entry lru; /* object; of the table below */
    struct ph_claim claim;
    uint64_t lease;
    uint32_t mode;
};

struct ph_reclaim {
    struct ph_lru table;
};

/* No claims. */
void ph_reclaim_init(struct ph_reclaim *reclaim);

/* Frees all; init is due before it is used again. */
void ph_reclaim_clear(struct ph_reclaim *reclaim);

/* CLAIM is made; one for an object that has one already is ignored. */
void ph_reclaim_add(void *reclaim, const struct ph_claim *claim);

/* All claims: *COUNT of them; to be freed with free. */
struct ph_claim *ph_reclaim_list(const struct ph_reclaim *reclaim, size_t *count);

/* The server granted what REPLY says. What was not claimed is ignored. */
void ph_reclaim_grant(struct ph_reclaim *reclaim, const Pohmel__ReclaimReply *reply);

/* The first claim, and the next one; NULL at the end. */
const struct ph_reclaimed *ph_reclaim_first(const struct ph_reclaim *reclaim);
const struct ph_reclaimed *ph_reclaim_next(const struct ph_reclaimed *reclaimed);

#endif
