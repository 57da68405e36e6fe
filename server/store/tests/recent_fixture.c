#include "server/store/tests/recent_fixture.h"

#include <stdlib.h>
#include <string.h>

const uint8_t ph_recent_volume[16] = "a volume of ours";
const struct ph_state_root ph_recent_root = {"/export", 2, 3};

char *ph_recent_directory(void)
{
    const char *base = g_getenv("PH_TEST_DIR");
    char *path = g_build_filename(base != NULL ? base : g_get_tmp_dir(), "ph-recent-XXXXXX", NULL);
    g_assert_nonnull(mkdtemp(path));
    return path;
}

void ph_recent_drop(char *path)
{
    const char *argv[] = {"rm", "-rf", path, NULL};
    g_spawn_sync(NULL, (char **) argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, NULL, NULL);
    g_free(path);
}

struct ph_state_row ph_recent_row(uint64_t n)
{
    struct ph_state_row row = {
        .id = PH_OBJECT_GIVEN_FIRST + n, .ino = 1000 + n, .btime_ns = 5 * n, .parent = 1};
    g_snprintf(row.name, sizeof row.name, "%" G_GUINT64_FORMAT, n);
    return row;
}

void ph_recent_expect(const struct ph_state_row *found, uint64_t n)
{
    struct ph_state_row row = ph_recent_row(n);
    g_assert_cmphex(found->id, ==, row.id);
    g_assert_cmpuint(found->dev, ==, row.dev);
    g_assert_cmpuint(found->ino, ==, row.ino);
    g_assert_cmpuint(found->btime_ns, ==, row.btime_ns);
    g_assert_cmpuint(found->parent, ==, row.parent);
    g_assert_cmpstr(found->name, ==, row.name);
}

struct ph_state_db *ph_recent_db(const char *directory, const struct ph_state_root *where)
{
    g_autoptr(GError) error = NULL;
    struct ph_state_db *db = ph_state_db_open(directory, where, &error);
    g_assert_no_error(error);
    return db;
}

sqlite3 *ph_recent_hold(const char *directory)
{
    g_autofree char *path = g_build_filename(directory, "pohmel.db", NULL);
    sqlite3 *connection = NULL;
    g_assert_cmpint(sqlite3_open(path, &connection), ==, SQLITE_OK);
    g_assert_cmpint(sqlite3_exec(connection, "BEGIN IMMEDIATE", NULL, NULL, NULL), ==, SQLITE_OK);
    return connection;
}

bool ph_recent_append(struct ph_state_recent *recent, uint64_t n, bool removed)
{
    struct ph_state_row row = ph_recent_row(n);
    return ph_state_recent_append(recent, &row, removed);
}
