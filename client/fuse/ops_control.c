#include <errno.h>
#include <sys/stat.h>

#include "client/control.h"
#include "client/fuse/coherence.h"
#include "client/fuse/coherence_look.h"
#include "client/fuse/control_look.h"
#include "client/fuse/open_here.h"
#include "client/fuse/ops.h"
#include "client/fuse/ops_txn.h"
#include "client/fuse/request.h"
#include "ph_commands.h"
#include "ph_stubs.h"
#include "runtime/base/limits.h"

enum { PATH_NAMES_MAX = 2048 }; /* MkpathRequest.names */

/* Answers the ioctl that is kept in the request, SIZE bytes of it. The call
 * as such worked: what the deed came to stands inside. */
static void reply_control(struct ph_request *request, size_t size)
{
    ph_request_settle(request);
    fuse_reply_ioctl(request->req, 0, request->extra, size);
    ph_request_end(request);
}

static int32_t outcome(uint32_t status, const char *words, char text[PH_IOC_TEXT_BYTES])
{
    int error = ph_request_errno(status);
    text[0] = '\0';
    if (error != 0)
        g_strlcpy(text, words != NULL && words[0] != '\0' ? words : g_strerror(error), PH_IOC_TEXT_BYTES);
    return error;
}

static void flush_done(void *data, const struct ph_reply *reply)
{
    struct ph_request *request = data;
    struct ph_ioc_flush *control = request->extra;
    control->error = outcome(reply->status, reply->text, control->text);
    if (control->error == 0)
        ph_coherence_synced(request->mount->coherence, 0, &request->ask);
    reply_control(request, sizeof *control);
}

static void send_flush(struct ph_request *request)
{
    Pohmel__SyncRequest message = POHMEL__SYNC_REQUEST__INIT;
    message.caller = &request->caller;
    message.object = request->object;
    message.handle = ph_open_alive(request->mount, request->open) ? request->open->handle : 0;
    message.tree = true;
    request->ask = ph_coherence_ask(request->mount->coherence);
    ph_request_sent(request, ph_send_sync(request->mount->stub, &message, NULL, flush_done, request));
}

static void mkpath_done(void *data, const struct ph_reply *reply)
{
    struct ph_request *request = data;
    struct ph_ioc_mkpath *control = request->extra;
    const Pohmel__MkpathResult *result = ph_reply_mkpath(reply);
    uint32_t status = reply->status == PH_ST_OK && result == NULL ? PH_ST_IO_ERROR : reply->status;
    control->error = outcome(status, reply->text, control->text);
    control->made = result != NULL ? result->made : 0;
    ph_coherence_change_end(request->mount->coherence, &request->change);
    ph_coherence_names_changed(request->mount->coherence);
    reply_control(request, sizeof *control);
}

/* Splits the path into NAMES; their number, or 0 when it is not as control.h says. */
static size_t split(char *path, size_t len, ProtobufCBinaryData *names, size_t max)
{
    size_t count = 0;
    for (char *at = path, *end = path + len; at <= end; count++) {
        char *slash = memchr(at, '/', (size_t) (end - at));
        size_t n = (size_t) ((slash != NULL ? slash : end) - at);
        bool dots = (n == 1 && at[0] == '.') || (n == 2 && at[0] == '.' && at[1] == '.');
        if (count == max || n == 0 || n > PH_NAME_MAX_BYTES || dots || memchr(at, '\0', n) != NULL)
            return 0;
        names[count] = (ProtobufCBinaryData){n, (uint8_t *) at};
        at += n + 1;
    }
    return count;
}

/* It changes what is not known from here: all that is kept is given up. */
static void changes_anything(struct ph_request *request)
{
    ph_coherence_change_all(request->mount->coherence, &request->change);
    ph_coherence_change_sent(request->mount->coherence, &request->change);
}

static void send_mkpath(struct ph_request *request)
{
    struct ph_ioc_mkpath *control = request->extra;
    g_autofree ProtobufCBinaryData *names = g_new(ProtobufCBinaryData, PATH_NAMES_MAX);
    size_t count = control->length <= sizeof control->names
                       ? split(control->names, control->length, names, PATH_NAMES_MAX)
                       : 0;
    if (count == 0) {
        ph_request_refuse(request, EINVAL);
        return;
    }
    if (ph_link_info(request->mount->link)->read_only) {
        ph_request_refuse(request, EROFS);
        return;
    }
    Pohmel__MkpathRequest message = POHMEL__MKPATH_REQUEST__INIT;
    message.caller = &request->caller;
    message.parent = request->object;
    message.n_names = count;
    message.names = names;
    message.first_object = ph_link_new_objects(request->mount->link, (uint32_t) count);
    message.mode = control->mode & ALLPERMS;
    if (message.first_object == 0) {
        ph_request_refuse(request, ENOSPC);
        return;
    }
    changes_anything(request);
    ph_request_sent(request, ph_send_mkpath(request->mount->stub, &message, NULL, mkpath_done, request));
}

static void rmtree_done(void *data, const struct ph_reply *reply)
{
    struct ph_request *request = data;
    struct ph_ioc_rmtree *control = request->extra;
    const Pohmel__RmtreeResult *result = ph_reply_rmtree(reply);
    uint32_t status = reply->status == PH_ST_OK && result == NULL ? PH_ST_IO_ERROR : reply->status;
    control->error = outcome(status, reply->text, control->text);
    control->removed = result != NULL ? result->removed : 0;
    ph_coherence_change_end(request->mount->coherence, &request->change);
    ph_coherence_names_changed(request->mount->coherence);
    reply_control(request, sizeof *control);
}

static void send_rmtree(struct ph_request *request)
{
    struct ph_ioc_rmtree *control = request->extra;
    ProtobufCBinaryData name;
    split(control->name, control->length, &name, 1);
    Pohmel__RmtreeRequest message = POHMEL__RMTREE_REQUEST__INIT;
    message.caller = &request->caller;
    message.parent = request->object;
    message.name = name;
    message.object = control->object;
    ph_request_sent(request, ph_send_rmtree(request->mount->stub, &message, NULL, rmtree_done, request));
}

static void begin_rmtree(struct ph_request *request)
{
    struct ph_ioc_rmtree *control = request->extra;
    ProtobufCBinaryData name;
    if (control->length > PH_NAME_MAX_BYTES || split(control->name, control->length, &name, 1) != 1) {
        ph_request_refuse(request, EINVAL);
        return;
    }
    changes_anything(request);
    ph_open_there_first(request, 0, send_rmtree);
}

/* Looking is answered here and now: it must work when the server does not. False: COMMAND is another one. */
static bool look(fuse_req_t req, fuse_ino_t object, unsigned command, const void *in, size_t in_size,
                 size_t out_size)
{
    struct ph_mount *mount = ph_mount_of(req);
    g_autofree void *control = NULL;
    if (command == PH_IOC_STATUS && out_size == sizeof(struct ph_ioc_status)) {
        control = g_malloc0(out_size);
        ph_control_status(mount, control);
    } else if (command == PH_IOC_LEASES && in_size == sizeof(struct ph_ioc_leases) && out_size == in_size) {
        control = g_memdup2(in, in_size);
        ph_control_leases(mount, fuse_req_ctx(req)->uid, control);
    } else if (command == PH_IOC_STATE && in_size == sizeof(struct ph_ioc_state) && out_size == in_size) {
        control = g_memdup2(in, in_size);
        ph_control_state(mount, object, control);
    } else {
        return false;
    }
    fuse_reply_ioctl(req, 0, control, out_size);
    return true;
}

/* Struct that COMMAND carries, in bytes; 0 for a command that is not ours. */
static size_t control_size(unsigned command)
{
    switch (command) {
    case PH_IOC_FLUSH:
        return sizeof(struct ph_ioc_flush);
    case PH_IOC_MKPATH:
        return sizeof(struct ph_ioc_mkpath);
    case PH_IOC_RMTREE:
        return sizeof(struct ph_ioc_rmtree);
    case PH_IOC_TXN:
        return sizeof(struct ph_ioc_txn);
    default:
        return 0;
    }
}

void ph_op_ioctl(fuse_req_t req, fuse_ino_t object, unsigned command, void *arg, struct fuse_file_info *info,
                 unsigned flags, const void *in, size_t in_size, size_t out_size)
{
    if (look(req, object, command, in, in_size, out_size))
        return;
    size_t size = control_size(command);
    if (size == 0 || in_size != size || out_size != size) {
        fuse_reply_err(req, ENOTTY);
        return;
    }
    if (command == PH_IOC_TXN) {
        ph_op_txn(req, object, info, in);
        return;
    }
    struct ph_request *request = ph_request_begin(req, PH_WAIT_KILLED);
    request->object = object;
    request->open = ph_open_ref(ph_open_of(info));
    request->extra = g_memdup2(in, in_size);
    if (command == PH_IOC_FLUSH)
        send_flush(request);
    else if (command == PH_IOC_MKPATH)
        send_mkpath(request);
    else
        begin_rmtree(request);
}
