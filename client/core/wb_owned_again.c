/* A new session of a server that lost what it had not made stable: what is kept is made again, one change
 * after the other in their order, where nobody else changed the object meanwhile. What did survive is not
 * changed by it: names go by the ids of objects, data go where they went. Everything else waits until that is
 * done. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/core/wb_doubt.h"
#include "client/core/wb_owned.h"
#include "client/core/wb_owned_steps.h"
#include "ph_commands.h"

#define KEPT_HANDLE_BIT (UINT64_C(1) << 61) /* handles of ours, besides those of write-back (bit 62) */

struct wb_owned_object *wb_owned_target(const struct ph_wb *wb)
{
    return wb_owned_find(wb, wb->owned->at->objects[0]);
}

/* --- Sending --- */

struct ph_wb_call *wb_owned_command(struct ph_wb *wb, enum wb_owned_step step)
{
    struct ph_wb_call *call = wb_call_new(wb, WB_CALL_OWNED);
    call->outgoing = wb_alloc(sizeof(*call->outgoing));
    wb->owned->step = step;
    return call;
}

/* Who made the change: the first field of each request. */
Pohmel__Caller *wb_owned_caller(const struct ph_wb *wb)
{
    return wb->owned->change->create->caller;
}

void wb_owned_send_change(struct ph_wb *wb, enum wb_owned_step step, Pohmel__Change *change,
                          struct ph_blob *payload, struct ph_wb_actions *actions)
{
    struct ph_wb_call *call = wb_owned_command(wb, step);
    struct wb_outgoing *out = call->outgoing;
    struct wb_owned_object *o = wb_owned_target(wb);
    pohmel__transact_request__init(&out->transact);
    out->changes[0] = change;
    out->transact.n_changes = 1;
    out->transact.changes = out->changes;
    call->payload = payload != NULL ? ph_blob_ref(payload) : NULL;
    if (o != NULL) /* until it is answered */
        o->moved = o->untimed = true;
    wb_send(wb, call, PH_CMD_TRANSACT, &out->transact.base, actions);
}

static void send_look(struct ph_wb *wb, struct ph_wb_actions *actions)
{
    struct ph_wb_call *call = wb_owned_command(wb, WB_OWNED_LOOK);
    Pohmel__GetattrRequest *getattr = &call->outgoing->message.getattr;
    pohmel__getattr_request__init(getattr);
    getattr->caller = wb_owned_caller(wb);
    getattr->object = wb->owned->at->objects[0];
    wb_send(wb, call, PH_CMD_GETATTR, &getattr->base, actions);
}

static void send_open(struct ph_wb *wb, enum wb_owned_step step, struct ph_wb_actions *actions)
{
    struct ph_wb_call *call = wb_owned_command(wb, step);
    Pohmel__OpenRequest *open = &call->outgoing->message.open;
    wb->owned->handle = KEPT_HANDLE_BIT | ++wb->last_handle;
    pohmel__open_request__init(open);
    open->caller = wb_owned_caller(wb);
    open->object = wb->owned->at->objects[0];
    open->handle = wb->owned->handle;
    open->access = PH_OPEN_WRITE;
    open->reopen = true;
    wb_send(wb, call, PH_CMD_OPEN, &open->base, actions);
}

static void close_handle(struct ph_wb *wb, struct ph_wb_actions *actions)
{
    if (wb->owned->handle != 0)
        wb_close(wb, wb->owned->handle, wb->owned->at->objects[0], actions);
    wb->owned->handle = 0;
}

/* --- From one to the next --- */

static void take(struct ph_wb *wb, struct wb_owned_change *change)
{
    struct wb_owned *kept = wb->owned;
    if (kept->change != NULL)
        pohmel__change__free_unpacked(kept->change, NULL);
    kept->change = NULL;
    kept->at = change;
    if (change == NULL)
        return;
    kept->change = pohmel__change__unpack(NULL, change->len, change->packed);
    if (kept->change == NULL)
        abort();
    wb_owned_go_by_stand(wb);
}

/* All is as it was: what waited goes on. */
static void end(struct ph_wb *wb, const struct ph_wb_now *now, struct ph_wb_actions *actions)
{
    struct wb_owned *kept = wb->owned;
    struct wb_owned_change *previous = NULL, *next;
    for (struct wb_owned_change *at = kept->first; at != NULL; at = next) {
        next = at->next;
        if (at->over)
            wb_owned_drop(wb, previous);
        else
            previous = at;
    }
    kept->again = kept->lost = false;
    wb_go_on(wb, now, actions);
}

static void next_change(struct ph_wb *wb, const struct ph_wb_now *now, struct ph_wb_actions *actions)
{
    take(wb, wb->owned->at->next);
    wb->owned->ready = wb->owned->at != NULL;
    if (!wb->owned->ready)
        end(wb, now, actions);
}

void wb_owned_made_again(struct ph_wb *wb, const struct ph_wb_now *now, struct ph_wb_actions *actions)
{
    struct wb_object *o = wb_find(wb, wb->owned->at->objects[0]);
    if (o != NULL)
        o->moved = true;
    wb->owned->restored++;
    next_change(wb, now, actions);
}

/* There is another change of the same object. */
static bool comes_again(const struct wb_owned_change *change)
{
    for (const struct wb_owned_change *at = change->next; at != NULL; at = at->next)
        if (at->objects[0] == change->objects[0])
            return true;
    return false;
}

/* It cannot be made again: its data are handed out, and somebody is told. */
void wb_owned_give_up(struct ph_wb *wb, uint32_t status, const struct ph_wb_now *now,
                      struct ph_wb_actions *actions)
{
    struct wb_owned_change *at = wb->owned->at;
    struct wb_mark *mark = wb_mark(wb, at->objects[0]);
    mark->error = mark->error == PH_ST_OK ? status : mark->error;
    close_handle(wb, actions);
    if (at->payload != NULL && at->command != PH_CMD_SETXATTR) {
        struct ph_wb_action *lost = wb_action(actions, PH_WB_LOST);
        lost->object = at->objects[0];
        lost->offset = at->offset;
        lost->payload = ph_blob_ref(at->payload);
    }
    at->over = true;
    wb->owned->lost_changes++;
    if (wb_owned_target(wb)->conflict && comes_again(at)) { /* all of it is one loss */
        next_change(wb, now, actions);
        return;
    }
    struct ph_wb_action *failed = wb_action(actions, PH_WB_FAILED);
    failed->object = at->objects[0];
    failed->status = status;
    snprintf(failed->text, sizeof(failed->text),
             "%s object %llu again, which the server lost with its power, failed",
             wb_owned_describe(at->command), (unsigned long long) at->objects[0]);
    next_change(wb, now, actions);
}

/* --- One change --- */

/* Its last name may have gone by an operation that was not answered. */
static bool is_being_removed(const struct ph_wb *wb, uint64_t object)
{
    const struct wb_object *o = wb_find(wb, object);
    for (size_t i = 0; o != NULL && i < o->op_count; i++) {
        const struct wb_op *op = o->ops[i];
        if (!op->uncertain)
            continue;
        if (op->kind == WB_REMOVE || op->kind == WB_RMDIR || (op->kind == WB_RENAME && op->objects[1] == o))
            return true;
    }
    return false;
}

/* It has no name any more by the end of the list: where it is not there, that is no loss. */
static bool is_removed(const struct wb_owned_object *o)
{
    return o->made ? o->names <= 0 : o->names < 0;
}

static void send_make(struct ph_wb *wb, struct ph_wb_actions *actions)
{
    Pohmel__Change *change = wb->owned->change;
    const struct wb_owned_object *o = wb_owned_target(wb);
    if (wb->owned->at->command == PH_CMD_CREATE) {
        Pohmel__CreateRequest stripped = POHMEL__CREATE_REQUEST__INIT;
        stripped.caller = change->create->caller;
        stripped.parent = change->create->parent;
        stripped.name = change->create->name;
        stripped.object = wb->owned->at->objects[0];
        stripped.mode = change->create->mode;
        stripped.umask = change->create->umask;
        stripped.exclusive = true;
        stripped.survivor = MAX_OF(o->version, UINT64_C(1));
        struct ph_wb_call *call = wb_owned_command(wb, WB_OWNED_CHANGE);
        call->outgoing->message.create = stripped;
        pohmel__transact_request__init(&call->outgoing->transact);
        pohmel__change__init(&call->outgoing->change);
        call->outgoing->change.command_case = POHMEL__CHANGE__COMMAND_CREATE;
        call->outgoing->change.create = &call->outgoing->message.create;
        call->outgoing->changes[0] = &call->outgoing->change;
        call->outgoing->transact.n_changes = 1;
        call->outgoing->transact.changes = call->outgoing->changes;
        wb_send(wb, call, PH_CMD_TRANSACT, &call->outgoing->transact.base, actions);
        return;
    }
    if (wb->owned->at->command == PH_CMD_MKDIR) /* what was made in it moved its version */
        change->mkdir->survivor = UINT64_MAX;
    else if (wb->owned->at->command == PH_CMD_SYMLINK)
        change->symlink->survivor = MAX_OF(o->version, UINT64_C(1));
    else
        change->mknod->survivor = MAX_OF(o->version, UINT64_C(1));
    wb_owned_send_change(wb, WB_OWNED_CHANGE, change, NULL, actions);
}

/* The object of a CREATE is there: now its data, which may not have come to the disk with it. */
static void fill(struct ph_wb *wb, const struct ph_wb_now *now, struct ph_wb_actions *actions)
{
    if (wb->owned->at->command == PH_CMD_CREATE &&
        (wb->owned->at->payload != NULL || wb->owned->change->create->attributes != NULL))
        send_open(wb, WB_OWNED_OPEN, actions);
    else
        wb_owned_made_again(wb, now, actions);
}

/* After the data of a CREATE: what else it was given. */
static void send_attributes(struct ph_wb *wb, const struct ph_wb_now *now, struct ph_wb_actions *actions)
{
    const Pohmel__NewAttributes *attributes = wb->owned->change->create->attributes;
    Pohmel__SetattrRequest setattr = POHMEL__SETATTR_REQUEST__INIT;
    if (attributes == NULL || attributes->which == 0) {
        wb_owned_made_again(wb, now, actions);
        return;
    }
    struct ph_wb_call *call = wb_owned_command(wb, WB_OWNED_ATTRIBUTES);
    struct wb_outgoing *out = call->outgoing;
    setattr.caller = wb_owned_caller(wb);
    setattr.object = wb->owned->at->objects[0];
    setattr.which = attributes->which;
    setattr.mode = attributes->mode;
    setattr.uid = attributes->uid;
    setattr.gid = attributes->gid;
    setattr.accessed = attributes->accessed;
    setattr.modified = attributes->modified;
    out->message.setattr = setattr;
    pohmel__transact_request__init(&out->transact);
    pohmel__change__init(&out->change);
    out->change.command_case = POHMEL__CHANGE__COMMAND_SETATTR;
    out->change.setattr = &out->message.setattr;
    out->changes[0] = &out->change;
    out->transact.n_changes = 1;
    out->transact.changes = out->changes;
    wb_owned_target(wb)->moved = wb_owned_target(wb)->untimed = true;
    wb_send(wb, call, PH_CMD_TRANSACT, &out->transact.base, actions);
}

static void send_data(struct ph_wb *wb, struct ph_wb_actions *actions)
{
    struct wb_owned_change *at = wb->owned->at;
    Pohmel__Change *change = wb->owned->change;
    struct ph_wb_call *call;
    struct wb_outgoing *out;
    if (at->command == PH_CMD_ALLOCATE) {
        change->allocate->handle = wb->owned->handle;
        wb_owned_send_change(wb, WB_OWNED_DATA, change, NULL, actions);
        return;
    }
    if (at->command == PH_CMD_WRITE) {
        change->write->handle = wb->owned->handle;
        change->write->offset = at->offset;
        change->write->append = false;
        wb_owned_send_change(wb, WB_OWNED_DATA, change, at->payload, actions);
        return;
    }
    call = wb_owned_command(wb, WB_OWNED_DATA);
    out = call->outgoing;
    pohmel__write_request__init(&out->message.write);
    out->message.write.caller = wb_owned_caller(wb);
    out->message.write.object = at->objects[0];
    out->message.write.handle = wb->owned->handle;
    out->message.write.length = (uint32_t) at->payload->len;
    pohmel__transact_request__init(&out->transact);
    pohmel__change__init(&out->change);
    out->change.command_case = POHMEL__CHANGE__COMMAND_WRITE;
    out->change.write = &out->message.write;
    out->changes[0] = &out->change;
    out->transact.n_changes = 1;
    out->transact.changes = out->changes;
    call->payload = ph_blob_ref(at->payload);
    wb_owned_target(wb)->moved = wb_owned_target(wb)->untimed = true;
    wb_send(wb, call, PH_CMD_TRANSACT, &out->transact.base, actions);
}

/* The object was looked at. What is removed later is made, too: it may have survived without its id, and what
 * it replaced as well. Both go then. */
static void make(struct ph_wb *wb, const struct ph_wb_now *now, struct ph_wb_actions *actions)
{
    struct wb_owned_object *o = wb_owned_target(wb);
    Pohmel__Change *change = wb->owned->change;
    switch (wb->owned->at->command) {
    case PH_CMD_CREATE:
    case PH_CMD_MKDIR:
    case PH_CMD_SYMLINK:
    case PH_CMD_MKNOD:
        if (o->there)
            fill(wb, now, actions);
        else
            send_make(wb, actions);
        return;
    case PH_CMD_REMOVE:
    case PH_CMD_RMDIR:
        if (o->there)
            wb_owned_send_change(wb, WB_OWNED_CHANGE, change, NULL, actions);
        else
            next_change(wb, now, actions);
        return;
    default:
        break;
    }
    /* What is gone can be given neither names nor attributes. Data are put aside. */
    if (!o->there &&
        (is_removed(o) || is_being_removed(wb, o->lru.key) || wb->owned->at->command != PH_CMD_WRITE)) {
        if (wb->owned->at->command != PH_CMD_RENAME ||
            (!wb_owned_remove_replaced(wb, actions) && !wb_owned_remove_in_place(wb, actions)))
            next_change(wb, now, actions);
    } else if (!o->there) {
        wb_owned_give_up(wb, PH_ST_STALE, now, actions);
    } else if (wb->owned->at->command == PH_CMD_WRITE || wb->owned->at->command == PH_CMD_ALLOCATE) {
        send_open(wb, WB_OWNED_OPEN, actions);
    } else if (wb->owned->at->command == PH_CMD_RENAME) {
        if (!wb_owned_remove_replaced(wb, actions))
            wb_owned_look_up(wb, WB_OWNED_OLD, actions);
    } else {
        if (wb->owned->at->command == PH_CMD_SETATTR)
            change->setattr->handle = 0;
        if (wb->owned->at->command == PH_CMD_SETXATTR)
            change->setxattr->flags = 0;
        wb_owned_send_change(wb, WB_OWNED_CHANGE, change, wb->owned->at->payload, actions);
    }
}

/* AT is the making of what is there, without data: others may have changed it since. */
static bool is_made(const struct wb_owned_change *at)
{
    return at->payload == NULL && (at->command == PH_CMD_CREATE || at->command == PH_CMD_MKDIR ||
                                   at->command == PH_CMD_SYMLINK || at->command == PH_CMD_MKNOD);
}

static void begin(struct ph_wb *wb, const struct ph_wb_now *now, struct ph_wb_actions *actions)
{
    struct wb_owned_object *o = wb_owned_target(wb);
    if (o == NULL) /* a move of nobody knows what */
        wb_owned_look_up(wb, WB_OWNED_OLD, actions);
    else if (o->conflict && o->there && is_made(wb->owned->at))
        next_change(wb, now, actions);
    else if (o->conflict)
        wb_owned_give_up(wb, PH_ST_STALE, now, actions);
    else if (!o->looked)
        send_look(wb, actions);
    else
        make(wb, now, actions);
}

/* As far as nothing has to be waited for. */
static void go_on(struct ph_wb *wb, const struct ph_wb_now *now, struct ph_wb_actions *actions)
{
    while (wb->owned->again && wb->owned->ready) {
        wb->owned->ready = false;
        begin(wb, now, actions);
    }
}

/* --- Answers --- */

/* Attributes in the answer to GETATTR or OPEN, NULL where it failed. */
static const Pohmel__Attr *attr_in(const struct ph_wb *wb, const struct ph_reply *reply)
{
    if (reply->status != PH_ST_OK || reply->message == NULL)
        return NULL;
    return wb->owned->step == WB_OWNED_LOOK ? ((const Pohmel__GetattrReply *) reply->message)->attr
                                            : ((const Pohmel__OpenReply *) reply->message)->attr;
}

static void looked(struct ph_wb *wb, const struct ph_reply *reply, const struct ph_wb_now *now,
                   struct ph_wb_actions *actions)
{
    const Pohmel__Attr *found = attr_in(wb, reply);
    struct wb_owned_object *o = wb_owned_target(wb);
    bool gone = reply->status == PH_ST_STALE || reply->status == PH_ST_NOT_FOUND;
    if (!gone && found == NULL) {
        wb_owned_give_up(wb, reply->status, now, actions);
        return;
    }
    if (!gone && found->version == 0 && wb->owned->step == WB_OWNED_LOOK) {
        send_open(wb, WB_OWNED_AGAIN, actions);
        return;
    }
    close_handle(wb, actions);
    o->looked = true;
    o->there = !gone && found->links > 0;
    o->conflict = o->there && wb_owned_is_changed(o, found);
    wb->owned->ready = true;
}

/* Until it was open for us others may have changed it. */
static void opened(struct ph_wb *wb, const struct ph_reply *reply, const struct ph_wb_now *now,
                   struct ph_wb_actions *actions)
{
    struct wb_owned *kept = wb->owned;
    const Pohmel__Attr *found = attr_in(wb, reply);
    if (found == NULL) {
        kept->handle = 0;
        wb_owned_give_up(wb, reply->status, now, actions);
    } else if (wb_owned_is_changed(wb_owned_target(wb), found)) {
        wb_owned_target(wb)->conflict = true;
        wb_owned_give_up(wb, PH_ST_STALE, now, actions);
    } else if (kept->at->command == PH_CMD_CREATE && kept->at->payload == NULL) {
        close_handle(wb, actions);
        send_attributes(wb, now, actions);
    } else {
        send_data(wb, actions);
    }
}

static void changed(struct ph_wb *wb, const struct ph_reply *reply, const struct ph_wb_now *now,
                    struct ph_wb_actions *actions)
{
    struct wb_owned_object *o = wb_owned_target(wb);
    unsigned command = wb->owned->at->command;
    bool makes = command == PH_CMD_CREATE || command == PH_CMD_MKDIR || command == PH_CMD_SYMLINK ||
                 command == PH_CMD_MKNOD;
    if (o == NULL) {
        wb_owned_made_again(wb, now, actions);
        return;
    }
    if (reply->status == PH_ST_EXISTS && makes && wb_owned_make_aside(wb)) {
        send_make(wb, actions);
        return;
    }
    if (reply->status != PH_ST_OK && makes && is_removed(o)) {
        next_change(wb, now, actions);
        return;
    }
    if (reply->status != PH_ST_OK && !wb_owned_was_done(command, reply->status)) {
        o->conflict = o->conflict || makes;
        wb_owned_give_up(wb, reply->status, now, actions);
        return;
    }
    if (!makes) {
        wb_owned_made_again(wb, now, actions);
        return;
    }
    o->there = true;
    fill(wb, now, actions);
}

/* With the first change, when nothing is in doubt any more. */
static void start(struct ph_wb *wb, const struct ph_wb_now *now, struct ph_wb_actions *actions)
{
    if (wb_doubt_ask(wb, actions))
        return;
    take(wb, wb->owned->first);
    wb->owned->ready = wb->owned->at != NULL;
    if (!wb->owned->ready)
        end(wb, now, actions);
}

static void step(struct ph_wb *wb, const struct ph_reply *reply, const struct ph_wb_now *now,
                 struct ph_wb_actions *actions)
{
    struct wb_owned *kept = wb->owned;
    bool good = reply->status == PH_ST_OK;
    switch (kept->step) {
    case WB_OWNED_OUTCOME:
        wb_doubt_answered(wb, reply);
        start(wb, now, actions);
        break;
    case WB_OWNED_LOOK:
    case WB_OWNED_AGAIN:
        kept->handle = good ? kept->handle : 0;
        looked(wb, reply, now, actions);
        break;
    case WB_OWNED_REPLACED:
        if (wb_owned_replaced(wb))
            wb_owned_look_up(wb, WB_OWNED_OLD, actions);
        else
            wb_owned_made_again(wb, now, actions);
        break;
    case WB_OWNED_OLD:
        wb_owned_old_name(wb, reply, now, actions);
        break;
    case WB_OWNED_NEW:
        wb_owned_new_name(wb, reply, now, actions);
        break;
    case WB_OWNED_CHANGE:
        changed(wb, reply, now, actions);
        break;
    case WB_OWNED_OPEN:
        opened(wb, reply, now, actions);
        break;
    case WB_OWNED_DATA:
        close_handle(wb, actions);
        if (!good)
            wb_owned_give_up(wb, reply->status, now, actions);
        else if (kept->at->command == PH_CMD_CREATE)
            send_attributes(wb, now, actions);
        else
            wb_owned_made_again(wb, now, actions);
        break;
    case WB_OWNED_ATTRIBUTES:
        if (good)
            wb_owned_made_again(wb, now, actions);
        else
            wb_owned_give_up(wb, reply->status, now, actions);
        break;
    }
}

void wb_owned_again_answered(struct ph_wb *wb, struct ph_wb_call *call, const struct ph_reply *reply,
                             const struct ph_wb_now *now, struct ph_wb_actions *actions)
{
    const Pohmel__TransactReply *transact = (const Pohmel__TransactReply *) reply->message;
    bool current = call->session == wb->session && wb->owned->again;
    if (current && reply->status == PH_ST_OK && call->outgoing->transact.n_changes == 1 && transact != NULL &&
        transact->n_results == 1)
        wb_owned_version(wb, wb_owned_attr(transact->results[0]));
    wb_call_over(wb, call, actions);
    if (current)
        step(wb, reply, now, actions);
    go_on(wb, now, actions);
}

/* --- Its beginning --- */

void wb_owned_again(struct ph_wb *wb, const struct ph_wb_now *now, struct ph_wb_actions *actions)
{
    struct wb_owned *kept = wb->owned;
    for (struct ph_lru_entry *entry = kept->objects.oldest; entry != NULL; entry = entry->newer) {
        struct wb_owned_object *o = WB_OF(entry, struct wb_owned_object, lru);
        o->looked = o->there = o->conflict = false;
        o->lost = true;
        wb_owned_forget_stand(wb, o);
    }
    kept->again = true;
    kept->ready = false;
    kept->handle = 0;
    start(wb, now, actions);
    go_on(wb, now, actions);
}

bool wb_owned_hold(struct ph_wb *wb, struct ph_wb_call *call)
{
    struct wb_owned *kept = wb->owned;
    bool holds = wb_keeps(wb) && kept->first != NULL && (kept->again || !wb->open);
    /* Who waits for a lease of ours may be what we wait for. */
    if (!holds || call->command == PH_CMD_LEASE_RELEASE)
        return false;
    wb_own_message(call);
    call->throttled = NULL;
    if (kept->held_last != NULL)
        kept->held_last->throttled = call;
    else
        kept->held_first = call;
    kept->held_last = call;
    return true;
}
