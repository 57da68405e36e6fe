/* What waits to be sent, what was sent, and what limits it: credits and slots. */
#include <stdio.h>
#include <stdlib.h>

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
    request->deadline_ms = client->state == CLIENT_OPEN ? UINT64_MAX : now_ms + client->patience_ms;
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

/* Statuses that refuse a transaction before its slot is touched. R-5.1-8. */
static bool leaves_slot_alone(uint32_t status)
{
    return status == PH_ST_WRONG_STATE || status == PH_ST_NO_SESSION || status == PH_ST_NO_CREDIT ||
           status == PH_ST_BAD_SEQUENCE || status == PH_ST_SHUTTING_DOWN;
}

/* Whether the server may answer it only when other clients have given something back. */
static bool may_be_held(const struct ph_client_request *request)
{
    return request->queue == PH_QUEUE_WAIT || request->queue == PH_QUEUE_TRANSACT;
}

void ph_client_settle(struct ph_client *client, struct ph_client_request *request, uint32_t status)
{
    if (request->purpose == PH_PURPOSE_OPEN)
        return;
    client->credits_free += request->cost;
    if (request->queue == PH_QUEUE_WAIT)
        client->credits_waiting -= request->cost;
    if (may_be_held(request))
        client->credits_held -= request->cost;
    if (request->slot != PH_NO_SLOT) {
        client->slots[request->slot].request = NULL;
        if (leaves_slot_alone(status))
            client->slots[request->slot].sequence--;
        client->free_slots[client->free_slot_count++] = request->slot;
        request->slot = PH_NO_SLOT;
    }
}

static void take_slot(struct ph_client *client, struct ph_client_request *request)
{
    request->slot = client->free_slots[--client->free_slot_count];
    struct client_slot *slot = &client->slots[request->slot];
    request->sequence = ++slot->sequence;
    slot->request = request;
    client->counters.transactions++;
}

void ph_client_send_now(struct ph_client *client, struct ph_client_request *request, uint64_t now_ms,
                        struct ph_client_actions *actions)
{
    if (request->purpose != PH_PURPOSE_OPEN) {
        client->credits_free -= request->cost;
        if (request->queue == PH_QUEUE_WAIT)
            client->credits_waiting += request->cost;
        if (may_be_held(request))
            client->credits_held += request->cost;
        if (request->queue == PH_QUEUE_TRANSACT)
            take_slot(client, request);
    }
    request->state = PH_REQUEST_IN_FLIGHT;
    request->deadline_ms = UINT64_MAX;
    atomic_store_explicit(&request->wire, 0, memory_order_relaxed);
    add_sent(client, request);
    client->last_sent_ms = request->sent_ms = now_ms;
    client->counters.requests++;
    if (request->payload)
        client->counters.payload_out_bytes += request->payload->len;

    struct ph_client_action *action = ph_client_act(actions, PH_CLIENT_SEND);
    action->request = ph_request_ref(request);
    action->header = (struct ph_frame_header){
        .kind = PH_FRAME_REQUEST,
        .traffic_class = request->queue == PH_QUEUE_RELEASE ? PH_CLASS_RELEASE : PH_CLASS_NORMAL,
        .command = request->command,
        .id = request->id,
        .slot = request->slot,
        .sequence = request->slot == PH_NO_SLOT ? 0 : request->sequence,
    };
}

/* Whether the head of a queue has all it needs besides plain credits. */
static bool may_go(const struct ph_client *client, const struct ph_client_request *head)
{
    if (may_be_held(head) && head->cost > client->credits_held_max)
        return true; /* never: it is refused where it would be sent */
    if (may_be_held(head) && client->credits_held + head->cost > client->credits_held_max)
        return false;
    if (head->queue == PH_QUEUE_TRANSACT)
        return client->free_slot_count > 0;
    if (head->queue == PH_QUEUE_WAIT)
        return client->credits_waiting + head->cost <= client->credits_waiting_max;
    return true;
}

/* The oldest head of the ordinary queues that is not held up by something of its own. */
static struct ph_client_request *next_in_line(const struct ph_client *client)
{
    struct ph_client_request *next = NULL;
    for (int i = PH_QUEUE_PLAIN; i < PH_QUEUE_COUNT; i++) {
        struct ph_client_request *head = client->queues[i].head;
        if (head && may_go(client, head) && (!next || head->id < next->id))
            next = head;
    }
    return next;
}

void ph_client_pump(struct ph_client *client, uint64_t now_ms, struct ph_client_actions *actions)
{
    while (client->state == CLIENT_OPEN && !client->server_leaving) {
        struct ph_client_request *request = client->queues[PH_QUEUE_RELEASE].head;
        uint32_t reserved = 0;
        if (!request || request->cost > client->credits_free) {
            request = next_in_line(client);
            reserved = client->credits_reserved;
        }
        if (!request)
            return;
        if (request->cost + reserved > client->opened.credits ||
            (may_be_held(request) && request->cost > client->credits_held_max)) {
            ph_client_unqueue(client, request);
            ph_client_complete(request, PH_ST_LIMIT, "the request is larger than the server ever accepts",
                               actions);
            ph_request_unref(request);
            continue;
        }
        /* The oldest waits for credits and is not overtaken, or big ones would starve. */
        if (request->cost + reserved > client->credits_free)
            return;
        ph_client_unqueue(client, request);
        ph_client_send_now(client, request, now_ms, actions);
    }
}

void ph_client_reset_flow(struct ph_client *client, uint32_t credits, uint32_t slots)
{
    client->credits_free = credits;
    client->credits_reserved = credits / 4 < PH_RELEASE_CREDITS ? credits / 4 : PH_RELEASE_CREDITS;
    uint32_t of_read = ph_credit_cost(0, PH_PAYLOAD_MAX_BYTES);
    uint32_t kept = client->credits_reserved + (credits / 4 < of_read ? credits / 4 : of_read);
    client->credits_held = 0;
    client->credits_held_max = credits - kept;
    client->credits_waiting = 0;
    client->credits_waiting_max = credits > 1 ? credits / 2 : 1;
    free(client->slots);
    free(client->free_slots);
    client->slots = calloc(slots, sizeof(*client->slots));
    client->free_slots = calloc(slots, sizeof(*client->free_slots));
    if (!client->slots || !client->free_slots)
        abort();
    /* The lowest slots are used first, so that the server's records stay warm. */
    for (uint32_t i = 0; i < slots; i++)
        client->free_slots[i] = slots - 1 - i;
    client->free_slot_count = slots;
}

void ph_client_expire(struct ph_client *client, uint64_t now_ms, struct ph_client_actions *actions)
{
    char text[600];
    for (int i = 0; i < PH_QUEUE_COUNT; i++) {
        struct ph_client_request *head;
        while ((head = client->queues[i].head) && head->deadline_ms <= now_ms) {
            ph_client_unqueue(client, head);
            if (client->trouble[0])
                snprintf(text, sizeof(text), "%s", client->trouble);
            else
                snprintf(text, sizeof(text), "server %s cannot be reached", client->server_name);
            ph_client_complete(head, PH_ST_IO_ERROR, text, actions);
            client->counters.failures++;
            ph_request_unref(head);
        }
    }
}
