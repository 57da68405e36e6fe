/* The promises of write-back when the server was started anew, or a session was lost, with leases under
 * recall, and changes under way, or refused. */
#include <string.h>

#include "client/core/reclaim.h"
#include "client/core/tests/wb_steps.h"

enum { PLENTY = 1 << 20, LEASE_STEP = 1000 };

static uint64_t lease_of(const struct wb_steps *steps, uint64_t object)
{
    return wb_model_node(steps->world.server, object)->lease;
}

/* The server was started anew: what is claimed is granted under other ids. */
static void reclaim_all(struct wb_steps *steps)
{
    struct ph_reclaim reclaim;
    ph_reclaim_init(&reclaim);
    ph_wb_claims(steps->world.wb, ph_reclaim_add, &reclaim);
    for (const struct ph_reclaimed *at = ph_reclaim_first(&reclaim); at; at = ph_reclaim_next(at)) {
        struct wb_node *node = wb_model_node(steps->world.server, at->claim.object);
        g_assert_cmpuint(at->claim.lease, ==, node->lease);
        node->lease += LEASE_STEP;
        ph_wb_reclaimed(steps->world.wb, &at->claim, node->lease, at->claim.mode);
    }
    ph_reclaim_clear(&reclaim);
}

/* What was asked for goes on one by one, up to a COMMAND that is not answered yet. */
static void deliver_until(struct wb_steps *steps, uint16_t command)
{
    while (wb_world_find(&steps->world, command) == NULL)
        wb_world_deliver(&steps->world, g_ptr_array_index(steps->world.sent, 0));
}

/* All comes to its end, and fsync of the file says STATUS. */
static void sync_answers(struct wb_steps *steps, uint32_t status)
{
    struct wb_asked *sync = wb_sync(steps, 10);
    wb_world_settle(&steps->world);
    g_assert_true(sync->done);
    g_assert_cmpuint(sync->reply.status, ==, status);
    wb_world_drop(sync);
}

/* Whoever gives a lease back that is being recalled may know it by the id that it had before the restart, or
 * by the one that it has now, and what is dirty under it goes first in both cases. */
static void test_reclaimed_under_recall(void)
{
    for (int later = 0; later < 2; later++) {
        struct wb_steps steps;
        wb_steps_begin_written(&steps, PLENTY);
        uint64_t lease = lease_of(&steps, 10);
        wb_world_recall(&steps.world, 10, lease);
        struct wb_asked *release = later ? NULL : wb_release(&steps, lease);
        reclaim_all(&steps);
        if (release == NULL)
            release = wb_release(&steps, lease_of(&steps, 10));
        g_assert_cmpuint(wb_world_count(&steps.world, PH_CMD_LEASE_RELEASE), ==, 0);
        struct wb_sent *sent;
        while ((sent = wb_world_find(&steps.world, PH_CMD_LEASE_RELEASE)) == NULL) {
            g_assert_cmpuint(steps.world.sent->len, >, 0);
            wb_world_deliver(&steps.world, g_ptr_array_index(steps.world.sent, 0));
        }
        g_assert_nonnull(strstr(steps.history->str, "WRITE"));
        const Pohmel__LeaseReleaseRequest *request = (const Pohmel__LeaseReleaseRequest *) sent->inner;
        g_assert_cmpuint(request->n_leases, ==, 1);
        g_assert_cmpuint(request->leases[0], ==, lease + LEASE_STEP);
        wb_world_settle(&steps.world);
        g_assert_true(release->done);
        wb_world_drop(release);
        wb_steps_end(&steps);
    }
}

/* The recall of it names an id that no answer has told yet: that of a claim, whose answer was lost. */
static void test_recalled_under_an_id_not_told_yet(void)
{
    struct wb_steps steps;
    wb_steps_begin_written(&steps, PLENTY);
    uint64_t lease = lease_of(&steps, 10);
    struct wb_asked *early = wb_release(&steps, lease);
    wb_world_recall(&steps.world, 10, lease + LEASE_STEP);
    struct wb_asked *late = wb_release(&steps, lease + LEASE_STEP);
    g_assert_cmpuint(wb_world_count(&steps.world, PH_CMD_LEASE_RELEASE), ==, 0);
    wb_model_node(steps.world.server, 10)->lease = lease + LEASE_STEP;
    wb_world_settle(&steps.world);
    const char *written = strstr(steps.history->str, "WRITE"),
               *released = strstr(steps.history->str, "LEASE_RELEASE");
    g_assert_true(written != NULL && released != NULL && written < released);
    g_assert_true(early->done && late->done);
    wb_world_drop(early);
    wb_world_drop(late);
    wb_steps_end(&steps);
}

/* What others wrote while a write of ours was not answered, as much, and by a clock that is behind ours. */
static void test_others_whose_clock_is_behind(void)
{
    struct wb_steps steps;
    wb_steps_begin_written(&steps, PLENTY);
    wb_world_flush(&steps.world, 0);
    deliver_until(&steps, PH_CMD_WRITE);
    wb_world_lose(&steps.world);
    wb_steps_other_writes(&steps, 10, "NEW");
    wb_model_node(steps.world.server, 10)->modified.seconds = 77;
    wb_world_open(&steps.world);
    sync_answers(&steps, PH_ST_STALE);
    g_autofree char *text = wb_steps_text(&steps, 10);
    g_assert_cmpstr(text, ==, "NEW");
    wb_steps_end(&steps);
}

/* A file that was made longer, and shorter again when that was not answered, was changed by nobody else. */
static void test_longer_then_shorter_is_ours(void)
{
    enum { LONGER = 100, SHORTER = 50 };
    struct wb_steps steps;
    wb_steps_begin_written(&steps, PLENTY);
    wb_steps_flush(&steps);
    g_assert_cmpuint(wb_cut(&steps, 10, 1, LONGER), ==, PH_ST_OK);
    wb_world_flush(&steps.world, 0);
    deliver_until(&steps, PH_CMD_SETATTR);
    wb_world_execute(&steps.world, wb_world_find(&steps.world, PH_CMD_SETATTR));
    g_assert_cmpuint(wb_cut(&steps, 10, 1, SHORTER), ==, PH_ST_OK);
    wb_world_lose(&steps.world);
    wb_world_open(&steps.world);
    sync_answers(&steps, PH_ST_OK);
    g_assert_cmpuint(wb_model_node(steps.world.server, 10)->data->len, ==, SHORTER);
    wb_steps_end(&steps);
}

/* Neither was one that was made empty and written anew, of which only the first was executed. */
static void test_empty_then_written_is_ours(void)
{
    struct wb_steps steps;
    wb_steps_begin_written(&steps, PLENTY);
    wb_steps_flush(&steps);
    g_assert_cmpuint(wb_cut(&steps, 10, 1, 0), ==, PH_ST_OK);
    g_assert_cmpuint(wb_write(&steps, 10, 1, 0, "anew"), ==, PH_ST_OK);
    wb_world_flush(&steps.world, 0);
    deliver_until(&steps, PH_CMD_SETATTR);
    wb_world_execute(&steps.world, wb_world_find(&steps.world, PH_CMD_SETATTR));
    wb_world_lose(&steps.world);
    wb_world_open(&steps.world);
    sync_answers(&steps, PH_ST_OK);
    g_autofree char *text = wb_steps_text(&steps, 10);
    g_assert_cmpstr(text, ==, "anew");
    wb_steps_end(&steps);
}

/* What has arrived of a file that was made empty first is not cut off once more in the next session. */
static void test_what_has_arrived_is_not_cut_off(void)
{
    enum { PIECE = 65536 };
    struct wb_steps steps;
    g_autofree char *more = g_strnfill(PIECE, 'm');
    wb_steps_begin_written(&steps, PLENTY);
    wb_steps_flush(&steps);
    g_assert_cmpuint(wb_cut(&steps, 10, 1, 0), ==, PH_ST_OK);
    g_assert_cmpuint(wb_write(&steps, 10, 1, 0, more), ==, PH_ST_OK);
    g_assert_cmpuint(wb_write(&steps, 10, 1, PIECE, "end"), ==, PH_ST_OK);
    wb_world_flush(&steps.world, 0);
    deliver_until(&steps, PH_CMD_WRITE);
    wb_world_deliver(&steps.world, wb_world_find(&steps.world, PH_CMD_WRITE));
    wb_world_lose(&steps.world);
    wb_world_open(&steps.world);
    sync_answers(&steps, PH_ST_OK);
    g_autofree char *text = wb_steps_text(&steps, 10), *whole = g_strconcat(more, "end", NULL);
    g_assert_true(strcmp(text, whole) == 0);
    wb_steps_end(&steps);
}

/* What could not be written back is not what is told of the file from then on. */
static void test_what_was_refused_is_not_told(void)
{
    struct wb_steps steps;
    Pohmel__Caller caller = POHMEL__CALLER__INIT;
    Pohmel__GetattrRequest ask = POHMEL__GETATTR_REQUEST__INIT;
    wb_steps_begin_written(&steps, PLENTY);
    g_assert_cmpuint(wb_chmod(&steps, 10, 0600), ==, PH_ST_OK);
    wb_world_lose(&steps.world);
    wb_steps_other_writes(&steps, 10, "longer than it was");
    wb_world_open(&steps.world);
    wb_world_flush(&steps.world, 0);
    wb_world_deliver(&steps.world, wb_world_find(&steps.world, PH_CMD_LEASE_ACQUIRE));
    g_assert_cmpuint(steps.world.failed->len, >, 0);
    ask.caller = &caller;
    ask.object = 10;
    struct wb_asked *asked = wb_world_ask(&steps.world, PH_CMD_GETATTR, &ask, NULL);
    wb_world_settle(&steps.world);
    g_assert_true(asked->done);
    const Pohmel__GetattrReply *reply = (const Pohmel__GetattrReply *) asked->reply.message;
    g_assert_cmpuint(reply->attr->size, ==, strlen("longer than it was"));
    g_assert_cmpuint(reply->attr->mode & 07777, ==, 0644);
    wb_world_drop(asked);
    wb_steps_end(&steps);
}

/* A file that lost its last name and that nobody has open is nobody's loss, whatever was still to be written
 * to it when it went with the session, or with the server. */
static void test_what_nobody_can_reach_is_no_loss(void)
{
    struct wb_steps steps;
    wb_steps_begin_written(&steps, PLENTY);
    wb_steps_flush(&steps);
    g_assert_cmpuint(wb_remove(&steps, WB_ROOT, "f"), ==, PH_ST_OK);
    wb_steps_flush(&steps);
    g_assert_cmpuint(wb_write(&steps, 10, 1, 0, "without a name"), ==, PH_ST_OK);
    g_assert_cmpuint(wb_chmod(&steps, 10, 0600), ==, PH_ST_OK);
    wb_close_handle(&steps, 10, 1);
    wb_world_lose(&steps.world);
    wb_world_open(&steps.world);
    wb_world_flush(&steps.world, 0);
    struct wb_sent *acquire = wb_world_find(&steps.world, PH_CMD_LEASE_ACQUIRE);
    g_assert_nonnull(acquire);
    wb_world_refuse(&steps.world, acquire, PH_ST_STALE);
    wb_world_settle(&steps.world);
    g_assert_cmpuint(steps.world.failed->len, ==, 0);
    struct ph_wb_counters counters;
    ph_wb_count(steps.world.wb, steps.world.now.ms, &counters);
    g_assert_cmpuint(counters.dirty_bytes, ==, 0);
    wb_steps_end(&steps);
}

/* Neither is one whose name the server took away for a command that was sent on. */
static void test_what_the_server_unnamed_is_no_loss(void)
{
    struct wb_steps steps;
    wb_steps_begin_written(&steps, PLENTY);
    wb_steps_flush(&steps);
    wb_world_recall(&steps.world, WB_ROOT, lease_of(&steps, WB_ROOT));
    g_assert_cmpuint(wb_remove(&steps, WB_ROOT, "f"), ==, UINT32_MAX);
    wb_world_settle(&steps.world);
    g_assert_cmpuint(wb_write(&steps, 10, 1, 0, "without a name"), ==, UINT32_MAX);
    wb_world_settle(&steps.world);
    g_assert_cmpuint(wb_write(&steps, 10, 1, 0, "without a name"), ==, PH_ST_OK);
    wb_close_handle(&steps, 10, 1);
    wb_world_lose(&steps.world);
    wb_world_open(&steps.world);
    wb_world_flush(&steps.world, 0);
    wb_world_refuse(&steps.world, wb_world_find(&steps.world, PH_CMD_LEASE_ACQUIRE), PH_ST_STALE);
    wb_world_settle(&steps.world);
    g_assert_cmpuint(steps.world.failed->len, ==, 0);
    wb_steps_end(&steps);
}

/* Of several leases that are given back together one waits for what is dirty; the others do not. */
static void test_what_waits_for_nothing_goes(void)
{
    enum { OF_NOTHING_KNOWN = 5000 };
    struct wb_steps steps;
    Pohmel__LeaseReleaseRequest request = POHMEL__LEASE_RELEASE_REQUEST__INIT;
    wb_steps_begin_written(&steps, PLENTY);
    uint64_t leases[] = {lease_of(&steps, 10), (UINT64_C(1) << 40) + OF_NOTHING_KNOWN};
    request.leases = leases;
    request.n_leases = G_N_ELEMENTS(leases);
    struct wb_asked *asked = wb_world_ask(&steps.world, PH_CMD_LEASE_RELEASE, &request, NULL);
    struct wb_sent *sent = wb_world_find(&steps.world, PH_CMD_LEASE_RELEASE);
    g_assert_nonnull(sent);
    const Pohmel__LeaseReleaseRequest *first = (const Pohmel__LeaseReleaseRequest *) sent->inner;
    g_assert_cmpuint(first->n_leases, ==, 1);
    g_assert_cmpuint(first->leases[0], ==, leases[1]);
    g_assert_false(asked->done);
    wb_world_settle(&steps.world);
    g_assert_true(asked->done);
    wb_world_drop(asked);
    wb_steps_end(&steps);
}

/* --- A lease that is recalled before what an earlier session left can go --- */

static struct wb_sent *acquire_of(struct wb_steps *steps, uint64_t object)
{
    for (guint i = 0; i < steps->world.sent->len; i++) {
        struct wb_sent *sent = g_ptr_array_index(steps->world.sent, i);
        if (sent->command == PH_CMD_LEASE_ACQUIRE &&
            ((const Pohmel__LeaseAcquireRequest *) sent->inner)->object == object)
            return sent;
    }
    return NULL;
}

/* File 10 was moved from "f" to "g" in a session that was lost. In the next one it is held, and the directory
 * is not yet. */
static struct wb_asked *begin_half_held(struct wb_steps *steps)
{
    wb_steps_begin(steps, PLENTY);
    wb_steps_file(steps, "f", 10, "old");
    g_assert_cmpuint(wb_rename(steps, WB_ROOT, "f", "g"), ==, PH_ST_OK);
    wb_world_lose(&steps->world);
    wb_world_open(&steps->world);
    struct wb_asked *sync = wb_sync(steps, 10);
    wb_world_deliver(&steps->world, acquire_of(steps, 10));
    g_assert_nonnull(acquire_of(steps, WB_ROOT));
    g_assert_cmpuint(wb_world_count(&steps->world, PH_CMD_RENAME), ==, 0);
    return sync;
}

/* Who recalls the file may be who the directory waits for; what is sent on meanwhile waits as well. */
static void test_recalled_before_the_other_lease_came(void)
{
    struct wb_steps steps;
    struct wb_asked *sync = begin_half_held(&steps);
    g_assert_cmpuint(wb_chmod(&steps, 10, 0600), ==, UINT32_MAX);
    uint64_t lease = lease_of(&steps, 10);
    wb_world_recall(&steps.world, 10, lease);
    struct wb_asked *release = wb_release(&steps, lease);
    for (unsigned i = 0; i < 3; i++)
        wb_world_tick(&steps.world, 1000);
    struct wb_sent *sent = wb_world_find(&steps.world, PH_CMD_LEASE_RELEASE);
    g_assert_nonnull(sent);
    g_assert_cmpuint(((const Pohmel__LeaseReleaseRequest *) sent->inner)->leases[0], ==, lease);
    g_assert_cmpuint(wb_world_count(&steps.world, PH_CMD_RENAME), ==, 0);
    g_assert_false(sync->done);
    wb_world_deliver(&steps.world, sent);
    g_assert_true(release->done);
    wb_world_drop(release);
    for (unsigned i = 0; i < 3; i++) {
        wb_world_settle(&steps.world);
        wb_world_tick(&steps.world, 1000);
    }
    g_assert_true(sync->done);
    g_assert_cmpuint(sync->reply.status, ==, PH_ST_OK);
    wb_world_drop(sync);
    g_assert_nonnull(strstr(steps.history->str, "RENAME"));
    g_assert_cmpuint(steps.world.failed->len, ==, 0);
    wb_steps_end(&steps);
}

/* What is done now would be under the lease that may have to go without it: it goes to the server. */
static void test_nothing_is_done_behind_what_is_left(void)
{
    struct wb_steps steps;
    struct wb_asked *sync = begin_half_held(&steps);
    g_assert_cmpuint(wb_chmod(&steps, 10, 0600), ==, UINT32_MAX);
    wb_world_settle(&steps.world);
    g_assert_true(sync->done);
    wb_world_drop(sync);
    const char *rename = strstr(steps.history->str, "RENAME"),
               *setattr = strstr(steps.history->str, "SETATTR");
    g_assert_true(rename != NULL && setattr != NULL && rename < setattr);
    g_assert_cmpuint(wb_model_node(steps.world.server, 10)->mode & 07777, ==, 0600);
    wb_steps_end(&steps);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/wb-again/a-lease-that-is-recalled-goes-by-its-new-id-after-what-is-dirty",
                    test_reclaimed_under_recall);
    g_test_add_func("/wb-again/a-lease-that-is-recalled-by-an-id-not-told-yet-goes-after-what-is-dirty",
                    test_recalled_under_an_id_not_told_yet);
    g_test_add_func("/wb-again/what-others-wrote-by-a-clock-that-is-behind-is-not-overwritten",
                    test_others_whose_clock_is_behind);
    g_test_add_func("/wb-again/what-was-made-longer-and-shorter-again-is-ours",
                    test_longer_then_shorter_is_ours);
    g_test_add_func("/wb-again/what-was-made-empty-and-written-anew-is-ours",
                    test_empty_then_written_is_ours);
    g_test_add_func("/wb-again/what-has-arrived-is-not-cut-off-once-more",
                    test_what_has_arrived_is_not_cut_off);
    g_test_add_func("/wb-again/what-was-refused-is-not-told", test_what_was_refused_is_not_told);
    g_test_add_func("/wb-again/what-nobody-can-reach-is-no-loss", test_what_nobody_can_reach_is_no_loss);
    g_test_add_func("/wb-again/what-the-server-unnamed-is-no-loss", test_what_the_server_unnamed_is_no_loss);
    g_test_add_func("/wb-again/a-lease-that-waits-for-nothing-goes-before-others",
                    test_what_waits_for_nothing_goes);
    g_test_add_func("/wb-again/a-lease-recalled-before-what-a-lost-session-left-can-go-is-given-back",
                    test_recalled_before_the_other_lease_came);
    g_test_add_func("/wb-again/nothing-is-done-here-behind-what-a-lost-session-left",
                    test_nothing_is_done_behind_what_is_left);
    return g_test_run();
}
