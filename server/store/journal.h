/* The journal of transactions: what each slot of each session was last told to do (the intent), what it
 * found before it did it, and what was answered. A mapped file in the state directory ("journal"), one
 * record for each slot: a server that is killed loses nothing of it, and no system call is paid for a
 * command. It does not survive the loss of power: what the machine did not bring to an orderly end is not
 * believed afterwards. What is done with it stands in posix_journal.c and posix_recover.c.
 * docs/decisions/0013-exactly-once-across-a-kill.md.
 * Any thread may call; one record is used by one thread at a time, and not while its session is forgotten. */
#ifndef PH_SERVER_STORE_JOURNAL_H
#define PH_SERVER_STORE_JOURNAL_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/limits.h"

enum {
    PH_JOURNAL_CLIENT_BYTES = 16,
    PH_JOURNAL_SESSIONS_MAX = 5 * 1024, /* that have records at once; 84 KiB each */
    PH_JOURNAL_ANSWER_MAX_BYTES = 504,  /* of one answer; the largest of a single command takes less */
};

struct ph_journal;
struct ph_journal_record; /* of one slot of one session */

/* What is to be done, as far as it takes to tell afterwards whether it was. What a command has no use for is
 * 0. */
struct ph_journal_intent {
    uint64_t number;  /* in the order in which they were begun; given by `begin` */
    uint64_t time_ns; /* since 1970, not after the effect by the clock of files; given by `begin` */
    uint32_t sequence, request_crc;
    uint16_t command;              /* enum ph_command */
    uint8_t name_len, to_name_len; /* given by `begin` */
    uint32_t flags;                /* of the command */
    uint64_t object, parent, to_parent, size;
    uint32_t mode, uid, gid;
    uint32_t bytes_len, bytes_crc; /* of what is written */
    uint32_t accessed_ns, modified_ns, reserved;
    int64_t accessed_s, modified_s;
    char name[PH_NAME_MAX_BYTES + 1], to_name[PH_NAME_MAX_BYTES + 1];
};

/* What a name stood for. */
struct ph_journal_named {
    uint64_t id, dev, ino, btime_ns; /* id 0: nothing */
    uint32_t links, type;            /* S_IFMT bits */
};

/* What was found before the effect, by commands that cannot be told from their intent. */
struct ph_journal_before {
    struct ph_journal_named object, replaced;
    uint64_t number; /* a size, or how many */
};

/* Opens DIRECTORY/journal, made where it is missing, for the volume VOLUME (16 bytes). What the last run left
 * is there when it may be believed (`continued`), else the journal is empty. LOOK: nothing is written, for
 * who only looks. NULL with ERROR in words: a server can go on without. */
struct ph_journal *ph_journal_open(const char *directory, const uint8_t *volume, bool look, GError **error);

/* CLEAN: everything that was done is stable by now, so that it may be believed in any case. NULL is fine. */
void ph_journal_close(struct ph_journal *journal, bool clean);

/* Whether all that the last run answered is still so: it ended in order, or the machine went on when it was
 * killed. False also where there was no journal. */
bool ph_journal_continued(const struct ph_journal *journal);

/* When something was last begun or done, in ns since 1970. */
uint64_t ph_journal_alive_ns(const struct ph_journal *journal);

/* The record of SLOT of the session NUMBER of CLIENT, which is SESSION in this run; from now on it is served
 * in this run. NULL where there is no room for it; then a killed server will not know. Sessions of CLIENT
 * with lower numbers that are not served in this run are forgotten. */
struct ph_journal_record *ph_journal_record(struct ph_journal *journal, uint64_t session,
                                            const uint8_t *client, uint64_t number, uint32_t slot);

/* The same of a session that has records already, without any of that; else NULL. */
struct ph_journal_record *ph_journal_find(struct ph_journal *journal, const uint8_t *client, uint64_t number,
                                          uint32_t slot);

/* INTENT is about to be done; takes the place of what the record held. */
void ph_journal_begin(struct ph_journal *journal, struct ph_journal_record *record,
                      struct ph_journal_intent *intent);
void ph_journal_note(struct ph_journal *journal, struct ph_journal_record *record,
                     const struct ph_journal_before *before);
/* It was done and is answered LEN bytes. Where these are too many: dropped. */
void ph_journal_answer(struct ph_journal *journal, struct ph_journal_record *record, const uint8_t *bytes,
                       size_t len);
/* It was not done. */
void ph_journal_drop(struct ph_journal *journal, struct ph_journal_record *record);

/* What the record holds; false where it holds none, or a half-written one. */
bool ph_journal_intent(const struct ph_journal_record *record, struct ph_journal_intent *intent);
bool ph_journal_before(const struct ph_journal_record *record, struct ph_journal_before *before);
/* *BYTES are the journal's, as long as the record is not begun anew. */
bool ph_journal_answered(const struct ph_journal_record *record, const uint8_t **bytes, size_t *len);
/* Nothing was begun in it in this run. */
bool ph_journal_is_earlier(const struct ph_journal_record *record);

/* The session, which was not served in this run, is over: its records go. Of one that was nothing happens:
 * something may still be executed in it. */
void ph_journal_forget(struct ph_journal *journal, const uint8_t *client, uint64_t number);
/* The same of one that was, by its number in this run. Nothing is executed in it any more. */
void ph_journal_forget_served(struct ph_journal *journal, uint64_t session);

/* Calls FN for each session with records; then for each of its records that hold an intent. One of them may
 * be NULL. Nothing else may be called meanwhile but what takes a record. */
typedef void (*ph_journal_session_fn)(void *data, const uint8_t *client, uint64_t number);
typedef void (*ph_journal_record_fn)(void *data, struct ph_journal_record *record);
void ph_journal_walk(struct ph_journal *journal, ph_journal_session_fn session, ph_journal_record_fn record,
                     void *data);

#endif
