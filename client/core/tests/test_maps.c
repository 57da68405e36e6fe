/* The bounded maps: versions at the last open, and the paths of objects. */
#include <glib.h>
#include <string.h>

#include "client/core/hints.h"
#include "client/core/lru.h"
#include "client/core/versions.h"

static void test_versions(void)
{
    struct ph_versions *versions = ph_versions_new(3);
    g_assert_false(ph_versions_same(versions, 10, 1));
    g_assert_true(ph_versions_same(versions, 10, 1));
    g_assert_false(ph_versions_same(versions, 10, 2));
    g_assert_true(ph_versions_same(versions, 10, 2));
    g_assert_false(ph_versions_same(versions, 11, 0));
    g_assert_false(ph_versions_same(versions, 11, 0)); /* unknown is never the same */
    ph_versions_forget(versions, 10);
    ph_versions_forget(versions, 99);
    g_assert_false(ph_versions_same(versions, 10, 2));
    ph_versions_free(versions);
}

static void test_versions_bounded(void)
{
    struct ph_versions *versions = ph_versions_new(100);
    for (uint64_t object = 1; object <= 1000; object++) {
        ph_versions_same(versions, object, 5);
        ph_versions_same(versions, 1, 5); /* kept alive by use */
    }
    g_assert_cmpuint(ph_versions_count(versions), ==, 100);
    g_assert_true(ph_versions_same(versions, 1, 5));
    g_assert_true(ph_versions_same(versions, 1000, 5));
    g_assert_true(ph_versions_same(versions, 950, 5));
    g_assert_false(ph_versions_same(versions, 500, 5));
    ph_versions_free(versions);
}

static void test_path(void)
{
    struct ph_hints *hints = ph_hints_new(10);
    struct ph_hint_step steps[4];
    ph_hints_learn(hints, 30, 20, "file", 4);
    ph_hints_learn(hints, 20, 1, "dir", 3);
    g_assert_cmpuint(ph_hints_path(hints, 1, 30, steps, 4), ==, 2);
    g_assert_cmpuint(steps[0].object, ==, 20);
    g_assert_cmpmem(steps[0].name, steps[0].len, "dir", 3);
    g_assert_cmpmem(steps[1].name, steps[1].len, "file", 4);
    g_assert_cmpuint(ph_hints_path(hints, 1, 30, steps, 1), ==, 0);
    g_assert_cmpuint(ph_hints_path(hints, 1, 31, steps, 4), ==, 0);
    g_assert_cmpuint(ph_hints_path(hints, 1, 1, steps, 4), ==, 0);

    ph_hints_learn(hints, 30, 1, "moved", 5);
    g_assert_cmpuint(ph_hints_path(hints, 1, 30, steps, 4), ==, 1);
    ph_hints_free(hints);
}

static void test_circle(void)
{
    struct ph_hints *hints = ph_hints_new(10);
    struct ph_hint_step steps[16];
    ph_hints_learn(hints, 2, 3, "a", 1);
    ph_hints_learn(hints, 3, 2, "b", 1);
    g_assert_cmpuint(ph_hints_path(hints, 1, 2, steps, 16), ==, 0);
    ph_hints_free(hints);
}

static void test_hints_bounded(void)
{
    struct ph_hints *hints = ph_hints_new(50);
    struct ph_hint_step steps[4];
    ph_hints_learn(hints, 2, 1, "d", 1);
    for (uint64_t object = 100; object < 1100; object++) {
        ph_hints_learn(hints, object, 2, "f", 1);
        g_assert_cmpuint(ph_hints_path(hints, 1, object, steps, 4), ==, 2); /* keeps the directory */
    }
    g_assert_cmpuint(ph_hints_count(hints), ==, 50);
    ph_hints_free(hints);
}

static void test_place(void)
{
    struct ph_hints *hints = ph_hints_new(2);
    struct ph_hint_step step;
    uint64_t parent = 0;
    ph_hints_learn(hints, 2, 1, "old", 3);
    ph_hints_learn(hints, 3, 2, "new", 3);
    g_assert_true(ph_hints_place(hints, 2, &parent, &step));
    g_assert_cmpuint(parent, ==, 1);
    g_assert_cmpmem(step.name, step.len, "old", 3);
    g_assert_false(ph_hints_place(hints, 9, &parent, &step));
    ph_hints_learn(hints, 4, 1, "x", 1); /* the one that was only looked at goes */
    g_assert_false(ph_hints_place(hints, 2, &parent, &step));
    ph_hints_free(hints);
}

static void test_touch(void)
{
    struct ph_hints *hints = ph_hints_new(3);
    struct ph_hint_step steps[4];
    ph_hints_learn(hints, 2, 1, "a", 1);
    ph_hints_learn(hints, 3, 2, "b", 1);
    for (uint64_t object = 100; object < 200; object++) {
        ph_hints_touch(hints, 1, 3);
        ph_hints_learn(hints, object, 3, "f", 1);
        g_assert_cmpuint(ph_hints_path(hints, 1, object, steps, 4), ==, 3);
    }
    ph_hints_learn(hints, 2, 3, "c", 1); /* a circle */
    ph_hints_touch(hints, 1, 3);
    ph_hints_touch(hints, 1, 99);
    ph_hints_free(hints);
}

enum { SCANNED = 20000, SCAN_STRIDE = 1 << 20 /* keys that share buckets */ };

static void add_key(struct ph_lru *lru, uint64_t key)
{
    ph_lru_add(lru, g_new0(struct ph_lru_entry, 1), key);
}

static void free_lru_entry(struct ph_lru_entry *entry)
{
    g_free(entry);
}

/* Looks at STEP entries of LRU, counting them by key; false at the end. */
static bool scan_some(struct ph_lru *lru, struct ph_lru_cursor *cursor, unsigned step, GHashTable *seen)
{
    for (unsigned i = 0; i < step; i++) {
        size_t looks = 3;
        struct ph_lru_entry *entry = ph_lru_scan(lru, cursor, &looks);
        if (entry)
            g_hash_table_add(seen, GUINT_TO_POINTER(entry->key));
        else
            g_assert_true(cursor->end || looks == 0);
    }
    return !cursor->end;
}

static void test_scan(void)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
    struct ph_lru_cursor cursor = {0};
    struct ph_lru lru;
    uint64_t more = SCANNED;
    ph_lru_init(&lru);
    for (uint64_t key = 1; key <= 100; key++) {
        add_key(&lru, key);
        add_key(&lru, key * SCAN_STRIDE);
    }
    /* The table grows many times meanwhile, and loses some again. */
    while (scan_some(&lru, &cursor, 2, seen) && more < 2 * SCANNED) {
        for (unsigned i = 0; i < 100; i++)
            add_key(&lru, ++more);
        struct ph_lru_entry *gone = ph_lru_find(&lru, more - 50);
        ph_lru_remove(&lru, gone);
        g_free(gone);
    }
    while (scan_some(&lru, &cursor, 1000, seen))
        continue;
    for (uint64_t key = 1; key <= 100; key++) {
        g_assert_true(g_hash_table_contains(seen, GUINT_TO_POINTER(key)));
        g_assert_true(g_hash_table_contains(seen, GUINT_TO_POINTER(key * SCAN_STRIDE)));
    }
    ph_lru_clear(&lru, free_lru_entry);
}

static void test_scan_once(void)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
    struct ph_lru_cursor cursor = {0};
    struct ph_lru lru;
    size_t looks = SIZE_MAX, found = 0;
    ph_lru_init(&lru);
    g_assert_null(ph_lru_scan(&lru, &cursor, &looks)); /* an empty one has an end */
    g_assert_true(cursor.end);
    for (uint64_t key = 1; key <= SCANNED; key++)
        add_key(&lru, key * SCAN_STRIDE);
    cursor = (struct ph_lru_cursor){0};
    for (struct ph_lru_entry *entry; (entry = ph_lru_scan(&lru, &cursor, &looks)) != NULL; found++)
        g_hash_table_add(seen, (gpointer) (uintptr_t) entry->key);
    g_assert_cmpuint(found, ==, SCANNED);
    g_assert_cmpuint(g_hash_table_size(seen), ==, SCANNED);
    ph_lru_clear(&lru, free_lru_entry);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/client/versions/the same only when known and unchanged", test_versions);
    g_test_add_func("/client/versions/bounded, least recently used first", test_versions_bounded);
    g_test_add_func("/client/hints/lead from the root to the object", test_path);
    g_test_add_func("/client/hints/circles end", test_circle);
    g_test_add_func("/client/hints/bounded, least recently used first", test_hints_bounded);
    g_test_add_func("/client/hints/looking at a place does not keep it", test_place);
    g_test_add_func("/client/hints/the way to what is used is kept", test_touch);
    g_test_add_func("/client/lru/a scan finds all that stays, however the table grows", test_scan);
    g_test_add_func("/client/lru/a scan of a table at rest finds each once", test_scan_once);
    return g_test_run();
}
