/* Names that are moved again. Where the move survived, and a name that its file was given before was made
 * again, the file has both: the old one goes then. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "client/core/wb_owned.h"
#include "client/core/wb_owned_steps.h"
#include "ph_commands.h"

void wb_owned_look_up(struct ph_wb *wb, enum wb_owned_step step, struct ph_wb_actions *actions)
{
    const Pohmel__RenameRequest *rename = wb->owned->change->rename;
    struct ph_wb_call *call = wb_owned_command(wb, step);
    Pohmel__LookupRequest *lookup = &call->outgoing->message.lookup;
    pohmel__lookup_request__init(lookup);
    lookup->caller = wb_owned_caller(wb);
    lookup->parent = step == WB_OWNED_OLD ? rename->old_parent : rename->new_parent;
    lookup->n_names = 1;
    call->outgoing->name = step == WB_OWNED_OLD ? rename->old_name : rename->new_name;
    lookup->names = &call->outgoing->name;
    wb_send(wb, call, PH_CMD_LOOKUP, &lookup->base, actions);
}

/* What a LOOKUP of one name found: NULL for nothing. */
static const Pohmel__Attr *found_by(const struct ph_reply *reply)
{
    const Pohmel__LookupReply *found = (const Pohmel__LookupReply *) reply->message;
    return reply->status == PH_ST_OK && found != NULL && found->n_found == 1 ? found->found[0] : NULL;
}

static bool is_same(const ProtobufCBinaryData *one, const ProtobufCBinaryData *other)
{
    return one->len == other->len && memcmp(one->data, other->data, one->len) == 0;
}

/* Whether a change of the list before the one at hand gave OBJECT (some changes do not say whom) NAME in
 * DIRECTORY. */
static bool was_given(const struct wb_owned *kept, uint64_t object, uint64_t directory,
                      const ProtobufCBinaryData *name)
{
    bool given = false;
    for (const struct wb_owned_change *at = kept->first; at != kept->at && at != NULL && !given;
         at = at->next) {
        if ((at->command != PH_CMD_LINK && at->command != PH_CMD_RENAME) ||
            (at->objects[0] != object && at->objects[0] != 0))
            continue;
        Pohmel__Change *change = pohmel__change__unpack(NULL, at->len, at->packed);
        if (change == NULL)
            abort();
        if (at->command == PH_CMD_LINK)
            given = change->link->parent == directory && is_same(&change->link->name, name);
        else
            given = change->rename->new_parent == directory && is_same(&change->rename->new_name, name);
        pohmel__change__free_unpacked(change, NULL);
    }
    return given;
}

/* OBJECT has the old name as well as the new one, because the old one was made again. */
static bool is_doubled(const struct wb_owned *kept, uint64_t object)
{
    const Pohmel__RenameRequest *rename = kept->change->rename;
    return was_given(kept, object, rename->old_parent, &rename->old_name) &&
           !was_given(kept, object, rename->new_parent, &rename->new_name);
}

static void remove_old(struct ph_wb *wb, uint64_t object, struct ph_wb_actions *actions)
{
    const Pohmel__RenameRequest *rename = wb->owned->change->rename;
    struct ph_wb_call *call = wb_owned_command(wb, WB_OWNED_CHANGE);
    struct wb_outgoing *out = call->outgoing;
    pohmel__remove_request__init(&out->message.remove);
    out->message.remove.caller = wb_owned_caller(wb);
    out->message.remove.parent = rename->old_parent;
    out->message.remove.name = rename->old_name;
    out->message.remove.object = object;
    pohmel__transact_request__init(&out->transact);
    pohmel__change__init(&out->change);
    out->change.command_case = POHMEL__CHANGE__COMMAND_REMOVE;
    out->change.remove = &out->message.remove;
    out->changes[0] = &out->change;
    out->transact.n_changes = 1;
    out->transact.changes = out->changes;
    if (wb_owned_target(wb) != NULL)
        wb_owned_target(wb)->moved = true;
    wb_send(wb, call, PH_CMD_TRANSACT, &out->transact.base, actions);
}

void wb_owned_old_name(struct ph_wb *wb, const struct ph_reply *reply, const struct ph_wb_now *now,
                       struct ph_wb_actions *actions)
{
    const Pohmel__Attr *found = found_by(reply);
    uint64_t object = wb->owned->at->objects[0];
    wb->owned->moved = found != NULL ? found->object : 0;
    wb->owned->moved_directory = found != NULL && S_ISDIR(found->mode);
    if (found != NULL && (object == 0 || found->object == object))
        wb_owned_look_up(wb, WB_OWNED_NEW, actions);
    else if (!wb_owned_look_aside(wb, actions) &&
             !wb_owned_remove_in_place(wb, actions)) /* it was moved already */
        wb_owned_made_again(wb, now, actions);
}

void wb_owned_new_name(struct ph_wb *wb, const struct ph_reply *reply, const struct ph_wb_now *now,
                       struct ph_wb_actions *actions)
{
    const Pohmel__Attr *found = found_by(reply);
    const struct wb_owned_object *o = wb_owned_target(wb);
    Pohmel__RenameRequest *rename = wb->owned->change->rename;
    bool same = found != NULL && found->object == wb->owned->moved;
    if (same && is_doubled(wb->owned, found->object)) {
        remove_old(wb, found->object, actions);
        return;
    }
    if (same || o == NULL) {
        wb_owned_made_again(wb, now, actions);
        return;
    }
    if (found != NULL && wb_owned_came_later(wb, found)) {
        if (!wb_owned_move_aside(wb, actions))
            wb_owned_made_again(wb, now, actions);
        return;
    }
    /* What was moved there already, and lost its id, is no newer than what it is replaced by. */
    if (found != NULL && found->object != rename->replaced && found->version > o->version) {
        wb_owned_give_up(wb, PH_ST_EXISTS, now, actions);
        return;
    }
    rename->replaced = found != NULL ? found->object : 0;
    rename->flags = found != NULL ? 0 : WB_NO_REPLACE;
    wb_owned_send_change(wb, WB_OWNED_CHANGE, wb->owned->change, NULL, actions);
}
