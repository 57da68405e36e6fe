#include "client/fuse/coherence_open.h"

#include <sys/stat.h>

#include "client/core/may.h"
#include "client/fuse/coherence_private.h"

/* Openings of one object are linked; the table has the latest. With the mutex held, all of them. */
static void list(struct ph_coherence *coherence, struct ph_open *open)
{
    struct ph_open *next = g_hash_table_lookup(coherence->open_here, &open->object);
    open->listed = true;
    open->previous_here = NULL;
    open->next_here = next;
    if (next != NULL)
        next->previous_here = open;
    g_hash_table_replace(coherence->open_here, &open->object, open);
}

static void unlist(struct ph_coherence *coherence, struct ph_open *open)
{
    struct ph_open *next = open->next_here;
    open->listed = false;
    if (next != NULL)
        next->previous_here = open->previous_here;
    if (open->previous_here != NULL)
        open->previous_here->next_here = next;
    else if (next != NULL)
        g_hash_table_replace(coherence->open_here, &next->object, next);
    else
        g_hash_table_remove(coherence->open_here, &open->object);
}

static bool may_open(struct ph_coherence *coherence, const Pohmel__Caller *caller, uint64_t object,
                     bool execute, uint64_t now_ms)
{
    struct ph_cached_attr attr;
    uint64_t valid_ms;
    return ph_cache_getattr(coherence->cache, object, now_ms, &attr, &valid_ms) && valid_ms > 0 &&
           S_ISREG(attr.mode) && attr.links > 0 && !ph_cache_is_hot(coherence->cache, object, now_ms) &&
           ph_may_access(caller, attr.mode, attr.uid, attr.gid, attr.plain,
                         execute ? PH_MAY_EXECUTE : PH_MAY_READ) == PH_MAY_YES;
}

bool ph_coherence_open_begin(struct ph_coherence *coherence, const Pohmel__Caller *caller,
                             struct ph_open *open, bool execute)
{
    pthread_mutex_lock(&coherence->mutex);
    uint64_t now_ms = ph_coherence_now(coherence);
    bool here = may_open(coherence, caller, open->object, execute, now_ms) &&
                ph_cache_open_begin(coherence->cache, open->object, now_ms);
    if (here) {
        ph_cache_pages(coherence->cache, open->object, now_ms);
        list(coherence, open);
    }
    pthread_mutex_unlock(&coherence->mutex);
    return here;
}

void ph_coherence_open_end(struct ph_coherence *coherence, struct ph_open *open)
{
    pthread_mutex_lock(&coherence->mutex);
    bool listed = open->listed;
    if (listed) {
        unlist(coherence, open);
        ph_cache_open_end(coherence->cache, open->object);
    }
    pthread_mutex_unlock(&coherence->mutex);
    if (listed)
        ph_coherence_work(coherence);
}

/* The latest of OBJECT, or of any. */
static struct ph_open *first(struct ph_coherence *coherence, uint64_t object)
{
    GHashTableIter iter;
    gpointer open = NULL;
    if (object != 0)
        return g_hash_table_lookup(coherence->open_here, &object);
    g_hash_table_iter_init(&iter, coherence->open_here);
    return g_hash_table_iter_next(&iter, NULL, &open) ? open : NULL;
}

struct ph_open *ph_coherence_open_any(struct ph_coherence *coherence, uint64_t object)
{
    pthread_mutex_lock(&coherence->mutex);
    struct ph_open *open = ph_open_ref(first(coherence, object));
    pthread_mutex_unlock(&coherence->mutex);
    return open;
}

static void collect(GPtrArray *all, struct ph_open *open)
{
    for (; open != NULL; open = open->next_here)
        g_ptr_array_add(all, ph_open_ref(open));
}

GPtrArray *ph_coherence_open_all(struct ph_coherence *coherence, uint64_t object)
{
    GPtrArray *all = g_ptr_array_new_with_free_func((GDestroyNotify) ph_open_unref);
    GHashTableIter iter;
    gpointer open;
    pthread_mutex_lock(&coherence->mutex);
    if (object != 0) {
        collect(all, first(coherence, object));
    } else {
        g_hash_table_iter_init(&iter, coherence->open_here);
        while (g_hash_table_iter_next(&iter, NULL, &open))
            collect(all, open);
    }
    pthread_mutex_unlock(&coherence->mutex);
    return all;
}

bool ph_coherence_open_at_once(struct ph_coherence *coherence, uint64_t object, uint64_t *generation)
{
    pthread_mutex_lock(&coherence->mutex);
    bool held = coherence->granted && ph_cache_is_held(coherence->cache, object);
    *generation = coherence->generation;
    pthread_mutex_unlock(&coherence->mutex);
    return held;
}
