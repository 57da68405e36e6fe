/* Listings teach what is in a directory, and what is not. */
#include "client/fuse/coherence_listing.h"

#include <string.h>

#include "client/core/may.h"
#include "client/fuse/coherence_private.h"
#include "client/fuse/writeback.h"

enum { KNOWN_PART = 4 }; /* at most one of so many names may be without attributes */

static bool is_dots(const ProtobufCBinaryData *name)
{
    return name->data[0] == '.' && (name->len == 1 || (name->len == 2 && name->data[1] == '.'));
}

/* With the mutex held. */
static void learn(struct ph_coherence *coherence, const struct ph_cache_ask *ask,
                  const Pohmel__DirEntry *entry, struct ph_cache_listing *listing, uint64_t now_ms)
{
    struct ph_cached_attr ignored;
    if (is_dots(&entry->name))
        return;
    if (entry->attr != NULL)
        ph_cache_learn(coherence->cache, ask, entry->attr, now_ms, &ignored);
    ph_cache_listing_add(coherence->cache, listing, ask, entry->name.data, entry->name.len, entry->object,
                         false, now_ms);
    ph_cache_set_type(coherence->cache, listing->directory, entry->name.data, entry->name.len, entry->type);
}

void ph_coherence_learn_listing(struct ph_coherence *coherence, const struct ph_cache_ask *ask,
                                uint64_t directory, uint64_t cookie, const Pohmel__ReaddirReply *reply,
                                struct ph_cache_listing *listing)
{
    pthread_mutex_lock(&coherence->mutex);
    uint64_t now_ms = ph_coherence_now(coherence);
    if (cookie == 0)
        ph_cache_listing_begin(coherence->cache, listing, ask, directory, 0);
    for (size_t i = 0; i < reply->n_entries; i++)
        learn(coherence, ask, reply->entries[i], listing, now_ms);
    if (reply->end)
        ph_cache_listing_end(coherence->cache, listing);
    struct ph_link *link = coherence->link;
    pthread_mutex_unlock(&coherence->mutex);
    if (link != NULL)
        ph_link_learn_listing(link, directory, reply);
    ph_coherence_work(coherence);
}

bool ph_coherence_may_list(struct ph_coherence *coherence, const Pohmel__Caller *caller, uint64_t directory)
{
    struct ph_cached_attr attr;
    uint64_t valid_ms;
    pthread_mutex_lock(&coherence->mutex);
    uint64_t now_ms = ph_coherence_now(coherence);
    bool known = ph_cache_is_whole(coherence->cache, directory, now_ms) &&
                 ph_cache_getattr(coherence->cache, directory, now_ms, &attr, &valid_ms);
    pthread_mutex_unlock(&coherence->mutex);
    return known &&
           ph_may_access(caller, attr.mode, attr.uid, attr.gid, attr.plain, PH_MAY_READ) == PH_MAY_YES;
}

struct snapshot {
    struct ph_listing *listing;
    size_t names;
    GArray *without; /* objects whose attributes the cache does not know; NULL for none */
};

static void take(void *data, const struct ph_cache_listed *listed)
{
    struct snapshot *snapshot = data;
    ph_listing_add(snapshot->listing, listed->name, listed->len, listed->object, listed->type);
    snapshot->names++;
    if (listed->attributes)
        return;
    if (snapshot->without == NULL)
        snapshot->without = g_array_new(FALSE, FALSE, sizeof(listed->object));
    g_array_append_val(snapshot->without, listed->object);
}

/* Whether most of those whose names SNAPSHOT has can be described here: directories in which something was
 * made, for one, are known to write-back alone. */
static bool describes_most(struct ph_coherence *coherence, const struct snapshot *snapshot)
{
    size_t without = snapshot->without != NULL ? snapshot->without->len : 0;
    if (without * KNOWN_PART > snapshot->names && coherence->writeback != NULL)
        without -= ph_writeback_knows(coherence->writeback,
                                      (const uint64_t *) (void *) snapshot->without->data, without);
    return without * KNOWN_PART <= snapshot->names;
}

struct ph_listing *ph_coherence_list(struct ph_coherence *coherence, uint64_t directory)
{
    struct snapshot snapshot = {.listing = ph_listing_new_snapshot()};
    pthread_mutex_lock(&coherence->mutex);
    bool known = ph_cache_list(coherence->cache, directory, ph_coherence_now(coherence), take, &snapshot);
    pthread_mutex_unlock(&coherence->mutex);
    known = known && describes_most(coherence, &snapshot);
    g_clear_pointer(&snapshot.without, g_array_unref);
    if (known) {
        ph_listing_seal(snapshot.listing);
        return snapshot.listing;
    }
    ph_listing_free(snapshot.listing);
    return NULL;
}
