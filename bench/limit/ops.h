/* What the kernel asks of the filesystem in memory, by what it concerns. */
#ifndef PH_BENCH_LIMIT_OPS_H
#define PH_BENCH_LIMIT_OPS_H

#define FUSE_USE_VERSION 314

#include <fuse_lowlevel.h>

#include "bench/limit/tree.h"

/* The operations; their user data is the tree. */
extern const struct fuse_lowlevel_ops ph_limit_ops;

/* The tree that REQ is about. */
struct ph_limit_tree *ph_limit_tree_of(fuse_req_t req);

/* The node that the kernel calls ID. */
struct ph_limit_node *ph_limit_node_of(fuse_req_t req, fuse_ino_t id);

/* The attributes of NODE now. */
void ph_limit_stat(struct ph_limit_node *node, struct stat *out);

/* NODE as the kernel may keep it, which is for ever. */
void ph_limit_entry(struct ph_limit_node *node, struct fuse_entry_param *out);

/* Answers REQ with NODE, which was looked up for it. */
void ph_limit_reply_entry(fuse_req_t req, struct ph_limit_node *node);

/* How long the kernel may keep what it was told, in seconds. */
extern const double ph_limit_for_ever_s;

/* See fuse_lowlevel.h; names. */
void ph_limit_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void ph_limit_forget(fuse_req_t req, fuse_ino_t node, uint64_t count);
void ph_limit_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets);
void ph_limit_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t device);
void ph_limit_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void ph_limit_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name);
void ph_limit_link(fuse_req_t req, fuse_ino_t node, fuse_ino_t parent, const char *name);
void ph_limit_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void ph_limit_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void ph_limit_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
                     const char *new_name, unsigned flags);
void ph_limit_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
                     struct fuse_file_info *info);

/* See fuse_lowlevel.h; attributes. */
void ph_limit_getattr(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *info);
void ph_limit_setattr(fuse_req_t req, fuse_ino_t id, struct stat *want, int to_set,
                      struct fuse_file_info *info);
void ph_limit_readlink(fuse_req_t req, fuse_ino_t id);
void ph_limit_statfs(fuse_req_t req, fuse_ino_t id);
void ph_limit_setxattr(fuse_req_t req, fuse_ino_t id, const char *name, const char *value, size_t size,
                       int flags);
void ph_limit_getxattr(fuse_req_t req, fuse_ino_t id, const char *name, size_t size);
void ph_limit_listxattr(fuse_req_t req, fuse_ino_t id, size_t size);
void ph_limit_removexattr(fuse_req_t req, fuse_ino_t id, const char *name);

/* See fuse_lowlevel.h; what is open. */
void ph_limit_open(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *info);
void ph_limit_read(fuse_req_t req, fuse_ino_t id, size_t size, off_t offset, struct fuse_file_info *info);
void ph_limit_write(fuse_req_t req, fuse_ino_t id, const char *data, size_t size, off_t offset,
                    struct fuse_file_info *info);
void ph_limit_done(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *info);
void ph_limit_fsync(fuse_req_t req, fuse_ino_t id, int data_only, struct fuse_file_info *info);
void ph_limit_opendir(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *info);
void ph_limit_releasedir(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *info);
void ph_limit_readdir(fuse_req_t req, fuse_ino_t id, size_t size, off_t offset, struct fuse_file_info *info);
void ph_limit_readdirplus(fuse_req_t req, fuse_ino_t id, size_t size, off_t offset,
                          struct fuse_file_info *info);

#endif
