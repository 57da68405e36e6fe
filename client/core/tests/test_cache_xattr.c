/* Extended attributes under leases. */
#include <glib.h>
#include <string.h>
#include <sys/stat.h>

#include "client/core/tests/cache_bench.h"
#include "runtime/base/blob.h"

static Pohmel__Caller root = {.base = PROTOBUF_C_MESSAGE_INIT(&pohmel__caller__descriptor)};
static Pohmel__Caller user = {
    .base = PROTOBUF_C_MESSAGE_INIT(&pohmel__caller__descriptor), .uid = 1000, .gid = 1000};
static Pohmel__Caller stranger = {
    .base = PROTOBUF_C_MESSAGE_INIT(&pohmel__caller__descriptor), .uid = 1001, .gid = 1001};

static void tell(struct bench *b, struct ph_cache_ask ask, const char *name, const char *value)
{
    struct ph_blob *blob = value != NULL ? ph_blob_copy(value, strlen(value)) : NULL;
    ph_cache_learn_xattr(b->cache, &ask, FILE_ID, name, strlen(name), &root, value == NULL, blob, 5000);
    ph_blob_unref(blob);
}

/* "?" where it is not known, "-" where there is none. Owned. */
static char *get(struct bench *b, const char *name, const Pohmel__Caller *caller)
{
    struct ph_blob *value;
    switch (ph_cache_getxattr(b->cache, FILE_ID, name, strlen(name), caller, 5000, &value)) {
    case PH_CACHE_FOUND:
        return g_strndup(value != NULL ? (char *) value->data : "", value != NULL ? value->len : 0);
    case PH_CACHE_ABSENT:
        return g_strdup("-");
    default:
        return g_strdup("?");
    }
}

static void assert_is(struct bench *b, const char *name, const char *expected)
{
    g_autofree char *value = get(b, name, &root);
    g_assert_cmpstr(value, ==, expected);
}

static void begin(struct bench *b)
{
    set_up(b);
    learn(b, ph_cache_ask(b->cache, 5000), FILE_ID, 7, 101);
    struct ph_cache_ask ask = ph_cache_ask(b->cache, 5000);
    tell(b, ask, "user.a", "one");
    tell(b, ask, "security.capability", NULL);
    tell(b, ask, "security.label", "here");
    tell(b, ask, "trusted.t", "secret");
}

static void test_read_once(void)
{
    struct bench b;
    begin(&b);
    assert_is(&b, "user.a", "one");
    assert_is(&b, "security.capability", "-");
    assert_is(&b, "user.b", "?");
    ph_cache_recall(b.cache, FILE_ID, 101, 0);
    assert_is(&b, "user.a", "?");
    assert_is(&b, "security.capability", "?");
    ph_cache_free(b.cache);
}

/* Writing makes no attribute, and may take away those that the kernel keeps. */
static void test_writing(void)
{
    struct bench b;
    struct ph_cache_change change;
    begin(&b);
    ph_cache_change_begin(&change);
    ph_cache_change_add(b.cache, &change, FILE_ID);
    ph_cache_change_sent(b.cache, &change, 5000);
    assert_is(&b, "security.capability", "-");
    assert_is(&b, "security.label", "?");
    tell(&b, ph_cache_ask(b.cache, 5000), "security.label", "old");
    assert_is(&b, "security.label", "?");
    ph_cache_change_end(b.cache, &change);
    assert_is(&b, "security.capability", "-");
    tell(&b, ph_cache_ask(b.cache, 5000), "security.label", "new");
    assert_is(&b, "security.label", "new");
    ph_cache_free(b.cache);
}

static void test_setting(void)
{
    struct bench b;
    struct ph_cache_change change;
    begin(&b);
    struct ph_cache_ask before = ph_cache_ask(b.cache, 5000);
    ph_cache_change_begin(&change);
    ph_cache_change_add_xattrs(b.cache, &change, FILE_ID);
    ph_cache_change_sent(b.cache, &change, 5000);
    assert_is(&b, "user.a", "?");
    struct ph_cache_ask meanwhile = ph_cache_ask(b.cache, 5000);
    tell(&b, meanwhile, "user.a", "old");
    assert_is(&b, "user.a", "?");
    ph_cache_change_end(b.cache, &change);
    tell(&b, before, "user.a", "old");
    tell(&b, meanwhile, "user.a", "old");
    assert_is(&b, "user.a", "?");
    learn(&b, ph_cache_ask(b.cache, 5000), FILE_ID, 8, 101); /* who may read it is in the mode */
    tell(&b, ph_cache_ask(b.cache, 5000), "user.a", "new");
    assert_is(&b, "user.a", "new");
    ph_cache_free(b.cache);
}

/* What is told to one caller is not told to one who would not be. The file is 0644 and root's. */
static void test_callers(void)
{
    struct bench b;
    begin(&b);
    g_autofree char *secret = get(&b, "trusted.t", &user), *own = get(&b, "trusted.t", &root);
    g_assert_cmpstr(secret, ==, "?");
    g_assert_cmpstr(own, ==, "secret");
    struct ph_cache_ask ask = ph_cache_ask(b.cache, 5000);
    tell(&b, ask, "", "user.a");
    g_autofree char *list = get(&b, "", &root), *other = get(&b, "", &stranger);
    g_assert_cmpstr(list, ==, "user.a");
    g_assert_cmpstr(other, ==, "?");
    ph_cache_free(b.cache);
}

static void test_grant_after_asking(void)
{
    struct bench b;
    set_up(&b);
    struct ph_cache_ask ask = ph_cache_ask(b.cache, 5000);
    learn(&b, ask, FILE_ID, 7, 101);
    tell(&b, ask, "user.a", "one");
    assert_is(&b, "user.a", "?");
    ph_cache_free(b.cache);
}

static void test_bounds(void)
{
    struct bench b;
    struct ph_cache_counters counters;
    char value[3000], name[32];
    begin(&b);
    memset(value, 'x', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    for (int i = 0; i < 100; i++) {
        g_snprintf(name, sizeof(name), "user.%d", i);
        tell(&b, ph_cache_ask(b.cache, 5000), name, value);
    }
    ph_cache_count(b.cache, &counters);
    g_assert_cmpuint(counters.xattr_bytes, >, 0);
    g_assert_cmpuint(counters.xattr_bytes, <, 20000);
    ph_cache_recall(b.cache, FILE_ID, 101, 0);
    ph_cache_count(b.cache, &counters);
    g_assert_cmpuint(counters.xattr_bytes, ==, 0);
    ph_cache_free(b.cache);
}

/* Attributes of FILE_ID, readable by its owner only, that say whether there are extended ones. */
static void learn_bare(struct bench *b, uint64_t version, bool bare)
{
    struct ph_cached_attr ignored;
    Pohmel__Time time = POHMEL__TIME__INIT;
    Pohmel__Attr attr = POHMEL__ATTR__INIT;
    struct ph_cache_ask ask = ph_cache_ask(b->cache, 5000);
    attr.object = FILE_ID;
    attr.mode = S_IFREG | 0600;
    attr.version = version;
    attr.lease = 101;
    attr.lease_mode = SHARED;
    attr.accessed = attr.modified = attr.changed = &time;
    attr.plain = true;
    attr.bare = bare;
    ph_cache_learn(b->cache, &ask, &attr, 5000, &ignored);
}

static void test_bare(void)
{
    struct bench b;
    struct ph_cache_change change;
    set_up(&b);
    learn_bare(&b, 7, true);
    assert_is(&b, "user.a", "-");
    assert_is(&b, "security.capability", "-");
    assert_is(&b, "system.posix_acl_access", "-");
    assert_is(&b, "trusted.t", "-");
    assert_is(&b, "", "");
    assert_is(&b, "system.other", "?"); /* the server refuses it */
    g_autofree char *refused = get(&b, "user.a", &stranger), *label = get(&b, "security.label", &stranger);
    g_assert_cmpstr(refused, ==, "?"); /* and him */
    g_assert_cmpstr(label, ==, "-");

    ph_cache_change_begin(&change);
    ph_cache_change_add_xattrs(b.cache, &change, FILE_ID);
    ph_cache_change_sent(b.cache, &change, 5000);
    assert_is(&b, "user.a", "?");
    ph_cache_change_end(b.cache, &change);
    assert_is(&b, "user.a", "?");
    learn_bare(&b, 8, false);
    assert_is(&b, "user.a", "?");
    learn_bare(&b, 8, true);
    ph_cache_recall(b.cache, FILE_ID, 101, 0);
    assert_is(&b, "user.a", "?");
    ph_cache_free(b.cache);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/client/cache xattr/what was read once stays until the recall", test_read_once);
    g_test_add_func("/client/cache xattr/writing leaves the absence of attributes known", test_writing);
    g_test_add_func("/client/cache xattr/setting one forgets them all", test_setting);
    g_test_add_func("/client/cache xattr/nobody is told what others may know", test_callers);
    g_test_add_func("/client/cache xattr/what was asked before the grant is not kept",
                    test_grant_after_asking);
    g_test_add_func("/client/cache xattr/memory is bounded", test_bounds);
    g_test_add_func("/client/cache xattr/what has none is not asked for any", test_bare);
    return g_test_run();
}
