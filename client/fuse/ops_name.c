#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "client/fuse/attr.h"
#include "client/fuse/brought.h"
#include "client/fuse/coherence.h"
#include "client/fuse/coherence_look.h"
#include "client/fuse/gone_dirs.h"
#include "client/fuse/coherence_listing.h"
#include "client/fuse/fresh.h"
#include "client/fuse/names.h"
#include "client/fuse/open_here.h"
#include "client/fuse/ops.h"
#include "ph_commands.h"
#include "ph_stubs.h"
#include "runtime/base/limits.h"

bool ph_name_fits(fuse_req_t req, const char *name)
{
    if (strlen(name) <= PH_NAME_MAX_BYTES)
        return true;
    fuse_reply_err(req, ENAMETOOLONG);
    return false;
}

bool ph_name_new_object(struct ph_request *request, uint64_t *object)
{
    if (ph_link_info(request->mount->link)->read_only) {
        ph_request_refuse(request, EROFS);
        return false;
    }
    *object = ph_link_new_objects(request->mount->link, 1);
    if (*object == 0)
        ph_request_refuse(request, ph_link_connected(request->mount->link) ? ENOSPC : EIO);
    return *object != 0;
}

/* Answers with what the kernel is to be told of an entry. */
static void reply_told(struct ph_request *request, const struct ph_told *told)
{
    struct fuse_entry_param entry;
    ph_told_entry(told, &entry);
    if (request->attr_once)
        entry.attr_timeout = 0;
    ph_request_settle(request);
    int failed = fuse_reply_entry(request->req, &entry);
    ph_coherence_told(request->mount->coherence, told, failed != 0);
    ph_request_end(request);
}

void ph_name_reply_made(struct ph_request *request, const Pohmel__Attr *attr)
{
    if (attr == NULL) {
        ph_request_fail(request, EIO);
        return;
    }
    struct ph_told told;
    ph_link_learn(request->mount->link, attr->object, request->object, request->name, strlen(request->name));
    ph_coherence_changed_entry(request->mount->coherence, &request->change, request->object, request->name,
                               attr, &told);
    reply_told(request, &told);
}

void ph_name_changes(struct ph_request *request, bool target)
{
    ph_coherence_change_name(request->mount->coherence, &request->change, request->object, request->name,
                             target);
    ph_coherence_change_sent(request->mount->coherence, &request->change);
}

/* Starts a request about NAME in PARENT. */
static struct ph_request *begin_name(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct ph_request *request = ph_request_begin(req, PH_WAIT_KILLED);
    request->object = parent;
    request->name = g_strdup(name);
    return request;
}

/* DATA came with ATTR, under the lease on it that this reply named. Of what was held exclusively they may be
 * older than what was written here before it was asked for, and sent meanwhile. */
static void keep_data(struct ph_mount *mount, const Pohmel__Attr *attr, struct ph_blob *data)
{
    if (data == NULL || data->len != attr->size || !S_ISREG(attr->mode) ||
        attr->lease_mode != POHMEL__LEASE_MODE__MODE_SHARED)
        return;
    struct ph_cache_ask ask = ph_coherence_ask(mount->coherence);
    ph_brought_put(mount->brought, attr->object, data, &ask);
}

static void lookup_done(void *data, const struct ph_reply *reply)
{
    struct ph_request *request = data;
    struct ph_mount *mount = request->mount;
    const Pohmel__LookupReply *found = ph_reply_lookup(reply);
    if (found == NULL) {
        ph_request_finish(request, reply->status != PH_ST_OK ? reply->status : PH_ST_IO_ERROR);
        return;
    }
    const Pohmel__Attr *attr = found->n_found > 0 ? found->found[0] : NULL;
    bool absent = attr == NULL && (found->failure == PH_ST_OK || found->failure == PH_ST_NOT_FOUND);
    if (!mount->caching)
        ph_fresh_learn(mount->fresh, request->pid, found->directory, attr, (uint64_t) g_get_monotonic_time());
    if (attr == NULL && !absent) {
        ph_request_finish(request, found->failure);
        return;
    }
    struct ph_told told;
    if (attr != NULL)
        ph_link_learn(mount->link, attr->object, request->object, request->name, strlen(request->name));
    ph_coherence_learn_entry(mount->coherence, &request->ask, request->object, found->directory,
                             request->name, attr, &told);
    if (attr != NULL && told.kept && attr->lease != 0)
        keep_data(mount, attr, reply->payload);
    reply_told(request, &told);
}

/* Answers from memory. */
static bool known(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct ph_mount *mount = ph_mount_of(req);
    struct ph_told told;
    if (ph_coherence_lookup(mount->coherence, parent, name, &told) == PH_CACHE_MISS)
        return false;
    struct fuse_entry_param entry;
    ph_told_entry(&told, &entry);
    int failed = fuse_reply_entry(req, &entry);
    ph_coherence_told(mount->coherence, &told, failed != 0);
    return true;
}

void ph_op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    if (!ph_name_fits(req, name) || known(req, parent, name))
        return;
    struct ph_request *request = begin_name(req, parent, name);
    const struct ph_mount *mount = request->mount;
    ProtobufCBinaryData names[] = {ph_name_bytes(name)};
    Pohmel__LookupRequest message = POHMEL__LOOKUP_REQUEST__INIT;
    message.caller = &request->caller;
    message.parent = parent;
    message.n_names = 1;
    message.names = names;
    if (mount->caching && ph_link_info(mount->link)->acts_as_caller)
        message.data_max = ph_brought_wanted(mount->brought);
    ph_request_sent(request, ph_send_lookup(request->mount->stub, &message, NULL, lookup_done, request));
}

static void readlink_done(void *data, const struct ph_reply *reply)
{
    struct ph_request *request = data;
    if (reply->status != PH_ST_OK || reply->payload == NULL || reply->payload->len > PH_TARGET_MAX_BYTES) {
        ph_request_finish(request, reply->status != PH_ST_OK ? reply->status : PH_ST_IO_ERROR);
        return;
    }
    ph_request_settle(request);
    fuse_reply_buf(request->req, (const char *) reply->payload->data, reply->payload->len);
    ph_request_end(request);
}

void ph_op_readlink(fuse_req_t req, fuse_ino_t object)
{
    struct ph_request *request = ph_request_begin(req, PH_WAIT_KILLED);
    Pohmel__ReadlinkRequest message = POHMEL__READLINK_REQUEST__INIT;
    message.caller = &request->caller;
    message.object = object;
    ph_request_sent(request, ph_send_readlink(request->mount->stub, &message, NULL, readlink_done, request));
}

static void create_done(void *data, const struct ph_reply *reply)
{
    const Pohmel__CreateResult *result = ph_reply_create(reply);
    if (reply->status != PH_ST_OK)
        ph_request_finish(data, reply->status);
    else
        ph_name_reply_made(data, result != NULL ? result->attr : NULL);
}

/* mknod(2) of a regular file. */
static void make_file(struct ph_request *request, uint64_t object, const char *name, mode_t mode)
{
    Pohmel__CreateRequest message = POHMEL__CREATE_REQUEST__INIT;
    message.caller = &request->caller;
    message.parent = request->object;
    message.name = ph_name_bytes(name);
    message.object = object;
    message.mode = mode & ALLPERMS;
    message.umask = fuse_req_ctx(request->req)->umask & ACCESSPERMS;
    message.exclusive = true;
    ph_name_changes(request, false);
    ph_request_sent(request, ph_send_create(request->mount->stub, &message, NULL, create_done, request));
}

static void mknod_done(void *data, const struct ph_reply *reply)
{
    const Pohmel__AttrResult *result = ph_reply_mknod(reply);
    if (reply->status != PH_ST_OK)
        ph_request_finish(data, reply->status);
    else
        ph_name_reply_made(data, result != NULL ? result->attr : NULL);
}

void ph_op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t device)
{
    uint64_t object;
    if (!ph_name_fits(req, name))
        return;
    struct ph_request *request = begin_name(req, parent, name);
    if (!ph_name_new_object(request, &object))
        return;
    if (S_ISREG(mode) || (mode & S_IFMT) == 0) {
        make_file(request, object, name, mode);
        return;
    }
    Pohmel__MknodRequest message = POHMEL__MKNOD_REQUEST__INIT;
    message.caller = &request->caller;
    message.parent = parent;
    message.name = ph_name_bytes(name);
    message.object = object;
    message.mode = mode & (S_IFMT | ALLPERMS);
    message.umask = fuse_req_ctx(req)->umask & ACCESSPERMS;
    message.device = ph_device_to_wire(device);
    ph_name_changes(request, false);
    ph_request_sent(request, ph_send_mknod(request->mount->stub, &message, NULL, mknod_done, request));
}

static void mkdir_done(void *data, const struct ph_reply *reply)
{
    const Pohmel__AttrResult *result = ph_reply_mkdir(reply);
    if (reply->status != PH_ST_OK)
        ph_request_finish(data, reply->status);
    else
        ph_name_reply_made(data, result != NULL ? result->attr : NULL);
}

void ph_op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
    uint64_t object;
    if (!ph_name_fits(req, name))
        return;
    struct ph_request *request = begin_name(req, parent, name);
    if (!ph_name_new_object(request, &object))
        return;
    Pohmel__MkdirRequest message = POHMEL__MKDIR_REQUEST__INIT;
    message.caller = &request->caller;
    message.parent = parent;
    message.name = ph_name_bytes(name);
    message.object = object;
    message.mode = mode & ALLPERMS;
    message.umask = fuse_req_ctx(req)->umask & ACCESSPERMS;
    ph_name_changes(request, false);
    ph_request_sent(request, ph_send_mkdir(request->mount->stub, &message, NULL, mkdir_done, request));
}

static void symlink_done(void *data, const struct ph_reply *reply)
{
    const Pohmel__AttrResult *result = ph_reply_symlink(reply);
    if (reply->status != PH_ST_OK)
        ph_request_finish(data, reply->status);
    else
        ph_name_reply_made(data, result != NULL ? result->attr : NULL);
}

void ph_op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
    uint64_t object;
    if (!ph_name_fits(req, name))
        return;
    struct ph_request *request = begin_name(req, parent, name);
    if (strlen(target) > PH_TARGET_MAX_BYTES) {
        ph_request_refuse(request, ENAMETOOLONG);
        return;
    }
    if (!ph_name_new_object(request, &object))
        return;
    Pohmel__SymlinkRequest message = POHMEL__SYMLINK_REQUEST__INIT;
    message.caller = &request->caller;
    message.parent = parent;
    message.name = ph_name_bytes(name);
    message.object = object;
    message.target = ph_name_bytes(target);
    ph_name_changes(request, false);
    ph_request_sent(request, ph_send_symlink(request->mount->stub, &message, NULL, symlink_done, request));
}

static void link_done(void *data, const struct ph_reply *reply)
{
    const Pohmel__AttrResult *result = ph_reply_link(reply);
    if (reply->status != PH_ST_OK)
        ph_request_finish(data, reply->status);
    else
        ph_name_reply_made(data, result != NULL ? result->attr : NULL);
}

void ph_op_link(fuse_req_t req, fuse_ino_t object, fuse_ino_t parent, const char *name)
{
    if (!ph_name_fits(req, name))
        return;
    struct ph_request *request = begin_name(req, parent, name);
    Pohmel__LinkRequest message = POHMEL__LINK_REQUEST__INIT;
    message.caller = &request->caller;
    message.object = object;
    message.parent = parent;
    message.name = ph_name_bytes(name);
    request->attr_once = true; /* which has it ask for them */
    ph_coherence_change_tells(&request->change);
    ph_coherence_change_object(request->mount->coherence, &request->change, object);
    ph_name_changes(request, false);
    ph_request_sent(request, ph_send_link(request->mount->stub, &message, NULL, link_done, request));
}

/* REMOVE or RMDIR was answered. */
static void removed(void *data, const struct ph_reply *reply)
{
    struct ph_request *request = data;
    if (reply->status == PH_ST_OK)
        ph_coherence_changed_name(request->mount->coherence, &request->change, request->object, request->name,
                                  0);
    if (reply->status == PH_ST_OK && request->extra != NULL)
        ph_gone_dirs_add(request->mount->gone_dirs, request->extra);
    ph_request_finish(request, reply->status);
}

static void send_remove(struct ph_request *request)
{
    Pohmel__RemoveRequest message = POHMEL__REMOVE_REQUEST__INIT;
    message.caller = &request->caller;
    message.parent = request->object;
    message.name = ph_name_bytes(request->name);
    ph_request_sent(request, ph_send_remove(request->mount->stub, &message, NULL, removed, request));
}

void ph_op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    if (!ph_name_fits(req, name))
        return;
    struct ph_request *request = begin_name(req, parent, name);
    uint64_t object = ph_coherence_entry_object(request->mount->coherence, parent, name);
    ph_name_changes(request, true);
    ph_open_there_first(request, object, send_remove);
}

void ph_op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    if (!ph_name_fits(req, name))
        return;
    struct ph_request *request = begin_name(req, parent, name);
    Pohmel__RmdirRequest message = POHMEL__RMDIR_REQUEST__INIT;
    message.caller = &request->caller;
    message.parent = parent;
    message.name = ph_name_bytes(name);
    request->extra = ph_coherence_known(request->mount->coherence,
                                        ph_coherence_entry_object(request->mount->coherence, parent, name));
    ph_name_changes(request, true);
    ph_request_sent(request, ph_send_rmdir(request->mount->stub, &message, NULL, removed, request));
}

/* The protocol's bits of RENAME are the kernel's (section 7.9). */
G_STATIC_ASSERT(RENAME_NOREPLACE == 1 && RENAME_EXCHANGE == 2 && RENAME_WHITEOUT == 4);

/* What the names stand for now, as far as it follows from what they stood for. */
static void renamed(void *data, const struct ph_reply *reply)
{
    struct ph_request *request = data;
    struct ph_coherence *coherence = request->mount->coherence;
    const char *new_name = request->extra;
    bool kept = false;
    if (reply->status == PH_ST_OK) {
        bool exchanged = (request->flags & RENAME_EXCHANGE) != 0;
        if (request->renamed != 0)
            kept = ph_coherence_changed_name(coherence, &request->change, request->owner, new_name,
                                             request->renamed);
        /* Where both names stood for one file nothing was done: the old one is gone only if that is excluded.
         */
        bool moved = request->flags == RENAME_NOREPLACE || (kept && request->renamed != request->replaced);
        if (moved && !exchanged)
            ph_coherence_changed_name(coherence, &request->change, request->object, request->name, 0);
        else if (exchanged && request->replaced != 0)
            kept &= ph_coherence_changed_name(coherence, &request->change, request->object, request->name,
                                              request->replaced);
    }
    if (reply->status == PH_ST_OK && request->object != request->owner)
        for (int i = 0; i < 2; i++)
            ph_coherence_dir_moved(coherence, i == 0 ? request->renamed : request->replaced);
    /* The kernel moves the name with the time for which it was told to keep it. */
    if (!kept)
        ph_coherence_names_changed(coherence);
    ph_request_finish(request, reply->status);
}

/* Announces the change of both names. */
static void rename_changes(struct ph_request *request)
{
    struct ph_coherence *coherence = request->mount->coherence;
    request->renamed = ph_coherence_entry_object(coherence, request->object, request->name);
    request->replaced = ph_coherence_entry_object(coherence, request->owner, request->extra);
    ph_coherence_change_name(coherence, &request->change, request->object, request->name, true);
    ph_coherence_change_name(coherence, &request->change, request->owner, request->extra, true);
    ph_coherence_change_sent(coherence, &request->change);
}

static void send_rename(struct ph_request *request)
{
    Pohmel__RenameRequest message = POHMEL__RENAME_REQUEST__INIT;
    message.caller = &request->caller;
    message.old_parent = request->object;
    message.old_name = ph_name_bytes(request->name);
    message.new_parent = request->owner;
    message.new_name = ph_name_bytes(request->extra);
    message.flags = request->flags;
    ph_request_sent(request, ph_send_rename(request->mount->stub, &message, NULL, renamed, request));
}

void ph_op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
                  const char *new_name, unsigned flags)
{
    if (!ph_name_fits(req, name) || !ph_name_fits(req, new_name))
        return;
    struct ph_request *request = begin_name(req, parent, name);
    request->owner = new_parent;
    request->extra = g_strdup(new_name);
    request->flags = flags;
    if ((flags & ~(unsigned) (RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT)) != 0) {
        ph_request_refuse(request, EINVAL);
        return;
    }
    rename_changes(request);
    if ((flags & (RENAME_NOREPLACE | RENAME_EXCHANGE)) != 0)
        send_rename(request);
    else
        ph_open_there_first(request, request->replaced, send_rename);
}
