#include "client/fuse/request.h"

#include <errno.h>

#include "client/fuse/coherence.h"
#include "client/fuse/gone_dirs.h"
#include "client/fuse/fresh.h"
#include "client/fuse/groups.h"
#include "client/fuse/interrupt.h"
#include "ph_commands.h"
#include "runtime/wire/command.h"
#include "runtime/base/zeroed.h"

static void unref(struct ph_request *request)
{
    if (atomic_fetch_sub(&request->refs, 1) != 1)
        return;
    ph_groups_unref(request->groups);
    ph_open_unref(request->open);
    ph_blob_unref(request->brought);
    ph_blob_unref(request->value);
    g_free(request->name);
    g_free(request->extra);
    free(request);
}

struct ph_request *ph_request_begin(fuse_req_t req, enum ph_wait wait)
{
    const struct fuse_ctx *ctx = fuse_req_ctx(req);
    struct ph_request *request = ph_zeroed(sizeof *request);
    request->mount = ph_mount_of(req);
    request->req = req;
    request->pid = ctx->pid;
    request->wait = wait;
    atomic_init(&request->refs, 2); /* the sender and the callback */

    request->groups =
        ph_groups_cache_get(request->mount->groups, ctx->pid, ctx->uid, ctx->gid, ph_link_now_ms());
    pohmel__caller__init(&request->caller);
    request->caller.uid = ctx->uid;
    request->caller.gid = ctx->gid;
    if (request->groups != NULL) {
        request->caller.n_groups = request->groups->count;
        request->caller.groups = request->groups->ids;
    }
    if (!request->mount->caching)
        ph_fresh_forget(request->mount->fresh, ctx->pid);
    request->ask = ph_coherence_ask(request->mount->coherence);
    ph_interrupts_add(request->mount->interrupts, request);
    return request;
}

void ph_request_sent(struct ph_request *request, uint64_t ticket)
{
    /* The second message of a request may be sent by its callback before the sender of the
     * first gets here; later tickets are larger. */
    uint64_t known = atomic_load(&request->ticket);
    while (known < ticket && !atomic_compare_exchange_weak(&request->ticket, &known, ticket))
        continue;
    unref(request);
}

void ph_request_again(struct ph_request *request)
{
    atomic_fetch_add(&request->refs, 1);
}

void ph_request_changes(struct ph_request *request, uint64_t object)
{
    ph_coherence_change_object(request->mount->coherence, &request->change, object);
    ph_coherence_change_sent(request->mount->coherence, &request->change);
}

void ph_request_changes_attributes(struct ph_request *request, uint64_t object)
{
    ph_coherence_change_tells(&request->change);
    ph_request_changes(request, object);
}

void ph_request_changes_xattrs(struct ph_request *request, uint64_t object)
{
    ph_coherence_change_xattrs(request->mount->coherence, &request->change, object);
    ph_coherence_change_sent(request->mount->coherence, &request->change);
}

/* A change whose requester was killed: it is not known yet what it came to. */
struct late_change {
    struct ph_coherence *coherence;
    struct ph_cache_change change;
};

static void change_is_over(void *data)
{
    struct late_change *late = data;
    ph_coherence_change_end_late(late->coherence, &late->change);
    g_free(late);
}

static void end_change_late(struct ph_request *request)
{
    if (!ph_coherence_changing(&request->change))
        return;
    struct late_change *late = g_new0(struct late_change, 1);
    late->coherence = request->mount->coherence;
    late->change = request->change;
    request->change = (struct ph_cache_change){0};
    ph_mount_when_late(request->mount, atomic_load(&request->ticket), change_is_over, late);
}

void ph_request_settle(struct ph_request *request)
{
    ph_interrupts_remove(request->mount->interrupts, request);
    if (atomic_load(&request->abandoned))
        end_change_late(request);
    else
        ph_coherence_change_end(request->mount->coherence, &request->change);
}

void ph_request_end(struct ph_request *request)
{
    unref(request);
}

void ph_request_fail(struct ph_request *request, int error)
{
    ph_request_settle(request);
    fuse_reply_err(request->req, error);
    ph_request_end(request);
}

void ph_request_finish(struct ph_request *request, uint32_t status)
{
    /* What is asked for in a directory that is gone is not there, whether the server still knows it or not.
     */
    bool gone = status == PH_ST_STALE && ph_gone_dirs_find(request->mount->gone_dirs, request->object, NULL);
    ph_request_fail(request, gone ? ENOENT : ph_request_errno(status));
}

void ph_request_refuse(struct ph_request *request, int error)
{
    ph_request_fail(request, error);
    ph_request_sent(request, 0);
}

void ph_request_done(void *data, const struct ph_reply *reply)
{
    ph_request_finish(data, reply->status);
}

int ph_request_errno(uint32_t status)
{
    switch (status) {
    case PH_ST_NO_SESSION:
    case PH_ST_SHUTTING_DOWN:
    case PH_ST_FENCED:
    case PH_ST_WRONG_STATE:
    case PH_ST_BAD_SEQUENCE:
    case PH_ST_NO_CREDIT:
    case PH_ST_MALFORMED:
        return EIO; /* between client and server; applications know no better word */
    case PH_ST_BAD_HANDLE:
        /* The kernel has checked the descriptor: the handle went with a session that
         * ended while the request was on its way. */
        return EIO;
    case PH_ST_UNKNOWN_COMMAND:
        return EOPNOTSUPP; /* ENOSYS would make the kernel never ask again */
    default:
        return ph_status_to_errno(status);
    }
}
