/* Leases: taken into use, and ended. */
#include "client/core/cache_private.h"
#include "runtime/base/mutant.h"

static void count(struct ph_cache *cache, const struct ph_cache_object *o, int by)
{
    cache->leases[o->is_directory][o->mode] += (uint64_t) (int64_t) by;
}

static void set_mode(struct ph_cache *cache, struct ph_cache_object *o, uint32_t mode)
{
    count(cache, o, -1);
    o->mode = (uint8_t) mode;
    count(cache, o, 1);
}

static void raise_floor(struct ph_cache_object *o, uint64_t lease)
{
    if (lease > o->floor)
        o->floor = lease;
}

bool ph_cache_adopt(struct ph_cache *cache, struct ph_cache_object *o, uint64_t lease, uint32_t mode)
{
    if (mode > POHMEL__LEASE_MODE__MODE_EXCLUSIVE)
        mode = POHMEL__LEASE_MODE__MODE_EXCLUSIVE;
    /* Ids of our own are below every floor; what others recalled is not ours alone any more. */
    if (lease <= o->floor && (lease > PH_LEASE_OWN_MAX || o->recalled)) {
        /* Recalled or given back before it came. Where that is still under way, its release comes. */
        if (o->giving == PH_CACHE_KEPT || lease != o->lease) {
            cache->counters.early_recalls++;
            ph_cache_push(&cache->releases, lease);
        }
        return false;
    }
    if (lease < o->lease)
        return false; /* replaced by a newer one since */
    if (o->lease && o->giving != PH_CACHE_KEPT) {
        raise_floor(o, lease); /* goes back together with the older one */
        return false;
    }
    if (lease == o->lease) {
        /* A reply from before the downgrade does not undo it. */
        if (mode > o->mode && !o->downgraded)
            set_mode(cache, o, mode);
        return true;
    }
    o->downgraded = false;
    if (o->lease) { /* another id for what was held without a gap */
        o->lease = lease;
        set_mode(cache, o, mode);
        return true;
    }
    o->lease = lease;
    o->mode = (uint8_t) mode;
    o->granted = ++cache->clock;
    count(cache, o, 1);
    ph_cache_list_append(&cache->leased, o);
    return true;
}

void ph_cache_touch(struct ph_cache *cache, struct ph_cache_object *o)
{
    if (o->list == &cache->leased && cache->leased.last != o)
        ph_cache_list_append(&cache->leased, o);
}

void ph_cache_mark(struct ph_cache *cache, struct ph_cache_object *o)
{
    raise_floor(o, o->lease);
    o->giving = PH_CACHE_WAITING;
    count(cache, o, -1);
    cache->counters.recalls_pending++;
    ph_cache_list_remove(o);
    ph_cache_go_on(cache, o);
}

void ph_cache_end_lease(struct ph_cache *cache, struct ph_cache_object *o)
{
    if (o->giving == PH_CACHE_KEPT)
        count(cache, o, -1);
    else
        cache->counters.recalls_pending--;
    ph_cache_list_remove(o);
    ph_cache_entries_free(cache, o);
    ph_cache_xattrs_forget(cache, o, true);
    if (o->targeting) {
        /* Others may change the names before our changes are carried out: what these will
         * concern is not known any more. */
        cache->blind_running += o->targeting;
        cache->blind_changed = ++cache->clock;
        o->targeting = 0;
    }
    o->lease = 0;
    o->mode = POHMEL__LEASE_MODE__MODE_NONE;
    o->giving = PH_CACHE_KEPT;
    o->downgraded = false;
    o->known = false;
}

bool ph_cache_give_up(struct ph_cache *cache, uint64_t object)
{
    struct ph_cache_object *o = ph_cache_find(cache, object);
    if (!ph_cache_is_usable(cache, o))
        return false;
    cache->counters.given_up++;
    ph_cache_mark(cache, o);
    return true;
}

size_t ph_cache_give_up_all(struct ph_cache *cache)
{
    size_t given = 0;
    for (; cache->leased.first; given++)
        ph_cache_mark(cache, cache->leased.first);
    cache->counters.given_up += given;
    return given;
}

static bool over_bounds(const struct ph_cache *cache)
{
    size_t held = (size_t) cache->counters.kernel_objects + cache->idle.count;
    return cache->leased.count > cache->leases_max || cache->table.count > cache->objects_max + held ||
           cache->counters.entries > cache->objects_max;
}

size_t ph_cache_release_some(struct ph_cache *cache, size_t max)
{
    size_t given = 0;
    for (; given < max && cache->leased.first && over_bounds(cache); given++)
        ph_cache_mark(cache, cache->leased.first);
    cache->counters.given_up += given;
    return given;
}

/* LEASE, which the server names, is not used: it goes back, unless its recall has seen to that. */
static void refuse(struct ph_cache *cache, struct ph_cache_object *o, uint64_t lease)
{
    if (lease > o->floor && !o->lease)
        ph_cache_push(&cache->releases, lease);
    raise_floor(o, lease);
    ph_cache_settle(cache, o);
}

void ph_cache_promote(struct ph_cache *cache, uint64_t object, uint64_t old_lease, uint64_t new_lease,
                      uint32_t mode)
{
    if (!cache->generation)
        return;
    struct ph_cache_object *o = ph_cache_object(cache, object);
    o->recalled = true; /* ids of our own are over: answers that name one may come late */
    if (o->lease && o->giving == PH_CACHE_KEPT && o->lease != old_lease) {
        ph_cache_settle(cache, o); /* a reply has named the new one, or a newer one, already */
        return;
    }
    if (!o->lease || o->giving != PH_CACHE_KEPT) {
        refuse(cache, o, new_lease);
    } else if (new_lease <= o->floor || mode == POHMEL__LEASE_MODE__MODE_NONE) {
        cache->counters.given_up++;
        ph_cache_mark(cache, o);
    } else {
        o->lease = new_lease;
        set_mode(cache, o,
                 mode < POHMEL__LEASE_MODE__MODE_EXCLUSIVE ? mode : POHMEL__LEASE_MODE__MODE_EXCLUSIVE);
    }
}

/* The server takes EXCLUSIVE back and leaves SHARED: nothing is forgotten. */
static void downgrade(struct ph_cache *cache, struct ph_cache_object *o)
{
    if (o->mode == POHMEL__LEASE_MODE__MODE_EXCLUSIVE) {
        set_mode(cache, o, POHMEL__LEASE_MODE__MODE_SHARED);
        o->downgraded = true;
    }
    ph_cache_push(&cache->kept, o->lease);
}

void ph_cache_recall(struct ph_cache *cache, uint64_t object, uint64_t lease, uint32_t keep)
{
    if (!cache->generation)
        return;
    cache->counters.recalls++;
    struct ph_cache_object *o = ph_cache_object(cache, object);
    /* Of a directory that is being changed the kernel may keep attributes from before the change. */
    bool whole =
        (o->writers && o->mode == POHMEL__LEASE_MODE__MODE_EXCLUSIVE) || (o->running && o->is_directory);
    if (o->lease == lease && o->giving == PH_CACHE_KEPT && keep >= POHMEL__LEASE_MODE__MODE_SHARED &&
        !whole) {
        downgrade(cache, o);
        return;
    }
    if (PH_MUTANT(RELEASE_LOST) && !o->lease)
        return;
    if (o->lease || !PH_MUTANT(RECALL_FORGOTTEN))
        raise_floor(o, lease);
    o->recalled = true;
    if (!o->lease || lease < o->lease) {
        ph_cache_push(&cache->releases, lease);
        ph_cache_settle(cache, o);
    } else if (o->giving == PH_CACHE_KEPT) {
        ph_cache_mark(cache, o); /* the grant of a newer id may be on its way: both go back */
    }
}

void ph_cache_claims(const struct ph_cache *cache, void (*fn)(void *data, const struct ph_claim *claim),
                     void *data)
{
    for (struct ph_lru_entry *entry = cache->table.oldest; entry; entry = entry->newer) {
        const struct ph_cache_object *o = (const struct ph_cache_object *) entry;
        if (o->lease <= PH_LEASE_OWN_MAX)
            continue;
        bool sure = o->known && !o->running && !cache->all_running && !cache->blind_running;
        struct ph_claim claim = {.object = o->lru.key,
                                 .lease = o->lease,
                                 .version = sure ? o->attr.version : 0,
                                 .mode = o->mode,
                                 .releasing = o->giving != PH_CACHE_KEPT};
        fn(data, &claim);
    }
}

void ph_cache_reclaimed(struct ph_cache *cache, const struct ph_claim *claim, uint64_t lease, uint32_t mode)
{
    struct ph_cache_object *o = ph_cache_find(cache, claim->object);
    if (!o || o->lease != claim->lease)
        return; /* its release is on the way, and write-back sees to it */
    if (o->giving != PH_CACHE_KEPT) {
        raise_floor(o, lease); /* goes back together with the older one */
        return;
    }
    if (lease) {
        /* That EXCLUSIVE went is still on its way to the server where write-back has claimed it. */
        uint32_t most = o->downgraded ? POHMEL__LEASE_MODE__MODE_SHARED : POHMEL__LEASE_MODE__MODE_EXCLUSIVE;
        o->lease = lease;
        set_mode(cache, o, mode < most ? mode : most);
    }
    if (lease && claim->version)
        return;
    cache->counters.given_up++;
    ph_cache_mark(cache, o);
}
