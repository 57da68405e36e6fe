/* Names taken away and moved, here. */
#include <stdlib.h>
#include <string.h>

#include "client/core/may.h"
#include "client/core/wb_private.h"
#include "ph_commands.h"

/* What NAME in DIRECTORY stands for, if CALLER may take it away here. */
static struct wb_object *victim(struct ph_wb *wb, const Pohmel__Caller *caller, const struct wb_object *d,
                                const ProtobufCBinaryData *name, const struct ph_wb_now *now)
{
    uint64_t object;
    if (ph_wb_names_lookup(d->names, name->data, name->len, &object) != PH_WB_NAME_PRESENT)
        return NULL;
    struct wb_object *o = wb_find(wb, object);
    /* Whether it is the last name decides whether those who have it open are told to the server first. */
    if (!wb_writable(wb, o, now) || !o->plain || (o->attr.links > 1 && !wb_links_known(wb, o)) ||
        ph_may_remove(caller, d->attr.mode, d->attr.uid, d->attr.gid, d->plain, o->attr.uid) != PH_MAY_YES)
        return NULL;
    return o;
}

static struct wb_object *directory(struct ph_wb *wb, uint64_t object, const struct ph_wb_now *now)
{
    struct wb_object *d = wb_find(wb, object);
    return wb_holds(wb, d, now) && d->names != NULL && d->plain && S_ISDIR(d->attr.mode) ? d : NULL;
}

static bool is_empty(const struct wb_object *o)
{
    return o->names != NULL && ph_wb_names_is_whole(o->names) && ph_wb_names_present(o->names) == 0 &&
           ph_wb_names_unknown(o->names) == 0;
}

/* Where the server is to keep a file that is open here and loses its last name, it must have it open. */
static void open_before(struct ph_wb *wb, struct wb_object *o, uint64_t now_ms)
{
    for (struct wb_handle *handle = o->handles; handle != NULL; handle = handle->next)
        if (!handle->open && handle->op == NULL)
            wb_handle_open(wb, handle, now_ms);
}

static void answer_name(struct ph_wb *wb, struct ph_wb_call *call, const struct wb_object *d,
                        struct ph_wb_actions *actions)
{
    struct ph_wb_answer *answer = wb_answer_attr(NULL);
    pohmel__name_result__init(&answer->message.name);
    answer->message.name.directory_version = d->attr.version;
    wb_answer(wb, call, answer, NULL, actions);
}

/* O loses a name, or is a directory that goes. */
static void lose_name(struct wb_object *o, const struct ph_wb_now *now)
{
    if (S_ISDIR(o->attr.mode))
        o->attr.links = 0;
    else if (o->attr.links > 0)
        o->attr.links--;
    wb_changed(o, now, false);
}

static void remove_later(struct ph_wb *wb, enum wb_op_kind kind, struct wb_object *o, struct wb_object *d,
                         const ProtobufCBinaryData *name, const Pohmel__Caller *caller,
                         const struct ph_wb_now *now)
{
    struct wb_op *op = wb_op_new(wb, kind, wb_caller(wb, caller), now->ms);
    wb_op_about(wb, op, o);
    wb_op_in(wb, op, d, name->data, name->len);
    wb_op_append(wb, op);
}

static void pin(struct wb_object *o)
{
    if (o != NULL)
        o->pins++;
}

/* NAME of O in D is to be taken away at the server. */
static void take_away(struct ph_wb *wb, struct wb_object *o, struct wb_object *d, ProtobufCBinaryData name,
                      const Pohmel__Caller *caller, const struct ph_wb_now *now, struct ph_wb_call **resume)
{
    bool is_rmdir = S_ISDIR(o->attr.mode);
    wb_remove_unmoved(wb, o, d, &name, caller, resume);
    if (!is_rmdir && o->attr.links == 1)
        open_before(wb, o, now->ms);
    lose_name(o, now);
    remove_later(wb, is_rmdir ? WB_RMDIR : WB_REMOVE, o, d, &name, caller, now);
}

bool wb_local_remove(struct ph_wb *wb, struct ph_wb_call *call, const struct ph_wb_now *now,
                     struct ph_wb_actions *actions)
{
    /* REMOVE and RMDIR have the same members. */
    const Pohmel__RemoveRequest *remove = (const Pohmel__RemoveRequest *) call->message;
    const Pohmel__RmdirRequest *rmdir = (const Pohmel__RmdirRequest *) call->message;
    bool is_rmdir = call->command == PH_CMD_RMDIR;
    const Pohmel__Caller *caller = is_rmdir ? rmdir->caller : remove->caller;
    ProtobufCBinaryData name = is_rmdir ? rmdir->name : remove->name;
    uint64_t expected = is_rmdir ? rmdir->object : remove->object;
    struct ph_wb_call *resume = NULL;
    struct wb_object *d = directory(wb, is_rmdir ? rmdir->parent : remove->parent, now);
    struct wb_object *o = d != NULL ? victim(wb, caller, d, &name, now) : NULL;
    if (o == NULL || S_ISDIR(o->attr.mode) != is_rmdir || (is_rmdir && (!is_empty(o) || o == d)) ||
        (expected != 0 && expected != o->lru.key))
        return false;
    struct wb_under under;
    o->pins++;
    if (wb_vanishes(wb, o, d, &name, caller, &under)) {
        pin(under.object);
        lose_name(o, now);
        wb_vanish(wb, o, &resume);
        if (under.object != NULL)
            remove_later(wb, WB_REMOVE, under.object, d, &name, caller, now);
    } else if (!is_rmdir && wb_make_as_linked(wb, o, d, &name, &resume)) {
        lose_name(o, now);
    } else {
        take_away(wb, o, d, name, caller, now, &resume);
    }
    if (under.object != NULL) {
        wb_as_old(under.object, &under);
        wb_unpin(wb, under.object);
    }
    ph_wb_names_put(d->names, name.data, name.len, 0);
    if (is_rmdir && d->attr.links > 0)
        d->attr.links--;
    wb_changed(d, now, true);
    wb_unpin(wb, o);
    answer_name(wb, call, d, actions);
    wb_resume(wb, resume, now, actions);
    return true;
}

/* O, which the server does not know, gets another name in the same directory before it is made there. */
static bool move_before_making(struct wb_object *o, struct wb_object *d, const ProtobufCBinaryData *from,
                               const ProtobufCBinaryData *to)
{
    struct ph_wb_name *old = ph_wb_names_find(d->names, from->data, from->len);
    struct ph_wb_name *target = ph_wb_names_find(d->names, to->data, to->len);
    struct wb_op *make = wb_make_of(o);
    if (!wb_only_here(o) || (!S_ISDIR(o->attr.mode) && o->attr.links != 1) || old == NULL ||
        old->op != make || (target != NULL && target->op != NULL))
        return false;
    old->op = wb_op_before_on_name(make, 0);
    ph_wb_names_put(d->names, from->data, from->len, 0);
    ph_wb_names_put(d->names, to->data, to->len, o->lru.key)->op = make;
    free(make->names[0]);
    make->names[0] = wb_alloc(to->len + 1);
    memcpy(make->names[0], to->data, to->len);
    make->lens[0] = to->len;
    return true;
}

static void move(struct ph_wb *wb, const Pohmel__RenameRequest *request, struct wb_object *d1,
                 struct wb_object *d2, struct wb_object *o, struct wb_object *replaced,
                 const struct ph_wb_now *now)
{
    struct wb_op *op = wb_op_new(wb, WB_RENAME, wb_caller(wb, request->caller), now->ms);
    op->flags = request->flags;
    wb_op_about(wb, op, o);
    if (replaced != NULL)
        wb_op_about(wb, op, replaced);
    wb_op_in(wb, op, d1, request->old_name.data, request->old_name.len);
    wb_op_in(wb, op, d2, request->new_name.data, request->new_name.len);
    wb_op_append(wb, op);
    wb_owe_of(wb, op, &d2->attr, wb_charge(wb, op, WB_BLOCK_BYTES, 0, WB_BLOCK_BYTES), 0);
    ph_wb_names_put(d1->names, request->old_name.data, request->old_name.len, 0);
    ph_wb_names_put(d2->names, request->new_name.data, request->new_name.len, o->lru.key);
}

/* REPLACED goes. Returns what the server is to be told to replace, pinned, or NULL. */
static struct wb_object *replace(struct ph_wb *wb, struct wb_object *replaced, struct wb_object *d2,
                                 const Pohmel__RenameRequest *request, const struct ph_wb_now *now,
                                 struct wb_under *under, struct ph_wb_call **resume)
{
    const ProtobufCBinaryData *name = &request->new_name;
    if (S_ISDIR(replaced->attr.mode) && d2->attr.links > 0)
        d2->attr.links--;
    if (wb_vanishes(wb, replaced, d2, name, request->caller, under)) {
        pin(under->object);
        lose_name(replaced, now);
        wb_vanish(wb, replaced, resume);
        ph_wb_names_put(d2->names, name->data, name->len, 0);
        return under->object;
    }
    if (!S_ISDIR(replaced->attr.mode) && replaced->attr.links == 1)
        open_before(wb, replaced, now->ms);
    lose_name(replaced, now);
    pin(replaced);
    return replaced;
}

static bool may_move(struct ph_wb *wb, const Pohmel__RenameRequest *request, struct wb_object *d1,
                     struct wb_object *d2, struct wb_object *o, struct wb_object **replaced,
                     const struct ph_wb_now *now)
{
    uint64_t object = 0;
    bool is_directory = S_ISDIR(o->attr.mode);
    enum ph_wb_name_is is =
        ph_wb_names_lookup(d2->names, request->new_name.data, request->new_name.len, &object);
    *replaced = NULL;
    /* Moving a directory elsewhere needs to see all above it. */
    if (is == PH_WB_NAME_UNKNOWN || object == o->lru.key || (is_directory && d1 != d2) ||
        (request->flags & ~(uint32_t) WB_NO_REPLACE) != 0 ||
        ph_may_access(request->caller, d2->attr.mode, d2->attr.uid, d2->attr.gid, d2->plain,
                      PH_MAY_WRITE | PH_MAY_EXECUTE) != PH_MAY_YES)
        return false;
    if (is == PH_WB_NAME_ABSENT)
        return true;
    *replaced = victim(wb, request->caller, d2, &request->new_name, now);
    return *replaced != NULL && request->flags == 0 && S_ISDIR((*replaced)->attr.mode) == is_directory &&
           (!is_directory || is_empty(*replaced)) && *replaced != d1;
}

bool wb_local_rename(struct ph_wb *wb, struct ph_wb_call *call, const struct ph_wb_now *now,
                     struct ph_wb_actions *actions)
{
    const Pohmel__RenameRequest *request = (const Pohmel__RenameRequest *) call->message;
    struct wb_object *d1 = directory(wb, request->old_parent, now), *replaced;
    struct wb_object *d2 = directory(wb, request->new_parent, now);
    struct ph_wb_call *resume = NULL;
    struct wb_object *o =
        d1 != NULL && d2 != NULL ? victim(wb, request->caller, d1, &request->old_name, now) : NULL;
    if (o == NULL || request->object != 0 || request->replaced != 0 ||
        !may_move(wb, request, d1, d2, o, &replaced, now) || !wb_space(wb, WB_BLOCK_BYTES, 0, now, actions) ||
        !wb_quota_of(wb, &d2->attr, WB_BLOCK_BYTES, 0, now, actions))
        return false;
    struct wb_under under = {0};
    if (replaced != NULL)
        replaced = replace(wb, replaced, d2, request, now, &under, &resume);
    if (d1 != d2 || replaced != NULL || !move_before_making(o, d1, &request->old_name, &request->new_name))
        move(wb, request, d1, d2, o, replaced, now);
    wb_as_old(o, &under);
    wb_changed(o, now, false);
    wb_changed(d1, now, true);
    if (d2 != d1)
        wb_changed(d2, now, true);
    if (replaced != NULL)
        wb_unpin(wb, replaced);
    answer_name(wb, call, d2, actions);
    wb_resume(wb, resume, now, actions);
    return true;
}
