/* Files that are open here, and that the server has not been told of: their lease does not leave before it
 * was.
 */
#include <glib.h>

#include "client/core/cache_look.h"
#include "client/core/tests/cache_bench.h"

static void expect_open(struct bench *b, uint64_t object)
{
    g_assert_true(ph_cache_next_work(b->cache, &b->work));
    g_assert_cmpint(b->work.kind, ==, PH_CACHE_OPEN);
    g_assert_cmpuint(b->work.open.object, ==, object);
}

static void hold_file(struct bench *b)
{
    set_up(b);
    learn(b, ph_cache_ask(b->cache, 0), FILE_ID, 1, 101);
    ph_cache_kernel_add(b->cache, FILE_ID, 1);
}

static void test_recall_opens_before_it_drops(void)
{
    struct bench b;
    struct ph_cache_lease lease;
    hold_file(&b);
    g_assert_true(ph_cache_open_begin(b.cache, FILE_ID, 0));
    g_assert_true(ph_cache_open_begin(b.cache, FILE_ID, 0));
    ph_cache_recall(b.cache, FILE_ID, 101, 0);
    expect_open(&b, FILE_ID);
    g_assert_false(ph_cache_has_work(b.cache)); /* it is asked for once, whatever happens meanwhile */
    g_assert_true(ph_cache_lease_of(b.cache, FILE_ID, &lease));
    g_assert_cmpint(lease.state, ==, PH_CACHE_LEASE_RECALLED);
    g_assert_false(ph_cache_open_begin(b.cache, FILE_ID, 0));
    ph_cache_open_end(b.cache, FILE_ID);
    g_assert_false(ph_cache_has_work(b.cache));
    ph_cache_open_end(b.cache, FILE_ID);
    expect_drop(&b, FILE_ID, 101);
    ph_cache_dropped(b.cache, FILE_ID, 101);
    expect_release(&b, 101);
    ph_cache_free(b.cache);
}

static void test_answers_being_written_come_first(void)
{
    struct bench b;
    hold_file(&b);
    g_assert_true(ph_cache_open_begin(b.cache, FILE_ID, 0));
    ph_cache_reply_begin(b.cache, FILE_ID);
    g_assert_true(ph_cache_give_up(b.cache, FILE_ID));
    g_assert_false(ph_cache_has_work(b.cache));
    ph_cache_reply_end(b.cache, FILE_ID);
    expect_open(&b, FILE_ID);
    ph_cache_open_end(b.cache, FILE_ID);
    expect_drop(&b, FILE_ID, 101);
    ph_cache_free(b.cache);
}

static void test_what_is_closed_in_time_is_not_opened(void)
{
    struct bench b;
    hold_file(&b);
    g_assert_true(ph_cache_open_begin(b.cache, FILE_ID, 0));
    ph_cache_recall(b.cache, FILE_ID, 101, 0);
    ph_cache_open_end(b.cache, FILE_ID);
    expect_drop(&b, FILE_ID, 101);
    ph_cache_free(b.cache);
}

static void test_no_lease_no_opening(void)
{
    struct bench b;
    set_up(&b);
    g_assert_false(ph_cache_open_begin(b.cache, FILE_ID, 0));
    learn(&b, ph_cache_ask(b.cache, 0), FILE_ID, 1, 0);
    g_assert_false(ph_cache_open_begin(b.cache, FILE_ID, 0));
    learn(&b, ph_cache_ask(b.cache, 0), FILE_ID, 1, 101);
    g_assert_false(ph_cache_open_begin(b.cache, FILE_ID, FULL)); /* past its time */
    g_assert_true(ph_cache_open_begin(b.cache, FILE_ID, FULL - 1));
    ph_cache_open_end(b.cache, FILE_ID);
    ph_cache_free(b.cache);
}

static void test_openings_outlive_the_session(void)
{
    struct bench b;
    hold_file(&b);
    g_assert_true(ph_cache_open_begin(b.cache, FILE_ID, 0));
    ph_cache_recall(b.cache, FILE_ID, 101, 0);
    ph_cache_lost(b.cache);
    g_assert_false(ph_cache_has_work(b.cache));
    ph_cache_session(b.cache, 2, TTL, true, true);
    learn(&b, ph_cache_ask(b.cache, 10), FILE_ID, 1, 201);
    ph_cache_recall(b.cache, FILE_ID, 201, 0);
    expect_open(&b, FILE_ID);
    ph_cache_open_end(b.cache, FILE_ID);
    expect_drop(&b, FILE_ID, 201);
    ph_cache_free(b.cache);
}

static void test_what_leaves_shared_stays_open(void)
{
    struct bench b;
    set_up(&b);
    learn_mode(&b, ph_cache_ask(b.cache, 0), FILE_ID, 1, 101, EXCLUSIVE);
    g_assert_true(ph_cache_open_begin(b.cache, FILE_ID, 0));
    ph_cache_recall(b.cache, FILE_ID, 101, SHARED);
    g_assert_true(ph_cache_next_work(b.cache, &b.work));
    g_assert_cmpint(b.work.kind, ==, PH_CACHE_RELEASE);
    g_assert_cmpuint(b.work.release.kept_count, ==, 1);
    g_assert_false(ph_cache_has_work(b.cache));
    ph_cache_open_end(b.cache, FILE_ID);
    ph_cache_free(b.cache);
}

/* Nobody was told of the change yet: the kernel may know attributes from before it. */
static void test_what_is_being_changed_is_given_back_whole(void)
{
    struct bench b;
    struct ph_cache_change change;
    set_up(&b);
    learn_mode(&b, ph_cache_ask(b.cache, 0), HOME, 1, 101, EXCLUSIVE);
    g_assert_true(ph_cache_is_exclusive(b.cache, HOME));
    ph_cache_change_begin(&change);
    ph_cache_change_add_name(b.cache, &change, HOME, "a", 1, false);
    ph_cache_recall(b.cache, HOME, 101, SHARED);
    g_assert_false(ph_cache_is_exclusive(b.cache, HOME));
    expect_drop(&b, HOME, 101);
    ph_cache_dropped(b.cache, HOME, 101);
    expect_release(&b, 101);
    ph_cache_change_end(b.cache, &change);
    ph_cache_free(b.cache);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cache/open/recall", test_recall_opens_before_it_drops);
    g_test_add_func("/cache/open/answers-first", test_answers_being_written_come_first);
    g_test_add_func("/cache/open/closed-in-time", test_what_is_closed_in_time_is_not_opened);
    g_test_add_func("/cache/open/no-lease", test_no_lease_no_opening);
    g_test_add_func("/cache/open/session", test_openings_outlive_the_session);
    g_test_add_func("/cache/open/shared", test_what_leaves_shared_stays_open);
    g_test_add_func("/cache/open/changing", test_what_is_being_changed_is_given_back_whole);
    return g_test_run();
}
