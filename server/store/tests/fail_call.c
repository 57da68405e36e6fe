#include "server/store/tests/fail_call.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CANNOT_TRACE = 77 };

bool fail_call_possible(void)
{
#ifdef __x86_64__
    return true;
#else
    g_test_skip("system calls can be made to fail on x86-64 only");
    return false;
#endif
}

void fail_call_begin(void)
{
    /* The words with which it ends itself are not of the test's result. */
    int nothing = open("/dev/null", O_WRONLY | O_CLOEXEC);
    dup2(nothing, STDOUT_FILENO);
    dup2(nothing, STDERR_FILENO);
    close(nothing);
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
        _exit(CANNOT_TRACE);
    raise(SIGSTOP);
}

void fail_call_end(void)
{
    raise(SIGUSR1);
}

/* Memory and threads are not what this is about (docs/decisions/0023-what-fails.md), and these tell no
 * failure. */
static bool may_fail(unsigned long number)
{
    static const unsigned long never[] = {
        SYS_mmap,     SYS_munmap,    SYS_mremap,       SYS_mprotect,      SYS_madvise,
        SYS_brk,      SYS_futex,     SYS_clone,        SYS_rt_sigaction,  SYS_rt_sigprocmask,
        SYS_gettid,   SYS_getpid,    SYS_tgkill,       SYS_clock_gettime, SYS_setfsuid,
        SYS_setfsgid, SYS_setgroups, SYS_sched_yield,  SYS_umask,         SYS_geteuid,
        SYS_getegid,  SYS_close,     SYS_rt_sigreturn, SYS_exit_group,    SYS_getuid,
        SYS_fcntl};
    for (size_t i = 0; i < G_N_ELEMENTS(never); i++)
        if (number == never[i])
            return false;
    return true;
}

#ifdef __x86_64__
static unsigned long number_of(pid_t child)
{
    struct user_regs_struct registers;
    g_assert_cmpint(ptrace(PTRACE_GETREGS, child, NULL, &registers), ==, 0);
    return registers.orig_rax;
}

/* The child is stopped before a system call: it makes another one, which is none, and is told ERROR. */
static void fail_it(pid_t child, int error)
{
    struct user_regs_struct registers;
    int status;
    g_assert_cmpint(ptrace(PTRACE_GETREGS, child, NULL, &registers), ==, 0);
    registers.orig_rax = (unsigned long) -1;
    g_assert_cmpint(ptrace(PTRACE_SETREGS, child, NULL, &registers), ==, 0);
    g_assert_cmpint(ptrace(PTRACE_SYSCALL, child, NULL, NULL), ==, 0);
    g_assert_cmpint(waitpid(child, &status, 0), ==, child);
    g_assert_cmpint(ptrace(PTRACE_GETREGS, child, NULL, &registers), ==, 0);
    registers.rax = (unsigned long) -error;
    g_assert_cmpint(ptrace(PTRACE_SETREGS, child, NULL, &registers), ==, 0);
}
#else
static unsigned long number_of(pid_t child)
{
    return SYS_exit_group;
}

static void fail_it(pid_t child, int error)
{
}
#endif

/* Lets it come to its end. */
static int run_out(pid_t child)
{
    int status, signal = 0;
    do {
        g_assert_cmpint(ptrace(PTRACE_CONT, child, NULL, signal), ==, 0);
        g_assert_cmpint(waitpid(child, &status, 0), ==, child);
        signal = WIFSTOPPED(status) && WSTOPSIG(status) != SIGUSR1 ? WSTOPSIG(status) : 0;
    } while (WIFSTOPPED(status));
    return status;
}

/* By g_error() or abort(). */
static bool ended_itself(int status)
{
    return WIFSIGNALED(status) && (WTERMSIG(status) == SIGABRT || WTERMSIG(status) == SIGTRAP);
}

struct fail_call fail_call_run(pid_t child, int steps, int error)
{
    struct fail_call result = {0};
    int status = 0, made = 0;
    bool before = true, failed = false;
    g_assert_cmpint(waitpid(child, &status, 0), ==, child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == CANNOT_TRACE)
        return g_test_skip("needs the right to trace"), (struct fail_call){.ended = true};
    g_assert_true(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
    while (!result.ended && !failed) {
        g_assert_cmpint(ptrace(PTRACE_SYSCALL, child, NULL, NULL), ==, 0);
        g_assert_cmpint(waitpid(child, &status, 0), ==, child);
        g_assert_true(WIFSTOPPED(status));
        result.ended = WSTOPSIG(status) == SIGUSR1;
        result.number = before && !result.ended ? number_of(child) : result.number;
        failed = before && !result.ended && may_fail(result.number) && made++ == steps;
        before = !before;
    }
    if (failed && error == 0) {
        kill(child, SIGKILL);
        g_assert_cmpint(waitpid(child, &status, 0), ==, child);
        return result;
    }
    if (failed)
        fail_it(child, error);
    status = run_out(child);
    result.aborted = ended_itself(status);
    if (!result.aborted && (!WIFEXITED(status) || WEXITSTATUS(status) != 0))
        g_error("system call %lu that fails at step %d ends the server (%x)", result.number, steps, status);
    return result;
}
