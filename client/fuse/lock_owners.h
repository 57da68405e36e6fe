/* Who took byte-range locks on what, so that only closes that may drop a lock ask the server.
 *
 * POSIX locks of a process end with any close of the file (FLUSH with its
 * owner); OFD locks with the last close of the open file (RELEASE). */
#ifndef PH_CLIENT_FUSE_LOCK_OWNERS_H
#define PH_CLIENT_FUSE_LOCK_OWNERS_H

#include <stdbool.h>
#include <stdint.h>

struct ph_lock_owners;

/* An empty set. Never NULL. */
struct ph_lock_owners *ph_lock_owners_new(void);

/* NULL is fine. */
void ph_lock_owners_free(struct ph_lock_owners *owners);

/* OWNER asks for a lock on OBJECT through HANDLE. */
void ph_lock_owners_add(struct ph_lock_owners *owners, uint64_t object, uint64_t owner, uint64_t handle);

/* Forgets what OWNER took on OBJECT; whether there was anything. */
bool ph_lock_owners_take(struct ph_lock_owners *owners, uint64_t object, uint64_t owner);

/* Forgets one owner that took locks through HANDLE: *OWNER; false when there is none left. */
bool ph_lock_owners_take_handle(struct ph_lock_owners *owners, uint64_t object, uint64_t handle,
                                uint64_t *owner);

#endif
