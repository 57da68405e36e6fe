/* What the server applied is kept until it is stable: docs/decisions/0015-owned.md. */
#include <string.h>
#include <sys/stat.h>

#include "client/core/tests/wb_power.h"
#include "ph_commands.h"
#include "runtime/base/limits.h"

enum { PLENTY = 1 << 20, STABLE_MS = 5000 };

/* Files in two directories, one of them moved, one removed; all of it is at the server. */
static void make_some(struct wb_steps *steps)
{
    g_assert_cmpuint(wb_create(steps, WB_ROOT, "f", 10, 1), ==, PH_ST_OK);
    g_assert_cmpuint(wb_write(steps, 10, 1, 0, "first"), ==, PH_ST_OK);
    wb_steps_flush(steps);
    g_assert_cmpuint(wb_write(steps, 10, 1, 5, ", more"), ==, PH_ST_OK);
    g_assert_cmpuint(wb_mkdir(steps, WB_ROOT, "d", 11), ==, PH_ST_OK);
    wb_steps_flush(steps);
    g_assert_cmpuint(wb_create(steps, 11, "g", 12, 0), ==, PH_ST_OK);
    g_assert_cmpuint(wb_create(steps, WB_ROOT, "short", 13, 0), ==, PH_ST_OK);
    wb_steps_flush(steps);
    g_assert_cmpuint(wb_rename(steps, WB_ROOT, "f", "h"), ==, PH_ST_OK);
    g_assert_cmpuint(wb_remove(steps, WB_ROOT, "short"), ==, PH_ST_OK);
    wb_steps_flush(steps);
}

static void assert_some(const struct wb_steps *steps)
{
    wb_assert_text(steps, 10, "first, more");
    g_assert_true(wb_has_name(steps, WB_ROOT, "h"));
    g_assert_false(wb_has_name(steps, WB_ROOT, "f"));
    g_assert_true(wb_has_name(steps, 11, "g"));
    g_assert_false(wb_has_name(steps, WB_ROOT, "short"));
    g_assert_cmpuint(steps->world.failed->len, ==, 0);
}

static void begin_with_some(struct wb_steps *steps)
{
    wb_power_begin(steps, PLENTY);
    make_some(steps);
}

/* All of it is there in the end. */
static void end_with_some(struct wb_steps *steps)
{
    wb_world_settle(&steps->world);
    assert_some(steps);
    wb_steps_end(steps);
}

static void test_what_the_server_lost_is_made_again(void)
{
    struct wb_steps steps;
    begin_with_some(&steps);
    g_assert_cmpuint(wb_unstable_bytes(&steps), >, 0);
    wb_power_lose(&steps);
    wb_power_back(&steps, 2, 2);
    end_with_some(&steps);
}

static void test_a_second_loss_in_the_middle_loses_nothing(void)
{
    for (unsigned answered = 0; answered < 30; answered++) {
        struct wb_steps steps;
        begin_with_some(&steps);
        wb_power_lose(&steps);
        wb_power_back(&steps, 2, 2);
        for (unsigned i = 0; i < answered && steps.world.sent->len > 0; i++)
            wb_world_deliver(&steps.world, g_ptr_array_index(steps.world.sent, 0));
        if (answered % 2 == 0) /* what was made again is lost again, or is not */
            wb_power_lose(&steps);
        else
            wb_world_lose(&steps.world);
        wb_power_back(&steps, 3, 3);
        end_with_some(&steps);
    }
}

static void test_what_survived_is_not_changed(void)
{
    struct wb_steps steps;
    begin_with_some(&steps);
    wb_world_lose(&steps.world);
    wb_power_back(&steps, 2, 2);
    end_with_some(&steps);
}

/* The disk kept a file that was made, not its id, nor that it was removed. */
static void test_what_was_removed_does_not_survive_without_its_id(void)
{
    struct wb_steps steps;
    wb_power_begin(&steps, PLENTY);
    make_some(&steps);
    wb_power_lose(&steps);
    wb_model_survives(steps.world.server, WB_ROOT, "short", 1000, S_IFREG | 0644);
    wb_power_back(&steps, 2, 2);
    end_with_some(&steps);
}

static void test_what_was_moved_and_removed_does_not_survive_without_its_id(void)
{
    struct wb_steps steps;
    wb_power_begin(&steps, PLENTY);
    g_assert_cmpuint(wb_create(&steps, WB_ROOT, "f", 10, 0), ==, PH_ST_OK);
    wb_steps_flush(&steps);
    g_assert_cmpuint(wb_rename(&steps, WB_ROOT, "f", "h"), ==, PH_ST_OK);
    wb_steps_flush(&steps);
    g_assert_cmpuint(wb_remove(&steps, WB_ROOT, "h"), ==, PH_ST_OK);
    wb_steps_flush(&steps);
    wb_power_lose(&steps);
    wb_model_survives(steps.world.server, WB_ROOT, "h", 1000, S_IFREG | 0644);
    wb_power_back(&steps, 2, 2);
    wb_world_settle(&steps.world);
    g_assert_false(wb_has_name(&steps, WB_ROOT, "f"));
    g_assert_false(wb_has_name(&steps, WB_ROOT, "h"));
    g_assert_cmpuint(steps.world.failed->len, ==, 0);
    wb_steps_end(&steps);
}

/* What a file replaced, that was removed then, is not there again. */
static void test_what_was_replaced_by_what_was_removed_is_gone(void)
{
    struct wb_steps steps;
    wb_power_begin(&steps, PLENTY);
    g_assert_cmpuint(wb_create(&steps, WB_ROOT, "old", 10, 0), ==, PH_ST_OK);
    wb_steps_flush(&steps);
    wb_world_tick(&steps.world, STABLE_MS);
    wb_world_settle(&steps.world);
    g_assert_cmpuint(wb_unstable_bytes(&steps), ==, 0);
    g_assert_cmpuint(wb_create(&steps, WB_ROOT, "new", 20, 0), ==, PH_ST_OK);
    wb_steps_flush(&steps);
    g_assert_cmpuint(wb_rename(&steps, WB_ROOT, "new", "old"), ==, PH_ST_OK);
    wb_steps_flush(&steps);
    g_assert_cmpuint(wb_remove(&steps, WB_ROOT, "old"), ==, PH_ST_OK);
    wb_steps_flush(&steps);
    wb_power_lose(&steps);
    wb_model_survives(steps.world.server, WB_ROOT, "old", 10, S_IFREG | 0644);
    wb_power_back(&steps, 2, 2);
    wb_world_settle(&steps.world);
    g_assert_false(wb_has_name(&steps, WB_ROOT, "old"));
    g_assert_false(wb_has_name(&steps, WB_ROOT, "new"));
    g_assert_cmpuint(steps.world.failed->len, ==, 0);
    wb_steps_end(&steps);
}

/* The disk kept its directory, too. */
static void test_what_was_removed_with_its_directory_does_not_survive(void)
{
    struct wb_steps steps;
    wb_power_begin(&steps, PLENTY);
    g_assert_cmpuint(wb_mkdir(&steps, WB_ROOT, "d", 11), ==, PH_ST_OK);
    wb_steps_flush(&steps);
    g_assert_cmpuint(wb_create(&steps, 11, "f", 12, 0), ==, PH_ST_OK);
    wb_steps_flush(&steps);
    g_assert_cmpuint(wb_remove(&steps, 11, "f"), ==, PH_ST_OK);
    wb_steps_flush(&steps);
    g_assert_cmpuint(wb_rmdir(&steps, WB_ROOT, "d"), ==, PH_ST_OK);
    wb_steps_flush(&steps);
    wb_power_lose(&steps);
    wb_model_survives(steps.world.server, WB_ROOT, "d", 1000, S_IFDIR | 0755);
    wb_model_survives(steps.world.server, 1000, "f", 1001, S_IFREG | 0644);
    wb_power_back(&steps, 2, 2);
    wb_world_settle(&steps.world);
    g_assert_false(wb_has_name(&steps, WB_ROOT, "d"));
    g_assert_cmpuint(steps.world.failed->len, ==, 0);
    wb_steps_end(&steps);
}

/* A name that was given again survived as it was last. */
static void test_a_removed_file_is_not_made_where_there_is_another_one(void)
{
    struct wb_steps steps;
    wb_power_begin(&steps, PLENTY);
    g_assert_cmpuint(wb_create(&steps, WB_ROOT, "f", 10, 0), ==, PH_ST_OK);
    wb_steps_flush(&steps);
    g_assert_cmpuint(wb_remove(&steps, WB_ROOT, "f"), ==, PH_ST_OK);
    wb_steps_flush(&steps);
    g_assert_cmpuint(wb_create(&steps, WB_ROOT, "f", 20, 1), ==, PH_ST_OK);
    g_assert_cmpuint(wb_write(&steps, 20, 1, 0, "second"), ==, PH_ST_OK);
    wb_steps_flush(&steps);
    wb_world_lose(&steps.world);
    wb_power_back(&steps, 2, 2);
    wb_world_settle(&steps.world);
    wb_assert_text(&steps, 20, "second");
    g_assert_true(wb_has_name(&steps, WB_ROOT, "f"));
    g_assert_null(wb_model_node(steps.world.server, 10));
    g_assert_cmpuint(steps.world.failed->len, ==, 0);
    wb_steps_end(&steps);
}

static void test_a_server_that_lost_nothing_is_sent_nothing(void)
{
    struct wb_steps steps;
    begin_with_some(&steps);
    wb_world_lose(&steps.world);
    g_string_truncate(steps.history, 0);
    wb_power_back(&steps, 2, 1);
    wb_world_settle(&steps.world);
    g_assert_null(strstr(steps.history->str, "CREATE"));
    g_assert_null(strstr(steps.history->str, "GETATTR"));
    g_assert_cmpuint(wb_unstable_bytes(&steps), >, 0);
    wb_steps_end(&steps);
}

static void test_what_is_stable_is_kept_no_longer(void)
{
    struct wb_steps steps;
    begin_with_some(&steps);
    wb_world_tick(&steps.world, STABLE_MS - 1);
    g_assert_cmpuint(wb_world_count(&steps.world, PH_CMD_SYNC), ==, 0);
    wb_world_tick(&steps.world, 1);
    g_assert_cmpuint(wb_world_count(&steps.world, PH_CMD_SYNC), ==, 1);
    g_assert_cmpuint(wb_create(&steps, WB_ROOT, "behind", 20, 0), ==, PH_ST_OK);
    wb_world_flush(&steps.world, 0);
    wb_world_deliver(&steps.world, wb_world_find(&steps.world, PH_CMD_CREATE));
    wb_world_settle(&steps.world);
    uint64_t behind = wb_unstable_bytes(&steps); /* what was answered after that had been asked */
    g_assert_cmpuint(behind, >, 0);
    wb_world_tick(&steps.world, STABLE_MS);
    wb_world_settle(&steps.world);
    g_assert_cmpuint(wb_unstable_bytes(&steps), ==, 0);
    wb_world_tick(&steps.world, STABLE_MS);
    g_assert_cmpuint(wb_world_count(&steps.world, PH_CMD_SYNC), ==, 0);
    wb_steps_end(&steps);
}

static void test_a_sync_that_failed_makes_nothing_stable(void)
{
    struct wb_steps steps;
    begin_with_some(&steps);
    wb_world_tick(&steps.world, STABLE_MS);
    wb_world_refuse(&steps.world, wb_world_find(&steps.world, PH_CMD_SYNC), PH_ST_IO_ERROR);
    g_assert_cmpuint(wb_unstable_bytes(&steps), >, 0);
    wb_power_lose(&steps);
    wb_power_back(&steps, 2, 2);
    end_with_some(&steps);
}

static void test_what_others_changed_is_put_aside(void)
{
    struct wb_steps steps;
    wb_power_begin(&steps, PLENTY);
    g_assert_cmpuint(wb_create(&steps, WB_ROOT, "f", 10, 1), ==, PH_ST_OK);
    g_assert_cmpuint(wb_write(&steps, 10, 1, 0, "mine"), ==, PH_ST_OK);
    wb_steps_flush(&steps);
    wb_world_lose(&steps.world);
    struct wb_node *node = wb_model_node(steps.world.server, 10);
    g_byte_array_set_size(node->data, 0);
    g_byte_array_append(node->data, (const uint8_t *) "theirs", 6);
    node->version += 1000;
    wb_power_back(&steps, 2, 2);
    wb_world_settle(&steps.world);
    wb_assert_text(&steps, 10, "theirs");
    g_assert_cmpuint(steps.world.failed->len, ==, 1);
    g_assert_cmpuint(ph_wb_take_error(steps.world.wb, 10), ==, PH_ST_STALE);
    wb_steps_end(&steps);
}

/* The next command of that kind, as it was executed. */
static struct wb_sent *executed(struct wb_steps *steps, uint16_t command)
{
    while (wb_world_find(&steps->world, command) == NULL)
        wb_world_deliver(&steps->world, g_ptr_array_index(steps->world.sent, 0));
    struct wb_sent *sent = wb_world_find(&steps->world, command);
    wb_world_execute(&steps->world, sent);
    return sent;
}

static void begin_with_theirs(struct wb_steps *steps)
{
    wb_power_begin(steps, PLENTY);
    g_assert_cmpuint(wb_create(steps, WB_ROOT, "f", 10, 1), ==, PH_ST_OK);
    g_assert_cmpuint(wb_write(steps, 10, 1, 0, "mine"), ==, PH_ST_OK);
    wb_steps_flush(steps);
    wb_world_lose(&steps->world);
    wb_power_back(steps, 2, 2);
}

static void they_write(struct wb_steps *steps)
{
    struct wb_node *node = wb_model_node(steps->world.server, 10);
    g_byte_array_set_size(node->data, 0);
    g_byte_array_append(node->data, (const uint8_t *) "theirs", 6);
    node->version += 1000;
}

static void end_with_theirs(struct wb_steps *steps)
{
    wb_world_settle(&steps->world);
    wb_assert_text(steps, 10, "theirs");
    g_assert_cmpuint(steps->world.failed->len, ==, 1);
    g_assert_cmpuint(ph_wb_take_error(steps->world.wb, 10), ==, PH_ST_STALE);
    wb_steps_end(steps);
}

/* Who holds it was asked what it is like (R-9.5-10): that says nothing of its version. */
static void test_what_others_are_changing_is_put_aside(void)
{
    struct wb_steps steps;
    begin_with_theirs(&steps);
    they_write(&steps);
    struct wb_sent *look = executed(&steps, PH_CMD_GETATTR);
    ((Pohmel__GetattrReply *) look->reply.message)->attr->version = 0;
    wb_world_deliver(&steps.world, look);
    end_with_theirs(&steps);
}

static void test_what_others_change_after_a_look_is_put_aside(void)
{
    struct wb_steps steps;
    begin_with_theirs(&steps);
    wb_world_deliver(&steps.world, executed(&steps, PH_CMD_GETATTR));
    they_write(&steps);
    end_with_theirs(&steps);
}

/* Only its making was ours, and it is there: nothing is lost by what others did with it. */
static void test_what_was_made_and_is_there_is_no_loss(void)
{
    struct wb_steps steps;
    wb_power_begin(&steps, PLENTY);
    g_assert_cmpuint(wb_create(&steps, WB_ROOT, "f", 10, 1), ==, PH_ST_OK);
    wb_steps_flush(&steps);
    wb_world_lose(&steps.world);
    struct wb_node *node = wb_model_node(steps.world.server, 10);
    g_byte_array_append(node->data, (const uint8_t *) "theirs", 6);
    node->version += 1000;
    wb_power_back(&steps, 2, 2);
    wb_world_settle(&steps.world);
    wb_assert_text(&steps, 10, "theirs");
    g_assert_cmpuint(steps.world.failed->len, ==, 0);
    g_assert_cmpuint(ph_wb_take_error(steps.world.wb, 10), ==, PH_ST_OK);
    wb_steps_end(&steps);
}

/* What was under way was done, or was not; the server cannot say any more. */
static void test_what_was_under_way_was_not_changed_by_others(void)
{
    struct wb_steps steps;
    wb_power_begin(&steps, PLENTY);
    g_assert_cmpuint(wb_create(&steps, WB_ROOT, "f", 10, 1), ==, PH_ST_OK);
    g_assert_cmpuint(wb_write(&steps, 10, 1, 0, "mine"), ==, PH_ST_OK);
    wb_steps_flush(&steps);
    g_assert_cmpuint(wb_write(&steps, 10, 1, 4, ", all of it"), ==, PH_ST_OK);
    wb_world_flush(&steps.world, 0);
    while (wb_world_find(&steps.world, PH_CMD_WRITE) == NULL)
        wb_world_deliver(&steps.world, g_ptr_array_index(steps.world.sent, 0));
    wb_world_execute(&steps.world, wb_world_find(&steps.world, PH_CMD_WRITE));
    wb_world_lose(&steps.world);
    wb_power_back(&steps, 2, 2);
    wb_world_settle(&steps.world);
    wb_steps_flush(&steps);
    g_assert_cmpuint(steps.world.failed->len, ==, 0);
    wb_assert_text(&steps, 10, "mine, all of it");
    wb_steps_end(&steps);
}

/* Clocks differ: a time that is later than any of ours may be that of what others did before. The version
 * that we know of the file, or an older one, says that nobody changed it since. */
static void test_a_known_version_is_nobody_elses_whatever_its_time(void)
{
    struct wb_steps steps;
    wb_power_begin(&steps, PLENTY);
    g_assert_cmpuint(wb_create(&steps, WB_ROOT, "f", 10, 1), ==, PH_ST_OK);
    g_assert_cmpuint(wb_write(&steps, 10, 1, 0, "mine"), ==, PH_ST_OK);
    wb_steps_flush(&steps);
    g_assert_cmpuint(wb_write(&steps, 10, 1, 4, ", all of it"), ==, PH_ST_OK);
    wb_world_flush(&steps.world, 0);
    while (wb_world_find(&steps.world, PH_CMD_WRITE) == NULL)
        wb_world_deliver(&steps.world, g_ptr_array_index(steps.world.sent, 0));
    wb_world_lose(&steps.world);
    wb_model_node(steps.world.server, 10)->modified.seconds += 1000;
    wb_power_back(&steps, 2, 2);
    wb_world_settle(&steps.world);
    wb_steps_flush(&steps);
    g_assert_cmpuint(steps.world.failed->len, ==, 0);
    wb_assert_text(&steps, 10, "mine, all of it");
    wb_steps_end(&steps);
}

/* sync(2): what it answered for is not made again, where what was done since cannot be. */
static void test_what_a_program_had_made_stable_is_not_kept(void)
{
    struct wb_steps steps;
    begin_with_some(&steps);
    Pohmel__Caller caller = POHMEL__CALLER__INIT;
    Pohmel__SyncRequest sync = POHMEL__SYNC_REQUEST__INIT;
    sync.caller = &caller;
    sync.object = WB_ROOT;
    sync.tree = true;
    struct wb_asked *asked = wb_world_ask(&steps.world, PH_CMD_SYNC, &sync, NULL);
    wb_world_settle(&steps.world);
    g_assert_true(asked->done);
    g_assert_cmpuint(asked->reply.status, ==, PH_ST_OK);
    g_assert_cmpuint(wb_unstable_bytes(&steps), ==, 0);
    wb_world_drop(asked);
    wb_steps_end(&steps);
}

static void test_everything_else_waits_until_it_is_done(void)
{
    struct wb_steps steps;
    begin_with_some(&steps);
    wb_power_lose(&steps);
    struct wb_asked *early = wb_sync(&steps, 10); /* there is no session */
    wb_power_back(&steps, 2, 2);
    struct wb_asked *late = wb_sync(&steps, 12);
    for (unsigned i = 0; i < 3; i++) {
        g_assert_cmpuint(steps.world.sent->len, ==, 1);
        g_assert_cmpuint(wb_world_count(&steps.world, PH_CMD_SYNC), ==, 0);
        wb_world_deliver(&steps.world, g_ptr_array_index(steps.world.sent, 0));
    }
    wb_world_settle(&steps.world);
    g_assert_true(early->done && late->done);
    g_assert_cmpuint(early->reply.status, ==, PH_ST_OK);
    wb_world_drop(early);
    wb_world_drop(late);
    assert_some(&steps);
    wb_steps_end(&steps);
}

static void test_what_is_dirty_goes_on_after_it(void)
{
    struct wb_steps steps;
    begin_with_some(&steps);
    g_assert_cmpuint(wb_write(&steps, 10, 1, 0, "FIRST"), ==, PH_ST_OK);
    g_assert_cmpuint(wb_create(&steps, 11, "late", 14, 0), ==, PH_ST_OK);
    wb_power_lose(&steps);
    wb_power_back(&steps, 2, 2);
    wb_world_settle(&steps.world);
    wb_steps_flush(&steps);
    wb_assert_text(&steps, 10, "FIRST, more");
    g_assert_true(wb_has_name(&steps, 11, "late"));
    g_assert_cmpuint(steps.world.failed->len, ==, 0);
    wb_steps_end(&steps);
}

static void test_writers_wait_when_too_much_is_not_stable(void)
{
    struct wb_steps steps;
    wb_steps_begin_owned(&steps, 100000, 50000);
    ph_wb_server(steps.world.wb, 1, 1);
    g_assert_cmpuint(wb_create(&steps, WB_ROOT, "f", 10, 1), ==, PH_ST_OK);
    wb_steps_flush(&steps);
    struct wb_asked *last = NULL;
    for (unsigned i = 0; i < 8 && (last == NULL || last->done); i++) {
        if (last != NULL)
            wb_world_drop(last);
        last = wb_write_later(&steps, 10, 1, i * UINT64_C(40000), 40000);
        wb_world_flush(&steps.world, 0);
        for (guint at = 0; at < steps.world.sent->len;) {
            struct wb_sent *sent = g_ptr_array_index(steps.world.sent, at);
            if (sent->command == PH_CMD_SYNC)
                at++;
            else
                wb_world_deliver(&steps.world, sent);
        }
    }
    g_assert_false(last->done);
    g_assert_cmpuint(wb_world_count(&steps.world, PH_CMD_SYNC), ==, 1);
    wb_world_settle(&steps.world);
    g_assert_true(last->done);
    wb_world_drop(last);
    wb_steps_end(&steps);
}

static void test_fsync_lets_go_of_what_it_was_about(void)
{
    struct wb_steps steps;
    wb_power_begin(&steps, PLENTY);
    g_assert_cmpuint(wb_create(&steps, WB_ROOT, "f", 10, 1), ==, PH_ST_OK);
    wb_steps_flush(&steps);
    uint64_t name = wb_unstable_bytes(&steps);
    g_assert_cmpuint(wb_write(&steps, 10, 1, 0, "some text that is written"), ==, PH_ST_OK);
    wb_steps_flush(&steps);
    g_assert_cmpuint(wb_unstable_bytes(&steps), >, name);
    struct wb_asked *sync = wb_sync(&steps, 10);
    wb_world_settle(&steps.world);
    wb_world_drop(sync);
    g_assert_cmpuint(wb_unstable_bytes(&steps), <=, name);
    wb_steps_end(&steps);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/wb_owned/what the server lost is made again", test_what_the_server_lost_is_made_again);
    g_test_add_func("/wb_owned/a second loss in the middle loses nothing",
                    test_a_second_loss_in_the_middle_loses_nothing);
    g_test_add_func("/wb_owned/what survived is not changed", test_what_survived_is_not_changed);
    g_test_add_func("/wb_owned/what was removed does not survive without its id",
                    test_what_was_removed_does_not_survive_without_its_id);
    g_test_add_func("/wb_owned/what was moved and removed does not survive without its id",
                    test_what_was_moved_and_removed_does_not_survive_without_its_id);
    g_test_add_func("/wb_owned/what was replaced by what was removed is gone",
                    test_what_was_replaced_by_what_was_removed_is_gone);
    g_test_add_func("/wb_owned/what was removed with its directory does not survive",
                    test_what_was_removed_with_its_directory_does_not_survive);
    g_test_add_func("/wb_owned/a removed file is not made where there is another one",
                    test_a_removed_file_is_not_made_where_there_is_another_one);
    g_test_add_func("/wb_owned/a server that lost nothing is sent nothing",
                    test_a_server_that_lost_nothing_is_sent_nothing);
    g_test_add_func("/wb_owned/what is stable is kept no longer", test_what_is_stable_is_kept_no_longer);
    g_test_add_func("/wb_owned/a sync that failed makes nothing stable",
                    test_a_sync_that_failed_makes_nothing_stable);
    g_test_add_func("/wb_owned/what others changed is put aside", test_what_others_changed_is_put_aside);
    g_test_add_func("/wb_owned/what others are changing is put aside",
                    test_what_others_are_changing_is_put_aside);
    g_test_add_func("/wb_owned/what others change after a look is put aside",
                    test_what_others_change_after_a_look_is_put_aside);
    g_test_add_func("/wb_owned/what was made and is there is no loss",
                    test_what_was_made_and_is_there_is_no_loss);
    g_test_add_func("/wb_owned/what was under way was not changed by others",
                    test_what_was_under_way_was_not_changed_by_others);
    g_test_add_func("/wb_owned/a known version is nobody else's, whatever its time",
                    test_a_known_version_is_nobody_elses_whatever_its_time);
    g_test_add_func("/wb_owned/what a program had made stable is not kept",
                    test_what_a_program_had_made_stable_is_not_kept);
    g_test_add_func("/wb_owned/everything else waits until it is done",
                    test_everything_else_waits_until_it_is_done);
    g_test_add_func("/wb_owned/what is dirty goes on after it", test_what_is_dirty_goes_on_after_it);
    g_test_add_func("/wb_owned/writers wait when too much is not stable",
                    test_writers_wait_when_too_much_is_not_stable);
    g_test_add_func("/wb_owned/fsync lets go of what it was about", test_fsync_lets_go_of_what_it_was_about);
    return g_test_run();
}
