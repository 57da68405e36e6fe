/* What must be known of a request before it is decoded: how much payload it
 * asks for, and whether it may take long. Reads the encoded message with a
 * bounded cursor; a message that is malformed here is so for the decoder as well. */
#ifndef PH_SERVER_CORE_PEEK_H
#define PH_SERVER_CORE_PEEK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Payload bytes that a request of COMMAND asks for: READ's length, at most
 * PH_PAYLOAD_MAX_BYTES; 0 for all other commands.. */
uint32_t ph_peek_wanted(uint16_t command, const uint8_t *message, size_t len);

/* Whether the request may wait for a disk and belongs on the pool. Of a
 * transaction the first command decides; one that stays on the loop though it
 * takes long is not wrong, only taken over. */
bool ph_peek_slow(uint16_t command, const uint8_t *message, size_t len);

/* The object, or the directory, that a reading request names first; 0 for a request that names none, or
 * whose answer no lease concerns. */
uint64_t ph_peek_read_object(uint16_t command, const uint8_t *message, size_t len);

/* Whether an OPEN asks to write. */
bool ph_peek_opens_to_write(uint16_t command, const uint8_t *message, size_t len);

/* Whether a message of OPEN has `reopen`. */
bool ph_peek_reopens(uint16_t command, const uint8_t *message, size_t len);

/* The bytes, from *START to before *END, that a READ asks for; false where they cannot be known. */
bool ph_peek_read_bytes(const uint8_t *message, size_t len, uint64_t *start, uint64_t *end);

#endif
