/* A session that outlives its connection: what waits while there is none, and how it goes on. Section 4.4 of
 * docs/protocol.md. Transactions go again in their slots, under their numbers, and are answered from the
 * server's record where they were executed; everything else is asked anew. */
#include <stdio.h>
#include <stdlib.h>

#include "client/core/private.h"
#include "ph_commands.h"

uint64_t ph_client_patience_end(const struct ph_client *client, uint64_t now_ms)
{
    if (client->hopeless)
        return now_ms;
    return client->patience_ms < UINT64_MAX - now_ms ? now_ms + client->patience_ms : UINT64_MAX;
}

/* Of one connection only; the next has its own. */
static bool ends_with_connection(const struct ph_client_request *request)
{
    return request->purpose == PH_PURPOSE_OPEN || request->purpose == PH_PURPOSE_RENEW ||
           request->purpose == PH_PURPOSE_CLOSE || request->purpose == PH_PURPOSE_RECOVER;
}

static void end_own(struct ph_client *client, struct ph_client_actions *actions)
{
    for (int i = 0; i < CLIENT_BUCKETS; i++) {
        for (struct ph_client_request *at = client->sent[i], *next; at; at = next) {
            next = at->next;
            if (!ends_with_connection(at))
                continue;
            ph_client_unsend(client, at);
            ph_client_settle(client, at, PH_ST_NO_SESSION);
            ph_client_fail(client, at, PH_ST_IO_ERROR, "", actions);
        }
    }
}

void ph_client_suspend(struct ph_client *client, uint64_t now_ms, struct ph_client_actions *actions)
{
    end_own(client, actions);
    ph_client_recover_stop(client);
    if (client->give_up_ms == UINT64_MAX)
        client->give_up_ms = ph_client_patience_end(client, now_ms);
    ph_client_give_up_sent(client, now_ms, actions);
}

/* REQUEST, which nobody waits for any longer, keeps its slot and credits until it is answered. */
static void give_up(struct ph_client *client, struct ph_client_request *request, const char *text,
                    struct ph_client_actions *actions)
{
    bool in_flight = request->state == PH_REQUEST_IN_FLIGHT;
    if (!in_flight)
        ph_client_unsend(client, request);
    ph_client_complete(request, PH_ST_IO_ERROR, text, actions);
    client->counters.failures++;
    if (!in_flight) {
        ph_request_unref(request);
        return;
    }
    request->orphan = true;
    request->state = PH_REQUEST_IN_FLIGHT;
    atomic_fetch_or(&request->wire, PH_WIRE_CANCEL);
}

void ph_client_give_up_sent(struct ph_client *client, uint64_t now_ms, struct ph_client_actions *actions)
{
    char text[600];
    if (!client->kept || client->state == CLIENT_OPEN || now_ms < client->give_up_ms)
        return;
    client->give_up_ms = UINT64_MAX - 1; /* once */
    ph_client_say_trouble(client, text, sizeof(text));
    for (int i = 0; i < CLIENT_BUCKETS; i++) {
        for (struct ph_client_request *at = client->sent[i], *next; at; at = next) {
            next = at->next;
            if (at->purpose == PH_PURPOSE_USER && !at->orphan && at->generation == 0)
                give_up(client, at, text, actions);
        }
    }
}

static int by_id(const void *a, const void *b)
{
    const struct ph_client_request *const *left = a, *const *right = b;
    return (*left)->id < (*right)->id ? -1 : (*left)->id > (*right)->id;
}

/* In the order in which it was asked first. */
void ph_client_send_all_again(struct ph_client *client, bool slots, uint64_t now_ms,
                              struct ph_client_actions *actions)
{
    struct ph_client_request **all = calloc(client->sent_count + 1, sizeof(struct ph_client_request *));
    size_t count = 0;
    if (!all)
        abort();
    for (int i = 0; i < CLIENT_BUCKETS; i++) {
        for (struct ph_client_request *at = client->sent[i]; at; at = at->next) {
            bool goes = at->state == PH_REQUEST_IN_FLIGHT && at->purpose != PH_PURPOSE_RECOVER;
            if (goes && (at->slot != PH_NO_SLOT) == slots)
                all[count++] = at;
        }
    }
    qsort(all, count, sizeof(struct ph_client_request *), by_id);
    for (size_t i = 0; i < count; i++)
        ph_client_send_again(client, all[i], now_ms, actions);
    free(all);
}

/* What stands in the way of asking again some time, or for ever. */
static bool may_pass(uint32_t status)
{
    return status == PH_ST_BUSY || status == PH_ST_LIMIT || status == PH_ST_SHUTTING_DOWN ||
           status == PH_ST_NO_MEMORY || status == PH_ST_IO_ERROR || status == PH_ST_NO_EXPORT;
}

static void refused(struct ph_client *client, const struct ph_frame *frame, struct ph_client_actions *actions)
{
    char words[PH_FAULT_TEXT_MAX_BYTES + 1], text[600];
    ph_client_words(frame, words, sizeof(words));
    snprintf(text, sizeof(text), "%s did not take up the session again: %s", client->server_name, words);
    if (may_pass(frame->header.status))
        ph_client_hang_up(client, frame->header.status, text, actions);
    else
        ph_client_drop(client, frame->header.status, text, actions);
}

void ph_client_resume_reply(struct ph_client *client, const struct ph_frame *frame,
                            const Pohmel__SessionOpenReply *reply, uint64_t now_ms,
                            struct ph_client_actions *actions)
{
    if (!reply) {
        refused(client, frame, actions);
        return;
    }
    if (!reply->resumed || reply->slots != client->opened.slots || reply->credits < client->opened.credits) {
        char text[600];
        snprintf(text, sizeof(text), "%s forgot the session", client->server_name);
        ph_client_drop(client, PH_ST_NO_SESSION, text, actions);
        return;
    }
    client->counters.resumes++;
    if (reply->epoch != client->opened.epoch) {
        ph_client_recover_start(client, reply->epoch, now_ms, actions);
        return;
    }
    client->answered_sent_ms = client->open_sent_ms;
    client->expired = false;
    ph_client_now_open(client);
    ph_client_send_all_again(client, true, now_ms, actions);
    ph_client_send_all_again(client, false, now_ms, actions);
}
