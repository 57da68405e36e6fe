/* Going to the background once the mount works, and telling who waits how it went. */
#ifndef PH_CLIENT_FUSE_DAEMON_H
#define PH_CLIENT_FUSE_DAEMON_H

#include <glib.h>
#include <sys/types.h>

/* In the parent: the process id of the child, and what it reports comes out of
 * *REPORT. In the child: 0, and *REPORT is where to report. -1 with ERROR.
 * Before any thread is started. */
pid_t ph_daemon_fork(int *report, GError **error);

/* Of the parent: waits for the report, and then whether the mount on PLACE answers. Prints what
 * went wrong. Returns the exit status of the program. */
int ph_daemon_wait(pid_t child, int report, const char *place);

/* Of the child: it does not work, in one line. Closes REPORT; -1 is fine: prints the line. */
void ph_daemon_report_failure(int report, const char *text);

/* Of the child: it works. Leaves terminal, directory and session of who started it. */
void ph_daemon_report_ready(int report);

#endif
