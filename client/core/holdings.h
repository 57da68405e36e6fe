/* What a session has open and locked at the server, as its answers said: to be opened and locked again after
 * the server was started anew. Pure; of one session core. Section 4.5 of docs/protocol.md. */
#ifndef PH_CLIENT_CORE_HOLDINGS_H
#define PH_CLIENT_CORE_HOLDINGS_H

#include "client/core/lru.h"
#include "client/core/request.h"
#include "runtime/wire/frame.h"

struct ph_holdings {
    struct ph_lru handles; /* each with the request that opened it */
    struct ph_lru locks;   /* by object */
};

/* Empty. */
void ph_holdings_init(struct ph_holdings *holdings);

/* Forgets all. The memory of the tables themselves too with LAST; it may not be used then. */
void ph_holdings_clear(struct ph_holdings *holdings, bool last);

/* The session is over. What can be opened again in the next one is kept: not what has locks, which others may
 * have had by then, and not what write-back opened for itself, as it does again. */
void ph_holdings_lost(struct ph_holdings *holdings);

/* HANDLE, if it is known, was closed, or cannot be opened any more. */
void ph_holdings_drop(struct ph_holdings *holdings, uint64_t handle);

/* The object of REQUEST, an OPEN. */
uint64_t ph_holdings_object(const struct ph_client_request *request);

/* Whether HANDLE is open, or to be opened again. */
bool ph_holdings_has(const struct ph_holdings *holdings, uint64_t handle);

/* REQUEST was answered by FRAME, well: what it opened, closed, locked or unlocked is so now. */
void ph_holdings_note(struct ph_holdings *holdings, struct ph_client_request *request,
                      const struct ph_frame *frame);

/* Calls FN with a new request (its reference passes over) for each handle: OPEN, with `reopen`. */
void ph_holdings_reopen(const struct ph_holdings *holdings,
                        void (*fn)(void *data, struct ph_client_request *request), void *data);

/* The same for each lock: LOCK, which does not wait. */
void ph_holdings_relock(const struct ph_holdings *holdings,
                        void (*fn)(void *data, struct ph_client_request *request), void *data);

#endif
