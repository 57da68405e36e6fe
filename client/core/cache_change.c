/* Changes by this mount: what they concern is not served, and nothing is learned of it from
 * what was asked for before their end. */
#include "client/core/cache_private.h"
#include "runtime/base/mutant.h"

void ph_cache_change_begin(struct ph_cache_change *change)
{
    *change = (struct ph_cache_change){0};
}

static bool concerns(const struct ph_cache_change *change, uint64_t object)
{
    for (unsigned i = 0; i < change->count; i++) {
        if (change->objects[i] == object)
            return true;
    }
    return false;
}

static void add_blind(struct ph_cache *cache, struct ph_cache_change *change)
{
    cache->blind_changed = ++cache->clock;
    if (change->blind)
        return;
    change->blind = true;
    cache->blind_running++;
}

void ph_cache_change_add_all(struct ph_cache *cache, struct ph_cache_change *change)
{
    add_blind(cache, change);
    cache->all_changed = ++cache->clock;
    if (!change->all) {
        change->all = true;
        cache->all_running++;
    }
    ph_cache_give_up_all(cache);
}

void ph_cache_change_add(struct ph_cache *cache, struct ph_cache_change *change, uint64_t object)
{
    if (concerns(change, object) || PH_MUTANT(UNANNOUNCED))
        return;
    if (change->count == PH_CACHE_CHANGE_OBJECTS) {
        ph_cache_change_add_all(cache, change);
        return;
    }
    change->objects[change->count++] = object;
    struct ph_cache_object *o = ph_cache_object(cache, object);
    o->running++;
    o->changed = ++cache->clock;
    o->known = false;
    if (change->xattrs) {
        o->xattrs_running++;
        o->xattrs_changed = cache->clock;
    }
    ph_cache_xattrs_forget(cache, o, change->xattrs);
    ph_cache_settle(cache, o);
}

void ph_cache_change_add_xattrs(struct ph_cache *cache, struct ph_cache_change *change, uint64_t object)
{
    change->xattrs = true;
    ph_cache_change_add(cache, change, object);
}

/* What NAME stands for is concerned as well. A lease on its way back is as good as any here, as
 * long as it is not released before the change is carried out. */
static void add_target(struct ph_cache *cache, struct ph_cache_change *change, struct ph_cache_object *o,
                       const struct ph_cache_entry *entry)
{
    bool absent = entry ? entry->object == 0 : o->directory && o->directory->complete;
    bool known = absent || (entry && entry->object != PH_CACHE_UNKNOWN);
    if (!known || change->target_count == PH_CACHE_CHANGE_NAMES) {
        add_blind(cache, change);
        return;
    }
    change->targets[change->target_count].directory = o->lru.key;
    change->targets[change->target_count++].granted = o->granted;
    o->targeting++;
    if (!absent)
        ph_cache_change_add(cache, change, entry->object);
}

/* The lease under which target I was known is still there. */
static bool target_holds(const struct ph_cache_change *change, unsigned i, const struct ph_cache_object *o)
{
    return o && o->lease && o->granted == change->targets[i].granted;
}

static void end_target(struct ph_cache *cache, const struct ph_cache_change *change, unsigned i)
{
    struct ph_cache_object *o = ph_cache_find(cache, change->targets[i].directory);
    if (target_holds(change, i, o)) {
        o->targeting--;
    } else {
        cache->blind_running--;
        cache->blind_changed = ++cache->clock;
    }
}

void ph_cache_change_add_name(struct ph_cache *cache, struct ph_cache_change *change, uint64_t directory,
                              const void *name, size_t len, bool target)
{
    ph_cache_change_add(cache, change, directory);
    if (!concerns(change, directory))
        return; /* too many objects: it is a change of everything */
    struct ph_cache_object *o = ph_cache_find(cache, directory);
    struct ph_cache_entry *entry = ph_cache_entry_find(o, name, len);
    if (target)
        add_target(cache, change, o, entry);
    if (entry || (o->directory && o->directory->complete))
        ph_cache_entry_put(cache, o, name, len, PH_CACHE_UNKNOWN, 0);
}

void ph_cache_change_sent(struct ph_cache *cache, struct ph_cache_change *change, uint64_t now_ms)
{
    change->ask = ph_cache_ask(cache, now_ms);
}

uint64_t ph_cache_changed(struct ph_cache *cache, const struct ph_cache_change *change,
                          const Pohmel__Attr *attr, uint64_t now_ms, struct ph_cached_attr *out)
{
    uint32_t own = concerns(change, attr->object) ? 1 : 0;
    return ph_cache_learn_own(cache, &change->ask, attr, own, now_ms, out);
}

/* What CHANGE found under its names is what was known of them. */
static bool targets_known(const struct ph_cache *cache, const struct ph_cache_change *change)
{
    for (unsigned i = 0; i < change->target_count; i++) {
        const struct ph_cache_object *o = ph_cache_find(cache, change->targets[i].directory);
        if (!target_holds(change, i, o) || !ph_cache_untouched(cache, o, change->ask.clock, 1))
            return false;
    }
    return !change->blind;
}

uint64_t ph_cache_changed_name(struct ph_cache *cache, const struct ph_cache_change *change,
                               uint64_t directory, const void *name, size_t len, uint64_t object,
                               uint64_t now_ms)
{
    struct ph_cache_object *o = ph_cache_find(cache, directory);
    if (!ph_cache_is_live(cache, &change->ask) || !ph_cache_is_usable(cache, o) ||
        !concerns(change, directory) || o->granted > change->ask.clock ||
        !ph_cache_untouched(cache, o, change->ask.clock, 1))
        return 0;
    if (object != 0 && !targets_known(cache, change))
        return 0;
    struct ph_cache_entry *entry = ph_cache_entry_put(cache, o, name, len, object, change->ask.sent_ms);
    if (object == 0) { /* the kernel asks again for what it removed itself */
        if (o->directory->complete)
            ph_cache_entry_remove(cache, o, entry);
        else
            ph_cache_entry_tell(o, entry, false);
        return 0;
    }
    /* A name that was moved keeps the timeout it had under the old one. */
    ph_cache_entry_tell(o, entry, true);
    return ph_cache_left_ms(cache, entry->learned_ms, now_ms);
}

static void ended(struct ph_cache *cache, uint64_t object, uint32_t running, bool xattrs)
{
    struct ph_cache_object *o = ph_cache_object(cache, object);
    o->running -= running;
    o->changed = ++cache->clock;
    if (xattrs) {
        o->xattrs_running--;
        o->xattrs_changed = cache->clock;
    }
    ph_cache_settle(cache, o);
}

void ph_cache_change_end(struct ph_cache *cache, struct ph_cache_change *change)
{
    for (unsigned i = 0; i < change->target_count; i++)
        end_target(cache, change, i);
    for (unsigned i = 0; i < change->count; i++)
        ended(cache, change->objects[i], 1, change->xattrs);
    if (change->blind) {
        cache->blind_running--;
        cache->blind_changed = ++cache->clock;
    }
    if (change->all) {
        cache->all_running--;
        cache->all_changed = ++cache->clock;
    }
    ph_cache_change_begin(change);
}

void ph_cache_forget_attr(struct ph_cache *cache, uint64_t object)
{
    ph_cache_object(cache, object)->known = false;
    ended(cache, object, 0, false);
}
