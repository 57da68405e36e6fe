/* pohmel-sim-matrix: every fault in every phase, many times; prints what was struck how often. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "conformance/sim/sim.h"

enum { TRIES_PER_SCHEDULE = 8, STEPS = 60 };

struct choice {
    gint64 seed, schedules, steps;
    gboolean write_back, single, trace;
    char *fault, *phase;
};

struct cell {
    gint64 struck, broken, broken_seed;
    char *words; /* what was broken first */
};

static void run_cell(const struct choice *choice, enum sim_fault fault, enum sim_phase phase,
                     struct cell *cell)
{
    gint64 tries = choice->schedules * TRIES_PER_SCHEDULE;
    for (gint64 i = 0; i < tries && cell->struck < choice->schedules; i++) {
        struct sim_options options = {.seed = (uint64_t) (choice->seed + i),
                                      .steps = (uint64_t) choice->steps,
                                      .caching = TRUE,
                                      .write_back = choice->write_back,
                                      .single = choice->single,
                                      .fault = fault,
                                      .phase = phase,
                                      .no_trace = !choice->trace,
                                      .trace_out = choice->trace ? stdout : NULL};
        struct sim_result result;
        sim_run(&options, &result);
        cell->struck += result.strikes > 0;
        if (result.violation && cell->broken++ == 0) {
            cell->broken_seed = choice->seed + i;
            cell->words = g_strdup(result.violation);
        }
        sim_result_clear(&result);
        if (cell->broken)
            return;
    }
}

static gboolean is_wanted(const char *wanted, const char *name)
{
    return !wanted || strcmp(wanted, name) == 0;
}

/* Any moment is a column of its own only for who asks for it. */
static gboolean is_wanted_phase(const char *wanted, int phase)
{
    return (wanted || phase != SIM_PHASE_NONE) && is_wanted(wanted, sim_phase_name((enum sim_phase) phase));
}

static void print_head(const struct choice *choice)
{
    printf("%-24s", "");
    for (int phase = SIM_PHASE_NONE; phase < SIM_PHASES; phase++) {
        if (is_wanted_phase(choice->phase, phase))
            printf(" | %-19s", sim_phase_name((enum sim_phase) phase));
    }
    putchar('\n');
}

/* Returns how many cells of the row are broken. */
static int run_row(const struct choice *choice, enum sim_fault fault, GString *words, gint64 *worlds)
{
    int broken = 0;
    printf("%-24s", sim_fault_name(fault));
    for (int phase = SIM_PHASE_NONE; phase < SIM_PHASES; phase++) {
        struct cell cell = {0};
        const char *name = sim_phase_name((enum sim_phase) phase);
        if (!is_wanted_phase(choice->phase, phase))
            continue;
        run_cell(choice, fault, (enum sim_phase) phase, &cell);
        *worlds += cell.struck;
        g_autofree char *text = g_strdup_printf("%" PRId64 "%s", cell.struck, cell.broken ? " BROKEN" : "");
        printf(" | %-19s", text);
        fflush(stdout);
        if (!cell.broken)
            continue;
        broken++;
        g_string_append_printf(
            words,
            "BROKEN: %s\nagain with: pohmel-sim-matrix%s%s --fault '%s' --phase '%s' --seed %" PRId64
            " --steps %" PRId64 " --schedules 1 --trace\n",
            cell.words, choice->write_back ? " --write-back" : "", choice->single ? " --single" : "",
            sim_fault_name(fault), name, cell.broken_seed, choice->steps);
        g_free(cell.words);
    }
    putchar('\n');
    return broken;
}

static int run(const struct choice *choice)
{
    g_autoptr(GString) words = g_string_new(NULL);
    gint64 worlds = 0;
    int broken = 0, rows = 0;
    print_head(choice);
    for (int fault = SIM_FAULT_NONE + 1; fault < SIM_FAULTS; fault++) {
        if (!is_wanted(choice->fault, sim_fault_name((enum sim_fault) fault)))
            continue;
        broken += run_row(choice, (enum sim_fault) fault, words, &worlds);
        rows++;
    }
    if (rows == 0) {
        fprintf(stderr, "pohmel-sim-matrix: there is no fault called %s\n", choice->fault);
        return 2;
    }
    printf("%s%" PRId64 " worlds were struck, %d cells are broken\n", words->str, worlds, broken);
    return broken > 0;
}

int main(int argc, char **argv)
{
    struct choice choice = {.seed = 1, .schedules = 1000, .steps = STEPS};
    const GOptionEntry entries[] = {
        {"seed", 0, 0, G_OPTION_ARG_INT64, &choice.seed, "Seed of the first world of each cell (1)", "N"},
        {"schedules", 0, 0, G_OPTION_ARG_INT64, &choice.schedules,
         "Worlds that are struck in each cell (1000)", "K"},
        {"steps", 0, 0, G_OPTION_ARG_INT64, &choice.steps, "Operations of the programs of each (60)", "M"},
        {"write-back", 0, 0, G_OPTION_ARG_NONE, &choice.write_back, "Clients write back", NULL},
        {"single", 0, 0, G_OPTION_ARG_NONE, &choice.single, "No transactions of several commands", NULL},
        {"fault", 0, 0, G_OPTION_ARG_STRING, &choice.fault, "Only this row", "NAME"},
        {"phase", 0, 0, G_OPTION_ARG_STRING, &choice.phase, "Only this column", "NAME"},
        {"trace", 0, 0, G_OPTION_ARG_NONE, &choice.trace, "Print all that happens", NULL},
        {NULL}};
    g_autoptr(GError) error = NULL;
    g_autoptr(GOptionContext) context = g_option_context_new("- every fault in every phase");
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error) || argc > 1 || choice.steps < 0 ||
        choice.schedules < 1) {
        fprintf(stderr, "pohmel-sim-matrix: %s; try --help\n", error ? error->message : "wrong arguments");
        return 2;
    }
    int status = run(&choice);
    g_free(choice.fault);
    g_free(choice.phase);
    return status;
}
