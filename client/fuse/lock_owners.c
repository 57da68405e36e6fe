#include "client/fuse/lock_owners.h"

#include <glib.h>
#include <pthread.h>

/* One asker; those on the same object are chained. */
struct entry {
    struct entry *next;
    uint64_t owner, handle;
};

struct ph_lock_owners {
    pthread_mutex_t mutex;
    GHashTable *objects;    /* uint64_t * (owned) -> first struct entry */
    _Atomic unsigned count; /* entries; most mounts never see a lock */
};

struct ph_lock_owners *ph_lock_owners_new(void)
{
    struct ph_lock_owners *owners = g_new0(struct ph_lock_owners, 1);
    pthread_mutex_init(&owners->mutex, NULL);
    owners->objects = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
    return owners;
}

void ph_lock_owners_free(struct ph_lock_owners *owners)
{
    if (owners == NULL)
        return;
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, owners->objects);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        for (struct entry *entry = value, *next; entry != NULL; entry = next) {
            next = entry->next;
            g_free(entry);
        }
    }
    g_hash_table_destroy(owners->objects);
    pthread_mutex_destroy(&owners->mutex);
    g_free(owners);
}

/* Sets the chain of OBJECT; with the mutex. */
static void set_chain(struct ph_lock_owners *owners, uint64_t object, struct entry *first)
{
    if (first == NULL) {
        g_hash_table_remove(owners->objects, &object);
        return;
    }
    uint64_t *key = g_new(uint64_t, 1);
    *key = object;
    g_hash_table_replace(owners->objects, key, first);
}

void ph_lock_owners_add(struct ph_lock_owners *owners, uint64_t object, uint64_t owner, uint64_t handle)
{
    pthread_mutex_lock(&owners->mutex);
    struct entry *first = g_hash_table_lookup(owners->objects, &object);
    for (struct entry *entry = first; entry != NULL; entry = entry->next) {
        if (entry->owner == owner && entry->handle == handle) {
            pthread_mutex_unlock(&owners->mutex);
            return;
        }
    }
    struct entry *entry = g_new(struct entry, 1);
    *entry = (struct entry){first, owner, handle};
    set_chain(owners, object, entry);
    owners->count++;
    pthread_mutex_unlock(&owners->mutex);
}

/* Takes entries out of the chain of OBJECT: all of OWNER, or the first through
 * HANDLE. Returns how many; *OWNER is the last one's. */
static unsigned take(struct ph_lock_owners *owners, uint64_t object, const uint64_t *handle, uint64_t *owner)
{
    if (owners->count == 0)
        return 0;
    unsigned taken = 0;
    pthread_mutex_lock(&owners->mutex);
    struct entry *first = g_hash_table_lookup(owners->objects, &object);
    struct entry *old = first;
    for (struct entry **at = &first; *at != NULL && (handle == NULL || taken == 0);) {
        struct entry *entry = *at;
        if (handle != NULL ? entry->handle != *handle : entry->owner != *owner) {
            at = &entry->next;
            continue;
        }
        *at = entry->next;
        *owner = entry->owner;
        g_free(entry);
        taken++;
    }
    owners->count -= taken;
    if (first != old)
        set_chain(owners, object, first);
    pthread_mutex_unlock(&owners->mutex);
    return taken;
}

bool ph_lock_owners_take(struct ph_lock_owners *owners, uint64_t object, uint64_t owner)
{
    return take(owners, object, NULL, &owner) > 0;
}

bool ph_lock_owners_take_handle(struct ph_lock_owners *owners, uint64_t object, uint64_t handle,
                                uint64_t *owner)
{
    return take(owners, object, &handle, owner) > 0;
}
