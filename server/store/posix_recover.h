/* The journal of the POSIX store: entering (posix_journal.c), and what a killed server left
 * (posix_recover.c). docs/decisions/0013-exactly-once-across-a-kill.md. */
#ifndef PH_SERVER_STORE_POSIX_RECOVER_H
#define PH_SERVER_STORE_POSIX_RECOVER_H

#include "server/store/journal.h"
#include "server/store/posix_internal.h"

/* Of what is appended or set this much is compared afterwards. */
enum { PH_RECOVER_CHECK_BYTES = 64 * 1024 };

/* Flags of intents; RENAME and SETATTR have their own in their place. */
enum {
    PH_RECOVER_CONTENT = 1 << 0,  /* CREATE: with data or attributes */
    PH_RECOVER_APPEND = 1 << 0,   /* WRITE */
    PH_RECOVER_MODIFIED = 1 << 1, /* WRITE: a time is set afterwards */
    PH_RECOVER_STABLE = 1 << 2,   /* WRITE: is stable when it is answered */
};

/* Finds out of each command that was begun and not answered whether it was executed: finishes it and enters
 * the answer, or takes back what it began, or forgets it. Nobody else uses the store yet. */
void ph_store_recover(struct ph_posix_store *store);

#endif
