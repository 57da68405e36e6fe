/* The table of objects: id <-> identity, parents and names. Nothing in here
 * makes a system call but through the state database's look-ups. */
#include <stddef.h>
#include <string.h>

#include "server/store/posix_internal.h"

/* Device numbers change when the machine starts again; that of the root is remembered as 0. */
static uint64_t device_index(const struct ph_posix_store *store, uint64_t dev)
{
    return dev == store->dev ? 0 : dev;
}

/* ---- With the lock held. ---- */

static void row_put(struct ph_posix_store *store, struct ph_object *object)
{
    struct ph_state_row row = {
        .id = object->id,
        .dev = device_index(store, object->identity.dev),
        .ino = object->identity.ino,
        .btime_ns = object->identity.btime_ns,
        .parent = object->parent != NULL ? object->parent->id : 0,
    };
    if (object->name != NULL)
        g_strlcpy(row.name, object->name, sizeof row.name);
    object->persisted = true;
    ph_state_db_put(store->db, &row);
}

static void row_remove(struct ph_posix_store *store, struct ph_object *object)
{
    if (object->persisted)
        ph_state_db_remove(store->db, object->id);
    object->persisted = false;
}

/* Remembers the directories above as well: the object is found again through them. */
static void row_put_with_parents(struct ph_posix_store *store, struct ph_object *object)
{
    int depth = 0;
    row_put(store, object);
    for (struct ph_object *above = object->parent;
         above != NULL && above != store->root && !above->persisted && depth++ < PH_STORE_DEPTH_MAX;
         above = above->parent)
        row_put(store, above);
}

static void ref_locked(struct ph_posix_store *store, struct ph_object *object)
{
    if (object->idle) {
        g_queue_unlink(&store->idle, &object->lru_link);
        object->idle = false;
    }
    object->refs++;
}

struct ph_directory *ph_object_directory(struct ph_object *object)
{
    if (object->directory == NULL)
        object->directory = g_new0(struct ph_directory, 1);
    return object->directory;
}

static void drop_fds(struct ph_posix_store *store, struct ph_object *object)
{
    struct ph_directory *directory = object->directory;
    if (directory != NULL && directory->fd != NULL) {
        g_queue_unlink(&store->dirs_lru, &directory->link);
        ph_fd_unref(g_steal_pointer(&directory->fd));
    }
    if (object->pin != NULL) {
        store->pins--;
        ph_fd_unref(g_steal_pointer(&object->pin));
    }
}

/* Takes the object out of its parent; returns the parent, whose reference is now the caller's. */
static struct ph_object *detach(struct ph_object *object)
{
    struct ph_object *parent = g_steal_pointer(&object->parent);
    g_clear_pointer(&object->name, g_free);
    if (parent == NULL)
        return NULL;
    if (object->previous != NULL)
        object->previous->next = object->next;
    else
        parent->directory->children = object->next;
    if (object->next != NULL)
        object->next->previous = object->previous;
    object->next = object->previous = NULL;
    return parent;
}

static void unref_locked(struct ph_posix_store *store, struct ph_object *object)
{
    while (object != NULL && --object->refs == 0) {
        struct ph_object *parent = NULL;
        if (object->listed) {
            object->idle = true;
            object->lru_link.data = object;
            g_queue_push_tail_link(&store->idle, &object->lru_link);
        } else {
            parent = detach(object);
            drop_fds(store, object);
            g_free(object->directory);
            g_free(object);
        }
        object = parent;
    }
}

static void attach(struct ph_posix_store *store, struct ph_object *object, struct ph_object *parent,
                   const char *name)
{
    object->name = g_strdup(name);
    object->parent = parent;
    ref_locked(store, parent);
    struct ph_directory *directory = ph_object_directory(parent);
    object->next = directory->children;
    if (object->next != NULL)
        object->next->previous = object;
    directory->children = object;
}

/* The object leaves the table; whoever has a reference may finish with it. */
static void unlist(struct ph_posix_store *store, struct ph_object *object)
{
    if (!object->listed)
        return;
    g_hash_table_remove(store->by_id, &object->id);
    g_hash_table_remove(store->by_identity, &object->identity);
    object->listed = false;
    if (object->idle) {
        g_queue_unlink(&store->idle, &object->lru_link);
        object->idle = false;
        object->refs = 1;
        unref_locked(store, object);
    }
}

/* The object is gone from the volume, and nobody has it open. */
static void gone(struct ph_posix_store *store, struct ph_object *object)
{
    object->removed = true;
    ref_locked(store, object);
    ph_space_seen(store, object, 0);
    row_remove(store, object);
    unlist(store, object);
    unref_locked(store, object);
}

static void evict(struct ph_posix_store *store)
{
    while (store->idle.length > store->objects_max) {
        struct ph_object *oldest = store->idle.head->data;
        store->evicted = true;
        if (S_ISDIR(oldest->type) && !oldest->persisted && oldest->name != NULL)
            row_put_with_parents(store, oldest);
        unlist(store, oldest);
    }
}

static struct ph_object *insert(struct ph_posix_store *store, uint64_t id, const struct ph_identity *identity,
                                uint32_t type)
{
    struct ph_object *object = g_new0(struct ph_object, 1);
    object->id = id;
    object->identity = *identity;
    object->type = type;
    object->refs = 1;
    object->listed = true;
    object->named = 1; /* who knows when */
    /* Sets: GLib keeps one array less where the key is the value. */
    g_hash_table_add(store->by_id, &object->id);
    g_hash_table_add(store->by_identity, &object->identity);
    return object;
}

/* Whether ABOVE is OBJECT or below it: making it OBJECT's parent would close a ring. */
static bool ring(const struct ph_object *object, const struct ph_object *above)
{
    for (int depth = 0; above != NULL; above = above->parent)
        if (above == object || depth++ > PH_STORE_DEPTH_MAX)
            return true;
    return false;
}

static void set_name(struct ph_posix_store *store, struct ph_object *object, struct ph_object *parent,
                     const char *name)
{
    if (object == store->root ||
        (object->parent == parent && object->name != NULL && strcmp(object->name, name) == 0))
        return;
    if (S_ISDIR(object->type) && object->parent != parent && ring(object, parent))
        return;
    struct ph_object *before = detach(object);
    attach(store, object, parent, name);
    unref_locked(store, before);
    object->removed = object->orphan = false;
    object->named++;
    if (object->pin != NULL) {
        store->pins--;
        ph_fd_unref(g_steal_pointer(&object->pin));
    }
    if (object->persisted)
        row_put_with_parents(store, object);
}

/* It keeps the name that it had, which leads to it when the newer one is taken away. */
static void add_name(struct ph_posix_store *store, struct ph_object *object, struct ph_object *parent,
                     const char *name)
{
    if (object->parent != NULL && (object->parent != parent || strcmp(object->name, name) != 0))
        ph_other_names_put(store->other_names, object->id, object->parent->id, object->name);
    set_name(store, object, parent, name);
}

struct ph_object *ph_object_identified(const struct ph_posix_store *store, const struct ph_identity *identity)
{
    struct ph_identity *key = g_hash_table_lookup(store->by_identity, identity);
    return key != NULL ? (struct ph_object *) ((char *) key - offsetof(struct ph_object, identity)) : NULL;
}

/* The object of that identity, or NULL; one whose inode is another file by now is
 * given up. Where it is the other way round, IDENTITY is of a file that is gone
 * (somebody looked, and was slow) and the table keeps what it has. */
static struct ph_object *by_identity(struct ph_posix_store *store, const struct ph_identity *identity)
{
    struct ph_object *object = ph_object_identified(store, identity);
    if (object == NULL || ph_identity_same(&object->identity, identity))
        return object;
    if (identity->btime_ns < object->identity.btime_ns)
        return NULL;
    gone(store, object);
    return NULL;
}

/* ---- The rest takes the lock itself. ---- */

void ph_objects_init(struct ph_posix_store *store)
{
    pthread_rwlockattr_t fair;
    pthread_mutex_init(&store->lock, NULL);
    pthread_rwlockattr_init(&fair);
    pthread_rwlockattr_setkind_np(&fair, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    for (size_t i = 0; i < G_N_ELEMENTS(store->making); i++)
        pthread_rwlock_init(&store->making[i], &fair);
    pthread_rwlockattr_destroy(&fair);
    for (size_t i = 0; i < G_N_ELEMENTS(store->appending); i++)
        pthread_mutex_init(&store->appending[i], NULL);
    store->by_id = g_hash_table_new(g_int64_hash, g_int64_equal);
    ph_gone_ids_init(&store->gone_ids);
    store->other_names = ph_other_names_new();
    store->by_identity = g_hash_table_new(ph_identity_hash, ph_identity_equal);
    g_queue_init(&store->idle);
    g_queue_init(&store->lately_removed);
    g_queue_init(&store->dirs_lru);
}

void ph_objects_clear(struct ph_posix_store *store)
{
    if (store->root != NULL)
        ph_object_unref(store, g_steal_pointer(&store->root));
    pthread_mutex_lock(&store->lock);
    while (store->lately_removed.length > 0)
        unref_locked(store, g_queue_pop_head(&store->lately_removed));
    while (store->idle.length > 0)
        unlist(store, store->idle.head->data);
    pthread_mutex_unlock(&store->lock);
    g_hash_table_unref(store->by_id);
    ph_gone_ids_clear(&store->gone_ids);
    ph_other_names_free(store->other_names);
    g_hash_table_unref(store->by_identity);
    for (size_t i = 0; i < G_N_ELEMENTS(store->making); i++)
        pthread_rwlock_destroy(&store->making[i]);
    for (size_t i = 0; i < G_N_ELEMENTS(store->appending); i++)
        pthread_mutex_destroy(&store->appending[i]);
    pthread_mutex_destroy(&store->lock);
}

struct ph_object *ph_object_ref(struct ph_posix_store *store, struct ph_object *object)
{
    pthread_mutex_lock(&store->lock);
    ref_locked(store, object);
    pthread_mutex_unlock(&store->lock);
    return object;
}

void ph_object_unref(struct ph_posix_store *store, struct ph_object *object)
{
    if (object == NULL)
        return;
    pthread_mutex_lock(&store->lock);
    unref_locked(store, object);
    evict(store);
    pthread_mutex_unlock(&store->lock);
}

static struct ph_object *listed(struct ph_posix_store *store, uint64_t id)
{
    pthread_mutex_lock(&store->lock);
    struct ph_object *object = g_hash_table_lookup(store->by_id, &id);
    if (object != NULL)
        ref_locked(store, object);
    pthread_mutex_unlock(&store->lock);
    return object;
}

/* Takes up an object from the database below PARENT. Its type shows when it is
 * reached; only directories are ever parents. */
static struct ph_object *take_up(struct ph_posix_store *store, const struct ph_state_row *row,
                                 struct ph_object *parent, uint32_t type)
{
    struct ph_identity identity = {row->dev == 0 ? store->dev : row->dev, row->ino, row->btime_ns};
    pthread_mutex_lock(&store->lock);
    struct ph_object *object = g_hash_table_lookup(store->by_id, &row->id);
    if (object != NULL) {
        ref_locked(store, object);
    } else if (!g_hash_table_contains(store->by_identity, &identity)) {
        object = insert(store, row->id, &identity, type);
        object->persisted = true;
        attach(store, object, parent, row->name);
    }
    pthread_mutex_unlock(&store->lock);
    return object;
}

/* Loads ID and the directories above it; type 0 is found out by a look at the disk. */
static struct ph_object *load(struct ph_posix_store *store, uint64_t id, int depth)
{
    struct ph_state_row row;
    struct statx stx;
    struct ph_object *object = listed(store, id);
    if (object != NULL || depth > PH_STORE_DEPTH_MAX / 2 || !ph_state_db_by_id(store->db, id, &row) ||
        row.parent == 0 || row.name[0] == '\0')
        return object;
    struct ph_object *parent = load(store, row.parent, depth + 1);
    struct ph_fd *dir;
    if (parent == NULL)
        return NULL;
    if (ph_dir_fd(store, parent, &dir) == PH_ST_OK) {
        bool there = ph_statx(dir->fd, row.name, &stx) == 0;
        struct ph_identity now = there ? ph_identity_of(&stx) : (struct ph_identity){0};
        struct ph_identity then = {row.dev == 0 ? store->dev : row.dev, row.ino, row.btime_ns};
        ph_fd_unref(dir);
        if (there && ph_identity_same(&now, &then))
            object = take_up(store, &row, parent, stx.stx_mode & S_IFMT);
    }
    ph_object_unref(store, parent);
    return object;
}

struct ph_object *ph_object_by_id(struct ph_posix_store *store, uint64_t id)
{
    struct ph_object *object = listed(store, id);
    return object != NULL ? object : load(store, id, 0);
}

static struct ph_object *find_named(struct ph_posix_store *store, const struct ph_identity *identity,
                                    const struct statx *stx, struct ph_object *parent, const char *name)
{
    struct ph_object *object = by_identity(store, identity);
    bool several = !S_ISDIR(stx->stx_mode) && stx->stx_nlink > 1;
    if (object == NULL)
        return NULL;
    ref_locked(store, object);
    if (!object->orphan)
        (several ? add_name : set_name)(store, object, parent, name);
    return object;
}

/* The inode number is the id, unless it is another's or means something else. */
static bool plain_id(const struct ph_posix_store *store, uint64_t dev, uint64_t ino)
{
    return dev == store->dev && ino > PH_OBJECT_ROOT && ino < PH_OBJECT_GIVEN_FIRST;
}

/* Id for an identity that memory does not know; 0: none left. *KNOWN: from the database. */
static uint64_t id_for(struct ph_posix_store *store, const struct ph_identity *identity, bool *known)
{
    struct ph_state_row row;
    *known = false;
    if (ph_state_db_by_inode(store->db, device_index(store, identity->dev), identity->ino, &row)) {
        struct ph_identity then = {identity->dev, identity->ino, row.btime_ns};
        if (ph_identity_same(&then, identity)) {
            *known = true;
            return row.id;
        }
        if (row.btime_ns < identity->btime_ns)
            ph_state_db_remove(store->db, row.id); /* the inode is another file by now */
    }
    return plain_id(store, identity->dev, identity->ino) ? identity->ino : ph_ids_allocate(store, 1);
}

struct ph_object *ph_object_found(struct ph_posix_store *store, struct ph_object *parent, const char *name,
                                  const struct statx *stx)
{
    struct ph_identity identity = ph_identity_of(stx);
    pthread_mutex_lock(&store->lock);
    struct ph_object *object = find_named(store, &identity, stx, parent, name);
    bool late = object == NULL && g_hash_table_contains(store->by_identity, &identity);
    pthread_mutex_unlock(&store->lock);
    if (object != NULL || late)
        return object;
    /* Perhaps its maker is just about to enter it under the id that it chose. */
    pthread_rwlock_t *making = &store->making[parent->id % G_N_ELEMENTS(store->making)];
    pthread_rwlock_wrlock(making);
    pthread_rwlock_unlock(making);
    bool known;
    uint64_t id = id_for(store, &identity, &known);
    pthread_mutex_lock(&store->lock);
    object = find_named(store, &identity, stx, parent, name);
    if (object == NULL && id != 0 && g_hash_table_contains(store->by_id, &id)) {
        pthread_mutex_unlock(&store->lock);
        id = ph_ids_allocate(store, 1);
        known = false;
        pthread_mutex_lock(&store->lock);
        object = find_named(store, &identity, stx, parent, name);
    }
    if (object == NULL && id != 0 && !g_hash_table_contains(store->by_identity, &identity)) {
        object = insert(store, id, &identity, stx->stx_mode & S_IFMT);
        object->blocks = stx->stx_blocks;
        attach(store, object, parent, name);
        object->persisted = known;
        if (!plain_id(store, identity.dev, identity.ino) || known || id != identity.ino)
            row_put_with_parents(store, object);
    }
    pthread_mutex_unlock(&store->lock);
    return object;
}

struct ph_object *ph_object_made(struct ph_posix_store *store, struct ph_object *parent, const char *name,
                                 const struct statx *stx, uint64_t id)
{
    struct ph_identity identity = ph_identity_of(stx);
    pthread_mutex_lock(&store->lock);
    struct ph_object *object = ph_object_identified(store, &identity);
    if (object != NULL)
        gone(store, object); /* of a file removed behind our back whose inode this one got */
    object = NULL;
    if (!g_hash_table_contains(store->by_id, &id)) {
        object = insert(store, id, &identity, stx->stx_mode & S_IFMT);
        if (parent != NULL) {
            attach(store, object, parent, name);
            row_put_with_parents(store, object);
        } else {
            object->removed = true;
        }
    }
    pthread_mutex_unlock(&store->lock);
    return object;
}

uint64_t ph_object_id_of_entry(struct ph_posix_store *store, uint64_t dev, uint64_t ino)
{
    struct ph_identity key = {.dev = dev, .ino = ino};
    struct ph_state_row row;
    pthread_mutex_lock(&store->lock);
    struct ph_object *object = ph_object_identified(store, &key);
    uint64_t id = object != NULL ? object->id : 0;
    pthread_mutex_unlock(&store->lock);
    if (id == 0 && ph_state_db_by_inode(store->db, device_index(store, dev), ino, &row))
        id = row.id;
    if (id == 0 && plain_id(store, dev, ino))
        id = ino;
    return id;
}

void ph_object_remember(struct ph_posix_store *store, struct ph_object *object)
{
    if (!object->persisted && object->parent != NULL)
        row_put_with_parents(store, object);
}

void ph_objects_remember(struct ph_posix_store *store, const uint64_t *ids, size_t count)
{
    pthread_mutex_lock(&store->lock);
    for (size_t i = 0; i < count; i++) {
        struct ph_object *object = g_hash_table_lookup(store->by_id, &ids[i]);
        if (object != NULL)
            ph_object_remember(store, object);
    }
    pthread_mutex_unlock(&store->lock);
}

void ph_object_rename(struct ph_posix_store *store, struct ph_object *object, struct ph_object *parent,
                      const char *name, bool keeps)
{
    pthread_mutex_lock(&store->lock);
    bool new_name = object->removed;
    (keeps ? add_name : set_name)(store, object, parent, name);
    if (new_name && !object->persisted && object->id >= PH_OBJECT_GIVEN_FIRST)
        row_put_with_parents(store, object);
    pthread_mutex_unlock(&store->lock);
}

void ph_object_unname(struct ph_posix_store *store, struct ph_object *object, struct ph_object *parent,
                      const char *name, struct ph_fd *pin)
{
    pthread_mutex_lock(&store->lock);
    bool ours = object->parent == parent && object->name != NULL && strcmp(object->name, name) == 0;
    if (ours) {
        ref_locked(store, object);
        unref_locked(store, detach(object));
        if (pin != NULL && object->pin == NULL && store->pins < PH_STORE_PINS_MAX) {
            object->pin = g_steal_pointer(&pin);
            store->pins++;
        }
        unref_locked(store, object);
    }
    pthread_mutex_unlock(&store->lock);
    ph_fd_unref(pin);
}

static void forget_oldest_removed(struct ph_posix_store *store)
{
    struct ph_object *oldest = g_queue_pop_head(&store->lately_removed);
    oldest->remembered = false;
    if (oldest->handles == NULL)
        gone(store, oldest);
    else /* until the last of them is closed */
        drop_fds(store, oldest);
    unref_locked(store, oldest);
}

void ph_objects_forget_removed(struct ph_posix_store *store)
{
    pthread_mutex_lock(&store->lock);
    while (store->lately_removed.length > 0)
        forget_oldest_removed(store);
    pthread_mutex_unlock(&store->lock);
}

/* Keeps what somebody may still work in or have open on his own machine (a
 * directory, a fifo, a device) by PIN, which is taken, until newer ones push it out. */
static void remember_removed(struct ph_posix_store *store, struct ph_object *object, struct ph_fd *pin)
{
    object->pin = pin;
    object->remembered = true;
    store->pins++;
    row_remove(store, object);
    ref_locked(store, object);
    g_queue_push_tail(&store->lately_removed, object);
    while (store->lately_removed.length > PH_STORE_LATELY_REMOVED_MAX)
        forget_oldest_removed(store);
}

static void removed_locked(struct ph_posix_store *store, struct ph_object *object, bool orphan,
                           struct ph_fd **pin)
{
    ref_locked(store, object);
    object->removed = true;
    object->orphan = orphan;
    unref_locked(store, detach(object));
    if (object->handles != NULL)
        row_remove(store, object);
    else if (*pin != NULL && object->pin == NULL && store->pins < PH_STORE_PINS_MAX)
        remember_removed(store, object, g_steal_pointer(pin));
    else if (!object->remembered)
        gone(store, object);
    unref_locked(store, object);
}

void ph_object_removed(struct ph_posix_store *store, struct ph_object *object, bool orphan, struct ph_fd *pin)
{
    pthread_mutex_lock(&store->lock);
    removed_locked(store, object, orphan, &pin);
    pthread_mutex_unlock(&store->lock);
    ph_fd_unref(pin);
}

static struct ph_object *first_child(const struct ph_object *object)
{
    return object->directory != NULL ? object->directory->children : NULL;
}

void ph_object_tree_removed(struct ph_posix_store *store, struct ph_object *object, struct ph_fd *pin)
{
    struct ph_fd *none = NULL;
    pthread_mutex_lock(&store->lock);
    for (struct ph_object *at = object; first_child(object) != NULL;) {
        while (first_child(at) != NULL)
            at = first_child(at);
        struct ph_object *leaf = at;
        at = leaf->parent->listed ? leaf->parent : object; /* what is listed stays while the lock is held */
        leaf->blocks = 0;                                  /* the trash accounts for what it deletes */
        removed_locked(store, leaf, false, &none);
    }
    object->blocks = 0;
    removed_locked(store, object, false, &pin);
    pthread_mutex_unlock(&store->lock);
    ph_fd_unref(pin);
}
