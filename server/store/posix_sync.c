/* SYNC: data, names and ids that survive the loss of power. */
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/store/posix_internal.h"

/* The directory, with a reference, that is to be made stable for the object's name to be so, which it was
 * given as its *NAMED-th one; NULL where that is stable. What has no data of its own never is by itself. */
static struct ph_object *unstable_name(struct ph_posix_store *store, struct ph_object *object,
                                       uint32_t *named)
{
    struct ph_object *parent = NULL;
    pthread_mutex_lock(&store->lock);
    *named = object->named;
    if (object->named != object->named_stable || !(S_ISREG(object->type) || S_ISDIR(object->type)))
        parent = object->parent;
    if (parent != NULL)
        parent->refs++; /* not idle: it has a child */
    pthread_mutex_unlock(&store->lock);
    return parent;
}

/* That directory was made stable afterwards. */
static void name_is_stable(struct ph_posix_store *store, struct ph_object *object, uint32_t named)
{
    pthread_mutex_lock(&store->lock);
    object->named_stable = named;
    pthread_mutex_unlock(&store->lock);
}

/* One SYNC. */
struct sync {
    struct ph_posix_store *store;
    struct ph_call *call;
    const Pohmel__SyncRequest *request;
    bool begun;      /* the state database knows of it */
    bool rides;      /* what it has for this will be stable with the next fsync */
    uint64_t ticket; /* of the state database */
};

/* The filesystem that an fsync of FD flushes the whole device of, with everything that was written to it
 * before: one with a journal; 0 where that is not known. Files of XFS may have their data on another device.
 */
static dev_t flushed_with(const struct ph_posix_store *store, int fd)
{
    struct stat st;
    if (!store->syncs_in_order || fstat(fd, &st) != 0 || st.st_dev != store->dev || ph_is_realtime(fd))
        return 0;
    return st.st_dev;
}

static void sync_state(struct sync *sync, dev_t flushed)
{
    if (!sync->begun)
        sync->ticket = ph_state_db_sync_begin(sync->store->db, flushed, &sync->rides);
    sync->begun = true;
}

static uint32_t sync_fd(struct sync *sync, int fd)
{
    bool tree = sync->request->tree;
    sync_state(sync, tree ? 0 : flushed_with(sync->store, fd));
    if ((tree ? syncfs(fd) : sync->request->data_only ? fdatasync(fd) : fsync(fd)) != 0)
        return ph_store_errno(sync->call, "make data stable");
    if (sync->rides)
        ph_state_db_sync_rode(sync->store->db, sync->ticket);
    return PH_ST_OK;
}

void ph_sync_all_init(struct ph_posix_store *store)
{
    pthread_mutex_init(&store->sync_all.lock, NULL);
    pthread_cond_init(&store->sync_all.wake, NULL);
    store->sync_all.fd = -1;
}

void ph_sync_all_clear(struct ph_posix_store *store)
{
    if (store->sync_all.fd >= 0)
        close(store->sync_all.fd);
    pthread_cond_destroy(&store->sync_all.wake);
    pthread_mutex_destroy(&store->sync_all.lock);
}

/* All clients ask for this from time to time: whoever comes while one is under way waits for the next, which
 * is for all of them. */
static uint32_t sync_all(struct ph_posix_store *store, struct ph_call *call)
{
    struct ph_sync_all *all = &store->sync_all;
    pthread_mutex_lock(&all->lock);
    uint64_t mine = ++all->wanted;
    while (all->done < mine) {
        if (all->running) {
            pthread_cond_wait(&all->wake, &all->lock);
            continue;
        }
        uint64_t upto = all->wanted;
        all->running = true;
        if (all->fd < 0) {
            ph_creds_server();
            all->fd = openat(store->root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        }
        pthread_mutex_unlock(&all->lock);
        int failed = all->fd < 0 || syncfs(all->fd) != 0 ? errno : 0;
        pthread_mutex_lock(&all->lock);
        all->running = false;
        all->failed = failed;
        all->done = upto;
        pthread_cond_broadcast(&all->wake);
    }
    errno = all->failed;
    pthread_mutex_unlock(&all->lock);
    return errno != 0 ? ph_store_errno(call, "make everything stable") : PH_ST_OK;
}

static uint32_t sync_object(struct sync *sync, struct ph_object *object)
{
    struct ph_fd *reach = NULL;
    char path[32];
    /* What has no data is made stable with the directory that holds it. */
    if (!S_ISREG(object->type) && !S_ISDIR(object->type))
        return PH_ST_OK;
    uint32_t status = ph_object_fd(sync->store, object, &reach);
    if (status != PH_ST_OK)
        return status;
    ph_creds_server();
    ph_proc_path(reach->fd, path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    status = fd >= 0 ? sync_fd(sync, fd) : ph_store_errno(sync->call, "open an object to make it stable");
    if (fd >= 0)
        close(fd);
    ph_fd_unref(reach);
    return status;
}

/* Whether OBJECT, just made stable, took its name along: giving it changed the object, and the journal has an
 * order. */
static bool name_came_along(const struct sync *sync, const struct ph_object *object)
{
    return sync->store->syncs_in_order && !sync->request->data_only &&
           object->identity.dev == sync->store->dev && (S_ISREG(object->type) || S_ISDIR(object->type));
}

/* The names under which OBJECT is reached, as far as they were given since they were made stable last. */
static uint32_t sync_names(struct sync *sync, struct ph_object *object)
{
    struct ph_posix_store *store = sync->store;
    struct ph_object *at = ph_object_ref(store, object);
    uint32_t status = PH_ST_OK;
    for (int depth = 0; at != NULL && depth < PH_STORE_DEPTH_MAX; depth++) {
        uint32_t named;
        struct ph_object *parent = unstable_name(store, at, &named);
        if (parent != NULL && !(at == object && name_came_along(sync, object)))
            status = sync_object(sync, parent);
        if (parent != NULL && status == PH_ST_OK)
            name_is_stable(store, at, named);
        ph_object_unref(store, at);
        at = parent;
        if (status != PH_ST_OK)
            break;
    }
    ph_object_unref(store, at);
    return status;
}

uint32_t ph_posix_sync(void *self, struct ph_call *call, const Pohmel__SyncRequest *request,
                       Pohmel__Nothing *reply)
{
    struct ph_posix_store *store = self;
    struct sync sync = {.store = store, .call = call, .request = request};
    struct ph_handle *handle = NULL;
    struct ph_object *object = NULL;
    uint32_t status;
    if (request->handle != 0) {
        status = ph_store_handle_get(store, call, request->handle, request->object, 0, &handle);
        if (status == PH_ST_OK)
            status = sync_fd(&sync, handle->fd->fd);
    } else if (request->tree && request->object == PH_OBJECT_ROOT) {
        sync_state(&sync, 0);
        status = sync_all(store, call);
    } else {
        object = ph_object_by_id(store, request->object);
        status = object != NULL ? sync_object(&sync, object) : ph_store_stale(call, request->object);
        if (status == PH_ST_OK && !request->tree)
            status = sync_names(&sync, object);
    }
    sync_state(&sync, 0);
    if (status == PH_ST_OK && !ph_state_db_sync_wait(store->db, sync.ticket))
        status = ph_fault_set(&call->fault, PH_ST_IO_ERROR, "the server cannot write its state database");
    ph_store_handle_unref(store, handle);
    ph_object_unref(store, object);
    return status;
}
