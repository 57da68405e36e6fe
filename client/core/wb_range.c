/* Ranges: what is written and read under them, and when one is asked for and given back. */
#include "client/core/wb_range.h"

#include <stdlib.h>
#include <sys/stat.h>

#include "ph_commands.h"
#include "runtime/base/mutant.h"

enum {
    RANGES_MAX = 4096,
    STREAM_PIECES = 8, /* with so many full ones dirty they are sent, while more is written */
    OUTSIDE_MAX = 4,   /* writes in a row outside of it, and it is given back for another one */
    WORTH_WRITES = 8,  /* one that took fewer writes was not worth its recall */
    KEPT_MIN_BYTES = 64 * 1024,
    BACK_OFF_FIRST_MS = 10 /* for so long none is asked for after that; twice as long the next time */
};

/* --- The table --- */

struct wb_range *wb_range_find(const struct ph_wb *wb, uint64_t object)
{
    struct ph_lru_entry *entry = ph_lru_find(&wb->ranges, object);
    return entry != NULL ? WB_OF(entry, struct wb_range, lru) : NULL;
}

struct wb_range *wb_range_of_lease(const struct ph_wb *wb, uint64_t lease)
{
    struct ph_lru_entry *entry = ph_lru_find(&wb->range_leases, lease);
    return entry != NULL ? WB_OF(entry, struct wb_range, lease_lru) : NULL;
}

static void hold(struct ph_wb *wb, struct wb_range *range, uint64_t lease)
{
    if (range->held)
        ph_lru_remove(&wb->range_leases, &range->lease_lru);
    range->held = lease != 0;
    if (range->held)
        ph_lru_add(&wb->range_leases, &range->lease_lru, lease);
}

static void free_range(struct ph_lru_entry *entry)
{
    struct wb_range *range = WB_OF(entry, struct wb_range, lru);
    ph_wb_data_free(range->data);
    free(range);
}

void wb_range_settle(struct ph_wb *wb, struct wb_range *range)
{
    if (range->held || range->ops > 0)
        return;
    wb->data_bytes -= ph_wb_data_bytes(range->data);
    ph_lru_remove(&wb->ranges, &range->lru);
    free_range(&range->lru);
}

static void keep(struct ph_lru_entry *entry)
{
    (void) entry;
}

void wb_ranges_free(struct ph_wb *wb)
{
    ph_lru_clear(&wb->range_leases, keep);
    ph_lru_clear(&wb->ranges, free_range);
}

void wb_range_account(struct ph_wb *wb, const struct wb_range *range, uint64_t before)
{
    wb->data_bytes += ph_wb_data_bytes(range->data) - before;
}

static bool is_usable(const struct ph_wb *wb, const struct wb_range *range, const struct ph_wb_now *now)
{
    return range != NULL && range->held && !range->going && wb->open && wb->write_back &&
           now->ms < now->leases_until_ms;
}

/* --- Writing --- */

static void answer_written(struct ph_wb *wb, struct ph_wb_call *call, const struct wb_range *range,
                           uint64_t offset, uint32_t written, struct ph_wb_actions *actions)
{
    struct ph_wb_answer *answer = wb_answer_attr(NULL);
    pohmel__write_result__init(&answer->message.write);
    answer->message.write.attr = (Pohmel__Attr *) ph_cached_attr_to_wire(&range->attr, &answer->attr);
    answer->message.write.offset = offset;
    answer->message.write.written = written;
    wb_answer(wb, call, answer, NULL, actions);
}

/* Whether a WRITE of this kind is ever answered here. */
static bool is_plain(const struct wb_range *range, const Pohmel__WriteRequest *request,
                     const struct ph_blob *payload)
{
    return request->stable == 0 && !request->append && request->length > 0 && payload != NULL &&
           payload->len == request->length && range->attr.plain &&
           (range->attr.mode & (S_ISUID | S_ISGID)) == 0;
}

bool wb_range_write(struct ph_wb *wb, struct ph_wb_call *call, const struct ph_wb_now *now,
                    struct ph_wb_actions *actions)
{
    const Pohmel__WriteRequest *request = (const Pohmel__WriteRequest *) call->message;
    struct wb_range *range = wb_range_find(wb, request->object);
    if (!is_usable(wb, range, now) || !is_plain(range, request, call->payload))
        return false;
    uint64_t offset = request->offset, end = offset + request->length;
    bool inside = (offset >= range->start && end <= range->end) || PH_MUTANT(RANGE_OUTSIDE);
    if (!inside || end > WB_LOCAL_SIZE_MAX)
        return false;
    uint64_t bytes = wb_space_of(offset, request->length);
    if (!wb_space(wb, bytes, 0, now, actions) || !wb_quota_of(wb, &range->attr, bytes, 0, now, actions))
        return false;
    if (wb_is_full(wb)) {
        wb_throttle(wb, call);
        return true;
    }
    struct wb_op *op = wb_range_op(wb, range, request->caller, now->ms);
    uint64_t before = ph_wb_data_bytes(range->data);
    ph_wb_data_write(range->data, offset, call->payload);
    wb_range_account(wb, range, before);
    range->attr.size = MAX_OF(range->attr.size, end);
    wb_owe_of(wb, op, &range->attr, wb_charge(wb, op, bytes, 0, wb_space_of(0, range->attr.size)), 0);
    range->attr.modified = range->attr.changed = now->real;
    range->used_until_ms = now->ms + WB_USED_MS;
    range->first = offset < range->first ? offset : range->first;
    range->last = MAX_OF(range->last, end);
    range->latest = offset;
    range->absorbed++;
    range->outside = 0;
    answer_written(wb, call, range, offset, request->length, actions);
    if (!op->due &&
        ph_wb_data_dirty_bytes(range->data) >= STREAM_PIECES * (uint64_t) wb->config.payload_max_bytes) {
        wb_op_due(wb, op);
        wb_pump(wb, now, actions);
    }
    return true;
}

/* --- Reading --- */

bool wb_range_read(struct ph_wb *wb, struct ph_wb_call *call, const struct ph_wb_now *now,
                   struct ph_wb_actions *actions)
{
    const Pohmel__ReadRequest *request = (const Pohmel__ReadRequest *) call->message;
    const struct wb_range *range = wb_range_find(wb, request->object);
    if (!is_usable(wb, range, now) || request->length == 0 ||
        !ph_wb_data_covers(range->data, request->offset, request->length))
        return false;
    struct ph_blob *payload = ph_blob_new(request->length);
    if (payload == NULL)
        return false;
    payload->len = request->length;
    ph_wb_data_read(range->data, request->offset, payload->data, payload->len);
    struct ph_wb_answer *answer = wb_answer_attr(NULL);
    pohmel__read_reply__init(&answer->message.read);
    answer->message.read.end = false;
    wb_answer(wb, call, answer, payload, actions);
    return true;
}

bool wb_range_is_apart(const struct ph_wb *wb, const struct wb_object *o, const struct ph_wb_call *call)
{
    const struct wb_range *range = wb_range_find(wb, o->lru.key);
    uint64_t offset, len;
    if (range == NULL)
        return false;
    if (call->command == PH_CMD_READ) {
        offset = ((const Pohmel__ReadRequest *) call->message)->offset;
        len = ((const Pohmel__ReadRequest *) call->message)->length;
    } else if (call->command == PH_CMD_WRITE && !((const Pohmel__WriteRequest *) call->message)->append) {
        offset = ((const Pohmel__WriteRequest *) call->message)->offset;
        len = ((const Pohmel__WriteRequest *) call->message)->length;
    } else {
        return false;
    }
    /* Where the file is larger here it has holes here that it has not there. */
    return !ph_wb_data_any(range->data, offset, len) &&
           (range->attr.size <= range->there || offset + len <= range->there);
}

/* --- Asking, and giving back --- */

static void give_back(struct ph_wb *wb, struct wb_range *range, struct ph_wb_actions *actions)
{
    if (!range->held || range->going)
        return;
    wb_range_hurry(wb, range, NULL);
    struct ph_wb_action *action = wb_action(actions, PH_WB_RETURN);
    action->object = range->lru.key;
    action->lease = range->lease_lru.key;
}

static bool is_hot(const struct ph_wb *wb, uint64_t object, const struct ph_wb_now *now)
{
    const struct wb_mark *mark = wb_find_mark(wb, object);
    return mark != NULL && now->ms < mark->hot_until_ms;
}

/* A write past RANGE: after many of them another range is the better one. What is appended needs to know
 * where the file ends. */
static void missed(struct ph_wb *wb, struct wb_range *range, const Pohmel__WriteRequest *request,
                   struct ph_wb_actions *actions)
{
    bool outside = request->offset < range->start || request->offset + request->length > range->end;
    if (request->append || (outside && ++range->outside >= OUTSIDE_MAX))
        give_back(wb, range, actions);
}

bool wb_range_want(struct ph_wb *wb, const struct ph_wb_call *call, const struct ph_wb_now *now,
                   struct ph_wb_actions *actions)
{
    const Pohmel__WriteRequest *request = (const Pohmel__WriteRequest *) call->message;
    struct wb_range *range = wb_range_find(wb, request->object);
    if (range != NULL) {
        missed(wb, range, request, actions);
        return true;
    }
    if (!wb->ranges_granted || !wb->open || !wb->write_back || !is_hot(wb, request->object, now))
        return false;
    struct wb_mark *mark = wb_mark(wb, request->object);
    if (request->append || request->stable != 0 || request->length == 0 || now->ms < mark->range_after_ms ||
        now->ms < mark->wanted_until_ms || wb->ranges.count >= RANGES_MAX)
        return true;
    mark->wanted_until_ms = UINT64_MAX; /* until that is answered */
    struct ph_wb_action *action = wb_action(actions, PH_WB_RANGE);
    action->object = request->object;
    action->offset = request->offset;
    action->len = request->length;
    return true;
}

void ph_wb_range_later(struct ph_wb *wb, uint64_t object)
{
    struct wb_mark *mark = wb_find_mark(wb, object);
    if (mark != NULL)
        mark->wanted_until_ms = 0;
}

void wb_range_granted(struct ph_wb *wb, const Pohmel__LeaseGrant *grant, const struct ph_wb_now *now,
                      struct ph_wb_actions *actions)
{
    uint64_t object = grant->object, start = grant->range->offset;
    bool to_end = grant->range->length >= (uint64_t) INT64_MAX - start;
    const struct wb_object *o = wb_find(wb, object);
    if (wb_is_gone(wb, object, grant->lease) ||
        (wb_range_find(wb, object) != NULL &&
         wb_range_of_lease(wb, grant->lease) == wb_range_find(wb, object)))
        return; /* it was given back before it came, or is the one that is here */
    if (!wb->open || !wb->write_back || wb_range_find(wb, object) != NULL || (o != NULL && o->exclusive) ||
        !S_ISREG(grant->attr->mode) || wb_range_of_lease(wb, grant->lease) != NULL) {
        wb_gone(wb, object, grant->lease);
        struct ph_wb_action *action = wb_action(actions, PH_WB_RETURN);
        action->object = object;
        action->lease = grant->lease;
        return;
    }
    struct wb_range *range = wb_alloc(sizeof(*range));
    ph_lru_add(&wb->ranges, &range->lru, object);
    hold(wb, range, grant->lease);
    ph_cached_attr_from_wire(grant->attr, &range->attr);
    range->attr.version = 0; /* what is said of it is used once */
    range->start = start;
    range->end = to_end ? WB_RANGE_TO_END : start + grant->range->length;
    range->there = range->attr.size;
    range->first = WB_RANGE_TO_END;
    range->used_until_ms = now->ms + WB_USED_MS;
    range->data = ph_wb_data_new();
}

void wb_range_patch(const struct ph_wb *wb, Pohmel__Attr *attr)
{
    const struct wb_range *range = wb_range_find(wb, attr->object);
    /* Whoever cuts it has the range first; what was sent may have arrived behind the answer. */
    if (range == NULL || (range->ops == 0 && (!range->held || range->going)))
        return;
    attr->size = MAX_OF(attr->size, range->attr.size);
}

bool wb_range_replaced(struct ph_wb *wb, uint64_t object, uint64_t lease, struct ph_wb_actions *actions)
{
    struct wb_range *range = wb_range_find(wb, object);
    if (range == NULL || !range->held || wb_is_gone(wb, object, lease))
        return false;
    if (lease == range->lease_lru.key || wb_range_of_lease(wb, lease) != NULL)
        return true;
    /* The lease on the range is not current any more; it goes back under the new id. */
    wb_gone(wb, object, lease);
    hold(wb, range, lease);
    range->going = false;
    give_back(wb, range, actions);
    return true;
}

void wb_range_disturbed(struct ph_wb *wb, uint64_t object, struct ph_wb_actions *actions)
{
    struct wb_range *range = wb_range_find(wb, object);
    if (range != NULL)
        give_back(wb, range, actions);
}

bool wb_range_acquire(struct ph_wb *wb, struct ph_wb_call *call, const struct ph_wb_now *now,
                      struct ph_wb_actions *actions)
{
    const Pohmel__LeaseAcquireRequest *request = (const Pohmel__LeaseAcquireRequest *) call->message;
    struct wb_range *range = wb_range_find(wb, request->object);
    if (range == NULL || request->range != NULL)
        return false;
    /* Who reads a file while it is written here reads past the pages. */
    if (request->mode == POHMEL__LEASE_MODE__MODE_SHARED && is_usable(wb, range, now) &&
        now->ms < range->used_until_ms) {
        wb_fail(wb, call, PH_ST_LIMIT, "part of the file is being written", actions);
        return true;
    }
    give_back(wb, range, actions);
    if (range->ops == 0)
        return false;
    wb_range_hurry(wb, range, call);
    wb_own_message(call);
    wb_pump(wb, now, actions);
    return true;
}

void wb_range_hurry(struct ph_wb *wb, struct wb_range *range, struct ph_wb_call *call)
{
    range->going = true;
    wb_range_wait(wb, range, call);
}

void wb_range_refused(struct ph_wb *wb, uint64_t object, uint64_t now_ms)
{
    struct wb_mark *mark = wb_mark(wb, object);
    uint32_t longer = MAX_OF(2 * mark->range_back_off_ms, BACK_OFF_FIRST_MS);
    mark->range_back_off_ms = longer < WB_HOT_MS ? longer : WB_HOT_MS;
    mark->range_after_ms = now_ms + mark->range_back_off_ms;
}

void wb_range_recalled(struct ph_wb *wb, struct wb_range *range, uint64_t now_ms)
{
    if (range->absorbed >= WORTH_WRITES)
        wb_mark(wb, range->lru.key)->range_back_off_ms = 0;
    else
        wb_range_refused(wb, range->lru.key, now_ms);
    wb_range_hurry(wb, range, NULL);
}

/* What may be kept when the bytes from START up to END are wanted: that side of it on which was written last,
 * and half of the way to what is wanted, as others come from there. False: too little to be worth it. */
static bool cut_down(struct wb_range *range, uint64_t start, uint64_t end)
{
    uint64_t from = range->start, to = range->end;
    if (range->latest < start) {
        uint64_t written = range->last < start ? range->last : start;
        to = written + (start - written) / 2;
    } else if (range->latest >= end) {
        uint64_t written = MAX_OF(range->first, end);
        from = end + (written - end + 1) / 2;
    } else {
        return false;
    }
    if (from >= to || to - from < KEPT_MIN_BYTES)
        return false;
    range->start = from;
    range->end = to;
    range->first = MAX_OF(range->first, from);
    range->last = range->last < to ? range->last : to;
    return true;
}

bool ph_wb_recalled_part(struct ph_wb *wb, uint64_t object, uint64_t lease, uint64_t start, uint64_t end,
                         const struct ph_wb_now *now, struct ph_wb_actions *actions)
{
    struct wb_range *range = wb_range_of_lease(wb, lease);
    if (range == NULL || range->lru.key != object || range->going || start >= end)
        return false;
    bool worth = range->absorbed >= (range->was_cut ? WORTH_WRITES : 1);
    if (!worth || !cut_down(range, start, end))
        return false;
    wb_mark(wb, object)->hot_until_ms = now->ms + WB_HOT_MS;
    range->was_cut = true;
    range->absorbed = 0;
    struct ph_wb_action *action = wb_action(actions, PH_WB_KEEP);
    action->object = object;
    action->lease = lease;
    action->offset = range->start;
    action->len =
        range->end == WB_RANGE_TO_END ? (uint64_t) INT64_MAX - range->start : range->end - range->start;
    return true;
}

void wb_range_wait(struct ph_wb *wb, struct wb_range *range, struct ph_wb_call *call)
{
    struct wb_object *o = range->ops > 0 ? wb_find(wb, range->lru.key) : NULL;
    for (size_t i = 0; o != NULL && i < o->op_count; i++) {
        if (call != NULL)
            wb_op_wait(o->ops[i], call);
        wb_op_due(wb, o->ops[i]);
    }
}

void wb_range_let_go(struct ph_wb *wb, struct wb_range *range, struct ph_wb_actions *actions)
{
    wb_gone(wb, range->lru.key, range->lease_lru.key);
    if (range->opened)
        wb_close(wb, range->handle, range->lru.key, actions);
    range->opened = false;
    hold(wb, range, 0);
    wb_range_settle(wb, range);
}

void wb_range_closed(struct ph_wb *wb, uint64_t object)
{
    struct wb_range *range = wb_range_find(wb, object);
    if (range != NULL)
        range->used_until_ms = 0;
}

/* No version tells whether others wrote there since. */
void wb_ranges_lost(struct ph_wb *wb, bool session)
{
    for (struct wb_op *op = wb->first; op != NULL; op = op->next) {
        if (op->kind != WB_RANGE)
            continue;
        op->status = PH_ST_STALE;
        wb_op_due(wb, op);
    }
    for (struct ph_lru_entry *entry = wb->ranges.oldest, *newer; entry != NULL; entry = newer) {
        struct wb_range *range = WB_OF(entry, struct wb_range, lru);
        newer = entry->newer;
        hold(wb, range, 0);
        if (session)
            range->opened = false;
        wb_range_settle(wb, range);
    }
}

bool ph_wb_next_range(const struct ph_wb *wb, uint64_t after, struct ph_wb_range_held *out)
{
    const struct wb_range *next = NULL;
    for (struct ph_lru_entry *entry = wb->ranges.oldest; entry != NULL; entry = entry->newer) {
        const struct wb_range *range = WB_OF(entry, struct wb_range, lru);
        if (range->held && entry->key > after && (next == NULL || entry->key < next->lru.key))
            next = range;
    }
    if (next == NULL)
        return false;
    *out = (struct ph_wb_range_held){
        .object = next->lru.key,
        .lease = next->lease_lru.key,
        .start = next->start,
        .end = next->end,
        .going = next->going,
    };
    return true;
}
