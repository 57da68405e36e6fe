/* Linux's checks of permissions: acl_permission_check(), check_sticky(), setattr_prepare(). */
#include "client/core/may.h"

#include <sys/stat.h>

static enum ph_may may_if(bool allowed)
{
    return allowed ? PH_MAY_YES : PH_MAY_NO;
}

static bool in_group(const Pohmel__Caller *caller, uint32_t gid)
{
    if (caller->gid == gid)
        return true;
    for (size_t i = 0; i < caller->n_groups; i++) {
        if (caller->groups[i] == gid)
            return true;
    }
    return false;
}

/* Who may do everything still cannot execute what nobody can. */
static enum ph_may root_access(uint32_t mode, unsigned mask)
{
    bool executable = S_ISDIR(mode) || (mode & (S_IXUSR | S_IXGRP | S_IXOTH));
    return may_if(executable || !(mask & PH_MAY_EXECUTE));
}

enum ph_may ph_may_access(const Pohmel__Caller *caller, uint32_t mode, uint32_t uid, uint32_t gid, bool plain,
                          unsigned mask)
{
    if (mask == 0)
        return PH_MAY_YES;
    /* It may be immutable, which forbids writing to everybody and comes before the mode. */
    if (!plain && (mask & PH_MAY_WRITE))
        return PH_MAY_UNSURE;
    if (caller->uid == 0)
        return root_access(mode, mask);
    if (caller->uid == uid)
        return may_if((mask & ~(mode >> 6) & 7) == 0);
    if (!plain)
        return PH_MAY_UNSURE;
    uint32_t bits = in_group(caller, gid) ? mode >> 3 : mode;
    return may_if((mask & ~bits & 7) == 0);
}

enum ph_may ph_may_remove(const Pohmel__Caller *caller, uint32_t mode, uint32_t uid, uint32_t gid, bool plain,
                          uint32_t target_uid)
{
    enum ph_may may = ph_may_access(caller, mode, uid, gid, plain, PH_MAY_WRITE | PH_MAY_EXECUTE);
    bool kept = (mode & S_ISVTX) && caller->uid != 0 && caller->uid != target_uid && caller->uid != uid;
    return kept && may == PH_MAY_YES ? PH_MAY_NO : may;
}

enum ph_may ph_may_set_mode(const Pohmel__Caller *caller, uint32_t mode, uint32_t uid, uint32_t gid,
                            bool plain, uint32_t wanted)
{
    /* What becomes of links depends on the kernel and the filesystem. */
    if (S_ISLNK(mode))
        return PH_MAY_UNSURE;
    if (caller->uid != 0 && caller->uid != uid)
        return PH_MAY_NO;
    /* The bit is dropped without a word. */
    if (caller->uid != 0 && (wanted & S_ISGID) && !in_group(caller, gid))
        return PH_MAY_UNSURE;
    return plain ? PH_MAY_YES : PH_MAY_UNSURE;
}

enum ph_may ph_may_set_owner(const Pohmel__Caller *caller, uint32_t mode, uint32_t uid, uint32_t gid,
                             bool plain, uint32_t wanted_uid, uint32_t wanted_gid)
{
    (void) uid;
    (void) gid;
    /* Changing nothing still clears set-id bits, and who may do that is another question. */
    if (wanted_uid == UINT32_MAX && wanted_gid == UINT32_MAX)
        return PH_MAY_UNSURE;
    if (!S_ISDIR(mode) && (mode & (S_ISUID | S_ISGID)))
        return PH_MAY_UNSURE;
    return caller->uid == 0 && plain ? PH_MAY_YES : PH_MAY_UNSURE;
}

enum ph_may ph_may_set_times(const Pohmel__Caller *caller, uint32_t mode, uint32_t uid, uint32_t gid,
                             bool plain, bool is_explicit)
{
    if (caller->uid == 0 || caller->uid == uid)
        return plain ? PH_MAY_YES : PH_MAY_UNSURE;
    return is_explicit ? PH_MAY_NO : ph_may_access(caller, mode, uid, gid, plain, PH_MAY_WRITE);
}
