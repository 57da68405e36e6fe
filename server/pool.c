/* pthread primitives, not GLib's: the thread sanitizer knows only the former. */
#include "server/pool.h"

#include <errno.h>
#include <glib.h>
#include <pthread.h>
#include <stdbool.h>
#include <time.h>

#include "runtime/io/thread.h"
#include "server/log.h"

enum { IDLE_SECONDS = 30 };

struct job {
    struct job *next;
    void (*run)(void *data);
    void *data;
};

struct ph_pool {
    pthread_mutex_t mutex;
    pthread_cond_t work, ended;
    struct job *first, **last;
    unsigned threads, idle, waiting_jobs, threads_max;
    bool ending;
};

/* Waits until there is a job, or nothing to wait for any more. Locked. */
static bool wait_for_job(struct ph_pool *pool)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += IDLE_SECONDS;
    while (pool->first == NULL && !pool->ending) {
        int error;

        pool->idle++;
        error = pthread_cond_timedwait(&pool->work, &pool->mutex, &until);
        pool->idle--;
        if (error == ETIMEDOUT && pool->first == NULL)
            return false;
    }
    return pool->first != NULL;
}

static void *run_thread(void *data)
{
    struct ph_pool *pool = data;

    pthread_mutex_lock(&pool->mutex);
    while (wait_for_job(pool)) {
        struct job *job = pool->first;

        pool->first = job->next;
        if (pool->first == NULL)
            pool->last = &pool->first;
        pool->waiting_jobs--;
        pthread_mutex_unlock(&pool->mutex);
        job->run(job->data);
        g_free(job);
        pthread_mutex_lock(&pool->mutex);
    }
    pool->threads--;
    pthread_cond_signal(&pool->ended);
    pthread_mutex_unlock(&pool->mutex);
    return NULL;
}

struct ph_pool *ph_pool_new(unsigned threads_max)
{
    struct ph_pool *pool = g_new0(struct ph_pool, 1);
    pthread_condattr_t attributes;

    pool->threads_max = threads_max;
    pool->last = &pool->first;
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&pool->work, &attributes);
    pthread_cond_init(&pool->ended, NULL);
    pthread_condattr_destroy(&attributes);
    return pool;
}

/* One more thread. Jobs wait for those there are when the system has none to give. Locked. */
static void start_thread(struct ph_pool *pool)
{
    pthread_attr_t attributes;
    pthread_t thread;
    int error;

    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    error = pool->threads == 0 ? ph_thread_start(&thread, &attributes, run_thread, pool)
                               : pthread_create(&thread, &attributes, run_thread, pool);
    pthread_attr_destroy(&attributes);
    if (error == 0)
        pool->threads++;
    else if (pool->threads == 0)
        g_error("cannot start a thread: %s", g_strerror(error));
    else
        ph_log("cannot start another thread: %s", g_strerror(error));
}

void ph_pool_push(struct ph_pool *pool, void (*run)(void *data), void *data)
{
    struct job *job = g_new0(struct job, 1);

    job->run = run;
    job->data = data;
    pthread_mutex_lock(&pool->mutex);
    *pool->last = job;
    pool->last = &job->next;
    pool->waiting_jobs++;
    if (pool->waiting_jobs > pool->idle && pool->threads < pool->threads_max)
        start_thread(pool);
    pthread_cond_signal(&pool->work);
    pthread_mutex_unlock(&pool->mutex);
}

void ph_pool_free(struct ph_pool *pool)
{
    if (pool == NULL)
        return;
    pthread_mutex_lock(&pool->mutex);
    pool->ending = true;
    pthread_cond_broadcast(&pool->work);
    while (pool->threads > 0)
        pthread_cond_wait(&pool->ended, &pool->mutex);
    pthread_mutex_unlock(&pool->mutex);
    pthread_cond_destroy(&pool->work);
    pthread_cond_destroy(&pool->ended);
    pthread_mutex_destroy(&pool->mutex);
    g_free(pool);
}
