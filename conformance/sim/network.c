/* The network: bytes of each direction of a connection arrive in order, cut up
 * and late at random; what travels on different connections overtakes each other. */
#include <string.h>

#include "conformance/sim/world.h"
#include "ph_commands.h"
#include "runtime/base/limits.h"

enum {
    LATENCY_MIN_US = 50,
    CUT_NOTICE_US = 300000,
    VECTOR = 16,
};

struct segment {
    struct sim_conn *conn;
    int to;
    gsize len;
    uint8_t bytes[];
};

struct ending {
    struct sim_conn *conn;
    int end;
};

struct sim_conn *sim_conn_new(struct sim_client *client)
{
    struct world *world = client->world;
    struct ph_hello hello = {.features = PH_FEATURE_LOCKS | PH_FEATURE_XATTRS | PH_FEATURE_TREES,
                             .message_max = PH_MESSAGE_MAX_BYTES,
                             .payload_max = PH_PAYLOAD_MAX_BYTES,
                             .implementation = "simulated"};
    struct sim_conn *conn = g_new0(struct sim_conn, 1);
    conn->world = world;
    conn->client = client;
    conn->number = (int) world->conns->len;
    conn->ends[SIM_END_CLIENT] = ph_conn_new(PH_CONN_CLIENT, &hello, sim_client_ms(client));
    conn->ends[SIM_END_SERVER] = ph_conn_new(PH_CONN_SERVER, &hello, sim_now_ms(world));
    conn->server_conn = ph_server_conn_new(world->server, conn, NULL);
    g_ptr_array_add(world->conns, conn);
    sim_trace_line(&world->result->trace, world->now_us, client->name, "connects (connection %d)",
                   conn->number);
    sim_conn_flush(conn, SIM_END_CLIENT);
    sim_conn_flush(conn, SIM_END_SERVER);
    return conn;
}

void sim_conn_free(void *data)
{
    struct sim_conn *conn = data;
    ph_conn_free(conn->ends[SIM_END_CLIENT]);
    ph_conn_free(conn->ends[SIM_END_SERVER]);
    ph_server_conn_unref(conn->server_conn);
    g_free(conn);
}

/* How long from now until something sent to END arrives: behind all that was sent before. */
static uint64_t travel_us(struct sim_conn *conn, int to)
{
    struct world *world = conn->world;
    const struct sim_profile *profile = &world->profile;
    uint64_t delay = LATENCY_MIN_US + sim_below(world, profile->latency_us[conn->client->index][to]);
    if (!world->calm && sim_chance(world, profile->stall_per_mille))
        delay += sim_below(world, profile->stall_us);
    uint64_t arrival = MAX(world->now_us + delay, conn->arrival_us[to] + 1);
    conn->arrival_us[to] = arrival;
    return arrival - world->now_us;
}

static void tell_closed(struct sim_conn *conn, int end, const struct ph_fault *fault)
{
    if (conn->closed[end])
        return;
    conn->closed[end] = TRUE;
    if (end == SIM_END_SERVER)
        conn->server_over_us = conn->world->now_us;
    if (end == SIM_END_SERVER)
        sim_server_closed(conn);
    else if (!conn->client->dead)
        sim_client_closed(conn, fault);
}

/* Something that END is to be told of. */
static void later(struct sim_conn *conn, int end, uint64_t delay_us, sim_event_fn fn, void *data)
{
    if (end == SIM_END_CLIENT)
        sim_after_at(conn->client, delay_us, fn, data, g_free);
    else
        sim_after(conn->world, delay_us, fn, data, g_free);
}

static void on_peer_closed(struct world *world, void *data)
{
    struct ending *ending = data;
    struct ph_fault fault = {0};
    (void) world;
    g_strlcpy(fault.text, "the peer closed the connection", sizeof(fault.text));
    if (ending->end == SIM_END_SERVER && !ending->conn->closed[SIM_END_SERVER])
        ending->conn->left = TRUE;
    tell_closed(ending->conn, ending->end, &fault);
    g_free(ending);
}

static void on_cut_noticed(struct world *world, void *data)
{
    struct ending *ending = data;
    struct ph_fault fault = {.status = PH_ST_IO_ERROR};
    (void) world;
    g_strlcpy(fault.text, "the connection broke", sizeof(fault.text));
    tell_closed(ending->conn, ending->end, &fault);
    g_free(ending);
}

static struct ending *new_ending(struct sim_conn *conn, int end)
{
    struct ending *ending = g_new0(struct ending, 1);
    ending->conn = conn;
    ending->end = end;
    return ending;
}

void sim_conn_server_died(struct sim_conn *conn)
{
    conn->closed[SIM_END_SERVER] = TRUE;
    conn->server_over_us = conn->world->now_us;
    if (!conn->cut)
        later(conn, SIM_END_CLIENT, travel_us(conn, SIM_END_CLIENT), on_peer_closed,
              new_ending(conn, SIM_END_CLIENT));
}

void sim_conn_close(struct sim_conn *conn, int end, const struct ph_fault *fault)
{
    if (conn->closed[end])
        return;
    sim_conn_flush(conn, end);
    if (!conn->cut)
        later(conn, !end, travel_us(conn, !end), on_peer_closed, new_ending(conn, !end));
    tell_closed(conn, end, fault);
}

/* From now on nothing more arrives at END. */
static void on_deaf(struct world *world, void *data)
{
    g_autofree struct ending *ending = data;
    (void) world;
    ending->conn->deaf[ending->end] = TRUE;
}

void sim_conn_cut(struct sim_conn *conn)
{
    struct world *world = conn->world;
    if (conn->cut || conn->closed[SIM_END_CLIENT] || conn->closed[SIM_END_SERVER])
        return;
    conn->cut = TRUE;
    world->result->cuts++;
    sim_trace_line(&world->result->trace, world->now_us, "network", "connection %d is cut", conn->number);
    /* What was on its way lingers, and may arrive when the client has connected again. */
    for (int end = 0; end < 2; end++) {
        uint64_t linger_us = sim_below(world, world->profile.linger_us);
        sim_after(world, linger_us, on_deaf, new_ending(conn, end), g_free);
        gboolean late = end == SIM_END_SERVER && sim_chance(world, 500);
        later(conn, end, (late ? linger_us : 0) + sim_below(world, CUT_NOTICE_US), on_cut_noticed,
              new_ending(conn, end));
    }
}

static uint64_t end_ms(const struct sim_conn *conn, int end)
{
    return end == SIM_END_CLIENT ? sim_client_ms(conn->client) : sim_now_ms(conn->world);
}

/* Frames that arrived whole. */
static void deliver(struct sim_conn *conn, int end)
{
    struct ph_frame *frame;
    if (end == SIM_END_CLIENT && !conn->ready_told && ph_conn_ready(conn->ends[end])) {
        conn->ready_told = TRUE;
        sim_client_ready(conn);
    }
    while (!conn->closed[end] && (frame = ph_conn_take(conn->ends[end]))) {
        if (end == SIM_END_CLIENT)
            sim_client_frame(conn, frame);
        else
            sim_server_frame(conn, frame);
    }
}

static void on_arrival(struct world *world, void *data)
{
    g_autofree struct segment *segment = data;
    (void) world;
    struct sim_conn *conn = segment->conn;
    struct ph_conn *end = conn->ends[segment->to];
    struct ph_fault fault = {0};
    for (gsize at = 0; at < segment->len && !conn->deaf[segment->to] && !conn->closed[segment->to];) {
        uint8_t *where;
        size_t count = MIN(ph_conn_space(end, &where), segment->len - at);
        if (count == 0)
            break;
        memcpy(where, segment->bytes + at, count);
        at += count;
        ph_conn_received(end, count, end_ms(conn, segment->to), &fault);
        deliver(conn, segment->to);
        if (ph_conn_ended(end))
            sim_conn_close(conn, segment->to, &fault);
    }
    sim_conn_flush(conn, segment->to);
}

static void send_segment(struct sim_conn *conn, int from, const uint8_t *bytes, gsize len)
{
    struct segment *segment = g_malloc(sizeof(*segment) + len);
    segment->conn = conn;
    segment->to = !from;
    segment->len = len;
    memcpy(segment->bytes, bytes, len);
    later(conn, !from, travel_us(conn, !from), on_arrival, segment);
}

void sim_conn_flush(struct sim_conn *conn, int end)
{
    struct iovec vector[VECTOR];
    while (ph_conn_output_bytes(conn->ends[end]) > 0) {
        int count = ph_conn_output(conn->ends[end], vector, VECTOR);
        gsize sent = 0;
        for (int i = 0; i < count; i++) {
            gsize at = 0;
            while (at < vector[i].iov_len) {
                gsize piece = 1 + sim_below(conn->world, 4096);
                piece = MIN(piece, vector[i].iov_len - at);
                if (!conn->cut && !conn->closed[!end])
                    send_segment(conn, end, (uint8_t *) vector[i].iov_base + at, piece);
                at += piece;
            }
            sent += at;
        }
        ph_conn_sent(conn->ends[end], sent);
    }
}

void sim_conn_tick(struct sim_conn *conn)
{
    for (int end = 0; end < 2; end++) {
        struct ph_fault fault = {0};
        if (conn->closed[end] || end_ms(conn, end) < ph_conn_deadline(conn->ends[end]))
            continue;
        if (end == SIM_END_CLIENT &&
            (conn->client->dead || conn->world->now_us < conn->client->paused_until_us))
            continue;
        if (ph_conn_tick(conn->ends[end], end_ms(conn, end), &fault) != PH_ST_OK)
            sim_conn_close(conn, end, &fault);
        else
            sim_conn_flush(conn, end);
    }
}
