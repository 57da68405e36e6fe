/* Broken variants of the rules of leases: what the simulator must be able to see. Only
 * pohmel-sim-mutants and its test have the hooks compiled in (runtime/base/mutant.h). */
#ifndef PH_CONFORMANCE_SIM_MUTANTS_H
#define PH_CONFORMANCE_SIM_MUTANTS_H

#include <glib.h>
#include <stdint.h>

#include "runtime/base/mutant.h"

/* A mutant for people, and the worlds in which it is looked for. */
struct sim_mutant {
    enum ph_mutant mutant;
    const char *name; /* for command lines */
    const char *what; /* what is broken */
    unsigned favour;  /* enum sim_favour, bits */
    gboolean write_back;
    gboolean power; /* may be lost */
};

/* All of them; ends with one whose name is NULL. */
extern const struct sim_mutant sim_mutants[];

/* Runs worlds with MUTANT at work until one breaks a promise: how many it took, and what broke in *WHY (free
 * it). 0: none of WORLDS did. Seeds from FIRST_SEED. */
guint sim_mutant_catch(const struct sim_mutant *mutant, uint64_t first_seed, guint worlds, char **why);

#endif
