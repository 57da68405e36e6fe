#include "server/core/interval.h"

#include <stddef.h>

static bool before(const struct ph_interval *a, const struct ph_interval *b)
{
    return a->start != b->start ? a->start < b->start : a->order < b->order;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static void update(struct ph_interval *node)
{
    node->reach = node->end;
    node->reach_exclusive = node->exclusive ? node->end : 0;
    for (int side = 0; side < 2; side++) {
        const struct ph_interval *child = side == 0 ? node->left : node->right;

        if (child == NULL)
            continue;
        node->reach = larger(node->reach, child->reach);
        node->reach_exclusive = larger(node->reach_exclusive, child->reach_exclusive);
    }
}

/* Cuts TREE into what comes before KEY and what does not. */
static void split(struct ph_interval *tree, const struct ph_interval *key, struct ph_interval **low,
                  struct ph_interval **high)
{
    if (tree == NULL) {
        *low = *high = NULL;
        return;
    }
    if (before(tree, key)) {
        split(tree->right, key, &tree->right, high);
        *low = tree;
    } else {
        split(tree->left, key, low, &tree->left);
        *high = tree;
    }
    update(tree);
}

/* Joins two trees of which all of LOW comes before all of HIGH. */
static struct ph_interval *merge(struct ph_interval *low, struct ph_interval *high)
{
    if (low == NULL || high == NULL)
        return low != NULL ? low : high;
    if (low->priority >= high->priority) {
        low->right = merge(low->right, high);
        update(low);
        return low;
    }
    high->left = merge(low, high->left);
    update(high);
    return high;
}

void ph_interval_insert(struct ph_interval **root, struct ph_interval *node, uint64_t priority)
{
    struct ph_interval *tree = *root;

    node->priority = priority;
    if (tree == NULL || tree->priority < priority) {
        split(tree, node, &node->left, &node->right);
        *root = node;
    } else {
        ph_interval_insert(before(node, tree) ? &tree->left : &tree->right, node, priority);
    }
    update(*root);
}

void ph_interval_remove(struct ph_interval **root, struct ph_interval *node)
{
    struct ph_interval *tree = *root;

    if (tree == node) {
        *root = merge(node->left, node->right);
        node->left = node->right = NULL;
        return;
    }
    ph_interval_remove(before(node, tree) ? &tree->left : &tree->right, node);
    update(tree);
}

struct ph_interval *ph_interval_walk(struct ph_interval *root, uint64_t start, uint64_t end,
                                     bool exclusive_only, ph_interval_fn fn, void *data)
{
    struct ph_interval *found;

    if (root == NULL || (exclusive_only ? root->reach_exclusive : root->reach) <= start)
        return NULL;
    found = ph_interval_walk(root->left, start, end, exclusive_only, fn, data);
    if (found != NULL)
        return found;
    if (root->start >= end)
        return NULL;
    if (root->end > start && (root->exclusive || !exclusive_only) && fn(root, data))
        return root;
    return ph_interval_walk(root->right, start, end, exclusive_only, fn, data);
}
