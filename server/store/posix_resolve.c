/* Reaching objects: descriptors of directories, kept and made again, and the
 * place of everything else below them. No path is ever followed by the kernel:
 * each step opens one name below a verified directory, so that links and
 * directories swapped behind our back lead nowhere else. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/store/posix_internal.h"

struct ph_fd *ph_fd_new(int fd)
{
    struct ph_fd *shared = g_new0(struct ph_fd, 1);
    shared->fd = fd;
    atomic_init(&shared->refs, 1);
    return shared;
}

struct ph_fd *ph_fd_ref(struct ph_fd *fd)
{
    atomic_fetch_add_explicit(&fd->refs, 1, memory_order_relaxed);
    return fd;
}

void ph_fd_unref(struct ph_fd *fd)
{
    if (fd == NULL || atomic_fetch_sub_explicit(&fd->refs, 1, memory_order_acq_rel) != 1)
        return;
    close(fd->fd);
    g_free(fd);
}

void ph_place_clear(struct ph_place *place)
{
    ph_fd_unref(g_steal_pointer(&place->dir));
}

void ph_proc_path(int fd, char path[32])
{
    snprintf(path, 32, "/proc/self/fd/%d", fd);
}

int ph_statx(int dir, const char *name, struct statx *stx)
{
    uint64_t moment = ph_changes_made();
    int failed = statx(dir, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH, PH_STATX_MASK, stx);
    stx->stx_mnt_id = moment;
    if (failed != 0)
        ph_trouble_note(errno);
    return failed;
}

/* statx of a place that this thread's identity may not reach is the server's to do. */
static int statx_or_server(int dir, const char *name, struct statx *stx)
{
    int result = ph_statx(dir, name, stx);
    if (result == 0 || errno != EACCES || ph_creds_is_server())
        return result;
    ph_creds_server();
    return ph_statx(dir, name, stx);
}

/* Keeps FD as the descriptor of OBJECT; the one least used goes where there are too many. */
static struct ph_fd *dir_keep(struct ph_posix_store *store, struct ph_object *object, int fd)
{
    struct ph_fd *shared = ph_fd_new(fd), *oldest = NULL, *loser = NULL;
    pthread_mutex_lock(&store->lock);
    struct ph_directory *directory = ph_object_directory(object);
    if (directory->fd != NULL) {
        loser = shared; /* somebody was faster */
        shared = ph_fd_ref(directory->fd);
    } else if (object->listed) {
        directory->fd = ph_fd_ref(shared);
        directory->link.data = directory;
        g_queue_push_tail_link(&store->dirs_lru, &directory->link);
        if (store->dirs_lru.length > store->dirs_max) {
            struct ph_directory *unused = store->dirs_lru.head->data;
            g_queue_unlink(&store->dirs_lru, &unused->link);
            oldest = g_steal_pointer(&unused->fd);
        }
    }
    pthread_mutex_unlock(&store->lock);
    ph_fd_unref(oldest);
    ph_fd_unref(loser);
    return shared;
}

/* A descriptor that is there already: of the directory itself, else of a handle. With the lock held. */
static struct ph_fd *at_hand(struct ph_posix_store *store, struct ph_object *object)
{
    struct ph_directory *directory = object->directory;
    if (directory != NULL && directory->fd != NULL) {
        g_queue_unlink(&store->dirs_lru, &directory->link);
        g_queue_push_tail_link(&store->dirs_lru, &directory->link);
        return ph_fd_ref(directory->fd);
    }
    if (object->handles != NULL)
        return ph_fd_ref(object->handles->fd);
    return object->pin != NULL ? ph_fd_ref(object->pin) : NULL;
}

/* Opens the directory OBJECT as NAME below PARENT and checks that it is the one. */
static uint32_t dir_open(struct ph_posix_store *store, struct ph_object *object, int parent, const char *name,
                         struct ph_fd **out)
{
    struct statx stx;
    ph_creds_server();
    int fd = openat(parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        ph_trouble_note(errno);
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? PH_ST_STALE : ph_store_status(errno);
    struct ph_identity now = {0};
    if (ph_statx(fd, "", &stx) == 0)
        now = ph_identity_of(&stx);
    if (!ph_identity_same(&now, &object->identity)) {
        close(fd);
        return PH_ST_STALE;
    }
    *out = dir_keep(store, object, fd);
    return PH_ST_OK;
}

/* One step on the way to OBJECT: the nearest directory above with a descriptor at
 * hand, and the one below it that has none. False: nothing leads there. */
struct step {
    struct ph_fd *above;      /* of OBJECT itself when TARGET is NULL */
    struct ph_object *target; /* with a reference */
    char name[PH_NAME_MAX_BYTES + 1];
};

static bool step_find(struct ph_posix_store *store, struct ph_object *object, struct step *step)
{
    struct ph_object *below = NULL;
    int depth = 0;
    memset(step, 0, sizeof *step);
    pthread_mutex_lock(&store->lock);
    for (struct ph_object *at = object; at != NULL && depth++ < PH_STORE_DEPTH_MAX;
         below = at, at = at->parent) {
        step->above = at_hand(store, at);
        if (step->above != NULL)
            break;
    }
    if (step->above != NULL && below != NULL) {
        step->target = below;
        below->refs++; /* not idle: it has children, or the caller's reference */
        g_strlcpy(step->name, below->name, sizeof step->name);
    }
    pthread_mutex_unlock(&store->lock);
    return step->above != NULL;
}

uint32_t ph_dir_fd(struct ph_posix_store *store, struct ph_object *object, struct ph_fd **fd)
{
    if (!S_ISDIR(object->type))
        return PH_ST_NOT_DIRECTORY;
    for (int steps = 0; steps < PH_STORE_DEPTH_MAX; steps++) {
        struct step step;
        if (!step_find(store, object, &step))
            return PH_ST_STALE;
        if (step.target == NULL) {
            *fd = step.above;
            return PH_ST_OK;
        }
        struct ph_fd *opened = NULL;
        uint32_t status = dir_open(store, step.target, step.above->fd, step.name, &opened);
        bool arrived = step.target == object;
        ph_fd_unref(step.above);
        ph_object_unref(store, step.target);
        if (status != PH_ST_OK)
            return status;
        if (arrived) {
            *fd = opened;
            return PH_ST_OK;
        }
        ph_fd_unref(opened);
    }
    return PH_ST_STALE;
}

/* Of a file without a name that nobody has open: its link in the hidden directory. */
static uint32_t place_hidden(struct ph_posix_store *store, const struct ph_object *object, bool nameable,
                             struct ph_place *place)
{
    int orphans = ph_orphans_fd(store);
    int fd = orphans >= 0 ? fcntl(orphans, F_DUPFD_CLOEXEC, 0) : -1;
    if (fd < 0) {
        ph_trouble_note(errno);
        return PH_ST_STALE;
    }
    place->dir = ph_fd_new(fd);
    ph_orphan_name(object->id, nameable, place->name);
    return PH_ST_OK;
}

/* Where OBJECT, not a directory, is said to be. */
static uint32_t place_by_name(struct ph_posix_store *store, struct ph_object *object, struct ph_place *place)
{
    struct ph_object *parent = NULL;
    pthread_mutex_lock(&store->lock);
    bool orphan = object->orphan, nameable = object->nameable;
    place->dir = at_hand(store, object);
    if (place->dir == NULL && object->parent != NULL) {
        parent = object->parent;
        parent->refs++; /* not idle: it has a child */
        g_strlcpy(place->name, object->name, sizeof place->name);
    }
    pthread_mutex_unlock(&store->lock);
    if (place->dir != NULL)
        return PH_ST_OK;
    if (parent == NULL)
        return orphan ? place_hidden(store, object, nameable, place) : PH_ST_STALE;
    uint32_t status = ph_dir_fd(store, parent, &place->dir);
    ph_object_unref(store, parent);
    return status;
}

uint32_t ph_object_place(struct ph_posix_store *store, struct ph_object *object, struct ph_place *place,
                         struct statx *stx)
{
    memset(place, 0, sizeof *place);
    uint32_t status =
        S_ISDIR(object->type) ? ph_dir_fd(store, object, &place->dir) : place_by_name(store, object, place);
    if (status != PH_ST_OK)
        return status;
    struct ph_identity now = {0};
    if (statx_or_server(place->dir->fd, place->name, stx) == 0) {
        now = ph_identity_of(stx);
        status = ph_identity_same(&now, &object->identity) ? PH_ST_OK : PH_ST_STALE;
    } else {
        status = errno == ENOENT || errno == ENOTDIR ? PH_ST_STALE : ph_store_status(errno);
    }
    if (status != PH_ST_OK)
        ph_place_clear(place);
    return status;
}

uint32_t ph_object_fd(struct ph_posix_store *store, struct ph_object *object, struct ph_fd **fd)
{
    struct ph_place place;
    struct statx stx;
    uint32_t status = ph_object_place(store, object, &place, &stx);
    if (status != PH_ST_OK)
        return status;
    if (place.name[0] == '\0') {
        *fd = g_steal_pointer(&place.dir);
        return PH_ST_OK;
    }
    int flags = O_PATH | O_NOFOLLOW | O_CLOEXEC;
    int opened = openat(place.dir->fd, place.name, flags);
    if (opened < 0 && errno == EACCES && !ph_creds_is_server()) {
        ph_creds_server();
        opened = openat(place.dir->fd, place.name, flags);
    }
    if (opened < 0)
        ph_trouble_note(errno);
    status = opened >= 0 ? PH_ST_OK : errno == ENOENT ? PH_ST_STALE : ph_store_status(errno);
    ph_place_clear(&place);
    if (opened < 0)
        return status;
    /* Once more: the name may have been given to something else in between. */
    struct ph_identity now = {0};
    if (ph_statx(opened, "", &stx) == 0)
        now = ph_identity_of(&stx);
    if (!ph_identity_same(&now, &object->identity)) {
        close(opened);
        return PH_ST_STALE;
    }
    *fd = ph_fd_new(opened);
    return PH_ST_OK;
}
