/* Whether a history can have happened one thing after the other, each between its
 * begin and its end, on a single copy of the object: linearizability. */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "tests/coherence/history.h"

enum ph_verdict {
    PH_VERDICT_GOOD,
    PH_VERDICT_BAD,
    PH_VERDICT_UNDECIDED, /* too many things at the same time to try all orders */
};

/* Judges the COUNT events of EVENTS that concern object number INDEX, which is OBJECT and
 * was new (state 0) before them. Events may be in any order; their values may be
 * renumbered. What is wrong is written to OUT: the first event, by its end, that nothing
 * explains, what would have been right, and what led there. ORIGIN_NS is subtracted from the times. */
enum ph_verdict ph_check_object(const struct ph_object *object, unsigned index, struct ph_event *events,
                                size_t count, uint64_t origin_ns, FILE *out);

/* Prepares the events of log number INDEX, whose content in the end was LOG of LEN bytes; the
 * first 8 bytes of a record, little endian, are its number. Appended records are then
 * named by their place. Complains to OUT of records that are torn, missing, there twice or
 * out of nowhere, and of contents seen that are no beginning of LOG. True when there is nothing of the kind.
 */
bool ph_log_number(unsigned index, struct ph_event *events, size_t count, const uint8_t *log, size_t len,
                   FILE *out);
