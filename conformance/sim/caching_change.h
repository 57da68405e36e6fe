/* Changes on a simulated machine: announced to the cache, sent, and learned from. */
#ifndef PH_CONFORMANCE_SIM_CACHING_CHANGE_H
#define PH_CONFORMANCE_SIM_CACHING_CHANGE_H

#include "conformance/sim/caching.h"

/* The change that TASK makes concerns OBJECT; the name SLOT (TARGET: and what it stands for). */
void sim_change_object(struct sim_task *task, uint64_t object);
void sim_change_name(struct sim_task *task, unsigned slot, gboolean target);

/* It concerns what nobody can list. */
void sim_change_all(struct sim_task *task);

/* It is sent now. */
void sim_change_sent(struct sim_task *task);

/* It was answered with ATTR (NULL for none). Before its end. */
void sim_changed_attr(struct sim_task *task, const Pohmel__Attr *attr);

/* It is over, with STATUS, and so is TASK. */
void sim_change_end(struct sim_task *task, uint32_t status);

#endif
