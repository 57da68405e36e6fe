/* A world from its beginning to its end. */
#include "conformance/sim/sim.h"

#include "conformance/sim/tell.h"
#include "conformance/sim/world.h"
#include "conformance/sim/writeback.h"

enum {
    TICK_US = 10000,
    SERVER_TICKS = 5,
    /* A world that is not done by then hangs. */
    LIFE_BASE_S = 1800,
    LIFE_PER_STEP_MS = 100,
    NOTICED_US = 100000000,
    QUIET_US = 2000000, /* for the last words after all is done */
};

/* All cores look at the clock. */
static void on_tick(struct world *world, void *data)
{
    (void) data;
    for (int i = 0; i < world->profile.clients; i++) {
        if (!world->clients[i]->dead)
            sim_client_tick(world->clients[i]);
    }
    if (world->ticks++ % SERVER_TICKS == 0)
        sim_server_tick(world);
    sim_power_tick(world);
    for (guint i = 0; i < world->conns->len; i++)
        sim_conn_tick(world->conns->pdata[i]);
    sim_after(world, TICK_US, on_tick, NULL, NULL);
}

static gboolean all_stopped(const struct world *world)
{
    for (int i = 0; i < world->profile.clients; i++) {
        for (int j = 0; j < world->profile.processes; j++) {
            if (world->clients[i]->dead || !world->clients[i]->processes[j].stopped)
                return FALSE;
        }
    }
    return TRUE;
}

static gboolean all_closed(const struct world *world)
{
    for (int i = 0; i < world->profile.clients; i++) {
        if (!world->clients[i]->closed)
            return FALSE;
    }
    return TRUE;
}

/* The server has seen the end of all connections. */
static gboolean all_noticed(const struct world *world)
{
    for (guint i = 0; i < world->conns->len; i++) {
        const struct sim_conn *conn = world->conns->pdata[i];
        if (!conn->closed[SIM_END_SERVER])
            return FALSE;
    }
    return TRUE;
}

static gboolean nothing_runs(const struct world *world)
{
    return world->server && ph_server_running(world->server) == 0;
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
        if (world->fault)
            sim_strike(world);
        sim_step(world);
        if (model_store_violation(world->store))
            sim_violate(world, "%s", model_store_violation(world->store));
    }
}

/* A change whose answer was lost. */
struct sim_doubt {
    struct ph_event event;
    uint64_t begin_us, lost_us;
    const struct sim_conn *conn;
    const struct sim_client *client;
    uint64_t session; /* in which it was sent */
};

void sim_world_doubt(struct world *world, const struct ph_event *event, struct sim_client *client,
                     struct sim_conn *conn)
{
    struct sim_doubt doubt = {.event = *event,
                              .begin_us = event->begin_ns,
                              .lost_us = world->now_us,
                              .conn = conn,
                              .client = client};
    sim_identify(world, &doubt.event);
    /* A client has one session after the other. */
    for (guint i = 0; i < world->conns->len; i++) {
        const struct sim_conn *one = world->conns->pdata[i];
        if (one->client == client)
            doubt.session = MAX(doubt.session, one->session);
    }
    g_array_append_val(world->doubts, doubt);
}

/* When nothing of the session in which it was sent was executed any more. */
static uint64_t session_end_us(const struct world *world, const struct sim_doubt *doubt)
{
    const uint64_t *end_us = g_hash_table_lookup(doubt->client->ended, &doubt->session);
    return end_us ? *end_us + 2 * (uint64_t) (world->profile.disk_us + world->profile.answer_us)
                  : world->now_us;
}

/* What was doubtful was done while the server knew the session, or not at all. A call that had just got what
 * it waited for is executed still, and holds its claim meanwhile. */
static void settle_doubts(struct world *world)
{
    for (guint i = 0; i < world->doubts->len; i++) {
        const struct sim_doubt *doubt = &g_array_index(world->doubts, struct sim_doubt, i);
        uint64_t end_us = doubt->lost_us;
        if (doubt->conn)
            end_us = MAX(end_us, doubt->conn->server_over_us +
                                     2 * (uint64_t) (world->profile.disk_us + world->profile.answer_us));
        if (world->profile.resumable)
            end_us = MAX(end_us, session_end_us(world, doubt));
        sim_history_add(&world->history, &doubt->event, doubt->begin_us, end_us);
    }
}

/* What the programs saw, as a whole. */
static void judge(struct world *world)
{
    size_t len;
    settle_doubts(world);
    sim_power_settle(world);
    const uint8_t *log = model_store_data(world->store, MODEL_LOG, &len);
    g_autofree char *why = sim_history_judge(&world->history, log, len);
    world->result->judged = world->history.events->len;
    world->result->undecided = world->history.undecided;
    if (why)
        sim_violate(world, "%s", why);
}

/* What must hold when nothing is going on any more. */
static void check_quiet(struct world *world)
{
    for (int i = 0; i < world->profile.clients; i++) {
        const struct sim_client *client = world->clients[i];
        if (ph_client_in_flight(client->core) || ph_client_queued(client->core))
            sim_violate(world, "%s: requests are left over", client->name);
        /* A fault may strike a client that is taking its session up when it is told to end. */
        if (client->closed_in_order && !world->fault &&
            ph_client_credits_free(client->core) != ph_client_opened(client->core)->credits)
            sim_violate(world, "%s: credits got lost", client->name);
        world->result->transactions += ph_client_counters(client->core)->transactions;
    }
    for (guint i = 0; i < world->doomed->len; i++) {
        if (model_store_writes_of(world->store, g_array_index(world->doomed, uint64_t, i)) > 0)
            sim_violate(world,
                        "a transaction that must fail, and was not answered, left its first command done");
    }
    if (ph_server_running(world->server))
        sim_violate(world, "server: calls are left over");
    if (ph_server_sessions(world->server))
        sim_violate(world, "server: a session outlived its client");
    if (model_store_handles(world->store) && ph_server_sessions_away(world->server) == 0)
        sim_violate(world, "store: a handle outlived its session");
    if (world->caching)
        judge(world);
}

static void world_end(struct world *world)
{
    sim_drop_events(world);
    g_ptr_array_unref(world->all_clients);
    g_ptr_array_unref(world->conns);
    sim_history_clear(&world->history);
    g_array_unref(world->doubts);
    g_array_unref(world->doomed);
    g_array_unref(world->glimpsed);
    g_hash_table_unref(world->whole);
    /* After a broken promise calls may be under way; the process ends soon. */
    if (!world->result->violation)
        sim_server_clear(world);
    g_array_unref(world->events);
    sim_phases_free(world->phases);
    sim_power_free(world->power);
    g_free(world);
}

static gboolean all_drained(const struct world *world)
{
    for (int i = 0; i < world->profile.clients; i++) {
        if (!sim_writeback_is_drained(world->clients[i]->writeback))
            return FALSE;
    }
    return sim_power_is_over(world);
}

/* What was changed in caches is written back. */
static void drain(struct world *world)
{
    for (int i = 0; world->write_back && i < world->profile.clients; i++)
        sim_writeback_drain(world->clients[i]->writeback);
    if (world->write_back)
        run_until(world, all_drained, world->now_us + NOTICED_US, "what is dirty cannot be written back");
}

/* What kind of world it is, for who reads its trace. */
static void describe(struct world *world)
{
    const struct sim_profile *profile = &world->profile;
    g_autoptr(GString) weights = g_string_new(NULL);
    for (int i = 0; i < SIM_DEEDS; i++)
        g_string_append_printf(weights, " %u", profile->weight[i]);
    sim_trace_line(
        &world->result->trace, 0, "world",
        "%d clients of %d programs, think %u us, rest %u us in %u of 1000, turns %" G_GUINT64_FORMAT
        " us, disk %u us, answer %u us, kernel %u us, flush after %" G_GUINT64_FORMAT
        " ms, cache %zu %zu, deeds%s",
        profile->clients, profile->processes, profile->think_us, profile->rest_us, profile->rest_per_mille,
        profile->turn_us, profile->disk_us, profile->answer_us, profile->kernel_us, profile->flush_age_ms,
        profile->cache_objects, profile->cache_leases, weights->str);
}

/* Nothing is known yet of what programs do. */
static void begin_history(struct world *world)
{
    sim_history_init(&world->history);
    world->doubts = g_array_new(FALSE, FALSE, sizeof(struct sim_doubt));
    world->doomed = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    world->glimpsed = g_array_new(FALSE, FALSE, sizeof(struct sim_glimpsed));
    world->whole = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
}

void sim_run(const struct sim_options *options, struct sim_result *result)
{
    static const struct ph_fault over = {.text = "the mount has ended"};
    struct world *world = g_new0(struct world, 1);
    *result = (struct sim_result){0};
    sim_trace_init(&result->trace, options->keep_trace, options->trace_out);
    world->result = result;
    world->steps_left = options->steps;
    world->events = sim_events_new();
    world->conns = g_ptr_array_new_with_free_func(sim_conn_free);
    world->all_clients = g_ptr_array_new_with_free_func(sim_client_free);
    world->caching = options->caching || options->write_back;
    world->write_back = options->write_back;
    result->trace.off = options->no_trace;
    ph_random_seed(&world->random, options->seed);
    if (world->caching)
        sim_profile_caching(&world->profile, &world->random);
    else
        sim_profile_locks(&world->profile);
    sim_profile_favour(&world->profile, options->favour);
    if (world->caching && !options->single)
        sim_profile_several(&world->profile, options->seed,
                            options->fault || (options->favour & SIM_FAVOUR_SEVERAL));
    if (options->no_loss)
        world->profile.cut_per_mille = world->profile.pause_per_mille =
            world->profile.server_crash_per_mille = 0;
    world->fault = options->fault;
    world->phase = options->phase;
    if (world->fault)
        sim_profile_quiet(&world->profile);
    /* What is appended behind what was refused leaves a hole there. */
    if (world->write_back && sim_fault_refuses(world->fault))
        world->profile.weight[SIM_APPEND] = 0;
    if (world->fault == SIM_FAULT_POWER)
        sim_profile_power(&world->profile, world->write_back);
    describe(world);
    begin_history(world);
    if (world->fault)
        sim_strike_plan(world);
    sim_server_init(world);
    if (world->fault == SIM_FAULT_POWER)
        sim_power_begin(world);
    for (int i = 0; i < world->profile.clients; i++)
        sim_client_new(world, i);
    sim_after(world, 0, on_tick, NULL, NULL);

    uint64_t life_us = (LIFE_BASE_S * UINT64_C(1000) + options->steps * LIFE_PER_STEP_MS) * 1000;
    run_until(world, all_stopped, life_us, "programs wait for answers that do not come");
    world->calm = TRUE;
    drain(world);
    for (int i = 0; i < world->profile.clients; i++)
        sim_client_shutdown(world->clients[i]);
    world->ending = TRUE;
    run_until(world, all_closed, world->now_us + (world->fault ? NOTICED_US : 10 * QUIET_US),
              "a session does not close");
    for (guint i = 0; i < world->conns->len && !result->violation; i++)
        sim_conn_close(world->conns->pdata[i], SIM_END_CLIENT, &over);
    run_until(world, all_noticed, world->now_us + NOTICED_US,
              "the server does not notice that a client is gone");
    for (uint64_t end_us = world->now_us + QUIET_US; !result->violation && world->now_us < end_us;)
        sim_step(world);
    /* What waits for those who crashed goes on when their time is over. */
    run_until(world, nothing_runs, world->now_us + 3 * NOTICED_US, "calls wait for nobody");
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
