/* Write-back against a model: random commands of a user, executed by write-back in its way and by a
 * small filesystem at once. Every answer has to be one that the small filesystem gives at some moment between
 * the question and the answer; what the server is given back must be up to date when it is; and when
 * everything was written back, both are equal. PH_SEED replays one run, and tells what happens in it;
 * PH_SEEDS says how many there are. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "client/core/tests/wb_act.h"
#include "client/core/tests/wb_text.h"
#include "client/core/tests/wb_world.h"

enum { SEEDS = 1500, OWN_HANDLES = 62, KNOWN_LEASES = 16, SET_SIZE = 8 };

/* What a question that is under way may be answered. */
struct expected {
    GPtrArray *answers;          /* texts */
    struct wb_model_reply reply; /* of a change that was executed */
    bool applied, dead;
    uint64_t changes; /* of the truth, when it was asked */
};

struct recall {
    uint64_t object, lease;
};

struct run {
    guint32 seed;
    bool tell, recalls, losses, others;
    unsigned concurrent;
    GRand *rand;
    struct wb_world world;
    struct wb_model *truth;
    struct wb_act act;
    GArray *recalled;  /* struct recall: events on their way */
    GArray *releasing; /* leases that are to be given back */
    uint64_t known[KNOWN_LEASES];
    unsigned known_count;
    bool open, lost;
    unsigned failures;
    uint64_t others_name;
    GHashTable *expected; /* struct wb_asked to struct expected */
};

static void tell(const struct run *run, const char *format, ...) G_GNUC_PRINTF(2, 3);

static void tell(const struct run *run, const char *format, ...)
{
    va_list args;
    if (!run->tell)
        return;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

static void wrong(const struct run *run, const char *format, ...) G_GNUC_PRINTF(2, 3);

static void wrong(const struct run *run, const char *format, ...)
{
    va_list args;
    fprintf(stderr, "PH_SEED=%u: ", run->seed);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    abort();
}

static unsigned below(struct run *run, unsigned limit)
{
    return (unsigned) g_rand_int_range(run->rand, 0, (gint32) limit);
}

/* --- What is expected --- */

static bool is_reading(uint16_t command)
{
    return command == PH_CMD_LOOKUP || command == PH_CMD_GETATTR || command == PH_CMD_READDIR ||
           command == PH_CMD_READ || command == PH_CMD_READLINK || command == PH_CMD_GETXATTR ||
           command == PH_CMD_LISTXATTR || command == PH_CMD_SYNC;
}

static void free_expected(void *data)
{
    struct expected *expected = data;
    g_ptr_array_unref(expected->answers);
    wb_model_reply_clear(&expected->reply);
    g_free(expected);
}

static struct expected *expected_of(struct run *run, struct wb_asked *asked)
{
    struct expected *expected = g_hash_table_lookup(run->expected, asked);
    if (expected == NULL) {
        expected = g_new0(struct expected, 1);
        expected->answers = g_ptr_array_new_with_free_func(g_free);
        expected->changes = run->truth->changes;
        g_hash_table_insert(run->expected, asked, expected);
    }
    return expected;
}

static void expect(struct expected *expected, char *text)
{
    if (g_ptr_array_find_with_equal_func(expected->answers, text, g_str_equal, NULL))
        g_free(text);
    else
        g_ptr_array_add(expected->answers, text);
}

/* The truth moved: what the question may be answered now. */
static void expect_now(struct run *run, struct wb_asked *asked, struct expected *expected)
{
    if (is_reading(asked->command)) {
        struct wb_model_reply reply;
        wb_model_execute(run->truth, asked->outer, asked->message, NULL, &reply);
        expect(expected, wb_text_of(asked->command, &reply, NULL));
        wb_model_reply_clear(&reply);
        return;
    }
    if (!expected->applied || expected->reply.status != PH_ST_OK || asked->command == PH_CMD_CLOSE)
        return;
    const Pohmel__Attr *attr = asked->command == PH_CMD_OPEN
                                   ? ((const Pohmel__OpenReply *) expected->reply.message)->attr
                                   : wb_text_attr(asked->command, expected->reply.message);
    const struct wb_node *node = attr != NULL ? wb_model_node(run->truth, attr->object) : NULL;
    if (node == NULL)
        return;
    Pohmel__Attr now = *attr;
    Pohmel__Time modified = POHMEL__TIME__INIT;
    modified.seconds = node->modified.seconds;
    now.mode = node->mode;
    now.links = node->links;
    now.uid = node->uid;
    now.size = node->names != NULL ? attr->size : node->data->len;
    now.modified = &modified;
    expect(expected, wb_text_of(asked->command, &expected->reply, &now));
}

static void truth_moved(struct run *run)
{
    for (guint i = 0; i < run->world.pending->len; i++) {
        struct wb_asked *asked = g_ptr_array_index(run->world.pending, i);
        if (!asked->internal)
            expect_now(run, asked, expected_of(run, asked));
    }
}

/* ASKED takes effect now. */
static void apply(struct run *run, struct wb_asked *asked, struct expected *expected)
{
    run->truth->now = run->world.now.real;
    wb_model_execute(run->truth, asked->outer, asked->message, asked->payload, &expected->reply);
    expected->applied = true;
    expect(expected, wb_text_of(asked->command, &expected->reply, NULL));
    truth_moved(run);
}

/* --- Hooks --- */

static bool is_of_user(const struct wb_asked *asked)
{
    return asked != NULL && !asked->internal && asked->command != PH_CMD_LEASE_RELEASE &&
           asked->command != PH_CMD_LEASE_ACQUIRE && asked->command != PH_CMD_STATFS &&
           !(asked->command == PH_CMD_READDIR && ((const Pohmel__ReaddirRequest *) asked->inner)->count == 4);
}

static void check_released(struct run *run)
{
    if (run->lost) /* what is left of a lost session is dirty without a lease until there is a new one */
        return;
    for (unsigned i = 0; i < run->world.server->released_count; i++) {
        uint64_t object = run->world.server->released[i];
        const struct wb_node *node = wb_model_node(run->truth, object);
        g_autofree char *words =
            node != NULL && node->links > 0 ? wb_model_differ(run->world.server, run->truth, object) : NULL;
        if (words != NULL)
            wrong(run, "a lease is given back, but server and user see different things: %s", words);
    }
}

static void on_executing(void *data, struct wb_sent *sent)
{
    struct run *run = data;
    g_autofree char *words = wb_act_words(sent->command, sent->inner);
    tell(run, "    server: %s -> %s%s", words, ph_status_text(sent->reply.status),
         sent->asked == NULL ? " (write-back)" : "");
    if (sent->command == PH_CMD_LEASE_RELEASE)
        check_released(run);
    if (!is_of_user(sent->asked) || is_reading(sent->command))
        return;
    struct expected *expected = expected_of(run, sent->asked);
    if (sent->asked->blurred && sent->reply.status != PH_ST_OK)
        return;
    apply(run, sent->asked, expected);
    if (sent->reply.status != expected->reply.status && !sent->asked->blurred)
        wrong(run, "question %u, %s: the server says %s, which should be %s", sent->asked->number, words,
              ph_status_text(sent->reply.status), ph_status_text(expected->reply.status));
}

static void learn_lease(struct run *run, const Pohmel__Attr *attr)
{
    if (attr != NULL && attr->lease != 0)
        run->known[run->known_count++ % KNOWN_LEASES] = attr->lease;
}

static void learn_leases(struct run *run, const struct wb_asked *asked)
{
    const ProtobufCMessage *message = asked->reply.message;
    if (asked->reply.status != PH_ST_OK)
        return;
    if (asked->outer == PH_CMD_TRANSACT)
        learn_lease(run, wb_text_attr(asked->command, message));
    else if (asked->command == PH_CMD_LOOKUP && ((const Pohmel__LookupReply *) message)->n_found > 0)
        learn_lease(run, ((const Pohmel__LookupReply *) message)->found[0]);
    else if (asked->command == PH_CMD_LEASE_ACQUIRE)
        learn_lease(run, ((const Pohmel__LeaseAcquireReply *) message)->grant->attr);
}

static void check_synced(struct run *run, const struct wb_asked *asked, const struct expected *expected)
{
    uint64_t object = ((const Pohmel__SyncRequest *) asked->inner)->object;
    if (expected->changes != run->truth->changes || wb_model_node(run->truth, object) == NULL)
        return;
    g_autofree char *words = wb_model_differ(run->world.server, run->truth, object);
    if (words != NULL)
        wrong(run, "question %u is answered, but not all is at the server: %s", asked->number, words);
}

static void check_answer(struct run *run, struct wb_asked *asked, struct expected *expected)
{
    g_autofree char *text = wb_text_of(asked->command, &asked->reply, NULL);
    bool mixed = wb_text_overlap &&
                 ((asked->command == PH_CMD_READ && wb_text_is_mixture(expected->answers, text)) ||
                  (asked->command == PH_CMD_READDIR && wb_text_is_mixed_listing(expected->answers, text)));
    if (!mixed && !g_ptr_array_find_with_equal_func(expected->answers, text, g_str_equal, NULL)) {
        fprintf(stderr, "may be:\n");
        for (guint i = 0; i < expected->answers->len; i++)
            fprintf(stderr, "    %s\n", (char *) g_ptr_array_index(expected->answers, i));
        g_autofree char *words = wb_act_words(asked->command, asked->inner);
        wrong(run, "question %u, %s, %s, is answered\n    %s", asked->number, words,
              asked->executed ? "sent on" : "here", text);
    }
    if (asked->command == PH_CMD_SYNC && asked->reply.status == PH_ST_OK)
        check_synced(run, asked, expected);
}

static void on_answered(void *data, struct wb_asked *asked)
{
    struct run *run = data;
    learn_leases(run, asked);
    if (!is_of_user(asked))
        return;
    struct expected *expected = expected_of(run, asked);
    bool reads = is_reading(asked->command);
    tell(run, "  %u answered %s: %s", asked->number, asked->executed ? "" : "here",
         ph_status_text(asked->reply.status));
    if (reads)
        expect_now(run, asked, expected);
    else if (!asked->executed && (asked->reply.status == PH_ST_OK || !asked->blurred))
        apply(run, asked, expected);
    wb_act_answered(&run->act, asked);
    if (!asked->blurred)
        check_answer(run, asked, expected);
    g_hash_table_remove(run->expected, asked);
}

static void on_told(void *data, const struct ph_wb_action *action)
{
    struct run *run = data;
    if (action->kind != PH_WB_FAILED)
        return;
    const struct wb_node *node = wb_model_node(run->truth, action->object);
    tell(run, "    FAILED %" G_GUINT64_FORMAT " %s: %s", action->object, action->text,
         ph_status_text(action->status));
    if (action->text[0] != '\0' && node != NULL && node->links > 0)
        wrong(run, "a change is lost: %s: %s", action->text, ph_status_text(action->status));
}

/* --- What happens --- */

/* Attributes are asked for while others are being set: either may be told. */
static bool is_being_set(const struct run *run, const struct wb_asked *asked)
{
    if (asked->command != PH_CMD_GETATTR)
        return false;
    uint64_t object = ((const Pohmel__GetattrRequest *) asked->inner)->object;
    for (guint i = 0; i < run->world.pending->len; i++) {
        const struct wb_asked *other = g_ptr_array_index(run->world.pending, i);
        if (other->command == PH_CMD_SETATTR &&
            ((const Pohmel__SetattrRequest *) other->inner)->object == object)
            return true;
    }
    return false;
}

static void ask(struct run *run)
{
    struct wb_asked *asked;
    unsigned users = 0;
    bool moving = false;
    for (guint i = 0; i < run->world.pending->len; i++) {
        const struct wb_asked *other = g_ptr_array_index(run->world.pending, i);
        users += is_of_user(other);
        moving =
            moving || other->command == PH_CMD_RENAME || other->command == PH_CMD_RMDIR ||
            other->command == PH_CMD_REMOVE ||
            (other->command == PH_CMD_CREATE && ((const Pohmel__CreateRequest *) other->inner)->truncate);
    }
    if (users >= run->concurrent || moving || !run->open)
        return;
    run->act.alone = users == 0;
    tell(run, "  asking %u", run->world.asked_count + 1);
    asked = wb_act(&run->act);
    if (asked == NULL)
        return;
    g_autofree char *words = wb_act_words(asked->command, asked->inner);
    tell(run, "%u: %s%s", asked->number, words, asked->done ? "" : " ...");
    if (!asked->done && is_reading(asked->command)) {
        expect_now(run, asked, expected_of(run, asked));
        asked->blurred = asked->blurred || is_being_set(run, asked);
    }
    wb_world_forget(asked);
}

static void serve(struct run *run, bool deliver)
{
    if (!run->open || run->world.sent->len == 0)
        return;
    struct wb_sent *sent = g_ptr_array_index(run->world.sent, below(run, run->world.sent->len));
    if (!sent->executed)
        wb_world_execute(&run->world, sent);
    else if (deliver)
        wb_world_deliver(&run->world, sent);
}

static struct wb_node *any_node(struct run *run)
{
    uint64_t id = wb_act_object(&run->act, 0);
    return wb_model_node(run->world.server, id);
}

static void recall(struct run *run)
{
    struct wb_node *node = any_node(run);
    if (!run->recalls || node == NULL || node->lease == 0 || node->recalled)
        return;
    node->recalled = true;
    tell(run, "    server: RECALL %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT, node->lease, node->id);
    struct recall event = {node->id, node->lease};
    g_array_append_val(run->recalled, event);
}

static void hear_recall(struct run *run)
{
    if (run->recalled->len == 0)
        return;
    guint index = below(run, run->recalled->len);
    struct recall event = g_array_index(run->recalled, struct recall, index);
    g_array_remove_index(run->recalled, index);
    tell(run, "recall of %" G_GUINT64_FORMAT " (%" G_GUINT64_FORMAT ") arrives", event.object, event.lease);
    wb_world_recall(&run->world, event.object, event.lease);
    g_array_append_val(run->releasing, event.lease);
}

static void release(struct run *run)
{
    Pohmel__LeaseReleaseRequest message = POHMEL__LEASE_RELEASE_REQUEST__INIT;
    if (run->recalls && run->known_count > 0 && below(run, 4) == 0) {
        uint64_t lease = run->known[below(run, MIN(run->known_count, KNOWN_LEASES))];
        g_array_append_val(run->releasing, lease);
    }
    if (run->releasing->len == 0 || !run->open)
        return;
    message.leases = &g_array_index(run->releasing, uint64_t, 0);
    message.n_leases = MIN(run->releasing->len, 4);
    for (size_t i = 0; i < message.n_leases; i++)
        tell(run, "release of %" G_GUINT64_FORMAT, message.leases[i]);
    GArray *leases = run->releasing;
    run->releasing = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    g_array_append_vals(run->releasing, &g_array_index(leases, uint64_t, message.n_leases),
                        leases->len - (guint) message.n_leases);
    wb_world_forget(wb_world_ask(&run->world, PH_CMD_LEASE_RELEASE, &message, NULL));
    g_array_unref(leases);
}

/* Another client: it may change what nobody holds. */
static void interfere(struct run *run)
{
    struct wb_node *node = any_node(run);
    if (!run->others || node == NULL || node->lease != 0 || !S_ISREG(node->mode))
        return;
    struct wb_model *models[] = {run->world.server, run->truth};
    uint8_t byte = (uint8_t) (200 + below(run, 50));
    tell(run, "    another client writes to %" G_GUINT64_FORMAT, node->id);
    for (int i = 0; i < 2; i++) {
        struct wb_node *there = wb_model_node(models[i], node->id);
        if (there == NULL)
            wrong(run, "%" G_GUINT64_FORMAT " is not held, and not known to the user", node->id);
        g_byte_array_append(there->data, &byte, 1);
        there->version++;
        there->modified = run->world.now.real;
    }
    run->truth->changes++;
    truth_moved(run);
}

static void lose(struct run *run)
{
    if (run->open) {
        tell(run, "--- the session is lost");
        run->open = false;
        run->lost = true;
        g_array_set_size(run->recalled, 0);
        g_array_set_size(run->releasing, 0);
        run->known_count = 0;
        wb_model_end_session(run->truth);
        wb_world_lose(&run->world);
        wb_act_lost(&run->act);
    } else {
        tell(run, "--- a session is opened");
        run->open = true;
        wb_world_open(&run->world);
    }
}

static void pass_time(struct run *run, uint64_t ms)
{
    run->world.now.real.seconds++;
    wb_world_tick(&run->world, ms);
}

static void happen(struct run *run)
{
    unsigned what = below(run, 100);
    if (what < 35)
        ask(run);
    else if (what < 80)
        serve(run, what < 65);
    else if (what < 85)
        pass_time(run, below(run, 400));
    else if (what < 88)
        recall(run);
    else if (what < 91)
        hear_recall(run);
    else if (what < 94)
        release(run);
    else if (what < 97)
        interfere(run);
    else if (run->losses && (!run->open || what == 97))
        lose(run);
}

/* --- A run --- */

static void begin(struct run *run, guint32 seed)
{
    *run = (struct run){.seed = seed, .rand = g_rand_new_with_seed(seed), .open = true};
    run->tell = g_getenv("PH_SEED") != NULL;
    struct ph_wb_config config = {.flush_age_ms = 1 + below(run, 2000),
                                  .dirty_limit_bytes = below(run, 2) ? 30000 : 10000000,
                                  .payload_max_bytes = below(run, 2) ? 4096 : 65536,
                                  .in_flight_max = below(run, 2) ? 64 : 2};
    run->concurrent = below(run, 2) ? 1 : 4;
    wb_text_overlap = run->concurrent > 1;
    run->recalls = below(run, 2);
    wb_text_by_name = !wb_text_overlap && !run->recalls;
    run->losses = below(run, 3) == 0;
    run->others = !run->losses && below(run, 2);
    wb_world_begin(&run->world, &config, run->rand);
    if (!run->others && below(run, 3) == 0)
        run->world.server->refuse_percent = 30;
    run->truth = wb_model_new(false, run->rand);
    run->truth->now = run->world.now.real;
    run->world.data = run;
    run->world.executing = on_executing;
    run->world.answered = on_answered;
    run->world.told = on_told;
    run->act =
        (struct wb_act){.rand = run->rand, .world = &run->world, .truth = run->truth, .last_object = 100};
    run->recalled = g_array_new(FALSE, FALSE, sizeof(struct recall));
    run->releasing = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    run->expected = g_hash_table_new_full(NULL, NULL, NULL, free_expected);
    wb_world_open(&run->world);
}

static bool is_idle(struct run *run)
{
    struct ph_wb_counters counters;
    ph_wb_count(run->world.wb, 0, &counters);
    return run->world.sent->len == 0 && run->world.pending->len == 0 && counters.dirty_operations == 0;
}

static void check_end(struct run *run)
{
    struct ph_wb_counters counters;
    GHashTableIter iter;
    void *key, *value;
    ph_wb_count(run->world.wb, 0, &counters);
    if (counters.dirty_bytes != 0 || counters.in_flight != 0 || counters.waiting != 0)
        wrong(run,
              "%" G_GUINT64_FORMAT " bytes dirty, %" G_GUINT64_FORMAT " in flight, %" G_GUINT64_FORMAT
              " waiting at the end",
              counters.dirty_bytes, counters.in_flight, counters.waiting);
    g_hash_table_iter_init(&iter, run->world.server->handles);
    while (g_hash_table_iter_next(&iter, &key, &value))
        if (*(uint64_t *) key >> OWN_HANDLES != 0)
            wrong(run, "write-back left a handle open");
    g_autofree char *words = wb_model_differ_all(run->world.server, run->truth);
    if (words != NULL)
        wrong(run, "server and user see different things in the end: %s", words);
}

static void finish(struct run *run)
{
    if (!run->open)
        lose(run);
    run->losses = run->recalls = run->others = false;
    tell(run, "--- the end: everything is written back");
    wb_world_flush(&run->world, 0);
    for (unsigned i = 0; !is_idle(run); i++) {
        if (i > 20000)
            wrong(run, "it does not come to an end: %u commands sent, %u questions open",
                  run->world.sent->len, run->world.pending->len);
        if (i % 16 == 15)
            pass_time(run, 5000);
        hear_recall(run);
        release(run);
        serve(run, true);
    }
    check_end(run);
}

static void end(struct run *run)
{
    wb_world_end(&run->world);
    wb_model_free(run->truth);
    g_array_unref(run->recalled);
    g_array_unref(run->releasing);
    g_hash_table_unref(run->expected);
    g_rand_free(run->rand);
}

static void run_seed(guint32 seed)
{
    struct run run;
    begin(&run, seed);
    unsigned steps = 100 + below(&run, 400);
    for (unsigned i = 0; i < steps; i++)
        happen(&run);
    finish(&run);
    end(&run);
}

static void test_random(void)
{
    const char *seed = g_getenv("PH_SEED"), *seeds = g_getenv("PH_SEEDS"), *first = g_getenv("PH_FIRST");
    if (seed != NULL) {
        run_seed((guint32) strtoul(seed, NULL, 10));
        return;
    }
    guint32 count = seeds != NULL ? (guint32) strtoul(seeds, NULL, 10) : SEEDS;
    guint32 from = first != NULL ? (guint32) strtoul(first, NULL, 10) : 1;
    for (guint32 i = 0; i < count; i++)
        run_seed(from + i);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/wb/model/what the user sees is what the server has in the end", test_random);
    return g_test_run();
}
