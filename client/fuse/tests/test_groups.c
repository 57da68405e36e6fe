/* Supplementary groups, and what /proc says of processes that are ending. */
#include <glib.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/fuse/groups.h"
#include "client/fuse/interrupt.h"
#include "runtime/base/limits.h"

static void test_parse(void)
{
    struct ph_groups *groups = ph_groups_parse("Name:\tx\nUid:\t1\nGroups:\t4 24 4294967294 \nNStgid:\t9\n");
    g_assert_nonnull(groups);
    g_assert_cmpuint(groups->count, ==, 3);
    g_assert_cmpuint(groups->ids[0], ==, 4);
    g_assert_cmpuint(groups->ids[2], ==, UINT32_C(4294967294));
    ph_groups_unref(groups);
    g_assert_null(ph_groups_parse("Name:\tx\nGroups:\t \nNStgid:\t9\n"));
    g_assert_null(ph_groups_parse("Name:\tGroups: 1 2\n"));
    g_assert_null(ph_groups_parse(""));
}

static void test_bounded(void)
{
    g_autoptr(GString) text = g_string_new("Name:\tx\nGroups:\t");
    for (int i = 0; i < PH_GROUPS_MAX + 10; i++)
        g_string_append_printf(text, "%d ", i);
    struct ph_groups *groups = ph_groups_parse(text->str);
    g_assert_cmpuint(groups->count, ==, PH_GROUPS_MAX);
    ph_groups_unref(groups);
}

static void test_cached(void)
{
    struct ph_groups_cache *cache = ph_groups_cache_new();
    gid_t own[64];
    int count = getgroups(G_N_ELEMENTS(own), own);
    struct ph_groups *first = ph_groups_cache_get(cache, getpid(), 77, 78, 1000);
    g_assert_cmpint(first != NULL ? (int) first->count : 0, ==, count);
    struct ph_groups *second = ph_groups_cache_get(cache, getpid(), 77, 78, 1999);
    g_assert_true(second == first);
    struct ph_groups *other = ph_groups_cache_get(cache, getpid(), 77, 79, 1999); /* setgid: read again */
    g_assert_true(first == NULL || other != first);
    struct ph_groups *late = ph_groups_cache_get(cache, getpid(), 77, 79, 5000);
    g_assert_true(first == NULL || late != other);
    g_assert_null(ph_groups_cache_get(cache, getpid(), 0, 0, 1000));
    g_assert_null(ph_groups_cache_get(cache, 0, 77, 78, 1000));
    g_assert_null(ph_groups_cache_get(cache, 0x3ffffff, 77, 78, 1000)); /* gone */
    ph_groups_unref(first);
    ph_groups_unref(second);
    ph_groups_unref(other);
    ph_groups_unref(late);
    ph_groups_cache_free(cache);
}

static void test_kill_pending(void)
{
    g_assert_true(ph_status_shows_kill("Name:\tx\nSigPnd:\t0000000000000100\nShdPnd:\t0000000000000000\n"));
    g_assert_true(ph_status_shows_kill("Name:\tx\nSigPnd:\t0000000000000000\nShdPnd:\t0000000000004100\n"));
    g_assert_false(ph_status_shows_kill("Name:\tx\nSigPnd:\t0000000000004200\nShdPnd:\t0000000000000001\n"));
    g_assert_false(ph_process_is_killed(getpid()));
    g_assert_true(ph_process_is_killed(0x3ffffff));
}

static void test_exiting(void)
{
    g_assert_true(ph_stat_shows_exit("12 (a) b) c) S 1 2 3 0 -1 4194308 0 0"));
    g_assert_false(ph_stat_shows_exit("12 (x) S 1 2 3 0 -1 4194304 4 4"));
    g_assert_false(ph_stat_shows_exit("nonsense"));
    g_assert_false(ph_process_is_exiting(getpid()));
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    siginfo_t info;
    g_assert_cmpint(waitid(P_PID, (id_t) child, &info, WEXITED | WNOWAIT), ==, 0);
    g_assert_true(ph_process_is_exiting(child));
    waitpid(child, NULL, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/groups/the line of a process is understood", test_parse);
    g_test_add_func("/groups/no more than the protocol carries are taken", test_bounded);
    g_test_add_func("/groups/they are kept for a second and for the same ids", test_cached);
    g_test_add_func("/interrupt/only SIGKILL pending ends a wait", test_kill_pending);
    g_test_add_func("/interrupt/a process on its way out is seen", test_exiting);
    return g_test_run();
}
