/* State of the client's end of a session, shared by the files of client/core. */
#ifndef PH_CLIENT_CORE_PRIVATE_H
#define PH_CLIENT_CORE_PRIVATE_H

#include "client/core/holdings.h"
#include "client/core/session.h"
#include "runtime/base/arena.h"
#include "runtime/base/limits.h"
#include "runtime/base/random.h"

enum client_state {
    CLIENT_DOWN,       /* waits for connect_at_ms */
    CLIENT_CONNECTING, /* the shell connects */
    CLIENT_OPENING,    /* SESSION_OPEN is under way */
    CLIENT_RECOVERING, /* the session is taken up at a server that was started anew */
    CLIENT_OPEN,
    CLIENT_DROPPING, /* DISCONNECT was asked for, the end is not yet told */
    CLIENT_CLOSED,   /* after the shutdown */
};

enum { CLIENT_BUCKETS = 1024, CLIENT_RANGES_MAX = 8 };

struct client_queue {
    struct ph_client_request *head, *tail;
    size_t count;
};

struct client_slot {
    uint32_t sequence;                 /* of the last transaction sent; 0 for none yet */
    struct ph_client_request *request; /* in flight in it */
};

struct client_range {
    uint64_t first, count;
};

/* What may be in flight in a session, and what is: credits, but for the slots. See flow.c. */
struct client_flow {
    uint32_t credits, free;
    uint32_t release_kept;         /* that only releases take */
    uint32_t flush_kept, flush;    /* that users do not take; of flushes in flight */
    uint32_t users_max, users;     /* of all that is neither */
    uint32_t held_max, held;       /* of these: what may have to wait for other clients */
    uint32_t waiting_max, waiting; /* of these: what is expected to */
    uint32_t flush_slots_kept, flush_slots;
    uint32_t user_slots_max, user_slots;
};

/* See recover.c. */
enum client_phase { RECOVER_HANDLES, RECOVER_LOCKS, RECOVER_ASKING, RECOVER_LEASES, RECOVER_LAST };

struct client_recovery {
    enum client_phase phase;
    uint64_t epoch, done_sent_ms;
    struct ph_client_request **requests; /* from NEXT on they are still to be sent */
    size_t count, next, capacity;
    uint32_t outstanding;
};

struct ph_client {
    /* Fixed. */
    uint8_t id[16];
    char *export_name, *host, *server_name;
    bool want_read_only;
    uint64_t patience_ms;

    enum client_state state;
    struct ph_random random;
    uint64_t connect_at_ms, tried_at_ms, backoff_ms;
    uint64_t open_deadline_ms;
    uint64_t session_number;
    struct ph_client_opened opened;
    bool kept;     /* the session outlives its connection: it is taken up again (resume.c) */
    bool resuming; /* SESSION_OPEN, under way, asks for that */
    bool expired;  /* the leases of the session that is kept have run out */
    bool hopeless; /* the server is not the one it was: nothing waits for it */
    uint64_t open_sent_ms, give_up_ms; /* when what was sent is given up, while there is no connection */
    uint32_t message_max, payload_max;
    char trouble[600]; /* why there is no session */

    uint64_t next_id;
    struct client_queue queues[PH_QUEUE_COUNT];
    struct ph_client_request *sent[CLIENT_BUCKETS]; /* in flight and parked, by id */
    size_t sent_count;

    struct client_flow flow;
    struct client_slot *slots;
    uint32_t *free_slots, free_slot_count; /* a stack */

    bool want_leases, want_write_back, want_resumable;
    bool restores;             /* the shell makes again what a server lost */
    bool restoring;            /* it does so now: users' requests wait */
    uint64_t answered_sent_ms; /* when the latest request of this session that was answered was sent */
    uint64_t last_sent_ms;     /* when the server last had a sign of life due to a request */
    bool renewing;

    struct client_range ranges[CLIENT_RANGES_MAX];
    size_t range_count;
    bool ids_asked;

    struct ph_holdings holdings;
    uint32_t carried; /* of them: under way in this session; users' requests wait */
    struct client_recovery recovery;

    bool server_leaving; /* it refuses what is new: nothing is sent until the next session */
    bool closing, close_sent;
    uint64_t close_deadline_ms;

    struct ph_client_counters counters;
};

/* Appends an action of KIND. */
struct ph_client_action *ph_client_act(struct ph_client_actions *actions, enum ph_client_action_kind kind);

/* REQUEST (in no queue or table any more) ends with STATUS and TEXT. */
void ph_client_complete(struct ph_client_request *request, uint32_t status, const char *text,
                        struct ph_client_actions *actions);

/* queue.c: the queues, the table of what was sent, credits and slots. */

/* Puts REQUEST (one reference passes over) at the end of its queue. */
void ph_client_enqueue(struct ph_client *client, struct ph_client_request *request, uint64_t now_ms);

/* Takes REQUEST out of its queue; the reference passes to the caller. */
void ph_client_unqueue(struct ph_client *client, struct ph_client_request *request);

/* The request sent with that id, or NULL. */
struct ph_client_request *ph_client_find_sent(struct ph_client *client, uint64_t id);

/* The queued request with that id, or NULL. */
struct ph_client_request *ph_client_find_queued(struct ph_client *client, uint64_t id);

/* Takes REQUEST out of the table of what was sent; the reference passes to the caller. */
void ph_client_unsend(struct ph_client *client, struct ph_client_request *request);

/* REQUEST was answered with STATUS: gives back its credits and its slot. */
void ph_client_settle(struct ph_client *client, struct ph_client_request *request, uint32_t status);

/* Sends REQUEST (one reference passes over) now, with the slot and credits it takes. */
void ph_client_send_now(struct ph_client *client, struct ph_client_request *request, uint64_t now_ms,
                        struct ph_client_actions *actions);

/* Sends REQUEST, which was sent over another connection and has its slot and credits, again. */
void ph_client_send_again(struct ph_client *client, struct ph_client_request *request, uint64_t now_ms,
                          struct ph_client_actions *actions);

/* Sends what may be sent. */
void ph_client_pump(struct ph_client *client, uint64_t now_ms, struct ph_client_actions *actions);

/* Fails queued requests whose time has come. */
void ph_client_expire(struct ph_client *client, uint64_t now_ms, struct ph_client_actions *actions);

/* Why there is no session, into TEXT of SIZE bytes. */
void ph_client_say_trouble(const struct ph_client *client, char *text, size_t size);

/* The session is over, or about to be: what belongs to it and was not sent ends NO_SESSION. */
void ph_client_end_flushes(struct ph_client *client, struct ph_client_actions *actions);

/* What was not stable is lost, and nobody makes it again: each SYNC that waits was asked for it, and ends
 * IO_ERROR. */
void ph_client_end_syncs(struct ph_client *client, struct ph_client_actions *actions);

/* Ends, NO_SESSION, what was submitted for a session that was over. */
void ph_client_end_late(struct ph_client *client, struct ph_client_actions *actions);

/* Whether REQUEST may be sent now or later: not so when it belongs to a session that is over. */
bool ph_client_belongs(const struct ph_client *client, const struct ph_client_request *request);

/* flow.c: credits and slots. */

/* Takes CREDITS and SLOTS of a new session into use; nothing is in flight. FLUSHES: some are kept for these.
 */
void ph_client_reset_flow(struct ph_client *client, uint32_t credits, uint32_t slots, bool flushes);

/* The session is over; nothing is in flight. */
void ph_client_stop_flow(struct ph_client *client);

/* REQUEST takes its credits, and a slot if it needs one. There must be enough: see ph_client_next. */
void ph_client_charge(struct ph_client *client, struct ph_client_request *request);

/* And gives them back. SLOT_UNTOUCHED: the server did not look at it, so that the sequence goes on with the
 * same. */
void ph_client_give_back(struct ph_client *client, struct ph_client_request *request, bool slot_untouched);

/* Whether REQUEST costs more than it can ever have in this session. */
bool ph_client_never(const struct ph_client *client, const struct ph_client_request *request);

/* What is to be sent next, still in its queue: there is all that it needs, or never will be
 * (ph_client_never). NULL: nothing can go now. */
struct ph_client_request *ph_client_next(const struct ph_client *client);

/* REQUEST, an orphan, has come to its end. */
void ph_client_tell_late(struct ph_client_request *request, struct ph_client_actions *actions);

/* session.c */

/* A request of the session itself, with MESSAGE. */
struct ph_client_request *ph_client_own_request(enum ph_request_purpose purpose, uint16_t command,
                                                const ProtobufCMessage *message);

/* The peer broke a rule, or the session cannot be had: connection and session are given up. */
void ph_client_drop(struct ph_client *client, uint32_t status, const char *text,
                    struct ph_client_actions *actions);

/* The connection is given up, the session is not where it is kept. */
void ph_client_hang_up(struct ph_client *client, uint32_t status, const char *text,
                       struct ph_client_actions *actions);

/* Ends one request that was under way, or was to be, and is in no table any more. */
void ph_client_fail(struct ph_client *client, struct ph_client_request *request, uint32_t status,
                    const char *text, struct ph_client_actions *actions);

/* Checks whether a shutdown can go on. */
void ph_client_closing_step(struct ph_client *client, uint64_t now_ms, struct ph_client_actions *actions);

/* open.c: SESSION_OPEN and its answer. */
void ph_client_send_open(struct ph_client *client, uint64_t now_ms, struct ph_client_actions *actions);
void ph_client_open_reply(struct ph_client *client, struct ph_frame *frame, uint64_t now_ms,
                          struct ph_client_actions *actions);

/* resume.c: a session that outlives its connection. */

/* The connection of a session that is kept broke: what was sent and not answered stays where it is. */
void ph_client_suspend(struct ph_client *client, uint64_t now_ms, struct ph_client_actions *actions);

/* SESSION_OPEN with `resume` was answered with FRAME, well or not. */
void ph_client_resume_reply(struct ph_client *client, const struct ph_frame *frame,
                            const Pohmel__SessionOpenReply *reply, uint64_t now_ms,
                            struct ph_client_actions *actions);

/* What was sent over the connection before is sent again: what has a slot, or what has none. */
void ph_client_send_all_again(struct ph_client *client, bool slots, uint64_t now_ms,
                              struct ph_client_actions *actions);

/* recover.c: the session is taken up in EPOCH. */
void ph_client_recover_start(struct ph_client *client, uint64_t epoch, uint64_t now_ms,
                             struct ph_client_actions *actions);

/* carry.c: a new session stands, and users' requests may go: first what was open is opened again. */
void ph_client_carry(struct ph_client *client, uint64_t now_ms);

/* REQUEST, one of these, was answered STATUS; NO_SESSION: it will not be. */
void ph_client_carried(struct ph_client *client, const struct ph_client_request *request, uint32_t status,
                       uint64_t now_ms);

/* REQUEST, of any kind, has ended in any way: what a CLOSE named is not opened again. */
void ph_client_closed(struct ph_client *client, const struct ph_client_request *request);

/* REQUEST, one of the recovery, was answered; takes FRAME. */
void ph_client_recover_reply(struct ph_client *client, const struct ph_client_request *request,
                             struct ph_frame *frame, uint64_t now_ms, struct ph_client_actions *actions);

/* It is over, or has to begin anew. */
void ph_client_recover_stop(struct ph_client *client);

/* Nobody waits any longer for what was sent before the connection broke, if it is time. */
void ph_client_give_up_sent(struct ph_client *client, uint64_t now_ms, struct ph_client_actions *actions);

/* When a wait that begins now is over; UINT64_MAX for never. */
uint64_t ph_client_patience_end(const struct ph_client *client, uint64_t now_ms);

/* open.c: the session is open, new or again. */
void ph_client_now_open(struct ph_client *client);

/* ids.c: asks for ids when they run low; the answer. */
void ph_client_refill_ids(struct ph_client *client, uint64_t now_ms, struct ph_client_actions *actions);
void ph_client_ids_reply(struct ph_client *client, struct ph_frame *frame, struct ph_client_actions *actions);

/* orphan.c: REQUEST, which nobody waits for, was answered well: what it opened is closed again. */
void ph_client_undo_orphan(struct ph_client *client, struct ph_client_request *request, uint64_t now_ms);

#endif
