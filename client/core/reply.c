/* Frames from the server: replies find their request; everything else is
 * checked against the rules of section 2 of docs/protocol.md. */
#include <stdio.h>

#include "client/core/private.h"
#include "ph_commands.h"

static void protocol_error(struct ph_client *client, uint32_t status, const char *what,
                           struct ph_client_actions *actions)
{
    char text[256];
    snprintf(text, sizeof(text), "%s broke the protocol: %s", client->server_name, what);
    ph_client_drop(client, status, text, actions);
}

/* What is wrong with a reply to REQUEST, or NULL. */
static const char *wrong_with(const struct ph_client_request *request, const struct ph_frame_header *header)
{
    if (header->command != request->command)
        return "a reply names another command than its request";
    if (header->status == PH_ST_NO_CREDIT)
        return "it says that more was sent than its credits allow";
    if (request->purpose != PH_PURPOSE_OPEN && header->credits != request->cost)
        return "a reply gives back other credits than its request cost";
    return NULL;
}

/* The answer to a request of the link's user. Takes FRAME and the reference of REQUEST. */
static void user_reply(struct ph_client *client, struct ph_client_request *request, struct ph_frame *frame,
                       uint64_t now_ms, struct ph_client_actions *actions)
{
    uint32_t status = frame->header.status;
    if (request->orphan) {
        if (status == PH_ST_OK)
            ph_client_undo_orphan(client, request, now_ms);
        ph_client_tell_late(request, actions);
        ph_frame_free(frame);
        ph_request_unref(request);
        return;
    }
    struct ph_client_action *action = ph_client_act(actions, PH_CLIENT_COMPLETE);
    action->request = request;
    action->frame = frame;
    action->status = status;
    request->state = PH_REQUEST_DONE;
    if (status != PH_ST_OK)
        client->counters.failures++;
}

/* The answer to a request of the session itself. */
static void own_reply(struct ph_client *client, struct ph_client_request *request, struct ph_frame *frame,
                      uint64_t now_ms, struct ph_client_actions *actions)
{
    switch (request->purpose) {
    case PH_PURPOSE_OPEN:
        ph_client_open_reply(client, frame, now_ms, actions);
        break;
    case PH_PURPOSE_RENEW:
        client->renewing = false;
        break;
    case PH_PURPOSE_IDS:
        ph_client_ids_reply(client, frame, actions);
        break;
    case PH_PURPOSE_CLOSE:
        /* Closed or not known any more: either way nothing is left to do. */
        client->state = CLIENT_CLOSED;
        client->close_deadline_ms = UINT64_MAX;
        ph_client_act(actions, PH_CLIENT_CLOSED);
        break;
    case PH_PURPOSE_CARRY:
        ph_client_carried(client, request, frame->header.status, now_ms);
        break;
    case PH_PURPOSE_RECOVER:
        ph_client_recover_reply(client, request, frame, now_ms, actions);
        frame = NULL;
        break;
    default:
        break;
    }
    ph_frame_free(frame);
    ph_request_unref(request);
}

/* The session is gone at the server, though the connection is not: start over. */
static bool session_lost(struct ph_client *client, const struct ph_client_request *request, uint32_t status)
{
    return (client->state == CLIENT_OPEN || client->state == CLIENT_RECOVERING) &&
           request->purpose != PH_PURPOSE_CLOSE && (status == PH_ST_NO_SESSION || status == PH_ST_FENCED);
}

/* The request waits for the next session: a server that is about to end has not looked at it. R-5.1-8. */
static void wait_for_next(struct ph_client *client, struct ph_client_request *request, struct ph_frame *frame,
                          uint64_t now_ms)
{
    client->server_leaving = true;
    ph_client_unsend(client, request);
    ph_client_enqueue(client, request, now_ms);
    ph_frame_free(frame);
}

/* What an answer to REQUEST, which is still in the table, leads to. Takes FRAME. */
static void sort(struct ph_client *client, struct ph_client_request *request, struct ph_frame *frame,
                 uint64_t now_ms, struct ph_client_actions *actions)
{
    uint32_t status = frame->header.status;
    bool wanted = request->purpose == PH_PURPOSE_USER && !request->orphan;
    if (wanted && status == PH_ST_STALE && !request->retried) {
        /* Stays in the table, so that cancel and abandon find it. */
        request->state = PH_REQUEST_PARKED;
        request->retried = true;
        ph_client_act(actions, PH_CLIENT_WALK)->request = ph_request_ref(request);
        ph_frame_free(frame);
        return;
    }
    if (wanted && status == PH_ST_SHUTTING_DOWN && !client->closing) {
        wait_for_next(client, request, frame, now_ms);
        return;
    }
    ph_client_unsend(client, request);
    if (request->purpose == PH_PURPOSE_USER)
        user_reply(client, request, frame, now_ms, actions);
    else
        own_reply(client, request, frame, now_ms, actions);
}

static void reply(struct ph_client *client, struct ph_frame *frame, uint64_t now_ms,
                  struct ph_client_actions *actions)
{
    struct ph_client_request *request = ph_client_find_sent(client, frame->header.id);
    if (!request || request->state != PH_REQUEST_IN_FLIGHT) {
        ph_frame_free(frame);
        protocol_error(client, PH_ST_MALFORMED, "a reply to a request that was not made", actions);
        return;
    }
    const char *wrong = wrong_with(request, &frame->header);
    if (wrong) {
        ph_frame_free(frame);
        protocol_error(client, PH_ST_MALFORMED, wrong, actions);
        return;
    }
    client->counters.replies++;
    if (frame->header.status == PH_ST_OK && request->purpose == PH_PURPOSE_USER)
        ph_holdings_note(&client->holdings, request, frame);
    ph_client_closed(client, request);
    /* That of an opening counts when there is a session by it; no answer of a session that is over does. */
    if (client->state == CLIENT_OPEN && request->purpose != PH_PURPOSE_OPEN &&
        !session_lost(client, request, frame->header.status) && request->sent_ms > client->answered_sent_ms)
        client->answered_sent_ms = request->sent_ms;
    if (frame->payload)
        client->counters.payload_in_bytes += frame->payload->len;
    ph_client_settle(client, request, frame->header.status);
    if (session_lost(client, request, frame->header.status))
        ph_client_drop(client, frame->header.status, ph_status_text(frame->header.status), actions);

    sort(client, request, frame, now_ms, actions);
    ph_client_pump(client, now_ms, actions);
    ph_client_closing_step(client, now_ms, actions);
}

/* Takes FRAME. */
static void event(struct ph_client *client, struct ph_frame *frame, struct ph_client_actions *actions)
{
    if (frame->header.command == PH_CMD_FENCED) {
        ph_client_drop(client, PH_ST_FENCED, ph_status_text(PH_ST_FENCED), actions);
        ph_frame_free(frame);
    } else if (client->state != CLIENT_OPENING && client->opened.leases) {
        ph_client_act(actions, PH_CLIENT_EVENT)->frame = frame;
    } else {
        ph_frame_free(frame); /* the others are about leases, and none is held */
    }
}

void ph_client_frame(struct ph_client *client, struct ph_frame *frame, uint64_t now_ms,
                     struct ph_client_actions *actions)
{
    if (client->state != CLIENT_OPEN && client->state != CLIENT_OPENING &&
        client->state != CLIENT_RECOVERING) {
        ph_frame_free(frame);
        return;
    }
    switch (frame->header.kind) {
    case PH_FRAME_REPLY:
        reply(client, frame, now_ms, actions);
        return;
    case PH_FRAME_EVENT:
        event(client, frame, actions);
        return;
    case PH_FRAME_REQUEST:
        protocol_error(client, PH_ST_WRONG_STATE, "a server sent a request", actions);
        break;
    default:
        break; /* controls are dealt with by the connection */
    }
    ph_frame_free(frame);
}
