/* What is kept, as people are shown it. Any thread; nothing waits. */
#ifndef PH_CLIENT_FUSE_COHERENCE_LOOK_H
#define PH_CLIENT_FUSE_COHERENCE_LOOK_H

#include "client/core/cache_look.h"
#include "client/fuse/coherence.h"

/* The next lease behind CURSOR, as ph_cache_scan; the lease on OBJECT, as ph_cache_lease_of. */
bool ph_coherence_scan(struct ph_coherence *coherence, struct ph_lru_cursor *cursor, size_t *looks,
                       struct ph_cache_lease *out);
bool ph_coherence_lease_of(struct ph_coherence *coherence, uint64_t object, struct ph_cache_lease *out);

/* Attributes of OBJECT (0: of none) that are known for sure now, or NULL. To be freed with g_free. */
struct ph_cached_attr *ph_coherence_known(struct ph_coherence *coherence, uint64_t object);

/* What the server had of OBJECT (0: of everything) when ASK was made is stable there. Remembered for a
 * bounded number of objects. */
void ph_coherence_synced(struct ph_coherence *coherence, uint64_t object, const struct ph_cache_ask *ask);

/* Whether OBJECT is as it was at the last of these: under one lease since then, and not changed from here. */
bool ph_coherence_is_stable(struct ph_coherence *coherence, uint64_t object);

#endif
