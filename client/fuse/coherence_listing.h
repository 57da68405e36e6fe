/* Listings from memory: what the cache knows of directories under leases. */
#ifndef PH_CLIENT_FUSE_COHERENCE_LISTING_H
#define PH_CLIENT_FUSE_COHERENCE_LISTING_H

#include "client/fuse/coherence.h"
#include "client/fuse/listing.h"

/* Whether all names of DIRECTORY are known and CALLER surely may read them, so that it need not be opened at
 * the server. */
bool ph_coherence_may_list(struct ph_coherence *coherence, const Pohmel__Caller *caller, uint64_t directory);

/* All names of DIRECTORY as they are now: a snapshot, owned by the caller; or NULL when they are not known,
 * or when so many of them have no attributes here that the server had better be asked for both. */
struct ph_listing *ph_coherence_list(struct ph_coherence *coherence, uint64_t directory);

#endif
