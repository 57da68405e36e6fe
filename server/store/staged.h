/* Parts of large transactions, as clients stage them: files in the state directory ("staged"), one for each
 * part, which a kill of the server does not touch. Nothing in them is executed before a TRANSACT names them.
 * docs/protocol.md, section 5.3. Any thread may call. */
#ifndef PH_SERVER_STORE_STAGED_H
#define PH_SERVER_STORE_STAGED_H

#include <glib.h>

#include "runtime/wire/call.h"
#include "server/store/store.h"

struct ph_stage;

/* Opens DIRECTORY/staged, made where it is missing. What is there stays where it is of one of the COUNT
 * sessions KNOWN. NULL with ERROR in words. */
struct ph_stage *ph_stage_open(const char *directory, const struct ph_store_session *known, size_t count,
                               GError **error);
void ph_stage_close(struct ph_stage *stage); /* NULL is fine; files stay */

/* Keeps the part REQUEST of CALL's session: MESSAGE of LEN bytes is its encoding, the payload is CALL's. OK
 * also where it is there already; INVALID where another one has its number; LIMIT, NO_SPACE, IO_ERROR. */
uint32_t ph_stage_put(struct ph_stage *stage, struct ph_call *call, const Pohmel__StageRequest *request,
                      const uint8_t *message, size_t len);

/* The parts 1 to COUNT of TRANSACTION of CALL's session; *STAGED is the caller's, who releases it. STALE
 * where one is missing; LIMIT where they take too much memory. */
uint32_t ph_stage_get(struct ph_stage *stage, struct ph_call *call, uint64_t transaction, uint32_t count,
                      struct ph_staged **staged);

/* Forgets TRANSACTION of CALL's session; all of the session NUMBER of CLIENT; all of the one that is SESSION
 * in this run. */
void ph_stage_drop(struct ph_stage *stage, struct ph_call *call, uint64_t transaction);
void ph_stage_forget(struct ph_stage *stage, const uint8_t *client, uint64_t number);
void ph_stage_end_session(struct ph_stage *stage, uint64_t session);

/* Bytes that are staged, by all. */
uint64_t ph_stage_bytes(struct ph_stage *stage);

#endif
