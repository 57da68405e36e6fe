/* Extended attributes that were read under a lease, and the absence of such: programs and kernels ask for the
 * same few of every file (capabilities, access lists, labels), most of which are not there. */
#include <stdlib.h>
#include <string.h>

#include "client/core/cache_private.h"
#include "client/core/may.h"
#include "runtime/base/blob.h"

enum {
    VALUE_MAX_BYTES = 4096,       /* larger ones are not kept */
    OBJECT_MAX_BYTES = 16 * 1024, /* of one object */
    ALL_MAX_BYTES = 16 * 1024 * 1024,
    MAKE_ROOM_TRIES = 64, /* objects that lose theirs for a new one */
};

struct ph_cache_xattr {
    struct ph_cache_xattr *next;
    struct ph_blob *value; /* NULL: of length 0 */
    uint64_t learned_ms;
    bool absent;
    bool superuser; /* a list of names: that which the superuser is told, with trusted. ones */
    uint8_t len;    /* 0: the list */
    char name[];
};

static size_t bytes_of(const struct ph_cache_xattr *xattr)
{
    return sizeof(*xattr) + xattr->len +
           (xattr->value != NULL ? sizeof(*xattr->value) + xattr->value->capacity : 0);
}

static bool begins(const char *name, size_t len, const char *prefix)
{
    return len >= strlen(prefix) && memcmp(name, prefix, strlen(prefix)) == 0;
}

/* What the kernel of the server takes away or changes by itself, with the data, the owner or the mode. */
static bool is_of_kernel(const struct ph_cache_xattr *xattr)
{
    if (xattr->absent || (xattr->len == 0 && xattr->value == NULL))
        return false;
    return xattr->len == 0 || begins(xattr->name, xattr->len, "security.") ||
           begins(xattr->name, xattr->len, "system.");
}

static void take_out(struct ph_cache *cache, struct ph_cache_xattr **at)
{
    struct ph_cache_xattr *xattr = *at;
    cache->counters.xattr_bytes -= bytes_of(xattr);
    *at = xattr->next;
    ph_blob_unref(xattr->value);
    free(xattr);
}

void ph_cache_xattrs_forget(struct ph_cache *cache, struct ph_cache_object *o, bool all)
{
    struct ph_cache_xattr **at = &o->xattrs;
    while (*at != NULL) {
        if (all || is_of_kernel(*at))
            take_out(cache, at);
        else
            at = &(*at)->next;
    }
}

static struct ph_cache_xattr **find(struct ph_cache_xattr **at, const void *name, size_t len, bool superuser)
{
    for (; *at != NULL; at = &(*at)->next)
        if ((*at)->len == len && memcmp((*at)->name, name, len) == 0 &&
            (len > 0 || (*at)->superuser == superuser))
            break;
    return at;
}

/* The rules of Linux for who may read an attribute. */
static bool may_read(const struct ph_cache_object *o, const char *name, size_t len,
                     const Pohmel__Caller *caller)
{
    if (begins(name, len, "trusted."))
        return caller->uid == 0;
    if (len == 0 || !begins(name, len, "user."))
        return true;
    return o->known && ph_may_access(caller, o->attr.mode, o->attr.uid, o->attr.gid, o->attr.plain,
                                     PH_MAY_READ) == PH_MAY_YES;
}

/* Whether O is known to have no attributes, and NAME is of a kind that it could have. */
static bool is_bare(const struct ph_cache *cache, const struct ph_cache_object *o, const char *name,
                    size_t len, uint64_t now_ms)
{
    static const char *const kinds[] = {"user.", "security.", "trusted.", "system.posix_acl_"};
    uint64_t valid_ms;
    if (!o->attr.bare || !ph_cache_attr_usable(cache, o, now_ms, &valid_ms))
        return false;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (begins(name, len, kinds[i]))
            return true;
    return len == 0;
}

enum ph_cache_found ph_cache_getxattr(const struct ph_cache *cache, uint64_t object, const void *name,
                                      size_t len, const Pohmel__Caller *caller, uint64_t now_ms,
                                      struct ph_blob **value)
{
    struct ph_cache_object *o = ph_cache_find(cache, object);
    *value = NULL;
    if (!ph_cache_is_usable(cache, o) || !may_read(o, name, len, caller))
        return PH_CACHE_MISS;
    if (is_bare(cache, o, name, len, now_ms))
        return len > 0 ? PH_CACHE_ABSENT : PH_CACHE_FOUND;
    const struct ph_cache_xattr *xattr = *find(&o->xattrs, name, len, caller->uid == 0);
    if (xattr == NULL || ph_cache_left_ms(cache, xattr->learned_ms, now_ms) == 0)
        return PH_CACHE_MISS;
    *value = xattr->value;
    return xattr->absent ? PH_CACHE_ABSENT : PH_CACHE_FOUND;
}

/* Those used least recently lose theirs. */
static bool make_room(struct ph_cache *cache, const struct ph_cache_object *o, size_t bytes)
{
    size_t own = 0;
    for (const struct ph_cache_xattr *xattr = o->xattrs; xattr != NULL; xattr = xattr->next)
        own += bytes_of(xattr);
    if (own + bytes > OBJECT_MAX_BYTES)
        return false;
    struct ph_cache_object *other = cache->leased.first;
    for (int i = 0; i < MAKE_ROOM_TRIES && other != NULL; i++, other = other->next) {
        if (cache->counters.xattr_bytes + bytes <= ALL_MAX_BYTES)
            break;
        if (other != o)
            ph_cache_xattrs_forget(cache, other, true);
    }
    return cache->counters.xattr_bytes + bytes <= ALL_MAX_BYTES;
}

/* What came may be part of something larger. */
static struct ph_blob *copy_of(const struct ph_blob *value)
{
    return value != NULL && value->len > 0 ? ph_blob_copy(value->data, value->len) : NULL;
}

void ph_cache_learn_xattr(struct ph_cache *cache, const struct ph_cache_ask *ask, uint64_t object,
                          const void *name, size_t len, const Pohmel__Caller *caller, bool absent,
                          struct ph_blob *value, uint64_t now_ms)
{
    struct ph_cache_object *o = ph_cache_find(cache, object);
    if (len > UINT8_MAX || (value != NULL && value->len > VALUE_MAX_BYTES) || !ph_cache_is_live(cache, ask) ||
        !ph_cache_is_usable(cache, o) || o->granted > ask->clock ||
        ph_cache_left_ms(cache, ask->sent_ms, now_ms) == 0 || o->xattrs_running > 0 ||
        o->xattrs_changed > ask->clock || cache->all_running > 0 || cache->all_changed > ask->clock ||
        !may_read(o, name, len, caller))
        return;
    struct ph_cache_xattr *xattr = calloc(1, sizeof(*xattr) + len + 1);
    if (xattr == NULL)
        abort();
    *xattr = (struct ph_cache_xattr){.value = copy_of(value),
                                     .learned_ms = ask->sent_ms,
                                     .absent = absent,
                                     .superuser = caller->uid == 0,
                                     .len = (uint8_t) len};
    memcpy(xattr->name, name, len);
    struct ph_cache_xattr **old = find(&o->xattrs, name, len, caller->uid == 0);
    if (*old != NULL)
        take_out(cache, old);
    bool unsure = is_of_kernel(xattr) && !ph_cache_untouched(cache, o, ask->clock, 0);
    if (unsure || !make_room(cache, o, bytes_of(xattr))) {
        ph_blob_unref(xattr->value);
        free(xattr);
        return;
    }
    cache->counters.xattr_bytes += bytes_of(xattr);
    xattr->next = o->xattrs;
    o->xattrs = xattr;
}
