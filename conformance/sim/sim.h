/* A world of one server core and a few client cores, a network between them and
 * a clock, all driven by one seed: the same seed gives the same world, event by event. There are two kinds:
 * in one the clients cache under leases, and what their programs do and see is judged
 * as a whole (history.h); in the other their programs take locks and write, and requests are repeated. */
#ifndef PH_CONFORMANCE_SIM_SIM_H
#define PH_CONFORMANCE_SIM_SIM_H

#include <glib.h>
#include <stdio.h>

#include "conformance/sim/phase.h"
#include "conformance/sim/strike.h"
#include "conformance/sim/trace.h"

/* What happens more often than by chance. */
enum sim_favour {
    SIM_FAVOUR_PAUSES = 1,
    SIM_FAVOUR_CUTS = 2,
    SIM_FAVOUR_NAMES = 4,
    SIM_FAVOUR_RESTARTS = 8,
    SIM_FAVOUR_SEVERAL = 16,
    SIM_FAVOUR_SHORT_LIVES = 32, /* of files */
};

struct sim_options {
    uint64_t seed;
    uint64_t steps;       /* operations of the simulated programs, in all */
    gboolean caching;     /* a world whose clients cache */
    gboolean write_back;  /* and write back later */
    gboolean no_loss;     /* no connection breaks, and nobody stands still: sessions end with their clients */
    gboolean no_trace;    /* nothing is written down */
    gboolean single;      /* no transactions of several commands */
    unsigned favour;      /* enum sim_favour, bits */
    enum sim_fault fault; /* nothing goes wrong but this, in PHASE; SIM_FAULT_NONE: whatever chance brings */
    enum sim_phase phase;
    gboolean keep_trace; /* the text of the trace is wanted afterwards */
    FILE *trace_out;     /* where to print it as it comes, or NULL */
};

/* What came of it. */
struct sim_result {
    struct sim_trace trace;
    char *violation; /* the first promise that was broken, in words; NULL when all held */
    uint64_t now_us, events, transactions, repeats, cuts, sessions, locks, cancels;
    uint64_t hits, kernel_hits, recalls, glimpses, reclaims, early_recalls, fences, pauses, crashes, judged,
        failures, undecided, server_crashes, power_losses, strikes; /* of worlds that cache */
    uint64_t several, middles; /* transactions of several commands; moments within such */
    uint64_t local, forwarded, written_back, merged, cancelled_here, doubted, ranges,
        ranges_cut; /* of worlds that write back */
};

/* Runs a world until all its programs are done and all is quiet again. */
void sim_run(const struct sim_options *options, struct sim_result *result);

/* Frees what RESULT holds. */
void sim_result_clear(struct sim_result *result);

#endif
