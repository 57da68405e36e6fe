/* Names: looking them up, giving, moving and taking them. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/store/posix_internal.h"

/* A name may be given to another file between two looks, again and again. */
enum { LOOK_ATTEMPTS = 8 };

uint32_t ph_named_begin(struct ph_posix_store *store, struct ph_call *call, const Pohmel__Caller *caller,
                        uint64_t parent, const ProtobufCBinaryData *name, uint32_t hidden_status,
                        struct ph_named *named)
{
    memset(named, 0, sizeof *named);
    uint32_t status = ph_store_check_writable(store, call);
    if (status != PH_ST_OK)
        return status;
    if (!ph_store_name(name, named->name))
        return PH_ST_NAME_TOO_LONG;
    named->parent = ph_object_by_id(store, parent);
    if (named->parent == NULL)
        return ph_store_stale(call, parent);
    if (ph_store_hidden(store, named->parent, named->name))
        return ph_fault_set(&call->fault, hidden_status, "the name %s belongs to the server", PH_HIDDEN_NAME);
    status = ph_dir_fd(store, named->parent, &named->dir);
    return status == PH_ST_OK ? ph_store_become(store, caller) : status;
}

void ph_named_end(struct ph_posix_store *store, struct ph_named *named)
{
    ph_fd_unref(g_steal_pointer(&named->dir));
    ph_object_unref(store, g_steal_pointer(&named->parent));
}

int ph_object_look(struct ph_posix_store *store, struct ph_object *parent, int dir, const char *name,
                   struct statx *stx, struct ph_object **object)
{
    *object = NULL;
    for (int attempt = 0; attempt < LOOK_ATTEMPTS && *object == NULL; attempt++) {
        if (ph_statx(dir, name, stx) != 0)
            return errno;
        *object = ph_object_found(store, parent, name, stx);
    }
    return *object != NULL ? 0 : EAGAIN;
}

static uint32_t look_status(struct ph_call *call, int error)
{
    if (error == EAGAIN)
        return ph_fault_set(&call->fault, PH_ST_IO_ERROR, "no id is left for an object that was found");
    errno = error;
    return error == 0 ? PH_ST_OK : ph_store_errno(call, "look a name up");
}

/* ---- LOOKUP ---- */

/* Looks NAME up below *AT, and moves *AT (with its reference) to what was found. */
static uint32_t lookup_step(struct ph_posix_store *store, struct ph_call *call,
                            const Pohmel__LookupRequest *request, size_t index, struct ph_object **at,
                            Pohmel__LookupReply *reply)
{
    struct ph_fd *dir = NULL;
    struct statx stx, dir_stx;
    char name[PH_NAME_MAX_BYTES + 1];
    if (!ph_store_name(&request->names[index], name))
        return PH_ST_NAME_TOO_LONG;
    uint32_t status = ph_dir_fd(store, *at, &dir);
    if (status == PH_ST_OK)
        status = ph_store_become(store, request->caller);
    if (status != PH_ST_OK) {
        ph_fd_unref(dir);
        return status;
    }
    if (index + 1 == request->n_names && ph_statx(dir->fd, "", &dir_stx) == 0 &&
        ph_attr_new(store, call, *at, &dir_stx, false, &reply->directory) == PH_ST_OK)
        reply->directory_version = reply->directory->version;
    struct ph_object *found = NULL;
    if (ph_store_hidden(store, *at, name))
        status = PH_ST_NOT_FOUND;
    else
        status = look_status(call, ph_object_look(store, *at, dir->fd, name, &stx, &found));
    ph_fd_unref(dir);
    if (status != PH_ST_OK)
        return status;
    ph_object_unref(store, *at);
    *at = found;
    status = ph_attr_new(store, call, found, &stx, false, &reply->found[reply->n_found]);
    if (status == PH_ST_OK)
        reply->n_found++;
    return status;
}

/* Whether the data of what was found last are to go with the answer. */
static bool wants_data(const Pohmel__LookupRequest *request, const Pohmel__LookupReply *reply)
{
    const Pohmel__Attr *last = reply->n_found > 0 ? reply->found[reply->n_found - 1] : NULL;
    return last != NULL && S_ISREG(last->mode) && last->size > 0 && last->size <= request->data_max;
}

uint32_t ph_posix_lookup(void *self, struct ph_call *call, const Pohmel__LookupRequest *request,
                         Pohmel__LookupReply *reply)
{
    struct ph_posix_store *store = self;
    struct ph_object *at = ph_object_by_id(store, request->parent);
    if (at == NULL)
        return ph_store_stale(call, request->parent);
    uint32_t status = PH_ST_OK;
    reply->found = ph_arena_alloc0(call->arena, request->n_names, sizeof *reply->found);
    if (reply->found == NULL)
        status = PH_ST_NO_MEMORY;
    for (size_t i = 0; i < request->n_names && status == PH_ST_OK; i++)
        status = lookup_step(store, call, request, i, &at, reply);
    if (status == PH_ST_OK && wants_data(request, reply))
        ph_posix_add_data(store, call, request, at);
    ph_object_unref(store, at);
    /* That a name is not there is worth an answer: it tells of the directory. */
    bool absent = status == PH_ST_NOT_FOUND && reply->directory != NULL;
    if (status == PH_ST_OK || (reply->n_found == 0 && !absent))
        return status;
    call->fault = (struct ph_fault){0};
    reply->failure = status;
    return PH_ST_OK;
}

/* ---- Taking names away ---- */

uint32_t ph_victim_find(struct ph_posix_store *store, struct ph_call *call, const struct ph_named *named,
                        uint64_t expected, struct ph_victim *victim)
{
    memset(victim, 0, sizeof *victim);
    uint32_t status = look_status(call, ph_object_look(store, named->parent, named->dir->fd, named->name,
                                                       &victim->stx, &victim->object));
    if (status != PH_ST_OK)
        return status;
    if (expected == 0 || victim->object->id == expected)
        return PH_ST_OK;
    uint64_t id = victim->object->id;
    ph_object_unref(store, g_steal_pointer(&victim->object));
    return ph_fault_set(&call->fault, PH_ST_MISMATCH, "the name belongs to object %llu by now, not to %llu",
                        (unsigned long long) id, (unsigned long long) expected);
}

/* By the name that is about to go: others, which the table may know instead, may be going as well. */
static struct ph_fd *victim_fd(const struct ph_named *named, const struct ph_victim *victim)
{
    struct statx stx;
    int fd = openat(named->dir->fd, named->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    struct ph_identity now = {0};
    if (ph_statx(fd, "", &stx) == 0)
        now = ph_identity_of(&stx);
    if (ph_identity_same(&now, &victim->object->identity))
        return ph_fd_new(fd);
    close(fd);
    return NULL;
}

/* From now on the table knows VICTIM, which has other names, by one of these, if it can: also after a restart
 * clients can go on with its id. */
static void known_otherwise(struct ph_posix_store *store, const struct ph_victim *victim)
{
    char name[PH_NAME_MAX_BYTES + 1];
    struct ph_fd *dir = NULL;
    struct statx stx;
    uint64_t id;
    pthread_mutex_lock(&store->lock);
    bool kept = ph_other_names_find(store->other_names, victim->object->id, &id, name);
    pthread_mutex_unlock(&store->lock);
    struct ph_object *parent = kept ? ph_object_by_id(store, id) : NULL;
    if (parent == NULL)
        return;
    ph_creds_server();
    if (ph_dir_fd(store, parent, &dir) == PH_ST_OK && ph_statx(dir->fd, name, &stx) == 0) {
        struct ph_identity now = ph_identity_of(&stx);
        if (ph_identity_same(&now, &victim->object->identity))
            ph_object_rename(store, victim->object, parent, name, true);
    }
    ph_fd_unref(dir);
    ph_object_unref(store, parent);
}

void ph_victim_keep(struct ph_posix_store *store, const struct ph_named *named, struct ph_victim *victim)
{
    bool open = ph_object_is_open(store, victim->object);
    bool last = S_ISDIR(victim->stx.stx_mode) || victim->stx.stx_nlink <= 1;
    struct ph_fd *fd = NULL;
    /* Of a file that nobody has open nothing is kept: it would keep its space. But who found a file by a name
     * that always stands for one is about to open it; it is never without a name for him. */
    bool plain = S_ISREG(victim->stx.stx_mode) || S_ISLNK(victim->stx.stx_mode);
    victim->sought =
        victim->replaced && store->size_limit == 0 && victim->stx.stx_size <= PH_STORE_REPLACED_MAX_BYTES;
    if (!last)
        known_otherwise(store, victim);
    if ((!open && last && plain && !victim->sought) || (fd = victim_fd(named, victim)) == NULL)
        return;
    if (last && open && !S_ISDIR(victim->stx.stx_mode)) {
        victim->orphan = ph_orphan_link(store, victim->object->id, fd->fd, false);
        ph_fd_unref(fd);
    } else {
        victim->pin = fd;
    }
}

void ph_victim_end(struct ph_posix_store *store, const struct ph_named *named, struct ph_victim *victim,
                   bool gone)
{
    if (victim->object == NULL)
        return;
    struct statx now;
    bool last = S_ISDIR(victim->stx.stx_mode) || victim->stx.stx_nlink <= 1;
    /* The other names may have gone at the same time; what is kept would keep its space. */
    if (gone && !last && victim->pin != NULL && ph_statx(victim->pin->fd, "", &now) == 0 &&
        now.stx_nlink == 0) {
        last = true;
        ph_fd_unref(g_steal_pointer(&victim->pin));
    }
    if (gone && last && victim->sought) {
        pthread_mutex_lock(&store->lock);
        victim->object->sought = true;
        pthread_mutex_unlock(&store->lock);
    }
    if (gone && S_ISDIR(victim->stx.stx_mode))
        ph_object_tree_removed(store, victim->object, g_steal_pointer(&victim->pin));
    else if (gone && last)
        ph_object_removed(store, victim->object, victim->orphan, g_steal_pointer(&victim->pin));
    else if (gone)
        ph_object_unname(store, victim->object, named->parent, named->name, g_steal_pointer(&victim->pin));
    /* Closed while the name went away, or the name stayed: the hidden link has no use. */
    if (victim->orphan && (!gone || !ph_object_is_open(store, victim->object)))
        ph_orphan_unlink(store, victim->object->id);
    ph_fd_unref(g_steal_pointer(&victim->pin));
    ph_object_unref(store, g_steal_pointer(&victim->object));
}

/* The object of VICTIM lost its last name: who made it is not to make it again. */
static void used_up(struct ph_posix_store *store, const struct ph_victim *victim)
{
    bool last = S_ISDIR(victim->stx.stx_mode) || victim->stx.stx_nlink <= 1;
    if (victim->object == NULL || !last || victim->object->id < PH_OBJECT_GIVEN_FIRST)
        return;
    pthread_mutex_lock(&store->lock);
    ph_gone_ids_add(&store->gone_ids, victim->object->id);
    pthread_mutex_unlock(&store->lock);
}

static uint32_t take_name(struct ph_posix_store *store, struct ph_call *call, const Pohmel__Caller *caller,
                          const struct ph_named *named, uint64_t expected, bool directory,
                          Pohmel__NameResult *result)
{
    struct ph_victim victim;
    uint32_t status = ph_victim_find(store, call, named, expected, &victim);
    if (status != PH_ST_OK)
        return status;
    ph_victim_keep(store, named, &victim);
    ph_store_journal_note(store, call, &victim, NULL, 0);
    status = ph_store_become(store, caller);
    bool gone =
        status == PH_ST_OK && unlinkat(named->dir->fd, named->name, directory ? AT_REMOVEDIR : 0) == 0;
    if (status == PH_ST_OK && !gone)
        status = ph_store_errno(call, "take a name away");
    if (gone)
        used_up(store, &victim);
    ph_victim_end(store, named, &victim, gone);
    if (gone)
        result->directory_version = ph_dir_changed(store, named->parent, named->dir->fd);
    return status;
}

uint32_t ph_posix_remove(void *self, struct ph_call *call, const Pohmel__RemoveRequest *request,
                         Pohmel__NameResult *result)
{
    struct ph_posix_store *store = self;
    struct ph_named named;
    uint32_t status = ph_named_begin(store, call, request->caller, request->parent, &request->name,
                                     PH_ST_NOT_FOUND, &named);
    if (status == PH_ST_OK)
        status = take_name(store, call, request->caller, &named, request->object, false, result);
    ph_named_end(store, &named);
    return status;
}

uint32_t ph_posix_rmdir(void *self, struct ph_call *call, const Pohmel__RmdirRequest *request,
                        Pohmel__NameResult *result)
{
    struct ph_posix_store *store = self;
    struct ph_named named;
    uint32_t status = ph_named_begin(store, call, request->caller, request->parent, &request->name,
                                     PH_ST_NOT_FOUND, &named);
    if (status == PH_ST_OK)
        status = take_name(store, call, request->caller, &named, request->object, true, result);
    ph_named_end(store, &named);
    return status == PH_ST_EXISTS ? PH_ST_NOT_EMPTY : status; /* POSIX lets a filesystem say either */
}

/* ---- Giving and moving names ---- */

uint32_t ph_posix_link(void *self, struct ph_call *call, const Pohmel__LinkRequest *request,
                       Pohmel__AttrResult *result)
{
    struct ph_posix_store *store = self;
    struct ph_named named;
    struct ph_fd *fd = NULL;
    char path[32];
    struct ph_object *object = ph_object_by_id(store, request->object);
    if (object == NULL)
        return ph_store_stale(call, request->object);
    uint32_t status = ph_named_begin(store, call, request->caller, request->parent, &request->name,
                                     PH_ST_NOT_PERMITTED, &named);
    pthread_mutex_lock(&store->lock);
    bool hidden = object->orphan, nameless = object->removed && !object->nameable;
    pthread_mutex_unlock(&store->lock);
    if (status == PH_ST_OK)
        status = nameless ? PH_ST_NOT_FOUND : ph_object_fd(store, object, &fd);
    if (status == PH_ST_OK)
        status = ph_store_become(store, request->caller);
    if (status == PH_ST_OK) {
        ph_proc_path(fd->fd, path);
        if (linkat(AT_FDCWD, path, named.dir->fd, named.name, AT_SYMLINK_FOLLOW) != 0)
            status = ph_store_errno(call, "give a name");
    }
    if (status == PH_ST_OK) {
        ph_object_rename(store, object, named.parent, named.name, true);
        if (hidden)
            ph_orphan_unlink(store, object->id);
        ph_dir_changed(store, named.parent, named.dir->fd);
        status = ph_attr_of(store, call, object, true, &result->attr);
    }
    ph_fd_unref(fd);
    ph_named_end(store, &named);
    ph_object_unref(store, object);
    return status;
}

/* The table after renameat2 did it. */
static void rename_follow(struct ph_posix_store *store, const struct ph_named *from,
                          const struct ph_named *to, struct ph_victim *moved, struct ph_victim *replaced,
                          bool exchange)
{
    if (exchange) {
        ph_object_rename(store, replaced->object, from->parent, from->name, false);
        ph_victim_end(store, to, replaced, false);
    } else {
        used_up(store, replaced);
        ph_victim_end(store, to, replaced, true);
    }
    ph_object_rename(store, moved->object, to->parent, to->name, false);
}

static uint32_t rename_named(struct ph_posix_store *store, struct ph_call *call,
                             const Pohmel__RenameRequest *request, const struct ph_named *from,
                             const struct ph_named *to, Pohmel__NameResult *result)
{
    struct ph_victim moved = {0}, replaced = {0};
    bool exchange = request->flags & RENAME_EXCHANGE, done = false;
    uint32_t status = ph_victim_find(store, call, from, request->object, &moved);
    if (status == PH_ST_OK) {
        status = ph_victim_find(store, call, to, request->replaced, &replaced);
        if (status == PH_ST_NOT_FOUND && !exchange) {
            status = request->replaced == 0 ? PH_ST_OK : PH_ST_MISMATCH;
            call->fault = (struct ph_fault){0};
        }
    }
    /* Two names of one file: POSIX says that nothing happens, and the kernel does so. */
    bool same = replaced.object != NULL && replaced.object == moved.object;
    if (status == PH_ST_OK && replaced.object != NULL && !exchange && !same &&
        !(request->flags & RENAME_NOREPLACE)) {
        replaced.replaced = true;
        ph_victim_keep(store, to, &replaced);
    }
    if (status == PH_ST_OK) {
        ph_store_journal_note(store, call, &moved, &replaced, 0);
        status = ph_store_become(store, request->caller);
    }
    if (status == PH_ST_OK) {
        done = renameat2(from->dir->fd, from->name, to->dir->fd, to->name, request->flags) == 0;
        if (!done)
            status = ph_store_errno(call, "move a name");
    }
    if (done && !same)
        rename_follow(store, from, to, &moved, &replaced, exchange);
    ph_victim_end(store, to, &replaced, false);
    ph_victim_end(store, from, &moved, false);
    if (done) {
        if (from->parent != to->parent)
            ph_dir_changed(store, from->parent, from->dir->fd);
        result->directory_version = ph_dir_changed(store, to->parent, to->dir->fd);
    }
    return status;
}

uint32_t ph_posix_rename(void *self, struct ph_call *call, const Pohmel__RenameRequest *request,
                         Pohmel__NameResult *result)
{
    struct ph_posix_store *store = self;
    struct ph_named from, to = {0};
    uint32_t status = ph_named_begin(store, call, request->caller, request->old_parent, &request->old_name,
                                     PH_ST_NOT_FOUND, &from);
    if (status == PH_ST_OK)
        status = ph_named_begin(store, call, request->caller, request->new_parent, &request->new_name,
                                PH_ST_NOT_PERMITTED, &to);
    if (status == PH_ST_OK)
        status = rename_named(store, call, request, &from, &to, result);
    ph_named_end(store, &from);
    ph_named_end(store, &to);
    return status;
}
