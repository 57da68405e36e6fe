#include "tests/coherence/models.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { SLOT_BITS = 16, SLOT_MASK = 0xffff, IS_DIRECTORY = 0x8000 };

uint64_t ph_log_hash(uint64_t hash, const void *data, size_t len)
{
    const uint8_t *byte = data;
    uint64_t h = hash ? hash : UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < len; i++)
        h = (h ^ byte[i]) * UINT64_C(0x100000001b3);
    return h ? h : 1;
}

bool ph_model_is_read(const struct ph_event *event)
{
    switch ((enum ph_deed) event->deed) {
    case PH_GET:
    case PH_NAMED:
    case PH_HAS:
    case PH_KIND:
    case PH_COUNT:
    case PH_ALIVE:
    case PH_LINKS:
    case PH_LENGTH:
        return true;
    default:
        return false;
    }
}

static uint64_t at(uint64_t state, unsigned slot)
{
    return state >> (slot * SLOT_BITS) & SLOT_MASK;
}

static uint64_t with(uint64_t state, unsigned slot, uint64_t id)
{
    return (state & ~((uint64_t) SLOT_MASK << (slot * SLOT_BITS))) | id << (slot * SLOT_BITS);
}

static unsigned names_there(uint64_t state)
{
    unsigned there = 0;

    for (unsigned slot = 0; slot < PH_SLOTS; slot++)
        there += at(state, slot) != 0;
    return there;
}

/* How many names stand for ID. */
static unsigned links_of(uint64_t state, uint64_t id)
{
    unsigned links = 0;

    for (unsigned slot = 0; slot < PH_SLOTS; slot++)
        links += at(state, slot) == id;
    return links;
}

static unsigned only(bool possible, uint64_t state, uint64_t next[2])
{
    next[0] = state;
    return possible ? 1 : 0;
}

static unsigned step_rename(uint64_t state, const struct ph_event *event, uint64_t next[2])
{
    uint64_t from = at(state, event->slot), to = at(state, event->slot2);
    unsigned count = 0;
    bool possible = from != 0;

    if (event->deed == PH_MOVE)
        possible = from && (!to || (from & IS_DIRECTORY) == (to & IS_DIRECTORY));
    else if (event->deed == PH_MOVE_NEW)
        possible = from && !to;
    else
        possible = from && to;
    if (possible && event->deed == PH_MOVE && from == to && !(from & IS_DIRECTORY)) {
        next[count++] = state; /* two names of one file: both stay */
    } else if (possible) {
        uint64_t left = event->deed == PH_SWAP ? to : 0;

        next[count++] = with(with(state, event->slot2, from), event->slot, left);
    }
    /* See ph_names_mark_races. */
    if (event->extra && to && event->deed != PH_MOVE_NEW)
        next[count++] = state;
    return count;
}

static unsigned step_names(uint64_t state, const struct ph_event *event, uint64_t next[2])
{
    uint64_t there = at(state, event->slot);

    switch ((enum ph_deed) event->deed) {
    case PH_ADD:
        return only(!there, with(state, event->slot, event->value), next);
    case PH_PUT:
        return only(!(there & IS_DIRECTORY), with(state, event->slot, event->value), next);
    case PH_DROP:
        return only(there && (there & IS_DIRECTORY) == (event->value & IS_DIRECTORY),
                    with(state, event->slot, 0), next);
    case PH_MOVE:
    case PH_MOVE_NEW:
    case PH_SWAP:
        return step_rename(state, event, next);
    case PH_NAMED:
        return only(there == event->value, state, next);
    case PH_HAS:
        return only((there != 0) == (event->value != 0), state, next);
    case PH_KIND:
        return only(there && ((there & IS_DIRECTORY) != 0) == (event->value != 0), state, next);
    case PH_COUNT:
        return only(names_there(state) == event->value, state, next);
    case PH_ALIVE:
        return only((links_of(state, event->value) != 0) == (event->extra != 0), state, next);
    case PH_LINKS:
        return only(links_of(state, event->value) == event->extra, state, next);
    default:
        return 0;
    }
}

static unsigned step_one(enum ph_model model, uint64_t state, const struct ph_event *event, uint64_t next[2])
{
    switch (model) {
    case PH_MODEL_REGISTER:
        if (event->deed == PH_SET)
            return only(true, event->value, next);
        return only(event->deed == PH_GET && state == event->value, state, next);
    case PH_MODEL_NAMES:
        return step_names(state, event, next);
    case PH_MODEL_LOG:
        if (event->deed == PH_APPEND)
            return only(state == event->value, state + 1, next);
        return only(event->deed == PH_LENGTH && state * PH_RECORD_BYTES == event->value, state, next);
    case PH_MODEL_WORDS:
        if (event->deed == PH_SET)
            return only(true, with(state, event->slot, event->value), next);
        return only(event->deed == PH_GET && at(state, event->slot) == event->value, state, next);
    }
    return 0;
}

unsigned ph_model_step(enum ph_model model, uint64_t state, const struct ph_event *event, uint64_t next[2])
{
    unsigned count = step_one(model, state, event, next);

    /* What is done in a transaction leads to one state. */
    for (const struct ph_event *then = event->then; then && count; then = then->then)
        count = step_one(model, next[0], then, next);
    return count;
}

static void print_value(uint64_t value, char *text, size_t size)
{
    if (PH_VALUE_WORKER(value) < PH_WORKERS_MAX)
        snprintf(text, size, "w%u#%u", PH_VALUE_WORKER(value), PH_VALUE_NUMBER(value));
    else
        snprintf(text, size, "%" PRIu64, value);
}

static void print_identity(uint64_t id, char *text, size_t size)
{
    if (!id)
        snprintf(text, size, "absent");
    else if (id & IS_DIRECTORY)
        snprintf(text, size, "a directory");
    else
        snprintf(text, size, "file %" PRIu64, id);
}

void ph_model_print_state(const struct ph_object *object, uint64_t state, char *text, size_t size)
{
    char id[32];
    size_t len = 0;

    if (object->model == PH_MODEL_REGISTER) {
        print_value(state, text, size);
        return;
    }
    if (object->model == PH_MODEL_LOG) {
        snprintf(text, size, "%" PRIu64 " records", state);
        return;
    }
    text[0] = '\0';
    for (unsigned slot = 0; slot < PH_SLOTS && len < size; slot++) {
        if (!object->slot[slot])
            continue;
        if (object->model == PH_MODEL_WORDS)
            snprintf(id, sizeof id, "value %" PRIu64, at(state, slot));
        else
            print_identity(at(state, slot), id, sizeof id);
        len += (size_t) snprintf(text + len, size - len, "%s%s=%s", len ? ", " : "{", object->slot[slot], id);
    }
    if (len < size)
        snprintf(text + len, size - len, "}");
}

static void print_names_event(const struct ph_object *object, const struct ph_event *event, char *text,
                              size_t size)
{
    const char *name = object->slot[event->slot], *other = object->slot[event->slot2];
    char id[32];

    print_identity(event->value, id, sizeof id);
    switch ((enum ph_deed) event->deed) {
    case PH_ADD:
    case PH_PUT:
        snprintf(text, size, "%s is %s now", name, id);
        break;
    case PH_DROP:
        snprintf(text, size, "%s removed", name);
        break;
    case PH_MOVE:
    case PH_MOVE_NEW:
        snprintf(text, size, "%s moved to %s", name, other);
        break;
    case PH_SWAP:
        snprintf(text, size, "%s and %s exchanged", name, other);
        break;
    case PH_NAMED:
        snprintf(text, size, "saw that %s is %s", name, id);
        break;
    case PH_HAS:
        snprintf(text, size, "saw that %s is %s", name, event->value ? "there" : "absent");
        break;
    case PH_KIND:
        snprintf(text, size, "saw that %s is a %s", name, event->value ? "directory" : "file");
        break;
    case PH_COUNT:
        snprintf(text, size, "saw %" PRIu64 " names", event->value);
        break;
    case PH_LINKS:
        snprintf(text, size, "saw %" PRIu64 " names of %s", event->extra, id);
        break;
    default:
        snprintf(text, size, "saw %s names of %s", event->extra ? "one or more" : "no", id);
    }
}

static void print_one(const struct ph_object *object, const struct ph_event *event, char *text, size_t size)
{
    char value[32];

    print_value(event->value, value, sizeof value);
    if (object->model == PH_MODEL_WORDS)
        snprintf(text, size, "%s value %" PRIu64 " in %s", event->deed == PH_SET ? "stored" : "saw",
                 event->value, object->slot[event->slot]);
    else if (object->model == PH_MODEL_NAMES)
        print_names_event(object, event, text, size);
    else if (event->deed == PH_SET)
        snprintf(text, size, "stored %s", value);
    else if (event->deed == PH_GET)
        snprintf(text, size, "saw %s", value);
    else if (event->deed == PH_APPEND)
        snprintf(text, size, "appended record %" PRIu64, event->value);
    else
        snprintf(text, size, "saw %" PRIu64 " bytes (%g records)", event->value,
                 (double) event->value / PH_RECORD_BYTES);
}

void ph_model_print_event(const struct ph_object *object, const struct ph_event *event, char *text,
                          size_t size)
{
    char one[128];
    size_t len = 0;

    for (const struct ph_event *part = event; part && len < size; part = part->then) {
        print_one(object, part, one, sizeof one);
        len += (size_t) snprintf(text + len, size - len, "%s%s", len ? "; in the same moment " : "", one);
    }
}

static bool has_identity(const struct ph_event *event)
{
    return event->deed == PH_ADD || event->deed == PH_PUT || event->deed == PH_NAMED ||
           event->deed == PH_ALIVE || event->deed == PH_LINKS;
}

static int compare_numbers(const void *a, const void *b)
{
    uint64_t one = *(const uint64_t *) a, two = *(const uint64_t *) b;

    return (one > two) - (one < two);
}

bool ph_names_number(struct ph_event **events, size_t count)
{
    uint64_t *known = calloc(count + 1, sizeof *known);
    size_t used = 0, kept = 0;

    for (size_t i = 0; i < count; i++) {
        if (has_identity(events[i]) && events[i]->value && events[i]->value != PH_DIRECTORY)
            known[used++] = events[i]->value;
    }
    qsort(known, used, sizeof *known, compare_numbers);
    for (size_t i = 0; i < used; i++) {
        if (!i || known[i] != known[i - 1])
            known[kept++] = known[i];
    }
    for (size_t i = 0; i < count; i++) {
        struct ph_event *event = events[i];

        if (event->value == PH_DIRECTORY) {
            event->value = IS_DIRECTORY;
        } else if (has_identity(event) && event->value) {
            const uint64_t *found = bsearch(&event->value, known, kept, sizeof *known, compare_numbers);

            event->value = (uint64_t) (found - known) + 1;
        }
    }
    free(known);
    return kept < IS_DIRECTORY;
}

bool ph_words_number(struct ph_event **events, size_t count)
{
    uint64_t *known = calloc(count + 1, sizeof *known);
    size_t used = 0, kept = 0;

    for (size_t i = 0; i < count; i++) {
        if (events[i]->value)
            known[used++] = events[i]->value;
    }
    qsort(known, used, sizeof *known, compare_numbers);
    for (size_t i = 0; i < used; i++) {
        if (!i || known[i] != known[i - 1])
            known[kept++] = known[i];
    }
    for (size_t i = 0; i < count; i++) {
        if (events[i]->value) {
            const uint64_t *found = bsearch(&events[i]->value, known, kept, sizeof *known, compare_numbers);

            events[i]->value = (uint64_t) (found - known) + 1;
        }
    }
    free(known);
    return kept < SLOT_MASK;
}

static bool is_rename(const struct ph_event *event)
{
    return event->deed == PH_MOVE || event->deed == PH_MOVE_NEW || event->deed == PH_SWAP;
}

void ph_names_mark_races(struct ph_event **events, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; is_rename(events[i]) && !events[i]->transaction && j < count; j++) {
            if (i != j && is_rename(events[j]) && events[j]->begin_ns <= events[i]->end_ns &&
                events[i]->begin_ns <= events[j]->end_ns)
                events[i]->extra = 1;
        }
    }
}
