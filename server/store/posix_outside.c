/* What the store knows of a file that somebody else changed on its disk. */
#include "server/store/posix_internal.h"

#include "server/store/posix.h"

uint64_t ph_posix_outside(struct ph_store *shell, uint64_t dev, uint64_t ino)
{
    struct ph_posix_store *store = shell->self;
    struct ph_identity key = {.dev = dev, .ino = ino};
    pthread_mutex_lock(&store->lock);
    const struct ph_object *object = ph_object_identified(store, &key);
    uint64_t id = object != NULL ? object->id : 0;
    bool evicted = store->evicted;
    pthread_mutex_unlock(&store->lock);
    /* A client may still cache what memory had no room for any more. */
    return id == 0 && evicted ? ph_object_id_of_entry(store, dev, ino) : id;
}
