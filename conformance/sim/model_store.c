/* Objects, names, handles and history of the model store; its operations stand in model_ops.c. */
#include "conformance/sim/model_store.h"

#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include "conformance/sim/model_private.h"
#include "runtime/base/limits.h"

static void entry_free(void *data)
{
    struct model_entry *entry = data;
    g_bytes_unref(entry->name);
    g_free(entry);
}

static void object_free(void *data)
{
    struct model_object *object = data;
    if (object->entries)
        g_ptr_array_unref(object->entries);
    g_free(object);
}

static GHashTable *new_objects(void)
{
    return g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, object_free);
}

void model_violate(struct model_store *store, const char *format, ...)
{
    if (store->violation)
        return;
    va_list arguments;
    va_start(arguments, format);
    store->violation = g_strdup_vprintf(format, arguments);
    va_end(arguments);
}

struct model_object *model_find(struct model_store *store, uint64_t object)
{
    return g_hash_table_lookup(store->objects, &object);
}

void model_touch(struct model_store *store, struct model_object *object)
{
    object->version = ++store->last_version;
}

static struct model_object *add_object(struct model_store *store, uint64_t id, uint32_t mode)
{
    struct model_object *object = g_new0(struct model_object, 1);
    object->id = id;
    object->inode = id < PH_OBJECT_GIVEN_FIRST ? id : store->next_inode++;
    object->mode = mode;
    model_touch(store, object);
    if (S_ISDIR(mode))
        object->entries = g_ptr_array_new_with_free_func(entry_free);
    g_hash_table_insert(store->objects, &object->id, object);
    return object;
}

struct model_object *model_add_found(struct model_store *store)
{
    return add_object(store, store->next_inode++, S_IFREG | 0644);
}

struct model_object *model_add(struct model_store *store, uint64_t id, uint32_t mode, gboolean again)
{
    if (id < PH_OBJECT_GIVEN_FIRST || id >= store->next_id)
        model_violate(store, "object %" G_GUINT64_FORMAT " was made with an id that nobody was given", id);
    /* Made in a session that was lost, and removed since: it is not made once more. */
    if (!g_hash_table_add(store->used, g_memdup2(&id, sizeof(id))) && (!again || model_find(store, id)))
        return NULL;
    if (store->undo.running)
        g_array_append_val(store->undo.made, id);
    return add_object(store, id, mode);
}

struct model_entry *model_entry(const struct model_object *directory, ProtobufCBinaryData name)
{
    for (guint i = 0; i < directory->entries->len; i++) {
        struct model_entry *entry = directory->entries->pdata[i];
        if (g_bytes_get_size(entry->name) == name.len &&
            memcmp(g_bytes_get_data(entry->name, NULL), name.data, name.len) == 0)
            return entry;
    }
    return NULL;
}

void model_link(struct model_store *store, struct model_object *directory, ProtobufCBinaryData name,
                struct model_object *object)
{
    struct model_entry *entry = g_new0(struct model_entry, 1);
    entry->name = g_bytes_new(name.data, name.len);
    entry->object = object->id;
    g_ptr_array_add(directory->entries, entry);
    model_touch(store, directory);
    object->links++;
    model_touch(store, object);
}

static gboolean is_open(struct model_store *store, uint64_t object)
{
    for (guint i = 0; i < store->handles->len; i++) {
        if (g_array_index(store->handles, struct model_handle, i).object == object)
            return TRUE;
    }
    return FALSE;
}

static void drop_unused(struct model_store *store, uint64_t id)
{
    struct model_object *object = model_find(store, id);
    if (object && object->links == 0 && id != PH_OBJECT_ROOT && !is_open(store, id))
        g_hash_table_remove(store->objects, &id);
}

static gboolean is_unused(gpointer id, gpointer value, gpointer store)
{
    const struct model_object *object = value;
    (void) id;
    return object->links == 0 && object->id != PH_OBJECT_ROOT && !is_open(store, object->id);
}

void model_drop_unused(struct model_store *store)
{
    g_hash_table_foreach_remove(store->objects, is_unused, store);
}

void model_unlink(struct model_store *store, struct model_object *directory, struct model_entry *entry)
{
    uint64_t id = entry->object;
    struct model_object *object = model_find(store, id);
    g_ptr_array_remove(directory->entries, entry);
    model_touch(store, directory);
    object->links--;
    model_touch(store, object);
    drop_unused(store, id);
}

void model_attr(struct ph_arena *arena, const struct model_object *object, Pohmel__Attr *attr)
{
    Pohmel__Time *time = PH_ARENA_NEW(arena, Pohmel__Time), *modified = PH_ARENA_NEW(arena, Pohmel__Time);
    pohmel__time__init(time);
    pohmel__time__init(modified);
    modified->seconds = object->modified.tv_sec;
    modified->nanoseconds = (uint32_t) object->modified.tv_nsec;
    pohmel__attr__init(attr);
    attr->object = object->id;
    attr->mode = object->mode;
    attr->links = object->links;
    attr->uid = object->uid;
    attr->plain = true;
    attr->size = object->size;
    attr->version = object->version;
    attr->accessed = attr->changed = time;
    attr->modified = modified;
}

Pohmel__Attr *model_new_attr(struct ph_arena *arena, const struct model_object *object)
{
    Pohmel__Attr *attr = PH_ARENA_NEW(arena, Pohmel__Attr);
    model_attr(arena, object, attr);
    return attr;
}

struct model_handle *model_handle(struct model_store *store, uint64_t session, uint64_t handle)
{
    for (guint i = 0; i < store->handles->len; i++) {
        struct model_handle *at = &g_array_index(store->handles, struct model_handle, i);
        if (at->session == session && at->handle == handle)
            return at;
    }
    return NULL;
}

void model_handle_add(struct model_store *store, uint64_t session, uint64_t handle, uint64_t object)
{
    struct model_handle entry = {.session = session, .handle = handle, .object = object};
    g_array_append_val(store->handles, entry);
}

static uint32_t close_handle(void *self, uint64_t session, uint64_t handle)
{
    struct model_store *store = self;
    struct model_handle *entry = model_handle(store, session, handle);
    if (entry) {
        uint64_t object = entry->object;
        g_array_remove_index(store->handles, (guint) (entry - (struct model_handle *) store->handles->data));
        drop_unused(store, object);
    }
    return PH_ST_OK;
}

static void end_session(void *self, uint64_t session)
{
    struct model_store *store = self;
    for (guint i = store->handles->len; i > 0; i--) {
        struct model_handle entry = g_array_index(store->handles, struct model_handle, i - 1);
        if (entry.session == session)
            close_handle(store, session, entry.handle);
    }
}

static uint32_t describe(void *self, struct ph_arena *arena, Pohmel__ExportInfo *info, Pohmel__Attr *root,
                         struct ph_fault *fault)
{
    static uint8_t volume[16] = "model volume";
    struct model_store *store = self;
    (void) fault;
    info->root = PH_OBJECT_ROOT;
    info->volume = (ProtobufCBinaryData){.len = sizeof(volume), .data = volume};
    info->space = PH_ARENA_NEW(arena, Pohmel__Space);
    pohmel__space__init(info->space);
    info->space->block_size = 4096;
    info->space->name_max = PH_NAME_MAX_BYTES;
    model_attr(arena, model_find(store, PH_OBJECT_ROOT), root);
    return PH_ST_OK;
}

static uint64_t epoch(void *self)
{
    const struct model_store *store = self;
    return store->epoch;
}

static struct model_object *copy_object(const struct model_object *object)
{
    struct model_object *copy = g_memdup2(object, sizeof(*object));
    if (!object->entries)
        return copy;
    copy->entries = g_ptr_array_new_with_free_func(entry_free);
    for (guint i = 0; i < object->entries->len; i++) {
        const struct model_entry *entry = object->entries->pdata[i];
        struct model_entry *twin = g_new0(struct model_entry, 1);
        twin->name = g_bytes_ref(entry->name);
        twin->object = entry->object;
        g_ptr_array_add(copy->entries, twin);
    }
    return copy;
}

GHashTable *model_copy_objects(GHashTable *objects)
{
    GHashTable *copy = new_objects();
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, objects);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        struct model_object *object = copy_object(value);
        g_hash_table_insert(copy, &object->id, object);
    }
    return copy;
}

/* A command that fails has changed nothing. */
static uint32_t transact_one(struct model_store *store, struct ph_call *call,
                             const Pohmel__TransactRequest *request, Pohmel__TransactReply *reply)
{
    if (store->fail_changes > 0) {
        store->fail_changes--;
        return store->fail_status;
    }
    GHashTable *before = store->keeps_states ? model_copy_objects(store->objects) : NULL;
    uint32_t status = ph_dispatch_change(&model_ops, store, call, request->changes[0], reply->results[0]);
    if (status == PH_ST_OK) {
        if (before)
            model_power_changed(store, before);
        model_record_keep(store, call, reply);
    } else if (before) {
        g_hash_table_unref(before);
    }
    return status;
}

static uint32_t transact(void *self, struct ph_call *call, const Pohmel__TransactRequest *request,
                         Pohmel__TransactReply *reply)
{
    struct model_store *store = self;
    if (store->dead)
        return PH_ST_IO_ERROR;
    reply->n_results = request->n_changes;
    reply->results = ph_arena_alloc0(call->arena, request->n_changes, sizeof(*reply->results));
    for (size_t i = 0; i < request->n_changes; i++) {
        reply->results[i] = PH_ARENA_NEW(call->arena, Pohmel__ChangeResult);
        pohmel__change_result__init(reply->results[i]);
    }
    if (request->n_changes > 1)
        return model_several(store, call, request, reply);
    return transact_one(store, call, request, reply);
}

void model_store_fail(struct model_store *store, uint32_t status, unsigned count, gboolean syncs)
{
    store->fail_status = status;
    *(syncs ? &store->fail_syncs : &store->fail_changes) = count;
}

static struct ph_store_session *find_session(struct model_store *store, const uint8_t *client)
{
    for (guint i = 0; i < store->sessions->len; i++) {
        struct ph_store_session *session = &g_array_index(store->sessions, struct ph_store_session, i);
        if (memcmp(session->client, client, PH_CLIENT_ID_BYTES) == 0)
            return session;
    }
    return NULL;
}

static uint32_t enter_session(void *self, const struct ph_store_session *session, struct ph_fault *fault)
{
    struct model_store *store = self;
    struct ph_store_session *old = find_session(store, session->client);
    (void) fault;
    if (store->dead)
        return PH_ST_IO_ERROR;
    if (!old)
        g_array_append_val(store->sessions, *session);
    else if (old->number < session->number)
        *old = *session;
    return PH_ST_OK;
}

static void leave_session(void *self, const uint8_t client[PH_CLIENT_ID_BYTES], uint64_t number)
{
    struct model_store *store = self;
    struct ph_store_session *session = find_session(store, client);
    if (session && session->number == number && !store->dead)
        g_array_remove_index_fast(
            store->sessions, (guint) (session - (struct ph_store_session *) (void *) store->sessions->data));
}

static size_t sessions(void *self, struct ph_store_session *out, size_t max)
{
    const struct model_store *store = self;
    size_t count = MIN(max, store->sessions->len);
    if (count > 0)
        memcpy(out, store->sessions->data, count * sizeof(*out));
    return count;
}

gboolean model_store_is_dead(const struct model_store *store)
{
    return store->dead;
}

void model_store_die(struct model_store *store)
{
    store->dead = TRUE;
    store->broken = FALSE;
}

static void free_nothing(void *self)
{
    (void) self;
}

struct model_store *model_store_new(const uint64_t *now_us, gboolean empty)
{
    struct model_store *store = g_new0(struct model_store, 1);
    store->interface = (struct ph_store){.ops = &model_ops,
                                         .self = store,
                                         .describe = describe,
                                         .epoch = epoch,
                                         .transact = transact,
                                         .several = true,
                                         .outcome = model_several_outcome,
                                         .recorded = model_record_find,
                                         .continued = model_power_continued,
                                         .unbroken = model_power_unbroken,
                                         .enter_session = enter_session,
                                         .leave_session = leave_session,
                                         .sessions = sessions,
                                         .close = close_handle,
                                         .end_session = end_session,
                                         .free = free_nothing};
    store->now_us = now_us;
    store->epoch = store->unbroken = 1;
    model_power_init(store);
    model_several_init(store);
    store->records = g_ptr_array_new_with_free_func(model_record_free);
    store->sessions = g_array_new(FALSE, FALSE, sizeof(struct ph_store_session));
    store->objects = new_objects();
    store->moments = g_array_new(FALSE, FALSE, sizeof(struct model_moment));
    store->used = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
    store->handles = g_array_new(FALSE, FALSE, sizeof(struct model_handle));
    store->next_id = PH_OBJECT_GIVEN_FIRST;
    store->next_inode = MODEL_INODE_FIRST;
    struct model_object *root = add_object(store, PH_OBJECT_ROOT, S_IFDIR | 0755);
    root->links = 1;
    for (uint64_t i = 0; i < MODEL_REGISTERS; i++) {
        struct model_object *file = add_object(store, MODEL_REGISTER_FIRST + i, S_IFREG | 0644);
        uint8_t name[] = {'r', (uint8_t) ('0' + i)};
        model_link(store, root, (ProtobufCBinaryData){.len = sizeof(name), .data = name}, file);
        file->size = empty ? 0 : MODEL_REGISTER_BYTES;
        struct model_moment moment = {.object = file->id};
        g_array_append_val(store->moments, moment);
    }
    model_link(store, root, (ProtobufCBinaryData){.len = 3, .data = (uint8_t *) "log"},
               add_object(store, MODEL_LOG, S_IFREG | 0644));
    model_link(store, root, (ProtobufCBinaryData){.len = 3, .data = (uint8_t *) "sub"},
               add_object(store, MODEL_SUB, S_IFDIR | 0755));
    return store;
}

void model_store_free(struct model_store *store)
{
    g_hash_table_unref(store->objects);
    g_hash_table_unref(store->used);
    model_power_clear(store);
    model_several_clear(store);
    g_array_unref(store->moments);
    g_array_unref(store->handles);
    g_array_unref(store->sessions);
    g_ptr_array_unref(store->records);
    g_free(store->violation);
    g_free(store);
}

void model_store_restart(struct model_store *store)
{
    g_autoptr(GArray) open = g_steal_pointer(&store->handles);
    store->handles = g_array_new(FALSE, FALSE, sizeof(struct model_handle));
    model_several_recover(store);
    for (guint i = 0; i < open->len; i++)
        drop_unused(store, g_array_index(open, struct model_handle, i).object);
    store->dead = FALSE;
    store->epoch++;
}

struct ph_store *model_store_interface(struct model_store *store)
{
    return &store->interface;
}

guint model_store_writes_of(struct model_store *store, uint64_t value)
{
    guint count = 0;
    for (guint i = 0; i < store->moments->len; i++)
        count += g_array_index(store->moments, struct model_moment, i).value == value;
    return count;
}

gboolean model_store_held(struct model_store *store, uint64_t object, uint64_t value, uint64_t from_us,
                          uint64_t to_us)
{
    gboolean held = FALSE; /* by the moment at hand, up to the next one of the object */
    for (guint i = 0; i < store->moments->len; i++) {
        const struct model_moment *moment = &g_array_index(store->moments, struct model_moment, i);
        if (moment->object != object)
            continue;
        if (held && moment->from_us >= from_us)
            return TRUE;
        held = moment->value == value && moment->from_us <= to_us;
    }
    return held;
}

uint64_t model_store_value(struct model_store *store, uint64_t object)
{
    uint64_t value;
    memcpy(&value, model_find(store, object)->data, sizeof(value));
    return GUINT64_FROM_LE(value);
}

const uint8_t *model_store_data(struct model_store *store, uint64_t object, size_t *len)
{
    const struct model_object *file = model_find(store, object);
    *len = file->size;
    return file->data;
}

guint model_store_handles(struct model_store *store)
{
    return store->handles->len;
}

const char *model_store_violation(struct model_store *store)
{
    return store->violation;
}
