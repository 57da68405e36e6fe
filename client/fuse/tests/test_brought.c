#include <glib.h>
#include <string.h>

#include "client/fuse/brought.h"
#include "runtime/base/limits.h"

enum { MORE_THAN_KEPT = 200 };

static struct ph_blob *data_of(const char *text)
{
    return ph_blob_copy((const uint8_t *) text, strlen(text));
}

static void put(struct ph_brought *brought, uint64_t object, uint64_t clock)
{
    const struct ph_cache_ask ask = {.generation = 1, .clock = clock};
    struct ph_blob *data = data_of("data");
    ph_brought_put(brought, object, data, &ask);
    ph_blob_unref(data);
}

static bool take(struct ph_brought *brought, uint64_t object, uint64_t *clock)
{
    struct ph_cache_ask ask;
    struct ph_blob *data = ph_brought_take(brought, object, &ask);
    bool there = data != NULL;
    if (there)
        *clock = ask.clock;
    ph_blob_unref(data);
    return there;
}

static void test_what_was_put_is_taken_once(void)
{
    struct ph_brought *brought = ph_brought_new();
    uint64_t clock = 0;
    put(brought, 7, 1);
    put(brought, 7, 2); /* the later one */
    g_assert_false(take(brought, 8, &clock));
    g_assert_true(take(brought, 7, &clock));
    g_assert_cmpuint(clock, ==, 2);
    g_assert_false(take(brought, 7, &clock));
    ph_brought_free(brought);
}

static void test_no_more_is_asked_for_when_nobody_reads_it(void)
{
    struct ph_brought *brought = ph_brought_new();
    uint64_t clock, object = 1;
    g_assert_cmpuint(ph_brought_wanted(brought), ==, PH_SMALL_FILE_MAX_BYTES);
    while (object < MORE_THAN_KEPT && ph_brought_wanted(brought) > 0)
        put(brought, object++, 1);
    g_assert_cmpuint(object, <, MORE_THAN_KEPT);
    g_assert_true(take(brought, 1, &clock)); /* one that is read, at last */
    g_assert_cmpuint(ph_brought_wanted(brought), >, 0);
    while (ph_brought_wanted(brought) > 0)
        put(brought, object++, 1);
    ph_brought_missed(brought); /* it would have been of use */
    g_assert_cmpuint(ph_brought_wanted(brought), >, 0);
    ph_brought_free(brought);
}

static void test_few_are_kept_those_that_came_last(void)
{
    struct ph_brought *brought = ph_brought_new();
    uint64_t clock, kept = 0;
    for (uint64_t object = 1; object <= MORE_THAN_KEPT; object++)
        put(brought, object, object);
    g_assert_false(take(brought, 1, &clock));
    g_assert_true(take(brought, MORE_THAN_KEPT, &clock));
    for (uint64_t object = 1; object <= MORE_THAN_KEPT; object++)
        kept += take(brought, object, &clock);
    g_assert_cmpuint(kept, <, MORE_THAN_KEPT / 2);
    ph_brought_free(brought);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/brought/what-was-put-is-taken-once", test_what_was_put_is_taken_once);
    g_test_add_func("/brought/no-more-is-asked-for-when-nobody-reads-it",
                    test_no_more_is_asked_for_when_nobody_reads_it);
    g_test_add_func("/brought/few-are-kept-those-that-came-last", test_few_are_kept_those_that_came_last);
    return g_test_run();
}
