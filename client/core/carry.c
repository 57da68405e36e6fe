/* What was open in a session that was lost is opened again in the next one, under the same numbers, before
 * anything else of its users goes: programs do not notice. What had locks does not come back, for others may
 * have had them meanwhile. Section 4.7 of docs/protocol.md. */
#include "client/core/private.h"
#include "ph_commands.h"

struct carrying {
    struct ph_client *client;
    uint64_t now_ms;
};

static void carry(void *data, struct ph_client_request *request)
{
    const struct carrying *carrying = data;
    struct ph_client *client = carrying->client;
    request->purpose = PH_PURPOSE_CARRY;
    request->queue = PH_QUEUE_CARRY;
    request->id = ++client->next_id;
    client->carried++;
    ph_client_enqueue(client, request, carrying->now_ms);
}

void ph_client_carry(struct ph_client *client, uint64_t now_ms)
{
    struct carrying carrying = {.client = client, .now_ms = now_ms};
    if (!client->restoring)
        ph_holdings_reopen(&client->holdings, carry, &carrying);
}

/* A CLOSE, which goes before all else, may have come before what it was to close. */
static void close_after_all(struct ph_client *client, const struct ph_client_request *opened, uint64_t now_ms)
{
    Pohmel__CloseRequest close = POHMEL__CLOSE_REQUEST__INIT;
    close.handle = opened->handle;
    close.object = ph_holdings_object(opened);
    struct ph_client_request *request = ph_client_own_request(PH_PURPOSE_USER, PH_CMD_CLOSE, &close.base);
    request->orphan = true;
    request->id = ++client->next_id;
    ph_client_enqueue(client, request, now_ms);
}

void ph_client_carried(struct ph_client *client, const struct ph_client_request *request, uint32_t status,
                       uint64_t now_ms)
{
    client->carried--;
    if (status == PH_ST_SHUTTING_DOWN || status == PH_ST_NO_SESSION || status == PH_ST_FENCED)
        return; /* it goes into the next one */
    if (status == PH_ST_OK && !ph_holdings_has(&client->holdings, request->handle))
        close_after_all(client, request, now_ms);
    if (status == PH_ST_OK)
        return;
    ph_holdings_drop(&client->holdings, request->handle);
    client->counters.not_reopened++;
}

void ph_client_closed(struct ph_client *client, const struct ph_client_request *request)
{
    if (request->command == PH_CMD_CLOSE)
        ph_holdings_drop(&client->holdings, request->handle);
}

bool ph_client_has_handle(const struct ph_client *client, uint64_t handle)
{
    return ph_holdings_has(&client->holdings, handle);
}
