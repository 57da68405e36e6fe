#include "client/fuse/brought.h"

#include <glib.h>
#include <pthread.h>

#include "client/core/lru.h"
#include "runtime/base/limits.h"

enum {
    FILES = 64,      /* kept at once, each of PH_SMALL_FILE_MAX_BYTES at most */
    IN_VAIN_MAX = 4, /* brought and not read, one after the other, until no more are asked for */
};

struct file {
    struct ph_lru_entry lru;
    struct ph_blob *data;
    struct ph_cache_ask ask;
};

struct ph_brought {
    pthread_mutex_t mutex;
    struct ph_lru files;
    unsigned in_vain;
};

static void free_file(struct ph_lru_entry *entry)
{
    struct file *file = (struct file *) entry;
    ph_blob_unref(file->data);
    g_free(file);
}

struct ph_brought *ph_brought_new(void)
{
    struct ph_brought *brought = g_new0(struct ph_brought, 1);
    pthread_mutex_init(&brought->mutex, NULL);
    ph_lru_init(&brought->files);
    return brought;
}

void ph_brought_free(struct ph_brought *brought)
{
    if (brought == NULL)
        return;
    ph_lru_clear(&brought->files, free_file);
    pthread_mutex_destroy(&brought->mutex);
    g_free(brought);
}

uint32_t ph_brought_wanted(struct ph_brought *brought)
{
    pthread_mutex_lock(&brought->mutex);
    bool wanted = brought->in_vain < IN_VAIN_MAX;
    pthread_mutex_unlock(&brought->mutex);
    return wanted ? PH_SMALL_FILE_MAX_BYTES : 0;
}

/* Mutex held. */
static void drop(struct ph_brought *brought, struct ph_lru_entry *entry)
{
    ph_lru_remove(&brought->files, entry);
    free_file(entry);
}

void ph_brought_put(struct ph_brought *brought, uint64_t object, struct ph_blob *data,
                    const struct ph_cache_ask *ask)
{
    struct file *file = g_new0(struct file, 1);
    file->data = ph_blob_ref(data);
    file->ask = *ask;
    pthread_mutex_lock(&brought->mutex);
    struct ph_lru_entry *before = ph_lru_find(&brought->files, object);
    if (before != NULL)
        drop(brought, before);
    else if (brought->files.count >= FILES)
        drop(brought, brought->files.oldest);
    ph_lru_add(&brought->files, &file->lru, object);
    brought->in_vain++;
    pthread_mutex_unlock(&brought->mutex);
}

struct ph_blob *ph_brought_take(struct ph_brought *brought, uint64_t object, struct ph_cache_ask *ask)
{
    struct ph_blob *data = NULL;
    pthread_mutex_lock(&brought->mutex);
    struct ph_lru_entry *entry = ph_lru_find(&brought->files, object);
    if (entry != NULL) {
        const struct file *file = (struct file *) entry;
        data = ph_blob_ref(file->data);
        *ask = file->ask;
        drop(brought, entry);
        brought->in_vain = 0;
    }
    pthread_mutex_unlock(&brought->mutex);
    return data;
}

void ph_brought_missed(struct ph_brought *brought)
{
    pthread_mutex_lock(&brought->mutex);
    brought->in_vain = 0;
    pthread_mutex_unlock(&brought->mutex);
}
