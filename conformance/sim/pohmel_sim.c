/* pohmel-sim: runs simulated worlds from a seed. */
#include <inttypes.h>
#include <stdio.h>

#include "conformance/sim/sim.h"

int main(int argc, char **argv)
{
    gint64 seed = g_get_real_time() & G_MAXINT32, steps = 2000, worlds = 1;
    gboolean trace = FALSE;
    const GOptionEntry entries[] = {
        {"seed", 0, 0, G_OPTION_ARG_INT64, &seed, "Seed of the (first) world; from the clock without it",
         "N"},
        {"steps", 0, 0, G_OPTION_ARG_INT64, &steps, "Operations of its programs (2000)", "M"},
        {"worlds", 0, 0, G_OPTION_ARG_INT64, &worlds, "Number of worlds, each with the next seed (1)", "K"},
        {"trace", 0, 0, G_OPTION_ARG_NONE, &trace, "Print all that happens", NULL},
        {NULL}};
    g_autoptr(GError) error = NULL;
    g_autoptr(GOptionContext) context =
        g_option_context_new("- two clients and a server in a world of chance");
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error) || argc > 1 || steps < 0 || worlds < 1) {
        fprintf(stderr, "pohmel-sim: %s; try --help\n", error ? error->message : "wrong arguments");
        return 2;
    }
    for (gint64 i = 0; i < worlds; i++) {
        struct sim_options options = {
            .seed = (uint64_t) (seed + i), .steps = (uint64_t) steps, .trace_out = trace ? stdout : NULL};
        struct sim_result result;
        sim_run(&options, &result);
        printf("seed %" PRId64 ": trace %016" PRIx64 ", %" PRIu64 " lines, %" PRIu64 " events in %" PRIu64
               " s; %" PRIu64 " sessions, %" PRIu64 " cuts, %" PRIu64 " transactions (%" PRIu64
               " sent twice), %" PRIu64 " locks, %" PRIu64 " cancels\n",
               seed + i, result.trace.hash, result.trace.lines, result.events, result.now_us / 1000000,
               result.sessions, result.cuts, result.transactions, result.repeats, result.locks,
               result.cancels);
        if (result.violation) {
            printf("BROKEN: %s\nagain with: pohmel-sim --seed %" PRId64 " --steps %" PRId64 " --trace\n",
                   result.violation, seed + i, steps);
            return 1;
        }
        sim_result_clear(&result);
    }
    return 0;
}
