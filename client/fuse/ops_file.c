#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <unistd.h>

#include "client/fuse/brought.h"
#include "client/fuse/buffers.h"
#include "client/fuse/coherence.h"
#include "client/fuse/coherence_look.h"
#include "client/fuse/hook.h"
#include "client/fuse/notify.h"
#include "client/fuse/open_here.h"
#include "client/fuse/ops.h"
#include "client/fuse/request.h"
#include "client/fuse/writeback.h"
#include "ph_commands.h"
#include "ph_stubs.h"
#include "runtime/base/limits.h"

enum {
    STABLE_DATA = 1 << 0, /* WriteRequest.stable */
    STABLE_METADATA = 1 << 1,
    ALLOCATE_KEEP_SIZE = 1 << 0, /* AllocateRequest.mode */
    ALLOCATE_PUNCH = 1 << 1,
    ALLOCATE_ZERO = 1 << 2,
};

/* Starts a request through an open file; NULL when it was refused because the
 * server does not know the handle any more. */
static struct ph_request *begin_open(fuse_req_t req, const struct fuse_file_info *info)
{
    struct ph_open *open = ph_open_of(info);
    if (!ph_open_alive(ph_mount_of(req), open)) {
        fuse_reply_err(req, EIO);
        return NULL;
    }
    struct ph_request *request = ph_request_begin(req, PH_WAIT_KILLED);
    request->open = ph_open_ref(open);
    return request;
}

/* The kernel has the answer, LEN bytes of data with it. */
static void end_read(struct ph_request *request, size_t len)
{
    if (request->tracked)
        ph_coherence_read_end(request->mount->coherence, request->object, &request->read, request->offset,
                              len);
    request->tracked = false;
}

static void fail_read(struct ph_request *request, uint32_t status)
{
    ph_request_settle(request);
    fuse_reply_err(request->req, ph_request_errno(status != PH_ST_OK ? status : PH_ST_IO_ERROR));
    end_read(request, 0);
    ph_request_end(request);
}

static void answer_read(struct ph_request *request, const void *data, size_t len)
{
    ph_request_settle(request);
    if (request->tracked)
        ph_coherence_read_answering(request->mount->coherence, request->object);
    fuse_reply_buf(request->req, len > 0 ? data : NULL, len);
    end_read(request, request->size); /* beyond the end of the file there are pages as well */
    ph_request_end(request);
}

static void read_done(void *data, const struct ph_reply *reply)
{
    struct ph_request *request = data;
    size_t len = reply->payload != NULL ? reply->payload->len : 0;
    if (reply->status != PH_ST_OK || len > request->size)
        fail_read(request, reply->status);
    else
        answer_read(request, len > 0 ? reply->payload->data : NULL, len);
}

static void send_read(struct ph_request *request)
{
    const struct ph_blob *all = request->brought;
    if (all != NULL) {
        size_t from = (size_t) MIN(request->offset, (uint64_t) all->len);
        answer_read(request, (const char *) all->data + from, MIN(request->size, all->len - from));
        ph_request_sent(request, 0);
        return;
    }
    if (!ph_open_alive(request->mount, request->open)) {
        fail_read(request, PH_ST_IO_ERROR);
        ph_request_sent(request, 0);
        return;
    }
    Pohmel__ReadRequest message = POHMEL__READ_REQUEST__INIT;
    message.caller = &request->caller;
    message.object = request->object;
    message.handle = request->open->handle;
    message.offset = request->offset;
    message.length = (uint32_t) request->size;
    ph_request_sent(request, ph_send_read(request->mount->stub, &message, NULL, read_done, request));
}

/* What came when the file was looked up, if that is still right. The rest of it is for the next reads. */
static struct ph_blob *looked_up(struct ph_request *request)
{
    struct ph_mount *mount = request->mount;
    struct ph_cache_ask ask;
    struct ph_blob *data = ph_brought_take(mount->brought, request->object, &ask);
    if (data != NULL && !ph_coherence_is_unchanged(mount->coherence, request->object, &ask))
        g_clear_pointer(&data, ph_blob_unref);
    if (data != NULL && request->offset + request->size < data->len)
        ph_open_keep_data(request->open, data, &ask);
    return data;
}

/* What is read is under a lease: it may be that it need not be opened at the server for that. */
static void read_covered(struct ph_request *request)
{
    struct ph_mount *mount = request->mount;
    if (request->open->handle == 0 && mount->writeback != NULL && request->brought == NULL)
        request->brought = ph_writeback_kept(mount->writeback, request->object);
    if (request->open->handle == 0 && request->brought == NULL)
        request->brought = looked_up(request);
    if (request->brought != NULL) {
        send_read(request);
        return;
    }
    request->opens_to_read = true;
    ph_open_there(request, send_read);
}

/* Answers from what came with the opening of the file, if that is still right. */
static bool read_at_hand(struct ph_mount *mount, struct ph_open *open, fuse_req_t req, size_t size,
                         off_t offset)
{
    struct ph_cache_ask ask;
    struct ph_busy_read read = {.offset = (uint64_t) offset, .size = size};
    struct ph_blob *data = ph_open_data(open, &ask);
    if (data == NULL)
        return false;
    ph_open_ref(open); /* once it is answered the kernel may close it */
    bool right = ph_coherence_read_at_hand(mount->coherence, open->object, &ask, &read);
    if (right) {
        size_t from = MIN((size_t) offset, data->len);
        fuse_reply_buf(req, (const char *) data->data + from, MIN(size, data->len - from));
        ph_coherence_read_end(mount->coherence, open->object, &read, (uint64_t) offset, size);
    }
    /* The kernel keeps what it was given; and what is not right will not become so. */
    if (!right || (size_t) offset + size >= data->len)
        ph_open_keep_data(open, NULL, NULL);
    ph_blob_unref(data);
    ph_open_unref(open);
    return right;
}

/* The same for a read past the pages, of which the kernel keeps nothing: what came with the opening may be
 * asked for again. And who reads on to the end of a file knows that end by its attributes. */
static bool read_past_pages(struct ph_mount *mount, struct ph_open *open, fuse_req_t req, size_t size,
                            off_t offset)
{
    struct ph_cache_ask ask;
    struct ph_blob *data = ph_open_data(open, &ask);
    bool right = data != NULL && ph_coherence_is_unchanged(mount->coherence, open->object, &ask);
    if (right) {
        size_t from = MIN((size_t) offset, data->len);
        fuse_reply_buf(req, (const char *) data->data + from, MIN(size, data->len - from));
    } else {
        right = ph_coherence_ends_before(mount->coherence, open->object, (uint64_t) offset);
        if (right)
            fuse_reply_buf(req, NULL, 0);
    }
    ph_blob_unref(data);
    return right;
}

/* A read of pages, as far as it can go now. */
static void go(struct ph_request *request, enum ph_read_way way);

static void see_again(struct ph_request *request)
{
    go(request, ph_coherence_read_again(request->mount->coherence, request->object, &request->read));
}

static void woken(void *data)
{
    see_again(data);
}

static void go(struct ph_request *request, enum ph_read_way way)
{
    if (way == PH_READ_PARKED)
        return;
    if (way == PH_READ_ACQUIRE && request->tries++ < PH_ACQUIRE_TRIES) {
        ph_request_acquire(request, see_again);
        return;
    }
    if (way == PH_READ_ACQUIRE)
        ph_coherence_read_uncovered(request->mount->coherence, request->object, &request->read);
    if (way == PH_READ_ACQUIRE)
        ph_open_there(request, send_read);
    else
        read_covered(request);
}

void ph_op_read(fuse_req_t req, fuse_ino_t object, size_t size, off_t offset, struct fuse_file_info *info)
{
    bool direct = ph_hook_note()->direct;
    bool (*at_hand)(struct ph_mount *, struct ph_open *, fuse_req_t, size_t, off_t) =
        direct ? read_past_pages : read_at_hand;
    if (at_hand(ph_mount_of(req), ph_open_of(info), req, size, offset))
        return;
    struct ph_request *request = begin_open(req, info);
    if (request == NULL)
        return;
    request->object = object;
    request->offset = (uint64_t) offset;
    request->size = MIN(size, (size_t) PH_PAYLOAD_MAX_BYTES);
    request->tracked = !direct;
    request->fail = fail_read;
    if (!request->tracked) {
        ph_open_there(request, send_read);
        return;
    }
    request->read = (struct ph_busy_read){
        .offset = request->offset, .size = request->size, .wake = woken, .data = request};
    go(request, ph_coherence_read_begin(request->mount->coherence, object, &request->read));
}

/* The kernel has the answer. */
static void end_write(struct ph_request *request, const struct ph_told *told)
{
    if (request->tracked)
        ph_coherence_write_end(request->mount->coherence, request->object, &request->write);
    if (told != NULL)
        ph_coherence_told(request->mount->coherence, told, false);
    request->tracked = false;
}

static void fail_write(struct ph_request *request, uint32_t status)
{
    ph_request_settle(request);
    fuse_reply_err(request->req, ph_request_errno(status != PH_ST_OK ? status : PH_ST_IO_ERROR));
    end_write(request, NULL);
    ph_request_end(request);
}

/* A write that is done, on its way to the kernel. */
struct written {
    struct ph_request *request;
    struct ph_told told;
    uint32_t size;
    bool elsewhere; /* another client appended meanwhile: the kernel has the data in the wrong place */
};

/* The answer goes first, for the kernel holds pages until then. */
static void answer_write(const struct written *written)
{
    struct ph_request *request = written->request;
    ph_request_settle(request);
    fuse_reply_write(request->req, written->size);
    end_write(request, &written->told);
    if (written->elsewhere)
        ph_notifier_drop_range(request->mount->notifier, request->object, request->offset, request->size);
    ph_request_end(request);
}

/* Whoever reads after the write must see it. */
static void unspoil_and_answer(void *data)
{
    g_autofree struct written *written = data;
    struct ph_request *request = written->request;
    ph_coherence_unspoil(request->mount->coherence, request->object, &request->write);
    answer_write(written);
}

static void dropped_and_answer(void *data)
{
    struct written *written = data;
    struct ph_mount *mount = written->request->mount;
    if (ph_coherence_asks_attr(mount->coherence, written->request->object)) {
        ph_workers_run(mount->workers, unspoil_and_answer, written);
        return;
    }
    answer_write(written);
    g_free(written);
}

/* Nothing of what the kernel was told waits for the pages. */
static void drop_and_answer(struct written *written)
{
    struct ph_request *request = written->request;
    ph_coherence_told(request->mount->coherence, &written->told, false);
    written->told = (struct ph_told){0};
    ph_notifier_drop_range_then(request->mount->notifier, request->object, request->offset, request->size,
                                dropped_and_answer, g_memdup2(written, sizeof *written));
}

static void write_done(void *data, const struct ph_reply *reply)
{
    struct ph_request *request = data;
    struct ph_coherence *coherence = request->mount->coherence;
    const Pohmel__WriteResult *result = ph_reply_write(reply);
    if (result == NULL || result->written > request->size) {
        fail_write(request, reply->status);
        return;
    }
    struct written written = {
        .request = request,
        .size = result->written,
        .elsewhere = result->offset != request->offset,
    };
    ph_coherence_changed(coherence, &request->change, result->attr, &written.told);
    enum ph_write_way way = request->tracked
                                ? ph_coherence_write_done(coherence, request->object, &request->write)
                                : PH_WRITE_ANSWER;
    if (way == PH_WRITE_UNSPOIL)
        ph_workers_run(request->mount->workers, unspoil_and_answer, g_memdup2(&written, sizeof written));
    else if (way == PH_WRITE_DROP)
        drop_and_answer(&written);
    else
        answer_write(&written);
}

static uint32_t stable_of(int flags)
{
    if ((flags & O_SYNC) == O_SYNC)
        return STABLE_DATA | STABLE_METADATA;
    return (flags & O_DSYNC) != 0 ? STABLE_DATA : 0;
}

void ph_op_write(fuse_req_t req, fuse_ino_t object, const char *data, size_t size, off_t offset,
                 struct fuse_file_info *info)
{
    bool kill_privileges = ph_hook_note()->kill_privileges;
    struct ph_request *request = begin_open(req, info);
    if (request == NULL)
        return;
    struct ph_blob *payload = size <= PH_PAYLOAD_MAX_BYTES ? ph_buffers_steal(data, size) : NULL;
    if (payload == NULL) {
        ph_request_refuse(request, size <= PH_PAYLOAD_MAX_BYTES ? ENOMEM : EINVAL);
        return;
    }
    request->object = object;
    request->offset = (uint64_t) offset;
    request->size = size;
    Pohmel__WriteRequest message = POHMEL__WRITE_REQUEST__INIT;
    message.caller = &request->caller;
    message.object = object;
    message.handle = request->open->handle;
    message.offset = (uint64_t) offset;
    message.length = (uint32_t) size;
    message.append = (info->flags & O_APPEND) != 0 && !info->writepage;
    message.kill_privileges = kill_privileges;
    message.stable = stable_of(info->flags);
    message.laundered = info->writepage;
    if (!info->writepage) {
        request->tracked = true;
        request->write =
            (struct ph_busy_write){.offset = request->offset, .size = size, .direct = request->open->direct};
        ph_coherence_write_begin(request->mount->coherence, object, &request->write);
    }
    ph_request_changes(request, object);
    uint64_t ticket = ph_send_write(request->mount->stub, &message, payload, write_done, request);
    ph_blob_unref(payload);
    ph_request_sent(request, ticket);
}

static void fsync_done(void *data, const struct ph_reply *reply)
{
    struct ph_request *request = data;
    /* The attributes of the file are stable as well only where all was asked for. */
    if (reply->status == PH_ST_OK && request->flags == 0)
        ph_coherence_synced(request->mount->coherence, request->object, &request->ask);
    ph_request_done(request, reply);
}

void ph_op_fsync(fuse_req_t req, fuse_ino_t object, int data_only, struct fuse_file_info *info)
{
    struct ph_request *request = begin_open(req, info);
    if (request == NULL)
        return;
    Pohmel__SyncRequest message = POHMEL__SYNC_REQUEST__INIT;
    message.caller = &request->caller;
    message.object = object;
    message.handle = request->open->handle;
    message.data_only = data_only != 0;
    request->object = object;
    request->flags = data_only != 0;
    request->ask = ph_coherence_ask(request->mount->coherence);
    ph_request_sent(request, ph_send_sync(request->mount->stub, &message, NULL, fsync_done, request));
}

void ph_op_fallocate(fuse_req_t req, fuse_ino_t object, int mode, off_t offset, off_t length,
                     struct fuse_file_info *info)
{
    if ((mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) != 0) {
        fuse_reply_err(req, EOPNOTSUPP);
        return;
    }
    struct ph_request *request = begin_open(req, info);
    if (request == NULL)
        return;
    Pohmel__Range range = POHMEL__RANGE__INIT;
    range.offset = (uint64_t) offset;
    range.length = (uint64_t) length;
    Pohmel__AllocateRequest message = POHMEL__ALLOCATE_REQUEST__INIT;
    message.caller = &request->caller;
    message.object = object;
    message.handle = request->open->handle;
    message.range = &range;
    message.mode = (mode & FALLOC_FL_KEEP_SIZE ? ALLOCATE_KEEP_SIZE : 0) |
                   (mode & FALLOC_FL_PUNCH_HOLE ? ALLOCATE_PUNCH : 0) |
                   (mode & FALLOC_FL_ZERO_RANGE ? ALLOCATE_ZERO : 0);
    ph_request_changes(request, object);
    ph_request_sent(request,
                    ph_send_allocate(request->mount->stub, &message, NULL, ph_request_done, request));
}

static void copy_done(void *data, const struct ph_reply *reply)
{
    struct ph_request *request = data;
    const Pohmel__CopyResult *result = ph_reply_copy(reply);
    if (result == NULL || result->copied > request->size) {
        ph_request_finish(request, reply->status != PH_ST_OK ? reply->status : PH_ST_IO_ERROR);
        return;
    }
    ph_request_settle(request);
    fuse_reply_write(request->req, (size_t) result->copied);
    ph_request_end(request);
}

/* Largest part of a page that the 32 bits of the kernel's answer can tell. */
enum { COPY_MAX_BYTES = 0x7ffff000 };

/* What is copied where; kept while the source is being opened. */
struct copy {
    struct ph_open *target; /* a reference */
    uint64_t source, source_offset, target_object, target_offset;
};

static void send_copy(struct ph_request *request)
{
    const struct copy *copy = request->extra;
    struct ph_open *target = copy->target;
    Pohmel__CopyRequest message = POHMEL__COPY_REQUEST__INIT;
    message.caller = &request->caller;
    message.source = copy->source;
    message.source_handle = request->open->handle;
    message.source_offset = copy->source_offset;
    message.target = copy->target_object;
    message.target_handle = target->handle;
    message.target_offset = copy->target_offset;
    message.length = request->size;
    ph_request_changes(request, copy->target_object);
    ph_request_sent(request, ph_send_copy(request->mount->stub, &message, NULL, copy_done, request));
    ph_open_unref(target);
}

static void fail_copy(struct ph_request *request, uint32_t status)
{
    const struct copy *copy = request->extra;
    ph_open_unref(copy->target);
    ph_request_finish(request, status);
}

void ph_op_copy_file_range(fuse_req_t req, fuse_ino_t source, off_t source_offset,
                           struct fuse_file_info *source_info, fuse_ino_t target, off_t target_offset,
                           struct fuse_file_info *target_info, size_t length, int flags)
{
    if (!ph_open_alive(ph_mount_of(req), ph_open_of(target_info))) {
        fuse_reply_err(req, EIO);
        return;
    }
    struct ph_request *request = begin_open(req, source_info);
    if (request == NULL)
        return;
    const struct copy copy = {
        .target = ph_open_ref(ph_open_of(target_info)),
        .source = source,
        .source_offset = (uint64_t) source_offset,
        .target_object = target,
        .target_offset = (uint64_t) target_offset,
    };
    request->size = MIN(length, (size_t) COPY_MAX_BYTES);
    request->extra = g_memdup2(&copy, sizeof copy);
    request->fail = fail_copy;
    ph_open_there(request, send_copy);
}

static void seek_done(void *data, const struct ph_reply *reply)
{
    struct ph_request *request = data;
    const Pohmel__SeekReply *found = ph_reply_seek(reply);
    if (found == NULL || found->offset > INT64_MAX) {
        ph_request_finish(request, reply->status != PH_ST_OK ? reply->status : PH_ST_IO_ERROR);
        return;
    }
    ph_request_settle(request);
    fuse_reply_lseek(request->req, (off_t) found->offset);
    ph_request_end(request);
}

static void send_seek(struct ph_request *request)
{
    Pohmel__SeekRequest message = POHMEL__SEEK_REQUEST__INIT;
    message.caller = &request->caller;
    message.object = request->object;
    message.handle = request->open->handle;
    message.offset = request->offset;
    message.hole = request->flags != 0;
    ph_request_sent(request, ph_send_seek(request->mount->stub, &message, NULL, seek_done, request));
}

void ph_op_lseek(fuse_req_t req, fuse_ino_t object, off_t offset, int whence, struct fuse_file_info *info)
{
    if ((whence != SEEK_DATA && whence != SEEK_HOLE) || offset < 0) {
        fuse_reply_err(req, offset < 0 ? ENXIO : EINVAL);
        return;
    }
    struct ph_request *request = begin_open(req, info);
    if (request == NULL)
        return;
    request->object = object;
    request->offset = (uint64_t) offset;
    request->flags = whence == SEEK_HOLE;
    ph_open_there(request, send_seek);
}
