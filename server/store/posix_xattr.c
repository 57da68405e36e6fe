/* Extended attributes, access control lists among them. */
#include <errno.h>
#include <string.h>
#include <linux/limits.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "server/store/posix_internal.h"

enum { FLAG_CREATE = 1 << 0, FLAG_REPLACE = 1 << 1 };

#define ACL_PREFIX "system.posix_acl_"

static bool name_string(const ProtobufCBinaryData *bytes, char name[XATTR_NAME_MAX + 1])
{
    if (bytes->len == 0 || bytes->len > XATTR_NAME_MAX || memchr(bytes->data, '\0', bytes->len) != NULL)
        return false;
    memcpy(name, bytes->data, bytes->len);
    name[bytes->len] = '\0';
    return true;
}

/* What attributes of that name are to CALLER. The server keeps capabilities that
 * the kernel asks for here, so that what they protect is checked by hand. */
static uint32_t name_check(const char *name, const Pohmel__Caller *caller, bool change)
{
    if (g_str_has_prefix(name, "user.") || g_str_has_prefix(name, ACL_PREFIX))
        return PH_ST_OK;
    if (g_str_has_prefix(name, "security."))
        return !change || caller->uid == 0 ? PH_ST_OK : PH_ST_NOT_PERMITTED;
    if (g_str_has_prefix(name, "trusted."))
        return caller->uid == 0 ? PH_ST_OK : change ? PH_ST_NOT_PERMITTED : PH_ST_NO_ATTRIBUTE;
    return PH_ST_UNSUPPORTED;
}

/* The object, acted on as its caller through PATH. */
struct target {
    struct ph_object *object;
    struct ph_fd *fd;
    char path[32];
};

static uint32_t target_begin(struct ph_posix_store *store, struct ph_call *call, const Pohmel__Caller *caller,
                             uint64_t id, struct target *target)
{
    memset(target, 0, sizeof *target);
    target->object = ph_object_by_id(store, id);
    if (target->object == NULL)
        return ph_store_stale(call, id);
    uint32_t status = ph_store_become(store, caller);
    if (status == PH_ST_OK)
        status = ph_object_fd(store, target->object, &target->fd);
    if (status == PH_ST_OK)
        status = ph_store_become(store, caller);
    if (status == PH_ST_OK)
        ph_proc_path(target->fd->fd, target->path);
    return status;
}

static void target_end(struct ph_posix_store *store, struct target *target)
{
    ph_fd_unref(target->fd);
    ph_object_unref(store, target->object);
}

static uint64_t target_version(struct ph_posix_store *store, const struct target *target)
{
    struct statx stx;
    return ph_statx(target->fd->fd, "", &stx) == 0 ? ph_object_version(store, target->object, &stx, false)
                                                   : 0;
}

/* Reads NAME's value, or with NAME NULL the list of names, of whatever length it is. */
static uint32_t fetch(struct ph_call *call, const struct target *target, const char *name,
                      struct ph_blob **out)
{
    for (int attempt = 0; attempt < 4; attempt++) {
        ssize_t len = name != NULL ? getxattr(target->path, name, NULL, 0) : listxattr(target->path, NULL, 0);
        if (len < 0)
            break;
        if (len > PH_XATTR_MAX_BYTES)
            return PH_ST_RANGE_ERROR;
        struct ph_blob *blob = ph_blob_new((size_t) len + 1);
        if (blob == NULL)
            return PH_ST_NO_MEMORY;
        len = name != NULL ? getxattr(target->path, name, blob->data, blob->capacity)
                           : listxattr(target->path, (char *) blob->data, blob->capacity);
        if (len >= 0) {
            blob->len = (size_t) len;
            *out = blob;
            return PH_ST_OK;
        }
        int failed = errno;
        ph_blob_unref(blob);
        errno = failed;
        if (failed != ERANGE) /* it grew in between */
            break;
    }
    return ph_store_errno(call, "read an extended attribute");
}

uint32_t ph_posix_getxattr(void *self, struct ph_call *call, const Pohmel__GetxattrRequest *request,
                           Pohmel__GetxattrReply *reply)
{
    struct ph_posix_store *store = self;
    struct target target = {0};
    char name[XATTR_NAME_MAX + 1];
    if (!name_string(&request->name, name))
        return PH_ST_RANGE_ERROR;
    uint32_t status = name_check(name, request->caller, false);
    if (status != PH_ST_OK)
        return status;
    status = target_begin(store, call, request->caller, request->object, &target);
    if (status == PH_ST_OK)
        reply->version = target_version(store, &target); /* before: what it is read from is no older */
    if (status == PH_ST_OK)
        status = fetch(call, &target, name, &call->payload_out);
    target_end(store, &target);
    return status;
}

/* Keeps the names that CALLER may know of. */
static void list_filter(struct ph_blob *blob, const Pohmel__Caller *caller)
{
    char *names = (char *) blob->data;
    size_t kept = 0;
    for (size_t at = 0; at < blob->len;) {
        size_t len = strnlen(names + at, blob->len - at) + 1;
        if (at + len > blob->len)
            break;
        if (name_check(names + at, caller, false) == PH_ST_OK) {
            memmove(names + kept, names + at, len);
            kept += len;
        }
        at += len;
    }
    blob->len = kept;
}

uint32_t ph_posix_listxattr(void *self, struct ph_call *call, const Pohmel__ListxattrRequest *request,
                            Pohmel__ListxattrReply *reply)
{
    struct ph_posix_store *store = self;
    struct target target = {0};
    uint32_t status = target_begin(store, call, request->caller, request->object, &target);
    if (status == PH_ST_OK)
        reply->version = target_version(store, &target);
    if (status == PH_ST_OK)
        status = fetch(call, &target, NULL, &call->payload_out);
    if (status == PH_ST_OK)
        list_filter(call->payload_out, request->caller);
    target_end(store, &target);
    return status;
}

/* A list that says nothing but the mode bits is kept by the kernel as mode bits:
 * setgid goes as with chmod(2), by the caller's groups. */
uint32_t ph_posix_setxattr(void *self, struct ph_call *call, const Pohmel__SetxattrRequest *request,
                           Pohmel__AttrResult *result)
{
    struct ph_posix_store *store = self;
    struct target target = {0};
    char name[XATTR_NAME_MAX + 1];
    const uint8_t *value = ph_call_take_payload(call, request->length);
    if (value == NULL && request->length > 0)
        return ph_fault_set(&call->fault, PH_ST_MALFORMED, "the payload is shorter than the value");
    if (!name_string(&request->name, name))
        return PH_ST_RANGE_ERROR;
    uint32_t status = ph_store_check_writable(store, call);
    if (status == PH_ST_OK)
        status = name_check(name, request->caller, true);
    if (status == PH_ST_OK)
        status = ph_space_check(store, call, 0);
    if (status != PH_ST_OK)
        return status;
    status = target_begin(store, call, request->caller, request->object, &target);
    if (status == PH_ST_OK) {
        int flags = (request->flags & FLAG_CREATE ? XATTR_CREATE : 0) |
                    (request->flags & FLAG_REPLACE ? XATTR_REPLACE : 0);
        if (setxattr(target.path, name, request->length > 0 ? (const void *) value : "", request->length,
                     flags) != 0)
            status = errno == E2BIG ? PH_ST_RANGE_ERROR : ph_store_errno(call, "set an extended attribute");
    }
    if (status == PH_ST_OK)
        status = ph_attr_of(store, call, target.object, true, &result->attr);
    target_end(store, &target);
    return status;
}

uint32_t ph_posix_removexattr(void *self, struct ph_call *call, const Pohmel__RemovexattrRequest *request,
                              Pohmel__AttrResult *result)
{
    struct ph_posix_store *store = self;
    struct target target = {0};
    char name[XATTR_NAME_MAX + 1];
    if (!name_string(&request->name, name))
        return PH_ST_RANGE_ERROR;
    uint32_t status = ph_store_check_writable(store, call);
    if (status == PH_ST_OK)
        status = name_check(name, request->caller, true);
    if (status != PH_ST_OK)
        return status;
    status = target_begin(store, call, request->caller, request->object, &target);
    if (status == PH_ST_OK && removexattr(target.path, name) != 0)
        status = ph_store_errno(call, "remove an extended attribute");
    if (status == PH_ST_OK)
        status = ph_attr_of(store, call, target.object, true, &result->attr);
    target_end(store, &target);
    return status;
}
