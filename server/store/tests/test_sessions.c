/* The list of sessions: what is in it after the end of the process, and what is not. */
#include <glib/gstdio.h>
#include <string.h>

#include "server/store/state_db.h"
#include "server/store/state_sessions.h"

static const uint8_t volume[16] = "volume", other_volume[16] = "another";

static char *make_directory(void)
{
    g_autoptr(GError) error = NULL;
    char *directory = g_dir_make_tmp("pohmel-sessions-XXXXXX", &error);
    struct ph_state_db *db;

    g_assert_no_error(error);
    db = ph_state_db_open(directory, &(struct ph_state_root){directory, 1, 1}, &error);
    g_assert_no_error(error);
    ph_state_db_close(db);
    return directory;
}

static void remove_directory(char *directory)
{
    g_autoptr(GDir) dir = g_dir_open(directory, 0, NULL);
    const char *name;

    while ((name = g_dir_read_name(dir)) != NULL) {
        g_autofree char *path = g_build_filename(directory, name, NULL);

        g_remove(path);
    }
    g_rmdir(directory);
    g_free(directory);
}

static struct ph_state_sessions *open_list(const char *directory, const uint8_t *of)
{
    g_autoptr(GError) error = NULL;
    struct ph_state_sessions *list = ph_state_sessions_open(directory, of, &error);

    g_assert_no_error(error);
    return list;
}

/* The promise: what was entered is there, as it was entered; a greater number takes the place of a smaller
 * one and not the other way round; leaving concerns the very number. */
static void test_list(void)
{
    char *directory = make_directory();
    struct ph_state_sessions *list = open_list(directory, volume);
    struct ph_store_session session = {
        .client = {1, 0, 2}, .number = UINT64_MAX - 1, .leases = true, .host = "here"};
    struct ph_store_session out[4];

    g_assert_true(ph_state_sessions_put(list, &session));
    session.number = 5;
    g_assert_true(ph_state_sessions_put(list, &session));
    session.client[0] = 2;
    session.write_back = session.read_only = true;
    g_assert_true(ph_state_sessions_put(list, &session));
    session.number = 6;
    g_assert_true(ph_state_sessions_put(list, &session));
    ph_state_sessions_remove(list, session.client, 5);
    ph_state_sessions_close(list);
    list = open_list(directory, volume);
    g_assert_cmpuint(ph_state_sessions_read(list, out, 4), ==, 2);
    g_assert_cmpuint(out[0].client[0], ==, 1);
    g_assert_cmpuint(out[0].client[2], ==, 2);
    g_assert_cmpuint(out[0].number, ==, UINT64_MAX - 1);
    g_assert_true(out[0].leases && !out[0].write_back && !out[0].read_only);
    g_assert_cmpstr(out[0].host, ==, "here");
    g_assert_cmpuint(out[1].number, ==, 6);
    g_assert_true(out[1].leases && out[1].write_back && out[1].read_only);
    g_assert_cmpuint(ph_state_sessions_read(list, out, 1), ==, 1);
    ph_state_sessions_remove(list, session.client, 6);
    g_assert_cmpuint(ph_state_sessions_read(list, out, 4), ==, 1);
    ph_state_sessions_clear(list);
    g_assert_cmpuint(ph_state_sessions_read(list, out, 4), ==, 0);
    ph_state_sessions_close(list);
    remove_directory(directory);
}

/* The promise: another volume has nobody's sessions. */
static void test_other_volume(void)
{
    char *directory = make_directory();
    struct ph_state_sessions *list = open_list(directory, volume);
    struct ph_store_session session = {.client = {1}, .number = 1}, out[2];

    g_assert_true(ph_state_sessions_put(list, &session));
    ph_state_sessions_close(list);
    list = open_list(directory, other_volume);
    g_assert_cmpuint(ph_state_sessions_read(list, out, 2), ==, 0);
    ph_state_sessions_close(list);
    list = open_list(directory, volume);
    g_assert_cmpuint(ph_state_sessions_read(list, out, 2), ==, 0);
    ph_state_sessions_close(list);
    remove_directory(directory);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/sessions/list", test_list);
    g_test_add_func("/sessions/other-volume", test_other_volume);
    return g_test_run();
}
