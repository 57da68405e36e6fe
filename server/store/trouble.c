#include "server/store/trouble.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

static _Thread_local int first;

/* It is an answer. */
static bool is_told(int error)
{
    static const int told[] = {ENOENT, ENOTDIR, EISDIR,  EEXIST, ENOTEMPTY,  ELOOP,  ENAMETOOLONG, ESTALE,
                               EXDEV,  EACCES,  ENODATA, EINVAL, EOPNOTSUPP, ERANGE, EINTR,        ENXIO};
    for (size_t i = 0; i < sizeof told / sizeof *told; i++)
        if (error == told[i])
            return true;
    return false;
}

void ph_trouble_clear(void)
{
    first = 0;
}

void ph_trouble_note(int error)
{
    if (first == 0 && !is_told(error))
        first = error;
}

int ph_trouble(void)
{
    return first;
}
