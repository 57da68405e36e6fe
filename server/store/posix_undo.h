/* Undoing transactions of several commands. Before each effect an entry says how it is taken back
 * (posix_undo_keep.c); what loses its name is kept aside in the hidden directory until the end
 * (posix_undo_aside.c); posix_undo_back.c takes back, now or after a restart; posix_several.c executes.
 * docs/decisions/0016-several-commands.md. */
#ifndef PH_SERVER_STORE_POSIX_UNDO_H
#define PH_SERVER_STORE_POSIX_UNDO_H

#include "server/store/posix_internal.h"
#include "server/store/staged.h"
#include "server/store/undo_log.h"

/* The transaction that is being executed. */
struct ph_undo {
    struct ph_posix_store *store;
    struct ph_call *call;
    struct ph_undo_log *log;
    GHashTable *made;  /* ids of objects that it made: they go with their names */
    GHashTable *seen;  /* ids of objects whose attributes stand in the log */
    GHashTable *sizes; /* id -> size that the file had before, for those whose bytes were changed */
    uint64_t kept;     /* bytes of old data in the log */
};

/* UNDO stands for the transaction of CALL, the log being empty; frees what it holds. */
void ph_undo_begin(struct ph_undo *undo, struct ph_posix_store *store, struct ph_call *call);
void ph_undo_end(struct ph_undo *undo);

/* posix_undo_keep.c */

/* Executes CHANGE, with what is needed to undo it in the log before. Returns a status; what was done of a
 * command that failed is undone with the others. */
uint32_t ph_undo_execute(struct ph_undo *undo, const struct ph_store_ops *ops, Pohmel__Change *change,
                         Pohmel__ChangeResult *result);

/* ENTRY goes to the log; NO_SPACE or so where it cannot. Objects that it names are known after a restart. */
uint32_t ph_undo_note(struct ph_undo *undo, struct ph_undo_entry *entry);

/* posix_undo_aside.c */

/* What NAMED stands for is about to lose that name: it is given another one in the hidden directory.
 * REPLACED: another object gets the name. Nothing happens where nothing has the name. */
uint32_t ph_undo_keep_file(struct ph_undo *undo, const struct ph_named *named, bool replaced);

/* The directory that has the name, or a tree, is moved into the hidden directory, as CALLER may remove it;
 * EXPECTED (0: whichever) is its id. *NAMES: entries that went. */
uint32_t ph_undo_take(struct ph_undo *undo, const Pohmel__Caller *caller, const struct ph_named *named,
                      uint64_t expected, bool tree, uint64_t *names);

/* What ENTRY, a TAKEN, kept aside is removed for good; restored. */
void ph_undo_purge(struct ph_posix_store *store, const struct ph_undo_entry *entry);
void ph_undo_restore(struct ph_posix_store *store, const struct ph_undo_entry *entry,
                     struct ph_object *parent, int dir);

/* posix_undo_back.c */

/* Everything in the log is undone, the last first. The log is empty afterwards; an errno where a step failed
 * and has to be tried again: from there on it is as it was, and what is on the disk must be shown to nobody.
 * 0: done, as far as what others did from outside left it possible. */
int ph_undo_back(struct ph_posix_store *store);

/* The transaction is over: what was kept aside goes, and the log is empty. An errno where something stayed:
 * to be called once more, before the log is used again. */
int ph_undo_finish(struct ph_posix_store *store);

/* posix_several.c */

/* As of struct ph_store, for more than one command. */
uint32_t ph_posix_several(struct ph_posix_store *store, const struct ph_store_ops *ops, struct ph_call *call,
                          const Pohmel__TransactRequest *request, Pohmel__TransactReply *reply);

/* As of struct ph_store. */
uint32_t ph_posix_stage(void *self, struct ph_call *call, const Pohmel__StageRequest *request,
                        const uint8_t *message, size_t len);
uint32_t ph_posix_staged(void *self, struct ph_call *call, uint64_t transaction, uint32_t count,
                         struct ph_staged **staged);
void ph_posix_drop_staged(void *self, struct ph_call *call, uint64_t transaction);

/* Opens what is staged in STATE_DIR; what is of sessions that are not in the list any more goes. */
void ph_several_open(struct ph_posix_store *store, const char *state_dir);

/* What a killed server was in the middle of is undone or, past its end mark, finished and answered. Nobody
 * else uses the store yet. False with ERROR in words where it cannot be undone: nobody may see it then. */
bool ph_several_recover(struct ph_posix_store *store, GError **error);

#endif
