/* Extended attributes, set and read here. What becomes of an attribute is foretold for those of users and
 * of the superuser (user., trusted.); of access lists, for those that say no more than the mode bits do. All
 * else, and what a filesystem may have no room for, is sent on. */
#include "client/core/wb_xattr.h"

#include <stdlib.h>
#include <string.h>

#include "client/core/may.h"
#include "ph_commands.h"

enum {
    FLAG_CREATE = 1 << 0,
    FLAG_REPLACE = 1 << 1,
    ENTRY_BYTES = 20,       /* that a filesystem adds to a name and a value, roughly */
    BLOCK_MAX_BYTES = 4096, /* of which an inode has one for its attributes, where it has least */
    ROOM_PARTS = 8,         /* of a block, all but one of which are used: the server may label files */
    COST_BYTES = 4096,      /* of what is free, that an attribute takes at most */
    ACL_BYTES = 28,         /* of an access list with no entries but those of the mode bits */
    ACL_VERSION = 2,
    ACL_USER = 1, /* the tags of these, in their order */
    ACL_GROUP = 4,
    ACL_OTHER = 0x20,
};

struct wb_xattr {
    struct wb_xattr *next;
    bool present;          /* what it is; or there is no such attribute */
    bool there;            /* the server may have one */
    struct ph_blob *value; /* NULL: of length 0 */
    struct wb_op *op;      /* on its way, or to be sent; NULL for none */
    size_t len;
    char name[];
};

static bool begins(const ProtobufCBinaryData *name, const char *prefix)
{
    size_t len = strlen(prefix);
    return name->len >= len && memcmp(name->data, prefix, len) == 0;
}

enum wb_xattr_space wb_xattr_space_of(const ProtobufCBinaryData *name)
{
    static const struct {
        const char *prefix;
        enum wb_xattr_space space;
    } spaces[] = {{"user.", WB_XATTR_USER},
                  {"trusted.", WB_XATTR_TRUSTED},
                  {"security.", WB_XATTR_SECURITY},
                  {"system.posix_acl_", WB_XATTR_ACCESS_LIST}};
    for (size_t i = 0; i < sizeof(spaces) / sizeof(spaces[0]); i++)
        if (begins(name, spaces[i].prefix))
            return spaces[i].space;
    return WB_XATTR_OTHER;
}

/* --- What is known --- */

static struct wb_xattr *find(const struct wb_object *o, const void *name, size_t len)
{
    for (struct wb_xattr *xattr = o->xattrs; xattr != NULL; xattr = xattr->next)
        if (xattr->len == len && memcmp(xattr->name, name, len) == 0)
            return xattr;
    return NULL;
}

static struct wb_xattr *find_or_add(struct wb_object *o, const void *name, size_t len)
{
    struct wb_xattr *xattr = find(o, name, len);
    if (xattr != NULL)
        return xattr;
    xattr = wb_alloc(sizeof(*xattr) + len + 1);
    xattr->len = len;
    memcpy(xattr->name, name, len);
    xattr->next = o->xattrs;
    o->xattrs = xattr;
    return xattr;
}

static void set_value(struct wb_xattr *xattr, struct ph_blob *value)
{
    if (value != NULL)
        ph_blob_ref(value);
    ph_blob_unref(xattr->value);
    xattr->value = value;
}

static void free_some(struct wb_object *o, bool all)
{
    struct wb_xattr **at = &o->xattrs;
    while (*at != NULL) {
        struct wb_xattr *xattr = *at;
        if (!all && xattr->op != NULL) {
            at = &xattr->next;
            continue;
        }
        *at = xattr->next;
        ph_blob_unref(xattr->value);
        free(xattr);
    }
}

void wb_xattrs_forget(struct wb_object *o)
{
    o->xattrs_whole = o->attr.bare = false;
    free_some(o, false);
}

void wb_xattrs_free(struct wb_object *o)
{
    free_some(o, true);
}

bool wb_xattrs_dirty(const struct wb_object *o)
{
    for (const struct wb_xattr *xattr = o->xattrs; xattr != NULL; xattr = xattr->next)
        if (xattr->op != NULL)
            return true;
    return false;
}

bool wb_xattrs_allow(const struct wb_object *o, uint32_t mode, uint32_t uid, uint32_t gid)
{
    for (const struct wb_xattr *xattr = o->xattrs; xattr != NULL; xattr = xattr->next)
        if (xattr->op != NULL &&
            ph_may_access(&xattr->op->caller->caller, mode, uid, gid, o->plain, PH_MAY_WRITE) != PH_MAY_YES)
            return false;
    return true;
}

/* --- Setting --- */

/* What SETXATTR or REMOVEXATTR asks for. */
struct setting {
    const Pohmel__Caller *caller;
    ProtobufCBinaryData name;
    struct ph_blob *value; /* or NULL */
    uint32_t flags;
    bool removes;
    enum wb_xattr_space space;
};

static uint64_t what(const struct ph_wb_call *call, struct setting *out)
{
    const Pohmel__SetxattrRequest *set = (const Pohmel__SetxattrRequest *) call->message;
    const Pohmel__RemovexattrRequest *remove = (const Pohmel__RemovexattrRequest *) call->message;
    bool removes = call->command == PH_CMD_REMOVEXATTR;
    *out = (struct setting){.caller = removes ? remove->caller : set->caller,
                            .name = removes ? remove->name : set->name,
                            .value = removes || set->length == 0 ? NULL : call->payload,
                            .flags = removes ? 0 : set->flags,
                            .removes = removes};
    out->space = wb_xattr_space_of(&out->name);
    return removes ? remove->object : set->object;
}

static size_t cost(size_t name, const struct ph_blob *value)
{
    return ENTRY_BYTES + name + (value != NULL ? value->len : 0);
}

/* Any filesystem that has attributes at all has room for these. */
static bool fits(const struct wb_object *o, const struct setting *setting)
{
    size_t block =
        o->attr.block_size > 0 && o->attr.block_size < BLOCK_MAX_BYTES ? o->attr.block_size : BLOCK_MAX_BYTES;
    size_t bytes = cost(setting->name.len, setting->value);
    for (const struct wb_xattr *xattr = o->xattrs; xattr != NULL; xattr = xattr->next)
        if (xattr->present &&
            (xattr->len != setting->name.len || memcmp(xattr->name, setting->name.data, xattr->len) != 0))
            bytes += cost(xattr->len, xattr->value);
    return bytes <= block - block / ROOM_PARTS;
}

/* The rules of Linux for the caller, as the server applies them. */
static bool may_set(const struct wb_object *o, const struct setting *setting)
{
    const struct ph_cached_attr *attr = &o->attr;
    if (setting->space == WB_XATTR_TRUSTED)
        return setting->caller->uid == 0;
    bool theirs = setting->caller->uid == 0 || setting->caller->uid == attr->uid;
    if (setting->space != WB_XATTR_USER || !(S_ISREG(attr->mode) || S_ISDIR(attr->mode)) ||
        (S_ISDIR(attr->mode) && attr->mode & S_ISVTX && !theirs))
        return false;
    return ph_may_access(setting->caller, attr->mode, attr->uid, attr->gid, o->plain, PH_MAY_WRITE) ==
           PH_MAY_YES;
}

/* Whether it is known what setting it does: there is one, or there is none. What is refused is refused by the
 * server. */
static bool is_sure(const struct wb_object *o, const struct setting *setting)
{
    const struct wb_xattr *xattr = find(o, setting->name.data, setting->name.len);
    bool present = xattr != NULL && xattr->present;
    if (!o->xattrs_whole || (setting->flags & ~(uint32_t) (FLAG_CREATE | FLAG_REPLACE)) != 0)
        return false;
    if (setting->removes)
        return present;
    return !(setting->flags & FLAG_CREATE && present) && !(setting->flags & FLAG_REPLACE && !present) &&
           fits(o, setting);
}

static void give_value(struct ph_wb *wb, struct wb_op *op, const struct setting *setting)
{
    if (op->value != NULL)
        wb->data_bytes -= op->value->len;
    ph_blob_unref(op->value);
    op->value = setting->value != NULL ? ph_blob_ref(setting->value) : NULL;
    if (op->value != NULL)
        wb->data_bytes += op->value->len;
    op->command = setting->removes ? PH_CMD_REMOVEXATTR : PH_CMD_SETXATTR;
}

static void log_setting(struct ph_wb *wb, struct wb_object *o, struct wb_xattr *xattr,
                        const struct setting *setting, uint64_t now_ms)
{
    struct wb_op *op = wb_op_new(wb, WB_XATTR, wb_caller(wb, setting->caller), now_ms);
    op->names[0] = wb_alloc(xattr->len + 1);
    op->lens[0] = xattr->len;
    memcpy(op->names[0], xattr->name, xattr->len);
    give_value(wb, op, setting);
    xattr->op = op;
    wb_op_about(wb, op, o);
    wb_op_append(wb, op);
    wb_owe_of(wb, op, &o->attr, wb_charge(wb, op, COST_BYTES, 0, COST_BYTES), 0);
}

/* What waits for OP waits for what OP waits for. */
static void hand_down(const struct wb_op *op)
{
    for (size_t i = 0; i < op->dependent_count; i++)
        for (size_t j = 0; j < op->dep_count && op->dependents[i] != NULL; j++)
            wb_op_depend(op->dependents[i], op->deps[j].op);
}

/* The same name set twice is sent once; set and taken away, where the server has none, never. */
static void change(struct ph_wb *wb, struct wb_object *o, const struct setting *setting, uint64_t now_ms,
                   struct ph_wb_call **resume)
{
    struct wb_xattr *xattr = find_or_add(o, setting->name.data, setting->name.len);
    struct wb_op *op = xattr->op;
    xattr->present = !setting->removes;
    set_value(xattr, setting->value);
    o->xattrs_changed = ++wb->clock;
    o->attr.bare = false;
    if (op == NULL || op->sent) {
        log_setting(wb, o, xattr, setting, now_ms);
    } else if (setting->removes && !xattr->there) {
        wb->counters.cancelled++;
        hand_down(op);
        wb_op_done(wb, op, PH_ST_OK, resume);
    } else {
        wb->counters.merged++;
        give_value(wb, op, setting);
        wb_caller_unref(op->caller);
        op->caller = wb_caller(wb, setting->caller);
    }
}

static void answer_set(struct ph_wb *wb, struct ph_wb_call *call, const struct wb_object *o,
                       struct ph_wb_actions *actions)
{
    struct ph_wb_answer *answer = wb_answer_attr(o);
    pohmel__attr_result__init(&answer->message.attr);
    answer->message.attr.attr = answer->found[0];
    wb_answer(wb, call, answer, NULL, actions);
}

/* --- Access lists that say what the mode bits say --- */

static uint32_t le(const uint8_t *at, int bytes)
{
    uint32_t value = 0;
    for (int i = 0; i < bytes; i++)
        value |= (uint32_t) at[i] << 8 * i;
    return value;
}

/* The mode bits that VALUE stands for; false for a list that says more, or nothing. */
static bool plain_list(const struct ph_blob *value, uint32_t *mode)
{
    static const uint32_t tags[] = {ACL_USER, ACL_GROUP, ACL_OTHER};
    if (value == NULL || value->len != ACL_BYTES || le(value->data, 4) != ACL_VERSION)
        return false;
    *mode = 0;
    for (int i = 0; i < 3; i++) {
        const uint8_t *entry = value->data + 4 + 8 * i;
        if (le(entry, 2) != tags[i] || le(entry + 2, 2) > 7)
            return false;
        *mode = *mode << 3 | le(entry + 2, 2);
    }
    return true;
}

/* Where there is no list, one that says what the mode bits say is a chmod, and taking one away is nothing. */
static bool set_list(struct ph_wb *wb, struct ph_wb_call *call, struct wb_object *o,
                     const struct setting *setting, const struct ph_wb_now *now,
                     struct ph_wb_actions *actions)
{
    uint32_t mode = o->attr.mode & 0777;
    const struct ph_cached_attr *attr = &o->attr;
    bool access = begins(&setting->name, "system.posix_acl_access");
    if (setting->flags != 0 || (!setting->removes && (!access || !plain_list(setting->value, &mode))))
        return false;
    mode |= attr->mode & 07000;
    if (ph_may_set_mode(setting->caller, attr->mode, attr->uid, attr->gid, o->plain, mode) != PH_MAY_YES ||
        !wb_xattrs_allow(o, mode, attr->uid, attr->gid))
        return false;
    if (!setting->removes) {
        wb_state(wb, o, setting->caller, now->ms)->which |= PH_SET_MODE;
        o->attr.mode = (attr->mode & S_IFMT) | mode;
        wb_changed(o, now, false);
    }
    answer_set(wb, call, o, actions);
    return true;
}

bool wb_local_setxattr(struct ph_wb *wb, struct ph_wb_call *call, const struct ph_wb_now *now,
                       struct ph_wb_actions *actions)
{
    struct setting setting;
    struct wb_object *o = wb_find(wb, what(call, &setting));
    struct ph_wb_call *resume = NULL;
    const Pohmel__SetxattrRequest *set = (const Pohmel__SetxattrRequest *) call->message;
    if (!wb_writable(wb, o, now) || !o->plain ||
        (!setting.removes && set->length != (call->payload != NULL ? call->payload->len : 0)))
        return false;
    if (setting.space == WB_XATTR_ACCESS_LIST)
        return set_list(wb, call, o, &setting, now, actions);
    if (!(wb->xattr_spaces & setting.space) || !may_set(o, &setting) || !is_sure(o, &setting) ||
        !wb_space(wb, setting.removes ? 0 : COST_BYTES, 0, now, actions) ||
        !wb_quota_of(wb, &o->attr, setting.removes ? 0 : COST_BYTES, 0, now, actions))
        return false;
    o->pins++;
    change(wb, o, &setting, now->ms, &resume);
    wb_changed(o, now, false);
    answer_set(wb, call, o, actions);
    wb_unpin(wb, o);
    wb_resume(wb, resume, now, actions);
    return true;
}

/* --- Reading --- */

/* What was made here, in a directory without a default list, has only the attributes it was given here. */
static bool is_known(const struct ph_wb *wb, const struct wb_object *o, const struct ph_wb_now *now)
{
    return o->known && (!o->born || (wb->open && now->ms < now->leases_until_ms && o->exclusive && !o->dead &&
                                     !o->suspect && o->busy == 0));
}

static bool may_get(const struct wb_object *o, const Pohmel__Caller *caller, enum wb_xattr_space space)
{
    const struct ph_cached_attr *attr = &o->attr;
    return space != WB_XATTR_USER ||
           ph_may_access(caller, attr->mode, attr->uid, attr->gid, o->plain, PH_MAY_READ) == PH_MAY_YES;
}

static bool get(struct ph_wb *wb, struct ph_wb_call *call, const struct wb_object *o,
                struct ph_wb_actions *actions)
{
    const Pohmel__GetxattrRequest *request = (const Pohmel__GetxattrRequest *) call->message;
    const struct wb_xattr *xattr = find(o, request->name.data, request->name.len);
    enum wb_xattr_space space = wb_xattr_space_of(&request->name);
    bool seen = space != WB_XATTR_TRUSTED || request->caller->uid == 0;
    if (!may_get(o, request->caller, space) || space == WB_XATTR_OTHER ||
        (xattr == NULL && o->born &&
         (space & (WB_XATTR_ACCESS_LIST | WB_XATTR_SECURITY) || !o->xattrs_whole)))
        return false;
    if (xattr == NULL || !xattr->present || !seen) {
        wb_fail(wb, call, PH_ST_NO_ATTRIBUTE, "", actions);
        return true;
    }
    struct ph_wb_answer *answer = wb_answer_attr(NULL);
    pohmel__getxattr_reply__init(&answer->message.getxattr);
    answer->message.getxattr.version = o->attr.version;
    wb_answer(wb, call, answer, xattr->value != NULL ? ph_blob_ref(xattr->value) : NULL, actions);
    return true;
}

/* Of what the server knows the list is the server's: it has names that are not told here. */
static bool list(struct ph_wb *wb, struct ph_wb_call *call, const struct wb_object *o,
                 struct ph_wb_actions *actions)
{
    const Pohmel__ListxattrRequest *request = (const Pohmel__ListxattrRequest *) call->message;
    char names[BLOCK_MAX_BYTES];
    size_t len = 0;
    if (o->born)
        return false;
    for (const struct wb_xattr *xattr = o->xattrs; xattr != NULL; xattr = xattr->next) {
        const ProtobufCBinaryData name = {.len = xattr->len, .data = (uint8_t *) xattr->name};
        bool seen = wb_xattr_space_of(&name) != WB_XATTR_TRUSTED || request->caller->uid == 0;
        if (!xattr->present || !seen || len + xattr->len + 1 > sizeof(names))
            continue;
        memcpy(names + len, xattr->name, xattr->len + 1);
        len += xattr->len + 1;
    }
    struct ph_wb_answer *answer = wb_answer_attr(NULL);
    pohmel__listxattr_reply__init(&answer->message.listxattr);
    answer->message.listxattr.version = o->attr.version;
    wb_answer(wb, call, answer, len > 0 ? ph_blob_copy(names, len) : NULL, actions);
    return true;
}

bool wb_local_getxattr(struct ph_wb *wb, struct ph_wb_call *call, const struct ph_wb_now *now,
                       struct ph_wb_actions *actions)
{
    bool gets = call->command == PH_CMD_GETXATTR;
    const struct wb_object *o =
        wb_find(wb, gets ? ((const Pohmel__GetxattrRequest *) call->message)->object
                         : ((const Pohmel__ListxattrRequest *) call->message)->object);
    if (o == NULL || !is_known(wb, o, now))
        return false;
    return gets ? get(wb, call, o, actions) : list(wb, call, o, actions);
}

/* --- On its way --- */

void wb_xattr_send(struct ph_wb *wb, struct wb_op *op, struct ph_wb_actions *actions)
{
    struct ph_wb_call *call = wb_op_call(wb, op, WB_STEP_START);
    struct wb_outgoing *out = call->outgoing;
    struct wb_xattr *xattr = find(op->objects[0], op->names[0], op->lens[0]);
    ProtobufCBinaryData name = {.len = op->lens[0], .data = (uint8_t *) op->names[0]};
    if (xattr != NULL)
        xattr->there = true;
    if (op->command == PH_CMD_SETXATTR) {
        pohmel__setxattr_request__init(&out->message.setxattr);
        out->message.setxattr.caller = &op->caller->caller;
        out->message.setxattr.object = op->objects[0]->lru.key;
        out->message.setxattr.name = name;
        out->message.setxattr.length = op->value != NULL ? (uint32_t) op->value->len : 0;
        call->payload = op->value != NULL ? ph_blob_ref(op->value) : NULL;
    } else {
        pohmel__removexattr_request__init(&out->message.removexattr);
        out->message.removexattr.caller = &op->caller->caller;
        out->message.removexattr.object = op->objects[0]->lru.key;
        out->message.removexattr.name = name;
    }
    wb_op_send(wb, call, op->command, actions);
}

uint32_t wb_xattr_answered(struct wb_op *op, const struct ph_reply *reply)
{
    struct wb_object *o = op->objects[0];
    const Pohmel__TransactReply *transact = (const Pohmel__TransactReply *) reply->message;
    const Pohmel__ChangeResult *result =
        reply->status == PH_ST_OK && transact != NULL && transact->n_results == 1 ? transact->results[0]
                                                                                  : NULL;
    const Pohmel__Attr *attr = result != NULL && result->setxattr != NULL ? result->setxattr->attr : NULL;
    o->moved = attr == NULL;
    if (attr != NULL && attr->version > o->server_version) {
        wb_server_has(o, attr);
        wb_learn_changed(o, attr);
    }
    bool gone = op->command == PH_CMD_REMOVEXATTR && reply->status == PH_ST_NO_ATTRIBUTE;
    return gone ? PH_ST_OK : reply->status;
}

void wb_xattr_done(struct ph_wb *wb, struct wb_op *op, uint32_t status)
{
    struct wb_object *o = op->objects[0];
    struct wb_xattr *xattr = find(o, op->names[0], op->lens[0]);
    if (op->value != NULL)
        wb->data_bytes -= op->value->len;
    ph_blob_unref(op->value);
    op->value = NULL;
    if (xattr != NULL && xattr->op == op) {
        xattr->op = NULL;
        xattr->there = op->sent && xattr->present;
    }
    if (status != PH_ST_OK)
        wb_xattrs_forget(o);
}

/* --- Sent on --- */

static struct wb_object *object_of(struct ph_wb *wb, const struct ph_wb_call *call)
{
    switch (call->command) {
    case PH_CMD_SETXATTR:
        return wb_find(wb, ((const Pohmel__SetxattrRequest *) call->message)->object);
    case PH_CMD_REMOVEXATTR:
        return wb_find(wb, ((const Pohmel__RemovexattrRequest *) call->message)->object);
    case PH_CMD_LISTXATTR:
        return wb_find(wb, ((const Pohmel__ListxattrRequest *) call->message)->object);
    default:
        return NULL;
    }
}

void wb_xattr_forwarded(struct ph_wb *wb, const struct ph_wb_call *call)
{
    struct wb_object *o = object_of(wb, call);
    if (o != NULL && call->command != PH_CMD_LISTXATTR)
        wb_xattrs_forget(o);
}

/* Whose names the export's filesystem takes shows when one was asked for. */
static void learn_space(struct ph_wb *wb, const struct ph_wb_call *call, uint32_t status)
{
    const ProtobufCBinaryData *name =
        call->command == PH_CMD_GETXATTR   ? &((const Pohmel__GetxattrRequest *) call->message)->name
        : call->command == PH_CMD_SETXATTR ? &((const Pohmel__SetxattrRequest *) call->message)->name
                                           : NULL;
    enum wb_xattr_space space = name != NULL ? wb_xattr_space_of(name) : WB_XATTR_OTHER;
    if (status == PH_ST_OK || (status == PH_ST_NO_ATTRIBUTE && space == WB_XATTR_USER))
        wb->xattr_spaces |= space & (WB_XATTR_USER | WB_XATTR_TRUSTED);
}

void wb_xattr_learn(struct ph_wb *wb, const struct ph_wb_call *call, const struct ph_reply *reply)
{
    struct wb_object *o = object_of(wb, call);
    learn_space(wb, call, reply->status);
    /* An empty list is all there is to know. Only the superuser is told of all names. */
    if (o == NULL || call->command != PH_CMD_LISTXATTR || reply->status != PH_ST_OK || !o->exclusive ||
        (reply->payload != NULL && reply->payload->len > 0) || o->recalled || o->epoch != call->epoch ||
        o->busy > 0 || call->clock < o->changed || call->clock < o->xattrs_changed ||
        ((const Pohmel__ListxattrRequest *) call->message)->caller->uid != 0)
        return;
    o->xattrs_whole = true;
}
