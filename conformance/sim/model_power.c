/* What of the model store is stable, and the loss of the rest: of all that was done since it was made stable
 * a legal part is left. */
#include <string.h>
#include <sys/stat.h>

#include "conformance/sim/model_private.h"
#include "runtime/base/limits.h"
#include "runtime/base/mutant.h"

/* The journal of the disk has one order: who is made stable takes along what was changed before. */
enum { IN_ORDER_PER_MILLE = 500, END_MARK_STABLE_PER_MILLE = 500 };

static void free_objects(void *objects)
{
    g_hash_table_unref(objects);
}

void model_power_init(struct model_store *store)
{
    store->states = g_ptr_array_new_with_free_func(free_objects);
    store->floors = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
    store->lost_ids = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
}

void model_power_clear(struct model_store *store)
{
    g_ptr_array_unref(store->states);
    g_hash_table_unref(store->floors);
    g_hash_table_unref(store->lost_ids);
}

void model_store_may_lose_power(struct model_store *store)
{
    store->keeps_states = TRUE;
}

void model_power_changed(struct model_store *store, GHashTable *before)
{
    g_ptr_array_add(store->states, before);
}

/* The objects as they were when so many changes had been made since all was stable. */
static GHashTable *state(const struct model_store *store, guint changes)
{
    return changes < store->states->len ? store->states->pdata[changes] : store->objects;
}

void model_power_all_stable(struct model_store *store)
{
    g_ptr_array_set_size(store->states, 0);
    g_hash_table_remove_all(store->floors);
    store->names_floor = store->last_floor = 0;
}

void model_power_synced(struct model_store *store, const Pohmel__SyncRequest *request)
{
    if (!store->keeps_states || PH_MUTANT(STABLE_EARLY))
        return;
    if (request->tree && request->object == PH_OBJECT_ROOT) {
        model_power_all_stable(store);
        return;
    }
    const uint64_t inode = model_find(store, request->object)->inode;
    g_hash_table_insert(store->floors, g_memdup2(&inode, sizeof(inode)),
                        GUINT_TO_POINTER(store->states->len));
    store->last_floor = store->states->len;
    if (request->handle == 0)
        store->names_floor = store->states->len;
}

static guint floor_of(struct model_store *store, const struct model_object *object)
{
    return GPOINTER_TO_UINT(g_hash_table_lookup(store->floors, &object->inode));
}

/* One of FROM to all. */
static guint some(struct model_store *store, struct ph_random *random, guint from)
{
    return from + (guint) ph_random_below(random, store->states->len - from + 1);
}

/* What FILE, whose name is as of some moment, has in it: as of another one, since it was made stable itself.
 */
static void choose_data(struct model_store *store, struct ph_random *random, struct model_object *file)
{
    const struct model_object *source = NULL;
    for (guint at = some(store, random, floor_of(store, file)) + 1; at > 0 && !source; at--)
        source = model_of_inode(state(store, at - 1), file->inode);
    if (source)
        memcpy(file->data, source->data, sizeof(file->data));
    else
        memset(file->data, 0, sizeof(file->data));
    file->size = source ? source->size : 0;
}

static void choose_attributes(struct model_store *store, struct model_object *object, guint names)
{
    guint at = MAX(names, floor_of(store, object));
    const struct model_object *source = model_of_inode(state(store, at), object->inode);
    if (!source || object->entries)
        return;
    object->uid = source->uid;
    object->mode = source->mode;
    object->version = MAX(object->version, source->version);
}

static gboolean is_gone(gpointer id, gpointer value, gpointer data)
{
    const struct model_object *object = value;
    (void) id, (void) data;
    return object->links == 0 && object->id != PH_OBJECT_ROOT;
}

void model_store_lose_power(struct model_store *store, struct ph_random *random)
{
    model_several_lose_power(store, store->undo.done && store->undo.before->len > 0 &&
                                        ph_random_chance(random, END_MARK_STABLE_PER_MILLE));
    guint least = ph_random_chance(random, IN_ORDER_PER_MILLE) ? store->last_floor : 0;
    guint names = some(store, random, MAX(store->names_floor, least));
    GHashTable *left = model_copy_objects(state(store, names));
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, left);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        struct model_object *object = value;
        if (S_ISREG(object->mode))
            choose_data(store, random, object);
        choose_attributes(store, object, names);
    }
    g_hash_table_foreach_remove(left, is_gone, NULL);
    model_ids_lose(store, left, state(store, some(store, random, store->last_floor)));
    g_hash_table_unref(store->objects);
    store->objects = left;
    g_array_set_size(store->handles, 0);
    g_ptr_array_set_size(store->records, 0);
    model_power_all_stable(store);
    store->broken = TRUE;
    store->unbroken = store->epoch + 1; /* the start to come */
}

bool model_power_continued(void *self)
{
    const struct model_store *store = self;
    return !store->broken;
}

uint64_t model_power_unbroken(void *self)
{
    const struct model_store *store = self;
    return store->unbroken;
}

bool model_power_made_before(struct model_store *store, const struct model_entry *entry, uint64_t id,
                             uint32_t type)
{
    const struct model_object *object = model_find(store, entry->object);
    return store->unbroken > 1 && object->id == id && (object->mode & S_IFMT) == type;
}
