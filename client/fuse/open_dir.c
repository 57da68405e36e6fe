#include "client/fuse/open_dir.h"

#include "client/core/may.h"
#include "client/fuse/coherence_listing.h"
#include "client/fuse/groups.h"
#include "ph_commands.h"
#include "ph_stubs.h"

bool ph_open_dir_here(fuse_req_t req, uint64_t object)
{
    struct ph_mount *mount = ph_mount_of(req);
    const struct fuse_ctx *ctx = fuse_req_ctx(req);
    if (!mount->caching || !ph_link_info(mount->link)->acts_as_caller)
        return false;
    Pohmel__Caller caller = POHMEL__CALLER__INIT;
    caller.uid = ctx->uid;
    caller.gid = ctx->gid;
    struct ph_groups *groups =
        ph_groups_cache_get(mount->groups, ctx->pid, ctx->uid, ctx->gid, ph_link_now_ms());
    if (groups != NULL) {
        caller.n_groups = groups->count;
        caller.groups = groups->ids;
    }
    bool may = ph_coherence_may_list(mount->coherence, &caller, object);
    ph_groups_unref(groups);
    if (!may)
        return false;
    struct ph_open *open = ph_open_new(object, 0);
    const struct fuse_file_info info = {.fh = (uint64_t) (uintptr_t) open};
    if (fuse_reply_open(req, &info) != 0)
        ph_open_unref(open);
    return true;
}

/* The handle is used from now on, unless another request was faster. */
static void take_handle(struct ph_request *request)
{
    struct ph_open *open = request->open;
    pthread_mutex_lock(&open->mutex);
    bool first = open->handle == 0;
    if (first) {
        open->generation = ph_link_generation(request->mount->link);
        open->handle = request->handle;
    }
    pthread_mutex_unlock(&open->mutex);
    if (!first)
        ph_open_send_close(request->mount, open->object, request->handle);
}

static void opened(void *data, const struct ph_reply *reply)
{
    struct ph_request *request = data;
    const Pohmel__OpenReply *result = ph_reply_open(reply);
    if (result == NULL) {
        if (atomic_load(&request->abandoned)) /* the server may have it open all the same */
            ph_open_send_close(request->mount, request->open->object, request->handle);
        ph_request_finish(request, reply->status != PH_ST_OK ? reply->status : PH_ST_IO_ERROR);
        return;
    }
    struct ph_told told;
    ph_coherence_learn(request->mount->coherence, &request->ask, result->attr, &told);
    ph_coherence_told(request->mount->coherence, &told, false);
    take_handle(request);
    ph_request_again(request);
    request->go(request);
}

void ph_open_dir_there(struct ph_request *request, void (*go)(struct ph_request *request))
{
    if (request->open->handle != 0) {
        go(request);
        return;
    }
    request->go = go;
    request->handle = ph_link_new_handle(request->mount->link);
    Pohmel__OpenRequest message = POHMEL__OPEN_REQUEST__INIT;
    message.caller = &request->caller;
    message.object = request->open->object;
    message.handle = request->handle;
    message.access = PH_OPEN_READ;
    message.directory = true;
    ph_request_sent(request, ph_send_open(request->mount->stub, &message, NULL, opened, request));
}
