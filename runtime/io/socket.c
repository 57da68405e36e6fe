#include "runtime/io/socket.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/un.h>

#include "runtime/base/limits.h"

static gboolean is_unix(int fd)
{
    int domain = 0;
    socklen_t len = sizeof domain;
    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_UNIX;
}

/* Asked for plainly, a size is cut to a small system-wide limit and ends TCP's
 * own growing; so TCP's is left alone where we may not go beyond the limit. */
static void set_buffer(int fd, int forced, int plain)
{
    int size = PH_SOCKET_BUFFER_BYTES;
    if (setsockopt(fd, SOL_SOCKET, forced, &size, sizeof size) != 0 && is_unix(fd))
        setsockopt(fd, SOL_SOCKET, plain, &size, sizeof size);
}

void ph_socket_set_buffers(int fd)
{
    set_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF);
    set_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF);
}

void ph_socket_set_tcp(int fd)
{
    int on = 1, timeout_ms = PH_PING_TIMEOUT_MS;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof timeout_ms);
}

static char *unix_text(const struct sockaddr_un *address, socklen_t len)
{
    gsize room = len > G_STRUCT_OFFSET(struct sockaddr_un, sun_path)
                     ? len - G_STRUCT_OFFSET(struct sockaddr_un, sun_path)
                     : 0;
    g_autofree char *path = g_strndup(address->sun_path, room);
    return g_strconcat("unix:", path, NULL);
}

char *ph_socket_peer_text(int fd)
{
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof address;
    if (getpeername(fd, (struct sockaddr *) &address, &len) != 0)
        return g_strdup("a peer that is gone");
    if (address.ss_family == AF_UNIX) {
        if (len <= G_STRUCT_OFFSET(struct sockaddr_un, sun_path)) { /* a client's socket has no name */
            len = sizeof address;
            getsockname(fd, (struct sockaddr *) &address, &len);
        }
        return unix_text((struct sockaddr_un *) &address, len);
    }
    char host[NI_MAXHOST], port[NI_MAXSERV];
    if (getnameinfo((struct sockaddr *) &address, len, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return g_strdup("a peer without an address");
    return g_strdup_printf(address.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}
