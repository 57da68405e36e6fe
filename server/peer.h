/* Who is at the other end of a socket, as far as limits are concerned. */
#ifndef PH_SERVER_PEER_H
#define PH_SERVER_PEER_H

#include <stdint.h>

/* A number that sockets FD from one machine have in common (of IPv6: from one network of 64 bits), or, for
 * unix sockets, those of one user. 0 where it cannot be told. */
uint64_t ph_peer_of(int fd);

#endif
