/* Names, data and open files, as one caller sees them. */
#include "server/store/tests/fixture.h"

#define ROOT PH_OBJECT_ROOT

enum { MORE_THAN_ARE_KEPT = 600 }; /* removed objects that can be reached for a while */

static void test_made_objects_have_their_makers_id(void)
{
    struct fixture fx;
    fx_setup(&fx);
    fx_ok(&fx, fx_create(&fx, ROOT, "f", 0644, 1, 3));
    g_assert_true(fx.created);
    uint64_t id = fx.attr->object;
    g_assert_cmpuint(id, >=, PH_OBJECT_GIVEN_FIRST);
    fx_ok(&fx, fx_lookup(&fx, ROOT, "f"));
    g_assert_cmpuint(fx.attr->object, ==, id);
    fx_ok(&fx, fx_mkdir(&fx, ROOT, "d", 0755));
    uint64_t directory = fx.attr->object;
    fx_ok(&fx, fx_symlink(&fx, directory, "l", "../f"));
    uint64_t link = fx.attr->object;
    fx_ok(&fx, fx_lookup(&fx, ROOT, "d/l"));
    g_assert_cmpuint(fx.attr->object, ==, link);
    fx_ok(&fx, fx_readlink(&fx, link));
    g_assert_cmpstr(fx.text, ==, "../f");
    fx_is(fx_lookup(&fx, ROOT, "d/none"), PH_ST_NOT_FOUND);
    g_assert_cmpuint(fx.number, ==, 1);
    fx_is(fx_lookup(&fx, ROOT, "f/x"), PH_ST_NOT_DIRECTORY);
    fx_teardown(&fx);
}

static void test_found_objects_have_their_inode_number(void)
{
    struct fixture fx;
    struct stat st;
    fx_setup(&fx);
    fx_put(&fx, "found", "content");
    g_autofree char *path = fx_path(&fx, "found");
    g_assert_cmpint(stat(path, &st), ==, 0);
    fx_ok(&fx, fx_lookup(&fx, ROOT, "found"));
    g_assert_cmpuint(fx.attr->object, ==, st.st_ino);
    fx_ok(&fx, fx_open_object(&fx, st.st_ino, 5, 1));
    fx_ok(&fx, fx_read(&fx, st.st_ino, 5, 0, 100));
    g_assert_cmpstr(fx.text, ==, "content");
    g_assert_true(fx.end);
    fx_teardown(&fx);
}

static void test_ids_must_come_from_the_session(void)
{
    struct fixture fx;
    fx_setup(&fx);
    uint64_t good = fx.next_id, end = fx.ids_end;
    fx.ids_end = UINT64_MAX;
    const uint64_t bad[] = {2, PH_OBJECT_GIVEN_END - 1, PH_OBJECT_GIVEN_END, end + 5, UINT64_C(1) << 63};
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        fx.next_id = bad[i];
        fx_is(fx_create(&fx, ROOT, "f", 0644, 0, 0), PH_ST_INVALID);
    }
    fx.next_id = good;
    fx_ok(&fx, fx_create(&fx, ROOT, "f", 0644, 0, 0));
    fx.next_id = good;
    fx_is(fx_create(&fx, ROOT, "g", 0644, 0, 0), PH_ST_INVALID); /* in use */
    fx.call.session++;
    fx.next_id = good + 10;
    fx_is(fx_create(&fx, ROOT, "g", 0644, 0, 0), PH_ST_INVALID); /* another's */
    fx_is(fx_lookup(&fx, ROOT, "g"), PH_ST_NOT_FOUND);
    fx_teardown(&fx);
}

/* Who made it in a session that was lost, and does not know, would bring back what somebody removed. */
static void test_what_was_removed_is_not_made_again(void)
{
    struct fixture fx;
    fx_setup(&fx);
    uint64_t first = fx.next_id;
    fx_ok(&fx, fx_create(&fx, ROOT, "removed", 0644, 0, 0));
    fx_ok(&fx, fx_create(&fx, ROOT, "replaced", 0644, 0, 0));
    fx_ok(&fx, fx_create(&fx, ROOT, "new", 0644, 0, 0));
    fx_ok(&fx, fx_remove(&fx, ROOT, "removed", 0));
    fx_ok(&fx, fx_rename(&fx, ROOT, "new", ROOT, "replaced", 0));
    for (uint64_t id = first; id < first + 2; id++) {
        fx.next_id = id;
        fx_is(fx_create(&fx, ROOT, "again", 0644, 0, 0), PH_ST_INVALID);
    }
    fx.next_id = first + 3;
    fx_ok(&fx, fx_create(&fx, ROOT, "again", 0644, 0, 0));
    fx_teardown(&fx);
}

static void test_create_opens_what_is_there(void)
{
    struct fixture fx;
    fx_setup(&fx);
    fx_ok(&fx, fx_create(&fx, ROOT, "f", 0444, 1, 2)); /* writable through this handle all the same */
    uint64_t id = fx.attr->object;
    fx_ok(&fx, fx_write(&fx, id, 1, 0, "abc", 3, false, false));
    fx_ok(&fx, fx_create(&fx, ROOT, "f", 0644, 2, 1));
    g_assert_false(fx.created);
    g_assert_cmpuint(fx.attr->object, ==, id);
    fx_ok(&fx, fx_read(&fx, id, 2, 0, 10));
    g_assert_cmpstr(fx.text, ==, "abc");
    fx_is(fx_create_exclusive(&fx, ROOT, "f", 0644), PH_ST_EXISTS);
    fx_ok(&fx, fx_mkdir(&fx, ROOT, "d", 0755));
    fx_is(fx_create(&fx, ROOT, "d", 0644, 3, 1), PH_ST_IS_DIRECTORY);
    fx_is(fx_create(&fx, ROOT, "e", 0644, 2, 1), PH_ST_BAD_HANDLE); /* 2 is open on f */
    fx_teardown(&fx);
}

static void test_write_read_append_and_holes(void)
{
    struct fixture fx;
    fx_setup(&fx);
    fx_ok(&fx, fx_create(&fx, ROOT, "f", 0644, 1, 3));
    uint64_t id = fx.attr->object, version = fx.attr->version;
    fx_ok(&fx, fx_write(&fx, id, 1, 0, "hello", 5, false, true));
    g_assert_cmpuint(fx.attr->version, >, version);
    version = fx.attr->version;
    fx_ok(&fx, fx_write(&fx, id, 1, 0, " world", 6, true, true));
    g_assert_cmpuint(fx.number, ==, 5);
    g_assert_cmpuint(fx.attr->size, ==, 11);
    g_assert_cmpuint(fx.attr->version, >, version);
    fx_ok(&fx, fx_seek(&fx, id, 1, 0, true)); /* moves the descriptor; appends must not care */
    fx_ok(&fx, fx_write(&fx, id, 1, 0, "!", 1, true, true));
    g_assert_cmpuint(fx.number, ==, 11);
    fx_ok(&fx, fx_read(&fx, id, 1, 0, 100));
    g_assert_cmpstr(fx.text, ==, "hello world!");
    fx_ok(&fx, fx_read(&fx, id, 1, 100, 100));
    g_assert_cmpuint(fx.number, ==, 0);
    g_assert_true(fx.end);
    fx_ok(&fx, fx_write(&fx, id, 1, UINT64_C(5) << 30, "far", 3, false, true));
    fx_ok(&fx, fx_seek(&fx, id, 1, 1 << 20, false));
    g_assert_cmpuint(fx.number, >, 1 << 20);
    fx_is(fx_seek(&fx, id, 1, UINT64_C(6) << 30, false), PH_ST_NO_DEVICE);
    fx_ok(&fx, fx_setattr(&fx, id, 1, 8, 4));
    g_assert_cmpuint(fx.attr->size, ==, 4);
    fx_is(fx_read(&fx, id, 9, 0, 1), PH_ST_BAD_HANDLE);
    fx_is(fx_read(&fx, id + 1, 1, 0, 1), PH_ST_BAD_HANDLE);
    fx_ok(&fx, fx_allocate(&fx, id, 1, 0, 1 << 20, 0));
    g_assert_cmpuint(fx.attr->size, ==, 1 << 20);
    fx_ok(&fx, fx_allocate(&fx, id, 1, 0, 65536, 3));
    fx_ok(&fx, fx_sync(&fx, id, 1, false));
    fx_ok(&fx, fx_sync(&fx, ROOT, 0, true));
    fx_teardown(&fx);
}

static void test_replaced_file_can_be_opened_by_who_found_it(void)
{
    struct fixture fx;
    fx_setup(&fx);
    fx_put(&fx, "f", "old");
    fx_put(&fx, "g", "new");
    fx_ok(&fx, fx_lookup(&fx, ROOT, "f"));
    uint64_t id = fx.attr->object;
    fx_ok(&fx, fx_rename(&fx, ROOT, "g", ROOT, "f", 0));
    fx_ok(&fx, fx_getattr(&fx, id));
    g_assert_cmpuint(fx.attr->links, ==, 0);
    fx_ok(&fx, fx_open_object(&fx, id, 1, 3));
    fx_is(fx_link(&fx, id, ROOT, "back"), PH_ST_NOT_FOUND);
    for (int i = 0; i < MORE_THAN_ARE_KEPT; i++) { /* its turn to be let go comes */
        g_autofree char *name = g_strdup_printf("d%d", i);
        fx_ok(&fx, fx_mkdir(&fx, ROOT, name, 0755));
        fx_ok(&fx, fx_rmdir(&fx, ROOT, name));
    }
    fx_ok(&fx, fx_read(&fx, id, 1, 0, 10));
    g_assert_cmpstr(fx.text, ==, "old");
    fx_ok(&fx, fx_write(&fx, id, 1, 0, "!", 1, true, true));
    fx_close_handle(&fx, 1);
    fx_ok(&fx, fx_getattr(&fx, id));
    fx_teardown(&fx);
}

static void test_file_replaced_while_open_can_be_opened_after_it_was_closed(void)
{
    struct fixture fx;
    fx_setup(&fx);
    fx_put(&fx, "f", "old");
    fx_put(&fx, "g", "new");
    fx_ok(&fx, fx_lookup(&fx, ROOT, "f"));
    uint64_t id = fx.attr->object;
    fx_ok(&fx, fx_open_object(&fx, id, 1, 1));
    fx_ok(&fx, fx_rename(&fx, ROOT, "g", ROOT, "f", 0));
    for (uint64_t handle = 1; handle <= 3; handle++) {
        fx_close_handle(&fx, handle);
        fx_ok(&fx, fx_open_object(&fx, id, handle + 1, 1));
        fx_ok(&fx, fx_read(&fx, id, handle + 1, 0, 10));
        g_assert_cmpstr(fx.text, ==, "old");
    }
    fx_teardown(&fx);
}

static void test_large_replaced_file_leaves_its_space(void)
{
    struct fixture fx;
    g_autofree char *large = g_strnfill(1 << 20, 'x');
    fx_setup(&fx);
    fx_put(&fx, "f", large);
    fx_put(&fx, "g", "new");
    fx_ok(&fx, fx_lookup(&fx, ROOT, "f"));
    uint64_t id = fx.attr->object;
    fx_ok(&fx, fx_rename(&fx, ROOT, "g", ROOT, "f", 0));
    fx_is(fx_getattr(&fx, id), PH_ST_STALE);
    fx_teardown(&fx);
}

static void test_removed_file_lives_until_closed(void)
{
    struct fixture fx;
    struct stat st;
    fx_setup(&fx);
    fx_ok(&fx, fx_create(&fx, ROOT, "f", 0644, 1, 3));
    uint64_t id = fx.attr->object;
    fx_ok(&fx, fx_write(&fx, id, 1, 0, "alive", 5, false, true));
    fx_ok(&fx, fx_remove(&fx, ROOT, "f", id));
    fx_is(fx_lookup(&fx, ROOT, "f"), PH_ST_NOT_FOUND);
    fx_ok(&fx, fx_getattr(&fx, id));
    g_assert_cmpuint(fx.attr->links, ==, 0);
    fx_ok(&fx, fx_setattr(&fx, id, 0, 1, 0600));
    g_assert_cmpuint(fx.attr->mode & 07777, ==, 0600);
    fx_ok(&fx, fx_open_object(&fx, id, 2, 3));
    fx_close_handle(&fx, 1);
    fx_ok(&fx, fx_write(&fx, id, 2, 0, "!", 1, true, true));
    fx_ok(&fx, fx_read(&fx, id, 2, 0, 10));
    g_assert_cmpstr(fx.text, ==, "alive!");
    fx_is(fx_link(&fx, id, ROOT, "back"), PH_ST_NOT_FOUND);
    g_autofree char *orphans = fx_path(&fx, ".pohmel/orphans");
    g_assert_cmpint(stat(orphans, &st), ==, 0);
    fx_is(fx_lookup(&fx, ROOT, ".pohmel"), PH_ST_NOT_FOUND);
    fx_is(fx_mkdir(&fx, ROOT, ".pohmel", 0755), PH_ST_NOT_PERMITTED);
    fx_is(fx_rename(&fx, ROOT, ".pohmel", ROOT, "x", 0), PH_ST_NOT_FOUND);
    fx_close_handle(&fx, 2);
    fx_is(fx_getattr(&fx, id), PH_ST_STALE);
    g_assert_cmpint(rmdir(orphans), ==, 0); /* nothing left in it */
    fx_teardown(&fx);
}

static void test_replaced_file_lives_until_closed(void)
{
    struct fixture fx;
    fx_setup(&fx);
    fx_ok(&fx, fx_create(&fx, ROOT, "a", 0644, 1, 3));
    uint64_t a = fx.attr->object;
    fx_ok(&fx, fx_write(&fx, a, 1, 0, "old", 3, false, true));
    fx_ok(&fx, fx_create(&fx, ROOT, "b", 0644, 2, 3));
    uint64_t b = fx.attr->object;
    fx_ok(&fx, fx_rename(&fx, ROOT, "b", ROOT, "a", 0));
    fx_ok(&fx, fx_lookup(&fx, ROOT, "a"));
    g_assert_cmpuint(fx.attr->object, ==, b);
    fx_ok(&fx, fx_read(&fx, a, 1, 0, 10));
    g_assert_cmpstr(fx.text, ==, "old");
    fx_ok(&fx, fx_getattr(&fx, a));
    g_assert_cmpuint(fx.attr->links, ==, 0);
    fx_teardown(&fx);
}

static void test_rename_flags_and_expectations(void)
{
    struct fixture fx;
    fx_setup(&fx);
    fx_ok(&fx, fx_mkdir(&fx, ROOT, "d", 0755));
    uint64_t d = fx.attr->object;
    fx_ok(&fx, fx_create(&fx, d, "inner", 0644, 0, 0));
    uint64_t inner = fx.attr->object;
    fx_ok(&fx, fx_create(&fx, ROOT, "f", 0644, 0, 0));
    uint64_t f = fx.attr->object;
    fx_is(fx_rename(&fx, ROOT, "f", d, "inner", 1), PH_ST_EXISTS);
    fx_ok(&fx, fx_rename(&fx, ROOT, "f", d, "inner", 2));
    fx_ok(&fx, fx_lookup(&fx, d, "inner"));
    g_assert_cmpuint(fx.attr->object, ==, f);
    fx_ok(&fx, fx_lookup(&fx, ROOT, "f"));
    g_assert_cmpuint(fx.attr->object, ==, inner);
    fx_ok(&fx, fx_getattr(&fx, inner));
    fx_is(fx_remove(&fx, ROOT, "f", f), PH_ST_MISMATCH);
    fx_ok(&fx, fx_remove(&fx, ROOT, "f", inner));
    fx_is(fx_getattr(&fx, inner), PH_ST_STALE);
    fx_is(fx_rename(&fx, ROOT, "d", d, "below", 0), PH_ST_INVALID);
    fx_is(fx_rmdir(&fx, ROOT, "d"), PH_ST_NOT_EMPTY);
    fx_is(fx_remove(&fx, ROOT, "d", 0), PH_ST_IS_DIRECTORY);
    fx_ok(&fx, fx_remove(&fx, d, "inner", 0));
    fx_ok(&fx, fx_rmdir(&fx, ROOT, "d"));
    fx_ok(&fx, fx_getattr(&fx, d)); /* somebody may be in it: what was just removed answers on */
    g_assert_cmpuint(fx.attr->links, ==, 0);
    fx_teardown(&fx);
}

static void test_directories_are_found_after_a_move(void)
{
    struct fixture fx;
    fx_setup(&fx);
    fx_ok(&fx, fx_mkpath(&fx, ROOT, "a/b/c/d", 0755));
    uint64_t d = fx.attr->object;
    g_assert_cmpuint(fx.number, ==, 4);
    fx_ok(&fx, fx_create(&fx, d, "f", 0644, 0, 0));
    uint64_t f = fx.attr->object;
    fx_ok(&fx, fx_mkdir(&fx, ROOT, "z", 0755));
    uint64_t z = fx.attr->object;
    fx_ok(&fx, fx_lookup(&fx, ROOT, "a"));
    uint64_t a = fx.attr->object;
    fx_ok(&fx, fx_rename(&fx, a, "b", z, "moved", 0));
    fx_ok(&fx, fx_getattr(&fx, f));
    fx_ok(&fx, fx_lookup(&fx, ROOT, "z/moved/c/d/f"));
    g_assert_cmpuint(fx.attr->object, ==, f);
    /* And from the database, when memory is empty. */
    fx_close(&fx);
    fx_open(&fx);
    fx_ok(&fx, fx_getattr(&fx, f));
    fx_ok(&fx, fx_lookup(&fx, ROOT, "z/moved/c/d/f"));
    g_assert_cmpuint(fx.attr->object, ==, f);
    fx_teardown(&fx);
}

static void test_hard_links(void)
{
    struct fixture fx;
    fx_setup(&fx);
    fx_ok(&fx, fx_create(&fx, ROOT, "a", 0644, 0, 0));
    uint64_t id = fx.attr->object;
    fx_ok(&fx, fx_link(&fx, id, ROOT, "b"));
    g_assert_cmpuint(fx.attr->links, ==, 2);
    fx_ok(&fx, fx_rename(&fx, ROOT, "a", ROOT, "b", 0)); /* one file: nothing happens */
    fx_ok(&fx, fx_lookup(&fx, ROOT, "a"));
    fx_ok(&fx, fx_lookup(&fx, ROOT, "b"));
    g_assert_cmpuint(fx.attr->object, ==, id);
    fx_ok(&fx, fx_remove(&fx, ROOT, "b", id)); /* the name known last */
    fx_ok(&fx, fx_getattr(&fx, id));
    g_assert_cmpuint(fx.attr->links, ==, 1);
    fx_ok(&fx, fx_lookup(&fx, ROOT, "a"));
    g_assert_cmpuint(fx.attr->object, ==, id);
    fx_ok(&fx, fx_symlink(&fx, ROOT, "s", "nowhere"));
    fx_ok(&fx, fx_link(&fx, fx.attr->object, ROOT, "s2"));
    g_assert_true(S_ISLNK(fx.attr->mode));
    fx_teardown(&fx);
}

static void test_file_without_a_name_gets_one(void)
{
    struct fixture fx;
    fx_setup(&fx);
    fx_ok(&fx, fx_tmpfile(&fx, ROOT, 1, false));
    uint64_t id = fx.attr->object;
    g_assert_cmpuint(fx.attr->links, ==, 0);
    fx_ok(&fx, fx_write(&fx, id, 1, 0, "tmp", 3, false, true));
    fx_ok(&fx, fx_link(&fx, id, ROOT, "named"));
    g_assert_cmpuint(fx.attr->links, ==, 1);
    fx_close_handle(&fx, 1);
    fx_ok(&fx, fx_lookup(&fx, ROOT, "named"));
    g_assert_cmpuint(fx.attr->object, ==, id);
    fx_ok(&fx, fx_tmpfile(&fx, ROOT, 2, true));
    id = fx.attr->object;
    fx_is(fx_link(&fx, id, ROOT, "never"), PH_ST_NOT_FOUND);
    fx_close_handle(&fx, 2);
    fx_is(fx_getattr(&fx, id), PH_ST_STALE);
    fx_teardown(&fx);
}

static void test_removed_directories_are_let_go_with_the_last_session(void)
{
    struct fixture fx;
    Pohmel__IdsGrantRequest request = POHMEL__IDS_GRANT_REQUEST__INIT;
    Pohmel__IdsGrantReply reply = POHMEL__IDS_GRANT_REPLY__INIT;
    fx_setup(&fx);
    uint64_t ours = fx.call.session;
    fx_ok(&fx, fx_mkdir(&fx, ROOT, "d", 0755));
    uint64_t id = fx.attr->object;
    fx_ok(&fx, fx_rmdir(&fx, ROOT, "d"));
    fx.call.session = ours + 1;
    request.count = 1;
    fx_begin(&fx);
    fx_ok(&fx, fx.store->ops->ids_grant(fx.store->self, &fx.call, &request, &reply));
    fx.store->end_session(fx.store->self, ours + 1);
    fx_ok(&fx, fx_getattr(&fx, id)); /* we are still here, and may be in it */
    fx.store->end_session(fx.store->self, ours);
    fx_is(fx_getattr(&fx, id), PH_ST_STALE);
    fx_teardown(&fx);
}

static void test_ids_outlive_sessions_and_belong_to_the_client(void)
{
    enum { RANGES = 5000 };
    static const uint8_t ours[16] = "one mount", others[16] = "another mount";
    struct fixture fx;
    Pohmel__IdsGrantRequest request = POHMEL__IDS_GRANT_REQUEST__INIT;
    Pohmel__IdsGrantReply reply = POHMEL__IDS_GRANT_REPLY__INIT;
    fx_setup(&fx);
    fx.call.session = 50;
    fx.call.client = ours;
    request.count = 4;
    fx_begin(&fx);
    fx_ok(&fx, fx.store->ops->ids_grant(fx.store->self, &fx.call, &request, &reply));
    fx.next_id = reply.first;
    fx.ids_end = reply.first + reply.count;
    fx_ok(&fx, fx_create(&fx, ROOT, "a", 0644, 0, 0));
    fx.store->end_session(fx.store->self, 50);
    fx.call.session = 51;
    fx.call.client = others;
    uint64_t next = fx.next_id;
    fx_is(fx_create(&fx, ROOT, "b", 0644, 0, 0), PH_ST_INVALID);
    fx.call.session = 52;
    fx.call.client = ours;
    fx.next_id = next;
    fx_ok(&fx, fx_create(&fx, ROOT, "b", 0644, 0, 0));
    fx.next_id = next;
    fx_is(fx_create(&fx, ROOT, "c", 0644, 0, 0), PH_ST_INVALID); /* used by now */
    /* However many a client uses up in its life. */
    request.count = 1;
    for (int i = 0; i < RANGES; i++) {
        fx_begin(&fx);
        fx_ok(&fx, fx.store->ops->ids_grant(fx.store->self, &fx.call, &request, &reply));
        fx.next_id = reply.first;
        fx.ids_end = reply.first + 1;
        g_autofree char *name = g_strdup_printf("n%d", i % 10);
        fx_remove(&fx, ROOT, name, 0);
        fx_ok(&fx, fx_create(&fx, ROOT, name, 0644, 0, 0));
    }
    fx.store->end_session(fx.store->self, 51);
    fx.store->end_session(fx.store->self, 52);
    fx_teardown(&fx);
}

static void test_end_of_a_session_closes_its_files(void)
{
    struct fixture fx;
    fx_setup(&fx);
    fx_ok(&fx, fx_create(&fx, ROOT, "f", 0644, 1, 3));
    uint64_t id = fx.attr->object;
    fx_ok(&fx, fx_remove(&fx, ROOT, "f", 0));
    fx.store->end_session(fx.store->self, fx.call.session);
    fx_is(fx_read(&fx, id, 1, 0, 1), PH_ST_BAD_HANDLE);
    fx_is(fx_getattr(&fx, id), PH_ST_STALE);
    fx_teardown(&fx);
}

static void test_times_keep_their_nanoseconds(void)
{
    struct fixture fx;
    fx_setup(&fx);
    fx_ok(&fx, fx_create(&fx, ROOT, "f", 0644, 0, 0));
    uint64_t id = fx.attr->object;
    fx_ok(&fx, fx_setattr(&fx, id, 0, 0x30, 1000000000));
    g_assert_cmpint(fx.attr->modified->seconds, ==, 1000000000);
    g_assert_cmpuint(fx.attr->modified->nanoseconds, ==, 123456789);
    fx_ok(&fx, fx_symlink(&fx, ROOT, "l", "f"));
    id = fx.attr->object;
    fx_ok(&fx, fx_setattr(&fx, id, 0, 0x20, 1234));
    g_assert_cmpint(fx.attr->modified->seconds, ==, 1234);
    fx_ok(&fx, fx_mknod(&fx, ROOT, "fifo", S_IFIFO | 0644, 0));
    fx_ok(&fx, fx_setattr(&fx, fx.attr->object, 0, 0xc0, 0));
    fx_is(fx_mknod(&fx, ROOT, "dir", S_IFDIR | 0644, 0), PH_ST_INVALID);
    fx_ok(&fx, fx_lookup(&fx, ROOT, "fifo"));
    fx_is(fx_open_object(&fx, fx.attr->object, 4, 1), PH_ST_INVALID);
    fx_teardown(&fx);
}

static void test_names_of_any_bytes(void)
{
    struct fixture fx;
    fx_setup(&fx);
    char longest[257];
    memset(longest, 0xff, sizeof longest);
    longest[255] = '\0';
    fx_ok(&fx, fx_create(&fx, ROOT, longest, 0644, 0, 0));
    fx_ok(&fx, fx_lookup(&fx, ROOT, longest));
    longest[255] = 'x';
    longest[256] = '\0';
    fx_is(fx_create(&fx, ROOT, longest, 0644, 0, 0), PH_ST_NAME_TOO_LONG);
    const char *odd[] = {"\n", " ", "-rf", "*", "\\", "a\tb", "\xc3\x28", "...", "%s%n"};
    for (size_t i = 0; i < G_N_ELEMENTS(odd); i++) {
        fx_ok(&fx, fx_create(&fx, ROOT, odd[i], 0644, 0, 0));
        fx_ok(&fx, fx_lookup(&fx, ROOT, odd[i]));
        fx_ok(&fx, fx_remove(&fx, ROOT, odd[i], 0));
    }
    fx_is(fx_mkdir(&fx, ROOT, "..", 0755), PH_ST_NAME_TOO_LONG); /* the validator refuses it before */
    fx_is(fx_mkdir(&fx, ROOT, ".", 0755), PH_ST_NAME_TOO_LONG);
    fx_teardown(&fx);
}

/* A client that was cut off opens again what it had open, by the ids that it knows. */
static void test_what_was_open_is_known_after_a_restart(void)
{
    struct fixture fx;
    fx_setup(&fx);
    g_autofree char *above = fx_path(&fx, "above");
    g_assert_cmpint(mkdir(above, 0755), ==, 0);
    fx_put(&fx, "above/found", "content");
    fx_put(&fx, "above/other", "content");
    fx_ok(&fx, fx_lookup(&fx, PH_OBJECT_ROOT, "above/other"));
    uint64_t other = fx.attr->object;
    fx_ok(&fx, fx_lookup(&fx, PH_OBJECT_ROOT, "above/found"));
    uint64_t found = fx.attr->object;
    fx_ok(&fx, fx_open_object(&fx, found, 5, 1));
    fx_close(&fx);
    fx_open(&fx);
    fx_ok(&fx, fx_open_object(&fx, found, 5, 1));
    fx_ok(&fx, fx_read(&fx, found, 5, 0, 100));
    g_assert_cmpstr(fx.text, ==, "content");
    fx_is(fx_getattr(&fx, other), PH_ST_STALE);
    fx_teardown(&fx);
}

/* Whichever of its names goes: the id of a file with others is good after a restart, too. */
static void test_ids_outlive_one_of_several_names(void)
{
    enum { ADDED_GOES, FIRST_GOES, REPLACED, FOUND_GOES, WAYS };
    for (int way = ADDED_GOES; way < WAYS; way++) {
        struct fixture fx;
        fx_setup(&fx);
        fx_ok(&fx, fx_create(&fx, ROOT, "first", 0644, 0, 0));
        uint64_t id = fx.attr->object;
        fx_ok(&fx, fx_mkdir(&fx, ROOT, "d", 0755));
        uint64_t directory = fx.attr->object;
        fx_ok(&fx, fx_link(&fx, id, directory, "added"));
        fx_ok(&fx, fx_create(&fx, ROOT, "another", 0644, 0, 0));
        if (way == ADDED_GOES)
            fx_ok(&fx, fx_remove(&fx, directory, "added", id));
        else if (way == FIRST_GOES)
            fx_ok(&fx, fx_remove(&fx, ROOT, "first", id));
        else if (way == REPLACED)
            fx_ok(&fx, fx_rename(&fx, ROOT, "another", ROOT, "first", 0));
        if (way == FOUND_GOES) {
            fx_ok(&fx, fx_lookup(&fx, ROOT, "first"));
            fx_ok(&fx, fx_remove(&fx, ROOT, "first", id));
        }
        fx_close(&fx);
        fx_open(&fx);
        fx_ok(&fx, fx_getattr(&fx, id));
        fx_ok(&fx,
              fx_lookup(&fx, way == ADDED_GOES ? ROOT : directory, way == ADDED_GOES ? "first" : "added"));
        g_assert_cmpuint(fx.attr->object, ==, id);
        fx_teardown(&fx);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/store/made-objects-have-their-makers-id", test_made_objects_have_their_makers_id);
    g_test_add_func("/store/found-objects-have-their-inode-number",
                    test_found_objects_have_their_inode_number);
    g_test_add_func("/store/ids-must-come-from-the-session", test_ids_must_come_from_the_session);
    g_test_add_func("/store/what-was-removed-is-not-made-again", test_what_was_removed_is_not_made_again);
    g_test_add_func("/store/create-opens-what-is-there", test_create_opens_what_is_there);
    g_test_add_func("/store/write-read-append-and-holes", test_write_read_append_and_holes);
    g_test_add_func("/store/removed-file-lives-until-closed", test_removed_file_lives_until_closed);
    g_test_add_func("/store/removed-directories-go-with-the-last-session",
                    test_removed_directories_are_let_go_with_the_last_session);
    g_test_add_func("/store/replaced-file-lives-until-closed", test_replaced_file_lives_until_closed);
    g_test_add_func("/store/rename-flags-and-expectations", test_rename_flags_and_expectations);
    g_test_add_func("/store/directories-are-found-after-a-move", test_directories_are_found_after_a_move);
    g_test_add_func("/store/hard-links", test_hard_links);
    g_test_add_func("/store/file-without-a-name-gets-one", test_file_without_a_name_gets_one);
    g_test_add_func("/store/ids-outlive-sessions-and-belong-to-the-client",
                    test_ids_outlive_sessions_and_belong_to_the_client);
    g_test_add_func("/store/end-of-a-session-closes-its-files", test_end_of_a_session_closes_its_files);
    g_test_add_func("/store/replaced-file-can-be-opened-by-who-found-it",
                    test_replaced_file_can_be_opened_by_who_found_it);
    g_test_add_func("/store/file-replaced-while-open-can-be-opened-after-it-was-closed",
                    test_file_replaced_while_open_can_be_opened_after_it_was_closed);
    g_test_add_func("/store/large-replaced-file-leaves-its-space", test_large_replaced_file_leaves_its_space);
    g_test_add_func("/store/times-keep-their-nanoseconds", test_times_keep_their_nanoseconds);
    g_test_add_func("/store/what-was-open-is-known-after-a-restart",
                    test_what_was_open_is_known_after_a_restart);
    g_test_add_func("/store/names-of-any-bytes", test_names_of_any_bytes);
    g_test_add_func("/store/ids-outlive-one-of-several-names", test_ids_outlive_one_of_several_names);
    return g_test_run();
}
