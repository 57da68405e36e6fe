/* The simulated world: the same every time, and what must hold in it does. */
#include <string.h>

#include "conformance/sim/sim.h"

enum { STEPS = 1500, WORLDS = 12 };

static void run(uint64_t seed, struct sim_result *result)
{
    struct sim_options options = {.seed = seed, .steps = STEPS, .keep_trace = TRUE};
    sim_run(&options, result);
    if (result->violation)
        g_error("seed %" G_GUINT64_FORMAT ", %d steps: %s", seed, STEPS, result->violation);
}

static void test_same_seed(void)
{
    struct sim_result first, second, other;
    uint64_t seed = (uint64_t) g_test_rand_int();
    g_test_message("seed %" G_GUINT64_FORMAT, seed);
    run(seed, &first);
    run(seed, &second);
    run(seed + 1, &other);
    g_assert_cmpuint(first.trace.hash, ==, second.trace.hash);
    g_assert_cmpstr(first.trace.text->str, ==, second.trace.text->str);
    g_assert_cmpuint(first.events, ==, second.events);
    g_assert_cmpuint(first.trace.hash, !=, other.trace.hash);
    sim_result_clear(&first);
    sim_result_clear(&second);
    sim_result_clear(&other);
}

static void test_promises(void)
{
    uint64_t seed = (uint64_t) g_test_rand_int();
    struct sim_result total = {0};
    for (uint64_t i = 0; i < WORLDS; i++) {
        struct sim_result result;
        g_test_message("seed %" G_GUINT64_FORMAT, seed + i);
        run(seed + i, &result);
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

/* Worlds that once broke a promise: a connection just made as the client shut down. */
static void test_broke_once(void)
{
    static const uint64_t seeds[] = {893077204};
    for (size_t i = 0; i < G_N_ELEMENTS(seeds); i++) {
        struct sim_result result;
        run(seeds[i], &result);
        sim_result_clear(&result);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/sim/same seed, same trace; another seed, another", test_same_seed);
    g_test_add_func("/sim/exactly once, locks exclude, what was written is read", test_promises);
    g_test_add_func("/sim/seeds that once broke a promise", test_broke_once);
    return g_test_run();
}
