/* One turn of a main context that is slow to fall asleep. */
#ifndef PH_IO_TURN_H
#define PH_IO_TURN_H

#include <glib.h>

/* What a thread knows of its recent past; begin with all zeroes. */
struct ph_turn {
    gint64 busy_us;          /* when it had something to do last */
    gint64 crowded_until_us; /* until when it believes that others want its processor */
};

/* Does what is due on CONTEXT, and comes back. Where nothing is, it waits; but for a
 * moment after something was done it comes back at once, having given the processor to
 * whoever wants it, to be called again: a request is mostly followed by the next,
 * and to wake a thread on a processor that has gone idle costs more than the
 * request itself, most of all in a virtual machine. A wakeup of the context is
 * never lost: before it waits, it has come back to its caller since. */
void ph_turn(struct ph_turn *turn, GMainContext *context);

#endif
