/* What was written under a range, on its way to the server: pieces, and nothing else. Times are the server's:
 * ours would take those of others back. */
#include "client/core/wb_range.h"
#include "ph_commands.h"

struct wb_op *wb_range_op(struct ph_wb *wb, struct wb_range *range, const Pohmel__Caller *caller,
                          uint64_t now_ms)
{
    struct wb_object *o = wb_object(wb, range->lru.key);
    struct wb_op *last = wb_last_of(o);
    if (last != NULL && last->kind == WB_RANGE && !last->sent) {
        wb->counters.merged++;
        return last;
    }
    struct wb_op *op = wb_op_new(wb, WB_RANGE, wb_caller(wb, caller), now_ms);
    wb_op_about(wb, op, o);
    wb_op_append(wb, op);
    range->ops++;
    return op;
}

/* Who wrote had the right to when it was written; the owner has it still. */
static Pohmel__Caller *caller_of(const struct wb_op *op, const struct wb_range *range,
                                 struct wb_outgoing *out)
{
    pohmel__caller__init(&out->owner);
    out->owner.uid = range->attr.uid;
    out->owner.gid = range->attr.gid;
    return op->caller->caller.uid != 0 ? &out->owner : &op->caller->caller;
}

static void send_open(struct ph_wb *wb, struct wb_op *op, struct wb_range *range,
                      struct ph_wb_actions *actions)
{
    struct ph_wb_call *call = wb_op_call(wb, op, WB_STEP_OPEN);
    Pohmel__OpenRequest *open = &call->outgoing->message.open;
    range->handle = PH_HANDLE_OWN_BIT | ++wb->last_handle;
    pohmel__open_request__init(open);
    open->caller = caller_of(op, range, call->outgoing);
    open->object = range->lru.key;
    open->handle = range->handle;
    open->access = PH_OPEN_WRITE;
    open->reopen = true;
    wb_op_send(wb, call, PH_CMD_OPEN, actions);
}

static void send_pieces(struct ph_wb *wb, struct wb_op *op, struct wb_range *range,
                        struct ph_wb_actions *actions)
{
    struct ph_blob *piece;
    uint64_t offset;
    while (op->outstanding < WB_PIECES_AT_ONCE &&
           ph_wb_data_next(range->data, &op->cursor, wb->config.payload_max_bytes, &offset, &piece)) {
        struct ph_wb_call *call = wb_op_call(wb, op, WB_STEP_WRITE);
        Pohmel__WriteRequest *write = &call->outgoing->message.write;
        pohmel__write_request__init(write);
        write->caller = caller_of(op, range, call->outgoing);
        write->object = range->lru.key;
        write->handle = range->handle;
        write->offset = offset;
        write->length = (uint32_t) piece->len;
        call->payload = piece;
        wb_op_send(wb, call, PH_CMD_WRITE, actions);
    }
}

static void finish(struct ph_wb *wb, struct wb_op *op, struct wb_range *range, const struct ph_wb_now *now,
                   struct ph_wb_actions *actions)
{
    uint32_t status = op->status;
    if (op->data && status == PH_ST_OK) {
        uint64_t before = ph_wb_data_bytes(range->data);
        ph_wb_data_sent(range->data);
        wb_range_account(wb, range, before);
        op->data = false;
    }
    if (status != PH_ST_OK)
        wb_range_disturbed(wb, range->lru.key, actions);
    wb_op_finish(wb, op, status, now, actions);
}

static void step(struct ph_wb *wb, struct wb_op *op, struct wb_range *range, const struct ph_wb_now *now,
                 struct ph_wb_actions *actions)
{
    if (op->status == PH_ST_OK && op->data)
        send_pieces(wb, op, range, actions);
    if (op->outstanding == 0)
        finish(wb, op, range, now, actions);
}

void wb_range_start(struct ph_wb *wb, struct wb_op *op, const struct ph_wb_now *now,
                    struct ph_wb_actions *actions)
{
    struct wb_range *range = wb_range_find(wb, op->objects[0]->lru.key);
    op->data = ph_wb_data_dirty_bytes(range->data) > 0;
    op->sent = true;
    op->cursor = 0;
    if (op->data)
        ph_wb_data_take(range->data);
    if (op->data && !range->opened)
        send_open(wb, op, range, actions);
    else
        step(wb, op, range, now, actions);
}

static void arrived(struct ph_wb *wb, struct wb_range *range, const Pohmel__WriteRequest *write)
{
    uint64_t before = ph_wb_data_bytes(range->data);
    ph_wb_data_arrived(range->data, write->offset, write->length);
    wb_range_account(wb, range, before);
    range->there = MAX_OF(range->there, write->offset + write->length);
}

void wb_range_answered(struct ph_wb *wb, struct ph_wb_call *call, const struct ph_reply *reply,
                       const struct ph_wb_now *now, struct ph_wb_actions *actions)
{
    struct wb_op *op = call->op;
    struct wb_range *range = wb_range_find(wb, op->objects[0]->lru.key);
    uint32_t status = reply->status;
    if (call->step == WB_STEP_OPEN) {
        range->opened = status == PH_ST_OK;
    } else if (status == PH_ST_OK) {
        const Pohmel__TransactReply *transact = (const Pohmel__TransactReply *) reply->message;
        const Pohmel__WriteResult *result = transact->n_results == 1 ? transact->results[0]->write : NULL;
        const Pohmel__WriteRequest *write = &call->outgoing->message.write;
        if (result == NULL || result->written < write->length)
            status = PH_ST_NO_SPACE;
        else
            arrived(wb, range, write);
    }
    if (op->status == PH_ST_OK)
        op->status = status;
    step(wb, op, range, now, actions);
    wb_resume(wb, NULL, now, actions);
}

void wb_range_begin_again(struct ph_wb *wb, struct wb_op *op)
{
    struct wb_range *range = wb_range_find(wb, op->objects[0]->lru.key);
    uint64_t before = ph_wb_data_bytes(range->data);
    if (op->data)
        ph_wb_data_unsent(range->data);
    wb_range_account(wb, range, before);
}

void wb_range_op_done(struct ph_wb *wb, const struct wb_op *op)
{
    struct wb_range *range = wb_range_find(wb, op->objects[0]->lru.key);
    range->ops--;
    wb_range_settle(wb, range);
}
