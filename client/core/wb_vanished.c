/* Objects that were made and removed here without the server's ever knowing of them. Somebody may still have
 * a directory open, or be in it, or hold a path on anything: what it is then is known here alone. */
#include <stdlib.h>

#include "client/core/wb_private.h"

enum { VANISHED_MAX = 1024 }; /* the latest; of older ones it is not told any more */

struct vanished {
    struct ph_lru_entry lru; /* object */
    struct ph_cached_attr attr;
};

static void free_vanished(struct ph_lru_entry *entry)
{
    free(WB_OF(entry, struct vanished, lru));
}

void wb_vanished_add(struct ph_wb *wb, const struct wb_object *o)
{
    if (ph_lru_find(&wb->vanished, o->lru.key) != NULL)
        return;
    struct vanished *vanished = wb_alloc(sizeof(*vanished));
    vanished->attr = o->attr;
    vanished->attr.links = 0;
    ph_lru_add(&wb->vanished, &vanished->lru, o->lru.key);
    if (wb->vanished.count <= VANISHED_MAX)
        return;
    struct ph_lru_entry *oldest = wb->vanished.oldest;
    ph_lru_remove(&wb->vanished, oldest);
    free_vanished(oldest);
}

const struct ph_cached_attr *wb_vanished_find(const struct ph_wb *wb, uint64_t object)
{
    struct ph_lru_entry *entry = ph_lru_find(&wb->vanished, object);
    return entry != NULL ? &WB_OF(entry, struct vanished, lru)->attr : NULL;
}

void wb_vanished_clear(struct ph_wb *wb)
{
    ph_lru_clear(&wb->vanished, free_vanished);
}
