/* Bytes newer than the server's, against plain arrays of bytes. */
#include <glib.h>
#include <string.h>

#include "client/core/wb_data.h"

#define KIB 1024
#define MIB (UINT64_C(1024) * KIB)
#define FAR_END (UINT64_C(1) << 63)

enum { SPAN = 64 * KIB, SEEDS = 2000, STEPS = 60, PIECES_MAX = 4096 };

/* One generation of bytes; HELD says which of them count. */
struct layer {
    uint8_t bytes[SPAN];
    uint8_t held[SPAN];
};

/* A piece that was handed out, and what was in it then. */
struct piece {
    struct ph_blob *blob;
    uint8_t *copy;
    size_t len;
};

struct world {
    struct ph_wb_data *data;
    uint64_t base; /* of the arrays, in the file */
    GRand *rand;
    struct layer dirty, sending;
    uint8_t sent[SPAN]; /* which of those being sent were taken, cut off since or not */
    bool is_sending;
    struct piece pieces[PIECES_MAX];
    size_t n_pieces;
    uint8_t next_byte;
};

static int payloads_alive;

static void payload_gone(void *owner)
{
    g_free(owner);
    payloads_alive--;
}

/* LEN bytes, each of them BYTE, whose end is counted. */
static struct ph_blob *payload_new(size_t len, uint8_t byte)
{
    uint8_t *memory = g_malloc(len ? len : 1);
    memset(memory, byte, len);
    payloads_alive++;
    return ph_blob_wrap(memory, len, payload_gone, memory);
}

static void write_bytes(struct ph_wb_data *data, uint64_t offset, size_t len, uint8_t byte)
{
    struct ph_blob *payload = payload_new(len, byte);
    ph_wb_data_write(data, offset, payload);
    ph_blob_unref(payload);
}

static size_t random_below(struct world *w, size_t end)
{
    return (size_t) g_rand_int_range(w->rand, 0, (gint32) end);
}

/* Mostly small, sometimes of a size that is kept without a copy. */
static size_t random_len(struct world *w)
{
    switch (random_below(w, 6)) {
    case 0:
        return random_below(w, 48 * KIB);
    case 1:
        return 32 * KIB;
    case 2:
        return random_below(w, 8 * KIB);
    default:
        return random_below(w, 300);
    }
}

static void random_range(struct world *w, size_t *at, size_t *len)
{
    *at = random_below(w, SPAN + 1);
    *len = random_len(w);
    if (*len > SPAN - *at)
        *len = SPAN - *at;
}

/* Whether byte I is held, and which. */
static bool model_at(const struct world *w, size_t i, uint8_t *byte)
{
    *byte = w->dirty.held[i] ? w->dirty.bytes[i] : w->sending.bytes[i];
    return w->dirty.held[i] || w->sending.held[i];
}

static void check_range(const struct world *w, size_t at, size_t len)
{
    static uint8_t buffer[SPAN];
    bool all = true, any = false;
    memset(buffer, 0xee, len);
    ph_wb_data_read(w->data, w->base + at, buffer, len);
    for (size_t i = 0; i < len; i++) {
        uint8_t byte;
        bool held = model_at(w, at + i, &byte);
        all = all && held;
        any = any || held;
        if (buffer[i] != (held ? byte : 0xee))
            g_error("byte %zu is %02x", at + i, buffer[i]);
    }
    g_assert_cmpint(ph_wb_data_covers(w->data, w->base + at, len), ==, all);
    g_assert_cmpint(ph_wb_data_any(w->data, w->base + at, len), ==, any);
}

static uint64_t held_bytes(const uint8_t *held)
{
    uint64_t count = 0;
    for (size_t i = 0; i < SPAN; i++)
        count += held[i];
    return count;
}

static void check_all(const struct world *w)
{
    check_range(w, 0, SPAN);
    g_assert_cmpuint(ph_wb_data_dirty_bytes(w->data), ==, held_bytes(w->dirty.held));
    g_assert_cmpuint(ph_wb_data_bytes(w->data), ==, held_bytes(w->dirty.held) + held_bytes(w->sent));
}

/* What went to the server must not change behind its back. */
static void check_pieces(struct world *w)
{
    for (size_t i = 0; i < w->n_pieces; i++) {
        struct piece *piece = &w->pieces[i];
        g_assert_cmpmem(piece->blob->data, piece->blob->len, piece->copy, piece->len);
        ph_blob_unref(piece->blob);
        g_free(piece->copy);
    }
    w->n_pieces = 0;
}

static void keep_piece(struct world *w, struct ph_blob *blob)
{
    if (w->n_pieces == PIECES_MAX) {
        ph_blob_unref(blob);
        return;
    }
    w->pieces[w->n_pieces++] =
        (struct piece){.blob = blob, .copy = g_memdup2(blob->data, blob->len), .len = blob->len};
}

/* All pieces: in order, of MAX bytes at most, and exactly what was taken. */
static void do_pieces(struct world *w)
{
    static uint8_t seen[SPAN];
    memset(seen, 0, sizeof(seen));
    size_t max = 1 + random_below(w, random_below(w, 2) ? 2000 : SPAN);
    uint64_t cursor = 0, offset, behind = 0;
    struct ph_blob *blob;
    while (ph_wb_data_next(w->data, &cursor, max, &offset, &blob)) {
        g_assert_true(blob->len > 0 && blob->len <= max && offset >= behind && offset >= w->base);
        size_t at = (size_t) (offset - w->base);
        g_assert_cmpuint(at + blob->len, <=, SPAN);
        g_assert_cmpint(memcmp(blob->data, w->sending.bytes + at, blob->len), ==, 0);
        memset(seen + at, 1, blob->len);
        behind = offset + blob->len;
        keep_piece(w, blob);
    }
    g_assert_cmpint(memcmp(seen, w->sent, SPAN), ==, 0);
}

static void do_write(struct world *w)
{
    size_t at, len;
    random_range(w, &at, &len);
    size_t times = random_below(w, 4) ? 1 : 1 + random_below(w, 40); /* one after the other */
    for (size_t i = 0; i < times && len <= SPAN - at; i++) {
        uint8_t byte = ++w->next_byte;
        write_bytes(w->data, w->base + at, len, byte);
        memset(w->dirty.bytes + at, byte, len);
        memset(w->dirty.held + at, 1, len);
        at += len;
    }
}

static void do_cut(struct world *w)
{
    size_t at = random_below(w, 3) ? SPAN - random_below(w, 4 * KIB) : random_below(w, SPAN + 1);
    ph_wb_data_cut(w->data, w->base + at);
    memset(w->dirty.held + at, 0, SPAN - at);
    memset(w->sending.held + at, 0, SPAN - at);
}

static void do_take(struct world *w)
{
    ph_wb_data_take(w->data);
    w->sending = w->dirty;
    memcpy(w->sent, w->dirty.held, SPAN);
    memset(w->dirty.held, 0, SPAN);
    w->is_sending = true;
}

static void do_end(struct world *w, bool sent)
{
    if (sent)
        ph_wb_data_sent(w->data);
    else
        ph_wb_data_unsent(w->data);
    for (size_t i = 0; i < SPAN && !sent; i++) {
        if (w->sending.held[i] && !w->dirty.held[i])
            w->dirty.bytes[i] = w->sending.bytes[i];
        w->dirty.held[i] |= w->sending.held[i];
    }
    memset(w->sending.held, 0, SPAN);
    memset(w->sent, 0, SPAN);
    w->is_sending = false;
}

static void step(struct world *w)
{
    size_t what = random_below(w, 20), at, len;
    if (what < 13)
        do_write(w);
    else if (what == 13)
        do_cut(w);
    else if (what < 16 && !w->is_sending)
        do_take(w);
    else if (what < 18 && w->is_sending)
        do_pieces(w);
    else if (what >= 18 && w->is_sending)
        do_end(w, random_below(w, 2));
    random_range(w, &at, &len);
    check_range(w, at, len);
}

static void run_seed(struct world *w, uint32_t seed)
{
    static const uint64_t bases[] = {0, 4096, UINT64_C(1) << 32, FAR_END - 1 - SPAN, FAR_END - SPAN};
    memset(w, 0, sizeof(*w));
    w->rand = g_rand_new_with_seed(seed);
    w->base = bases[random_below(w, G_N_ELEMENTS(bases))];
    w->data = ph_wb_data_new();
    for (size_t i = 0; i < STEPS; i++) {
        step(w);
        if (i % 15 == 14)
            check_all(w);
    }
    check_pieces(w);
    keep_piece(w, payload_new(1, 1));
    ph_wb_data_free(w->data);
    check_pieces(w);
    g_rand_free(w->rand);
    if (payloads_alive != 0)
        g_error("seed %u: %d payloads are held still", seed, payloads_alive);
}

static void test_model(void)
{
    struct world *w = g_new(struct world, 1);
    const char *only = g_getenv("PH_SEED"); /* one to look at again */
    for (uint32_t seed = 0; seed < SEEDS && !only; seed++) {
        if (seed % 50 == 0)
            g_test_message("seeds from %u on", seed);
        run_seed(w, seed);
    }
    if (only)
        run_seed(w, (uint32_t) g_ascii_strtoull(only, NULL, 10));
    g_free(w);
}

static struct ph_blob *only_piece(struct ph_wb_data *data, size_t max, uint64_t at)
{
    uint64_t cursor = 0, offset = 0;
    struct ph_blob *blob = NULL, *more = NULL;
    g_assert_true(ph_wb_data_next(data, &cursor, max, &offset, &blob));
    g_assert_cmpuint(offset, ==, at);
    g_assert_false(ph_wb_data_next(data, &cursor, max, &offset, &more));
    return blob;
}

static void test_appends(void)
{
    struct ph_wb_data *data = ph_wb_data_new();
    for (size_t i = 0; i < 10000; i++)
        write_bytes(data, i * 100, 100, (uint8_t) i);
    g_assert_cmpuint(ph_wb_data_dirty_bytes(data), ==, 1000000);
    g_assert_cmpint(payloads_alive, ==, 0); /* copied */
    ph_wb_data_take(data);
    struct ph_blob *one = only_piece(data, 1024 * KIB, 0), *two = only_piece(data, 1024 * KIB, 0);
    g_assert_cmpuint(one->len, ==, 1000000);
    g_assert_true(one->data == two->data); /* one extent: nothing had to be joined */
    for (size_t i = 0; i < one->len; i++)
        g_assert_cmpuint(one->data[i], ==, (uint8_t) (i / 100));
    ph_blob_unref(one);
    ph_blob_unref(two);
    ph_wb_data_free(data);
}

static void test_sent_bytes_stay(void)
{
    struct ph_wb_data *data = ph_wb_data_new();
    write_bytes(data, 0, 100, 1);
    write_bytes(data, 100, 50, 1);
    ph_wb_data_take(data);
    struct ph_blob *piece = only_piece(data, KIB, 0);
    write_bytes(data, 50, 10, 2);  /* inside */
    write_bytes(data, 150, 10, 2); /* behind */
    g_assert_cmpuint(ph_wb_data_dirty_bytes(data), ==, 20);
    g_assert_cmpuint(ph_wb_data_bytes(data), ==, 170);
    ph_wb_data_unsent(data);
    g_assert_cmpuint(ph_wb_data_bytes(data), ==, 160);
    write_bytes(data, 0, 160, 3);
    g_assert_cmpuint(piece->len, ==, 150);
    for (size_t i = 0; i < piece->len; i++)
        g_assert_cmpuint(piece->data[i], ==, 1);
    ph_wb_data_free(data);
    g_assert_cmpuint(piece->data[149], ==, 1);
    ph_blob_unref(piece);
}

static void test_kept_without_copy(void)
{
    struct ph_wb_data *data = ph_wb_data_new();
    struct ph_blob *payload = payload_new(64 * KIB, 7);
    ph_wb_data_write(data, 5, payload);
    ph_wb_data_take(data);
    struct ph_blob *piece = only_piece(data, 64 * KIB, 5);
    g_assert_true(piece == payload);
    ph_blob_unref(piece);

    uint64_t cursor = 0, offset = 0; /* in parts: still not copied */
    for (size_t i = 0; i < 64; i++) {
        g_assert_true(ph_wb_data_next(data, &cursor, KIB, &offset, &piece));
        g_assert_cmpuint(offset, ==, 5 + i * KIB);
        g_assert_true(piece->data == payload->data + i * KIB && piece->len == KIB);
        ph_blob_unref(piece);
    }
    g_assert_false(ph_wb_data_next(data, &cursor, KIB, &offset, &piece));
    ph_blob_unref(payload);
    g_assert_cmpint(payloads_alive, ==, 1);
    ph_wb_data_sent(data);
    g_assert_cmpint(payloads_alive, ==, 0);
    ph_wb_data_free(data);
}

static void test_the_rest_of_a_write(void)
{
    struct ph_wb_data *data = ph_wb_data_new();
    struct ph_blob *payload = payload_new(64 * KIB, 7);
    payload->len = 60 * KIB; /* there is room behind */
    ph_wb_data_write(data, 0, payload);
    write_bytes(data, 60 * KIB, 100, 8);
    ph_wb_data_take(data);
    struct ph_blob *piece = only_piece(data, MIB, 0);
    g_assert_true(piece == payload);
    g_assert_cmpuint(piece->len, ==, 60 * KIB + 100);
    g_assert_cmpuint(piece->data[60 * KIB - 1], ==, 7);
    g_assert_cmpuint(piece->data[60 * KIB], ==, 8);
    write_bytes(data, 60 * KIB + 100, 100, 9); /* it is on its way: nothing is put into it any more */
    g_assert_cmpuint(piece->len, ==, 60 * KIB + 100);
    ph_blob_unref(piece);
    ph_blob_unref(payload);
    ph_wb_data_free(data);
    g_assert_cmpint(payloads_alive, ==, 0);
}

/* Pieces that arrived are not read here any more, and do not come back. */
static void test_arrived(void)
{
    struct ph_wb_data *data = ph_wb_data_new();
    write_bytes(data, 0, 64 * KIB, 1);
    write_bytes(data, 64 * KIB, 64 * KIB, 2);
    ph_wb_data_take(data);
    write_bytes(data, 10, 10, 3);
    ph_wb_data_arrived(data, 0, 64 * KIB);
    g_assert_cmpuint(ph_wb_data_bytes(data), ==, 64 * KIB + 10);
    g_assert_false(ph_wb_data_covers(data, 0, 10));
    g_assert_true(ph_wb_data_covers(data, 10, 10));
    g_assert_true(ph_wb_data_covers(data, 64 * KIB, 64 * KIB));
    ph_wb_data_unsent(data);
    g_assert_cmpuint(ph_wb_data_dirty_bytes(data), ==, 64 * KIB + 10);
    ph_wb_data_free(data);
    g_assert_cmpint(payloads_alive, ==, 0);
}

/* A stream of writes becomes pieces of full size, without being copied again. */
static void test_a_stream_fills_buffers(void)
{
    struct ph_wb_data *data = ph_wb_data_new();
    uint64_t cursor = 0, offset = 0;
    struct ph_blob *piece;
    for (uint64_t at = 0; at < 3 * MIB; at += 24 * KIB)
        write_bytes(data, at, 24 * KIB, 1);
    g_assert_cmpint(payloads_alive, ==, 0);
    ph_wb_data_take(data);
    for (unsigned pieces = 0; ph_wb_data_next(data, &cursor, MIB, &offset, &piece); pieces++) {
        g_assert_cmpuint(pieces, <, 4);
        g_assert_true(cursor >= 3 * MIB || piece->len > MIB - 24 * KIB);
        ph_blob_unref(piece);
    }
    ph_wb_data_free(data);
}

static void test_little_holds_little(void)
{
    struct ph_wb_data *data = ph_wb_data_new();
    write_bytes(data, 0, 64 * KIB, 1);
    g_assert_cmpint(payloads_alive, ==, 1);
    ph_wb_data_cut(data, 40 * KIB);
    g_assert_cmpint(payloads_alive, ==, 1); /* most of it is needed */
    ph_wb_data_cut(data, 1000);
    g_assert_cmpint(payloads_alive, ==, 0);
    write_bytes(data, 1000, 64 * KIB, 1);
    for (size_t at = 0; at < 60 * KIB; at += KIB)
        write_bytes(data, 1000 + at, KIB, 2);
    g_assert_cmpint(payloads_alive, ==, 0);
    g_assert_cmpuint(ph_wb_data_bytes(data), ==, 1000 + 64 * KIB);
    ph_wb_data_free(data);

    data = ph_wb_data_new(); /* large, but little of what its buffer takes */
    struct ph_blob *roomy = ph_blob_new(512 * KIB);
    memset(roomy->data, 9, 40 * KIB);
    roomy->len = 40 * KIB;
    ph_wb_data_write(data, 0, roomy);
    roomy->data[0] = 1;
    uint8_t byte = 0;
    ph_wb_data_read(data, 0, &byte, 1);
    g_assert_cmpuint(byte, ==, 9);
    ph_blob_unref(roomy);
    ph_wb_data_free(data);
}

static void test_joined(void)
{
    struct ph_wb_data *data = ph_wb_data_new();
    for (int i = 9; i >= 0; i--) /* backwards: ten extents */
        write_bytes(data, (uint64_t) i * 100, 100, (uint8_t) i);
    write_bytes(data, 1001, 1, 77);
    ph_wb_data_take(data);
    static const struct {
        uint64_t offset;
        size_t len;
    } expected[] = {{0, 300}, {300, 300}, {600, 300}, {900, 100}, {1001, 1}};
    uint64_t cursor = 0, offset = 0;
    struct ph_blob *piece;
    for (size_t i = 0; i < G_N_ELEMENTS(expected); i++) {
        g_assert_true(ph_wb_data_next(data, &cursor, 399, &offset, &piece));
        g_assert_cmpuint(offset, ==, expected[i].offset);
        g_assert_cmpuint(piece->len, ==, expected[i].len);
        for (size_t k = 0; k < piece->len && offset < 1000; k++)
            g_assert_cmpuint(piece->data[k], ==, (offset + k) / 100);
        ph_blob_unref(piece);
    }
    g_assert_false(ph_wb_data_next(data, &cursor, 399, &offset, &piece));
    ph_wb_data_free(data);
}

static void test_cut_while_sending(void)
{
    struct ph_wb_data *data = ph_wb_data_new();
    write_bytes(data, 0, 100, 1);
    ph_wb_data_take(data);
    ph_wb_data_cut(data, 40);
    g_assert_true(ph_wb_data_covers(data, 0, 40));
    g_assert_false(ph_wb_data_any(data, 40, 100));
    ph_wb_data_cut(data, 90); /* the smallest counts */
    g_assert_false(ph_wb_data_any(data, 40, 100));
    struct ph_blob *piece = only_piece(data, KIB, 0);
    g_assert_cmpuint(piece->len, ==, 100); /* goes on being sent */
    ph_blob_unref(piece);
    write_bytes(data, 60, 10, 2);
    ph_wb_data_unsent(data);
    g_assert_cmpuint(ph_wb_data_dirty_bytes(data), ==, 50);
    g_assert_true(ph_wb_data_covers(data, 0, 40));
    g_assert_false(ph_wb_data_any(data, 40, 20));
    g_assert_true(ph_wb_data_covers(data, 60, 10));
    g_assert_false(ph_wb_data_any(data, 70, UINT64_MAX));
    ph_wb_data_take(data);
    ph_wb_data_cut(data, 0);
    ph_wb_data_sent(data);
    g_assert_cmpuint(ph_wb_data_bytes(data), ==, 0);
    write_bytes(data, 0, 10, 3);
    ph_wb_data_take(data); /* what was cut off then counts for the one before */
    g_assert_true(ph_wb_data_covers(data, 0, 10));
    ph_wb_data_free(data);
}

static void test_edges(void)
{
    struct ph_wb_data *data = ph_wb_data_new();
    write_bytes(data, FAR_END - 1, 1, 1);
    write_bytes(data, FAR_END - 40 * KIB, 40 * KIB, 2);
    write_bytes(data, FAR_END - 2, 2, 3);
    write_bytes(data, FAR_END, 0, 4);
    g_assert_cmpuint(ph_wb_data_bytes(data), ==, 40 * KIB);
    g_assert_true(ph_wb_data_covers(data, FAR_END - 40 * KIB, 40 * KIB));
    g_assert_false(ph_wb_data_covers(data, FAR_END - 1, 2));
    g_assert_false(ph_wb_data_covers(data, FAR_END - 1, UINT64_MAX));
    g_assert_true(ph_wb_data_any(data, 0, UINT64_MAX));
    g_assert_false(ph_wb_data_any(data, FAR_END, UINT64_MAX));
    g_assert_true(ph_wb_data_covers(data, UINT64_MAX, 0));
    g_assert_false(ph_wb_data_any(data, FAR_END - 1, 0));
    uint8_t buffer[4] = {9, 9, 9, 9};
    ph_wb_data_read(data, FAR_END - 3, buffer, 4);
    g_assert_cmpmem(buffer, 4, ((uint8_t[]){2, 3, 3, 9}), 4);
    ph_wb_data_cut(data, UINT64_MAX);
    ph_wb_data_cut(data, FAR_END - 1);
    g_assert_cmpuint(ph_wb_data_bytes(data), ==, 40 * KIB - 1);
    ph_wb_data_free(data);
    ph_wb_data_free(NULL);
}

/* Quadratic work would not end here in time. */
static void test_many_extents(void)
{
    enum { EXTENTS = 200000, STRIDE = 64 };
    struct ph_wb_data *data = ph_wb_data_new();
    GRand *rand = g_rand_new_with_seed(1);
    uint32_t at = 0;
    for (size_t i = 0; i < EXTENTS; i++) {
        at = (at + 77777) % EXTENTS; /* each once, in no order: 77777 and 200000 have no factor in common */
        write_bytes(data, (uint64_t) at * STRIDE, 16, (uint8_t) at);
    }
    g_assert_cmpuint(ph_wb_data_bytes(data), ==, EXTENTS * 16);
    ph_wb_data_take(data);
    for (size_t i = 0; i < EXTENTS / 4; i++)
        write_bytes(data, (uint64_t) g_rand_int_range(rand, 0, EXTENTS) * STRIDE, 8, 255);
    ph_wb_data_unsent(data);
    g_assert_cmpuint(ph_wb_data_bytes(data), ==, EXTENTS * 16);
    ph_wb_data_take(data);
    uint64_t cursor = 0, offset = 0, count = 0;
    struct ph_blob *piece;
    while (ph_wb_data_next(data, &cursor, 1024 * KIB, &offset, &piece)) {
        g_assert_cmpuint(offset, ==, count++ * STRIDE);
        g_assert_cmpuint(piece->len, ==, 16);
        g_assert_cmpuint(piece->data[15], ==, (uint8_t) (offset / STRIDE));
        ph_blob_unref(piece);
    }
    g_assert_cmpuint(count, ==, EXTENTS);
    g_rand_free(rand);
    ph_wb_data_free(data);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/client/wb_data/model", test_model);
    g_test_add_func("/client/wb_data/appends", test_appends);
    g_test_add_func("/client/wb_data/sent_bytes_stay", test_sent_bytes_stay);
    g_test_add_func("/client/wb_data/kept_without_copy", test_kept_without_copy);
    g_test_add_func("/client/wb_data/the_rest_of_a_write_goes_behind_it", test_the_rest_of_a_write);
    g_test_add_func("/client/wb_data/what_arrived_makes_room", test_arrived);
    g_test_add_func("/client/wb_data/a_stream_fills_buffers", test_a_stream_fills_buffers);
    g_test_add_func("/client/wb_data/little_holds_little", test_little_holds_little);
    g_test_add_func("/client/wb_data/joined", test_joined);
    g_test_add_func("/client/wb_data/cut_while_sending", test_cut_while_sending);
    g_test_add_func("/client/wb_data/edges", test_edges);
    g_test_add_func("/client/wb_data/many_extents", test_many_extents);
    return g_test_run();
}
