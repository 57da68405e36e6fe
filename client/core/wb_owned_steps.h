/* Inside of making again what a server lost. */
#ifndef PH_CLIENT_CORE_WB_OWNED_STEPS_H
#define PH_CLIENT_CORE_WB_OWNED_STEPS_H

#include "client/core/wb_owned.h"

/* What the change at hand is about; NULL: it does not say. Who made it. */
struct wb_owned_object *wb_owned_target(const struct ph_wb *wb);
Pohmel__Caller *wb_owned_caller(const struct ph_wb *wb);

/* A command for STEP, which is the one that is being made from now on. */
struct ph_wb_call *wb_owned_command(struct ph_wb *wb, enum wb_owned_step step);

/* Sends CHANGE with PAYLOAD (NULL for none) for STEP. */
void wb_owned_send_change(struct ph_wb *wb, enum wb_owned_step step, Pohmel__Change *change,
                          struct ph_blob *payload, struct ph_wb_actions *actions);

/* The change at hand is as it was; it cannot be made again because of STATUS. The next one follows. */
void wb_owned_made_again(struct ph_wb *wb, const struct ph_wb_now *now, struct ph_wb_actions *actions);
void wb_owned_give_up(struct ph_wb *wb, uint32_t status, const struct ph_wb_now *now,
                      struct ph_wb_actions *actions);

/* --- wb_owned_names.c --- */

/* Looks up a name of the RENAME at hand: STEP says which. What was found under the old one, and the new one.
 */
void wb_owned_look_up(struct ph_wb *wb, enum wb_owned_step step, struct ph_wb_actions *actions);
void wb_owned_old_name(struct ph_wb *wb, const struct ph_reply *reply, const struct ph_wb_now *now,
                       struct ph_wb_actions *actions);
void wb_owned_new_name(struct ph_wb *wb, const struct ph_reply *reply, const struct ph_wb_now *now,
                       struct ph_wb_actions *actions);

#endif
