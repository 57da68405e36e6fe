/* Transactions of several commands: all or nothing, when the machine loses power at any system call. */
#include "ph_commands.h"
#include "server/store/posix_check.h"
#include "server/store/tests/power_disk.h"
#include "server/store/tests/stepped.h"
#include "server/store/undo_log.h"

enum { STEPS_MAX = 4000, RECOVERY_STEPS = 17 };

struct scene {
    const char *kind;
    const struct script *script;
};

static struct power_disk *disk;

/* The next fixture is on that disk. */
static bool disk_begin(const struct scene *scene)
{
    const char *why;
    g_unsetenv("PH_TEST_DIR");
    disk = power_disk_new(scene->kind, &why);
    if (disk == NULL)
        return g_test_skip(why), false;
    g_setenv("PH_TEST_DIR", power_disk_path(disk), TRUE);
    return true;
}

static void disk_end(void)
{
    power_disk_free(disk);
    g_unsetenv("PH_TEST_DIR");
}

/* What is there when the commands are executed one by one. */
static char *expected(const struct script *script)
{
    struct play play;
    play_setup(&play, script, false);
    play_open(&play);
    play_singly(&play);
    char *after = play_look(&play, false);
    play_teardown(&play);
    return after;
}

static int every(void)
{
    return MAX(stepped_number("PH_POWER_EVERY", 1), 1);
}

/* A child does ACT; after STEPS system calls, the log having been written after some of them, the power is
 * lost. What is in memory is gone, but for what was made stable. True when it had come to its end. */
static bool lose_power(struct play *play, bool (*act)(struct play *play), int steps)
{
    int written = g_test_rand_int_range(0, steps + 1);
    pid_t child = stepped_start(play, act);
    if (child == 0)
        return true;
    bool ended = stepped_go(child, written);
    if (g_test_rand_int_range(0, 3) > 0) /* one time in three nothing comes to the disk by itself */
        power_disk_log(disk);
    ended = ended || stepped_go(child, steps - written);
    power_disk_cut(disk);
    stepped_kill(child);
    power_disk_restart(disk);
    return ended;
}

static void say(void *data, const char *line)
{
    g_string_append_printf(data, "%s\n", line);
}

/* The state of the store, which nobody has open, agrees with the export, and nothing is kept aside. */
static void expect_clean(const struct play *play)
{
    g_autoptr(GError) error = NULL;
    GString *found = g_string_new(NULL);
    struct ph_posix_check check = {
        .directory = play->fx.directory, .state_dir = play->fx.state, .say = say, .data = found};
    g_autofree char *aside = fx_path(&play->fx, ".pohmel/undo");
    g_assert_true(ph_posix_check(&check, &error));
    if (check.wrong != 0)
        g_error("%s", found->str);
    g_string_free(found, TRUE);
    g_autoptr(GDir) dir = g_dir_open(aside, 0, NULL);
    g_assert_true(dir == NULL || g_dir_read_name(dir) == NULL);
}

/* What the list of undoing says of the transaction: whether it was done. */
static bool is_known(const struct play *play)
{
    struct ph_undo_log *log = ph_undo_log_open(play->fx.state, NULL);
    g_assert_nonnull(log);
    g_assert_cmpuint(ph_undo_log_count(log), ==, 0);
    bool known = ph_undo_log_verdict(log, play->fx.call.client, SCRIPT_KEY) == PH_UNDO_DONE;
    ph_undo_log_close(log);
    return known;
}

/* As it was, or as it was to be; whether the latter. */
static bool all_or_nothing(struct play *play, const char *before, const char *wanted, int steps)
{
    g_autofree char *found = play_look(play, true), *plain = play_look(play, false);
    bool done = strcmp(plain, wanted) == 0;
    if (!done && strcmp(found, before) != 0)
        g_error("step %d: neither before nor after:\n%s\nbefore:\n%s\nafter:\n%s", steps, found, before,
                wanted);
    g_assert_true(is_known(play) == done);
    return done;
}

/* What was answered is there; what was not is there or not; sent again it is, once. */
static void test_lost(gconstpointer given)
{
    const struct scene *scene = given;
    if (!disk_begin(scene))
        return;
    guint handler = stepped_quiet();
    g_autofree char *wanted = expected(scene->script);
    bool ended = false;
    for (int steps = g_test_rand_int_range(0, every()); !ended; steps += every()) {
        struct play play;
        g_assert_cmpint(steps, <, STEPS_MAX);
        play_setup(&play, scene->script, false);
        g_autofree char *before = play_look(&play, true);
        ended = lose_power(&play, stepped_well, steps);
        fx_open(&play.fx);
        bool done = all_or_nothing(&play, before, wanted, steps);
        g_assert_true(done || !ended);
        fx_close(&play.fx);
        expect_clean(&play);
        play_open(&play);
        fx_ok(&play.fx, play_send(&play));
        g_autofree char *after = play_look(&play, false);
        g_assert_cmpstr(after, ==, wanted);
        play_teardown(&play);
    }
    g_log_remove_handler(NULL, handler);
    disk_end();
}

/* One that fails leaves nothing. */
static void test_lost_undoing(gconstpointer given)
{
    const struct scene *scene = given;
    if (!disk_begin(scene))
        return;
    guint handler = stepped_quiet();
    bool ended = false;
    for (int steps = g_test_rand_int_range(0, every()); !ended; steps += every()) {
        struct play play;
        play_setup(&play, scene->script, true);
        g_autofree char *before = play_look(&play, true);
        ended = lose_power(&play, stepped_in_vain, steps);
        fx_open(&play.fx);
        g_assert_false(all_or_nothing(&play, before, "", steps));
        fx_close(&play.fx);
        expect_clean(&play);
        play_teardown(&play);
    }
    g_log_remove_handler(NULL, handler);
    disk_end();
}

/* A server that recovers loses its power as well. */
static void test_lost_recovering(gconstpointer given)
{
    const struct scene *scene = given;
    if (!disk_begin(scene))
        return;
    guint handler = stepped_quiet();
    g_autofree char *wanted = expected(scene->script);
    bool ended = false;
    for (int steps = g_test_rand_int_range(0, every()); !ended; steps += every()) {
        struct play play;
        play_setup(&play, scene->script, false);
        g_autofree char *before = play_look(&play, true);
        ended = lose_power(&play, stepped_well, steps);
        lose_power(&play, NULL, g_test_rand_int_range(0, RECOVERY_STEPS * RECOVERY_STEPS));
        fx_open(&play.fx);
        all_or_nothing(&play, before, wanted, steps);
        fx_close(&play.fx);
        expect_clean(&play);
        play_teardown(&play);
    }
    g_log_remove_handler(NULL, handler);
    disk_end();
}

/* All of them; or, with PH_POWER_SCENES, one in so many, others in each run. */
static void add(const char *promise, void (*test)(gconstpointer))
{
    static const char *const kinds[] = {"ext4", "xfs"};
    int part = MAX(stepped_number("PH_POWER_SCENES", 1), 1), number = g_test_rand_int_range(0, part);
    for (size_t k = 0; k < G_N_ELEMENTS(kinds); k++)
        for (size_t i = 0; i < scripts_count; i++) {
            if (number++ % part != 0)
                continue;
            struct scene *scene = g_new(struct scene, 1);
            *scene = (struct scene){kinds[k], &scripts[i]};
            g_autofree char *path =
                g_strconcat("/power/", promise, "/", kinds[k], "/", scripts[i].name, NULL);
            g_test_add_data_func_full(path, scene, test, g_free);
        }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add("all-or-nothing-whatever-step", test_lost);
    add("nothing-of-one-that-fails", test_lost_undoing);
    add("also-when-lost-again", test_lost_recovering);
    return g_test_run();
}
