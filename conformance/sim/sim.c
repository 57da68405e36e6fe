/* A world from its beginning to its end. */
#include "conformance/sim/sim.h"

#include "conformance/sim/world.h"

enum {
    TICK_US = 10000,
    /* A world that is not done by then hangs. */
    LIFE_BASE_S = 1800,
    LIFE_PER_STEP_MS = 100,
    QUIET_US = 2000000, /* for the last words after all is done */
};

/* All cores look at the clock. */
static void on_tick(struct world *world, void *data)
{
    (void) data;
    for (int i = 0; i < SIM_CLIENTS; i++)
        sim_client_tick(&world->clients[i]);
    for (guint i = 0; i < world->conns->len; i++)
        sim_conn_tick(world->conns->pdata[i]);
    sim_after(world, TICK_US, on_tick, NULL, NULL);
}

static gboolean all_stopped(const struct world *world)
{
    for (int i = 0; i < SIM_CLIENTS; i++) {
        for (int j = 0; j < SIM_PROCESSES; j++) {
            if (!world->clients[i].processes[j].stopped)
                return FALSE;
        }
    }
    return TRUE;
}

static gboolean all_closed(const struct world *world)
{
    for (int i = 0; i < SIM_CLIENTS; i++) {
        if (!world->clients[i].closed)
            return FALSE;
    }
    return TRUE;
}

/* Goes on until DONE says so; a world that does not get there by UNTIL_US hangs. */
static void run_until(struct world *world, gboolean (*done)(const struct world *), uint64_t until_us,
                      const char *what)
{
    while (!world->result->violation && !done(world)) {
        if (world->now_us > until_us) {
            sim_violate(world, "it hangs: %s", what);
            return;
        }
        sim_step(world);
        if (model_store_violation(world->store))
            sim_violate(world, "%s", model_store_violation(world->store));
    }
}

/* What must hold when nothing is going on any more. */
static void check_quiet(struct world *world)
{
    for (int i = 0; i < SIM_CLIENTS; i++) {
        const struct sim_client *client = &world->clients[i];
        if (ph_client_in_flight(client->core) || ph_client_queued(client->core))
            sim_violate(world, "%s: requests are left over", client->name);
        if (ph_client_credits_free(client->core) != ph_client_opened(client->core)->credits)
            sim_violate(world, "%s: credits got lost", client->name);
        world->result->transactions += ph_client_counters(client->core)->transactions;
    }
    if (ph_server_running(world->server))
        sim_violate(world, "server: calls are left over");
    if (ph_server_sessions(world->server))
        sim_violate(world, "server: a session outlived its client");
    if (model_store_handles(world->store))
        sim_violate(world, "store: a handle outlived its session");
}

static void world_end(struct world *world)
{
    sim_drop_events(world);
    for (int i = 0; i < SIM_CLIENTS; i++)
        sim_client_clear(&world->clients[i]);
    g_ptr_array_unref(world->conns);
    /* After a broken promise calls may be under way; the process ends soon. */
    if (!world->result->violation)
        sim_server_clear(world);
    g_array_unref(world->events);
    g_free(world);
}

void sim_run(const struct sim_options *options, struct sim_result *result)
{
    struct world *world = g_new0(struct world, 1);
    *result = (struct sim_result){0};
    sim_trace_init(&result->trace, options->keep_trace, options->trace_out);
    world->result = result;
    world->steps_left = options->steps;
    world->events = sim_events_new();
    world->conns = g_ptr_array_new_with_free_func(sim_conn_free);
    ph_random_seed(&world->random, options->seed);
    sim_server_init(world);
    for (int i = 0; i < SIM_CLIENTS; i++)
        sim_client_init(&world->clients[i], world, i);
    sim_after(world, 0, on_tick, NULL, NULL);

    uint64_t life_us = (LIFE_BASE_S * UINT64_C(1000) + options->steps * LIFE_PER_STEP_MS) * 1000;
    run_until(world, all_stopped, life_us, "programs wait for answers that do not come");
    world->calm = TRUE;
    for (int i = 0; i < SIM_CLIENTS; i++)
        sim_client_shutdown(&world->clients[i]);
    run_until(world, all_closed, world->now_us + 10 * QUIET_US, "a session does not close");
    for (uint64_t end_us = world->now_us + QUIET_US; !result->violation && world->now_us < end_us;)
        sim_step(world);
    if (!result->violation)
        check_quiet(world);
    result->now_us = world->now_us;
    world_end(world);
}

void sim_result_clear(struct sim_result *result)
{
    sim_trace_clear(&result->trace);
    g_free(result->violation);
    result->violation = NULL;
}
