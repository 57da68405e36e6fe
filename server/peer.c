#include "server/peer.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

/* Told apart by the family in the high bits; what follows fits below, but for the first two bytes of an IPv6
 * network, which are mixed in. */
enum { FAMILY_SHIFT = 56, IPV6_NETWORK_BYTES = 8 };

static uint64_t of_ipv6(const struct in6_addr *address)
{
    uint64_t network;

    if (IN6_IS_ADDR_V4MAPPED(address)) {
        uint32_t v4;

        memcpy(&v4, &address->s6_addr[12], sizeof(v4));
        return (uint64_t) AF_INET << FAMILY_SHIFT | v4;
    }
    memcpy(&network, address->s6_addr, IPV6_NETWORK_BYTES);
    return (uint64_t) AF_INET6 << FAMILY_SHIFT ^ network;
}

static uint64_t of_user(int fd)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
        return 0;
    return (uint64_t) AF_UNIX << FAMILY_SHIFT | peer.uid;
}

uint64_t ph_peer_of(int fd)
{
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof(address);

    if (getpeername(fd, (struct sockaddr *) &address, &len) != 0)
        return 0;
    switch (address.ss_family) {
    case AF_INET:
        return (uint64_t) AF_INET << FAMILY_SHIFT | ((struct sockaddr_in *) &address)->sin_addr.s_addr;
    case AF_INET6:
        return of_ipv6(&((struct sockaddr_in6 *) &address)->sin6_addr);
    case AF_UNIX:
        return of_user(fd);
    default:
        return 0;
    }
}
