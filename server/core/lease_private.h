/* Inside of the leases. Only the files lease... include this. */
#ifndef PH_SERVER_CORE_LEASE_PRIVATE_H
#define PH_SERVER_CORE_LEASE_PRIVATE_H

#include "server/core/lease.h"
#include "server/core/table.h"

TAILQ_HEAD(ph_lease_keys, ph_lease_key);

/* Those that wait for an object, in the order in which they came. */
struct ph_lease_queue {
    struct ph_lease_keys keys;
    bool touched; /* it stands in the list of those to be looked at */
    struct ph_lease_object *next_touched;
};

/* An object with leases, or with somebody who waits for it. */
struct ph_lease_object {
    struct ph_table_node node; /* by space and object */
    uint64_t object;
    size_t space;
    uint64_t known_size; /* while ranges are out: it has this size or more, and keeps it */
    LIST_HEAD(, ph_lease) holders;
    struct ph_lease_queue *queue; /* NULL where nobody waits */
};

struct ph_lease {
    struct ph_table_node node; /* by id */
    struct ph_lease_object *object;
    struct ph_lease_session *session;
    uint64_t id;
    struct ph_lease_bytes *span; /* NULL for all of the object */
    LIST_ENTRY(ph_lease) of_object;
    TAILQ_ENTRY(ph_lease) of_session; /* held or recalled */
    uint64_t recalled_ms : 59;
    uint64_t hinted : 1; /* its holder was told that others look at it */
    uint64_t mode : 2;
    uint64_t keep : 2; /* what the last recall leaves it; MODE where it is not recalled */
};

TAILQ_HEAD(ph_lease_list, ph_lease);

struct ph_lease_session {
    size_t space;
    void *owner; /* NULL once it is lost */
    uint8_t client[PH_LEASE_CLIENT_BYTES];
    char who[PH_LEASE_WHO_BYTES];
    bool lost;
    bool away;            /* it has no connection, and may get one again */
    bool ranges;          /* it knows of ranges */
    bool answered;        /* since the last tick */
    uint64_t answered_ms; /* tick that dated the last answer */
    uint64_t lost_ms;
    uint64_t listed;               /* not 0: it is kept until ph_lease_sessions_left is told this number */
    bool left;                     /* its client closed the connection */
    struct ph_lease_list held;     /* least recently used first */
    struct ph_lease_list recalled; /* the oldest recall first */
    size_t count, recalled_count;
    LIST_ENTRY(ph_lease_session) of_space;
};

/* The low bits of an id count; the boot epoch stands above them. */
enum { PH_LEASE_ID_COUNT_BITS = 40 };

/* What an export has. */
struct ph_lease_space {
    uint64_t epoch;
    size_t leases;
    uint64_t changed;              /* clock, when all was changed last */
    size_t running;                /* claims of all that run */
    struct ph_lease_keys waiting;  /* claims of all that wait */
    bool touched;                  /* these are to be looked at */
    struct ph_lease_claim outside; /* of all, by nobody */
    LIST_HEAD(, ph_lease_session) all;
};

enum {
    PH_LEASE_SLOTS = 65536,
    /* For so long after a recall who changes an object is given no lease with the answer: the next to change
     * it would have to take that back first. */
    PH_LEASE_FOUGHT_MS = 1000,
};

/* Changes of the objects that share a hash. */
struct ph_lease_slot {
    uint64_t changed;         /* clock */
    uint64_t yielded;         /* clock, when an EXCLUSIVE lease ended or became SHARED last */
    uint64_t fought_until_ms; /* a lease was recalled lately */
    size_t running;
    uint64_t range_fights_ms; /* when the first of them was */
    uint64_t range_fights;    /* times that ranges were recalled */
};

struct ph_leases {
    struct ph_lease_hooks hooks;
    uint64_t seed, now_ms;
    uint32_t time_ms;   /* how long leases last */
    uint64_t last_id;   /* without the epoch */
    uint64_t clock;     /* read without the mutex as well, atomically */
    size_t exclusives;  /* the same */
    uint64_t yielded;   /* the same: the latest of all slots */
    size_t sessions;    /* the same; lost ones among them */
    size_t count, lost; /* leases; sessions that are lost */
    struct ph_table objects, ids;
    struct ph_lease_object *touched;       /* those whose waiters are to be looked at */
    TAILQ_HEAD(, ph_lease_claim) acquires; /* that wait */
    struct ph_lease_keys writing;          /* keys of changes of bytes that run */
    struct ph_lease_slot *slots;
    size_t space_count;
    struct ph_lease_space space[];
};

/* ---- lease_table.c: objects, and who holds them ---- */

/* The object, or NULL; with a queue, made where it is missing. */
struct ph_lease_object *ph_lease_object_find(const struct ph_leases *leases, size_t space, uint64_t object);
struct ph_lease_object *ph_lease_object_queue(struct ph_leases *leases, size_t space, uint64_t object);

/* Frees it where nobody holds it or waits for it. */
void ph_lease_object_trim(struct ph_leases *leases, struct ph_lease_object *object);

/* The slot of an object's changes. */
struct ph_lease_slot *ph_lease_slot(const struct ph_leases *leases, size_t space, uint64_t object);

/* The lease of SESSION on OBJECT, or NULL. */
struct ph_lease *ph_lease_of(const struct ph_lease_object *object, const struct ph_lease_session *session);

/* A new lease, or NULL where a limit is reached. */
struct ph_lease *ph_lease_add(struct ph_leases *leases, struct ph_lease_session *session, size_t space,
                              uint64_t object, enum ph_lease_mode mode);

/* LEASE, which is not recalled, gets MODE under a new id. */
void ph_lease_renew(struct ph_leases *leases, struct ph_lease *lease, enum ph_lease_mode mode);

/* The EXCLUSIVE lease is SHARED from now on; what was asked for altogether still is. */
void ph_lease_weaken(struct ph_leases *leases, struct ph_lease *lease);

/* The EXCLUSIVE lease is about to be on less than it was, and nothing of it is asked for any more. */
void ph_lease_narrow(struct ph_leases *leases, struct ph_lease *lease);

/* The lease that SESSION holds under ID, or NULL. */
struct ph_lease *ph_lease_find(const struct ph_leases *leases, const struct ph_lease_session *session,
                               uint64_t id);

/* It is gone: its waiters are to be looked at. */
void ph_lease_drop(struct ph_leases *leases, struct ph_lease *lease);

/* It counts as asked for, by whom ever it was said. False where it was before. */
bool ph_lease_mark_recalled(struct ph_leases *leases, struct ph_lease *lease, enum ph_lease_mode keep);

/* Asks the holder for it, unless it was asked for as much before. */
void ph_lease_recall(struct ph_leases *leases, struct ph_lease *lease, enum ph_lease_mode keep);

static inline bool ph_lease_is_recalled(const struct ph_lease *lease)
{
    return lease->keep != lease->mode;
}

/* Moves the clock. */
uint64_t ph_lease_clock_move(struct ph_leases *leases);

/* ---- lease_range.c: ranges ---- */

/* Whether there are leases on ranges of OBJECT (NULL: no). */
bool ph_lease_has_ranges(const struct ph_lease_object *object);

/* Whether KEY does not touch what LEASE, of another session, is on. */
bool ph_lease_is_apart(const struct ph_lease *lease, const struct ph_lease_key *key);

/* Whether OWN is on a range that KEY, of its session, does not go beyond: it never waits then. */
bool ph_lease_range_is_alone(const struct ph_lease *own, const struct ph_lease_key *key);

/* Asks the holder of LEASE for what KEY wants of it; KEEP: where that is all of the object. */
void ph_lease_recall_for(struct ph_leases *leases, struct ph_lease *lease, const struct ph_lease_key *key,
                         enum ph_lease_mode keep);

/* Whether SESSION, which has OWN (or NULL) on OBJECT, may not be granted BYTES (NULL: all) as things are. */
bool ph_lease_range_refused(const struct ph_leases *leases, const struct ph_lease_session *session,
                            const struct ph_lease *own, uint64_t object, const struct ph_lease_bytes *bytes);

/* How many changes run that KEY, which asks for a range, need not wait for: they are of what others have. */
size_t ph_lease_range_covered(const struct ph_leases *leases, size_t space, const struct ph_lease_key *key);

/* LEASE, which is new, is on the bytes of KEY and what is free around them. */
void ph_lease_range_grant(struct ph_lease *lease, const struct ph_lease_key *key);

/* ---- lease_wait.c: who waits ---- */

/* The waiters of OBJECT are to be looked at. */
void ph_lease_touch(struct ph_leases *leases, struct ph_lease_object *object);

/* Looks at all that are to be looked at; every function that changed something ends with it. */
void ph_lease_settle(struct ph_leases *leases);

/* Asks SESSION for more leases, where somebody waits for all of the export. */
void ph_lease_recall_more(struct ph_leases *leases, struct ph_lease_session *session);

#endif
