/* Promises of frame headers: they survive the wire, and nothing that was changed on the way passes. */
#include <glib.h>
#include <string.h>

#include "ph_commands.h"
#include "runtime/base/random.h"
#include "runtime/wire/frame.h"

static const struct ph_frame_header sample = {
    .kind = PH_FRAME_REQUEST,
    .flags = PH_FLAG_RETRY,
    .traffic_class = PH_CLASS_RELEASE,
    .command = 0x1234,
    .credits = 0x5678,
    .status = 0x9abcdef0,
    .id = G_GUINT64_CONSTANT(0x0123456789abcdef),
    .slot = 3,
    .sequence = 4,
    .message_len = 100,
    .payload_len = 200,
    .body_crc = 0xcafebabe,
};

static void header_survives_the_wire(void)
{
    uint8_t bytes[PH_FRAME_HEADER_BYTES];
    struct ph_frame_header out;
    struct ph_fault fault = {0};
    ph_frame_header_encode(&sample, bytes);
    g_assert_cmpuint(ph_frame_header_decode(bytes, 100, 200, &out, &fault), ==, 0);
    g_assert_cmpint(out.kind, ==, sample.kind);
    g_assert_cmpint(out.flags, ==, sample.flags);
    g_assert_cmpint(out.traffic_class, ==, sample.traffic_class);
    g_assert_cmphex(out.command, ==, sample.command);
    g_assert_cmphex(out.credits, ==, sample.credits);
    g_assert_cmphex(out.status, ==, sample.status);
    g_assert_cmphex(out.id, ==, sample.id);
    g_assert_cmphex(out.slot, ==, sample.slot);
    g_assert_cmphex(out.sequence, ==, sample.sequence);
    g_assert_cmphex(out.message_len, ==, sample.message_len);
    g_assert_cmphex(out.payload_len, ==, sample.payload_len);
    g_assert_cmphex(out.body_crc, ==, sample.body_crc);
}

static void header_has_the_documented_bytes(void)
{
    static const uint8_t expected[44] = {
        'P',  'H',  'M',  '1',  12,   1,    1,    1,    0x34, 0x12, 0x78, 0x56, 0xf0, 0xde, 0xbc,
        0x9a, 0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01, 3,    0,    0,    0,    4,    0,
        0,    0,    100,  0,    0,    0,    200,  0,    0,    0,    0xbe, 0xba, 0xfe, 0xca,
    };
    uint8_t bytes[PH_FRAME_HEADER_BYTES];
    ph_frame_header_encode(&sample, bytes);
    g_assert_cmpmem(bytes, sizeof expected, expected, sizeof expected);
    uint32_t crc = ph_crc32c(0, bytes, 44);
    const uint8_t crc_bytes[4] = {(uint8_t) crc, (uint8_t) (crc >> 8), (uint8_t) (crc >> 16),
                                  (uint8_t) (crc >> 24)};
    g_assert_cmpmem(bytes + 44, 4, crc_bytes, 4);
}

static void every_changed_bit_is_noticed(void)
{
    uint8_t bytes[PH_FRAME_HEADER_BYTES];
    struct ph_frame_header out;
    ph_frame_header_encode(&sample, bytes);
    for (int bit = 0; bit < PH_FRAME_HEADER_BYTES * 8; bit++) {
        struct ph_fault fault = {0};
        memset(&out, 0x55, sizeof out);
        struct ph_frame_header before = out;
        bytes[bit / 8] ^= (uint8_t) (1 << bit % 8);
        g_assert_cmpuint(ph_frame_header_decode(bytes, UINT32_MAX, UINT32_MAX, &out, &fault), ==,
                         PH_ST_MALFORMED);
        g_assert_cmpuint(fault.status, ==, PH_ST_MALFORMED);
        g_assert_cmpuint(strlen(fault.text), >, 0);
        g_assert_cmpmem(&out, sizeof out, &before, sizeof before);
        bytes[bit / 8] ^= (uint8_t) (1 << bit % 8);
    }
}

/* Sets byte AT and makes the checksum fit again, as a hostile peer does. */
static uint32_t decode_with(int at, uint8_t value)
{
    uint8_t bytes[PH_FRAME_HEADER_BYTES];
    struct ph_frame_header out;
    ph_frame_header_encode(&sample, bytes);
    bytes[at] = value;
    uint32_t crc = ph_crc32c(0, bytes, 44);
    for (int i = 0; i < 4; i++)
        bytes[44 + i] = (uint8_t) (crc >> (8 * i));
    return ph_frame_header_decode(bytes, 100, 200, &out, NULL);
}

static void what_the_protocol_does_not_know_is_refused(void)
{
    g_assert_cmpuint(decode_with(5, 1), ==, 0);
    for (int value = 0; value < 256; value++) {
        g_assert_cmpuint(decode_with(4, (uint8_t) value) == 0, ==, value == 12);
        g_assert_cmpuint(decode_with(5, (uint8_t) value) == 0, ==, value >= 1 && value <= 4);
        g_assert_cmpuint(decode_with(6, (uint8_t) value) == 0, ==, value <= 1);
        g_assert_cmpuint(decode_with(7, (uint8_t) value) == 0, ==, value <= 1);
        g_assert_cmpuint(decode_with(0, (uint8_t) value) == 0, ==, value == 'P');
    }
}

static void lengths_beyond_the_limits_are_refused(void)
{
    for (int byte = 0; byte < 4; byte++) {
        uint8_t message_byte = byte == 0 ? 101 : 1, payload_byte = byte == 0 ? 201 : 1;
        g_assert_cmpuint(decode_with(32 + byte, message_byte), ==, PH_ST_MALFORMED);
        g_assert_cmpuint(decode_with(36 + byte, payload_byte), ==, PH_ST_MALFORMED);
    }
}

static void checksum_has_the_check_value_of_rfc_3720(void)
{
    uint8_t zeros[32] = {0}, ones[32], up[32];
    memset(ones, 0xff, sizeof ones);
    for (int i = 0; i < 32; i++)
        up[i] = (uint8_t) i;
    g_assert_cmphex(ph_crc32c(0, "123456789", 9), ==, 0xe3069283);
    g_assert_cmphex(ph_crc32c(0, zeros, 32), ==, 0x8a9136aa);
    g_assert_cmphex(ph_crc32c(0, ones, 32), ==, 0x62a8ab43);
    g_assert_cmphex(ph_crc32c(0, up, 32), ==, 0x46dd794e);
    g_assert_cmphex(ph_crc32c(0, NULL, 0), ==, 0);
}

static void checksum_is_the_same_by_instruction_tables_and_pieces(void)
{
    enum { SIZE = 20000 };
    g_autofree uint8_t *bytes = g_malloc(SIZE);
    struct ph_random random;
    ph_random_seed(&random, 1);
    ph_random_bytes(&random, bytes, SIZE);
    for (int i = 0; i < 3000; i++) {
        size_t start = ph_random_below(&random, 100), len = ph_random_below(&random, SIZE - 100);
        size_t cut = ph_random_below(&random, len + 1);
        uint32_t whole = ph_crc32c(0, bytes + start, len);
        g_assert_cmphex(whole, ==, ph_crc32c_tables(0, bytes + start, len));
        uint32_t first = ph_crc32c(0, bytes + start, cut);
        g_assert_cmphex(whole, ==, ph_crc32c(first, bytes + start + cut, len - cut));
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/frame/header-survives-the-wire", header_survives_the_wire);
    g_test_add_func("/frame/header-has-the-documented-bytes", header_has_the_documented_bytes);
    g_test_add_func("/frame/every-changed-bit-is-noticed", every_changed_bit_is_noticed);
    g_test_add_func("/frame/what-the-protocol-does-not-know-is-refused",
                    what_the_protocol_does_not_know_is_refused);
    g_test_add_func("/frame/lengths-beyond-the-limits-are-refused", lengths_beyond_the_limits_are_refused);
    g_test_add_func("/crc32c/has-the-check-value-of-rfc-3720", checksum_has_the_check_value_of_rfc_3720);
    g_test_add_func("/crc32c/same-by-instruction-tables-and-pieces",
                    checksum_is_the_same_by_instruction_tables_and_pieces);
    return g_test_run();
}
