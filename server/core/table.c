#include "server/core/table.h"

#include "server/core/memory.h"

enum { FIRST_BUCKETS = 16 };

uint64_t ph_table_hash(uint64_t seed, uint64_t value)
{
    /* The finaliser of splitmix64: every bit of the input reaches every bit of the output. */
    uint64_t x = seed ^ (value + UINT64_C(0x9e3779b97f4a7c15));

    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

struct ph_table_node *ph_table_first(const struct ph_table *table, uint64_t hash)
{
    struct ph_table_node *node = table->count == 0 ? NULL : table->buckets[hash & table->mask];

    while (node != NULL && node->hash != hash)
        node = node->next;
    return node;
}

struct ph_table_node *ph_table_next(const struct ph_table_node *node)
{
    struct ph_table_node *next = node->next;

    while (next != NULL && next->hash != node->hash)
        next = next->next;
    return next;
}

static void grow(struct ph_table *table)
{
    size_t size = table->buckets == NULL ? FIRST_BUCKETS : 2 * (table->mask + 1);
    struct ph_table_node **buckets = ph_core_new0(size * sizeof(*buckets));

    for (size_t i = 0; table->buckets != NULL && i <= table->mask; i++) {
        struct ph_table_node *node = table->buckets[i];

        while (node != NULL) {
            struct ph_table_node *next = node->next;

            node->next = buckets[node->hash & (size - 1)];
            buckets[node->hash & (size - 1)] = node;
            node = next;
        }
    }
    free(table->buckets);
    table->buckets = buckets;
    table->mask = size - 1;
}

void ph_table_add(struct ph_table *table, struct ph_table_node *node, uint64_t hash)
{
    if (table->buckets == NULL || table->count > table->mask)
        grow(table);
    node->hash = hash;
    node->next = table->buckets[hash & table->mask];
    table->buckets[hash & table->mask] = node;
    table->count++;
}

void ph_table_remove(struct ph_table *table, struct ph_table_node *node)
{
    struct ph_table_node **link = &table->buckets[node->hash & table->mask];

    while (*link != node)
        link = &(*link)->next;
    *link = node->next;
    table->count--;
}

static uint64_t reversed(uint64_t bits)
{
    uint64_t out = 0;

    for (unsigned i = 0; i < 64; i++, bits >>= 1)
        out = out << 1 | (bits & 1);
    return out;
}

/* The least hash of the chain behind CURSOR: chains are short, and their order says nothing. */
static struct ph_table_node *next_in_chain(struct ph_table_node *chain, const struct ph_table_cursor *cursor)
{
    struct ph_table_node *found = NULL;

    for (; chain != NULL; chain = chain->next) {
        if ((!cursor->inside || chain->hash > cursor->after) && (found == NULL || chain->hash < found->hash))
            found = chain;
    }
    return found;
}

struct ph_table_node *ph_table_scan(const struct ph_table *table, struct ph_table_cursor *cursor,
                                    size_t *looks)
{
    cursor->end = cursor->end || table->buckets == NULL;
    while (!cursor->end && *looks > 0) {
        struct ph_table_node *node = next_in_chain(table->buckets[cursor->bucket & table->mask], cursor);

        if (node != NULL) {
            cursor->after = node->hash;
            cursor->inside = true;
            return node;
        }
        /* A bucket becomes two when the table grows, which differ in a bit above the mask. Counting from
         * there down, both come where the one would have come. */
        cursor->bucket = reversed(reversed(cursor->bucket | ~(uint64_t) table->mask) + 1);
        cursor->inside = false;
        cursor->end = cursor->bucket == 0;
        (*looks)--;
    }
    return NULL;
}

void ph_table_clear(struct ph_table *table)
{
    free(table->buckets);
    *table = (struct ph_table){0};
}
