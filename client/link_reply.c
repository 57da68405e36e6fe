/* From a frame to the callback of the request that it answers. */
#include <stdio.h>

#include "client/link_private.h"
#include "ph_commands.h"
#include "runtime/base/limits.h"
#include "runtime/wire/command.h"

static size_t arena_cap(size_t message_len)
{
    size_t cap = PH_ARENA_BASE_BYTES + (size_t) PH_ARENA_FACTOR * message_len;
    return cap < PH_ARENA_CAP_BYTES ? cap : PH_ARENA_CAP_BYTES;
}

/* The server sent what no server may send: the connection is closed, the request fails. */
static void malformed(struct ph_link *link, const struct ph_client_action *action, const char *what)
{
    const struct ph_command_info *info = ph_command_info(action->request->command);
    char text[400];
    snprintf(text, sizeof(text), "%s sent a malformed answer to %s: %s", link->info.server_name, info->name,
             what);
    pthread_mutex_lock(&link->mutex);
    struct ph_channel *channel = link->channel ? ph_channel_ref(link->channel) : NULL;
    pthread_mutex_unlock(&link->mutex);
    if (channel) {
        ph_channel_close(channel, PH_ST_MALFORMED, text);
        ph_channel_unref(channel);
    }
    struct ph_reply reply = {.status = PH_ST_IO_ERROR, .text = text};
    action->request->fn(action->request->data, &reply);
}

static void answer(struct ph_link *link, const struct ph_client_action *action)
{
    const struct ph_frame *frame = action->frame;
    const struct ph_command_info *info = ph_command_info(action->request->command);
    struct ph_fault fault = {0};
    if (frame->header.payload_len > info->reply_payload_max) {
        malformed(link, action, "more payload than the command may answer");
        return;
    }
    ph_arena_reset(link->arena, arena_cap(frame->header.message_len));
    ProtobufCMessage *message =
        ph_decode(info->reply, frame->message, frame->header.message_len, link->arena, &fault);
    if (!message) {
        malformed(link, action, fault.text);
        return;
    }
    struct ph_reply reply = {.status = PH_ST_OK, .message = message, .payload = frame->payload, .text = ""};
    action->request->fn(action->request->data, &reply);
}

/* Words of the server behind a failure, made printable; those of the status where it has none. */
static void failure(const struct ph_client_action *action)
{
    char words[PH_FAULT_TEXT_MAX_BYTES + 1];
    struct ph_reply reply = {.status = action->status, .text = action->text ? action->text : ""};
    if (action->frame) {
        ph_client_words(action->frame, words, sizeof(words));
        reply.text = words;
    }
    action->request->fn(action->request->data, &reply);
}

void ph_link_complete(struct ph_link *link, const struct ph_client_action *action)
{
    if (!action->request->fn)
        return;
    if (action->frame && action->status == PH_ST_OK)
        answer(link, action);
    else
        failure(action);
}
