#include "server/store/tests/killed_scenes.h"

#include <sys/xattr.h>

enum { HANDLE = KILLED_HANDLE, LARGE_BYTES = 300 * 1024 };

static ProtobufCBinaryData data(const char *text)
{
    return (ProtobufCBinaryData){strlen(text), (uint8_t *) text};
}

static char *path_of(const struct scene *scene, const char *name)
{
    return g_build_filename(scene->fx.directory, "dir", name, NULL);
}

static bool there(const struct scene *scene, const char *name)
{
    struct stat st;
    g_autofree char *path = path_of(scene, name);
    return lstat(path, &st) == 0;
}

static void expect_content(const struct scene *scene, const char *name, const char *content, size_t len)
{
    g_autofree char *path = path_of(scene, name), *bytes = NULL;
    gsize have = 0;
    g_assert_true(g_file_get_contents(path, &bytes, &have, NULL));
    g_assert_cmpuint(have, ==, len);
    g_assert_cmpint(memcmp(bytes, content, len), ==, 0);
}

static void expect_id(struct scene *scene, const char *name, uint64_t id)
{
    fx_ok(&scene->fx, fx_lookup(&scene->fx, scene->dir, name));
    g_assert_cmpuint(scene->fx.attr->object, ==, id);
}

/* ---- The changes ---- */

static void set_payload(struct scene *scene, size_t len)
{
    scene->payload = ph_blob_new(len);
    scene->payload->len = len;
    for (size_t i = 0; i < len; i++)
        scene->payload->data[i] = (uint8_t) ('a' + i % 23);
}

#define REQUEST(SCENE, MEMBER, CASE, INIT)                                                                   \
    static const typeof((SCENE)->request.MEMBER) empty = INIT;                                               \
    typeof((SCENE)->request.MEMBER) *request = &(SCENE)->request.MEMBER;                                     \
    *request = empty;                                                                                        \
    request->caller = &(SCENE)->fx.caller;                                                                   \
    (SCENE)->change.command_case = POHMEL__CHANGE__COMMAND_##CASE;                                           \
    (SCENE)->change.MEMBER = request

static void create_plain(struct scene *scene)
{
    REQUEST(scene, create, CREATE, POHMEL__CREATE_REQUEST__INIT);
    request->parent = scene->dir;
    request->name = data("new");
    request->object = scene->id;
    request->mode = 0640;
    request->exclusive = true;
}

static void create_handle(struct scene *scene)
{
    create_plain(scene);
    scene->request.create.exclusive = false;
    scene->request.create.handle = HANDLE;
    scene->request.create.access = 3;
}

static void create_content(struct scene *scene)
{
    create_plain(scene);
    set_payload(scene, LARGE_BYTES);
    pohmel__new_attributes__init(&scene->attributes);
    pohmel__time__init(&scene->time);
    scene->time.seconds = 1000000;
    scene->attributes.which = PH_SET_MODE | PH_SET_MODIFIED;
    scene->attributes.mode = 0604;
    scene->attributes.modified = &scene->time;
    scene->request.create.length = LARGE_BYTES;
    scene->request.create.attributes = &scene->attributes;
}

static void created(struct scene *scene)
{
    g_assert_true(scene->reply.results[0]->create->created);
    g_assert_cmpuint(scene->reply.results[0]->create->attr->object, ==, scene->id);
    expect_id(scene, "new", scene->id);
    expect_content(scene, "new", "", 0);
}

static void created_open(struct scene *scene)
{
    created(scene);
    fx_ok(&scene->fx, fx_write(&scene->fx, scene->id, HANDLE, 0, "abc", 3, false, false));
    expect_content(scene, "new", "abc", 3);
    fx_ok(&scene->fx, fx_setattr(&scene->fx, scene->id, 0, PH_SET_SIZE, 0));
}

static void created_content(struct scene *scene)
{
    expect_id(scene, "new", scene->id);
    expect_content(scene, "new", (char *) scene->payload->data, scene->payload->len);
    g_assert_cmpuint(scene->fx.attr->mode & 07777, ==, 0604);
    g_assert_cmpint(scene->fx.attr->modified->seconds, ==, 1000000);
}

static void make_directory(struct scene *scene)
{
    REQUEST(scene, mkdir, MKDIR, POHMEL__MKDIR_REQUEST__INIT);
    request->parent = scene->dir;
    request->name = data("new");
    request->object = scene->id;
    request->mode = 0755;
}

static void make_symlink(struct scene *scene)
{
    REQUEST(scene, symlink, SYMLINK, POHMEL__SYMLINK_REQUEST__INIT);
    request->parent = scene->dir;
    request->name = data("new");
    request->object = scene->id;
    request->target = data("file");
}

static void make_fifo(struct scene *scene)
{
    REQUEST(scene, mknod, MKNOD, POHMEL__MKNOD_REQUEST__INIT);
    request->parent = scene->dir;
    request->name = data("new");
    request->object = scene->id;
    request->mode = S_IFIFO | 0600;
}

static void made(struct scene *scene)
{
    g_assert_cmpuint(scene->reply.results[0]->mkdir->attr->object, ==, scene->id);
    expect_id(scene, "new", scene->id);
}

/* So many files without a name are kept. */
static void expect_hidden(struct scene *scene, unsigned count)
{
    g_autofree char *path = fx_path(&scene->fx, ".pohmel/orphans");
    GDir *dir = g_dir_open(path, 0, NULL);
    while (dir != NULL && g_dir_read_name(dir) != NULL)
        count--;
    g_assert_cmpuint(count, ==, 0);
    g_clear_pointer(&dir, g_dir_close);
}

static void make_tmpfile(struct scene *scene)
{
    REQUEST(scene, tmpfile, TMPFILE, POHMEL__TMPFILE_REQUEST__INIT);
    request->parent = scene->dir;
    request->object = scene->id;
    request->handle = HANDLE;
    request->access = 3;
    request->mode = 0600;
}

static void made_tmpfile(struct scene *scene)
{
    fx_ok(&scene->fx, fx_write(&scene->fx, scene->id, HANDLE, 0, "abc", 3, false, false));
    expect_hidden(scene, 1);
}

static void give_link(struct scene *scene)
{
    REQUEST(scene, link, LINK, POHMEL__LINK_REQUEST__INIT);
    request->object = scene->file;
    request->parent = scene->dir;
    request->name = data("second");
}

static void linked(struct scene *scene)
{
    expect_id(scene, "second", scene->file);
    expect_id(scene, "file", scene->file);
    g_assert_cmpuint(scene->fx.attr->links, ==, 2);
}

static void remove_file(struct scene *scene)
{
    REQUEST(scene, remove, REMOVE, POHMEL__REMOVE_REQUEST__INIT);
    request->parent = scene->dir;
    request->name = data("file");
}

static void remove_open(struct scene *scene)
{
    remove_file(scene);
    scene->opens = true;
}

static void removed(struct scene *scene)
{
    g_assert_false(there(scene, "file"));
    fx_is(fx_getattr(&scene->fx, scene->file), PH_ST_STALE);
}

static void removed_open(struct scene *scene)
{
    g_assert_false(there(scene, "file"));
    fx_ok(&scene->fx, fx_read(&scene->fx, scene->file, HANDLE, 0, 100));
    g_assert_cmpuint(scene->fx.call.payload_out->len, ==, strlen("content"));
    expect_hidden(scene, 1);
    fx_ok(&scene->fx, scene->fx.store->close(scene->fx.store->self, scene->fx.call.session, HANDLE));
    expect_hidden(scene, 0);
}

static void remove_directory(struct scene *scene)
{
    REQUEST(scene, rmdir, RMDIR, POHMEL__RMDIR_REQUEST__INIT);
    request->parent = scene->dir;
    request->name = data("empty");
}

static void removed_directory(struct scene *scene)
{
    g_assert_false(there(scene, "empty"));
}

static void remove_tree(struct scene *scene)
{
    REQUEST(scene, rmtree, RMTREE, POHMEL__RMTREE_REQUEST__INIT);
    request->parent = scene->dir;
    request->name = data("tree");
}

static void removed_tree(struct scene *scene)
{
    g_assert_false(there(scene, "tree"));
    g_assert_cmpuint(scene->reply.results[0]->rmtree->removed, ==, 3);
}

static void rename_with(struct scene *scene, const char *to, uint32_t flags)
{
    REQUEST(scene, rename, RENAME, POHMEL__RENAME_REQUEST__INIT);
    request->old_parent = scene->dir;
    request->old_name = data("file");
    request->new_parent = scene->dir;
    request->new_name = data(to);
    request->flags = flags;
}

static void rename_free(struct scene *scene)
{
    rename_with(scene, "moved", 0);
}

static void renamed_free(struct scene *scene)
{
    g_assert_false(there(scene, "file"));
    expect_content(scene, "moved", "content", 7);
    expect_id(scene, "moved", scene->file);
    fx_ok(&scene->fx, fx_getattr(&scene->fx, scene->file));
}

static void rename_over(struct scene *scene)
{
    rename_with(scene, "other", 0);
}

static void renamed_over(struct scene *scene)
{
    g_assert_false(there(scene, "file"));
    expect_content(scene, "other", "content", 7);
    expect_id(scene, "other", scene->file);
}

static void rename_exchange(struct scene *scene)
{
    rename_with(scene, "other", 2);
}

static void renamed_exchange(struct scene *scene)
{
    expect_content(scene, "other", "content", 7);
    expect_content(scene, "file", "other content", 13);
    expect_id(scene, "other", scene->file);
}

static void set_attributes(struct scene *scene)
{
    REQUEST(scene, setattr, SETATTR, POHMEL__SETATTR_REQUEST__INIT);
    pohmel__time__init(&scene->time);
    scene->time.seconds = 1234567;
    request->object = scene->file;
    request->which = PH_SET_MODE | PH_SET_SIZE | PH_SET_MODIFIED;
    request->mode = 0711;
    request->size = 4;
    request->modified = &scene->time;
}

static void attributes_set(struct scene *scene)
{
    expect_content(scene, "file", "cont", 4);
    fx_ok(&scene->fx, fx_getattr(&scene->fx, scene->file));
    g_assert_cmpuint(scene->fx.attr->mode & 07777, ==, 0711);
    g_assert_cmpint(scene->fx.attr->modified->seconds, ==, 1234567);
}

static void write_at(struct scene *scene)
{
    REQUEST(scene, write, WRITE, POHMEL__WRITE_REQUEST__INIT);
    request->object = scene->file;
    request->handle = HANDLE;
    request->offset = 2;
    request->length = 4;
    set_payload(scene, 4);
    scene->opens = true;
}

static void written_at(struct scene *scene)
{
    expect_content(scene, "file", "coabcdt", 7);
}

static void append(struct scene *scene)
{
    write_at(scene);
    scene->request.write.append = true;
}

static void appended(struct scene *scene)
{
    const Pohmel__WriteResult *result = scene->reply.results[0]->write;
    expect_content(scene, "file", "contentabcd", 11);
    g_assert_cmpuint(result->offset, ==, 7);
    g_assert_cmpuint(result->written, ==, 4);
}

static void allocate(struct scene *scene)
{
    REQUEST(scene, allocate, ALLOCATE, POHMEL__ALLOCATE_REQUEST__INIT);
    pohmel__range__init(&scene->range);
    scene->range.length = 20;
    request->object = scene->file;
    request->handle = HANDLE;
    request->range = &scene->range;
    scene->opens = true;
}

static void allocated(struct scene *scene)
{
    expect_content(scene, "file", "content\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
}

static void copy(struct scene *scene)
{
    REQUEST(scene, copy, COPY, POHMEL__COPY_REQUEST__INIT);
    request->source = request->target = scene->file;
    request->source_handle = request->target_handle = HANDLE;
    request->target_offset = 10;
    request->length = 3;
    scene->opens = true;
}

static void copied(struct scene *scene)
{
    expect_content(scene, "file", "content\0\0\0con", 13);
}

static void set_xattr(struct scene *scene)
{
    REQUEST(scene, setxattr, SETXATTR, POHMEL__SETXATTR_REQUEST__INIT);
    request->object = scene->file;
    request->name = data("user.new");
    request->length = 4;
    request->flags = 1;
    set_payload(scene, 4);
}

static void xattr_set(struct scene *scene)
{
    char value[8];
    g_autofree char *path = path_of(scene, "file");
    g_assert_cmpint(getxattr(path, "user.new", value, sizeof value), ==, 4);
}

static void remove_xattr(struct scene *scene)
{
    REQUEST(scene, removexattr, REMOVEXATTR, POHMEL__REMOVEXATTR_REQUEST__INIT);
    request->object = scene->file;
    request->name = data("user.old");
}

static void xattr_removed(struct scene *scene)
{
    char value[8];
    g_autofree char *path = path_of(scene, "file");
    g_assert_cmpint(getxattr(path, "user.old", value, sizeof value), <, 0);
}

static void make_path(struct scene *scene)
{
    static const char *const names[] = {"a", "b", "c"};
    REQUEST(scene, mkpath, MKPATH, POHMEL__MKPATH_REQUEST__INIT);
    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++)
        scene->names[i] = data(names[i]);
    request->parent = scene->dir;
    request->names = scene->names;
    request->n_names = G_N_ELEMENTS(names);
    request->first_object = scene->id;
    request->mode = 0755;
}

static void path_made(struct scene *scene)
{
    struct fixture *fx = &scene->fx;
    uint64_t last = scene->reply.results[0]->mkpath->attr->object;
    fx_ok(fx, fx_lookup(fx, scene->dir, "a/b/c"));
    g_assert_cmpuint(fx->attr->object, ==, last);
}

const struct killed_test killed_tests[] = {
    {"create", create_plain, created},
    {"create-open", create_handle, created_open},
    {"create-with-data-and-attributes", create_content, created_content},
    {"mkdir", make_directory, made},
    {"symlink", make_symlink, made},
    {"mknod", make_fifo, made},
    {"tmpfile", make_tmpfile, made_tmpfile},
    {"link", give_link, linked},
    {"remove", remove_file, removed},
    {"remove-of-an-open-file", remove_open, removed_open},
    {"rmdir", remove_directory, removed_directory},
    {"rmtree", remove_tree, removed_tree},
    {"rename", rename_free, renamed_free},
    {"rename-over-another", rename_over, renamed_over},
    {"rename-exchange", rename_exchange, renamed_exchange},
    {"setattr", set_attributes, attributes_set},
    {"write", write_at, written_at},
    {"append", append, appended},
    {"allocate", allocate, allocated},
    {"copy", copy, copied},
    {"setxattr", set_xattr, xattr_set},
    {"removexattr", remove_xattr, xattr_removed},
    {"mkpath", make_path, path_made},
};

const size_t killed_tests_count = G_N_ELEMENTS(killed_tests);
