/* The data of small files that came with a LOOKUP, for who opens them next: nothing has to be asked of the
 * server then. Whether the next LOOKUP is to bring any is foretold by what became of the last ones.
 * docs/decisions/0029. Thread safe. */
#ifndef PH_CLIENT_FUSE_BROUGHT_H
#define PH_CLIENT_FUSE_BROUGHT_H

#include <stdbool.h>
#include <stdint.h>

#include "client/core/cache.h"
#include "runtime/base/blob.h"

struct ph_brought;

/* Nothing yet; never NULL. */
struct ph_brought *ph_brought_new(void);

/* NULL is fine. */
void ph_brought_free(struct ph_brought *brought);

/* How many bytes of a file the next LOOKUP is to bring at most (LookupRequest.data_max); 0 where those that
 * came before were not read. */
uint32_t ph_brought_wanted(struct ph_brought *brought);

/* DATA is all that OBJECT holds as long as it is not changed since ASK; a reference is taken. */
void ph_brought_put(struct ph_brought *brought, uint64_t object, struct ph_blob *data,
                    const struct ph_cache_ask *ask);

/* What was put for OBJECT, which is about to be read, and with it *ASK: the reference is the caller's, and it
 * is not kept any longer. NULL where nothing is. */
struct ph_blob *ph_brought_take(struct ph_brought *brought, uint64_t object, struct ph_cache_ask *ask);

/* A small file had to be opened at the server to be read. */
void ph_brought_missed(struct ph_brought *brought);

#endif
