#include "conformance/sim/profile.h"

#include <string.h>

#include "conformance/sim/history.h"
#include "conformance/sim/sim.h"

void sim_profile_locks(struct sim_profile *profile)
{
    *profile = (struct sim_profile){.clients = 2,
                                    .processes = 4,
                                    .think_us = 4000,
                                    .stall_us = 400000,
                                    .stall_per_mille = 5,
                                    .disk_us = 8000,
                                    .answer_us = 500,
                                    .connect_fails_per_mille = 100,
                                    .repeat_per_mille = 150,
                                    .cut_per_mille = 8,
                                    .linger_us = 1};
    for (int i = 0; i < SIM_CLIENTS_MAX; i++) {
        for (int end = 0; end < 2; end++)
            profile->latency_us[i][end] = 2000;
    }
}

/* One of a few values, which differ by much. */
static unsigned one_of(struct ph_random *random, const unsigned *values, size_t count)
{
    return values[ph_random_below(random, count)];
}

#define ONE_OF(random, ...)                                                                                  \
    one_of(random, (const unsigned[]){__VA_ARGS__}, sizeof((unsigned[]){__VA_ARGS__}) / sizeof(unsigned))

/* What the programs like. Usually a few things, so that these meet. */
static void choose_deeds(struct sim_profile *profile, struct ph_random *random)
{
    static const unsigned even[SIM_DEEDS] = {
        [SIM_STAT] = 30,  [SIM_GETATTR] = 10, [SIM_READ] = 15,   [SIM_LIST] = 8,  [SIM_WRITE] = 10,
        [SIM_APPEND] = 6, [SIM_CHOWN] = 6,    [SIM_CREATE] = 10, [SIM_MKDIR] = 3, [SIM_REMOVE] = 10,
        [SIM_LINK] = 6,   [SIM_RENAME] = 8,   [SIM_SYNC] = 4,
    };
    gboolean names = ph_random_chance(random, 600), data = !names || ph_random_chance(random, 500);
    for (int i = 0; i < SIM_SEVERAL; i++) {
        gboolean of_data =
            i == SIM_READ || i == SIM_WRITE || i == SIM_APPEND || i == SIM_CHOWN || i == SIM_GETATTR;
        profile->weight[i] = (of_data ? data : names) ? even[i] : 0;
        if (ph_random_chance(random, 150))
            profile->weight[i] *= 4;
        if (ph_random_chance(random, 100))
            profile->weight[i] = 0;
    }
    profile->weight[SIM_STAT] += names;
    profile->weight[SIM_READ] += data;
}

static void choose_trouble(struct sim_profile *profile, struct ph_random *random)
{
    if (ph_random_chance(random, 500))
        profile->cut_per_mille = ONE_OF(random, 5, 20);
    if (ph_random_chance(random, 250)) {
        profile->pause_per_mille = ONE_OF(random, 5, 20);
        profile->pause_us = 1000000 * (uint64_t) ONE_OF(random, 5, 19, 22, 45);
    }
    if (ph_random_chance(random, 250))
        profile->crash_per_mille = ONE_OF(random, 5, 15);
    profile->linger_us = ONE_OF(random, 1, 200000, 3000000);
    for (int i = 0; i < SIM_CLIENTS_MAX; i++)
        profile->clock_ppm[i] = (int64_t) ph_random_below(random, 39001) - 19500;
}

void sim_profile_caching(struct sim_profile *profile, struct ph_random *random)
{
    *profile = (struct sim_profile){.clients = 3, .connect_fails_per_mille = 50};
    if (ph_random_chance(random, 200))
        profile->clients = 4;
    if (ph_random_chance(random, 200))
        profile->clients = 2;
    profile->processes = (int) ONE_OF(random, 1, 2, 2, 3);
    profile->think_us = ONE_OF(random, 500, 4000, 20000);
    for (int i = 0; i < SIM_CLIENTS_MAX; i++) {
        for (int end = 0; end < 2; end++)
            profile->latency_us[i][end] = ONE_OF(random, 100, 1000, 1000, 8000);
    }
    profile->stall_per_mille = ONE_OF(random, 0, 5, 50);
    profile->stall_us = ONE_OF(random, 5000, 50000, 400000);
    profile->disk_us = ONE_OF(random, 50, 1000, 8000);
    profile->answer_us = ONE_OF(random, 10, 500, 8000);
    profile->kernel_us = ONE_OF(random, 5, 300, 6000);
    profile->repeat_per_mille = ONE_OF(random, 0, 100);
    profile->forget_per_mille = ONE_OF(random, 0, 20, 100);
    profile->cache_objects = ONE_OF(random, 2, 1000, 1000);
    profile->cache_leases = ONE_OF(random, 2, 1000, 1000);
    profile->groups = ONE_OF(random, 1, 1, SIM_GROUPS);
    profile->strange_per_mille = ONE_OF(random, 100, 500, 1000);
    profile->rest_per_mille = ONE_OF(random, 0, 30, 200);
    profile->rest_us = ONE_OF(random, 100000, 3000000);
    if (ph_random_chance(random, 400))
        profile->turn_us = ONE_OF(random, 100000, 2500000, 5000000);
    profile->flush_age_ms = ONE_OF(random, 10, 100, 5000);
    profile->dirty_limit = ONE_OF(random, 1, 2000, 1000000);
    profile->flush_in_flight = ONE_OF(random, 1, 4, 64);
    choose_deeds(profile, random);
    choose_trouble(profile, random);
    profile->resumable = ph_random_chance(random, 600);
    /* Who does not claim what he held goes on using it until he notices: R-9.6-3. */
    if (profile->resumable && ph_random_chance(random, 300))
        profile->server_crash_per_mille = ONE_OF(random, 3, 10);
}

void sim_profile_several(struct sim_profile *profile, uint64_t seed, gboolean often)
{
    enum { OFTEN_PER_MILLE = 600, PER_MILLE = 350, LOOKS = 10 };
    static const uint64_t salt = UINT64_C(0x5e7e2a1); /* chance of its own: other worlds stay what they are */
    struct ph_random random;
    ph_random_seed(&random, seed ^ salt);
    if (!ph_random_chance(&random, often ? OFTEN_PER_MILLE : PER_MILLE))
        return;
    profile->weight[SIM_SEVERAL] = ONE_OF(&random, 5, 15, 40);
    profile->weight[SIM_STAT] += LOOKS;
    profile->weight[SIM_READ] += LOOKS;
}

void sim_profile_quiet(struct sim_profile *profile)
{
    profile->connect_fails_per_mille = profile->repeat_per_mille = 0;
    profile->cut_per_mille = profile->pause_per_mille = profile->crash_per_mille = 0;
    profile->server_crash_per_mille = 0;
    profile->resumable = TRUE;
    /* There are renames to be caught. */
    profile->weight[SIM_RENAME] += 4;
    profile->weight[SIM_STAT] += 1;
}

void sim_profile_power(struct sim_profile *profile, gboolean own)
{
    enum { SYNCS = 12, FEW = 2000, MANY = 100000 };
    profile->weight[SIM_SYNC] = MAX(profile->weight[SIM_SYNC], SYNCS);
    if (!own)
        return;
    profile->clients = MIN(profile->clients, SIM_GROUPS);
    profile->groups = SIM_GROUPS;
    profile->strange_per_mille = 0;
    profile->owned_limit = profile->cache_objects % 1000 == 0 ? MANY : FEW;
}

void sim_profile_favour(struct sim_profile *profile, unsigned favour)
{
    enum { LONG_US = 45000000, LATE_US = 8000, LINGER_US = 3000000 };
    if (favour & SIM_FAVOUR_PAUSES) {
        profile->pause_per_mille = 20;
        profile->pause_us = LONG_US;
    }
    if (favour & SIM_FAVOUR_CUTS) {
        profile->resumable = FALSE; /* so that sessions are lost */
        profile->server_crash_per_mille = 0;
        profile->cut_per_mille = 40;
        profile->crash_per_mille = 15;
        profile->disk_us = LATE_US;
        profile->linger_us = LINGER_US;
    }
    if (favour & SIM_FAVOUR_RESTARTS) {
        profile->resumable = TRUE;
        profile->server_crash_per_mille = 20;
    }
    if (favour & SIM_FAVOUR_SHORT_LIVES) {
        memset(profile->weight, 0, sizeof(profile->weight));
        profile->weight[SIM_CREATE] = 40;
        profile->weight[SIM_REMOVE] = 40;
        profile->flush_age_ms = 10;
    }
    if (favour & SIM_FAVOUR_NAMES) {
        profile->groups = 1;
        profile->weight[SIM_LINK] = 20;
        profile->weight[SIM_REMOVE] = 20;
        profile->weight[SIM_STAT] = 40;
        profile->weight[SIM_CREATE] = 10;
    }
}
