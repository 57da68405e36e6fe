/* Where the words go: to the terminal while there is one, then to syslog. */
#ifndef PH_CLIENT_FUSE_LOG_H
#define PH_CLIENT_FUSE_LOG_H

/* One line, as LOG_ERR, LOG_WARNING, LOG_INFO of <syslog.h>; no newline at its end. Any thread. */
void ph_log(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* From now on to syslog. */
void ph_log_to_syslog(void);

/* Has libfuse and GLib say what they have to say through here. */
void ph_log_adopt_libraries(void);

/* What libfuse complained of last, "" for nothing; for the words of an error. */
const char *ph_log_last_of_libfuse(void);

#endif
