/* The command line. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "tests/coherence/crew.h"

struct ph_options {
    const char *mode;
    double seconds;
    unsigned per_mount, hang_s, ops;
    uint64_t seed;
    bool map_plain, allow_stale, plant, verbose;
    const char *only;
    char *const *mounts;
    unsigned mount_count;
    char folder[64]; /* below each mount, made and removed by the run */
};

/* The modes: each returns one of PH_EXIT_.... */
int ph_race(const struct ph_options *options);
int ph_handoff(const struct ph_options *options);
int ph_hammer(const struct ph_options *options);

/* Whether the time of OPTIONS has passed since START_NS. */
bool ph_time_is_up(const struct ph_options *options, uint64_t start_ns);

/* Prints the last line, with what was done since START_NS; the exit code. */
int ph_summary(const struct ph_options *options, const struct ph_crew *crew, const char *what,
               uint64_t start_ns);
