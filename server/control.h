/* The socket in the state directory of each export over which pohmelctl asks the server
 * (runtime/base/control_socket.h). One thread answers, one client at a time; who does not read its answer is
 * left. */
#ifndef PH_SERVER_CONTROL_H
#define PH_SERVER_CONTROL_H

#include "server/config.h"
#include "server/connection.h"
#include "server/core/server_core.h"

struct ph_control_socket;

/* Listens for CONFIG's exports, whose stores are those of EXPORTS in the same order; all of it, and ALL,
 * lives longer. What cannot be listened on is said in a line of the log. Never NULL. */
struct ph_control_socket *ph_control_socket_new(const struct ph_config *config,
                                                const struct ph_server_export *exports,
                                                struct ph_switch *all);

/* Ends the thread, whatever it is doing, and removes the sockets. NULL is fine. */
void ph_control_socket_free(struct ph_control_socket *control);

#endif
