/* Attributes: from replies into the cache, and out of it. */
#include <sys/stat.h>

#include "client/core/cache_private.h"

static struct ph_cached_time time_from_wire(const Pohmel__Time *time)
{
    return time ? (struct ph_cached_time){.seconds = time->seconds, .nanoseconds = time->nanoseconds}
                : (struct ph_cached_time){0};
}

void ph_cached_attr_from_wire(const Pohmel__Attr *attr, struct ph_cached_attr *out)
{
    *out = (struct ph_cached_attr){
        .object = attr->object,
        .size = attr->size,
        .blocks = attr->blocks,
        .device = attr->device,
        .version = attr->version,
        .accessed = time_from_wire(attr->accessed),
        .modified = time_from_wire(attr->modified),
        .changed = time_from_wire(attr->changed),
        .created = time_from_wire(attr->created),
        .mode = attr->mode,
        .links = attr->links,
        .uid = attr->uid,
        .gid = attr->gid,
        .block_size = attr->block_size,
        .has_created = attr->created != NULL,
        .plain = attr->plain,
        .bare = attr->bare,
    };
}

static Pohmel__Time *time_to_wire(struct ph_cached_time from, Pohmel__Time *to)
{
    *to = (Pohmel__Time) POHMEL__TIME__INIT;
    to->seconds = from.seconds;
    to->nanoseconds = from.nanoseconds;
    return to;
}

const Pohmel__Attr *ph_cached_attr_to_wire(const struct ph_cached_attr *from,
                                           struct ph_cached_attr_wire *wire)
{
    Pohmel__Attr *attr = &wire->attr;
    *attr = (Pohmel__Attr) POHMEL__ATTR__INIT;
    attr->object = from->object;
    attr->mode = from->mode;
    attr->links = from->links;
    attr->uid = from->uid;
    attr->gid = from->gid;
    attr->size = from->size;
    attr->blocks = from->blocks;
    attr->block_size = from->block_size;
    attr->device = from->device;
    attr->version = from->version;
    attr->plain = from->plain;
    attr->bare = from->bare;
    attr->accessed = time_to_wire(from->accessed, &wire->accessed);
    attr->modified = time_to_wire(from->modified, &wire->modified);
    attr->changed = time_to_wire(from->changed, &wire->changed);
    attr->created = from->has_created ? time_to_wire(from->created, &wire->created) : NULL;
    return attr;
}

bool ph_cache_attr_usable(const struct ph_cache *cache, const struct ph_cache_object *o, uint64_t now_ms,
                          uint64_t *valid_ms)
{
    *valid_ms = 0;
    if (ph_cache_is_usable(cache, o) && o->known && o->learned >= cache->blind_changed)
        *valid_ms = ph_cache_left_ms(cache, o->learned_ms, now_ms);
    return *valid_ms > 0;
}

/* What O holds is newer than what a reply says. */
static bool is_older(const struct ph_cache_object *o, const struct ph_cached_attr *said)
{
    return o && o->known && said->version < o->attr.version;
}

static bool attr_untouched(const struct ph_cache *cache, const struct ph_cache_object *o, uint64_t clock,
                           uint32_t own)
{
    return ph_cache_untouched(cache, o, clock, own) && !cache->blind_running && cache->blind_changed <= clock;
}

/* A reply without a lease: it is used once, unless more is known. The server may have given none because
 * a change was running, ours or one that it only just saw: what was known is asked for again. */
static void learn_unleased(struct ph_cache *cache, uint64_t object, struct ph_cached_attr *out)
{
    struct ph_cache_object *o = ph_cache_find(cache, object);
    if (!ph_cache_is_usable(cache, o) || !o->known)
        return;
    if (is_older(o, out))
        *out = o->attr;
    else if (out->version > o->attr.version)
        o->known = false;
}

static void store(struct ph_cache *cache, struct ph_cache_object *o, const struct ph_cached_attr *said,
                  uint64_t asked_ms)
{
    bool fresh = !o->known || said->version != o->attr.version || asked_ms > o->learned_ms;
    o->attr = *said;
    o->known = true;
    o->learned = cache->clock;
    if (fresh)
        o->learned_ms = asked_ms;
}

/* A reply with a usable lease on O. What is told by a change of our own may have moved the version. */
static uint64_t learn_leased(struct ph_cache *cache, struct ph_cache_object *o,
                             const struct ph_cache_ask *ask, uint32_t own, uint64_t now_ms,
                             struct ph_cached_attr *out)
{
    if (!attr_untouched(cache, o, ask->clock, own)) {
        if (is_older(o, out))
            *out = o->attr;
        return 0;
    }
    bool trusted = o->known && o->learned >= cache->blind_changed;
    if (trusted && is_older(o, out)) {
        *out = o->attr;
    } else if (trusted && out->version > o->attr.version) {
        cache->counters.behind++;
        cache->counters.given_up++;
        ph_cache_mark(cache, o);
        return 0;
    } else {
        store(cache, o, out, ask->sent_ms);
    }
    uint64_t valid_ms;
    ph_cache_attr_usable(cache, o, now_ms, &valid_ms);
    return valid_ms;
}

uint64_t ph_cache_learn_own(struct ph_cache *cache, const struct ph_cache_ask *ask, const Pohmel__Attr *attr,
                            uint32_t own, uint64_t now_ms, struct ph_cached_attr *out)
{
    ph_cached_attr_from_wire(attr, out);
    if (!ph_cache_is_live(cache, ask))
        return 0;
    ph_cache_answered(cache, ask->generation, ask->sent_ms);
    if (attr->lease == 0 || attr->lease_mode == POHMEL__LEASE_MODE__MODE_NONE) {
        learn_unleased(cache, attr->object, out);
        return 0;
    }
    struct ph_cache_object *o = ph_cache_object(cache, attr->object);
    if (!o->lease)
        o->is_directory = S_ISDIR(attr->mode);
    if (!ph_cache_adopt(cache, o, attr->lease, attr->lease_mode)) {
        if (is_older(o, out))
            *out = o->attr;
        ph_cache_settle(cache, o);
        return 0;
    }
    ph_cache_touch(cache, o);
    return learn_leased(cache, o, ask, own, now_ms, out);
}

uint64_t ph_cache_learn(struct ph_cache *cache, const struct ph_cache_ask *ask, const Pohmel__Attr *attr,
                        uint64_t now_ms, struct ph_cached_attr *out)
{
    return ph_cache_learn_own(cache, ask, attr, 0, now_ms, out);
}

bool ph_cache_getattr(struct ph_cache *cache, uint64_t object, uint64_t now_ms, struct ph_cached_attr *attr,
                      uint64_t *valid_ms)
{
    struct ph_cache_object *o = ph_cache_find(cache, object);
    if (!ph_cache_attr_usable(cache, o, now_ms, valid_ms)) {
        cache->counters.misses++;
        return false;
    }
    cache->counters.hits++;
    ph_cache_touch(cache, o);
    *attr = o->attr;
    return true;
}
