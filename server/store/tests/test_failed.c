/* A system call that fails in the middle of a change: the change is answered, and has happened or not; what
 * is answered OK has happened; the server goes on, and starts again. A child opens the store and makes the
 * change; it is traced, and its Nth system call is not made but fails. */
#include <errno.h>
#include <sys/mman.h>
#include <sys/xattr.h>

#include "ph_commands.h"
#include "server/store/tests/fail_call.h"
#include "server/store/tests/killed_run.h"

enum { STEPS_MAX = 400, ATTRIBUTE_BYTES = 256 };

/* ---- What is on the disk ---- */

static int by_name(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *) a, *(const char *const *) b);
}

static void describe_attribute(const char *path, GString *out)
{
    char value[ATTRIBUTE_BYTES];
    for (int i = 0; i < 2; i++) {
        const char *name = i == 0 ? "user.old" : "user.new";
        ssize_t len = lgetxattr(path, name, value, sizeof value);
        if (len >= 0)
            g_string_append_printf(out, " %s=%.*s", name, (int) len, value);
    }
}

/* All that a client sees, but for times. */
static void describe(const char *path, const char *name, GString *out)
{
    struct stat st;
    g_autofree char *content = NULL;
    gsize len = 0;
    g_assert_cmpint(lstat(path, &st), ==, 0);
    g_string_append_printf(out, "%s %o %u:%u links %u size %llu", name, st.st_mode, st.st_uid, st.st_gid,
                           S_ISDIR(st.st_mode) ? 0 : (unsigned) st.st_nlink,
                           S_ISREG(st.st_mode) ? (unsigned long long) st.st_size : 0);
    describe_attribute(path, out);
    if (S_ISREG(st.st_mode) && g_file_get_contents(path, &content, &len, NULL)) {
        g_autofree char *sum = g_compute_checksum_for_data(G_CHECKSUM_SHA1, (guchar *) content, len);
        g_string_append_printf(out, " %s", sum);
    }
    g_string_append_c(out, '\n');
    if (!S_ISDIR(st.st_mode))
        return;
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    for (const char *found = g_dir_read_name(dir); found != NULL; found = g_dir_read_name(dir))
        g_ptr_array_add(names, g_strdup(found));
    g_ptr_array_sort(names, by_name);
    for (guint i = 0; i < names->len; i++) {
        g_autofree char *below = g_build_filename(path, g_ptr_array_index(names, i), NULL);
        g_autofree char *longer = g_build_filename(name, g_ptr_array_index(names, i), NULL);
        describe(below, longer, out);
    }
}

static char *look(const struct scene *scene)
{
    g_autofree char *path = fx_path(&scene->fx, "dir");
    GString *out = g_string_new("");
    describe(path, "dir", out);
    return g_string_free(out, FALSE);
}

/* ---- One step ---- */

struct outcome {
    uint32_t status;
    char words[256];
};

static pid_t child_start(struct scene *scene, struct outcome *outcome)
{
    pid_t child = fork();
    g_assert_cmpint(child, >=, 0);
    if (child != 0)
        return child;
    fx_open(&scene->fx);
    scene_find(scene);
    scene_open(scene);
    fail_call_begin();
    outcome->status = scene_send(scene, 1);
    fail_call_end();
    if (outcome->status == PH_ST_OK)
        outcome->status = scene->reply.results[0]->status;
    g_strlcpy(outcome->words, scene->fx.call.fault.text, sizeof outcome->words);
    fx_close(&scene->fx);
    _exit(0);
}

/* ---- The sweep ---- */

static void quiet(const char *domain, GLogLevelFlags level, const char *message, gpointer ignored)
{
}

static int stride(void)
{
    const char *text = g_getenv("PH_FAIL_EVERY");
    return text != NULL ? (int) strtol(text, NULL, 10) : 1;
}

/* What is there when nothing fails. */
static char *expected(const struct killed_test *test)
{
    struct scene scene;
    scene_begin(&scene, test->request);
    fx_open(&scene.fx);
    scene_find(&scene);
    scene_open(&scene);
    fx_ok(&scene.fx, scene_send(&scene, 1));
    char *after = look(&scene);
    fx_teardown(&scene.fx);
    ph_blob_unref(scene.payload);
    return after;
}

/* Of several effects some may have come to be when another one fails; it is said so in the protocol. */
static bool may_be_half_done(const Pohmel__Change *change)
{
    switch (change->command_case) {
    case POHMEL__CHANGE__COMMAND_SETATTR:
    case POHMEL__CHANGE__COMMAND_WRITE:
    case POHMEL__CHANGE__COMMAND_COPY:
    case POHMEL__CHANGE__COMMAND_ALLOCATE:
    case POHMEL__CHANGE__COMMAND_MKPATH:
    case POHMEL__CHANGE__COMMAND_RMTREE:
        return true;
    default:
        return false;
    }
}

static void fail_at(const struct killed_test *test, int steps, int error, const char *wanted, bool *ended,
                    unsigned *told_although_done)
{
    struct scene scene;
    struct outcome *outcome =
        mmap(NULL, sizeof *outcome, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    g_assert_true(outcome != MAP_FAILED);
    scene_begin(&scene, test->request);
    g_autofree char *before = look(&scene);
    struct fail_call child = fail_call_run(child_start(&scene, outcome), steps, error);
    unsigned long number = child.number;
    *ended = child.ended;
    if (child.aborted)
        g_error("%s: step %d (system call %lu) failed with %s: the server ended itself", test->name, steps,
                number, g_strerror(error));
    fx_open(&scene.fx); /* whatever failed, the server starts again */
    g_autofree char *found = look(&scene);
    bool done = strcmp(found, wanted) == 0, nothing = strcmp(found, before) == 0;
    if (outcome->status == PH_ST_OK && !done)
        g_error("%s: step %d (system call %lu) failed with %s, OK was answered:\n%s\nwanted:\n%s", test->name,
                steps, number, g_strerror(error), found, wanted);
    if (!done && !nothing && !may_be_half_done(&scene.change))
        g_error(
            "%s: step %d (system call %lu) failed with %s, %s %s was answered:\n%s\nbefore:\n%s\nwanted:\n%s",
            test->name, steps, number, g_strerror(error), ph_status_name(outcome->status), outcome->words,
            found, before, wanted);
    if (outcome->status != PH_ST_OK && done && !nothing)
        (*told_although_done)++;
    fx_teardown(&scene.fx);
    ph_blob_unref(scene.payload);
    munmap(outcome, sizeof *outcome);
}

static void sweep(gconstpointer given)
{
    static const int errors[] = {EIO, ENOSPC, EMFILE, ENOMEM, EDQUOT};
    const struct killed_test *test = given;
    if (!fail_call_possible())
        return;
    guint handler = g_log_set_handler(NULL, G_LOG_LEVEL_MESSAGE | G_LOG_LEVEL_WARNING | G_LOG_LEVEL_CRITICAL,
                                      quiet, NULL);
    g_log_set_always_fatal(G_LOG_LEVEL_ERROR);
    g_autofree char *wanted = expected(test);
    unsigned told_although_done = 0;
    /* Where not every call fails in each run, it does not fail in every way either. */
    size_t only = (size_t) g_test_rand_int_range(0, G_N_ELEMENTS(errors));
    for (size_t i = 0; i < G_N_ELEMENTS(errors); i++) {
        if (stride() > 1 && i != only)
            continue;
        bool ended = false;
        for (int steps = g_test_rand_int_range(0, stride()); !ended; steps += stride()) {
            g_assert_cmpint(steps, <, STEPS_MAX);
            fail_at(test, steps, errors[i], wanted, &ended, &told_although_done);
        }
    }
    g_test_message("%u times failure was told of what had been done", told_although_done);
    g_log_remove_handler(NULL, handler);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < killed_tests_count; i++) {
        g_autofree char *path = g_strconcat("/failed/all-or-nothing-and-told/", killed_tests[i].name, NULL);
        g_test_add_data_func(path, &killed_tests[i], sweep);
    }
    return g_test_run();
}
