/* Flushing a mount before it goes, without ever being held up by it: all that touches
 * the mount happens in a process of its own that can be left behind. */
#ifndef PH_CLIENT_UMOUNT_FLUSH_H
#define PH_CLIENT_UMOUNT_FLUSH_H

#include <glib.h>
#include <sys/types.h>

enum ph_flush_result {
    PH_FLUSHED,       /* all is stable on the server */
    PH_FLUSH_DEAD,    /* the daemon is gone: there is nothing to flush */
    PH_FLUSH_DENIED,  /* this user may not look into the mount */
    PH_FLUSH_FAILED,  /* it cannot be; the words say why */
    PH_FLUSH_TIMEOUT, /* no answer in time */
};

struct ph_flush_report {
    enum ph_flush_result result;
    pid_t daemon;     /* 0 where it could not be asked */
    char server[256]; /* "host:port", "" where it could not be asked */
    char text[512];   /* words for FAILED */
};

/* How long to wait. */
struct ph_flush_patience {
    guint answer_ms; /* for the daemon to answer at all */
    guint flush_ms;  /* for all to be written back after that; it may be a lot */
    guint say_ms;    /* calls SAY when it takes longer */
    void (*say)(const char *path, const char *server);
};

/* Flushes the mount at PATH (FLUSH; else asks for its daemon only). */
void ph_flush_mount(const char *path, gboolean flush, const struct ph_flush_patience *patience,
                    struct ph_flush_report *report);

#endif
