/* Opening, running and closing a link: its thread, and the main loop on it. */
#include "client/link.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "client/link_private.h"
#include "ph_commands.h"
#include "runtime/base/limits.h"
#include "runtime/io/thread.h"
#include "runtime/io/turn.h"

enum { LINK_DRAIN_MS = 1000 }; /* for the last bytes of a connection that is being closed */

/* Goes on while the machine is suspended, as the server's does: leases end meanwhile. */
uint64_t ph_link_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t) now.tv_sec * 1000 + (uint64_t) now.tv_nsec / 1000000;
}

/* By the clock of the loop, which does not go on. */
static void arm(struct ph_link *link, uint64_t deadline_ms)
{
    uint64_t now_ms = ph_link_now_ms();
    uint64_t left_ms = deadline_ms > now_ms ? deadline_ms - now_ms : 0;
    bool never = deadline_ms > INT64_MAX / 1000;
    g_source_set_ready_time(link->timer, never ? -1 : g_get_monotonic_time() + (gint64) left_ms * 1000);
}

static gboolean timer_dispatch(GSource *source, GSourceFunc callback, gpointer data)
{
    (void) callback, (void) data;
    g_source_set_ready_time(source, -1); /* the loop looks at the core after each turn anyway */
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs timer_funcs = {.dispatch = timer_dispatch};

/* Steps the core if its time has come, and sets the timer for the next. False once the link is to stop. */
static bool tick(struct ph_link *link)
{
    struct ph_client_actions actions;
    ph_client_actions_init(&actions);
    pthread_mutex_lock(&link->mutex);
    uint64_t now_ms = ph_link_now_ms();
    if (now_ms >= ph_client_deadline(link->core))
        ph_client_tick(link->core, now_ms, &actions);
    uint64_t deadline_ms = ph_client_deadline(link->core);
    bool going = !link->stop;
    ph_link_finish(link, &actions);
    arm(link, deadline_ms);
    return going;
}

/* Waits a moment for the channel to get its last bytes out and to end. */
static void drain(struct ph_link *link)
{
    uint64_t until_ms = ph_link_now_ms() + LINK_DRAIN_MS;
    for (;;) {
        pthread_mutex_lock(&link->mutex);
        bool ended = !link->channel;
        pthread_mutex_unlock(&link->mutex);
        if (ended || ph_link_now_ms() >= until_ms)
            return;
        arm(link, until_ms);
        g_main_context_iteration(link->context, TRUE);
    }
}

static void *run(void *data)
{
    struct ph_link *link = data;
    struct ph_turn turn = {0};
    g_main_context_push_thread_default(link->context);
    while (tick(link)) {
        ph_turn(&turn, link->context);
        ph_link_connect_collect(link);
    }
    ph_link_connect_abandon(link);
    drain(link);
    g_main_context_pop_thread_default(link->context);
    return NULL;
}

static void link_free(struct ph_link *link)
{
    if (link->channel)
        ph_channel_unref(link->channel);
    ph_client_free(link->core);
    ph_hints_free(link->hints);
    ph_reclaim_clear(&link->reclaim);
    ph_arena_free(link->arena);
    if (link->timer) {
        g_source_destroy(link->timer);
        g_source_unref(link->timer);
    }
    if (link->context)
        g_main_context_unref(link->context);
    ph_address_clear(&link->address);
    g_free(link->info.server_name);
    g_free(link->first_error);
    pthread_cond_destroy(&link->changed);
    pthread_mutex_destroy(&link->mutex);
    pthread_mutex_destroy(&link->hints_mutex);
    g_free(link);
}

static uint64_t stub_send(void *self, uint16_t command, const ProtobufCMessage *message,
                          struct ph_blob *payload, ph_reply_fn fn, void *data)
{
    struct ph_client_request *request = ph_request_encode(command, message, payload);
    request->fn = fn;
    request->data = data;
    return ph_link_submit(self, request);
}

static void init_core(struct ph_link *link, const struct ph_link_options *options)
{
    char host[PH_HOST_MAX_BYTES + 1] = "";
    gethostname(host, sizeof(host) - 1);
    struct ph_client_config config = {
        .export_name = options->export_name,
        .host = host,
        .server_name = link->info.server_name,
        .read_only = options->read_only,
        .leases = options->events != NULL,
        .write_back = options->write_back && !options->read_only,
        .resumable = !options->last_session,
        .session = options->last_session ? PH_SESSION_LAST : 0,
        .patience_ms = options->patience_s == PH_LINK_PATIENCE_FOREVER
                           ? UINT64_MAX
                           : (uint64_t) options->patience_s * 1000,
    };
    /* Random bytes cannot fail once the system has started. */
    while (getrandom(config.client, sizeof(config.client), 0) != sizeof(config.client))
        continue;
    memcpy(&config.seed, config.client, sizeof(config.seed));
    if (options->client)
        memcpy(config.client, options->client, sizeof(config.client));
    link->core = ph_client_new(&config, ph_link_now_ms());
}

static struct ph_link *link_new(const struct ph_link_options *options)
{
    struct ph_link *link = g_new0(struct ph_link, 1);
    link->events = options->events;
    link->events_data = options->events_data;
    link->stub = (struct ph_stub){.send = stub_send, .self = link};
    link->address = (struct ph_address){.host = g_strdup(options->address.host),
                                        .path = g_strdup(options->address.path),
                                        .port = options->address.port};
    link->info.server_name = ph_address_text(&options->address);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&link->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&link->mutex, NULL);
    pthread_mutex_init(&link->hints_mutex, NULL);
    link->hints = ph_hints_new(PH_HINTS_MAX);
    ph_reclaim_init(&link->reclaim);
    link->arena = ph_arena_new(PH_ARENA_BASE_BYTES);
    link->context = g_main_context_new();
    link->timer = g_source_new(&timer_funcs, sizeof(GSource));
    g_source_attach(link->timer, link->context);
    init_core(link, options);
    return link;
}

/* Stops the thread, which runs, and frees the link. */
static void link_stop(struct ph_link *link)
{
    pthread_mutex_lock(&link->mutex);
    link->stop = true;
    struct ph_channel *channel = link->channel ? ph_channel_ref(link->channel) : NULL;
    pthread_mutex_unlock(&link->mutex);
    if (channel) {
        ph_channel_close(channel, PH_ST_OK, "the client ended the link");
        ph_channel_unref(channel);
    }
    g_main_context_wakeup(link->context);
    pthread_join(link->thread, NULL);
    link_free(link);
}

struct ph_link *ph_link_open(const struct ph_link_options *options, GError **error)
{
    GQuark domain = g_quark_from_static_string("ph-link");
    if (options->export_name && strlen(options->export_name) > PH_NAME_MAX_BYTES) {
        g_set_error(error, domain, PH_ST_INVALID, "the name of the export is longer than %d bytes",
                    PH_NAME_MAX_BYTES);
        return NULL;
    }
    struct ph_link *link = link_new(options);
    int failed = ph_thread_start(&link->thread, NULL, run, link);
    if (failed) {
        g_set_error(error, domain, PH_ST_NO_MEMORY, "cannot start a thread: %s", g_strerror(failed));
        link_free(link);
        return NULL;
    }
    pthread_mutex_lock(&link->mutex);
    while (!link->opened_once && !link->first_error)
        pthread_cond_wait(&link->changed, &link->mutex);
    bool opened = link->opened_once;
    if (!opened)
        g_set_error_literal(error, domain, PH_ST_IO_ERROR, link->first_error);
    pthread_mutex_unlock(&link->mutex);
    if (opened)
        return link;
    link_stop(link);
    return NULL;
}

bool ph_link_shutdown(struct ph_link *link)
{
    struct ph_client_actions actions;
    ph_client_actions_init(&actions);
    pthread_mutex_lock(&link->mutex);
    uint64_t now_ms = ph_link_now_ms();
    if (!link->core_closed)
        ph_client_shutdown(link->core, now_ms + PH_CLOSE_TIMEOUT_MS, now_ms, &actions);
    ph_link_finish(link, &actions);
    g_main_context_wakeup(link->context); /* its deadline has changed */

    pthread_mutex_lock(&link->mutex);
    while (!link->core_closed)
        pthread_cond_wait(&link->changed, &link->mutex);
    bool told = link->told_server;
    pthread_mutex_unlock(&link->mutex);
    return told;
}

void ph_link_close(struct ph_link *link)
{
    if (!link)
        return;
    ph_link_shutdown(link);
    link_stop(link);
}
