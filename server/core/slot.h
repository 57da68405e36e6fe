/* A slot of a session: which transaction was the last in it, and what was
 * answered. This is what makes a transaction take effect once, however often it
 * is sent. docs/protocol.md, section 5.1. */
#ifndef PH_SERVER_CORE_SLOT_H
#define PH_SERVER_CORE_SLOT_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/base/blob.h"
#include "runtime/base/fault.h"
#include "runtime/wire/frame.h"

/* Bytes of a recorded answer; larger ones are not kept. */
enum { PH_SLOT_RECORD_MAX_BYTES = 64 * 1024 };

/* Times that a transaction may come again over one connection while it is being executed. */
enum { PH_SLOT_REPEATS_MAX = 2 };

struct ph_slot {
    uint32_t sequence; /* of the last transaction; 0 before the first */
    bool any;          /* whichever sequence number comes is the next one: it is not known */
    bool busy;         /* it is being executed */
    bool recorded;     /* it was answered with what stands below */
    bool too_large;    /* it was answered, but the answer was not kept */
    uint32_t request_crc, status;
    struct ph_blob *message, *payload;
    /* The same transaction came again while it was being executed: these are to be answered with it. */
    unsigned repeats;
    struct ph_slot_repeat {
        uint64_t id;
        uint32_t cost;
    } repeat[PH_SLOT_REPEATS_MAX];
};

enum ph_slot_verdict {
    PH_SLOT_RUN = 1, /* the next one: execute it */
    PH_SLOT_REPEAT,  /* the last one again: answer from the record */
    PH_SLOT_WAIT,    /* the last one again, not answered yet: answered when it is done */
    PH_SLOT_REFUSE,  /* FAULT says why */
};

/* A transaction with HEADER came in. For RUN the slot is busy from now on. */
enum ph_slot_verdict ph_slot_admit(struct ph_slot *slot, const struct ph_frame_header *header, uint32_t cost,
                                   struct ph_fault *fault);

/* The transaction in it was answered; takes references of MESSAGE and PAYLOAD (NULL for none). */
void ph_slot_done(struct ph_slot *slot, uint32_t status, struct ph_blob *message, struct ph_blob *payload);

/* The connection is gone on which it was repeated: nobody waits there for the answer any more. */
void ph_slot_detach(struct ph_slot *slot);

/* Forgets what is recorded. */
void ph_slot_clear(struct ph_slot *slot);

#endif
