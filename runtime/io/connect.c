#include "runtime/io/address.h"

#include <errno.h>
#include <gio/gio.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "runtime/io/socket.h"

/* Pause before asking again where a unix socket's queue of newcomers is full. */
enum { QUEUE_FULL_PAUSE_US = 10000 };

/* Waits until FD is connected or DEADLINE_US passes. Returns 0 or an errno. */
static int wait_connected(int fd, gint64 deadline_us)
{
    for (;;) {
        gint64 left_us = deadline_us - g_get_monotonic_time();
        if (left_us <= 0)
            return ETIMEDOUT;
        struct pollfd poll_fd = {.fd = fd, .events = POLLOUT};
        int count = poll(&poll_fd, 1, (int) (left_us / 1000) + 1);
        if (count < 0 && errno != EINTR)
            return errno;
        if (count > 0)
            break;
    }
    int error = 0;
    socklen_t len = sizeof error;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 ? error : errno;
}

static int connect_by(int fd, const struct sockaddr *address, socklen_t len, gint64 deadline_us)
{
    while (connect(fd, address, len) != 0) {
        if (errno == EINPROGRESS || errno == EINTR)
            return wait_connected(fd, deadline_us);
        if (errno != EAGAIN)
            return errno;
        if (g_get_monotonic_time() >= deadline_us)
            return ETIMEDOUT;
        g_usleep(QUEUE_FULL_PAUSE_US);
    }
    return 0;
}

/* A socket connected to ADDRESS, or -1 with the errno in *WHY. */
static int connect_one(const struct sockaddr *address, socklen_t len, gint64 deadline_us, int *why)
{
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        *why = errno;
        return -1;
    }
    ph_socket_set_buffers(fd);
    *why = connect_by(fd, address, len, deadline_us);
    if (*why != 0) {
        close(fd);
        return -1;
    }
    if (address->sa_family != AF_UNIX)
        ph_socket_set_tcp(fd);
    return fd;
}

/* "cannot reach WHERE: WHY", with a hint where there is a usual cause. */
static void set_unreachable(const struct ph_address *address, int why, guint timeout_ms, GError **error)
{
    g_autofree char *where = ph_address_text(address);
    g_autofree char *words = g_strdup(g_strerror(why));
    const char *hint = "";
    words[0] = g_ascii_tolower(words[0]);
    if (why == ECONNREFUSED || (why == ENOENT && address->path != NULL))
        hint = "; is pohmel-server running there?";
    if (why == ETIMEDOUT) {
        g_free(words);
        words = g_strdup_printf("no answer within %.3g s", timeout_ms / 1000.0);
        hint = "; is the address right, and does every firewall on the way let it through?";
    }
    g_set_error(error, G_IO_ERROR, (int) g_io_error_from_errno(why), "cannot reach %s: %s%s", where, words,
                hint);
}

static int connect_unix(const struct ph_address *address, guint timeout_ms, GError **error)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    g_strlcpy(name.sun_path, address->path, sizeof name.sun_path);
    int why = 0;
    int fd = connect_one((struct sockaddr *) &name, sizeof name,
                         g_get_monotonic_time() + timeout_ms * G_GINT64_CONSTANT(1000), &why);
    if (fd < 0)
        set_unreachable(address, why, timeout_ms, error);
    return fd;
}

static struct addrinfo *resolve(const struct ph_address *address, GError **error)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *found = NULL;
    g_autofree char *port = g_strdup_printf("%u", address->port);
    int result = getaddrinfo(address->host != NULL ? address->host : "localhost", port, &hints, &found);
    if (result == 0)
        return found;
    g_autofree char *where = ph_address_text(address);
    if (result == EAI_NONAME || result == EAI_NODATA)
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_HOST_NOT_FOUND,
                    "cannot reach %s: unknown host; is it spelled right?", where);
    else
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_HOST_NOT_FOUND,
                    "cannot reach %s: the name cannot be looked up: %s", where,
                    result == EAI_SYSTEM ? g_strerror(errno) : gai_strerror(result));
    return NULL;
}

int ph_connect(const struct ph_address *address, guint timeout_ms, GError **error)
{
    if (address->path != NULL)
        return connect_unix(address, timeout_ms, error);
    struct addrinfo *found = resolve(address, error);
    if (found == NULL)
        return -1;
    guint left = 0;
    for (struct addrinfo *one = found; one != NULL; one = one->ai_next)
        left++;
    /* What is left of the time is shared among the addresses left: a dead one
     * must not use up the time of a live one behind it. */
    gint64 deadline_us = g_get_monotonic_time() + timeout_ms * G_GINT64_CONSTANT(1000);
    int fd = -1, why = 0;
    for (struct addrinfo *one = found; one != NULL && fd < 0; one = one->ai_next, left--) {
        gint64 now_us = g_get_monotonic_time();
        fd = connect_one(one->ai_addr, one->ai_addrlen, now_us + (deadline_us - now_us) / left, &why);
    }
    freeaddrinfo(found);
    if (fd < 0)
        set_unreachable(address, why, timeout_ms, error);
    return fd;
}
