/* What is promised to sessions of the quotas of users and groups. Pure; its user holds a lock.
 * docs/protocol.md, section 6.12. */
#ifndef PH_STORE_QUOTAS_H
#define PH_STORE_QUOTAS_H

#include <stdbool.h>

#include "server/store/reserves.h"

enum ph_quota_of { PH_QUOTA_OF_USER = 1, PH_QUOTA_OF_GROUP = 2 };

/* Of what a quota counts. */
struct ph_quota_amount {
    uint64_t bytes, objects;
};

struct ph_quota {
    enum ph_quota_of of;
    uint32_t id;
    struct ph_reserves bytes, objects;
};

struct ph_quotas {
    struct ph_quota *items; /* each with something that is promised */
    size_t count, capacity;
};

/* Frees what QUOTAS has; it is empty then. */
void ph_quotas_clear(struct ph_quotas *quotas);

/* SESSION wants, of the quota of OF and ID, NEEDED and MORE (see ph_reserves_set); LEFT is what the quota
 * leaves, promised or not. Returns what it has now. */
struct ph_quota_amount ph_quotas_set(struct ph_quotas *quotas, uint64_t session, enum ph_quota_of of,
                                     uint32_t id, struct ph_quota_amount needed, struct ph_quota_amount more,
                                     struct ph_quota_amount left);

/* SESSION uses up to WHAT of what it has of that quota. *BEYOND: what was not promised to it; *OTHERS: what
 * is promised to others. Returns whether anything is promised to anybody else. */
bool ph_quotas_use(struct ph_quotas *quotas, uint64_t session, enum ph_quota_of of, uint32_t id,
                   struct ph_quota_amount what, struct ph_quota_amount *beyond,
                   struct ph_quota_amount *others);

/* SESSION has nothing any more of the quotas that KEEP does not say yes to; NULL: of none. */
void ph_quotas_end(struct ph_quotas *quotas, uint64_t session,
                   bool (*keep)(const void *data, enum ph_quota_of of, uint32_t id), const void *data);

#endif
