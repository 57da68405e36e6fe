#include "runtime/io/turn.h"

#include <sched.h>

enum {
    AWAKE_US = 100, /* a few round trips; what an idle thread costs at most for each burst of work */
    /* A processor given away for longer than this is wanted by others, does not go
     * idle, and is not to be had back cheaply: no use in staying awake for a while. */
    CROWDED_US = 200,
    CROWDED_FOR_US = 50000,
};

void ph_turn(struct ph_turn *turn, GMainContext *context)
{
    gint64 now_us = g_get_monotonic_time();
    gboolean wait = now_us - turn->busy_us >= AWAKE_US || now_us < turn->crowded_until_us;
    if (g_main_context_iteration(context, wait) || wait) {
        turn->busy_us = g_get_monotonic_time();
        return;
    }
    now_us = g_get_monotonic_time();
    sched_yield();
    gint64 back_us = g_get_monotonic_time();
    if (back_us - now_us > CROWDED_US)
        turn->crowded_until_us = back_us + CROWDED_FOR_US;
}
