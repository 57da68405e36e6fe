/* The sockets on which clients are waited for. */
#ifndef PH_SERVER_LISTENERS_H
#define PH_SERVER_LISTENERS_H

#include <glib.h>

#include "server/config.h"
#include "server/connection.h"

struct ph_listeners;

/* Listens where CONFIG says (127.0.0.1 and, where the machine has it, ::1 when
 * it says nothing), on the thread-default main context, and hands clients
 * to ph_connection_accept. NULL with ERROR. */
struct ph_listeners *ph_listeners_new(const struct ph_config *config, struct ph_switch *all, GError **error);

/* "127.0.0.1:1025, [::1]:1025", with the ports that there are. Free with g_free. */
char *ph_listeners_text(const struct ph_listeners *listeners);

/* Stops listening; the files of unix sockets are removed. NULL is fine. */
void ph_listeners_free(struct ph_listeners *listeners);

#endif
