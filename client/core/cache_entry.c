/* The names of directories: stored once, in a table of each directory. */
#include <stdlib.h>
#include <string.h>

#include "client/core/cache_private.h"
#include "runtime/base/zeroed.h"

enum { FIRST_BUCKETS = 8 };

/* FNV-1a: names are short. */
static uint32_t hash_name(const void *name, size_t len)
{
    const uint8_t *bytes = name;
    uint32_t hash = UINT32_C(2166136261);
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ bytes[i]) * UINT32_C(16777619);
    return hash ^ (hash >> 15);
}

static bool name_fits(size_t len)
{
    return len >= 1 && len <= PH_NAME_MAX_BYTES;
}

static struct ph_cache_entry **new_buckets(uint32_t count)
{
    struct ph_cache_entry **buckets = calloc(count, sizeof(*buckets));
    if (!buckets)
        abort();
    return buckets;
}

struct ph_cache_directory *ph_cache_directory_of(struct ph_cache_object *o)
{
    if (!o->directory) {
        o->directory = calloc(1, sizeof(*o->directory));
        if (!o->directory)
            abort();
        o->directory->buckets = new_buckets(FIRST_BUCKETS);
        o->directory->bucket_count = FIRST_BUCKETS;
    }
    return o->directory;
}

static void grow(struct ph_cache_directory *directory)
{
    uint32_t count = directory->bucket_count * 2;
    struct ph_cache_entry **buckets = new_buckets(count);
    for (uint32_t i = 0; i < directory->bucket_count; i++) {
        for (struct ph_cache_entry *entry = directory->buckets[i]; entry;) {
            struct ph_cache_entry *next = entry->chain;
            entry->chain = buckets[entry->hash & (count - 1)];
            buckets[entry->hash & (count - 1)] = entry;
            entry = next;
        }
    }
    free(directory->buckets);
    directory->buckets = buckets;
    directory->bucket_count = count;
}

void ph_cache_entries_free(struct ph_cache *cache, struct ph_cache_object *o)
{
    struct ph_cache_directory *directory = o->directory;
    if (!directory)
        return;
    for (uint32_t i = 0; i < directory->bucket_count; i++) {
        for (struct ph_cache_entry *entry = directory->buckets[i]; entry;) {
            struct ph_cache_entry *next = entry->chain;
            free(entry);
            entry = next;
        }
    }
    cache->counters.entries -= directory->count;
    cache->counters.complete_directories -= directory->complete;
    free(directory->buckets);
    free(directory);
    o->directory = NULL;
}

struct ph_cache_entry *ph_cache_entry_find(const struct ph_cache_object *o, const void *name, size_t len)
{
    if (!o || !o->directory)
        return NULL;
    uint32_t hash = hash_name(name, len);
    struct ph_cache_entry *entry = o->directory->buckets[hash & (o->directory->bucket_count - 1)];
    while (entry && (entry->hash != hash || entry->len != len || memcmp(entry->name, name, len) != 0))
        entry = entry->chain;
    return entry;
}

/* ENTRY of O stands for OBJECT. */
static void point_to(struct ph_cache *cache, const struct ph_cache_object *o, struct ph_cache_entry *entry,
                     uint64_t object)
{
    if (entry->object != object)
        entry->type = 0;
    entry->object = object;
    struct ph_cache_object *found = object != 0 ? ph_cache_find(cache, object) : NULL;
    if (found && found->is_directory)
        found->parent = o->lru.key;
}

struct ph_cache_entry *ph_cache_entry_put(struct ph_cache *cache, struct ph_cache_object *o, const void *name,
                                          size_t len, uint64_t object, uint64_t asked_ms)
{
    struct ph_cache_entry *entry = ph_cache_entry_find(o, name, len);
    if (!entry) {
        struct ph_cache_directory *directory = ph_cache_directory_of(o);
        if (directory->count >= directory->bucket_count && directory->bucket_count <= UINT32_MAX / 2)
            grow(directory);
        entry = ph_zeroed(sizeof(*entry) + len);
        entry->hash = hash_name(name, len);
        entry->len = (uint8_t) len;
        memcpy(entry->name, name, len);
        struct ph_cache_entry **bucket = &directory->buckets[entry->hash & (directory->bucket_count - 1)];
        entry->chain = *bucket;
        *bucket = entry;
        directory->count++;
        cache->counters.entries++;
    }
    if (entry->object != object || asked_ms > entry->learned_ms)
        entry->learned_ms = asked_ms;
    point_to(cache, o, entry, object);
    return entry;
}

void ph_cache_entry_remove(struct ph_cache *cache, struct ph_cache_object *o, struct ph_cache_entry *entry)
{
    struct ph_cache_directory *directory = o->directory;
    struct ph_cache_entry **link = &directory->buckets[entry->hash & (directory->bucket_count - 1)];
    while (*link != entry)
        link = &(*link)->chain;
    *link = entry->chain;
    directory->count--;
    directory->told -= entry->told;
    cache->counters.entries--;
    free(entry);
}

void ph_cache_entry_tell(struct ph_cache_object *o, struct ph_cache_entry *entry, bool told)
{
    o->directory->told += (uint32_t) told - (uint32_t) entry->told;
    entry->told = told;
}

/* ENTRY of O, which is usable, may be kept for what is returned; with TELL the kernel will be told. */
static uint64_t hand_out(struct ph_cache *cache, struct ph_cache_object *o, struct ph_cache_entry *entry,
                         bool tell, uint64_t now_ms)
{
    uint64_t valid_ms = ph_cache_left_ms(cache, entry->learned_ms, now_ms);
    if (!tell || !valid_ms)
        return 0;
    ph_cache_entry_tell(o, entry, true);
    return valid_ms;
}

/* What a reply says of a name is not what is known under the same lease. */
static bool contradicts(const struct ph_cache_object *o, const struct ph_cache_entry *entry, uint64_t object)
{
    if (entry)
        return entry->object != PH_CACHE_UNKNOWN && entry->object != object;
    return object != 0 && o->directory && o->directory->complete;
}

bool ph_cache_entry_learn(struct ph_cache *cache, const struct ph_cache_ask *ask, uint64_t directory,
                          uint64_t lease, const void *name, size_t len, uint64_t object, bool tell,
                          uint64_t now_ms, uint64_t *valid_ms)
{
    *valid_ms = 0;
    if (!ph_cache_is_live(cache, ask) || !name_fits(len) || object == PH_CACHE_UNKNOWN)
        return false;
    struct ph_cache_object *o = ph_cache_find(cache, directory);
    if (!ph_cache_is_usable(cache, o) || !ph_cache_untouched(cache, o, ask->clock, 0))
        return false;
    if (o->granted > ask->clock && (lease == 0 || lease != o->lease))
        return false;
    if (contradicts(o, ph_cache_entry_find(o, name, len), object)) {
        cache->counters.behind++;
        cache->counters.given_up++;
        ph_cache_mark(cache, o);
        return false;
    }
    struct ph_cache_entry *entry = ph_cache_entry_put(cache, o, name, len, object, ask->sent_ms);
    *valid_ms = hand_out(cache, o, entry, tell, now_ms);
    return true;
}

uint64_t ph_cache_learn_entry(struct ph_cache *cache, const struct ph_cache_ask *ask, uint64_t directory,
                              uint64_t lease, const void *name, size_t len, uint64_t object, uint64_t now_ms)
{
    uint64_t valid_ms;
    ph_cache_entry_learn(cache, ask, directory, lease, name, len, object, true, now_ms, &valid_ms);
    return valid_ms;
}

/* NAME is not among those of O, which are complete: remembered as such, because the kernel will be told. */
static struct ph_cache_entry *absent(struct ph_cache *cache, struct ph_cache_object *o, const void *name,
                                     size_t len, uint64_t now_ms)
{
    if (!o->directory || !o->directory->complete ||
        !ph_cache_left_ms(cache, o->directory->complete_ms, now_ms))
        return NULL;
    return ph_cache_entry_put(cache, o, name, len, 0, o->directory->complete_ms);
}

enum ph_cache_found ph_cache_lookup(struct ph_cache *cache, uint64_t directory, const void *name, size_t len,
                                    uint64_t now_ms, struct ph_cached_attr *attr, uint64_t *entry_valid_ms,
                                    uint64_t *attr_valid_ms)
{
    *entry_valid_ms = *attr_valid_ms = 0;
    cache->counters.misses++;
    struct ph_cache_object *o = ph_cache_find(cache, directory);
    if (!ph_cache_is_usable(cache, o) || !name_fits(len))
        return PH_CACHE_MISS;
    struct ph_cache_entry *entry = ph_cache_entry_find(o, name, len);
    if (!entry)
        entry = absent(cache, o, name, len, now_ms);
    if (!entry || entry->object == PH_CACHE_UNKNOWN || !ph_cache_left_ms(cache, entry->learned_ms, now_ms))
        return PH_CACHE_MISS;
    if (entry->object != 0) {
        struct ph_cache_object *found = ph_cache_find(cache, entry->object);
        if (!ph_cache_attr_usable(cache, found, now_ms, attr_valid_ms))
            return PH_CACHE_MISS;
        *attr = found->attr;
        ph_cache_touch(cache, found);
    }
    *entry_valid_ms = hand_out(cache, o, entry, true, now_ms);
    ph_cache_touch(cache, o);
    cache->counters.misses--;
    cache->counters.hits++;
    return entry->object ? PH_CACHE_FOUND : PH_CACHE_ABSENT;
}

uint64_t ph_cache_entry_object(const struct ph_cache *cache, uint64_t directory, const void *name, size_t len)
{
    const struct ph_cache_entry *entry = ph_cache_entry_find(ph_cache_find(cache, directory), name, len);
    return entry && entry->object != PH_CACHE_UNKNOWN ? entry->object : 0;
}
