/* What can be said of mounts and paths without one; the rest is tested on real mounts. */
#include <errno.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "client/ctl/call.h"
#include "client/ctl/commands.h"
#include "client/ctl/json.h"
#include "client/ctl/mounts.h"
#include "client/ctl/sample.h"

int ctl_complain(const char *format, ...)
{
    (void) format;
    return CTL_FAILED;
}

int ctl_usage(const char *command)
{
    (void) command;
    return CTL_USAGE;
}

static const char mountinfo[] =
    "22 1 0:20 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
    "30 22 0:40 / /mnt rw,nosuid - fuse.pohmelfs host:1025:/home rw,user_id=0\n"
    "31 30 0:41 / /mnt/with\\040blank rw shared:7 master:2 - fuse.pohmelfs other:/a\\134b rw\n"
    "32 30 0:42 / /mnt rw - tmpfs none rw\n"
    "garbage\n"
    "33 22 0:43 / /mntx rw - fuse.pohmelfs third:/ rw\n";

static void test_mounts(void)
{
    g_autoptr(GPtrArray) mounts = ph_mounts_parse(mountinfo);
    g_assert_cmpuint(mounts->len, ==, 5);
    const struct ph_mount_entry *entry = ph_mounts_at(mounts, "/mnt/with blank");
    g_assert_nonnull(entry);
    g_assert_cmpstr(entry->source, ==, "other:/a\\b");
    g_assert_true(ph_mount_is_pohmel(entry));
    g_assert_cmpstr(ph_mounts_at(mounts, "/mnt")->type, ==, "tmpfs"); /* the uppermost */
    g_assert_null(ph_mounts_at(mounts, "/mn"));
    g_assert_null(ph_mounts_at(mounts, "/mnt/"));
}

static void test_below(void)
{
    g_autoptr(GPtrArray) mounts = ph_mounts_parse(mountinfo);
    g_assert_nonnull(ph_mounts_below(mounts, "/mnt/with blank"));
    g_assert_null(ph_mounts_below(mounts, "/mnt/with"));
    g_assert_null(ph_mounts_below(mounts, "/mnt/with blank/deeper"));
    g_assert_cmpstr(ph_mounts_below(mounts, "/mntx")->path, ==, "/mntx");
}

static void test_own_mounts(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) mounts = ph_mounts_read(&error);
    g_assert_no_error(error);
    g_assert_nonnull(ph_mounts_at(mounts, "/proc"));
}

static void test_rmtree_refuses(void)
{
    static const struct {
        const char *path;
        int code;
    } cases[] = {
        {"", ENOENT},          {"/", EBUSY},
        {"//", EBUSY},         {".", EINVAL},
        {"..", EINVAL},        {"/tmp/.", EINVAL},
        {"/tmp/..//", EINVAL}, {"/proc", EBUSY},
        {"/proc/", EBUSY},     {"/nowhere/at/all", ENOENT},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        guint64 removed = 0;
        g_assert_false(ctl_remove_tree(cases[i].path, &removed, &error));
        g_assert_error(error, PH_CALL_ERROR, cases[i].code);
        g_assert_cmpuint(removed, ==, 0);
    }
}

static void test_not_a_mount(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *directory = g_dir_make_tmp("pohmel-ctl-XXXXXX", &error);
    g_autofree char *inside = g_build_filename(directory, "inside", NULL);
    g_autofree char *file = g_build_filename(inside, "file", NULL);
    guint made = 0;
    guint64 removed = 0;
    g_assert_cmpint(g_mkdir(inside, 0755), ==, 0);
    g_assert_true(g_file_set_contents(file, "x", 1, NULL));

    g_assert_true(ctl_make_path(inside, 0755, &made, &error)); /* is there: nothing to ask for */
    g_autofree char *missing = g_build_filename(directory, "missing", NULL);
    g_assert_false(ctl_make_path(missing, 0755, &made, &error));
    g_assert_error(error, PH_CALL_ERROR, ENOTTY);
    g_assert_nonnull(strstr(error->message, "is not on a Pohmel mount"));
    g_clear_error(&error);

    g_autofree char *below_file = g_build_filename(file, "x", NULL);
    g_assert_false(ctl_make_path(below_file, 0755, &made, &error));
    g_assert_error(error, PH_CALL_ERROR, ENOTDIR);
    g_clear_error(&error);

    g_autofree char *dots = g_build_filename(directory, "new", "..", "other", NULL);
    g_assert_false(ctl_make_path(dots, 0755, &made, &error));
    g_assert_error(error, PH_CALL_ERROR, EINVAL);
    g_clear_error(&error);

    g_assert_false(ctl_remove_tree(inside, &removed, &error));
    g_assert_error(error, PH_CALL_ERROR, ENOTTY);
    g_assert_true(g_file_test(file, G_FILE_TEST_EXISTS));
    g_assert_cmpuint(made, ==, 0);
    g_unlink(file);
    g_rmdir(inside);
    g_rmdir(directory);
}

static void test_json(void)
{
    g_autoptr(GString) out = g_string_new(NULL);
    ctl_json_members(out, "session: open\nnonsense\nrequests: 12\ncredits: 3 of 4\nleading: 007\n"
                          "zero: 0\ngood: yes\nbad: no\nlong: 12345678901234567890\nempty: \n");
    g_assert_cmpstr(out->str, ==,
                    "\"session\": \"open\", \"requests\": 12, \"credits\": \"3 of 4\", \"leading\": \"007\", "
                    "\"zero\": 0, \"good\": true, \"bad\": false, \"long\": \"12345678901234567890\", "
                    "\"empty\": \"\"");
    g_string_truncate(out, 0);
    ctl_json_string(out, "a\"\\\n\t\001\177\xc3\xa4\xff\xed\xa0\x80", 13);
    g_assert_cmpstr(out->str, ==, "\"a\\\"\\\\\\n\\t\\u0001\\u007f\xc3\xa4\\udcff\\udced\\udca0\\udc80\"");
}

static void test_shown(void)
{
    g_autoptr(GString) out = g_string_new(NULL);
    ctl_shown(out, "a b\n\\\033[2J\xff\xc3\xa4\xc2\x9b", 14);
    g_assert_cmpstr(out->str, ==, "a b\\n\\\\\\033[2J\\377\xc3\xa4\\302\\233");
}

static void test_sample(void)
{
    struct ctl_sample before = {0}, now = {0};
    g_autoptr(GString) out = g_string_new(NULL);
    ctl_sample_take(&now, "requests: 50\n", 1000000);
    g_assert_true(ctl_sample_rate(&before, &now, "requests") == 0);
    ctl_sample_take(&before, "requests: 10\ncache-hits: 7\nsession: open\n", 1000000);
    ctl_sample_take(&now, "requests: 50\ncache-hits: 1\nsession: lost\ndirty-bytes: 2097152\n", 3000000);
    g_assert_true(ctl_sample_rate(&before, &now, "requests") == 20);
    g_assert_true(ctl_sample_rate(&before, &now, "cache-hits") == 0); /* made anew */
    g_assert_true(ctl_sample_rate(&before, &now, "nothing") == 0);
    g_assert_cmpstr(ctl_sample_text(&now, "session"), ==, "lost");

    ctl_sample_block(out, "here", &before, &now, 0);
    g_assert_nonnull(strstr(out->str, "here: session lost"));
    g_assert_nonnull(strstr(out->str, " 20 requests/s"));
    g_assert_nonnull(strstr(out->str, " 2.0 MiB, 0 operations"));
    g_string_truncate(out, 0);
    ctl_sample_block(out, "here", &before, &now, 10);
    g_auto(GStrv) lines = g_strsplit(out->str, "\n", -1);
    for (char **line = lines; *line; line++)
        g_assert_cmpuint(strlen(*line), <=, 10);
    ctl_sample_clear(&before);
    ctl_sample_clear(&now);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ctl/mounts are read, with blanks in their names", test_mounts);
    g_test_add_func("/ctl/mounts below a path are found, and no others", test_below);
    g_test_add_func("/ctl/the mounts of this process are read", test_own_mounts);
    g_test_add_func("/ctl/rmtree refuses what is no name, and mount points", test_rmtree_refuses);
    g_test_add_func("/ctl/nothing is done outside of a mount", test_not_a_mount);
    g_test_add_func("/ctl/status becomes JSON, numbers as numbers, and every byte survives", test_json);
    g_test_add_func("/ctl/names do nothing to a terminal", test_shown);
    g_test_add_func("/ctl/rates are by the second, and lines fit", test_sample);
    return g_test_run();
}
