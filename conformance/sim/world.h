/* Inside of the simulated world. */
#ifndef PH_CONFORMANCE_SIM_WORLD_H
#define PH_CONFORMANCE_SIM_WORLD_H

#include "client/core/reclaim.h"
#include "client/core/session.h"
#include "runtime/base/limits.h"
#include "conformance/sim/history.h"
#include "conformance/sim/model_store.h"
#include "conformance/sim/phase.h"
#include "conformance/sim/power.h"
#include "conformance/sim/profile.h"
#include "conformance/sim/several.h"
#include "conformance/sim/sim.h"
#include "conformance/sim/strike.h"
#include "runtime/base/random.h"
#include "runtime/core/conn.h"
#include "runtime/wire/stub.h"
#include "server/core/server_core.h"

enum { SIM_PROCESSES_MAX = 4, SIM_END_CLIENT = 0, SIM_END_SERVER = 1 };

struct world;
struct sim_client;
struct sim_caching;
struct sim_writeback;
struct sim_task;

/* Something that is to happen. */
typedef void (*sim_event_fn)(struct world *world, void *data);

/* A connection, both ends and the wire between. */
struct sim_conn {
    struct world *world;
    struct sim_client *client;
    int number;
    struct ph_conn *ends[2];
    uint64_t arrival_us[2];  /* when the last bytes on their way to that end arrive */
    uint64_t server_over_us; /* when the server was told of its end; 0: not yet */
    gboolean closed[2];      /* that end was told */
    gboolean left;           /* the client's end closed it, and the server's could see that */
    gboolean cut, ready_told;
    gboolean deaf[2]; /* what is on its way to that end is lost */
    struct ph_server_conn *server_conn;
    uint64_t session; /* number of the one that was asked for last over it; 0 for none */
};

/* A simulated program: does one thing after the other. workload.c or programs.c */
struct sim_process {
    struct sim_client *client;
    int index;
    gboolean busy, stopped;
    uint64_t handle, object; /* of a register; OBJECT 0 for none */
    uint64_t lock_session;   /* generation in which a lock was taken; 0 for none */
    uint64_t ticket, op;     /* OP: number of the operation at hand */
    uint64_t value, count;   /* what is being written */
    uint64_t started_us;
    gboolean doomed;                  /* the transaction at hand must fail and leave nothing */
    struct sim_task *task;            /* what it has asked its kernel for, in a world that caches */
    uint64_t seen_object[SIM_GROUPS]; /* a file that it has seen under some name */
    unsigned slot, slot2, flags;      /* what it is about */
    gboolean made_directory;
    uint64_t losses; /* of sessions, when it began */
    struct sim_opened {
        uint64_t handle, session;
    } opened[1 + MODEL_REGISTERS];
    struct sim_several several; /* that it makes */
};

struct sim_client {
    struct world *world;
    int index;
    char name[8];
    struct ph_client *core;
    struct ph_stub stub;
    uint8_t id[PH_CLIENT_ID_BYTES];
    GHashTable *ended;               /* number of a session -> microseconds, when the server ended it */
    struct sim_writeback *writeback; /* NULL in a world without */
    struct sim_caching *caching;     /* NULL in a world without leases */
    uint64_t opened_start;           /* of the server, in which its session was opened */
    uint64_t clock_offset_ms;
    int64_t clock_ppm;        /* how much faster than the world's its clock runs */
    uint64_t paused_until_us; /* nothing happens to it until then */
    uint64_t trouble_us; /* until then it may be too slow to answer recalls, through no fault of its own */
    gboolean ticked;     /* since it was paused last */
    gboolean dead;       /* it crashed; another one has its place */
    struct sim_conn *last_conn; /* through which what failed just now had been sent */
    struct sim_conn *conn;      /* NULL for none */
    uint64_t next_handle;
    gboolean closed, closed_in_order, close_answered;
    struct ph_reclaim reclaim; /* leases that it is claiming */
    GHashTable *owned;         /* what waits for answers: pointer -> GDestroyNotify */
    GHashTable *repeats;       /* id -> struct repeat, of transactions that were sent twice */
    struct sim_process processes[SIM_PROCESSES_MAX];
};

/* Who holds the lock on a register, as far as the programs know. */
struct sim_holder {
    struct sim_process *process;
    struct sim_conn *conn;
};

/* A stat that was told by who has the object in its cache: it may be lost with that. */
struct sim_glimpsed {
    guint index; /* in the history */
    uint64_t object;
};

struct world {
    struct ph_random random;
    uint64_t now_us, next_serial, steps_left;
    GArray *events; /* a heap of struct sim_event */
    struct sim_result *result;
    struct model_store *store;
    struct ph_server_export exports[1];
    struct ph_server *server; /* NULL while it is down */
    uint64_t starts;          /* of the server */
    GPtrArray *running;       /* struct sim_running: calls on their way through the server */
    gboolean dying;           /* it is planned that the server dies */
    gboolean powerless;       /* and its machine with it */
    gboolean executing;       /* a call is being executed that others may run beside */
    gboolean middle;          /* and is between two commands of its transaction */
    gboolean broken_off;      /* the server died there */
    struct sim_profile profile;
    struct sim_client *clients[SIM_CLIENTS_MAX]; /* those that live */
    GPtrArray *all_clients;                      /* those that crashed too */
    struct sim_history history;
    GArray *doubts;            /* struct sim_doubt */
    GArray *glimpsed;          /* struct sim_glimpsed */
    uint64_t glimpses_lost_us; /* when one was last lost that may not have been seen yet */
    GArray *doomed;            /* uint64_t, written in transactions that failed in the end */
    uint64_t next_value;
    uint32_t last_transaction; /* of several commands; number in the history */
    uint64_t last_key;         /* by which one of several commands was asked for */
    GHashTable *whole;         /* ids of files that are never seen without what is in them */
    GPtrArray *conns;          /* struct sim_conn, all that there ever were */
    struct sim_holder holders[MODEL_REGISTERS];
    gboolean caching; /* its clients do, and tell what they see */
    gboolean write_back;
    gboolean calm;        /* no more cuts and failures */
    gboolean ending;      /* all sessions are being closed */
    enum sim_fault fault; /* that strikes in PHASE; SIM_FAULT_NONE for a world of chance */
    enum sim_phase phase;
    struct sim_phases *phases; /* NULL in a world of chance */
    struct sim_power *power;   /* NULL in a world without loss of power */
    unsigned strikes, patience;
    uint64_t ticks;
};

/* events.c */

/* No events planned. */
GArray *sim_events_new(void);

/* Has FN called at now + DELAY_US. DATA is freed with FREE_DATA when the world ends before. */
void sim_after(struct world *world, uint64_t delay_us, sim_event_fn fn, void *data, GDestroyNotify free_data);

/* The same for something that happens to CLIENT: not while it is paused, and not when it is dead. */
void sim_after_at(struct sim_client *client, uint64_t delay_us, sim_event_fn fn, void *data,
                  GDestroyNotify free_data);

/* Lets the next event happen. FALSE when there is none. */
gboolean sim_step(struct world *world);
/* When that happens. */
uint64_t sim_next_us(const struct world *world);
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

/* What the server's clock shows: its machine has run for longer than anything is waited for. */
static inline uint64_t sim_server_ms(const struct world *world)
{
    return 3 * (uint64_t) PH_AWAY_MAX_MS + sim_now_ms(world);
}

/* What CLIENT's clock shows. */
static inline uint64_t sim_client_ms(const struct sim_client *client)
{
    return client->clock_offset_ms +
           (uint64_t) ((int64_t) client->world->now_us / 1000 * (1000000 + client->clock_ppm) / 1000000);
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

/* A client in place INDEX, with its programs. */
struct sim_client *sim_client_new(struct world *world, int index);
void sim_client_free(void *client);

/* As ph_link_send_flush of client/link.h; GENERATION 0: as any other request. */
uint64_t sim_client_send(struct sim_client *client, uint64_t generation, uint16_t command,
                         const ProtobufCMessage *message, struct ph_blob *payload, ph_reply_fn fn,
                         void *data);

/* DATA waits for an answer of CLIENT: freed by FREE_DATA should that never come; it came. */
void sim_client_own(struct sim_client *client, void *data, GDestroyNotify free_data);
void sim_client_disown(struct sim_client *client, void *data);

/* It crashes, and is started again as another one. HARD: with its machine, so that nobody tells the server.
 */
void sim_client_crash(struct sim_client *client, gboolean hard);

/* Nothing happens to it for US, while its clock goes on. */
void sim_client_pause(struct sim_client *client, uint64_t us);
void sim_client_act(struct sim_client *client, struct ph_client_actions *actions);
void sim_client_tick(struct sim_client *client);
void sim_client_ready(struct sim_conn *conn);
void sim_client_frame(struct sim_conn *conn, struct ph_frame *frame);
void sim_client_closed(struct sim_conn *conn, const struct ph_fault *fault);
void sim_client_shutdown(struct sim_client *client);

/* reclaim.c: actions CLAIMS, GRANTS and CLAIMED of the client's core. */
void sim_reclaim_claim(struct sim_client *client);
void sim_reclaim_grant(struct sim_client *client, const struct ph_frame *frame);
void sim_reclaim_done(struct sim_client *client);

/* The server with its store, and what the network tells it. */
void sim_server_init(struct world *world);
void sim_server_clear(struct world *world);
void sim_server_frame(struct sim_conn *conn, struct ph_frame *frame);
void sim_server_closed(struct sim_conn *conn);
void sim_server_tick(struct world *world);

/* It dies some time soon, in the midst of whatever it does, and is started again. server_crash.c */
void sim_server_crash(struct world *world);

/* The same at once; FALSE where it is down, or about to die. */
gboolean sim_server_crash_now(struct world *world);

/* The same with its machine: what was not stable is lost. */
gboolean sim_server_lose_power(struct world *world);

/* Where it died in the middle of a transaction: what was put off until nothing of it is executed any more. */
void sim_server_bury(struct world *world);

/* middle.c: others have their turn between two commands; for model_store_between. */
void sim_middle(void *world);

/* A call on its way through the server. */
struct sim_running {
    struct ph_server_call *call; /* NULL: the server died */
    gboolean executed;
};

/* The server is started, for the first time or again. */
void sim_server_start(struct world *world);

/* The server of CONN died: that end is gone without a word. network.c */
void sim_conn_server_died(struct sim_conn *conn);

/* Writes the frame down. */
void sim_trace_frame(struct world *world, const char *from, const struct ph_frame_header *header,
                     const uint8_t *message, size_t len);

/* workload.c: what the simulated programs do that take locks and repeat themselves. */
void sim_process_start(struct sim_process *process);

/* programs.c: what those do whose machines cache. */
void sim_program_start(struct sim_process *process);

/* EVENT of CLIENT, whose answer was lost with CONN (NULL: it was never sent), may happen as long as the
 * server knows the session; begun at its begin_ns (microseconds, for once). */
void sim_world_doubt(struct world *world, const struct ph_event *event, struct sim_client *client,
                     struct sim_conn *conn);

/* Those of CLIENT are gone: what they were doing may have happened, or happen still. */
void sim_programs_died(struct sim_client *client);

/* caching.c: the client between its kernel and its link. */
struct sim_caching *sim_caching_new(struct sim_client *client);
void sim_caching_free(struct sim_caching *caching);
void sim_caching_opened(struct sim_caching *caching);
void sim_caching_lost(struct sim_caching *caching);
void sim_caching_expired(struct sim_caching *caching);
void sim_caching_recall(struct sim_caching *caching, const Pohmel__RecallEvent *recall);
void sim_caching_glimpse(struct sim_caching *caching, const Pohmel__GlimpseEvent *glimpse);

#endif
