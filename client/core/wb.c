/* Life and tables of the write-back. */
#include "client/core/wb.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/core/wb_owned.h"
#include "client/core/wb_parted.h"
#include "client/core/wb_private.h"
#include "client/core/wb_range.h"
#include "client/core/wb_stuck.h"
#include "client/core/wb_xattr.h"
#include "ph_commands.h"
#include "runtime/base/zeroed.h"

void *wb_alloc(size_t size)
{
    return ph_zeroed(size);
}

struct ph_wb *ph_wb_new(const struct ph_wb_config *config)
{
    struct ph_wb *wb = wb_alloc(sizeof(*wb));
    wb->config = *config;
    ph_lru_init(&wb->objects);
    ph_lru_init(&wb->leases);
    ph_lru_init(&wb->handles);
    ph_lru_init(&wb->marks);
    ph_lru_init(&wb->calls);
    ph_lru_init(&wb->vanished);
    ph_lru_init(&wb->parted);
    ph_lru_init(&wb->kept);
    wb_owned_init(wb);
    ph_lru_init(&wb->ranges);
    ph_lru_init(&wb->range_leases);
    return wb;
}

static void free_call(struct ph_lru_entry *entry)
{
    struct ph_wb_call *call = WB_OF(entry, struct ph_wb_call, lru);
    ph_blob_unref(call->payload);
    if (call->owned != NULL)
        protobuf_c_message_free_unpacked(call->owned, NULL);
    if (call->op != NULL)
        wb_op_unref(call->op);
    free(call->outgoing);
    free(call);
}

static void free_object(struct ph_lru_entry *entry)
{
    struct wb_object *o = WB_OF(entry, struct wb_object, lru);
    ph_wb_names_free(o->names);
    ph_wb_data_free(o->data);
    wb_xattrs_free(o);
    free(o->there);
    ph_blob_unref(o->kept);
    free(o->ops);
    free(o);
}

static void free_handle(struct ph_lru_entry *entry)
{
    struct wb_handle *handle = WB_OF(entry, struct wb_handle, lru);
    wb_caller_unref(handle->caller);
    free(handle);
}

static void free_mark(struct ph_lru_entry *entry)
{
    free(WB_OF(entry, struct wb_mark, lru));
}

static void keep(struct ph_lru_entry *entry)
{
    (void) entry;
}

void ph_wb_free(struct ph_wb *wb)
{
    if (wb == NULL)
        return;
    for (struct wb_op *op = wb->first; op != NULL; op = op->next)
        wb_op_forget_waiters(op);
    ph_lru_clear(&wb->calls, free_call);
    while (wb->first != NULL) {
        struct ph_wb_call *resume = NULL;
        wb_op_done(wb, wb->first, PH_ST_OK, &resume);
    }
    ph_lru_clear(&wb->leases, keep);
    ph_lru_clear(&wb->kept, keep);
    ph_lru_clear(&wb->handles, free_handle);
    ph_lru_clear(&wb->objects, free_object);
    ph_lru_clear(&wb->marks, free_mark);
    wb_vanished_clear(wb);
    wb_parted_free(wb);
    wb_owned_free(wb);
    wb_ranges_free(wb);
    wb_caller_unref(wb->caller);
    free(wb->accounts);
    free(wb);
}

/* --- Objects --- */

struct wb_object *wb_find(const struct ph_wb *wb, uint64_t object)
{
    struct ph_lru_entry *entry = ph_lru_find(&wb->objects, object);
    return entry != NULL ? WB_OF(entry, struct wb_object, lru) : NULL;
}

/* The one used least recently that nothing pins makes room; the server may go on taking it for held. */
void wb_make_room(struct ph_wb *wb, struct ph_wb_actions *actions)
{
    for (unsigned tries = 0; wb->objects.count > WB_TRACKED_MAX && tries < WB_ROOM_TRIES; tries++) {
        struct wb_object *o = WB_OF(wb->objects.oldest, struct wb_object, lru);
        ph_lru_touch(&wb->objects, &o->lru);
        if (o->pins > 0 || ph_wb_is_dirty(wb, o->lru.key))
            continue;
        if (o->attr.version != o->server_version)
            wb_action(actions, PH_WB_FORGET)->object = o->lru.key;
        wb_untrack(wb, o);
    }
}

struct wb_object *wb_object(struct ph_wb *wb, uint64_t object)
{
    struct wb_object *o = wb_find(wb, object);
    if (o != NULL)
        return o;
    o = wb_alloc(sizeof(*o));
    o->children.next = o->children.previous = &o->children;
    o->born = true;
    o->changed = wb->changed;
    ph_lru_add(&wb->objects, &o->lru, object);
    return o;
}

void wb_set_lease(struct ph_wb *wb, struct wb_object *o, uint64_t lease)
{
    if (o->in_leases)
        ph_lru_remove(&wb->leases, &o->lease_lru);
    o->in_leases = false;
    o->lease = lease;
    if (lease != 0 && ph_lru_find(&wb->leases, lease) == NULL) {
        ph_lru_add(&wb->leases, &o->lease_lru, lease);
        o->in_leases = true;
    }
}

void wb_settle(struct ph_wb *wb, struct wb_object *o)
{
    if (o->pins > 0 || (o->exclusive && o->born))
        return;
    wb->changed = MAX_OF(wb->changed, o->changed);
    wb_set_lease(wb, o, 0);
    wb_drop_kept(wb, o);
    if (o->data != NULL)
        wb->data_bytes -= ph_wb_data_bytes(o->data);
    ph_lru_remove(&wb->objects, &o->lru);
    free_object(&o->lru);
}

void wb_unpin(struct ph_wb *wb, struct wb_object *o)
{
    o->pins--;
    wb_settle(wb, o);
}

void wb_untrack(struct ph_wb *wb, struct wb_object *o)
{
    o->epoch = ++wb->clock; /* never used twice, though the object is forgotten in between */
    wb_part(wb, o);
    wb_set_lease(wb, o, 0);
    wb_drop_kept(wb, o);
    o->exclusive = o->recalled = false;
    wb_xattrs_forget(o);
    if (o->names != NULL && o->children.next == &o->children) {
        ph_wb_names_free(o->names);
        o->names = NULL;
    } else if (o->names != NULL) {
        ph_wb_names_clear(o->names);
    }
    wb_settle(wb, o);
}

bool wb_holds(const struct ph_wb *wb, const struct wb_object *o, const struct ph_wb_now *now)
{
    return o != NULL && wb->open && wb->write_back && now->ms < now->leases_until_ms && o->exclusive &&
           o->known && !o->recalled && !o->dead && !o->suspect && o->busy == 0 && wb->all_running == 0 &&
           !wb_is_behind(o);
}

bool wb_writable(const struct ph_wb *wb, const struct wb_object *o, const struct ph_wb_now *now)
{
    return wb_holds(wb, o, now) && !o->stale;
}

bool wb_links_known(const struct ph_wb *wb, const struct wb_object *o)
{
    return !o->born || (wb->blind_running == 0 && o->learned >= wb->blind);
}

/* --- Marks --- */

struct wb_mark *wb_find_mark(const struct ph_wb *wb, uint64_t object)
{
    struct ph_lru_entry *entry = ph_lru_find(&wb->marks, object);
    return entry != NULL ? WB_OF(entry, struct wb_mark, lru) : NULL;
}

struct wb_mark *wb_mark(struct ph_wb *wb, uint64_t object)
{
    struct wb_mark *mark = wb_find_mark(wb, object);
    if (mark != NULL) {
        ph_lru_touch(&wb->marks, &mark->lru);
        return mark;
    }
    /* Those that hold an error stay until somebody has been told. */
    struct ph_lru_entry *oldest = wb->marks.count >= WB_MARKS_MAX ? wb->marks.oldest : NULL;
    for (unsigned tries = 0; oldest != NULL && tries < WB_MARK_TRIES; tries++) {
        if (WB_OF(oldest, struct wb_mark, lru)->error == PH_ST_OK) {
            ph_lru_remove(&wb->marks, oldest);
            free_mark(oldest);
            break;
        }
        ph_lru_touch(&wb->marks, oldest);
        oldest = wb->marks.oldest;
    }
    mark = wb_alloc(sizeof(*mark));
    ph_lru_add(&wb->marks, &mark->lru, object);
    return mark;
}

void wb_gone(struct ph_wb *wb, uint64_t object, uint64_t lease)
{
    struct wb_mark *mark = wb_mark(wb, object);
    mark->floor = MAX_OF(mark->floor, lease);
}

bool wb_is_gone(const struct ph_wb *wb, uint64_t object, uint64_t lease)
{
    const struct wb_mark *mark = wb_find_mark(wb, object);
    return lease <= wb->floor || (mark != NULL && lease <= mark->floor);
}

void wb_want(struct ph_wb *wb, uint64_t object, const struct ph_wb_now *now, struct ph_wb_actions *actions)
{
    const struct wb_object *o = wb_find(wb, object);
    struct wb_mark *mark = wb_mark(wb, object);
    if (!wb->open || !wb->write_back || now->ms < mark->hot_until_ms || now->ms < mark->wanted_until_ms ||
        (o != NULL && o->exclusive && !o->stale))
        return;
    mark->wanted_until_ms = UINT64_MAX; /* until that is answered */
    wb_action(actions, PH_WB_EXCLUSIVE)->object = object;
}

uint32_t ph_wb_take_error(struct ph_wb *wb, uint64_t object)
{
    struct wb_mark *mark = wb_find_mark(wb, object);
    uint32_t error = mark != NULL ? mark->error : PH_ST_OK;
    if (mark != NULL)
        mark->error = PH_ST_OK;
    return error;
}

/* --- Callers --- */

bool wb_same_caller(const Pohmel__Caller *a, const Pohmel__Caller *b)
{
    return a->uid == b->uid && a->gid == b->gid && a->n_groups == b->n_groups &&
           (a->n_groups == 0 || memcmp(a->groups, b->groups, a->n_groups * sizeof(*a->groups)) == 0);
}

void wb_caller_unref(struct wb_caller *caller)
{
    if (caller != NULL && --caller->refs == 0)
        free(caller);
}

struct wb_caller *wb_caller(struct ph_wb *wb, const Pohmel__Caller *caller)
{
    if (wb->caller == NULL || !wb_same_caller(&wb->caller->caller, caller)) {
        wb_caller_unref(wb->caller);
        wb->caller = wb_alloc(sizeof(*wb->caller) + caller->n_groups * sizeof(*caller->groups));
        wb->caller->refs = 1;
        pohmel__caller__init(&wb->caller->caller);
        wb->caller->caller.uid = caller->uid;
        wb->caller->caller.gid = caller->gid;
        wb->caller->caller.n_groups = caller->n_groups;
        wb->caller->caller.groups = wb->caller->groups;
        if (caller->n_groups > 0)
            memcpy(wb->caller->groups, caller->groups, caller->n_groups * sizeof(*caller->groups));
    }
    wb->caller->refs++;
    return wb->caller;
}

/* --- Actions --- */

void ph_wb_actions_init(struct ph_wb_actions *actions)
{
    actions->items = actions->few_items;
    actions->calls = actions->few_calls;
    actions->count = actions->call_count = 0;
    actions->capacity = actions->call_capacity = PH_WB_ACTIONS_FEW;
}

static void free_calls(struct ph_wb_actions *actions)
{
    for (size_t i = 0; i < actions->call_count; i++)
        free_call(&actions->calls[i]->lru);
    if (actions->calls != actions->few_calls)
        free(actions->calls);
    actions->calls = actions->few_calls;
    actions->call_count = 0;
    actions->call_capacity = PH_WB_ACTIONS_FEW;
}

/* What is sent is that of a call, which may be over by now. */
bool ph_wb_actions_part(struct ph_wb_actions *actions)
{
    for (size_t i = 0; i < actions->count; i++)
        if (actions->items[i]->kind == PH_WB_SEND)
            return false;
    free_calls(actions);
    return true;
}

void ph_wb_actions_clear(struct ph_wb_actions *actions)
{
    for (size_t i = 0; i < actions->count; i++) {
        ph_blob_unref(actions->items[i]->payload);
        ph_blob_unref(actions->items[i]->reply.payload);
        free(actions->items[i]->answer);
        if (i >= PH_WB_ACTIONS_OWN)
            free(actions->items[i]);
    }
    free_calls(actions);
    if (actions->items != actions->few_items)
        free(actions->items);
    ph_wb_actions_init(actions);
}

/* ITEMS, which are FEW at first, with room for one behind COUNT. */
static void *with_room(void *items, const void *few, size_t count, size_t *capacity)
{
    if (count < *capacity)
        return items;
    *capacity *= 2;
    void *more = realloc(items == few ? NULL : items, *capacity * sizeof(void *));
    if (more == NULL)
        abort();
    return items == few ? memcpy(more, few, count * sizeof(void *)) : more;
}

struct ph_wb_action *wb_action(struct ph_wb_actions *actions, enum ph_wb_action_kind kind)
{
    struct ph_wb_action *action;
    actions->items = with_room(actions->items, actions->few_items, actions->count, &actions->capacity);
    if (actions->count < PH_WB_ACTIONS_OWN) {
        action = &actions->own[actions->count];
        memset(action, 0, sizeof(*action));
    } else {
        action = wb_alloc(sizeof(*action));
    }
    action->kind = kind;
    actions->items[actions->count++] = action;
    return action;
}

void wb_action_over(struct ph_wb_actions *actions, struct ph_wb_call *call)
{
    actions->calls =
        with_room(actions->calls, actions->few_calls, actions->call_count, &actions->call_capacity);
    actions->calls[actions->call_count++] = call;
}

/* --- Status --- */

uint64_t wb_amount(const struct ph_wb *wb)
{
    return wb->data_bytes + wb->op_count * WB_OP_BYTES;
}

bool wb_is_full(const struct ph_wb *wb)
{
    return wb_amount(wb) + wb_owned_excess(wb) > wb->config.dirty_limit_bytes &&
           (wb->first != NULL || wb->owned->syncing);
}

bool ph_wb_is_dirty(const struct ph_wb *wb, uint64_t object)
{
    const struct wb_object *o = wb_find(wb, object);
    return o != NULL && (o->op_count > 0 || o->children.next != &o->children);
}

void ph_wb_count(const struct ph_wb *wb, uint64_t now_ms, struct ph_wb_counters *out)
{
    *out = wb->counters;
    out->dirty_bytes = wb->data_bytes;
    out->dirty_operations = wb->op_count;
    out->oldest_dirty_ms = wb->first != NULL && now_ms > wb->first->made_ms ? now_ms - wb->first->made_ms : 0;
    out->objects = wb->objects.count;
    out->exclusive = wb->leases.count;
    out->ranges = wb->range_leases.count;
    out->in_flight = wb->in_flight;
    out->waiting = wb->calls.count;
    out->reserved_bytes = wb->reserved_bytes;
    out->kept_bytes = wb->kept_bytes;
    out->unstable_bytes = wb->owned->bytes;
    out->made_again = wb->owned->restored;
    out->not_made_again = wb->owned->lost_changes;
    out->making_again = wb->owned->again;
}

bool ph_wb_is_idle(const struct ph_wb *wb)
{
    return wb->op_count == 0 && wb->owned->first == NULL && !wb->owned->hurry &&
           (!wb->open || wb->reserved_bytes <= WB_SPACE_IDLE_BYTES);
}

void ph_wb_tick(struct ph_wb *wb, const struct ph_wb_now *now, struct ph_wb_actions *actions)
{
    wb->ticked_ms = now->ms;
    if (wb->open)
        wb->away_ms = 0;
    else if (wb->away_ms == 0)
        wb->away_ms = now->ms;
    else if (wb->config.patience_ms > 0 && now->ms - wb->away_ms >= wb->config.patience_ms)
        ph_wb_fail_waiting(wb, actions);
    wb_space_tick(wb, now, actions);
    wb_owned_tick(wb, now, actions);
    bool much = wb_amount(wb) > wb->config.dirty_limit_bytes / 2;
    for (struct wb_op *op = wb->first; op != NULL; op = op->next) {
        if (!much && op->made_ms + wb->config.flush_age_ms > now->ms)
            break;
        wb_op_due(wb, op);
    }
    wb_stuck_tick(wb, now, actions);
    wb_op_unstall(wb);
    wb_pump(wb, now, actions);
    wb_pace_tick(wb, now);
    if (wb->throttled_first != NULL)
        wb_resume(wb, NULL, now, actions);
}
