/* Ids that were lost with power. The database that says which id a file has is made stable by SYNC only, the
 * names by themselves as well (docs/decisions/0015-owned.md): a file may survive whose id did not, and is
 * known by its inode then, as one that a local program made; and the database may know an id whose file is
 * gone. */
#include <string.h>
#include <sys/stat.h>

#include "conformance/sim/model_private.h"
#include "runtime/base/limits.h"
#include "runtime/base/mutant.h"

struct model_object *model_of_inode(GHashTable *objects, uint64_t inode)
{
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, objects);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        struct model_object *object = value;
        if (object->inode == inode)
            return object;
    }
    return NULL;
}

/* Entries that stand for OLD stand for NEW. */
static void name_anew(GHashTable *objects, uint64_t old, uint64_t new)
{
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, objects);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const struct model_object *directory = value;
        for (guint i = 0; directory->entries && i < directory->entries->len; i++) {
            struct model_entry *entry = directory->entries->pdata[i];
            entry->object = entry->object == old ? new : entry->object;
        }
    }
}

static void set_id(GHashTable *objects, struct model_object *object, uint64_t id)
{
    name_anew(objects, object->id, id);
    g_hash_table_steal(objects, &object->id);
    object->id = id;
    g_hash_table_insert(objects, &object->id, object);
}

static void use_ids(struct model_store *store, GHashTable *objects)
{
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, objects);
    while (g_hash_table_iter_next(&iter, NULL, &value))
        g_hash_table_add(store->used, g_memdup2(&((struct model_object *) value)->id, sizeof(uint64_t)));
}

void model_ids_lose(struct model_store *store, GHashTable *left, GHashTable *rows)
{
    g_autoptr(GList) objects = g_hash_table_get_values(left);
    for (GList *at = objects; at; at = at->next) {
        struct model_object *object = at->data;
        const struct model_object *row = model_of_inode(rows, object->inode);
        uint64_t id = row ? row->id : object->inode;
        if (id == object->id)
            continue;
        g_hash_table_insert(store->lost_ids, g_memdup2(&object->inode, sizeof(object->inode)),
                            g_memdup2(&object->id, sizeof(object->id)));
        set_id(left, object, id);
    }
    g_hash_table_remove_all(store->used);
    use_ids(store, left);
    use_ids(store, rows);
}

uint64_t model_store_lost_id(const struct model_store *store, uint64_t inode)
{
    const uint64_t *id = g_hash_table_lookup(store->lost_ids, &inode);
    return id ? *id : 0;
}

guint model_store_ids_lost(const struct model_store *store)
{
    return g_hash_table_size(store->lost_ids);
}

gboolean model_store_has_lost(const struct model_store *store, uint64_t object)
{
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, store->lost_ids);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        if (*(const uint64_t *) value == object)
            return TRUE;
    }
    return FALSE;
}

static gboolean is_open(const struct model_store *store, uint64_t object)
{
    for (guint i = 0; i < store->handles->len; i++) {
        if (g_array_index(store->handles, struct model_handle, i).object == object)
            return TRUE;
    }
    return FALSE;
}

bool model_adopt(struct model_store *store, const struct model_entry *entry, uint64_t id, uint32_t type,
                 uint64_t survivor)
{
    struct model_object *object = model_find(store, entry->object);
    if (survivor == 0 || object->id >= PH_OBJECT_GIVEN_FIRST || (object->mode & S_IFMT) != type ||
        is_open(store, object->id) || model_find(store, id))
        return false;
    if (object->version > survivor && !PH_MUTANT(ADOPT_ANY))
        return false;
    g_hash_table_add(store->used, g_memdup2(&id, sizeof(id)));
    set_id(store->objects, object, id);
    return true;
}

/* --- What others put there while the server is down --- */

/* Whether OBJECT has a name besides NAME of DIRECTORY, among OBJECTS. */
static gboolean is_elsewhere(GHashTable *objects, uint64_t object, uint64_t directory,
                             ProtobufCBinaryData name)
{
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, objects);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const struct model_object *parent = value;
        const struct model_entry *there =
            parent->entries && parent->id == directory ? model_entry(parent, name) : NULL;
        for (guint i = 0; parent->entries && i < parent->entries->len; i++) {
            const struct model_entry *entry = parent->entries->pdata[i];
            if (entry->object == object && entry != there)
                return TRUE;
        }
    }
    return FALSE;
}

static gboolean was_elsewhere(const struct model_store *store, uint64_t object, uint64_t directory,
                              ProtobufCBinaryData name)
{
    for (guint at = 0; at < store->states->len; at++) {
        if (is_elsewhere(store->states->pdata[at], object, directory, name))
            return TRUE;
    }
    return is_elsewhere(store->objects, object, directory, name);
}

/* What NAME stands for among OBJECTS; 0: nothing. */
static uint64_t stands_for(GHashTable *objects, uint64_t directory, ProtobufCBinaryData name)
{
    const struct model_object *parent = g_hash_table_lookup(objects, &directory);
    const struct model_entry *entry = parent ? model_entry(parent, name) : NULL;
    return entry ? entry->object : 0;
}

gboolean model_store_may_take(struct model_store *store, uint64_t directory, ProtobufCBinaryData name,
                              uint64_t *object)
{
    gboolean was_there = FALSE;
    *object = stands_for(store->objects, directory, name);
    if (*object != 0 && was_elsewhere(store, *object, directory, name))
        return FALSE;
    for (guint at = 0; at < store->states->len; at++) {
        uint64_t then = stands_for(store->states->pdata[at], directory, name);
        if (then != 0 && then != *object &&
            (model_find(store, then) || was_elsewhere(store, then, directory, name)))
            return FALSE;
        was_there |= then != 0;
    }
    return was_there || *object != 0;
}

uint64_t model_store_put(struct model_store *store, uint64_t directory, ProtobufCBinaryData name)
{
    struct model_object *parent = model_find(store, directory);
    if (!parent || model_entry(parent, name))
        return 0;
    struct model_object *file = model_add_found(store);
    model_link(store, parent, name, file);
    return file->id;
}
