/* Changes of which it is not known what they concern. */
#ifndef PH_CLIENT_CORE_WB_EVERYTHING_H
#define PH_CLIENT_CORE_WB_EVERYTHING_H

#include "client/core/wb_private.h"

/* Whether it is not known what CALL changes. It is sent now; it is over, or its answer will not come. */
bool wb_changes_everything(const struct ph_wb_call *call);
void wb_everything_begins(struct ph_wb *wb, struct ph_wb_call *call, struct ph_wb_actions *actions);
void wb_everything_ends(struct ph_wb *wb, struct ph_wb_call *call);

/* Whether CALL was sent before the beginning or the end of such a change: it may have been answered before
 * that was made. */
bool wb_is_before_everything(const struct ph_wb *wb, const struct ph_wb_call *call);

#endif
