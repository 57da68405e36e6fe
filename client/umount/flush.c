#include "client/umount/flush.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/ctl/call.h"

/* What an error of the mount means for the unmount. */
static enum ph_flush_result meaning(const GError *error)
{
    switch (error->code) {
    case ENOTCONN:
    case ECONNABORTED:
        return PH_FLUSH_DEAD;
    case EACCES:
    case EPERM:
        return PH_FLUSH_DENIED;
    case EROFS:
        return PH_FLUSHED; /* nothing can have been written */
    default:
        return PH_FLUSH_FAILED;
    }
}

static void send_report(int pipe_fd, const struct ph_flush_report *report)
{
    /* Smaller than PIPE_BUF: it arrives whole. The parent may be gone by now. */
    if (write(pipe_fd, report, sizeof(*report)) < 0)
        _exit(1);
}

static enum ph_flush_result do_flush(int fd, const char *path, GError **error)
{
    g_autofree struct ph_ioc_flush *control = g_new0(struct ph_ioc_flush, 1);
    /* Pages of shared mappings are still with the kernel; it sends them on. */
    syncfs(fd);
    return ph_call_flush(fd, path, control, error) ? PH_FLUSHED : meaning(*error);
}

/* The child. Two reports: who the daemon is, and what came of the flush. */
static void child(int pipe_fd, const char *path, gboolean flush)
{
    g_autoptr(GError) error = NULL;
    struct ph_flush_report report = {.result = PH_FLUSH_TIMEOUT};
    int fd = ph_call_open(path, &error);
    g_autofree struct ph_ioc_status *status = g_new0(struct ph_ioc_status, 1);
    if (fd >= 0 && ph_call_status(fd, path, status, &error)) {
        report.daemon = status->pid;
        g_strlcpy(report.server, status->server, sizeof(report.server));
        send_report(pipe_fd, &report);
        report.result = flush ? do_flush(fd, path, &error) : PH_FLUSHED;
    } else {
        report.result = meaning(error);
    }
    g_strlcpy(report.text, error ? error->message : "", sizeof(report.text));
    if (fd >= 0)
        close(fd); /* before the parent goes on, or the mount would be busy */
    send_report(pipe_fd, &report);
}

/* The next report within the time until UNTIL_US; FALSE when there is none. */
static gboolean read_report(int pipe_fd, gint64 until_us, struct ph_flush_report *report)
{
    struct pollfd poll_fd = {.fd = pipe_fd, .events = POLLIN};
    gint64 left_ms = (until_us - g_get_monotonic_time()) / 1000;
    while (left_ms > 0) {
        int ready = poll(&poll_fd, 1, (int) left_ms);
        if (ready > 0)
            return read(pipe_fd, report, sizeof(*report)) == (ssize_t) sizeof(*report);
        if (ready < 0 && errno != EINTR)
            return FALSE;
        left_ms = (until_us - g_get_monotonic_time()) / 1000;
    }
    return FALSE;
}

static gint64 in_ms(guint ms)
{
    return g_get_monotonic_time() + (gint64) ms * 1000;
}

/* Who the daemon is, and then what came of the flush. */
static void read_reports(int pipe_fd, const char *path, const struct ph_flush_patience *patience,
                         struct ph_flush_report *report)
{
    if (!read_report(pipe_fd, in_ms(patience->answer_ms), report) || report->result != PH_FLUSH_TIMEOUT)
        return;
    gint64 until_us = in_ms(patience->flush_ms);
    if (read_report(pipe_fd, in_ms(patience->say_ms), report))
        return;
    patience->say(path, report->server);
    read_report(pipe_fd, until_us, report);
}

void ph_flush_mount(const char *path, gboolean flush, const struct ph_flush_patience *patience,
                    struct ph_flush_report *report)
{
    int fds[2];
    *report = (struct ph_flush_report){.result = PH_FLUSH_FAILED};
    if (pipe(fds) != 0) {
        g_strlcpy(report->text, g_strerror(errno), sizeof(report->text));
        return;
    }
    pid_t pid = fork();
    if (pid == 0) {
        close(fds[0]);
        child(fds[1], path, flush);
        _exit(0);
    }
    close(fds[1]);
    report->result = PH_FLUSH_TIMEOUT;
    if (pid < 0) {
        report->result = PH_FLUSH_FAILED;
        g_strlcpy(report->text, g_strerror(errno), sizeof(report->text));
    } else {
        read_reports(fds[0], path, patience, report);
    }
    close(fds[0]);
    if (pid > 0) {
        /* One that hangs in the mount is left to init. */
        kill(pid, SIGKILL);
        waitpid(pid, NULL, report->result == PH_FLUSH_TIMEOUT ? WNOHANG : 0);
    }
}
