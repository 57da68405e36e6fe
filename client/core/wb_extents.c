/* The tree of extents: a treap, split and merged along the ranges that are written. */
#include "client/core/wb_extents.h"

#include <stdlib.h>
#include <string.h>

/* An extent may hold on to this many times its bytes. */
enum { WASTE_MAX = 4 };

/* Weights need no secrecy, only no order: those of neighbours in time must differ widely. */
static uint32_t draw_weight(struct ph_wb_extents *extents)
{
    uint32_t x = ++extents->drawn;
    x = (x ^ (x >> 16)) * UINT32_C(0x7feb352d);
    x = (x ^ (x >> 15)) * UINT32_C(0x846ca68b);
    return x ^ (x >> 16);
}

struct ph_wb_extent *ph_wb_extents_at(const struct ph_wb_extents *extents, uint64_t offset)
{
    struct ph_wb_extent *best = NULL, *extent = extents->root;
    while (extent) {
        if (ph_wb_extent_end(extent) > offset) {
            best = extent;
            extent = extent->left;
        } else {
            extent = extent->right;
        }
    }
    return best;
}

/* TREE into what begins before AT and what does not. */
static void split(struct ph_wb_extent *tree, uint64_t at, struct ph_wb_extent **before,
                  struct ph_wb_extent **after)
{
    while (tree) {
        if (tree->offset < at) {
            *before = tree;
            before = &tree->right;
            tree = tree->right;
        } else {
            *after = tree;
            after = &tree->left;
            tree = tree->left;
        }
    }
    *before = *after = NULL;
}

/* Everything in BEFORE lies before everything in AFTER. */
static struct ph_wb_extent *merge(struct ph_wb_extent *before, struct ph_wb_extent *after)
{
    struct ph_wb_extent *tree = NULL, **link = &tree;
    while (before && after) {
        if (before->weight >= after->weight) {
            *link = before;
            link = &before->right;
            before = before->right;
        } else {
            *link = after;
            link = &after->left;
            after = after->left;
        }
    }
    *link = before ? before : after;
    return tree;
}

struct ph_wb_extent *ph_wb_extents_insert(struct ph_wb_extents *extents, uint64_t offset,
                                          struct ph_blob *blob, uint32_t start, uint32_t len, uint32_t stamp)
{
    struct ph_wb_extent *extent = malloc(sizeof(*extent));
    if (!extent)
        abort();
    *extent = (struct ph_wb_extent){.offset = offset,
                                    .blob = ph_blob_ref(blob),
                                    .start = start,
                                    .len = len,
                                    .weight = draw_weight(extents),
                                    .stamp = stamp};
    struct ph_wb_extent **link = &extents->root;
    while (*link && (*link)->weight >= extent->weight)
        link = offset < (*link)->offset ? &(*link)->left : &(*link)->right;
    split(*link, offset, &extent->left, &extent->right);
    *link = extent;
    extents->bytes += len;
    return extent;
}

static void free_extent(struct ph_wb_extents *extents, struct ph_wb_extent *extent)
{
    extents->bytes -= extent->len;
    ph_blob_unref(extent->blob);
    free(extent);
}

/* Turned right until there is nothing on the left, so that no stack is needed. */
static void free_tree(struct ph_wb_extents *extents, struct ph_wb_extent *tree)
{
    while (tree) {
        struct ph_wb_extent *left = tree->left;
        if (left) {
            tree->left = left->right;
            left->right = tree;
            tree = left;
        } else {
            struct ph_wb_extent *right = tree->right;
            free_extent(extents, tree);
            tree = right;
        }
    }
}

/* EXTENT was cut: a copy of its own for what is left, when that is little of what it holds on to. */
static void be_thrifty(struct ph_wb_extents *extents, struct ph_wb_extent *extent)
{
    if (extent->len >= extent->blob->capacity / WASTE_MAX)
        return;
    struct ph_blob *copy = ph_blob_copy(extent->blob->data + extent->start, extent->len);
    if (!copy)
        abort();
    ph_blob_unref(extent->blob);
    extent->blob = copy;
    extent->start = 0;
    extent->stamp = extents->stamp;
}

/* No extent lies on both sides of AT afterwards. */
static void part(struct ph_wb_extents *extents, uint64_t at)
{
    struct ph_wb_extent *extent = ph_wb_extents_at(extents, at);
    if (!extent || extent->offset >= at)
        return;
    uint32_t kept = (uint32_t) (at - extent->offset), rest = extent->len - kept;
    extent->len = kept;
    extents->bytes -= rest;
    ph_wb_extents_insert(extents, at, extent->blob, extent->start + kept, rest, extent->stamp);
}

void ph_wb_extents_erase(struct ph_wb_extents *extents, uint64_t from, uint64_t to)
{
    struct ph_wb_extent *first = ph_wb_extents_at(extents, from);
    if (from >= to || !first || first->offset >= to)
        return;
    bool left_cut = first->offset < from;
    part(extents, from);
    struct ph_wb_extent *last = ph_wb_extents_at(extents, to);
    bool right_cut = last && last->offset < to;
    part(extents, to);
    struct ph_wb_extent *before, *between, *after;
    split(extents->root, from, &before, &after);
    split(after, to, &between, &after);
    free_tree(extents, between);
    extents->root = merge(before, after);
    if (left_cut)
        be_thrifty(extents, ph_wb_extents_at(extents, from - 1));
    if (right_cut)
        be_thrifty(extents, ph_wb_extents_at(extents, to));
}

void ph_wb_extents_clear(struct ph_wb_extents *extents)
{
    free_tree(extents, extents->root);
    extents->root = NULL;
}
