/* What happened in a simulated world, line by line; two runs are compared by it. */
#ifndef PH_CONFORMANCE_SIM_TRACE_H
#define PH_CONFORMANCE_SIM_TRACE_H

#include <glib.h>
#include <stdint.h>
#include <stdio.h>

struct sim_trace {
    gboolean off;  /* nothing is written down, which is faster */
    GString *text; /* NULL when lines are only counted and hashed */
    FILE *out;     /* where lines are printed as they come, or NULL */
    uint64_t hash; /* FNV-1a over all lines */
    uint64_t lines;
};

/* Empty trace. */
void sim_trace_init(struct sim_trace *trace, gboolean keep_text, FILE *out);
void sim_trace_clear(struct sim_trace *trace);

/* Adds a line: time, who, what. */
void sim_trace_line(struct sim_trace *trace, uint64_t now_us, const char *who, const char *format, ...)
    G_GNUC_PRINTF(4, 5);

#endif
