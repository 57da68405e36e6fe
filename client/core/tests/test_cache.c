/* The cache under leases: each promise by itself. Rules are those of the lease protocol. */
#include <glib.h>
#include <string.h>
#include <sys/stat.h>

#include "client/core/tests/cache_bench.h"

static void test_served_until_the_lease_ends(void)
{
    struct bench b;
    set_up(&b);
    g_assert_cmpuint(learn(&b, ph_cache_ask(b.cache, 5000), FILE_ID, 7, 101), ==, FULL);
    g_assert_true(served(&b, FILE_ID, 5000 + FULL - 1));
    g_assert_cmpuint(b.attr_ms, ==, 1);
    g_assert_cmpuint(b.attr.version, ==, 7);
    g_assert_false(served(&b, FILE_ID, 5000 + FULL));
    ph_cache_answered(b.cache, 2, 9000); /* of another session */
    g_assert_false(served(&b, FILE_ID, 5000 + FULL));
    ph_cache_answered(b.cache, 1, 6000);
    ph_cache_answered(b.cache, 1, 5500); /* older news */
    g_assert_cmpuint(ph_cache_valid_ms(b.cache, FILE_ID, 5000 + FULL), ==, 1000);
    ph_cache_free(b.cache);
}

static void test_short_lease_is_never_used(void)
{
    struct bench b;
    set_up(&b);
    ph_cache_session(b.cache, 2, PH_LEASE_MARGIN_MS, true, true);
    g_assert_cmpuint(learn(&b, ph_cache_ask(b.cache, 0), FILE_ID, 7, 101), ==, 0);
    g_assert_false(served(&b, FILE_ID, 0));
    ph_cache_free(b.cache);
}

static void test_unwatched_is_kept_for_a_second(void)
{
    struct bench b;
    set_up_with(&b, false);
    struct ph_cache_ask ask = ph_cache_ask(b.cache, 5000);
    learn(&b, ask, HOME, 1, 100);
    g_assert_cmpuint(learn(&b, ask, FILE_ID, 7, 101), ==, PH_UNWATCHED_TIMEOUT_MS);
    g_assert_cmpuint(entry(&b, ask, 100, "a", FILE_ID), ==, PH_UNWATCHED_TIMEOUT_MS);
    g_assert_cmpint(look(&b, "a", 5999), ==, PH_CACHE_FOUND);
    g_assert_cmpuint(b.entry_ms, ==, 1);
    g_assert_cmpint(look(&b, "a", 6000), ==, PH_CACHE_MISS);
    g_assert_false(served(&b, FILE_ID, 6000));
    learn(&b, ph_cache_ask(b.cache, 6000), FILE_ID, 7, 101);
    g_assert_true(served(&b, FILE_ID, 6500));
    ph_cache_free(b.cache);
}

static void test_no_lease_is_used_once(void)
{
    struct bench b;
    set_up(&b);
    g_assert_cmpuint(learn(&b, ph_cache_ask(b.cache, 0), FILE_ID, 7, 0), ==, 0);
    g_assert_cmpuint(b.attr.version, ==, 7);
    g_assert_false(served(&b, FILE_ID, 0));
    ph_cache_session(b.cache, 2, TTL, false, true); /* the server grants nothing */
    g_assert_cmpuint(learn(&b, ph_cache_ask(b.cache, 0), FILE_ID, 7, 101), ==, 0);
    g_assert_false(ph_cache_is_leased(b.cache, FILE_ID, 0));
    ph_cache_free(b.cache);
}

static void test_rule_4_early_recall_makes_the_grant_useless(void)
{
    struct bench b;
    set_up(&b);
    struct ph_cache_ask ask = ph_cache_ask(b.cache, 0);
    ph_cache_recall(b.cache, FILE_ID, 101, 0);
    expect_release(&b, 101);
    g_assert_cmpuint(learn(&b, ask, FILE_ID, 7, 101), ==, 0);
    g_assert_cmpuint(b.attr.version, ==, 7); /* for the one operation that asked */
    g_assert_false(served(&b, FILE_ID, 0));
    expect_release(&b, 101);
    g_assert_cmpuint(learn(&b, ph_cache_ask(b.cache, 0), FILE_ID, 8, 102), >, 0);
    g_assert_true(served(&b, FILE_ID, 0));
    struct ph_cache_counters counters;
    ph_cache_count(b.cache, &counters);
    g_assert_cmpuint(counters.early_recalls, ==, 1);
    ph_cache_free(b.cache);
}

static void test_rule_4_holds_for_forgotten_objects(void)
{
    const uint64_t first = PH_LEASE_OWN_MAX + 1;
    struct bench b;
    set_up(&b);
    struct ph_cache_ask ask = ph_cache_ask(b.cache, 0);
    for (uint64_t i = 0; i < 20000; i++)
        ph_cache_recall(b.cache, 1000 + i, first + i, 0);
    struct ph_cache_counters counters;
    ph_cache_count(b.cache, &counters);
    g_assert_cmpuint(counters.objects, <, 5000); /* bounded */
    for (uint64_t i = 0; i < 20000; i++)
        g_assert_cmpuint(learn(&b, ask, 1000 + i, 7, first + i), ==, 0);
    g_assert_cmpuint(learn(&b, ask, 1000, 7, first + 200000), >, 0);
    ph_cache_free(b.cache);
}

static void test_rule_5_recall_of_what_is_not_held_is_released(void)
{
    struct bench b;
    set_up(&b);
    learn(&b, ph_cache_ask(b.cache, 0), FILE_ID, 7, 105);
    ph_cache_recall(b.cache, FILE_ID, 101, 0); /* an older one: what is held stays */
    expect_release(&b, 101);
    g_assert_true(served(&b, FILE_ID, 0));
    ph_cache_recall(b.cache, FILE_ID, 105, 0);
    expect_release(&b, 105);
    ph_cache_recall(b.cache, FILE_ID, 105, 0); /* the release was lost */
    expect_release(&b, 105);
    ph_cache_free(b.cache);
}

static void test_rule_6_mark_then_replies_then_drop_then_release(void)
{
    struct bench b;
    set_up(&b);
    struct ph_cache_ask ask = ph_cache_ask(b.cache, 0);
    ph_cache_kernel_add(b.cache, FILE_ID, 1);
    learn(&b, ask, FILE_ID, 7, 101);
    ph_cache_reply_begin(b.cache, FILE_ID);
    ph_cache_reply_begin(b.cache, FILE_ID);
    ph_cache_pages(b.cache, FILE_ID, 0);
    ph_cache_recall(b.cache, FILE_ID, 101, 0);
    g_assert_cmpuint(ph_cache_valid_ms(b.cache, FILE_ID, 0), ==, 0);
    g_assert_false(served(&b, FILE_ID, 0));
    g_assert_false(ph_cache_has_work(b.cache));
    ph_cache_reply_end(b.cache, FILE_ID);
    g_assert_false(ph_cache_has_work(b.cache));
    ph_cache_reply_end(b.cache, FILE_ID);
    expect_drop(&b, FILE_ID, 101);
    g_assert_true(b.work.drop.pages);
    g_assert_false(b.work.drop.is_directory);
    g_assert_false(ph_cache_has_work(b.cache)); /* no release before the kernel forgot */
    g_assert_cmpuint(learn(&b, ph_cache_ask(b.cache, 0), FILE_ID, 7, 101), ==, 0);
    ph_cache_recall(b.cache, FILE_ID, 101, 0);
    g_assert_false(ph_cache_has_work(b.cache));
    ph_cache_dropped(b.cache, FILE_ID, 101);
    expect_release(&b, 101);
    g_assert_cmpuint(learn(&b, ask, FILE_ID, 7, 101), ==, 0); /* named again before the release came */
    expect_release(&b, 101);
    ph_cache_dropped(b.cache, FILE_ID, 101);
    g_assert_false(ph_cache_has_work(b.cache));
    ph_cache_free(b.cache);
}

static void test_kernel_that_forgot_needs_no_drop(void)
{
    struct bench b;
    set_up(&b);
    struct ph_cache_ask ask = ph_cache_ask(b.cache, 0);
    ph_cache_kernel_add(b.cache, FILE_ID, 3);
    learn(&b, ask, FILE_ID, 7, 101);
    ph_cache_kernel_forget(b.cache, FILE_ID, 2);
    g_assert_true(ph_cache_kernel_has(b.cache, FILE_ID));
    ph_cache_recall(b.cache, FILE_ID, 101, 0);
    ph_cache_kernel_forget(b.cache, FILE_ID, 1); /* while the drop waits its turn */
    g_assert_false(ph_cache_kernel_has(b.cache, FILE_ID));
    expect_release(&b, 101);
    struct ph_cache_counters counters;
    ph_cache_count(b.cache, &counters);
    g_assert_cmpuint(counters.recalls_pending + counters.files_shared, ==, 0);
    g_assert_cmpuint(counters.kernel_objects, ==, 1);
    ph_cache_free(b.cache);
}

static void test_newer_grant_goes_back_with_the_older(void)
{
    struct bench b;
    set_up(&b);
    struct ph_cache_ask ask = ph_cache_ask(b.cache, 0);
    ph_cache_kernel_add(b.cache, FILE_ID, 1);
    learn(&b, ask, FILE_ID, 7, 101);
    ph_cache_recall(b.cache, FILE_ID, 103, 0); /* its grant replaced 101 and is still on its way */
    g_assert_false(served(&b, FILE_ID, 0));
    expect_drop(&b, FILE_ID, 101);
    g_assert_cmpuint(learn(&b, ask, FILE_ID, 7, 103), ==, 0);
    while (ph_cache_next_work(b.cache, &b.work))
        g_assert_cmpint(b.work.kind, ==, PH_CACHE_RELEASE);
    ph_cache_dropped(b.cache, FILE_ID, 101);
    g_assert_true(ph_cache_next_work(b.cache, &b.work));
    g_assert_cmpuint(b.work.release.count, ==, 2);
    g_assert_cmpuint(b.work.release.leases[0], ==, 101);
    g_assert_cmpuint(b.work.release.leases[1], ==, 103);
    ph_cache_free(b.cache);
}

static void test_exclusive_recalled_to_shared_is_kept(void)
{
    struct bench b;
    set_up(&b);
    struct ph_cache_ask ask = ph_cache_ask(b.cache, 0);
    ph_cache_kernel_add(b.cache, FILE_ID, 1);
    learn_mode(&b, ask, FILE_ID, 7, 101, EXCLUSIVE);
    ph_cache_recall(b.cache, FILE_ID, 101, SHARED);
    g_assert_true(ph_cache_next_work(b.cache, &b.work));
    g_assert_cmpint(b.work.kind, ==, PH_CACHE_RELEASE);
    g_assert_cmpuint(b.work.release.count, ==, 0);
    g_assert_cmpuint(b.work.release.kept_count, ==, 1);
    g_assert_cmpuint(b.work.release.kept[0], ==, 101);
    g_assert_true(served(&b, FILE_ID, 0));
    learn_mode(&b, ask, FILE_ID, 7, 101, EXCLUSIVE); /* from before the downgrade */
    struct ph_cache_counters counters;
    ph_cache_count(b.cache, &counters);
    g_assert_cmpuint(counters.files_shared, ==, 1);
    g_assert_cmpuint(counters.files_exclusive, ==, 0);
    ph_cache_recall(b.cache, FILE_ID, 101, 0);
    expect_drop(&b, FILE_ID, 101);
    ph_cache_free(b.cache);
}

/* Pages that are there could be stored into under it, without anybody being asked. */
static void test_shared_is_not_kept_where_pages_are_stored_into(void)
{
    struct bench b;
    set_up(&b);
    ph_cache_kernel_add(b.cache, FILE_ID, 1);
    learn_mode(&b, ph_cache_ask(b.cache, 0), FILE_ID, 7, 101, EXCLUSIVE);
    g_assert_true(ph_cache_is_exclusive(b.cache, FILE_ID));
    ph_cache_writers(b.cache, FILE_ID, 1);
    g_assert_true(ph_cache_has_writers(b.cache, FILE_ID));
    ph_cache_recall(b.cache, FILE_ID, 101, SHARED);
    g_assert_false(ph_cache_is_exclusive(b.cache, FILE_ID));
    expect_drop(&b, FILE_ID, 101);
    ph_cache_dropped(b.cache, FILE_ID, 101);
    expect_release(&b, 101);
    ph_cache_writers(b.cache, FILE_ID, -1);
    g_assert_false(ph_cache_has_writers(b.cache, FILE_ID));
    ph_cache_free(b.cache);
}

static void test_rule_19_newer_attributes_win(void)
{
    struct bench b;
    set_up(&b);
    struct ph_cache_ask early = ph_cache_ask(b.cache, 0);
    learn(&b, ph_cache_ask(b.cache, 0), FILE_ID, 8, 102);
    g_assert_cmpuint(learn(&b, early, FILE_ID, 7, 101), ==, 0);
    g_assert_cmpuint(b.attr.version, ==, 8);
    g_assert_cmpuint(learn(&b, early, FILE_ID, 7, 0), ==, 0);
    g_assert_cmpuint(b.attr.version, ==, 8);
    g_assert_true(served(&b, FILE_ID, 0));
    g_assert_false(ph_cache_has_work(b.cache));
    ph_cache_free(b.cache);
}

static void test_change_behind_the_server_gives_the_lease_up(void)
{
    struct bench b;
    set_up(&b);
    ph_cache_kernel_add(b.cache, FILE_ID, 1);
    learn(&b, ph_cache_ask(b.cache, 0), FILE_ID, 8, 101);
    g_assert_cmpuint(learn(&b, ph_cache_ask(b.cache, 0), FILE_ID, 9, 101), ==, 0);
    g_assert_cmpuint(b.attr.version, ==, 9);
    expect_drop(&b, FILE_ID, 101);
    ph_cache_free(b.cache);
}

static void test_lost_session_is_never_used(void)
{
    struct bench b;
    set_up(&b);
    struct ph_cache_ask ask = ph_cache_ask(b.cache, 0);
    learn(&b, ask, HOME, 1, 100);
    learn(&b, ask, FILE_ID, 7, 101);
    entry(&b, ask, 100, "a", FILE_ID);
    ph_cache_recall(b.cache, 99, 99, 0);
    ph_cache_recall(b.cache, HOME, 100, 0);
    expect_drop(&b, HOME, 100);
    ph_cache_lost(b.cache);
    ph_cache_lost(b.cache);
    g_assert_false(ph_cache_has_work(b.cache));
    ph_cache_dropped(b.cache, HOME, 100);
    g_assert_false(ph_cache_has_work(b.cache));
    g_assert_cmpuint(learn(&b, ask, FILE_ID, 7, 101), ==, 0);
    ph_cache_session(b.cache, 2, TTL, true, true);
    g_assert_cmpuint(learn(&b, ask, FILE_ID, 7, 101), ==, 0);
    g_assert_false(served(&b, FILE_ID, 0));
    g_assert_cmpint(look(&b, "a", 0), ==, PH_CACHE_MISS);
    g_assert_true(ph_cache_kernel_has(b.cache, HOME));
    struct ph_cache_counters counters;
    ph_cache_count(b.cache, &counters);
    g_assert_cmpuint(counters.entries + counters.files_shared + counters.directories_shared, ==, 0);
    ph_cache_free(b.cache);
}

static void count_held(void *data, const struct ph_cache_held *held)
{
    unsigned *counts = data;
    counts[0]++;
    counts[1] += held->pages;
    counts[2] += held->is_directory;
}

static void test_kernel_objects_can_be_walked(void)
{
    struct bench b;
    set_up(&b);
    struct ph_cache_ask ask = ph_cache_ask(b.cache, 0);
    learn(&b, ask, HOME, 1, 100);
    learn(&b, ask, OTHER, 1, 102); /* not in the kernel */
    ph_cache_kernel_add(b.cache, FILE_ID, 2);
    g_assert_false(ph_cache_pages(b.cache, FILE_ID, 0)); /* nobody will tell when they are stale */
    unsigned counts[3] = {0};
    ph_cache_lost(b.cache);
    ph_cache_each_kernel(b.cache, count_held, counts);
    g_assert_cmpuint(counts[0], ==, 2);
    g_assert_cmpuint(counts[1], ==, 1);
    g_assert_cmpuint(counts[2], ==, 1);
    ph_cache_free(b.cache);
}

static void test_bounds_give_up_the_least_recently_used(void)
{
    struct bench b;
    memset(&b, 0, sizeof(b));
    b.cache = ph_cache_new(1000, 10);
    ph_cache_session(b.cache, 1, TTL, true, true);
    for (uint64_t i = 0; i < 12; i++) {
        learn(&b, ph_cache_ask(b.cache, 0), 1000 + i, 1, 1 + i);
        served(&b, 1000, 0);
    }
    g_assert_cmpuint(ph_cache_release_some(b.cache, 100), ==, 2);
    g_assert_cmpuint(ph_cache_release_some(b.cache, 100), ==, 0);
    g_assert_true(served(&b, 1000, 0));
    g_assert_false(served(&b, 1001, 0));
    g_assert_false(served(&b, 1002, 0));
    g_assert_true(served(&b, 1003, 0));
    g_assert_true(ph_cache_next_work(b.cache, &b.work));
    g_assert_cmpuint(b.work.release.count, ==, 2);
    g_assert_cmpuint(ph_cache_give_up_all(b.cache), ==, 10);
    ph_cache_free(b.cache);
}

static void test_releases_go_in_pieces(void)
{
    struct bench b;
    set_up(&b);
    for (uint64_t i = 0; i < PH_LEASES_PER_RELEASE + 5; i++)
        ph_cache_recall(b.cache, 1000 + i, 1 + i, 0);
    g_assert_true(ph_cache_next_work(b.cache, &b.work));
    g_assert_cmpuint(b.work.release.count, ==, PH_LEASES_PER_RELEASE);
    g_assert_true(ph_cache_next_work(b.cache, &b.work));
    g_assert_cmpuint(b.work.release.count, ==, 5);
    g_assert_cmpuint(b.work.release.leases[4], ==, PH_LEASES_PER_RELEASE + 5);
    g_assert_false(ph_cache_next_work(b.cache, &b.work));
    ph_cache_free(b.cache);
}

static void test_attributes_survive_the_way_to_the_wire(void)
{
    struct ph_cached_attr from = {.object = 5,
                                  .size = 6,
                                  .mode = S_IFREG | 0644,
                                  .links = 2,
                                  .version = 9,
                                  .modified = {.seconds = -3, .nanoseconds = 7},
                                  .has_created = true,
                                  .created = {.seconds = 11},
                                  .device = 4,
                                  .blocks = 3,
                                  .block_size = 512},
                          back;
    struct ph_cached_attr_wire wire;
    const Pohmel__Attr *attr = ph_cached_attr_to_wire(&from, &wire);
    g_assert_cmpint(attr->modified->seconds, ==, -3);
    ph_cached_attr_from_wire(attr, &back);
    g_assert_cmpuint(back.created.seconds, ==, 11);
    g_assert_cmpuint(back.version + back.size + back.device, ==, 19);
    g_assert_true(back.has_created);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cache/served-until-the-lease-ends", test_served_until_the_lease_ends);
    g_test_add_func("/cache/short-lease-is-never-used", test_short_lease_is_never_used);
    g_test_add_func("/cache/unwatched-is-kept-for-a-second", test_unwatched_is_kept_for_a_second);
    g_test_add_func("/cache/no-lease-is-used-once", test_no_lease_is_used_once);
    g_test_add_func("/cache/rule-4-early-recall", test_rule_4_early_recall_makes_the_grant_useless);
    g_test_add_func("/cache/rule-4-forgotten-objects", test_rule_4_holds_for_forgotten_objects);
    g_test_add_func("/cache/rule-5-not-held", test_rule_5_recall_of_what_is_not_held_is_released);
    g_test_add_func("/cache/rule-6-order", test_rule_6_mark_then_replies_then_drop_then_release);
    g_test_add_func("/cache/kernel-that-forgot-needs-no-drop", test_kernel_that_forgot_needs_no_drop);
    g_test_add_func("/cache/newer-grant-goes-back-with-the-older", test_newer_grant_goes_back_with_the_older);
    g_test_add_func("/cache/exclusive-recalled-to-shared-is-kept", test_exclusive_recalled_to_shared_is_kept);
    g_test_add_func("/cache/shared-is-not-kept-where-pages-are-stored-into",
                    test_shared_is_not_kept_where_pages_are_stored_into);
    g_test_add_func("/cache/rule-19-newer-attributes-win", test_rule_19_newer_attributes_win);
    g_test_add_func("/cache/change-behind-the-server", test_change_behind_the_server_gives_the_lease_up);
    g_test_add_func("/cache/lost-session-is-never-used", test_lost_session_is_never_used);
    g_test_add_func("/cache/kernel-objects-can-be-walked", test_kernel_objects_can_be_walked);
    g_test_add_func("/cache/bounds-give-up-the-oldest", test_bounds_give_up_the_least_recently_used);
    g_test_add_func("/cache/releases-go-in-pieces", test_releases_go_in_pieces);
    g_test_add_func("/cache/attributes-survive-the-wire", test_attributes_survive_the_way_to_the_wire);
    return g_test_run();
}
