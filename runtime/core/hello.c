#include "runtime/core/hello.h"

#include <pb_decode.h>
#include <pb_encode.h>
#include <stdio.h>
#include <string.h>

#include "hello.pb.h"
#include "ph_commands.h"

static const uint8_t magic[8] = {'P', 'O', 'H', 'M', 'E', 'L', '\r', '\n'};

/* Smallest limits a peer may have: below, not even a lookup of several names fits. */
enum { LIMIT_MIN_BYTES = 4096 };

enum { AT_VERSION_MIN = 8, AT_VERSION_MAX = 10, AT_HELLO_LEN = 12 };

static void put16(uint8_t *out, uint32_t value)
{
    out[0] = (uint8_t) value;
    out[1] = (uint8_t) (value >> 8);
}

static uint16_t get16(const uint8_t *in)
{
    return (uint16_t) (in[0] | in[1] << 8);
}

size_t ph_greeting_encode(const struct ph_hello *hello, uint8_t out[PH_GREETING_MAX_BYTES])
{
    pohmel_Hello message = pohmel_Hello_init_zero;
    message.features = hello->features;
    message.features_required = hello->features_required;
    message.message_max = hello->message_max;
    message.payload_max = hello->payload_max;
    message.refusal = hello->refusal;
    size_t len = strnlen(hello->implementation, sizeof hello->implementation - 1);
    message.implementation.size = (pb_size_t) len;
    memcpy(message.implementation.bytes, hello->implementation, len);

    /* Cannot fail: the largest Hello is far below PH_HELLO_MAX_BYTES. */
    pb_ostream_t stream = pb_ostream_from_buffer(out + PH_BANNER_BYTES, PH_HELLO_MAX_BYTES);
    pb_encode(&stream, pohmel_Hello_fields, &message);

    memcpy(out, magic, sizeof magic);
    put16(out + AT_VERSION_MIN, PH_PROTOCOL_VERSION_MIN);
    put16(out + AT_VERSION_MAX, PH_PROTOCOL_VERSION_MAX);
    put16(out + AT_HELLO_LEN, (uint32_t) stream.bytes_written);
    put16(out + AT_HELLO_LEN + 2, (uint32_t) (stream.bytes_written >> 16));
    return PH_BANNER_BYTES + stream.bytes_written;
}

uint32_t ph_banner_check_start(const uint8_t *in, size_t len, struct ph_fault *fault)
{
    if (memcmp(in, magic, len < sizeof magic ? len : sizeof magic) != 0)
        return ph_fault_set(fault, PH_ST_MALFORMED, "the peer does not speak the Pohmel protocol");
    return 0;
}

uint32_t ph_banner_decode(const uint8_t in[PH_BANNER_BYTES], enum ph_conn_role role, struct ph_banner *out,
                          struct ph_fault *fault)
{
    if (ph_banner_check_start(in, PH_BANNER_BYTES, fault) != 0)
        return PH_ST_MALFORMED;
    out->version_min = get16(in + AT_VERSION_MIN);
    out->version_max = get16(in + AT_VERSION_MAX);
    out->hello_len = get16(in + AT_HELLO_LEN) | (uint32_t) get16(in + AT_HELLO_LEN + 2) << 16;
    if (out->version_min > out->version_max)
        return ph_fault_set(fault, PH_ST_MALFORMED, "the peer's banner names versions %u to %u",
                            out->version_min, out->version_max);
    if (out->version_min > PH_PROTOCOL_VERSION_MAX || out->version_max < PH_PROTOCOL_VERSION_MIN)
        return ph_fault_set(fault, PH_ST_INCOMPATIBLE,
                            "no common protocol version: the %s speaks %u to %u, this %s %d to %d; "
                            "update the older one",
                            role == PH_CONN_CLIENT ? "server" : "client", out->version_min, out->version_max,
                            role == PH_CONN_CLIENT ? "client" : "server", PH_PROTOCOL_VERSION_MIN,
                            PH_PROTOCOL_VERSION_MAX);
    if (out->hello_len > PH_HELLO_MAX_BYTES)
        return ph_fault_set(fault, PH_ST_MALFORMED, "a hello of %u bytes where %u are allowed",
                            out->hello_len, (unsigned) PH_HELLO_MAX_BYTES);
    return 0;
}

uint32_t ph_hello_decode(const uint8_t *in, size_t len, struct ph_hello *out, struct ph_fault *fault)
{
    pohmel_Hello message = pohmel_Hello_init_zero;
    pb_istream_t stream = pb_istream_from_buffer(in, len);
    if (!pb_decode(&stream, pohmel_Hello_fields, &message))
        return ph_fault_set(fault, PH_ST_MALFORMED, "the peer's hello cannot be decoded: %s",
                            PB_GET_ERROR(&stream));
    if (message.message_max < LIMIT_MIN_BYTES || message.payload_max < LIMIT_MIN_BYTES)
        return ph_fault_set(fault, PH_ST_MALFORMED,
                            "the peer's hello allows messages of %u and payloads of %u bytes; "
                            "at least %u are needed",
                            (unsigned) message.message_max, (unsigned) message.payload_max,
                            (unsigned) LIMIT_MIN_BYTES);
    *out = (struct ph_hello){
        .features = message.features,
        .features_required = message.features_required,
        .message_max = message.message_max,
        .payload_max = message.payload_max,
        .refusal = message.refusal,
    };
    /* It ends in logs: printable ASCII only. */
    for (size_t i = 0; i < message.implementation.size; i++) {
        uint8_t c = message.implementation.bytes[i];
        out->implementation[i] = c >= ' ' && c < 0x7f ? (char) c : '?';
    }
    return 0;
}

/* The features of SET in words, into OUT, which is returned. */
static const char *feature_words(uint64_t set, char *out, size_t size)
{
    static const char *const names[] = {"locks", "xattrs", "trees", "leases"};
    size_t len = 0;
    snprintf(out, size, "none");
    for (unsigned bit = 0; bit < 64 && len < size; bit++) {
        if ((set >> bit & 1) == 0)
            continue;
        const char *comma = len > 0 ? ", " : "";
        int added = bit < sizeof names / sizeof names[0]
                        ? snprintf(out + len, size - len, "%s%s", comma, names[bit])
                        : snprintf(out + len, size - len, "%sfeature %u", comma, bit);
        len += (size_t) added;
    }
    return out;
}

uint32_t ph_hello_match(const struct ph_hello *own, const struct ph_hello *peer, enum ph_conn_role role,
                        struct ph_fault *fault)
{
    const char *us = role == PH_CONN_CLIENT ? "client" : "server";
    const char *them = role == PH_CONN_CLIENT ? "server" : "client";
    char missing_words[64], own_words[64], peer_words[64];
    if (own->refusal != 0)
        return ph_fault_set(fault, own->refusal, "connection of %s refused: %s", peer->implementation,
                            ph_status_text(own->refusal));
    if (peer->refusal != 0)
        return ph_fault_set(fault, peer->refusal, "the %s (%s) refused the connection: %s", them,
                            peer->implementation, ph_status_text(peer->refusal));
    feature_words(own->features, own_words, sizeof own_words);
    feature_words(peer->features, peer_words, sizeof peer_words);
    uint64_t missing = peer->features_required & ~own->features;
    if (missing != 0)
        return ph_fault_set(fault, PH_ST_INCOMPATIBLE,
                            "the %s requires %s, which this %s lacks (it has: %s; the %s has: %s)", them,
                            feature_words(missing, missing_words, sizeof missing_words), us, own_words, them,
                            peer_words);
    missing = own->features_required & ~peer->features;
    if (missing != 0)
        return ph_fault_set(fault, PH_ST_INCOMPATIBLE,
                            "this %s requires %s, which the %s lacks (it has: %s; this %s has: %s)", us,
                            feature_words(missing, missing_words, sizeof missing_words), them, peer_words, us,
                            own_words);
    return 0;
}
