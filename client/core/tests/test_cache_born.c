/* Objects that this mount made in its cache, before and after the server knows them. */
#include <glib.h>
#include <string.h>
#include <sys/stat.h>

#include "client/core/tests/cache_bench.h"

/* Ids of our own, and of a server. */
enum { OLD = 3 };
#define NEW (PH_LEASE_OWN_MAX + 100)

/* HOME was made here, under OLD. */
static void set_up_own(struct bench *b)
{
    set_up(b);
    learn_mode(b, ph_cache_ask(b->cache, 0), HOME, 1, OLD, EXCLUSIVE);
    ph_cache_set_whole(b->cache, HOME);
}

static void test_empty_directory_of_our_own_is_known_whole(void)
{
    struct bench b;
    struct ph_cache_counters counters;
    set_up_own(&b);
    g_assert_cmpint(look(&b, "a", 0), ==, PH_CACHE_ABSENT);
    g_assert_cmpuint(b.entry_ms, ==, FULL);
    ph_cache_set_whole(b.cache, HOME); /* twice is once */
    ph_cache_count(b.cache, &counters);
    g_assert_cmpuint(counters.complete_directories, ==, 1);
    g_assert_cmpint(look(&b, "a", FULL), ==, PH_CACHE_MISS);
    ph_cache_free(b.cache);
}

static void test_only_what_is_held_exclusively_is_whole(void)
{
    struct bench b;
    set_up(&b);
    ph_cache_set_whole(b.cache, HOME);
    g_assert_cmpint(look(&b, "a", 0), ==, PH_CACHE_MISS);
    learn(&b, ph_cache_ask(b.cache, 0), HOME, 1, NEW);
    ph_cache_set_whole(b.cache, HOME);
    g_assert_cmpint(look(&b, "a", 0), ==, PH_CACHE_MISS);
    learn_mode(&b, ph_cache_ask(b.cache, 0), HOME, 1, NEW, EXCLUSIVE);
    ph_cache_recall(b.cache, HOME, NEW, 0);
    ph_cache_set_whole(b.cache, HOME);
    g_assert_cmpint(look(&b, "a", 0), ==, PH_CACHE_MISS);
    ph_cache_free(b.cache);
}

static void test_lease_of_the_server_takes_the_place_of_ours(void)
{
    struct bench b;
    struct ph_cache_counters counters;
    set_up_own(&b);
    ph_cache_promote(b.cache, HOME, OLD, NEW, EXCLUSIVE);
    g_assert_false(ph_cache_has_work(b.cache));
    g_assert_true(served(&b, HOME, 0)); /* nothing that was known is forgotten */
    g_assert_cmpint(look(&b, "a", 0), ==, PH_CACHE_ABSENT);
    ph_cache_recall(b.cache, HOME, NEW, 0);
    expect_drop(&b, HOME, NEW);
    ph_cache_dropped(b.cache, HOME, NEW);
    expect_release(&b, NEW);
    ph_cache_count(b.cache, &counters);
    g_assert_cmpuint(counters.directories_exclusive + counters.recalls_pending, ==, 0);
    ph_cache_free(b.cache);
}

static void test_weaker_lease_of_the_server_is_taken_as_such(void)
{
    struct bench b;
    struct ph_cache_counters counters;
    set_up_own(&b);
    ph_cache_promote(b.cache, HOME, OLD, NEW, SHARED);
    ph_cache_count(b.cache, &counters);
    g_assert_cmpuint(counters.directories_shared, ==, 1);
    g_assert_cmpuint(counters.directories_exclusive, ==, 0);
    g_assert_true(served(&b, HOME, 0));
    ph_cache_free(b.cache);
}

static void test_no_lease_of_the_server_has_the_kernel_forget(void)
{
    struct bench b;
    set_up_own(&b);
    ph_cache_promote(b.cache, HOME, OLD, 0, 0);
    g_assert_false(served(&b, HOME, 0));
    g_assert_cmpint(look(&b, "a", 0), ==, PH_CACHE_MISS);
    expect_drop(&b, HOME, OLD);
    ph_cache_dropped(b.cache, HOME, OLD);
    expect_release(&b, OLD);
    learn(&b, ph_cache_ask(b.cache, 0), HOME, 2, NEW); /* the next one is as good as any */
    g_assert_true(served(&b, HOME, 0));
    ph_cache_free(b.cache);
}

/* Rule 4: a recall may overtake the reply that names its lease. */
static void test_recall_may_come_before_the_server_named_its_lease(void)
{
    struct bench b;
    set_up_own(&b);
    ph_cache_recall(b.cache, HOME, NEW, 0);
    g_assert_false(served(&b, HOME, 0));
    expect_drop(&b, HOME, OLD);
    ph_cache_promote(b.cache, HOME, OLD, NEW, EXCLUSIVE); /* while the kernel forgets */
    g_assert_false(ph_cache_has_work(b.cache));
    ph_cache_dropped(b.cache, HOME, OLD);
    g_assert_true(ph_cache_next_work(b.cache, &b.work));
    g_assert_cmpuint(b.work.release.count, ==, 2);
    g_assert_cmpuint(b.work.release.leases[0], ==, OLD);
    g_assert_cmpuint(b.work.release.leases[1], ==, NEW);
    ph_cache_promote(b.cache, HOME, OLD, NEW, EXCLUSIVE); /* after all that: nothing once more */
    g_assert_false(ph_cache_has_work(b.cache));
    g_assert_false(ph_cache_is_held(b.cache, HOME));
    /* A reply from before says OLD still: others may have changed it since. */
    g_assert_cmpuint(learn_mode(&b, ph_cache_ask(b.cache, 0), HOME, 1, OLD, EXCLUSIVE), ==, 0);
    g_assert_false(served(&b, HOME, 0));
    ph_cache_free(b.cache);
}

static void test_lease_that_ended_here_is_released_at_the_server(void)
{
    struct bench b;
    set_up_own(&b);
    ph_cache_give_up_all(b.cache);
    expect_drop(&b, HOME, OLD);
    ph_cache_dropped(b.cache, HOME, OLD);
    expect_release(&b, OLD);
    ph_cache_promote(b.cache, HOME, OLD, NEW, EXCLUSIVE);
    expect_release(&b, NEW);
    /* That release is on its way: a reply that names NEW came before it. */
    g_assert_cmpuint(learn(&b, ph_cache_ask(b.cache, 0), HOME, 2, NEW), ==, 0);
    g_assert_cmpuint(learn(&b, ph_cache_ask(b.cache, 0), HOME, 2, NEW + 1), >, 0);
    ph_cache_free(b.cache);
}

static void test_lease_on_its_way_back_takes_the_new_one_along(void)
{
    struct bench b;
    set_up_own(&b);
    ph_cache_give_up_all(b.cache);
    ph_cache_promote(b.cache, HOME, OLD, NEW, EXCLUSIVE);
    expect_drop(&b, HOME, OLD);
    ph_cache_dropped(b.cache, HOME, OLD);
    g_assert_true(ph_cache_next_work(b.cache, &b.work));
    g_assert_cmpuint(b.work.release.count, ==, 2);
    g_assert_cmpuint(b.work.release.leases[1], ==, NEW);
    ph_cache_free(b.cache);
}

static void test_reply_may_name_the_lease_first(void)
{
    struct bench b;
    set_up_own(&b);
    learn_mode(&b, ph_cache_ask(b.cache, 0), HOME, 1, NEW, EXCLUSIVE);
    ph_cache_promote(b.cache, HOME, OLD, NEW, EXCLUSIVE);
    g_assert_false(ph_cache_has_work(b.cache));
    g_assert_cmpint(look(&b, "a", 0), ==, PH_CACHE_ABSENT);
    ph_cache_recall(b.cache, HOME, NEW, 0);
    expect_drop(&b, HOME, NEW);
    ph_cache_free(b.cache);
}

static void test_recalls_of_others_do_not_touch_ids_of_our_own(void)
{
    struct bench b;
    set_up(&b);
    for (uint64_t i = 0; i < 20000; i++)
        ph_cache_recall(b.cache, 1000 + i, NEW + i, 0);
    g_assert_cmpuint(learn_mode(&b, ph_cache_ask(b.cache, 0), FILE_ID, 1, OLD, EXCLUSIVE), >, 0);
    g_assert_true(served(&b, FILE_ID, 0));
    ph_cache_promote(b.cache, FILE_ID, OLD, NEW + 20000, EXCLUSIVE);
    g_assert_true(served(&b, FILE_ID, 0));
    ph_cache_free(b.cache);
}

static void test_lost_session_ends_what_was_made_in_it(void)
{
    struct bench b;
    set_up_own(&b);
    ph_cache_recall(b.cache, HOME, NEW, 0);
    ph_cache_lost(b.cache);
    ph_cache_promote(b.cache, HOME, OLD, NEW, EXCLUSIVE);
    g_assert_false(ph_cache_is_held(b.cache, HOME));
    ph_cache_session(b.cache, 2, TTL, true, true);
    /* It is dirty still, and may be held under an id of our own once more. */
    g_assert_cmpuint(learn_mode(&b, ph_cache_ask(b.cache, 0), HOME, 1, OLD, EXCLUSIVE), >, 0);
    ph_cache_free(b.cache);
}

static void test_end_of_leases_is_told(void)
{
    struct bench b;
    set_up(&b);
    g_assert_cmpuint(ph_cache_leases_until_ms(b.cache), ==, 0);
    ph_cache_answered(b.cache, 1, 50);
    g_assert_cmpuint(ph_cache_leases_until_ms(b.cache), ==, 50 + FULL);
    ph_cache_lost(b.cache);
    g_assert_cmpuint(ph_cache_leases_until_ms(b.cache), ==, 0);
    ph_cache_free(b.cache);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cache-born/empty-directory-is-whole", test_empty_directory_of_our_own_is_known_whole);
    g_test_add_func("/cache-born/whole-when-exclusive", test_only_what_is_held_exclusively_is_whole);
    g_test_add_func("/cache-born/promoted", test_lease_of_the_server_takes_the_place_of_ours);
    g_test_add_func("/cache-born/promoted-to-shared", test_weaker_lease_of_the_server_is_taken_as_such);
    g_test_add_func("/cache-born/without-lease", test_no_lease_of_the_server_has_the_kernel_forget);
    g_test_add_func("/cache-born/early-recall", test_recall_may_come_before_the_server_named_its_lease);
    g_test_add_func("/cache-born/ended-here", test_lease_that_ended_here_is_released_at_the_server);
    g_test_add_func("/cache-born/on-its-way-back", test_lease_on_its_way_back_takes_the_new_one_along);
    g_test_add_func("/cache-born/named-by-a-reply", test_reply_may_name_the_lease_first);
    g_test_add_func("/cache-born/recalls-of-others", test_recalls_of_others_do_not_touch_ids_of_our_own);
    g_test_add_func("/cache-born/lost-session", test_lost_session_ends_what_was_made_in_it);
    g_test_add_func("/cache-born/end-of-leases", test_end_of_leases_is_told);
    return g_test_run();
}
