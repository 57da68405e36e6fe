/* A server whose machine loses power. */
#ifndef PH_CLIENT_CORE_TESTS_WB_POWER_H
#define PH_CLIENT_CORE_TESTS_WB_POWER_H

#include "client/core/tests/wb_steps.h"

/* A world in which so many bytes of what is not stable are kept. */
void wb_power_begin(struct wb_steps *steps, uint64_t owned_limit_bytes);

/* The server loses all that it had; it is there again, in start EPOCH, and lost nothing since start UNBROKEN.
 */
void wb_power_lose(struct wb_steps *steps);
void wb_power_back(struct wb_steps *steps, uint64_t epoch, uint64_t unbroken);

/* What is at the server: the text of file ID, whether NAME is in DIRECTORY. */
void wb_assert_text(const struct wb_steps *steps, uint64_t id, const char *text);
bool wb_has_name(const struct wb_steps *steps, uint64_t directory, const char *name);

/* Bytes that are kept because they are not stable. */
uint64_t wb_unstable_bytes(const struct wb_steps *steps);

#endif
