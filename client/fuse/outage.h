/* How long there has been no session, and whether that was told: once when it lasts, and once when it is
 * over. */
#ifndef PH_CLIENT_FUSE_OUTAGE_H
#define PH_CLIENT_FUSE_OUTAGE_H

#include <stdbool.h>
#include <stdint.h>

/* What is over sooner, a server that is started again, is nobody's business. */
enum { PH_OUTAGE_SAID_AFTER_MS = 3000 };

/* Zeroed: there is a session. The times are of any clock that goes on. */
struct ph_outage {
    uint64_t since_ms;
    bool going, said;
};

/* An attempt to have a session failed. True when that is to be told. */
bool ph_outage_goes_on(struct ph_outage *outage, uint64_t now_ms);

/* There is a session. True when that is to be told, with the SECONDS that it took. */
bool ph_outage_ends(struct ph_outage *outage, uint64_t now_ms, unsigned *seconds);

#endif
