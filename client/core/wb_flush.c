/* Operations on their way to the server: each becomes a command as soon as it is due and nothing that it
 * depends on is left. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/core/wb_owned.h"
#include "client/core/wb_private.h"
#include "client/core/wb_range.h"
#include "client/core/wb_xattr.h"
#include "ph_commands.h"
#include "runtime/wire/command.h"

static ProtobufCBinaryData bytes(const char *text, size_t len)
{
    return (ProtobufCBinaryData){.len = len, .data = (uint8_t *) text};
}

void wb_time_to_wire(const struct ph_cached_time *from, Pohmel__Time *to)
{
    pohmel__time__init(to);
    to->seconds = from->seconds;
    to->nanoseconds = from->nanoseconds;
}

struct ph_wb_call *wb_op_call(struct ph_wb *wb, struct wb_op *op, enum wb_step step)
{
    struct ph_wb_call *call = wb_call_new(wb, WB_CALL_OP);
    call->op = op;
    call->clock = wb->clock;
    op->refs++;
    op->sent = true;
    op->step = step;
    call->step = step;
    call->outgoing = wb_alloc(sizeof(*call->outgoing));
    return call;
}

void wb_op_send(struct ph_wb *wb, struct ph_wb_call *call, uint16_t command, struct ph_wb_actions *actions)
{
    struct wb_outgoing *out = call->outgoing;
    const struct ph_command_info *info = ph_command_info(command);
    const ProtobufCMessage *message = &out->message.create.base;
    if (info->effect == PH_EFFECT_CHANGES) {
        pohmel__transact_request__init(&out->transact);
        pohmel__change__init(&out->change);
        out->change.command_case = (Pohmel__Change__CommandCase) command;
        out->change.create = &out->message.create;
        out->changes[0] = &out->change;
        out->transact.n_changes = 1;
        out->transact.changes = out->changes;
        message = &out->transact.base;
        command = PH_CMD_TRANSACT;
    }
    call->op->outstanding++;
    wb->in_flight++;
    wb->counters.sent++;
    wb_send(wb, call, command, message, actions);
}

/* --- One operation --- */

static void send_create(struct ph_wb *wb, struct wb_op *op, struct ph_wb_actions *actions)
{
    struct ph_wb_call *call = wb_op_call(wb, op, WB_STEP_START);
    struct wb_object *o = op->objects[0];
    Pohmel__CreateRequest *create = &call->outgoing->message.create;
    pohmel__create_request__init(create);
    create->caller = &op->caller->caller;
    create->parent = op->dirs[0].directory->lru.key;
    create->name = bytes(op->names[0], op->lens[0]);
    create->object = o->lru.key;
    create->mode = op->mode & 07777;
    create->umask = op->umask;
    create->exclusive = true;
    struct wb_op *next = o->op_count > 1 ? o->ops[1] : NULL;
    if (next != NULL && next->kind == WB_STATE && !next->sent && next->blockers == 1 &&
        wb_state_fold(wb, op, next, call)) {
        op->folded = next;
        next->refs++;
        next->sent = true;
        wb->counters.merged++;
    } else {
        Pohmel__NewAttributes *attributes = &call->outgoing->attributes;
        pohmel__new_attributes__init(attributes);
        attributes->which = PH_SET_MODIFIED;
        wb_time_to_wire(&o->attr.modified, &call->outgoing->modified);
        attributes->modified = &call->outgoing->modified;
        create->attributes = attributes;
    }
    wb_op_send(wb, call, PH_CMD_CREATE, actions);
}

static void send_make(struct ph_wb *wb, struct wb_op *op, struct ph_wb_actions *actions)
{
    if (op->command == PH_CMD_CREATE) {
        send_create(wb, op, actions);
        return;
    }
    struct ph_wb_call *call = wb_op_call(wb, op, WB_STEP_START);
    struct wb_outgoing *out = call->outgoing;
    uint64_t parent = op->dirs[0].directory->lru.key, object = op->objects[0]->lru.key;
    ProtobufCBinaryData name = bytes(op->names[0], op->lens[0]);
    if (op->command == PH_CMD_MKDIR) {
        pohmel__mkdir_request__init(&out->message.mkdir);
        out->message.mkdir.caller = &op->caller->caller;
        out->message.mkdir.parent = parent;
        out->message.mkdir.name = name;
        out->message.mkdir.object = object;
        out->message.mkdir.mode = op->mode & 07777;
        out->message.mkdir.umask = op->umask;
    } else if (op->command == PH_CMD_SYMLINK) {
        pohmel__symlink_request__init(&out->message.symlink);
        out->message.symlink.caller = &op->caller->caller;
        out->message.symlink.parent = parent;
        out->message.symlink.name = name;
        out->message.symlink.object = object;
        out->message.symlink.target = bytes(op->target, strlen(op->target));
    } else {
        pohmel__mknod_request__init(&out->message.mknod);
        out->message.mknod.caller = &op->caller->caller;
        out->message.mknod.parent = parent;
        out->message.mknod.name = name;
        out->message.mknod.object = object;
        out->message.mknod.mode = op->mode;
        out->message.mknod.umask = op->umask;
        out->message.mknod.device = op->device;
    }
    wb_op_send(wb, call, op->command, actions);
}

static void send_name(struct ph_wb *wb, struct wb_op *op, struct ph_wb_actions *actions)
{
    static const uint16_t commands[] = {[WB_LINK] = PH_CMD_LINK,
                                        [WB_REMOVE] = PH_CMD_REMOVE,
                                        [WB_RMDIR] = PH_CMD_RMDIR,
                                        [WB_RENAME] = PH_CMD_RENAME};
    struct ph_wb_call *call = wb_op_call(wb, op, WB_STEP_START);
    struct wb_outgoing *out = call->outgoing;
    uint64_t parent = op->dirs[0].directory->lru.key, object = op->objects[0]->lru.key;
    ProtobufCBinaryData name = bytes(op->names[0], op->lens[0]);
    if (op->kind == WB_LINK) {
        pohmel__link_request__init(&out->message.link);
        out->message.link.caller = &op->caller->caller;
        out->message.link.object = object;
        out->message.link.parent = parent;
        out->message.link.name = name;
    } else if (op->kind == WB_REMOVE) {
        pohmel__remove_request__init(&out->message.remove);
        out->message.remove.caller = &op->caller->caller;
        out->message.remove.parent = parent;
        out->message.remove.name = name;
        out->message.remove.object = object;
    } else if (op->kind == WB_RMDIR) {
        pohmel__rmdir_request__init(&out->message.rmdir);
        out->message.rmdir.caller = &op->caller->caller;
        out->message.rmdir.parent = parent;
        out->message.rmdir.name = name;
        out->message.rmdir.object = object;
    } else {
        Pohmel__RenameRequest *rename = &out->message.rename;
        pohmel__rename_request__init(rename);
        rename->caller = &op->caller->caller;
        rename->old_parent = parent;
        rename->old_name = name;
        rename->new_parent = op->dirs[1].directory->lru.key;
        rename->new_name = bytes(op->names[1], op->lens[1]);
        /* The name was free under a lease that may have been somebody else's since. */
        rename->flags = op->flags | (op->later && op->objects[1] == NULL ? WB_NO_REPLACE : 0);
        rename->object = object;
        rename->replaced = op->objects[1] != NULL ? op->objects[1]->lru.key : 0;
    }
    wb_op_send(wb, call, commands[op->kind], actions);
}

static void send_open(struct ph_wb *wb, struct wb_op *op, struct ph_wb_actions *actions)
{
    struct ph_wb_call *call = wb_op_call(wb, op, WB_STEP_START);
    Pohmel__OpenRequest *open = &call->outgoing->message.open;
    pohmel__open_request__init(open);
    open->caller = &op->caller->caller;
    open->object = op->objects[0]->lru.key;
    open->handle = op->handle;
    open->access = op->access;
    open->reopen = true;
    wb_op_send(wb, call, PH_CMD_OPEN, actions);
}

/* What OP takes away; when that is not there, it may have been done in an earlier session. */
static const struct wb_object *goes_by(const struct wb_op *op)
{
    if (op->kind == WB_REMOVE || op->kind == WB_RMDIR)
        return op->objects[0];
    return op->kind == WB_RENAME ? op->objects[1] : NULL;
}

/* Operations go under leases that the session holds: a new session has to get them first. */
static bool may_go(struct ph_wb *wb, struct wb_op *op, const struct ph_wb_now *now,
                   struct ph_wb_actions *actions, uint32_t *status)
{
    struct wb_object *all[] = {op->objects[0], op->objects[1], op->dirs[0].directory, op->dirs[1].directory};
    bool goes = true;
    *status = op->status;
    for (int i = 0; i < 4; i++) {
        struct wb_object *o = all[i];
        if (o != NULL && o->dead && !(op->uncertain && o == goes_by(op)))
            *status = PH_ST_STALE;
        /* Whoever opens a file changes nothing, and ranges have leases of their own. */
        if (o != NULL && op->kind != WB_OPEN && op->kind != WB_RANGE && wb->write_back && o->born &&
            !o->exclusive && !o->unleased && !o->dead) {
            wb_mark(wb, o->lru.key)->hot_until_ms = 0;
            wb_want(wb, o->lru.key, now, actions);
            goes = false;
        }
    }
    return goes;
}

static void start(struct ph_wb *wb, struct wb_op *op, const struct ph_wb_now *now,
                  struct ph_wb_actions *actions)
{
    uint32_t status;
    bool goes = may_go(wb, op, now, actions, &status);
    if (status != PH_ST_OK) {
        wb_op_finish(wb, op, status, now, actions);
        return;
    }
    if (!goes) {
        wb_op_stall(wb, op);
        return;
    }
    switch (op->kind) {
    case WB_MAKE:
        send_make(wb, op, actions);
        break;
    case WB_STATE:
        wb_state_start(wb, op, now, actions);
        break;
    case WB_OPEN:
        send_open(wb, op, actions);
        break;
    case WB_RANGE:
        wb_range_start(wb, op, now, actions);
        break;
    case WB_XATTR:
        wb_xattr_send(wb, op, actions);
        break;
    default:
        send_name(wb, op, actions);
    }
}

void wb_pump(struct ph_wb *wb, const struct ph_wb_now *now, struct ph_wb_actions *actions)
{
    while (wb->open && !wb->owned->again && wb->in_flight < wb->config.in_flight_max) {
        struct wb_op *op = wb_op_next_ready(wb);
        if (op == NULL)
            return;
        start(wb, op, now, actions);
    }
}

/* --- What became of it --- */

/* What was done in O in its order has been sent; its time of change is the server's by now, not that at
 * which it was done here. */
static void tell_time(struct ph_wb *wb, struct wb_object *o, uint64_t now_ms)
{
    if (o == NULL || !o->touched || !o->born || o->dead || !o->exclusive || o->op_count > 0 ||
        o->children.next != &o->children || !S_ISDIR(o->attr.mode) || o->attr.links == 0)
        return;
    Pohmel__Caller owner = POHMEL__CALLER__INIT;
    owner.uid = o->attr.uid;
    owner.gid = o->attr.gid;
    wb_op_due(wb, wb_state(wb, o, &owner, now_ms));
}

/* What was opened here is opened at the server as soon as the server has all of it: whoever has a file open
 * keeps it, also when it is removed behind the server's back. */
static void open_there(struct ph_wb *wb, struct wb_object *o, uint64_t now_ms)
{
    if (o->op_count > 0 || !o->born || o->dead)
        return;
    for (struct wb_handle *handle = o->handles; handle != NULL; handle = handle->next)
        if (!handle->open && handle->op == NULL)
            wb_op_due(wb, wb_handle_open(wb, handle, now_ms));
}

static void opened(struct ph_wb *wb, struct wb_op *op, uint32_t status, struct ph_wb_actions *actions)
{
    struct ph_lru_entry *entry = ph_lru_find(&wb->handles, op->handle);
    struct wb_handle *handle = entry != NULL ? WB_OF(entry, struct wb_handle, lru) : NULL;
    if (handle == NULL)
        return;
    handle->op = NULL;
    handle->open = status == PH_ST_OK;
    handle->refused = !handle->open;
    if (!handle->closing)
        return;
    if (handle->open)
        wb_close(wb, handle->lru.key, op->objects[0]->lru.key, actions);
    wb_handle_free(wb, handle);
}

void wb_op_finish(struct ph_wb *wb, struct wb_op *op, uint32_t status, const struct ph_wb_now *now,
                  struct ph_wb_actions *actions)
{
    struct ph_wb_call *resume = NULL;
    enum wb_op_kind op_kind = op->kind; /* the operation may be gone when it is done */
    struct wb_object *o = op->objects[0], *dirs[] = {op->dirs[0].directory, op->dirs[1].directory, o};
    for (int i = 0; i < 2; i++)
        if (dirs[i] != NULL)
            dirs[i]->pins++;
    if (op->kind == WB_OPEN)
        opened(wb, op, status, actions);
    if (status == PH_ST_STALE && wb_op_is_needless(wb, op))
        status = PH_ST_OK;
    if (status != PH_ST_OK)
        wb_op_failed(wb, op, status, actions);
    o->pins++;
    wb_op_done(wb, op, status, &resume);
    for (int i = 0; i < 3; i++)
        tell_time(wb, dirs[i], now->ms);
    if (op_kind != WB_OPEN)
        open_there(wb, o, now->ms);
    for (int i = 0; i < 2; i++)
        if (dirs[i] != NULL)
            wb_unpin(wb, dirs[i]);
    if (o->op_count == 0 && o->data != NULL && ph_wb_data_bytes(o->data) == 0) {
        ph_wb_data_free(o->data);
        o->data = NULL;
    }
    wb_unpin(wb, o);
    wb_resume(wb, resume, now, actions);
}

/* The server knows O now. */
static void born(struct ph_wb *wb, struct wb_object *o, const Pohmel__Attr *attr,
                 struct ph_wb_actions *actions)
{
    struct ph_wb_action *action = wb_action(actions, PH_WB_BORN);
    bool granted = attr->lease != 0 && attr->lease_mode == POHMEL__LEASE_MODE__MODE_EXCLUSIVE;
    action->object = o->lru.key;
    action->old_lease = o->lease;
    action->lease = attr->lease;
    action->mode = attr->lease_mode;
    o->born = true;
    wb_server_has(o, attr);
    wb_learn_changed(o, attr);
    o->plain = attr->plain || !wb->write_back;
    if (wb_is_gone(wb, o->lru.key, attr->lease))
        o->recalled = true;
    if (granted) {
        wb_set_lease(wb, o, attr->lease);
    } else {
        /* Whatever is left to be done with it goes without: nobody else knows it yet. */
        wb_set_lease(wb, o, 0);
        o->recalled = o->unleased = wb->any_unleased = true;
        o->exclusive = false;
    }
}

/* Nobody waits for the answer. */
void wb_close(struct ph_wb *wb, uint64_t handle, uint64_t object, struct ph_wb_actions *actions)
{
    struct ph_wb_call *call = wb_call_new(wb, WB_CALL_OP);
    call->outgoing = wb_alloc(sizeof(*call->outgoing));
    Pohmel__CloseRequest *close = &call->outgoing->message.close;
    pohmel__close_request__init(close);
    close->handle = handle;
    close->object = object;
    wb->in_flight++;
    wb->counters.sent++;
    wb_send(wb, call, PH_CMD_CLOSE, &close->base, actions);
}

/* Sent in a session that ended, it may have been executed: a failure that says so is success. */
static bool was_done(const struct wb_op *op, uint32_t status)
{
    if (!op->uncertain)
        return false;
    switch (op->kind) {
    case WB_REMOVE:
    case WB_RMDIR:
    case WB_RENAME:
        return status == PH_ST_NOT_FOUND || status == PH_ST_STALE || status == PH_ST_MISMATCH;
    case WB_LINK:
        return status == PH_ST_EXISTS;
    default:
        return false;
    }
}

/* A name that is taken may be so by what we made ourselves. */
static void check_made(struct ph_wb *wb, struct wb_op *op, struct ph_wb_actions *actions)
{
    struct ph_wb_call *call = wb_op_call(wb, op, WB_STEP_CHECK);
    Pohmel__GetattrRequest *getattr = &call->outgoing->message.getattr;
    pohmel__getattr_request__init(getattr);
    getattr->caller = &op->caller->caller;
    getattr->object = op->objects[0]->lru.key;
    wb_op_send(wb, call, PH_CMD_GETATTR, actions);
}

static const Pohmel__Attr *attr_of(const struct ph_reply *reply)
{
    const Pohmel__TransactReply *transact = (const Pohmel__TransactReply *) reply->message;
    if (reply->status != PH_ST_OK || transact == NULL || transact->n_results != 1 ||
        transact->results[0]->create == NULL)
        return NULL;
    switch (transact->results[0]->result_case) {
    case POHMEL__CHANGE_RESULT__RESULT_CREATE:
        return transact->results[0]->create->attr;
    case POHMEL__CHANGE_RESULT__RESULT_MKDIR:
    case POHMEL__CHANGE_RESULT__RESULT_SYMLINK:
    case POHMEL__CHANGE_RESULT__RESULT_MKNOD:
        return transact->results[0]->mkdir->attr;
    default:
        return NULL;
    }
}

static void made(struct ph_wb *wb, const struct ph_wb_call *call, const Pohmel__Attr *attr, uint32_t status,
                 const struct ph_wb_now *now, struct ph_wb_actions *actions)
{
    struct wb_op *op = call->op;
    struct wb_object *o = op->objects[0];
    struct wb_op *folded = op->folded;
    op->folded = NULL;
    o->pins++;
    if (attr != NULL)
        born(wb, o, attr, actions);
    if (folded != NULL && o->data != NULL && folded->data && status == PH_ST_OK) {
        uint64_t before = ph_wb_data_bytes(o->data);
        ph_wb_data_sent(o->data);
        wb_data_account(wb, o, before);
        folded->data = false;
    }
    if (folded != NULL && attr != NULL)
        o->server_size = attr->size;
    wb_op_finish(wb, op, status, now, actions);
    if (folded != NULL) {
        if (!folded->done)
            wb_op_finish(wb, folded, status, now, actions);
        wb_op_unref(folded);
    }
    wb_hear(call, o, attr);
    if (attr != NULL && status == PH_ST_OK)
        wb_keep(wb, o, call->payload);
    wb_unpin(wb, o);
}

/* What was made before may have been so with other data than it has here by now: all of it is written again.
 */
static void write_again(struct ph_wb *wb, struct wb_op *op)
{
    struct wb_op *folded = op->folded;
    struct wb_object *o = op->objects[0];
    if (folded == NULL)
        return;
    op->folded = NULL;
    if (folded->data) {
        uint64_t before = ph_wb_data_bytes(o->data);
        ph_wb_data_unsent(o->data);
        wb_data_account(wb, o, before);
    }
    folded->data = folded->sent = false;
    wb_op_unref(folded);
}

static void make_answered(struct ph_wb *wb, struct ph_wb_call *call, const struct ph_reply *reply,
                          const struct ph_wb_now *now, struct ph_wb_actions *actions)
{
    struct wb_op *op = call->op;
    if (call->step == WB_STEP_CHECK) {
        const Pohmel__GetattrReply *found = (const Pohmel__GetattrReply *) reply->message;
        bool ours = reply->status == PH_ST_OK && found != NULL;
        if (ours)
            write_again(wb, op);
        if (ours && found->attr->size > 0) {
            op->objects[0]->server_size = found->attr->size;
            op->objects[0]->is_cut = true;
            op->objects[0]->cut = 0;
        }
        made(wb, call, ours ? found->attr : NULL, ours ? PH_ST_OK : PH_ST_EXISTS, now, actions);
    } else if (op->uncertain && (reply->status == PH_ST_EXISTS || reply->status == PH_ST_INVALID)) {
        check_made(wb, op, actions);
    } else {
        const Pohmel__Attr *attr = attr_of(reply);
        uint32_t status = reply->status != PH_ST_OK || attr != NULL ? reply->status : PH_ST_MALFORMED;
        made(wb, call, attr, status, now, actions);
    }
}

void wb_op_answered(struct ph_wb *wb, struct ph_wb_call *call, const struct ph_reply *reply,
                    const struct ph_wb_now *now, struct ph_wb_actions *actions)
{
    struct wb_op *op = call->op;
    if (call->session != wb->session) {
        wb_call_over(wb, call, actions); /* the operation was begun again */
        return;
    }
    wb->in_flight--;
    if (op != NULL) {
        op->outstanding--;
        if (op->kind == WB_MAKE) {
            make_answered(wb, call, reply, now, actions);
        } else if (op->kind == WB_STATE) {
            wb_state_answered(wb, call, reply, now, actions);
        } else if (op->kind == WB_RANGE) {
            wb_range_answered(wb, call, reply, now, actions);
        } else if (op->kind == WB_XATTR) {
            wb_op_finish(wb, op, wb_xattr_answered(op, reply), now, actions);
        } else {
            for (int i = 0; i < 2 && op->kind != WB_OPEN; i++)
                if (op->objects[i] != NULL)
                    op->objects[i]->moved = true;
            wb_op_finish(wb, op, was_done(op, reply->status) ? PH_ST_OK : reply->status, now, actions);
        }
    }
    wb_call_over(wb, call, actions);
    wb_pump(wb, now, actions);
}
