/* Leases on their way back, and what the kernel refers to. */
#include <stdlib.h>
#include <string.h>

#include "client/core/cache_private.h"
#include "runtime/base/mutant.h"

void ph_cache_push(struct ph_cache_ids *ids, uint64_t lease)
{
    if (ids->count == ids->capacity) {
        if (ids->capacity >= PH_CACHE_RELEASES_MAX)
            return;
        ids->capacity = ids->capacity ? ids->capacity * 2 : 64;
        ids->ids = realloc(ids->ids, ids->capacity * sizeof(*ids->ids));
        if (!ids->ids)
            abort();
    }
    ids->ids[ids->count++] = lease;
}

/* Moves up to PH_LEASES_PER_RELEASE ids to OUT; returns how many. */
static size_t take_ids(struct ph_cache_ids *ids, uint64_t *out)
{
    size_t count = ids->count - ids->first;
    if (count > PH_LEASES_PER_RELEASE)
        count = PH_LEASES_PER_RELEASE;
    if (count)
        memcpy(out, ids->ids + ids->first, count * sizeof(*out));
    ids->first += count;
    if (ids->first == ids->count)
        ids->first = ids->count = 0;
    return count;
}

/* Nothing in the kernel rests on the lease of O any more. */
static void finish(struct ph_cache *cache, struct ph_cache_object *o)
{
    ph_cache_push(&cache->releases, o->lease);
    if (o->floor > o->lease)
        ph_cache_push(&cache->releases, o->floor); /* granted, and recalled too, meanwhile */
    ph_cache_end_lease(cache, o);
    ph_cache_settle(cache, o);
}

void ph_cache_go_on(struct ph_cache *cache, struct ph_cache_object *o)
{
    if (o->giving != PH_CACHE_WAITING || o->in_reply)
        return;
    if (o->opens) {
        o->giving = PH_CACHE_OPENING;
        ph_cache_list_append(&cache->ready, o);
        return;
    }
    if (!o->kernel || PH_MUTANT(RELEASE_FIRST)) {
        finish(cache, o);
        return;
    }
    o->giving = PH_CACHE_READY;
    ph_cache_list_append(&cache->ready, o);
}

/* The next object that is to be opened at the server, or that the kernel must forget, or NULL. Some need that
 * no longer. */
static struct ph_cache_object *next_ready(struct ph_cache *cache)
{
    while (cache->ready.first) {
        struct ph_cache_object *o = cache->ready.first;
        ph_cache_list_remove(o);
        if (o->giving == PH_CACHE_OPENING && o->opens)
            return o;
        if (o->giving == PH_CACHE_OPENING) {
            o->giving = PH_CACHE_WAITING;
            ph_cache_go_on(cache, o);
            continue;
        }
        if (o->kernel)
            return o;
        finish(cache, o);
    }
    return NULL;
}

bool ph_cache_next_work(struct ph_cache *cache, struct ph_cache_work *work)
{
    struct ph_cache_object *o = next_ready(cache);
    if (o && o->giving == PH_CACHE_OPENING) {
        work->kind = PH_CACHE_OPEN;
        work->open.object = o->lru.key;
        return true;
    }
    if (o) {
        o->giving = PH_CACHE_DROPPING;
        work->kind = PH_CACHE_DROP;
        work->drop.object = o->lru.key;
        work->drop.lease = o->lease;
        work->drop.generation = cache->generation;
        work->drop.names = o->directory ? o->directory->told : 0;
        work->drop.is_directory = o->is_directory;
        work->drop.kernel = true;
        work->drop.pages = o->pages;
        o->pages = false; /* pages that come from now on set it again */
        return true;
    }
    if (!ph_cache_has_work(cache))
        return false;
    work->kind = PH_CACHE_RELEASE;
    work->release.generation = cache->generation;
    work->release.count = take_ids(&cache->releases, work->release.leases);
    work->release.kept_count = take_ids(&cache->kept, work->release.kept);
    return true;
}

bool ph_cache_has_work(const struct ph_cache *cache)
{
    return cache->ready.first || cache->releases.count || cache->kept.count;
}

void ph_cache_dropped(struct ph_cache *cache, uint64_t object, uint64_t lease)
{
    struct ph_cache_object *o = ph_cache_find(cache, object);
    if (o && o->giving == PH_CACHE_DROPPING && o->lease == lease)
        finish(cache, o);
}

void ph_cache_reply_begin(struct ph_cache *cache, uint64_t object)
{
    struct ph_cache_object *o = ph_cache_object(cache, object);
    o->in_reply++;
    ph_cache_settle(cache, o);
}

void ph_cache_reply_end(struct ph_cache *cache, uint64_t object)
{
    struct ph_cache_object *o = ph_cache_find(cache, object);
    if (!o || !o->in_reply)
        return;
    o->in_reply--;
    if (o->giving == PH_CACHE_WAITING)
        ph_cache_go_on(cache, o);
    else
        ph_cache_settle(cache, o);
}

bool ph_cache_open_begin(struct ph_cache *cache, uint64_t object, uint64_t now_ms)
{
    struct ph_cache_object *o = ph_cache_find(cache, object);
    if (!o || !ph_cache_is_leased(cache, object, now_ms) || o->opens == UINT32_MAX)
        return false;
    o->opens++;
    return true;
}

void ph_cache_open_end(struct ph_cache *cache, uint64_t object)
{
    struct ph_cache_object *o = ph_cache_find(cache, object);
    if (!o || !o->opens)
        return;
    o->opens--;
    if (!o->opens && o->giving == PH_CACHE_OPENING && o->list != &cache->ready) {
        o->giving = PH_CACHE_WAITING;
        ph_cache_go_on(cache, o);
    } else {
        ph_cache_settle(cache, o);
    }
}

void ph_cache_kernel_add(struct ph_cache *cache, uint64_t object, uint64_t n)
{
    if (n == 0)
        return;
    struct ph_cache_object *o = ph_cache_object(cache, object);
    cache->counters.kernel_objects += o->kernel == 0;
    o->kernel += n;
    ph_cache_settle(cache, o);
}

void ph_cache_kernel_forget(struct ph_cache *cache, uint64_t object, uint64_t n)
{
    struct ph_cache_object *o = ph_cache_find(cache, object);
    if (!o || !o->kernel || n == 0)
        return;
    o->kernel -= n < o->kernel ? n : o->kernel;
    if (o->kernel)
        return;
    cache->counters.kernel_objects--;
    o->pages = false;
    ph_cache_settle(cache, o);
}

bool ph_cache_kernel_has(const struct ph_cache *cache, uint64_t object)
{
    const struct ph_cache_object *o = ph_cache_find(cache, object);
    return o && o->kernel;
}

bool ph_cache_pages(struct ph_cache *cache, uint64_t object, uint64_t now_ms)
{
    struct ph_cache_object *o = ph_cache_find(cache, object);
    if (o && o->kernel)
        o->pages = true;
    return ph_cache_is_leased(cache, object, now_ms);
}

void ph_cache_each_kernel(struct ph_cache *cache, void (*fn)(void *data, const struct ph_cache_held *held),
                          void *data)
{
    for (struct ph_lru_entry *entry = cache->table.newest; entry; entry = entry->older) {
        struct ph_cache_object *o = (struct ph_cache_object *) entry;
        if (!o->kernel)
            continue;
        struct ph_cache_held held = {o->lru.key, o->is_directory, o->pages};
        o->pages = false;
        fn(data, &held);
    }
}
