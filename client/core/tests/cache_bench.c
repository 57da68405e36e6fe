#include "client/core/tests/cache_bench.h"

#include <glib.h>
#include <string.h>
#include <sys/stat.h>

void set_up_with(struct bench *b, bool watched)
{
    memset(b, 0, sizeof(*b));
    b->cache = ph_cache_new(1000, 1000);
    ph_cache_session(b->cache, 1, TTL, true, watched);
    ph_cache_kernel_add(b->cache, HOME, 1);
}

void set_up(struct bench *b)
{
    set_up_with(b, true);
}

uint64_t learn_mode(struct bench *b, struct ph_cache_ask ask, uint64_t object, uint64_t version,
                    uint64_t lease, uint32_t mode)
{
    Pohmel__Attr attr = POHMEL__ATTR__INIT;
    Pohmel__Time time = POHMEL__TIME__INIT;
    attr.object = object;
    attr.mode = (object <= HOME ? S_IFDIR : S_IFREG) | 0755;
    attr.version = version;
    attr.lease = lease;
    attr.lease_mode = lease ? mode : 0;
    attr.accessed = attr.modified = attr.changed = &time;
    return ph_cache_learn(b->cache, &ask, &attr, ask.sent_ms, &b->attr);
}

uint64_t learn(struct bench *b, struct ph_cache_ask ask, uint64_t object, uint64_t version, uint64_t lease)
{
    return learn_mode(b, ask, object, version, lease, SHARED);
}

bool served(struct bench *b, uint64_t object, uint64_t now)
{
    return ph_cache_getattr(b->cache, object, now, &b->attr, &b->attr_ms);
}

enum ph_cache_found look(struct bench *b, const char *name, uint64_t now)
{
    return ph_cache_lookup(b->cache, HOME, name, strlen(name), now, &b->attr, &b->entry_ms, &b->attr_ms);
}

uint64_t entry(struct bench *b, struct ph_cache_ask ask, uint64_t lease, const char *name, uint64_t object)
{
    return ph_cache_learn_entry(b->cache, &ask, HOME, lease, name, strlen(name), object, ask.sent_ms);
}

void expect_release(struct bench *b, uint64_t lease)
{
    g_assert_true(ph_cache_next_work(b->cache, &b->work));
    g_assert_cmpint(b->work.kind, ==, PH_CACHE_RELEASE);
    g_assert_cmpuint(b->work.release.count, ==, 1);
    g_assert_cmpuint(b->work.release.leases[0], ==, lease);
    g_assert_false(ph_cache_has_work(b->cache));
}

void expect_drop(struct bench *b, uint64_t object, uint64_t lease)
{
    g_assert_true(ph_cache_next_work(b->cache, &b->work));
    g_assert_cmpint(b->work.kind, ==, PH_CACHE_DROP);
    g_assert_cmpuint(b->work.drop.object, ==, object);
    g_assert_cmpuint(b->work.drop.lease, ==, lease);
}
