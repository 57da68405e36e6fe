/* Shared by the files coherence*.c. */
#ifndef PH_CLIENT_FUSE_COHERENCE_PRIVATE_H
#define PH_CLIENT_FUSE_COHERENCE_PRIVATE_H

#include "client/core/lru.h"
#include "client/fuse/coherence.h"
#include "client/fuse/drop.h"
#include "client/fuse/outage.h"

struct ph_coherence {
    bool caching; /* fixed */
    bool flushes; /* fixed: mappings are flushed, not exact */
    pthread_mutex_t mutex;
    struct ph_cache *cache;
    struct ph_busy *busy;
    GHashTable *kept_dirs; /* object -> struct kept_dir (coherence_dir.c) */
    GHashTable *open_here; /* object -> struct ph_open, the first of those of it (coherence_open.c) */
    GQueue woken;          /* struct ph_busy_read *: to go on */
    bool granted;          /* the session has leases */
    bool said_hopeless;    /* that the server is another one */
    struct ph_outage outage;
    uint64_t generation; /* of the session that the cache was told of */
    bool epochs;
    uint64_t glimpses;            /* that were answered */
    struct ph_cache_ask synced;   /* what was there then is stable at the server */
    struct ph_lru synced_objects; /* the same of some objects (coherence_look.c); without buckets at first */
    struct ph_link *link;         /* NULL before it is open */
    struct ph_writeback *writeback; /* or NULL */
    struct ph_notifier *notifier;   /* NULL while there is no kernel to tell */
    struct ph_drop_context drops;
};

/* The time, with what the link knows of its leases told to the cache. With the mutex held. */
uint64_t ph_coherence_now(struct ph_coherence *coherence);

/* coherence_look.c: frees what it remembers. */
void ph_coherence_synced_clear(struct ph_coherence *coherence);

/* Reads that wait for the lease on OBJECT (0: any), or for writes of it, are to go on when the mutex is free:
 * whether there are any. With the mutex held. */
bool ph_coherence_wake_parked(struct ph_coherence *coherence, uint64_t object);

/* The server wants LEASE on OBJECT back, or KEEP to be left of it; or it is better given back. */
void ph_coherence_give_back(struct ph_coherence *coherence, uint64_t object, uint64_t lease, uint32_t keep);

/* coherence_glimpse.c: the server asks what has become of an object. */
void ph_coherence_on_glimpse(void *data, const Pohmel__GlimpseEvent *glimpse);

/* Does what the cache wants done. Without the mutex; cheap when there is nothing. */
void ph_coherence_work(struct ph_coherence *coherence);

/* Whether there is something. With the mutex held. */
bool ph_coherence_has_work(struct ph_coherence *coherence);

#endif
