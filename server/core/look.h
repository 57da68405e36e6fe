/* The server, as people are shown it. Each function enters the guard for a moment. */
#ifndef PH_SERVER_CORE_LOOK_H
#define PH_SERVER_CORE_LOOK_H

#include "server/core/lease_look.h"
#include "server/core/server_core.h"

/* A session. */
struct ph_session_view {
    char who[PH_LEASE_WHO_BYTES];
    uint64_t number;         /* given by the client */
    size_t leases, recalled; /* held; of those, asked back */
    size_t running;          /* its commands under way */
    uint32_t credits;        /* in use */
    bool caches, read_only;
    bool away; /* its connection broke; it may be taken up again */
};

/* The first MAX sessions of the export into OUT; returns how many there are. */
size_t ph_server_look_sessions(struct ph_server *server, size_t export_index, struct ph_session_view *out,
                               size_t max);

/* How many sessions of before the start may still come back, while nobody else is served; 0 when it is over.
 */
size_t ph_server_look_grace(struct ph_server *server);

/* As ph_leases_left. */
size_t ph_server_look_left(struct ph_server *server, size_t export_index, struct ph_lease_left *out,
                           size_t max);

/* The next leases of the export behind CURSOR, up to MAX into OUT; their number, which may be 0 before the
 * cursor is at its end. */
size_t ph_server_look_leases(struct ph_server *server, size_t export_index, struct ph_table_cursor *cursor,
                             struct ph_lease_view *out, size_t max);

/* As ph_leases_newest. */
uint64_t ph_server_newest_lease(struct ph_server *server, size_t export_index);

/* As ph_leases_sweep, a part of it. */
void ph_server_sweep(struct ph_server *server, size_t export_index, uint64_t newest,
                     struct ph_lease_sweep *sweep, struct ph_actions *actions);

#endif
