#include "conformance/sim/caching_change.h"

#include "ph_commands.h"
#include "ph_stubs.h"

enum { RENAME_NEW_MUST_BE_FREE = 1, RENAME_BOTH = 2, CHANGE_OWNER = 1 << 1 };

static const Pohmel__Caller nobody = POHMEL__CALLER__INIT;

static const struct ph_stub *stub_of(const struct sim_task *task)
{
    return &task->caching->client->stub;
}

static void begin(struct sim_task *task)
{
    if (!task->changing)
        ph_cache_change_begin(&task->change);
    task->changing = TRUE;
}

void sim_change_object(struct sim_task *task, uint64_t object)
{
    begin(task);
    ph_cache_change_add(task->caching->cache, &task->change, object);
}

void sim_change_name(struct sim_task *task, unsigned slot, gboolean target)
{
    ProtobufCBinaryData name = sim_slot_name(slot);
    begin(task);
    ph_cache_change_add_name(task->caching->cache, &task->change, sim_slot_directory(slot), name.data,
                             name.len, target);
    sim_kernel_forget_name(task->caching, slot);
}

void sim_change_all(struct sim_task *task)
{
    begin(task);
    ph_cache_change_add_all(task->caching->cache, &task->change);
    sim_kernel_forget_names(task->caching);
    sim_caching_work(task->caching);
}

void sim_change_sent(struct sim_task *task)
{
    struct ph_cache *cache = task->caching->cache;
    ph_cache_change_sent(cache, &task->change, sim_caching_now(task->caching));
    for (unsigned i = 0; i < task->change.count; i++) {
        if (ph_cache_take_attr_told(cache, task->change.objects[i]))
            sim_kernel_forget_attr(task->caching, task->change.objects[i]);
    }
    if (task->change.blind)
        sim_kernel_forget_attrs(task->caching); /* it changes one of them, who knows which */
    sim_caching_work(task->caching);
}

void sim_changed_attr(struct sim_task *task, const Pohmel__Attr *attr)
{
    if (attr)
        sim_tell_attr(task, ph_cache_changed(task->caching->cache, &task->change, attr,
                                             sim_caching_now(task->caching), &task->answer.attr));
}

void sim_change_end(struct sim_task *task, uint32_t status)
{
    ph_cache_change_end(task->caching->cache, &task->change);
    sim_caching_work(task->caching);
    sim_task_end(task, status);
}

/* The name SLOT stands for OBJECT (0: nothing) now. For how long that may be kept. */
static uint64_t changed_name(struct sim_task *task, unsigned slot, uint64_t object)
{
    ProtobufCBinaryData name = sim_slot_name(slot);
    return ph_cache_changed_name(task->caching->cache, &task->change, sim_slot_directory(slot), name.data,
                                 name.len, object, sim_caching_now(task->caching));
}

/* --- Owners --- */

static void chowned(void *data, const struct ph_reply *reply)
{
    struct sim_task *task = data;
    const Pohmel__AttrResult *result = ph_reply_setattr(reply);
    sim_changed_attr(task, result ? result->attr : NULL);
    sim_change_end(task, reply->status);
}

void sim_ask_chown(struct sim_process *process, uint64_t object, uint32_t owner, sim_answer_fn fn)
{
    struct sim_task *task = sim_task_new(process, fn);
    Pohmel__SetattrRequest message = POHMEL__SETATTR_REQUEST__INIT;
    message.caller = (Pohmel__Caller *) &nobody;
    message.object = object;
    message.which = CHANGE_OWNER;
    message.uid = owner;
    sim_change_object(task, object);
    sim_change_sent(task);
    ph_send_setattr(stub_of(task), &message, NULL, chowned, task);
}

/* --- Making names --- */

static void made(struct sim_task *task, uint32_t status, const Pohmel__Attr *attr)
{
    sim_changed_attr(task, attr);
    if (attr) {
        uint64_t entry_ms = changed_name(task, task->slot, attr->object);
        task->answer.object = attr->object;
        sim_tell_reference(task);
        sim_tell_entry(task, sim_slot_directory(task->slot), entry_ms);
    }
    sim_change_end(task, status);
}

static void created(void *data, const struct ph_reply *reply)
{
    struct sim_task *task = data;
    const Pohmel__CreateResult *result = ph_reply_create(reply);
    task->answer.created = result && result->created;
    made(task, reply->status, result ? result->attr : NULL);
}

static void made_directory(void *data, const struct ph_reply *reply)
{
    struct sim_task *task = data;
    const Pohmel__AttrResult *result = ph_reply_mkdir(reply);
    task->answer.created = TRUE;
    made(task, reply->status, result ? result->attr : NULL);
}

void sim_ask_create(struct sim_process *process, unsigned slot, uint64_t object, gboolean exclusive,
                    gboolean directory, sim_answer_fn fn)
{
    struct sim_task *task = sim_task_new(process, fn);
    Pohmel__MkdirRequest mkdir = POHMEL__MKDIR_REQUEST__INIT;
    Pohmel__CreateRequest create = POHMEL__CREATE_REQUEST__INIT;
    task->slot = slot;
    sim_change_name(task, slot, FALSE);
    sim_change_sent(task);
    mkdir.caller = create.caller = (Pohmel__Caller *) &nobody;
    mkdir.parent = create.parent = sim_slot_directory(slot);
    mkdir.name = create.name = sim_slot_name(slot);
    mkdir.object = create.object = object;
    mkdir.mode = create.mode = 0755;
    create.exclusive = exclusive;
    if (directory)
        ph_send_mkdir(stub_of(task), &mkdir, NULL, made_directory, task);
    else
        ph_send_create(stub_of(task), &create, NULL, created, task);
}

static void linked(void *data, const struct ph_reply *reply)
{
    struct sim_task *task = data;
    const Pohmel__AttrResult *result = ph_reply_link(reply);
    made(task, reply->status, result ? result->attr : NULL);
}

void sim_ask_link(struct sim_process *process, uint64_t object, unsigned slot, sim_answer_fn fn)
{
    struct sim_task *task = sim_task_new(process, fn);
    Pohmel__LinkRequest message = POHMEL__LINK_REQUEST__INIT;
    task->slot = slot;
    sim_change_object(task, object);
    sim_change_name(task, slot, FALSE);
    sim_change_sent(task);
    message.caller = (Pohmel__Caller *) &nobody;
    message.object = object;
    message.parent = sim_slot_directory(slot);
    message.name = sim_slot_name(slot);
    ph_send_link(stub_of(task), &message, NULL, linked, task);
}

/* --- Taking them away --- */

static void removed(void *data, const struct ph_reply *reply)
{
    struct sim_task *task = data;
    if (reply->status == PH_ST_OK)
        changed_name(task, task->slot, 0);
    sim_change_end(task, reply->status);
}

void sim_ask_remove(struct sim_process *process, unsigned slot, gboolean directory, sim_answer_fn fn)
{
    struct sim_task *task = sim_task_new(process, fn);
    Pohmel__RemoveRequest remove = POHMEL__REMOVE_REQUEST__INIT;
    Pohmel__RmdirRequest rmdir = POHMEL__RMDIR_REQUEST__INIT;
    task->slot = slot;
    sim_change_name(task, slot, TRUE);
    sim_change_sent(task);
    remove.caller = rmdir.caller = (Pohmel__Caller *) &nobody;
    remove.parent = rmdir.parent = sim_slot_directory(slot);
    remove.name = rmdir.name = sim_slot_name(slot);
    if (directory)
        ph_send_rmdir(stub_of(task), &rmdir, NULL, removed, task);
    else
        ph_send_remove(stub_of(task), &remove, NULL, removed, task);
}

/* --- Moving them --- */

/* As client/fuse/ops_name.c: what the names stand for now, as far as it follows from what they stood for. */
static void renamed(void *data, const struct ph_reply *reply)
{
    struct sim_task *task = data;
    uint64_t kept_ms = 0;
    if (reply->status == PH_ST_OK) {
        if (task->moved != 0)
            kept_ms = changed_name(task, task->slot2, task->moved);
        gboolean moved =
            task->flags == RENAME_NEW_MUST_BE_FREE || (kept_ms > 0 && task->moved != task->replaced);
        if (moved && task->flags != RENAME_BOTH)
            changed_name(task, task->slot, 0);
        else if (task->replaced != 0)
            kept_ms = MIN(kept_ms, changed_name(task, task->slot, task->replaced));
    }
    if (kept_ms == 0)
        sim_kernel_forget_names(task->caching);
    sim_change_end(task, reply->status);
}

static uint64_t stands_for(struct sim_task *task, unsigned slot)
{
    ProtobufCBinaryData name = sim_slot_name(slot);
    return ph_cache_entry_object(task->caching->cache, sim_slot_directory(slot), name.data, name.len);
}

void sim_ask_rename(struct sim_process *process, unsigned slot, unsigned slot2, unsigned flags,
                    sim_answer_fn fn)
{
    struct sim_task *task = sim_task_new(process, fn);
    Pohmel__RenameRequest message = POHMEL__RENAME_REQUEST__INIT;
    task->slot = slot;
    task->slot2 = slot2;
    task->flags = flags;
    task->moved = stands_for(task, slot);
    task->replaced = stands_for(task, slot2);
    sim_change_name(task, slot, TRUE);
    sim_change_name(task, slot2, TRUE);
    sim_change_sent(task);
    message.caller = (Pohmel__Caller *) &nobody;
    message.old_parent = sim_slot_directory(slot);
    message.old_name = sim_slot_name(slot);
    message.new_parent = sim_slot_directory(slot2);
    message.new_name = sim_slot_name(slot2);
    message.flags = flags;
    ph_send_rename(stub_of(task), &message, NULL, renamed, task);
}
