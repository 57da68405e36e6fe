#include "server/serve.h"

#include <errno.h>
#include <glib-unix.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ph_commands.h"
#include "runtime/base/limits.h"
#include "server/connection.h"
#include "server/control.h"
#include "server/listeners.h"
#include "server/log.h"
#include "server/notify.h"
#include "server/store/posix.h"
#include "server/watch.h"

enum {
    POOL_THREADS_MAX = 256,    /* a connection uses a few of them at a time (connection.c) */
    ENDING_LOOK_MS = 10,       /* how often the way to the end is looked at */
    COMMANDS_END_MS = 10000,   /* for commands that are under way when the server ends */
    CONNECTIONS_END_MS = 2000, /* for the last words to clients */
    TICK_MS = 250,             /* how often the core is told the time */
    WORKERS_DEFAULT_MAX = 8,
};

struct serving {
    const struct ph_config *config;
    struct ph_server_export *exports;
    guint open_stores;
    pthread_mutex_t mutex; /* the guard of the core */
    struct ph_switch all;
    struct ph_listeners *listeners;
    struct ph_watch *watch; /* NULL where that is not wanted */
    struct ph_control_socket *control;
    GMainLoop *loop;
    gint64 ending_since_us; /* 0 while not ending */
    gint64 closing_since_us;
};

static void guard_enter(void *data)
{
    pthread_mutex_lock(data);
}

static void guard_leave(void *data)
{
    pthread_mutex_unlock(data);
}

/* ---- The end --------------------------------------------------------------- */

static gint64 elapsed_ms(gint64 since_us)
{
    return (g_get_monotonic_time() - since_us) / 1000;
}

/* First the commands that are under way, then the connections, then the rest. */
static gboolean look_at_ending(gpointer data)
{
    struct serving *serving = data;
    struct ph_actions actions = {0};

    if (serving->closing_since_us == 0) {
        if (ph_server_running(serving->all.core) > 0 &&
            elapsed_ms(serving->ending_since_us) < COMMANDS_END_MS)
            return G_SOURCE_CONTINUE;
        serving->closing_since_us = g_get_monotonic_time();
        ph_server_close_all(serving->all.core, PH_ST_SHUTTING_DOWN, "the server is shutting down", &actions);
        ph_perform(&serving->all, &actions, FALSE);
    }
    if ((ph_connections(&serving->all) > 0 || ph_executing(&serving->all) > 0) &&
        elapsed_ms(serving->closing_since_us) < CONNECTIONS_END_MS)
        return G_SOURCE_CONTINUE;
    g_main_loop_quit(serving->loop);
    return G_SOURCE_REMOVE;
}

static gboolean on_signal(gpointer data)
{
    struct serving *serving = data;

    if (serving->ending_since_us != 0) {
        ph_log("told to end a second time: ending at once");
        _exit(EXIT_FAILURE);
    }
    serving->ending_since_us = g_get_monotonic_time();
    ph_notify("STOPPING=1");
    ph_log("ending: finishing what is under way");
    g_clear_pointer(&serving->listeners, ph_listeners_free);
    ph_server_shut_down(serving->all.core);
    g_timeout_add(ENDING_LOOK_MS, look_at_ending, serving);
    return G_SOURCE_CONTINUE;
}

static void free_stores(struct serving *serving)
{
    for (guint i = 0; i < serving->open_stores; i++) {
        struct ph_store *store = serving->exports[i].store;

        store->free(store->self);
    }
    g_free(serving->exports);
}

/* Everything but the stores. Commands that hang for ever must not keep us: what
 * they use cannot be freed under them, so the program ends as it is. */
static void take_down(struct serving *serving)
{
    ph_control_socket_free(serving->control);
    if (ph_server_running(serving->all.core) > 0 || ph_connections(&serving->all) > 0 ||
        ph_executing(&serving->all) > 0) {
        ph_log("commands did not come to an end in time; ending without them");
        _exit(EXIT_FAILURE);
    }
    ph_listeners_free(serving->listeners);
    ph_watch_free(serving->watch);
    ph_loops_free(serving->all.loops);
    ph_pool_free(serving->all.pool);
    ph_server_free(serving->all.core);
    pthread_mutex_destroy(&serving->mutex);
}

/* ---- The start ------------------------------------------------------------- */

static gboolean open_stores(struct serving *serving, GError **error)
{
    const GPtrArray *exports = serving->config->exports;

    serving->exports = g_new0(struct ph_server_export, exports->len);
    for (guint i = 0; i < exports->len; i++) {
        const struct ph_export_config *export = exports->pdata[i];
        g_autofree char *above = g_path_get_dirname(export->state_dir);
        struct ph_posix_options options = {
            .directory = export->directory,
            .no_journal = serving->config->no_journal,
            .state_dir = export->state_dir,
            .read_only = export->read_only,
            .size_limit = export->size_limit,
            .stores = exports->len,
        };

        if (g_mkdir_with_parents(above, 0700) != 0) {
            g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED,
                        "cannot make the state directory %s: %s; give another one with --state-dir", above,
                        g_strerror(errno));
            return FALSE;
        }
        serving->exports[i].store = ph_posix_store_open(&options, error);
        if (serving->exports[i].store == NULL)
            return FALSE;
        serving->open_stores++;
        serving->exports[i].name = export->name;
        serving->exports[i].read_only = export->read_only;
    }
    return TRUE;
}

/* Clients that open a session from now on are told whether others' changes are noticed. */
static void tell_watched(struct serving *serving, size_t export_index)
{
    bool watched = ph_watch_active(serving->watch, export_index);

    pthread_mutex_lock(&serving->mutex);
    serving->exports[export_index].watched = watched;
    pthread_mutex_unlock(&serving->mutex);
}

static void on_changed_outside(void *data, size_t export_index, uint64_t object)
{
    struct serving *serving = data;
    struct ph_actions actions = {0};

    if (object == 0)
        tell_watched(serving, export_index);
    ph_server_changed_outside(serving->all.core, export_index, object, &actions);
    ph_perform(&serving->all, &actions, FALSE);
}

static void watch_exports(struct serving *serving)
{
    g_autofree struct ph_watch_export *exports = g_new0(struct ph_watch_export, serving->open_stores);

    for (guint i = 0; i < serving->open_stores; i++) {
        const struct ph_export_config *export = serving->config->exports->pdata[i];

        exports[i] = (struct ph_watch_export){export->name, export->directory, serving->exports[i].store};
    }
    serving->watch = ph_watch_new(exports, serving->open_stores, on_changed_outside, serving);
    for (guint i = 0; i < serving->open_stores; i++)
        tell_watched(serving, i);
    ph_watch_start(serving->watch);
}

/* Time passes for leases. */
static gboolean tick(gpointer data)
{
    struct serving *serving = data;
    struct ph_actions actions = {0};

    ph_server_tick(serving->all.core, (uint64_t) g_get_monotonic_time() / 1000, &actions);
    ph_perform(&serving->all, &actions, FALSE);
    return G_SOURCE_CONTINUE;
}

static void start(struct serving *serving)
{
    const struct ph_server_guard guard = {guard_enter, guard_leave, &serving->mutex};
    unsigned workers = serving->config->workers;
    uint64_t seed = 0;

    if (workers == 0)
        workers = MIN(g_get_num_processors(), WORKERS_DEFAULT_MAX);
    if (getrandom(&seed, sizeof(seed), 0) != (ssize_t) sizeof(seed))
        g_error("the system gives no random numbers: %s", g_strerror(errno));
    pthread_mutex_init(&serving->mutex, NULL);
    serving->all.core = ph_server_new(serving->exports, serving->open_stores, &guard, seed);
    ph_server_leases_last(serving->all.core, serving->config->lease_time_s * 1000);
    serving->all.pool = ph_pool_new(POOL_THREADS_MAX + workers);
    serving->all.loops = ph_loops_new(workers, serving->all.pool, ph_connection_run);
    tick(serving); /* what happens from now on is dated by it */
    if (!serving->config->no_watch)
        watch_exports(serving);
}

/* The line that says where to connect to; scripts read it. */
static void say_ready(struct serving *serving)
{
    g_autoptr(GString) line = g_string_new("pohmel-server: ready, exporting ");
    g_autofree char *addresses = ph_listeners_text(serving->listeners);

    for (guint i = 0; i < serving->config->exports->len; i++) {
        const struct ph_export_config *export = serving->config->exports->pdata[i];

        g_string_append_printf(line, "%s%s=%s", i == 0 ? "" : ", ", export->name, export->directory);
    }
    printf("%s on %s\n", line->str, addresses);
    fflush(stdout);
    ph_notify("READY=1");
}

static void run(struct serving *serving)
{
    guint terminate = g_unix_signal_add(SIGTERM, on_signal, serving);
    guint interrupt = g_unix_signal_add(SIGINT, on_signal, serving);
    guint ticks = g_timeout_add(TICK_MS, tick, serving);

    serving->loop = g_main_loop_new(NULL, FALSE);
    say_ready(serving);
    g_main_loop_run(serving->loop);
    g_source_remove(terminate);
    g_source_remove(interrupt);
    g_source_remove(ticks);
    g_main_loop_unref(serving->loop);
}

gboolean ph_serve(const struct ph_config *config, GError **error)
{
    struct serving serving = {.config = config};
    gboolean ok = open_stores(&serving, error);

    if (ok) {
        start(&serving);
        serving.listeners = ph_listeners_new(config, &serving.all, error);
        ok = serving.listeners != NULL;
        if (ok) {
            serving.control = ph_control_socket_new(config, serving.exports, &serving.all);
            run(&serving);
        }
        take_down(&serving);
    }
    free_stores(&serving);
    if (ok)
        ph_log("ended");
    return ok;
}
