/* What every stream socket of ours is set to. Private to runtime/io. */
#ifndef PH_IO_SOCKET_H
#define PH_IO_SOCKET_H

#include <glib.h>
#include <sys/socket.h>

/* Buffers for a payload or two. Before connect or listen, so that TCP's window can follow. */
void ph_socket_set_buffers(int fd);

/* No delaying of small frames; a peer that does not acknowledge is given up after PH_PING_TIMEOUT_MS. */
void ph_socket_set_tcp(int fd);

/* "127.0.0.1:40312", "[::1]:40312", "unix:/run/x" (the own path where the peer has none). */
char *ph_socket_peer_text(int fd);

#endif
