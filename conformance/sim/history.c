#include "conformance/sim/history.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/coherence/checker.h"
#include "tests/coherence/models.h"

void sim_history_init(struct sim_history *history)
{
    history->events = g_array_new(FALSE, TRUE, sizeof(struct ph_event));
}

void sim_history_clear(struct sim_history *history)
{
    if (history->events)
        g_array_unref(history->events);
    history->events = NULL;
}

guint sim_history_add(struct sim_history *history, const struct ph_event *event, uint64_t begin_us,
                      uint64_t end_us)
{
    struct ph_event copy = *event;
    copy.begin_ns = begin_us * 1000;
    copy.end_ns = end_us * 1000;
    g_array_append_val(history->events, copy);
    return history->events->len - 1;
}

uint64_t sim_history_begin_us(const struct sim_history *history, guint index)
{
    return (uint64_t) g_array_index(history->events, struct ph_event, index).begin_ns / 1000;
}

void sim_history_doubt(struct sim_history *history, guint index, uint64_t until_us)
{
    struct ph_event *event = &g_array_index(history->events, struct ph_event, index);
    if (ph_model_is_read(event))
        event->object = SIM_OBJECTS; /* judged by nobody */
    event->maybe = TRUE;
    event->end_ns = until_us * 1000;
}

/* How object number INDEX behaves, and its name. */
static void describe(unsigned index, struct ph_object *object, char *name, size_t size)
{
    static const char *const slots[SIM_GROUPS][PH_SLOTS] = {{"top/a", "top/b", "sub/a", "sub/b"},
                                                            {"top/c", "top/d", "sub/c", "sub/d"},
                                                            {"top/e", "top/f", "sub/e", "sub/f"}};
    *object = (struct ph_object){.name = name, .model = PH_MODEL_REGISTER};
    if (index < SIM_OBJECT_LOG) {
        object->model = PH_MODEL_NAMES;
        for (unsigned i = 0; i < PH_SLOTS; i++)
            object->slot[i] = slots[index][i];
        g_snprintf(name, size, "names of group %u", index);
    } else if (index == SIM_OBJECT_LOG) {
        object->model = PH_MODEL_LOG;
        g_snprintf(name, size, "log");
    } else if (index < SIM_OBJECT_OWNER) {
        unsigned word = index - SIM_OBJECT_WORD;
        g_snprintf(name, size, "word %u of register %u", word % SIM_WORDS, word / SIM_WORDS);
    } else {
        g_snprintf(name, size, "owner of register %u", index - SIM_OBJECT_OWNER);
    }
}

/* Records of which it is not known whether they were appended, and that are not there in the end. */
static void drop_what_never_was(struct sim_history *history, const uint8_t *log, size_t len)
{
    for (guint i = 0; i < history->events->len; i++) {
        const struct ph_event *event = &g_array_index(history->events, struct ph_event, i);
        gboolean there = FALSE;
        if (event->deed != PH_APPEND || !event->maybe)
            continue;
        for (size_t at = 0; at + PH_RECORD_BYTES <= len && !there; at += PH_RECORD_BYTES) {
            uint64_t number;
            memcpy(&number, log + at, sizeof(number));
            there = GUINT64_FROM_LE(number) == event->value;
        }
        if (!there)
            g_array_remove_index(history->events, i--);
    }
}

/* The words of two registers, which transactions change together. */
static gboolean judge_words(struct sim_history *history, unsigned first, FILE *out)
{
    static const char *const words[] = {
        "word 0 of register 0", "word 1 of register 0", "word 0 of register 1", "word 1 of register 1",
        "word 0 of register 2", "word 1 of register 2", "word 0 of register 3", "word 1 of register 3"};
    struct ph_object object = {.name = "words of two registers", .model = PH_MODEL_WORDS};
    g_autoptr(GArray) events = g_array_new(FALSE, TRUE, sizeof(struct ph_event));
    gboolean together = FALSE;
    for (unsigned slot = 0; slot < PH_SLOTS; slot++)
        object.slot[slot] = words[first + slot];
    for (guint i = 0; i < history->events->len; i++) {
        struct ph_event event = g_array_index(history->events, struct ph_event, i);
        unsigned word = (unsigned) event.object - SIM_OBJECT_WORD;
        if (event.object < SIM_OBJECT_WORD || word < first || word >= first + PH_SLOTS)
            continue;
        event.object = 0;
        event.slot = (uint8_t) (word - first);
        together |= event.transaction != 0;
        g_array_append_val(events, event);
    }
    if (!together)
        return TRUE;
    enum ph_verdict verdict =
        ph_check_object(&object, 0, (struct ph_event *) (void *) events->data, events->len, 0, out);
    history->undecided += verdict == PH_VERDICT_UNDECIDED;
    return verdict != PH_VERDICT_BAD;
}

char *sim_history_judge(struct sim_history *history, const uint8_t *log, size_t len)
{
    g_autofree char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    drop_what_never_was(history, log, len);
    struct ph_event *events = (struct ph_event *) (void *) history->events->data;
    gboolean good = ph_log_number(SIM_OBJECT_LOG, events, history->events->len, log, len, out);
    for (unsigned i = 0; i < SIM_OBJECTS && good; i++) {
        struct ph_object object;
        char name[64];
        describe(i, &object, name, sizeof(name));
        enum ph_verdict verdict = ph_check_object(&object, i, events, history->events->len, 0, out);
        history->undecided += verdict == PH_VERDICT_UNDECIDED;
        good = verdict != PH_VERDICT_BAD;
    }
    for (unsigned first = 0; first < MODEL_REGISTERS * SIM_WORDS && good; first += PH_SLOTS)
        good = judge_words(history, first, out);
    fclose(out);
    return good ? NULL : g_steal_pointer(&text);
}
