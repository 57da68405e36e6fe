#include "runtime/base/random.h"

static uint64_t rotate_left(uint64_t x, int k)
{
    return x << k | x >> (64 - k);
}

static uint64_t splitmix64(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

void ph_random_seed(struct ph_random *random, uint64_t seed)
{
    for (int i = 0; i < 4; i++)
        random->state[i] = splitmix64(&seed);
}

uint64_t ph_random_next(struct ph_random *random)
{
    uint64_t *s = random->state;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

uint64_t ph_random_below(struct ph_random *random, uint64_t bound)
{
    /* Numbers below 2^64 mod BOUND are drawn again: they would come too often. */
    uint64_t surplus = -bound % bound, x;
    do {
        x = ph_random_next(random);
    } while (x < surplus);
    return x % bound;
}

bool ph_random_chance(struct ph_random *random, unsigned per_mille)
{
    return ph_random_below(random, 1000) < per_mille;
}

void ph_random_bytes(struct ph_random *random, void *out, size_t len)
{
    uint8_t *bytes = out;
    while (len > 0) {
        uint64_t x = ph_random_next(random);
        for (int i = 0; i < 8 && len > 0; i++, len--, x >>= 8)
            *bytes++ = (uint8_t) x; /* by the byte: the same on machines of either endianness */
    }
}

void ph_random_split(struct ph_random *random, struct ph_random *out)
{
    ph_random_seed(out, ph_random_next(random));
}
