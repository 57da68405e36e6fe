/* Where objects lie, for people. */
#include <string.h>

#include "server/store/posix.h"
#include "server/store/posix_internal.h"

/* Writes the path of OBJECT, which ends behind OUT + SIZE, from its end. Returns where it begins; SIZE for a
 * path that is not known or does not fit. With the store's lock. */
static size_t write_path(const struct ph_posix_store *store, const struct ph_object *object, char *out,
                         size_t size)
{
    size_t start = size;

    if (object == store->root && size > 0)
        out[--start] = '/';
    for (; object != store->root; object = object->parent) {
        size_t len = object->name == NULL ? 0 : strlen(object->name);

        if (object->parent == NULL || object->removed || start < len + 1)
            return size;
        start -= len;
        memcpy(out + start, object->name, len);
        out[--start] = '/';
    }
    return start;
}

bool ph_posix_path(struct ph_store *shell, uint64_t id, char *out, size_t size)
{
    struct ph_posix_store *store = shell->self;
    const struct ph_object *object;
    size_t start = size - 1;

    out[size - 1] = '\0';
    pthread_mutex_lock(&store->lock);
    object = g_hash_table_lookup(store->by_id, &id);
    if (object != NULL)
        start = write_path(store, object, out, size - 1);
    pthread_mutex_unlock(&store->lock);
    memmove(out, out + start, size - start);
    return start < size - 1;
}
