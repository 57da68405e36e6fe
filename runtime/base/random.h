/* Random numbers from a seed: the same seed gives the same numbers on every
 * machine. For simulation, tests and jitter; never for secrets. */
#ifndef PH_BASE_RANDOM_H
#define PH_BASE_RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* xoshiro256** by Blackman and Vigna, seeded through splitmix64. */
struct ph_random {
    uint64_t state[4];
};

/* Starts RANDOM at SEED; every seed, 0 too, is good. */
void ph_random_seed(struct ph_random *random, uint64_t seed);

/* The next 64 random bits. */
uint64_t ph_random_next(struct ph_random *random);

/* Evenly spread over 0 to BOUND - 1; BOUND is not 0. */
uint64_t ph_random_below(struct ph_random *random, uint64_t bound);

/* True in PER_MILLE of 1000 cases. */
bool ph_random_chance(struct ph_random *random, unsigned per_mille);

/* Fills LEN bytes. */
void ph_random_bytes(struct ph_random *random, void *out, size_t len);

/* A generator of its own for a part, so that one part's use of numbers does
 * not shift those of another. */
void ph_random_split(struct ph_random *random, struct ph_random *out);

#endif
