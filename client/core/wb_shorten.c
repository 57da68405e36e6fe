/* Names that were given and taken away again before the server heard of the first: what is left of it is
 * sent, and the rest never. */
#include <stdlib.h>
#include <string.h>

#include "client/core/wb_private.h"
#include "ph_commands.h"

/* OP can still be taken back: nothing was sent of it, nobody waits for it, and nothing else was or is under
 * way about its names, so that what is known of them without it is what the server has. */
static bool can_be_undone(const struct wb_op *op)
{
    if (op->due || op->sent || op->uncertain || op->waiters != NULL || !op->fresh_name)
        return false;
    for (int i = 0; i < 2; i++) {
        const struct wb_object *d = op->dirs[i].directory;
        const struct ph_wb_name *entry =
            d != NULL && d->names != NULL ? ph_wb_names_find(d->names, op->names[i], op->lens[i]) : NULL;
        if (d != NULL && (entry == NULL || entry->op != op))
            return false;
    }
    return true;
}

/* Takes OP, an operation about O, back; what waited for it waits for what it waited for. */
static void undo(struct ph_wb *wb, struct wb_object *o, struct wb_op *op, struct ph_wb_call **resume)
{
    size_t at = 0;
    while (o->ops[at] != op)
        at++;
    if (at > 0 && at + 1 < o->op_count)
        wb_op_depend(o->ops[at + 1], o->ops[at - 1]);
    wb->counters.cancelled++;
    wb_op_done(wb, op, PH_ST_OK, resume);
}

static void rename_making(struct wb_op *make, const char *name, size_t len)
{
    free(make->names[0]);
    make->names[0] = wb_alloc(len + 1);
    memcpy(make->names[0], name, len);
    make->lens[0] = len;
}

/* The link to O, which is made under NAME in D, that can take the place of that name. */
static struct wb_op *link_for(const struct wb_object *o, const struct wb_object *d,
                              const ProtobufCBinaryData *name)
{
    const struct wb_op *make = wb_make_of(o);
    const struct ph_wb_name *entry = ph_wb_names_find(d->names, name->data, name->len);
    struct wb_op *link = NULL;
    if (o->born || make == NULL || !make->fresh_name || make->dirs[0].directory != d || entry == NULL ||
        entry->op != make)
        return NULL;
    for (size_t i = 0; i < o->op_count; i++) {
        struct wb_op *op = o->ops[i];
        if (op->sent || op->uncertain ||
            (i > 0 && op->kind != WB_STATE && op->kind != WB_XATTR && op->kind != WB_LINK))
            return NULL;
        if (link == NULL && op->kind == WB_LINK && op->dirs[0].directory == d && can_be_undone(op))
            link = op;
    }
    return link;
}

bool wb_make_as_linked(struct ph_wb *wb, struct wb_object *o, struct wb_object *d,
                       const ProtobufCBinaryData *name, struct ph_wb_call **resume)
{
    struct wb_op *link = link_for(o, d, name), *make = wb_make_of(o);
    if (link == NULL)
        return false;
    ph_wb_names_find(d->names, name->data, name->len)->op = NULL;
    rename_making(make, link->names[0], link->lens[0]);
    undo(wb, o, link, resume);
    ph_wb_names_find(d->names, make->names[0], make->lens[0])->op = make;
    return true;
}

bool wb_remove_unmoved(struct ph_wb *wb, struct wb_object *o, struct wb_object *d, ProtobufCBinaryData *name,
                       const Pohmel__Caller *caller, struct ph_wb_call **resume)
{
    struct wb_op *op = wb_last_of(o);
    if (!o->born || op == NULL || op->kind != WB_RENAME || op->objects[1] != NULL ||
        op->dirs[0].directory != d || op->dirs[1].directory != d || !can_be_undone(op) ||
        op->caller->caller.uid != caller->uid || op->lens[1] != name->len ||
        memcmp(op->names[1], name->data, name->len) != 0)
        return false;
    ph_wb_names_put(d->names, name->data, name->len, 0);
    /* The entry has its bytes as long as it is there, which the removal that comes now sees to. */
    struct ph_wb_name *old = ph_wb_names_find(d->names, op->names[0], op->lens[0]);
    undo(wb, o, op, resume);
    *name = (ProtobufCBinaryData){.len = old->len, .data = old->name};
    return true;
}
