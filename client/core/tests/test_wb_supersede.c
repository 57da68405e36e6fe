/* Names that are replaced again and again: what nobody will ever see is not sent. */
#include <string.h>

#include "client/core/tests/wb_steps.h"
#include "ph_commands.h"

enum { PLENTY = 1 << 20, ROUNDS = 100, OLD = 10, FIRST = 100, FLUSH_AGE_MS = 5000 };

static unsigned commands(const struct wb_steps *steps)
{
    unsigned count = 0;
    for (const char *at = steps->history->str; *at != '\0'; at++)
        count += *at == ' ';
    return count + (steps->history->len > 0 && steps->history->str[steps->history->len - 1] != ' ');
}

static void make(struct wb_steps *steps, const char *name, uint64_t id)
{
    g_assert_cmpuint(wb_create(steps, WB_ROOT, name, id, id), ==, PH_ST_OK);
    g_assert_cmpuint(wb_write(steps, id, id, 0, "new"), ==, PH_ST_OK);
    g_assert_cmpuint(wb_close_handle(steps, id, id), ==, PH_ST_OK);
}

static void replace(struct wb_steps *steps, uint64_t id)
{
    make(steps, "tmp", id);
    g_assert_cmpuint(wb_rename(steps, WB_ROOT, "tmp", "f"), ==, PH_ST_OK);
}

/* The server has f as ID with the new text, and nothing else of what there was. */
static void check(struct wb_steps *steps, uint64_t id)
{
    wb_steps_flush(steps);
    g_autofree char *text = wb_steps_text(steps, id);
    g_assert_cmpstr(text, ==, "new");
    g_assert_null(wb_model_node(steps->world.server, OLD));
    g_assert_null(wb_model_node(steps->world.server, id - 1));
    g_assert_cmpuint(commands(steps), <=, 6);
    wb_steps_end(steps);
}

static void begin(struct wb_steps *steps)
{
    wb_steps_begin(steps, PLENTY);
    wb_steps_file(steps, "f", OLD, "old");
    g_string_truncate(steps->history, 0);
}

static void test_renamed_over(void)
{
    struct wb_steps steps;
    begin(&steps);
    for (unsigned i = 0; i < ROUNDS; i++)
        replace(&steps, FIRST + i);
    check(&steps, FIRST + ROUNDS - 1);
}

static void test_removed_and_made(void)
{
    struct wb_steps steps;
    begin(&steps);
    for (unsigned i = 0; i < ROUNDS; i++) {
        g_assert_cmpuint(wb_remove(&steps, WB_ROOT, "f"), ==, PH_ST_OK);
        make(&steps, "f", FIRST + i);
    }
    check(&steps, FIRST + ROUNDS - 1);
}

static void test_removed_and_renamed(void)
{
    struct wb_steps steps;
    begin(&steps);
    for (unsigned i = 0; i < ROUNDS; i++) {
        g_assert_cmpuint(wb_remove(&steps, WB_ROOT, "f"), ==, PH_ST_OK);
        replace(&steps, FIRST + i);
    }
    check(&steps, FIRST + ROUNDS - 1);
}

/* What replaced goes without a trace; what it replaced at the server goes all the same. */
static void test_removed_in_the_end(void)
{
    struct wb_steps steps;
    begin(&steps);
    for (unsigned i = 0; i < ROUNDS; i++)
        replace(&steps, FIRST + i);
    g_assert_cmpuint(wb_remove(&steps, WB_ROOT, "f"), ==, PH_ST_OK);
    wb_steps_flush(&steps);
    g_assert_null(wb_model_node(steps.world.server, OLD));
    g_assert_null(strstr(steps.history->str, "CREATE"));
    g_assert_nonnull(strstr(steps.history->str, "REMOVE"));
    g_assert_cmpuint(commands(&steps), <=, 2);
    wb_steps_end(&steps);
}

/* The server replaces the old file in one step, as the program did. */
static void test_never_without(void)
{
    struct wb_steps steps;
    begin(&steps);
    for (unsigned i = 0; i < ROUNDS; i++)
        replace(&steps, FIRST + i);
    wb_steps_flush(&steps);
    g_assert_null(strstr(steps.history->str, "REMOVE"));
    g_assert_nonnull(strstr(steps.history->str, "RENAME"));
    wb_steps_end(&steps);
}

/* Somebody waits for what is on its way: that is left as it is. */
static void test_what_is_due_stays(void)
{
    struct wb_steps steps;
    begin(&steps);
    replace(&steps, FIRST);
    struct wb_asked *sync = wb_sync(&steps, WB_ROOT);
    replace(&steps, FIRST + 1);
    wb_world_settle(&steps.world);
    g_assert_true(sync->done);
    wb_world_drop(sync);
    g_assert_null(wb_model_node(steps.world.server, OLD));
    check(&steps, FIRST + 1);
}

/* Who replaces without end has it at the server every few seconds. */
static void test_age_goes_on(void)
{
    struct wb_steps steps;
    begin(&steps);
    unsigned i = 0;
    for (uint64_t until_ms = steps.world.now.ms + 2 * FLUSH_AGE_MS; steps.world.now.ms < until_ms; i++) {
        replace(&steps, FIRST + i);
        wb_world_tick(&steps.world, FLUSH_AGE_MS / ROUNDS);
        wb_world_settle(&steps.world);
    }
    g_assert_null(wb_model_node(steps.world.server, OLD));
    wb_steps_end(&steps);
}

/* What is made under a name waits for what happened to the name before what vanished. */
static void test_name_waits(void)
{
    struct wb_steps steps;
    begin(&steps);
    g_assert_cmpuint(wb_remove(&steps, WB_ROOT, "f"), ==, PH_ST_OK);
    make(&steps, "f", FIRST);
    g_assert_cmpuint(wb_remove(&steps, WB_ROOT, "f"), ==, PH_ST_OK);
    make(&steps, "f", FIRST + 1);
    wb_world_flush(&steps.world, 0);
    g_autofree char *sent = wb_steps_sent(&steps);
    g_assert_cmpstr(sent, ==, "REMOVE");
    check(&steps, FIRST + 1);
}

/* The same where that was there when the one that vanished came in between. */
static void test_name_inherits(void)
{
    struct wb_steps steps;
    begin(&steps);
    wb_steps_file(&steps, "tmp", OLD + 1, "old");
    g_string_truncate(steps.history, 0);
    g_assert_cmpuint(wb_remove(&steps, WB_ROOT, "tmp"), ==, PH_ST_OK);
    replace(&steps, FIRST);
    replace(&steps, FIRST + 1);
    wb_world_flush(&steps.world, 0);
    g_autofree char *sent = wb_steps_sent(&steps);
    g_assert_cmpstr(sent, ==, "REMOVE");
    check(&steps, FIRST + 1);
}

/* What waits for the making of a directory comes and goes, and all that is left is made in it. */
static void test_many_come_and_go(void)
{
    enum { MADE_DIRECTORY = 50, MANY = 300, KEPT_EACH = 10, BATCH = 40 };
    struct wb_steps steps;
    begin(&steps);
    g_assert_cmpuint(wb_mkdir(&steps, WB_ROOT, "d", MADE_DIRECTORY), ==, PH_ST_OK);
    for (unsigned i = 0; i < MANY + BATCH; i++) {
        g_autofree char *name = g_strdup_printf("n%u", i);
        g_autofree char *old = g_strdup_printf("n%u", i - BATCH);
        if (i < MANY)
            g_assert_cmpuint(wb_create(&steps, MADE_DIRECTORY, name, FIRST + i, FIRST + i), ==, PH_ST_OK);
        if (i < MANY)
            g_assert_cmpuint(wb_close_handle(&steps, FIRST + i, FIRST + i), ==, PH_ST_OK);
        if (i >= BATCH && (i - BATCH) % KEPT_EACH != 0)
            g_assert_cmpuint(wb_remove(&steps, MADE_DIRECTORY, old), ==, PH_ST_OK);
    }
    g_assert_cmpuint(steps.history->len, ==, 0); /* nothing was sent yet */
    wb_steps_flush(&steps);
    for (unsigned i = 0; i < MANY; i++)
        g_assert_cmpint(wb_model_node(steps.world.server, FIRST + i) != NULL, ==, i % KEPT_EACH == 0);
    g_assert_null(strstr(steps.history->str, "REMOVE"));
    g_assert_cmpuint(commands(&steps), <=, 1 + MANY / KEPT_EACH + 2);
    wb_steps_end(&steps);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/wb supersede/renamed over, again and again", test_renamed_over);
    g_test_add_func("/wb supersede/removed and made, again and again", test_removed_and_made);
    g_test_add_func("/wb supersede/removed and renamed, again and again", test_removed_and_renamed);
    g_test_add_func("/wb supersede/removed in the end", test_removed_in_the_end);
    g_test_add_func("/wb supersede/the server is never without the name", test_never_without);
    g_test_add_func("/wb supersede/what somebody waits for is left as it is", test_what_is_due_stays);
    g_test_add_func("/wb supersede/it reaches the server every few seconds", test_age_goes_on);
    g_test_add_func("/wb supersede/a name waits for what happened to it before", test_name_waits);
    g_test_add_func("/wb supersede/also when that was seen by what vanished only", test_name_inherits);
    g_test_add_func("/wb supersede/many come and go in a directory that waits", test_many_come_and_go);
    return g_test_run();
}
