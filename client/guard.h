/* The guard of a mount: a process beside the daemon that outlives it when it is killed, and then tells the
 * server that nobody will come back for what the daemon held. docs/protocol.md, R-4.1-12. */
#ifndef PH_CLIENT_GUARD_H
#define PH_CLIENT_GUARD_H

#include <glib.h>
#include <stdint.h>

#include "client/link.h"
#include "runtime/io/address.h"

struct ph_guard;

/* Starts a guard for the sessions of CLIENT (as in ph_link_options) on the export. To be called while the
 * process has one thread and nothing open that must end with it. NULL when there can be none: then what a
 * killed daemon held is free after the time of a lease. */
struct ph_guard *ph_guard_start(const struct ph_address *address, const char *export_name,
                                const uint8_t client[PH_LINK_CLIENT_BYTES]);

/* DEVICE is the mount's /dev/fuse: before the guard tells the server, it has the kernel forget the names that
 * it keeps for the mount, whose daemon is dead. GUARD may be NULL. */
void ph_guard_use_kernel(struct ph_guard *guard, int device);

/* The sessions have ended in order: the guard ends without a word to the server. Waits for that, and frees
 * GUARD, which may be NULL. */
void ph_guard_end(struct ph_guard *guard);

/* The server does not know that the sessions have ended: the guard tells it when this process has ended. Frees
 * GUARD, which may be NULL. */
void ph_guard_leave(struct ph_guard *guard);

#endif
