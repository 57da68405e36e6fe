/* Histories that are right, and the same ones with a mistake planted: the checker must
 * tell them apart, and say who and what. */
#include <glib.h>
#include <stdlib.h>
#include <string.h>

#include "tests/coherence/checker.h"

enum { EVENTS_MAX = 4096 };

static const struct ph_object value = {"a word", PH_MODEL_REGISTER, {NULL}};
static const struct ph_object names = {"the names", PH_MODEL_NAMES, {"a", "b", "c", "d"}};
static const struct ph_object records = {"the log", PH_MODEL_LOG, {NULL}};

static struct ph_event at(uint64_t begin, uint64_t end, enum ph_deed deed, unsigned slot, uint64_t what)
{
    return (struct ph_event){.begin_ns = begin,
                             .end_ns = end,
                             .deed = deed,
                             .slot = slot,
                             .slot2 = slot + 1,
                             .value = what,
                             .call = "call"};
}

static enum ph_verdict judge(const struct ph_object *object, struct ph_event *events, size_t count,
                             char **said)
{
    size_t len;
    FILE *out = open_memstream(said, &len);
    enum ph_verdict verdict = ph_check_object(object, 0, events, count, 0, out);

    fclose(out);
    return verdict;
}

static void expect(const struct ph_object *object, struct ph_event *events, size_t count,
                   enum ph_verdict expected, const char *words)
{
    char *said = NULL;

    g_assert_cmpint(judge(object, events, count, &said), ==, expected);
    if (words && !strstr(said, words))
        g_error("the report does not say \"%s\": %s", words, said);
    g_assert_true(words || said[0] == '\0');
    free(said);
}

#define EXPECT(object, expected, words, ...)                                                                 \
    do {                                                                                                     \
        struct ph_event events_[] = {__VA_ARGS__};                                                           \
        expect(object, events_, G_N_ELEMENTS(events_), expected, words);                                     \
    } while (0)

static void test_a_read_of_the_last_value_is_right(void)
{
    EXPECT(&value, PH_VERDICT_GOOD, NULL, at(0, 10, PH_SET, 0, 7), at(20, 30, PH_GET, 0, 7));
    /* While a write is under way both values are right, and in any order that time allows. */
    EXPECT(&value, PH_VERDICT_GOOD, NULL, at(0, 10, PH_SET, 0, 7), at(20, 100, PH_SET, 0, 8),
           at(30, 40, PH_GET, 0, 7), at(50, 60, PH_GET, 0, 8));
    EXPECT(&value, PH_VERDICT_GOOD, NULL, at(0, 50, PH_SET, 0, 7), at(0, 50, PH_SET, 0, 8),
           at(60, 70, PH_GET, 0, 7), at(80, 90, PH_GET, 0, 7));
}

static void test_a_stale_read_is_found(void)
{
    EXPECT(&value, PH_VERDICT_BAD, "possible at that time: 8", at(0, 10, PH_SET, 0, 7),
           at(20, 30, PH_SET, 0, 8), at(40, 50, PH_GET, 0, 7));
    EXPECT(&value, PH_VERDICT_BAD, "never stored", at(0, 10, PH_SET, 0, 7), at(20, 30, PH_GET, 0, 9));
    EXPECT(&value, PH_VERDICT_BAD, "saw 0", at(0, 10, PH_SET, 0, 7), at(20, 30, PH_GET, 0, 0));
}

static void test_reads_that_go_back_in_time_are_found(void)
{
    /* Both are possible alone, while the write is under way; not in this order. */
    EXPECT(&value, PH_VERDICT_BAD, "saw 7", at(0, 10, PH_SET, 0, 7), at(20, 100, PH_SET, 0, 8),
           at(30, 40, PH_GET, 0, 8), at(50, 60, PH_GET, 0, 7));
    /* Two writes at the same time are seen in one order by everybody. */
    EXPECT(&value, PH_VERDICT_BAD, "saw", at(0, 10, PH_SET, 0, 7), at(0, 10, PH_SET, 0, 8),
           at(20, 30, PH_GET, 0, 7), at(40, 50, PH_GET, 0, 8));
}

static void test_a_value_from_the_future_is_found(void)
{
    EXPECT(&value, PH_VERDICT_BAD, "saw 7", at(0, 10, PH_GET, 0, 7), at(20, 30, PH_SET, 0, 7));
}

static void test_of_two_exclusive_creators_one_wins(void)
{
    EXPECT(&names, PH_VERDICT_GOOD, NULL, at(0, 10, PH_ADD, 0, 77), at(0, 10, PH_HAS, 0, 1));
    EXPECT(&names, PH_VERDICT_BAD, "a is file", at(0, 10, PH_ADD, 0, 77), at(0, 10, PH_ADD, 0, 78));
    EXPECT(&names, PH_VERDICT_GOOD, NULL, at(0, 10, PH_ADD, 0, 77), at(0, 10, PH_DROP, 0, 0),
           at(0, 10, PH_ADD, 0, 78), at(20, 30, PH_NAMED, 0, 78));
}

static void test_a_stale_name_is_found(void)
{
    /* Still there after it was removed, still absent after it was made. */
    EXPECT(&names, PH_VERDICT_BAD, "saw that a is there", at(0, 10, PH_ADD, 0, 77), at(20, 30, PH_DROP, 0, 0),
           at(40, 50, PH_HAS, 0, 1));
    EXPECT(&names, PH_VERDICT_BAD, "saw that a is absent", at(0, 10, PH_ADD, 0, 77),
           at(40, 50, PH_NAMED, 0, 0));
    /* Another file by now. */
    EXPECT(&names, PH_VERDICT_BAD, "{a=file 2", at(0, 10, PH_ADD, 0, 77), at(20, 30, PH_PUT, 0, 78),
           at(40, 50, PH_NAMED, 0, 77));
    EXPECT(&names, PH_VERDICT_BAD, "a is a directory", at(0, 10, PH_ADD, 0, 77), at(20, 30, PH_DROP, 0, 0),
           at(40, 50, PH_ADD, 0, PH_DIRECTORY), at(60, 70, PH_NAMED, 0, 77));
}

static void test_a_rename_is_seen_at_both_names(void)
{
    EXPECT(&names, PH_VERDICT_GOOD, NULL, at(0, 10, PH_ADD, 0, 77), at(20, 30, PH_MOVE, 0, 0),
           at(40, 50, PH_NAMED, 0, 0), at(40, 50, PH_NAMED, 1, 77));
    /* The name that it went to is new, so the one it came from is gone. */
    EXPECT(&names, PH_VERDICT_BAD, "saw that a is file", at(0, 10, PH_ADD, 0, 77), at(20, 90, PH_MOVE, 0, 0),
           at(30, 40, PH_NAMED, 1, 77), at(50, 60, PH_NAMED, 0, 77));
    EXPECT(&names, PH_VERDICT_BAD, "moved to b", at(0, 10, PH_ADD, 0, 77), at(20, 30, PH_MOVE, 0, 0),
           at(40, 50, PH_MOVE, 0, 0));
    EXPECT(&names, PH_VERDICT_GOOD, NULL, at(0, 10, PH_ADD, 0, 77), at(0, 10, PH_ADD, 1, 78),
           at(20, 30, PH_SWAP, 0, 0), at(40, 50, PH_NAMED, 0, 78), at(40, 50, PH_NAMED, 1, 77));
}

static void test_a_rename_that_raced_another_may_have_done_nothing(void)
{
    EXPECT(&names, PH_VERDICT_GOOD, NULL, at(0, 10, PH_ADD, 0, 77), at(20, 30, PH_MOVE, 0, 0),
           at(25, 35, PH_MOVE, 0, 0), at(40, 50, PH_NAMED, 1, 77));
}

static void test_a_stale_number_of_links_is_found(void)
{
    EXPECT(&names, PH_VERDICT_GOOD, NULL, at(0, 10, PH_ADD, 0, 1), at(20, 30, PH_ADD, 1, 1),
           at(40, 50, PH_COUNT, 0, 2));
    EXPECT(&names, PH_VERDICT_BAD, "saw 1 names", at(0, 10, PH_ADD, 0, 1), at(20, 30, PH_ADD, 1, 1),
           at(40, 50, PH_COUNT, 0, 1));
}

static void test_a_removed_file_has_no_names(void)
{
    struct ph_event alive = at(40, 50, PH_ALIVE, 0, 77);

    EXPECT(&names, PH_VERDICT_GOOD, NULL, at(0, 10, PH_ADD, 0, 77), at(20, 30, PH_DROP, 0, 0), alive);
    alive.extra = 1;
    EXPECT(&names, PH_VERDICT_BAD, "one or more names", at(0, 10, PH_ADD, 0, 77), at(20, 30, PH_DROP, 0, 0),
           alive);
}

static void write_log(uint8_t *log, const uint64_t *numbers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        for (size_t word = 0; word < PH_RECORD_BYTES / sizeof(uint64_t); word++) {
            uint64_t number = GUINT64_TO_LE(numbers[i]);

            memcpy(log + i * PH_RECORD_BYTES + word * sizeof number, &number, sizeof number);
        }
    }
}

static bool number_log(struct ph_event *events, size_t count, const uint8_t *log, size_t len,
                       const char *words)
{
    char *said = NULL;
    size_t said_len;
    FILE *out = open_memstream(&said, &said_len);
    bool good = ph_log_number(0, events, count, log, len, out);

    fclose(out);
    if (words && !strstr(said, words))
        g_error("the report does not say \"%s\": %s", words, said);
    free(said);
    return good;
}

static void test_a_log_grows_in_the_order_of_time(void)
{
    uint8_t log[3 * PH_RECORD_BYTES];
    const uint64_t order[] = {11, 22, 33};
    struct ph_event right[] = {at(0, 10, PH_APPEND, 0, 11), at(0, 30, PH_APPEND, 0, 33),
                               at(0, 20, PH_APPEND, 0, 22), at(40, 50, PH_LENGTH, 0, sizeof log)};
    struct ph_event late[] = {at(0, 10, PH_APPEND, 0, 22), at(20, 30, PH_APPEND, 0, 11),
                              at(40, 50, PH_APPEND, 0, 33)};
    struct ph_event shorter[] = {at(0, 10, PH_APPEND, 0, 11), at(0, 10, PH_APPEND, 0, 22),
                                 at(0, 10, PH_APPEND, 0, 33), at(40, 50, PH_LENGTH, 0, 2 * PH_RECORD_BYTES)};

    write_log(log, order, G_N_ELEMENTS(order));
    right[3].extra = ph_log_hash(0, log, sizeof log);
    g_assert_true(number_log(right, G_N_ELEMENTS(right), log, sizeof log, NULL));
    expect(&records, right, G_N_ELEMENTS(right), PH_VERDICT_GOOD, NULL);
    g_assert_true(number_log(late, G_N_ELEMENTS(late), log, sizeof log, NULL));
    expect(&records, late, G_N_ELEMENTS(late), PH_VERDICT_BAD, "appended record 1");
    g_assert_true(number_log(shorter, G_N_ELEMENTS(shorter), log, sizeof log, NULL));
    expect(&records, shorter, G_N_ELEMENTS(shorter), PH_VERDICT_BAD, "possible at that time: 3 records");
}

static void test_lost_doubled_and_torn_records_are_found(void)
{
    uint8_t log[3 * PH_RECORD_BYTES];
    const uint64_t lost[] = {11, 22, 44}, doubled[] = {11, 22, 22};
    struct ph_event event[] = {at(0, 10, PH_APPEND, 0, 11), at(0, 10, PH_APPEND, 0, 22),
                               at(0, 10, PH_APPEND, 0, 33)};
    struct ph_event again[] = {event[0], event[1]};
    struct ph_event seen[] = {event[0], event[1], event[2], at(0, 10, PH_LENGTH, 0, PH_RECORD_BYTES)};
    const uint64_t order[] = {11, 22, 33};

    write_log(log, lost, G_N_ELEMENTS(lost));
    g_assert_false(number_log(event, G_N_ELEMENTS(event), log, sizeof log, "is there 0 times"));
    write_log(log, doubled, G_N_ELEMENTS(doubled));
    g_assert_false(number_log(again, G_N_ELEMENTS(again), log, sizeof log, "is there 2 times"));
    write_log(log, order, G_N_ELEMENTS(order));
    log[PH_RECORD_BYTES + 20] ^= 1;
    g_assert_false(number_log(seen, G_N_ELEMENTS(seen), log, sizeof log, "record 1 is torn"));
    write_log(log, order, G_N_ELEMENTS(order));
    seen[0].value = 11;
    seen[1].value = 22;
    seen[3].extra = ph_log_hash(0, log + PH_RECORD_BYTES, PH_RECORD_BYTES);
    g_assert_false(number_log(seen, G_N_ELEMENTS(seen), log, sizeof log, "no beginning"));
}

/* A register as it is, used by several workers at random; then one read is made to see what
 * had been replaced already. */
static size_t simulate(GRand *rand, struct ph_event *events, unsigned workers)
{
    uint64_t now[PH_WORKERS_MAX] = {0}, state = 0, time = 0;
    size_t count = 0;

    while (count < EVENTS_MAX) {
        unsigned worker = (unsigned) g_rand_int_range(rand, 0, (int) workers);
        bool writes = g_rand_int_range(rand, 0, 3) == 0;
        struct ph_event *event = &events[count];

        /* It happens at `time`, and its begin and end lie somewhere around that. */
        time += 10;
        if (now[worker] >= time)
            continue;
        if (writes)
            state = count + 1;
        *event = at(MAX(now[worker] + 1, time - (uint64_t) g_rand_int_range(rand, 0, 60) * (time > 60)),
                    time + (uint64_t) g_rand_int_range(rand, 0, 60), writes ? PH_SET : PH_GET, 0, state);
        event->begin_ns = MIN(event->begin_ns, time);
        event->worker = (uint8_t) worker;
        now[worker] = event->end_ns;
        count++;
    }
    return count;
}

static bool plant_stale_read(GRand *rand, struct ph_event *events, size_t count)
{
    for (unsigned attempt = 0; attempt < 10000; attempt++) {
        struct ph_event *read = &events[g_rand_int_range(rand, 0, (int) count)];
        const struct ph_event *old = &events[g_rand_int_range(rand, 0, (int) count)];

        if (read->deed != PH_GET || old->deed != PH_SET || old->end_ns >= read->begin_ns)
            continue;
        for (size_t i = 0; i < count; i++) {
            if (events[i].deed == PH_SET && events[i].begin_ns > old->end_ns &&
                events[i].end_ns < read->begin_ns) {
                read->value = old->value;
                return true;
            }
        }
    }
    return false;
}

static void test_random_histories_are_right_until_a_read_is_made_stale(void)
{
    g_autofree struct ph_event *events = g_new0(struct ph_event, EVENTS_MAX);

    for (unsigned seed = 1; seed <= 30; seed++) {
        g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
        size_t count = simulate(rand, events, 2 + seed % 9);

        expect(&value, events, count, PH_VERDICT_GOOD, NULL);
        g_assert_true(plant_stale_read(rand, events, count));
        expect(&value, events, count, PH_VERDICT_BAD, "VIOLATION of a word");
    }
}

static const struct ph_object words = {"the words", PH_MODEL_WORDS, {"a", "b", "c", "d"}};

static struct ph_event with(uint32_t transaction, struct ph_event event)
{
    event.transaction = transaction;
    return event;
}

static void test_nobody_sees_a_part_of_a_transaction(void)
{
    struct ph_event one = with(1, at(0, 100, PH_SET, 0, 7)), two = with(1, at(0, 100, PH_SET, 1, 8));

    EXPECT(&words, PH_VERDICT_GOOD, NULL, one, two, at(10, 20, PH_GET, 0, 0), at(30, 40, PH_GET, 1, 8),
           at(50, 60, PH_GET, 0, 7));
    EXPECT(&words, PH_VERDICT_BAD, "saw value 0 in b", one, two, at(10, 20, PH_GET, 0, 7),
           at(30, 40, PH_GET, 1, 0));
    /* Two changes of their own may be seen one by one. */
    EXPECT(&words, PH_VERDICT_GOOD, NULL, at(0, 100, PH_SET, 0, 7), at(0, 100, PH_SET, 1, 8),
           at(10, 20, PH_GET, 0, 7), at(30, 40, PH_GET, 1, 0));
}

static void test_a_transaction_in_doubt_happened_or_not(void)
{
    struct ph_event one = with(1, at(0, 100, PH_SET, 0, 7)), two = with(1, at(0, 100, PH_SET, 1, 8));

    one.maybe = two.maybe = true;
    EXPECT(&words, PH_VERDICT_GOOD, NULL, one, two, at(200, 210, PH_GET, 0, 0), at(220, 230, PH_GET, 1, 0));
    EXPECT(&words, PH_VERDICT_GOOD, NULL, one, two, at(200, 210, PH_GET, 0, 7), at(220, 230, PH_GET, 1, 8));
    EXPECT(&words, PH_VERDICT_BAD, "in the same moment", one, two, at(200, 210, PH_GET, 0, 7),
           at(220, 230, PH_GET, 1, 0));
}

static void test_names_of_a_transaction_change_in_order(void)
{
    /* "a" is made, and moved to "b" in the same moment: nobody sees it under its first name. */
    struct ph_event make = with(1, at(0, 100, PH_ADD, 0, 5)), move = with(1, at(0, 100, PH_MOVE, 0, 0));

    EXPECT(&names, PH_VERDICT_GOOD, NULL, make, move, at(10, 20, PH_NAMED, 1, 5), at(30, 40, PH_HAS, 0, 0));
    EXPECT(&names, PH_VERDICT_BAD, "saw that a is there", make, move, at(10, 20, PH_HAS, 0, 1));
    /* The other way round there is nothing to be moved. */
    EXPECT(&names, PH_VERDICT_BAD, "in the same moment", move, make);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name) g_test_add_func("/coherence/checker/" #name, test_##name)
    ADD(a_read_of_the_last_value_is_right);
    ADD(a_stale_read_is_found);
    ADD(reads_that_go_back_in_time_are_found);
    ADD(a_value_from_the_future_is_found);
    ADD(of_two_exclusive_creators_one_wins);
    ADD(a_stale_name_is_found);
    ADD(a_rename_is_seen_at_both_names);
    ADD(a_rename_that_raced_another_may_have_done_nothing);
    ADD(a_stale_number_of_links_is_found);
    ADD(a_removed_file_has_no_names);
    ADD(a_log_grows_in_the_order_of_time);
    ADD(lost_doubled_and_torn_records_are_found);
    ADD(random_histories_are_right_until_a_read_is_made_stale);
    ADD(nobody_sees_a_part_of_a_transaction);
    ADD(a_transaction_in_doubt_happened_or_not);
    ADD(names_of_a_transaction_change_in_order);
    return g_test_run();
}
