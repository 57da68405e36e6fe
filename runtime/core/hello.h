/* What each end says first: a banner of fixed form, then its hello. Pure; in
 * fixed memory, because it comes from a peer nobody knows yet.
 * docs/protocol.md, section 3.1.
 *
 *  off len
 *    0   8  magic "POHMEL\r\n"
 *    8   2  lowest version of the protocol
 *   10   2  highest version
 *   12   4  length of the hello
 */
#ifndef PH_CORE_HELLO_H
#define PH_CORE_HELLO_H

#include <stddef.h>
#include <stdint.h>

#include "runtime/base/fault.h"
#include "runtime/base/limits.h"
#include "runtime/core/conn.h"

#define PH_GREETING_MAX_BYTES (PH_BANNER_BYTES + PH_HELLO_MAX_BYTES)

struct ph_banner {
    uint16_t version_min, version_max;
    uint32_t hello_len; /* at most PH_HELLO_MAX_BYTES */
};

/* Writes the banner of this build and HELLO behind it. Returns the length. */
size_t ph_greeting_encode(const struct ph_hello *hello, uint8_t out[PH_GREETING_MAX_BYTES]);

/* Checks as much of a peer's banner as has come: MALFORMED when LEN bytes (of
 * PH_BANNER_BYTES) cannot be the start of one. */
uint32_t ph_banner_check_start(const uint8_t *in, size_t len, struct ph_fault *fault);

/* Reads a whole banner. MALFORMED, or INCOMPATIBLE when no version is common;
 * ROLE is the own one. */
uint32_t ph_banner_decode(const uint8_t in[PH_BANNER_BYTES], enum ph_conn_role role, struct ph_banner *out,
                          struct ph_fault *fault);

/* Reads a hello of LEN bytes. MALFORMED when it breaks a rule. */
uint32_t ph_hello_decode(const uint8_t *in, size_t len, struct ph_hello *out, struct ph_fault *fault);

/* Whether both ends can go on: neither refused, and each has what the other
 * requires. INCOMPATIBLE, or the peer's refusal, with words that say what both have. */
uint32_t ph_hello_match(const struct ph_hello *own, const struct ph_hello *peer, enum ph_conn_role role,
                        struct ph_fault *fault);

#endif
