/* Sessions with leases, and what others do meanwhile. */
#include <string.h>

#include "runtime/base/limits.h"
#include "server/core/lease.h"
#include "server/core/tests/caching_world.h"

enum { FILE_A = 100, FILE_B = 101 };

struct pair {
    struct world world;
    struct client one, two;
};

/* Two sessions, of which the first caches; "a" and "b" exist. */
static void set_up(struct pair *pair, bool second_caches)
{
    world_init(&pair->world);
    ph_fake_store_give_name(pair->world.fake, "a", FILE_A);
    ph_fake_store_give_name(pair->world.fake, "b", FILE_B);
    client_init(&pair->one, &pair->world, 1, 1, true);
    client_init(&pair->two, &pair->world, 2, 1, second_caches);
}

static void tear_down(struct pair *pair)
{
    client_clear(&pair->one);
    client_clear(&pair->two);
    world_clear(&pair->world);
}

static void test_granted_with_attributes(void)
{
    struct pair pair;
    uint64_t lease, again, directory, root;

    set_up(&pair, false);
    client_getattr(&pair.one, FILE_A, &lease);
    g_assert_cmpuint(lease, !=, 0);
    client_lookup(&pair.one, "a", &again, &directory);
    g_assert_cmpuint(again, ==, lease);
    client_getattr(&pair.one, PH_OBJECT_ROOT, &root);
    g_assert_cmpuint(directory, ==, root);
    /* That a name is absent is known by the lease on the directory. */
    client_lookup(&pair.one, "absent", &again, &directory);
    g_assert_cmpuint(directory, ==, root);
    g_assert_cmpuint(world_leases(&pair.world), ==, 2);
    /* Who did not ask for leases is granted none. */
    client_getattr(&pair.two, FILE_A, &lease);
    g_assert_cmpuint(lease, ==, 0);
    g_assert_cmpuint(client_status(&pair.two, client_acquire(&pair.two, FILE_A, 1)), ==, PH_ST_WRONG_STATE);
    tear_down(&pair);
}

static void test_data_come_with_a_name_under_a_lease(void)
{
    struct pair pair;
    uint64_t lease, root, id;

    set_up(&pair, false);
    id = client_lookup(&pair.one, "a", &lease, &root);
    g_assert_cmpuint(lease, !=, 0);
    g_assert_true(client_brought(&pair.one, id));
    tear_down(&pair);
}

static void test_change_waits_and_goes_on(void)
{
    struct pair pair;
    uint64_t lease, root, id;

    set_up(&pair, false);
    client_lookup(&pair.one, "a", &lease, &root);
    id = client_create(&pair.two, "new", 200, false);
    g_assert_cmpuint(client_status(&pair.two, id), ==, PH_PENDING);
    g_assert_cmpuint(ph_fake_store_transactions(pair.world.fake), ==, 0);
    g_assert_cmpuint(client_recalled(&pair.one, 0, PH_OBJECT_ROOT, PH_LEASE_NONE), ==, root);
    g_assert_cmpuint(pair.one.recalls->len, ==, 1);
    client_release(&pair.one, root, false);
    g_assert_cmpuint(client_status(&pair.two, id), ==, PH_ST_OK);
    g_assert_cmpuint(ph_fake_store_transactions(pair.world.fake), ==, 1);
    tear_down(&pair);
}

static void test_own_change_keeps_own_lease(void)
{
    struct pair pair;
    Pohmel__TransactReply *reply;
    uint64_t lease, root, id;

    set_up(&pair, false);
    client_lookup(&pair.one, "a", &lease, &root);
    id = client_create(&pair.one, "new", 200, false);
    g_assert_cmpuint(client_status(&pair.one, id), ==, PH_ST_OK);
    g_assert_cmpuint(pair.one.recalls->len, ==, 0);
    /* What it made comes with a lease. */
    reply = (void *) client_message(&pair.one, id, &pohmel__transact_reply__descriptor);
    g_assert_cmpuint(reply->results[0]->create->attr->lease, !=, 0);
    pohmel__transact_reply__free_unpacked(reply, NULL);
    tear_down(&pair);
}

static void test_removal_waits_for_what_the_name_stands_for(void)
{
    struct pair pair;
    uint64_t lease, root, id;

    set_up(&pair, true);
    client_getattr(&pair.one, FILE_A, &lease);
    id = client_remove(&pair.two, "a", 0);
    g_assert_cmpuint(client_status(&pair.two, id), ==, PH_PENDING);
    g_assert_cmpuint(client_recalled(&pair.one, 0, FILE_A, PH_LEASE_NONE), ==, lease);
    client_release(&pair.one, lease, false);
    /* The root was asked for when the session was opened. */
    root = client_recalled(&pair.one, 1, PH_OBJECT_ROOT, PH_LEASE_NONE);
    client_release(&pair.one, root, false);
    g_assert_cmpuint(client_status(&pair.two, id), ==, PH_ST_OK);
    id = client_remove(&pair.two, "absent", 0);
    g_assert_cmpuint(client_status(&pair.two, id), ==, PH_ST_NOT_FOUND);
    id = client_remove(&pair.two, "b", FILE_A);
    g_assert_cmpuint(client_status(&pair.two, id), ==, PH_ST_MISMATCH); /* what the client expects itself */
    tear_down(&pair);
}

/* The name is given to another file just before it is removed, once. */
static void give_to_b(void *data)
{
    struct pair *pair = data;

    ph_fake_store_give_name(pair->world.fake, "a", 300);
    ph_fake_store_before_change(pair->world.fake, NULL, NULL);
}

static void release_root(struct pair *pair)
{
    uint64_t root;

    client_getattr(&pair->one, PH_OBJECT_ROOT, &root);
    client_release(&pair->one, root, false);
}

static void test_name_of_another_object_by_now(void)
{
    struct pair pair;
    uint64_t id, lease, moved;

    set_up(&pair, true);
    ph_fake_store_give_name(pair.world.fake, "c", 300);
    client_getattr(&pair.one, 300, &lease);
    release_root(&pair);
    ph_fake_store_before_change(pair.world.fake, give_to_b, &pair);
    id = client_remove(&pair.two, "a", 0);
    /* The second look found the other file, on which there is a lease. */
    g_assert_cmpuint(client_status(&pair.two, id), ==, PH_PENDING);
    client_release(&pair.one, client_recalled(&pair.one, 0, 300, PH_LEASE_NONE), false);
    g_assert_cmpuint(client_status(&pair.two, id), ==, PH_ST_OK);
    /* The same for a name that was free. */
    client_getattr(&pair.one, 300, &lease);
    ph_fake_store_before_change(pair.world.fake, give_to_b, &pair);
    moved = client_rename(&pair.two, "b", "a");
    g_assert_cmpuint(client_status(&pair.two, moved), ==, PH_PENDING);
    client_release(&pair.one, client_recalled(&pair.one, 1, 300, PH_LEASE_NONE), false);
    g_assert_cmpuint(client_status(&pair.two, moved), ==, PH_ST_OK);
    tear_down(&pair);
}

static void test_truncating_create_waits_for_the_file(void)
{
    struct pair pair;
    uint64_t lease, id;

    set_up(&pair, true);
    release_root(&pair);
    client_getattr(&pair.one, FILE_A, &lease);
    id = client_create(&pair.two, "a", 200, false);
    g_assert_cmpuint(client_status(&pair.two, id), ==, PH_ST_OK); /* it changes nothing */
    id = client_create(&pair.two, "a", 201, true);
    g_assert_cmpuint(client_status(&pair.two, id), ==, PH_PENDING);
    client_release(&pair.one, client_recalled(&pair.one, 0, FILE_A, PH_LEASE_NONE), false);
    g_assert_cmpuint(client_status(&pair.two, id), ==, PH_ST_OK);
    tear_down(&pair);
}

static void test_reading_waits_for_exclusive(void)
{
    struct pair pair;
    uint64_t lease, id, looked, own;

    set_up(&pair, false);
    lease = client_acquired(&pair.one, client_acquire(&pair.one, FILE_A, PH_LEASE_EXCLUSIVE));
    client_getattr(&pair.one, FILE_A, &own); /* its own reading goes on */
    g_assert_cmpuint(own, ==, lease);
    id = client_getattr(&pair.two, FILE_A, NULL);
    looked = client_lookup(&pair.two, "a", NULL, NULL); /* who has it shows only when it was found */
    g_assert_cmpuint(client_status(&pair.two, id), ==, PH_PENDING);
    g_assert_cmpuint(client_status(&pair.two, looked), ==, PH_PENDING);
    g_assert_cmpuint(client_status(&pair.two, client_getattr(&pair.two, FILE_B, NULL)), ==, PH_ST_OK);
    g_assert_cmpuint(client_recalled(&pair.one, 0, FILE_A, PH_LEASE_SHARED), ==, lease);
    g_assert_cmpuint(pair.one.recalls->len, ==, 1);
    client_getattr(&pair.one, FILE_A, &own); /* while it is recalled as well */
    g_assert_cmpuint(own, ==, 0);
    client_release(&pair.one, lease, true);
    g_assert_cmpuint(client_status(&pair.two, id), ==, PH_ST_OK);
    g_assert_cmpuint(client_status(&pair.two, looked), ==, PH_ST_OK);
    client_getattr(&pair.one, FILE_A, &own);
    g_assert_cmpuint(own, ==, lease);
    tear_down(&pair);
}

static void test_acquire_waits(void)
{
    struct pair pair;
    uint64_t shared, id, lease;

    set_up(&pair, true);
    client_getattr(&pair.one, FILE_A, &shared);
    id = client_acquire(&pair.two, FILE_A, PH_LEASE_EXCLUSIVE);
    g_assert_cmpuint(client_status(&pair.two, id), ==, PH_PENDING);
    client_release(&pair.one, client_recalled(&pair.one, 0, FILE_A, PH_LEASE_NONE), false);
    lease = client_acquired(&pair.two, id);
    g_assert_cmpuint(lease, >, shared);
    id = client_acquire(&pair.two, 4711, PH_LEASE_SHARED);
    g_assert_cmpuint(client_status(&pair.two, id), ==, PH_ST_STALE);
    tear_down(&pair);
}

static void test_acquire_is_refused_while_own_lease_is_recalled(void)
{
    struct pair pair;
    uint64_t lease, id, change;

    set_up(&pair, true);
    release_root(&pair);
    client_getattr(&pair.one, FILE_A, &lease);
    change = client_remove(&pair.two, "a", 0);
    id = client_acquire(&pair.one, FILE_A, PH_LEASE_EXCLUSIVE);
    g_assert_cmpuint(client_status(&pair.one, id), ==, PH_ST_NO_LEASE);
    g_assert_cmpuint(client_status(&pair.two, change), ==, PH_PENDING);
    client_release(&pair.one, lease, false);
    g_assert_cmpuint(client_status(&pair.two, change), ==, PH_ST_OK);
    tear_down(&pair);
}

static void test_cancelled_while_parked(void)
{
    struct pair pair;
    uint64_t id, lease;

    set_up(&pair, false);
    id = client_create(&pair.two, "new", 200, false);
    g_assert_cmpuint(client_status(&pair.two, id), ==, PH_PENDING);
    client_cancel(&pair.two, id);
    g_assert_cmpuint(client_status(&pair.two, id), ==, PH_ST_CANCELLED);
    g_assert_cmpuint(ph_fake_store_transactions(pair.world.fake), ==, 0);
    client_release(&pair.one, client_recalled(&pair.one, 0, PH_OBJECT_ROOT, PH_LEASE_NONE), false);
    client_getattr(&pair.one, PH_OBJECT_ROOT, &lease);
    g_assert_cmpuint(lease, !=, 0); /* nobody is waited for any more */
    tear_down(&pair);
}

static void test_dropped_with_its_session(void)
{
    struct pair pair;
    struct client three;
    Pohmel__SessionCloseRequest close = POHMEL__SESSION_CLOSE_REQUEST__INIT;
    uint64_t id;

    set_up(&pair, false);
    client_init(&three, &pair.world, 3, 1, false);
    id = client_create(&pair.two, "new", 200, false);
    client_send(&pair.two, PH_CMD_SESSION_CLOSE, &close.base);
    g_assert_cmpuint(client_status(&pair.two, id), ==, PH_ST_NO_SESSION);
    id = client_create(&three, "new", 200, false);
    g_assert_cmpuint(client_status(&three, id), ==, PH_PENDING);
    client_clear(&three);
    g_assert_cmpuint(ph_server_running(pair.world.server), ==, 0);
    g_assert_cmpuint(ph_fake_store_transactions(pair.world.fake), ==, 0);
    tear_down(&pair);
}

static void test_answered_when_the_server_ends(void)
{
    struct pair pair;
    uint64_t id;

    set_up(&pair, false);
    id = client_create(&pair.two, "new", 200, false);
    ph_server_shut_down(pair.world.server);
    world_tick(&pair.world, 1250);
    g_assert_cmpuint(client_status(&pair.two, id), ==, PH_ST_SHUTTING_DOWN);
    g_assert_cmpuint(ph_server_running(pair.world.server), ==, 0);
    tear_down(&pair);
}

static void test_orderly_end_lets_others_go(void)
{
    struct pair pair;
    Pohmel__SessionCloseRequest close = POHMEL__SESSION_CLOSE_REQUEST__INIT;
    uint64_t id;

    set_up(&pair, false);
    id = client_create(&pair.two, "new", 200, false);
    client_send(&pair.one, PH_CMD_SESSION_CLOSE, &close.base);
    g_assert_cmpuint(client_status(&pair.two, id), ==, PH_ST_OK);
    tear_down(&pair);
}

static void test_lost_session_leaves_leases_behind(void)
{
    struct pair pair;
    uint64_t id;

    set_up(&pair, false);
    world_tick(&pair.world, 2000);
    client_clear(&pair.one);
    id = client_create(&pair.two, "new", 200, false);
    world_tick(&pair.world, 2000 + PH_LEASE_TTL_MS);
    g_assert_cmpuint(client_status(&pair.two, id), ==, PH_PENDING);
    world_tick(&pair.world, 2000 + PH_LEASE_TTL_MS + PH_LEASE_TTL_MS / 10);
    g_assert_cmpuint(client_status(&pair.two, id), ==, PH_ST_OK);
    g_assert_nonnull(g_strstr_len((char *) pair.world.log->data, pair.world.log->len, "client 01000000"));
    /* The same client comes back: what it left behind is gone at once. */
    client_init(&pair.one, &pair.world, 1, 2, true);
    client_clear(&pair.one);
    id = client_create(&pair.two, "newer", 201, false);
    g_assert_cmpuint(client_status(&pair.two, id), ==, PH_PENDING);
    client_init(&pair.one, &pair.world, 1, 3, false);
    g_assert_cmpuint(client_status(&pair.two, id), ==, PH_ST_OK);
    tear_down(&pair);
}

static void test_fenced(void)
{
    struct pair pair;
    uint64_t id;

    set_up(&pair, false);
    id = client_create(&pair.two, "new", 200, false);
    world_tick(&pair.world, 1000 + PH_RECALL_TIMEOUT_MS - 1);
    g_assert_cmpuint(pair.one.fenced, ==, 0);
    world_tick(&pair.world, 1000 + PH_RECALL_TIMEOUT_MS);
    g_assert_cmpuint(pair.one.fenced, ==, 1);
    g_assert_cmpuint(pair.one.close_status, ==, PH_ST_FENCED);
    g_assert_false(ph_server_conn_in_session(pair.one.conn));
    world_tick(&pair.world, 2000 + PH_RECALL_TIMEOUT_MS + PH_LEASE_TTL_MS);
    g_assert_cmpuint(client_status(&pair.two, id), ==, PH_ST_OK);
    g_assert_nonnull(g_strstr_len((char *) pair.world.log->data, pair.world.log->len, "fenced"));
    tear_down(&pair);
}

static void test_changed_outside(void)
{
    struct pair pair;
    struct ph_actions actions = {0};
    uint64_t lease, again;

    set_up(&pair, true);
    client_getattr(&pair.one, FILE_A, &lease);
    ph_server_changed_outside(pair.world.server, 0, FILE_A, &actions);
    g_assert_cmpuint(actions.count, ==, 1);
    g_assert_cmpint(ph_actions_get(&actions, 0)->kind, ==, PH_ACTION_SEND);
    g_assert_cmpuint(ph_actions_get(&actions, 0)->header.command, ==, PH_CMD_RECALL);
    ph_actions_clear(&actions);
    client_release(&pair.one, lease, false);
    client_getattr(&pair.one, FILE_A, &again);
    g_assert_cmpuint(again, >, lease);
    tear_down(&pair);
}

/* While the one waits that was granted, and before it runs, another one changes nothing of that. */
static void test_nothing_is_granted_before_it_ran(void)
{
    struct pair pair;
    uint64_t id, lease;

    set_up(&pair, false);
    id = client_create(&pair.two, "new", 200, false);
    pair.world.hold_runs = true;
    client_release(&pair.one, client_recalled(&pair.one, 0, PH_OBJECT_ROOT, PH_LEASE_NONE), false);
    g_assert_cmpuint(client_status(&pair.two, id), ==, PH_PENDING);
    client_getattr(&pair.one, PH_OBJECT_ROOT, &lease);
    g_assert_cmpuint(lease, ==, 0);
    pair.world.hold_runs = false;
    world_let_run(&pair.world);
    g_assert_cmpuint(client_status(&pair.two, id), ==, PH_ST_OK);
    client_getattr(&pair.one, PH_OBJECT_ROOT, &lease);
    g_assert_cmpuint(lease, !=, 0);
    tear_down(&pair);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/caching/granted-with-attributes", test_granted_with_attributes);
    g_test_add_func("/caching/data-come-with-a-name", test_data_come_with_a_name_under_a_lease);
    g_test_add_func("/caching/a-change-waits-and-goes-on", test_change_waits_and_goes_on);
    g_test_add_func("/caching/own-change-keeps-own-lease", test_own_change_keeps_own_lease);
    g_test_add_func("/caching/a-removal-waits-for-what-the-name-stands-for",
                    test_removal_waits_for_what_the_name_stands_for);
    g_test_add_func("/caching/a-name-of-another-object-is-looked-up-again",
                    test_name_of_another_object_by_now);
    g_test_add_func("/caching/a-truncating-create-waits-for-the-file",
                    test_truncating_create_waits_for_the_file);
    g_test_add_func("/caching/reading-waits-for-exclusive", test_reading_waits_for_exclusive);
    g_test_add_func("/caching/an-acquire-waits", test_acquire_waits);
    g_test_add_func("/caching/an-acquire-is-refused-while-the-own-lease-is-recalled",
                    test_acquire_is_refused_while_own_lease_is_recalled);
    g_test_add_func("/caching/cancelled-while-parked", test_cancelled_while_parked);
    g_test_add_func("/caching/dropped-with-its-session", test_dropped_with_its_session);
    g_test_add_func("/caching/answered-when-the-server-ends", test_answered_when_the_server_ends);
    g_test_add_func("/caching/an-orderly-end-lets-others-go", test_orderly_end_lets_others_go);
    g_test_add_func("/caching/a-lost-session-leaves-its-leases-behind",
                    test_lost_session_leaves_leases_behind);
    g_test_add_func("/caching/fenced", test_fenced);
    g_test_add_func("/caching/changed-behind-the-server", test_changed_outside);
    g_test_add_func("/caching/nothing-is-granted-before-it-ran", test_nothing_is_granted_before_it_ran);
    return g_test_run();
}
