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

enum ph_wb_glimpse ph_wb_glimpse(const struct ph_wb *wb, uint64_t object, uint64_t lease,
                                 const struct ph_wb_now *now, struct ph_cached_attr *attr, bool *unsent)
{
    const struct wb_object *o = wb_find(wb, object);
    bool held = o != NULL && o->exclusive && o->lease == lease && !o->recalled;
    if (!held || now->ms >= now->leases_until_ms)
        return PH_WB_GLIMPSE_NO;
    if (!S_ISREG(o->attr.mode) || now->ms >= o->used_until_ms)
        return PH_WB_GLIMPSE_QUIET;
    /* What is changed at the server at this moment shows there, and not here, or the other way round. */
    if (!wb_writable(wb, o, now) || !wb_links_known(wb, o))
        return PH_WB_GLIMPSE_NO;
    *attr = o->attr;
    if (PH_MUTANT(GLIMPSE_OLD))
        attr->size = o->server_size;
    *unsent = is_unsent(o);
    return PH_WB_GLIMPSE_TOLD;
}
