/* Sessions that make changes in their cache: what they are given alone, that what they send then waits for
 * nobody, and that others see nothing that is older than it. */
#include <string.h>

#include "runtime/base/limits.h"
#include "server/core/lease.h"
#include "server/core/tests/caching_world.h"

enum { FILE_A = 100, FILE_B = 101, DIRECTORY = 150, NEW = 200, HANDLE = 7, WRITTEN = 5 };

struct pair {
    struct world world;
    struct client one, two;
    uint64_t root; /* EXCLUSIVE lease of ONE, where it was taken */
};

static Pohmel__Caller nobody = POHMEL__CALLER__INIT;

/* A session that writes back, and another one; "a" and "b" exist. */
static void set_up(struct pair *pair, bool second_writes)
{
    *pair = (struct pair){0};
    world_init(&pair->world);
    ph_fake_store_give_name(pair->world.fake, "a", FILE_A);
    ph_fake_store_give_name(pair->world.fake, "b", FILE_B);
    client_init_writing(&pair->one, &pair->world, 1, 1);
    if (second_writes)
        client_init_writing(&pair->two, &pair->world, 2, 1);
    else
        client_init(&pair->two, &pair->world, 2, 1, false);
}

static void tear_down(struct pair *pair)
{
    client_clear(&pair->one);
    client_clear(&pair->two);
    world_clear(&pair->world);
}

/* CLIENT gets LEASE on OBJECT alone; nobody else has one. */
static uint64_t take(struct client *client, uint64_t object)
{
    return client_acquired(client, client_acquire(client, object, PH_LEASE_EXCLUSIVE));
}

/* The root is ONE's alone. TWO, where it caches, gives back what its opening brought. */
static void take_root(struct pair *pair)
{
    uint64_t id = client_acquire(&pair->one, PH_OBJECT_ROOT, PH_LEASE_EXCLUSIVE);

    if (pair->two.recalls->len > 0)
        client_release(&pair->two, client_recalled(&pair->two, 0, PH_OBJECT_ROOT, PH_LEASE_NONE), false);
    g_ptr_array_set_size(pair->two.recalls, 0);
    pair->root = client_acquired(&pair->one, id);
}

static Pohmel__LookupReply *looked(struct client *client, uint64_t id)
{
    return (void *) client_message(client, id, &pohmel__lookup_reply__descriptor);
}

static uint64_t lookup(struct client *client, const char *name)
{
    return client_lookup(client, name, NULL, NULL);
}

/* The mode in which CLIENT is given what NAME stands for; its lease in *LEASE. */
static uint32_t mode_by_lookup(struct client *client, const char *name, uint64_t *lease)
{
    Pohmel__LookupReply *reply = looked(client, lookup(client, name));
    uint32_t mode = reply->found[0]->lease_mode;

    *lease = reply->found[0]->lease;
    pohmel__lookup_reply__free_unpacked(reply, NULL);
    return mode;
}

static uint64_t open_file(struct client *client, uint64_t object, uint32_t access)
{
    Pohmel__OpenRequest open = POHMEL__OPEN_REQUEST__INIT;

    open.caller = &nobody;
    open.object = object;
    open.handle = HANDLE;
    open.access = access;
    return client_send(client, PH_CMD_OPEN, &open.base);
}

static uint64_t read_file(struct client *client, uint64_t object)
{
    Pohmel__ReadRequest read = POHMEL__READ_REQUEST__INIT;

    read.caller = &nobody;
    read.object = object;
    read.handle = HANDLE;
    read.length = 1;
    return client_send(client, PH_CMD_READ, &read.base);
}

static uint64_t write_file(struct client *client, uint64_t object)
{
    Pohmel__Change change = POHMEL__CHANGE__INIT;
    Pohmel__WriteRequest write = POHMEL__WRITE_REQUEST__INIT;

    write.caller = &nobody;
    write.object = object;
    write.handle = HANDLE;
    write.length = WRITTEN;
    change.command_case = POHMEL__CHANGE__COMMAND_WRITE;
    change.write = &write;
    return client_change(client, &change, WRITTEN);
}

static uint64_t list(struct client *client)
{
    Pohmel__ReaddirRequest ask = POHMEL__READDIR_REQUEST__INIT;

    ask.caller = &nobody;
    ask.object = PH_OBJECT_ROOT;
    ask.count = 100;
    ask.bytes_max = 10000;
    ask.attributes = true;
    return client_send(client, PH_CMD_READDIR, &ask.base);
}

static Pohmel__ReaddirReply *listed(struct client *client, uint64_t id)
{
    return (void *) client_message(client, id, &pohmel__readdir_reply__descriptor);
}

/* ---- What is given ---- */

static uint32_t mode_of_made(struct client *client, const char *name, uint64_t object)
{
    uint64_t id = client_create(client, name, object, false);
    Pohmel__TransactReply *reply = (void *) client_message(client, id, &pohmel__transact_reply__descriptor);
    uint32_t mode = reply->results[0]->create->attr->lease_mode;

    pohmel__transact_reply__free_unpacked(reply, NULL);
    return mode;
}

static void test_what_is_made_belongs_to_its_maker(void)
{
    struct pair pair;
    struct client three;

    set_up(&pair, false);
    g_assert_cmpuint(mode_of_made(&pair.one, "new", NEW), ==, PH_LEASE_EXCLUSIVE);
    tear_down(&pair);
    /* Who does not write back has no use for it. */
    set_up(&pair, false);
    client_clear(&pair.one);
    client_init(&pair.one, &pair.world, 1, 2, true);
    g_assert_cmpuint(mode_of_made(&pair.one, "new", NEW), ==, PH_LEASE_SHARED);
    client_init_writing(&three, &pair.world, 3, 1);
    client_clear(&three);
    tear_down(&pair);
}

static void test_what_is_in_an_own_directory_is_given_alone(void)
{
    struct pair pair;
    Pohmel__ReaddirReply *listing;
    uint64_t shared, alone;

    set_up(&pair, false);
    g_assert_cmpuint(mode_by_lookup(&pair.one, "a", &shared), ==, PH_LEASE_SHARED);
    take_root(&pair);
    g_assert_cmpuint(mode_by_lookup(&pair.one, "a", &alone), ==, PH_LEASE_EXCLUSIVE);
    g_assert_cmpuint(alone, >, shared);
    listing = listed(&pair.one, list(&pair.one));
    g_assert_cmpuint(listing->n_entries, ==, 2);
    g_assert_cmpuint(listing->entries[0]->attr->lease, ==, alone);
    for (size_t i = 0; i < listing->n_entries; i++)
        g_assert_cmpuint(listing->entries[i]->attr->lease_mode, ==, PH_LEASE_EXCLUSIVE);
    pohmel__readdir_reply__free_unpacked(listing, NULL);
    tear_down(&pair);
}

static void test_what_others_have_is_shared(void)
{
    struct pair pair;
    uint64_t other, lease, id;

    set_up(&pair, true);
    client_getattr(&pair.two, FILE_A, &other);
    take_root(&pair);
    g_assert_cmpuint(mode_by_lookup(&pair.one, "a", &lease), ==, PH_LEASE_SHARED);
    g_assert_cmpuint(mode_by_lookup(&pair.one, "b", &lease), ==, PH_LEASE_EXCLUSIVE);
    g_assert_cmpuint(pair.two.recalls->len, ==, 0); /* nobody was asked for anything */
    client_release(&pair.two, other, false);
    g_assert_cmpuint(mode_by_lookup(&pair.one, "a", &lease), ==, PH_LEASE_EXCLUSIVE);
    /* While the directory is wanted by somebody else, no more is taken. */
    client_release(&pair.one, lease, false);
    id = client_create(&pair.two, "new", NEW, false);
    g_assert_cmpuint(client_status(&pair.two, id), ==, PH_PENDING);
    client_release(&pair.one, pair.root, false);
    g_assert_cmpuint(client_status(&pair.two, id), ==, PH_ST_OK);
    g_assert_cmpuint(mode_by_lookup(&pair.one, "a", &lease), ==, PH_LEASE_SHARED);
    tear_down(&pair);
}

static void test_opening_to_write_gives_it_alone(void)
{
    struct pair pair;
    Pohmel__OpenReply *reply;

    set_up(&pair, false);
    reply =
        (void *) client_message(&pair.one, open_file(&pair.one, FILE_A, 1), &pohmel__open_reply__descriptor);
    g_assert_cmpuint(reply->attr->lease_mode, ==, PH_LEASE_SHARED);
    pohmel__open_reply__free_unpacked(reply, NULL);
    reply =
        (void *) client_message(&pair.one, open_file(&pair.one, FILE_A, 3), &pohmel__open_reply__descriptor);
    g_assert_cmpuint(reply->attr->lease_mode, ==, PH_LEASE_EXCLUSIVE);
    pohmel__open_reply__free_unpacked(reply, NULL);
    tear_down(&pair);
}

static void test_an_acquire_makes_a_shared_lease_exclusive(void)
{
    struct pair pair;
    Pohmel__LeaseAcquireReply *reply;
    uint64_t shared, other, id;

    set_up(&pair, true);
    client_getattr(&pair.one, FILE_A, &shared);
    g_assert_cmpuint(take(&pair.one, FILE_A), >, shared); /* alone: at once */
    client_getattr(&pair.one, FILE_B, &shared);
    client_getattr(&pair.two, FILE_B, &other);
    id = client_acquire(&pair.one, FILE_B, PH_LEASE_EXCLUSIVE);
    g_assert_cmpuint(client_status(&pair.one, id), ==, PH_PENDING);
    client_release(&pair.two, client_recalled(&pair.two, 0, FILE_B, PH_LEASE_NONE), false);
    reply = (void *) client_message(&pair.one, id, &pohmel__lease_acquire_reply__descriptor);
    g_assert_cmpuint(reply->grant->lease, >, shared);
    g_assert_cmpuint(reply->grant->mode, ==, PH_LEASE_EXCLUSIVE);
    g_assert_cmpuint(reply->grant->attr->lease, ==, reply->grant->lease);
    g_assert_cmpuint(reply->grant->attr->lease_mode, ==, PH_LEASE_EXCLUSIVE);
    pohmel__lease_acquire_reply__free_unpacked(reply, NULL);
    tear_down(&pair);
}

/* Both have it as SHARED and want it alone: the second is sent back, gives it up, and comes again. */
static void test_two_upgrades_do_not_wait_for_each_other(void)
{
    struct pair pair;
    uint64_t one, two, first, second, lease;

    set_up(&pair, true);
    client_getattr(&pair.one, FILE_A, &one);
    client_getattr(&pair.two, FILE_A, &two);
    first = client_acquire(&pair.one, FILE_A, PH_LEASE_EXCLUSIVE);
    second = client_acquire(&pair.two, FILE_A, PH_LEASE_EXCLUSIVE);
    g_assert_cmpuint(client_status(&pair.one, first), ==, PH_PENDING);
    g_assert_cmpuint(client_status(&pair.two, second), ==, PH_ST_NO_LEASE);
    client_release(&pair.two, two, false);
    lease = client_acquired(&pair.one, first);
    second = client_acquire(&pair.two, FILE_A, PH_LEASE_EXCLUSIVE);
    client_release(&pair.one, client_recalled(&pair.one, 0, FILE_A, PH_LEASE_NONE), false);
    g_assert_cmpuint(client_acquired(&pair.two, second), >, lease);
    tear_down(&pair);
}

/* ---- What is sent waits for nobody ---- */

static uint64_t rename_between(struct client *client, uint64_t from, uint64_t to)
{
    Pohmel__Change change = POHMEL__CHANGE__INIT;
    Pohmel__RenameRequest rename = POHMEL__RENAME_REQUEST__INIT;

    rename.caller = &nobody;
    rename.old_parent = from;
    rename.new_parent = to;
    rename.old_name = (ProtobufCBinaryData){1, (uint8_t *) "a"};
    rename.new_name = (ProtobufCBinaryData){1, (uint8_t *) "c"};
    rename.object = FILE_A;
    change.command_case = POHMEL__CHANGE__COMMAND_RENAME;
    change.rename = &rename;
    return client_change(client, &change, 0);
}

static uint64_t remove_directory(struct client *client)
{
    Pohmel__Change change = POHMEL__CHANGE__INIT;
    Pohmel__RmdirRequest rmdir = POHMEL__RMDIR_REQUEST__INIT;

    rmdir.caller = &nobody;
    rmdir.parent = PH_OBJECT_ROOT;
    rmdir.name = (ProtobufCBinaryData){1, (uint8_t *) "d"};
    rmdir.object = DIRECTORY;
    change.command_case = POHMEL__CHANGE__COMMAND_RMDIR;
    change.rmdir = &rmdir;
    return client_change(client, &change, 0);
}

/* ONE sends what it has changed, of all kinds, having everything that this concerns alone. */
static void flush(struct pair *pair)
{
    uint64_t id = client_create(&pair->one, "new", NEW, false);

    g_assert_cmpuint(client_status(&pair->one, id), ==, PH_ST_OK);
    id = open_file(&pair->one, FILE_A, 3);
    g_assert_cmpuint(client_status(&pair->one, id), ==, PH_ST_OK);
    g_assert_cmpuint(client_status(&pair->one, read_file(&pair->one, FILE_A)), ==, PH_ST_OK);
    g_assert_cmpuint(client_status(&pair->one, write_file(&pair->one, FILE_A)), ==, PH_ST_OK);
    g_assert_cmpuint(client_status(&pair->one, lookup(&pair->one, "a")), ==, PH_ST_OK);
    g_assert_cmpuint(client_status(&pair->one, list(&pair->one)), ==, PH_ST_OK);
    id = rename_between(&pair->one, PH_OBJECT_ROOT, DIRECTORY);
    g_assert_cmpuint(client_status(&pair->one, id), ==, PH_ST_OK);
    g_assert_cmpuint(client_status(&pair->one, client_remove(&pair->one, "b", FILE_B)), ==, PH_ST_OK);
    /* The fake store does not do that; but it was asked. */
    g_assert_cmpuint(client_status(&pair->one, remove_directory(&pair->one)), ==, PH_ST_UNSUPPORTED);
}

enum { WAIT_READ, WAIT_CHANGE, WAIT_ACQUIRE, WAIT_ACQUIRE_SHARED, WAITS };

/* TWO waits for OBJECT. */
static uint64_t begin_to_wait(struct pair *pair, int how, uint64_t object)
{
    switch (how) {
    case WAIT_READ:
        return client_getattr(&pair->two, object, NULL);
    case WAIT_ACQUIRE:
        return client_acquire(&pair->two, object, PH_LEASE_EXCLUSIVE);
    case WAIT_ACQUIRE_SHARED:
        return client_acquire(&pair->two, object, PH_LEASE_SHARED);
    default:
        return object == PH_OBJECT_ROOT ? client_create(&pair->two, "other", NEW + 1, false)
               : object == DIRECTORY    ? rename_between(&pair->two, DIRECTORY, DIRECTORY)
                                        : write_file(&pair->two, object);
    }
}

static void test_a_flush_waits_for_nobody(void)
{
    const uint64_t objects[] = {PH_OBJECT_ROOT, DIRECTORY, FILE_A, FILE_B};

    for (int how = 0; how < WAITS; how++) {
        struct pair pair;
        uint64_t waiting[G_N_ELEMENTS(objects)], leases[G_N_ELEMENTS(objects)];

        set_up(&pair, true);
        ph_fake_store_give_name(pair.world.fake, "d", DIRECTORY);
        take_root(&pair);
        leases[0] = pair.root;
        for (size_t i = 1; i < G_N_ELEMENTS(objects); i++)
            leases[i] = take(&pair.one, objects[i]);
        for (size_t i = 0; i < G_N_ELEMENTS(objects); i++) {
            waiting[i] = begin_to_wait(&pair, how, objects[i]);
            g_assert_cmpuint(client_status(&pair.two, waiting[i]), ==, PH_PENDING);
        }
        g_assert_cmpuint(pair.one.recalls->len, >=, G_N_ELEMENTS(objects));
        flush(&pair);
        for (size_t i = 0; i < G_N_ELEMENTS(objects); i++)
            g_assert_cmpuint(client_status(&pair.two, waiting[i]), ==, PH_PENDING);
        for (size_t i = 0; i < G_N_ELEMENTS(objects); i++)
            client_release(&pair.one, leases[i], false);
        for (size_t i = 0; i < G_N_ELEMENTS(objects); i++)
            g_assert_cmpuint(client_status(&pair.two, waiting[i]), !=, PH_PENDING);
        tear_down(&pair);
    }
}

/* Somebody waits for all of the export. */
static void test_a_flush_does_not_wait_for_who_wants_everything(void)
{
    struct pair pair;
    Pohmel__Change change = POHMEL__CHANGE__INIT;
    Pohmel__RmtreeRequest remove = POHMEL__RMTREE_REQUEST__INIT;
    uint64_t id, leases[4] = {0};

    set_up(&pair, true);
    ph_fake_store_give_name(pair.world.fake, "d", DIRECTORY);
    take_root(&pair);
    leases[0] = pair.root;
    leases[1] = take(&pair.one, FILE_A);
    leases[2] = take(&pair.one, FILE_B);
    leases[3] = take(&pair.one, DIRECTORY);
    remove.caller = &nobody;
    remove.parent = PH_OBJECT_ROOT;
    remove.name = (ProtobufCBinaryData){1, (uint8_t *) "d"};
    change.command_case = POHMEL__CHANGE__COMMAND_RMTREE;
    change.rmtree = &remove;
    id = client_change(&pair.two, &change, 0);
    g_assert_cmpuint(client_status(&pair.two, id), ==, PH_PENDING);
    flush(&pair);
    g_assert_cmpuint(client_status(&pair.two, id), ==, PH_PENDING);
    for (size_t i = 0; i < G_N_ELEMENTS(leases); i++)
        client_release(&pair.one, leases[i], false);
    while (client_status(&pair.two, id) == PH_PENDING && pair.one.recalls->len > 4) {
        client_release(&pair.one, client_recalled(&pair.one, 4, NEW, PH_LEASE_NONE), false);
        break;
    }
    g_assert_cmpuint(client_status(&pair.two, id), !=, PH_PENDING);
    tear_down(&pair);
}

/* ---- Others see nothing older ---- */

static void test_reading_waits_until_it_was_sent(void)
{
    for (int kept = 0; kept < 2; kept++) {
        struct pair pair;
        uint64_t lease, ids[4];

        set_up(&pair, false);
        g_assert_cmpuint(client_status(&pair.two, open_file(&pair.two, FILE_A, 1)), ==, PH_ST_OK);
        open_file(&pair.one, FILE_A, 3); /* alone, as it is to write */
        lease = take(&pair.one, FILE_A);
        ids[0] = client_getattr(&pair.two, FILE_A, NULL);
        ids[1] = lookup(&pair.two, "a");
        ids[2] = open_file(&pair.two, FILE_A, 1);
        ids[3] = read_file(&pair.two, FILE_A);
        for (size_t i = 0; i < G_N_ELEMENTS(ids); i++)
            g_assert_cmpuint(client_status(&pair.two, ids[i]), ==, PH_PENDING);
        g_assert_cmpuint(client_recalled(&pair.one, 0, FILE_A, PH_LEASE_SHARED), ==, lease);
        g_assert_cmpuint(pair.one.recalls->len, ==, 1);
        g_assert_cmpuint(client_status(&pair.one, write_file(&pair.one, FILE_A)), ==, PH_ST_OK);
        client_release(&pair.one, lease, kept != 0);
        for (size_t i = 0; i < G_N_ELEMENTS(ids); i++)
            g_assert_cmpuint(client_status(&pair.two, ids[i]), ==, PH_ST_OK);
        Pohmel__LookupReply *reply = looked(&pair.two, ids[1]);
        g_assert_cmpuint(reply->found[0]->size, ==, WRITTEN);
        pohmel__lookup_reply__free_unpacked(reply, NULL);
        /* What was kept is one that others change only when it was given back. */
        ids[0] = client_remove(&pair.two, "a", FILE_A);
        g_assert_cmpuint(client_status(&pair.two, ids[0]), ==, PH_PENDING); /* the root at least */
        g_assert_cmpuint(pair.one.recalls->len, ==, kept ? 3 : 2);
        tear_down(&pair);
    }
}

static void test_listing_leaves_out_what_others_write(void)
{
    struct pair pair;
    Pohmel__ReaddirReply *reply;
    uint64_t lease;

    set_up(&pair, false);
    lease = take(&pair.one, FILE_A);
    reply = listed(&pair.two, list(&pair.two));
    g_assert_cmpuint(reply->n_entries, ==, 2);
    g_assert_null(reply->entries[0]->attr);
    g_assert_nonnull(reply->entries[1]->attr);
    pohmel__readdir_reply__free_unpacked(reply, NULL);
    /* Who listed it is about to look at it. */
    g_assert_cmpuint(client_recalled(&pair.one, 0, FILE_A, PH_LEASE_SHARED), ==, lease);
    client_release(&pair.one, lease, true);
    reply = listed(&pair.two, list(&pair.two));
    g_assert_nonnull(reply->entries[0]->attr);
    pohmel__readdir_reply__free_unpacked(reply, NULL);
    tear_down(&pair);
}

/* ONE sends what it wrote, and gives the file up, while TWO holds what it read of it before. */
static void send_and_give_up(void *data)
{
    struct pair *pair = data;
    uint64_t lease;

    g_assert_cmpuint(client_status(&pair->one, write_file(&pair->one, FILE_A)), ==, PH_ST_OK);
    client_getattr(&pair->one, FILE_A, &lease);
    client_release(&pair->one, lease, false);
}

static void test_what_was_read_before_it_was_sent_is_read_again(void)
{
    struct pair pair;
    Pohmel__LookupReply *found;
    Pohmel__ReaddirReply *listing;

    set_up(&pair, false);
    open_file(&pair.one, FILE_A, 3);
    ph_fake_store_after_reading(pair.world.fake, send_and_give_up, &pair);
    found = looked(&pair.two, lookup(&pair.two, "a"));
    g_assert_cmpuint(found->found[0]->size, ==, WRITTEN);
    pohmel__lookup_reply__free_unpacked(found, NULL);
    open_file(&pair.one, FILE_A, 3);
    ph_fake_store_after_reading(pair.world.fake, send_and_give_up, &pair);
    listing = listed(&pair.two, list(&pair.two));
    g_assert_null(listing->entries[0]->attr);
    pohmel__readdir_reply__free_unpacked(listing, NULL);
    tear_down(&pair);
}

static void test_payload_belongs_to_commands(void)
{
    struct pair pair;
    Pohmel__Change change = POHMEL__CHANGE__INIT;
    Pohmel__CreateRequest create = POHMEL__CREATE_REQUEST__INIT;

    set_up(&pair, false);
    create.caller = &nobody;
    create.parent = PH_OBJECT_ROOT;
    create.name = (ProtobufCBinaryData){3, (uint8_t *) "new"};
    create.object = NEW;
    create.exclusive = true;
    create.length = WRITTEN;
    change.command_case = POHMEL__CHANGE__COMMAND_CREATE;
    change.create = &create;
    g_assert_cmpuint(client_status(&pair.one, client_change(&pair.one, &change, WRITTEN - 1)), ==,
                     PH_ST_MALFORMED);
    g_assert_cmpuint(client_status(&pair.one, client_change(&pair.one, &change, WRITTEN + 1)), ==,
                     PH_ST_MALFORMED);
    create.exclusive = false;
    g_assert_cmpuint(client_status(&pair.one, client_change(&pair.one, &change, WRITTEN)), ==, PH_ST_INVALID);
    g_assert_cmpuint(ph_fake_store_transactions(pair.world.fake), ==, 0);
    create.exclusive = true;
    g_assert_cmpuint(client_status(&pair.one, client_change(&pair.one, &change, WRITTEN)), ==, PH_ST_OK);
    tear_down(&pair);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/write-back/given/what-is-made", test_what_is_made_belongs_to_its_maker);
    g_test_add_func("/write-back/given/in-an-own-directory", test_what_is_in_an_own_directory_is_given_alone);
    g_test_add_func("/write-back/given/shared-with-others", test_what_others_have_is_shared);
    g_test_add_func("/write-back/given/opened-to-write", test_opening_to_write_gives_it_alone);
    g_test_add_func("/write-back/upgrade", test_an_acquire_makes_a_shared_lease_exclusive);
    g_test_add_func("/write-back/two-upgrades", test_two_upgrades_do_not_wait_for_each_other);
    g_test_add_func("/write-back/flush/waits-for-nobody", test_a_flush_waits_for_nobody);
    g_test_add_func("/write-back/flush/not-for-everything",
                    test_a_flush_does_not_wait_for_who_wants_everything);
    g_test_add_func("/write-back/others/wait-until-it-was-sent", test_reading_waits_until_it_was_sent);
    g_test_add_func("/write-back/others/listing", test_listing_leaves_out_what_others_write);
    g_test_add_func("/write-back/others/read-again", test_what_was_read_before_it_was_sent_is_read_again);
    g_test_add_func("/write-back/payload", test_payload_belongs_to_commands);
    return g_test_run();
}
