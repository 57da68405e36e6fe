/* Ordered set of intervals that may overlap: a treap whose nodes know how far
 * the intervals below them reach. Nodes live inside what they stand for. */
#ifndef PH_SERVER_CORE_INTERVAL_H
#define PH_SERVER_CORE_INTERVAL_H

#include <stdbool.h>
#include <stdint.h>

struct ph_interval {
    uint64_t start, end; /* from START up to, but without, END; START < END */
    bool exclusive;
    uint64_t order; /* unique among those of a tree: tells equal starts apart */
    /* private */
    struct ph_interval *left, *right;
    uint64_t priority;
    uint64_t reach, reach_exclusive; /* largest END below, and of exclusive ones; 0 for none */
};

/* Adds NODE, with its first four members set, to the tree at ROOT. PRIORITY is
 * random: peers must not be able to guess it, or they could make the tree deep. */
void ph_interval_insert(struct ph_interval **root, struct ph_interval *node, uint64_t priority);

/* Takes NODE, which must be in there, out. */
void ph_interval_remove(struct ph_interval **root, struct ph_interval *node);

/* Called for an interval; true ends the walk. Must not change the tree. */
typedef bool (*ph_interval_fn)(struct ph_interval *node, void *data);

/* Calls FN for the intervals that share a byte with START to END (not included),
 * lowest first; only exclusive ones if so wanted. Returns the one at which FN
 * ended the walk, or NULL. */
struct ph_interval *ph_interval_walk(struct ph_interval *root, uint64_t start, uint64_t end,
                                     bool exclusive_only, ph_interval_fn fn, void *data);

#endif
