#include "client/fuse/ops.h"

#include "client/fuse/coherence.h"
#include "client/fuse/gone_dirs.h"
#include "client/fuse/request.h"
#include "runtime/base/limits.h"

enum {
    EPOCHS_SINCE_MINOR = 44, /* of the kernel's interface: Linux 6.16 */
    BACKGROUND_MAX = 256,    /* requests without a waiting process (read-ahead, releases) in flight */
    BACKGROUND_CONGESTED = 192,
    READ_AHEAD_MAX_BYTES = 64 * 1024 * 1024,
};

/* Settles with the kernel what the mount relies on. */
static void init(void *data, struct fuse_conn_info *conn)
{
    const struct ph_mount *mount = data;
    /* Under leases pages go when these are given back, and at no other time. */
    const unsigned pages = mount->caching ? FUSE_CAP_EXPLICIT_INVAL_DATA : FUSE_CAP_AUTO_INVAL_DATA;
    /* The umask comes along, for the server to apply it (default ACLs replace it); locks come
     * here, for they hold between clients. */
    const unsigned wanted = pages | FUSE_CAP_ASYNC_READ | FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_ASYNC_DIO |
                            FUSE_CAP_IOCTL_DIR | FUSE_CAP_DONT_MASK | FUSE_CAP_POSIX_LOCKS |
                            FUSE_CAP_FLOCK_LOCKS;
    /* Off, though libfuse would have it: truncation at open comes as SETATTR, which tells
     * about set-id bits; splicing never pays where data is looked at; attributes
     * with listings come to the cache, where names are looked up: the kernel would have to be given them
     * with names that it may not keep, and would forget what it may. */
    conn->want = wanted & conn->capable;
    ph_coherence_set_epochs(mount->coherence, conn->proto_minor >= EPOCHS_SINCE_MINOR);
    if (mount->caching) /* an object's target never changes */
        conn->want |= FUSE_CAP_CACHE_SYMLINKS & conn->capable;
    /* Permissions by access lists; this also makes the kernel check them (session.c does
     * that for exports without lists). */
    const struct ph_link_info *info = ph_link_info(mount->link);
    if (info->acts_as_caller && info->acls)
        conn->want |= FUSE_CAP_POSIX_ACL & conn->capable;
    /* What mount_point.c sets is to hold: the kernel takes the smaller of both. */
    conn->max_readahead = READ_AHEAD_MAX_BYTES;
    conn->max_write = PH_PAYLOAD_MAX_BYTES;
    conn->max_background = BACKGROUND_MAX;
    conn->congestion_threshold = BACKGROUND_CONGESTED;
}

static void forget_one(struct ph_mount *mount, uint64_t object, uint64_t lookups)
{
    ph_coherence_forget(mount->coherence, object, lookups);
    ph_gone_dirs_forget(mount->gone_dirs, object);
}

static void forget(fuse_req_t req, fuse_ino_t object, uint64_t lookups)
{
    forget_one(ph_mount_of(req), object, lookups);
    fuse_reply_none(req);
}

static void forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
    for (size_t i = 0; i < count; i++)
        forget_one(ph_mount_of(req), forgets[i].ino, forgets[i].nlookup);
    fuse_reply_none(req);
}

const struct fuse_lowlevel_ops ph_ops = {
    .init = init,
    .lookup = ph_op_lookup,
    .forget = forget,
    .forget_multi = forget_multi,
    .getattr = ph_op_getattr,
    .setattr = ph_op_setattr,
    .readlink = ph_op_readlink,
    .mknod = ph_op_mknod,
    .mkdir = ph_op_mkdir,
    .unlink = ph_op_unlink,
    .rmdir = ph_op_rmdir,
    .symlink = ph_op_symlink,
    .rename = ph_op_rename,
    .link = ph_op_link,
    .open = ph_op_open,
    .create = ph_op_create,
    .read = ph_op_read,
    .write = ph_op_write,
    .flush = ph_op_flush,
    .release = ph_op_release,
    .fsync = ph_op_fsync,
    .opendir = ph_op_opendir,
    .readdir = ph_op_readdir,
    .releasedir = ph_op_releasedir,
    .fsyncdir = ph_op_fsync,
    .statfs = ph_op_statfs,
    .setxattr = ph_op_setxattr,
    .getxattr = ph_op_getxattr,
    .listxattr = ph_op_listxattr,
    .removexattr = ph_op_removexattr,
    .access = ph_op_access,
    .getlk = ph_op_getlk,
    .setlk = ph_op_setlk,
    .flock = ph_op_flock,
    .ioctl = ph_op_ioctl,
    .fallocate = ph_op_fallocate,
    .copy_file_range = ph_op_copy_file_range,
    .lseek = ph_op_lseek,
};
