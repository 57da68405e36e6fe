#include "client/fuse/open_here.h"

#include <fcntl.h>

#include "client/core/may.h"
#include "client/fuse/brought.h"
#include "client/fuse/coherence_listing.h"
#include "client/fuse/coherence_open.h"
#include "client/fuse/groups.h"
#include "client/fuse/writeback.h"
#include "ph_commands.h"
#include "ph_stubs.h"
#include "runtime/base/limits.h"

#define DEAD_HANDLE UINT64_MAX /* of no session */

/* --- Opening here --- */

/* Who asks; valid as long as *GROUPS, which the caller owns. */
static Pohmel__Caller caller_of(fuse_req_t req, struct ph_groups **groups)
{
    const struct fuse_ctx *ctx = fuse_req_ctx(req);
    Pohmel__Caller caller = POHMEL__CALLER__INIT;
    caller.uid = ctx->uid;
    caller.gid = ctx->gid;
    *groups = ph_groups_cache_get(ph_mount_of(req)->groups, ctx->pid, ctx->uid, ctx->gid, ph_link_now_ms());
    if (*groups != NULL) {
        caller.n_groups = (*groups)->count;
        caller.groups = (*groups)->ids;
    }
    return caller;
}

static bool leases_tell_all(const struct ph_mount *mount)
{
    return mount->caching && ph_link_info(mount->link)->acts_as_caller;
}

bool ph_open_dir_here(fuse_req_t req, uint64_t object)
{
    struct ph_mount *mount = ph_mount_of(req);
    if (!leases_tell_all(mount))
        return false;
    struct ph_groups *groups;
    Pohmel__Caller caller = caller_of(req, &groups);
    bool may = ph_coherence_may_list(mount->coherence, &caller, object);
    ph_groups_unref(groups);
    if (!may)
        return false;
    struct ph_open *open = ph_open_new(mount, object, 0);
    open->directory = true;
    enum ph_dir_keep keep = ph_coherence_dir_open(mount->coherence, open);
    const struct fuse_file_info info = {
        .fh = (uint64_t) (uintptr_t) open,
        .cache_readdir = keep != PH_DIR_ASKED,
        .keep_cache = keep != PH_DIR_FILL, /* who keeps nothing leaves alone what others fill */
    };
    if (fuse_reply_open(req, &info) != 0) {
        ph_coherence_dir_close(mount->coherence, open);
        ph_open_unref(open);
    }
    return true;
}

bool ph_open_here(fuse_req_t req, uint64_t object, int flags)
{
    struct ph_mount *mount = ph_mount_of(req);
    if ((flags & O_ACCMODE) != O_RDONLY || (flags & (O_TRUNC | O_DIRECT)) != 0 || !leases_tell_all(mount))
        return false;
    /* Past the pages, then, which are for those who may store into them. */
    if (ph_coherence_maps_strictly(mount->coherence) && ph_coherence_has_writer(mount->coherence, object))
        return false;
    struct ph_open *open = ph_open_new(mount, object, 0);
    Pohmel__Caller caller = caller_of(req, &open->opener.groups);
    open->opener.uid = caller.uid;
    open->opener.gid = caller.gid;
    open->opener.execute = (flags & PH_OPEN_EXECUTING) != 0;
    if (!ph_coherence_open_begin(mount->coherence, &caller, open, open->opener.execute)) {
        ph_open_unref(open);
        return false;
    }
    const struct fuse_file_info info = {.fh = (uint64_t) (uintptr_t) open, .keep_cache = 1};
    if (fuse_reply_open(req, &info) != 0) {
        ph_coherence_open_end(mount->coherence, open);
        ph_open_unref(open);
    }
    return true;
}

void ph_open_here_closed(struct ph_open *open)
{
    pthread_mutex_lock(&open->mutex);
    open->closed = true;
    pthread_mutex_unlock(&open->mutex);
    ph_coherence_open_end(open->mount->coherence, open);
    ph_coherence_dir_close(open->mount->coherence, open);
}

/* --- Opening there --- */

/* The handle is used from now on, unless another one was faster, or none is needed any more. */
static void take_handle(struct ph_open *open, uint64_t handle)
{
    pthread_mutex_lock(&open->mutex);
    bool taken = open->handle == 0 && !open->closed;
    if (taken) {
        open->generation = ph_link_generation(open->mount->link);
        open->handle = handle;
    }
    pthread_mutex_unlock(&open->mutex);
    if (!taken)
        ph_open_send_close(open->mount, open->object, handle);
    ph_coherence_open_end(open->mount->coherence, open);
}

/* The server has answered STATUS. Whether that is final: the file cannot be read any more, as after the loss
 * of a session. A session that was lost is not: the next one is asked. */
static bool is_refused(struct ph_open *open, uint32_t status)
{
    if (status == PH_ST_CANCELLED || status == PH_ST_NO_SESSION || status == PH_ST_SHUTTING_DOWN ||
        open->directory)
        return false;
    pthread_mutex_lock(&open->mutex);
    if (open->handle == 0) {
        open->generation = 0;
        open->handle = DEAD_HANDLE;
    }
    pthread_mutex_unlock(&open->mutex);
    ph_coherence_open_end(open->mount->coherence, open);
    return true;
}

/* Sends it, by the lane of write-back where that is allowed: others may wait for the answer, then, and must
 * not wait for what waits for them. Otherwise it waits for its session as all do. */
static uint64_t send_open(struct ph_open *open, uint64_t handle, const Pohmel__Caller *caller, bool again,
                          bool brief, uint32_t data_max, ph_reply_fn fn, void *data)
{
    struct ph_mount *mount = open->mount;
    uint64_t generation;
    Pohmel__OpenRequest message = POHMEL__OPEN_REQUEST__INIT;
    message.caller = (Pohmel__Caller *) caller;
    message.object = open->object;
    message.handle = handle;
    message.access = PH_OPEN_READ;
    message.directory = open->directory;
    message.execute = open->opener.execute;
    message.data_max = data_max;
    message.brief = brief;
    bool lane = !again && !open->directory &&
                ph_coherence_open_at_once(mount->coherence, open->object, &generation) &&
                (mount->writeback == NULL || !ph_writeback_is_dirty(mount->writeback, open->object));
    if (lane)
        return ph_link_send_flush(mount->link, generation, PH_CMD_OPEN, &message.base, NULL, fn, data);
    return ph_send_open(mount->stub, &message, NULL, fn, data);
}

static Pohmel__Caller opener(const struct ph_open *open)
{
    Pohmel__Caller caller = POHMEL__CALLER__INIT;
    caller.uid = open->opener.uid;
    caller.gid = open->opener.gid;
    if (open->opener.groups != NULL) {
        caller.n_groups = open->opener.groups->count;
        caller.groups = open->opener.groups->ids;
    }
    return caller;
}

/* --- For a request --- */

static void opened(void *data, const struct ph_reply *reply);

static void send_request(struct ph_request *request)
{
    struct ph_open *open = request->open;
    Pohmel__Caller caller = open->directory ? request->caller : opener(open);
    request->handle = ph_link_new_handle(request->mount->link);
    request->ask = ph_coherence_ask(request->mount->coherence);
    atomic_store(&request->ticket, 0); /* tickets of the lane are smaller */
    ph_request_sent(request,
                    send_open(open, request->handle, &caller, request->opens_again, request->opens_to_read,
                              open->directory ? 0 : PH_SMALL_FILE_MAX_BYTES, opened, request));
}

static void not_opened(struct ph_request *request, uint32_t status)
{
    struct ph_open *open = request->open;
    bool abandoned = atomic_load(&request->abandoned);
    if (abandoned) /* the server may have it open all the same */
        ph_open_send_close(request->mount, open->object, request->handle);
    if (!is_refused(open, status) && !abandoned && status == PH_ST_NO_SESSION && !request->opens_again) {
        request->opens_again = true;
        ph_request_again(request);
        send_request(request);
        return;
    }
    void (*fail)(struct ph_request *, uint32_t) = request->fail != NULL ? request->fail : ph_request_finish;
    fail(request, status != PH_ST_OK ? status : PH_ST_IO_ERROR);
}

static void opened(void *data, const struct ph_reply *reply)
{
    struct ph_request *request = data;
    struct ph_open *open = request->open;
    const Pohmel__OpenReply *result = ph_reply_open(reply);
    bool brief = result != NULL && result->closed;
    if (result == NULL || (brief && (!request->opens_to_read || reply->payload == NULL))) {
        not_opened(request, reply->status);
        return;
    }
    if (open->directory) {
        struct ph_told told;
        ph_coherence_learn(request->mount->coherence, &request->ask, result->attr, &told);
        ph_coherence_told(request->mount->coherence, &told, false);
    } else if (reply->payload != NULL) {
        /* The attributes are not learned: the lane goes past write-back, which knows them better. */
        request->brought = ph_blob_ref(reply->payload);
        ph_brought_missed(request->mount->brought);
        ph_open_keep_data(open, reply->payload, &request->ask);
    }
    if (!brief) /* else it stays open here only */
        take_handle(open, request->handle);
    ph_request_again(request);
    request->go(request);
}

void ph_open_there(struct ph_request *request, void (*go)(struct ph_request *request))
{
    if (request->open->handle != 0) {
        go(request);
        return;
    }
    request->go = go;
    send_request(request);
}

/* --- Before a change --- */

static void open_next(struct ph_request *request);

/* What cannot be opened any more is no reason not to change anything. */
static void skip(struct ph_request *request, uint32_t status)
{
    if (status == PH_ST_CANCELLED || status == PH_ST_NO_SESSION || status == PH_ST_SHUTTING_DOWN) {
        ph_request_finish(request, status);
        return;
    }
    ph_request_again(request);
    open_next(request);
}

static void open_next(struct ph_request *request)
{
    struct ph_coherence *coherence = request->mount->coherence;
    g_clear_pointer(&request->brought, ph_blob_unref);
    request->opens_again = false;
    do {
        ph_open_unref(request->open);
        request->open = ph_coherence_open_any(coherence, request->opens_of);
        if (request->open != NULL && request->open->handle != 0)
            ph_coherence_open_end(coherence, request->open);
    } while (request->open != NULL && request->open->handle != 0);
    if (request->open == NULL)
        request->went(request);
    else
        ph_open_there(request, open_next);
}

void ph_open_there_first(struct ph_request *request, uint64_t object, void (*go)(struct ph_request *request))
{
    request->opens_of = object;
    request->went = go;
    request->fail = skip;
    open_next(request);
}

/* --- For those who want the lease --- */

struct going {
    struct ph_open *open;
    uint64_t handle;
    bool again;
};

static void went(void *data, const struct ph_reply *reply);

static void send_going(struct going *going)
{
    Pohmel__Caller caller = opener(going->open);
    going->handle = ph_link_new_handle(going->open->mount->link);
    send_open(going->open, going->handle, &caller, going->again, false, 0, went, going);
}

static void went(void *data, const struct ph_reply *reply)
{
    struct going *going = data;
    struct ph_open *open = going->open;
    if (ph_reply_open(reply) != NULL) {
        take_handle(open, going->handle);
    } else if (!is_refused(open, reply->status) && reply->status == PH_ST_NO_SESSION && !going->again) {
        going->again = true;
        send_going(going);
        return;
    }
    ph_open_unref(open);
    g_free(going);
}

void ph_open_there_soon(struct ph_open *open)
{
    struct going *going = g_new0(struct going, 1);
    going->open = ph_open_ref(open);
    send_going(going);
}
