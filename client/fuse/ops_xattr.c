#include <errno.h>

#include "client/fuse/coherence.h"
#include "client/fuse/control_look.h"
#include "client/fuse/open_here.h"
#include "client/fuse/ops.h"
#include "client/fuse/request.h"
#include "ph_commands.h"
#include "ph_stubs.h"
#include "runtime/base/limits.h"

enum { FLAG_BITS = 3 }; /* XATTR_CREATE and XATTR_REPLACE are the protocol's bits (section 7.14) */

static bool is_access_list(const char *name)
{
    return g_str_has_prefix(name, "system.posix_acl_");
}

/* Whether the export keeps the attribute NAME (NULL: any); answers EOPNOTSUPP
 * if not, without asking: programs look for ACLs and labels with every file. */
static bool kept(fuse_req_t req, const char *name)
{
    const struct ph_link_info *info = ph_link_info(ph_mount_of(req)->link);
    bool acl = name != NULL && is_access_list(name);
    if (info->xattrs && (!acl || info->acls) && (name == NULL || strlen(name) <= PH_NAME_MAX_BYTES))
        return true;
    fuse_reply_err(req, EOPNOTSUPP);
    return false;
}

/* A value or list for whoever has room for `size` bytes of it, 0 asking how long it is. */
static void reply_value(void *data, const struct ph_reply *reply)
{
    struct ph_request *request = data;
    if (reply->status == PH_ST_OK || reply->status == PH_ST_NO_ATTRIBUTE)
        ph_coherence_learn_xattr(request->mount->coherence, &request->ask, request->object, request->name,
                                 &request->caller, reply->status != PH_ST_OK, reply->payload);
    if (reply->status != PH_ST_OK) {
        ph_request_finish(request, reply->status);
        return;
    }
    size_t len = reply->payload != NULL ? reply->payload->len : 0;
    ph_request_settle(request);
    if (request->size == 0)
        fuse_reply_xattr(request->req, len);
    else if (len > request->size)
        fuse_reply_err(request->req, ERANGE);
    else
        fuse_reply_buf(request->req, len > 0 ? (const char *) reply->payload->data : NULL, len);
    ph_request_end(request);
}

/* Answers from memory; false when the server is to be asked. */
static bool answer_known(struct ph_request *request)
{
    struct ph_blob *value = NULL;
    enum ph_cache_found found = ph_coherence_getxattr(request->mount->coherence, request->object,
                                                      request->name, &request->caller, &value);
    if (found == PH_CACHE_MISS)
        return false;
    if (request->name != NULL && is_access_list(request->name))
        ph_coherence_access_list(request->mount->coherence, request->object);
    struct ph_reply reply = {
        .status = found == PH_CACHE_FOUND ? PH_ST_OK : PH_ST_NO_ATTRIBUTE, .payload = value, .text = ""};
    request->ask = (struct ph_cache_ask){0}; /* it teaches nothing */
    reply_value(request, &reply);
    ph_blob_unref(value);
    ph_request_sent(request, 0);
    return true;
}

static void send_getxattr(struct ph_request *request)
{
    request->ask = ph_coherence_ask(request->mount->coherence);
    if (is_access_list(request->name))
        ph_coherence_access_list(request->mount->coherence, request->object);
    Pohmel__GetxattrRequest message = POHMEL__GETXATTR_REQUEST__INIT;
    message.caller = &request->caller;
    message.object = request->object;
    message.name = ph_name_bytes(request->name);
    ph_request_sent(request, ph_send_getxattr(request->mount->stub, &message, NULL, reply_value, request));
}

void ph_op_getxattr(fuse_req_t req, fuse_ino_t object, const char *name, size_t size)
{
    if (strcmp(name, PH_STATUS_XATTR) == 0) {
        ph_control_status_xattr(req, size);
        return;
    }
    if (!kept(req, name))
        return;
    if (is_access_list(name) && ph_coherence_has_no_access_list(ph_mount_of(req)->coherence, object)) {
        fuse_reply_err(req, ENODATA);
        return;
    }
    struct ph_request *request = ph_request_begin(req, PH_WAIT_KILLED);
    request->object = object;
    request->name = g_strdup(name);
    request->size = size;
    if (answer_known(request))
        return;
    /* The kernel keeps access lists, and never asks again. */
    if (is_access_list(name) && !ph_coherence_holds(request->mount->coherence, object))
        ph_request_acquire(request, send_getxattr);
    else
        send_getxattr(request);
}

void ph_op_listxattr(fuse_req_t req, fuse_ino_t object, size_t size)
{
    if (!kept(req, NULL))
        return;
    struct ph_request *request = ph_request_begin(req, PH_WAIT_KILLED);
    request->object = object;
    request->size = size;
    if (answer_known(request))
        return;
    Pohmel__ListxattrRequest message = POHMEL__LISTXATTR_REQUEST__INIT;
    message.caller = &request->caller;
    message.object = object;
    ph_request_sent(request, ph_send_listxattr(request->mount->stub, &message, NULL, reply_value, request));
}

/* Access lists are mode bits, too, and may forbid the file. */
static void change_value(struct ph_request *request, void (*send)(struct ph_request *request))
{
    ph_request_changes_xattrs(request, request->object);
    if (is_access_list(request->name))
        ph_open_there_first(request, request->object, send);
    else
        send(request);
}

static void send_setxattr(struct ph_request *request)
{
    Pohmel__SetxattrRequest message = POHMEL__SETXATTR_REQUEST__INIT;
    message.caller = &request->caller;
    message.object = request->object;
    message.name = ph_name_bytes(request->name);
    message.length = (uint32_t) request->size;
    message.flags = request->flags & FLAG_BITS;
    ph_request_sent(
        request, ph_send_setxattr(request->mount->stub, &message, request->value, ph_request_done, request));
}

void ph_op_setxattr(fuse_req_t req, fuse_ino_t object, const char *name, const char *value, size_t size,
                    int flags)
{
    if (!kept(req, name))
        return;
    struct ph_blob *payload = size > 0 && size <= PH_XATTR_MAX_BYTES ? ph_blob_copy(value, size) : NULL;
    if (payload == NULL && size > 0) {
        fuse_reply_err(req, size > PH_XATTR_MAX_BYTES ? E2BIG : ENOMEM);
        return;
    }
    struct ph_request *request = ph_request_begin(req, PH_WAIT_KILLED);
    request->object = object;
    request->name = g_strdup(name);
    request->size = size;
    request->flags = (unsigned) flags;
    request->value = payload;
    change_value(request, send_setxattr);
}

static void send_removexattr(struct ph_request *request)
{
    Pohmel__RemovexattrRequest message = POHMEL__REMOVEXATTR_REQUEST__INIT;
    message.caller = &request->caller;
    message.object = request->object;
    message.name = ph_name_bytes(request->name);
    ph_request_sent(request,
                    ph_send_removexattr(request->mount->stub, &message, NULL, ph_request_done, request));
}

void ph_op_removexattr(fuse_req_t req, fuse_ino_t object, const char *name)
{
    if (!kept(req, name))
        return;
    struct ph_request *request = ph_request_begin(req, PH_WAIT_KILLED);
    request->object = object;
    request->name = g_strdup(name);
    change_value(request, send_removexattr);
}
