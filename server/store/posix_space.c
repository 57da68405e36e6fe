/* Space: what the export holds, and the limit that may be set on it. */
#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <ftw.h>

#include "server/store/posix_internal.h"

enum { STAT_BLOCK_BYTES = 512, WALK_FDS = 64 };

/* nftw(3) knows no context; a store is opened by one thread at a time. */
static struct {
    uint64_t bytes;
    GHashTable *linked; /* inodes with several names, counted once */
} walk;
static pthread_mutex_t walk_lock = PTHREAD_MUTEX_INITIALIZER;

static int walk_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    if (st->st_nlink > 1 && !S_ISDIR(st->st_mode)) {
        g_autofree guint64 *key = g_new(guint64, 1);
        *key = st->st_ino;
        if (!g_hash_table_add(walk.linked, g_steal_pointer(&key)))
            return 0;
    }
    walk.bytes += (uint64_t) st->st_blocks * STAT_BLOCK_BYTES;
    return 0;
}

bool ph_space_walk(struct ph_posix_store *store, GError **error)
{
    char path[32];
    ph_proc_path(store->root_fd, path);
    g_autofree char *start = g_strconcat(path, "/.", NULL);
    pthread_mutex_lock(&walk_lock);
    walk.bytes = 0;
    walk.linked = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
    int failed = nftw(start, walk_entry, WALK_FDS, FTW_PHYS | FTW_MOUNT);
    int reason = errno;
    atomic_store(&store->used, walk.bytes);
    g_clear_pointer(&walk.linked, g_hash_table_unref);
    pthread_mutex_unlock(&walk_lock);
    if (failed)
        g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(reason),
                    "cannot add up what the export holds, which --size-limit needs: %s", g_strerror(reason));
    return !failed;
}

void ph_space_seen(struct ph_posix_store *store, struct ph_object *object, uint64_t blocks)
{
    if (store->size_limit == 0 || object->blocks == blocks)
        return;
    uint64_t used = atomic_load(&store->used), before = object->blocks * STAT_BLOCK_BYTES;
    uint64_t now = blocks * STAT_BLOCK_BYTES;
    /* Changes all come from here, under the store's lock; the trash only subtracts. */
    if (now >= before)
        atomic_fetch_add(&store->used, now - before);
    else
        atomic_fetch_sub(&store->used, MIN(before - now, used));
    object->blocks = blocks;
}

/* What an ordinary user can still write, promised or not; all there can be where that cannot be told. */
static uint64_t available(const struct ph_posix_store *store)
{
    struct statvfs fs;
    uint64_t free_bytes = UINT64_MAX;
    if (fstatvfs(store->root_fd, &fs) == 0)
        free_bytes = fs.f_bavail * (uint64_t) (fs.f_frsize != 0 ? fs.f_frsize : fs.f_bsize);
    if (store->size_limit == 0)
        return free_bytes;
    uint64_t used = atomic_load(&store->used);
    return MIN(free_bytes, used < store->size_limit ? store->size_limit - used : 0);
}

bool ph_space_is_limited(struct ph_posix_store *store)
{
    pthread_mutex_lock(&store->reserves_lock);
    bool reserved = store->reserves.total > 0 || store->quotas.count > 0;
    pthread_mutex_unlock(&store->reserves_lock);
    return reserved || store->size_limit != 0;
}

void ph_space_end_session(struct ph_posix_store *store, uint64_t session)
{
    pthread_mutex_lock(&store->reserves_lock);
    ph_reserves_end(&store->reserves, session);
    pthread_mutex_unlock(&store->reserves_lock);
    ph_quota_end_session(store, session);
}

uint32_t ph_space_check(struct ph_posix_store *store, struct ph_call *call, uint64_t more)
{
    pthread_mutex_lock(&store->reserves_lock);
    uint64_t beyond = ph_reserves_use(&store->reserves, call->session, more);
    uint64_t others = ph_reserves_of_others(&store->reserves, call->session);
    bool own = more > 0 && beyond == 0;
    pthread_mutex_unlock(&store->reserves_lock);
    if (own || (others == 0 && store->size_limit == 0))
        return PH_ST_OK;
    uint64_t left = available(store);
    if (left > others && beyond <= left - others)
        return PH_ST_OK;
    if (others == 0)
        return ph_fault_set(&call->fault, PH_ST_NO_SPACE,
                            "the size limit of the export, %llu bytes, is reached",
                            (unsigned long long) store->size_limit);
    return ph_fault_set(&call->fault, PH_ST_NO_SPACE,
                        "of %llu bytes that are left, %llu are reserved for what other clients have written",
                        (unsigned long long) left, (unsigned long long) others);
}

uint32_t ph_space_of(struct ph_posix_store *store, struct ph_arena *arena, Pohmel__Space **out)
{
    struct statvfs fs;
    Pohmel__Space *space = ph_arena_alloc(arena, sizeof *space);
    if (space == NULL)
        return PH_ST_NO_MEMORY;
    if (fstatvfs(store->root_fd, &fs) != 0)
        return ph_store_status(errno);
    pohmel__space__init(space);
    uint64_t unit = fs.f_frsize != 0 ? fs.f_frsize : fs.f_bsize;
    space->size = fs.f_blocks * unit;
    space->used = (fs.f_blocks - fs.f_bfree) * unit;
    space->available = fs.f_bavail * unit;
    space->objects = fs.f_files;
    space->objects_free = fs.f_favail;
    space->block_size = (uint32_t) MAX(unit, 1u);
    space->name_max = fs.f_namemax != 0 ? (uint32_t) MIN(fs.f_namemax, (unsigned long) PH_NAME_MAX_BYTES)
                                        : PH_NAME_MAX_BYTES;
    if (store->size_limit != 0) {
        uint64_t used = atomic_load(&store->used);
        uint64_t left = used < store->size_limit ? store->size_limit - used : 0;
        space->size = store->size_limit;
        space->used = MIN(used, store->size_limit);
        space->available = MIN(space->available, left);
    }
    *out = space;
    return PH_ST_OK;
}

uint32_t ph_posix_statfs(void *self, struct ph_call *call, const Pohmel__StatfsRequest *request,
                         Pohmel__StatfsReply *reply)
{
    struct ph_posix_store *store = self;
    uint64_t left = available(store);
    uint32_t status = ph_space_of(store, call->arena, &reply->space);
    if (status != PH_ST_OK)
        return status;
    pthread_mutex_lock(&store->reserves_lock);
    if (request->reserve)
        reply->reserved =
            ph_reserves_set(&store->reserves, call->session, request->needed, request->more, left);
    uint64_t others = ph_reserves_of_others(&store->reserves, call->session);
    pthread_mutex_unlock(&store->reserves_lock);
    reply->space->available -= MIN(others, reply->space->available);
    return request->reserve ? ph_quota_reserve(store, call, request, reply) : PH_ST_OK;
}
