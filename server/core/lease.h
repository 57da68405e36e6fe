/* Leases: which session may cache which object, over all exports; who waits for
 * whose. docs/protocol.md, section 9; docs/decisions/0006-leases-on-attributes.md.
 *
 * Grants. Leases go out with attributes, after these were read. Whether a change
 * came in between is told by a clock that each change moves at its beginning and its
 * end; the times of the last changes are hashed, and a collision costs a lease.
 *
 * Claims. A command says what it is about to read or change. Reading conflicts with an
 * EXCLUSIVE lease of another session, changing with any. A claim that conflicts
 * waits until those leases are gone; they are recalled at once. Claims do not exclude each other. While one
 * waits, and while a changing one runs, nothing new is granted to others on its objects. What a session has
 * exclusively its own commands never wait for: they are how it sends what it changed, so that it can give the
 * lease back. Of those that wait
 * for an object each waits only for leases, which their holders can always give back, for commands that are
 * being executed, and for acquires that came before it: no wait can close a circle.
 *
 * Time comes in ticks only. What happened between two ticks is dated by the later one where that makes the
 * server wait longer (answers), and by the earlier one elsewhere (recalls).
 *
 * Memory: a lease takes 160 bytes with its object (malloc's own included) and 16 to 32 in the tables,
 * so that a million stay below 200 MB.
 *
 * Pure, and not thread safe: the caller holds the mutex of the server core, but for the
 * three functions that say otherwise. */
#ifndef PH_SERVER_CORE_LEASE_H
#define PH_SERVER_CORE_LEASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/limits.h"
#include <sys/queue.h>

/* Modes, with the numbers of LeaseMode in idl/leases.proto. */
enum ph_lease_mode {
    PH_LEASE_NONE = 0,
    PH_LEASE_SHARED = 1,
    PH_LEASE_EXCLUSIVE = 2,
};

/* "All objects of the export", where an object is asked for. */
#define PH_LEASE_ALL UINT64_C(0)

/* Bytes of a file, from START to before END. */
struct ph_lease_bytes {
    uint64_t start, end;
};

/* END of "and all behind": no byte of a file is there. */
#define PH_LEASE_BYTES_END UINT64_C(0x7fffffffffffffff)

/* Objects of one claim that need no memory of their own. */
enum { PH_LEASE_CLAIM_KEYS = 4 };

struct ph_leases;
struct ph_lease_object;
struct ph_lease_session;
struct ph_lease_claim;

/* What a claim is for. */
enum ph_lease_purpose {
    PH_LEASE_TO_READ = 0,
    PH_LEASE_TO_CHANGE,
    PH_LEASE_TO_HOLD, /* an acquire */
};

enum ph_lease_state {
    PH_LEASE_IDLE = 0,
    PH_LEASE_WAITING,
    PH_LEASE_RUNNING, /* it has what it wanted, and is not done yet */
};

/* One object of a claim. */
struct ph_lease_key {
    uint64_t object;
    enum ph_lease_purpose purpose;
    bool part; /* it concerns BYTES only, of what is under leases on ranges; BYTES may be empty */
    struct ph_lease_bytes bytes;
    /* private */
    bool blocked;
    struct ph_lease_claim *claim;
    struct ph_lease_object *at; /* while it waits; NULL for all of the export */
    TAILQ_ENTRY(ph_lease_key) of_queue;
};

/* What a command wants. Lives inside what stands for the command; cleared at first. */
struct ph_lease_claim {
    enum ph_lease_state state;
    uint64_t lease; /* of an acquire that was granted */
    bool refused;   /* an acquire whose session's own lease on the object is recalled */
    /* private */
    struct ph_lease_session *own; /* looked into only while it waits: it may be gone while it runs */
    uint32_t mode;                /* of an acquire */
    size_t space;
    unsigned count, blocked;
    struct ph_lease_key *key; /* FEW, or memory of its own */
    struct ph_lease_key few[PH_LEASE_CLAIM_KEYS];
    TAILQ_ENTRY(ph_lease_claim) of_acquires;
};

/* What the table has done by others. None of them may call back into here, but for FENCE. */
struct ph_lease_hooks {
    /* The holder is to be asked for LEASE on OBJECT; it may keep mode KEEP, or (BYTES not NULL) as a range
     * what is outside of BYTES. */
    void (*recall)(void *data, struct ph_lease_session *session, uint64_t object, uint64_t lease,
                   enum ph_lease_mode keep, const struct ph_lease_bytes *bytes);
    /* The wait of CLAIM is over: it runs, or its lease is granted. */
    void (*go)(void *data, struct ph_lease_claim *claim);
    /* SESSION did not answer a recall in time: the caller ends it, with ph_lease_session_lost as a rule. */
    void (*fence)(void *data, struct ph_lease_session *session);
    /* What SESSION, which is lost, had left behind has expired; it is gone after the call. */
    void (*expired)(void *data, struct ph_lease_session *session);
    void *data;
};

/* Longer than a client uses leases that last TIME_MS by as much as its clock may be slower, and it uses them
 * shorter: so long they are kept for it. */
static inline uint64_t ph_lease_kept_ms(uint32_t time_ms)
{
    return time_ms + (uint64_t) time_ms * (1000 - PH_LEASE_RATE_PER_MILLE) / 1000;
}

/* A table for SPACES exports with their boot epochs. SEED is random; it keeps peers from choosing what
 * collides. */
struct ph_leases *ph_leases_new(const uint64_t *epochs, size_t spaces, uint64_t seed,
                                const struct ph_lease_hooks *hooks);

/* Leases last TIME_MS from an answer on, instead of PH_LEASE_TTL_MS.
 * To be called before there are any. */
void ph_leases_last(struct ph_leases *leases, uint32_t time_ms);

/* Frees it; nothing waits, and all sessions have ended or are lost. NULL is fine. */
void ph_leases_free(struct ph_leases *leases);

/* ---- Sessions that cache ---- */

enum { PH_LEASE_CLIENT_BYTES = 16, PH_LEASE_WHO_BYTES = 96 };

/* A session of CLIENT on export SPACE; OWNER is handed back by ph_lease_session_owner, WHO
 * (ended by NUL, cut to PH_LEASE_WHO_BYTES) names it for logs. What older sessions of the client have
 * left behind is gone. NULL where PH_LEFT_BEHIND_MAX lost sessions have not expired yet: the
 * session cannot have leases. */
struct ph_lease_session *ph_lease_session_new(struct ph_leases *leases, size_t space, const uint8_t *client,
                                              void *owner, const char *who);
void *ph_lease_session_owner(const struct ph_lease_session *session);
const char *ph_lease_session_who(const struct ph_lease_session *session);

/* It knows of leases on ranges: it may be granted some, and be asked for bytes. */
void ph_lease_session_takes_ranges(struct ph_lease_session *session);

/* Leases that it holds, and how many of them are recalled. */
size_t ph_lease_session_count(const struct ph_lease_session *session);
size_t ph_lease_session_recalled(const struct ph_lease_session *session);

/* Something was answered to it: its leases may live until PH_LEASE_TTL_MS from the next tick. */
void ph_lease_session_answered(struct ph_lease_session *session);

/* It has ended in order, its waits dropped before: its leases are gone, and it is freed. */
void ph_lease_session_end(struct ph_leases *leases, struct ph_lease_session *session);

/* Its connection is lost, its waits dropped before. Its leases stay until they expire, as the client may use
 * them until then; then it is freed. Its owner is forgotten. LEFT: the client's machine closed the connection
 * itself, so that the client has ended or knows: they stay for PH_LEASE_LEFT_MS at most. */
void ph_lease_session_lost(struct ph_leases *leases, struct ph_lease_session *session, bool left);

/* When SESSION is lost its leases stay until ph_lease_sessions_left is told LISTED (not 0) as well. */
void ph_lease_session_hold(struct ph_lease_session *session, uint64_t listed);

/* Sessions that were to be held for LISTED may expire. */
void ph_lease_sessions_left(struct ph_leases *leases, uint64_t listed);

/* Its connection broke, but it may come back: it keeps what it holds, and recalls reach it then. It is fenced
 * when its leases have expired and somebody waits for one of them. */
void ph_lease_session_away(struct ph_lease_session *session);

/* It has a connection again: all that is recalled is asked for again. */
void ph_lease_session_back(struct ph_leases *leases, struct ph_lease_session *session);

/* What lost sessions of CLIENT have left behind is gone: it has opened a newer one. */
void ph_leases_client_is_back(struct ph_leases *leases, const uint8_t *client);

/* ---- Reading and granting ---- */

/* The clock, to be asked before a reading begins. Any thread, without the mutex. */
uint64_t ph_leases_clock(const struct ph_leases *leases);

/* Whether any session holds an EXCLUSIVE lease, so that reading may conflict. Any thread, without the mutex.
 */
bool ph_leases_exclusive(const struct ph_leases *leases);

/* Whether any session may hold leases. Any thread, without the mutex. */
bool ph_leases_cached(const struct ph_leases *leases);

/* Whether what was read since SINCE may be older than what somebody had in its cache by then: an EXCLUSIVE
 * lease is held, or was until after SINCE. Any thread, without the mutex. */
bool ph_leases_hide(const struct ph_leases *leases, uint64_t since);

/* Whether an EXCLUSIVE lease on OBJECT (or one that shares its hash) was given up, or made SHARED, after
 * SINCE: what was read of it since then may be from before its holder sent its changes. */
bool ph_leases_yielded(const struct ph_leases *leases, size_t space, uint64_t object, uint64_t since);

/* Whether another session than OWN (NULL for one that does not cache) holds OBJECT, or a range of it, as
 * EXCLUSIVE. */
bool ph_leases_taken(const struct ph_leases *leases, const struct ph_lease_session *own, size_t space,
                     uint64_t object);

/* A lease for attributes of OBJECT that were read at SINCE or later by the command of CLAIM (NULL for one
 * without): the one that the session holds already, or a new SHARED one. Returns its id, its
 * mode in *MODE; 0 for none: somebody else has it exclusively, or waits; another command changed it
 * since; it is being recalled; CLAIM changes it, and a lease on it was recalled a moment ago; or a limit is
 * reached. */
uint64_t ph_leases_grant(struct ph_leases *leases, struct ph_lease_session *session,
                         const struct ph_lease_claim *claim, uint64_t object, uint64_t since,
                         enum ph_lease_mode *mode);

/* The same, but EXCLUSIVE where nobody else has a lease on OBJECT; the session's own SHARED lease then gets
 * that mode and a new id. */
uint64_t ph_leases_grant_alone(struct ph_leases *leases, struct ph_lease_session *session,
                               const struct ph_lease_claim *claim, uint64_t object, uint64_t since,
                               enum ph_lease_mode *mode);

/* Where another session than OWN has OBJECT exclusively, it is asked to share it, unless it was asked for
 * much else already. Nobody waits for that. */
void ph_leases_ask_to_share(struct ph_leases *leases, const struct ph_lease_session *own, size_t space,
                            uint64_t object);

/* The session, other than OWN, that can say what has become of OBJECT: it has it exclusively, was not asked
 * for it, and nobody waits for it. Its lease is in *ID. NULL for none. */
struct ph_lease_session *ph_leases_teller(const struct ph_leases *leases, const struct ph_lease_session *own,
                                          size_t space, uint64_t object, uint64_t *id);

/* SESSION will keep ID as SHARED, as if it had been asked to. */
void ph_leases_will_share(struct ph_leases *leases, struct ph_lease_session *session, uint64_t id);

/* True once for each EXCLUSIVE lease on OBJECT: its holder is worth being told that others look at it. */
bool ph_leases_take_hint(struct ph_leases *leases, size_t space, uint64_t object);

/* ---- Claims ---- */

/* One thing that a command wants. */
struct ph_lease_want {
    uint64_t object; /* or PH_LEASE_ALL */
    bool change;
    bool part; /* where there are leases on ranges: it concerns BYTES only, and neither size nor attributes */
    struct ph_lease_bytes bytes;
};

/* Claims COUNT objects for a command of session OWN (NULL for one that does
 * not cache); more than PH_LEASE_CLAIM_KEYS of them are sorted, and none comes twice. CLAIM is idle. True
 * when it goes at once: it is RUNNING. False when it waits; the hook GO is called when that is over. */
bool ph_leases_claim(struct ph_leases *leases, struct ph_lease_claim *claim, struct ph_lease_session *own,
                     size_t space, const struct ph_lease_want *wants, size_t count);

/* Whether CLAIM runs and has all of WANTS. */
bool ph_lease_claim_covers(const struct ph_lease_claim *claim, const struct ph_lease_want *wants,
                           size_t count);

/* The command is done, or given up while it waited: CLAIM is idle. Fine for one that is idle. */
void ph_leases_claim_end(struct ph_leases *leases, struct ph_lease_claim *claim);

/* A change of OBJECT (or PH_LEASE_ALL) by nobody who could wait: all leases on it are recalled. */
void ph_leases_changed_outside(struct ph_leases *leases, size_t space, uint64_t object);

/* The same for a change WANT by OWN, which holds a lease on the object, that must not wait: what its kernel
 * gives back because of a recall. Leases of others are recalled, and CLAIM runs at once. R-9.11-9. */
void ph_leases_claim_at_once(struct ph_leases *leases, struct ph_lease_claim *claim,
                             struct ph_lease_session *own, const struct ph_lease_want *want);

/* Whether reading WANT must wait for what another session than OWN holds exclusively. */
bool ph_leases_reading_conflicts(const struct ph_leases *leases, const struct ph_lease_session *own,
                                 size_t space, const struct ph_lease_want *want);

/* Whether SESSION holds a lease on OBJECT, recalled or not; one that is EXCLUSIVE, and of all of it. */
bool ph_leases_holds(const struct ph_leases *leases, const struct ph_lease_session *session, uint64_t object);
bool ph_leases_holds_alone(const struct ph_leases *leases, const struct ph_lease_session *session,
                           uint64_t object);

/* ---- Asking for leases, and giving them back ---- */

/* Whether SESSION holds a lease on a range of OBJECT, recalled or not. */
bool ph_leases_holds_range(const struct ph_leases *leases, const struct ph_lease_session *session,
                           uint64_t object);

/* The bytes of ID in *BYTES; false where it is not on a range, or not current. */
bool ph_leases_range(const struct ph_leases *leases, const struct ph_lease_session *session, uint64_t id,
                     struct ph_lease_bytes *bytes);

/* The object of ID was found to have SIZE or more, under that lease: nothing makes it smaller while ranges
 * are out. Nothing happens where ID is not current, or recalled. */
void ph_leases_size_known(struct ph_leases *leases, const struct ph_lease_session *session, uint64_t id,
                          uint64_t size);

/* A lease of at least MODE on OBJECT; with BYTES (EXCLUSIVE only; NULL, or none, for all), in a session that
 * takes ranges and holds no lease on all of it, on a range with these and as many more as nobody else has.
 * CLAIM is idle. True when it is granted at once, its id in CLAIM->lease; the session's own SHARED lease gets
 * the new mode and a new id. False when it waits (the hook GO tells), or, with CLAIM idle, when its own lease
 * is recalled, or is on a range that does not do, or ranges of the object were recalled too often lately
 * (CLAIM->refused; also where that comes while it waits) or the limit on leases is reached. */
bool ph_leases_acquire(struct ph_leases *leases, struct ph_lease_claim *claim,
                       struct ph_lease_session *session, uint64_t object, enum ph_lease_mode mode,
                       const struct ph_lease_bytes *bytes);

/* After a start: SESSION held MODE on OBJECT before. The id of the lease that it has from now on, or had
 * claimed before; 0 where another session's stands in the way, or a limit is reached. *FRESH: it is a new
 * one. */
uint64_t ph_leases_reclaim(struct ph_leases *leases, struct ph_lease_session *session, uint64_t object,
                           enum ph_lease_mode mode, bool *fresh);

/* The same for what SESSION has claimed already, under ID, and claims once more: ID where it still holds that
 * (no range), in MODE or more; else 0. Nothing is granted. */
uint64_t ph_leases_confirm(const struct ph_leases *leases, const struct ph_lease_session *session,
                           uint64_t object, enum ph_lease_mode mode, uint64_t id);

/* Whether ID was granted before this start of export SPACE. */
bool ph_leases_is_earlier(const struct ph_leases *leases, size_t space, uint64_t id);

/* The mode that SESSION holds under ID; NONE where that is not current. */
enum ph_lease_mode ph_leases_mode(const struct ph_leases *leases, const struct ph_lease_session *session,
                                  uint64_t id);

/* SESSION gives ID back. False, and nothing done, where that is not current. */
bool ph_leases_release(struct ph_leases *leases, struct ph_lease_session *session, uint64_t id);

/* SESSION keeps ID for BYTES, which it has, and gives back the rest; it is asked again where these are wanted
 * too. A lease that cannot be kept so (it is SHARED, BYTES is not in it) is given back. False, and nothing
 * done, where ID is not current. */
bool ph_leases_keep_part(struct ph_leases *leases, struct ph_lease_session *session, uint64_t id,
                         const struct ph_lease_bytes *bytes);

/* SESSION keeps ID as SHARED (a range is given back); where all of it was asked for it remains recalled.
 * False, and nothing done, where ID is not current. */
bool ph_leases_keep_shared(struct ph_leases *leases, struct ph_lease_session *session, uint64_t id);

/* ---- Time ---- */

/* It is NOW_MS (of a clock that never goes back): what was left behind expires, and who did not
 * answer a recall within PH_RECALL_TIMEOUT_MS is fenced. */
void ph_leases_tick(struct ph_leases *leases, uint64_t now_ms);

/* Leases held, by all sessions. */
size_t ph_leases_count(const struct ph_leases *leases);

#endif
