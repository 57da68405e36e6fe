/* The leader of a race: rounds of random calls, each judged when it has ended. */
#include "tests/coherence/race.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/coherence/checker.h"
#include "tests/coherence/options.h"

/* A call is at most so many events; and some at the beginning and the end. */
enum { EVENTS_PER_CALL = 4, EVENTS_BESIDES = 400, PLANT_ATTEMPTS = 100000 };

static uint64_t mix(uint64_t value)
{
    value = (value ^ value >> 31) * UINT64_C(0x7fb5d329728ea185);
    value = (value ^ value >> 27) * UINT64_C(0x81dadef4bc2dd44d);
    return value ^ value >> 33;
}

/* Which families a round is about: all, or one or two so that they meet more often. One bit more: pauses. */
static uint64_t theme(const struct ph_options *options, uint32_t round)
{
    uint64_t random = mix(options->seed * 1000003 + round), families = 0;

    for (unsigned family = 0; family < RACE_FAMILIES && options->only; family++) {
        if (strstr(options->only, race_family_name[family]))
            families |= UINT64_C(1) << family;
    }
    if (!families && round % 4 == 0)
        families = (UINT64_C(1) << RACE_FAMILIES) - 1;
    else if (!families)
        families = UINT64_C(1) << round % RACE_FAMILIES | UINT64_C(1) << random % RACE_FAMILIES;
    return families | (random >> 16 & 1) << RACE_FAMILIES;
}

static struct ph_event *all_events(const struct ph_crew *crew, size_t *count)
{
    struct ph_event *all;
    size_t used = 0;

    *count = 0;
    for (unsigned i = 0; i < crew->workers; i++)
        *count += crew->worker[i].count;
    all = calloc(*count + 1, sizeof *all);
    for (unsigned i = 0; all && i < crew->workers; i++) {
        memcpy(all + used, crew->worker[i].events, crew->worker[i].count * sizeof *all);
        used += crew->worker[i].count;
    }
    return all;
}

static bool replaced_between(const struct ph_event *events, size_t count, const struct ph_event *old,
                             const struct ph_event *read)
{
    for (size_t i = 0; i < count; i++) {
        if (events[i].object == old->object && events[i].deed == PH_SET && events[i].begin_ns > old->end_ns &&
            events[i].end_ns < read->begin_ns)
            return true;
    }
    return false;
}

/* Makes one read answer what had been replaced already: the checker must find it. */
static bool plant(struct ph_event *events, size_t count, uint64_t random)
{
    for (unsigned attempt = 0; attempt < PLANT_ATTEMPTS; attempt++) {
        struct ph_event *read = &events[mix(random + 2 * attempt) % count];
        const struct ph_event *old = &events[mix(random + 2 * attempt + 1) % count];

        if (read->deed != PH_GET || old->deed != PH_SET || read->object != old->object ||
            old->end_ns >= read->begin_ns || !replaced_between(events, count, old, read))
            continue;
        read->value = old->value;
        fprintf(stderr, "planted: worker %u, %s, saw what had been replaced\n", read->worker, read->call);
        return true;
    }
    return false;
}

static bool judge(const struct ph_options *options, struct ph_crew *crew, unsigned *undecided)
{
    size_t count;
    struct ph_event *events = all_events(crew, &count);
    uint64_t origin_ns = crew->worker[0].events[0].begin_ns;
    bool good = true;

    if (!events)
        abort();
    if (options->plant && !plant(events, count, options->seed))
        fprintf(stderr, "coherence: found no place to plant a mistake in\n");
    for (unsigned object = 0; object < RACE_OBJECTS; object++) {
        enum ph_verdict verdict = PH_VERDICT_BAD;

        if (object != RACE_LOG || ph_log_number(RACE_LOG, events, count, crew->worker[0].shared_bytes,
                                                crew->worker[0].bytes_shared, stderr))
            verdict = ph_check_object(&race_object[object], object, events, count, origin_ns, stderr);
        if (verdict == PH_VERDICT_UNDECIDED)
            (*undecided)++;
        if (verdict == PH_VERDICT_BAD) {
            atomic_fetch_add(&crew->violations, 1);
            good = false;
        }
    }
    free(events);
    return good;
}

static bool run_round(const struct ph_options *options, struct ph_crew *crew, uint32_t round,
                      unsigned *undecided)
{
    struct ph_order order = {.round = round, .number = options->ops, .extra = theme(options, round)};
    unsigned before = atomic_load(&crew->violations);

    atomic_store(&crew->counter, 1);
    order.phase = RACE_MAKE;
    if (!ph_crew_order(crew, 0, 1, &order, NULL))
        return false;
    order.phase = RACE_OPEN;
    if (!ph_crew_order(crew, 0, crew->workers, &order, NULL))
        return false;
    order.phase = RACE_RUN;
    ph_crew_order(crew, 0, crew->workers, &order, NULL);
    order.phase = RACE_END;
    ph_crew_order(crew, 0, crew->workers, &order, NULL);
    judge(options, crew, undecided);
    order.phase = RACE_REMOVE;
    ph_crew_order(crew, crew->workers - 1, 1, &order, NULL);
    return atomic_load(&crew->violations) == before;
}

int ph_race(const struct ph_options *options)
{
    size_t room = (size_t) options->ops * EVENTS_PER_CALL + EVENTS_BESIDES;
    struct ph_crew *crew = ph_crew_start(options->mounts, options->mount_count, options->per_mount, room,
                                         options->hang_s, race_step);
    struct ph_order leave = {.phase = RACE_LEAVE};
    uint64_t start_ns = ph_now_ns();
    unsigned undecided = 0;
    uint32_t round = 0;
    char what[128];
    bool good = true;

    if (!crew)
        return PH_EXIT_TROUBLE;
    crew->seed = options->seed;
    crew->map_plain = options->map_plain;
    crew->allow_stale = options->allow_stale;
    snprintf(crew->folder, sizeof crew->folder, "%s", options->folder);
    while (good && (round == 0 || !ph_time_is_up(options, start_ns))) {
        good = run_round(options, crew, round, &undecided);
        if (options->verbose || !good)
            fprintf(good ? stdout : stderr, "race: round %u (seed %llu, families %#llx) was %s\n", round,
                    (unsigned long long) options->seed, (unsigned long long) theme(options, round),
                    good ? "good" : "bad");
        round++;
    }
    ph_crew_order(crew, 0, 1, &leave, NULL);
    snprintf(what, sizeof what, "%u rounds, seed %llu, %u objects undecided, %u times ESTALE", round,
             (unsigned long long) options->seed, undecided, atomic_load(&crew->stale));
    ph_crew_stop(crew);
    return ph_summary(options, crew, what, start_ns);
}
