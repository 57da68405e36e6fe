/* What it takes to undo a command, found out and noted before it is executed. Nobody else changes anything
 * meanwhile. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "ph_commands.h"
#include "server/store/posix_undo.h"

enum {
    CHUNK_BYTES = 1024 * 1024,          /* of old data in one entry */
    COPY_STEP_BYTES = 64 * 1024 * 1024, /* that one COPY copies at most */

};

#define CAPABILITY "security.capability"

uint32_t ph_undo_seen_well(struct ph_undo *undo, uint32_t status)
{
    if (status != PH_ST_OK || ph_trouble() == 0)
        return status;
    errno = ph_trouble();
    status = ph_store_errno(undo->call, "look at what a transaction is about to change");
    return status != PH_ST_OK ? status : PH_ST_IO_ERROR;
}

static bool is_made(const struct ph_undo *undo, uint64_t id)
{
    return g_hash_table_contains(undo->made, &id);
}

/* Whether the effect is to be undone by itself after the loss of power: what happens below a directory that
 * this transaction made goes with it. A file that gets a second name there is known by it, and has to be
 * known by the first one again. */
static bool is_outside(const struct ph_undo *undo, const struct ph_undo_fixed *fixed)
{
    switch ((enum ph_undo_kind) fixed->kind) {
    case PH_UNDO_BEGIN:
        return false;
    case PH_UNDO_MADE:
        return !is_made(undo, fixed->parent);
    case PH_UNDO_LINKED:
        return !is_made(undo, fixed->parent) || fixed->to_parent != 0;
    default:
        return true;
    }
}

uint32_t ph_undo_note(struct ph_undo *undo, struct ph_undo_entry *entry)
{
    const struct ph_undo_fixed *fixed = &entry->fixed;
    const uint64_t ids[] = {fixed->object, fixed->parent, fixed->to_parent};
    struct timespec now;
    /* Undoing a part of what a command did is as bad as undoing nothing of it. */
    uint32_t status = fixed->kind != PH_UNDO_BEGIN ? ph_undo_seen_well(undo, PH_ST_OK) : PH_ST_OK;
    if (status != PH_ST_OK)
        return status;
    ph_objects_remember(undo->store, ids, G_N_ELEMENTS(ids));
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    entry->fixed.time_ns = (uint64_t) now.tv_sec * 1000000000u + (uint64_t) now.tv_nsec;
    if (ph_undo_log_add(undo->log, entry)) {
        undo->unsafe |= is_outside(undo, fixed);
        return PH_ST_OK;
    }
    int failed = errno;
    return ph_fault_set(&undo->call->fault, failed == ENOSPC ? PH_ST_NO_SPACE : PH_ST_IO_ERROR,
                        "the server cannot write down how the transaction is undone: %s; is there space left "
                        "in its state directory?",
                        g_strerror(failed));
}

static void add_id(GHashTable *table, uint64_t id)
{
    g_hash_table_add(table, g_memdup2(&id, sizeof id));
}

/* ---- Attributes, extended attributes, bytes of an object ---- */

static void attributes_put(struct ph_undo_fixed *fixed, const struct statx *stx)
{
    struct ph_identity identity = ph_identity_of(stx);
    fixed->dev = identity.dev;
    fixed->ino = identity.ino;
    fixed->btime_ns = identity.btime_ns;
    fixed->mode = stx->stx_mode;
    fixed->uid = stx->stx_uid;
    fixed->gid = stx->stx_gid;
    fixed->accessed_s = stx->stx_atime.tv_sec;
    fixed->accessed_ns = stx->stx_atime.tv_nsec;
    fixed->modified_s = stx->stx_mtime.tv_sec;
    fixed->modified_ns = stx->stx_mtime.tv_nsec;
}

/* Of an object that is not known, or not there, nothing is kept: the command will say so itself. */
static bool reach(struct ph_undo *undo, uint64_t id, struct ph_fd **fd, struct statx *stx)
{
    struct ph_object *object = ph_object_by_id(undo->store, id);
    *fd = NULL;
    if (object == NULL)
        return false;
    ph_creds_server();
    bool there = ph_object_fd(undo->store, object, fd) == PH_ST_OK && ph_statx((*fd)->fd, "", stx) == 0;
    ph_object_unref(undo->store, object);
    if (!there)
        ph_fd_unref(g_steal_pointer(fd));
    else
        ph_undo_concerns(undo, ph_identity_of(stx).dev, (*fd)->fd);
    return there;
}

/* Once for each object is enough: the first to be noted is the last to be undone. */
static uint32_t keep_attributes(struct ph_undo *undo, uint64_t id)
{
    struct ph_undo_entry entry = {.fixed = {.kind = PH_UNDO_ATTRIBUTES, .object = id}};
    struct ph_fd *fd;
    struct statx stx;
    if (is_made(undo, id) || g_hash_table_contains(undo->seen, &id) || !reach(undo, id, &fd, &stx))
        return PH_ST_OK;
    attributes_put(&entry.fixed, &stx);
    ph_fd_unref(fd);
    uint32_t status = ph_undo_note(undo, &entry);
    if (status == PH_ST_OK) /* else they are noted when the command is prepared again */
        add_id(undo->seen, id);
    return status;
}

/* PRESENT: only where there is one. */
static uint32_t keep_xattr(struct ph_undo *undo, uint64_t id, const char *name, size_t name_len, bool present)
{
    struct ph_undo_entry entry = {.fixed = {.kind = PH_UNDO_XATTR, .object = id}};
    struct ph_fd *fd;
    struct statx stx;
    char path[32];
    if (is_made(undo, id) || name_len > PH_NAME_MAX_BYTES || !reach(undo, id, &fd, &stx))
        return PH_ST_OK;
    g_autofree uint8_t *value = g_malloc(PH_XATTR_MAX_BYTES);
    memcpy(entry.name, name, name_len);
    attributes_put(&entry.fixed, &stx);
    ph_proc_path(fd->fd, path);
    ssize_t len = getxattr(path, entry.name, value, PH_XATTR_MAX_BYTES);
    int failed = errno;
    if (len < 0)
        ph_trouble_note(failed);
    ph_fd_unref(fd);
    if (len < 0 && (failed != ENODATA || present))
        return PH_ST_OK; /* where it cannot be read it cannot be set either */
    entry.fixed.flags = len < 0 ? PH_UNDO_ABSENT : 0;
    entry.fixed.data_len = len < 0 ? 0 : (uint32_t) len;
    entry.data = value;
    return ph_undo_note(undo, &entry);
}

static uint32_t too_much(struct ph_undo *undo)
{
    return ph_fault_set(&undo->call->fault, PH_ST_LIMIT,
                        "a transaction of several commands may overwrite %d MiB of old data at most",
                        PH_UNDO_BYTES / (1024 * 1024));
}

/* The bytes from AT to END, piece by piece; the first entry has the size. */
static uint32_t keep_range(struct ph_undo *undo, struct ph_undo_entry *entry, int fd, uint64_t at,
                           uint64_t end)
{
    g_autofree uint8_t *chunk = at < end ? g_malloc(MIN(end - at, (uint64_t) CHUNK_BYTES)) : NULL;
    uint32_t status;
    if (end > at && end - at > PH_UNDO_BYTES - undo->kept)
        return too_much(undo);
    do {
        size_t wanted = at < end ? MIN(end - at, (uint64_t) CHUNK_BYTES) : 0;
        ssize_t got = wanted > 0 ? pread(fd, chunk, wanted, (off_t) at) : 0;
        if (got < 0)
            return ph_store_errno(undo->call, "keep old data");
        entry->fixed.number = at;
        entry->fixed.data_len = (uint32_t) got;
        entry->data = chunk;
        status = ph_undo_note(undo, entry);
        undo->kept += (uint64_t) got;
        at += (uint64_t) got;
        if (got == 0)
            break;
    } while (status == PH_ST_OK && at < end);
    return status;
}

/* LEN bytes from AT on are about to be changed, and perhaps the size. What lies behind the end that the file
 * had before the transaction needs no keeping. */
static uint32_t keep_bytes(struct ph_undo *undo, uint64_t id, uint64_t at, uint64_t len)
{
    struct ph_undo_entry entry = {.fixed = {.kind = PH_UNDO_DATA, .object = id}};
    struct ph_fd *fd;
    struct statx stx;
    char path[32];
    if (is_made(undo, id) || !reach(undo, id, &fd, &stx))
        return PH_ST_OK;
    if (!S_ISREG(stx.stx_mode)) {
        ph_fd_unref(fd);
        return PH_ST_OK;
    }
    uint64_t size = stx.stx_size, end = len > UINT64_MAX - at ? UINT64_MAX : at + len;
    const uint64_t *first = g_hash_table_lookup(undo->sizes, &id);
    if (first == NULL)
        g_hash_table_insert(undo->sizes, g_memdup2(&id, sizeof id), g_memdup2(&size, sizeof size));
    end = MIN(end, first == NULL ? size : MIN(size, *first));
    attributes_put(&entry.fixed, &stx);
    entry.fixed.size = size;
    ph_proc_path(fd->fd, path);
    int bytes = at < end ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    uint32_t status = at < end && bytes < 0 ? ph_store_errno(undo->call, "keep old data")
                                            : keep_range(undo, &entry, bytes, at, MAX(at, end));
    if (bytes >= 0)
        close(bytes);
    ph_fd_unref(fd);
    return status;
}

/* What a change of data may change besides. */
static uint32_t keep_written(struct ph_undo *undo, uint64_t id, uint64_t at, uint64_t len)
{
    uint32_t status = keep_attributes(undo, id);
    if (status == PH_ST_OK)
        status = keep_xattr(undo, id, CAPABILITY, strlen(CAPABILITY), true);
    return status == PH_ST_OK ? keep_bytes(undo, id, at, len) : status;
}

/* ---- Names ---- */

bool ph_undo_look(struct ph_undo *undo, uint64_t parent, const ProtobufCBinaryData *name,
                  struct ph_named *named)
{
    memset(named, 0, sizeof *named);
    if (!ph_store_name(name, named->name))
        return false;
    named->parent = ph_object_by_id(undo->store, parent);
    ph_creds_server();
    if (named->parent == NULL || ph_store_hidden(undo->store, named->parent, named->name) ||
        ph_dir_fd(undo->store, named->parent, &named->dir) != PH_ST_OK)
        return false;
    ph_undo_concerns(undo, named->parent->identity.dev, named->dir->fd);
    return true;
}

/* The name by which the table knows the object. */
static void known_name_put(struct ph_posix_store *store, uint64_t id, struct ph_undo_entry *entry)
{
    struct ph_object *object = ph_object_by_id(store, id);
    if (object == NULL)
        return;
    pthread_mutex_lock(&store->lock);
    if (object->parent != NULL && object->name != NULL) {
        entry->fixed.to_parent = object->parent->id;
        g_strlcpy(entry->to_name, object->name, sizeof entry->to_name);
    }
    pthread_mutex_unlock(&store->lock);
    ph_object_unref(store, object);
}

/* Whether what undoes giving a name to the object ID could meet what has that name now, WHAT, and is to lose
 * it. */
static bool may_be_mistaken(struct ph_undo *undo, enum ph_undo_kind kind, uint64_t id,
                            const struct statx *what)
{
    struct ph_identity there = ph_identity_of(what);
    struct ph_object *object = ph_object_by_id(undo->store, id);
    bool may = object != NULL && (kind == PH_UNDO_MADE || ph_identity_same(&object->identity, &there));
    ph_object_unref(undo->store, object);
    return may;
}

static uint32_t note_free(struct ph_undo *undo, const struct ph_named *named, struct ph_undo_entry *entry)
{
    struct ph_undo_fixed *fixed = &entry->fixed;
    struct ph_fd *fd = NULL;
    struct statx stx;
    g_strlcpy(entry->name, named->name, sizeof entry->name);
    uint32_t status = keep_attributes(undo, fixed->parent);
    if (fixed->kind == PH_UNDO_LINKED && reach(undo, fixed->object, &fd, &stx)) {
        attributes_put(fixed, &stx);
        known_name_put(undo->store, fixed->object, entry);
    }
    ph_fd_unref(fd);
    if (status == PH_ST_OK)
        status = ph_undo_note(undo, entry);
    if (status == PH_ST_OK && fixed->kind == PH_UNDO_MADE)
        add_id(undo->made, fixed->object);
    return status;
}

/* The name is about to be given to the object of ENTRY. Where it is taken, and will be still, nothing is
 * noted. */
static uint32_t keep_free(struct ph_undo *undo, struct ph_undo_entry *entry, const ProtobufCBinaryData *name,
                          const struct ph_undo_step *step)
{
    struct ph_named named;
    struct statx stx;
    uint32_t status = PH_ST_OK;
    if (ph_undo_look(undo, entry->fixed.parent, name, &named)) {
        bool taken = ph_statx(named.dir->fd, named.name, &stx) == 0 || errno != ENOENT;
        if (taken && step->freed && may_be_mistaken(undo, entry->fixed.kind, entry->fixed.object, &stx))
            status = PH_ST_BUSY; /* not before the name is free */
        else if (!taken || step->freed)
            status = note_free(undo, &named, entry);
    }
    ph_named_end(undo->store, &named);
    return status;
}

static uint32_t keep_made(struct ph_undo *undo, uint64_t parent, const ProtobufCBinaryData *name, uint64_t id,
                          uint32_t type, const struct ph_undo_step *step)
{
    struct ph_undo_entry entry = {
        .fixed = {.kind = PH_UNDO_MADE, .object = id, .parent = parent, .mode = type}};
    return keep_free(undo, &entry, name, step);
}

static uint32_t keep_link(struct ph_undo *undo, const Pohmel__LinkRequest *link,
                          const struct ph_undo_step *step)
{
    struct ph_undo_entry entry = {
        .fixed = {.kind = PH_UNDO_LINKED, .object = link->object, .parent = link->parent}};
    return keep_free(undo, &entry, &link->name, step);
}

static uint32_t keep_create(struct ph_undo *undo, const Pohmel__CreateRequest *create,
                            const struct ph_undo_step *step)
{
    struct ph_named named;
    struct ph_victim victim = {0};
    uint32_t status = PH_ST_OK;
    if (create->truncate && !create->exclusive && !step->freed &&
        ph_undo_look(undo, create->parent, &create->name, &named)) {
        if (ph_victim_find(undo->store, undo->call, &named, 0, &victim) == PH_ST_OK)
            status = keep_written(undo, victim.object->id, 0, UINT64_MAX);
        ph_victim_end(undo->store, &named, &victim, false);
        undo->call->fault = status == PH_ST_OK ? (struct ph_fault){0} : undo->call->fault;
        ph_named_end(undo->store, &named);
    }
    return status == PH_ST_OK ? keep_made(undo, create->parent, &create->name, create->object, S_IFREG, step)
                              : status;
}

/* What has the name is about to lose it. */
static uint32_t keep_removed(struct ph_undo *undo, uint64_t parent, const ProtobufCBinaryData *name,
                             uint16_t flags, struct ph_undo_step *step)
{
    struct ph_named named;
    uint32_t status = PH_ST_OK;
    if (ph_undo_look(undo, parent, name, &named)) {
        status = keep_attributes(undo, parent);
        if (status == PH_ST_OK)
            status = ph_undo_note_taken(undo, &named, flags, step);
    }
    ph_named_end(undo->store, &named);
    return status;
}

/* ---- Moving ---- */

/* Both names of a RENAME, and what they stand for. */
struct move {
    const Pohmel__RenameRequest *request;
    struct ph_named from, to;
    struct ph_victim moved, replaced;
};

/* What the new name stands for goes aside, where it can be replaced. */
static uint32_t keep_replaced(struct ph_undo *undo, struct move *move, struct ph_undo_step *step)
{
    bool moves_directory = S_ISDIR(move->moved.stx.stx_mode),
         onto_directory = S_ISDIR(move->replaced.stx.stx_mode);
    if (moves_directory != onto_directory)
        return PH_ST_OK; /* it will be refused */
    if (move->request->replaced != 0 && move->request->replaced != move->replaced.object->id)
        return PH_ST_OK;
    return ph_undo_note_taken(undo, &move->to, onto_directory ? PH_UNDO_DIRECTORY : PH_UNDO_REPLACED, step);
}

static uint32_t note_move(struct ph_undo *undo, const struct move *move)
{
    bool exchange = move->request->flags & RENAME_EXCHANGE;
    struct ph_undo_entry entry = {.fixed = {.kind = PH_UNDO_MOVED,
                                            .flags = exchange ? PH_UNDO_EXCHANGED : 0,
                                            .object = move->moved.object->id,
                                            .parent = move->request->old_parent,
                                            .to_parent = move->request->new_parent}};
    attributes_put(&entry.fixed, &move->moved.stx);
    g_strlcpy(entry.name, move->from.name, sizeof entry.name);
    g_strlcpy(entry.to_name, move->to.name, sizeof entry.to_name);
    return ph_undo_note(undo, &entry);
}

static uint32_t keep_move(struct ph_undo *undo, struct move *move, struct ph_undo_step *step)
{
    uint32_t flags = move->request->flags;
    struct ph_posix_store *store = undo->store;
    if (ph_victim_find(store, undo->call, &move->from, 0, &move->moved) != PH_ST_OK)
        return PH_ST_OK;
    bool taken = ph_victim_find(store, undo->call, &move->to, 0, &move->replaced) == PH_ST_OK;
    if (taken && move->moved.object == move->replaced.object)
        return PH_ST_OK; /* two names of one file: nothing happens */
    if ((flags & RENAME_EXCHANGE) ? !taken : taken && (flags & RENAME_NOREPLACE))
        return PH_ST_OK;
    uint32_t status = keep_attributes(undo, move->request->old_parent);
    if (status == PH_ST_OK)
        status = keep_attributes(undo, move->request->new_parent);
    if (status == PH_ST_OK && taken && !(flags & RENAME_EXCHANGE))
        status = keep_replaced(undo, move, step);
    return status == PH_ST_OK ? note_move(undo, move) : status;
}

static uint32_t keep_rename(struct ph_undo *undo, const Pohmel__RenameRequest *rename,
                            struct ph_undo_step *step)
{
    struct move move = {.request = rename};
    uint32_t status = PH_ST_OK;
    if (ph_undo_look(undo, rename->old_parent, &rename->old_name, &move.from) &&
        ph_undo_look(undo, rename->new_parent, &rename->new_name, &move.to))
        status = keep_move(undo, &move, step);
    ph_victim_end(undo->store, &move.from, &move.moved, false);
    ph_victim_end(undo->store, &move.to, &move.replaced, false);
    ph_named_end(undo->store, &move.from);
    ph_named_end(undo->store, &move.to);
    if (status == PH_ST_OK)
        undo->call->fault = (struct ph_fault){0};
    return status;
}

/* ---- All of them ---- */

static uint32_t refuse(struct ph_undo *undo, const char *what)
{
    return ph_fault_set(&undo->call->fault, PH_ST_UNSUPPORTED,
                        "%s cannot be one of several commands of a transaction", what);
}

static uint32_t keep_setattr(struct ph_undo *undo, const Pohmel__SetattrRequest *set)
{
    uint32_t status = keep_attributes(undo, set->object);
    if (status == PH_ST_OK && (set->which & (PH_SET_UID | PH_SET_GID | PH_SET_KILL_PRIVILEGES | PH_SET_SIZE)))
        status = keep_xattr(undo, set->object, CAPABILITY, strlen(CAPABILITY), true);
    return status == PH_ST_OK && (set->which & PH_SET_SIZE)
               ? keep_bytes(undo, set->object, set->size, UINT64_MAX)
               : status;
}

static uint32_t keep_name(struct ph_undo *undo, const Pohmel__Change *change, struct ph_undo_step *step)
{
    switch ((int) change->command_case) {
    case PH_CMD_CREATE:
        return keep_create(undo, change->create, step);
    case PH_CMD_MKDIR:
        return keep_made(undo, change->mkdir->parent, &change->mkdir->name, change->mkdir->object, S_IFDIR,
                         step);
    case PH_CMD_SYMLINK:
        return keep_made(undo, change->symlink->parent, &change->symlink->name, change->symlink->object,
                         S_IFLNK, step);
    case PH_CMD_MKNOD:
        return keep_made(undo, change->mknod->parent, &change->mknod->name, change->mknod->object,
                         change->mknod->mode & S_IFMT, step);
    case PH_CMD_LINK:
        return keep_link(undo, change->link, step);
    case PH_CMD_RMDIR:
        return keep_removed(undo, change->rmdir->parent, &change->rmdir->name, PH_UNDO_DIRECTORY, step);
    case PH_CMD_RMTREE:
        return keep_removed(undo, change->rmtree->parent, &change->rmtree->name, PH_UNDO_DIRECTORY, step);
    case PH_CMD_RENAME:
        return change->rename->flags & RENAME_WHITEOUT ? refuse(undo, "RENAME that leaves a whiteout")
                                                       : keep_rename(undo, change->rename, step);
    default:
        return keep_removed(undo, change->remove->parent, &change->remove->name, 0, step);
    }
}

static uint32_t keep_data(struct ph_undo *undo, const Pohmel__Change *change)
{
    const Pohmel__WriteRequest *write = change->write;
    const Pohmel__CopyRequest *copy = change->copy;
    const Pohmel__Range *range;
    switch ((int) change->command_case) {
    case PH_CMD_WRITE:
        if (write->laundered)
            return refuse(undo, "WRITE of mapped pages");
        return write->append ? keep_written(undo, write->object, UINT64_MAX, 0)
                             : keep_written(undo, write->object, write->offset, write->length);
    case PH_CMD_ALLOCATE:
        range = change->allocate->range;
        return keep_written(undo, change->allocate->object, range->offset, range->length);
    default:
        return keep_written(undo, copy->target, copy->target_offset,
                            MIN(copy->length, (uint64_t) COPY_STEP_BYTES));
    }
}

static uint32_t keep_xattrs(struct ph_undo *undo, uint64_t id, const ProtobufCBinaryData *name)
{
    uint32_t status = keep_attributes(undo, id);
    return status == PH_ST_OK ? keep_xattr(undo, id, (const char *) name->data, name->len, false) : status;
}

static uint32_t keep(struct ph_undo *undo, const Pohmel__Change *change, struct ph_undo_step *step)
{
    switch ((int) change->command_case) {
    case PH_CMD_CREATE:
    case PH_CMD_MKDIR:
    case PH_CMD_SYMLINK:
    case PH_CMD_MKNOD:
    case PH_CMD_LINK:
    case PH_CMD_REMOVE:
    case PH_CMD_RMDIR:
    case PH_CMD_RMTREE:
    case PH_CMD_RENAME:
        return keep_name(undo, change, step);
    case PH_CMD_SETATTR:
        return keep_setattr(undo, change->setattr);
    case PH_CMD_WRITE:
    case PH_CMD_ALLOCATE:
    case PH_CMD_COPY:
        return keep_data(undo, change);
    case PH_CMD_SETXATTR:
        return keep_xattrs(undo, change->setxattr->object, &change->setxattr->name);
    case PH_CMD_REMOVEXATTR:
        return keep_xattrs(undo, change->removexattr->object, &change->removexattr->name);
    case PH_CMD_TMPFILE:
        return refuse(undo, "TMPFILE");
    default:
        return refuse(undo, "MKPATH");
    }
}

uint32_t ph_undo_prepare(struct ph_undo *undo, const Pohmel__Change *change, struct ph_undo_step *step)
{
    uint64_t kept = undo->kept;
    ph_trouble_clear();
    uint32_t status = ph_undo_seen_well(undo, keep(undo, change, step));
    if (status != PH_ST_OK)
        undo->kept = kept;
    return status;
}
