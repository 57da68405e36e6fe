/* Inside of range_lock: who holds what on which file. Only the files range_lock... include this. */
#ifndef PH_SERVER_CORE_RANGE_LOCK_PRIVATE_H
#define PH_SERVER_CORE_RANGE_LOCK_PRIVATE_H

#include "server/core/interval.h"
#include "server/core/range_lock.h"
#include "server/core/table.h"

/* An owner within a session, on all files together; what waits for what. */
struct ph_lock_party {
    struct ph_table_node node; /* by session and owner */
    struct ph_lock_session *session;
    uint64_t owner;
    uint64_t mark; /* number of the search for a circle that came by last */
    unsigned pins; /* uses that must not see it freed */
    TAILQ_HEAD(, ph_lock_owner) owners;
    TAILQ_HEAD(, ph_lock_waiter) waits;
    TAILQ_ENTRY(ph_lock_party) of_session;
};

/* A file with locks or waiters of one kind. */
struct ph_lock_file {
    struct ph_table_node node; /* by space, object, kind */
    uint64_t space, object;
    bool whole_file;
    size_t owners;
    struct ph_interval *locks;
    TAILQ_HEAD(, ph_lock_waiter) waiters; /* in the order in which they came */
};

/* A party on one file: its ranges there never overlap. */
struct ph_lock_owner {
    struct ph_table_node node; /* by file and party */
    struct ph_lock_party *party;
    struct ph_lock_file *file;
    struct ph_interval *locks;
    TAILQ_ENTRY(ph_lock_owner) of_party;
};

/* A range held. */
struct ph_lock {
    struct ph_interval of_file, of_owner;
    struct ph_lock_owner *owner;
    uint64_t handle;
    uint32_t process;
    struct ph_lock *next; /* in a list of work */
};

struct ph_lock_waiter {
    struct ph_lock_file *file;
    struct ph_lock_party *party;
    struct ph_lock_want want;
    uint64_t request;
    TAILQ_ENTRY(ph_lock_waiter) of_file, of_party, of_session;
};

struct ph_locks {
    struct ph_table files, parties, owners;
    uint64_t seed, order, mark;
    ph_lock_answer_fn answer;
    void *data;
};

/* The lock of which NODE is the place in its file's tree, or in its owner's. */
struct ph_lock *ph_lock_of_file(struct ph_interval *node);
struct ph_lock *ph_lock_of_owner(struct ph_interval *node);

/* File, party and owner of a want; made when MAKE, else NULL where there is none. */
struct ph_lock_file *ph_lock_file_get(struct ph_locks *locks, const struct ph_lock_want *want, bool make);
struct ph_lock_party *ph_lock_party_get(struct ph_locks *locks, struct ph_lock_session *session,
                                        uint64_t owner, bool make);
struct ph_lock_owner *ph_lock_owner_get(struct ph_locks *locks, struct ph_lock_file *file,
                                        struct ph_lock_party *party, bool make);

/* Frees them when nothing is held or waited for through them any more. */
void ph_lock_file_trim(struct ph_locks *locks, struct ph_lock_file *file);
void ph_lock_party_trim(struct ph_locks *locks, struct ph_lock_party *party);
void ph_lock_owner_trim(struct ph_locks *locks, struct ph_lock_owner *owner);

/* Puts a lock into both trees, charged to the session; takes one out and frees it. */
void ph_lock_insert(struct ph_locks *locks, struct ph_lock_owner *owner, const struct ph_lock *like,
                    uint64_t start, uint64_t end, bool exclusive);
void ph_lock_drop(struct ph_lock *lock);

/* Lowest lock of somebody else that stands in the way of WANT, or NULL. */
struct ph_lock *ph_lock_conflict(struct ph_lock_file *file, const struct ph_lock_party *party,
                                 const struct ph_lock_want *want);

/* Makes WANT true for its owner, nothing being in the way. 0, or NO_LOCKS and nothing done. */
uint32_t ph_lock_hold(struct ph_locks *locks, struct ph_lock_file *file, struct ph_lock_party *party,
                      const struct ph_lock_want *want, struct ph_fault *fault);

/* Whether PARTY waiting for WANT would wait, over others, for itself. */
bool ph_lock_circle(struct ph_locks *locks, struct ph_lock_file *file, struct ph_lock_party *party,
                    const struct ph_lock_want *want);

/* Adds a wait; takes one out and frees it without an answer. */
void ph_lock_wait_add(struct ph_lock_file *file, struct ph_lock_party *party, const struct ph_lock_want *want,
                      uint64_t request);
void ph_lock_wait_drop(struct ph_lock_waiter *waiter);

/* Something was given up in FILE: grants what can be granted. */
void ph_lock_wake(struct ph_locks *locks, struct ph_lock_file *file);

#endif
