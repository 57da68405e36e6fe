#include "server/store/reserves.h"

#include <stdlib.h>

enum { SHARE = 4 }; /* of what is left, that one session gets ahead of need */

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static struct ph_reserve *find(const struct ph_reserves *reserves, uint64_t session)
{
    for (size_t i = 0; i < reserves->count; i++)
        if (reserves->items[i].session == session)
            return &reserves->items[i];
    return NULL;
}

static void put(struct ph_reserves *reserves, uint64_t session, uint64_t bytes)
{
    struct ph_reserve *reserve = find(reserves, session);
    if (reserve == NULL && bytes == 0)
        return;
    if (reserve == NULL && reserves->count == reserves->capacity) {
        reserves->capacity = reserves->capacity > 0 ? 2 * reserves->capacity : 8;
        reserves->items = realloc(reserves->items, reserves->capacity * sizeof(*reserves->items));
        if (reserves->items == NULL)
            abort();
    }
    if (reserve == NULL) {
        reserve = &reserves->items[reserves->count++];
        *reserve = (struct ph_reserve){.session = session};
    }
    reserves->total += bytes - reserve->bytes;
    reserve->bytes = bytes;
    if (bytes == 0)
        *reserve = reserves->items[--reserves->count];
}

void ph_reserves_clear(struct ph_reserves *reserves)
{
    free(reserves->items);
    *reserves = (struct ph_reserves){0};
}

uint64_t ph_reserves_of_others(const struct ph_reserves *reserves, uint64_t session)
{
    const struct ph_reserve *own = find(reserves, session);
    return reserves->total - (own != NULL ? own->bytes : 0);
}

uint64_t ph_reserves_set(struct ph_reserves *reserves, uint64_t session, uint64_t needed, uint64_t more,
                         uint64_t available)
{
    const struct ph_reserve *own = find(reserves, session);
    uint64_t others = ph_reserves_of_others(reserves, session);
    uint64_t left = available > others ? available - others : 0;
    uint64_t wanted = needed <= UINT64_MAX - more ? needed + more : UINT64_MAX;
    uint64_t kept = least(own != NULL ? own->bytes : 0, wanted);
    uint64_t granted = least(needed, left);
    granted += least(wanted - granted, least(more, (left - granted) / SHARE));
    /* What was promised once is not taken back for the sake of a share. */
    granted = granted > kept ? granted : kept;
    put(reserves, session, granted);
    return granted;
}

uint64_t ph_reserves_use(struct ph_reserves *reserves, uint64_t session, uint64_t bytes)
{
    const struct ph_reserve *own = find(reserves, session);
    uint64_t had = own != NULL ? own->bytes : 0, used = least(had, bytes);
    put(reserves, session, had - used);
    return bytes - used;
}

void ph_reserves_end(struct ph_reserves *reserves, uint64_t session)
{
    put(reserves, session, 0);
}
