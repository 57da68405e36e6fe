/* The tables of the state database and the statements on them. One struct is
 * one connection; it is used by one thread at a time. */
#ifndef PH_SERVER_STORE_STATE_SQL_H
#define PH_SERVER_STORE_STATE_SQL_H

#include "server/store/state_db.h"

struct ph_state_sql;

/* What the database knew when it was opened. */
struct ph_state_start {
    uint64_t epoch, next_id;
    uint64_t recent; /* number of the last change that it has (state_recent.h) */
    uint8_t volume[16];
    bool has_rows;
};

/* Connects to DIRECTORY/pohmel.db; CREATE makes it and its tables where they
 * are missing. NULL with ERROR in words. */
struct ph_state_sql *ph_state_sql_open(const char *directory, bool create, GError **error);
void ph_state_sql_close(struct ph_state_sql *sql);

/* Counts this start, chooses the volume's identity at the first one, warns when
 * the state belongs to another directory than ROOT. False with ERROR. */
bool ph_state_sql_start(struct ph_state_sql *sql, const struct ph_state_root *root,
                        struct ph_state_start *start, GError **error);

/* A transaction; DURABLE: it survives the loss of power, and so do all before
 * it. `end` commits when GOOD, else rolls back; the result is whether all went well. */
bool ph_state_sql_begin(struct ph_state_sql *sql, bool durable);
bool ph_state_sql_end(struct ph_state_sql *sql, bool good, bool durable);

/* Changes, within a transaction. False where the database failed; it was told to the log. */
bool ph_state_sql_put(struct ph_state_sql *sql, const struct ph_state_row *row);
/* Removing what is not there is fine. */
bool ph_state_sql_remove(struct ph_state_sql *sql, uint64_t id);
/* Counters are named "epoch", "next_id", "recent" and "syncs". */
uint64_t ph_state_sql_counter_get(struct ph_state_sql *sql, const char *name, uint64_t missing);
bool ph_state_sql_counter_set(struct ph_state_sql *sql, const char *name, uint64_t value);

/* The row of an object, by its id or by where it is. False: none, or the database failed. */
bool ph_state_sql_by_id(struct ph_state_sql *sql, uint64_t id, struct ph_state_row *row);
/* DEV is 0 for the device of the export's root. */
bool ph_state_sql_by_inode(struct ph_state_sql *sql, uint64_t dev, uint64_t ino, struct ph_state_row *row);

#endif
