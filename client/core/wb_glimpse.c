/* What is said of an object that is held exclusively to those who only look at it. */
#include "client/core/wb_private.h"
#include "runtime/base/mutant.h"

/* Something of it has still to be written back: that it is being opened changes nothing. */
static bool is_unsent(const struct wb_object *o)
{
    for (size_t i = 0; i < o->op_count; i++)
        if (o->ops[i]->kind != WB_OPEN)
            return true;
    return false;
}

void wb_learn_changed(struct wb_object *o, const Pohmel__Attr *attr)
{
    if (attr->changed != NULL)
        o->server_changed = (struct ph_cached_time){attr->changed->seconds, attr->changed->nanoseconds};
}

/* Others are told the server's time of change, which is that at which the change came there. Nobody cares how
 * long that took as long as only this client looks; now somebody compares. */
static bool follow(struct wb_object *o)
{
    const struct ph_cached_time *there = &o->server_changed, *here = &o->attr.changed;
    if (there->seconds < here->seconds ||
        (there->seconds == here->seconds && there->nanoseconds <= here->nanoseconds))
        return false;
    o->attr.changed = *there;
    o->attr.version++;
    return true;
}

enum ph_wb_glimpse ph_wb_glimpse(struct ph_wb *wb, uint64_t object, uint64_t lease,
                                 const struct ph_wb_now *now, struct ph_cached_attr *attr, bool *unsent)
{
    struct wb_object *o = wb_find(wb, object);
    bool held = o != NULL && o->exclusive && o->lease == lease && !o->recalled;
    if (!held || now->ms >= now->leases_until_ms)
        return PH_WB_GLIMPSE_NO;
    if (!S_ISREG(o->attr.mode) || now->ms >= o->used_until_ms)
        return PH_WB_GLIMPSE_QUIET;
    /* What is changed at the server at this moment shows there, and not here, or the other way round. */
    if (!wb_writable(wb, o, now) || !wb_links_known(wb, o))
        return PH_WB_GLIMPSE_NO;
    *unsent = is_unsent(o);
    bool moved = !*unsent && follow(o);
    *attr = o->attr;
    if (PH_MUTANT(GLIMPSE_OLD))
        attr->size = o->server_size;
    return moved ? PH_WB_GLIMPSE_MOVED : PH_WB_GLIMPSE_TOLD;
}
