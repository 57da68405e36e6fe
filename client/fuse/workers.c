#include "client/fuse/workers.h"

#include <glib.h>
#include <pthread.h>
#include <stdbool.h>

#include "runtime/io/thread.h"

enum { STUCK_S = 10 };

struct job {
    struct job *next;
    void (*fn)(void *data);
    void *data;
};

struct ph_workers {
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    struct job *first, **last;
    unsigned queued, idle, threads;
    bool stop;
    unsigned max;
    pthread_t ids[];
};

/* The next job; NULL when it is time to end. With the mutex held. */
static struct job *take(struct ph_workers *workers)
{
    workers->idle++;
    while (workers->first == NULL && !workers->stop)
        pthread_cond_wait(&workers->wake, &workers->mutex);
    workers->idle--;
    struct job *job = workers->first;
    if (job == NULL)
        return NULL;
    workers->queued--;
    workers->first = job->next;
    if (workers->first == NULL)
        workers->last = &workers->first;
    return job;
}

static void *run(void *data)
{
    struct ph_workers *workers = data;
    struct job *job;
    pthread_mutex_lock(&workers->mutex);
    while ((job = take(workers)) != NULL) {
        pthread_mutex_unlock(&workers->mutex);
        job->fn(job->data);
        g_free(job);
        pthread_mutex_lock(&workers->mutex);
    }
    pthread_mutex_unlock(&workers->mutex);
    return NULL;
}

struct ph_workers *ph_workers_new(unsigned max)
{
    struct ph_workers *workers = g_malloc0(sizeof *workers + max * sizeof workers->ids[0]);
    workers->max = max;
    workers->last = &workers->first;
    pthread_mutex_init(&workers->mutex, NULL);
    pthread_cond_init(&workers->wake, NULL);
    return workers;
}

/* Whether all threads came to their end in time. */
static bool join_all(struct ph_workers *workers, unsigned threads)
{
    struct timespec until;
    bool all = true;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += STUCK_S;
    for (unsigned i = 0; i < threads; i++)
        all &= pthread_timedjoin_np(workers->ids[i], NULL, &until) == 0;
    return all;
}

bool ph_workers_free(struct ph_workers *workers)
{
    if (workers == NULL)
        return true;
    pthread_mutex_lock(&workers->mutex);
    workers->stop = true;
    pthread_cond_broadcast(&workers->wake);
    unsigned threads = workers->threads;
    pthread_mutex_unlock(&workers->mutex);
    if (!join_all(workers, threads))
        return false;
    pthread_cond_destroy(&workers->wake);
    pthread_mutex_destroy(&workers->mutex);
    g_free(workers);
    return true;
}

void ph_workers_run(struct ph_workers *workers, void (*fn)(void *data), void *data)
{
    struct job *job = g_new0(struct job, 1);
    job->fn = fn;
    job->data = data;
    pthread_mutex_lock(&workers->mutex);
    *workers->last = job;
    workers->last = &job->next;
    workers->queued++;
    /* At the end the thread that hands it out does it itself. */
    if (workers->idle < workers->queued && workers->threads < workers->max && !workers->stop) {
        pthread_t *id = &workers->ids[workers->threads];
        int error = workers->threads == 0 ? ph_thread_start(id, NULL, run, workers)
                                          : pthread_create(id, NULL, run, workers);
        if (error == 0)
            workers->threads++;
        else if (workers->threads == 0)
            g_error("cannot start a thread: %s", g_strerror(error));
    }
    pthread_cond_signal(&workers->wake);
    pthread_mutex_unlock(&workers->mutex);
}
