#include "server/store/kernel_quota.h"

#include <errno.h>
#include <linux/dqblk_xfs.h>
#include <linux/quota.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    QUOTA_BLOCK_BYTES = 1024,
    /* Above a soft limit that will be a hard one within this time nothing is promised any more: what is
     * promised is used later. */
    GRACE_MARGIN_S = 60,
};

/* The C library has no name for it yet. */
static int ask(int fd, int command, enum ph_quota_of of, uint32_t id, void *answer)
{
    int type = of == PH_QUOTA_OF_USER ? USRQUOTA : GRPQUOTA;
    return (int) syscall(SYS_quotactl_fd, fd, QCMD(command, type), id, answer);
}

unsigned ph_kernel_quota_kinds(int fd)
{
    struct fs_quota_stat state = {0};
    if (ask(fd, Q_XGETQSTAT, PH_QUOTA_OF_USER, 0, &state) != 0)
        return 0;
    return (state.qs_flags & FS_QUOTA_UDQ_ENFD ? PH_QUOTA_OF_USER : 0u) |
           (state.qs_flags & FS_QUOTA_GDQ_ENFD ? PH_QUOTA_OF_GROUP : 0u);
}

/* GRACE_END: when the soft limit becomes a hard one, 0: it is not passed. A limit of 0 is none. */
static uint64_t left_of(uint64_t hard, uint64_t soft, uint64_t used, uint64_t grace_end)
{
    uint64_t limit = hard != 0 ? hard : UINT64_MAX;
    if (soft != 0 && used > soft && grace_end != 0 && grace_end <= (uint64_t) time(NULL) + GRACE_MARGIN_S)
        limit = soft;
    return limit == UINT64_MAX ? limit : limit > used ? limit - used : 0;
}

bool ph_kernel_quota_left(int fd, enum ph_quota_of of, uint32_t id, struct ph_quota_amount *left)
{
    struct if_dqblk quota = {0};
    int failed = ask(fd, Q_GETQUOTA, of, id, &quota);
    if (failed != 0 && errno == ENOENT) { /* XFS knows nothing of it: it will be given the default limits */
        failed = ask(fd, Q_GETQUOTA, of, 0, &quota);
        quota.dqb_curspace = quota.dqb_curinodes = quota.dqb_btime = quota.dqb_itime = 0;
    }
    if (failed != 0)
        return false;
    left->bytes = left_of(quota.dqb_bhardlimit * QUOTA_BLOCK_BYTES, quota.dqb_bsoftlimit * QUOTA_BLOCK_BYTES,
                          quota.dqb_curspace, quota.dqb_btime);
    left->objects = left_of(quota.dqb_ihardlimit, quota.dqb_isoftlimit, quota.dqb_curinodes, quota.dqb_itime);
    return left->bytes != UINT64_MAX || left->objects != UINT64_MAX;
}
