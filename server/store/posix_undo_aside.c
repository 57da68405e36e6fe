/* What a transaction of several commands takes away: kept in the hidden directory until its end. Files get
 * another name there, directories are moved there, so that both are what they were when they come back. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/store/posix_undo.h"

/* A name that nothing has had in the hidden directory: by the number of this start, and a count. */
static void aside_name(struct ph_posix_store *store, char name[PH_UNDO_ASIDE_BYTES])
{
    snprintf(name, PH_UNDO_ASIDE_BYTES, "%llx-%llx", (unsigned long long) ph_state_db_epoch(store->db),
             (unsigned long long) atomic_fetch_add(&store->trash_names, 1));
}

static uint32_t cannot_keep(struct ph_call *call)
{
    return errno == EXDEV ? ph_fault_set(&call->fault, PH_ST_CROSS_DEVICE,
                                         "what lies on another filesystem than the export's root cannot be "
                                         "removed by a transaction of several commands")
                          : ph_store_errno(call, "keep aside what a transaction removes");
}

static uint32_t note_taken(struct ph_undo *undo, const struct ph_named *named, const struct ph_victim *victim,
                           uint16_t flags, struct ph_undo_step *step)
{
    struct ph_identity identity = ph_identity_of(&victim->stx);
    struct ph_undo_entry entry = {.fixed = {.kind = PH_UNDO_TAKEN,
                                            .flags = flags,
                                            .object = victim->object->id,
                                            .parent = named->parent->id,
                                            .mode = victim->stx.stx_mode,
                                            .dev = identity.dev,
                                            .ino = identity.ino,
                                            .btime_ns = identity.btime_ns}};
    aside_name(undo->store, step->aside);
    step->directory = flags & PH_UNDO_DIRECTORY;
    g_strlcpy(entry.name, named->name, sizeof entry.name);
    g_strlcpy(entry.to_name, step->aside, sizeof entry.to_name);
    return ph_undo_fd(undo->store) < 0 ? cannot_keep(undo->call) : ph_undo_note(undo, &entry);
}

uint32_t ph_undo_note_taken(struct ph_undo *undo, const struct ph_named *named, uint16_t flags,
                            struct ph_undo_step *step)
{
    struct ph_victim victim;
    uint32_t status = PH_ST_OK;
    if (ph_victim_find(undo->store, undo->call, named, 0, &victim) != PH_ST_OK) {
        undo->call->fault = (struct ph_fault){0};
        return PH_ST_OK;
    }
    bool made = g_hash_table_contains(undo->made, &victim.object->id);
    if ((flags & PH_UNDO_DIRECTORY) || (!S_ISDIR(victim.stx.stx_mode) && !made))
        status = note_taken(undo, named, &victim, flags, step);
    ph_victim_end(undo->store, named, &victim, false);
    return status;
}

uint32_t ph_undo_keep_file(struct ph_undo *undo, const struct ph_named *named, const char *aside)
{
    int dir = ph_undo_fd(undo->store);
    ph_creds_server();
    return dir < 0 || linkat(named->dir->fd, named->name, dir, aside, 0) != 0 ? cannot_keep(undo->call)
                                                                              : PH_ST_OK;
}

/* ---- Directories ---- */

static bool is_empty(const struct ph_named *named)
{
    int fd = openat(named->dir->fd, named->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
    bool empty = true;
    for (struct dirent *entry; stream != NULL && empty && (entry = readdir(stream)) != NULL;)
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    if (stream == NULL)
        ph_trouble_note(errno);
    if (stream != NULL)
        closedir(stream);
    else if (fd >= 0)
        close(fd);
    return empty;
}

static uint32_t move_away(struct ph_undo *undo, const struct ph_named *named, const char *name,
                          struct ph_victim *victim)
{
    int aside = ph_undo_fd(undo->store);
    ph_creds_server();
    if (name[0] == '\0') /* it was not there when everything was looked at */
        return ph_store_stale(undo->call, victim->object->id);
    if (aside < 0 || renameat(named->dir->fd, named->name, aside, name) != 0)
        return cannot_keep(undo->call);
    ph_object_unname(undo->store, victim->object, named->parent, named->name, NULL);
    return PH_ST_OK;
}

uint32_t ph_undo_take(struct ph_undo *undo, const Pohmel__Caller *caller, const struct ph_named *named,
                      const char *aside, uint64_t expected, bool tree, uint64_t *names)
{
    struct ph_posix_store *store = undo->store;
    struct ph_victim victim;
    uint32_t status = ph_victim_find(store, undo->call, named, expected, &victim);
    if (status != PH_ST_OK)
        return status;
    bool directory = S_ISDIR(victim.stx.stx_mode);
    ph_creds_server();
    if (!directory && !tree)
        status = PH_ST_NOT_DIRECTORY;
    else if (directory && !tree && !is_empty(named))
        status = PH_ST_NOT_EMPTY;
    else
        status = ph_tree_inspect(store, undo->call, caller, named, names);
    if (status == PH_ST_OK)
        status = move_away(undo, named, aside, &victim);
    ph_victim_end(store, named, &victim, false);
    return status;
}

/* ---- The end ---- */

/* What stands in the hidden directory under the name in ENTRY, if it is what was put there. */
static bool find_aside(int aside, const struct ph_undo_entry *entry, struct statx *stx)
{
    const struct ph_undo_fixed *fixed = &entry->fixed;
    struct ph_identity then = {fixed->dev, fixed->ino, fixed->btime_ns};
    if (aside < 0 || ph_statx(aside, entry->to_name, stx) != 0)
        return false;
    struct ph_identity now = ph_identity_of(stx);
    return ph_identity_same(&now, &then);
}

/* The same as if its name were removed just now. */
static void purge_file(struct ph_posix_store *store, const struct ph_undo_entry *entry, int aside,
                       const struct statx *stx)
{
    struct ph_fd *dir = ph_fd_new(fcntl(aside, F_DUPFD_CLOEXEC, 0));
    struct ph_named named = {.dir = dir};
    struct ph_victim victim = {.object = ph_object_by_id(store, entry->fixed.object),
                               .stx = *stx,
                               .replaced = entry->fixed.flags & PH_UNDO_REPLACED};
    g_strlcpy(named.name, entry->to_name, sizeof named.name);
    if (victim.object != NULL)
        ph_victim_keep(store, &named, &victim);
    ph_creds_server();
    bool gone = unlinkat(aside, entry->to_name, 0) == 0;
    if (!gone)
        ph_trouble_note(errno);
    if (victim.object == NULL && gone && stx->stx_nlink <= 1)
        ph_state_db_remove(store->db, entry->fixed.object);
    ph_victim_end(store, &named, &victim, gone);
    ph_fd_unref(dir);
}

static void purge_directory(struct ph_posix_store *store, const struct ph_undo_entry *entry, int aside)
{
    struct ph_object *object = ph_object_by_id(store, entry->fixed.object);
    int fd = openat(aside, entry->to_name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    bool gone = unlinkat(aside, entry->to_name, AT_REMOVEDIR) == 0 ||
                ph_trash_move(store, aside, entry->to_name) == 0;
    if (!gone)
        ph_trouble_note(errno);
    struct ph_fd *pin = fd >= 0 ? ph_fd_new(fd) : NULL;
    if (gone && object != NULL)
        ph_object_tree_removed(store, object, g_steal_pointer(&pin));
    else if (gone)
        ph_state_db_remove(store->db, entry->fixed.object);
    ph_fd_unref(pin);
    ph_object_unref(store, object);
}

void ph_undo_purge(struct ph_posix_store *store, const struct ph_undo_entry *entry)
{
    int aside = ph_undo_fd(store);
    struct statx stx;
    ph_creds_server();
    if (!find_aside(aside, entry, &stx))
        return;
    if (entry->fixed.flags & PH_UNDO_DIRECTORY)
        purge_directory(store, entry, aside);
    else
        purge_file(store, entry, aside, &stx);
}

static int rename_free(int from, const char *name, int to, const char *to_name)
{
    int failed = renameat2(from, name, to, to_name, RENAME_NOREPLACE);
    return failed != 0 && errno == EINVAL ? renameat(from, name, to, to_name) : failed;
}

void ph_undo_restore(struct ph_posix_store *store, const struct ph_undo_entry *entry,
                     struct ph_object *parent, int dir)
{
    int aside = ph_undo_fd(store);
    struct statx kept, there;
    ph_creds_server();
    if (!find_aside(aside, entry, &kept))
        return;
    if (ph_statx(dir, entry->name, &there) == 0) {
        struct ph_identity one = ph_identity_of(&kept), other = ph_identity_of(&there);
        if (ph_identity_same(&one, &other)) { /* it had not lost its name yet */
            if (unlinkat(aside, entry->to_name, 0) != 0)
                ph_trouble_note(errno);
            return;
        }
    }
    if (rename_free(aside, entry->to_name, dir, entry->name) != 0) {
        ph_trouble_note(errno);
        g_warning(
            "what a transaction had removed as %s cannot have its name back: %s; it is kept as %s/undo/%s",
            entry->name, g_strerror(errno), PH_HIDDEN_NAME, entry->to_name);
        return;
    }
    struct ph_object *object = ph_object_by_id(store, entry->fixed.object);
    if (object != NULL)
        ph_object_rename(store, object, parent, entry->name, false);
    ph_object_unref(store, object);
}
