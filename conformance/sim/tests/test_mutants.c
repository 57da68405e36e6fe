/* What the simulator is there to notice, it notices. */
#include "conformance/sim/mutants.h"
#include "conformance/sim/sim.h"

enum { WORLDS = 9000, SOUND_WORLDS = 200 };

static void test_mutant(gconstpointer data)
{
    const struct sim_mutant *mutant = data;
    g_autofree char *why = NULL;
    guint caught = sim_mutant_catch(mutant, 1, WORLDS, &why);
    if (caught == 0)
        g_error("%s (%s) was not noticed in %d worlds", mutant->name, mutant->what, WORLDS);
    g_test_message("noticed in world %u", caught);
}

/* The hooks alone break nothing, whatever is favoured. */
static void test_sound(void)
{
    for (const struct sim_mutant *mutant = sim_mutants; mutant->name; mutant++) {
        struct sim_mutant none = *mutant;
        g_autofree char *why = NULL;
        none.mutant = PH_MUTANT_NONE;
        guint broken = sim_mutant_catch(&none, 1, SOUND_WORLDS, &why);
        if (broken != 0)
            g_error("without any mutant, in world %u of %s: %s", broken, mutant->name, why);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/sim/mutants/none: nothing is noticed", test_sound);
    for (const struct sim_mutant *mutant = sim_mutants; mutant->name; mutant++) {
        g_autofree char *path = g_strconcat("/sim/mutants/", mutant->name, NULL);
        g_test_add_data_func(path, mutant, test_mutant);
    }
    return g_test_run();
}
