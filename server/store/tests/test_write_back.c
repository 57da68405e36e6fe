/* What a client that makes changes in its cache sends when it flushes them. */
#include <errno.h>
#include <sys/ioctl.h>
#include <sys/xattr.h>

#include <linux/fs.h>

#include "server/store/tests/fixture.h"

#define ROOT PH_OBJECT_ROOT

enum { ALICE = 41001, BOB = 41002, LATER_S = 2000000000, EARLIER_S = 1000000000 };

/* CREATE, exclusive, with content. */
static uint32_t create_with(struct fixture *fx, const char *name, const void *bytes, size_t len,
                            size_t payload, Pohmel__NewAttributes *attributes)
{
    Pohmel__CreateRequest request = POHMEL__CREATE_REQUEST__INIT;
    Pohmel__CreateResult result = POHMEL__CREATE_RESULT__INIT;
    struct ph_blob *blob = ph_blob_new(payload + 1);

    fx_begin(fx);
    memcpy(blob->data, bytes, payload);
    blob->len = payload;
    fx->call.payload_in = blob;
    request.caller = &fx->caller;
    request.parent = ROOT;
    request.name = (ProtobufCBinaryData){strlen(name), (uint8_t *) name};
    request.object = fx_id(fx);
    request.mode = 0600;
    request.umask = fx->umask;
    request.exclusive = true;
    request.length = (uint32_t) len;
    request.attributes = attributes;
    uint32_t status = fx->store->ops->create(fx->store->self, &fx->call, &request, &result);
    fx->attr = result.attr;
    fx->created = result.created;
    fx->call.payload_in = NULL;
    ph_blob_unref(blob);
    return status;
}

static Pohmel__NewAttributes new_attributes(uint32_t which, Pohmel__Time *modified)
{
    Pohmel__NewAttributes attributes = POHMEL__NEW_ATTRIBUTES__INIT;
    pohmel__time__init(modified);
    modified->seconds = EARLIER_S;
    modified->nanoseconds = 5000;
    attributes.which = which;
    attributes.modified = modified;
    return attributes;
}

static void test_create_brings_data_and_attributes_along(void)
{
    struct fixture fx;
    Pohmel__Time modified;
    Pohmel__NewAttributes attributes = new_attributes(PH_SET_MODE | PH_SET_MODIFIED, &modified);
    g_autofree char *content = NULL;
    fx_setup(&fx);
    fx_as(&fx, ALICE, ALICE);
    attributes.mode = 0444;
    fx_ok(&fx, create_with(&fx, "f", "hello", 5, 5, &attributes));
    g_assert_true(fx.created);
    g_assert_cmpuint(fx.attr->size, ==, 5);
    g_assert_cmpuint(fx.attr->mode, ==, S_IFREG | 0444);
    g_assert_cmpuint(fx.attr->uid, ==, ALICE);
    g_assert_cmpint(fx.attr->modified->seconds, ==, EARLIER_S);
    g_assert_cmpuint(fx.attr->modified->nanoseconds, ==, 5000);
    uint64_t f = fx.attr->object;
    fx_ok(&fx, fx_lookup(&fx, ROOT, "f"));
    g_assert_cmpuint(fx.attr->object, ==, f);
    g_assert_cmpuint(fx.attr->size, ==, 5);
    g_autofree char *path = fx_path(&fx, "f");
    g_assert_true(g_file_get_contents(path, &content, NULL, NULL));
    g_assert_cmpstr(content, ==, "hello");
    fx_is(create_with(&fx, "f", "other", 5, 5, NULL), PH_ST_EXISTS);
    fx_teardown(&fx);
}

/* Whether nothing of that name is left, on the disk and for clients. */
static void assert_nothing(struct fixture *fx, const char *name)
{
    g_autofree char *path = fx_path(fx, name);
    struct stat st;
    g_assert_cmpint(lstat(path, &st), ==, -1);
    fx_is(fx_lookup(fx, ROOT, name), PH_ST_NOT_FOUND);
}

static void test_create_leaves_nothing_behind_when_it_fails(void)
{
    struct fixture fx;
    Pohmel__Time modified;
    Pohmel__NewAttributes attributes = new_attributes(PH_SET_UID, &modified);
    fx_setup(&fx);
    fx_as(&fx, ALICE, ALICE);
    attributes.uid = BOB; /* ALICE may not give files away */
    fx_is(create_with(&fx, "given", "hello", 5, 5, &attributes), PH_ST_NOT_PERMITTED);
    g_assert_false(fx.created);
    assert_nothing(&fx, "given");
    fx_is(create_with(&fx, "short", "hell", 5, 4, NULL), PH_ST_MALFORMED);
    assert_nothing(&fx, "short");
    fx_teardown(&fx);
}

static void test_create_without_space_leaves_nothing_behind(void)
{
    struct fixture fx;
    g_autofree char *bytes = g_malloc0(PH_PAYLOAD_MAX_BYTES);
    fx_setup(&fx);
    fx_close(&fx);
    fx.options.size_limit = PH_PAYLOAD_MAX_BYTES / 2;
    fx_open(&fx);
    fx_is(create_with(&fx, "f", bytes, PH_PAYLOAD_MAX_BYTES, PH_PAYLOAD_MAX_BYTES, NULL), PH_ST_NO_SPACE);
    assert_nothing(&fx, "f");
    fx_ok(&fx, create_with(&fx, "f", bytes, 4096, 4096, NULL));
    fx_teardown(&fx);
}

static void test_only_what_is_made_gets_content(void)
{
    struct fixture fx;
    Pohmel__CreateRequest request = POHMEL__CREATE_REQUEST__INIT;
    Pohmel__CreateResult result = POHMEL__CREATE_RESULT__INIT;
    fx_setup(&fx);
    fx_begin(&fx);
    request.caller = &fx.caller;
    request.parent = ROOT;
    request.name = (ProtobufCBinaryData){1, (uint8_t *) "f"};
    request.object = fx_id(&fx);
    request.length = 1;
    fx_is(fx.store->ops->create(fx.store->self, &fx.call, &request, &result), PH_ST_INVALID);
    assert_nothing(&fx, "f");
    fx_teardown(&fx);
}

static uint32_t write_at(struct fixture *fx, uint64_t object, uint64_t handle, Pohmel__Time *modified)
{
    Pohmel__WriteRequest request = POHMEL__WRITE_REQUEST__INIT;
    Pohmel__WriteResult result = POHMEL__WRITE_RESULT__INIT;
    struct ph_blob *blob = ph_blob_new(1);
    fx_begin(fx);
    blob->data[0] = 'x';
    blob->len = 1;
    fx->call.payload_in = blob;
    request.caller = &fx->caller;
    request.object = object;
    request.handle = handle;
    request.length = 1;
    request.modified = modified;
    uint32_t status = fx->store->ops->write(fx->store->self, &fx->call, &request, &result);
    fx->attr = result.attr;
    fx->call.payload_in = NULL;
    ph_blob_unref(blob);
    return status;
}

static void test_writes_tell_their_time(void)
{
    struct fixture fx;
    Pohmel__Time modified = POHMEL__TIME__INIT;
    fx_setup(&fx);
    fx_as(&fx, ALICE, ALICE);
    fx.umask = 0;
    fx_ok(&fx, fx_create(&fx, ROOT, "f", 0666, 0, 0));
    uint64_t f = fx.attr->object;
    fx_as(&fx, BOB, BOB); /* not the owner */
    fx_ok(&fx, fx_open_object(&fx, f, 1, 2));
    modified.seconds = LATER_S;
    modified.nanoseconds = 7000;
    fx_ok(&fx, write_at(&fx, f, 1, &modified));
    g_assert_cmpint(fx.attr->modified->seconds, ==, LATER_S);
    g_assert_cmpuint(fx.attr->modified->nanoseconds, ==, 7000);
    fx_ok(&fx, fx_getattr(&fx, f));
    g_assert_cmpint(fx.attr->modified->seconds, ==, LATER_S);
    fx_ok(&fx, write_at(&fx, f, 1, NULL));
    g_assert_cmpint(fx.attr->modified->seconds, !=, LATER_S);
    fx_teardown(&fx);
}

static uint32_t reopen(struct fixture *fx, uint64_t object, uint64_t handle, uint32_t access, bool again)
{
    Pohmel__OpenRequest request = POHMEL__OPEN_REQUEST__INIT;
    Pohmel__OpenReply reply = POHMEL__OPEN_REPLY__INIT;
    fx_begin(fx);
    request.caller = &fx->caller;
    request.object = object;
    request.handle = handle;
    request.access = access;
    request.reopen = again;
    return fx->store->ops->open(fx->store->self, &fx->call, &request, &reply);
}

static void test_the_owner_opens_again_whatever_the_mode(void)
{
    struct fixture fx;
    fx_setup(&fx);
    fx_as(&fx, ALICE, ALICE);
    fx_ok(&fx, fx_create(&fx, ROOT, "f", 0400, 0, 0));
    uint64_t f = fx.attr->object;
    fx_ok(&fx, fx_mkdir(&fx, ROOT, "d", 0));
    uint64_t d = fx.attr->object;
    fx_is(reopen(&fx, f, 1, 3, false), PH_ST_ACCESS_DENIED);
    fx_ok(&fx, reopen(&fx, f, 1, 3, true));
    fx_ok(&fx, fx_write(&fx, f, 1, 0, "x", 1, false, false));
    fx_is(reopen(&fx, d, 2, 1, true), PH_ST_ACCESS_DENIED); /* files only */
    fx_as(&fx, BOB, BOB);
    fx_is(reopen(&fx, f, 3, 1, true), PH_ST_ACCESS_DENIED);
    fx_teardown(&fx);
}

static void test_brief_openings_close_where_all_came(void)
{
    struct fixture fx;
    fx_setup(&fx);
    fx_ok(&fx, fx_create(&fx, ROOT, "f", 0644, 1, 3));
    uint64_t f = fx.attr->object;
    g_assert_false(fx_open_briefly(&fx, f, 2, 100)); /* nothing came: it is empty */
    fx_ok(&fx, fx_write(&fx, f, 1, 0, "data", 4, false, false));
    g_assert_true(fx_open_briefly(&fx, f, 3, 100));
    g_assert_cmpmem(fx.call.payload_out->data, fx.call.payload_out->len, "data", 4);
    fx_is(fx_read(&fx, f, 3, 0, 4), PH_ST_BAD_HANDLE);
    g_assert_false(fx_open_briefly(&fx, f, 4, 3)); /* too large */
    fx_ok(&fx, fx_read(&fx, f, 4, 0, 4));
    g_assert_false(fx_open_briefly(&fx, f, 4, 100)); /* open already, for somebody who goes on using it */
    fx_ok(&fx, fx_read(&fx, f, 4, 0, 4));
    fx_teardown(&fx);
}

/* Whether a LOOKUP of NAME, which is there, brings data. */
static bool brings(struct fixture *fx, const char *name, uint32_t data_max)
{
    fx_ok(fx, fx_lookup_data(fx, ROOT, name, data_max));
    g_assert_nonnull(fx->attr);
    return fx->call.payload_out != NULL;
}

static void test_lookups_bring_data_to_who_may_read_them(void)
{
    struct fixture fx;
    fx_setup(&fx);
    fx_ok(&fx, fx_create(&fx, ROOT, "f", 0600, 1, 3));
    fx_ok(&fx, fx_write(&fx, fx.attr->object, 1, 0, "data", 4, false, false));
    fx_ok(&fx, fx_mkdir(&fx, ROOT, "d", 0755));
    fx_ok(&fx, fx_symlink(&fx, ROOT, "l", "f"));
    g_assert_true(brings(&fx, "f", 4));
    g_assert_cmpmem(fx.call.payload_out->data, fx.call.payload_out->len, "data", 4);
    g_assert_false(brings(&fx, "f", 0)); /* nobody wants them */
    g_assert_false(brings(&fx, "f", 3)); /* too large */
    g_assert_false(brings(&fx, "d", 100));
    g_assert_false(brings(&fx, "l", 100));
    fx_as(&fx, BOB, BOB);
    g_assert_false(brings(&fx, "f", 100)); /* found all the same */
    fx_teardown(&fx);
}

static bool is_plain(struct fixture *fx, uint64_t object)
{
    fx_ok(fx, fx_getattr(fx, object));
    return fx->attr->plain;
}

/* An access list for one more user, as setfacl(1) writes it. */
static const uint8_t access_list[] = {2,    0,    0,    0,    1,    0,    6,    0,    0xff, 0xff, 0xff,
                                      0xff, 2,    0,    4,    0,    0x2a, 0xa0, 0,    0,    4,    0,
                                      4,    0,    0xff, 0xff, 0xff, 0xff, 0x10, 0,    4,    0,    0xff,
                                      0xff, 0xff, 0xff, 0x20, 0,    4,    0,    0xff, 0xff, 0xff, 0xff};

static void test_plain_is_what_mode_bits_say_all_about(void)
{
    struct fixture fx;
    fx_setup(&fx);
    g_autofree char *f_path = fx_path(&fx, "f"), *d_path = fx_path(&fx, "d");
    fx_ok(&fx, fx_create(&fx, ROOT, "f", 0644, 0, 0));
    g_assert_false(fx.attr->plain); /* nobody asked */
    uint64_t f = fx.attr->object;
    fx.call.write_back = true;
    g_assert_true(is_plain(&fx, f));
    fx_ok(&fx, fx_mkdir(&fx, ROOT, "d", 0755));
    g_assert_true(fx.attr->plain);
    uint64_t d = fx.attr->object;
    fx_ok(&fx, fx_symlink(&fx, ROOT, "s", "nowhere"));
    g_assert_true(fx.attr->plain);
    fx_ok(&fx, fx_lookup(&fx, ROOT, "f"));
    g_assert_true(fx.attr->plain);
    if (setxattr(f_path, "system.posix_acl_access", access_list, sizeof access_list, 0) != 0) {
        g_assert_cmpint(errno, ==, EOPNOTSUPP);
        g_test_skip("no access lists here");
        fx_teardown(&fx);
        return;
    }
    g_assert_false(is_plain(&fx, f));
    g_assert_cmpint(setxattr(d_path, "system.posix_acl_default", access_list, sizeof access_list, 0), ==, 0);
    g_assert_false(is_plain(&fx, d));
    g_assert_cmpint(removexattr(f_path, "system.posix_acl_access"), ==, 0);
    g_assert_true(is_plain(&fx, f));
    fx_teardown(&fx);
}

/* What was found out once is asked again when the object was changed. */
static void test_plain_is_found_out_anew_after_changes(void)
{
    struct fixture fx;
    fx_setup(&fx);
    g_autofree char *path = fx_path(&fx, "f");
    fx_ok(&fx, fx_create(&fx, ROOT, "f", 0644, 0, 0));
    uint64_t f = fx.attr->object;
    fx.call.write_back = true;
    g_usleep(100 * 1000); /* from now on it is remembered */
    for (int round = 0; round < 3; round++)
        g_assert_true(is_plain(&fx, f));
    if (setxattr(path, "system.posix_acl_access", access_list, sizeof access_list, 0) == 0) {
        g_assert_false(is_plain(&fx, f));
        g_usleep(100 * 1000);
        g_assert_false(is_plain(&fx, f));
        g_assert_false(is_plain(&fx, f));
    }
    fx_teardown(&fx);
}

static bool is_bare(struct fixture *fx, uint64_t object)
{
    fx_ok(fx, fx_getattr(fx, object));
    return fx->attr->bare;
}

/* Of whatever kind the attributes are, and whoever asks; also when it was found out before. */
static void test_bare_is_without_any_attribute(void)
{
    static const char *const names[] = {"user.a", "trusted.a", "security.a", "system.posix_acl_access"};
    struct fixture fx;
    fx_setup(&fx);
    g_autofree char *f_path = fx_path(&fx, "f"), *d_path = fx_path(&fx, "d");
    fx_ok(&fx, fx_create(&fx, ROOT, "f", 0666, 0, 0));
    g_assert_false(fx.attr->bare); /* nobody asked */
    uint64_t f = fx.attr->object;
    fx.call.write_back = true;
    fx_ok(&fx, fx_mkdir(&fx, ROOT, "d", 0777));
    uint64_t d = fx.attr->object;
    if (!is_bare(&fx, f) || setxattr(f_path, "user.a", "x", 1, 0) != 0) {
        g_test_skip("labels on everything, or no attributes of users here");
        fx_teardown(&fx);
        return;
    }
    removexattr(f_path, "user.a");
    fx_as(&fx, ALICE, ALICE);
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        size_t len = i < 3 ? 1 : sizeof access_list;
        g_usleep(100 * 1000); /* from now on it is remembered */
        g_assert_true(is_bare(&fx, f) && is_bare(&fx, d));
        if (setxattr(f_path, names[i], access_list, len, 0) != 0 ||
            setxattr(d_path, names[i], access_list, len, 0) != 0)
            continue;
        g_assert_false(is_bare(&fx, f) || is_bare(&fx, d));
        g_assert_cmpint(is_plain(&fx, f), ==, i < 3);
        g_assert_cmpint(removexattr(f_path, names[i]), ==, 0);
        g_assert_cmpint(removexattr(d_path, names[i]), ==, 0);
    }
    fx_teardown(&fx);
}

static void test_immutable_is_not_plain(void)
{
    struct fixture fx;
    int flags = 0;
    fx_setup(&fx);
    fx.call.write_back = true;
    fx_ok(&fx, fx_create(&fx, ROOT, "f", 0644, 0, 0));
    uint64_t f = fx.attr->object;
    g_autofree char *path = fx_path(&fx, "f");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    g_assert_cmpint(fd, >=, 0);
    if (ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0) {
        int immutable = flags | FS_APPEND_FL;
        g_assert_cmpint(ioctl(fd, FS_IOC_SETFLAGS, &immutable), ==, 0);
        g_assert_false(is_plain(&fx, f));
        g_assert_cmpint(ioctl(fd, FS_IOC_SETFLAGS, &flags), ==, 0);
        g_assert_true(is_plain(&fx, f));
    }
    close(fd);
    fx_teardown(&fx);
}

/* The thread that looks for access lists acts as its caller afterwards. */
static void test_asking_for_plain_lends_no_rights(void)
{
    struct fixture fx;
    fx_setup(&fx);
    fx_ok(&fx, fx_mkdir(&fx, ROOT, "d", 0700));
    uint64_t d = fx.attr->object;
    fx_ok(&fx, fx_create(&fx, d, "f", 0600, 0, 0));
    fx.call.write_back = true;
    fx_as(&fx, ALICE, ALICE);
    fx_is(fx_lookup(&fx, ROOT, "d/f"), PH_ST_ACCESS_DENIED);
    fx_is(fx_lookup(&fx, d, "f"), PH_ST_ACCESS_DENIED);
    fx_teardown(&fx);
}

static void test_sync_without_a_handle_is_answered_for_all_kinds(void)
{
    struct fixture fx;
    fx_setup(&fx);
    fx_ok(&fx, fx_mkdir(&fx, ROOT, "d", 0755));
    uint64_t d = fx.attr->object;
    fx_ok(&fx, fx_mkdir(&fx, d, "e", 0755));
    uint64_t e = fx.attr->object;
    fx_ok(&fx, fx_create(&fx, e, "f", 0644, 0, 0));
    uint64_t f = fx.attr->object;
    fx_ok(&fx, fx_symlink(&fx, e, "s", "nowhere"));
    uint64_t s = fx.attr->object;
    fx_ok(&fx, fx_sync(&fx, f, 0, false));
    fx_ok(&fx, fx_sync(&fx, e, 0, false));
    fx_ok(&fx, fx_sync(&fx, s, 0, false));
    fx_ok(&fx, fx_rename(&fx, e, "f", d, "g", 0));
    fx_ok(&fx, fx_sync(&fx, f, 0, false));
    fx_ok(&fx, fx_sync(&fx, ROOT, 0, false));
    fx_ok(&fx, fx_remove(&fx, d, "g", 0));
    fx_is(fx_sync(&fx, f, 0, false), PH_ST_STALE);
    fx_teardown(&fx);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (geteuid() != 0) {
        g_print("1..0 # SKIP acting as other users needs root\n");
        return 0;
    }
    g_test_add_func("/store/write-back/create/content", test_create_brings_data_and_attributes_along);
    g_test_add_func("/store/write-back/create/nothing-left", test_create_leaves_nothing_behind_when_it_fails);
    g_test_add_func("/store/write-back/create/no-space", test_create_without_space_leaves_nothing_behind);
    g_test_add_func("/store/write-back/create/only-new", test_only_what_is_made_gets_content);
    g_test_add_func("/store/write-back/write/time", test_writes_tell_their_time);
    g_test_add_func("/store/write-back/open/again", test_the_owner_opens_again_whatever_the_mode);
    g_test_add_func("/store/write-back/open/brief", test_brief_openings_close_where_all_came);
    g_test_add_func("/store/write-back/lookup/data", test_lookups_bring_data_to_who_may_read_them);
    g_test_add_func("/store/write-back/plain", test_plain_is_what_mode_bits_say_all_about);
    g_test_add_func("/store/write-back/plain/anew", test_plain_is_found_out_anew_after_changes);
    g_test_add_func("/store/write-back/bare", test_bare_is_without_any_attribute);
    g_test_add_func("/store/write-back/plain/flags", test_immutable_is_not_plain);
    g_test_add_func("/store/write-back/plain/rights", test_asking_for_plain_lends_no_rights);
    g_test_add_func("/store/write-back/sync/kinds", test_sync_without_a_handle_is_answered_for_all_kinds);
    return g_test_run();
}
