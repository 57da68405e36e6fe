/* A transaction of several commands on a simulated machine, as client/fuse/ops_txn.c sends one. */
#include <string.h>

#include "conformance/sim/caching.h"
#include "conformance/sim/caching_change.h"
#include "conformance/sim/several.h"
#include "ph_commands.h"
#include "ph_stubs.h"
#include "runtime/base/limits.h"

/* The request, while it is put together. */
struct composing {
    Pohmel__TransactRequest message;
    Pohmel__Change change[SIM_PARTS_MAX], *changes[SIM_PARTS_MAX];
    union {
        Pohmel__WriteRequest write;
        Pohmel__CreateRequest create;
        Pohmel__RemoveRequest remove;
        Pohmel__RenameRequest rename;
    } command[SIM_PARTS_MAX];
    struct ph_blob *payload;
};

static const Pohmel__Caller nobody = POHMEL__CALLER__INIT;

static void compose_write(struct composing *composing, unsigned at, const struct sim_part *part)
{
    Pohmel__WriteRequest *write = &composing->command[at].write;
    uint64_t value = GUINT64_TO_LE(part->value);
    pohmel__write_request__init(write);
    write->caller = (Pohmel__Caller *) &nobody;
    write->object = part->object;
    write->handle = part->handle;
    write->offset = part->kind == SIM_PART_SET ? (uint64_t) part->slot * MODEL_VALUE_BYTES : 0;
    write->length = MODEL_VALUE_BYTES;
    memcpy(composing->payload->data + composing->payload->len, &value, sizeof(value));
    composing->payload->len += sizeof(value);
    composing->change[at].command_case = POHMEL__CHANGE__COMMAND_WRITE;
    composing->change[at].write = write;
}

static void compose_create(struct composing *composing, unsigned at, const struct sim_part *part)
{
    Pohmel__CreateRequest *create = &composing->command[at].create;
    pohmel__create_request__init(create);
    create->caller = (Pohmel__Caller *) &nobody;
    create->parent = sim_slot_directory(part->slot);
    create->name = sim_slot_name(part->slot);
    create->object = part->object;
    create->handle = part->handle;
    create->mode = 0755;
    create->access = part->handle != 0 ? 3 : 0;
    create->exclusive = true;
    composing->change[at].command_case = POHMEL__CHANGE__COMMAND_CREATE;
    composing->change[at].create = create;
}

static void compose_remove(struct composing *composing, unsigned at, const struct sim_part *part)
{
    Pohmel__RemoveRequest *remove = &composing->command[at].remove;
    pohmel__remove_request__init(remove);
    remove->caller = (Pohmel__Caller *) &nobody;
    remove->parent = sim_slot_directory(part->slot);
    remove->name = sim_slot_name(part->slot);
    if (part->kind == SIM_PART_FAIL)
        remove->name = (ProtobufCBinaryData){.len = 4, .data = (uint8_t *) "none"};
    composing->change[at].command_case = POHMEL__CHANGE__COMMAND_REMOVE;
    composing->change[at].remove = remove;
}

static void compose_rename(struct composing *composing, unsigned at, const struct sim_part *part)
{
    Pohmel__RenameRequest *rename = &composing->command[at].rename;
    pohmel__rename_request__init(rename);
    rename->caller = (Pohmel__Caller *) &nobody;
    rename->old_parent = sim_slot_directory(part->slot);
    rename->old_name = sim_slot_name(part->slot);
    rename->new_parent = sim_slot_directory(part->slot2);
    rename->new_name = sim_slot_name(part->slot2);
    rename->object = part->object;
    rename->flags = part->flags;
    composing->change[at].command_case = POHMEL__CHANGE__COMMAND_RENAME;
    composing->change[at].rename = rename;
}

static void compose(struct composing *composing, const struct sim_several *several)
{
    pohmel__transact_request__init(&composing->message);
    composing->payload = ph_blob_new(SIM_PARTS_MAX * MODEL_VALUE_BYTES);
    composing->payload->len = 0;
    for (unsigned at = 0; at < several->count; at++) {
        const struct sim_part *part = &several->part[at];
        pohmel__change__init(&composing->change[at]);
        composing->changes[at] = &composing->change[at];
        if (part->kind == SIM_PART_SET || part->kind == SIM_PART_FILL)
            compose_write(composing, at, part);
        else if (part->kind == SIM_PART_CREATE)
            compose_create(composing, at, part);
        else if (part->kind == SIM_PART_RENAME)
            compose_rename(composing, at, part);
        else
            compose_remove(composing, at, part);
    }
    composing->message.n_changes = several->count;
    composing->message.changes = composing->changes;
}

/* The pages of what is written are not right from now on, nor what is being read; and no more when it is
 * OVER.
 */
static void spoil_pages(struct sim_task *task, gboolean over)
{
    const struct sim_several *several = &task->process->several;
    for (unsigned i = 0; i < several->count; i++) {
        if (several->part[i].kind != SIM_PART_SET)
            continue;
        struct sim_inode *inode = sim_inode(task->caching, several->part[i].object);
        inode->writes = over ? inode->writes - 1 : inode->writes + 1;
        sim_kernel_drop_pages(task->caching, inode->id);
    }
}

static void closed(void *data, const struct ph_reply *reply)
{
    (void) data, (void) reply;
}

/* What it had opened is closed again. */
static void close_made(struct sim_task *task)
{
    struct sim_client *client = task->caching->client;
    const struct sim_several *several = &task->process->several;
    for (unsigned i = 0; i < several->count; i++) {
        Pohmel__CloseRequest close = POHMEL__CLOSE_REQUEST__INIT;
        if (several->part[i].kind != SIM_PART_CREATE || several->part[i].handle == 0)
            continue;
        close.object = several->part[i].object;
        close.handle = several->part[i].handle;
        ph_send_close(&client->stub, &close, NULL, closed, client);
    }
}

static void end(struct sim_task *task, uint32_t status)
{
    spoil_pages(task, TRUE);
    sim_kernel_forget_names(task->caching);
    sim_change_end(task, status);
}

static void outcome(void *data, const struct ph_reply *reply)
{
    struct sim_task *task = data;
    const Pohmel__OutcomeReply *told = ph_reply_outcome(reply);
    if (told)
        end(task, told->done ? PH_ST_OK : PH_ST_STALE);
    else
        end(task, PH_ST_IO_ERROR);
}

static void transacted(void *data, const struct ph_reply *reply)
{
    struct sim_task *task = data;
    Pohmel__OutcomeRequest request = POHMEL__OUTCOME_REQUEST__INIT;
    request.key = task->process->several.key;
    if (reply->status == PH_ST_IO_ERROR && !reply->message) {
        ph_send_outcome(&task->caching->client->stub, &request, NULL, outcome, task);
        return;
    }
    if (reply->status == PH_ST_OK)
        close_made(task);
    end(task, reply->status);
}

void sim_ask_several(struct sim_process *process, const struct sim_several *several, sim_answer_fn fn)
{
    struct sim_task *task = sim_task_new(process, fn);
    struct composing composing;
    compose(&composing, several);
    composing.message.key = several->key;
    sim_change_all(task);
    sim_change_sent(task);
    spoil_pages(task, FALSE);
    ph_send_transact(&task->caching->client->stub, &composing.message, composing.payload, transacted, task);
    ph_blob_unref(composing.payload);
}
