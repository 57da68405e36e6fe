/* The server was started again: who may come back, what is claimed, and who waits meanwhile. */
#include <string.h>

#include "runtime/base/limits.h"
#include "server/core/lease.h"
#include "server/core/tests/caching_world.h"

enum {
    FILE_A = 100,
    FILE_B = 101,
    ALL = OPEN_CACHES | OPEN_WRITES | OPEN_RESUMABLE,
    AGAIN = ALL | OPEN_RESUMES,
    START_MS = 100000,
    OVER_MS = START_MS + PH_LEASE_TTL_MS + PH_LEASE_TTL_MS / 50,
};

struct pair {
    struct world world;
    struct client one, two;
};

static void join(struct pair *pair, struct client *client, uint8_t who, unsigned what)
{
    client_connect(client, &pair->world);
    g_assert_cmpuint(client_status(client, client_open(client, who, 1, what)), ==, PH_ST_OK);
}

/* Two sessions that are in the list of the store; "a" and "b" exist. */
static void set_up(struct pair *pair)
{
    world_init(&pair->world);
    ph_fake_store_keep_list(pair->world.fake);
    ph_fake_store_give_name(pair->world.fake, "a", FILE_A);
    ph_fake_store_give_name(pair->world.fake, "b", FILE_B);
    join(pair, &pair->one, 1, ALL);
    join(pair, &pair->two, 2, ALL);
}

static void tear_down(struct pair *pair)
{
    client_clear(&pair->one);
    client_clear(&pair->two);
    world_clear(&pair->world);
}

/* The server dies and is started again; connections stand, without sessions. */
static void restart(struct pair *pair)
{
    client_clear(&pair->one);
    client_clear(&pair->two);
    world_restart(&pair->world, START_MS);
    client_connect(&pair->one, &pair->world);
    client_connect(&pair->two, &pair->world);
}

static uint32_t resume(struct client *client, uint8_t who)
{
    return client_status(client, client_open(client, who, 1, AGAIN));
}

static uint64_t claim(struct client *client, uint64_t object, uint64_t lease, uint32_t mode, uint64_t version)
{
    Pohmel__ReclaimRequest request = POHMEL__RECLAIM_REQUEST__INIT;
    Pohmel__LeaseClaim one = POHMEL__LEASE_CLAIM__INIT, *claims = &one;

    one.object = object;
    one.lease = lease;
    one.mode = mode;
    one.version = version;
    request.claims = &claims;
    request.n_claims = 1;
    return client_send(client, PH_CMD_RECLAIM, &request.base);
}

/* The lease that came of a claim; 0 where it was refused. */
static uint64_t claimed(struct client *client, uint64_t asked)
{
    Pohmel__ReclaimReply *reply = (void *) client_message(client, asked, &pohmel__reclaim_reply__descriptor);
    uint64_t lease = reply->n_grants == 0 ? 0 : reply->grants[0]->lease;

    g_assert_cmpuint(reply->n_grants, <=, 1);
    if (lease != 0)
        g_assert_cmpuint(reply->grants[0]->attr->lease, ==, lease);
    pohmel__reclaim_reply__free_unpacked(reply, NULL);
    return lease;
}

static bool done(struct client *client)
{
    Pohmel__ReclaimDoneRequest request = POHMEL__RECLAIM_DONE_REQUEST__INIT;
    uint64_t asked = client_send(client, PH_CMD_RECLAIM_DONE, &request.base);
    Pohmel__ReclaimDoneReply *reply =
        (void *) client_message(client, asked, &pohmel__reclaim_done_reply__descriptor);
    bool confirmed = reply->confirmed;

    pohmel__reclaim_done_reply__free_unpacked(reply, NULL);
    return confirmed;
}

/* The promise: all comes back, under new ids; and grace is over when the last one is done. */
static void test_all_come_back(void)
{
    struct pair pair;
    uint64_t lease, again;

    set_up(&pair);
    lease = client_acquired(&pair.one, client_acquire(&pair.one, FILE_A, PH_LEASE_EXCLUSIVE));
    restart(&pair);
    g_assert_cmpuint(ph_server_look_grace(pair.world.server), >, 0);
    g_assert_cmpuint(resume(&pair.one, 1), ==, PH_ST_OK);
    again = claimed(&pair.one, claim(&pair.one, FILE_A, lease, PH_LEASE_EXCLUSIVE, 0));
    g_assert_cmpuint(again, >, lease);
    /* Claiming once more changes nothing. */
    g_assert_cmpuint(claimed(&pair.one, claim(&pair.one, FILE_A, lease, PH_LEASE_EXCLUSIVE, 0)), ==, again);
    g_assert_true(done(&pair.one));
    g_assert_cmpuint(ph_server_look_grace(pair.world.server), >, 0);
    g_assert_cmpuint(resume(&pair.two, 2), ==, PH_ST_OK);
    g_assert_true(done(&pair.two));
    g_assert_cmpuint(ph_server_look_grace(pair.world.server), ==, 0);
    g_assert_cmpuint(ph_fake_store_listed(pair.world.fake), ==, 2);
    client_getattr(&pair.two, FILE_A, NULL);
    g_assert_cmpuint(client_recalled(&pair.one, 0, FILE_A, PH_LEASE_SHARED), ==, again);
    tear_down(&pair);
}

/* The promise: so it is on a machine that has run for longer than anybody is waited for. */
static void test_come_back_on_an_old_machine(void)
{
    enum { DAYS_MS = 2 * PH_AWAY_MAX_MS };
    struct pair pair;

    set_up(&pair);
    client_clear(&pair.one);
    client_clear(&pair.two);
    world_restart(&pair.world, DAYS_MS);
    world_tick(&pair.world, DAYS_MS + 1);
    g_assert_cmpuint(ph_server_look_grace(pair.world.server), >, 0);
    client_connect(&pair.one, &pair.world);
    client_connect(&pair.two, &pair.world);
    g_assert_cmpuint(resume(&pair.one, 1), ==, PH_ST_OK);
    g_assert_cmpuint(resume(&pair.two, 2), ==, PH_ST_OK);
    tear_down(&pair);
}

/* The promise: where nobody is known nobody waits. */
static void test_no_grace_for_nobody(void)
{
    struct pair pair;
    Pohmel__SessionCloseRequest close = POHMEL__SESSION_CLOSE_REQUEST__INIT;
    uint64_t id;

    set_up(&pair);
    client_send(&pair.one, PH_CMD_SESSION_CLOSE, &close.base);
    client_send(&pair.two, PH_CMD_SESSION_CLOSE, &close.base);
    g_assert_cmpuint(ph_fake_store_listed(pair.world.fake), ==, 0);
    restart(&pair);
    g_assert_cmpuint(ph_server_look_grace(pair.world.server), ==, 0);
    g_assert_cmpuint(resume(&pair.one, 1), ==, PH_ST_NO_SESSION);
    g_assert_cmpuint(client_status(&pair.one, client_open(&pair.one, 1, 2, ALL)), ==, PH_ST_OK);
    id = client_create(&pair.one, "new", 200, false);
    g_assert_cmpuint(client_status(&pair.one, id), ==, PH_ST_OK);
    tear_down(&pair);
}

/* The promise: what somebody may come back for is served to nobody before it is too late for that; then the
 * late ones are refused, and not known after another start. */
static void test_others_wait_for_who_may_come(void)
{
    struct pair pair;
    uint64_t lookup, getattr, create, acquire;

    set_up(&pair);
    client_acquire(&pair.one, FILE_A, PH_LEASE_EXCLUSIVE);
    restart(&pair);
    g_assert_cmpuint(resume(&pair.two, 2), ==, PH_ST_OK);
    g_assert_true(done(&pair.two));
    lookup = client_lookup(&pair.two, "a", NULL, NULL);
    getattr = client_getattr(&pair.two, FILE_A, NULL);
    create = client_create(&pair.two, "new", 200, false);
    acquire = client_acquire(&pair.two, FILE_B, PH_LEASE_SHARED);
    world_tick(&pair.world, OVER_MS - 1);
    g_assert_cmpuint(client_status(&pair.two, lookup), ==, PH_PENDING);
    g_assert_cmpuint(client_status(&pair.two, getattr), ==, PH_PENDING);
    g_assert_cmpuint(client_status(&pair.two, create), ==, PH_PENDING);
    g_assert_cmpuint(client_status(&pair.two, acquire), ==, PH_PENDING);
    client_cancel(&pair.two, acquire);
    g_assert_cmpuint(client_status(&pair.two, acquire), ==, PH_ST_CANCELLED);
    world_tick(&pair.world, OVER_MS);
    g_assert_cmpuint(client_status(&pair.two, lookup), ==, PH_ST_OK);
    g_assert_cmpuint(client_status(&pair.two, getattr), ==, PH_ST_OK);
    g_assert_cmpuint(client_status(&pair.two, create), ==, PH_ST_OK);
    g_assert_cmpuint(resume(&pair.one, 1), ==, PH_ST_NO_SESSION);
    g_assert_false(ph_fake_store_lists(pair.world.fake, 1, 1));
    g_assert_true(ph_fake_store_lists(pair.world.fake, 2, 1));
    tear_down(&pair);
}

/* The promise: who holds what its commands concern goes on at once, though others have not come back. */
static void test_own_go_on(void)
{
    struct pair pair;
    uint64_t root, file, id;

    set_up(&pair);
    root = client_acquired(&pair.one, client_acquire(&pair.one, PH_OBJECT_ROOT, PH_LEASE_EXCLUSIVE));
    file = client_acquired(&pair.one, client_acquire(&pair.one, FILE_A, PH_LEASE_SHARED));
    restart(&pair);
    g_assert_cmpuint(resume(&pair.one, 1), ==, PH_ST_OK);
    id = client_create(&pair.one, "new", 200, false); /* sent again before the claim is answered */
    g_assert_cmpuint(client_status(&pair.one, id), ==, PH_PENDING);
    g_assert_cmpuint(claimed(&pair.one, claim(&pair.one, PH_OBJECT_ROOT, root, PH_LEASE_EXCLUSIVE, 0)), !=,
                     0);
    g_assert_cmpuint(claimed(&pair.one, claim(&pair.one, FILE_A, file, PH_LEASE_SHARED, 0)), !=, 0);
    id = client_create(&pair.one, "newer", 201, false);
    g_assert_cmpuint(client_status(&pair.one, id), ==, PH_ST_OK);
    id = client_getattr(&pair.one, FILE_A, NULL);
    g_assert_cmpuint(client_status(&pair.one, id), ==, PH_ST_OK);
    id = client_getattr(&pair.one, FILE_B, NULL);
    g_assert_cmpuint(client_status(&pair.one, id), ==, PH_PENDING);
    g_assert_true(done(&pair.one));
    world_tick(&pair.world, OVER_MS);
    g_assert_cmpuint(client_status(&pair.one, id), ==, PH_ST_OK);
    tear_down(&pair);
}

/* The promise: who shared an object, and came back first, does not have it alone while others may come back
 * who shared it, too: they read it in their caches until then. */
static void test_who_shared_goes_on_sharing(void)
{
    struct pair pair;
    uint64_t file, opened;
    Pohmel__OpenReply *reply;

    set_up(&pair);
    file = client_acquired(&pair.one, client_acquire(&pair.one, FILE_A, PH_LEASE_SHARED));
    client_acquired(&pair.two, client_acquire(&pair.two, FILE_A, PH_LEASE_SHARED));
    restart(&pair);
    g_assert_cmpuint(resume(&pair.one, 1), ==, PH_ST_OK);
    g_assert_cmpuint(claimed(&pair.one, claim(&pair.one, FILE_A, file, PH_LEASE_SHARED, 0)), !=, 0);
    g_assert_true(done(&pair.one));
    opened = client_open_file(&pair.one, FILE_A, 5, false);
    g_assert_cmpuint(client_status(&pair.one, opened), ==, PH_ST_OK);
    reply = (void *) client_message(&pair.one, opened, &pohmel__open_reply__descriptor);
    g_assert_cmpuint(reply->attr->lease_mode, ==, PH_LEASE_SHARED);
    pohmel__open_reply__free_unpacked(reply, NULL);
    tear_down(&pair);
}

/* The promise: who begins to claim once more, because it was not told that it was done, waits for nobody who
 * may be doing the same, and is not told what somebody else may have changed. */
static void test_claims_once_more_beside_others(void)
{
    struct pair pair;
    uint64_t lease, opened;
    Pohmel__OpenReply *reply;

    set_up(&pair);
    lease = client_acquired(&pair.two, client_acquire(&pair.two, FILE_B, PH_LEASE_EXCLUSIVE));
    restart(&pair);
    g_assert_cmpuint(resume(&pair.two, 2), ==, PH_ST_OK);
    g_assert_cmpuint(claimed(&pair.two, claim(&pair.two, FILE_B, lease, PH_LEASE_EXCLUSIVE, 0)), !=, 0);
    g_assert_true(done(&pair.two));
    g_assert_cmpuint(resume(&pair.one, 1), ==, PH_ST_OK);
    g_assert_true(done(&pair.one));
    client_clear(&pair.one);
    client_connect(&pair.one, &pair.world);
    g_assert_cmpuint(resume(&pair.one, 1), ==, PH_ST_OK);
    opened = client_open_file(&pair.one, FILE_B, 5, true);
    g_assert_cmpuint(client_status(&pair.one, opened), ==, PH_ST_OK);
    reply = (void *) client_message(&pair.one, opened, &pohmel__open_reply__descriptor);
    g_assert_cmpuint(reply->attr->lease, ==, 0);
    g_assert_cmpuint(reply->attr->version, ==, 0);
    pohmel__open_reply__free_unpacked(reply, NULL);
    tear_down(&pair);
}

/* The promise: who came back, and did not claim what it held in time, is not there any more; what it sent
 * before the restart is not executed after others could change what it no longer holds. */
static void test_who_does_not_claim_is_ended(void)
{
    struct pair pair;
    uint64_t id;

    set_up(&pair);
    client_acquired(&pair.one, client_acquire(&pair.one, PH_OBJECT_ROOT, PH_LEASE_EXCLUSIVE));
    restart(&pair);
    g_assert_cmpuint(resume(&pair.one, 1), ==, PH_ST_OK);
    id = client_create(&pair.one, "new", 200, false);
    world_tick(&pair.world, OVER_MS);
    g_assert_cmpuint(ph_server_look_grace(pair.world.server), ==, 0);
    g_assert_cmpuint(client_status(&pair.one, id), !=, PH_ST_OK);
    client_clear(&pair.one);
    client_connect(&pair.one, &pair.world);
    g_assert_cmpuint(resume(&pair.one, 1), ==, PH_ST_NO_SESSION);
    tear_down(&pair);
}

/* The promise: handles are opened again and locks taken again before anybody else can have them. */
static void test_handles_and_locks(void)
{
    struct pair pair;
    uint64_t waits;

    set_up(&pair);
    client_open_file(&pair.one, FILE_B, 5, false);
    g_assert_cmpuint(client_status(&pair.one, client_lock_file(&pair.one, FILE_B, 5, false)), ==, PH_ST_OK);
    restart(&pair);
    g_assert_cmpuint(resume(&pair.two, 2), ==, PH_ST_OK);
    client_open_file(&pair.two, FILE_B, 6, true);
    g_assert_true(done(&pair.two));
    waits = client_lock_file(&pair.two, FILE_B, 6, false);
    g_assert_cmpuint(client_status(&pair.two, waits), ==, PH_PENDING);
    g_assert_cmpuint(resume(&pair.one, 1), ==, PH_ST_OK);
    g_assert_cmpuint(client_status(&pair.one, client_open_file(&pair.one, FILE_B, 5, true)), ==, PH_ST_OK);
    g_assert_cmpuint(client_status(&pair.one, client_lock_file(&pair.one, FILE_B, 5, false)), ==, PH_ST_OK);
    g_assert_true(done(&pair.one));
    g_assert_cmpuint(client_status(&pair.two, waits), ==, PH_ST_WOULD_BLOCK);
    tear_down(&pair);
}

/* The promise: a claim is refused when the object is gone, was changed, or belongs to somebody else; and what
 * was never held, or is claimed out of time, is not given. */
static void test_claims_are_refused(void)
{
    struct pair pair;
    uint64_t lease;

    set_up(&pair);
    lease = client_acquired(&pair.one, client_acquire(&pair.one, FILE_A, PH_LEASE_EXCLUSIVE));
    g_assert_cmpuint(client_status(&pair.one, claim(&pair.one, FILE_A, lease, 2, 0)), ==, PH_ST_NO_LEASE);
    restart(&pair);
    ph_fake_store_change(pair.world.fake, FILE_A);
    g_assert_cmpuint(resume(&pair.one, 1), ==, PH_ST_OK);
    g_assert_cmpuint(claimed(&pair.one, claim(&pair.one, FILE_A, lease, PH_LEASE_EXCLUSIVE, 7)), ==, 0);
    g_assert_cmpuint(claimed(&pair.one, claim(&pair.one, 999, lease, PH_LEASE_EXCLUSIVE, 0)), ==, 0);
    g_assert_cmpuint(world_leases(&pair.world), ==, 0);
    /* An id of this start cannot be from before. */
    g_assert_cmpuint(claimed(&pair.one, claim(&pair.one, FILE_A, lease + (UINT64_C(9) << 40), 2, 1)), ==, 0);
    g_assert_cmpuint(claimed(&pair.one, claim(&pair.one, FILE_A, lease, PH_LEASE_EXCLUSIVE, 1)), !=, 0);
    g_assert_cmpuint(resume(&pair.two, 2), ==, PH_ST_OK);
    g_assert_cmpuint(claimed(&pair.two, claim(&pair.two, FILE_A, lease, PH_LEASE_SHARED, 0)), ==, 0);
    g_assert_cmpuint(claimed(&pair.two, claim(&pair.two, FILE_B, lease, PH_LEASE_SHARED, 0)), !=, 0);
    g_assert_cmpuint(claimed(&pair.one, claim(&pair.one, FILE_B, lease, PH_LEASE_SHARED, 0)), !=, 0);
    g_assert_cmpuint(claimed(&pair.one, claim(&pair.one, FILE_B, lease, PH_LEASE_EXCLUSIVE, 0)), ==, 0);
    g_assert_true(done(&pair.one));
    g_assert_cmpuint(client_status(&pair.one, claim(&pair.one, FILE_A, lease, 2, 0)), ==, PH_ST_NO_LEASE);
    g_assert_true(done(&pair.two));
    tear_down(&pair);
}

/* The promise: a connection that breaks while it claims begins again; the time for that goes on. */
static void test_breaks_while_claiming(void)
{
    struct pair pair;
    uint64_t lease, again;

    set_up(&pair);
    lease = client_acquired(&pair.one, client_acquire(&pair.one, FILE_A, PH_LEASE_EXCLUSIVE));
    restart(&pair);
    g_assert_cmpuint(resume(&pair.two, 2), ==, PH_ST_OK);
    g_assert_true(done(&pair.two));
    g_assert_cmpuint(resume(&pair.one, 1), ==, PH_ST_OK);
    again = claimed(&pair.one, claim(&pair.one, FILE_A, lease, PH_LEASE_EXCLUSIVE, 0));
    client_clear(&pair.one);
    g_assert_cmpuint(ph_server_look_grace(pair.world.server), >, 0);
    client_connect(&pair.one, &pair.world);
    g_assert_cmpuint(resume(&pair.one, 1), ==, PH_ST_OK);
    g_assert_cmpuint(claimed(&pair.one, claim(&pair.one, FILE_A, lease, PH_LEASE_EXCLUSIVE, 0)), ==, again);
    client_clear(&pair.one);
    world_tick(&pair.world, OVER_MS);
    g_assert_cmpuint(ph_server_look_grace(pair.world.server), ==, 0);
    client_connect(&pair.one, &pair.world);
    g_assert_cmpuint(resume(&pair.one, 1), ==, PH_ST_NO_SESSION);
    tear_down(&pair);
}

/* The promise: what was claimed is claimed once more, under its new id, when the connection broke before the
 * client could know that it was done, or that the server knew; of what is not held any more nothing comes. */
static void test_claims_what_it_has_claimed(void)
{
    struct pair pair;
    uint64_t lease, again;

    set_up(&pair);
    lease = client_acquired(&pair.one, client_acquire(&pair.one, FILE_A, PH_LEASE_EXCLUSIVE));
    restart(&pair);
    g_assert_cmpuint(resume(&pair.one, 1), ==, PH_ST_OK);
    again = claimed(&pair.one, claim(&pair.one, FILE_A, lease, PH_LEASE_EXCLUSIVE, 0));
    client_clear(&pair.one);
    client_connect(&pair.one, &pair.world);
    g_assert_cmpuint(resume(&pair.one, 1), ==, PH_ST_OK);
    g_assert_cmpuint(claimed(&pair.one, claim(&pair.one, FILE_B, again, PH_LEASE_SHARED, 0)), ==, 0);
    g_assert_cmpuint(claimed(&pair.one, claim(&pair.one, FILE_A, again, PH_LEASE_EXCLUSIVE, 0)), ==, again);
    g_assert_true(done(&pair.one));
    g_assert_cmpuint(resume(&pair.two, 2), ==, PH_ST_OK);
    g_assert_true(done(&pair.two));
    client_getattr(&pair.two, FILE_A, NULL); /* wants it, and waits */
    client_clear(&pair.one);
    client_connect(&pair.one, &pair.world);
    g_assert_cmpuint(resume(&pair.one, 1), ==, PH_ST_OK);
    g_assert_cmpuint(claimed(&pair.one, claim(&pair.one, FILE_A, again, PH_LEASE_EXCLUSIVE, 0)), ==, again);
    g_assert_true(done(&pair.one));
    client_release(&pair.one, again, false);
    g_assert_cmpuint(client_status(&pair.one, claim(&pair.one, FILE_A, again, PH_LEASE_EXCLUSIVE, 0)), ==,
                     PH_ST_NO_LEASE);
    tear_down(&pair);
}

/* The promise: what was open is opened again at once, too, when all begins again after it was done, though
 * others have not come back. */
static void test_opens_again_after_it_was_done(void)
{
    struct pair pair;

    set_up(&pair);
    client_open_file(&pair.one, FILE_B, 5, false);
    restart(&pair);
    g_assert_cmpuint(resume(&pair.one, 1), ==, PH_ST_OK);
    g_assert_cmpuint(client_status(&pair.one, client_open_file(&pair.one, FILE_B, 5, true)), ==, PH_ST_OK);
    g_assert_true(done(&pair.one));
    client_clear(&pair.one);
    client_connect(&pair.one, &pair.world);
    g_assert_cmpuint(resume(&pair.one, 1), ==, PH_ST_OK);
    g_assert_cmpuint(ph_server_look_grace(pair.world.server), >, 0);
    g_assert_cmpuint(client_status(&pair.one, client_open_file(&pair.one, FILE_B, 5, true)), ==, PH_ST_OK);
    g_assert_cmpuint(client_status(&pair.one, client_open_file(&pair.one, FILE_A, 6, false)), ==, PH_PENDING);
    world_tick(&pair.world, OVER_MS);
    tear_down(&pair);
}

/* The promise: a session with a higher number, and one that is closed, claim nothing more. */
static void test_grace_ends_early(void)
{
    struct pair pair;
    Pohmel__SessionCloseRequest close = POHMEL__SESSION_CLOSE_REQUEST__INIT;

    set_up(&pair);
    restart(&pair);
    g_assert_cmpuint(client_status(&pair.one, client_open(&pair.one, 1, 2, ALL)), ==, PH_ST_OK);
    g_assert_cmpuint(ph_server_look_grace(pair.world.server), >, 0);
    g_assert_cmpuint(resume(&pair.two, 2), ==, PH_ST_OK);
    client_send(&pair.two, PH_CMD_SESSION_CLOSE, &close.base);
    g_assert_cmpuint(ph_server_look_grace(pair.world.server), ==, 0);
    g_assert_true(ph_fake_store_lists(pair.world.fake, 1, 2));
    g_assert_cmpuint(ph_fake_store_listed(pair.world.fake), ==, 1);
    tear_down(&pair);
}

/* The promise: who is fenced is not in the list any more before anybody gets what it held. */
static void test_fenced_is_forgotten_first(void)
{
    struct pair pair;
    uint64_t id;

    set_up(&pair);
    client_acquire(&pair.one, FILE_A, PH_LEASE_EXCLUSIVE);
    client_clear(&pair.one);
    id = client_getattr(&pair.two, FILE_A, NULL);
    world_tick(&pair.world, START_MS);
    world_tick(&pair.world, START_MS + PH_LEASE_TTL_MS + PH_LEASE_TTL_MS / 50);
    world_tick(&pair.world, START_MS + PH_LEASE_TTL_MS + PH_LEASE_TTL_MS / 50);
    g_assert_cmpuint(client_status(&pair.two, id), ==, PH_ST_OK);
    g_assert_false(ph_fake_store_lists(pair.world.fake, 1, 1));
    client_connect(&pair.one, &pair.world);
    tear_down(&pair);
}

/* The promise: slots of before go on from whatever comes first. */
static void test_slots_go_on(void)
{
    struct pair pair;
    Pohmel__Change change = POHMEL__CHANGE__INIT;
    Pohmel__RemoveRequest remove = POHMEL__REMOVE_REQUEST__INIT;
    Pohmel__Caller caller = POHMEL__CALLER__INIT;
    uint64_t id;

    remove.caller = &caller;
    remove.parent = PH_OBJECT_ROOT;
    remove.name = (ProtobufCBinaryData){1, (uint8_t *) "a"};
    change.command_case = POHMEL__CHANGE__COMMAND_REMOVE;
    change.remove = &remove;
    set_up(&pair);
    restart(&pair);
    g_assert_cmpuint(resume(&pair.one, 1), ==, PH_ST_OK);
    g_assert_true(done(&pair.one));
    g_assert_cmpuint(resume(&pair.two, 2), ==, PH_ST_OK);
    g_assert_true(done(&pair.two));
    id = client_transact(&pair.one, &change, 3, 17);
    g_assert_cmpuint(client_status(&pair.one, id), ==, PH_ST_OK);
    id = client_transact(&pair.one, &change, 3, 19);
    g_assert_cmpuint(client_status(&pair.one, id), ==, PH_ST_BAD_SEQUENCE);
    id = client_transact(&pair.one, &change, 3, 18);
    g_assert_cmpuint(client_status(&pair.one, id), ==, PH_ST_NOT_FOUND);
    tear_down(&pair);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/grace/all-come-back", test_all_come_back);
    g_test_add_func("/grace/come-back-on-an-old-machine", test_come_back_on_an_old_machine);
    g_test_add_func("/grace/none-for-nobody", test_no_grace_for_nobody);
    g_test_add_func("/grace/others-wait-for-who-may-come", test_others_wait_for_who_may_come);
    g_test_add_func("/grace/what-is-held-goes-on", test_own_go_on);
    g_test_add_func("/grace/who-shared-goes-on-sharing", test_who_shared_goes_on_sharing);
    g_test_add_func("/grace/claims-once-more-beside-others", test_claims_once_more_beside_others);
    g_test_add_func("/grace/who does not claim is ended", test_who_does_not_claim_is_ended);
    g_test_add_func("/grace/handles-and-locks", test_handles_and_locks);
    g_test_add_func("/grace/claims-are-refused", test_claims_are_refused);
    g_test_add_func("/grace/a-connection-breaks-while-it-claims", test_breaks_while_claiming);
    g_test_add_func("/grace/what-was-open-is-opened-again-after-it-was-done",
                    test_opens_again_after_it_was_done);
    g_test_add_func("/grace/what-it-has-claimed-it-can-claim-once-more", test_claims_what_it_has_claimed);
    g_test_add_func("/grace/ends-early", test_grace_ends_early);
    g_test_add_func("/grace/who-is-fenced-is-forgotten-first", test_fenced_is_forgotten_first);
    g_test_add_func("/grace/slots-go-on", test_slots_go_on);
    return g_test_run();
}
