#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "client/fuse/attr.h"
#include "client/fuse/coherence.h"
#include "client/fuse/gone_dirs.h"
#include "client/fuse/hook.h"
#include "client/fuse/lock_owners.h"
#include "client/fuse/names.h"
#include "client/fuse/open_here.h"
#include "client/fuse/ops.h"
#include "client/fuse/ops_txn.h"
#include "client/fuse/writeback.h"
#include "ph_commands.h"
#include "ph_stubs.h"
#include "runtime/base/limits.h"

static uint32_t access_of(int flags)
{
    switch (flags & O_ACCMODE) {
    case O_RDONLY:
        return PH_OPEN_READ;
    case O_WRONLY:
        return PH_OPEN_WRITE;
    default:
        return PH_OPEN_READ | PH_OPEN_WRITE;
    }
}

/* Whether the kernel may go on with the pages that it has of the file: under a lease they are
 * right, else when they are those of this version. */
static bool keeps_pages(struct ph_mount *mount, const Pohmel__Attr *attr)
{
    if (mount->caching)
        return ph_coherence_keeps_pages(mount->coherence, attr->object);
    pthread_mutex_lock(&mount->versions_mutex);
    bool same = ph_versions_same(mount->versions, attr->object, attr->version);
    pthread_mutex_unlock(&mount->versions_mutex);
    return same;
}

/* Whether a handle goes past the kernel's pages. Appends do: through pages one write of a program can become
 * two requests, and another client's append come between. Under leases all writers do, where such files can
 * be mapped all the same: a write would show in the pages of this mount before others can see it. */
static bool goes_direct(const struct ph_mount *mount, uint64_t object, unsigned flags)
{
    bool strict = ph_coherence_maps_strictly(mount->coherence);
    if ((flags & O_ACCMODE) == O_RDONLY)
        return mount->caching && ph_hook_maps_direct() &&
               (ph_coherence_is_hot(mount->coherence, object) ||
                (strict && ph_coherence_has_writer(mount->coherence, object)));
    return (flags & O_APPEND) != 0 || strict;
}

/* A handle through which pages can be mapped and stored into is made known before the kernel has it. */
static void announce_writer(const struct ph_mount *mount, struct ph_open *open, unsigned flags)
{
    open->writer = (flags & O_ACCMODE) == O_RDWR && ph_coherence_maps_strictly(mount->coherence);
    if (open->writer)
        ph_coherence_writer_begin(mount->coherence, open->object);
}

static void forget_writer(const struct ph_mount *mount, const struct ph_open *open)
{
    if (open->writer)
        ph_coherence_writer_end(mount->coherence, open->object);
}

/* An open that brought nothing; the server may have it open all the same. */
static void open_failed(struct ph_request *request, uint32_t status)
{
    if (atomic_load(&request->abandoned))
        ph_open_send_close(request->mount, request->object, request->handle);
    ph_request_finish(request, status != PH_ST_OK ? status : PH_ST_IO_ERROR);
}

/* A directory that is gone, and that the server does not know any more, is open here, and empty. */
static bool open_gone(struct ph_request *request)
{
    if (!ph_gone_dirs_find(request->mount->gone_dirs, request->object, NULL))
        return false;
    struct ph_open *open = ph_open_new(request->mount, request->object, 0);
    const struct fuse_file_info info = {.fh = (uint64_t) (uintptr_t) open};
    open->directory = true;
    ph_request_settle(request);
    if (fuse_reply_open(request->req, &info) != 0)
        ph_open_unref(open);
    ph_request_end(request);
    return true;
}

static void open_done(void *data, const struct ph_reply *reply)
{
    struct ph_request *request = data;
    const Pohmel__OpenReply *opened = ph_reply_open(reply);
    if (opened == NULL) {
        if (reply->status != PH_ST_STALE || !open_gone(request))
            open_failed(request, reply->status);
        return;
    }
    struct ph_mount *mount = request->mount;
    struct ph_open *open = ph_open_ref(request->open);
    open->generation = ph_link_generation(mount->link);
    struct fuse_file_info info = {.fh = (uint64_t) (uintptr_t) open};
    struct ph_told told;
    ph_coherence_learn(mount->coherence, &request->ask, opened->attr, &told);
    if (S_ISREG(opened->attr->mode))
        announce_writer(mount, open, request->flags);
    info.keep_cache = !S_ISREG(opened->attr->mode) || keeps_pages(mount, opened->attr);
    info.direct_io = S_ISREG(opened->attr->mode) && goes_direct(mount, opened->attr->object, request->flags);
    open->direct = info.direct_io;
    /* Under the lease that this reply names nothing changed since the file was opened. */
    if (reply->payload != NULL && told.kept && opened->attr->lease != 0) {
        struct ph_cache_ask ask = ph_coherence_ask(mount->coherence);
        ph_open_keep_data(open, reply->payload, &ask);
    }
    ph_request_settle(request);
    if (fuse_reply_open(request->req, &info) != 0) {
        forget_writer(mount, open);
        ph_open_send_close(mount, open->object, open->handle);
        ph_open_unref(open);
    }
    ph_coherence_told(mount->coherence, &told, false);
    ph_request_end(request);
}

static void send_open(fuse_req_t req, fuse_ino_t object, int flags, bool directory)
{
    struct ph_request *request = ph_request_begin(req, PH_WAIT_KILLED);
    request->object = object;
    request->handle = ph_link_new_handle(request->mount->link);
    request->open = ph_open_new(request->mount, object, request->handle);
    request->flags = (unsigned) flags;
    Pohmel__OpenRequest message = POHMEL__OPEN_REQUEST__INIT;
    message.caller = &request->caller;
    message.object = object;
    message.handle = request->handle;
    message.access = directory ? PH_OPEN_READ : access_of(flags);
    message.execute = !directory && (flags & PH_OPEN_EXECUTING) != 0;
    message.directory = directory;
    message.data_max = !directory && request->mount->caching ? PH_SMALL_FILE_MAX_BYTES : 0;
    ph_request_sent(request, ph_send_open(request->mount->stub, &message, NULL, open_done, request));
}

void ph_op_open(fuse_req_t req, fuse_ino_t object, struct fuse_file_info *info)
{
    if (!ph_open_here(req, object, info->flags))
        send_open(req, object, info->flags, false);
}

void ph_op_opendir(fuse_req_t req, fuse_ino_t object, struct fuse_file_info *info)
{
    if (!ph_open_dir_here(req, object))
        send_open(req, object, info->flags, true);
}

/* Answers CREATE and TMPFILE. */
static void reply_create(struct ph_request *request, const Pohmel__Attr *attr, bool created)
{
    struct ph_mount *mount = request->mount;
    struct ph_open *open = ph_open_ref(request->open);
    open->object = attr->object; /* not the one proposed where the name existed */
    open->generation = ph_link_generation(mount->link);
    struct ph_told told;
    struct fuse_entry_param entry;
    if (request->name != NULL) {
        ph_link_learn(mount->link, attr->object, request->object, request->name, strlen(request->name));
        ph_coherence_changed_entry(mount->coherence, &request->change, request->object, request->name, attr,
                                   &told);
    } else {
        ph_coherence_made(mount->coherence, &request->change, attr, &told);
    }
    if (!created && (request->flags & O_TRUNC) != 0)
        ph_coherence_cut(mount->coherence, attr->object);
    ph_told_entry(&told, &entry);
    if (!created)
        entry.attr_timeout = 0; /* the kernel would take them whatever it has heard since */
    struct fuse_file_info info = {.fh = (uint64_t) (uintptr_t) open};
    announce_writer(mount, open, request->flags);
    info.keep_cache = keeps_pages(mount, attr);
    info.direct_io = goes_direct(mount, attr->object, request->flags);
    open->direct = info.direct_io;
    ph_request_settle(request);
    bool failed = fuse_reply_create(request->req, &entry, &info) != 0;
    if (failed) {
        forget_writer(mount, open);
        ph_open_send_close(mount, open->object, open->handle);
        ph_open_unref(open);
    }
    ph_coherence_told(mount->coherence, &told, failed);
    ph_request_end(request);
}

static void create_done(void *data, const struct ph_reply *reply)
{
    const Pohmel__CreateResult *result = ph_reply_create(reply);
    if (result == NULL)
        open_failed(data, reply->status);
    else
        reply_create(data, result->attr, result->created);
}

static void tmpfile_done(void *data, const struct ph_reply *reply)
{
    const Pohmel__AttrResult *result = ph_reply_tmpfile(reply);
    if (result == NULL)
        open_failed(data, reply->status);
    else
        reply_create(data, result->attr, true);
}

static void send_tmpfile(struct ph_request *request, uint64_t object, mode_t mode, int flags)
{
    Pohmel__TmpfileRequest message = POHMEL__TMPFILE_REQUEST__INIT;
    message.caller = &request->caller;
    message.parent = request->object;
    message.object = object;
    message.mode = mode & ALLPERMS;
    message.umask = fuse_req_ctx(request->req)->umask & ACCESSPERMS;
    message.handle = request->handle;
    message.access = access_of(flags);
    message.exclusive = (flags & O_EXCL) != 0;
    ph_coherence_change_sent(request->mount->coherence, &request->change);
    ph_request_sent(request, ph_send_tmpfile(request->mount->stub, &message, NULL, tmpfile_done, request));
}

void ph_op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
                  struct fuse_file_info *info)
{
    bool unnamed = ph_hook_note()->tmpfile;
    uint64_t object;
    if (!unnamed && !ph_name_fits(req, name))
        return;
    struct ph_request *request = ph_request_begin(req, PH_WAIT_KILLED);
    request->object = parent;
    if (!ph_name_new_object(request, &object))
        return;
    request->handle = ph_link_new_handle(request->mount->link);
    request->open = ph_open_new(request->mount, object, request->handle);
    request->flags = (unsigned) info->flags;
    if (unnamed) {
        send_tmpfile(request, object, mode, info->flags);
        return;
    }
    request->name = g_strdup(name);
    Pohmel__CreateRequest message = POHMEL__CREATE_REQUEST__INIT;
    message.caller = &request->caller;
    message.parent = parent;
    message.name = ph_name_bytes(name);
    message.object = object;
    message.mode = mode & ALLPERMS;
    message.umask = fuse_req_ctx(req)->umask & ACCESSPERMS;
    message.exclusive = (info->flags & O_EXCL) != 0;
    message.truncate = (info->flags & O_TRUNC) != 0;
    message.handle = request->handle;
    message.access = access_of(info->flags);
    /* An existing file may be cut by it. */
    ph_name_changes(request, (info->flags & O_TRUNC) != 0);
    ph_request_sent(request, ph_send_create(request->mount->stub, &message, NULL, create_done, request));
}

static void unlocked(void *data, const struct ph_reply *reply)
{
    /* The locks end with the handle if not by this. */
}

static void send_unlock(struct ph_mount *mount, uint64_t object, uint64_t owner, bool whole_file)
{
    Pohmel__Range all = POHMEL__RANGE__INIT;
    all.length = INT64_MAX;
    Pohmel__UnlockRequest message = POHMEL__UNLOCK_REQUEST__INIT;
    message.object = object;
    message.owner = owner;
    message.range = &all;
    message.whole_file = whole_file;
    ph_send_unlock(mount->stub, &message, NULL, unlocked, NULL);
}

void ph_op_flush(fuse_req_t req, fuse_ino_t object, struct fuse_file_info *info)
{
    struct ph_mount *mount = ph_mount_of(req);
    uint32_t lost = mount->writeback != NULL ? ph_writeback_take_error(mount->writeback, object) : PH_ST_OK;
    if (lost != PH_ST_OK) {
        if (ph_lock_owners_take(mount->lock_owners, object, info->lock_owner) &&
            ph_open_alive(mount, ph_open_of(info)))
            send_unlock(mount, object, info->lock_owner, false);
        fuse_reply_err(req, ph_request_errno(lost));
        return;
    }
    if (!ph_lock_owners_take(mount->lock_owners, object, info->lock_owner) ||
        !ph_open_alive(mount, ph_open_of(info))) {
        fuse_reply_err(req, 0);
        return;
    }
    /* Answered when the locks are gone, so that whoever waits for the close finds them free. */
    struct ph_request *request = ph_request_begin(req, PH_WAIT_FORCED);
    Pohmel__Range all = POHMEL__RANGE__INIT;
    all.length = INT64_MAX;
    Pohmel__UnlockRequest message = POHMEL__UNLOCK_REQUEST__INIT;
    message.object = object;
    message.owner = info->lock_owner;
    message.range = &all;
    ph_request_sent(request, ph_send_unlock(mount->stub, &message, NULL, ph_request_done, request));
}

void ph_op_release(fuse_req_t req, fuse_ino_t object, struct fuse_file_info *info)
{
    struct ph_mount *mount = ph_mount_of(req);
    struct ph_open *open = ph_open_of(info);
    ph_open_here_closed(open);
    ph_txns_closed(mount->txns, open);
    bool alive = ph_open_alive(mount, open);
    uint64_t owner;
    /* Locks first and on their own: the server gives them back at once, while a
     * close may wait for its disk and others for the lock. */
    while (ph_lock_owners_take_handle(mount->lock_owners, open->object, open->handle, &owner))
        if (alive)
            send_unlock(mount, open->object, owner, false);
    if (alive && info->flock_release)
        send_unlock(mount, open->object, info->lock_owner, true);
    if (alive && open->handle != 0)
        ph_open_send_close(mount, open->object, open->handle);
    forget_writer(mount, open);
    fuse_reply_err(req, 0);
    ph_open_unref(open);
}

void ph_op_releasedir(fuse_req_t req, fuse_ino_t object, struct fuse_file_info *info)
{
    ph_op_release(req, object, info);
}
