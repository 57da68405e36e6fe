/* Ranges of object ids, from which the client names what it makes. */
#include <string.h>

#include "client/core/private.h"
#include "ph_commands.h"
#include "runtime/wire/command.h"

void ph_client_refill_ids(struct ph_client *client, uint64_t now_ms, struct ph_client_actions *actions)
{
    if (client->state != CLIENT_OPEN || client->opened.read_only || client->want_read_only ||
        client->closing || client->ids_asked || client->range_count == CLIENT_RANGES_MAX ||
        ph_client_ids_left(client) >= PH_IDS_LOW_WATER)
        return;
    Pohmel__IdsGrantRequest message = POHMEL__IDS_GRANT_REQUEST__INIT;
    message.count = PH_SESSION_IDS_MAX_PER_GRANT;
    struct ph_client_request *request =
        ph_client_own_request(PH_PURPOSE_IDS, PH_CMD_IDS_GRANT, &message.base);
    request->id = ++client->next_id;
    client->ids_asked = true;
    ph_client_enqueue(client, request, now_ms);
    ph_client_pump(client, now_ms, actions);
}

/* Takes COUNT ids out of range INDEX; a range that is empty goes. */
static uint64_t take_from(struct ph_client *client, size_t index, uint32_t count)
{
    struct client_range *range = &client->ranges[index];
    uint64_t first = range->first;
    range->first += count;
    range->count -= count;
    if (range->count == 0) {
        client->range_count--;
        memmove(range, range + 1, (client->range_count - index) * sizeof(*range));
    }
    return first;
}

uint64_t ph_client_take_ids(struct ph_client *client, uint32_t count, uint64_t now_ms,
                            struct ph_client_actions *actions)
{
    if (count == 0)
        return 0;
    uint64_t first = 0;
    for (size_t i = 0; i < client->range_count && !first; i++) {
        if (client->ranges[i].count >= count)
            first = take_from(client, i, count);
    }
    if (!first && client->range_count == CLIENT_RANGES_MAX)
        client->range_count--; /* many rests, none long enough: one makes room for a fresh range */
    ph_client_refill_ids(client, now_ms, actions);
    return first;
}

bool ph_client_ids_coming(const struct ph_client *client)
{
    if (client->want_read_only || client->closing || client->state == CLIENT_CLOSED)
        return false;
    if (client->state != CLIENT_OPEN)
        return client->patience_ms > 0 && !client->opened.read_only;
    return client->ids_asked;
}

void ph_client_ids_reply(struct ph_client *client, struct ph_frame *frame, struct ph_client_actions *actions)
{
    client->ids_asked = false;
    ph_client_act(actions, PH_CLIENT_IDS);
    if (frame->header.status != PH_ST_OK)
        return;
    struct ph_fault fault = {0};
    struct ph_arena *arena = ph_arena_new(PH_ARENA_BASE_BYTES);
    Pohmel__IdsGrantReply *reply = (Pohmel__IdsGrantReply *) ph_decode(
        ph_command_info(PH_CMD_IDS_GRANT)->reply, frame->message, frame->header.message_len, arena, &fault);
    if (!reply)
        ph_client_drop(client, PH_ST_MALFORMED, fault.text, actions);
    else if (reply->first >= PH_OBJECT_GIVEN_END || reply->count > PH_OBJECT_GIVEN_END - reply->first)
        ph_client_drop(client, PH_ST_MALFORMED, "the server gave object ids out of their range", actions);
    else if (client->range_count < CLIENT_RANGES_MAX)
        client->ranges[client->range_count++] =
            (struct client_range){.first = reply->first, .count = reply->count};
    ph_arena_free(arena);
}
