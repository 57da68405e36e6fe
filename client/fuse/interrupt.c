#include "client/fuse/interrupt.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "runtime/io/thread.h"

enum {
    LOOK_AGAIN_MS = 1000, /* how soon a wait that goes on is looked at again */
    TICKET_SOON_MS = 10,  /* the sender is about to store the ticket */
    STATUS_BYTES = 8192,
    EXITING_FLAG = 0x4,       /* PF_EXITING in /proc/PID/stat */
    STAT_FIELDS_TO_FLAGS = 7, /* fields between the command's ')' and the flags */
};

struct ph_interrupts {
    struct ph_mount *mount;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    bool stop, news;
    uint64_t last_number;
    struct ph_request *first;
};

/* What is to be looked at outside the mutex. */
struct look {
    uint64_t number, ticket;
    pid_t pid;
    enum ph_wait wait;
    bool overdue; /* its time is up, whatever its process does */
};

static bool read_proc(pid_t pid, const char *what, char *text, size_t size)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int) pid, what);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t got = read(fd, text, size - 1);
    close(fd);
    if (got <= 0)
        return false;
    text[got] = '\0';
    return true;
}

bool ph_status_shows_kill(const char *status)
{
    static const char *const lines[] = {"\nSigPnd:", "\nShdPnd:"};
    for (size_t i = 0; i < G_N_ELEMENTS(lines); i++) {
        const char *line = strstr(status, lines[i]);
        if (line != NULL && (strtoull(line + strlen(lines[i]), NULL, 16) & UINT64_C(1) << (SIGKILL - 1)) != 0)
            return true;
    }
    return false;
}

bool ph_stat_shows_exit(const char *stat)
{
    /* The command may hold anything, so count from its last parenthesis. */
    const char *field = strrchr(stat, ')');
    for (int i = 0; field != NULL && i < STAT_FIELDS_TO_FLAGS; i++)
        field = strchr(field + 1, ' ');
    return field != NULL && (strtoul(field + 1, NULL, 10) & EXITING_FLAG) != 0;
}

bool ph_process_is_killed(pid_t pid)
{
    char text[STATUS_BYTES];
    return !read_proc(pid, "status", text, sizeof text) || ph_status_shows_kill(text);
}

bool ph_process_is_exiting(pid_t pid)
{
    char text[STATUS_BYTES];
    return !read_proc(pid, "stat", text, sizeof text) || ph_stat_shows_exit(text);
}

/* Of libfuse, on the thread that read the INTERRUPT; the request may be gone. */
static void interrupted(fuse_req_t req, void *data)
{
    struct ph_interrupts *interrupts = ph_mount_of(req)->interrupts;
    uint64_t number = (uint64_t) (uintptr_t) data;
    pthread_mutex_lock(&interrupts->mutex);
    for (struct ph_request *r = interrupts->first; r != NULL; r = r->next) {
        if (r->number == number) {
            r->interrupted = true;
            interrupts->news = true;
            pthread_cond_signal(&interrupts->wake);
            break;
        }
    }
    pthread_mutex_unlock(&interrupts->mutex);
}

void ph_interrupts_add(struct ph_interrupts *interrupts, struct ph_request *request)
{
    pthread_mutex_lock(&interrupts->mutex);
    request->number = ++interrupts->last_number;
    request->next = interrupts->first;
    request->previous = NULL;
    if (interrupts->first != NULL)
        interrupts->first->previous = request;
    interrupts->first = request;
    if (request->wait == PH_WAIT_FORCED) {
        interrupts->news = true;
        pthread_cond_signal(&interrupts->wake);
    }
    pthread_mutex_unlock(&interrupts->mutex);
    /* Not under the mutex: calls back at once when the signal came first. */
    fuse_req_interrupt_func(request->req, interrupted, (void *) (uintptr_t) request->number);
}

void ph_interrupts_remove(struct ph_interrupts *interrupts, struct ph_request *request)
{
    pthread_mutex_lock(&interrupts->mutex);
    if (request->previous != NULL)
        request->previous->next = request->next;
    else
        interrupts->first = request->next;
    if (request->next != NULL)
        request->next->previous = request->previous;
    pthread_mutex_unlock(&interrupts->mutex);
}

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t) now.tv_sec * 1000 + (uint64_t) now.tv_nsec / 1000000;
}

void ph_interrupts_limit(struct ph_interrupts *interrupts, struct ph_request *request, unsigned after_ms)
{
    pthread_mutex_lock(&interrupts->mutex);
    request->cancel_at_ms = now_ms() + after_ms;
    interrupts->news = true;
    pthread_cond_signal(&interrupts->wake);
    pthread_mutex_unlock(&interrupts->mutex);
}

static void mark_abandoned(struct ph_interrupts *interrupts, uint64_t number)
{
    pthread_mutex_lock(&interrupts->mutex);
    for (struct ph_request *r = interrupts->first; r != NULL; r = r->next)
        if (r->number == number)
            atomic_store(&r->abandoned, true);
    pthread_mutex_unlock(&interrupts->mutex);
}

/* Decides on one wait; without the mutex, for the callback may run in here. */
static void decide(struct ph_interrupts *interrupts, const struct look *look)
{
    if (look->overdue) {
        ph_mount_cancel(interrupts->mount, look->ticket);
        return;
    }
    bool gone =
        look->wait == PH_WAIT_FORCED ? ph_process_is_exiting(look->pid) : ph_process_is_killed(look->pid);
    if (gone) {
        mark_abandoned(interrupts, look->number);
        ph_mount_abandon(interrupts->mount, look->ticket);
    } else if (look->wait == PH_WAIT_SIGNAL) {
        ph_mount_cancel(interrupts->mount, look->ticket);
    }
}

/* When REQUEST is to be looked at next, given that it is NOW; with the mutex. */
static uint64_t look_at(const struct ph_request *request, bool timed, uint64_t now)
{
    uint64_t at = UINT64_MAX;
    if (request->interrupted)
        at = now;
    else if (request->wait == PH_WAIT_FORCED)
        at = timed ? now : now + LOOK_AGAIN_MS;
    return request->cancel_at_ms != 0 ? MIN(at, request->cancel_at_ms) : at;
}

/* Collects what is to be looked at now, and in *PAUSE_MS how long it takes until there is
 * more; with the mutex. Forced waits only when TIMED. */
static void collect(struct ph_interrupts *interrupts, bool timed, GArray *looks, uint64_t *pause_ms)
{
    uint64_t now = now_ms();
    *pause_ms = UINT64_MAX;
    for (struct ph_request *r = interrupts->first; r != NULL; r = r->next) {
        uint64_t at = look_at(r, timed, now);
        uint64_t ticket = atomic_load(&r->ticket);
        if (at > now) {
            *pause_ms = at != UINT64_MAX ? MIN(*pause_ms, at - now) : *pause_ms;
        } else if (ticket == 0) {
            *pause_ms = MIN(*pause_ms, TICKET_SOON_MS);
        } else {
            bool overdue = r->cancel_at_ms != 0 && r->cancel_at_ms <= now;
            const struct look look = {r->number, ticket, r->pid, r->wait, overdue};
            g_array_append_val(looks, look);
            *pause_ms = MIN(*pause_ms, LOOK_AGAIN_MS);
        }
    }
}

/* Sleeps for PAUSE_MS or until there are news; whether the time has passed. */
static bool sleep_until_news(struct ph_interrupts *interrupts, uint64_t pause_ms)
{
    if (interrupts->news)
        return false;
    if (pause_ms == UINT64_MAX) {
        pthread_cond_wait(&interrupts->wake, &interrupts->mutex);
        return false;
    }
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t ns = (uint64_t) until.tv_nsec + pause_ms * 1000000;
    until.tv_sec += (time_t) (ns / 1000000000);
    until.tv_nsec = (long) (ns % 1000000000);
    return pthread_cond_timedwait(&interrupts->wake, &interrupts->mutex, &until) == ETIMEDOUT;
}

static void *run(void *data)
{
    struct ph_interrupts *interrupts = data;
    g_autoptr(GArray) looks = g_array_new(FALSE, FALSE, sizeof(struct look));
    bool timed = false;
    pthread_mutex_lock(&interrupts->mutex);
    while (!interrupts->stop) {
        uint64_t pause_ms;
        interrupts->news = false;
        g_array_set_size(looks, 0);
        collect(interrupts, timed, looks, &pause_ms);
        pthread_mutex_unlock(&interrupts->mutex);
        for (guint i = 0; i < looks->len; i++)
            decide(interrupts, &g_array_index(looks, struct look, i));
        pthread_mutex_lock(&interrupts->mutex);
        if (!interrupts->stop)
            timed = sleep_until_news(interrupts, pause_ms);
    }
    pthread_mutex_unlock(&interrupts->mutex);
    return NULL;
}

struct ph_interrupts *ph_interrupts_new(struct ph_mount *mount)
{
    struct ph_interrupts *interrupts = g_new0(struct ph_interrupts, 1);
    interrupts->mount = mount;
    pthread_mutex_init(&interrupts->mutex, NULL);
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&interrupts->wake, &clock);
    pthread_condattr_destroy(&clock);
    int error = ph_thread_start(&interrupts->thread, NULL, run, interrupts);
    if (error != 0)
        g_error("cannot start a thread: %s", g_strerror(error));
    return interrupts;
}

void ph_interrupts_free(struct ph_interrupts *interrupts)
{
    if (interrupts == NULL)
        return;
    pthread_mutex_lock(&interrupts->mutex);
    interrupts->stop = true;
    pthread_cond_signal(&interrupts->wake);
    pthread_mutex_unlock(&interrupts->mutex);
    pthread_join(interrupts->thread, NULL);
    pthread_cond_destroy(&interrupts->wake);
    pthread_mutex_destroy(&interrupts->mutex);
    g_free(interrupts);
}
