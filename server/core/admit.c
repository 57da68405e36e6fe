/* What arrives: may it be executed, and where? docs/protocol.md, sections 3.4 to 3.6, 5.1. */
#include <stddef.h>

#include "server/core/peek.h"
#include "server/core/private.h"

/* A request that has not been admitted yet. */
struct arrival {
    struct ph_server_conn *conn;
    struct ph_frame *frame;
    const struct ph_command_info *info; /* NULL for an unknown command */
    uint32_t cost;
    bool slow;
};

/* Charges the request. False when the credits do not suffice.. */
static bool charge(struct arrival *arrival)
{
    if (arrival->cost > PH_SESSION_CREDITS || arrival->conn->credits > PH_SESSION_CREDITS - arrival->cost)
        return false;
    arrival->conn->credits += arrival->cost;
    return true;
}

/* Answers without executing; the credits come back with it. */
static void answer(struct arrival *arrival, uint32_t status, const struct ph_fault *fault)
{
    struct ph_blob *words = fault == NULL ? NULL : ph_server_words(fault);

    arrival->conn->credits -= arrival->cost;
    ph_server_reply(arrival->conn, &arrival->frame->header, arrival->frame->header.id, arrival->cost, status,
                    NULL, words);
    ph_blob_unref(words);
}

/* Whether the command fits what has happened on the connection so far.. */
static uint32_t check_state(const struct arrival *arrival, struct ph_fault *fault)
{
    const struct ph_server_conn *conn = arrival->conn;
    bool opens = arrival->info->number == PH_CMD_SESSION_OPEN;

    if (conn->server->shutting_down)
        return PH_ST_SHUTTING_DOWN;
    switch (conn->state) {
    case PH_CONN_NEW:
        return opens ? PH_ST_OK
                     : ph_fault_set(fault, PH_ST_WRONG_STATE, "%s before SESSION_OPEN", arrival->info->name);
    case PH_CONN_OPENING:
        return ph_fault_set(fault, PH_ST_WRONG_STATE, "SESSION_OPEN is not answered yet");
    case PH_CONN_OPEN:
        return opens ? ph_fault_set(fault, PH_ST_WRONG_STATE, "a session is open on this connection already")
                     : PH_ST_OK;
    case PH_CONN_ENDED:
        if (opens)
            return PH_ST_OK;
        break;
    }
    return ph_fault_set(fault, PH_ST_NO_SESSION, "the session has ended");
}

static uint32_t check(const struct arrival *arrival, struct ph_fault *fault)
{
    const struct ph_frame_header *header = &arrival->frame->header;
    uint32_t status;

    if (arrival->info == NULL)
        return ph_fault_set(fault, PH_ST_UNKNOWN_COMMAND, "there is no command %u", header->command);
    if (arrival->info->event || arrival->info->layer == PH_LAYER_PEER)
        return ph_fault_set(fault, PH_ST_WRONG_STATE, "%s is for servers to send", arrival->info->name);
    if (arrival->info->effect == PH_EFFECT_CHANGES)
        return ph_fault_set(fault, PH_ST_WRONG_STATE, "%s travels inside a transaction only",
                            arrival->info->name);
    status = check_state(arrival, fault);
    if (status != PH_ST_OK)
        return status;
    if (header->command == PH_CMD_TRANSACT && header->slot >= PH_SESSION_SLOTS)
        return ph_fault_set(fault, PH_ST_BAD_SEQUENCE, "there is no slot %u", header->slot);
    if (header->command != PH_CMD_TRANSACT && header->slot != PH_NO_SLOT)
        return ph_fault_set(fault, PH_ST_MALFORMED, "%s does not use a slot", arrival->info->name);
    return PH_ST_OK;
}

/* A transaction: only the next one of its slot is executed. True for that. */
static bool admit_to_slot(struct arrival *arrival)
{
    const struct ph_frame_header *header = &arrival->frame->header;
    struct ph_slot *slot = &arrival->conn->session->slots[header->slot];
    struct ph_fault fault = {0};

    switch (ph_slot_admit(slot, header, arrival->cost, &fault)) {
    case PH_SLOT_RUN:
        return true;
    case PH_SLOT_REPEAT:
        arrival->conn->credits -= arrival->cost;
        ph_server_reply(arrival->conn, header, header->id, arrival->cost, slot->status, slot->message,
                        slot->payload);
        return false;
    case PH_SLOT_WAIT:
        return false;
    case PH_SLOT_REFUSE:
        break;
    }
    answer(arrival, fault.status, &fault);
    return false;
}

/* Guard held. The call to run, or NULL when the arrival was dealt with. */
static struct ph_server_call *admit(struct arrival *arrival)
{
    struct ph_server_conn *conn = arrival->conn;
    struct ph_fault fault = {0};
    uint32_t status;

    if (!charge(arrival)) {
        ph_server_close(conn, PH_ST_NO_CREDIT, "it sent more requests than its credits allow");
        return NULL;
    }
    status = check(arrival, &fault);
    if (status != PH_ST_OK) {
        answer(arrival, status, &fault);
        return NULL;
    }
    if (arrival->info->number == PH_CMD_TRANSACT && !admit_to_slot(arrival))
        return NULL;
    if (arrival->info->number == PH_CMD_SESSION_OPEN)
        conn->state = PH_CONN_OPENING;
    return ph_server_call_new(conn, arrival->frame, arrival->cost);
}

static void give_up(struct ph_server_call *call)
{
    call->cancelled = true;
    ph_server_unpark(call, PH_ST_CANCELLED);
}

/* Whether CALL is a transaction that came again as ID. */
static bool is_repeated_as(const struct ph_server_call *call, uint64_t id)
{
    const struct ph_frame_header *header = &call->frame->header;
    const struct ph_slot *slot;

    if (header->command != PH_CMD_TRANSACT)
        return false;
    slot = &call->session->slots[header->slot];
    for (unsigned i = 0; i < slot->repeats; i++) {
        if (slot->repeat[i].id == id)
            return true;
    }
    return false;
}

/* The requester no longer waits: neither a lock nor leases of others are waited for any longer.. */
static void cancel(struct ph_server_conn *conn, uint64_t id)
{
    struct ph_server_call *call;

    if (conn->session == NULL || ph_locks_cancel(conn->server->locks, &conn->session->locks, id))
        return;
    LIST_FOREACH(call, &conn->calls, of_conn)
    {
        if (call->frame->header.id != id)
            continue;
        give_up(call);
        return;
    }
    /* It may have been sent again while it was being executed. */
    LIST_FOREACH(call, &conn->session->calls, of_session)
    {
        if (!is_repeated_as(call, id))
            continue;
        give_up(call);
        return;
    }
}

/* All that is not a request. */
static void admit_other(struct ph_server_conn *conn, const struct ph_frame_header *header)
{
    if (header->kind != PH_FRAME_CONTROL)
        ph_server_close(conn, PH_ST_WRONG_STATE, "it sent a frame that only servers send");
    else if (header->command == PH_CONTROL_CANCEL)
        cancel(conn, header->id);
}

enum ph_admission ph_server_frame(struct ph_server_conn *conn, struct ph_frame *frame,
                                  struct ph_actions *actions, struct ph_server_call **call)
{
    const struct ph_frame_header *header = &frame->header;
    struct arrival arrival = {.conn = conn, .frame = frame};

    *call = NULL;
    if (header->kind == PH_FRAME_REQUEST) {
        uint32_t wanted = ph_peek_wanted(header->command, frame->message, header->message_len);

        arrival.info = ph_command_info(header->command);
        /* Credits come with the session: opening it costs none. R-3.6-2. */
        if (header->command != PH_CMD_SESSION_OPEN)
            arrival.cost = ph_credit_cost(header->payload_len, wanted);
        arrival.slow = ph_peek_slow(header->command, frame->message, header->message_len);
    }
    ph_server_enter(conn->server, actions);
    if (conn->closed)
        *call = NULL;
    else if (header->kind == PH_FRAME_REQUEST)
        *call = admit(&arrival);
    else
        admit_other(conn, header);
    ph_server_leave(conn->server);
    if (*call == NULL) {
        ph_frame_free(frame);
        return PH_ADMIT_NOTHING;
    }
    return arrival.slow ? PH_ADMIT_SLOW : PH_ADMIT_QUICK;
}
