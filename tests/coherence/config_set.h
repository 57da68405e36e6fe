/* A set of configurations of the checker, in the order in which they came. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A state of an object, and which of the events under way (one bit each) have happened. */
struct ph_config {
    uint64_t state, done;
};

/* All zero is an empty set. */
struct ph_config_set {
    struct ph_config *config;
    size_t count, room;
    uint32_t *table; /* places in `config`, plus one; 0 is empty */
    size_t table_size;
};

/* Adds CONFIG unless it is there; whether it was new. Ends the program when memory is out. */
bool ph_config_set_add(struct ph_config_set *set, struct ph_config config);

/* Makes SET empty, and keeps its memory. */
void ph_config_set_clear(struct ph_config_set *set);

/* Gives the memory of SET back; it is empty then. */
void ph_config_set_free(struct ph_config_set *set);
