/* Buffers for requests from the kernel: large, page aligned, used again. The data of a WRITE
 * leaves in the buffer in which it came; the reader goes on with a fresh one. */
#ifndef PH_CLIENT_FUSE_BUFFERS_H
#define PH_CLIENT_FUSE_BUFFERS_H

#include <stddef.h>

#include "runtime/base/blob.h"

struct ph_buffers;

/* Buffers of SIZE bytes; up to KEEP free ones are kept. One reference. */
struct ph_buffers *ph_buffers_new(size_t size, unsigned keep);
void ph_buffers_unref(struct ph_buffers *buffers);

/* A buffer, or NULL when memory is short. */
void *ph_buffers_get(struct ph_buffers *buffers);
void ph_buffers_put(struct ph_buffers *buffers, void *buffer);

/* The calling thread reads requests into BUFFER now (NULL: it stopped). */
void ph_buffers_reading(struct ph_buffers *buffers, void *buffer);

/* The buffer of the calling thread, or NULL when it was stolen. */
void *ph_buffers_current(void);

/* LEN bytes at DATA, which lie in the buffer of the calling thread: large ones
 * as a blob over the buffer itself, small ones copied. NULL when memory is short. */
struct ph_blob *ph_buffers_steal(const void *data, size_t len);

#endif
