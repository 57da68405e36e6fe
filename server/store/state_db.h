/* What a store must remember across restarts: which object has which id, what
 * ids are given out, what the volume is. A SQLite database in the state
 * directory; changes are queued and committed in batches by one thread, so that
 * no command waits for it but SYNC. A change that was queued survives the end of
 * the process, however it ends (state_recent.h), and that of the machine when it
 * is durable. docs/decisions/0003-object-ids.md.
 * All functions but open and close may be called from any thread. */
#ifndef PH_SERVER_STORE_STATE_DB_H
#define PH_SERVER_STORE_STATE_DB_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "runtime/base/limits.h"

struct ph_state_db;

/* An object as it is remembered. DEV is 0 for the device of the export's root. */
struct ph_state_row {
    uint64_t id, dev, ino, btime_ns, parent;
    char name[PH_NAME_MAX_BYTES + 1];
};

/* What an export is known by, to tell when a state directory is used for another one. */
struct ph_state_root {
    const char *path;
    uint64_t ino, btime_ns;
};

/* Opens DIRECTORY/pohmel.db, made where it is missing, counts this start and
 * makes that durable. NULL with ERROR in words. */
struct ph_state_db *ph_state_db_open(const char *directory, const struct ph_state_root *root, GError **error);

/* Commits what is queued, makes it durable, and frees DB. NULL is fine. */
void ph_state_db_close(struct ph_state_db *db);

/* Number of this start, from 1. */
uint64_t ph_state_db_epoch(const struct ph_state_db *db);

/* Number of the start since which nothing was lost that was answered: this one, unless it CONTINUED what the
 * one before did. To be asked once, at the start. */
uint64_t ph_state_db_unbroken(struct ph_state_db *db, bool continued);

/* 16 random bytes, chosen when the state directory was first used. */
const uint8_t *ph_state_db_volume(const struct ph_state_db *db);

/* Remembers ROW (queued); a row with the same id, or the same dev and ino, is replaced. */
void ph_state_db_put(struct ph_state_db *db, const struct ph_state_row *row);

/* Forgets the object ID (queued). */
void ph_state_db_remove(struct ph_state_db *db, uint64_t id);

/* Waits while far too much is queued; makers of objects call it without a lock.
 * False: there is no room for more, and the database fails (its disk is full, say). */
bool ph_state_db_throttle(struct ph_state_db *db);

/* Finds an object, queued ones included. False where it is not known. Opens no
 * file, so that a thread under foreign ids may ask. */
bool ph_state_db_by_id(struct ph_state_db *db, uint64_t id, struct ph_state_row *row);
bool ph_state_db_by_inode(struct ph_state_db *db, uint64_t dev, uint64_t ino, struct ph_state_row *row);

/* COUNT ids that are never given out again, durable before they are told.
 * Returns the first, 0 where there are none left or the database failed. Waits for the disk. */
uint64_t ph_state_db_reserve(struct ph_state_db *db, uint64_t count);

/* The next id of all that was not reserved yet. */
uint64_t ph_state_db_next(struct ph_state_db *db);

/* SYNC: everything queued so far shall become durable. `begin` starts that and
 * returns a ticket, `wait` waits for it; false where the database failed.
 * FLUSHED is the filesystem of which the caller is about to fsync something (0: of none): where the
 * state is there too, it is only written by `begin`, and RIDES says so: it becomes durable by the flush
 * of the device that comes with that fsync. `rode` tells that it was successful, and `wait` has nothing to
 * wait for. */
uint64_t ph_state_db_sync_begin(struct ph_state_db *db, dev_t flushed, bool *rides);
void ph_state_db_sync_rode(struct ph_state_db *db, uint64_t ticket);
bool ph_state_db_sync_wait(struct ph_state_db *db, uint64_t ticket);

#endif
