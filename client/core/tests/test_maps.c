/* The bounded maps: versions at the last open, and the paths of objects. */
#include <glib.h>
#include <string.h>

#include "client/core/hints.h"
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
    ph_hints_forget(hints, 30, 20, "file", 4); /* late: a newer place stays */
    g_assert_cmpuint(ph_hints_path(hints, 1, 30, steps, 4), ==, 1);
    ph_hints_forget(hints, 30, 1, "moved", 5);
    g_assert_cmpuint(ph_hints_path(hints, 1, 30, steps, 4), ==, 0);
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

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/client/versions/the same only when known and unchanged", test_versions);
    g_test_add_func("/client/versions/bounded, least recently used first", test_versions_bounded);
    g_test_add_func("/client/hints/lead from the root to the object", test_path);
    g_test_add_func("/client/hints/circles end", test_circle);
    g_test_add_func("/client/hints/bounded, least recently used first", test_hints_bounded);
    return g_test_run();
}
