#include "runtime/wire/frame.h"

#include <stdlib.h>
#include <string.h>

#include "ph_commands.h"

/* Where the fields stand; the picture is in frame.h. */
enum {
    AT_MAGIC = 0,
    AT_LENGTH = 4,
    AT_KIND = 5,
    AT_FLAGS = 6,
    AT_CLASS = 7,
    AT_COMMAND = 8,
    AT_CREDITS = 10,
    AT_STATUS = 12,
    AT_ID = 16,
    AT_SLOT = 24,
    AT_SEQUENCE = 28,
    AT_MESSAGE_LEN = 32,
    AT_PAYLOAD_LEN = 36,
    AT_BODY_CRC = 40,
    AT_HEADER_CRC = 44,

    FLAGS_KNOWN = PH_FLAG_RETRY,
};

static const uint8_t magic[4] = {'P', 'H', 'M', '1'};

static void put16(uint8_t *out, uint16_t value)
{
    out[0] = (uint8_t) value;
    out[1] = (uint8_t) (value >> 8);
}

static void put32(uint8_t *out, uint32_t value)
{
    put16(out, (uint16_t) value);
    put16(out + 2, (uint16_t) (value >> 16));
}

static void put64(uint8_t *out, uint64_t value)
{
    put32(out, (uint32_t) value);
    put32(out + 4, (uint32_t) (value >> 32));
}

static uint16_t get16(const uint8_t *in)
{
    return (uint16_t) (in[0] | in[1] << 8);
}

static uint32_t get32(const uint8_t *in)
{
    return get16(in) | (uint32_t) get16(in + 2) << 16;
}

static uint64_t get64(const uint8_t *in)
{
    return get32(in) | (uint64_t) get32(in + 4) << 32;
}

void ph_frame_free(struct ph_frame *frame)
{
    if (frame == NULL)
        return;
    ph_blob_unref(frame->payload);
    free(frame);
}

void ph_frame_header_encode(const struct ph_frame_header *header, uint8_t out[PH_FRAME_HEADER_BYTES])
{
    memcpy(out + AT_MAGIC, magic, sizeof magic);
    out[AT_LENGTH] = PH_FRAME_HEADER_BYTES / 4;
    out[AT_KIND] = header->kind;
    out[AT_FLAGS] = header->flags;
    out[AT_CLASS] = header->traffic_class;
    put16(out + AT_COMMAND, header->command);
    put16(out + AT_CREDITS, header->credits);
    put32(out + AT_STATUS, header->status);
    put64(out + AT_ID, header->id);
    put32(out + AT_SLOT, header->slot);
    put32(out + AT_SEQUENCE, header->sequence);
    put32(out + AT_MESSAGE_LEN, header->message_len);
    put32(out + AT_PAYLOAD_LEN, header->payload_len);
    put32(out + AT_BODY_CRC, header->body_crc);
    put32(out + AT_HEADER_CRC, ph_crc32c(0, out, AT_HEADER_CRC));
}

/* Everything that must hold before a single length of IN means anything. */
static uint32_t check_shape(const uint8_t *in, struct ph_fault *fault)
{
    if (memcmp(in + AT_MAGIC, magic, sizeof magic) != 0)
        return ph_fault_set(fault, PH_ST_MALFORMED, "a frame does not begin with PHM1");
    if (get32(in + AT_HEADER_CRC) != ph_crc32c(0, in, AT_HEADER_CRC))
        return ph_fault_set(fault, PH_ST_MALFORMED,
                            "the checksum of a frame header does not fit: "
                            "bytes were changed on the way");
    if (in[AT_LENGTH] != PH_FRAME_HEADER_BYTES / 4)
        return ph_fault_set(fault, PH_ST_MALFORMED, "a frame header of %u bytes instead of %u",
                            in[AT_LENGTH] * 4U, (unsigned) PH_FRAME_HEADER_BYTES);
    if (in[AT_KIND] < PH_FRAME_REQUEST || in[AT_KIND] > PH_FRAME_CONTROL)
        return ph_fault_set(fault, PH_ST_MALFORMED, "a frame of unknown kind %u", in[AT_KIND]);
    if ((in[AT_FLAGS] & ~FLAGS_KNOWN) != 0)
        return ph_fault_set(fault, PH_ST_MALFORMED, "a frame with unknown flags 0x%02x", in[AT_FLAGS]);
    if (in[AT_CLASS] > PH_CLASS_RELEASE)
        return ph_fault_set(fault, PH_ST_MALFORMED, "a frame of unknown traffic class %u", in[AT_CLASS]);
    return 0;
}

uint32_t ph_frame_header_decode(const uint8_t in[PH_FRAME_HEADER_BYTES], uint32_t message_max,
                                uint32_t payload_max, struct ph_frame_header *out, struct ph_fault *fault)
{
    uint32_t status = check_shape(in, fault);
    if (status != 0)
        return status;
    uint32_t message_len = get32(in + AT_MESSAGE_LEN), payload_len = get32(in + AT_PAYLOAD_LEN);
    if (message_len > message_max)
        return ph_fault_set(fault, PH_ST_MALFORMED, "a message of %u bytes where %u are allowed", message_len,
                            message_max);
    if (payload_len > payload_max)
        return ph_fault_set(fault, PH_ST_MALFORMED, "a payload of %u bytes where %u are allowed", payload_len,
                            payload_max);
    *out = (struct ph_frame_header){
        .kind = in[AT_KIND],
        .flags = in[AT_FLAGS],
        .traffic_class = in[AT_CLASS],
        .command = get16(in + AT_COMMAND),
        .credits = get16(in + AT_CREDITS),
        .status = get32(in + AT_STATUS),
        .id = get64(in + AT_ID),
        .slot = get32(in + AT_SLOT),
        .sequence = get32(in + AT_SEQUENCE),
        .message_len = message_len,
        .payload_len = payload_len,
        .body_crc = get32(in + AT_BODY_CRC),
    };
    return 0;
}
