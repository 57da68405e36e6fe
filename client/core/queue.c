/* What waits to be sent, and what was sent. */
#include <stdio.h>

#include "client/core/private.h"
#include "ph_commands.h"

static void append(struct client_queue *queue, struct ph_client_request *request)
{
    request->next = NULL;
    request->prev = queue->tail;
    if (queue->tail)
        queue->tail->next = request;
    else
        queue->head = request;
    queue->tail = request;
    queue->count++;
}

void ph_client_enqueue(struct ph_client *client, struct ph_client_request *request, uint64_t now_ms)
{
    request->state = PH_REQUEST_QUEUED;
    bool waits = client->state == CLIENT_OPEN || (client->kept && request->generation != 0);
    request->deadline_ms = waits ? UINT64_MAX : ph_client_patience_end(client, now_ms);
    append(&client->queues[request->queue], request);
    uint64_t queued = ph_client_queued(client);
    if (queued > client->counters.queued_peak)
        client->counters.queued_peak = queued;
}

void ph_client_unqueue(struct ph_client *client, struct ph_client_request *request)
{
    struct client_queue *queue = &client->queues[request->queue];
    if (request->prev)
        request->prev->next = request->next;
    else
        queue->head = request->next;
    if (request->next)
        request->next->prev = request->prev;
    else
        queue->tail = request->prev;
    request->next = request->prev = NULL;
    queue->count--;
}

struct ph_client_request *ph_client_find_queued(struct ph_client *client, uint64_t id)
{
    for (int i = 0; i < PH_QUEUE_COUNT; i++) {
        for (struct ph_client_request *at = client->queues[i].head; at; at = at->next) {
            if (at->id == id)
                return at;
        }
    }
    return NULL;
}

struct ph_client_request *ph_client_find_sent(struct ph_client *client, uint64_t id)
{
    struct ph_client_request *request = client->sent[id % CLIENT_BUCKETS];
    while (request && request->id != id)
        request = request->next;
    return request;
}

static void add_sent(struct ph_client *client, struct ph_client_request *request)
{
    struct ph_client_request **bucket = &client->sent[request->id % CLIENT_BUCKETS];
    request->prev = NULL;
    request->next = *bucket;
    if (*bucket)
        (*bucket)->prev = request;
    *bucket = request;
    client->sent_count++;
    if (client->sent_count > client->counters.in_flight_peak)
        client->counters.in_flight_peak = client->sent_count;
}

void ph_client_unsend(struct ph_client *client, struct ph_client_request *request)
{
    if (request->prev)
        request->prev->next = request->next;
    else
        client->sent[request->id % CLIENT_BUCKETS] = request->next;
    if (request->next)
        request->next->prev = request->prev;
    request->next = request->prev = NULL;
    client->sent_count--;
}

/* The others are sent when nothing else is. */
static bool takes_credits(const struct ph_client_request *request)
{
    return request->purpose != PH_PURPOSE_OPEN && request->purpose != PH_PURPOSE_RECOVER;
}

/* Statuses that refuse a transaction before its slot is touched. R-5.1-8. */
static bool leaves_slot_alone(uint32_t status)
{
    return status == PH_ST_WRONG_STATE || status == PH_ST_NO_SESSION || status == PH_ST_NO_CREDIT ||
           status == PH_ST_BAD_SEQUENCE || status == PH_ST_SHUTTING_DOWN;
}

void ph_client_settle(struct ph_client *client, struct ph_client_request *request, uint32_t status)
{
    if (takes_credits(request))
        ph_client_give_back(client, request, leaves_slot_alone(status));
}

static void hand_out(struct ph_client *client, struct ph_client_request *request, uint8_t flags,
                     uint64_t now_ms, struct ph_client_actions *actions)
{
    client->last_sent_ms = request->sent_ms = now_ms;
    client->counters.requests++;
    if (request->kind < PH_CLIENT_KINDS)
        client->counters.sent[request->kind]++;
    if (request->payload)
        client->counters.payload_out_bytes += request->payload->len;

    struct ph_client_action *action = ph_client_act(actions, PH_CLIENT_SEND);
    action->request = ph_request_ref(request);
    action->header = (struct ph_frame_header){
        .kind = PH_FRAME_REQUEST,
        .flags = flags,
        .traffic_class = request->queue == PH_QUEUE_RELEASE ? PH_CLASS_RELEASE : PH_CLASS_NORMAL,
        .command = request->command,
        .id = request->id,
        .slot = request->slot,
        .sequence = request->slot == PH_NO_SLOT ? 0 : request->sequence,
    };
}

void ph_client_send_now(struct ph_client *client, struct ph_client_request *request, uint64_t now_ms,
                        struct ph_client_actions *actions)
{
    if (takes_credits(request))
        ph_client_charge(client, request);
    request->state = PH_REQUEST_IN_FLIGHT;
    request->deadline_ms = UINT64_MAX;
    atomic_store_explicit(&request->wire, 0, memory_order_relaxed);
    add_sent(client, request);
    hand_out(client, request, 0, now_ms, actions);
}

void ph_client_send_again(struct ph_client *client, struct ph_client_request *request, uint64_t now_ms,
                          struct ph_client_actions *actions)
{
    /* What was cancelled is so again behind it. */
    atomic_fetch_and(&request->wire, ~PH_WIRE_SENT);
    request->again = true;
    hand_out(client, request, request->slot == PH_NO_SLOT ? 0 : PH_FLAG_RETRY, now_ms, actions);
}

void ph_client_pump(struct ph_client *client, uint64_t now_ms, struct ph_client_actions *actions)
{
    struct ph_client_request *request;
    /* Who was paused for longer than its leases last may have lost its session: what is sent in it, and not
     * answered, fails; what waits goes in the next one. */
    if (ph_client_is_past_leases(client, now_ms))
        return;
    while (client->state == CLIENT_OPEN && !client->server_leaving && (request = ph_client_next(client))) {
        ph_client_unqueue(client, request);
        if (!ph_client_never(client, request)) {
            ph_client_send_now(client, request, now_ms, actions);
            continue;
        }
        ph_client_complete(request, PH_ST_LIMIT, "the request is larger than the server ever accepts",
                           actions);
        ph_request_unref(request);
    }
}

void ph_client_restores(struct ph_client *client)
{
    client->restores = true;
}

void ph_client_restored(struct ph_client *client, uint64_t now_ms, struct ph_client_actions *actions)
{
    if (!client->restoring)
        return;
    client->restoring = false;
    if (client->state == CLIENT_OPEN)
        ph_client_carry(client, now_ms);
    ph_client_pump(client, now_ms, actions);
}

bool ph_client_belongs(const struct ph_client *client, const struct ph_client_request *request)
{
    return request->generation == 0 || ((client->state == CLIENT_OPEN || client->kept) &&
                                        request->generation == client->opened.generation);
}

/* REQUEST, in no queue any more (its reference passes over), belongs to a session that is over. */
static void end_flush(struct ph_client *client, struct ph_client_request *request,
                      struct ph_client_actions *actions)
{
    ph_client_complete(request, PH_ST_NO_SESSION, "the session in which it was to be written back is over",
                       actions);
    client->counters.failures++;
    ph_request_unref(request);
}

void ph_client_end_flushes(struct ph_client *client, struct ph_client_actions *actions)
{
    for (int i = 0; i < PH_QUEUE_ENDED; i++) {
        for (struct ph_client_request *at = client->queues[i].head, *next; at; at = next) {
            next = at->next;
            if (at->generation == 0)
                continue;
            ph_client_unqueue(client, at);
            end_flush(client, at, actions);
        }
    }
}

void ph_client_end_syncs(struct ph_client *client, struct ph_client_actions *actions)
{
    for (int i = 0; i < PH_QUEUE_COUNT; i++) {
        for (struct ph_client_request *at = client->queues[i].head, *next; at; at = next) {
            next = at->next;
            if (at->purpose != PH_PURPOSE_USER || at->command != PH_CMD_SYNC)
                continue;
            ph_client_unqueue(client, at);
            ph_client_fail(client, at, PH_ST_IO_ERROR,
                           "the server lost its power, and with it what was not stable", actions);
        }
    }
}

void ph_client_end_late(struct ph_client *client, struct ph_client_actions *actions)
{
    struct ph_client_request *head;
    while ((head = client->queues[PH_QUEUE_ENDED].head)) {
        ph_client_unqueue(client, head);
        end_flush(client, head, actions);
    }
}

void ph_client_say_trouble(const struct ph_client *client, char *text, size_t size)
{
    if (client->trouble[0])
        snprintf(text, size, "%s", client->trouble);
    else
        snprintf(text, size, "server %s cannot be reached", client->server_name);
}

void ph_client_expire(struct ph_client *client, uint64_t now_ms, struct ph_client_actions *actions)
{
    char text[600];
    for (int i = 0; i < PH_QUEUE_ENDED; i++) {
        for (struct ph_client_request *at = client->queues[i].head, *next; at; at = next) {
            next = at->next;
            if (at->deadline_ms == UINT64_MAX)
                continue; /* of write-back, in a session that is kept */
            if (at->deadline_ms > now_ms)
                break;
            ph_client_unqueue(client, at);
            ph_client_closed(client, at);
            ph_client_say_trouble(client, text, sizeof(text));
            ph_client_complete(at, PH_ST_IO_ERROR, text, actions);
            client->counters.failures++;
            ph_request_unref(at);
        }
    }
}
