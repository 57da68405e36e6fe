#include "client/fuse/txn.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "ph_commands.h"
#include "runtime/base/arena.h"
#include "runtime/base/limits.h"

enum {
    PART_BYTES = PH_MESSAGE_MAX_BYTES / 2, /* of a part's message */
    CHANGE_FRAME_BYTES = 8,                /* around a change in it */
};

struct ph_txn {
    struct ph_arena *arena; /* messages and what they point to */
    Pohmel__Caller caller;
    uint64_t *objects; /* by number - 1 */
    size_t object_count, object_capacity;
    Pohmel__Change **changes;
    size_t change_count, change_capacity;
    struct part {
        size_t first, count;
    } * parts; /* once it was cut */
    size_t part_count, part_capacity;
};

/* Members that all messages of changes are made of; each union member begins with its base. */
union command {
    Pohmel__MkdirRequest mkdir;
    Pohmel__SymlinkRequest symlink;
    Pohmel__MknodRequest mknod;
    Pohmel__LinkRequest link;
    Pohmel__RemoveRequest remove;
    Pohmel__RmdirRequest rmdir;
    Pohmel__RenameRequest rename;
    Pohmel__SetattrRequest setattr;
    Pohmel__SetxattrRequest setxattr;
    Pohmel__RemovexattrRequest removexattr;
};

struct command_box {
    Pohmel__Change change;
    union command command;
    Pohmel__Time accessed, modified;
    const uint8_t *value; /* its part of the payload */
    size_t value_len;
};

/* Room for one more of SIZE bytes in LIST. */
static void *grown(void *list, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity)
        return list;
    *capacity = *capacity > 0 ? 2 * *capacity : 64;
    list = realloc(list, *capacity * size);
    if (list == NULL)
        abort();
    return list;
}

uint32_t ph_txn_object(struct ph_txn *txn, uint64_t object, uint32_t *number)
{
    if (txn->object_count >= PH_TXN_OBJECTS_MAX)
        return PH_ST_LIMIT;
    txn->objects = grown(txn->objects, txn->object_count, &txn->object_capacity, sizeof(*txn->objects));
    txn->objects[txn->object_count++] = object;
    *number = (uint32_t) txn->object_count;
    return PH_ST_OK;
}

struct ph_txn *ph_txn_new(const Pohmel__Caller *caller, uint64_t directory)
{
    uint32_t number;
    struct ph_txn *txn = calloc(1, sizeof(*txn));
    if (txn == NULL)
        abort();
    txn->arena = ph_arena_new(PH_TXN_BYTES_MAX);
    txn->caller = *caller;
    txn->caller.groups =
        ph_arena_copy(txn->arena, caller->groups, caller->n_groups * sizeof(*caller->groups));
    ph_txn_object(txn, directory, &number);
    return txn;
}

void ph_txn_free(struct ph_txn *txn)
{
    if (txn == NULL)
        return;
    ph_arena_free(txn->arena);
    free(txn->parts);
    free(txn->objects);
    free(txn->changes);
    free(txn);
}

int ph_txn_makes(uint32_t action)
{
    return action == PH_IOC_TXN_MKDIR || action == PH_IOC_TXN_SYMLINK || action == PH_IOC_TXN_MKNOD;
}

/* Object of NUMBER; 0 where there is none. */
static uint64_t object_of(const struct ph_txn *txn, uint32_t number)
{
    return number >= 1 && number <= txn->object_count ? txn->objects[number - 1] : 0;
}

/* One component of a path (R-2.3-4). */
static bool is_name(const char *name, size_t len)
{
    bool dots = (len == 1 && name[0] == '.') || (len == 2 && name[0] == '.' && name[1] == '.');
    return len >= 1 && len <= PH_NAME_MAX_BYTES && !dots && memchr(name, '/', len) == NULL &&
           memchr(name, '\0', len) == NULL;
}

static bool is_time(int64_t seconds, uint32_t nanoseconds)
{
    (void) seconds;
    return nanoseconds < 1000000000;
}

/* What STEP says is as client/control.h and the protocol ask for. */
static bool is_sound(const struct ph_txn *txn, const struct ph_ioc_txn *step)
{
    if (step->name_bytes > sizeof(step->name) || step->value_bytes > sizeof(step->value))
        return false;
    bool named = is_name(step->name, step->name_bytes), placed = named && object_of(txn, step->place) != 0;
    bool has_subject = object_of(txn, step->subject) != 0;
    bool xattr = has_subject && step->name_bytes >= 1 && step->name_bytes <= PH_NAME_MAX_BYTES &&
                 memchr(step->name, '\0', step->name_bytes) == NULL;
    switch (step->action) {
    case PH_IOC_TXN_MKDIR:
        return placed && step->mode <= 07777;
    case PH_IOC_TXN_SYMLINK:
        return placed && step->value_bytes >= 1 && step->value_bytes <= PH_TARGET_MAX_BYTES &&
               memchr(step->value, '\0', step->value_bytes) == NULL;
    case PH_IOC_TXN_MKNOD:
        return placed && step->mode <= (S_IFMT | 07777);
    case PH_IOC_TXN_LINK:
        return placed && has_subject;
    case PH_IOC_TXN_REMOVE:
    case PH_IOC_TXN_RMDIR:
        return placed && step->expected < PH_OBJECT_GIVEN_END;
    case PH_IOC_TXN_RENAME:
        return placed && step->expected < PH_OBJECT_GIVEN_END && object_of(txn, step->new_place) != 0 &&
               is_name(step->value, step->value_bytes);
    case PH_IOC_TXN_SETATTR:
        return has_subject && step->mode <= 07777 && step->which != 0 &&
               (step->which & ~(uint32_t) (PH_SET_MODE | PH_SET_UID | PH_SET_GID | PH_SET_ACCESSED |
                                           PH_SET_MODIFIED)) == 0 &&
               is_time(step->accessed_s, step->accessed_ns) && is_time(step->modified_s, step->modified_ns);
    case PH_IOC_TXN_SETXATTR:
    case PH_IOC_TXN_REMOVEXATTR:
        return xattr;
    default:
        return false;
    }
}

/* --- Commands --- */

static ProtobufCBinaryData copy(struct ph_txn *txn, const char *bytes, size_t len, bool *full)
{
    ProtobufCBinaryData data = {.len = len, .data = ph_arena_copy(txn->arena, bytes, len)};
    *full = *full || data.data == NULL;
    return data;
}

static void time_of(Pohmel__Time *time, int64_t seconds, uint32_t nanoseconds)
{
    pohmel__time__init(time);
    time->seconds = seconds;
    time->nanoseconds = nanoseconds;
}

static void fill_made(struct ph_txn *txn, const struct ph_ioc_txn *step, uint64_t made,
                      struct command_box *box, bool *full)
{
    uint64_t parent = object_of(txn, step->place);
    ProtobufCBinaryData name = copy(txn, step->name, step->name_bytes, full);
    if (step->action == PH_IOC_TXN_MKDIR) {
        Pohmel__MkdirRequest *mkdir = &box->command.mkdir;
        pohmel__mkdir_request__init(mkdir);
        mkdir->caller = &txn->caller;
        mkdir->parent = parent;
        mkdir->name = name;
        mkdir->object = made;
        mkdir->mode = step->mode;
        box->change.command_case = POHMEL__CHANGE__COMMAND_MKDIR;
    } else if (step->action == PH_IOC_TXN_SYMLINK) {
        Pohmel__SymlinkRequest *symlink = &box->command.symlink;
        pohmel__symlink_request__init(symlink);
        symlink->caller = &txn->caller;
        symlink->parent = parent;
        symlink->name = name;
        symlink->object = made;
        symlink->target = copy(txn, step->value, step->value_bytes, full);
        box->change.command_case = POHMEL__CHANGE__COMMAND_SYMLINK;
    } else {
        Pohmel__MknodRequest *mknod = &box->command.mknod;
        pohmel__mknod_request__init(mknod);
        mknod->caller = &txn->caller;
        mknod->parent = parent;
        mknod->name = name;
        mknod->object = made;
        mknod->mode = step->mode;
        mknod->device = step->device;
        box->change.command_case = POHMEL__CHANGE__COMMAND_MKNOD;
    }
}

static void fill_name(struct ph_txn *txn, const struct ph_ioc_txn *step, struct command_box *box, bool *full)
{
    uint64_t parent = object_of(txn, step->place);
    ProtobufCBinaryData name = copy(txn, step->name, step->name_bytes, full);
    if (step->action == PH_IOC_TXN_LINK) {
        Pohmel__LinkRequest *link = &box->command.link;
        pohmel__link_request__init(link);
        link->caller = &txn->caller;
        link->object = object_of(txn, step->subject);
        link->parent = parent;
        link->name = name;
        box->change.command_case = POHMEL__CHANGE__COMMAND_LINK;
    } else if (step->action == PH_IOC_TXN_REMOVE) {
        Pohmel__RemoveRequest *remove = &box->command.remove;
        pohmel__remove_request__init(remove);
        remove->caller = &txn->caller;
        remove->parent = parent;
        remove->name = name;
        remove->object = step->expected;
        box->change.command_case = POHMEL__CHANGE__COMMAND_REMOVE;
    } else if (step->action == PH_IOC_TXN_RMDIR) {
        Pohmel__RmdirRequest *rmdir = &box->command.rmdir;
        pohmel__rmdir_request__init(rmdir);
        rmdir->caller = &txn->caller;
        rmdir->parent = parent;
        rmdir->name = name;
        rmdir->object = step->expected;
        box->change.command_case = POHMEL__CHANGE__COMMAND_RMDIR;
    } else {
        enum { NO_REPLACE = 1 }; /* RenameRequest.flags */
        Pohmel__RenameRequest *rename = &box->command.rename;
        pohmel__rename_request__init(rename);
        rename->caller = &txn->caller;
        rename->old_parent = parent;
        rename->old_name = name;
        rename->new_parent = object_of(txn, step->new_place);
        rename->new_name = copy(txn, step->value, step->value_bytes, full);
        rename->flags = NO_REPLACE;
        rename->object = step->expected;
        box->change.command_case = POHMEL__CHANGE__COMMAND_RENAME;
    }
}

static void fill_setattr(struct ph_txn *txn, const struct ph_ioc_txn *step, struct command_box *box)
{
    Pohmel__SetattrRequest *setattr = &box->command.setattr;
    uint32_t which = step->which;
    pohmel__setattr_request__init(setattr);
    setattr->caller = &txn->caller;
    setattr->object = object_of(txn, step->subject);
    setattr->which = which;
    setattr->mode = which & PH_SET_MODE ? step->mode : 0;
    setattr->uid = which & PH_SET_UID ? step->uid : 0;
    setattr->gid = which & PH_SET_GID ? step->gid : 0;
    time_of(&box->accessed, step->accessed_s, step->accessed_ns);
    time_of(&box->modified, step->modified_s, step->modified_ns);
    setattr->accessed = which & PH_SET_ACCESSED ? &box->accessed : NULL;
    setattr->modified = which & PH_SET_MODIFIED ? &box->modified : NULL;
    box->change.command_case = POHMEL__CHANGE__COMMAND_SETATTR;
}

static void fill_xattr(struct ph_txn *txn, const struct ph_ioc_txn *step, struct command_box *box, bool *full)
{
    ProtobufCBinaryData name = copy(txn, step->name, step->name_bytes, full);
    if (step->action == PH_IOC_TXN_REMOVEXATTR) {
        Pohmel__RemovexattrRequest *removexattr = &box->command.removexattr;
        pohmel__removexattr_request__init(removexattr);
        removexattr->caller = &txn->caller;
        removexattr->object = object_of(txn, step->subject);
        removexattr->name = name;
        box->change.command_case = POHMEL__CHANGE__COMMAND_REMOVEXATTR;
        return;
    }
    Pohmel__SetxattrRequest *setxattr = &box->command.setxattr;
    pohmel__setxattr_request__init(setxattr);
    setxattr->caller = &txn->caller;
    setxattr->object = object_of(txn, step->subject);
    setxattr->name = name;
    setxattr->length = step->value_bytes;
    box->change.command_case = POHMEL__CHANGE__COMMAND_SETXATTR;
    box->value = ph_arena_copy(txn->arena, step->value, step->value_bytes);
    box->value_len = step->value_bytes;
    *full = *full || box->value == NULL;
}

uint32_t ph_txn_add(struct ph_txn *txn, struct ph_ioc_txn *step, uint64_t made)
{
    bool full = false;
    if (!is_sound(txn, step) || (made == 0) != !ph_txn_makes(step->action))
        return PH_ST_INVALID;
    if (txn->change_count >= PH_TRANSACTION_COMMANDS_MAX || txn->object_count >= PH_TXN_OBJECTS_MAX)
        return PH_ST_LIMIT;
    struct command_box *box = PH_ARENA_NEW(txn->arena, struct command_box);
    if (box == NULL)
        return PH_ST_LIMIT;
    pohmel__change__init(&box->change);
    box->change.mkdir = &box->command.mkdir; /* all members of the union are pointers */
    if (ph_txn_makes(step->action))
        fill_made(txn, step, made, box, &full);
    else if (step->action == PH_IOC_TXN_SETATTR)
        fill_setattr(txn, step, box);
    else if (step->action == PH_IOC_TXN_SETXATTR || step->action == PH_IOC_TXN_REMOVEXATTR)
        fill_xattr(txn, step, box, &full);
    else
        fill_name(txn, step, box, &full);
    if (full)
        return PH_ST_LIMIT;
    txn->changes = grown(txn->changes, txn->change_count, &txn->change_capacity, sizeof(*txn->changes));
    txn->changes[txn->change_count++] = &box->change;
    return made != 0 ? ph_txn_object(txn, made, &step->subject) : PH_ST_OK;
}

size_t ph_txn_count(const struct ph_txn *txn)
{
    return txn->change_count;
}

/* --- Parts --- */

static const struct command_box *box_of(const Pohmel__Change *change)
{
    return (const struct command_box *) (const void *) change; /* its first member */
}

size_t ph_txn_cut(struct ph_txn *txn)
{
    size_t bytes = 0, values = 0;
    struct part *part = NULL;
    txn->part_count = 0;
    for (size_t i = 0; i < txn->change_count; i++) {
        size_t more = protobuf_c_message_get_packed_size(&txn->changes[i]->base) + CHANGE_FRAME_BYTES;
        size_t value = box_of(txn->changes[i])->value_len;
        if (part == NULL || part->count == PH_TRANSACTION_PART_COMMANDS || bytes + more > PART_BYTES ||
            values + value > PH_PAYLOAD_MAX_BYTES) {
            txn->parts = grown(txn->parts, txn->part_count, &txn->part_capacity, sizeof(*txn->parts));
            part = &txn->parts[txn->part_count++];
            *part = (struct part){.first = i};
            bytes = values = 0;
        }
        part->count++;
        bytes += more;
        values += value;
    }
    return txn->part_count;
}

Pohmel__Change **ph_txn_part(const struct ph_txn *txn, size_t which, size_t *count, struct ph_blob **payload)
{
    const struct part *part = &txn->parts[which];
    size_t len = 0;
    for (size_t i = 0; i < part->count; i++)
        len += box_of(txn->changes[part->first + i])->value_len;
    struct ph_blob *blob = len > 0 ? ph_blob_new(len) : NULL;
    if (len > 0 && blob == NULL)
        abort();
    for (size_t i = 0; blob != NULL && i < part->count; i++) {
        const struct command_box *box = box_of(txn->changes[part->first + i]);
        if (box->value_len > 0)
            memcpy(blob->data + blob->len, box->value, box->value_len);
        blob->len += box->value_len;
    }
    *count = part->count;
    *payload = blob;
    return txn->changes + part->first;
}
