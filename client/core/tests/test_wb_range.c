/* What is written under a lease on a range of a file that others write as well. docs/protocol.md, section 9.
 */
#include <string.h>

#include "client/core/tests/wb_steps.h"

enum { PLENTY = 1 << 24, FILE_ID = 10, HANDLE = 1, KIB = 1024, HALF = 512 * KIB, LATER_MS = 3000 };

static struct wb_node *node_of(const struct wb_steps *steps)
{
    return wb_model_node(steps->world.server, FILE_ID);
}

static bool goes_up(struct wb_steps *steps, uint64_t offset, const char *text)
{
    if (wb_write(steps, FILE_ID, HANDLE, offset, text) == PH_ST_OK)
        return false;
    wb_world_settle(&steps->world);
    return true;
}

/* A file of 1 MiB that somebody else writes as well: its lease was recalled. LEN bytes from START on are to
 * be had, and were asked for with a first write. */
static void begin(struct wb_steps *steps, uint64_t start, uint64_t len)
{
    wb_steps_begin(steps, PLENTY);
    wb_steps_file(steps, "f", FILE_ID, "0123456789");
    struct wb_node *node = node_of(steps);
    g_byte_array_set_size(node->data, 2 * HALF);
    memset(node->data->data + 10, 0, 2 * HALF - 10);
    wb_open(steps, FILE_ID, HANDLE);
    wb_world_settle(&steps->world);
    ph_wb_ranges(steps->world.wb, true);
    wb_world_recall(&steps->world, FILE_ID, node->lease);
    struct wb_asked *release = wb_release(steps, node->lease);
    wb_world_settle(&steps->world);
    g_assert_true(release->done);
    wb_world_drop(release);
    node->others = true;
    node->range_start = start;
    node->range_len = len;
    g_assert_true(goes_up(steps, start, "first"));
    g_assert_cmpuint(node->lease, !=, 0);
    g_string_truncate(steps->history, 0);
}

static uint64_t ranges(const struct wb_steps *steps)
{
    struct ph_wb_counters counters;
    ph_wb_count(steps->world.wb, steps->world.now.ms, &counters);
    return counters.ranges;
}

static void assert_bytes(const struct wb_steps *steps, uint64_t offset, const char *text)
{
    g_assert_cmpmem(node_of(steps)->data->data + offset, strlen(text), text, strlen(text));
}

static struct wb_asked *read_at(struct wb_steps *steps, uint64_t offset, uint32_t len)
{
    Pohmel__Caller caller = POHMEL__CALLER__INIT;
    Pohmel__ReadRequest message = POHMEL__READ_REQUEST__INIT;
    message.caller = &caller;
    message.object = FILE_ID;
    message.handle = HANDLE;
    message.offset = offset;
    message.length = len;
    return wb_world_ask(&steps->world, PH_CMD_READ, &message, NULL);
}

static void recall_part(struct wb_steps *steps, uint64_t start, uint64_t end, bool expected)
{
    struct wb_world *world = &steps->world;
    struct ph_wb_actions actions;
    ph_wb_actions_init(&actions);
    bool kept =
        ph_wb_recalled_part(world->wb, FILE_ID, node_of(steps)->lease, start, end, &world->now, &actions);
    g_assert_cmpint(kept, ==, expected);
    /* What the shell does: by way of submit. */
    for (size_t i = 0; i < actions.count; i++) {
        g_assert_cmpint(actions.items[i]->kind, ==, PH_WB_KEEP);
        Pohmel__LeaseReleaseRequest message = POHMEL__LEASE_RELEASE_REQUEST__INIT;
        Pohmel__Range range = POHMEL__RANGE__INIT;
        Pohmel__LeaseKept part = POHMEL__LEASE_KEPT__INIT, *parts[] = {&part};
        part.lease = actions.items[i]->lease;
        part.range = &range;
        range.offset = actions.items[i]->offset;
        range.length = actions.items[i]->len;
        message.n_parts = 1;
        message.parts = parts;
        wb_world_forget(wb_world_ask(world, PH_CMD_LEASE_RELEASE, &message, NULL));
    }
    ph_wb_actions_clear(&actions);
}

static void test_writes_inside_stay_here(void)
{
    struct wb_steps steps;
    begin(&steps, 0, HALF);
    for (unsigned i = 0; i < 100; i++)
        g_assert_false(goes_up(&steps, i * 100, "abc"));
    g_assert_cmpstr(steps.history->str, ==, "");
    g_assert_true(ph_wb_is_dirty(steps.world.wb, FILE_ID));
    wb_steps_flush(&steps);
    assert_bytes(&steps, 0, "abc");
    assert_bytes(&steps, 9900, "abc");
    g_assert_false(ph_wb_is_dirty(steps.world.wb, FILE_ID));
    /* Opened once, and no attributes are set. */
    g_assert_nonnull(strstr(steps.history->str, "OPEN WRITE"));
    g_assert_null(strstr(steps.history->str, "SETATTR"));
    g_string_truncate(steps.history, 0);
    g_assert_false(goes_up(&steps, 50, "d"));
    wb_steps_flush(&steps);
    g_assert_cmpstr(steps.history->str, ==, "WRITE");
    wb_steps_end(&steps);
}

static void test_writes_outside_go_through(void)
{
    struct wb_steps steps;
    begin(&steps, 0, HALF);
    g_assert_true(goes_up(&steps, HALF - 1, "ab"));
    g_assert_true(goes_up(&steps, HALF, "cd"));
    assert_bytes(&steps, HALF - 1, "acd");
    g_assert_false(goes_up(&steps, HALF - 2, "xy"));
    assert_bytes(&steps, HALF - 1, "acd");
    wb_steps_flush(&steps);
    assert_bytes(&steps, HALF - 2, "xycd");
    wb_steps_end(&steps);
}

/* Whoever moves on gets another range. */
static void test_a_range_that_is_not_used_goes_back(void)
{
    struct wb_steps steps;
    begin(&steps, 0, HALF);
    uint64_t lease = node_of(&steps)->lease;
    g_assert_false(goes_up(&steps, 5, "kept"));
    for (unsigned i = 0; i < 4; i++)
        g_assert_true(goes_up(&steps, HALF + 10 * i, "0123456789"));
    g_assert_cmpuint(node_of(&steps)->lease, ==, 0);
    assert_bytes(&steps, 5, "kept");
    node_of(&steps)->range_start = HALF;
    g_assert_true(goes_up(&steps, HALF + 100, "ask"));
    g_assert_cmpuint(node_of(&steps)->lease, >, lease);
    g_assert_false(goes_up(&steps, HALF + 200, "here"));
    wb_steps_flush(&steps);
    assert_bytes(&steps, HALF + 200, "here");
    wb_steps_end(&steps);
}

static void test_reads_show_what_was_written(void)
{
    struct wb_steps steps;
    begin(&steps, 0, HALF);
    g_assert_false(goes_up(&steps, 1000, "0123456789"));
    struct wb_asked *read = read_at(&steps, 1002, 4);
    g_assert_true(read->done);
    g_assert_cmpmem(read->reply.payload->data, read->reply.payload->len, "2345", 4);
    wb_world_drop(read);
    /* What is not all here is read at the server, when it has what is. */
    read = read_at(&steps, 998, 4);
    g_assert_false(read->done);
    wb_world_settle(&steps.world);
    g_assert_true(read->done);
    g_assert_cmpmem(read->reply.payload->data, read->reply.payload->len, "\0\00001", 4);
    wb_world_drop(read);
    /* What has nothing to do with it waits for nothing. */
    g_assert_false(goes_up(&steps, 1000, "abc"));
    g_string_truncate(steps.history, 0);
    read = read_at(&steps, 4000, 100);
    wb_world_settle(&steps.world);
    g_assert_cmpstr(steps.history->str, ==, "READ");
    wb_world_drop(read);
    wb_steps_end(&steps);
}

static void test_a_file_may_grow_inside(void)
{
    struct wb_steps steps;
    begin(&steps, HALF, INT64_MAX - HALF);
    g_assert_false(goes_up(&steps, 2 * HALF + 1000, "end"));
    /* The hole is one for who reads it here. */
    struct wb_asked *read = read_at(&steps, 2 * HALF, 10);
    wb_world_settle(&steps.world);
    g_assert_true(read->done);
    g_assert_cmpuint(read->reply.payload->len, ==, 10);
    g_assert_cmpuint(node_of(&steps)->data->len, ==, 2 * HALF + 1003);
    wb_world_drop(read);
    wb_steps_end(&steps);
}

static void test_a_recall_sends_what_is_dirty_first(void)
{
    struct wb_steps steps;
    begin(&steps, 0, HALF);
    uint64_t lease = node_of(&steps)->lease;
    g_assert_false(goes_up(&steps, 7, "dirty"));
    wb_world_recall(&steps.world, FILE_ID, lease);
    struct wb_asked *release = wb_release(&steps, lease);
    g_assert_false(release->done);
    g_assert_cmpuint(wb_world_count(&steps.world, PH_CMD_LEASE_RELEASE), ==, 0);
    /* Nothing more is written under it. */
    struct wb_asked *late = wb_write_later(&steps, FILE_ID, HANDLE, 20, 5);
    g_assert_false(late->done);
    wb_world_settle(&steps.world);
    g_assert_true(late->done && release->done);
    g_assert_cmpuint(node_of(&steps)->lease, ==, 0);
    assert_bytes(&steps, 7, "dirty");
    const char *wrote = strstr(steps.history->str, "WRITE"),
               *gone = strstr(steps.history->str, "LEASE_RELEASE");
    g_assert_true(wrote != NULL && gone != NULL && wrote < gone);
    g_assert_cmpuint(ranges(&steps), ==, 0);
    wb_world_drop(late);
    wb_world_drop(release);
    wb_steps_end(&steps);
}

static void test_a_recall_that_comes_first_is_heeded(void)
{
    struct wb_steps steps;
    begin(&steps, 0, HALF);
    struct wb_world *world = &steps.world;
    struct wb_asked *release = wb_release(&steps, node_of(&steps)->lease);
    wb_world_settle(world);
    wb_world_drop(release);
    struct wb_asked *write = wb_write_later(&steps, FILE_ID, HANDLE, 0, 5);
    struct wb_sent *acquire = wb_world_find(world, PH_CMD_LEASE_ACQUIRE);
    g_assert_nonnull(acquire);
    wb_world_execute(world, acquire);
    wb_world_recall(world, FILE_ID, node_of(&steps)->lease);
    wb_world_settle(world);
    g_assert_cmpuint(ranges(&steps), ==, 0);
    g_assert_true(goes_up(&steps, 10, "through"));
    wb_world_drop(write);
    wb_steps_end(&steps);
}

/* The half that somebody else wants goes, what was written there before; the other is kept and used on. */
static void test_part_of_it_is_kept(void)
{
    struct wb_steps steps;
    begin(&steps, 0, INT64_MAX);
    uint64_t lease = node_of(&steps)->lease;
    g_assert_false(goes_up(&steps, HALF + 100, "theirs"));
    for (unsigned i = 0; i < 10; i++)
        g_assert_false(goes_up(&steps, 1000 * i, "ours"));
    recall_part(&steps, HALF, HALF + 10, true);
    g_assert_true(goes_up(&steps, HALF + 100, "elsewhere"));
    g_assert_false(goes_up(&steps, 20000, "meanwhile"));
    wb_world_settle(&steps.world);
    assert_bytes(&steps, HALF + 100, "elsewhere");
    g_assert_cmpuint(node_of(&steps)->lease, ==, lease);
    g_assert_cmpuint(node_of(&steps)->range_start, ==, 0);
    g_assert_cmpuint(node_of(&steps)->range_len, ==, HALF);
    g_assert_false(goes_up(&steps, 30000, "and on"));
    wb_steps_flush(&steps);
    assert_bytes(&steps, 20000, "meanwhile");
    assert_bytes(&steps, 30000, "and on");
    wb_steps_end(&steps);
}

static void test_half_of_the_way_is_left_to_others(void)
{
    struct wb_steps steps;
    begin(&steps, 0, INT64_MAX);
    g_assert_false(goes_up(&steps, 0, "ours"));
    recall_part(&steps, HALF, HALF + 10, true);
    wb_world_settle(&steps.world);
    g_assert_cmpuint(node_of(&steps)->range_len, ==, 4 + (HALF - 4) / 2);
    wb_steps_end(&steps);
}

static void test_who_only_fights_writes_through(void)
{
    struct wb_steps steps;
    begin(&steps, 0, INT64_MAX);
    recall_part(&steps, HALF, HALF + 10, false);
    g_assert_false(goes_up(&steps, 0, "ours"));
    recall_part(&steps, HALF, HALF + 10, true);
    wb_world_settle(&steps.world);
    g_assert_false(goes_up(&steps, 0, "once"));
    recall_part(&steps, HALF / 4, HALF / 4 + 10, false);
    uint64_t lease = node_of(&steps)->lease;
    wb_world_recall(&steps.world, FILE_ID, lease);
    struct wb_asked *release = wb_release(&steps, lease);
    wb_world_settle(&steps.world);
    wb_world_drop(release);
    /* For a while none is asked for. */
    g_assert_true(goes_up(&steps, 0, "through"));
    g_assert_cmpuint(node_of(&steps)->lease, ==, 0);
    steps.world.now.ms += 20;
    g_assert_true(goes_up(&steps, 0, "through"));
    g_assert_cmpuint(node_of(&steps)->lease, !=, 0);
    wb_steps_end(&steps);
}

/* A server that grants none for now is not asked with every write. */
static void test_who_is_refused_asks_less_and_less(void)
{
    struct wb_steps steps;
    begin(&steps, 0, HALF);
    struct wb_asked *release = wb_release(&steps, node_of(&steps)->lease);
    wb_world_settle(&steps.world);
    wb_world_drop(release);
    node_of(&steps)->recalled = true; /* NO_LEASE */
    g_string_truncate(steps.history, 0);
    for (unsigned i = 0; i < 100; i++) {
        steps.world.now.ms++;
        g_assert_true(goes_up(&steps, 0, "through"));
    }
    unsigned asked = 0;
    for (const char *at = steps.history->str; (at = strstr(at, "LEASE_ACQUIRE")) != NULL; at++)
        asked++;
    g_assert_cmpuint(asked, >=, 2);
    g_assert_cmpuint(asked, <=, 5);
    wb_steps_end(&steps);
}

static void test_fsync_waits_for_it(void)
{
    struct wb_steps steps;
    begin(&steps, 0, HALF);
    g_assert_false(goes_up(&steps, 7, "dirty"));
    struct wb_asked *sync = wb_sync(&steps, FILE_ID);
    g_assert_cmpuint(wb_world_count(&steps.world, PH_CMD_SYNC), ==, 0);
    wb_world_settle(&steps.world);
    g_assert_true(sync->done);
    g_assert_cmpuint(sync->reply.status, ==, PH_ST_OK);
    assert_bytes(&steps, 7, "dirty");
    wb_world_drop(sync);
    wb_steps_end(&steps);
}

static void test_a_cut_gives_it_back(void)
{
    struct wb_steps steps;
    begin(&steps, 0, HALF);
    g_assert_false(goes_up(&steps, 7, "dirty"));
    g_assert_cmpuint(wb_cut(&steps, FILE_ID, HANDLE, 9), ==, UINT32_MAX);
    wb_world_settle(&steps.world);
    g_assert_cmpuint(node_of(&steps)->data->len, ==, 9);
    assert_bytes(&steps, 7, "di");
    g_assert_cmpuint(ranges(&steps), ==, 0);
    g_assert_cmpuint(node_of(&steps)->lease, ==, 0);
    wb_steps_end(&steps);
}

static void test_nothing_is_written_past_the_time_of_the_lease(void)
{
    struct wb_steps steps;
    begin(&steps, 0, HALF);
    uint64_t until_ms = steps.world.now.leases_until_ms;
    g_assert_false(goes_up(&steps, 7, "dirty"));
    steps.world.now.leases_until_ms = steps.world.now.ms;
    struct wb_asked *read = read_at(&steps, 7, 5);
    g_assert_false(read->done);
    g_assert_true(goes_up(&steps, 20, "late"));
    steps.world.now.leases_until_ms = until_ms;
    g_assert_false(goes_up(&steps, 20, "again"));
    wb_world_settle(&steps.world);
    wb_world_drop(read);
    wb_steps_end(&steps);
}

static void lost(struct wb_steps *steps)
{
    struct wb_asked *sync = wb_sync(steps, FILE_ID);
    wb_world_settle(&steps->world);
    g_assert_true(sync->done);
    g_assert_cmpuint(sync->reply.status, ==, PH_ST_STALE);
    wb_world_drop(sync);
    g_assert_cmpuint(steps->world.failed->len, ==, 1);
    g_assert_cmpuint(ranges(steps), ==, 0);
    g_assert_cmpmem(node_of(steps)->data->data + 100, 6, "\0\0\0\0\0\0", 6);
    g_assert_false(ph_wb_is_dirty(steps->world.wb, FILE_ID));
}

static void test_what_a_lost_session_leaves_is_not_written(void)
{
    struct wb_steps steps;
    begin(&steps, 0, HALF);
    g_assert_false(goes_up(&steps, 100, "mine"));
    wb_world_flush(&steps.world, 0); /* on its way */
    g_assert_false(goes_up(&steps, 102, "newer"));
    wb_world_lose(&steps.world);
    node_of(&steps)->others = false;
    wb_world_open(&steps.world);
    wb_world_settle(&steps.world);
    g_assert_cmpuint(steps.world.failed->len, ==, 2);
    g_ptr_array_set_size(steps.world.failed, 1);
    lost(&steps);
    wb_steps_end(&steps);
}

static void no_claims(void *data, const struct ph_claim *claim)
{
    g_assert_cmpuint(claim->object, !=, FILE_ID);
}

static void test_a_restart_of_the_server_ends_it(void)
{
    struct wb_steps steps;
    begin(&steps, 0, HALF);
    g_assert_false(goes_up(&steps, 100, "mine"));
    ph_wb_claims(steps.world.wb, no_claims, NULL);
    node_of(&steps)->lease = 0;
    g_assert_true(goes_up(&steps, 300, "through"));
    lost(&steps);
    wb_steps_end(&steps);
}

static void test_a_lone_writer_asks_for_all(void)
{
    struct wb_steps steps;
    begin(&steps, 0, HALF);
    struct wb_asked *release = wb_release(&steps, node_of(&steps)->lease);
    wb_world_settle(&steps.world);
    wb_world_drop(release);
    node_of(&steps)->others = false;
    steps.world.now.ms += LATER_MS;
    g_assert_true(goes_up(&steps, 0, "through"));
    g_assert_false(goes_up(&steps, 2 * HALF, "here"));
    g_assert_cmpuint(ranges(&steps), ==, 0);
    wb_steps_flush(&steps);
    wb_steps_end(&steps);
}

static void test_who_reads_pages_gets_them_when_it_is_idle(void)
{
    struct wb_steps steps;
    Pohmel__LeaseAcquireRequest message = POHMEL__LEASE_ACQUIRE_REQUEST__INIT;
    begin(&steps, 0, HALF);
    g_assert_false(goes_up(&steps, 7, "dirty"));
    message.object = FILE_ID;
    message.mode = POHMEL__LEASE_MODE__MODE_SHARED;
    struct wb_asked *acquire = wb_world_ask(&steps.world, PH_CMD_LEASE_ACQUIRE, &message, NULL);
    g_assert_true(acquire->done);
    g_assert_cmpuint(acquire->reply.status, ==, PH_ST_LIMIT);
    wb_world_drop(acquire);
    steps.world.now.ms += LATER_MS;
    acquire = wb_world_ask(&steps.world, PH_CMD_LEASE_ACQUIRE, &message, NULL);
    wb_world_settle(&steps.world);
    g_assert_true(acquire->done);
    g_assert_cmpuint(ranges(&steps), ==, 0);
    assert_bytes(&steps, 7, "dirty");
    wb_world_drop(acquire);
    wb_steps_end(&steps);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/wb/range/inside", test_writes_inside_stay_here);
    g_test_add_func("/wb/range/outside", test_writes_outside_go_through);
    g_test_add_func("/wb/range/not-used", test_a_range_that_is_not_used_goes_back);
    g_test_add_func("/wb/range/read", test_reads_show_what_was_written);
    g_test_add_func("/wb/range/grow", test_a_file_may_grow_inside);
    g_test_add_func("/wb/range/recall", test_a_recall_sends_what_is_dirty_first);
    g_test_add_func("/wb/range/recall-first", test_a_recall_that_comes_first_is_heeded);
    g_test_add_func("/wb/range/part", test_part_of_it_is_kept);
    g_test_add_func("/wb/range/half-of-the-way", test_half_of_the_way_is_left_to_others);
    g_test_add_func("/wb/range/fight", test_who_only_fights_writes_through);
    g_test_add_func("/wb/range/refused", test_who_is_refused_asks_less_and_less);
    g_test_add_func("/wb/range/fsync", test_fsync_waits_for_it);
    g_test_add_func("/wb/range/cut", test_a_cut_gives_it_back);
    g_test_add_func("/wb/range/expiry", test_nothing_is_written_past_the_time_of_the_lease);
    g_test_add_func("/wb/range/lost", test_what_a_lost_session_leaves_is_not_written);
    g_test_add_func("/wb/range/restart", test_a_restart_of_the_server_ends_it);
    g_test_add_func("/wb/range/lone", test_a_lone_writer_asks_for_all);
    g_test_add_func("/wb/range/pages", test_who_reads_pages_gets_them_when_it_is_idle);
    return g_test_run();
}
