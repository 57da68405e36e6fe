/* Operations that came to nothing at the server: who is told, and what is handed out to be kept. */
#include <stdio.h>

#include "client/core/wb_private.h"
#include "client/core/wb_range.h"
#include "ph_commands.h"

static const char *describe(const struct wb_op *op)
{
    static const char *const words[] = {[WB_MAKE] = "making",
                                        [WB_STATE] = "writing",
                                        [WB_LINK] = "linking",
                                        [WB_REMOVE] = "removing",
                                        [WB_RMDIR] = "removing directory",
                                        [WB_RENAME] = "renaming",
                                        [WB_OPEN] = "opening",
                                        [WB_XATTR] = "changing the attribute",
                                        [WB_RANGE] = "writing"};
    return words[op->kind];
}

static void keep_error(struct ph_wb *wb, uint64_t object, uint32_t status)
{
    struct wb_mark *mark = wb_mark(wb, object);
    if (mark->error == PH_ST_OK)
        mark->error = status;
}

/* What OP was to write is handed out, piece by piece. */
static void hand_out(struct ph_wb *wb, struct wb_op *op, struct ph_wb_data *data,
                     struct ph_wb_actions *actions)
{
    struct wb_object *o = op->objects[0];
    uint64_t cursor = 0, offset;
    struct ph_blob *piece;
    if (!op->data)
        ph_wb_data_take(data);
    while (ph_wb_data_next(data, &cursor, wb->config.payload_max_bytes, &offset, &piece)) {
        struct ph_wb_action *action = wb_action(actions, PH_WB_LOST);
        action->object = o->lru.key;
        action->offset = offset;
        action->payload = piece;
    }
    ph_wb_data_sent(data); /* what was written since goes its own way */
}

/* Where the bytes are that OP was to write; NULL for none. */
static struct ph_wb_data *data_of(const struct ph_wb *wb, const struct wb_op *op)
{
    if (op->kind == WB_RANGE)
        return wb_range_find(wb, op->objects[0]->lru.key)->data;
    return op->kind == WB_STATE ? op->objects[0]->data : NULL;
}

void wb_op_failed(struct ph_wb *wb, struct wb_op *op, uint32_t status, struct ph_wb_actions *actions)
{
    struct wb_object *all[] = {op->objects[0], op->objects[1], op->dirs[0].directory, op->dirs[1].directory};
    wb->counters.failures++;
    struct ph_wb_data *data = data_of(wb, op);
    if (data != NULL) {
        uint64_t before = ph_wb_data_bytes(data);
        if (op->data || wb_last_of(op->objects[0]) == op)
            hand_out(wb, op, data, actions);
        op->data = false;
        wb->data_bytes += ph_wb_data_bytes(data) - before;
    }
    for (int i = 0; i < 4; i++) {
        if (all[i] == NULL)
            continue;
        if (i < 2)
            keep_error(wb, all[i]->lru.key, status);
        if (op->kind == WB_MAKE && i == 0)
            all[i]->dead = true;
        all[i]->recalled = all[i]->stale = true;
        struct ph_wb_action *action = wb_action(actions, PH_WB_FAILED);
        action->object = all[i]->lru.key;
        action->status = status;
        if (i == 0)
            snprintf(action->text, sizeof(action->text), "%s%s%.80s%s (object %llu) failed on the server",
                     describe(op), op->names[0] != NULL ? " \"" : "",
                     op->names[0] != NULL ? op->names[0] : "", op->names[0] != NULL ? "\"" : "",
                     (unsigned long long) all[i]->lru.key);
    }
}

/* Whoever closed it while it was being opened at the server is done with it. */
static bool is_open(const struct wb_object *o)
{
    for (const struct wb_handle *handle = o->handles; handle != NULL; handle = handle->next)
        if (!handle->closing)
            return true;
    return false;
}

bool wb_op_is_needless(struct ph_wb *wb, struct wb_op *op)
{
    const struct wb_object *o = op->objects[0];
    if ((op->kind != WB_STATE && op->kind != WB_XATTR) || !o->known || (o->attr.links > 0 && !o->unnamed) ||
        is_open(o))
        return false;
    struct ph_wb_data *data = data_of(wb, op);
    if (data != NULL) {
        uint64_t before = ph_wb_data_bytes(data);
        if (!op->data)
            ph_wb_data_take(data);
        ph_wb_data_sent(data);
        op->data = false;
        wb->data_bytes += ph_wb_data_bytes(data) - before;
    }
    return true;
}
