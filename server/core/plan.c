/* Which objects a change concerns: those that it names, and those that names in it stand for. The
 * latter are asked of the store before, and given to it as expected: where a name came to stand for
 * something else in between the store says so, and it is planned again. */
#include "runtime/base/mutant.h"
#include "server/core/private.h"

/* Times that is tried before the change claims all of the export, which needs no expectations. */
enum { ATTEMPTS_MAX = 8 };

/* Bits of RENAME's flags. */
enum { RENAME_NEW_MUST_BE_FREE = 1, RENAME_BOTH = 2 };

static void want(struct ph_change_plan *plan, uint64_t object, bool change)
{
    if (object == PH_NOBODY)
        return;
    for (size_t i = 0; i < plan->count; i++) {
        if (plan->wants[i].object != object)
            continue;
        plan->wants[i].change = plan->wants[i].change || change;
        return;
    }
    plan->wants[plan->count++] = (struct ph_lease_want){.object = object, .change = change};
}

/* Where the bytes go is known; what they do to the size is nobody's business while ranges are out. */
static void want_bytes(struct ph_change_plan *plan, const Pohmel__WriteRequest *write)
{
    if (write->append || write->length > PH_LEASE_BYTES_END - write->offset)
        return;
    plan->wants[0].part = true;
    plan->wants[0].bytes = (struct ph_lease_bytes){write->offset, write->offset + write->length};
}

static void want_everything(struct ph_change_plan *plan)
{
    plan->count = 1;
    plan->wants[0] = (struct ph_lease_want){.object = PH_LEASE_ALL, .change = true};
}

uint64_t ph_server_look_name(struct ph_server_call *call, Pohmel__Caller *caller, uint64_t parent,
                             ProtobufCBinaryData name)
{
    const struct ph_store *store = call->session->entry->export->store;
    Pohmel__LookupRequest request = POHMEL__LOOKUP_REQUEST__INIT;
    Pohmel__LookupReply reply = POHMEL__LOOKUP_REPLY__INIT;
    uint32_t status;

    request.caller = caller;
    request.parent = parent;
    request.names = &name;
    request.n_names = 1;
    status = store->ops->lookup(store->self, &call->call, &request, &reply);
    call->call.fault = (struct ph_fault){0};
    return status == PH_ST_OK && reply.n_found == 1 ? reply.found[0]->object : PH_NOBODY;
}

/* The store is given a copy of the change, which may be altered. */
static void copy_change(struct ph_change_plan *plan, const Pohmel__TransactRequest *request)
{
    plan->own = *request;
    plan->change = *request->changes[0];
    plan->changes = &plan->change;
    plan->own.changes = &plan->changes;
    plan->request = &plan->own;
    plan->expects = true;
}

static void plan_create(struct ph_server_call *call, const Pohmel__TransactRequest *request,
                        struct ph_change_plan *plan)
{
    const Pohmel__CreateRequest *create = request->changes[0]->create;
    uint64_t found;

    want(plan, create->parent, true);
    if (create->exclusive)
        return;
    found = ph_server_look_name(call, create->caller, create->parent, create->name);
    if (found != PH_NOBODY) {
        want(plan, found, create->truncate);
        plan->found = found;
        return;
    }
    copy_change(plan, request);
    plan->create = *create;
    plan->change.create = &plan->create;
    plan->create.exclusive = true;
    plan->raced = PH_ST_EXISTS;
}

static void plan_remove(struct ph_server_call *call, const Pohmel__TransactRequest *request,
                        struct ph_change_plan *plan)
{
    const Pohmel__RemoveRequest *remove = request->changes[0]->remove;

    want(plan, remove->parent, true);
    if (remove->object != 0) {
        want(plan, remove->object, true);
        return;
    }
    copy_change(plan, request);
    plan->remove = *remove;
    plan->change.remove = &plan->remove;
    plan->remove.object = ph_server_look_name(call, remove->caller, remove->parent, remove->name);
    if (!PH_MUTANT(ALIAS))
        want(plan, plan->remove.object, true);
    plan->raced = PH_ST_MISMATCH;
}

static void plan_rmdir(struct ph_server_call *call, const Pohmel__TransactRequest *request,
                       struct ph_change_plan *plan)
{
    const Pohmel__RmdirRequest *rmdir = request->changes[0]->rmdir;

    want(plan, rmdir->parent, true);
    if (rmdir->object != 0) {
        want(plan, rmdir->object, true);
        return;
    }
    copy_change(plan, request);
    plan->rmdir = *rmdir;
    plan->change.rmdir = &plan->rmdir;
    plan->rmdir.object = ph_server_look_name(call, rmdir->caller, rmdir->parent, rmdir->name);
    want(plan, plan->rmdir.object, true);
    plan->raced = PH_ST_MISMATCH;
}

static void plan_rename(struct ph_server_call *call, const Pohmel__TransactRequest *request,
                        struct ph_change_plan *plan)
{
    const Pohmel__RenameRequest *rename = request->changes[0]->rename;

    want(plan, rename->old_parent, true);
    want(plan, rename->new_parent, true);
    copy_change(plan, request);
    plan->expects = rename->object == 0 || rename->replaced == 0;
    plan->mixed = rename->object != 0 || rename->replaced != 0;
    plan->rename = *rename;
    plan->change.rename = &plan->rename;
    plan->raced = PH_ST_MISMATCH;
    if (rename->object == 0)
        plan->rename.object = ph_server_look_name(call, rename->caller, rename->old_parent, rename->old_name);
    want(plan, plan->rename.object, true);
    if (rename->replaced == 0)
        plan->rename.replaced =
            ph_server_look_name(call, rename->caller, rename->new_parent, rename->new_name);
    want(plan, plan->rename.replaced, true);
    if (plan->rename.replaced != PH_NOBODY || (rename->flags & RENAME_BOTH) != 0)
        return;
    /* Nothing is there; where something is by then, it must not be replaced. */
    plan->rename.replaced = 0;
    if (call->plain_rename || (rename->flags & RENAME_NEW_MUST_BE_FREE) != 0)
        return;
    plan->rename.flags |= RENAME_NEW_MUST_BE_FREE;
    plan->raced = PH_ST_EXISTS;
}

/* Commands whose objects stand in the request. */
static void plan_plain(const Pohmel__Change *change, struct ph_change_plan *plan)
{
    switch ((int) change->command_case) {
    case PH_CMD_MKDIR:
        want(plan, change->mkdir->parent, true);
        break;
    case PH_CMD_SYMLINK:
        want(plan, change->symlink->parent, true);
        break;
    case PH_CMD_MKNOD:
        want(plan, change->mknod->parent, true);
        break;
    case PH_CMD_TMPFILE:
        break; /* it shows nowhere */
    case PH_CMD_LINK:
        want(plan, change->link->parent, true);
        want(plan, change->link->object, true);
        break;
    case PH_CMD_SETATTR:
        want(plan, change->setattr->object, true);
        break;
    case PH_CMD_WRITE:
        want(plan, change->write->object, true);
        want_bytes(plan, change->write);
        plan->laundered = change->write->laundered;
        break;
    case PH_CMD_ALLOCATE:
        want(plan, change->allocate->object, true);
        break;
    case PH_CMD_COPY:
        want(plan, change->copy->source, false);
        want(plan, change->copy->target, true);
        break;
    case PH_CMD_SETXATTR:
        want(plan, change->setxattr->object, true);
        break;
    case PH_CMD_REMOVEXATTR:
        want(plan, change->removexattr->object, true);
        break;
    default:
        want_everything(plan); /* MKPATH and RMTREE: what they concern lies along a path, or below one */
        break;
    }
}

/* Whether the session has the directories of the names in CHANGE exclusively: nobody but those who go behind
 * the server's back can give a name in them to something else. */
static bool names_are_own(struct ph_server_call *call, const Pohmel__Change *change)
{
    const struct ph_lease_session *own;
    uint64_t one = 0, other = 0;
    bool result;

    switch ((int) change->command_case) {
    case PH_CMD_CREATE:
        one = other = change->create->parent;
        break;
    case PH_CMD_REMOVE:
        one = other = change->remove->parent;
        break;
    case PH_CMD_RMDIR:
        one = other = change->rmdir->parent;
        break;
    case PH_CMD_RENAME:
        one = change->rename->old_parent;
        other = change->rename->new_parent;
        break;
    default:
        return false;
    }
    ph_server_enter(call->server, &call->actions);
    own = call->session->lease;
    result = own != NULL && ph_leases_holds_alone(call->server->leases, own, one) &&
             ph_leases_holds_alone(call->server->leases, own, other);
    ph_server_leave(call->server);
    return result;
}

/* It was tried often enough. What has the names exclusively must not wait for all others, and takes what it
 * finds. */
static void give_up_expecting(struct ph_server_call *call, const Pohmel__TransactRequest *request,
                              struct ph_change_plan *plan)
{
    if (call->attempts < ATTEMPTS_MAX)
        return;
    plan->request = request;
    plan->expects = false;
}

void ph_server_plan(struct ph_server_call *call, const Pohmel__TransactRequest *request,
                    struct ph_change_plan *plan)
{
    plan->request = request;
    plan->count = 0;
    plan->expects = plan->mixed = plan->laundered = false;
    plan->found = 0;
    plan->raced = PH_ST_OK;
    /* Where nobody caches there is nothing to find out; who begins to is kept waiting by the claim. */
    if (!ph_leases_cached(call->server->leases) || request->n_changes != 1 ||
        call->session->entry->export->store->ops->lookup == NULL ||
        (call->attempts >= ATTEMPTS_MAX && !names_are_own(call, request->changes[0]))) {
        want_everything(plan);
        return;
    }
    switch ((int) request->changes[0]->command_case) {
    case PH_CMD_CREATE:
        plan_create(call, request, plan);
        break;
    case PH_CMD_REMOVE:
        plan_remove(call, request, plan);
        break;
    case PH_CMD_RMDIR:
        plan_rmdir(call, request, plan);
        break;
    case PH_CMD_RENAME:
        plan_rename(call, request, plan);
        break;
    default:
        plan_plain(request->changes[0], plan);
        break;
    }
    give_up_expecting(call, request, plan);
}

bool ph_server_plan_raced(struct ph_server_call *call, const struct ph_change_plan *plan, uint32_t status)
{
    bool rename = plan->expects && plan->change.command_case == POHMEL__CHANGE__COMMAND_RENAME;

    if (!plan->expects || status == PH_ST_OK)
        return false;
    /* A filesystem that does not know the flag; or one that knows of another mistake. */
    if (rename && status == PH_ST_INVALID && plan->raced == PH_ST_EXISTS) {
        call->plain_rename = true;
        return true;
    }
    if (status != plan->raced && !(rename && status == PH_ST_MISMATCH))
        return false;
    call->attempts++;
    /* Which of both expectations failed shows when none is added to the client's. */
    if (plan->mixed)
        call->attempts = ATTEMPTS_MAX;
    return true;
}
