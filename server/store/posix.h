/* The default store: a plain directory on any filesystem, shared with the
 * server's own users. Files stay files. docs/architecture.md, "Store". */
#ifndef PH_SERVER_STORE_POSIX_H
#define PH_SERVER_STORE_POSIX_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "server/store/store.h"

struct ph_posix_options {
    const char *directory; /* what is exported */
    const char *state_dir; /* made where it is missing (mode 0700); not inside the directory */
    bool read_only;
    uint64_t size_limit;  /* bytes that the export may hold; 0 for what the filesystem holds */
    uint32_t stores;      /* that share this program's descriptors; 0 for this one alone */
    bool no_journal;      /* a server that is killed is not to know what it was doing: to compare */
    uint32_t objects_max; /* objects kept in memory without being in use; 0 for a million */
};

/* Opens the store and whatever of it the last run left behind. The caller frees
 * it with store->free. NULL with ERROR: one line that says what to do (directory
 * missing, not a directory, not readable; state directory inside of it, in use by another
 * server, not writable). As root the store acts with the ids of each caller,
 * else everything is done as the server's user. */
struct ph_store *ph_posix_store_open(const struct ph_posix_options *options, GError **error);

/* Where OBJECT of STORE (of ph_posix_store_open) lies, as far as is known: one of its paths from the exported
 * directory, which is "/", ended by NUL, into OUT of SIZE bytes. False, with OUT empty, where none is known
 * or it does not fit. Any thread; waits for no disk. */
bool ph_posix_path(struct ph_store *store, uint64_t object, char *out, size_t size);

/* The object that clients of STORE (of ph_posix_store_open) know for the file INO of
 * device DEV (as of makedev), for whoever learns that others changed it. 0: no client can have heard of it,
 * unless a command that looked at it before the change is still about to enter
 * it. Where memory once was too small for all objects, the answer may be an id that nobody knows.
 * Any thread; never waits for a disk, but for its cache of the database. */
uint64_t ph_posix_outside(struct ph_store *store, uint64_t dev, uint64_t ino);

#endif
