/* Files and directories that are open: what the kernel's fh points to. */
#ifndef PH_CLIENT_FUSE_OPEN_FILE_H
#define PH_CLIENT_FUSE_OPEN_FILE_H

#include <stdatomic.h>

#include "client/core/cache.h"
#include "client/fuse/mount.h"
#include "runtime/base/blob.h"

struct ph_groups;
struct ph_listing;

enum { PH_OPEN_EXECUTING = 040 }; /* FMODE_EXEC of the kernel, which it leaves in the flags of OPEN */

/* Who opened a file, for when the server is told; fixed. */
struct ph_opener {
    uint32_t uid, gid;
    struct ph_groups *groups; /* a reference, or NULL */
    bool execute;
};

struct ph_open {
    uint64_t object;
    struct ph_mount *mount;
    _Atomic uint64_t handle; /* 0: it is open here only (open_here.h) */
    bool direct;             /* goes past the kernel's pages; fixed once open */
    bool directory;          /* fixed */
    struct ph_opener opener; /* of files that were opened here */
    bool writer;             /* the coherence knows of a writer; fixed once open */
    uint64_t kept_since;     /* of a directory: the lease under which the kernel keeps it; 0: it does not */
    _Atomic uint64_t generation; /* of the session in which the handle is known to be good */

    /* Of coherence_open.c: a file that is open here only, with others of its object. */
    bool listed;
    struct ph_open *next_here, *previous_here;

    pthread_mutex_t mutex; /* guards what follows */
    bool closed;           /* by the kernel: a handle that comes now is closed */
    struct ph_blob *data;  /* files: all of a small one, as it was at DATA_ASK; or NULL */
    struct ph_cache_ask data_ask;
    struct ph_listing *listing;    /* directories: entries read ahead; NULL until needed */
    struct ph_listing *gathered;   /* a snapshot being read from the server; or NULL */
    bool begun, snapshots;         /* listing began; by snapshots, so that positions stay good */
    struct ph_cache_listing whole; /* whether all of them were heard of under one lease */
    _Atomic int refs;
};

/* New open object of MOUNT with one reference; its generation is set when the server has opened it. */
struct ph_open *ph_open_new(struct ph_mount *mount, uint64_t object, uint64_t handle);
struct ph_open *ph_open_ref(struct ph_open *open);
void ph_open_unref(struct ph_open *open);

/* What INFO stands for. */
static inline struct ph_open *ph_open_of(const struct fuse_file_info *info)
{
    return (struct ph_open *) (uintptr_t) info->fh;
}

/* The data of the file came with its opening, and is right as long as it is not changed since ASK. */
void ph_open_keep_data(struct ph_open *open, struct ph_blob *data, const struct ph_cache_ask *ask);

/* What was kept: a reference, or NULL; with *ASK. */
struct ph_blob *ph_open_data(struct ph_open *open, struct ph_cache_ask *ask);

/* Whether the server still knows the handle, will again in a new session (not where it had locks in one that
 * was lost), or never had to. */
bool ph_open_alive(struct ph_mount *mount, struct ph_open *open);

/* Tells the server that HANDLE is closed, without waiting. */
void ph_open_send_close(struct ph_mount *mount, uint64_t object, uint64_t handle);

#endif
