#include "client/fuse/log.h"

#include "client/fuse/mount.h"

#include <fuse_log.h>
#include <glib.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

enum { LINE_BYTES = 512 };

static _Atomic bool syslog_now;
static pthread_mutex_t last_mutex = PTHREAD_MUTEX_INITIALIZER;
static char last_line[LINE_BYTES];

static void say(int level, const char *line)
{
    if (atomic_load(&syslog_now))
        syslog(level, "%s", line);
    else
        fprintf(stderr, "pohmelfs: %s\n", line);
}

void ph_log(int level, const char *format, ...)
{
    char line[LINE_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    say(level, line);
}

void ph_log_to_syslog(void)
{
    openlog("pohmelfs", LOG_PID, LOG_DAEMON);
    atomic_store(&syslog_now, true);
}

static void from_libfuse(enum fuse_log_level level, const char *format, va_list args)
{
    char line[LINE_BYTES];
    vsnprintf(line, sizeof line, format, args);
    g_strstrip(line);
    pthread_mutex_lock(&last_mutex);
    g_strlcpy(last_line, g_str_has_prefix(line, "fuse: ") ? line + strlen("fuse: ") : line, sizeof last_line);
    pthread_mutex_unlock(&last_mutex);
    /* What it says at a terminal belongs to a mount that failed, and is told as its reason. */
    if (atomic_load(&syslog_now))
        syslog((int) level, "%s", line);
}

static void from_glib(const char *domain, GLogLevelFlags level, const char *text, gpointer data)
{
    say((level & (G_LOG_LEVEL_ERROR | G_LOG_LEVEL_CRITICAL | G_LOG_LEVEL_WARNING)) != 0 ? LOG_WARNING
                                                                                        : LOG_INFO,
        text);
}

void ph_log_adopt_libraries(void)
{
    fuse_set_log_func(from_libfuse);
    g_log_set_default_handler(from_glib, NULL);
}

const char *ph_log_last_of_libfuse(void)
{
    return last_line;
}
