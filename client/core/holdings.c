#include "client/core/holdings.h"

#include <stdlib.h>
#include <string.h>

#include "ph_commands.h"
#include "runtime/base/limits.h"
#include "runtime/wire/command.h"

/* One handle. The request says by whom and how it was opened, the answer of a CREATE which object it is. */
struct held_handle {
    struct ph_lru_entry lru;
    struct ph_client_request *request;
    size_t reply_len;
    uint8_t reply[];
};

/* Bytes from START up to END, of one owner. */
struct held_lock {
    uint64_t owner, handle, start, end;
    uint32_t process;
    bool shared, whole;
};

struct held_locks {
    struct ph_lru_entry lru;
    struct held_lock *items;
    size_t count, capacity;
};

static void free_handle(struct ph_lru_entry *entry)
{
    struct held_handle *held = (struct held_handle *) entry;
    ph_request_unref(held->request);
    free(held);
}

static void free_locks(struct ph_lru_entry *entry)
{
    free(((struct held_locks *) entry)->items);
    free(entry);
}

void ph_holdings_init(struct ph_holdings *holdings)
{
    ph_lru_init(&holdings->handles);
    ph_lru_init(&holdings->locks);
}

void ph_holdings_clear(struct ph_holdings *holdings, bool last)
{
    ph_lru_clear(&holdings->handles, free_handle);
    ph_lru_clear(&holdings->locks, free_locks);
    if (!last)
        ph_holdings_init(holdings);
}

static void drop_handle(struct ph_holdings *holdings, uint64_t handle)
{
    struct ph_lru_entry *entry = ph_lru_find(&holdings->handles, handle);
    if (!entry)
        return;
    ph_lru_remove(&holdings->handles, entry);
    free_handle(entry);
}

void ph_holdings_drop(struct ph_holdings *holdings, uint64_t handle)
{
    drop_handle(holdings, handle);
}

bool ph_holdings_has(const struct ph_holdings *holdings, uint64_t handle)
{
    return ph_lru_find(&holdings->handles, handle) != NULL;
}

void ph_holdings_lost(struct ph_holdings *holdings)
{
    for (struct ph_lru_entry *entry = holdings->locks.oldest; entry; entry = entry->newer) {
        const struct held_locks *locks = (const struct held_locks *) entry;
        for (size_t i = 0; i < locks->count; i++)
            drop_handle(holdings, locks->items[i].handle);
    }
    ph_lru_clear(&holdings->locks, free_locks);
    ph_lru_init(&holdings->locks);
    for (struct ph_lru_entry *entry = holdings->handles.oldest, *newer; entry; entry = newer) {
        newer = entry->newer;
        if (entry->key & PH_HANDLE_OWN_BIT)
            drop_handle(holdings, entry->key);
    }
}

static const void *decode(const struct ph_client_request *request, struct ph_arena *arena)
{
    struct ph_fault fault = {0};
    return ph_decode(ph_command_info(request->command)->request, request->message, request->message_len,
                     arena, &fault);
}

uint64_t ph_holdings_object(const struct ph_client_request *request)
{
    struct ph_arena *arena = ph_arena_new(PH_ARENA_CAP_BYTES);
    const Pohmel__OpenRequest *open = decode(request, arena);
    uint64_t object = open ? open->object : 0;
    ph_arena_free(arena);
    return object;
}

/* --- Locks --- */

static void push(struct held_locks *locks, const struct held_lock *lock)
{
    if (locks->count == locks->capacity) {
        locks->capacity = locks->capacity ? 2 * locks->capacity : 4;
        locks->items = realloc(locks->items, locks->capacity * sizeof(*locks->items));
        if (!locks->items)
            abort();
    }
    locks->items[locks->count++] = *lock;
}

/* What OWNER has between START and END goes. */
static void cut(struct held_locks *locks, const struct held_lock *range)
{
    for (size_t i = 0; i < locks->count;) {
        struct held_lock *at = &locks->items[i], rest = *at;
        if (at->owner != range->owner || at->whole != range->whole || at->end <= range->start ||
            at->start >= range->end) {
            i++;
            continue;
        }
        bool before = at->start < range->start;
        if (before) {
            at->end = range->start;
            i++;
        } else {
            *at = locks->items[--locks->count];
        }
        if (rest.end > range->end) {
            rest.start = range->end;
            push(locks, &rest); /* looked at again, and left alone */
        }
    }
}

static struct held_lock lock_of(uint64_t owner, const Pohmel__Range *range, bool whole)
{
    uint64_t end = range->offset + range->length; /* both are below 2^63 */
    return (struct held_lock){.owner = owner, .start = range->offset, .end = end, .whole = whole};
}

static struct held_locks *locks_of(struct ph_holdings *holdings, uint64_t object)
{
    struct held_locks *locks = (struct held_locks *) ph_lru_find(&holdings->locks, object);
    if (!locks) {
        locks = calloc(1, sizeof(*locks));
        if (!locks)
            abort();
        ph_lru_add(&holdings->locks, &locks->lru, object);
    }
    return locks;
}

static void settle(struct ph_holdings *holdings, struct held_locks *locks)
{
    if (locks->count > 0)
        return;
    ph_lru_remove(&holdings->locks, &locks->lru);
    free_locks(&locks->lru);
}

static void note_lock(struct ph_holdings *holdings, const Pohmel__LockRequest *request)
{
    struct held_locks *locks = locks_of(holdings, request->object);
    struct held_lock lock = lock_of(request->owner, request->range, request->whole_file);
    lock.handle = request->handle;
    lock.process = request->process;
    lock.shared = request->shared;
    cut(locks, &lock);
    push(locks, &lock);
}

static void note_unlock(struct ph_holdings *holdings, const Pohmel__UnlockRequest *request)
{
    struct held_locks *locks = locks_of(holdings, request->object);
    struct held_lock range = lock_of(request->owner, request->range, request->whole_file);
    cut(locks, &range);
    settle(holdings, locks);
}

static void drop_locks(struct ph_holdings *holdings, uint64_t object, uint64_t handle)
{
    struct held_locks *locks = (struct held_locks *) ph_lru_find(&holdings->locks, object);
    if (!locks)
        return;
    for (size_t i = 0; i < locks->count;) {
        if (locks->items[i].handle == handle)
            locks->items[i] = locks->items[--locks->count];
        else
            i++;
    }
    settle(holdings, locks);
}

/* --- Handles --- */

/* FRAME says that what REQUEST, an OPEN, opened was closed at once. */
static bool is_closed(const struct ph_client_request *request, const struct ph_frame *frame)
{
    struct ph_fault fault = {0};
    struct ph_arena *arena = ph_arena_new(PH_ARENA_CAP_BYTES);
    const Pohmel__OpenReply *reply = (const Pohmel__OpenReply *) ph_decode(
        ph_command_info(PH_CMD_OPEN)->reply, frame->message, frame->header.message_len, arena, &fault);
    bool closed = request->command == PH_CMD_OPEN && reply && reply->closed;
    ph_arena_free(arena);
    return closed;
}

static void note_open(struct ph_holdings *holdings, struct ph_client_request *request,
                      const struct ph_frame *frame)
{
    size_t len = request->command == PH_CMD_TRANSACT ? frame->header.message_len : 0;
    struct held_handle *held = malloc(sizeof(*held) + len);
    struct ph_lru_entry *before = ph_lru_find(&holdings->handles, request->handle);
    if (!held)
        abort();
    if (before) {
        ph_lru_remove(&holdings->handles, before);
        free_handle(before);
    }
    *held = (struct held_handle){.request = ph_request_ref(request), .reply_len = len};
    memcpy(held->reply, frame->message, len);
    ph_lru_add(&holdings->handles, &held->lru, request->handle);
}

static void note_close(struct ph_holdings *holdings, const Pohmel__CloseRequest *request)
{
    drop_locks(holdings, request->object, request->handle);
    drop_handle(holdings, request->handle);
}

void ph_holdings_note(struct ph_holdings *holdings, struct ph_client_request *request,
                      const struct ph_frame *frame)
{
    bool opens = request->handle != 0 && request->command != PH_CMD_CLOSE;
    bool others = request->command == PH_CMD_CLOSE || request->command == PH_CMD_LOCK ||
                  request->command == PH_CMD_UNLOCK;
    if (opens && !(request->brief && is_closed(request, frame)))
        note_open(holdings, request, frame);
    if (!others)
        return;
    struct ph_arena *arena = ph_arena_new(PH_ARENA_CAP_BYTES);
    const void *message = decode(request, arena);
    if (message && request->command == PH_CMD_CLOSE)
        note_close(holdings, message);
    else if (message && request->command == PH_CMD_LOCK)
        note_lock(holdings, message);
    else if (message)
        note_unlock(holdings, message);
    ph_arena_free(arena);
}

/* --- Again --- */

/* The object that a CREATE opened: not the one it proposed where the name existed. */
static uint64_t created(const struct held_handle *held, struct ph_arena *arena, uint64_t proposed)
{
    struct ph_fault fault = {0};
    const Pohmel__TransactReply *reply = (const Pohmel__TransactReply *) ph_decode(
        ph_command_info(PH_CMD_TRANSACT)->reply, held->reply, held->reply_len, arena, &fault);
    const Pohmel__ChangeResult *result = reply && reply->n_results == 1 ? reply->results[0] : NULL;
    bool known = result && result->result_case == POHMEL__CHANGE_RESULT__RESULT_CREATE && result->create &&
                 result->create->attr;
    return known ? result->create->attr->object : proposed;
}

/* What HELD was opened by, as an OPEN. */
static bool as_open(const struct held_handle *held, struct ph_arena *arena, Pohmel__OpenRequest *open)
{
    const void *message = decode(held->request, arena);
    if (!message)
        return false;
    if (held->request->command == PH_CMD_OPEN) {
        *open = *(const Pohmel__OpenRequest *) message;
        open->data_max = 0;
        open->brief = false;
        return true;
    }
    const Pohmel__TransactRequest *transact = message;
    const Pohmel__Change *change = transact->n_changes == 1 ? transact->changes[0] : NULL;
    if (change && change->command_case == POHMEL__CHANGE__COMMAND_CREATE) {
        open->caller = change->create->caller;
        open->object = created(held, arena, change->create->object);
        open->access = change->create->access;
        return true;
    }
    if (change && change->command_case == POHMEL__CHANGE__COMMAND_TMPFILE) {
        open->caller = change->tmpfile->caller;
        open->object = change->tmpfile->object;
        open->access = change->tmpfile->access;
        return true;
    }
    return false;
}

void ph_holdings_reopen(const struct ph_holdings *holdings,
                        void (*fn)(void *data, struct ph_client_request *request), void *data)
{
    for (struct ph_lru_entry *entry = holdings->handles.oldest; entry; entry = entry->newer) {
        const struct held_handle *held = (const struct held_handle *) entry;
        struct ph_arena *arena = ph_arena_new(PH_ARENA_CAP_BYTES);
        Pohmel__OpenRequest open = POHMEL__OPEN_REQUEST__INIT;
        if (as_open(held, arena, &open)) {
            open.handle = entry->key;
            open.reopen = true;
            fn(data, ph_request_encode(PH_CMD_OPEN, &open.base, NULL));
        }
        ph_arena_free(arena);
    }
}

void ph_holdings_relock(const struct ph_holdings *holdings,
                        void (*fn)(void *data, struct ph_client_request *request), void *data)
{
    for (struct ph_lru_entry *entry = holdings->locks.oldest; entry; entry = entry->newer) {
        const struct held_locks *locks = (const struct held_locks *) entry;
        for (size_t i = 0; i < locks->count; i++) {
            const struct held_lock *lock = &locks->items[i];
            Pohmel__Range range = POHMEL__RANGE__INIT;
            Pohmel__LockRequest message = POHMEL__LOCK_REQUEST__INIT;
            range.offset = lock->start;
            range.length = lock->end - lock->start;
            if (range.length > INT64_MAX)
                range.length = INT64_MAX;
            message.object = entry->key;
            message.handle = lock->handle;
            message.owner = lock->owner;
            message.process = lock->process;
            message.range = &range;
            message.shared = lock->shared;
            message.whole_file = lock->whole;
            fn(data, ph_request_encode(PH_CMD_LOCK, &message.base, NULL));
        }
    }
}
