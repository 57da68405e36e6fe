/* The shell around runtime/core/conn.
 *
 * Locking. `mutex` guards the connection core and every field below it, and is
 * held neither across a system call on the socket nor while an event is
 * delivered. Input is touched by the dispatch of our source only; one thread at
 * a time iterates the context, whichever threads take turns at it. Output has
 * one writer at a time (`writing`), who writes without the lock; senders
 * meanwhile only queue, and the writer takes their frames along.
 * The descriptor is closed with the last reference, so that no writer can hit
 * somebody else's. */
#include "runtime/io/channel.h"

#include <errno.h>
#include <glib-unix.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "ph_commands.h"
#include "runtime/base/limits.h"
#include "runtime/io/socket.h"

enum {
    /* After so much of one peer's input the others get their turn. */
    TURN_BYTES = 1024 * 1024,
    TURN_FRAMES = 64,
    /* After so many writes in a row a sender goes home and the loop goes on. */
    TURN_WRITES = 8,
    VECTOR_MAX = 64,
    DISCARD_BYTES = 16 * 1024,
};

#define NEVER_MS UINT64_MAX

enum phase {
    RUNNING,
    LINGERING, /* `closed` was told; a last word is on its way out */
    DONE,
};

struct source {
    GSource base;
    struct ph_channel *channel; /* a reference */
};

struct ph_channel {
    int refs;
    int fd;
    struct ph_channel_events events;
    void *data;
    char *peer_name;
    gpointer fd_tag;

    pthread_mutex_t mutex;
    struct ph_conn *conn;
    GSource *source; /* borrowed from its context; NULL before attach and when DONE */
    enum phase phase;
    struct ph_fault fault; /* words for `closed` */
    bool ending;           /* `closed` is due; FAULT says why */
    bool peer_gone;        /* nothing we say can reach it */
    bool peer_left;        /* it closed its end before we gave it up */
    int write_error;       /* how we found out */
    bool ready_told, paused, writing, shut;
    GIOCondition watched;
    uint64_t armed_ms, linger_until_ms;
};

static uint64_t now_ms(void)
{
    return (uint64_t) g_get_monotonic_time() / 1000;
}

static void lock(struct ph_channel *channel)
{
    pthread_mutex_lock(&channel->mutex);
}

static void unlock(struct ph_channel *channel)
{
    pthread_mutex_unlock(&channel->mutex);
}

/* Has the source dispatched soon, whatever the socket does. Locked. */
static void kick(struct ph_channel *channel)
{
    channel->armed_ms = 0;
    if (channel->source != NULL)
        g_source_set_ready_time(channel->source, 0);
}

/* Has poll(2) look for what we want now. Locked. */
static void watch(struct ph_channel *channel, bool want_output)
{
    GIOCondition wanted = want_output ? G_IO_OUT : 0;
    if (!channel->paused || channel->phase == LINGERING)
        wanted |= G_IO_IN;
    if (channel->source == NULL || wanted == channel->watched)
        return;
    channel->watched = wanted;
    g_source_modify_unix_fd(channel->source, channel->fd_tag, wanted);
}

/* The connection is over; only the first reason counts. Locked. */
static void end(struct ph_channel *channel, const struct ph_fault *fault)
{
    if (channel->ending)
        return;
    channel->ending = true;
    channel->fault = *fault;
    kick(channel);
}

static void end_broken(struct ph_channel *channel, int error)
{
    struct ph_fault fault = {0};
    channel->peer_left = !channel->ending && (error == ECONNRESET || error == EPIPE);
    channel->peer_gone = true;
    ph_fault_set(&fault, PH_ST_IO_ERROR, "the connection broke: %s", g_strerror(error));
    end(channel, &fault);
}

/* ---- Output --------------------------------------------------------------- */

/* Writes what waits, without the lock, until all is out, the socket is full or
 * it was long enough. Locked on entry and return. */
static void write_output(struct ph_channel *channel)
{
    if (channel->writing || channel->peer_gone)
        return;
    channel->writing = true;
    bool more = ph_conn_output_bytes(channel->conn) > 0;
    for (int turn = 0; more && turn < TURN_WRITES; turn++) {
        struct iovec vector[VECTOR_MAX];
        struct msghdr message = {.msg_iov = vector};
        message.msg_iovlen = (size_t) ph_conn_output(channel->conn, vector, VECTOR_MAX);
        size_t offered = 0;
        for (size_t i = 0; i < message.msg_iovlen; i++)
            offered += vector[i].iov_len;
        unlock(channel);
        ssize_t written = sendmsg(channel->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        int error = errno;
        lock(channel);
        if (written < 0 && error == EINTR)
            continue;
        if (written < 0 && error != EAGAIN) {
            /* What the peer said last may still wait to be read, and says
             * more than "broken pipe": the reader ends it. */
            channel->peer_gone = true;
            channel->write_error = error;
            kick(channel);
            break;
        }
        if (written > 0)
            ph_conn_sent(channel->conn, (size_t) written);
        more = ph_conn_output_bytes(channel->conn) > 0;
        if (written < (ssize_t) offered)
            break;
    }
    channel->writing = false;
    watch(channel, more && !channel->peer_gone);
}

/* Writes unless the loop is to do it when the socket has room. Locked. */
static void flush(struct ph_channel *channel)
{
    if (channel->source != NULL && (channel->watched & G_IO_OUT) == 0 &&
        ph_conn_output_bytes(channel->conn) > 0)
        write_output(channel);
}

void ph_channel_send(struct ph_channel *channel, const struct ph_frame_header *header, const uint8_t *message,
                     size_t message_len, struct ph_blob *payload)
{
    lock(channel);
    if (!channel->ending) {
        ph_conn_send(channel->conn, header, message, message_len, payload);
        if (ph_conn_output_bytes(channel->conn) > PH_OUTPUT_CUT_BYTES) {
            struct ph_fault fault = {0};
            ph_fault_set(&fault, PH_ST_LIMIT, "the peer does not read: %d MiB were waiting for it",
                         PH_OUTPUT_CUT_BYTES >> 20);
            channel->peer_gone = true;
            end(channel, &fault);
        } else {
            flush(channel);
        }
    }
    unlock(channel);
}

/* ---- Input ---------------------------------------------------------------- */

/* Delivers whole frames, COUNT at most. Locked on entry and return. */
static int deliver(struct ph_channel *channel, int count)
{
    int delivered = 0;
    if (!channel->ready_told && ph_conn_ready(channel->conn)) {
        channel->ready_told = true;
        unlock(channel);
        channel->events.ready(channel->data, channel);
        lock(channel);
    }
    while (delivered < count && !channel->paused && !channel->ending) {
        struct ph_frame *frame = ph_conn_take(channel->conn);
        if (frame == NULL)
            break;
        unlock(channel);
        channel->events.frame(channel->data, channel, frame);
        lock(channel);
        delivered++;
    }
    return delivered;
}

/* The peer closed its side. Locked. */
static void end_of_input(struct ph_channel *channel)
{
    struct ph_fault fault = {0};
    channel->peer_gone = true;
    if (channel->ready_told)
        g_strlcpy(fault.text, "the peer closed the connection", sizeof fault.text);
    else
        ph_fault_set(&fault, PH_ST_IO_ERROR, "the peer closed the connection before it said hello");
    end(channel, &fault);
}

/* Reads once. Returns the bytes read, or 0 when that was all for now. Locked
 * on entry and return. */
static size_t read_once(struct ph_channel *channel, bool *drained)
{
    uint8_t *where;
    size_t space = ph_conn_space(channel->conn, &where);
    *drained = true;
    if (space == 0)
        return 0;
    unlock(channel);
    ssize_t got = recv(channel->fd, where, space, MSG_DONTWAIT);
    int error = errno;
    lock(channel);
    if (got < 0) {
        if (error == EINTR)
            *drained = false;
        else if (error != EAGAIN)
            end_broken(channel, error);
        return 0;
    }
    if (got == 0) {
        channel->peer_left = !channel->ending;
        end_of_input(channel);
        return 0;
    }
    *drained = (size_t) got < space; /* poll tells when there is more: saves asking in vain */
    struct ph_fault fault = {0};
    if (ph_conn_received(channel->conn, (size_t) got, now_ms(), &fault) == 0 && ph_conn_ended(channel->conn))
        g_strlcpy(fault.text, "the peer said goodbye", sizeof fault.text);
    deliver(channel, 0); /* `ready` comes before the end */
    if (ph_conn_ended(channel->conn) && channel->fault.text[0] == '\0')
        channel->fault = fault; /* `ending` follows when the frames before it are delivered */
    flush(channel);             /* a pong, a GOAWAY */
    return (size_t) got;
}

/* One turn of reading and delivering. Returns whether that was all there is.
 * Locked on entry and return. */
static bool read_input(struct ph_channel *channel)
{
    size_t bytes = 0;
    int frames = 0;
    bool drained = false;
    for (;;) {
        frames += deliver(channel, TURN_FRAMES - frames);
        if (channel->paused || channel->ending)
            return true;
        if (frames >= TURN_FRAMES) {
            kick(channel); /* frames may wait that poll(2) does not know of */
            return false;
        }
        if (ph_conn_ended(channel->conn)) {
            struct ph_fault fault = channel->fault;
            end(channel, &fault);
            return true;
        }
        if (drained)
            return true;
        if (bytes >= TURN_BYTES)
            return false;
        bytes += read_once(channel, &drained);
    }
}

void ph_channel_limit(struct ph_channel *channel, uint32_t message_max, uint32_t payload_max)
{
    lock(channel);
    ph_conn_limit(channel->conn, message_max, payload_max);
    unlock(channel);
}

void ph_channel_pause(struct ph_channel *channel, bool pause)
{
    lock(channel);
    if (channel->paused != pause && channel->phase == RUNNING) {
        channel->paused = pause;
        ph_conn_hold(channel->conn, pause, now_ms());
        watch(channel, (channel->watched & G_IO_OUT) != 0);
        if (!pause)
            kick(channel); /* frames may wait that came before the pause */
    }
    unlock(channel);
}

/* ---- The end -------------------------------------------------------------- */

void ph_channel_close(struct ph_channel *channel, uint32_t status, const char *reason)
{
    struct ph_fault fault = {.status = status};
    g_strlcpy(fault.text, reason, sizeof fault.text);
    lock(channel);
    if (!channel->ending) {
        ph_conn_goaway(channel->conn, status);
        end(channel, &fault);
        flush(channel);
    }
    unlock(channel);
}

/* Our last word is out, or never will be. Locked; returns the source to destroy. */
static GSource *finish(struct ph_channel *channel)
{
    GSource *source = channel->source;
    channel->phase = DONE;
    channel->source = NULL;
    shutdown(channel->fd, SHUT_RDWR);
    return source;
}

/* A socket closed with input unread is reset, and the reset overtakes the
 * GOAWAY before it. So: get it out, close our half, and read what still comes
 * until the peer closes too or PH_LINGER_MS are over. Locked on entry and return. */
static bool linger_is_over(struct ph_channel *channel)
{
    uint8_t discarded[DISCARD_BYTES];
    write_output(channel);
    if (channel->peer_gone || now_ms() >= channel->linger_until_ms)
        return true;
    if (ph_conn_output_bytes(channel->conn) == 0 && !channel->shut) {
        channel->shut = true;
        shutdown(channel->fd, SHUT_WR);
    }
    unlock(channel);
    size_t bytes = 0;
    ssize_t got;
    while ((got = recv(channel->fd, discarded, sizeof discarded, MSG_DONTWAIT)) > 0 && bytes < TURN_BYTES)
        bytes += (size_t) got;
    bool over = got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
    lock(channel);
    return over;
}

/* Tells `closed` and goes on to linger. Locked on entry and return. */
static void tell_closed(struct ph_channel *channel)
{
    channel->phase = LINGERING;
    channel->linger_until_ms = now_ms() + PH_LINGER_MS;
    struct ph_fault fault = channel->fault;
    unlock(channel);
    channel->events.closed(channel->data, channel, &fault);
    lock(channel);
    watch(channel, (channel->watched & G_IO_OUT) != 0);
}

/* ---- The source ----------------------------------------------------------- */

/* Arms the source's timer. Later deadlines are left to be found when the
 * earlier one fires, so that traffic does not set timers. Locked. */
static void arm(struct ph_channel *channel)
{
    uint64_t deadline =
        channel->phase == LINGERING ? channel->linger_until_ms : ph_conn_deadline(channel->conn);
    if (deadline >= channel->armed_ms || channel->source == NULL)
        return;
    channel->armed_ms = deadline;
    g_source_set_ready_time(channel->source, (gint64) deadline * 1000);
}

static void run(struct ph_channel *channel, GIOCondition seen)
{
    if ((seen & G_IO_OUT) != 0)
        write_output(channel);
    bool drained = true;
    if ((seen & (G_IO_HUP | G_IO_ERR)) != 0 && channel->paused)
        end_of_input(channel); /* poll(2) would tell for ever, and nobody is there to be answered */
    else
        drained = read_input(channel);
    struct ph_fault fault = {0};
    if (!channel->ending && !ph_conn_ended(channel->conn) &&
        ph_conn_tick(channel->conn, now_ms(), &fault) != 0)
        end(channel, &fault);
    if (channel->write_error != 0 && drained)
        end_broken(channel, channel->write_error);
    flush(channel); /* a ping, a GOAWAY */
}

static gboolean dispatch(GSource *base, GSourceFunc callback, gpointer data)
{
    struct source *source = (struct source *) base;
    struct ph_channel *channel = ph_channel_ref(__atomic_load_n(&source->channel, __ATOMIC_ACQUIRE));
    GSource *over = NULL;
    lock(channel);
    if (now_ms() >= channel->armed_ms) {
        channel->armed_ms = NEVER_MS;
        g_source_set_ready_time(base, -1);
    }
    if (channel->phase == RUNNING)
        run(channel, g_source_query_unix_fd(base, channel->fd_tag));
    if (channel->phase == RUNNING && channel->ending)
        tell_closed(channel);
    if (channel->phase == LINGERING && linger_is_over(channel))
        over = finish(channel);
    else
        arm(channel);
    unlock(channel);
    if (over != NULL)
        g_source_destroy(over);
    ph_channel_unref(channel);
    return G_SOURCE_CONTINUE;
}

static void finalize(GSource *base)
{
    struct ph_channel *channel = __atomic_load_n(&((struct source *) base)->channel, __ATOMIC_ACQUIRE);
    lock(channel);
    channel->source = NULL; /* its context may have ended before it did */
    unlock(channel);
    ph_channel_unref(channel);
}

struct ph_channel *ph_channel_new(int fd, enum ph_conn_role role, const struct ph_hello *own,
                                  const struct ph_channel_events *events, void *data)
{
    struct ph_channel *channel = g_new0(struct ph_channel, 1);
    channel->refs = 1;
    channel->fd = fd;
    channel->events = *events;
    channel->data = data;
    channel->armed_ms = NEVER_MS;
    pthread_mutex_init(&channel->mutex, NULL);
    g_unix_set_fd_nonblocking(fd, TRUE, NULL);
    ph_socket_set_tcp(fd); /* refused by a unix socket, which needs none of it */
    channel->peer_name = ph_socket_peer_text(fd);
    channel->conn = ph_conn_new(role, own, now_ms());
    return channel;
}

void ph_channel_attach(struct ph_channel *channel, GMainContext *context)
{
    static GSourceFuncs functions = {.dispatch = dispatch, .finalize = finalize};
    GSource *base = g_source_new(&functions, sizeof(struct source));
    lock(channel);
    channel->fd_tag = g_source_add_unix_fd(base, channel->fd, G_IO_IN);
    channel->watched = G_IO_IN;
    channel->source = base;
    /* The release makes all of the above visible to whichever thread dispatches. */
    __atomic_store_n(&((struct source *) base)->channel, ph_channel_ref(channel), __ATOMIC_RELEASE);
    g_source_set_static_name(base, "ph_channel");
    /* Else GLib takes the descriptor out of its list and puts it back around each
     * dispatch, and wakes itself up both times: four system calls a request. Nobody iterates
     * a context from within an event, so that nothing recurses. */
    g_source_set_can_recurse(base, TRUE);
    kick(channel); /* the greeting goes out from the loop */
    g_source_attach(base, context);
    g_source_unref(base);
    unlock(channel);
}

struct ph_channel *ph_channel_ref(struct ph_channel *channel)
{
    __atomic_add_fetch(&channel->refs, 1, __ATOMIC_RELAXED);
    return channel;
}

void ph_channel_unref(struct ph_channel *channel)
{
    if (__atomic_sub_fetch(&channel->refs, 1, __ATOMIC_ACQ_REL) != 0)
        return;
    close(channel->fd);
    ph_conn_free(channel->conn);
    pthread_mutex_destroy(&channel->mutex);
    g_free(channel->peer_name);
    g_free(channel);
}

size_t ph_channel_output_bytes(struct ph_channel *channel)
{
    lock(channel);
    size_t bytes = ph_conn_output_bytes(channel->conn);
    unlock(channel);
    return bytes;
}

bool ph_channel_peer_left(struct ph_channel *channel)
{
    lock(channel);
    bool left = channel->peer_left;
    unlock(channel);
    return left;
}

const char *ph_channel_peer_name(const struct ph_channel *channel)
{
    return channel->peer_name;
}

const struct ph_hello *ph_channel_peer(struct ph_channel *channel)
{
    return ph_conn_peer(channel->conn);
}
