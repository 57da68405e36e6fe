/* Main loops that share the connections, and the watch over them.
 *
 * A loop is a GMainContext and one thread that drives it: it lets the context
 * read from the sockets, then runs the calls that came in, then begins again. A call that
 * takes longer than PH_LOOP_STUCK_MS keeps its thread, but not the loop: the
 * watch has another thread of the pool drive it from there on, with the calls
 * that are still waiting, and the thread that was stuck goes back to the pool
 * when its call is done. Calls are run outside the dispatch of the context, so
 * that it can change hands. The watch sleeps while the loops have nothing to do. */
#ifndef PH_SERVER_LOOPS_H
#define PH_SERVER_LOOPS_H

#include <glib.h>

#include "server/pool.h"

enum {
    PH_LOOP_STUCK_MS = 5, /* a call that takes longer loses the loop */
};

struct ph_loops;
struct ph_loop;

/* COUNT loops, driven by threads of POOL. RUN(CALL) runs what ph_loop_add was given. */
struct ph_loops *ph_loops_new(unsigned count, struct ph_pool *pool, void (*run)(void *call));

/* The loop for the next connection. */
struct ph_loop *ph_loops_next(struct ph_loops *loops);

/* Its context, for sources. */
GMainContext *ph_loop_context(struct ph_loop *loop);

/* CALL is to be run by the loop; to be called from a source of its context. */
void ph_loop_add(struct ph_loop *loop, void *call);

/* Loops that were taken over so far. */
unsigned ph_loops_taken_over(struct ph_loops *loops);

/* Ends the loops and frees them; calls waiting are run first. Waits. NULL is fine. */
void ph_loops_free(struct ph_loops *loops);

#endif
