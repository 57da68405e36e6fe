#include "conformance/sim/mutants.h"

#include "conformance/sim/sim.h"

enum { STEPS = 100 };

enum ph_mutant ph_mutant_now = PH_MUTANT_NONE;

const struct sim_mutant sim_mutants[] = {
    {PH_MUTANT_RECALL_FORGOTTEN, "recall-overtakes-grant",
     "a recall that overtakes its grant is answered, and forgotten", 0, FALSE, FALSE},
    {PH_MUTANT_RELEASE_LOST, "lost-release", "a recall of what is not held is not answered", 0, FALSE, FALSE},
    {PH_MUTANT_NO_EXPIRY, "stale-lease-after-pause", "leases are used past their time", SIM_FAVOUR_PAUSES,
     FALSE},
    {PH_MUTANT_FENCED_EARLY, "stale-lease-fenced-early", "a session is fenced long before its leases end",
     SIM_FAVOUR_PAUSES, FALSE, FALSE},
    {PH_MUTANT_LOST_AT_ONCE, "stale-lease-after-loss", "what a lost session held is free at once",
     SIM_FAVOUR_CUTS, FALSE, FALSE},
    {PH_MUTANT_KEPT_AFTER_LOSS, "kept-after-loss",
     "a client goes on with its leases when the session is lost", SIM_FAVOUR_CUTS, FALSE, FALSE},
    {PH_MUTANT_LEASE_ID_AGAIN, "id-reuse", "a lease gets the id of the one before", 0, FALSE, FALSE},
    {PH_MUTANT_FENCED_GOES_ON, "write-after-fencing", "what an ended session was waiting for is executed",
     SIM_FAVOUR_CUTS | SIM_FAVOUR_PAUSES, FALSE, FALSE},
    {PH_MUTANT_RELEASE_ANY, "release-racing-grant", "an old release takes a newer lease away", 0, FALSE,
     FALSE},
    {PH_MUTANT_UNRECALLABLE, "unrecallable-grant", "a lease is granted that nobody can recall", 0, FALSE,
     FALSE},
    {PH_MUTANT_ALIAS, "hard-link-alias", "leases on what a removed name stood for are left alone",
     SIM_FAVOUR_NAMES, FALSE, FALSE},
    {PH_MUTANT_GRANT_WHILE_WAITING, "grant-while-waiting", "leases go out on what somebody waits to change",
     SIM_FAVOUR_NAMES, FALSE, FALSE},
    {PH_MUTANT_GRANT_OLD_READING, "grant-of-old-reading",
     "a lease goes out with what was read before a change", 0, FALSE, FALSE},
    {PH_MUTANT_CHANGE_AT_ONCE, "change-at-once", "a change does not wait for the leases that it recalls", 0,
     FALSE},
    {PH_MUTANT_RELEASE_FIRST, "release-before-drop", "a lease is given back before the kernel has forgotten",
     0, FALSE, FALSE},
    {PH_MUTANT_UNANNOUNCED, "own-change-unannounced", "own changes are not announced to the cache", 0, FALSE,
     FALSE},
    {PH_MUTANT_READ_AT_ONCE, "readdir-against-pending-creates", "readings do not wait for exclusive leases",
     0, TRUE, FALSE},
    {PH_MUTANT_GLIMPSE_KEPT, "glimpse-kept", "what a glimpse brought is kept by who asked", 0, TRUE, FALSE},
    {PH_MUTANT_GLIMPSE_OLD, "glimpse-of-old", "a glimpse is answered with what the server knows already", 0,
     TRUE},
    {PH_MUTANT_RELEASE_DIRTY, "append-and-size-race", "a lease is given back before what is dirty was sent",
     0, TRUE, FALSE},
    {PH_MUTANT_RECALL_UNTOLD, "write-after-recall",
     "changes are kept back under a lease that is being recalled", 0, TRUE, FALSE},
    {PH_MUTANT_RANGES_OVERLAP, "overlapping-ranges", "a range is granted that others have bytes of", 0, TRUE,
     FALSE},
    {PH_MUTANT_RANGE_OUTSIDE, "answer-outside-of-range",
     "what is written past a range is kept back as if it were in it", 0, TRUE, FALSE},
    {PH_MUTANT_SIZE_OF_THE_STORE, "size-with-two-owners",
     "who looks while ranges are out is told the size that the store has", 0, TRUE, FALSE},
    {PH_MUTANT_NO_GRACE, "double-grant-after-restart", "a server that was started again serves all at once",
     SIM_FAVOUR_RESTARTS, FALSE, FALSE},
    {PH_MUTANT_RECORD_LOST, "non-idempotent-replay",
     "a session that is taken up again has forgotten what it answered", SIM_FAVOUR_RESTARTS | SIM_FAVOUR_CUTS,
     FALSE},
    {PH_MUTANT_STABLE_EARLY, "stable-too-early", "a sync is answered before anything is stable", 0, FALSE,
     TRUE},
    {PH_MUTANT_UNSTABLE_FORGOTTEN, "unstable-forgotten", "what the server lost is not made again", 0, TRUE,
     TRUE},
    {PH_MUTANT_ADOPT_ANY, "adopted-unseen", "what has the name of what was made is given its id uncompared",
     SIM_FAVOUR_SHORT_LIVES, TRUE, TRUE},
    {PH_MUTANT_GATE_OPEN, "gate-open", "others come in between the commands of a transaction",
     SIM_FAVOUR_SEVERAL, FALSE, FALSE},
    {PH_MUTANT_NOT_ALL_BACK, "first-command-stays", "a transaction that fails leaves its first command done",
     SIM_FAVOUR_SEVERAL, FALSE, FALSE},
    {PH_MUTANT_NOT_UNDONE, "no-undo-at-start",
     "a start leaves what a transaction had done when the server died",
     SIM_FAVOUR_SEVERAL | SIM_FAVOUR_RESTARTS, FALSE, FALSE},
    {PH_MUTANT_DONE_AGAIN, "executed-again", "a transaction whose answer is recorded is executed once more",
     SIM_FAVOUR_SEVERAL | SIM_FAVOUR_RESTARTS, FALSE, FALSE},
    {PH_MUTANT_NONE, NULL, NULL, 0, FALSE, FALSE},
};

guint sim_mutant_catch(const struct sim_mutant *mutant, uint64_t first_seed, guint worlds, char **why)
{
    guint caught = 0;
    *why = NULL;
    ph_mutant_now = mutant->mutant;
    for (guint i = 0; i < worlds && caught == 0; i++) {
        struct sim_options options = {.seed = first_seed + i,
                                      .steps = STEPS,
                                      .caching = TRUE,
                                      .write_back = mutant->write_back,
                                      .no_loss = mutant->write_back,
                                      .single = !(mutant->favour & SIM_FAVOUR_SEVERAL),
                                      .favour = mutant->favour,
                                      .fault = mutant->power ? SIM_FAULT_POWER : SIM_FAULT_NONE,
                                      .no_trace = TRUE};
        struct sim_result result;
        sim_run(&options, &result);
        if (result.violation) {
            caught = i + 1;
            *why = g_strdup(result.violation);
        }
        sim_result_clear(&result);
    }
    ph_mutant_now = PH_MUTANT_NONE;
    return caught;
}
