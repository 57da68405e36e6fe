#include "client/fuse/attr.h"

#include <string.h>
#include <sys/sysmacros.h>

#include "runtime/base/limits.h"

/* The number stands for one object for ever, so the kernel needs no second. */
enum { GENERATION = 1 };

uint64_t ph_device_to_wire(dev_t device)
{
    return (uint64_t) major(device) << 32 | minor(device);
}

dev_t ph_device_from_wire(uint64_t device)
{
    return makedev((unsigned) (device >> 32), (unsigned) (device & UINT32_MAX));
}

static struct timespec time_from_wire(const Pohmel__Time *time)
{
    struct timespec out = {0};
    if (time != NULL) {
        out.tv_sec = (time_t) time->seconds;
        out.tv_nsec = (long) time->nanoseconds;
    }
    return out;
}

Pohmel__Time ph_time_to_wire(const struct timespec *time)
{
    Pohmel__Time out = POHMEL__TIME__INIT;
    out.seconds = time->tv_sec;
    out.nanoseconds = (uint32_t) time->tv_nsec;
    return out;
}

void ph_attr_to_stat(const Pohmel__Attr *attr, struct stat *out)
{
    memset(out, 0, sizeof *out);
    out->st_ino = attr->object;
    out->st_mode = attr->mode;
    out->st_nlink = attr->links;
    out->st_uid = attr->uid;
    out->st_gid = attr->gid;
    out->st_rdev = ph_device_from_wire(attr->device);
    out->st_size = (off_t) attr->size;
    out->st_blocks = (blkcnt_t) attr->blocks;
    out->st_blksize = (blksize_t) attr->block_size;
    out->st_atim = time_from_wire(attr->accessed);
    out->st_mtim = time_from_wire(attr->modified);
    out->st_ctim = time_from_wire(attr->changed);
}

static struct fuse_sx_time sx_time(const Pohmel__Time *time)
{
    struct fuse_sx_time out = {0};
    if (time != NULL) {
        out.tv_sec = time->seconds;
        out.tv_nsec = time->nanoseconds;
    }
    return out;
}

void ph_attr_to_statx(const Pohmel__Attr *attr, struct fuse_statx *out)
{
    memset(out, 0, sizeof *out);
    out->mask = STATX_BASIC_STATS | (attr->created != NULL ? STATX_BTIME : 0);
    out->blksize = attr->block_size;
    out->nlink = attr->links;
    out->uid = attr->uid;
    out->gid = attr->gid;
    out->mode = (uint16_t) attr->mode;
    out->ino = attr->object;
    out->size = attr->size;
    out->blocks = attr->blocks;
    out->atime = sx_time(attr->accessed);
    out->btime = sx_time(attr->created);
    out->ctime = sx_time(attr->changed);
    out->mtime = sx_time(attr->modified);
    out->rdev_major = (uint32_t) (attr->device >> 32);
    out->rdev_minor = (uint32_t) (attr->device & UINT32_MAX);
}

void ph_attr_to_entry(const Pohmel__Attr *attr, struct fuse_entry_param *out)
{
    memset(out, 0, sizeof *out);
    out->ino = attr->object;
    out->generation = GENERATION;
    ph_attr_to_stat(attr, &out->attr);
}

uint32_t ph_setattr_bits(int to_set)
{
    uint32_t bits = 0;
    bits |= (to_set & FUSE_SET_ATTR_MODE) ? PH_SET_MODE : 0;
    bits |= (to_set & FUSE_SET_ATTR_UID) ? PH_SET_UID : 0;
    bits |= (to_set & FUSE_SET_ATTR_GID) ? PH_SET_GID : 0;
    bits |= (to_set & FUSE_SET_ATTR_SIZE) ? PH_SET_SIZE : 0;
    /* "Now" comes with the time bit as well; the server's clock decides then. */
    if (to_set & FUSE_SET_ATTR_ATIME_NOW)
        bits |= PH_SET_ACCESSED_NOW;
    else if (to_set & FUSE_SET_ATTR_ATIME)
        bits |= PH_SET_ACCESSED;
    if (to_set & FUSE_SET_ATTR_MTIME_NOW)
        bits |= PH_SET_MODIFIED_NOW;
    else if (to_set & FUSE_SET_ATTR_MTIME)
        bits |= PH_SET_MODIFIED;
    return bits;
}
