/* In the middle of a transaction of several commands: time passes, and whoever else is there has his turn, as
 * on other threads of a server. What strikes then strikes there. */
#include "conformance/sim/world.h"

enum { STEP_US = 2000 };

void sim_middle(void *data)
{
    struct world *world = data;
    /* Not where the bytes of the request are still being taken in, nor within the middle of another one. */
    if (!world->executing || world->middle)
        return;
    uint64_t until_us = world->now_us + sim_below(world, MIN(world->profile.disk_us, STEP_US) + 1);
    world->middle = TRUE;
    world->result->middles++;
    while (!world->result->violation && !model_store_is_dead(world->store) &&
           sim_next_us(world) <= until_us) {
        if (world->fault)
            sim_strike(world);
        sim_step(world);
    }
    world->now_us = MAX(world->now_us, until_us);
    world->middle = FALSE;
}
