/* Undoing transactions of several commands. Before each effect an entry says how it is taken back
 * (posix_undo_keep.c), for many commands at once where they do not meet (posix_undo_run.c), and is stable;
 * what loses its name is kept aside in the hidden directory until the end (posix_undo_aside.c,
 * posix_undo_act.c); posix_undo_stable.c makes stable what has to be; posix_undo_back.c takes back, now or
 * after a restart; posix_several.c executes. docs/decisions/0016-several-commands.md. */
#ifndef PH_SERVER_STORE_POSIX_UNDO_H
#define PH_SERVER_STORE_POSIX_UNDO_H

#include "server/store/posix_internal.h"
#include "server/store/staged.h"
#include "server/store/undo_log.h"

enum { PH_UNDO_ASIDE_BYTES = 40 };

/* The transaction that is being executed. */
struct ph_undo {
    struct ph_posix_store *store;
    struct ph_call *call;
    struct ph_undo_log *log;
    GHashTable *made;  /* ids of objects that it made: they go with their names */
    GHashTable *seen;  /* ids of objects whose attributes stand in the log */
    GHashTable *sizes; /* id -> size that the file had before, for those whose bytes were changed */
    uint64_t kept;     /* bytes of old data in the log */
    bool unsafe;       /* the log has entries that must be stable before anything else is done */
    bool unsettled;    /* one of OTHERS could not be made stable */
    GArray *others; /* of struct ph_undo_other: filesystems below the export's directory that it concerns */
};

struct ph_undo_other {
    dev_t dev;
    int fd;
};

/* A command on its way. */
struct ph_undo_step {
    uint32_t status;                 /* of what was done ahead for it */
    char aside[PH_UNDO_ASIDE_BYTES]; /* in the hidden directory, for what it takes away; "": it does not */
    bool directory;                  /* which is a directory, or removed as a tree */
    bool freed; /* an earlier command, not executed yet, takes the name away from a file */
};

/* UNDO stands for the transaction of CALL, the log being empty; frees what it holds. */
void ph_undo_begin(struct ph_undo *undo, struct ph_posix_store *store, struct ph_call *call);
void ph_undo_end(struct ph_undo *undo);

/* posix_undo_keep.c */

/* What is needed to undo CHANGE goes to the log, as things are now; nothing else happens. A status: where it
 * is not 0 the command cannot be executed. */
uint32_t ph_undo_prepare(struct ph_undo *undo, const Pohmel__Change *change, struct ph_undo_step *step);

/* ENTRY goes to the log; NO_SPACE or so where it cannot. Objects that it names are known after a restart. */
uint32_t ph_undo_note(struct ph_undo *undo, struct ph_undo_entry *entry);

/* What could not be seen for another reason than not being there might have to be undone as well: STATUS, or
 * what that came to since `ph_trouble_clear`. */
uint32_t ph_undo_seen_well(struct ph_undo *undo, uint32_t status);

/* A directory and a name in it, looked at as the server. False where it cannot be: the command will say so.
 */
bool ph_undo_look(struct ph_undo *undo, uint64_t parent, const ProtobufCBinaryData *name,
                  struct ph_named *named);

/* posix_undo_run.c */

/* How many of the COUNT commands at CHANGES, at least one, can be prepared before the first of them is
 * executed, since none has to do with what another one changes; but for names, which may be given when they
 * were taken from files. Begins a step for each of them in STEPS. */
size_t ph_undo_run(Pohmel__Change *const *changes, size_t count, struct ph_undo_step *steps);

/* posix_undo_stable.c */

/* All that was changed before this is stable: the state before the transaction; what it did. 0, IO_ERROR. */
uint32_t ph_undo_settle(struct ph_undo *undo);

/* What is in the log is stable, where it has to be. 0, IO_ERROR. */
uint32_t ph_undo_secure(struct ph_undo *undo);

/* What concerns DEV, on which FD lies (as a path only, it may be): made stable with the export. */
void ph_undo_concerns(struct ph_undo *undo, dev_t dev, int fd);

/* Makes the export's own filesystem stable. False with errno: each failure of the disk is met once, whoever
 * else met it. */
bool ph_undo_sync_export(struct ph_posix_store *store);

/* The transaction under way, that of NAME, is over, as VERDICT says, which is stable, with all rows of the
 * state database. False where it may not be. */
bool ph_undo_mark(struct ph_posix_store *store, enum ph_undo_verdict verdict,
                  const struct ph_undo_name *name);

/* posix_undo_act.c */

/* The file that CHANGE takes away is given its name aside; the filesystem keeps no order between that and
 * what follows. A status. */
uint32_t ph_undo_set_aside(struct ph_undo *undo, const Pohmel__Change *change, struct ph_undo_step *step);

/* Executes CHANGE, which was prepared. What was done of a command that failed is undone with the others. */
uint32_t ph_undo_act(struct ph_undo *undo, const struct ph_store_ops *ops, Pohmel__Change *change,
                     const struct ph_undo_step *step, Pohmel__ChangeResult *result);

/* posix_undo_aside.c */

/* What NAMED stands for is about to lose that name: STEP->aside is where it goes. FLAGS of the entry. Nothing
 * is noted where nothing has the name, or a file that this transaction made. */
uint32_t ph_undo_note_taken(struct ph_undo *undo, const struct ph_named *named, uint16_t flags,
                            struct ph_undo_step *step);

/* The file NAMED gets the name ASIDE as well. */
uint32_t ph_undo_keep_file(struct ph_undo *undo, const struct ph_named *named, const char *aside);

/* The directory that has the name, or a tree, is moved into the hidden directory as ASIDE, as CALLER may
 * remove it; EXPECTED (0: whichever) is its id. *NAMES: entries that went. */
uint32_t ph_undo_take(struct ph_undo *undo, const Pohmel__Caller *caller, const struct ph_named *named,
                      const char *aside, uint64_t expected, bool tree, uint64_t *names);

/* What ENTRY, a TAKEN, kept aside is removed for good; restored. */
void ph_undo_purge(struct ph_posix_store *store, const struct ph_undo_entry *entry);
void ph_undo_restore(struct ph_posix_store *store, const struct ph_undo_entry *entry,
                     struct ph_object *parent, int dir);

/* posix_undo_back.c */

/* Everything in the log is undone, the last first, and is stable then; the transaction was that of NAME. The
 * log is empty afterwards; an errno where a step failed and has to be tried again: the log is as it was, and
 * what is on the disk must be shown to nobody. 0: done, as far as what others did from outside left it
 * possible. */
int ph_undo_back(struct ph_posix_store *store, const struct ph_undo_name *name);

/* The transaction, which has the mark of one that is done, is over: what was kept aside goes, and the log is
 * empty. An errno where something stayed: to be called once more, before the log is used again. */
int ph_undo_finish(struct ph_posix_store *store);

/* posix_several.c */

/* As of struct ph_store. */
uint32_t ph_posix_settle(void *self, struct ph_call *call);

/* posix_outcome.c */

/* Whether the transaction of REQUEST, which belongs to CALL, must not be executed now: it was, its client was
 * told that it never will be, or that may have been forgotten. *STATUS of the answer then. several_lock is
 * held. */
bool ph_outcome_is_settled(struct ph_posix_store *store, struct ph_call *call,
                           const Pohmel__TransactRequest *request, uint32_t *status);

/* What was kept aside for the last transaction goes at its end; where that failed, now. several_lock is held.
 */
uint32_t ph_several_clear_away(struct ph_posix_store *store, struct ph_call *call);

/* As of struct ph_store, for more than one command. */
uint32_t ph_posix_several(struct ph_posix_store *store, const struct ph_store_ops *ops, struct ph_call *call,
                          const Pohmel__TransactRequest *request, Pohmel__TransactReply *reply);

/* As of struct ph_store. */
uint32_t ph_posix_stage(void *self, struct ph_call *call, const Pohmel__StageRequest *request,
                        const uint8_t *message, size_t len);
uint32_t ph_posix_staged(void *self, struct ph_call *call, uint64_t transaction, uint32_t count,
                         struct ph_staged **staged);
void ph_posix_drop_staged(void *self, struct ph_call *call, uint64_t transaction);
uint32_t ph_posix_outcome(void *self, struct ph_call *call, const Pohmel__OutcomeRequest *request,
                          Pohmel__OutcomeReply *reply);

/* Opens what is staged in STATE_DIR; what is of sessions that are not in the list any more goes. */
void ph_several_open(struct ph_posix_store *store, const char *state_dir);

/* What a killed server, or one that lost power, was in the middle of is undone or, with its mark, finished
 * and answered. Nobody else uses the store yet. False with ERROR in words where it cannot be undone: nobody
 * may see it then. */
bool ph_several_recover(struct ph_posix_store *store, GError **error);

#endif
