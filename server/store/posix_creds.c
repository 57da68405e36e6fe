#include "server/store/posix_creds.h"

#include <errno.h>
#include <glib.h>
#include <linux/capability.h>
#include <sched.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ph_commands.h"
#include "runtime/base/limits.h"

/* What is in force on this thread. */
static _Thread_local struct {
    bool known;      /* a new thread has the ids of the thread that started it, whatever they were */
    bool foreign;    /* not the server's ids */
    bool own_umask;  /* umask and working directory are this thread's own */
    bool groups_set; /* GROUPS are in force (they may outlive the identity) */
    mode_t mask;
    uid_t uid;
    gid_t gid;
    size_t n_groups;
    gid_t groups[PH_GROUPS_MAX];
} now;

bool ph_creds_capable(void)
{
    static const int needed[] = {CAP_SETUID, CAP_SETGID, CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID};
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{0}};
    if (geteuid() != 0 || syscall(SYS_capget, &header, data) != 0)
        return false;
    for (size_t i = 0; i < G_N_ELEMENTS(needed); i++)
        if ((data[0].effective & (1u << needed[i])) == 0)
            return false;
    return true;
}

void ph_creds_narrow(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{0}};
    if (syscall(SYS_capget, &header, data) != 0)
        return;
    data[0].effective &= ~(1u << CAP_SYS_RESOURCE);
    syscall(SYS_capset, &header, data);
}

static bool groups_become(const Pohmel__Caller *caller)
{
    if (caller->n_groups > PH_GROUPS_MAX)
        return false;
    if (now.groups_set && now.n_groups == caller->n_groups &&
        (caller->n_groups == 0 || memcmp(now.groups, caller->groups, caller->n_groups * sizeof(gid_t)) == 0))
        return true;
    if (syscall(SYS_setgroups, caller->n_groups, caller->groups) != 0)
        return false;
    now.groups_set = true;
    now.n_groups = caller->n_groups;
    if (caller->n_groups > 0)
        memcpy(now.groups, caller->groups, caller->n_groups * sizeof(gid_t));
    return true;
}

/* The calls tell the id that was in force before, and nothing of failure: asking
 * for an impossible id shows what is in force now. */
static bool ids_become(uid_t uid, gid_t gid)
{
    syscall(SYS_setfsgid, gid);
    syscall(SYS_setfsuid, uid);
    return (gid_t) syscall(SYS_setfsgid, (gid_t) -1) == gid &&
           (uid_t) syscall(SYS_setfsuid, (uid_t) -1) == uid;
}

uint32_t ph_creds_become(const Pohmel__Caller *caller)
{
    if (now.foreign && caller->uid == now.uid && caller->gid == now.gid && groups_become(caller))
        return PH_ST_OK;
    if (caller->uid == (uid_t) -1 || caller->gid == (gid_t) -1 || !groups_become(caller)) {
        ph_creds_server();
        return PH_ST_NOT_PERMITTED;
    }
    now.known = now.foreign = true;
    now.uid = caller->uid;
    now.gid = caller->gid;
    if (ids_become(now.uid, now.gid))
        return PH_ST_OK;
    ph_creds_server();
    return PH_ST_NOT_PERMITTED;
}

void ph_creds_server(void)
{
    if (now.known && !now.foreign)
        return;
    now.known = true;
    now.foreign = false;
    if (!ids_become(geteuid(), getegid()))
        g_error("the server cannot take its own ids on again");
}

bool ph_creds_is_server(void)
{
    return now.known && !now.foreign;
}

bool ph_creds_lend(void)
{
    bool foreign = now.foreign;
    ph_creds_server();
    return foreign;
}

void ph_creds_return(bool lent)
{
    if (!lent)
        return;
    /* The groups were left in force. */
    now.foreign = true;
    if (!ids_become(now.uid, now.gid))
        g_error("the server cannot take its caller's ids on again");
}

mode_t ph_creds_umask(mode_t mode, mode_t mask)
{
    if (!now.own_umask) {
        /* Without it the umask would change for all threads at once. */
        if (unshare(CLONE_FS) != 0) {
            umask(0);
            return mode & ~mask;
        }
        now.own_umask = true;
        umask(mask);
    } else if (now.mask != mask) {
        umask(mask);
    }
    now.mask = mask;
    return mode;
}
