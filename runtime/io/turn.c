#include "runtime/io/turn.h"

#include <sched.h>

enum { AWAKE_US = 100 }; /* a few round trips; what an idle thread costs at most for each burst of work */

void ph_turn(struct ph_turn *turn, GMainContext *context)
{
    gboolean wait = g_get_monotonic_time() - turn->busy_us >= AWAKE_US;
    if (g_main_context_iteration(context, wait) || wait)
        turn->busy_us = g_get_monotonic_time();
    else
        sched_yield();
}
