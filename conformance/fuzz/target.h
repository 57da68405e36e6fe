/* The fuzz target: bytes of a peer, through the connection core, the codec, the
 * validator and the dispatcher. It aborts when a promise is broken.
 *
 * An input is one byte of flags, then what the peer sends. */
#ifndef PH_FUZZ_TARGET_H
#define PH_FUZZ_TARGET_H

#include <stddef.h>
#include <stdint.h>

enum {
    PH_FUZZ_GREETED = 1 << 0,  /* a proper greeting is sent first */
    PH_FUZZ_REPAIRED = 1 << 1, /* checksums of whole frames are made to fit: mutation passes them */
    PH_FUZZ_CLIENT = 1 << 2,   /* we are the client: replies and events come in */
    PH_FUZZ_PIECES = 3 << 3,   /* how the bytes are cut up: all, 1, 7 or 4096 at a time */
};

/* Runs one input. Returns 0; the name is libFuzzer's. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
