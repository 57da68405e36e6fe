#include "client/core/versions.h"

#include <stdlib.h>

#include "client/core/lru.h"

struct ph_versions {
    struct ph_lru lru;
    size_t capacity;
};

struct version_entry {
    struct ph_lru_entry lru; /* first: the table hands out this address */
    uint64_t version;
};

static void free_entry(struct ph_lru_entry *entry)
{
    free(entry);
}

struct ph_versions *ph_versions_new(size_t capacity)
{
    struct ph_versions *versions = calloc(1, sizeof(*versions));
    if (!versions)
        abort();
    ph_lru_init(&versions->lru);
    versions->capacity = capacity ? capacity : 1;
    return versions;
}

void ph_versions_free(struct ph_versions *versions)
{
    if (!versions)
        return;
    ph_lru_clear(&versions->lru, free_entry);
    free(versions);
}

/* The entry to record OBJECT in: its own, the oldest one's memory, or new memory. */
static struct version_entry *entry_for(struct ph_versions *versions, uint64_t object)
{
    struct version_entry *entry;
    if (versions->lru.count >= versions->capacity) {
        entry = (struct version_entry *) versions->lru.oldest;
        ph_lru_remove(&versions->lru, &entry->lru);
    } else {
        entry = malloc(sizeof(*entry));
        if (!entry)
            abort();
    }
    entry->version = 0;
    ph_lru_add(&versions->lru, &entry->lru, object);
    return entry;
}

bool ph_versions_same(struct ph_versions *versions, uint64_t object, uint64_t version)
{
    struct version_entry *entry = (struct version_entry *) ph_lru_find(&versions->lru, object);
    if (entry)
        ph_lru_touch(&versions->lru, &entry->lru);
    else
        entry = entry_for(versions, object);
    bool same = version != 0 && entry->version == version;
    entry->version = version;
    return same;
}

void ph_versions_forget(struct ph_versions *versions, uint64_t object)
{
    struct ph_lru_entry *entry = ph_lru_find(&versions->lru, object);
    if (!entry)
        return;
    ph_lru_remove(&versions->lru, entry);
    free_entry(entry);
}

size_t ph_versions_count(const struct ph_versions *versions)
{
    return versions->lru.count;
}
