/* The promises of write-back when something is in the way: recalls, failures, sessions that are lost. */
#include <string.h>

#include "client/core/tests/wb_steps.h"

enum { PLENTY = 1 << 20 };

static uint64_t lease_of(const struct wb_steps *steps, uint64_t object)
{
    return wb_model_node(steps->world.server, object)->lease;
}

static void settle_and_drop(struct wb_steps *steps, struct wb_asked *asked, uint32_t status)
{
    wb_world_settle(&steps->world);
    g_assert_true(asked->done);
    g_assert_cmpuint(asked->reply.status, ==, status);
    wb_world_drop(asked);
}

/* --- Recalls --- */

static void test_recall_sends_all_first(void)
{
    struct wb_steps steps;
    wb_steps_begin(&steps, PLENTY);
    uint64_t lease = lease_of(&steps, WB_ROOT);
    g_assert_cmpuint(wb_create(&steps, WB_ROOT, "f", 10, 0), ==, PH_ST_OK);
    wb_world_recall(&steps.world, WB_ROOT, lease);
    g_assert_cmpuint(wb_world_count(&steps.world, PH_CMD_CREATE), ==, 1);
    g_assert_cmpuint(wb_create(&steps, WB_ROOT, "late", 11, 0), ==, UINT32_MAX);
    struct wb_asked *release = wb_release(&steps, lease);
    g_assert_cmpuint(wb_world_count(&steps.world, PH_CMD_LEASE_RELEASE), ==, 0);
    settle_and_drop(&steps, release, PH_ST_OK);
    const char *create = strstr(steps.history->str, "CREATE"),
               *released = strstr(steps.history->str, "LEASE_RELEASE");
    g_assert_true(create != NULL && released != NULL && create < released);
    g_assert_cmpuint(wb_create(&steps, WB_ROOT, "later", 12, 0), ==, UINT32_MAX);
    wb_world_settle(&steps.world);
    wb_steps_end(&steps);
}

static bool opened_before_release;

static void look_at_handles(void *data, struct wb_sent *sent)
{
    struct wb_steps *steps = data;
    uint64_t handle = 1;
    if (sent->command == PH_CMD_LEASE_RELEASE)
        opened_before_release = g_hash_table_contains(steps->world.server->handles, &handle);
}

static void test_recall_opens_files_first(void)
{
    struct wb_steps steps;
    wb_steps_begin(&steps, PLENTY);
    steps.world.executing = look_at_handles;
    opened_before_release = false;
    g_assert_cmpuint(wb_create(&steps, WB_ROOT, "f", 10, 1), ==, PH_ST_OK);
    wb_world_flush(&steps.world, 0);
    wb_world_deliver(&steps.world, wb_world_find(&steps.world, PH_CMD_CREATE));
    uint64_t lease = lease_of(&steps, 10);
    wb_world_recall(&steps.world, 10, lease);
    settle_and_drop(&steps, wb_release(&steps, lease), PH_ST_OK);
    g_assert_true(opened_before_release);
    wb_steps_end(&steps);
}

/* The server may leave out the lease on what was made (R-9.9-2). */
static void test_release_of_the_directory_waits_for_what_got_no_lease(void)
{
    struct wb_steps steps;
    wb_steps_begin(&steps, PLENTY);
    uint64_t lease = lease_of(&steps, WB_ROOT);
    g_assert_cmpuint(wb_create(&steps, WB_ROOT, "f", 10, 1), ==, PH_ST_OK);
    g_assert_cmpuint(wb_write(&steps, 10, 1, 1000, "behind a hole"), ==, PH_ST_OK);
    wb_world_flush(&steps.world, 0);
    struct wb_sent *create = wb_world_find(&steps.world, PH_CMD_CREATE);
    wb_world_execute(&steps.world, create);
    const Pohmel__TransactReply *reply = (const Pohmel__TransactReply *) create->reply.message;
    reply->results[0]->create->attr->lease = 0;
    wb_model_node(steps.world.server, 10)->lease = 0;
    wb_world_deliver(&steps.world, create);
    wb_world_recall(&steps.world, WB_ROOT, lease);
    struct wb_asked *release = wb_release(&steps, lease);
    for (struct wb_sent *other; (other = wb_world_find(&steps.world, PH_CMD_SETATTR)) != NULL;)
        wb_world_deliver(&steps.world, other);
    g_assert_cmpuint(wb_world_count(&steps.world, PH_CMD_OPEN), ==, 1);
    g_assert_cmpuint(wb_world_count(&steps.world, PH_CMD_LEASE_RELEASE), ==, 0);
    settle_and_drop(&steps, release, PH_ST_OK);
    const char *written = strstr(steps.history->str, "WRITE"),
               *released = strstr(steps.history->str, "LEASE_RELEASE");
    g_assert_true(written != NULL && released != NULL && written < released);
    wb_steps_end(&steps);
}

static void test_own_ids_are_released_here(void)
{
    struct wb_steps steps;
    wb_steps_begin(&steps, PLENTY);
    g_assert_cmpuint(wb_create(&steps, WB_ROOT, "f", 10, 0), ==, PH_ST_OK);
    struct wb_asked *release = wb_release(&steps, 1); /* the first id that is given out here */
    settle_and_drop(&steps, release, PH_ST_OK);
    g_assert_null(strstr(steps.history->str, "LEASE_RELEASE"));
    wb_steps_end(&steps);
}

/* --- Failures --- */

static void test_no_space_for_a_file(void)
{
    struct wb_steps steps;
    wb_steps_begin(&steps, PLENTY);
    g_assert_cmpuint(wb_create(&steps, WB_ROOT, "f", 10, 0), ==, PH_ST_OK);
    g_assert_cmpuint(wb_create(&steps, WB_ROOT, "g", 11, 0), ==, PH_ST_OK);
    struct wb_asked *sync = wb_sync(&steps, 10);
    wb_world_refuse(&steps.world, wb_world_find(&steps.world, PH_CMD_CREATE), PH_ST_NO_SPACE);
    settle_and_drop(&steps, sync, PH_ST_NO_SPACE);
    g_assert_cmpuint(ph_wb_take_error(steps.world.wb, 10), ==, PH_ST_OK);
    g_assert_cmpuint(steps.world.failed->len, >, 0);
    wb_steps_flush(&steps);
    wb_world_tick(&steps.world, 60000);
    wb_world_settle(&steps.world);
    g_assert_null(wb_model_node(steps.world.server, 10));
    g_assert_nonnull(wb_model_node(steps.world.server, 11));
    wb_steps_end(&steps);
}

static void test_dependents_fail(void)
{
    struct wb_steps steps;
    wb_steps_begin(&steps, PLENTY);
    g_assert_cmpuint(wb_mkdir(&steps, WB_ROOT, "d", 20), ==, PH_ST_OK);
    g_assert_cmpuint(wb_create(&steps, 20, "f", 10, 0), ==, PH_ST_OK);
    struct wb_asked *sync = wb_sync(&steps, 10);
    wb_world_refuse(&steps.world, wb_world_find(&steps.world, PH_CMD_MKDIR), PH_ST_NO_SPACE);
    wb_world_settle(&steps.world);
    g_assert_true(sync->done);
    g_assert_cmpuint(sync->reply.status, !=, PH_ST_OK);
    wb_world_drop(sync);
    g_assert_null(strstr(steps.history->str, "CREATE"));
    g_assert_false(ph_wb_is_dirty(steps.world.wb, 10));
    wb_steps_end(&steps);
}

static void test_no_space_for_data(void)
{
    struct wb_steps steps;
    wb_steps_begin(&steps, PLENTY);
    wb_steps_file(&steps, "f", 10, "old");
    g_assert_cmpuint(wb_open(&steps, 10, 1), ==, UINT32_MAX);
    wb_world_settle(&steps.world);
    g_assert_cmpuint(wb_write(&steps, 10, 1, 0, "new"), ==, PH_ST_OK);
    wb_world_flush(&steps.world, 0);
    while (wb_world_find(&steps.world, PH_CMD_WRITE) == NULL)
        wb_world_deliver(&steps.world, g_ptr_array_index(steps.world.sent, 0));
    wb_world_refuse(&steps.world, wb_world_find(&steps.world, PH_CMD_WRITE), PH_ST_NO_SPACE);
    wb_world_settle(&steps.world);
    g_assert_cmpuint(ph_wb_take_error(steps.world.wb, 10), ==, PH_ST_NO_SPACE);
    g_assert_cmpuint(ph_wb_take_error(steps.world.wb, 10), ==, PH_ST_OK);
    struct ph_wb_counters counters;
    ph_wb_count(steps.world.wb, 0, &counters);
    g_assert_cmpuint(counters.dirty_bytes, ==, 0);
    wb_steps_end(&steps);
}

static void test_denied_attributes(void)
{
    struct wb_steps steps;
    wb_steps_begin(&steps, PLENTY);
    wb_steps_file(&steps, "f", 10, "old");
    g_assert_cmpuint(wb_chmod(&steps, 10, 0600), ==, PH_ST_OK);
    struct wb_asked *sync = wb_sync(&steps, 10);
    wb_world_refuse(&steps.world, wb_world_find(&steps.world, PH_CMD_SETATTR), PH_ST_ACCESS_DENIED);
    settle_and_drop(&steps, sync, PH_ST_ACCESS_DENIED);
    g_assert_cmpuint(wb_model_node(steps.world.server, 10)->mode & 07777, ==, 0644);
    wb_steps_end(&steps);
}

/* --- Sessions --- */

static void test_made_twice_is_made(void)
{
    struct wb_steps steps;
    wb_steps_begin(&steps, PLENTY);
    g_assert_cmpuint(wb_create(&steps, WB_ROOT, "f", 10, 0), ==, PH_ST_OK);
    wb_world_flush(&steps.world, 0);
    wb_world_execute(&steps.world, wb_world_find(&steps.world, PH_CMD_CREATE));
    wb_world_lose(&steps.world);
    g_string_truncate(steps.history, 0);
    wb_world_open(&steps.world);
    wb_world_settle(&steps.world);
    wb_steps_flush(&steps);
    g_assert_true(g_str_has_prefix(steps.history->str, "LEASE_ACQUIRE"));
    const char *create = strstr(steps.history->str, "CREATE");
    g_assert_nonnull(create);
    g_assert_nonnull(strstr(create, "GETATTR"));
    g_assert_cmpuint(steps.world.failed->len, ==, 0);
    g_assert_false(ph_wb_is_dirty(steps.world.wb, 10));
    wb_steps_end(&steps);
}

static void test_made_then_written_keeps_what_was_written(void)
{
    struct wb_steps steps;
    wb_steps_begin(&steps, PLENTY);
    g_assert_cmpuint(wb_create(&steps, WB_ROOT, "f", 10, 1), ==, PH_ST_OK);
    g_assert_cmpuint(wb_write(&steps, 10, 1, 0, "first"), ==, PH_ST_OK);
    wb_world_flush(&steps.world, 0);
    wb_world_execute(&steps.world, wb_world_find(&steps.world, PH_CMD_CREATE));
    g_assert_cmpuint(wb_write(&steps, 10, 1, 0, "FI"), ==, PH_ST_OK);
    wb_world_lose(&steps.world);
    wb_world_open(&steps.world);
    wb_world_settle(&steps.world);
    wb_steps_flush(&steps);
    g_autofree char *text = wb_steps_text(&steps, 10);
    g_assert_cmpstr(text, ==, "FIrst");
    g_assert_cmpuint(steps.world.failed->len, ==, 0);
    wb_steps_end(&steps);
}

static void test_removed_twice_is_removed(void)
{
    struct wb_steps steps;
    wb_steps_begin(&steps, PLENTY);
    wb_steps_file(&steps, "f", 10, "old");
    g_assert_cmpuint(wb_remove(&steps, WB_ROOT, "f"), ==, PH_ST_OK);
    wb_world_flush(&steps.world, 0);
    wb_world_execute(&steps.world, wb_world_find(&steps.world, PH_CMD_REMOVE));
    wb_world_lose(&steps.world);
    wb_world_open(&steps.world);
    wb_world_settle(&steps.world);
    wb_steps_flush(&steps);
    g_assert_false(ph_wb_is_dirty(steps.world.wb, WB_ROOT));
    g_assert_cmpuint(ph_wb_take_error(steps.world.wb, WB_ROOT), ==, PH_ST_OK);
    g_assert_cmpuint(steps.world.failed->len, ==, 0);
    wb_steps_end(&steps);
}

static void test_replaced_twice_is_replaced(void)
{
    struct wb_steps steps;
    wb_steps_begin(&steps, PLENTY);
    wb_steps_file(&steps, "a", 10, "old");
    wb_steps_file(&steps, "b", 11, "new");
    g_assert_cmpuint(wb_rename(&steps, WB_ROOT, "b", "a"), ==, PH_ST_OK);
    wb_world_flush(&steps.world, 0);
    wb_world_execute(&steps.world, wb_world_find(&steps.world, PH_CMD_RENAME));
    wb_world_lose(&steps.world);
    wb_world_open(&steps.world);
    wb_world_settle(&steps.world);
    wb_steps_flush(&steps);
    g_assert_cmpuint(steps.world.failed->len, ==, 0);
    g_assert_false(ph_wb_is_dirty(steps.world.wb, WB_ROOT));
    wb_steps_end(&steps);
}

/* The same when the session is lost. */
static void begin_lost(struct wb_steps *steps)
{
    wb_steps_begin_written(steps, PLENTY);
    wb_world_lose(&steps->world);
}

static void test_dirty_survives_a_lost_session(void)
{
    struct wb_steps steps;
    begin_lost(&steps);
    wb_world_open(&steps.world);
    settle_and_drop(&steps, wb_sync(&steps, 10), PH_ST_OK);
    g_autofree char *text = wb_steps_text(&steps, 10);
    g_assert_cmpstr(text, ==, "new");
    wb_steps_end(&steps);
}

/* Whether a write of ours was under way or not when the session was lost: it does not cut off, nor stand in,
 * what somebody else wrote afterwards. */
static void test_what_others_wrote_is_not_overwritten(void)
{
    for (int sent = 0; sent < 2; sent++) {
        struct wb_steps steps;
        wb_steps_begin_written(&steps, PLENTY);
        wb_world_flush(&steps.world, 0);
        while (sent && wb_world_find(&steps.world, PH_CMD_WRITE) == NULL)
            wb_world_deliver(&steps.world, g_ptr_array_index(steps.world.sent, 0));
        wb_world_lose(&steps.world);
        wb_steps_other_writes(&steps, 10, "what somebody else wrote");
        wb_world_open(&steps.world);
        settle_and_drop(&steps, wb_sync(&steps, 10), PH_ST_STALE);
        g_autofree char *text = wb_steps_text(&steps, 10);
        g_assert_cmpstr(text, ==, "what somebody else wrote");
        wb_steps_end(&steps);
    }
}

static void test_cut_after_writing_in_a_lost_session(void)
{
    struct wb_steps steps;
    wb_steps_begin(&steps, PLENTY);
    wb_steps_file(&steps, "f", 10, "old");
    g_assert_cmpuint(wb_open(&steps, 10, 1), ==, UINT32_MAX);
    wb_world_settle(&steps.world);
    g_assert_cmpuint(wb_write(&steps, 10, 1, 0, "newer and longer"), ==, PH_ST_OK);
    wb_world_flush(&steps.world, 0);
    while (wb_world_find(&steps.world, PH_CMD_WRITE) == NULL)
        wb_world_deliver(&steps.world, g_ptr_array_index(steps.world.sent, 0));
    wb_world_execute(&steps.world, wb_world_find(&steps.world, PH_CMD_WRITE));
    g_assert_cmpuint(wb_cut(&steps, 10, 1, 3), ==, PH_ST_OK);
    wb_world_lose(&steps.world);
    wb_world_open(&steps.world);
    settle_and_drop(&steps, wb_sync(&steps, 10), PH_ST_OK);
    g_autofree char *text = wb_steps_text(&steps, 10);
    g_assert_cmpstr(text, ==, "new");
    wb_steps_end(&steps);
}

static void test_changed_by_others_is_not_overwritten(void)
{
    struct wb_steps steps;
    begin_lost(&steps);
    struct wb_node *node = wb_model_node(steps.world.server, 10);
    memcpy(node->data->data, "NEW", 3);
    node->version++;
    wb_world_open(&steps.world);
    settle_and_drop(&steps, wb_sync(&steps, 10), PH_ST_STALE);
    g_autofree char *text = wb_steps_text(&steps, 10);
    g_assert_cmpstr(text, ==, "NEW");
    g_assert_cmpuint(steps.world.failed->len, >, 0);
    wb_steps_end(&steps);
}

/* A lease that another session of ours still had is refused at first: nothing is known by that. */
static void test_a_refused_lease_does_not_hide_changes_of_others(void)
{
    struct wb_steps steps;
    begin_lost(&steps);
    wb_steps_other_writes(&steps, 10, "what somebody else wrote");
    wb_world_open(&steps.world);
    struct wb_asked *sync = wb_sync(&steps, 10);
    g_assert_cmpuint(wb_world_count(&steps.world, PH_CMD_LEASE_ACQUIRE), >, 0);
    wb_world_refuse(&steps.world, wb_world_find(&steps.world, PH_CMD_LEASE_ACQUIRE), PH_ST_NO_LEASE);
    settle_and_drop(&steps, sync, PH_ST_STALE);
    g_autofree char *text = wb_steps_text(&steps, 10);
    g_assert_cmpstr(text, ==, "what somebody else wrote");
    wb_steps_end(&steps);
}

static void test_own_link_is_not_taken_for_others(void)
{
    struct wb_steps steps;
    wb_steps_begin(&steps, PLENTY);
    wb_steps_file(&steps, "f", 10, "old");
    g_assert_cmpuint(wb_link(&steps, 10, WB_ROOT, "g"), ==, PH_ST_OK);
    wb_steps_flush(&steps);
    g_assert_cmpuint(wb_chmod(&steps, 10, 0600), ==, PH_ST_OK);
    wb_world_lose(&steps.world);
    wb_world_open(&steps.world);
    settle_and_drop(&steps, wb_sync(&steps, 10), PH_ST_OK);
    g_assert_cmpuint(wb_model_node(steps.world.server, 10)->mode & 07777, ==, 0600);
    wb_steps_end(&steps);
}

static void test_opened_before_it_is_removed(void)
{
    struct wb_steps steps;
    uint64_t handle = 5;
    wb_steps_begin(&steps, PLENTY);
    wb_steps_file(&steps, "f", 10, "old");
    g_assert_cmpuint(wb_remove(&steps, WB_ROOT, "f"), ==, PH_ST_OK);
    g_assert_cmpuint(wb_open(&steps, 10, handle), ==, PH_ST_OK);
    wb_steps_flush(&steps);
    g_assert_cmpuint(steps.world.failed->len, ==, 0);
    g_assert_true(g_hash_table_contains(steps.world.server->handles, &handle));
    const char *opened = strstr(steps.history->str, "OPEN"), *removed = strstr(steps.history->str, "REMOVE");
    g_assert_true(opened != NULL && removed != NULL && opened < removed);
    wb_steps_end(&steps);
}

static void test_what_cannot_be_opened_is_not_asked_for_again(void)
{
    struct wb_steps steps;
    wb_steps_begin(&steps, PLENTY);
    g_assert_cmpuint(wb_create(&steps, WB_ROOT, "f", 10, 1), ==, PH_ST_OK);
    wb_world_flush(&steps.world, 0);
    wb_world_deliver(&steps.world, wb_world_find(&steps.world, PH_CMD_CREATE));
    wb_world_refuse(&steps.world, wb_world_find(&steps.world, PH_CMD_OPEN), PH_ST_STALE);
    uint64_t lease = lease_of(&steps, 10);
    wb_world_recall(&steps.world, 10, lease);
    settle_and_drop(&steps, wb_release(&steps, lease), PH_ST_OK);
    g_assert_null(strstr(steps.history->str, "OPEN"));
    wb_steps_end(&steps);
}

/* --- Transactions of several commands --- */

/* One command shows, others were staged before: what they concern is not known here. */
static void test_what_was_staged_goes_to_the_server(void)
{
    struct wb_steps steps;
    Pohmel__Caller caller = POHMEL__CALLER__INIT;
    Pohmel__MkdirRequest mkdir = POHMEL__MKDIR_REQUEST__INIT;
    Pohmel__Change change = POHMEL__CHANGE__INIT, *changes[] = {&change};
    Pohmel__TransactRequest transact = POHMEL__TRANSACT_REQUEST__INIT;
    mkdir.caller = &caller;
    mkdir.parent = WB_ROOT;
    mkdir.name = (ProtobufCBinaryData){.len = 4, .data = (uint8_t *) "last"};
    mkdir.object = 11;
    change.command_case = POHMEL__CHANGE__COMMAND_MKDIR;
    change.mkdir = &mkdir;
    transact.changes = changes;
    transact.n_changes = 1;
    transact.staged = 7;
    transact.parts = 2;
    wb_steps_begin(&steps, PLENTY);
    g_assert_cmpuint(wb_create(&steps, WB_ROOT, "dirty", 10, 0), ==, PH_ST_OK);
    struct wb_asked *asked = wb_world_ask(&steps.world, PH_CMD_TRANSACT, &transact, NULL);
    g_assert_false(asked->done);
    g_assert_cmpuint(wb_world_count(&steps.world, PH_CMD_CREATE), ==, 1);
    g_assert_cmpuint(wb_world_count(&steps.world, PH_CMD_MKDIR), ==, 0);
    settle_and_drop(&steps, asked, PH_ST_OK);
    const char *create = strstr(steps.history->str, "CREATE"), *made = strstr(steps.history->str, "MKDIR");
    g_assert_true(create != NULL && made != NULL && create < made);
    wb_steps_end(&steps);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/wb/a lease is given back when all below it was sent", test_recall_sends_all_first);
    g_test_add_func("/wb/a lease is given back when open files are open at the server",
                    test_recall_opens_files_first);
    g_test_add_func("/wb/a directory is given back when what was made in it without a lease is whole",
                    test_release_of_the_directory_waits_for_what_got_no_lease);
    g_test_add_func("/wb/leases of our own are given back here", test_own_ids_are_released_here);
    g_test_add_func("/wb/what is opened while its removal waits is open before it is removed",
                    test_opened_before_it_is_removed);
    g_test_add_func("/wb/what the server would not open is not asked for again",
                    test_what_cannot_be_opened_is_not_asked_for_again);
    g_test_add_func("/wb/no space for a file is told, and others go on", test_no_space_for_a_file);
    g_test_add_func("/wb/what depends on a failure fails", test_dependents_fail);
    g_test_add_func("/wb/no space for data is told once", test_no_space_for_data);
    g_test_add_func("/wb/denied attributes are told", test_denied_attributes);
    g_test_add_func("/wb/made in a lost session is made", test_made_twice_is_made);
    g_test_add_func("/wb/written after it was made in a lost session",
                    test_made_then_written_keeps_what_was_written);
    g_test_add_func("/wb/removed in a lost session is removed", test_removed_twice_is_removed);
    g_test_add_func("/wb/replaced in a lost session is replaced", test_replaced_twice_is_replaced);
    g_test_add_func("/wb/what is dirty survives a lost session", test_dirty_survives_a_lost_session);
    g_test_add_func("/wb/what others wrote after a session was lost is not overwritten",
                    test_what_others_wrote_is_not_overwritten);
    g_test_add_func("/wb/cut after it was written in a lost session",
                    test_cut_after_writing_in_a_lost_session);
    g_test_add_func("/wb/what others changed meanwhile is told, not overwritten",
                    test_changed_by_others_is_not_overwritten);
    g_test_add_func("/wb/a refused lease does not hide changes of others",
                    test_a_refused_lease_does_not_hide_changes_of_others);
    g_test_add_func("/wb/our own changes are not taken for others'", test_own_link_is_not_taken_for_others);
    g_test_add_func("/wb/what was staged goes to the server, behind what is dirty",
                    test_what_was_staged_goes_to_the_server);
    return g_test_run();
}
