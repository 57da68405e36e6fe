/* Space that is promised to sessions for changes in their caches, and to nobody else. Pure; its user
 * holds a lock. docs/protocol.md, section 6.12. */
#ifndef PH_STORE_RESERVES_H
#define PH_STORE_RESERVES_H

#include <stddef.h>
#include <stdint.h>

struct ph_reserve {
    uint64_t session, bytes;
};

struct ph_reserves {
    struct ph_reserve *items; /* each of more than 0 bytes */
    size_t count, capacity;
    uint64_t total; /* bytes of all */
};

/* Frees what RESERVES has; it is empty then. */
void ph_reserves_clear(struct ph_reserves *reserves);

/* SESSION wants NEEDED bytes for what it keeps already, and MORE, of which it is given no larger share of
 * what is left than others can be given as well. AVAILABLE: what is free, promised or not. It loses nothing
 * that it has and goes on asking for. Returns what it has now. */
uint64_t ph_reserves_set(struct ph_reserves *reserves, uint64_t session, uint64_t needed, uint64_t more,
                         uint64_t available);

/* SESSION uses up to BYTES of what it has. Returns how many of them were not promised to it. */
uint64_t ph_reserves_use(struct ph_reserves *reserves, uint64_t session, uint64_t bytes);

/* What is promised to others than SESSION. */
uint64_t ph_reserves_of_others(const struct ph_reserves *reserves, uint64_t session);

/* SESSION is over. */
void ph_reserves_end(struct ph_reserves *reserves, uint64_t session);

#endif
