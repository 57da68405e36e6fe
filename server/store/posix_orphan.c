/* The hidden directory at the root of the export: files that were removed while
 * open or made without a name ("orphans"), and trees on their way out ("trash"). Made when it is first
 * needed, touched as the server only. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/store/posix_internal.h"

enum {
    HIDDEN_MODE = 0700,
    DELETE_DEPTH_MAX = 16, /* directories of a tree that are open at once while it is deleted */
};

static int hidden_sub(int above, const char *name, bool make)
{
    if (make && mkdirat(above, name, HIDDEN_MODE) != 0 && errno != EEXIST)
        return -1;
    return openat(above, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* The directory NAME in the hidden one; *KEPT is its descriptor once there is one. -1 with errno. */
static int hidden_get(struct ph_posix_store *store, int *kept, const char *name)
{
    pthread_mutex_lock(&store->hidden_lock);
    if (*kept < 0 && !store->read_only) {
        ph_creds_server();
        if (store->hidden_fd < 0)
            store->hidden_fd = hidden_sub(store->root_fd, PH_HIDDEN_NAME, true);
        if (store->hidden_fd >= 0)
            *kept = hidden_sub(store->hidden_fd, name, true);
        if (*kept < 0)
            ph_trouble_note(errno);
    }
    int fd = *kept;
    pthread_mutex_unlock(&store->hidden_lock);
    return fd;
}

int ph_orphans_fd(struct ph_posix_store *store)
{
    return hidden_get(store, &store->orphans_fd, "orphans");
}

int ph_undo_fd(struct ph_posix_store *store)
{
    return hidden_get(store, &store->undo_fd, "undo");
}

void ph_orphan_name(uint64_t id, bool nameable, char name[PH_NAME_MAX_BYTES + 1])
{
    snprintf(name, PH_NAME_MAX_BYTES + 1, "%016llx%s", (unsigned long long) id, nameable ? ".new" : "");
}

bool ph_orphan_link(struct ph_posix_store *store, uint64_t id, int fd, bool nameable)
{
    char name[PH_NAME_MAX_BYTES + 1], path[32];
    int orphans = ph_orphans_fd(store);
    if (orphans < 0)
        return false;
    ph_orphan_name(id, nameable, name);
    ph_proc_path(fd, path);
    ph_creds_server();
    return linkat(AT_FDCWD, path, orphans, name, AT_SYMLINK_FOLLOW) == 0;
}

void ph_orphan_unlink(struct ph_posix_store *store, uint64_t id)
{
    char name[PH_NAME_MAX_BYTES + 1];
    int orphans = ph_orphans_fd(store);
    if (orphans < 0)
        return;
    ph_creds_server();
    ph_orphan_name(id, false, name);
    if (unlinkat(orphans, name, 0) == 0 || errno != ENOENT)
        return;
    ph_orphan_name(id, true, name);
    unlinkat(orphans, name, 0);
}

/* ---- Trash ---- */

void ph_hidden_removed(struct ph_posix_store *store, const struct stat *st)
{
    if (store->size_limit == 0 || (st->st_nlink > 1 && !S_ISDIR(st->st_mode)))
        return;
    uint64_t bytes = (uint64_t) st->st_blocks * 512;
    pthread_mutex_lock(&store->lock);
    atomic_fetch_sub(&store->used, MIN(bytes, atomic_load(&store->used)));
    pthread_mutex_unlock(&store->lock);
}

/* Moves NAME below DIR into TRASH under a name of its own. */
static bool move_up(struct ph_posix_store *store, int dir, const char *name, int trash)
{
    char unique[64];
    int failed;
    do {
        snprintf(unique, sizeof unique, "%llx-%llx", (unsigned long long) ph_state_db_epoch(store->db),
                 (unsigned long long) atomic_fetch_add(&store->trash_names, 1));
        failed = renameat2(dir, name, trash, unique, RENAME_NOREPLACE);
        if (failed != 0 && errno == EINVAL) /* a filesystem that knows no flags */
            failed = renameat(dir, name, trash, unique);
    } while (failed != 0 &&
             (errno == EEXIST || errno == ENOTEMPTY)); /* left by a server with another state directory */
    return failed == 0;
}

/* A deletion under way. */
struct deletion {
    struct ph_posix_store *store;
    int top;       /* the directory whose content is to go */
    uint64_t done; /* names that were removed, or moved to TOP */
};

/* Removes NAME below DIR; what is on another filesystem is left alone. Directories
 * far down are moved to the top instead, from where their turn comes, so that a
 * tree of any depth needs few descriptors and little stack. */
static void delete_tree(struct deletion *deletion, int dir, const char *name, int depth)
{
    struct ph_posix_store *store = deletion->store;
    struct stat st;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0 || st.st_dev != store->dev ||
        atomic_load(&store->trash_stop))
        return;
    if (S_ISDIR(st.st_mode) && unlinkat(dir, name, AT_REMOVEDIR) != 0 && depth >= DELETE_DEPTH_MAX) {
        deletion->done += move_up(store, dir, name, deletion->top);
        return;
    }
    if (S_ISDIR(st.st_mode)) {
        int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
        for (struct dirent *entry; stream != NULL && (entry = readdir(stream)) != NULL;)
            if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
                delete_tree(deletion, dirfd(stream), entry->d_name, depth + 1);
        if (stream != NULL)
            closedir(stream);
        else if (fd >= 0)
            close(fd);
    }
    if (unlinkat(dir, name, S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0) == 0 || errno == ENOENT) {
        ph_hidden_removed(store, &st);
        deletion->done++;
    }
}

/* Empties DIR, in as many rounds as bring it on: what was moved up comes in the next. */
static void delete_all(struct ph_posix_store *store, int dir)
{
    struct deletion deletion = {.store = store, .top = dir, .done = 1};
    while (deletion.done > 0 && dir >= 0 && !atomic_load(&store->trash_stop)) {
        int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
        deletion.done = 0;
        for (struct dirent *entry; stream != NULL && (entry = readdir(stream)) != NULL;)
            if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
                delete_tree(&deletion, dir, entry->d_name, 0);
        if (stream != NULL)
            closedir(stream);
        else if (fd >= 0)
            close(fd);
    }
}

static void *trash_thread(void *data)
{
    struct ph_posix_store *store = data;
    pthread_mutex_lock(&store->trash_lock);
    while (!atomic_load(&store->trash_stop)) {
        bool trash = store->trash_due, claimed = store->claimed;
        if (!trash && !claimed) {
            pthread_cond_wait(&store->trash_wake, &store->trash_lock);
            continue;
        }
        store->trash_due = store->claimed = false;
        pthread_mutex_unlock(&store->trash_lock);
        if (claimed)
            ph_kept_release(store);
        if (trash)
            delete_all(store, hidden_get(store, &store->trash_fd, "trash"));
        pthread_mutex_lock(&store->trash_lock);
    }
    pthread_mutex_unlock(&store->trash_lock);
    return NULL;
}

static void trash_wake(struct ph_posix_store *store)
{
    pthread_mutex_lock(&store->trash_lock);
    store->trash_due = true;
    if (!store->trash_running)
        store->trash_running = pthread_create(&store->trash_thread, NULL, trash_thread, store) == 0;
    pthread_cond_signal(&store->trash_wake);
    pthread_mutex_unlock(&store->trash_lock);
}

int ph_trash_move(struct ph_posix_store *store, int dir, const char *name)
{
    int trash = hidden_get(store, &store->trash_fd, "trash");
    if (trash < 0)
        return errno;
    ph_creds_server();
    if (!move_up(store, dir, name, trash))
        return errno;
    trash_wake(store);
    return 0;
}

static bool hidden_check(struct ph_posix_store *store, GError **error)
{
    struct stat st;
    store->hidden_fd = hidden_sub(store->root_fd, PH_HIDDEN_NAME, false);
    if (store->hidden_fd < 0 && errno == ENOENT)
        return true;
    if (store->hidden_fd >= 0 && fstat(store->hidden_fd, &st) == 0 && st.st_uid == geteuid() &&
        (st.st_mode & 077) == 0)
        return true;
    g_set_error(
        error, G_FILE_ERROR, G_FILE_ERROR_FAILED,
        "the export has an entry named %s that is not this server's (a directory of its user, mode 0700); "
        "rename it: the server keeps removed files there until they are closed",
        PH_HIDDEN_NAME);
    return false;
}

void ph_hidden_init(struct ph_posix_store *store)
{
    pthread_mutex_init(&store->hidden_lock, NULL);
    pthread_mutex_init(&store->trash_lock, NULL);
    pthread_cond_init(&store->trash_wake, NULL);
    store->hidden_fd = store->orphans_fd = store->trash_fd = store->undo_fd = -1;
}

bool ph_hidden_open(struct ph_posix_store *store, GError **error)
{
    store->kept = g_ptr_array_new();
    return store->read_only || hidden_check(store, error);
}

void ph_hidden_resume(struct ph_posix_store *store)
{
    if (store->hidden_fd >= 0)
        trash_wake(store);
}

void ph_hidden_close(struct ph_posix_store *store)
{
    pthread_mutex_lock(&store->trash_lock);
    atomic_store(&store->trash_stop, true);
    pthread_cond_signal(&store->trash_wake);
    pthread_mutex_unlock(&store->trash_lock);
    if (store->trash_running)
        pthread_join(store->trash_thread, NULL);
    for (guint i = 0; store->kept != NULL && i < store->kept->len; i++)
        ph_object_unref(store, store->kept->pdata[i]);
    g_clear_pointer(&store->kept, g_ptr_array_unref);
    bool ours = store->hidden_fd >= 0;
    int *fds[] = {&store->undo_fd, &store->trash_fd, &store->orphans_fd, &store->hidden_fd};
    for (size_t i = 0; i < G_N_ELEMENTS(fds); i++)
        if (*fds[i] >= 0)
            close(*fds[i]);
    /* Nothing is left in them: an export that is given up looks as before. */
    if (ours) {
        int hidden = hidden_sub(store->root_fd, PH_HIDDEN_NAME, false);
        if (hidden >= 0) {
            unlinkat(hidden, "orphans", AT_REMOVEDIR);
            unlinkat(hidden, "trash", AT_REMOVEDIR);
            unlinkat(hidden, "undo", AT_REMOVEDIR);
            close(hidden);
            unlinkat(store->root_fd, PH_HIDDEN_NAME, AT_REMOVEDIR);
        }
    }
    pthread_mutex_destroy(&store->hidden_lock);
    pthread_mutex_destroy(&store->trash_lock);
    pthread_cond_destroy(&store->trash_wake);
}
