#include "client/fuse/buffers.h"

#include <glib.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    PAGE_BYTES = 4096,
    STEAL_FROM_BYTES = 32 * 1024, /* copying less costs less than touching a fresh buffer */
};

struct ph_buffers {
    _Atomic int refs;
    size_t size;
    unsigned keep, kept;
    pthread_mutex_t mutex;
    void *free[];
};

/* What the calling thread reads into. */
static _Thread_local struct ph_buffers *own_pool;
static _Thread_local void *own_buffer;

/* Owner of a stolen buffer. */
struct stolen {
    struct ph_buffers *pool;
    void *buffer;
};

struct ph_buffers *ph_buffers_new(size_t size, unsigned keep)
{
    struct ph_buffers *buffers = g_malloc0(sizeof *buffers + keep * sizeof buffers->free[0]);
    atomic_init(&buffers->refs, 1);
    buffers->size = size;
    buffers->keep = keep;
    pthread_mutex_init(&buffers->mutex, NULL);
    return buffers;
}

void ph_buffers_unref(struct ph_buffers *buffers)
{
    if (buffers == NULL || atomic_fetch_sub(&buffers->refs, 1) != 1)
        return;
    for (unsigned i = 0; i < buffers->kept; i++)
        free(buffers->free[i]);
    pthread_mutex_destroy(&buffers->mutex);
    g_free(buffers);
}

void *ph_buffers_get(struct ph_buffers *buffers)
{
    void *buffer = NULL;
    pthread_mutex_lock(&buffers->mutex);
    if (buffers->kept > 0)
        buffer = buffers->free[--buffers->kept];
    pthread_mutex_unlock(&buffers->mutex);
    if (buffer == NULL && posix_memalign(&buffer, PAGE_BYTES, buffers->size) != 0)
        return NULL;
    return buffer;
}

void ph_buffers_put(struct ph_buffers *buffers, void *buffer)
{
    pthread_mutex_lock(&buffers->mutex);
    if (buffer != NULL && buffers->kept < buffers->keep) {
        buffers->free[buffers->kept++] = buffer;
        buffer = NULL;
    }
    pthread_mutex_unlock(&buffers->mutex);
    free(buffer);
}

void ph_buffers_reading(struct ph_buffers *buffers, void *buffer)
{
    own_pool = buffers;
    own_buffer = buffer;
}

void *ph_buffers_current(void)
{
    return own_buffer;
}

static void release_stolen(void *owner)
{
    struct stolen *stolen = owner;
    ph_buffers_put(stolen->pool, stolen->buffer);
    ph_buffers_unref(stolen->pool);
    g_free(stolen);
}

struct ph_blob *ph_buffers_steal(const void *data, size_t len)
{
    if (len < STEAL_FROM_BYTES || own_buffer == NULL)
        return ph_blob_copy(data, len);
    struct stolen *stolen = g_new(struct stolen, 1);
    stolen->pool = own_pool;
    stolen->buffer = own_buffer;
    atomic_fetch_add(&own_pool->refs, 1);
    own_buffer = NULL;
    struct ph_blob *blob = ph_blob_wrap((uint8_t *) (uintptr_t) data, len, release_stolen, stolen);
    if (blob == NULL)
        release_stolen(stolen);
    else
        blob->capacity = (size_t) ((uint8_t *) stolen->buffer + stolen->pool->size - blob->data);
    return blob;
}
