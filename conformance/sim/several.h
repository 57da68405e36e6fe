/* A transaction of several commands, as a program makes one. */
#ifndef PH_CONFORMANCE_SIM_SEVERAL_H
#define PH_CONFORMANCE_SIM_SEVERAL_H

#include <glib.h>
#include <stdint.h>

enum { SIM_PARTS_MAX = 8 };

enum sim_part_kind {
    SIM_PART_SET,    /* VALUE goes to word SLOT of the register OBJECT, which is open as HANDLE */
    SIM_PART_CREATE, /* SLOT gets a new file, OBJECT, open as HANDLE where that is not 0 */
    SIM_PART_FILL,   /* VALUE is what is in it */
    SIM_PART_REMOVE, /* SLOT is taken away */
    SIM_PART_RENAME, /* SLOT is moved to SLOT2, FLAGS as in RENAME */
    SIM_PART_FAIL,   /* a name is removed that is not there */
};

struct sim_part {
    enum sim_part_kind kind;
    unsigned slot, slot2, flags;
    uint64_t object, handle, value;
};

struct sim_several {
    struct sim_part part[SIM_PARTS_MAX];
    unsigned count;
    uint64_t key; /* by which it is asked for */
};

struct sim_process;

/* Begins one. FALSE: it cannot be done now, or something else had to be done first (BUSY: that is so). */
gboolean sim_do_several(struct sim_process *process, gboolean *busy);

#endif
