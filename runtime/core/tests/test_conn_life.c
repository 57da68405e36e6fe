/* Promises of one end of a connection about its beginning and its end: greeting,
 * keep-alive, timeouts. The clock is a number. */
#include "runtime/core/tests/conn_pair.h"

/* ---- Greeting ------------------------------------------------------------- */

static void both_ends_learn_of_each_other(void)
{
    struct pair pair;
    struct ph_hello client = hello;
    client.features = PH_FEATURE_TREES;
    memset(client.implementation, 'x', 64);
    client.implementation[0] = '\n';
    pair_start(&pair, &client, &hello);
    g_assert_false(ph_conn_ready(pair.server));
    g_assert_cmpuint(pass(pair.client, pair.server, NULL), ==, 0);
    const struct ph_hello *peer = ph_conn_peer(pair.server);
    g_assert_true(ph_conn_ready(pair.server));
    g_assert_cmpuint(peer->features, ==, PH_FEATURE_TREES);
    g_assert_cmpuint(peer->message_max, ==, PH_MESSAGE_MAX_BYTES);
    g_assert_cmpuint(peer->payload_max, ==, PH_PAYLOAD_MAX_BYTES);
    g_assert_cmpuint(strlen(peer->implementation), ==, 64);
    g_assert_true(g_str_has_prefix(peer->implementation, "?xxx"));
    pair_end(&pair);
}

/* Feeds FROM's greeting, changed by CHANGE, to a new server. */
static uint32_t greet_changed(void (*change)(uint8_t *greeting), struct ph_fault *fault, size_t *answered)
{
    struct pair pair;
    pair_start(&pair, &hello, &hello);
    g_autoptr(GByteArray) own = drain(pair.server, SIZE_MAX);
    g_autoptr(GByteArray) bytes = drain(pair.client, SIZE_MAX);
    change(bytes->data);
    uint32_t status = feed(pair.server, bytes->data, bytes->len, SIZE_MAX, fault);
    *answered = ph_conn_output_bytes(pair.server);
    pair_end(&pair);
    return status;
}

static void set_newer_version(uint8_t *greeting)
{
    greeting[8] = 2;
    greeting[10] = 3;
}

static void set_older_version(uint8_t *greeting)
{
    greeting[8] = 0;
    greeting[10] = 0;
}

static void set_swapped_version(uint8_t *greeting)
{
    greeting[8] = 3;
    greeting[10] = 1;
}

static void set_wider_version(uint8_t *greeting)
{
    greeting[8] = 0;
    greeting[10] = 200;
}

static void set_long_hello(uint8_t *greeting)
{
    greeting[14] = 1;
}

static void set_empty_hello(uint8_t *greeting)
{
    greeting[12] = 0;
}

static void set_http(uint8_t *greeting)
{
    memcpy(greeting, "GET / HTTP/1.1\r\n", 16);
}

static void a_greeting_that_does_not_fit_is_refused_in_words(void)
{
    struct ph_fault fault = {0};
    size_t answered;
    g_assert_cmpuint(greet_changed(set_wider_version, &fault, &answered), ==, 0);
    g_assert_cmpuint(greet_changed(set_newer_version, &fault, &answered), ==, PH_ST_INCOMPATIBLE);
    g_assert_cmpstr(
        fault.text, ==,
        "no common protocol version: the client speaks 2 to 3, this server 1 to 1; update the older one");
    g_assert_cmpuint(answered, ==, PH_FRAME_HEADER_BYTES);
    g_assert_cmpuint(greet_changed(set_older_version, &fault, &answered), ==, PH_ST_INCOMPATIBLE);
    g_assert_cmpuint(greet_changed(set_swapped_version, &fault, &answered), ==, PH_ST_MALFORMED);
    g_assert_cmpuint(greet_changed(set_long_hello, &fault, &answered), ==, PH_ST_MALFORMED);
    g_assert_cmpuint(greet_changed(set_empty_hello, &fault, &answered), ==, PH_ST_MALFORMED);
    struct ph_fault foreign = {0};
    g_assert_cmpuint(greet_changed(set_http, &foreign, &answered), ==, PH_ST_MALFORMED);
    g_assert_cmpstr(foreign.text, ==, "the peer does not speak the Pohmel protocol");
    g_assert_cmpuint(answered, ==, 0);
}

static void a_foreign_peer_is_known_by_its_first_byte(void)
{
    struct ph_conn *conn = ph_conn_new(PH_CONN_SERVER, &hello, START_MS);
    g_assert_cmpuint(feed(conn, (const uint8_t *) "S", 1, 1, NULL), ==, PH_ST_MALFORMED);
    uint8_t *where;
    g_assert_cmpuint(ph_conn_space(conn, &where), ==, 0);
    ph_conn_free(conn);
}

static void missing_features_are_named(void)
{
    struct pair pair;
    struct ph_fault fault = {0}, told = {0};
    struct ph_hello server = hello;
    server.features |= PH_FEATURE_TREES;
    server.features_required = PH_FEATURE_TREES;
    pair_start(&pair, &hello, &server);
    /* The server has shown its hello, so its refusal is a GOAWAY. */
    g_autoptr(GByteArray) greeting = drain(pair.server, SIZE_MAX);
    g_assert_cmpuint(pass(pair.client, pair.server, &fault), ==, PH_ST_INCOMPATIBLE);
    g_assert_cmpstr(fault.text, ==,
                    "this server requires trees, which the client lacks (it has: locks, xattrs; "
                    "this server has: locks, xattrs, trees)");
    g_assert_cmpuint(feed(pair.client, greeting->data, greeting->len, 1, &told), ==, PH_ST_INCOMPATIBLE);
    g_assert_cmpstr(told.text, ==,
                    "the server requires trees, which this client lacks (it has: locks, xattrs; "
                    "the server has: locks, xattrs, trees)");
    g_assert_false(ph_conn_ready(pair.client) || ph_conn_ready(pair.server));
    pair_end(&pair);
}

static void a_hello_not_yet_sent_carries_the_refusal(void)
{
    struct pair pair;
    struct ph_fault fault = {0};
    struct ph_hello client = hello, server = hello;
    client.features_required = PH_FEATURE_LOCKS | UINT64_C(1) << 40;
    client.features |= UINT64_C(1) << 40;
    pair_start(&pair, &client, &server);
    g_assert_cmpuint(pass(pair.client, pair.server, &fault), ==, PH_ST_INCOMPATIBLE);
    g_assert_nonnull(strstr(fault.text, "feature 40"));
    struct ph_fault told = {0};
    g_assert_cmpuint(pass(pair.server, pair.client, &told), ==, PH_ST_INCOMPATIBLE);
    g_assert_nonnull(strstr(told.text, "the server (test 1.0) refused the connection"));
    pair_end(&pair);
}

static void a_server_can_refuse_from_the_start(void)
{
    struct pair pair;
    struct ph_fault fault = {0};
    struct ph_hello server = hello;
    server.refusal = PH_ST_SHUTTING_DOWN;
    pair_start(&pair, &hello, &server);
    g_assert_cmpuint(pass(pair.server, pair.client, &fault), ==, PH_ST_SHUTTING_DOWN);
    g_assert_cmpuint(pass(pair.client, pair.server, NULL), ==, PH_ST_SHUTTING_DOWN);
    pair_end(&pair);
}

/* ---- Time ----------------------------------------------------------------- */

static void a_peer_that_says_no_hello_is_given_up(void)
{
    struct ph_fault fault = {0};
    struct ph_conn *conn = ph_conn_new(PH_CONN_SERVER, &hello, START_MS);
    feed(conn, (const uint8_t *) "POHMEL\r", 7, 1, NULL);
    g_assert_cmpuint(ph_conn_deadline(conn), ==, START_MS + PH_HANDSHAKE_TIMEOUT_MS);
    g_assert_cmpuint(ph_conn_tick(conn, START_MS + PH_HANDSHAKE_TIMEOUT_MS - 1, &fault), ==, 0);
    g_assert_cmpuint(ph_conn_tick(conn, START_MS + PH_HANDSHAKE_TIMEOUT_MS, &fault), ==, PH_ST_LIMIT);
    g_assert_cmpstr(fault.text, ==, "the client did not say hello within 5 s");
    g_assert_true(ph_conn_ended(conn));
    ph_conn_free(conn);
}

static void silence_is_broken_by_a_ping_then_ends_the_connection(void)
{
    struct pair pair;
    struct ph_fault fault = {0};
    pair_open(&pair);
    g_assert_cmpuint(ph_conn_deadline(pair.client), ==, START_MS + PH_PING_IDLE_MS);
    g_assert_cmpuint(ph_conn_tick(pair.client, START_MS + PH_PING_IDLE_MS, &fault), ==, 0);
    g_assert_cmpuint(ph_conn_output_bytes(pair.client), ==, PH_FRAME_HEADER_BYTES);
    g_assert_cmpuint(ph_conn_tick(pair.client, START_MS + PH_PING_IDLE_MS + 1, &fault), ==, 0);
    g_assert_cmpuint(ph_conn_output_bytes(pair.client), ==, PH_FRAME_HEADER_BYTES);
    g_assert_cmpuint(ph_conn_deadline(pair.client), ==, START_MS + PH_PING_TIMEOUT_MS);
    g_assert_cmpuint(ph_conn_tick(pair.client, START_MS + PH_PING_TIMEOUT_MS, &fault), ==, PH_ST_IO_ERROR);
    g_assert_cmpstr(fault.text, ==, "the server was silent for 30 s");
    pair_end(&pair);
}

static void a_pong_keeps_the_connection(void)
{
    struct pair pair;
    pair_open(&pair);
    uint64_t now = START_MS;
    for (int i = 0; i < 10; i++) {
        now = ph_conn_deadline(pair.client);
        g_assert_cmpuint(ph_conn_tick(pair.client, now, NULL), ==, 0);
        pass(pair.client, pair.server, NULL);
        g_autoptr(GByteArray) pong = drain(pair.server, SIZE_MAX);
        g_assert_cmpuint(pong->len, ==, PH_FRAME_HEADER_BYTES);
        uint8_t *where;
        ph_conn_space(pair.client, &where);
        memcpy(where, pong->data, pong->len);
        g_assert_cmpuint(ph_conn_received(pair.client, pong->len, now, NULL), ==, 0);
    }
    g_assert_cmpuint(now, ==, START_MS + 10 * PH_PING_IDLE_MS);
    pair_end(&pair);
}

static void a_frame_that_never_ends_is_given_up(void)
{
    struct pair pair;
    struct ph_fault fault = {0};
    pair_open(&pair);
    send_frame(pair.client, PH_FRAME_REQUEST, 1, 1000, 0);
    g_autoptr(GByteArray) bytes = drain(pair.client, SIZE_MAX);
    uint8_t *where;
    /* One byte a second: never silent, never done. */
    for (uint64_t second = 0; second < PH_FRAME_TIMEOUT_MS / 1000; second++) {
        uint64_t now = START_MS + second * 1000;
        g_assert_cmpuint(ph_conn_tick(pair.server, now, &fault), ==, 0);
        ph_conn_space(pair.server, &where);
        *where = bytes->data[second];
        g_assert_cmpuint(ph_conn_received(pair.server, 1, now, &fault), ==, 0);
    }
    g_assert_cmpuint(ph_conn_tick(pair.server, START_MS + PH_FRAME_TIMEOUT_MS, &fault), ==, PH_ST_LIMIT);
    g_assert_cmpstr(fault.text, ==, "the client did not finish a frame within 30 s");
    pair_end(&pair);
}

static void silence_while_held_is_not_the_peers(void)
{
    struct pair pair;
    pair_open(&pair);
    feed(pair.server, (const uint8_t *) "PHM1", 4, 4, NULL);
    ph_conn_hold(pair.server, true, START_MS);
    g_assert_cmpuint(ph_conn_deadline(pair.server), ==, UINT64_MAX);
    uint64_t later = START_MS + 10 * PH_PING_TIMEOUT_MS;
    g_assert_cmpuint(ph_conn_tick(pair.server, later, NULL), ==, 0);
    ph_conn_hold(pair.server, false, later);
    g_assert_cmpuint(ph_conn_tick(pair.server, later, NULL), ==, 0);
    g_assert_cmpuint(ph_conn_deadline(pair.server), ==, later + PH_PING_IDLE_MS);
    g_assert_cmpuint(ph_conn_tick(pair.server, later + PH_FRAME_TIMEOUT_MS, NULL), !=, 0);
    pair_end(&pair);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/conn/both-ends-learn-of-each-other", both_ends_learn_of_each_other);
    g_test_add_func("/conn/a-greeting-that-does-not-fit-is-refused-in-words",
                    a_greeting_that_does_not_fit_is_refused_in_words);
    g_test_add_func("/conn/a-foreign-peer-is-known-by-its-first-byte",
                    a_foreign_peer_is_known_by_its_first_byte);
    g_test_add_func("/conn/missing-features-are-named", missing_features_are_named);
    g_test_add_func("/conn/a-hello-not-yet-sent-carries-the-refusal",
                    a_hello_not_yet_sent_carries_the_refusal);
    g_test_add_func("/conn/a-server-can-refuse-from-the-start", a_server_can_refuse_from_the_start);
    g_test_add_func("/conn/a-peer-that-says-no-hello-is-given-up", a_peer_that_says_no_hello_is_given_up);
    g_test_add_func("/conn/silence-is-broken-by-a-ping-then-ends-the-connection",
                    silence_is_broken_by_a_ping_then_ends_the_connection);
    g_test_add_func("/conn/a-pong-keeps-the-connection", a_pong_keeps_the_connection);
    g_test_add_func("/conn/a-frame-that-never-ends-is-given-up", a_frame_that_never_ends_is_given_up);
    g_test_add_func("/conn/silence-while-held-is-not-the-peers", silence_while_held_is_not_the_peers);
    return g_test_run();
}
