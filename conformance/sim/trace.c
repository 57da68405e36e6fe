#include "conformance/sim/trace.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#define FNV_START UINT64_C(0xcbf29ce484222325)
#define FNV_PRIME UINT64_C(0x100000001b3)

void sim_trace_init(struct sim_trace *trace, gboolean keep_text, FILE *out)
{
    *trace = (struct sim_trace){.text = keep_text ? g_string_new(NULL) : NULL, .out = out, .hash = FNV_START};
}

void sim_trace_clear(struct sim_trace *trace)
{
    if (trace->text)
        g_string_free(trace->text, TRUE);
    trace->text = NULL;
}

void sim_trace_line(struct sim_trace *trace, uint64_t now_us, const char *who, const char *format, ...)
{
    if (trace->off)
        return;
    g_autoptr(GString) line = g_string_new(NULL);
    g_string_printf(line, "%6" PRIu64 ".%06" PRIu64 " %-8s ", now_us / 1000000, now_us % 1000000, who);
    va_list arguments;
    va_start(arguments, format);
    g_string_append_vprintf(line, format, arguments);
    va_end(arguments);
    g_string_append_c(line, '\n');
    for (gsize i = 0; i < line->len; i++)
        trace->hash = (trace->hash ^ (uint8_t) line->str[i]) * FNV_PRIME;
    trace->lines++;
    if (trace->text)
        g_string_append_len(trace->text, line->str, (gssize) line->len);
    if (trace->out)
        fputs(line->str, trace->out);
}
