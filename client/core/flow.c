/* Credits and slots of a session: whose they are, and what may go now.
 *
 * Some are kept for those that others wait for, so that no wait closes a circle between clients:
 *
 *   releases   may take all credits, and have some that nothing else takes;
 *   flushes    (write-back's own commands) have credits and slots of their own, and share what the users
 * have; users      may take the rest, but a part of it only for what may be held: what the server may leave
 *              unanswered until other clients have given leases back. So a read under a lease of our own
 *              gets through, for whose answer others may wait. */
#include <stdlib.h>

#include "client/core/private.h"

static uint32_t share(uint32_t all, uint32_t wanted)
{
    return all / 4 < wanted ? all / 4 : wanted;
}

/* The same, but something if anything is left beside it. */
static uint32_t share_at_least_one(uint32_t all, uint32_t wanted)
{
    uint32_t part = share(all, wanted);
    return part == 0 && all > 1 ? 1 : part;
}

void ph_client_reset_flow(struct ph_client *client, uint32_t credits, uint32_t slots, bool flushes)
{
    uint32_t of_read = ph_credit_cost(0, PH_PAYLOAD_MAX_BYTES);
    uint32_t release_kept = share(credits, PH_RELEASE_CREDITS);
    uint32_t flush_kept = flushes ? share_at_least_one(credits, PH_FLUSH_CREDITS) : 0;
    uint32_t users_max = credits - release_kept - flush_kept;
    uint32_t held_max = users_max - share(credits, of_read);
    client->flow = (struct client_flow){
        .credits = credits,
        .free = credits,
        .release_kept = release_kept,
        .flush_kept = flush_kept,
        .users_max = users_max,
        .held_max = held_max,
        .waiting_max = credits / 2 < held_max ? credits / 2 : (held_max + 1) / 2,
        .flush_slots_kept = flushes ? share_at_least_one(slots, PH_FLUSH_SLOTS) : 0,
    };
    if (client->flow.waiting_max == 0)
        client->flow.waiting_max = 1;
    client->flow.user_slots_max = slots - client->flow.flush_slots_kept;
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

void ph_client_stop_flow(struct ph_client *client)
{
    free(client->slots);
    client->slots = NULL;
    client->free_slot_count = 0;
    struct client_flow *flow = &client->flow;
    flow->free = flow->credits; /* nothing is in flight */
    flow->flush = flow->users = flow->held = flow->waiting = 0;
    flow->flush_slots = flow->user_slots = 0;
}

/* Whether the server may answer it only when other clients have given something back. */
static bool may_be_held(const struct ph_client_request *request)
{
    return request->queue == PH_QUEUE_HELD || request->queue == PH_QUEUE_WAIT ||
           request->queue == PH_QUEUE_TRANSACT || request->queue == PH_QUEUE_CARRY;
}

/* Credits of REQUEST come into the accounts, or (SIGN -1) leave them. */
static void count(struct client_flow *flow, const struct ph_client_request *request, int sign)
{
    uint32_t cost = sign < 0 ? 0 - request->cost : request->cost; /* modulo 2^32 */
    flow->free -= cost;
    if (request->queue == PH_QUEUE_RELEASE)
        return;
    if (request->queue == PH_QUEUE_FLUSH)
        flow->flush += cost;
    else
        flow->users += cost;
    if (may_be_held(request))
        flow->held += cost;
    if (request->queue == PH_QUEUE_WAIT)
        flow->waiting += cost;
}

static uint32_t *slots_of(struct client_flow *flow, const struct ph_client_request *request)
{
    return request->queue == PH_QUEUE_FLUSH ? &flow->flush_slots : &flow->user_slots;
}

void ph_client_charge(struct ph_client *client, struct ph_client_request *request)
{
    count(&client->flow, request, 1);
    if (!ph_request_needs_slot(request))
        return;
    request->slot = client->free_slots[--client->free_slot_count];
    struct client_slot *slot = &client->slots[request->slot];
    request->sequence = ++slot->sequence;
    slot->request = request;
    ++*slots_of(&client->flow, request);
    client->counters.transactions++;
}

void ph_client_give_back(struct ph_client *client, struct ph_client_request *request, bool slot_untouched)
{
    count(&client->flow, request, -1);
    if (request->slot == PH_NO_SLOT)
        return;
    client->slots[request->slot].request = NULL;
    if (slot_untouched)
        client->slots[request->slot].sequence--;
    client->free_slots[client->free_slot_count++] = request->slot;
    request->slot = PH_NO_SLOT;
    --*slots_of(&client->flow, request);
}

bool ph_client_never(const struct ph_client *client, const struct ph_client_request *request)
{
    const struct client_flow *flow = &client->flow;
    if (request->queue == PH_QUEUE_RELEASE)
        return request->cost > flow->credits;
    if (request->queue == PH_QUEUE_FLUSH)
        return request->cost > flow->users_max + flow->flush_kept;
    return request->cost > (may_be_held(request) ? flow->held_max : flow->users_max);
}

/* Whether REQUEST, of write-back, needs nothing that users may have taken. */
static bool within_own(const struct ph_client *client, const struct ph_client_request *request)
{
    const struct client_flow *flow = &client->flow;
    return flow->flush + request->cost <= flow->flush_kept &&
           (!ph_request_needs_slot(request) || flow->flush_slots < flow->flush_slots_kept);
}

/* Whether there is a slot for REQUEST, and its share of waits is not taken. */
static bool has_its_own(const struct ph_client *client, const struct ph_client_request *request)
{
    const struct client_flow *flow = &client->flow;
    if (request->queue == PH_QUEUE_WAIT)
        return flow->waiting + request->cost <= flow->waiting_max;
    if (!ph_request_needs_slot(request))
        return true;
    return client->free_slot_count > 0 &&
           (request->queue == PH_QUEUE_FLUSH || flow->user_slots < flow->user_slots_max);
}

/* Whether there are credits for REQUEST, but for those of what may be held. */
static bool has_credits(const struct client_flow *flow, const struct ph_client_request *request)
{
    return request->cost + flow->release_kept <= flow->free &&
           (request->queue == PH_QUEUE_FLUSH || flow->users + request->cost <= flow->users_max);
}

/* Heads of the queues but that of releases, the oldest first. Returns their number. */
static size_t heads_by_age(const struct ph_client *client, struct ph_client_request **heads)
{
    size_t count = 0;
    for (int i = PH_QUEUE_RELEASE + 1; i < PH_QUEUE_ENDED; i++) {
        struct ph_client_request *head = client->queues[i].head;
        if (!head)
            continue;
        size_t at = count++;
        for (; at > 0 && heads[at - 1]->id > head->id; at--)
            heads[at] = heads[at - 1];
        heads[at] = head;
    }
    return count;
}

struct ph_client_request *ph_client_next(const struct ph_client *client)
{
    const struct client_flow *flow = &client->flow;
    struct ph_client_request *head = client->queues[PH_QUEUE_RELEASE].head;
    if (head && (head->cost <= flow->free || ph_client_never(client, head)))
        return head;
    head = client->queues[PH_QUEUE_FLUSH].head;
    if (head && within_own(client, head) && has_credits(flow, head))
        return head;
    if (client->restoring)
        return NULL;
    head = client->queues[PH_QUEUE_CARRY].head;
    if (head && flow->held + head->cost <= flow->held_max && has_credits(flow, head))
        return head;
    if (client->carried > 0)
        return NULL;

    struct ph_client_request *heads[PH_QUEUE_COUNT];
    size_t count = heads_by_age(client, heads);
    bool held_up = false;
    for (size_t i = 0; i < count; i++) {
        head = heads[i];
        if (ph_client_never(client, head))
            return head;
        if (!has_its_own(client, head) || (held_up && may_be_held(head)))
            continue;
        /* Who waits for credits only is not overtaken by those that want the same, or big ones would starve.
         */
        if (may_be_held(head) && flow->held + head->cost > flow->held_max)
            held_up = true;
        else
            return has_credits(flow, head) ? head : NULL;
    }
    return NULL;
}
