/* Promises of channels: two of them over a socket pair, each on a main context
 * with a thread of its own; and raw peers that misbehave. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ph_commands.h"
#include "runtime/base/limits.h"
#include "runtime/io/channel.h"

static const struct ph_hello hello = {
    .message_max = PH_MESSAGE_MAX_BYTES,
    .payload_max = PH_PAYLOAD_MAX_BYTES,
    .implementation = "test",
};

/* ---- Tools ---------------------------------------------------------------- */

struct loop {
    pthread_t thread;
    GMainContext *context;
    int stop;
};

static void *loop_run(void *data)
{
    struct loop *loop = data;
    while (!__atomic_load_n(&loop->stop, __ATOMIC_ACQUIRE))
        g_main_context_iteration(loop->context, TRUE);
    return NULL;
}

static void loop_start(struct loop *loop)
{
    loop->context = g_main_context_new();
    loop->stop = 0;
    g_assert_cmpint(pthread_create(&loop->thread, NULL, loop_run, loop), ==, 0);
}

static void loop_end(struct loop *loop)
{
    __atomic_store_n(&loop->stop, 1, __ATOMIC_RELEASE);
    g_main_context_wakeup(loop->context);
    pthread_join(loop->thread, NULL);
    g_main_context_unref(loop->context);
}

/* What one end has seen. */
struct end {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct ph_channel *channel;
    int ready, closed;
    uint64_t frames, bytes, next_id[8]; /* by sender */
    struct ph_fault fault;
    bool echo;
    int overlap; /* events under way: never more than one */
};

static void event_enter(struct end *end)
{
    g_assert_cmpint(__atomic_add_fetch(&end->overlap, 1, __ATOMIC_ACQ_REL), ==, 1);
    pthread_mutex_lock(&end->mutex);
    g_assert_cmpint(end->closed, ==, 0);
}

static void event_leave(struct end *end)
{
    pthread_cond_broadcast(&end->changed);
    pthread_mutex_unlock(&end->mutex);
    __atomic_sub_fetch(&end->overlap, 1, __ATOMIC_ACQ_REL);
}

static void on_ready(void *data, struct ph_channel *channel)
{
    struct end *end = data;
    event_enter(end);
    g_assert_cmpint(end->ready, ==, 0);
    g_assert_cmpstr(ph_channel_peer(channel)->implementation, ==, "test");
    end->ready++;
    event_leave(end);
}

/* Ids count up for each sender; the sender's number stands in `command`. */
static void on_frame(void *data, struct ph_channel *channel, struct ph_frame *frame)
{
    struct end *end = data;
    event_enter(end);
    g_assert_cmpint(end->ready, ==, 1);
    g_assert_cmpuint(frame->header.id, ==, end->next_id[frame->header.command]);
    end->next_id[frame->header.command]++;
    end->frames++;
    end->bytes += frame->header.message_len + frame->header.payload_len;
    bool echo = end->echo;
    event_leave(end);
    if (echo) {
        struct ph_frame_header reply = frame->header;
        reply.kind = PH_FRAME_REPLY;
        ph_channel_send(channel, &reply, frame->message, frame->header.message_len, frame->payload);
    }
    ph_frame_free(frame);
}

static void on_closed(void *data, struct ph_channel *channel, const struct ph_fault *fault)
{
    struct end *end = data;
    event_enter(end);
    end->closed++;
    end->fault = *fault;
    event_leave(end);
}

static const struct ph_channel_events events = {.ready = on_ready, .frame = on_frame, .closed = on_closed};

static void end_init(struct end *end)
{
    memset(end, 0, sizeof *end);
    pthread_mutex_init(&end->mutex, NULL);
    pthread_cond_init(&end->changed, NULL);
}

static void end_clear(struct end *end)
{
    if (end->channel != NULL)
        ph_channel_unref(end->channel);
    pthread_mutex_destroy(&end->mutex);
    pthread_cond_destroy(&end->changed);
}

/* Waits until EXPRESSION holds under the end's lock, 20 s at most. */
#define AWAIT(end, expression)                                                                               \
    do {                                                                                                     \
        struct timespec until;                                                                               \
        clock_gettime(CLOCK_REALTIME, &until);                                                               \
        until.tv_sec += 20;                                                                                  \
        pthread_mutex_lock(&(end)->mutex);                                                                   \
        while (!(expression))                                                                                \
            g_assert_cmpint(pthread_cond_timedwait(&(end)->changed, &(end)->mutex, &until), ==, 0);          \
        pthread_mutex_unlock(&(end)->mutex);                                                                 \
    } while (0)

struct pair {
    struct loop client_loop, server_loop;
    struct end client, server;
};

static void make_sockets(int fds[2])
{
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
}

static void pair_open(struct pair *pair)
{
    int fds[2];
    make_sockets(fds);
    end_init(&pair->client);
    end_init(&pair->server);
    loop_start(&pair->client_loop);
    loop_start(&pair->server_loop);
    pair->client.channel = ph_channel_new(fds[0], PH_CONN_CLIENT, &hello, &events, &pair->client);
    pair->server.channel = ph_channel_new(fds[1], PH_CONN_SERVER, &hello, &events, &pair->server);
    ph_channel_attach(pair->client.channel, pair->client_loop.context);
    ph_channel_attach(pair->server.channel, pair->server_loop.context);
    AWAIT(&pair->client, pair->client.ready);
    AWAIT(&pair->server, pair->server.ready);
}

static void pair_end(struct pair *pair)
{
    ph_channel_close(pair->client.channel, 0, "test is over");
    AWAIT(&pair->client, pair->client.closed);
    AWAIT(&pair->server, pair->server.closed);
    loop_end(&pair->client_loop);
    loop_end(&pair->server_loop);
    end_clear(&pair->client);
    end_clear(&pair->server);
}

static void send_one(struct ph_channel *channel, uint16_t sender, uint64_t id, size_t message_len,
                     struct ph_blob *blob)
{
    static const uint8_t message[1000] = "message";
    struct ph_frame_header header = {
        .kind = PH_FRAME_REQUEST, .command = sender, .id = id, .slot = PH_NO_SLOT};
    ph_channel_send(channel, &header, message, message_len, blob);
}

/* ---- Tests ---------------------------------------------------------------- */

static void frames_go_there_and_back(void)
{
    struct pair pair;
    pair_open(&pair);
    pair.server.echo = true;
    for (uint64_t id = 0; id < 1000; id++)
        send_one(pair.client.channel, 0, id, id % 900, NULL);
    AWAIT(&pair.client, pair.client.frames == 1000);
    g_assert_cmpuint(pair.client.bytes, ==, pair.server.bytes);
    pair_end(&pair);
    g_assert_cmpuint(pair.client.fault.status, ==, 0);
    g_assert_cmpstr(pair.client.fault.text, ==, "test is over");
    g_assert_cmpuint(pair.server.fault.status, ==, 0);
    g_assert_cmpstr(pair.server.fault.text, ==, "the peer said goodbye");
}

struct sender {
    pthread_t thread;
    struct ph_channel *channel;
    uint16_t number;
};

enum { SENDERS = 4, FRAMES_EACH = 400 };

static void *sender_run(void *data)
{
    struct sender *sender = data;
    struct ph_blob *large = ph_blob_new(300000), *small = ph_blob_new(100);
    memset(large->data, 1, large->capacity);
    memset(small->data, 2, small->capacity);
    large->len = 300000;
    small->len = 100;
    for (uint64_t id = 0; id < FRAMES_EACH; id++)
        send_one(sender->channel, sender->number, id, id % 50,
                 id % 20 == 0  ? large
                 : id % 3 == 0 ? small
                               : NULL);
    ph_blob_unref(large);
    ph_blob_unref(small);
    return NULL;
}

static void many_threads_send_at_once_each_in_order(void)
{
    struct pair pair;
    struct sender senders[SENDERS];
    pair_open(&pair);
    pair.server.echo = true;
    for (uint16_t i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){.channel = pair.client.channel, .number = i};
        g_assert_cmpint(pthread_create(&senders[i].thread, NULL, sender_run, &senders[i]), ==, 0);
    }
    for (uint16_t i = 0; i < SENDERS; i++)
        pthread_join(senders[i].thread, NULL);
    AWAIT(&pair.client, pair.client.frames == SENDERS * FRAMES_EACH);
    AWAIT(&pair.server, pair.server.frames == SENDERS * FRAMES_EACH);
    pair_end(&pair);
}

static void a_peer_that_does_not_read_is_cut_off(void)
{
    struct pair pair;
    pair_open(&pair);
    ph_channel_pause(pair.server.channel, true);
    struct ph_blob *blob = ph_blob_new(PH_PAYLOAD_MAX_BYTES);
    memset(blob->data, 0, blob->capacity);
    blob->len = PH_PAYLOAD_MAX_BYTES;
    for (uint64_t id = 0; id < 2 * (PH_OUTPUT_CUT_BYTES / PH_PAYLOAD_MAX_BYTES); id++) {
        send_one(pair.client.channel, 0, id, 0, blob);
        g_assert_cmpuint(ph_channel_output_bytes(pair.client.channel), <=,
                         PH_OUTPUT_CUT_BYTES + 2 * PH_PAYLOAD_MAX_BYTES);
    }
    AWAIT(&pair.client, pair.client.closed);
    g_assert_cmpuint(pair.client.fault.status, ==, PH_ST_LIMIT);
    g_assert_nonnull(strstr(pair.client.fault.text, "does not read"));
    ph_blob_unref(blob);
    pair_end(&pair); /* the server, though it reads nothing, learns that the peer is gone */
}

static void a_paused_channel_delivers_all_when_resumed(void)
{
    struct pair pair;
    pair_open(&pair);
    ph_channel_pause(pair.server.channel, true);
    for (uint64_t id = 0; id < 500; id++)
        send_one(pair.client.channel, 0, id, 100, NULL);
    g_usleep(50000);
    pthread_mutex_lock(&pair.server.mutex);
    g_assert_cmpuint(pair.server.frames, ==, 0);
    pthread_mutex_unlock(&pair.server.mutex);
    ph_channel_pause(pair.server.channel, false);
    AWAIT(&pair.server, pair.server.frames == 500);
    pair_end(&pair);
}

static void the_reason_of_a_close_reaches_the_peer(void)
{
    struct pair pair;
    pair_open(&pair);
    ph_channel_close(pair.server.channel, PH_ST_SHUTTING_DOWN, "we end");
    ph_channel_close(pair.server.channel, PH_ST_LIMIT, "only the first counts");
    AWAIT(&pair.client, pair.client.closed);
    g_assert_cmpuint(pair.client.fault.status, ==, PH_ST_SHUTTING_DOWN);
    g_assert_cmpstr(pair.client.fault.text, ==,
                    "the server ended the connection: the server is shutting down");
    AWAIT(&pair.server, pair.server.closed);
    g_assert_cmpstr(pair.server.fault.text, ==, "we end");
    send_one(pair.client.channel, 0, 0, 10, NULL); /* dropped */
    pair_end(&pair);
    g_assert_cmpint(pair.client.closed + pair.server.closed, ==, 2);
}

/* One channel of ROLE whose peer is the raw descriptor returned. */
static int raw_open(struct loop *loop, struct end *end, enum ph_conn_role role)
{
    int fds[2];
    make_sockets(fds);
    end_init(end);
    loop_start(loop);
    end->channel = ph_channel_new(fds[0], role, &hello, &events, end);
    ph_channel_attach(end->channel, loop->context);
    return fds[1];
}

static void raw_end(struct loop *loop, struct end *end, int fd)
{
    AWAIT(end, end->closed);
    close(fd);
    loop_end(loop);
    end_clear(end);
}

static void a_foreign_peer_is_closed(void)
{
    struct loop loop;
    struct end end;
    int fd = raw_open(&loop, &end, PH_CONN_SERVER);
    g_assert_cmpint(send(fd, "GET / HTTP/1.1\r\n\r\n", 18, MSG_NOSIGNAL), ==, 18);
    AWAIT(&end, end.closed);
    g_assert_cmpuint(end.fault.status, ==, PH_ST_MALFORMED);
    g_assert_cmpstr(end.fault.text, ==, "the peer does not speak the Pohmel protocol");
    g_assert_cmpint(end.ready, ==, 0);
    raw_end(&loop, &end, fd);
}

static void a_peer_that_hangs_up_before_its_hello_is_a_fault(void)
{
    struct loop loop;
    struct end end;
    int fd = raw_open(&loop, &end, PH_CONN_CLIENT);
    shutdown(fd, SHUT_RDWR);
    AWAIT(&end, end.closed);
    g_assert_cmpuint(end.fault.status, ==, PH_ST_IO_ERROR);
    raw_end(&loop, &end, fd);
}

/* In real time: the timer of the channel is what is looked at. */
static void a_newcomer_that_says_nothing_is_closed_in_time(void)
{
    struct loop loop;
    struct end end;
    gint64 start = g_get_monotonic_time();
    int fd = raw_open(&loop, &end, PH_CONN_SERVER);
    AWAIT(&end, end.closed);
    gint64 took_ms = (g_get_monotonic_time() - start) / 1000;
    g_assert_cmpint(took_ms, >=, PH_HANDSHAKE_TIMEOUT_MS);
    g_assert_cmpuint(end.fault.status, ==, PH_ST_LIMIT);
    g_assert_cmpstr(end.fault.text, ==, "the client did not say hello within 5 s");
    g_assert_cmpstr(ph_channel_peer_name(end.channel), ==, "unix:");
    raw_end(&loop, &end, fd);
}

/* The greeting of a proper client, in RAW bytes. */
static size_t greeting(uint8_t *out)
{
    struct ph_conn *conn = ph_conn_new(PH_CONN_CLIENT, &hello, 0);
    struct iovec iov;
    g_assert_cmpint(ph_conn_output(conn, &iov, 1), ==, 1);
    memcpy(out, iov.iov_base, iov.iov_len);
    ph_conn_free(conn);
    return iov.iov_len;
}

static void a_peer_cut_off_gets_to_read_why(void)
{
    struct loop loop;
    struct end end;
    uint8_t bytes[2048];
    int fd = raw_open(&loop, &end, PH_CONN_SERVER);
    size_t len = greeting(bytes);
    memset(bytes + len, 'x', 1000);
    g_assert_cmpint(send(fd, bytes, len + 1000, MSG_NOSIGNAL), ==, (ssize_t) len + 1000);
    AWAIT(&end, end.closed);
    /* More garbage after the cut must not turn the answer into a reset. */
    g_assert_cmpint(send(fd, bytes, sizeof bytes, MSG_NOSIGNAL), ==, (ssize_t) sizeof bytes);
    size_t got = 0;
    ssize_t count;
    while ((count = recv(fd, bytes + got, sizeof bytes - got, 0)) > 0)
        got += (size_t) count;
    g_assert_cmpint(count, ==, 0);
    g_assert_cmpuint(got, >, PH_FRAME_HEADER_BYTES);
    struct ph_frame_header last;
    g_assert_cmpuint(ph_frame_header_decode(bytes + got - PH_FRAME_HEADER_BYTES, 0, 0, &last, NULL), ==, 0);
    g_assert_cmpuint(last.kind, ==, PH_FRAME_CONTROL);
    g_assert_cmpuint(last.command, ==, PH_CONTROL_GOAWAY);
    g_assert_cmpuint(last.status, ==, PH_ST_MALFORMED);
    raw_end(&loop, &end, fd);
}

static void check_frames_before_a_hang_up(bool polite)
{
    struct loop loop;
    struct end end;
    uint8_t bytes[8192];
    int fd = raw_open(&loop, &end, PH_CONN_SERVER);
    size_t len = greeting(bytes);
    for (uint64_t id = 0; id < 100; id++, len += PH_FRAME_HEADER_BYTES) {
        struct ph_frame_header header = {.kind = PH_FRAME_REQUEST, .id = id, .slot = PH_NO_SLOT};
        ph_frame_header_encode(&header, bytes + len);
    }
    g_assert_cmpint(send(fd, bytes, len, MSG_NOSIGNAL), ==, (ssize_t) len);
    if (polite)
        g_assert_cmpint(recv(fd, bytes, sizeof bytes, 0), >, 0); /* its greeting */
    close(fd);
    AWAIT(&end, end.closed);
    g_assert_cmpuint(end.frames, ==, 100);
    if (polite)
        g_assert_cmpuint(end.fault.status, ==, 0);
    raw_end(&loop, &end, -1);
}

static void frames_before_a_hang_up_are_delivered(void)
{
    for (int i = 0; i < 20; i++) {
        check_frames_before_a_hang_up(true);
        check_frames_before_a_hang_up(false); /* what we wrote could not be */
    }
}

/* Whose turn it is: one that the thread sanitizer can see. */
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

/* Iterates the context whenever the other thread does not. */
static void *run_in_turns(void *data)
{
    struct loop *loop = data;
    while (!__atomic_load_n(&loop->stop, __ATOMIC_ACQUIRE)) {
        pthread_mutex_lock(&turn);
        for (int i = 0; i < 3; i++)
            g_main_context_iteration(loop->context, FALSE);
        pthread_mutex_unlock(&turn);
        g_usleep(100);
    }
    return NULL;
}

static void a_context_may_change_threads(void)
{
    struct loop shared = {.context = g_main_context_new()}, clients;
    struct end server, client;
    int fds[2];
    pthread_t second;
    make_sockets(fds);
    end_init(&server);
    end_init(&client);
    loop_start(&clients);
    client.channel = ph_channel_new(fds[0], PH_CONN_CLIENT, &hello, &events, &client);
    server.channel = ph_channel_new(fds[1], PH_CONN_SERVER, &hello, &events, &server);
    server.echo = true;
    ph_channel_attach(client.channel, clients.context);
    ph_channel_attach(server.channel, shared.context);
    g_assert_cmpint(pthread_create(&shared.thread, NULL, run_in_turns, &shared), ==, 0);
    g_assert_cmpint(pthread_create(&second, NULL, run_in_turns, &shared), ==, 0);
    AWAIT(&client, client.ready);
    for (uint64_t id = 0; id < 300; id++) {
        send_one(client.channel, 0, id, 10, NULL);
        if (id % 3 == 0)
            AWAIT(&client, client.frames >= id);
    }
    AWAIT(&client, client.frames == 300);
    ph_channel_close(client.channel, 0, "over");
    AWAIT(&server, server.closed);
    AWAIT(&client, client.closed);
    __atomic_store_n(&shared.stop, 1, __ATOMIC_RELEASE);
    pthread_join(shared.thread, NULL);
    pthread_join(second, NULL);
    g_main_context_unref(shared.context);
    loop_end(&clients);
    end_clear(&server);
    end_clear(&client);
}

/* An end whose frames wait at a gate. */
struct stuck {
    struct end end;
    pthread_mutex_t gate;
};

static void stuck_frame(void *data, struct ph_channel *channel, struct ph_frame *frame)
{
    struct stuck *stuck = data;
    pthread_mutex_lock(&stuck->gate);
    pthread_mutex_unlock(&stuck->gate);
    on_frame(&stuck->end, channel, frame);
}

static void stuck_ready(void *data, struct ph_channel *channel)
{
    on_ready(&((struct stuck *) data)->end, channel);
}

static void stuck_closed(void *data, struct ph_channel *channel, const struct ph_fault *fault)
{
    on_closed(&((struct stuck *) data)->end, channel, fault);
}

static const struct ph_channel_events stuck_events = {
    .ready = stuck_ready, .frame = stuck_frame, .closed = stuck_closed};

static void others_send_through_a_channel_whose_event_is_stuck(void)
{
    struct loop loop, stuck_loop;
    struct stuck stuck = {.gate = PTHREAD_MUTEX_INITIALIZER};
    struct end client;
    int fds[2];
    make_sockets(fds);
    end_init(&stuck.end);
    end_init(&client);
    loop_start(&loop);
    loop_start(&stuck_loop);
    client.channel = ph_channel_new(fds[0], PH_CONN_CLIENT, &hello, &events, &client);
    stuck.end.channel = ph_channel_new(fds[1], PH_CONN_SERVER, &hello, &stuck_events, &stuck);
    ph_channel_attach(client.channel, loop.context);
    ph_channel_attach(stuck.end.channel, stuck_loop.context);
    AWAIT(&client, client.ready);
    AWAIT(&stuck.end, stuck.end.ready);

    pthread_mutex_lock(&stuck.gate);
    for (uint64_t id = 0; id < 100; id++)
        send_one(client.channel, 0, id, 10, NULL);
    for (uint64_t id = 0; id < 100; id++) {
        struct ph_frame_header reply = {.kind = PH_FRAME_REPLY, .id = id, .slot = PH_NO_SLOT};
        ph_channel_send(stuck.end.channel, &reply, NULL, 0, NULL);
        AWAIT(&client, client.frames == id + 1);
    }
    pthread_mutex_lock(&stuck.end.mutex);
    g_assert_cmpuint(stuck.end.frames, ==, 0);
    pthread_mutex_unlock(&stuck.end.mutex);
    pthread_mutex_unlock(&stuck.gate);
    AWAIT(&stuck.end, stuck.end.frames == 100);

    ph_channel_close(client.channel, 0, "over");
    AWAIT(&stuck.end, stuck.end.closed);
    AWAIT(&client, client.closed);
    loop_end(&stuck_loop);
    loop_end(&loop);
    end_clear(&stuck.end);
    end_clear(&client);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/channel/frames-go-there-and-back", frames_go_there_and_back);
    g_test_add_func("/channel/many-threads-send-at-once-each-in-order",
                    many_threads_send_at_once_each_in_order);
    g_test_add_func("/channel/a-peer-that-does-not-read-is-cut-off", a_peer_that_does_not_read_is_cut_off);
    g_test_add_func("/channel/a-paused-channel-delivers-all-when-resumed",
                    a_paused_channel_delivers_all_when_resumed);
    g_test_add_func("/channel/the-reason-of-a-close-reaches-the-peer",
                    the_reason_of_a_close_reaches_the_peer);
    g_test_add_func("/channel/a-foreign-peer-is-closed", a_foreign_peer_is_closed);
    g_test_add_func("/channel/a-peer-that-hangs-up-before-its-hello-is-a-fault",
                    a_peer_that_hangs_up_before_its_hello_is_a_fault);
    g_test_add_func("/channel/a-newcomer-that-says-nothing-is-closed-in-time",
                    a_newcomer_that_says_nothing_is_closed_in_time);
    g_test_add_func("/channel/a-peer-cut-off-gets-to-read-why", a_peer_cut_off_gets_to_read_why);
    g_test_add_func("/channel/frames-before-a-hang-up-are-delivered", frames_before_a_hang_up_are_delivered);
    g_test_add_func("/channel/a-context-may-change-threads", a_context_may_change_threads);
    g_test_add_func("/channel/others-send-through-a-channel-whose-event-is-stuck",
                    others_send_through_a_channel_whose_event_is_stuck);
    return g_test_run();
}
