/* Signals to processes that wait: when a wait ends early, and how. A thread
 * decides, because it has to look into /proc and the kernel's message arrives
 * on a thread that must never wait. */
#ifndef PH_CLIENT_FUSE_INTERRUPT_H
#define PH_CLIENT_FUSE_INTERRUPT_H

#include "client/fuse/request.h"

/* Starts the thread, which tells LINK of waits that end. Never NULL. */
struct ph_interrupts *ph_interrupts_new(struct ph_mount *mount);

/* Ends the thread. All requests must be settled. NULL is fine. */
void ph_interrupts_free(struct ph_interrupts *interrupts);

/* REQUEST can be interrupted from now on, until removed. */
void ph_interrupts_add(struct ph_interrupts *interrupts, struct ph_request *request);
void ph_interrupts_remove(struct ph_interrupts *interrupts, struct ph_request *request);

/* The wait of REQUEST, which is under way, is cancelled after AFTER_MS. */
void ph_interrupts_limit(struct ph_interrupts *interrupts, struct ph_request *request, unsigned after_ms);

/* What /proc/PID/status and /proc/PID/stat say; exported for the tests. Both
 * answer true for a process that is not there. */
bool ph_process_is_killed(pid_t pid);
bool ph_process_is_exiting(pid_t pid);

/* Whether a text in the form of /proc/PID/status shows SIGKILL pending. */
bool ph_status_shows_kill(const char *status);

/* Whether a line in the form of /proc/PID/stat shows a process on its way out. */
bool ph_stat_shows_exit(const char *stat);

#endif
