/* The leases of the cache, one by one, as people are shown them. Pure; under the cache's lock. */
#ifndef PH_CLIENT_CORE_CACHE_LOOK_H
#define PH_CLIENT_CORE_CACHE_LOOK_H

#include "client/core/cache.h"
#include "client/core/lru.h"

/* How far a lease is on its way. */
enum ph_cache_lease_state {
    PH_CACHE_LEASE_HELD,
    PH_CACHE_LEASE_RECALLED, /* wanted back; answers that are being written go first */
    PH_CACHE_LEASE_DROPPING, /* the kernel is being made to forget */
};

/* One lease, as it is now. */
struct ph_cache_lease {
    uint64_t object, lease;
    uint32_t mode; /* LeaseMode */
    enum ph_cache_lease_state state;
    bool is_directory, complete; /* COMPLETE: all names of the directory are known */
    bool pages;                  /* the kernel may keep data, or a listing */
    bool known;                  /* attributes are */
    uint64_t learned_ms;         /* if so: when they were asked for */
    uint32_t names;              /* of a directory that are known, or known to be absent */
};

/* The next lease behind CURSOR (cleared at first; ph_lru_scan) in *OUT. False at the end, or when
 * *LOOKS is used up. Does not count as use. */
bool ph_cache_scan(const struct ph_cache *cache, struct ph_lru_cursor *cursor, size_t *looks,
                   struct ph_cache_lease *out);

/* The lease on OBJECT in *OUT; false when none is held. Does not count as use. */
bool ph_cache_lease_of(const struct ph_cache *cache, uint64_t object, struct ph_cache_lease *out);

#endif
