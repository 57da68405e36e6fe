#include "runtime/core/output.h"

#include <stdlib.h>

/* A buffer behind a blob mostly gets one header; a full buffer is followed by many. */
enum { BUFFER_BYTES = 16 * 1024, BUFFER_BYTES_BEHIND_BLOB = 1024 };

/* Either bytes of its own (blob is NULL) or those of a blob. */
struct ph_output_segment {
    struct ph_output_segment *next;
    struct ph_blob *blob;
    size_t start, end; /* what of it waits */
    size_t capacity;
    uint8_t bytes[];
};

static struct ph_output_segment *segment_new(size_t capacity)
{
    struct ph_output_segment *segment = malloc(sizeof *segment + capacity);
    if (segment == NULL)
        abort();
    segment->next = NULL;
    segment->blob = NULL;
    segment->start = segment->end = 0;
    segment->capacity = capacity;
    return segment;
}

static void append(struct ph_output *output, struct ph_output_segment *segment)
{
    if (output->last != NULL)
        output->last->next = segment;
    else
        output->first = segment;
    output->last = segment;
}

static struct ph_output_segment *buffer_for(struct ph_output *output, size_t len)
{
    struct ph_output_segment *last = output->last;
    if (last != NULL && last->blob == NULL && len <= last->capacity - last->end)
        return last;
    struct ph_output_segment *buffer = output->spare;
    if (buffer != NULL && len <= buffer->capacity) {
        output->spare = NULL;
    } else {
        size_t usual = last != NULL && last->blob != NULL ? BUFFER_BYTES_BEHIND_BLOB : BUFFER_BYTES;
        buffer = segment_new(len > usual ? len : usual);
    }
    append(output, buffer);
    return buffer;
}

uint8_t *ph_output_reserve(struct ph_output *output, size_t len)
{
    struct ph_output_segment *buffer = buffer_for(output, len);
    uint8_t *room = buffer->bytes + buffer->end;
    buffer->end += len;
    output->bytes += len;
    return room;
}

void ph_output_blob(struct ph_output *output, struct ph_blob *blob)
{
    struct ph_output_segment *segment = segment_new(0);
    segment->blob = ph_blob_ref(blob);
    segment->end = blob->len;
    append(output, segment);
    output->bytes += blob->len;
}

int ph_output_vector(const struct ph_output *output, struct iovec *iov, int max)
{
    int count = 0;
    for (struct ph_output_segment *s = output->first; s != NULL && count < max; s = s->next) {
        uint8_t *bytes = s->blob != NULL ? s->blob->data : s->bytes;
        iov[count].iov_base = bytes + s->start;
        iov[count].iov_len = s->end - s->start;
        count++;
    }
    return count;
}

static void segment_free(struct ph_output *output, struct ph_output_segment *segment)
{
    ph_blob_unref(segment->blob);
    if (segment->capacity == BUFFER_BYTES && output->spare == NULL) {
        segment->next = NULL;
        segment->start = segment->end = 0;
        output->spare = segment;
    } else {
        free(segment);
    }
}

void ph_output_sent(struct ph_output *output, size_t count)
{
    output->bytes -= count;
    while (output->first != NULL) {
        struct ph_output_segment *s = output->first;
        size_t waiting = s->end - s->start;
        if (count < waiting) {
            s->start += count;
            return;
        }
        count -= waiting;
        output->first = s->next;
        if (output->first == NULL)
            output->last = NULL;
        segment_free(output, s);
    }
}

void ph_output_clear(struct ph_output *output)
{
    ph_output_sent(output, output->bytes);
    free(output->spare);
    output->spare = NULL;
}
