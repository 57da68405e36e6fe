/* Space. What is answered here takes space at the server later, and must find it: it is reserved there, asked
 * for again before it is used up, and no more is kept here than there is. Each operation is charged what it
 * may take; when it was sent, that much of what was reserved is spent. */
#include "client/core/wb_private.h"

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t wb_space_left(const struct ph_wb *wb)
{
    return wb->reserved_bytes > wb->charged_bytes ? wb->reserved_bytes - wb->charged_bytes : 0;
}

/* Less than was asked for is not used from now on, whatever there was. */
static void ask(struct ph_wb *wb, uint64_t more, uint64_t now_ms, struct ph_wb_actions *actions)
{
    struct ph_wb_action *action = wb_action(actions, PH_WB_SPACE);
    action->needed = wb->charged_bytes;
    action->more = more;
    wb->space_asking = true;
    wb->space_asked_ms = now_ms;
    wb->spent_bytes = 0;
    wb->reserved_bytes = least(wb->reserved_bytes, wb->charged_bytes + more);
}

void wb_space_ask(struct ph_wb *wb, const struct ph_wb_now *now, struct ph_wb_actions *actions)
{
    if (wb->open && !wb->space_asking && now->ms >= wb->space_asked_ms + WB_SPACE_AGAIN_MS)
        ask(wb, wb->config.dirty_limit_bytes, now->ms, actions);
}

bool wb_space(struct ph_wb *wb, uint64_t bytes, uint64_t objects, const struct ph_wb_now *now,
              struct ph_wb_actions *actions)
{
    bool fits = wb->space_known && bytes + objects * WB_OBJECT_BYTES <= wb_space_left(wb) &&
                objects <= wb->space_objects;
    wb->space_short = wb->space_known && !fits;
    if (!fits || wb_space_left(wb) < wb->reserved_first / 2)
        wb_space_ask(wb, now, actions);
    return fits;
}

uint64_t wb_space_of(uint64_t offset, uint64_t len)
{
    uint64_t first = offset / WB_BLOCK_BYTES, last = (offset + len + WB_BLOCK_BYTES - 1) / WB_BLOCK_BYTES;
    uint64_t bytes = (last - first) * WB_BLOCK_BYTES;
    return bytes + bytes / WB_TREE_PARTS;
}

uint64_t wb_charge(struct ph_wb *wb, struct wb_op *op, uint64_t bytes, uint64_t objects, uint64_t limit)
{
    uint64_t charge =
        least(op->charge + bytes + objects * WB_OBJECT_BYTES, limit > op->charge ? limit : op->charge);
    uint64_t added = charge - op->charge;
    wb->charged_bytes += added;
    wb->space_objects -= least(objects, wb->space_objects);
    op->charge = charge;
    return added;
}

void wb_discharge(struct ph_wb *wb, const struct wb_op *op)
{
    wb->charged_bytes -= op->charge;
    wb_quota_discharge(wb, op);
    if (!op->sent)
        return;
    wb->reserved_bytes -= least(op->charge, wb->reserved_bytes);
    wb->spent_bytes += op->charge;
}

void wb_spend(struct ph_wb *wb, uint64_t bytes)
{
    wb->reserved_bytes -= least(bytes, wb_space_left(wb));
    wb->spent_bytes += bytes;
}

void wb_learn_space(struct ph_wb *wb, const Pohmel__StatfsReply *reply, uint64_t now_ms)
{
    const Pohmel__Space *space = reply->space;
    wb->space_asking = false;
    wb->space_known = true;
    /* What was sent since may have taken its part of it. */
    wb->reserved_bytes = reply->reserved > wb->spent_bytes ? reply->reserved - wb->spent_bytes : 0;
    wb->reserved_first = wb_space_left(wb);
    wb->space_objects = space->objects > 0 ? space->objects_free / WB_OBJECTS_SHARE : UINT64_MAX;
    wb_quota_learn(wb, reply, now_ms);
}

void wb_space_lost(struct ph_wb *wb)
{
    wb->space_known = wb->space_asking = false;
    wb->space_asked_ms = 0;
    wb->reserved_bytes = wb->spent_bytes = 0;
    wb_quota_lost(wb);
}

void wb_space_begin(struct ph_wb *wb, const struct ph_wb_now *now, struct ph_wb_actions *actions)
{
    if (wb->open && wb->write_back && !wb->space_known && !wb->space_asking &&
        now->ms >= wb->space_asked_ms + WB_SPACE_AGAIN_MS)
        ask(wb, WB_SPACE_IDLE_BYTES, now->ms, actions);
}

void wb_space_tick(struct ph_wb *wb, const struct ph_wb_now *now, struct ph_wb_actions *actions)
{
    if (wb->op_count > 0 || wb->clean_ms == 0) {
        wb->clean_ms = now->ms;
        return;
    }
    bool little = wb->reserved_bytes <= WB_SPACE_IDLE_BYTES && !wb_quota_held(wb);
    if (!wb->open || wb->space_asking || little || now->ms < wb->clean_ms + WB_SPACE_IDLE_MS)
        return;
    ask(wb, WB_SPACE_IDLE_BYTES, now->ms, actions);
}
