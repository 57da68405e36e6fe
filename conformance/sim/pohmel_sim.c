/* pohmel-sim: runs simulated worlds from a seed. */
#include <inttypes.h>
#include <stdio.h>

#include "conformance/sim/sim.h"

struct choice {
    gint64 seed, steps, worlds;
    gboolean trace, locks, quiet, write_back, no_loss, single;
};

static void say(gint64 seed, const struct sim_result *result)
{
    const struct {
        const char *what;
        uint64_t count;
    } counts[] = {
        {"events", result->events},
        {"sessions", result->sessions},
        {"cuts", result->cuts},
        {"pauses", result->pauses},
        {"crashes", result->crashes},
        {"fenced", result->fences},
        {"transactions", result->transactions},
        {"sent twice", result->repeats},
        {"locks", result->locks},
        {"cancels", result->cancels},
        {"seen and done", result->judged},
        {"from caches", result->hits},
        {"from kernels", result->kernel_hits},
        {"recalls", result->recalls},
        {"reclaims", result->reclaims},
        {"glimpses", result->glimpses},
        {"answered here", result->local},
        {"sent on", result->forwarded},
        {"written back", result->written_back},
        {"merged", result->merged},
        {"cancelled here", result->cancelled_here},
        {"ranges", result->ranges},
        {"ranges cut down", result->ranges_cut},
        {"doubtful", result->doubted},
        {"failed", result->failures},
        {"undecided", result->undecided},
        {"of several commands", result->several},
        {"looks into their middle", result->middles},
    };
    printf("seed %" PRId64 ": trace %016" PRIx64 ", %" PRIu64 " s", seed, result->trace.hash,
           result->now_us / 1000000);
    for (size_t i = 0; i < G_N_ELEMENTS(counts); i++) {
        if (counts[i].count > 0)
            printf(", %" PRIu64 " %s", counts[i].count, counts[i].what);
    }
    putchar('\n');
}

static int run(const struct choice *choice)
{
    gint64 begun_us = g_get_monotonic_time();
    uint64_t judged = 0;
    for (gint64 i = 0; i < choice->worlds; i++) {
        struct sim_options options = {.seed = (uint64_t) (choice->seed + i),
                                      .steps = (uint64_t) choice->steps,
                                      .caching = !choice->locks,
                                      .write_back = choice->write_back,
                                      .no_loss = choice->no_loss,
                                      .single = choice->single,
                                      .no_trace = choice->quiet,
                                      .trace_out = choice->trace ? stdout : NULL};
        struct sim_result result;
        sim_run(&options, &result);
        judged += result.judged;
        if (!choice->quiet)
            say(choice->seed + i, &result);
        if (result.violation) {
            printf("BROKEN: %s\nagain with: pohmel-sim%s%s%s%s --seed %" PRId64 " --steps %" PRId64
                   " --trace\n",
                   result.violation, choice->locks ? " --locks" : "",
                   choice->write_back ? " --write-back" : "", choice->no_loss ? " --no-loss" : "",
                   choice->single ? " --single" : "", choice->seed + i, choice->steps);
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
        {"write-back", 0, 0, G_OPTION_ARG_NONE, &choice.write_back, "Clients write back", NULL},
        {"no-loss", 0, 0, G_OPTION_ARG_NONE, &choice.no_loss, "No session is lost but by crashes", NULL},
        {"single", 0, 0, G_OPTION_ARG_NONE, &choice.single, "No transactions of several commands", NULL},
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
