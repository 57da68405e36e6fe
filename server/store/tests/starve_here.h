/* The Nth allocation of this process fails. Not under sanitizers, which have an allocator of their own. */
#ifndef PH_SERVER_STORE_TESTS_STARVE_HERE_H
#define PH_SERVER_STORE_TESTS_STARVE_HERE_H

#include <stdbool.h>

/* Whether allocations can be made to fail here; skips the test where not. */
bool starve_possible(void);

/* From here on NUMBER allocations, of all threads, are made; the next fails. */
void starve_begin(long number);

/* From here on none fails. True where one has failed. */
bool starve_end(void);

#endif
