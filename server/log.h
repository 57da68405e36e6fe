/* Lines for the person who looks after the server, on stderr. */
#ifndef PH_SERVER_LOG_H
#define PH_SERVER_LOG_H

#include <stdbool.h>

/* VERBOSE: ph_log_detail says something, too. The time is left out where
 * systemd's journal adds it. Call it once, before there are threads. */
void ph_log_init(bool verbose);

/* One line, without the newline. Any thread. */
void ph_log(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same, for what is of interest only when something is being looked for. */
void ph_log_detail(const char *format, ...) __attribute__((format(printf, 1, 2)));
bool ph_log_detailed(void);

#endif
