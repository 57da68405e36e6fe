/* What the programs of a world that caches did and saw, judged in the end: could it have happened, one thing
 * after the other, on a single copy? The judge is that of the tests of real mounts
 * (tests/coherence/checker.h). */
#ifndef PH_CONFORMANCE_SIM_HISTORY_H
#define PH_CONFORMANCE_SIM_HISTORY_H

#include <glib.h>

#include "conformance/sim/model_store.h"
#include "tests/coherence/history.h"

enum { SIM_WORDS = 2, SIM_GROUPS = 3 };

/* The objects, by their number in the history. */
enum sim_object {
    SIM_OBJECT_NAMES, /* names in groups: files are linked and moved within one */
    SIM_OBJECT_LOG = SIM_OBJECT_NAMES + SIM_GROUPS,                   /* what is only appended to */
    SIM_OBJECT_WORD,                                                  /* words of registers */
    SIM_OBJECT_OWNER = SIM_OBJECT_WORD + MODEL_REGISTERS * SIM_WORDS, /* owners of registers */
    SIM_OBJECTS = SIM_OBJECT_OWNER + MODEL_REGISTERS,
};

struct sim_history {
    GArray *events;  /* struct ph_event */
    guint undecided; /* objects of which too much is doubtful to be judged */
};

/* Empty history. */
void sim_history_init(struct sim_history *history);
void sim_history_clear(struct sim_history *history);

/* Something was done, or seen, from BEGIN_US to END_US. Returns its number. */
guint sim_history_add(struct sim_history *history, const struct ph_event *event, uint64_t begin_us,
                      uint64_t end_us);

/* When number INDEX began. */
uint64_t sim_history_begin_us(const struct sim_history *history, guint index);

/* Later than everything. */
#define SIM_HISTORY_END_US (UINT64_C(1) << 50)

/* What number INDEX did happened until UNTIL_US, or not at all; what it saw is not to be relied on. */
void sim_history_doubt(struct sim_history *history, guint index, uint64_t until_us);

/* Judges it; LOG of LEN bytes is what was appended in the end. NULL when it could have happened, else why
 * not, in words (free it). */
char *sim_history_judge(struct sim_history *history, const uint8_t *log, size_t len);

#endif
