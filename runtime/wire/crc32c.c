/* CRC-32C three ways: by tables of eight bytes at a time everywhere, and with
 * the SSE 4.2 instruction where there is one, for long runs in three lanes at
 * once because the instruction takes three cycles but one can start in each. */
#include "runtime/wire/frame.h"

#include <string.h>

/* Castagnoli's polynomial, bits reversed. */
#define POLYNOMIAL UINT32_C(0x82f63b78)

enum { LANE_BYTES = 1024 };

static uint32_t table[8][256];

/* What LANE_BYTES zero bytes do to a CRC, one table for each of its bytes. */
static uint32_t skip_lane[4][256];

static uint32_t (*chosen)(uint32_t crc, const uint8_t *bytes, size_t len);

static void make_tables(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? POLYNOMIAL : 0);
        table[0][i] = crc;
    }
    for (int i = 0; i < 256; i++)
        for (int k = 1; k < 8; k++)
            table[k][i] = table[k - 1][i] >> 8 ^ table[0][table[k - 1][i] & 0xff];
}

static uint32_t matrix_times(const uint32_t matrix[32], uint32_t vector)
{
    uint32_t sum = 0;
    for (int bit = 0; vector != 0; bit++, vector >>= 1)
        if (vector & 1)
            sum ^= matrix[bit];
    return sum;
}

static void make_skip(void)
{
    uint32_t matrix[32], square[32];
    for (int bit = 0; bit < 32; bit++) {
        uint32_t crc = UINT32_C(1) << bit;
        matrix[bit] = crc >> 8 ^ table[0][crc & 0xff];
    }
    for (size_t bytes = 1; bytes < LANE_BYTES; bytes *= 2) {
        for (int bit = 0; bit < 32; bit++)
            square[bit] = matrix_times(matrix, matrix[bit]);
        memcpy(matrix, square, sizeof matrix);
    }
    for (int k = 0; k < 4; k++)
        for (uint32_t i = 0; i < 256; i++)
            skip_lane[k][i] = matrix_times(matrix, i << (8 * k));
}

static uint32_t crc_tables(uint32_t crc, const uint8_t *bytes, size_t len)
{
    for (; len >= 8; bytes += 8, len -= 8) {
        uint32_t low = crc ^ ((uint32_t) bytes[0] | (uint32_t) bytes[1] << 8 | (uint32_t) bytes[2] << 16 |
                              (uint32_t) bytes[3] << 24);
        crc = table[7][low & 0xff] ^ table[6][low >> 8 & 0xff] ^ table[5][low >> 16 & 0xff] ^
              table[4][low >> 24] ^ table[3][bytes[4]] ^ table[2][bytes[5]] ^ table[1][bytes[6]] ^
              table[0][bytes[7]];
    }
    for (; len > 0; bytes++, len--)
        crc = crc >> 8 ^ table[0][(crc ^ *bytes) & 0xff];
    return crc;
}

#if defined(__x86_64__)
static uint64_t load64(const uint8_t *bytes)
{
    uint64_t value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

static uint32_t skip(uint32_t crc)
{
    return skip_lane[0][crc & 0xff] ^ skip_lane[1][crc >> 8 & 0xff] ^ skip_lane[2][crc >> 16 & 0xff] ^
           skip_lane[3][crc >> 24];
}

__attribute__((target("sse4.2"))) static uint32_t crc_sse42(uint32_t crc, const uint8_t *bytes, size_t len)
{
    for (; len >= 3 * LANE_BYTES; bytes += 3 * LANE_BYTES, len -= 3 * LANE_BYTES) {
        uint64_t a = crc, b = 0, c = 0;
        for (size_t i = 0; i < LANE_BYTES; i += 8) {
            a = __builtin_ia32_crc32di(a, load64(bytes + i));
            b = __builtin_ia32_crc32di(b, load64(bytes + LANE_BYTES + i));
            c = __builtin_ia32_crc32di(c, load64(bytes + 2 * LANE_BYTES + i));
        }
        crc = skip(skip((uint32_t) a) ^ (uint32_t) b) ^ (uint32_t) c;
    }
    uint64_t wide = crc;
    for (; len >= 8; bytes += 8, len -= 8)
        wide = __builtin_ia32_crc32di(wide, load64(bytes));
    crc = (uint32_t) wide;
    for (; len > 0; bytes++, len--)
        crc = __builtin_ia32_crc32qi(crc, *bytes);
    return crc;
}
#endif

/* Before main, so that no caller needs to ask whether the tables are there. */
__attribute__((constructor)) static void choose(void)
{
    make_tables();
    make_skip();
    chosen = crc_tables;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("sse4.2"))
        chosen = crc_sse42;
#endif
}

uint32_t ph_crc32c(uint32_t crc, const void *bytes, size_t len)
{
    return ~chosen(~crc, bytes, len);
}

uint32_t ph_crc32c_tables(uint32_t crc, const void *bytes, size_t len)
{
    return ~crc_tables(~crc, bytes, len);
}
