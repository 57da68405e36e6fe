/* What the core wants done after a step. The shell does it outside the core's mutex. */
#ifndef PH_SERVER_CORE_ACTIONS_H
#define PH_SERVER_CORE_ACTIONS_H

#include <stddef.h>
#include <stdint.h>

#include "runtime/base/blob.h"
#include "runtime/base/limits.h"
#include "runtime/wire/frame.h"

struct ph_server_call;
struct ph_server_conn;
struct ph_server_export;

enum ph_action_kind {
    PH_ACTION_SEND = 1,    /* HEADER, MESSAGE, PAYLOAD go to CONN */
    PH_ACTION_CLOSE,       /* CONN is told STATUS and closed; REASON for the log */
    PH_ACTION_END_SESSION, /* to be given to ph_server_end_session; may wait */
    PH_ACTION_RUN,         /* CALL, which was parked, is executed again, and done; may wait */
    PH_ACTION_LOG,         /* MESSAGE is text (without an end of line) for who looks after the server */
};

struct ph_action {
    enum ph_action_kind kind;
    struct ph_server_conn *conn; /* a reference of its own; SEND and CLOSE only */
    struct ph_frame_header header;
    struct ph_blob *message, *payload; /* references of their own; NULL for none */
    uint32_t status;
    const char *reason; /* static text */
    const struct ph_server_export *export;
    uint64_t session;
    bool listed; /* END_SESSION: it is to leave the list of sessions */
    uint8_t client[PH_CLIENT_ID_BYTES];
    uint64_t number; /* given by the client */
    struct ph_server_call *call;
};

enum { PH_ACTIONS_INLINE = 2 };

/* A list of actions; {0} is an empty one. They are done in order. */
struct ph_actions {
    size_t count, room;
    struct ph_action *more; /* those behind the first ones */
    struct ph_action first[PH_ACTIONS_INLINE];
};

/* One more, cleared, at the end. Valid until the next one is added. */
struct ph_action *ph_actions_add(struct ph_actions *actions, enum ph_action_kind kind);

/* The action at INDEX, which is below count. */
struct ph_action *ph_actions_get(struct ph_actions *actions, size_t index);

/* Gives back all references; the list is empty then. */
void ph_actions_clear(struct ph_actions *actions);

#endif
