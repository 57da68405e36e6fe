/* What a command changed in its view, as steps of a transaction. The upper directory of overlayfs is walked:
 * a character device 0:0 there says that a name is gone, a mark that a directory was somewhere else before or
 * hides what there was; everything else is new, or was changed.
 *
 * Directories that were moved go first, to temporary names, the deepest first; so nothing that is removed or
 * made later meets them. All happens at once: nobody ever sees those names. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "client/ctl/call.h"
#include "client/ctl/txn.h"

enum { TOP = 1 /* number of the transaction's directory */ };

#define OPEN_DIRECTORY (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
#define OPEN_FILE (O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)

/* A directory of the result. */
struct place {
    int upper;
    const char *lower; /* its path in LOWER, "" for the top; NULL: it is new */
    int near;          /* descriptor of the nearest one above, or itself, that is not new */
    uint32_t number;
    const char *path; /* in words */
    bool touched;     /* something in it was changed */
};

static bool fail(GError **error, const char *path, const char *what)
{
    int code = errno;
    g_set_error(error, PH_CALL_ERROR, code, "%s: cannot %s: %s", path, what, g_strerror(code));
    return false;
}

static char *join(const char *directory, const char *name)
{
    return directory[0] != '\0' ? g_strconcat(directory, "/", name, NULL) : g_strdup(name);
}

/* Names in FD, in an order that does not depend on anything; or NULL with ERROR. */
static GPtrArray *names_in(int fd, const char *path, GError **error)
{
    int copy = openat(fd, ".", OPEN_DIRECTORY);
    DIR *directory = copy >= 0 ? fdopendir(copy) : NULL;
    if (directory == NULL) {
        fail(error, path, "list it");
        if (copy >= 0)
            close(copy);
        return NULL;
    }
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    errno = 0;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL; errno = 0)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            g_ptr_array_add(names, g_strdup(entry->d_name));
    bool whole = errno == 0 || fail(error, path, "list it");
    closedir(directory);
    if (!whole)
        g_clear_pointer(&names, g_ptr_array_unref);
    return names;
}

/* --- The directory as everybody sees it --- */

/* A directory of it, by its path. */
static int open_lower(const struct ctl_txn *txn, const char *path, GError **error)
{
    int fd = openat(txn->view->lower, path[0] != '\0' ? path : ".", OPEN_DIRECTORY);
    if (fd < 0)
        fail(error, path, "open it");
    return fd;
}

static uint32_t number_of(struct ctl_txn *txn, const char *path, GError **error)
{
    void *known;
    if (g_hash_table_lookup_extended(txn->known, path, NULL, &known))
        return GPOINTER_TO_UINT(known);
    int fd = open_lower(txn, path, error);
    uint32_t number = fd >= 0 ? ctl_txn_object(txn, fd, path, error) : 0;
    if (fd >= 0)
        close(fd);
    if (number != 0)
        g_hash_table_insert(txn->known, g_strdup(path), GUINT_TO_POINTER(number));
    return number;
}

/* What PATH is there, if it is and was not moved away. */
static bool is_there(const struct ctl_txn *txn, const char *path, struct stat *found)
{
    return path != NULL && !g_hash_table_contains(txn->moved, path) &&
           fstatat(txn->view->lower, path, found, AT_SYMLINK_NOFOLLOW) == 0;
}

static bool later(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec > b->tv_sec || (a->tv_sec == b->tv_sec && a->tv_nsec > b->tv_nsec);
}

/* Nobody else has written what is replaced or removed since the command began. */
static bool is_ours(const struct ctl_txn *txn, const char *path, const struct stat *found, GError **error)
{
    struct stat top;
    if (fstat(txn->view->lower, &top) == 0 && top.st_dev != found->st_dev) {
        g_set_error(error, PH_CALL_ERROR, EBUSY, "%s: it is a mount point", path);
        return false;
    }
    if (S_ISDIR(found->st_mode) || !later(&found->st_mtim, &txn->view->begun))
        return true;
    g_set_error(error, PH_CALL_ERROR, EBUSY, "%s: somebody else has changed it since the command began",
                path);
    return false;
}

static bool take_name(struct ctl_txn *txn, uint32_t action, uint32_t number, const char *path,
                      const struct stat *found, GError **error)
{
    g_autofree struct ph_ioc_txn *step = g_new0(struct ph_ioc_txn, 1);
    const char *slash = strrchr(path, '/');
    ctl_txn_name(step, action, number, slash != NULL ? slash + 1 : path);
    step->expected = found->st_ino;
    return ctl_txn_step(txn, step, path, error);
}

/* PATH, in the directory NUMBER, goes with all that is below it. */
static bool take_away(struct ctl_txn *txn, uint32_t number, const char *path, const struct stat *found,
                      GError **error)
{
    if (!is_ours(txn, path, found, error))
        return false;
    if (!S_ISDIR(found->st_mode))
        return take_name(txn, PH_IOC_TXN_REMOVE, number, path, found, error);
    int fd = open_lower(txn, path, error);
    uint32_t itself = fd >= 0 ? number_of(txn, path, error) : 0;
    g_autoptr(GPtrArray) names = itself != 0 ? names_in(fd, path, error) : NULL;
    if (fd >= 0)
        close(fd);
    for (guint i = 0; names != NULL && i < names->len; i++) {
        struct stat child;
        g_autofree char *below = join(path, names->pdata[i]);
        if (is_there(txn, below, &child) && !take_away(txn, itself, below, &child, error))
            return false;
    }
    return names != NULL && take_name(txn, PH_IOC_TXN_RMDIR, number, path, found, error);
}

/* --- Directories that were moved --- */

/* Where the directory NAME in LOWER was, by its mark; to be freed. */
static char *origin(const struct ctl_txn *txn, int fd, const char *lower, const char *name)
{
    g_autofree char *mark = ctl_view_mark(txn->view, fd, "redirect");
    if (mark == NULL)
        return lower != NULL ? join(lower, name) : NULL;
    if (mark[0] == '/')
        return g_strdup(mark + 1);
    return lower != NULL ? join(lower, mark) : NULL;
}

static bool is_marked(const struct ctl_txn *txn, int fd, const char *name)
{
    g_autofree char *mark = ctl_view_mark(txn->view, fd, name);
    return mark != NULL;
}

/* Finds all that were moved, below UPPER, which was LOWER (NULL: is new). */
static bool find_moved(struct ctl_txn *txn, int upper, const char *lower, GError **error)
{
    g_autoptr(GPtrArray) names = names_in(upper, txn->view->path, error);
    bool found = names != NULL;
    for (guint i = 0; found && i < names->len; i++) {
        int fd = openat(upper, names->pdata[i], OPEN_DIRECTORY);
        if (fd < 0) /* no directory */
            continue;
        bool opaque = is_marked(txn, fd, "opaque");
        g_autofree char *was = opaque ? NULL : origin(txn, fd, lower, names->pdata[i]);
        if (was != NULL && is_marked(txn, fd, "redirect"))
            g_hash_table_insert(txn->moved, g_strdup(was), g_new0(struct ctl_moved, 1));
        found = find_moved(txn, fd, was, error);
        close(fd);
    }
    return found;
}

static gint deeper_first(gconstpointer a, gconstpointer b)
{
    size_t one = strlen(a), other = strlen(b);
    return one > other ? -1 : one < other;
}

static bool move_aside(struct ctl_txn *txn, const char *path, unsigned which, GError **error)
{
    struct stat found;
    struct ctl_moved *moved = g_hash_table_lookup(txn->moved, path);
    g_autofree struct ph_ioc_txn *step = g_new0(struct ph_ioc_txn, 1);
    g_autofree char *above = strchr(path, '/') != NULL ? g_path_get_dirname(path) : g_strdup("");
    g_autofree char *name = g_path_get_basename(path);
    uint32_t place = number_of(txn, above, error);
    moved->number = place != 0 ? number_of(txn, path, error) : 0;
    if (moved->number == 0)
        return false;
    if (fstatat(txn->view->lower, path, &found, AT_SYMLINK_NOFOLLOW) != 0)
        return fail(error, path, "move it");
    moved->temporary = g_strdup_printf(".pohmel-txn-%d-%u", (int) getpid(), which);
    ctl_txn_name(step, PH_IOC_TXN_RENAME, place, name);
    step->new_place = TOP;
    step->expected = found.st_ino;
    ctl_txn_value(step, moved->temporary, strlen(moved->temporary));
    return ctl_txn_step(txn, step, path, error);
}

static bool move_all_aside(struct ctl_txn *txn, GError **error)
{
    if (!find_moved(txn, txn->view->upper, "", error))
        return false;
    GList *paths = g_list_sort(g_hash_table_get_keys(txn->moved), deeper_first);
    unsigned which = 0;
    bool moved = true;
    for (GList *at = paths; moved && at != NULL; at = at->next)
        moved = move_aside(txn, at->data, which++, error);
    g_list_free(paths);
    return moved;
}

static bool put_down(struct ctl_txn *txn, const struct place *place, const char *name,
                     const struct ctl_moved *moved, const char *path, GError **error)
{
    g_autofree struct ph_ioc_txn *step = g_new0(struct ph_ioc_txn, 1);
    ctl_txn_name(step, PH_IOC_TXN_RENAME, TOP, moved->temporary);
    step->new_place = place->number;
    ctl_txn_value(step, name, strlen(name));
    return ctl_txn_step(txn, step, path, error);
}

/* --- Files --- */

/* Times are the owner's to set; of what belongs to others they are those of the publishing. */
static bool set_attributes(struct ctl_txn *txn, uint32_t subject, uint32_t which, const struct stat *found,
                           const char *path, GError **error)
{
    g_autofree struct ph_ioc_txn *step = g_new0(struct ph_ioc_txn, 1);
    if (geteuid() != 0 && geteuid() != found->st_uid)
        which &= ~(uint32_t) (PH_IOC_TXN_SET_ACCESSED | PH_IOC_TXN_SET_MODIFIED);
    if (which == 0)
        return true;
    step->action = PH_IOC_TXN_SETATTR;
    step->subject = subject;
    ctl_txn_attributes(step, which, found);
    return ctl_txn_step(txn, step, path, error);
}

static uint32_t difference(const struct stat *now, const struct stat *before)
{
    uint32_t which = 0;
    if ((now->st_mode & ALLPERMS) != (before->st_mode & ALLPERMS))
        which |= PH_IOC_TXN_SET_MODE;
    if (now->st_uid != before->st_uid)
        which |= PH_IOC_TXN_SET_UID;
    if (now->st_gid != before->st_gid)
        which |= PH_IOC_TXN_SET_GID;
    if (later(&now->st_mtim, &before->st_mtim) || later(&before->st_mtim, &now->st_mtim))
        which |= PH_IOC_TXN_SET_MODIFIED | PH_IOC_TXN_SET_ACCESSED;
    return which;
}

/* FD has the bytes of BEFORE, which is WAS in LOWER: it is enough to set attributes. *SAME: that is so. */
static bool only_attributes(struct ctl_txn *txn, int fd, const struct stat *found, const char *was,
                            const struct stat *before, bool *same, GError **error)
{
    bool differ = true;
    *same = false;
    if (!S_ISREG(before->st_mode) || before->st_size != found->st_size || found->st_nlink > 1)
        return true;
    int old = openat(txn->view->lower, was, OPEN_FILE);
    if (old < 0) /* then it is made anew */
        return true;
    bool done = ctl_txn_differ(fd, old, was, &differ, error);
    if (done && !differ) {
        uint32_t subject = ctl_txn_object(txn, old, was, error);
        *same = true;
        done = subject != 0 && ctl_txn_xattrs(txn, subject, fd, old, true, was, error) &&
               set_attributes(txn, subject, difference(found, before), found, was, error);
    }
    close(old);
    return done;
}

/* A file of the upper directory as a new one without a name; its number, or 0 with ERROR. */
static uint32_t bring(struct ctl_txn *txn, const struct place *place, int fd, const struct stat *found,
                      const char *path, GError **error)
{
    uint64_t inode = found->st_ino;
    void *known = g_hash_table_lookup(txn->linked, &inode);
    if (known != NULL)
        return GPOINTER_TO_UINT(known);
    int file = ctl_txn_copy(txn->view, place->near, fd, found, path, error);
    if (file < 0)
        return 0;
    g_array_append_val(txn->files, file);
    uint32_t number = ctl_txn_object(txn, file, path, error);
    if (number != 0 && found->st_nlink > 1)
        g_hash_table_insert(txn->linked, g_memdup2(&inode, sizeof inode), GUINT_TO_POINTER(number));
    return number;
}

static bool make_file(struct ctl_txn *txn, const struct place *place, const char *name, int fd,
                      const struct stat *found, const char *path, GError **error)
{
    g_autofree struct ph_ioc_txn *step = g_new0(struct ph_ioc_txn, 1);
    uint32_t subject = bring(txn, place, fd, found, path, error);
    if (subject == 0)
        return false;
    ctl_txn_name(step, PH_IOC_TXN_LINK, place->number, name);
    step->subject = subject;
    return ctl_txn_step(txn, step, path, error);
}

static bool gather_file(struct ctl_txn *txn, struct place *place, const char *name, const struct stat *found,
                        const char *was, const struct stat *before, const char *path, GError **error)
{
    bool same = false;
    int fd = openat(place->upper, name, OPEN_FILE);
    if (fd < 0)
        return fail(error, path, "read what was written");
    bool done = before == NULL || only_attributes(txn, fd, found, was, before, &same, error);
    if (done && !same) {
        place->touched = true;
        done = (before == NULL || take_away(txn, place->number, was, before, error)) &&
               make_file(txn, place, name, fd, found, path, error);
    }
    close(fd);
    return done;
}

/* A link, or a special file. */
static bool gather_special(struct ctl_txn *txn, struct place *place, const char *name,
                           const struct stat *found, const char *was, const struct stat *before,
                           const char *path, GError **error)
{
    g_autofree struct ph_ioc_txn *step = g_new0(struct ph_ioc_txn, 1);
    uint32_t which = PH_IOC_TXN_SET_ACCESSED | PH_IOC_TXN_SET_MODIFIED;
    ctl_txn_name(step, S_ISLNK(found->st_mode) ? PH_IOC_TXN_SYMLINK : PH_IOC_TXN_MKNOD, place->number, name);
    step->mode = found->st_mode;
    step->device = (uint64_t) major(found->st_rdev) << 32 | minor(found->st_rdev);
    if (S_ISLNK(found->st_mode)) {
        ssize_t len = readlinkat(place->upper, name, step->value, sizeof(step->value));
        if (len < 0)
            return fail(error, path, "read it");
        step->value_bytes = (uint32_t) len;
    }
    place->touched = true;
    if ((before != NULL && !take_away(txn, place->number, was, before, error)) ||
        !ctl_txn_step(txn, step, path, error))
        return false;
    if (geteuid() == 0)
        which |= PH_IOC_TXN_SET_UID | PH_IOC_TXN_SET_GID;
    if (!S_ISLNK(found->st_mode))
        which |= PH_IOC_TXN_SET_MODE;
    return set_attributes(txn, step->subject, which, found, path, error);
}

/* --- Directories --- */

static bool gather_place(struct ctl_txn *txn, struct place *place, GError **error);

/* What becomes of a directory's own attributes. Its time is that at which the command changed it, where the
 * user may say so. */
static bool finish_directory(struct ctl_txn *txn, const struct place *place, const struct stat *found,
                             const struct stat *before, int lower, GError **error)
{
    uint32_t which = PH_IOC_TXN_SET_MODE | PH_IOC_TXN_SET_ACCESSED | PH_IOC_TXN_SET_MODIFIED;
    if (before != NULL)
        which = difference(found, before);
    else if (geteuid() == 0)
        which |= PH_IOC_TXN_SET_UID | PH_IOC_TXN_SET_GID;
    if (place->touched)
        which |= PH_IOC_TXN_SET_ACCESSED | PH_IOC_TXN_SET_MODIFIED;
    /* The view did not begin with all that the directory of the transaction has. */
    bool withdraw = place->number != TOP;
    return ctl_txn_xattrs(txn, place->number, place->upper, lower, withdraw, place->path, error) &&
           set_attributes(txn, place->number, which, found, place->path, error);
}

static bool make_directory(struct ctl_txn *txn, struct place *below, const struct place *place,
                           const char *name, GError **error)
{
    g_autofree struct ph_ioc_txn *step = g_new0(struct ph_ioc_txn, 1);
    ctl_txn_name(step, PH_IOC_TXN_MKDIR, place->number, name);
    step->mode = S_IRWXU;
    bool made = ctl_txn_step(txn, step, below->path, error);
    below->number = step->subject;
    return made;
}

/* The directory BELOW, NAME in PLACE, which is WAS (NULL: it is new) with attributes BEFORE. */
static bool gather_below(struct ctl_txn *txn, struct place *below, const struct place *place,
                         const char *name, const struct stat *found, const struct stat *before,
                         GError **error)
{
    int lower = -1;
    if (below->lower != NULL) {
        lower = open_lower(txn, below->lower, error);
        below->number = lower >= 0 ? number_of(txn, below->lower, error) : 0;
        if (below->number == 0) {
            if (lower >= 0)
                close(lower);
            return false;
        }
        below->near = lower;
    }
    bool done = (below->lower != NULL || make_directory(txn, below, place, name, error)) &&
                gather_place(txn, below, error) && finish_directory(txn, below, found, before, lower, error);
    if (lower >= 0)
        close(lower);
    return done;
}

static bool gather_directory(struct ctl_txn *txn, struct place *place, const char *name,
                             const struct stat *found, const char *was, const struct stat *before,
                             const char *path, GError **error)
{
    struct stat old;
    struct place below = {.near = place->near, .path = path};
    below.upper = openat(place->upper, name, OPEN_DIRECTORY);
    if (below.upper < 0)
        return fail(error, path, "open what was made");
    bool opaque = is_marked(txn, below.upper, "opaque");
    bool moved = !opaque && is_marked(txn, below.upper, "redirect");
    bool merged = !opaque && !moved && before != NULL && S_ISDIR(before->st_mode);
    g_autofree char *from = moved ? origin(txn, below.upper, place->lower, name) : NULL;
    struct ctl_moved *how = from != NULL ? g_hash_table_lookup(txn->moved, from) : NULL;
    bool done = merged || before == NULL || take_away(txn, place->number, was, before, error);
    place->touched = place->touched || !merged;
    if (done && how != NULL) {
        done = (fstatat(txn->view->lower, from, &old, AT_SYMLINK_NOFOLLOW) == 0 ||
                fail(error, path, "move it")) &&
               put_down(txn, place, name, how, path, error);
        before = &old;
    }
    below.lower = how != NULL ? from : merged ? was : NULL;
    done = done && gather_below(txn, &below, place, name, found, below.lower != NULL ? before : NULL, error);
    close(below.upper);
    return done;
}

/* --- All --- */

static bool gather_name(struct ctl_txn *txn, struct place *place, const char *name, GError **error)
{
    struct stat found, lower;
    g_autofree char *was = place->lower != NULL ? join(place->lower, name) : NULL;
    g_autofree char *path = g_build_filename(place->path, name, NULL);
    const struct stat *before = is_there(txn, was, &lower) ? &lower : NULL;
    if (fstatat(place->upper, name, &found, AT_SYMLINK_NOFOLLOW) != 0)
        return fail(error, path, "look at what was made");
    if (S_ISCHR(found.st_mode) && found.st_rdev == 0) {
        place->touched = true;
        return before == NULL || take_away(txn, place->number, was, before, error);
    }
    if (S_ISDIR(found.st_mode))
        return gather_directory(txn, place, name, &found, was, before, path, error);
    if (S_ISREG(found.st_mode))
        return gather_file(txn, place, name, &found, was, before, path, error);
    return gather_special(txn, place, name, &found, was, before, path, error);
}

static bool gather_place(struct ctl_txn *txn, struct place *place, GError **error)
{
    g_autoptr(GPtrArray) names = names_in(place->upper, place->path, error);
    bool done = names != NULL;
    for (guint i = 0; done && i < names->len; i++)
        done = gather_name(txn, place, names->pdata[i], error);
    return done;
}

bool ctl_txn_gather(struct ctl_txn *txn, GError **error)
{
    struct stat found;
    struct place top = {.upper = txn->view->upper,
                        .lower = "",
                        .near = txn->view->lower,
                        .number = TOP,
                        .path = txn->view->path};
    if (fstat(top.upper, &found) != 0)
        return fail(error, top.path, "look at what was changed");
    return move_all_aside(txn, error) && gather_place(txn, &top, error) &&
           finish_directory(txn, &top, &found, &txn->view->first, txn->view->lower, error);
}
