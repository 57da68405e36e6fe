/* A user of a mount who does things at random. */
#include "client/core/tests/wb_act.h"

#include <string.h>
#include <sys/stat.h>

enum { NODES_MAX = 24, SET_MODE = 1, SET_SIZE = 8, SET_ACCESSED = 16, SET_MODIFIED = 32, SET_NOW = 128 };

static Pohmel__Caller user = {.base = PROTOBUF_C_MESSAGE_INIT(&pohmel__caller__descriptor)};

static unsigned below(struct wb_act *act, unsigned limit)
{
    return (unsigned) g_rand_int_range(act->rand, 0, (gint32) limit);
}

const char *wb_act_name(struct wb_act *act)
{
    static const char *const names[] = {"a", "b", "c", "d", "e", "f"};
    return names[below(act, G_N_ELEMENTS(names))];
}

static ProtobufCBinaryData bytes(const char *text)
{
    return (ProtobufCBinaryData){.len = strlen(text), .data = (uint8_t *) text};
}

static int by_id(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;
    return x < y ? -1 : x > y;
}

/* Its making was not answered yet: nobody can know it. */
static bool is_unknown(const struct wb_act *act, uint64_t id)
{
    for (guint i = 0; i < act->world->pending->len; i++) {
        const struct wb_asked *asked = g_ptr_array_index(act->world->pending, i);
        const void *message = asked->inner;
        uint64_t object = asked->command == PH_CMD_CREATE  ? ((const Pohmel__CreateRequest *) message)->object
                          : asked->command == PH_CMD_MKDIR ? ((const Pohmel__MkdirRequest *) message)->object
                          : asked->command == PH_CMD_SYMLINK
                              ? ((const Pohmel__SymlinkRequest *) message)->object
                          : asked->command == PH_CMD_MKNOD ? ((const Pohmel__MknodRequest *) message)->object
                                                           : 0;
        if (object == id)
            return true;
    }
    return false;
}

uint64_t wb_act_object(struct wb_act *act, uint32_t kind)
{
    uint64_t found[64];
    unsigned count = 0;
    GHashTableIter iter;
    void *key, *value;
    g_hash_table_iter_init(&iter, act->truth->nodes);
    while (g_hash_table_iter_next(&iter, &key, &value) && count < G_N_ELEMENTS(found)) {
        const struct wb_node *node = value;
        if ((kind == 0 || (node->mode & S_IFMT) == kind) && node->links > 0 && !is_unknown(act, node->id))
            found[count++] = node->id;
    }
    qsort(found, count, sizeof(found[0]), by_id);
    return count > 0 ? found[below(act, count)] : 0;
}

static struct wb_asked *ask(struct wb_act *act, uint16_t command, const void *message,
                            struct ph_blob *payload)
{
    return wb_world_ask(act->world, command, message, payload);
}

/* --- Handles --- */

static struct wb_act_handle *ready_handle(struct wb_act *act)
{
    for (unsigned tries = 0; tries < 4; tries++) {
        struct wb_act_handle *handle = &act->handles[below(act, WB_ACT_HANDLES)];
        if (handle->ready && !handle->leaving)
            return handle;
    }
    return NULL;
}

static struct wb_act_handle *new_handle(struct wb_act *act)
{
    for (unsigned i = 0; i < WB_ACT_HANDLES; i++) {
        if (act->handles[i].number == 0) {
            act->handles[i] = (struct wb_act_handle){.number = ++act->last_handle};
            return &act->handles[i];
        }
    }
    return NULL;
}

static struct wb_act_handle *handle_of(struct wb_act *act, uint64_t number)
{
    for (unsigned i = 0; i < WB_ACT_HANDLES && number != 0; i++)
        if (act->handles[i].number == number)
            return &act->handles[i];
    return NULL;
}

void wb_act_lost(struct wb_act *act)
{
    memset(act->handles, 0, sizeof(act->handles));
}

static uint64_t handle_in(const struct wb_asked *asked)
{
    switch (asked->command) {
    case PH_CMD_CREATE:
        return ((const Pohmel__CreateRequest *) asked->inner)->handle;
    case PH_CMD_OPEN:
        return ((const Pohmel__OpenRequest *) asked->inner)->handle;
    case PH_CMD_CLOSE:
        return ((const Pohmel__CloseRequest *) asked->inner)->handle;
    case PH_CMD_READ:
        return ((const Pohmel__ReadRequest *) asked->inner)->handle;
    case PH_CMD_WRITE:
        return ((const Pohmel__WriteRequest *) asked->inner)->handle;
    case PH_CMD_SETATTR:
        return ((const Pohmel__SetattrRequest *) asked->inner)->handle;
    case PH_CMD_SYNC:
        return ((const Pohmel__SyncRequest *) asked->inner)->handle;
    default:
        return 0;
    }
}

static const Pohmel__Attr *created(const struct wb_asked *asked)
{
    return ((const Pohmel__TransactReply *) asked->reply.message)->results[0]->create->attr;
}

void wb_act_answered(struct wb_act *act, const struct wb_asked *asked)
{
    struct wb_act_handle *handle = handle_of(act, handle_in(asked));
    if (handle == NULL)
        return;
    if (asked->command == PH_CMD_CLOSE) {
        *handle = (struct wb_act_handle){0};
    } else if (asked->command == PH_CMD_OPEN || asked->command == PH_CMD_CREATE) {
        if (asked->reply.status != PH_ST_OK) {
            *handle = (struct wb_act_handle){0};
            return;
        }
        handle->ready = true;
        handle->object = asked->command == PH_CMD_OPEN ? ((const Pohmel__OpenRequest *) asked->inner)->object
                                                       : created(asked)->object;
    } else if (handle->users > 0) {
        handle->users--;
    }
}

/* --- Names --- */

static struct wb_asked *create(struct wb_act *act, uint64_t d)
{
    Pohmel__CreateRequest message = POHMEL__CREATE_REQUEST__INIT;
    struct wb_act_handle *handle = below(act, 2) ? new_handle(act) : NULL;
    message.caller = &user;
    message.parent = d;
    message.name = bytes(wb_act_name(act));
    message.object = ++act->last_object;
    message.mode = 0640;
    message.umask = 022;
    message.exclusive = below(act, 3) > 0;
    message.truncate = !message.exclusive && act->alone && below(act, 4) == 0;
    if (handle != NULL) {
        message.handle = handle->number;
        message.access = 3;
    }
    return ask(act, PH_CMD_CREATE, &message, NULL);
}

static struct wb_asked *make_directory(struct wb_act *act, uint64_t d)
{
    Pohmel__MkdirRequest message = POHMEL__MKDIR_REQUEST__INIT;
    message.caller = &user;
    message.parent = d;
    message.name = bytes(wb_act_name(act));
    message.object = ++act->last_object;
    message.mode = 0755;
    message.umask = 022;
    return ask(act, PH_CMD_MKDIR, &message, NULL);
}

static struct wb_asked *make_special(struct wb_act *act, uint64_t d)
{
    Pohmel__SymlinkRequest symlink = POHMEL__SYMLINK_REQUEST__INIT;
    Pohmel__MknodRequest mknod = POHMEL__MKNOD_REQUEST__INIT;
    symlink.caller = mknod.caller = &user;
    symlink.parent = mknod.parent = d;
    symlink.name = mknod.name = bytes(wb_act_name(act));
    symlink.object = mknod.object = ++act->last_object;
    symlink.target = bytes("some/where");
    mknod.mode = S_IFIFO | 0644;
    if (below(act, 2))
        return ask(act, PH_CMD_SYMLINK, &symlink, NULL);
    return ask(act, PH_CMD_MKNOD, &mknod, NULL);
}

/* What is called NAME in D, or NULL. */
static const struct wb_node *called(const struct wb_act *act, uint64_t d, const char *name)
{
    const struct wb_node *node = wb_model_node(act->truth, d);
    const struct wb_entry *entry = node != NULL ? g_hash_table_lookup(node->names, name) : NULL;
    return entry != NULL ? wb_model_node(act->truth, entry->id) : NULL;
}

/* NAME in D is likely to be taken away soon, as those that programs give in passing are. */
static void pass(struct wb_act *act, uint64_t d, const char *name)
{
    act->passing_in = d;
    act->passing = name;
}

static struct wb_asked *make_link(struct wb_act *act, uint64_t d)
{
    Pohmel__LinkRequest message = POHMEL__LINK_REQUEST__INIT;
    const char *first = wb_act_name(act);
    const struct wb_node *there = called(act, d, first);
    bool known = there != NULL && S_ISREG(there->mode) && !is_unknown(act, there->id);
    message.caller = &user;
    message.object = known ? there->id : wb_act_object(act, S_IFREG);
    message.parent = d;
    message.name = bytes(wb_act_name(act));
    if (known && below(act, 2))
        pass(act, d, first);
    return message.object != 0 ? ask(act, PH_CMD_LINK, &message, NULL) : NULL;
}

static struct wb_asked *take_away(struct wb_act *act, uint64_t d)
{
    Pohmel__RemoveRequest remove = POHMEL__REMOVE_REQUEST__INIT;
    Pohmel__RmdirRequest rmdir = POHMEL__RMDIR_REQUEST__INIT;
    const char *name = wb_act_name(act);
    if (act->passing != NULL) {
        d = act->passing_in;
        name = act->passing;
        act->passing = NULL;
    }
    remove.caller = rmdir.caller = &user;
    remove.parent = rmdir.parent = d;
    remove.name = rmdir.name = bytes(name);
    const struct wb_node *there = called(act, d, name);
    if (there != NULL && S_ISDIR(there->mode))
        return ask(act, PH_CMD_RMDIR, &rmdir, NULL);
    return ask(act, PH_CMD_REMOVE, &remove, NULL);
}

static struct wb_asked *rename_something(struct wb_act *act, uint64_t d)
{
    Pohmel__RenameRequest message = POHMEL__RENAME_REQUEST__INIT;
    message.caller = &user;
    message.old_parent = d;
    message.old_name = bytes(wb_act_name(act));
    message.new_parent = below(act, 2) ? d : wb_act_object(act, S_IFDIR);
    message.new_name = bytes(wb_act_name(act));
    message.flags = below(act, 5) == 0;
    if (below(act, 3) == 0)
        pass(act, message.new_parent, (const char *) message.new_name.data);
    return ask(act, PH_CMD_RENAME, &message, NULL);
}

/* --- Data and attributes --- */

static struct ph_blob *some_bytes(struct wb_act *act, size_t len)
{
    struct ph_blob *blob = ph_blob_new(len);
    uint8_t first = (uint8_t) (1 + below(act, 255));
    for (size_t i = 0; i < len; i++)
        blob->data[i] = (uint8_t) (first + i * 7);
    blob->len = len;
    return blob;
}

static struct wb_asked *write_some(struct wb_act *act)
{
    Pohmel__WriteRequest message = POHMEL__WRITE_REQUEST__INIT;
    struct wb_act_handle *handle = ready_handle(act);
    if (handle == NULL)
        return NULL;
    message.caller = &user;
    message.object = handle->object;
    message.handle = handle->number;
    message.append = below(act, 4) == 0;
    message.offset = message.append ? 0 : below(act, 4) ? below(act, 3) * 512 : below(act, 20000);
    message.length = below(act, 4) ? 1 + below(act, 1500) : 1 + below(act, 12000);
    handle->users++;
    return ask(act, PH_CMD_WRITE, &message, some_bytes(act, message.length));
}

static struct wb_asked *read_some(struct wb_act *act)
{
    Pohmel__ReadRequest message = POHMEL__READ_REQUEST__INIT;
    struct wb_act_handle *handle = ready_handle(act);
    if (handle == NULL)
        return NULL;
    message.caller = &user;
    message.object = handle->object;
    message.handle = handle->number;
    message.offset = below(act, 2) ? 0 : below(act, 4000);
    message.length = 1 + below(act, 30000);
    handle->users++;
    return ask(act, PH_CMD_READ, &message, NULL);
}

static struct wb_asked *set_attributes(struct wb_act *act)
{
    Pohmel__SetattrRequest message = POHMEL__SETATTR_REQUEST__INIT;
    Pohmel__Time time = POHMEL__TIME__INIT;
    message.caller = &user;
    message.object = wb_act_object(act, 0);
    struct wb_act_handle *handle = NULL;
    switch (below(act, 4)) {
    case 0:
        message.which = SET_MODE;
        message.mode = (below(act, 6) ? 0700 : 0500) | below(act, 0100);
        break;
    case 1:
        message.which = below(act, 2) ? SET_MODIFIED : SET_ACCESSED | SET_MODIFIED;
        time.seconds = 5 + below(act, 900);
        message.accessed = message.which & SET_ACCESSED ? &time : NULL;
        message.modified = &time;
        break;
    case 2:
        message.which = SET_NOW;
        break;
    default:
        handle = below(act, 2) ? ready_handle(act) : NULL;
        message.object = handle != NULL ? handle->object : wb_act_object(act, S_IFREG);
        message.handle = handle != NULL ? handle->number : 0;
        message.which = SET_SIZE;
        message.size = below(act, 3) ? below(act, 3000) : below(act, 3) ? 0 : below(act, 15000);
    }
    if (message.object == 0)
        return NULL;
    if (handle != NULL)
        handle->users++;
    return ask(act, PH_CMD_SETATTR, &message, NULL);
}

/* --- Extended attributes --- */

static struct wb_asked *change_xattr(struct wb_act *act)
{
    static const char *const names[] = {"user.a", "user.b", "trusted.c"};
    Pohmel__SetxattrRequest set = POHMEL__SETXATTR_REQUEST__INIT;
    Pohmel__RemovexattrRequest remove = POHMEL__REMOVEXATTR_REQUEST__INIT;
    struct ph_blob *value = below(act, 6) ? some_bytes(act, 1 + below(act, below(act, 4) ? 40 : 4000)) : NULL;
    uint8_t list[] = {2, 0, 0,   0,   1,   0,   7,    0, 255, 255, 255, 255, 4,   0,
                      0, 0, 255, 255, 255, 255, 0x20, 0, 0,   0,   255, 255, 255, 255};
    set.caller = remove.caller = &user;
    set.object = remove.object = wb_act_object(act, below(act, 3) ? S_IFREG : 0);
    set.name = remove.name = bytes(names[below(act, G_N_ELEMENTS(names))]);
    if (set.object == 0 || below(act, 4) == 0) {
        ph_blob_unref(value);
        return set.object != 0 ? ask(act, PH_CMD_REMOVEXATTR, &remove, NULL) : NULL;
    }
    if (act->alone && below(act, 8) == 0) { /* what others see of the mode meanwhile is either */
        ph_blob_unref(value);
        value = some_bytes(act, sizeof(list));
        list[14] = (uint8_t) below(act, 8);
        list[22] = (uint8_t) below(act, 8);
        memcpy(value->data, list, sizeof(list));
        set.name = bytes("system.posix_acl_access");
    } else {
        set.flags = below(act, 4) ? 0 : 1 + below(act, 2);
    }
    set.length = value != NULL ? (uint32_t) value->len : 0;
    return ask(act, PH_CMD_SETXATTR, &set, value);
}

static struct wb_asked *look_at_xattrs(struct wb_act *act)
{
    static const char *const names[] = {"user.a", "user.b", "trusted.c"};
    Pohmel__GetxattrRequest get = POHMEL__GETXATTR_REQUEST__INIT;
    Pohmel__ListxattrRequest list = POHMEL__LISTXATTR_REQUEST__INIT;
    get.caller = list.caller = &user;
    get.object = list.object = wb_act_object(act, 0);
    get.name = bytes(names[below(act, G_N_ELEMENTS(names))]);
    if (below(act, 3) == 0)
        return ask(act, PH_CMD_LISTXATTR, &list, NULL);
    return ask(act, PH_CMD_GETXATTR, &get, NULL);
}

static struct wb_asked *open_or_close(struct wb_act *act)
{
    Pohmel__OpenRequest open = POHMEL__OPEN_REQUEST__INIT;
    Pohmel__CloseRequest close = POHMEL__CLOSE_REQUEST__INIT;
    struct wb_act_handle *handle = ready_handle(act);
    if (handle != NULL && handle->users == 0 && below(act, 2)) {
        handle->leaving = true;
        close.handle = handle->number;
        close.object = handle->object;
        return ask(act, PH_CMD_CLOSE, &close, NULL);
    }
    uint64_t object = wb_act_object(act, S_IFREG);
    handle = object != 0 ? new_handle(act) : NULL;
    if (handle == NULL)
        return NULL;
    open.caller = &user;
    open.object = object;
    open.handle = handle->number;
    open.access = below(act, 3) ? 3 : 1;
    return ask(act, PH_CMD_OPEN, &open, NULL);
}

/* --- Looking --- */

static struct wb_asked *look(struct wb_act *act, uint64_t d)
{
    Pohmel__LookupRequest lookup = POHMEL__LOOKUP_REQUEST__INIT;
    Pohmel__GetattrRequest getattr = POHMEL__GETATTR_REQUEST__INIT;
    Pohmel__ReaddirRequest readdir = POHMEL__READDIR_REQUEST__INIT;
    Pohmel__ReadlinkRequest readlink = POHMEL__READLINK_REQUEST__INIT;
    ProtobufCBinaryData name = bytes(wb_act_name(act));
    lookup.caller = getattr.caller = readdir.caller = readlink.caller = &user;
    switch (below(act, 4)) {
    case 0:
        getattr.object = wb_act_object(act, 0);
        return ask(act, PH_CMD_GETATTR, &getattr, NULL);
    case 1:
        readdir.object = d;
        readdir.count = 60;
        readdir.bytes_max = 65536;
        readdir.attributes = below(act, 2) > 0;
        return ask(act, PH_CMD_READDIR, &readdir, NULL);
    case 2:
        readlink.object = wb_act_object(act, S_IFLNK);
        if (readlink.object != 0)
            return ask(act, PH_CMD_READLINK, &readlink, NULL);
        /* fall through */
    default:
        lookup.parent = d;
        lookup.n_names = 1;
        lookup.names = &name;
        return ask(act, PH_CMD_LOOKUP, &lookup, NULL);
    }
}

static struct wb_asked *sync_something(struct wb_act *act)
{
    Pohmel__SyncRequest message = POHMEL__SYNC_REQUEST__INIT;
    struct wb_act_handle *handle = below(act, 2) ? ready_handle(act) : NULL;
    message.caller = &user;
    message.object = handle != NULL ? handle->object : wb_act_object(act, 0);
    message.handle = handle != NULL ? handle->number : 0;
    if (handle != NULL)
        handle->users++;
    return ask(act, PH_CMD_SYNC, &message, NULL);
}

struct wb_asked *wb_act(struct wb_act *act)
{
    uint64_t d = wb_act_object(act, S_IFDIR);
    bool room = g_hash_table_size(act->truth->nodes) < NODES_MAX;
    user.uid = user.gid = below(act, 10) == 0 ? 0 : 1000;
    switch (below(act, 26)) {
    case 0:
    case 1:
    case 2:
        return room ? create(act, d) : NULL;
    case 3:
    case 4:
        return room ? make_directory(act, d) : NULL;
    case 5:
        return room ? make_special(act, d) : NULL;
    case 6:
        return make_link(act, d);
    case 7:
    case 8:
        return act->alone ? take_away(act, d) : NULL;
    case 9:
    case 10:
        return act->alone ? rename_something(act, d) : NULL;
    case 11:
    case 12:
    case 13:
        return write_some(act);
    case 14:
        return read_some(act);
    case 15:
        return set_attributes(act);
    case 16:
        return open_or_close(act);
    case 17:
        return sync_something(act);
    case 18:
    case 19:
        return change_xattr(act);
    case 20:
    case 21:
        return change_xattr(act);
    case 22:
    case 23:
        return look_at_xattrs(act);
    default:
        return look(act, d);
    }
}

/* --- In words --- */

static void say_field(GString *out, const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    const void *at = (const char *) message + field->offset;
    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        return;
    if (field->type == PROTOBUF_C_TYPE_UINT64 && *(const uint64_t *) at != 0)
        g_string_append_printf(out, " %s=%" G_GUINT64_FORMAT, field->name, *(const uint64_t *) at);
    else if (field->type == PROTOBUF_C_TYPE_UINT32 && *(const uint32_t *) at != 0)
        g_string_append_printf(out, " %s=%u", field->name, *(const uint32_t *) at);
    else if (field->type == PROTOBUF_C_TYPE_BOOL && *(const protobuf_c_boolean *) at)
        g_string_append_printf(out, " %s", field->name);
    else if (field->type == PROTOBUF_C_TYPE_BYTES)
        g_string_append_printf(out, " %s=\"%.*s\"", field->name,
                               (int) ((const ProtobufCBinaryData *) at)->len,
                               ((const ProtobufCBinaryData *) at)->data);
}

char *wb_act_words(uint16_t command, const ProtobufCMessage *message)
{
    GString *out = g_string_new(ph_command_info(command)->name);
    if (command == PH_CMD_LOOKUP)
        g_string_append_printf(out, " \"%.*s\"",
                               (int) ((const Pohmel__LookupRequest *) message)->names[0].len,
                               ((const Pohmel__LookupRequest *) message)->names[0].data);
    if (command == PH_CMD_LEASE_RELEASE)
        for (size_t i = 0; i < ((const Pohmel__LeaseReleaseRequest *) message)->n_leases; i++)
            g_string_append_printf(out, " %" G_GUINT64_FORMAT,
                                   ((const Pohmel__LeaseReleaseRequest *) message)->leases[i]);
    for (unsigned i = 0; i < message->descriptor->n_fields; i++)
        say_field(out, message, &message->descriptor->fields[i]);
    return g_string_free(out, FALSE);
}
