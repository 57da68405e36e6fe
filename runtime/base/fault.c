#include "runtime/base/fault.h"

#include <stdio.h>

uint32_t ph_fault_set(struct ph_fault *fault, uint32_t status, const char *format, ...)
{
    if (fault == NULL || fault->status != 0)
        return status;
    fault->status = status;
    va_list args;
    va_start(args, format);
    vsnprintf(fault->text, sizeof fault->text, format, args);
    va_end(args);
    /* Names from the peer may be part of the words: keep them to one line. */
    for (char *c = fault->text; *c != '\0'; c++)
        if ((unsigned char) *c < ' ' || *c == 0x7f)
            *c = '?';
    return status;
}
