/* What write-back sends: in its own session only, and past whatever users wait for. */
#include <string.h>

#include "client/core/tests/world.h"
#include "ph_commands.h"
#include "runtime/base/limits.h"
#include "runtime/base/random.h"

enum { LARGEST = PH_PAYLOAD_MAX_BYTES };

/* A session with what a server gives as a rule, in which changes may be kept back. */
static void init(struct world *world, uint32_t credits, uint32_t slots)
{
    world_init_write_back(world, 100000, 1);
    world->credits = credits;
    world->slots = slots;
}

static void open_usual(struct world *world)
{
    init(world, PH_SESSION_CREDITS, PH_SESSION_SLOTS);
    world_open(world);
}

static void lose(struct world *world)
{
    struct ph_fault fault = {.status = PH_ST_IO_ERROR, .text = "cut"};
    ph_client_disconnected(world->client, &fault, world->now_ms, &world->actions);
    world_act(world);
}

static void look(struct world *world, struct outcome *outcome)
{
    world_getattr(world, 1, outcome);
}

/* Requests of users until one has to wait, of all kinds that may be left unanswered. Returns their number. */
static int fill_with_users(struct world *world, struct outcome *outcomes, int max)
{
    int count = 0;
    for (size_t before = ph_client_queued(world->client); count < max;
         before = ph_client_queued(world->client)) {
        world_write(world, 10, &outcomes[count++]);
        look(world, &outcomes[count++]);
        world_read(world, 10, &outcomes[count++]);
        if (ph_client_queued(world->client) == before + 3)
            return count;
    }
    g_assert_not_reached();
}

/* Answers everything there is, and all that comes of it. */
static void answer_all(struct world *world)
{
    struct sent *sent;
    while ((sent = g_queue_pop_head(&world->sent)))
        world_answer(world, sent, PH_ST_NOT_FOUND, NULL);
}

static struct sent *take_flush(struct world *world)
{
    for (GList *at = world->sent.head; at; at = at->next) {
        struct sent *sent = at->data;
        if (sent->request->generation == 0)
            continue;
        g_queue_delete_link(&world->sent, at);
        return sent;
    }
    return NULL;
}

static void test_passes_users(void)
{
    struct world world;
    struct outcome users[1000], flushes[4];
    open_usual(&world);
    int count = fill_with_users(&world, users, 990);
    for (int i = 0; i < 3; i++)
        world_flush(&world, 1, LARGEST, &flushes[i]);
    world_flush(&world, 1, 0, &flushes[3]);
    for (int i = 0; i < 4; i++) {
        struct sent *sent = take_flush(&world);
        g_assert_nonnull(sent);
        world_answer(&world, sent, PH_ST_OK, NULL);
        g_assert_cmpint(flushes[i].completions, ==, 1);
        g_assert_cmpuint(flushes[i].status, ==, PH_ST_OK);
    }
    answer_all(&world);
    for (int i = 0; i < count; i++)
        g_assert_cmpint(users[i].completions, ==, 1);
    world_clear(&world);
}

/* Nothing that users do takes a slot from the kept ones, and every one of these is used. */
static void test_slots(void)
{
    struct world world;
    struct outcome users[PH_SESSION_SLOTS], flushes[PH_SESSION_SLOTS];
    open_usual(&world);
    for (int i = 0; i < PH_SESSION_SLOTS; i++)
        world_write(&world, 10, &users[i]);
    g_assert_cmpuint(ph_client_queued(world.client), ==, PH_FLUSH_SLOTS);
    for (int i = 0; i < PH_FLUSH_SLOTS + 1; i++)
        world_flush(&world, 1, 10, &flushes[i]);
    g_assert_cmpuint(ph_client_queued(world.client), ==, PH_FLUSH_SLOTS + 1);
    answer_all(&world);
    g_assert_cmpuint(ph_client_queued(world.client), ==, 0);
    for (int i = 0; i < PH_SESSION_SLOTS; i++) /* all of them, when nobody else wants any */
        world_flush(&world, 1, 10, &flushes[i]);
    g_assert_cmpuint(ph_client_queued(world.client), ==, 0);
    world_clear(&world);
}

/* Many flushes do not shut users out: whoever came first goes first where both may go. */
static void test_users_are_not_starved(void)
{
    struct world world;
    struct outcome flushes[200], user, writer;
    open_usual(&world);
    for (int i = 0; i < 100; i++)
        world_flush(&world, 1, LARGEST, &flushes[i]);
    look(&world, &user);
    world_write(&world, 10, &writer);
    for (int i = 100; i < 200; i++)
        world_flush(&world, 1, LARGEST, &flushes[i]);
    for (int i = 0; i < 100; i++)
        world_answer(&world, take_flush(&world), PH_ST_OK, NULL);
    struct sent *sent = world_take(&world, PH_CMD_GETATTR);
    g_assert_nonnull(sent);
    world_answer(&world, sent, PH_ST_OK, NULL);
    g_assert_cmpint(user.completions, ==, 1);
    answer_all(&world);
    g_assert_cmpint(writer.completions, ==, 1);
    g_assert_cmpint(flushes[199].completions, ==, 1);
    world_clear(&world);
}

/* Both can be under way, down to two credits and two slots; and with one of each nothing is stuck. */
static void test_small_grants(void)
{
    for (uint32_t credits = 1; credits < 100; credits++) {
        for (uint32_t slots = 1; slots < 12; slots++) {
            struct world world;
            struct outcome users[500], flush, small;
            init(&world, credits, slots);
            world_open(&world);
            int count = fill_with_users(&world, users, 490);
            g_assert_cmpuint(g_queue_get_length(&world.sent), >, 0);
            world_flush(&world, 1, 10, &flush);
            struct sent *sent = take_flush(&world);
            g_assert_true((sent != NULL) == (credits > 1 && slots > 1));
            if (sent)
                world_answer(&world, sent, PH_ST_OK, NULL);
            uint32_t payload_max = ph_client_payload_max(world.client);
            world_flush(&world, 1, payload_max < LARGEST ? payload_max : LARGEST, &small);
            sent = take_flush(&world);
            g_assert_true((sent != NULL) == (credits > 1 && slots > 1)); /* the largest too */
            if (sent)
                world_answer(&world, sent, PH_ST_OK, NULL);
            answer_all(&world);
            for (int i = 0; i < count; i++)
                g_assert_cmpint(users[i].completions, ==, 1);
            g_assert_cmpuint(flush.status, !=, PH_ST_LIMIT);
            g_assert_cmpint(flush.completions, ==, 1);
            g_assert_cmpint(small.completions, ==, 1);
            g_assert_cmpuint(ph_client_credits_free(world.client), ==, credits);
            world_clear(&world);
        }
    }
}

/* Changes are kept back only where they can be sent whatever users do. */
static void test_kept_back_only_where_it_can_be_sent(void)
{
    static const struct {
        uint32_t credits, slots;
        bool kept;
    } grants[] = {
        {PH_SESSION_CREDITS, PH_SESSION_SLOTS, true},
        {PH_SESSION_CREDITS, 1, false},
        {1, 64, false},
        {PH_SESSION_CREDITS, 2, true},
        {16, 64, false}, /* not the largest WRITE */
    };
    for (size_t i = 0; i < G_N_ELEMENTS(grants); i++) {
        struct world world;
        init(&world, grants[i].credits, grants[i].slots);
        world_open(&world);
        g_assert_true(ph_client_opened(world.client)->write_back == grants[i].kept);
        world_clear(&world);
    }
    struct world world;
    world_init(&world, 0, false, 1);
    world_open(&world);
    g_assert_false(ph_client_opened(world.client)->write_back);
    world_clear(&world);
}

static void test_queued_ends_with_session(void)
{
    struct world world;
    struct outcome flushes[100], user, queued;
    init(&world, 128, 4);
    world_open(&world);
    for (int i = 0; i < 100; i++)
        world_flush(&world, 1, 10, &flushes[i]);
    look(&world, &user);
    world_write(&world, 10, &queued); /* a user's waits for the next session */
    size_t flying = 4;
    lose(&world);
    for (size_t i = 0; i < 100; i++) {
        g_assert_cmpint(flushes[i].completions, ==, 1);
        g_assert_cmpuint(flushes[i].status, ==, i < flying ? PH_ST_IO_ERROR : PH_ST_NO_SESSION);
        g_assert_cmpint(flushes[i].losses, ==, 1); /* that the session is over was told before */
    }
    g_assert_cmpint(queued.completions, ==, 0);
    world_open(&world);
    g_assert_null(take_flush(&world));
    g_assert_nonnull(g_queue_peek_head(&world.sent));
    answer_all(&world);
    g_assert_cmpint(queued.completions, ==, 1);
    g_assert_cmpuint(queued.status, ==, PH_ST_NOT_FOUND);
    world_clear(&world);
}

/* Whatever gives something back belongs to its session too, when it is write-back's. */
static void test_release_ends_with_session(void)
{
    struct world world;
    struct outcome user, closed;
    open_usual(&world);
    world_answer(&world, world_take(&world, PH_CMD_IDS_GRANT), PH_ST_SHUTTING_DOWN, NULL);
    look(&world, &user);
    world_answer(&world, world_take(&world, PH_CMD_GETATTR), PH_ST_SHUTTING_DOWN,
                 NULL); /* nothing goes now */
    world_flush_close(&world, 1, &closed);
    g_assert_cmpint(closed.completions, ==, 0);
    lose(&world);
    g_assert_cmpuint(closed.status, ==, PH_ST_NO_SESSION);
    world_open(&world);
    g_assert_null(world_take(&world, PH_CMD_CLOSE));
    world_clear(&world);
}

static void test_fenced(void)
{
    struct world world;
    struct outcome flying, queued;
    init(&world, PH_SESSION_CREDITS, 1);
    world_open(&world);
    world_flush(&world, 1, 10, &flying);
    world_flush(&world, 1, 10, &queued);
    world_answer(&world, take_flush(&world), PH_ST_NO_SESSION, NULL);
    g_assert_cmpint(flying.completions, ==, 1); /* answered, so: once, though it ended the session */
    g_assert_cmpuint(queued.status, ==, PH_ST_NO_SESSION);
    g_assert_cmpint(queued.losses, ==, 1);
    lose(&world);
    g_assert_cmpint(queued.completions, ==, 1);
    world_clear(&world);
}

/* Who submits may not have been told yet that the session is over: the answer waits until it was. */
static void test_submitted_late(void)
{
    struct world world;
    struct outcome late, later, early;
    open_usual(&world);
    lose(&world);
    world_flush(&world, 1, 10, &late);
    g_assert_cmpint(late.completions, ==, 0);
    g_assert_cmpuint(ph_client_deadline(world.client), <=, world.now_ms);
    world_pass(&world, 0);
    g_assert_cmpint(late.completions, ==, 1);
    g_assert_cmpuint(late.status, ==, PH_ST_NO_SESSION);
    world_open(&world);
    g_assert_cmpuint(ph_client_deadline(world.client), >, world.now_ms);
    world_flush(&world, 1, 10, &later);
    g_assert_null(take_flush(&world));
    g_assert_cmpuint(ph_client_deadline(world.client), <=, world.now_ms);
    world_pass(&world, 0);
    g_assert_cmpuint(later.status, ==, PH_ST_NO_SESSION);
    world_flush(&world, 2, 10, &early);
    struct sent *sent = take_flush(&world);
    g_assert_nonnull(sent);
    world_answer(&world, sent, PH_ST_OK, NULL);
    g_assert_cmpuint(early.status, ==, PH_ST_OK);
    world_clear(&world);
}

static void test_server_leaving(void)
{
    struct world world;
    struct outcome flush;
    open_usual(&world);
    world_flush(&world, 1, 10, &flush);
    world_answer(&world, take_flush(&world), PH_ST_SHUTTING_DOWN, NULL);
    g_assert_cmpint(flush.completions, ==, 0);
    lose(&world);
    g_assert_cmpuint(flush.status, ==, PH_ST_NO_SESSION);
    world_open(&world);
    g_assert_null(take_flush(&world));
    world_clear(&world);
}

/* The way to an object is walked, and meanwhile the session ends. */
static void test_parked(void)
{
    struct world world;
    struct outcome flush, again;
    open_usual(&world);
    for (int fenced = 0; fenced < 2; fenced++) {
        uint64_t generation = ph_client_opened(world.client)->generation;
        world_flush(&world, generation, 10, &flush);
        world_answer(&world, take_flush(&world), PH_ST_STALE, NULL);
        struct ph_client_request *request = g_queue_pop_head(&world.parked);
        if (fenced) { /* resumed between the end of the session and that of the connection */
            world_getattr(&world, 1, &again);
            world_answer(&world, world_take(&world, PH_CMD_GETATTR), PH_ST_NO_SESSION, NULL);
            g_assert_cmpint(flush.completions, ==, 0);
        } else {
            lose(&world);
            g_assert_cmpint(flush.completions, ==, 1);
        }
        ph_client_resume(world.client, request, true, world.now_ms, &world.actions);
        world_act(&world);
        ph_request_unref(request);
        if (fenced) {
            world_pass(&world, 0);
            g_assert_cmpuint(flush.status, ==, PH_ST_NO_SESSION);
            lose(&world);
        }
        g_assert_cmpint(flush.completions, ==, 1);
        world_open(&world);
        g_assert_null(take_flush(&world));
    }
    world_clear(&world);
}

/* Who writes back has a limit of its own, and loses data when it is refused. */
static void test_never_too_many(void)
{
    struct world world;
    struct outcome refused, flush;
    g_autofree struct outcome *users = g_new0(struct outcome, PH_LINK_QUEUE_MAX + PH_SESSION_CREDITS);
    open_usual(&world);
    for (int i = 0; ph_client_queued(world.client) < PH_LINK_QUEUE_MAX; i++)
        look(&world, &users[i]);
    look(&world, &refused);
    g_assert_cmpuint(refused.status, ==, PH_ST_NO_MEMORY);
    world_flush(&world, 1, 10, &flush);
    struct sent *sent = take_flush(&world);
    g_assert_nonnull(sent);
    world_answer(&world, sent, PH_ST_OK, NULL);
    g_assert_cmpuint(flush.status, ==, PH_ST_OK);
    world_clear(&world);
}

/* A link that ends while something is to be told of an old session ends in order all the same. */
static void test_closing(void)
{
    struct world world;
    struct outcome flush;
    open_usual(&world);
    answer_all(&world);
    lose(&world);
    world_open(&world);
    answer_all(&world);
    world_flush(&world, 1, 10, &flush);
    ph_client_shutdown(world.client, world.now_ms + 5000, world.now_ms, &world.actions);
    world_act(&world);
    world_pass(&world, 0);
    g_assert_cmpuint(flush.status, ==, PH_ST_NO_SESSION);
    struct sent *sent = world_take(&world, PH_CMD_SESSION_CLOSE);
    g_assert_nonnull(sent);
    world_answer(&world, sent, PH_ST_OK, NULL);
    g_assert_cmpint(world.closes, ==, 1);
    world_clear(&world);
}

enum { RANDOM_STEPS = 6000 };

/* What is in flight is of this session, within its grants, and leaves to each kind what is kept for it. */
static void check_flow(struct world *world)
{
    uint64_t generation = ph_client_opened(world->client)->generation;
    uint32_t users = 0, held = 0, all = 0, user_slots = 0;
    uint32_t flush_kept = MIN(MAX(world->credits / 4, 1), PH_FLUSH_CREDITS);
    for (GList *at = world->sent.head; at; at = at->next) {
        const struct ph_client_request *request = ((struct sent *) at->data)->request;
        g_assert_true(request->generation == 0 || request->generation == generation);
        all += request->cost;
        if (request->generation != 0 || request->queue == PH_QUEUE_RELEASE)
            continue;
        users += request->cost;
        held += request->command == PH_CMD_READ || request->command == PH_CMD_IDS_GRANT ? 0 : request->cost;
        user_slots += request->command == PH_CMD_TRANSACT;
    }
    g_assert_cmpuint(all, <=, world->credits);
    uint32_t users_max = world->credits - flush_kept - MIN(world->credits / 4, PH_RELEASE_CREDITS);
    g_assert_cmpuint(users, <=, users_max);
    g_assert_cmpuint(held, <=, users_max - MIN(world->credits / 4, ph_credit_cost(0, PH_PAYLOAD_MAX_BYTES)));
    g_assert_cmpuint(user_slots, <=, world->slots - MIN(MAX(world->slots / 4, 1), PH_FLUSH_SLOTS));
    g_assert_cmpuint(ph_client_credits_free(world->client), ==, world->credits - all);
}

static void random_step(struct world *world, struct ph_random *random, struct outcome *outcome)
{
    uint64_t generation = ph_client_opened(world->client)->generation;
    uint32_t bytes = (uint32_t) ph_random_below(random, ph_client_payload_max(world->client) / 2);
    switch (ph_random_below(random, 6)) {
    case 0:
        look(world, outcome);
        break;
    case 1:
        world_write(world, bytes, outcome);
        break;
    case 2:
        world_read(world, bytes, outcome);
        break;
    case 3:
        world_flush_close(world, generation, outcome);
        break;
    default:
        world_flush(world, generation + ph_random_chance(random, 50), bytes, outcome);
    }
}

static void test_random(void)
{
    guint32 seed = g_test_rand_int();
    g_test_message("seed %u", seed);
    struct world world;
    struct ph_random random;
    g_autofree struct outcome *outcomes = g_new0(struct outcome, RANDOM_STEPS);
    ph_random_seed(&random, seed);
    init(&world, 2 + (uint32_t) ph_random_below(&random, 300), 2 + (uint32_t) ph_random_below(&random, 80));
    world_open(&world);
    for (int i = 0; i < RANDOM_STEPS; i++) {
        random_step(&world, &random, &outcomes[i]);
        /* By turns more is asked than answered, and the other way round. */
        uint64_t answers_max = i / 500 % 2 == 0 ? 2 : 6;
        for (uint64_t n = ph_random_below(&random, answers_max); n > 0 && !g_queue_is_empty(&world.sent);
             n--) {
            guint at = (guint) ph_random_below(&random, g_queue_get_length(&world.sent));
            world_answer(&world, g_queue_pop_nth(&world.sent, at), PH_ST_NOT_FOUND, NULL);
        }
        check_flow(&world);
        if (ph_random_chance(&random, 3)) {
            lose(&world);
            world_open(&world);
        }
    }
    answer_all(&world);
    world_pass(&world, 0);
    for (int i = 0; i < RANDOM_STEPS; i++)
        g_assert_cmpint(outcomes[i].completions, ==, 1);
    g_assert_cmpuint(ph_client_queued(world.client), ==, 0);
    g_assert_cmpuint(ph_client_in_flight(world.client), ==, 0);
    g_assert_cmpuint(ph_client_credits_free(world.client), ==, world.credits);
    world_clear(&world);
}

/* Those of before the loss among them. */
static void test_users_wait_for_what_is_made_again(void)
{
    struct outcome users[2] = {0}, flush = {0};
    struct world world;
    open_usual(&world);
    ph_client_restores(world.client);
    answer_all(&world);
    lose(&world);
    look(&world, &users[0]);
    world.epoch++; /* of a server that cannot say that it lost nothing */
    world_open(&world);
    look(&world, &users[1]);
    world_flush(&world, 2, 10, &flush);
    answer_all(&world);
    g_assert_cmpint(flush.completions, ==, 1);
    g_assert_cmpint(users[0].completions + users[1].completions, ==, 0);
    ph_client_restored(world.client, world.now_ms, &world.actions);
    world_act(&world);
    answer_all(&world);
    g_assert_cmpint(users[0].completions, ==, 1);
    g_assert_cmpint(users[1].completions, ==, 1);
    world_clear(&world);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/client/flush lane/passes whatever users wait for", test_passes_users);
    g_test_add_func("/client/flush lane/has slots of its own, and those that are free", test_slots);
    g_test_add_func("/client/flush lane/does not starve users", test_users_are_not_starved);
    g_test_add_func("/client/flush lane/small grants are enough for both", test_small_grants);
    g_test_add_func("/client/flush lane/changes are kept back only where they can be sent",
                    test_kept_back_only_where_it_can_be_sent);
    g_test_add_func("/client/flush lane/what is queued ends with its session", test_queued_ends_with_session);
    g_test_add_func("/client/flush lane/what closes files ends with its session too",
                    test_release_ends_with_session);
    g_test_add_func("/client/flush lane/ends at once when the server knows no session", test_fenced);
    g_test_add_func("/client/flush lane/submitted late it ends after the session was told to be over",
                    test_submitted_late);
    g_test_add_func("/client/flush lane/refused by a server that leaves it ends with its session",
                    test_server_leaving);
    g_test_add_func("/client/flush lane/found again in another session it is not sent", test_parked);
    g_test_add_func("/client/flush lane/is not refused because too many users wait", test_never_too_many);
    g_test_add_func("/client/flush lane/keeps no link from ending in order", test_closing);
    g_test_add_func("/client/flush lane/users wait for what is made again after a loss",
                    test_users_wait_for_what_is_made_again);
    g_test_add_func("/client/flush lane/everything ends once, within what is granted", test_random);
    return g_test_run();
}
