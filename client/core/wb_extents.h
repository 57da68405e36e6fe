/* Ranges of a file that do not overlap, each with its bytes in a blob: a tree
 * ordered by offset. Part of wb_data. Pure; not thread safe; aborts without memory. */
#ifndef PH_CLIENT_CORE_WB_EXTENTS_H
#define PH_CLIENT_CORE_WB_EXTENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/blob.h"

struct ph_wb_extent {
    struct ph_wb_extent *left, *right;
    uint64_t offset; /* in the file */
    struct ph_blob *blob;
    uint32_t start, len; /* in the blob; LEN is never 0 */
    uint32_t weight;     /* never less than those of the extents below */
    uint32_t stamp;      /* that of the tree: the bytes may still be changed in place */
    uint32_t grows;      /* that of the tree: more may be put behind them in the blob */
};

/* All zero but STAMP: empty. */
struct ph_wb_extents {
    struct ph_wb_extent *root;
    uint64_t bytes;
    uint32_t stamp; /* marks what was written last; never 0 */
    uint32_t drawn; /* weights given out */
};

/* Where EXTENT ends in the file. */
static inline uint64_t ph_wb_extent_end(const struct ph_wb_extent *extent)
{
    return extent->offset + extent->len;
}

/* The first extent that ends behind OFFSET, or NULL. */
struct ph_wb_extent *ph_wb_extents_at(const struct ph_wb_extents *extents, uint64_t offset);

/* LEN bytes (1 or more) of BLOB from START on, at OFFSET, where nothing may be. Takes a reference of its own.
 * STAMP: that of EXTENTS when the bytes may be changed in place, else another one. */
struct ph_wb_extent *ph_wb_extents_insert(struct ph_wb_extents *extents, uint64_t offset,
                                          struct ph_blob *blob, uint32_t start, uint32_t len, uint32_t stamp);

/* Nothing is left from FROM up to TO. What is left of an extent may be copied, so as not to hold on to
 * much memory for few bytes. */
void ph_wb_extents_erase(struct ph_wb_extents *extents, uint64_t from, uint64_t to);

/* Nothing is left; the stamp stays. */
void ph_wb_extents_clear(struct ph_wb_extents *extents);

#endif
