#include "client/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/fuse/kernel_abi.h"

enum {
    /* One message each; the end of data without GUARD_BYE says that the daemon is dead: only the kernel
     * closes its end, when the last of its threads has gone. */
    GUARD_KERNEL = 'K', /* with the device of the mount */
    GUARD_BYE = 'B',

    GUARD_TRIES = 40, /* for a server that cannot be reached: leases end by themselves soon after */
    GUARD_PAUSE_US = 500 * 1000,
    CLOSE_FROM = 3,
};

struct ph_guard {
    pid_t pid;
    int fd;
};

struct watched {
    const struct ph_address *address;
    const char *export_name;
    const uint8_t *client;
    int daemon; /* one end of a pair, the daemon has the other */
    int device; /* or -1 */
};

/* Nothing that the daemon opened before, or stands on, is kept from ending by the guard. */
static int let_go(int fd)
{
    int only = fcntl(fd, F_DUPFD_CLOEXEC, CLOSE_FROM);
    if (only != CLOSE_FROM) {
        dup3(fd, CLOSE_FROM, O_CLOEXEC);
        only = CLOSE_FROM;
    }
    close_range(CLOSE_FROM + 1, ~0U, 0);
    int nothing = open("/dev/null", O_RDWR);
    for (int i = 0; i < CLOSE_FROM && nothing >= 0; i++)
        dup2(nothing, i);
    if (nothing >= CLOSE_FROM)
        close(nothing);
    setsid();
    prctl(PR_SET_NAME, "pohmelfs-guard");
    return chdir("/") == 0 ? only : -1;
}

static void take_device(struct watched *watched, struct msghdr *message)
{
    struct cmsghdr *part = CMSG_FIRSTHDR(message);
    if (part == NULL || part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
        return;
    if (watched->device >= 0)
        close(watched->device);
    memcpy(&watched->device, CMSG_DATA(part), sizeof watched->device);
}

/* Whether the daemon died, rather than ended. Waits for either. */
static bool wait_for_death(struct watched *watched)
{
    for (;;) {
        char word = 0;
        union {
            struct cmsghdr align;
            char bytes[CMSG_SPACE(sizeof(int))];
        } control;
        struct iovec piece = {.iov_base = &word, .iov_len = sizeof word};
        struct msghdr message = {.msg_iov = &piece,
                                 .msg_iovlen = 1,
                                 .msg_control = control.bytes,
                                 .msg_controllen = sizeof control.bytes};
        ssize_t got = recvmsg(watched->daemon, &message, MSG_CMSG_CLOEXEC);
        if (got == 0)
            return true;
        if (got < 0 && errno != EINTR)
            return false;
        if (got > 0 && word == GUARD_BYE)
            return false;
        if (got > 0 && word == GUARD_KERNEL)
            take_device(watched, &message);
    }
}

/* Whoever looks a name up in the dead mount from now on is told that it is dead. Requests that nobody will
 * answer end with the last descriptor of the device. */
static void end_kernel(int device)
{
    if (device < 0)
        return;
    const struct fuse_out_header epoch = {.len = sizeof epoch, .error = FUSE_NOTIFY_INC_EPOCH};
    ssize_t written = write(device, &epoch, sizeof epoch);
    (void) written; /* a kernel that does not know it was never told to keep a name */
    close(device);
}

/* A session with a higher number than any of the dead ones ends them (R-4.1-3). */
static void report(const struct watched *watched)
{
    const struct ph_link_options options = {
        .address = *watched->address,
        .export_name = watched->export_name,
        .read_only = true,
        .client = watched->client,
        .last_session = true,
    };
    for (int i = 0; i < GUARD_TRIES; i++) {
        struct ph_link *link = ph_link_open(&options, NULL);
        if (link != NULL) {
            ph_link_close(link);
            return;
        }
        g_usleep(GUARD_PAUSE_US);
    }
}

G_GNUC_NORETURN static void be_guard(struct watched *watched)
{
    sigset_t all;
    sigfillset(&all); /* a machine that shuts down ends the daemon first */
    sigprocmask(SIG_BLOCK, &all, NULL);
    watched->daemon = let_go(watched->daemon);
    if (watched->daemon >= 0 && wait_for_death(watched)) {
        end_kernel(watched->device);
        report(watched);
    }
    _exit(EXIT_SUCCESS);
}

struct ph_guard *ph_guard_start(const struct ph_address *address, const char *export_name,
                                const uint8_t client[PH_LINK_CLIENT_BYTES])
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        return NULL;
    pid_t pid = fork();
    if (pid == 0) {
        close(ends[0]);
        struct watched watched = {.address = address,
                                  .export_name = export_name,
                                  .client = client,
                                  .daemon = ends[1],
                                  .device = -1};
        be_guard(&watched);
    }
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        return NULL;
    }
    struct ph_guard *guard = g_new0(struct ph_guard, 1);
    guard->pid = pid;
    guard->fd = ends[0];
    return guard;
}

/* A guard that is gone is told nothing. */
static void say(struct ph_guard *guard, char word, int device)
{
    union {
        struct cmsghdr part;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec piece = {.iov_base = &word, .iov_len = sizeof word};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
    if (device >= 0) {
        control.part = (struct cmsghdr){
            .cmsg_len = CMSG_LEN(sizeof device), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof control.bytes;
        memcpy(CMSG_DATA(CMSG_FIRSTHDR(&message)), &device, sizeof device);
    }
    while (sendmsg(guard->fd, &message, MSG_NOSIGNAL) < 0 && errno == EINTR)
        continue;
}

void ph_guard_use_kernel(struct ph_guard *guard, int device)
{
    if (guard != NULL && device >= 0)
        say(guard, GUARD_KERNEL, device);
}

void ph_guard_leave(struct ph_guard *guard)
{
    g_free(guard); /* its end of the pair is closed by the kernel, when nothing is left of this process */
}

void ph_guard_end(struct ph_guard *guard)
{
    if (guard == NULL)
        return;
    say(guard, GUARD_BYE, -1);
    close(guard->fd);
    while (waitpid(guard->pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    g_free(guard);
}
