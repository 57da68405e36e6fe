#include "client/fuse/outage.h"

bool ph_outage_goes_on(struct ph_outage *outage, uint64_t now_ms)
{
    if (!outage->going)
        *outage = (struct ph_outage){.since_ms = now_ms, .going = true};
    if (outage->said || now_ms - outage->since_ms < PH_OUTAGE_SAID_AFTER_MS)
        return false;
    outage->said = true;
    return true;
}

bool ph_outage_ends(struct ph_outage *outage, uint64_t now_ms, unsigned *seconds)
{
    bool said = outage->said;
    *seconds = (unsigned) ((now_ms - outage->since_ms) / 1000);
    *outage = (struct ph_outage){0};
    return said;
}
