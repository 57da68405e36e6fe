/* The promises of write-back while all goes well: what is answered here, what is sent, and in which order. */
#include <string.h>

#include "client/core/tests/wb_steps.h"

enum { PLENTY = 1 << 20, FLUSH_AGE_MS = 5000 };

static void assert_sent(const struct wb_steps *steps, const char *expected)
{
    g_autofree char *sent = wb_steps_sent(steps);
    g_assert_cmpstr(sent, ==, expected);
}

static void deliver_first(struct wb_steps *steps)
{
    g_assert_cmpuint(steps->world.sent->len, >, 0);
    wb_world_deliver(&steps->world, g_ptr_array_index(steps->world.sent, 0));
}

static void test_create_is_one_command(void)
{
    struct wb_steps steps;
    wb_steps_begin(&steps, PLENTY);
    g_assert_cmpuint(wb_create(&steps, WB_ROOT, "f", 10, 1), ==, PH_ST_OK);
    g_assert_cmpuint(wb_write(&steps, 10, 1, 0, "hello"), ==, PH_ST_OK);
    g_assert_cmpuint(wb_chmod(&steps, 10, 0600), ==, PH_ST_OK);
    g_assert_cmpuint(wb_close_handle(&steps, 10, 1), ==, PH_ST_OK);
    assert_sent(&steps, "");
    wb_world_flush(&steps.world, 0);
    assert_sent(&steps, "CREATE");
    const struct wb_sent *sent = wb_world_find(&steps.world, PH_CMD_CREATE);
    const Pohmel__CreateRequest *create = (const Pohmel__CreateRequest *) sent->inner;
    g_assert_cmpuint(create->length, ==, 5);
    g_assert_cmpuint(create->attributes->mode, ==, 0600);
    wb_world_settle(&steps.world);
    g_autofree char *text = wb_steps_text(&steps, 10);
    g_assert_cmpstr(text, ==, "hello");
    g_assert_cmpuint(wb_model_node(steps.world.server, 10)->mode & 07777, ==, 0600);
    g_assert_false(ph_wb_is_dirty(steps.world.wb, 10));
    wb_steps_end(&steps);
}

static void test_made_and_removed_sends_nothing(void)
{
    struct wb_steps steps;
    wb_steps_begin(&steps, PLENTY);
    g_assert_cmpuint(wb_create(&steps, WB_ROOT, "f", 10, 1), ==, PH_ST_OK);
    g_assert_cmpuint(wb_write(&steps, 10, 1, 0, "hello"), ==, PH_ST_OK);
    g_assert_cmpuint(wb_close_handle(&steps, 10, 1), ==, PH_ST_OK);
    g_assert_cmpuint(wb_remove(&steps, WB_ROOT, "f"), ==, PH_ST_OK);
    wb_steps_flush(&steps);
    g_assert_cmpstr(steps.history->str, ==, "");
    wb_steps_end(&steps);
}

static void test_rename_sends_the_last_name(void)
{
    struct wb_steps steps;
    wb_steps_begin(&steps, PLENTY);
    g_assert_cmpuint(wb_create(&steps, WB_ROOT, "f.tmp", 10, 0), ==, PH_ST_OK);
    g_assert_cmpuint(wb_rename(&steps, WB_ROOT, "f.tmp", "f"), ==, PH_ST_OK);
    wb_world_flush(&steps.world, 0);
    assert_sent(&steps, "CREATE");
    const struct wb_sent *sent = wb_world_find(&steps.world, PH_CMD_CREATE);
    const Pohmel__CreateRequest *create = (const Pohmel__CreateRequest *) sent->inner;
    g_assert_cmpmem(create->name.data, create->name.len, "f", 1);
    wb_world_settle(&steps.world);
    wb_steps_end(&steps);
}

static void assert_made_as(const struct wb_steps *steps, const char *name)
{
    const struct wb_sent *sent = wb_world_find(&steps->world, PH_CMD_CREATE);
    g_assert_nonnull(sent);
    const Pohmel__CreateRequest *create = (const Pohmel__CreateRequest *) sent->inner;
    g_assert_cmpmem(create->name.data, create->name.len, name, strlen(name));
}

static void test_link_takes_the_place_of_the_first_name(void)
{
    struct wb_steps steps;
    wb_steps_begin(&steps, PLENTY);
    g_assert_cmpuint(wb_create(&steps, WB_ROOT, "f.tmp", 10, 1), ==, PH_ST_OK);
    g_assert_cmpuint(wb_write(&steps, 10, 1, 0, "hello"), ==, PH_ST_OK);
    g_assert_cmpuint(wb_close_handle(&steps, 10, 1), ==, PH_ST_OK);
    g_assert_cmpuint(wb_link(&steps, 10, WB_ROOT, "f"), ==, PH_ST_OK);
    g_assert_cmpuint(wb_chmod(&steps, 10, 0444), ==, PH_ST_OK);
    g_assert_cmpuint(wb_remove(&steps, WB_ROOT, "f.tmp"), ==, PH_ST_OK);
    wb_world_flush(&steps.world, 0);
    assert_sent(&steps, "CREATE");
    assert_made_as(&steps, "f");
    wb_world_settle(&steps.world);
    g_autofree char *text = wb_steps_text(&steps, 10);
    g_assert_cmpstr(text, ==, "hello");
    g_assert_cmpuint(wb_model_node(steps.world.server, 10)->mode & 07777, ==, 0444);
    g_assert_cmpuint(wb_model_node(steps.world.server, 10)->links, ==, 1);
    wb_steps_end(&steps);
}

static void test_link_over_what_is_being_removed_stays_one(void)
{
    struct wb_steps steps;
    wb_steps_begin(&steps, PLENTY);
    wb_steps_file(&steps, "f", 11, "old");
    g_assert_cmpuint(wb_remove(&steps, WB_ROOT, "f"), ==, PH_ST_OK);
    g_assert_cmpuint(wb_create(&steps, WB_ROOT, "f.tmp", 10, 0), ==, PH_ST_OK);
    g_assert_cmpuint(wb_link(&steps, 10, WB_ROOT, "f"), ==, PH_ST_OK);
    g_assert_cmpuint(wb_remove(&steps, WB_ROOT, "f.tmp"), ==, PH_ST_OK);
    wb_steps_flush(&steps);
    g_assert_nonnull(strstr(steps.history->str, "LINK"));
    g_assert_null(wb_model_node(steps.world.server, 11));
    g_assert_cmpuint(wb_model_node(steps.world.server, 10)->links, ==, 1);
    wb_steps_end(&steps);
}

static void test_moved_and_removed_is_removed(void)
{
    struct wb_steps steps;
    wb_steps_begin(&steps, PLENTY);
    wb_steps_file(&steps, "a", 10, "old");
    g_assert_cmpuint(wb_rename(&steps, WB_ROOT, "a", "b"), ==, PH_ST_OK);
    g_assert_cmpuint(wb_remove(&steps, WB_ROOT, "b"), ==, PH_ST_OK);
    wb_world_flush(&steps.world, 0);
    assert_sent(&steps, "REMOVE");
    wb_world_settle(&steps.world);
    g_assert_null(wb_model_node(steps.world.server, 10));
    wb_steps_end(&steps);
}

static void test_moved_where_another_was_made_moves_first(void)
{
    struct wb_steps steps;
    wb_steps_begin(&steps, PLENTY);
    wb_steps_file(&steps, "a", 10, "old");
    g_assert_cmpuint(wb_rename(&steps, WB_ROOT, "a", "b"), ==, PH_ST_OK);
    g_assert_cmpuint(wb_create(&steps, WB_ROOT, "a", 11, 0), ==, PH_ST_OK);
    g_assert_cmpuint(wb_remove(&steps, WB_ROOT, "b"), ==, PH_ST_OK);
    wb_steps_flush(&steps);
    g_assert_null(wb_model_node(steps.world.server, 10));
    g_assert_nonnull(wb_model_node(steps.world.server, 11));
    wb_steps_end(&steps);
}

/* Version of OBJECT by GETATTR, which is to be answered at once and without the server. */
static uint64_t version_here(struct wb_steps *steps, uint64_t object)
{
    Pohmel__Caller user = POHMEL__CALLER__INIT;
    Pohmel__GetattrRequest message = POHMEL__GETATTR_REQUEST__INIT;
    message.caller = &user;
    message.object = object;
    struct wb_asked *asked = wb_world_ask(&steps->world, PH_CMD_GETATTR, &message, NULL);
    g_assert_true(asked->done);
    g_assert_cmpuint(asked->reply.status, ==, PH_ST_OK);
    uint64_t version = ((const Pohmel__GetattrReply *) asked->reply.message)->attr->version;
    wb_world_drop(asked);
    return version;
}

static void test_what_was_written_back_is_as_the_server_says(void)
{
    struct wb_steps steps;
    wb_steps_begin(&steps, PLENTY);
    g_assert_cmpuint(wb_mkdir(&steps, WB_ROOT, "d", 20), ==, PH_ST_OK);
    g_assert_cmpuint(wb_create(&steps, 20, "f", 10, 1), ==, PH_ST_OK);
    g_assert_cmpuint(wb_write(&steps, 10, 1, 0, "hello"), ==, PH_ST_OK);
    g_assert_cmpuint(wb_close_handle(&steps, 10, 1), ==, PH_ST_OK);
    wb_steps_flush(&steps);
    g_string_truncate(steps.history, 0);
    for (uint64_t object = 10; object <= 20; object += 10)
        g_assert_cmpuint(version_here(&steps, object), ==,
                         wb_model_node(steps.world.server, object)->version);
    g_assert_cmpuint(wb_chmod(&steps, 10, 0600), ==, PH_ST_OK);
    g_assert_cmpuint(version_here(&steps, 10), >, wb_model_node(steps.world.server, 10)->version);
    g_assert_cmpstr(steps.history->str, ==, "");
    wb_steps_end(&steps);
}

/* What is kept of OBJECT is TEXT; NULL: nothing. */
static void assert_kept(struct wb_steps *steps, uint64_t object, const char *text)
{
    struct ph_blob *kept = ph_wb_kept(steps->world.wb, object, &steps->world.now);
    if (text == NULL)
        g_assert_null(kept);
    else
        g_assert_cmpmem(kept->data, kept->len, text, strlen(text));
    ph_blob_unref(kept);
}

/* A small file, written back and closed. */
static void written_back(struct wb_steps *steps, const char *name, uint64_t object)
{
    g_assert_cmpuint(wb_create(steps, WB_ROOT, name, object, object), ==, PH_ST_OK);
    g_assert_cmpuint(wb_write(steps, object, object, 0, "hello"), ==, PH_ST_OK);
    g_assert_cmpuint(wb_close_handle(steps, object, object), ==, PH_ST_OK);
    wb_steps_flush(steps);
}

static void test_small_file_that_was_written_back_is_read_here(void)
{
    struct wb_steps steps;
    wb_steps_begin(&steps, PLENTY);
    written_back(&steps, "f", 10);
    assert_kept(&steps, 10, "hello");
    g_assert_cmpuint(version_here(&steps, 10), >, 0); /* its attributes are the server's now */
    g_assert_cmpuint(wb_chmod(&steps, 10, 0600), ==, PH_ST_OK);
    wb_steps_flush(&steps);
    assert_kept(&steps, 10, "hello");
    g_assert_cmpuint(wb_open(&steps, 10, 11), ==, UINT32_MAX);
    wb_world_settle(&steps.world);
    g_assert_cmpuint(wb_write(&steps, 10, 11, 1, "u"), ==, PH_ST_OK);
    assert_kept(&steps, 10, NULL);
    wb_steps_flush(&steps);
    assert_kept(&steps, 10, NULL);
    wb_steps_end(&steps);
}

static void test_what_was_kept_goes_with_the_lease(void)
{
    struct wb_steps steps;
    wb_steps_begin(&steps, PLENTY);
    written_back(&steps, "f", 10);
    written_back(&steps, "g", 11);
    struct ph_wb_actions actions;
    ph_wb_actions_init(&actions);
    ph_wb_recalled(steps.world.wb, 10, wb_model_node(steps.world.server, 10)->lease, &steps.world.now,
                   &actions);
    ph_wb_actions_clear(&actions);
    assert_kept(&steps, 10, NULL);
    assert_kept(&steps, 11, "hello");
    wb_world_lose(&steps.world);
    assert_kept(&steps, 11, NULL);
    wb_steps_end(&steps);
}

static void test_directory_before_what_is_in_it(void)
{
    struct wb_steps steps;
    wb_steps_begin(&steps, PLENTY);
    g_assert_cmpuint(wb_mkdir(&steps, WB_ROOT, "d", 20), ==, PH_ST_OK);
    g_assert_cmpuint(wb_create(&steps, 20, "f", 10, 0), ==, PH_ST_OK);
    wb_world_flush(&steps.world, 0);
    assert_sent(&steps, "MKDIR");
    deliver_first(&steps);
    assert_sent(&steps, "CREATE SETATTR"); /* the other tells when something was made in the root */
    wb_world_settle(&steps.world);
    g_assert_nonnull(wb_model_node(steps.world.server, 10));
    wb_steps_end(&steps);
}

static void test_remove_before_making_the_name_again(void)
{
    struct wb_steps steps;
    wb_steps_begin(&steps, PLENTY);
    wb_steps_file(&steps, "f", 10, "old");
    g_assert_cmpuint(wb_remove(&steps, WB_ROOT, "f"), ==, PH_ST_OK);
    g_assert_cmpuint(wb_create(&steps, WB_ROOT, "f", 11, 0), ==, PH_ST_OK);
    wb_world_flush(&steps.world, 0);
    assert_sent(&steps, "REMOVE");
    deliver_first(&steps);
    assert_sent(&steps, "CREATE");
    wb_world_settle(&steps.world);
    g_assert_null(wb_model_node(steps.world.server, 10));
    g_assert_nonnull(wb_model_node(steps.world.server, 11));
    wb_steps_end(&steps);
}

static void test_rights_after_what_was_made_under_them(void)
{
    struct wb_steps steps;
    wb_steps_begin(&steps, PLENTY);
    g_assert_cmpuint(wb_mkdir(&steps, WB_ROOT, "d", 20), ==, PH_ST_OK);
    wb_steps_flush(&steps);
    g_assert_cmpuint(wb_create(&steps, 20, "f", 10, 0), ==, PH_ST_OK);
    g_assert_cmpuint(wb_chmod(&steps, 20, 0555), ==, PH_ST_OK);
    wb_world_flush(&steps.world, 0);
    assert_sent(&steps, "CREATE");
    deliver_first(&steps);
    assert_sent(&steps, "SETATTR");
    wb_world_settle(&steps.world);
    g_assert_cmpuint(wb_model_node(steps.world.server, 20)->mode & 07777, ==, 0555);
    wb_steps_end(&steps);
}

static void test_data_before_it_replaces(void)
{
    struct wb_steps steps;
    wb_steps_begin(&steps, PLENTY);
    wb_steps_file(&steps, "a", 10, "old");
    wb_steps_file(&steps, "b", 11, "old");
    g_assert_cmpuint(wb_open(&steps, 11, 1), ==, UINT32_MAX);
    wb_world_settle(&steps.world);
    g_string_truncate(steps.history, 0);
    g_assert_cmpuint(wb_write(&steps, 11, 1, 0, "new"), ==, PH_ST_OK);
    g_assert_cmpuint(wb_rename(&steps, WB_ROOT, "b", "a"), ==, PH_ST_OK);
    wb_steps_flush(&steps);
    const char *write = strstr(steps.history->str, "WRITE"), *rename = strstr(steps.history->str, "RENAME");
    g_assert_nonnull(write);
    g_assert_nonnull(rename);
    g_assert_true(write < rename);
    g_assert_null(wb_model_node(steps.world.server, 10));
    wb_steps_end(&steps);
}

static void test_sync_sends_what_it_is_about(void)
{
    struct wb_steps steps;
    wb_steps_begin(&steps, PLENTY);
    g_assert_cmpuint(wb_mkdir(&steps, WB_ROOT, "d", 20), ==, PH_ST_OK);
    g_assert_cmpuint(wb_create(&steps, 20, "f", 10, 0), ==, PH_ST_OK);
    g_assert_cmpuint(wb_create(&steps, WB_ROOT, "other", 11, 0), ==, PH_ST_OK);
    struct wb_asked *sync = wb_sync(&steps, 10);
    g_assert_false(sync->done);
    wb_world_settle(&steps.world);
    g_assert_true(sync->done);
    g_assert_cmpuint(sync->reply.status, ==, PH_ST_OK);
    wb_world_drop(sync);
    g_assert_true(g_str_has_prefix(steps.history->str, "MKDIR CREATE"));
    g_assert_nonnull(strstr(steps.history->str, "SYNC"));
    g_assert_true(ph_wb_is_dirty(steps.world.wb, 11));
    g_assert_null(wb_model_node(steps.world.server, 11));
    wb_steps_end(&steps);
}

static void test_age(void)
{
    struct wb_steps steps;
    wb_steps_begin(&steps, PLENTY);
    g_assert_cmpuint(wb_create(&steps, WB_ROOT, "f", 10, 0), ==, PH_ST_OK);
    wb_world_tick(&steps.world, FLUSH_AGE_MS - 1);
    assert_sent(&steps, "");
    wb_world_tick(&steps.world, 1);
    assert_sent(&steps, "CREATE");
    wb_world_settle(&steps.world);
    wb_steps_end(&steps);
}

static void test_limit_holds_writers(void)
{
    struct wb_steps steps;
    struct wb_asked *writes[4];
    wb_steps_begin(&steps, 10000);
    g_assert_cmpuint(wb_create(&steps, WB_ROOT, "f", 10, 1), ==, PH_ST_OK);
    for (int i = 0; i < 4; i++)
        writes[i] = wb_write_later(&steps, 10, 1, (uint64_t) i * 6000, 6000);
    g_assert_true(writes[0]->done);
    g_assert_false(writes[3]->done);
    wb_world_settle(&steps.world);
    wb_steps_flush(&steps);
    for (int i = 0; i < 4; i++) {
        g_assert_true(writes[i]->done);
        g_assert_cmpuint(writes[i]->reply.status, ==, PH_ST_OK);
        wb_world_drop(writes[i]);
    }
    g_assert_cmpuint(wb_model_node(steps.world.server, 10)->data->len, ==, 24000);
    wb_steps_end(&steps);
}

enum { PIECE = 65536 }; /* payload_max_bytes of these worlds */

static void test_large_files_are_sent_early(void)
{
    struct wb_steps steps;
    wb_steps_begin(&steps, PLENTY);
    wb_steps_file(&steps, "f", 10, "x");
    wb_open(&steps, 10, 7);
    wb_world_settle(&steps.world);
    for (uint64_t i = 0; i < 7; i++)
        wb_world_drop(wb_write_later(&steps, 10, 7, i * PIECE, PIECE));
    g_assert_cmpuint(steps.world.sent->len, ==, 0);
    struct wb_asked *last = wb_write_later(&steps, 10, 7, UINT64_C(7) * PIECE, PIECE);
    g_assert_true(last->done);
    g_assert_cmpuint(wb_world_count(&steps.world, PH_CMD_OPEN), ==, 1);
    wb_world_settle(&steps.world);
    g_assert_cmpuint(wb_model_node(steps.world.server, 10)->data->len, ==, 8 * PIECE);
    wb_world_drop(last);
    wb_steps_end(&steps);
}

/* Between half of the limit and all of it writers go on with what arrives; where nothing does, as time
 * passes. */
static void test_writers_are_slowed_before_they_stop(void)
{
    struct wb_steps steps;
    struct ph_wb_counters counters;
    unsigned written = 0, waited = 0;
    wb_steps_begin(&steps, 64 * PIECE);
    wb_steps_file(&steps, "f", 10, "x");
    wb_open(&steps, 10, 7);
    wb_world_settle(&steps.world);
    while (written < 200) {
        struct wb_asked *write = wb_write_later(&steps, 10, 7, (uint64_t) written * PIECE, PIECE);
        for (; !write->done; waited++) {
            if (steps.world.sent->len > 0)
                deliver_first(&steps);
            else
                wb_world_tick(&steps.world, 10);
        }
        g_assert_cmpuint(write->reply.status, ==, PH_ST_OK);
        wb_world_drop(write);
        ph_wb_count(steps.world.wb, 0, &counters);
        g_assert_cmpuint(counters.dirty_bytes, <=, 62 * PIECE); /* it comes nowhere near the limit */
        written++;
    }
    g_assert_cmpuint(waited, >, 100);
    struct wb_asked *stuck = NULL;
    for (unsigned i = 0; i < 40 && (stuck == NULL || stuck->done); i++) {
        if (stuck != NULL)
            wb_world_drop(stuck);
        stuck = wb_write_later(&steps, 10, 7, (uint64_t) (written + i) * PIECE, PIECE);
    }
    g_assert_false(stuck->done);
    for (unsigned i = 0; i < 3 && !stuck->done; i++)
        wb_world_tick(&steps.world, 100);
    g_assert_true(stuck->done);
    wb_world_drop(stuck);
    wb_steps_flush(&steps);
    wb_steps_end(&steps);
}

static void test_pieces_make_room(void)
{
    struct wb_steps steps;
    struct wb_asked *writes[4];
    wb_steps_begin(&steps, 2 * PIECE + 4000);
    wb_steps_file(&steps, "f", 10, "x");
    wb_open(&steps, 10, 7);
    wb_world_settle(&steps.world);
    for (uint64_t i = 0; i < 4; i++)
        writes[i] = wb_write_later(&steps, 10, 7, i * PIECE, PIECE);
    g_assert_true(writes[1]->done);
    g_assert_false(writes[2]->done); /* more than half is dirty, and nothing arrives */
    wb_world_tick(&steps.world, 10);
    wb_world_deliver(&steps.world, wb_world_find(&steps.world, PH_CMD_OPEN));
    g_assert_cmpuint(wb_world_count(&steps.world, PH_CMD_WRITE), ==, 2);
    wb_world_deliver(&steps.world, wb_world_find(&steps.world, PH_CMD_WRITE));
    g_assert_true(writes[2]->done);
    g_assert_false(writes[3]->done);
    wb_steps_flush(&steps);
    g_assert_cmpuint(wb_model_node(steps.world.server, 10)->data->len, ==, 4 * PIECE);
    for (int i = 0; i < 4; i++)
        wb_world_drop(writes[i]);
    wb_steps_end(&steps);
}

static void test_cancel_of_what_waits(void)
{
    struct wb_steps steps;
    struct ph_wb_actions actions;
    wb_steps_begin(&steps, PLENTY);
    g_assert_cmpuint(wb_create(&steps, WB_ROOT, "f", 10, 0), ==, PH_ST_OK);
    struct wb_asked *sync = wb_sync(&steps, 10);
    g_assert_false(sync->done);
    ph_wb_actions_init(&actions);
    g_assert_cmpuint(ph_wb_cancel(steps.world.wb, sync->ticket, &actions), ==, 0);
    for (size_t i = 0; i < actions.count; i++)
        if (actions.items[i]->kind == PH_WB_COMPLETE)
            actions.items[i]->fn(actions.items[i]->data, &actions.items[i]->reply);
    ph_wb_actions_clear(&actions);
    g_assert_true(sync->done);
    g_assert_cmpuint(sync->reply.status, ==, PH_ST_CANCELLED);
    wb_world_drop(sync);
    wb_world_settle(&steps.world);
    g_assert_null(strstr(steps.history->str, "SYNC"));
    wb_steps_end(&steps);
}

static void test_old_attributes_are_patched(void)
{
    struct wb_steps steps;
    Pohmel__Caller caller = POHMEL__CALLER__INIT;
    Pohmel__ReaddirRequest message = POHMEL__READDIR_REQUEST__INIT;
    wb_steps_begin(&steps, PLENTY);
    wb_steps_file(&steps, "f", 10, "old");
    g_assert_cmpuint(wb_open(&steps, 10, 1), ==, UINT32_MAX);
    wb_world_settle(&steps.world);
    message.caller = &caller;
    message.object = WB_ROOT;
    message.count = 60;
    message.bytes_max = 65536;
    message.attributes = true;
    struct wb_asked *listing = wb_world_ask(&steps.world, PH_CMD_READDIR, &message, NULL);
    wb_world_execute(&steps.world, wb_world_find(&steps.world, PH_CMD_READDIR));
    g_assert_cmpuint(wb_write(&steps, 10, 1, 0, "newer and longer"), ==, PH_ST_OK);
    deliver_first(&steps);
    g_assert_true(listing->done);
    const Pohmel__ReaddirReply *reply = (const Pohmel__ReaddirReply *) listing->reply.message;
    g_assert_cmpuint(reply->n_entries, ==, 3);
    g_assert_cmpuint(reply->entries[2]->attr->size, ==, strlen("newer and longer"));
    wb_world_drop(listing);
    wb_steps_flush(&steps);
    wb_steps_end(&steps);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/wb/a new file is one CREATE with data and attributes", test_create_is_one_command);
    g_test_add_func("/wb/made and removed sends nothing", test_made_and_removed_sends_nothing);
    g_test_add_func("/wb/what was not sent yet is made under its last name", test_rename_sends_the_last_name);
    g_test_add_func("/wb/what was linked and lost its first name is made under the other",
                    test_link_takes_the_place_of_the_first_name);
    g_test_add_func("/wb/a link whose name is being removed stays a link",
                    test_link_over_what_is_being_removed_stays_one);
    g_test_add_func("/wb/what was written back is as the server says",
                    test_what_was_written_back_is_as_the_server_says);
    g_test_add_func("/wb/a small file that was written back is read here",
                    test_small_file_that_was_written_back_is_read_here);
    g_test_add_func("/wb/what was kept of a file goes with the lease",
                    test_what_was_kept_goes_with_the_lease);
    g_test_add_func("/wb/writers are slowed before they stop", test_writers_are_slowed_before_they_stop);
    g_test_add_func("/wb/what was moved and removed is only removed", test_moved_and_removed_is_removed);
    g_test_add_func("/wb/what was moved out of the way of another is moved first",
                    test_moved_where_another_was_made_moves_first);
    g_test_add_func("/wb/a large file is sent while it is written", test_large_files_are_sent_early);
    g_test_add_func("/wb/each piece that arrives lets a writer go on", test_pieces_make_room);
    g_test_add_func("/wb/a directory is made before what is in it", test_directory_before_what_is_in_it);
    g_test_add_func("/wb/a name is taken away before it is made again",
                    test_remove_before_making_the_name_again);
    g_test_add_func("/wb/rights of a directory change after what was made in it",
                    test_rights_after_what_was_made_under_them);
    g_test_add_func("/wb/data is written before it replaces", test_data_before_it_replaces);
    g_test_add_func("/wb/fsync sends what it is about and no more", test_sync_sends_what_it_is_about);
    g_test_add_func("/wb/what is old enough is sent", test_age);
    g_test_add_func("/wb/writers wait while too much is dirty, and go on", test_limit_holds_writers);
    g_test_add_func("/wb/a question that waits can be taken back", test_cancel_of_what_waits);
    g_test_add_func("/wb/answers with old attributes are brought up to date",
                    test_old_attributes_are_patched);
    return g_test_run();
}
