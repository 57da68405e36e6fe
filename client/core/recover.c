/* A session goes on at a server that was started anew (its epoch is another): what was open is opened again,
 * what was locked locked, leases are claimed, transactions sent again in their slots; then the server is told
 * that it is done, and all else goes on. Nothing else is sent before. When the connection breaks meanwhile
 * all of it is done again. Sections 4.5 and 9.6 of docs/protocol.md. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/core/private.h"
#include "ph_commands.h"
#include "runtime/wire/command.h"

enum { RECOVER_AT_ONCE = 32 };

static void add(void *data, struct ph_client_request *request)
{
    struct client_recovery *recovery = data;
    if (recovery->count == recovery->capacity) {
        recovery->capacity = recovery->capacity ? 2 * recovery->capacity : 64;
        recovery->requests =
            realloc(recovery->requests, recovery->capacity * sizeof(struct ph_client_request *));
        if (!recovery->requests)
            abort();
    }
    request->purpose = PH_PURPOSE_RECOVER;
    recovery->requests[recovery->count++] = request;
}

void ph_client_recover_stop(struct ph_client *client)
{
    struct client_recovery *recovery = &client->recovery;
    for (size_t i = recovery->next; i < recovery->count; i++)
        ph_request_unref(recovery->requests[i]);
    free(recovery->requests);
    *recovery = (struct client_recovery){0};
}

static void send_some(struct ph_client *client, uint64_t now_ms, struct ph_client_actions *actions)
{
    struct client_recovery *recovery = &client->recovery;
    uint32_t at_once = client->opened.credits < 2 * RECOVER_AT_ONCE ? 1 : RECOVER_AT_ONCE;
    while (recovery->next < recovery->count && recovery->outstanding < at_once) {
        struct ph_client_request *request = recovery->requests[recovery->next++];
        recovery->outstanding++;
        request->id = ++client->next_id;
        ph_client_send_now(client, request, now_ms, actions);
    }
}

/* The transactions go first; nobody waits for them: some may be executed when all clients are done only. */
static void finish(struct ph_client *client, uint64_t now_ms, struct ph_client_actions *actions)
{
    ph_client_send_all_again(client, true, now_ms, actions);
    Pohmel__ReclaimDoneRequest message = POHMEL__RECLAIM_DONE_REQUEST__INIT;
    client->recovery.done_sent_ms = now_ms;
    add(&client->recovery, ph_request_encode(PH_CMD_RECLAIM_DONE, &message.base, NULL));
}

static void next_phase(struct ph_client *client, uint64_t now_ms, struct ph_client_actions *actions)
{
    struct client_recovery *recovery = &client->recovery;
    switch (recovery->phase) {
    case RECOVER_HANDLES:
        recovery->phase = RECOVER_LOCKS;
        ph_holdings_relock(&client->holdings, add, recovery);
        break;
    case RECOVER_LOCKS:
        recovery->phase = client->opened.leases ? RECOVER_ASKING : RECOVER_LAST;
        if (client->opened.leases)
            ph_client_act(actions, PH_CLIENT_CLAIMS);
        else
            finish(client, now_ms, actions);
        break;
    case RECOVER_LEASES:
        recovery->phase = RECOVER_LAST;
        ph_client_act(actions, PH_CLIENT_CLAIMED);
        finish(client, now_ms, actions);
        break;
    case RECOVER_ASKING:
    case RECOVER_LAST:
        break;
    }
}

/* Goes on as far as it can. */
static void go_on(struct ph_client *client, uint64_t now_ms, struct ph_client_actions *actions)
{
    struct client_recovery *recovery = &client->recovery;
    client->open_deadline_ms = now_ms + PH_PING_TIMEOUT_MS;
    for (;;) {
        send_some(client, now_ms, actions);
        if (recovery->outstanding > 0 || recovery->phase == RECOVER_ASKING)
            return;
        next_phase(client, now_ms, actions);
    }
}

void ph_client_recover_start(struct ph_client *client, uint64_t epoch, uint64_t now_ms,
                             struct ph_client_actions *actions)
{
    ph_client_recover_stop(client);
    client->state = CLIENT_RECOVERING;
    client->server_leaving = false;
    client->recovery.epoch = epoch;
    client->recovery.phase = RECOVER_HANDLES;
    ph_holdings_reopen(&client->holdings, add, &client->recovery);
    go_on(client, now_ms, actions);
}

void ph_client_claims(struct ph_client *client, const struct ph_claim *claims, size_t count, uint64_t now_ms,
                      struct ph_client_actions *actions)
{
    if (client->state != CLIENT_RECOVERING || client->recovery.phase != RECOVER_ASKING)
        return;
    for (size_t first = 0; first < count; first += PH_LEASES_PER_RELEASE) {
        size_t part = count - first < PH_LEASES_PER_RELEASE ? count - first : PH_LEASES_PER_RELEASE;
        Pohmel__LeaseClaim wire[PH_LEASES_PER_RELEASE], *pointers[PH_LEASES_PER_RELEASE];
        for (size_t i = 0; i < part; i++) {
            const struct ph_claim *claim = &claims[first + i];
            pohmel__lease_claim__init(&wire[i]);
            wire[i].object = claim->object;
            wire[i].lease = claim->lease;
            wire[i].mode = claim->mode;
            wire[i].version = claim->version;
            wire[i].releasing = claim->releasing;
            pointers[i] = &wire[i];
        }
        Pohmel__ReclaimRequest message = POHMEL__RECLAIM_REQUEST__INIT;
        message.n_claims = part;
        message.claims = pointers;
        add(&client->recovery, ph_request_encode(PH_CMD_RECLAIM, &message.base, NULL));
    }
    client->recovery.phase = RECOVER_LEASES;
    go_on(client, now_ms, actions);
}

/* The session is as it was: what else was asked is asked anew. */
static void done(struct ph_client *client, const struct ph_frame *frame, uint64_t now_ms,
                 struct ph_client_actions *actions)
{
    struct ph_fault fault = {0};
    /* It ends once more: the connection is about to break, and all of this is done again. */
    if (frame->header.status == PH_ST_SHUTTING_DOWN)
        return;
    struct ph_arena *arena = ph_arena_new(PH_ARENA_BASE_BYTES);
    const Pohmel__ReclaimDoneReply *reply =
        frame->header.status == PH_ST_OK
            ? (const Pohmel__ReclaimDoneReply *) ph_decode(ph_command_info(PH_CMD_RECLAIM_DONE)->reply,
                                                           frame->message, frame->header.message_len, arena,
                                                           &fault)
            : NULL;
    bool confirmed = reply && reply->confirmed;
    ph_arena_free(arena);
    if (!confirmed) {
        char text[600];
        snprintf(text, sizeof(text), "%s did not let the session go on after its restart",
                 client->server_name);
        ph_client_drop(client, PH_ST_NO_SESSION, text, actions);
        return;
    }
    client->opened.epoch = client->recovery.epoch;
    client->counters.recoveries++;
    client->answered_sent_ms = client->recovery.done_sent_ms;
    client->expired = false;
    ph_client_recover_stop(client);
    ph_client_now_open(client);
    ph_client_send_all_again(client, false, now_ms, actions);
}

void ph_client_recover_reply(struct ph_client *client, const struct ph_client_request *request,
                             struct ph_frame *frame, uint64_t now_ms, struct ph_client_actions *actions)
{
    struct client_recovery *recovery = &client->recovery;
    if (client->state != CLIENT_RECOVERING) {
        ph_frame_free(frame);
        return;
    }
    recovery->outstanding--;
    if (request->command == PH_CMD_OPEN && frame->header.status != PH_ST_OK)
        client->counters.not_reopened++;
    if (request->command == PH_CMD_RECLAIM_DONE) {
        done(client, frame, now_ms, actions);
        ph_frame_free(frame);
        return;
    }
    if (request->command == PH_CMD_RECLAIM && frame->header.status == PH_ST_OK)
        ph_client_act(actions, PH_CLIENT_GRANTS)->frame = frame;
    else
        ph_frame_free(frame);
    go_on(client, now_ms, actions);
}
