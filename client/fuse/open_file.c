#include "client/fuse/open_file.h"

#include <stdatomic.h>

#include "client/fuse/listing.h"
#include "ph_stubs.h"

struct ph_open *ph_open_new(uint64_t object, uint64_t handle)
{
    struct ph_open *open = g_new0(struct ph_open, 1);
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
    pthread_mutex_destroy(&open->mutex);
    g_free(open);
}

bool ph_open_alive(struct ph_mount *mount, const struct ph_open *open)
{
    return open->generation == ph_link_generation(mount->link);
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
