/* Transactions of several commands: what all of them concern is claimed at once, then the gate is closed. */
#include <stdlib.h>

#include "server/core/memory.h"
#include "server/core/private.h"

enum {
    ATTEMPTS_MAX = 8,      /* to claim what the commands concern; then all of the export is claimed */
    FIRST_WANTS = 64,      /* room for */
    LOOK_BYTES = 64 * 1024 /* for the answer to one look at a name */
};

/* What is to be claimed. */
struct wants {
    struct ph_lease_want *each;
    size_t count, room;
    bool everything;
};

static void want(struct wants *wants, uint64_t object, bool change)
{
    if (object == PH_NOBODY)
        return;
    if (wants->count == wants->room) {
        wants->room = wants->room == 0 ? FIRST_WANTS : 2 * wants->room;
        wants->each = realloc(wants->each, wants->room * sizeof(*wants->each));
        if (wants->each == NULL)
            abort();
    }
    wants->each[wants->count++] = (struct ph_lease_want){object, change};
}

/* NAME in PARENT, and what it stands for now: EXPECTED, where the client says so. Commands before this one
 * may have given it to another object by then; that one is claimed for them. */
static void want_name(struct wants *wants, struct ph_server_call *call, Pohmel__Caller *caller,
                      uint64_t parent, ProtobufCBinaryData name, uint64_t expected)
{
    want(wants, parent, true);
    want(wants, expected != 0 ? expected : ph_server_look_name(call, caller, parent, name), true);
}

static void want_names(struct wants *wants, struct ph_server_call *call, const Pohmel__Change *change)
{
    const Pohmel__RenameRequest *rename = change->rename;
    const Pohmel__CreateRequest *create = change->create;

    switch ((int) change->command_case) {
    case PH_CMD_CREATE:
        want(wants, create->parent, true);
        if (!create->exclusive)
            want(wants, ph_server_look_name(call, create->caller, create->parent, create->name),
                 create->truncate);
        break;
    case PH_CMD_REMOVE:
        want_name(wants, call, change->remove->caller, change->remove->parent, change->remove->name,
                  change->remove->object);
        break;
    case PH_CMD_RMDIR:
        want_name(wants, call, change->rmdir->caller, change->rmdir->parent, change->rmdir->name,
                  change->rmdir->object);
        break;
    default:
        want_name(wants, call, rename->caller, rename->old_parent, rename->old_name, rename->object);
        want_name(wants, call, rename->caller, rename->new_parent, rename->new_name, rename->replaced);
        break;
    }
}

static void want_objects(struct wants *wants, const Pohmel__Change *change)
{
    switch ((int) change->command_case) {
    case PH_CMD_MKDIR:
        want(wants, change->mkdir->parent, true);
        break;
    case PH_CMD_SYMLINK:
        want(wants, change->symlink->parent, true);
        break;
    case PH_CMD_MKNOD:
        want(wants, change->mknod->parent, true);
        break;
    case PH_CMD_LINK:
        want(wants, change->link->parent, true);
        want(wants, change->link->object, true);
        break;
    case PH_CMD_SETATTR:
        want(wants, change->setattr->object, true);
        break;
    case PH_CMD_WRITE:
        want(wants, change->write->object, true);
        break;
    case PH_CMD_ALLOCATE:
        want(wants, change->allocate->object, true);
        break;
    case PH_CMD_COPY:
        want(wants, change->copy->source, false);
        want(wants, change->copy->target, true);
        break;
    case PH_CMD_SETXATTR:
        want(wants, change->setxattr->object, true);
        break;
    case PH_CMD_REMOVEXATTR:
        want(wants, change->removexattr->object, true);
        break;
    case PH_CMD_RMTREE:
        wants->everything = true; /* it lies below a name */
        break;
    default:
        break; /* it will be refused */
    }
}

static void want_all_of(struct wants *wants, struct ph_server_call *call, Pohmel__Change *const *changes,
                        size_t count)
{
    for (size_t i = 0; i < count; i++) {
        switch ((int) changes[i]->command_case) {
        case PH_CMD_CREATE:
        case PH_CMD_REMOVE:
        case PH_CMD_RMDIR:
        case PH_CMD_RENAME:
            ph_arena_reset(call->call.arena, LOOK_BYTES);
            want_names(wants, call, changes[i]);
            break;
        default:
            want_objects(wants, changes[i]);
            break;
        }
    }
}

static int by_object(const void *a, const void *b)
{
    const struct ph_lease_want *one = a, *other = b;

    return one->object < other->object ? -1 : one->object > other->object;
}

/* Sorted, and each object once. */
static void tidy(struct wants *wants)
{
    size_t kept = 0;

    if (wants->count > 1)
        qsort(wants->each, wants->count, sizeof(*wants->each), by_object);
    for (size_t i = 0; i < wants->count; i++) {
        if (kept > 0 && wants->each[kept - 1].object == wants->each[i].object)
            wants->each[kept - 1].change |= wants->each[i].change;
        else
            wants->each[kept++] = wants->each[i];
    }
    wants->count = kept;
}

/* Finds out what the transaction concerns, as things are. */
static void plan(struct ph_server_call *call, const Pohmel__TransactRequest *request, struct wants *wants)
{
    const struct ph_staged *staged = call->call.staged;
    struct ph_arena *own = call->call.arena;

    wants->count = 0;
    wants->everything = !ph_leases_cached(call->server->leases) || call->attempts >= ATTEMPTS_MAX ||
                        call->session->entry->export->store->ops->lookup == NULL;
    if (!wants->everything) {
        call->call.arena = ph_arena_new(LOOK_BYTES);
        for (size_t i = 0; staged != NULL && i < staged->count; i++)
            want_all_of(wants, call, staged->part[i].request->changes, staged->part[i].request->n_changes);
        want_all_of(wants, call, request->changes, request->n_changes);
        ph_arena_free(call->call.arena);
        call->call.arena = own;
    }
    tidy(wants);
    if (!wants->everything)
        return;
    wants->count = 0;
    want(wants, PH_LEASE_ALL, true);
}

/* Whether the claims that CALL has are those of WANTS. */
static bool has_all(struct ph_server_call *call, const struct wants *wants)
{
    bool has;

    ph_server_enter(call->server, &call->actions);
    has = ph_lease_claim_covers(&call->claim, wants->each, wants->count);
    ph_server_leave(call->server);
    return has;
}

/* What waits for leases must not keep others out. */
static void open_gate(struct ph_server_call *call)
{
    ph_server_enter(call->server, &call->actions);
    ph_gate_open(call);
    ph_server_leave(call->server);
}

/* Names may come to stand for other objects until the gate is closed: then they are looked at again. */
static uint32_t claim(struct ph_server_call *call, const Pohmel__TransactRequest *request,
                      struct wants *wants)
{
    uint32_t status = PH_ST_OK;

    while (status == PH_ST_OK) {
        plan(call, request, wants);
        if (ph_gate_is_entered(call)) {
            if (has_all(call, wants))
                break;
            open_gate(call);
            call->attempts++;
        }
        status = ph_server_claim_wants(call, wants->each, wants->count);
        if (status == PH_ST_OK)
            status = ph_gate_enter(call);
    }
    return status;
}

/* What the store would make stable with the gate closed, nobody waiting yet. */
static uint32_t settle(struct ph_server_call *call)
{
    struct ph_store *store = call->session->entry->export->store;

    if (call->stable || store->settle == NULL)
        return PH_ST_OK;
    call->stable = true;
    return store->settle(store->self, &call->call);
}

uint32_t ph_server_claim_several(struct ph_server_call *call, const Pohmel__TransactRequest *request)
{
    struct wants wants = {0};
    uint32_t status = settle(call);

    if (status == PH_ST_OK)
        status = claim(call, request, &wants);
    free(wants.each);
    return status;
}
