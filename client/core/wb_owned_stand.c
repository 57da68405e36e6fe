/* Names that what survived has already. The disk may have kept a later state than the one that is being made
 * again: the name that an object is to be moved to is that of another one, which it was given later. That one
 * is left alone; the object has a name of its own until its next move, its removal, or what replaces it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/core/wb_owned.h"
#include "client/core/wb_owned_steps.h"
#include "ph_commands.h"

enum { ASIDE_BYTES = 32 };

struct place {
    uint64_t directory;
    ProtobufCBinaryData name;
};

struct wb_owned_stand {
    struct place at, instead; /* where it is; where the changes up to now have it */
    bool is_directory;
};

static bool is_at(const struct place *place, uint64_t directory, const ProtobufCBinaryData *name)
{
    return place->directory == directory && place->name.len == name->len &&
           memcmp(place->name.data, name->data, name->len) == 0;
}

static void copy_name(ProtobufCBinaryData *to, const ProtobufCBinaryData *from)
{
    to->len = from->len;
    to->data = wb_alloc(from->len + 1);
    memcpy(to->data, from->data, from->len);
}

void wb_owned_forget_stand(struct ph_wb *wb, struct wb_owned_object *o)
{
    if (o->stand == NULL)
        return;
    free(o->stand->at.name.data);
    free(o->stand->instead.name.data);
    free(o->stand);
    o->stand = NULL;
    wb->owned->stands--;
}

/* The name that CHANGE gives; false where it gives none. */
static bool given_by(const Pohmel__Change *change, struct place *place)
{
    switch ((unsigned) change->command_case) {
    case PH_CMD_CREATE:
        *place = (struct place){change->create->parent, change->create->name};
        return true;
    case PH_CMD_MKDIR:
        *place = (struct place){change->mkdir->parent, change->mkdir->name};
        return true;
    case PH_CMD_SYMLINK:
        *place = (struct place){change->symlink->parent, change->symlink->name};
        return true;
    case PH_CMD_MKNOD:
        *place = (struct place){change->mknod->parent, change->mknod->name};
        return true;
    case PH_CMD_LINK:
        *place = (struct place){change->link->parent, change->link->name};
        return true;
    case PH_CMD_RENAME:
        *place = (struct place){change->rename->new_parent, change->rename->new_name};
        return true;
    default:
        return false;
    }
}

/* Whether a change of the list behind the one at hand gives OBJECT, or any but that of the change at hand
 * (0), the name TO. */
static bool comes_later(const struct wb_owned *kept, uint64_t object, const struct place *to)
{
    bool later = false;
    for (const struct wb_owned_change *at = kept->at->next; at != NULL && !later; at = at->next) {
        struct place place;
        if (object != 0 ? at->objects[0] != object : at->objects[0] == kept->at->objects[0])
            continue;
        Pohmel__Change *change = pohmel__change__unpack(NULL, at->len, at->packed);
        if (change == NULL)
            abort();
        later = given_by(change, &place) && is_at(&place, to->directory, &to->name);
        pohmel__change__free_unpacked(change, NULL);
    }
    return later;
}

bool wb_owned_came_later(const struct ph_wb *wb, const Pohmel__Attr *found)
{
    const Pohmel__RenameRequest *rename = wb->owned->change->rename;
    const struct place to = {rename->new_parent, rename->new_name};
    if (wb_owned_find(wb, found->object) != NULL)
        return comes_later(wb->owned, found->object, &to);
    return found->version > wb_owned_target(wb)->version && comes_later(wb->owned, 0, &to);
}

/* The name of its own that the object of the change at hand has in DIRECTORY meanwhile. TEXT is its memory.
 */
static struct place aside_in(const struct ph_wb *wb, uint64_t directory, char text[ASIDE_BYTES])
{
    int len = snprintf(text, ASIDE_BYTES, ".pohmel-%016llx", (unsigned long long) wb->owned->at->objects[0]);
    return (struct place){directory, {.len = (size_t) len, .data = (uint8_t *) text}};
}

static void stand(struct ph_wb *wb, const struct place *at, const struct place *instead, bool is_directory)
{
    struct wb_owned_object *o = wb_owned_target(wb);
    o->stand = wb_alloc(sizeof(*o->stand));
    o->stand->at.directory = o->aside = at->directory;
    o->stand->instead.directory = instead->directory;
    copy_name(&o->stand->at.name, &at->name);
    copy_name(&o->stand->instead.name, &instead->name);
    o->stand->is_directory = is_directory;
    wb->owned->stands++;
}

static void set_name(ProtobufCBinaryData *name, const ProtobufCBinaryData *to)
{
    free(name->data);
    copy_name(name, to);
}

bool wb_owned_move_aside(struct ph_wb *wb, struct ph_wb_actions *actions)
{
    char text[ASIDE_BYTES];
    Pohmel__RenameRequest *rename = wb->owned->change->rename;
    const struct place aside = aside_in(wb, rename->old_parent, text),
                       to = {rename->new_parent, rename->new_name};
    stand(wb, &aside, &to, wb->owned->moved_directory);
    if (is_at(&aside, rename->old_parent, &rename->old_name))
        return false;
    set_name(&rename->new_name, &aside.name);
    rename->new_parent = rename->old_parent;
    rename->replaced = 0;
    rename->flags = WB_NO_REPLACE;
    wb_owned_send_change(wb, WB_OWNED_CHANGE, wb->owned->change, NULL, actions);
    return true;
}

bool wb_owned_look_aside(struct ph_wb *wb, struct ph_wb_actions *actions)
{
    char text[ASIDE_BYTES];
    Pohmel__RenameRequest *rename = wb->owned->change->rename;
    const struct wb_owned_object *o = wb_owned_target(wb);
    const struct place aside = aside_in(wb, o != NULL ? o->aside : 0, text);
    if (aside.directory == 0 || is_at(&aside, rename->old_parent, &rename->old_name))
        return false;
    set_name(&rename->old_name, &aside.name);
    rename->old_parent = aside.directory;
    wb_owned_look_up(wb, WB_OWNED_OLD, actions);
    return true;
}

/* Whether a change of the list behind the one at hand moves its object from PLACE. */
static bool leaves_later(const struct wb_owned *kept, const struct place *place)
{
    bool later = false;
    for (const struct wb_owned_change *at = kept->at->next; at != NULL && !later; at = at->next) {
        if (at->objects[0] != kept->at->objects[0] || at->command != PH_CMD_RENAME)
            continue;
        Pohmel__Change *change = pohmel__change__unpack(NULL, at->len, at->packed);
        if (change == NULL)
            abort();
        later = is_at(place, change->rename->old_parent, &change->rename->old_name);
        pohmel__change__free_unpacked(change, NULL);
    }
    return later;
}

bool wb_owned_make_aside(struct ph_wb *wb)
{
    char text[ASIDE_BYTES];
    struct place place;
    Pohmel__CreateRequest *create = wb->owned->change->create; /* the others begin like it */
    if (wb_owned_target(wb)->stand != NULL || !given_by(wb->owned->change, &place) ||
        !leaves_later(wb->owned, &place))
        return false;
    const struct place aside = aside_in(wb, place.directory, text);
    stand(wb, &aside, &place, wb->owned->at->command == PH_CMD_MKDIR);
    set_name(&create->name, &aside.name);
    return true;
}

/* The name that the change at hand takes away; NULL: none. */
static ProtobufCBinaryData *taken_away(Pohmel__Change *change, uint64_t **directory)
{
    switch ((unsigned) change->command_case) {
    case PH_CMD_REMOVE:
        *directory = &change->remove->parent;
        return &change->remove->name;
    case PH_CMD_RMDIR:
        *directory = &change->rmdir->parent;
        return &change->rmdir->name;
    case PH_CMD_RENAME:
        *directory = &change->rename->old_parent;
        return &change->rename->old_name;
    default:
        return NULL;
    }
}

void wb_owned_go_by_stand(struct ph_wb *wb)
{
    struct wb_owned_object *o = wb_owned_target(wb);
    uint64_t *directory;
    ProtobufCBinaryData *name =
        o != NULL && o->stand != NULL ? taken_away(wb->owned->change, &directory) : NULL;
    if (name == NULL || !is_at(&o->stand->instead, *directory, name))
        return;
    set_name(name, &o->stand->at.name);
    *directory = o->stand->at.directory;
    wb_owned_forget_stand(wb, o);
}

/* Who stands somewhere else for what the RENAME at hand replaces. */
static struct wb_owned_object *replaced(const struct ph_wb *wb)
{
    const Pohmel__RenameRequest *rename = wb->owned->change->rename;
    for (struct ph_lru_entry *at = wb->owned->objects.oldest; at != NULL && wb->owned->stands > 0;
         at = at->newer) {
        struct wb_owned_object *o = WB_OF(at, struct wb_owned_object, lru);
        if (o->stand != NULL && is_at(&o->stand->instead, rename->new_parent, &rename->new_name))
            return o;
    }
    return NULL;
}

static void send_removal(struct ph_wb *wb, const struct place *place, uint64_t object, bool is_directory,
                         struct ph_wb_actions *actions)
{
    struct ph_wb_call *call = wb_owned_command(wb, WB_OWNED_REPLACED);
    struct wb_outgoing *out = call->outgoing;
    pohmel__transact_request__init(&out->transact);
    pohmel__change__init(&out->change);
    if (is_directory) {
        pohmel__rmdir_request__init(&out->message.rmdir);
        out->change.command_case = POHMEL__CHANGE__COMMAND_RMDIR;
    } else {
        pohmel__remove_request__init(&out->message.remove);
        out->change.command_case = POHMEL__CHANGE__COMMAND_REMOVE;
    }
    out->message.remove.caller = wb_owned_caller(wb);
    out->message.remove.parent = place->directory;
    out->message.remove.name = place->name;
    out->message.remove.object = object;
    out->change.remove = &out->message.remove;
    out->changes[0] = &out->change;
    out->transact.n_changes = 1;
    out->transact.changes = out->changes;
    struct wb_owned_object *o = wb_owned_find(wb, object);
    o->moved = true;
    o->there = false;
    wb_send(wb, call, PH_CMD_TRANSACT, &out->transact.base, actions);
}

bool wb_owned_remove_replaced(struct ph_wb *wb, struct ph_wb_actions *actions)
{
    struct wb_owned_object *o = replaced(wb);
    if (o == NULL || o == wb_owned_target(wb))
        return false;
    send_removal(wb, &o->stand->at, o->lru.key, o->stand->is_directory, actions);
    return true;
}

bool wb_owned_remove_in_place(struct ph_wb *wb, struct ph_wb_actions *actions)
{
    const Pohmel__RenameRequest *rename = wb->owned->change->rename;
    struct place place = {rename->new_parent, rename->new_name};
    uint64_t object = wb->owned->at->objects[1];
    const struct wb_owned_object *o = object != 0 ? wb_owned_find(wb, object) : NULL;
    if (o == NULL || !o->there)
        return false;
    send_removal(wb, &place, object, false, actions);
    return true;
}

bool wb_owned_replaced(struct ph_wb *wb)
{
    struct wb_owned_object *o = replaced(wb);
    if (o == NULL)
        return false;
    wb_owned_forget_stand(wb, o);
    return true;
}
