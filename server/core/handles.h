/* The handles of a session, as far as the core has to know them: how many
 * there are, what each is open on, and whether locks were taken through it. */
#ifndef PH_SERVER_CORE_HANDLES_H
#define PH_SERVER_CORE_HANDLES_H

#include <stdbool.h>
#include <stdint.h>

#include "server/core/table.h"

struct ph_handle {
    struct ph_table_node node;
    uint64_t handle;
    uint64_t object; /* 0 while it is being opened by a command that makes the object */
    uint32_t access; /* bit 0 read, bit 1 write */
    bool locked;     /* a lock was taken through it */
};

struct ph_handles {
    struct ph_table table;
    uint64_t seed;
};

/* The handle, or NULL when it is not open. */
struct ph_handle *ph_handles_find(const struct ph_handles *handles, uint64_t handle);

/* Adds HANDLE, which is not in there. The limit is the caller's affair. */
struct ph_handle *ph_handles_add(struct ph_handles *handles, uint64_t handle, uint64_t object,
                                 uint32_t access);

/* Takes ENTRY out and frees it. */
void ph_handles_remove(struct ph_handles *handles, struct ph_handle *entry);

/* Forgets all. */
void ph_handles_clear(struct ph_handles *handles);

#endif
