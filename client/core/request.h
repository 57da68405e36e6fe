/* One request of a client, from its submission to its completion. Counted by
 * reference: one belongs to the session core while the request is open, one to
 * each action that names it. */
#ifndef PH_CLIENT_CORE_REQUEST_H
#define PH_CLIENT_CORE_REQUEST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ph_protocol.h"
#include "runtime/base/arena.h"
#include "runtime/base/blob.h"
#include "runtime/wire/frame.h"
#include "runtime/wire/stub.h"

/* Who asked: the user of the link, or the session for its own ends. */
enum ph_request_purpose {
    PH_PURPOSE_USER = 0,
    PH_PURPOSE_OPEN,
    PH_PURPOSE_RENEW,
    PH_PURPOSE_IDS,
    PH_PURPOSE_CLOSE,
    PH_PURPOSE_RECOVER, /* after the server was started anew; takes no credits of others */
    PH_PURPOSE_CARRY,   /* opens again what was open in the session before */
};

enum ph_request_state {
    PH_REQUEST_NEW = 0,
    PH_REQUEST_QUEUED,    /* waits for a session, a credit or a slot */
    PH_REQUEST_IN_FLIGHT, /* sent; its reply is awaited */
    PH_REQUEST_PARKED,    /* answered STALE; the shell walks the path before it is sent again */
    PH_REQUEST_DONE,
};

/* What a request may be held up by; each kind has a queue of its own. See flow.c. */
enum ph_request_queue {
    PH_QUEUE_RELEASE, /* gives something back: may use the credits kept for that */
    PH_QUEUE_PLAIN,
    PH_QUEUE_HELD,     /* the server may have to wait for other clients before it answers */
    PH_QUEUE_TRANSACT, /* the same, and needs a slot */
    PH_QUEUE_WAIT,     /* may be answered very late (locks, leases); takes a share of the credits only */
    PH_QUEUE_CARRY,    /* as HELD, and before all of these: they may name what it opens */
    PH_QUEUE_FLUSH,    /* write-back's own: waits for no other client, and others wait for it */
    PH_QUEUE_ENDED,    /* belongs to a session that was over already: is only to be told so */
    PH_QUEUE_COUNT,
};

/* Bits of `wire`: what the shell did with the request, so that a CANCEL never
 * overtakes the request it names. */
enum ph_request_wire { PH_WIRE_SENT = 1, PH_WIRE_CANCEL = 2 };

typedef void (*ph_late_fn)(void *data);

struct ph_client_request {
    atomic_int refs;
    atomic_int wire;

    /* Fixed at creation. */
    uint16_t command;
    uint16_t kind; /* for counting: the change in a transaction of one; else the command */
    uint8_t purpose, queue;
    uint32_t cost; /* credits: ph_credit_cost */
    ph_reply_fn fn;
    void *data;
    ph_late_fn late; /* told, of an orphan, that the answer came after all, or never will; or NULL */
    void *late_data;
    struct ph_blob *payload; /* reference, or NULL */
    uint64_t generation;     /* of the session to which it belongs: sent in no other; 0: in any */
    uint64_t handle;         /* that it opens or closes; 0 for none */
    bool brief;              /* what it opens may be closed at once */
    size_t message_len;

    /* Of the session core. */
    uint8_t state;
    bool orphan;  /* nobody waits for the answer any more */
    bool retried; /* sent again after STALE */
    bool again;   /* sent again over another connection */
    uint64_t id;  /* ticket and frame id */
    uint32_t slot, sequence;
    uint64_t sent_ms;
    uint64_t deadline_ms; /* while queued without a session: when to give up; else UINT64_MAX */
    struct ph_client_request *next, *prev; /* in its queue, or in its bucket while sent */

    uint8_t message[]; /* encoded */
};

/* New request for COMMAND with MESSAGE, which is encoded, and a reference of
 * PAYLOAD (NULL for none): queue and cost follow from them. One reference is returned. Never NULL. */
struct ph_client_request *ph_request_encode(uint16_t command, const ProtobufCMessage *message,
                                            struct ph_blob *payload);

/* New request with room for MESSAGE_LEN encoded bytes, which the caller fills
 * in; takes a reference of PAYLOAD. One reference is returned. Never NULL. */
struct ph_client_request *ph_request_new(uint16_t command, size_t message_len, struct ph_blob *payload);

/* REQUEST, not submitted yet, is one of write-back itself: it is sent in session GENERATION only, not
 * 0, and with the credits and slots that are kept for such. */
void ph_request_for_flush(struct ph_client_request *request, uint64_t generation);

/* Whether REQUEST is executed in a slot: a transaction. Section 5.1. */
bool ph_request_needs_slot(const struct ph_client_request *request);

/* One reference more, one less; NULL is fine for unref. Any thread. */
struct ph_client_request *ph_request_ref(struct ph_client_request *request);
void ph_request_unref(struct ph_client_request *request);

/* Objects that REQUEST names, each once, up to MAX into OBJECTS, and who asks in
 * *CALLER (NULL where the command does not say). Decodes the request into ARENA,
 * in which *CALLER lives. Returns their number. */
size_t ph_request_objects(const struct ph_client_request *request, struct ph_arena *arena, uint64_t *objects,
                          size_t max, const Pohmel__Caller **caller);

#endif
