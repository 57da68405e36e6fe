#include "runtime/base/blob.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Blobs of bulk size are kept for the next one: giving 1 MiB back to the
 * kernel and faulting it in again costs more than the transfer of it. Sizes
 * are powers of two, so that a freed one fits the next request. A sanitizer
 * must see each blob end, so it gets no cache. */
#if defined(__SANITIZE_ADDRESS__)
#define KEEP_BYTES 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer)
#define KEEP_BYTES 0
#endif
#endif
#ifndef KEEP_BYTES
#define KEEP_BYTES (32 * 1024 * 1024)
#endif

enum {
    ALIGN_SMALL = 64,
    ALIGN_PAGE = 4096, /* same phase as the page payloads of files: copies between them are fast */
    CLASS_BITS_MIN = 15,
    CLASS_BITS_MAX = 20,
    CLASSES = CLASS_BITS_MAX - CLASS_BITS_MIN + 1,
};

_Static_assert(sizeof(struct ph_blob) <= ALIGN_SMALL, "the head of a small blob ends where its data begin");

static struct {
    pthread_mutex_t mutex;
    struct ph_blob *free[CLASSES]; /* linked through `owner` */
    size_t bytes;
} cache = {.mutex = PTHREAD_MUTEX_INITIALIZER};

/* Class of a blob with room for CAPACITY bytes, -1 for those that are not kept. */
static int class_of(size_t capacity)
{
    if (capacity <= ((size_t) 1 << CLASS_BITS_MIN) / 2 || capacity > (size_t) 1 << CLASS_BITS_MAX)
        return -1;
    int class = 0;
    while ((size_t) 1 << (CLASS_BITS_MIN + class) < capacity)
        class ++;
    return class;
}

static struct ph_blob *cache_get(int class)
{
    pthread_mutex_lock(&cache.mutex);
    struct ph_blob *blob = cache.free[class];
    if (blob != NULL) {
        cache.free[class] = blob->owner;
        cache.bytes -= blob->capacity;
    }
    pthread_mutex_unlock(&cache.mutex);
    return blob;
}

/* Whether the cache took BLOB. */
static int cache_put(int class, struct ph_blob *blob)
{
    pthread_mutex_lock(&cache.mutex);
    int fits = cache.bytes + blob->capacity <= KEEP_BYTES;
    if (fits) {
        cache.bytes += blob->capacity;
        blob->owner = cache.free[class];
        cache.free[class] = blob;
    }
    pthread_mutex_unlock(&cache.mutex);
    return fits;
}

/* Head in front of the data: one cache line more. */
static struct ph_blob *small_new(size_t capacity)
{
    uint8_t *memory = NULL;
    if (posix_memalign((void **) &memory, ALIGN_SMALL, ALIGN_SMALL + capacity) != 0)
        return NULL;
    struct ph_blob *blob = (struct ph_blob *) memory;
    blob->data = memory + ALIGN_SMALL;
    return blob;
}

/* Head behind the data, so that these are whole pages from a page's start. */
static struct ph_blob *large_new(size_t capacity)
{
    uint8_t *memory = NULL;
    if (posix_memalign((void **) &memory, ALIGN_PAGE, capacity + sizeof(struct ph_blob)) != 0)
        return NULL;
    struct ph_blob *blob = (struct ph_blob *) (memory + capacity);
    blob->data = memory;
    return blob;
}

struct ph_blob *ph_blob_new(size_t capacity)
{
    if (capacity > SIZE_MAX / 2)
        return NULL;
    int class = class_of(capacity);
    struct ph_blob *blob = NULL;
    if (class >= 0) {
        capacity = (size_t) 1 << (CLASS_BITS_MIN + class);
        blob = cache_get(class);
    }
    if (blob == NULL && capacity < ALIGN_PAGE) {
        blob = small_new(capacity);
    } else if (blob == NULL) {
        capacity = (capacity + ALIGN_SMALL - 1) & ~(size_t) (ALIGN_SMALL - 1);
        blob = large_new(capacity);
    }
    if (blob == NULL)
        return NULL;
    blob->len = 0;
    blob->capacity = capacity;
    blob->refs = 1;
    blob->release = NULL;
    blob->owner = NULL;
    return blob;
}

static void release_nothing(void *owner)
{
    (void) owner;
}

struct ph_blob *ph_blob_copy(const void *data, size_t len)
{
    struct ph_blob *blob = ph_blob_new(len);
    if (blob == NULL)
        return NULL;
    if (len > 0)
        memcpy(blob->data, data, len);
    blob->len = len;
    return blob;
}

struct ph_blob *ph_blob_wrap(uint8_t *data, size_t len, void (*release)(void *owner), void *owner)
{
    struct ph_blob *blob = malloc(sizeof *blob);
    if (blob == NULL)
        return NULL;
    *blob = (struct ph_blob){
        .data = data,
        .len = len,
        .capacity = len,
        .refs = 1,
        .release = release != NULL ? release : release_nothing,
        .owner = owner,
    };
    return blob;
}

struct ph_blob *ph_blob_ref(struct ph_blob *blob)
{
    __atomic_add_fetch(&blob->refs, 1, __ATOMIC_RELAXED);
    return blob;
}

void ph_blob_unref(struct ph_blob *blob)
{
    if (blob == NULL || __atomic_sub_fetch(&blob->refs, 1, __ATOMIC_ACQ_REL) != 0)
        return;
    if (blob->release != NULL) {
        blob->release(blob->owner);
        free(blob);
        return;
    }
    int class = class_of(blob->capacity);
    if (class >= 0 && cache_put(class, blob))
        return;
    free(blob->capacity < ALIGN_PAGE ? (void *) blob : (void *) blob->data);
}
