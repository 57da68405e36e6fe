#include "client/fuse/coherence_look.h"

#include "client/fuse/coherence_private.h"

enum { SYNCED_MAX = 65536 /* objects of which it is remembered that they are stable */ };

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

struct ph_cached_attr *ph_coherence_known(struct ph_coherence *coherence, uint64_t object)
{
    struct ph_cached_attr attr;
    uint64_t valid_ms;
    pthread_mutex_lock(&coherence->mutex);
    bool known = object != 0 &&
                 ph_cache_getattr(coherence->cache, object, ph_coherence_now(coherence), &attr, &valid_ms);
    pthread_mutex_unlock(&coherence->mutex);
    return known ? g_memdup2(&attr, sizeof attr) : NULL;
}

/* What was made stable by itself. */
struct synced {
    struct ph_lru_entry lru; /* first: the table hands out this address */
    struct ph_cache_ask ask;
};

static void free_synced(struct ph_lru_entry *entry)
{
    g_free(entry);
}

void ph_coherence_synced_clear(struct ph_coherence *coherence)
{
    if (coherence->synced_objects.buckets != NULL)
        ph_lru_clear(&coherence->synced_objects, free_synced);
}

/* That of OBJECT, or of everything for 0; made if need be. With the mutex held. */
static struct ph_cache_ask *place_of(struct ph_coherence *coherence, uint64_t object)
{
    struct ph_lru *objects = &coherence->synced_objects;
    if (object == 0)
        return &coherence->synced;
    if (objects->buckets == NULL)
        ph_lru_init(objects);
    struct ph_lru_entry *entry = ph_lru_find(objects, object);
    if (entry != NULL) {
        ph_lru_touch(objects, entry);
        return &((struct synced *) entry)->ask;
    }
    if (objects->count >= SYNCED_MAX) {
        entry = objects->oldest;
        ph_lru_remove(objects, entry);
        g_free(entry);
    }
    struct synced *synced = g_new0(struct synced, 1);
    ph_lru_add(objects, &synced->lru, object);
    return &synced->ask;
}

void ph_coherence_synced(struct ph_coherence *coherence, uint64_t object, const struct ph_cache_ask *ask)
{
    pthread_mutex_lock(&coherence->mutex);
    struct ph_cache_ask *last = place_of(coherence, object);
    if (ask->generation > last->generation ||
        (ask->generation == last->generation && ask->clock >= last->clock))
        *last = *ask;
    pthread_mutex_unlock(&coherence->mutex);
}

bool ph_coherence_is_stable(struct ph_coherence *coherence, uint64_t object)
{
    pthread_mutex_lock(&coherence->mutex);
    const struct ph_lru *objects = &coherence->synced_objects;
    const struct synced *own =
        objects->buckets != NULL ? (const struct synced *) ph_lru_find(objects, object) : NULL;
    uint64_t now_ms = ph_coherence_now(coherence);
    bool stable = ph_cache_unchanged(coherence->cache, object, &coherence->synced, now_ms) ||
                  (own != NULL && ph_cache_unchanged(coherence->cache, object, &own->ask, now_ms));
    pthread_mutex_unlock(&coherence->mutex);
    return stable;
}
