/* The list of what it takes to undo the transaction of several commands that is being executed: a file in the
 * state directory ("undo"), to which an entry is added before each effect. A server that is killed finds it
 * at its next start; a torn entry at its end is of an effect that had not begun. One transaction at a time.
 * What the entries mean is up to posix_undo.h. docs/decisions/0016-several-commands.md. */
#ifndef PH_SERVER_STORE_UNDO_LOG_H
#define PH_SERVER_STORE_UNDO_LOG_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/limits.h"

enum ph_undo_kind {
    PH_UNDO_BEGIN = 1,  /* of which transaction it is */
    PH_UNDO_MADE,       /* the name was free, and gets a new object */
    PH_UNDO_LINKED,     /* the name was free, and gets an object that is there */
    PH_UNDO_TAKEN,      /* what had the name is kept aside */
    PH_UNDO_MOVED,      /* what had the name gets another one; or two names are exchanged */
    PH_UNDO_DATA,       /* old bytes and size of a file */
    PH_UNDO_ATTRIBUTES, /* mode, owner, times */
    PH_UNDO_XATTR,      /* value of an extended attribute, or that there was none */
    PH_UNDO_DONE,       /* the end mark: nothing is to be undone any more */
};

/* Bits of `flags`. */
enum {
    PH_UNDO_DIRECTORY = 1 << 0, /* TAKEN: with all that is below it */
    PH_UNDO_REPLACED = 1 << 1,  /* TAKEN: another object gets the name in the same moment */
    PH_UNDO_EXCHANGED = 1 << 2, /* MOVED */
    PH_UNDO_ABSENT = 1 << 3,    /* XATTR */
};

/* What a kind has no use for is 0. */
struct ph_undo_fixed {
    uint16_t kind, flags, name_len, to_name_len; /* lengths: given by `add` */
    uint32_t data_len, mode, uid, gid;
    uint64_t object, parent, to_parent;
    uint64_t dev, ino, btime_ns; /* identity of OBJECT */
    uint64_t number, size;       /* where bytes start; what is kept aside; size of the file */
    int64_t accessed_s, modified_s;
    uint32_t accessed_ns, modified_ns;
    uint64_t time_ns; /* since 1970, not after the effect */
};

struct ph_undo_entry {
    struct ph_undo_fixed fixed;
    char name[PH_NAME_MAX_BYTES + 1], to_name[PH_NAME_MAX_BYTES + 1];
    const uint8_t *data; /* DATA_LEN bytes; of an entry that was read: good until the next one is */
};

struct ph_undo_log;

/* Opens DIRECTORY/undo, made where it is missing, with what is in it. NULL with ERROR in words. */
struct ph_undo_log *ph_undo_log_open(const char *directory, GError **error);
void ph_undo_log_close(struct ph_undo_log *log); /* NULL is fine */

/* Puts ENTRY at the end. False with errno; nothing was added then. */
bool ph_undo_log_add(struct ph_undo_log *log, struct ph_undo_entry *entry);

/* Entries in it. */
size_t ph_undo_log_count(const struct ph_undo_log *log);

/* The entry INDEX. False where it cannot be read. */
bool ph_undo_log_get(struct ph_undo_log *log, size_t index, struct ph_undo_entry *entry);

/* The last entry goes: its effect was undone. False, and it stays, where it cannot be cut off. */
bool ph_undo_log_drop_last(struct ph_undo_log *log);

/* All of them go. False, and they stay, where they cannot be cut off. */
bool ph_undo_log_clear(struct ph_undo_log *log);

#endif
