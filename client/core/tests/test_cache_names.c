/* Names under the lease of their directory, listings, and changes by this mount. */
#include <glib.h>
#include <string.h>
#include <sys/stat.h>

#include "client/core/tests/cache_bench.h"

/* HOME and FILE_ID leased, "a" is FILE_ID. */
static void set_up_names(struct bench *b)
{
    set_up(b);
    struct ph_cache_ask ask = ph_cache_ask(b->cache, 0);
    learn(b, ask, HOME, 1, 100);
    learn(b, ask, FILE_ID, 7, 101);
    g_assert_cmpuint(entry(b, ask, 100, "a", FILE_ID), ==, FULL);
}

static void list(struct bench *b, struct ph_cache_listing *listing, const struct ph_cache_ask *ask,
                 const char *name, uint64_t object)
{
    ph_cache_listing_add(b->cache, listing, ask, name, strlen(name), object, false, ask->sent_ms);
}

static void test_names_found_and_absent(void)
{
    struct bench b;
    set_up_names(&b);
    entry(&b, ph_cache_ask(b.cache, 0), 100, "none", 0);
    g_assert_cmpint(look(&b, "a", 10), ==, PH_CACHE_FOUND);
    g_assert_cmpuint(b.attr.object, ==, FILE_ID);
    g_assert_cmpuint(b.entry_ms, ==, FULL - 10);
    g_assert_cmpuint(b.attr_ms, ==, FULL - 10);
    g_assert_cmpint(look(&b, "none", 10), ==, PH_CACHE_ABSENT);
    g_assert_cmpint(look(&b, "else", 10), ==, PH_CACHE_MISS);
    g_assert_cmpint(look(&b, "a", FULL), ==, PH_CACHE_MISS);
    g_assert_cmpint(look(&b, "none", FULL), ==, PH_CACHE_MISS);
    struct ph_cache_counters counters;
    ph_cache_count(b.cache, &counters);
    g_assert_cmpuint(counters.hits, ==, 2);
    g_assert_cmpuint(counters.misses, ==, 3);
    ph_cache_free(b.cache);
}

static void test_name_read_before_the_lease_is_not_kept(void)
{
    struct bench b;
    set_up(&b);
    struct ph_cache_ask early = ph_cache_ask(b.cache, 0);
    learn(&b, ph_cache_ask(b.cache, 0), HOME, 1, 100);
    g_assert_cmpuint(entry(&b, early, 0, "a", 0), ==, 0); /* may be from before the grant */
    g_assert_cmpuint(entry(&b, early, 99, "a", 0), ==, 0);
    g_assert_cmpint(look(&b, "a", 0), ==, PH_CACHE_MISS);
    g_assert_cmpuint(entry(&b, early, 100, "a", 0), >, 0); /* read under this very lease */
    g_assert_cmpuint(entry(&b, ph_cache_ask(b.cache, 0), 0, "b", 0), >, 0);
    ph_cache_free(b.cache);
}

static void test_recalled_directory_serves_no_name(void)
{
    struct bench b;
    set_up_names(&b);
    ph_cache_recall(b.cache, HOME, 100, 0);
    g_assert_cmpint(look(&b, "a", 0), ==, PH_CACHE_MISS);
    g_assert_cmpuint(entry(&b, ph_cache_ask(b.cache, 0), 100, "b", 0), ==, 0);
    expect_drop(&b, HOME, 100);
    g_assert_true(b.work.drop.is_directory);
    g_assert_cmpuint(b.work.drop.names, ==, 1);
    ph_cache_dropped(b.cache, HOME, 100);
    expect_release(&b, 100);
    learn(&b, ph_cache_ask(b.cache, 0), HOME, 2, 200);
    g_assert_cmpint(look(&b, "a", 0), ==, PH_CACHE_MISS);
    ph_cache_free(b.cache);
}

static void test_name_of_an_object_without_attributes_is_asked_for(void)
{
    struct bench b;
    set_up_names(&b);
    ph_cache_recall(b.cache, FILE_ID, 101, 0);
    g_assert_cmpint(look(&b, "a", 0), ==, PH_CACHE_MISS);
    learn(&b, ph_cache_ask(b.cache, 0), FILE_ID, 8, 102);
    g_assert_cmpint(look(&b, "a", 0), ==, PH_CACHE_FOUND);
    g_assert_cmpuint(b.attr.version, ==, 8);
    ph_cache_free(b.cache);
}

static void test_complete_listing_answers_absent(void)
{
    struct bench b;
    set_up_names(&b);
    struct ph_cache_listing listing;
    struct ph_cache_ask first = ph_cache_ask(b.cache, 0);
    ph_cache_listing_begin(b.cache, &listing, &first, HOME, 0);
    list(&b, &listing, &first, ".", HOME);
    list(&b, &listing, &first, "..", 1);
    list(&b, &listing, &first, "a", FILE_ID);
    struct ph_cache_ask second = ph_cache_ask(b.cache, 5);
    list(&b, &listing, &second, "b", OTHER);
    g_assert_cmpint(look(&b, "c", 5), ==, PH_CACHE_MISS);
    g_assert_true(ph_cache_listing_end(b.cache, &listing));
    g_assert_cmpint(look(&b, "c", 5), ==, PH_CACHE_ABSENT);
    g_assert_cmpuint(b.entry_ms, >, 0);
    g_assert_cmpint(look(&b, "a", 5), ==, PH_CACHE_FOUND);
    g_assert_cmpuint(ph_cache_entry_object(b.cache, HOME, "b", 1), ==, OTHER);
    ph_cache_recall(b.cache, HOME, 100, 0);
    expect_drop(&b, HOME, 100);
    g_assert_cmpuint(b.work.drop.names, ==, 2); /* "a" and "c"; "b" was not told */
    ph_cache_free(b.cache);
}

static void test_listing_is_abandoned_when_the_lease_went(void)
{
    struct bench b;
    set_up_names(&b);
    struct ph_cache_listing listing;
    struct ph_cache_ask ask = ph_cache_ask(b.cache, 0);
    ph_cache_listing_begin(b.cache, &listing, &ask, HOME, 0);
    list(&b, &listing, &ask, "a", FILE_ID);
    ph_cache_recall(b.cache, HOME, 100, 0);
    expect_drop(&b, HOME, 100);
    ph_cache_dropped(b.cache, HOME, 100);
    learn(&b, ph_cache_ask(b.cache, 0), HOME, 2, 200);
    struct ph_cache_ask later = ph_cache_ask(b.cache, 0);
    list(&b, &listing, &later, "b", OTHER);
    g_assert_false(ph_cache_listing_end(b.cache, &listing));
    g_assert_cmpint(look(&b, "c", 0), ==, PH_CACHE_MISS);
    ph_cache_free(b.cache);
}

static void test_listing_is_abandoned_when_the_directory_changed(void)
{
    struct bench b;
    set_up_names(&b);
    struct ph_cache_listing listing;
    struct ph_cache_ask ask = ph_cache_ask(b.cache, 0);
    ph_cache_listing_begin(b.cache, &listing, &ask, HOME, 0);
    list(&b, &listing, &ask, "a", FILE_ID);
    struct ph_cache_change change;
    ph_cache_change_begin(&change);
    ph_cache_change_add_name(b.cache, &change, HOME, "c", 1, false);
    ph_cache_change_sent(b.cache, &change, 0);
    ph_cache_change_end(b.cache, &change);
    g_assert_false(ph_cache_listing_end(b.cache, &listing));
    ph_cache_free(b.cache);
}

/* Starts a change of NAME in HOME. */
static void start(struct bench *b, struct ph_cache_change *change, const char *name, bool target)
{
    ph_cache_change_begin(change);
    ph_cache_change_add_name(b->cache, change, HOME, name, strlen(name), target);
    ph_cache_change_sent(b->cache, change, 0);
}

static void test_own_change_updates_the_name(void)
{
    struct bench b;
    set_up_names(&b);
    struct ph_cache_change change;
    start(&b, &change, "a", true);
    g_assert_cmpint(look(&b, "a", 0), ==, PH_CACHE_MISS);
    g_assert_false(served(&b, FILE_ID, 0)); /* its link count is about to change */
    g_assert_false(served(&b, HOME, 0));
    g_assert_cmpuint(ph_cache_changed_name(b.cache, &change, HOME, "a", 1, 0, 0), ==, 0);
    ph_cache_change_end(b.cache, &change);
    g_assert_cmpint(look(&b, "a", 0), ==, PH_CACHE_ABSENT);
    g_assert_false(served(&b, FILE_ID, 0));

    start(&b, &change, "a", false);
    g_assert_cmpuint(ph_cache_changed_name(b.cache, &change, HOME, "a", 1, OTHER, 0), ==, FULL);
    ph_cache_change_end(b.cache, &change);
    learn(&b, ph_cache_ask(b.cache, 0), OTHER, 3, 103);
    g_assert_cmpint(look(&b, "a", 0), ==, PH_CACHE_FOUND);
    g_assert_cmpuint(b.attr.object, ==, OTHER);
    ph_cache_free(b.cache);
}

static void test_reply_from_before_our_change_teaches_nothing(void)
{
    struct bench b;
    set_up_names(&b);
    struct ph_cache_ask before = ph_cache_ask(b.cache, 0);
    struct ph_cache_change change;
    start(&b, &change, "a", true);
    struct ph_cache_ask during = ph_cache_ask(b.cache, 0);
    g_assert_cmpuint(learn(&b, during, FILE_ID, 7, 101), ==, 0);
    ph_cache_change_end(b.cache, &change);
    struct ph_cache_ask asks[] = {before, during};
    for (unsigned i = 0; i < G_N_ELEMENTS(asks); i++) {
        g_assert_cmpuint(learn(&b, asks[i], FILE_ID, 7, 101), ==, 0);
        g_assert_cmpuint(entry(&b, asks[i], 100, "a", FILE_ID), ==, 0);
        g_assert_cmpint(look(&b, "a", 0), ==, PH_CACHE_MISS);
    }
    g_assert_cmpuint(learn(&b, ph_cache_ask(b.cache, 0), FILE_ID, 8, 101), >, 0);
    ph_cache_free(b.cache);
}

static void test_changes_side_by_side_leave_it_open(void)
{
    struct bench b;
    set_up_names(&b);
    struct ph_cache_change first, second;
    start(&b, &first, "a", true);
    start(&b, &second, "b", false);
    g_assert_cmpuint(ph_cache_changed_name(b.cache, &second, HOME, "b", 1, OTHER, 0), ==, 0);
    ph_cache_change_end(b.cache, &second);
    g_assert_cmpuint(ph_cache_changed_name(b.cache, &first, HOME, "a", 1, 0, 0), ==, 0);
    g_assert_cmpint(look(&b, "a", 0), ==, PH_CACHE_MISS);
    ph_cache_change_end(b.cache, &first);
    g_assert_cmpuint(entry(&b, ph_cache_ask(b.cache, 0), 0, "a", 0), >, 0);
    ph_cache_free(b.cache);
}

static void test_own_write_tells_its_attributes(void)
{
    struct bench b;
    set_up_names(&b);
    struct ph_cache_change change;
    ph_cache_change_begin(&change);
    ph_cache_change_add(b.cache, &change, FILE_ID);
    ph_cache_change_add(b.cache, &change, FILE_ID);
    ph_cache_change_sent(b.cache, &change, 100);
    g_assert_cmpuint(change.count, ==, 1);
    Pohmel__Attr attr = POHMEL__ATTR__INIT;
    attr.object = FILE_ID;
    attr.mode = S_IFREG;
    attr.version = 8;
    attr.lease = 101;
    attr.lease_mode = SHARED;
    g_assert_cmpuint(ph_cache_changed(b.cache, &change, &attr, 100, &b.attr), ==, FULL);
    ph_cache_change_end(b.cache, &change);
    g_assert_true(served(&b, FILE_ID, 100));
    g_assert_cmpuint(b.attr.version, ==, 8);
    g_assert_false(ph_cache_has_work(b.cache)); /* our own change is nobody else's */
    ph_cache_forget_attr(b.cache, FILE_ID);
    g_assert_false(served(&b, FILE_ID, 100));
    ph_cache_free(b.cache);
}

static void test_unknown_target_hides_all_attributes(void)
{
    struct bench b;
    set_up_names(&b);
    struct ph_cache_change change;
    struct ph_cache_ask before = ph_cache_ask(b.cache, 0);
    start(&b, &change, "unknown", true); /* it may well be FILE_ID's other name */
    g_assert_false(served(&b, FILE_ID, 0));
    ph_cache_change_end(b.cache, &change);
    g_assert_false(served(&b, FILE_ID, 0));
    g_assert_cmpuint(learn(&b, before, FILE_ID, 7, 101), ==, 0);
    g_assert_cmpuint(learn(&b, ph_cache_ask(b.cache, 0), FILE_ID, 8, 101), >, 0);
    g_assert_cmpint(look(&b, "a", 0), ==, PH_CACHE_FOUND);
    ph_cache_free(b.cache);
}

static void test_change_of_everything_gives_all_up(void)
{
    struct bench b;
    set_up_names(&b);
    struct ph_cache_change change;
    ph_cache_change_begin(&change);
    ph_cache_change_add_all(b.cache, &change);
    ph_cache_change_sent(b.cache, &change, 0);
    g_assert_cmpint(look(&b, "a", 0), ==, PH_CACHE_MISS);
    expect_drop(&b, HOME, 100);
    g_assert_cmpuint(learn(&b, ph_cache_ask(b.cache, 0), OTHER, 1, 300), ==, 0);
    ph_cache_change_end(b.cache, &change);
    g_assert_cmpuint(learn(&b, ph_cache_ask(b.cache, 0), OTHER, 1, 300), >, 0);
    ph_cache_free(b.cache);
}

static void test_thousands_of_names(void)
{
    struct bench b;
    set_up_names(&b);
    struct ph_cache_ask ask = ph_cache_ask(b.cache, 0);
    char name[16];
    for (unsigned i = 0; i < 5000; i++) {
        g_snprintf(name, sizeof(name), "name-%u", i);
        entry(&b, ask, 100, name, 1000 + i);
    }
    for (unsigned i = 0; i < 5000; i++) {
        g_snprintf(name, sizeof(name), "name-%u", i);
        g_assert_cmpuint(ph_cache_entry_object(b.cache, HOME, name, strlen(name)), ==, 1000 + i);
    }
    g_assert_cmpuint(ph_cache_release_some(b.cache, 1), ==, 1); /* more names than the bound */
    ph_cache_free(b.cache);
}

static void test_names_of_wrong_length_are_not_kept(void)
{
    struct bench b;
    set_up_names(&b);
    char name[300];
    memset(name, 'x', sizeof(name));
    name[299] = '\0';
    g_assert_cmpuint(entry(&b, ph_cache_ask(b.cache, 0), 100, name, 1), ==, 0);
    g_assert_cmpuint(entry(&b, ph_cache_ask(b.cache, 0), 100, "", 1), ==, 0);
    g_assert_cmpint(look(&b, name, 0), ==, PH_CACHE_MISS);
    ph_cache_free(b.cache);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cache-names/found-and-absent", test_names_found_and_absent);
    g_test_add_func("/cache-names/read-before-the-lease", test_name_read_before_the_lease_is_not_kept);
    g_test_add_func("/cache-names/recalled-directory", test_recalled_directory_serves_no_name);
    g_test_add_func("/cache-names/without-attributes",
                    test_name_of_an_object_without_attributes_is_asked_for);
    g_test_add_func("/cache-names/complete-listing", test_complete_listing_answers_absent);
    g_test_add_func("/cache-names/listing-without-lease", test_listing_is_abandoned_when_the_lease_went);
    g_test_add_func("/cache-names/listing-of-changed", test_listing_is_abandoned_when_the_directory_changed);
    g_test_add_func("/cache-names/own-change", test_own_change_updates_the_name);
    g_test_add_func("/cache-names/slow-reply", test_reply_from_before_our_change_teaches_nothing);
    g_test_add_func("/cache-names/side-by-side", test_changes_side_by_side_leave_it_open);
    g_test_add_func("/cache-names/own-write", test_own_write_tells_its_attributes);
    g_test_add_func("/cache-names/unknown-target", test_unknown_target_hides_all_attributes);
    g_test_add_func("/cache-names/change-of-everything", test_change_of_everything_gives_all_up);
    g_test_add_func("/cache-names/thousands", test_thousands_of_names);
    g_test_add_func("/cache-names/wrong-length", test_names_of_wrong_length_are_not_kept);
    return g_test_run();
}
