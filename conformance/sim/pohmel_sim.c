/* pohmel-sim: runs simulated worlds from a seed. */
#include <inttypes.h>
#include <stdio.h>

#include "conformance/sim/sim.h"

struct choice {
    gint64 seed, steps, worlds;
    gboolean trace, locks, quiet;
};

static void say(gint64 seed, const struct sim_result *result)
{
    printf("seed %" PRId64 ": trace %016" PRIx64 ", %" PRIu64 " lines, %" PRIu64 " events in %" PRIu64
           " s; %" PRIu64 " sessions, %" PRIu64 " cuts, %" PRIu64 " transactions (%" PRIu64
           " sent twice), %" PRIu64 " locks, %" PRIu64 " cancels; %" PRIu64 " seen and done, %" PRIu64
           " from caches, %" PRIu64 " from kernels, %" PRIu64 " recalls, %" PRIu64 " pauses, %" PRIu64
           " crashes, %" PRIu64 " fenced\n",
           seed, result->trace.hash, result->trace.lines, result->events, result->now_us / 1000000,
           result->sessions, result->cuts, result->transactions, result->repeats, result->locks,
           result->cancels, result->judged, result->hits, result->kernel_hits, result->recalls,
           result->pauses, result->crashes, result->fences);
}

static int run(const struct choice *choice)
{
    gint64 begun_us = g_get_monotonic_time();
    uint64_t judged = 0;
    for (gint64 i = 0; i < choice->worlds; i++) {
        struct sim_options options = {.seed = (uint64_t) (choice->seed + i),
                                      .steps = (uint64_t) choice->steps,
                                      .caching = !choice->locks,
                                      .no_trace = choice->quiet,
                                      .trace_out = choice->trace ? stdout : NULL};
        struct sim_result result;
        sim_run(&options, &result);
        judged += result.judged;
        if (!choice->quiet)
            say(choice->seed + i, &result);
        if (result.violation) {
            printf("BROKEN: %s\nagain with: pohmel-sim%s --seed %" PRId64 " --steps %" PRId64 " --trace\n",
                   result.violation, choice->locks ? " --locks" : "", choice->seed + i, choice->steps);
            return 1;
        }
        sim_result_clear(&result);
    }
    double seconds = (double) (g_get_monotonic_time() - begun_us) / 1e6;
    if (choice->quiet)
        printf("%" PRId64 " worlds, %" PRIu64 " things seen and done, nothing broken; %.0f worlds a second\n",
               choice->worlds, judged, (double) choice->worlds / seconds);
    return 0;
}

int main(int argc, char **argv)
{
    struct choice choice = {.seed = g_get_real_time() & G_MAXINT32, .steps = 100, .worlds = 1};
    const GOptionEntry entries[] = {
        {"seed", 0, 0, G_OPTION_ARG_INT64, &choice.seed,
         "Seed of the (first) world; from the clock without it", "N"},
        {"steps", 0, 0, G_OPTION_ARG_INT64, &choice.steps, "Operations of its programs (100)", "M"},
        {"worlds", 0, 0, G_OPTION_ARG_INT64, &choice.worlds, "Number of worlds, each with the next seed (1)",
         "K"},
        {"locks", 0, 0, G_OPTION_ARG_NONE, &choice.locks,
         "Worlds without leases: locks, and requests sent twice", NULL},
        {"quiet", 0, 0, G_OPTION_ARG_NONE, &choice.quiet, "Print what is broken and a sum; fast", NULL},
        {"trace", 0, 0, G_OPTION_ARG_NONE, &choice.trace, "Print all that happens", NULL},
        {NULL}};
    g_autoptr(GError) error = NULL;
    g_autoptr(GOptionContext) context = g_option_context_new("- clients and a server in a world of chance");
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error) || argc > 1 || choice.steps < 0 ||
        choice.worlds < 1) {
        fprintf(stderr, "pohmel-sim: %s; try --help\n", error ? error->message : "wrong arguments");
        return 2;
    }
    return run(&choice);
}
