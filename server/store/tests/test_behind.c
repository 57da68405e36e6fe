/* What happens behind the store's back: other programs, restarts, limits, wrong options. */
#include <errno.h>
#include <stdio.h>
#include <sys/mount.h>

#include "server/store/tests/fixture.h"

#define ROOT PH_OBJECT_ROOT

static void move(const struct fixture *fx, const char *from, const char *to)
{
    g_autofree char *old_path = fx_path(fx, from), *new_path = fx_path(fx, to);
    g_assert_cmpint(rename(old_path, new_path), ==, 0);
}

static void test_link_swapped_in_leads_nowhere(void)
{
    struct fixture fx;
    fx_setup(&fx);
    g_autofree char *secret = g_build_filename(fx.top, "secret", NULL), *target = fx_path(&fx, "d");
    g_autofree char *inside = g_build_filename(secret, "f", NULL);
    g_assert_cmpint(mkdir(secret, 0777), ==, 0);
    g_assert_true(g_file_set_contents(inside, "secret", -1, NULL));
    fx_ok(&fx, fx_mkpath(&fx, ROOT, "d/e", 0777));
    uint64_t e = fx.attr->object;
    fx_ok(&fx, fx_create(&fx, e, "f", 0644, 0, 0));
    uint64_t f = fx.attr->object;
    /* With descriptors kept, and without any. */
    for (int fresh = 0; fresh < 2; fresh++) {
        fx_ok(&fx, fx_lookup(&fx, ROOT, "d"));
        uint64_t d = fx.attr->object;
        if (fresh) {
            fx_close(&fx);
            fx_open(&fx);
        }
        move(&fx, "d", "aside");
        g_assert_cmpint(symlink("../secret", target), ==, 0);
        fx_is(fx_lookup(&fx, ROOT, "d/f"), PH_ST_NOT_DIRECTORY);
        uint32_t status = fx_lookup(&fx, d, "f"); /* d itself is elsewhere: old content or none */
        g_assert_true(status == PH_ST_STALE || status == PH_ST_NOT_FOUND);
        status = fx_open_object(&fx, f, 1, 1);
        g_assert_true(status == PH_ST_STALE || status == PH_ST_OK);
        if (status == PH_ST_OK) {
            fx_ok(&fx, fx_read(&fx, f, 1, 0, 10));
            g_assert_cmpstr(fx.text, ==, "");
        }
        fx_close_handle(&fx, 1);
        status = fx_create(&fx, d, "new", 0644, 0, 0);
        g_autofree char *escaped = g_build_filename(secret, "new", NULL);
        g_assert_false(g_file_test(escaped, G_FILE_TEST_EXISTS));
        if (status == PH_ST_OK)
            fx_ok(&fx, fx_remove(&fx, d, "new", 0));
        g_assert_cmpint(unlink(target), ==, 0);
        move(&fx, "aside", "d");
        fx_ok(&fx, fx_lookup(&fx, ROOT, "d/e/f"));
        g_assert_cmpuint(fx.attr->object, ==, f);
    }
    fx_teardown(&fx);
}

static void test_changes_beside_us_are_seen(void)
{
    struct fixture fx;
    fx_setup(&fx);
    fx_put(&fx, "f", "one");
    fx_ok(&fx, fx_lookup(&fx, ROOT, "f"));
    uint64_t f = fx.attr->object, version = fx.attr->version;
    move(&fx, "f", "g");
    fx_is(fx_getattr(&fx, f), PH_ST_STALE);
    fx_ok(&fx, fx_lookup(&fx, ROOT, "g"));
    g_assert_cmpuint(fx.attr->object, ==, f);
    g_autofree char *g = fx_path(&fx, "g");
    FILE *stream = fopen(g, "a");
    fputs("two", stream);
    fclose(stream);
    fx_ok(&fx, fx_getattr(&fx, f));
    g_assert_cmpuint(fx.attr->size, ==, 6);
    g_assert_cmpuint(fx.attr->version, >, version);
    /* Replaced by another file under the same name. */
    fx_put(&fx, "h", "three");
    move(&fx, "h", "g");
    fx_is(fx_getattr(&fx, f), PH_ST_STALE);
    fx_ok(&fx, fx_lookup(&fx, ROOT, "g"));
    g_assert_cmpuint(fx.attr->size, ==, 5);
    fx_teardown(&fx);
}

static void test_ids_survive_a_restart(void)
{
    struct fixture fx;
    struct ph_arena *arena = ph_arena_new(65536);
    fx_setup(&fx);
    fx_put(&fx, "found", "x");
    fx_ok(&fx, fx_lookup(&fx, ROOT, "found"));
    uint64_t found = fx.attr->object;
    fx_ok(&fx, fx_mkpath(&fx, ROOT, "a/b", 0755));
    uint64_t b = fx.attr->object;
    fx_ok(&fx, fx_create(&fx, b, "made", 0644, 0, 0));
    uint64_t made = fx.attr->object;
    fx_ok(&fx, fx_create(&fx, b, "gone", 0644, 0, 0));
    fx_ok(&fx, fx_remove(&fx, b, "gone", 0));
    fx_ok(&fx, fx_rename(&fx, b, "made", ROOT, "renamed", 0));
    uint64_t last = fx.next_id, epoch = fx.store->epoch(fx.store->self);
    Pohmel__ExportInfo before = POHMEL__EXPORT_INFO__INIT, after = POHMEL__EXPORT_INFO__INIT;
    Pohmel__Attr root = POHMEL__ATTR__INIT;
    g_assert_cmpuint(fx.store->describe(fx.store->self, arena, &before, &root, NULL), ==, PH_ST_OK);
    fx_close(&fx);
    fx_open(&fx);
    g_assert_cmpuint(fx.store->describe(fx.store->self, arena, &after, &root, NULL), ==, PH_ST_OK);
    g_assert_cmpmem(before.volume.data, before.volume.len, after.volume.data, after.volume.len);
    g_assert_cmpuint(root.object, ==, ROOT);
    g_assert_cmpuint(fx.store->epoch(fx.store->self), ==, epoch + 1);
    g_assert_cmpuint(fx.next_id, >=, last); /* ids given out are never given again */
    fx_ok(&fx, fx_getattr(&fx, made));
    fx_ok(&fx, fx_lookup(&fx, ROOT, "renamed"));
    g_assert_cmpuint(fx.attr->object, ==, made);
    fx_ok(&fx, fx_lookup(&fx, ROOT, "a/b"));
    g_assert_cmpuint(fx.attr->object, ==, b);
    fx_ok(&fx, fx_lookup(&fx, ROOT, "found"));
    g_assert_cmpuint(fx.attr->object, ==, found);
    /* Removed behind our back, its inode given to another file: another object. */
    fx_close(&fx);
    g_autofree char *path = fx_path(&fx, "renamed");
    unlink(path);
    fx_put(&fx, "renamed", "other");
    fx_open(&fx);
    fx_is(fx_getattr(&fx, made), PH_ST_STALE);
    fx_ok(&fx, fx_lookup(&fx, ROOT, "renamed"));
    g_assert_cmpuint(fx.attr->object, !=, made);
    ph_arena_free(arena);
    fx_teardown(&fx);
}

static void test_objects_that_memory_gave_up_are_found_again(void)
{
    struct fixture fx;
    fx_setup(&fx);
    fx_close(&fx);
    fx.options.objects_max = 10;
    fx_open(&fx);
    uint64_t ids[200];
    for (int i = 0; i < 200; i++) {
        g_autofree char *path = g_strdup_printf("d%d/e", i);
        fx_ok(&fx, fx_mkpath(&fx, ROOT, path, 0755));
        fx_ok(&fx, fx_create(&fx, fx.attr->object, "f", 0644, 0, 0));
        ids[i] = fx.attr->object;
    }
    for (int i = 0; i < 200; i++)
        fx_ok(&fx, fx_getattr(&fx, ids[i]));
    fx_teardown(&fx);
}

static void test_size_limit(void)
{
    struct fixture fx;
    fx_setup(&fx);
    fx_close(&fx);
    fx_put(&fx, "before", "x");
    fx.options.size_limit = 1 << 20;
    fx_open(&fx);
    g_autofree uint8_t *bytes = g_malloc0(512 * 1024);
    fx_ok(&fx, fx_create(&fx, ROOT, "f", 0644, 1, 3));
    uint64_t f = fx.attr->object;
    fx_ok(&fx, fx_write(&fx, f, 1, 0, bytes, 512 * 1024, false, true));
    fx_is(fx_write(&fx, f, 1, 512 * 1024, bytes, 512 * 1024, false, true), PH_ST_NO_SPACE);
    fx_is(fx_allocate(&fx, f, 1, 0, 2 << 20, 0), PH_ST_NO_SPACE);
    fx_ok(&fx,
          fx_write(&fx, f, 1, 0, bytes, 512 * 1024, false, true)); /* what is there may be written over */
    Pohmel__StatfsRequest request = POHMEL__STATFS_REQUEST__INIT;
    Pohmel__StatfsReply reply = POHMEL__STATFS_REPLY__INIT;
    request.caller = &fx.caller;
    request.object = ROOT;
    fx_begin(&fx);
    fx_ok(&fx, fx.store->ops->statfs(fx.store->self, &fx.call, &request, &reply));
    g_assert_cmpuint(reply.space->size, ==, 1 << 20);
    g_assert_cmpuint(reply.space->used, >=, 512 * 1024);
    g_assert_cmpuint(reply.space->available, <=, 512 * 1024);
    fx_is(fx_setattr(&fx, f, 1, 8, 2 << 20), PH_ST_NO_SPACE);
    /* Removed, but open: only the last close gives the space back. */
    fx_ok(&fx, fx_remove(&fx, ROOT, "f", 0));
    fx_ok(&fx, fx_create(&fx, ROOT, "g", 0644, 2, 3));
    uint64_t g = fx.attr->object;
    fx_is(fx_write(&fx, g, 2, 0, bytes, 512 * 1024, false, true), PH_ST_NO_SPACE);
    fx_close_handle(&fx, 1);
    fx_ok(&fx, fx_write(&fx, g, 2, 0, bytes, 512 * 1024, false, true));
    fx_ok(&fx, fx_setattr(&fx, g, 2, 8, 0)); /* and so does cutting it */
    fx_ok(&fx, fx_write(&fx, g, 2, 0, bytes, 512 * 1024, false, true));
    fx_ok(&fx, fx_mkpath(&fx, ROOT, "t/u", 0755));
    fx_ok(&fx, fx_rename(&fx, ROOT, "g", fx.attr->object, "g", 0));
    fx_close_handle(&fx, 2);
    fx_ok(&fx, fx_rmtree(&fx, ROOT, "t"));
    fx_ok(&fx, fx_create(&fx, ROOT, "h", 0644, 3, 3));
    uint64_t h = fx.attr->object;
    uint32_t status = PH_ST_NO_SPACE;
    for (int i = 0; i < 200 && status == PH_ST_NO_SPACE;
         i++, g_usleep(10000)) /* the trash is emptied meanwhile */
        status = fx_write(&fx, h, 3, 0, bytes, 512 * 1024, false, true);
    fx_ok(&fx, status);
    fx_teardown(&fx);
}

/* Deeper than there are descriptors, than a path may be long, than a stack might bear. */
static void test_trees_of_any_depth_are_removed(void)
{
    enum { DEPTH = 5000, WIDTH = 3 };
    struct fixture fx;
    fx_setup(&fx);
    g_autofree char *top = fx_path(&fx, "t"), *trash = fx_path(&fx, ".pohmel/trash");
    g_assert_cmpint(mkdir(top, 0777), ==, 0);
    int at = open(top, O_PATH | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < DEPTH; i++) {
        for (int n = 0; n < WIDTH && i % 500 == 0; n++) {
            g_autofree char *beside = g_strdup_printf("beside %d", n);
            g_assert_cmpint(mkdirat(at, beside, 0777), ==, 0);
        }
        g_assert_cmpint(mkdirat(at, "d", 0777), ==, 0);
        int below = openat(at, "d", O_PATH | O_DIRECTORY | O_CLOEXEC);
        g_assert_cmpint(below, >=, 0);
        close(at);
        at = below;
    }
    close(openat(at, "f", O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    /* One entry, at the very bottom, that is not the caller's to remove. */
    g_assert_cmpint(fchmodat(AT_FDCWD, top, 0777, 0), ==, 0);
    g_autofree char *bottom = g_strdup_printf("/proc/self/fd/%d", at);
    g_assert_cmpint(chmod(bottom, 0755), ==, 0);
    fx_as(&fx, 1234, 1234);
    if (geteuid() == 0)
        fx_is(fx_rmtree(&fx, ROOT, "t"), PH_ST_ACCESS_DENIED);
    fx_as(&fx, 0, 0);
    close(at);
    fx_ok(&fx, fx_rmtree(&fx, ROOT, "t"));
    g_assert_cmpuint(fx.number, ==, DEPTH + DEPTH / 500 * WIDTH + 2);
    g_assert_false(g_file_test(top, G_FILE_TEST_EXISTS));
    for (int i = 0; i < 2000 && rmdir(trash) != 0; i++)
        g_usleep(10000);
    g_assert_false(g_file_test(trash, G_FILE_TEST_EXISTS));
    fx_teardown(&fx);
}

static void test_what_is_mounted_below(void)
{
    struct fixture fx;
    fx_setup(&fx);
    g_autofree char *mounted = fx_path(&fx, "m"), *inner = fx_path(&fx, "m/found");
    mkdir(mounted, 0755);
    if (mount("none", mounted, "tmpfs", 0, "size=1m") != 0) {
        g_test_skip("mounting is not allowed here");
        fx_teardown(&fx);
        return;
    }
    g_assert_true(g_file_set_contents(inner, "x", -1, NULL));
    fx_ok(&fx, fx_lookup(&fx, ROOT, "m"));
    uint64_t m = fx.attr->object;
    g_assert_cmpuint(m, >=, PH_OBJECT_GIVEN_FIRST);
    fx_ok(&fx, fx_lookup(&fx, m, "found"));
    uint64_t found = fx.attr->object;
    fx_ok(&fx, fx_create(&fx, m, "made", 0644, 1, 3));
    uint64_t made = fx.attr->object;
    fx_ok(&fx, fx_readdir(&fx, m, 0, 0, 10, false));
    for (size_t i = 0; i < fx.list->n_entries; i++)
        if (fx.list->entries[i]->name.len == 5)
            g_assert_cmpuint(fx.list->entries[i]->object, ==, found);
    fx_ok(&fx, fx_remove(&fx, m, "made", made)); /* open, and no link into the hidden directory is possible */
    fx_ok(&fx, fx_write(&fx, made, 1, 0, "alive", 5, false, true));
    fx_ok(&fx, fx_getattr(&fx, made));
    g_assert_cmpuint(fx.attr->links, ==, 0);
    fx_close_handle(&fx, 1);
    fx_is(fx_getattr(&fx, made), PH_ST_STALE);
    fx_is(fx_rename(&fx, m, "found", ROOT, "out", 0), PH_ST_CROSS_DEVICE);
    fx_is(fx_link(&fx, found, ROOT, "out"), PH_ST_CROSS_DEVICE);
    fx_is(fx_rmtree(&fx, ROOT, "m"), PH_ST_CROSS_DEVICE);
    fx_is(fx_rmdir(&fx, ROOT, "m"), PH_ST_BUSY);
    fx_close(&fx);
    fx_open(&fx);
    fx_ok(&fx, fx_lookup(&fx, ROOT, "m/found"));
    g_assert_cmpuint(fx.attr->object, ==, found);
    fx_close(&fx);
    g_assert_cmpint(umount(mounted), ==, 0);
    fx_teardown(&fx);
}

static void test_transactions_of_one_and_two(void)
{
    struct fixture fx;
    fx_setup(&fx);
    Pohmel__MkdirRequest mkdir_request = POHMEL__MKDIR_REQUEST__INIT;
    Pohmel__Change change = POHMEL__CHANGE__INIT, second = POHMEL__CHANGE__INIT;
    Pohmel__Change *changes[2] = {&change, &second};
    Pohmel__TransactRequest request = POHMEL__TRANSACT_REQUEST__INIT;
    Pohmel__TransactReply reply = POHMEL__TRANSACT_REPLY__INIT;
    mkdir_request.caller = &fx.caller;
    mkdir_request.parent = ROOT;
    mkdir_request.name = (ProtobufCBinaryData){1, (uint8_t *) "d"};
    mkdir_request.object = fx_id(&fx);
    mkdir_request.mode = 0755;
    change.command_case = POHMEL__CHANGE__COMMAND_MKDIR;
    change.mkdir = &mkdir_request;
    Pohmel__MkdirRequest again = mkdir_request;
    again.object = fx_id(&fx);
    second.command_case = POHMEL__CHANGE__COMMAND_MKDIR;
    second.mkdir = &again;
    request.changes = changes;
    request.n_changes = 2;
    fx_begin(&fx);
    fx_is(fx.store->transact(fx.store->self, &fx.call, &request, &reply), PH_ST_EXISTS);
    g_assert_nonnull(strstr(fx.call.fault.text, "command 2"));
    fx_is(fx_lookup(&fx, ROOT, "d"), PH_ST_NOT_FOUND);
    request.n_changes = 1;
    fx_begin(&fx);
    fx_ok(&fx, fx.store->transact(fx.store->self, &fx.call, &request, &reply));
    g_assert_cmpuint(reply.n_results, ==, 1);
    g_assert_cmpuint(reply.results[0]->mkdir->attr->object, ==, mkdir_request.object);
    fx_begin(&fx);
    mkdir_request.object = fx_id(&fx);
    fx_is(fx.store->transact(fx.store->self, &fx.call, &request, &reply), PH_ST_EXISTS);
    g_assert_cmpuint(reply.results[0]->status, ==, PH_ST_EXISTS);
    fx_teardown(&fx);
}

static void test_read_only(void)
{
    struct fixture fx;
    fx_setup(&fx);
    fx_put(&fx, "f", "x");
    fx_close(&fx);
    fx.options.read_only = true;
    fx_open(&fx);
    fx.ids_end = UINT64_MAX;
    fx_is(fx_create(&fx, ROOT, "g", 0644, 0, 0), PH_ST_READ_ONLY);
    fx_is(fx_remove(&fx, ROOT, "f", 0), PH_ST_READ_ONLY);
    fx_is(fx_rmtree(&fx, ROOT, "f"), PH_ST_READ_ONLY);
    fx_is(fx_mkpath(&fx, ROOT, "p/q", 0755), PH_ST_READ_ONLY);
    fx_ok(&fx, fx_lookup(&fx, ROOT, "f"));
    uint64_t f = fx.attr->object;
    fx_is(fx_open_object(&fx, f, 1, 3), PH_ST_READ_ONLY);
    fx_is(fx_setattr(&fx, f, 0, 1, 0600), PH_ST_READ_ONLY);
    fx_is(fx_access(&fx, f, 2), PH_ST_READ_ONLY);
    fx_ok(&fx, fx_open_object(&fx, f, 1, 1));
    fx_ok(&fx, fx_read(&fx, f, 1, 0, 10));
    g_assert_cmpstr(fx.text, ==, "x");
    fx_teardown(&fx);
}

static void refuses(const struct ph_posix_options *options, const char *words)
{
    g_autoptr(GError) error = NULL;
    g_assert_null(ph_posix_store_open(options, &error));
    g_assert_nonnull(error);
    g_assert_null(strchr(error->message, '\n'));
    if (strstr(error->message, words) == NULL)
        g_error("\"%s\" does not say \"%s\"", error->message, words);
}

static void test_wrong_options_are_told_in_words(void)
{
    struct fixture fx;
    fx_setup(&fx);
    g_autofree char *missing = fx_path(&fx, "missing"), *inside = fx_path(&fx, "state"),
                    *file = fx_path(&fx, "file");
    g_autofree char *elsewhere = g_build_filename(fx.top, "state2", NULL);
    fx_put(&fx, "file", "");
    struct ph_posix_options options = {.directory = fx.directory, .state_dir = fx.state};
    refuses(&options, "is exported by another pohmel-server");
    options.read_only = true;
    refuses(&options, "in use by another pohmel-server");
    options.read_only = false;
    options.state_dir = elsewhere;
    refuses(&options, "is exported by another pohmel-server");
    fx_close(&fx);
    options.state_dir = inside;
    refuses(&options, "lies inside the export");
    options.state_dir = NULL;
    refuses(&options, "--state-dir");
    options.state_dir = elsewhere;
    options.directory = missing;
    refuses(&options, "make it first");
    options.directory = file;
    refuses(&options, "is not a directory");
    g_autofree char *hidden = fx_path(&fx, ".pohmel");
    g_assert_cmpint(symlink("/etc", hidden), ==, 0);
    options.directory = fx.directory;
    refuses(&options, ".pohmel");
    fx_teardown(&fx);
}

static void test_leftovers_are_cleared_at_start(void)
{
    struct fixture fx;
    fx_setup(&fx);
    fx_close(&fx);
    g_autofree char *hidden = fx_path(&fx, ".pohmel"), *orphans = fx_path(&fx, ".pohmel/orphans"),
                    *trash = fx_path(&fx, ".pohmel/trash"), *tree = fx_path(&fx, ".pohmel/trash/t");
    mkdir(hidden, 0700);
    mkdir(orphans, 0700);
    mkdir(trash, 0700);
    mkdir(tree, 0700);
    g_autofree char *orphan = fx_path(&fx, ".pohmel/orphans/0001000000000000"),
                    *bytes = g_malloc0(700 * 1024);
    g_assert_true(g_file_set_contents(orphan, bytes, 700 * 1024, NULL));
    fx_put(&fx, ".pohmel/trash/t/f", "left");
    fx.options.size_limit = 1 << 20;
    fx_open(&fx);
    fx_ok(&fx, fx_create(&fx, ROOT, "f", 0644, 1, 3)); /* its space is there again */
    fx_ok(&fx, fx_write(&fx, fx.attr->object, 1, 0, bytes, 512 * 1024, false, true));
    fx_ok(&fx, fx_remove(&fx, ROOT, "f", 0));
    fx_close_handle(&fx, 1);
    fx_ok(&fx, fx_readdir(&fx, ROOT, 0, 0, 10, false));
    g_assert_cmpuint(fx.list->n_entries, ==, 2);
    for (int i = 0; i < 200 && g_file_test(tree, G_FILE_TEST_EXISTS); i++)
        g_usleep(10000);
    g_assert_false(g_file_test(tree, G_FILE_TEST_EXISTS));
    fx_close(&fx);
    g_assert_false(g_file_test(hidden, G_FILE_TEST_EXISTS));
    fx_teardown(&fx);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/store/behind/link-swapped-in-leads-nowhere", test_link_swapped_in_leads_nowhere);
    g_test_add_func("/store/behind/changes-beside-us-are-seen", test_changes_beside_us_are_seen);
    g_test_add_func("/store/behind/ids-survive-a-restart", test_ids_survive_a_restart);
    g_test_add_func("/store/behind/objects-given-up-are-found-again",
                    test_objects_that_memory_gave_up_are_found_again);
    g_test_add_func("/store/behind/size-limit", test_size_limit);
    g_test_add_func("/store/behind/trees-of-any-depth-are-removed", test_trees_of_any_depth_are_removed);
    g_test_add_func("/store/behind/what-is-mounted-below", test_what_is_mounted_below);
    g_test_add_func("/store/behind/transactions-of-one-and-two", test_transactions_of_one_and_two);
    g_test_add_func("/store/behind/read-only", test_read_only);
    g_test_add_func("/store/behind/wrong-options-are-told-in-words", test_wrong_options_are_told_in_words);
    g_test_add_func("/store/behind/leftovers-are-cleared-at-start", test_leftovers_are_cleared_at_start);
    return g_test_run();
}
