#include "client/core/reclaim.h"

#include <stdlib.h>

static void free_entry(struct ph_lru_entry *entry)
{
    free(entry);
}

void ph_reclaim_init(struct ph_reclaim *reclaim)
{
    ph_lru_init(&reclaim->table);
}

void ph_reclaim_clear(struct ph_reclaim *reclaim)
{
    ph_lru_clear(&reclaim->table, free_entry);
}

void ph_reclaim_add(void *data, const struct ph_claim *claim)
{
    struct ph_reclaim *reclaim = data;
    if (ph_lru_find(&reclaim->table, claim->object))
        return;
    struct ph_reclaimed *reclaimed = calloc(1, sizeof(*reclaimed));
    if (!reclaimed)
        abort();
    reclaimed->claim = *claim;
    ph_lru_add(&reclaim->table, &reclaimed->lru, claim->object);
}

struct ph_claim *ph_reclaim_list(const struct ph_reclaim *reclaim, size_t *count)
{
    struct ph_claim *claims = calloc(reclaim->table.count + 1, sizeof(*claims));
    if (!claims)
        abort();
    *count = 0;
    for (const struct ph_reclaimed *at = ph_reclaim_first(reclaim); at; at = ph_reclaim_next(at))
        claims[(*count)++] = at->claim;
    return claims;
}

void ph_reclaim_grant(struct ph_reclaim *reclaim, const Pohmel__ReclaimReply *reply)
{
    for (size_t i = 0; i < reply->n_grants; i++) {
        struct ph_reclaimed *reclaimed =
            (struct ph_reclaimed *) ph_lru_find(&reclaim->table, reply->grants[i]->object);
        if (!reclaimed)
            continue;
        reclaimed->lease = reply->grants[i]->lease;
        reclaimed->mode = reply->grants[i]->mode;
    }
}

const struct ph_reclaimed *ph_reclaim_first(const struct ph_reclaim *reclaim)
{
    return (const struct ph_reclaimed *) reclaim->table.oldest;
}

const struct ph_reclaimed *ph_reclaim_next(const struct ph_reclaimed *reclaimed)
{
    return (const struct ph_reclaimed *) reclaimed->lru.newer;
}
