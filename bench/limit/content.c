#include "bench/limit/content.h"

#include <stdlib.h>
#include <string.h>

enum { ROOM_MIN = 512 };

static const uint8_t zeros[PH_LIMIT_PIECE_BYTES];

/* Makes room for LEN bytes in PIECE, doubling: a file written bit by bit is not copied each time. */
static bool make_room(struct ph_limit_content *content, struct ph_limit_piece *piece, size_t len)
{
    if (len <= piece->room)
        return true;
    size_t room = piece->room != 0 ? piece->room : ROOM_MIN;
    while (room < len)
        room *= 2;
    uint8_t *bytes = realloc(piece->bytes, room);
    if (bytes == NULL)
        return false;
    content->held_bytes += room - piece->room;
    piece->bytes = bytes;
    piece->room = room;
    return true;
}

static bool reach(struct ph_limit_content *content, size_t count)
{
    if (count <= content->count)
        return true;
    size_t have = 1;
    while (have < count)
        have *= 2;
    struct ph_limit_piece *pieces = reallocarray(content->pieces, have, sizeof *pieces);
    if (pieces == NULL)
        return false;
    memset(pieces + content->count, 0, (have - content->count) * sizeof *pieces);
    content->pieces = pieces;
    content->count = have;
    return true;
}

static bool write_piece(struct ph_limit_content *content, size_t index, size_t start, const void *data,
                        size_t len)
{
    struct ph_limit_piece *piece = &content->pieces[index];
    if (!make_room(content, piece, start + len))
        return false;
    if (start > piece->len)
        memset(piece->bytes + piece->len, 0, start - piece->len);
    memcpy(piece->bytes + start, data, len);
    if (start + len > piece->len)
        piece->len = start + len;
    return true;
}

bool ph_limit_content_write(struct ph_limit_content *content, uint64_t offset, const void *data, size_t len)
{
    if (len == 0)
        return true;
    if (offset > INT64_MAX - len || !reach(content, (size_t) ((offset + len - 1) / PH_LIMIT_PIECE_BYTES) + 1))
        return false;
    const uint8_t *from = data;
    while (len > 0) {
        size_t start = (size_t) (offset % PH_LIMIT_PIECE_BYTES);
        size_t part = PH_LIMIT_PIECE_BYTES - start < len ? PH_LIMIT_PIECE_BYTES - start : len;
        if (!write_piece(content, (size_t) (offset / PH_LIMIT_PIECE_BYTES), start, from, part))
            return false;
        from += part;
        len -= part;
        offset += part;
        if (offset > content->size)
            content->size = offset;
    }
    return true;
}

/* Up to LEN bytes at OFFSET that lie in a row: data, or the zeros behind it. */
static struct iovec span_at(const struct ph_limit_content *content, uint64_t offset, size_t len)
{
    size_t index = (size_t) (offset / PH_LIMIT_PIECE_BYTES);
    size_t start = (size_t) (offset % PH_LIMIT_PIECE_BYTES);
    size_t part = PH_LIMIT_PIECE_BYTES - start < len ? PH_LIMIT_PIECE_BYTES - start : len;
    if (index < content->count && start < content->pieces[index].len) {
        const struct ph_limit_piece *piece = &content->pieces[index];
        size_t there = piece->len - start;
        return (struct iovec){piece->bytes + start, there < part ? there : part};
    }
    return (struct iovec){(void *) (uintptr_t) zeros, part};
}

unsigned ph_limit_content_read(const struct ph_limit_content *content, uint64_t offset, size_t len,
                               struct iovec spans[PH_LIMIT_SPANS])
{
    if (offset >= content->size)
        return 0;
    if (len > content->size - offset)
        len = (size_t) (content->size - offset);
    unsigned count = 0;
    while (len > 0 && count < PH_LIMIT_SPANS) {
        spans[count] = span_at(content, offset, len);
        offset += spans[count].iov_len;
        len -= spans[count].iov_len;
        count++;
    }
    return count;
}

void ph_limit_content_truncate(struct ph_limit_content *content, uint64_t size)
{
    for (size_t i = 0; i < content->count; i++) {
        struct ph_limit_piece *piece = &content->pieces[i];
        uint64_t start = (uint64_t) i * PH_LIMIT_PIECE_BYTES;
        if (start >= size) {
            free(piece->bytes);
            content->held_bytes -= piece->room;
            *piece = (struct ph_limit_piece){0};
        } else if (piece->len > size - start) {
            piece->len = (size_t) (size - start);
        }
    }
    content->size = size;
}

void ph_limit_content_clear(struct ph_limit_content *content)
{
    ph_limit_content_truncate(content, 0);
    free(content->pieces);
    *content = (struct ph_limit_content){0};
}
