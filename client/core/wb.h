/* Write-back: changes are made in the cache of the client, under EXCLUSIVE leases, and sent later
 * (docs/protocol.md, section 9; docs/decisions/0007-write-back-as-a-proxy.md).
 *
 * It stands between who sends commands and the link to the server, and looks to the former like the server:
 * a command is submitted; it is answered here, or sent on, perhaps after what it depends on was written
 * back. What is dirty is kept as a log of operations, each of which is a command to be sent, after the
 * operations that it depends on. Every operation concerns only objects that the session holds
 * exclusively, or that the server does not know yet: so sending it never waits for another client.
 *
 * Pure; not thread safe: the shell holds a lock around each call, and carries out the actions after letting
 * go of it, on the same thread, in their order. */
#ifndef PH_CLIENT_CORE_WB_H
#define PH_CLIENT_CORE_WB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/core/cache.h"
#include "ph_protocol.h"
#include "runtime/base/blob.h"
#include "runtime/wire/stub.h"

struct ph_wb;
struct ph_wb_call;
struct ph_wb_orphan;

struct ph_wb_config {
    uint64_t flush_age_ms; /* what has been dirty for so long is sent */
    uint64_t patience_ms;  /* so long without a session, and what waits to be written back fails; 0: never */
    uint64_t dirty_limit_bytes; /* writers wait while more is dirty; half of it is where sending begins */
    uint64_t owned_limit_bytes; /* of what the server has and may still lose; more counts as dirty. 0: none is
                                  kept */
    uint32_t payload_max_bytes; /* of one command */
    uint32_t in_flight_max;     /* commands of ours under way at once */
};

/* The time, and until when leases hold (rule 11); both monotonic. REAL is what clocks on walls show. */
struct ph_wb_now {
    uint64_t ms, leases_until_ms;
    struct ph_cached_time real;
};

enum ph_wb_action_kind {
    PH_WB_SEND,      /* COMMAND, MESSAGE, PAYLOAD to the server; its reply is for ph_wb_answered with CALL */
    PH_WB_COMPLETE,  /* FN(DATA, REPLY) */
    PH_WB_EXCLUSIVE, /* OBJECT is being changed: an EXCLUSIVE lease on it is worth asking for, by way of
                        submit */
    PH_WB_LIST,      /* directory OBJECT is worth listing whole, by way of submit */
    PH_WB_BORN, /* the server knows OBJECT now; its lease was OLD_LEASE, and is ATTR.lease (LEASE, MODE) */
    /* space is to be reserved: NEEDED bytes, and MORE, by way of submit */
    PH_WB_SPACE,
    PH_WB_WHOLE, /* directory OBJECT was made here, and is empty */
    /* attributes of OBJECT are the server's from now on: what is kept of them is out of date */
    PH_WB_FORGET,
    PH_WB_RESTORED, /* of what the server lost all was made again that is: others' requests may go */
    PH_WB_RANGE,    /* a lease on LEN bytes of OBJECT from OFFSET on is worth asking for, by way of submit */
    PH_WB_RETURN,   /* LEASE, on a range of OBJECT, is to be given back, by way of submit */
    PH_WB_KEEP,     /* the same, but for LEN bytes from OFFSET on, which are kept */
    PH_WB_LOST,     /* bytes of OBJECT, PAYLOAD at OFFSET, that FAILED, which follows, is about */
    PH_WB_FAILED,   /* a change of OBJECT could not be written back: STATUS. Its leases are to be given up */
};

struct ph_wb_answer; /* what COMPLETE's reply is made of */

struct ph_wb_action {
    enum ph_wb_action_kind kind;
    struct ph_wb_call *call;
    bool own;            /* SEND: a command of write-back itself, which belongs to the session GENERATION */
    uint64_t generation; /* as told to ph_wb_opened */
    uint16_t command;
    const ProtobufCMessage *message; /* valid until the action was carried out */
    uint64_t offset, len;
    struct ph_blob *payload; /* of SEND and LOST: a reference, freed by ph_wb_actions_clear; or NULL */
    ph_reply_fn fn;
    void *data;
    struct ph_reply reply;
    struct ph_wb_answer *answer; /* owned */
    uint64_t object, old_lease, lease;
    uint64_t needed, more; /* SPACE */
    uint32_t mode, status;
    char text[160]; /* FAILED: what could not be done, for a person */
};

enum { PH_WB_ACTIONS_OWN = 2, PH_WB_ACTIONS_FEW = 4 };

/* A list of actions. Functions below append to it; the shell carries out and clears. Points into itself where
 * there are few, as after most commands: not to be copied. */
struct ph_wb_actions {
    struct ph_wb_action **items;
    size_t count, capacity;
    struct ph_wb_call **calls; /* calls that are over: freed with the list */
    size_t call_count, call_capacity;
    struct ph_wb_action *few_items[PH_WB_ACTIONS_FEW];
    struct ph_wb_call *few_calls[PH_WB_ACTIONS_FEW];
    struct ph_wb_action own[PH_WB_ACTIONS_OWN]; /* the first ones */
};

/* Empty list. */
void ph_wb_actions_init(struct ph_wb_actions *actions);

/* Frees what the actions own. Under the lock: some of it is shared with what is not over. */
void ph_wb_actions_clear(struct ph_wb_actions *actions);

/* Under the lock, before the actions are carried out: frees what is shared, where none of them needs that.
 * True: ph_wb_actions_clear may be called without the lock. */
bool ph_wb_actions_part(struct ph_wb_actions *actions);

/* Nothing is dirty. Never NULL. */
struct ph_wb *ph_wb_new(const struct ph_wb_config *config);

/* Frees it; what is dirty is lost, and calls under way are dropped without an answer. NULL is fine. */
void ph_wb_free(struct ph_wb *wb);

/* COMMAND with MESSAGE and PAYLOAD (both borrowed; NULL for none), as a stub sends it: FN(DATA, reply) is
 * called once, by an action. Returns a ticket for ph_wb_cancel; the actions say when it was
 * sent on or answered. */
uint64_t ph_wb_submit(struct ph_wb *wb, uint16_t command, const ProtobufCMessage *message,
                      struct ph_blob *payload, ph_reply_fn fn, void *data, const struct ph_wb_now *now,
                      struct ph_wb_actions *actions);

/* Attributes of OBJECT in *WIRE, as GETATTR would be answered here; false: it would be sent on. For those who
 * want no more than that: nothing else happens. */
bool ph_wb_getattr(struct ph_wb *wb, uint64_t object, const struct ph_wb_now *now,
                   struct ph_cached_attr_wire *wire);

/* Whether it would be. */
bool ph_wb_knows(const struct ph_wb *wb, uint64_t object, const struct ph_wb_now *now);

/* All that file OBJECT holds, where that was written back from here and is still so: a reference; else NULL.
 */
struct ph_blob *ph_wb_kept(struct ph_wb *wb, uint64_t object, const struct ph_wb_now *now);

/* SEND of CALL has the ticket LINK_TICKET at the link (0: answered already). Call at once after sending; CALL
 * may be gone, which is why it goes by TICKET. */
void ph_wb_sent(struct ph_wb *wb, uint64_t ticket, uint64_t link_ticket);

/* Ticket of the call of a SEND. */
uint64_t ph_wb_call_ticket(const struct ph_wb_call *call);

/* REPLY (borrowed; its attributes are overwritten where those here are newer) to the SEND of CALL came. */
void ph_wb_answered(struct ph_wb *wb, struct ph_wb_call *call, const struct ph_reply *reply,
                    const struct ph_wb_now *now, struct ph_wb_actions *actions);

/* Nobody waits for TICKET any more. Returns its ticket at the link if it was sent on (to be cancelled there),
 * else 0; a call that waits here is answered CANCELLED. */
uint64_t ph_wb_cancel(struct ph_wb *wb, uint64_t ticket, struct ph_wb_actions *actions);

/* Session GENERATION opened; WRITE_BACK: changes may be kept back in it. What is dirty goes on there. */
void ph_wb_opened(struct ph_wb *wb, uint64_t generation, bool write_back, const struct ph_wb_now *now,
                  struct ph_wb_actions *actions);

/* To be told before ph_wb_opened: the server is in its start EPOCH, and has lost nothing that it answered
 * since its start UNBROKEN. 9.15. */
void ph_wb_server(struct ph_wb *wb, uint64_t epoch, uint64_t unbroken);

/* GRANTED: the server grants leases on ranges of bytes in the session that was opened. False at first, and
 * whenever one opens. docs/protocol.md, section 9. */
void ph_wb_ranges(struct ph_wb *wb, bool granted);

/* The session is over, and all its leases and handles. To be told before its requests fail. Twice is fine. */
void ph_wb_lost(struct ph_wb *wb);

/* The server was started anew, and the session goes on: calls FN for each EXCLUSIVE lease that is to be
 * claimed; those on ranges are lost. FN must not come back here. Rule 15. */
void ph_wb_claims(struct ph_wb *wb, void (*fn)(void *data, const struct ph_claim *claim), void *data);

/* CLAIM was answered: the lease goes on as LEASE in MODE; 0: it is over, and somebody else may have changed
 * the object. To be told before the cache is. */
void ph_wb_reclaimed(struct ph_wb *wb, const struct ph_claim *claim, uint64_t lease, uint32_t mode);

/* The server recalled LEASE on OBJECT. To be told before the cache is (ph_cache_recall). Rule 6. */
void ph_wb_recalled(struct ph_wb *wb, uint64_t object, uint64_t lease, const struct ph_wb_now *now,
                    struct ph_wb_actions *actions);

/* The server wants back the bytes of OBJECT from START up to END, which LEASE covers. True: the rest is kept,
 * and an action sees to it. False: nothing was done, and all of it is to be given back (ph_wb_recalled). */
bool ph_wb_recalled_part(struct ph_wb *wb, uint64_t object, uint64_t lease, uint64_t start, uint64_t end,
                         const struct ph_wb_now *now, struct ph_wb_actions *actions);

/* A lease on a range of bytes. */
struct ph_wb_range_held {
    uint64_t object, lease, start, end; /* END is UINT64_MAX where it goes to the end */
    bool going;                         /* it is on its way back */
};

/* The next one, by their objects, behind that of object AFTER (0 at first), in *OUT; false: there is none. */
bool ph_wb_next_range(const struct ph_wb *wb, uint64_t after, struct ph_wb_range_held *out);

/* What PH_WB_RANGE asked for cannot be asked for now: there is a lease on the whole of OBJECT. */
void ph_wb_range_later(struct ph_wb *wb, uint64_t object);

enum ph_wb_glimpse {
    PH_WB_GLIMPSE_NO,    /* nothing can be said: the server is to ask for the lease back */
    PH_WB_GLIMPSE_QUIET, /* the object is not being written: it may as well be shared */
    PH_WB_GLIMPSE_TOLD,
    PH_WB_GLIMPSE_MOVED, /* told; and its time of change is the server's from now on, here as well */
};

/* The server asks what has become of OBJECT, held exclusively under LEASE, for somebody else. TOLD, MOVED:
 * *ATTR, which holds now; *UNSENT: some of it was not written back yet. Section 9.5. */
enum ph_wb_glimpse ph_wb_glimpse(struct ph_wb *wb, uint64_t object, uint64_t lease,
                                 const struct ph_wb_now *now, struct ph_cached_attr *attr, bool *unsent);

/* TICKET, which was sent on, is abandoned: its requester is gone, and its answer will be CANCELLED at once.
 * What it may still change at the server is not to be changed here before ph_wb_orphan_over. NULL: it changes
 * nothing. */
struct ph_wb_orphan *ph_wb_orphan(struct ph_wb *wb, uint64_t ticket);

/* The server has answered it, or never will. Frees ORPHAN; NULL is fine. */
void ph_wb_orphan_over(struct ph_wb *wb, struct ph_wb_orphan *orphan);

/* Writes back all of OBJECT (and, of a directory, what happened in it), or everything (0); then
 * FN(DATA, reply), whose status is that of the first failure. */
void ph_wb_flush(struct ph_wb *wb, uint64_t object, ph_reply_fn fn, void *data, const struct ph_wb_now *now,
                 struct ph_wb_actions *actions);

/* There is no server to wait for: what waits for something to be written back is answered IO_ERROR. What is
 * dirty stays. */
void ph_wb_fail_waiting(struct ph_wb *wb, struct ph_wb_actions *actions);

/* There will be no server any more: all that is dirty fails. */
void ph_wb_give_up(struct ph_wb *wb, const struct ph_wb_now *now, struct ph_wb_actions *actions);

/* OBJECT has changes that were not written back. */
bool ph_wb_is_dirty(const struct ph_wb *wb, uint64_t object);

/* HANDLE was opened here, and will be opened at the server when that has to know. */
bool ph_wb_has_handle(const struct ph_wb *wb, uint64_t handle);

/* Status of the first failure to write OBJECT back since this was last asked; PH_ST_OK for none. */
uint32_t ph_wb_take_error(struct ph_wb *wb, uint64_t object);

/* Time passed. */
void ph_wb_tick(struct ph_wb *wb, const struct ph_wb_now *now, struct ph_wb_actions *actions);

/* Nothing is dirty, and no more is reserved than is kept in idleness: nothing comes with time. */
bool ph_wb_is_idle(const struct ph_wb *wb);

struct ph_wb_counters {
    /* Now. */
    uint64_t dirty_bytes, dirty_operations, oldest_dirty_ms; /* 0 where nothing is dirty */
    uint64_t objects, exclusive, in_flight, waiting;
    uint64_t ranges;         /* of files that others write, too: leases on them */
    uint64_t reserved_bytes; /* at the server, for what is dirty or will be */
    uint64_t kept_bytes;     /* of small files that were written back */
    bool making_again;       /* what the server lost: all else waits */
    /* Since the start. */
    uint64_t local, forwarded;            /* commands answered here, and sent on */
    uint64_t sent;                        /* commands of ours */
    uint64_t merged, cancelled, failures; /* operations that were never sent, or failed */
    uint64_t unstable_bytes;              /* now: applied, and not known to be stable */
    uint64_t made_again, not_made_again;  /* after the server lost them */
};

/* Counters at NOW_MS. */
void ph_wb_count(const struct ph_wb *wb, uint64_t now_ms, struct ph_wb_counters *out);

#endif
