/* Threads for what may block in the kernel: notifications wait for pages and
 * directories that requests hold. One that waits never delays another: there
 * is a thread for each, up to a bound. */
#ifndef PH_CLIENT_FUSE_WORKERS_H
#define PH_CLIENT_FUSE_WORKERS_H

#include <stdbool.h>

struct ph_workers;

/* Up to MAX threads; they come with the work, and stay. Never NULL. */
struct ph_workers *ph_workers_new(unsigned max);

/* Waits until all work is done, ends the threads. False when some are stuck in the kernel: then they, and
 * what they use, must be left to the end of the process. NULL is fine. */
bool ph_workers_free(struct ph_workers *workers);

/* Calls FN(DATA) on one of the threads, soon. Any thread. */
void ph_workers_run(struct ph_workers *workers, void (*fn)(void *data), void *data);

#endif
