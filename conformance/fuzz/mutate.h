/* Small random changes to an input, from a seed. */
#ifndef PH_FUZZ_MUTATE_H
#define PH_FUZZ_MUTATE_H

#include <stddef.h>
#include <stdint.h>

#include "runtime/base/random.h"

/* Changes BYTES (LEN of them, room for CAPACITY) in one to eight places; may
 * take pieces of OTHER. Returns the new length, 1 at least. */
size_t ph_mutate(uint8_t *bytes, size_t len, size_t capacity, const uint8_t *other, size_t other_len,
                 struct ph_random *random);

#endif
