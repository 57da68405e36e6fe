/* What the deeds of programs share. */
#ifndef PH_CONFORMANCE_SIM_PROGRAMS_H
#define PH_CONFORMANCE_SIM_PROGRAMS_H

#include "conformance/sim/caching.h"

/* What PROCESS was at is over; the next thing follows. */
void sim_program_done(struct sim_process *process, const struct sim_answer *answer);

/* The handle by which it has OBJECT open; 0: it is being opened, and that is its deed. */
uint64_t sim_program_handle(struct sim_process *process, uint64_t object);

/* A name, usually of the group that its client likes best; an id for what it makes, or 0; a value that nobody
 * else stores. */
unsigned sim_program_slot(struct sim_process *process);
uint64_t sim_program_id(struct sim_process *process);
uint64_t sim_program_value(struct sim_process *process);

#endif
