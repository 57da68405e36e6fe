/* Attributes, plain and extended. */
#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "bench/limit/ops.h"
#include "client/fuse/hook.h"
#include "client/fuse/kernel_abi.h"
#include "runtime/base/limits.h"

enum { BLOCK_BYTES = 4096, ACL_PREFIX_LEN = sizeof "system.posix_acl_" - 1 };

static struct fuse_sx_time statx_time(struct timespec time)
{
    return (struct fuse_sx_time){.tv_sec = time.tv_sec, .tv_nsec = (uint32_t) time.tv_nsec};
}

/* libfuse has no reply for STATX. */
static void reply_statx(fuse_req_t req, const struct stat *stat)
{
    struct fuse_statx_out out = {
        .attr_valid = (uint64_t) ph_limit_for_ever_s,
        .stat =
            {
                .mask = STATX_BASIC_STATS,
                .blksize = BLOCK_BYTES,
                .nlink = (uint32_t) stat->st_nlink,
                .uid = stat->st_uid,
                .gid = stat->st_gid,
                .mode = (uint16_t) stat->st_mode,
                .ino = stat->st_ino,
                .size = (uint64_t) stat->st_size,
                .blocks = (uint64_t) stat->st_blocks,
                .atime = statx_time(stat->st_atim),
                .ctime = statx_time(stat->st_ctim),
                .mtime = statx_time(stat->st_mtim),
                .rdev_major = major(stat->st_rdev),
                .rdev_minor = minor(stat->st_rdev),
            },
    };
    fuse_reply_buf(req, (const char *) &out, sizeof out);
}

void ph_limit_getattr(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *info)
{
    struct stat stat;
    ph_limit_stat(ph_limit_node_of(req, id), &stat);
    if (ph_hook_note()->statx)
        reply_statx(req, &stat);
    else
        fuse_reply_attr(req, &stat, ph_limit_for_ever_s);
}

/* Set-id bits go when another owner comes or somebody without the right to them writes. */
static void kill_set_ids(struct stat *stat)
{
    if (S_ISDIR(stat->st_mode))
        return;
    stat->st_mode &= ~(mode_t) S_ISUID;
    if ((stat->st_mode & S_IXGRP) != 0)
        stat->st_mode &= ~(mode_t) S_ISGID;
}

static void set_times(struct stat *stat, const struct stat *want, int to_set, struct timespec now)
{
    if ((to_set & FUSE_SET_ATTR_ATIME_NOW) != 0)
        stat->st_atim = now;
    else if ((to_set & FUSE_SET_ATTR_ATIME) != 0)
        stat->st_atim = want->st_atim;
    if ((to_set & FUSE_SET_ATTR_MTIME_NOW) != 0)
        stat->st_mtim = now;
    else if ((to_set & FUSE_SET_ATTR_MTIME) != 0)
        stat->st_mtim = want->st_mtim;
    stat->st_ctim = now;
}

static void truncate_locked(struct ph_limit_tree *tree, struct ph_limit_node *node, uint64_t size,
                            struct timespec now)
{
    uint64_t held = node->content.held_bytes;
    ph_limit_content_truncate(&node->content, size);
    tree->held_bytes -= held - node->content.held_bytes;
    node->stat.st_mtim = now;
}

void ph_limit_setattr(fuse_req_t req, fuse_ino_t id, struct stat *want, int to_set,
                      struct fuse_file_info *info)
{
    struct ph_limit_node *node = ph_limit_node_of(req, id);
    struct timespec now = ph_limit_now();
    pthread_mutex_lock(&node->lock);
    if ((to_set & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID)) != 0 || ph_hook_note()->kill_privileges)
        kill_set_ids(&node->stat);
    if ((to_set & FUSE_SET_ATTR_MODE) != 0)
        node->stat.st_mode = (node->stat.st_mode & S_IFMT) | (want->st_mode & ~(mode_t) S_IFMT);
    if ((to_set & FUSE_SET_ATTR_UID) != 0)
        node->stat.st_uid = want->st_uid;
    if ((to_set & FUSE_SET_ATTR_GID) != 0)
        node->stat.st_gid = want->st_gid;
    if ((to_set & FUSE_SET_ATTR_SIZE) != 0)
        truncate_locked(ph_limit_tree_of(req), node, (uint64_t) want->st_size, now);
    set_times(&node->stat, want, to_set, now);
    pthread_mutex_unlock(&node->lock);
    struct stat stat;
    ph_limit_stat(node, &stat);
    fuse_reply_attr(req, &stat, ph_limit_for_ever_s);
}

void ph_limit_readlink(fuse_req_t req, fuse_ino_t id)
{
    fuse_reply_readlink(req, ph_limit_node_of(req, id)->target); /* never changes */
}

void ph_limit_statfs(fuse_req_t req, fuse_ino_t id)
{
    struct ph_limit_tree *tree = ph_limit_tree_of(req);
    uint64_t held = tree->held_bytes;
    struct statvfs out = {
        .f_bsize = BLOCK_BYTES,
        .f_frsize = BLOCK_BYTES,
        .f_blocks = tree->max_bytes / BLOCK_BYTES,
        .f_bfree = (tree->max_bytes - MIN(held, tree->max_bytes)) / BLOCK_BYTES,
        .f_files = tree->nodes,
        .f_namemax = PH_NAME_MAX_BYTES,
    };
    out.f_bavail = out.f_bfree;
    fuse_reply_statfs(req, &out);
}

/* Access lists would have to change the mode; the measurements have none. */
static bool is_acl(const char *name)
{
    return strncmp(name, "system.posix_acl_", ACL_PREFIX_LEN) == 0;
}

void ph_limit_setxattr(fuse_req_t req, fuse_ino_t id, const char *name, const char *value, size_t size,
                       int flags)
{
    struct ph_limit_node *node = ph_limit_node_of(req, id);
    int error = 0;
    pthread_mutex_lock(&node->lock);
    bool there = node->xattrs != NULL && g_hash_table_contains(node->xattrs, name);
    if (is_acl(name)) {
        error = EOPNOTSUPP;
    } else if (there && (flags & XATTR_CREATE) != 0) {
        error = EEXIST;
    } else if (!there && (flags & XATTR_REPLACE) != 0) {
        error = ENODATA;
    } else {
        if (node->xattrs == NULL)
            node->xattrs =
                g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify) g_bytes_unref);
        g_hash_table_insert(node->xattrs, g_strdup(name), g_bytes_new(value, size));
        node->stat.st_ctim = ph_limit_now();
    }
    pthread_mutex_unlock(&node->lock);
    fuse_reply_err(req, error);
}

/* LEN bytes at DATA for who has room for SIZE, or asks for the length with 0. */
static void reply_sized(fuse_req_t req, const void *data, size_t len, size_t size)
{
    if (size == 0)
        fuse_reply_xattr(req, len);
    else if (size < len)
        fuse_reply_err(req, ERANGE);
    else
        fuse_reply_buf(req, data, len);
}

void ph_limit_getxattr(fuse_req_t req, fuse_ino_t id, const char *name, size_t size)
{
    struct ph_limit_node *node = ph_limit_node_of(req, id);
    pthread_mutex_lock(&node->lock);
    GBytes *value = node->xattrs != NULL ? g_hash_table_lookup(node->xattrs, name) : NULL;
    if (value != NULL)
        reply_sized(req, g_bytes_get_data(value, NULL), g_bytes_get_size(value), size);
    else
        fuse_reply_err(req, ENODATA);
    pthread_mutex_unlock(&node->lock);
}

void ph_limit_listxattr(fuse_req_t req, fuse_ino_t id, size_t size)
{
    struct ph_limit_node *node = ph_limit_node_of(req, id);
    g_autoptr(GByteArray) names = g_byte_array_new();
    pthread_mutex_lock(&node->lock);
    if (node->xattrs != NULL) {
        GHashTableIter iter;
        gpointer name;
        g_hash_table_iter_init(&iter, node->xattrs);
        while (g_hash_table_iter_next(&iter, &name, NULL))
            g_byte_array_append(names, name, (guint) strlen(name) + 1);
    }
    pthread_mutex_unlock(&node->lock);
    reply_sized(req, names->data, names->len, size);
}

void ph_limit_removexattr(fuse_req_t req, fuse_ino_t id, const char *name)
{
    struct ph_limit_node *node = ph_limit_node_of(req, id);
    pthread_mutex_lock(&node->lock);
    bool removed = node->xattrs != NULL && g_hash_table_remove(node->xattrs, name);
    if (removed)
        node->stat.st_ctim = ph_limit_now();
    pthread_mutex_unlock(&node->lock);
    fuse_reply_err(req, removed ? 0 : ENODATA);
}
