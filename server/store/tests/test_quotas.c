/* Quotas: what is promised to sessions of what the kernel leaves, which is pretended here. */
#include "server/store/kernel_quota.h"
#include "server/store/tests/fixture.h"

enum { ROOT = 1, SOMEBODY_ELSE = 4242, ALICE = 4001, STAFF = 4100, KIB = 1024 };

static struct {
    unsigned kinds;
    bool user_limited, group_limited;
    struct ph_quota_amount user, group;
} kernel;

/* In the place of the kernel's. */
unsigned ph_kernel_quota_kinds(int fd)
{
    return kernel.kinds;
}

bool ph_kernel_quota_left(int fd, enum ph_quota_of of, uint32_t id, struct ph_quota_amount *left)
{
    bool is_alice = of == PH_QUOTA_OF_USER && id == ALICE, is_staff = of == PH_QUOTA_OF_GROUP && id == STAFF;
    *left = of == PH_QUOTA_OF_USER ? kernel.user : kernel.group;
    return (is_alice && kernel.user_limited) || (is_staff && kernel.group_limited);
}

/* SESSION asks for what it needs and may need of the quota of ALICE or STAFF. */
static Pohmel__StatfsReply reserve(struct fixture *fx, uint64_t session, uint32_t of, uint32_t id,
                                   struct ph_quota_amount needed, struct ph_quota_amount more)
{
    Pohmel__QuotaWish wish = POHMEL__QUOTA_WISH__INIT, *wishes[] = {&wish};
    Pohmel__StatfsRequest request = POHMEL__STATFS_REQUEST__INIT;
    Pohmel__StatfsReply reply = POHMEL__STATFS_REPLY__INIT;
    uint64_t own = fx->call.session;
    request.caller = &fx->caller;
    request.object = ROOT;
    request.reserve = true;
    request.n_quotas = of != 0;
    request.quotas = wishes;
    wish.of = of;
    wish.id = id;
    wish.needed = needed.bytes;
    wish.more = more.bytes;
    wish.objects_needed = needed.objects;
    wish.objects_more = more.objects;
    fx_begin(fx);
    fx->call.session = session;
    fx_ok(fx, fx->store->ops->statfs(fx->store->self, &fx->call, &request, &reply));
    fx->call.session = own;
    return reply;
}

static const struct ph_quota_amount nothing = {0};

static void test_r_6_12_nothing_is_said_where_there_are_none(void)
{
    struct fixture fx = {0};
    fx_setup(&fx);
    kernel.kinds = 0;
    Pohmel__StatfsReply reply =
        reserve(&fx, SOMEBODY_ELSE, PH_QUOTA_OF_USER, ALICE, (struct ph_quota_amount){100, 1}, nothing);
    g_assert_cmpuint(reply.quotas_of, ==, 0);
    g_assert_cmpuint(reply.n_quotas, ==, 0);
    fx_teardown(&fx);
}

static void test_r_6_12_who_has_no_limit_need_not_reserve(void)
{
    struct fixture fx = {0};
    fx_setup(&fx);
    kernel.kinds = PH_QUOTA_OF_USER;
    kernel.user_limited = true;
    Pohmel__StatfsReply reply =
        reserve(&fx, SOMEBODY_ELSE, PH_QUOTA_OF_USER, ALICE + 1, (struct ph_quota_amount){100, 1}, nothing);
    g_assert_cmpuint(reply.quotas_of, ==, PH_QUOTA_OF_USER);
    g_assert_cmpuint(reply.n_quotas, ==, 1);
    g_assert_false(reply.quotas[0]->limited);
    /* Groups are not asked about where only users have quotas. */
    reply = reserve(&fx, SOMEBODY_ELSE, PH_QUOTA_OF_GROUP, STAFF, (struct ph_quota_amount){100, 1}, nothing);
    g_assert_cmpuint(reply.n_quotas, ==, 0);
    fx_teardown(&fx);
}

static void test_r_6_12_what_is_reserved_of_a_quota_no_other_session_takes(void)
{
    struct fixture fx = {0};
    char bytes[64 * KIB] = {1};
    fx_setup(&fx);
    kernel.kinds = PH_QUOTA_OF_USER | PH_QUOTA_OF_GROUP;
    kernel.user_limited = true;
    kernel.user = (struct ph_quota_amount){.bytes = 256 * KIB, .objects = 10};
    fx_as(&fx, ALICE, STAFF);
    fx_ok(&fx, fx_create(&fx, ROOT, "f", 0644, 1, 3));
    uint64_t f = fx.attr->object;
    Pohmel__StatfsReply reply = reserve(&fx, SOMEBODY_ELSE, PH_QUOTA_OF_USER, ALICE,
                                        (struct ph_quota_amount){.bytes = 200 * KIB, .objects = 9},
                                        (struct ph_quota_amount){.bytes = 1 << 30, .objects = 1000});
    g_assert_true(reply.quotas[0]->limited);
    g_assert_cmpuint(reply.quotas[0]->bytes, ==, 214 * KIB); /* and a quarter of the rest */
    g_assert_cmpuint(reply.quotas[0]->objects, ==, 9);
    fx_is(fx_write(&fx, f, 1, 0, bytes, 64 * KIB, false, true), PH_ST_QUOTA);
    fx_ok(&fx, fx_write(&fx, f, 1, 0, bytes, 16 * KIB, false, true));
    fx_ok(&fx, fx_create(&fx, ROOT, "g", 0644, 2, 3));
    reserve(&fx, SOMEBODY_ELSE, PH_QUOTA_OF_USER, ALICE, (struct ph_quota_amount){.bytes = 0, .objects = 10},
            nothing);
    fx_is(fx_create(&fx, ROOT, "h", 0644, 3, 3), PH_ST_QUOTA);
    fx_is(fx_mkdir(&fx, ROOT, "d", 0755), PH_ST_QUOTA);
    /* What is there can be opened all the same, and others are not concerned. */
    fx_ok(&fx, fx_create(&fx, ROOT, "g", 0644, 4, 3));
    fx_as(&fx, ALICE + 1, STAFF);
    fx_ok(&fx, fx_create(&fx, ROOT, "h", 0644, 5, 3));
    /* Who asks for another quota has given this one back. */
    fx_as(&fx, ALICE, STAFF);
    reserve(&fx, SOMEBODY_ELSE, 0, 0, nothing, nothing);
    fx_ok(&fx, fx_write(&fx, f, 1, 0, bytes, 64 * KIB, false, true));
    fx_ok(&fx, fx_mkdir(&fx, ROOT, "d", 0755));
    fx_teardown(&fx);
}

static void test_r_6_12_a_session_uses_what_it_has_reserved(void)
{
    struct fixture fx = {0};
    char bytes[64 * KIB] = {1};
    fx_setup(&fx);
    kernel.kinds = PH_QUOTA_OF_GROUP;
    kernel.group_limited = true;
    kernel.group = (struct ph_quota_amount){.bytes = 128 * KIB, .objects = UINT64_MAX};
    fx_as(&fx, ALICE, STAFF);
    fx_ok(&fx, fx_create(&fx, ROOT, "f", 0644, 1, 3));
    uint64_t f = fx.attr->object;
    Pohmel__StatfsReply reply = reserve(&fx, fx.call.session, PH_QUOTA_OF_GROUP, STAFF,
                                        (struct ph_quota_amount){.bytes = 64 * KIB}, nothing);
    g_assert_cmpuint(reply.quotas[0]->bytes, ==, 64 * KIB);
    reserve(&fx, SOMEBODY_ELSE, PH_QUOTA_OF_GROUP, STAFF, (struct ph_quota_amount){.bytes = 64 * KIB},
            nothing);
    /* Somebody else took some behind the server: the promise stands, as far as the kernel lets it. */
    kernel.group.bytes = 64 * KIB;
    fx_ok(&fx, fx_write(&fx, f, 1, 0, bytes, 64 * KIB, false, true));
    fx_is(fx_write(&fx, f, 1, 64 * KIB, bytes, 4 * KIB, false, true), PH_ST_QUOTA);
    fx.store->end_session(fx.store->self, SOMEBODY_ELSE);
    fx_ok(&fx, fx_write(&fx, f, 1, 64 * KIB, bytes, 4 * KIB, false, true));
    fx_teardown(&fx);
}

/* At random: the table is never larger than what sessions have, and what is promised is never more than there
 * is. */
static void test_promises_of_quotas_are_kept(void)
{
    struct ph_quotas quotas = {0};
    uint64_t left[4] = {1000, 2000, 10, 0}, promised[4][4] = {{0}};
    for (int round = 0; round < 20000; round++) {
        uint32_t id = (uint32_t) g_test_rand_int_range(0, 4);
        uint64_t session = (uint64_t) g_test_rand_int_range(0, 4), total = 0;
        uint64_t bytes = (uint64_t) g_test_rand_int_range(0, 600);
        struct ph_quota_amount amount = {.bytes = bytes}, beyond, others;
        switch (g_test_rand_int_range(0, 4)) {
        case 0: /* what was used goes from what is left */
            amount.bytes = MIN(bytes, promised[id][session]);
            ph_quotas_use(&quotas, session, PH_QUOTA_OF_USER, id, amount, &beyond, &others);
            g_assert_cmpuint(beyond.bytes, ==, 0);
            promised[id][session] -= amount.bytes;
            left[id] -= amount.bytes;
            break;
        case 1:
            ph_quotas_end(&quotas, session, NULL, NULL);
            for (int i = 0; i < 4; i++)
                promised[i][session] = 0;
            break;
        default:
            promised[id][session] =
                ph_quotas_set(&quotas, session, PH_QUOTA_OF_USER, id,
                              (struct ph_quota_amount){.bytes = MIN(bytes, promised[id][session])},
                              (struct ph_quota_amount){.bytes = bytes},
                              (struct ph_quota_amount){.bytes = left[id]})
                    .bytes;
        }
        for (int i = 0; i < 4; i++)
            total += promised[id][i];
        g_assert_cmpuint(total, <=, left[id]);
        left[id] += left[id] < 500 && id < 2 ? 500 : 0;
    }
    for (uint64_t session = 0; session < 4; session++)
        ph_quotas_end(&quotas, session, NULL, NULL);
    g_assert_cmpuint(quotas.count, ==, 0);
    ph_quotas_clear(&quotas);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/quotas/r-6.12/none", test_r_6_12_nothing_is_said_where_there_are_none);
    g_test_add_func("/quotas/r-6.12/no-limit", test_r_6_12_who_has_no_limit_need_not_reserve);
    g_test_add_func("/quotas/r-6.12/others", test_r_6_12_what_is_reserved_of_a_quota_no_other_session_takes);
    g_test_add_func("/quotas/r-6.12/own", test_r_6_12_a_session_uses_what_it_has_reserved);
    g_test_add_func("/quotas/promises-are-kept", test_promises_of_quotas_are_kept);
    return g_test_run();
}
