/* The server dies, wherever it is, and is started again. What its store had done is done. */
#include "conformance/sim/world.h"
#include "ph_commands.h"

enum { SOON_US = 60000, DOWN_US = 2000000 };

static void bury(struct world *world, struct ph_actions *actions);

/* What is left of a call goes, without an effect: its store is dead. */
static void bury_call(struct world *world, struct ph_server_call *call, gboolean executed)
{
    struct ph_actions actions = {0};
    if (!executed)
        ph_server_execute(call);
    ph_server_done(call, &actions);
    bury(world, &actions);
}

/* Nothing of what a dead server wants is done. */
static void bury(struct world *world, struct ph_actions *actions)
{
    for (size_t i = 0; i < actions->count; i++) {
        const struct ph_action *action = ph_actions_get(actions, i);
        if (action->kind == PH_ACTION_RUN)
            bury_call(world, action->call, FALSE);
    }
    ph_actions_clear(actions);
}

static void bury_running(struct world *world)
{
    while (world->running->len > 0) {
        struct sim_running *running = g_ptr_array_remove_index_fast(world->running, 0);
        struct ph_server_call *call = running->call;
        running->call = NULL; /* the event that has it frees it */
        bury_call(world, call, running->executed);
    }
}

static void bury_connections(struct world *world)
{
    for (guint i = 0; i < world->conns->len; i++) {
        struct sim_conn *conn = world->conns->pdata[i];
        struct ph_actions actions = {0};
        if (conn->closed[SIM_END_SERVER])
            continue;
        ph_server_conn_closed(conn->server_conn, FALSE, &actions);
        bury(world, &actions);
        sim_conn_server_died(conn);
    }
}

static void on_start(struct world *world, void *data)
{
    (void) data;
    sim_trace_line(&world->result->trace, world->now_us, "server", "starts again");
    model_store_restart(world->store);
    sim_server_start(world);
    world->dying = FALSE;
}

void sim_server_bury(struct world *world)
{
    struct ph_actions actions = {0};
    world->broken_off = FALSE;
    sim_trace_line(&world->result->trace, world->now_us, "server", "dies%s, with %u calls under way",
                   world->powerless ? " for lack of power" : "", world->running->len);
    world->result->server_crashes++;
    bury_running(world);
    bury_connections(world);
    /* Those that were waiting. */
    ph_server_shut_down(world->server);
    ph_server_tick(world->server, sim_server_ms(world), &actions);
    bury(world, &actions);
    if (ph_server_running(world->server))
        sim_violate(world, "server: calls are left over from a server that died");
    else
        ph_server_free(world->server);
    world->server = NULL;
    if (world->powerless)
        sim_power_lost(world);
    world->powerless = FALSE;
    sim_after(world, sim_below(world, DOWN_US), on_start, NULL, NULL);
}

/* With the machine, if world->powerless says so. */
static void on_crash(struct world *world, void *data)
{
    (void) data;
    model_store_die(world->store);
    world->broken_off = world->middle;
    if (!world->middle)
        sim_server_bury(world);
}

gboolean sim_server_crash_now(struct world *world)
{
    if (world->dying || !world->server)
        return FALSE;
    world->dying = TRUE;
    sim_after(world, 0, on_crash, NULL, NULL);
    return TRUE;
}

gboolean sim_server_lose_power(struct world *world)
{
    if (!sim_server_crash_now(world))
        return FALSE;
    world->powerless = TRUE;
    return TRUE;
}

void sim_server_crash(struct world *world)
{
    if (world->dying || !world->server)
        return;
    world->dying = TRUE;
    sim_after(world, sim_below(world, SOON_US), on_crash, NULL, NULL);
}
