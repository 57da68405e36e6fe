#include "client/fuse/coherence_look.h"

#include "client/fuse/coherence_private.h"

bool ph_coherence_scan(struct ph_coherence *coherence, struct ph_lru_cursor *cursor, size_t *looks,
                       struct ph_cache_lease *out)
{
    pthread_mutex_lock(&coherence->mutex);
    bool found = ph_cache_scan(coherence->cache, cursor, looks, out);
    pthread_mutex_unlock(&coherence->mutex);
    return found;
}

bool ph_coherence_lease_of(struct ph_coherence *coherence, uint64_t object, struct ph_cache_lease *out)
{
    pthread_mutex_lock(&coherence->mutex);
    bool found = ph_cache_lease_of(coherence->cache, object, out);
    pthread_mutex_unlock(&coherence->mutex);
    return found;
}

void ph_coherence_synced(struct ph_coherence *coherence, const struct ph_cache_ask *ask)
{
    pthread_mutex_lock(&coherence->mutex);
    struct ph_cache_ask *last = &coherence->synced;
    if (ask->generation > last->generation ||
        (ask->generation == last->generation && ask->clock >= last->clock))
        *last = *ask;
    pthread_mutex_unlock(&coherence->mutex);
}

bool ph_coherence_is_stable(struct ph_coherence *coherence, uint64_t object)
{
    pthread_mutex_lock(&coherence->mutex);
    uint64_t now_ms = ph_coherence_now(coherence);
    bool stable = ph_cache_unchanged(coherence->cache, object, &coherence->synced, now_ms);
    pthread_mutex_unlock(&coherence->mutex);
    return stable;
}
