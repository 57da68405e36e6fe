/* Sessions that come and go, recalls, and leases that are given back. */
#include <stdlib.h>

#include "client/core/wb_doubt.h"
#include "client/core/wb_owned.h"
#include "client/core/wb_parted.h"
#include "client/core/wb_private.h"
#include "client/core/wb_range.h"
#include "client/core/wb_xattr.h"
#include "ph_commands.h"
#include "runtime/base/mutant.h"

/* --- Sessions --- */

/* What the server has opened is opened again with the session (carry.c); what it has not is still open here.
 */
static void leave_handles(struct ph_wb *wb, struct wb_object *o)
{
    for (struct wb_handle *handle = o->handles, *next; handle != NULL; handle = next) {
        next = handle->next;
        if (handle->open || handle->refused)
            wb_handle_free(wb, handle);
    }
}

void wb_lose_lease(struct ph_wb *wb, struct wb_object *o)
{
    /* Others may change a directory before it is held again, whatever is dirty in it. */
    o->stale = ph_wb_is_dirty(wb, o->lru.key) && o->born && (o->stale || S_ISDIR(o->attr.mode));
    wb_drop_kept(wb, o);
    o->recalled = false;
    o->stuck_ms = 0;
    o->unleased = false;
    o->epoch = ++wb->clock; /* never used twice, though the object is forgotten in between */
    if (o->born) {
        o->suspect = o->op_count > 0;
        o->exclusive = false;
        wb_xattrs_forget(o);
        wb_set_lease(wb, o, 0);
        if (o->names != NULL)
            ph_wb_names_clear(o->names);
    }
}

static void lose_object(struct ph_wb *wb, struct wb_object *o)
{
    o->pins++;
    leave_handles(wb, o);
    wb_lose_lease(wb, o);
    wb_unpin(wb, o);
}

void wb_op_begin_again(struct ph_wb *wb, struct wb_op *op)
{
    struct wb_object *o = op->objects[0];
    op->later = true;
    if (!op->sent)
        return;
    /* A file that was only being opened for it was not changed: if it is another one now, others did that. */
    bool changed = op->kind != WB_OPEN && (op->kind != WB_STATE || op->step > WB_STEP_OPEN);
    for (int i = 0; i < 2 && changed; i++)
        if (op->objects[i] != NULL)
            op->objects[i]->moved = true;
    if (op->kind == WB_RANGE)
        wb_range_begin_again(wb, op);
    if (op->data && o->data != NULL) {
        uint64_t before = ph_wb_data_bytes(o->data);
        ph_wb_data_unsent(o->data);
        wb_data_account(wb, o, before);
    }
    op->data = false;
    op->sent = false;
    /* A file that was only being opened for it was not changed. */
    op->uncertain = op->uncertain || op->kind != WB_STATE || op->step > WB_STEP_OPEN;
    op->outstanding = 0;
    op->step = WB_STEP_START;
    op->status = PH_ST_OK;
    if (op->folded != NULL)
        wb_op_unref(op->folded);
    op->folded = NULL;
}

void ph_wb_lost(struct ph_wb *wb)
{
    wb->session++;
    wb->clock++;
    wb->open = false;
    wb->in_flight = 0;
    wb_space_lost(wb);
    wb->ranges_granted = false;
    for (struct wb_op *op = wb->first; op != NULL; op = op->next)
        wb_op_begin_again(wb, op);
    wb_ranges_lost(wb, true);
    wb_parted_clear(wb);
    struct ph_lru_entry *entry = wb->objects.oldest;
    while (entry != NULL) {
        struct ph_lru_entry *newer = entry->newer;
        struct wb_object *o = WB_OF(entry, struct wb_object, lru);
        o->passed = o->passed || wb->blind_running > 0 || !wb_links_known(wb, o);
        lose_object(wb, o);
        entry = newer;
    }
    for (entry = wb->marks.oldest; entry != NULL; entry = entry->newer) {
        struct wb_mark *mark = WB_OF(entry, struct wb_mark, lru);
        mark->floor = mark->wanted_until_ms = mark->hot_until_ms = 0;
    }
    wb->floor = 0;
    wb_owned_session_lost(wb);
    wb_op_unstall(wb);
}

void ph_wb_server(struct ph_wb *wb, uint64_t epoch, uint64_t unbroken)
{
    struct wb_owned *kept = wb->owned;
    if (kept->epoch != 0 && kept->epoch != epoch && (unbroken == 0 || unbroken > kept->epoch))
        kept->lost = kept->first != NULL && !PH_MUTANT(UNSTABLE_FORGOTTEN);
    kept->epoch = epoch;
}

void wb_go_on(struct ph_wb *wb, const struct ph_wb_now *now, struct ph_wb_actions *actions)
{
    struct ph_wb_call *held = wb->owned->held_first;
    wb->owned->held_first = wb->owned->held_last = NULL;
    wb_space_lost(wb);
    wb_action(actions, PH_WB_RESTORED);
    wb_resume(wb, held, now, actions);
    wb_pump(wb, now, actions);
}

void ph_wb_opened(struct ph_wb *wb, uint64_t generation, bool write_back, const struct ph_wb_now *now,
                  struct ph_wb_actions *actions)
{
    wb->open = true;
    wb->away_ms = 0;
    wb->generation = generation;
    wb->write_back = write_back;
    wb->xattr_spaces = 0;
    for (struct wb_op *op = wb->first; op != NULL; op = op->next) {
        if (op->due) { /* what was sent is sent again */
            op->due = false;
            wb_op_due(wb, op);
        }
    }
    if (wb->owned->lost) {
        wb_owned_again(wb, now, actions);
        return;
    }
    wb_doubt_clear(wb);
    wb_go_on(wb, now, actions);
}

void ph_wb_ranges(struct ph_wb *wb, bool granted)
{
    wb->ranges_granted = granted;
}

void ph_wb_give_up(struct ph_wb *wb, const struct ph_wb_now *now, struct ph_wb_actions *actions)
{
    ph_wb_lost(wb);
    while (wb->first != NULL)
        wb_op_finish(wb, wb->first, PH_ST_IO_ERROR, now, actions);
}

/* --- A server that was started anew --- */

/* What others may have changed of O while the server was down shows in its version, as far as we know it. */
static uint64_t sure_version(const struct wb_object *o)
{
    bool sure = o->known && !S_ISDIR(o->attr.mode) && !o->moved && !o->passed && o->busy == 0;
    for (size_t i = 0; i < o->op_count && sure; i++)
        sure = !o->ops[i]->sent;
    return sure ? o->server_version : 0;
}

void ph_wb_claims(struct ph_wb *wb, void (*fn)(void *data, const struct ph_claim *claim), void *data)
{
    wb_ranges_lost(wb, false);
    for (struct ph_lru_entry *entry = wb->objects.oldest; entry != NULL; entry = entry->newer) {
        const struct wb_object *o = WB_OF(entry, struct wb_object, lru);
        if (!o->exclusive || !o->born || o->lease <= PH_LEASE_OWN_MAX)
            continue;
        struct ph_claim claim = {.object = o->lru.key,
                                 .lease = o->lease,
                                 .version = sure_version(o),
                                 .mode = POHMEL__LEASE_MODE__MODE_EXCLUSIVE,
                                 .releasing = o->recalled};
        fn(data, &claim);
    }
}

static void rename_in(uint64_t *leases, size_t count, uint64_t from, uint64_t to)
{
    for (size_t i = 0; i < count; i++)
        if (leases[i] == from)
            leases[i] = to;
}

/* Releases that wait for what is being written back name the lease as the server now knows it. */
static void rename_lease(struct ph_wb *wb, struct wb_object *o, uint64_t lease)
{
    for (struct ph_lru_entry *entry = wb->calls.oldest; entry != NULL; entry = entry->newer) {
        const struct ph_wb_call *call = WB_OF(entry, struct ph_wb_call, lru);
        if (call->command != PH_CMD_LEASE_RELEASE || call->sent || call->owned == NULL)
            continue;
        Pohmel__LeaseReleaseRequest *request = (Pohmel__LeaseReleaseRequest *) call->owned;
        rename_in(request->leases, request->n_leases, o->lease, lease);
        rename_in(request->kept, request->n_kept, o->lease, lease);
    }
    if (o->recalled) /* whatever replies still grant it */
        wb_gone(wb, o->lru.key, lease);
    wb_set_lease(wb, o, lease);
}

void ph_wb_reclaimed(struct ph_wb *wb, const struct ph_claim *claim, uint64_t lease, uint32_t mode)
{
    struct wb_object *o = wb_find(wb, claim->object);
    if (o == NULL || !o->exclusive || o->lease != claim->lease)
        return;
    if (lease != 0 && mode == POHMEL__LEASE_MODE__MODE_EXCLUSIVE) {
        rename_lease(wb, o, lease);
        return;
    }
    o->pins++;
    for (size_t i = 0; i < o->op_count; i++)
        o->ops[i]->later = true;
    wb_gone(wb, o->lru.key, o->lease);
    wb_lose_lease(wb, o);
    wb_unpin(wb, o);
}

/* --- Recalls and releases --- */

static void hurry(struct ph_wb *wb, struct wb_object *o, struct ph_wb_call *call, uint64_t now_ms)
{
    for (struct wb_handle *handle = o->handles; handle != NULL; handle = handle->next)
        if (!handle->open)
            wb_handle_open(wb, handle, now_ms);
    for (size_t i = 0; i < o->op_count; i++) {
        if (call != NULL)
            wb_op_wait(o->ops[i], call);
        wb_op_due(wb, o->ops[i]);
    }
    for (struct wb_child *child = o->children.next; child != &o->children; child = child->next) {
        if (call != NULL)
            wb_op_wait(child->op, call);
        wb_op_due(wb, child->op);
    }
}

void ph_wb_recalled(struct ph_wb *wb, uint64_t object, uint64_t lease, const struct ph_wb_now *now,
                    struct ph_wb_actions *actions)
{
    struct wb_object *o = wb_find(wb, object);
    wb_mark(wb, object)->hot_until_ms = now->ms + WB_HOT_MS;
    wb_gone(wb, object, lease);
    struct wb_range *range = wb_range_of_lease(wb, lease);
    if (range != NULL) {
        wb_range_recalled(wb, range, now->ms);
        wb_pump(wb, now, actions);
    }
    if (o == NULL || !o->exclusive ||
        (o->born && (lease < o->lease || (lease > o->lease && o->lease <= PH_LEASE_OWN_MAX))))
        return;
    o->recalled = true;
    /* The answer that says that it has another id by now, after a restart or for more, is on its way. */
    if (o->born && lease > o->lease && o->lease > PH_LEASE_OWN_MAX)
        rename_lease(wb, o, lease);
    hurry(wb, o, NULL, now->ms);
    wb_pump(wb, now, actions);
}

static struct wb_object *holder(struct ph_wb *wb, uint64_t lease)
{
    struct ph_lru_entry *entry = ph_lru_find(&wb->leases, lease);
    return entry != NULL ? WB_OF(entry, struct wb_object, lease_lru) : NULL;
}

static bool touches_unleased(const struct wb_op *op)
{
    const struct wb_object *all[] = {op->objects[0], op->objects[1], op->dirs[0].directory,
                                     op->dirs[1].directory};
    for (int i = 0; i < 4; i++)
        if (all[i] != NULL && all[i]->unleased)
            return true;
    return false;
}

/* What was made and got no lease: whoever is let in next can find it, and must find all of it. */
static void flush_unleased(struct ph_wb *wb, struct ph_wb_call *call, uint64_t now_ms)
{
    bool any = false;
    for (struct wb_op *op = wb->first; wb->any_unleased && op != NULL; op = op->next) {
        if (op->done || !touches_unleased(op))
            continue;
        any = true;
        wb_op_wait(op, call);
        wb_op_due(wb, op);
    }
    wb->any_unleased = any;
}

/* First: everything under the leases is sent. An id that is not known may be that of what is being made. */
static void flush_leases(struct ph_wb *wb, struct ph_wb_call *call, const uint64_t *leases, size_t count,
                         uint64_t now_ms)
{
    bool unknown = false;
    for (size_t i = 0; i < count; i++) {
        struct wb_object *o = holder(wb, leases[i]);
        struct wb_range *range = wb_range_of_lease(wb, leases[i]);
        if (range != NULL) {
            wb_range_hurry(wb, range, call);
            continue;
        }
        unknown = unknown || (o == NULL && leases[i] > PH_LEASE_OWN_MAX);
        if (o == NULL)
            continue;
        o->recalled = true;
        hurry(wb, o, call, now_ms);
    }
    for (struct wb_op *op = wb->first; unknown && op != NULL; op = op->next)
        if (op->kind == WB_MAKE && op->sent)
            wb_op_wait(op, call);
    if (count > 0)
        flush_unleased(wb, call, now_ms);
}

/* The same for ranges that are cut down. Once: what is written from now on is of what is kept. */
static void flush_parts(struct ph_wb *wb, struct ph_wb_call *call, const Pohmel__LeaseReleaseRequest *request)
{
    for (size_t i = 0; i < request->n_parts; i++) {
        struct wb_range *range = wb_range_of_lease(wb, request->parts[i]->lease);
        if (range != NULL)
            wb_range_wait(wb, range, call);
    }
}

/* Those of which nothing is kept any more have gone, or go by themselves. */
static void let_parts_go(struct ph_wb *wb, Pohmel__LeaseReleaseRequest *request)
{
    size_t left = 0;
    for (size_t i = 0; i < request->n_parts; i++) {
        Pohmel__LeaseKept *part = request->parts[i];
        const struct wb_range *range = wb_range_of_lease(wb, part->lease);
        if (range != NULL && !range->going)
            request->parts[left++] = part;
        else
            protobuf_c_message_free_unpacked(&part->base, NULL);
    }
    request->n_parts = left;
}

/* Whether nothing has to be sent before LEASE goes. */
static bool goes_at_once(struct ph_wb *wb, uint64_t lease)
{
    const struct wb_object *o = holder(wb, lease);
    if (wb_range_of_lease(wb, lease) != NULL)
        return false;
    if (o == NULL) { /* it may be that of what is being made */
        for (const struct wb_op *op = wb->first; op != NULL; op = op->next)
            if (op->kind == WB_MAKE && op->sent)
                return false;
        return true;
    }
    for (const struct wb_handle *handle = o->handles; handle != NULL; handle = handle->next)
        if (!handle->open && !handle->refused)
            return false;
    return o->op_count == 0 && o->children.next == &o->children;
}

/* Those that wait for nothing do not wait for the others: what these wait for may need what they stand for.
 */
static void let_some_go(struct ph_wb *wb, Pohmel__LeaseReleaseRequest *request, const struct ph_wb_now *now,
                        struct ph_wb_actions *actions)
{
    Pohmel__LeaseReleaseRequest first = POHMEL__LEASE_RELEASE_REQUEST__INIT;
    uint64_t leases[PH_LEASES_PER_RELEASE];
    size_t left = 0;
    first.leases = leases;
    for (size_t i = 0; i < request->n_leases; i++) {
        if (first.n_leases < PH_LEASES_PER_RELEASE && goes_at_once(wb, request->leases[i]))
            leases[first.n_leases++] = request->leases[i];
        else
            request->leases[left++] = request->leases[i];
    }
    request->n_leases = left;
    if (first.n_leases > 0)
        ph_wb_submit(wb, PH_CMD_LEASE_RELEASE, &first.base, NULL, NULL, NULL, now, actions);
}

/* Then they go; ids of our own mean nothing to the server. Returns how many are left. */
static size_t let_go(struct ph_wb *wb, uint64_t *leases, size_t count, struct ph_wb_actions *actions)
{
    size_t left = 0;
    for (size_t i = 0; i < count; i++) {
        struct wb_object *o = holder(wb, leases[i]);
        struct wb_range *range = wb_range_of_lease(wb, leases[i]);
        if (range != NULL)
            wb_range_let_go(wb, range, actions);
        if (o != NULL && o->born && o->attr.version != o->server_version)
            wb_action(actions, PH_WB_FORGET)->object = o->lru.key;
        if (o != NULL)
            wb_owned_given(wb, o->lru.key);
        if (o != NULL && o->born) {
            wb_gone(wb, o->lru.key, leases[i]);
            wb_untrack(wb, o);
        }
        if (leases[i] > PH_LEASE_OWN_MAX)
            leases[left++] = leases[i];
    }
    return left;
}

bool wb_local_release(struct ph_wb *wb, struct ph_wb_call *call, const struct ph_wb_now *now,
                      struct ph_wb_actions *actions)
{
    Pohmel__LeaseReleaseRequest *request = (Pohmel__LeaseReleaseRequest *) call->message;
    if (!call->flushed) {
        call->flushed = true;
        flush_leases(wb, call, request->leases, request->n_leases, now->ms);
        flush_leases(wb, call, request->kept, request->n_kept, now->ms);
        flush_parts(wb, call, request);
        wb_own_message(call);
        request = (Pohmel__LeaseReleaseRequest *) call->message;
        if (call->waiting > 0) {
            if (!wb->any_unleased)
                let_some_go(wb, request, now, actions);
            wb_pump(wb, now, actions);
            return true;
        }
    } else if (call->rounds++ < WB_ROUNDS_MAX) {
        /* What came to be known, or was opened, while that was under way. */
        flush_leases(wb, call, request->leases, request->n_leases, now->ms);
        flush_leases(wb, call, request->kept, request->n_kept, now->ms);
        if (call->waiting > 0) {
            wb_pump(wb, now, actions);
            return true;
        }
    }
    request->n_leases = let_go(wb, request->leases, request->n_leases, actions);
    request->n_kept = let_go(wb, request->kept, request->n_kept, actions);
    let_parts_go(wb, request);
    if (request->n_leases + request->n_kept + request->n_parts > 0)
        return false;
    struct ph_wb_answer *answer = wb_answer_attr(NULL);
    pohmel__lease_release_reply__init(&answer->message.release);
    wb_answer(wb, call, answer, NULL, actions);
    return true;
}
