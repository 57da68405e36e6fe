#include "client/core/lru.h"

#include <stdlib.h>

enum { LRU_FIRST_BUCKETS = 64 };

static size_t bucket_of(const struct ph_lru *lru, uint64_t key)
{
    /* Fibonacci hashing: ids come in rows, their low bits alone would do for
     * those but not for inode numbers that share them. */
    return (size_t) ((key * UINT64_C(0x9e3779b97f4a7c15)) >> 20) & (lru->bucket_count - 1);
}

static struct ph_lru_entry **new_buckets(size_t count)
{
    struct ph_lru_entry **buckets = calloc(count, sizeof(*buckets));
    if (!buckets)
        abort();
    return buckets;
}

void ph_lru_init(struct ph_lru *lru)
{
    *lru = (struct ph_lru){.bucket_count = LRU_FIRST_BUCKETS};
    lru->buckets = new_buckets(LRU_FIRST_BUCKETS);
}

void ph_lru_clear(struct ph_lru *lru, void (*free_entry)(struct ph_lru_entry *entry))
{
    struct ph_lru_entry *entry = lru->newest;
    while (entry) {
        struct ph_lru_entry *older = entry->older;
        free_entry(entry);
        entry = older;
    }
    free(lru->buckets);
    *lru = (struct ph_lru){0};
}

struct ph_lru_entry *ph_lru_find(const struct ph_lru *lru, uint64_t key)
{
    struct ph_lru_entry *entry = lru->buckets[bucket_of(lru, key)];
    while (entry && entry->key != key)
        entry = entry->chain;
    return entry;
}

static void order_out(struct ph_lru *lru, struct ph_lru_entry *entry)
{
    if (entry->newer)
        entry->newer->older = entry->older;
    else
        lru->newest = entry->older;
    if (entry->older)
        entry->older->newer = entry->newer;
    else
        lru->oldest = entry->newer;
}

static void order_first(struct ph_lru *lru, struct ph_lru_entry *entry)
{
    entry->newer = NULL;
    entry->older = lru->newest;
    if (lru->newest)
        lru->newest->newer = entry;
    else
        lru->oldest = entry;
    lru->newest = entry;
}

void ph_lru_touch(struct ph_lru *lru, struct ph_lru_entry *entry)
{
    if (lru->newest == entry)
        return;
    order_out(lru, entry);
    order_first(lru, entry);
}

static void grow(struct ph_lru *lru)
{
    free(lru->buckets);
    lru->bucket_count *= 2;
    lru->buckets = new_buckets(lru->bucket_count);
    for (struct ph_lru_entry *entry = lru->newest; entry; entry = entry->older) {
        struct ph_lru_entry **bucket = &lru->buckets[bucket_of(lru, entry->key)];
        entry->chain = *bucket;
        *bucket = entry;
    }
}

void ph_lru_add(struct ph_lru *lru, struct ph_lru_entry *entry, uint64_t key)
{
    if (lru->count >= lru->bucket_count)
        grow(lru);
    entry->key = key;
    struct ph_lru_entry **bucket = &lru->buckets[bucket_of(lru, key)];
    entry->chain = *bucket;
    *bucket = entry;
    order_first(lru, entry);
    lru->count++;
}

void ph_lru_remove(struct ph_lru *lru, struct ph_lru_entry *entry)
{
    struct ph_lru_entry **link = &lru->buckets[bucket_of(lru, entry->key)];
    while (*link != entry)
        link = &(*link)->chain;
    *link = entry->chain;
    order_out(lru, entry);
    lru->count--;
}

static uint64_t reversed(uint64_t bits)
{
    uint64_t out = 0;
    for (unsigned i = 0; i < 64; i++, bits >>= 1)
        out = out << 1 | (bits & 1);
    return out;
}

/* The least key of the bucket above AFTER: chains are short, and their order says nothing. */
static struct ph_lru_entry *next_in_bucket(struct ph_lru_entry *chain, uint64_t after)
{
    struct ph_lru_entry *found = NULL;
    for (; chain; chain = chain->chain) {
        if (chain->key > after && (!found || chain->key < found->key))
            found = chain;
    }
    return found;
}

struct ph_lru_entry *ph_lru_scan(const struct ph_lru *lru, struct ph_lru_cursor *cursor, size_t *looks)
{
    uint64_t mask = lru->bucket_count - 1;
    while (!cursor->end && *looks > 0) {
        struct ph_lru_entry *entry = next_in_bucket(lru->buckets[cursor->bucket & mask], cursor->after);
        if (entry) {
            cursor->after = entry->key;
            return entry;
        }
        /* A bucket becomes two when the table grows, which differ in a bit above the mask. Counting from
         * there down, both come where the one would have come. */
        cursor->bucket = reversed(reversed(cursor->bucket | ~mask) + 1);
        cursor->after = 0;
        cursor->end = cursor->bucket == 0;
        (*looks)--;
    }
    return NULL;
}
