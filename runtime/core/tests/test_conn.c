/* Promises of one end of a connection about its frames: no socket, no clock. */
#include "runtime/core/tests/conn_pair.h"

static void frames_survive_cuts_at_every_position(void)
{
    struct pair pair;
    pair_start(&pair, &hello, &hello);
    send_frame(pair.client, PH_FRAME_REQUEST, 1, 20, 0);
    send_frame(pair.client, PH_FRAME_REQUEST, 2, 0, 30);
    send_frame(pair.client, PH_FRAME_REQUEST, 3, 5, 5000);
    g_autoptr(GByteArray) bytes = drain(pair.client, SIZE_MAX);
    pair_end(&pair);
    for (guint cut = 0; cut <= bytes->len; cut++) {
        struct ph_conn *server = ph_conn_new(PH_CONN_SERVER, &hello, START_MS);
        g_assert_cmpuint(feed(server, bytes->data, cut, SIZE_MAX, NULL), ==, 0);
        g_assert_cmpuint(feed(server, bytes->data + cut, bytes->len - cut, SIZE_MAX, NULL), ==, 0);
        check_frame(ph_conn_take(server), 1, 20, 0);
        check_frame(ph_conn_take(server), 2, 0, 30);
        check_frame(ph_conn_take(server), 3, 5, 5000);
        g_assert_null(ph_conn_take(server));
        ph_conn_free(server);
    }
}

static void frames_of_every_size_arrive_whole(void)
{
    static const size_t sizes[] = {0,     1,     4095,  4096,   16383,  16384,
                                   16385, 65535, 65536, 100000, 262144, 1048576};
    struct pair pair;
    pair_open(&pair);
    struct ph_random random;
    ph_random_seed(&random, 11);
    uint64_t id = 0;
    for (unsigned m = 0; m < G_N_ELEMENTS(sizes) - 1; m++)
        for (unsigned p = 0; p < G_N_ELEMENTS(sizes); p++) {
            send_frame(pair.client, PH_FRAME_REQUEST, ++id, sizes[m], sizes[p]);
            send_frame(pair.client, PH_FRAME_REQUEST, ++id, 10, 0);
            size_t out_piece = 1 + ph_random_below(&random, 300000),
                   in_piece = 1 + ph_random_below(&random, 100000);
            g_autoptr(GByteArray) bytes = drain(pair.client, out_piece);
            g_assert_cmpuint(feed(pair.server, bytes->data, bytes->len, in_piece, NULL), ==, 0);
            check_frame(ph_conn_take(pair.server), id - 1, sizes[m], sizes[p]);
            check_frame(ph_conn_take(pair.server), id, 10, 0);
            g_assert_null(ph_conn_take(pair.server));
        }
    pair_end(&pair);
}

static void bulk_is_neither_copied_out_nor_in(void)
{
    struct pair pair;
    pair_open(&pair);
    struct ph_frame_header header = {.kind = PH_FRAME_REQUEST, .id = 1, .slot = PH_NO_SLOT};
    struct ph_blob *blob = blob_of(PH_PAYLOAD_MAX_BYTES, 5);
    ph_conn_send(pair.client, &header, NULL, 0, blob);
    struct iovec iov[4];
    g_assert_cmpint(ph_conn_output(pair.client, iov, 4), ==, 2);
    g_assert_true(iov[1].iov_base == blob->data && iov[1].iov_len == blob->len);
    g_assert_cmpuint(feed(pair.server, iov[0].iov_base, iov[0].iov_len, SIZE_MAX, NULL), ==, 0);
    uint8_t *where;
    g_assert_cmpuint(ph_conn_space(pair.server, &where), ==, PH_PAYLOAD_MAX_BYTES);
    memcpy(where, blob->data, blob->len);
    g_assert_cmpuint(ph_conn_received(pair.server, blob->len, START_MS, NULL), ==, 0);
    struct ph_frame *frame = ph_conn_take(pair.server);
    g_assert_true(frame->payload->data == where);
    g_assert_cmpmem(where, blob->len, frame->payload->data, frame->payload->len);
    ph_frame_free(frame);
    ph_conn_sent(pair.client, PH_FRAME_HEADER_BYTES + blob->len);
    ph_blob_unref(blob);
    pair_end(&pair);
}

static void every_changed_byte_ends_the_connection(void)
{
    struct pair pair;
    pair_open(&pair);
    send_frame(pair.client, PH_FRAME_REQUEST, 7, 30, 20);
    g_autoptr(GByteArray) bytes = drain(pair.client, SIZE_MAX);
    pair_end(&pair);
    for (guint at = 0; at < bytes->len; at++) {
        struct ph_fault fault = {0};
        pair_open(&pair);
        bytes->data[at] ^= 0x40;
        g_assert_cmpuint(feed(pair.server, bytes->data, bytes->len, SIZE_MAX, &fault), ==, PH_ST_MALFORMED);
        g_assert_cmpuint(strlen(fault.text), >, 0);
        g_assert_null(ph_conn_take(pair.server));
        g_assert_true(ph_conn_ended(pair.server));
        /* The peer is told why, and cannot be told anything else. */
        send_frame(pair.server, PH_FRAME_REPLY, 1, 1, 0);
        struct ph_fault told = {0};
        g_assert_cmpuint(pass(pair.server, pair.client, &told), ==, PH_ST_MALFORMED);
        g_assert_nonnull(strstr(told.text, "the server ended the connection"));
        bytes->data[at] ^= 0x40;
        pair_end(&pair);
    }
}

/* Gives the server one bare header made from HEADER. */
static uint32_t give_header(const struct ph_frame_header *header, enum ph_conn_role to,
                            struct ph_fault *fault)
{
    struct pair pair;
    uint8_t bytes[PH_FRAME_HEADER_BYTES];
    pair_open(&pair);
    ph_frame_header_encode(header, bytes);
    uint32_t status = feed(to == PH_CONN_SERVER ? pair.server : pair.client, bytes, sizeof bytes, 7, fault);
    pair_end(&pair);
    return status;
}

static void oversize_is_refused_before_any_of_it_comes(void)
{
    struct ph_fault fault = {0};
    struct ph_frame_header header = {.kind = PH_FRAME_REQUEST, .message_len = PH_MESSAGE_MAX_BYTES};
    g_assert_cmpuint(give_header(&header, PH_CONN_SERVER, &fault), ==, 0);
    header.message_len++;
    g_assert_cmpuint(give_header(&header, PH_CONN_SERVER, &fault), ==, PH_ST_MALFORMED);
    header = (struct ph_frame_header){.kind = PH_FRAME_REQUEST, .payload_len = PH_PAYLOAD_MAX_BYTES};
    g_assert_cmpuint(give_header(&header, PH_CONN_SERVER, &fault), ==, 0);
    header.payload_len = UINT32_MAX;
    g_assert_cmpuint(give_header(&header, PH_CONN_SERVER, &fault), ==, PH_ST_MALFORMED);
}

static void frames_that_the_other_role_sends_are_refused(void)
{
    struct ph_frame_header header = {.kind = PH_FRAME_REPLY};
    g_assert_cmpuint(give_header(&header, PH_CONN_SERVER, NULL), ==, PH_ST_WRONG_STATE);
    g_assert_cmpuint(give_header(&header, PH_CONN_CLIENT, NULL), ==, 0);
    header.kind = PH_FRAME_EVENT;
    g_assert_cmpuint(give_header(&header, PH_CONN_SERVER, NULL), ==, PH_ST_WRONG_STATE);
    g_assert_cmpuint(give_header(&header, PH_CONN_CLIENT, NULL), ==, 0);
    header.kind = PH_FRAME_REQUEST;
    g_assert_cmpuint(give_header(&header, PH_CONN_CLIENT, NULL), ==, PH_ST_WRONG_STATE);
}

static void control_frames_are_known_and_bare(void)
{
    struct ph_frame_header header = {.kind = PH_FRAME_CONTROL, .command = PH_CONTROL_PING};
    g_assert_cmpuint(give_header(&header, PH_CONN_SERVER, NULL), ==, 0);
    header.message_len = 1;
    g_assert_cmpuint(give_header(&header, PH_CONN_SERVER, NULL), ==, PH_ST_MALFORMED);
    /* Of a later version: ignored. */
    header = (struct ph_frame_header){.kind = PH_FRAME_CONTROL, .command = 9};
    g_assert_cmpuint(give_header(&header, PH_CONN_SERVER, NULL), ==, 0);
}

static void a_stranger_may_send_little(void)
{
    struct pair pair;
    struct ph_fault fault = {0};
    pair_open(&pair);
    ph_conn_limit(pair.server, PH_FIRST_MESSAGE_MAX_BYTES, 0);
    send_frame(pair.client, PH_FRAME_REQUEST, 1, PH_FIRST_MESSAGE_MAX_BYTES, 0);
    g_assert_cmpuint(pass(pair.client, pair.server, &fault), ==, 0);
    ph_conn_limit(pair.server, UINT32_MAX, UINT32_MAX); /* our hello still counts */
    send_frame(pair.client, PH_FRAME_REQUEST, 2, PH_MESSAGE_MAX_BYTES, PH_PAYLOAD_MAX_BYTES);
    g_assert_cmpuint(pass(pair.client, pair.server, &fault), ==, 0);
    for (int i = 0; i < 2; i++)
        ph_frame_free(ph_conn_take(pair.server));
    ph_conn_limit(pair.server, PH_FIRST_MESSAGE_MAX_BYTES, 0);
    send_frame(pair.client, PH_FRAME_REQUEST, 3, 0, 1);
    g_assert_cmpuint(pass(pair.client, pair.server, &fault), ==, PH_ST_MALFORMED);
    g_assert_null(ph_conn_take(pair.server));
    pair_end(&pair);
}

static void pings_without_reading_cost_us_little(void)
{
    struct pair pair;
    const struct ph_frame_header ping = {.kind = PH_FRAME_CONTROL, .command = PH_CONTROL_PING, .id = 77};
    pair_open(&pair);
    for (int i = 0; i < 100000; i++) {
        ph_conn_send(pair.client, &ping, NULL, 0, NULL);
        g_assert_cmpuint(pass(pair.client, pair.server, NULL), ==, 0);
    }
    g_assert_cmpuint(ph_conn_output_bytes(pair.server), >, 0);
    g_assert_cmpuint(ph_conn_output_bytes(pair.server), <, PH_OUTPUT_SMALL_BYTES + PH_FRAME_HEADER_BYTES);
    pair_end(&pair);
}

static void pings_are_answered_and_cancels_are_handed_on(void)
{
    struct pair pair;
    pair_open(&pair);
    struct ph_frame_header ping = {.kind = PH_FRAME_CONTROL, .command = PH_CONTROL_PING, .id = 77};
    struct ph_frame_header cancel = {.kind = PH_FRAME_CONTROL, .command = PH_CONTROL_CANCEL, .id = 78};
    ph_conn_send(pair.client, &ping, NULL, 0, NULL);
    ph_conn_send(pair.client, &cancel, NULL, 0, NULL);
    g_assert_cmpuint(pass(pair.client, pair.server, NULL), ==, 0);
    struct ph_frame *frame = ph_conn_take(pair.server);
    g_assert_cmpuint(frame->header.command, ==, PH_CONTROL_CANCEL);
    g_assert_cmpuint(frame->header.id, ==, 78);
    ph_frame_free(frame);
    g_assert_null(ph_conn_take(pair.server));
    g_autoptr(GByteArray) answer = drain(pair.server, SIZE_MAX);
    struct ph_frame_header pong;
    g_assert_cmpuint(answer->len, ==, PH_FRAME_HEADER_BYTES);
    g_assert_cmpuint(ph_frame_header_decode(answer->data, 0, 0, &pong, NULL), ==, 0);
    g_assert_cmpuint(pong.command, ==, PH_CONTROL_PONG);
    g_assert_cmpuint(pong.id, ==, 77);
    pair_end(&pair);
}

static void a_goodbye_ends_without_fault_after_the_frames_before_it(void)
{
    struct pair pair;
    struct ph_fault fault = {0};
    pair_open(&pair);
    send_frame(pair.client, PH_FRAME_REQUEST, 1, 3, 0);
    ph_conn_goaway(pair.client, 0);
    ph_conn_goaway(pair.client, PH_ST_MALFORMED);
    send_frame(pair.client, PH_FRAME_REQUEST, 2, 3, 0);
    g_assert_cmpuint(pass(pair.client, pair.server, &fault), ==, 0);
    g_assert_cmpuint(fault.status, ==, 0);
    g_assert_true(ph_conn_ended(pair.server) && ph_conn_ready(pair.server));
    check_frame(ph_conn_take(pair.server), 1, 3, 0);
    g_assert_null(ph_conn_take(pair.server));
    g_assert_cmpuint(ph_conn_deadline(pair.server), ==, UINT64_MAX);
    pair_end(&pair);
}

static void small_frames_share_one_piece_of_output(void)
{
    struct pair pair;
    pair_open(&pair);
    for (uint64_t id = 1; id <= 50; id++)
        send_frame(pair.client, PH_FRAME_REQUEST, id, 40, 100);
    struct iovec iov[8];
    g_assert_cmpint(ph_conn_output(pair.client, iov, 8), ==, 1);
    g_assert_cmpuint(ph_conn_output_bytes(pair.client), ==, 50 * (PH_FRAME_HEADER_BYTES + 140));
    g_assert_cmpuint(pass(pair.client, pair.server, NULL), ==, 0);
    for (uint64_t id = 1; id <= 50; id++)
        check_frame(ph_conn_take(pair.server), id, 40, 100);
    pair_end(&pair);
}

static void random_bytes_never_pass_for_frames(void)
{
    struct ph_random random;
    for (uint64_t seed = 0; seed < 300; seed++) {
        struct pair pair;
        uint8_t noise[600];
        pair_open(&pair);
        ph_random_seed(&random, seed);
        ph_random_bytes(&random, noise, sizeof noise);
        if (ph_random_chance(&random, 500))
            memcpy(noise, "PHM1", 4);
        g_assert_cmpuint(feed(pair.server, noise, sizeof noise, 1 + ph_random_below(&random, 600), NULL), !=,
                         0);
        g_assert_null(ph_conn_take(pair.server));
        pair_end(&pair);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/conn/frames-survive-cuts-at-every-position", frames_survive_cuts_at_every_position);
    g_test_add_func("/conn/frames-of-every-size-arrive-whole", frames_of_every_size_arrive_whole);
    g_test_add_func("/conn/bulk-is-neither-copied-out-nor-in", bulk_is_neither_copied_out_nor_in);
    g_test_add_func("/conn/every-changed-byte-ends-the-connection", every_changed_byte_ends_the_connection);
    g_test_add_func("/conn/oversize-is-refused-before-any-of-it-comes",
                    oversize_is_refused_before_any_of_it_comes);
    g_test_add_func("/conn/frames-that-the-other-role-sends-are-refused",
                    frames_that_the_other_role_sends_are_refused);
    g_test_add_func("/conn/control-frames-are-known-and-bare", control_frames_are_known_and_bare);
    g_test_add_func("/conn/a-stranger-may-send-little", a_stranger_may_send_little);
    g_test_add_func("/conn/pings-without-reading-cost-us-little", pings_without_reading_cost_us_little);
    g_test_add_func("/conn/pings-are-answered-and-cancels-are-handed-on",
                    pings_are_answered_and_cancels_are_handed_on);
    g_test_add_func("/conn/a-goodbye-ends-without-fault-after-the-frames-before-it",
                    a_goodbye_ends_without_fault_after_the_frames_before_it);
    g_test_add_func("/conn/small-frames-share-one-piece-of-output", small_frames_share_one_piece_of_output);
    g_test_add_func("/conn/random-bytes-never-pass-for-frames", random_bytes_never_pass_for_frames);
    return g_test_run();
}
