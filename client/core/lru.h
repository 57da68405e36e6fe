/* Hash table keyed by object id with an order of last use, for maps that are
 * bounded by their number of entries. Entries embed struct ph_lru_entry as
 * their first member and belong to the caller. Pure; not thread safe. */
#ifndef PH_CLIENT_CORE_LRU_H
#define PH_CLIENT_CORE_LRU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ph_lru_entry {
    uint64_t key;
    struct ph_lru_entry *chain; /* next in the same bucket */
    struct ph_lru_entry *newer, *older;
};

struct ph_lru {
    struct ph_lru_entry **buckets;
    size_t bucket_count; /* a power of two */
    size_t count;
    struct ph_lru_entry *newest, *oldest;
};

/* Empty table. */
void ph_lru_init(struct ph_lru *lru);

/* Frees the table's own memory; FREE_ENTRY is called for each entry. */
void ph_lru_clear(struct ph_lru *lru, void (*free_entry)(struct ph_lru_entry *entry));

/* Entry of KEY or NULL; its place in the order stays. */
struct ph_lru_entry *ph_lru_find(const struct ph_lru *lru, uint64_t key);

/* ENTRY was used just now. */
void ph_lru_touch(struct ph_lru *lru, struct ph_lru_entry *entry);

/* Adds ENTRY under KEY, which must not be there, as the one used last. */
void ph_lru_add(struct ph_lru *lru, struct ph_lru_entry *entry, uint64_t key);

/* Takes ENTRY out; it belongs to the caller again. */
void ph_lru_remove(struct ph_lru *lru, struct ph_lru_entry *entry);

/* Where somebody is who looks at all entries, a few at a time; cleared at first. */
struct ph_lru_cursor {
    uint64_t bucket; /* its bits are counted up from the highest: a table that grew is gone on with */
    uint64_t after;  /* key of that bucket that was looked at last; 0 for none */
    bool end;
};

/* The next entry behind CURSOR, which moves. NULL at the end, or when *LOOKS buckets were looked at in vain
 * (it counts down). Keys are never 0. The table may change between calls: what is there from the first call
 * to the last is found; some may be found twice where the table grew. */
struct ph_lru_entry *ph_lru_scan(const struct ph_lru *lru, struct ph_lru_cursor *cursor, size_t *looks);

#endif
