/* Opening and ending the store, what it tells of itself, transactions, and the
 * errors of all its files. */
#include "server/store/posix.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "server/store/posix_recover.h"
#include "server/store/posix_undo.h"
#include "server/store/state_sessions.h"

enum { SPARE_FDS = 256, STATE_MODE = 0700 };

static const struct ph_store_ops posix_ops = {
    .ids_grant = ph_posix_ids_grant,
    .lookup = ph_posix_lookup,
    .getattr = ph_posix_getattr,
    .readlink = ph_posix_readlink,
    .access = ph_posix_access,
    .readdir = ph_posix_readdir,
    .open = ph_posix_open,
    .read = ph_posix_read,
    .seek = ph_posix_seek,
    .getxattr = ph_posix_getxattr,
    .listxattr = ph_posix_listxattr,
    .sync = ph_posix_sync,
    .statfs = ph_posix_statfs,
    .create = ph_posix_create,
    .mkdir = ph_posix_mkdir,
    .symlink = ph_posix_symlink,
    .mknod = ph_posix_mknod,
    .tmpfile = ph_posix_tmpfile,
    .link = ph_posix_link,
    .remove = ph_posix_remove,
    .rmdir = ph_posix_rmdir,
    .rename = ph_posix_rename,
    .setattr = ph_posix_setattr,
    .write = ph_posix_write,
    .allocate = ph_posix_allocate,
    .copy = ph_posix_copy,
    .setxattr = ph_posix_setxattr,
    .removexattr = ph_posix_removexattr,
    .mkpath = ph_posix_mkpath,
    .rmtree = ph_posix_rmtree,
};

/* ---- Errors ---- */

uint32_t ph_store_status(int error)
{
    switch (error) {
    case 0:
        return PH_ST_OK;
    case EMFILE:
        return PH_ST_TOO_MANY_OPEN;
    case ENOSPC:
        return PH_ST_NO_SPACE;
    case ESTALE:
        return PH_ST_STALE;
    case EAGAIN:
        return PH_ST_WOULD_BLOCK;
    case EOPNOTSUPP:
    case ENOSYS:
    case ENOTTY:
        return PH_ST_UNSUPPORTED;
    case E2BIG:
        return PH_ST_RANGE_ERROR;
    case ENODEV:
        return PH_ST_NO_DEVICE;
    default:
        return ph_status_from_errno(error);
    }
}

uint32_t ph_store_errno(struct ph_call *call, const char *doing)
{
    int error = errno;
    uint32_t status = ph_store_status(error);
    if (status == PH_ST_IO_ERROR || status == PH_ST_NO_MEMORY || status == PH_ST_TOO_MANY_OPEN)
        ph_fault_set(&call->fault, status, "the server cannot %s: %s", doing, g_strerror(error));
    return status;
}

uint32_t ph_store_become(struct ph_posix_store *store, const Pohmel__Caller *caller)
{
    return store->acts_as_caller ? ph_creds_become(caller) : PH_ST_OK;
}

uint32_t ph_store_stale(struct ph_call *call, uint64_t id)
{
    return ph_fault_set(&call->fault, PH_ST_STALE,
                        "object %llu is not known: it was removed, or not looked up since "
                        "the server started",
                        (unsigned long long) id);
}

uint32_t ph_store_check_writable(struct ph_posix_store *store, struct ph_call *call)
{
    return store->read_only ? ph_fault_set(&call->fault, PH_ST_READ_ONLY, "the export is read-only")
                            : PH_ST_OK;
}

uint32_t ph_state_check(struct ph_posix_store *store, struct ph_call *call)
{
    return ph_state_db_throttle(store->db) ? PH_ST_OK
                                           : ph_fault_set(&call->fault, PH_ST_NO_SPACE,
                                                          "the server cannot write its state database; is "
                                                          "there space left in its state directory?");
}

bool ph_store_hidden(const struct ph_posix_store *store, const struct ph_object *directory, const char *name)
{
    return directory == store->root && strcmp(name, PH_HIDDEN_NAME) == 0;
}

bool ph_store_name(const ProtobufCBinaryData *bytes, char name[PH_NAME_MAX_BYTES + 1])
{
    if (bytes->len == 0 || bytes->len > PH_NAME_MAX_BYTES || memchr(bytes->data, '\0', bytes->len) != NULL ||
        memchr(bytes->data, '/', bytes->len) != NULL)
        return false;
    memcpy(name, bytes->data, bytes->len);
    name[bytes->len] = '\0';
    return strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

/* ---- What the store tells ---- */

static uint32_t posix_describe(void *self, struct ph_arena *arena, Pohmel__ExportInfo *info,
                               Pohmel__Attr *root, struct ph_fault *fault)
{
    struct ph_posix_store *store = self;
    struct ph_call call = {.arena = arena};
    struct statx stx;
    char path[32];
    info->root = PH_OBJECT_ROOT;
    info->read_only = store->read_only;
    ph_proc_path(store->root_fd, path);
    info->xattrs = listxattr(path, NULL, 0) >= 0 || errno != EOPNOTSUPP;
    info->acls = store->acls;
    info->acts_as_caller = store->acts_as_caller;
    info->volume.len = 16;
    info->volume.data = ph_arena_copy(arena, ph_state_db_volume(store->db), 16);
    uint32_t status = info->volume.data != NULL ? ph_space_of(store, arena, &info->space) : PH_ST_NO_MEMORY;
    if (status == PH_ST_OK && ph_statx(store->root_fd, "", &stx) != 0)
        status = ph_store_errno(&call, "look at the export");
    if (status == PH_ST_OK)
        status = ph_attr_fill(store, &call, store->root, &stx, false, root);
    if (status != PH_ST_OK)
        ph_fault_set(fault, status, "%s",
                     call.fault.text[0] != '\0' ? call.fault.text : ph_status_text(status));
    return status;
}

/* What the kernel gives to a change that it makes now, or a little less. */
static void posix_now(void *self, Pohmel__Time *now)
{
    struct timespec time;

    (void) self;
    clock_gettime(CLOCK_REALTIME_COARSE, &time);
    now->seconds = time.tv_sec;
    now->nanoseconds = (uint32_t) time.tv_nsec;
}

static uint64_t posix_unbroken(void *self)
{
    const struct ph_posix_store *store = self;
    return store->unbroken;
}

static uint64_t posix_epoch(void *self)
{
    struct ph_posix_store *store = self;
    return ph_state_db_epoch(store->db);
}

static uint32_t posix_transact(void *self, struct ph_call *call, const Pohmel__TransactRequest *request,
                               Pohmel__TransactReply *reply)
{
    struct ph_posix_store *store = self;
    if (request->n_changes != 1 || call->staged != NULL)
        return ph_posix_several(store, &posix_ops, call, request, reply);
    Pohmel__ChangeResult *result = PH_ARENA_NEW(call->arena, Pohmel__ChangeResult);
    reply->results = PH_ARENA_NEW(call->arena, Pohmel__ChangeResult *);
    if (result == NULL || reply->results == NULL)
        return PH_ST_NO_MEMORY;
    pohmel__change_result__init(result);
    reply->results[0] = result;
    reply->n_results = 1;
    ph_store_journal_begin(store, call, request->changes[0]);
    uint32_t status = ph_dispatch_change(&posix_ops, store, call, request->changes[0], result);
    ph_store_journal_end(store, call, status, reply);
    return status;
}

static void posix_end_session(void *self, uint64_t session)
{
    struct ph_posix_store *store = self;
    if (store->journal != NULL)
        ph_journal_forget_served(store->journal, session);
    if (store->staged != NULL)
        ph_stage_end_session(store->staged, session);
    ph_posix_end_session(self, session);
}

/* ---- Opening ---- */

/* STABLE: all that was done is. */
static void store_free(struct ph_posix_store *store, bool stable)
{
    struct ph_store_session one;
    ph_creds_server();
    store->closing = store->session_list != NULL && ph_posix_sessions(store, &one, 1) > 0;
    ph_store_handles_clear(store);
    ph_hidden_close(store);
    ph_sync_all_clear(store);
    ph_objects_clear(store);
    if (store->several_fd >= 0)
        close(store->several_fd);
    if (store->root_fd >= 0)
        close(store->root_fd);
    ph_state_sessions_close(store->session_list);
    ph_undo_log_close(store->undo);
    ph_stage_close(store->staged);
    pthread_mutex_destroy(&store->several_lock);
    ph_journal_close(store->journal, stable);
    ph_state_db_close(store->db);
    if (store->state_lock_fd >= 0)
        close(store->state_lock_fd);
    g_free(store);
}

static void posix_free(void *self)
{
    struct ph_posix_store *store = self;
    store_free(store, !store->read_only && syncfs(store->root_fd) == 0);
}

static bool failed(GError **error, const char *format, const char *what, const char *why)
{
    g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(errno), format, what, why);
    return false;
}

/* Whether PATH, which may not be there yet, lies inside DIRECTORY. */
static bool lies_inside(const char *path, const char *directory)
{
    g_autofree char *above = g_strdup(path);
    g_autofree char *outer = realpath(directory, NULL);
    char *inner = NULL;
    while ((inner = realpath(above, NULL)) == NULL && strcmp(above, "/") != 0 && strcmp(above, ".") != 0) {
        char *shorter = g_path_get_dirname(above);
        g_free(above);
        above = shorter;
    }
    size_t len = outer != NULL ? strlen(outer) : 0;
    bool inside = inner != NULL && outer != NULL && strncmp(inner, outer, len) == 0 &&
                  (inner[len] == '\0' || inner[len] == '/' || strcmp(outer, "/") == 0);
    free(inner);
    return inside;
}

static bool state_open(struct ph_posix_store *store, const struct ph_posix_options *options,
                       const struct statx *root, GError **error)
{
    if (options->state_dir == NULL || options->state_dir[0] == '\0')
        return failed(error, "%s%s", "no state directory is given", "; use --state-dir");
    if (lies_inside(options->state_dir, options->directory))
        return failed(error, "the state directory %s lies inside the export %s; choose one outside of it",
                      options->state_dir, options->directory);
    if (g_mkdir_with_parents(options->state_dir, STATE_MODE) != 0)
        return failed(error, "cannot make the state directory %s: %s", options->state_dir, g_strerror(errno));
    g_autofree char *lock = g_build_filename(options->state_dir, "lock", NULL);
    store->state_lock_fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (store->state_lock_fd < 0)
        return failed(error, "cannot write to the state directory %s: %s", options->state_dir,
                      g_strerror(errno));
    if (flock(store->state_lock_fd, LOCK_EX | LOCK_NB) != 0)
        return failed(
            error,
            errno == EWOULDBLOCK
                ? "the state directory %s is in use by another pohmel-server; stop that one or choose "
                  "another with --state-dir%s"
                : "cannot lock the state directory %s: %s",
            options->state_dir, errno == EWOULDBLOCK ? "" : g_strerror(errno));
    struct ph_identity identity = ph_identity_of(root);
    struct ph_state_root known = {options->directory, identity.ino, identity.btime_ns};
    store->db = ph_state_db_open(options->state_dir, &known, error);
    if (store->db == NULL)
        return false;
    store->session_list = ph_state_sessions_open(options->state_dir, ph_state_db_volume(store->db), error);
    return store->session_list != NULL;
}

/* Descriptors are what directories and handles cost; as many as the system lets us have. */
static void limits_raise(struct ph_posix_store *store, uint32_t stores)
{
    struct rlimit limit = {.rlim_cur = 1024, .rlim_max = 1024};
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
            getrlimit(RLIMIT_NOFILE, &limit);
    }
    uint32_t all = (uint32_t) MIN(limit.rlim_cur, (rlim_t) 1 << 20);
    uint32_t usable = all > 2 * SPARE_FDS + PH_STORE_PINS_MAX ? all - SPARE_FDS - PH_STORE_PINS_MAX : all / 2;
    usable /= MAX(stores, 1u);
    store->dirs_max = usable / 3;
    store->handles_max = usable - store->dirs_max;
}

static bool root_open(struct ph_posix_store *store, const struct ph_posix_options *options, struct statx *stx,
                      GError **error)
{
    const char *directory = options->directory;
    store->root_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (store->root_fd < 0)
        return failed(error,
                      errno == ENOTDIR  ? "%s is not a directory (%s); export the directory that holds it"
                      : errno == ENOENT ? "there is no directory %s to export (%s); make it first"
                                        : "cannot export %s: %s",
                      directory, g_strerror(errno));
    if (access("/proc/self/fd", X_OK) != 0)
        return failed(error, "%s is needed and cannot be used: %s", "/proc", g_strerror(errno));
    if (ph_statx(store->root_fd, "", stx) != 0)
        return failed(error, "cannot look at %s: %s", directory, g_strerror(errno));
    if (!options->read_only && faccessat(store->root_fd, ".", W_OK | X_OK, AT_EACCESS) != 0)
        return failed(error, "%s cannot be written to by this user (%s); use --read-only or change its owner",
                      directory, g_strerror(errno));
    /* Two servers would clear away each other's removed files, and mix up the ids. */
    if (!options->read_only && flock(store->root_fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        return failed(error, "%s is exported by another pohmel-server already%s", directory,
                      "; stop that one or use --read-only");
    return true;
}

static bool acls_probe(const struct ph_posix_store *store)
{
    char path[32];
    ph_proc_path(store->root_fd, path);
    return getxattr(path, "system.posix_acl_access", NULL, 0) >= 0 || errno == ENODATA;
}

static void root_enter(struct ph_posix_store *store, const struct statx *stx)
{
    store->root = ph_object_made(store, NULL, NULL, stx, PH_OBJECT_ROOT);
    store->root->removed = false;
    store->root->blocks = stx->stx_blocks;
    /* Not in the list from which descriptors are taken away: everything starts here. */
    store->root->pin = ph_fd_new(fcntl(store->root_fd, F_DUPFD_CLOEXEC, 0));
    store->pins++;
}

/* What the last server was killed over is settled before anybody is served. */
static bool journal_open(struct ph_posix_store *store, const struct ph_posix_options *options, GError **unfit)
{
    g_autoptr(GError) error = NULL;
    if (store->read_only)
        return true;
    store->several_fd = openat(store->root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (store->several_fd < 0)
        return failed(unfit, "cannot open %s: %s", options->directory, g_strerror(errno));
    store->undo = ph_undo_log_open(options->state_dir, unfit);
    if (store->undo == NULL)
        return false;
    if (!options->no_journal)
        store->journal = ph_journal_open(options->state_dir, ph_state_db_volume(store->db), false, &error);
    if (error != NULL)
        g_warning("%s", error->message);
    ph_kept_take_up(store);
    if (!ph_several_recover(store, unfit))
        return false;
    ph_store_recover(store);
    store->unbroken = ph_state_db_unbroken(store->db, ph_posix_continued(store));
    /* Nobody could say which transactions of earlier sessions happened. */
    if (!ph_posix_continued(store))
        ph_state_sessions_clear(store->session_list);
    ph_several_open(store, options->state_dir);
    return true;
}

static bool store_start(struct ph_posix_store *store, const struct ph_posix_options *options, GError **error)
{
    struct statx stx;
    if (options->directory == NULL || !root_open(store, options, &stx, error))
        return false;
    limits_raise(store, options->stores);
    store->dev = makedev(stx.stx_dev_major, stx.stx_dev_minor);
    if (!state_open(store, options, &stx, error))
        return false;
    root_enter(store, &stx);
    store->acls = acls_probe(store);
    store->plain_filesystem = ph_plain_filesystem(store->root_fd);
    store->syncs_in_order = ph_syncs_in_order(store->root_fd);
    if (store->size_limit != 0 && !ph_space_walk(store, error))
        return false;
    if (!ph_hidden_open(store, error))
        return false;
    if (!journal_open(store, options, error))
        return false;
    ph_hidden_resume(store);
    return true;
}

struct ph_store *ph_posix_store_open(const struct ph_posix_options *options, GError **error)
{
    struct ph_posix_store *store = g_new0(struct ph_posix_store, 1);
    store->read_only = options->read_only;
    store->size_limit = options->size_limit;
    store->objects_max = options->objects_max != 0 ? options->objects_max : PH_STORE_OBJECTS_MAX;
    store->acts_as_caller = ph_creds_capable();
    if (store->acts_as_caller)
        ph_creds_narrow();
    store->root_fd = store->several_fd = store->state_lock_fd = -1;
    pthread_mutex_init(&store->several_lock, NULL);
    ph_hidden_init(store);
    ph_objects_init(store);
    ph_sync_all_init(store);
    ph_store_handles_init(store);
    if (!store_start(store, options, error)) {
        store_free(store, false);
        return NULL;
    }
    /* The handle that others see lives as long as the store does. */
    static const struct ph_store shape = {
        .ops = &posix_ops,
        .describe = posix_describe,
        .epoch = posix_epoch,
        .now = posix_now,
        .transact = posix_transact,
        .several = true,
        .settle = ph_posix_settle,
        .stage = ph_posix_stage,
        .staged = ph_posix_staged,
        .drop_staged = ph_posix_drop_staged,
        .outcome = ph_posix_outcome,
        .recorded = ph_posix_recorded,
        .forget_session = ph_posix_forget_session,
        .continued = ph_posix_continued,
        .unbroken = posix_unbroken,
        .claimed = ph_posix_claimed,
        .close = ph_posix_close,
        .enter_session = ph_posix_enter_session,
        .leave_session = ph_posix_leave_session,
        .sessions = ph_posix_sessions,
        .end_session = posix_end_session,
        .free = posix_free,
    };
    store->shell = shape;
    store->shell.self = store;
    return &store->shell;
}
