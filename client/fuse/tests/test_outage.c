/* What is told of a server that cannot be used: once when it lasts, and its end. */
#include <glib.h>

#include "client/fuse/outage.h"

enum { START_MS = 1000000 };

static void test_short_ones_are_not_told(void)
{
    struct ph_outage outage = {0};
    unsigned seconds;
    for (uint64_t ms = 0; ms < PH_OUTAGE_SAID_AFTER_MS; ms += 500)
        g_assert_false(ph_outage_goes_on(&outage, START_MS + ms));
    g_assert_false(ph_outage_ends(&outage, START_MS + PH_OUTAGE_SAID_AFTER_MS, &seconds));
    g_assert_false(ph_outage_goes_on(&outage, START_MS + PH_OUTAGE_SAID_AFTER_MS + 1)); /* another one */
}

static void test_long_ones_are_told_once(void)
{
    struct ph_outage outage = {0};
    unsigned seconds = 0;
    g_assert_false(ph_outage_goes_on(&outage, START_MS));
    g_assert_true(ph_outage_goes_on(&outage, START_MS + PH_OUTAGE_SAID_AFTER_MS));
    g_assert_false(ph_outage_goes_on(&outage, START_MS + 60000));
    g_assert_true(ph_outage_ends(&outage, START_MS + 90500, &seconds));
    g_assert_cmpuint(seconds, ==, 90);
    g_assert_false(ph_outage_ends(&outage, START_MS + 100000, &seconds));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/fuse/outage/short-ones-are-not-told", test_short_ones_are_not_told);
    g_test_add_func("/fuse/outage/long-ones-are-told-once-and-their-end", test_long_ones_are_told_once);
    return g_test_run();
}
