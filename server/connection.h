/* A client's connection: what the channel tells goes to the core, what the core
 * wants done goes to channel, loop and pool. */
#ifndef PH_SERVER_CONNECTION_H
#define PH_SERVER_CONNECTION_H

#include <glib.h>

#include "server/core/server_core.h"
#include "server/loops.h"
#include "server/pool.h"

/* What all connections share. Lives as long as any of them. */
struct ph_switch {
    struct ph_server *core;
    struct ph_loops *loops;
    struct ph_pool *pool;
    unsigned connections; /* atomic */
    unsigned executing;   /* atomic: commands being run, up to the last of what follows from them */
};

/* Serves the client behind FD, which now belongs to the connection; or turns it
 * away when there are too many. Any thread. */
void ph_connection_accept(struct ph_switch *all, int fd);

/* Number of connections that are not gone yet. */
unsigned ph_connections(struct ph_switch *all);

/* Number of commands whose effects on connections and loops are not over: the core counts
 * a command as done before its reply is sent. Ask after ph_server_running said 0. */
unsigned ph_executing(struct ph_switch *all);

/* Does what the core wants done, and clears ACTIONS. MAY_WAIT: on this thread
 * it does not matter when the store waits for a disk. */
void ph_perform(struct ph_switch *all, struct ph_actions *actions, gboolean may_wait);

/* Runs a call of the core on this thread; for ph_loops_new. */
void ph_connection_run(void *call);

#endif
