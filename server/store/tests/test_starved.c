/* An allocation that fails in the middle of a change, each in turn: the server ends itself, as if it were
 * killed there, or says so; the next start serves, what was answered OK has happened, a change that is sent
 * again has happened once, a transaction as a whole or not at all (docs/decisions/0023-what-fails.md). */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "ph_commands.h"
#include "server/store/tests/killed_run.h"
#include "server/store/tests/several_scripts.h"
#include "server/store/tests/starve_here.h"

enum { ALLOCATIONS_MAX = 20000 };

/* What the child said before it ended. */
struct outcome {
    bool starved, answered;
    uint32_t status;
};

static void quiet(const char *domain, GLogLevelFlags level, const char *message, gpointer ignored)
{
}

static guint quiet_begin(void)
{
    return g_log_set_handler(NULL, G_LOG_LEVEL_MESSAGE | G_LOG_LEVEL_WARNING | G_LOG_LEVEL_CRITICAL, quiet,
                             NULL);
}

/* One allocation in so many fails. */
static int stride(void)
{
    const char *text = g_getenv("PH_FAIL_EVERY");
    return text != NULL ? (int) strtol(text, NULL, 10) : 1;
}

static struct outcome *outcome_new(void)
{
    struct outcome *outcome =
        mmap(NULL, sizeof *outcome, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    g_assert_true(outcome != MAP_FAILED);
    return outcome;
}

/* All that is broken is told, not only the first of it. */
static void G_GNUC_PRINTF(1, 2) broken(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    g_test_message("BROKEN: %s", text);
    g_test_fail();
}

/* The words with which it ends itself are not of the test's result; and nobody wants its memory. */
static void end_quietly(void)
{
    static const struct rlimit none;
    int nothing = open("/dev/null", O_WRONLY | O_CLOEXEC);
    dup2(nothing, STDOUT_FILENO);
    dup2(nothing, STDERR_FILENO);
    close(nothing);
    setrlimit(RLIMIT_CORE, &none);
}

/* Runs ACT in a child, whose allocation NUMBER fails. */
static void run_child(void (*start)(void *), uint32_t (*act)(void *), void *data, int number,
                      struct outcome *outcome, const char *name)
{
    int status;
    pid_t child = fork();
    g_assert_cmpint(child, >=, 0);
    if (child == 0) {
        end_quietly();
        start(data);
        outcome->starved = true; /* where it ends itself */
        starve_begin(number);
        outcome->status = act(data);
        outcome->starved = starve_end();
        outcome->answered = true;
        _exit(0);
    }
    g_assert_cmpint(waitpid(child, &status, 0), ==, child);
    bool itself = WIFSIGNALED(status) && (WTERMSIG(status) == SIGABRT || WTERMSIG(status) == SIGTRAP);
    if (!itself && (!WIFEXITED(status) || WEXITSTATUS(status) != 0))
        broken("%s, allocation %d: the server ended otherwise than by itself (%x)", name, number, status);
}

/* ---- One command ---- */

static void scene_start(void *data)
{
    struct scene *scene = data;
    fx_open(&scene->fx);
    scene_find(scene);
    scene_open(scene);
}

static uint32_t scene_act(void *data)
{
    struct scene *scene = data;
    uint32_t status = scene_send(scene, 1);
    return status == PH_ST_OK ? scene->reply.results[0]->status : status;
}

static bool starve_one(const struct killed_test *test, int number, unsigned *ended, unsigned *told)
{
    struct scene scene;
    struct outcome *outcome = outcome_new();
    scene_begin(&scene, test->request);
    run_child(scene_start, scene_act, &scene, number, outcome, test->name);
    bool failed = outcome->answered && outcome->status != PH_ST_OK;
    scene_start(&scene);
    if (!failed) { /* whoever was told of the failure does not send it again */
        uint32_t status = scene_send(&scene, 1);
        if (status != PH_ST_OK)
            broken("%s, allocation %d: sent again: %s %s", test->name, number, ph_status_name(status),
                   scene.fx.call.fault.text);
        else
            test->expect(&scene);
    }
    *ended += !outcome->answered;
    *told += failed;
    bool over = !outcome->starved;
    fx_teardown(&scene.fx);
    ph_blob_unref(scene.payload);
    munmap(outcome, sizeof *outcome);
    return over;
}

static void test_single(gconstpointer given)
{
    const struct killed_test *test = given;
    if (!starve_possible())
        return;
    guint handler = quiet_begin();
    unsigned ended = 0, told = 0;
    bool over = false;
    for (int number = g_test_rand_int_range(0, stride()); !over; number += stride()) {
        g_assert_cmpint(number, <, ALLOCATIONS_MAX);
        over = starve_one(test, number, &ended, &told);
    }
    g_test_message("%u times the server ended itself, %u times failure was told", ended, told);
    g_log_remove_handler(NULL, handler);
}

/* ---- Several ---- */

static void play_start(void *data)
{
    play_open(data);
}

static uint32_t play_act(void *data)
{
    return play_send(data);
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

static bool starve_several(const struct script *script, bool fails, int number, const char *wanted,
                           unsigned *ended)
{
    struct play play;
    struct outcome *outcome = outcome_new();
    play_setup(&play, script, fails);
    g_autofree char *before = play_look(&play, true);
    run_child(play_start, play_act, &play, number, outcome, script->name);
    for (int started = 0; started <= 1; started++) {
        g_autofree char *found = play_look(&play, true), *plain = play_look(&play, false);
        bool done = !fails && strcmp(plain, wanted) == 0;
        bool ok = outcome->answered && outcome->status == PH_ST_OK;
        if ((started || outcome->answered) && (ok ? !done : !done && strcmp(found, before) != 0))
            broken("%s%s, allocation %d, %s, %s:\n%s\nbefore:\n%s", script->name, fails ? " in vain" : "",
                   number, outcome->answered ? ph_status_name(outcome->status) : "no answer",
                   started ? "after the next start" : "served", found, before);
        if (!started)
            fx_open(&play.fx);
    }
    *ended += !outcome->answered;
    bool over = !outcome->starved;
    play_teardown(&play);
    munmap(outcome, sizeof *outcome);
    return over;
}

static void starve_script(const struct script *script, bool fails)
{
    if (!starve_possible())
        return;
    guint handler = quiet_begin();
    g_autofree char *wanted = expected(script);
    unsigned ended = 0;
    bool over = false;
    for (int number = g_test_rand_int_range(0, stride()); !over; number += stride()) {
        g_assert_cmpint(number, <, ALLOCATIONS_MAX);
        over = starve_several(script, fails, number, wanted, &ended);
    }
    g_test_message("%u times the server ended itself", ended);
    g_log_remove_handler(NULL, handler);
}

static void test_several(gconstpointer given)
{
    starve_script(given, false);
}

static void test_undoing(gconstpointer given)
{
    starve_script(given, true);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_log_set_always_fatal(G_LOG_LEVEL_ERROR);
    for (size_t i = 0; i < killed_tests_count; i++) {
        g_autofree char *path = g_strconcat("/starved/once/", killed_tests[i].name, NULL);
        g_test_add_data_func(path, &killed_tests[i], test_single);
    }
    for (size_t i = 0; i < scripts_count; i++) {
        g_autofree char *done = g_strconcat("/starved/several/all-or-nothing/", scripts[i].name, NULL),
                        *undone =
                            g_strconcat("/starved/several/nothing-of-one-that-fails/", scripts[i].name, NULL);
        g_test_add_data_func(done, &scripts[i], test_several);
        g_test_add_data_func(undone, &scripts[i], test_undoing);
    }
    return g_test_run();
}
