#include "client/fuse/gone_dirs.h"

#include <glib.h>
#include <pthread.h>
#include <sys/stat.h>

struct ph_gone_dirs {
    pthread_mutex_t mutex;
    GHashTable *attrs; /* object, in the value, to struct ph_cached_attr */
};

struct ph_gone_dirs *ph_gone_dirs_new(void)
{
    struct ph_gone_dirs *dirs = g_new0(struct ph_gone_dirs, 1);
    pthread_mutex_init(&dirs->mutex, NULL);
    dirs->attrs = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
    return dirs;
}

void ph_gone_dirs_free(struct ph_gone_dirs *dirs)
{
    if (dirs == NULL)
        return;
    g_hash_table_unref(dirs->attrs);
    pthread_mutex_destroy(&dirs->mutex);
    g_free(dirs);
}

void ph_gone_dirs_add(struct ph_gone_dirs *dirs, const struct ph_cached_attr *attr)
{
    if (!S_ISDIR(attr->mode))
        return;
    struct ph_cached_attr *kept = g_memdup2(attr, sizeof *attr);
    kept->links = 0;
    pthread_mutex_lock(&dirs->mutex);
    g_hash_table_replace(dirs->attrs, &kept->object, kept);
    pthread_mutex_unlock(&dirs->mutex);
}

bool ph_gone_dirs_find(struct ph_gone_dirs *dirs, uint64_t object, struct ph_cached_attr *attr)
{
    pthread_mutex_lock(&dirs->mutex);
    const struct ph_cached_attr *found = g_hash_table_lookup(dirs->attrs, &object);
    if (found != NULL && attr != NULL)
        *attr = *found;
    pthread_mutex_unlock(&dirs->mutex);
    return found != NULL;
}

void ph_gone_dirs_forget(struct ph_gone_dirs *dirs, uint64_t object)
{
    pthread_mutex_lock(&dirs->mutex);
    g_hash_table_remove(dirs->attrs, &object);
    pthread_mutex_unlock(&dirs->mutex);
}
