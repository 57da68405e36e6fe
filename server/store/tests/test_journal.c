/* The journal itself: what it keeps, what it does not believe, how far it grows. */
#include <sys/wait.h>
#include <time.h>

#include "ph_commands.h"
#include "runtime/wire/frame.h"
#include "server/store/journal.h"
#include "server/store/tests/fixture.h"

enum { SESSION = 9, NUMBER = 3, HEADER_BYTES = 64 * 1024, BOOT_AT = 32, PUTS = 200000 };

static const uint8_t volume[16] = "this volume     ", other_volume[16] = "another volume  ";
static const uint8_t client[16] = "a client of test", other_client[16] = "another client  ";

static char *directory_new(void)
{
    const char *base = g_getenv("PH_TEST_DIR");
    char *directory = g_build_filename(base != NULL ? base : g_get_tmp_dir(), "ph-journal-XXXXXX", NULL);
    g_assert_nonnull(mkdtemp(directory));
    return directory;
}

static void directory_drop(char *directory)
{
    g_autofree char *path = g_build_filename(directory, "journal", NULL);
    unlink(path);
    g_assert_cmpint(rmdir(directory), ==, 0);
    g_free(directory);
}

static struct ph_journal *open_journal(const char *directory, const uint8_t *whose, bool continued)
{
    g_autoptr(GError) error = NULL;
    struct ph_journal *journal = ph_journal_open(directory, whose, false, &error);
    g_assert_no_error(error);
    g_assert_cmpint(ph_journal_continued(journal), ==, continued);
    return journal;
}

static struct ph_journal_intent intent_of(uint32_t sequence)
{
    struct ph_journal_intent intent = {
        .sequence = sequence, .request_crc = 0x1234, .command = PH_CMD_RENAME, .object = 17, .size = 42};
    memset(intent.name, 'n', PH_NAME_MAX_BYTES);
    memset(intent.to_name, 't', PH_NAME_MAX_BYTES);
    return intent;
}

static struct ph_journal_record *begin(struct ph_journal *journal, uint32_t slot, uint32_t sequence)
{
    struct ph_journal_intent intent = intent_of(sequence);
    struct ph_journal_record *record = ph_journal_record(journal, SESSION, client, NUMBER, slot);
    ph_journal_begin(journal, record, &intent);
    return record;
}

static void answer(struct ph_journal *journal, struct ph_journal_record *record)
{
    ph_journal_answer(journal, record, (const uint8_t *) "answer", 6);
}

static bool has_intent(const struct ph_journal_record *record, uint32_t sequence)
{
    struct ph_journal_intent intent;
    return record != NULL && ph_journal_intent(record, &intent) && intent.sequence == sequence &&
           strlen(intent.to_name) == PH_NAME_MAX_BYTES && intent.to_name[0] == 't' && intent.size == 42;
}

static bool has_answer(const struct ph_journal_record *record)
{
    const uint8_t *bytes;
    size_t len;
    return ph_journal_answered(record, &bytes, &len) && len == 6 && memcmp(bytes, "answer", 6) == 0;
}

static void test_kept(void)
{
    char *directory = directory_new();
    struct ph_journal *journal = open_journal(directory, volume, false);
    struct ph_journal_before before = {.number = 5}, back;
    answer(journal, begin(journal, 0, 7));
    ph_journal_note(journal, begin(journal, 63, 8), &before);
    ph_journal_drop(journal, begin(journal, 5, 1));
    g_assert_null(ph_journal_record(journal, SESSION, client, NUMBER, 64));
    ph_journal_close(journal, false);
    journal = open_journal(directory, volume, true);
    struct ph_journal_record *first = ph_journal_find(journal, client, NUMBER, 0),
                             *last = ph_journal_find(journal, client, NUMBER, 63);
    g_assert_true(has_intent(first, 7) && has_answer(first) && ph_journal_is_earlier(first));
    g_assert_true(has_intent(last, 8) && !has_answer(last) && ph_journal_before(last, &back));
    g_assert_cmpuint(back.number, ==, 5);
    g_assert_false(has_intent(ph_journal_find(journal, client, NUMBER, 5), 1));
    g_assert_null(ph_journal_find(journal, client, NUMBER + 1, 0));
    g_assert_null(ph_journal_find(journal, other_client, NUMBER, 0));
    begin(journal, 0, 8);
    begin(journal, 63, 9);
    g_assert_false(ph_journal_is_earlier(first) || has_answer(first));
    g_assert_false(ph_journal_before(last, &back));
    ph_journal_close(journal, false);
    directory_drop(directory);
}

/* What belongs to one transaction is never taken for a part of the next. */
static void test_parts(void)
{
    char *directory = directory_new();
    struct ph_journal *journal = open_journal(directory, volume, false);
    struct ph_journal_before before = {.number = 5}, back;
    struct ph_journal_record *record = begin(journal, 1, 7);
    ph_journal_note(journal, record, &before);
    answer(journal, record);
    ph_journal_drop(journal, record);
    begin(journal, 1, 7); /* the same one, begun again */
    g_assert_false(ph_journal_before(record, &back) || has_answer(record));
    ph_journal_close(journal, false);
    directory_drop(directory);
}

/* Every byte of a record counts, and a half-written one is none. */
static void test_damaged(void)
{
    char *directory = directory_new();
    g_autofree char *path = g_build_filename(directory, "journal", NULL), *bytes = NULL;
    gsize len = 0;
    struct ph_journal *journal = open_journal(directory, volume, false);
    answer(journal, begin(journal, 0, 7));
    ph_journal_close(journal, false);
    g_assert_true(g_file_get_contents(path, &bytes, &len, NULL));
    size_t at = 0;
    for (at = HEADER_BYTES; at < len && memcmp(bytes + at, "nnnnnnnn", 8) != 0;)
        at++;
    for (size_t cut = 0; cut < 2 * PH_NAME_MAX_BYTES; cut += 17) {
        bytes[at + cut] ^= 1;
        g_assert_true(
            g_file_set_contents_full(path, bytes, (gssize) len, G_FILE_SET_CONTENTS_NONE, 0600, NULL));
        journal = open_journal(directory, volume, true);
        g_assert_false(has_intent(ph_journal_find(journal, client, NUMBER, 0), 7));
        ph_journal_close(journal, false);
        bytes[at + cut] ^= 1;
    }
    directory_drop(directory);
}

/* Another start of the machine: only what came to an orderly end is believed. */
static void test_power(void)
{
    char *directory = directory_new();
    g_autofree char *path = g_build_filename(directory, "journal", NULL);
    for (int clean = 0; clean < 2; clean++) {
        g_autofree char *bytes = NULL;
        gsize len = 0;
        unlink(path);
        struct ph_journal *journal = open_journal(directory, volume, false);
        answer(journal, begin(journal, 0, 7));
        ph_journal_close(journal, clean);
        g_assert_true(g_file_get_contents(path, &bytes, &len, NULL));
        memset(bytes + BOOT_AT, 'x', 8); /* of an earlier start; the checksum is put right */
        uint32_t crc = ph_crc32c(0, bytes + 16, 16 + 36 + 4);
        memcpy(bytes + 12, &crc, sizeof crc);
        g_assert_true(
            g_file_set_contents_full(path, bytes, (gssize) len, G_FILE_SET_CONTENTS_NONE, 0600, NULL));
        journal = open_journal(directory, volume, clean);
        g_assert_cmpint(has_intent(ph_journal_find(journal, client, NUMBER, 0), 7), ==, clean);
        ph_journal_close(journal, false);
    }
    directory_drop(directory);
}

/* As if the machine had started again since. */
static void start_machine(const char *directory)
{
    g_autofree char *path = g_build_filename(directory, "journal", NULL), *bytes = NULL;
    gsize len = 0;
    g_assert_true(g_file_get_contents(path, &bytes, &len, NULL));
    memset(bytes + BOOT_AT, 'x', 8);
    uint32_t crc = ph_crc32c(0, bytes + 16, 16 + 36 + 4);
    memcpy(bytes + 12, &crc, sizeof crc);
    g_assert_true(g_file_set_contents_full(path, bytes, (gssize) len, G_FILE_SET_CONTENTS_NONE, 0600, NULL));
}

/* Sessions of before a loss of power are not taken up again. */
static void test_sessions(void)
{
    struct fixture fx;
    struct ph_store_session session = {.client = {1}, .number = 7}, out[2];
    struct ph_fault fault = {0};
    int status;
    fx_setup(&fx);
    fx_close(&fx);
    for (int ends = 0; ends < 3; ends++) { /* in order; killed; with the machine */
        pid_t child = fork();
        g_assert_cmpint(child, >=, 0);
        if (child == 0) {
            fx_open(&fx);
            uint32_t entered = fx.store->enter_session(fx.store->self, &session, &fault);
            if (ends == 0)
                fx_close(&fx);
            _exit(entered == PH_ST_OK ? 0 : 1);
        }
        g_assert_cmpint(waitpid(child, &status, 0), ==, child);
        g_assert_cmpint(status, ==, 0);
        if (ends != 1)
            start_machine(fx.state);
        fx_open(&fx);
        g_assert_cmpint(fx.store->continued(fx.store->self), ==, ends < 2);
        g_assert_cmpuint(fx.store->sessions(fx.store->self, out, 2), ==, ends < 2);
        fx_close(&fx);
    }
    fx_teardown(&fx);
}

static void test_other_volume(void)
{
    char *directory = directory_new();
    struct ph_journal *journal = open_journal(directory, volume, false);
    answer(journal, begin(journal, 0, 7));
    ph_journal_close(journal, true);
    journal = open_journal(directory, other_volume, false);
    g_assert_null(ph_journal_find(journal, client, NUMBER, 0));
    ph_journal_close(journal, true);
    directory_drop(directory);
}

static void test_garbage(void)
{
    char *directory = directory_new();
    g_autofree char *path = g_build_filename(directory, "journal", NULL), *bytes = g_malloc(2 * HEADER_BYTES);
    for (int round = 0; round < 20; round++) {
        for (size_t i = 0; i < 2 * HEADER_BYTES; i++)
            bytes[i] = (char) g_test_rand_int_range(0, 256);
        g_assert_true(g_file_set_contents_full(path, bytes, g_test_rand_int_range(0, 2 * HEADER_BYTES),
                                               G_FILE_SET_CONTENTS_NONE, 0600, NULL));
        ph_journal_close(open_journal(directory, volume, false), false);
    }
    directory_drop(directory);
}

/* Sessions that are over give their room to the next ones, and higher numbers of a client end its lower ones.
 */
static void test_room(void)
{
    char *directory = directory_new();
    g_autofree char *path = g_build_filename(directory, "journal", NULL);
    struct stat st, now;
    struct ph_journal *journal = open_journal(directory, volume, false);
    answer(journal, begin(journal, 0, 7));
    g_assert_cmpint(stat(path, &st), ==, 0);
    for (uint64_t number = 1; number < 500; number++) {
        g_assert_nonnull(ph_journal_record(journal, 1000 + number, other_client, number, 0));
        ph_journal_forget(journal, other_client, number); /* something may still be executed in it */
        g_assert_nonnull(ph_journal_find(journal, other_client, number, 0));
        ph_journal_forget_served(journal, 1000 + number);
        g_assert_null(ph_journal_find(journal, other_client, number, 0));
    }
    g_assert_cmpint(stat(path, &now), ==, 0);
    g_assert_cmpint(st.st_size, ==, now.st_size);
    g_assert_true(has_answer(ph_journal_find(journal, client, NUMBER, 0)));
    ph_journal_close(journal, false);
    journal = open_journal(directory, volume, true);
    g_assert_nonnull(ph_journal_record(journal, 1, client, NUMBER + 1, 0));
    g_assert_null(ph_journal_find(journal, client, NUMBER, 0));
    ph_journal_close(journal, false);
    journal = open_journal(directory, volume, true);
    g_assert_nonnull(ph_journal_find(journal, client, NUMBER + 1, 0));
    ph_journal_forget(journal, client, NUMBER + 1);
    g_assert_null(ph_journal_find(journal, client, NUMBER + 1, 0));
    ph_journal_close(journal, false);
    directory_drop(directory);
}

static void test_bound(void)
{
    char *directory = directory_new();
    struct ph_journal *journal = open_journal(directory, volume, false);
    uint64_t made = 0;
    while (made < 100000 && ph_journal_record(journal, 1 + made, client, 1 + made, 0) != NULL)
        made++;
    g_assert_cmpuint(made, >=, PH_JOURNAL_SESSIONS_MAX);
    g_assert_cmpuint(made, <, PH_JOURNAL_SESSIONS_MAX + 16);
    ph_journal_close(journal, false);
    directory_drop(directory);
}

static double cpu_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double) now.tv_sec * 1e6 + (double) now.tv_nsec / 1e3;
}

/* What it costs a command: told, and bounded by far. */
static void test_cost(void)
{
    char *directory = directory_new();
    struct ph_journal *journal = open_journal(directory, volume, false);
    uint8_t bytes[200] = {0};
    double began = cpu_us();
    for (uint32_t i = 1; i <= PUTS; i++) {
        struct ph_journal_intent intent = {.sequence = i, .command = PH_CMD_MKDIR, .name = "a name as any"};
        struct ph_journal_record *record = ph_journal_record(journal, SESSION, client, NUMBER, i % 64);
        ph_journal_begin(journal, record, &intent);
        ph_journal_answer(journal, record, bytes, sizeof bytes);
    }
    double each = (cpu_us() - began) / PUTS;
    g_test_message("begun and answered: %.3f us", each);
    g_assert_cmpfloat(each, <, 50);
    ph_journal_close(journal, false);
    directory_drop(directory);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/journal/keeps-intents-and-answers", test_kept);
    g_test_add_func("/journal/parts-belong-to-one-transaction", test_parts);
    g_test_add_func("/journal/damaged-record-is-none", test_damaged);
    g_test_add_func("/journal/after-a-loss-of-power-only-an-orderly-end-is-believed", test_power);
    g_test_add_func("/journal/sessions-of-before-a-loss-of-power-are-over", test_sessions);
    g_test_add_func("/journal/of-another-volume-is-not-believed", test_other_volume);
    g_test_add_func("/journal/garbage-is-not-believed", test_garbage);
    g_test_add_func("/journal/sessions-that-are-over-make-room", test_room);
    g_test_add_func("/journal/is-bounded", test_bound);
    g_test_add_func("/journal/costs-little", test_cost);
    return g_test_run();
}
