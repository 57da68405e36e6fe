/* The cache's objects, session and time. */
#include <stdlib.h>

#include "client/core/cache_private.h"
#include "runtime/base/mutant.h"
#include "runtime/base/zeroed.h"

enum {
    UNTOLD_S = 10
}; /* for which an answer may lie unread, at most: whoever waits for it is not let run so long */

struct ph_cache *ph_cache_new(size_t objects_max, size_t leases_max)
{
    struct ph_cache *cache = calloc(1, sizeof(*cache));
    if (!cache)
        abort();
    ph_lru_init(&cache->table);
    cache->objects_max = objects_max;
    cache->leases_max = leases_max;
    return cache;
}

static void free_object(struct ph_cache *cache, struct ph_cache_object *o)
{
    ph_cache_entries_free(cache, o);
    ph_cache_xattrs_forget(cache, o, true);
    free(o);
}

void ph_cache_free(struct ph_cache *cache)
{
    if (!cache)
        return;
    for (struct ph_lru_entry *entry = cache->table.newest; entry;) {
        struct ph_lru_entry *older = entry->older;
        free_object(cache, (struct ph_cache_object *) entry);
        entry = older;
    }
    cache->table.newest = NULL;
    ph_lru_clear(&cache->table, NULL);
    free(cache->releases.ids);
    free(cache->kept.ids);
    free(cache);
}

void ph_cache_list_remove(struct ph_cache_object *o)
{
    struct ph_cache_list *list = o->list;
    if (!list)
        return;
    if (o->previous)
        o->previous->next = o->next;
    else
        list->first = o->next;
    if (o->next)
        o->next->previous = o->previous;
    else
        list->last = o->previous;
    list->count--;
    o->list = NULL;
}

void ph_cache_list_append(struct ph_cache_list *list, struct ph_cache_object *o)
{
    ph_cache_list_remove(o);
    o->list = list;
    o->next = NULL;
    o->previous = list->last;
    if (list->last)
        list->last->next = o;
    else
        list->first = o;
    list->last = o;
    list->count++;
}

struct ph_cache_object *ph_cache_find(const struct ph_cache *cache, uint64_t object)
{
    return (struct ph_cache_object *) ph_lru_find(&cache->table, object);
}

/* What O knew of recalls and changes counts for every unknown object from now on. */
static void let_go(struct ph_cache *cache, struct ph_cache_object *o)
{
    if (o->floor > cache->floor)
        cache->floor = o->floor;
    if (o->changed > cache->changed)
        cache->changed = o->changed;
    ph_cache_list_remove(o);
    ph_lru_remove(&cache->table, &o->lru);
    free_object(cache, o);
}

struct ph_cache_object *ph_cache_object(struct ph_cache *cache, uint64_t object)
{
    struct ph_cache_object *o = ph_cache_find(cache, object);
    if (o)
        return o;
    while (cache->idle.count > PH_CACHE_IDLE_MAX)
        let_go(cache, cache->idle.first);
    o = ph_zeroed(sizeof(*o));
    o->floor = cache->floor;
    o->changed = cache->changed;
    ph_lru_add(&cache->table, &o->lru, object);
    return o;
}

void ph_cache_settle(struct ph_cache *cache, struct ph_cache_object *o)
{
    bool idle = !o->lease && !o->kernel && !o->running && !o->in_reply && !o->opens && !o->writers;
    if (!idle) {
        if (o->list == &cache->idle)
            ph_cache_list_remove(o);
    } else if (o->floor <= cache->floor && o->changed <= cache->changed) {
        let_go(cache, o);
    } else if (o->list != &cache->idle) {
        ph_cache_list_append(&cache->idle, o);
    }
}

void ph_cache_session(struct ph_cache *cache, uint64_t generation, uint32_t lease_ttl_ms, bool leases_granted,
                      bool watched)
{
    if (cache->generation)
        ph_cache_lost(cache);
    cache->generation = generation;
    uint64_t lease_ms = (uint64_t) lease_ttl_ms * PH_LEASE_RATE_PER_MILLE / 1000;
    cache->lease_ms = lease_ms > PH_LEASE_MARGIN_MS ? lease_ms - PH_LEASE_MARGIN_MS : 0;
    cache->valid_until_ms = 0;
    cache->granting = leases_granted;
    cache->watched = watched;
}

void ph_cache_lost(struct ph_cache *cache)
{
    if (!cache->generation || PH_MUTANT(KEPT_AFTER_LOSS))
        return;
    cache->generation = 0;
    cache->valid_until_ms = 0;
    cache->counters.losses++;
    cache->releases.first = cache->releases.count = 0;
    cache->kept.first = cache->kept.count = 0;
    for (struct ph_lru_entry *entry = cache->table.newest; entry;) {
        struct ph_lru_entry *older = entry->older;
        struct ph_cache_object *o = (struct ph_cache_object *) entry;
        o->recalled = false;
        if (o->lease)
            ph_cache_end_lease(cache, o);
        ph_cache_settle(cache, o); /* lets go of none but O */
        entry = older;
    }
}

void ph_cache_answered(struct ph_cache *cache, uint64_t generation, uint64_t sent_ms)
{
    if (generation == 0 || generation != cache->generation || cache->lease_ms == 0)
        return;
    if (sent_ms + cache->lease_ms > cache->valid_until_ms)
        cache->valid_until_ms = sent_ms + cache->lease_ms;
}

uint64_t ph_cache_leases_until_ms(const struct ph_cache *cache)
{
    return cache->generation ? cache->valid_until_ms : 0;
}

struct ph_cache_ask ph_cache_ask(const struct ph_cache *cache, uint64_t now_ms)
{
    return (struct ph_cache_ask){.generation = cache->generation, .clock = cache->clock, .sent_ms = now_ms};
}

bool ph_cache_is_live(const struct ph_cache *cache, const struct ph_cache_ask *ask)
{
    return cache->granting && ask->generation != 0 && ask->generation == cache->generation;
}

bool ph_cache_is_usable(const struct ph_cache *cache, const struct ph_cache_object *o)
{
    return o && cache->generation != 0 && o->lease != 0 && o->giving == PH_CACHE_KEPT;
}

uint64_t ph_cache_left_ms(const struct ph_cache *cache, uint64_t asked_ms, uint64_t now_ms)
{
    uint64_t until_ms = cache->valid_until_ms;
    if (PH_MUTANT(NO_EXPIRY))
        return PH_LEASE_TTL_MS;
    if (!cache->watched && asked_ms + PH_UNWATCHED_TIMEOUT_MS < until_ms)
        until_ms = asked_ms + PH_UNWATCHED_TIMEOUT_MS;
    return now_ms < until_ms ? until_ms - now_ms : 0;
}

bool ph_cache_untouched(const struct ph_cache *cache, const struct ph_cache_object *o, uint64_t clock,
                        uint32_t own)
{
    return o->running == own && o->changed <= clock && !cache->all_running && cache->all_changed <= clock;
}

uint64_t ph_cache_valid_ms(const struct ph_cache *cache, uint64_t object, uint64_t now_ms)
{
    const struct ph_cache_object *o = ph_cache_find(cache, object);
    return ph_cache_is_usable(cache, o) ? ph_cache_left_ms(cache, now_ms, now_ms) : 0;
}

bool ph_cache_is_leased(const struct ph_cache *cache, uint64_t object, uint64_t now_ms)
{
    return ph_cache_valid_ms(cache, object, now_ms) > 0;
}

uint64_t ph_cache_held_since(const struct ph_cache *cache, uint64_t object, uint64_t now_ms)
{
    const struct ph_cache_object *o = ph_cache_find(cache, object);
    return cache->watched && ph_cache_is_leased(cache, object, now_ms) ? o->granted : 0;
}

/* A lease on OBJECT was held when ASK was sent and is held still. */
static bool covered(const struct ph_cache *cache, uint64_t object, const struct ph_cache_ask *ask,
                    uint64_t now_ms)
{
    const struct ph_cache_object *o = ph_cache_find(cache, object);
    return ph_cache_is_live(cache, ask) && ph_cache_is_usable(cache, o) && o->granted <= ask->clock &&
           ph_cache_left_ms(cache, ask->sent_ms, now_ms) > 0;
}

bool ph_cache_unchanged(const struct ph_cache *cache, uint64_t object, const struct ph_cache_ask *ask,
                        uint64_t now_ms)
{
    const struct ph_cache_object *o = ph_cache_find(cache, object);
    return covered(cache, object, ask, now_ms) && ph_cache_untouched(cache, o, ask->clock, 0);
}

void ph_cache_attr_told(struct ph_cache *cache, uint64_t object)
{
    struct ph_cache_object *o = ph_cache_find(cache, object);
    if (o != NULL)
        o->attr_told = true;
}

bool ph_cache_take_attr_told(struct ph_cache *cache, uint64_t object)
{
    struct ph_cache_object *o = ph_cache_find(cache, object);
    bool told = o != NULL && o->attr_told;
    if (told)
        o->attr_told = false;
    return told;
}

void ph_cache_set_untold(struct ph_cache *cache, uint64_t object, uint64_t now_ms)
{
    struct ph_cache_object *o = ph_cache_find(cache, object);
    if (o != NULL)
        o->untold_until_s = (uint32_t) (now_ms / 1000) + UNTOLD_S;
}

bool ph_cache_is_untold(const struct ph_cache *cache, uint64_t object, uint64_t now_ms)
{
    const struct ph_cache_object *o = ph_cache_find(cache, object);
    return o != NULL && o->untold_until_s != 0 && (o->running > 0 || now_ms / 1000 < o->untold_until_s);
}

void ph_cache_set_hot(struct ph_cache *cache, uint64_t object, uint64_t until_ms)
{
    struct ph_cache_object *o = ph_cache_find(cache, object);
    if (o != NULL)
        o->hot_until_ms = until_ms;
}

bool ph_cache_is_hot(const struct ph_cache *cache, uint64_t object, uint64_t now_ms)
{
    const struct ph_cache_object *o = ph_cache_find(cache, object);
    return o != NULL && now_ms < o->hot_until_ms;
}

bool ph_cache_may_have_pages(const struct ph_cache *cache, uint64_t object)
{
    const struct ph_cache_object *o = ph_cache_find(cache, object);
    return o != NULL && (o->pages || o->giving == PH_CACHE_DROPPING);
}

bool ph_cache_is_going_back(const struct ph_cache *cache, uint64_t object)
{
    const struct ph_cache_object *o = ph_cache_find(cache, object);
    return o != NULL && o->lease != 0 && o->giving != PH_CACHE_KEPT;
}

bool ph_cache_is_exclusive(const struct ph_cache *cache, uint64_t object)
{
    const struct ph_cache_object *o = ph_cache_find(cache, object);
    return ph_cache_is_usable(cache, o) && o->mode == POHMEL__LEASE_MODE__MODE_EXCLUSIVE;
}

void ph_cache_writers(struct ph_cache *cache, uint64_t object, int by)
{
    struct ph_cache_object *o = ph_cache_object(cache, object);
    o->writers += (uint32_t) by;
    ph_cache_settle(cache, o);
}

bool ph_cache_has_writers(const struct ph_cache *cache, uint64_t object)
{
    const struct ph_cache_object *o = ph_cache_find(cache, object);
    return o != NULL && o->writers > 0;
}

bool ph_cache_is_directory(const struct ph_cache *cache, uint64_t object)
{
    const struct ph_cache_object *o = ph_cache_find(cache, object);
    return o != NULL && o->is_directory;
}

bool ph_cache_is_held(const struct ph_cache *cache, uint64_t object)
{
    const struct ph_cache_object *o = ph_cache_find(cache, object);
    return o != NULL && o->lease != 0;
}

void ph_cache_count(const struct ph_cache *cache, struct ph_cache_counters *out)
{
    *out = cache->counters;
    out->objects = cache->table.count;
    out->files_shared = cache->leases[0][POHMEL__LEASE_MODE__MODE_SHARED];
    out->files_exclusive = cache->leases[0][POHMEL__LEASE_MODE__MODE_EXCLUSIVE];
    out->directories_shared = cache->leases[1][POHMEL__LEASE_MODE__MODE_SHARED];
    out->directories_exclusive = cache->leases[1][POHMEL__LEASE_MODE__MODE_EXCLUSIVE];
}
