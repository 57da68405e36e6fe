#include "conformance/sim/writeback_ask.h"

#include "ph_commands.h"
#include "ph_stubs.h"
#include "runtime/base/limits.h"

static void gave_back(void *data, const struct ph_reply *reply)
{
    (void) data, (void) reply;
}

void sim_release_range(const struct ph_stub *stub, const struct ph_wb_action *action)
{
    Pohmel__LeaseReleaseRequest message = POHMEL__LEASE_RELEASE_REQUEST__INIT;
    Pohmel__Range range = POHMEL__RANGE__INIT;
    Pohmel__LeaseKept kept = POHMEL__LEASE_KEPT__INIT, *parts[] = {&kept};
    uint64_t lease = action->lease;
    kept.lease = lease;
    kept.range = &range;
    range.offset = action->offset;
    range.length = action->len;
    message.n_leases = action->kind == PH_WB_RETURN;
    message.leases = &lease;
    message.n_parts = action->kind == PH_WB_KEEP;
    message.parts = parts;
    ph_send_lease_release(stub, &message, NULL, gave_back, NULL);
}

static void told_space(void *data, const struct ph_reply *reply)
{
    (void) data, (void) reply; /* learned on the way */
}

void sim_ask_space(const struct ph_stub *stub, const struct ph_wb_action *action)
{
    Pohmel__Caller caller = POHMEL__CALLER__INIT;
    Pohmel__StatfsRequest message = POHMEL__STATFS_REQUEST__INIT;
    message.caller = &caller;
    message.object = PH_OBJECT_ROOT;
    message.reserve = true;
    message.needed = action->needed;
    message.more = action->more;
    ph_send_statfs(stub, &message, NULL, told_space, NULL);
}
