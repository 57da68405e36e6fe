#include "server/store/tests/stepped.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "ph_commands.h"

enum { CANNOT_TRACE = 77 };

static void quiet(const char *domain, GLogLevelFlags level, const char *message, gpointer ignored)
{
}

/* A disk that is gone is no failure of the test. */
static void child_acts(struct play *play, bool (*act)(struct play *play))
{
    g_log_set_always_fatal(G_LOG_FATAL_MASK);
    g_log_set_default_handler(quiet, NULL);
    if (act != NULL)
        play_open(play);
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
        _exit(CANNOT_TRACE);
    raise(SIGSTOP);
    if (act == NULL) /* the start of a server, after another one was killed */
        fx_open(&play->fx);
    raise(act == NULL || act(play) ? SIGUSR1 : SIGABRT);
    _exit(1);
}

pid_t stepped_start(struct play *play, bool (*act)(struct play *play))
{
    int status = 0;
    pid_t child = fork();
    g_assert_cmpint(child, >=, 0);
    if (child == 0)
        child_acts(play, act);
    g_assert_cmpint(waitpid(child, &status, 0), ==, child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == CANNOT_TRACE)
        return g_test_skip("needs the right to trace"), 0;
    g_assert_true(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
    return child;
}

bool stepped_go(pid_t child, int steps)
{
    int status = 0;
    for (int stops = 0; stops < 2 * steps; stops++) { /* a call begins and ends */
        g_assert_cmpint(ptrace(PTRACE_SYSCALL, child, NULL, NULL), ==, 0);
        g_assert_cmpint(waitpid(child, &status, 0), ==, child);
        g_assert_true(WIFSTOPPED(status));
        if (WSTOPSIG(status) == SIGUSR1) /* not of a system call: it is done */
            return true;
        g_assert_cmpint(WSTOPSIG(status), ==, SIGTRAP);
    }
    return false;
}

void stepped_kill(pid_t child)
{
    int status;
    kill(child, SIGKILL);
    g_assert_cmpint(waitpid(child, &status, 0), ==, child);
}

bool stepped_well(struct play *play)
{
    uint32_t status = play_send(play);
    if (status != PH_ST_OK)
        g_printerr("%s %s\n", ph_status_name(status), play->fx.call.fault.text);
    return status == PH_ST_OK;
}

bool stepped_in_vain(struct play *play)
{
    return play_send(play) == PH_ST_NOT_FOUND;
}

guint stepped_quiet(void)
{
    return g_log_set_handler(NULL, G_LOG_LEVEL_MESSAGE, quiet, NULL);
}

int stepped_number(const char *name, int usual)
{
    const char *text = g_getenv(name);
    return text != NULL ? (int) strtol(text, NULL, 10) : usual;
}
