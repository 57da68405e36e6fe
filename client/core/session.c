/* Life of a client's session: connecting, losing the connection, trying again, ending. */
#include "client/core/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/core/private.h"
#include "ph_commands.h"
#include "runtime/wire/command.h"

static char *copy_text(const char *text)
{
    char *copy = strdup(text ? text : "");
    if (!copy)
        abort();
    return copy;
}

struct ph_client *ph_client_new(const struct ph_client_config *config, uint64_t now_ms)
{
    struct ph_client *client = calloc(1, sizeof(*client));
    if (!client)
        abort();
    memcpy(client->id, config->client, sizeof(client->id));
    client->export_name = copy_text(config->export_name);
    client->host = copy_text(config->host);
    client->server_name = copy_text(config->server_name);
    client->want_read_only = config->read_only;
    client->want_leases = config->leases;
    client->want_write_back = config->write_back;
    client->want_resumable = config->resumable;
    client->session_number = config->session;
    client->patience_ms = config->patience_ms;
    ph_holdings_init(&client->holdings);
    ph_random_seed(&client->random, config->seed);
    client->state = CLIENT_DOWN;
    client->connect_at_ms = now_ms;
    client->open_deadline_ms = UINT64_MAX;
    client->close_deadline_ms = UINT64_MAX;
    client->give_up_ms = UINT64_MAX;
    client->message_max = PH_MESSAGE_MAX_BYTES;
    client->payload_max = PH_PAYLOAD_MAX_BYTES;
    return client;
}

static void drop_requests(struct ph_client_request *request)
{
    while (request) {
        struct ph_client_request *next = request->next;
        ph_request_unref(request);
        request = next;
    }
}

void ph_client_free(struct ph_client *client)
{
    if (!client)
        return;
    for (int i = 0; i < PH_QUEUE_COUNT; i++)
        drop_requests(client->queues[i].head);
    for (int i = 0; i < CLIENT_BUCKETS; i++)
        drop_requests(client->sent[i]);
    ph_client_recover_stop(client);
    ph_holdings_clear(&client->holdings, true);
    free(client->slots);
    free(client->free_slots);
    free(client->export_name);
    free(client->host);
    free(client->server_name);
    free(client);
}

struct ph_client_request *ph_client_own_request(enum ph_request_purpose purpose, uint16_t command,
                                                const ProtobufCMessage *message)
{
    struct ph_client_request *request = ph_request_encode(command, message, NULL);
    request->purpose = purpose;
    return request;
}

static void disconnect(struct ph_client *client, uint32_t status, const char *text,
                       struct ph_client_actions *actions)
{
    snprintf(client->trouble, sizeof(client->trouble), "%s", text);
    struct ph_client_action *action = ph_client_act(actions, PH_CLIENT_DISCONNECT);
    action->status = status;
    action->text = copy_text(text);
    if (client->state == CLIENT_OPENING) {
        action = ph_client_act(actions, PH_CLIENT_REFUSED);
        action->status = status;
        action->text = copy_text(text);
    }
    client->state = CLIENT_DROPPING;
    client->open_deadline_ms = UINT64_MAX;
}

void ph_client_drop(struct ph_client *client, uint32_t status, const char *text,
                    struct ph_client_actions *actions)
{
    if (client->state == CLIENT_OPEN || client->kept) {
        client->kept = false;
        ph_client_act(actions, PH_CLIENT_LOST);
        ph_client_end_flushes(client, actions);
    }
    disconnect(client, status, text, actions);
}

void ph_client_hang_up(struct ph_client *client, uint32_t status, const char *text,
                       struct ph_client_actions *actions)
{
    if (client->kept)
        disconnect(client, status, text, actions);
    else
        ph_client_drop(client, status, text, actions);
}

void ph_client_connected(struct ph_client *client, uint32_t message_max, uint32_t payload_max,
                         uint64_t now_ms, struct ph_client_actions *actions)
{
    if (client->state != CLIENT_CONNECTING)
        return;
    if (!client->kept) {
        client->message_max = PH_MESSAGE_MAX_BYTES;
        client->payload_max = PH_PAYLOAD_MAX_BYTES;
        client->answered_sent_ms = 0;
    }
    if (message_max < client->message_max)
        client->message_max = message_max;
    if (payload_max < client->payload_max)
        client->payload_max = payload_max;
    client->state = CLIENT_OPENING;
    client->open_deadline_ms = now_ms + PH_HANDSHAKE_TIMEOUT_MS;
    ph_client_send_open(client, now_ms, actions);
}

void ph_client_fail(struct ph_client *client, struct ph_client_request *request, uint32_t status,
                    const char *text, struct ph_client_actions *actions)
{
    if (request->purpose == PH_PURPOSE_RENEW)
        client->renewing = false;
    if (request->purpose == PH_PURPOSE_CARRY)
        ph_client_carried(client, request, PH_ST_NO_SESSION, 0);
    ph_client_closed(client, request);
    if (request->purpose == PH_PURPOSE_IDS) {
        client->ids_asked = false;
        ph_client_act(actions, PH_CLIENT_IDS);
    }
    if (request->purpose == PH_PURPOSE_USER && !request->orphan) {
        ph_client_complete(request, status, text, actions);
        client->counters.failures++;
    }
    if (request->orphan)
        ph_client_tell_late(request, actions);
    request->state = PH_REQUEST_DONE;
    ph_request_unref(request);
}

static void fail_all_sent(struct ph_client *client, uint32_t status, const char *text,
                          struct ph_client_actions *actions)
{
    for (int i = 0; i < CLIENT_BUCKETS; i++) {
        while (client->sent[i]) {
            struct ph_client_request *request = client->sent[i];
            ph_client_unsend(client, request);
            ph_client_fail(client, request, status, text, actions);
        }
    }
}

/* Users' requests get PATIENCE from the moment the session was lost (not anew with
 * each vain attempt to reconnect); the session's own are of no use any more. */
static void sort_out_queued(struct ph_client *client, uint64_t now_ms, struct ph_client_actions *actions)
{
    for (int i = 0; i < PH_QUEUE_COUNT; i++) {
        for (struct ph_client_request *at = client->queues[i].head, *next; at; at = next) {
            next = at->next;
            if (client->kept && at->purpose == PH_PURPOSE_CARRY)
                continue;
            bool waits = client->kept && at->generation != 0;
            if ((at->deadline_ms == UINT64_MAX && !waits) || client->hopeless)
                at->deadline_ms = ph_client_patience_end(client, now_ms);
            if (at->purpose == PH_PURPOSE_USER && (!at->orphan || client->kept))
                continue;
            if (client->kept && at->purpose == PH_PURPOSE_IDS)
                continue;
            ph_client_unqueue(client, at);
            ph_client_fail(client, at, PH_ST_IO_ERROR, "", actions);
        }
    }
}

static uint64_t half_to_whole(struct ph_client *client, uint64_t ms)
{
    return ms / 2 + ph_random_below(&client->random, ms / 2 + 1);
}

/* The pause counts from the beginning of the last attempt: one that is refused at once is repeated after it,
 * one that took seconds to fail (a machine that is switched off) need not wait again. */
static void plan_reconnect(struct ph_client *client, uint64_t now_ms)
{
    if (client->backoff_ms == 0)
        client->backoff_ms = PH_RECONNECT_FIRST_MS;
    else if (client->backoff_ms < PH_RECONNECT_MAX_MS)
        client->backoff_ms *= 2;
    if (client->backoff_ms > PH_RECONNECT_MAX_MS)
        client->backoff_ms = PH_RECONNECT_MAX_MS;
    /* Half to whole: clients of one server that went down do not come back in step. */
    uint64_t soonest_ms = now_ms + half_to_whole(client, PH_RECONNECT_FIRST_MS);
    client->connect_at_ms = client->tried_at_ms + half_to_whole(client, client->backoff_ms);
    if (client->connect_at_ms < soonest_ms)
        client->connect_at_ms = soonest_ms;
}

void ph_client_disconnected(struct ph_client *client, const struct ph_fault *fault, uint64_t now_ms,
                            struct ph_client_actions *actions)
{
    if (client->state == CLIENT_DOWN || client->state == CLIENT_CLOSED)
        return;
    bool was_open = client->state == CLIENT_OPEN;
    const char *why = fault && fault->text[0] ? fault->text : "it closed the connection";
    uint32_t status = fault && fault->status ? fault->status : PH_ST_IO_ERROR;
    char text[600];
    if (was_open)
        snprintf(text, sizeof(text), "connection to %s lost: %s", client->server_name, why);
    else
        snprintf(text, sizeof(text), "%s", why);
    if (client->state != CLIENT_DROPPING)
        snprintf(client->trouble, sizeof(client->trouble), "%s", text);
    if (client->state == CLIENT_CONNECTING || client->state == CLIENT_OPENING) {
        struct ph_client_action *action = ph_client_act(actions, PH_CLIENT_REFUSED);
        action->status = status;
        action->text = copy_text(text);
    }
    if (was_open && !client->kept)
        ph_client_act(actions, PH_CLIENT_LOST);
    client->state = CLIENT_DOWN;
    client->open_deadline_ms = UINT64_MAX;
    if (client->kept) {
        ph_client_suspend(client, now_ms, actions);
    } else {
        ph_client_recover_stop(client);
        ph_holdings_lost(&client->holdings);
        fail_all_sent(client, PH_ST_IO_ERROR, was_open ? text : client->trouble, actions);
        ph_client_stop_flow(client);
        ph_client_end_flushes(client, actions);
    }
    plan_reconnect(client, now_ms);
    sort_out_queued(client, now_ms, actions);
    ph_client_expire(client, now_ms, actions);
    ph_client_closing_step(client, now_ms, actions);
}

void ph_client_fail_all(struct ph_client *client, uint32_t status, const char *text,
                        struct ph_client_actions *actions)
{
    fail_all_sent(client, status, text, actions);
    for (int i = 0; i < PH_QUEUE_COUNT; i++) {
        while (client->queues[i].head) {
            struct ph_client_request *request = client->queues[i].head;
            ph_client_unqueue(client, request);
            ph_client_fail(client, request, status, text, actions);
        }
    }
}

void ph_client_shutdown(struct ph_client *client, uint64_t deadline_ms, uint64_t now_ms,
                        struct ph_client_actions *actions)
{
    client->closing = true;
    client->close_deadline_ms = deadline_ms;
    ph_client_closing_step(client, now_ms, actions);
}

static void finish_closing(struct ph_client *client, struct ph_client_actions *actions)
{
    ph_client_fail_all(client, PH_ST_IO_ERROR, "the mount is ending", actions);
    client->state = CLIENT_CLOSED;
    client->close_deadline_ms = UINT64_MAX;
    ph_client_act(actions, PH_CLIENT_CLOSED)->status = PH_ST_IO_ERROR;
}

void ph_client_closing_step(struct ph_client *client, uint64_t now_ms, struct ph_client_actions *actions)
{
    if (!client->closing || client->state == CLIENT_CLOSED)
        return;
    /* A session about to open is closed in order, rather than left to the server to find. */
    bool opening = client->state == CLIENT_OPENING;
    if ((client->state != CLIENT_OPEN && !opening) || now_ms >= client->close_deadline_ms) {
        finish_closing(client, actions);
        return;
    }
    if (opening || client->close_sent || client->sent_count > 0 || ph_client_queued(client) > 0)
        return;
    client->close_sent = true;
    Pohmel__SessionCloseRequest message = POHMEL__SESSION_CLOSE_REQUEST__INIT;
    struct ph_client_request *request =
        ph_client_own_request(PH_PURPOSE_CLOSE, PH_CMD_SESSION_CLOSE, &message.base);
    request->id = ++client->next_id;
    ph_client_enqueue(client, request, now_ms);
    ph_client_pump(client, now_ms, actions);
}

/* Leases count from what was answered; the server may leave other requests unanswered for long. */
static uint64_t renew_at_ms(const struct ph_client *client)
{
    uint64_t from_ms = client->opened.leases ? client->answered_sent_ms : client->last_sent_ms;
    return from_ms + client->opened.lease_ttl_ms / 3;
}

/* When the leases have run out: what is kept under them must be given up by then. */
static uint64_t leases_end_ms(const struct ph_client *client)
{
    if ((client->state != CLIENT_OPEN && !client->kept) || client->expired || !client->opened.leases)
        return UINT64_MAX;
    return client->answered_sent_ms +
           (uint64_t) client->opened.lease_ttl_ms * PH_LEASE_RATE_PER_MILLE / 1000 - PH_LEASE_MARGIN_MS;
}

bool ph_client_is_past_leases(const struct ph_client *client, uint64_t now_ms)
{
    return client->state == CLIENT_OPEN && now_ms >= leases_end_ms(client);
}

static void renew(struct ph_client *client, uint64_t now_ms, struct ph_client_actions *actions)
{
    Pohmel__SessionRenewRequest message = POHMEL__SESSION_RENEW_REQUEST__INIT;
    struct ph_client_request *request =
        ph_client_own_request(PH_PURPOSE_RENEW, PH_CMD_SESSION_RENEW, &message.base);
    request->id = ++client->next_id;
    client->renewing = true;
    ph_client_enqueue(client, request, now_ms);
    ph_client_pump(client, now_ms, actions);
}

static uint64_t earliest(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t ph_client_deadline(const struct ph_client *client)
{
    if (client->queues[PH_QUEUE_ENDED].head)
        return 0;
    uint64_t deadline = earliest(client->open_deadline_ms, client->close_deadline_ms);
    if (client->state == CLIENT_DOWN && !client->closing)
        deadline = earliest(deadline, client->connect_at_ms);
    deadline = earliest(deadline, leases_end_ms(client));
    if (client->state == CLIENT_OPEN)
        return client->renewing || client->close_sent ? deadline : earliest(deadline, renew_at_ms(client));
    if (client->give_up_ms < UINT64_MAX - 1)
        deadline = earliest(deadline, client->give_up_ms);
    for (int i = 0; i < PH_QUEUE_COUNT; i++) {
        const struct ph_client_request *at = client->queues[i].head;
        while (at && at->deadline_ms == UINT64_MAX)
            at = at->next;
        if (at)
            deadline = earliest(deadline, at->deadline_ms);
    }
    return deadline;
}

/* What was promised under leases is over; those that nobody took are good again in a session that goes on. */
static void leases_end(struct ph_client *client, struct ph_client_actions *actions)
{
    char text[256];
    if (client->kept) {
        client->expired = true;
        ph_client_act(actions, PH_CLIENT_EXPIRED);
    }
    if (client->state != CLIENT_OPEN)
        return;
    snprintf(text, sizeof(text), "%s did not answer for as long as its leases last", client->server_name);
    ph_client_hang_up(client, PH_ST_IO_ERROR, text, actions);
}

void ph_client_tick(struct ph_client *client, uint64_t now_ms, struct ph_client_actions *actions)
{
    ph_client_end_late(client, actions);
    if (client->state == CLIENT_DOWN && !client->closing && now_ms >= client->connect_at_ms) {
        client->state = CLIENT_CONNECTING;
        client->tried_at_ms = now_ms;
        ph_client_act(actions, PH_CLIENT_CONNECT);
    }
    bool opening = client->state == CLIENT_OPENING || client->state == CLIENT_RECOVERING;
    if (opening && now_ms >= client->open_deadline_ms) {
        char text[256];
        snprintf(text, sizeof(text), "%s did not answer the opening of a session within %d seconds",
                 client->server_name,
                 (client->state == CLIENT_OPENING ? PH_HANDSHAKE_TIMEOUT_MS : PH_PING_TIMEOUT_MS) / 1000);
        ph_client_hang_up(client, PH_ST_IO_ERROR, text, actions);
    }
    if (now_ms >= leases_end_ms(client))
        leases_end(client, actions);
    ph_client_give_up_sent(client, now_ms, actions);
    if (client->state != CLIENT_OPEN)
        ph_client_expire(client, now_ms, actions);
    else if (!client->renewing && !client->close_sent && now_ms >= renew_at_ms(client))
        renew(client, now_ms, actions);
    ph_client_closing_step(client, now_ms, actions);
}
