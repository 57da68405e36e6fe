#include "server/log.h"

#include <glib.h>
#include <stdio.h>

static bool detailed, with_time = true;

void ph_log_init(bool verbose)
{
    detailed = verbose;
    with_time = g_getenv("JOURNAL_STREAM") == NULL;
}

bool ph_log_detailed(void)
{
    return detailed;
}

static void line(const char *format, va_list args)
{
    g_autofree char *text = g_strdup_vprintf(format, args);
    g_autoptr(GDateTime) now = with_time ? g_date_time_new_now_local() : NULL;
    g_autofree char *stamp = now == NULL ? NULL : g_date_time_format(now, "%F %T ");

    fprintf(stderr, "%spohmel-server: %s\n", stamp == NULL ? "" : stamp, text);
}

void ph_log(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    line(format, args);
    va_end(args);
}

void ph_log_detail(const char *format, ...)
{
    va_list args;

    if (!detailed)
        return;
    va_start(args, format);
    line(format, args);
    va_end(args);
}
