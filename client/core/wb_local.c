/* Which commands can be answered here, and how objects change by it. */
#include <string.h>

#include "client/core/may.h"
#include "client/core/wb_private.h"
#include "client/core/wb_range.h"
#include "client/core/wb_xattr.h"
#include "ph_commands.h"

enum {
    NS_PER_S = 1000000000,
    AHEAD_MAX_S = 1, /* of the clock of this machine: the server's may be */
};

bool wb_local(struct ph_wb *wb, struct ph_wb_call *call, const struct ph_wb_now *now,
              struct ph_wb_actions *actions)
{
    switch (call->command) {
    case PH_CMD_CREATE:
    case PH_CMD_MKDIR:
    case PH_CMD_SYMLINK:
    case PH_CMD_MKNOD:
        return wb_local_make(wb, call, now, actions);
    case PH_CMD_LINK:
        return wb_local_link(wb, call, now, actions);
    case PH_CMD_REMOVE:
    case PH_CMD_RMDIR:
        return wb_local_remove(wb, call, now, actions);
    case PH_CMD_RENAME:
        return wb_local_rename(wb, call, now, actions);
    case PH_CMD_WRITE:
        return wb_local_write(wb, call, now, actions);
    case PH_CMD_SETATTR:
        return wb_local_setattr(wb, call, now, actions);
    case PH_CMD_READ:
    case PH_CMD_READLINK:
    case PH_CMD_SYNC:
        return wb_local_read(wb, call, now, actions);
    case PH_CMD_GETXATTR:
    case PH_CMD_LISTXATTR:
        return wb_local_getxattr(wb, call, now, actions);
    case PH_CMD_SETXATTR:
    case PH_CMD_REMOVEXATTR:
        return wb_local_setxattr(wb, call, now, actions);
    case PH_CMD_OPEN:
        return wb_local_open(wb, call, now, actions);
    case PH_CMD_CLOSE:
        return wb_local_close(wb, call, now, actions);
    case PH_CMD_LOOKUP:
    case PH_CMD_GETATTR:
        return wb_local_lookup(wb, call, now, actions);
    case PH_CMD_LEASE_RELEASE:
        return wb_local_release(wb, call, now, actions);
    case PH_CMD_LEASE_ACQUIRE:
        return wb_range_acquire(wb, call, now, actions);
    default:
        return false;
    }
}

/* A time that is not seen to move would say that nothing changed. */
static void move_on(struct ph_cached_time *time, const struct ph_cached_time *now)
{
    bool later = now->seconds > time->seconds ||
                 (now->seconds == time->seconds && now->nanoseconds > time->nanoseconds);
    if (later)
        *time = *now;
    else if (++time->nanoseconds == NS_PER_S)
        *time = (struct ph_cached_time){.seconds = time->seconds + 1};
}

void wb_changed(struct wb_object *o, const struct ph_wb_now *now, bool data)
{
    struct ph_cached_time before = o->attr.changed;
    if (o->kept_for == o->attr.version && !data)
        o->kept_for++; /* as the version, which moves for attributes only */
    o->attr.version++;
    move_on(&o->attr.changed, &now->real);
    if (!data)
        return;
    /* The same as that of the change, unless that ran ahead of the clock. */
    o->attr.modified = before.seconds > now->real.seconds + AHEAD_MAX_S ? now->real : o->attr.changed;
    if (S_ISDIR(o->attr.mode))
        o->touched = true;
}

/* An extended attribute may as well be set after what is done to data and the rest later. */
static struct wb_op *last_but_xattrs(const struct wb_object *o)
{
    for (size_t i = o->op_count; i > 0; i--)
        if (o->ops[i - 1]->kind != WB_XATTR)
            return o->ops[i - 1];
    return NULL;
}

struct wb_op *wb_state(struct ph_wb *wb, struct wb_object *o, const Pohmel__Caller *caller, uint64_t now_ms)
{
    struct wb_op *last = last_but_xattrs(o);
    bool directory = S_ISDIR(o->attr.mode);
    /* What happened in a directory since comes before what is done to it now. */
    if (last != NULL && last->kind == WB_STATE && !last->sent &&
        (!directory || o->children.next == &o->children)) {
        wb->counters.merged++;
        if (caller->uid == 0 && last->caller->caller.uid != 0) {
            wb_caller_unref(last->caller);
            last->caller = wb_caller(wb, caller);
        }
        return last;
    }
    struct wb_op *op = wb_op_new(wb, WB_STATE, wb_caller(wb, caller), now_ms);
    wb_op_about(wb, op, o);
    wb_op_append(wb, op);
    return op;
}

void wb_data_account(struct ph_wb *wb, struct wb_object *o, uint64_t before)
{
    wb->data_bytes += ph_wb_data_bytes(o->data) - before;
}

/* --- Lookups and attributes --- */

/* OBJECT, where its attributes are known here; else NULL. */
static struct wb_object *known_here(const struct ph_wb *wb, uint64_t object, const struct ph_wb_now *now)
{
    struct wb_object *o = wb_find(wb, object);
    bool known = o != NULL && o->known && wb_links_known(wb, o) &&
                 (!o->born || (wb_writable(wb, o, now) && (ph_wb_is_dirty(wb, o->lru.key) || wb_heard(o))));
    return known ? o : NULL;
}

/* The same; what the server has made of them counts where nothing is dirty. */
static const struct wb_object *known_now(const struct ph_wb *wb, uint64_t object, const struct ph_wb_now *now)
{
    struct wb_object *o = known_here(wb, object, now);
    if (o != NULL && o->born && !ph_wb_is_dirty(wb, object))
        wb_take_heard(o);
    return o;
}

bool ph_wb_knows(const struct ph_wb *wb, uint64_t object, const struct ph_wb_now *now)
{
    return known_here(wb, object, now) != NULL;
}

bool ph_wb_getattr(struct ph_wb *wb, uint64_t object, const struct ph_wb_now *now,
                   struct ph_cached_attr_wire *wire)
{
    const struct wb_object *o = known_now(wb, object, now);
    if (o == NULL)
        return false;
    wb_attr_to_wire(o, wire);
    wb->counters.local++;
    return true;
}

static bool getattr(struct ph_wb *wb, struct ph_wb_call *call, const struct ph_wb_now *now,
                    struct ph_wb_actions *actions)
{
    uint64_t object = ((const Pohmel__GetattrRequest *) call->message)->object;
    const struct ph_cached_attr *vanished = wb_find(wb, object) == NULL ? wb_vanished_find(wb, object) : NULL;
    if (vanished != NULL) {
        struct ph_wb_answer *answer = wb_answer_attr(NULL);
        pohmel__getattr_reply__init(&answer->message.getattr);
        answer->message.getattr.attr = (Pohmel__Attr *) ph_cached_attr_to_wire(vanished, &answer->attr);
        wb_answer(wb, call, answer, NULL, actions);
        return true;
    }
    const struct wb_object *o = known_now(wb, object, now);
    if (o == NULL)
        return false;
    struct ph_wb_answer *answer = wb_answer_attr(o);
    pohmel__getattr_reply__init(&answer->message.getattr);
    answer->message.getattr.attr = answer->found[0];
    wb_answer(wb, call, answer, NULL, actions);
    return true;
}

bool wb_local_lookup(struct ph_wb *wb, struct ph_wb_call *call, const struct ph_wb_now *now,
                     struct ph_wb_actions *actions)
{
    if (call->command == PH_CMD_GETATTR)
        return getattr(wb, call, now, actions);
    const Pohmel__LookupRequest *request = (const Pohmel__LookupRequest *) call->message;
    const struct wb_object *d = wb_find(wb, request->parent);
    uint64_t object = 0;
    if (request->n_names != 1 || !wb_writable(wb, d, now) || d->names == NULL ||
        ph_may_access(request->caller, d->attr.mode, d->attr.uid, d->attr.gid, d->plain, PH_MAY_EXECUTE) !=
            PH_MAY_YES)
        return false;
    enum ph_wb_name_is is =
        ph_wb_names_lookup(d->names, request->names[0].data, request->names[0].len, &object);
    const struct wb_object *o = is == PH_WB_NAME_PRESENT ? wb_find(wb, object) : NULL;
    if (is == PH_WB_NAME_UNKNOWN ||
        (is == PH_WB_NAME_PRESENT &&
         !(o != NULL && (!o->born || (wb_writable(wb, o, now) && wb_links_known(wb, o))))))
        return false;
    struct ph_wb_answer *answer = wb_answer_attr(o);
    Pohmel__LookupReply *reply = &answer->message.lookup;
    pohmel__lookup_reply__init(reply);
    reply->n_found = o != NULL;
    reply->found = answer->found;
    reply->failure = o != NULL ? PH_ST_OK : PH_ST_NOT_FOUND;
    reply->directory = wb_attr_to_wire(d, &answer->directory);
    reply->directory_version = d->attr.version;
    wb_answer(wb, call, answer, NULL, actions);
    return true;
}
