#include "conformance/sim/strike.h"

#include "conformance/sim/phase.h"
#include "conformance/sim/world.h"
#include "ph_commands.h"

enum {
    STRIKES = 2,             /* in one world, the second where it comes to that */
    LATER_MAX = 8,           /* moments of the phase that pass before the first */
    MUCH_LATER_MAX = 500,    /* where it matters what was done before */
    LATER_OF_1000 = 100,     /* of the moments after that are let pass */
    PAUSE_US = 45000000,     /* two lease times and more */
    TOLD_DEAD_US = 90000000, /* until a machine that hears nothing is given up, at most */
    CLOCK_PPM = 19900,       /* just below what is allowed */
    FAILURES = 3,            /* of a disk, one after the other */
    RESTART_STEPS = 50,      /* of its programs, until a server dies so that others can claim */
};

const char *sim_fault_name(enum sim_fault fault)
{
    static const char *const names[SIM_FAULTS] = {
        [SIM_FAULT_NONE] = "none",
        [SIM_FAULT_CLIENT] = "client killed",
        [SIM_FAULT_SERVER] = "server killed",
        [SIM_FAULT_BOTH] = "both killed",
        [SIM_FAULT_RESET] = "connection reset",
        [SIM_FAULT_PARTITION] = "one-way partition",
        [SIM_FAULT_PAUSE] = "paused beyond its lease",
        [SIM_FAULT_CLOCKS] = "clock rates off",
        [SIM_FAULT_DISK_FULL] = "disk full",
        [SIM_FAULT_DISK_ERROR] = "I/O error",
        [SIM_FAULT_SYNC] = "failed fsync",
        [SIM_FAULT_MEMORY] = "failed allocation",
        [SIM_FAULT_POWER] = "power loss",
    };
    return names[fault];
}

static struct sim_client *some_client(struct world *world)
{
    struct sim_client *client = world->clients[sim_below(world, (uint64_t) world->profile.clients)];
    return client->dead ? NULL : client;
}

/* A live connection, or NULL. */
static struct sim_conn *some_conn(struct world *world)
{
    guint start = (guint) sim_below(world, MAX(world->conns->len, 1));
    for (guint i = 0; i < world->conns->len; i++) {
        struct sim_conn *conn = world->conns->pdata[(start + i) % world->conns->len];
        if (!conn->cut && !conn->closed[SIM_END_CLIENT] && !conn->closed[SIM_END_SERVER] &&
            !conn->client->dead)
            return conn;
    }
    return NULL;
}

static gboolean kill_client(struct world *world)
{
    struct sim_client *client = some_client(world);
    if (client)
        sim_client_crash(client, sim_chance(world, 500));
    return client != NULL;
}

/* From now on one end hears nothing; it is found out by what is not answered. */
static gboolean part(struct world *world)
{
    struct sim_conn *conn = some_conn(world);
    if (!conn)
        return FALSE;
    int end = (int) sim_below(world, 2);
    conn->deaf[end] = TRUE;
    conn->client->trouble_us = MAX(conn->client->trouble_us, world->now_us + TOLD_DEAD_US);
    world->result->cuts++;
    sim_trace_line(&world->result->trace, world->now_us, "network",
                   "connection %d: %s hears nothing any more", conn->number,
                   end == SIM_END_SERVER ? "the server" : "the client");
    return TRUE;
}

static gboolean pause_client(struct world *world)
{
    struct sim_client *client = some_client(world);
    if (!client || client->paused_until_us > world->now_us)
        return FALSE;
    sim_client_pause(client, PAUSE_US);
    return TRUE;
}

/* All at once, as far from each other as they may be; no clock jumps. */
static gboolean turn_clocks(struct world *world)
{
    for (int i = 0; i < world->profile.clients; i++) {
        struct sim_client *client = world->clients[i];
        uint64_t shows_ms = sim_client_ms(client);
        client->clock_ppm = world->profile.clock_ppm[i] = sim_chance(world, 500) ? CLOCK_PPM : -CLOCK_PPM;
        client->clock_offset_ms += shows_ms - sim_client_ms(client);
    }
    return TRUE;
}

static gboolean fail(struct world *world, uint32_t status, gboolean syncs)
{
    model_store_fail(world->store, status, 1 + (unsigned) sim_below(world, FAILURES), syncs);
    return TRUE;
}

static gboolean do_strike(struct world *world)
{
    switch (world->fault) {
    case SIM_FAULT_CLIENT:
        return kill_client(world);
    case SIM_FAULT_SERVER:
        return sim_server_crash_now(world);
    case SIM_FAULT_BOTH:
        return kill_client(world) && sim_server_crash_now(world);
    case SIM_FAULT_RESET: {
        struct sim_conn *conn = some_conn(world);
        if (conn)
            sim_conn_cut(conn);
        return conn != NULL;
    }
    case SIM_FAULT_PARTITION:
        return part(world);
    case SIM_FAULT_PAUSE:
        return pause_client(world);
    case SIM_FAULT_CLOCKS:
        return turn_clocks(world);
    case SIM_FAULT_DISK_FULL:
        return fail(world, PH_ST_NO_SPACE, FALSE);
    case SIM_FAULT_DISK_ERROR:
        return fail(world, PH_ST_IO_ERROR, FALSE);
    case SIM_FAULT_SYNC:
        return fail(world, PH_ST_IO_ERROR, TRUE);
    case SIM_FAULT_MEMORY:
        return fail(world, PH_ST_NO_MEMORY, FALSE);
    case SIM_FAULT_POWER:
        return sim_server_lose_power(world);
    case SIM_FAULT_NONE:
    case SIM_FAULTS:
        break;
    }
    return FALSE;
}

gboolean sim_fault_refuses(enum sim_fault fault)
{
    return fault == SIM_FAULT_DISK_FULL || fault == SIM_FAULT_DISK_ERROR || fault == SIM_FAULT_MEMORY;
}

void sim_strike(struct world *world)
{
    if (world->strikes >= STRIKES || !sim_phase_is(world, world->phase))
        return;
    if (world->patience > 0) {
        world->patience--;
        return;
    }
    if (world->strikes > 0 && !sim_chance(world, LATER_OF_1000))
        return;
    sim_trace_line(&world->result->trace, world->now_us, "world", "%s strikes: %s",
                   sim_fault_name(world->fault), sim_phase_name(world->phase));
    if (!do_strike(world))
        return;
    world->strikes++;
    world->result->strikes++;
}

/* Who would claim needs a server that has died. */
static void on_prepared(struct world *world, void *data)
{
    (void) data;
    sim_server_crash(world);
}

void sim_strike_plan(struct world *world)
{
    world->phases = sim_phases_new();
    world->patience = (unsigned) sim_below(world, LATER_MAX);
    if (world->fault == SIM_FAULT_POWER && sim_chance(world, 500))
        world->patience = (unsigned) sim_below(world, MUCH_LATER_MAX);
    if (world->phase == SIM_PHASE_RECLAIM || world->phase == SIM_PHASE_GRACE)
        sim_after(world, sim_below(world, RESTART_STEPS * (uint64_t) (world->profile.think_us + 1)),
                  on_prepared, NULL, NULL);
}
