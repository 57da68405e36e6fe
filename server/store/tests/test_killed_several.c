/* Transactions of several commands: all or nothing, exactly once, whenever the server is killed. */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>

#include "ph_commands.h"
#include "server/store/tests/stepped.h"
#include "server/store/undo_log.h"

enum { STEPS_MAX = 4000 };

/* The machine goes on when a server is killed: what the kernel was told need not reach a disk here, and
 * thousands of servers are started. */
int fsync(int fd)
{
    return 0;
}

enum { MADE_FLUSHES = 3 }; /* of the first script, its mark the last of them */

static atomic_uint list_flushes; /* of the list of undoing; only transactions of several commands do that */

/* The flush NUMBER of these fails, and what there is at the next one is looked at. */
static struct {
    unsigned number; /* 0: none */
    struct play *play;
    char *seen;
} failing;

static int flush_list(unsigned number)
{
    if (failing.number != 0 && number == failing.number + 1)
        failing.seen = play_look(failing.play, false);
    if (failing.number == 0 || number != failing.number)
        return 0;
    errno = EIO;
    return -1;
}

int fdatasync(int fd)
{
    char link[32], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, sizeof path - 1);
    path[MAX(len, 0)] = '\0';
    return g_str_has_suffix(path, "/undo") ? flush_list(atomic_fetch_add(&list_flushes, 1) + 1) : 0;
}

int msync(void *at, size_t len, int flags)
{
    return 0;
}

int syncfs(int fd)
{
    return 0;
}

/* What is there when the commands are executed one by one. */
static char *expected(const struct script *script)
{
    struct play play;
    play_setup(&play, script, false);
    play_open(&play);
    play_singly(&play);
    char *after = play_look(&play, false);
    play_teardown(&play);
    return after;
}

/* Nothing is kept aside, and nothing is to be undone. */
static void expect_nothing_left(const struct play *play)
{
    struct ph_undo_log *log = ph_undo_log_open(play->fx.state, NULL);
    g_autofree char *aside = fx_path(&play->fx, ".pohmel/undo");
    g_assert_nonnull(log);
    g_assert_cmpuint(ph_undo_log_count(log), ==, 0);
    ph_undo_log_close(log);
    g_autoptr(GDir) dir = g_dir_open(aside, 0, NULL);
    g_assert_true(dir == NULL || g_dir_read_name(dir) == NULL);
}

static void test_done(gconstpointer given)
{
    const struct script *script = given;
    struct play play;
    g_autofree char *wanted = expected(script);
    play_setup(&play, script, false);
    play_open(&play);
    fx_ok(&play.fx, play_send(&play));
    g_autofree char *now = play_look(&play, false);
    g_assert_cmpstr(now, ==, wanted);
    g_assert_cmpuint(play.reply.n_results, ==, play.count);
    g_assert_cmpuint(play.reply.failed, ==, 0);
    g_assert_cmpuint(play.reply.stable, ==, play.fx.call.sequence);
    expect_nothing_left(&play);
    play_teardown(&play);
}

/* What undoes commands that do not meet is made stable at once, and what is below a new directory not at all;
 * then the mark. */
static void test_flushes(void)
{
    static const struct {
        const char *name;
        unsigned flushes;
    } expectations[] = {{"made", MADE_FLUSHES}, {"removed", 5}, {"changed", 2}, {"replaced", 4}};
    for (size_t i = 0; i < G_N_ELEMENTS(expectations); i++) {
        struct play play;
        size_t which = 0;
        while (strcmp(scripts[which].name, expectations[i].name) != 0)
            which++;
        play_setup(&play, &scripts[which], false);
        play_open(&play);
        list_flushes = 0;
        fx_ok(&play.fx, play_send(&play));
        g_assert_cmpuint(atomic_load(&list_flushes), ==, expectations[i].flushes);
        play_teardown(&play);
    }
}

/* Its mark may be on the disk, or not: that it is not is made sure of before anything is undone. */
static void test_mark_taken_back(void)
{
    struct play play;
    g_autofree char *wanted = expected(&scripts[0]);
    play_setup(&play, &scripts[0], false);
    g_autofree char *before = play_look(&play, false);
    play_open(&play);
    list_flushes = 0;
    failing.number = MADE_FLUSHES;
    failing.play = &play;
    fx_is(play_send(&play), PH_ST_IO_ERROR);
    failing.number = 0;
    g_assert_cmpstr(failing.seen, ==, wanted);
    g_autofree char *now = play_look(&play, false);
    g_assert_cmpstr(now, ==, before);
    expect_nothing_left(&play);
    play_teardown(&play);
    g_clear_pointer(&failing.seen, g_free);
}

/* The last command fails: everything is as it was, and the server knows it so. */
static void test_undone(gconstpointer given)
{
    const struct script *script = given;
    struct play play;
    play_setup(&play, script, true);
    play_open(&play);
    g_autofree char *before = play_look(&play, true);
    fx_is(play_send(&play), PH_ST_NOT_FOUND);
    g_autofree char *now = play_look(&play, true);
    g_assert_cmpstr(now, ==, before);
    g_assert_cmpuint(play.reply.failed, ==, play.count);
    for (size_t i = 0; i < play.count; i++)
        fx_is(play.reply.results[i]->status, i + 1 == play.count ? PH_ST_NOT_FOUND : PH_ST_ABORTED);
    expect_nothing_left(&play);
    fx_ok(&play.fx, fx_getattr(&play.fx, play.file));
    fx_ok(&play.fx, fx_getattr(&play.fx, play.other));
    fx_ok(&play.fx, fx_read(&play.fx, play.other, SCRIPT_OTHER_HANDLE, 0, 100));
    fx_is(fx_getattr(&play.fx, play.first_id), PH_ST_STALE);
    fx_is(fx_read(&play.fx, play.first_id + 2, SCRIPT_NEW_HANDLE, 0, 100), PH_ST_BAD_HANDLE);
    /* And nothing of it is in the way of another try. */
    play.count--;
    if (!script->unnamed) {
        fx_ok(&play.fx, play_send(&play));
        g_autofree char *wanted = expected(script), *after = play_look(&play, false);
        g_assert_cmpstr(after, ==, wanted);
    }
    play_teardown(&play);
}

/* ---- Killed ---- */

/* Lets a child that does ACT make STEPS system calls, and kills it. True when it came to its end before. */
static bool child_step(struct play *play, bool (*act)(struct play *play), int steps)
{
    pid_t child = stepped_start(play, act);
    if (child == 0)
        return true;
    bool ended = stepped_go(child, steps);
    stepped_kill(child);
    return ended;
}

/* Steps from one kill to the next: with PH_KILL_EVERY=1 and USUAL 1 every one. */
static int stride(int usual)
{
    return usual * stepped_number("PH_KILL_EVERY", 1);
}

/* Where not every step is taken, others are in each run. */
static int first_step(int usual)
{
    return g_test_rand_int_range(0, stride(usual));
}

/* Afterwards either nothing of it has happened or all of it; sent again it has, once. */
static void test_killed(gconstpointer given)
{
    const struct script *script = given;
    guint handler = stepped_quiet();
    g_autofree char *wanted = expected(script);
    bool ended = false;
    int replays = 0;
    for (int steps = first_step(1); !ended; steps += stride(1)) {
        struct play play;
        g_assert_cmpint(steps, <, STEPS_MAX);
        play_setup(&play, script, false);
        g_autofree char *before = play_look(&play, true);
        ended = child_step(&play, stepped_well, steps);
        fx_open(&play.fx);
        g_autofree char *found = play_look(&play, true);
        g_autofree char *plain = play_look(&play, false);
        bool done = strcmp(plain, wanted) == 0;
        if (!done && strcmp(found, before) != 0)
            g_error("%s, step %d: neither before nor after:\n%s\nbefore:\n%s\nafter:\n%s", script->name,
                    steps, found, before, wanted);
        expect_nothing_left(&play);
        fx_close(&play.fx);
        play_open(&play);
        fx_ok(&play.fx, play_send(&play));
        replays += play.replayed;
        g_assert_true(play.replayed == done && (done || !ended));
        g_autofree char *after = play_look(&play, false);
        g_assert_cmpstr(after, ==, wanted);
        play_teardown(&play);
    }
    g_test_message("%d answers from the journal", replays);
    g_log_remove_handler(NULL, handler);
}

/* One that fails leaves nothing, wherever the server is killed. */
static void test_killed_undoing(gconstpointer given)
{
    const struct script *script = given;
    guint handler = stepped_quiet();
    bool ended = false;
    for (int steps = first_step(3); !ended; steps += stride(3)) {
        struct play play;
        play_setup(&play, script, true);
        g_autofree char *before = play_look(&play, true);
        ended = child_step(&play, stepped_in_vain, steps);
        fx_open(&play.fx);
        g_autofree char *found = play_look(&play, true);
        g_assert_cmpstr(found, ==, before);
        expect_nothing_left(&play);
        play_teardown(&play);
    }
    g_log_remove_handler(NULL, handler);
}

/* A server that is killed while it undoes or finishes what the last one left: the next one goes on with it.
 */
static void test_killed_recovering(gconstpointer given)
{
    const struct script *script = given;
    guint handler = stepped_quiet();
    g_autofree char *wanted = expected(script);
    bool ended = false;
    for (int steps = first_step(11); !ended; steps += stride(11)) {
        bool recovered = false;
        for (int again = 1 + first_step(17); !recovered; again += stride(17)) {
            struct play play;
            play_setup(&play, script, false);
            g_autofree char *before = play_look(&play, true);
            ended = child_step(&play, stepped_well, steps);
            recovered = child_step(&play, NULL, again);
            fx_open(&play.fx);
            g_autofree char *found = play_look(&play, true), *plain = play_look(&play, false);
            if (strcmp(plain, wanted) != 0)
                g_assert_cmpstr(found, ==, before);
            expect_nothing_left(&play);
            play_teardown(&play);
        }
        if (!g_test_slow())
            steps += 29;
    }
    g_log_remove_handler(NULL, handler);
}

static void add(const char *promise, void (*test)(gconstpointer))
{
    for (size_t i = 0; i < scripts_count; i++) {
        g_autofree char *path = g_strconcat("/several/", promise, "/", scripts[i].name, NULL);
        g_test_add_data_func(path, &scripts[i], test);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add("the-same-as-one-by-one", test_done);
    g_test_add_func("/several/stable-together", test_flushes);
    g_test_add_func("/several/a-mark-that-failed-is-taken-back-first", test_mark_taken_back);
    add("nothing-when-one-fails", test_undone);
    add("once-whatever-step", test_killed);
    add("nothing-whatever-step-of-one-that-fails", test_killed_undoing);
    add("also-when-killed-again", test_killed_recovering);
    return g_test_run();
}
