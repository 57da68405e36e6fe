/* Listings: learned in parts, and answered whole. */
#include <string.h>
#include <sys/stat.h>

#include "client/core/cache_private.h"

enum { TYPE_SHIFT = 12 }; /* from st_mode to the type in struct dirent */

void ph_cache_listing_begin(struct ph_cache *cache, struct ph_cache_listing *listing,
                            const struct ph_cache_ask *ask, uint64_t directory, uint64_t lease)
{
    *listing = (struct ph_cache_listing){.directory = directory, .clock = ask->clock};
    const struct ph_cache_object *o = ph_cache_find(cache, directory);
    if (!ph_cache_is_live(cache, ask) || !ph_cache_is_usable(cache, o))
        return;
    listing->lease = o->lease;
    listing->granted = o->granted;
    listing->sent_ms = ask->sent_ms;
    listing->sound = o->granted <= ask->clock || (lease != 0 && lease == o->lease);
}

static bool is_dots(const uint8_t *name, size_t len)
{
    return (len == 1 && name[0] == '.') || (len == 2 && name[0] == '.' && name[1] == '.');
}

uint64_t ph_cache_listing_add(struct ph_cache *cache, struct ph_cache_listing *listing,
                              const struct ph_cache_ask *ask, const void *name, size_t len, uint64_t object,
                              bool tell, uint64_t now_ms)
{
    if (is_dots(name, len))
        return 0;
    uint64_t lease = listing->sound ? listing->lease : 0, valid_ms;
    if (!ph_cache_entry_learn(cache, ask, listing->directory, lease, name, len, object, tell, now_ms,
                              &valid_ms))
        listing->sound = false;
    return valid_ms;
}

static void set_complete(struct ph_cache *cache, struct ph_cache_directory *directory, uint64_t asked_ms)
{
    cache->counters.complete_directories += !directory->complete;
    directory->complete = true;
    directory->complete_ms = asked_ms;
}

/* What became of our changes of these names was not known, and they are not in the listing that has ended:
 * they are not there. The kernel may know them still. */
static void settle_unknown(struct ph_cache *cache, struct ph_cache_object *o, uint64_t asked_ms)
{
    for (uint32_t i = 0; i < o->directory->bucket_count; i++) {
        for (struct ph_cache_entry *entry = o->directory->buckets[i]; entry; entry = entry->chain) {
            if (entry->object == PH_CACHE_UNKNOWN)
                ph_cache_entry_put(cache, o, entry->name, entry->len, 0, asked_ms);
        }
    }
}

bool ph_cache_listing_end(struct ph_cache *cache, struct ph_cache_listing *listing)
{
    struct ph_cache_object *o = ph_cache_find(cache, listing->directory);
    if (!listing->sound || !ph_cache_is_usable(cache, o) || o->granted != listing->granted ||
        !ph_cache_untouched(cache, o, listing->clock, 0))
        return false;
    set_complete(cache, ph_cache_directory_of(o), listing->sent_ms);
    settle_unknown(cache, o, listing->sent_ms);
    return true;
}

void ph_cache_set_whole(struct ph_cache *cache, uint64_t directory)
{
    struct ph_cache_object *o = ph_cache_find(cache, directory);
    if (ph_cache_is_usable(cache, o) && o->mode == POHMEL__LEASE_MODE__MODE_EXCLUSIVE)
        set_complete(cache, ph_cache_directory_of(o), o->learned_ms);
}

void ph_cache_set_type(struct ph_cache *cache, uint64_t directory, const void *name, size_t len,
                       uint32_t type)
{
    struct ph_cache_entry *entry = ph_cache_entry_find(ph_cache_find(cache, directory), name, len);
    if (entry && entry->object != 0 && entry->object != PH_CACHE_UNKNOWN)
        entry->type = (uint8_t) ((type & S_IFMT) >> TYPE_SHIFT);
}

static bool is_whole(const struct ph_cache *cache, const struct ph_cache_object *o, uint64_t now_ms)
{
    return ph_cache_is_usable(cache, o) && o->directory && o->directory->complete &&
           ph_cache_left_ms(cache, o->directory->complete_ms, now_ms) > 0;
}

bool ph_cache_is_whole(const struct ph_cache *cache, uint64_t directory, uint64_t now_ms)
{
    return is_whole(cache, ph_cache_find(cache, directory), now_ms);
}

/* Fills in OUT; false when ENTRY is in doubt. What an object is never changes, so attributes that may not
 * be served any more still tell its type. */
static bool describe(const struct ph_cache *cache, const struct ph_cache_entry *entry, uint64_t now_ms,
                     struct ph_cache_listed *out)
{
    const struct ph_cache_object *found = ph_cache_find(cache, entry->object);
    uint64_t valid_ms;
    *out = (struct ph_cache_listed){.name = entry->name, .len = entry->len, .object = entry->object};
    out->type = entry->type ? (uint32_t) entry->type << TYPE_SHIFT : found ? found->attr.mode & S_IFMT : 0;
    out->attributes = ph_cache_attr_usable(cache, found, now_ms, &valid_ms);
    return entry->object != PH_CACHE_UNKNOWN && out->type != 0;
}

static void list_dots(const struct ph_cache_object *o,
                      void (*fn)(void *data, const struct ph_cache_listed *listed), void *data)
{
    struct ph_cache_listed dots = {.name = "..", .len = 1, .object = o->lru.key, .type = S_IFDIR};
    dots.attributes = true;
    fn(data, &dots);
    dots.len = 2;
    if (o->parent)
        dots.object = o->parent; /* that of the root, and where it is not known: itself */
    fn(data, &dots);
}

bool ph_cache_list(struct ph_cache *cache, uint64_t directory, uint64_t now_ms,
                   void (*fn)(void *data, const struct ph_cache_listed *listed), void *data)
{
    struct ph_cache_object *o = ph_cache_find(cache, directory);
    cache->counters.misses++;
    if (!is_whole(cache, o, now_ms))
        return false;
    list_dots(o, fn, data);
    for (uint32_t i = 0; i < o->directory->bucket_count; i++) {
        for (const struct ph_cache_entry *entry = o->directory->buckets[i]; entry; entry = entry->chain) {
            struct ph_cache_listed listed;
            if (entry->object == 0)
                continue;
            if (!describe(cache, entry, now_ms, &listed))
                return false;
            fn(data, &listed);
        }
    }
    ph_cache_touch(cache, o);
    cache->counters.misses--;
    cache->counters.hits++;
    return true;
}
