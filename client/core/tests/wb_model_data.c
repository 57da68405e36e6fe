/* The small filesystem: data, attributes, handles, leases, and everything that reads. */
#include <string.h>
#include <sys/stat.h>

#include "client/core/tests/wb_model_private.h"

enum { WISHES_MAX = 64 };
enum {
    SET_MODE = 1 << 0,
    SET_UID = 1 << 1,
    SET_GID = 1 << 2,
    SET_SIZE = 1 << 3,
    SET_ACCESSED = 1 << 4,
    SET_MODIFIED = 1 << 5,
    SET_ACCESSED_NOW = 1 << 6,
    SET_MODIFIED_NOW = 1 << 7,
    DIRECTORY_BYTES = 4096,
    ENTRIES_MAX = 64,
    ACCESS_WRITE = 2,
};

char *wb_model_text(const ProtobufCBinaryData *name)
{
    return g_strndup((const char *) name->data, name->len);
}

void wb_model_touch(struct wb_model *model, struct wb_node *node, bool data)
{
    node->version = model->timed ? ++model->latest : node->version + 1;
    node->changed = model->now;
    if (data)
        node->modified = model->now;
}

static void grant(struct wb_model *model, struct wb_node *node, Pohmel__Attr *attr, bool due)
{
    if (!model->is_server)
        return;
    bool refused =
        model->refuse_percent > 0 && (unsigned) g_rand_int_range(model->rand, 0, 100) < model->refuse_percent;
    if (node->others)
        return;
    if (node->lease == 0 && due && !refused)
        node->lease = ++model->last_lease;
    if (node->lease == 0 || node->recalled)
        return;
    attr->lease = node->lease;
    attr->lease_mode = POHMEL__LEASE_MODE__MODE_EXCLUSIVE;
}

Pohmel__Attr *wb_model_attr(struct wb_model *model, struct wb_node *node, bool due,
                            struct ph_cached_attr_wire *wire)
{
    struct ph_cached_attr attr = {
        .object = node->id,
        .size = node->names != NULL ? DIRECTORY_BYTES : node->data->len,
        .version = node->version,
        .accessed = node->accessed,
        .modified = node->modified,
        .changed = node->changed,
        .mode = node->mode,
        .links = node->links,
        .uid = node->uid,
        .gid = node->gid,
        .block_size = DIRECTORY_BYTES,
        .plain = true,
    };
    Pohmel__Attr *out = (Pohmel__Attr *) ph_cached_attr_to_wire(&attr, wire);
    out->plain = true;
    grant(model, node, out, due);
    return out;
}

void wb_model_say(struct wb_model_reply *out, const ProtobufCMessage *message)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    g_autofree uint8_t *packed = g_malloc(len + 1);
    protobuf_c_message_pack(message, packed);
    out->message = protobuf_c_message_unpack(message->descriptor, NULL, len, packed);
    g_assert_nonnull(out->message);
}

void wb_model_say_result(struct wb_execution *x, const void *message)
{
    Pohmel__TransactReply reply = POHMEL__TRANSACT_REPLY__INIT;
    Pohmel__ChangeResult result = POHMEL__CHANGE_RESULT__INIT, *results[] = {&result};
    result.result_case = (Pohmel__ChangeResult__ResultCase) x->command;
    result.create = (Pohmel__CreateResult *) message;
    reply.n_results = 1;
    reply.results = results;
    wb_model_say(x->out, &reply.base);
}

/* --- Handles --- */

bool wb_model_open(struct wb_model *model, uint64_t handle, struct wb_node *node)
{
    if (g_hash_table_contains(model->handles, &handle))
        return false;
    node->opens++;
    g_hash_table_insert(model->handles, g_memdup2(&handle, sizeof(handle)),
                        g_memdup2(&node->id, sizeof(node->id)));
    return true;
}

bool wb_model_is_open(const struct wb_model *model, uint64_t handle, const struct wb_node *node)
{
    const uint64_t *id = g_hash_table_lookup(model->handles, &handle);
    return !model->is_server || (id != NULL && *id == node->id);
}

static uint32_t close_handle(struct wb_execution *x)
{
    const Pohmel__CloseRequest *request = x->message;
    const uint64_t *id = g_hash_table_lookup(x->model->handles, &request->handle);
    struct wb_node *node = id != NULL ? wb_model_node(x->model, *id) : NULL;
    Pohmel__Nothing nothing = POHMEL__NOTHING__INIT;
    if (node == NULL)
        return PH_ST_BAD_HANDLE;
    g_hash_table_remove(x->model->handles, &request->handle);
    node->opens--;
    wb_model_settle(x->model, node);
    wb_model_say(x->out, &nothing.base);
    return PH_ST_OK;
}

static uint32_t open_handle(struct wb_execution *x)
{
    const Pohmel__OpenRequest *request = x->message;
    struct wb_node *node = wb_model_node(x->model, request->object);
    struct ph_cached_attr_wire wire;
    Pohmel__OpenReply reply = POHMEL__OPEN_REPLY__INIT;
    if (node == NULL)
        return PH_ST_STALE;
    if (!wb_model_open(x->model, request->handle, node))
        return PH_ST_INVALID;
    reply.attr = wb_model_attr(x->model, node, (request->access & ACCESS_WRITE) != 0, &wire);
    wb_model_say(x->out, &reply.base);
    return PH_ST_OK;
}

/* --- Changes --- */

static uint32_t write_data(struct wb_execution *x)
{
    const Pohmel__WriteRequest *request = x->message;
    struct wb_node *node = wb_model_node(x->model, request->object);
    struct ph_cached_attr_wire wire;
    Pohmel__WriteResult result = POHMEL__WRITE_RESULT__INIT;
    if (node == NULL)
        return PH_ST_STALE;
    if (!wb_model_is_open(x->model, request->handle, node))
        return PH_ST_BAD_HANDLE;
    uint64_t offset = request->append ? node->data->len : request->offset;
    guint size = node->data->len;
    g_assert_cmpuint(x->payload->len, ==, request->length);
    if (offset + request->length > size) {
        g_byte_array_set_size(node->data, (guint) (offset + request->length));
        memset(node->data->data + size, 0, node->data->len - size);
    }
    memcpy(node->data->data + offset, x->payload->data, request->length);
    wb_model_touch(x->model, node, true);
    if (request->modified != NULL)
        node->modified = (struct ph_cached_time){.seconds = request->modified->seconds};
    result.offset = offset;
    result.written = request->length;
    result.attr = wb_model_attr(x->model, node, false, &wire);
    wb_model_say_result(x, &result);
    return PH_ST_OK;
}

static void set_size(struct wb_node *node, uint64_t size)
{
    guint before = node->data->len;
    g_byte_array_set_size(node->data, (guint) size);
    if (size > before)
        memset(node->data->data + before, 0, size - before);
}

static uint32_t set_attributes(struct wb_execution *x)
{
    const Pohmel__SetattrRequest *request = x->message;
    struct wb_node *node = wb_model_node(x->model, request->object);
    struct ph_cached_attr_wire wire;
    Pohmel__AttrResult result = POHMEL__ATTR_RESULT__INIT;
    uint32_t which = request->which;
    if (node == NULL)
        return PH_ST_STALE;
    if (request->handle != 0 && !wb_model_is_open(x->model, request->handle, node))
        return PH_ST_BAD_HANDLE;
    if (which & SET_SIZE && !S_ISREG(node->mode))
        return node->names != NULL ? PH_ST_IS_DIRECTORY : PH_ST_INVALID;
    wb_model_touch(x->model, node, (which & SET_SIZE) != 0);
    if (which & SET_SIZE)
        set_size(node, request->size);
    if (which & SET_MODE)
        node->mode = (node->mode & S_IFMT) | request->mode;
    if (which & SET_UID)
        node->uid = request->uid;
    if (which & SET_GID)
        node->gid = request->gid;
    if (which & SET_ACCESSED)
        node->accessed = (struct ph_cached_time){.seconds = request->accessed->seconds};
    if (which & SET_ACCESSED_NOW)
        node->accessed = x->model->now;
    if (which & SET_MODIFIED)
        node->modified = (struct ph_cached_time){.seconds = request->modified->seconds};
    if (which & SET_MODIFIED_NOW)
        node->modified = x->model->now;
    result.attr = wb_model_attr(x->model, node, false, &wire);
    wb_model_say_result(x, &result);
    return PH_ST_OK;
}

uint32_t wb_model_change(struct wb_execution *x)
{
    return x->command == PH_CMD_WRITE ? write_data(x) : set_attributes(x);
}

/* --- Leases --- */

static uint32_t acquire(struct wb_execution *x)
{
    const Pohmel__LeaseAcquireRequest *request = x->message;
    struct wb_node *node = wb_model_node(x->model, request->object);
    struct ph_cached_attr_wire wire;
    Pohmel__LeaseAcquireReply reply = POHMEL__LEASE_ACQUIRE_REPLY__INIT;
    Pohmel__LeaseGrant lease = POHMEL__LEASE_GRANT__INIT;
    if (node == NULL)
        return PH_ST_STALE;
    if (node->recalled)
        return PH_ST_NO_LEASE;
    Pohmel__Range range = POHMEL__RANGE__INIT;
    if (node->others && (request->range == NULL || node->lease != 0))
        return PH_ST_NO_LEASE;
    if (node->others) {
        if (node->range_len == 0) {
            node->range_start = request->range->offset;
            node->range_len = request->range->length;
        }
        range.offset = node->range_start;
        range.length = node->range_len;
        lease.range = &range;
    }
    if (node->lease == 0)
        node->lease = ++x->model->last_lease;
    lease.attr = wb_model_attr(x->model, node, true, &wire);
    lease.lease = node->lease;
    lease.object = node->id;
    lease.mode = POHMEL__LEASE_MODE__MODE_EXCLUSIVE;
    reply.grant = &lease;
    wb_model_say(x->out, &reply.base);
    return PH_ST_OK;
}

static uint32_t release(struct wb_execution *x)
{
    const Pohmel__LeaseReleaseRequest *request = x->message;
    Pohmel__LeaseReleaseReply reply = POHMEL__LEASE_RELEASE_REPLY__INIT;
    GHashTableIter iter;
    void *key, *value;
    x->model->released_count = 0;
    g_hash_table_iter_init(&iter, x->model->nodes);
    while (g_hash_table_iter_next(&iter, &key, &value)) {
        struct wb_node *node = value;
        for (size_t i = 0; i < request->n_parts; i++) {
            if (node->lease != 0 && node->lease == request->parts[i]->lease) {
                node->range_start = request->parts[i]->range->offset;
                node->range_len = request->parts[i]->range->length;
            }
        }
        for (size_t i = 0; i < request->n_leases; i++) {
            if (node->lease == request->leases[i] && node->lease != 0) {
                node->lease = 0;
                node->recalled = false;
                if (x->model->released_count < G_N_ELEMENTS(x->model->released))
                    x->model->released[x->model->released_count++] = node->id;
            }
        }
    }
    wb_model_say(x->out, &reply.base);
    return PH_ST_OK;
}

/* --- Reading --- */

static uint32_t get_attributes(struct wb_execution *x)
{
    const Pohmel__GetattrRequest *request = x->message;
    struct wb_node *node = wb_model_node(x->model, request->object);
    struct ph_cached_attr_wire wire;
    Pohmel__GetattrReply reply = POHMEL__GETATTR_REPLY__INIT;
    if (node == NULL)
        return PH_ST_STALE;
    reply.attr = wb_model_attr(x->model, node, false, &wire);
    wb_model_say(x->out, &reply.base);
    return PH_ST_OK;
}

static uint32_t look_up(struct wb_execution *x)
{
    const Pohmel__LookupRequest *request = x->message;
    g_autofree char *name = wb_model_text(&request->names[0]);
    struct wb_node *d = wb_model_node(x->model, request->parent);
    struct ph_cached_attr_wire wire, directory;
    Pohmel__LookupReply reply = POHMEL__LOOKUP_REPLY__INIT;
    if (d == NULL)
        return PH_ST_STALE;
    if (d->names == NULL)
        return PH_ST_NOT_DIRECTORY;
    const struct wb_entry *entry = g_hash_table_lookup(d->names, name);
    Pohmel__Attr *found =
        entry != NULL ? wb_model_attr(x->model, wb_model_node(x->model, entry->id), true, &wire) : NULL;
    reply.n_found = entry != NULL;
    reply.found = &found;
    reply.failure = entry != NULL ? PH_ST_OK : PH_ST_NOT_FOUND;
    reply.directory = wb_model_attr(x->model, d, true, &directory);
    reply.directory_version = d->version;
    wb_model_say(x->out, &reply.base);
    return PH_ST_OK;
}

static uint32_t read_data(struct wb_execution *x)
{
    const Pohmel__ReadRequest *request = x->message;
    struct wb_node *node = wb_model_node(x->model, request->object);
    Pohmel__ReadReply reply = POHMEL__READ_REPLY__INIT;
    if (node == NULL)
        return PH_ST_STALE;
    if (!wb_model_is_open(x->model, request->handle, node))
        return PH_ST_BAD_HANDLE;
    uint64_t end = MIN(request->offset + request->length, node->data->len);
    uint64_t len = end > request->offset ? end - request->offset : 0;
    if (len > 0) {
        x->out->payload = ph_blob_copy(node->data->data + request->offset, len);
    }
    reply.end = request->offset + request->length >= node->data->len;
    wb_model_say(x->out, &reply.base);
    return PH_ST_OK;
}

static uint32_t read_target(struct wb_execution *x)
{
    const Pohmel__ReadlinkRequest *request = x->message;
    struct wb_node *node = wb_model_node(x->model, request->object);
    Pohmel__ReadlinkReply reply = POHMEL__READLINK_REPLY__INIT;
    if (node == NULL)
        return PH_ST_STALE;
    if (!S_ISLNK(node->mode))
        return PH_ST_INVALID;
    x->out->payload = ph_blob_copy(node->data->data, node->data->len);
    wb_model_say(x->out, &reply.base);
    return PH_ST_OK;
}

struct listing {
    struct wb_model *model;
    bool attributes;
    size_t count;
    Pohmel__DirEntry entries[ENTRIES_MAX], *all[ENTRIES_MAX];
    struct ph_cached_attr_wire wires[ENTRIES_MAX];
};

static void list(struct listing *listing, const char *name, uint64_t id, uint64_t cookie)
{
    g_assert_cmpuint(listing->count, <, ENTRIES_MAX);
    Pohmel__DirEntry *entry = &listing->entries[listing->count];
    struct wb_node *node = wb_model_node(listing->model, id);
    pohmel__dir_entry__init(entry);
    entry->name = (ProtobufCBinaryData){.len = strlen(name), .data = (uint8_t *) name};
    entry->object = id;
    entry->cookie = cookie;
    entry->type = node != NULL ? node->mode & S_IFMT : S_IFDIR;
    if (listing->attributes && node != NULL && !g_str_equal(name, ".."))
        entry->attr = wb_model_attr(listing->model, node, true, &listing->wires[listing->count]);
    listing->all[listing->count++] = entry;
}

/* The name that comes after SEQ in the order of making. */
static const char *after(const struct wb_node *d, uint64_t *seq, uint64_t *id)
{
    GHashTableIter iter;
    void *key, *value;
    const char *best = NULL;
    uint64_t best_seq = UINT64_MAX;
    g_hash_table_iter_init(&iter, d->names);
    while (g_hash_table_iter_next(&iter, &key, &value)) {
        const struct wb_entry *entry = value;
        if (entry->seq <= *seq || entry->seq >= best_seq)
            continue;
        best = key;
        best_seq = entry->seq;
        *id = entry->id;
    }
    *seq = best_seq;
    return best;
}

static uint32_t read_directory(struct wb_execution *x)
{
    const Pohmel__ReaddirRequest *request = x->message;
    struct wb_node *d = wb_model_node(x->model, request->object);
    Pohmel__ReaddirReply reply = POHMEL__READDIR_REPLY__INIT;
    if (d == NULL)
        return PH_ST_STALE;
    if (d->names == NULL)
        return PH_ST_NOT_DIRECTORY;
    g_autofree struct listing *listing = g_new0(struct listing, 1);
    listing->model = x->model;
    listing->attributes = request->attributes;
    uint64_t at = request->cookie, id = 0;
    if (at < 1)
        list(listing, ".", d->id, 1);
    if (at < 2 && listing->count < request->count)
        list(listing, "..", d->parent, 2);
    at = MAX(at, 2);
    const char *name = NULL;
    while (listing->count < request->count && (name = after(d, &at, &id)) != NULL)
        list(listing, name, id, at);
    reply.n_entries = listing->count;
    reply.entries = listing->all;
    reply.end = listing->count < request->count || (name == NULL && at == UINT64_MAX);
    reply.version = d->version;
    wb_model_say(x->out, &reply.base);
    return PH_ST_OK;
}

static uint32_t sync_object(struct wb_execution *x)
{
    const Pohmel__SyncRequest *request = x->message;
    const struct wb_node *node = wb_model_node(x->model, request->object);
    Pohmel__Nothing nothing = POHMEL__NOTHING__INIT;
    if (node == NULL)
        return PH_ST_STALE;
    if (request->handle != 0 && !wb_model_is_open(x->model, request->handle, node))
        return PH_ST_BAD_HANDLE;
    wb_model_say(x->out, &nothing.base);
    return PH_ST_OK;
}

static uint32_t outcome(struct wb_execution *x)
{
    const Pohmel__OutcomeRequest *request = x->message;
    Pohmel__OutcomeReply reply = POHMEL__OUTCOME_REPLY__INIT;
    x->model->outcomes++;
    reply.done = request->key != 0 && request->key == x->model->done_key;
    wb_model_say(x->out, &reply.base);
    return PH_ST_OK;
}

static void quota_share(const struct wb_model *model, const Pohmel__QuotaWish *wish, Pohmel__QuotaShare *out)
{
    pohmel__quota_share__init(out);
    out->of = wish->of;
    out->id = wish->id;
    out->limited = model->quota.limited;
    if (out->limited) {
        out->bytes = MIN(wish->needed + wish->more, model->quota.bytes);
        out->objects = MIN(wish->objects_needed + wish->objects_more, model->quota.objects);
    }
}

static uint32_t space(struct wb_execution *x)
{
    const Pohmel__StatfsRequest *request = x->message;
    Pohmel__StatfsReply reply = POHMEL__STATFS_REPLY__INIT;
    Pohmel__Space left = POHMEL__SPACE__INIT;
    left.size = left.available = UINT64_C(1) << 40;
    left.objects = left.objects_free = 1u << 30;
    left.block_size = DIRECTORY_BYTES;
    left.name_max = 255;
    reply.space = &left;
    if (request->reserve)
        reply.reserved = request->needed + request->more;
    Pohmel__QuotaShare shares[WISHES_MAX], *pointers[WISHES_MAX];
    for (size_t i = 0; i < request->n_quotas && request->n_quotas <= WISHES_MAX; i++)
        if (request->quotas[i]->of & x->model->quotas_of) {
            pointers[reply.n_quotas] = &shares[reply.n_quotas];
            quota_share(x->model, request->quotas[i], pointers[reply.n_quotas++]);
        }
    reply.quotas_of = x->model->quotas_of;
    reply.quotas = pointers;
    wb_model_say(x->out, &reply.base);
    return PH_ST_OK;
}

uint32_t wb_model_read(struct wb_execution *x)
{
    switch (x->command) {
    case PH_CMD_LOOKUP:
        return look_up(x);
    case PH_CMD_GETATTR:
        return get_attributes(x);
    case PH_CMD_READ:
        return read_data(x);
    case PH_CMD_READLINK:
        return read_target(x);
    case PH_CMD_READDIR:
        return read_directory(x);
    case PH_CMD_OPEN:
        return open_handle(x);
    case PH_CMD_CLOSE:
        return close_handle(x);
    case PH_CMD_SYNC:
        return sync_object(x);
    case PH_CMD_OUTCOME:
        return outcome(x);
    case PH_CMD_GETXATTR:
    case PH_CMD_LISTXATTR:
        return wb_model_get_xattr(x);
    case PH_CMD_STATFS:
        return space(x);
    case PH_CMD_LEASE_ACQUIRE:
        return acquire(x);
    case PH_CMD_LEASE_RELEASE:
        return release(x);
    default:
        return PH_ST_UNSUPPORTED;
    }
}

static void execute_several(struct wb_model *model, const Pohmel__TransactRequest *request,
                            const struct ph_blob *payload, struct wb_model_reply *out)
{
    Pohmel__TransactReply reply = POHMEL__TRANSACT_REPLY__INIT;
    for (size_t i = 0; i < request->n_changes && out->status == PH_ST_OK; i++) {
        Pohmel__TransactRequest one = POHMEL__TRANSACT_REQUEST__INIT;
        struct wb_model_reply part;
        one.n_changes = 1;
        one.changes = &request->changes[i];
        wb_model_execute(model, PH_CMD_TRANSACT, &one.base, payload, &part);
        out->status = part.status;
        wb_model_reply_clear(&part);
    }
    reply.stable = out->status == PH_ST_OK && !model->several_unstable;
    model->done_key = out->status == PH_ST_OK ? request->key : model->done_key;
    if (out->status == PH_ST_OK)
        wb_model_say(out, &reply.base);
}

void wb_model_execute(struct wb_model *model, uint16_t command, const ProtobufCMessage *message,
                      const struct ph_blob *payload, struct wb_model_reply *out)
{
    const ProtobufCMessage *inner;
    struct wb_execution x = {.model = model, .payload = payload, .out = out};
    *out = (struct wb_model_reply){0};
    if (command == PH_CMD_TRANSACT && ((const Pohmel__TransactRequest *) message)->n_changes > 1) {
        execute_several(model, (const Pohmel__TransactRequest *) message, payload, out);
        return;
    }
    x.command = wb_model_inner(command, message, &inner);
    x.message = inner;
    if (command != PH_CMD_TRANSACT)
        out->status = wb_model_read(&x);
    else if (x.command == PH_CMD_WRITE || x.command == PH_CMD_SETATTR)
        out->status = wb_model_change(&x);
    else if (x.command == PH_CMD_SETXATTR || x.command == PH_CMD_REMOVEXATTR)
        out->status = wb_model_set_xattr(&x);
    else
        out->status = wb_model_name(&x);
    if (command == PH_CMD_TRANSACT && out->status == PH_ST_OK)
        model->changes++;
}
