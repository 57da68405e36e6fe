/* Promises of the dispatcher and of the stubs, with a store that does what a test tells it. */
#include <glib.h>
#include <string.h>

#include "ph_dispatch.h"
#include "ph_stubs.h"
#include "runtime/base/limits.h"

/* What the handlers answer and what they saw. */
struct fake {
    uint32_t status;
    struct ph_blob *payload;
    unsigned calls;
    uint64_t object;
    bool fill_results;
};

static uint32_t fake_getattr(void *self, struct ph_call *call, const Pohmel__GetattrRequest *request,
                             Pohmel__GetattrReply *reply)
{
    struct fake *fake = self;
    fake->calls++;
    fake->object = request->object;
    reply->attr = PH_ARENA_NEW(call->arena, Pohmel__Attr);
    pohmel__attr__init(reply->attr);
    reply->attr->object = request->object;
    return fake->status;
}

static uint32_t fake_read(void *self, struct ph_call *call, const Pohmel__ReadRequest *request,
                          Pohmel__ReadReply *reply)
{
    struct fake *fake = self;
    call->payload_out = ph_blob_ref(fake->payload);
    return fake->status;
}

static uint32_t fake_mkdir(void *self, struct ph_call *call, const Pohmel__MkdirRequest *request,
                           Pohmel__AttrResult *result)
{
    struct fake *fake = self;
    fake->calls++;
    result->attr = PH_ARENA_NEW(call->arena, Pohmel__Attr);
    pohmel__attr__init(result->attr);
    result->attr->object = request->object;
    return fake->status;
}

static uint32_t fake_transact(void *self, struct ph_call *call, const Pohmel__TransactRequest *request,
                              Pohmel__TransactReply *reply)
{
    struct fake *fake = self;
    if (fake->fill_results) {
        reply->n_results = 1;
        reply->results = ph_arena_alloc0(call->arena, 1, sizeof *reply->results);
        reply->results[0] = PH_ARENA_NEW(call->arena, Pohmel__ChangeResult);
        pohmel__change_result__init(reply->results[0]);
        reply->results[0]->status = fake->status;
    }
    return fake->status;
}

static const struct ph_store_ops store_ops = {
    .getattr = fake_getattr, .read = fake_read, .mkdir = fake_mkdir};
static const struct ph_session_ops session_ops = {.transact = fake_transact};

struct bench {
    struct fake fake;
    struct ph_dispatch dispatch;
    struct ph_call call;
    ProtobufCMessage *reply;
    Pohmel__Caller caller;
    Pohmel__MkdirRequest mkdir;
    Pohmel__Change change, *changes[1];
    Pohmel__TransactRequest transact;
};

static void setup(struct bench *bench, gconstpointer data)
{
    memset(bench, 0, sizeof *bench);
    bench->dispatch = (struct ph_dispatch){&session_ops, &bench->fake, &store_ops, &bench->fake};
    bench->call.arena = ph_arena_new(PH_ARENA_BASE_BYTES);
    pohmel__caller__init(&bench->caller);
    pohmel__mkdir_request__init(&bench->mkdir);
    bench->mkdir.caller = &bench->caller;
    bench->mkdir.parent = 1;
    bench->mkdir.object = 99;
    bench->mkdir.name = (ProtobufCBinaryData){.len = 1, .data = (uint8_t *) "d"};
    pohmel__change__init(&bench->change);
    bench->change.command_case = POHMEL__CHANGE__COMMAND_MKDIR;
    bench->change.mkdir = &bench->mkdir;
    bench->changes[0] = &bench->change;
    pohmel__transact_request__init(&bench->transact);
    bench->transact.n_changes = 1;
    bench->transact.changes = bench->changes;
}

static void teardown(struct bench *bench, gconstpointer data)
{
    ph_blob_unref(bench->call.payload_out);
    ph_blob_unref(bench->fake.payload);
    ph_arena_free(bench->call.arena);
}

static uint32_t run(struct bench *bench, uint16_t command, const ProtobufCMessage *message)
{
    size_t len = ph_encoded_size(message);
    g_autofree uint8_t *wire = g_malloc(len + 1);
    ph_encode(message, wire);
    return ph_dispatch_request(&bench->dispatch, command, wire, len, &bench->call, &bench->reply);
}

static uint32_t run_getattr(struct bench *bench, uint64_t object)
{
    Pohmel__GetattrRequest request = POHMEL__GETATTR_REQUEST__INIT;
    request.caller = &bench->caller;
    request.object = object;
    return run(bench, PH_CMD_GETATTR, &request.base);
}

static uint32_t run_read(struct bench *bench)
{
    Pohmel__ReadRequest request = POHMEL__READ_REQUEST__INIT;
    request.caller = &bench->caller;
    request.object = request.handle = 1;
    return run(bench, PH_CMD_READ, &request.base);
}

static void test_a_request_reaches_its_handler(struct bench *bench, gconstpointer data)
{
    g_assert_cmpuint(run_getattr(bench, 17), ==, PH_ST_OK);
    g_assert_cmpuint(bench->fake.object, ==, 17);
    g_assert_true(bench->reply->descriptor == ph_rule_getattr_reply.descriptor);
    g_assert_cmpuint(((Pohmel__GetattrReply *) bench->reply)->attr->object, ==, 17);
}

static void test_what_cannot_be_asked_here_is_refused(struct bench *bench, gconstpointer data)
{
    Pohmel__Nothing nothing = POHMEL__NOTHING__INIT;
    g_assert_cmpuint(run(bench, 7, &nothing.base), ==, PH_ST_UNKNOWN_COMMAND);
    bench->call.fault.status = 0;
    g_assert_cmpuint(run(bench, PH_CMD_RECALL, &nothing.base), ==, PH_ST_WRONG_STATE);
    bench->call.fault.status = 0;
    g_assert_cmpuint(run(bench, PH_CMD_MKDIR, &bench->mkdir.base), ==, PH_ST_WRONG_STATE);
    g_assert_cmpstr(bench->call.fault.text, ==, "MKDIR was sent outside a transaction");
    g_assert_null(bench->reply);
    g_assert_cmpuint(bench->fake.calls, ==, 0);
}

static void test_a_malformed_request_never_reaches_the_handler(struct bench *bench, gconstpointer data)
{
    g_assert_cmpuint(run_getattr(bench, 0), ==, PH_ST_MALFORMED);
    g_assert_cmpstr(bench->call.fault.text, ==, "GetattrRequest.object: 0 is below 1");
    g_assert_cmpuint(bench->fake.calls, ==, 0);
    g_assert_null(bench->reply);
}

static void test_a_payload_that_is_not_allowed_is_refused(struct bench *bench, gconstpointer data)
{
    uint8_t byte = 0;
    bench->call.payload_in = ph_blob_wrap(&byte, 1, NULL, NULL);
    g_assert_cmpuint(run_getattr(bench, 17), ==, PH_ST_MALFORMED);
    g_assert_cmpuint(bench->fake.calls, ==, 0);
    ph_blob_unref(bench->call.payload_in);
}

static void test_what_nobody_implements_is_unsupported(struct bench *bench, gconstpointer data)
{
    Pohmel__StatfsRequest request = POHMEL__STATFS_REQUEST__INIT;
    request.caller = &bench->caller;
    request.object = 1;
    g_assert_cmpuint(run(bench, PH_CMD_STATFS, &request.base), ==, PH_ST_UNSUPPORTED);
    bench->dispatch.store_ops = NULL;
    g_assert_cmpuint(run_getattr(bench, 17), ==, PH_ST_UNSUPPORTED);
}

static void test_a_failure_carries_words_and_no_reply(struct bench *bench, gconstpointer data)
{
    bench->fake.status = PH_ST_STALE;
    g_assert_cmpuint(run_getattr(bench, 17), ==, PH_ST_STALE);
    g_assert_null(bench->reply);
    g_assert_cmpuint(bench->call.fault.status, ==, PH_ST_STALE);
    g_assert_cmpstr(bench->call.fault.text, ==, "GETATTR: stale object: it was removed or replaced");
}

static void test_an_answer_that_is_not_allowed_becomes_an_io_error(struct bench *bench, gconstpointer data)
{
    bench->fake.status = PH_ST_NO_EXPORT;
    g_assert_cmpuint(run_getattr(bench, 17), ==, PH_ST_IO_ERROR);
    g_assert_cmpstr(bench->call.fault.text, ==, "GETATTR: the server has no answer for NO_EXPORT");
}

static void test_pending_passes_through(struct bench *bench, gconstpointer data)
{
    bench->fake.status = PH_PENDING;
    g_assert_cmpuint(run_getattr(bench, 17), ==, PH_PENDING);
    g_assert_null(bench->reply);
}

static void test_a_payload_too_large_for_the_reply_becomes_an_io_error(struct bench *bench,
                                                                       gconstpointer data)
{
    bench->fake.payload = ph_blob_new(PH_PAYLOAD_MAX_BYTES + 1);
    bench->fake.payload->len = PH_PAYLOAD_MAX_BYTES;
    g_assert_cmpuint(run_read(bench), ==, PH_ST_OK);
    g_assert_true(bench->call.payload_out == bench->fake.payload);
    ph_blob_unref(g_steal_pointer(&bench->call.payload_out));
    bench->fake.payload->len++;
    g_assert_cmpuint(run_read(bench), ==, PH_ST_IO_ERROR);
    g_assert_null(bench->call.payload_out);
}

static void test_a_full_arena_is_an_answer_too(struct bench *bench, gconstpointer data)
{
    Pohmel__GetattrRequest request = POHMEL__GETATTR_REQUEST__INIT;
    while (ph_arena_alloc(bench->call.arena, 16) != NULL)
        continue;
    g_assert_cmpuint(ph_dispatch_message(&bench->dispatch, ph_command_info(PH_CMD_GETATTR), &request.base,
                                         &bench->call, &bench->reply),
                     ==, PH_ST_NO_MEMORY);
    g_assert_cmpuint(bench->fake.calls, ==, 0);
}

static void test_a_failed_transaction_tells_its_results(struct bench *bench, gconstpointer data)
{
    bench->fake.status = PH_ST_NOT_EMPTY;
    g_assert_cmpuint(run(bench, PH_CMD_TRANSACT, &bench->transact.base), ==, PH_ST_NOT_EMPTY);
    g_assert_null(bench->reply);
    bench->fake.fill_results = true;
    bench->call.fault.status = 0;
    g_assert_cmpuint(run(bench, PH_CMD_TRANSACT, &bench->transact.base), ==, PH_ST_NOT_EMPTY);
    g_assert_nonnull(bench->reply);
    size_t len = ph_encoded_size(bench->reply);
    g_autofree uint8_t *wire = g_malloc(len + 1);
    ph_encode(bench->reply, wire);
    Pohmel__TransactReply *back = (Pohmel__TransactReply *) ph_decode(ph_command_info(PH_CMD_TRANSACT)->reply,
                                                                      wire, len, bench->call.arena, NULL);
    g_assert_nonnull(back);
    g_assert_cmpuint(back->results[0]->status, ==, PH_ST_NOT_EMPTY);
}

static void test_a_change_reaches_its_handler(struct bench *bench, gconstpointer data)
{
    const struct ph_command_info *command;
    g_assert_true(ph_change_info(&bench->change, &command));
    g_assert_cmpuint(command->number, ==, PH_CMD_MKDIR);
    Pohmel__ChangeResult result = POHMEL__CHANGE_RESULT__INIT;
    g_assert_cmpuint(ph_dispatch_change(&store_ops, &bench->fake, &bench->call, &bench->change, &result), ==,
                     0);
    g_assert_cmpint(result.result_case, ==, POHMEL__CHANGE_RESULT__RESULT_MKDIR);
    g_assert_cmpuint(result.mkdir->attr->object, ==, 99);
}

static void test_a_failed_change_has_no_result(struct bench *bench, gconstpointer data)
{
    Pohmel__ChangeResult result = POHMEL__CHANGE_RESULT__INIT;
    bench->fake.status = PH_ST_EXISTS;
    g_assert_cmpuint(ph_dispatch_change(&store_ops, &bench->fake, &bench->call, &bench->change, &result), ==,
                     PH_ST_EXISTS);
    g_assert_cmpuint(result.status, ==, PH_ST_EXISTS);
    g_assert_cmpint(result.result_case, ==, POHMEL__CHANGE_RESULT__RESULT__NOT_SET);
    bench->change.command_case = POHMEL__CHANGE__COMMAND_RMDIR;
    g_assert_cmpuint(ph_dispatch_change(&store_ops, &bench->fake, &bench->call, &bench->change, &result), ==,
                     PH_ST_UNSUPPORTED);
    bench->change.command_case = POHMEL__CHANGE__COMMAND__NOT_SET;
    g_assert_false(ph_change_info(&bench->change, &(const struct ph_command_info *){NULL}));
    g_assert_cmpuint(ph_dispatch_change(&store_ops, &bench->fake, &bench->call, &bench->change, &result), ==,
                     PH_ST_MALFORMED);
}

static void test_the_payload_is_cut_up_in_order(struct bench *bench, gconstpointer data)
{
    uint8_t bytes[10];
    bench->call.payload_in = ph_blob_wrap(bytes, sizeof bytes, NULL, NULL);
    g_assert_true(ph_call_take_payload(&bench->call, 4) == bytes);
    g_assert_true(ph_call_take_payload(&bench->call, 6) == bytes + 4);
    g_assert_nonnull(ph_call_take_payload(&bench->call, 0));
    g_assert_null(ph_call_take_payload(&bench->call, 1));
    g_assert_null(ph_call_take_payload(&bench->call, SIZE_MAX));
    ph_blob_unref(g_steal_pointer(&bench->call.payload_in));
    g_assert_null(ph_call_take_payload(&bench->call, 1));
}

/* A wire that runs what is sent through the dispatcher at once. */
static uint64_t loop_send(void *self, uint16_t command, const ProtobufCMessage *message,
                          struct ph_blob *payload, ph_reply_fn fn, void *data)
{
    struct bench *bench = self;
    struct ph_reply reply = {.text = ""};
    reply.status = run(bench, command, message);
    reply.message = bench->reply;
    fn(data, &reply);
    return 0;
}

static uint32_t loop_transact(void *self, struct ph_call *call, const Pohmel__TransactRequest *request,
                              Pohmel__TransactReply *reply)
{
    g_assert_cmpuint(request->n_changes, ==, 1);
    reply->n_results = 1;
    reply->results = ph_arena_alloc0(call->arena, 1, sizeof *reply->results);
    reply->results[0] = PH_ARENA_NEW(call->arena, Pohmel__ChangeResult);
    pohmel__change_result__init(reply->results[0]);
    return ph_dispatch_change(&store_ops, self, call, request->changes[0], reply->results[0]);
}

static void got_attr(void *data, const struct ph_reply *reply)
{
    const Pohmel__GetattrReply *attr = ph_reply_getattr(reply);
    *(uint64_t *) data = attr != NULL ? attr->attr->object : 0;
    g_assert_null(ph_reply_lookup(reply));
    g_assert_null(ph_reply_mkdir(reply));
}

static void got_mkdir(void *data, const struct ph_reply *reply)
{
    const Pohmel__AttrResult *result = ph_reply_mkdir(reply);
    *(uint64_t *) data = result != NULL ? result->attr->object : 0;
    g_assert_null(ph_reply_getattr(reply));
    g_assert_null(ph_reply_symlink(reply));
}

static void test_stubs_send_and_unwrap(struct bench *bench, gconstpointer data)
{
    static const struct ph_session_ops loop_ops = {.transact = loop_transact};
    bench->dispatch.session_ops = &loop_ops;
    struct ph_stub stub = {loop_send, bench};
    Pohmel__GetattrRequest request = POHMEL__GETATTR_REQUEST__INIT;
    request.caller = &bench->caller;
    request.object = 17;
    uint64_t object = 0;
    ph_send_getattr(&stub, &request, NULL, got_attr, &object);
    /* The reply lacks the times that an Attr must have; nobody decoded it. */
    g_assert_cmpuint(object, ==, 17);
    ph_send_mkdir(&stub, &bench->mkdir, NULL, got_mkdir, &object);
    g_assert_cmpuint(object, ==, 99);
    bench->fake.status = PH_ST_EXISTS;
    ph_send_mkdir(&stub, &bench->mkdir, NULL, got_mkdir, &object);
    g_assert_cmpuint(object, ==, 0);
    struct ph_reply empty = {.text = ""};
    g_assert_null(ph_reply_mkdir(&empty));
}

#define ADD(path, function) g_test_add("/dispatch/" path, struct bench, NULL, setup, function, teardown)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("request-reaches-its-handler", test_a_request_reaches_its_handler);
    ADD("what-cannot-be-asked-here", test_what_cannot_be_asked_here_is_refused);
    ADD("malformed-never-reaches-the-handler", test_a_malformed_request_never_reaches_the_handler);
    ADD("payload-not-allowed", test_a_payload_that_is_not_allowed_is_refused);
    ADD("what-nobody-implements-is-unsupported", test_what_nobody_implements_is_unsupported);
    ADD("failure-carries-words-and-no-reply", test_a_failure_carries_words_and_no_reply);
    ADD("answer-not-allowed-becomes-io-error", test_an_answer_that_is_not_allowed_becomes_an_io_error);
    ADD("pending-passes-through", test_pending_passes_through);
    ADD("reply-payload-too-large", test_a_payload_too_large_for_the_reply_becomes_an_io_error);
    ADD("full-arena-is-an-answer", test_a_full_arena_is_an_answer_too);
    ADD("failed-transaction-tells-its-results", test_a_failed_transaction_tells_its_results);
    ADD("change-reaches-its-handler", test_a_change_reaches_its_handler);
    ADD("failed-change-has-no-result", test_a_failed_change_has_no_result);
    ADD("payload-is-cut-up-in-order", test_the_payload_is_cut_up_in_order);
    ADD("stubs-send-and-unwrap", test_stubs_send_and_unwrap);
    return g_test_run();
}
