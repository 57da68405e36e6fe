/* Hash table of nodes that live inside what they name. It owns nothing but its
 * buckets; keys are compared by the caller. */
#ifndef PH_SERVER_CORE_TABLE_H
#define PH_SERVER_CORE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ph_table_node {
    struct ph_table_node *next;
    uint64_t hash;
};

struct ph_table {
    struct ph_table_node **buckets; /* NULL while empty */
    size_t mask, count;
};

/* Start of a hash: SEED is the table's secret, so that peers cannot choose what collides. */
uint64_t ph_table_hash(uint64_t seed, uint64_t value);

/* First node with HASH, and the next one after NODE with the same; NULL for none. */
struct ph_table_node *ph_table_first(const struct ph_table *table, uint64_t hash);
struct ph_table_node *ph_table_next(const struct ph_table_node *node);

/* Adds NODE under HASH. It must stay where it is until removed. */
void ph_table_add(struct ph_table *table, struct ph_table_node *node, uint64_t hash);

/* Takes NODE, which must be in there, out. */
void ph_table_remove(struct ph_table *table, struct ph_table_node *node);

/* Where somebody is who looks at all nodes, a few at a time; cleared at first. */
struct ph_table_cursor {
    uint64_t bucket; /* its bits are counted up from the highest: a table that grew is gone on with */
    uint64_t after;  /* hash in that bucket that was looked at last, if INSIDE */
    bool inside, end;
};

/* The next node behind CURSOR, which moves. NULL at the end, or when *LOOKS buckets were looked at in vain (it
 * counts down). Of nodes with the same hash one is found. The table may change between calls: what is there
 * from the first to the last is found; some may be found twice where the table grew. */
struct ph_table_node *ph_table_scan(const struct ph_table *table, struct ph_table_cursor *cursor,
                                    size_t *looks);

/* Frees the buckets; the nodes are the caller's. */
void ph_table_clear(struct ph_table *table);

/* The struct T that has NODE as its MEMBER; NULL for NULL. */
#define PH_TABLE_ENTRY(node, T, member)                                                                      \
    ((node) == NULL ? NULL : (T *) (void *) ((char *) (node) -offsetof(T, member)))

#endif
