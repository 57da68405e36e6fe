/* Loaded before the C library (LD_PRELOAD) of a server where the kernel has no quotas: answers what it asks
 * the kernel, and refuses what a kernel would. QUOTAS_TOP is the export; QUOTAS_LIMITS a file with a line for
 * each limit: u or g, the id, KiB, objects (0: no limit). Used is what lies below QUOTAS_TOP. Refused are new
 * files, writes and changes of owners; what else may take space (directories, fallocate(2)) is only counted.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <linux/dqblk_xfs.h>
#include <linux/quota.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { KIB = 1024, BLOCK_BYTES = 4096, STAT_BLOCK_BYTES = 512 };

struct amount {
    uint64_t bytes, objects;
};

/* One change at a time is judged and made. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* The C library's function that TYPE and NAME are of. */
#define NEXT(type, name)                                                                                     \
    ({                                                                                                       \
        static _Atomic(void *) found;                                                                        \
        if (found == NULL)                                                                                   \
            found = dlsym(RTLD_NEXT, name);                                                                  \
        (type) found;                                                                                        \
    })

static bool limit_of(char kind, uint32_t id, struct amount *limit)
{
    const char *path = getenv("QUOTAS_LIMITS");
    FILE *file = path != NULL ? fopen(path, "re") : NULL;
    unsigned long long kib, objects;
    unsigned number;
    char of;
    bool found = false;
    while (file != NULL && !found && fscanf(file, " %c %u %llu %llu", &of, &number, &kib, &objects) == 4)
        found = of == kind && number == id;
    if (file != NULL)
        fclose(file);
    if (found)
        *limit = (struct amount){.bytes = kib * KIB, .objects = objects};
    return found;
}

static uint64_t in_blocks(uint64_t bytes)
{
    return (bytes + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES;
}

/* By size: when blocks are given to a file differs among filesystems. */
static uint64_t bytes_of(const struct stat *st)
{
    return S_ISREG(st->st_mode) ? in_blocks((uint64_t) st->st_size)
                                : (uint64_t) st->st_blocks * STAT_BLOCK_BYTES;
}

static struct amount used_of(char kind, uint32_t id)
{
    struct amount used = {0};
    char *tops[] = {getenv("QUOTAS_TOP"), NULL};
    FTS *walk = tops[0] != NULL ? fts_open(tops, FTS_PHYSICAL | FTS_NOCHDIR, NULL) : NULL;
    FTSENT *entry;
    while (walk != NULL && (entry = fts_read(walk)) != NULL) {
        bool is_there = entry->fts_info == FTS_D || entry->fts_info == FTS_F || entry->fts_info == FTS_SL ||
                        entry->fts_info == FTS_DEFAULT;
        if (!is_there || (kind == 'u' ? entry->fts_statp->st_uid : entry->fts_statp->st_gid) != id)
            continue;
        used.bytes += bytes_of(entry->fts_statp);
        used.objects++;
    }
    if (walk != NULL)
        fts_close(walk);
    return used;
}

static bool fits_one(char kind, uint32_t id, uint64_t bytes, uint64_t objects)
{
    struct amount limit;
    if (!limit_of(kind, id, &limit))
        return true;
    struct amount used = used_of(kind, id);
    return (bytes == 0 || limit.bytes == 0 || used.bytes + bytes <= limit.bytes) &&
           (objects == 0 || limit.objects == 0 || used.objects + objects <= limit.objects);
}

/* Whether the quotas leave that; UID or GID -1: nobody's. Whoever acts need not be able to see everything. */
static bool fits(uid_t uid, gid_t gid, uint64_t bytes, uint64_t objects)
{
    int failed = errno;
    uid_t acting = (uid_t) setfsuid(geteuid());
    bool fit = (uid == (uid_t) -1 || fits_one('u', uid, bytes, objects)) &&
               (gid == (gid_t) -1 || fits_one('g', gid, bytes, objects));
    setfsuid(acting);
    errno = fit ? failed : EDQUOT;
    return fit;
}

/* Whether a write up to END fits. */
static bool may_grow(int fd, uint64_t end)
{
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || (st.st_uid == 0 && st.st_gid == 0) ||
        in_blocks(end) <= bytes_of(&st))
        return true;
    return fits(st.st_uid, st.st_gid, in_blocks(end) - bytes_of(&st), 0);
}

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t at)
{
    pthread_mutex_lock(&lock);
    ssize_t got = -1;
    if (may_grow(fd, (uint64_t) at + len))
        got = NEXT(ssize_t(*)(int, const void *, size_t, off_t), "pwrite64")(fd, bytes, len, at);
    pthread_mutex_unlock(&lock);
    return got;
}

ssize_t pwritev2(int fd, const struct iovec *parts, int count, off_t at, int flags)
{
    struct stat st;
    uint64_t end = (uint64_t) at;
    pthread_mutex_lock(&lock);
    if ((flags & RWF_APPEND || at < 0) && fstat(fd, &st) == 0)
        end = (uint64_t) st.st_size;
    for (int i = 0; i < count; i++)
        end += parts[i].iov_len;
    ssize_t got = -1;
    if (may_grow(fd, end))
        got = NEXT(ssize_t(*)(int, const struct iovec *, int, off_t, int), "pwritev64v2")(fd, parts, count,
                                                                                          at, flags);
    pthread_mutex_unlock(&lock);
    return got;
}

int openat(int dir, const char *path, int flags, ...)
{
    struct stat st;
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
    va_end(args);
    int (*next)(int, const char *, int, ...) = NEXT(int (*)(int, const char *, int, ...), "openat64");
    if (!(flags & O_CREAT) || fstatat(dir, path, &st, AT_SYMLINK_NOFOLLOW) == 0)
        return next(dir, path, flags, mode);
    pthread_mutex_lock(&lock);
    bool fit = fits((uid_t) setfsuid((uid_t) -1), (gid_t) setfsgid((gid_t) -1), 0, 1);
    int fd = fit ? next(dir, path, flags, mode) : -1;
    pthread_mutex_unlock(&lock);
    return fd;
}

int fchownat(int dir, const char *path, uid_t uid, gid_t gid, int flags)
{
    struct stat st;
    pthread_mutex_lock(&lock);
    bool fit = true;
    if (fstatat(dir, path, &st, flags) == 0)
        fit =
            fits(uid != st.st_uid ? uid : (uid_t) -1, gid != st.st_gid ? gid : (gid_t) -1, bytes_of(&st), 1);
    int failed =
        fit ? NEXT(int (*)(int, const char *, uid_t, gid_t, int), "fchownat")(dir, path, uid, gid, flags)
            : -1;
    pthread_mutex_unlock(&lock);
    return failed;
}

/* What quotactl_fd(2) would say. */
static int tell(int command, uint32_t id, void *answer)
{
    struct if_dqblk quota = {0};
    struct fs_quota_stat state = {.qs_version = FS_QSTAT_VERSION,
                                  .qs_flags = FS_QUOTA_UDQ_ENFD | FS_QUOTA_GDQ_ENFD};
    char kind = (command & SUBCMDMASK) == USRQUOTA ? 'u' : 'g';
    switch ((unsigned) command >> SUBCMDSHIFT) {
    case Q_XGETQSTAT:
        memcpy(answer, &state, sizeof state);
        return 0;
    case Q_GETQUOTA: {
        struct amount limit = {0}, used = {0};
        pthread_mutex_lock(&lock);
        if (limit_of(kind, id, &limit))
            used = used_of(kind, id);
        pthread_mutex_unlock(&lock);
        quota.dqb_bhardlimit = limit.bytes / KIB;
        quota.dqb_ihardlimit = limit.objects;
        quota.dqb_curspace = used.bytes;
        quota.dqb_curinodes = used.objects;
        quota.dqb_valid = QIF_ALL;
        memcpy(answer, &quota, sizeof quota);
        return 0;
    }
    default:
        errno = EINVAL;
        return -1;
    }
}

long syscall(long number, ...)
{
    long a[6];
    va_list args;
    va_start(args, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(args, long);
    va_end(args);
    if (number == SYS_quotactl_fd)
        return tell((int) a[1], (uint32_t) a[2], (void *) a[3]);
    return NEXT(long (*)(long, ...), "syscall")(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
