/* Parts of large transactions: kept until they are executed as one, or until nobody can want them. */
#include "runtime/wire/frame.h"
#include "server/store/tests/fixture.h"

enum { SESSION_NUMBER = 5, SLOT = 3, TRANSACTION = 77, FILES_OF_PART = 50, PARTS = 5, BYTES = 100 };

static const uint8_t client[16] = "a client of test";

/* Makes files with numbers from FIRST on, each with some data. */
struct making {
    Pohmel__Change change[FILES_OF_PART], *changes[FILES_OF_PART];
    Pohmel__CreateRequest create[FILES_OF_PART];
    char name[FILES_OF_PART][16];
    struct ph_blob *payload;
};

static void making_fill(struct making *making, struct fixture *fx, uint64_t first_id, unsigned first)
{
    making->payload = ph_blob_new(FILES_OF_PART * BYTES);
    making->payload->len = FILES_OF_PART * BYTES;
    memset(making->payload->data, (int) ('a' + first / FILES_OF_PART), making->payload->len);
    for (unsigned i = 0; i < FILES_OF_PART; i++) {
        Pohmel__CreateRequest *create = &making->create[i];
        g_snprintf(making->name[i], sizeof making->name[i], "f%u", first + i);
        pohmel__create_request__init(create);
        create->caller = &fx->caller;
        create->parent = PH_OBJECT_ROOT;
        create->name = (ProtobufCBinaryData){strlen(making->name[i]), (uint8_t *) making->name[i]};
        create->object = first_id + first + i;
        create->mode = 0600;
        create->exclusive = true;
        create->length = BYTES;
        pohmel__change__init(&making->change[i]);
        making->change[i].command_case = POHMEL__CHANGE__COMMAND_CREATE;
        making->change[i].create = create;
        making->changes[i] = &making->change[i];
    }
}

static uint32_t stage(struct fixture *fx, uint64_t transaction, uint32_t number, struct making *making)
{
    Pohmel__StageRequest request = POHMEL__STAGE_REQUEST__INIT;
    request.transaction = transaction;
    request.part = number;
    request.changes = making->changes;
    request.n_changes = FILES_OF_PART;
    size_t len = ph_encoded_size(&request.base);
    g_autofree uint8_t *message = g_malloc(len);
    ph_encode(&request.base, message);
    fx_begin(fx);
    fx->call.payload_in = making->payload;
    uint32_t status = fx->store->stage(fx->store->self, &fx->call, &request, message, len);
    fx->call.payload_in = NULL;
    return status;
}

/* Parts in any order; the last commands come with it. */
static void stage_all(struct fixture *fx, struct making *making)
{
    for (unsigned i = PARTS; i > 0; i--)
        fx_ok(fx, stage(fx, TRANSACTION, i, &making[i - 1]));
}

static uint32_t commit(struct fixture *fx, struct making *last, Pohmel__TransactReply *reply)
{
    Pohmel__TransactRequest request = POHMEL__TRANSACT_REQUEST__INIT;
    uint32_t status;
    request.changes = last->changes;
    request.n_changes = FILES_OF_PART;
    request.staged = TRANSACTION;
    request.parts = PARTS;
    fx_begin(fx);
    fx->call.in_slot = true;
    fx->call.slot = SLOT;
    fx->call.sequence = 1;
    fx->call.request_crc = 4711;
    fx->call.payload_in = last->payload;
    pohmel__transact_reply__init(reply);
    status = fx->store->staged(fx->store->self, &fx->call, TRANSACTION, PARTS, &fx->call.staged);
    if (status == PH_ST_OK)
        status = fx->store->transact(fx->store->self, &fx->call, &request, reply);
    if (fx->call.staged != NULL)
        fx->call.staged->release(fx->call.staged);
    fx->call.staged = NULL;
    fx->call.payload_in = NULL;
    fx->call.in_slot = false;
    return status;
}

struct large {
    struct fixture fx;
    struct making making[PARTS + 1];
    Pohmel__TransactReply reply;
};

static void set_up(struct large *large)
{
    struct fixture *fx = &large->fx;
    fx_setup(fx);
    fx->call.client = client;
    fx->call.session_number = SESSION_NUMBER;
    uint64_t first = fx_id(fx);
    for (unsigned i = 1; i < (PARTS + 1) * FILES_OF_PART; i++)
        fx_id(fx);
    for (unsigned i = 0; i <= PARTS; i++)
        making_fill(&large->making[i], fx, first, i * FILES_OF_PART);
}

static void tear_down(struct large *large)
{
    for (unsigned i = 0; i <= PARTS; i++)
        ph_blob_unref(large->making[i].payload);
    fx_teardown(&large->fx);
}

static unsigned files(const struct fixture *fx)
{
    g_autoptr(GDir) dir = g_dir_open(fx->directory, 0, NULL);
    unsigned count = 0;
    for (const char *name; (name = g_dir_read_name(dir)) != NULL;)
        count += name[0] == 'f';
    return count;
}

static unsigned parts(const struct fixture *fx)
{
    g_autofree char *path = g_build_filename(fx->state, "staged", NULL);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    unsigned count = 0;
    while (g_dir_read_name(dir) != NULL)
        count++;
    return count;
}

static void test_executed_as_one(void)
{
    struct large large;
    struct fixture *fx = &large.fx;
    char *content = NULL;
    set_up(&large);
    stage_all(fx, large.making);
    g_assert_cmpuint(files(fx), ==, 0);
    fx_ok(fx, commit(fx, &large.making[PARTS], &large.reply));
    g_assert_cmpuint(files(fx), ==, (PARTS + 1) * FILES_OF_PART);
    g_assert_cmpuint(large.reply.n_results, ==, FILES_OF_PART);
    g_autofree char *path = fx_path(fx, "f120");
    g_assert_true(g_file_get_contents(path, &content, NULL, NULL));
    g_assert_cmpint(content[0], ==, 'c');
    g_free(content);
    fx->store->drop_staged(fx->store->self, &fx->call, TRANSACTION);
    g_assert_cmpuint(parts(fx), ==, 0);
    tear_down(&large);
}

/* One of the last commands fails: nothing of what was staged is there either. */
static void test_undone_as_one(void)
{
    struct large large;
    struct fixture *fx = &large.fx;
    set_up(&large);
    large.making[PARTS].create[7].parent = 4711;
    stage_all(fx, large.making);
    fx_is(commit(fx, &large.making[PARTS], &large.reply), PH_ST_STALE);
    g_assert_cmpuint(large.reply.failed, ==, PARTS * FILES_OF_PART + 8);
    g_assert_cmpuint(files(fx), ==, 0);
    tear_down(&large);
}

static void test_same_part_again(void)
{
    struct large large;
    struct fixture *fx = &large.fx;
    set_up(&large);
    fx_ok(fx, stage(fx, TRANSACTION, 1, &large.making[0]));
    fx_ok(fx, stage(fx, TRANSACTION, 1, &large.making[0]));
    g_assert_cmpuint(parts(fx), ==, 1);
    fx_is(stage(fx, TRANSACTION, 1, &large.making[1]), PH_ST_INVALID);
    fx_is(commit(fx, &large.making[PARTS], &large.reply), PH_ST_STALE);
    g_assert_cmpuint(files(fx), ==, 0);
    tear_down(&large);
}

/* They survive the server where their session does, and go with it. */
static void test_go_with_the_session(void)
{
    struct large large;
    struct fixture *fx = &large.fx;
    struct ph_store_session session = {.number = SESSION_NUMBER, .host = "test"};
    struct ph_fault fault = {0};
    set_up(&large);
    memcpy(session.client, client, sizeof client);
    fx_is(fx->store->enter_session(fx->store->self, &session, &fault), PH_ST_OK);
    stage_all(fx, large.making);
    fx_close(fx);
    fx_open(fx);
    g_assert_cmpuint(parts(fx), ==, PARTS);
    fx_ok(fx, commit(fx, &large.making[PARTS], &large.reply));
    g_assert_cmpuint(files(fx), ==, (PARTS + 1) * FILES_OF_PART);
    fx->store->leave_session(fx->store->self, client, SESSION_NUMBER);
    g_assert_cmpuint(parts(fx), ==, 0);
    /* One that is in no list is not known after the next start. */
    fx_ok(fx, stage(fx, TRANSACTION, 1, &large.making[0]));
    fx_close(fx);
    fx_open(fx);
    g_assert_cmpuint(parts(fx), ==, 0);
    fx_ok(fx, stage(fx, TRANSACTION, 1, &large.making[0]));
    fx->store->end_session(fx->store->self, fx->call.session);
    g_assert_cmpuint(parts(fx), ==, 0);
    tear_down(&large);
}

static void test_bounded(void)
{
    struct large large;
    struct fixture *fx = &large.fx;
    uint32_t status = PH_ST_OK;
    unsigned kept = 0;
    set_up(&large);
    for (unsigned i = 1; i <= PH_SESSION_STAGED_MAX; i++)
        fx_ok(fx, stage(fx, i, 1, &large.making[0]));
    fx_is(stage(fx, PH_SESSION_STAGED_MAX + 1, 1, &large.making[0]), PH_ST_LIMIT);
    fx_is(stage(fx, 1, PH_TRANSACTION_PARTS_MAX + 1, &large.making[0]), PH_ST_INVALID);
    for (unsigned i = 2; status == PH_ST_OK; i++, kept++)
        status = stage(fx, 1, i, &large.making[0]);
    g_assert_cmpuint((kept + 1) * FILES_OF_PART, >=,
                     MIN(PH_TRANSACTION_COMMANDS_MAX, PH_TRANSACTION_PARTS_MAX * FILES_OF_PART) -
                         FILES_OF_PART);
    tear_down(&large);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/staged/executed-as-one", test_executed_as_one);
    g_test_add_func("/staged/undone-as-one", test_undone_as_one);
    g_test_add_func("/staged/same-part-again-is-the-same", test_same_part_again);
    g_test_add_func("/staged/go-with-the-session", test_go_with_the_session);
    g_test_add_func("/staged/bounded", test_bounded);
    return g_test_run();
}
