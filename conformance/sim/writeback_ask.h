/* What write-back asks the server for itself, and forgets: the answers are learned on the way. */
#ifndef PH_CONFORMANCE_SIM_WRITEBACK_ASK_H
#define PH_CONFORMANCE_SIM_WRITEBACK_ASK_H

#include "client/core/wb.h"

/* PH_WB_RETURN and PH_WB_KEEP; PH_WB_SPACE. */
void sim_release_range(const struct ph_stub *stub, const struct ph_wb_action *action);
void sim_ask_space(const struct ph_stub *stub, const struct ph_wb_action *action);

#endif
