/* Inside of the server core; only the files of this folder include this. */
#ifndef PH_SERVER_CORE_PRIVATE_H
#define PH_SERVER_CORE_PRIVATE_H

#include <sys/queue.h>

#include "ph_dispatch.h"
#include "runtime/base/limits.h"
#include "server/core/handles.h"
#include "server/core/lease.h"
#include "server/core/range_lock.h"
#include "server/core/server_core.h"
#include "server/core/slot.h"
#include "server/core/table.h"

/* Behind it a transaction of several commands is executed alone. */
struct ph_gate {
    struct ph_server_call *owner; /* NULL while it is open */
    size_t inside;                /* calls that read or change objects, and are not parked */
};

/* An export with what the core puts between the dispatcher and its store. */
struct ph_export_entry {
    uint64_t index;
    const struct ph_server_export *export;
    struct ph_store_ops ops;
    struct ph_gate gate; /* guard */
};

struct ph_server {
    struct ph_export_entry *exports;
    size_t export_count;
    struct ph_server_guard guard;
    uint64_t seed, last_session;
    bool shutting_down;
    bool grace;        /* atomic */
    size_t gates;      /* that are closed; atomic */
    size_t claimants;  /* sessions of before the start that have not said that they are done */
    size_t leaving;    /* sessions that have ended, and are in the list still */
    uint64_t grace_ms; /* until when; 0 before the first tick */
    uint32_t lease_ms; /* how long leases last */
    size_t running, session_count, away_count;
    uint64_t now_ms;         /* as the last tick said */
    struct ph_table clients; /* sessions, by client */
    struct ph_locks *locks;
    struct ph_leases *leases;
    uint64_t last_question;
    TAILQ_HEAD(, ph_glimpse) glimpses; /* that were asked, the oldest first */
    struct ph_actions *out;            /* of the step that is being made */
    LIST_HEAD(, ph_server_conn) conns;
    LIST_HEAD(, ph_session) sessions;
    TAILQ_HEAD(, ph_session) away; /* those without a connection; the first left first */
    struct ph_server_call *spare;  /* calls kept for the next request */
    size_t spare_count;
};

/* A question to who has an object exclusively: what has become of it? */
enum ph_glimpse_state {
    PH_GLIMPSE_NONE = 0,
    PH_GLIMPSE_ASKED,
    PH_GLIMPSE_TOLD,    /* the answer is in ATTR */
    PH_GLIMPSE_REFUSED, /* there is none: the lease is to be asked for */
};

struct ph_glimpse {
    enum ph_glimpse_state state;
    uint64_t question, object, lease;
    uint64_t asked_ms;
    Pohmel__Time asked;        /* by the clock of the store; 0 where it has none */
    struct ph_session *holder; /* while it is asked */
    bool unsent;
    Pohmel__Attr attr; /* without what it points to */
    Pohmel__Time modified, changed;
    TAILQ_ENTRY(ph_glimpse) of_server, of_holder;
};

enum ph_conn_state {
    PH_CONN_NEW = 0, /* no session yet */
    PH_CONN_OPENING, /* SESSION_OPEN is being executed */
    PH_CONN_OPEN,
    PH_CONN_ENDED, /* the session is over; nothing but closing is left */
};

struct ph_server_conn {
    struct ph_server *server;
    int refs; /* atomic */
    void *data;
    void (*release)(void *data);
    enum ph_conn_state state;
    bool closed; /* it is gone, or was told to go */
    bool left;   /* the client's machine closed it */
    bool listed;
    uint32_t credits; /* in use */
    uint64_t peer;    /* where it comes from; the same for all connections from there */
    struct ph_session *session;
    LIST_HEAD(, ph_server_call) calls;
    LIST_ENTRY(ph_server_conn) of_server;
};

struct ph_session {
    struct ph_table_node node; /* by client */
    uint8_t client[PH_CLIENT_ID_BYTES];
    uint64_t id;     /* never used twice in this run of the server */
    uint64_t number; /* given by the client */
    const struct ph_export_entry *entry;
    struct ph_server_conn *conn; /* NULL while it is away */
    uint64_t peer;               /* of its last connection */
    bool ended;
    bool listed;                    /* in the list of the store */
    bool claims;                    /* of before the start; not done with what it claims */
    bool claimed;                   /* it was; what it got may be claimed once more, if the answer was lost */
    bool resumable;                 /* it outlives its connection */
    bool away;                      /* its connection broke; it may be taken up again */
    bool wanted;                    /* while it was away somebody wanted a lock that it has */
    uint64_t away_ms;               /* since when */
    struct ph_server_call *resumer; /* SESSION_OPEN that takes it up, once nothing of before is executed */
    bool read_only;                 /* it, or its export */
    size_t running;
    struct ph_handles handles;
    struct ph_lock_session locks;
    struct ph_lease_session *lease; /* NULL for one that does not cache; guard */
    bool caches;                    /* it has had one since it was opened */
    bool writes_back;               /* it makes changes in its cache */
    bool glimpses;                  /* and says what has become of what it has exclusively */
    bool ranges;                    /* it knows of leases on ranges */
    TAILQ_HEAD(, ph_glimpse) asked; /* questions to it */
    size_t asked_count;
    LIST_HEAD(, ph_server_call) calls;
    LIST_ENTRY(ph_session) of_server;
    TAILQ_ENTRY(ph_session) of_away;
    struct ph_slot slots[PH_SESSION_SLOTS];
};

struct ph_server_call {
    struct ph_call call; /* what the handlers see */
    struct ph_server *server;
    struct ph_server_conn *conn; /* a reference */
    struct ph_session *session;  /* NULL before it is open */
    struct ph_frame *frame;
    uint32_t cost;
    bool cancelled;
    uint32_t status;
    struct ph_blob *message, *payload; /* of the reply */
    struct ph_actions actions;         /* of what the handler set in motion */
    struct ph_lease_claim claim;       /* what it concerns, where that matters to others */
    struct ph_glimpse glimpse;         /* what it asked of who has its object exclusively */
    uint64_t since;                    /* what it reads is not older than this, by the clock of the leases */
    unsigned attempts;                 /* times that a name belonged to another object than expected */
    bool in_grace;                     /* it waits for the end of the grace; guard */
    bool inside, at_gate;              /* it is counted there; it waits for it; guard */
    bool stable;                       /* what was there before it came is */
    bool plain_rename;                 /* the store cannot be told that a name must be free */
    bool parked;                       /* it is to be executed again */
    bool waits;                        /* until its claim goes; guard */
    bool stray;                        /* its connection is gone, nobody waits; atomic */
    bool settled;                      /* it waits, and is done with being executed; guard */
    uint32_t verdict;                  /* what its wait came to: OK, or it is answered this */
    LIST_ENTRY(ph_server_call) of_conn;
    LIST_ENTRY(ph_server_call) of_session;
    struct ph_server_call *next_spare;
};

/* Inside the guard, what is to be done goes to ACTIONS. */
void ph_server_enter(struct ph_server *server, struct ph_actions *actions);
void ph_server_leave(struct ph_server *server);

extern const struct ph_session_ops ph_server_session_ops;

/* Puts itself before the store's own functions where the session is charged. */
void ph_server_wrap_store(struct ph_export_entry *entry);

/* ---- parking.c: calls that wait for leases of others ---- */

/* CALL is to be executed again when ph_server_unpark says so; guard held. Returns PENDING. */
uint32_t ph_server_wait(struct ph_server_call *call);

/* CALL is to be executed again when its claim has gone; guard held. Returns PENDING, or CANCELLED. */
uint32_t ph_server_park(struct ph_server_call *call);

/* The wait of CALL is over with STATUS; nothing where it does not wait. Guard held. */
void ph_server_unpark(struct ph_server_call *call, uint32_t status);

/* A parked call was executed up to its wait, and is not touched by its thread any more. Guard held. */
void ph_server_settle(struct ph_server_call *call);

/* All waits of calls of SESSION, or of all sessions (NULL), are over with STATUS. Guard held. */
void ph_server_unpark_all(struct ph_server *server, const struct ph_session *session, uint32_t status);

/* Whether CALL, which reads, was parked for what somebody else holds exclusively. */
bool ph_server_reading_waits(struct ph_server_call *call);

/* ---- grants.c: leases on what was read ---- */

/* Puts leases into the attributes of REPLY. False when CALL was parked instead. */
bool ph_server_grant(struct ph_server_call *call, ProtobufCMessage *reply);

/* ---- glimpse.c: what others have exclusively, and may tell of ---- */

/* ATTR was read for CALL while another session had the object exclusively. TOLD: it is brought up to date,
 * and is no state that a lease protects. ASKED: the holder was asked, CALL is to be parked. REFUSED: the
 * lease is to be asked for. Guard held. */
enum ph_glimpse_state ph_server_glimpse(struct ph_server_call *call, Pohmel__Attr *attr);

/* Others than SESSION list OBJECT, which somebody has exclusively: who does not use it may share it. Guard
 * held. */
void ph_server_glimpse_hint(struct ph_server *server, const struct ph_session *session, uint64_t object);

/* CALL waits for no answer any more. Guard held. */
void ph_server_glimpse_forget(struct ph_server_call *call);

/* SESSION will not answer. Guard held. */
void ph_server_glimpse_end_session(struct ph_session *session);

/* Questions that were asked too long ago are given up. Guard held. */
void ph_server_glimpse_tick(struct ph_server *server);

/* GLIMPSE_ANSWER. */
uint32_t ph_server_glimpse_answer(void *self, struct ph_call *call,
                                  const Pohmel__GlimpseAnswerRequest *request, Pohmel__Nothing *reply);

/* ---- gate.c: transactions of several commands are executed alone ---- */

/* CALL is about to be executed; it is not any more. Guard held. */
void ph_gate_count(struct ph_server_call *call);
void ph_gate_uncount(struct ph_server_call *call);

/* Whether CALL may not be executed now: it was parked, or has its status. */
bool ph_gate_parks(struct ph_server_call *call);

/* Closes the gate for CALL. OK: nobody else is inside; PENDING: it is parked until that is so; or a status.
 */
uint32_t ph_gate_enter(struct ph_server_call *call);

/* Whether CALL has closed it, and nobody else is inside. */
bool ph_gate_is_entered(struct ph_server_call *call);

/* Opens it where CALL had closed it, for those that wait. Guard held. */
void ph_gate_open(struct ph_server_call *call);

/* ---- transact.c: TRANSACT ---- */

/* A handle that a command opens. */
struct ph_opening {
    uint64_t handle; /* 0 for none */
    uint64_t object; /* 0 while it is not known, and for one that could not be opened */
    uint32_t access;
    bool added; /* it was not open before */
};

/* Charges what is about to be opened to the session. */
uint32_t ph_server_charge_handle(struct ph_call *call, struct ph_opening *opening);

/* It was opened, or not. A CLOSE that came in between took the charge away: it
 * is put back, the handle being open. */
void ph_server_settle_handle(struct ph_call *call, const struct ph_opening *opening);

/* TRANSACT. */
uint32_t ph_server_transact(void *self, struct ph_call *call, const Pohmel__TransactRequest *request,
                            Pohmel__TransactReply *reply);

/* STAGE. */
uint32_t ph_server_stage(void *self, struct ph_call *call, const Pohmel__StageRequest *request,
                         Pohmel__Nothing *reply);

/* OUTCOME. */
uint32_t ph_server_outcome(void *self, struct ph_call *call, const Pohmel__OutcomeRequest *request,
                           Pohmel__OutcomeReply *reply);

/* ---- several.c: transactions of several commands ---- */

/* Takes the claims of all commands of REQUEST and of its staged parts, and closes the gate. OK: it is to be
 * executed now; PENDING: CALL is parked, and comes again. */
uint32_t ph_server_claim_several(struct ph_server_call *call, const Pohmel__TransactRequest *request);

/* ---- plan.c: which objects a change concerns ---- */

struct ph_change_plan {
    const Pohmel__TransactRequest *request; /* what the store is to be given */
    size_t count;
    struct ph_lease_want wants[PH_LEASE_CLAIM_KEYS];
    bool expects;   /* it names objects that the client did not name */
    bool laundered; /* where the session holds a lease on its one object it must not wait */
    bool mixed;     /* the client named some of them as well */
    uint64_t found; /* object that CREATE is expected to find; 0 for none */
    uint32_t raced; /* status that means that a name was given to another object meanwhile */
    Pohmel__TransactRequest own;
    Pohmel__Change change, *changes;
    union {
        Pohmel__CreateRequest create;
        Pohmel__RemoveRequest remove;
        Pohmel__RmdirRequest rmdir;
        Pohmel__RenameRequest rename;
    };
};

/* Finds out what REQUEST concerns; asks the store for the objects that names stand for. */
void ph_server_plan(struct ph_server_call *call, const Pohmel__TransactRequest *request,
                    struct ph_change_plan *plan);

/* The object that the name stands for now, as far as the caller may know; NOBODY for none. */
uint64_t ph_server_look_name(struct ph_server_call *call, Pohmel__Caller *caller, uint64_t parent,
                             ProtobufCBinaryData name);

/* Where nothing is: an id that is never given to an object. */
#define PH_NOBODY PH_OBJECT_GIVEN_END

/* Claims COUNT objects for CALL, all of WANTS. As the next one. */
uint32_t ph_server_claim_wants(struct ph_server_call *call, const struct ph_lease_want *wants, size_t count);

/* Claims for CALL what PLAN says. OK: it may go on; PENDING: it is parked; else it is answered this. */
uint32_t ph_server_claim(struct ph_server_call *call, const struct ph_change_plan *plan);

/* Whether the store's answer means that names were given to other objects meanwhile, so that it is to be
 * planned again. RENAME may have to do without the store's help; the call remembers. */
bool ph_server_plan_raced(struct ph_server_call *call, const struct ph_change_plan *plan, uint32_t status);

/* ---- payload.c: what belongs to whom of a transaction's payload ---- */

/* Whether the payload is cut up completely by the COUNT commands, and none of them brings what it may
 * not. Returns a status, with words in CALL. R-5.2-2. */
uint32_t ph_server_check_payload(struct ph_call *call, Pohmel__Change *const *changes, size_t count);

/* ---- recalls.c: what the leases have done ---- */

/* Words for who looks after the server; FORMAT has a %s for WHO and a %zu for COUNT. Guard held. */
void ph_server_say(struct ph_server *server, const char *format, const char *who, size_t count)
    __attribute__((format(printf, 2, 0)));
/* EVENT of COMMAND goes to CONN, where that is open. Guard held. */
void ph_server_send_event(struct ph_server_conn *conn, uint16_t command, const ProtobufCMessage *event);

/* The table of leases of SERVER. */
struct ph_leases *ph_server_leases_new(struct ph_server *server);

/* Makes SESSION one that caches, if it can. Guard held. */
void ph_server_session_caches(struct ph_server *server, struct ph_session *session, const uint8_t *host,
                              size_t host_len);

/* The export of that name, or (empty name) the only one; NULL with FAULT. */
const struct ph_export_entry *ph_server_find_export(struct ph_server *server, const uint8_t *name, size_t len,
                                                    struct ph_fault *fault);

/* Which session is wanted. */
struct ph_session_wish {
    const uint8_t *client; /* PH_CLIENT_ID_BYTES */
    uint64_t number;
    const struct ph_export_entry *entry;
    bool read_only, resumable;
    bool listed; /* it is in the list of the store already */
};

/* Whether ph_session_open would not refuse it. Guard held. */
uint32_t ph_session_may_open(struct ph_server_conn *conn, const struct ph_session_wish *wish,
                             struct ph_fault *fault);

/* Opens a session on CONN, ending an older one of the client. Guard held. Returns a status. */
uint32_t ph_session_open(struct ph_server_conn *conn, const struct ph_session_wish *wish,
                         struct ph_fault *fault);

/* A session of before this start: it is away. Guard held. */
void ph_session_restore(struct ph_server *server, const struct ph_session_wish *wish,
                        const struct ph_store_session *stored);

/* The session of CLIENT, or NULL. Guard held. */
struct ph_session *ph_session_find(struct ph_server *server, const uint8_t client[PH_CLIENT_ID_BYTES]);

/* Ends all sessions, in silence: the server is about to be freed. */
void ph_sessions_clear(struct ph_server *server);

/* Ends SESSION: locks, waits, and, when nothing of it runs, all else. LOST: its client may not know, and go
 * on using its leases until they expire. Guard held. */
void ph_session_end(struct ph_server *server, struct ph_session *session, bool lost);

/* CALL of SESSION is done; the last one of an ended session takes it along. Guard held. */
void ph_session_call_done(struct ph_server *server, struct ph_session *session, struct ph_server_call *call);

/* ---- away.c: sessions that outlive their connection. Guard held for all of them. ---- */

/* SESSION, which has no connection, is away from now on. */
void ph_session_put_away(struct ph_server *server, struct ph_session *session);

/* The connection of SESSION is gone: it is away from now on. What it was waiting for there is dropped, but
 * for transactions. */
void ph_session_leave_conn(struct ph_server *server, struct ph_session *session);

/* CALL, a SESSION_OPEN, takes the session up that WISH names. OK; NO_SESSION; or PENDING: it comes again when
 * nothing that came over the old connection is executed any more. */
uint32_t ph_session_resume(struct ph_server_call *call, const struct ph_session_wish *wish,
                           struct ph_fault *fault);

/* The client is told: it is asked again for all that is recalled. */
void ph_session_resumed(struct ph_server *server, struct ph_server_conn *conn);

/* SESSION is not away any more, because it ended. */
void ph_session_not_away(struct ph_server *server, struct ph_session *session);

/* Nothing that came over an old connection of SESSION is executed any more, perhaps: who takes it up goes on.
 */
void ph_session_wake_resumer(struct ph_server *server, struct ph_session *session);

/* Whether CALL came over a connection that its session has no more, and nobody waits for what it does. */
bool ph_server_is_stray(const struct ph_server_call *call);

/* SESSION, which is away, has a lock that somebody wants. True when it has ended therefore. */
bool ph_session_is_wanted(struct ph_server *server, struct ph_session *session);

/* ---- grace.c: the time after a start ---- */

/* Takes over the sessions that were there before the start. */
void ph_server_begin_grace(struct ph_server *server);

/* Number of the start since which STORE, in its start EPOCH, lost nothing that was answered. */
uint64_t ph_server_unbroken(const struct ph_store *store, uint64_t epoch);

/* It is server->now_ms. Guard held. */
void ph_server_tick_grace(struct ph_server *server);

/* SESSION claims nothing more: it is done, or has ended. Guard held. */
void ph_session_claims_no_more(struct ph_server *server, struct ph_session *session);

/* A session that has ended is not in the list any more. Guard held. */
void ph_server_left_list(struct ph_server *server, uint64_t session);

/* Whether it is grace. Any thread, without the guard: true may be a moment late. */
static inline bool ph_server_is_grace(const struct ph_server *server)
{
    return __atomic_load_n(&server->grace, __ATOMIC_ACQUIRE);
}

/* CALL is to be executed again when the grace is over. Guard held; returns PENDING, or CANCELLED. */
uint32_t ph_server_wait_for_grace(struct ph_server_call *call);

/* Whether CALL opens again what its session, which was taken up after a start, had open: it waits for nobody,
 * for those who hold the object may be waiting themselves to be taken up. Guard held. */
bool ph_server_reopens(const struct ph_server_call *call);

/* Whether CALL, which reads, may not go before the grace is over; it is parked then. */
bool ph_server_grace_parks(struct ph_server_call *call);

/* Handlers of RECLAIM and RECLAIM_DONE. reclaim.c */
uint32_t ph_server_reclaim(void *self, struct ph_call *call, const Pohmel__ReclaimRequest *request,
                           Pohmel__ReclaimReply *reply);
uint32_t ph_server_reclaim_done(void *self, struct ph_call *call, const Pohmel__ReclaimDoneRequest *request,
                                Pohmel__ReclaimDoneReply *reply);

/* Handlers of LEASE_ACQUIRE and LEASE_RELEASE. ops_lease.c */
uint32_t ph_server_lease_acquire(void *self, struct ph_call *call, const Pohmel__LeaseAcquireRequest *request,
                                 Pohmel__LeaseAcquireReply *reply);
uint32_t ph_server_lease_release(void *self, struct ph_call *call, const Pohmel__LeaseReleaseRequest *request,
                                 Pohmel__LeaseReleaseReply *reply);

/* Sessions that are away end, when it is time. */
void ph_sessions_tick(struct ph_server *server);

/* Sends a reply to REQUEST. MESSAGE and PAYLOAD may be NULL; references are taken. Guard held. */
void ph_server_reply(struct ph_server_conn *conn, const struct ph_frame_header *request, uint64_t id,
                     uint32_t cost, uint32_t status, struct ph_blob *message, struct ph_blob *payload);

/* Words as the payload of a reply; NULL for none. */
struct ph_blob *ph_server_words(const struct ph_fault *fault);

/* CONN is to be closed with STATUS. Guard held. */
void ph_server_close(struct ph_server_conn *conn, uint32_t status, const char *reason);

/* A call for FRAME, running from now on. Guard held. */
struct ph_server_call *ph_server_call_new(struct ph_server_conn *conn, struct ph_frame *frame, uint32_t cost);

/* Frees the calls that are kept. */
void ph_server_free_spare(struct ph_server *server);

/* A wait for a lock ended; called by the lock table. Guard held. */
void ph_server_lock_answer(void *data, struct ph_lock_session *session, uint64_t request, uint32_t status);

#endif
