/* Whether a caller could remove everything below a name, entry by entry. The
 * walk goes down by name and back up by "..", with one descriptor and no
 * recursion, so that a tree may be of any depth; that ".." leads to where it
 * came from is checked, so that a tree moved meanwhile leads nowhere else. */
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "server/store/posix_internal.h"

/* A directory on the way down. */
struct level {
    struct statx stx;
    GString *below; /* names of the directories in it, each with its NUL, not visited yet */
};

struct walk {
    struct ph_call *call;
    uid_t uid; /* whose files may leave a sticky directory */
    uint64_t names;
    GArray *levels;
    int fd; /* of the deepest level */
};

static uint32_t entry_allowed(const struct walk *walk, const struct statx *above, const struct statx *stx)
{
    if (stx->stx_dev_major != above->stx_dev_major || stx->stx_dev_minor != above->stx_dev_minor)
        return ph_fault_set(&walk->call->fault, PH_ST_CROSS_DEVICE,
                            "another filesystem is mounted in the tree");
    if (stx->stx_attributes & (STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND))
        return PH_ST_NOT_PERMITTED;
    bool sticky = above->stx_mode & S_ISVTX;
    if (sticky && walk->uid != 0 && stx->stx_uid != walk->uid && above->stx_uid != walk->uid)
        return PH_ST_NOT_PERMITTED;
    return PH_ST_OK;
}

/* NAME in the directory DIR, whose attributes are ABOVE; what it is goes to STX. */
static uint32_t entry_look(struct walk *walk, int dir, const char *name, const struct statx *above,
                           struct statx *stx)
{
    if (ph_statx(dir, name, stx) != 0)
        return ph_store_errno(walk->call, "look at a tree");
    walk->names++;
    return entry_allowed(walk, above, stx);
}

/* The entries of STREAM. *EMPTY: there are none. */
static uint32_t entries_look(struct walk *walk, DIR *stream, struct level *level, bool *empty)
{
    uint32_t status = PH_ST_OK;
    *empty = true;
    for (struct dirent *entry; status == PH_ST_OK && (entry = readdir(stream)) != NULL;) {
        struct statx stx = {0};
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        *empty = false;
        status = entry_look(walk, dirfd(stream), entry->d_name, &level->stx, &stx);
        if (status == PH_ST_NOT_FOUND)
            status = PH_ST_OK; /* somebody else removed it */
        else if (status == PH_ST_OK && S_ISDIR(stx.stx_mode))
            g_string_append_len(level->below, entry->d_name, (gssize) strlen(entry->d_name) + 1);
    }
    return status;
}

/* Enters the directory NAME below DIR and looks at its entries. */
static uint32_t descend(struct walk *walk, int dir, const char *name)
{
    struct level level = {.below = g_string_new(NULL)};
    char path[32];
    bool empty = true;
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int kept = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;
    DIR *stream = kept >= 0 && ph_statx(fd, "", &level.stx) == 0 ? fdopendir(fd) : NULL;
    uint32_t status = PH_ST_OK;
    if (stream == NULL) {
        status = ph_store_errno(walk->call, "look into a directory");
        if (fd >= 0)
            close(fd);
        if (kept >= 0)
            close(kept);
        g_string_free(level.below, TRUE);
        return status;
    }
    ph_proc_path(fd, path);
    bool writable = faccessat(AT_FDCWD, path, W_OK | X_OK, AT_EACCESS) == 0;
    /* Where nothing may be looked at, that something is there is all that counts. */
    status = entries_look(walk, stream, &level, &empty);
    closedir(stream);
    if (walk->fd >= 0)
        close(walk->fd);
    walk->fd = kept;
    g_array_append_val(walk->levels, level);
    return !empty && !writable ? PH_ST_ACCESS_DENIED : status;
}

/* Leaves the deepest directory for the one above it. */
static uint32_t ascend(struct walk *walk)
{
    struct statx stx;
    g_string_free(g_array_index(walk->levels, struct level, walk->levels->len - 1).below, TRUE);
    g_array_set_size(walk->levels, walk->levels->len - 1);
    if (walk->levels->len == 0)
        return PH_ST_OK;
    const struct level *above = &g_array_index(walk->levels, struct level, walk->levels->len - 1);
    int fd = openat(walk->fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || ph_statx(fd, "", &stx) != 0) {
        uint32_t status = ph_store_errno(walk->call, "go back up in a tree");
        if (fd >= 0)
            close(fd);
        return status;
    }
    close(walk->fd);
    walk->fd = fd;
    struct ph_identity now = ph_identity_of(&stx), then = ph_identity_of(&above->stx);
    return ph_identity_same(&now, &then)
               ? PH_ST_OK
               : ph_fault_set(&walk->call->fault, PH_ST_BUSY,
                              "directories of the tree are moved while it is removed");
}

/* One directory further down, or one up where nothing is left. */
static uint32_t step(struct walk *walk)
{
    GString *below = g_array_index(walk->levels, struct level, walk->levels->len - 1).below;
    char name[NAME_MAX + 1];
    if (below->len == 0)
        return ascend(walk);
    /* From the end: what is in front need not be moved. */
    size_t start = below->len - 1;
    while (start > 0 && below->str[start - 1] != '\0')
        start--;
    g_strlcpy(name, below->str + start, sizeof name);
    g_string_truncate(below, start);
    uint32_t status = descend(walk, walk->fd, name);
    return status == PH_ST_NOT_FOUND || status == PH_ST_NOT_DIRECTORY ? PH_ST_OK : status;
}

uint32_t ph_tree_inspect(struct ph_posix_store *store, struct ph_call *call, const Pohmel__Caller *caller,
                         const struct ph_named *named, uint64_t *names)
{
    char path[32];
    struct statx above, stx;
    struct walk walk = {.call = call, .uid = store->acts_as_caller ? caller->uid : geteuid(), .fd = -1};
    uint32_t status = ph_store_become(store, caller);
    if (status != PH_ST_OK)
        return status;
    ph_proc_path(named->dir->fd, path);
    if (ph_statx(named->dir->fd, "", &above) != 0 || faccessat(AT_FDCWD, path, W_OK | X_OK, AT_EACCESS) != 0)
        return ph_store_errno(call, "check permissions");
    if (above.stx_attributes & (STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND))
        return PH_ST_NOT_PERMITTED;
    status = entry_look(&walk, named->dir->fd, named->name, &above, &stx);
    walk.levels = g_array_new(FALSE, FALSE, sizeof(struct level));
    if (status == PH_ST_OK && S_ISDIR(stx.stx_mode))
        status = descend(&walk, named->dir->fd, named->name);
    while (status == PH_ST_OK && walk.levels->len > 0)
        status = step(&walk);
    for (guint i = 0; i < walk.levels->len; i++)
        g_string_free(g_array_index(walk.levels, struct level, i).below, TRUE);
    g_array_unref(walk.levels);
    if (walk.fd >= 0)
        close(walk.fd);
    *names = walk.names;
    return status;
}
