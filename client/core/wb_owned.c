/* The list of what the server has applied and not yet made stable, and what it takes to make it shorter. */
#include "client/core/wb_doubt.h"
#include "client/core/wb_everything.h"
#include "client/core/wb_owned.h"
#include "client/core/wb_owned_steps.h"

#include <stdlib.h>
#include <string.h>

#include "ph_commands.h"
#include "runtime/wire/call.h"

enum { CHANGE_BYTES = 256 }; /* what a change counts for besides its bytes */

/* --- Objects --- */

struct wb_owned_object *wb_owned_find(const struct ph_wb *wb, uint64_t object)
{
    struct ph_lru_entry *entry = ph_lru_find(&wb->owned->objects, object);
    return entry != NULL ? WB_OF(entry, struct wb_owned_object, lru) : NULL;
}

static struct wb_owned_object *object_of(struct ph_wb *wb, uint64_t object)
{
    struct wb_owned_object *o = wb_owned_find(wb, object);
    if (o == NULL) {
        o = wb_alloc(sizeof(*o));
        ph_lru_add(&wb->owned->objects, &o->lru, object);
    }
    o->changes++;
    return o;
}

static void object_unref(struct ph_wb *wb, uint64_t object)
{
    struct wb_owned_object *o = object != 0 ? wb_owned_find(wb, object) : NULL;
    if (o == NULL || --o->changes > 0)
        return;
    ph_lru_remove(&wb->owned->objects, &o->lru);
    wb_owned_forget_stand(wb, o);
    free(o);
}

void wb_owned_given(struct ph_wb *wb, uint64_t object)
{
    struct wb_owned_object *o = wb_owned_find(wb, object);
    if (o != NULL)
        o->given = true;
}

bool wb_owned_is_later(const Pohmel__Time *time, const struct ph_cached_time *than)
{
    return time != NULL && (time->seconds > than->seconds ||
                            (time->seconds == than->seconds && time->nanoseconds > than->nanoseconds));
}

void wb_owned_version(struct ph_wb *wb, const Pohmel__Attr *attr)
{
    struct wb_owned_object *o = attr != NULL ? wb_owned_find(wb, attr->object) : NULL;
    if (o == NULL)
        return;
    o->version = MAX_OF(o->version, attr->version);
    o->moved = o->untimed = false;
    if (wb_owned_is_later(attr->modified, &o->modified)) {
        o->modified.seconds = attr->modified->seconds;
        o->modified.nanoseconds = attr->modified->nanoseconds;
    }
}

/* --- The list --- */

static uint64_t weight_of(const struct wb_owned_change *change)
{
    return CHANGE_BYTES + change->len + (change->payload != NULL ? change->payload->len : 0);
}

void wb_owned_drop(struct ph_wb *wb, struct wb_owned_change *previous)
{
    struct wb_owned *kept = wb->owned;
    struct wb_owned_change **at = previous != NULL ? &previous->next : &kept->first, *change = *at;
    *at = change->next;
    if (kept->last == change)
        kept->last = previous;
    kept->bytes -= weight_of(change);
    for (int i = 0; i < 2; i++)
        object_unref(wb, change->objects[i]);
    ph_blob_unref(change->payload);
    free(change->packed);
    free(change);
}

/* All changes up to that number are stable. */
static void forget_until(struct ph_wb *wb, uint64_t number)
{
    while (wb->owned->first != NULL && wb->owned->first->number <= number)
        wb_owned_drop(wb, NULL);
}

/* Where CHANGE belongs: before what was made after it and answered earlier. Whoever asked for those to be
 * made stable had it executed before as well. */
static struct wb_owned_change **place_of(struct ph_wb *wb, const struct wb_owned_change *change)
{
    struct wb_owned *kept = wb->owned;
    const struct wb_owned_object *o = change->objects[0] != 0 ? wb_owned_find(wb, change->objects[0]) : NULL;
    struct wb_owned_change **at = &kept->first;
    if (change->version == 0 || o == NULL || change->version > o->version)
        return kept->last != NULL ? &kept->last->next : at;
    while (*at != NULL && ((*at)->objects[0] != change->objects[0] || (*at)->version <= change->version))
        at = &(*at)->next;
    return at;
}

static void insert(struct ph_wb *wb, struct wb_owned_change *change)
{
    struct wb_owned_change **at = place_of(wb, change);
    change->next = *at;
    if (*at == NULL)
        wb->owned->last = change;
    else
        change->number = (*at)->number;
    *at = change;
}

static void append(struct ph_wb *wb, const Pohmel__Change *command, const uint64_t objects[2],
                   const Pohmel__Attr *attr, struct ph_blob *payload, uint64_t offset, uint64_t now_ms)
{
    struct wb_owned *kept = wb->owned;
    struct wb_owned_change *change = wb_alloc(sizeof(*change));
    change->number = ++kept->last_number;
    change->applied_ms = now_ms;
    change->command = (uint16_t) command->command_case;
    change->offset = offset;
    change->version = attr != NULL && attr->object == objects[0] ? attr->version : 0;
    change->payload = payload;
    change->len = pohmel__change__get_packed_size(command);
    change->packed = wb_alloc(change->len + 1);
    pohmel__change__pack(command, change->packed);
    for (int i = 0; i < 2; i++) {
        change->objects[i] = objects[i];
        if (objects[i] != 0)
            object_of(wb, objects[i]);
    }
    kept->bytes += weight_of(change);
    insert(wb, change);
}

/* --- What was answered --- */

const Pohmel__Attr *wb_owned_attr(const Pohmel__ChangeResult *result)
{
    switch (result->result_case) {
    case POHMEL__CHANGE_RESULT__RESULT_CREATE:
        return result->create->attr;
    case POHMEL__CHANGE_RESULT__RESULT_MKDIR:
    case POHMEL__CHANGE_RESULT__RESULT_SYMLINK:
    case POHMEL__CHANGE_RESULT__RESULT_MKNOD:
    case POHMEL__CHANGE_RESULT__RESULT_LINK:
    case POHMEL__CHANGE_RESULT__RESULT_SETATTR:
    case POHMEL__CHANGE_RESULT__RESULT_SETXATTR:
    case POHMEL__CHANGE_RESULT__RESULT_REMOVEXATTR:
    case POHMEL__CHANGE_RESULT__RESULT_ALLOCATE:
        return result->mkdir->attr;
    case POHMEL__CHANGE_RESULT__RESULT_WRITE:
        return result->write->attr;
    default:
        return NULL;
    }
}

/* What CHANGE is about: 0 where it cannot be kept. */
static uint64_t object_about(const Pohmel__Change *change, const Pohmel__Attr *attr)
{
    switch ((unsigned) change->command_case) {
    case PH_CMD_REMOVE:
        return change->remove->object;
    case PH_CMD_RMDIR:
        return change->rmdir->object;
    case PH_CMD_RENAME: /* what is exchanged with what cannot be seen afterwards */
        return (change->rename->flags & ~(uint32_t) WB_NO_REPLACE) == 0 ? change->rename->object : 0;
    default:
        return attr != NULL ? attr->object : 0;
    }
}

/* An existing file that CREATE cut to nothing. */
static void keep_truncated(struct ph_wb *wb, const Pohmel__CreateRequest *create, const Pohmel__Attr *attr,
                           uint64_t now_ms)
{
    Pohmel__SetattrRequest setattr = POHMEL__SETATTR_REQUEST__INIT;
    Pohmel__Change change = POHMEL__CHANGE__INIT;
    uint64_t objects[2] = {attr->object, 0};
    setattr.caller = create->caller;
    setattr.object = attr->object;
    setattr.which = PH_SET_SIZE;
    change.command_case = POHMEL__CHANGE__COMMAND_SETATTR;
    change.setattr = &setattr;
    append(wb, &change, objects, attr, NULL, 0, now_ms);
    wb_owned_version(wb, attr);
}

static void count_names(struct ph_wb *wb, const Pohmel__Change *change, const uint64_t objects[2])
{
    struct wb_owned_object *o = wb_owned_find(wb, objects[0]), *replaced = NULL;
    switch ((unsigned) change->command_case) {
    case PH_CMD_CREATE:
    case PH_CMD_MKDIR:
    case PH_CMD_SYMLINK:
    case PH_CMD_MKNOD:
        o->made = true;
        o->names++;
        break;
    case PH_CMD_LINK:
        o->names++;
        break;
    case PH_CMD_REMOVE:
    case PH_CMD_RMDIR:
        o->names--;
        o->moved = true;
        break;
    case PH_CMD_RENAME:
        o->moved = true;
        replaced = objects[1] != 0 ? wb_owned_find(wb, objects[1]) : NULL;
        if (replaced != NULL) {
            replaced->names--;
            replaced->moved = true;
        }
        break;
    default:
        break;
    }
}

/* Something was changed that is not told: any of them has another version now. */
static void all_moved(struct ph_wb *wb)
{
    for (struct ph_lru_entry *at = wb->owned->objects.oldest; at != NULL; at = at->newer)
        WB_OF(at, struct wb_owned_object, lru)->moved = WB_OF(at, struct wb_owned_object, lru)->untimed =
            true;
}

/* A RENAME that did not say what it moves. What is exchanged cannot be seen afterwards. */
static bool is_blind_move(const Pohmel__Change *change)
{
    return change->command_case == POHMEL__CHANGE__COMMAND_RENAME && change->rename->object == 0 &&
           (change->rename->flags & ~(uint32_t) WB_NO_REPLACE) == 0;
}

/* PAYLOAD, a reference, becomes the list's. */
static void keep_change(struct ph_wb *wb, const Pohmel__Change *change, const Pohmel__ChangeResult *result,
                        struct ph_blob *payload, uint64_t now_ms)
{
    const Pohmel__Attr *attr = wb_owned_attr(result);
    unsigned command = change->command_case;
    bool found = command == PH_CMD_CREATE && attr != NULL && !result->create->created;
    uint64_t objects[2] = {object_about(change, attr), 0};
    if (command == PH_CMD_RENAME)
        objects[1] = change->rename->replaced;
    if (found && change->create->truncate)
        keep_truncated(wb, change->create, attr, now_ms);
    if (found || objects[0] == 0) {
        if (!found) {
            wb->owned->hurry = true;
            all_moved(wb);
        }
        if (is_blind_move(change)) /* is not made again, but what it took away before is not either */
            append(wb, change, objects, NULL, NULL, 0, now_ms);
        ph_blob_unref(payload);
        return;
    }
    append(wb, change, objects, attr, payload, command == PH_CMD_WRITE ? result->write->offset : 0, now_ms);
    count_names(wb, change, objects);
    wb_owned_version(wb, attr);
}

static void let_go(void *owner)
{
    ph_blob_unref(owner);
}

/* The next LEN bytes of PAYLOAD from *AT on; NULL for none. */
static struct ph_blob *slice(struct ph_blob *payload, size_t *at, size_t len)
{
    size_t from = *at;
    if (payload == NULL || len == 0 || from + len > payload->len)
        return NULL;
    *at += len;
    ph_blob_ref(payload);
    if (len == payload->len)
        return payload;
    struct ph_blob *blob = ph_blob_wrap(payload->data + from, len, let_go, payload);
    if (blob == NULL)
        abort();
    return blob;
}

/* Whether CALL moves something, or takes a name from something, whatever that is. */
static bool takes_names(const struct ph_wb_call *call)
{
    return call->command == PH_CMD_REMOVE || call->command == PH_CMD_RMDIR || call->command == PH_CMD_RENAME;
}

/* Whether CALL leaves the time of modification of a file as it is. */
static bool keeps_time(const struct ph_wb_call *call)
{
    if (call->op != NULL)
        return call->op->kind != WB_STATE && call->op->kind != WB_RANGE;
    return call->command == PH_CMD_SYNC || call->command == PH_CMD_LINK || call->command == PH_CMD_SETXATTR ||
           call->command == PH_CMD_REMOVEXATTR || takes_names(call);
}

/* Whether the server may have given OBJECT the time at which it did CALL. */
static bool is_untimed(const struct ph_wb_call *call, const struct wb_object *object)
{
    return call->op == NULL || call->op->kind != WB_STATE || object->sent_untimed;
}

static bool is_after(const struct ph_cached_time *one, const struct ph_cached_time *other)
{
    return one->seconds > other->seconds ||
           (one->seconds == other->seconds && one->nanoseconds > other->nanoseconds);
}

static void unsure(struct ph_wb *wb, const struct ph_wb_call *call, const struct wb_object *object)
{
    struct wb_owned_object *o = object != NULL ? wb_owned_find(wb, object->lru.key) : NULL;
    if (o == NULL)
        return;
    o->moved = true;
    if (keeps_time(call))
        return;
    o->untimed = o->untimed || is_untimed(call, object);
    if (object->sent_timed && is_after(&object->sent_last, &o->modified))
        o->modified = object->sent_last;
}

/* What was under way when the session ended may have been done: who finds another version then finds ours. */
static void unanswered(struct ph_wb *wb, const struct ph_wb_call *call)
{
    for (unsigned i = 0; i < call->busy_count; i++)
        unsure(wb, call, call->busy[i]);
    for (int i = 0; call->op != NULL && i < 2; i++)
        unsure(wb, call, call->op->objects[i]);
    if (call->blind || (call->kind == WB_CALL_USER && takes_names(call)))
        all_moved(wb);
    if (call->kind == WB_CALL_USER && wb_changes_everything(call)) {
        all_moved(wb);
        wb_doubt(wb, call);
    }
}

/* Several commands that are stable, and with them all that was executed before (R-5.4-8): what was answered
 * before them, or, should the answer be an old one that came late, before they were sent. */
static void several_are_stable(struct ph_wb *wb, const struct ph_wb_call *call, bool late)
{
    struct wb_owned *kept = wb->owned;
    uint64_t last = late ? call->owned_number : kept->last_number;
    if (call->session == wb->session)
        forget_until(wb, last);
    kept->hurry = kept->hurry || kept->first != NULL;
    all_moved(wb);
}

void wb_owned_answered(struct ph_wb *wb, const struct ph_wb_call *call, const struct ph_reply *reply,
                       const struct ph_wb_now *now)
{
    const Pohmel__TransactRequest *request = NULL;
    const Pohmel__TransactReply *transact = (const Pohmel__TransactReply *) reply->message;
    if (wb_keeps(wb) && (reply->status == PH_ST_IO_ERROR || reply->status == PH_ST_NO_SESSION))
        unanswered(wb, call);
    else if (wb_keeps(wb) && reply->status != PH_ST_OK && call->kind == WB_CALL_USER &&
             wb_changes_everything(call))
        all_moved(wb); /* what is undone has another version then: R-5.4-7 */
    if (!wb_keeps(wb) || reply->status != PH_ST_OK || transact == NULL)
        return;
    /* What waited for a session belongs to the one in which it was sent. */
    if (call->kind == WB_CALL_OP && call->session != wb->session)
        return;
    if (call->kind == WB_CALL_OP && call->outgoing->transact.n_changes > 0)
        request = &call->outgoing->transact;
    else if (call->kind == WB_CALL_USER && call->outer == PH_CMD_TRANSACT)
        request = (const Pohmel__TransactRequest *) call->owned;
    if (request == NULL)
        return;
    if (call->kind == WB_CALL_USER && transact->stable != 0) {
        several_are_stable(wb, call, reply->again);
        return;
    }
    if (transact->n_results != request->n_changes) { /* who did it has been killed since */
        wb->owned->hurry = true;
        all_moved(wb);
        return;
    }
    size_t at = 0;
    for (size_t i = 0; i < request->n_changes; i++) {
        struct ph_blob *payload = slice(call->payload, &at, ph_change_payload(request->changes[i]));
        if (transact->results[i]->create != NULL)
            keep_change(wb, request->changes[i], transact->results[i], payload, now->ms);
        else
            ph_blob_unref(payload);
    }
}

const char *wb_owned_describe(unsigned command)
{
    switch (command) {
    case PH_CMD_WRITE:
        return "writing";
    case PH_CMD_LINK:
        return "linking";
    case PH_CMD_REMOVE:
    case PH_CMD_RMDIR:
        return "removing";
    case PH_CMD_RENAME:
        return "renaming";
    case PH_CMD_CREATE:
    case PH_CMD_MKDIR:
    case PH_CMD_SYMLINK:
    case PH_CMD_MKNOD:
        return "making";
    default:
        return "changing";
    }
}

bool wb_owned_is_changed(const struct wb_owned_object *o, const Pohmel__Attr *attr)
{
    if (S_ISDIR(attr->mode))
        return false;
    bool known = o->modified.seconds != 0 || o->modified.nanoseconds != 0; /* nothing but names was changed */
    bool judged = known && (o->given || (o->lost && !o->untimed));
    /* A version that we know, or an older one, is from before whatever others did since. */
    if (attr->version != 0 && attr->version <= o->version)
        return false;
    return !o->moved || (judged && wb_owned_is_later(attr->modified, &o->modified));
}

bool wb_owned_was_done(unsigned command, uint32_t status)
{
    switch (command) {
    case PH_CMD_REMOVE:
    case PH_CMD_RMDIR:
        return status == PH_ST_NOT_FOUND || status == PH_ST_STALE || status == PH_ST_MISMATCH;
    case PH_CMD_LINK:
        return status == PH_ST_EXISTS;
    case PH_CMD_REMOVEXATTR:
        return status == PH_ST_NO_ATTRIBUTE;
    default:
        return false;
    }
}

/* --- What is stable --- */

/* A SYNC of the object has made CHANGE stable; NAMES: its names too, DATA_ONLY: not its attributes. */
static bool is_stable(const struct wb_owned_change *change, bool names, bool data_only)
{
    switch (change->command) {
    case PH_CMD_WRITE:
        return true;
    case PH_CMD_SETATTR:
    case PH_CMD_SETXATTR:
    case PH_CMD_REMOVEXATTR:
    case PH_CMD_ALLOCATE:
        return !data_only;
    case PH_CMD_CREATE:
    case PH_CMD_RENAME:
        return names && !data_only;
    default:
        return false;
    }
}

void wb_owned_synced(struct ph_wb *wb, const struct ph_wb_call *call, const struct ph_reply *reply)
{
    const Pohmel__SyncRequest *sync = (const Pohmel__SyncRequest *) call->owned;
    if (!wb_keeps(wb) || reply->status != PH_ST_OK || sync == NULL || call->session != wb->session)
        return;
    if (sync->tree && sync->object == PH_OBJECT_ROOT) {
        forget_until(wb, call->owned_number);
        return;
    }
    const struct wb_owned_object *o = wb_owned_find(wb, sync->object);
    struct wb_owned_change *previous = NULL, *next = NULL;
    for (struct wb_owned_change *at = o != NULL ? wb->owned->first : NULL; at != NULL; at = next) {
        next = at->next;
        if (at->number > call->owned_number)
            break;
        if (at->objects[0] == sync->object && is_stable(at, sync->handle == 0, sync->data_only))
            wb_owned_drop(wb, previous);
        else
            previous = at;
    }
}

uint64_t wb_owned_excess(const struct ph_wb *wb)
{
    uint64_t limit = wb->config.owned_limit_bytes;
    return wb_keeps(wb) && wb->owned->bytes > limit ? wb->owned->bytes - limit : 0;
}

void wb_owned_tick(struct ph_wb *wb, const struct ph_wb_now *now, struct ph_wb_actions *actions)
{
    struct wb_owned *kept = wb->owned;
    if (!wb_keeps(wb) || (kept->first == NULL && !kept->hurry) || kept->syncing || !wb->open || kept->again ||
        now->ms < kept->sync_after_ms)
        return;
    bool old = kept->first != NULL && kept->first->applied_ms + PH_OWNED_STABLE_MS <= now->ms;
    if (!old && !kept->hurry && kept->bytes <= wb->config.owned_limit_bytes / 2)
        return;
    struct ph_wb_call *call = wb_call_new(wb, WB_CALL_OWNED);
    call->outgoing = wb_alloc(sizeof(*call->outgoing));
    Pohmel__SyncRequest *sync = &call->outgoing->message.sync;
    pohmel__sync_request__init(sync);
    pohmel__caller__init(&call->outgoing->owner);
    sync->caller = &call->outgoing->owner;
    sync->object = PH_OBJECT_ROOT;
    sync->tree = true;
    call->command = PH_CMD_SYNC;
    kept->syncing = true;
    kept->sync_number = kept->last_number;
    kept->hurry = false;
    wb_send(wb, call, PH_CMD_SYNC, &sync->base, actions);
}

static void sync_answered(struct ph_wb *wb, struct ph_wb_call *call, const struct ph_reply *reply,
                          const struct ph_wb_now *now, struct ph_wb_actions *actions)
{
    struct wb_owned *kept = wb->owned;
    if (call->session == wb->session) {
        if (reply->status == PH_ST_OK)
            forget_until(wb, kept->sync_number);
        kept->syncing = false;
        if (reply->status != PH_ST_OK)
            kept->sync_after_ms = now->ms + PH_OWNED_AGAIN_MS;
    }
    wb_call_over(wb, call, actions);
    wb_owned_tick(wb, now, actions);
    wb_resume(wb, NULL, now, actions);
}

void wb_owned_call_answered(struct ph_wb *wb, struct ph_wb_call *call, const struct ph_reply *reply,
                            const struct ph_wb_now *now, struct ph_wb_actions *actions)
{
    if (call->command == PH_CMD_SYNC)
        sync_answered(wb, call, reply, now, actions);
    else
        wb_owned_again_answered(wb, call, reply, now, actions);
}

void wb_owned_init(struct ph_wb *wb)
{
    wb->owned = wb_alloc(sizeof(*wb->owned));
    ph_lru_init(&wb->owned->objects);
}

void wb_owned_session_lost(struct ph_wb *wb)
{
    wb->owned->syncing = wb->owned->again = false;
    wb->owned->sync_after_ms = 0;
}

static void free_object(struct ph_lru_entry *entry)
{
    free(WB_OF(entry, struct wb_owned_object, lru));
}

void wb_owned_free(struct ph_wb *wb)
{
    while (wb->owned->first != NULL)
        wb_owned_drop(wb, NULL);
    ph_lru_clear(&wb->owned->objects, free_object);
    if (wb->owned->change != NULL)
        pohmel__change__free_unpacked(wb->owned->change, NULL);
    free(wb->owned);
    wb->owned = NULL;
}
