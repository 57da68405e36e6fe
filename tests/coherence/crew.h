/* Workers on several mounts: processes of their own, told what to do by a leader that never
 * touches a mount, so that it can say so when a mount does not answer. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#include "tests/coherence/history.h"

enum { PH_MOUNTS_MAX = 4, PH_CALL_BYTES = 96, PH_ANSWER_BYTES = 400, PH_TOLD = 8 };

/* What a worker is told; the meaning is that of the mode. */
struct ph_order {
    int phase;
    uint32_t round;
    uint64_t number, extra;
};

/* What it answers: 0 is good. */
struct ph_answer {
    int result;
    char text[PH_ANSWER_BYTES];
};

struct ph_crew;

/* One worker. Lives in memory that leader and worker share. */
struct ph_worker {
    struct ph_crew *crew;
    unsigned index, mount;
    const char *root; /* where its mount is */
    pid_t pid;
    int leader_end, worker_end;     /* of its socket pair */
    char call[PH_CALL_BYTES];       /* the call under way */
    _Atomic uint64_t call_since_ns; /* 0 when there is none */
    struct ph_event *events;        /* history of this round, in shared memory */
    size_t count, room;
    uint64_t begin_ns, end_ns; /* of the last call */
    const char *call_name;
    uint64_t random;
    uint64_t bytes_shared;          /* of `shared_bytes` */
    uint8_t *shared_bytes;          /* PH_SHARED_BYTES for the mode */
    _Atomic uint64_t told[PH_TOLD]; /* what the mode lets the other workers know */
    void *own;                      /* of the mode, in the memory of the worker */
};

enum { PH_SHARED_BYTES = 1 << 20 };

/* Does what ORDER says. What it returns, and the words in TEXT of PH_ANSWER_BYTES, go to the leader. */
typedef int (*ph_worker_fn)(struct ph_worker *worker, const struct ph_order *order, char *text);

struct ph_crew {
    unsigned workers, mounts;
    const char *root[PH_MOUNTS_MAX];
    struct ph_worker *worker;
    char folder[64]; /* below each mount; everything happens in it */
    uint64_t seed, hang_ns;
    bool map_plain;   /* mapped memory is read without asking for attributes first */
    bool allow_stale; /* ESTALE is an answer: a name that others keep replacing may stay ahead of its user */
    _Atomic unsigned violations, stale;
    _Atomic uint64_t calls;   /* done so far, for the summary */
    _Atomic uint32_t counter; /* what the mode makes of it */
};

/* Starts PER_MOUNT workers on each of the COUNT mounts ROOT; each can record ROOM events.
 * A call that takes longer than HANG_S seconds is a hang. NULL with words on stderr. */
struct ph_crew *ph_crew_start(char *const *root, unsigned count, unsigned per_mount, size_t room,
                              unsigned hang_s, ph_worker_fn fn);

/* Gives ORDER to the workers FIRST to FIRST+COUNT-1 and waits for all answers, into ANSWER
 * of COUNT places (or NULL). False when one answered other than 0. Ends the program with PH_EXIT_HANG,
 * with a report, when a call hangs; with PH_EXIT_TROUBLE when a worker dies. */
bool ph_crew_order(struct ph_crew *crew, unsigned first, unsigned count, const struct ph_order *order,
                   struct ph_answer *answer);

/* Ends all workers and waits for them. */
void ph_crew_stop(struct ph_crew *crew);

enum { PH_EXIT_GOOD, PH_EXIT_VIOLATION, PH_EXIT_TROUBLE, PH_EXIT_HANG };

/* Now, CLOCK_MONOTONIC. */
uint64_t ph_now_ns(void);

/* A random number below LIMIT. */
uint32_t ph_random(struct ph_worker *worker, uint32_t limit);

/* Before a call on a mount: NAME is a literal, for the history; FORMAT tells more, for the report of a hang.
 */
void ph_call(struct ph_worker *worker, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* After the call; leaves errno alone. */
void ph_called(struct ph_worker *worker);

/* Records what the last call did or saw. */
void ph_record(struct ph_worker *worker, unsigned object, enum ph_deed deed, uint64_t value);

/* The same with all details of EVENT; times, call and worker are filled in. */
void ph_record_event(struct ph_worker *worker, struct ph_event event);

/* Says that something is wrong, and counts it. */
void ph_violation(struct ph_worker *worker, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Says that the last call failed with ERROR, which it should not; see allow_stale. */
void ph_unexpected(struct ph_worker *worker, int error);
