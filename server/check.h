/* pohmel-server --check: looks through what a server that is stopped left. */
#ifndef PH_SERVER_CHECK_H
#define PH_SERVER_CHECK_H

#include "server/config.h"

/* Checks the state directory of each export against the export, says what it finds on standard output, a line
 * each, and with CONFIG->repair puts right what can be. Returns the exit code: 0 where all is
 * well or was put right, 1 where not. FALSE in OK with ERROR where it could not look. */
int ph_check(const struct ph_config *config, gboolean *ok, GError **error);

#endif
