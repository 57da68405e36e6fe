/* Listings that the kernel keeps. A thread of the kernel adds names to what is kept some time after these
 * were answered, and not even a drop in between keeps old names out. But what was added is used only after an
 * answer that says "end" through the same opening, or another one that may keep. So:
 *
 *   - while openings from under an earlier lease are there, later ones keep nothing: names of one lease only
 * come together;
 *   - before an "end" through an opening whose lease is gone the kernel drops what it has;
 *   - the first opening under a lease has it drop what came late under an earlier one, and is alone until
 *     that is sure to be done.
 *
 * Changes of this mount itself are the kernel's own affair: it sees them, and begins anew. */
#include "client/fuse/coherence_listing.h"
#include "client/fuse/coherence_private.h"
#include "client/fuse/notify.h"

/* What the kernel may have of one directory. */
struct kept_dir {
    uint64_t object; /* first: the key */
    uint64_t since;  /* the lease under which it was told */
    unsigned opens;  /* that keep, all of them from under that lease */
    bool alone; /* the first of these has not been heard of yet: what was there before may be there still */
};

static struct kept_dir *kept_dir(struct ph_coherence *coherence, uint64_t directory)
{
    struct kept_dir *dir = g_hash_table_lookup(coherence->kept_dirs, &directory);
    if (dir == NULL) {
        dir = g_new0(struct kept_dir, 1);
        dir->object = directory;
        g_hash_table_insert(coherence->kept_dirs, &dir->object, dir);
    }
    return dir;
}

/* With the mutex held. */
static enum ph_dir_keep keep_of(struct kept_dir *dir, uint64_t since)
{
    if (dir->opens > 0 && (dir->since != since || dir->alone))
        return PH_DIR_ASKED;
    if (dir->since == since)
        return PH_DIR_KEPT;
    dir->since = since;
    dir->alone = true;
    return PH_DIR_FILL;
}

enum ph_dir_keep ph_coherence_dir_open(struct ph_coherence *coherence, struct ph_open *open)
{
    enum ph_dir_keep keep = PH_DIR_ASKED;
    pthread_mutex_lock(&coherence->mutex);
    uint64_t now_ms = ph_coherence_now(coherence);
    uint64_t since = ph_cache_held_since(coherence->cache, open->object, now_ms);
    if (since != 0 && coherence->notifier != NULL &&
        !ph_cache_is_hot(coherence->cache, open->object, now_ms)) {
        struct kept_dir *dir = kept_dir(coherence, open->object);
        keep = keep_of(dir, since);
        if (keep != PH_DIR_ASKED) {
            dir->opens++;
            open->kept_since = since;
            ph_cache_pages(coherence->cache, open->object, now_ms);
        }
    }
    pthread_mutex_unlock(&coherence->mutex);
    return keep;
}

void ph_coherence_dir_read(struct ph_coherence *coherence, struct ph_open *open)
{
    pthread_mutex_lock(&coherence->mutex);
    struct kept_dir *dir = g_hash_table_lookup(coherence->kept_dirs, &open->object);
    if (dir != NULL)
        dir->alone = false;
    pthread_mutex_unlock(&coherence->mutex);
}

void ph_coherence_dir_end(struct ph_coherence *coherence, const struct ph_open *open, struct ph_told *told)
{
    *told = (struct ph_told){0};
    pthread_mutex_lock(&coherence->mutex);
    uint64_t since = ph_cache_held_since(coherence->cache, open->object, ph_coherence_now(coherence));
    bool current = since == open->kept_since;
    if (current) {
        told->objects[0] = open->object;
        ph_cache_reply_begin(coherence->cache, open->object);
    }
    struct ph_notifier *notifier = coherence->notifier;
    pthread_mutex_unlock(&coherence->mutex);
    if (!current && notifier != NULL)
        ph_notify_data(notifier, open->object, 0, 0);
}

void ph_coherence_dir_close(struct ph_coherence *coherence, struct ph_open *open)
{
    if (open->kept_since == 0)
        return;
    pthread_mutex_lock(&coherence->mutex);
    struct kept_dir *dir = g_hash_table_lookup(coherence->kept_dirs, &open->object);
    if (dir != NULL && dir->opens > 0) {
        dir->opens--;
        dir->alone = false;
        if (dir->opens == 0 && !ph_cache_kernel_has(coherence->cache, open->object))
            g_hash_table_remove(coherence->kept_dirs, &open->object);
    }
    pthread_mutex_unlock(&coherence->mutex);
    open->kept_since = 0;
}

void ph_coherence_dir_moved(struct ph_coherence *coherence, uint64_t directory)
{
    pthread_mutex_lock(&coherence->mutex);
    bool kept = g_hash_table_contains(coherence->kept_dirs, &directory);
    struct ph_notifier *notifier = coherence->notifier;
    pthread_mutex_unlock(&coherence->mutex);
    if (kept && notifier != NULL)
        ph_notify_data(notifier, directory, 0, 0);
}

void ph_coherence_dir_gone(struct ph_coherence *coherence, uint64_t directory)
{
    const struct kept_dir *dir = g_hash_table_lookup(coherence->kept_dirs, &directory);
    if (dir != NULL && dir->opens == 0)
        g_hash_table_remove(coherence->kept_dirs, &directory);
}
