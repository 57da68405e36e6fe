/* A table of names, by hash, and the order in which they were made. */
#include "client/core/wb_names.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/limits.h"

enum { FIRST_SIZE = 8, ENTRIES_MAX = INT32_MAX };

/* A place in the order: an entry, or where one was. */
union place {
    struct ph_wb_name *entry; /* entries lie at even addresses */
    uintptr_t gone;           /* doubled, and 1: a place behind it, before which none is taken */
};

struct ph_wb_names {
    struct ph_wb_name **buckets;
    union place *order; /* by seq */
    uint64_t last_seq;
    uint32_t bucket_count; /* a power of two; 0: none yet */
    uint32_t order_size, order_end;
    uint32_t first; /* nothing is left before it */
    uint32_t count, present, unknown;
    bool whole;
};

struct ph_wb_names *ph_wb_names_new(void)
{
    struct ph_wb_names *names = calloc(1, sizeof(*names));
    if (!names)
        abort();
    return names;
}

static bool is_gone(union place place)
{
    return place.gone & 1;
}

/* PLACE or the first one behind it that is taken; the end when there is none. What is gone on the way
 * leads straight there from now on, so that looking past it again costs next to nothing. */
static uint32_t taken_from(const struct ph_wb_names *names, uint32_t place)
{
    uint32_t found = place;
    while (found < names->order_end && is_gone(names->order[found]))
        found = (uint32_t) (names->order[found].gone >> 1);
    while (place < found) {
        uint32_t next = (uint32_t) (names->order[place].gone >> 1);
        names->order[place].gone = (uintptr_t) found << 1 | 1;
        place = next;
    }
    return found;
}

void ph_wb_names_free(struct ph_wb_names *names)
{
    if (!names)
        return;
    for (uint32_t i = names->first; i < names->order_end; i++) {
        if (!is_gone(names->order[i]))
            free(names->order[i].entry);
    }
    free(names->order);
    free(names->buckets);
    free(names);
}

/* FNV-1a: names are short. */
static uint32_t hash_name(const void *name, size_t len)
{
    const uint8_t *bytes = name;
    uint32_t hash = UINT32_C(2166136261);
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ bytes[i]) * UINT32_C(16777619);
    return hash ^ (hash >> 15);
}

static struct ph_wb_name **bucket_of(const struct ph_wb_names *names, const void *name, size_t len)
{
    return &names->buckets[hash_name(name, len) & (names->bucket_count - 1)];
}

struct ph_wb_name *ph_wb_names_find(const struct ph_wb_names *names, const void *name, size_t len)
{
    if (names->count == 0)
        return NULL;
    struct ph_wb_name *entry = *bucket_of(names, name, len);
    while (entry && (entry->len != len || memcmp(entry->name, name, len) != 0))
        entry = entry->chain;
    return entry;
}

/* Twice the buckets; their entries are found through the order. */
static void grow_buckets(struct ph_wb_names *names)
{
    free(names->buckets);
    names->bucket_count = names->bucket_count ? names->bucket_count * 2 : FIRST_SIZE;
    names->buckets = calloc(names->bucket_count, sizeof(struct ph_wb_name *));
    if (!names->buckets)
        abort();
    for (uint32_t i = names->first; i < names->order_end; i++) {
        if (is_gone(names->order[i]))
            continue;
        struct ph_wb_name *entry = names->order[i].entry;
        struct ph_wb_name **bucket = bucket_of(names, entry->name, entry->len);
        entry->chain = *bucket;
        *bucket = entry;
    }
}

/* No place is left without an entry. */
static void close_up(struct ph_wb_names *names)
{
    uint32_t end = 0;
    for (uint32_t i = names->first; i < names->order_end; i++) {
        if (is_gone(names->order[i]))
            continue;
        names->order[end] = names->order[i];
        names->order[end].entry->place = end;
        end++;
    }
    names->first = 0;
    names->order_end = end;
}

static void make_place(struct ph_wb_names *names)
{
    if (names->order_end < names->order_size)
        return;
    /* Where a quarter is free the places are moved together, at most once for so many new entries. */
    if (names->count < names->order_size - names->order_size / 4) {
        close_up(names);
        return;
    }
    uint32_t size = names->order_size ? names->order_size + names->order_size / 2 : FIRST_SIZE;
    union place *order = realloc(names->order, size * sizeof(*order));
    if (!order)
        abort();
    names->order = order;
    names->order_size = size;
}

static struct ph_wb_name *make(struct ph_wb_names *names, const void *name, size_t len)
{
    assert(len >= 1 && len <= PH_NAME_MAX_BYTES && names->count < ENTRIES_MAX);
    make_place(names);
    if (names->count >= names->bucket_count)
        grow_buckets(names);
    struct ph_wb_name *entry = malloc(sizeof(*entry) + len);
    if (!entry)
        abort();
    struct ph_wb_name **bucket = bucket_of(names, name, len);
    *entry = (struct ph_wb_name){
        .seq = ++names->last_seq, .chain = *bucket, .place = names->order_end, .len = (uint8_t) len};
    memcpy(entry->name, name, len);
    *bucket = entry;
    names->order[names->order_end++].entry = entry;
    names->count++;
    return entry;
}

/* Counts what OBJECT stands for; BY is 1, or UINT32_MAX to take it back. */
static void count_kind(struct ph_wb_names *names, uint64_t object, uint32_t by)
{
    if (object == PH_WB_UNKNOWN)
        names->unknown += by;
    else if (object != 0)
        names->present += by;
}

struct ph_wb_name *ph_wb_names_put(struct ph_wb_names *names, const void *name, size_t len, uint64_t object)
{
    struct ph_wb_name *entry = ph_wb_names_find(names, name, len);
    if (!entry)
        entry = make(names, name, len);
    count_kind(names, entry->object, UINT32_MAX);
    count_kind(names, object, 1);
    entry->object = object;
    return entry;
}

/* The place of an entry that is removed is left. Behind those that are gone there is always one that is
 * taken. */
static void leave_place(struct ph_wb_names *names, uint32_t place)
{
    names->order[place].gone = ((uintptr_t) place + 1) << 1 | 1;
    while (names->order_end > names->first && is_gone(names->order[names->order_end - 1]))
        names->order_end--;
    names->first = taken_from(names, names->first);
    if (names->order_end - names->first > names->count * UINT64_C(2) + FIRST_SIZE)
        close_up(names);
}

void ph_wb_names_remove(struct ph_wb_names *names, struct ph_wb_name *entry)
{
    struct ph_wb_name **link = bucket_of(names, entry->name, entry->len);
    while (*link != entry)
        link = &(*link)->chain;
    *link = entry->chain;
    count_kind(names, entry->object, UINT32_MAX);
    names->count--;
    leave_place(names, entry->place);
    free(entry);
    if (names->count == 0 && names->bucket_count > FIRST_SIZE) {
        free(names->buckets);
        free(names->order);
        names->buckets = NULL;
        names->order = NULL;
        names->bucket_count = names->order_size = names->order_end = names->first = 0;
    }
}

enum ph_wb_name_is ph_wb_names_lookup(const struct ph_wb_names *names, const void *name, size_t len,
                                      uint64_t *object)
{
    const struct ph_wb_name *entry = ph_wb_names_find(names, name, len);
    *object = 0;
    if (entry ? entry->object == PH_WB_UNKNOWN : !names->whole)
        return PH_WB_NAME_UNKNOWN;
    if (!entry || entry->object == 0)
        return PH_WB_NAME_ABSENT;
    *object = entry->object;
    return PH_WB_NAME_PRESENT;
}

size_t ph_wb_names_present(const struct ph_wb_names *names)
{
    return names->present;
}

size_t ph_wb_names_unknown(const struct ph_wb_names *names)
{
    return names->unknown;
}

size_t ph_wb_names_count(const struct ph_wb_names *names)
{
    return names->count;
}

/* The first entry at PLACE or behind it, or NULL. */
static struct ph_wb_name *entry_from(const struct ph_wb_names *names, uint32_t place)
{
    place = taken_from(names, place);
    return place < names->order_end ? names->order[place].entry : NULL;
}

struct ph_wb_name *ph_wb_names_next(const struct ph_wb_names *names, const struct ph_wb_name *previous)
{
    return entry_from(names, previous ? previous->place + 1 : names->first);
}

void ph_wb_names_set_whole(struct ph_wb_names *names, bool whole)
{
    names->whole = whole;
}

bool ph_wb_names_is_whole(const struct ph_wb_names *names)
{
    return names->whole;
}

void ph_wb_names_clear(struct ph_wb_names *names)
{
    struct ph_wb_name *entry = ph_wb_names_next(names, NULL);
    while (entry) {
        struct ph_wb_name *next = ph_wb_names_next(names, entry);
        if (!entry->op)
            ph_wb_names_remove(names, entry);
        entry = next;
    }
    names->whole = false;
}
