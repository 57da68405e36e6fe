/* Asking the cache, learning from replies, and what the kernel is told of it. */
#include <string.h>

#include "client/fuse/coherence_private.h"

static double seconds(uint64_t ms)
{
    return (double) ms / 1000;
}

/* The kernel is about to be told of OBJECT with a timeout: recalls wait. Mutex held. */
static void hold(struct ph_coherence *coherence, struct ph_told *told, unsigned which, uint64_t object)
{
    told->objects[which] = object;
    ph_cache_reply_begin(coherence->cache, object);
}

static void tell_attr(struct ph_coherence *coherence, struct ph_told *told, uint64_t valid_ms,
                      uint64_t now_ms)
{
    told->kept = valid_ms > 0;
    if (valid_ms > 0 && ph_cache_is_hot(coherence->cache, told->attr.object, now_ms))
        valid_ms = 0;
    told->attr_timeout = seconds(valid_ms);
    if (valid_ms > 0)
        ph_cache_attr_told(coherence->cache, told->attr.object);
    if (valid_ms > 0)
        hold(coherence, told, 1, told->attr.object);
}

static void tell_entry(struct ph_coherence *coherence, struct ph_told *told, uint64_t directory,
                       uint64_t valid_ms)
{
    if (!coherence->epochs)
        valid_ms = 0; /* the kernel could not be made to forget it without waiting */
    told->entry_timeout = seconds(valid_ms);
    if (valid_ms > 0)
        hold(coherence, told, 0, directory);
}

static void add_reference(struct ph_coherence *coherence, struct ph_told *told)
{
    told->entry = told->attr.object;
    ph_cache_kernel_add(coherence->cache, told->entry, 1);
}

void ph_told_entry(const struct ph_told *told, struct fuse_entry_param *entry)
{
    if (told->entry == 0) { /* a name that is not there, to be remembered */
        memset(entry, 0, sizeof *entry);
    } else {
        struct ph_cached_attr_wire wire;
        ph_attr_to_entry(ph_cached_attr_to_wire(&told->attr, &wire), entry);
    }
    entry->entry_timeout = told->entry_timeout;
    entry->attr_timeout = told->attr_timeout;
}

enum ph_cache_found ph_coherence_lookup(struct ph_coherence *coherence, uint64_t directory, const char *name,
                                        struct ph_told *told)
{
    uint64_t entry_ms = 0, attr_ms = 0;
    *told = (struct ph_told){0};
    pthread_mutex_lock(&coherence->mutex);
    uint64_t now_ms = ph_coherence_now(coherence);
    enum ph_cache_found found = ph_cache_lookup(coherence->cache, directory, name, strlen(name), now_ms,
                                                &told->attr, &entry_ms, &attr_ms);
    if (found != PH_CACHE_MISS)
        tell_entry(coherence, told, directory, entry_ms);
    if (found == PH_CACHE_FOUND) {
        add_reference(coherence, told);
        tell_attr(coherence, told, attr_ms, now_ms);
    }
    pthread_mutex_unlock(&coherence->mutex);
    return found;
}

bool ph_coherence_getattr(struct ph_coherence *coherence, uint64_t object, struct ph_told *told)
{
    uint64_t valid_ms = 0;
    *told = (struct ph_told){0};
    pthread_mutex_lock(&coherence->mutex);
    uint64_t now_ms = ph_coherence_now(coherence);
    bool found = ph_cache_getattr(coherence->cache, object, now_ms, &told->attr, &valid_ms);
    if (found)
        tell_attr(coherence, told, valid_ms, now_ms);
    pthread_mutex_unlock(&coherence->mutex);
    return found;
}

struct ph_cache_ask ph_coherence_ask(struct ph_coherence *coherence)
{
    pthread_mutex_lock(&coherence->mutex);
    struct ph_cache_ask ask = ph_cache_ask(coherence->cache, ph_coherence_now(coherence));
    pthread_mutex_unlock(&coherence->mutex);
    return ask;
}

void ph_coherence_learn(struct ph_coherence *coherence, const struct ph_cache_ask *ask,
                        const Pohmel__Attr *attr, struct ph_told *told)
{
    *told = (struct ph_told){0};
    pthread_mutex_lock(&coherence->mutex);
    uint64_t now_ms = ph_coherence_now(coherence);
    tell_attr(coherence, told, ph_cache_learn(coherence->cache, ask, attr, now_ms, &told->attr), now_ms);
    pthread_mutex_unlock(&coherence->mutex);
}

void ph_coherence_learn_entry(struct ph_coherence *coherence, const struct ph_cache_ask *ask,
                              uint64_t directory_id, const Pohmel__Attr *directory, const char *name,
                              const Pohmel__Attr *found, struct ph_told *told)
{
    struct ph_cached_attr ignored;
    uint64_t attr_ms = 0;
    *told = (struct ph_told){0};
    pthread_mutex_lock(&coherence->mutex);
    uint64_t now_ms = ph_coherence_now(coherence);
    if (directory != NULL && directory->object == directory_id)
        ph_cache_learn(coherence->cache, ask, directory, now_ms, &ignored);
    if (found != NULL) {
        attr_ms = ph_cache_learn(coherence->cache, ask, found, now_ms, &told->attr);
        add_reference(coherence, told);
    }
    tell_entry(coherence, told, directory_id,
               ph_cache_learn_entry(coherence->cache, ask, directory_id,
                                    directory != NULL ? directory->lease : 0, name, strlen(name),
                                    found != NULL ? found->object : 0, now_ms));
    if (found != NULL)
        tell_attr(coherence, told, attr_ms, now_ms);
    pthread_mutex_unlock(&coherence->mutex);
}

/* A change that nothing was added to yet is begun with its first object. */
static void begun(struct ph_cache_change *change)
{
    bool told = change->told;
    if (!ph_coherence_changing(change))
        ph_cache_change_begin(change);
    change->told = told;
}

void ph_coherence_change_object(struct ph_coherence *coherence, struct ph_cache_change *change,
                                uint64_t object)
{
    pthread_mutex_lock(&coherence->mutex);
    begun(change);
    ph_cache_change_add(coherence->cache, change, object);
    pthread_mutex_unlock(&coherence->mutex);
}

void ph_coherence_change_xattrs(struct ph_coherence *coherence, struct ph_cache_change *change,
                                uint64_t object)
{
    pthread_mutex_lock(&coherence->mutex);
    begun(change);
    ph_cache_change_add_xattrs(coherence->cache, change, object);
    pthread_mutex_unlock(&coherence->mutex);
}

void ph_coherence_change_name(struct ph_coherence *coherence, struct ph_cache_change *change,
                              uint64_t directory, const char *name, bool target)
{
    pthread_mutex_lock(&coherence->mutex);
    begun(change);
    ph_cache_change_add_name(coherence->cache, change, directory, name, strlen(name), target);
    pthread_mutex_unlock(&coherence->mutex);
}

void ph_coherence_names_changed(struct ph_coherence *coherence)
{
    pthread_mutex_lock(&coherence->mutex);
    struct ph_notifier *notifier = coherence->notifier;
    pthread_mutex_unlock(&coherence->mutex);
    if (notifier != NULL)
        ph_notify_epoch(notifier);
}

void ph_coherence_change_all(struct ph_coherence *coherence, struct ph_cache_change *change)
{
    pthread_mutex_lock(&coherence->mutex);
    begun(change);
    ph_cache_change_add_all(coherence->cache, change);
    pthread_mutex_unlock(&coherence->mutex);
    ph_coherence_names_changed(coherence);
    ph_coherence_work(coherence);
}

/* Whether the kernel's attributes of OBJECT are right until CHANGE was answered: what is held exclusively
 * nobody else sees before they were dropped here. With the answer the kernel has to know the new ones, or
 * that the old ones are no good: of directories it knows that itself; of files with the answer to most
 * changes. Not so with data: what is written asynchronously it takes for changed when it is sent, not when it
 * was done. */
static bool changes_unseen(struct ph_coherence *coherence, const struct ph_cache_change *change,
                           uint64_t object)
{
    return ph_cache_is_exclusive(coherence->cache, object) &&
           (change->told || ph_cache_is_directory(coherence->cache, object));
}

/* The kernel hears of what becomes of OBJECT by the answer to CHANGE, and may read that late: it is not to be
 * told to others meanwhile (coherence_glimpse.c). Of directories nobody is told. */
static void leave_untold(struct ph_coherence *coherence, struct ph_cache_change *change, uint64_t object)
{
    if (ph_cache_is_directory(coherence->cache, object))
        return;
    ph_cache_set_untold(coherence->cache, object, ph_coherence_now(coherence));
    change->untold = true;
}

/* CHANGE ends without an answer that tells the kernel anything: what it may have of these objects, which are
 * put into OUT, it is to forget after all. How many. Mutex held. */
static unsigned untold(struct ph_coherence *coherence, const struct ph_cache_change *change,
                       uint64_t out[PH_CACHE_CHANGE_OBJECTS])
{
    unsigned count = 0;
    for (unsigned i = 0; change->told && coherence->notifier != NULL && i < change->count; i++) {
        if (ph_cache_take_attr_told(coherence->cache, change->objects[i]))
            out[count++] = change->objects[i];
    }
    return count;
}

void ph_coherence_change_sent(struct ph_coherence *coherence, struct ph_cache_change *change)
{
    uint64_t known[PH_CACHE_CHANGE_OBJECTS];
    unsigned count = 0;
    pthread_mutex_lock(&coherence->mutex);
    begun(change);
    ph_cache_change_sent(coherence->cache, change, ph_coherence_now(coherence));
    struct ph_notifier *notifier = coherence->granted ? coherence->notifier : NULL;
    for (unsigned i = 0; notifier != NULL && i < change->count; i++) {
        if (changes_unseen(coherence, change, change->objects[i]))
            leave_untold(coherence, change, change->objects[i]);
        else if (ph_cache_take_attr_told(coherence->cache, change->objects[i]))
            known[count++] = change->objects[i];
    }
    pthread_mutex_unlock(&coherence->mutex);
    /* Others may see the change before we have the answer: who looks here meanwhile is to ask. */
    for (unsigned i = 0; i < count; i++)
        ph_notify_attr(notifier, known[i]);
}

static void end(struct ph_coherence *coherence, struct ph_cache_change *change)
{
    for (unsigned i = 0; change->untold && i < change->count; i++)
        ph_cache_set_untold(coherence->cache, change->objects[i], ph_coherence_now(coherence));
    ph_cache_change_end(coherence->cache, change);
    *change = (struct ph_cache_change){0};
}

void ph_coherence_changed(struct ph_coherence *coherence, struct ph_cache_change *change,
                          const Pohmel__Attr *attr, struct ph_told *told)
{
    *told = (struct ph_told){0};
    pthread_mutex_lock(&coherence->mutex);
    uint64_t now_ms = ph_coherence_now(coherence);
    tell_attr(coherence, told, ph_cache_changed(coherence->cache, change, attr, now_ms, &told->attr), now_ms);
    end(coherence, change);
    pthread_mutex_unlock(&coherence->mutex);
}

void ph_coherence_cut(struct ph_coherence *coherence, uint64_t object)
{
    pthread_mutex_lock(&coherence->mutex);
    ph_cache_forget_attr(coherence->cache, object);
    pthread_mutex_unlock(&coherence->mutex);
}

void ph_coherence_made(struct ph_coherence *coherence, struct ph_cache_change *change,
                       const Pohmel__Attr *attr, struct ph_told *told)
{
    *told = (struct ph_told){0};
    pthread_mutex_lock(&coherence->mutex);
    uint64_t now_ms = ph_coherence_now(coherence);
    uint64_t attr_ms = ph_cache_changed(coherence->cache, change, attr, now_ms, &told->attr);
    add_reference(coherence, told);
    tell_attr(coherence, told, attr_ms, now_ms);
    end(coherence, change);
    pthread_mutex_unlock(&coherence->mutex);
}

void ph_coherence_changed_entry(struct ph_coherence *coherence, struct ph_cache_change *change,
                                uint64_t directory, const char *name, const Pohmel__Attr *attr,
                                struct ph_told *told)
{
    *told = (struct ph_told){0};
    pthread_mutex_lock(&coherence->mutex);
    uint64_t now_ms = ph_coherence_now(coherence);
    uint64_t attr_ms = ph_cache_changed(coherence->cache, change, attr, now_ms, &told->attr);
    add_reference(coherence, told);
    tell_entry(
        coherence, told, directory,
        ph_cache_changed_name(coherence->cache, change, directory, name, strlen(name), attr->object, now_ms));
    tell_attr(coherence, told, attr_ms, now_ms);
    end(coherence, change);
    pthread_mutex_unlock(&coherence->mutex);
}

bool ph_coherence_changed_name(struct ph_coherence *coherence, const struct ph_cache_change *change,
                               uint64_t directory, const char *name, uint64_t object)
{
    pthread_mutex_lock(&coherence->mutex);
    uint64_t kept_ms = ph_cache_changed_name(coherence->cache, change, directory, name, strlen(name), object,
                                             ph_coherence_now(coherence));
    pthread_mutex_unlock(&coherence->mutex);
    return kept_ms > 0;
}

uint64_t ph_coherence_entry_object(struct ph_coherence *coherence, uint64_t directory, const char *name)
{
    pthread_mutex_lock(&coherence->mutex);
    uint64_t object = ph_cache_entry_object(coherence->cache, directory, name, strlen(name));
    pthread_mutex_unlock(&coherence->mutex);
    return object;
}

void ph_coherence_change_end_late(struct ph_coherence *coherence, struct ph_cache_change *change)
{
    uint64_t spoiled[PH_CACHE_CHANGE_OBJECTS];
    unsigned count = 0;
    pthread_mutex_lock(&coherence->mutex);
    struct ph_notifier *notifier = coherence->drops.ending ? NULL : coherence->notifier;
    for (unsigned i = 0; notifier != NULL && i < change->count; i++) {
        if (ph_cache_may_have_pages(coherence->cache, change->objects[i]))
            spoiled[count++] = change->objects[i];
    }
    pthread_mutex_unlock(&coherence->mutex);
    for (unsigned i = 0; i < count; i++)
        ph_notifier_drop_range(notifier, spoiled[i], 0, 0);
    ph_coherence_change_end(coherence, change);
}

void ph_coherence_change_end(struct ph_coherence *coherence, struct ph_cache_change *change)
{
    if (!ph_coherence_changing(change))
        return;
    uint64_t forget[PH_CACHE_CHANGE_OBJECTS];
    pthread_mutex_lock(&coherence->mutex);
    struct ph_notifier *notifier = coherence->notifier;
    unsigned count = untold(coherence, change, forget);
    end(coherence, change);
    bool any = ph_coherence_has_work(coherence);
    pthread_mutex_unlock(&coherence->mutex);
    for (unsigned i = 0; i < count; i++)
        ph_notify_attr(notifier, forget[i]);
    if (any)
        ph_coherence_work(coherence);
}
