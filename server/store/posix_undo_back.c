/* Taking back what a transaction of several commands has done, from the last entry of its list to the first.
 * Each step looks first whether there is anything to take back: a server may be killed here as well. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "server/store/posix_undo.h"

/* A step of it is not done: it must be done before anybody sees what is there, unless somebody has made it
 * impossible from outside. */
static void cannot(const char *what)
{
    ph_trouble_note(errno);
    g_warning("a transaction cannot be undone altogether: %s: %s", what, g_strerror(errno));
}

/* ---- Names ---- */

/* NAME below PARENT as it is now. */
struct spot {
    struct ph_named named;
    struct statx stx;
    struct ph_identity identity;
    bool there;
};

static void spot_end(struct ph_posix_store *store, struct spot *spot)
{
    ph_named_end(store, &spot->named);
}

/* False where the directory is not known. To be ended in any case. */
static bool spot_begin(struct ph_posix_store *store, uint64_t parent, const char *name, struct spot *spot)
{
    memset(spot, 0, sizeof *spot);
    g_strlcpy(spot->named.name, name, sizeof spot->named.name);
    spot->named.parent = ph_object_by_id(store, parent);
    if (spot->named.parent == NULL || ph_dir_fd(store, spot->named.parent, &spot->named.dir) != PH_ST_OK)
        return false;
    ph_creds_server();
    spot->there = ph_statx(spot->named.dir->fd, name, &spot->stx) == 0;
    if (spot->there)
        spot->identity = ph_identity_of(&spot->stx);
    return true;
}

static bool is(const struct spot *spot, const struct ph_undo_fixed *fixed)
{
    struct ph_identity then = {fixed->dev, fixed->ino, fixed->btime_ns};
    return spot->there && ph_identity_same(&spot->identity, &then);
}

/* The name goes, as by a REMOVE or RMDIR of the server. KEEP: what had it has others, and stays in reach. */
static void take_away(struct ph_posix_store *store, struct spot *spot, bool keep)
{
    struct ph_call call = {0};
    struct ph_victim victim;
    if (ph_victim_find(store, &call, &spot->named, 0, &victim) != PH_ST_OK)
        return;
    if (keep)
        ph_victim_keep(store, &spot->named, &victim);
    ph_creds_server();
    int directory = S_ISDIR(victim.stx.stx_mode) ? AT_REMOVEDIR : 0;
    bool gone = unlinkat(spot->named.dir->fd, spot->named.name, directory) == 0;
    /* What is below it has no entry that survived the loss of power: it was made with it. */
    int failed = !gone && directory != 0 ? ph_trash_move(store, spot->named.dir->fd, spot->named.name) : 0;
    if (failed != 0)
        errno = failed;
    gone = gone || (directory != 0 && failed == 0);
    if (!gone)
        cannot(spot->named.name);
    ph_victim_end(store, &spot->named, &victim, gone);
    ph_dir_changed(store, spot->named.parent, spot->named.dir->fd);
}

/* What has the name is the object that the command made: it has that id, or none and was born since. */
static bool made_by(struct ph_posix_store *store, const struct ph_undo_fixed *fixed, const struct spot *spot)
{
    struct ph_state_row row;
    if (!spot->there || (spot->stx.stx_mode & S_IFMT) != (fixed->mode & S_IFMT))
        return false;
    struct ph_object *object = ph_object_by_id(store, fixed->object);
    if (object != NULL) {
        bool same = ph_identity_same(&object->identity, &spot->identity);
        ph_object_unref(store, object);
        return same;
    }
    uint64_t dev = spot->identity.dev == store->dev ? 0 : spot->identity.dev;
    if (ph_state_db_by_inode(store->db, dev, spot->identity.ino, &row) && row.id != fixed->object &&
        row.btime_ns == spot->identity.btime_ns)
        return false;
    const struct statx_timestamp *changed = &spot->stx.stx_ctime;
    uint64_t born = spot->identity.btime_ns != 0
                        ? spot->identity.btime_ns
                        : (uint64_t) changed->tv_sec * 1000000000u + changed->tv_nsec;
    return born >= fixed->time_ns;
}

static void undo_made(struct ph_posix_store *store, const struct ph_undo_entry *entry)
{
    struct spot spot;
    if (spot_begin(store, entry->fixed.parent, entry->name, &spot) && made_by(store, &entry->fixed, &spot))
        take_away(store, &spot, false);
    spot_end(store, &spot);
    /* It may have lost its name to a later command, and the server its life before it noted that. */
    struct ph_object *object = ph_object_by_id(store, entry->fixed.object);
    if (object == NULL)
        ph_state_db_remove(store->db, entry->fixed.object);
    ph_object_unref(store, object);
}

/* The table goes by the name that it knew before. */
static void undo_linked(struct ph_posix_store *store, const struct ph_undo_entry *entry)
{
    struct spot spot, before = {0};
    if (spot_begin(store, entry->fixed.parent, entry->name, &spot) && is(&spot, &entry->fixed)) {
        struct ph_object *object = ph_object_by_id(store, entry->fixed.object);
        take_away(store, &spot, spot.stx.stx_nlink > 1); /* else it is without a name as before */
        if (object != NULL && entry->to_name[0] != '\0' &&
            spot_begin(store, entry->fixed.to_parent, entry->to_name, &before) && is(&before, &entry->fixed))
            ph_object_rename(store, object, before.named.parent, entry->to_name, false);
        spot_end(store, &before);
        ph_object_unref(store, object);
    }
    spot_end(store, &spot);
}

static void undo_taken(struct ph_posix_store *store, const struct ph_undo_entry *entry)
{
    struct spot spot;
    if (spot_begin(store, entry->fixed.parent, entry->name, &spot)) {
        ph_undo_restore(store, entry, spot.named.parent, spot.named.dir->fd);
        ph_dir_changed(store, spot.named.parent, spot.named.dir->fd);
    }
    spot_end(store, &spot);
}

/* The table follows to what has the name now. */
static void follow(struct ph_posix_store *store, const struct spot *spot)
{
    struct statx stx;
    if (ph_statx(spot->named.dir->fd, spot->named.name, &stx) == 0)
        ph_object_unref(store, ph_object_found(store, spot->named.parent, spot->named.name, &stx));
    ph_dir_changed(store, spot->named.parent, spot->named.dir->fd);
}

static void move_back(struct ph_posix_store *store, const struct ph_undo_entry *entry,
                      const struct spot *from, const struct spot *to)
{
    bool exchanged = entry->fixed.flags & PH_UNDO_EXCHANGED;
    int at = to->named.dir->fd, back = from->named.dir->fd;
    if (!is(to, &entry->fixed) || from->there != exchanged)
        return;
    int failed =
        renameat2(at, to->named.name, back, from->named.name, exchanged ? RENAME_EXCHANGE : RENAME_NOREPLACE);
    if (failed != 0 && errno == EINVAL && !exchanged)
        failed = renameat(at, to->named.name, back, from->named.name);
    if (failed != 0)
        cannot(to->named.name);
    follow(store, from);
    follow(store, to);
}

static void undo_moved(struct ph_posix_store *store, const struct ph_undo_entry *entry)
{
    struct spot from, to = {0};
    if (spot_begin(store, entry->fixed.parent, entry->name, &from) &&
        spot_begin(store, entry->fixed.to_parent, entry->to_name, &to))
        move_back(store, entry, &from, &to);
    spot_end(store, &from);
    spot_end(store, &to);
}

/* ---- Objects ---- */

static void bytes_back(const struct ph_undo_entry *entry, const char *path)
{
    const struct ph_undo_fixed *fixed = &entry->fixed;
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    size_t done = 0;
    while (fd >= 0 && done < fixed->data_len) {
        ssize_t got = pwrite(fd, entry->data + done, fixed->data_len - done, (off_t) (fixed->number + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            errno = got == 0 ? ENOSPC : errno;
            break;
        }
        done += (size_t) got;
    }
    if (fd < 0 || done < fixed->data_len || ftruncate(fd, (off_t) fixed->size) != 0)
        cannot("data");
    if (fd >= 0)
        close(fd);
}

static void attributes_back(const struct ph_undo_fixed *fixed, int fd, const char *path)
{
    const struct timespec times[2] = {
        {.tv_sec = fixed->accessed_s, .tv_nsec = fixed->accessed_ns},
        {.tv_sec = fixed->modified_s, .tv_nsec = fixed->modified_ns},
    };
    struct statx now;
    if (ph_statx(fd, "", &now) != 0 || ((now.stx_uid != fixed->uid || now.stx_gid != fixed->gid) &&
                                        fchownat(fd, "", fixed->uid, fixed->gid, AT_EMPTY_PATH) != 0))
        cannot("owner");
    if (!S_ISLNK(fixed->mode) && chmod(path, fixed->mode & 07777) != 0)
        cannot("mode");
    if (utimensat(fd, "", times, AT_EMPTY_PATH) != 0)
        cannot("times");
}

static void xattr_back(const struct ph_undo_entry *entry, const char *path)
{
    bool absent = entry->fixed.flags & PH_UNDO_ABSENT;
    int failed =
        absent ? removexattr(path, entry->name)
               : setxattr(path, entry->name, entry->fixed.data_len > 0 ? (const void *) entry->data : "",
                          entry->fixed.data_len, 0);
    if (failed != 0 && !(absent && errno == ENODATA))
        cannot("extended attribute");
}

static void undo_changed(struct ph_posix_store *store, const struct ph_undo_entry *entry)
{
    const struct ph_undo_fixed *fixed = &entry->fixed;
    struct ph_identity then = {fixed->dev, fixed->ino, fixed->btime_ns};
    struct ph_object *object = ph_object_by_id(store, fixed->object);
    struct ph_fd *fd = NULL;
    struct statx stx;
    char path[32];
    ph_creds_server();
    if (object != NULL && ph_identity_same(&object->identity, &then) &&
        ph_object_fd(store, object, &fd) == PH_ST_OK) {
        ph_proc_path(fd->fd, path);
        if (fixed->kind == PH_UNDO_DATA)
            bytes_back(entry, path);
        else if (fixed->kind == PH_UNDO_XATTR)
            xattr_back(entry, path);
        else
            attributes_back(fixed, fd->fd, path);
        if (ph_statx(fd->fd, "", &stx) == 0)
            ph_object_version(store, object, &stx, true);
    }
    ph_fd_unref(fd);
    ph_object_unref(store, object);
}

/* ---- All of them ---- */

static void undo_one(struct ph_posix_store *store, const struct ph_undo_entry *entry)
{
    switch ((enum ph_undo_kind) entry->fixed.kind) {
    case PH_UNDO_MADE:
        undo_made(store, entry);
        break;
    case PH_UNDO_LINKED:
        undo_linked(store, entry);
        break;
    case PH_UNDO_TAKEN:
        undo_taken(store, entry);
        break;
    case PH_UNDO_MOVED:
        undo_moved(store, entry);
        break;
    case PH_UNDO_DATA:
    case PH_UNDO_ATTRIBUTES:
    case PH_UNDO_XATTR:
        undo_changed(store, entry);
        break;
    case PH_UNDO_BEGIN:
        break;
    }
}

/* Until all of it is undone, and stable, the list stays as it is: after the loss of power nobody knows which
 * of these steps were lost, and each of them can be made again. */
int ph_undo_back(struct ph_posix_store *store, const struct ph_undo_name *name)
{
    struct ph_undo_entry entry;
    ph_trouble_clear();
    for (size_t i = ph_undo_log_count(store->undo); i > 0 && ph_trouble() == 0; i--) {
        if (ph_undo_log_get(store->undo, i - 1, &entry))
            undo_one(store, &entry);
        else
            ph_trouble_note(EIO);
    }
    if (ph_trouble() == 0 && (!ph_undo_sync_export(store) || !ph_undo_mark(store, PH_UNDO_UNDONE, name)))
        ph_trouble_note(EIO);
    if (ph_trouble() == 0)
        ph_undo_log_clear(store->undo);
    return ph_trouble();
}

int ph_undo_finish(struct ph_posix_store *store)
{
    struct ph_undo_entry entry;
    ph_trouble_clear();
    for (size_t i = 0; i < ph_undo_log_count(store->undo); i++) {
        if (!ph_undo_log_get(store->undo, i, &entry))
            ph_trouble_note(EIO);
        else if (entry.fixed.kind == PH_UNDO_TAKEN)
            ph_undo_purge(store, &entry);
    }
    if (ph_trouble() == 0)
        ph_undo_log_clear(store->undo);
    return ph_trouble();
}
