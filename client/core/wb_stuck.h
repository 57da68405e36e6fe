/* Recalled leases that go without what an earlier session left (R-9.14-9). */
#ifndef PH_CLIENT_CORE_WB_STUCK_H
#define PH_CLIENT_CORE_WB_STUCK_H

#include "client/core/wb_private.h"

/* Gives up leases whose recall waits for too long for what cannot be sent yet, and lets their releases go. */
void wb_stuck_tick(struct ph_wb *wb, const struct ph_wb_now *now, struct ph_wb_actions *actions);

/* Something of an earlier session is still to be done to O: nothing is changed here behind that. */
bool wb_is_behind(const struct wb_object *o);

#endif
