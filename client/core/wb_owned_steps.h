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

/* --- wb_owned_stand.c --- */

/* Whether FOUND, another one under the new name of the RENAME at hand, was given it by a change behind that;
 * where its id was lost, whether that may be so. */
bool wb_owned_came_later(const struct ph_wb *wb, const Pohmel__Attr *found);

/* What the RENAME at hand moves is given a name of its own, for its new one is that of what was given it
 * later; true where something was sent for that. After another loss of power in the middle, that is looked
 * up: true if it was given one. */
bool wb_owned_move_aside(struct ph_wb *wb, struct ph_wb_actions *actions);
bool wb_owned_look_aside(struct ph_wb *wb, struct ph_wb_actions *actions);

/* What the change at hand makes is given a name of its own, if it was moved later from that which is taken:
 * the change is another one then. */
bool wb_owned_make_aside(struct ph_wb *wb);

/* The change at hand takes away a name that its object does not have: that where it stands instead. */
void wb_owned_go_by_stand(struct ph_wb *wb);

/* Before the RENAME at hand: what it replaces, and stands somewhere else, is removed there. In its stead:
 * what it replaced is removed, if that was made again; what replaced it has another name by now, or is gone.
 * True where something was sent. */
bool wb_owned_remove_replaced(struct ph_wb *wb, struct ph_wb_actions *actions);
bool wb_owned_remove_in_place(struct ph_wb *wb, struct ph_wb_actions *actions);

/* That was answered; whether it was the first of these. */
bool wb_owned_replaced(struct ph_wb *wb);

/* O has the name that it was given, or is not looked at any more. */
void wb_owned_forget_stand(struct ph_wb *wb, struct wb_owned_object *o);

#endif
