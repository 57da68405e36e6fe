/* The list of what it takes to undo the transaction of several commands that is being executed: a file in the
 * state directory ("undo"), to which an entry is added before each effect, and which is stable before that
 * effect where the loss of power would need it. A server that comes after one that was killed, or after the
 * loss of power, finds it; a torn entry at its end is of an effect that had not begun. One transaction at a
 * time. Before the list stand the marks of those that are over: one sector for each, which is written whole
 * or not at all; a transaction is done, or undone, when its mark is stable, and its entries mean nothing
 * then. What the entries mean is up to posix_undo.h. docs/decisions/0016-several-commands.md. */
#ifndef PH_SERVER_STORE_UNDO_LOG_H
#define PH_SERVER_STORE_UNDO_LOG_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

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

/* Of which client's it was. */
struct ph_undo_name {
    uint8_t client[PH_CLIENT_ID_BYTES]; /* all 0: of nobody who could ask for it again */
    uint64_t session;                   /* its number at the client */
    uint32_t slot, sequence, request_crc;
    uint32_t spare;
    uint64_t key; /* chosen by the client to ask for it in another session; 0: none */
};

/* Lists of earlier versions have names without keys. */
enum { PH_UNDO_KEYLESS_NAME_BYTES = offsetof(struct ph_undo_name, key) };

/* What became of a transaction. */
enum ph_undo_verdict {
    PH_UNDO_UNKNOWN,
    PH_UNDO_DONE,
    PH_UNDO_UNDONE,   /* it may be sent again */
    PH_UNDO_FORBIDDEN /* it was not executed, which its client was told: it must not be later either */
};

enum { PH_UNDO_MARKS = 512 }; /* transactions of which is known that they are over */

struct ph_undo_log;

/* Opens DIRECTORY/undo, made where it is missing, with what is in it. NULL with ERROR in words. */
struct ph_undo_log *ph_undo_log_open(const char *directory, GError **error);
void ph_undo_log_close(struct ph_undo_log *log); /* NULL is fine */

/* A new transaction, the list being empty: it is given the next number. False with errno where the disk has
 * no room for the list. */
bool ph_undo_log_begin(struct ph_undo_log *log);

/* Puts ENTRY at the end. False with errno; nothing was added then. */
bool ph_undo_log_add(struct ph_undo_log *log, struct ph_undo_entry *entry);

/* All entries are stable; and what was written before to other files of the state directory's filesystem, as
 * `flushes` says. False with errno. */
bool ph_undo_log_sync(struct ph_undo_log *log);

/* The filesystem whose disk writes out its cache with `sync`; 0 where that is not known. */
dev_t ph_undo_log_flushes(const struct ph_undo_log *log);

/* Entries in it. */
size_t ph_undo_log_count(const struct ph_undo_log *log);

/* The entry INDEX. False where it cannot be read. */
bool ph_undo_log_get(struct ph_undo_log *log, size_t index, struct ph_undo_entry *entry);

/* The transaction, that of NAME, is over: VERDICT. Stable when it returns true; false with errno. */
bool ph_undo_log_mark(struct ph_undo_log *log, enum ph_undo_verdict verdict, const struct ph_undo_name *name);

/* Whether the transaction whose entries were found has the mark of one that is done. */
bool ph_undo_log_is_done(const struct ph_undo_log *log);

/* What became of the transaction KEY, not 0, of CLIENT: DONE, FORBIDDEN; UNKNOWN where it is none of these
 * among the last PH_UNDO_MARKS. */
enum ph_undo_verdict ph_undo_log_verdict(const struct ph_undo_log *log, const uint8_t *client, uint64_t key);

/* Number of the last transaction that has a mark, or of that which is under way. */
uint64_t ph_undo_log_last(const struct ph_undo_log *log);

/* All entries go. The transaction has its mark. */
void ph_undo_log_clear(struct ph_undo_log *log);

#endif
