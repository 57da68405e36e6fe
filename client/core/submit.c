/* What the user of a link asks for: submitting, cancelling, abandoning, trying again. */
#include <string.h>

#include "client/core/private.h"
#include "ph_commands.h"
#include "runtime/wire/command.h"

/* Why REQUEST cannot be taken at all, with words in *TEXT; 0 when it can. */
static uint32_t unacceptable(const struct ph_client *client, const struct ph_client_request *request,
                             const char **text)
{
    if (client->closing) {
        *text = "the mount is ending";
        return PH_ST_IO_ERROR;
    }
    if (request->message_len > client->message_max ||
        (request->payload && request->payload->len > client->payload_max)) {
        *text = "the request is larger than the server accepts";
        return PH_ST_LIMIT;
    }
    /* Write-back has a limit of its own, and loses what is refused here. */
    if (request->generation == 0 && ph_client_queued(client) >= PH_LINK_QUEUE_MAX) {
        *text = "too many requests are waiting for the server";
        return PH_ST_NO_MEMORY;
    }
    return PH_ST_OK;
}

/* Queues REQUEST (its reference passes over), and sends what can be sent. */
static void go_on(struct ph_client *client, struct ph_client_request *request, uint64_t now_ms,
                  struct ph_client_actions *actions)
{
    ph_client_enqueue(client, request, now_ms);
    if (client->state == CLIENT_OPEN)
        ph_client_pump(client, now_ms, actions);
    else
        ph_client_expire(client, now_ms, actions);
}

uint64_t ph_client_submit(struct ph_client *client, struct ph_client_request *request, uint64_t now_ms,
                          struct ph_client_actions *actions)
{
    const char *text = "";
    uint64_t ticket = request->id = ++client->next_id;
    uint32_t status = unacceptable(client, request, &text);
    if (status != PH_ST_OK) {
        ph_client_complete(request, status, text, actions);
        client->counters.failures++;
        ph_request_unref(request);
        return ticket;
    }
    /* That its session is over may not have been told yet; the next tick is after that. */
    if (!ph_client_belongs(client, request))
        request->queue = PH_QUEUE_ENDED;
    go_on(client, request, now_ms, actions);
    return ticket;
}

/* Ends a request that is not in flight, CANCELLED. */
static void end_waiting(struct ph_client *client, struct ph_client_request *request,
                        struct ph_client_actions *actions)
{
    if (request->state == PH_REQUEST_QUEUED)
        ph_client_unqueue(client, request);
    else
        ph_client_unsend(client, request);
    ph_client_complete(request, PH_ST_CANCELLED, ph_status_text(PH_ST_CANCELLED), actions);
    client->counters.cancels++;
    ph_request_unref(request);
}

static struct ph_client_request *find_waiting(struct ph_client *client, uint64_t ticket)
{
    struct ph_client_request *request = ph_client_find_sent(client, ticket);
    if (!request)
        request = ph_client_find_queued(client, ticket);
    return request && request->purpose == PH_PURPOSE_USER && !request->orphan ? request : NULL;
}

static void send_cancel(struct ph_client *client, struct ph_client_request *request,
                        struct ph_client_actions *actions)
{
    if (client->state != CLIENT_OPEN) {
        atomic_fetch_or(&request->wire, PH_WIRE_CANCEL); /* told when it is sent again */
        return;
    }
    struct ph_client_action *action = ph_client_act(actions, PH_CLIENT_SEND_CANCEL);
    action->request = ph_request_ref(request);
    action->header = (struct ph_frame_header){.kind = PH_FRAME_CONTROL,
                                              .traffic_class = PH_CLASS_RELEASE,
                                              .command = PH_CONTROL_CANCEL,
                                              .id = request->id,
                                              .slot = PH_NO_SLOT};
}

void ph_client_cancel(struct ph_client *client, uint64_t ticket, struct ph_client_actions *actions)
{
    struct ph_client_request *request = find_waiting(client, ticket);
    if (!request)
        return;
    if (request->state != PH_REQUEST_IN_FLIGHT) {
        end_waiting(client, request, actions);
        return;
    }
    client->counters.cancels++;
    send_cancel(client, request, actions);
}

void ph_client_abandon(struct ph_client *client, uint64_t ticket, struct ph_client_actions *actions)
{
    struct ph_client_request *request = find_waiting(client, ticket);
    if (!request)
        return;
    if (request->state != PH_REQUEST_IN_FLIGHT) {
        end_waiting(client, request, actions);
        return;
    }
    client->counters.cancels++;
    send_cancel(client, request, actions);
    request->orphan = true;
    ph_client_complete(request, PH_ST_CANCELLED, ph_status_text(PH_ST_CANCELLED), actions);
    request->state = PH_REQUEST_IN_FLIGHT; /* its slot and credits are taken until the answer comes */
}

void ph_client_resume(struct ph_client *client, struct ph_client_request *request, bool found,
                      uint64_t now_ms, struct ph_client_actions *actions)
{
    if (request->state != PH_REQUEST_PARKED)
        return;
    ph_client_unsend(client, request);
    client->counters.walks++;
    if (!found) {
        ph_client_complete(request, PH_ST_STALE, ph_status_text(PH_ST_STALE), actions);
        client->counters.failures++;
        ph_request_unref(request);
        return;
    }
    if (!ph_client_belongs(client, request))
        request->queue = PH_QUEUE_ENDED;
    go_on(client, request, now_ms, actions);
}
