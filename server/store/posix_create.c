/* Making objects, under the ids that their makers chose. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "server/store/posix_internal.h"

enum { ACCESS_READ = 1, ACCESS_WRITE = 2, ACCESS_BOTH = 3, CREATE_ATTEMPTS = 4 };
enum { OBJECT_BYTES = 4096 }; /* that a new object takes of a quota: as much as clients reckon with */

static int access_flags(uint32_t access)
{
    return access == ACCESS_BOTH ? O_RDWR : access == ACCESS_WRITE ? O_WRONLY : O_RDONLY;
}

static void making_begin(struct ph_posix_store *store, const struct ph_named *named)
{
    pthread_rwlock_rdlock(&store->making[named->parent->id % G_N_ELEMENTS(store->making)]);
}

static void making_end(struct ph_posix_store *store, const struct ph_named *named)
{
    pthread_rwlock_unlock(&store->making[named->parent->id % G_N_ELEMENTS(store->making)]);
}

/* OBJECT is to be made by CALLER, with LEN bytes of content. SURVIVOR not 0: it was before. */
static uint32_t make_check(struct ph_posix_store *store, struct ph_call *call, uint64_t object,
                           uint64_t survivor, const Pohmel__Caller *caller, uint64_t len)
{
    uint32_t status = ph_state_check(store, call);
    if (status == PH_ST_OK)
        status = ph_ids_check(store, call, object, 1, survivor != 0 && ph_id_is_vacant(store, object));
    if (status == PH_ST_OK)
        status = ph_space_check(store, call, len);
    return status == PH_ST_OK ? ph_quota_check(store, call, caller->uid, caller->gid, OBJECT_BYTES + len, 1)
                              : status;
}

/* ---- CREATE ---- */

/* Enters the file just made; what cannot be entered is taken away again. */
static struct ph_object *created_enter(struct ph_posix_store *store, const struct ph_named *named, int fd,
                                       uint64_t id, struct statx *stx)
{
    struct ph_object *object = NULL;
    if (ph_statx(fd, "", stx) == 0)
        object = ph_object_made(store, named->parent, named->name, stx, id);
    if (object == NULL)
        unlinkat(named->dir->fd, named->name, 0);
    return object;
}

/* What a new file is to have besides its name. */
struct content {
    const uint8_t *bytes;
    size_t len;
    const Pohmel__NewAttributes *attributes; /* NULL for none */
};

/* Takes the request's bytes out of the payload. */
static uint32_t content_take(struct ph_call *call, const Pohmel__CreateRequest *request,
                             struct content *content)
{
    *content = (struct content){.len = request->length, .attributes = request->attributes};
    if ((request->length > 0 || request->attributes != NULL) && !request->exclusive)
        return ph_fault_set(&call->fault, PH_ST_INVALID, "only a file that is made can be given content");
    content->bytes = ph_call_take_payload(call, request->length);
    return content->bytes != NULL ? PH_ST_OK
                                  : ph_fault_set(&call->fault, PH_ST_MALFORMED,
                                                 "the payload is shorter than the commands of the "
                                                 "transaction say");
}

static bool write_all(int fd, const uint8_t *bytes, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t got = pwrite(fd, bytes + done, len - done, (off_t) done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got == 0)
            errno = ENOSPC;
        if (got <= 0)
            return false;
        done += (size_t) got;
    }
    return true;
}

/* Gives the new file its content, as CALLER. */
static uint32_t content_put(struct ph_posix_store *store, struct ph_call *call, Pohmel__Caller *caller,
                            const struct content *content, int fd)
{
    const Pohmel__NewAttributes *attributes = content->attributes;
    Pohmel__SetattrRequest set = POHMEL__SETATTR_REQUEST__INIT;
    uint32_t status = ph_store_become(store, caller);
    if (status != PH_ST_OK)
        return status;
    if (!write_all(fd, content->bytes, content->len))
        return ph_store_errno(call, "write the data of a new file");
    if (attributes == NULL || attributes->which == 0)
        return PH_ST_OK;
    set.caller = caller;
    set.which = attributes->which;
    set.mode = attributes->mode;
    set.uid = attributes->uid;
    set.gid = attributes->gid;
    set.accessed = attributes->accessed;
    set.modified = attributes->modified;
    return ph_attr_set(store, call, &set, fd, NULL);
}

/* The file that was made is not to be after all. What has its name by now stays. */
static void take_back(struct ph_posix_store *store, const struct ph_named *named, struct ph_object *object)
{
    struct statx stx;
    ph_creds_server();
    if (ph_statx(named->dir->fd, named->name, &stx) == 0) {
        struct ph_identity there = ph_identity_of(&stx);
        if (ph_identity_same(&there, &object->identity))
            unlinkat(named->dir->fd, named->name, 0);
    }
    ph_object_removed(store, object, false, NULL);
    ph_dir_changed(store, named->parent, named->dir->fd);
}

static int new_file_flags(const Pohmel__CreateRequest *request)
{
    uint32_t access = request->access;
    if (request->length > 0)
        access |= access & ACCESS_READ ? ACCESS_BOTH : ACCESS_WRITE;
    return O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | access_flags(access);
}

static uint32_t create_new(struct ph_posix_store *store, struct ph_call *call,
                           const Pohmel__CreateRequest *request, const struct ph_named *named,
                           const struct content *content, Pohmel__CreateResult *result)
{
    struct statx stx;
    struct ph_object *object = NULL;
    uint32_t status = PH_ST_OK;
    mode_t mode = ph_creds_umask(request->mode, request->umask);
    making_begin(store, named);
    int fd = openat(named->dir->fd, named->name, new_file_flags(request), mode);
    if (fd < 0)
        status = errno == EEXIST ? PH_ST_EXISTS : ph_store_errno(call, "make a file");
    else if ((object = created_enter(store, named, fd, request->object, &stx)) == NULL)
        status = ph_fault_set(&call->fault, PH_ST_NO_OBJECTS, "the new file could not be entered");
    making_end(store, named);
    if (object != NULL) {
        ph_dir_changed(store, named->parent, named->dir->fd);
        status = content_put(store, call, request->caller, content, fd);
        if (status == PH_ST_OK && ph_statx(fd, "", &stx) != 0)
            status = ph_store_errno(call, "look at a new file");
        if (status == PH_ST_OK)
            status = ph_attr_open(store, call, object, fd, &stx, true, &result->attr);
        if (status == PH_ST_OK && request->handle != 0)
            status =
                ph_store_handle_open(store, call, request->handle, object, g_steal_fd(&fd), request->access);
        result->created = status == PH_ST_OK;
        if (status != PH_ST_OK)
            take_back(store, named, object);
    }
    if (fd >= 0)
        close(fd);
    ph_object_unref(store, object);
    return status;
}

/* Opens the file PATH_FD as open(2) with O_CREAT does with one that is there. */
static uint32_t existing_open(struct ph_posix_store *store, struct ph_call *call,
                              const Pohmel__CreateRequest *request, struct ph_object *object, int path_fd)
{
    char path[32];
    if (request->handle == 0 && request->access == 0 && !request->truncate)
        return PH_ST_OK;
    uint32_t status = ph_store_become(store, request->caller);
    if (status != PH_ST_OK)
        return status;
    ph_proc_path(path_fd, path);
    int fd = open(path, access_flags(request->access) | (request->truncate ? O_TRUNC : 0) | O_CLOEXEC);
    if (fd < 0)
        return ph_store_errno(call, "open a file");
    if (request->handle != 0)
        return ph_store_handle_open(store, call, request->handle, object, fd, request->access);
    close(fd);
    return PH_ST_OK;
}

static uint32_t create_existing(struct ph_posix_store *store, struct ph_call *call,
                                const Pohmel__CreateRequest *request, const struct ph_named *named,
                                Pohmel__CreateResult *result)
{
    struct statx stx;
    int fd = openat(named->dir->fd, named->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || ph_statx(fd, "", &stx) != 0) {
        uint32_t status = ph_store_errno(call, "look a name up");
        if (fd >= 0)
            close(fd);
        return status;
    }
    struct ph_object *object = NULL;
    uint32_t status = S_ISDIR(stx.stx_mode)   ? PH_ST_IS_DIRECTORY
                      : S_ISLNK(stx.stx_mode) ? PH_ST_LOOP
                      : S_ISREG(stx.stx_mode) ? PH_ST_OK
                                              : PH_ST_INVALID;
    if (status == PH_ST_OK && (object = ph_object_found(store, named->parent, named->name, &stx)) == NULL)
        status = PH_ST_NO_OBJECTS;
    if (status == PH_ST_OK)
        status = existing_open(store, call, request, object, fd);
    if (status == PH_ST_OK && ph_statx(fd, "", &stx) != 0)
        status = ph_store_errno(call, "look at a file");
    if (status == PH_ST_OK)
        status = ph_attr_new(store, call, object, &stx, request->truncate, &result->attr);
    close(fd);
    ph_object_unref(store, object);
    return status;
}

/* The name that is taken is that of the object which was to be made, under the id that only its maker knows:
 * a server that was killed made it and could not say so. False: it is another one. */
static bool made_before(struct ph_posix_store *store, struct ph_call *call, const struct ph_named *named,
                        uint64_t id, uint32_t type, Pohmel__Attr **attr)
{
    struct statx stx;
    struct ph_object *object = ph_object_by_id(store, id);
    bool same = false;
    if (object != NULL && ph_statx(named->dir->fd, named->name, &stx) == 0) {
        struct ph_identity there = ph_identity_of(&stx);
        same = ph_identity_same(&there, &object->identity) && (stx.stx_mode & S_IFMT) == type &&
               ph_attr_new(store, call, object, &stx, false, attr) == PH_ST_OK;
    }
    ph_object_unref(store, object);
    return same;
}

/* The same of a file, which its owner may open again as he made it. */
static uint32_t created_before(struct ph_posix_store *store, struct ph_call *call,
                               const Pohmel__CreateRequest *request, const struct ph_named *named,
                               Pohmel__CreateResult *result)
{
    struct ph_object *object = NULL;
    struct ph_fd *reach = NULL;
    if (!made_before(store, call, named, request->object, S_IFREG, &result->attr))
        return PH_ST_INVALID;
    object = ph_object_by_id(store, request->object);
    uint32_t status = object != NULL ? ph_object_fd(store, object, &reach) : PH_ST_STALE;
    if (status == PH_ST_OK)
        status = existing_open(store, call, request, object, reach->fd);
    if (status == PH_ST_OK)
        call->fault = (struct ph_fault){0};
    result->created = status == PH_ST_OK;
    ph_fd_unref(reach);
    ph_object_unref(store, object);
    return status;
}

static uint32_t create_named(struct ph_posix_store *store, struct ph_call *call,
                             const Pohmel__CreateRequest *request, const struct ph_named *named,
                             Pohmel__CreateResult *result)
{
    struct ph_handle *open = NULL;
    struct content content;
    uint32_t status = content_take(call, request, &content);
    if (status == PH_ST_OK)
        status = make_check(store, call, request->object, request->exclusive ? request->survivor : 0,
                            request->caller, content.len);
    if (status == PH_ST_INVALID && created_before(store, call, request, named, result) == PH_ST_OK)
        return PH_ST_OK;
    if ((status == PH_ST_NO_SPACE || status == PH_ST_QUOTA) &&
        !request->exclusive) /* what is there may still be opened */
        return create_existing(store, call, request, named, result) == PH_ST_OK ? PH_ST_OK : status;
    if (status == PH_ST_OK && request->handle != 0)
        status = ph_store_handle_check(store, call, request->handle, 0, &open);
    for (int attempt = 0; status == PH_ST_OK && attempt < CREATE_ATTEMPTS; attempt++) {
        status = ph_store_become(store, request->caller);
        if (status == PH_ST_OK)
            status = create_new(store, call, request, named, &content, result);
        if (status != PH_ST_EXISTS || request->exclusive)
            break;
        status = create_existing(store, call, request, named, result);
        if (status != PH_ST_NOT_FOUND)
            break;
        /* Removed in between: it can be made now. */
        call->fault = (struct ph_fault){0};
        status = PH_ST_OK;
    }
    if (status == PH_ST_EXISTS && request->exclusive && request->survivor != 0 &&
        ph_object_adopt(store, named, request->object, S_IFREG, request->survivor))
        return created_before(store, call, request, named, result);
    return status == PH_ST_OK && result->attr == NULL ? PH_ST_BUSY : status;
}

uint32_t ph_posix_create(void *self, struct ph_call *call, const Pohmel__CreateRequest *request,
                         Pohmel__CreateResult *result)
{
    struct ph_posix_store *store = self;
    struct ph_named named;
    uint32_t status = ph_named_begin(store, call, request->caller, request->parent, &request->name,
                                     PH_ST_NOT_PERMITTED, &named);
    if (status == PH_ST_OK)
        status = create_named(store, call, request, &named, result);
    ph_named_end(store, &named);
    return status;
}

/* ---- MKDIR, SYMLINK, MKNOD ---- */

/* What is to be made, and how. */
struct making {
    uint64_t object;
    uint32_t mode, umask;
    uint64_t survivor;
    const char *target; /* symlink */
    dev_t device;
};

static int make_one(const struct ph_named *named, const struct making *making, mode_t mode)
{
    if (making->target != NULL)
        return symlinkat(making->target, named->dir->fd, named->name);
    if (S_ISDIR(making->mode))
        return mkdirat(named->dir->fd, named->name, mode & 07777);
    return mknodat(named->dir->fd, named->name, mode, making->device);
}

static uint32_t make_named(struct ph_posix_store *store, struct ph_call *call, const Pohmel__Caller *caller,
                           const struct ph_named *named, const struct making *making,
                           Pohmel__AttrResult *result)
{
    struct statx stx;
    struct ph_object *object = NULL;
    uint32_t status = make_check(store, call, making->object, making->survivor, caller, 0);
    if (status == PH_ST_INVALID &&
        made_before(store, call, named, making->object, making->mode & S_IFMT, &result->attr)) {
        call->fault = (struct ph_fault){0};
        return PH_ST_OK;
    }
    if (status == PH_ST_OK)
        status = ph_store_become(store, caller);
    if (status != PH_ST_OK)
        return status;
    mode_t mode = ph_creds_umask(making->mode, making->umask);
    making_begin(store, named);
    if (make_one(named, making, mode) != 0 || ph_statx(named->dir->fd, named->name, &stx) != 0)
        status = ph_store_errno(call, "make an object");
    else
        object = ph_object_made(store, named->parent, named->name, &stx, making->object);
    making_end(store, named);
    if (status == PH_ST_EXISTS && making->survivor != 0 &&
        ph_object_adopt(store, named, making->object, making->mode & S_IFMT, making->survivor) &&
        made_before(store, call, named, making->object, making->mode & S_IFMT, &result->attr)) {
        call->fault = (struct ph_fault){0};
        return PH_ST_OK;
    }
    if (status == PH_ST_OK && object == NULL) {
        unlinkat(named->dir->fd, named->name, S_ISDIR(making->mode) ? AT_REMOVEDIR : 0);
        status = ph_fault_set(&call->fault, PH_ST_NO_OBJECTS, "the new object could not be entered");
    }
    if (status == PH_ST_OK) {
        ph_dir_changed(store, named->parent, named->dir->fd);
        status = ph_attr_new(store, call, object, &stx, true, &result->attr);
    }
    ph_object_unref(store, object);
    return status;
}

static uint32_t make(struct ph_posix_store *store, struct ph_call *call, const Pohmel__Caller *caller,
                     uint64_t parent, const ProtobufCBinaryData *name, const struct making *making,
                     Pohmel__AttrResult *result)
{
    struct ph_named named;
    uint32_t status = ph_named_begin(store, call, caller, parent, name, PH_ST_NOT_PERMITTED, &named);
    if (status == PH_ST_OK)
        status = make_named(store, call, caller, &named, making, result);
    ph_named_end(store, &named);
    return status;
}

uint32_t ph_posix_mkdir(void *self, struct ph_call *call, const Pohmel__MkdirRequest *request,
                        Pohmel__AttrResult *result)
{
    struct making making = {.object = request->object,
                            .mode = S_IFDIR | request->mode,
                            .umask = request->umask,
                            .survivor = request->survivor};
    return make(self, call, request->caller, request->parent, &request->name, &making, result);
}

uint32_t ph_posix_symlink(void *self, struct ph_call *call, const Pohmel__SymlinkRequest *request,
                          Pohmel__AttrResult *result)
{
    char target[PH_TARGET_MAX_BYTES + 1];
    if (request->target.len > PH_TARGET_MAX_BYTES)
        return PH_ST_NAME_TOO_LONG;
    memcpy(target, request->target.data, request->target.len);
    target[request->target.len] = '\0';
    struct making making = {
        .object = request->object, .mode = S_IFLNK, .target = target, .survivor = request->survivor};
    return make(self, call, request->caller, request->parent, &request->name, &making, result);
}

uint32_t ph_posix_mknod(void *self, struct ph_call *call, const Pohmel__MknodRequest *request,
                        Pohmel__AttrResult *result)
{
    struct making making = {.object = request->object,
                            .mode = request->mode,
                            .umask = request->umask,
                            .survivor = request->survivor,
                            .device = makedev(request->device >> 32, request->device & UINT32_MAX)};
    switch (request->mode & S_IFMT) {
    case S_IFIFO:
    case S_IFSOCK:
    case S_IFCHR:
    case S_IFBLK:
    case S_IFREG:
        return make(self, call, request->caller, request->parent, &request->name, &making, result);
    default:
        return ph_fault_set(&call->fault, PH_ST_INVALID,
                            "mode %o is not a fifo, a socket, a device or a file", request->mode);
    }
}

/* ---- TMPFILE ---- */

static uint32_t tmpfile_below(struct ph_posix_store *store, struct ph_call *call,
                              const Pohmel__TmpfileRequest *request, struct ph_fd *dir,
                              Pohmel__AttrResult *result)
{
    struct statx stx;
    mode_t mode = ph_creds_umask(request->mode, request->umask);
    /* That it is given no name where it is exclusive is seen to by LINK: it has a link where nobody sees it.
     */
    int fd = openat(dir->fd, ".", O_TMPFILE | O_CLOEXEC | access_flags(request->access), mode);
    if (fd < 0)
        return errno == EISDIR || errno == ENOENT ? PH_ST_UNSUPPORTED
                                                  : ph_store_errno(call, "make a file without a name");
    bool hidden = ph_orphan_link(store, request->object, fd, !request->exclusive);
    uint32_t status = ph_statx(fd, "", &stx) == 0 ? PH_ST_OK : ph_store_errno(call, "look at a file");
    struct ph_object *object =
        status == PH_ST_OK ? ph_object_made(store, NULL, NULL, &stx, request->object) : NULL;
    if (object == NULL) {
        if (hidden)
            ph_orphan_unlink(store, request->object);
        close(fd);
        return status != PH_ST_OK
                   ? status
                   : ph_fault_set(&call->fault, PH_ST_NO_OBJECTS, "the new file could not be entered");
    }
    pthread_mutex_lock(&store->lock);
    object->orphan = hidden;
    object->nameable = !request->exclusive;
    pthread_mutex_unlock(&store->lock);
    status = ph_attr_new(store, call, object, &stx, true, &result->attr);
    if (status == PH_ST_OK)
        status = ph_store_handle_open(store, call, request->handle, object, g_steal_fd(&fd), request->access);
    if (status != PH_ST_OK) {
        if (fd >= 0)
            close(fd);
        if (hidden)
            ph_orphan_unlink(store, object->id);
        ph_object_removed(store, object, false, NULL);
    }
    ph_object_unref(store, object);
    return status;
}

uint32_t ph_posix_tmpfile(void *self, struct ph_call *call, const Pohmel__TmpfileRequest *request,
                          Pohmel__AttrResult *result)
{
    struct ph_posix_store *store = self;
    struct ph_handle *open = NULL;
    struct ph_fd *dir = NULL;
    uint32_t status = ph_store_check_writable(store, call);
    if (status == PH_ST_OK && !(request->access & ACCESS_WRITE))
        status = ph_fault_set(&call->fault, PH_ST_INVALID, "a file without a name is opened to write");
    struct ph_object *parent = status == PH_ST_OK ? ph_object_by_id(store, request->parent) : NULL;
    if (status == PH_ST_OK && parent == NULL)
        status = ph_store_stale(call, request->parent);
    if (status == PH_ST_OK)
        status = ph_dir_fd(store, parent, &dir);
    if (status == PH_ST_OK)
        status = make_check(store, call, request->object, 0, request->caller, 0);
    if (status == PH_ST_OK)
        status = ph_store_handle_check(store, call, request->handle, 0, &open);
    if (status == PH_ST_OK)
        status = ph_store_become(store, request->caller);
    if (status == PH_ST_OK)
        status = tmpfile_below(store, call, request, dir, result);
    ph_fd_unref(dir);
    ph_object_unref(store, parent);
    return status;
}
