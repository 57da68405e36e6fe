/* The umount helper: its command line as umount(8) writes it, flushing what cannot be flushed, waiting. */
#include <glib.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/umount/flush.h"
#include "client/umount/umount.h"

void umount_say(const char *format, ...)
{
    (void) format;
}

static void test_command_line(void)
{
    struct umount_options options;
    g_autoptr(GError) error = NULL;
    char *plain[] = {"umount.fuse.pohmelfs", "/mnt", "-v", NULL};
    g_assert_true(umount_parse(3, plain, &options, &error));
    g_assert_cmpstr(options.mount_point, ==, "/mnt");
    g_assert_true(options.verbose);
    g_assert_false(options.force || options.lazy || options.read_only_instead);

    char *all[] = {"umount.fuse.pohmelfs", "/mnt", "-flnrv", "-t", "fuse.pohmelfs", "-N", "123", NULL};
    g_assert_true(umount_parse(7, all, &options, &error));
    g_assert_cmpstr(options.mount_point, ==, "/mnt");
    g_assert_cmpstr(options.mount_namespace, ==, "123");
    g_assert_true(options.force && options.lazy && options.read_only_instead && options.verbose);
}

static void test_mistakes(void)
{
    char *cases[][4] = {
        {"umount.fuse.pohmelfs", NULL},
        {"umount.fuse.pohmelfs", "/a", "/b", NULL},
        {"umount.fuse.pohmelfs", "/a", "-x", NULL},
        {"umount.fuse.pohmelfs", "/a", "-t", NULL},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct umount_options options;
        g_autoptr(GError) error = NULL;
        g_assert_false(umount_parse((int) g_strv_length(cases[i]), cases[i], &options, &error));
        g_assert_nonnull(error);
    }
}

static void say_nothing(const char *path, const char *server)
{
    (void) path;
    (void) server;
}

static void test_flush_elsewhere(void)
{
    static const struct ph_flush_patience patience = {5000, 5000, 5000, say_nothing};
    struct ph_flush_report report;
    ph_flush_mount("/", TRUE, &patience, &report); /* no Pohmel mount: must not be taken for flushed */
    g_assert_cmpint(report.result, ==, PH_FLUSH_FAILED);
    g_assert_cmpint(report.daemon, ==, 0);
    ph_flush_mount("/nowhere/at/all", TRUE, &patience, &report);
    g_assert_cmpint(report.result, ==, PH_FLUSH_FAILED);
}

static void test_waiting(void)
{
    pid_t pid = fork();
    g_assert_cmpint(pid, >=, 0);
    if (pid == 0) {
        pause();
        _exit(0);
    }
    g_assert_false(umount_wait_for(pid, 50));
    kill(pid, SIGKILL);
    g_assert_true(umount_wait_for(pid, 5000));
    waitpid(pid, NULL, 0);
    g_assert_true(umount_wait_for(pid, 50)); /* long gone */
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/umount/takes the command line of umount(8)", test_command_line);
    g_test_add_func("/umount/refuses what it does not understand", test_mistakes);
    g_test_add_func("/umount/what is no mount of ours is not flushed", test_flush_elsewhere);
    g_test_add_func("/umount/waits for the daemon, but not for ever", test_waiting);
    return g_test_run();
}
