/* A mount whose server is gone may let nobody in for a while; so it is asked in a
 * process that can be left behind. */
#include "client/ctl/ask.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "client/ctl/call.h"

enum { STATUS_TIMEOUT_MS = 5000, READ_BYTES = 4096, VALUE_BYTES = PH_IOC_STATUS_BYTES + 64 };

/* First byte of what the asking process writes: the answer follows, or words for a person. */
enum { ANSWER = 'a', TROUBLE = 't' };

static void write_all(int fd, const char *bytes, gsize len)
{
    while (len > 0) {
        ssize_t count = write(fd, bytes, len);
        if (count < 0 && errno != EINTR)
            _exit(1); /* nobody listens any more */
        if (count > 0) {
            bytes += count;
            len -= (gsize) count;
        }
    }
}

/* Without opening anything, which may need the server. FALSE when that is not to be had. */
static gboolean ask_closed(const char *path, GString *text)
{
    g_autofree char *value = g_malloc(VALUE_BYTES);
    ssize_t len = getxattr(path, PH_STATUS_XATTR, value, VALUE_BYTES);
    if (len > 0)
        g_string_append_printf(text, "%c%.*s", ANSWER, (int) len, value);
    return len > 0;
}

/* The asking process. */
static void ask(int out, const char *path)
{
    g_autoptr(GError) error = NULL;
    g_autofree struct ph_ioc_status *control = g_new0(struct ph_ioc_status, 1);
    g_autoptr(GString) text = g_string_new(NULL);
    int fd = -1;
    if (ask_closed(path, text)) {
        write_all(out, text->str, text->len);
        return;
    }
    fd = ph_call_open(path, &error);
    if (fd >= 0 && ph_call_is_pohmel(fd, path, &error) && ph_call_status(fd, path, control, &error)) {
        g_string_append_printf(text, "%cdaemon: %d\n", ANSWER, control->pid);
        g_string_append_len(text, control->text, control->length);
    } else {
        g_string_append_printf(text, "%c%s", TROUBLE, error->message);
    }
    write_all(out, text->str, text->len);
}

/* All that comes through FD until its end. FALSE when that did not come in time. */
static gboolean read_all(int fd, GString *text)
{
    gint64 until_us = g_get_monotonic_time() + STATUS_TIMEOUT_MS * 1000;
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    for (;;) {
        char bytes[READ_BYTES];
        gint64 left_ms = (until_us - g_get_monotonic_time()) / 1000;
        int ready = poll(&poll_fd, 1, left_ms > 0 ? (int) left_ms : 0);
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready <= 0)
            return FALSE;
        ssize_t count = read(fd, bytes, sizeof(bytes));
        if (count <= 0)
            return count == 0;
        g_string_append_len(text, bytes, count);
    }
}

static gboolean ask_in_process(const char *path, GString *text)
{
    int fds[2];
    if (pipe(fds) != 0)
        return FALSE;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        close(fds[0]);
        ask(fds[1], path);
        _exit(0);
    }
    close(fds[1]);
    gboolean whole = pid > 0 && read_all(fds[0], text);
    close(fds[0]);
    if (pid > 0) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, whole ? 0 : WNOHANG);
    }
    return whole;
}

gboolean ctl_ask_status(const char *path, GString *text, GError **error)
{
    g_autoptr(GString) said = g_string_new(NULL);
    if (!ask_in_process(path, said)) {
        g_set_error(error, PH_CALL_ERROR, ETIMEDOUT,
                    "%s: no answer within %d seconds; its server cannot be reached, or is very slow", path,
                    STATUS_TIMEOUT_MS / 1000);
        return FALSE;
    }
    if (said->len == 0 || said->str[0] != ANSWER) {
        g_set_error_literal(error, PH_CALL_ERROR, EIO,
                            said->len > 1 ? said->str + 1 : "the mount could not be asked");
        return FALSE;
    }
    g_string_append_len(text, said->str + 1, (gssize) said->len - 1);
    return TRUE;
}
