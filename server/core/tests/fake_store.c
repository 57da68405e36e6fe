#include "server/core/tests/fake_store.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "runtime/base/limits.h"

enum { FILES_MAX = 256, HANDLES_MAX = 1024, FILE_BYTES = 4096, LIST_MAX = 64 };

struct file {
    uint64_t object;
    char name[PH_NAME_MAX_BYTES + 1];
    uint8_t data[FILE_BYTES];
    size_t len;
    uint64_t version;
};

struct handle {
    uint64_t session, handle;
    struct file *file;
};

struct ph_fake_store {
    struct ph_store interface;
    uint64_t epoch;
    struct ph_store_session list[LIST_MAX];
    unsigned listed;
    pthread_mutex_t mutex;
    pthread_cond_t let_go;
    bool free_to_go;
    void (*before_change)(void *data);
    void *before_change_data;
    void (*after_reading)(void *data);
    void *after_reading_data;
    struct file file[FILES_MAX];
    size_t files;
    struct handle handle[HANDLES_MAX];
    uint64_t next_id;
    unsigned transactions, handles, ended, hanging;
};

static struct file *find_object(struct ph_fake_store *fake, uint64_t object)
{
    for (size_t i = 0; i < fake->files; i++) {
        if (fake->file[i].object == object)
            return &fake->file[i];
    }
    return NULL;
}

static struct file *find_name(struct ph_fake_store *fake, ProtobufCBinaryData name)
{
    for (size_t i = 0; i < fake->files; i++) {
        if (strlen(fake->file[i].name) == name.len && memcmp(fake->file[i].name, name.data, name.len) == 0)
            return &fake->file[i];
    }
    return NULL;
}

static struct handle *find_handle(struct ph_fake_store *fake, uint64_t session, uint64_t handle)
{
    for (size_t i = 0; i < HANDLES_MAX; i++) {
        if (fake->handle[i].file != NULL && fake->handle[i].session == session &&
            fake->handle[i].handle == handle)
            return &fake->handle[i];
    }
    return NULL;
}

static void add_handle(struct ph_fake_store *fake, uint64_t session, uint64_t handle, struct file *file)
{
    if (find_handle(fake, session, handle) != NULL)
        return;
    for (size_t i = 0; i < HANDLES_MAX; i++) {
        if (fake->handle[i].file != NULL)
            continue;
        fake->handle[i] = (struct handle){session, handle, file};
        fake->handles++;
        return;
    }
}

static Pohmel__Time *make_time(struct ph_arena *arena)
{
    Pohmel__Time *time = PH_ARENA_NEW(arena, Pohmel__Time);

    pohmel__time__init(time);
    return time;
}

static void fill_attr(struct ph_arena *arena, Pohmel__Attr *attr, uint64_t object, const struct file *file)
{
    pohmel__attr__init(attr);
    attr->object = object;
    attr->mode = file == NULL ? S_IFDIR | 0755 : S_IFREG | 0644;
    attr->size = file == NULL ? 0 : file->len;
    attr->version = file == NULL ? 0 : file->version;
    attr->accessed = make_time(arena);
    attr->modified = make_time(arena);
    attr->changed = make_time(arena);
}

static uint32_t describe(void *self, struct ph_arena *arena, Pohmel__ExportInfo *info, Pohmel__Attr *root,
                         struct ph_fault *fault)
{
    static uint8_t volume[16] = "fake volume";

    info->root = PH_OBJECT_ROOT;
    info->volume = (ProtobufCBinaryData){sizeof(volume), volume};
    info->space = PH_ARENA_NEW(arena, Pohmel__Space);
    pohmel__space__init(info->space);
    info->space->block_size = 4096;
    info->space->name_max = PH_NAME_MAX_BYTES;
    fill_attr(arena, root, PH_OBJECT_ROOT, NULL);
    return PH_ST_OK;
}

static uint64_t epoch(void *self)
{
    const struct ph_fake_store *fake = self;

    return fake->epoch;
}

static uint32_t ids_grant(void *self, struct ph_call *call, const Pohmel__IdsGrantRequest *request,
                          Pohmel__IdsGrantReply *reply)
{
    struct ph_fake_store *fake = self;

    pthread_mutex_lock(&fake->mutex);
    reply->first = fake->next_id;
    reply->count = request->count;
    fake->next_id += request->count;
    pthread_mutex_unlock(&fake->mutex);
    return PH_ST_OK;
}

static void has_read(struct ph_fake_store *fake)
{
    void (*call)(void *data) = fake->after_reading;

    fake->after_reading = NULL;
    if (call != NULL)
        call(fake->after_reading_data);
}

/* All names in one reply, with attributes. */
static uint32_t readdir(void *self, struct ph_call *call, const Pohmel__ReaddirRequest *request,
                        Pohmel__ReaddirReply *reply)
{
    struct ph_fake_store *fake = self;

    pthread_mutex_lock(&fake->mutex);
    reply->entries = ph_arena_alloc0(call->arena, FILES_MAX, sizeof(*reply->entries));
    for (size_t i = 0; i < fake->files; i++) {
        struct file *file = &fake->file[i];
        Pohmel__DirEntry *entry = PH_ARENA_NEW(call->arena, Pohmel__DirEntry);

        if (file->object == 0)
            continue;
        pohmel__dir_entry__init(entry);
        entry->name = (ProtobufCBinaryData){strlen(file->name), (uint8_t *) file->name};
        entry->object = file->object;
        entry->cookie = i + 1;
        entry->attr = PH_ARENA_NEW(call->arena, Pohmel__Attr);
        fill_attr(call->arena, entry->attr, file->object, file);
        reply->entries[reply->n_entries++] = entry;
    }
    reply->end = true;
    pthread_mutex_unlock(&fake->mutex);
    has_read(fake);
    return PH_ST_OK;
}

static uint32_t lookup(void *self, struct ph_call *call, const Pohmel__LookupRequest *request,
                       Pohmel__LookupReply *reply)
{
    struct ph_fake_store *fake = self;
    struct file *file;

    pthread_mutex_lock(&fake->mutex);
    file = find_name(fake, request->names[0]);
    reply->directory = PH_ARENA_NEW(call->arena, Pohmel__Attr);
    fill_attr(call->arena, reply->directory, PH_OBJECT_ROOT, NULL);
    reply->failure = file == NULL ? PH_ST_NOT_FOUND : PH_ST_OK;
    if (file != NULL) {
        reply->found = ph_arena_alloc0(call->arena, 1, sizeof(*reply->found));
        reply->n_found = 1;
        reply->found[0] = PH_ARENA_NEW(call->arena, Pohmel__Attr);
        fill_attr(call->arena, reply->found[0], file->object, file);
        if (request->data_max > 0)
            call->payload_out = ph_blob_copy(file->data, file->len);
    }
    pthread_mutex_unlock(&fake->mutex);
    has_read(fake);
    return PH_ST_OK;
}

static uint32_t getattr(void *self, struct ph_call *call, const Pohmel__GetattrRequest *request,
                        Pohmel__GetattrReply *reply)
{
    struct ph_fake_store *fake = self;
    struct file *file;

    pthread_mutex_lock(&fake->mutex);
    fake->hanging += request->object == PH_FAKE_HANGS;
    while (request->object == PH_FAKE_HANGS && !fake->free_to_go)
        pthread_cond_wait(&fake->let_go, &fake->mutex);
    fake->hanging -= request->object == PH_FAKE_HANGS;
    file = find_object(fake, request->object);
    if (file != NULL || request->object == PH_OBJECT_ROOT) {
        reply->attr = PH_ARENA_NEW(call->arena, Pohmel__Attr);
        fill_attr(call->arena, reply->attr, request->object, file);
    }
    pthread_mutex_unlock(&fake->mutex);
    return reply->attr == NULL ? PH_ST_STALE : PH_ST_OK;
}

static uint32_t open_object(void *self, struct ph_call *call, const Pohmel__OpenRequest *request,
                            Pohmel__OpenReply *reply)
{
    struct ph_fake_store *fake = self;
    struct file *file;

    pthread_mutex_lock(&fake->mutex);
    file = find_object(fake, request->object);
    if (file != NULL) {
        add_handle(fake, call->session, request->handle, file);
        reply->attr = PH_ARENA_NEW(call->arena, Pohmel__Attr);
        fill_attr(call->arena, reply->attr, file->object, file);
    }
    pthread_mutex_unlock(&fake->mutex);
    return file == NULL ? PH_ST_STALE : PH_ST_OK;
}

/* Always as many bytes as are wanted: what the file has, then zeros. */
static uint32_t read_object(void *self, struct ph_call *call, const Pohmel__ReadRequest *request,
                            Pohmel__ReadReply *reply)
{
    struct ph_fake_store *fake = self;
    struct handle *handle;

    pthread_mutex_lock(&fake->mutex);
    handle = find_handle(fake, call->session, request->handle);
    if (handle != NULL) {
        call->payload_out = ph_blob_new(request->length);
        memset(call->payload_out->data, 0, request->length);
        memcpy(call->payload_out->data, handle->file->data,
               request->length < handle->file->len ? request->length : handle->file->len);
        call->payload_out->len = request->length;
    }
    pthread_mutex_unlock(&fake->mutex);
    return handle == NULL ? PH_ST_BAD_HANDLE : PH_ST_OK;
}

static uint32_t create(void *self, struct ph_call *call, const Pohmel__CreateRequest *request,
                       Pohmel__CreateResult *reply)
{
    struct ph_fake_store *fake = self;
    struct file *file = find_name(fake, request->name);

    reply->created = file == NULL;
    if (file == NULL) {
        if (fake->files == FILES_MAX)
            return PH_ST_NO_SPACE;
        file = &fake->file[fake->files++];
        file->object = request->object;
        memcpy(file->name, request->name.data, request->name.len);
    }
    if (request->handle != 0)
        add_handle(fake, call->session, request->handle, file);
    reply->attr = PH_ARENA_NEW(call->arena, Pohmel__Attr);
    fill_attr(call->arena, reply->attr, file->object, file);
    return PH_ST_OK;
}

static uint32_t write_object(void *self, struct ph_call *call, const Pohmel__WriteRequest *request,
                             Pohmel__WriteResult *reply)
{
    struct ph_fake_store *fake = self;
    struct handle *handle = find_handle(fake, call->session, request->handle);
    const uint8_t *bytes = ph_call_take_payload(call, request->length);
    size_t kept = request->length < FILE_BYTES ? request->length : FILE_BYTES;

    if (handle == NULL)
        return PH_ST_BAD_HANDLE;
    if (bytes == NULL && request->length > 0)
        return PH_ST_MALFORMED;
    memcpy(handle->file->data, bytes, kept);
    handle->file->len = kept;
    reply->written = request->length;
    reply->attr = PH_ARENA_NEW(call->arena, Pohmel__Attr);
    fill_attr(call->arena, reply->attr, handle->file->object, handle->file);
    return PH_ST_OK;
}

static uint32_t remove_name(void *self, struct ph_call *call, const Pohmel__RemoveRequest *request,
                            Pohmel__NameResult *reply)
{
    struct ph_fake_store *fake = self;
    struct file *file = find_name(fake, request->name);

    if (file == NULL)
        return PH_ST_NOT_FOUND;
    if (request->object != 0 && request->object != file->object)
        return PH_ST_MISMATCH;
    file->name[0] = '\0';
    file->object = 0;
    return PH_ST_OK;
}

static uint32_t rename_name(void *self, struct ph_call *call, const Pohmel__RenameRequest *request,
                            Pohmel__NameResult *reply)
{
    struct ph_fake_store *fake = self;
    struct file *file = find_name(fake, request->old_name), *old = find_name(fake, request->new_name);

    if (file == NULL)
        return PH_ST_NOT_FOUND;
    if (old != NULL && (request->flags & 1) != 0)
        return PH_ST_EXISTS;
    if ((request->object != 0 && request->object != file->object) ||
        (request->replaced != 0 && (old == NULL || old->object != request->replaced)))
        return PH_ST_MISMATCH;
    if (old != NULL)
        old->name[0] = '\0';
    memset(file->name, 0, sizeof(file->name));
    memcpy(file->name, request->new_name.data, request->new_name.len);
    return PH_ST_OK;
}

static const struct ph_store_ops ops = {
    .ids_grant = ids_grant,
    .lookup = lookup,
    .getattr = getattr,
    .readdir = readdir,
    .open = open_object,
    .read = read_object,
    .create = create,
    .write = write_object,
    .remove = remove_name,
    .rename = rename_name,
};

/* Up to the first command that fails; nothing is undone. */
static uint32_t transact(void *self, struct ph_call *call, const Pohmel__TransactRequest *request,
                         Pohmel__TransactReply *reply)
{
    struct ph_fake_store *fake = self;
    uint32_t status = PH_ST_OK;

    reply->results = ph_arena_alloc0(call->arena, request->n_changes, sizeof(*reply->results));
    if (fake->before_change != NULL)
        fake->before_change(fake->before_change_data);
    pthread_mutex_lock(&fake->mutex);
    fake->transactions++;
    for (size_t i = 0; i < request->n_changes && status == PH_ST_OK; i++) {
        Pohmel__ChangeResult *result = PH_ARENA_NEW(call->arena, Pohmel__ChangeResult);

        pohmel__change_result__init(result);
        reply->results[reply->n_results++] = result;
        status = ph_dispatch_change(&ops, fake, call, request->changes[i], result);
    }
    pthread_mutex_unlock(&fake->mutex);
    return status;
}

static uint32_t close_handle(void *self, uint64_t session, uint64_t number)
{
    struct ph_fake_store *fake = self;
    struct handle *handle;

    pthread_mutex_lock(&fake->mutex);
    handle = find_handle(fake, session, number);
    if (handle != NULL) {
        handle->file = NULL;
        fake->handles--;
    }
    pthread_mutex_unlock(&fake->mutex);
    return PH_ST_OK;
}

static void end_session(void *self, uint64_t session)
{
    struct ph_fake_store *fake = self;

    pthread_mutex_lock(&fake->mutex);
    for (size_t i = 0; i < HANDLES_MAX; i++) {
        if (fake->handle[i].file != NULL && fake->handle[i].session == session) {
            fake->handle[i].file = NULL;
            fake->handles--;
        }
    }
    fake->ended++;
    pthread_mutex_unlock(&fake->mutex);
}

static uint32_t enter_session(void *self, const struct ph_store_session *session, struct ph_fault *fault)
{
    struct ph_fake_store *fake = self;
    unsigned at = 0;

    pthread_mutex_lock(&fake->mutex);
    while (at < fake->listed && memcmp(fake->list[at].client, session->client, sizeof(session->client)) != 0)
        at++;
    if (at < LIST_MAX)
        fake->list[at] = *session;
    fake->listed += at == fake->listed && at < LIST_MAX;
    pthread_mutex_unlock(&fake->mutex);
    return at < LIST_MAX ? PH_ST_OK : ph_fault_set(fault, PH_ST_IO_ERROR, "the list is full");
}

static void leave_session(void *self, const uint8_t client[PH_CLIENT_ID_BYTES], uint64_t number)
{
    struct ph_fake_store *fake = self;

    pthread_mutex_lock(&fake->mutex);
    for (unsigned i = 0; i < fake->listed; i++) {
        if (memcmp(fake->list[i].client, client, PH_CLIENT_ID_BYTES) == 0 && fake->list[i].number == number)
            fake->list[i] = fake->list[--fake->listed];
    }
    pthread_mutex_unlock(&fake->mutex);
}

static size_t sessions(void *self, struct ph_store_session *out, size_t max)
{
    struct ph_fake_store *fake = self;
    size_t count;

    pthread_mutex_lock(&fake->mutex);
    count = fake->listed < max ? fake->listed : max;
    memcpy(out, fake->list, count * sizeof(*out));
    pthread_mutex_unlock(&fake->mutex);
    return count;
}

void ph_fake_store_keep_list(struct ph_fake_store *fake)
{
    fake->interface.enter_session = enter_session;
    fake->interface.leave_session = leave_session;
    fake->interface.sessions = sessions;
}

void ph_fake_store_restart(struct ph_fake_store *fake)
{
    memset(fake->handle, 0, sizeof(fake->handle));
    fake->handles = 0;
    fake->epoch++;
}

void ph_fake_store_change(struct ph_fake_store *fake, uint64_t object)
{
    pthread_mutex_lock(&fake->mutex);
    find_object(fake, object)->version++;
    pthread_mutex_unlock(&fake->mutex);
}

unsigned ph_fake_store_listed(struct ph_fake_store *fake)
{
    return fake->listed;
}

bool ph_fake_store_lists(struct ph_fake_store *fake, uint8_t who, uint64_t number)
{
    for (unsigned i = 0; i < fake->listed; i++) {
        if (fake->list[i].client[0] == who && fake->list[i].number == number)
            return true;
    }
    return false;
}

struct ph_fake_store *ph_fake_store_new(void)
{
    struct ph_fake_store *fake = calloc(1, sizeof(*fake));

    if (fake == NULL)
        abort();
    pthread_mutex_init(&fake->mutex, NULL);
    pthread_cond_init(&fake->let_go, NULL);
    fake->next_id = PH_OBJECT_GIVEN_FIRST;
    fake->epoch = 1;
    fake->interface = (struct ph_store){
        .ops = &ops,
        .self = fake,
        .describe = describe,
        .epoch = epoch,
        .transact = transact,
        .close = close_handle,
        .end_session = end_session,
    };
    return fake;
}

struct ph_store *ph_fake_store_interface(struct ph_fake_store *fake)
{
    return &fake->interface;
}

void ph_fake_store_free(struct ph_fake_store *fake)
{
    pthread_cond_destroy(&fake->let_go);
    pthread_mutex_destroy(&fake->mutex);
    free(fake);
}

void ph_fake_store_give_name(struct ph_fake_store *fake, const char *name, uint64_t object)
{
    ProtobufCBinaryData bytes = {strlen(name), (uint8_t *) name};
    struct file *file;

    pthread_mutex_lock(&fake->mutex);
    file = find_name(fake, bytes);
    if (file == NULL)
        file = &fake->file[fake->files++];
    memset(file, 0, sizeof(*file));
    memcpy(file->name, name, bytes.len);
    file->object = object;
    pthread_mutex_unlock(&fake->mutex);
}

void ph_fake_store_before_change(struct ph_fake_store *fake, void (*call)(void *data), void *data)
{
    fake->before_change = call;
    fake->before_change_data = data;
}

void ph_fake_store_after_reading(struct ph_fake_store *fake, void (*call)(void *data), void *data)
{
    fake->after_reading = call;
    fake->after_reading_data = data;
}

void ph_fake_store_let_go(struct ph_fake_store *fake)
{
    pthread_mutex_lock(&fake->mutex);
    fake->free_to_go = true;
    pthread_cond_broadcast(&fake->let_go);
    pthread_mutex_unlock(&fake->mutex);
}

static unsigned counter(struct ph_fake_store *fake, const unsigned *value)
{
    unsigned result;

    pthread_mutex_lock(&fake->mutex);
    result = *value;
    pthread_mutex_unlock(&fake->mutex);
    return result;
}

unsigned ph_fake_store_transactions(struct ph_fake_store *fake)
{
    return counter(fake, &fake->transactions);
}

unsigned ph_fake_store_handles(struct ph_fake_store *fake)
{
    return counter(fake, &fake->handles);
}

unsigned ph_fake_store_ended(struct ph_fake_store *fake)
{
    return counter(fake, &fake->ended);
}

unsigned ph_fake_store_hanging(struct ph_fake_store *fake)
{
    return counter(fake, &fake->hanging);
}
