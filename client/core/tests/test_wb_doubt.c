/* Transactions of several commands whose answer was lost with the power of the server: what came before them
 * is made again where they were not executed, and only then. docs/decisions/0015-owned.md. */
#include "client/core/tests/wb_power.h"
#include "ph_commands.h"
#include "runtime/base/limits.h"

enum { PLENTY = 1 << 20, KEY = 815, FILE_ID = 10 };

/* File "f" gets another mode, and loses its name; KEY_OF: 0 for a client that cannot ask. */
static struct wb_asked *ask_several(struct wb_steps *steps, uint64_t key_of)
{
    static Pohmel__Caller user = {
        .base = PROTOBUF_C_MESSAGE_INIT(&pohmel__caller__descriptor), .uid = 1000, .gid = 1000};
    Pohmel__SetattrRequest setattr = POHMEL__SETATTR_REQUEST__INIT;
    Pohmel__RemoveRequest remove = POHMEL__REMOVE_REQUEST__INIT;
    Pohmel__Change first = POHMEL__CHANGE__INIT, second = POHMEL__CHANGE__INIT,
                   *changes[] = {&first, &second};
    Pohmel__TransactRequest message = POHMEL__TRANSACT_REQUEST__INIT;
    setattr.caller = remove.caller = &user;
    setattr.object = FILE_ID;
    setattr.which = PH_SET_MODE;
    setattr.mode = 0600;
    first.command_case = POHMEL__CHANGE__COMMAND_SETATTR;
    first.setattr = &setattr;
    remove.parent = WB_ROOT;
    remove.name = (ProtobufCBinaryData){1, (uint8_t *) "f"};
    second.command_case = POHMEL__CHANGE__COMMAND_REMOVE;
    second.remove = &remove;
    message.n_changes = G_N_ELEMENTS(changes);
    message.changes = changes;
    message.key = key_of;
    return wb_world_ask(&steps->world, PH_CMD_TRANSACT, &message, NULL);
}

static struct wb_asked *several;

/* A file with some text, which the server does not say is stable; and the transaction on its way. */
static struct wb_sent *begin(struct wb_steps *steps, uint64_t key_of)
{
    wb_power_begin(steps, PLENTY);
    g_assert_cmpuint(wb_create(steps, WB_ROOT, "f", FILE_ID, 1), ==, PH_ST_OK);
    g_assert_cmpuint(wb_write(steps, FILE_ID, 1, 0, "text"), ==, PH_ST_OK);
    g_assert_cmpuint(wb_close_handle(steps, FILE_ID, 1), ==, PH_ST_OK);
    wb_steps_flush(steps);
    g_assert_cmpuint(wb_unstable_bytes(steps), >, 0);
    several = ask_several(steps, key_of);
    struct wb_sent *sent = wb_world_find(&steps->world, PH_CMD_TRANSACT);
    g_assert_nonnull(sent);
    return sent;
}

/* It was not answered. */
static void end(struct wb_steps *steps)
{
    g_assert_true(several->done);
    wb_world_drop(several);
    wb_steps_end(steps);
}

static void test_what_came_before_one_that_was_executed_is_not_made_again(void)
{
    struct wb_steps steps;
    wb_world_execute(&steps.world, begin(&steps, KEY));
    wb_world_lose(&steps.world); /* all of it is stable */
    wb_power_back(&steps, 2, 2);
    wb_world_settle(&steps.world);
    g_assert_cmpuint(steps.world.server->outcomes, ==, 1);
    g_assert_false(wb_has_name(&steps, WB_ROOT, "f"));
    g_assert_cmpuint(steps.world.failed->len, ==, 0);
    g_assert_cmpuint(wb_unstable_bytes(&steps), ==, 0);
    end(&steps);
}

static void test_what_came_before_one_that_was_not_is_made_again(void)
{
    struct wb_steps steps;
    begin(&steps, KEY);
    wb_power_lose(&steps);
    wb_power_back(&steps, 2, 2);
    wb_world_settle(&steps.world);
    g_assert_cmpuint(steps.world.server->outcomes, ==, 1);
    wb_assert_text(&steps, FILE_ID, "text");
    g_assert_cmpuint(steps.world.failed->len, ==, 0);
    end(&steps);
}

/* What is undone has another version than before. */
static void test_one_that_was_undone_is_no_change_of_others(void)
{
    struct wb_steps steps;
    begin(&steps, KEY);
    wb_model_node(steps.world.server, FILE_ID)->version += 2;
    wb_world_lose(&steps.world);
    wb_power_back(&steps, 2, 2);
    wb_world_settle(&steps.world);
    wb_assert_text(&steps, FILE_ID, "text");
    g_assert_cmpuint(steps.world.failed->len, ==, 0);
    end(&steps);
}

static void test_it_is_asked_for_again_when_the_power_is_lost_again(void)
{
    struct wb_steps steps;
    wb_world_execute(&steps.world, begin(&steps, KEY));
    wb_world_lose(&steps.world);
    wb_power_back(&steps, 2, 2);
    g_assert_nonnull(wb_world_find(&steps.world, PH_CMD_OUTCOME));
    g_assert_null(wb_world_find(&steps.world, PH_CMD_GETATTR)); /* nothing else is asked before that */
    wb_world_lose(&steps.world);
    wb_power_back(&steps, 3, 3);
    wb_world_settle(&steps.world);
    g_assert_cmpuint(steps.world.server->outcomes, ==, 1);
    g_assert_false(wb_has_name(&steps, WB_ROOT, "f"));
    end(&steps);
}

/* The server has forgotten, or cannot say: as if nothing had been asked. */
static void test_nothing_is_lost_where_the_server_does_not_know(void)
{
    struct wb_steps steps;
    begin(&steps, KEY);
    wb_power_lose(&steps);
    wb_power_back(&steps, 2, 2);
    wb_world_refuse(&steps.world, wb_world_find(&steps.world, PH_CMD_OUTCOME), PH_ST_LIMIT);
    wb_world_settle(&steps.world);
    wb_assert_text(&steps, FILE_ID, "text");
    end(&steps);
    begin(&steps, 0);
    wb_power_lose(&steps);
    wb_power_back(&steps, 2, 2);
    wb_world_settle(&steps.world);
    g_assert_cmpuint(steps.world.server->outcomes, ==, 0);
    wb_assert_text(&steps, FILE_ID, "text");
    end(&steps);
}

/* Where the session is lost and nothing else nothing is made again, now or later. */
static void test_nothing_is_asked_where_nothing_was_lost(void)
{
    struct wb_steps steps;
    begin(&steps, KEY);
    wb_world_lose(&steps.world);
    wb_power_back(&steps, 2, 1);
    wb_world_settle(&steps.world);
    wb_world_lose(&steps.world);
    wb_power_back(&steps, 3, 3);
    wb_world_settle(&steps.world);
    g_assert_cmpuint(steps.world.server->outcomes, ==, 0);
    wb_assert_text(&steps, FILE_ID, "text");
    end(&steps);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/wb_doubt/what came before one that was executed is not made again",
                    test_what_came_before_one_that_was_executed_is_not_made_again);
    g_test_add_func("/wb_doubt/what came before one that was not is made again",
                    test_what_came_before_one_that_was_not_is_made_again);
    g_test_add_func("/wb_doubt/one that was undone is no change of others",
                    test_one_that_was_undone_is_no_change_of_others);
    g_test_add_func("/wb_doubt/it is asked for again when the power is lost again",
                    test_it_is_asked_for_again_when_the_power_is_lost_again);
    g_test_add_func("/wb_doubt/nothing is lost where the server does not know",
                    test_nothing_is_lost_where_the_server_does_not_know);
    g_test_add_func("/wb_doubt/nothing is asked where nothing was lost",
                    test_nothing_is_asked_where_nothing_was_lost);
    return g_test_run();
}
