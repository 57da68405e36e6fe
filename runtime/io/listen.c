#include "runtime/io/address.h"

#include <errno.h>
#include <gio/gio.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "runtime/io/socket.h"

static void set_error(const struct ph_address *address, int why, GError **error)
{
    g_autofree char *where = ph_address_text(address);
    const char *hint = "";
    if (why == EADDRINUSE)
        hint = "; is another pohmel-server running?";
    else if (why == EACCES && address->path == NULL)
        hint = "; ports below 1024 need root or CAP_NET_BIND_SERVICE";
    else if (why == EADDRNOTAVAIL)
        hint = "; this machine has no such address";
    g_autofree char *words = g_strdup(g_strerror(why));
    words[0] = g_ascii_tolower(words[0]);
    g_set_error(error, G_IO_ERROR, (int) g_io_error_from_errno(why), "cannot listen on %s: %s%s", where,
                words, hint);
}

/* Returns 0 or an errno. */
static int bind_and_listen(int fd, const struct sockaddr *address, socklen_t len)
{
    return bind(fd, address, len) == 0 && listen(fd, SOMAXCONN) == 0 ? 0 : errno;
}

/* Whether nobody accepts on the socket NAME any more. 0, or the errno that
 * says why it cannot be replaced. */
static int check_stale(const struct sockaddr_un *name)
{
    struct stat status;
    if (lstat(name->sun_path, &status) != 0)
        return errno == ENOENT ? 0 : errno;
    if (!S_ISSOCK(status.st_mode))
        return EEXIST;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    int why = connect(fd, (const struct sockaddr *) name, sizeof *name) == 0 ? 0 : errno;
    close(fd);
    return why == ECONNREFUSED || why == ENOENT ? 0 : EADDRINUSE;
}

static gboolean listen_unix(const struct ph_address *address, GArray *sockets, GError **error)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    g_strlcpy(name.sun_path, address->path, sizeof name.sun_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int why = fd < 0 ? errno : 0;
    if (why == 0) {
        ph_socket_set_buffers(fd);
        why = bind_and_listen(fd, (struct sockaddr *) &name, sizeof name);
    }
    if (why == EADDRINUSE && (why = check_stale(&name)) == 0) {
        unlink(name.sun_path);
        why = bind_and_listen(fd, (struct sockaddr *) &name, sizeof name);
    }
    if (why != 0) {
        if (fd >= 0)
            close(fd);
        set_error(address, why, error);
        return FALSE;
    }
    g_array_append_val(sockets, fd);
    return TRUE;
}

/* A listening socket, or -1 with the errno in *WHY. */
static int listen_one(const struct addrinfo *one, int *why)
{
    int on = 1;
    int fd = socket(one->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        *why = errno;
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (one->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    ph_socket_set_buffers(fd);
    *why = bind_and_listen(fd, one->ai_addr, one->ai_addrlen);
    if (*why != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* The port that the system chose for FD where none was named. */
static in_port_t chosen_port(int fd)
{
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof address;
    getsockname(fd, (struct sockaddr *) &address, &len);
    return address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *) &address)->sin6_port
                                         : ((struct sockaddr_in *) &address)->sin_port;
}

static void set_port(struct sockaddr *address, in_port_t port)
{
    if (address->sa_family == AF_INET6)
        ((struct sockaddr_in6 *) address)->sin6_port = port;
    else
        ((struct sockaddr_in *) address)->sin_port = port;
}

/* Listens on all of FOUND. Returns 0, or an errno with SOCKETS perhaps longer. */
static int listen_all(const struct ph_address *address, struct addrinfo *found, GArray *sockets)
{
    guint before = sockets->len;
    int skipped = 0;
    for (struct addrinfo *one = found; one != NULL; one = one->ai_next) {
        if (address->port == 0 && sockets->len > before)
            set_port(one->ai_addr, chosen_port(g_array_index(sockets, int, before)));
        int why = 0;
        int fd = listen_one(one, &why);
        if (fd >= 0)
            g_array_append_val(sockets, fd);
        else if (address->host == NULL && (why == EAFNOSUPPORT || why == EADDRNOTAVAIL))
            skipped = why; /* a machine without IPv6 (or IPv4) still has the other */
        else
            return why;
    }
    return sockets->len > before ? 0 : skipped;
}

gboolean ph_listen(const struct ph_address *address, GArray *sockets, GError **error)
{
    if (address->path != NULL)
        return listen_unix(address, sockets, error);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV},
                    *found = NULL;
    g_autofree char *port = g_strdup_printf("%u", address->port);
    int result = getaddrinfo(address->host, port, &hints, &found);
    if (result != 0) {
        g_autofree char *where = ph_address_text(address);
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_HOST_NOT_FOUND, "cannot listen on %s: %s", where,
                    result == EAI_SYSTEM ? g_strerror(errno) : gai_strerror(result));
        return FALSE;
    }
    guint before = sockets->len;
    int why = listen_all(address, found, sockets);
    freeaddrinfo(found);
    if (why == 0)
        return TRUE;
    for (guint i = before; i < sockets->len; i++)
        close(g_array_index(sockets, int, i));
    g_array_set_size(sockets, before);
    set_error(address, why, error);
    return FALSE;
}
