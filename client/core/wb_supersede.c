/* What is replaced or removed before the server heard of it goes without a trace: a file that was made here,
 * and with it the renaming that brought it to its name, if it was. What that replaced at the server is then
 * replaced by what comes next. */
#include <string.h>

#include "client/core/wb_private.h"

static bool is_name(const struct wb_op *op, int which, const struct wb_object *d,
                    const ProtobufCBinaryData *name)
{
    return op->dirs[which].directory == d && op->lens[which] == name->len &&
           memcmp(op->names[which], name->data, name->len) == 0;
}

/* RENAME that nobody waits for brought O to NAME in D, where nothing happened since. */
static bool may_take_back(const struct ph_wb *wb, const struct wb_op *rename, const struct wb_object *o,
                          const struct wb_object *d, const ProtobufCBinaryData *name,
                          const Pohmel__Caller *caller)
{
    const struct ph_wb_name *entry = ph_wb_names_find(d->names, name->data, name->len);
    (void) wb;
    return rename->objects[0] == o && !rename->due && !rename->later && rename->waiters == NULL &&
           is_name(rename, 1, d, name) && entry != NULL && entry->op == rename &&
           wb_same_caller(&rename->caller->caller, caller);
}

bool wb_vanishes(struct ph_wb *wb, const struct wb_object *o, const struct wb_object *d,
                 const ProtobufCBinaryData *name, const Pohmel__Caller *caller, struct wb_under *under)
{
    const struct wb_op *rename = NULL;
    *under = (struct wb_under){0};
    if (o->born || wb_make_of(o) == NULL || o->handles != NULL)
        return false;
    if (S_ISDIR(o->attr.mode))
        return wb_only_here(o) && o->children.next == &o->children;
    for (size_t i = 0; i < o->op_count; i++) {
        const struct wb_op *op = o->ops[i];
        if (op->kind == WB_RENAME && rename == NULL)
            rename = op;
        else if (op->kind != WB_MAKE && op->kind != WB_STATE && op->kind != WB_XATTR)
            return false;
        if (op->sent || op->uncertain)
            return false;
    }
    /* The data of a file without a name would be kept here for as long as somebody has it open. */
    if (o->attr.links != 1 || (rename != NULL && !may_take_back(wb, rename, o, d, name, caller)))
        return false;
    if (rename != NULL) {
        under->object = rename->objects[1];
        under->made_ms = o->ops[0]->made_ms < rename->made_ms ? o->ops[0]->made_ms : rename->made_ms;
    }
    return true;
}

void wb_vanish(struct ph_wb *wb, struct wb_object *o, struct ph_wb_call **resume)
{
    uint64_t before = o->data != NULL ? ph_wb_data_bytes(o->data) : 0;
    o->pins++;
    wb_vanished_add(wb, o);
    while (o->op_count > 0) {
        wb->counters.cancelled++;
        wb_op_cancel(wb, o->ops[o->op_count - 1], resume);
    }
    if (o->data != NULL) {
        ph_wb_data_free(o->data);
        o->data = NULL;
        wb->data_bytes -= before;
    }
    wb_unpin(wb, o);
}

void wb_as_old(struct wb_object *o, const struct wb_under *under)
{
    for (size_t i = 0; i < o->op_count && under->made_ms != 0; i++)
        if (o->ops[i]->made_ms > under->made_ms)
            o->ops[i]->made_ms = under->made_ms;
}
