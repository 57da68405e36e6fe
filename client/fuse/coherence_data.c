/* Pages: what the kernel may keep of the data of files. */
#include <sys/stat.h>
#include <unistd.h>

#include "client/fuse/coherence_private.h"
#include "client/fuse/hook.h"

bool ph_coherence_holds(struct ph_coherence *coherence, uint64_t object)
{
    pthread_mutex_lock(&coherence->mutex);
    bool holds = !coherence->granted || ph_cache_is_held(coherence->cache, object);
    pthread_mutex_unlock(&coherence->mutex);
    return holds;
}

void ph_coherence_access_list(struct ph_coherence *coherence, uint64_t object)
{
    pthread_mutex_lock(&coherence->mutex);
    ph_cache_attr_told(coherence->cache, object);
    pthread_mutex_unlock(&coherence->mutex);
}

bool ph_coherence_has_no_access_list(struct ph_coherence *coherence, uint64_t object)
{
    struct ph_cached_attr attr;
    uint64_t valid_ms = 0;
    pthread_mutex_lock(&coherence->mutex);
    bool none = ph_cache_getattr(coherence->cache, object, ph_coherence_now(coherence), &attr, &valid_ms) &&
                attr.plain;
    if (none)
        ph_cache_attr_told(coherence->cache, object);
    pthread_mutex_unlock(&coherence->mutex);
    return none;
}

bool ph_coherence_is_hot(struct ph_coherence *coherence, uint64_t object)
{
    pthread_mutex_lock(&coherence->mutex);
    bool hot = ph_cache_is_hot(coherence->cache, object, ph_link_now_ms());
    pthread_mutex_unlock(&coherence->mutex);
    return hot;
}

/* With the mutex held. */
static enum ph_read_way way_of(struct ph_coherence *coherence, uint64_t object, struct ph_busy_read *read)
{
    if (!coherence->granted) {
        ph_busy_read_sent(coherence->busy, object, read, false);
        return PH_READ_GO;
    }
    if (!coherence->drops.ending &&
        ph_busy_is_written(coherence->busy, object, read, (uint64_t) getpagesize()) &&
        ph_busy_read_park(coherence->busy, read))
        return PH_READ_PARKED;
    if (!ph_cache_is_held(coherence->cache, object))
        return PH_READ_ACQUIRE;
    if (ph_cache_is_going_back(coherence->cache, object) && !coherence->drops.ending &&
        ph_busy_read_park(coherence->busy, read))
        return PH_READ_PARKED;
    if (!read->yielding && !coherence->drops.ending && ph_cache_has_writers(coherence->cache, object) &&
        !ph_cache_is_exclusive(coherence->cache, object))
        return PH_READ_ACQUIRE;
    ph_busy_read_sent(coherence->busy, object, read, true);
    ph_cache_pages(coherence->cache, object, ph_coherence_now(coherence));
    return PH_READ_GO;
}

enum ph_read_way ph_coherence_read_begin(struct ph_coherence *coherence, uint64_t object,
                                         struct ph_busy_read *read)
{
    pthread_mutex_lock(&coherence->mutex);
    ph_busy_read_begin(coherence->busy, object, read);
    enum ph_read_way way = way_of(coherence, object, read);
    pthread_mutex_unlock(&coherence->mutex);
    return way;
}

enum ph_read_way ph_coherence_read_again(struct ph_coherence *coherence, uint64_t object,
                                         struct ph_busy_read *read)
{
    pthread_mutex_lock(&coherence->mutex);
    enum ph_read_way way = way_of(coherence, object, read);
    pthread_mutex_unlock(&coherence->mutex);
    return way;
}

void ph_coherence_read_uncovered(struct ph_coherence *coherence, uint64_t object, struct ph_busy_read *read)
{
    pthread_mutex_lock(&coherence->mutex);
    ph_busy_read_sent(coherence->busy, object, read, false);
    pthread_mutex_unlock(&coherence->mutex);
}

/* Whether what was read at ASK of OBJECT is what it holds, and nobody here may store into its pages unseen.
 * Mutex held. */
static bool is_unchanged(struct ph_coherence *coherence, uint64_t object, const struct ph_cache_ask *ask,
                         uint64_t now_ms)
{
    return ph_cache_unchanged(coherence->cache, object, ask, now_ms) &&
           (!ph_cache_has_writers(coherence->cache, object) ||
            ph_cache_is_exclusive(coherence->cache, object));
}

bool ph_coherence_is_unchanged(struct ph_coherence *coherence, uint64_t object,
                               const struct ph_cache_ask *ask)
{
    pthread_mutex_lock(&coherence->mutex);
    bool unchanged = is_unchanged(coherence, object, ask, ph_coherence_now(coherence));
    pthread_mutex_unlock(&coherence->mutex);
    return unchanged;
}

bool ph_coherence_ends_before(struct ph_coherence *coherence, uint64_t object, uint64_t offset)
{
    struct ph_cached_attr attr;
    uint64_t valid_ms = 0;
    pthread_mutex_lock(&coherence->mutex);
    bool ends = ph_cache_getattr(coherence->cache, object, ph_coherence_now(coherence), &attr, &valid_ms) &&
                S_ISREG(attr.mode) && offset >= attr.size;
    pthread_mutex_unlock(&coherence->mutex);
    return ends;
}

bool ph_coherence_read_at_hand(struct ph_coherence *coherence, uint64_t object,
                               const struct ph_cache_ask *ask, struct ph_busy_read *read)
{
    pthread_mutex_lock(&coherence->mutex);
    uint64_t now_ms = ph_coherence_now(coherence);
    bool right = is_unchanged(coherence, object, ask, now_ms);
    if (right) {
        ph_busy_read_begin(coherence->busy, object, read);
        ph_busy_read_sent(coherence->busy, object, read, true);
        ph_cache_pages(coherence->cache, object, now_ms);
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

enum ph_write_way ph_coherence_write_done(struct ph_coherence *coherence, uint64_t object,
                                          struct ph_busy_write *write)
{
    enum ph_write_way way = PH_WRITE_ANSWER;
    pthread_mutex_lock(&coherence->mutex);
    /* A direct write has taken the pages away before it was sent; others may have read them again since. */
    bool pages = write->direct && ph_cache_may_have_pages(coherence->cache, object);
    if (!coherence->caching || coherence->notifier == NULL)
        way = PH_WRITE_ANSWER;
    else if (pages && ph_busy_write_settle(coherence->busy, object, write))
        way = PH_WRITE_DROP;
    else if (pages || ph_busy_write_spoiled(coherence->busy, object, write) ||
             ph_busy_asks_attr(coherence->busy, object))
        way = PH_WRITE_UNSPOIL;
    pthread_mutex_unlock(&coherence->mutex);
    return way;
}

void ph_coherence_unspoil(struct ph_coherence *coherence, uint64_t object, const struct ph_busy_write *write)
{
    ph_drop_range(&coherence->drops, object, write->offset, write->size);
}

void ph_coherence_read_end(struct ph_coherence *coherence, uint64_t object, struct ph_busy_read *read,
                           uint64_t offset, uint64_t len)
{
    pthread_mutex_lock(&coherence->mutex);
    bool covered = read->covered;
    ph_busy_read_end(coherence->busy, object, read);
    struct ph_notifier *notifier = coherence->notifier;
    pthread_mutex_unlock(&coherence->mutex);
    if (coherence->caching && !covered && len > 0 && notifier != NULL)
        ph_notifier_drop_range(notifier, object, offset, len);
}

void ph_coherence_attr_begin(struct ph_coherence *coherence, uint64_t object)
{
    pthread_mutex_lock(&coherence->mutex);
    ph_busy_attr_begin(coherence->busy, object);
    pthread_mutex_unlock(&coherence->mutex);
}

void ph_coherence_attr_end(struct ph_coherence *coherence, uint64_t object)
{
    pthread_mutex_lock(&coherence->mutex);
    ph_busy_attr_end(coherence->busy, object);
    pthread_mutex_unlock(&coherence->mutex);
}

bool ph_coherence_is_directory(struct ph_coherence *coherence, uint64_t object)
{
    pthread_mutex_lock(&coherence->mutex);
    bool directory = ph_cache_is_directory(coherence->cache, object);
    pthread_mutex_unlock(&coherence->mutex);
    return directory;
}

bool ph_coherence_asks_attr(struct ph_coherence *coherence, uint64_t object)
{
    pthread_mutex_lock(&coherence->mutex);
    bool asks = ph_busy_asks_attr(coherence->busy, object);
    pthread_mutex_unlock(&coherence->mutex);
    return asks;
}

void ph_coherence_set_mappings(struct ph_coherence *coherence, bool flushes)
{
    coherence->flushes = flushes;
}

bool ph_coherence_maps_strictly(const struct ph_coherence *coherence)
{
    return coherence->caching && !coherence->flushes && ph_hook_maps_direct();
}

void ph_coherence_writer_begin(struct ph_coherence *coherence, uint64_t object)
{
    pthread_mutex_lock(&coherence->mutex);
    ph_cache_writers(coherence->cache, object, 1);
    pthread_mutex_unlock(&coherence->mutex);
}

void ph_coherence_writer_end(struct ph_coherence *coherence, uint64_t object)
{
    pthread_mutex_lock(&coherence->mutex);
    ph_cache_writers(coherence->cache, object, -1);
    pthread_mutex_unlock(&coherence->mutex);
}

bool ph_coherence_has_writer(struct ph_coherence *coherence, uint64_t object)
{
    pthread_mutex_lock(&coherence->mutex);
    bool has = ph_cache_has_writers(coherence->cache, object);
    pthread_mutex_unlock(&coherence->mutex);
    return has;
}

bool ph_coherence_keeps_pages(struct ph_coherence *coherence, uint64_t object)
{
    pthread_mutex_lock(&coherence->mutex);
    /* That it goes on with those that it has brings none: reads and writes through pages do. */
    bool keeps = ph_cache_is_leased(coherence->cache, object, ph_coherence_now(coherence));
    /* Pages that are there can be stored into without being read again. */
    if (ph_cache_has_writers(coherence->cache, object))
        keeps = keeps && ph_cache_is_exclusive(coherence->cache, object);
    pthread_mutex_unlock(&coherence->mutex);
    return keeps;
}

void ph_coherence_write_begin(struct ph_coherence *coherence, uint64_t object, struct ph_busy_write *write)
{
    pthread_mutex_lock(&coherence->mutex);
    write->covered = ph_cache_is_held(coherence->cache, object);
    if (write->covered && !write->direct)
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
    if (covered && !write->direct)
        ph_cache_pages(coherence->cache, object, ph_coherence_now(coherence));
    struct ph_notifier *notifier = coherence->notifier;
    bool woken = write->direct && ph_coherence_wake_parked(coherence, object);
    pthread_mutex_unlock(&coherence->mutex);
    if (woken)
        ph_coherence_work(coherence);
    if (coherence->caching && !write->direct && (dropped || !covered) && notifier != NULL)
        ph_notifier_drop_range(notifier, object, write->offset, write->size);
}
