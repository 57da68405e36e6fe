#include "tests/coherence/report.h"

#include <stdbool.h>
#include <stdlib.h>

#include "tests/coherence/models.h"

enum { STATES_SHOWN = 6, CHANGES_SHOWN = 8, OVERLAPPING_SHOWN = 12, LOOKS_SHOWN = 3, TEXT_BYTES = 200 };

static void print_event(const struct ph_finding *finding, const struct ph_event *event, FILE *out)
{
    char text[TEXT_BYTES];

    ph_model_print_event(finding->object, event, text, sizeof text);
    fprintf(out, "    %10.3f .. %10.3f ms  worker %u, mount %u: %s: %s\n",
            (double) (int64_t) (event->begin_ns - finding->origin_ns) / 1e6,
            (double) (int64_t) (event->end_ns - finding->origin_ns) / 1e6, event->worker, event->mount,
            event->call, text);
}

static void print_possible(const struct ph_finding *finding, FILE *out)
{
    uint64_t shown[STATES_SHOWN];
    unsigned count = 0;
    bool more = false;
    char text[TEXT_BYTES];

    fprintf(out, "  possible at that time:");
    for (size_t i = 0; i < finding->possible->count && !more; i++) {
        uint64_t state = finding->possible->config[i].state;
        bool known = false;

        for (unsigned j = 0; j < count; j++)
            known = known || shown[j] == state;
        if (known)
            continue;
        more = count == STATES_SHOWN;
        if (more)
            break;
        shown[count++] = state;
        ph_model_print_state(finding->object, state, text, sizeof text);
        fprintf(out, "%s %s", count > 1 ? " or" : "", text);
    }
    fprintf(out, "%s\n", more ? " or others" : "");
}

static int by_end(const void *a, const void *b)
{
    const struct ph_event *one = *(const struct ph_event *const *) a,
                          *two = *(const struct ph_event *const *) b;

    return (one->end_ns > two->end_ns) - (one->end_ns < two->end_ns);
}

static void print_changes_before(const struct ph_finding *finding, FILE *out)
{
    const struct ph_event *last[CHANGES_SHOWN];
    unsigned count = 0;

    for (size_t i = finding->count; i > 0 && count < CHANGES_SHOWN; i--) {
        const struct ph_event *event = finding->events[i - 1];

        if (event->end_ns < finding->culprit->begin_ns && !ph_model_is_read(event))
            last[count++] = event;
    }
    fprintf(out, "  last changes completed before it%s\n", count ? ":" : ": none");
    while (count > 0)
        print_event(finding, last[--count], out);
}

static void print_overlapping(const struct ph_finding *finding, FILE *out)
{
    unsigned shown = 0;

    for (size_t i = 0; i < finding->count && shown < OVERLAPPING_SHOWN; i++) {
        const struct ph_event *event = finding->events[i];

        if (event == finding->culprit || ph_model_is_read(event) ||
            event->end_ns < finding->culprit->begin_ns || event->begin_ns > finding->culprit->end_ns)
            continue;
        if (!shown++)
            fprintf(out, "  changes at the same time:\n");
        print_event(finding, event, out);
    }
}

/* Whether two events are looks at the same thing. */
static bool same_look(const struct ph_event *one, const struct ph_event *two)
{
    return one->deed == two->deed && one->slot == two->slot &&
           (one->deed != PH_ALIVE || one->value == two->value);
}

static void print_looks_before(const struct ph_finding *finding, FILE *out)
{
    const struct ph_event *last[LOOKS_SHOWN];
    unsigned count = 0;

    for (size_t i = finding->count; i > 0 && count < LOOKS_SHOWN && ph_model_is_read(finding->culprit); i--) {
        const struct ph_event *event = finding->events[i - 1];

        if (event != finding->culprit && event->end_ns <= finding->culprit->end_ns &&
            same_look(event, finding->culprit))
            last[count++] = event;
    }
    if (count)
        fprintf(out, "  the last to look before it:\n");
    while (count > 0)
        print_event(finding, last[--count], out);
}

static void print_source(const struct ph_finding *finding, FILE *out)
{
    const struct ph_event *culprit = finding->culprit, *stored = NULL;

    if (culprit->deed != PH_GET && culprit->deed != PH_ALIVE &&
        (culprit->deed != PH_NAMED || !culprit->value))
        return;
    for (size_t i = 0; i < finding->count; i++) {
        const struct ph_event *event = finding->events[i];

        if ((event->deed == PH_SET || event->deed == PH_ADD || event->deed == PH_PUT) &&
            event->value == culprit->value && (culprit->deed != PH_NAMED || event->slot == culprit->slot))
            stored = event;
    }
    fprintf(out, "  what it saw was %s\n", stored ? "stored by:" : "never stored here");
    if (stored)
        print_event(finding, stored, out);
}

void ph_report_finding(const struct ph_finding *finding, FILE *out)
{
    /* Only a report is made from here on: the order of the events is free. */
    qsort(finding->events, finding->count, sizeof(struct ph_event *), by_end);
    fprintf(out, "VIOLATION of %s: nothing explains\n", finding->object->name);
    print_event(finding, finding->culprit, out);
    print_possible(finding, out);
    print_changes_before(finding, out);
    print_overlapping(finding, out);
    print_source(finding, out);
    print_looks_before(finding, out);
}
