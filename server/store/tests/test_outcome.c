/* What became of a transaction of several commands: what is said of it is so, and stays so. */
#include <time.h>

#include "ph_commands.h"
#include "runtime/wire/frame.h"
#include "server/store/tests/fixture.h"
#include "server/store/undo_log.h"

enum { KEY = 815, OTHER_KEY = 816, COMMANDS = 2, SLOT = 3, SECTOR_BYTES = 512, LOOK_NS = 20 * 1000 * 1000 };

static const uint8_t one[16] = "the first client", two[16] = "another one";

/* The machine goes on: what the kernel was told need not reach a disk here. */
int fsync(int fd)
{
    return 0;
}

int fdatasync(int fd)
{
    return 0;
}

static void (*middle)(void); /* called when the effects of a transaction are made stable */
static int syncs;            /* until then */

int syncfs(int fd)
{
    if (middle != NULL && --syncs == 0)
        middle();
    return 0;
}

static void set_up(struct fixture *fx)
{
    fx_setup(fx);
    fx->call.client = one;
    fx->call.session_number = 5;
}

/* The server ends, and another one starts; no session is taken up again. */
static void start_again(struct fixture *fx)
{
    fx_close(fx);
    fx_open(fx);
    fx->call.session_number++;
}

/* Makes the directories "a" and "b" in one transaction; FAILS: "a" twice. */
static uint32_t send(struct fixture *fx, uint64_t key, uint64_t since, bool fails)
{
    Pohmel__Change change[COMMANDS], *changes[COMMANDS];
    Pohmel__MkdirRequest mkdir[COMMANDS];
    Pohmel__TransactRequest request = POHMEL__TRANSACT_REQUEST__INIT;
    Pohmel__TransactReply reply = POHMEL__TRANSACT_REPLY__INIT;
    fx_begin(fx);
    for (size_t i = 0; i < COMMANDS; i++) {
        pohmel__mkdir_request__init(&mkdir[i]);
        mkdir[i].caller = &fx->caller;
        mkdir[i].parent = PH_OBJECT_ROOT;
        mkdir[i].name = (ProtobufCBinaryData){1, (uint8_t *) (i == 0 || fails ? "a" : "b")};
        mkdir[i].object = fx_id(fx);
        mkdir[i].mode = 0755;
        pohmel__change__init(&change[i]);
        change[i].command_case = POHMEL__CHANGE__COMMAND_MKDIR;
        change[i].mkdir = &mkdir[i];
        changes[i] = &change[i];
    }
    request.changes = changes;
    request.n_changes = COMMANDS;
    request.key = key;
    request.since = since;
    fx->call.in_slot = true;
    fx->call.slot = SLOT;
    fx->call.sequence++;
    uint32_t status = fx->store->transact(fx->store->self, &fx->call, &request, &reply);
    fx->call.in_slot = false;
    return status;
}

static uint32_t ask(struct fixture *fx, uint64_t key, uint64_t since, Pohmel__OutcomeReply *reply)
{
    Pohmel__OutcomeRequest request = POHMEL__OUTCOME_REQUEST__INIT;
    request.key = key;
    request.since = since;
    pohmel__outcome_reply__init(reply);
    fx_begin(fx);
    return fx->store->outcome(fx->store->self, &fx->call, &request, reply);
}

static bool done(struct fixture *fx, uint64_t key, uint64_t since)
{
    Pohmel__OutcomeReply reply;
    fx_ok(fx, ask(fx, key, since, &reply));
    return reply.done;
}

static uint64_t now(struct fixture *fx)
{
    Pohmel__OutcomeReply reply;
    fx_ok(fx, ask(fx, 0, 0, &reply));
    g_assert_false(reply.done);
    return reply.now;
}

static bool is_there(const struct fixture *fx)
{
    g_autofree char *a = fx_path(fx, "a"), *b = fx_path(fx, "b");
    bool there = g_file_test(a, G_FILE_TEST_IS_DIR);
    g_assert_true(g_file_test(b, G_FILE_TEST_IS_DIR) == there);
    return there;
}

static void take_away(struct fixture *fx)
{
    fx_ok(fx, fx_rmdir(fx, PH_OBJECT_ROOT, "a"));
    fx_ok(fx, fx_rmdir(fx, PH_OBJECT_ROOT, "b"));
}

static void test_done(void)
{
    struct fixture fx;
    set_up(&fx);
    uint64_t since = now(&fx);
    fx_ok(&fx, send(&fx, KEY, since, false));
    g_assert_true(done(&fx, KEY, since));
    start_again(&fx);
    g_assert_true(done(&fx, KEY, since));
    g_assert_true(done(&fx, KEY, since));
    take_away(&fx);
    fx_ok(&fx, send(&fx, KEY, since, false)); /* it comes late once more */
    g_assert_false(is_there(&fx));
    fx_teardown(&fx);
}

static void test_never(void)
{
    struct fixture fx;
    set_up(&fx);
    uint64_t since = now(&fx);
    g_assert_false(done(&fx, KEY, since));
    fx_is(send(&fx, KEY, since, false), PH_ST_STALE);
    g_assert_false(is_there(&fx));
    start_again(&fx);
    fx_is(send(&fx, KEY, since, false), PH_ST_STALE);
    g_assert_false(is_there(&fx));
    g_assert_false(done(&fx, KEY, since));
    fx_ok(&fx, send(&fx, OTHER_KEY, since, false)); /* made anew it is another one */
    g_assert_true(is_there(&fx));
    g_assert_false(done(&fx, KEY, since));
    g_assert_true(done(&fx, OTHER_KEY, since));
    fx_teardown(&fx);
}

static void test_failed(void)
{
    struct fixture fx;
    set_up(&fx);
    uint64_t since = now(&fx);
    fx_is(send(&fx, KEY, since, true), PH_ST_EXISTS);
    g_assert_false(done(&fx, KEY, since));
    fx_is(send(&fx, KEY, since, false), PH_ST_STALE);
    g_assert_false(is_there(&fx));
    fx_teardown(&fx);
}

/* One that was undone may be sent again as long as nobody asked. */
static void test_failed_again(void)
{
    struct fixture fx;
    set_up(&fx);
    uint64_t since = now(&fx);
    fx_is(send(&fx, KEY, since, true), PH_ST_EXISTS);
    fx_ok(&fx, send(&fx, KEY, since, false));
    g_assert_true(done(&fx, KEY, since));
    fx_teardown(&fx);
}

static void test_clients(void)
{
    struct fixture fx;
    set_up(&fx);
    uint64_t since = now(&fx);
    fx.call.client = two;
    g_assert_false(done(&fx, KEY, since));
    fx.call.client = one;
    fx_ok(&fx, send(&fx, KEY, since, false));
    g_assert_true(done(&fx, KEY, since));
    fx.call.client = two;
    g_assert_false(done(&fx, KEY, since));
    fx.call.client = NULL;
    Pohmel__OutcomeReply reply;
    fx_is(ask(&fx, KEY, since, &reply), PH_ST_UNSUPPORTED);
    fx_teardown(&fx);
}

/* The server remembers as many as it says, and says where it does not. What it may have said of an older one
 * it still keeps to. */
static void test_forgotten(void)
{
    struct fixture fx;
    Pohmel__OutcomeReply reply;
    set_up(&fx);
    uint64_t since = now(&fx), other;
    fx_ok(&fx, send(&fx, KEY, since, false));
    take_away(&fx);
    g_assert_false(done(&fx, OTHER_KEY, since));
    other = now(&fx);
    for (uint64_t i = 2; i < PH_UNDO_MARKS; i++)
        g_assert_false(done(&fx, UINT64_C(1) << 40 | i, other));
    g_assert_true(done(&fx, KEY, since));
    g_assert_false(done(&fx, UINT64_C(1) << 41, other));
    fx_is(ask(&fx, KEY, since, &reply), PH_ST_LIMIT);
    g_assert_false(done(&fx, UINT64_C(1) << 42, other));
    for (int starts = 0; starts < 2; starts++) {
        fx_is(ask(&fx, OTHER_KEY, since, &reply), PH_ST_LIMIT);
        fx_is(send(&fx, OTHER_KEY, since, false), PH_ST_STALE);
        fx_is(send(&fx, KEY, since, false), PH_ST_STALE);
        g_assert_false(is_there(&fx));
        start_again(&fx);
    }
    fx_ok(&fx, send(&fx, OTHER_KEY, now(&fx), false));
    fx_teardown(&fx);
}

/* Numbers that no server gave. */
static void test_nonsense(void)
{
    struct fixture fx;
    Pohmel__OutcomeReply reply;
    set_up(&fx);
    uint64_t last = now(&fx);
    fx_is(ask(&fx, KEY, last + 1, &reply), PH_ST_LIMIT);
    fx_is(ask(&fx, UINT64_MAX, UINT64_MAX, &reply), PH_ST_LIMIT);
    fx_is(send(&fx, KEY, UINT64_MAX, false), PH_ST_STALE);
    g_assert_false(is_there(&fx));
    g_assert_cmpuint(now(&fx), ==, last);
    fx_close(&fx);
    fx.options.read_only = true;
    fx_open(&fx);
    fx_is(ask(&fx, KEY, last, &reply), PH_ST_READ_ONLY);
    fx_teardown(&fx);
}

/* Somebody asks from another session while it is executed. */
struct late {
    struct fixture *fx;
    uint64_t since;
    Pohmel__OutcomeReply reply;
    uint32_t status;
    gint answered;
};

static struct late late;
static GThread *asker;

static void *ask_late(void *data)
{
    struct ph_call call = {.client = one, .session_number = 6, .arena = ph_arena_new(SECTOR_BYTES)};
    Pohmel__OutcomeRequest request = POHMEL__OUTCOME_REQUEST__INIT;
    request.key = KEY;
    request.since = late.since;
    pohmel__outcome_reply__init(&late.reply);
    late.status = late.fx->store->outcome(late.fx->store->self, &call, &request, &late.reply);
    ph_arena_free(call.arena);
    g_atomic_int_set(&late.answered, 1);
    return NULL;
}

/* It is not answered before the transaction is over: where it were, some time is enough to see it. */
static void start_asking(void)
{
    static const struct timespec look = {.tv_nsec = LOOK_NS};
    asker = g_thread_new("asker", ask_late, NULL);
    nanosleep(&look, NULL);
    g_assert_cmpint(g_atomic_int_get(&late.answered), ==, 0);
}

static void test_meanwhile(void)
{
    struct fixture fx;
    set_up(&fx);
    late = (struct late){.fx = &fx, .since = now(&fx)};
    syncs = 2; /* of what was there before, and of what was done */
    middle = start_asking;
    fx_ok(&fx, send(&fx, KEY, late.since, false));
    middle = NULL;
    g_assert_nonnull(asker);
    g_thread_join(asker);
    fx_ok(&fx, late.status);
    g_assert_true(late.reply.done);
    g_assert_true(is_there(&fx));
    fx_teardown(&fx);
}

/* Marks of servers that knew no keys were shorter. */
static void test_keyless_marks(void)
{
    enum { CRC_AT = 4, CRC_FROM = 8, BYTES = 64 };
    struct fixture fx;
    uint8_t sector[SECTOR_BYTES];
    set_up(&fx);
    fx_ok(&fx, send(&fx, 0, 0, false));
    uint64_t last = now(&fx);
    fx_close(&fx);
    g_autofree char *path = g_build_filename(fx.state, "undo", NULL);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    off_t at = (off_t) (last % PH_UNDO_MARKS * SECTOR_BYTES);
    g_assert_cmpint(pread(fd, sector, sizeof sector, at), ==, sizeof sector);
    memset(sector + BYTES, 0, sizeof sector - BYTES);
    uint32_t crc = ph_crc32c(0, sector + CRC_FROM, BYTES - CRC_FROM);
    memcpy(sector + CRC_AT, &crc, sizeof crc);
    g_assert_cmpint(pwrite(fd, sector, sizeof sector, at), ==, sizeof sector);
    close(fd);
    struct ph_undo_log *log = ph_undo_log_open(fx.state, NULL);
    g_assert_true(ph_undo_log_is_done(log));
    g_assert_cmpuint(ph_undo_log_last(log), ==, last);
    ph_undo_log_close(log);
    fx_teardown(&fx);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/outcome/what-was-done-is-known-and-not-done-again", test_done);
    g_test_add_func("/outcome/what-is-never-to-be-is-never-executed", test_never);
    g_test_add_func("/outcome/one-that-failed-is-never-to-be", test_failed);
    g_test_add_func("/outcome/one-that-failed-may-come-again-unless-somebody-asked", test_failed_again);
    g_test_add_func("/outcome/keys-of-others-are-others", test_clients);
    g_test_add_func("/outcome/what-is-forgotten-is-said-to-be-and-not-executed", test_forgotten);
    g_test_add_func("/outcome/nonsense-changes-nothing", test_nonsense);
    g_test_add_func("/outcome/who-asks-meanwhile-waits-for-the-end", test_meanwhile);
    g_test_add_func("/outcome/marks-without-keys-are-understood", test_keyless_marks);
    return g_test_run();
}
