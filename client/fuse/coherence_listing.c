/* Listings teach what is in a directory, and what is not. */
#include <string.h>

#include "client/fuse/coherence_private.h"

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
    pthread_mutex_unlock(&coherence->mutex);
    ph_coherence_work(coherence);
}
