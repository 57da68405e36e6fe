/* Who may do what: the kernel decides, as for the caller itself. Needs root. */
#include <errno.h>
#include <sys/xattr.h>

#include "server/store/tests/fixture.h"

#define ROOT PH_OBJECT_ROOT

enum { ALICE = 41001, BOB = 41002, TEAM = 41003, SET_MODE = 1, SET_UID = 2, SET_GID = 4, SET_SIZE = 8 };

static void test_caller_owns_what_it_makes(void)
{
    struct fixture fx;
    fx_setup(&fx);
    fx_as(&fx, ALICE, TEAM);
    fx.umask = 027;
    fx_ok(&fx, fx_create(&fx, ROOT, "f", 0666, 0, 0));
    g_assert_cmpuint(fx.attr->uid, ==, ALICE);
    g_assert_cmpuint(fx.attr->gid, ==, TEAM);
    g_assert_cmpuint(fx.attr->mode & 07777, ==, 0640);
    fx.umask = 0;
    fx_ok(&fx, fx_mkdir(&fx, ROOT, "d", 0777));
    g_assert_cmpuint(fx.attr->mode & 07777, ==, 0777);
    fx_teardown(&fx);
}

static void test_modes_and_groups_are_checked(void)
{
    struct fixture fx;
    fx_setup(&fx);
    fx_as(&fx, ALICE, TEAM);
    fx_ok(&fx, fx_mkdir(&fx, ROOT, "private", 0700));
    uint64_t private = fx.attr->object;
    fx_ok(&fx, fx_create(&fx, private, "f", 0600, 0, 0));
    uint64_t f = fx.attr->object;
    fx_ok(&fx, fx_create(&fx, ROOT, "shared", 0640, 0, 0));
    uint64_t shared = fx.attr->object;
    fx_ok(&fx, fx_setattr(&fx, shared, 0, SET_MODE, 0660));
    fx_as(&fx, BOB, BOB);
    fx_is(fx_lookup(&fx, private, "f"), PH_ST_ACCESS_DENIED);
    fx_is(fx_create(&fx, private, "g", 0644, 0, 0), PH_ST_ACCESS_DENIED);
    fx_is(fx_readdir(&fx, private, 0, 0, 10, false), PH_ST_ACCESS_DENIED);
    fx_is(fx_open_object(&fx, f, 1, 1), PH_ST_ACCESS_DENIED);
    fx_is(fx_open_object(&fx, shared, 1, 1), PH_ST_ACCESS_DENIED);
    fx_is(fx_access(&fx, shared, 4), PH_ST_ACCESS_DENIED);
    fx_is(fx_setattr(&fx, shared, 0, SET_MODE, 0666), PH_ST_NOT_PERMITTED);
    fx_is(fx_setattr(&fx, shared, 0, SET_SIZE, 0), PH_ST_ACCESS_DENIED);
    fx_ok(&fx, fx_getattr(&fx, f)); /* needs no permission, as fstat(2) */
    fx_group(&fx, TEAM);
    fx_ok(&fx, fx_access(&fx, shared, 6));
    fx_ok(&fx, fx_open_object(&fx, shared, 1, 3));
    fx_ok(&fx, fx_setattr(&fx, shared, 0, SET_SIZE | 0x80, 0)); /* the time comes with the size */
    fx_is(fx_setattr(&fx, shared, 0, 0x20, 5), PH_ST_NOT_PERMITTED);
    fx_as(&fx, 0, 0);
    fx_ok(&fx, fx_lookup(&fx, private, "f"));
    fx_ok(&fx, fx_setattr(&fx, f, 0, SET_UID, BOB));
    g_assert_cmpuint(fx.attr->uid, ==, BOB);
    fx_as(&fx, BOB, BOB);
    fx_is(fx_setattr(&fx, f, 0, SET_UID, ALICE), PH_ST_NOT_PERMITTED);
    fx_is(fx_setattr(&fx, f, 0, SET_GID, ALICE), PH_ST_NOT_PERMITTED);
    fx_as(&fx, UINT32_MAX, 0);
    fx_is(fx_lookup(&fx, private, "f"), PH_ST_NOT_PERMITTED); /* no such id: never the server's rights */
    fx_teardown(&fx);
}

static void test_sticky_and_setgid_directories(void)
{
    struct fixture fx;
    fx_setup(&fx);
    fx_ok(&fx, fx_mkdir(&fx, ROOT, "tmp", 0777));
    uint64_t tmp = fx.attr->object;
    fx_ok(&fx, fx_setattr(&fx, tmp, 0, SET_MODE, 01777));
    fx_as(&fx, ALICE, ALICE);
    fx_ok(&fx, fx_create(&fx, tmp, "hers", 0666, 0, 0));
    fx_as(&fx, BOB, BOB);
    fx_is(fx_remove(&fx, tmp, "hers", 0), PH_ST_NOT_PERMITTED);
    fx_is(fx_rename(&fx, tmp, "hers", tmp, "his", 0), PH_ST_NOT_PERMITTED);
    fx_is(fx_rmtree(&fx, tmp, "hers"), PH_ST_NOT_PERMITTED);
    fx_as(&fx, 0, 0);
    fx_ok(&fx, fx_mkdir(&fx, ROOT, "team", 0777));
    uint64_t team = fx.attr->object;
    fx_ok(&fx, fx_setattr(&fx, team, 0, SET_GID, TEAM));
    fx_ok(&fx, fx_setattr(&fx, team, 0, SET_MODE, 02777));
    fx_as(&fx, BOB, BOB);
    fx_ok(&fx, fx_create(&fx, team, "f", 0644, 0, 0));
    g_assert_cmpuint(fx.attr->gid, ==, TEAM);
    fx_ok(&fx, fx_mkdir(&fx, team, "d", 0755));
    g_assert_cmpuint(fx.attr->mode & 02000, ==, 02000);
    fx_teardown(&fx);
}

static void test_set_id_bits_go_with_a_write(void)
{
    struct fixture fx;
    fx_setup(&fx);
    fx_as(&fx, ALICE, ALICE);
    fx_ok(&fx, fx_create(&fx, ROOT, "f", 0777, 1, 3));
    uint64_t f = fx.attr->object;
    const uint32_t callers[] = {ALICE, 0};
    for (size_t i = 0; i < G_N_ELEMENTS(callers); i++) {
        fx_as(&fx, ALICE, ALICE);
        fx_ok(&fx, fx_setattr(&fx, f, 0, SET_MODE, 06755));
        g_assert_cmpuint(fx.attr->mode & 07000, ==, 06000);
        fx_as(&fx, callers[i], callers[i]);
        fx_ok(&fx, fx_write(&fx, f, 1, 0, "x", 1, false, false));
        g_assert_cmpuint(fx.attr->mode & 07000, ==, 06000); /* not asked for */
        fx_ok(&fx, fx_write(&fx, f, 1, 0, "x", 1, false, true));
        g_assert_cmpuint(fx.attr->mode & 07000, ==, 0);
    }
    fx_as(&fx, ALICE, ALICE);
    fx_ok(&fx, fx_setattr(&fx, f, 0, SET_MODE, 04755));
    fx_ok(&fx, fx_setattr(&fx, f, 1, SET_SIZE | 0x100, 0));
    g_assert_cmpuint(fx.attr->mode & 07000, ==, 0);
    fx_ok(&fx, fx_setattr(&fx, f, 0, SET_MODE, 04755));
    fx_as(&fx, 0, 0);
    fx_ok(&fx, fx_setattr(&fx, f, 0, SET_UID, BOB));
    g_assert_cmpuint(fx.attr->mode & 07000, ==, 0);
    fx_teardown(&fx);
}

static void test_set_id_bits_go_for_those_who_may_write(void)
{
    enum { SET_KILL = 0x100 };
    struct fixture fx;
    fx_setup(&fx);
    fx_ok(&fx, fx_create(&fx, ROOT, "su", 0755, 0, 0));
    uint64_t su = fx.attr->object;
    fx_ok(&fx, fx_setattr(&fx, su, 0, SET_MODE, 04755));
    fx_as(&fx, BOB, BOB);
    fx_is(fx_setattr(&fx, su, 0, SET_KILL, 0), PH_ST_ACCESS_DENIED);
    fx_is(fx_setattr(&fx, su, 0, SET_KILL | SET_UID, UINT32_MAX), PH_ST_NOT_PERMITTED);
    fx_ok(&fx, fx_getattr(&fx, su));
    g_assert_cmpuint(fx.attr->mode & 07777, ==, 04755);
    fx_as(&fx, 0, 0);
    fx_ok(&fx, fx_setattr(&fx, su, 0, SET_KILL, 0));
    g_assert_cmpuint(fx.attr->mode & 07777, ==, 0755);
    fx_teardown(&fx);
}

static void test_programs_may_be_run_without_being_readable(void)
{
    struct fixture fx;
    fx_setup(&fx);
    fx_as(&fx, ALICE, ALICE);
    fx_ok(&fx, fx_create(&fx, ROOT, "program", 0711, 0, 0));
    uint64_t program = fx.attr->object;
    fx_as(&fx, BOB, BOB);
    fx_is(fx_open_object(&fx, program, 1, 1), PH_ST_ACCESS_DENIED);
    fx_ok(&fx, fx_execute(&fx, program, 1));
    fx_as(&fx, ALICE, ALICE);
    fx_ok(&fx, fx_create(&fx, ROOT, "data", 0600, 0, 0));
    fx_as(&fx, BOB, BOB);
    fx_is(fx_execute(&fx, fx.next_id - 1, 2), PH_ST_ACCESS_DENIED);
    fx_ok(&fx, fx_lookup(&fx, ROOT, "data")); /* the server's rights did not stay with the thread */
    fx_is(fx_open_object(&fx, fx.attr->object, 2, 1), PH_ST_ACCESS_DENIED);
    fx_teardown(&fx);
}

/* version 2; user::rwx user:BOB:rwx group::r-x mask::rwx other::--- */
static const uint8_t default_acl[] = {
    2, 0,          0,        0,    0x01, 0,    7,    0, 0xff, 0xff, 0xff, 0xff, 0x02, 0,    7,
    0, BOB & 0xff, BOB >> 8, 0,    0,    0x04, 0,    5, 0,    0xff, 0xff, 0xff, 0xff, 0x10, 0,
    7, 0,          0xff,     0xff, 0xff, 0xff, 0x20, 0, 0,    0,    0xff, 0xff, 0xff, 0xff,
};

static void test_access_lists_are_inherited_and_enforced(void)
{
    struct fixture fx;
    fx_setup(&fx);
    fx_as(&fx, ALICE, ALICE);
    fx_ok(&fx, fx_mkdir(&fx, ROOT, "d", 0755));
    uint64_t d = fx.attr->object;
    uint32_t status = fx_setxattr(&fx, d, "system.posix_acl_default", default_acl, sizeof default_acl, 0);
    if (status == PH_ST_UNSUPPORTED) {
        g_test_skip("no access lists on this filesystem");
        fx_teardown(&fx);
        return;
    }
    fx_ok(&fx, status);
    fx.umask = 077; /* has no say where there is a default list */
    fx_ok(&fx, fx_create(&fx, d, "f", 0666, 0, 0));
    g_assert_cmpuint(fx.attr->mode & 07777, ==, 0660);
    uint64_t f = fx.attr->object;
    fx_ok(&fx, fx_getxattr(&fx, f, "system.posix_acl_access"));
    fx_as(&fx, BOB, BOB);
    fx_ok(&fx, fx_open_object(&fx, f, 1, 3));
    fx_as(&fx, TEAM, TEAM);
    fx_is(fx_open_object(&fx, f, 2, 1), PH_ST_ACCESS_DENIED);
    fx_teardown(&fx);
}

static void test_namespaces_of_attributes(void)
{
    struct fixture fx;
    fx_setup(&fx);
    fx_as(&fx, ALICE, ALICE);
    fx_ok(&fx, fx_create(&fx, ROOT, "f", 0644, 0, 0));
    uint64_t f = fx.attr->object;
    uint32_t status = fx_setxattr(&fx, f, "user.a", "one", 3, 0);
    if (status == PH_ST_UNSUPPORTED) {
        g_test_skip("no extended attributes of users on this filesystem");
        fx_teardown(&fx);
        return;
    }
    fx_ok(&fx, status);
    fx_is(fx_setxattr(&fx, f, "user.a", "two", 3, 1), PH_ST_EXISTS);
    fx_is(fx_setxattr(&fx, f, "user.b", "two", 3, 2), PH_ST_NO_ATTRIBUTE);
    fx_ok(&fx, fx_getxattr(&fx, f, "user.a"));
    g_assert_cmpstr(fx.text, ==, "one");
    fx_is(fx_setxattr(&fx, f, "trusted.t", "x", 1, 0), PH_ST_NOT_PERMITTED);
    fx_is(fx_setxattr(&fx, f, "security.capability", "x", 1, 0), PH_ST_NOT_PERMITTED);
    fx_is(fx_setxattr(&fx, f, "odd.name", "x", 1, 0), PH_ST_UNSUPPORTED);
    fx_as(&fx, 0, 0);
    fx_ok(&fx, fx_setxattr(&fx, f, "trusted.t", "x", 1, 0));
    fx_ok(&fx, fx_listxattr(&fx, f));
    g_assert_cmpuint(fx.text_len, ==, sizeof "user.a" + sizeof "trusted.t");
    fx_as(&fx, ALICE, ALICE);
    fx_ok(&fx, fx_listxattr(&fx, f));
    g_assert_cmpuint(fx.text_len, ==, sizeof "user.a");
    fx_is(fx_getxattr(&fx, f, "trusted.t"), PH_ST_NO_ATTRIBUTE);
    fx_teardown(&fx);
}

static void test_trees_are_removed_all_or_not_at_all(void)
{
    struct fixture fx;
    fx_setup(&fx);
    fx_as(&fx, ALICE, ALICE);
    fx_ok(&fx, fx_mkpath(&fx, ROOT, "t/a/b", 0755));
    uint64_t b = fx.attr->object;
    fx_ok(&fx, fx_create(&fx, b, "open", 0644, 1, 3));
    uint64_t open = fx.attr->object;
    fx_ok(&fx, fx_write(&fx, open, 1, 0, "still", 5, false, true));
    fx_as(&fx, BOB, BOB);
    fx_is(fx_rmtree(&fx, ROOT, "t"), PH_ST_ACCESS_DENIED);
    fx_ok(&fx, fx_lookup(&fx, ROOT, "t/a/b/open"));
    fx_is(fx_mkpath(&fx, ROOT, "x/y/z", 0400),
          PH_ST_ACCESS_DENIED); /* y cannot be made in an unsearchable x */
    fx_is(fx_lookup(&fx, ROOT, "x"), PH_ST_NOT_FOUND);
    fx_is(fx_mkpath(&fx, ROOT, "t/a/b/open/c", 0755), PH_ST_NOT_DIRECTORY);
    fx_as(&fx, ALICE, ALICE);
    fx_ok(&fx, fx_rmtree(&fx, ROOT, "t"));
    g_assert_cmpuint(fx.number, ==, 4);
    fx_is(fx_lookup(&fx, ROOT, "t"), PH_ST_NOT_FOUND);
    fx_is(fx_getattr(&fx, b), PH_ST_STALE);
    fx_ok(&fx, fx_read(&fx, open, 1, 0, 10));
    g_assert_cmpstr(fx.text, ==, "still");
    fx_ok(&fx, fx_create(&fx, ROOT, "plain", 0644, 0, 0));
    fx_ok(&fx, fx_rmtree(&fx, ROOT, "plain"));
    g_assert_cmpuint(fx.number, ==, 1);
    g_autofree char *trash = fx_path(&fx, ".pohmel/trash");
    for (int i = 0; i < 200; i++) {
        g_autoptr(GDir) left = g_dir_open(trash, 0, NULL);
        if (left == NULL || g_dir_read_name(left) == NULL)
            break;
        g_assert_cmpint(i, <, 199);
        g_usleep(10000);
    }
    fx_teardown(&fx);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (geteuid() != 0) {
        g_print("1..0 # SKIP acting as other users needs root\n");
        return 0;
    }
    g_test_add_func("/store/permissions/caller-owns-what-it-makes", test_caller_owns_what_it_makes);
    g_test_add_func("/store/permissions/modes-and-groups-are-checked", test_modes_and_groups_are_checked);
    g_test_add_func("/store/permissions/sticky-and-setgid-directories", test_sticky_and_setgid_directories);
    g_test_add_func("/store/permissions/set-id-bits-go-with-a-write", test_set_id_bits_go_with_a_write);
    g_test_add_func("/store/permissions/set-id-bits-go-for-those-who-may-write",
                    test_set_id_bits_go_for_those_who_may_write);
    g_test_add_func("/store/permissions/run-without-being-readable",
                    test_programs_may_be_run_without_being_readable);
    g_test_add_func("/store/permissions/access-lists", test_access_lists_are_inherited_and_enforced);
    g_test_add_func("/store/permissions/namespaces-of-attributes", test_namespaces_of_attributes);
    g_test_add_func("/store/permissions/trees-all-or-not-at-all", test_trees_are_removed_all_or_not_at_all);
    return g_test_run();
}
