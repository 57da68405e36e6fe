/* Quotas in write-back: no more is answered here than is reserved of them, and nothing stays charged. */
#include "client/core/tests/wb_steps.h"
#include "ph_commands.h"

enum { PLENTY = 1 << 30, USERS = 1, BOTH = 3, USER = 1000, KIB = 1024, FIRST = 10, IDLE_MS = 2500 };

static void begin(struct wb_steps *steps, unsigned quotas_of, uint64_t bytes, uint64_t objects)
{
    wb_steps_begin(steps, PLENTY);
    struct wb_model *server = steps->world.server;
    server->quotas_of = quotas_of;
    server->quota.limited = bytes != UINT64_MAX || objects != UINT64_MAX;
    server->quota.bytes = bytes;
    server->quota.objects = objects;
    /* It is found out about when space is asked for the next time: what was reserved is too much to keep. */
    wb_world_tick(&steps->world, IDLE_MS);
    wb_world_tick(&steps->world, IDLE_MS);
    wb_world_settle(&steps->world);
}

/* The user's first change is sent on, since nothing is known of the quota; then it is. */
static void get_known(struct wb_steps *steps)
{
    wb_world_tick(&steps->world, 1000);
    g_assert_cmpuint(wb_create(steps, WB_ROOT, "first", FIRST, 1), ==, UINT32_MAX);
    wb_world_settle(&steps->world);
    wb_world_tick(&steps->world, 1000);
    wb_world_settle(&steps->world);
}

static bool is_answered(struct wb_steps *steps, size_t len, uint64_t offset)
{
    struct wb_asked *asked = wb_write_later(steps, FIRST, 1, offset, len);
    bool here = asked->done;
    wb_world_forget(asked);
    return here;
}

/* What the next question for space says of USER as a user. */
static Pohmel__QuotaWish wish(struct wb_steps *steps)
{
    Pohmel__QuotaWish found = POHMEL__QUOTA_WISH__INIT;
    Pohmel__Caller caller = POHMEL__CALLER__INIT;
    Pohmel__StatfsRequest message = POHMEL__STATFS_REQUEST__INIT;
    message.caller = &caller;
    message.object = WB_ROOT;
    message.reserve = true;
    message.more = PLENTY;
    wb_world_forget(wb_world_ask(&steps->world, PH_CMD_STATFS, &message, NULL));
    struct wb_sent *sent = wb_world_find(&steps->world, PH_CMD_STATFS);
    g_assert_nonnull(sent);
    const Pohmel__StatfsRequest *asked = (const Pohmel__StatfsRequest *) sent->message;
    for (size_t i = 0; i < asked->n_quotas; i++)
        if (asked->quotas[i]->of == USERS && asked->quotas[i]->id == USER)
            found = *asked->quotas[i];
    wb_world_settle(&steps->world);
    return found;
}

static void test_without_quotas_nothing_is_asked_for(void)
{
    struct wb_steps steps;
    begin(&steps, 0, 0, 0);
    g_assert_cmpuint(wb_create(&steps, WB_ROOT, "first", FIRST, 1), ==, PH_ST_OK);
    g_assert_true(is_answered(&steps, 64 * KIB, 0));
    g_assert_cmpuint(wish(&steps).of, ==, 0);
    wb_steps_end(&steps);
}

static void test_who_has_no_limit_is_answered_here(void)
{
    struct wb_steps steps;
    begin(&steps, BOTH, UINT64_MAX, UINT64_MAX);
    get_known(&steps);
    g_assert_true(is_answered(&steps, 64 * KIB, 0));
    wb_steps_end(&steps);
}

static void test_a_write_that_does_not_fit_is_sent_on(void)
{
    struct wb_steps steps;
    begin(&steps, USERS, 256 * KIB, UINT64_MAX);
    get_known(&steps);
    unsigned here = 0;
    while (here < 100 && is_answered(&steps, 16 * KIB, (uint64_t) here * 16 * KIB))
        here++;
    g_assert_cmpuint(here, >, 4);
    g_assert_cmpuint(here, <=, 16);
    wb_steps_end(&steps);
}

static void test_objects_that_do_not_fit_are_sent_on(void)
{
    struct wb_steps steps;
    begin(&steps, USERS, UINT64_MAX, 8);
    get_known(&steps);
    unsigned here = 0;
    uint32_t status = PH_ST_OK;
    for (; here < 100 && status == PH_ST_OK; here++) {
        g_autofree char *name = g_strdup_printf("f%u", here);
        status = wb_create(&steps, WB_ROOT, name, FIRST + 1 + here, 0);
    }
    g_assert_cmpuint(status, ==, UINT32_MAX);
    g_assert_cmpuint(here, >, 3);
    g_assert_cmpuint(here, <=, 9);
    wb_steps_end(&steps);
}

/* What is sent is spent, what vanishes is given back, and in the end nothing is left charged. */
static void test_nothing_stays_charged(void)
{
    struct wb_steps steps;
    begin(&steps, BOTH, 64 << 20, 100000);
    get_known(&steps);
    for (uint64_t i = 1; i <= 20; i++) {
        g_autofree char *name = g_strdup_printf("f%u", (unsigned) i);
        g_assert_cmpuint(wb_create(&steps, WB_ROOT, name, FIRST + i, 1 + i), ==, PH_ST_OK);
        g_assert_cmpuint(wb_write(&steps, FIRST + i, 1 + i, 0, "text"), ==, PH_ST_OK);
        g_assert_cmpuint(wb_close_handle(&steps, FIRST + i, 1 + i), ==, PH_ST_OK);
        if (i % 3 == 0)
            g_assert_cmpuint(wb_remove(&steps, WB_ROOT, name), ==, PH_ST_OK);
        else if (i % 5 == 1)
            g_assert_cmpuint(wb_rename(&steps, WB_ROOT, name, "moved"), ==, PH_ST_OK);
    }
    Pohmel__QuotaWish dirty = wish(&steps);
    g_assert_cmpuint(dirty.objects_needed, >, 0);
    g_assert_cmpuint(dirty.needed, >=, dirty.objects_needed * 4 * KIB);
    wb_steps_flush(&steps);
    Pohmel__QuotaWish clean = wish(&steps);
    g_assert_cmpuint(clean.of, ==, USERS);
    g_assert_cmpuint(clean.needed, ==, 0);
    g_assert_cmpuint(clean.objects_needed, ==, 0);
    wb_steps_end(&steps);
}

static void test_a_lost_session_has_nothing_reserved(void)
{
    struct wb_steps steps;
    begin(&steps, USERS, 64 << 20, 1000);
    get_known(&steps);
    g_assert_true(is_answered(&steps, 64 * KIB, 0));
    wb_steps_flush(&steps);
    wb_world_lose(&steps.world);
    wb_world_open(&steps.world);
    wb_world_settle(&steps.world);
    g_assert_cmpuint(wb_open(&steps, FIRST, 7), ==, UINT32_MAX);
    wb_world_settle(&steps.world);
    Pohmel__QuotaWish after = wish(&steps);
    g_assert_cmpuint(after.needed, ==, 0);
    wb_steps_end(&steps);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/wb-quota/none", test_without_quotas_nothing_is_asked_for);
    g_test_add_func("/wb-quota/no-limit", test_who_has_no_limit_is_answered_here);
    g_test_add_func("/wb-quota/bytes", test_a_write_that_does_not_fit_is_sent_on);
    g_test_add_func("/wb-quota/objects", test_objects_that_do_not_fit_are_sent_on);
    g_test_add_func("/wb-quota/nothing-stays-charged", test_nothing_stays_charged);
    g_test_add_func("/wb-quota/lost-session", test_a_lost_session_has_nothing_reserved);
    return g_test_run();
}
