/* pohmelctl status: how mounts are doing. A mount whose server is gone may let
 * nobody in for a while; so it is asked in a process that can be left behind. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/ctl/call.h"
#include "client/ctl/commands.h"
#include "client/ctl/mounts.h"

enum { STATUS_TIMEOUT_MS = 5000, READ_BYTES = 4096 };

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

/* The asking process. */
static void ask(int out, const char *path)
{
    g_autoptr(GError) error = NULL;
    g_autofree struct ph_ioc_status *control = g_new0(struct ph_ioc_status, 1);
    g_autoptr(GString) text = g_string_new(NULL);
    int fd = ph_call_open(path, &error);
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

static gboolean get_status(const char *path, GString *text)
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

static int print_status(const char *path, const char *heading)
{
    g_autoptr(GString) text = g_string_new(NULL);
    if (heading)
        printf("mount: %s\n", heading);
    if (!get_status(path, text))
        return ctl_complain("%s: no answer within %d seconds; its server cannot be reached, or is very slow",
                            path, STATUS_TIMEOUT_MS / 1000);
    if (text->len == 0 || text->str[0] != ANSWER)
        return ctl_complain("%s", text->len > 1 ? text->str + 1 : "the mount could not be asked");
    fwrite(text->str + 1, 1, text->len - 1, stdout);
    return CTL_OK;
}

static int all_mounts(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) mounts = ph_mounts_read(&error);
    if (!mounts)
        return ctl_complain("%s", error->message);
    int code = CTL_OK;
    guint count = 0;
    for (guint i = 0; i < mounts->len; i++) {
        const struct ph_mount_entry *mount = mounts->pdata[i];
        if (!ph_mount_is_pohmel(mount))
            continue;
        if (count++)
            putchar('\n');
        g_autofree char *heading = g_strdup_printf("%s on %s", mount->source, mount->path);
        if (print_status(mount->path, heading) != CTL_OK)
            code = CTL_FAILED;
    }
    if (count == 0)
        puts("nothing is mounted");
    return code;
}

int ctl_status(int argc, char **argv)
{
    if (getopt(argc, argv, "") != -1)
        return ctl_usage("status");
    if (optind == argc)
        return all_mounts();
    int code = CTL_OK;
    for (int i = optind; i < argc; i++) {
        if (print_status(argv[i], argc - optind > 1 ? argv[i] : NULL) != CTL_OK)
            code = CTL_FAILED;
    }
    return code;
}
