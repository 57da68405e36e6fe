/* What the kernel says of quotas. */
#ifndef PH_STORE_KERNEL_QUOTA_H
#define PH_STORE_KERNEL_QUOTA_H

#include <stdbool.h>

#include "server/store/quotas.h"

/* Which quotas the filesystem of FD enforces: bits of enum ph_quota_of; 0 also where that cannot be told. */
unsigned ph_kernel_quota_kinds(int fd);

/* What the quota of OF and ID leaves on the filesystem of FD; UINT64_MAX where it sets no limit. False: there
 * is no limit at all, or it cannot be told (which needs CAP_SYS_ADMIN, and Linux 5.14). Acts as the server.
 */
bool ph_kernel_quota_left(int fd, enum ph_quota_of of, uint32_t id, struct ph_quota_amount *left);

#endif
