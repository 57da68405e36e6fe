/* Loops, pool and connections around the core, in this process, with a store
 * in memory whose commands can be made to hang. */
#include <stdatomic.h>
#include <glib.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/connection.h"
#include "server/core/tests/fake_store.h"
#include "server/tests/test_client.h"

enum { LOOPS = 2, POOL_THREADS = 64 };

struct world {
    struct ph_fake_store *fake;
    struct ph_server_export export;
    pthread_mutex_t mutex;
    struct ph_switch all;
};

static void enter(void *data)
{
    pthread_mutex_lock(data);
}

static void leave(void *data)
{
    pthread_mutex_unlock(data);
}

static void world_init(struct world *world, unsigned loops)
{
    const struct ph_server_guard guard = {enter, leave, &world->mutex};

    *world = (struct world){.fake = ph_fake_store_new()};
    pthread_mutex_init(&world->mutex, NULL);
    world->export = (struct ph_server_export){"e", ph_fake_store_interface(world->fake), false};
    world->all.core = ph_server_new(&world->export, 1, &guard, 12345);
    world->all.pool = ph_pool_new(POOL_THREADS);
    world->all.loops = ph_loops_new(loops, world->all.pool, ph_connection_run);
}

/* Waits until CONDITION holds. */
#define WAIT_FOR(condition)                                                                                  \
    do {                                                                                                     \
        gint64 until = g_get_monotonic_time() + PH_TEST_TIMEOUT_MS * G_GINT64_CONSTANT(1000);                \
        while (!(condition) && g_get_monotonic_time() < until)                                               \
            g_usleep(1000);                                                                                  \
        g_assert_true(condition);                                                                            \
    } while (0)

static void world_clear(struct world *world)
{
    struct ph_actions actions = {0};

    ph_server_close_all(world->all.core, PH_ST_SHUTTING_DOWN, "the test is over", &actions);
    ph_perform(&world->all, &actions, FALSE);
    WAIT_FOR(ph_connections(&world->all) == 0 && ph_server_running(world->all.core) == 0 &&
             ph_executing(&world->all) == 0);
    ph_loops_free(world->all.loops);
    ph_pool_free(world->all.pool);
    g_assert_cmpuint(ph_fake_store_handles(world->fake), ==, 0);
    ph_server_free(world->all.core);
    ph_fake_store_free(world->fake);
    pthread_mutex_destroy(&world->mutex);
}

static atomic_uint_fast64_t sessions = 1;

static struct ph_test_client *join(struct world *world, uint8_t who)
{
    struct ph_test_client *client;
    int pair[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
    ph_connection_accept(&world->all, pair[0]);
    client = ph_test_client_new(pair[1]);
    /* A client that comes back raises its number: the server may not have noticed yet that it left. */
    if (who != 0)
        g_assert_cmpuint(ph_test_session(client, who, atomic_fetch_add(&sessions, 1), "e"), ==, PH_ST_OK);
    return client;
}

static uint64_t send_hanging(struct ph_test_client *client)
{
    Pohmel__GetattrRequest getattr = POHMEL__GETATTR_REQUEST__INIT;
    Pohmel__Caller caller = POHMEL__CALLER__INIT;

    getattr.caller = &caller;
    getattr.object = PH_FAKE_HANGS;
    return ph_test_send(client, PH_CMD_GETATTR, PH_NO_SLOT, 0, &getattr.base, NULL);
}

/* The promise: one stuck command delays nobody, not even its own client's others. */
static void test_stuck_commands_stall_nobody(void)
{
    struct world world;
    struct ph_test_client *stuck[4], *other[2];
    struct ph_frame *frame;

    world_init(&world, 1); /* all share the one loop */
    for (guint i = 0; i < G_N_ELEMENTS(stuck); i++) {
        stuck[i] = join(&world, (uint8_t) (i + 1));
        send_hanging(stuck[i]);
        WAIT_FOR(ph_fake_store_hanging(world.fake) == i + 1);
    }
    for (guint i = 0; i < G_N_ELEMENTS(other); i++) {
        other[i] = join(&world, (uint8_t) (i + 100));
        for (int n = 0; n < 100; n++)
            g_assert_cmpuint(ph_test_getattr(other[i], PH_OBJECT_ROOT), ==, PH_ST_OK);
    }
    g_assert_cmpuint(ph_test_getattr(stuck[0], PH_OBJECT_ROOT), ==, PH_ST_OK);
    g_assert_cmpuint(ph_loops_taken_over(world.all.loops), >=, G_N_ELEMENTS(stuck));
    ph_fake_store_let_go(world.fake);
    for (guint i = 0; i < G_N_ELEMENTS(stuck); i++) {
        frame = ph_test_receive(stuck[i], PH_TEST_TIMEOUT_MS);
        g_assert_nonnull(frame);
        g_assert_cmpuint(frame->header.status, ==, PH_ST_STALE);
        ph_frame_free(frame);
        ph_test_client_free(stuck[i]);
    }
    for (guint i = 0; i < G_N_ELEMENTS(other); i++)
        ph_test_client_free(other[i]);
    world_clear(&world);
}

static void test_client_gone_while_stuck(void)
{
    struct world world;
    struct ph_test_client *client;

    world_init(&world, LOOPS);
    client = join(&world, 1);
    g_assert_cmpuint(ph_test_create(client, 0, "a", 200, 1), ==, PH_ST_OK);
    send_hanging(client);
    WAIT_FOR(ph_fake_store_hanging(world.fake) == 1);
    ph_test_client_free(client);
    WAIT_FOR(ph_connections(&world.all) == 0);
    g_assert_cmpuint(ph_fake_store_ended(world.fake), ==, 0);
    ph_fake_store_let_go(world.fake);
    WAIT_FOR(ph_fake_store_ended(world.fake) == 1);
    world_clear(&world);
}

static void test_peer_that_does_not_read(void)
{
    Pohmel__ReadRequest read = POHMEL__READ_REQUEST__INIT;
    Pohmel__Caller caller = POHMEL__CALLER__INIT;
    struct world world;
    struct ph_test_client *deaf, *other;
    int received = 0;

    world_init(&world, 1);
    deaf = join(&world, 1);
    other = join(&world, 2);
    g_assert_cmpuint(ph_test_create(deaf, 0, "a", 200, 1), ==, PH_ST_OK);
    read.caller = &caller;
    read.object = 200;
    read.handle = 1;
    read.length = PH_PAYLOAD_MAX_BYTES;
    for (int i = 0; i < PH_SESSION_CREDITS / 17; i++)
        ph_test_send(deaf, PH_CMD_READ, PH_NO_SLOT, 0, &read.base, NULL);
    for (int n = 0; n < 200; n++)
        g_assert_cmpuint(ph_test_getattr(other, PH_OBJECT_ROOT), ==, PH_ST_OK);
    for (; received < PH_SESSION_CREDITS / 17; received++) {
        struct ph_frame *frame = ph_test_receive(deaf, PH_TEST_TIMEOUT_MS);

        g_assert_nonnull(frame);
        g_assert_cmpuint(frame->header.payload_len, ==, PH_PAYLOAD_MAX_BYTES);
        ph_frame_free(frame);
    }
    g_assert_cmpuint(ph_test_getattr(deaf, PH_OBJECT_ROOT), ==, PH_ST_OK);
    ph_test_client_free(deaf);
    ph_test_client_free(other);
    world_clear(&world);
}

/* Without a session, not even the header of a large frame is believed. */
static void test_stranger_with_large_frames(void)
{
    const struct ph_frame_header large[] = {
        {.kind = PH_FRAME_REQUEST,
         .command = PH_CMD_TRANSACT,
         .message_len = 10,
         .payload_len = PH_PAYLOAD_MAX_BYTES},
        {.kind = PH_FRAME_REQUEST, .command = PH_CMD_SESSION_OPEN, .slot = PH_NO_SLOT, .message_len = 4097},
    };
    uint8_t bytes[PH_FRAME_HEADER_BYTES];
    struct world world;

    world_init(&world, 1);
    for (size_t i = 0; i < G_N_ELEMENTS(large); i++) {
        struct ph_test_client *stranger = join(&world, 0);

        ph_frame_header_encode(&large[i], bytes);
        ph_test_raw(stranger, bytes, sizeof(bytes));
        g_assert_null(ph_test_receive(stranger, PH_TEST_TIMEOUT_MS));
        g_assert_cmpuint(ph_test_ended(stranger), ==, PH_ST_MALFORMED);
        ph_test_client_free(stranger);
    }
    world_clear(&world);
}

/* It must not stay for ever without a session, even after it had one. */
static void test_session_closed_and_nothing_more(void)
{
    Pohmel__SessionCloseRequest end = POHMEL__SESSION_CLOSE_REQUEST__INIT;
    struct world world;
    struct ph_test_client *idle;

    world_init(&world, 1);
    idle = join(&world, 1);
    g_usleep((PH_HANDSHAKE_TIMEOUT_MS + 500) * 1000); /* the time for the first session is over */
    g_assert_cmpuint(ph_test_getattr(idle, PH_OBJECT_ROOT), ==, PH_ST_OK);
    g_assert_cmpuint(ph_test_status(idle, PH_CMD_SESSION_CLOSE, &end.base), ==, PH_ST_OK);
    g_assert_null(ph_test_receive(idle, PH_HANDSHAKE_TIMEOUT_MS + 3000));
    g_assert_cmpuint(ph_test_ended(idle), ==, PH_ST_WRONG_STATE);
    ph_test_client_free(idle);
    world_clear(&world);
}

static void test_flood_beyond_credits(void)
{
    struct world world;
    struct ph_test_client *flood, *other;
    struct ph_frame *frame;

    world_init(&world, LOOPS);
    flood = join(&world, 1);
    other = join(&world, 2);
    g_assert_cmpuint(ph_test_create(flood, 0, "a", 200, 1), ==, PH_ST_OK);
    for (int i = 0; i < PH_SESSION_CREDITS + 1 && ph_test_ended(flood) == 0; i++)
        send_hanging(flood);
    while ((frame = ph_test_receive(flood, PH_TEST_TIMEOUT_MS)) != NULL)
        ph_frame_free(frame);
    g_assert_cmpuint(ph_test_ended(flood), ==, PH_ST_NO_CREDIT);
    g_assert_cmpuint(ph_test_getattr(other, PH_OBJECT_ROOT), ==, PH_ST_OK);
    ph_fake_store_let_go(world.fake);
    ph_test_client_free(flood);
    ph_test_client_free(other);
    world_clear(&world);
}

struct crowd {
    struct world *world;
    uint8_t who;
};

/* One client of many: creates, locks, reads, leaves, again and again. */
static void *run_client(void *data)
{
    struct crowd *crowd = data;

    for (int round = 0; round < 5; round++) {
        struct ph_test_client *client = join(crowd->world, crowd->who);
        struct ph_frame *frame;
        uint64_t id;

        g_assert_cmpuint(ph_test_create(client, 0, "shared", 200, 1), ==, PH_ST_OK);
        for (int n = 0; n < 20; n++) {
            id = ph_test_lock(client, 200, 1, 5, true);
            frame = ph_test_receive(client, PH_TEST_TIMEOUT_MS);
            g_assert_nonnull(frame);
            g_assert_cmpuint(frame->header.id, ==, id);
            g_assert_cmpuint(frame->header.status, ==, PH_ST_OK);
            ph_frame_free(frame);
            g_assert_cmpuint(ph_test_getattr(client, 200), ==, PH_ST_OK);
            if (n % 3 != 0)
                g_assert_cmpuint(ph_test_unlock(client, 200, 5), ==, PH_ST_OK);
        }
        ph_test_client_free(client); /* perhaps with the lock */
    }
    return NULL;
}

static void test_crowd(void)
{
    struct world world;
    struct crowd crowd[8];
    pthread_t thread[G_N_ELEMENTS(crowd)];
    struct ph_test_client *first;

    world_init(&world, LOOPS);
    first = join(&world, 99);
    g_assert_cmpuint(ph_test_create(first, 0, "shared", 200, 1), ==, PH_ST_OK);
    for (guint i = 0; i < G_N_ELEMENTS(crowd); i++) {
        crowd[i] = (struct crowd){&world, (uint8_t) (i + 1)};
        g_assert_cmpint(pthread_create(&thread[i], NULL, run_client, &crowd[i]), ==, 0);
    }
    for (guint i = 0; i < G_N_ELEMENTS(crowd); i++)
        pthread_join(thread[i], NULL);
    ph_test_client_free(first);
    world_clear(&world);
}

static unsigned jobs_done;

static void count_job(void *data)
{
    __atomic_fetch_add(&jobs_done, 1, __ATOMIC_RELAXED);
}

static void test_pool_finishes_all(void)
{
    struct ph_pool *pool = ph_pool_new(4);

    jobs_done = 0;
    for (int i = 0; i < 10000; i++)
        ph_pool_push(pool, count_job, NULL);
    ph_pool_free(pool);
    g_assert_cmpuint(__atomic_load_n(&jobs_done, __ATOMIC_RELAXED), ==, 10000);
}

/* A session with leases on a socket. */
static struct ph_test_client *join_caching(struct world *world, uint8_t who)
{
    struct ph_test_client *client = join(world, 0);
    Pohmel__SessionOpenRequest open = POHMEL__SESSION_OPEN_REQUEST__INIT;
    uint8_t id[16] = {who};

    open.client = (ProtobufCBinaryData){sizeof(id), id};
    open.session = atomic_fetch_add(&sessions, 1);
    open.leases = true;
    g_assert_cmpuint(ph_test_status(client, PH_CMD_SESSION_OPEN, &open.base), ==, PH_ST_OK);
    return client;
}

static void send_getattr_root(struct ph_test_client *client)
{
    Pohmel__GetattrRequest getattr = POHMEL__GETATTR_REQUEST__INIT;
    Pohmel__Caller caller = POHMEL__CALLER__INIT;

    getattr.caller = &caller;
    getattr.object = PH_OBJECT_ROOT;
    ph_test_send(client, PH_CMD_GETATTR, PH_NO_SLOT, 0, &getattr.base, NULL);
}

static void give_back(struct ph_test_client *client, const struct ph_frame *recall)
{
    Pohmel__LeaseReleaseRequest release = POHMEL__LEASE_RELEASE_REQUEST__INIT;
    Pohmel__RecallEvent *event =
        pohmel__recall_event__unpack(NULL, recall->header.message_len, recall->message);
    uint64_t lease;

    g_assert_nonnull(event);
    lease = event->lease;
    release.leases = &lease;
    release.n_leases = 1;
    ph_test_send(client, PH_CMD_LEASE_RELEASE, PH_NO_SLOT, 0, &release.base, NULL);
    pohmel__recall_event__free_unpacked(event, NULL);
}

struct holder {
    struct ph_test_client *client;
    atomic_bool stop;
    atomic_uint recalls;
};

/* Asks for the root's attributes again and again, and gives back what is recalled. */
static void *hold_root(void *data)
{
    struct holder *holder = data;

    send_getattr_root(holder->client);
    while (!atomic_load(&holder->stop)) {
        struct ph_frame *frame = ph_test_receive(holder->client, 10);

        if (frame == NULL)
            continue;
        if (frame->header.kind == PH_FRAME_EVENT) {
            g_assert_cmpuint(frame->header.command, ==, PH_CMD_RECALL);
            atomic_fetch_add(&holder->recalls, 1);
            give_back(holder->client, frame);
        } else if (frame->header.command == PH_CMD_GETATTR) {
            g_assert_cmpuint(frame->header.status, ==, PH_ST_OK);
            send_getattr_root(holder->client);
        }
        ph_frame_free(frame);
    }
    return NULL;
}

/* Whether each of them was asked for what it held. Where threads begin late, no early change meets one that
 * holds anything. */
static bool all_were_recalled(struct holder *holder, unsigned holders)
{
    for (unsigned i = 0; i < holders; i++)
        if (atomic_load(&holder[i].recalls) == 0)
            return false;
    return true;
}

/* The promise: changes wait for those who cache, over sockets and threads, and all of them come to their end.
 */
static void test_changes_wait_for_leases(void)
{
    enum { HOLDERS = 3, CHANGES = 200 };
    struct world world;
    struct holder holder[HOLDERS];
    struct ph_test_client *writer;
    pthread_t thread[HOLDERS];
    gint64 until = g_get_monotonic_time() + 60 * G_USEC_PER_SEC;

    world_init(&world, LOOPS);
    writer = join(&world, 100);
    for (unsigned i = 0; i < HOLDERS; i++) {
        holder[i] = (struct holder){.client = join_caching(&world, (uint8_t) (i + 1))};
        g_assert_cmpint(pthread_create(&thread[i], NULL, hold_root, &holder[i]), ==, 0);
    }
    for (unsigned i = 0; i < CHANGES || !all_were_recalled(holder, HOLDERS); i++) {
        g_assert_cmpint(g_get_monotonic_time(), <, until);
        g_assert_cmpuint(ph_test_create(writer, i % 8, i % 2 == 0 ? "one" : "two", 1000 + i, 0), ==,
                         PH_ST_OK);
    }
    for (unsigned i = 0; i < HOLDERS; i++) {
        atomic_store(&holder[i].stop, true);
        pthread_join(thread[i], NULL);
        g_assert_cmpuint(ph_test_ended(holder[i].client), ==, 0);
    }
    g_assert_cmpuint(ph_fake_store_transactions(world.fake), >=, CHANGES);
    world_clear(&world);
    for (unsigned i = 0; i < HOLDERS; i++)
        ph_test_client_free(holder[i].client);
    ph_test_client_free(writer);
}

static uint32_t open_resumable(struct ph_test_client *client, uint8_t who, uint64_t number, bool resume)
{
    Pohmel__SessionOpenRequest open = POHMEL__SESSION_OPEN_REQUEST__INIT;
    uint8_t id[16] = {who};

    open.client = (ProtobufCBinaryData){sizeof(id), id};
    open.session = number;
    open.resumable = true;
    open.resume = resume;
    return ph_test_status(client, PH_CMD_SESSION_OPEN, &open.base);
}

/* Creates "kept" below handle 1 in slot 0; its status. */
static uint32_t create_kept(struct ph_test_client *client, uint32_t sequence)
{
    Pohmel__TransactRequest transaction = POHMEL__TRANSACT_REQUEST__INIT;
    Pohmel__Change change = POHMEL__CHANGE__INIT, *changes = &change;
    Pohmel__CreateRequest create = POHMEL__CREATE_REQUEST__INIT;
    Pohmel__Caller caller = POHMEL__CALLER__INIT;
    struct ph_frame *reply;
    uint32_t status;

    create.caller = &caller;
    create.parent = PH_OBJECT_ROOT;
    create.name = (ProtobufCBinaryData){4, (uint8_t *) "kept"};
    create.object = 300;
    create.handle = 1;
    create.access = 3;
    change.command_case = POHMEL__CHANGE__COMMAND_CREATE;
    change.create = &create;
    transaction.changes = &changes;
    transaction.n_changes = 1;
    ph_test_send(client, PH_CMD_TRANSACT, 0, sequence, &transaction.base, NULL);
    reply = ph_test_receive(client, PH_TEST_TIMEOUT_MS);
    g_assert_nonnull(reply);
    status = reply->header.status;
    ph_frame_free(reply);
    return status;
}

/* The promise: a session outlives its connection, with its handles and the answers to its transactions; what
 * the old connection had under way ends before. */
static void test_taken_up_again(void)
{
    struct world world;
    Pohmel__SessionCloseRequest close = POHMEL__SESSION_CLOSE_REQUEST__INIT;
    struct ph_test_client *client;
    uint64_t number = atomic_fetch_add(&sessions, 1);

    world_init(&world, LOOPS);
    client = join(&world, 0);
    g_assert_cmpuint(open_resumable(client, 7, number, false), ==, PH_ST_OK);
    for (unsigned round = 1; round <= 50; round++) {
        g_assert_cmpuint(create_kept(client, round), ==, PH_ST_OK);
        ph_test_client_free(client);
        client = join(&world, 0);
        g_assert_cmpuint(open_resumable(client, 7, number, true), ==, PH_ST_OK);
        g_assert_cmpuint(create_kept(client, round), ==, PH_ST_OK);
        g_assert_cmpuint(ph_fake_store_transactions(world.fake), ==, round);
        g_assert_cmpuint(ph_fake_store_handles(world.fake), ==, 1);
    }
    send_hanging(client);
    WAIT_FOR(ph_fake_store_hanging(world.fake) == 1);
    ph_test_client_free(client);
    client = join(&world, 0);
    ph_fake_store_let_go(world.fake);
    g_assert_cmpuint(open_resumable(client, 7, number, true), ==, PH_ST_OK);
    g_assert_cmpuint(ph_fake_store_hanging(world.fake), ==, 0);
    g_assert_cmpuint(ph_fake_store_ended(world.fake), ==, 0);
    g_assert_cmpuint(ph_test_status(client, PH_CMD_SESSION_CLOSE, &close.base), ==, PH_ST_OK);
    world_clear(&world);
    ph_test_client_free(client);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/serving/stuck-commands-stall-nobody", test_stuck_commands_stall_nobody);
    g_test_add_func("/serving/client-gone-while-its-command-hangs", test_client_gone_while_stuck);
    g_test_add_func("/serving/peer-that-does-not-read", test_peer_that_does_not_read);
    g_test_add_func("/serving/stranger-with-large-frames", test_stranger_with_large_frames);
    g_test_add_func("/serving/session-closed-and-nothing-more", test_session_closed_and_nothing_more);
    g_test_add_func("/serving/flood-beyond-credits", test_flood_beyond_credits);
    g_test_add_func("/serving/crowd-of-clients", test_crowd);
    g_test_add_func("/serving/pool-finishes-what-was-pushed", test_pool_finishes_all);
    g_test_add_func("/serving/taken-up-again", test_taken_up_again);
    g_test_add_func("/serving/changes-wait-for-leases", test_changes_wait_for_leases);
    return g_test_run();
}
