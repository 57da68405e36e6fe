#include "conformance/fuzz/mutate.h"

#include <string.h>

enum { CHANGES_MAX = 8, INSERT_MAX = 64 };

static const uint8_t telling[] = {0x00, 0x01, 0x2f, 0x7f, 0x80, 0xff, 0xfe, 0x08, 0x0a, 0x12};

static size_t insert(uint8_t *bytes, size_t len, size_t capacity, const uint8_t *piece, size_t piece_len,
                     struct ph_random *random)
{
    size_t at = ph_random_below(random, len + 1);
    if (piece_len > capacity - len)
        piece_len = capacity - len;
    memmove(bytes + at + piece_len, bytes + at, len - at);
    memcpy(bytes + at, piece, piece_len);
    return len + piece_len;
}

static size_t erase(uint8_t *bytes, size_t len, struct ph_random *random)
{
    size_t at = ph_random_below(random, len), count = 1 + ph_random_below(random, INSERT_MAX);
    if (count > len - at)
        count = len - at;
    memmove(bytes + at, bytes + at + count, len - at - count);
    return len - count;
}

/* A piece of SOURCE, which may be the input itself, to PIECE; returns its length. */
static size_t cut_out(const uint8_t *source, size_t len, uint8_t piece[INSERT_MAX], struct ph_random *random)
{
    if (len == 0)
        return 0;
    size_t at = ph_random_below(random, len), count = 1 + ph_random_below(random, INSERT_MAX);
    if (count > len - at)
        count = len - at;
    memcpy(piece, source + at, count);
    return count;
}

static size_t change(uint8_t *bytes, size_t len, size_t capacity, const uint8_t *other, size_t other_len,
                     struct ph_random *random)
{
    uint8_t piece[INSERT_MAX];
    size_t at = ph_random_below(random, len);
    switch (ph_random_below(random, 7)) {
    case 0:
        bytes[at] ^= (uint8_t) (1 << ph_random_below(random, 8));
        return len;
    case 1:
        bytes[at] = (uint8_t) ph_random_next(random);
        return len;
    case 2:
        bytes[at] = telling[ph_random_below(random, sizeof telling)];
        return len;
    case 3:
        bytes[at] = (uint8_t) (bytes[at] + ph_random_below(random, 9) - 4);
        return len;
    case 4:
        return erase(bytes, len, random);
    case 5:
        return insert(bytes, len, capacity, piece, cut_out(bytes, len, piece, random), random);
    default:
        return insert(bytes, len, capacity, piece, cut_out(other, other_len, piece, random), random);
    }
}

size_t ph_mutate(uint8_t *bytes, size_t len, size_t capacity, const uint8_t *other, size_t other_len,
                 struct ph_random *random)
{
    size_t changes = 1 + ph_random_below(random, CHANGES_MAX);
    for (size_t i = 0; i < changes && len > 0; i++)
        len = change(bytes, len, capacity, other, other_len, random);
    if (len == 0)
        bytes[len++] = 0;
    return len;
}
