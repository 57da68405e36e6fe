/* What went wrong, in words a person can act on. */
#ifndef PH_BASE_FAULT_H
#define PH_BASE_FAULT_H

#include <stdarg.h>
#include <stdint.h>

/* A fault is filled in once, where the trouble is seen, and carried up as it is. */
struct ph_fault {
    uint32_t status; /* enum ph_status to answer, 0 while nothing went wrong */
    char text[256];  /* one line, no newline at the end */
};

/* Fills in FAULT (may be NULL) unless it holds something already.
 * Returns STATUS, so that `return ph_fault_set(...)` reads well. */
uint32_t ph_fault_set(struct ph_fault *fault, uint32_t status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
