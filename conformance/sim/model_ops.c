/* The operations of the model store. Permissions are not modelled. */
#include <string.h>
#include <sys/stat.h>

#include "conformance/sim/model_private.h"
#include "runtime/base/limits.h"

/* The directory, or a status. */
static uint32_t directory_of(struct model_store *store, uint64_t object, struct model_object **out)
{
    *out = model_find(store, object);
    if (!*out)
        return PH_ST_STALE;
    return (*out)->entries ? PH_ST_OK : PH_ST_NOT_DIRECTORY;
}

static uint32_t ids_grant(void *self, struct ph_call *call, const Pohmel__IdsGrantRequest *request,
                          Pohmel__IdsGrantReply *reply)
{
    struct model_store *store = self;
    (void) call;
    reply->count = MIN(request->count, 64); /* few, so that they run out often */
    reply->first = store->next_id;
    store->next_id += reply->count;
    return PH_ST_OK;
}

static uint32_t lookup(void *self, struct ph_call *call, const Pohmel__LookupRequest *request,
                       Pohmel__LookupReply *reply)
{
    struct model_store *store = self;
    struct model_object *directory;
    uint32_t status = directory_of(store, request->parent, &directory);
    reply->found = ph_arena_alloc0(call->arena, request->n_names, sizeof(*reply->found));
    for (size_t i = 0; i < request->n_names && status == PH_ST_OK; i++) {
        if (i + 1 == request->n_names) {
            reply->directory = model_new_attr(call->arena, directory);
            reply->directory_version = directory->version;
        }
        struct model_entry *entry = model_entry(directory, request->names[i]);
        if (!entry) {
            status = PH_ST_NOT_FOUND;
            break;
        }
        reply->found[reply->n_found++] = model_new_attr(call->arena, model_find(store, entry->object));
        if (i + 1 < request->n_names)
            status = directory_of(store, entry->object, &directory);
    }
    bool absent = status == PH_ST_NOT_FOUND && reply->directory; /* worth an answer: R-6.1-2 */
    if (!reply->n_found && !absent)
        return status;
    reply->failure = status;
    return PH_ST_OK;
}

static uint32_t getattr(void *self, struct ph_call *call, const Pohmel__GetattrRequest *request,
                        Pohmel__GetattrReply *reply)
{
    struct model_object *object = model_find(self, request->object);
    if (!object)
        return PH_ST_STALE;
    reply->attr = model_new_attr(call->arena, object);
    return PH_ST_OK;
}

static uint32_t list_directory(void *self, struct ph_call *call, const Pohmel__ReaddirRequest *request,
                               Pohmel__ReaddirReply *reply)
{
    struct model_object *directory;
    uint32_t status = directory_of(self, request->object, &directory);
    if (status != PH_ST_OK)
        return status;
    reply->version = directory->version;
    reply->entries = ph_arena_alloc0(call->arena, request->count, sizeof(*reply->entries));
    uint64_t at = request->cookie;
    for (; at < directory->entries->len && reply->n_entries < request->count; at++) {
        const struct model_entry *entry = directory->entries->pdata[at];
        Pohmel__DirEntry *out = PH_ARENA_NEW(call->arena, Pohmel__DirEntry);
        pohmel__dir_entry__init(out);
        out->name.len = g_bytes_get_size(entry->name);
        out->name.data = ph_arena_copy(call->arena, g_bytes_get_data(entry->name, NULL), out->name.len);
        out->object = entry->object;
        out->cookie = at + 1;
        if (request->attributes)
            out->attr = model_new_attr(call->arena, model_find(self, entry->object));
        reply->entries[reply->n_entries++] = out;
    }
    reply->end = at >= directory->entries->len;
    return PH_ST_OK;
}

static uint32_t open_object(void *self, struct ph_call *call, const Pohmel__OpenRequest *request,
                            Pohmel__OpenReply *reply)
{
    struct model_store *store = self;
    struct model_object *object = model_find(store, request->object);
    struct model_handle *open = model_handle(store, call->session, request->handle);
    if (!object)
        return PH_ST_STALE;
    if (open && open->object != request->object)
        return PH_ST_BAD_HANDLE;
    if (!open)
        model_handle_add(store, call->session, request->handle, request->object);
    reply->attr = model_new_attr(call->arena, object);
    return PH_ST_OK;
}

/* The object that a handle is open on, or a status. */
static uint32_t opened(struct model_store *store, struct ph_call *call, uint64_t handle, uint64_t object,
                       struct model_object **out)
{
    struct model_handle *entry = model_handle(store, call->session, handle);
    if (!entry || entry->object != object)
        return PH_ST_BAD_HANDLE;
    *out = model_find(store, object);
    return *out ? PH_ST_OK : PH_ST_STALE;
}

static uint32_t read_data(void *self, struct ph_call *call, const Pohmel__ReadRequest *request,
                          Pohmel__ReadReply *reply)
{
    struct model_object *object;
    uint32_t status = opened(self, call, request->handle, request->object, &object);
    if (status != PH_ST_OK)
        return status;
    gsize start = MIN(request->offset, object->size), len = MIN(request->length, object->size - start);
    reply->end = start + len == object->size;
    if (len > 0) {
        call->payload_out = ph_blob_new(len);
        memcpy(call->payload_out->data, object->data + start, len);
        call->payload_out->len = len;
    }
    return PH_ST_OK;
}

static uint32_t sync_object(void *self, struct ph_call *call, const Pohmel__SyncRequest *request,
                            Pohmel__Nothing *reply)
{
    struct model_store *store = self;
    (void) call, (void) reply;
    if (store->fail_syncs > 0) {
        store->fail_syncs--;
        return store->fail_status;
    }
    if (!model_find(store, request->object))
        return PH_ST_STALE;
    model_power_synced(store, request);
    return PH_ST_OK;
}

static uint32_t file_system(void *self, struct ph_call *call, const Pohmel__StatfsRequest *request,
                            Pohmel__StatfsReply *reply)
{
    enum { PLENTY = 1 << 30 };
    (void) self;
    reply->reserved = request->reserve ? request->needed + request->more : 0;
    reply->space = PH_ARENA_NEW(call->arena, Pohmel__Space);
    pohmel__space__init(reply->space);
    reply->space->size = reply->space->available = PLENTY;
    reply->space->objects = reply->space->objects_free = PLENTY;
    reply->space->block_size = 4096;
    reply->space->name_max = PH_NAME_MAX_BYTES;
    return PH_ST_OK;
}

static uint32_t create(void *self, struct ph_call *call, const Pohmel__CreateRequest *request,
                       Pohmel__CreateResult *reply)
{
    struct model_store *store = self;
    struct model_object *directory, *file;
    uint32_t status = directory_of(store, request->parent, &directory);
    if (status != PH_ST_OK)
        return status;
    struct model_entry *entry = model_entry(directory, request->name);
    if (entry && request->exclusive && !model_power_made_before(store, entry, request->object, S_IFREG) &&
        !model_adopt(store, entry, request->object, S_IFREG, request->survivor))
        return PH_ST_EXISTS;
    file = entry ? model_find(store, entry->object)
                 : model_add(store, request->object, S_IFREG | request->mode, request->survivor != 0);
    if (!file)
        return PH_ST_INVALID;
    if (file->entries)
        return PH_ST_IS_DIRECTORY;
    if (!entry)
        model_link(store, directory, request->name, file);
    if (request->handle)
        model_handle_add(store, call->session, request->handle, file->id);
    reply->created = !entry || request->exclusive;
    reply->attr = model_new_attr(call->arena, file);
    return PH_ST_OK;
}

static uint32_t make_directory(void *self, struct ph_call *call, const Pohmel__MkdirRequest *request,
                               Pohmel__AttrResult *reply)
{
    struct model_store *store = self;
    struct model_object *parent;
    uint32_t status = directory_of(store, request->parent, &parent);
    if (status != PH_ST_OK)
        return status;
    struct model_entry *entry = model_entry(parent, request->name);
    if (entry && !model_power_made_before(store, entry, request->object, S_IFDIR) &&
        !model_adopt(store, entry, request->object, S_IFDIR, request->survivor))
        return PH_ST_EXISTS;
    struct model_object *directory =
        entry ? model_find(store, entry->object)
              : model_add(store, request->object, S_IFDIR | request->mode, request->survivor != 0);
    if (!directory)
        return PH_ST_INVALID;
    if (!entry)
        model_link(store, parent, request->name, directory);
    reply->attr = model_new_attr(call->arena, directory);
    return PH_ST_OK;
}

static uint32_t take_name(struct model_store *store, uint64_t parent, ProtobufCBinaryData name,
                          uint64_t expected, gboolean is_dir, Pohmel__NameResult *reply)
{
    struct model_object *directory;
    uint32_t status = directory_of(store, parent, &directory);
    if (status != PH_ST_OK)
        return status;
    struct model_entry *entry = model_entry(directory, name);
    if (!entry)
        return PH_ST_NOT_FOUND;
    if (expected && entry->object != expected)
        return PH_ST_MISMATCH;
    struct model_object *object = model_find(store, entry->object);
    if (is_dir && !object->entries)
        return PH_ST_NOT_DIRECTORY;
    if (!is_dir && object->entries)
        return PH_ST_IS_DIRECTORY;
    if (is_dir && object->entries->len > 0)
        return PH_ST_NOT_EMPTY;
    model_unlink(store, directory, entry);
    reply->directory_version = directory->version;
    return PH_ST_OK;
}

static uint32_t remove_name(void *self, struct ph_call *call, const Pohmel__RemoveRequest *request,
                            Pohmel__NameResult *reply)
{
    (void) call;
    return take_name(self, request->parent, request->name, request->object, FALSE, reply);
}

static uint32_t remove_directory(void *self, struct ph_call *call, const Pohmel__RmdirRequest *request,
                                 Pohmel__NameResult *reply)
{
    (void) call;
    return take_name(self, request->parent, request->name, request->object, TRUE, reply);
}

static uint32_t make_link(void *self, struct ph_call *call, const Pohmel__LinkRequest *request,
                          Pohmel__AttrResult *reply)
{
    struct model_store *store = self;
    struct model_object *parent, *object = model_find(store, request->object);
    uint32_t status = directory_of(store, request->parent, &parent);
    if (status != PH_ST_OK)
        return status;
    if (!object)
        return PH_ST_STALE;
    if (object->entries)
        return PH_ST_NOT_PERMITTED;
    if (model_entry(parent, request->name))
        return PH_ST_EXISTS;
    model_link(store, parent, request->name, object);
    reply->attr = model_new_attr(call->arena, object);
    return PH_ST_OK;
}

/* What a rename finds under its two names. */
struct moving {
    struct model_object *from, *to;
    struct model_entry *old_entry, *new_entry; /* the new one may be missing */
    struct model_object *moved, *replaced;
};

static uint32_t find_moving(struct model_store *store, const Pohmel__RenameRequest *request,
                            struct moving *out)
{
    uint32_t status = directory_of(store, request->old_parent, &out->from);
    if (status == PH_ST_OK)
        status = directory_of(store, request->new_parent, &out->to);
    if (status != PH_ST_OK)
        return status;
    out->old_entry = model_entry(out->from, request->old_name);
    out->new_entry = model_entry(out->to, request->new_name);
    if (!out->old_entry)
        return PH_ST_NOT_FOUND;
    out->moved = model_find(store, out->old_entry->object);
    out->replaced = out->new_entry ? model_find(store, out->new_entry->object) : NULL;
    if (request->object && request->object != out->moved->id)
        return PH_ST_MISMATCH;
    if (request->replaced && (!out->replaced || request->replaced != out->replaced->id))
        return PH_ST_MISMATCH;
    return PH_ST_OK;
}

/* Why a plain rename cannot replace what is there. */
static uint32_t replace_status(const struct moving *moving)
{
    if (moving->moved->entries && !moving->replaced->entries)
        return PH_ST_NOT_DIRECTORY;
    if (!moving->moved->entries && moving->replaced->entries)
        return PH_ST_IS_DIRECTORY;
    return moving->replaced->entries && moving->replaced->entries->len > 0 ? PH_ST_NOT_EMPTY : PH_ST_OK;
}

static void exchange(struct model_store *store, struct moving *moving)
{
    moving->old_entry->object = moving->replaced->id;
    moving->new_entry->object = moving->moved->id;
    model_touch(store, moving->from);
    model_touch(store, moving->to);
    model_touch(store, moving->moved);
    model_touch(store, moving->replaced);
}

/* Directories are empty, or never asked to be moved: no circle can come about. */
static uint32_t rename_name(void *self, struct ph_call *call, const Pohmel__RenameRequest *request,
                            Pohmel__NameResult *reply)
{
    enum { NEW_MUST_BE_FREE = 1, EXCHANGE = 2 };
    struct model_store *store = self;
    struct moving moving = {0};
    (void) call;
    uint32_t status = find_moving(store, request, &moving);
    if (status != PH_ST_OK)
        return status;
    if (moving.replaced && (request->flags & NEW_MUST_BE_FREE))
        return PH_ST_EXISTS;
    if (request->flags & EXCHANGE) {
        if (!moving.replaced)
            return PH_ST_NOT_FOUND;
        exchange(store, &moving);
    } else if (moving.replaced != moving.moved) {
        status = moving.replaced ? replace_status(&moving) : PH_ST_OK;
        if (status != PH_ST_OK)
            return status;
        if (moving.replaced)
            model_unlink(store, moving.to, moving.new_entry);
        model_link(store, moving.to, request->new_name, moving.moved);
        model_unlink(store, moving.from, moving.old_entry);
    }
    reply->directory_version = moving.to->version;
    return PH_ST_OK;
}

/* The data of OBJECT were changed: at TIME, or (NULL) now. */
static void touch(const struct model_store *store, struct model_object *object, const Pohmel__Time *time)
{
    enum { MS_PER_S = 1000, US_PER_MS = 1000, NS_PER_MS = 1000000 };
    uint64_t now_ms = *store->now_us / US_PER_MS;
    if (time)
        object->modified = (struct timespec){.tv_sec = time->seconds, .tv_nsec = time->nanoseconds};
    else
        object->modified = (struct timespec){.tv_sec = (time_t) (MODEL_BORN_S + now_ms / MS_PER_S),
                                             .tv_nsec = (long) (now_ms % MS_PER_S * NS_PER_MS)};
}

/* Owner, size, and when the data were changed. */
static uint32_t set_attributes(void *self, struct ph_call *call, const Pohmel__SetattrRequest *request,
                               Pohmel__AttrResult *reply)
{
    struct model_store *store = self;
    struct model_object *object = model_find(store, request->object);
    if (!object)
        return PH_ST_STALE;
    if (request->which & PH_SET_UID)
        object->uid = request->uid;
    if (request->which & PH_SET_SIZE) {
        if (request->size > sizeof(object->data))
            return PH_ST_TOO_BIG;
        if (request->size < object->size)
            memset(object->data + request->size, 0, object->size - request->size);
        object->size = request->size;
        touch(self, object, NULL);
    }
    if (request->which & PH_SET_MODIFIED)
        touch(self, object, request->modified);
    model_touch(store, object);
    reply->attr = model_new_attr(call->arena, object);
    return PH_ST_OK;
}

static uint32_t write_data(void *self, struct ph_call *call, const Pohmel__WriteRequest *request,
                           Pohmel__WriteResult *reply)
{
    struct model_store *store = self;
    struct model_object *object;
    const uint8_t *bytes = ph_call_take_payload(call, request->length);
    if (!bytes)
        return PH_ST_MALFORMED;
    uint32_t status = opened(store, call, request->handle, request->object, &object);
    if (status != PH_ST_OK)
        return status;
    uint64_t offset = request->append ? object->size : request->offset;
    if (offset > sizeof(object->data) || request->length > sizeof(object->data) - offset)
        return PH_ST_TOO_BIG;
    memcpy(object->data + offset, bytes, request->length);
    object->size = MAX(object->size, offset + request->length);
    touch(store, object, request->modified);
    model_touch(store, object);
    struct model_moment moment = {.object = object->id, .from_us = *store->now_us};
    memcpy(&moment.value, object->data, sizeof(moment.value));
    moment.value = GUINT64_FROM_LE(moment.value);
    g_array_append_val(store->moments, moment);
    reply->written = request->length;
    reply->offset = offset;
    reply->attr = model_new_attr(call->arena, object);
    return PH_ST_OK;
}

const struct ph_store_ops model_ops = {
    .ids_grant = ids_grant,
    .lookup = lookup,
    .getattr = getattr,
    .statfs = file_system,
    .readdir = list_directory,
    .open = open_object,
    .read = read_data,
    .sync = sync_object,
    .create = create,
    .mkdir = make_directory,
    .remove = remove_name,
    .rmdir = remove_directory,
    .rename = rename_name,
    .link = make_link,
    .setattr = set_attributes,
    .write = write_data,
};
