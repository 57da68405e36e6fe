/* New objects and names, made here. */
#include <stdlib.h>
#include <string.h>

#include "client/core/may.h"
#include "client/core/wb_private.h"
#include "ph_commands.h"

enum { BLOCK_BYTES = 512, DIRECTORY_BYTES = 4096, SMALLEST_TRANSFER_BYTES = 4096, NAMES_AT_MOST = 255 };

/* What a command asks to be made. */
struct making {
    const Pohmel__Caller *caller;
    uint64_t parent, object, device;
    ProtobufCBinaryData name;
    uint32_t mode, umask; /* mode with the type */
    const ProtobufCBinaryData *target;
    uint64_t handle;
    uint32_t access;
    bool exclusive;
};

static void what(const struct ph_wb_call *call, struct making *out)
{
    const void *message = call->message;
    const Pohmel__CreateRequest *create = message;
    const Pohmel__MkdirRequest *mkdir = message;
    const Pohmel__SymlinkRequest *symlink = message;
    const Pohmel__MknodRequest *mknod = message;
    if (call->command == PH_CMD_CREATE)
        *out = (struct making){create->caller, create->parent,         create->object,   0,
                               create->name,   S_IFREG | create->mode, create->umask,    NULL,
                               create->handle, create->access,         create->exclusive};
    else if (call->command == PH_CMD_MKDIR)
        *out = (struct making){mkdir->caller,
                               mkdir->parent,
                               mkdir->object,
                               0,
                               mkdir->name,
                               S_IFDIR | mkdir->mode,
                               mkdir->umask,
                               NULL,
                               0,
                               0,
                               true};
    else if (call->command == PH_CMD_SYMLINK)
        *out = (struct making){symlink->caller,
                               symlink->parent,
                               symlink->object,
                               0,
                               symlink->name,
                               S_IFLNK | 0777,
                               0,
                               &symlink->target,
                               0,
                               0,
                               true};
    else
        *out = (struct making){mknod->caller,
                               mknod->parent,
                               mknod->object,
                               mknod->device,
                               mknod->name,
                               mknod->mode,
                               mknod->umask,
                               NULL,
                               0,
                               0,
                               true};
}

/* The directory, if NAME can be made in it here. */
static struct wb_object *place(struct ph_wb *wb, const Pohmel__Caller *caller, uint64_t parent,
                               const ProtobufCBinaryData *name, const struct ph_wb_now *now)
{
    uint64_t object;
    struct wb_object *d = wb_find(wb, parent);
    if (!wb_holds(wb, d, now) || d->names == NULL || !d->plain || !S_ISDIR(d->attr.mode) ||
        d->attr.links == 0 || name->len > NAMES_AT_MOST ||
        ph_may_access(caller, d->attr.mode, d->attr.uid, d->attr.gid, d->plain,
                      PH_MAY_WRITE | PH_MAY_EXECUTE) != PH_MAY_YES)
        return NULL;
    return ph_wb_names_lookup(d->names, name->data, name->len, &object) == PH_WB_NAME_ABSENT ? d : NULL;
}

/* As the server's kernel would make it. */
static void first_attr(struct wb_object *o, const struct making *making, const struct wb_object *d,
                       const struct ph_wb_now *now)
{
    struct ph_cached_attr *attr = &o->attr;
    bool directory = S_ISDIR(making->mode);
    *attr = (struct ph_cached_attr){
        .object = making->object,
        .mode = S_ISLNK(making->mode) ? making->mode : making->mode & ~making->umask,
        .links = directory ? 2 : 1,
        .uid = making->caller->uid,
        .gid = d->attr.mode & S_ISGID ? d->attr.gid : making->caller->gid,
        .size = directory                ? DIRECTORY_BYTES
                : making->target != NULL ? making->target->len
                                         : 0,
        .block_size = d->attr.block_size > 0 ? d->attr.block_size : SMALLEST_TRANSFER_BYTES,
        .device = making->device,
        .accessed = now->real,
        .modified = now->real,
        .changed = now->real,
        .created = now->real,
        .has_created = d->attr.has_created,
        .version = 1,
    };
    if (directory)
        attr->blocks = DIRECTORY_BYTES / BLOCK_BYTES;
    if (directory && d->attr.mode & S_ISGID)
        attr->mode |= S_ISGID;
    o->known = true;
    o->plain = true;
}

static struct wb_object *new_object(struct ph_wb *wb, const struct making *making, struct wb_object *d,
                                    const struct ph_wb_now *now)
{
    struct wb_object *o = wb_object(wb, making->object);
    o->born = false;
    o->exclusive = true;
    o->learned = wb->clock;
    o->xattrs_whole = true;
    first_attr(o, making, d, now);
    wb->last_lease = wb->last_lease % PH_LEASE_OWN_MAX + 1;
    wb_set_lease(wb, o, wb->last_lease);
    if (S_ISDIR(making->mode)) {
        o->names = ph_wb_names_new();
        ph_wb_names_set_whole(o->names, true);
    }
    return o;
}

static void log_making(struct ph_wb *wb, const struct ph_wb_call *call, const struct making *making,
                       struct wb_object *o, struct wb_object *d, const struct ph_wb_now *now)
{
    struct wb_op *op = wb_op_new(wb, WB_MAKE, wb_caller(wb, making->caller), now->ms);
    op->command = call->command;
    op->mode = making->mode;
    op->umask = making->umask;
    op->device = making->device;
    if (making->target != NULL) {
        op->target = wb_alloc(making->target->len + 1);
        memcpy(op->target, making->target->data, making->target->len);
    }
    wb_op_about(wb, op, o);
    wb_op_in(wb, op, d, making->name.data, making->name.len);
    wb_op_append(wb, op);
    wb_owe_of(wb, op, &o->attr, wb_charge(wb, op, 0, 1, UINT64_MAX), 1);
    wb_owe_of(wb, op, &d->attr, WB_BLOCK_BYTES, 0); /* the directory may grow */
    ph_wb_names_put(d->names, making->name.data, making->name.len, making->object);
    if (S_ISDIR(making->mode)) {
        d->attr.links++;
        o->touched = true;
    } else if (!S_ISREG(making->mode)) {
        wb_state(wb, o, making->caller, now->ms)->which |= PH_SET_MODIFIED;
    }
    wb_changed(d, now, true);
}

static void answer_made(struct ph_wb *wb, struct ph_wb_call *call, const struct wb_object *o,
                        struct ph_wb_actions *actions)
{
    struct ph_wb_answer *answer = wb_answer_attr(o);
    if (call->command == PH_CMD_CREATE) {
        pohmel__create_result__init(&answer->message.create);
        answer->message.create.attr = answer->found[0];
        answer->message.create.created = true;
    } else {
        pohmel__attr_result__init(&answer->message.attr);
        answer->message.attr.attr = answer->found[0];
    }
    wb_answer(wb, call, answer, NULL, actions);
}

/* Subtle bits are left to the server: what set-id bits become, and special files that need privileges. */
static bool is_simple(const struct making *making)
{
    if (making->mode & (S_ISUID | S_ISGID | S_ISVTX))
        return false;
    return !S_ISBLK(making->mode) && !S_ISCHR(making->mode);
}

/* The object is charged to its owner, a block that the directory may grow by to that one's. */
static bool may_owe(struct ph_wb *wb, const struct making *making, const struct wb_object *d,
                    const struct ph_wb_now *now, struct ph_wb_actions *actions)
{
    struct wb_due dues[WB_DUES] = {
        {.uid = making->caller->uid,
         .gid = d->attr.mode & S_ISGID ? d->attr.gid : making->caller->gid,
         .bytes = WB_OBJECT_BYTES,
         .objects = 1},
        {.uid = d->attr.uid, .gid = d->attr.gid, .bytes = WB_BLOCK_BYTES},
    };
    return wb_quota(wb, dues, WB_DUES, now, actions);
}

bool wb_local_make(struct ph_wb *wb, struct ph_wb_call *call, const struct ph_wb_now *now,
                   struct ph_wb_actions *actions)
{
    struct making making;
    what(call, &making);
    struct wb_object *d = place(wb, making.caller, making.parent, &making.name, now);
    if (d == NULL || !is_simple(&making) || wb_find(wb, making.object) != NULL ||
        !wb_space(wb, 0, 1, now, actions) || !may_owe(wb, &making, d, now, actions))
        return false;
    struct wb_object *o = new_object(wb, &making, d, now);
    log_making(wb, call, &making, o, d, now);
    if (making.handle != 0)
        wb_handle_add(wb, o, making.handle, making.access, making.caller);
    answer_made(wb, call, o, actions);
    if (S_ISDIR(making.mode))
        wb_action(actions, PH_WB_WHOLE)->object = making.object;
    return true;
}

bool wb_local_link(struct ph_wb *wb, struct ph_wb_call *call, const struct ph_wb_now *now,
                   struct ph_wb_actions *actions)
{
    const Pohmel__LinkRequest *request = (const Pohmel__LinkRequest *) call->message;
    struct wb_object *o = wb_find(wb, request->object);
    struct wb_object *d = place(wb, request->caller, request->parent, &request->name, now);
    /* A removal that was sent on without knowing what it takes away may have left nothing of it. */
    bool unsure = o != NULL && !wb_links_known(wb, o);
    if (d == NULL || unsure || !wb_writable(wb, o, now) || S_ISDIR(o->attr.mode) || o->attr.links == 0 ||
        !o->plain || o->attr.links >= WB_LINKS_MAX || !wb_space(wb, WB_BLOCK_BYTES, 0, now, actions) ||
        !wb_quota_of(wb, &d->attr, WB_BLOCK_BYTES, 0, now, actions))
        return false;
    struct wb_op *op = wb_op_new(wb, WB_LINK, wb_caller(wb, request->caller), now->ms);
    wb_op_about(wb, op, o);
    wb_op_in(wb, op, d, request->name.data, request->name.len);
    wb_op_append(wb, op);
    wb_owe_of(wb, op, &d->attr, wb_charge(wb, op, WB_BLOCK_BYTES, 0, WB_BLOCK_BYTES), 0);
    ph_wb_names_put(d->names, request->name.data, request->name.len, request->object);
    o->attr.links++;
    wb_changed(o, now, false);
    wb_changed(d, now, true);
    answer_made(wb, call, o, actions);
    return true;
}
