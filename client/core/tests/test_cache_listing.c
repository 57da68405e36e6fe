/* Directories that are known whole: what is in them is answered from memory, or not at all. */
#include <glib.h>
#include <string.h>
#include <sys/stat.h>

#include "client/core/tests/cache_bench.h"

enum { PARENT = 5 };

/* HOME in PARENT, both leased; "a" is FILE_ID, which is leased, "b" is OTHER, which is not; and the listing
 * of HOME has ended. */
static void set_up_listed(struct bench *b, bool watched)
{
    struct ph_cache_listing listing;
    set_up_with(b, watched);
    struct ph_cache_ask ask = ph_cache_ask(b->cache, 0);
    learn(b, ask, PARENT, 1, 90);
    learn(b, ask, HOME, 1, 100);
    learn(b, ask, FILE_ID, 7, 101);
    ph_cache_learn_entry(b->cache, &ask, PARENT, 90, "home", 4, HOME, 0);
    ph_cache_listing_begin(b->cache, &listing, &ask, HOME, 100);
    ph_cache_listing_add(b->cache, &listing, &ask, ".", 1, HOME, false, 0);
    ph_cache_listing_add(b->cache, &listing, &ask, "a", 1, FILE_ID, false, 0);
    ph_cache_listing_add(b->cache, &listing, &ask, "b", 1, OTHER, false, 0);
    ph_cache_set_type(b->cache, HOME, "b", 1, S_IFLNK | 0777);
    g_assert_true(ph_cache_listing_end(b->cache, &listing));
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *) a, *(char *const *) b);
}

static void take(void *data, const struct ph_cache_listed *listed)
{
    g_autofree char *name = g_strndup(listed->name, listed->len);
    g_ptr_array_add(data, g_strdup_printf("%s=%u:%o%s", name, (unsigned) listed->object, listed->type >> 12,
                                          listed->attributes ? "+" : ""));
}

/* What the listing says, sorted; "" where nothing is answered. */
static char *listing_at(struct bench *b, uint64_t now)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    if (!ph_cache_list(b->cache, HOME, now, take, names))
        return g_strdup("");
    g_assert_cmpuint(names->len, >=, 2);
    g_ptr_array_sort(names, by_name);
    g_ptr_array_add(names, NULL);
    return g_strjoinv(" ", (char **) names->pdata);
}

static void expect(struct bench *b, uint64_t now, const char *wanted)
{
    g_autofree char *listing = listing_at(b, now);
    g_assert_cmpstr(listing, ==, wanted);
}

static void test_names_types_and_parents(void)
{
    struct bench b;
    struct ph_cache_counters counters;
    set_up_listed(&b, true);
    expect(&b, 0, "..=5:4+ .=10:4+ a=20:10+ b=30:12");
    g_assert_true(ph_cache_is_whole(b.cache, HOME, 0));
    ph_cache_count(b.cache, &counters);
    g_assert_cmpuint(counters.hits, ==, 1);
    g_assert_cmpuint(counters.misses, ==, 0);
    g_assert_cmpint(look(&b, "none", 0), ==, PH_CACHE_ABSENT); /* known not to be there, and not listed */
    expect(&b, 0, "..=5:4+ .=10:4+ a=20:10+ b=30:12");
    ph_cache_free(b.cache);
}

static void test_only_under_the_lease(void)
{
    struct bench b;
    set_up_listed(&b, true);
    expect(&b, FULL, "");
    g_assert_false(ph_cache_is_whole(b.cache, HOME, FULL));
    ph_cache_recall(b.cache, HOME, 100, 0);
    expect(&b, 0, "");
    g_assert_false(ph_cache_is_whole(b.cache, HOME, 0));
    ph_cache_free(b.cache);
}

static void test_unwatched_for_a_second(void)
{
    struct bench b;
    set_up_listed(&b, false);
    expect(&b, PH_UNWATCHED_TIMEOUT_MS - 1, "..=5:4+ .=10:4+ a=20:10+ b=30:12");
    expect(&b, PH_UNWATCHED_TIMEOUT_MS, "");
    ph_cache_free(b.cache);
}

static void test_type_outlives_the_lease_of_a_file(void)
{
    struct bench b;
    set_up_listed(&b, true);
    ph_cache_kernel_add(b.cache, FILE_ID, 1);
    ph_cache_recall(b.cache, FILE_ID, 101, 0);
    expect(&b, 0, "..=5:4+ .=10:4+ a=20:10 b=30:12");
    ph_cache_free(b.cache);
}

static void test_unknown_type_is_not_guessed(void)
{
    struct bench b;
    set_up_listed(&b, true);
    ph_cache_set_type(b.cache, HOME, "b", 1, 0);
    expect(&b, 0, "");
    learn(&b, ph_cache_ask(b.cache, 0), OTHER, 1, 102);
    expect(&b, 0, "..=5:4+ .=10:4+ a=20:10+ b=30:10+");
    ph_cache_free(b.cache);
}

static void test_own_change_under_way(void)
{
    struct bench b;
    struct ph_cache_change change;
    set_up_listed(&b, true);
    ph_cache_change_begin(&change);
    ph_cache_change_add_name(b.cache, &change, HOME, "a", 1, true);
    ph_cache_change_sent(b.cache, &change, 1);
    expect(&b, 1, "");
    ph_cache_changed_name(b.cache, &change, HOME, "a", 1, 0, 2);
    ph_cache_change_end(b.cache, &change);
    expect(&b, 2, "..=5:4+ .=10:4+ b=30:12");
    ph_cache_free(b.cache);
}

/* A change that failed leaves it open what its name stands for, until somebody looks. */
static void test_doubt_ends_with_the_next_listing(void)
{
    struct bench b;
    struct ph_cache_change change;
    struct ph_cache_listing listing;
    set_up_listed(&b, true);
    ph_cache_change_begin(&change);
    ph_cache_change_add_name(b.cache, &change, HOME, "new", 3, false);
    ph_cache_change_sent(b.cache, &change, 1);
    ph_cache_change_end(b.cache, &change);
    expect(&b, 1, "");
    struct ph_cache_ask ask = ph_cache_ask(b.cache, 1);
    ph_cache_listing_begin(b.cache, &listing, &ask, HOME, 0);
    ph_cache_listing_add(b.cache, &listing, &ask, "a", 1, FILE_ID, false, 1);
    ph_cache_listing_add(b.cache, &listing, &ask, "b", 1, OTHER, false, 1);
    g_assert_true(ph_cache_listing_end(b.cache, &listing));
    expect(&b, 1, "..=5:4+ .=10:4+ a=20:10+ b=30:12");
    g_assert_cmpint(look(&b, "new", 1), ==, PH_CACHE_ABSENT);
    ph_cache_free(b.cache);
}

/* What the kernel may know stays counted, so that it is made to forget it. */
static void test_doubt_of_a_told_name_is_not_forgotten(void)
{
    struct bench b;
    struct ph_cache_change change;
    struct ph_cache_listing listing;
    set_up_listed(&b, true);
    g_assert_cmpint(look(&b, "new", 0), ==, PH_CACHE_ABSENT);
    ph_cache_change_begin(&change);
    ph_cache_change_add_name(b.cache, &change, HOME, "new", 3, false);
    ph_cache_change_sent(b.cache, &change, 1);
    ph_cache_change_end(b.cache, &change);
    struct ph_cache_ask ask = ph_cache_ask(b.cache, 1);
    ph_cache_listing_begin(b.cache, &listing, &ask, HOME, 0);
    g_assert_true(ph_cache_listing_end(b.cache, &listing));
    ph_cache_recall(b.cache, HOME, 100, 0);
    expect_drop(&b, HOME, 100);
    g_assert_cmpuint(b.work.drop.names, ==, 1);
    ph_cache_free(b.cache);
}

static void test_plain_is_kept(void)
{
    struct bench b;
    struct ph_cached_attr_wire wire;
    Pohmel__Attr attr = POHMEL__ATTR__INIT;
    Pohmel__Time time = POHMEL__TIME__INIT;
    set_up(&b);
    struct ph_cache_ask ask = ph_cache_ask(b.cache, 0);
    attr.object = FILE_ID;
    attr.mode = S_IFREG;
    attr.lease = 100;
    attr.lease_mode = SHARED;
    attr.plain = true;
    attr.accessed = attr.modified = attr.changed = &time;
    ph_cache_learn(b.cache, &ask, &attr, 0, &b.attr);
    g_assert_true(served(&b, FILE_ID, 0));
    g_assert_true(b.attr.plain);
    g_assert_true(ph_cached_attr_to_wire(&b.attr, &wire)->plain);
    ph_cache_free(b.cache);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cache-listing/names-types-parents", test_names_types_and_parents);
    g_test_add_func("/cache-listing/under-the-lease", test_only_under_the_lease);
    g_test_add_func("/cache-listing/unwatched", test_unwatched_for_a_second);
    g_test_add_func("/cache-listing/type-outlives-lease", test_type_outlives_the_lease_of_a_file);
    g_test_add_func("/cache-listing/unknown-type", test_unknown_type_is_not_guessed);
    g_test_add_func("/cache-listing/own-change", test_own_change_under_way);
    g_test_add_func("/cache-listing/doubt-ends", test_doubt_ends_with_the_next_listing);
    g_test_add_func("/cache-listing/doubt-of-told-name", test_doubt_of_a_told_name_is_not_forgotten);
    g_test_add_func("/cache-listing/plain", test_plain_is_kept);
    return g_test_run();
}
