#include "tests/coherence/config_set.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_ROOM = 16 };

static size_t place(const struct ph_config_set *set, struct ph_config config)
{
    uint64_t hash =
        (config.state ^ config.done * UINT64_C(0x9e3779b97f4a7c15)) * UINT64_C(0xd6e8feb86659fd93);
    size_t at = (size_t) (hash >> 32) & (set->table_size - 1);

    while (set->table[at]) {
        const struct ph_config *there = &set->config[set->table[at] - 1];

        if (there->state == config.state && there->done == config.done)
            break;
        at = (at + 1) & (set->table_size - 1);
    }
    return at;
}

static void grow(struct ph_config_set *set)
{
    set->room = set->room ? 2 * set->room : FIRST_ROOM;
    set->table_size = 2 * set->room;
    free(set->table);
    set->config = realloc(set->config, set->room * sizeof *set->config);
    set->table = calloc(set->table_size, sizeof *set->table);
    if (!set->config || !set->table)
        abort();
    for (size_t i = 0; i < set->count; i++)
        set->table[place(set, set->config[i])] = (uint32_t) i + 1;
}

bool ph_config_set_add(struct ph_config_set *set, struct ph_config config)
{
    size_t at;

    if (set->count == set->room)
        grow(set);
    at = place(set, config);
    if (set->table[at])
        return false;
    set->config[set->count++] = config;
    set->table[at] = (uint32_t) set->count;
    return true;
}

void ph_config_set_clear(struct ph_config_set *set)
{
    if (set->count)
        memset(set->table, 0, set->table_size * sizeof *set->table);
    set->count = 0;
}

void ph_config_set_free(struct ph_config_set *set)
{
    free(set->config);
    free(set->table);
    *set = (struct ph_config_set){0};
}
