/* A violation in words: short, and with all that is needed to understand it. */
#pragma once

#include <stdio.h>

#include "tests/coherence/config_set.h"
#include "tests/coherence/history.h"

struct ph_finding {
    const struct ph_object *object;
    struct ph_event **events; /* all of this object */
    size_t count;
    const struct ph_event *culprit;       /* the first, by its end, that nothing explains */
    const struct ph_config_set *possible; /* what the object may have been at that time */
    uint64_t origin_ns;                   /* subtracted from all times */
};

/* Writes FINDING to OUT. */
void ph_report_finding(const struct ph_finding *finding, FILE *out);
