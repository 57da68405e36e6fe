#include "server/loops.h"

#include <pthread.h>
#include <stdbool.h>

#include "runtime/io/thread.h"
#include "runtime/io/turn.h"

enum {
    WATCH_IDLE_LOOKS = 20, /* looks without a busy loop after which the watch sleeps */
};

struct ph_loop {
    struct ph_loops *loops;
    GMainContext *context;
    pthread_mutex_t mutex; /* guards what follows */
    GQueue calls;
    unsigned driver;   /* number of the thread that drives it; raised when another one takes over */
    guint64 calls_run; /* tells one long call from many short ones */
    bool running_call;
    bool stop;
};

struct ph_loops {
    unsigned count;
    unsigned next; /* atomic */
    struct ph_loop *loop;
    struct ph_pool *pool;
    void (*run)(void *call);
    pthread_t watch;
    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t wake, ended;
    bool watch_sleeps; /* read without the mutex as well, atomically */
    bool stop;
    unsigned drivers, taken_over;
};

/* A thread on its way to drive a loop. */
struct shift {
    struct ph_loop *loop;
    unsigned driver;
};

static void wake_watch(struct ph_loops *loops)
{
    if (!__atomic_load_n(&loops->watch_sleeps, __ATOMIC_RELAXED))
        return;
    pthread_mutex_lock(&loops->mutex);
    __atomic_store_n(&loops->watch_sleeps, false, __ATOMIC_RELAXED);
    pthread_cond_signal(&loops->wake);
    pthread_mutex_unlock(&loops->mutex);
}

/* The next call of the loop, if DRIVER still drives it; *OVER if it does not, or the loop ends. */
static void *take_call(struct ph_loop *loop, unsigned driver, bool *over)
{
    void *call = NULL;

    pthread_mutex_lock(&loop->mutex);
    *over = loop->driver != driver;
    if (!*over) {
        call = g_queue_pop_head(&loop->calls);
        loop->running_call = call != NULL;
        loop->calls_run += call != NULL;
        *over = call == NULL && loop->stop;
    }
    pthread_mutex_unlock(&loop->mutex);
    return call;
}

static void drive(void *data)
{
    g_autofree struct shift *shift = data;
    struct ph_loop *loop = shift->loop;
    struct ph_loops *loops = loop->loops;
    struct ph_turn turn = {0};
    bool over = false;

    while (!over) {
        void *call = take_call(loop, shift->driver, &over);

        if (call != NULL) {
            wake_watch(loops);
            loops->run(call);
        } else if (!over) {
            ph_turn(&turn, loop->context);
        }
    }
    pthread_mutex_lock(&loops->mutex);
    loops->drivers--;
    pthread_cond_signal(&loops->ended);
    pthread_mutex_unlock(&loops->mutex);
}

static void start_driver(struct ph_loop *loop, unsigned driver)
{
    struct shift *shift = g_new0(struct shift, 1);

    shift->loop = loop;
    shift->driver = driver;
    pthread_mutex_lock(&loop->loops->mutex);
    loop->loops->drivers++;
    pthread_mutex_unlock(&loop->loops->mutex);
    ph_pool_push(loop->loops->pool, drive, shift);
}

/* Whether LOOP runs a call; one that it ran at the last look already loses it the loop. */
static bool look(struct ph_loop *loop, guint64 *seen)
{
    bool busy, stuck;
    unsigned driver = 0;

    pthread_mutex_lock(&loop->mutex);
    busy = loop->running_call;
    stuck = busy && *seen == loop->calls_run;
    *seen = busy ? loop->calls_run : 0;
    if (stuck) {
        driver = ++loop->driver;
        loop->running_call = false;
    }
    pthread_mutex_unlock(&loop->mutex);
    if (stuck) {
        pthread_mutex_lock(&loop->loops->mutex);
        loop->loops->taken_over++;
        pthread_mutex_unlock(&loop->loops->mutex);
        start_driver(loop, driver);
    }
    return busy;
}

static bool any_busy(struct ph_loops *loops)
{
    bool busy = false;

    for (unsigned i = 0; i < loops->count; i++) {
        pthread_mutex_lock(&loops->loop[i].mutex);
        busy = busy || loops->loop[i].running_call;
        pthread_mutex_unlock(&loops->loop[i].mutex);
    }
    return busy;
}

/* Until the next look, or (IDLE) until a loop has something to do. False at the end. */
static bool wait_for_look(struct ph_loops *loops, bool idle)
{
    struct timespec until;
    bool stop;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += PH_LOOP_STUCK_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    pthread_mutex_lock(&loops->mutex);
    /* In this order: a loop that gets busy from here on sees that it has to
     * wake us; one that was busy before is seen by us. */
    __atomic_store_n(&loops->watch_sleeps, idle, __ATOMIC_RELAXED);
    if (idle && any_busy(loops))
        __atomic_store_n(&loops->watch_sleeps, false, __ATOMIC_RELAXED);
    while (!loops->stop && __atomic_load_n(&loops->watch_sleeps, __ATOMIC_RELAXED))
        pthread_cond_wait(&loops->wake, &loops->mutex);
    if (!loops->stop && !idle)
        pthread_cond_timedwait(&loops->wake, &loops->mutex, &until);
    stop = loops->stop;
    pthread_mutex_unlock(&loops->mutex);
    return !stop;
}

static void *watch(void *data)
{
    struct ph_loops *loops = data;
    g_autofree guint64 *seen = g_new0(guint64, loops->count);
    unsigned idle_looks = 0;

    while (wait_for_look(loops, idle_looks >= WATCH_IDLE_LOOKS)) {
        bool busy = false;

        for (unsigned i = 0; i < loops->count; i++)
            busy = look(&loops->loop[i], &seen[i]) || busy;
        idle_looks = busy ? 0 : idle_looks < WATCH_IDLE_LOOKS ? idle_looks + 1 : 0;
    }
    return NULL;
}

struct ph_loops *ph_loops_new(unsigned count, struct ph_pool *pool, void (*run)(void *call))
{
    struct ph_loops *loops = g_new0(struct ph_loops, 1);
    pthread_condattr_t attributes;

    loops->count = count;
    loops->pool = pool;
    loops->run = run;
    loops->loop = g_new0(struct ph_loop, count);
    pthread_mutex_init(&loops->mutex, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&loops->wake, &attributes);
    pthread_cond_init(&loops->ended, NULL);
    pthread_condattr_destroy(&attributes);
    for (unsigned i = 0; i < count; i++) {
        struct ph_loop *loop = &loops->loop[i];

        loop->loops = loops;
        loop->context = g_main_context_new();
        pthread_mutex_init(&loop->mutex, NULL);
        g_queue_init(&loop->calls);
        start_driver(loop, 0);
    }
    if (ph_thread_start(&loops->watch, NULL, watch, loops) != 0)
        g_error("cannot start a thread");
    return loops;
}

struct ph_loop *ph_loops_next(struct ph_loops *loops)
{
    return &loops->loop[__atomic_fetch_add(&loops->next, 1, __ATOMIC_RELAXED) % loops->count];
}

GMainContext *ph_loop_context(struct ph_loop *loop)
{
    return loop->context;
}

void ph_loop_add(struct ph_loop *loop, void *call)
{
    pthread_mutex_lock(&loop->mutex);
    g_queue_push_tail(&loop->calls, call);
    pthread_mutex_unlock(&loop->mutex);
}

unsigned ph_loops_taken_over(struct ph_loops *loops)
{
    unsigned count;

    pthread_mutex_lock(&loops->mutex);
    count = loops->taken_over;
    pthread_mutex_unlock(&loops->mutex);
    return count;
}

void ph_loops_free(struct ph_loops *loops)
{
    if (loops == NULL)
        return;
    pthread_mutex_lock(&loops->mutex);
    loops->stop = true;
    pthread_cond_signal(&loops->wake);
    pthread_mutex_unlock(&loops->mutex);
    pthread_join(loops->watch, NULL);
    for (unsigned i = 0; i < loops->count; i++) {
        pthread_mutex_lock(&loops->loop[i].mutex);
        loops->loop[i].stop = true;
        pthread_mutex_unlock(&loops->loop[i].mutex);
        g_main_context_wakeup(loops->loop[i].context);
    }
    pthread_mutex_lock(&loops->mutex);
    while (loops->drivers > 0)
        pthread_cond_wait(&loops->ended, &loops->mutex);
    pthread_mutex_unlock(&loops->mutex);
    for (unsigned i = 0; i < loops->count; i++) {
        g_main_context_unref(loops->loop[i].context);
        pthread_mutex_destroy(&loops->loop[i].mutex);
    }
    pthread_cond_destroy(&loops->wake);
    pthread_cond_destroy(&loops->ended);
    pthread_mutex_destroy(&loops->mutex);
    g_free(loops->loop);
    g_free(loops);
}
