/* umount.fuse.pohmelfs: umount(8) leaves the whole unmount to it. Flushes first,
 * because neither umount nor sync tell a FUSE daemon to. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "client/ctl/mounts.h"
#include "client/umount/flush.h"
#include "client/umount/umount.h"

#define USAGE "umount.fuse.pohmelfs MOUNTPOINT [-flnrv] [-t TYPE] [-N NAMESPACE]"

/* A server that is gone is noticed by the daemon; a lot may be written back to one that is there. */
enum {
    ANSWER_TIMEOUT_MS = 10 * 1000,
    FLUSH_TIMEOUT_MS = 600 * 1000,
    SAY_AFTER_MS = 2 * 1000,
    DAEMON_TIMEOUT_MS = 30 * 1000
};

void umount_say(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    g_autofree char *text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    fprintf(stderr, "umount.fuse.pohmelfs: %s\n", text);
}

static gboolean enter_namespace(const char *name)
{
    gboolean process = *name != '\0';
    for (const char *at = name; *at; at++)
        process = process && isdigit((unsigned char) *at);
    g_autofree char *path = process ? g_strdup_printf("/proc/%s/ns/mnt", name) : g_strdup(name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    gboolean entered = fd >= 0 && setns(fd, CLONE_NEWNS) == 0;
    if (!entered)
        umount_say("cannot enter the mount namespace %s: %s", path, g_strerror(errno));
    if (fd >= 0)
        close(fd);
    return entered;
}

/* PATH as it stands in mountinfo. Only the directory above it is resolved: the mount itself may hang. */
static char *canonical(const char *path)
{
    g_autofree char *trimmed = g_strdup(path);
    size_t len = strlen(trimmed);
    while (len > 1 && trimmed[len - 1] == '/')
        trimmed[--len] = '\0';
    g_autofree char *parent = g_path_get_dirname(trimmed);
    g_autofree char *name = g_path_get_basename(trimmed);
    g_autofree char *real = realpath(parent, NULL);
    if (!real || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return g_steal_pointer(&trimmed);
    return g_build_filename(real, name, NULL);
}

/* Says what came of the flush. TRUE when the unmount may go on. */
static gboolean judge_flush(const struct ph_flush_report *report, const char *path, const char *source)
{
    const char *server = report->server[0] ? report->server : source;
    switch (report->result) {
    case PH_FLUSHED:
    case PH_FLUSH_DEAD:
        return TRUE;
    case PH_FLUSH_DENIED:
        umount_say("%s: not flushed first: this user may not look into the mount", path);
        return TRUE;
    case PH_FLUSH_TIMEOUT:
        umount_say(
            "%s: server %s cannot be reached: no answer within %d seconds; use umount -f to give up what "
            "was not written",
            path, server, (report->daemon > 0 ? FLUSH_TIMEOUT_MS : ANSWER_TIMEOUT_MS) / 1000);
        return FALSE;
    case PH_FLUSH_FAILED:
        break;
    }
    umount_say("cannot flush to server %s: %s; use umount -f to give up what was not written", server,
               report->text);
    return FALSE;
}

static int failed(const char *path, const struct umount_options *options)
{
    if (!options->read_only_instead)
        return UMOUNT_FAILED;
    if (mount(NULL, path, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) != 0) {
        umount_say("%s: cannot be made read-only either: %s", path, g_strerror(errno));
        return UMOUNT_FAILED;
    }
    umount_say("%s: still mounted, read-only now", path);
    return UMOUNT_OK;
}

static void say_waiting(const char *path, const char *server)
{
    umount_say("%s: waiting until what was changed is written back to server %s", path, server);
}

static int unmount(const char *path, const char *source, const struct umount_options *options)
{
    struct ph_flush_report report = {.result = PH_FLUSHED};
    gboolean flush = !options->force && !options->lazy;
    if (flush) {
        static const struct ph_flush_patience patience = {ANSWER_TIMEOUT_MS, FLUSH_TIMEOUT_MS, SAY_AFTER_MS,
                                                          say_waiting};
        ph_flush_mount(path, TRUE, &patience, &report);
        if (!judge_flush(&report, path, source))
            return failed(path, options);
    }
    if (umount_detach(path, options) != 0)
        return failed(path, options);
    if (report.daemon > 0 && !umount_wait_for(report.daemon, DAEMON_TIMEOUT_MS))
        umount_say("%s: unmounted, but its daemon (process %d) has not ended within %d seconds", path,
                   (int) report.daemon, DAEMON_TIMEOUT_MS / 1000);
    if (options->verbose)
        printf("%s: %s unmounted\n", path, source);
    return UMOUNT_OK;
}

/* Answers --help and --version; FALSE when neither was asked for. */
static gboolean answer_question(int argc, char **argv)
{
    if (argc != 2)
        return FALSE;
    if (strcmp(argv[1], "--version") == 0)
        puts("umount.fuse.pohmelfs " PH_VERSION);
    else if (strcmp(argv[1], "--help") == 0)
        puts("usage: " USAGE "\n"
             "Flushes the Pohmel mount on MOUNTPOINT and unmounts it. umount(8) calls this helper.\n\n"
             "  -f      do not flush: give up what was not written\n"
             "  -l      detach now, without flushing; it ends when it is no longer used\n"
             "  -r      when it cannot be unmounted, make it read-only\n"
             "  -v      tell what was unmounted\n"
             "  -N NS   unmount in the mount namespace of that process, or of that file\n"
             "  -n, -t  accepted, without effect\n\n"
             "See umount.fuse.pohmelfs(8).");
    else
        return FALSE;
    return TRUE;
}

int main(int argc, char **argv)
{
    struct umount_options options;
    g_autoptr(GError) error = NULL;
    if (answer_question(argc, argv))
        return UMOUNT_OK;
    if (!umount_parse(argc, argv, &options, &error)) {
        umount_say("%s; usage: %s", error->message, USAGE);
        return UMOUNT_USAGE;
    }
    if (options.mount_namespace && !enter_namespace(options.mount_namespace))
        return UMOUNT_FAILED;
    g_autofree char *path = canonical(options.mount_point);
    g_autoptr(GPtrArray) mounts = ph_mounts_read(&error);
    if (!mounts) {
        umount_say("%s", error->message);
        return UMOUNT_FAILED;
    }
    const struct ph_mount_entry *mount_entry = ph_mounts_at(mounts, path);
    if (!mount_entry) {
        umount_say("%s: not mounted", path);
        return UMOUNT_FAILED;
    }
    if (!ph_mount_is_pohmel(mount_entry)) {
        umount_say("%s: is mounted, but not with Pohmel (%s)", path, mount_entry->type);
        return UMOUNT_FAILED;
    }
    return unmount(path, mount_entry->source, &options);
}
