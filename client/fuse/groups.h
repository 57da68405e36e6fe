/* Supplementary groups of the processes that ask, read from /proc and kept for
 * about a second: reading them costs as much as several requests. */
#ifndef PH_CLIENT_FUSE_GROUPS_H
#define PH_CLIENT_FUSE_GROUPS_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

/* A set of groups, shared; not changed once made. */
struct ph_groups {
    _Atomic int refs;
    uint32_t count;
    uint32_t ids[];
};

struct ph_groups_cache;

/* An empty cache of fixed size. Never NULL. */
struct ph_groups_cache *ph_groups_cache_new(void);

/* Gives back CACHE and its references; NULL is fine. */
void ph_groups_cache_free(struct ph_groups_cache *cache);

/* Groups of process (or thread) PID, which runs as UID and GID: a reference,
 * or NULL where there are none: for uid 0 (needs none), for pid 0 (not known
 * here) and for a process that is gone. NOW_MS is of a monotonic clock. */
struct ph_groups *ph_groups_cache_get(struct ph_groups_cache *cache, pid_t pid, uid_t uid, gid_t gid,
                                      uint64_t now_ms);

/* One reference less; NULL is fine. Any thread. */
void ph_groups_unref(struct ph_groups *groups);

/* The groups in a text in the form of /proc/PID/status; NULL for none. No
 * more than the protocol carries (PH_GROUPS_MAX) are taken. */
struct ph_groups *ph_groups_parse(const char *status);

#endif
