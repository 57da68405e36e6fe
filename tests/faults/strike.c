/* Loaded before the C library (LD_PRELOAD) of a program under test: what may go wrong with it at a moment
 * that is chosen from outside, in numbers that the program and whoever tests it share (STRIKE_CONTROL, a file
 * of as many 64-bit numbers as there are words below; tests/e2e/strike.py writes them). Nothing happens
 * without that file. */
/* Both names of each call are here: a program calls the one or the other. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* What each number means. */
enum word {
    ERROR,       /* errno of changes that fail */
    CHANGES,     /* how many changes below STRIKE_TOP are still to fail */
    SYNCS,       /* how many syncs are still to fail, with EIO */
    STARVE,      /* of allocations: how many until the one that fails, counted from 1; 0: none fails */
    RATE_PPM,    /* by how much clocks that only go forward are too fast */
    RATE_SINCE,  /* from this moment on, in ns */
    RENAME_HOLD, /* a rename waits before (1) or after (2) it is done, until this is 0 */
    RENAME_HELD, /* how many have waited so */
    HITS,        /* what failed so far */
    WORDS
};

enum { HOLD_BEFORE = 1, HOLD_AFTER = 2, HOLD_STEP_NS = 2000000, LINK_LEN = 32 };

static const int64_t SECOND_NS = 1000000000, MILLION = 1000000, NEAR_NS = 3600 * SECOND_NS;

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);

static _Atomic(int64_t) *words;

/* The C library's function that TYPE and NAME are of. */
#define NEXT(type, name)                                                                                     \
    ({                                                                                                       \
        static _Atomic(void *) found;                                                                        \
        if (found == NULL)                                                                                   \
            found = dlsym(RTLD_NEXT, name);                                                                  \
        (type) found;                                                                                        \
    })

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("STRIKE_CONTROL");
    int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *map =
        fd >= 0 ? mmap(NULL, WORDS * sizeof *words, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
    if (map != MAP_FAILED)
        words = map;
    if (fd >= 0)
        close(fd);
}

static int64_t look(enum word word)
{
    return words != NULL ? atomic_load_explicit(&words[word], memory_order_relaxed) : 0;
}

/* Whether it is this one's turn, of those that WORD counts down. */
static bool takes(enum word word)
{
    int64_t left = look(word);
    while (left > 0) {
        if (atomic_compare_exchange_weak(&words[word], &left, left - 1))
            return true;
    }
    return false;
}

static int fails(int error)
{
    atomic_fetch_add(&words[HITS], 1);
    errno = error;
    return -1;
}

/* Whether the open file FD, or what is named NAME in it, lies below STRIKE_TOP. */
static bool concerns(int fd, const char *name)
{
    const char *top = getenv("STRIKE_TOP");
    char link[LINK_LEN], path[PATH_MAX];
    if (top == NULL)
        return true;
    if (name != NULL && name[0] == '/')
        return strncmp(name, top, strlen(top)) == 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, sizeof path - 1);
    if (len < 0)
        return false;
    path[len] = '\0';
    return strncmp(path, top, strlen(top)) == 0;
}

static bool change_fails(int fd, const char *name)
{
    int before = errno;
    bool hit = look(CHANGES) > 0 && concerns(fd, name) && takes(CHANGES);
    errno = before;
    return hit;
}

/* A call that changes something through FD; FAILS when it is its turn. */
#define CHANGE(result, name, parameters, arguments, fd, below)                                               \
    result name parameters;                                                                                  \
    result name parameters                                                                                   \
    {                                                                                                        \
        if (change_fails(fd, below))                                                                         \
            return fails((int) look(ERROR));                                                                 \
        return NEXT(result(*) parameters, #name) arguments;                                                  \
    }

CHANGE(ssize_t, pwrite, (int fd, const void *data, size_t len, off_t at), (fd, data, len, at), fd, NULL)
CHANGE(ssize_t, pwrite64, (int fd, const void *data, size_t len, off64_t at), (fd, data, len, at), fd, NULL)
CHANGE(ssize_t, pwritev, (int fd, const struct iovec *parts, int count, off_t at), (fd, parts, count, at), fd,
       NULL)
CHANGE(ssize_t, pwritev64, (int fd, const struct iovec *parts, int count, off64_t at), (fd, parts, count, at),
       fd, NULL)
CHANGE(ssize_t, pwritev2, (int fd, const struct iovec *parts, int count, off_t at, int flags),
       (fd, parts, count, at, flags), fd, NULL)
CHANGE(ssize_t, pwritev64v2, (int fd, const struct iovec *parts, int count, off64_t at, int flags),
       (fd, parts, count, at, flags), fd, NULL)
CHANGE(int, ftruncate, (int fd, off_t size), (fd, size), fd, NULL)
CHANGE(int, ftruncate64, (int fd, off64_t size), (fd, size), fd, NULL)
CHANGE(int, mkdirat, (int fd, const char *name, mode_t mode), (fd, name, mode), fd, name)
CHANGE(int, unlinkat, (int fd, const char *name, int flags), (fd, name, flags), fd, name)
CHANGE(int, symlinkat, (const char *target, int fd, const char *name), (target, fd, name), fd, name)
CHANGE(int, linkat, (int from, const char *old, int fd, const char *name, int flags),
       (from, old, fd, name, flags), fd, name)
CHANGE(int, renameat, (int from, const char *old, int fd, const char *name), (from, old, fd, name), fd, name)

static int open_changes(int fd, const char *name, int flags, mode_t mode, const char *function)
{
    if ((flags & O_CREAT) != 0 && change_fails(fd, name))
        return fails((int) look(ERROR));
    return NEXT(int (*)(int, const char *, int, ...), function)(fd, name, flags, mode);
}

#define OPEN(function)                                                                                       \
    int function(int fd, const char *name, int flags, ...);                                                  \
    int function(int fd, const char *name, int flags, ...)                                                   \
    {                                                                                                        \
        va_list more;                                                                                        \
        va_start(more, flags);                                                                               \
        mode_t mode = (flags & (O_CREAT | __O_TMPFILE)) != 0 ? va_arg(more, mode_t) : 0;                     \
        va_end(more);                                                                                        \
        return open_changes(fd, name, flags, mode, #function);                                               \
    }

OPEN(openat)
OPEN(openat64)

/* Whether the program waits here is seen in RENAME_HELD. */
static void hold(int64_t where)
{
    if (look(RENAME_HOLD) != where)
        return;
    struct timespec step = {.tv_nsec = HOLD_STEP_NS};
    atomic_fetch_add(&words[RENAME_HELD], 1);
    while (look(RENAME_HOLD) == where)
        nanosleep(&step, NULL);
}

int renameat2(int from, const char *old, int to, const char *name, unsigned flags);
int renameat2(int from, const char *old, int to, const char *name, unsigned flags)
{
    hold(HOLD_BEFORE);
    if (change_fails(to, name))
        return fails((int) look(ERROR));
    int result = NEXT(int (*)(int, const char *, int, const char *, unsigned), "renameat2")(from, old, to,
                                                                                            name, flags);
    int error = errno;
    hold(HOLD_AFTER);
    errno = error;
    return result;
}

#define SYNC(name)                                                                                           \
    int name(int fd)                                                                                         \
    {                                                                                                        \
        if (takes(SYNCS))                                                                                    \
            return fails(EIO);                                                                               \
        return NEXT(int (*)(int), #name)(fd);                                                                \
    }

SYNC(fsync)
SYNC(fdatasync)
SYNC(syncfs)

int msync(void *memory, size_t len, int flags)
{
    if (takes(SYNCS))
        return fails(EIO);
    return NEXT(int (*)(void *, size_t, int), "msync")(memory, len, flags);
}

/* Allocations. */

static bool starves(void)
{
    if (!takes(STARVE) || look(STARVE) != 0)
        return false;
    fails(ENOMEM);
    return true;
}

void *malloc(size_t size)
{
    return starves() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return starves() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size)
{
    return starves() ? NULL : __libc_realloc(memory, size);
}

/* Clocks. */

static int64_t ns_of(const struct timespec *time)
{
    return (int64_t) time->tv_sec * SECOND_NS + time->tv_nsec;
}

static struct timespec time_of(int64_t ns)
{
    return (struct timespec){.tv_sec = ns / SECOND_NS, .tv_nsec = ns % SECOND_NS};
}

/* By how much the clock is wrong when it should show NS. */
static int64_t wrong_by(int64_t ns)
{
    int64_t since = look(RATE_SINCE);
    return ns > since ? (ns - since) / MILLION * look(RATE_PPM) : 0;
}

static bool goes_forward(clockid_t clock)
{
    return clock == CLOCK_MONOTONIC || clock == CLOCK_MONOTONIC_COARSE || clock == CLOCK_BOOTTIME ||
           clock == CLOCK_MONOTONIC_RAW;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int result = NEXT(int (*)(clockid_t, struct timespec *), "clock_gettime")(clock, now);
    if (result == 0 && look(RATE_PPM) != 0 && goes_forward(clock))
        *now = time_of(ns_of(now) + wrong_by(ns_of(now)));
    return result;
}

/* UNTIL is of the wrong clock (or of the time of day, far from it); the kernel goes by the right one. */
int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *until)
{
    struct timespec now, right = *until;
    if (look(RATE_PPM) != 0 && clock_gettime(CLOCK_MONOTONIC, &now) == 0) {
        int64_t left = ns_of(until) - ns_of(&now);
        NEXT(int (*)(clockid_t, struct timespec *), "clock_gettime")(CLOCK_MONOTONIC, &now);
        if (left > -NEAR_NS && left < NEAR_NS)
            right = time_of(ns_of(&now) + left - left / MILLION * look(RATE_PPM));
    }
    return NEXT(int (*)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *),
                "pthread_cond_timedwait")(condition, mutex, &right);
}
