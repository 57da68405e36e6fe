/* Unmounting where the server is away: umount(8) looks at the mount point before it takes the mount away, and
 * must not wait for what it is to get rid of. */
#ifndef PH_CLIENT_FUSE_UNMOUNTING_H
#define PH_CLIENT_FUSE_UNMOUNTING_H

#include <stdbool.h>

#include "client/fuse/mount.h"

/* Whether REQ, about the root, comes from a program that unmounts. Does not wait; looks into /proc. */
bool ph_unmounting(fuse_req_t req);

/* Whether the name of a program, as /proc/PID/comm has it, is that of one that unmounts; for the tests. */
bool ph_name_unmounts(const char *name);

#endif
