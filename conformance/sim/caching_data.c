/* Opening, reading and writing files on a simulated machine. */
#include <string.h>

#include "conformance/sim/caching.h"
#include "conformance/sim/caching_change.h"
#include "ph_commands.h"
#include "ph_stubs.h"

enum { ACCESS_BOTH = 3, TRIES = 3 };

static const Pohmel__Caller nobody = POHMEL__CALLER__INIT;

static const struct ph_stub *stub_of(const struct sim_task *task)
{
    return &task->caching->client->stub;
}

static void opened(void *data, const struct ph_reply *reply)
{
    struct sim_task *task = data;
    const Pohmel__OpenReply *open = ph_reply_open(reply);
    uint64_t now_ms = sim_caching_now(task->caching);
    if (open)
        sim_tell_attr(
            task, ph_cache_learn(task->caching->cache, &task->ask, open->attr, now_ms, &task->answer.attr));
    sim_task_end(task, reply->status);
}

void sim_ask_open(struct sim_process *process, uint64_t object, uint64_t handle, sim_answer_fn fn)
{
    struct sim_task *task = sim_task_new(process, fn);
    Pohmel__OpenRequest message = POHMEL__OPEN_REQUEST__INIT;
    message.caller = (Pohmel__Caller *) &nobody;
    message.object = object;
    message.handle = handle;
    message.access = ACCESS_BOTH;
    task->ask = ph_cache_ask(task->caching->cache, sim_caching_now(task->caching));
    ph_send_open(stub_of(task), &message, NULL, opened, task);
}

/* --- Reading --- */

static void keep_pages(struct sim_task *task, struct sim_inode *inode)
{
    if (!task->covered || inode->page_stamp != task->page_stamp || inode->writes > 0)
        return;
    if (inode->pages)
        g_bytes_unref(inode->pages);
    inode->pages = g_bytes_ref(task->answer.data);
}

static void was_read(void *data, const struct ph_reply *reply)
{
    struct sim_task *task = data;
    struct sim_inode *inode = sim_inode(task->caching, task->object);
    if (reply->status == PH_ST_OK) {
        task->answer.data = g_bytes_new(reply->payload ? reply->payload->data : NULL,
                                        reply->payload ? reply->payload->len : 0);
        keep_pages(task, inode);
    }
    if (task->covered) {
        inode->covered--;
        sim_caching_read_ended(task->caching, inode);
    }
    sim_task_end(task, reply->status);
}

static void send_read(struct sim_task *task, gboolean covered)
{
    struct sim_inode *inode = sim_inode(task->caching, task->object);
    Pohmel__ReadRequest message = POHMEL__READ_REQUEST__INIT;
    task->covered = covered;
    task->page_stamp = inode->page_stamp;
    inode->covered += covered;
    message.caller = (Pohmel__Caller *) &nobody;
    message.object = task->object;
    message.handle = task->handle;
    message.length = 65536;
    ph_send_read(stub_of(task), &message, NULL, was_read, task);
}

static void acquired(void *data, const struct ph_reply *reply)
{
    struct sim_task *task = data;
    const Pohmel__LeaseAcquireReply *got = ph_reply_lease_acquire(reply);
    struct ph_cached_attr ignored;
    if (got) {
        got->grant->attr->lease = got->grant->lease;
        got->grant->attr->lease_mode = got->grant->mode;
        ph_cache_learn(task->caching->cache, &task->ask, got->grant->attr, sim_caching_now(task->caching),
                       &ignored);
        sim_caching_work(task->caching);
    } else if (reply->status != PH_ST_NO_LEASE) {
        task->tries = TRIES;
    }
    sim_read_go(task);
}

static void acquire(struct sim_task *task)
{
    Pohmel__LeaseAcquireRequest message = POHMEL__LEASE_ACQUIRE_REQUEST__INIT;
    message.object = task->object;
    message.mode = POHMEL__LEASE_MODE__MODE_SHARED;
    task->tries++;
    task->ask = ph_cache_ask(task->caching->cache, sim_caching_now(task->caching));
    ph_send_lease_acquire(stub_of(task), &message, NULL, acquired, task);
}

/* As client/fuse/coherence_data.c decides. */
void sim_read_go(struct sim_task *task)
{
    struct sim_caching *caching = task->caching;
    if (!caching->granted) {
        send_read(task, FALSE);
    } else if (!ph_cache_is_held(caching->cache, task->object)) {
        if (task->tries < TRIES)
            acquire(task);
        else
            send_read(task, FALSE);
    } else if (ph_cache_is_going_back(caching->cache, task->object)) {
        g_queue_push_tail(&sim_inode(caching, task->object)->parked, task);
    } else {
        ph_cache_pages(caching->cache, task->object, sim_caching_now(caching));
        send_read(task, TRUE);
    }
}

void sim_ask_read(struct sim_process *process, uint64_t object, uint64_t handle, sim_answer_fn fn)
{
    struct sim_task *task = sim_task_new(process, fn);
    task->object = object;
    task->handle = handle;
    sim_read_go(task);
}

/* --- Writing --- */

static void written(void *data, const struct ph_reply *reply)
{
    struct sim_task *task = data;
    const Pohmel__WriteResult *result = ph_reply_write(reply);
    sim_inode(task->caching, task->object)->writes--;
    sim_kernel_drop_pages(task->caching, task->object);
    sim_changed_attr(task, result ? result->attr : NULL);
    sim_change_end(task, reply->status);
}

void sim_ask_write(struct sim_process *process, uint64_t object, uint64_t handle, uint64_t offset,
                   GBytes *bytes, sim_answer_fn fn)
{
    struct sim_task *task = sim_task_new(process, fn);
    Pohmel__WriteRequest message = POHMEL__WRITE_REQUEST__INIT;
    gsize len;
    const void *from = g_bytes_get_data(bytes, &len);
    struct ph_blob *payload = ph_blob_new(len);
    memcpy(payload->data, from, len);
    payload->len = len;
    g_bytes_unref(bytes);
    task->object = object;
    message.caller = (Pohmel__Caller *) &nobody;
    message.object = object;
    message.handle = handle;
    message.append = offset == UINT64_MAX;
    message.offset = message.append ? 0 : offset;
    message.length = (uint32_t) len;
    sim_change_object(task, object);
    sim_change_sent(task);
    sim_inode(task->caching, object)->writes++;
    sim_kernel_drop_pages(task->caching, object);
    ph_send_write(stub_of(task), &message, payload, written, task);
    ph_blob_unref(payload);
}

static void synced(void *data, const struct ph_reply *reply)
{
    sim_task_end(data, reply->status);
}

void sim_ask_sync(struct sim_process *process, uint64_t object, uint64_t handle, sim_answer_fn fn)
{
    struct sim_task *task = sim_task_new(process, fn);
    Pohmel__SyncRequest message = POHMEL__SYNC_REQUEST__INIT;
    message.caller = (Pohmel__Caller *) &nobody;
    message.object = object;
    message.handle = handle;
    ph_send_sync(stub_of(task), &message, NULL, synced, task);
}

void sim_ask_sync_all(struct sim_process *process, sim_answer_fn fn)
{
    struct sim_task *task = sim_task_new(process, fn);
    Pohmel__SyncRequest message = POHMEL__SYNC_REQUEST__INIT;
    message.caller = (Pohmel__Caller *) &nobody;
    message.object = PH_OBJECT_ROOT;
    message.tree = true;
    ph_send_sync(stub_of(task), &message, NULL, synced, task);
}
