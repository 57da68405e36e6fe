/* A server that is killed at any step of any change: the change is sent again in its slot, and has happened
 * once. A child opens the store and makes the change; it is traced, and killed at its Nth system call. */
#include <errno.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "ph_commands.h"
#include "server/store/tests/killed_run.h"

enum { STEPS_MAX = 400, CANNOT_TRACE = 77 };

/* ---- One step ---- */

/* Lets the child, which is about to be stopped, make STEPS steps, and kills it. True when it came to its end
 * before. */
static bool child_step(pid_t child, int steps)
{
    int status = 0, stops = 0;
    g_assert_cmpint(waitpid(child, &status, 0), ==, child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == CANNOT_TRACE)
        return g_test_skip("needs the right to trace"), true;
    g_assert_true(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
    bool ended = false;
    for (; stops < 2 * steps && !ended; stops++) { /* a call begins and ends */
        g_assert_cmpint(ptrace(PTRACE_SYSCALL, child, NULL, NULL), ==, 0);
        g_assert_cmpint(waitpid(child, &status, 0), ==, child);
        g_assert_true(WIFSTOPPED(status));
        ended = WSTOPSIG(status) == SIGUSR1; /* not of a system call: it is done */
    }
    kill(child, SIGKILL);
    g_assert_cmpint(waitpid(child, &status, 0), ==, child);
    return ended;
}

static pid_t child_start(struct scene *scene)
{
    pid_t child = fork();
    g_assert_cmpint(child, >=, 0);
    if (child != 0)
        return child;
    fx_open(&scene->fx);
    scene_find(scene);
    scene_open(scene);
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
        _exit(CANNOT_TRACE);
    raise(SIGSTOP);
    uint32_t status = scene_send(scene, 1);
    if (status != PH_ST_OK)
        g_printerr("%s %s\n", ph_status_name(status), scene->fx.call.fault.text);
    raise(status == PH_ST_OK ? SIGUSR1 : SIGABRT);
    _exit(1);
}

static void quiet(const char *domain, GLogLevelFlags level, const char *message, gpointer ignored)
{
}

/* Steps from one kill to the next: one, but where each takes ten times as long; others in each run then. */
static int stride(void)
{
    const char *text = g_getenv("PH_KILL_EVERY");
    return text != NULL ? (int) strtol(text, NULL, 10) : 1;
}

/* Kills at every step; what was told to be done has been done once when it was sent again, and its answer is
 * known after another restart. */
static void sweep(gconstpointer given)
{
    const struct killed_test *test = given;
    guint handler = g_log_set_handler(NULL, G_LOG_LEVEL_MESSAGE, quiet, NULL);
    bool ended = false;
    int replays = 0;
    for (int steps = g_test_rand_int_range(0, stride()); !ended; steps += stride()) {
        struct scene scene;
        g_assert_cmpint(steps, <, STEPS_MAX);
        scene_begin(&scene, test->request);
        ended = child_step(child_start(&scene), steps);
        fx_open(&scene.fx);
        scene_find(&scene);
        scene_open(&scene);
        uint32_t status = scene_send(&scene, 1);
        if (status != PH_ST_OK)
            g_error("%s, step %d: %s %s", test->name, steps, ph_status_name(status),
                    scene.fx.call.fault.text);
        replays += scene.replayed;
        if (ended)
            g_assert_true(scene.replayed);
        test->expect(&scene);
        if (ended) {
            fx_close(&scene.fx);
            fx_open(&scene.fx);
            fx_ok(&scene.fx, scene_send(&scene, 1));
            g_assert_true(scene.replayed);
        }
        fx_teardown(&scene.fx);
        ph_blob_unref(scene.payload);
    }
    g_test_message("%d answers from the journal", replays);
    g_log_remove_handler(NULL, handler);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < killed_tests_count; i++) {
        g_autofree char *path = g_strconcat("/killed/once-whatever-step/", killed_tests[i].name, NULL);
        g_test_add_data_func(path, &killed_tests[i], sweep);
    }
    return g_test_run();
}
