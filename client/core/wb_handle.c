/* Files that were opened here; the server opens them when it has to know. */
#include <stdlib.h>

#include "client/core/may.h"
#include "client/core/wb_private.h"
#include "client/core/wb_range.h"
#include "ph_commands.h"

void wb_handle_add(struct ph_wb *wb, struct wb_object *o, uint64_t number, uint32_t access,
                   const Pohmel__Caller *caller)
{
    struct wb_handle *handle = wb_alloc(sizeof(*handle));
    handle->object = o;
    handle->access = access;
    handle->caller = wb_caller(wb, caller);
    handle->next = o->handles;
    if (o->handles != NULL)
        o->handles->previous = handle;
    o->handles = handle;
    o->pins++;
    ph_lru_add(&wb->handles, &handle->lru, number);
}

void wb_handle_free(struct ph_wb *wb, struct wb_handle *handle)
{
    struct wb_object *o = handle->object;
    if (handle->previous != NULL)
        handle->previous->next = handle->next;
    else
        o->handles = handle->next;
    if (handle->next != NULL)
        handle->next->previous = handle->previous;
    ph_lru_remove(&wb->handles, &handle->lru);
    wb_caller_unref(handle->caller);
    free(handle);
    wb_unpin(wb, o);
}

bool ph_wb_has_handle(const struct ph_wb *wb, uint64_t handle)
{
    const struct ph_lru_entry *entry = ph_lru_find(&wb->handles, handle);
    return entry != NULL && !WB_OF(entry, struct wb_handle, lru)->refused;
}

/* The operation, not sent yet, that takes the last name of O. */
static struct wb_op *removal_of(const struct wb_object *o)
{
    struct wb_op *last = wb_last_of(o);
    bool takes = last != NULL && !last->sent &&
                 (last->kind == WB_REMOVE || (last->kind == WB_RENAME && last->objects[1] == o));
    return takes && o->attr.links == 0 ? last : NULL;
}

static struct wb_op *open_op(struct ph_wb *wb, struct wb_handle *handle, struct wb_op *before,
                             uint64_t now_ms)
{
    handle->caller->refs++;
    struct wb_op *op = wb_op_new(wb, WB_OPEN, handle->caller, now_ms);
    op->handle = handle->lru.key;
    op->access = handle->access;
    if (before != NULL)
        wb_op_before(wb, op, handle->object, before);
    else
        wb_op_about(wb, op, handle->object);
    wb_op_append(wb, op);
    handle->op = op;
    return op;
}

struct wb_op *wb_handle_open(struct ph_wb *wb, struct wb_handle *handle, uint64_t now_ms)
{
    if (handle->open || handle->refused || handle->op != NULL)
        return handle->op;
    return open_op(wb, handle, NULL, now_ms);
}

/* What is dirty here is opened here; what is not may as well bring its data along. */
bool wb_local_open(struct ph_wb *wb, struct ph_wb_call *call, const struct ph_wb_now *now,
                   struct ph_wb_actions *actions)
{
    const Pohmel__OpenRequest *request = (const Pohmel__OpenRequest *) call->message;
    struct wb_object *o = wb_find(wb, request->object);
    unsigned mask = (request->access & PH_OPEN_READ ? PH_MAY_READ : 0) |
                    (request->access & PH_OPEN_WRITE ? PH_MAY_WRITE : 0);
    if (!wb_writable(wb, o, now) || !S_ISREG(o->attr.mode) || request->directory || request->execute ||
        !ph_wb_is_dirty(wb, o->lru.key) ||
        ph_may_access(request->caller, o->attr.mode, o->attr.uid, o->attr.gid, o->plain, mask) != PH_MAY_YES)
        return false;
    /* Who found the name before it was taken may open the file all the same, as long as the server has it. */
    struct wb_op *removal = removal_of(o);
    if (o->attr.links == 0 && removal == NULL)
        return false;
    wb_handle_add(wb, o, request->handle, request->access, request->caller);
    if (removal != NULL)
        open_op(wb, o->handles, removal, now->ms);
    struct ph_wb_answer *answer = wb_answer_attr(o);
    pohmel__open_reply__init(&answer->message.open);
    answer->message.open.attr = answer->found[0];
    wb_answer(wb, call, answer, NULL, actions);
    return true;
}

bool wb_local_close(struct ph_wb *wb, struct ph_wb_call *call, const struct ph_wb_now *now,
                    struct ph_wb_actions *actions)
{
    const Pohmel__CloseRequest *request = (const Pohmel__CloseRequest *) call->message;
    struct ph_lru_entry *entry = ph_lru_find(&wb->handles, request->handle);
    struct wb_handle *handle = entry != NULL ? WB_OF(entry, struct wb_handle, lru) : NULL;
    struct wb_object *o = wb_find(wb, request->object);
    (void) now;
    if (o != NULL)
        o->used_until_ms = 0;
    wb_range_closed(wb, request->object);
    if (handle == NULL)
        return false;
    if (handle->open) {
        wb_handle_free(wb, handle);
        return false;
    }
    /* Where it is being opened for others' sake, the server is told as soon as it is. */
    if (handle->op != NULL)
        handle->closing = true;
    else
        wb_handle_free(wb, handle);
    struct ph_wb_answer *answer = wb_answer_attr(NULL);
    pohmel__nothing__init(&answer->message.nothing);
    wb_answer(wb, call, answer, NULL, actions);
    return true;
}
