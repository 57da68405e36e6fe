/* Mistakes of whoever starts the server: each is one line that says what to do. */
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>

#include "server/config.h"

static char *directory;

struct file_case {
    const char *content; /* @DIR@ stands for a directory that exists */
    const char *message; /* behind "FILE: "; NULL when all is well */
};

static char *fill_in(const char *text)
{
    g_auto(GStrv) parts = g_strsplit(text, "@DIR@", -1);

    return g_strjoinv(directory, parts);
}

static const struct file_case file_cases[] = {
    {"[export a]\ndirectory=@DIR@\n", NULL},
    {"# all there "
     "is\n[server]\nlisten=127.0.0.1:0;[::1]:7;unix:/run/x;\nstate-dir=/tmp/"
     "s\nworkers=4\nlease-time=7\nverbose=true\nwatch=false\n"
     "[export a]\ndirectory=@DIR@\nread-only=true\nsize-limit=10G\nstate-dir=/tmp/t\n",
     NULL},
    {"[export home]\ndirectory=@DIR@\nsize-limit=10X\n",
     "[export home] size-limit: \"10X\" is not a size; expected a number with K, M, G or T"},
    {"[export home]\ndirectory=@DIR@\nsize-limit=0\n",
     "[export home] size-limit: \"0\" is not a size; expected a number with K, M, G or T"},
    {"[export home]\ndirectory=@DIR@\nsize-limit=9999999T\n",
     "[export home] size-limit: \"9999999T\" is not a size; expected a number with K, M, G or T"},
    {"[export home]\ndirectory=@DIR@\nread-only=maybe\n",
     "[export home] read-only: \"maybe\" is not a yes or no; expected true or false"},
    {"[export home]\ndirectory=@DIR@\nreadonly=true\n",
     "[export home] readonly: there is no such key; expected one of directory, read-only, size-limit, "
     "state-dir"},
    {"[export home]\ndirectory=relative/path\n", "[export home] directory: \"relative/path\" is not an "
                                                 "absolute path; expected a path that begins with '/'"},
    {"[export home]\nread-only=true\n",
     "[export home] directory: the key is missing; expected what is to be exported"},
    {"[export home]\ndirectory=/does/not/exist\n", "[export home] directory: \"/does/not/exist\" is not a "
                                                   "directory; expected the existing directory to export"},
    {"[server]\nworkers=0\n[export a]\ndirectory=@DIR@\n",
     "[server] workers: \"0\" is not a number of workers; expected a number from 1 to 64"},
    {"[server]\nlease-time=1000\n[export a]\ndirectory=@DIR@\n",
     "[server] lease-time: \"1000\" is not a time of leases; expected seconds from 4 to 600"},
    {"[server]\nworkers=many\n[export a]\ndirectory=@DIR@\n",
     "[server] workers: \"many\" is not a number of workers; expected a number from 1 to 64"},
    {"[server]\nwatch=sometimes\n",
     "[server] watch: \"sometimes\" is not a yes or no; expected true or false"},
    {"[server]\nport=1025\n", "[server] port: there is no such key; expected one of listen, state-dir, "
                              "workers, lease-time, verbose, watch"},
    {"[exports]\nhome=/home\n", "[exports]: there is no such group; expected [server] or [export NAME]"},
    {"[export a/b]\ndirectory=@DIR@\n",
     "[export a/b]: \"a/b\" is not a name for an export; expected 1 to 255 bytes of text without '/'"},
    {"[export a]\ndirectory=@DIR@\n\n[export a]\nread-only=true\n",
     "[export a]: stands there twice, again in line 4; expected once"},
    {"[export a]\ndirectory=@DIR@\nread-only=true\nread-only = false\n",
     "[export a] read-only: stands there twice, again in line 4; expected once"},
    {"[export a]\ndirectory=@DIR@\n[export b]\ndirectory=@DIR@/.\n",
     "[export b] directory: @DIR@ is exported twice, as \"a\" and \"b\"; export it once"},
};

static void test_file_mistakes(void)
{
    g_autofree char *path = g_build_filename(directory, "c.conf", NULL);

    for (guint i = 0; i < G_N_ELEMENTS(file_cases); i++) {
        g_autofree char *content = fill_in(file_cases[i].content);
        g_autofree char *message = fill_in(file_cases[i].message == NULL ? "" : file_cases[i].message);
        g_autofree char *expected = g_strdup_printf("%s: %s", path, message);
        g_autoptr(ph_config_t) config = ph_config_new();
        g_autoptr(GError) error = NULL;
        gboolean ok;

        g_assert_true(g_file_set_contents(path, content, -1, NULL));
        ok = ph_config_read_file(config, path, &error) && ph_config_check(config, &error);
        g_assert_cmpint(ok, ==, file_cases[i].message == NULL);
        if (!ok) {
            g_assert_cmpstr(error->message, ==, expected);
            g_assert_true(error->domain == PH_CONFIG_ERROR);
        }
    }
    g_unlink(path);
}

struct argument_case {
    const char *arguments; /* split at blanks */
    const char *message;   /* beginning of it; NULL when all is well */
};

static const struct argument_case argument_cases[] = {
    {"--export @DIR@", NULL},
    {"--export a=@DIR@ --listen [::1]:0 --listen :99 --workers 3 --read-only --no-watch --size-limit 1t",
     NULL},
    {"--export @DIR@ --size-limit 10X",
     "--size-limit: \"10X\" is not a size; expected a number with K, M, G or T"},
    {"--export @DIR@ --size-limit -5", "--size-limit: \"-5\" is not a size"},
    {"--export @DIR@ --workers 65", "--workers: 65 is out of range; expected a number from 1 to 64"},
    {"--export @DIR@ --lease-time 3", "--lease-time: 3 is out of range; expected seconds from 4 to 600"},
    {"--export @DIR@ --listen host:99999", "--listen: "},
    {"--export a=", "--export: \"a=\" names no directory; expected [NAME=]DIR"},
    {"--export =@DIR@", "--export: \"\" is not a name for an export"},
    {"--export a=@DIR@ --export a=/tmp", "--export: two exports are named \"a\""},
    {"--export /does/not/exist", "--export: \"/does/not/exist\" is not a directory"},
    {"--export /dev/null", "--export: \"/dev/null\" is not a directory"},
    {"--config /does/not/exist", "/does/not/exist: No such file or directory; expected a readable file"},
    {"--export @DIR@ --check --repair", NULL},
    {"--export @DIR@ --repair", "--repair: only together with --check"},
    {"--nonsense", "Unknown option --nonsense; see pohmel-server --help"},
    {"@DIR@", "\"@DIR@\" is not an option; to serve a directory give --export @DIR@"},
    {"", "nothing to export: give --export DIR, or --config FILE"},
};

static void test_argument_mistakes(void)
{
    for (guint i = 0; i < G_N_ELEMENTS(argument_cases); i++) {
        const struct argument_case *one = &argument_cases[i];
        g_autofree char *line = g_strconcat("pohmel-server ", one->arguments, NULL);
        g_autofree char *filled = fill_in(g_strchomp(line));
        g_autofree char *message = fill_in(one->message == NULL ? "" : one->message);
        g_auto(GStrv) arguments = g_strsplit(filled, " ", -1);
        g_autoptr(GError) error = NULL;
        enum ph_config_request request;
        g_autoptr(ph_config_t) config = ph_config_from_arguments(arguments, &request, &error);
        gboolean ok = config != NULL && ph_config_check(config, &error);

        g_test_message("%s", filled);
        g_assert_cmpint(ok, ==, one->message == NULL);
        if (!ok) {
            g_assert_true(g_str_has_prefix(error->message, message));
            g_assert_null(strchr(error->message, '\n'));
            g_assert_true(error->domain == PH_CONFIG_ERROR);
        }
    }
}

static void test_command_line_wins(void)
{
    g_autofree char *path = g_build_filename(directory, "c.conf", NULL);
    g_autofree char *content = fill_in("[server]\nlisten=127.0.0.1:1\nworkers=2\nwatch=true\n[export "
                                       "a]\ndirectory=/does/not/exist\nsize-limit=1G\n");
    g_autofree char *export = g_strconcat("a=", directory, NULL);
    char *arguments[] = {(char *) "pohmel-server",
                         (char *) "--config",
                         path,
                         (char *) "--listen",
                         (char *) "[::1]:5",
                         (char *) "--workers",
                         (char *) "7",
                         (char *) "--export",
                         export,
                         (char *) "--read-only",
                         (char *) "--no-watch",
                         NULL};
    enum ph_config_request request;
    g_autoptr(GError) error = NULL;
    g_autoptr(ph_config_t) config = NULL;
    const struct ph_export_config *only;

    g_assert_true(g_file_set_contents(path, content, -1, NULL));
    config = ph_config_from_arguments(arguments, &request, &error);
    g_assert_no_error(error);
    g_assert_true(ph_config_check(config, &error));
    g_assert_cmpuint(config->exports->len, ==, 1);
    only = config->exports->pdata[0];
    g_assert_cmpstr(only->directory, ==, directory);
    g_assert_cmpuint(only->size_limit, ==, 1u << 30);
    g_assert_true(only->read_only);
    g_assert_cmpuint(config->listen->len, ==, 1);
    g_assert_cmpstr(config->listen->pdata[0], ==, "[::1]:5");
    g_assert_cmpuint(config->workers, ==, 7);
    g_assert_true(config->no_watch);
    g_unlink(path);
}

static void test_state_directories(void)
{
    g_autofree char *other = g_build_filename(directory, "other", NULL);
    g_autofree char *export = g_strconcat("a=", directory, NULL), *second = g_strconcat("b=", other, NULL);
    char *one[] = {(char *) "x", (char *) "-e", export, (char *) "-s", (char *) "/tmp/s", NULL};
    char *two[] = {(char *) "x",  (char *) "-e",     export, (char *) "-e", second,
                   (char *) "-s", (char *) "/tmp/s", NULL};
    char *none[] = {(char *) "x", (char *) "-e", export, (char *) "-e", second, NULL};
    char **cases[] = {one, two, none};

    g_mkdir(other, 0755);
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        enum ph_config_request request;
        g_autoptr(GError) error = NULL;
        g_autoptr(ph_config_t) config = ph_config_from_arguments(cases[i], &request, &error);
        const struct ph_export_config *first = config->exports->pdata[0];

        g_assert_true(ph_config_check(config, &error));
        g_assert_no_error(error);
        if (i == 0)
            g_assert_cmpstr(first->state_dir, ==, "/tmp/s");
        else if (i == 1)
            g_assert_cmpstr(first->state_dir, ==, "/tmp/s/a");
        else
            g_assert_cmpstr(first->state_dir, !=,
                            ((struct ph_export_config *) config->exports->pdata[1])->state_dir);
    }
    g_rmdir(other);
}

static void test_state_inside_an_export(void)
{
    g_autofree char *other = g_build_filename(directory, "other", NULL),
                    *state = g_build_filename(directory, "s", NULL);
    g_autofree char *export = g_strconcat("a=", directory, NULL), *second = g_strconcat("b=", other, NULL);
    char *arguments[] = {(char *) "x", (char *) "-e", second, (char *) "-e",
                         export,       (char *) "-s", state,  NULL};
    enum ph_config_request request;
    g_autoptr(GError) error = NULL;
    g_autoptr(ph_config_t) config = ph_config_from_arguments(arguments, &request, &error);

    g_mkdir(other, 0755);
    g_assert_no_error(error);
    g_assert_false(ph_config_check(config, &error));
    g_assert_nonnull(strstr(error->message, "lies inside the export"));
    g_rmdir(other);
}

static void test_sizes(void)
{
    static const struct {
        const char *text;
        uint64_t bytes; /* 0: not a size */
    } cases[] = {
        {"1", 1},
        {"10K", 10240},
        {"3m", 3u << 20},
        {"1G", 1u << 30},
        {"2T", UINT64_C(2) << 40},
        {"", 0},
        {"K", 0},
        {"1KB", 0},
        {" 1", 0},
        {"-1", 0},
        {"1.5G", 0},
        {"0x10", 0},
        {"8388607T", UINT64_C(8388607) << 40},
        {"8388608T", 0},
        {"99999999999999999999", 0},
    };

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        uint64_t bytes = 0;

        g_assert_cmpint(ph_config_parse_size(cases[i].text, &bytes), ==, cases[i].bytes != 0);
        g_assert_cmpuint(bytes, ==, cases[i].bytes);
    }
}

int main(int argc, char **argv)
{
    int result;

    g_test_init(&argc, &argv, NULL);
    directory = g_dir_make_tmp("pohmel-test-XXXXXX", NULL);
    g_test_add_func("/config/mistakes-in-files-are-named", test_file_mistakes);
    g_test_add_func("/config/mistakes-in-options-are-named", test_argument_mistakes);
    g_test_add_func("/config/command-line-wins-over-file", test_command_line_wins);
    g_test_add_func("/config/each-export-has-its-state-directory", test_state_directories);
    g_test_add_func("/config/state-inside-an-export", test_state_inside_an_export);
    g_test_add_func("/config/sizes", test_sizes);
    result = g_test_run();
    g_rmdir(directory);
    g_free(directory);
    return result;
}
