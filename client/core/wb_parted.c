/* Objects that were held exclusively a while ago. An answer may have been made at the server before something
 * was written back of one, and come when its lease has gone: the attributes in it are older than what
 * programs have seen already, and nothing else is left here that knows. */
#include "client/core/wb_parted.h"

#include <stdlib.h>

enum { PARTED_MAX = 1024 }; /* the latest; answers that are under way for longer than that are rare */

struct parted {
    struct ph_lru_entry lru; /* object */
    struct ph_cached_attr attr;
    uint64_t lease;
    uint64_t server_version, clock; /* that the server told last; when the lease went */
    bool moved;                     /* what was written back since did not tell its version */
};

static void free_parted(struct ph_lru_entry *entry)
{
    free(WB_OF(entry, struct parted, lru));
}

void wb_part(struct ph_wb *wb, const struct wb_object *o)
{
    struct ph_lru_entry *entry = ph_lru_find(&wb->parted, o->lru.key);
    if (entry != NULL) {
        ph_lru_remove(&wb->parted, entry);
        free_parted(entry);
    }
    /* What is known of a directory does not stand for a moment. */
    if (!o->exclusive || !o->known || o->stale || o->suspect || o->dead || o->lease == 0 ||
        S_ISDIR(o->attr.mode) || !wb_links_known(wb, o) || wb->calls.count == 0)
        return;
    struct parted *parted = wb_alloc(sizeof(*parted));
    parted->attr = o->attr;
    parted->lease = o->lease;
    parted->server_version = o->server_version;
    parted->moved = o->moved;
    parted->clock = wb->clock;
    ph_lru_add(&wb->parted, &parted->lru, o->lru.key);
    if (wb->parted.count <= PARTED_MAX)
        return;
    struct ph_lru_entry *oldest = wb->parted.oldest;
    ph_lru_remove(&wb->parted, oldest);
    free_parted(oldest);
}

/* Whether CALL itself may have changed OBJECT. */
static bool may_change(const struct ph_wb_call *call, uint64_t object)
{
    for (unsigned i = 0; i < call->busy_count; i++)
        if (call->busy[i]->lru.key == object)
            return true;
    return call->blind;
}

void wb_parted_patch(const struct ph_wb *wb, const struct ph_wb_call *call, Pohmel__Attr *attr)
{
    const struct ph_lru_entry *entry = ph_lru_find(&wb->parted, attr->object);
    const struct parted *parted = entry != NULL ? WB_OF(entry, struct parted, lru) : NULL;
    if (parted == NULL || call->clock >= parted->clock || may_change(call, attr->object))
        return;
    /* Names that are made and taken away do not tell versions; but nobody else changed anything under that
     * lease, and all that we did was done when it went. */
    bool under_it = attr->lease == parted->lease && attr->lease_mode == POHMEL__LEASE_MODE__MODE_EXCLUSIVE;
    bool before_it =
        attr->version < parted->server_version || (attr->version == parted->server_version && parted->moved);
    if (!under_it && !before_it)
        return;
    uint64_t version = attr->version;
    const struct wb_object last = {.attr = parted->attr};
    wb_patch(&last, attr);
    attr->version = version;
}

void wb_parted_clear(struct ph_wb *wb)
{
    wb_parted_free(wb);
    ph_lru_init(&wb->parted);
}

void wb_parted_free(struct ph_wb *wb)
{
    ph_lru_clear(&wb->parted, free_parted);
}
