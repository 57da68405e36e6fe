/* The simulated world: the same every time, and what must hold in it does. */
#include <string.h>

#include "conformance/sim/sim.h"

enum { LOCK_STEPS = 1500, LOCK_WORLDS = 12, STEPS = 100, WORLDS = 10000, FIRST_SEED = 1 };

static void run(const struct sim_options *options, struct sim_result *result)
{
    sim_run(options, result);
    if (result->violation)
        g_error("pohmel-sim%s --seed %" G_GUINT64_FORMAT " --steps %" G_GUINT64_FORMAT ": %s",
                options->write_back ? (options->no_loss ? " --write-back --no-loss" : " --write-back")
                : options->caching  ? ""
                                    : " --locks",
                options->seed, options->steps, result->violation);
}

static void check_same(gboolean caching, uint64_t steps)
{
    struct sim_result first, second, other;
    struct sim_options options = {.seed = FIRST_SEED, .steps = steps, .caching = caching, .keep_trace = TRUE};
    g_test_message("seed %" G_GUINT64_FORMAT, options.seed);
    run(&options, &first);
    run(&options, &second);
    options.seed++;
    run(&options, &other);
    g_assert_cmpuint(first.trace.hash, ==, second.trace.hash);
    g_assert_cmpstr(first.trace.text->str, ==, second.trace.text->str);
    g_assert_cmpuint(first.events, ==, second.events);
    g_assert_cmpuint(first.trace.hash, !=, other.trace.hash);
    sim_result_clear(&first);
    sim_result_clear(&second);
    sim_result_clear(&other);
}

static void test_same_seed(void)
{
    check_same(FALSE, LOCK_STEPS);
    check_same(TRUE, STEPS);
}

static void test_promises(void)
{
    struct sim_options options = {.seed = FIRST_SEED, .steps = LOCK_STEPS, .keep_trace = TRUE};
    struct sim_result total = {0};
    for (uint64_t i = 0; i < LOCK_WORLDS; i++, options.seed++) {
        struct sim_result result;
        g_test_message("seed %" G_GUINT64_FORMAT, options.seed);
        run(&options, &result);
        total.cuts += result.cuts;
        total.repeats += result.repeats;
        total.locks += result.locks;
        total.cancels += result.cancels;
        sim_result_clear(&result);
    }
    /* What did not happen was not tested. */
    g_assert_cmpuint(total.cuts, >, 0);
    g_assert_cmpuint(total.repeats, >, 0);
    g_assert_cmpuint(total.locks, >, 0);
    g_assert_cmpuint(total.cancels, >, 0);
}

static void add(struct sim_result *total, const struct sim_result *result)
{
    total->judged += result->judged;
    total->hits += result->hits;
    total->kernel_hits += result->kernel_hits;
    total->recalls += result->recalls;
    total->glimpses += result->glimpses;
    total->cuts += result->cuts;
    total->pauses += result->pauses;
    total->crashes += result->crashes;
    total->server_crashes += result->server_crashes;
    total->fences += result->fences;
    total->local += result->local;
    total->written_back += result->written_back;
    total->merged += result->merged;
    total->cancelled_here += result->cancelled_here;
    total->doubted += result->doubted;
    total->several += result->several;
    total->middles += result->middles;
}

/* As many worlds as there is time for: under sanitizers each takes thirty times as long. */
static uint64_t some_worlds(uint64_t part)
{
    const char *fewer = g_getenv("PH_SIM_WORLDS");
    return (fewer ? g_ascii_strtoull(fewer, NULL, 10) : WORLDS) / part;
}

/* Runs WORLDS with OPTIONS. */
static void run_worlds(struct sim_options options, uint64_t worlds, struct sim_result *total)
{
    *total = (struct sim_result){0};
    options.steps = STEPS;
    options.no_trace = TRUE;
    for (uint64_t i = 0; i < worlds; i++) {
        struct sim_result result;
        options.seed = FIRST_SEED + i;
        run(&options, &result);
        add(total, &result);
        sim_result_clear(&result);
    }
    g_test_message("%" G_GUINT64_FORMAT " things seen and done, %" G_GUINT64_FORMAT
                   " told by caches, %" G_GUINT64_FORMAT " by kernels",
                   total->judged, total->hits, total->kernel_hits);
    g_assert_cmpuint(total->judged, >, 0);
    g_assert_cmpuint(total->hits, >, 0);
    g_assert_cmpuint(total->kernel_hits, >, 0);
    g_assert_cmpuint(total->recalls, >, 0);
    g_assert_cmpuint(total->crashes, >, 0);
    g_assert_cmpuint(total->several, >, 0);
    g_assert_cmpuint(total->middles, >, 0);
}

static void test_one_copy(void)
{
    struct sim_result total;
    run_worlds((struct sim_options){.caching = TRUE}, some_worlds(1), &total);
    g_assert_cmpuint(total.cuts, >, 0);
    g_assert_cmpuint(total.pauses, >, 0);
    g_assert_cmpuint(total.server_crashes, >, 0);
    g_assert_cmpuint(total.fences, >, 0);
}

static void test_write_back(void)
{
    struct sim_result total;
    run_worlds((struct sim_options){.write_back = TRUE, .no_loss = TRUE}, some_worlds(2), &total);
    g_assert_cmpuint(total.local, >, 0);
    g_assert_cmpuint(total.written_back, >, 0);
    g_assert_cmpuint(total.merged, >, 0);
    g_assert_cmpuint(total.glimpses, >, 0);
    g_assert_cmpuint(total.doubted, >, 0);
}

/* A world of the matrix. */
static struct sim_options in_the_matrix(gboolean write_back, enum sim_fault fault, enum sim_phase phase,
                                        uint64_t seed)
{
    enum { STRIKE_STEPS = 60 };
    return (struct sim_options){.seed = seed,
                                .steps = STRIKE_STEPS,
                                .caching = TRUE,
                                .write_back = write_back,
                                .fault = fault,
                                .phase = phase,
                                .no_trace = TRUE};
}

/* Whether the fault struck in that world of the matrix, in which nothing may break. */
static gboolean strikes(struct sim_options options)
{
    struct sim_result result;
    sim_run(&options, &result);
    if (result.violation)
        g_error("pohmel-sim-matrix%s%s --fault '%s' --phase '%s' --seed %" G_GUINT64_FORMAT ": %s",
                options.write_back ? " --write-back" : "", options.single ? " --single" : "",
                sim_fault_name(options.fault), sim_phase_name(options.phase), options.seed, result.violation);
    gboolean struck = result.strikes > 0;
    sim_result_clear(&result);
    return struck;
}

/* One fault in one phase: in so many worlds, each of which it must strike sooner or later. */
static void strike(gboolean write_back, enum sim_fault fault, enum sim_phase phase)
{
    enum { STRUCK = 3, TRIES = 40 };
    int struck = 0;
    for (uint64_t seed = FIRST_SEED; struck < STRUCK && seed < FIRST_SEED + TRIES; seed++)
        struck += strikes(in_the_matrix(write_back, fault, phase, seed));
    if (struck < STRUCK)
        g_error("%s, %s: only %d worlds were struck", sim_fault_name(fault), sim_phase_name(phase), struck);
}

static void test_every_fault_in_every_phase(void)
{
    for (int write_back = 0; write_back < 2; write_back++) {
        for (int fault = SIM_FAULT_NONE + 1; fault < SIM_FAULTS; fault++) {
            for (int phase = SIM_PHASE_IDLE; phase < SIM_PHASES; phase++) {
                strike(write_back, (enum sim_fault) fault, (enum sim_phase) phase);
            }
        }
    }
}

/* Worlds of clients that write back that once broke a promise. SINGLE: of before there were transactions of
 * several commands. */
static void test_broke_once(void)
{
    static const struct {
        uint64_t seed;
        gboolean single, no_loss;
    } worlds[] = {
        {14, TRUE, FALSE},   {379, TRUE, FALSE},  {555, TRUE, FALSE},  {573, TRUE, FALSE},
        {733, TRUE, FALSE},  {1386, TRUE, FALSE}, {1728, TRUE, FALSE}, {2090, TRUE, FALSE},
        {3616, FALSE, TRUE}, /* a lease in an answer from before a transaction was used */
        {1259, FALSE, TRUE}, /* a name that was being changed was known again */
    };
    for (size_t i = 0; i < G_N_ELEMENTS(worlds); i++) {
        struct sim_options options = {.seed = worlds[i].seed,
                                      .steps = STEPS,
                                      .write_back = TRUE,
                                      .single = worlds[i].single,
                                      .no_loss = worlds[i].no_loss,
                                      .no_trace = TRUE};
        struct sim_result result;
        run(&options, &result);
        sim_result_clear(&result);
    }
}

/* Worlds of the matrix that did. */
static void test_broke_in_the_matrix(void)
{
    static const struct {
        enum sim_fault fault;
        enum sim_phase phase;
        uint64_t seed;
        gboolean several;
    } worlds[] = {
        {SIM_FAULT_SERVER, SIM_PHASE_RENAME, 74}, /* given back under its new id before what was dirty */
        {SIM_FAULT_SERVER, SIM_PHASE_WANTED, 51},
        {SIM_FAULT_BOTH, SIM_PHASE_WANTED, 125},
        {SIM_FAULT_BOTH, SIM_PHASE_RECLAIM, 75},
        {SIM_FAULT_RESET, SIM_PHASE_RECLAIM, 100},    /* claimed once more after it was done */
        {SIM_FAULT_RESET, SIM_PHASE_RECLAIM, 131},    /* could not open again after it was done */
        {SIM_FAULT_RESET, SIM_PHASE_RECLAIM, 103},    /* recalled by an id that no answer had told */
        {SIM_FAULT_PAUSE, SIM_PHASE_UNANSWERED, 209}, /* made again what had been removed */
        {SIM_FAULT_PAUSE, SIM_PHASE_FLUSH, 191},      /* wrote over what others had written */
        {SIM_FAULT_PAUSE, SIM_PHASE_GRACE, 100},      /* told what could not be written back */
        {SIM_FAULT_POWER, SIM_PHASE_RENAME, 171},     /* a name was there again that had been moved */
        {SIM_FAULT_POWER, SIM_PHASE_RECLAIM, 565}, /* made two changes again in the order of their answers */
        {SIM_FAULT_SERVER, SIM_PHASE_WANTED, 100632, TRUE},     /* had alone what others shared */
        {SIM_FAULT_RESET, SIM_PHASE_RECLAIM, 101029, TRUE},     /* waited for each other to come back */
        {SIM_FAULT_PARTITION, SIM_PHASE_RECLAIM, 100263, TRUE}, /* told what was about to be given up */
        {SIM_FAULT_POWER, SIM_PHASE_IDLE, 38, TRUE}, /* made again what came before a transaction */
        {SIM_FAULT_POWER, SIM_PHASE_IDLE, 68, TRUE}, /* took what was undone for others' changes */
    };
    for (size_t i = 0; i < G_N_ELEMENTS(worlds); i++) {
        struct sim_options options = in_the_matrix(TRUE, worlds[i].fault, worlds[i].phase, worlds[i].seed);
        options.single = !worlds[i].several;
        strikes(options);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/sim/same seed, same trace; another seed, another", test_same_seed);
    g_test_add_func("/sim/exactly once, locks exclude, what was written is read", test_promises);
    g_test_add_func("/sim/whatever machines cache, all see one copy", test_one_copy);
    g_test_add_func("/sim/whatever machines keep back, all see one copy", test_write_back);
    g_test_add_func("/sim/every fault in every phase leaves one copy", test_every_fault_in_every_phase);
    g_test_add_func("/sim/seeds that once broke a promise", test_broke_once);
    g_test_add_func("/sim/worlds of the matrix that once broke a promise", test_broke_in_the_matrix);
    return g_test_run();
}
