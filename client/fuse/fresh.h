/* Attributes that a LOOKUP just brought. The kernel checks permissions itself
 * and asks for the attributes of each directory on a path right after it was
 * told them; to ask the server again would double every walk. So what a LOOKUP
 * told is remembered for the thread that asked, and answers that thread's next
 * GETATTR, once, within a moment, and only when it asked for nothing else in
 * between: the answer is then one that the same system call has seen already. */
#ifndef PH_CLIENT_FUSE_FRESH_H
#define PH_CLIENT_FUSE_FRESH_H

#include "client/fuse/mount.h"
#include "ph_protocol.h"

struct ph_fresh;

/* Remembers nothing yet; never NULL. */
struct ph_fresh *ph_fresh_new(void);

/* NULL is fine. */
void ph_fresh_free(struct ph_fresh *fresh);

/* Thread THREAD was told, at NOW_US (monotonic), the attributes of DIRECTORY
 * and of what it found in it; either may be NULL. To be called before the kernel is answered. */
void ph_fresh_learn(struct ph_fresh *fresh, pid_t thread, const Pohmel__Attr *directory,
                    const Pohmel__Attr *found, uint64_t now_us);

/* THREAD asks for the attributes of OBJECT. True, with *STAT filled in, when they were just told. */
bool ph_fresh_take(struct ph_fresh *fresh, pid_t thread, uint64_t object, uint64_t now_us, struct stat *stat);

/* THREAD asks for something else. */
void ph_fresh_forget(struct ph_fresh *fresh, pid_t thread);

#endif
