/* The last changes of the state database, kept outside of the server's memory
 * until they are committed: a server that is killed finds them when it starts
 * again. They survive the loss of power as far as they were written (`span`) and
 * the device was told to write its cache out afterwards. Two files in the state
 * directory, recent.0 and recent.1, take turns: one is appended to until it is
 * half full, and emptied when the database has it and is durable. Changes are numbered; the
 * database notes with each commit up to which one it has them ("recent").
 * No locks of its own: the caller makes one call at a time, but for `span_write`.
 * docs/decisions/0003-object-ids.md. */
#ifndef PH_SERVER_STORE_STATE_RECENT_H
#define PH_SERVER_STORE_STATE_RECENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "server/store/state_db.h"

struct ph_state_recent;

struct ph_state_change {
    uint64_t number;
    bool removed; /* only the id of the row counts */
    struct ph_state_row row;
};

/* The number below all changes that the start EPOCH makes, and above those of earlier
 * ones: what an earlier start left further on in a file is not taken for newer. */
static inline uint64_t ph_state_recent_first(uint64_t epoch)
{
    return epoch << 40;
}

/* Takes a change; false ends the reading. */
typedef bool (*ph_state_change_fn)(const struct ph_state_change *change, void *data);

/* Reads what stands in the files of DIRECTORY and has a number above AFTER, in the order of
 * the numbers. A damaged or half-written change ends the reading of its file; so does one
 * that was written for another volume than VOLUME (16 bytes). False when FN answered false. */
bool ph_state_recent_read(const char *directory, const uint8_t *volume, uint64_t after, ph_state_change_fn fn,
                          void *data);

/* Makes both files empty, of BYTES bytes each, for the changes of the start EPOCH. Where that cannot be
 * done it says so in the log; changes are numbered then, and not kept. Never NULL. */
struct ph_state_recent *ph_state_recent_open(const char *directory, size_t bytes, const uint8_t *volume,
                                             uint64_t epoch);

/* The files stay as they are. NULL is fine. */
void ph_state_recent_close(struct ph_state_recent *recent);

/* Numbers a change and keeps it. False: it is not kept, there is no room or there are no files. */
bool ph_state_recent_append(struct ph_state_recent *recent, const struct ph_state_row *row, bool removed);

/* Whether appending should wait for the next `take`. */
bool ph_state_recent_crowded(const struct ph_state_recent *recent);

/* All that was appended is about to be committed. Returns the number of the last change. FULL: what follows
 * goes to the other file, and the commit has to be durable, with all before it; then `done` is to be called.
 */
uint64_t ph_state_recent_take(struct ph_state_recent *recent, bool *full);

/* All that was taken is committed and durable: the file that was full is emptied. Fine where none was. */
void ph_state_recent_done(struct ph_state_recent *recent);

/* The number of the last change. */
uint64_t ph_state_recent_number(const struct ph_state_recent *recent);

/* What is to be written for all changes so far to be on the disk, as soon as its cache is written out. */
struct ph_state_span {
    int fd;
    size_t from, to; /* bytes of the file */
    uint64_t number; /* of the last change in it */
    bool whole;      /* with the metadata of the file, once in a while */
    unsigned which;
    uint64_t round;
    size_t ready;
};

/* Fills in SPAN. False: that does not do, a durable commit is needed: changes found no room, the last of them
 * after DURABLE, or the other file is not emptied yet, or this one cannot be written to. */
bool ph_state_recent_span(struct ph_state_recent *recent, uint64_t durable, struct ph_state_span *span);
/* Writes it, and waits until the device has it, which may keep it in its cache. To be called without a lock,
 * by one thread at a time. False with errno. */
bool ph_state_span_write(const struct ph_state_span *span);
/* It was written. */
void ph_state_recent_written(struct ph_state_recent *recent, const struct ph_state_span *span);

/* Whether the files lie on the filesystem DEV. */
bool ph_state_recent_is_on(const struct ph_state_recent *recent, dev_t dev);

/* Whether what is allocated of the file FD stays allocated, so that it can be mapped. */
bool ph_state_allocation_lasts(int fd);

#endif
