#include "bench/limit/ops.h"

#include "runtime/base/limits.h"

enum {
    BACKGROUND_MAX = 256, /* as the client of Pohmel has it */
    BACKGROUND_CONGESTED = 192,
    READ_AHEAD_MAX_BYTES = 64 * 1024 * 1024,
};

const double ph_limit_for_ever_s = 1e9;

/* What the client of Pohmel settles with the kernel, and what a client can that has a lease on
 * everything: pages, links, listings are the kernel's to keep. */
static void init(void *data, struct fuse_conn_info *conn)
{
    const unsigned wanted = FUSE_CAP_ASYNC_READ | FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_ASYNC_DIO |
                            FUSE_CAP_DONT_MASK | FUSE_CAP_POSIX_ACL | FUSE_CAP_EXPLICIT_INVAL_DATA |
                            FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_CACHE_SYMLINKS;
    conn->want = wanted & conn->capable;
    conn->max_readahead = READ_AHEAD_MAX_BYTES;
    conn->max_write = PH_PAYLOAD_MAX_BYTES;
    conn->max_background = BACKGROUND_MAX;
    conn->congestion_threshold = BACKGROUND_CONGESTED;
}

struct ph_limit_tree *ph_limit_tree_of(fuse_req_t req)
{
    return fuse_req_userdata(req);
}

struct ph_limit_node *ph_limit_node_of(fuse_req_t req, fuse_ino_t id)
{
    return id == FUSE_ROOT_ID ? ph_limit_tree_of(req)->root : (struct ph_limit_node *) (uintptr_t) id;
}

void ph_limit_stat(struct ph_limit_node *node, struct stat *out)
{
    const uint64_t block = 512; /* the unit of st_blocks */
    pthread_mutex_lock(&node->lock);
    *out = node->stat;
    if (S_ISREG(out->st_mode))
        out->st_size = (off_t) node->content.size;
    out->st_blocks = (blkcnt_t) ((node->content.held_bytes + block - 1) / block);
    pthread_mutex_unlock(&node->lock);
}

void ph_limit_entry(struct ph_limit_node *node, struct fuse_entry_param *out)
{
    *out = (struct fuse_entry_param){
        .ino = (fuse_ino_t) (uintptr_t) node,
        .generation = node->generation,
        .attr_timeout = ph_limit_for_ever_s,
        .entry_timeout = ph_limit_for_ever_s,
    };
    ph_limit_stat(node, &out->attr);
}

void ph_limit_reply_entry(fuse_req_t req, struct ph_limit_node *node)
{
    struct ph_limit_tree *tree = ph_limit_tree_of(req);
    struct fuse_entry_param entry;
    ph_limit_entry(node, &entry);
    if (fuse_reply_entry(req, &entry) != 0)
        ph_limit_tree_forget(tree, node, 1);
}

const struct fuse_lowlevel_ops ph_limit_ops = {
    .init = init,
    .lookup = ph_limit_lookup,
    .forget = ph_limit_forget,
    .forget_multi = ph_limit_forget_multi,
    .getattr = ph_limit_getattr,
    .setattr = ph_limit_setattr,
    .readlink = ph_limit_readlink,
    .mknod = ph_limit_mknod,
    .mkdir = ph_limit_mkdir,
    .unlink = ph_limit_unlink,
    .rmdir = ph_limit_rmdir,
    .symlink = ph_limit_symlink,
    .rename = ph_limit_rename,
    .link = ph_limit_link,
    .open = ph_limit_open,
    .create = ph_limit_create,
    .read = ph_limit_read,
    .write = ph_limit_write,
    .flush = ph_limit_done,
    .release = ph_limit_done,
    .fsync = ph_limit_fsync,
    .opendir = ph_limit_opendir,
    .readdir = ph_limit_readdir,
    .readdirplus = ph_limit_readdirplus,
    .releasedir = ph_limit_releasedir,
    .fsyncdir = ph_limit_fsync,
    .statfs = ph_limit_statfs,
    .setxattr = ph_limit_setxattr,
    .getxattr = ph_limit_getxattr,
    .listxattr = ph_limit_listxattr,
    .removexattr = ph_limit_removexattr,
};
