/* The client between its kernel and its link: sessions, recalls, and what a program asks without changing
 * anything but for data. */
#include "conformance/sim/caching.h"
#include "conformance/sim/writeback.h"

#include <string.h>

#include "ph_commands.h"
#include "ph_stubs.h"
#include "runtime/base/limits.h"
#include "runtime/base/mutant.h"

static const Pohmel__Caller nobody = POHMEL__CALLER__INIT;

uint64_t sim_slot_directory(unsigned slot)
{
    return slot % PH_SLOTS < PH_SLOTS / 2 ? PH_OBJECT_ROOT : MODEL_SUB;
}

ProtobufCBinaryData sim_slot_name(unsigned slot)
{
    static const char names[] = "abcdef";
    unsigned name = slot / PH_SLOTS * (PH_SLOTS / 2) + slot % (PH_SLOTS / 2);
    return (ProtobufCBinaryData){.len = 1, .data = (uint8_t *) &names[name]};
}

static const struct ph_stub *stub_of(const struct sim_task *task)
{
    return &task->caching->client->stub;
}

struct sim_caching *sim_caching_new(struct sim_client *client)
{
    static const uint64_t known[] = {PH_OBJECT_ROOT, MODEL_SUB, MODEL_LOG};
    const struct sim_profile *profile = &client->world->profile;
    struct sim_caching *caching = g_new0(struct sim_caching, 1);
    caching->client = client;
    caching->cache = ph_cache_new(profile->cache_objects, profile->cache_leases);
    caching->work = g_new0(struct ph_cache_work, 1);
    sim_kernel_init(caching);
    for (unsigned i = 0; i < G_N_ELEMENTS(known) + MODEL_REGISTERS; i++) {
        uint64_t object = i < G_N_ELEMENTS(known) ? known[i] : MODEL_REGISTER_FIRST + i - G_N_ELEMENTS(known);
        sim_inode(caching, object)->refs = 1;
        ph_cache_kernel_add(caching->cache, object, 1);
    }
    client->ticked = TRUE;
    return caching;
}

void sim_caching_free(struct sim_caching *caching)
{
    if (!caching)
        return;
    sim_kernel_clear(caching);
    ph_cache_free(caching->cache);
    g_free(caching->work);
    g_free(caching);
}

uint64_t sim_caching_now(struct sim_caching *caching)
{
    struct sim_client *client = caching->client;
    ph_cache_answered(caching->cache, caching->generation, ph_client_answered_sent_ms(client->core));
    return sim_client_ms(client);
}

/* --- Giving back --- */

static void released(void *data, const struct ph_reply *reply)
{
    (void) data, (void) reply;
}

static void send_release(struct sim_caching *caching)
{
    Pohmel__LeaseReleaseRequest message = POHMEL__LEASE_RELEASE_REQUEST__INIT;
    const struct ph_cache_work *work = caching->work;
    struct sim_client *client = caching->client;
    const struct ph_stub *stub = &client->stub;
    if (client->writeback && PH_MUTANT(RELEASE_DIRTY))
        stub = sim_writeback_link(client->writeback);
    message.n_leases = work->release.count;
    message.leases = (uint64_t *) work->release.leases;
    message.n_kept = work->release.kept_count;
    message.kept = (uint64_t *) work->release.kept;
    if ((ph_client_is_open(client->core) || ph_client_is_kept(client->core)) &&
        ph_client_opened(client->core)->generation == work->release.generation)
        ph_send_lease_release(stub, &message, NULL, released, client);
}

/* What the kernel has to forget. */
struct drop {
    struct sim_caching *caching;
    uint64_t object, lease;
    gboolean names, pages;
};

static void wake_parked(struct sim_caching *caching, struct sim_inode *inode);

static void dropped(struct sim_caching *caching, struct sim_inode *inode, uint64_t lease)
{
    ph_cache_dropped(caching->cache, inode->id, lease);
    sim_caching_work(caching);
    wake_parked(caching, inode);
}

static void on_drop(struct world *world, void *data)
{
    struct drop *drop = data;
    struct sim_caching *caching = drop->caching;
    struct sim_inode *inode = sim_inode(caching, drop->object);
    (void) world;
    inode->drops--;
    sim_kernel_forget_attr(caching, drop->object);
    if (drop->names)
        sim_kernel_forget_names(caching);
    if (inode->covered > 0) {
        inode->drop_lease = drop->lease; /* these bring pages under the lease */
    } else {
        if (drop->pages)
            sim_kernel_drop_pages(caching, drop->object);
        dropped(caching, inode, drop->lease);
    }
    g_free(drop);
}

void sim_caching_read_ended(struct sim_caching *caching, struct sim_inode *inode)
{
    uint64_t lease = inode->drop_lease;
    if (inode->covered > 0 || !lease)
        return;
    inode->drop_lease = 0;
    sim_kernel_drop_pages(caching, inode->id);
    dropped(caching, inode, lease);
}

void sim_caching_work(struct sim_caching *caching)
{
    struct world *world = caching->client->world;
    struct ph_cache_work *work = caching->work;
    while (ph_cache_next_work(caching->cache, work)) {
        if (work->kind == PH_CACHE_RELEASE) {
            send_release(caching);
            continue;
        }
        struct drop *drop = g_new0(struct drop, 1);
        *drop = (struct drop){.caching = caching,
                              .object = work->drop.object,
                              .lease = work->drop.lease,
                              .names = work->drop.is_directory && work->drop.names > 0,
                              .pages = work->drop.pages};
        sim_inode(caching, work->drop.object)->drops++;
        sim_after_at(caching->client, sim_below(world, world->profile.kernel_us), on_drop, drop, g_free);
    }
}

/* --- The session --- */

void sim_caching_opened(struct sim_caching *caching)
{
    const struct ph_client_opened *opened = ph_client_opened(caching->client->core);
    caching->generation = opened->generation;
    caching->granted = opened->leases;
    ph_cache_session(caching->cache, opened->generation, opened->lease_ttl_ms, opened->leases,
                     opened->watched);
}

static void forget_held(void *data, const struct ph_cache_held *held)
{
    struct sim_caching *caching = data;
    sim_kernel_forget_attr(caching, held->object);
    if (held->pages)
        sim_kernel_drop_pages(caching, held->object);
}

void sim_caching_lost(struct sim_caching *caching)
{
    GHashTableIter iter;
    gpointer value;
    ph_cache_lost(caching->cache);
    caching->granted = FALSE;
    sim_kernel_forget_names(caching);
    ph_cache_each_kernel(caching->cache, forget_held, caching);
    g_autoptr(GPtrArray) waiting = g_ptr_array_new();
    g_hash_table_iter_init(&iter, caching->inodes);
    while (g_hash_table_iter_next(&iter, NULL, &value))
        g_ptr_array_add(waiting, value);
    for (guint i = 0; i < waiting->len; i++) {
        struct sim_inode *inode = waiting->pdata[i];
        if (inode->drops > 0) /* these come too late */
            sim_kernel_drop_pages(caching, inode->id);
        wake_parked(caching, inode);
    }
    sim_caching_work(caching);
}

static void forget_pages(void *data, const struct ph_cache_held *held)
{
    if (held->pages)
        sim_kernel_drop_pages(data, held->object);
}

void sim_caching_expired(struct sim_caching *caching)
{
    ph_cache_each_kernel(caching->cache, forget_pages, caching);
}

void sim_caching_recall(struct sim_caching *caching, const Pohmel__RecallEvent *recall)
{
    caching->client->world->result->recalls++;
    if (caching->client->writeback && recall->range &&
        sim_writeback_recalled_part(caching->client->writeback, recall))
        return;
    if (caching->client->writeback)
        sim_writeback_recalled(caching->client->writeback, recall->object, recall->lease);
    ph_cache_recall(caching->cache, recall->object, recall->lease, recall->keep);
    sim_caching_work(caching);
}

static void heard(void *data, const struct ph_reply *reply)
{
    (void) data, (void) reply;
}

void sim_caching_glimpse(struct sim_caching *caching, const Pohmel__GlimpseEvent *glimpse)
{
    struct sim_client *client = caching->client;
    Pohmel__GlimpseAnswerRequest message = POHMEL__GLIMPSE_ANSWER_REQUEST__INIT;
    struct ph_cached_attr_wire wire;
    struct ph_cached_attr attr;
    bool unsent = false;
    enum ph_wb_glimpse verdict =
        sim_writeback_glimpse(client->writeback, glimpse->object, glimpse->lease, &attr, &unsent);
    if (verdict == PH_WB_GLIMPSE_QUIET) {
        Pohmel__RecallEvent recall = POHMEL__RECALL_EVENT__INIT;
        recall.object = glimpse->object;
        recall.lease = glimpse->lease;
        recall.keep = POHMEL__LEASE_MODE__MODE_SHARED;
        sim_caching_recall(caching, &recall);
    }
    if (glimpse->question == 0)
        return;
    message.question = glimpse->question;
    message.sharing = verdict == PH_WB_GLIMPSE_QUIET;
    if (verdict == PH_WB_GLIMPSE_TOLD || verdict == PH_WB_GLIMPSE_MOVED) {
        client->world->result->glimpses++;
        message.lease = glimpse->lease;
        message.attr = (Pohmel__Attr *) ph_cached_attr_to_wire(&attr, &wire);
        message.unsent = unsent;
    }
    const struct ph_stub *link = sim_writeback_link(client->writeback);
    ph_send_glimpse_answer(link, &message, NULL, heard, client);
}

/* --- Tasks --- */

static void free_task(void *data)
{
    struct sim_task *task = data;
    if (task->answer.data)
        g_bytes_unref(task->answer.data);
    g_free(task);
}

struct sim_task *sim_task_new(struct sim_process *process, sim_answer_fn fn)
{
    struct sim_task *task = g_new0(struct sim_task, 1);
    task->process = process;
    task->caching = process->client->caching;
    task->fn = fn;
    process->task = task;
    sim_client_own(process->client, task, free_task);
    return task;
}

void sim_task_free(struct sim_task *task)
{
    sim_client_disown(task->caching->client, task);
    free_task(task);
}

void sim_task_end(struct sim_task *task, uint32_t status)
{
    task->answer.status = status;
    sim_kernel_tell(task);
}

/* --- Telling the kernel --- */

static void hold(struct sim_task *task, unsigned which, uint64_t object)
{
    task->held[which] = object;
    ph_cache_reply_begin(task->caching->cache, object);
}

void sim_tell_attr(struct sim_task *task, uint64_t valid_ms)
{
    task->answer.has_attr = TRUE;
    task->attr_ms = valid_ms;
    task->attr_stamp = sim_inode(task->caching, task->answer.attr.object)->attr_stamp;
    if (valid_ms == 0)
        return;
    ph_cache_attr_told(task->caching->cache, task->answer.attr.object);
    hold(task, 1, task->answer.attr.object);
}

void sim_tell_entry(struct sim_task *task, uint64_t directory, uint64_t valid_ms)
{
    task->entry = TRUE;
    task->entry_ms = valid_ms;
    task->name_stamp = task->caching->names[task->slot].stamp;
    if (valid_ms > 0)
        hold(task, 0, directory);
}

void sim_tell_reference(struct sim_task *task)
{
    sim_inode(task->caching, task->answer.attr.object)->refs++;
    ph_cache_kernel_add(task->caching->cache, task->answer.attr.object, 1);
}

/* --- Names --- */

static void looked_up(void *data, const struct ph_reply *reply)
{
    struct sim_task *task = data;
    struct ph_cache *cache = task->caching->cache;
    const Pohmel__LookupReply *found = ph_reply_lookup(reply);
    const Pohmel__Attr *attr = found && found->n_found > 0 ? found->found[0] : NULL;
    uint64_t directory = sim_slot_directory(task->slot), now_ms = sim_caching_now(task->caching), attr_ms = 0;
    ProtobufCBinaryData name = sim_slot_name(task->slot);
    struct ph_cached_attr ignored;
    if (!found || (!attr && found->failure != PH_ST_NOT_FOUND)) {
        sim_task_end(task, found ? found->failure : reply->status);
        return;
    }
    if (found->directory)
        ph_cache_learn(cache, &task->ask, found->directory, now_ms, &ignored);
    if (attr) {
        attr_ms = ph_cache_learn(cache, &task->ask, attr, now_ms, &task->answer.attr);
        sim_tell_reference(task);
    }
    task->answer.object = attr ? attr->object : 0;
    sim_tell_entry(task, directory,
                   ph_cache_learn_entry(cache, &task->ask, directory,
                                        found->directory ? found->directory->lease : 0, name.data, name.len,
                                        task->answer.object, now_ms));
    if (attr)
        sim_tell_attr(task, attr_ms);
    sim_task_end(task, PH_ST_OK);
}

void sim_ask_lookup(struct sim_process *process, unsigned slot, sim_answer_fn fn)
{
    struct sim_task *task = sim_task_new(process, fn);
    struct ph_cache *cache = task->caching->cache;
    uint64_t directory = sim_slot_directory(slot), now_ms = sim_caching_now(task->caching), entry_ms, attr_ms;
    ProtobufCBinaryData name = sim_slot_name(slot);
    task->slot = slot;
    enum ph_cache_found found = ph_cache_lookup(cache, directory, name.data, name.len, now_ms,
                                                &task->answer.attr, &entry_ms, &attr_ms);
    if (found != PH_CACHE_MISS) {
        process->client->world->result->hits++;
        sim_tell_entry(task, directory, entry_ms);
        task->answer.object = found == PH_CACHE_FOUND ? task->answer.attr.object : 0;
        if (found == PH_CACHE_FOUND) {
            sim_tell_reference(task);
            sim_tell_attr(task, attr_ms);
        }
        sim_task_end(task, PH_ST_OK);
        return;
    }
    Pohmel__LookupRequest message = POHMEL__LOOKUP_REQUEST__INIT;
    message.caller = (Pohmel__Caller *) &nobody;
    message.parent = directory;
    message.n_names = 1;
    message.names = &name;
    task->ask = ph_cache_ask(cache, now_ms);
    ph_send_lookup(stub_of(task), &message, NULL, looked_up, task);
}

static void got_attr(void *data, const struct ph_reply *reply)
{
    struct sim_task *task = data;
    const Pohmel__GetattrReply *got = ph_reply_getattr(reply);
    uint64_t now_ms = sim_caching_now(task->caching);
    if (got)
        sim_tell_attr(
            task, ph_cache_learn(task->caching->cache, &task->ask, got->attr, now_ms, &task->answer.attr));
    sim_task_end(task, reply->status);
}

void sim_ask_attr(struct sim_process *process, uint64_t object, sim_answer_fn fn)
{
    struct sim_task *task = sim_task_new(process, fn);
    uint64_t now_ms = sim_caching_now(task->caching), valid_ms;
    task->object = object;
    if (ph_cache_getattr(task->caching->cache, object, now_ms, &task->answer.attr, &valid_ms)) {
        process->client->world->result->hits++;
        sim_tell_attr(task, valid_ms);
        sim_task_end(task, PH_ST_OK);
        return;
    }
    Pohmel__GetattrRequest message = POHMEL__GETATTR_REQUEST__INIT;
    message.caller = (Pohmel__Caller *) &nobody;
    message.object = object;
    task->ask = ph_cache_ask(task->caching->cache, now_ms);
    ph_send_getattr(stub_of(task), &message, NULL, got_attr, task);
}

/* --- Listings --- */

static void send_listing(struct sim_task *task);

static void take_entry(struct sim_task *task, const Pohmel__DirEntry *entry, uint64_t now_ms)
{
    struct ph_cache *cache = task->caching->cache;
    struct ph_cached_attr ignored;
    for (unsigned slot = 0; slot < SIM_SLOTS; slot++) {
        ProtobufCBinaryData name = sim_slot_name(slot);
        if (sim_slot_directory(slot) == task->object && entry->name.len == name.len &&
            memcmp(entry->name.data, name.data, name.len) == 0)
            task->answer.objects[slot] = entry->object;
    }
    if (entry->attr)
        ph_cache_learn(cache, &task->ask, entry->attr, now_ms, &ignored);
    ph_cache_listing_add(cache, &task->listing, &task->ask, entry->name.data, entry->name.len, entry->object,
                         FALSE, now_ms);
}

static void listed(void *data, const struct ph_reply *reply)
{
    struct sim_task *task = data;
    struct ph_cache *cache = task->caching->cache;
    const Pohmel__ReaddirReply *part = ph_reply_readdir(reply);
    uint64_t now_ms = sim_caching_now(task->caching);
    if (!part) {
        sim_task_end(task, reply->status);
        return;
    }
    gboolean first = task->cookie == 0;
    if (first)
        ph_cache_listing_begin(cache, &task->listing, &task->ask, task->object, 0);
    for (size_t i = 0; i < part->n_entries; i++)
        take_entry(task, part->entries[i], now_ms);
    if (!part->end && part->n_entries > 0) {
        task->cookie = part->entries[part->n_entries - 1]->cookie;
        send_listing(task);
        return;
    }
    /* Names that change between two parts may be missing; what is complete is so under one lease. */
    task->answer.listed = ph_cache_listing_end(cache, &task->listing) || first;
    sim_caching_work(task->caching);
    sim_task_end(task, PH_ST_OK);
}

static void send_listing(struct sim_task *task)
{
    Pohmel__ReaddirRequest message = POHMEL__READDIR_REQUEST__INIT;
    message.caller = (Pohmel__Caller *) &nobody;
    message.object = task->object;
    message.cookie = task->cookie;
    message.count = task->count;
    message.bytes_max = PH_MESSAGE_MAX_BYTES;
    message.attributes = true;
    task->ask = ph_cache_ask(task->caching->cache, sim_caching_now(task->caching));
    ph_send_readdir(stub_of(task), &message, NULL, listed, task);
}

void sim_ask_list(struct sim_process *process, uint64_t directory, unsigned count, sim_answer_fn fn)
{
    struct sim_task *task = sim_task_new(process, fn);
    task->object = directory;
    task->count = count;
    send_listing(task);
}

/* Reads that waited for a lease to go back go on. */
static void wake_parked(struct sim_caching *caching, struct sim_inode *inode)
{
    struct sim_task *task;
    (void) caching;
    while ((task = g_queue_pop_head(&inode->parked)) != NULL)
        sim_read_go(task);
}
