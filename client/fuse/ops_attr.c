#include <errno.h>

#include "client/fuse/attr.h"
#include "client/fuse/coherence.h"
#include "client/fuse/fresh.h"
#include "client/fuse/gone_dirs.h"
#include "client/fuse/hook.h"
#include "client/fuse/open_here.h"
#include "client/fuse/ops.h"
#include "client/fuse/request.h"
#include "client/fuse/unmounting.h"
#include "client/fuse/writeback.h"
#include "ph_commands.h"
#include "ph_stubs.h"
#include "runtime/base/limits.h"

enum { ACCESS_BITS = 7, ROOT_MODE = 0755 };

/* How STATX or GETATTR wants its answer. */
enum { ANSWER_STAT, ANSWER_STATX };

static void reply_attr(fuse_req_t req, bool statx, const struct ph_told *told)
{
    struct ph_cached_attr_wire wire;
    const Pohmel__Attr *attr = ph_cached_attr_to_wire(&told->attr, &wire);
    if (statx) {
        struct fuse_statx_out out = {0};
        ph_attr_to_statx(attr, &out.stat);
        out.attr_valid = (uint64_t) told->attr_timeout;
        out.attr_valid_nsec = (uint32_t) ((told->attr_timeout - (double) out.attr_valid) * 1e9);
        fuse_reply_buf(req, (const char *) &out, sizeof out);
    } else {
        struct stat stat;
        ph_attr_to_stat(attr, &stat);
        fuse_reply_attr(req, &stat, told->attr_timeout);
    }
}

static void reply_told(struct ph_request *request, const struct ph_told *told)
{
    ph_request_settle(request);
    reply_attr(request->req, request->flags == ANSWER_STATX, told);
    ph_coherence_told(request->mount->coherence, told, false);
    ph_request_end(request);
}

static void getattr_done(void *data, const struct ph_reply *reply)
{
    struct ph_request *request = data;
    const Pohmel__GetattrReply *result = ph_reply_getattr(reply);
    struct ph_coherence *coherence = request->mount->coherence;
    uint64_t object = request->object;
    struct ph_told told = {0};
    if (result != NULL) {
        ph_coherence_learn(coherence, &request->ask, result->attr, &told);
        if (told.attr.links == 0)
            ph_gone_dirs_add(request->mount->gone_dirs, &told.attr);
        reply_told(request, &told);
    } else if (reply->status == PH_ST_STALE &&
               ph_gone_dirs_find(request->mount->gone_dirs, object, &told.attr)) {
        reply_told(request, &told);
    } else {
        ph_request_finish(request, reply->status != PH_ST_OK ? reply->status : PH_ST_IO_ERROR);
    }
    ph_coherence_attr_end(coherence, object);
}

/* Handle to name in a request on attributes; without one the object is asked for by its id. */
static uint64_t handle_of(struct ph_mount *mount, const struct fuse_file_info *info)
{
    struct ph_open *open = info != NULL ? ph_open_of(info) : NULL;
    return open != NULL && ph_open_alive(mount, open) ? open->handle : 0;
}

/* Answers with attributes that changed here and that only write-back knows. */
static bool getattr_here(struct ph_mount *mount, fuse_req_t req, uint64_t object, bool statx)
{
    struct ph_cached_attr_wire wire;
    struct ph_told told;
    struct ph_cache_ask ask = ph_coherence_ask(mount->coherence);
    if (mount->writeback == NULL || !ph_writeback_getattr(mount->writeback, object, &wire))
        return false;
    ph_coherence_learn(mount->coherence, &ask, &wire.attr, &told);
    reply_attr(req, statx, &told);
    ph_coherence_told(mount->coherence, &told, false);
    return true;
}

void ph_op_getattr(fuse_req_t req, fuse_ino_t object, struct fuse_file_info *info)
{
    struct ph_mount *mount = ph_mount_of(req);
    bool statx = ph_hook_note()->statx;
    struct stat known;
    struct ph_told told;
    if (ph_coherence_getattr(mount->coherence, object, &told)) {
        reply_attr(req, statx, &told);
        ph_coherence_told(mount->coherence, &told, false);
        return;
    }
    if (!statx && !mount->caching &&
        ph_fresh_take(mount->fresh, fuse_req_ctx(req)->pid, object, (uint64_t) g_get_monotonic_time(),
                      &known)) {
        fuse_reply_attr(req, &known, 0);
        return;
    }
    /* It takes some time until a server that does not answer is known to be gone. */
    if (object == PH_OBJECT_ROOT && ph_unmounting(req)) {
        told = (struct ph_told){.attr = {.object = object, .mode = S_IFDIR | ROOT_MODE, .links = 2}};
        reply_attr(req, statx, &told);
        return;
    }
    /* No write that is under way changes what is told of a directory. */
    bool directory = ph_coherence_is_directory(mount->coherence, object);
    if (directory && getattr_here(mount, req, object, statx))
        return;
    ph_coherence_attr_begin(mount->coherence, object);
    if (!directory && getattr_here(mount, req, object, statx)) {
        ph_coherence_attr_end(mount->coherence, object);
        return;
    }
    struct ph_request *request = ph_request_begin(req, PH_WAIT_KILLED);
    request->flags = statx ? ANSWER_STATX : ANSWER_STAT;
    request->object = object;
    Pohmel__GetattrRequest message = POHMEL__GETATTR_REQUEST__INIT;
    message.caller = &request->caller;
    message.object = object;
    message.handle = handle_of(request->mount, info);
    ph_request_sent(request, ph_send_getattr(request->mount->stub, &message, NULL, getattr_done, request));
}

static void setattr_done(void *data, const struct ph_reply *reply)
{
    struct ph_request *request = data;
    const Pohmel__AttrResult *result = ph_reply_setattr(reply);
    if (result == NULL) {
        ph_request_finish(request, reply->status != PH_ST_OK ? reply->status : PH_ST_IO_ERROR);
        return;
    }
    struct ph_told told;
    ph_coherence_changed(request->mount->coherence, &request->change, result->attr, &told);
    reply_told(request, &told);
}

/* What is to be set; kept while the file is being opened for others. */
struct setting {
    struct stat stat;
    int to_set;
    uint32_t which;
    uint64_t handle;
};

/* Those who have the file open may read it whatever becomes of its permissions: that was seen to. */
static void send_setattr(struct ph_request *request)
{
    const struct setting *setting = request->extra;
    const struct stat *stat = &setting->stat;
    int to_set = setting->to_set;
    Pohmel__Time accessed = ph_time_to_wire(&stat->st_atim);
    Pohmel__Time modified = ph_time_to_wire(&stat->st_mtim);
    Pohmel__SetattrRequest message = POHMEL__SETATTR_REQUEST__INIT;
    message.caller = &request->caller;
    message.object = request->object;
    message.handle = setting->handle;
    message.which = setting->which;
    message.mode = setting->which & PH_SET_MODE ? stat->st_mode & ALLPERMS : 0;
    message.uid = to_set & FUSE_SET_ATTR_UID ? stat->st_uid : 0;
    message.gid = to_set & FUSE_SET_ATTR_GID ? stat->st_gid : 0;
    message.size = to_set & FUSE_SET_ATTR_SIZE ? (uint64_t) stat->st_size : 0;
    message.accessed = to_set & FUSE_SET_ATTR_ATIME ? &accessed : NULL;
    message.modified = to_set & FUSE_SET_ATTR_MTIME ? &modified : NULL;
    ph_request_sent(request, ph_send_setattr(request->mount->stub, &message, NULL, setattr_done, request));
}

void ph_op_setattr(fuse_req_t req, fuse_ino_t object, struct stat *stat, int to_set,
                   struct fuse_file_info *info)
{
    struct setting setting = {.stat = *stat, .to_set = to_set, .which = ph_setattr_bits(to_set)};
    if (ph_hook_note()->kill_privileges)
        setting.which |= PH_SET_KILL_PRIVILEGES;
    struct ph_request *request = ph_request_begin(req, PH_WAIT_KILLED);
    setting.handle = handle_of(request->mount, info);
    if (info != NULL && setting.handle == 0 && (setting.which & PH_SET_SIZE) != 0) {
        ph_request_refuse(request, EIO); /* the right to cut the file went with the handle */
        return;
    }
    request->object = object;
    request->extra = g_memdup2(&setting, sizeof setting);
    if ((setting.which & PH_SET_SIZE) != 0)
        ph_request_changes(request, object);
    else
        ph_request_changes_attributes(request, object);
    if ((to_set & (FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID)) != 0)
        ph_open_there_first(request, object, send_setattr);
    else
        send_setattr(request);
}

void ph_op_access(fuse_req_t req, fuse_ino_t object, int mask)
{
    struct ph_request *request = ph_request_begin(req, PH_WAIT_KILLED);
    Pohmel__AccessRequest message = POHMEL__ACCESS_REQUEST__INIT;
    message.caller = &request->caller;
    message.object = object;
    message.mask = (uint32_t) mask & ACCESS_BITS;
    ph_request_sent(request, ph_send_access(request->mount->stub, &message, NULL, ph_request_done, request));
}

static void statfs_done(void *data, const struct ph_reply *reply)
{
    struct ph_request *request = data;
    const Pohmel__StatfsReply *result = ph_reply_statfs(reply);
    if (result == NULL) {
        ph_request_finish(request, reply->status != PH_ST_OK ? reply->status : PH_ST_IO_ERROR);
        return;
    }
    const Pohmel__Space *space = result->space;
    uint64_t unit = MAX(space->block_size, 1);
    struct statvfs out = {
        .f_bsize = unit,
        .f_frsize = unit,
        .f_blocks = space->size / unit,
        .f_bfree = (space->size - MIN(space->used, space->size)) / unit,
        .f_bavail = space->available / unit,
        .f_files = space->objects,
        .f_ffree = space->objects_free,
        .f_favail = space->objects_free,
        .f_namemax = space->name_max,
    };
    ph_request_settle(request);
    fuse_reply_statfs(request->req, &out);
    ph_request_end(request);
}

void ph_op_statfs(fuse_req_t req, fuse_ino_t object)
{
    if (object == PH_OBJECT_ROOT && ph_unmounting(req)) {
        const struct statvfs nothing = {.f_namemax = PH_NAME_MAX_BYTES};
        fuse_reply_statfs(req, &nothing);
        return;
    }
    struct ph_request *request = ph_request_begin(req, PH_WAIT_KILLED);
    Pohmel__StatfsRequest message = POHMEL__STATFS_REQUEST__INIT;
    message.caller = &request->caller;
    message.object = object;
    ph_request_sent(request, ph_send_statfs(request->mount->stub, &message, NULL, statfs_done, request));
}
