/* Leases on ranges of bytes, as clients see them: two who write into one file, and those who look at it.
 * docs/protocol.md, section 9.16. */
#include "runtime/base/limits.h"
#include "server/core/lease.h"
#include "server/core/tests/caching_world.h"

enum { FILE_A = 100, HALF = 1 << 20, HANDLE = 7 };

struct trio {
    struct world world;
    struct client one, two, other; /* OTHER knows no ranges */
    uint64_t first, second;        /* what ONE and TWO have */
};

static uint64_t ask(struct client *client, uint64_t offset, uint64_t length)
{
    Pohmel__LeaseAcquireRequest request = POHMEL__LEASE_ACQUIRE_REQUEST__INIT;
    Pohmel__Range range = POHMEL__RANGE__INIT;

    request.object = FILE_A;
    request.mode = PH_LEASE_EXCLUSIVE;
    request.range = &range;
    range.offset = offset;
    range.length = length;
    return client_send(client, PH_CMD_LEASE_ACQUIRE, &request.base);
}

/* The lease on a range that ID was answered with. */
static uint64_t granted(struct client *client, uint64_t id, uint64_t offset, uint64_t length)
{
    Pohmel__LeaseAcquireReply *reply =
        (void *) client_message(client, id, &pohmel__lease_acquire_reply__descriptor);
    uint64_t lease = reply->grant->lease;

    g_assert_nonnull(reply->grant->range);
    g_assert_cmpuint(reply->grant->range->offset, ==, offset);
    g_assert_cmpuint(reply->grant->range->length, ==, length);
    g_assert_cmpuint(reply->grant->attr->lease, ==, 0);
    g_assert_cmpuint(reply->grant->attr->version, ==, 0);
    pohmel__lease_acquire_reply__free_unpacked(reply, NULL);
    return lease;
}

static void keep(struct client *client, uint64_t lease, uint64_t offset, uint64_t length)
{
    Pohmel__LeaseReleaseRequest release = POHMEL__LEASE_RELEASE_REQUEST__INIT;
    Pohmel__LeaseKept kept = POHMEL__LEASE_KEPT__INIT, *parts[] = {&kept};
    Pohmel__Range range = POHMEL__RANGE__INIT;

    release.n_parts = 1;
    release.parts = parts;
    kept.lease = lease;
    kept.range = &range;
    range.offset = offset;
    range.length = length;
    g_assert_cmpuint(client_status(client, client_send(client, PH_CMD_LEASE_RELEASE, &release.base)), ==,
                     PH_ST_OK);
}

static void connect_ranging(struct client *client, struct world *world, uint8_t who)
{
    Pohmel__SessionOpenReply *reply;

    client_connect(client, world);
    reply =
        (void *) client_message(client, client_open(client, who, 1, OPEN_CACHES | OPEN_WRITES | OPEN_RANGES),
                                &pohmel__session_open_reply__descriptor);
    g_assert_true(reply->ranges);
    pohmel__session_open_reply__free_unpacked(reply, NULL);
}

/* ONE has the first half of the file, TWO all behind it. */
static void set_up(struct trio *trio)
{
    uint64_t id;

    *trio = (struct trio){0};
    world_init(&trio->world);
    ph_fake_store_give_name(trio->world.fake, "a", FILE_A);
    connect_ranging(&trio->one, &trio->world, 1);
    connect_ranging(&trio->two, &trio->world, 2);
    client_init(&trio->other, &trio->world, 3, 1, true);
    trio->first = granted(&trio->one, ask(&trio->one, 0, 10), 0, INT64_MAX);
    id = ask(&trio->two, HALF, 10);
    g_assert_cmpuint(client_status(&trio->two, id), ==, PH_PENDING);
    g_assert_cmpuint(client_recalled(&trio->one, 0, FILE_A, PH_LEASE_NONE), ==, trio->first);
    keep(&trio->one, trio->first, 0, HALF);
    trio->second = granted(&trio->two, id, HALF, (uint64_t) INT64_MAX - HALF);
}

static void tear_down(struct trio *trio)
{
    client_clear(&trio->one);
    client_clear(&trio->two);
    client_clear(&trio->other);
    world_clear(&trio->world);
}

static void test_a_recall_says_what_is_wanted(void)
{
    struct trio trio;
    Pohmel__RecallEvent *event;
    GBytes *bytes;

    set_up(&trio);
    bytes = trio.one.recalls->pdata[0];
    event = pohmel__recall_event__unpack(NULL, g_bytes_get_size(bytes), g_bytes_get_data(bytes, NULL));
    g_assert_nonnull(event->range);
    g_assert_cmpuint(event->range->offset, ==, HALF);
    g_assert_cmpuint(event->range->length, ==, 10);
    pohmel__recall_event__free_unpacked(event, NULL);
    tear_down(&trio);
}

/* Who looks at the file waits for all that was written into it; nothing that is told can be kept. */
static void test_who_looks_waits_for_both(void)
{
    struct trio trio;
    uint64_t look, lease = 1;

    set_up(&trio);
    look = client_getattr(&trio.other, FILE_A, NULL);
    g_assert_cmpuint(client_status(&trio.other, look), ==, PH_PENDING);
    g_assert_cmpuint(client_recalled(&trio.one, 1, FILE_A, PH_LEASE_NONE), ==, trio.first);
    g_assert_cmpuint(client_recalled(&trio.two, 0, FILE_A, PH_LEASE_NONE), ==, trio.second);
    client_release(&trio.one, trio.first, false);
    g_assert_cmpuint(client_status(&trio.other, look), ==, PH_PENDING);
    client_release(&trio.two, trio.second, true); /* as SHARED: there is no such range */
    g_assert_cmpuint(client_status(&trio.other, look), ==, PH_ST_OK);
    client_getattr(&trio.other, FILE_A, &lease);
    g_assert_cmpuint(lease, !=, 0);
    tear_down(&trio);
}

/* What is written back goes through a handle that is opened under the range. */
static void test_a_holder_opens_the_file(void)
{
    struct trio trio;
    Pohmel__OpenReply *reply;
    uint64_t id;

    set_up(&trio);
    id = client_open_file(&trio.one, FILE_A, HANDLE, false);
    reply = (void *) client_message(&trio.one, id, &pohmel__open_reply__descriptor);
    g_assert_cmpuint(reply->attr->lease, ==, 0);
    g_assert_cmpuint(reply->attr->version, ==, 0); /* the other one may have written */
    pohmel__open_reply__free_unpacked(reply, NULL);
    g_assert_cmpuint(trio.two.recalls->len, ==, 0);
    id = client_open_file(&trio.other, FILE_A, HANDLE, false);
    g_assert_cmpuint(client_status(&trio.other, id), ==, PH_PENDING);
    g_assert_cmpuint(trio.two.recalls->len, ==, 1);
    client_release(&trio.one, trio.first, false);
    client_release(&trio.two, trio.second, false);
    g_assert_cmpuint(client_status(&trio.other, id), ==, PH_ST_OK);
    tear_down(&trio);
}

static void test_who_does_not_know_ranges_gets_all(void)
{
    struct trio trio;
    Pohmel__LeaseAcquireReply *reply;
    uint64_t id;

    set_up(&trio);
    client_release(&trio.one, trio.first, false);
    client_release(&trio.two, trio.second, false);
    id = ask(&trio.other, 0, 10);
    reply = (void *) client_message(&trio.other, id, &pohmel__lease_acquire_reply__descriptor);
    g_assert_null(reply->grant->range);
    g_assert_cmpuint(reply->grant->attr->lease, ==, reply->grant->lease);
    pohmel__lease_acquire_reply__free_unpacked(reply, NULL);
    /* Nor is it told of ranges when it is asked for what it has. */
    id = ask(&trio.one, 0, 10);
    client_release(&trio.other, client_recalled(&trio.other, 0, FILE_A, PH_LEASE_NONE), false);
    granted(&trio.one, id, 0, INT64_MAX);
    tear_down(&trio);
}

/* Whatever a client says of ranges, it gets nothing by it that it does not have. */
static void test_what_is_not_so(void)
{
    struct trio trio;
    uint64_t id;

    set_up(&trio);
    keep(&trio.two, trio.first, 0, 10); /* not its own */
    id = ask(&trio.one, HALF, INT64_MAX);
    g_assert_cmpuint(client_status(&trio.one, id), ==, PH_ST_NO_LEASE);
    keep(&trio.one, trio.first, INT64_MAX, INT64_MAX);                  /* nothing, behind all */
    g_assert_cmpuint(world_leases(&trio.world), ==, 2);                 /* the other half, and a root */
    granted(&trio.one, ask(&trio.one, 0, 10), 0, 10 + (HALF - 10) / 2); /* half of the gap */
    tear_down(&trio);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ranges/wanted", test_a_recall_says_what_is_wanted);
    g_test_add_func("/ranges/look", test_who_looks_waits_for_both);
    g_test_add_func("/ranges/open", test_a_holder_opens_the_file);
    g_test_add_func("/ranges/old-peer", test_who_does_not_know_ranges_gets_all);
    g_test_add_func("/ranges/not-so", test_what_is_not_so);
    return g_test_run();
}
