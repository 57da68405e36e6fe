/* Bytes newer than the server's: what is dirty over what is being sent. */
#include "client/core/wb_data.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "client/core/wb_extents.h"
#include "runtime/base/limits.h"

enum {
    KEEP_MIN_BYTES = 32 * 1024,              /* a payload of this size may be kept, a smaller one is copied */
    BUFFER_MAX_BYTES = PH_PAYLOAD_MAX_BYTES, /* up to which a buffer grows: more is not sent in one piece */
};

struct ph_wb_data {
    struct ph_wb_extents dirty, sending;
    uint64_t visible; /* what is being sent counts up to here: the rest was cut off since */
    bool is_sending;
};

struct ph_wb_data *ph_wb_data_new(void)
{
    struct ph_wb_data *data = calloc(1, sizeof(*data));
    if (!data)
        abort();
    data->dirty.stamp = 1;
    data->visible = UINT64_MAX;
    return data;
}

void ph_wb_data_free(struct ph_wb_data *data)
{
    if (!data)
        return;
    ph_wb_extents_clear(&data->dirty);
    ph_wb_extents_clear(&data->sending);
    free(data);
}

uint64_t ph_wb_data_bytes(const struct ph_wb_data *data)
{
    return data->dirty.bytes + data->sending.bytes;
}

uint64_t ph_wb_data_dirty_bytes(const struct ph_wb_data *data)
{
    return data->dirty.bytes;
}

static struct ph_blob *new_blob(size_t capacity)
{
    struct ph_blob *blob = ph_blob_new(capacity);
    if (!blob)
        abort();
    return blob;
}

/* Whether nobody but DATA has seen the bytes of EXTENT. */
static bool is_own(const struct ph_wb_data *data, const struct ph_wb_extent *extent)
{
    return extent->stamp == data->dirty.stamp;
}

static uint32_t write_inside(struct ph_wb_extent *extent, uint64_t offset, const uint8_t *bytes, uint32_t len)
{
    uint64_t room = ph_wb_extent_end(extent) - offset;
    uint32_t fits = room < len ? (uint32_t) room : len;
    memcpy(extent->blob->data + extent->start + (offset - extent->offset), bytes, fits);
    return fits;
}

/* Room for LEN bytes more behind EXTENT, whose blob ends with it. */
static void make_room(struct ph_wb_extent *extent, uint32_t len)
{
    struct ph_blob *old = extent->blob;
    if (old->capacity - old->len >= len)
        return;
    size_t needed = (size_t) extent->len + len, twice = (size_t) extent->len * 2;
    struct ph_blob *blob = new_blob(needed > twice ? needed : twice);
    memcpy(blob->data, old->data + extent->start, extent->len);
    blob->len = extent->len;
    extent->blob = blob;
    extent->start = 0;
    ph_blob_unref(old);
}

/* The extent that LEN bytes at OFFSET may be added to: one that ends there, in a buffer of our own. */
static struct ph_wb_extent *growing(const struct ph_wb_data *data, uint64_t offset, uint32_t len)
{
    struct ph_wb_extent *extent = offset > 0 ? ph_wb_extents_at(&data->dirty, offset - 1) : NULL;
    bool grows = extent && (is_own(data, extent) || extent->grows == data->dirty.stamp);
    if (!grows || ph_wb_extent_end(extent) != offset)
        return NULL;
    if (extent->blob->len != (size_t) extent->start + extent->len || extent->len > BUFFER_MAX_BYTES - len)
        return NULL;
    /* What was kept is not copied for a few bytes more. */
    return is_own(data, extent) || extent->blob->capacity - extent->blob->len >= len ? extent : NULL;
}

/* Room for what LEN bytes at OFFSET may become: behind a full buffer comes another one. */
static size_t room_for(const struct ph_wb_data *data, uint64_t offset, uint32_t len)
{
    const struct ph_wb_extent *before = offset > 0 ? ph_wb_extents_at(&data->dirty, offset - 1) : NULL;
    bool behind = before && ph_wb_extent_end(before) == offset && before->len > BUFFER_MAX_BYTES - len;
    return behind ? BUFFER_MAX_BYTES : len;
}

static void write_copied(struct ph_wb_data *data, uint64_t offset, const uint8_t *bytes, uint32_t len)
{
    struct ph_wb_extent *extent = ph_wb_extents_at(&data->dirty, offset);
    if (extent && extent->offset <= offset && is_own(data, extent)) {
        uint32_t done = write_inside(extent, offset, bytes, len);
        offset += done;
        bytes += done;
        len -= done;
    }
    if (len == 0)
        return;
    ph_wb_extents_erase(&data->dirty, offset, offset + len);
    extent = growing(data, offset, len);
    if (extent) {
        make_room(extent, len);
        memcpy(extent->blob->data + extent->blob->len, bytes, len);
        extent->blob->len += len;
        extent->len += len;
        data->dirty.bytes += len;
        return;
    }
    struct ph_blob *blob = new_blob(room_for(data, offset, len));
    memcpy(blob->data, bytes, len);
    blob->len = len;
    ph_wb_extents_insert(&data->dirty, offset, blob, 0, len, data->dirty.stamp);
    ph_blob_unref(blob);
}

void ph_wb_data_write(struct ph_wb_data *data, uint64_t offset, struct ph_blob *payload)
{
    assert(payload->len <= UINT32_MAX && offset <= (UINT64_C(1) << 63) - payload->len);
    uint32_t len = (uint32_t) payload->len;
    bool worth = len >= KEEP_MIN_BYTES && len >= payload->capacity / 2;
    /* Half a buffer is copied once here, or with the other half when both are sent. */
    if (len <= BUFFER_MAX_BYTES && (!worth || (len <= BUFFER_MAX_BYTES / 2 && growing(data, offset, len)))) {
        write_copied(data, offset, payload->data, len);
        return;
    }
    ph_wb_extents_erase(&data->dirty, offset, offset + len);
    /* What comes behind it, as the rest of a write that lies badly in its pages does, finds room there. */
    ph_wb_extents_insert(&data->dirty, offset, payload, 0, len, 0)->grows = data->dirty.stamp;
}

void ph_wb_data_cut(struct ph_wb_data *data, uint64_t size)
{
    ph_wb_extents_erase(&data->dirty, size, UINT64_MAX);
    if (size < data->visible)
        data->visible = size;
}

static uint64_t end_of(uint64_t offset, uint64_t len)
{
    return len > UINT64_MAX - offset ? UINT64_MAX : offset + len;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

bool ph_wb_data_covers(const struct ph_wb_data *data, uint64_t offset, uint64_t len)
{
    uint64_t end = end_of(offset, len);
    while (offset < end) {
        const struct ph_wb_extent *dirty = ph_wb_extents_at(&data->dirty, offset);
        const struct ph_wb_extent *sending = ph_wb_extents_at(&data->sending, offset);
        if (dirty && dirty->offset <= offset)
            offset = ph_wb_extent_end(dirty);
        else if (sending && sending->offset <= offset && offset < data->visible)
            offset = smaller(ph_wb_extent_end(sending), data->visible);
        else
            return false;
    }
    return true;
}

bool ph_wb_data_any(const struct ph_wb_data *data, uint64_t offset, uint64_t len)
{
    uint64_t end = end_of(offset, len);
    if (offset >= end)
        return false;
    const struct ph_wb_extent *dirty = ph_wb_extents_at(&data->dirty, offset);
    if (dirty && dirty->offset < end)
        return true;
    const struct ph_wb_extent *sending = ph_wb_extents_at(&data->sending, offset);
    return sending && sending->offset < end && offset < data->visible && sending->offset < data->visible;
}

/* Copies what EXTENTS hold from OFFSET up to END. */
static void read_extents(const struct ph_wb_extents *extents, uint64_t offset, uint64_t end, uint8_t *buffer)
{
    uint64_t at = offset;
    while (at < end) {
        const struct ph_wb_extent *extent = ph_wb_extents_at(extents, at);
        if (!extent || extent->offset >= end)
            return;
        uint64_t from = extent->offset > at ? extent->offset : at;
        uint64_t to = smaller(ph_wb_extent_end(extent), end);
        memcpy(buffer + (from - offset), extent->blob->data + extent->start + (from - extent->offset),
               to - from);
        at = to;
    }
}

void ph_wb_data_read(const struct ph_wb_data *data, uint64_t offset, void *buffer, size_t len)
{
    uint64_t end = end_of(offset, len);
    read_extents(&data->sending, offset, smaller(end, data->visible), buffer);
    read_extents(&data->dirty, offset, end, buffer);
}

void ph_wb_data_take(struct ph_wb_data *data)
{
    assert(!data->is_sending);
    data->is_sending = true;
    data->sending = data->dirty;
    data->visible = UINT64_MAX;
    /* With another stamp nothing is written in place, or added, to what was taken. */
    uint32_t stamp = data->dirty.stamp == UINT32_MAX ? 1 : data->dirty.stamp + 1;
    data->dirty = (struct ph_wb_extents){.stamp = stamp, .drawn = data->dirty.drawn};
}

static void let_go(void *owner)
{
    ph_blob_unref(owner);
}

/* LEN bytes of EXTENT from OFFSET of the file on, without a copy. */
static struct ph_blob *slice(const struct ph_wb_extent *extent, uint64_t offset, uint32_t len)
{
    size_t start = extent->start + (size_t) (offset - extent->offset);
    ph_blob_ref(extent->blob);
    if (start == 0 && len == extent->blob->len)
        return extent->blob;
    struct ph_blob *blob = ph_blob_wrap(extent->blob->data + start, len, let_go, extent->blob);
    if (!blob)
        abort();
    return blob;
}

static struct ph_blob *join(const struct ph_wb_extents *extents, uint64_t offset, size_t len)
{
    struct ph_blob *blob = new_blob(len);
    read_extents(extents, offset, offset + len, blob->data);
    blob->len = len;
    return blob;
}

bool ph_wb_data_next(const struct ph_wb_data *data, uint64_t *cursor, size_t max, uint64_t *offset,
                     struct ph_blob **payload)
{
    assert(max > 0);
    const struct ph_wb_extent *first = ph_wb_extents_at(&data->sending, *cursor);
    if (!first)
        return false;
    uint64_t from = first->offset > *cursor ? first->offset : *cursor;
    uint64_t len = smaller(ph_wb_extent_end(first) - from, max);
    uint64_t alone = len;
    /* Whole extents only: what is split is copied, or sent, twice as often. */
    const struct ph_wb_extent *next = ph_wb_extents_at(&data->sending, from + len);
    while (next && next->offset == from + len && next->len <= max - len) {
        len += next->len;
        next = ph_wb_extents_at(&data->sending, from + len);
    }
    *offset = from;
    *cursor = from + len;
    *payload = len == alone ? slice(first, from, (uint32_t) len) : join(&data->sending, from, (size_t) len);
    return true;
}

void ph_wb_data_arrived(struct ph_wb_data *data, uint64_t offset, uint64_t len)
{
    assert(data->is_sending);
    ph_wb_extents_erase(&data->sending, offset, end_of(offset, len));
}

void ph_wb_data_sent(struct ph_wb_data *data)
{
    ph_wb_extents_clear(&data->sending);
    data->sending = (struct ph_wb_extents){0};
    data->visible = UINT64_MAX;
    data->is_sending = false;
}

void ph_wb_data_unsent(struct ph_wb_data *data)
{
    struct ph_wb_extents *below = &data->sending, *above = &data->dirty;
    below->stamp = above->stamp;
    ph_wb_extents_erase(below, data->visible, UINT64_MAX);
    const struct ph_wb_extent *extent = ph_wb_extents_at(above, 0);
    while (extent) {
        uint64_t end = ph_wb_extent_end(extent);
        ph_wb_extents_erase(below, extent->offset, end);
        ph_wb_extents_insert(below, extent->offset, extent->blob, extent->start, extent->len, extent->stamp);
        extent = ph_wb_extents_at(above, end);
    }
    ph_wb_extents_clear(above);
    *above = *below;
    *below = (struct ph_wb_extents){0};
    data->visible = UINT64_MAX;
    data->is_sending = false;
}
