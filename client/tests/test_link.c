/* What client/link.h promises, against a server behind a socket. */
#include <pthread.h>
#include <string.h>

#include "client/link.h"
#include "client/tests/fake_server.h"
#include "ph_commands.h"
#include "ph_stubs.h"
#include "runtime/base/limits.h"

enum { LIMIT_S = 20 };

/* One answer waited for. */
struct wait {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    int answers;
    uint32_t status;
    char text[600];
    uint64_t size;
    bool payload_good;
};

static void wait_init(struct wait *wait)
{
    memset(wait, 0, sizeof(*wait));
    pthread_mutex_init(&wait->mutex, NULL);
    pthread_cond_init(&wait->cond, NULL);
}

static bool pattern(const struct ph_blob *blob)
{
    for (size_t i = 0; blob && i < blob->len; i++) {
        if (blob->data[i] != (uint8_t) i)
            return false;
    }
    return blob != NULL;
}

static void answered(void *data, const struct ph_reply *reply)
{
    struct wait *wait = data;
    const Pohmel__GetattrReply *attr = ph_reply_getattr(reply);
    pthread_mutex_lock(&wait->mutex);
    wait->answers++;
    wait->status = reply->status;
    g_strlcpy(wait->text, reply->text, sizeof(wait->text));
    if (attr)
        wait->size = attr->attr->size;
    if (ph_reply_read(reply))
        wait->payload_good = pattern(reply->payload);
    pthread_cond_broadcast(&wait->cond);
    pthread_mutex_unlock(&wait->mutex);
}

/* Waits for COUNT answers in all. */
static void wait_for(struct wait *wait, int count)
{
    pthread_mutex_lock(&wait->mutex);
    while (wait->answers < count)
        pthread_cond_wait(&wait->cond, &wait->mutex);
    pthread_mutex_unlock(&wait->mutex);
}

static struct ph_link *open_link(struct fake_server *server, guint patience_s)
{
    g_autoptr(GError) error = NULL;
    struct ph_link_options options = {
        .address = server->address, .export_name = "home", .patience_s = patience_s};
    struct ph_link *link = ph_link_open(&options, &error);
    g_assert_no_error(error);
    g_assert_nonnull(link);
    return link;
}

static uint64_t getattr(struct ph_link *link, uint64_t object, struct wait *wait)
{
    Pohmel__Caller caller = POHMEL__CALLER__INIT;
    Pohmel__GetattrRequest message = POHMEL__GETATTR_REQUEST__INIT;
    message.caller = &caller;
    message.object = object;
    return ph_send_getattr(ph_link_stub(link), &message, NULL, answered, wait);
}

static void test_request_and_reply(void)
{
    struct fake_server server;
    struct wait wait;
    fake_server_start(&server);
    struct ph_link *link = open_link(&server, 0);
    g_assert_cmpuint(ph_link_info(link)->root, ==, 1);
    g_assert_true(ph_link_info(link)->xattrs);
    g_assert_cmpuint(ph_link_info(link)->payload_max, ==, PH_PAYLOAD_MAX_BYTES);
    g_assert_cmpuint(ph_link_generation(link), ==, 1);
    g_assert_true(ph_link_connected(link));
    wait_init(&wait);
    getattr(link, 7, &wait);
    wait_for(&wait, 1);
    g_assert_cmpuint(wait.status, ==, PH_ST_OK);
    g_assert_cmpuint(wait.size, ==, 70);

    Pohmel__Caller caller = POHMEL__CALLER__INIT;
    Pohmel__ReadRequest read = POHMEL__READ_REQUEST__INIT;
    read.caller = &caller;
    read.object = read.handle = 1;
    read.length = PH_PAYLOAD_MAX_BYTES;
    ph_send_read(ph_link_stub(link), &read, NULL, answered, &wait);
    wait_for(&wait, 2);
    g_assert_true(wait.payload_good);

    Pohmel__StatfsRequest statfs = POHMEL__STATFS_REQUEST__INIT;
    statfs.caller = &caller;
    statfs.object = 1;
    ph_send_statfs(ph_link_stub(link), &statfs, NULL, answered, &wait);
    wait_for(&wait, 3);
    g_assert_cmpuint(wait.status, ==, PH_ST_UNSUPPORTED);
    g_assert_cmpstr(wait.text, ==, ph_status_text(PH_ST_UNSUPPORTED));
    g_autofree char *text = ph_link_status_text(link);
    g_assert_nonnull(strstr(text, "session: open"));
    ph_link_close(link);
    g_assert_cmpint(atomic_load(&server.closes), ==, 1);
    fake_server_stop(&server);
}

static void check_refused(struct fake_server *server, const char *words)
{
    g_autoptr(GError) error = NULL;
    struct ph_link_options options = {.address = server->address, .export_name = "nowhere"};
    g_assert_null(ph_link_open(&options, &error));
    g_assert_nonnull(error);
    g_test_message("%s", error->message);
    g_assert_nonnull(strstr(error->message, words));
    g_assert_null(strchr(error->message, '\n'));
}

static void test_open_failures(void)
{
    struct fake_server server;
    fake_server_start(&server);
    atomic_store(&server.refuse, PH_ST_NO_EXPORT);
    check_refused(&server, "no export \"nowhere\": there is \"home\"");
    atomic_store(&server.refuse, 0);
    atomic_store(&server.garbage, true);
    check_refused(&server, "Pohmel");
    atomic_store(&server.garbage, false);
    atomic_store(&server.mute, true);
    check_refused(&server, "within 5 seconds");
    struct ph_address address = server.address;
    server.address.path = g_strdup_printf("%s.not", address.path);
    check_refused(&server, "cannot reach");
    g_free(server.address.path);
    server.address = address;
    fake_server_stop(&server);
}

static void test_lost_and_back(void)
{
    struct fake_server server;
    struct wait flying, waiting;
    fake_server_start(&server);
    struct ph_link *link = open_link(&server, 10);
    atomic_store(&server.mute, true);
    wait_init(&flying);
    wait_init(&waiting);
    getattr(link, 1, &flying);
    fake_server_cut(&server);
    wait_for(&flying, 1);
    g_assert_cmpuint(flying.status, ==, PH_ST_IO_ERROR);
    g_assert_nonnull(strstr(flying.text, "connection to unix:"));
    atomic_store(&server.mute, false);
    getattr(link, 3, &waiting);
    wait_for(&waiting, 1);
    g_assert_cmpuint(waiting.status, ==, PH_ST_OK);
    g_assert_cmpuint(waiting.size, ==, 30);
    g_assert_cmpuint(ph_link_generation(link), ==, 2);
    ph_link_close(link);
    fake_server_stop(&server);
}

static void test_patience_ends(void)
{
    struct fake_server server;
    struct wait wait;
    fake_server_start(&server);
    struct ph_link *link = open_link(&server, 1);
    atomic_store(&server.mute, true);
    fake_server_cut(&server);
    wait_init(&wait);
    gint64 start = g_get_monotonic_time();
    getattr(link, 1, &wait);
    wait_for(&wait, 1);
    g_assert_cmpuint(wait.status, ==, PH_ST_IO_ERROR);
    g_assert_cmpint(g_get_monotonic_time() - start, <, LIMIT_S * G_USEC_PER_SEC);
    ph_link_close(link);
    fake_server_stop(&server);
}

static void test_malformed_reply(void)
{
    struct fake_server server;
    struct wait wait;
    fake_server_start(&server);
    struct ph_link *link = open_link(&server, 10);
    atomic_store(&server.malformed, true);
    wait_init(&wait);
    getattr(link, 1, &wait);
    wait_for(&wait, 1);
    g_assert_cmpuint(wait.status, ==, PH_ST_IO_ERROR);
    g_assert_nonnull(strstr(wait.text, "malformed answer to GETATTR"));
    atomic_store(&server.malformed, false);
    while (ph_link_generation(link) < 2)
        g_usleep(1000); /* it was closed, and opened anew */
    ph_link_close(link);
    fake_server_stop(&server);
}

static void test_cancel(void)
{
    struct fake_server server;
    struct wait wait;
    fake_server_start(&server);
    struct ph_link *link = open_link(&server, 10);
    Pohmel__Range range = POHMEL__RANGE__INIT;
    Pohmel__LockRequest lock = POHMEL__LOCK_REQUEST__INIT;
    lock.object = lock.handle = 1;
    lock.range = &range;
    lock.wait = true;
    wait_init(&wait);
    for (int i = 0; i < 200; i++) {
        uint64_t ticket = ph_send_lock(ph_link_stub(link), &lock, NULL, answered, &wait);
        g_assert_cmpuint(ticket, !=, 0);
        if (i % 2)
            ph_link_cancel(link, ticket);
        else
            ph_link_abandon(link, ticket);
        wait_for(&wait, i + 1);
        g_assert_cmpuint(wait.status, ==, PH_ST_CANCELLED);
    }
    g_assert_cmpint(atomic_load(&server.cancels), >=, 100);
    ph_link_close(link);
    fake_server_stop(&server);
}

static void test_walk(void)
{
    struct fake_server server;
    struct wait wait;
    fake_server_start(&server);
    struct ph_link *link = open_link(&server, 10);
    wait_init(&wait);
    atomic_store(&server.stale, 30);
    getattr(link, 30, &wait); /* nothing learned yet */
    wait_for(&wait, 1);
    g_assert_cmpuint(wait.status, ==, PH_ST_STALE);
    g_assert_cmpint(atomic_load(&server.lookups), ==, 0);

    ph_link_learn(link, 20, 1, "dir", 3);
    ph_link_learn(link, 30, 20, "file", 4);
    getattr(link, 30, &wait);
    wait_for(&wait, 2);
    g_assert_cmpuint(wait.status, ==, PH_ST_OK);
    g_assert_cmpuint(wait.size, ==, 300);
    g_assert_cmpint(atomic_load(&server.lookups), ==, 1);

    atomic_store(&server.stale, 31); /* another object stands there */
    ph_link_learn(link, 31, 20, "file", 4);
    getattr(link, 31, &wait);
    wait_for(&wait, 3);
    g_assert_cmpuint(wait.status, ==, PH_ST_STALE);
    ph_link_close(link);
    fake_server_stop(&server);
}

static void test_ids(void)
{
    struct fake_server server;
    fake_server_start(&server);
    struct ph_link *link = open_link(&server, 0);
    uint64_t last = 0;
    for (int i = 0; i < 5000; i++) {
        uint64_t id = ph_link_new_objects(link, 3);
        g_assert_cmpuint(id, >=, PH_OBJECT_GIVEN_FIRST);
        g_assert_cmpuint(id, !=, last);
        last = id;
    }
    g_assert_cmpuint(ph_link_new_objects(link, 1001), ==, 0); /* longer than any range */
    g_assert_cmpuint(ph_link_new_handle(link), !=, ph_link_new_handle(link));
    ph_link_close(link);
    fake_server_stop(&server);
}

enum { THREADS = 4, REQUESTS = 3000 };

struct worker {
    struct ph_link *link;
    struct wait wait;
    pthread_t thread;
};

static void *work(void *data)
{
    struct worker *worker = data;
    struct ph_blob *blob = ph_blob_new(70000);
    memset(blob->data, 1, 70000);
    blob->len = 70000;
    Pohmel__Caller caller = POHMEL__CALLER__INIT;
    Pohmel__WriteRequest write = POHMEL__WRITE_REQUEST__INIT;
    write.caller = &caller;
    write.object = write.handle = 5;
    write.length = 70000;
    for (int i = 0; i < REQUESTS; i++) {
        if (i % 8 == 0)
            ph_send_write(ph_link_stub(worker->link), &write, blob, answered, &worker->wait);
        else
            getattr(worker->link, 9, &worker->wait);
        if (i % 500 == 0)
            g_usleep(100);
    }
    ph_blob_unref(blob);
    wait_for(&worker->wait, REQUESTS);
    return NULL;
}

static void test_many_threads(void)
{
    struct fake_server server;
    struct worker workers[THREADS];
    fake_server_start(&server);
    struct ph_link *link = open_link(&server, 20);
    for (int i = 0; i < THREADS; i++) {
        workers[i].link = link;
        wait_init(&workers[i].wait);
        g_assert_cmpint(pthread_create(&workers[i].thread, NULL, work, &workers[i]), ==, 0);
    }
    if (g_test_rand_bit())
        fake_server_cut(&server); /* each is answered once even so */
    for (int i = 0; i < THREADS; i++) {
        pthread_join(workers[i].thread, NULL);
        g_assert_cmpint(workers[i].wait.answers, ==, REQUESTS);
    }
    ph_link_close(link);
    for (int i = 0; i < THREADS; i++)
        g_assert_cmpint(workers[i].wait.answers, ==, REQUESTS);
    fake_server_stop(&server);
}

static void test_close_without_server(void)
{
    struct fake_server server;
    struct wait wait;
    fake_server_start(&server);
    struct ph_link *link = open_link(&server, 60);
    fake_server_stop(&server);
    wait_init(&wait);
    while (ph_link_connected(link))
        g_usleep(1000);
    getattr(link, 1, &wait);
    gint64 start = g_get_monotonic_time();
    ph_link_close(link);
    g_assert_cmpint(g_get_monotonic_time() - start, <, LIMIT_S * G_USEC_PER_SEC);
    g_assert_cmpint(wait.answers, ==, 1);
    g_assert_cmpuint(wait.status, ==, PH_ST_IO_ERROR);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/client/link/requests are answered, with payload and with words",
                    test_request_and_reply);
    g_test_add_func("/client/link/what keeps it from opening is told in one line", test_open_failures);
    g_test_add_func("/client/link/a lost connection fails what flew and comes back", test_lost_and_back);
    g_test_add_func("/client/link/patience ends", test_patience_ends);
    g_test_add_func("/client/link/a malformed reply ends the connection, not the link", test_malformed_reply);
    g_test_add_func("/client/link/cancel and abandon end a wait", test_cancel);
    g_test_add_func("/client/link/objects that the server forgot are found again", test_walk);
    g_test_add_func("/client/link/ids never come twice", test_ids);
    g_test_add_func("/client/link/many threads, each answer once", test_many_threads);
    g_test_add_func("/client/link/closes though the server is gone", test_close_without_server);
    return g_test_run();
}
