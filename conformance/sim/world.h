/* Inside of the simulated world. */
#ifndef PH_CONFORMANCE_SIM_WORLD_H
#define PH_CONFORMANCE_SIM_WORLD_H

#include "client/core/session.h"
#include "conformance/sim/model_store.h"
#include "conformance/sim/sim.h"
#include "runtime/base/random.h"
#include "runtime/core/conn.h"
#include "runtime/wire/stub.h"
#include "server/core/server_core.h"

enum { SIM_CLIENTS = 2, SIM_PROCESSES = 4, SIM_END_CLIENT = 0, SIM_END_SERVER = 1 };

struct world;
struct sim_client;

/* Something that is to happen. */
typedef void (*sim_event_fn)(struct world *world, void *data);

/* A connection, both ends and the wire between. */
struct sim_conn {
    struct world *world;
    struct sim_client *client;
    int number;
    struct ph_conn *ends[2];
    uint64_t arrival_us[2]; /* when the last bytes on their way to that end arrive */
    gboolean closed[2];     /* that end was told */
    gboolean cut, ready_told;
    struct ph_server_conn *server_conn;
};

/* A simulated program: does one thing after the other. workload.c */
struct sim_process {
    struct sim_client *client;
    int index;
    gboolean busy, stopped;
    uint64_t handle, object; /* of a register; OBJECT 0 for none */
    uint64_t handle_session; /* generation in which it was opened */
    uint64_t lock_session;   /* generation in which a lock was taken; 0 for none */
    uint64_t ticket, op;     /* OP: number of the operation at hand */
    uint64_t value, count;   /* what is being written */
    uint64_t started_us;
    gboolean doomed; /* the transaction at hand must fail and leave nothing */
};

struct sim_client {
    struct world *world;
    int index;
    char name[8];
    struct ph_client *core;
    struct ph_stub stub;
    struct sim_conn *conn; /* NULL for none */
    uint64_t next_handle;
    gboolean closed;
    GHashTable *repeats; /* id -> struct repeat, of transactions that were sent twice */
    struct sim_process processes[SIM_PROCESSES];
};

/* Who holds the lock on a register, as far as the programs know. */
struct sim_holder {
    struct sim_process *process;
    struct sim_conn *conn;
};

struct world {
    struct ph_random random;
    uint64_t now_us, next_serial, steps_left;
    GArray *events; /* a heap of struct sim_event */
    struct sim_result *result;
    struct model_store *store;
    struct ph_server_export exports[1];
    struct ph_server *server;
    struct sim_client clients[SIM_CLIENTS];
    GPtrArray *conns; /* struct sim_conn, all that there ever were */
    struct sim_holder holders[MODEL_REGISTERS];
    gboolean calm; /* no more cuts and failures */
};

/* events.c */

/* No events planned. */
GArray *sim_events_new(void);

/* Has FN called at now + DELAY_US. DATA is freed with FREE_DATA when the world ends before. */
void sim_after(struct world *world, uint64_t delay_us, sim_event_fn fn, void *data, GDestroyNotify free_data);

/* Lets the next event happen. FALSE when there is none. */
gboolean sim_step(struct world *world);
void sim_drop_events(struct world *world);

/* A random number below BOUND; TRUE in PER_MILLE of 1000 cases. */
uint64_t sim_below(struct world *world, uint64_t bound);
gboolean sim_chance(struct world *world, unsigned per_mille);

/* Notes the first broken promise. */
void sim_violate(struct world *world, const char *format, ...) G_GNUC_PRINTF(2, 3);

static inline uint64_t sim_now_ms(const struct world *world)
{
    return world->now_us / 1000;
}

/* network.c */
struct sim_conn *sim_conn_new(struct sim_client *client);
void sim_conn_free(void *conn);

/* Sends what END has to say. */
void sim_conn_flush(struct sim_conn *conn, int end);

/* END closes: it is told FAULT; the other end sees it when the bytes before have arrived. */
void sim_conn_close(struct sim_conn *conn, int end, const struct ph_fault *fault);

/* The wire breaks; both ends learn of it sooner or later. */
void sim_conn_cut(struct sim_conn *conn);

/* Time passed for both ends. */
void sim_conn_tick(struct sim_conn *conn);

/* client_end.c and server_end.c: what the network tells them. */
void sim_client_init(struct sim_client *client, struct world *world, int index);
void sim_client_clear(struct sim_client *client);
void sim_client_act(struct sim_client *client, struct ph_client_actions *actions);
void sim_client_tick(struct sim_client *client);
void sim_client_ready(struct sim_conn *conn);
void sim_client_frame(struct sim_conn *conn, struct ph_frame *frame);
void sim_client_closed(struct sim_conn *conn, const struct ph_fault *fault);
void sim_client_shutdown(struct sim_client *client);

/* The server with its store, and what the network tells it. */
void sim_server_init(struct world *world);
void sim_server_clear(struct world *world);
void sim_server_frame(struct sim_conn *conn, struct ph_frame *frame);
void sim_server_closed(struct sim_conn *conn);

/* Writes the frame down. */
void sim_trace_frame(struct world *world, const char *from, const struct ph_frame_header *header,
                     const uint8_t *message, size_t len);

/* workload.c: what the simulated programs do. */
void sim_process_start(struct sim_process *process);

#endif
