/* Recalled leases under which nothing of this session can be written back yet. What an earlier session left
 * dirty goes under leases that this one has to get first, and who recalls one of them may be who the next one
 * waits for: neither would go on. It was not done under this lease, so the lease goes without it, as it would
 * with a session, and is asked for again. */
#include "client/core/wb_stuck.h"

#include <stdlib.h>

#include "client/core/wb_owned.h"
#include "ph_commands.h"

enum { WB_STUCK_MS = 1000 /* for so long a recalled lease is kept for what an earlier session left */ };

/* Nothing of OP was done under a lease of this session. */
static bool is_earlier(const struct wb_op *op)
{
    return !op->sent && (op->later || op->kind == WB_OPEN || op->kind == WB_RANGE);
}

static bool can_go_without(const struct wb_object *o)
{
    if (o == NULL || !o->recalled || !o->exclusive || !o->born)
        return false;
    for (size_t i = 0; i < o->op_count; i++)
        if (!is_earlier(o->ops[i]))
            return false;
    for (const struct wb_child *child = o->children.next; child != &o->children; child = child->next)
        if (!is_earlier(child->op))
            return false;
    return true;
}

/* Releases do not wait for OP any more: they look again what they have to wait for. */
static void leave_releases(struct wb_op *op, struct ph_wb_call **resume)
{
    struct wb_waiter **at = &op->waiters, *waiter;
    while ((waiter = *at) != NULL) {
        struct ph_wb_call *call = waiter->call;
        if (call->kind != WB_CALL_USER || call->command != PH_CMD_LEASE_RELEASE) {
            at = &waiter->next;
            continue;
        }
        *at = waiter->next;
        free(waiter);
        call->rounds = 0;
        if (--call->waiting == 0) {
            call->throttled = *resume;
            *resume = call;
        }
    }
}

static void go_without(struct ph_wb *wb, struct wb_object *o, const struct ph_wb_now *now,
                       struct ph_wb_call **resume, struct ph_wb_actions *actions)
{
    for (size_t i = 0; i < o->op_count; i++)
        leave_releases(o->ops[i], resume);
    for (struct wb_child *child = o->children.next; child != &o->children; child = child->next)
        leave_releases(child->op, resume);
    wb_action(actions, PH_WB_FORGET)->object = o->lru.key;
    wb_owned_given(wb, o->lru.key);
    wb_gone(wb, o->lru.key, o->lease);
    o->passed = o->passed || wb->blind_running > 0 || !wb_links_known(wb, o);
    wb_lose_lease(wb, o);
    /* Until the release has come there another one is refused (R-9.1-5). */
    wb_mark(wb, o->lru.key)->wanted_until_ms = now->ms + WB_REFUSED_MS;
}

void wb_stuck_tick(struct ph_wb *wb, const struct ph_wb_now *now, struct ph_wb_actions *actions)
{
    struct ph_wb_call *resume = NULL;
    if (!wb->open || wb->stalled == NULL)
        return;
    for (struct wb_op *op = wb->first; op != NULL; op = op->next) {
        struct wb_object *all[] = {op->objects[0], op->objects[1], op->dirs[0].directory,
                                   op->dirs[1].directory};
        for (int i = 0; i < 4; i++) {
            if (!can_go_without(all[i]))
                continue;
            if (all[i]->stuck_ms == 0)
                all[i]->stuck_ms = now->ms;
            else if (now->ms - all[i]->stuck_ms >= WB_STUCK_MS)
                go_without(wb, all[i], now, &resume, actions);
        }
    }
    wb_resume(wb, resume, now, actions);
}

bool wb_is_behind(const struct wb_object *o)
{
    return o->born && ((o->op_count > 0 && o->ops[0]->later) ||
                       (o->children.next != &o->children && o->children.next->op->later));
}
