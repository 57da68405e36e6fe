/* Loss of power: what may be lost by it, and what must not be. Clients that write through lose what no SYNC
 * made stable; clients that write back lose nothing as long as they live (Owned, docs/protocol.md 9.15). */
#ifndef PH_CONFORMANCE_SIM_POWER_H
#define PH_CONFORMANCE_SIM_POWER_H

#include <glib.h>
#include <stdint.h>

#include "ph_protocol.h"

struct world;
struct sim_power;

/* A world in which power may be lost. To be called when its store is there. */
void sim_power_begin(struct world *world);
/* NULL is fine, as in all of the following. */
void sim_power_free(struct sim_power *power);

/* Whether clients keep what is not stable: then each has files and names of its own that only it changes, as
 * what two of them changed within moments is not sure to be made again (0015). */
gboolean sim_power_owned(const struct world *world);

/* Power is lost now, the server being dead. */
void sim_power_lost(struct world *world);

/* What a request makes, and what it changes otherwise, as far as the judge looks at that; 0: nothing. */
struct sim_power_deed {
    uint64_t makes, changes;
};

/* A client that writes back sends REQUEST; it is answered STATUS. */
struct sim_power_deed sim_power_asked(struct world *world, const Pohmel__TransactRequest *request);
void sim_power_told(struct world *world, const struct sim_power_deed *deed, uint32_t status);

/* What the judge calls OBJECT. What survived without its id is what it was before; but where clients write
 * back who made it has to give it back, if he was told that he made it. */
uint64_t sim_power_identity(const struct world *world, uint64_t object);

/* Something was put aside. Whether what is made again of OBJECT may be so: a name that was taken away may be
 * there again; or its making was not answered, and it survived without its id; or a local program has taken
 * its name; or a change of it was under way, which cannot be told from that of others (0015). */
gboolean sim_power_excuses(struct world *world, uint64_t object);

/* OBJECT (0: all) was made stable: who asked, at client MOUNT, had begun at BEGIN_US. What others keep back
 * is not meant. */
void sim_power_synced(struct world *world, int mount, uint64_t object, uint64_t begin_us);

/* Number TRANSACTION of the history was answered: it is stable. */
void sim_power_transacted(struct world *world, uint32_t transaction);

/* The answer to a transaction of several commands was lost. Clients that write back cannot know whether it
 * was executed, and may make again past it what was done before (0015): it is not judged as one then, and
 * names not at all. TRUE: that is so. */
gboolean sim_power_unanswered(struct world *world);

/* Time passed: notices when all who live are back, and have made again what they kept. */
void sim_power_tick(struct world *world);
/* Whether that is so. */
gboolean sim_power_is_over(const struct world *world);

/* All is quiet: what is there now is seen, and what may be lost is marked as such. To be called before it is
 * judged. */
void sim_power_settle(struct world *world);

#endif
