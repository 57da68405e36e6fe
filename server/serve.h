/* A server from start to end: stores, core, loops, listeners, signals. */
#ifndef PH_SERVER_SERVE_H
#define PH_SERVER_SERVE_H

#include <glib.h>

#include "server/config.h"

/* Serves what CONFIG (checked) says until SIGTERM or SIGINT, then ends in
 * order: commands under way are finished and answered, clients are told, what
 * was answered is made stable. A second signal ends the program at once. FALSE with
 * ERROR, one line, when serving could not begin. */
gboolean ph_serve(const struct ph_config *config, GError **error);

#endif
