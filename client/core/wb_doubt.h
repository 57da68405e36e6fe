/* Transactions of several commands whose answer was lost with the power of the server: before anything is
 * made again the next session asks what became of them (docs/protocol.md, 5.5). What was executed made stable
 * what came before it: that is not made again. */
#ifndef PH_CLIENT_CORE_WB_DOUBT_H
#define PH_CLIENT_CORE_WB_DOUBT_H

#include "client/core/wb_private.h"

/* CALL, which was not answered, is asked for when what is kept is to be made again, if it is such a
 * transaction and has a key. The oldest is forgotten where there are too many. */
void wb_doubt(struct ph_wb *wb, const struct ph_wb_call *call);

/* Asks for the first of them; false: there is none (any more). */
bool wb_doubt_ask(struct ph_wb *wb, struct ph_wb_actions *actions);

/* The server answered REPLY. */
void wb_doubt_answered(struct ph_wb *wb, const struct ph_reply *reply);

/* Nothing was lost: there are none. */
void wb_doubt_clear(struct ph_wb *wb);

#endif
