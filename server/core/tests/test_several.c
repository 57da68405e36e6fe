/* Transactions of several commands: what they concern is claimed at once, and nobody is inside while they are
 * executed. */
#include <string.h>

#include "runtime/base/limits.h"
#include "server/core/lease.h"
#include "server/core/tests/caching_world.h"

enum { FILE_A = 100, FILE_B = 101, FILE_C = 102, DIRECTORY = 150 };

struct pair {
    struct world world;
    struct client one, two;
    uint64_t id; /* of what was sent by a hook */
    unsigned seen;
};

static Pohmel__Caller nobody = POHMEL__CALLER__INIT;

/* ONE changes, TWO looks on; "a" and "b" exist. */
static void set_up(struct pair *pair, bool one_writes, bool two_caches)
{
    *pair = (struct pair){0};
    world_init(&pair->world);
    ph_fake_store_interface(pair->world.fake)->several = true;
    ph_fake_store_give_name(pair->world.fake, "a", FILE_A);
    ph_fake_store_give_name(pair->world.fake, "b", FILE_B);
    if (one_writes)
        client_init_writing(&pair->one, &pair->world, 1, 1);
    else
        client_init(&pair->one, &pair->world, 1, 1, false);
    client_init(&pair->two, &pair->world, 2, 1, two_caches);
}

static void tear_down(struct pair *pair)
{
    client_clear(&pair->one);
    client_clear(&pair->two);
    world_clear(&pair->world);
}

/* Both names go, or, where the second does not stand for EXPECTED, neither. */
static uint64_t remove_both(struct client *client)
{
    static const char *const names[] = {"a", "b"};
    Pohmel__Change change[2], *changes[2];
    Pohmel__RemoveRequest remove[2];

    for (size_t i = 0; i < G_N_ELEMENTS(change); i++) {
        pohmel__change__init(&change[i]);
        pohmel__remove_request__init(&remove[i]);
        remove[i].caller = &nobody;
        remove[i].parent = PH_OBJECT_ROOT;
        remove[i].name = (ProtobufCBinaryData){strlen(names[i]), (uint8_t *) names[i]};
        change[i].command_case = POHMEL__CHANGE__COMMAND_REMOVE;
        change[i].remove = &remove[i];
        changes[i] = &change[i];
    }
    return client_changes(client, changes, G_N_ELEMENTS(changes));
}

static void expect_results(struct client *client, uint64_t id, size_t count)
{
    Pohmel__TransactReply *reply = (void *) client_message(client, id, &pohmel__transact_reply__descriptor);

    g_assert_cmpuint(reply->n_results, ==, count);
    pohmel__transact_reply__free_unpacked(reply, NULL);
}

/* Nothing is done before all that others hold of any of its objects was given back. */
static void test_waits_for_all(void)
{
    struct pair pair;
    uint64_t lease, directory, other, id;

    set_up(&pair, false, true);
    client_lookup(&pair.two, "a", &lease, &directory);
    client_lookup(&pair.two, "b", &other, &directory);
    id = remove_both(&pair.one);
    g_assert_cmpuint(client_status(&pair.one, id), ==, PH_PENDING);
    g_assert_cmpuint(pair.two.recalls->len, ==, 3);
    client_release(&pair.two, lease, false);
    client_release(&pair.two, directory, false);
    g_assert_cmpuint(client_status(&pair.one, id), ==, PH_PENDING);
    g_assert_cmpuint(ph_fake_store_transactions(pair.world.fake), ==, 0);
    client_release(&pair.two, other, false);
    g_assert_cmpuint(client_status(&pair.one, id), ==, PH_ST_OK);
    expect_results(&pair.one, id, 2);
    tear_down(&pair);
}

/* What its session has exclusively it does not wait for, though others wait for that. R-9.11-12. */
static void test_own_is_not_waited_for(void)
{
    static const uint64_t objects[] = {PH_OBJECT_ROOT, FILE_A, FILE_B};
    struct pair pair;
    uint64_t waiting, id;

    set_up(&pair, true, false);
    for (size_t i = 0; i < G_N_ELEMENTS(objects); i++)
        client_acquired(&pair.one, client_acquire(&pair.one, objects[i], PH_LEASE_EXCLUSIVE));
    waiting = client_getattr(&pair.two, FILE_A, NULL);
    g_assert_cmpuint(client_status(&pair.two, waiting), ==, PH_PENDING);
    id = remove_both(&pair.one);
    g_assert_cmpuint(client_status(&pair.one, id), ==, PH_ST_OK);
    tear_down(&pair);
}

static void look_in_the_middle(void *data)
{
    struct pair *pair = data;

    if (pair->seen++ > 0)
        return;
    pair->id = client_getattr(&pair->two, FILE_A, NULL);
    g_assert_cmpuint(client_status(&pair->two, pair->id), ==, PH_PENDING);
}

/* Who reads while it is executed waits, though he asks for no lease. */
static void test_middle_is_not_seen(void)
{
    struct pair pair;
    uint64_t id;

    set_up(&pair, false, false);
    ph_fake_store_before_change(pair.world.fake, look_in_the_middle, &pair);
    id = remove_both(&pair.one);
    g_assert_cmpuint(client_status(&pair.one, id), ==, PH_ST_OK);
    g_assert_cmpuint(pair.seen, ==, 1);
    g_assert_cmpuint(client_status(&pair.two, pair.id), ==, PH_ST_STALE);
    tear_down(&pair);
}

static void change_in_the_middle(void *data)
{
    struct pair *pair = data;

    pair->id = remove_both(&pair->one);
    g_assert_cmpuint(client_status(&pair->one, pair->id), ==, PH_PENDING);
    g_assert_cmpuint(ph_fake_store_transactions(pair->world.fake), ==, 0);
}

/* Who is reading already is waited for. */
static void test_reader_comes_to_its_end(void)
{
    struct pair pair;
    uint64_t id;

    set_up(&pair, false, false);
    ph_fake_store_after_reading(pair.world.fake, change_in_the_middle, &pair);
    id = client_lookup(&pair.two, "a", NULL, NULL);
    g_assert_cmpuint(client_status(&pair.two, id), ==, PH_ST_OK);
    g_assert_cmpuint(client_status(&pair.one, pair.id), ==, PH_ST_OK);
    g_assert_cmpuint(ph_fake_store_transactions(pair.world.fake), ==, 1);
    tear_down(&pair);
}

/* Another reader comes, and it is cancelled, and its connection breaks, while it waits for the first reader.
 */
static void cancel_in_the_middle(void *data)
{
    struct pair *pair = data;
    uint64_t late;

    change_in_the_middle(pair);
    late = client_getattr(&pair->two, FILE_B, NULL);
    g_assert_cmpuint(client_status(&pair->two, late), ==, PH_PENDING);
    client_cancel(&pair->one, pair->id);
    g_assert_cmpuint(client_status(&pair->two, late), ==, PH_ST_OK);
}

static void test_cancelled_lets_others_go(void)
{
    struct pair pair;
    uint64_t id;

    set_up(&pair, false, false);
    ph_fake_store_after_reading(pair.world.fake, cancel_in_the_middle, &pair);
    id = client_lookup(&pair.two, "a", NULL, NULL);
    g_assert_cmpuint(client_status(&pair.two, id), ==, PH_ST_OK);
    g_assert_cmpuint(client_status(&pair.one, pair.id), ==, PH_ST_CANCELLED);
    g_assert_cmpuint(ph_fake_store_transactions(pair.world.fake), ==, 0);
    id = remove_both(&pair.one);
    g_assert_cmpuint(client_status(&pair.one, id), ==, PH_ST_OK);
    tear_down(&pair);
}

static void give_other_in_the_middle(void *data)
{
    struct pair *pair = data;

    change_in_the_middle(pair);
    ph_fake_store_give_name(pair->world.fake, "b", FILE_C);
}

/* A name that came to stand for another object before it is executed: that one is claimed as well. R-9.11-7.
 */
static void test_name_is_looked_at_again(void)
{
    struct pair pair;
    uint64_t lease, id;

    set_up(&pair, false, true);
    ph_fake_store_give_name(pair.world.fake, "c", FILE_C);
    client_getattr(&pair.two, PH_OBJECT_ROOT, &lease);
    client_release(&pair.two, lease, false);
    client_getattr(&pair.two, FILE_C, &lease);
    g_assert_cmpuint(lease, !=, 0);
    ph_fake_store_after_reading(pair.world.fake, give_other_in_the_middle, &pair);
    id = client_lookup(&pair.one, "a", NULL, NULL);
    g_assert_cmpuint(client_status(&pair.one, id), ==, PH_ST_OK);
    g_assert_cmpuint(client_status(&pair.one, pair.id), ==, PH_PENDING);
    g_assert_cmpuint(ph_fake_store_transactions(pair.world.fake), ==, 0);
    g_assert_cmpuint(client_recalled(&pair.two, 0, FILE_C, PH_LEASE_NONE), ==, lease);
    client_release(&pair.two, lease, false);
    g_assert_cmpuint(client_status(&pair.one, pair.id), ==, PH_ST_OK);
    tear_down(&pair);
}

/* A store that executes single commands only. */
static void test_unsupported(void)
{
    struct pair pair;
    uint64_t id;

    set_up(&pair, false, false);
    ph_fake_store_interface(pair.world.fake)->several = false;
    id = remove_both(&pair.one);
    g_assert_cmpuint(client_status(&pair.one, id), ==, PH_ST_UNSUPPORTED);
    g_assert_cmpuint(ph_fake_store_transactions(pair.world.fake), ==, 0);
    tear_down(&pair);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/several/waits-for-all-leases-first", test_waits_for_all);
    g_test_add_func("/several/own-leases-are-not-waited-for", test_own_is_not_waited_for);
    g_test_add_func("/several/nobody-sees-the-middle", test_middle_is_not_seen);
    g_test_add_func("/several/who-is-reading-is-waited-for", test_reader_comes_to_its_end);
    g_test_add_func("/several/cancelled-lets-others-go", test_cancelled_lets_others_go);
    g_test_add_func("/several/names-are-looked-at-again", test_name_is_looked_at_again);
    g_test_add_func("/several/a-store-that-cannot-refuses", test_unsupported);
    return g_test_run();
}
