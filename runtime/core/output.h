/* Bytes waiting to go out: small ones gathered in buffers, bulk ones by
 * reference of their blob. Private to runtime/core. */
#ifndef PH_CORE_OUTPUT_H
#define PH_CORE_OUTPUT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "runtime/base/blob.h"

struct ph_output_segment;

struct ph_output {
    struct ph_output_segment *first, *last;
    struct ph_output_segment *spare; /* an empty buffer kept for the next frame */
    size_t bytes;
};

/* Room for LEN bytes at the end of OUTPUT, which count as waiting from now on; the caller fills them in. */
uint8_t *ph_output_reserve(struct ph_output *output, size_t len);

/* All bytes of BLOB, behind what waits already; takes a reference. */
void ph_output_blob(struct ph_output *output, struct ph_blob *blob);

/* As ph_conn_output and ph_conn_sent. */
int ph_output_vector(const struct ph_output *output, struct iovec *iov, int max);
void ph_output_sent(struct ph_output *output, size_t count);

/* Drops everything; OUTPUT can be used again. */
void ph_output_clear(struct ph_output *output);

#endif
