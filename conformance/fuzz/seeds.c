#include "conformance/fuzz/seeds.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conformance/fuzz/sample.h"
#include "conformance/fuzz/target.h"
#include "ph_commands.h"
#include "runtime/base/limits.h"
#include "runtime/core/conn.h"

/* A transaction can hold each of the changing commands, and wants as many samples. */
enum { VARIANTS = 3, VARIANTS_TRANSACT = 60, PAYLOAD_BYTES = 200, SAMPLE_ARENA_BYTES = 64 * 1024 * 1024 };

struct collection {
    struct ph_seed *seeds;
    size_t count;
};

static void add(struct collection *collection, const char *name, uint8_t flags, struct ph_conn *from)
{
    collection->seeds = realloc(collection->seeds, (collection->count + 1) * sizeof *collection->seeds);
    if (collection->seeds == NULL)
        abort();
    struct ph_seed *seed = &collection->seeds[collection->count++];
    snprintf(seed->name, sizeof seed->name, "%s", name);
    seed->bytes = malloc(1 + ph_conn_output_bytes(from));
    if (seed->bytes == NULL)
        abort();
    seed->bytes[0] = flags;
    seed->len = 1;
    struct iovec iov;
    while (ph_conn_output(from, &iov, 1) > 0) {
        memcpy(seed->bytes + seed->len, iov.iov_base, iov.iov_len);
        seed->len += iov.iov_len;
        ph_conn_sent(from, iov.iov_len);
    }
}

static struct ph_conn *speaker(enum ph_conn_role role, bool keep_greeting)
{
    static const struct ph_hello hello = {
        .message_max = PH_MESSAGE_MAX_BYTES, .payload_max = PH_PAYLOAD_MAX_BYTES, .implementation = "seed"};
    struct ph_conn *conn = ph_conn_new(role, &hello, 0);
    if (!keep_greeting)
        ph_conn_sent(conn, ph_conn_output_bytes(conn));
    return conn;
}

/* A seed that is refused at the door would fuzz the door only. */
static void check_valid(const struct ph_message_rule *rule, const uint8_t *encoded, size_t len,
                        const char *name)
{
    struct ph_fault fault = {0};
    struct ph_arena *arena = ph_arena_new(SAMPLE_ARENA_BYTES);
    if (ph_decode(rule, encoded, len, arena, &fault) == NULL) {
        fprintf(stderr, "the sample of %s is refused: %s\n", name, fault.text);
        abort();
    }
    ph_arena_free(arena);
}

static void say(struct ph_conn *conn, uint8_t kind, const struct ph_command_info *info,
                struct ph_random *random)
{
    bool reply = kind == PH_FRAME_REPLY;
    struct ph_arena *arena = ph_arena_new(SAMPLE_ARENA_BYTES);
    ProtobufCMessage *message = ph_sample_message(reply ? info->reply : info->request, random, arena);
    size_t len = ph_encoded_size(message);
    uint8_t *encoded = ph_arena_alloc(arena, len);
    struct ph_blob *payload = NULL;
    uint32_t payload_max = reply ? info->reply_payload_max : info->request_payload_max;
    struct ph_frame_header header = {
        .kind = kind, .command = info->number, .id = ph_random_next(random), .slot = PH_NO_SLOT};
    ph_encode(message, encoded);
    check_valid(reply ? info->reply : info->request, encoded, len, info->name);
    if (payload_max > 0) {
        payload = ph_blob_new(PAYLOAD_BYTES);
        payload->len = payload_max < PAYLOAD_BYTES ? payload_max : PAYLOAD_BYTES;
        ph_random_bytes(random, payload->data, payload->len);
    }
    ph_conn_send(conn, &header, encoded, len, payload);
    ph_blob_unref(payload);
    ph_arena_free(arena);
}

static void add_command(struct collection *collection, const struct ph_command_info *info,
                        struct ph_random *random)
{
    int variants = info->number == PH_CMD_TRANSACT ? VARIANTS_TRANSACT : VARIANTS;
    for (int variant = 0; variant < variants; variant++) {
        char name[64];
        struct ph_conn *client = speaker(PH_CONN_CLIENT, false), *server = speaker(PH_CONN_SERVER, false);
        if (!info->event) {
            snprintf(name, sizeof name, "request-%s-%d", info->name, variant);
            say(client, PH_FRAME_REQUEST, info, random);
            add(collection, name, PH_FUZZ_GREETED | PH_FUZZ_REPAIRED, client);
        }
        snprintf(name, sizeof name, "%s-%s-%d", info->event ? "event" : "reply", info->name, variant);
        say(server, info->event ? PH_FRAME_EVENT : PH_FRAME_REPLY, info, random);
        add(collection, name, PH_FUZZ_GREETED | PH_FUZZ_REPAIRED | PH_FUZZ_CLIENT, server);
        ph_conn_free(client);
        ph_conn_free(server);
    }
}

/* A whole conversation of a client from its first byte, cut up as FLAGS say. */
static void add_conversation(struct collection *collection, const char *name, uint8_t flags,
                             struct ph_random *random)
{
    static const uint16_t controls[] = {PH_CONTROL_PING, PH_CONTROL_PONG, PH_CONTROL_CANCEL};
    size_t count;
    const struct ph_command_info *commands = ph_commands(&count);
    struct ph_conn *conn = speaker(PH_CONN_CLIENT, true);
    for (int i = 0; i < 4; i++) {
        const struct ph_command_info *info = &commands[ph_random_below(random, count)];
        if (!info->event)
            say(conn, PH_FRAME_REQUEST, info, random);
        struct ph_frame_header control = {
            .kind = PH_FRAME_CONTROL, .command = controls[i % 3], .slot = PH_NO_SLOT};
        ph_conn_send(conn, &control, NULL, 0, NULL);
    }
    ph_conn_goaway(conn, 0);
    add(collection, name, flags, conn);
    ph_conn_free(conn);
}

struct ph_seed *ph_seeds_new(size_t *count)
{
    struct collection collection = {0};
    struct ph_random random;
    size_t command_count;
    const struct ph_command_info *commands = ph_commands(&command_count);
    ph_random_seed(&random, 1);
    for (size_t i = 0; i < command_count; i++)
        add_command(&collection, &commands[i], &random);
    add_conversation(&collection, "conversation-whole", 0, &random);
    add_conversation(&collection, "conversation-bytes", 1 << 3, &random);
    add_conversation(&collection, "conversation-sevens", 2 << 3, &random);
    *count = collection.count;
    return collection.seeds;
}

void ph_seeds_free(struct ph_seed *seeds, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(seeds[i].bytes);
    free(seeds);
}
