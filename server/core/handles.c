#include "server/core/handles.h"

#include "server/core/memory.h"

struct ph_handle *ph_handles_find(const struct ph_handles *handles, uint64_t handle)
{
    struct ph_table_node *node = ph_table_first(&handles->table, ph_table_hash(handles->seed, handle));

    /* The hash is a bijection of the handle: equal hashes are equal handles. */
    return PH_TABLE_ENTRY(node, struct ph_handle, node);
}

struct ph_handle *ph_handles_add(struct ph_handles *handles, uint64_t handle, uint64_t object,
                                 uint32_t access)
{
    struct ph_handle *entry = PH_CORE_NEW(struct ph_handle);

    entry->handle = handle;
    entry->object = object;
    entry->access = access;
    ph_table_add(&handles->table, &entry->node, ph_table_hash(handles->seed, handle));
    return entry;
}

void ph_handles_remove(struct ph_handles *handles, struct ph_handle *entry)
{
    ph_table_remove(&handles->table, &entry->node);
    free(entry);
}

void ph_handles_clear(struct ph_handles *handles)
{
    for (size_t i = 0; handles->table.buckets != NULL && i <= handles->table.mask; i++) {
        struct ph_table_node *node = handles->table.buckets[i];

        while (node != NULL) {
            struct ph_table_node *next = node->next;

            free(PH_TABLE_ENTRY(node, struct ph_handle, node));
            node = next;
        }
    }
    ph_table_clear(&handles->table);
}
