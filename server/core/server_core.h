/* The core of the server: connections, sessions, slots, credits, locks; pure.
 * It is told what happened and says what is to be done. What it decides, it
 * decides under a guard that the caller provides (a mutex in the server, nothing
 * in the simulator) and holds for a moment only; commands are decoded, executed
 * and encoded outside of it, on any thread.
 *
 *   frame arrives     -> ph_server_frame    -> actions, perhaps a call to run
 *   call, any thread  -> ph_server_execute, then ph_server_done -> actions
 *   connection closed -> ph_server_conn_closed -> actions
 *   time passes       -> ph_server_tick     -> actions
 *
 * Whoever gets actions performs them in order (actions.h), then clears them.
 *
 * Sessions. One for each connection; it ends with SESSION_CLOSE, or when the same client opens another one
 * with a higher number. Then its locks are released, its waits dropped, and, once the commands that
 * it has running are done, its handles closed. One that is not resumable ends with its connection as well.
 * One that is, is away from then on, with all that it holds, and is taken up again by SESSION_OPEN with
 * `resume`; it ends when somebody wants a lease or a lock of it that is past its time, when there are too
 * many like it, or after PH_AWAY_MAX_MS.
 *
 * Restarts. Sessions that are resumable are in a list of the store, and away when the server starts. As long
 * as they may come back and claim what they held (grace), nobody is served what one of them may hold: such
 * calls are parked.
 *
 * Credits. A request costs ph_credit_cost() from its arrival until its reply.
 * A connection may have PH_SESSION_CREDITS in use; whoever sends more is told
 * NO_CREDIT and cut off. A lock that waits gives its credits back at once (the waits have a limit
 * of their own), though the reply that ends the wait still carries them.
 *
 * Leases. What a call reads or changes is claimed first (lease.h). Where others hold leases that stand in
 * its way, it is parked: it is done with for its thread, has no answer, and comes again, as an action to run
 * it, when they have given them back.
 *
 * Ids of requests. That they are unique among those in flight is in the
 * requester's own interest and not checked. */
#ifndef PH_SERVER_CORE_SERVER_CORE_H
#define PH_SERVER_CORE_SERVER_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/wire/frame.h"
#include "server/core/actions.h"
#include "server/store/store.h"

struct ph_server;
struct ph_server_conn;
struct ph_server_call;

/* An export: a store under a name. */
struct ph_server_export {
    const char *name;
    struct ph_store *store;
    bool read_only; /* changes are refused before the store is asked */
    bool watched;   /* ph_server_changed_outside is called for what others change; clients are told */
};

/* Keeps two threads from being inside the core at once. */
struct ph_server_guard {
    void (*enter)(void *data);
    void (*leave)(void *data);
    void *data;
};

/* A server of COUNT exports, which stay the caller's and live longer. SEED is
 * random; it keeps peers from choosing bad shapes of tables and trees. */
struct ph_server *ph_server_new(const struct ph_server_export *exports, size_t count,
                                const struct ph_server_guard *guard, uint64_t seed);

/* Leases last TIME_MS (PH_LEASE_TTL_MIN_MS to PH_LEASE_TTL_MAX_MS) instead of PH_LEASE_TTL_MS. To be called
 * before anybody is served. */
void ph_server_leases_last(struct ph_server *server, uint32_t time_ms);

/* Frees it; all connections are closed and all calls done. NULL is fine. */
void ph_server_free(struct ph_server *server);

/* A connection that was accepted. DATA is handed back by ph_server_conn_data,
 * RELEASE(DATA) called with the last reference. One reference is returned. */
struct ph_server_conn *ph_server_conn_new(struct ph_server *server, void *data, void (*release)(void *data));
struct ph_server_conn *ph_server_conn_ref(struct ph_server_conn *conn);
void ph_server_conn_unref(struct ph_server_conn *conn); /* NULL is fine; any thread */
void *ph_server_conn_data(const struct ph_server_conn *conn);

/* Where it comes from: a number that all connections from one machine (or user) have in common, for limits on
 * what these may hold. To be said before the first frame. */
void ph_server_conn_set_peer(struct ph_server_conn *conn, uint64_t peer);

/* Whether a session was opened on it (and not ended since). */
bool ph_server_conn_in_session(struct ph_server_conn *conn);

/* The connection is gone; its session ends, or is away. LEFT: the client's machine closed it, so that the
 * client has ended or knows. Call it once. */
void ph_server_conn_closed(struct ph_server_conn *conn, bool left, struct ph_actions *actions);

enum ph_admission {
    PH_ADMIT_NOTHING = 0, /* nothing to run */
    PH_ADMIT_QUICK,       /* *CALL is to be run where the caller is */
    PH_ADMIT_SLOW,        /* *CALL may wait for a disk */
};

/* FRAME came in; it belongs to the core now. Frames of one connection are given in order. */
enum ph_admission ph_server_frame(struct ph_server_conn *conn, struct ph_frame *frame,
                                  struct ph_actions *actions, struct ph_server_call **call);

/* Executes CALL. May wait, when it was admitted as slow. */
void ph_server_execute(struct ph_server_call *call);

/* CALL was executed: its answer is recorded and handed out, or it is parked. The caller must not touch it
 * afterwards. */
void ph_server_done(struct ph_server_call *call, struct ph_actions *actions);

/* Does what ACTION, an END_SESSION, says, and what follows from it: its session's handles are closed, and it
 * is not in the list any more that outlives the server. May wait. */
void ph_server_end_session(struct ph_server *server, const struct ph_action *action,
                           struct ph_actions *actions);

/* OBJECT (0: all objects) of the export EXPORT_INDEX was changed by somebody else than this server: all
 * leases on it are taken back. */
void ph_server_changed_outside(struct ph_server *server, size_t export_index, uint64_t object,
                               struct ph_actions *actions);

/* It is NOW_MS, of a clock that never goes back. To be called a few times a second:
 * leases expire by it, who does not answer a recall is fenced, and calls that wait are
 * answered when the server shuts down. */
void ph_server_tick(struct ph_server *server, uint64_t now_ms, struct ph_actions *actions);

/* For the log: command, status and words of a call that was executed, the
 * status being PH_PENDING for a lock that waits, and for a call that is parked. */
struct ph_call_summary {
    uint16_t command;
    uint32_t status;
    const char *text; /* lives as long as the call */
    struct ph_server_conn *conn;
};
struct ph_call_summary ph_server_call_summary(const struct ph_server_call *call);

/* New requests are answered SHUTTING_DOWN from now on. */
void ph_server_shut_down(struct ph_server *server);

/* Calls admitted and not done. */
size_t ph_server_running(struct ph_server *server);

/* Sessions that have a connection; those that have none, and may be taken up again. */
size_t ph_server_sessions(struct ph_server *server);
size_t ph_server_sessions_away(struct ph_server *server);

/* All connections are to be told STATUS and closed. */
void ph_server_close_all(struct ph_server *server, uint32_t status, const char *reason,
                         struct ph_actions *actions);

#endif
