/* Looks through the state of a store that nobody serves: the database, the ids that it binds, the journal,
 * what is kept in the hidden directory. pohmel-server(8), --check. */
#ifndef PH_SERVER_STORE_POSIX_CHECK_H
#define PH_SERVER_STORE_POSIX_CHECK_H

#include <glib.h>
#include <stdbool.h>

struct ph_posix_check {
    const char *directory, *state_dir;
    bool repair;                               /* put right what can be without losing anything */
    void (*say)(void *data, const char *line); /* a finding in words, without an end of line */
    void *data;
    unsigned wrong, repaired; /* found by `ph_posix_check` */
};

/* False with ERROR where it could not look: no state there, in use by a server, not readable. Findings are no
 * errors. */
bool ph_posix_check(struct ph_posix_check *check, GError **error);

#endif
