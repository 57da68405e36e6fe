/* What the server's kernel would allow, told from the attributes of an object: the rules
 * of Linux for a caller with these ids. Quotas, full disks and read-only volumes are not
 * looked at. Pure.
 *
 * MODE is as in st_mode, type included. PLAIN is that of the attributes (types.proto):
 * where it is false there may be access lists, and changes may be forbidden to all. A
 * server that does not act with the ids of its callers does not follow these rules:
 * its attributes are not plain, and what is sure all the same here is not, there. */
#ifndef PH_CLIENT_CORE_MAY_H
#define PH_CLIENT_CORE_MAY_H

#include <stdbool.h>
#include <stdint.h>

#include "ph_protocol.h"

enum ph_may {
    PH_MAY_UNSURE, /* only the server can tell, or what it makes of it differs from what was asked */
    PH_MAY_YES,
    PH_MAY_NO,
};

/* Bits of MASK, as in access(2). */
enum {
    PH_MAY_EXECUTE = 1, /* or search, of directories */
    PH_MAY_WRITE = 2,
    PH_MAY_READ = 4,
};

/* Everything in MASK on one object; YES when MASK is 0. NO is EACCES. What an access list cannot change is
 * sure without PLAIN too: what uid 0 and the owner may read and execute.
 * Making a name takes WRITE and EXECUTE on the directory; so does each directory of a rename, and a directory
 * that changes its parent takes WRITE on itself as well. */
enum ph_may ph_may_access(const Pohmel__Caller *caller, uint32_t mode, uint32_t uid, uint32_t gid, bool plain,
                          unsigned mask);

/* Taking away, or replacing, a name in a directory with MODE, UID, GID and PLAIN, that stands for an object
 * owned by TARGET_UID. NO is EACCES, or EPERM when only the sticky bit forbids it. */
enum ph_may ph_may_remove(const Pohmel__Caller *caller, uint32_t mode, uint32_t uid, uint32_t gid, bool plain,
                          uint32_t target_uid);

/* Changing the permission bits of an object with MODE, UID, GID and PLAIN to those of WANTED, the result
 * being exactly these. NO is EPERM. */
enum ph_may ph_may_set_mode(const Pohmel__Caller *caller, uint32_t mode, uint32_t uid, uint32_t gid,
                            bool plain, uint32_t wanted);

/* Changing the owner to WANTED_UID and the group to WANTED_GID (UINT32_MAX: as it is), nothing else of its
 * attributes being changed by it. Sure only for uid 0. */
enum ph_may ph_may_set_owner(const Pohmel__Caller *caller, uint32_t mode, uint32_t uid, uint32_t gid,
                             bool plain, uint32_t wanted_uid, uint32_t wanted_gid);

/* Changing the times. Not EXPLICIT: both, to the server's now; anything else is EXPLICIT, one of them to now
 * included. NO is EPERM when EXPLICIT, else EACCES. */
enum ph_may ph_may_set_times(const Pohmel__Caller *caller, uint32_t mode, uint32_t uid, uint32_t gid,
                             bool plain, bool is_explicit);

#endif
