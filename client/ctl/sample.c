#include "client/ctl/sample.h"

#include <string.h>

#define US_PER_S 1e6

void ctl_sample_clear(struct ctl_sample *sample)
{
    g_clear_pointer(&sample->values, g_hash_table_unref);
    sample->taken_us = 0;
}

void ctl_sample_take(struct ctl_sample *sample, const char *lines, gint64 taken_us)
{
    g_auto(GStrv) all = g_strsplit(lines, "\n", -1);
    ctl_sample_clear(sample);
    sample->values = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    sample->taken_us = taken_us;
    for (char **line = all; *line; line++) {
        const char *colon = strstr(*line, ": ");
        if (colon)
            g_hash_table_insert(sample->values, g_strndup(*line, (gsize) (colon - *line)),
                                g_strdup(colon + 2));
    }
}

const char *ctl_sample_text(const struct ctl_sample *sample, const char *key)
{
    const char *value = sample->values ? g_hash_table_lookup(sample->values, key) : NULL;
    return value ? value : "";
}

guint64 ctl_sample_number(const struct ctl_sample *sample, const char *key)
{
    return g_ascii_strtoull(ctl_sample_text(sample, key), NULL, 10);
}

double ctl_sample_rate(const struct ctl_sample *before, const struct ctl_sample *now, const char *key)
{
    guint64 earlier = ctl_sample_number(before, key), later = ctl_sample_number(now, key);
    double seconds = (double) (now->taken_us - before->taken_us) / US_PER_S;
    if (!before->values || !now->values || seconds <= 0 || later < earlier)
        return 0;
    return (double) (later - earlier) / seconds;
}

static void add_line(GString *out, guint columns, const char *format, ...) G_GNUC_PRINTF(3, 4);

static void add_line(GString *out, guint columns, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    g_autofree char *line = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    if (columns > 0 && g_utf8_validate(line, -1, NULL) && g_utf8_strlen(line, -1) > (glong) columns)
        *g_utf8_offset_to_pointer(line, (glong) columns) = '\0';
    g_string_append(out, line);
    g_string_append_c(out, '\n');
}

/* "12.3 MiB" */
static char *bytes_text(double bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    guint unit = 0;
    for (; bytes >= 1024 && unit + 1 < G_N_ELEMENTS(units); unit++)
        bytes /= 1024;
    return g_strdup_printf(unit == 0 ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
}

static double hit_share(const struct ctl_sample *before, const struct ctl_sample *now)
{
    double hits = ctl_sample_rate(before, now, "cache-hits");
    double misses = ctl_sample_rate(before, now, "cache-misses");
    return hits + misses > 0 ? 100 * hits / (hits + misses) : 0;
}

static void add_rates(GString *out, guint columns, const struct ctl_sample *before,
                      const struct ctl_sample *now)
{
    g_autofree char *sent = bytes_text(ctl_sample_rate(before, now, "payload-sent-bytes"));
    g_autofree char *received = bytes_text(ctl_sample_rate(before, now, "payload-received-bytes"));
    add_line(out, columns, "  wire      %.0f requests/s, %.0f transactions/s, %s/s sent, %s/s received",
             ctl_sample_rate(before, now, "requests"), ctl_sample_rate(before, now, "transactions"), sent,
             received);
    add_line(out, columns, "  cache     %.0f round trips saved/s, %.0f %% hits, %.1f recalls/s",
             ctl_sample_rate(before, now, "round-trips-saved"), hit_share(before, now),
             ctl_sample_rate(before, now, "recalls"));
}

void ctl_sample_block(GString *out, const char *heading, const struct ctl_sample *before,
                      const struct ctl_sample *now, guint columns)
{
    g_autofree char *dirty = bytes_text((double) ctl_sample_number(now, "dirty-bytes"));
    add_line(out, columns, "%s: session %s, caching %s, write-back %s", heading,
             ctl_sample_text(now, "session"), ctl_sample_text(now, "caching"),
             ctl_sample_text(now, "write-back"));
    if (ctl_sample_text(now, "trouble")[0])
        add_line(out, columns, "  trouble   %s", ctl_sample_text(now, "trouble"));
    if (before->values)
        add_rates(out, columns, before, now);
    add_line(out, columns,
             "  in flight %" G_GUINT64_FORMAT " requests, %" G_GUINT64_FORMAT " queued, credits %s",
             ctl_sample_number(now, "requests-in-flight"), ctl_sample_number(now, "requests-queued"),
             ctl_sample_text(now, "credits"));
    add_line(out, columns,
             "  leases    directories %" G_GUINT64_FORMAT " shared %" G_GUINT64_FORMAT
             " exclusive, files %" G_GUINT64_FORMAT " shared %" G_GUINT64_FORMAT
             " exclusive, %" G_GUINT64_FORMAT " going back",
             ctl_sample_number(now, "leases-directories-shared"),
             ctl_sample_number(now, "leases-directories-exclusive"),
             ctl_sample_number(now, "leases-files-shared"), ctl_sample_number(now, "leases-files-exclusive"),
             ctl_sample_number(now, "leases-going-back"));
    add_line(out, columns, "  dirty     %s, %" G_GUINT64_FORMAT " operations, oldest %.1f s", dirty,
             ctl_sample_number(now, "dirty-operations"),
             (double) ctl_sample_number(now, "oldest-dirty-ms") / 1000);
}
