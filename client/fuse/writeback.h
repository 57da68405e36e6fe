/* The shell around write-back (client/core/wb.h): its lock, its clock, and what it asks for. It is a stub as
 * the link is: whoever sends commands through it need not know of it. All functions may be called from any
 * thread; none waits but ph_writeback_drain. */
#ifndef PH_CLIENT_FUSE_WRITEBACK_H
#define PH_CLIENT_FUSE_WRITEBACK_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "client/core/wb.h"
#include "client/link.h"

struct ph_cached_attr_wire;
struct ph_coherence;
struct ph_writeback;
struct ph_reclaim;

struct ph_writeback_options {
    uint64_t flush_age_ms;
    uint64_t patience_ms; /* how long what waits to be written back waits for a server that is gone */
    uint64_t dirty_limit_bytes;
    bool keep;               /* what the server's disk may still lose */
    const char *conflicts;   /* directory for what cannot be written back; NULL: chosen by */
    const char *mount_point; /* this */
};

/* Starts its thread. Never NULL. */
struct ph_writeback *ph_writeback_new(const struct ph_writeback_options *options,
                                      struct ph_coherence *coherence);

/* Ends its thread, which uses the link: to be called before that is closed. NULL is fine, and so is once
 * more. */
void ph_writeback_stop(struct ph_writeback *writeback);

/* Nobody uses it any more, and the link is shut down. What is dirty is lost. NULL is fine. */
void ph_writeback_free(struct ph_writeback *writeback);

/* The link is open. */
void ph_writeback_use_link(struct ph_writeback *writeback, struct ph_link *link);

/* What to send through. */
const struct ph_stub *ph_writeback_stub(const struct ph_writeback *writeback);

/* As those of the link, for tickets of this stub. */
void ph_writeback_cancel(struct ph_writeback *writeback, uint64_t ticket);
void ph_writeback_abandon(struct ph_writeback *writeback, uint64_t ticket);
void ph_writeback_when_late(struct ph_writeback *writeback, uint64_t ticket, void (*late)(void *data),
                            void *data);

/* What happens to the session; told by the coherence. */
void ph_writeback_opened(struct ph_writeback *writeback, const struct ph_link_leases *leases,
                         bool write_back);
void ph_writeback_lost(struct ph_writeback *writeback);
void ph_writeback_claims(struct ph_writeback *writeback, struct ph_reclaim *reclaim);
void ph_writeback_claimed(struct ph_writeback *writeback, const struct ph_reclaim *reclaim);
void ph_writeback_recalled(struct ph_writeback *writeback, uint64_t object, uint64_t lease);
/* ph_wb_recalled_part. */
bool ph_writeback_recalled_part(struct ph_writeback *writeback, uint64_t object, uint64_t lease,
                                uint64_t start, uint64_t end);

/* What is said of OBJECT, held under LEASE, to somebody else who looks at it: ph_wb_glimpse. */
enum ph_wb_glimpse ph_writeback_glimpse(struct ph_writeback *writeback, uint64_t object, uint64_t lease,
                                        struct ph_cached_attr *attr, bool *unsent);

/* Writes OBJECT back (0: everything), then DONE(DATA, status of the first failure), on any thread. */
void ph_writeback_flush(struct ph_writeback *writeback, uint64_t object,
                        void (*done)(void *data, uint32_t status), void *data);

/* Writes everything back and waits for that, saying in the log what for; PATIENCE_S is how long it waits for
 * a server that cannot be reached. False when something could not be written back. */
bool ph_writeback_drain(struct ph_writeback *writeback, guint patience_s);

/* Attributes of OBJECT in *WIRE, where GETATTR would be answered here. */
bool ph_writeback_getattr(struct ph_writeback *writeback, uint64_t object, struct ph_cached_attr_wire *wire);

/* Of how many of the COUNT OBJECTS that is so. */
size_t ph_writeback_knows(struct ph_writeback *writeback, const uint64_t *objects, size_t count);

/* All that file OBJECT holds, where that was written back from here and is still so: a reference; else NULL.
 */
struct ph_blob *ph_writeback_kept(struct ph_writeback *writeback, uint64_t object);

/* ph_wb_next_range. */
bool ph_writeback_next_range(struct ph_writeback *writeback, uint64_t after, struct ph_wb_range_held *out);

/* Whether OBJECT has changes that were not written back; any thread. */
bool ph_writeback_is_dirty(struct ph_writeback *writeback, uint64_t object);

/* Whether HANDLE was opened here and will be opened at the server when that has to know. */
bool ph_writeback_has_handle(struct ph_writeback *writeback, uint64_t handle);

/* Status of the first failure to write OBJECT back that nobody was told of yet; PH_ST_OK for none. */
uint32_t ph_writeback_take_error(struct ph_writeback *writeback, uint64_t object);

/* Counters as "key: value" lines, appended to OUT. */
void ph_writeback_status(struct ph_writeback *writeback, GString *out);

#endif
