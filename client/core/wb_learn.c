/* What the answers of the server teach, and what they must not say: attributes in them are
 * those of the server, to which the operations of the log have not come yet. */
#include <string.h>

#include "client/core/wb_everything.h"
#include "client/core/wb_parted.h"
#include "client/core/wb_private.h"
#include "client/core/wb_range.h"
#include "client/core/wb_xattr.h"
#include "ph_commands.h"

/* That it is being opened changes nothing; and of a range nothing is said here but bytes. */
static bool is_changed(const struct wb_object *o)
{
    for (size_t i = 0; i < o->op_count; i++)
        if (o->ops[i]->kind != WB_OPEN && o->ops[i]->kind != WB_RANGE)
            return true;
    return false;
}

static bool is_dirty(const struct wb_object *o)
{
    return is_changed(o) || o->children.next != &o->children || !o->born;
}

void wb_patch(const struct wb_object *o, Pohmel__Attr *attr)
{
    Pohmel__Time *times[] = {attr->accessed, attr->modified, attr->changed};
    const struct ph_cached_time *from[] = {&o->attr.accessed, &o->attr.modified, &o->attr.changed};
    for (int i = 0; i < 3; i++) {
        if (times[i] != NULL) {
            times[i]->seconds = from[i]->seconds;
            times[i]->nanoseconds = from[i]->nanoseconds;
        }
    }
    attr->mode = o->attr.mode;
    attr->links = o->attr.links;
    attr->uid = o->attr.uid;
    attr->gid = o->attr.gid;
    attr->size = o->attr.size;
    attr->blocks = o->attr.blocks;
    attr->version = o->attr.version;
    attr->bare = o->attr.bare;
}

/* The rest of ATTR is the server's: only what was changed here is as it is here. */
static void patch_changed(const struct wb_object *o, Pohmel__Attr *attr)
{
    uint32_t which = 0;
    for (size_t i = 0; i < o->op_count; i++) {
        which |= o->ops[i]->kind == WB_STATE ? o->ops[i]->which : 0;
        if (o->ops[i]->kind == WB_XATTR)
            attr->bare = false;
    }
    if (which & PH_SET_MODE)
        attr->mode = o->attr.mode;
    if (which & PH_SET_UID)
        attr->uid = o->attr.uid;
    if (which & PH_SET_GID)
        attr->gid = o->attr.gid;
}

void wb_mark_running(struct ph_wb *wb, struct wb_object *d)
{
    for (struct ph_lru_entry *entry = wb->calls.newest; entry != NULL; entry = entry->older) {
        const struct ph_wb_call *call = WB_OF(entry, struct ph_wb_call, lru);
        struct wb_need need = {0};
        if (call->kind != WB_CALL_USER || call->busy_count == 0)
            continue;
        wb_need(wb, call, &need);
        for (unsigned i = 0; i < need.name_count; i++)
            if (need.names[i].directory == d->lru.key)
                ph_wb_names_put(d->names, need.names[i].name.data, need.names[i].name.len, PH_WB_UNKNOWN);
    }
}

/* The session holds O exclusively, as ATTR says. */
static void track(struct ph_wb *wb, struct wb_object *o, const Pohmel__Attr *attr)
{
    bool again = !o->exclusive || o->names == NULL;
    if (!o->exclusive && o->names != NULL)
        ph_wb_names_clear(o->names);
    if (!o->exclusive)
        wb_xattrs_forget(o);
    if (!o->exclusive)
        o->epoch = ++wb->clock; /* never used twice, though the object is forgotten in between */
    o->exclusive = true;
    o->recalled = false;
    o->stuck_ms = 0;
    wb_set_lease(wb, o, attr->lease);
    if (S_ISDIR(attr->mode) && o->names == NULL)
        o->names = ph_wb_names_new();
    if (again && o->names != NULL)
        wb_mark_running(wb, o);
}

static void take_attr(struct wb_object *o, const Pohmel__Attr *attr)
{
    bool same = o->kept_for == o->attr.version && attr->version == o->server_version && !o->moved;
    o->kept_for = same ? attr->version : 0;
    ph_cached_attr_from_wire(attr, &o->attr);
    o->known = true;
    o->plain = attr->plain;
    wb_server_has(o, attr);
    if (S_ISREG(attr->mode))
        o->server_size = attr->size;
}

void wb_server_has(struct wb_object *o, const Pohmel__Attr *attr)
{
    struct ph_cached_attr now;
    ph_cached_attr_from_wire(attr, &now);
    o->server_version = attr->version;
    o->server_modified = now.modified;
    o->moved = o->passed = false;
}

void wb_hear(const struct ph_wb_call *call, struct wb_object *o, const Pohmel__Attr *attr)
{
    if (attr == NULL || attr->object != o->lru.key || !o->exclusive || !o->known || o->touched ||
        o->recalled || o->dead || o->stale || o->suspect || o->busy > 0 || is_dirty(o) ||
        attr->version < o->server_version || attr->links != o->attr.links || call->clock < o->changed ||
        (S_ISREG(attr->mode) && attr->size != o->attr.size))
        return;
    if (o->there == NULL)
        o->there = wb_alloc(sizeof(*o->there));
    ph_cached_attr_from_wire(attr, o->there);
    o->there_for = o->attr.version;
    o->plain = attr->plain;
    wb_server_has(o, attr);
}

bool wb_heard(const struct wb_object *o)
{
    /* What has no name any more may be something else by now: the server gives its number to new files. */
    return o->there != NULL && o->known && o->attr.links > 0 && o->there_for == o->attr.version &&
           o->there->version == o->server_version && !o->moved && !o->stale;
}

void wb_take_heard(struct wb_object *o)
{
    if (o->kept_for == o->attr.version)
        o->kept_for = o->there->version;
    o->attr = *o->there;
    o->there_for = o->attr.version;
}

static int time_cmp(const struct ph_cached_time *a, const struct ph_cached_time *b)
{
    if (a->seconds != b->seconds)
        return a->seconds < b->seconds ? -1 : 1;
    return a->nanoseconds < b->nanoseconds ? -1 : a->nanoseconds > b->nanoseconds;
}

/* Whether a change of ours may have left TIME as that of modification. Some filesystems keep only seconds. */
static bool may_be_our_time(const struct wb_object *o, const struct ph_cached_time *time)
{
    struct ph_cached_time first = o->sent_first;
    if (o->sent_untimed || time_cmp(time, &o->server_modified) == 0)
        return true;
    if (time->nanoseconds == 0)
        first.nanoseconds = 0;
    return o->sent_timed && time_cmp(time, &first) >= 0 && time_cmp(time, &o->sent_last) <= 0;
}

/* Whether what was sent of O and not answered may have left it like NOW. */
static bool may_be_ours(const struct wb_object *o, const struct ph_cached_attr *now)
{
    uint64_t least = MIN_OF(o->sent_least, o->is_cut ? MIN_OF(o->cut, o->server_size) : o->server_size);
    uint64_t most = MAX_OF(MAX_OF(o->attr.size, o->server_size), o->sent_end);
    return may_be_our_time(o, &now->modified) &&
           (!S_ISREG(now->mode) || (now->size >= MIN_OF(least, o->attr.size) && now->size <= most));
}

/* Whether somebody else changed O since the server last told us about it. Where a change of names of ours may
 * have moved its version, or one that was not answered, that alone does not tell: what others write moves
 * size or time as well. */
static bool changed_by_others(const struct ph_wb *wb, const struct wb_object *o, const Pohmel__Attr *attr)
{
    struct ph_cached_attr now;
    if (S_ISDIR(attr->mode) || attr->version == o->server_version)
        return false;
    ph_cached_attr_from_wire(attr, &now);
    if (o->moved)
        return !may_be_ours(o, &now);
    return (!o->passed && wb_links_known(wb, o)) || time_cmp(&now.modified, &o->server_modified) != 0 ||
           (S_ISREG(attr->mode) && now.size != o->server_size);
}

/* After a session was lost: somebody else may have changed what is dirty here. */
static void inspect(struct ph_wb *wb, struct wb_object *o, const Pohmel__Attr *attr)
{
    if (changed_by_others(wb, o, attr)) {
        for (size_t i = 0; i < o->op_count; i++)
            if (o->ops[i]->kind == WB_STATE || o->ops[i]->kind == WB_XATTR)
                o->ops[i]->status = PH_ST_STALE;
        o->recalled = o->stale = true; /* nobody is told any more what is about to be given up */
    }
    wb_server_has(o, attr);
    if (S_ISREG(attr->mode)) /* what was on its way may have arrived */
        o->server_size = attr->size;
    o->suspect = false;
}

/* Whatever else is dirty: how many names it has, where a removal may have taken one without its being known.
 */
static void learn_links(struct ph_wb *wb, const struct ph_wb_call *call, struct wb_object *o,
                        const Pohmel__Attr *attr)
{
    if (!o->known || !o->exclusive || wb_links_known(wb, o) || S_ISDIR(attr->mode) || wb->blind_running > 0 ||
        call->clock < wb->blind || attr->version < o->server_version)
        return;
    for (size_t i = 0; i < o->op_count; i++)
        if (o->ops[i]->kind != WB_STATE && o->ops[i]->kind != WB_OPEN && o->ops[i]->kind != WB_XATTR)
            return;
    o->attr.links = attr->links;
    wb_server_has(o, attr);
    o->learned = call->clock;
}

/* What was sent on may have changed the mode or the owner; nothing of ours that does so goes at the same
 * time. */
static void follow_rights(struct wb_object *o, const Pohmel__Attr *attr)
{
    o->plain = attr->plain;
    for (size_t i = 0; i < o->op_count; i++)
        if (o->ops[i]->kind == WB_STATE && o->ops[i]->which & (PH_SET_MODE | PH_SET_UID | PH_SET_GID))
            return;
    o->attr.mode = attr->mode;
    o->attr.uid = attr->uid;
    o->attr.gid = attr->gid;
}

/* A change of O that was sent on was made there; what is dirty of O, or in it, stays. */
static void follow(struct wb_object *o, const Pohmel__Attr *attr)
{
    struct ph_cached_attr there;
    ph_cached_attr_from_wire(attr, &there);
    follow_rights(o, attr);
    if (there.changed.seconds > o->attr.changed.seconds ||
        (there.changed.seconds == o->attr.changed.seconds &&
         there.changed.nanoseconds > o->attr.changed.nanoseconds))
        o->attr.changed = there.changed;
    o->attr.version++;
}

/* What has lost its last name is gone, and the server may give its number to something else. */
static void notice_another(struct wb_object *o, const Pohmel__Attr *attr)
{
    if (!o->known || is_dirty(o) || ((attr->mode ^ o->attr.mode) & S_IFMT) == 0)
        return;
    o->known = o->stale = o->touched = false;
    wb_xattrs_forget(o);
}

/* What is held in part only, or not any more: no object here says what is newer than ATTR. */
static void patch_given(struct ph_wb *wb, const struct ph_wb_call *call, Pohmel__Attr *attr)
{
    wb_range_patch(wb, attr);
    wb_parted_patch(wb, call, attr);
}

static void learn(struct ph_wb *wb, struct ph_wb_call *call, Pohmel__Attr *attr, uint64_t lease,
                  uint32_t mode, struct ph_wb_actions *actions)
{
    struct wb_object *o = attr != NULL ? wb_find(wb, attr->object) : NULL;
    if (attr == NULL)
        return;
    if (lease != 0 && wb_range_replaced(wb, attr->object, lease, actions))
        lease = mode = 0;
    attr->lease = lease;
    attr->lease_mode = mode;
    patch_given(wb, call, attr);
    bool grant = mode == POHMEL__LEASE_MODE__MODE_EXCLUSIVE && lease != 0 && wb->open && wb->write_back &&
                 !wb_is_gone(wb, attr->object, lease) && !wb_is_before_everything(wb, call);
    if (o == NULL && grant)
        o = wb_object(wb, attr->object);
    if (o == NULL)
        return;
    notice_another(o, attr);
    if (grant && !(o->recalled && o->lease == lease))
        track(wb, o, attr);
    bool own = false;
    for (unsigned i = 0; i < call->busy_count; i++) {
        own = own || call->busy[i] == o;
        if (call->busy[i] == o)
            call->told |= 1u << i;
    }
    if (is_dirty(o) && o->suspect && grant)
        inspect(wb, o, attr);
    /* What is held exclusively is as it is here, unless a command that we sent on changed it as well. */
    bool ours = o->exclusive && o->known && !own && !o->stale && !o->suspect &&
                (S_ISDIR(attr->mode) || attr->version == o->server_version);
    /* A directory that is gone does not come back, and who took it away may not have known what it was. */
    if (S_ISDIR(attr->mode) && attr->links == 0 && o->attr.links > 0) {
        o->attr.links = 0;
        o->attr.version++;
    }
    /* Answers to two changes of our own overtake each other. */
    bool overtaken = own && o->known && attr->version < o->server_version;
    if (overtaken && o->busy == 1 && call->clock >= o->changed)
        follow_rights(o, attr);
    if (is_dirty(o) || ours) {
        learn_links(wb, call, o, attr);
        if (own && o->known && !overtaken)
            follow(o, attr);
        if (o->known && S_ISDIR(attr->mode) && o->stale)
            patch_changed(o, attr);
        else if (o->known)
            wb_patch(o, attr);
    } else if (!o->known ||
               attr->version >=
                   (own || o->stale || !(o->moved || o->passed) ? o->server_version : o->attr.version)) {
        if (o->exclusive && o->known && !own)
            wb_action(actions, PH_WB_FORGET)->object = attr->object;
        bool first = !o->known;
        if (overtaken)
            wb_patch(o, attr);
        else
            take_attr(o, attr);
        o->learned = MAX_OF(o->learned, call->clock);
        if (o->busy == (own ? 1 : 0) && (own || call->clock >= o->changed))
            o->stale = false;
        else if (first)
            o->stale =
                true; /* a change of ours, which it may be older than, was under way when it was asked for */
        o->suspect = false;
    } else if (o->exclusive && !o->stale && attr->version < o->server_version) {
        wb_patch(o, attr); /* it is from before what was written back since */
    }
    wb_settle(wb, o);
}

static void learn_plain(struct ph_wb *wb, struct ph_wb_call *call, Pohmel__Attr *attr,
                        struct ph_wb_actions *actions)
{
    if (attr != NULL)
        learn(wb, call, attr, attr->lease, attr->lease_mode, actions);
}

/* NAME in DIRECTORY was OBJECT (0: nothing) when CALL was executed. */
static void learn_name(struct ph_wb *wb, const struct ph_wb_call *call, uint64_t directory,
                       const ProtobufCBinaryData *name, uint64_t object)
{
    struct wb_object *d = wb_find(wb, directory);
    if (d == NULL || !d->exclusive || d->names == NULL)
        return;
    struct ph_wb_name *entry = ph_wb_names_find(d->names, name->data, name->len);
    bool changed_by_it = call->busy_count > 0;
    if (!changed_by_it && (d->epoch != call->epoch || d->busy > 0 || call->clock < d->changed))
        return;
    /* Another change of the same name may be under way, or was answered before it came to this one. */
    if ((changed_by_it && d->busy > 1) || d->changed > call->clock)
        return;
    if (entry == NULL || (entry->object == PH_WB_UNKNOWN && entry->op == NULL))
        ph_wb_names_put(d->names, name->data, name->len, object);
}

static void learn_lookup(struct ph_wb *wb, struct ph_wb_call *call, const Pohmel__LookupReply *reply,
                         struct ph_wb_actions *actions)
{
    const Pohmel__LookupRequest *request = (const Pohmel__LookupRequest *) call->message;
    for (size_t i = 0; i < reply->n_found; i++)
        learn_plain(wb, call, reply->found[i], actions);
    learn_plain(wb, call, reply->directory, actions);
    if (request->n_names != 1)
        return;
    bool absent = reply->n_found == 0 && (reply->failure == PH_ST_NOT_FOUND || reply->failure == PH_ST_OK);
    if (absent || reply->n_found == 1)
        learn_name(wb, call, request->parent, &request->names[0], absent ? 0 : reply->found[0]->object);
}

static bool is_dots(const ProtobufCBinaryData *name)
{
    return name->data[0] == '.' && (name->len == 1 || (name->len == 2 && name->data[1] == '.'));
}

/* A listing read from its start to its end under one lease makes the directory known whole: names that were
 * changed meanwhile have entries. */
static void learn_listing(struct ph_wb *wb, struct ph_wb_call *call, const Pohmel__ReaddirReply *reply,
                          struct ph_wb_actions *actions)
{
    const Pohmel__ReaddirRequest *request = (const Pohmel__ReaddirRequest *) call->message;
    struct wb_object *d = wb_find(wb, request->object);
    for (size_t i = 0; i < reply->n_entries; i++)
        learn_plain(wb, call, reply->entries[i]->attr, actions);
    d = wb_find(wb, request->object);
    if (d == NULL || !d->exclusive || d->names == NULL || d->epoch != call->epoch)
        return;
    if (request->cookie != 0 && (d->listing_next != request->cookie || d->listing_epoch != d->epoch))
        return;
    for (size_t i = 0; i < reply->n_entries; i++) {
        const Pohmel__DirEntry *entry = reply->entries[i];
        if (!is_dots(&entry->name) && ph_wb_names_find(d->names, entry->name.data, entry->name.len) == NULL)
            ph_wb_names_put(d->names, entry->name.data, entry->name.len, entry->object);
    }
    d->listing_epoch = d->epoch;
    d->listing_next = reply->n_entries > 0 ? reply->entries[reply->n_entries - 1]->cookie : 0;
    if (reply->end)
        ph_wb_names_set_whole(d->names, true);
}

static void learn_removed(struct ph_wb *wb, struct ph_wb_call *call)
{
    const Pohmel__RenameRequest *rename = (const Pohmel__RenameRequest *) call->message;
    const Pohmel__RemoveRequest *remove = (const Pohmel__RemoveRequest *) call->message;
    const Pohmel__RmdirRequest *rmdir = (const Pohmel__RmdirRequest *) call->message;
    if (call->command == PH_CMD_REMOVE) {
        learn_name(wb, call, remove->parent, &remove->name, 0);
        for (unsigned i = 0; i < call->busy_count; i++)
            if (!S_ISDIR(call->busy[i]->attr.mode) && call->busy[i]->attr.links <= 1)
                call->busy[i]->unnamed = true;
    }
    if (call->command == PH_CMD_RMDIR)
        learn_name(wb, call, rmdir->parent, &rmdir->name, 0);
    if (call->command == PH_CMD_RENAME &&
        rename->flags == WB_NO_REPLACE) /* else both may be names of one file: nothing was done then */
        learn_name(wb, call, rename->old_parent, &rename->old_name, 0);
}

/* What was just made has no extended attributes but those that a default list gives it. */
static void learn_fresh(struct ph_wb *wb, const struct ph_wb_call *call, const Pohmel__ChangeResult *result,
                        const Pohmel__Attr *attr)
{
    struct wb_object *o = attr != NULL ? wb_find(wb, attr->object) : NULL;
    bool made = call->command == PH_CMD_CREATE ? result->create->created : call->command == PH_CMD_MKDIR;
    if (made && o != NULL && o->exclusive && !o->recalled && o->plain && o->xattrs_changed <= call->clock)
        o->xattrs_whole = true;
}

static void learn_change(struct ph_wb *wb, struct ph_wb_call *call, const Pohmel__TransactReply *reply,
                         struct ph_wb_actions *actions)
{
    const void *message = call->message;
    const Pohmel__ChangeResult *result = reply->n_results == 1 ? reply->results[0] : NULL;
    /* Of several commands nothing is learned: what is known of what they may concern was given up. */
    if (result == NULL || result->status != PH_ST_OK || result->create == NULL ||
        call->command == PH_CMD_TRANSACT)
        return;
    Pohmel__Attr *attr = NULL;
    switch (call->command) {
    case PH_CMD_REMOVE:
    case PH_CMD_RMDIR:
    case PH_CMD_RENAME:
        learn_removed(wb, call);
        return;
    case PH_CMD_MKPATH:
        attr = result->mkpath->attr;
        break;
    case PH_CMD_RMTREE:
        return;
    case PH_CMD_CREATE:
        attr = result->create->attr;
        learn_name(wb, call, ((const Pohmel__CreateRequest *) message)->parent,
                   &((const Pohmel__CreateRequest *) message)->name, attr->object);
        break;
    case PH_CMD_MKDIR:
        attr = result->mkdir->attr;
        learn_name(wb, call, ((const Pohmel__MkdirRequest *) message)->parent,
                   &((const Pohmel__MkdirRequest *) message)->name, attr->object);
        break;
    case PH_CMD_SYMLINK:
        attr = result->symlink->attr;
        learn_name(wb, call, ((const Pohmel__SymlinkRequest *) message)->parent,
                   &((const Pohmel__SymlinkRequest *) message)->name, attr->object);
        break;
    case PH_CMD_MKNOD:
        attr = result->mknod->attr;
        learn_name(wb, call, ((const Pohmel__MknodRequest *) message)->parent,
                   &((const Pohmel__MknodRequest *) message)->name, attr->object);
        break;
    case PH_CMD_LINK:
        attr = result->link->attr;
        learn_name(wb, call, ((const Pohmel__LinkRequest *) message)->parent,
                   &((const Pohmel__LinkRequest *) message)->name, attr->object);
        break;
    case PH_CMD_WRITE:
        attr = result->write->attr;
        break;
    case PH_CMD_COPY:
        attr = result->copy->attr;
        break;
    default: /* all others answer with attributes */
        attr = result->setattr->attr;
    }
    learn_plain(wb, call, attr, actions);
    if (call->command != PH_CMD_WRITE && attr != NULL)
        wb_range_disturbed(wb, attr->object, actions);
    learn_fresh(wb, call, result, attr);
    /* A directory that was just made is empty, and nobody else can have put anything there. */
    struct wb_object *o = call->command == PH_CMD_MKDIR ? wb_find(wb, attr->object) : NULL;
    if (o != NULL && o->exclusive && o->names != NULL && ph_wb_names_count(o->names) == 0) {
        ph_wb_names_set_whole(o->names, true);
        call->made_whole = attr->object;
    }
}

static void learn_acquired(struct ph_wb *wb, struct ph_wb_call *call, const struct ph_reply *reply,
                           const struct ph_wb_now *now, struct ph_wb_actions *actions)
{
    uint64_t object = ((const Pohmel__LeaseAcquireRequest *) call->message)->object;
    const Pohmel__LeaseAcquireReply *acquired = (const Pohmel__LeaseAcquireReply *) reply->message;
    struct wb_mark *mark = wb_find_mark(wb, object);
    if (mark != NULL) {
        mark->refused = reply->status == PH_ST_NO_LEASE ? mark->refused + 1 : 0;
        mark->wanted_until_ms = mark->refused > WB_REFUSED_MAX ? now->ms + WB_REFUSED_MS : 0;
    }
    if (reply->status != PH_ST_OK && ((const Pohmel__LeaseAcquireRequest *) call->message)->range != NULL) {
        wb_range_refused(wb, object, now->ms);
        return;
    }
    if (reply->status == PH_ST_OK && acquired->grant->range != NULL) {
        if (call->session == wb->session)
            wb_range_granted(wb, acquired->grant, now, actions);
        if (call->session == wb->session && wb_is_before_everything(wb, call))
            wb_range_disturbed(wb, object, actions);
        acquired->grant->attr->lease = acquired->grant->lease = 0; /* nobody else need know */
        return;
    }
    if (reply->status == PH_ST_OK)
        learn(wb, call, acquired->grant->attr, acquired->grant->lease, acquired->grant->mode, actions);
    struct wb_object *o = wb_find(wb, object);
    if (o == NULL)
        return;
    if (!o->exclusive && reply->status != PH_ST_OK && call->session == wb->session) {
        o->unleased = reply->status == PH_ST_UNSUPPORTED;
        wb->any_unleased |= o->unleased;
        o->dead = is_dirty(o) && (reply->status == PH_ST_NOT_FOUND || reply->status == PH_ST_STALE);
        /* Where it is only refused for now, it is still not known what others did meanwhile. */
        o->suspect = o->suspect && !o->unleased && !o->dead;
    }
    if (o->exclusive && o->names != NULL && !ph_wb_names_is_whole(o->names) && reply->status == PH_ST_OK)
        wb_action(actions, PH_WB_LIST)->object = object;
    wb_op_unstall(wb);
}

void wb_learn_reply(struct ph_wb *wb, struct ph_wb_call *call, const struct ph_reply *reply,
                    const struct ph_wb_now *now, struct ph_wb_actions *actions)
{
    if (call->command == PH_CMD_LEASE_ACQUIRE) {
        learn_acquired(wb, call, reply, now, actions);
        return;
    }
    if (call->session == wb->session)
        wb_xattr_learn(wb, call, reply);
    if (call->command == PH_CMD_STATFS && call->session == wb->session && reply->status != PH_ST_OK)
        wb->space_asking = false;
    if (reply->status != PH_ST_OK || reply->message == NULL || call->session != wb->session)
        return;
    if (call->outer == PH_CMD_TRANSACT)
        learn_change(wb, call, (const Pohmel__TransactReply *) reply->message, actions);
    else if (call->command == PH_CMD_LOOKUP)
        learn_lookup(wb, call, (const Pohmel__LookupReply *) reply->message, actions);
    else if (call->command == PH_CMD_GETATTR)
        learn_plain(wb, call, ((const Pohmel__GetattrReply *) reply->message)->attr, actions);
    else if (call->command == PH_CMD_OPEN)
        learn_plain(wb, call, ((const Pohmel__OpenReply *) reply->message)->attr, actions);
    else if (call->command == PH_CMD_STATFS && ((const Pohmel__StatfsRequest *) call->message)->reserve)
        wb_learn_space(wb, (const Pohmel__StatfsReply *) reply->message, now->ms);
    else if (call->command == PH_CMD_READDIR)
        learn_listing(wb, call, (const Pohmel__ReaddirReply *) reply->message, actions);
}
