/* What is going on in a world at a moment: in which phase a fault strikes. */
#ifndef PH_CONFORMANCE_SIM_PHASE_H
#define PH_CONFORMANCE_SIM_PHASE_H

#include <glib.h>

#include "runtime/wire/frame.h"

enum sim_phase {
    SIM_PHASE_NONE,
    SIM_PHASE_IDLE,       /* nothing is asked, wanted back or written */
    SIM_PHASE_WANTED,     /* a request waits at the server for what another client holds */
    SIM_PHASE_GRANT,      /* an answer that may bring a lease is on its way */
    SIM_PHASE_RECALL,     /* a lease is wanted back, and has not come */
    SIM_PHASE_FLUSH,      /* a change is on its way to the server */
    SIM_PHASE_UNANSWERED, /* a change was made, and its answer is on its way */
    SIM_PHASE_RENAME,     /* the server is making a rename */
    SIM_PHASE_RECLAIM,    /* a client takes up after a restart what it held */
    SIM_PHASE_GRACE,      /* the server waits for those that may do so */
    SIM_PHASE_SHUTDOWN,   /* a session is being closed */
    SIM_PHASES,
};

struct world;
struct sim_conn;
struct sim_phases; /* the requests under way */

/* What people call PHASE. */
const char *sim_phase_name(enum sim_phase phase);

/* Nothing under way. */
struct sim_phases *sim_phases_new(void);
/* NULL is fine. */
void sim_phases_free(struct sim_phases *phases);

/* NULL for PHASES is fine everywhere: nobody asks. A request leaves its client; its bytes are MESSAGE. */
void sim_phases_asked(struct sim_phases *phases, const struct sim_conn *conn,
                      const struct ph_frame_header *header, const uint8_t *message, size_t len);
/* It has come to the server. */
void sim_phases_arrived(struct sim_phases *phases, const struct sim_conn *conn,
                        const struct ph_frame_header *header);
/* Its answer leaves the server. */
void sim_phases_answered(struct sim_phases *phases, const struct sim_conn *conn,
                         const struct ph_frame_header *header);
/* Its answer has come. */
void sim_phases_done(struct sim_phases *phases, const struct sim_conn *conn,
                     const struct ph_frame_header *header);
/* The client's end of CONN is gone. */
void sim_phases_lost(struct sim_phases *phases, const struct sim_conn *conn);

/* Whether it is so now. */
gboolean sim_phase_is(struct world *world, enum sim_phase phase);

#endif
