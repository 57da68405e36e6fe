/* The unmount itself, and waiting for the daemon behind it. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/umount/umount.h"

enum { FORCE_TRIES = 10, FORCE_PAUSE_US = 100 * 1000, WAIT_STEP_MS = 20 };

/* Users other than root may unmount what fusermount3 mounted for them. */
static int run_fusermount(const char *path, const struct umount_options *options)
{
    const char *arguments[] = {"fusermount3",
                               "-u",
                               options->lazy ? "-z" : "--",
                               options->lazy ? "--" : path,
                               options->lazy ? path : NULL,
                               NULL};
    g_autoptr(GError) error = NULL;
    int wait_status = 0;
    gboolean ran =
        g_spawn_sync(NULL, (char **) arguments, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_CHILD_INHERITS_STDIN,
                     NULL, NULL, NULL, NULL, &wait_status, &error);
    if (!ran) {
        umount_say("%s: only root may unmount it, and fusermount3 cannot be run: %s", path, error->message);
        return EPERM;
    }
    return WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0 ? 0 : EPERM;
}

int umount_detach(const char *path, const struct umount_options *options)
{
    int flags = UMOUNT_NOFOLLOW | (options->lazy ? MNT_DETACH : 0) | (options->force ? MNT_FORCE : 0);
    int result = umount2(path, flags);
    /* A forced unmount first ends what waits for the server; that takes a moment. */
    for (int i = 0; options->force && result != 0 && errno == EBUSY && i < FORCE_TRIES; i++) {
        g_usleep(FORCE_PAUSE_US);
        result = umount2(path, flags);
    }
    if (result == 0)
        return 0;
    int code = errno;
    if (code == EPERM && geteuid() != 0)
        return run_fusermount(path, options);
    if (code == EBUSY)
        umount_say(
            "%s: target is busy: programs have files open or their directory there (see \"fuser -vm %s\")",
            path, path);
    else if (code == EINVAL)
        umount_say("%s: not mounted", path);
    else
        umount_say("%s: %s", path, g_strerror(code));
    return code;
}

/* Without pidfd (old kernels, other namespaces) the process is looked at now and then. */
static gboolean wait_by_looking(pid_t daemon, gint64 until_us)
{
    while (kill(daemon, 0) == 0 || errno != ESRCH) {
        if (g_get_monotonic_time() >= until_us)
            return FALSE;
        g_usleep(WAIT_STEP_MS * 1000);
    }
    return TRUE;
}

gboolean umount_wait_for(pid_t daemon, guint timeout_ms)
{
    gint64 until_us = g_get_monotonic_time() + (gint64) timeout_ms * 1000;
    int fd = (int) syscall(SYS_pidfd_open, daemon, 0);
    if (fd < 0)
        return errno == ESRCH || wait_by_looking(daemon, until_us);
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    int ready = 0;
    do {
        gint64 left_ms = (until_us - g_get_monotonic_time()) / 1000;
        ready = poll(&poll_fd, 1, left_ms > 0 ? (int) left_ms : 0);
    } while (ready < 0 && errno == EINTR);
    close(fd);
    return ready > 0;
}
