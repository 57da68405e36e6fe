/* What the tests of write-back do, in short. */
#include "client/core/tests/wb_steps.h"

#include <string.h>

static Pohmel__Caller user = {
    .base = PROTOBUF_C_MESSAGE_INIT(&pohmel__caller__descriptor), .uid = 1000, .gid = 1000};

static ProtobufCBinaryData bytes(const char *text)
{
    return (ProtobufCBinaryData){.len = strlen(text), .data = (uint8_t *) text};
}

static void add_name(GString *out, uint16_t command)
{
    g_string_append_printf(out, "%s%s", out->len > 0 ? " " : "", ph_command_info(command)->name);
}

static void on_executing(void *data, struct wb_sent *sent)
{
    struct wb_steps *steps = data;
    add_name(steps->history, sent->command);
}

void wb_steps_begin(struct wb_steps *steps, uint64_t dirty_limit_bytes)
{
    wb_steps_begin_owned(steps, dirty_limit_bytes, 0);
}

void wb_steps_begin_written(struct wb_steps *steps, uint64_t dirty_limit_bytes)
{
    wb_steps_begin(steps, dirty_limit_bytes);
    wb_steps_file(steps, "f", 10, "old");
    g_assert_cmpuint(wb_open(steps, 10, 1), ==, UINT32_MAX);
    wb_world_settle(&steps->world);
    g_assert_cmpuint(wb_write(steps, 10, 1, 0, "new"), ==, PH_ST_OK);
}

void wb_steps_begin_owned(struct wb_steps *steps, uint64_t dirty_limit_bytes, uint64_t owned_limit_bytes)
{
    Pohmel__LeaseAcquireRequest acquire = POHMEL__LEASE_ACQUIRE_REQUEST__INIT;
    Pohmel__StatfsRequest statfs = POHMEL__STATFS_REQUEST__INIT;
    struct ph_wb_config config = {.flush_age_ms = 5000,
                                  .dirty_limit_bytes = dirty_limit_bytes,
                                  .owned_limit_bytes = owned_limit_bytes,
                                  .payload_max_bytes = 65536,
                                  .in_flight_max = 64};
    wb_world_begin(&steps->world, &config, NULL);
    steps->history = g_string_new("");
    wb_world_open(&steps->world);
    acquire.object = WB_ROOT;
    acquire.mode = POHMEL__LEASE_MODE__MODE_EXCLUSIVE;
    statfs.caller = &user;
    statfs.object = WB_ROOT;
    statfs.reserve = true;
    statfs.more = UINT64_C(1) << 40;
    struct wb_asked *asked[] = {wb_world_ask(&steps->world, PH_CMD_LEASE_ACQUIRE, &acquire, NULL),
                                wb_world_ask(&steps->world, PH_CMD_STATFS, &statfs, NULL)};
    wb_world_settle(&steps->world);
    for (int i = 0; i < 2; i++) {
        g_assert_cmpuint(asked[i]->reply.status, ==, PH_ST_OK);
        wb_world_drop(asked[i]);
    }
    steps->world.data = steps;
    steps->world.executing = on_executing;
}

void wb_steps_end(struct wb_steps *steps)
{
    wb_world_end(&steps->world);
    g_string_free(steps->history, TRUE);
}

/* An answer that is not there yet goes to nobody who looks at it. */
static uint32_t status_of(struct wb_asked *asked)
{
    uint32_t status = UINT32_MAX;
    if (!asked->done) {
        wb_world_forget(asked);
        return status;
    }
    status = asked->reply.status;
    wb_world_drop(asked);
    return status;
}

static uint32_t ask(struct wb_steps *steps, uint16_t command, const void *message, struct ph_blob *payload)
{
    return status_of(wb_world_ask(&steps->world, command, message, payload));
}

uint32_t wb_create(struct wb_steps *steps, uint64_t parent, const char *name, uint64_t id, uint64_t handle)
{
    Pohmel__CreateRequest message = POHMEL__CREATE_REQUEST__INIT;
    message.caller = &user;
    message.parent = parent;
    message.name = bytes(name);
    message.object = id;
    message.mode = 0644;
    message.exclusive = true;
    message.handle = handle;
    message.access = handle != 0 ? 3 : 0;
    return ask(steps, PH_CMD_CREATE, &message, NULL);
}

uint32_t wb_mkdir(struct wb_steps *steps, uint64_t parent, const char *name, uint64_t id)
{
    Pohmel__MkdirRequest message = POHMEL__MKDIR_REQUEST__INIT;
    message.caller = &user;
    message.parent = parent;
    message.name = bytes(name);
    message.object = id;
    message.mode = 0755;
    return ask(steps, PH_CMD_MKDIR, &message, NULL);
}

uint32_t wb_link(struct wb_steps *steps, uint64_t object, uint64_t parent, const char *name)
{
    Pohmel__LinkRequest message = POHMEL__LINK_REQUEST__INIT;
    message.caller = &user;
    message.object = object;
    message.parent = parent;
    message.name = bytes(name);
    return ask(steps, PH_CMD_LINK, &message, NULL);
}

uint32_t wb_remove(struct wb_steps *steps, uint64_t parent, const char *name)
{
    Pohmel__RemoveRequest message = POHMEL__REMOVE_REQUEST__INIT;
    message.caller = &user;
    message.parent = parent;
    message.name = bytes(name);
    return ask(steps, PH_CMD_REMOVE, &message, NULL);
}

uint32_t wb_rmdir(struct wb_steps *steps, uint64_t parent, const char *name)
{
    Pohmel__RmdirRequest message = POHMEL__RMDIR_REQUEST__INIT;
    message.caller = &user;
    message.parent = parent;
    message.name = bytes(name);
    return ask(steps, PH_CMD_RMDIR, &message, NULL);
}

uint32_t wb_rename(struct wb_steps *steps, uint64_t parent, const char *from, const char *to)
{
    Pohmel__RenameRequest message = POHMEL__RENAME_REQUEST__INIT;
    message.caller = &user;
    message.old_parent = message.new_parent = parent;
    message.old_name = bytes(from);
    message.new_name = bytes(to);
    return ask(steps, PH_CMD_RENAME, &message, NULL);
}

static struct wb_asked *write_blob(struct wb_steps *steps, uint64_t id, uint64_t handle, uint64_t offset,
                                   struct ph_blob *blob)
{
    Pohmel__WriteRequest message = POHMEL__WRITE_REQUEST__INIT;
    message.caller = &user;
    message.object = id;
    message.handle = handle;
    message.offset = offset;
    message.length = (uint32_t) blob->len;
    return wb_world_ask(&steps->world, PH_CMD_WRITE, &message, blob);
}

uint32_t wb_write(struct wb_steps *steps, uint64_t id, uint64_t handle, uint64_t offset, const char *text)
{
    struct ph_blob *blob = ph_blob_copy(text, strlen(text));
    return status_of(write_blob(steps, id, handle, offset, blob));
}

struct wb_asked *wb_write_later(struct wb_steps *steps, uint64_t id, uint64_t handle, uint64_t offset,
                                size_t len)
{
    struct ph_blob *blob = ph_blob_new(len);
    memset(blob->data, 'x', len);
    blob->len = len;
    return write_blob(steps, id, handle, offset, blob);
}

uint32_t wb_chmod(struct wb_steps *steps, uint64_t id, uint32_t mode)
{
    Pohmel__SetattrRequest message = POHMEL__SETATTR_REQUEST__INIT;
    message.caller = &user;
    message.object = id;
    message.which = 1;
    message.mode = mode;
    return ask(steps, PH_CMD_SETATTR, &message, NULL);
}

uint32_t wb_cut(struct wb_steps *steps, uint64_t id, uint64_t handle, uint64_t size)
{
    Pohmel__SetattrRequest message = POHMEL__SETATTR_REQUEST__INIT;
    message.caller = &user;
    message.object = id;
    message.handle = handle;
    message.which = 8;
    message.size = size;
    return ask(steps, PH_CMD_SETATTR, &message, NULL);
}

uint32_t wb_open(struct wb_steps *steps, uint64_t id, uint64_t handle)
{
    Pohmel__OpenRequest message = POHMEL__OPEN_REQUEST__INIT;
    message.caller = &user;
    message.object = id;
    message.handle = handle;
    message.access = 3;
    return ask(steps, PH_CMD_OPEN, &message, NULL);
}

uint32_t wb_close_handle(struct wb_steps *steps, uint64_t id, uint64_t handle)
{
    Pohmel__CloseRequest message = POHMEL__CLOSE_REQUEST__INIT;
    message.object = id;
    message.handle = handle;
    return ask(steps, PH_CMD_CLOSE, &message, NULL);
}

struct wb_asked *wb_sync(struct wb_steps *steps, uint64_t id)
{
    Pohmel__SyncRequest message = POHMEL__SYNC_REQUEST__INIT;
    message.caller = &user;
    message.object = id;
    return wb_world_ask(&steps->world, PH_CMD_SYNC, &message, NULL);
}

struct wb_asked *wb_release(struct wb_steps *steps, uint64_t lease)
{
    Pohmel__LeaseReleaseRequest message = POHMEL__LEASE_RELEASE_REQUEST__INIT;
    message.n_leases = 1;
    message.leases = &lease;
    return wb_world_ask(&steps->world, PH_CMD_LEASE_RELEASE, &message, NULL);
}

void wb_steps_flush(struct wb_steps *steps)
{
    wb_world_flush(&steps->world, 0);
    wb_world_settle(&steps->world);
}

void wb_steps_file(struct wb_steps *steps, const char *name, uint64_t id, const char *text)
{
    uint64_t handle = 1000 + id;
    g_assert_cmpuint(wb_create(steps, WB_ROOT, name, id, handle), ==, PH_ST_OK);
    g_assert_cmpuint(wb_write(steps, id, handle, 0, text), ==, PH_ST_OK);
    g_assert_cmpuint(wb_close_handle(steps, id, handle), ==, PH_ST_OK);
    wb_steps_flush(steps);
    wb_world_settle(&steps->world);
    g_assert_nonnull(wb_model_node(steps->world.server, id));
    g_assert_false(ph_wb_is_dirty(steps->world.wb, id));
    g_string_truncate(steps->history, 0);
}

void wb_steps_other_writes(struct wb_steps *steps, uint64_t id, const char *text)
{
    enum { LATER_S = 100 };
    struct wb_node *node = wb_model_node(steps->world.server, id);
    g_byte_array_set_size(node->data, 0);
    g_byte_array_append(node->data, (const guint8 *) text, (guint) strlen(text));
    node->version++;
    node->modified.seconds += LATER_S;
}

char *wb_steps_text(const struct wb_steps *steps, uint64_t id)
{
    const struct wb_node *node = wb_model_node(steps->world.server, id);
    return node != NULL ? g_strndup((const char *) node->data->data, node->data->len) : NULL;
}

char *wb_steps_sent(const struct wb_steps *steps)
{
    GString *out = g_string_new("");
    for (guint i = 0; i < steps->world.sent->len; i++) {
        const struct wb_sent *sent = g_ptr_array_index(steps->world.sent, i);
        if (!sent->executed)
            add_name(out, sent->command);
    }
    return g_string_free(out, FALSE);
}
