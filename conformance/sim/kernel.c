/* The kernel of a simulated machine. */
#include "conformance/sim/caching.h"
#include "runtime/base/limits.h"

static void inode_free(void *data)
{
    struct sim_inode *inode = data;
    if (inode->pages)
        g_bytes_unref(inode->pages);
    g_queue_clear(&inode->parked);
    g_free(inode);
}

void sim_kernel_init(struct sim_caching *caching)
{
    caching->inodes = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, inode_free);
}

void sim_kernel_clear(struct sim_caching *caching)
{
    g_hash_table_unref(caching->inodes);
}

struct sim_inode *sim_inode(struct sim_caching *caching, uint64_t object)
{
    struct sim_inode *inode = g_hash_table_lookup(caching->inodes, &object);
    if (inode)
        return inode;
    inode = g_new0(struct sim_inode, 1);
    inode->id = object;
    g_queue_init(&inode->parked);
    g_hash_table_insert(caching->inodes, &inode->id, inode);
    return inode;
}

void sim_kernel_forget_attr(struct sim_caching *caching, uint64_t object)
{
    struct sim_inode *inode = sim_inode(caching, object);
    inode->attr_until_ms = 0;
    inode->attr_stamp++;
}

void sim_kernel_forget_attrs(struct sim_caching *caching)
{
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, caching->inodes);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        struct sim_inode *inode = value;
        inode->attr_until_ms = 0;
        inode->attr_stamp++;
    }
}

void sim_kernel_forget_name(struct sim_caching *caching, unsigned slot)
{
    caching->names[slot].until_ms = 0;
    caching->names[slot].stamp++;
}

void sim_kernel_forget_names(struct sim_caching *caching)
{
    for (unsigned slot = 0; slot < SIM_SLOTS; slot++)
        sim_kernel_forget_name(caching, slot);
}

void sim_kernel_drop_pages(struct sim_caching *caching, uint64_t object)
{
    struct sim_inode *inode = sim_inode(caching, object);
    if (inode->pages)
        g_bytes_unref(inode->pages);
    inode->pages = NULL;
    inode->page_stamp++;
}

void sim_kernel_evict(struct sim_caching *caching)
{
    GHashTableIter iter;
    gpointer value;
    uint64_t victim = sim_below(caching->client->world, g_hash_table_size(caching->inodes) + 1);
    g_hash_table_iter_init(&iter, caching->inodes);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        struct sim_inode *inode = value;
        if (victim-- > 0)
            continue;
        uint64_t refs = inode->refs;
        if (refs == 0 || inode->covered || inode->drop_lease)
            return;
        for (unsigned slot = 0; slot < SIM_SLOTS; slot++) {
            if (caching->names[slot].object == inode->id)
                sim_kernel_forget_name(caching, slot);
        }
        sim_kernel_forget_attr(caching, inode->id);
        sim_kernel_drop_pages(caching, inode->id);
        if (inode->id < PH_OBJECT_GIVEN_FIRST)
            return; /* programs have these open */
        inode->refs = 0;
        ph_cache_kernel_forget(caching->cache, inode->id, refs);
        sim_caching_work(caching);
        return;
    }
}

gboolean sim_kernel_name(struct sim_caching *caching, unsigned slot, uint64_t *object)
{
    const struct sim_name *name = &caching->names[slot];
    if (sim_client_ms(caching->client) >= name->until_ms)
        return FALSE;
    *object = name->object;
    return TRUE;
}

const struct ph_cached_attr *sim_kernel_attr(struct sim_caching *caching, uint64_t object)
{
    const struct sim_inode *inode = sim_inode(caching, object);
    return sim_client_ms(caching->client) < inode->attr_until_ms ? &inode->attr : NULL;
}

GBytes *sim_kernel_pages(struct sim_caching *caching, uint64_t object)
{
    /* Pages have no time; a daemon that was stopped gives them up when it runs again. */
    return caching->client->ticked ? sim_inode(caching, object)->pages : NULL;
}

static void keep_attr(struct sim_task *task, uint64_t now_ms)
{
    struct sim_inode *inode = sim_inode(task->caching, task->answer.attr.object);
    if (task->attr_ms == 0 || inode->attr_stamp != task->attr_stamp)
        return;
    inode->attr = task->answer.attr;
    inode->attr_until_ms = now_ms + task->attr_ms;
}

static void keep_name(struct sim_task *task, uint64_t now_ms)
{
    struct sim_name *name = &task->caching->names[task->slot];
    if (!task->entry || name->stamp != task->name_stamp)
        return;
    name->object = task->answer.object;
    name->until_ms = task->entry_ms == 0 ? 0 : now_ms + task->entry_ms;
}

/* The kernel counts a time from when it is told: where the leases ran out while an answer was on its way, it
 * is made to forget it at once. */
static void look_at_time(struct sim_task *task, uint64_t now_ms)
{
    struct ph_cache *cache = task->caching->cache;
    if (task->held[0] && !ph_cache_is_held(cache, task->held[0]))
        task->entry_ms = 0;
    if (task->held[1] && !ph_cache_is_held(cache, task->held[1]))
        task->attr_ms = 0;
    if (now_ms >= task->until_ms)
        task->entry_ms = task->attr_ms = 0;
}

static void on_told(struct world *world, void *data)
{
    struct sim_task *task = data;
    struct sim_caching *caching = task->caching;
    uint64_t now_ms = sim_client_ms(caching->client);
    (void) world;
    look_at_time(task, now_ms);
    if (task->answer.has_attr)
        keep_attr(task, now_ms);
    keep_name(task, now_ms);
    for (unsigned i = 0; i < G_N_ELEMENTS(task->held); i++) {
        if (task->held[i])
            ph_cache_reply_end(caching->cache, task->held[i]);
    }
    ph_cache_release_some(caching->cache, 16);
    sim_caching_work(caching);
    struct sim_process *process = task->process;
    process->task = NULL;
    task->fn(process, &task->answer);
    sim_task_free(task);
}

void sim_kernel_tell(struct sim_task *task)
{
    struct sim_client *client = task->caching->client;
    task->until_ms = sim_client_ms(client) + MAX(task->entry_ms, task->attr_ms);
    sim_after_at(client, sim_below(client->world, client->world->profile.kernel_us), on_told, task, NULL);
}
