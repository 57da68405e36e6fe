/* A store: where the objects of one export live. Backends implement the
 * generated struct ph_store_ops (one function for each command of layer STORE)
 * and what stands here. No path and no descriptor leaks through; a second
 * backend can sit on anything that keeps objects. All functions may be called
 * from any thread at the same time, and may wait. docs/architecture.md, "Store". */
#ifndef PH_SERVER_STORE_STORE_H
#define PH_SERVER_STORE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/base/limits.h"

#include "ph_dispatch.h" /* generated: struct ph_store_ops, ph_dispatch_change */

/* A session in the list that outlives the server. */
struct ph_store_session {
    uint8_t client[PH_CLIENT_ID_BYTES];
    uint64_t number;
    bool read_only, leases, write_back;
    char host[PH_HOST_MAX_BYTES + 1]; /* as the client calls itself; "" for nothing */
};

/* A part of a large transaction, that was staged. */
struct ph_staged_part {
    const Pohmel__StageRequest *request;
    struct ph_blob *payload; /* NULL for none */
};

/* All parts of one, in order. */
struct ph_staged {
    size_t count, commands; /* parts, and commands in them */
    struct ph_staged_part *part;
    struct ph_arena *arena;                    /* all of this, but the payloads, lives there */
    void (*release)(struct ph_staged *staged); /* frees it */
};

struct ph_store {
    const struct ph_store_ops *ops; /* NULL members are answered UNSUPPORTED by the dispatcher */
    void *self;                     /* first argument of every function here and of OPS */

    /* Fills in what SESSION_OPEN tells of the export; memory from ARENA. */
    uint32_t (*describe)(void *self, struct ph_arena *arena, Pohmel__ExportInfo *info, Pohmel__Attr *root,
                         struct ph_fault *fault);

    /* Number of this start of the store, raised and made durable at each. */
    uint64_t (*epoch)(void *self);

    /* The time that a change gets that is executed now, or an earlier one that no change begun later gets.
     * NULL where the store cannot say. Waits for nothing. */
    void (*now)(void *self, Pohmel__Time *now);

    /* Executes the commands of a transaction, those of CALL's staged parts first, all or nothing, in order;
     * fills in one result each, but for staged ones. Returns the status of the first that failed. Of
     * transactions of more than one command each is executed while nothing else reads or changes the volume.
     */
    uint32_t (*transact)(void *self, struct ph_call *call, const Pohmel__TransactRequest *request,
                         Pohmel__TransactReply *reply);

    /* Whether `transact` takes more than one command. */
    bool several;

    /* Told before anything is kept from others for a transaction of several commands: makes stable what there
     * is, so that little is left to be made stable while it is executed. NULL for a store that need not. */
    uint32_t (*settle)(void *self, struct ph_call *call);

    /* Keeps a part of a transaction of CALL's session: MESSAGE is the encoded REQUEST, the payload is CALL's.
     * INVALID where another one has its number; LIMIT; NO_SPACE. NULL, like the next two, for a store that
     * keeps none. */
    uint32_t (*stage)(void *self, struct ph_call *call, const Pohmel__StageRequest *request,
                      const uint8_t *message, size_t len);

    /* Reads the parts 1 to COUNT of TRANSACTION; *STAGED is the caller's. STALE where one is missing. */
    uint32_t (*staged)(void *self, struct ph_call *call, uint64_t transaction, uint32_t count,
                       struct ph_staged **staged);

    /* Forgets all parts of TRANSACTION. Those of a session go with it. */
    void (*drop_staged)(void *self, struct ph_call *call, uint64_t transaction);

    /* Whether the transaction of CALL's client that had the key of REQUEST was executed, in whatever session.
     * Where it was not `transact` never executes it from then on, which is stable. NULL for a store that
     * cannot say after the loss of power. (protocol, 5.5) */
    uint32_t (*outcome)(void *self, struct ph_call *call, const Pohmel__OutcomeRequest *request,
                        Pohmel__OutcomeReply *reply);

    /* Whether an earlier run of the server executed the transaction of CALL (client, session number, slot,
     * sequence number, checksum) and answered it, or would have; fills in REPLY, with attributes as they were
     * then, and opens the handle of a CREATE again. It is to be asked before `transact`, and before any lease
     * is taken back for it. NULL for a store that remembers none: a transaction is then executed again. */
    bool (*recorded)(void *self, struct ph_call *call, const Pohmel__TransactRequest *request,
                     Pohmel__TransactReply *reply);

    /* Session NUMBER of CLIENT (16 bytes), which was not served in this run, is over: what is recorded of it
     * goes. NULL for a store that records nothing. */
    void (*forget_session)(void *self, const uint8_t *client, uint64_t number);

    /* Whether all that the last run answered is still so. If not (power was lost, say), sessions of before
     * must not be taken up again. NULL for a store that cannot tell. */
    bool (*continued)(void *self);

    /* Number of the start since which nothing was lost that was answered. NULL: as `continued` says of the
     * last. */
    uint64_t (*unbroken)(void *self);

    /* Whoever was known before the start has opened again what he had open, or does not come back: what is
     * kept for others of before may go. Told once, under a mutex: waits for nothing. NULL for a store that
     * keeps nothing. */
    void (*claimed)(void *self);

    /* Closes one handle of a session. An unknown handle is closed already. */
    uint32_t (*close)(void *self, uint64_t session, uint64_t handle);

    /* Puts SESSION into the list, in the place of one of the same client with a smaller number; it is there
     * after the end of this process, however it ends. Returns a status. NULL, like the next two, where the
     * store has no list: sessions end with the server then. */
    uint32_t (*enter_session)(void *self, const struct ph_store_session *session, struct ph_fault *fault);

    /* Takes the session NUMBER of CLIENT out, as lastingly. One that is not there is fine. */
    void (*leave_session)(void *self, const uint8_t client[PH_CLIENT_ID_BYTES], uint64_t number);

    /* The list as it was when the store was opened: up to MAX into OUT; returns how many. */
    size_t (*sessions)(void *self, struct ph_store_session *out, size_t max);

    /* The session is over: closes all its handles. */
    void (*end_session)(void *self, uint64_t session);

    /* Makes everything answered so far stable, and frees the store. */
    void (*free)(void *self);
};

#endif
