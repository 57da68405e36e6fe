#include "client/fuse/session.h"

#include <errno.h>
#include <gio/gio.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <syslog.h>
#include <unistd.h>

#include "client/fuse/brought.h"
#include "client/fuse/buffers.h"
#include "client/fuse/coherence.h"
#include "client/fuse/fresh.h"
#include "client/fuse/gone_dirs.h"
#include "client/fuse/groups.h"
#include "client/fuse/hook.h"
#include "client/fuse/interrupt.h"
#include "client/fuse/lock_owners.h"
#include "client/fuse/log.h"
#include "client/fuse/mount_point.h"
#include "client/fuse/notify.h"
#include "client/fuse/ops.h"
#include "client/fuse/ops_txn.h"
#include "client/fuse/writeback.h"
#include "runtime/io/thread.h"

enum {
    READERS = 2,
    DROPPERS_MAX = 64,
    ATTEMPTS_MAX = 2048, /* threads that may be stuck in the kernel; none is waited for by another */
    BUFFERS_KEPT = 24,
    KERNEL_PAGES_MAX = 256, /* of one request, as libfuse sizes its buffer */
    KERNEL_HEADER_BYTES = 0x1000,
    VERSIONS_KEPT = 65536,
    BUSY_MS = 5000, /* for programs that still use a mount that is to end */
    POLL_MS = 20,
    NO_MEMORY_PAUSE_US = 10000,
};

struct ph_session {
    struct ph_mount mount;
    char *place;
    dev_t device; /* of our mount, to tell it from another on the same place */
    pthread_t readers[READERS];
    unsigned running; /* readers started */
    int ended_fd;
};

/* Requests, one after the other, until the mount is gone. */
static void read_requests(struct ph_mount *mount)
{
    while (!fuse_session_exited(mount->session)) {
        void *buffer = ph_buffers_current();
        if (buffer == NULL) {
            buffer = ph_buffers_get(mount->buffers);
            ph_buffers_reading(mount->buffers, buffer);
        }
        if (buffer == NULL) {
            g_usleep(NO_MEMORY_PAUSE_US); /* the request waits in the kernel */
            continue;
        }
        struct fuse_buf request = {.mem = buffer};
        int got = fuse_session_receive_buf(mount->session, &request);
        if (got == -EINTR || got == -EAGAIN)
            continue;
        if (got <= 0)
            break;
        fuse_session_process_buf(mount->session, &request);
    }
    ph_buffers_put(mount->buffers, ph_buffers_current());
    ph_buffers_reading(NULL, NULL);
}

static void *run_reader(void *data)
{
    struct ph_session *session = data;
    read_requests(&session->mount);
    uint64_t one = 1;
    if (write(session->ended_fd, &one, sizeof one) < 0)
        ph_log(LOG_ERR, "cannot tell that the mount ended: %s", g_strerror(errno));
    return NULL;
}

/* Last line of what was written to FD, without the program's name; "" for nothing. */
static char *last_line(int fd)
{
    char text[512] = "";
    ssize_t got = pread(fd, text, sizeof text - 1, 0);
    text[MAX(got, 0)] = '\0';
    g_strchomp(text);
    char *line = strrchr(text, '\n');
    line = line != NULL ? line + 1 : text;
    return g_strdup(g_str_has_prefix(line, "fusermount3: ") ? line + strlen("fusermount3: ") : line);
}

/* Mounts; what libfuse and fusermount3 say on the way becomes the words of ERROR. */
static bool do_mount(struct fuse_session *session, const char *place, GError **error)
{
    int terminal = dup(STDERR_FILENO);
    int said = memfd_create("said", MFD_CLOEXEC);
    fflush(stderr);
    if (terminal >= 0 && said >= 0)
        dup2(said, STDERR_FILENO);
    bool mounted = fuse_session_mount(session, place) == 0;
    fflush(stderr);
    if (terminal >= 0)
        dup2(terminal, STDERR_FILENO);
    if (!mounted) {
        g_autofree char *line = said >= 0 ? last_line(said) : g_strdup("");
        const char *reason = line[0] != '\0' ? line : ph_log_last_of_libfuse();
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_FAILED, "cannot mount on %s: %s", place,
                    reason[0] != '\0' ? reason : "the kernel refused it");
    }
    if (said >= 0)
        close(said);
    if (terminal >= 0)
        close(terminal);
    return mounted;
}

static struct fuse_session *new_session(struct ph_mount *mount, const char *options)
{
    struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
    /* The opening of fifos, sockets and devices is never asked of us: only the kernel can forbid it.
     * Where everything belongs to one user of the server, there is nothing to forbid. */
    g_autofree char *kernel =
        g_strconcat(options, ph_link_info(mount->link)->acts_as_caller ? ",default_permissions" : "", NULL);
    struct fuse_session *session = NULL;
    if (fuse_opt_add_arg(&args, "pohmelfs") == 0 && fuse_opt_add_arg(&args, "-o") == 0 &&
        fuse_opt_add_arg(&args, kernel) == 0)
        session = fuse_session_new(&args, &ph_ops, sizeof ph_ops, mount);
    fuse_opt_free_args(&args);
    return session;
}

static void init_mount(struct ph_mount *mount, struct ph_link *link, struct ph_coherence *coherence,
                       struct ph_writeback *writeback)
{
    mount->writeback = writeback;
    mount->coherence = coherence;
    mount->caching = ph_link_info(link)->leases;
    mount->link = link;
    mount->stub = writeback != NULL ? ph_writeback_stub(writeback) : ph_link_stub(link);
    size_t request_max = (size_t) KERNEL_PAGES_MAX * (size_t) getpagesize() + KERNEL_HEADER_BYTES;
    mount->brought = ph_brought_new();
    mount->buffers = ph_buffers_new(request_max, BUFFERS_KEPT);
    mount->groups = ph_groups_cache_new();
    mount->fresh = ph_fresh_new();
    mount->gone_dirs = ph_gone_dirs_new();
    mount->lock_owners = ph_lock_owners_new();
    mount->txns = ph_txns_new();
    mount->versions = ph_versions_new(VERSIONS_KEPT);
    pthread_mutex_init(&mount->versions_mutex, NULL);
}

static void clear_mount(struct ph_mount *mount)
{
    ph_versions_free(mount->versions);
    pthread_mutex_destroy(&mount->versions_mutex);
    ph_txns_free(mount->txns);
    ph_lock_owners_free(mount->lock_owners);
    ph_gone_dirs_free(mount->gone_dirs);
    ph_fresh_free(mount->fresh);
    ph_groups_cache_free(mount->groups);
    ph_brought_free(mount->brought);
    ph_buffers_unref(mount->buffers);
}

/* Wakes a thread out of read(2): the signal needs a handler that does nothing. */
static void woken(int number)
{
}

static void start_threads(struct ph_session *session)
{
    const struct sigaction wake = {.sa_handler = woken};
    sigaction(SIGUSR1, &wake, NULL);
    session->mount.interrupts = ph_interrupts_new(&session->mount);
    session->mount.workers = ph_workers_new(DROPPERS_MAX);
    session->mount.attempts = ph_workers_new(ATTEMPTS_MAX);
    session->mount.notifier = ph_notifier_new(session->mount.session, session->mount.attempts);
    ph_coherence_use_kernel(session->mount.coherence, session->mount.notifier, session->mount.workers,
                            session->mount.attempts);
    for (; session->running < READERS; session->running++) {
        int error = ph_thread_start(&session->readers[session->running], NULL, run_reader, session);
        if (error != 0)
            g_error("cannot start a thread: %s", g_strerror(error));
    }
}

struct ph_session *ph_session_start(struct ph_link *link, struct ph_coherence *coherence,
                                    struct ph_writeback *writeback, const char *place, const char *kernel,
                                    GError **error)
{
    struct ph_session *session = g_new0(struct ph_session, 1);
    init_mount(&session->mount, link, coherence, writeback);
    session->place = g_strdup(place);
    session->ended_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    session->mount.session = new_session(&session->mount, kernel);
    if (session->mount.session == NULL || session->ended_fd < 0) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_FAILED, "cannot mount on %s: %s", place,
                    ph_log_last_of_libfuse());
        ph_session_free(session);
        return NULL;
    }
    if (!do_mount(session->mount.session, place, error)) {
        ph_session_free(session);
        return NULL;
    }
    int failure = ph_hook_install(session->mount.session);
    if (failure != 0) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_FAILED, "cannot mount on %s: %s", place,
                    g_strerror(failure));
        ph_mount_point_unmount(place, true);
        ph_session_free(session);
        return NULL;
    }
    session->device = ph_mount_point_device(place);
    ph_mount_point_set_read_ahead(place);
    start_threads(session);
    return session;
}

int ph_session_ended_fd(const struct ph_session *session)
{
    return session->ended_fd;
}

int ph_session_device(const struct ph_session *session)
{
    return fuse_session_fd(session->mount.session);
}

static bool ended_within(const struct ph_session *session, int timeout_ms)
{
    struct pollfd wait = {.fd = session->ended_fd, .events = POLLIN};
    return poll(&wait, 1, timeout_ms) > 0;
}

/* Gets the readers out of the kernel, where they may sit in read(2). */
static void stop_readers(struct ph_session *session)
{
    fuse_session_exit(session->mount.session);
    for (unsigned i = 0; i < session->running; i++) {
        while (pthread_tryjoin_np(session->readers[i], NULL) == EBUSY) {
            pthread_kill(session->readers[i], SIGUSR1);
            g_usleep((gulong) POLL_MS * 1000);
        }
    }
    session->running = 0;
}

void ph_session_stop(struct ph_session *session)
{
    if (!ended_within(session, 0)) {
        /* Taken out of the tree first, while it is still served: those who have files open finish. */
        if (!ph_mount_point_unmount(session->place, false)) {
            ph_log(LOG_NOTICE, "%s is in use; it ends in %d seconds at the latest", session->place,
                   BUSY_MS / 1000);
            ph_mount_point_unmount(session->place, true);
        }
        ended_within(session, BUSY_MS);
    } else if (session->device != 0 && ph_mount_point_device(session->place) == session->device) {
        /* The administrator broke the connection to the kernel; the dead mount is still there. */
        ph_mount_point_unmount(session->place, true);
    }
    stop_readers(session);
    ph_coherence_end(session->mount.coherence);
}

/* libfuse gives up what it keeps of the mount only when it unmounts, and unmounts
 * whatever is on the place by now; not so when the kernel says that the mount is gone. */
static void destroy(struct fuse_session *session)
{
    struct pollfd device = {.fd = fuse_session_fd(session)};
    if (device.fd >= 0 && poll(&device, 1, 0) == 1 && (device.revents & POLLERR) != 0)
        fuse_session_unmount(session);
    fuse_session_destroy(session);
}

bool ph_session_free(struct ph_session *session)
{
    if (session == NULL)
        return true;
    bool over = ph_workers_free(session->mount.workers) && ph_workers_free(session->mount.attempts);
    if (!over)
        return false; /* the process ends now, and with it what its threads wait for */
    ph_interrupts_free(session->mount.interrupts);
    ph_coherence_use_kernel(session->mount.coherence, NULL, NULL, NULL);
    ph_notifier_free(session->mount.notifier);
    if (session->mount.session != NULL)
        destroy(session->mount.session);
    if (session->ended_fd >= 0)
        close(session->ended_fd);
    clear_mount(&session->mount);
    g_free(session->place);
    g_free(session);
    return true;
}
