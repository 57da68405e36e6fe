/* One fault that strikes a world at one moment of one phase: a cell of the matrix of faults by phases. */
#ifndef PH_CONFORMANCE_SIM_STRIKE_H
#define PH_CONFORMANCE_SIM_STRIKE_H

#include <glib.h>

enum sim_fault {
    SIM_FAULT_NONE,
    SIM_FAULT_CLIENT,     /* a client is killed; every second time with its machine */
    SIM_FAULT_SERVER,     /* the server is killed, and started again */
    SIM_FAULT_BOTH,       /* both */
    SIM_FAULT_RESET,      /* a connection breaks */
    SIM_FAULT_PARTITION,  /* one end of a connection hears nothing any more */
    SIM_FAULT_PAUSE,      /* a client stands still for longer than its leases last */
    SIM_FAULT_CLOCKS,     /* all clocks go wrong as far as they may */
    SIM_FAULT_DISK_FULL,  /* some changes are refused: no space */
    SIM_FAULT_DISK_ERROR, /* some changes are refused: input or output error */
    SIM_FAULT_SYNC,       /* some syncs fail */
    SIM_FAULT_MEMORY,     /* some changes are refused: the server is out of memory */
    SIM_FAULT_POWER,      /* the server's machine loses power, and what was not stable with it */
    SIM_FAULTS,
};

/* Whether the store refuses changes by it: what clients that write back had answered is lost. */
gboolean sim_fault_refuses(enum sim_fault fault);

struct world;

/* What people call FAULT. */
const char *sim_fault_name(enum sim_fault fault);

/* A server that dies may be needed for PHASE to come: plans it. */
void sim_strike_plan(struct world *world);

/* Strikes when it is time; to be called before each event. */
void sim_strike(struct world *world);

#endif
