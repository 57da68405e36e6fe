/* Calls: submitted, answered here, or sent on when what they depend on was written back. */
#include <stdlib.h>
#include <string.h>

#include "client/core/wb_owned.h"
#include "client/core/wb_everything.h"
#include "client/core/wb_private.h"
#include "client/core/wb_range.h"
#include "client/core/wb_xattr.h"
#include "ph_commands.h"

struct ph_wb_call *wb_call_new(struct ph_wb *wb, enum wb_call_kind kind)
{
    struct ph_wb_call *call = wb_alloc(sizeof(*call));
    call->kind = kind;
    call->session = wb->session;
    ph_lru_add(&wb->calls, &call->lru, WB_TICKET_BIT | ++wb->last_ticket);
    return call;
}

uint64_t ph_wb_call_ticket(const struct ph_wb_call *call)
{
    return call->lru.key;
}

static void release_busy(struct ph_wb *wb, struct ph_wb_call *call)
{
    for (unsigned i = 0; i < call->busy_count; i++) {
        struct wb_object *o = call->busy[i];
        o->busy--;
        o->stale = o->stale || (call->sent && !(call->told & 1u << i));
        o->changed = ++wb->clock;
        wb_unpin(wb, o);
    }
    call->busy_count = 0;
    wb_everything_ends(wb, call);
    if (call->blind) {
        call->blind = false;
        wb->blind_running--;
        wb->blind = ++wb->clock;
    }
}

struct ph_wb_orphan *ph_wb_orphan(struct ph_wb *wb, uint64_t ticket)
{
    struct ph_lru_entry *entry = ph_lru_find(&wb->calls, ticket);
    struct ph_wb_call *call = entry != NULL ? WB_OF(entry, struct ph_wb_call, lru) : NULL;
    if (call == NULL || !call->sent || (call->busy_count == 0 && !call->blind))
        return NULL;
    struct ph_wb_orphan *orphan = wb_alloc(sizeof(*orphan));
    orphan->rest.sent = true;
    orphan->rest.busy_count = call->busy_count;
    memcpy(orphan->rest.busy, call->busy, sizeof(call->busy));
    orphan->rest.blind = call->blind;
    orphan->rest.everything = call->everything;
    call->busy_count = 0;
    call->blind = call->everything = false;
    return orphan;
}

void ph_wb_orphan_over(struct ph_wb *wb, struct ph_wb_orphan *orphan)
{
    if (orphan != NULL)
        release_busy(wb, &orphan->rest);
    free(orphan);
}

void wb_call_over(struct ph_wb *wb, struct ph_wb_call *call, struct ph_wb_actions *actions)
{
    release_busy(wb, call);
    wb_quota_answered(wb, call);
    call->over = true;
    ph_lru_remove(&wb->calls, &call->lru);
    wb_action_over(actions, call);
}

void wb_send(struct ph_wb *wb, struct ph_wb_call *call, uint16_t command, const ProtobufCMessage *message,
             struct ph_wb_actions *actions)
{
    struct ph_wb_action *action = wb_action(actions, PH_WB_SEND);
    (void) wb;
    call->sent = true;
    call->session = wb->session;
    action->call = call;
    action->own = call->kind == WB_CALL_OP || call->kind == WB_CALL_OWNED;
    action->generation = wb->generation;
    action->command = command;
    action->message = message;
    action->payload = call->payload != NULL ? ph_blob_ref(call->payload) : NULL;
}

/* What is in a transaction of one change; its message is in the place of every member of the union. */
static void unwrap(struct ph_wb_call *call, const ProtobufCMessage *message)
{
    call->outer_message = call->message = message;
    call->command = call->outer;
    if (call->outer != PH_CMD_TRANSACT)
        return;
    const Pohmel__TransactRequest *transact = (const Pohmel__TransactRequest *) message;
    if (transact->n_changes != 1 || transact->staged != 0) /* what it concerns is not known */
        return;
    call->command = (uint16_t) transact->changes[0]->command_case;
    call->message = (const ProtobufCMessage *) transact->changes[0]->create;
}

/* The caller's message is gone when the submission returns. */
void wb_replace_message(struct ph_wb_call *call, const ProtobufCMessage *message)
{
    ProtobufCMessage *before = call->owned;
    size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = wb_alloc(len + 1);
    protobuf_c_message_pack(message, packed);
    call->owned = protobuf_c_message_unpack(message->descriptor, NULL, len, packed);
    free(packed);
    if (call->owned == NULL)
        abort();
    unwrap(call, call->owned);
    if (before != NULL)
        protobuf_c_message_free_unpacked(before, NULL);
}

void wb_own_message(struct ph_wb_call *call)
{
    if (call->submitting && call->owned == NULL)
        wb_replace_message(call, call->outer_message);
}

static void wait_for(struct ph_wb *wb, struct wb_op *op, struct ph_wb_call *call)
{
    if (op == NULL || op->done)
        return;
    wb_op_wait(op, call);
    wb_op_due(wb, op);
}

static void wait_for_object(struct ph_wb *wb, struct wb_object *o, struct ph_wb_call *call)
{
    bool apart = wb_range_is_apart(wb, o, call);
    for (size_t i = 0; i < o->op_count; i++)
        if (!apart || o->ops[i]->kind != WB_RANGE)
            wait_for(wb, o->ops[i], call);
}

static void wait_for_children(struct ph_wb *wb, struct wb_object *o, struct ph_wb_call *call)
{
    for (struct wb_child *child = o->children.next; child != &o->children; child = child->next)
        wait_for(wb, child->op, call);
}

static void wait_for_need(struct ph_wb *wb, struct wb_need *need, struct ph_wb_call *call, uint64_t now_ms)
{
    for (int i = 0; i < 2; i++) {
        struct ph_lru_entry *entry =
            need->handles[i] != 0 ? ph_lru_find(&wb->handles, need->handles[i]) : NULL;
        if (entry != NULL)
            wait_for(wb, wb_handle_open(wb, WB_OF(entry, struct wb_handle, lru), now_ms), call);
    }
    for (unsigned i = 0; i < need->about_count; i++)
        wait_for_object(wb, need->about[i], call);
    for (unsigned i = 0; i < need->whole_count; i++)
        wait_for_children(wb, need->whole[i], call);
    for (unsigned i = 0; i < need->op_count; i++)
        wait_for(wb, need->ops[i], call);
    if (need->all)
        for (struct wb_op *op = wb->first; op != NULL; op = op->next)
            wait_for(wb, op, call);
}

/* What the server changes meanwhile cannot be changed here. */
static void begin_change(struct ph_wb *wb, const struct wb_need *need, struct ph_wb_call *call)
{
    for (unsigned i = 0; i < need->change_count && call->busy_count < WB_CALL_OBJECTS; i++) {
        struct wb_object *o = wb_object(wb, need->changes[i]);
        o->busy++;
        o->pins++;
        call->busy[call->busy_count++] = o;
    }
    if (need->all && call->outer == PH_CMD_TRANSACT) {
        call->blind = true;
        wb->blind_running++;
        wb->blind = ++wb->clock;
    }
    for (unsigned i = 0; i < need->name_count; i++) {
        struct wb_object *d = wb_find(wb, need->names[i].directory);
        if (d == NULL || d->names == NULL)
            continue;
        ph_wb_names_put(d->names, need->names[i].name.data, need->names[i].name.len, PH_WB_UNKNOWN);
    }
}

/* What the reply is to be understood by. */
static void remember(struct ph_wb *wb, struct ph_wb_call *call)
{
    const struct wb_object *d = NULL;
    call->clock = wb->clock;
    if (call->command == PH_CMD_READDIR)
        d = wb_find(wb, ((const Pohmel__ReaddirRequest *) call->message)->object);
    else if (call->command == PH_CMD_LOOKUP)
        d = wb_find(wb, ((const Pohmel__LookupRequest *) call->message)->parent);
    else if (call->command == PH_CMD_LISTXATTR)
        d = wb_find(wb, ((const Pohmel__ListxattrRequest *) call->message)->object);
    else if (call->busy_count == 0 && call->command != PH_CMD_LEASE_ACQUIRE &&
             call->command != PH_CMD_GETXATTR && call->command != PH_CMD_STATFS)
        return;
    call->epoch = d != NULL ? d->epoch : 0;
    wb_own_message(call);
}

/* Leases that are worth having for what goes to the server; and ranges that do not go with it. */
static void want(struct ph_wb *wb, const struct ph_wb_call *call, const struct wb_need *need,
                 const struct ph_wb_now *now, struct ph_wb_actions *actions)
{
    bool is_write = call->command == PH_CMD_WRITE;
    for (unsigned i = 0; i < need->change_count && !is_write; i++)
        wb_range_disturbed(wb, need->changes[i], actions);
    if (is_write && wb_range_want(wb, call, now, actions))
        return;
    for (int i = 0; i < 2; i++)
        if (need->wants[i] != 0)
            wb_want(wb, need->wants[i], now, actions);
}

static void forward(struct ph_wb *wb, struct ph_wb_call *call, const struct ph_wb_now *now,
                    struct ph_wb_actions *actions)
{
    struct wb_need need = {0};
    /* What was written back for a change may bring more; nothing new comes up meanwhile. */
    if (!call->flushed ||
        ((call->busy_count > 0 || wb_changes_everything(call)) && call->rounds++ < WB_ROUNDS_MAX)) {
        wb_need(wb, call, &need);
        wait_for_need(wb, &need, call, now->ms);
    }
    if (!call->flushed) {
        call->flushed = true;
        begin_change(wb, &need, call);
        want(wb, call, &need, now, actions);
    }
    if (call->waiting > 0) {
        wb_own_message(call);
        wb_pump(wb, now, actions);
        return;
    }
    wb_xattr_forwarded(wb, call);
    if (wb_changes_everything(call))
        wb_everything_begins(wb, call, actions);
    if (call->command == PH_CMD_WRITE)
        wb_spend(wb, ((const Pohmel__WriteRequest *) call->message)->length);
    wb_quota_forwarded(wb, call, now->ms);
    remember(wb, call);
    if (wb_keeps(wb) && (call->outer == PH_CMD_TRANSACT || call->outer == PH_CMD_SYNC))
        wb_own_message(call);
    call->owned_number = wb->owned->last_number;
    wb->counters.forwarded++;
    wb_send(wb, call, call->outer, call->outer_message, actions);
}

/* What is there to be written back, what was sent brought among it. */
static bool wait_for_flush(struct ph_wb *wb, struct ph_wb_call *call, const struct ph_wb_now *now)
{
    struct wb_object *o = wb_find(wb, call->flushing);
    struct wb_need need = {.all = call->flushing == 0};
    if (o != NULL) {
        need.about[need.about_count++] = o;
        need.whole[need.whole_count++] = o;
    }
    wait_for_need(wb, &need, call, now->ms);
    return call->waiting > 0;
}

static void go(struct ph_wb *wb, struct ph_wb_call *call, const struct ph_wb_now *now,
               struct ph_wb_actions *actions)
{
    if (call->kind == WB_CALL_FLUSH) {
        if (call->fn != NULL && call->rounds++ < WB_ROUNDS_MAX && wait_for_flush(wb, call, now)) {
            wb_pump(wb, now, actions);
            return;
        }
        struct ph_wb_answer *answer = wb_answer_attr(NULL);
        pohmel__nothing__init(&answer->message.nothing);
        if (call->status == PH_ST_OK) {
            wb_answer(wb, call, answer, NULL, actions);
        } else {
            free(answer);
            wb_fail(wb, call, call->status, "", actions);
        }
        return;
    }
    if (call->command == PH_CMD_SYNC) {
        uint32_t error = ph_wb_take_error(wb, ((const Pohmel__SyncRequest *) call->message)->object);
        uint32_t status = call->status != PH_ST_OK ? call->status : error;
        if (status != PH_ST_OK) {
            wb_fail(wb, call, status, "", actions);
            return;
        }
    }
    /* A change that waited was kept from being made here by itself, and goes to the server. */
    if (call->busy_count == 0 && wb_local(wb, call, now, actions))
        return;
    forward(wb, call, now, actions);
}

uint64_t ph_wb_submit(struct ph_wb *wb, uint16_t command, const ProtobufCMessage *message,
                      struct ph_blob *payload, ph_reply_fn fn, void *data, const struct ph_wb_now *now,
                      struct ph_wb_actions *actions)
{
    struct ph_wb_call *call = wb_call_new(wb, WB_CALL_USER);
    uint64_t ticket = call->lru.key;
    wb_make_room(wb, actions);
    call->outer = command;
    call->payload = payload != NULL ? ph_blob_ref(payload) : NULL;
    call->fn = fn;
    call->data = data;
    call->submitting = true;
    unwrap(call, message);
    if (!wb_owned_hold(wb, call))
        go(wb, call, now, actions);
    if (!call->over)
        call->submitting = false;
    wb_space_begin(wb, now, actions);
    if (wb->owned->bytes > wb->config.owned_limit_bytes / 2)
        wb_owned_tick(wb, now, actions);
    if (wb_amount(wb) > wb->config.dirty_limit_bytes / 2 && now->ms >= wb->ticked_ms + WB_TICK_AGAIN_MS)
        ph_wb_tick(wb, now, actions);
    return ticket;
}

void wb_resume(struct ph_wb *wb, struct ph_wb_call *resume, const struct ph_wb_now *now,
               struct ph_wb_actions *actions)
{
    while (resume != NULL) {
        struct ph_wb_call *call = resume;
        resume = call->throttled;
        call->throttled = NULL;
        go(wb, call, now, actions);
    }
    wb_pace(wb);
    while (wb->throttled_first != NULL && wb_has_room(wb)) {
        struct ph_wb_call *call = wb->throttled_first;
        wb->throttled_first = call->throttled;
        if (wb->throttled_first == NULL)
            wb->throttled_last = NULL;
        call->throttled = NULL;
        go(wb, call, now, actions);
    }
}

void ph_wb_sent(struct ph_wb *wb, uint64_t ticket, uint64_t link_ticket)
{
    struct ph_lru_entry *entry = ph_lru_find(&wb->calls, ticket);
    if (entry != NULL)
        WB_OF(entry, struct ph_wb_call, lru)->link_ticket = link_ticket;
}

void ph_wb_answered(struct ph_wb *wb, struct ph_wb_call *call, const struct ph_reply *reply,
                    const struct ph_wb_now *now, struct ph_wb_actions *actions)
{
    if (call->kind == WB_CALL_OWNED) {
        wb_owned_call_answered(wb, call, reply, now, actions);
        return;
    }
    wb_owned_answered(wb, call, reply, now);
    if (call->kind == WB_CALL_OP) {
        wb_op_answered(wb, call, reply, now, actions);
        return;
    }
    if (call->command == PH_CMD_SYNC)
        wb_owned_synced(wb, call, reply);
    wb_learn_reply(wb, call, reply, now, actions);
    /* What the server refused to do has changed nothing. */
    if (call->session == wb->session && reply->status != PH_ST_OK && reply->status != PH_ST_CANCELLED &&
        reply->status != PH_ST_IO_ERROR && reply->status != PH_ST_NO_SESSION)
        call->told = ~0u;
    struct ph_wb_action *action = wb_action(actions, PH_WB_COMPLETE);
    action->fn = call->fn;
    action->data = call->data;
    action->reply = *reply;
    if (reply->payload != NULL)
        ph_blob_ref(reply->payload);
    if (call->made_whole != 0)
        wb_action(actions, PH_WB_WHOLE)->object = call->made_whole;
    wb_call_over(wb, call, actions);
    wb_pump(wb, now, actions);
}

/* The operations that it waits for name it: it goes on when they are done, as what asks for nothing. */
static void stop_waiting(struct ph_wb_call *call, uint32_t status, const char *text,
                         struct ph_wb_actions *actions)
{
    if (call->fn == NULL)
        return;
    struct ph_wb_action *action = wb_action(actions, PH_WB_COMPLETE);
    action->fn = call->fn;
    action->data = call->data;
    action->reply = (struct ph_reply){.status = status, .text = text};
    call->fn = NULL;
    call->kind = WB_CALL_FLUSH;
}

void ph_wb_fail_waiting(struct ph_wb *wb, struct ph_wb_actions *actions)
{
    for (struct ph_lru_entry *entry = wb->calls.oldest; entry != NULL; entry = entry->newer) {
        struct ph_wb_call *call = WB_OF(entry, struct ph_wb_call, lru);
        /* Leases that are given back went with the session; whoever gives them back finds out there. */
        if ((call->kind == WB_CALL_USER || call->kind == WB_CALL_FLUSH) && !call->sent &&
            call->command != PH_CMD_LEASE_RELEASE)
            stop_waiting(call, PH_ST_IO_ERROR, "the server cannot be reached", actions);
    }
}

uint64_t ph_wb_cancel(struct ph_wb *wb, uint64_t ticket, struct ph_wb_actions *actions)
{
    struct ph_lru_entry *entry = ph_lru_find(&wb->calls, ticket);
    struct ph_wb_call *call = entry != NULL ? WB_OF(entry, struct ph_wb_call, lru) : NULL;
    if (call == NULL)
        return 0;
    if (call->sent)
        return call->link_ticket;
    stop_waiting(call, PH_ST_CANCELLED, "", actions);
    return 0;
}

void ph_wb_flush(struct ph_wb *wb, uint64_t object, ph_reply_fn fn, void *data, const struct ph_wb_now *now,
                 struct ph_wb_actions *actions)
{
    struct ph_wb_call *call = wb_call_new(wb, WB_CALL_FLUSH);
    call->fn = fn;
    call->data = data;
    call->flushing = object;
    go(wb, call, now, actions);
}
