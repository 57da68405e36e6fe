#include "client/core/cache_look.h"

#include "client/core/cache_private.h"

static enum ph_cache_lease_state state_of(const struct ph_cache_object *o)
{
    switch ((enum ph_cache_giving) o->giving) {
    case PH_CACHE_KEPT:
        return PH_CACHE_LEASE_HELD;
    case PH_CACHE_WAITING:
    case PH_CACHE_OPENING:
        return PH_CACHE_LEASE_RECALLED;
    default:
        return PH_CACHE_LEASE_DROPPING;
    }
}

static void describe(const struct ph_cache_object *o, struct ph_cache_lease *out)
{
    *out = (struct ph_cache_lease){
        .object = o->lru.key,
        .lease = o->lease,
        .mode = o->mode,
        .state = state_of(o),
        .is_directory = o->is_directory,
        .complete = o->directory && o->directory->complete,
        .pages = o->pages,
        .known = o->known,
        .learned_ms = o->learned_ms,
        .names = o->directory ? o->directory->count : 0,
    };
}

bool ph_cache_scan(const struct ph_cache *cache, struct ph_lru_cursor *cursor, size_t *looks,
                   struct ph_cache_lease *out)
{
    struct ph_lru_entry *entry;
    while ((entry = ph_lru_scan(&cache->table, cursor, looks)) != NULL) {
        const struct ph_cache_object *o = (const struct ph_cache_object *) entry;
        if (o->lease != 0) {
            describe(o, out);
            return true;
        }
    }
    return false;
}

bool ph_cache_lease_of(const struct ph_cache *cache, uint64_t object, struct ph_cache_lease *out)
{
    const struct ph_cache_object *o = ph_cache_find(cache, object);
    if (!o || o->lease == 0)
        return false;
    describe(o, out);
    return true;
}
