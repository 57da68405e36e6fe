/* OPEN: an object under a handle that the client chose. */
#include <errno.h>
#include <unistd.h>

#include "server/store/posix_internal.h"

enum { ACCESS_READ = 1, ACCESS_WRITE = 2, ACCESS_BOTH = 3 };

static uint32_t open_check(struct ph_posix_store *store, const Pohmel__OpenRequest *request,
                           const struct ph_object *object)
{
    if (S_ISDIR(object->type))
        return request->access & ACCESS_WRITE ? PH_ST_IS_DIRECTORY : PH_ST_OK;
    if (request->directory)
        return PH_ST_NOT_DIRECTORY;
    if (S_ISLNK(object->type))
        return PH_ST_LOOP;
    /* Fifos, sockets and devices are those of the machine that opens them. */
    if (!S_ISREG(object->type) || request->access == 0)
        return PH_ST_INVALID;
    return (request->access & ACCESS_WRITE) && store->read_only ? PH_ST_READ_ONLY : PH_ST_OK;
}

/* A program may be run by those who cannot read it; its pages must be read all the same. */
static int open_to_execute(const char *path, int flags)
{
    if (faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) != 0) {
        errno = EACCES;
        return -1;
    }
    ph_creds_server();
    return open(path, flags);
}

/* Who made the file, and has it open elsewhere, is let in with a mode that lets nobody in. */
static int open_again(const char *path, int flags, const Pohmel__OpenRequest *request, int reach)
{
    struct statx stx;
    if (ph_statx(reach, "", &stx) != 0 || !S_ISREG(stx.stx_mode) || stx.stx_uid != request->caller->uid) {
        errno = EACCES;
        return -1;
    }
    ph_creds_server();
    return open(path, flags);
}

static uint32_t open_fd(struct ph_posix_store *store, struct ph_call *call,
                        const Pohmel__OpenRequest *request, struct ph_object *object, int *fd)
{
    struct ph_fd *reach = NULL;
    char path[32];
    uint32_t status = ph_store_become(store, request->caller);
    if (status == PH_ST_OK)
        status = ph_object_fd(store, object, &reach);
    if (status == PH_ST_OK)
        status = ph_store_become(store, request->caller);
    if (status == PH_ST_OK) {
        int flags = O_CLOEXEC | (request->access == ACCESS_BOTH    ? O_RDWR
                                 : request->access == ACCESS_WRITE ? O_WRONLY
                                                                   : O_RDONLY);
        ph_proc_path(reach->fd, path);
        *fd = open(path, flags | (S_ISDIR(object->type) ? O_DIRECTORY : 0));
        if (*fd < 0 && errno == EACCES && request->execute && request->access == ACCESS_READ)
            *fd = open_to_execute(path, flags);
        if (*fd < 0 && errno == EACCES && request->reopen)
            *fd = open_again(path, flags, request, reach->fd);
        if (*fd < 0)
            status = ph_store_errno(call, "open an object");
    }
    ph_fd_unref(reach);
    return status;
}

/* All the data of a small file, where it is wanted and can be had; the opener reads it otherwise. */
static void add_data(struct ph_call *call, const Pohmel__OpenRequest *request, const struct statx *stx,
                     int fd)
{
    size_t wanted = stx->stx_size;
    if (!S_ISREG(stx->stx_mode) || (request->access & ACCESS_READ) == 0 || wanted == 0 ||
        wanted > request->data_max || wanted > PH_SMALL_FILE_MAX_BYTES)
        return;
    struct ph_blob *blob = ph_blob_new(wanted);
    if (blob == NULL)
        return;
    blob->len = wanted;
    if (pread(fd, blob->data, wanted, 0) == (ssize_t) wanted)
        call->payload_out = g_steal_pointer(&blob);
    ph_blob_unref(blob);
}

void ph_posix_add_data(struct ph_posix_store *store, struct ph_call *call,
                       const Pohmel__LookupRequest *lookup, struct ph_object *object)
{
    Pohmel__OpenRequest request = POHMEL__OPEN_REQUEST__INIT;
    const struct ph_fault before = call->fault;
    struct statx stx;
    int fd = -1;
    request.caller = lookup->caller;
    request.access = ACCESS_READ;
    request.data_max = lookup->data_max;
    if (open_fd(store, call, &request, object, &fd) == PH_ST_OK && ph_statx(fd, "", &stx) == 0)
        add_data(call, &request, &stx, fd);
    if (fd >= 0)
        close(fd);
    call->fault = before; /* it is not what was asked for */
}

uint32_t ph_posix_open(void *self, struct ph_call *call, const Pohmel__OpenRequest *request,
                       Pohmel__OpenReply *reply)
{
    struct ph_posix_store *store = self;
    struct ph_handle *open = NULL;
    struct statx stx;
    int fd = -1;
    struct ph_object *object = ph_object_by_id(store, request->object);
    if (object == NULL)
        return ph_store_stale(call, request->object);
    uint32_t access = S_ISDIR(object->type) ? ACCESS_READ : request->access;
    uint32_t status = open_check(store, request, object);
    if (status == PH_ST_OK)
        status = ph_store_handle_check(store, call, request->handle, request->object, &open);
    /* Open already: answered as if just opened. */
    if (status == PH_ST_OK && open == NULL)
        status = open_fd(store, call, request, object, &fd);
    if (status == PH_ST_OK && ph_statx(open != NULL ? open->fd->fd : fd, "", &stx) != 0)
        status = ph_store_errno(call, "look at an object");
    if (status == PH_ST_OK)
        status =
            ph_attr_open(store, call, object, open != NULL ? open->fd->fd : fd, &stx, false, &reply->attr);
    if (status == PH_ST_OK)
        add_data(call, request, &stx, open != NULL ? open->fd->fd : fd);
    reply->closed = status == PH_ST_OK && open == NULL && request->brief && call->payload_out != NULL;
    if (status == PH_ST_OK && open == NULL && !reply->closed)
        status = ph_store_handle_open(store, call, request->handle, object, g_steal_fd(&fd), access);
    if (fd >= 0)
        close(fd);
    ph_store_handle_unref(store, open);
    ph_object_unref(store, object);
    return status;
}
