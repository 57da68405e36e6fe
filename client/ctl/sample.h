/* What two statuses of a mount, taken one after the other, say of the time between them. */
#ifndef PH_CLIENT_CTL_SAMPLE_H
#define PH_CLIENT_CTL_SAMPLE_H

#include <glib.h>

struct ctl_sample {
    GHashTable *values; /* char * to char *; NULL: there is none */
    gint64 taken_us;
};

/* LINES ("key: value") as they were told at TAKEN_US. What SAMPLE had is freed. */
void ctl_sample_take(struct ctl_sample *sample, const char *lines, gint64 taken_us);

/* It has nothing any more; fine for a cleared one. */
void ctl_sample_clear(struct ctl_sample *sample);

/* The value of KEY; "" where there is none, and 0 where it is no number. */
const char *ctl_sample_text(const struct ctl_sample *sample, const char *key);
guint64 ctl_sample_number(const struct ctl_sample *sample, const char *key);

/* By how much KEY grew each second from BEFORE to NOW; 0 where one of them is missing, or where it shrank
 * because the mount was made anew. */
double ctl_sample_rate(const struct ctl_sample *before, const struct ctl_sample *now, const char *key);

/* A block of lines about one mount, each cut to COLUMNS (0: not at all), appended to OUT. Without BEFORE,
 * rates are over the life of the mount, as far as that is known: they are left out. */
void ctl_sample_block(GString *out, const char *heading, const struct ctl_sample *before,
                      const struct ctl_sample *now, guint columns);

#endif
