/* Sessions whose connection broke: what stays, what is answered later, and when they end after all. */
#include <string.h>

#include "runtime/base/limits.h"
#include "server/core/lease.h"
#include "server/core/tests/caching_world.h"

enum { FILE_A = 100, FILE_B = 101, ALL = OPEN_CACHES | OPEN_RESUMABLE, AGAIN = ALL | OPEN_RESUMES };

/* When what was lost at the first tick has expired, by far. */
enum { START_MS = 1000, EXPIRED_MS = START_MS + PH_LEASE_TTL_MS + PH_LEASE_TTL_MS / 10 };

struct pair {
    struct world world;
    struct client one, two;
};

/* Two sessions that can be taken up again; "a" and "b" exist. */
static void set_up(struct pair *pair)
{
    world_init(&pair->world);
    ph_fake_store_give_name(pair->world.fake, "a", FILE_A);
    ph_fake_store_give_name(pair->world.fake, "b", FILE_B);
    client_connect(&pair->one, &pair->world);
    g_assert_cmpuint(client_status(&pair->one, client_open(&pair->one, 1, 1, ALL)), ==, PH_ST_OK);
    client_connect(&pair->two, &pair->world);
    g_assert_cmpuint(client_status(&pair->two, client_open(&pair->two, 2, 1, ALL)), ==, PH_ST_OK);
}

static void tear_down(struct pair *pair)
{
    client_clear(&pair->one);
    client_clear(&pair->two);
    world_clear(&pair->world);
}

/* The connection of the first one breaks, and another one is made. */
static void break_one(struct pair *pair)
{
    client_clear(&pair->one);
    client_connect(&pair->one, &pair->world);
}

static uint32_t resume_one(struct pair *pair)
{
    return client_status(&pair->one, client_open(&pair->one, 1, 1, AGAIN));
}

static Pohmel__Change *create_change(void)
{
    static Pohmel__Change change;
    static Pohmel__CreateRequest create;
    static Pohmel__Caller caller;

    pohmel__change__init(&change);
    pohmel__create_request__init(&create);
    pohmel__caller__init(&caller);
    create.caller = &caller;
    create.parent = PH_OBJECT_ROOT;
    create.name = (ProtobufCBinaryData){3, (uint8_t *) "new"};
    create.object = 200;
    change.command_case = POHMEL__CHANGE__COMMAND_CREATE;
    change.create = &create;
    return &change;
}

/* The promise: handles, locks and leases are as they were. */
static void test_nothing_is_lost(void)
{
    struct pair pair;
    uint64_t lease, again, asked;
    Pohmel__SessionOpenReply *reply;

    set_up(&pair);
    lease = client_acquired(&pair.one, client_acquire(&pair.one, FILE_A, PH_LEASE_EXCLUSIVE));
    g_assert_cmpuint(client_status(&pair.one, client_open_file(&pair.one, FILE_B, 5, false)), ==, PH_ST_OK);
    g_assert_cmpuint(client_status(&pair.one, client_lock_file(&pair.one, FILE_B, 5, false)), ==, PH_ST_OK);
    break_one(&pair);
    g_assert_cmpuint(ph_fake_store_ended(pair.world.fake), ==, 0);
    g_assert_cmpuint(ph_server_sessions_away(pair.world.server), ==, 1);
    g_assert_cmpuint(ph_server_sessions(pair.world.server), ==, 1);
    asked = client_open(&pair.one, 1, 1, AGAIN);
    reply = (void *) client_message(&pair.one, asked, &pohmel__session_open_reply__descriptor);
    g_assert_true(reply->resumed && reply->resumable && reply->leases);
    pohmel__session_open_reply__free_unpacked(reply, NULL);
    g_assert_cmpuint(ph_server_sessions_away(pair.world.server), ==, 0);
    again = client_acquired(&pair.one, client_acquire(&pair.one, FILE_A, PH_LEASE_EXCLUSIVE));
    g_assert_cmpuint(again, ==, lease);
    g_assert_cmpuint(ph_fake_store_handles(pair.world.fake), ==, 1);
    g_assert_cmpuint(client_status(&pair.one, client_open_file(&pair.one, FILE_B, 5, false)), ==, PH_ST_OK);
    g_assert_cmpuint(ph_fake_store_handles(pair.world.fake), ==, 1);
    client_open_file(&pair.two, FILE_B, 6, false);
    g_assert_cmpuint(client_status(&pair.two, client_lock_file(&pair.two, FILE_B, 6, false)), ==,
                     PH_ST_WOULD_BLOCK);
    tear_down(&pair);
}

/* The promise: who did not say that he comes back is not waited for. */
static void test_others_end_with_their_connection(void)
{
    struct pair pair;

    set_up(&pair);
    client_clear(&pair.two);
    client_connect(&pair.two, &pair.world);
    g_assert_cmpuint(client_status(&pair.two, client_open(&pair.two, 3, 1, OPEN_CACHES)), ==, PH_ST_OK);
    client_clear(&pair.two);
    g_assert_cmpuint(ph_fake_store_ended(pair.world.fake), ==, 1);
    client_connect(&pair.two, &pair.world);
    g_assert_cmpuint(client_status(&pair.two, client_open(&pair.two, 3, 1, OPEN_CACHES | OPEN_RESUMES)), ==,
                     PH_ST_NO_SESSION);
    tear_down(&pair);
}

/* The promise: a transaction takes effect once, and is answered over the new connection. */
static void test_transaction_is_answered_from_the_record(void)
{
    struct pair pair;
    uint64_t id;

    set_up(&pair);
    id = client_transact(&pair.one, create_change(), 3, 1);
    g_assert_cmpuint(client_status(&pair.one, id), ==, PH_ST_OK);
    break_one(&pair);
    g_assert_cmpuint(resume_one(&pair), ==, PH_ST_OK);
    id = client_transact(&pair.one, create_change(), 3, 1);
    g_assert_cmpuint(client_status(&pair.one, id), ==, PH_ST_OK);
    g_assert_cmpuint(ph_fake_store_transactions(pair.world.fake), ==, 1);
    tear_down(&pair);
}

/* The promise: one that was waiting when the connection broke goes on, and is answered over the new one. */
static void test_parked_transaction_is_answered_later(void)
{
    struct pair pair;
    uint64_t lease, id;

    set_up(&pair);
    lease = client_acquired(&pair.two, client_acquire(&pair.two, PH_OBJECT_ROOT, PH_LEASE_EXCLUSIVE));
    client_transact(&pair.one, create_change(), 3, 1);
    break_one(&pair);
    g_assert_cmpuint(resume_one(&pair), ==, PH_ST_OK);
    id = client_transact(&pair.one, create_change(), 3, 1);
    g_assert_cmpuint(client_status(&pair.one, id), ==, PH_PENDING);
    /* And once more over a third connection. */
    break_one(&pair);
    g_assert_cmpuint(resume_one(&pair), ==, PH_ST_OK);
    id = client_transact(&pair.one, create_change(), 3, 1);
    g_assert_cmpuint(client_status(&pair.one, id), ==, PH_PENDING);
    client_release(&pair.two, lease, false);
    g_assert_cmpuint(client_status(&pair.one, id), ==, PH_ST_OK);
    g_assert_cmpuint(ph_fake_store_transactions(pair.world.fake), ==, 1);
    tear_down(&pair);
}

/* The promise: a transaction that was sent again can be cancelled as if it were the first. */
static void test_repeated_transaction_is_cancelled(void)
{
    struct pair pair;
    uint64_t id;

    set_up(&pair);
    client_acquire(&pair.two, PH_OBJECT_ROOT, PH_LEASE_EXCLUSIVE);
    client_transact(&pair.one, create_change(), 3, 1);
    break_one(&pair);
    g_assert_cmpuint(resume_one(&pair), ==, PH_ST_OK);
    pair.one.next_id = 1000;
    id = client_transact(&pair.one, create_change(), 3, 1);
    client_cancel(&pair.one, id);
    g_assert_cmpuint(client_status(&pair.one, id), ==, PH_ST_CANCELLED);
    g_assert_cmpuint(ph_fake_store_transactions(pair.world.fake), ==, 0);
    tear_down(&pair);
}

/* The promise: waits for locks and leases end with the connection, and hold up nobody. */
static void test_waits_end_with_the_connection(void)
{
    struct pair pair;
    uint64_t lease;

    set_up(&pair);
    lease = client_acquired(&pair.two, client_acquire(&pair.two, FILE_A, PH_LEASE_EXCLUSIVE));
    client_getattr(&pair.one, FILE_A, NULL);
    client_open_file(&pair.two, FILE_B, 6, false);
    g_assert_cmpuint(client_status(&pair.two, client_lock_file(&pair.two, FILE_B, 6, false)), ==, PH_ST_OK);
    client_open_file(&pair.one, FILE_B, 5, false);
    g_assert_cmpuint(client_status(&pair.one, client_lock_file(&pair.one, FILE_B, 5, true)), ==, PH_PENDING);
    break_one(&pair);
    g_assert_cmpuint(resume_one(&pair), ==, PH_ST_OK);
    g_assert_cmpuint(ph_server_running(pair.world.server), ==, 0);
    pair.one.next_id = 1000;
    client_release(&pair.two, lease, false);
    g_assert_cmpuint(g_hash_table_size(pair.one.replies), ==, 1);
    g_assert_cmpuint(client_status(&pair.one, client_lock_file(&pair.one, FILE_B, 5, true)), ==, PH_PENDING);
    tear_down(&pair);
}

/* The promise: what was recalled before, or while nobody was there, is asked for once the client is back. */
static void test_recalls_come_again(void)
{
    struct pair pair;
    uint64_t lease_a, lease_b, id_a, id_b;

    set_up(&pair);
    lease_a = client_acquired(&pair.one, client_acquire(&pair.one, FILE_A, PH_LEASE_EXCLUSIVE));
    lease_b = client_acquired(&pair.one, client_acquire(&pair.one, FILE_B, PH_LEASE_EXCLUSIVE));
    id_a = client_getattr(&pair.two, FILE_A, NULL);
    g_assert_cmpuint(client_recalled(&pair.one, 0, FILE_A, PH_LEASE_SHARED), ==, lease_a);
    break_one(&pair);
    id_b = client_getattr(&pair.two, FILE_B, NULL);
    g_assert_cmpuint(pair.one.recalls->len, ==, 0);
    g_assert_cmpuint(resume_one(&pair), ==, PH_ST_OK);
    g_assert_cmpuint(pair.one.recalls->len, ==, 2);
    g_assert_cmpuint(client_recalled(&pair.one, 0, FILE_A, PH_LEASE_SHARED), ==, lease_a);
    g_assert_cmpuint(client_recalled(&pair.one, 1, FILE_B, PH_LEASE_SHARED), ==, lease_b);
    g_assert_cmpuint(client_status(&pair.two, id_a), ==, PH_PENDING);
    client_release(&pair.one, lease_a, true);
    client_release(&pair.one, lease_b, false);
    g_assert_cmpuint(client_status(&pair.two, id_a), ==, PH_ST_OK);
    g_assert_cmpuint(client_status(&pair.two, id_b), ==, PH_ST_OK);
    tear_down(&pair);
}

/* The promise: who is away keeps its leases past their time as long as nobody wants one of them. */
static void test_fenced_when_wanted_and_expired(void)
{
    struct pair pair;
    uint64_t id;

    set_up(&pair);
    world_tick(&pair.world, START_MS);
    client_acquire(&pair.one, FILE_A, PH_LEASE_EXCLUSIVE);
    world_tick(&pair.world, START_MS);
    break_one(&pair);
    id = client_getattr(&pair.two, FILE_A, NULL);
    world_tick(&pair.world, START_MS + PH_LEASE_TTL_MS);
    g_assert_cmpuint(client_status(&pair.two, id), ==, PH_PENDING);
    world_tick(&pair.world, EXPIRED_MS);
    g_assert_cmpuint(client_status(&pair.two, id), ==, PH_ST_OK);
    g_assert_cmpuint(resume_one(&pair), ==, PH_ST_NO_SESSION);
    g_assert_nonnull(g_strstr_len((char *) pair.world.log->data, pair.world.log->len, "did not come back"));
    tear_down(&pair);
}

/* The promise: a machine that slept for hours finds everything as it was, where nobody wanted it. */
static void test_sleeps_for_hours(void)
{
    struct pair pair;
    uint64_t lease;

    set_up(&pair);
    lease = client_acquired(&pair.one, client_acquire(&pair.one, FILE_A, PH_LEASE_EXCLUSIVE));
    break_one(&pair);
    world_tick(&pair.world, START_MS + PH_AWAY_MAX_MS / 2);
    g_assert_cmpuint(resume_one(&pair), ==, PH_ST_OK);
    g_assert_cmpuint(client_acquired(&pair.one, client_acquire(&pair.one, FILE_A, PH_LEASE_EXCLUSIVE)), ==,
                     lease);
    break_one(&pair);
    world_tick(&pair.world, START_MS + 2 * (uint64_t) PH_AWAY_MAX_MS);
    g_assert_cmpuint(resume_one(&pair), ==, PH_ST_NO_SESSION);
    g_assert_cmpuint(ph_fake_store_ended(pair.world.fake), ==, 1);
    tear_down(&pair);
}

/* The promise: a lock of who is away is waited for as long as its leases last, and no longer. */
static void test_lock_of_who_is_away(void)
{
    struct pair pair;
    uint64_t waits;

    set_up(&pair);
    world_tick(&pair.world, START_MS);
    client_open_file(&pair.one, FILE_B, 5, false);
    g_assert_cmpuint(client_status(&pair.one, client_lock_file(&pair.one, FILE_B, 5, false)), ==, PH_ST_OK);
    client_open_file(&pair.two, FILE_B, 6, false);
    break_one(&pair);
    g_assert_cmpuint(client_status(&pair.two, client_lock_file(&pair.two, FILE_B, 6, false)), ==,
                     PH_ST_WOULD_BLOCK);
    waits = client_lock_file(&pair.two, FILE_B, 6, true);
    world_tick(&pair.world, START_MS + PH_LEASE_TTL_MS);
    g_assert_cmpuint(client_status(&pair.two, waits), ==, PH_PENDING);
    world_tick(&pair.world, EXPIRED_MS);
    g_assert_cmpuint(client_status(&pair.two, waits), ==, PH_ST_OK);
    g_assert_cmpuint(resume_one(&pair), ==, PH_ST_NO_SESSION);
    tear_down(&pair);
}

/* The promise: nothing of the old connection happens after the session was taken up. */
static void test_old_requests_end_before(void)
{
    struct pair pair;
    uint64_t lease, asked;

    set_up(&pair);
    lease = client_acquired(&pair.two, client_acquire(&pair.two, FILE_A, PH_LEASE_EXCLUSIVE));
    client_getattr(&pair.one, FILE_A, NULL);
    pair.world.hold_runs = true;
    client_release(&pair.two, lease, false); /* the reading is about to go on */
    break_one(&pair);
    asked = client_open(&pair.one, 1, 1, AGAIN);
    g_assert_cmpuint(client_status(&pair.one, asked), ==, PH_PENDING);
    pair.world.hold_runs = false;
    world_let_run(&pair.world);
    g_assert_cmpuint(client_status(&pair.one, asked), ==, PH_ST_OK);
    g_assert_cmpuint(g_hash_table_size(pair.one.replies), ==, 1);
    tear_down(&pair);
}

/* The promise: of two connections that take a session up the later one has it; what is not there, belongs to
 * another client, or has another number, nobody gets. */
static void test_who_takes_what_up(void)
{
    struct pair pair;
    struct client other;

    set_up(&pair);
    client_connect(&other, &pair.world);
    g_assert_cmpuint(client_status(&other, client_open(&other, 9, 1, AGAIN)), ==, PH_ST_NO_SESSION);
    g_assert_cmpuint(client_status(&other, client_open(&other, 1, 2, AGAIN)), ==, PH_ST_NO_SESSION);
    g_assert_cmpuint(pair.one.close_status, ==, 0);
    g_assert_cmpuint(client_status(&other, client_open(&other, 1, 1, AGAIN)), ==, PH_ST_OK);
    g_assert_cmpuint(pair.one.close_status, ==, PH_ST_NO_SESSION);
    g_assert_false(ph_server_conn_in_session(pair.one.conn));
    g_assert_true(ph_server_conn_in_session(other.conn));
    /* The end of the old connection, which comes later, is none of the session's. */
    break_one(&pair);
    g_assert_true(ph_server_conn_in_session(other.conn));
    /* A session in order, and one with a higher number, end it. */
    g_assert_cmpuint(client_status(&pair.one, client_open(&pair.one, 1, 2, ALL)), ==, PH_ST_OK);
    g_assert_cmpuint(other.close_status, ==, PH_ST_NO_SESSION);
    client_clear(&other);
    break_one(&pair);
    g_assert_cmpuint(resume_one(&pair), ==, PH_ST_NO_SESSION);
    tear_down(&pair);
}

/* The promise: a session that is away does not outlive one with a higher number. */
static void test_newer_session_ends_who_is_away(void)
{
    struct pair pair;

    set_up(&pair);
    client_acquire(&pair.one, FILE_A, PH_LEASE_EXCLUSIVE);
    break_one(&pair);
    g_assert_cmpuint(client_status(&pair.one, client_open(&pair.one, 1, 1, ALL)), ==, PH_ST_BUSY);
    g_assert_cmpuint(client_status(&pair.one, client_open(&pair.one, 1, 2, ALL)), ==, PH_ST_OK);
    g_assert_cmpuint(ph_server_sessions_away(pair.world.server), ==, 0);
    g_assert_cmpuint(world_leases(&pair.world), ==, 0);
    tear_down(&pair);
}

/* The promise: whoever opens and leaves sessions without end takes nothing from others, and little memory. */
static void test_very_many_sessions(void)
{
    enum { MANY = 20000, OTHERS = 77 };
    struct pair pair;

    set_up(&pair);
    break_one(&pair);
    for (uint64_t i = 0; i < MANY; i++) {
        struct client hostile;

        client_connect(&hostile, &pair.world);
        ph_server_conn_set_peer(hostile.conn, OTHERS);
        g_assert_cmpuint(client_status(&hostile, client_open(&hostile, (uint8_t) (10 + i % 200), i + 1, ALL)),
                         ==, PH_ST_OK);
        client_clear(&hostile);
        g_assert_cmpuint(ph_server_sessions_away(pair.world.server), <=, 1 + PH_PEER_AWAY_SESSIONS_MAX);
    }
    g_assert_cmpuint(resume_one(&pair), ==, PH_ST_OK);
    tear_down(&pair);
}

/* The promise: who is pushed out while others wait for what it holds is not asked, nor fenced, once more. */
static void test_pushed_out_while_wanted(void)
{
    enum { MANY = PH_PEER_AWAY_SESSIONS_MAX + 1 };
    struct pair pair;
    uint64_t id;

    set_up(&pair);
    client_acquire(&pair.one, FILE_A, PH_LEASE_EXCLUSIVE);
    world_tick(&pair.world, START_MS);
    break_one(&pair);
    id = client_getattr(&pair.two, FILE_A, NULL);
    for (uint64_t i = 0; i < MANY; i++) {
        struct client other;
        Pohmel__SessionOpenRequest open = POHMEL__SESSION_OPEN_REQUEST__INIT;
        uint8_t name[16] = {99, (uint8_t) i, (uint8_t) (i >> 8)};

        client_connect(&other, &pair.world);
        open.client = (ProtobufCBinaryData){sizeof(name), name};
        open.session = 1;
        open.resumable = true;
        g_assert_cmpuint(client_status(&other, client_send(&other, PH_CMD_SESSION_OPEN, &open.base)), ==,
                         PH_ST_OK);
        client_clear(&other);
    }
    g_assert_cmpuint(resume_one(&pair), ==, PH_ST_NO_SESSION);
    world_tick(&pair.world, START_MS + PH_LEASE_TTL_MS);
    g_assert_cmpuint(client_status(&pair.two, id), ==, PH_PENDING);
    world_tick(&pair.world, EXPIRED_MS);
    g_assert_cmpuint(client_status(&pair.two, id), ==, PH_ST_OK);
    tear_down(&pair);
}

/* The promise: a machine has so many sessions, and is told in words that these are all. */
static void test_limit_of_one_machine(void)
{
    struct client *many = g_new0(struct client, PH_PEER_SESSIONS_MAX);
    struct pair pair;
    uint64_t id;

    set_up(&pair);
    for (unsigned i = 0; i <= PH_PEER_SESSIONS_MAX; i++) {
        struct client extra, *client = i < PH_PEER_SESSIONS_MAX ? &many[i] : &extra;
        Pohmel__SessionOpenRequest open = POHMEL__SESSION_OPEN_REQUEST__INIT;
        uint8_t name[16] = {99, (uint8_t) i, (uint8_t) (i >> 8)};

        client_connect(client, &pair.world);
        ph_server_conn_set_peer(client->conn, 5);
        open.client = (ProtobufCBinaryData){sizeof(name), name};
        open.session = 1;
        open.resumable = true;
        id = client_send(client, PH_CMD_SESSION_OPEN, &open.base);
        g_assert_cmpuint(client_status(client, id), ==, i < PH_PEER_SESSIONS_MAX ? PH_ST_OK : PH_ST_LIMIT);
        if (i == PH_PEER_SESSIONS_MAX)
            client_clear(client);
    }
    /* Room is made where one of them is away. */
    client_clear(&many[0]);
    client_connect(&many[0], &pair.world);
    ph_server_conn_set_peer(many[0].conn, 5);
    g_assert_cmpuint(client_status(&many[0], client_open(&many[0], 98, 1, ALL)), ==, PH_ST_OK);
    for (unsigned i = 0; i < PH_PEER_SESSIONS_MAX; i++)
        client_clear(&many[i]);
    g_free(many);
    tear_down(&pair);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/resume/nothing-is-lost", test_nothing_is_lost);
    g_test_add_func("/resume/others-end-with-their-connection", test_others_end_with_their_connection);
    g_test_add_func("/resume/a-transaction-is-answered-from-the-record",
                    test_transaction_is_answered_from_the_record);
    g_test_add_func("/resume/a-parked-transaction-is-answered-later",
                    test_parked_transaction_is_answered_later);
    g_test_add_func("/resume/a-repeated-transaction-is-cancelled", test_repeated_transaction_is_cancelled);
    g_test_add_func("/resume/waits-end-with-the-connection", test_waits_end_with_the_connection);
    g_test_add_func("/resume/recalls-come-again", test_recalls_come_again);
    g_test_add_func("/resume/fenced-when-wanted-and-expired", test_fenced_when_wanted_and_expired);
    g_test_add_func("/resume/sleeps-for-hours", test_sleeps_for_hours);
    g_test_add_func("/resume/a-lock-of-who-is-away", test_lock_of_who_is_away);
    g_test_add_func("/resume/old-requests-end-before", test_old_requests_end_before);
    g_test_add_func("/resume/who-takes-what-up", test_who_takes_what_up);
    g_test_add_func("/resume/a-newer-session-ends-who-is-away", test_newer_session_ends_who_is_away);
    g_test_add_func("/resume/very-many-sessions", test_very_many_sessions);
    g_test_add_func("/resume/pushed-out-while-wanted", test_pushed_out_while_wanted);
    g_test_add_func("/resume/limit-of-one-machine", test_limit_of_one_machine);
    return g_test_run();
}
