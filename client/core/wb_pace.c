/* Writers are slowed before the limit, and not all at once: above half of it they may write as much as
 * arrives at the server, twice as much at first and less and less up to the limit. So what is dirty settles
 * where writers are as fast as the server, and each write waits for a little instead of some for long. */
#include "client/core/wb_private.h"

enum {
    SLOPE = 4,       /* twice as much at half of the limit, nothing at the limit */
    AHEAD_PART = 16, /* of the limit: what may be saved up */
    TICK_PART = 64,  /* of the limit: what may be written from time to time, whatever arrived */
    EVERY_MS = 100,
};

static bool is_much(const struct ph_wb *wb, uint64_t amount)
{
    return wb->open && amount > wb->config.dirty_limit_bytes / 2;
}

void wb_pace(struct ph_wb *wb)
{
    uint64_t limit = wb->config.dirty_limit_bytes, amount = wb_amount(wb);
    uint64_t arrived = amount < wb->pace_amount ? wb->pace_amount - amount : 0;
    wb->pace_amount = amount;
    if (!is_much(wb, amount) || amount >= limit) {
        wb->pace_bytes = 0;
        return;
    }
    wb->pace_bytes += (uint64_t) ((double) arrived * SLOPE * (double) (limit - amount) / (double) limit);
    if (wb->pace_bytes > limit / AHEAD_PART)
        wb->pace_bytes = limit / AHEAD_PART;
}

bool wb_has_room(const struct ph_wb *wb)
{
    if (wb_is_full(wb))
        return false;
    return wb->first == NULL || !is_much(wb, wb_amount(wb)) || wb->pace_bytes > 0;
}

void wb_fill(struct ph_wb *wb, uint64_t len)
{
    wb->pace_amount += len; /* what comes is not taken for what stays */
    wb->pace_bytes -= len < wb->pace_bytes ? len : wb->pace_bytes;
}

void wb_pace_tick(struct ph_wb *wb, const struct ph_wb_now *now)
{
    if (now->ms < wb->paced_ms + EVERY_MS)
        return;
    wb->paced_ms = now->ms;
    wb_pace(wb);
    if (wb->throttled_first != NULL && wb_amount(wb) < wb->config.dirty_limit_bytes)
        wb->pace_bytes += wb->config.dirty_limit_bytes / TICK_PART;
}
