#include "client/fuse/open_file.h"

#include <stdatomic.h>

#include "client/fuse/groups.h"
#include "client/fuse/listing.h"
#include "client/fuse/writeback.h"
#include "ph_stubs.h"

struct ph_open *ph_open_new(struct ph_mount *mount, uint64_t object, uint64_t handle)
{
    struct ph_open *open = g_new0(struct ph_open, 1);
    open->mount = mount;
    open->object = object;
    open->handle = handle;
    pthread_mutex_init(&open->mutex, NULL);
    atomic_init(&open->refs, 1);
    return open;
}

struct ph_open *ph_open_ref(struct ph_open *open)
{
    if (open != NULL)
        atomic_fetch_add(&open->refs, 1);
    return open;
}

void ph_open_unref(struct ph_open *open)
{
    if (open == NULL || atomic_fetch_sub(&open->refs, 1) != 1)
        return;
    ph_listing_free(open->listing);
    ph_listing_free(open->gathered);
    ph_blob_unref(open->data);
    ph_groups_unref(open->opener.groups);
    pthread_mutex_destroy(&open->mutex);
    g_free(open);
}

void ph_open_keep_data(struct ph_open *open, struct ph_blob *data, const struct ph_cache_ask *ask)
{
    pthread_mutex_lock(&open->mutex);
    ph_blob_unref(open->data);
    open->data = data != NULL ? ph_blob_ref(data) : NULL;
    if (ask != NULL)
        open->data_ask = *ask;
    pthread_mutex_unlock(&open->mutex);
}

struct ph_blob *ph_open_data(struct ph_open *open, struct ph_cache_ask *ask)
{
    pthread_mutex_lock(&open->mutex);
    struct ph_blob *data = open->data != NULL ? ph_blob_ref(open->data) : NULL;
    *ask = open->data_ask;
    pthread_mutex_unlock(&open->mutex);
    return data;
}

bool ph_open_alive(struct ph_mount *mount, struct ph_open *open)
{
    uint64_t generation = ph_link_generation(mount->link);
    if (open->handle == 0 || open->generation == generation)
        return true;
    bool alive = (mount->writeback != NULL && ph_writeback_has_handle(mount->writeback, open->handle)) ||
                 ph_link_has_handle(mount->link, open->handle);
    if (alive)
        open->generation = generation;
    return alive;
}

static void closed(void *data, const struct ph_reply *reply)
{
    /* Whatever the answer: the handle is gone, here and, with the session at the latest, there. */
}

void ph_open_send_close(struct ph_mount *mount, uint64_t object, uint64_t handle)
{
    Pohmel__CloseRequest message = POHMEL__CLOSE_REQUEST__INIT;
    message.handle = handle;
    message.object = object;
    ph_send_close(mount->stub, &message, NULL, closed, NULL);
}
