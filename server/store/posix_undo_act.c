/* Executing the commands of a transaction of several, when their undoing was written down. Most of them are
 * executed as ever; what takes names away keeps aside what they stood for. */
#include "ph_commands.h"
#include "server/store/posix_undo.h"

static uint32_t keep_file(struct ph_undo *undo, uint64_t parent, const ProtobufCBinaryData *name,
                          const char *aside)
{
    struct ph_named named;
    uint32_t status = ph_undo_look(undo, parent, name, &named) ? ph_undo_keep_file(undo, &named, aside)
                                                               : ph_store_stale(undo->call, parent);
    ph_named_end(undo->store, &named);
    return status;
}

uint32_t ph_undo_set_aside(struct ph_undo *undo, const Pohmel__Change *change, struct ph_undo_step *step)
{
    if (step->aside[0] == '\0' || step->directory)
        return PH_ST_OK;
    return change->command_case == POHMEL__CHANGE__COMMAND_RENAME
               ? keep_file(undo, change->rename->new_parent, &change->rename->new_name, step->aside)
               : keep_file(undo, change->remove->parent, &change->remove->name, step->aside);
}

/* ---- Directories: moved away instead ---- */

struct removal {
    const Pohmel__Caller *caller;
    uint64_t parent, object;
    const ProtobufCBinaryData *name;
    bool tree;
};

static uint32_t take(struct ph_undo *undo, const struct removal *removal, const char *aside, uint64_t *names,
                     uint64_t *version)
{
    struct ph_named named;
    uint32_t status = ph_named_begin(undo->store, undo->call, removal->caller, removal->parent, removal->name,
                                     PH_ST_NOT_FOUND, &named);
    if (status == PH_ST_OK)
        status = ph_undo_seen_well(
            undo, ph_undo_take(undo, removal->caller, &named, aside, removal->object, removal->tree, names));
    if (status == PH_ST_OK)
        *version = ph_dir_changed(undo->store, named.parent, named.dir->fd);
    ph_named_end(undo->store, &named);
    return status;
}

static uint32_t act_rmdir(struct ph_undo *undo, const Pohmel__RmdirRequest *rmdir, const char *aside,
                          Pohmel__ChangeResult *result)
{
    struct removal removal = {rmdir->caller, rmdir->parent, rmdir->object, &rmdir->name, false};
    Pohmel__NameResult *answer = PH_ARENA_NEW(undo->call->arena, Pohmel__NameResult);
    uint64_t names;
    if (answer == NULL)
        return PH_ST_NO_MEMORY;
    pohmel__name_result__init(answer);
    result->result_case = POHMEL__CHANGE_RESULT__RESULT_RMDIR;
    result->rmdir = answer;
    return take(undo, &removal, aside, &names, &answer->directory_version);
}

static uint32_t act_rmtree(struct ph_undo *undo, const Pohmel__RmtreeRequest *rmtree, const char *aside,
                           Pohmel__ChangeResult *result)
{
    struct removal removal = {rmtree->caller, rmtree->parent, rmtree->object, &rmtree->name, true};
    Pohmel__RmtreeResult *answer = PH_ARENA_NEW(undo->call->arena, Pohmel__RmtreeResult);
    uint64_t version;
    if (answer == NULL)
        return PH_ST_NO_MEMORY;
    pohmel__rmtree_result__init(answer);
    result->result_case = POHMEL__CHANGE_RESULT__RESULT_RMTREE;
    result->rmtree = answer;
    return take(undo, &removal, aside, &answer->removed, &version);
}

/* The directory that is in the way is taken first; what remains to be done is a RENAME to a free name. */
static uint32_t act_rename_over(struct ph_undo *undo, const struct ph_store_ops *ops, Pohmel__Change *change,
                                const char *aside, Pohmel__ChangeResult *result)
{
    const Pohmel__RenameRequest *rename = change->rename;
    Pohmel__RenameRequest rest = *rename;
    Pohmel__Change instead = *change;
    struct ph_named named;
    uint64_t names;
    uint32_t status = ph_undo_look(undo, rename->new_parent, &rename->new_name, &named)
                          ? ph_undo_take(undo, rename->caller, &named, aside, rename->replaced, false, &names)
                          : ph_store_stale(undo->call, rename->new_parent);
    ph_named_end(undo->store, &named);
    status = ph_undo_seen_well(undo, status);
    if (status != PH_ST_OK)
        return status;
    rest.replaced = 0;
    instead.rename = &rest;
    return ph_dispatch_change(ops, undo->store, undo->call, &instead, result);
}

uint32_t ph_undo_act(struct ph_undo *undo, const struct ph_store_ops *ops, Pohmel__Change *change,
                     const struct ph_undo_step *step, Pohmel__ChangeResult *result)
{
    ph_trouble_clear();
    if (change->command_case == POHMEL__CHANGE__COMMAND_RMDIR)
        return act_rmdir(undo, change->rmdir, step->aside, result);
    if (change->command_case == POHMEL__CHANGE__COMMAND_RMTREE)
        return act_rmtree(undo, change->rmtree, step->aside, result);
    if (step->directory)
        return act_rename_over(undo, ops, change, step->aside, result);
    return ph_dispatch_change(ops, undo->store, undo->call, change, result);
}
