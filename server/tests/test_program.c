/* The program itself: started on a fresh directory, driven over TCP and a unix socket. */
#include <glib.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/io/address.h"
#include "runtime/wire/frame.h"
#include "server/tests/test_client.h"

struct program {
    char *root, *export, *state, *socket;
    GPid process;
    int output;
    char *ready; /* its first line */
    struct ph_address address;
};

/* A server must not outlive the test that failed. */
static void die_with_parent(gpointer data)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/* One line from DESCRIPTOR, without its end. */
static char *read_line(int descriptor)
{
    GString *line = g_string_new(NULL);
    char c;

    while (read(descriptor, &c, 1) == 1 && c != '\n')
        g_string_append_c(line, c);
    return g_string_free(line, FALSE);
}

/* The program on the directories of PROGRAM, up to its first line. */
static void program_run(struct program *program)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *listen_unix = g_strconcat("unix:", program->socket, NULL);
    g_autofree char *export = g_strconcat("files=", program->export, NULL);
    const char *arguments[] = {g_getenv("PH_SERVER_BINARY"),
                               "--export",
                               export,
                               "--state-dir",
                               program->state,
                               "--listen",
                               "127.0.0.1:0",
                               "--listen",
                               listen_unix,
                               NULL};
    char *on;

    /* Not a GSubprocess: that has a thread of GLib's, which the thread sanitizer cannot see into. */
    g_spawn_async_with_pipes(NULL, (char **) arguments, NULL, G_SPAWN_DO_NOT_REAP_CHILD, die_with_parent,
                             NULL, &program->process, NULL, &program->output, NULL, &error);
    g_assert_no_error(error);
    program->ready = read_line(program->output);
    on = strstr(program->ready, " on ");
    g_assert_nonnull(on);
    g_assert_true(g_str_has_prefix(program->ready, "pohmel-server: ready, exporting files="));
    on = g_strdelimit(on + strlen(" on "), ",", '\0');
    g_assert_true(ph_address_parse(on, 0, &program->address, &error));
    g_assert_no_error(error);
}

static void program_start(struct program *program)
{
    *program = (struct program){.root = g_dir_make_tmp("pohmel-test-XXXXXX", NULL)};
    program->export = g_build_filename(program->root, "export", NULL);
    program->state = g_build_filename(program->root, "state", NULL);
    program->socket = g_build_filename(program->root, "socket", NULL);
    g_assert_cmpint(g_mkdir(program->export, 0755), ==, 0);
    program_run(program);
}

/* The server was told to end, and does so in order. */
static void program_stopped(struct program *program)
{
    g_autoptr(GError) error = NULL;
    const char *arguments[] = {"rm", "-rf", program->root, NULL};
    int status;

    g_assert_cmpint(waitpid(program->process, &status, 0), ==, program->process);
    g_assert_true(WIFEXITED(status));
    g_assert_cmpint(WEXITSTATUS(status), ==, 0);
    close(program->output);
    g_assert_false(g_file_test(program->socket, G_FILE_TEST_EXISTS));
    g_assert_true(g_spawn_sync(NULL, (char **) arguments, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL,
                               NULL, &error));
    ph_address_clear(&program->address);
    g_free(program->root);
    g_free(program->export);
    g_free(program->state);
    g_free(program->socket);
    g_free(program->ready);
}

static void program_stop(struct program *program)
{
    g_assert_cmpint(kill(program->process, SIGTERM), ==, 0);
    program_stopped(program);
}

static struct ph_test_client *join_at(const struct ph_address *address, uint8_t who)
{
    g_autoptr(GError) error = NULL;
    int fd = ph_connect(address, PH_TEST_TIMEOUT_MS, &error);
    struct ph_test_client *client;

    g_assert_no_error(error);
    client = ph_test_client_new(fd);
    if (who != 0)
        g_assert_cmpuint(ph_test_session(client, who, 1, "files"), ==, PH_ST_OK);
    return client;
}

static struct ph_test_client *join(struct program *program, uint8_t who)
{
    return join_at(&program->address, who);
}

enum { IDS = 100 };

static uint64_t grant_ids(struct ph_test_client *client)
{
    Pohmel__IdsGrantRequest request = POHMEL__IDS_GRANT_REQUEST__INIT;
    struct ph_frame *frame;
    struct ph_arena *arena = ph_arena_new(PH_ARENA_CAP_BYTES);
    const Pohmel__IdsGrantReply *reply;
    uint64_t first;

    request.count = IDS;
    frame = ph_test_call(client, PH_CMD_IDS_GRANT, &request.base);
    g_assert_cmpuint(frame->header.status, ==, PH_ST_OK);
    reply = (const void *) ph_decode(&ph_rule_ids_grant_reply, frame->message, frame->header.message_len,
                                     arena, NULL);
    g_assert_nonnull(reply);
    first = reply->first;
    ph_arena_free(arena);
    ph_frame_free(frame);
    return first;
}

static uint32_t write_file(struct ph_test_client *client, uint64_t object, uint64_t handle, const char *text)
{
    Pohmel__Change change = POHMEL__CHANGE__INIT;
    Pohmel__WriteRequest write = POHMEL__WRITE_REQUEST__INIT;
    Pohmel__Caller caller = POHMEL__CALLER__INIT;
    struct ph_blob *payload = ph_blob_copy(text, strlen(text));
    uint32_t status;

    write.caller = &caller;
    write.object = object;
    write.handle = handle;
    write.length = (uint32_t) payload->len;
    change.command_case = POHMEL__CHANGE__COMMAND_WRITE;
    change.write = &write;
    status = ph_test_change(client, 1, &change, payload);
    ph_blob_unref(payload);
    return status;
}

/* How many names LOOKUP finds; a missing one may be told in the status or in the reply. */
static size_t found(struct ph_test_client *client, const Pohmel__LookupRequest *request)
{
    struct ph_frame *frame = ph_test_call(client, PH_CMD_LOOKUP, &request->base);
    struct ph_arena *arena = ph_arena_new(PH_ARENA_CAP_BYTES);
    const Pohmel__LookupReply *reply;
    size_t count = 0;

    if (frame->header.status == PH_ST_OK) {
        reply = (const void *) ph_decode(&ph_rule_lookup_reply, frame->message, frame->header.message_len,
                                         arena, NULL);
        g_assert_nonnull(reply);
        count = reply->n_found;
        g_assert_true(count == request->n_names || reply->failure == PH_ST_NOT_FOUND);
    } else {
        g_assert_cmpuint(frame->header.status, ==, PH_ST_NOT_FOUND);
    }
    ph_arena_free(arena);
    ph_frame_free(frame);
    return count;
}

static void test_session_and_files(void)
{
    Pohmel__ReadRequest read = POHMEL__READ_REQUEST__INIT;
    Pohmel__LookupRequest lookup = POHMEL__LOOKUP_REQUEST__INIT;
    Pohmel__CloseRequest close = POHMEL__CLOSE_REQUEST__INIT;
    Pohmel__SessionCloseRequest end = POHMEL__SESSION_CLOSE_REQUEST__INIT;
    Pohmel__Caller caller = POHMEL__CALLER__INIT;
    ProtobufCBinaryData name = {4, (uint8_t *) "file"};
    struct program program;
    struct ph_test_client *client;
    struct ph_frame *frame;
    g_autofree char *path = NULL, *content = NULL;
    uint64_t object;

    program_start(&program);
    client = join(&program, 1);
    object = grant_ids(client);
    lookup.caller = read.caller = &caller;
    lookup.parent = PH_OBJECT_ROOT;
    lookup.names = &name;
    lookup.n_names = 1;
    g_assert_cmpuint(found(client, &lookup), ==, 0);
    g_assert_cmpuint(ph_test_create(client, 0, "file", object, 1), ==, PH_ST_OK);
    g_assert_cmpuint(write_file(client, object, 1, "hello, world"), ==, PH_ST_OK);
    path = g_build_filename(program.export, "file", NULL);
    g_assert_true(g_file_get_contents(path, &content, NULL, NULL));
    g_assert_cmpstr(content, ==, "hello, world");
    read.object = object;
    read.handle = 1;
    read.offset = 7;
    read.length = 100;
    frame = ph_test_call(client, PH_CMD_READ, &read.base);
    g_assert_cmpuint(frame->header.status, ==, PH_ST_OK);
    g_assert_cmpmem(frame->payload->data, frame->payload->len, "world", 5);
    ph_frame_free(frame);
    g_assert_cmpuint(found(client, &lookup), ==, 1);
    close.handle = 1;
    close.object = object;
    g_assert_cmpuint(ph_test_status(client, PH_CMD_CLOSE, &close.base), ==, PH_ST_OK);
    g_assert_cmpuint(ph_test_status(client, PH_CMD_READ, &read.base), ==, PH_ST_BAD_HANDLE);
    g_assert_cmpuint(ph_test_status(client, PH_CMD_SESSION_CLOSE, &end.base), ==, PH_ST_OK);
    ph_test_client_free(client);
    program_stop(&program);
}

static uint32_t next_status(struct ph_test_client *client, uint64_t id)
{
    struct ph_frame *frame = ph_test_receive(client, PH_TEST_TIMEOUT_MS);
    uint32_t status;

    g_assert_nonnull(frame);
    g_assert_cmpuint(frame->header.id, ==, id);
    status = frame->header.status;
    ph_frame_free(frame);
    return status;
}

static void test_locks_between_connections(void)
{
    struct program program;
    struct ph_address unix_address;
    struct ph_test_client *a, *b;
    uint64_t object, first, second;

    program_start(&program);
    unix_address = (struct ph_address){.path = program.socket};
    a = join(&program, 1);
    b = join_at(&unix_address, 2);
    object = grant_ids(a);
    g_assert_cmpuint(ph_test_create(a, 0, "file", object, 1), ==, PH_ST_OK);
    g_assert_cmpuint(ph_test_create(b, 0, "file", grant_ids(b), 1), ==, PH_ST_OK);
    g_assert_cmpuint(next_status(a, ph_test_lock(a, object, 1, 5, false)), ==, PH_ST_OK);
    g_assert_cmpuint(next_status(b, ph_test_lock(b, object, 1, 5, false)), ==, PH_ST_WOULD_BLOCK);
    first = ph_test_lock(b, object, 1, 5, true);
    g_assert_null(ph_test_receive(b, 100));
    ph_test_control(b, PH_CONTROL_CANCEL, first);
    g_assert_cmpuint(next_status(b, first), ==, PH_ST_CANCELLED);
    second = ph_test_lock(b, object, 1, 5, true);
    g_assert_null(ph_test_receive(b, 100));
    g_assert_cmpuint(ph_test_unlock(a, object, 5), ==, PH_ST_OK);
    g_assert_cmpuint(next_status(b, second), ==, PH_ST_OK);
    /* A client that dies takes its locks along. */
    first = ph_test_lock(a, object, 1, 5, true);
    g_assert_null(ph_test_receive(a, 100));
    ph_test_client_free(b);
    g_assert_cmpuint(next_status(a, first), ==, PH_ST_OK);
    ph_test_client_free(a);
    program_stop(&program);
}

/* Reads until the server has ended the connection. */
static void expect_end(struct ph_test_client *client)
{
    struct ph_frame *frame;
    gint64 until = g_get_monotonic_time() + PH_TEST_TIMEOUT_MS * G_GINT64_CONSTANT(1000);

    while ((frame = ph_test_receive(client, 100)) != NULL || ph_test_ended(client) == 0) {
        ph_frame_free(frame);
        g_assert_cmpint(g_get_monotonic_time(), <, until);
    }
}

static void test_hostile_clients(void)
{
    const struct ph_frame_header huge = {.kind = PH_FRAME_REQUEST,
                                         .command = PH_CMD_READ,
                                         .slot = PH_NO_SLOT,
                                         .message_len = UINT32_MAX,
                                         .payload_len = UINT32_MAX};
    struct program program;
    struct ph_test_client *good, *bad;
    uint8_t bytes[4096];

    program_start(&program);
    good = join(&program, 1);
    for (int kind = 0; kind < 4; kind++) {
        bad = join(&program, kind % 2 == 0 ? 0 : 2);
        memset(bytes, 0xa5 + kind, sizeof(bytes));
        if (kind >= 2)
            ph_frame_header_encode(&huge, bytes);
        ph_test_raw(bad, bytes, sizeof(bytes));
        expect_end(bad);
        ph_test_client_free(bad);
        g_assert_cmpuint(ph_test_getattr(good, PH_OBJECT_ROOT), ==, PH_ST_OK);
    }
    /* Half a frame, and silence. */
    bad = join(&program, 3);
    ph_frame_header_encode(
        &(struct ph_frame_header){.kind = PH_FRAME_REQUEST, .slot = PH_NO_SLOT, .message_len = 100}, bytes);
    ph_test_raw(bad, bytes, PH_FRAME_HEADER_BYTES + 10);
    g_assert_cmpuint(ph_test_getattr(good, PH_OBJECT_ROOT), ==, PH_ST_OK);
    ph_test_client_free(bad);
    /* Wrong order, unknown and foreign commands: answered, and the connection goes on. */
    bad = join(&program, 0);
    g_assert_cmpuint(ph_test_getattr(bad, PH_OBJECT_ROOT), ==, PH_ST_WRONG_STATE);
    g_assert_cmpuint(ph_test_status(bad, 9999, NULL), ==, PH_ST_UNKNOWN_COMMAND);
    g_assert_cmpuint(ph_test_status(bad, PH_CMD_RECALL, NULL), ==, PH_ST_WRONG_STATE);
    g_assert_cmpuint(ph_test_session(bad, 4, 1,
                                     "no such\xff"
                                     "export"),
                     ==, PH_ST_NO_EXPORT);
    g_assert_cmpuint(ph_test_session(bad, 4, 1, ""), ==, PH_ST_OK);
    g_assert_cmpuint(ph_test_status(bad, PH_CMD_LOOKUP, NULL), ==, PH_ST_MALFORMED);
    ph_test_client_free(bad);
    g_assert_cmpuint(ph_test_getattr(good, PH_OBJECT_ROOT), ==, PH_ST_OK);
    ph_test_client_free(good);
    program_stop(&program);
}

/* Killed (not the machine: that is what SYNC is for), it forgets nothing that was answered. */
static void test_killed_server_remembers_ids(void)
{
    enum { FILES = IDS };
    struct program program;
    struct ph_test_client *client;
    uint64_t first;

    program_start(&program);
    client = join(&program, 1);
    first = grant_ids(client);
    for (unsigned i = 0; i < FILES; i++) {
        g_autofree char *name = g_strdup_printf("file %u", i);

        g_assert_cmpuint(ph_test_create(client, 0, name, first + i, 1 + i), ==, PH_ST_OK);
    }
    g_assert_cmpint(kill(program.process, SIGKILL), ==, 0);
    g_assert_cmpint(waitpid(program.process, NULL, 0), ==, program.process);
    ph_test_client_free(client);
    close(program.output);
    ph_address_clear(&program.address);
    g_free(program.ready);
    program_run(&program);
    client = join(&program, 1);
    for (unsigned i = 0; i < FILES; i++)
        g_assert_cmpuint(ph_test_getattr(client, first + i), ==, PH_ST_OK);
    ph_test_client_free(client);
    program_stop(&program);
}

static void test_tells_clients_when_it_ends(void)
{
    struct program program;
    struct ph_test_client *client;

    program_start(&program);
    client = join(&program, 1);
    kill(program.process, SIGINT);
    expect_end(client);
    g_assert_cmpuint(ph_test_ended(client), ==, PH_ST_SHUTTING_DOWN);
    ph_test_client_free(client);
    program_stopped(&program);
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/program/session-and-files", test_session_and_files);
    g_test_add_func("/program/locks-between-connections", test_locks_between_connections);
    g_test_add_func("/program/hostile-clients-are-cut-off-and-others-served", test_hostile_clients);
    g_test_add_func("/program/killed-server-remembers-ids", test_killed_server_remembers_ids);
    g_test_add_func("/program/clients-are-told-when-it-ends", test_tells_clients_when_it_ends);
    return g_test_run();
}
