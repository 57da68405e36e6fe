/* What a command needs before it can be sent to the server, and what it changes there: commands that are
 * not answered here see, and leave behind, the state of the server. */
#include <string.h>

#include "client/core/wb_private.h"
#include "client/core/wb_xattr.h"
#include "ph_commands.h"

static void about(struct ph_wb *wb, struct wb_need *need, uint64_t object)
{
    struct wb_object *o = wb_find(wb, object);
    if (o != NULL && need->about_count < WB_CALL_OBJECTS)
        need->about[need->about_count++] = o;
}

/* It is enough that the server knows OBJECT. */
static void to_be_born(struct ph_wb *wb, struct wb_need *need, uint64_t object)
{
    const struct wb_object *o = wb_find(wb, object);
    if (o != NULL && !o->born)
        about(wb, need, object);
}

static void whole(struct ph_wb *wb, struct wb_need *need, uint64_t directory)
{
    struct wb_object *o = wb_find(wb, directory);
    if (o != NULL && need->whole_count < 2)
        need->whole[need->whole_count++] = o;
}

static void changes(struct ph_wb *wb, struct wb_need *need, uint64_t object)
{
    about(wb, need, object);
    if (object != 0 && need->change_count < WB_CALL_OBJECTS)
        need->changes[need->change_count++] = object;
}

static void handle(struct wb_need *need, int which, uint64_t handle)
{
    need->handles[which] = handle;
}

/* What NAME in DIRECTORY stands for, as far as it is known; what is under way about it is written back. */
static uint64_t name(struct ph_wb *wb, struct wb_need *need, uint64_t directory,
                     const ProtobufCBinaryData *bytes)
{
    struct wb_object *d = wb_find(wb, directory);
    about(wb, need, directory);
    struct ph_wb_name *entry =
        d != NULL && d->names != NULL ? ph_wb_names_find(d->names, bytes->data, bytes->len) : NULL;
    if (entry == NULL)
        return 0;
    if (entry->op != NULL && need->op_count < 4)
        need->ops[need->op_count++] = entry->op;
    return entry->object != PH_WB_UNKNOWN ? entry->object : 0;
}

static bool is_absent(struct ph_wb *wb, uint64_t directory, const ProtobufCBinaryData *bytes)
{
    uint64_t object;
    const struct wb_object *d = wb_find(wb, directory);
    return d != NULL && d->names != NULL &&
           ph_wb_names_lookup(d->names, bytes->data, bytes->len, &object) == PH_WB_NAME_ABSENT;
}

static void change_name(struct ph_wb *wb, struct wb_need *need, uint64_t directory,
                        const ProtobufCBinaryData *bytes, bool target)
{
    uint64_t object = name(wb, need, directory, bytes);
    changes(wb, need, directory);
    need->wants[need->wants[0] != 0] = directory;
    need->names[need->name_count].directory = directory;
    need->names[need->name_count++].name = *bytes;
    if (target && object != 0) {
        changes(wb, need, object);
        whole(wb, need, object);
    }
    /* What it stands for may be dirty, by whatever name that happened. */
    if (target && object == 0 && !is_absent(wb, directory, bytes))
        need->all = true;
}

static void need_name_change(struct ph_wb *wb, const struct ph_wb_call *call, struct wb_need *need)
{
    const void *message = call->message;
    const Pohmel__RenameRequest *rename = message;
    switch (call->command) {
    case PH_CMD_CREATE:
        change_name(wb, need, ((const Pohmel__CreateRequest *) message)->parent,
                    &((const Pohmel__CreateRequest *) message)->name,
                    ((const Pohmel__CreateRequest *) message)->truncate);
        break;
    case PH_CMD_MKDIR:
        change_name(wb, need, ((const Pohmel__MkdirRequest *) message)->parent,
                    &((const Pohmel__MkdirRequest *) message)->name, false);
        break;
    case PH_CMD_SYMLINK:
        change_name(wb, need, ((const Pohmel__SymlinkRequest *) message)->parent,
                    &((const Pohmel__SymlinkRequest *) message)->name, false);
        break;
    case PH_CMD_MKNOD:
        change_name(wb, need, ((const Pohmel__MknodRequest *) message)->parent,
                    &((const Pohmel__MknodRequest *) message)->name, false);
        break;
    case PH_CMD_LINK:
        changes(wb, need, ((const Pohmel__LinkRequest *) message)->object);
        change_name(wb, need, ((const Pohmel__LinkRequest *) message)->parent,
                    &((const Pohmel__LinkRequest *) message)->name, false);
        break;
    case PH_CMD_REMOVE:
        change_name(wb, need, ((const Pohmel__RemoveRequest *) message)->parent,
                    &((const Pohmel__RemoveRequest *) message)->name, true);
        break;
    case PH_CMD_RMDIR:
        change_name(wb, need, ((const Pohmel__RmdirRequest *) message)->parent,
                    &((const Pohmel__RmdirRequest *) message)->name, true);
        break;
    case PH_CMD_RENAME:
        change_name(wb, need, rename->old_parent, &rename->old_name, true);
        change_name(wb, need, rename->new_parent, &rename->new_name, true);
        break;
    default: /* MKPATH, RMTREE, several changes: what they concern cannot be listed */
        need->all = true;
    }
}

static void need_change(struct ph_wb *wb, const struct ph_wb_call *call, struct wb_need *need)
{
    const void *message = call->message;
    const Pohmel__CopyRequest *copy = message;
    switch (call->command) {
    case PH_CMD_TMPFILE:
        about(wb, need, ((const Pohmel__TmpfileRequest *) message)->parent);
        break;
    case PH_CMD_SETATTR:
        changes(wb, need, ((const Pohmel__SetattrRequest *) message)->object);
        whole(wb, need, ((const Pohmel__SetattrRequest *) message)->object);
        handle(need, 0, ((const Pohmel__SetattrRequest *) message)->handle);
        break;
    case PH_CMD_WRITE:
        changes(wb, need, ((const Pohmel__WriteRequest *) message)->object);
        need->wants[0] = ((const Pohmel__WriteRequest *) message)->object;
        handle(need, 0, ((const Pohmel__WriteRequest *) message)->handle);
        break;
    case PH_CMD_ALLOCATE:
        changes(wb, need, ((const Pohmel__AllocateRequest *) message)->object);
        handle(need, 0, ((const Pohmel__AllocateRequest *) message)->handle);
        break;
    case PH_CMD_COPY:
        about(wb, need, copy->source);
        changes(wb, need, copy->target);
        handle(need, 0, copy->source_handle);
        handle(need, 1, copy->target_handle);
        break;
    case PH_CMD_SETXATTR:
        changes(wb, need, ((const Pohmel__SetxattrRequest *) message)->object);
        break;
    case PH_CMD_REMOVEXATTR:
        changes(wb, need, ((const Pohmel__RemovexattrRequest *) message)->object);
        break;
    default:
        need_name_change(wb, call, need);
    }
}

/* Locks and leases need the object, not what was done to it. */
static void need_existence(struct ph_wb *wb, const struct ph_wb_call *call, struct wb_need *need)
{
    const void *message = call->message;
    switch (call->command) {
    case PH_CMD_LOCK:
        to_be_born(wb, need, ((const Pohmel__LockRequest *) message)->object);
        handle(need, 0, ((const Pohmel__LockRequest *) message)->handle);
        break;
    case PH_CMD_UNLOCK:
        to_be_born(wb, need, ((const Pohmel__UnlockRequest *) message)->object);
        break;
    case PH_CMD_LOCK_TEST:
        to_be_born(wb, need, ((const Pohmel__LockTestRequest *) message)->object);
        break;
    case PH_CMD_LEASE_ACQUIRE:
        to_be_born(wb, need, ((const Pohmel__LeaseAcquireRequest *) message)->object);
        break;
    default:
        break;
    }
}

static void need_lookup(struct ph_wb *wb, const Pohmel__LookupRequest *lookup, struct wb_need *need)
{
    uint64_t object = name(wb, need, lookup->parent, &lookup->names[0]);
    const struct wb_object *o = wb_find(wb, object);
    need->all = lookup->n_names > 1;
    about(wb, need, object);
    /* Its attributes are the server's, which has to know what happened in it. */
    if (o != NULL && o->stale)
        whole(wb, need, object);
}

/* Attributes of users are not touched by what is done to the rest of a file. */
static void need_xattr(struct ph_wb *wb, const Pohmel__GetxattrRequest *request, struct wb_need *need)
{
    const struct wb_object *o = wb_find(wb, request->object);
    bool by_itself = wb_xattr_space_of(&request->name) & (WB_XATTR_USER | WB_XATTR_TRUSTED);
    for (size_t i = 0; o != NULL && i < o->op_count; i++) /* who may read them is in the mode */
        by_itself = by_itself && !(o->ops[i]->which & (PH_SET_MODE | PH_SET_UID | PH_SET_GID));
    if (o != NULL && by_itself && !wb_xattrs_dirty(o) && o->plain)
        to_be_born(wb, need, request->object);
    else
        about(wb, need, request->object);
}

void wb_need(struct ph_wb *wb, const struct ph_wb_call *call, struct wb_need *need)
{
    const void *message = call->message;
    const Pohmel__SyncRequest *sync = message;
    if (call->outer == PH_CMD_TRANSACT) {
        need_change(wb, call, need);
        /* What is dirty has been promised its space. */
        if (call->command == PH_CMD_WRITE && wb->charged_bytes > 0 && wb->space_known &&
            ((const Pohmel__WriteRequest *) message)->length > wb_space_left(wb))
            need->all = true;
        /* What was removed here, and not there yet, would make room. */
        if (wb_quota_crowds(wb, call) ||
            (wb->space_short && (call->command == PH_CMD_WRITE || call->command == PH_CMD_CREATE ||
                                 call->command == PH_CMD_SETXATTR)))
            need->all = true;
        return;
    }
    switch (call->command) {
    case PH_CMD_LOOKUP:
        need_lookup(wb, message, need);
        break;
    case PH_CMD_GETATTR:
        about(wb, need, ((const Pohmel__GetattrRequest *) message)->object);
        whole(wb, need, ((const Pohmel__GetattrRequest *) message)->object);
        handle(need, 0, ((const Pohmel__GetattrRequest *) message)->handle);
        break;
    case PH_CMD_READLINK:
        about(wb, need, ((const Pohmel__ReadlinkRequest *) message)->object);
        break;
    case PH_CMD_ACCESS:
        about(wb, need, ((const Pohmel__AccessRequest *) message)->object);
        break;
    case PH_CMD_READDIR:
        about(wb, need, ((const Pohmel__ReaddirRequest *) message)->object);
        whole(wb, need, ((const Pohmel__ReaddirRequest *) message)->object);
        handle(need, 0, ((const Pohmel__ReaddirRequest *) message)->handle);
        break;
    case PH_CMD_OPEN:
        about(wb, need, ((const Pohmel__OpenRequest *) message)->object);
        break;
    case PH_CMD_READ:
        about(wb, need, ((const Pohmel__ReadRequest *) message)->object);
        handle(need, 0, ((const Pohmel__ReadRequest *) message)->handle);
        break;
    case PH_CMD_SEEK:
        about(wb, need, ((const Pohmel__SeekRequest *) message)->object);
        handle(need, 0, ((const Pohmel__SeekRequest *) message)->handle);
        break;
    case PH_CMD_GETXATTR:
        need_xattr(wb, message, need);
        break;
    case PH_CMD_LISTXATTR:
        about(wb, need, ((const Pohmel__ListxattrRequest *) message)->object);
        break;
    case PH_CMD_SYNC:
        about(wb, need, sync->object);
        whole(wb, need, sync->object);
        handle(need, 0, sync->handle);
        need->all = sync->tree;
        break;
    default:
        need_existence(wb, call, need);
    }
}
