#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "client/fuse/interrupt.h"
#include "client/fuse/lock_owners.h"
#include "client/fuse/notify.h"
#include "client/fuse/open_here.h"
#include "client/fuse/ops.h"
#include "client/fuse/request.h"
#include "ph_commands.h"
#include "ph_stubs.h"

/* The bytes of LOCK; its length 0 means to the end, as the protocol's largest. */
static Pohmel__Range range_of(const struct flock *lock)
{
    Pohmel__Range range = POHMEL__RANGE__INIT;
    range.offset = (uint64_t) lock->l_start;
    range.length = lock->l_len == 0 ? INT64_MAX : (uint64_t) lock->l_len;
    return range;
}

/* What is known of a lock that is asked for; kept for the callback. */
struct lock_wish {
    uint64_t object, owner;
    uint64_t offset, length;
    bool whole_file, shared;
    bool wait;
    bool second; /* asked for once more */
    pid_t process;
};

static void given_back(void *data, const struct ph_reply *reply)
{
    /* Nobody waits for it. */
}

static void send_unlock(struct ph_mount *mount, const struct lock_wish *wish, ph_reply_fn fn,
                        struct ph_request *request)
{
    Pohmel__Range range = POHMEL__RANGE__INIT;
    range.offset = wish->offset;
    range.length = wish->length;
    Pohmel__UnlockRequest message = POHMEL__UNLOCK_REQUEST__INIT;
    message.object = wish->object;
    message.owner = wish->owner;
    message.range = &range;
    message.whole_file = wish->whole_file;
    uint64_t ticket = ph_send_unlock(mount->stub, &message, NULL, fn, request);
    if (request != NULL)
        ph_request_sent(request, ticket);
}

/* A close() of whoever held the lock returns before the kernel tells its daemon
 * (RELEASE is asynchronous), so that a lock just given up may seem to be taken. Whoever will
 * not wait is therefore made to wait for a moment. */
enum { SECOND_TRY_MS = 10 };

static void lock_done(void *data, const struct ph_reply *reply);

static void send_lock(struct ph_request *request)
{
    const struct lock_wish *wish = request->extra;
    Pohmel__Range range = POHMEL__RANGE__INIT;
    range.offset = wish->offset;
    range.length = wish->length;
    Pohmel__LockRequest message = POHMEL__LOCK_REQUEST__INIT;
    message.object = wish->object;
    message.handle = request->open->handle;
    message.owner = wish->owner;
    message.process = (uint32_t) wish->process;
    message.range = &range;
    message.shared = wish->shared;
    message.whole_file = wish->whole_file;
    message.wait = wish->wait;
    ph_request_sent(request, ph_send_lock(request->mount->stub, &message, NULL, lock_done, request));
}

/* The lock is held, and the kernel keeps nothing of the file from before: who reads under a lock
 * must see what was written under the one before it, on any machine. The kernel's own looking at times
 * cannot promise that: of two answers on attributes that come at once it may take the older. */
static void granted(void *data)
{
    struct ph_request *request = data;
    if (atomic_load(&request->abandoned))
        send_unlock(request->mount, request->extra, given_back, NULL);
    ph_request_finish(request, PH_ST_OK);
}

static void lock_done(void *data, const struct ph_reply *reply)
{
    struct ph_request *request = data;
    struct lock_wish *wish = request->extra;
    bool abandoned = atomic_load(&request->abandoned);
    if (reply->status == PH_ST_WOULD_BLOCK && !wish->second && !abandoned) {
        wish->second = wish->wait = true;
        ph_request_again(request);
        ph_interrupts_limit(request->mount->interrupts, request, SECOND_TRY_MS);
        send_lock(request);
        return;
    }
    if (reply->status == PH_ST_OK && !abandoned) {
        ph_notifier_drop_then(request->mount->notifier, wish->object, granted, request);
        return;
    }
    /* The waiter was killed: should the lock be granted now, nobody would ever give it back. */
    if (abandoned)
        send_unlock(request->mount, wish, given_back, NULL);
    bool in_vain = wish->second && (reply->status == PH_ST_CANCELLED || reply->status == PH_ST_DEADLOCK);
    ph_request_finish(request, in_vain ? PH_ST_WOULD_BLOCK : reply->status);
}

/* The file is open at the server. */
static void lock_there(struct ph_request *request)
{
    const struct lock_wish *wish = request->extra;
    /* Before it is sent: the close that is to drop it may follow the grant at once. */
    if (!wish->whole_file)
        ph_lock_owners_add(request->mount->lock_owners, wish->object, wish->owner, request->open->handle);
    send_lock(request);
}

static void begin_wish(struct ph_request *request, const struct lock_wish *wish)
{
    request->extra = g_memdup2(wish, sizeof *wish);
    ph_open_there(request, lock_there);
}

static struct ph_request *begin_lock(fuse_req_t req, const struct fuse_file_info *info, bool wait)
{
    struct ph_open *open = ph_open_of(info);
    if (!ph_open_alive(ph_mount_of(req), open)) {
        fuse_reply_err(req, EIO); /* its locks were lost with the session */
        return NULL;
    }
    struct ph_request *request = ph_request_begin(req, wait ? PH_WAIT_SIGNAL : PH_WAIT_KILLED);
    request->open = ph_open_ref(open);
    return request;
}

void ph_op_setlk(fuse_req_t req, fuse_ino_t object, struct fuse_file_info *info, struct flock *lock, int wait)
{
    struct ph_mount *mount = ph_mount_of(req);
    struct ph_request *request = begin_lock(req, info, wait != 0);
    if (request == NULL)
        return;
    Pohmel__Range range = range_of(lock);
    const struct lock_wish wish = {
        .object = object,
        .owner = info->lock_owner,
        .offset = range.offset,
        .length = range.length,
        .shared = lock->l_type == F_RDLCK,
        .process = lock->l_pid,
        .wait = wait != 0,
    };
    if (lock->l_type == F_UNLCK) {
        send_unlock(mount, &wish, ph_request_done, request);
        return;
    }
    begin_wish(request, &wish);
}

void ph_op_flock(fuse_req_t req, fuse_ino_t object, struct fuse_file_info *info, int op)
{
    bool wait = (op & LOCK_NB) == 0;
    struct ph_request *request = begin_lock(req, info, wait);
    if (request == NULL)
        return;
    const struct lock_wish wish = {
        .object = object,
        .owner = info->lock_owner,
        .length = INT64_MAX,
        .whole_file = true,
        .shared = (op & ~LOCK_NB) == LOCK_SH,
        .process = fuse_req_ctx(req)->pid,
        .wait = wait,
    };
    if ((op & ~LOCK_NB) == LOCK_UN)
        send_unlock(request->mount, &wish, ph_request_done, request);
    else
        begin_wish(request, &wish);
}

static void getlk_done(void *data, const struct ph_reply *reply)
{
    struct ph_request *request = data;
    const Pohmel__LockTestReply *found = ph_reply_lock_test(reply);
    if (found == NULL || (found->conflict && found->range == NULL)) {
        ph_request_finish(request, reply->status != PH_ST_OK ? reply->status : PH_ST_IO_ERROR);
        return;
    }
    struct flock lock = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
    if (found->conflict) {
        bool to_end = found->range->length >= INT64_MAX - found->range->offset;
        lock.l_type = found->shared ? F_RDLCK : F_WRLCK;
        lock.l_start = (off_t) found->range->offset;
        lock.l_len = to_end ? 0 : (off_t) found->range->length;
        lock.l_pid = (pid_t) found->process;
    }
    ph_request_settle(request);
    fuse_reply_lock(request->req, &lock);
    ph_request_end(request);
}

void ph_op_getlk(fuse_req_t req, fuse_ino_t object, struct fuse_file_info *info, struct flock *lock)
{
    struct ph_request *request = begin_lock(req, info, false);
    if (request == NULL)
        return;
    Pohmel__Range range = range_of(lock);
    Pohmel__LockTestRequest message = POHMEL__LOCK_TEST_REQUEST__INIT;
    message.object = object;
    message.owner = info->lock_owner;
    message.range = &range;
    message.shared = lock->l_type == F_RDLCK;
    ph_request_sent(request, ph_send_lock_test(request->mount->stub, &message, NULL, getlk_done, request));
}
