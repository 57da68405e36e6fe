/* Data of files: READ, SEEK, WRITE, ALLOCATE, COPY. All go through open
 * handles; permission was checked when they were opened. */
#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include <linux/falloc.h>

#include "server/store/posix_internal.h"

enum {
    ACCESS_READ = 1,
    ACCESS_WRITE = 2,
    STABLE_DATA = 1 << 0,
    STABLE_ALL = 1 << 1,
    ALLOCATE_KEEP_SIZE = 1 << 0,
    ALLOCATE_PUNCH = 1 << 1,
    ALLOCATE_ZERO = 1 << 2,
    COPY_STEP_BYTES = 64 * 1024 * 1024, /* of one command; the client asks again for more */
    COPY_BUFFER_BYTES = 256 * 1024,
};

uint32_t ph_posix_read(void *self, struct ph_call *call, const Pohmel__ReadRequest *request,
                       Pohmel__ReadReply *reply)
{
    struct ph_posix_store *store = self;
    struct ph_handle *handle;
    struct stat st = {0};
    uint32_t status =
        ph_store_handle_get(store, call, request->handle, request->object, ACCESS_READ, &handle);
    if (status != PH_ST_OK)
        return status;
    size_t wanted = MIN(request->length, (uint32_t) PH_PAYLOAD_MAX_BYTES), have = 0;
    if (fstat(handle->fd->fd, &st) != 0)
        status = ph_store_errno(call, "read");
    uint64_t size = status == PH_ST_OK ? (uint64_t) st.st_size : 0;
    if (S_ISREG(st.st_mode))
        wanted = request->offset >= size ? 0 : MIN((uint64_t) wanted, size - request->offset);
    struct ph_blob *blob = wanted > 0 && status == PH_ST_OK ? ph_blob_new(wanted) : NULL;
    if (wanted > 0 && blob == NULL && status == PH_ST_OK)
        status = ph_fault_set(&call->fault, PH_ST_NO_MEMORY, "no memory for %zu bytes", wanted);
    while (blob != NULL && have < wanted) {
        ssize_t got =
            pread(handle->fd->fd, blob->data + have, wanted - have, (off_t) (request->offset + have));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && have == 0)
            status = ph_store_errno(call, "read");
        if (got <= 0)
            break;
        have += (size_t) got;
    }
    if (blob != NULL)
        blob->len = have;
    if (status == PH_ST_OK && have > 0)
        call->payload_out = g_steal_pointer(&blob);
    reply->end = have < request->length;
    ph_blob_unref(blob);
    ph_store_handle_unref(store, handle);
    return status;
}

uint32_t ph_posix_seek(void *self, struct ph_call *call, const Pohmel__SeekRequest *request,
                       Pohmel__SeekReply *reply)
{
    struct ph_posix_store *store = self;
    struct ph_handle *handle;
    uint32_t status = ph_store_handle_get(store, call, request->handle, request->object, 0, &handle);
    if (status != PH_ST_OK)
        return status;
    pthread_mutex_lock(&handle->position_lock);
    off_t found = S_ISREG(handle->object->type)
                      ? lseek(handle->fd->fd, (off_t) request->offset, request->hole ? SEEK_HOLE : SEEK_DATA)
                      : (errno = EINVAL, (off_t) -1);
    if (found < 0)
        status = ph_store_errno(call, "look for data");
    pthread_mutex_unlock(&handle->position_lock);
    reply->offset = found < 0 ? 0 : (uint64_t) found;
    ph_store_handle_unref(store, handle);
    return status;
}

/* ---- WRITE ---- */

/* The descriptor's own position is used by appends only, under its lock: the kernel leaves it behind the
 * bytes, whoever else appends. Where the end was is noted before. */
static ssize_t append_bytes(struct ph_posix_store *store, struct ph_call *call, struct ph_handle *handle,
                            struct iovec part, int flags, uint64_t *offset)
{
    pthread_mutex_t *appending = &store->appending[handle->object->id % G_N_ELEMENTS(store->appending)];
    struct stat st;
    pthread_mutex_lock(appending);
    pthread_mutex_lock(&handle->position_lock);
    if (call->record != NULL && fstat(handle->fd->fd, &st) == 0)
        ph_store_journal_note(store, call, NULL, NULL, (uint64_t) st.st_size);
    ssize_t got = pwritev2(handle->fd->fd, &part, 1, -1, flags | RWF_APPEND);
    int failed = errno;
    off_t behind = lseek(handle->fd->fd, 0, SEEK_CUR);
    pthread_mutex_unlock(&handle->position_lock);
    pthread_mutex_unlock(appending);
    errno = failed;
    *offset = got > 0 && behind >= got ? (uint64_t) (behind - got) : 0;
    return got;
}

/* One write at OFFSET or, appending, wherever the end is; *OFFSET tells where it went. */
static ssize_t write_bytes(struct ph_posix_store *store, struct ph_call *call, struct ph_handle *handle,
                           const Pohmel__WriteRequest *request, const uint8_t *bytes, uint64_t *offset)
{
    int flags = request->stable & STABLE_ALL ? RWF_SYNC : request->stable & STABLE_DATA ? RWF_DSYNC : 0;
    size_t len = request->length, done = 0;
    struct iovec part = {(void *) bytes, len};
    if (request->append)
        return append_bytes(store, call, handle, part, flags, offset);
    *offset = request->offset;
    while (done < len) {
        part = (struct iovec){(void *) (bytes + done), len - done};
        ssize_t got = pwritev2(handle->fd->fd, &part, 1, (off_t) (request->offset + done), flags);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return done > 0 ? (ssize_t) done : got;
        done += (size_t) got;
    }
    return (ssize_t) done;
}

/* Whether this write, as the thread now is, would leave set-id bits that it must clear. */
static bool kill_by_hand(const struct ph_posix_store *store, const Pohmel__Caller *caller)
{
    return store->acts_as_caller ? caller->uid == 0 : geteuid() == 0;
}

/* Under whose ids the kernel is to see the write: its caller's where set-id bits
 * are to go, else the server's, which leaves them. */
static uint32_t write_identity(struct ph_posix_store *store, const Pohmel__WriteRequest *request, int fd)
{
    if (!request->kill_privileges || request->laundered) {
        ph_creds_server();
        return PH_ST_OK;
    }
    if (kill_by_hand(store, request->caller))
        ph_kill_privileges(fd);
    return ph_store_become(store, request->caller);
}

/* Space that a write of LEN bytes may take at most: what lies beyond the end, or
 * in holes. Appends lie beyond it. */
static uint64_t growth(const struct statx *stx, const Pohmel__WriteRequest *request, uint64_t len)
{
    uint64_t end = request->offset + len;
    bool sparse = stx->stx_blocks * 512 < stx->stx_size;
    if (request->append || sparse)
        return len;
    return end > stx->stx_size ? end - MAX(stx->stx_size, request->offset) : 0;
}

static uint32_t write_space(struct ph_posix_store *store, struct ph_call *call,
                            const Pohmel__WriteRequest *request, int fd)
{
    struct statx stx;
    if (!ph_space_is_limited(store) || ph_statx(fd, "", &stx) != 0)
        return PH_ST_OK;
    uint64_t more = growth(&stx, request, request->length);
    if (more == 0)
        return PH_ST_OK;
    uint32_t status = ph_space_check(store, call, more);
    return status == PH_ST_OK ? ph_quota_check(store, call, stx.stx_uid, stx.stx_gid, more, 0) : status;
}

/* The time at which its writer wrote; it may be told by whoever may write, so the server sets it. Where the
 * filesystem does not let it, the present stays. */
static uint32_t write_time(struct ph_call *call, const Pohmel__WriteRequest *request, int fd)
{
    struct timespec times[2] = {
        {.tv_nsec = UTIME_OMIT},
        {.tv_sec = request->modified->seconds, .tv_nsec = request->modified->nanoseconds},
    };
    ph_creds_server();
    if (futimens(fd, times) == 0 && (request->stable & STABLE_ALL) && fsync(fd) != 0)
        return ph_store_errno(call, "write");
    return PH_ST_OK;
}

uint32_t ph_posix_write(void *self, struct ph_call *call, const Pohmel__WriteRequest *request,
                        Pohmel__WriteResult *result)
{
    struct ph_posix_store *store = self;
    struct ph_handle *handle = NULL;
    struct statx stx;
    const uint8_t *bytes = ph_call_take_payload(call, request->length);
    if (bytes == NULL && request->length > 0)
        return ph_fault_set(&call->fault, PH_ST_MALFORMED,
                            "the payload is shorter than the writes of the transaction");
    uint32_t status = ph_store_check_writable(store, call);
    if (status == PH_ST_OK)
        status = ph_store_handle_get(store, call, request->handle, request->object, ACCESS_WRITE, &handle);
    if (status == PH_ST_OK)
        status = write_space(store, call, request, handle->fd->fd);
    if (status == PH_ST_OK)
        status = write_identity(store, request, handle->fd->fd);
    if (status == PH_ST_OK) {
        uint64_t offset = request->offset;
        ssize_t written =
            request->length == 0 ? 0 : write_bytes(store, call, handle, request, bytes, &offset);
        if (written < 0)
            status = ph_store_errno(call, "write");
        result->written = written > 0 ? (uint32_t) written : 0;
        result->offset = offset;
    }
    if (status == PH_ST_OK && request->modified != NULL)
        status = write_time(call, request, handle->fd->fd);
    if (status == PH_ST_OK && ph_statx(handle->fd->fd, "", &stx) != 0)
        status = ph_store_errno(call, "look at the file written");
    if (status == PH_ST_OK)
        status = ph_attr_open(store, call, handle->object, handle->fd->fd, &stx,
                              result->written > 0 || request->modified != NULL, &result->attr);
    ph_store_handle_unref(store, handle);
    return status;
}

/* ---- ALLOCATE ---- */

uint32_t ph_posix_allocate(void *self, struct ph_call *call, const Pohmel__AllocateRequest *request,
                           Pohmel__AttrResult *result)
{
    struct ph_posix_store *store = self;
    struct ph_handle *handle = NULL;
    struct statx stx;
    int mode = (request->mode & ALLOCATE_KEEP_SIZE ? FALLOC_FL_KEEP_SIZE : 0) |
               (request->mode & ALLOCATE_PUNCH ? FALLOC_FL_PUNCH_HOLE : 0) |
               (request->mode & ALLOCATE_ZERO ? FALLOC_FL_ZERO_RANGE : 0);
    uint32_t status = ph_store_check_writable(store, call);
    if (status == PH_ST_OK)
        status = ph_store_handle_get(store, call, request->handle, request->object, ACCESS_WRITE, &handle);
    if (status == PH_ST_OK && !(request->mode & ALLOCATE_PUNCH))
        status = ph_space_check(store, call, request->range->length);
    if (status == PH_ST_OK)
        status = ph_store_become(store, request->caller);
    if (status == PH_ST_OK) {
        int failed;
        do
            failed = fallocate(handle->fd->fd, mode, (off_t) request->range->offset,
                               (off_t) request->range->length);
        while (failed != 0 && errno == EINTR);
        if (failed != 0 || ph_statx(handle->fd->fd, "", &stx) != 0)
            status = ph_store_errno(call, "allocate");
    }
    if (status == PH_ST_OK)
        status = ph_attr_open(store, call, handle->object, handle->fd->fd, &stx, true, &result->attr);
    ph_store_handle_unref(store, handle);
    return status;
}

/* ---- COPY ---- */

/* The way for filesystems that cannot copy by themselves. */
static ssize_t copy_by_hand(int source, off_t from, int target, off_t to, size_t len)
{
    g_autofree uint8_t *buffer = g_malloc(COPY_BUFFER_BYTES);
    ssize_t got = pread(source, buffer, MIN(len, (size_t) COPY_BUFFER_BYTES), from);
    return got <= 0 ? got : pwrite(target, buffer, (size_t) got, to);
}

static ssize_t copy_bytes(int source, off_t from, int target, off_t to, size_t len)
{
    size_t done = 0;
    bool by_hand = false;
    while (done < len) {
        loff_t in = from + (off_t) done, out = to + (off_t) done;
        ssize_t got = by_hand ? copy_by_hand(source, in, target, out, len - done)
                              : copy_file_range(source, &in, target, &out, len - done, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && !by_hand && (errno == EXDEV || errno == ENOSYS || errno == EOPNOTSUPP)) {
            by_hand = true;
            continue;
        }
        if (got <= 0)
            return done > 0 ? (ssize_t) done : got;
        done += (size_t) got;
    }
    return (ssize_t) done;
}

uint32_t ph_posix_copy(void *self, struct ph_call *call, const Pohmel__CopyRequest *request,
                       Pohmel__CopyResult *result)
{
    struct ph_posix_store *store = self;
    struct ph_handle *source = NULL, *target = NULL;
    struct statx stx;
    size_t len = (size_t) MIN(request->length, (uint64_t) COPY_STEP_BYTES);
    uint32_t status = ph_store_check_writable(store, call);
    if (status == PH_ST_OK)
        status =
            ph_store_handle_get(store, call, request->source_handle, request->source, ACCESS_READ, &source);
    if (status == PH_ST_OK)
        status =
            ph_store_handle_get(store, call, request->target_handle, request->target, ACCESS_WRITE, &target);
    if (status == PH_ST_OK && ph_statx(source->fd->fd, "", &stx) != 0)
        status = ph_store_errno(call, "look at the source");
    if (status == PH_ST_OK) /* what lies behind the source's end takes no space */
        status = ph_space_check(store, call,
                                request->source_offset >= stx.stx_size
                                    ? 0
                                    : MIN((uint64_t) len, stx.stx_size - request->source_offset));
    if (status == PH_ST_OK)
        status = ph_store_become(store, request->caller);
    if (status == PH_ST_OK) {
        if (kill_by_hand(store, request->caller))
            ph_kill_privileges(target->fd->fd);
        ssize_t copied = copy_bytes(source->fd->fd, (off_t) request->source_offset, target->fd->fd,
                                    (off_t) request->target_offset, len);
        if (copied < 0 || ph_statx(target->fd->fd, "", &stx) != 0)
            status = ph_store_errno(call, "copy");
        result->copied = copied > 0 ? (uint64_t) copied : 0;
    }
    if (status == PH_ST_OK)
        status = ph_attr_new(store, call, target->object, &stx, result->copied > 0, &result->attr);
    ph_store_handle_unref(store, source);
    ph_store_handle_unref(store, target);
    return status;
}
