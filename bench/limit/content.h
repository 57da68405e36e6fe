/* The bytes of a file in memory: pieces of up to a mebibyte, holes where nothing was written. */
#ifndef PH_BENCH_LIMIT_CONTENT_H
#define PH_BENCH_LIMIT_CONTENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

enum {
    PH_LIMIT_PIECE_BYTES = 1024 * 1024,
    PH_LIMIT_SPANS = 4, /* a read of up to a piece's size touches two pieces: data and zeros of each */
};

struct ph_limit_piece {
    uint8_t *bytes;
    size_t len, room; /* behind LEN all is zero, and perhaps not there */
};

/* All zero is an empty file. */
struct ph_limit_content {
    struct ph_limit_piece *pieces;
    size_t count;
    uint64_t size;
    uint64_t held_bytes; /* memory taken by the pieces */
};

/* Writes LEN bytes at OFFSET; the file grows as needed. False when memory is
 * short or the end would lie beyond what off_t counts; nothing but a hole may have changed then. */
bool ph_limit_content_write(struct ph_limit_content *content, uint64_t offset, const void *data, size_t len);

/* Where the up to LEN bytes at OFFSET lie: fills SPANS, returns how many. For
 * LEN of up to PH_LIMIT_PIECE_BYTES they are fewer bytes only at the end of the file.
 * Valid until the file changes. */
unsigned ph_limit_content_read(const struct ph_limit_content *content, uint64_t offset, size_t len,
                               struct iovec spans[PH_LIMIT_SPANS]);

/* Makes the file SIZE bytes long: cuts it, or adds a hole. */
void ph_limit_content_truncate(struct ph_limit_content *content, uint64_t size);

/* Frees all bytes; the file is empty. */
void ph_limit_content_clear(struct ph_limit_content *content);

#endif
