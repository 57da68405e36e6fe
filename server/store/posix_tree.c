/* Beyond POSIX: a whole path made, a whole tree removed, by one command. */
#include <errno.h>
#include <unistd.h>

#include "server/store/posix_internal.h"

/* ---- MKPATH ---- */

/* One directory made, to be taken away again where a later one cannot be made. */
struct made {
    struct ph_named named;
    struct ph_object *object;
};

static void made_undo(struct ph_posix_store *store, GArray *all)
{
    ph_creds_server();
    for (guint i = all->len; i-- > 0;) {
        struct made *made = &g_array_index(all, struct made, i);
        if (unlinkat(made->named.dir->fd, made->named.name, AT_REMOVEDIR) == 0)
            ph_object_tree_removed(store, made->object, NULL);
    }
}

static void made_free(struct ph_posix_store *store, GArray *all)
{
    for (guint i = 0; i < all->len; i++) {
        struct made *made = &g_array_index(all, struct made, i);
        ph_object_unref(store, made->object);
        ph_named_end(store, &made->named);
    }
    g_array_unref(all);
}

/* Makes the directory NAMED or takes the one that is there. ID 0: none can be made. */
static uint32_t path_step(struct ph_posix_store *store, struct ph_call *call,
                          const Pohmel__MkpathRequest *request, const struct ph_named *named, uint64_t id,
                          struct ph_object **object, bool *created)
{
    struct statx stx;
    uint32_t status = PH_ST_OK;
    pthread_rwlock_t *making = &store->making[named->parent->id % G_N_ELEMENTS(store->making)];
    mode_t mode = ph_creds_umask(request->mode, request->umask);
    pthread_rwlock_rdlock(making);
    *created = id != 0 && mkdirat(named->dir->fd, named->name, mode) == 0;
    if (id != 0 && !*created && errno != EEXIST)
        status = ph_store_errno(call, "make a directory");
    else if (ph_statx(named->dir->fd, named->name, &stx) != 0)
        status = id == 0 && errno == ENOENT ? ph_fault_set(&call->fault, PH_ST_INVALID,
                                                           "the ids for directories of the path are in use")
                                            : ph_store_errno(call, "look a name up");
    else if (*created)
        *object = ph_object_made(store, named->parent, named->name, &stx, id);
    pthread_rwlock_unlock(making);
    if (status != PH_ST_OK)
        return status;
    if (*created)
        ph_dir_changed(store, named->parent, named->dir->fd);
    else if (!S_ISDIR(stx.stx_mode))
        return PH_ST_NOT_DIRECTORY;
    else
        *object = ph_object_found(store, named->parent, named->name, &stx);
    if (*object != NULL)
        return PH_ST_OK;
    if (*created)
        unlinkat(named->dir->fd, named->name, AT_REMOVEDIR);
    return ph_fault_set(&call->fault, PH_ST_NO_OBJECTS, "the new directory could not be entered");
}

/* The next id from ID on that is nobody's, a server that was killed may have made a part of the path; 0: none
 * is left. */
static uint64_t id_next(struct ph_posix_store *store, const Pohmel__MkpathRequest *request, uint64_t id)
{
    uint64_t end = request->first_object + request->n_names;
    while (id < end && ph_id_in_use(store, id))
        id++;
    return id < end ? id : 0;
}

static uint32_t path_make(struct ph_posix_store *store, struct ph_call *call,
                          const Pohmel__MkpathRequest *request, GArray *all, struct ph_object **last)
{
    uint64_t parent = request->parent, id = request->first_object;
    uint32_t status = PH_ST_OK;
    for (size_t i = 0; i < request->n_names && status == PH_ST_OK; i++) {
        struct made step = {0};
        bool created = false;
        status = ph_named_begin(store, call, request->caller, parent, &request->names[i], PH_ST_NOT_PERMITTED,
                                &step.named);
        id = id != 0 ? id_next(store, request, id) : 0;
        if (status == PH_ST_OK)
            status = path_step(store, call, request, &step.named, id, &step.object, &created);
        if (status == PH_ST_OK) {
            ph_object_unref(store, *last);
            *last = ph_object_ref(store, step.object);
            parent = step.object->id;
        }
        if (status == PH_ST_OK && created) {
            g_array_append_val(all, step);
            continue;
        }
        ph_object_unref(store, step.object);
        ph_named_end(store, &step.named);
    }
    return status;
}

uint32_t ph_posix_mkpath(void *self, struct ph_call *call, const Pohmel__MkpathRequest *request,
                         Pohmel__MkpathResult *result)
{
    struct ph_posix_store *store = self;
    struct ph_object *last = NULL;
    uint32_t status = ph_store_check_writable(store, call);
    if (status == PH_ST_OK)
        status = ph_state_check(store, call);
    if (status == PH_ST_OK)
        status = ph_ids_check(store, call, request->first_object, (uint32_t) request->n_names, true);
    if (status == PH_ST_OK)
        status = ph_space_check(store, call, 0);
    if (status != PH_ST_OK)
        return status;
    GArray *all = g_array_new(FALSE, FALSE, sizeof(struct made));
    status = path_make(store, call, request, all, &last);
    if (status == PH_ST_OK)
        status = ph_attr_of(store, call, last, all->len > 0, &result->attr);
    if (status == PH_ST_OK)
        result->made = all->len;
    else
        made_undo(store, all);
    ph_object_unref(store, last);
    made_free(store, all);
    return status;
}

/* ---- RMTREE ---- */

static uint32_t tree_take(struct ph_posix_store *store, struct ph_call *call, const struct ph_named *named,
                          struct ph_victim *victim)
{
    if (!S_ISDIR(victim->stx.stx_mode)) {
        ph_victim_keep(store, named, victim);
        ph_creds_server(); /* what the caller may do was looked at */
        bool gone = unlinkat(named->dir->fd, named->name, 0) == 0;
        uint32_t status = gone ? PH_ST_OK : ph_store_errno(call, "remove a file");
        ph_victim_end(store, named, victim, gone);
        return status;
    }
    int failed = ph_trash_move(store, named->dir->fd, named->name);
    /* A user may take away an empty directory that he may not write to, but not move it. */
    if (failed == EACCES && unlinkat(named->dir->fd, named->name, AT_REMOVEDIR) == 0)
        failed = 0;
    errno = failed;
    uint32_t status = failed == 0 ? PH_ST_OK
                      : failed == EXDEV
                          ? ph_fault_set(&call->fault, PH_ST_CROSS_DEVICE,
                                         "the tree lies on another filesystem than the export's root")
                          : ph_store_errno(call, "move a tree out of the way");
    ph_victim_end(store, named, victim, failed == 0);
    return status;
}

uint32_t ph_posix_rmtree(void *self, struct ph_call *call, const Pohmel__RmtreeRequest *request,
                         Pohmel__RmtreeResult *result)
{
    struct ph_posix_store *store = self;
    struct ph_named named;
    struct ph_victim victim = {0};
    uint64_t names = 0;
    uint32_t status = ph_named_begin(store, call, request->caller, request->parent, &request->name,
                                     PH_ST_NOT_FOUND, &named);
    if (status == PH_ST_OK)
        status = ph_victim_find(store, call, &named, request->object, &victim);
    if (status == PH_ST_OK)
        status = ph_tree_inspect(store, call, request->caller, &named, &names);
    if (status == PH_ST_OK) {
        ph_store_journal_note(store, call, &victim, NULL, names);
        status = tree_take(store, call, &named, &victim);
    }
    if (status == PH_ST_OK) {
        ph_dir_changed(store, named.parent, named.dir->fd);
        result->removed = names;
    }
    ph_victim_end(store, &named, &victim, false);
    ph_named_end(store, &named);
    return status;
}
