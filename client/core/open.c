/* Opening a session, and what the server says to it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/core/private.h"
#include "ph_commands.h"
#include "runtime/wire/command.h"

void ph_client_send_open(struct ph_client *client, uint64_t now_ms, struct ph_client_actions *actions)
{
    Pohmel__SessionOpenRequest message = POHMEL__SESSION_OPEN_REQUEST__INIT;
    message.client = (ProtobufCBinaryData){.data = client->id, .len = sizeof(client->id)};
    /* A number of its own for each try: one that the server may have opened
     * without our hearing of it is ended by the next. */
    message.session = client->kept ? client->session_number : ++client->session_number;
    message.resume = client->resuming = client->kept;
    message.resumable = client->want_resumable;
    message.export_name.data = (uint8_t *) client->export_name;
    message.export_name.len = strnlen(client->export_name, PH_NAME_MAX_BYTES);
    message.host.data = (uint8_t *) client->host;
    message.host.len = strnlen(client->host, PH_HOST_MAX_BYTES);
    message.read_only = client->want_read_only;
    message.leases = client->want_leases;
    message.write_back = message.glimpses = message.ranges = client->want_write_back;
    struct ph_client_request *request =
        ph_client_own_request(PH_PURPOSE_OPEN, PH_CMD_SESSION_OPEN, &message.base);
    request->id = ++client->next_id;
    client->open_sent_ms = now_ms;
    ph_client_send_now(client, request, now_ms, actions);
}

void ph_client_words(const struct ph_frame *frame, char *out, size_t size)
{
    size_t len = frame->payload ? frame->payload->len : 0;
    if (len == 0 || len > PH_FAULT_TEXT_MAX_BYTES) {
        snprintf(out, size, "%s", ph_status_text(frame->header.status));
        return;
    }
    if (len >= size)
        len = size - 1;
    for (size_t i = 0; i < len; i++) {
        uint8_t byte = frame->payload->data[i];
        out[i] = byte < ' ' || byte == 0x7f ? '?' : (char) byte;
    }
    out[len] = '\0';
}

static void refused(struct ph_client *client, struct ph_frame *frame, struct ph_client_actions *actions)
{
    char words[PH_FAULT_TEXT_MAX_BYTES + 1], text[600];
    ph_client_words(frame, words, sizeof(words));
    if (frame->header.status == PH_ST_NO_EXPORT && client->export_name[0])
        snprintf(text, sizeof(text), "%s has no export \"%s\": %s", client->server_name, client->export_name,
                 words);
    else
        snprintf(text, sizeof(text), "%s refused the session: %s", client->server_name, words);
    ph_client_drop(client, frame->header.status, text, actions);
}

/* What is not as it was in the session before, in words; NULL when all is well. */
static const char *mismatch(const struct ph_client *client, const Pohmel__SessionOpenReply *reply)
{
    if (client->opened.generation == 0)
        return NULL;
    if (memcmp(client->opened.volume, reply->export_info->volume.data, sizeof(client->opened.volume)) != 0)
        return "exports another volume now; unmount and mount again to use it";
    if (client->opened.root != reply->export_info->root)
        return "exports another root directory now; unmount and mount again to use it";
    return NULL;
}

static void take_reply(struct ph_client *client, const Pohmel__SessionOpenReply *reply,
                       struct ph_client_actions *actions)
{
    const Pohmel__ExportInfo *info = reply->export_info;
    struct ph_client_opened *opened = &client->opened;
    /* As ph_wb_server of wb.h sees it. Where nothing is made again, whoever wrote is to be told by errors. */
    bool lost = opened->generation > 0 && reply->epoch != opened->epoch &&
                (reply->unbroken == 0 || reply->unbroken > opened->epoch);
    if (lost && client->restores) {
        client->restoring = true;
    } else if (lost) {
        ph_holdings_clear(&client->holdings, false);
        ph_client_end_syncs(client, actions);
    }
    opened->generation++;
    client->kept = reply->resumable && client->want_resumable;
    client->expired = false;
    client->answered_sent_ms = client->open_sent_ms;
    opened->root = info->root;
    opened->epoch = reply->epoch;
    opened->unbroken = reply->unbroken;
    opened->read_only = info->read_only || client->want_read_only;
    opened->xattrs = info->xattrs;
    opened->acls = info->acls;
    opened->acts_as_caller = info->acts_as_caller;
    /* Shorter ones than our own caution would be over when they come. */
    opened->leases = reply->leases && client->want_leases && reply->lease_ttl_ms > 2 * PH_LEASE_MARGIN_MS;
    opened->watched = reply->watched;
    memcpy(opened->volume, info->volume.data, sizeof(opened->volume));
    opened->lease_ttl_ms = reply->lease_ttl_ms;
    opened->slots = reply->slots;
    opened->commands_max = reply->commands_max;
    opened->credits = reply->credits < UINT16_MAX ? reply->credits : UINT16_MAX;
    bool flushes = opened->leases && client->want_write_back && !opened->read_only;
    ph_client_reset_flow(client, opened->credits, opened->slots, flushes);

    /* The largest payload whose request can ever be paid for. */
    uint32_t of_write = client->flow.held_max;
    if (flushes && client->flow.flush_kept > 0 && client->flow.flush_kept < of_write)
        of_write = client->flow.flush_kept;
    uint64_t affordable = (uint64_t) of_write * PH_CREDIT_PAYLOAD_BYTES - 1;
    if (client->payload_max > affordable)
        client->payload_max = (uint32_t) affordable;
    /* Its commands must not wait for users' (which may wait for us), and are as large as they can be. */
    opened->write_back = flushes && opened->acts_as_caller && client->flow.flush_kept > 0 &&
                         client->flow.flush_slots_kept > 0 && client->payload_max == PH_PAYLOAD_MAX_BYTES;
    opened->ranges = opened->write_back && reply->ranges;
}

void ph_client_now_open(struct ph_client *client)
{
    client->state = CLIENT_OPEN;
    for (int i = 0; i < PH_QUEUE_COUNT; i++) {
        for (struct ph_client_request *at = client->queues[i].head; at; at = at->next)
            at->deadline_ms = UINT64_MAX; /* another loss is another wait */
    }
    client->open_deadline_ms = client->give_up_ms = UINT64_MAX;
    client->backoff_ms = 0;
    client->trouble[0] = '\0';
    client->renewing = false;
    client->server_leaving = false;
    client->hopeless = false;
}

void ph_client_open_reply(struct ph_client *client, struct ph_frame *frame, uint64_t now_ms,
                          struct ph_client_actions *actions)
{
    if (frame->header.status != PH_ST_OK) {
        if (client->resuming)
            ph_client_resume_reply(client, frame, NULL, now_ms, actions);
        else
            refused(client, frame, actions);
        return;
    }
    struct ph_fault fault = {0};
    struct ph_arena *arena = ph_arena_new(PH_ARENA_BASE_BYTES);
    Pohmel__SessionOpenReply *reply =
        (Pohmel__SessionOpenReply *) ph_decode(ph_command_info(PH_CMD_SESSION_OPEN)->reply, frame->message,
                                               frame->header.message_len, arena, &fault);
    const char *wrong = reply ? mismatch(client, reply) : NULL;
    if (!reply || wrong) {
        char text[600];
        snprintf(text, sizeof(text), "%s %s%s", client->server_name,
                 reply ? wrong : "sent a malformed answer: ", reply ? "" : fault.text);
        client->hopeless = reply != NULL;
        ph_client_drop(client, reply ? PH_ST_STALE : PH_ST_MALFORMED, text, actions);
        ph_arena_free(arena);
        return;
    }
    if (client->resuming) {
        ph_client_resume_reply(client, frame, reply, now_ms, actions);
        ph_arena_free(arena);
    } else {
        take_reply(client, reply, actions);
        ph_arena_free(arena);
        if (client->opened.generation > 1)
            client->counters.reconnects++;
        client->ids_asked = false;
        ph_client_now_open(client);
        ph_client_act(actions, PH_CLIENT_OPENED);
        ph_client_carry(client, now_ms);
    }
    ph_client_refill_ids(client, now_ms, actions);
    ph_client_pump(client, now_ms, actions);
    ph_client_closing_step(client, now_ms, actions);
}
