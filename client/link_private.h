/* The shell of the link, shared by the files client/link*.c.
 *
 * Locking: `mutex` guards the core and what stands below it; it is held for a step of
 * the core and never across a callback or a system call. Everything marked
 * "link thread" belongs to the link's own thread. */
#ifndef PH_CLIENT_LINK_PRIVATE_H
#define PH_CLIENT_LINK_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "client/core/hints.h"
#include "client/core/reclaim.h"
#include "client/core/session.h"
#include "client/link.h"
#include "runtime/io/channel.h"

/* One attempt to connect, on a thread of its own because it may wait for seconds. */
struct ph_connector;

struct ph_link {
    struct ph_stub stub;
    struct ph_link_info info; /* fixed once open */
    struct ph_address address;
    GMainContext *context;
    GSource *timer;
    pthread_t thread;
    atomic_uint_fast64_t next_handle;
    atomic_uint_fast64_t generation;
    atomic_bool connected, hopeless;
    atomic_uint_fast64_t answered_sent_ms;
    const struct ph_link_events *events; /* or NULL */
    void *events_data;

    pthread_mutex_t mutex;
    pthread_cond_t changed; /* opened, refused, ids, closed */
    struct ph_client *core;
    struct ph_channel *channel; /* one reference, NULL for none */
    struct ph_connector *connector;
    bool opened_once, core_closed, told_server, stop;
    bool refused;         /* since there was a session */
    uint64_t ids_answers; /* number of IDS actions */
    char *first_error;    /* why the first session was refused */

    pthread_mutex_t hints_mutex;
    struct ph_hints *hints;

    struct ph_reclaim reclaim; /* link thread: leases that are being claimed */
    struct ph_arena *arena;    /* link thread: what the reply at hand is decoded into */
};

/* To be called with the mutex held, after a step that left ACTIONS: lets go of the
 * mutex, carries the actions out and clears them. */
void ph_link_finish(struct ph_link *link, struct ph_client_actions *actions);

/* link_connect.c: all on the link thread. */
void ph_link_connect_start(struct ph_link *link);
void ph_link_connect_collect(struct ph_link *link);
void ph_link_connect_abandon(struct ph_link *link);

/* link_send.c: sends REQUEST, whose reference passes over. Returns its ticket; 0 when it is answered already.
 */
uint64_t ph_link_submit(struct ph_link *link, struct ph_client_request *request);

/* link_reply.c: calls back what ACTION completes. Frames come on the link thread only. */
void ph_link_complete(struct ph_link *link, const struct ph_client_action *action);

/* link_reply.c: tells who caches of ACTION, which is OPENED, LOST or EVENT. Link thread. */
void ph_link_tell(struct ph_link *link, const struct ph_client_action *action);

/* link_recover.c: what ACTION, CLAIMS, GRANTS or CLAIMED, is about. Link thread. */
void ph_link_recover(struct ph_link *link, const struct ph_client_action *action);

/* link_reply.c: the server sent what no server may send. */
void ph_link_malformed(struct ph_link *link, uint16_t command, const char *what);

/* link_walk.c: finds the objects of REQUEST (borrowed) again and resumes it. Link thread. */
void ph_link_walk(struct ph_link *link, struct ph_client_request *request);

#endif
