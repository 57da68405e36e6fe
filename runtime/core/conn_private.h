/* What a connection is made of; shared by the files of runtime/core that step
 * it: conn.c (its life, output and time) and conn_input.c. Private to runtime/core. */
#ifndef PH_CORE_CONN_PRIVATE_H
#define PH_CORE_CONN_PRIVATE_H

#include "runtime/base/limits.h"
#include "runtime/core/conn.h"
#include "runtime/core/hello.h"
#include "runtime/core/output.h"

/* Until it has said hello, a peer makes us hold no more than this. */
#define PH_INPUT_BYTES_GREETING (PH_GREETING_MAX_BYTES + 2 * PH_FRAME_HEADER_BYTES)

#define PH_NEVER_MS UINT64_MAX

enum ph_conn_state {
    PH_CONN_AWAIT_BANNER,
    PH_CONN_AWAIT_HELLO,
    PH_CONN_OPEN,
    PH_CONN_ENDED, /* nothing is read any more: a fault, or the peer's GOAWAY */
};

struct ph_conn {
    enum ph_conn_role role;
    enum ph_conn_state state;
    struct ph_hello own, peer;
    struct ph_banner banner;           /* the peer's */
    uint32_t message_max, payload_max; /* taken now; OWN says what may be taken at all */
    struct ph_fault fault;             /* why it ended; status 0 for a goodbye */

    uint8_t *input; /* bytes read and not understood yet: START to END */
    size_t input_capacity, input_start, input_end;
    struct ph_frame *frame; /* being received */
    size_t body_got;        /* bytes of its message and payload that are there */
    uint32_t body_crc;      /* of those */
    bool direct;            /* the last space given out was in FRAME itself */

    struct ph_frame **ready; /* ring of whole frames */
    size_t ready_capacity, ready_first, ready_count;

    struct ph_output output;
    bool greeting_unseen; /* nobody has looked at the output yet */
    bool greeted;         /* the peer's hello has come and fits */
    bool said_goodbye;

    uint64_t born_ms, heard_ms, frame_since_ms; /* PH_NEVER_MS while no frame is half there */
    uint64_t ping_id;
    bool ping_out, held;
};

/* malloc that does not fail. For what is ours; memory that the peer asks for is checked. */
void *ph_conn_allocate(size_t size);

/* The greeting with HELLO, at the end of the output. */
void ph_conn_queue_greeting(struct ph_conn *conn, const struct ph_hello *hello);

/* A control frame, at the end of the output. */
void ph_conn_queue_control(struct ph_conn *conn, enum ph_control control, uint64_t id, uint32_t status);

/* The end: conn->fault is filled in (or not, for a goodbye). */
void ph_conn_end(struct ph_conn *conn);

/* The same, and GOAWAY for the peer. */
void ph_conn_end_and_tell(struct ph_conn *conn);

/* Copies conn->fault, if there is one, to FAULT; returns its status. */
uint32_t ph_conn_answer(const struct ph_conn *conn, struct ph_fault *fault);

#endif
