#include "server/listeners.h"

#include <errno.h>
#include <gio/gio.h>
#include <glib-unix.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "runtime/base/limits.h"
#include "runtime/io/address.h"
#include "server/log.h"

enum {
    ACCEPTS_PER_TURN = 64, /* clients taken before other sources get their turn */
    ACCEPT_PAUSE_MS = 100, /* after the system had nothing left to accept with */
};

struct ph_listeners {
    struct ph_switch *all;
    GArray *sockets; /* of int */
    GPtrArray *sources;
};

static gboolean on_client(gint fd, GIOCondition condition, gpointer data);

static void add_source(struct ph_listeners *listeners, int fd)
{
    GSource *source = g_unix_fd_source_new(fd, G_IO_IN);

    g_source_set_callback(source, G_SOURCE_FUNC(on_client), listeners, NULL);
    g_source_attach(source, g_main_context_get_thread_default());
    g_ptr_array_add(listeners->sources, source);
}

static void drop_source(void *source)
{
    g_source_destroy(source);
    g_source_unref(source);
}

/* Accepting is tried again after a pause: a loop that found the same client
 * waiting again and again would do nothing else. */
static gboolean resume(gpointer data)
{
    struct ph_listeners *listeners = data;

    g_ptr_array_set_size(listeners->sources, 0);
    for (guint i = 0; i < listeners->sockets->len; i++)
        add_source(listeners, g_array_index(listeners->sockets, int, i));
    return G_SOURCE_REMOVE;
}

static void pause_accepting(struct ph_listeners *listeners)
{
    GSource *source = g_timeout_source_new(ACCEPT_PAUSE_MS);

    g_ptr_array_set_size(listeners->sources, 0);
    g_source_set_callback(source, resume, listeners, NULL);
    g_source_attach(source, g_main_context_get_thread_default());
    g_ptr_array_add(listeners->sources, source);
}

static gboolean on_client(gint fd, GIOCondition condition, gpointer data)
{
    struct ph_listeners *listeners = data;

    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        int client = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (client >= 0) {
            ph_connection_accept(listeners->all, client);
        } else if (errno == EAGAIN) {
            break;
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            ph_log("cannot take in a client: %s", g_strerror(errno));
            pause_accepting(listeners);
            return G_SOURCE_REMOVE;
        }
        /* Any other error belongs to a client that is gone already. */
    }
    return G_SOURCE_CONTINUE;
}

/* Loopback, in both families where there are two. */
static gboolean listen_default(struct ph_listeners *listeners, GError **error)
{
    struct ph_address four = {.host = (char *) "127.0.0.1", .port = PH_DEFAULT_PORT};
    struct ph_address six = {.host = (char *) "::1", .port = PH_DEFAULT_PORT};
    g_autoptr(GError) wrong = NULL;

    if (!ph_listen(&four, listeners->sockets, error))
        return FALSE;
    if (!ph_listen(&six, listeners->sockets, &wrong))
        ph_log("not listening on ::1: %s", wrong->message);
    return TRUE;
}

static gboolean listen_all(struct ph_listeners *listeners, const struct ph_config *config, GError **error)
{
    if (config->listen->len == 0)
        return listen_default(listeners, error);
    for (guint i = 0; i < config->listen->len; i++) {
        struct ph_address address = {0};
        gboolean ok = ph_address_parse(config->listen->pdata[i], PH_DEFAULT_PORT, &address, error) &&
                      ph_listen(&address, listeners->sockets, error);

        ph_address_clear(&address);
        if (!ok)
            return FALSE;
    }
    return TRUE;
}

struct ph_listeners *ph_listeners_new(const struct ph_config *config, struct ph_switch *all, GError **error)
{
    struct ph_listeners *listeners = g_new0(struct ph_listeners, 1);

    listeners->all = all;
    listeners->sockets = g_array_new(FALSE, FALSE, sizeof(int));
    listeners->sources = g_ptr_array_new_with_free_func(drop_source);
    if (!listen_all(listeners, config, error)) {
        ph_listeners_free(listeners);
        return NULL;
    }
    resume(listeners);
    return listeners;
}

static char *socket_text(int fd)
{
    struct sockaddr_storage storage;
    socklen_t size = sizeof(storage);
    g_autoptr(GSocketAddress) address = NULL;

    if (getsockname(fd, (struct sockaddr *) &storage, &size) != 0)
        return g_strdup("?");
    if (storage.ss_family == AF_UNIX)
        return g_strdup_printf("unix:%s", ((struct sockaddr_un *) &storage)->sun_path);
    address = g_socket_address_new_from_native(&storage, size);
    return g_socket_connectable_to_string(G_SOCKET_CONNECTABLE(address));
}

char *ph_listeners_text(const struct ph_listeners *listeners)
{
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < listeners->sockets->len; i++) {
        g_autofree char *one = socket_text(g_array_index(listeners->sockets, int, i));

        g_string_append_printf(text, "%s%s", i == 0 ? "" : ", ", one);
    }
    return g_string_free(text, FALSE);
}

static void close_socket(int fd)
{
    struct sockaddr_un address = {0};
    socklen_t size = sizeof(address);

    if (getsockname(fd, (struct sockaddr *) &address, &size) == 0 && address.sun_family == AF_UNIX)
        unlink(address.sun_path);
    close(fd);
}

void ph_listeners_free(struct ph_listeners *listeners)
{
    if (listeners == NULL)
        return;
    g_ptr_array_unref(listeners->sources);
    for (guint i = 0; i < listeners->sockets->len; i++)
        close_socket(g_array_index(listeners->sockets, int, i));
    g_array_unref(listeners->sockets);
    g_free(listeners);
}
