/* What programs tell the history of what they do and see: from the beginning of what they are at until now.
 */
#ifndef PH_CONFORMANCE_SIM_TELL_H
#define PH_CONFORMANCE_SIM_TELL_H

#include "conformance/sim/caching.h"

/* Number of PROCESS among all. */
unsigned sim_worker_of(const struct sim_process *process);

/* The object of the history that SLOT belongs to; number of a register. */
unsigned sim_names_of(unsigned slot);
unsigned sim_register_of(uint64_t object);

/* How the judge calls OBJECT: directories are not told apart. ATTR may be NULL. */
uint64_t sim_identity(uint64_t object, const struct ph_cached_attr *attr);

/* An event by PROCESS of OBJECT of the history; it was done. */
struct ph_event sim_event_of(const struct sim_process *process, unsigned object, enum ph_deed deed,
                             const char *call);
void sim_did(const struct sim_process *process, const struct ph_event *event);

/* EVENT, if it is about names, says what the judge calls the object. */
void sim_identify(const struct world *world, struct ph_event *event);

/* Something was seen; attributes were; a failure, which tells of a name. */
void sim_saw(const struct sim_process *process, unsigned object, enum ph_deed deed, unsigned slot,
             uint64_t value, const char *call);
void sim_saw_attr(const struct sim_process *process, const struct ph_cached_attr *attr, const char *call);
void sim_saw_failure(const struct sim_process *process, uint32_t status, unsigned slot, const char *call);

/* Whether the answer to EVENT, which changes something, was lost; if so, EVENT may have happened, as long as
 * the server knew the session. */
gboolean sim_is_lost(const struct sim_process *process, const struct sim_answer *answer,
                     struct ph_event *event);

#endif
