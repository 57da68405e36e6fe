#include "client/core/hints.h"

#include <stdlib.h>
#include <string.h>

#include "client/core/lru.h"
#include "runtime/base/limits.h"

struct ph_hints {
    struct ph_lru lru;
    size_t capacity;
};

struct hint_entry {
    struct ph_lru_entry lru; /* first: the table hands out this address */
    uint64_t parent;
    uint8_t len, name[];
};

static void free_entry(struct ph_lru_entry *entry)
{
    free(entry);
}

struct ph_hints *ph_hints_new(size_t capacity)
{
    struct ph_hints *hints = calloc(1, sizeof(*hints));
    if (!hints)
        abort();
    ph_lru_init(&hints->lru);
    hints->capacity = capacity ? capacity : 1;
    return hints;
}

void ph_hints_free(struct ph_hints *hints)
{
    if (!hints)
        return;
    ph_lru_clear(&hints->lru, free_entry);
    free(hints);
}

static bool entry_is(const struct hint_entry *entry, uint64_t parent, const void *name, size_t len)
{
    return entry->parent == parent && entry->len == len && memcmp(entry->name, name, len) == 0;
}

static void drop(struct ph_hints *hints, struct ph_lru_entry *entry)
{
    ph_lru_remove(&hints->lru, entry);
    free_entry(entry);
}

void ph_hints_learn(struct ph_hints *hints, uint64_t object, uint64_t parent, const void *name, size_t len)
{
    if (len == 0 || len > PH_NAME_MAX_BYTES)
        return;
    struct hint_entry *entry = (struct hint_entry *) ph_lru_find(&hints->lru, object);
    if (entry && entry_is(entry, parent, name, len)) {
        ph_lru_touch(&hints->lru, &entry->lru);
        return;
    }
    if (entry)
        drop(hints, &entry->lru);
    else if (hints->lru.count >= hints->capacity)
        drop(hints, hints->lru.oldest);

    entry = malloc(sizeof(*entry) + len);
    if (!entry)
        abort();
    entry->parent = parent;
    entry->len = (uint8_t) len;
    memcpy(entry->name, name, len);
    ph_lru_add(&hints->lru, &entry->lru, object);
}

void ph_hints_touch(struct ph_hints *hints, uint64_t root, uint64_t object)
{
    for (size_t depth = 0; object != root && depth < PH_HINT_DEPTH_MAX; depth++) {
        struct hint_entry *entry = (struct hint_entry *) ph_lru_find(&hints->lru, object);
        if (!entry)
            return;
        ph_lru_touch(&hints->lru, &entry->lru);
        object = entry->parent;
    }
}

size_t ph_hints_path(struct ph_hints *hints, uint64_t root, uint64_t object, struct ph_hint_step *steps,
                     size_t max)
{
    size_t count = 0;
    for (uint64_t at = object; at != root; count++) {
        struct hint_entry *entry = (struct hint_entry *) ph_lru_find(&hints->lru, at);
        if (!entry || count == max)
            return 0;
        /* What a path is made of is as worth keeping as the object itself. */
        ph_lru_touch(&hints->lru, &entry->lru);
        steps[count] = (struct ph_hint_step){.object = at, .name = entry->name, .len = entry->len};
        at = entry->parent;
    }
    for (size_t i = 0; i < count / 2; i++) {
        struct ph_hint_step step = steps[i];
        steps[i] = steps[count - 1 - i];
        steps[count - 1 - i] = step;
    }
    return count;
}

bool ph_hints_place(const struct ph_hints *hints, uint64_t object, uint64_t *parent,
                    struct ph_hint_step *step)
{
    const struct hint_entry *entry = (const struct hint_entry *) ph_lru_find(&hints->lru, object);
    if (!entry)
        return false;
    *parent = entry->parent;
    *step = (struct ph_hint_step){.object = object, .name = entry->name, .len = entry->len};
    return true;
}

size_t ph_hints_count(const struct ph_hints *hints)
{
    return hints->lru.count;
}
