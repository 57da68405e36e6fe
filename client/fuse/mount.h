/* What the parts of the FUSE adapter share: one mount and its threads. */
#ifndef PH_CLIENT_FUSE_MOUNT_H
#define PH_CLIENT_FUSE_MOUNT_H

#define FUSE_USE_VERSION 314

#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdbool.h>

#include "client/core/versions.h"
#include "client/link.h"

struct ph_brought;
struct ph_buffers;
struct ph_coherence;
struct ph_fresh;
struct ph_gone_dirs;
struct ph_groups_cache;
struct ph_interrupts;
struct ph_notifier;
struct ph_txns;
struct ph_workers;
struct ph_writeback;
struct ph_lock_owners;

struct ph_mount {
    struct ph_link *link;
    const struct ph_stub *stub;
    struct fuse_session *session;

    struct ph_coherence *coherence;
    struct ph_writeback *writeback; /* NULL: changes go through */
    struct ph_brought *brought;
    struct ph_buffers *buffers;
    struct ph_groups_cache *groups;
    struct ph_fresh *fresh;
    struct ph_gone_dirs *gone_dirs;
    struct ph_interrupts *interrupts;
    struct ph_workers *workers, *attempts; /* the first may wait for the second */
    struct ph_notifier *notifier;
    struct ph_lock_owners *lock_owners;
    struct ph_txns *txns;

    pthread_mutex_t versions_mutex;
    struct ph_versions *versions;

    /* Asked of the kernel in the answer to INIT. */
    bool caching; /* under leases */
    bool read_only;
};

/* As those of the link, for tickets of the mount's stub. */
void ph_mount_cancel(struct ph_mount *mount, uint64_t ticket);
void ph_mount_abandon(struct ph_mount *mount, uint64_t ticket);
void ph_mount_when_late(struct ph_mount *mount, uint64_t ticket, void (*late)(void *data), void *data);

#endif
