/* Advisory locks of applications: POSIX byte ranges and whole files (flock), of
 * all sessions of all exports. docs/protocol.md, section 8.
 *
 * A lock belongs to an owner within a session and is remembered with the handle
 * through which it was taken. Byte ranges of one owner are cut, joined and
 * changed as fcntl(2) does it; a whole-file lock that is converted is given up
 * first, as flock(2) does it. The two kinds do not see each other.
 *
 * Waiters of a file are looked at in the order in which they came whenever a
 * lock is given up or weakened; each that nothing stands in the way of any more
 * gets its lock. A byte-range lock whose wait would close a circle of owners
 * waiting for each other is refused. (A circle that closes because an owner with
 * several threads is granted one lock while it waits for another is not seen;
 * local kernels do not see it either.)
 *
 * Pure, and not thread safe: the caller holds the mutex of the server core. */
#ifndef PH_SERVER_CORE_RANGE_LOCK_H
#define PH_SERVER_CORE_RANGE_LOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "runtime/base/fault.h"

/* One byte behind the last that a file can have: "to the end". */
#define PH_LOCK_TO_END (UINT64_C(1) << 63)

struct ph_locks;
struct ph_lock_party;
struct ph_lock_waiter;

/* What one session holds. Lives inside the session; cleared at first use. */
struct ph_lock_session {
    uint64_t id; /* never used twice; set by the caller */
    size_t locks, waits;
    TAILQ_HEAD(ph_lock_parties, ph_lock_party) parties;
    TAILQ_HEAD(ph_lock_waiters, ph_lock_waiter) waiters;
};

/* What is wanted, or given back. */
struct ph_lock_want {
    uint64_t space; /* export */
    uint64_t object;
    bool whole_file;     /* START and END are not looked at then */
    uint64_t start, end; /* from START up to, but without, END; see ph_lock_range */
    bool shared;
    uint64_t owner;
    uint64_t handle;  /* taking only */
    uint32_t process; /* taking only */
};

/* A wait came to its end: REQUEST of SESSION is to be answered with STATUS (0:
 * the lock is held). Must not call back into here. */
typedef void (*ph_lock_answer_fn)(void *data, struct ph_lock_session *session, uint64_t request,
                                  uint32_t status);

/* No locks yet. SEED is random; it keeps peers from choosing bad shapes of the trees. */
struct ph_locks *ph_locks_new(uint64_t seed, ph_lock_answer_fn answer, void *data);

/* Frees it; all sessions have ended. NULL is fine. */
void ph_locks_free(struct ph_locks *locks);

/* Makes SESSION ready, with no locks. */
void ph_lock_session_init(struct ph_lock_session *session, uint64_t id);

/* OFFSET and LENGTH of the protocol as START and END: an end of 2^63 - 1 or
 * more means to the end. False when it is empty.. */
bool ph_lock_range(uint64_t offset, uint64_t length, uint64_t *start, uint64_t *end);

/* Takes a lock. Returns 0; WOULD_BLOCK when it conflicts and WAIT is false;
 * PH_PENDING when it waits (REQUEST names the wait, unique within the session);
 * DEADLOCK, NO_LOCKS (the session holds PH_SESSION_LOCKS_MAX) or LIMIT
 * (PH_SESSION_LOCK_WAITS_MAX waits) otherwise. */
uint32_t ph_locks_take(struct ph_locks *locks, struct ph_lock_session *session,
                       const struct ph_lock_want *want, bool wait, uint64_t request, struct ph_fault *fault);

/* Gives back what the owner holds of the range. Returns 0, or NO_LOCKS when
 * cutting a lock in two would take more than the session may hold. */
uint32_t ph_locks_give(struct ph_locks *locks, struct ph_lock_session *session,
                       const struct ph_lock_want *want, struct ph_fault *fault);

/* A lock that stands in the way. */
struct ph_lock_found {
    uint64_t start, end;
    bool shared;
    uint32_t process; /* 0 for one of another session */
};

/* Whether a lock stands in the way of WANT; then the lowest is put into FOUND. */
bool ph_locks_test(struct ph_locks *locks, struct ph_lock_session *session, const struct ph_lock_want *want,
                   struct ph_lock_found *found);

/* Gives the wait of REQUEST up, answering it CANCELLED. False when there is none. */
bool ph_locks_cancel(struct ph_locks *locks, struct ph_lock_session *session, uint64_t request);

/* Gives back the locks that SESSION took on OBJECT through HANDLE, and its waits there. */
void ph_locks_end_handle(struct ph_locks *locks, struct ph_lock_session *session, uint64_t space,
                         uint64_t object, uint64_t handle);

/* Whose lock stands in the way of WANT; NULL for nobody's. */
struct ph_lock_session *ph_locks_in_the_way(struct ph_locks *locks, struct ph_lock_session *session,
                                            const struct ph_lock_want *want);

/* Drops the waits of SESSION without an answer. */
void ph_locks_end_waits(struct ph_locks *locks, struct ph_lock_session *session);

/* Gives back all that SESSION holds; its waits are dropped without an answer. */
void ph_locks_end_session(struct ph_locks *locks, struct ph_lock_session *session);

#endif
