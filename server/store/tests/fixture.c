#include "server/store/tests/fixture.h"

#include <stdlib.h>

enum { SESSION = 7, ARENA_BYTES = 4 * 1024 * 1024 };

void fx_open(struct fixture *fx)
{
    g_autoptr(GError) error = NULL;
    Pohmel__IdsGrantRequest request = POHMEL__IDS_GRANT_REQUEST__INIT;
    Pohmel__IdsGrantReply reply = POHMEL__IDS_GRANT_REPLY__INIT;
    fx->store = ph_posix_store_open(&fx->options, &error);
    g_assert_no_error(error);
    fx_begin(fx);
    if (fx->options.read_only)
        return;
    request.count = PH_SESSION_IDS_MAX_PER_GRANT;
    fx_ok(fx, fx->store->ops->ids_grant(fx->store->self, &fx->call, &request, &reply));
    fx->next_id = reply.first;
    fx->ids_end = reply.first + reply.count;
}

void fx_setup(struct fixture *fx)
{
    memset(fx, 0, sizeof *fx);
    const char *base = g_getenv("PH_TEST_DIR");
    fx->top = g_build_filename(base != NULL ? base : g_get_tmp_dir(), "ph-store-XXXXXX", NULL);
    g_assert_nonnull(mkdtemp(fx->top));
    chmod(fx->top, 0755);
    fx->directory = g_build_filename(fx->top, "export", NULL);
    fx->state = g_build_filename(fx->top, "state", NULL);
    g_assert_cmpint(mkdir(fx->directory, 0777), ==, 0);
    chmod(fx->directory, 0777);
    fx->options.directory = fx->directory;
    fx->options.state_dir = fx->state;
    fx->umask = 022;
    pohmel__caller__init(&fx->caller);
    fx->caller.groups = fx->groups;
    fx->call.arena = ph_arena_new(ARENA_BYTES);
    fx->call.session = SESSION;
    fx_open(fx);
}

void fx_close(struct fixture *fx)
{
    if (fx->store != NULL)
        fx->store->free(fx->store->self);
    fx->store = NULL;
}

void fx_teardown(struct fixture *fx)
{
    fx_close(fx);
    ph_blob_unref(fx->call.payload_out);
    ph_arena_free(fx->call.arena);
    const char *argv[] = {"rm", "-rf", fx->top, NULL};
    g_spawn_sync(NULL, (char **) argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, NULL, NULL);
    g_free(fx->top);
    g_free(fx->directory);
    g_free(fx->state);
}

void fx_begin(struct fixture *fx)
{
    ph_arena_reset(fx->call.arena, ARENA_BYTES);
    ph_blob_unref(fx->call.payload_out);
    fx->call.payload_out = NULL;
    fx->call.payload_in = NULL;
    fx->call.payload_used = 0;
    fx->call.fault = (struct ph_fault){0};
    fx->attr = NULL;
    fx->list = NULL;
    fx->text[0] = '\0';
    fx->text_len = 0;
}

void fx_as(struct fixture *fx, uint32_t uid, uint32_t gid)
{
    fx->caller.uid = uid;
    fx->caller.gid = gid;
    fx->caller.n_groups = 0;
}

void fx_group(struct fixture *fx, uint32_t gid)
{
    fx->groups[fx->caller.n_groups++] = gid;
}

uint64_t fx_id(struct fixture *fx)
{
    g_assert_cmpuint(fx->next_id, <, fx->ids_end);
    return fx->next_id++;
}

char *fx_path(const struct fixture *fx, const char *name)
{
    return g_build_filename(fx->directory, name, NULL);
}

void fx_put(const struct fixture *fx, const char *name, const char *content)
{
    g_autofree char *path = fx_path(fx, name);
    g_assert_true(g_file_set_contents_full(path, content, -1, G_FILE_SET_CONTENTS_NONE, 0644, NULL));
}

static ProtobufCBinaryData data(const char *text)
{
    return (ProtobufCBinaryData){strlen(text), (uint8_t *) text};
}

static void take_payload(struct fixture *fx)
{
    struct ph_blob *blob = fx->call.payload_out;
    fx->text_len = blob != NULL ? MIN(blob->len, sizeof fx->text - 1) : 0;
    if (blob != NULL)
        memcpy(fx->text, blob->data, fx->text_len);
    fx->text[fx->text_len] = '\0';
    fx->number = blob != NULL ? blob->len : 0;
}

/* A request of TYPE, called REQUEST, from this caller; and its result. */
#define COMMAND(TYPE, INIT, RESULT, RESULT_INIT)                                                             \
    fx_begin(fx);                                                                                            \
    TYPE request = INIT;                                                                                     \
    RESULT result = RESULT_INIT;                                                                             \
    request.caller = &fx->caller
#define RUN(op) fx->store->ops->op(fx->store->self, &fx->call, &request, &result)

uint32_t fx_lookup(struct fixture *fx, uint64_t parent, const char *name)
{
    return fx_lookup_data(fx, parent, name, 0);
}

uint32_t fx_lookup_data(struct fixture *fx, uint64_t parent, const char *name, uint32_t data_max)
{
    COMMAND(Pohmel__LookupRequest, POHMEL__LOOKUP_REQUEST__INIT, Pohmel__LookupReply,
            POHMEL__LOOKUP_REPLY__INIT);
    ProtobufCBinaryData names[64];
    g_auto(GStrv) parts = g_strsplit(name, "/", 64);
    for (; parts[request.n_names] != NULL; request.n_names++)
        names[request.n_names] = data(parts[request.n_names]);
    request.parent = parent;
    request.names = names;
    request.data_max = data_max;
    uint32_t status = RUN(lookup);
    fx->attr = result.n_found == request.n_names ? result.found[result.n_found - 1] : NULL;
    fx->number = result.n_found;
    return status != PH_ST_OK ? status : result.failure;
}

uint32_t fx_getattr(struct fixture *fx, uint64_t object)
{
    COMMAND(Pohmel__GetattrRequest, POHMEL__GETATTR_REQUEST__INIT, Pohmel__GetattrReply,
            POHMEL__GETATTR_REPLY__INIT);
    request.object = object;
    uint32_t status = RUN(getattr);
    fx->attr = result.attr;
    return status;
}

static uint32_t create(struct fixture *fx, uint64_t parent, const char *name, uint32_t mode, uint64_t handle,
                       uint32_t access, bool exclusive)
{
    COMMAND(Pohmel__CreateRequest, POHMEL__CREATE_REQUEST__INIT, Pohmel__CreateResult,
            POHMEL__CREATE_RESULT__INIT);
    request.parent = parent;
    request.name = data(name);
    request.object = fx_id(fx);
    request.mode = mode;
    request.umask = fx->umask;
    request.handle = handle;
    request.access = access;
    request.exclusive = exclusive;
    request.survivor = fx->survivor;
    uint32_t status = RUN(create);
    fx->attr = result.attr;
    fx->created = result.created;
    return status;
}

uint32_t fx_create(struct fixture *fx, uint64_t parent, const char *name, uint32_t mode, uint64_t handle,
                   uint32_t access)
{
    return create(fx, parent, name, mode, handle, access, false);
}

uint32_t fx_create_exclusive(struct fixture *fx, uint64_t parent, const char *name, uint32_t mode)
{
    return create(fx, parent, name, mode, 0, 0, true);
}

uint32_t fx_mkdir(struct fixture *fx, uint64_t parent, const char *name, uint32_t mode)
{
    COMMAND(Pohmel__MkdirRequest, POHMEL__MKDIR_REQUEST__INIT, Pohmel__AttrResult, POHMEL__ATTR_RESULT__INIT);
    request.parent = parent;
    request.name = data(name);
    request.object = fx_id(fx);
    request.mode = mode;
    request.umask = fx->umask;
    request.survivor = fx->survivor;
    uint32_t status = RUN(mkdir);
    fx->attr = result.attr;
    return status;
}

uint32_t fx_symlink(struct fixture *fx, uint64_t parent, const char *name, const char *target)
{
    COMMAND(Pohmel__SymlinkRequest, POHMEL__SYMLINK_REQUEST__INIT, Pohmel__AttrResult,
            POHMEL__ATTR_RESULT__INIT);
    request.parent = parent;
    request.name = data(name);
    request.object = fx_id(fx);
    request.target = data(target);
    uint32_t status = RUN(symlink);
    fx->attr = result.attr;
    return status;
}

uint32_t fx_mknod(struct fixture *fx, uint64_t parent, const char *name, uint32_t mode, uint64_t device)
{
    COMMAND(Pohmel__MknodRequest, POHMEL__MKNOD_REQUEST__INIT, Pohmel__AttrResult, POHMEL__ATTR_RESULT__INIT);
    request.parent = parent;
    request.name = data(name);
    request.object = fx_id(fx);
    request.mode = mode;
    request.umask = fx->umask;
    request.device = device;
    uint32_t status = RUN(mknod);
    fx->attr = result.attr;
    return status;
}

uint32_t fx_tmpfile(struct fixture *fx, uint64_t parent, uint64_t handle, bool exclusive)
{
    COMMAND(Pohmel__TmpfileRequest, POHMEL__TMPFILE_REQUEST__INIT, Pohmel__AttrResult,
            POHMEL__ATTR_RESULT__INIT);
    request.parent = parent;
    request.object = fx_id(fx);
    request.mode = 0644;
    request.handle = handle;
    request.access = 3;
    request.exclusive = exclusive;
    uint32_t status = RUN(tmpfile);
    fx->attr = result.attr;
    return status;
}

uint32_t fx_link(struct fixture *fx, uint64_t object, uint64_t parent, const char *name)
{
    COMMAND(Pohmel__LinkRequest, POHMEL__LINK_REQUEST__INIT, Pohmel__AttrResult, POHMEL__ATTR_RESULT__INIT);
    request.object = object;
    request.parent = parent;
    request.name = data(name);
    uint32_t status = RUN(link);
    fx->attr = result.attr;
    return status;
}

uint32_t fx_remove(struct fixture *fx, uint64_t parent, const char *name, uint64_t expected)
{
    COMMAND(Pohmel__RemoveRequest, POHMEL__REMOVE_REQUEST__INIT, Pohmel__NameResult,
            POHMEL__NAME_RESULT__INIT);
    request.parent = parent;
    request.name = data(name);
    request.object = expected;
    return RUN(remove);
}

uint32_t fx_rmdir(struct fixture *fx, uint64_t parent, const char *name)
{
    COMMAND(Pohmel__RmdirRequest, POHMEL__RMDIR_REQUEST__INIT, Pohmel__NameResult, POHMEL__NAME_RESULT__INIT);
    request.parent = parent;
    request.name = data(name);
    return RUN(rmdir);
}

uint32_t fx_rename(struct fixture *fx, uint64_t from, const char *name, uint64_t to, const char *new_name,
                   uint32_t flags)
{
    COMMAND(Pohmel__RenameRequest, POHMEL__RENAME_REQUEST__INIT, Pohmel__NameResult,
            POHMEL__NAME_RESULT__INIT);
    request.old_parent = from;
    request.old_name = data(name);
    request.new_parent = to;
    request.new_name = data(new_name);
    request.flags = flags;
    return RUN(rename);
}

static uint32_t open_object(struct fixture *fx, uint64_t object, uint64_t handle, uint32_t access,
                            bool execute)
{
    COMMAND(Pohmel__OpenRequest, POHMEL__OPEN_REQUEST__INIT, Pohmel__OpenReply, POHMEL__OPEN_REPLY__INIT);
    request.object = object;
    request.handle = handle;
    request.access = access;
    request.execute = execute;
    uint32_t status = RUN(open);
    fx->attr = result.attr;
    return status;
}

uint32_t fx_open_object(struct fixture *fx, uint64_t object, uint64_t handle, uint32_t access)
{
    return open_object(fx, object, handle, access, false);
}

bool fx_open_briefly(struct fixture *fx, uint64_t object, uint64_t handle, uint32_t data_max)
{
    COMMAND(Pohmel__OpenRequest, POHMEL__OPEN_REQUEST__INIT, Pohmel__OpenReply, POHMEL__OPEN_REPLY__INIT);
    request.object = object;
    request.handle = handle;
    request.access = 1;
    request.data_max = data_max;
    request.brief = true;
    g_assert_cmpuint(RUN(open), ==, PH_ST_OK);
    return result.closed;
}

uint32_t fx_execute(struct fixture *fx, uint64_t object, uint64_t handle)
{
    return open_object(fx, object, handle, 1, true);
}

uint32_t fx_read(struct fixture *fx, uint64_t object, uint64_t handle, uint64_t offset, uint32_t length)
{
    COMMAND(Pohmel__ReadRequest, POHMEL__READ_REQUEST__INIT, Pohmel__ReadReply, POHMEL__READ_REPLY__INIT);
    request.object = object;
    request.handle = handle;
    request.offset = offset;
    request.length = length;
    uint32_t status = RUN(read);
    take_payload(fx);
    fx->end = result.end;
    return status;
}

uint32_t fx_write(struct fixture *fx, uint64_t object, uint64_t handle, uint64_t offset, const void *bytes,
                  uint32_t length, bool append, bool kill)
{
    COMMAND(Pohmel__WriteRequest, POHMEL__WRITE_REQUEST__INIT, Pohmel__WriteResult,
            POHMEL__WRITE_RESULT__INIT);
    fx->call.payload_in = ph_blob_wrap((uint8_t *) bytes, length, NULL, NULL);
    request.object = object;
    request.handle = handle;
    request.offset = offset;
    request.length = length;
    request.append = append;
    request.kill_privileges = kill;
    uint32_t status = RUN(write);
    ph_blob_unref(fx->call.payload_in);
    fx->call.payload_in = NULL;
    fx->attr = result.attr;
    fx->number = append ? result.offset : result.written;
    return status;
}

uint32_t fx_setattr(struct fixture *fx, uint64_t object, uint64_t handle, uint32_t which, uint64_t value)
{
    COMMAND(Pohmel__SetattrRequest, POHMEL__SETATTR_REQUEST__INIT, Pohmel__AttrResult,
            POHMEL__ATTR_RESULT__INIT);
    Pohmel__Time time = POHMEL__TIME__INIT;
    request.object = object;
    request.handle = handle;
    request.which = which;
    request.mode = (uint32_t) value & 07777;
    request.uid = request.gid = (uint32_t) value;
    request.size = value;
    time.seconds = (int64_t) value;
    time.nanoseconds = 123456789;
    request.accessed = request.modified = &time;
    uint32_t status = RUN(setattr);
    fx->attr = result.attr;
    return status;
}

uint32_t fx_access(struct fixture *fx, uint64_t object, uint32_t mask)
{
    COMMAND(Pohmel__AccessRequest, POHMEL__ACCESS_REQUEST__INIT, Pohmel__Nothing, POHMEL__NOTHING__INIT);
    request.object = object;
    request.mask = mask;
    return RUN(access);
}

uint32_t fx_readdir(struct fixture *fx, uint64_t object, uint64_t handle, uint64_t cookie, uint32_t count,
                    bool attributes)
{
    static _Thread_local Pohmel__ReaddirReply kept;
    COMMAND(Pohmel__ReaddirRequest, POHMEL__READDIR_REQUEST__INIT, Pohmel__ReaddirReply,
            POHMEL__READDIR_REPLY__INIT);
    request.object = object;
    request.handle = handle;
    request.cookie = cookie;
    request.count = count;
    request.bytes_max = 256 * 1024;
    request.attributes = attributes;
    uint32_t status = RUN(readdir);
    kept = result;
    fx->list = &kept;
    fx->end = result.end;
    return status;
}

uint32_t fx_readlink(struct fixture *fx, uint64_t object)
{
    COMMAND(Pohmel__ReadlinkRequest, POHMEL__READLINK_REQUEST__INIT, Pohmel__ReadlinkReply,
            POHMEL__READLINK_REPLY__INIT);
    request.object = object;
    uint32_t status = RUN(readlink);
    take_payload(fx);
    return status;
}

uint32_t fx_setxattr(struct fixture *fx, uint64_t object, const char *name, const void *value, uint32_t len,
                     uint32_t flags)
{
    COMMAND(Pohmel__SetxattrRequest, POHMEL__SETXATTR_REQUEST__INIT, Pohmel__AttrResult,
            POHMEL__ATTR_RESULT__INIT);
    fx->call.payload_in = ph_blob_wrap((uint8_t *) value, len, NULL, NULL);
    request.object = object;
    request.name = data(name);
    request.length = len;
    request.flags = flags;
    uint32_t status = RUN(setxattr);
    ph_blob_unref(fx->call.payload_in);
    fx->call.payload_in = NULL;
    fx->attr = result.attr;
    return status;
}

uint32_t fx_getxattr(struct fixture *fx, uint64_t object, const char *name)
{
    COMMAND(Pohmel__GetxattrRequest, POHMEL__GETXATTR_REQUEST__INIT, Pohmel__GetxattrReply,
            POHMEL__GETXATTR_REPLY__INIT);
    request.object = object;
    request.name = data(name);
    uint32_t status = RUN(getxattr);
    take_payload(fx);
    return status;
}

uint32_t fx_listxattr(struct fixture *fx, uint64_t object)
{
    COMMAND(Pohmel__ListxattrRequest, POHMEL__LISTXATTR_REQUEST__INIT, Pohmel__ListxattrReply,
            POHMEL__LISTXATTR_REPLY__INIT);
    request.object = object;
    uint32_t status = RUN(listxattr);
    take_payload(fx);
    return status;
}

uint32_t fx_sync(struct fixture *fx, uint64_t object, uint64_t handle, bool tree)
{
    COMMAND(Pohmel__SyncRequest, POHMEL__SYNC_REQUEST__INIT, Pohmel__Nothing, POHMEL__NOTHING__INIT);
    request.object = object;
    request.handle = handle;
    request.tree = tree;
    return RUN(sync);
}

uint32_t fx_allocate(struct fixture *fx, uint64_t object, uint64_t handle, uint64_t offset, uint64_t length,
                     uint32_t mode)
{
    COMMAND(Pohmel__AllocateRequest, POHMEL__ALLOCATE_REQUEST__INIT, Pohmel__AttrResult,
            POHMEL__ATTR_RESULT__INIT);
    Pohmel__Range range = POHMEL__RANGE__INIT;
    range.offset = offset;
    range.length = length;
    request.object = object;
    request.handle = handle;
    request.range = &range;
    request.mode = mode;
    uint32_t status = RUN(allocate);
    fx->attr = result.attr;
    return status;
}

uint32_t fx_seek(struct fixture *fx, uint64_t object, uint64_t handle, uint64_t offset, bool hole)
{
    COMMAND(Pohmel__SeekRequest, POHMEL__SEEK_REQUEST__INIT, Pohmel__SeekReply, POHMEL__SEEK_REPLY__INIT);
    request.object = object;
    request.handle = handle;
    request.offset = offset;
    request.hole = hole;
    uint32_t status = RUN(seek);
    fx->number = result.offset;
    return status;
}

uint32_t fx_mkpath(struct fixture *fx, uint64_t parent, const char *path, uint32_t mode)
{
    COMMAND(Pohmel__MkpathRequest, POHMEL__MKPATH_REQUEST__INIT, Pohmel__MkpathResult,
            POHMEL__MKPATH_RESULT__INIT);
    ProtobufCBinaryData names[64];
    g_auto(GStrv) parts = g_strsplit(path, "/", 64);
    for (; parts[request.n_names] != NULL; request.n_names++)
        names[request.n_names] = data(parts[request.n_names]);
    request.parent = parent;
    request.names = names;
    request.first_object = fx->next_id;
    fx->next_id += request.n_names;
    request.mode = mode;
    request.umask = fx->umask;
    uint32_t status = RUN(mkpath);
    fx->attr = result.attr;
    fx->number = result.made;
    return status;
}

uint32_t fx_rmtree(struct fixture *fx, uint64_t parent, const char *name)
{
    COMMAND(Pohmel__RmtreeRequest, POHMEL__RMTREE_REQUEST__INIT, Pohmel__RmtreeResult,
            POHMEL__RMTREE_RESULT__INIT);
    request.parent = parent;
    request.name = data(name);
    uint32_t status = RUN(rmtree);
    fx->number = result.removed;
    return status;
}

void fx_close_handle(struct fixture *fx, uint64_t handle)
{
    fx->store->close(fx->store->self, fx->call.session, handle);
}
