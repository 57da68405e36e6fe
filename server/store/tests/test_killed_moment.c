/* A server that is killed at any moment while four clients' worth of changes are being made: what was begun
 * last is sent again in its slot, and everything has happened once. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "ph_commands.h"
#include "server/store/tests/fixture.h"

enum { ROUNDS = 200, LANES = 4, LINE_BYTES = 8, KILL_AFTER_US = 30000, SESSION_NUMBER = 5, HANDLE = 77 };

static const uint8_t client[16] = "a client of test";

static ProtobufCBinaryData data(const char *text)
{
    return (ProtobufCBinaryData){strlen(text), (uint8_t *) text};
}

static void quiet(const char *domain, GLogLevelFlags level, const char *message, gpointer ignored)
{
}

/* Where each lane of the killed server was: its transaction that was begun last. */
struct lanes {
    _Atomic uint32_t begun[LANES];
    uint64_t dir[LANES], log[LANES], first_id[LANES];
};

struct lane {
    struct lanes *lanes;
    struct ph_store *store;
    struct ph_call call;
    Pohmel__Caller caller;
    unsigned number;
};

static uint32_t lane_run(struct lane *lane, const Pohmel__Change *change, struct ph_blob *payload, uint32_t k)
{
    Pohmel__Change copy = *change, *changes[1] = {&copy};
    Pohmel__TransactRequest request = POHMEL__TRANSACT_REQUEST__INIT;
    Pohmel__TransactReply reply = POHMEL__TRANSACT_REPLY__INIT;
    request.changes = changes;
    request.n_changes = 1;
    ph_arena_reset(lane->call.arena, 64 * 1024);
    lane->call.payload_in = payload;
    lane->call.payload_used = 0;
    lane->call.in_slot = true;
    lane->call.slot = lane->number;
    lane->call.sequence = lane->call.request_crc = k;
    lane->call.fault = (struct ph_fault){0};
    return lane->store->recorded(lane->store->self, &lane->call, &request, &reply)
               ? PH_ST_OK
               : lane->store->transact(lane->store->self, &lane->call, &request, &reply);
}

/* Transaction K of a lane: in turn a file with a line in it is made, a line is appended to the log, the file
 * moved, and removed. */
static uint32_t lane_step(struct lane *lane, uint32_t k)
{
    const struct lanes *lanes = lane->lanes;
    char name[32], to[32], line[LINE_BYTES + 1];
    Pohmel__Change change = POHMEL__CHANGE__INIT;
    Pohmel__CreateRequest create = POHMEL__CREATE_REQUEST__INIT;
    Pohmel__WriteRequest write = POHMEL__WRITE_REQUEST__INIT;
    Pohmel__RenameRequest rename = POHMEL__RENAME_REQUEST__INIT;
    Pohmel__RemoveRequest remove = POHMEL__REMOVE_REQUEST__INIT;
    struct ph_blob *payload = NULL;
    uint32_t round = (k - 1) / 4;
    g_snprintf(name, sizeof name, "f%u", round);
    g_snprintf(to, sizeof to, "g%u", round);
    g_snprintf(line, sizeof line, "%07u\n", round);
    create.caller = write.caller = rename.caller = remove.caller = &lane->caller;
    create.parent = rename.old_parent = rename.new_parent = remove.parent = lanes->dir[lane->number];
    change.command_case = (k - 1) % 4 == 0   ? POHMEL__CHANGE__COMMAND_CREATE
                          : (k - 1) % 4 == 1 ? POHMEL__CHANGE__COMMAND_WRITE
                          : (k - 1) % 4 == 2 ? POHMEL__CHANGE__COMMAND_RENAME
                                             : POHMEL__CHANGE__COMMAND_REMOVE;
    switch ((k - 1) % 4) {
    case 0:
        create.name = data(name);
        create.object = lanes->first_id[lane->number] + round;
        create.mode = 0600;
        create.exclusive = true;
        create.length = LINE_BYTES;
        change.create = &create;
        break;
    case 1:
        write.object = lanes->log[lane->number];
        write.handle = HANDLE + lane->number;
        write.append = true;
        write.length = LINE_BYTES;
        change.write = &write;
        break;
    case 2:
        rename.old_name = data(name);
        rename.new_name = data(to);
        change.rename = &rename;
        break;
    default:
        remove.name = data(to);
        change.remove = &remove;
        break;
    }
    if ((k - 1) % 4 < 2)
        payload = ph_blob_wrap((uint8_t *) line, LINE_BYTES, NULL, NULL);
    uint32_t status = lane_run(lane, &change, payload, k);
    ph_blob_unref(payload);
    return status;
}

static void lane_begin(struct lane *lane, struct fixture *fx, struct lanes *lanes, unsigned number)
{
    memset(lane, 0, sizeof *lane);
    lane->lanes = lanes;
    lane->store = fx->store;
    lane->number = number;
    pohmel__caller__init(&lane->caller);
    lane->call.arena = ph_arena_new(64 * 1024);
    lane->call.session = fx->call.session;
    lane->call.client = client;
    lane->call.session_number = SESSION_NUMBER;
}

static void *lane_go(void *given)
{
    struct lane *lane = given;
    for (uint32_t k = 1;; k++) {
        atomic_store(&lane->lanes->begun[lane->number], k);
        uint32_t status = lane_step(lane, k);
        if (status != PH_ST_OK)
            g_error("lane %u, %u: %s %s", lane->number, k, ph_status_name(status), lane->call.fault.text);
    }
    return NULL;
}

/* What every client of the store does first, and after a restart again. */
static void lanes_find(struct fixture *fx, struct lanes *lanes)
{
    for (unsigned i = 0; i < LANES; i++) {
        g_autofree char *name = g_strdup_printf("lane%u", i), *log = g_strdup_printf("lane%u/log", i);
        fx_ok(fx, fx_lookup(fx, PH_OBJECT_ROOT, name));
        lanes->dir[i] = fx->attr->object;
        fx_ok(fx, fx_lookup(fx, PH_OBJECT_ROOT, log));
        lanes->log[i] = fx->attr->object;
        fx_ok(fx, fx_open_object(fx, lanes->log[i], HANDLE + i, 3));
    }
}

static void lane_expect(struct fixture *fx, struct lanes *lanes, unsigned number, uint32_t k)
{
    g_autofree char *log = g_strdup_printf("%s/lane%u/log", fx->directory, number), *bytes = NULL;
    gsize len = 0;
    char name[64], line[LINE_BYTES + 1];
    uint32_t lines = (k + 2) / 4, round = (k - 1) / 4;
    g_assert_true(g_file_get_contents(log, &bytes, &len, NULL));
    g_assert_cmpuint(len, ==, lines * LINE_BYTES);
    for (uint32_t i = 0; i < lines; i++) {
        g_snprintf(line, sizeof line, "%07u\n", i);
        g_assert_cmpint(memcmp(bytes + i * LINE_BYTES, line, LINE_BYTES), ==, 0);
    }
    g_autofree char *dir = g_strdup_printf("%s/lane%u", fx->directory, number);
    g_autoptr(GDir) listing = g_dir_open(dir, 0, NULL);
    int others = 0;
    for (const char *entry; (entry = g_dir_read_name(listing)) != NULL;)
        others += strcmp(entry, "log") != 0;
    g_assert_cmpint(others, ==, (k - 1) % 4 != 3);
    g_snprintf(name, sizeof name, "%c%u", (k - 1) % 4 < 2 ? 'f' : 'g', round);
    if ((k - 1) % 4 == 3)
        return;
    fx_ok(fx, fx_lookup(fx, lanes->dir[number], name));
    g_assert_cmpuint(fx->attr->object, ==, lanes->first_id[number] + round);
    g_assert_cmpuint(fx->attr->size, ==, LINE_BYTES);
}

/* Each lane sends its last change again, and goes on with the next. */
static void lanes_go_on(struct fixture *fx, struct lanes *lanes)
{
    for (unsigned i = 0; i < LANES; i++) {
        uint32_t k = lanes->begun[i];
        struct lane lane;
        lane_begin(&lane, fx, lanes, i);
        for (uint32_t next = k == 0 ? 1 : k; next < k + 3; next++) {
            uint32_t status = lane_step(&lane, next);
            if (status != PH_ST_OK)
                g_error("lane %u, %u: %s %s", i, next, ph_status_name(status), lane.call.fault.text);
            lane_expect(fx, lanes, i, next);
        }
        ph_arena_free(lane.call.arena);
    }
}

static void lanes_round(struct lanes *lanes)
{
    struct fixture fx;
    pthread_t thread;
    int status;
    fx_setup(&fx);
    memset(lanes, 0, sizeof *lanes);
    fx.call.client = client;
    for (unsigned i = 0; i < LANES; i++) {
        g_autofree char *name = g_strdup_printf("lane%u", i), *dir = fx_path(&fx, name),
                        *log = g_strdup_printf("lane%u/log", i);
        g_assert_cmpint(mkdir(dir, 0755), ==, 0);
        fx_put(&fx, log, "");
        lanes->first_id[i] = fx.next_id + i * 10000;
    }
    fx_close(&fx);
    pid_t child = fork();
    g_assert_cmpint(child, >=, 0);
    if (child == 0) {
        struct lane lane[LANES];
        fx_open(&fx);
        lanes_find(&fx, lanes);
        for (unsigned i = 0; i < LANES; i++) {
            lane_begin(&lane[i], &fx, lanes, i);
            pthread_create(&thread, NULL, lane_go, &lane[i]);
        }
        pause();
    }
    while (lanes->begun[0] == 0)
        g_usleep(200);
    g_usleep((gulong) g_random_int_range(0, KILL_AFTER_US));
    kill(child, SIGKILL);
    g_assert_cmpint(waitpid(child, &status, 0), ==, child);
    g_assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    fx_open(&fx);
    lanes_find(&fx, lanes);
    lanes_go_on(&fx, lanes);
    fx_teardown(&fx);
}

static void test_any_moment(void)
{
    struct lanes *lanes =
        mmap(NULL, sizeof *lanes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    g_assert_true(lanes != MAP_FAILED);
    guint handler = g_log_set_handler(NULL, G_LOG_LEVEL_MESSAGE, quiet, NULL);
    int rounds = g_test_slow() ? ROUNDS : ROUNDS / 10;
    for (int i = 0; i < rounds; i++)
        lanes_round(lanes);
    g_log_remove_handler(NULL, handler);
    munmap(lanes, sizeof *lanes);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/killed/once-at-any-moment", test_any_moment);
    return g_test_run();
}
