/* Life of the coherence, what the session tells it, and the deeds that the cache asks for. */
#include "client/fuse/coherence.h"

#include <errno.h>
#include <syslog.h>

#include "client/core/reclaim.h"
#include "client/fuse/coherence_listing.h"
#include "client/fuse/coherence_open.h"
#include "client/fuse/coherence_private.h"
#include "client/fuse/log.h"
#include "client/fuse/open_here.h"
#include "client/fuse/writeback.h"
#include "ph_commands.h"
#include "ph_stubs.h"
#include "runtime/base/limits.h"

enum {
    GIVE_UP_AT_ONCE = 16, /* leases beyond the bounds that are given up with one request */
    HOT_MS = 2000,        /* after a recall an object counts as wanted by others */
};

static bool kernel_has(void *data, uint64_t object)
{
    struct ph_coherence *coherence = data;
    return ph_cache_kernel_has(coherence->cache, object);
}

bool ph_coherence_wake_parked(struct ph_coherence *coherence, uint64_t object)
{
    struct ph_busy_read *read;
    bool any = false;
    while ((read = ph_busy_unpark(coherence->busy, object)) != NULL) {
        g_queue_push_tail(&coherence->woken, read);
        any = true;
    }
    return any;
}

static void dropped(void *data, uint64_t object, uint64_t lease)
{
    struct ph_coherence *coherence = data;
    if (lease != 0)
        ph_cache_dropped(coherence->cache, object, lease);
    ph_coherence_wake_parked(coherence, object);
}

static void drop_done(void *data)
{
    ph_coherence_work(data);
}

struct ph_coherence *ph_coherence_new(bool caching)
{
    struct ph_coherence *coherence = g_new0(struct ph_coherence, 1);
    coherence->caching = caching;
    coherence->cache = ph_cache_new(PH_CACHE_OBJECTS_MAX, PH_CACHE_LEASES_MAX);
    coherence->busy = ph_busy_new();
    coherence->kept_dirs = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
    coherence->open_here = g_hash_table_new(g_int64_hash, g_int64_equal);
    g_queue_init(&coherence->woken);
    pthread_mutex_init(&coherence->mutex, NULL);
    coherence->drops = (struct ph_drop_context){
        .mutex = &coherence->mutex,
        .busy = coherence->busy,
        .data = coherence,
        .kernel_has = kernel_has,
        .dropped = dropped,
        .done = drop_done,
    };
    return coherence;
}

void ph_coherence_free(struct ph_coherence *coherence)
{
    if (coherence == NULL)
        return;
    ph_coherence_synced_clear(coherence);
    g_hash_table_unref(coherence->open_here);
    g_hash_table_unref(coherence->kept_dirs);
    ph_busy_free(coherence->busy);
    ph_cache_free(coherence->cache);
    pthread_mutex_destroy(&coherence->mutex);
    g_free(coherence);
}

void ph_coherence_use_link(struct ph_coherence *coherence, struct ph_link *link)
{
    pthread_mutex_lock(&coherence->mutex);
    coherence->link = link;
    pthread_mutex_unlock(&coherence->mutex);
}

void ph_coherence_use_writeback(struct ph_coherence *coherence, struct ph_writeback *writeback)
{
    pthread_mutex_lock(&coherence->mutex);
    coherence->writeback = writeback;
    pthread_mutex_unlock(&coherence->mutex);
}

uint64_t ph_coherence_leases_until_ms(struct ph_coherence *coherence)
{
    pthread_mutex_lock(&coherence->mutex);
    ph_coherence_now(coherence);
    uint64_t until_ms = ph_cache_leases_until_ms(coherence->cache);
    pthread_mutex_unlock(&coherence->mutex);
    return until_ms;
}

void ph_coherence_born(struct ph_coherence *coherence, uint64_t object, uint64_t old_lease, uint64_t lease,
                       uint32_t mode)
{
    pthread_mutex_lock(&coherence->mutex);
    ph_cache_promote(coherence->cache, object, old_lease, lease, mode);
    pthread_mutex_unlock(&coherence->mutex);
    ph_coherence_work(coherence);
}

void ph_coherence_whole(struct ph_coherence *coherence, uint64_t directory)
{
    pthread_mutex_lock(&coherence->mutex);
    ph_cache_set_whole(coherence->cache, directory);
    pthread_mutex_unlock(&coherence->mutex);
}

void ph_coherence_give_up(struct ph_coherence *coherence, uint64_t object)
{
    pthread_mutex_lock(&coherence->mutex);
    ph_cache_give_up(coherence->cache, object);
    pthread_mutex_unlock(&coherence->mutex);
    ph_coherence_work(coherence);
}

void ph_coherence_use_kernel(struct ph_coherence *coherence, struct ph_notifier *notifier,
                             struct ph_workers *workers, struct ph_workers *attempts)
{
    pthread_mutex_lock(&coherence->mutex);
    if (notifier != NULL && coherence->notifier == NULL)
        ph_cache_kernel_add(coherence->cache, PH_OBJECT_ROOT, 1);
    coherence->notifier = coherence->drops.notifier = notifier;
    coherence->drops.workers = workers;
    coherence->drops.attempts = attempts;
    pthread_mutex_unlock(&coherence->mutex);
}

void ph_coherence_end(struct ph_coherence *coherence)
{
    pthread_mutex_lock(&coherence->mutex);
    coherence->drops.ending = true;
    ph_coherence_wake_parked(coherence, 0);
    pthread_mutex_unlock(&coherence->mutex);
    ph_coherence_work(coherence);
}

void ph_coherence_set_epochs(struct ph_coherence *coherence, bool epochs)
{
    pthread_mutex_lock(&coherence->mutex);
    coherence->epochs = epochs;
    pthread_mutex_unlock(&coherence->mutex);
}

uint64_t ph_coherence_now(struct ph_coherence *coherence)
{
    if (coherence->link != NULL)
        ph_cache_answered(coherence->cache, coherence->generation, ph_link_answered_sent_ms(coherence->link));
    return ph_link_now_ms();
}

static void released(void *data, const struct ph_reply *reply)
{
    /* Nothing hangs on it: what was not heard is recalled again, or went with the session. */
}

static void send_release(struct ph_link *link, const struct ph_stub *stub, struct ph_cache_work *work)
{
    Pohmel__LeaseReleaseRequest message = POHMEL__LEASE_RELEASE_REQUEST__INIT;
    message.n_leases = work->release.count;
    message.leases = work->release.leases;
    message.n_kept = work->release.kept_count;
    message.kept = work->release.kept;
    if (link != NULL && ph_link_generation(link) == work->release.generation)
        ph_send_lease_release(stub, &message, NULL, released, NULL);
}

/* Has the kernel forget, without waiting; attributes if ATTR. What it said; true in *WAITS if more is to be
 * done that may wait.
 */
static int tell_kernel(struct ph_notifier *notifier, const struct ph_cache_work *work, bool attr, bool *waits)
{
    *waits = false;
    if (!work->drop.kernel || notifier == NULL)
        return 0;
    if (work->drop.is_directory && work->drop.names > 0)
        ph_notify_epoch(notifier);
    *waits = work->drop.pages && !work->drop.is_directory;
    if (work->drop.pages && work->drop.is_directory)
        return ph_notify_data(notifier, work->drop.object, 0, 0); /* its listing, which does not block */
    return *waits || !attr ? 0 : ph_notify_attr(notifier, work->drop.object);
}

static void do_drop(struct ph_coherence *coherence, const struct ph_cache_work *work)
{
    uint64_t object = work->drop.object;
    bool waits = work->drop.pages && !work->drop.is_directory;
    pthread_mutex_lock(&coherence->mutex);
    struct ph_notifier *notifier = coherence->notifier;
    struct ph_busy_file *file = ph_busy_pin(coherence->busy, object);
    uint64_t answered = file->answered;
    bool attr = ph_cache_take_attr_told(coherence->cache, object);
    bool asked = attr && file->attrs > 0 && notifier != NULL;
    pthread_mutex_unlock(&coherence->mutex);

    if (asked && work->drop.is_directory && work->drop.names > 0)
        ph_notify_epoch(notifier);
    int error = asked ? 0 : tell_kernel(notifier, work, attr, &waits);

    pthread_mutex_lock(&coherence->mutex);
    /* A read under the lease brings pages, be it that it came just now. */
    bool listing = asked && work->drop.is_directory && work->drop.pages;
    bool pages = waits || listing || (notifier != NULL && (file->covered > 0 || file->answered != answered));
    bool later = pages || asked || error == -ENOENT;
    if (!later) {
        ph_cache_dropped(coherence->cache, object, work->drop.lease);
        ph_coherence_wake_parked(coherence, object);
    }
    ph_busy_unpin(coherence->busy, file);
    pthread_mutex_unlock(&coherence->mutex);
    if (later)
        ph_drop_start(&coherence->drops, object, work->drop.lease, pages);
}

/* Goes on with reads that waited for a lease to go back. */
static void go_on(struct ph_coherence *coherence)
{
    for (;;) {
        pthread_mutex_lock(&coherence->mutex);
        struct ph_busy_read *read = g_queue_pop_head(&coherence->woken);
        pthread_mutex_unlock(&coherence->mutex);
        if (read == NULL)
            return;
        read->wake(read->data);
    }
}

/* Files of OBJECT (0: of any) that are open here only are to be opened at the server. */
static void open_there(struct ph_coherence *coherence, uint64_t object)
{
    g_autoptr(GPtrArray) all = ph_coherence_open_all(coherence, object);
    for (guint i = 0; i < all->len; i++)
        ph_open_there_soon(g_ptr_array_index(all, i));
}

/* Does what the cache wants done now. */
static void do_work(struct ph_coherence *coherence)
{
    g_autofree struct ph_cache_work *work = g_new(struct ph_cache_work, 1);
    for (;;) {
        pthread_mutex_lock(&coherence->mutex);
        bool any = ph_cache_next_work(coherence->cache, work);
        struct ph_link *link = coherence->link;
        struct ph_writeback *writeback = coherence->writeback;
        pthread_mutex_unlock(&coherence->mutex);
        if (!any)
            return;
        if (work->kind == PH_CACHE_RELEASE)
            send_release(link, writeback != NULL ? ph_writeback_stub(writeback) : ph_link_stub(link), work);
        else if (work->kind == PH_CACHE_OPEN)
            open_there(coherence, work->open.object);
        else
            do_drop(coherence, work);
    }
}

bool ph_coherence_has_work(struct ph_coherence *coherence)
{
    return ph_cache_has_work(coherence->cache) || !g_queue_is_empty(&coherence->woken);
}

void ph_coherence_work(struct ph_coherence *coherence)
{
    for (;;) {
        pthread_mutex_lock(&coherence->mutex);
        bool any = ph_cache_has_work(coherence->cache);
        bool woken = !g_queue_is_empty(&coherence->woken);
        pthread_mutex_unlock(&coherence->mutex);
        /* Leases go back before those who waited for that ask for new ones. */
        if (any)
            do_work(coherence);
        else if (woken)
            go_on(coherence);
        else
            return;
    }
}

static void on_opened(void *data, const struct ph_link_leases *leases)
{
    struct ph_coherence *coherence = data;
    pthread_mutex_lock(&coherence->mutex);
    coherence->generation = leases->generation;
    coherence->granted = leases->granted && coherence->caching;
    coherence->said_hopeless = false;
    ph_cache_session(coherence->cache, leases->generation, leases->ttl_ms, coherence->granted,
                     leases->watched);
    struct ph_writeback *writeback = coherence->writeback;
    pthread_mutex_unlock(&coherence->mutex);
    if (writeback != NULL)
        ph_writeback_opened(writeback, leases, coherence->caching && leases->write_back);
    open_there(coherence, 0); /* no lease keeps them as they were */
}

static void collect(void *data, const struct ph_cache_held *held)
{
    g_array_append_val((GArray *) data, *held);
}

/* Rule 13: its user is told. */
static void say_lost(struct ph_link *link)
{
    g_autofree char *trouble = ph_link_trouble(link);
    ph_log(LOG_WARNING, "the session is lost%s%s; files that were locked have to be opened again",
           trouble[0] != '\0' ? ": " : "", trouble);
}

/* The session and all its leases are gone: nothing that was kept may be used any more. */
static void on_lost(void *data)
{
    struct ph_coherence *coherence = data;
    g_autoptr(GArray) all = g_array_new(FALSE, FALSE, sizeof(struct ph_cache_held));
    pthread_mutex_lock(&coherence->mutex);
    struct ph_writeback *writeback = coherence->writeback;
    pthread_mutex_unlock(&coherence->mutex);
    if (writeback != NULL)
        ph_writeback_lost(writeback);
    pthread_mutex_lock(&coherence->mutex);
    ph_cache_lost(coherence->cache);
    bool news = coherence->granted && !coherence->drops.ending;
    coherence->granted = false;
    ph_coherence_wake_parked(coherence, 0);
    ph_cache_each_kernel(coherence->cache, collect, all);
    struct ph_notifier *notifier = coherence->notifier;
    struct ph_link *link = coherence->link;
    pthread_mutex_unlock(&coherence->mutex);
    if (news && link != NULL)
        say_lost(link);
    ph_coherence_work(coherence);
    if (notifier == NULL)
        return;
    ph_notify_epoch(notifier);
    for (guint i = 0; i < all->len; i++) {
        const struct ph_cache_held *held = &g_array_index(all, struct ph_cache_held, i);
        /* Pages may be held by requests that this thread is going to answer. */
        if (ph_notify_attr(notifier, held->object) == -ENOENT || held->pages)
            ph_drop_start(&coherence->drops, held->object, 0, held->pages);
    }
}

/* Nothing may be served any more by those who look at no clock: pages. All else has ended by itself. What the
 * session holds stays. */
static void on_expired(void *data)
{
    struct ph_coherence *coherence = data;
    g_autoptr(GArray) all = g_array_new(FALSE, FALSE, sizeof(struct ph_cache_held));
    pthread_mutex_lock(&coherence->mutex);
    ph_cache_each_kernel(coherence->cache, collect, all);
    bool kernel = coherence->notifier != NULL;
    pthread_mutex_unlock(&coherence->mutex);
    for (guint i = 0; kernel && i < all->len; i++) {
        const struct ph_cache_held *held = &g_array_index(all, struct ph_cache_held, i);
        if (held->pages)
            ph_drop_start(&coherence->drops, held->object, 0, true);
    }
}

/* Write-back knows of what it holds, and of what it is about to give back, more than the cache does. */
static void on_claims(void *data, struct ph_reclaim *reclaim)
{
    struct ph_coherence *coherence = data;
    pthread_mutex_lock(&coherence->mutex);
    struct ph_writeback *writeback = coherence->writeback;
    pthread_mutex_unlock(&coherence->mutex);
    if (writeback != NULL)
        ph_writeback_claims(writeback, reclaim);
    pthread_mutex_lock(&coherence->mutex);
    ph_cache_claims(coherence->cache, ph_reclaim_add, reclaim);
    pthread_mutex_unlock(&coherence->mutex);
}

static void on_claimed(void *data, const struct ph_reclaim *reclaim)
{
    struct ph_coherence *coherence = data;
    pthread_mutex_lock(&coherence->mutex);
    struct ph_writeback *writeback = coherence->writeback;
    pthread_mutex_unlock(&coherence->mutex);
    if (writeback != NULL)
        ph_writeback_claimed(writeback, reclaim);
    pthread_mutex_lock(&coherence->mutex);
    for (const struct ph_reclaimed *at = ph_reclaim_first(reclaim); at != NULL; at = ph_reclaim_next(at))
        ph_cache_reclaimed(coherence->cache, &at->claim, at->lease, at->mode);
    pthread_mutex_unlock(&coherence->mutex);
    ph_coherence_work(coherence);
}

void ph_coherence_give_back(struct ph_coherence *coherence, uint64_t object, uint64_t lease, uint32_t keep)
{
    pthread_mutex_lock(&coherence->mutex);
    struct ph_writeback *writeback = coherence->writeback;
    pthread_mutex_unlock(&coherence->mutex);
    if (writeback != NULL)
        ph_writeback_recalled(writeback, object, lease);
    pthread_mutex_lock(&coherence->mutex);
    ph_cache_recall(coherence->cache, object, lease, keep);
    ph_cache_set_hot(coherence->cache, object, ph_link_now_ms() + HOT_MS);
    pthread_mutex_unlock(&coherence->mutex);
    ph_coherence_work(coherence);
}

/* Whether part of what RECALL is about is kept: write-back sees to it. */
static bool is_cut_down(struct ph_coherence *coherence, const Pohmel__RecallEvent *recall)
{
    if (recall->range == NULL)
        return false;
    pthread_mutex_lock(&coherence->mutex);
    struct ph_writeback *writeback = coherence->writeback;
    pthread_mutex_unlock(&coherence->mutex);
    return writeback != NULL &&
           ph_writeback_recalled_part(writeback, recall->object, recall->lease, recall->range->offset,
                                      recall->range->offset + recall->range->length);
}

static void on_recall(void *data, const Pohmel__RecallEvent *recall)
{
    if (is_cut_down(data, recall))
        return;
    ph_coherence_give_back(data, recall->object, recall->lease, recall->keep);
}

/* Said once, until there is a session again: what is waited for is tried again and again. */
static void on_refused(void *data, const char *text, bool hopeless)
{
    struct ph_coherence *coherence = data;
    pthread_mutex_lock(&coherence->mutex);
    bool news = hopeless && !coherence->said_hopeless;
    coherence->said_hopeless = coherence->said_hopeless || hopeless;
    bool lasts = ph_outage_goes_on(&coherence->outage, ph_link_now_ms()) && !coherence->said_hopeless;
    pthread_mutex_unlock(&coherence->mutex);
    if (news)
        ph_log(LOG_ERR, "%s; everything fails until then", text);
    if (lasts)
        ph_log(LOG_WARNING,
               "no session at the server: %s; it is tried again, and what needs the server waits", text);
}

static void on_reached(void *data)
{
    struct ph_coherence *coherence = data;
    unsigned seconds;
    pthread_mutex_lock(&coherence->mutex);
    bool said = ph_outage_ends(&coherence->outage, ph_link_now_ms(), &seconds);
    pthread_mutex_unlock(&coherence->mutex);
    if (said)
        ph_log(LOG_NOTICE, "there is a session at the server again, after %u seconds", seconds);
}

const struct ph_link_events ph_coherence_events = {
    .opened = on_opened,
    .lost = on_lost,
    .expired = on_expired,
    .claims = on_claims,
    .claimed = on_claimed,
    .refused = on_refused,
    .reached = on_reached,
    .recall = on_recall,
    .glimpse = ph_coherence_on_glimpse,
};

void ph_coherence_told(struct ph_coherence *coherence, const struct ph_told *told, bool failed)
{
    pthread_mutex_lock(&coherence->mutex);
    if (failed && told->entry != 0)
        ph_cache_kernel_forget(coherence->cache, told->entry, 1);
    for (unsigned i = 0; i < G_N_ELEMENTS(told->objects); i++) {
        if (told->objects[i] != 0)
            ph_cache_reply_end(coherence->cache, told->objects[i]);
    }
    ph_cache_release_some(coherence->cache, GIVE_UP_AT_ONCE);
    bool any = ph_coherence_has_work(coherence);
    pthread_mutex_unlock(&coherence->mutex);
    if (any)
        ph_coherence_work(coherence);
}

void ph_coherence_forget(struct ph_coherence *coherence, uint64_t object, uint64_t lookups)
{
    pthread_mutex_lock(&coherence->mutex);
    ph_cache_kernel_forget(coherence->cache, object, lookups);
    if (!ph_cache_kernel_has(coherence->cache, object))
        ph_coherence_dir_gone(coherence, object);
    bool any = ph_coherence_has_work(coherence);
    pthread_mutex_unlock(&coherence->mutex);
    if (any)
        ph_coherence_work(coherence);
}

static void add(GString *out, const char *key, uint64_t value)
{
    g_string_append_printf(out, "%s: %" G_GUINT64_FORMAT "\n", key, value);
}

/* Whether the mount keeps anything, and why not. With the mutex held. */
static const char *caching_text(const struct ph_coherence *coherence)
{
    if (!coherence->caching)
        return "off";
    if (coherence->granted)
        return "under leases";
    bool session = ph_cache_ask(coherence->cache, 0).generation != 0;
    return session ? "no: the server grants none" : "no: there is no session";
}

void ph_coherence_status(struct ph_coherence *coherence, GString *out)
{
    struct ph_cache_counters counters;
    pthread_mutex_lock(&coherence->mutex);
    ph_cache_count(coherence->cache, &counters);
    bool names = coherence->granted && coherence->epochs;
    const char *caching = caching_text(coherence);
    uint64_t glimpses = coherence->glimpses;
    pthread_mutex_unlock(&coherence->mutex);
    g_string_append_printf(out, "caching: %s\n", caching);
    g_string_append_printf(out, "names-in-kernel: %s\n", names ? "yes" : "no");
    add(out, "leases-directories-shared", counters.directories_shared);
    add(out, "leases-directories-exclusive", counters.directories_exclusive);
    add(out, "leases-files-shared", counters.files_shared);
    add(out, "leases-files-exclusive", counters.files_exclusive);
    add(out, "leases-going-back", counters.recalls_pending);
    add(out, "cached-objects", counters.objects);
    add(out, "cached-names", counters.entries);
    add(out, "cached-whole-directories", counters.complete_directories);
    add(out, "kernel-objects", counters.kernel_objects);
    add(out, "cache-hits", counters.hits);
    add(out, "cache-misses", counters.misses);
    add(out, "recalls", counters.recalls);
    add(out, "recalls-before-grant", counters.early_recalls);
    add(out, "glimpses", glimpses);
    add(out, "leases-given-up", counters.given_up);
    add(out, "changes-behind-the-server", counters.behind);
}
