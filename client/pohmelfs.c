/* pohmelfs: mounts an export of a Pohmel server. */
#include <errno.h>
#include <gio/gio.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <syslog.h>
#include <unistd.h>

#include "client/fuse/coherence.h"
#include "client/fuse/daemon.h"
#include "client/fuse/log.h"
#include "client/fuse/mount_options.h"
#include "client/fuse/mount_point.h"
#include "client/fuse/session.h"
#include "client/fuse/writeback.h"
#include "client/guard.h"
#include "client/link.h"
#include "runtime/base/limits.h"
#include "runtime/io/last_words.h"

enum {
    EXIT_USAGE = 2,
    DRAIN_PATIENCE_S = 30, /* at the end of a mount, for a server that cannot be reached */
};

static const char help[] =
    "usage: pohmelfs HOST[:PORT]:/[EXPORT] MOUNTPOINT [-f] [-o OPTIONS]\n"
    "       pohmelfs unix:/SOCKET:/[EXPORT] MOUNTPOINT [-f] [-o OPTIONS]\n"
    "Mounts an export of a Pohmel server. The export's name may be left out where there is only one.\n"
    "\n"
    "  -f, --foreground   stay, and log to the terminal\n"
    "  -o, --options OPT  mount options, separated by commas:\n"
    "       ro, rw             without or with changes\n"
    "       port=N             port of the server (default 1025)\n"
    "       cache, nocache     keep names, attributes and data under leases, or ask for each\n"
    "       writeback, writethrough\n"
    "                          make changes here and send them later, or send each at once\n"
    "       flush_age=TIME     changes are sent after that long at the latest (default 5s)\n"
    "       dirty_limit=SIZE   writers wait while more than that is not sent (default 256M)\n"
    "       keep, nokeep       do again what the server's machine lost with its power (default), or do not:\n"
    "                          for measurements\n"
    "       mmap=strict, mmap=flush\n"
    "                          what is stored into a mapping shows elsewhere at once, or when flushed\n"
    "       hard, soft=SECONDS requests wait as long as it takes for a server that cannot be reached\n"
    "                          (default), or fail after that long (0: at once)\n"
    "       conflicts=DIR      where changes are kept that could not be written back\n"
    "       allow_other, noallow_other\n"
    "                          for all users (default as root), or for this one only\n"
    "       suid, dev, exec, async, atime and their opposites, dirsync\n"
    "                          as for mount(8)\n"
    "      --version      print the version\n"
    "\n"
    "Unmount with 'umount MOUNTPOINT' (root) or 'fusermount3 -u MOUNTPOINT'. See pohmelfs(8).\n";

/* Signals that end the mount come through a descriptor; threads started later inherit the mask. */
static int catch_signals(void)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
}

static struct ph_link *open_link(const struct ph_mount_options *options, const uint8_t *client,
                                 struct ph_coherence *coherence, GError **error)
{
    const struct ph_link_options link_options = {
        .address = options->address,
        .client = client,
        .export_name = options->export_name,
        .read_only = options->read_only,
        .write_back = options->cache && options->write_back,
        .events = options->cache ? &ph_coherence_events : NULL,
        .events_data = coherence,
        .patience_s = options->patience_s,
    };
    struct ph_link *link = ph_link_open(&link_options, error);
    if (link != NULL && ph_link_info(link)->root != PH_OBJECT_ROOT) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_FAILED,
                    "the server says that the root of its export is object %" G_GUINT64_FORMAT ", not %d",
                    ph_link_info(link)->root, (int) PH_OBJECT_ROOT);
        g_clear_pointer(&link, ph_link_close);
    }
    return link;
}

/* Waits until the mount is taken away, or a signal asks for that. */
static void wait_for_end(const struct ph_session *session, int signal_fd)
{
    struct pollfd wait[] = {
        {.fd = ph_session_ended_fd(session), .events = POLLIN},
        {.fd = signal_fd, .events = POLLIN},
    };
    while (poll(wait, G_N_ELEMENTS(wait), -1) < 0 && errno == EINTR)
        continue;
}

static struct ph_writeback *new_writeback(const struct ph_mount_options *options, const char *place,
                                          struct ph_coherence *coherence)
{
    if (!options->cache || !options->write_back)
        return NULL;
    const struct ph_writeback_options writeback_options = {
        .flush_age_ms = options->flush_age_ms,
        .patience_ms = options->patience_s == PH_LINK_PATIENCE_FOREVER
                           ? 0
                           : MAX(1, (uint64_t) options->patience_s * 1000),
        .dirty_limit_bytes = options->dirty_limit_bytes,
        .keep = options->keep,
        .conflicts = options->conflicts,
        .mount_point = place,
    };
    struct ph_writeback *writeback = ph_writeback_new(&writeback_options, coherence);
    ph_coherence_use_writeback(coherence, writeback);
    return writeback;
}

static void name_client(uint8_t client[PH_LINK_CLIENT_BYTES])
{
    /* Random bytes cannot fail once the system has started. */
    while (getrandom(client, PH_LINK_CLIENT_BYTES, 0) != PH_LINK_CLIENT_BYTES)
        continue;
}

/* The mount from its start to its end. REPORT: where a parent waits, or -1. */
static int serve(const struct ph_mount_options *options, const char *place, int report)
{
    g_autoptr(GError) error = NULL;
    uint8_t client[PH_LINK_CLIENT_BYTES];
    name_client(client);
    struct ph_guard *guard = ph_guard_start(&options->address, options->export_name, client);
    int signal_fd = catch_signals();
    struct ph_session *session = NULL;
    struct ph_coherence *coherence = ph_coherence_new(options->cache);
    ph_coherence_set_mappings(coherence, options->mmap_flush);
    struct ph_writeback *writeback = new_writeback(options, place, coherence);
    struct ph_link *link = open_link(options, client, coherence, &error);
    if (link != NULL) {
        if (writeback != NULL) {
            ph_writeback_use_link(writeback, link);
            ph_link_restores(link);
        }
        ph_coherence_use_link(coherence, link);
        bool read_only = options->read_only || ph_link_info(link)->read_only;
        g_autofree char *kernel = g_strdup_printf("%s,%s", read_only ? "ro" : "rw", options->kernel);
        session = ph_session_start(link, coherence, writeback, place, kernel, &error);
    }
    if (session == NULL) {
        ph_daemon_report_failure(report, error->message);
        ph_writeback_stop(writeback);
        if (link != NULL)
            ph_link_close(link);
        ph_guard_end(guard);
        ph_writeback_free(writeback);
        ph_coherence_free(coherence);
        return EXIT_FAILURE;
    }
    ph_guard_use_kernel(guard, ph_session_device(session));
    if (report >= 0)
        ph_daemon_report_ready(report);
    wait_for_end(session, signal_fd);
    ph_session_stop(session);
    bool hard = options->patience_s == PH_LINK_PATIENCE_FOREVER;
    guint patience_s = hard ? DRAIN_PATIENCE_S : MAX(options->patience_s, DRAIN_PATIENCE_S);
    bool clean = writeback == NULL || ph_writeback_drain(writeback, patience_s);
    if (ph_link_shutdown(link))
        ph_guard_end(guard);
    else
        ph_guard_leave(guard);
    bool over = ph_session_free(session);
    if (over) {
        ph_writeback_stop(writeback);
        ph_link_close(link);
        ph_writeback_free(writeback);
        ph_coherence_free(coherence);
    }
    close(signal_fd);
    return clean ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int run(const struct ph_mount_options *options)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *place = ph_mount_point_check(options->mount_point, geteuid() == 0, &error);
    if (place == NULL) {
        ph_daemon_report_failure(-1, error->message);
        return EXIT_FAILURE;
    }
    if (options->action == PH_DO_NOTHING)
        return EXIT_SUCCESS;
    if (options->foreground)
        return serve(options, place, -1);
    int report = -1;
    pid_t child = ph_daemon_fork(&report, &error);
    if (child < 0) {
        ph_daemon_report_failure(-1, error->message);
        return EXIT_FAILURE;
    }
    return child == 0 ? serve(options, place, report) : ph_daemon_wait(child, report, place);
}

int main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    struct ph_mount_options options;
    ph_last_words("pohmelfs");
    ph_log_adopt_libraries();
    if (!ph_mount_options_parse(argc, argv, geteuid() == 0, &options, &error)) {
        fprintf(stderr, "pohmelfs: %s\n", error->message);
        return EXIT_USAGE;
    }
    int status = EXIT_SUCCESS;
    if (options.action == PH_DO_HELP)
        fputs(help, stdout);
    else if (options.action == PH_DO_VERSION)
        printf("pohmelfs (Pohmel) %s, protocol version %d\n", PH_VERSION, PH_PROTOCOL_VERSION_MAX);
    else
        status = run(&options);
    ph_mount_options_clear(&options);
    return status;
}
