/* The operations that the kernel asks for, by theme. Their signatures are those of
 * struct fuse_lowlevel_ops. */
#ifndef PH_CLIENT_FUSE_OPS_H
#define PH_CLIENT_FUSE_OPS_H

#include "client/fuse/mount.h"

/* All of them, for fuse_session_new. */
extern const struct fuse_lowlevel_ops ph_ops;

/* ops_name.c: names and what stands behind them. */
void ph_op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void ph_op_readlink(fuse_req_t req, fuse_ino_t object);
void ph_op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t device);
void ph_op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void ph_op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name);
void ph_op_link(fuse_req_t req, fuse_ino_t object, fuse_ino_t parent, const char *name);
void ph_op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void ph_op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void ph_op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
                  const char *new_name, unsigned flags);

/* ops_open.c: opening, making and closing files. */
void ph_op_open(fuse_req_t req, fuse_ino_t object, struct fuse_file_info *info);
void ph_op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
                  struct fuse_file_info *info);
void ph_op_flush(fuse_req_t req, fuse_ino_t object, struct fuse_file_info *info);
void ph_op_release(fuse_req_t req, fuse_ino_t object, struct fuse_file_info *info);

/* ops_file.c: data. */
void ph_op_read(fuse_req_t req, fuse_ino_t object, size_t size, off_t offset, struct fuse_file_info *info);
void ph_op_write(fuse_req_t req, fuse_ino_t object, const char *data, size_t size, off_t offset,
                 struct fuse_file_info *info);
void ph_op_fsync(fuse_req_t req, fuse_ino_t object, int data_only, struct fuse_file_info *info);
void ph_op_fallocate(fuse_req_t req, fuse_ino_t object, int mode, off_t offset, off_t length,
                     struct fuse_file_info *info);
void ph_op_copy_file_range(fuse_req_t req, fuse_ino_t source, off_t source_offset,
                           struct fuse_file_info *source_info, fuse_ino_t target, off_t target_offset,
                           struct fuse_file_info *target_info, size_t length, int flags);
void ph_op_lseek(fuse_req_t req, fuse_ino_t object, off_t offset, int whence, struct fuse_file_info *info);

/* ops_dir.c: directories. */
void ph_op_opendir(fuse_req_t req, fuse_ino_t object, struct fuse_file_info *info);
void ph_op_readdir(fuse_req_t req, fuse_ino_t object, size_t size, off_t offset, struct fuse_file_info *info);
void ph_op_releasedir(fuse_req_t req, fuse_ino_t object, struct fuse_file_info *info);

/* ops_attr.c: attributes, permissions, space. */
void ph_op_getattr(fuse_req_t req, fuse_ino_t object, struct fuse_file_info *info);
void ph_op_setattr(fuse_req_t req, fuse_ino_t object, struct stat *stat, int to_set,
                   struct fuse_file_info *info);
void ph_op_access(fuse_req_t req, fuse_ino_t object, int mask);
void ph_op_statfs(fuse_req_t req, fuse_ino_t object);

/* ops_xattr.c: extended attributes. */
void ph_op_setxattr(fuse_req_t req, fuse_ino_t object, const char *name, const char *value, size_t size,
                    int flags);
void ph_op_getxattr(fuse_req_t req, fuse_ino_t object, const char *name, size_t size);
void ph_op_listxattr(fuse_req_t req, fuse_ino_t object, size_t size);
void ph_op_removexattr(fuse_req_t req, fuse_ino_t object, const char *name);

/* ops_lock.c: advisory locks. */
void ph_op_getlk(fuse_req_t req, fuse_ino_t object, struct fuse_file_info *info, struct flock *lock);
void ph_op_setlk(fuse_req_t req, fuse_ino_t object, struct fuse_file_info *info, struct flock *lock,
                 int wait);
void ph_op_flock(fuse_req_t req, fuse_ino_t object, struct fuse_file_info *info, int op);

/* ops_control.c: client/control.h. */
void ph_op_ioctl(fuse_req_t req, fuse_ino_t object, unsigned command, void *arg, struct fuse_file_info *info,
                 unsigned flags, const void *in, size_t in_size, size_t out_size);

#endif
