/* Bulk bytes, counted by reference: received straight into one, handed from
 * thread to thread, written out from it, never copied between. */
#ifndef PH_BASE_BLOB_H
#define PH_BASE_BLOB_H

#include <stddef.h>
#include <stdint.h>

struct ph_blob {
    uint8_t *data;
    size_t len;      /* bytes that count */
    size_t capacity; /* bytes that DATA has room for */
    /* private */
    int refs;
    void (*release)(void *owner);
    void *owner;
};

/* New blob with room for CAPACITY bytes and len 0. NULL when memory is short. Starts with one reference. */
struct ph_blob *ph_blob_new(size_t capacity);

/* New blob that holds LEN bytes like those at DATA (NULL for none is fine), and no more room. NULL when
 * memory is short. Starts with one reference. */
struct ph_blob *ph_blob_copy(const void *data, size_t len);

/* Blob over memory of somebody else; RELEASE(OWNER) is called with the last reference. */
struct ph_blob *ph_blob_wrap(uint8_t *data, size_t len, void (*release)(void *owner), void *owner);

/* One more reference; returns BLOB. Any thread. */
struct ph_blob *ph_blob_ref(struct ph_blob *blob);

/* One reference less; NULL is fine. Any thread. */
void ph_blob_unref(struct ph_blob *blob);

#endif
