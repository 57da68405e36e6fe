/* Transactions of several commands in which a system call fails: all or nothing. What fails while a command
 * is executed makes the transaction be undone; what fails while it is undone ends the server before anybody
 * sees a part of it, and the next start undoes the rest; what fails at the start keeps it from serving, and
 * the next try mends it. */
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "ph_commands.h"
#include "server/store/tests/fail_call.h"
#include "server/store/tests/several_scripts.h"

enum { STEPS_MAX = 4000 };

static const int errors[] = {EIO, ENOSPC, EMFILE, ENOMEM, EDQUOT};

/* What the child said before it ended. */
struct outcome {
    bool answered;
    uint32_t status;
    char words[256];
};

static void quiet(const char *domain, GLogLevelFlags level, const char *message, gpointer ignored)
{
}

static guint quiet_begin(void)
{
    g_log_set_always_fatal(G_LOG_LEVEL_ERROR);
    return g_log_set_handler(NULL, G_LOG_LEVEL_MESSAGE | G_LOG_LEVEL_WARNING | G_LOG_LEVEL_CRITICAL, quiet,
                             NULL);
}

/* One call in so many fails; 1: each of them, in each way. */
static int stride(void)
{
    const char *text = g_getenv("PH_FAIL_EVERY");
    return text != NULL ? (int) strtol(text, NULL, 10) : 1;
}

static int first_step(int every)
{
    return g_test_rand_int_range(0, every);
}

static int some_error(void)
{
    return errors[g_test_rand_int_range(0, G_N_ELEMENTS(errors))];
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

/* Nothing is to be undone, and nothing is kept aside. */
static bool nothing_left(const struct play *play)
{
    struct ph_undo_log *log = ph_undo_log_open(play->fx.state, NULL);
    g_autofree char *aside = fx_path(&play->fx, ".pohmel/undo");
    g_assert_nonnull(log);
    bool empty = ph_undo_log_count(log) == 0;
    ph_undo_log_close(log);
    g_autoptr(GDir) dir = g_dir_open(aside, 0, NULL);
    return empty && (dir == NULL || g_dir_read_name(dir) == NULL);
}

/* HIDDEN: a name in the hidden directory may stay for a while, and is a link more. */
static bool same(const char *one, const char *other, bool hidden)
{
    if (!hidden)
        return strcmp(one, other) == 0;
    g_autoptr(GRegex) links = g_regex_new(" x\\d+", G_REGEX_RAW, 0, NULL);
    g_autofree char *bare = g_regex_replace_literal(links, one, -1, 0, "", 0, NULL),
                    *also_bare = g_regex_replace_literal(links, other, -1, 0, "", 0, NULL);
    return strcmp(bare, also_bare) == 0;
}

static struct outcome *outcome_new(void)
{
    struct outcome *outcome =
        mmap(NULL, sizeof *outcome, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    g_assert_true(outcome != MAP_FAILED);
    return outcome;
}

/* All that is broken is told, not only the first of it. */
static void G_GNUC_PRINTF(1, 2) broken(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    g_test_message("BROKEN: %s", text);
    g_test_fail();
}

/* ---- Executing and undoing ---- */

static pid_t child_execute(struct play *play, struct outcome *outcome)
{
    pid_t child = fork();
    g_assert_cmpint(child, >=, 0);
    if (child != 0)
        return child;
    play_open(play);
    fail_call_begin();
    outcome->status = play_send(play);
    outcome->answered = true;
    g_strlcpy(outcome->words, play->fx.call.fault.text, sizeof outcome->words);
    fail_call_end();
    _exit(0); /* what is there is looked at as it is served, and not what an orderly end makes of it */
}

/* One run. FAILS: the last command of the script fails in any case. True when no call was left to fail. */
static bool fail_at(const struct script *script, bool fails, int steps, int error, const char *wanted,
                    unsigned *ended_itself)
{
    struct play play;
    struct outcome *outcome = outcome_new();
    play_setup(&play, script, fails);
    g_autofree char *before = play_look(&play, true);
    struct fail_call child = fail_call_run(child_execute(&play, outcome), steps, error);
    g_autofree char *where =
        g_strdup_printf("%s%s, step %d (system call %lu) failed with %s; %s %s", script->name,
                        fails ? " in vain" : "", steps, child.number, g_strerror(error),
                        outcome->answered ? ph_status_name(outcome->status) : "no answer", outcome->words);
    g_assert_true(outcome->answered != child.aborted);
    for (int started = 0; started <= 1; started++) {
        g_autofree char *found = play_look(&play, true), *plain = play_look(&play, false);
        bool done = !fails && same(plain, wanted, !started);
        if (outcome->answered && outcome->status == PH_ST_OK && !done)
            broken("%s: OK was answered:\n%s\nwanted:\n%s", where, found, wanted);
        if ((started || !child.aborted) && !done && strcmp(found, before) != 0)
            broken("%s (%s): a part of it:\n%s\nbefore:\n%s", where,
                   started ? "after the next start" : "served", found, before);
        if (!started)
            fx_open(&play.fx);
    }
    if (!nothing_left(&play))
        broken("%s: something is left", where);
    *ended_itself += child.aborted;
    play_teardown(&play);
    munmap(outcome, sizeof *outcome);
    return child.ended;
}

static void sweep(const struct script *script, bool fails)
{
    if (!fail_call_possible())
        return;
    guint handler = quiet_begin();
    g_autofree char *wanted = expected(script);
    unsigned ended_itself = 0;
    for (size_t i = 0; i < G_N_ELEMENTS(errors); i++) {
        bool all = stride() == 1, ended = false;
        for (int steps = first_step(stride()); !ended; steps += stride()) {
            g_assert_cmpint(steps, <, STEPS_MAX);
            ended = fail_at(script, fails, steps, all ? errors[i] : some_error(), wanted, &ended_itself);
        }
        if (!all)
            break;
    }
    g_test_message("%u times the server ended itself", ended_itself);
    g_log_remove_handler(NULL, handler);
}

static void test_executing(gconstpointer given)
{
    sweep(given, false);
}

static void test_undoing(gconstpointer given)
{
    sweep(given, true);
}

/* ---- The next start ---- */

static pid_t child_start(struct play *play, struct outcome *outcome)
{
    pid_t child = fork();
    g_assert_cmpint(child, >=, 0);
    if (child != 0)
        return child;
    g_autoptr(GError) error = NULL;
    fail_call_begin();
    outcome->answered = ph_posix_store_open(&play->fx.options, &error) != NULL;
    g_strlcpy(outcome->words, error != NULL ? error->message : "", sizeof outcome->words);
    fail_call_end();
    _exit(0);
}

/* A server is killed after STEPS calls of the script, or of undoing it where that FAILS; at the next start a
 * call fails. True when none was left to. */
static bool start_fails(const struct script *script, bool fails, int steps, int again, const char *wanted,
                        unsigned *refused)
{
    struct play play;
    struct outcome *outcome = outcome_new(), *start = outcome_new();
    int error = some_error();
    play_setup(&play, script, fails);
    g_autofree char *before = play_look(&play, true);
    fail_call_run(child_execute(&play, outcome), steps, 0);
    struct fail_call child = fail_call_run(child_start(&play, start), again, error);
    g_autofree char *where = g_strdup_printf(
        "%s%s, killed at step %d, step %d of the start (system call %lu) failed with %s; %s %s", script->name,
        fails ? " in vain" : "", steps, again, child.number, g_strerror(error),
        start->answered ? "serves" : "does not serve", start->words);
    if (child.aborted || (!start->answered && start->words[0] == '\0'))
        broken("%s: without words", where);
    for (int started = 0; started <= 1; started++) {
        g_autofree char *found = play_look(&play, true), *plain = play_look(&play, false);
        bool done = !fails && strcmp(plain, wanted) == 0;
        if ((started || start->answered) && !done && strcmp(found, before) != 0)
            broken("%s (%s): a part of it:\n%s\nbefore:\n%s", where,
                   started ? "after the next start" : "served", found, before);
        if (!started)
            fx_open(&play.fx);
    }
    if (!nothing_left(&play))
        broken("%s: something is left", where);
    *refused += !start->answered;
    play_teardown(&play);
    munmap(outcome, sizeof *outcome);
    munmap(start, sizeof *start);
    return child.ended;
}

/* Where each call fails in the middle of each step there would be a million runs. */
enum { KILL_EVERY = 23, START_EVERY = 5, KILL_UP_TO = 240 };

static void test_starting(gconstpointer given)
{
    const struct script *script = given;
    if (!fail_call_possible())
        return;
    guint handler = quiet_begin();
    g_autofree char *wanted = expected(script);
    unsigned refused = 0;
    int kills = MIN(KILL_EVERY * stride(), KILL_UP_TO), starts = START_EVERY * stride();
    for (int steps = first_step(kills); steps < KILL_UP_TO; steps += kills) {
        bool ended = false, fails = g_test_rand_bit();
        for (int again = first_step(starts); !ended; again += starts)
            ended = start_fails(script, fails, steps, again, wanted, &refused);
    }
    g_test_message("%u times the server did not start", refused);
    g_log_remove_handler(NULL, handler);
}

static void add(const char *promise, void (*test)(gconstpointer))
{
    for (size_t i = 0; i < scripts_count; i++) {
        g_autofree char *path = g_strconcat("/failed/several/", promise, "/", scripts[i].name, NULL);
        g_test_add_data_func(path, &scripts[i], test);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add("all-or-nothing", test_executing);
    add("nothing-of-one-that-fails", test_undoing);
    add("also-when-the-next-start-fails", test_starting);
    return g_test_run();
}
