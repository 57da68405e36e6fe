/* Valid inputs of the fuzz target: every command, both ways, and control frames. */
#ifndef PH_FUZZ_SEEDS_H
#define PH_FUZZ_SEEDS_H

#include <stddef.h>
#include <stdint.h>

struct ph_seed {
    char name[64]; /* "request-LOOKUP-1", fit for a file */
    uint8_t *bytes;
    size_t len;
};

/* The seeds, the same ones at every call; *COUNT of them. */
struct ph_seed *ph_seeds_new(size_t *count);
void ph_seeds_free(struct ph_seed *seeds, size_t count);

#endif
