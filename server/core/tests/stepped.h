/* What tests share that step the core by hand: its guard, and frames as a socket would have brought them. */
#ifndef PH_SERVER_CORE_TESTS_STEPPED_H
#define PH_SERVER_CORE_TESTS_STEPPED_H

#include <stdbool.h>

#include "server/core/server_core.h"

/* A guard that fails the test when the core is entered twice, or left without being inside. *INSIDE is false
 * at first and must live as long as the core. */
struct ph_server_guard stepped_guard(bool *inside);

/* A frame with HEADER, in which the length of MESSAGE (NULL: none) and the checksum are filled in, and
 * header->payload_len bytes of payload. ph_server_frame takes it. */
struct ph_frame *stepped_frame(const struct ph_frame_header *header, const ProtobufCMessage *message);

#endif
