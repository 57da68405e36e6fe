/* Write-back on a simulated machine: client/core/wb.h between its programs and its link, as
 * client/fuse/writeback.c puts it there; and what may be lost of what its programs did. */
#ifndef PH_CONFORMANCE_SIM_WRITEBACK_H
#define PH_CONFORMANCE_SIM_WRITEBACK_H

#include "client/core/wb.h"
#include "conformance/sim/caching.h"

/* Of a client whose CLIENT->stub becomes one that writes back. Never NULL. */
struct sim_writeback *sim_writeback_new(struct sim_client *client);

/* NULL is fine. */
void sim_writeback_free(struct sim_writeback *writeback);

/* What happens to the session; before, or with opened after, the cache is told. */
void sim_writeback_opened(struct sim_writeback *writeback);
void sim_writeback_lost(struct sim_writeback *writeback);
/* Every lease that it holds, and what became of the claims. */
void sim_writeback_claims(struct sim_writeback *writeback, struct ph_reclaim *reclaim);
void sim_writeback_claimed(struct sim_writeback *writeback, const struct ph_reclaim *reclaim);
void sim_writeback_recalled(struct sim_writeback *writeback, uint64_t object, uint64_t lease);

/* Whether bytes are kept that RECALL, which says what is wanted, leaves. */
gboolean sim_writeback_recalled_part(struct sim_writeback *writeback, const Pohmel__RecallEvent *recall);

/* ph_wb_glimpse. */
enum ph_wb_glimpse sim_writeback_glimpse(struct sim_writeback *writeback, uint64_t object, uint64_t lease,
                                         struct ph_cached_attr *attr, bool *unsent);

/* Past it, to the server. */
const struct ph_stub *sim_writeback_link(const struct sim_writeback *writeback);

/* Time passed. */
void sim_writeback_tick(struct sim_writeback *writeback);

/* Everything is to be written back; whether it was. */
void sim_writeback_drain(struct sim_writeback *writeback);
gboolean sim_writeback_is_drained(const struct sim_writeback *writeback);

/* Whether it is making again what the server lost, or has to. */
gboolean sim_writeback_makes_again(const struct sim_writeback *writeback);

/* Sessions lost so far. */
uint64_t sim_writeback_losses(const struct sim_writeback *writeback);

/* Number INDEX of the history, begun when there had been LOSSES, was done or seen under leases on OBJECTS (0
 * ends them): should the session be lost before these are clean, it may not have happened, or happen later.
 */
void sim_writeback_note(struct sim_writeback *writeback, guint index, const uint64_t *objects,
                        uint64_t losses);

/* The client is gone, and what was not written back with it. */
void sim_writeback_died(struct sim_writeback *writeback);

#endif
