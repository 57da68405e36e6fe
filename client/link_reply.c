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

enum { WORDS_BYTES = 400 };

/* The server sent what no server may send: the connection is closed. TEXT holds WORDS_BYTES. */
static void close_malformed(struct ph_link *link, uint16_t command, const char *what, char *text)
{
    const struct ph_command_info *info = ph_command_info(command);
    snprintf(text, WORDS_BYTES, "%s sent a malformed %s%s: %s", link->info.server_name,
             info->event ? "" : "answer to ", info->name, what);
    pthread_mutex_lock(&link->mutex);
    struct ph_channel *channel = link->channel ? ph_channel_ref(link->channel) : NULL;
    pthread_mutex_unlock(&link->mutex);
    if (channel) {
        ph_channel_close(channel, PH_ST_MALFORMED, text);
        ph_channel_unref(channel);
    }
}

void ph_link_malformed(struct ph_link *link, uint16_t command, const char *what)
{
    char text[WORDS_BYTES];
    close_malformed(link, command, what, text);
}

/* The request that it answers fails. */
static void malformed(struct ph_link *link, const struct ph_client_action *action, const char *what)
{
    char text[WORDS_BYTES];
    close_malformed(link, action->request->command, what, text);
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
    struct ph_reply reply = {.status = PH_ST_OK,
                             .message = message,
                             .payload = frame->payload,
                             .text = "",
                             .again = action->request->again};
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

/* An event that no server may send ends the connection as a malformed answer does. */
static void tell_event(struct ph_link *link, const struct ph_frame *frame)
{
    struct ph_fault fault = {0};
    char text[WORDS_BYTES];
    uint16_t command = frame->header.command;
    if (command != PH_CMD_RECALL && (command != PH_CMD_GLIMPSE || !link->events->glimpse))
        return; /* the others are not sent in this version */
    ph_arena_reset(link->arena, arena_cap(frame->header.message_len));
    const ProtobufCMessage *message = ph_decode(ph_command_info(command)->request, frame->message,
                                                frame->header.message_len, link->arena, &fault);
    if (!message)
        close_malformed(link, command, fault.text, text);
    else if (command == PH_CMD_RECALL)
        link->events->recall(link->events_data, (const Pohmel__RecallEvent *) message);
    else
        link->events->glimpse(link->events_data, (const Pohmel__GlimpseEvent *) message);
}

void ph_link_tell(struct ph_link *link, const struct ph_client_action *action)
{
    if (!link->events)
        return;
    if (action->kind == PH_CLIENT_LOST)
        link->events->lost(link->events_data);
    if (action->kind == PH_CLIENT_EXPIRED)
        link->events->expired(link->events_data);
    if (action->kind == PH_CLIENT_EVENT)
        tell_event(link, action->frame);
    if (action->kind != PH_CLIENT_OPENED)
        return;
    pthread_mutex_lock(&link->mutex);
    const struct ph_client_opened *opened = ph_client_opened(link->core);
    struct ph_link_leases leases = {.generation = opened->generation,
                                    .granted = opened->leases,
                                    .watched = opened->watched,
                                    .write_back = opened->write_back,
                                    .ranges = opened->ranges,
                                    .ttl_ms = opened->lease_ttl_ms,
                                    .epoch = opened->epoch,
                                    .unbroken = opened->unbroken};
    pthread_mutex_unlock(&link->mutex);
    link->events->opened(link->events_data, &leases);
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
