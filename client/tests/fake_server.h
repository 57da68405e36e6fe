/* A server of a few lines behind a real socket, to drive the link with. */
#ifndef PH_CLIENT_TESTS_FAKE_SERVER_H
#define PH_CLIENT_TESTS_FAKE_SERVER_H

#include <glib.h>
#include <stdatomic.h>

#include "runtime/io/address.h"
#include "runtime/io/channel.h"

struct fake_server {
    struct ph_address address;
    char *directory;
    pthread_t thread;
    GMainContext *context;
    GArray *listeners;
    GPtrArray *channels; /* thread of the server only */
    atomic_bool stop, cut;

    /* How it behaves. */
    atomic_int refuse;          /* status for SESSION_OPEN */
    atomic_bool mute;           /* answers nothing */
    atomic_bool malformed;      /* answers GETATTR with garbage */
    atomic_bool garbage;        /* talks something else than Pohmel */
    atomic_uint_fast64_t stale; /* object answered STALE until it is looked up as "dir/file" */
    atomic_uint_fast64_t next_object;

    /* What it saw. */
    atomic_int sessions, closes, requests, cancels, renewals, lookups;
};

/* Starts listening on a unix socket below a directory of its own. */
void fake_server_start(struct fake_server *server);

/* Closes all connections; the listener stays. Returns when it is done. */
void fake_server_cut(struct fake_server *server);

void fake_server_stop(struct fake_server *server);

#endif
