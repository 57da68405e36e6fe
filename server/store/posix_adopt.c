/* Objects whose ids were lost with the server's power, while they were not; and the other way round. The
 * state database is made stable by SYNC only, the export's filesystem by itself as well: so a file may have
 * survived whose row did not. Who made it has kept its id (docs/decisions/0015-owned.md). */
#include "server/store/posix_internal.h"

static uint64_t change_time(const struct statx *stx)
{
    return (uint64_t) stx->stx_ctime.tv_sec * 1000000000u + stx->stx_ctime.tv_nsec;
}

/* With the lock held. What was found, and was given no id by a client, is known by its inode. */
static bool may_be(struct ph_posix_store *store, const struct ph_object *object, uint64_t id)
{
    return object->listed && object != store->root && object->id < PH_OBJECT_GIVEN_FIRST &&
           object->handles == NULL && !g_hash_table_contains(store->by_id, &id);
}

bool ph_object_adopt(struct ph_posix_store *store, const struct ph_named *named, uint64_t id, uint32_t type,
                     uint64_t survivor)
{
    struct statx stx;
    if (ph_statx(named->dir->fd, named->name, &stx) != 0 || (stx.stx_mode & S_IFMT) != type ||
        change_time(&stx) > survivor)
        return false;
    struct ph_object *object = ph_object_found(store, named->parent, named->name, &stx);
    if (object == NULL)
        return false;
    pthread_mutex_lock(&store->lock);
    bool ours = may_be(store, object, id);
    if (ours) {
        if (object->persisted)
            ph_state_db_remove(store->db, object->id);
        g_hash_table_remove(store->by_id, &object->id);
        object->id = id;
        object->persisted = false;
        object->named++; /* its id is no more stable than a new name */
        g_hash_table_insert(store->by_id, &object->id, object);
        ph_object_remember(store, object);
    }
    pthread_mutex_unlock(&store->lock);
    ph_object_unref(store, object);
    return ours;
}

bool ph_id_is_vacant(struct ph_posix_store *store, uint64_t id)
{
    struct ph_object *object = ph_object_by_id(store, id);
    pthread_mutex_lock(&store->lock);
    bool vacant = object == NULL && !ph_gone_ids_has(&store->gone_ids, id);
    pthread_mutex_unlock(&store->lock);
    ph_object_unref(store, object);
    return vacant;
}
