/* Glimpses: who has an object exclusively tells those who look at it, and keeps its lease; and what becomes
 * of questions that are not answered, or answered wrongly. docs/protocol.md, section 9.5. */
#include <string.h>
#include <sys/stat.h>

#include "runtime/base/limits.h"
#include "server/core/lease.h"
#include "server/core/tests/caching_world.h"

enum { FILE_A = 100, SIZE = 4711, START_MS = 1000, NOW_S = 5000 };

struct pair {
    struct world world;
    struct client writer, reader;
    uint64_t lease; /* of WRITER, exclusive, on "a" */
};

static void set_up(struct pair *pair, bool reader_caches)
{
    *pair = (struct pair){0};
    world_init(&pair->world);
    ph_fake_store_give_name(pair->world.fake, "a", FILE_A);
    client_init_telling(&pair->writer, &pair->world, 1, 1);
    client_init(&pair->reader, &pair->world, 2, 1, reader_caches);
    pair->lease = client_acquired(&pair->writer, client_acquire(&pair->writer, FILE_A, PH_LEASE_EXCLUSIVE));
}

static void tear_down(struct pair *pair)
{
    client_clear(&pair->writer);
    client_clear(&pair->reader);
    world_clear(&pair->world);
}

static uint64_t look(struct pair *pair)
{
    return client_getattr(&pair->reader, FILE_A, NULL);
}

/* READER, which caches, has looked: the id of its request. */
static uint64_t set_up_asking(struct pair *pair)
{
    set_up(pair, true);
    return look(pair);
}

/* The number of the INDEXth question to WRITER. */
static uint64_t asked(const struct pair *pair, guint index)
{
    GBytes *bytes;
    Pohmel__GlimpseEvent *event;
    uint64_t question;

    g_assert_cmpuint(index, <, pair->writer.glimpses->len);
    bytes = pair->writer.glimpses->pdata[index];
    event = pohmel__glimpse_event__unpack(NULL, g_bytes_get_size(bytes), g_bytes_get_data(bytes, NULL));
    g_assert_nonnull(event);
    g_assert_cmpuint(event->object, ==, FILE_A);
    g_assert_cmpuint(event->lease, ==, pair->lease);
    question = event->question;
    pohmel__glimpse_event__free_unpacked(event, NULL);
    return question;
}

/* What an answer may be made of. */
struct answer {
    Pohmel__GlimpseAnswerRequest message;
    Pohmel__Attr attr;
    Pohmel__Time time, changed;
};

static struct answer *answer_new(const struct pair *pair, uint64_t question)
{
    struct answer *answer = g_new0(struct answer, 1);

    pohmel__glimpse_answer_request__init(&answer->message);
    pohmel__attr__init(&answer->attr);
    pohmel__time__init(&answer->time);
    pohmel__time__init(&answer->changed);
    answer->time.seconds = answer->changed.seconds = NOW_S - 1;
    answer->attr.object = FILE_A;
    answer->attr.mode = S_IFREG | 0644;
    answer->attr.size = SIZE;
    answer->attr.version = 99;
    answer->attr.accessed = answer->attr.modified = &answer->time;
    answer->attr.changed = &answer->changed;
    answer->message.question = question;
    answer->message.lease = pair->lease;
    answer->message.attr = &answer->attr;
    answer->message.unsent = true;
    return answer;
}

static uint32_t give(struct client *client, struct answer *answer)
{
    return client_status(client, client_send(client, PH_CMD_GLIMPSE_ANSWER, &answer->message.base));
}

/* WRITER answers question INDEX as it should. */
static void tell(struct pair *pair, guint index)
{
    g_autofree struct answer *answer = answer_new(pair, asked(pair, index));

    g_assert_cmpuint(give(&pair->writer, answer), ==, PH_ST_OK);
}

static Pohmel__GetattrReply *looked(struct pair *pair, uint64_t id)
{
    return (void *) client_message(&pair->reader, id, &pohmel__getattr_reply__descriptor);
}

/* ID was answered with what WRITER said. */
static void check_told(struct pair *pair, uint64_t id)
{
    Pohmel__GetattrReply *reply = looked(pair, id);

    g_assert_cmpuint(reply->attr->size, ==, SIZE);
    g_assert_cmpint(reply->attr->modified->seconds, ==, NOW_S - 1);
    g_assert_cmpuint(reply->attr->lease, ==, 0);
    g_assert_cmpuint(reply->attr->lease_mode, ==, PH_LEASE_NONE);
    g_assert_cmpuint(reply->attr->version, ==, 0);
    pohmel__getattr_reply__free_unpacked(reply, NULL);
}

/* The lease was asked for, instead; it is given back, and ID answered by the store. */
static void check_recalled(struct pair *pair, uint64_t id)
{
    Pohmel__GetattrReply *reply;

    g_assert_cmpuint(client_status(&pair->reader, id), ==, PH_PENDING);
    g_assert_cmpuint(client_recalled(&pair->writer, 0, FILE_A, PH_LEASE_SHARED), ==, pair->lease);
    client_release(&pair->writer, pair->lease, true);
    reply = looked(pair, id);
    g_assert_cmpuint(reply->attr->size, !=, SIZE);
    pohmel__getattr_reply__free_unpacked(reply, NULL);
}

static void test_who_looks_is_told_and_the_lease_stays(void)
{
    struct pair pair;
    uint64_t id;

    for (int caches = 0; caches < 2; caches++) {
        set_up(&pair, caches != 0);
        id = look(&pair);
        g_assert_cmpuint(client_status(&pair.reader, id), ==, PH_PENDING);
        tell(&pair, 0);
        check_told(&pair, id);
        g_assert_cmpuint(pair.writer.recalls->len, ==, 0);
        /* An answer is for one question. */
        id = look(&pair);
        g_assert_cmpuint(client_status(&pair.reader, id), ==, PH_PENDING);
        tell(&pair, 1);
        check_told(&pair, id);
        tear_down(&pair);
    }
}

static void test_a_lookup_is_told_as_well(void)
{
    struct pair pair;
    Pohmel__LookupReply *reply;
    uint64_t id;

    set_up(&pair, true);
    id = client_lookup(&pair.reader, "a", NULL, NULL);
    tell(&pair, 0);
    reply = (void *) client_message(&pair.reader, id, &pohmel__lookup_reply__descriptor);
    g_assert_cmpuint(reply->found[0]->size, ==, SIZE);
    g_assert_cmpuint(reply->found[0]->lease, ==, 0);
    pohmel__lookup_reply__free_unpacked(reply, NULL);
    g_assert_false(client_brought(&pair.reader, id)); /* the data are not those that it told of */
    g_assert_cmpuint(pair.writer.recalls->len, ==, 0);
    tear_down(&pair);
}

static void test_who_cannot_say_gives_the_lease_back(void)
{
    struct pair pair;
    g_autofree struct answer *answer = NULL;
    uint64_t id;

    id = set_up_asking(&pair);
    answer = answer_new(&pair, asked(&pair, 0));
    answer->message.lease = 0;
    answer->message.attr = NULL;
    g_assert_cmpuint(give(&pair.writer, answer), ==, PH_ST_OK);
    check_recalled(&pair, id);
    tear_down(&pair);
}

/* That costs no recall, though it may be a while until it was written back. */
static void test_who_will_share_is_not_asked_for_the_lease(void)
{
    struct pair pair;
    g_autofree struct answer *answer = NULL;
    uint64_t id;

    id = set_up_asking(&pair);
    answer = answer_new(&pair, asked(&pair, 0));
    answer->message.lease = 0;
    answer->message.attr = NULL;
    answer->message.sharing = true;
    g_assert_cmpuint(give(&pair.writer, answer), ==, PH_ST_OK);
    g_assert_cmpuint(client_status(&pair.reader, id), ==, PH_PENDING);
    g_assert_cmpuint(pair.writer.recalls->len, ==, 0);
    client_release(&pair.writer, pair.lease, true);
    g_assert_cmpuint(client_status(&pair.reader, id), ==, PH_ST_OK);
    tear_down(&pair);
}

/* Who says so and does not is fenced. */
static void test_who_promises_to_share_has_to(void)
{
    struct pair pair;
    g_autofree struct answer *answer = NULL;
    uint64_t id;

    id = set_up_asking(&pair);
    answer = answer_new(&pair, asked(&pair, 0));
    answer->message.lease = 0;
    answer->message.sharing = true;
    g_assert_cmpuint(give(&pair.writer, answer), ==, PH_ST_OK);
    g_assert_cmpuint(client_status(&pair.reader, id), ==, PH_PENDING);
    world_tick(&pair.world, START_MS + PH_RECALL_TIMEOUT_MS);
    g_assert_cmpuint(pair.writer.fenced, ==, 1);
    world_tick(&pair.world, START_MS + 4 * PH_LEASE_TTL_MS);
    g_assert_cmpuint(client_status(&pair.reader, id), ==, PH_ST_OK);
    tear_down(&pair);
}

static void test_who_does_not_answer_is_asked_for_the_lease(void)
{
    struct pair pair;
    uint64_t id;

    id = set_up_asking(&pair);
    world_tick(&pair.world, START_MS + PH_GLIMPSE_TIMEOUT_MS - 1);
    g_assert_cmpuint(pair.writer.recalls->len, ==, 0);
    world_tick(&pair.world, START_MS + PH_GLIMPSE_TIMEOUT_MS);
    tell(&pair, 0); /* too late: nobody waits for it */
    check_recalled(&pair, id);
    tear_down(&pair);
}

static void test_who_never_answers_is_fenced(void)
{
    struct pair pair;
    uint64_t id;

    id = set_up_asking(&pair);
    world_tick(&pair.world, START_MS + PH_GLIMPSE_TIMEOUT_MS);
    g_assert_cmpuint(client_status(&pair.reader, id), ==, PH_PENDING);
    world_tick(&pair.world, START_MS + PH_GLIMPSE_TIMEOUT_MS + PH_RECALL_TIMEOUT_MS);
    g_assert_cmpuint(pair.writer.fenced, ==, 1);
    world_tick(&pair.world, START_MS + 4 * PH_LEASE_TTL_MS);
    g_assert_cmpuint(client_status(&pair.reader, id), ==, PH_ST_OK);
    tear_down(&pair);
}

/* Each is an answer that nobody may believe. */
static void test_wrong_answers_are_not_believed(void)
{
    for (int wrong = 0; wrong < 8; wrong++) {
        struct pair pair;
        g_autofree struct answer *answer = NULL;
        uint64_t id;

        id = set_up_asking(&pair);
        answer = answer_new(&pair, asked(&pair, 0));
        answer->message.lease += wrong == 0;
        answer->message.attr = wrong == 1 ? NULL : answer->message.attr;
        answer->attr.object += wrong == 2;
        answer->attr.size = wrong == 3 ? UINT64_MAX : SIZE;
        answer->attr.mode = wrong == 4 ? S_IFREG | S_ISUID | 0755 : answer->attr.mode;
        answer->attr.uid = wrong == 5 ? 4711 : answer->attr.uid;
        answer->attr.gid = wrong == 6 ? 4711 : answer->attr.gid;
        answer->attr.links = wrong == 7 ? 2 : answer->attr.links;
        g_assert_cmpuint(give(&pair.writer, answer), ==, PH_ST_OK);
        check_recalled(&pair, id);
        tear_down(&pair);
    }
}

static void test_answers_to_what_was_not_asked_do_nothing(void)
{
    struct pair pair;
    g_autofree struct answer *answer = NULL;
    uint64_t id;

    id = set_up_asking(&pair);
    answer = answer_new(&pair, asked(&pair, 0) + 1);
    g_assert_cmpuint(give(&pair.writer, answer), ==, PH_ST_OK);
    /* Nor does the right one, from somebody else. */
    answer->message.question--;
    g_assert_cmpuint(give(&pair.reader, answer), ==, PH_ST_OK);
    g_assert_cmpuint(client_status(&pair.reader, id), ==, PH_PENDING);
    tell(&pair, 0);
    check_told(&pair, id);
    tear_down(&pair);
}

static void test_a_session_without_leases_has_nothing_to_answer(void)
{
    struct pair pair;
    g_autofree struct answer *answer = NULL;

    set_up(&pair, false);
    answer = answer_new(&pair, 1);
    g_assert_cmpuint(give(&pair.reader, answer), ==, PH_ST_WRONG_STATE);
    tear_down(&pair);
}

static void test_many_questions_at_once_are_no_more_than_may_be(void)
{
    struct pair pair;
    uint64_t id[PH_GLIMPSES_AT_ONCE + 1];

    set_up(&pair, true);
    for (size_t i = 0; i < G_N_ELEMENTS(id); i++)
        id[i] = look(&pair);
    g_assert_cmpuint(pair.writer.glimpses->len, ==, PH_GLIMPSES_AT_ONCE);
    g_assert_cmpuint(pair.writer.recalls->len, ==, 1);
    client_release(&pair.writer, pair.lease, true);
    for (guint i = 0; i < PH_GLIMPSES_AT_ONCE; i++) {
        g_autofree struct answer *answer = answer_new(&pair, asked(&pair, i));

        answer->message.lease = 0;
        give(&pair.writer, answer);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(id); i++)
        g_assert_cmpuint(client_status(&pair.reader, id[i]), ==, PH_ST_OK);
    tear_down(&pair);
}

static void test_what_is_recalled_is_not_asked_about(void)
{
    struct pair pair;
    struct client third;
    uint64_t first, second, third_id;

    set_up(&pair, true);
    client_init(&third, &pair.world, 3, 1, true);
    first = look(&pair);
    third_id = client_acquire(&third, FILE_A, PH_LEASE_SHARED);
    g_assert_cmpuint(pair.writer.recalls->len, ==, 1);
    second = look(&pair);
    g_assert_cmpuint(pair.writer.glimpses->len, ==, 1);
    /* What it says on its way out is still true of a moment since it was asked. */
    client_release(&pair.writer, pair.lease, true);
    tell(&pair, 0);
    g_assert_cmpuint(client_status(&third, third_id), ==, PH_ST_OK);
    g_assert_cmpuint(client_status(&pair.reader, first), ==, PH_ST_OK);
    g_assert_cmpuint(client_status(&pair.reader, second), ==, PH_ST_OK);
    client_clear(&third);
    tear_down(&pair);
}

static void test_a_holder_that_is_lost_answers_no_more(void)
{
    struct pair pair;
    struct ph_actions actions = {0};
    uint64_t id;

    id = set_up_asking(&pair);
    ph_server_conn_closed(pair.writer.conn, false, &actions);
    for (size_t i = 0; i < actions.count; i++) {
        struct ph_action *action = ph_actions_get(&actions, i);

        if (action->kind == PH_ACTION_RUN)
            g_queue_push_tail(&pair.world.runs, action->call);
    }
    ph_actions_clear(&actions);
    world_let_run(&pair.world);
    g_assert_cmpuint(client_status(&pair.reader, id), ==, PH_PENDING);
    world_tick(&pair.world, START_MS + 1);
    world_tick(&pair.world, START_MS + 4 * PH_LEASE_TTL_MS);
    g_assert_cmpuint(client_status(&pair.reader, id), ==, PH_ST_OK);
    ph_server_conn_unref(pair.writer.conn);
    client_clear(&pair.reader);
    g_hash_table_unref(pair.writer.replies);
    g_ptr_array_unref(pair.writer.recalls);
    g_ptr_array_unref(pair.writer.glimpses);
    world_clear(&pair.world);
}

static void test_who_asks_may_stop_waiting(void)
{
    struct pair pair;
    uint64_t id, again;

    id = set_up_asking(&pair);
    client_cancel(&pair.reader, id);
    g_assert_cmpuint(client_status(&pair.reader, id), ==, PH_ST_CANCELLED);
    tell(&pair, 0);
    again = look(&pair);
    tell(&pair, 1);
    check_told(&pair, again);
    tear_down(&pair);
}

static void test_who_does_not_know_glimpses_is_recalled(void)
{
    struct pair pair = {0};
    uint64_t id;

    world_init(&pair.world);
    ph_fake_store_give_name(pair.world.fake, "a", FILE_A);
    client_init_writing(&pair.writer, &pair.world, 1, 1);
    client_init(&pair.reader, &pair.world, 2, 1, true);
    pair.lease = client_acquired(&pair.writer, client_acquire(&pair.writer, FILE_A, PH_LEASE_EXCLUSIVE));
    id = look(&pair);
    g_assert_cmpuint(pair.writer.glimpses->len, ==, 0);
    check_recalled(&pair, id);
    tear_down(&pair);
}

static void clock_of_the_store(void *self, Pohmel__Time *now)
{
    (void) self;
    now->seconds = NOW_S;
}

/* The clock of a holder may be ahead of that of the server, which dates what it sends. */
static void test_the_time_of_change_is_not_ahead_of_the_server(void)
{
    static const struct {
        int64_t said;
        bool unsent;
        int64_t told;
    } cases[] = {{NOW_S - 1, true, NOW_S - 1}, {NOW_S + 1, true, NOW_S}, {NOW_S - 1, false, 0}};

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct pair pair;
        g_autofree struct answer *answer = NULL;
        Pohmel__GetattrReply *reply;
        uint64_t id;

        set_up(&pair, true);
        pair.world.export.store->now = clock_of_the_store;
        id = look(&pair);
        answer = answer_new(&pair, asked(&pair, 0));
        answer->changed.seconds = cases[i].said;
        answer->message.unsent = cases[i].unsent;
        g_assert_cmpuint(give(&pair.writer, answer), ==, PH_ST_OK);
        reply = looked(&pair, id);
        g_assert_cmpint(reply->attr->changed->seconds, ==, cases[i].told);
        pohmel__getattr_reply__free_unpacked(reply, NULL);
        tear_down(&pair);
    }
}

static void test_a_listing_hints_once(void)
{
    struct pair pair;

    set_up(&pair, true);
    for (int i = 0; i < 3; i++) {
        Pohmel__ReaddirRequest list = POHMEL__READDIR_REQUEST__INIT;
        Pohmel__Caller caller = POHMEL__CALLER__INIT;
        uint64_t id;

        list.caller = &caller;
        list.object = PH_OBJECT_ROOT;
        list.count = 10;
        list.bytes_max = 10000;
        list.attributes = true;
        id = client_send(&pair.reader, PH_CMD_READDIR, &list.base);
        g_assert_cmpuint(client_status(&pair.reader, id), ==, PH_ST_OK);
    }
    g_assert_cmpuint(pair.writer.recalls->len, ==, 0);
    g_assert_cmpuint(pair.writer.glimpses->len, ==, 1);
    g_assert_cmpuint(asked(&pair, 0), ==, 0);
    tear_down(&pair);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/glimpse/told", test_who_looks_is_told_and_the_lease_stays);
    g_test_add_func("/glimpse/lookup", test_a_lookup_is_told_as_well);
    g_test_add_func("/glimpse/cannot-say", test_who_cannot_say_gives_the_lease_back);
    g_test_add_func("/glimpse/will-share", test_who_will_share_is_not_asked_for_the_lease);
    g_test_add_func("/glimpse/promises", test_who_promises_to_share_has_to);
    g_test_add_func("/glimpse/no-answer", test_who_does_not_answer_is_asked_for_the_lease);
    g_test_add_func("/glimpse/never-answers", test_who_never_answers_is_fenced);
    g_test_add_func("/glimpse/wrong-answers", test_wrong_answers_are_not_believed);
    g_test_add_func("/glimpse/not-asked", test_answers_to_what_was_not_asked_do_nothing);
    g_test_add_func("/glimpse/without-leases", test_a_session_without_leases_has_nothing_to_answer);
    g_test_add_func("/glimpse/many", test_many_questions_at_once_are_no_more_than_may_be);
    g_test_add_func("/glimpse/recalled", test_what_is_recalled_is_not_asked_about);
    g_test_add_func("/glimpse/lost", test_a_holder_that_is_lost_answers_no_more);
    g_test_add_func("/glimpse/cancelled", test_who_asks_may_stop_waiting);
    g_test_add_func("/glimpse/old-peer", test_who_does_not_know_glimpses_is_recalled);
    g_test_add_func("/glimpse/time-of-change", test_the_time_of_change_is_not_ahead_of_the_server);
    g_test_add_func("/glimpse/listing", test_a_listing_hints_once);
    return g_test_run();
}
