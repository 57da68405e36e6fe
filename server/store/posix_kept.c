/* Files without a name, at a start: those that the last server left in the hidden directory are kept for the
 * sessions that had them open, until these have opened them again or do not come back any more.
 * docs/decisions/0021-files-without-a-name.md. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/store/posix_internal.h"

static bool name_read(const char *name, uint64_t *id, bool *nameable)
{
    char again[PH_NAME_MAX_BYTES + 1];
    unsigned long long number;
    if (sscanf(name, "%16llx", &number) != 1)
        return false;
    for (unsigned kind = 0; kind < 2; kind++) {
        ph_orphan_name(number, kind != 0, again);
        if (strcmp(again, name) == 0) {
            *id = number;
            *nameable = kind != 0;
            return true;
        }
    }
    return false;
}

/* The object, with a reference; NULL where it is not one to be kept. */
static struct ph_object *take_up(struct ph_posix_store *store, int orphans, const char *name)
{
    struct statx stx;
    uint64_t id;
    bool nameable;
    if (!name_read(name, &id, &nameable) || ph_statx(orphans, name, &stx) != 0 || !S_ISREG(stx.stx_mode) ||
        stx.stx_nlink != 1 || makedev(stx.stx_dev_major, stx.stx_dev_minor) != store->dev)
        return NULL;
    struct ph_object *object = ph_object_made(store, NULL, NULL, &stx, id);
    if (object == NULL)
        return NULL;
    pthread_mutex_lock(&store->lock);
    object->orphan = true;
    object->nameable = nameable;
    object->blocks = stx.stx_blocks;
    pthread_mutex_unlock(&store->lock);
    return object;
}

static void drop(struct ph_posix_store *store, int orphans, const char *name)
{
    struct stat st;
    if (fstatat(orphans, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && unlinkat(orphans, name, 0) == 0)
        ph_hidden_removed(store, &st);
    else
        g_warning("cannot remove %s/orphans/%s: %s", PH_HIDDEN_NAME, name, g_strerror(errno));
}

/* Somebody of before may come back for what is there. */
static bool awaited(struct ph_posix_store *store)
{
    struct ph_store_session one;
    return ph_posix_continued(store) && ph_posix_sessions(store, &one, 1) > 0;
}

void ph_kept_take_up(struct ph_posix_store *store)
{
    if (store->hidden_fd < 0)
        return;
    ph_creds_server();
    int orphans = ph_orphans_fd(store);
    bool keep = awaited(store);
    int fd = orphans >= 0 ? openat(orphans, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
    for (struct dirent *entry; stream != NULL && (entry = readdir(stream)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        struct ph_object *object = keep ? take_up(store, orphans, entry->d_name) : NULL;
        if (object != NULL)
            g_ptr_array_add(store->kept, object);
        else
            drop(store, orphans, entry->d_name);
    }
    if (stream != NULL)
        closedir(stream);
    else if (fd >= 0)
        close(fd);
}

void ph_kept_release(struct ph_posix_store *store)
{
    for (guint i = 0; i < store->kept->len; i++) {
        struct ph_object *object = store->kept->pdata[i];
        pthread_mutex_lock(&store->lock);
        bool unwanted = object->removed && object->handles == NULL;
        pthread_mutex_unlock(&store->lock);
        if (unwanted) {
            ph_orphan_unlink(store, object->id);
            ph_object_removed(store, object, false, NULL);
        }
        ph_object_unref(store, object);
    }
    g_ptr_array_set_size(store->kept, 0);
}

void ph_posix_claimed(void *self)
{
    struct ph_posix_store *store = self;
    pthread_mutex_lock(&store->trash_lock);
    store->claimed = true;
    pthread_cond_signal(&store->trash_wake);
    pthread_mutex_unlock(&store->trash_lock);
}
