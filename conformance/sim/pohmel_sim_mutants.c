/* pohmel-sim-mutants: breaks one rule after the other, and prints after how many worlds that was noticed. */
#include <stdio.h>
#include <string.h>

#include "conformance/sim/mutants.h"

enum { WORLDS = 20000 };

int main(int argc, char **argv)
{
    int missed = 0;
    if (argc > 2 || (argc == 2 && argv[1][0] == '-')) {
        printf("usage: pohmel-sim-mutants [NAME]\n\nBreaks each rule (or only NAME) and says after how many "
               "simulated "
               "worlds that was noticed.\n");
        return argc == 2 && strcmp(argv[1], "--help") == 0 ? 0 : 2;
    }
    printf("%-32s %7s  %s\n", "mutant", "worlds", "what is broken, and how that showed first");
    for (const struct sim_mutant *mutant = sim_mutants; mutant->name; mutant++) {
        g_autofree char *why = NULL;
        if (argc == 2 && strcmp(argv[1], mutant->name) != 0)
            continue;
        guint caught = sim_mutant_catch(mutant, 1, WORLDS, &why);
        if (!caught) {
            printf("%-32s %7s  %s: NOT NOTICED in %d worlds\n", mutant->name, "-", mutant->what, WORLDS);
            missed++;
            continue;
        }
        printf("%-32s %7u  %s: %.*s\n", mutant->name, caught, mutant->what, (int) strcspn(why, "\n"), why);
    }
    return missed > 0;
}
