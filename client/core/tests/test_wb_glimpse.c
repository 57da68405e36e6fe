/* What is said of a file that is held exclusively to those who only look at it, and when nothing is.
 * docs/protocol.md, section 9.5. */
#include "client/core/tests/wb_steps.h"

enum { PLENTY = 1 << 20, FILE_ID = 10, HANDLE = 1, LATER_MS = 2000 };

static uint64_t lease_of(const struct wb_steps *steps, uint64_t object)
{
    return wb_model_node(steps->world.server, object)->lease;
}

static enum ph_wb_glimpse look(const struct wb_steps *steps, uint64_t object, uint64_t lease,
                               struct ph_cached_attr *attr, bool *unsent)
{
    return ph_wb_glimpse(steps->world.wb, object, lease, &steps->world.now, attr, unsent);
}

/* A file that the server knows, held, in which something was written here. */
static void begin(struct wb_steps *steps)
{
    wb_steps_begin(steps, PLENTY);
    wb_steps_file(steps, "f", FILE_ID, "0123456789");
    g_assert_cmpuint(wb_write(steps, FILE_ID, 0, 10, "more"), ==, PH_ST_OK);
}

static void test_what_is_written_is_told(void)
{
    struct wb_steps steps;
    struct ph_cached_attr attr;
    bool unsent = false;
    begin(&steps);
    g_assert_cmpint(look(&steps, FILE_ID, lease_of(&steps, FILE_ID), &attr, &unsent), ==, PH_WB_GLIMPSE_TOLD);
    g_assert_cmpuint(attr.size, ==, 14);
    g_assert_true(unsent);
    /* While it is being sent, and afterwards, the same. */
    wb_world_flush(&steps.world, 0);
    g_assert_cmpint(look(&steps, FILE_ID, lease_of(&steps, FILE_ID), &attr, &unsent), ==, PH_WB_GLIMPSE_TOLD);
    g_assert_cmpuint(attr.size, ==, 14);
    g_assert_true(unsent);
    wb_steps_flush(&steps);
    g_assert_cmpint(look(&steps, FILE_ID, lease_of(&steps, FILE_ID), &attr, &unsent), ==, PH_WB_GLIMPSE_TOLD);
    g_assert_cmpuint(attr.size, ==, 14);
    g_assert_false(unsent);
    wb_steps_end(&steps);
}

static void test_others_and_we_see_one_time_of_change(void)
{
    struct wb_steps steps;
    struct ph_cached_attr attr;
    bool unsent = false;
    begin(&steps);
    steps.world.now.real.seconds += 1;
    wb_steps_flush(&steps);
    uint64_t lease = lease_of(&steps, FILE_ID);
    g_assert_cmpint(look(&steps, FILE_ID, lease, &attr, &unsent), ==, PH_WB_GLIMPSE_MOVED);
    g_assert_cmpint(attr.changed.seconds, ==, steps.world.now.real.seconds);
    g_assert_cmpint(attr.modified.seconds, <, attr.changed.seconds);
    g_assert_cmpint(look(&steps, FILE_ID, lease, &attr, &unsent), ==, PH_WB_GLIMPSE_TOLD);
    g_assert_cmpint(attr.changed.seconds, ==, steps.world.now.real.seconds);
    wb_steps_end(&steps);
}

static void test_what_is_not_being_written_may_be_shared(void)
{
    struct wb_steps steps;
    struct ph_cached_attr attr;
    bool unsent;
    begin(&steps);
    uint64_t lease = lease_of(&steps, FILE_ID);
    steps.world.now.ms += LATER_MS;
    g_assert_cmpint(look(&steps, FILE_ID, lease, &attr, &unsent), ==, PH_WB_GLIMPSE_QUIET);
    g_assert_cmpuint(wb_write(&steps, FILE_ID, 0, 0, "x"), ==, PH_ST_OK);
    g_assert_cmpint(look(&steps, FILE_ID, lease, &attr, &unsent), ==, PH_WB_GLIMPSE_TOLD);
    wb_close_handle(&steps, FILE_ID, HANDLE);
    g_assert_cmpint(look(&steps, FILE_ID, lease, &attr, &unsent), ==, PH_WB_GLIMPSE_QUIET);
    g_assert_cmpint(look(&steps, WB_ROOT, lease_of(&steps, WB_ROOT), &attr, &unsent), ==,
                    PH_WB_GLIMPSE_QUIET);
    wb_world_settle(&steps.world);
    wb_steps_end(&steps);
}

static void test_nothing_is_said_without_the_lease(void)
{
    struct wb_steps steps;
    struct ph_cached_attr attr;
    bool unsent;
    begin(&steps);
    uint64_t lease = lease_of(&steps, FILE_ID);
    g_assert_cmpint(look(&steps, FILE_ID, lease + 1, &attr, &unsent), ==, PH_WB_GLIMPSE_NO);
    g_assert_cmpint(look(&steps, FILE_ID + 1, lease, &attr, &unsent), ==, PH_WB_GLIMPSE_NO);
    uint64_t until_ms = steps.world.now.leases_until_ms;
    steps.world.now.leases_until_ms = steps.world.now.ms;
    g_assert_cmpint(look(&steps, FILE_ID, lease, &attr, &unsent), ==, PH_WB_GLIMPSE_NO);
    steps.world.now.leases_until_ms = until_ms;
    wb_world_recall(&steps.world, FILE_ID, lease);
    g_assert_cmpint(look(&steps, FILE_ID, lease, &attr, &unsent), ==, PH_WB_GLIMPSE_NO);
    wb_world_settle(&steps.world);
    wb_steps_end(&steps);
}

/* A change that was sent on is made at the server at a moment that is not known here. */
static void test_nothing_is_said_while_the_server_changes_it(void)
{
    struct wb_steps steps;
    struct ph_cached_attr attr;
    bool unsent;
    begin(&steps);
    uint64_t lease = lease_of(&steps, FILE_ID);
    struct wb_asked *cut = wb_write_later(&steps, FILE_ID, 0, UINT64_C(1) << 50, 1);
    g_assert_false(cut->done);
    g_assert_cmpint(look(&steps, FILE_ID, lease, &attr, &unsent), ==, PH_WB_GLIMPSE_NO);
    wb_world_settle(&steps.world);
    wb_world_drop(cut);
    wb_steps_end(&steps);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/wb/glimpse/told", test_what_is_written_is_told);
    g_test_add_func("/wb/glimpse/one-time-of-change", test_others_and_we_see_one_time_of_change);
    g_test_add_func("/wb/glimpse/quiet", test_what_is_not_being_written_may_be_shared);
    g_test_add_func("/wb/glimpse/without-the-lease", test_nothing_is_said_without_the_lease);
    g_test_add_func("/wb/glimpse/changing", test_nothing_is_said_while_the_server_changes_it);
    return g_test_run();
}
