/* The names of a directory, against a plain array of them. */
#include <glib.h>
#include <string.h>

#include "client/core/wb_names.h"

enum { NAMES = 300, SEEDS = 60, STEPS = 1500 };

/* What is known of name I. */
struct row {
    bool there;
    uint64_t object, seq;
    void *op;
};

struct world {
    struct ph_wb_names *names;
    struct row rows[NAMES];
    uint64_t last_seq;
    bool whole;
    GRand *rand;
};

/* Name I, of any length up to the longest. */
static size_t name_of(size_t i, char name[255])
{
    size_t len = 3 + i * 37 % 253;
    memset(name, 'a' + (char) (i % 26), len);
    char number[8];
    g_snprintf(number, sizeof(number), "%03zu", i);
    memcpy(name, number, 3);
    return len;
}

static uint32_t random_below(struct world *w, uint32_t end)
{
    return (uint32_t) g_rand_int_range(w->rand, 0, (gint32) end);
}

static void check_entry(const struct ph_wb_name *entry, const struct row *row, size_t i)
{
    char name[255];
    size_t len = name_of(i, name);
    g_assert_nonnull(entry);
    g_assert_cmpmem(entry->name, entry->len, name, len);
    g_assert_cmpuint(entry->object, ==, row->object);
    g_assert_cmpuint(entry->seq, ==, row->seq);
    g_assert_true(entry->op == row->op);
}

static void check_name(const struct world *w, size_t i)
{
    char name[255];
    size_t len = name_of(i, name);
    const struct row *row = &w->rows[i];
    const struct ph_wb_name *entry = ph_wb_names_find(w->names, name, len);
    if (row->there)
        check_entry(entry, row, i);
    else
        g_assert_null(entry);
    enum ph_wb_name_is expected = w->whole ? PH_WB_NAME_ABSENT : PH_WB_NAME_UNKNOWN;
    if (row->there && row->object == PH_WB_UNKNOWN)
        expected = PH_WB_NAME_UNKNOWN;
    else if (row->there)
        expected = row->object ? PH_WB_NAME_PRESENT : PH_WB_NAME_ABSENT;
    uint64_t object = 99;
    g_assert_cmpint(ph_wb_names_lookup(w->names, name, len, &object), ==, expected);
    g_assert_cmpuint(object, ==, expected == PH_WB_NAME_PRESENT ? row->object : 0);
}

/* The row with the smallest seq above SEQ, or NULL. */
static const struct row *row_after(const struct world *w, uint64_t seq)
{
    const struct row *best = NULL;
    for (size_t i = 0; i < NAMES; i++) {
        const struct row *row = &w->rows[i];
        if (row->there && row->seq > seq && (!best || row->seq < best->seq))
            best = row;
    }
    return best;
}

static void check_all(const struct world *w)
{
    size_t present = 0, unknown = 0, count = 0;
    for (size_t i = 0; i < NAMES; i++) {
        check_name(w, i);
        const struct row *row = &w->rows[i];
        count += row->there;
        unknown += row->there && row->object == PH_WB_UNKNOWN;
        present += row->there && row->object != PH_WB_UNKNOWN && row->object != 0;
    }
    g_assert_cmpuint(ph_wb_names_count(w->names), ==, count);
    g_assert_cmpuint(ph_wb_names_present(w->names), ==, present);
    g_assert_cmpuint(ph_wb_names_unknown(w->names), ==, unknown);
    g_assert_cmpint(ph_wb_names_is_whole(w->names), ==, w->whole);
    const struct ph_wb_name *entry = NULL;
    uint64_t seq = 0;
    for (const struct row *row = row_after(w, 0); row; row = row_after(w, seq)) {
        entry = ph_wb_names_next(w->names, entry);
        check_entry(entry, row, (size_t) (row - w->rows));
        seq = row->seq;
    }
    g_assert_null(ph_wb_names_next(w->names, entry));
}

static void do_put(struct world *w, size_t i)
{
    char name[255];
    size_t len = name_of(i, name);
    struct row *row = &w->rows[i];
    uint32_t kind = random_below(w, 4);
    uint64_t object = kind == 0 ? 0 : kind == 1 ? PH_WB_UNKNOWN : 1 + random_below(w, 1000000);
    struct ph_wb_name *entry = ph_wb_names_put(w->names, name, len, object);
    if (!row->there)
        *row = (struct row){.there = true, .seq = ++w->last_seq};
    row->object = object;
    check_entry(entry, row, i);
    if (random_below(w, 4) == 0)
        entry->op = row->op = random_below(w, 2) ? row : NULL;
}

static void do_remove(struct world *w, size_t i)
{
    char name[255];
    size_t len = name_of(i, name);
    if (w->rows[i].there)
        ph_wb_names_remove(w->names, ph_wb_names_find(w->names, name, len));
    w->rows[i] = (struct row){0};
}

static void do_clear(struct world *w)
{
    ph_wb_names_clear(w->names);
    for (size_t i = 0; i < NAMES; i++) {
        if (!w->rows[i].op)
            w->rows[i] = (struct row){0};
    }
    w->whole = false;
}

static void step(struct world *w, uint32_t removals)
{
    size_t i = random_below(w, NAMES);
    uint32_t what = random_below(w, 100);
    if (what == 0 && random_below(w, 5) == 0) {
        do_clear(w);
    } else if (what == 1) {
        w->whole = random_below(w, 2);
        ph_wb_names_set_whole(w->names, w->whole);
    } else if (what < 2 + removals) {
        do_remove(w, i);
    } else {
        do_put(w, i);
    }
    check_name(w, random_below(w, NAMES));
}

static void run_seed(uint32_t seed)
{
    struct world *w = g_new0(struct world, 1);
    w->rand = g_rand_new_with_seed(seed);
    w->names = ph_wb_names_new();
    for (uint32_t i = 0; i < STEPS; i++) {
        step(w, (i / 250) % 2 ? 85 : 20); /* it grows, then shrinks, and again */
        if (i % 100 == 99)
            check_all(w);
    }
    ph_wb_names_free(w->names);
    g_rand_free(w->rand);
    g_free(w);
}

static void test_model(void)
{
    for (uint32_t seed = 0; seed < SEEDS; seed++) {
        if (seed % 50 == 0)
            g_test_message("seeds from %u on", seed);
        run_seed(seed);
    }
}

static void test_put_keeps(void)
{
    struct ph_wb_names *names = ph_wb_names_new();
    struct ph_wb_name *first = ph_wb_names_put(names, "a", 1, 0);
    struct ph_wb_name *second = ph_wb_names_put(names, "b", 1, 5);
    g_assert_null(first->op);
    first->op = names;
    g_assert_true(ph_wb_names_put(names, "a", 1, 7) == first);
    g_assert_true(first->op == names);
    g_assert_cmpuint(first->seq, <, second->seq);
    uint64_t gone = second->seq;
    ph_wb_names_remove(names, second);
    g_assert_cmpuint(ph_wb_names_put(names, "b", 1, 5)->seq, >, gone); /* never the same one again */
    ph_wb_names_free(names);
    ph_wb_names_free(NULL);
}

static void test_clear(void)
{
    struct ph_wb_names *names = ph_wb_names_new();
    uint64_t object;
    ph_wb_names_set_whole(names, true);
    ph_wb_names_put(names, "told", 4, 3);
    ph_wb_names_put(names, "gone", 4, 0)->op = names;
    ph_wb_names_put(names, "made", 4, 8)->op = names;
    g_assert_cmpint(ph_wb_names_lookup(names, "else", 4, &object), ==, PH_WB_NAME_ABSENT);
    ph_wb_names_clear(names);
    g_assert_false(ph_wb_names_is_whole(names));
    g_assert_cmpint(ph_wb_names_lookup(names, "told", 4, &object), ==, PH_WB_NAME_UNKNOWN);
    g_assert_cmpint(ph_wb_names_lookup(names, "gone", 4, &object), ==, PH_WB_NAME_ABSENT);
    g_assert_cmpint(ph_wb_names_lookup(names, "made", 4, &object), ==, PH_WB_NAME_PRESENT);
    g_assert_cmpuint(object, ==, 8);
    g_assert_cmpuint(ph_wb_names_count(names), ==, 2);
    ph_wb_names_free(names);
}

/* Names of any bytes, of which one is the beginning of the other. */
static void test_bytes(void)
{
    struct ph_wb_names *names = ph_wb_names_new();
    char longest[256];
    memset(longest, 0xff, sizeof(longest));
    for (size_t len = 1; len <= 255; len++)
        ph_wb_names_put(names, longest, len, len);
    ph_wb_names_put(names, "a\0b", 3, 1000);
    ph_wb_names_put(names, "a\0c", 3, 1001);
    for (size_t len = 1; len <= 255; len++)
        g_assert_cmpuint(ph_wb_names_find(names, longest, len)->object, ==, len);
    g_assert_cmpuint(ph_wb_names_find(names, "a\0c", 3)->object, ==, 1001);
    g_assert_null(ph_wb_names_find(names, "a", 1));
    g_assert_null(ph_wb_names_find(names, longest, 256)); /* no such name can be */
    ph_wb_names_free(names);
}

/* Quadratic work would not end here in time. */
static void test_many(void)
{
    enum { MANY = 300000 };
    struct ph_wb_names *names = ph_wb_names_new();
    for (uint32_t i = 0; i < MANY; i++)
        ph_wb_names_put(names, &i, sizeof(i), i + 1);
    g_assert_cmpuint(ph_wb_names_present(names), ==, MANY);
    const uint32_t last = MANY - 1;
    for (uint32_t i = 1; i < last; i++) { /* from the second on, looking past what is gone each time */
        ph_wb_names_remove(names, ph_wb_names_next(names, ph_wb_names_next(names, NULL)));
    }
    g_assert_cmpuint(ph_wb_names_count(names), ==, 2);
    g_assert_nonnull(ph_wb_names_find(names, &last, sizeof(last)));
    for (uint32_t i = 0; i < MANY; i++) { /* a queue */
        ph_wb_names_put(names, &i, sizeof(i), i + 1);
        if (i % 2)
            ph_wb_names_remove(names, ph_wb_names_next(names, NULL));
    }
    while (ph_wb_names_count(names) > 0)
        ph_wb_names_remove(names, ph_wb_names_next(names, NULL));
    g_assert_null(ph_wb_names_next(names, NULL));
    ph_wb_names_put(names, "a", 1, 1);
    g_assert_cmpuint(ph_wb_names_next(names, NULL)->object, ==, 1);
    ph_wb_names_free(names);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/client/wb_names/model", test_model);
    g_test_add_func("/client/wb_names/put_keeps", test_put_keeps);
    g_test_add_func("/client/wb_names/clear", test_clear);
    g_test_add_func("/client/wb_names/bytes", test_bytes);
    g_test_add_func("/client/wb_names/many", test_many);
    return g_test_run();
}
