#include "server/store/tests/several_scripts.h"

#include <dirent.h>
#include <sys/xattr.h>

#include "ph_commands.h"

static const uint8_t client[16] = "a client of test";

enum {
    SESSION_NUMBER = 5,
    SLOT = 3,
    LARGE_BYTES = 100 * 1024,
    UNNAMED_ID = SCRIPT_IDS - 1,
    UNNAMED_HANDLE = 90
};

static ProtobufCBinaryData data(const char *text)
{
    return (ProtobufCBinaryData){strlen(text), (uint8_t *) text};
}

/* ---- The commands ---- */

#define ADD(PLAY, MEMBER, CASE, INIT)                                                                        \
    struct command *command = &(PLAY)->command[(PLAY)->count];                                               \
    static const typeof(command->MEMBER) none = INIT;                                                        \
    typeof(command->MEMBER) *request = &command->MEMBER;                                                     \
    *request = none;                                                                                         \
    request->caller = &(PLAY)->fx.caller;                                                                    \
    pohmel__change__init(&command->change);                                                                  \
    command->change.command_case = POHMEL__CHANGE__COMMAND_##CASE;                                           \
    command->change.MEMBER = request;                                                                        \
    (PLAY)->changes[(PLAY)->count++] = &command->change

static Pohmel__CreateRequest *create(struct play *play, uint64_t parent, const char *name, unsigned id)
{
    ADD(play, create, CREATE, POHMEL__CREATE_REQUEST__INIT);
    request->parent = parent;
    request->name = data(name);
    request->object = play->first_id + id;
    request->mode = 0640;
    request->exclusive = true;
    return request;
}

static void add_bytes(struct play *play, size_t len, char first)
{
    for (size_t i = 0; i < len; i++) {
        uint8_t byte = (uint8_t) (first + i % 23);
        g_byte_array_append(play->payload, &byte, 1);
    }
}

static void make_directory(struct play *play, uint64_t parent, const char *name, unsigned id)
{
    ADD(play, mkdir, MKDIR, POHMEL__MKDIR_REQUEST__INIT);
    request->parent = parent;
    request->name = data(name);
    request->object = play->first_id + id;
    request->mode = 0755;
}

static void make_symlink(struct play *play, const char *name, unsigned id)
{
    ADD(play, symlink, SYMLINK, POHMEL__SYMLINK_REQUEST__INIT);
    request->parent = play->dir;
    request->name = data(name);
    request->object = play->first_id + id;
    request->target = data("file");
}

static void make_fifo(struct play *play, const char *name, unsigned id)
{
    ADD(play, mknod, MKNOD, POHMEL__MKNOD_REQUEST__INIT);
    request->parent = play->dir;
    request->name = data(name);
    request->object = play->first_id + id;
    request->mode = S_IFIFO | 0600;
}

static void give_link(struct play *play, uint64_t object, uint64_t parent, const char *name)
{
    ADD(play, link, LINK, POHMEL__LINK_REQUEST__INIT);
    request->object = object;
    request->parent = parent;
    request->name = data(name);
}

static void take_name(struct play *play, const char *name)
{
    ADD(play, remove, REMOVE, POHMEL__REMOVE_REQUEST__INIT);
    request->parent = play->dir;
    request->name = data(name);
}

static void remove_directory(struct play *play, const char *name)
{
    ADD(play, rmdir, RMDIR, POHMEL__RMDIR_REQUEST__INIT);
    request->parent = play->dir;
    request->name = data(name);
}

static void remove_tree(struct play *play, const char *name)
{
    ADD(play, rmtree, RMTREE, POHMEL__RMTREE_REQUEST__INIT);
    request->parent = play->dir;
    request->name = data(name);
}

static void move(struct play *play, const char *name, uint64_t to, const char *new_name, uint32_t flags)
{
    ADD(play, rename, RENAME, POHMEL__RENAME_REQUEST__INIT);
    request->old_parent = play->dir;
    request->old_name = data(name);
    request->new_parent = to;
    request->new_name = data(new_name);
    request->flags = flags;
}

static void write_to(struct play *play, uint64_t object, uint64_t handle, uint64_t offset, size_t len,
                     bool append)
{
    ADD(play, write, WRITE, POHMEL__WRITE_REQUEST__INIT);
    request->object = object;
    request->handle = handle;
    request->offset = offset;
    request->length = (uint32_t) len;
    request->append = append;
    add_bytes(play, len, 'A');
}

static Pohmel__SetattrRequest *set(struct play *play, uint64_t object, uint32_t which)
{
    ADD(play, setattr, SETATTR, POHMEL__SETATTR_REQUEST__INIT);
    pohmel__time__init(&command->time);
    command->time.seconds = 1234567;
    request->object = object;
    request->which = which;
    request->mode = 0711;
    request->modified = &command->time;
    return request;
}

static void allocate(struct play *play, uint64_t offset, uint64_t length, uint32_t mode)
{
    ADD(play, allocate, ALLOCATE, POHMEL__ALLOCATE_REQUEST__INIT);
    pohmel__range__init(&command->range);
    command->range.offset = offset;
    command->range.length = length;
    request->object = play->other;
    request->handle = SCRIPT_OTHER_HANDLE;
    request->range = &command->range;
    request->mode = mode;
}

static void copy(struct play *play, uint64_t to, uint64_t length)
{
    ADD(play, copy, COPY, POHMEL__COPY_REQUEST__INIT);
    request->source = play->file;
    request->source_handle = SCRIPT_FILE_HANDLE;
    request->target = play->other;
    request->target_handle = SCRIPT_OTHER_HANDLE;
    request->target_offset = to;
    request->length = length;
}

static void set_xattr(struct play *play, const char *name, size_t len)
{
    ADD(play, setxattr, SETXATTR, POHMEL__SETXATTR_REQUEST__INIT);
    request->object = play->file;
    request->name = data(name);
    request->length = (uint32_t) len;
    add_bytes(play, len, 'x');
}

static void remove_xattr(struct play *play, const char *name)
{
    ADD(play, removexattr, REMOVEXATTR, POHMEL__REMOVEXATTR_REQUEST__INIT);
    request->object = play->file;
    request->name = data(name);
}

/* ---- The scripts ---- */

static void fill_made(struct play *play)
{
    Pohmel__CreateRequest *request;
    make_directory(play, play->dir, "new", 0);
    request = create(play, play->first_id, "with-data", 1);
    request->length = LARGE_BYTES;
    add_bytes(play, LARGE_BYTES, 'a');
    request = create(play, play->first_id, "written", 2);
    request->handle = SCRIPT_NEW_HANDLE;
    request->access = 3;
    write_to(play, play->first_id + 2, SCRIPT_NEW_HANDLE, 0, 1000, false);
    write_to(play, play->first_id + 2, SCRIPT_NEW_HANDLE, 0, 10, true);
    make_symlink(play, "symlink", 3);
    make_fifo(play, "fifo", 4);
    give_link(play, play->file, play->first_id, "second");
    give_link(play, play->first_id + 1, play->dir, "outside");
}

static void fill_removed(struct play *play)
{
    take_name(play, "file");
    remove_directory(play, "empty");
    remove_tree(play, "tree");
    take_name(play, "other");
    take_name(play, "twice");
}

static void fill_moved(struct play *play)
{
    move(play, "file", play->dir, "moved", 0);
    move(play, "other", play->dir, "file", 0);
    move(play, "twice", play->dir, "moved", 0);
    move(play, "tree", play->dir, "empty", 0);
    move(play, "moved", play->dir, "file", 2);
    make_directory(play, play->dir, "new", 0);
    move(play, "empty", play->first_id, "tree", 1);
}

static void fill_changed(struct play *play)
{
    Pohmel__CreateRequest *request;
    write_to(play, play->file, SCRIPT_FILE_HANDLE, 2, 3, false);
    write_to(play, play->file, SCRIPT_FILE_HANDLE, 0, 20, true);
    write_to(play, play->file, SCRIPT_FILE_HANDLE, 100, 20, false);
    allocate(play, 2, 4, 3);
    allocate(play, 0, 30, 0);
    copy(play, 5, 7);
    set(play, play->other, PH_SET_MODE | PH_SET_SIZE | PH_SET_MODIFIED)->size = 6;
    set(play, play->other, PH_SET_UID | PH_SET_GID)->uid = 1;
    set_xattr(play, "user.new", 40);
    set_xattr(play, "user.old", 9);
    remove_xattr(play, "user.gone");
    request = create(play, play->dir, "twice", 0);
    request->exclusive = false;
    request->truncate = true;
    set(play, play->dir, PH_SET_MODE);
}

/* One name after the other: what comes later works on what came before. */
static void fill_mixed(struct play *play)
{
    Pohmel__CreateRequest *request;
    take_name(play, "file");
    request = create(play, play->dir, "file", 0);
    request->length = 50;
    add_bytes(play, 50, 'n');
    move(play, "file", play->dir, "other", 0);
    make_directory(play, play->dir, "file", 1);
    move(play, "other", play->first_id + 1, "inner", 0);
    remove_directory(play, "empty");
    make_symlink(play, "empty", 2);
    take_name(play, "empty");
    make_directory(play, play->dir, "gone", 3);
    remove_directory(play, "gone");
    give_link(play, play->first_id, play->dir, "third");
    set(play, play->first_id, PH_SET_MODE);
}

/* Files in the place of others, and one in its own. */
static void fill_replaced(struct play *play)
{
    Pohmel__CreateRequest *request;
    give_link(play, play->file, play->dir, "second");
    take_name(play, "other");
    request = create(play, play->dir, "other", 0);
    request->length = 50;
    add_bytes(play, 50, 'r');
    take_name(play, "twice");
    give_link(play, play->file, play->dir, "twice");
    set(play, play->first_id, PH_SET_MODE);
    take_name(play, "second");
    give_link(play, play->file, play->dir, "second");
}

/* A file without a name is given one. */
static void fill_unnamed(struct play *play)
{
    uint64_t unnamed = play->first_id + UNNAMED_ID;
    set(play, unnamed, PH_SET_MODE);
    make_directory(play, play->dir, "new", 0);
    give_link(play, unnamed, play->first_id, "named");
    take_name(play, "file");
    give_link(play, unnamed, play->dir, "file");
    set(play, unnamed, PH_SET_MODIFIED);
}

const struct script scripts[] = {
    {"made", fill_made},
    {"removed", fill_removed},
    {"moved", fill_moved},
    {"changed", fill_changed},
    {"mixed", fill_mixed},
    {"replaced", fill_replaced},
    {"unnamed", fill_unnamed, true},
};
const size_t scripts_count = G_N_ELEMENTS(scripts);

/* ---- Playing ---- */

static uint64_t find(struct play *play, uint64_t parent, const char *name)
{
    return fx_lookup(&play->fx, parent, name) == PH_ST_OK ? play->fx.attr->object : 0;
}

/* It is gone with each server that did not give it a name. */
static void make_unnamed(struct play *play)
{
    struct fixture *fx = &play->fx;
    uint64_t next = fx->next_id, id = play->first_id + UNNAMED_ID;
    if (!play->unnamed || fx_getattr(fx, id) == PH_ST_OK)
        return;
    fx->next_id = id;
    fx_ok(fx, fx_tmpfile(fx, PH_OBJECT_ROOT, UNNAMED_HANDLE, false));
    fx->next_id = next;
    fx_ok(fx, fx_write(fx, id, UNNAMED_HANDLE, 0, "abc", 3, false, false));
}

void play_open(struct play *play)
{
    struct fixture *fx = &play->fx;
    uint64_t dir, file, other;
    fx_open(fx);
    dir = find(play, PH_OBJECT_ROOT, "dir");
    file = find(play, dir, "file");
    other = find(play, dir, "other");
    find(play, dir, "tree/below");
    if (play->dir == 0) {
        play->dir = dir;
        play->file = file;
        play->other = other;
    }
    g_assert_cmpuint(dir, ==, play->dir);
    if (file == play->file)
        fx_ok(fx, fx_open_object(fx, file, SCRIPT_FILE_HANDLE, 3));
    if (other == play->other)
        fx_ok(fx, fx_open_object(fx, other, SCRIPT_OTHER_HANDLE, 3));
    make_unnamed(play);
}

void play_setup(struct play *play, const struct script *script, bool fails)
{
    struct fixture *fx = &play->fx;
    memset(play, 0, sizeof *play);
    fx_setup(fx);
    fx->call.client = client;
    fx->call.session_number = SESSION_NUMBER;
    g_autofree char *empty = fx_path(fx, "dir/empty"), *below = fx_path(fx, "dir/tree/below");
    g_assert_cmpint(g_mkdir_with_parents(below, 0755), ==, 0);
    g_assert_cmpint(mkdir(empty, 0750), ==, 0);
    fx_put(fx, "dir/file", "content of a file");
    fx_put(fx, "dir/other", "what another file contains");
    fx_put(fx, "dir/twice", "with two names");
    fx_put(fx, "dir/tree/below/leaf", "x");
    g_autofree char *file = fx_path(fx, "dir/file"), *twice = fx_path(fx, "dir/twice"),
                    *also = fx_path(fx, "dir/also");
    g_assert_cmpint(link(twice, also), ==, 0);
    setxattr(file, "user.old", "before", 6, 0);
    setxattr(file, "user.gone", "x", 1, 0);
    play->first_id = fx_id(fx);
    for (int i = 1; i < SCRIPT_IDS; i++)
        fx_id(fx);
    fx_close(fx);
    play->payload = g_byte_array_new();
    play_open(play);
    fx_close(fx);
    script->fill(play);
    play->unnamed = script->unnamed;
    if (fails)
        take_name(play, "never there");
}

void play_teardown(struct play *play)
{
    fx_teardown(&play->fx);
    g_byte_array_unref(play->payload);
}

static uint32_t send(struct play *play, Pohmel__Change **changes, size_t count, struct ph_blob *payload)
{
    struct fixture *fx = &play->fx;
    Pohmel__TransactRequest request = POHMEL__TRANSACT_REQUEST__INIT;
    request.changes = changes;
    request.n_changes = count;
    request.key = count > 1 ? SCRIPT_KEY : 0;
    fx->call.payload_in = payload;
    pohmel__transact_reply__init(&play->reply);
    play->replayed =
        fx->call.in_slot && fx->store->recorded(fx->store->self, &fx->call, &request, &play->reply);
    uint32_t status =
        play->replayed ? PH_ST_OK : fx->store->transact(fx->store->self, &fx->call, &request, &play->reply);
    fx->call.payload_in = NULL;
    return status;
}

uint32_t play_send(struct play *play)
{
    struct fixture *fx = &play->fx;
    struct ph_blob *payload = ph_blob_wrap(play->payload->data, play->payload->len, NULL, NULL);
    fx_begin(fx);
    fx->call.slot = SLOT;
    fx->call.in_slot = true;
    fx->call.sequence = 1;
    fx->call.request_crc = 4711;
    uint32_t status = send(play, play->changes, play->count, payload);
    fx->call.in_slot = false;
    ph_blob_unref(payload);
    return status;
}

void play_singly(struct play *play)
{
    struct ph_blob *payload = ph_blob_wrap(play->payload->data, play->payload->len, NULL, NULL);
    size_t used = 0;
    for (size_t i = 0; i < play->count; i++) {
        fx_begin(&play->fx);
        play->fx.call.payload_used = used;
        fx_ok(&play->fx, send(play, &play->changes[i], 1, payload));
        used = play->fx.call.payload_used;
    }
    ph_blob_unref(payload);
}

/* ---- Looking ---- */

static gint by_text(gconstpointer a, gconstpointer b)
{
    return strcmp(*(char *const *) a, *(char *const *) b);
}

static void tell_xattrs(GString *text, const char *path)
{
    char names[1024], value[256];
    ssize_t len = llistxattr(path, names, sizeof names);
    g_autoptr(GPtrArray) all = g_ptr_array_new();
    for (ssize_t at = 0; at < len; at += (ssize_t) strlen(names + at) + 1)
        g_ptr_array_add(all, names + at);
    g_ptr_array_sort(all, by_text);
    for (guint i = 0; i < all->len; i++) {
        ssize_t got = lgetxattr(path, all->pdata[i], value, sizeof value);
        g_string_append_printf(text, " %s=%.*s", (char *) all->pdata[i], (int) MAX(got, 0), value);
    }
}

static void tell_content(GString *text, const char *path, const struct stat *st)
{
    g_autofree char *bytes = NULL;
    gsize len = 0;
    if (!S_ISREG(st->st_mode) || !g_file_get_contents(path, &bytes, &len, NULL))
        return;
    g_autofree char *sum = g_compute_checksum_for_data(G_CHECKSUM_SHA256, (guchar *) bytes, len);
    g_string_append_printf(text, " %zu %s", len, sum);
}

static void tell_below(GString *text, const char *path, const char *name, bool times)
{
    struct stat st;
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    g_assert_cmpint(lstat(path, &st), ==, 0);
    g_string_append_printf(text, "%s %o %u:%u", name, st.st_mode, st.st_uid, st.st_gid);
    if (!S_ISDIR(st.st_mode))
        g_string_append_printf(text, " x%lu", (unsigned long) st.st_nlink);
    if (times)
        g_string_append_printf(text, " %lld.%09ld", (long long) st.st_mtime, st.st_mtim.tv_nsec);
    tell_content(text, path, &st);
    tell_xattrs(text, path);
    g_string_append_c(text, '\n');
    g_autoptr(GDir) dir = S_ISDIR(st.st_mode) ? g_dir_open(path, 0, NULL) : NULL;
    for (const char *entry; dir != NULL && (entry = g_dir_read_name(dir)) != NULL;)
        g_ptr_array_add(names, g_strdup(entry));
    g_ptr_array_sort(names, by_text);
    for (guint i = 0; i < names->len; i++) {
        g_autofree char *below = g_build_filename(path, names->pdata[i], NULL),
                        *inner = g_build_filename(name, names->pdata[i], NULL);
        tell_below(text, below, inner, times);
    }
}

char *play_look(struct play *play, bool times)
{
    GString *text = g_string_new(NULL);
    g_autofree char *dir = fx_path(&play->fx, "dir");
    tell_below(text, dir, "dir", times);
    return g_string_free(text, FALSE);
}
