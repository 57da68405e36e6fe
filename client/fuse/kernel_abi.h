/* The kernel's FUSE interface where it is newer than <linux/fuse.h> of Debian 12 (7.38). */
#ifndef PH_CLIENT_FUSE_KERNEL_ABI_H
#define PH_CLIENT_FUSE_KERNEL_ABI_H

#include <linux/fuse.h>
#include <stdint.h>

#ifndef FUSE_DIRECT_IO_ALLOW_MMAP /* 7.39 */
#define FUSE_DIRECT_IO_ALLOW_MMAP (UINT64_C(1) << 36)
#endif

#if FUSE_KERNEL_MINOR_VERSION < 39

#define FUSE_STATX 52 /* 7.39 */

struct fuse_statx_in {
    uint32_t getattr_flags, reserved;
    uint64_t fh;
    uint32_t sx_flags, sx_mask;
};

struct fuse_sx_time {
    int64_t tv_sec;
    uint32_t tv_nsec;
    int32_t reserved;
};

struct fuse_statx {
    uint32_t mask, blksize;
    uint64_t attributes;
    uint32_t nlink, uid, gid;
    uint16_t mode, spare0[1];
    uint64_t ino, size, blocks, attributes_mask;
    struct fuse_sx_time atime, btime, ctime, mtime;
    uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
    uint64_t spare2[14];
};

struct fuse_statx_out {
    uint64_t attr_valid;
    uint32_t attr_valid_nsec, flags;
    uint64_t spare[2];
    struct fuse_statx stat;
};

#endif

#define FUSE_NOTIFY_INC_EPOCH 8 /* 7.44; an enumerator where the header has it */

#endif
