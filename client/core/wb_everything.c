/* Changes of which it is not known what they concern: transactions of several commands, RMTREE and MKPATH.
 * Who makes one gives up all leases (ph_cache_change_add_all), but that takes a while, and answers under way
 * bring others. So while one is at the server nothing is changed or answered here; afterwards all that is
 * held has to be asked for again, and leases in answers to what was asked before its end are not used. */
#include "client/core/wb_everything.h"
#include "client/core/wb_range.h"
#include "client/core/wb_xattr.h"
#include "ph_commands.h"

bool wb_changes_everything(const struct ph_wb_call *call)
{
    return call->outer == PH_CMD_TRANSACT &&
           (call->command == PH_CMD_TRANSACT || call->command == PH_CMD_RMTREE ||
            call->command == PH_CMD_MKPATH);
}

void wb_everything_begins(struct ph_wb *wb, struct ph_wb_call *call, struct ph_wb_actions *actions)
{
    call->everything = true;
    wb->all_running++;
    wb->all = ++wb->clock;
    for (struct ph_lru_entry *entry = wb->range_leases.oldest; entry != NULL;) {
        uint64_t object = WB_OF(entry, struct wb_range, lease_lru)->lru.key;
        entry = entry->newer;
        wb_range_disturbed(wb, object, actions);
    }
}

/* What is known of O is so no more, but for what is dirty. */
static void forget(struct ph_wb *wb, struct wb_object *o)
{
    o->stale = true;
    o->changed = o->epoch = wb->all;
    wb_xattrs_forget(o);
    if (o->names == NULL)
        return;
    ph_wb_names_clear(o->names);
    wb_mark_running(wb, o);
}

void wb_everything_ends(struct ph_wb *wb, struct ph_wb_call *call)
{
    if (!call->everything)
        return;
    call->everything = false;
    wb->all_running--;
    wb->all = ++wb->clock;
    for (struct ph_lru_entry *entry = wb->leases.oldest; entry != NULL; entry = entry->newer)
        forget(wb, WB_OF(entry, struct wb_object, lease_lru));
}

bool wb_is_before_everything(const struct ph_wb *wb, const struct ph_wb_call *call)
{
    return call->clock < wb->all;
}
