/* Attributes: what an object looks like, and changing it. */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "server/store/posix_internal.h"

enum { SET_TIMES = PH_SET_ACCESSED | PH_SET_MODIFIED | PH_SET_ACCESSED_NOW | PH_SET_MODIFIED_NOW };

static uint64_t ctime_ns(const struct statx *stx)
{
    return (uint64_t) stx->stx_ctime.tv_sec * 1000000000u + stx->stx_ctime.tv_nsec;
}

/* Changes of any object that are made, and that attributes seen from now on show. */
static _Atomic uint64_t changes_made;

uint64_t ph_changes_made(void)
{
    return atomic_load(&changes_made);
}

/* Versions follow the change time, and go on by one where it stands still or goes back. What was seen before
 * another change was made does not show it, though its change time may (the kernel moves that first): it gets
 * none of the versions since. Lock held. */
static uint64_t version_seen(struct ph_object *object, const struct statx *stx, bool changed)
{
    uint64_t ctime = ctime_ns(stx);
    bool overtaken = object->changed_at > stx->stx_mnt_id;
    if (changed)
        object->changed_at = atomic_fetch_add(&changes_made, 1) + 1;
    if (overtaken) {
        object->version += changed;
        return PH_VERSION_OVERTAKEN;
    }
    if (object->version == 0 || ctime > object->version)
        object->version = ctime;
    else if (changed || (ctime != object->seen_ctime_ns && ctime != object->version))
        object->version++;
    object->seen_ctime_ns = ctime;
    return object->version;
}

uint64_t ph_object_version(struct ph_posix_store *store, struct ph_object *object, const struct statx *stx,
                           bool changed)
{
    pthread_mutex_lock(&store->lock);
    uint64_t version = version_seen(object, stx, changed);
    pthread_mutex_unlock(&store->lock);
    return version;
}

uint64_t ph_dir_changed(struct ph_posix_store *store, struct ph_object *directory, int fd)
{
    struct statx stx;
    if (ph_statx(fd, "", &stx) != 0)
        return 0;
    pthread_mutex_lock(&store->lock);
    uint64_t version = version_seen(directory, &stx, true);
    ph_space_seen(store, directory, stx.stx_blocks);
    pthread_mutex_unlock(&store->lock);
    return version;
}

static void time_fill(Pohmel__Time *time, const struct statx_timestamp *stamp)
{
    pohmel__time__init(time);
    time->seconds = stamp->tv_sec;
    time->nanoseconds = stamp->tv_nsec;
}

uint32_t ph_attr_fill(struct ph_posix_store *store, struct ph_call *call, struct ph_object *object,
                      const struct statx *stx, bool changed, Pohmel__Attr *attr)
{
    bool born = stx->stx_mask & STATX_BTIME;
    Pohmel__Time *times = ph_arena_alloc0(call->arena, born ? 4 : 3, sizeof *times);
    if (times == NULL)
        return ph_fault_set(&call->fault, PH_ST_NO_MEMORY, "no room left for attributes");
    pthread_mutex_lock(&store->lock);
    attr->version = version_seen(object, stx, changed);
    ph_space_seen(store, object, stx->stx_blocks);
    bool nameless = object->removed;
    pthread_mutex_unlock(&store->lock);
    attr->object = object->id;
    attr->mode = stx->stx_mode;
    /* The link in the hidden directory is not one that people have. */
    attr->links = nameless && stx->stx_nlink > 0 ? stx->stx_nlink - 1 : stx->stx_nlink;
    attr->uid = stx->stx_uid;
    attr->gid = stx->stx_gid;
    attr->size = stx->stx_size;
    attr->blocks = stx->stx_blocks;
    attr->block_size = stx->stx_blksize;
    attr->device = (uint64_t) stx->stx_rdev_major << 32 | stx->stx_rdev_minor;
    time_fill(&times[0], &stx->stx_atime);
    time_fill(&times[1], &stx->stx_mtime);
    time_fill(&times[2], &stx->stx_ctime);
    attr->accessed = &times[0];
    attr->modified = &times[1];
    attr->changed = &times[2];
    if (born) {
        time_fill(&times[3], &stx->stx_btime);
        attr->created = &times[3];
    }
    return PH_ST_OK;
}

/* Whether to look once more after LOOK times. */
static bool is_overtaken(const Pohmel__Attr *attr, int look)
{
    enum { LOOKS_MAX = 8 };
    return attr->version == PH_VERSION_OVERTAKEN && look < LOOKS_MAX;
}

uint32_t ph_attr_open(struct ph_posix_store *store, struct ph_call *call, struct ph_object *object, int fd,
                      const struct statx *stx, bool changed, Pohmel__Attr **attr)
{
    Pohmel__Attr *fresh = ph_arena_alloc(call->arena, sizeof *fresh);
    if (fresh == NULL)
        return ph_fault_set(&call->fault, PH_ST_NO_MEMORY, "no room left for attributes");
    pohmel__attr__init(fresh);
    *attr = fresh;
    if (call->write_back)
        ph_attr_plain(store, object, stx, fd, fresh);
    uint32_t status = ph_attr_fill(store, call, object, stx, changed, fresh);
    for (int look = 0; status == PH_ST_OK && fd >= 0 && is_overtaken(fresh, look); look++) {
        struct statx now;
        if (ph_statx(fd, "", &now) != 0)
            break;
        status = ph_attr_fill(store, call, object, &now, false, fresh);
    }
    return status;
}

uint32_t ph_attr_new(struct ph_posix_store *store, struct ph_call *call, struct ph_object *object,
                     const struct statx *stx, bool changed, Pohmel__Attr **attr)
{
    return ph_attr_open(store, call, object, -1, stx, changed, attr);
}

uint32_t ph_attr_of(struct ph_posix_store *store, struct ph_call *call, struct ph_object *object,
                    bool changed, Pohmel__Attr **attr)
{
    uint32_t status;
    int look = 0;
    do {
        struct ph_place place;
        struct statx stx;
        status = ph_object_place(store, object, &place, &stx);
        if (status != PH_ST_OK)
            return status;
        ph_place_clear(&place);
        status = ph_attr_new(store, call, object, &stx, changed && look == 0, attr);
    } while (status == PH_ST_OK && is_overtaken(*attr, look++));
    return status;
}

uint32_t ph_posix_getattr(void *self, struct ph_call *call, const Pohmel__GetattrRequest *request,
                          Pohmel__GetattrReply *reply)
{
    struct ph_posix_store *store = self;
    struct ph_object *object = ph_object_by_id(store, request->object);
    if (object == NULL)
        return ph_store_stale(call, request->object);
    uint32_t status = ph_attr_of(store, call, object, false, &reply->attr);
    ph_object_unref(store, object);
    return status;
}

uint32_t ph_posix_readlink(void *self, struct ph_call *call, const Pohmel__ReadlinkRequest *request,
                           Pohmel__ReadlinkReply *reply)
{
    struct ph_posix_store *store = self;
    struct ph_object *object = ph_object_by_id(store, request->object);
    if (object == NULL)
        return ph_store_stale(call, request->object);
    struct ph_fd *fd = NULL;
    struct statx stx;
    uint32_t status = S_ISLNK(object->type) ? ph_object_fd(store, object, &fd) : PH_ST_INVALID;
    struct ph_blob *blob = status == PH_ST_OK ? ph_blob_new(PH_TARGET_MAX_BYTES + 1) : NULL;
    if (status == PH_ST_OK && blob == NULL)
        status = PH_ST_NO_MEMORY;
    if (blob != NULL) {
        bool seen = ph_statx(fd->fd, "", &stx) == 0;
        ssize_t len = seen ? readlinkat(fd->fd, "", (char *) blob->data, blob->capacity) : -1;
        if (len < 0) {
            status = ph_store_errno(call, "read the link");
        } else {
            blob->len = (size_t) len;
            reply->version = ph_object_version(store, object, &stx, false);
            call->payload_out = g_steal_pointer(&blob);
        }
    }
    ph_blob_unref(blob);
    ph_fd_unref(fd);
    ph_object_unref(store, object);
    return status;
}

uint32_t ph_posix_access(void *self, struct ph_call *call, const Pohmel__AccessRequest *request,
                         Pohmel__Nothing *reply)
{
    struct ph_posix_store *store = self;
    struct ph_object *object = ph_object_by_id(store, request->object);
    if (object == NULL)
        return ph_store_stale(call, request->object);
    struct ph_fd *fd = NULL;
    char path[32];
    uint32_t status = ph_object_fd(store, object, &fd);
    if (status == PH_ST_OK)
        status = ph_store_become(store, request->caller);
    if (status == PH_ST_OK && (request->mask & W_OK) && store->read_only &&
        (S_ISREG(object->type) || S_ISDIR(object->type) || S_ISLNK(object->type)))
        status = PH_ST_READ_ONLY;
    if (status == PH_ST_OK && !S_ISLNK(object->type)) {
        ph_proc_path(fd->fd, path);
        if (faccessat(AT_FDCWD, path, (int) request->mask, AT_EACCESS) != 0)
            status = ph_store_errno(call, "check permissions");
    }
    ph_fd_unref(fd);
    ph_object_unref(store, object);
    return status;
}

void ph_kill_privileges(int fd)
{
    struct statx stx;
    char path[32];
    if (ph_statx(fd, "", &stx) != 0 || !S_ISREG(stx.stx_mode))
        return;
    ph_creds_server();
    ph_proc_path(fd, path);
    mode_t mode = stx.stx_mode & ~(mode_t) S_ISUID;
    if (mode & S_IXGRP)
        mode &= ~(mode_t) S_ISGID;
    if (mode != stx.stx_mode)
        chmod(path, mode & 07777);
    removexattr(path, "security.capability");
}

static struct timespec time_wanted(uint32_t which, uint32_t set, uint32_t now, const Pohmel__Time *time)
{
    struct timespec wanted = {.tv_nsec = UTIME_OMIT};
    if (which & now)
        wanted.tv_nsec = UTIME_NOW;
    else if ((which & set) && time != NULL)
        wanted = (struct timespec){.tv_sec = time->seconds, .tv_nsec = time->nanoseconds};
    return wanted;
}

static bool set_times(const Pohmel__SetattrRequest *request, int fd)
{
    struct timespec times[2] = {
        time_wanted(request->which, PH_SET_ACCESSED, PH_SET_ACCESSED_NOW, request->accessed),
        time_wanted(request->which, PH_SET_MODIFIED, PH_SET_MODIFIED_NOW, request->modified),
    };
    if (utimensat(fd, "", times, AT_EMPTY_PATH) == 0)
        return true;
    /* Who may cut the file may have its times set to now, as truncate(2) does by itself. */
    bool implied = (request->which & PH_SET_SIZE) && !(request->which & (PH_SET_ACCESSED | PH_SET_MODIFIED));
    if (!implied || (errno != EPERM && errno != EACCES))
        return false;
    ph_creds_server();
    return utimensat(fd, "", times, AT_EMPTY_PATH) == 0;
}

static bool set_owner(const Pohmel__SetattrRequest *request, int fd)
{
    uid_t uid = request->which & PH_SET_UID ? request->uid : (uid_t) -1;
    gid_t gid = request->which & PH_SET_GID ? request->gid : (gid_t) -1;
    return fchownat(fd, "", uid, gid, AT_EMPTY_PATH) == 0;
}

/* Whether the set-id bits may go: with the owner just changed, or as by a write of the caller. */
static bool may_kill(const Pohmel__SetattrRequest *request, const char *path, const struct ph_handle *handle)
{
    bool owner = ((request->which & PH_SET_UID) && request->uid != (uid_t) -1) ||
                 ((request->which & PH_SET_GID) && request->gid != (gid_t) -1);
    return owner || handle != NULL || faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) == 0;
}

/* In the order in which a local kernel does it; each step as the caller. */
uint32_t ph_attr_set(struct ph_posix_store *store, struct ph_call *call,
                     const Pohmel__SetattrRequest *request, int fd, const struct ph_handle *handle)
{
    char path[32];
    uint32_t which = request->which;
    uint32_t status = ph_store_become(store, request->caller);
    if (status != PH_ST_OK)
        return status;
    ph_proc_path(fd, path);
    /* Nothing at all is a chown that keeps both owners, which counts as a change; or it announces
     * a write by somebody else than the owner, which clears the set-id bits itself. */
    if ((which == 0 || (which & (PH_SET_UID | PH_SET_GID))) && !set_owner(request, fd) &&
        (which != 0 || errno != EPERM))
        return ph_store_errno(call, "change the owner");
    if (which & PH_SET_KILL_PRIVILEGES) {
        if (!may_kill(request, path, handle))
            return ph_store_errno(call, "clear set-id bits");
        ph_kill_privileges(fd);
        status = ph_store_become(store, request->caller);
    }
    if (status == PH_ST_OK && (which & PH_SET_MODE) && chmod(path, request->mode) != 0)
        return ph_store_errno(call, "change the mode");
    if (status == PH_ST_OK && (which & PH_SET_SIZE)) {
        int failed = handle != NULL ? ftruncate(handle->fd->fd, (off_t) request->size)
                                    : truncate(path, (off_t) request->size);
        if (failed)
            return ph_store_errno(call, "change the size");
    }
    if (status == PH_ST_OK && (which & SET_TIMES) && !set_times(request, fd))
        return ph_store_errno(call, "change the times");
    return status;
}

/* With a limit on the export, a file may not be made larger than what is left. */
static uint32_t setattr_size_check(struct ph_posix_store *store, struct ph_call *call,
                                   const Pohmel__SetattrRequest *request, const struct ph_object *object,
                                   int fd)
{
    struct statx stx;
    if (!(request->which & PH_SET_SIZE))
        return PH_ST_OK;
    if (!S_ISREG(object->type))
        return S_ISDIR(object->type) ? PH_ST_IS_DIRECTORY : PH_ST_INVALID;
    if (store->size_limit == 0 || ph_statx(fd, "", &stx) != 0 || request->size <= stx.stx_size)
        return PH_ST_OK;
    return ph_space_check(store, call, request->size - stx.stx_size);
}

uint32_t ph_posix_setattr(void *self, struct ph_call *call, const Pohmel__SetattrRequest *request,
                          Pohmel__AttrResult *result)
{
    struct ph_posix_store *store = self;
    struct ph_object *object = ph_object_by_id(store, request->object);
    if (object == NULL)
        return ph_store_stale(call, request->object);
    struct ph_handle *handle = NULL;
    struct ph_fd *fd = NULL;
    uint32_t status = ph_store_check_writable(store, call);
    if (status == PH_ST_OK && request->handle != 0 && (request->which & PH_SET_SIZE))
        status = ph_store_handle_get(store, call, request->handle, request->object, 2, &handle);
    if (status == PH_ST_OK) {
        status = ph_store_become(store, request->caller);
        if (status == PH_ST_OK)
            status = ph_object_fd(store, object, &fd);
    }
    if (status == PH_ST_OK)
        status = setattr_size_check(store, call, request, object, fd->fd);
    if (status == PH_ST_OK)
        status = ph_attr_set(store, call, request, fd->fd, handle);
    if (status == PH_ST_OK)
        status = ph_attr_of(store, call, object, true, &result->attr);
    ph_fd_unref(fd);
    ph_store_handle_unref(store, handle);
    ph_object_unref(store, object);
    return status;
}
