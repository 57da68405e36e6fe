/* Connecting, and what the channel tells. All of it on the link thread, but for
 * the attempt itself, which waits and therefore has a thread of its own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/link_private.h"
#include "ph_commands.h"
#include "runtime/base/limits.h"

/* Shared by the attempt's thread and the link's, one reference each, so that a
 * link can end without waiting for an attempt. */
struct ph_connector {
    pthread_mutex_t mutex;
    int refs;
    struct ph_address address;
    GMainContext *context; /* to be woken when done */
    bool done;
    int fd; /* -1 for none */
    char *error;
};

static void connector_unref(struct ph_connector *connector)
{
    pthread_mutex_lock(&connector->mutex);
    bool last = --connector->refs == 0;
    pthread_mutex_unlock(&connector->mutex);
    if (!last)
        return;
    if (connector->fd >= 0)
        close(connector->fd);
    pthread_mutex_destroy(&connector->mutex);
    ph_address_clear(&connector->address);
    g_main_context_unref(connector->context);
    g_free(connector->error);
    g_free(connector);
}

static void *attempt(void *data)
{
    struct ph_connector *connector = data;
    g_autoptr(GError) error = NULL;
    int fd = ph_connect(&connector->address, PH_HANDSHAKE_TIMEOUT_MS, &error);
    pthread_mutex_lock(&connector->mutex);
    connector->fd = fd;
    if (fd < 0)
        connector->error = g_strdup(error->message);
    connector->done = true;
    pthread_mutex_unlock(&connector->mutex);
    g_main_context_wakeup(connector->context);
    connector_unref(connector);
    return NULL;
}

/* The connection that there was, or was to be, is gone. */
static void tell_disconnected(struct ph_link *link, uint32_t status, const char *text)
{
    struct ph_client_actions actions;
    struct ph_fault fault = {.status = status};
    ph_client_actions_init(&actions);
    snprintf(fault.text, sizeof(fault.text), "%.*s", (int) sizeof(fault.text) - 1, text);
    pthread_mutex_lock(&link->mutex);
    ph_client_disconnected(link->core, &fault, ph_link_now_ms(), &actions);
    ph_link_finish(link, &actions);
}

void ph_link_connect_start(struct ph_link *link)
{
    struct ph_connector *connector = g_new0(struct ph_connector, 1);
    pthread_mutex_init(&connector->mutex, NULL);
    connector->refs = 2;
    connector->fd = -1;
    connector->context = g_main_context_ref(link->context);
    connector->address = (struct ph_address){.host = g_strdup(link->address.host),
                                             .path = g_strdup(link->address.path),
                                             .port = link->address.port};
    pthread_t thread;
    int failed = pthread_create(&thread, NULL, attempt, connector);
    if (failed) {
        connector->done = true;
        connector->error = g_strdup_printf("cannot start a thread: %s", g_strerror(failed));
        connector->refs = 1;
        g_main_context_wakeup(link->context);
    } else {
        pthread_detach(thread);
    }
    link->connector = connector;
}

static void channel_ready(void *data, struct ph_channel *channel)
{
    struct ph_link *link = data;
    struct ph_client_actions actions;
    ph_client_actions_init(&actions);
    const struct ph_hello *peer = ph_channel_peer(channel);
    pthread_mutex_lock(&link->mutex);
    if (channel == link->channel)
        ph_client_connected(link->core, peer->message_max, peer->payload_max, ph_link_now_ms(), &actions);
    ph_link_finish(link, &actions);
}

static void channel_frame(void *data, struct ph_channel *channel, struct ph_frame *frame)
{
    struct ph_link *link = data;
    struct ph_client_actions actions;
    ph_client_actions_init(&actions);
    pthread_mutex_lock(&link->mutex);
    if (channel == link->channel)
        ph_client_frame(link->core, frame, ph_link_now_ms(), &actions);
    else
        ph_frame_free(frame);
    ph_link_finish(link, &actions);
}

static void channel_closed(void *data, struct ph_channel *channel, const struct ph_fault *fault)
{
    struct ph_link *link = data;
    pthread_mutex_lock(&link->mutex);
    bool ours = channel == link->channel;
    bool was_open = ph_client_is_open(link->core);
    if (ours)
        link->channel = NULL;
    pthread_mutex_unlock(&link->mutex);
    if (!ours)
        return;
    char text[400];
    if (was_open)
        snprintf(text, sizeof(text), "%s", fault->text);
    else if (fault->status == PH_ST_OK)
        snprintf(text, sizeof(text),
                 "%s closed the connection before a session was open; is it a Pohmel server?",
                 link->info.server_name);
    else
        snprintf(text, sizeof(text), "%s: %s", link->info.server_name,
                 fault->text[0] ? fault->text : ph_status_text(fault->status));
    tell_disconnected(link, fault->status, text);
    ph_channel_unref(channel);
}

static const struct ph_channel_events channel_events = {
    .ready = channel_ready,
    .frame = channel_frame,
    .closed = channel_closed,
};

static void start_channel(struct ph_link *link, int fd)
{
    struct ph_hello own = {
        .features = PH_FEATURE_LOCKS | PH_FEATURE_XATTRS | PH_FEATURE_TREES,
        .message_max = PH_MESSAGE_MAX_BYTES,
        .payload_max = PH_PAYLOAD_MAX_BYTES,
    };
    snprintf(own.implementation, sizeof(own.implementation), "pohmelfs %s", PH_VERSION);
    struct ph_channel *channel = ph_channel_new(fd, PH_CONN_CLIENT, &own, &channel_events, link);
    pthread_mutex_lock(&link->mutex);
    link->channel = channel;
    pthread_mutex_unlock(&link->mutex);
    ph_channel_attach(channel, link->context);
}

void ph_link_connect_collect(struct ph_link *link)
{
    struct ph_connector *connector = link->connector;
    if (!connector)
        return;
    pthread_mutex_lock(&connector->mutex);
    bool done = connector->done;
    int fd = connector->fd;
    if (done)
        connector->fd = -1;
    pthread_mutex_unlock(&connector->mutex);
    if (!done)
        return;
    link->connector = NULL;
    if (fd >= 0)
        start_channel(link, fd);
    else
        tell_disconnected(link, PH_ST_IO_ERROR, connector->error);
    connector_unref(connector);
}

void ph_link_connect_abandon(struct ph_link *link)
{
    if (link->connector)
        connector_unref(link->connector);
    link->connector = NULL;
}
