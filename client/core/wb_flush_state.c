/* What an object's data and attributes have become, on its way to the server: what was cut off, what was
 * written, then attributes and the size. The last, because writing changes times and clears bits. */
#include <stdlib.h>
#include <string.h>

#include "client/core/wb_private.h"
#include "ph_commands.h"

static const uint32_t AT_THE_END = PH_SET_MODE | PH_SET_UID | PH_SET_GID | PH_SET_ACCESSED | PH_SET_MODIFIED;

bool wb_state_fold(struct ph_wb *wb, struct wb_op *make, struct wb_op *state, struct ph_wb_call *call)
{
    struct wb_object *o = make->objects[0];
    uint64_t size = o->attr.size, cursor = 0, offset = 0;
    struct ph_blob *piece = NULL;
    struct wb_outgoing *out = call->outgoing;
    if (size > wb->config.payload_max_bytes || state->caller->caller.uid != make->caller->caller.uid ||
        (size > 0 && (o->data == NULL || !ph_wb_data_covers(o->data, 0, size))))
        return false;
    if (size > 0) {
        ph_wb_data_take(o->data);
        bool fits = ph_wb_data_next(o->data, &cursor, wb->config.payload_max_bytes, &offset, &piece) &&
                    offset == 0 && piece->len == size;
        if (!fits) {
            ph_blob_unref(piece);
            ph_wb_data_unsent(o->data);
            return false;
        }
    }
    call->payload = piece;
    out->message.create.length = (uint32_t) size;
    state->data = size > 0;
    o->is_cut = false;
    Pohmel__NewAttributes *attributes = &out->attributes;
    pohmel__new_attributes__init(attributes);
    attributes->which = (state->which & AT_THE_END) | PH_SET_MODIFIED;
    attributes->mode = attributes->which & PH_SET_MODE ? o->attr.mode & 07777 : 0;
    attributes->uid = attributes->which & PH_SET_UID ? o->attr.uid : 0;
    attributes->gid = attributes->which & PH_SET_GID ? o->attr.gid : 0;
    wb_time_to_wire(&o->attr.accessed, &out->accessed);
    wb_time_to_wire(&o->attr.modified, &out->modified);
    attributes->accessed = attributes->which & PH_SET_ACCESSED ? &out->accessed : NULL;
    attributes->modified = attributes->which & PH_SET_MODIFIED ? &out->modified : NULL;
    out->message.create.attributes = attributes;
    return true;
}

/* Who wrote had the right to when it was written; the owner has it still. Owners are changed by whoever did.
 */
static const Pohmel__Caller *caller_of(const struct wb_op *op, const struct wb_object *o, uint32_t which,
                                       struct wb_outgoing *out)
{
    pohmel__caller__init(&out->owner);
    out->owner.uid = o->attr.uid;
    out->owner.gid = o->attr.gid;
    bool by_owner = (which & (PH_SET_UID | PH_SET_GID)) == 0 && op->caller->caller.uid != 0;
    return by_owner ? &out->owner : &op->caller->caller;
}

static void send_open(struct ph_wb *wb, struct wb_op *op, struct ph_wb_actions *actions)
{
    struct ph_wb_call *call = wb_op_call(wb, op, WB_STEP_OPEN);
    Pohmel__OpenRequest *open = &call->outgoing->message.open;
    op->handle = PH_HANDLE_OWN_BIT | ++wb->last_handle;
    pohmel__open_request__init(open);
    open->caller = (Pohmel__Caller *) caller_of(op, op->objects[0], op->which, call->outgoing);
    open->object = op->objects[0]->lru.key;
    open->handle = op->handle;
    open->access = PH_OPEN_WRITE;
    open->reopen = true;
    wb_op_send(wb, call, PH_CMD_OPEN, actions);
}

/* Every command of ours that changes data says when it was changed: a time that none of them gave was given
 * by somebody else. Returns what goes into the message. */
static Pohmel__Time *tell_modified(struct wb_object *o, struct wb_outgoing *out)
{
    if (!o->sent_timed)
        o->sent_first = o->attr.modified;
    o->sent_timed = true;
    o->sent_last = o->attr.modified;
    wb_time_to_wire(&o->attr.modified, &out->modified);
    return &out->modified;
}

static void tell_size(struct wb_object *o, uint64_t size)
{
    o->sent_end = MAX_OF(o->sent_end, size);
    o->sent_least = MIN_OF(o->sent_least, size);
}

static void send_cut(struct ph_wb *wb, struct wb_op *op, struct ph_wb_actions *actions)
{
    struct ph_wb_call *call = wb_op_call(wb, op, WB_STEP_CUT);
    Pohmel__SetattrRequest *setattr = &call->outgoing->message.setattr;
    pohmel__setattr_request__init(setattr);
    setattr->caller = (Pohmel__Caller *) caller_of(op, op->objects[0], op->which, call->outgoing);
    setattr->object = op->objects[0]->lru.key;
    setattr->handle = op->handle;
    setattr->which = PH_SET_SIZE | (op->which & PH_SET_MODIFIED);
    setattr->size = op->cut;
    tell_size(op->objects[0], op->cut);
    if (setattr->which & PH_SET_MODIFIED)
        setattr->modified = tell_modified(op->objects[0], call->outgoing);
    else
        op->objects[0]->sent_untimed = true;
    wb_op_send(wb, call, PH_CMD_SETATTR, actions);
}

/* Whether one WRITE brings all there is to say. */
static bool says_all(const struct wb_op *op, const struct wb_object *o, uint64_t len)
{
    return (op->which & AT_THE_END) == PH_SET_MODIFIED && len == op->bytes &&
           op->size <= MAX_OF(op->end, o->server_size);
}

static void send_pieces(struct ph_wb *wb, struct wb_op *op, struct ph_wb_actions *actions)
{
    struct wb_object *o = op->objects[0];
    struct ph_blob *piece;
    uint64_t offset;
    while (op->outstanding < WB_PIECES_AT_ONCE && op->status == PH_ST_OK &&
           ph_wb_data_next(o->data, &op->cursor, wb->config.payload_max_bytes, &offset, &piece)) {
        struct ph_wb_call *call = wb_op_call(wb, op, WB_STEP_WRITE);
        Pohmel__WriteRequest *write = &call->outgoing->message.write;
        pohmel__write_request__init(write);
        write->caller = (Pohmel__Caller *) caller_of(op, o, op->which, call->outgoing);
        write->object = o->lru.key;
        write->handle = op->handle;
        write->offset = offset;
        write->length = (uint32_t) piece->len;
        call->payload = piece;
        op->end = MAX_OF(op->end, offset + piece->len);
        o->sent_end = MAX_OF(o->sent_end, op->end);
        write->modified = tell_modified(o, call->outgoing);
        op->said = op->said || says_all(op, o, piece->len);
        wb_op_send(wb, call, PH_CMD_WRITE, actions);
    }
}

/* True when there is nothing to be set. */
static bool send_final(struct ph_wb *wb, struct wb_op *op, struct ph_wb_actions *actions)
{
    struct wb_object *o = op->objects[0];
    uint32_t which = op->said ? 0 : op->which & AT_THE_END;
    if (op->writes && op->size != o->server_size)
        which |= PH_SET_SIZE | (op->which & PH_SET_MODIFIED);
    if (which == 0)
        return true;
    struct ph_wb_call *call = wb_op_call(wb, op, WB_STEP_FINAL);
    struct wb_outgoing *out = call->outgoing;
    Pohmel__SetattrRequest *setattr = &out->message.setattr;
    pohmel__setattr_request__init(setattr);
    setattr->caller = (Pohmel__Caller *) caller_of(op, o, op->which, out);
    setattr->object = o->lru.key;
    setattr->handle = op->writes ? op->handle : 0;
    setattr->which = which;
    setattr->mode = which & PH_SET_MODE ? o->attr.mode & 07777 : 0;
    setattr->uid = which & PH_SET_UID ? o->attr.uid : 0;
    setattr->gid = which & PH_SET_GID ? o->attr.gid : 0;
    setattr->size = which & PH_SET_SIZE ? op->size : 0;
    if (which & PH_SET_SIZE)
        tell_size(o, op->size);
    wb_time_to_wire(&o->attr.accessed, &out->accessed);
    setattr->accessed = which & PH_SET_ACCESSED ? &out->accessed : NULL;
    setattr->modified = which & PH_SET_MODIFIED ? tell_modified(o, out) : NULL;
    o->sent_untimed = o->sent_untimed || (which & (PH_SET_SIZE | PH_SET_MODIFIED)) == PH_SET_SIZE;
    wb_op_send(wb, call, PH_CMD_SETATTR, actions);
    return false;
}

static void finish(struct ph_wb *wb, struct wb_op *op, const struct ph_wb_now *now,
                   struct ph_wb_actions *actions)
{
    struct wb_object *o = op->objects[0];
    if (op->writes && op->opened)
        wb_close(wb, op->handle, o->lru.key, actions);
    if (op->data && op->status == PH_ST_OK) {
        uint64_t before = ph_wb_data_bytes(o->data);
        ph_wb_data_sent(o->data);
        wb_data_account(wb, o, before);
        op->data = false;
    }
    wb_op_finish(wb, op, op->status, now, actions);
}

/* A server that was started again did not give the lease back while OP was under way: it begins again under a
 * new one, when it is seen whether others changed the file. */
static void begin_anew(struct ph_wb *wb, struct wb_op *op, struct ph_wb_actions *actions)
{
    if (op->writes && op->opened)
        wb_close(wb, op->handle, op->objects[0]->lru.key, actions);
    op->opened = false;
    wb_op_begin_again(wb, op);
    op->due = false;
    wb_op_due(wb, op);
}

/* Goes on after what is answered; each step begins when all before it are over. */
static void step(struct ph_wb *wb, struct wb_op *op, const struct ph_wb_now *now,
                 struct ph_wb_actions *actions)
{
    bool unsure = op->objects[0]->suspect;
    if (op->status == PH_ST_OK && op->step == WB_STEP_WRITE && op->data && !unsure)
        send_pieces(wb, op, actions);
    if (op->outstanding > 0)
        return;
    if (unsure && op->status == PH_ST_OK && op->step != WB_STEP_FINAL) {
        begin_anew(wb, op, actions);
        return;
    }
    if (op->status != PH_ST_OK || op->step == WB_STEP_FINAL) {
        finish(wb, op, now, actions);
    } else if (op->step == WB_STEP_OPEN && op->cuts) {
        send_cut(wb, op, actions);
    } else if ((op->step == WB_STEP_OPEN || op->step == WB_STEP_CUT) && op->data) {
        op->step = WB_STEP_WRITE;
        send_pieces(wb, op, actions);
    } else if (send_final(wb, op, actions)) {
        finish(wb, op, now, actions);
    }
}

void wb_state_start(struct ph_wb *wb, struct wb_op *op, const struct ph_wb_now *now,
                    struct ph_wb_actions *actions)
{
    struct wb_object *o = op->objects[0];
    if (o->touched && o->children.next == &o->children) {
        op->which |= PH_SET_MODIFIED;
        o->touched = false;
    }
    op->size = o->attr.size;
    o->sent_end = o->sent_least = o->server_size;
    o->sent_timed = o->sent_untimed = false;
    op->bytes = o->data != NULL ? ph_wb_data_dirty_bytes(o->data) : 0;
    op->data = op->bytes > 0;
    op->cursor = op->end = 0;
    op->opened = op->said = false;
    if (o->is_cut && (!op->cuts || o->cut < op->cut))
        op->cut = o->cut;
    op->cuts = (op->cuts || o->is_cut) && op->cut < o->server_size;
    o->is_cut = false;
    op->writes = S_ISREG(o->attr.mode) && (op->data || op->cuts || op->size != o->server_size);
    op->sent = true;
    if (op->data)
        ph_wb_data_take(o->data);
    op->step = WB_STEP_FINAL;
    if (op->writes)
        send_open(wb, op, actions);
    else if (send_final(wb, op, actions))
        finish(wb, op, now, actions);
}

static const Pohmel__Attr *attr_of(const Pohmel__TransactReply *reply)
{
    const Pohmel__ChangeResult *result = reply->n_results == 1 ? reply->results[0] : NULL;
    if (result != NULL && result->result_case == POHMEL__CHANGE_RESULT__RESULT_WRITE)
        return result->write->attr;
    return result != NULL && result->result_case == POHMEL__CHANGE_RESULT__RESULT_SETATTR
               ? result->setattr->attr
               : NULL;
}

/* Each piece makes room as it arrives: who waits for room goes on piece by piece. */
static void arrived(struct ph_wb *wb, struct wb_object *o, const Pohmel__WriteRequest *write)
{
    uint64_t before = ph_wb_data_bytes(o->data);
    ph_wb_data_arrived(o->data, write->offset, write->length);
    wb_data_account(wb, o, before);
    o->server_size = MAX_OF(o->server_size, write->offset + write->length);
}

void wb_state_answered(struct ph_wb *wb, struct ph_wb_call *call, const struct ph_reply *reply,
                       const struct ph_wb_now *now, struct ph_wb_actions *actions)
{
    struct wb_op *op = call->op;
    struct wb_object *o = op->objects[0];
    uint32_t status = reply->status;
    const Pohmel__TransactReply *transact = (const Pohmel__TransactReply *) reply->message;
    if (call->step == WB_STEP_OPEN) {
        op->opened = status == PH_ST_OK;
    } else if (status == PH_ST_OK && call->step == WB_STEP_CUT) {
        o->server_size = op->cut;
        op->cuts = false; /* not once more in another session: what is written from now on stays */
    } else if (status == PH_ST_OK && call->step == WB_STEP_WRITE) {
        const Pohmel__WriteResult *result = transact->n_results == 1 ? transact->results[0]->write : NULL;
        const Pohmel__WriteRequest *write = &call->outgoing->message.write;
        if (result == NULL || result->written < write->length)
            status = PH_ST_NO_SPACE;
        else
            arrived(wb, o, write);
    } else if (status == PH_ST_OK && call->step == WB_STEP_FINAL && op->writes) {
        o->server_size = op->size;
    }
    const Pohmel__Attr *attr = status == PH_ST_OK && call->step != WB_STEP_OPEN ? attr_of(transact) : NULL;
    if (attr != NULL && attr->version > o->server_version) {
        wb_server_has(o, attr);
        wb_learn_changed(o, attr);
    } else if (attr != NULL && attr->version != 0) {
        o->moved = o->passed = false;
    }
    if (op->status == PH_ST_OK)
        op->status = status;
    o->pins++;
    step(wb, op, now, actions);
    wb_hear(call, o, attr);
    wb_unpin(wb, o);
    wb_resume(wb, NULL, now, actions);
}
