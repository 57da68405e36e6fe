/* What a session tells of itself. */
#include "client/core/private.h"

bool ph_client_is_open(const struct ph_client *client)
{
    return client->state == CLIENT_OPEN;
}

bool ph_client_is_kept(const struct ph_client *client)
{
    return client->kept;
}

bool ph_client_is_hopeless(const struct ph_client *client)
{
    return client->hopeless;
}

uint64_t ph_client_answered_sent_ms(const struct ph_client *client)
{
    return client->answered_sent_ms;
}

const struct ph_client_opened *ph_client_opened(const struct ph_client *client)
{
    return &client->opened;
}

const struct ph_client_counters *ph_client_counters(const struct ph_client *client)
{
    return &client->counters;
}

size_t ph_client_queued(const struct ph_client *client)
{
    size_t count = 0;
    for (int i = 0; i < PH_QUEUE_COUNT; i++)
        count += client->queues[i].count;
    return count;
}

size_t ph_client_in_flight(const struct ph_client *client)
{
    return client->sent_count;
}

uint32_t ph_client_credits_free(const struct ph_client *client)
{
    return client->flow.free;
}

uint64_t ph_client_ids_left(const struct ph_client *client)
{
    uint64_t left = 0;
    for (size_t i = 0; i < client->range_count; i++)
        left += client->ranges[i].count;
    return left;
}

uint32_t ph_client_payload_max(const struct ph_client *client)
{
    return client->payload_max;
}

const char *ph_client_last_trouble(const struct ph_client *client)
{
    return client->trouble;
}
