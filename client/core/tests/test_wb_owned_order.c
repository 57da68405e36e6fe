/* What is made again of what was done at the same time, in one moment, or moved:
 * docs/decisions/0015-owned.md. */
#include "client/core/tests/wb_power.h"
#include "ph_commands.h"
#include "runtime/base/limits.h"

enum { PLENTY = 1 << 20 };

/* A second name that was moved; BLIND: by who did not say what it is. Nothing of it is lost. */
static void move_second_name(bool blind)
{
    struct wb_steps steps;
    wb_power_begin(&steps, PLENTY);
    g_assert_cmpuint(wb_create(&steps, WB_ROOT, "f", 10, 0), ==, PH_ST_OK);
    wb_steps_flush(&steps);
    g_assert_cmpuint(wb_link(&steps, 10, WB_ROOT, "n"), ==, PH_ST_OK);
    wb_steps_flush(&steps);
    if (blind) {
        struct wb_asked *release = wb_release(&steps, wb_model_node(steps.world.server, WB_ROOT)->lease);
        wb_world_settle(&steps.world);
        wb_world_drop(release);
        g_assert_cmpuint(wb_rename(&steps, WB_ROOT, "n", "m"), ==, UINT32_MAX);
        wb_world_deliver(&steps.world, wb_world_find(&steps.world, PH_CMD_RENAME));
    } else {
        g_assert_cmpuint(wb_rename(&steps, WB_ROOT, "n", "m"), ==, PH_ST_OK);
        wb_steps_flush(&steps);
    }
    g_assert_cmpuint(wb_unstable_bytes(&steps), >, 0);
    wb_world_lose(&steps.world);
    wb_power_back(&steps, 2, 2);
    wb_world_settle(&steps.world);
    g_assert_true(wb_has_name(&steps, WB_ROOT, "f"));
    g_assert_true(wb_has_name(&steps, WB_ROOT, "m"));
    g_assert_false(wb_has_name(&steps, WB_ROOT, "n"));
    g_assert_cmpuint(steps.world.failed->len, ==, 0);
    wb_steps_end(&steps);
}

static void test_a_name_that_was_moved_is_not_there_again(void)
{
    move_second_name(false);
    move_second_name(true);
}

static struct wb_asked *ask_chmod(struct wb_steps *steps, uint32_t mode)
{
    static Pohmel__Caller user = {
        .base = PROTOBUF_C_MESSAGE_INIT(&pohmel__caller__descriptor), .uid = 1000, .gid = 1000};
    Pohmel__SetattrRequest setattr = POHMEL__SETATTR_REQUEST__INIT;
    setattr.caller = &user;
    setattr.object = 10;
    setattr.which = PH_SET_MODE;
    setattr.mode = mode;
    return wb_world_ask(&steps->world, PH_CMD_SETATTR, &setattr, NULL);
}

/* Two programs at the same time, whose answers overtake each other. */
static void test_changes_of_a_file_are_made_again_in_the_order_of_the_server(void)
{
    struct wb_steps steps;
    wb_power_begin(&steps, PLENTY);
    g_assert_cmpuint(wb_create(&steps, WB_ROOT, "f", 10, 0), ==, PH_ST_OK);
    wb_steps_flush(&steps);
    struct wb_asked *release = wb_release(&steps, wb_model_node(steps.world.server, 10)->lease);
    wb_world_settle(&steps.world);
    wb_world_drop(release);
    struct wb_asked *asked[] = {ask_chmod(&steps, 0600), ask_chmod(&steps, 0640)};
    struct wb_sent *sent[] = {NULL, NULL};
    for (guint i = 0, count = 0; i < steps.world.sent->len && count < 2; i++) {
        struct wb_sent *one = g_ptr_array_index(steps.world.sent, i);
        if (one->command == PH_CMD_SETATTR)
            sent[count++] = one;
    }
    g_assert_nonnull(sent[1]);
    wb_world_execute(&steps.world, sent[0]);
    wb_world_execute(&steps.world, sent[1]);
    wb_world_deliver(&steps.world, sent[1]);
    wb_world_deliver(&steps.world, sent[0]);
    wb_world_settle(&steps.world);
    wb_world_drop(asked[0]);
    wb_world_drop(asked[1]);
    wb_power_lose(&steps);
    wb_power_back(&steps, 2, 2);
    wb_world_settle(&steps.world);
    g_assert_cmpuint(wb_model_node(steps.world.server, 10)->mode & 0777, ==, 0640);
    g_assert_cmpuint(steps.world.failed->len, ==, 0);
    wb_steps_end(&steps);
}

/* The mode of file 10 is set twice in one transaction. What the server did before is stable as well, where it
 * says that it is. */
static struct wb_asked *ask_several(struct wb_steps *steps, uint64_t object)
{
    static Pohmel__Caller user = {
        .base = PROTOBUF_C_MESSAGE_INIT(&pohmel__caller__descriptor), .uid = 1000, .gid = 1000};
    Pohmel__SetattrRequest setattr = POHMEL__SETATTR_REQUEST__INIT;
    Pohmel__Change change = POHMEL__CHANGE__INIT, *changes[2] = {&change, &change};
    Pohmel__TransactRequest message = POHMEL__TRANSACT_REQUEST__INIT;
    setattr.caller = &user;
    setattr.object = object;
    setattr.which = PH_SET_MODE;
    setattr.mode = 0600;
    change.command_case = POHMEL__CHANGE__COMMAND_SETATTR;
    change.setattr = &setattr;
    message.n_changes = G_N_ELEMENTS(changes);
    message.changes = changes;
    return wb_world_ask(&steps->world, PH_CMD_TRANSACT, &message, NULL);
}

static uint64_t unstable_after_several(bool unstable, uint64_t object)
{
    struct wb_steps steps;
    wb_power_begin(&steps, PLENTY);
    g_assert_cmpuint(wb_create(&steps, WB_ROOT, "f", 10, 1), ==, PH_ST_OK);
    wb_steps_flush(&steps);
    g_assert_cmpuint(wb_unstable_bytes(&steps), >, 0);
    steps.world.server->several_unstable = unstable;
    struct wb_asked *several = ask_several(&steps, object);
    struct wb_sent *sent = wb_world_find(&steps.world, PH_CMD_TRANSACT);
    g_assert_nonnull(sent);
    wb_world_deliver(&steps.world, sent);
    g_assert_true(several->done);
    wb_world_drop(several);
    uint64_t left = wb_unstable_bytes(&steps);
    wb_steps_end(&steps);
    return left;
}

static void test_several_commands_make_stable_what_was_before_them(void)
{
    g_assert_cmpuint(unstable_after_several(false, 10), ==, 0);
    g_assert_cmpuint(unstable_after_several(true, 10), >, 0);
    g_assert_cmpuint(unstable_after_several(false, 99), >, 0); /* there is no such object */
}

/* What is undone has another version than before, and was not changed by others. */
static void test_several_commands_that_failed_are_no_change_of_others(void)
{
    struct wb_steps steps;
    wb_power_begin(&steps, PLENTY);
    g_assert_cmpuint(wb_create(&steps, WB_ROOT, "f", 10, 1), ==, PH_ST_OK);
    g_assert_cmpuint(wb_write(&steps, 10, 1, 0, "text"), ==, PH_ST_OK);
    wb_steps_flush(&steps);
    struct wb_asked *several = ask_several(&steps, 10);
    wb_world_refuse(&steps.world, wb_world_find(&steps.world, PH_CMD_TRANSACT), PH_ST_NOT_FOUND);
    wb_world_drop(several);
    wb_model_node(steps.world.server, 10)->version++;
    wb_world_lose(&steps.world);
    wb_power_back(&steps, 2, 2);
    wb_world_settle(&steps.world);
    wb_assert_text(&steps, 10, "text");
    g_assert_cmpuint(steps.world.failed->len, ==, 0);
    wb_steps_end(&steps);
}

/* A change of attributes was under way when the session ended, so that another version may be ours: the time
 * of what was written is not. */
static void test_what_others_wrote_after_the_session_is_not_overwritten(void)
{
    struct wb_steps steps;
    wb_power_begin(&steps, PLENTY);
    g_assert_cmpuint(wb_create(&steps, WB_ROOT, "f", 10, 1), ==, PH_ST_OK);
    g_assert_cmpuint(wb_write(&steps, 10, 1, 0, "mine"), ==, PH_ST_OK);
    wb_steps_flush(&steps);
    g_assert_cmpuint(wb_chmod(&steps, 10, 0600), ==, PH_ST_OK);
    wb_world_flush(&steps.world, 0);
    g_assert_nonnull(wb_world_find(&steps.world, PH_CMD_SETATTR));
    wb_world_lose(&steps.world);
    wb_steps_other_writes(&steps, 10, "theirs");
    wb_power_back(&steps, 2, 2);
    wb_world_settle(&steps.world);
    wb_assert_text(&steps, 10, "theirs");
    g_assert_cmpuint(steps.world.failed->len, >=, 1); /* what was under way fails as well */
    g_assert_cmpuint(ph_wb_take_error(steps.world.wb, 10), ==, PH_ST_STALE);
    wb_steps_end(&steps);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/wb_owned_order/a name that was moved is not there again",
                    test_a_name_that_was_moved_is_not_there_again);
    g_test_add_func("/wb_owned_order/changes of a file are made again in the order of the server",
                    test_changes_of_a_file_are_made_again_in_the_order_of_the_server);
    g_test_add_func("/wb_owned_order/several commands make stable what was before them",
                    test_several_commands_make_stable_what_was_before_them);
    g_test_add_func("/wb_owned_order/several commands that failed are no change of others",
                    test_several_commands_that_failed_are_no_change_of_others);
    g_test_add_func("/wb_owned_order/what others wrote after the session is not overwritten",
                    test_what_others_wrote_after_the_session_is_not_overwritten);
    return g_test_run();
}
