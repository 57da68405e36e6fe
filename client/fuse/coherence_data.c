/* Pages: what the kernel may keep of the data of files. */
#include "client/fuse/coherence_private.h"

bool ph_coherence_holds(struct ph_coherence *coherence, uint64_t object)
{
    pthread_mutex_lock(&coherence->mutex);
    bool holds = !coherence->granted || ph_cache_is_held(coherence->cache, object);
    pthread_mutex_unlock(&coherence->mutex);
    return holds;
}

enum ph_read_way ph_coherence_read_begin(struct ph_coherence *coherence, uint64_t object)
{
    pthread_mutex_lock(&coherence->mutex);
    ph_busy_read_begin(coherence->busy, object);
    bool held = !coherence->granted || ph_cache_is_held(coherence->cache, object);
    pthread_mutex_unlock(&coherence->mutex);
    return held ? PH_READ_PLAIN : PH_READ_ACQUIRE;
}

bool ph_coherence_read_sent(struct ph_coherence *coherence, uint64_t object)
{
    pthread_mutex_lock(&coherence->mutex);
    bool covered = ph_cache_is_held(coherence->cache, object) && ph_busy_read_cover(coherence->busy, object);
    if (covered)
        ph_cache_pages(coherence->cache, object, ph_coherence_now(coherence));
    pthread_mutex_unlock(&coherence->mutex);
    return covered;
}

bool ph_coherence_read_at_hand(struct ph_coherence *coherence, uint64_t object,
                               const struct ph_cache_ask *ask)
{
    pthread_mutex_lock(&coherence->mutex);
    uint64_t now_ms = ph_coherence_now(coherence);
    bool right = ph_cache_unchanged(coherence->cache, object, ask, now_ms);
    if (right) {
        ph_busy_read_begin(coherence->busy, object);
        right = ph_busy_read_cover(coherence->busy, object);
        if (right)
            ph_cache_pages(coherence->cache, object, now_ms);
        else
            ph_busy_read_end(coherence->busy, object, false);
    }
    pthread_mutex_unlock(&coherence->mutex);
    return right;
}

void ph_coherence_read_answering(struct ph_coherence *coherence, uint64_t object)
{
    pthread_mutex_lock(&coherence->mutex);
    ph_busy_read_answering(coherence->busy, object);
    pthread_mutex_unlock(&coherence->mutex);
}

bool ph_coherence_write_spoiled(struct ph_coherence *coherence, uint64_t object,
                                const struct ph_busy_write *write)
{
    pthread_mutex_lock(&coherence->mutex);
    bool spoiled = coherence->caching && coherence->notifier != NULL &&
                   ph_busy_write_spoiled(coherence->busy, object, write);
    pthread_mutex_unlock(&coherence->mutex);
    return spoiled;
}

void ph_coherence_unspoil(struct ph_coherence *coherence, uint64_t object, const struct ph_busy_write *write)
{
    ph_drop_range(&coherence->drops, object, write->offset, write->size);
}

void ph_coherence_read_end(struct ph_coherence *coherence, uint64_t object, bool covered, uint64_t offset,
                           uint64_t len)
{
    pthread_mutex_lock(&coherence->mutex);
    ph_busy_read_end(coherence->busy, object, covered);
    struct ph_notifier *notifier = coherence->notifier;
    pthread_mutex_unlock(&coherence->mutex);
    if (coherence->caching && !covered && len > 0 && notifier != NULL)
        ph_notifier_drop_range(notifier, object, offset, len);
}

bool ph_coherence_keeps_pages(struct ph_coherence *coherence, uint64_t object)
{
    pthread_mutex_lock(&coherence->mutex);
    bool keeps = ph_cache_pages(coherence->cache, object, ph_coherence_now(coherence));
    pthread_mutex_unlock(&coherence->mutex);
    return keeps;
}

void ph_coherence_write_begin(struct ph_coherence *coherence, uint64_t object, struct ph_busy_write *write)
{
    pthread_mutex_lock(&coherence->mutex);
    write->covered = ph_cache_is_held(coherence->cache, object);
    if (write->covered)
        ph_cache_pages(coherence->cache, object, ph_coherence_now(coherence));
    ph_busy_write_begin(coherence->busy, object, write);
    pthread_mutex_unlock(&coherence->mutex);
}

void ph_coherence_write_end(struct ph_coherence *coherence, uint64_t object, struct ph_busy_write *write)
{
    pthread_mutex_lock(&coherence->mutex);
    /* Pages that were dropped meanwhile may have been read again before the write was done. */
    bool dropped = ph_busy_write_end(coherence->busy, object, write);
    bool covered = write->covered && ph_cache_is_held(coherence->cache, object);
    if (covered)
        ph_cache_pages(coherence->cache, object, ph_coherence_now(coherence));
    struct ph_notifier *notifier = coherence->notifier;
    pthread_mutex_unlock(&coherence->mutex);
    if (coherence->caching && (dropped || !covered) && notifier != NULL)
        ph_notifier_drop_range(notifier, object, write->offset, write->size);
}
