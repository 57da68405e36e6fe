/* The user's side of a link: sending, cancelling, ids; and carrying out what the core decided. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "client/link_private.h"
#include "ph_commands.h"

enum { IDS_TRIES = 3 }; /* fresh ranges that may be snatched away by other threads */

/* What concerns the link itself; with the mutex held. */
static void note(struct ph_link *link, const struct ph_client_action *action)
{
    const struct ph_client_opened *opened = ph_client_opened(link->core);
    switch (action->kind) {
    case PH_CLIENT_OPENED:
        if (!link->opened_once) {
            link->info.root = opened->root;
            link->info.read_only = opened->read_only;
            link->info.xattrs = opened->xattrs;
            link->info.acls = opened->acls;
            link->info.acts_as_caller = opened->acts_as_caller;
            link->info.leases = opened->leases;
            link->info.commands_max = opened->commands_max;
            link->info.payload_max = ph_client_payload_max(link->core);
            memcpy(link->info.volume, opened->volume, sizeof(link->info.volume));
        }
        link->opened_once = true;
        atomic_store(&link->generation, opened->generation);
        break;
    case PH_CLIENT_REFUSED:
        link->refused = true;
        if (!link->opened_once && !link->first_error)
            link->first_error = g_strdup(action->text);
        break;
    case PH_CLIENT_IDS:
        link->ids_answers++;
        break;
    case PH_CLIENT_CLOSED:
        link->core_closed = true;
        link->told_server = action->status == PH_ST_OK;
        break;
    default:
        return;
    }
    pthread_cond_broadcast(&link->changed);
}

static void send_request(struct ph_link *link, struct ph_channel *channel,
                         const struct ph_client_action *action)
{
    struct ph_client_request *request = action->request;
    (void) link;
    ph_channel_send(channel, &action->header, request->message, request->message_len, request->payload);
    int before = atomic_fetch_or(&request->wire, PH_WIRE_SENT);
    if (!(before & PH_WIRE_CANCEL))
        return;
    /* Somebody cancelled it in the meantime and left the telling to us. */
    struct ph_frame_header cancel = {.kind = PH_FRAME_CONTROL,
                                     .traffic_class = PH_CLASS_RELEASE,
                                     .command = PH_CONTROL_CANCEL,
                                     .id = action->header.id,
                                     .slot = PH_NO_SLOT};
    ph_channel_send(channel, &cancel, NULL, 0, NULL);
}

static void send_cancel(struct ph_channel *channel, const struct ph_client_action *action)
{
    int before = atomic_fetch_or(&action->request->wire, PH_WIRE_CANCEL);
    if ((before & PH_WIRE_SENT) && !(before & PH_WIRE_CANCEL))
        ph_channel_send(channel, &action->header, NULL, 0, NULL);
}

static void carry_out(struct ph_link *link, struct ph_channel *channel, const struct ph_client_action *action)
{
    switch (action->kind) {
    case PH_CLIENT_SEND:
        if (channel)
            send_request(link, channel, action);
        break;
    case PH_CLIENT_SEND_CANCEL:
        if (channel)
            send_cancel(channel, action);
        break;
    case PH_CLIENT_COMPLETE:
        ph_link_complete(link, action);
        break;
    case PH_CLIENT_WALK:
        ph_link_walk(link, action->request);
        break;
    case PH_CLIENT_LATE:
        action->request->late(action->request->late_data);
        break;
    case PH_CLIENT_OPENED:
    case PH_CLIENT_LOST:
    case PH_CLIENT_EXPIRED:
    case PH_CLIENT_EVENT:
        ph_link_tell(link, action);
        break;
    case PH_CLIENT_REFUSED:
        if (link->events)
            link->events->refused(link->events_data, action->text, ph_link_hopeless(link));
        break;
    case PH_CLIENT_CLAIMS:
    case PH_CLIENT_GRANTS:
    case PH_CLIENT_CLAIMED:
        ph_link_recover(link, action);
        break;
    case PH_CLIENT_CONNECT:
        ph_link_connect_start(link);
        break;
    case PH_CLIENT_DISCONNECT:
        if (channel)
            ph_channel_close(channel, action->status, action->text);
        break;
    default:
        break;
    }
}

void ph_link_finish(struct ph_link *link, struct ph_client_actions *actions)
{
    for (size_t i = 0; i < actions->count; i++)
        note(link, &actions->items[i]);
    bool open = ph_client_is_open(link->core), reached = open && link->refused;
    link->refused = link->refused && !open;
    atomic_store_explicit(&link->connected, open, memory_order_relaxed);
    atomic_store_explicit(&link->hopeless, ph_client_is_hopeless(link->core), memory_order_relaxed);
    atomic_store_explicit(&link->answered_sent_ms, ph_client_answered_sent_ms(link->core),
                          memory_order_relaxed);
    struct ph_channel *channel = actions->count && link->channel ? ph_channel_ref(link->channel) : NULL;
    pthread_mutex_unlock(&link->mutex);

    for (size_t i = 0; i < actions->count; i++)
        carry_out(link, channel, &actions->items[i]);
    if (reached && link->events)
        link->events->reached(link->events_data);
    ph_client_actions_clear(actions);
    if (channel)
        ph_channel_unref(channel);
}

uint64_t ph_link_submit(struct ph_link *link, struct ph_client_request *request)
{
    struct ph_client_actions actions;
    ph_client_actions_init(&actions);
    ph_request_ref(request);
    pthread_mutex_lock(&link->mutex);
    uint64_t now_ms = ph_link_now_ms(), ticket = ph_client_submit(link->core, request, now_ms, &actions);
    if (request->state == PH_REQUEST_DONE)
        ticket = 0;
    /* The link's thread may have to give this one up sooner than it knew. */
    bool wake = !ph_client_is_open(link->core) || request->queue == PH_QUEUE_ENDED ||
                ph_client_is_past_leases(link->core, now_ms);
    ph_link_finish(link, &actions);
    ph_request_unref(request);
    if (wake)
        g_main_context_wakeup(link->context);
    return ticket;
}

uint64_t ph_link_send_flush(struct ph_link *link, uint64_t generation, uint16_t command,
                            const ProtobufCMessage *message, struct ph_blob *payload, ph_reply_fn fn,
                            void *data)
{
    struct ph_client_request *request = ph_request_encode(command, message, payload);
    request->fn = fn;
    request->data = data;
    ph_request_for_flush(request, generation);
    return ph_link_submit(link, request);
}

void ph_link_restores(struct ph_link *link)
{
    pthread_mutex_lock(&link->mutex);
    ph_client_restores(link->core);
    pthread_mutex_unlock(&link->mutex);
}

void ph_link_restored(struct ph_link *link)
{
    struct ph_client_actions actions;
    if (link == NULL)
        return;
    ph_client_actions_init(&actions);
    pthread_mutex_lock(&link->mutex);
    ph_client_restored(link->core, ph_link_now_ms(), &actions);
    ph_link_finish(link, &actions);
}

const struct ph_stub *ph_link_stub(struct ph_link *link)
{
    return &link->stub;
}

const struct ph_link_info *ph_link_info(struct ph_link *link)
{
    return &link->info;
}

void ph_link_cancel(struct ph_link *link, uint64_t ticket)
{
    struct ph_client_actions actions;
    ph_client_actions_init(&actions);
    pthread_mutex_lock(&link->mutex);
    ph_client_cancel(link->core, ticket, &actions);
    ph_link_finish(link, &actions);
}

void ph_link_abandon(struct ph_link *link, uint64_t ticket)
{
    struct ph_client_actions actions;
    ph_client_actions_init(&actions);
    pthread_mutex_lock(&link->mutex);
    ph_client_abandon(link->core, ticket, &actions);
    ph_link_finish(link, &actions);
}

void ph_link_when_late(struct ph_link *link, uint64_t ticket, void (*late)(void *data), void *data)
{
    pthread_mutex_lock(&link->mutex);
    bool coming = ph_client_when_late(link->core, ticket, late, data);
    pthread_mutex_unlock(&link->mutex);
    if (!coming)
        late(data);
}

/* Takes ids if there are any; tells whether more are on their way, and how many answers there were. */
static uint64_t take_ids(struct ph_link *link, uint32_t count, bool *coming, uint64_t *answers)
{
    struct ph_client_actions actions;
    ph_client_actions_init(&actions);
    pthread_mutex_lock(&link->mutex);
    uint64_t first = ph_client_take_ids(link->core, count, ph_link_now_ms(), &actions);
    *coming = ph_client_ids_coming(link->core);
    *answers = link->ids_answers;
    ph_link_finish(link, &actions);
    return first;
}

static void wait_for_ids(struct ph_link *link, uint64_t answers, const struct timespec *until)
{
    pthread_mutex_lock(&link->mutex);
    int waited = 0;
    while (link->ids_answers == answers && !link->core_closed && waited != ETIMEDOUT)
        waited = pthread_cond_timedwait(&link->changed, &link->mutex, until);
    pthread_mutex_unlock(&link->mutex);
}

uint64_t ph_link_new_objects(struct ph_link *link, uint32_t count)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += PH_PING_TIMEOUT_MS / 1000; /* by then the connection would have been given up */
    for (int i = 0; i < IDS_TRIES; i++) {
        bool coming;
        uint64_t answers;
        uint64_t first = take_ids(link, count, &coming, &answers);
        if (first || !coming)
            return first;
        wait_for_ids(link, answers, &until);
    }
    return 0;
}

uint64_t ph_link_new_handle(struct ph_link *link)
{
    return atomic_fetch_add(&link->next_handle, 1) + 1;
}

bool ph_link_has_handle(struct ph_link *link, uint64_t handle)
{
    pthread_mutex_lock(&link->mutex);
    bool found = ph_client_has_handle(link->core, handle);
    pthread_mutex_unlock(&link->mutex);
    return found;
}

uint64_t ph_link_generation(struct ph_link *link)
{
    return atomic_load(&link->generation);
}

uint64_t ph_link_answered_sent_ms(struct ph_link *link)
{
    return atomic_load(&link->answered_sent_ms);
}

bool ph_link_hopeless(struct ph_link *link)
{
    return atomic_load(&link->hopeless);
}

char *ph_link_trouble(struct ph_link *link)
{
    pthread_mutex_lock(&link->mutex);
    char *text = g_strdup(ph_client_last_trouble(link->core));
    pthread_mutex_unlock(&link->mutex);
    return text;
}

bool ph_link_connected(struct ph_link *link)
{
    return atomic_load(&link->connected);
}
