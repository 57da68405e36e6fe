/* Threads for what may wait. They are started when there is work and none is
 * idle, up to a limit, and end after a while without any. */
#ifndef PH_SERVER_POOL_H
#define PH_SERVER_POOL_H

struct ph_pool;

/* A pool that will start THREADS_MAX threads at most. */
struct ph_pool *ph_pool_new(unsigned threads_max);

/* Has RUN(DATA) called on one of the threads, soon; any thread. */
void ph_pool_push(struct ph_pool *pool, void (*run)(void *data), void *data);

/* Finishes what was pushed, ends the threads, frees the pool. Waits. NULL is fine. */
void ph_pool_free(struct ph_pool *pool);

#endif
