/* Objects whose lease went, for answers that were made before. docs/protocol.md, section 9. */
#ifndef PH_CLIENT_CORE_WB_PARTED_H
#define PH_CLIENT_CORE_WB_PARTED_H

#include "client/core/wb_private.h"

/* O is about not to be held exclusively any more; the clock of WB has just moved on. */
void wb_part(struct ph_wb *wb, const struct wb_object *o);

/* ATTR came in an answer to CALL. Where that was made before something was written back of the object, whose
 * lease has gone since CALL was sent, ATTR becomes what the object was when the lease went; version and lease
 * in it stay. */
void wb_parted_patch(const struct ph_wb *wb, const struct ph_wb_call *call, Pohmel__Attr *attr);

/* The session is over: no answer from before teaches anything. */
void wb_parted_clear(struct ph_wb *wb);

/* WB ends. */
void wb_parted_free(struct ph_wb *wb);

#endif
