/* Data and attributes of objects, changed and read here. */
#include <stdlib.h>
#include <string.h>

#include "client/core/may.h"
#include "client/core/wb_private.h"
#include "client/core/wb_range.h"
#include "client/core/wb_xattr.h"
#include "ph_commands.h"

enum {
    BLOCK_BYTES = 512,
    BLOCKS_PER_PAGE = 8,
    STREAM_PIECES = 8, /* with so many full ones dirty a file is sent, while more is written */
};

static uint64_t blocks_of(uint64_t bytes)
{
    return (bytes + BLOCK_BYTES * BLOCKS_PER_PAGE - 1) / (BLOCK_BYTES * BLOCKS_PER_PAGE) * BLOCKS_PER_PAGE;
}

/* WRITTEN bytes of it are new; holes take no space. */
static void set_size(struct wb_object *o, uint64_t size, uint64_t written)
{
    uint64_t blocks = o->attr.blocks + blocks_of(written);
    o->attr.size = size;
    o->attr.blocks = blocks < blocks_of(size) ? blocks : blocks_of(size);
}

/* --- Writing --- */

void wb_throttle(struct ph_wb *wb, struct ph_wb_call *call)
{
    wb_own_message(call);
    call->throttled = NULL;
    if (wb->throttled_last != NULL)
        wb->throttled_last->throttled = call;
    else
        wb->throttled_first = call;
    wb->throttled_last = call;
}

static void answer_written(struct ph_wb *wb, struct ph_wb_call *call, const struct wb_object *o,
                           uint64_t offset, uint32_t written, struct ph_wb_actions *actions)
{
    struct ph_wb_answer *answer = wb_answer_attr(o);
    pohmel__write_result__init(&answer->message.write);
    answer->message.write.attr = answer->found[0];
    answer->message.write.offset = offset;
    answer->message.write.written = written;
    wb_answer(wb, call, answer, NULL, actions);
}

bool wb_local_write(struct ph_wb *wb, struct ph_wb_call *call, const struct ph_wb_now *now,
                    struct ph_wb_actions *actions)
{
    const Pohmel__WriteRequest *request = (const Pohmel__WriteRequest *) call->message;
    struct wb_object *o = wb_find(wb, request->object);
    if (wb_range_write(wb, call, now, actions))
        return true;
    if (!wb_writable(wb, o, now) || !S_ISREG(o->attr.mode) || request->stable != 0 || call->payload == NULL ||
        call->payload->len != request->length || request->length == 0 || o->attr.mode & (S_ISUID | S_ISGID) ||
        !o->plain)
        return false;
    uint64_t offset = request->append ? o->attr.size : request->offset;
    if (offset + request->length > WB_LOCAL_SIZE_MAX)
        return false;
    uint64_t bytes = wb_space_of(offset, request->length);
    if (!wb_space(wb, bytes, 0, now, actions) || !wb_quota_of(wb, &o->attr, bytes, 0, now, actions))
        return false;
    wb_pace(wb);
    if (!wb_has_room(wb)) {
        wb_throttle(wb, call);
        return true;
    }
    wb_fill(wb, request->length);
    if (o->data == NULL)
        o->data = ph_wb_data_new();
    struct wb_op *op = wb_state(wb, o, request->caller, now->ms);
    uint64_t before = ph_wb_data_bytes(o->data);
    ph_wb_data_write(o->data, offset, call->payload);
    wb_data_account(wb, o, before);
    set_size(o, MAX_OF(offset + request->length, o->attr.size), request->length);
    wb_owe_of(wb, op, &o->attr, wb_charge(wb, op, bytes, 0, wb_space_of(0, o->attr.size)), 0);
    if (!request->laundered || !(op->which & PH_SET_MODIFIED))
        wb_changed(o, now, true);
    op->which |= PH_SET_MODIFIED;
    o->used_until_ms = now->ms + WB_USED_MS;
    answer_written(wb, call, o, offset, request->length, actions);
    if (!op->due &&
        ph_wb_data_dirty_bytes(o->data) >= STREAM_PIECES * (uint64_t) wb->config.payload_max_bytes) {
        wb_op_due(wb, op);
        wb_pump(wb, now, actions);
    }
    return true;
}

/* --- Attributes --- */

static bool may_set(const struct wb_object *o, const Pohmel__SetattrRequest *request)
{
    const Pohmel__Caller *caller = request->caller;
    const struct ph_cached_attr *attr = &o->attr;
    uint32_t which = request->which;
    uint32_t times = which & (PH_SET_ACCESSED | PH_SET_MODIFIED | PH_SET_ACCESSED_NOW | PH_SET_MODIFIED_NOW);
    bool both_now = times == (PH_SET_ACCESSED_NOW | PH_SET_MODIFIED_NOW);
    /* What of set-id bits is left is subtle; where there are none, there is nothing to clear
     * but capabilities, which the server's kernel takes away when the change comes to it. */
    if (!o->plain ||
        (which & PH_SET_KILL_PRIVILEGES && attr->mode & (S_ISUID | S_ISGID) && !S_ISDIR(attr->mode)))
        return false;
    if (which & PH_SET_MODE &&
        ph_may_set_mode(caller, attr->mode, attr->uid, attr->gid, o->plain, request->mode) != PH_MAY_YES)
        return false;
    if (which & (PH_SET_UID | PH_SET_GID) &&
        ph_may_set_owner(caller, attr->mode, attr->uid, attr->gid, o->plain,
                         which & PH_SET_UID ? request->uid : UINT32_MAX,
                         which & PH_SET_GID ? request->gid : UINT32_MAX) != PH_MAY_YES)
        return false;
    if (times != 0 &&
        ph_may_set_times(caller, attr->mode, attr->uid, attr->gid, o->plain, !both_now) != PH_MAY_YES)
        return false;
    /* Who set an extended attribute had the right to; when it is sent, it is by the mode of then. */
    if (which & (PH_SET_MODE | PH_SET_UID | PH_SET_GID) &&
        !wb_xattrs_allow(o, which & PH_SET_MODE ? (attr->mode & S_IFMT) | request->mode : attr->mode,
                         which & PH_SET_UID ? request->uid : attr->uid,
                         which & PH_SET_GID ? request->gid : attr->gid))
        return false;
    if (which & PH_SET_SIZE &&
        (!S_ISREG(attr->mode) || request->size > WB_LOCAL_SIZE_MAX || attr->mode & (S_ISUID | S_ISGID)))
        return false;
    /* The right to cut comes with the handle, or is asked for by name. */
    return !(which & PH_SET_SIZE) || request->handle != 0 ||
           ph_may_access(caller, attr->mode, attr->uid, attr->gid, o->plain, PH_MAY_WRITE) == PH_MAY_YES;
}

static void cut(struct ph_wb *wb, struct wb_object *o, uint64_t size)
{
    if (o->data != NULL) {
        uint64_t before = ph_wb_data_bytes(o->data);
        ph_wb_data_cut(o->data, size);
        wb_data_account(wb, o, before);
    }
    if (size < o->attr.size && (!o->is_cut || size < o->cut)) {
        o->is_cut = true;
        o->cut = size;
    }
    set_size(o, size, 0);
}

static void set_time(struct ph_cached_time *time, const Pohmel__Time *wanted,
                     const struct ph_cached_time *now)
{
    if (wanted != NULL)
        *time = (struct ph_cached_time){.seconds = wanted->seconds, .nanoseconds = wanted->nanoseconds};
    else
        *time = *now;
}

bool wb_local_setattr(struct ph_wb *wb, struct ph_wb_call *call, const struct ph_wb_now *now,
                      struct ph_wb_actions *actions)
{
    const Pohmel__SetattrRequest *request = (const Pohmel__SetattrRequest *) call->message;
    struct wb_object *o = wb_find(wb, request->object);
    uint32_t which = request->which;
    if (!wb_writable(wb, o, now) || which == 0 || !may_set(o, request))
        return false;
    /* With an object all that it has is charged to another owner. */
    struct wb_due moved = {.uid = which & PH_SET_UID ? request->uid : o->attr.uid,
                           .gid = which & PH_SET_GID ? request->gid : o->attr.gid,
                           .bytes = WB_OBJECT_BYTES + wb_space_of(0, o->attr.size),
                           .objects = 1};
    bool moves = moved.uid != o->attr.uid || moved.gid != o->attr.gid;
    if (moves && !wb_quota(wb, &moved, 1, now, actions))
        return false;
    struct wb_op *op = wb_state(wb, o, request->caller, now->ms);
    if (moves)
        wb_owe(wb, op, &moved);
    wb_changed(o, now, (which & PH_SET_SIZE) != 0);
    if (which & PH_SET_MODE)
        o->attr.mode = (o->attr.mode & S_IFMT) | request->mode;
    if (which & PH_SET_UID)
        o->attr.uid = request->uid;
    if (which & PH_SET_GID)
        o->attr.gid = request->gid;
    if (which & PH_SET_SIZE)
        cut(wb, o, request->size);
    if (which & (PH_SET_ACCESSED | PH_SET_ACCESSED_NOW))
        set_time(&o->attr.accessed, which & PH_SET_ACCESSED ? request->accessed : NULL, &now->real);
    if (which & (PH_SET_MODIFIED | PH_SET_MODIFIED_NOW))
        set_time(&o->attr.modified, which & PH_SET_MODIFIED ? request->modified : NULL, &o->attr.changed);
    op->which |=
        which & (PH_SET_MODE | PH_SET_UID | PH_SET_GID | PH_SET_SIZE | PH_SET_ACCESSED | PH_SET_MODIFIED);
    if (which & PH_SET_ACCESSED_NOW)
        op->which |= PH_SET_ACCESSED;
    if (which & (PH_SET_MODIFIED_NOW | PH_SET_SIZE))
        op->which |= PH_SET_MODIFIED;
    struct ph_wb_answer *answer = wb_answer_attr(o);
    pohmel__attr_result__init(&answer->message.attr);
    answer->message.attr.attr = answer->found[0];
    wb_answer(wb, call, answer, NULL, actions);
    return true;
}

/* --- Reading --- */

static bool read_data(struct ph_wb *wb, struct ph_wb_call *call, struct wb_object *o,
                      const struct ph_wb_now *now, struct ph_wb_actions *actions)
{
    const Pohmel__ReadRequest *request = (const Pohmel__ReadRequest *) call->message;
    struct ph_blob *kept = wb_kept(wb, o, now);
    uint64_t end =
        request->offset + request->length < o->attr.size ? request->offset + request->length : o->attr.size;
    uint64_t len = end > request->offset ? end - request->offset : 0;
    /* What the server does not know has no other bytes than those here: the rest are holes. */
    bool here = len == 0 || !o->born || (o->data != NULL && ph_wb_data_covers(o->data, request->offset, len));
    here = here && (!o->born || ph_wb_is_dirty(wb, o->lru.key));
    struct ph_blob *payload = (here || kept != NULL) && len > 0 ? ph_blob_new(len) : NULL;
    if ((!here && kept == NULL) || (len > 0 && payload == NULL)) {
        ph_blob_unref(kept);
        return false;
    }
    if (payload != NULL) {
        memset(payload->data, 0, len);
        payload->len = len;
        if (kept != NULL)
            memcpy(payload->data, kept->data + request->offset, len);
        else if (o->data != NULL)
            ph_wb_data_read(o->data, request->offset, payload->data, len);
    }
    ph_blob_unref(kept);
    struct ph_wb_answer *answer = wb_answer_attr(NULL);
    pohmel__read_reply__init(&answer->message.read);
    answer->message.read.end = end == o->attr.size;
    wb_answer(wb, call, answer, payload, actions);
    return true;
}

static bool read_link(struct ph_wb *wb, struct ph_wb_call *call, const struct wb_object *o,
                      struct ph_wb_actions *actions)
{
    const struct wb_op *make = wb_make_of(o);
    if (o->born || make == NULL || make->target == NULL)
        return false;
    struct ph_blob *payload = ph_blob_copy(make->target, strlen(make->target));
    if (payload == NULL)
        return false;
    struct ph_wb_answer *answer = wb_answer_attr(NULL);
    pohmel__readlink_reply__init(&answer->message.readlink);
    answer->message.readlink.version = o->attr.version;
    wb_answer(wb, call, answer, payload, actions);
    return true;
}

/* A handle that was opened here says nothing to the server, and need not. */
static bool sync_without_handle(struct ph_wb *wb, struct ph_wb_call *call)
{
    const Pohmel__SyncRequest *request = (const Pohmel__SyncRequest *) call->message;
    const struct ph_lru_entry *entry = ph_lru_find(&wb->handles, request->handle);
    if (entry != NULL && !WB_OF(entry, struct wb_handle, lru)->open) {
        wb_own_message(call);
        ((Pohmel__SyncRequest *) call->message)->handle = 0;
    }
    return false;
}

bool wb_local_read(struct ph_wb *wb, struct ph_wb_call *call, const struct ph_wb_now *now,
                   struct ph_wb_actions *actions)
{
    const void *message = call->message;
    struct wb_object *o = NULL;
    switch (call->command) {
    case PH_CMD_READ:
        if (wb_range_read(wb, call, now, actions))
            return true;
        o = wb_find(wb, ((const Pohmel__ReadRequest *) message)->object);
        return o != NULL && o->known && wb->open && now->ms < now->leases_until_ms && o->exclusive &&
               S_ISREG(o->attr.mode) && read_data(wb, call, o, now, actions);
    case PH_CMD_READLINK:
        o = wb_find(wb, ((const Pohmel__ReadlinkRequest *) message)->object);
        return o != NULL && read_link(wb, call, o, actions);
    default:
        return sync_without_handle(wb, call);
    }
}
