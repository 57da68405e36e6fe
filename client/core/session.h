/* The client's end of a session, pure: what to send when, and what became of
 * each request. Stepped: every function takes the time and appends what is to be
 * done to ACTIONS. docs/protocol.md, sections 4 and 5.
 *
 * Not thread safe: the shell holds a lock around each call and carries out the
 * actions after letting go of it. Frames may then reach the connection in another
 * order than the core decided; that is allowed, because sequence numbers
 * count within a slot and a slot has one request in flight. */
#ifndef PH_CLIENT_CORE_SESSION_H
#define PH_CLIENT_CORE_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/core/claim.h"
#include "client/core/request.h"
#include "ph_protocol.h"
#include "runtime/base/fault.h"
#include "runtime/wire/frame.h"

struct ph_client_config {
    uint8_t client[16];      /* random, chosen once */
    const char *export_name; /* copied */
    const char *host;        /* of this machine, for the server's log; copied */
    const char *server_name; /* "host:port", for texts; copied */
    bool read_only;
    bool leases;          /* ask for leases; recalls come as EVENT then */
    bool write_back;      /* and for EXCLUSIVE ones where nobody else holds any */
    bool resumable;       /* the session is to outlive its connection */
    uint64_t session;     /* numbers of sessions are above that */
    uint64_t patience_ms; /* how long requests wait for a session; UINT64_MAX: for ever */
    uint64_t seed;        /* of the jitter in reconnecting */
};

enum ph_client_action_kind {
    PH_CLIENT_SEND,        /* HEADER with the message and payload of REQUEST */
    PH_CLIENT_SEND_CANCEL, /* a CANCEL for REQUEST, once REQUEST itself was sent */
    PH_CLIENT_COMPLETE,    /* REQUEST is answered by FRAME, or failed with STATUS and TEXT */
    PH_CLIENT_WALK,        /* REQUEST was answered STALE: find its objects again, then resume it */
    PH_CLIENT_CONNECT,     /* connect, then tell connected or connect_failed */
    PH_CLIENT_DISCONNECT,  /* close the connection with STATUS and TEXT, then tell disconnected */
    PH_CLIENT_OPENED,      /* a session is open; see ph_client_opened */
    PH_CLIENT_LATE,        /* REQUEST, which was abandoned, has come to its end: its late function is due */
    PH_CLIENT_LOST,        /* it is over: its leases must not be used any more. May come twice */
    PH_CLIENT_EXPIRED, /* its leases have run out, though it may go on: what was promised under them is over
                        */
    PH_CLIENT_EVENT,   /* FRAME is an event of the server about leases */
    PH_CLIENT_REFUSED, /* no session: STATUS and TEXT. It is tried again later */
    PH_CLIENT_CLAIMS,  /* which leases are held? To be told to ph_client_claims */
    PH_CLIENT_GRANTS,  /* FRAME is a reply to RECLAIM: some of these are held on, with other ids */
    PH_CLIENT_CLAIMED, /* those that were claimed and not granted by now are not held any more */
    PH_CLIENT_IDS,     /* ids came, or none are to be had: ask again */
    PH_CLIENT_CLOSED,  /* the shutdown is complete; STATUS: not OK where the server may not know */
};

/* REQUEST is a reference, FRAME and TEXT belong to the action: freed by ph_client_actions_clear. */
struct ph_client_action {
    enum ph_client_action_kind kind;
    struct ph_client_request *request;
    struct ph_frame_header header;
    struct ph_frame *frame;
    uint32_t status;
    char *text;
};

enum { PH_CLIENT_ACTIONS_INLINE = 6 };

struct ph_client_actions {
    struct ph_client_action *items;
    size_t count, capacity;
    struct ph_client_action inline_items[PH_CLIENT_ACTIONS_INLINE];
};

/* Empty list; nothing is allocated for a few actions. */
void ph_client_actions_init(struct ph_client_actions *actions);

/* Frees what the actions own, and the list's memory. */
void ph_client_actions_clear(struct ph_client_actions *actions);

/* What a session was given. */
struct ph_client_opened {
    uint64_t generation; /* number of sessions opened so far */
    uint64_t root, epoch, unbroken;
    bool read_only, xattrs, acls, acts_as_caller, leases, watched;
    bool ranges;     /* leases on ranges of bytes are granted */
    bool write_back; /* changes may be kept back: what is needed to send them in any case was granted */
    uint8_t volume[16];
    uint32_t lease_ttl_ms, slots, credits;
    uint32_t commands_max; /* of one transaction; 0 and 1: one */
};

enum { PH_CLIENT_KINDS = 96 }; /* above the numbers of all commands that a client sends */

struct ph_client_counters {
    uint64_t requests, transactions, replies, failures, reconnects, resumes, walks, cancels;
    uint64_t recoveries, not_reopened; /* sessions taken up after a restart; handles that were lost by it */
    uint64_t queued_peak, in_flight_peak;
    uint64_t payload_out_bytes, payload_in_bytes;
    uint64_t sent[PH_CLIENT_KINDS]; /* requests by command; a transaction of one change counts for that */
};

struct ph_client;

/* New end, not connected; the first tick asks to connect. Never NULL. */
struct ph_client *ph_client_new(const struct ph_client_config *config, uint64_t now_ms);

/* Frees it. Requests still open are dropped without completion: call ph_client_fail_all before. */
void ph_client_free(struct ph_client *client);

/* The connection asked for by CONNECT stands and the hellos fit; PEER says what
 * the server accepts. Sends SESSION_OPEN. */
void ph_client_connected(struct ph_client *client, uint32_t message_max, uint32_t payload_max,
                         uint64_t now_ms, struct ph_client_actions *actions);

/* It could not be made, or ended. FAULT (status 0: the peer closed) says why. Where the server keeps the
 * session for us, all waits until it is taken up again, and nothing is told but EXPIRED. Where it does not,
 * what was in flight fails with IO_ERROR; what was queued waits for the next session. */
void ph_client_disconnected(struct ph_client *client, const struct ph_fault *fault, uint64_t now_ms,
                            struct ph_client_actions *actions);

/* FRAME came in; it belongs to the core from now on. */
void ph_client_frame(struct ph_client *client, struct ph_frame *frame, uint64_t now_ms,
                     struct ph_client_actions *actions);

/* REQUEST (its reference passes to the core) is to be sent. Returns its ticket; it may
 * be completed by ACTIONS already. One of write-back (ph_request_for_flush) that is not sent in its
 * session ends NO_SESSION, always after LOST: by the step that ends the session, or by the next tick. */
uint64_t ph_client_submit(struct ph_client *client, struct ph_client_request *request, uint64_t now_ms,
                          struct ph_client_actions *actions);

/* The shell will make again what a server lost (wb.h, PH_WB_RESTORED): in a session that is opened then,
 * users' requests wait, those of before among them, until ph_client_restored is called. 9.15. */
void ph_client_restores(struct ph_client *client);
void ph_client_restored(struct ph_client *client, uint64_t now_ms, struct ph_client_actions *actions);

/* Nobody waits for TICKET any longer: queued or parked, it completes CANCELLED; in
 * flight, the server is told and its answer completes it. Unknown: nothing. */
void ph_client_cancel(struct ph_client *client, uint64_t ticket, struct ph_client_actions *actions);

/* The same, but it completes CANCELLED at once in any case; a later answer is dropped. */
void ph_client_abandon(struct ph_client *client, uint64_t ticket, struct ph_client_actions *actions);

/* TICKET was abandoned: LATE(DATA) is to be told when the server has answered it, or never
 * will. False: it is not under way any more, and nothing will be told. */
bool ph_client_when_late(struct ph_client *client, uint64_t ticket, ph_late_fn late, void *data);

/* The server was started anew, and CLAIMS asked for all leases that are held: those of COUNT CLAIMS. */
void ph_client_claims(struct ph_client *client, const struct ph_claim *claims, size_t count, uint64_t now_ms,
                      struct ph_client_actions *actions);

/* A WALK ended: sends REQUEST once more when FOUND, else completes it STALE.
 * Nothing happens when it was cancelled or failed meanwhile. */
void ph_client_resume(struct ph_client *client, struct ph_client_request *request, bool found,
                      uint64_t now_ms, struct ph_client_actions *actions);

/* COUNT ids in a row; 0 when there are none now. Asks for more in the background;
 * IDS comes when that was answered. */
uint64_t ph_client_take_ids(struct ph_client *client, uint32_t count, uint64_t now_ms,
                            struct ph_client_actions *actions);

/* Whether it makes sense to wait for IDS after take_ids returned 0. */
bool ph_client_ids_coming(const struct ph_client *client);

/* Ends the session in order: nothing new is taken; once all is answered, or at
 * DEADLINE_MS, the session is closed; then CLOSED. */
void ph_client_shutdown(struct ph_client *client, uint64_t deadline_ms, uint64_t now_ms,
                        struct ph_client_actions *actions);

/* Completes everything that is open with STATUS and TEXT. */
void ph_client_fail_all(struct ph_client *client, uint32_t status, const char *text,
                        struct ph_client_actions *actions);

/* Whether HANDLE is open at the server, or will be again before what is submitted from now on goes there.
 * False as well for what is open in write-back only. */
bool ph_client_has_handle(const struct ph_client *client, uint64_t handle);

/* When tick wants to be called next; UINT64_MAX for never. */
uint64_t ph_client_deadline(const struct ph_client *client);

/* Time passed. */
void ph_client_tick(struct ph_client *client, uint64_t now_ms, struct ph_client_actions *actions);

/* State, for status lines and tests. */
bool ph_client_is_open(const struct ph_client *client);
/* It is open, and nothing was answered for as long as leases last: nothing is sent until a tick has asked
 * whether there is still a session. */
bool ph_client_is_past_leases(const struct ph_client *client, uint64_t now_ms);
bool ph_client_is_kept(const struct ph_client *client); /* it is, or will be taken up again */
bool ph_client_is_hopeless(
    const struct ph_client *client); /* the server is another one: nothing waits for it */

/* When the latest of all requests of this session that were answered was sent: what the
 * time of leases counts from. Section 9.8. */
uint64_t ph_client_answered_sent_ms(const struct ph_client *client);
const struct ph_client_opened *ph_client_opened(const struct ph_client *client);
const struct ph_client_counters *ph_client_counters(const struct ph_client *client);
size_t ph_client_queued(const struct ph_client *client);
size_t ph_client_in_flight(const struct ph_client *client);
uint32_t ph_client_credits_free(const struct ph_client *client);
uint64_t ph_client_ids_left(const struct ph_client *client);
uint32_t ph_client_payload_max(const struct ph_client *client);
const char *ph_client_last_trouble(const struct ph_client *client); /* "" for none; until the next call */

/* Words behind a failed reply: the server's own where there are any, made printable;
 * else those of the status. OUT holds SIZE bytes. */
void ph_client_words(const struct ph_frame *frame, char *out, size_t size);

#endif
