/* pohmel-server --check: what it finds, and what it puts right. */
#include <sqlite3.h>
#include <stdio.h>

#include "server/store/posix_check.h"
#include "server/store/tests/fixture.h"

static void note(void *data, const char *line)
{
    g_string_append_printf(data, "%s\n", line);
}

/* Looks; the number of things that are wrong. What was said is in SAID. */
static unsigned look(const struct fixture *fx, bool repair, GString *said)
{
    g_autoptr(GError) error = NULL;
    struct ph_posix_check check = {
        .directory = fx->directory, .state_dir = fx->state, .repair = repair, .say = note, .data = said};
    g_string_truncate(said, 0);
    g_assert_true(ph_posix_check(&check, &error));
    g_assert_no_error(error);
    g_test_message("%s", said->str);
    return check.wrong - check.repaired;
}

static void expect(const GString *said, const char *words)
{
    if (strstr(said->str, words) == NULL)
        g_error("\"%s\" is not in: %s", words, said->str);
}

static void change(const struct fixture *fx, const char *text)
{
    sqlite3 *database;
    g_autofree char *path = g_build_filename(fx->state, "pohmel.db", NULL);
    g_assert_cmpint(sqlite3_open(path, &database), ==, SQLITE_OK);
    g_assert_cmpint(sqlite3_exec(database, text, NULL, NULL, NULL), ==, SQLITE_OK);
    sqlite3_close(database);
}

static void fill(struct fixture *fx)
{
    fx_setup(fx);
    fx_ok(fx, fx_mkdir(fx, PH_OBJECT_ROOT, "dir", 0755));
    uint64_t dir = fx->attr->object;
    fx_ok(fx, fx_create_exclusive(fx, dir, "one", 0644));
    fx_ok(fx, fx_create_exclusive(fx, dir, "two", 0644));
    fx_ok(fx, fx_create_exclusive(fx, dir, "three", 0644));
}

static void test_well(void)
{
    struct fixture fx;
    g_autoptr(GString) said = g_string_new(NULL);
    fill(&fx);
    fx_close(&fx);
    g_assert_cmpuint(look(&fx, false, said), ==, 0);
    expect(said, "4 objects are known by id; other programs moved 0 and removed 0");
    expect(said, "all is well");
    fx_teardown(&fx);
}

static void test_used(void)
{
    struct fixture fx;
    g_autoptr(GError) error = NULL;
    g_autoptr(GString) said = g_string_new(NULL);
    fill(&fx);
    struct ph_posix_check check = {
        .directory = fx.directory, .state_dir = fx.state, .say = note, .data = said};
    g_assert_false(ph_posix_check(&check, &error));
    g_assert_nonnull(strstr(error->message, "in use"));
    fx_teardown(&fx);
}

/* What others moved keeps its id; of what they removed it is forgotten. */
static void test_behind(void)
{
    struct fixture fx;
    g_autoptr(GString) said = g_string_new(NULL);
    fill(&fx);
    fx_ok(&fx, fx_lookup(&fx, PH_OBJECT_ROOT, "dir/one"));
    uint64_t one = fx.attr->object;
    fx_close(&fx);
    g_autofree char *from = fx_path(&fx, "dir/one"), *to = fx_path(&fx, "moved"),
                    *two = fx_path(&fx, "dir/two");
    g_assert_cmpint(rename(from, to), ==, 0);
    g_assert_cmpint(unlink(two), ==, 0);
    g_assert_cmpuint(look(&fx, true, said), ==, 0);
    expect(said, "moved 1 and removed 1");
    expect(said, "1 ids of what is not there were forgotten");
    g_assert_cmpuint(look(&fx, false, said), ==, 0);
    expect(said, "3 objects are known by id; other programs moved 1 and removed 0");
    fx_open(&fx);
    fx_ok(&fx, fx_lookup(&fx, PH_OBJECT_ROOT, "moved"));
    g_assert_cmpuint(fx.attr->object, ==, one);
    fx_teardown(&fx);
}

static void test_wrong(void)
{
    struct fixture fx;
    g_autoptr(GString) said = g_string_new(NULL);
    fill(&fx);
    fx_close(&fx);
    change(&fx, "UPDATE counters SET value = 281474976710656 WHERE name = 'next_id'");
    g_assert_cmpuint(look(&fx, false, said), ==, 1);
    expect(said, "are in use, but the next to be given is");
    g_assert_cmpuint(look(&fx, true, said), ==, 0);
    g_assert_cmpuint(look(&fx, false, said), ==, 0);
    change(&fx, "UPDATE objects SET parent = id WHERE name = CAST('dir' AS BLOB)");
    g_assert_cmpuint(look(&fx, false, said), ==, 1);
    expect(said, "below themselves");
    g_assert_cmpuint(look(&fx, true, said), ==, 0);
    g_assert_cmpuint(look(&fx, false, said), ==, 0);
    expect(said, "all is well");
    fx_teardown(&fx);
}

static void test_damaged(void)
{
    struct fixture fx;
    g_autoptr(GString) said = g_string_new(NULL);
    g_autofree char *bytes = NULL;
    gsize len = 0;
    fill(&fx);
    fx_close(&fx);
    g_autofree char *path = g_build_filename(fx.state, "pohmel.db", NULL);
    g_assert_true(g_file_get_contents(path, &bytes, &len, NULL));
    for (gsize at = 4096; at < len; at++)
        bytes[at] = (char) (at * 7);
    g_assert_true(g_file_set_contents(path, bytes, (gssize) len, NULL));
    g_assert_cmpuint(look(&fx, true, said), ==, 1);
    expect(said, "is damaged");
    fx_teardown(&fx);
}

static void test_other_export(void)
{
    struct fixture fx;
    g_autoptr(GString) said = g_string_new(NULL);
    fill(&fx);
    fx_close(&fx);
    change(&fx, "UPDATE facts SET value = zeroblob(16) WHERE name = 'root'");
    g_assert_cmpuint(look(&fx, true, said), ==, 1);
    expect(said, "that of another export");
    fx_teardown(&fx);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/check/all-is-well", test_well);
    g_test_add_func("/check/of-a-running-server-is-refused", test_used);
    g_test_add_func("/check/what-others-moved-keeps-its-id", test_behind);
    g_test_add_func("/check/what-is-wrong-is-put-right", test_wrong);
    g_test_add_func("/check/damaged-database-is-said", test_damaged);
    g_test_add_func("/check/state-of-another-export-is-said", test_other_export);
    return g_test_run();
}
