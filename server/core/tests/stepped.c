#include "server/core/tests/stepped.h"

#include <glib.h>
#include <stdlib.h>
#include <string.h>

static void enter(void *data)
{
    bool *inside = data;

    g_assert_false(*inside);
    *inside = true;
}

static void leave(void *data)
{
    bool *inside = data;

    g_assert_true(*inside);
    *inside = false;
}

struct ph_server_guard stepped_guard(bool *inside)
{
    return (struct ph_server_guard){enter, leave, inside};
}

struct ph_frame *stepped_frame(const struct ph_frame_header *header, const ProtobufCMessage *message)
{
    size_t len = message == NULL ? 0 : ph_encoded_size(message);
    struct ph_frame *frame = calloc(1, sizeof(*frame) + len);

    g_assert_nonnull(frame);
    frame->header = *header;
    frame->header.message_len = (uint32_t) len;
    if (message != NULL)
        ph_encode(message, frame->message);
    frame->header.body_crc = ph_crc32c(0, frame->message, len);
    if (header->payload_len > 0) {
        frame->payload = ph_blob_new(header->payload_len);
        g_assert_nonnull(frame->payload);
        memset(frame->payload->data, 'x', header->payload_len);
        frame->payload->len = header->payload_len;
    }
    return frame;
}
