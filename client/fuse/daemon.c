#include "client/fuse/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/fuse/log.h"

/* A report is this byte, or a line of text. */
enum { READY = 0, TEXT_BYTES = 1024 };

pid_t ph_daemon_fork(int *report, GError **error)
{
    int ends[2];
    pid_t child = -1;
    if (pipe2(ends, O_CLOEXEC) == 0)
        child = fork();
    if (child < 0) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_FAILED, "cannot go to the background: %s",
                    g_strerror(errno));
        return -1;
    }
    *report = ends[child == 0 ? 1 : 0];
    close(ends[child == 0 ? 0 : 1]);
    return child;
}

static int complain(const char *text)
{
    fprintf(stderr, "pohmelfs: %s\n", text);
    return EXIT_FAILURE;
}

int ph_daemon_wait(pid_t child, int report, const char *place)
{
    char text[TEXT_BYTES];
    size_t used = 0;
    ssize_t got;
    while (used < sizeof text - 1 && (got = read(report, text + used, sizeof text - 1 - used)) != 0) {
        if (got > 0)
            used += (size_t) got;
        else if (errno != EINTR)
            break;
    }
    close(report);
    text[used] = '\0';
    if (used == 0) {
        int status = 0;
        waitpid(child, &status, 0);
        snprintf(text, sizeof text, "the program ended unexpectedly (%s %d)",
                 WIFSIGNALED(status) ? "signal" : "status",
                 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        return complain(text);
    }
    if (text[0] != READY)
        return complain(text);
    struct stat root;
    if (stat(place, &root) != 0) {
        snprintf(text, sizeof text, "%s is mounted but does not answer: %s", place, g_strerror(errno));
        kill(child, SIGTERM);
        return complain(text);
    }
    return EXIT_SUCCESS;
}

void ph_daemon_report_failure(int report, const char *text)
{
    if (report < 0) {
        complain(text);
        return;
    }
    size_t len = strlen(text);
    if (write(report, text, len) != (ssize_t) len)
        complain(text);
    close(report);
}

void ph_daemon_report_ready(int report)
{
    setsid();
    ph_log_to_syslog();
    if (chdir("/") != 0)
        ph_log(LOG_WARNING, "cannot leave the directory where it was started: %s", g_strerror(errno));
    int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (nothing >= 0) {
        dup2(nothing, STDIN_FILENO);
        dup2(nothing, STDOUT_FILENO);
        dup2(nothing, STDERR_FILENO);
        if (nothing > STDERR_FILENO)
            close(nothing);
    }
    const char ready = READY;
    if (write(report, &ready, 1) != 1)
        ph_log(LOG_WARNING, "nobody waits for the mount any more");
    close(report);
}
