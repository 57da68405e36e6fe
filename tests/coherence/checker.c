/* All states that the object may be in are kept while going through the begins
 * and ends of the events: with each, which of the events under way have
 * happened already. When an event ends it must have happened: what can happen
 * first is tried in every order, and states in which it cannot are dropped. (One whose answer was lost need
 * not have happened.) None left means that no order explains the history. */
#include "tests/coherence/checker.h"

#include <stdlib.h>
#include <string.h>

#include "tests/coherence/config_set.h"
#include "tests/coherence/models.h"
#include "tests/coherence/report.h"

enum { OPEN_MAX = 64, CONFIGS_MAX = 400000 };

struct point {
    uint64_t time_ns;
    struct ph_event *event;
    bool is_end;
};

struct search {
    const struct ph_object *object;
    struct ph_event *open[OPEN_MAX];
    uint64_t open_mask;
    struct ph_config_set now, tried, after;
};

static int compare_points(const void *a, const void *b)
{
    const struct point *one = a, *two = b;

    if (one->time_ns != two->time_ns)
        return one->time_ns < two->time_ns ? -1 : 1;
    /* What begins when another thing ends counts as simultaneous. */
    return one->is_end - two->is_end;
}

/* What has been read has been read: nothing is won by putting that off. */
static void read_all(const struct search *search, struct ph_config *config)
{
    uint64_t next[2];

    for (uint64_t left = search->open_mask & ~config->done; left; left &= left - 1) {
        unsigned bit = (unsigned) __builtin_ctzll(left);
        const struct ph_event *event = search->open[bit];

        if (ph_model_is_read(event) && ph_model_step(search->object->model, config->state, event, next))
            config->done |= UINT64_C(1) << bit;
    }
}

static void change_each(struct search *search, const struct ph_config *config)
{
    uint64_t next[2];

    for (uint64_t left = search->open_mask & ~config->done; left; left &= left - 1) {
        unsigned bit = (unsigned) __builtin_ctzll(left);
        const struct ph_event *event = search->open[bit];
        unsigned count;

        if (ph_model_is_read(event))
            continue;
        count = ph_model_step(search->object->model, config->state, event, next);
        for (unsigned i = 0; i < count; i++) {
            struct ph_config reached = {next[i], config->done | UINT64_C(1) << bit};

            read_all(search, &reached);
            ph_config_set_add(&search->tried, reached);
        }
    }
}

/* From all states of `now` to all in which the event of BIT has happened. */
static bool finish(struct search *search, unsigned bit)
{
    uint64_t mask = UINT64_C(1) << bit;
    struct ph_config_set swap;

    ph_config_set_clear(&search->tried);
    ph_config_set_clear(&search->after);
    for (size_t i = 0; i < search->now.count; i++) {
        struct ph_config config = search->now.config[i];

        read_all(search, &config);
        ph_config_set_add(&search->tried, config);
    }
    for (size_t i = 0; i < search->tried.count && search->tried.count < CONFIGS_MAX; i++) {
        struct ph_config config = search->tried.config[i];

        if (config.done & mask) {
            ph_config_set_add(&search->after, (struct ph_config){config.state, config.done & ~mask});
            continue;
        }
        if (search->open[bit]->maybe)
            ph_config_set_add(&search->after, config); /* it never happened */
        change_each(search, &config);
    }
    if (!search->after.count)
        return false;
    swap = search->now;
    search->now = search->after;
    search->after = swap;
    search->open_mask &= ~mask;
    return true;
}

static unsigned bit_of(const struct search *search, const struct ph_event *event)
{
    for (unsigned bit = 0; bit < OPEN_MAX; bit++) {
        if ((search->open_mask >> bit & 1) && search->open[bit] == event)
            return bit;
    }
    return OPEN_MAX;
}

static enum ph_verdict go_through(struct search *search, const struct point *points, size_t count,
                                  struct ph_event **culprit)
{
    for (size_t i = 0; i < count; i++) {
        if (!points[i].is_end) {
            unsigned bit;

            if (search->open_mask == UINT64_MAX)
                return PH_VERDICT_UNDECIDED;
            bit = (unsigned) __builtin_ctzll(~search->open_mask);
            search->open[bit] = points[i].event;
            search->open_mask |= UINT64_C(1) << bit;
            continue;
        }
        if (!finish(search, bit_of(search, points[i].event))) {
            *culprit = points[i].event;
            return search->tried.count < CONFIGS_MAX ? PH_VERDICT_BAD : PH_VERDICT_UNDECIDED;
        }
        if (search->tried.count >= CONFIGS_MAX)
            return PH_VERDICT_UNDECIDED;
    }
    return PH_VERDICT_GOOD;
}

static struct point *points_of(struct ph_event **events, size_t count)
{
    struct point *points = calloc(2 * count + 1, sizeof *points);

    for (size_t i = 0; i < count; i++) {
        points[2 * i] = (struct point){events[i]->begin_ns, events[i], false};
        points[2 * i + 1] = (struct point){events[i]->end_ns, events[i], true};
    }
    qsort(points, 2 * count, sizeof *points, compare_points);
    return points;
}

/* The parts of a transaction become one event, the first of them. Returns how many are left. */
static size_t join(struct ph_event **events, size_t count)
{
    struct ph_event **last = calloc(count + 1, sizeof *last);
    size_t kept = 0;

    for (size_t i = 0; i < count; i++) {
        struct ph_event *event = events[i];
        size_t head = event->transaction ? 0 : kept;

        event->then = NULL;
        while (head < kept && events[head]->transaction != event->transaction)
            head++;
        if (head == kept) {
            last[kept] = event;
            events[kept++] = event;
            continue;
        }
        last[head]->then = event;
        last[head] = event;
        events[head]->maybe = events[head]->maybe || event->maybe;
        if (events[head]->end_ns < event->end_ns)
            events[head]->end_ns = event->end_ns;
    }
    free(last);
    return kept;
}

static enum ph_verdict judge(const struct ph_object *object, struct ph_event **events, size_t count,
                             uint64_t origin_ns, FILE *out)
{
    struct search search = {.object = object};
    struct point *points = points_of(events, count);
    struct ph_event *culprit = NULL;
    enum ph_verdict verdict;

    ph_config_set_add(&search.now, (struct ph_config){0, 0});
    verdict = go_through(&search, points, 2 * count, &culprit);
    if (verdict == PH_VERDICT_BAD) {
        struct ph_finding finding = {object, events, count, culprit, &search.tried, origin_ns};

        ph_report_finding(&finding, out);
    }
    ph_config_set_free(&search.now);
    ph_config_set_free(&search.tried);
    ph_config_set_free(&search.after);
    free(points);
    return verdict;
}

/* The number of links of a file and its names change one shortly after the other, on every
 * filesystem: what was seen of the one and of the other is judged apart. */
static bool sees_links(const struct ph_event *event)
{
    return event->deed == PH_COUNT || event->deed == PH_ALIVE || event->deed == PH_LINKS;
}

static enum ph_verdict judge_names(const struct ph_object *object, struct ph_event **events, size_t count,
                                   uint64_t origin_ns, FILE *out)
{
    struct ph_event **some = calloc(count + 1, sizeof(struct ph_event *));
    enum ph_verdict verdict = PH_VERDICT_GOOD;

    ph_names_mark_races(events, count);
    if (!ph_names_number(events, count))
        verdict = PH_VERDICT_UNDECIDED;
    for (unsigned links = 0; links < 2 && verdict == PH_VERDICT_GOOD; links++) {
        size_t used = 0;

        for (size_t i = 0; i < count; i++) {
            if (!ph_model_is_read(events[i]) || sees_links(events[i]) == links)
                some[used++] = events[i];
        }
        verdict = judge(object, some, join(some, used), origin_ns, out);
    }
    free(some);
    return verdict;
}

enum ph_verdict ph_check_object(const struct ph_object *object, unsigned index, struct ph_event *events,
                                size_t count, uint64_t origin_ns, FILE *out)
{
    struct ph_event **mine = calloc(count + 1, sizeof(struct ph_event *));
    enum ph_verdict verdict;
    size_t used = 0;

    for (size_t i = 0; i < count; i++) {
        if (events[i].object == index)
            mine[used++] = &events[i];
    }
    if (object->model == PH_MODEL_NAMES)
        verdict = judge_names(object, mine, used, origin_ns, out);
    else if (object->model == PH_MODEL_WORDS && !ph_words_number(mine, used))
        verdict = PH_VERDICT_UNDECIDED;
    else
        verdict = judge(object, mine, join(mine, used), origin_ns, out);
    free(mine);
    return verdict;
}
