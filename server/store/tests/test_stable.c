/* What is remembered of objects is given to the disk when something else is synced, and waits for no commit.
 */
#include <sys/stat.h>

#include "server/store/tests/recent_fixture.h"

/* As `span`, written. */
static bool written(struct ph_state_recent *recent, uint64_t durable, struct ph_state_span *span)
{
    if (!ph_state_recent_span(recent, durable, span))
        return false;
    g_assert_true(ph_state_span_write(span));
    ph_state_recent_written(recent, span);
    return true;
}

static void test_spans(void)
{
    char *directory = ph_recent_directory();
    struct ph_state_span span;
    bool full;
    struct ph_state_recent *recent = ph_state_recent_open(directory, TURN_BYTES, ph_recent_volume, 1);
    g_assert_true(ph_recent_append(recent, 0, false));
    g_assert_true(written(recent, 0, &span));
    g_assert_true(span.whole);
    g_assert_cmpuint(span.number, ==, ph_state_recent_number(recent));
    g_assert_true(ph_recent_append(recent, 1, false));
    g_assert_true(written(recent, 0, &span));
    g_assert_false(span.whole);
    g_assert_cmpuint(span.from, ==, RECORD_BYTES);
    g_assert_cmpuint(span.to, ==, 2 * RECORD_BYTES);
    ph_state_recent_take(recent, &full);
    g_assert_true(ph_recent_append(recent, 2, false));
    g_assert_true(full);
    g_assert_false(written(recent, 0, &span)); /* changes in both files */
    ph_state_recent_done(recent);
    g_assert_true(written(recent, 0, &span));
    g_assert_cmpuint(span.from, ==, 0);
    while (ph_recent_append(recent, 3, false))
        ;
    uint64_t lost = ph_state_recent_number(recent);
    g_assert_false(written(recent, lost - 1, &span));
    g_assert_true(written(recent, lost, &span)); /* a commit has it */
    ph_state_recent_close(recent);
    ph_recent_drop(directory);
}

/* Written before the file was emptied, told after it: what is there by then was not written. */
static void test_span_overtaken(void)
{
    char *directory = ph_recent_directory();
    struct ph_state_span span, late;
    bool full;
    struct ph_state_recent *recent = ph_state_recent_open(directory, TURN_BYTES, ph_recent_volume, 1);
    for (uint64_t n = 0; n < TURN_CHANGES; n++)
        g_assert_true(ph_recent_append(recent, n, false));
    g_assert_true(ph_state_recent_span(recent, 0, &late));
    g_assert_true(ph_state_span_write(&late));
    for (unsigned turn = 0; turn < 2; turn++) {
        ph_state_recent_take(recent, &full);
        g_assert_true(full);
        ph_state_recent_done(recent);
        for (uint64_t n = 0; n < TURN_CHANGES; n++)
            g_assert_true(ph_recent_append(recent, n, false));
    }
    ph_state_recent_written(recent, &late);
    g_assert_true(ph_state_recent_span(recent, 0, &span));
    g_assert_cmpuint(span.from, ==, 0);
    ph_state_recent_close(recent);
    ph_recent_drop(directory);
}

/* The database is held by somebody else: what was written and flushed with a file waits for no commit of it.
 */
static void test_rides(void)
{
    char *directory = ph_recent_directory();
    struct ph_state_db *db = ph_recent_db(directory, &ph_recent_root);
    struct ph_state_row row = ph_recent_row(0);
    struct stat st;
    bool rides;
    g_assert_cmpint(stat(directory, &st), ==, 0);
    uint64_t nothing = ph_state_db_sync_begin(db, st.st_dev, &rides);
    g_assert_false(rides);
    g_assert_true(ph_state_db_sync_wait(db, nothing));
    sqlite3 *holder = ph_recent_hold(directory);
    ph_state_db_put(db, &row);
    uint64_t ticket = ph_state_db_sync_begin(db, st.st_dev, &rides);
    g_assert_true(rides);
    ph_state_db_sync_rode(db, ticket);
    g_assert_true(ph_state_db_sync_wait(db, ticket));
    row = ph_recent_row(1);
    ph_state_db_put(db, &row);
    sqlite3_close(holder);
    ticket = ph_state_db_sync_begin(db, st.st_dev + 1, &rides);
    g_assert_false(rides); /* another disk */
    g_assert_true(ph_state_db_sync_wait(db, ticket));
    row = ph_recent_row(2);
    ph_state_db_put(db, &row);
    ticket = ph_state_db_sync_begin(db, st.st_dev, &rides);
    g_assert_true(rides);
    g_assert_true(ph_state_db_sync_wait(db, ticket)); /* the fsync failed, or never came */
    ph_state_db_close(db);
    ph_recent_drop(directory);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/stable/only-what-is-new-is-written", test_spans);
    g_test_add_func("/stable/what-was-written-before-a-file-was-emptied-does-not-count", test_span_overtaken);
    g_test_add_func("/stable/what-rides-on-an-fsync-waits-for-no-commit", test_rides);
    return g_test_run();
}
