#include "server/store/gone_ids.h"

void ph_gone_ids_init(struct ph_gone_ids *gone)
{
    gone->ids = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
    g_queue_init(&gone->order);
}

void ph_gone_ids_clear(struct ph_gone_ids *gone)
{
    g_queue_clear(&gone->order);
    g_hash_table_unref(gone->ids);
}

void ph_gone_ids_add(struct ph_gone_ids *gone, uint64_t id)
{
    if (gone->paused || ph_gone_ids_has(gone, id))
        return;
    uint64_t *key = g_memdup2(&id, sizeof(id));
    g_hash_table_add(gone->ids, key);
    g_queue_push_tail(&gone->order, key);
    if (gone->order.length > PH_GONE_IDS_MAX)
        g_hash_table_remove(gone->ids, g_queue_pop_head(&gone->order));
}

bool ph_gone_ids_has(const struct ph_gone_ids *gone, uint64_t id)
{
    return g_hash_table_contains(gone->ids, &id);
}
