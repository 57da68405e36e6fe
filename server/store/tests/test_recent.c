/* What is remembered of objects survives that the server is killed at any moment. */

#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/store/tests/recent_fixture.h"

enum { SMALL_BYTES = 4096, FEW = 3, MANY = 200000, STRIDE = 41 };
enum { BATCH_TAKEN_US = 20000 }; /* what is queued for that long is a batch, mostly */

static const uint8_t other_volume[16] = "another volume..";

static bool db_has(struct ph_state_db *db, uint64_t n)
{
    struct ph_state_row expected = ph_recent_row(n), by_id, by_inode;
    bool has = ph_state_db_by_id(db, expected.id, &by_id);
    g_assert_cmpint(ph_state_db_by_inode(db, expected.dev, expected.ino, &by_inode), ==, has);
    if (has) {
        ph_recent_expect(&by_id, n);
        ph_recent_expect(&by_inode, n);
    }
    return has;
}

/* Runs DEED in a process that is killed at its end, with the changes that it made. */
static void killed_after(void (*deed)(const char *directory), const char *directory)
{
    int status = 0;
    pid_t child = fork();
    g_assert_cmpint(child, >=, 0);
    if (child == 0) {
        deed(directory);
        raise(SIGKILL);
    }
    g_assert_cmpint(waitpid(child, &status, 0), ==, child);
    g_assert_true(WIFSIGNALED(status));
    g_assert_cmpint(WTERMSIG(status), ==, SIGKILL);
}

/* ---- The database. ---- */

static void put_few(const char *directory)
{
    struct ph_state_db *db = ph_recent_db(directory, &ph_recent_root);
    ph_recent_hold(directory);
    for (uint64_t n = 0; n < FEW; n++) {
        struct ph_state_row row = ph_recent_row(n);
        ph_state_db_put(db, &row);
    }
}

static void test_killed_at_once(void)
{
    char *directory = ph_recent_directory();
    killed_after(put_few, directory);
    struct ph_state_db *db = ph_recent_db(directory, &ph_recent_root);
    for (uint64_t n = 0; n < FEW; n++)
        g_assert_true(db_has(db, n));
    g_assert_false(db_has(db, FEW));
    ph_state_db_close(db);
    /* They were put into the database, not only found. */
    for (unsigned i = 0; i < 2; i++) {
        g_autofree char *path = g_strdup_printf("%s/recent.%u", directory, i);
        g_assert_cmpint(unlink(path), ==, 0);
    }
    db = ph_recent_db(directory, &ph_recent_root);
    for (uint64_t n = 0; n < FEW; n++)
        g_assert_true(db_has(db, n));
    ph_state_db_close(db);
    ph_recent_drop(directory);
}

/* One batch waits in the committing thread, the next one in the queue; in both an object
 * of the other one changes. */
static void change_in_two_batches(const char *directory)
{
    struct ph_state_row row = ph_recent_row(0), moved = ph_recent_row(1);
    struct ph_state_db *db = ph_recent_db(directory, &ph_recent_root);
    ph_recent_hold(directory);
    g_strlcpy(moved.name, "an earlier name", sizeof moved.name);
    ph_state_db_put(db, &row);
    ph_state_db_put(db, &moved);
    g_usleep(BATCH_TAKEN_US);
    ph_state_db_remove(db, row.id);
    moved = ph_recent_row(1);
    ph_state_db_put(db, &moved);
    row = ph_recent_row(2);
    row.ino = ph_recent_row(0).ino; /* given to another file */
    ph_state_db_put(db, &row);
}

static void test_two_batches(void)
{
    char *directory = ph_recent_directory();
    killed_after(change_in_two_batches, directory);
    struct ph_state_db *db = ph_recent_db(directory, &ph_recent_root);
    struct ph_state_row row;
    g_assert_false(ph_state_db_by_id(db, ph_recent_row(0).id, &row));
    g_assert_true(db_has(db, 1));
    g_assert_true(ph_state_db_by_inode(db, 0, ph_recent_row(0).ino, &row));
    g_assert_cmphex(row.id, ==, ph_recent_row(2).id);
    ph_state_db_close(db);
    ph_recent_drop(directory);
}

/* More than both files hold, and nothing is committed: makers are told to wait, and the first ones are kept.
 */
static void put_many(const char *directory)
{
    struct ph_state_db *db = ph_recent_db(directory, &ph_recent_root);
    ph_recent_hold(directory);
    for (uint64_t n = 0; n < MANY; n++) {
        struct ph_state_row row = ph_recent_row(n);
        ph_state_db_put(db, &row);
    }
}

static void test_full(void)
{
    char *directory = ph_recent_directory();
    killed_after(put_many, directory);
    struct ph_state_db *db = ph_recent_db(directory, &ph_recent_root);
    uint64_t n = 0;
    while (n < MANY && db_has(db, n))
        n += STRIDE;
    g_assert_cmpuint(n, >, 100000);
    g_assert_cmpuint(n, <, MANY);
    for (; n < MANY; n += STRIDE)
        g_assert_false(db_has(db, n));
    /* What was in the way is gone: all may be put again. */
    for (n = 0; n < MANY; n++) {
        struct ph_state_row row = ph_recent_row(n);
        g_assert_true(ph_state_db_throttle(db));
        ph_state_db_put(db, &row);
    }
    ph_state_db_close(db);
    db = ph_recent_db(directory, &ph_recent_root);
    for (n = 0; n < MANY; n += STRIDE)
        g_assert_true(db_has(db, n));
    ph_state_db_close(db);
    ph_recent_drop(directory);
}

static void rename_table(const char *directory, const char *from, const char *to)
{
    g_autofree char *path = g_build_filename(directory, "pohmel.db", NULL);
    g_autofree char *text = g_strdup_printf("ALTER TABLE %s RENAME TO %s", from, to);
    sqlite3 *connection = NULL;
    g_assert_cmpint(sqlite3_open(path, &connection), ==, SQLITE_OK);
    sqlite3_busy_timeout(connection, 10000);
    g_assert_cmpint(sqlite3_exec(connection, text, NULL, NULL, NULL), ==, SQLITE_OK);
    sqlite3_close(connection);
}

/* The database takes nothing until the server has ended. */
static void end_while_commits_fail(const char *directory)
{
    struct ph_state_row row = ph_recent_row(0), other = ph_recent_row(1);
    struct ph_state_db *db = ph_recent_db(directory, &ph_recent_root);
    bool rides;
    g_log_set_always_fatal(G_LOG_FATAL_MASK);
    rename_table(directory, "objects", "elsewhere");
    ph_state_db_put(db, &row);
    ph_state_db_put(db, &other);
    g_assert_false(ph_state_db_sync_wait(db, ph_state_db_sync_begin(db, 0, &rides)));
    g_assert_false(rides);
    ph_state_db_remove(db, row.id);
    ph_state_db_close(db);
}

static void test_commits_fail(void)
{
    char *directory = ph_recent_directory();
    killed_after(end_while_commits_fail, directory);
    rename_table(directory, "elsewhere", "objects");
    struct ph_state_db *db = ph_recent_db(directory, &ph_recent_root);
    g_assert_false(db_has(db, 0));
    g_assert_true(db_has(db, 1));
    ph_state_db_close(db);
    ph_recent_drop(directory);
}

/* What the database has is newer than an old copy of the files, which a crash of the machine may leave. */
static void test_old_files(void)
{
    char *directory = ph_recent_directory();
    g_autofree char *path = g_build_filename(directory, "recent.0", NULL), *old = NULL;
    gsize len = 0;
    killed_after(put_few, directory);
    g_autofree char *second = g_build_filename(directory, "recent.1", NULL), *old_second = NULL;
    gsize second_len = 0;
    g_assert_true(g_file_get_contents(path, &old, &len, NULL));
    g_assert_true(g_file_get_contents(second, &old_second, &second_len, NULL));
    struct ph_state_db *db = ph_recent_db(directory, &ph_recent_root);
    for (uint64_t n = 0; n < FEW; n++)
        ph_state_db_remove(db, ph_recent_row(n).id);
    ph_state_db_close(db);
    g_assert_true(g_file_set_contents(path, old, (gssize) len, NULL));
    g_assert_true(g_file_set_contents(second, old_second, (gssize) second_len, NULL));
    db = ph_recent_db(directory, &ph_recent_root);
    for (uint64_t n = 0; n < FEW; n++)
        g_assert_false(db_has(db, n));
    ph_state_db_close(db);
    ph_recent_drop(directory);
}

static void test_other_export(void)
{
    static const struct ph_state_root elsewhere = {"/elsewhere", 20, 30};
    char *directory = ph_recent_directory();
    killed_after(put_few, directory);
    g_test_expect_message(NULL, G_LOG_LEVEL_WARNING, "*was used for /export*");
    struct ph_state_db *db = ph_recent_db(directory, &elsewhere);
    g_test_assert_expected_messages();
    for (uint64_t n = 0; n < FEW; n++)
        g_assert_false(db_has(db, n));
    ph_state_db_close(db);
    ph_recent_drop(directory);
}

/* ---- Where the files cannot be had. ---- */

static void test_no_file(void)
{
    char *directory = ph_recent_directory();
    g_autofree char *path = g_build_filename(directory, "recent.1", NULL);
    g_assert_cmpint(mkdir(path, 0700), ==, 0);
    g_test_expect_message(NULL, G_LOG_LEVEL_WARNING, "ids given right before*");
    g_test_expect_message(NULL, G_LOG_LEVEL_WARNING, "cannot make *recent.1*will forget*");
    struct ph_state_db *db = ph_recent_db(directory, &ph_recent_root);
    g_test_assert_expected_messages();
    struct ph_state_row row = ph_recent_row(0);
    ph_state_db_put(db, &row);
    g_assert_true(db_has(db, 0));
    ph_state_db_close(db);
    g_assert_cmpint(rmdir(path), ==, 0);
    db = ph_recent_db(directory, &ph_recent_root);
    g_assert_true(db_has(db, 0));
    ph_state_db_close(db);
    ph_recent_drop(directory);
}

/* In a process of its own: exits with 0 when what it says holds. */
static void full_disk(const char *directory)
{
    struct rlimit limit = {SMALL_BYTES, SMALL_BYTES};
    bool full;
    struct ph_state_row row = ph_recent_row(0);
    signal(SIGXFSZ, SIG_IGN);
    g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &limit), ==, 0);
    g_test_expect_message(NULL, G_LOG_LEVEL_WARNING, "cannot make *File too large*");
    struct ph_state_recent *recent = ph_state_recent_open(directory, 2 * SMALL_BYTES, ph_recent_volume, 1);
    g_test_assert_expected_messages();
    g_assert_false(ph_state_recent_append(recent, &row, false));
    g_assert_false(ph_state_recent_crowded(recent));
    g_assert_cmpuint(ph_state_recent_take(recent, &full), ==, ph_state_recent_first(1) + 1);
    g_assert_false(full);
    ph_state_recent_done(recent);
    ph_state_recent_close(recent);
}

static void test_full_disk(void)
{
    char *directory = ph_recent_directory();
    killed_after(full_disk, directory);
    ph_recent_drop(directory);
}

static void not_writable(const char *directory)
{
    g_autoptr(GError) error = NULL;
    g_assert_cmpint(chmod(directory, 0555), ==, 0);
    if (geteuid() == 0)
        g_assert_cmpint(setresuid(65534, 65534, 65534), ==, 0);
    g_test_expect_message(NULL, G_LOG_LEVEL_WARNING, "cannot make *Permission denied*");
    struct ph_state_recent *recent = ph_state_recent_open(directory, SMALL_BYTES, ph_recent_volume, 1);
    g_test_assert_expected_messages();
    ph_state_recent_close(recent);
    g_assert_null(ph_state_db_open(directory, &ph_recent_root, &error));
    g_assert_nonnull(error);
    g_assert_nonnull(strstr(error->message, directory));
}

static void test_not_writable(void)
{
    char *directory = ph_recent_directory();
    killed_after(not_writable, directory);
    g_assert_cmpint(chmod(directory, 0700), ==, 0);
    ph_recent_drop(directory);
}

/* ---- The files. ---- */

struct reader {
    uint64_t last;
    unsigned changes;
    bool removed[100];
    struct ph_state_row rows[100];
};

static bool take_change(const struct ph_state_change *change, void *data)
{
    struct reader *reader = data;
    g_assert_cmpuint(change->number, >, reader->last);
    g_assert_cmpuint(reader->changes, <, G_N_ELEMENTS(reader->rows));
    reader->last = change->number;
    reader->removed[reader->changes] = change->removed;
    reader->rows[reader->changes++] = change->row;
    return true;
}

static void read_all(const char *directory, const uint8_t *whose, uint64_t after, struct reader *reader)
{
    memset(reader, 0, sizeof *reader);
    g_assert_true(ph_state_recent_read(directory, whose, after, take_change, reader));
}

static void test_damaged(void)
{
    char *directory = ph_recent_directory();
    g_autofree char *path = g_build_filename(directory, "recent.0", NULL), *bytes = NULL;
    gsize len = 0;
    struct reader reader;
    struct ph_state_recent *recent = ph_state_recent_open(directory, SMALL_BYTES, ph_recent_volume, 1);
    for (uint64_t n = 0; n < FEW; n++)
        g_assert_true(ph_recent_append(recent, n, false));
    ph_state_recent_close(recent);
    read_all(directory, ph_recent_volume, 0, &reader);
    g_assert_cmpuint(reader.changes, ==, FEW);
    g_assert_true(g_file_get_contents(path, &bytes, &len, NULL));
    for (gsize at = RECORD_BYTES; at < (gsize) 2 * RECORD_BYTES - 7; at++) { /* names of one letter */
        bytes[at] ^= 1;
        g_assert_true(g_file_set_contents(path, bytes, (gssize) len, NULL));
        read_all(directory, ph_recent_volume, 0, &reader);
        g_assert_cmpuint(reader.changes, ==, 1);
        ph_recent_expect(&reader.rows[0], 0);
        bytes[at] ^= 1;
    }
    for (gsize cut = 0; cut < (gsize) FEW * RECORD_BYTES; cut++) {
        g_assert_true(g_file_set_contents(path, bytes, (gssize) cut, NULL));
        read_all(directory, ph_recent_volume, 0, &reader);
        g_assert_cmpuint(reader.changes, ==, cut / RECORD_BYTES);
    }
    read_all(directory, other_volume, 0, &reader);
    g_assert_cmpuint(reader.changes, ==, 0);
    ph_recent_drop(directory);
}

/* Garbage from anywhere ends the reading, and names that fill their field are kept. */
static void test_hostile(void)
{
    char *directory = ph_recent_directory();
    g_autofree char *path = g_build_filename(directory, "recent.1", NULL);
    char bytes[1024];
    struct reader reader;
    for (unsigned round = 0; round < 200; round++) {
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (char) g_test_rand_int_range(0, 256);
        g_assert_true(g_file_set_contents(path, bytes, sizeof bytes, NULL));
        read_all(directory, ph_recent_volume, 0, &reader);
        g_assert_cmpuint(reader.changes, ==, 0);
    }
    struct ph_state_recent *recent = ph_state_recent_open(directory, SMALL_BYTES, ph_recent_volume, 1);
    struct ph_state_row row = ph_recent_row(0);
    memset(row.name, 'n', PH_NAME_MAX_BYTES);
    g_assert_true(ph_state_recent_append(recent, &row, false));
    row.name[0] = '\0';
    g_assert_true(ph_state_recent_append(recent, &row, false));
    ph_state_recent_close(recent);
    read_all(directory, ph_recent_volume, 0, &reader);
    g_assert_cmpuint(reader.changes, ==, 2);
    g_assert_cmpuint(strlen(reader.rows[0].name), ==, PH_NAME_MAX_BYTES);
    g_assert_cmpstr(reader.rows[1].name, ==, "");
    ph_recent_drop(directory);
}

static void test_turns(void)
{
    char *directory = ph_recent_directory();
    struct reader reader;
    bool full;
    struct ph_state_recent *recent = ph_state_recent_open(directory, TURN_BYTES, ph_recent_volume, 1);
    g_assert_true(ph_recent_append(recent, 0, false));
    ph_state_recent_take(recent, &full);
    g_assert_false(full);
    ph_state_recent_done(recent); /* it was no file's turn: all is kept */
    g_assert_true(ph_recent_append(recent, 1, false));
    uint64_t taken = ph_state_recent_take(recent, &full);
    g_assert_true(full);
    g_assert_true(ph_recent_append(recent, 0, true));
    read_all(directory, ph_recent_volume, 0, &reader);
    g_assert_cmpuint(reader.changes, ==, 3);
    ph_recent_expect(&reader.rows[1], 1);
    g_assert_true(reader.removed[2] && reader.rows[2].id == ph_recent_row(0).id);
    read_all(directory, ph_recent_volume, taken, &reader); /* killed after the commit, before `done` */
    g_assert_cmpuint(reader.changes, ==, 1);
    ph_state_recent_done(recent);
    read_all(directory, ph_recent_volume, 0, &reader);
    g_assert_cmpuint(reader.changes, ==, 1);
    g_assert_true(ph_recent_append(recent, 3, false));
    g_assert_true(ph_recent_append(recent, 4, false));
    ph_state_recent_take(recent, &full);
    g_assert_true(full);
    /* The second change of the first round stands right behind: it is not read again. */
    g_assert_true(ph_recent_append(recent, 7, false));
    ph_state_recent_done(recent);
    read_all(directory, ph_recent_volume, 0, &reader);
    g_assert_cmpuint(reader.changes, ==, 1);
    ph_recent_expect(&reader.rows[0], 7);
    ph_state_recent_close(recent);
    ph_recent_drop(directory);
}

static void test_fills_up(void)
{
    char *directory = ph_recent_directory();
    unsigned kept = 0;
    struct reader reader;
    bool full;
    struct ph_state_recent *recent = ph_state_recent_open(directory, SMALL_BYTES, ph_recent_volume, 1);
    for (uint64_t n = 0; n < 100; n++) {
        bool crowded = ph_state_recent_crowded(recent);
        g_assert_cmpint(crowded, ==, n > SMALL_BYTES / RECORD_BYTES * 7 / 8);
        kept += ph_recent_append(recent, n, false);
    }
    g_assert_cmpuint(kept, ==, SMALL_BYTES / RECORD_BYTES);
    g_assert_cmpuint(ph_state_recent_take(recent, &full), ==, ph_state_recent_first(1) + 100);
    g_assert_true(full);
    g_assert_false(ph_state_recent_crowded(recent));
    g_assert_true(ph_recent_append(recent, 5, false));
    read_all(directory, ph_recent_volume, 0, &reader);
    g_assert_cmpuint(reader.changes, ==, kept + 1);
    ph_recent_expect(&reader.rows[kept], 5);
    ph_state_recent_close(recent);
    ph_recent_drop(directory);
}

static bool is_mapped(void)
{
    g_autofree char *maps = NULL;
    g_assert_true(g_file_get_contents("/proc/self/maps", &maps, NULL, NULL));
    return strstr(maps, "/recent.0") != NULL;
}

/* ramfs is none of the filesystems on which the files are mapped. */
static void written_to(const char *directory)
{
    struct reader reader;
    bool full;
    struct ph_state_recent *recent = ph_state_recent_open(directory, TURN_BYTES, ph_recent_volume, 1);
    g_assert_false(is_mapped());
    for (uint64_t n = 0; n < FEW; n++)
        g_assert_true(ph_recent_append(recent, n, false));
    read_all(directory, ph_recent_volume, 0, &reader);
    g_assert_cmpuint(reader.changes, ==, FEW);
    ph_state_recent_take(recent, &full);
    g_assert_true(full);
    g_assert_true(ph_recent_append(recent, FEW, false));
    ph_state_recent_done(recent);
    read_all(directory, ph_recent_volume, 0, &reader);
    g_assert_cmpuint(reader.changes, ==, 1);
    ph_recent_expect(&reader.rows[0], FEW);
    ph_state_recent_close(recent);
}

static void test_not_mapped(void)
{
    enum { CANNOT_MOUNT = 77 };
    char *directory = ph_recent_directory();
    int status = 0;
    pid_t child = fork();
    g_assert_cmpint(child, >=, 0);
    if (child == 0) {
        if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
            mount("ramfs", directory, "ramfs", 0, NULL) != 0)
            _exit(CANNOT_MOUNT);
        written_to(directory);
        _exit(0);
    }
    g_assert_cmpint(waitpid(child, &status, 0), ==, child);
    g_assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == CANNOT_MOUNT)
        g_test_skip("needs the right to mount");
    else
        g_assert_cmpint(WEXITSTATUS(status), ==, 0);
    ph_recent_drop(directory);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/recent/killed-at-once-nothing-is-forgotten", test_killed_at_once);
    g_test_add_func("/recent/changes-of-two-batches-in-their-order", test_two_batches);
    g_test_add_func("/recent/more-than-it-holds-keeps-the-first", test_full);
    g_test_add_func("/recent/what-the-database-has-is-not-overtaken", test_old_files);
    g_test_add_func("/recent/what-cannot-be-committed-is-kept-for-the-next-start", test_commits_fail);
    g_test_add_func("/recent/ids-of-another-export-are-not-taken", test_other_export);
    g_test_add_func("/recent/serves-without-the-files", test_no_file);
    g_test_add_func("/recent/serves-when-the-disk-is-full", test_full_disk);
    g_test_add_func("/recent/directory-that-cannot-be-written-is-named", test_not_writable);
    g_test_add_func("/recent/damaged-change-ends-the-reading", test_damaged);
    g_test_add_func("/recent/garbage-is-not-read-and-long-names-are", test_hostile);
    g_test_add_func("/recent/files-take-turns", test_turns);
    g_test_add_func("/recent/full-file-keeps-what-it-has", test_fills_up);
    g_test_add_func("/recent/written-to-where-a-full-disk-could-kill", test_not_mapped);
    return g_test_run();
}
