#include "client/fuse/drop.h"

#include <errno.h>
#include <glib.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

enum {
    HELD_MAX = 256,        /* ranges left out at once; with more, the first ones are waited for */
    STUCK_MS = 20,         /* a page that nobody holds is dropped in microseconds */
    NOT_YET_US = 50,       /* until the kernel has read an answer that was written */
    NOT_YET_MAX_US = 5000, /* the pauses grow up to this */
    ATTR_WAIT_US = 100,    /* between looks for answers with attributes, */
    ATTR_WAITS = 100,      /* and how many: they are answered at once whatever is recalled */
};

struct drop {
    const struct ph_drop_context *context;
    uint64_t object, lease;
    bool pages;
};

/* Ranges being dropped by a thread of their own; shared by it and by who waits for it. */
struct attempt {
    struct drop drop;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool done;
    int error;
    _Atomic int refs;
    size_t count;
    struct ph_busy_range ranges[2 * HELD_MAX + 1];
};

static void attempt_unref(struct attempt *attempt)
{
    if (atomic_fetch_sub(&attempt->refs, 1) != 1)
        return;
    pthread_cond_destroy(&attempt->changed);
    pthread_mutex_destroy(&attempt->mutex);
    g_free(attempt);
}

static void run_attempt(void *data)
{
    struct attempt *attempt = data;
    struct ph_notifier *notifier = attempt->drop.context->notifier;
    int error = 0;
    for (size_t i = 0; i < attempt->count && error == 0; i++)
        error =
            ph_notify_data(notifier, attempt->drop.object, attempt->ranges[i].offset, attempt->ranges[i].len);
    pthread_mutex_lock(&attempt->mutex);
    attempt->done = true;
    attempt->error = error;
    pthread_cond_signal(&attempt->changed);
    pthread_mutex_unlock(&attempt->mutex);
    attempt_unref(attempt);
}

static struct attempt *attempt_start(const struct drop *drop, const struct ph_busy_range *ranges,
                                     size_t count)
{
    struct attempt *attempt = g_new0(struct attempt, 1);
    pthread_condattr_t clock;
    attempt->drop = *drop;
    attempt->count = count;
    for (size_t i = 0; i < count; i++)
        attempt->ranges[i] = ranges[i];
    pthread_mutex_init(&attempt->mutex, NULL);
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&attempt->changed, &clock);
    pthread_condattr_destroy(&clock);
    atomic_init(&attempt->refs, 2);
    ph_workers_run(drop->context->attempts, run_attempt, attempt);
    return attempt;
}

/* Waits for the attempt, a moment only. Whether it is done; *ERROR is its result then. */
static bool attempt_wait(struct attempt *attempt, int *error)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += STUCK_MS * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_nsec -= 1000000000L;
        until.tv_sec++;
    }
    pthread_mutex_lock(&attempt->mutex);
    while (!attempt->done && pthread_cond_timedwait(&attempt->changed, &attempt->mutex, &until) != ETIMEDOUT)
        continue;
    bool done = attempt->done;
    *error = attempt->error;
    pthread_mutex_unlock(&attempt->mutex);
    return done;
}

/* What is under way on the file now. */
struct sight {
    bool reads;        /* sent and not answered */
    uint64_t answered; /* covered reads */
    size_t partial;    /* pages of writes, in RANGES */
    size_t count;      /* all in RANGES */
    struct ph_busy_range ranges[2 * HELD_MAX];
};

static void look(const struct drop *drop, const struct ph_busy_file *file, struct sight *sight)
{
    uint64_t page = (uint64_t) getpagesize();
    *sight = (struct sight){0};
    pthread_mutex_lock(drop->context->mutex);
    sight->reads = ph_busy_reads_until(file, UINT64_MAX);
    sight->answered = file->answered;
    sight->partial = ph_busy_held_ranges(file, true, page, sight->ranges, HELD_MAX);
    if (sight->partial > HELD_MAX)
        sight->partial = 0;
    size_t waiting = ph_busy_held_ranges(file, false, page, &sight->ranges[sight->partial], HELD_MAX);
    sight->count = sight->partial + (waiting <= HELD_MAX ? waiting : 0);
    pthread_mutex_unlock(drop->context->mutex);
}

static bool is_ending(const struct ph_drop_context *context)
{
    pthread_mutex_lock(context->mutex);
    bool ending = context->ending;
    pthread_mutex_unlock(context->mutex);
    return ending;
}

static bool reads_under_way(const struct drop *drop, const struct ph_busy_file *file)
{
    pthread_mutex_lock(drop->context->mutex);
    bool reads = ph_busy_reads_until(file, UINT64_MAX) && !drop->context->ending;
    pthread_mutex_unlock(drop->context->mutex);
    return reads;
}

static bool same_pages(const struct sight *a, const struct sight *b)
{
    return a->count == b->count && memcmp(a->ranges, b->ranges, a->count * sizeof a->ranges[0]) == 0;
}

/* Drops WANTED but what is left out of SIGHT. False when other requests that hold pages came in the meantime
 * and hold it up: it is begun again then; the thread that is stuck ends with them. With PATIENCE reads
 * that came are waited for. *ERROR: what the kernel said. */
static bool drop_around(const struct drop *drop, const struct ph_busy_file *file, struct ph_busy_range wanted,
                        const struct sight *sight, bool patience, int *error)
{
    struct ph_busy_range held[2 * HELD_MAX], around[2 * HELD_MAX + 1];
    struct sight now;
    *error = 0;
    memcpy(held, sight->ranges, sight->count * sizeof held[0]);
    size_t count = ph_busy_around(wanted, held, ph_busy_tidy(held, sight->count), around);
    if (count == 0)
        return true;
    struct attempt *attempt = attempt_start(drop, around, count);
    bool done, same = true;
    while (!(done = attempt_wait(attempt, error)) && same) {
        look(drop, file, &now);
        same = ((patience && now.reads) || same_pages(sight, &now)) && !is_ending(drop->context);
    }
    attempt_unref(attempt);
    return done || is_ending(drop->context);
}

/* Drops the pages that writes fill in part, as far as they are not held by them. */
static void drop_partial(const struct drop *drop, const struct ph_busy_file *file, const struct sight *sight)
{
    struct attempt *attempts[HELD_MAX];
    int error;
    for (size_t i = 0; i < sight->partial; i++)
        attempts[i] = attempt_start(drop, &sight->ranges[i], 1);
    for (size_t i = 0; i < sight->partial; i++) {
        /* A read that is under way may hold it: that one will be answered. */
        while (!attempt_wait(attempts[i], &error) && reads_under_way(drop, file))
            continue;
        attempt_unref(attempts[i]);
    }
}

/* Whether the kernel has not read yet what it was told of the object; then it
 * knows nothing that could be dropped, but will. */
static bool not_yet(const struct drop *drop, int error)
{
    if (error != -ENOENT)
        return false;
    pthread_mutex_lock(drop->context->mutex);
    bool has = !drop->context->ending && drop->context->kernel_has(drop->context->data, drop->object);
    pthread_mutex_unlock(drop->context->mutex);
    return has;
}

/* One pass. The result is what the kernel said. */
static int drop_once(const struct drop *drop, const struct ph_busy_file *file, struct sight *sight)
{
    const struct ph_busy_range all = {0, 0};
    int error;
    look(drop, file, sight);
    if (!drop->pages)
        return ph_notify_attr(drop->context->notifier, drop->object);
    while (!drop_around(drop, file, all, sight, false, &error))
        look(drop, file, sight);
    if (error == 0)
        drop_partial(drop, file, sight);
    return error;
}

/* ph_busy_asks_attr */
static void let_attrs_pass(const struct drop *drop, const struct ph_busy_file *file)
{
    bool under_way = true;
    for (int i = 0; i < ATTR_WAITS && under_way; i++) {
        pthread_mutex_lock(drop->context->mutex);
        under_way = file->attrs > 0 && !drop->context->ending;
        pthread_mutex_unlock(drop->context->mutex);
        if (under_way)
            g_usleep(ATTR_WAIT_US);
    }
}

static void run_drop(void *data)
{
    struct drop *drop = data;
    const struct ph_drop_context *context = drop->context;
    unsigned pause_us = NOT_YET_US;
    pthread_mutex_lock(context->mutex);
    struct ph_busy_file *file = ph_busy_pin(context->busy, drop->object);
    pthread_mutex_unlock(context->mutex);
    let_attrs_pass(drop, file);
    for (bool ended = false; !ended;) {
        struct sight sight;
        int error = drop_once(drop, file, &sight);
        if (not_yet(drop, error)) {
            g_usleep(pause_us);
            pause_us = MIN(pause_us * 2, (unsigned) NOT_YET_MAX_US);
            continue;
        }
        /* A read that was answered meanwhile may have brought pages back. */
        pthread_mutex_lock(context->mutex);
        ended = context->ending || (file->covered == 0 && file->answered == sight.answered);
        drop->pages = true; /* if there were none, there are now */
        if (ended) {
            file->drops++;
            context->dropped(context->data, drop->object, drop->lease);
            ph_busy_unpin(context->busy, file);
        }
        pthread_mutex_unlock(context->mutex);
    }
    context->done(context->data);
    g_free(drop);
}

void ph_drop_start(const struct ph_drop_context *context, uint64_t object, uint64_t lease, bool pages)
{
    struct drop *drop = g_new0(struct drop, 1);
    *drop = (struct drop){.context = context, .object = object, .lease = lease, .pages = pages};
    ph_workers_run(context->workers, run_drop, drop);
}

void ph_drop_range(const struct ph_drop_context *context, uint64_t object, uint64_t offset, uint64_t len)
{
    const struct drop drop = {.context = context, .object = object, .pages = true};
    if (len == 0)
        return;
    pthread_mutex_lock(context->mutex);
    struct ph_busy_file *file = ph_busy_pin(context->busy, object);
    uint64_t last_read = ph_busy_last_read(context->busy);
    pthread_mutex_unlock(context->mutex);
    let_attrs_pass(&drop, file);
    pthread_mutex_lock(context->mutex);
    while (!context->ending && ph_busy_reads_until(file, last_read)) {
        pthread_mutex_unlock(context->mutex);
        g_usleep(NOT_YET_US);
        pthread_mutex_lock(context->mutex);
    }
    pthread_mutex_unlock(context->mutex);
    struct sight sight;
    int error;
    do
        look(&drop, file, &sight);
    while (!drop_around(&drop, file, (struct ph_busy_range){offset, len}, &sight, true, &error));
    pthread_mutex_lock(context->mutex);
    ph_busy_unpin(context->busy, file);
    pthread_mutex_unlock(context->mutex);
}
