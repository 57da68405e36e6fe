/* Transactions and the journal: what is entered before a command is executed and after it, and answers of
 * an earlier run of the server. docs/decisions/0013-exactly-once-across-a-kill.md. */
#include <errno.h>
#include <string.h>

#include "ph_commands.h"
#include "runtime/wire/frame.h"
#include "server/store/posix_recover.h"
#include "server/store/staged.h"

enum { ACCESS_WRITE = PH_OPEN_WRITE, ACCESS_BOTH = PH_OPEN_READ | PH_OPEN_WRITE };

static void name_put(char name[PH_NAME_MAX_BYTES + 1], const ProtobufCBinaryData *bytes)
{
    size_t len = MIN(bytes->len, (size_t) PH_NAME_MAX_BYTES);
    memcpy(name, bytes->data, len);
    name[len] = '\0';
}

static void named_put(struct ph_journal_intent *intent, uint64_t parent, const ProtobufCBinaryData *name)
{
    intent->parent = parent;
    name_put(intent->name, name);
}

static void times_put(struct ph_journal_intent *intent, const Pohmel__Time *accessed,
                      const Pohmel__Time *modified)
{
    if (accessed != NULL) {
        intent->accessed_s = accessed->seconds;
        intent->accessed_ns = accessed->nanoseconds;
    }
    if (modified != NULL) {
        intent->modified_s = modified->seconds;
        intent->modified_ns = modified->nanoseconds;
    }
}

static void bytes_put(struct ph_journal_intent *intent, const struct ph_call *call, size_t len)
{
    const struct ph_blob *payload = call->payload_in;
    size_t have = payload != NULL ? payload->len : 0;
    intent->bytes_len = (uint32_t) len;
    if (len <= have) /* else it will be refused */
        intent->bytes_crc =
            ph_crc32c(0, payload != NULL ? payload->data : NULL, MIN(len, (size_t) PH_RECOVER_CHECK_BYTES));
}

/* What makes an object. */
static bool made_put(struct ph_journal_intent *intent, const Pohmel__Change *change)
{
    const Pohmel__CreateRequest *create = change->create;
    switch ((int) change->command_case) {
    case PH_CMD_CREATE:
        intent->object = create->object;
        intent->uid = create->caller->uid;
        intent->mode = S_IFREG;
        intent->flags = create->length > 0 || create->attributes != NULL ? PH_RECOVER_CONTENT : 0;
        named_put(intent, create->parent, &create->name);
        return true;
    case PH_CMD_MKDIR:
        intent->object = change->mkdir->object;
        intent->uid = change->mkdir->caller->uid;
        intent->mode = S_IFDIR;
        named_put(intent, change->mkdir->parent, &change->mkdir->name);
        return true;
    case PH_CMD_SYMLINK:
        intent->object = change->symlink->object;
        intent->uid = change->symlink->caller->uid;
        intent->mode = S_IFLNK;
        named_put(intent, change->symlink->parent, &change->symlink->name);
        return true;
    case PH_CMD_MKNOD:
        intent->object = change->mknod->object;
        intent->uid = change->mknod->caller->uid;
        intent->mode = change->mknod->mode & S_IFMT;
        named_put(intent, change->mknod->parent, &change->mknod->name);
        return true;
    default:
        return false;
    }
}

/* What gives names and takes them. */
static bool name_change_put(struct ph_journal_intent *intent, const Pohmel__Change *change)
{
    switch ((int) change->command_case) {
    case PH_CMD_LINK:
        intent->object = change->link->object;
        named_put(intent, change->link->parent, &change->link->name);
        return true;
    case PH_CMD_REMOVE:
        named_put(intent, change->remove->parent, &change->remove->name);
        return true;
    case PH_CMD_RMDIR:
        named_put(intent, change->rmdir->parent, &change->rmdir->name);
        return true;
    case PH_CMD_RMTREE:
        named_put(intent, change->rmtree->parent, &change->rmtree->name);
        return true;
    case PH_CMD_RENAME:
        named_put(intent, change->rename->old_parent, &change->rename->old_name);
        intent->to_parent = change->rename->new_parent;
        name_put(intent->to_name, &change->rename->new_name);
        intent->flags = change->rename->flags;
        return true;
    default:
        return false;
    }
}

static void setattr_put(struct ph_journal_intent *intent, const Pohmel__SetattrRequest *set)
{
    intent->object = set->object;
    intent->flags = set->which;
    intent->mode = set->mode;
    intent->uid = set->uid;
    intent->gid = set->gid;
    intent->size = set->size;
    times_put(intent, set->accessed, set->modified);
}

/* What changes an object; false for what needs no record, executing it again being as good. */
static bool object_change_put(struct ph_journal_intent *intent, const struct ph_call *call,
                              const Pohmel__Change *change)
{
    switch ((int) change->command_case) {
    case PH_CMD_SETATTR:
        setattr_put(intent, change->setattr);
        return true;
    case PH_CMD_WRITE:
        intent->object = change->write->object;
        intent->flags = (change->write->append ? PH_RECOVER_APPEND : 0) |
                        (change->write->modified != NULL ? PH_RECOVER_MODIFIED : 0) |
                        (change->write->stable != 0 ? PH_RECOVER_STABLE : 0);
        times_put(intent, NULL, change->write->modified);
        if (change->write->append)
            bytes_put(intent, call, change->write->length);
        return true;
    case PH_CMD_SETXATTR:
        intent->object = change->setxattr->object;
        name_put(intent->name, &change->setxattr->name);
        bytes_put(intent, call, change->setxattr->length);
        return true;
    case PH_CMD_REMOVEXATTR:
        intent->object = change->removexattr->object;
        name_put(intent->name, &change->removexattr->name);
        return true;
    case PH_CMD_TMPFILE:
        intent->object = change->tmpfile->object;
        return true;
    case PH_CMD_ALLOCATE:
    case PH_CMD_COPY:
    case PH_CMD_MKPATH:
        return true;
    default:
        return false;
    }
}

void ph_store_journal_begin(struct ph_posix_store *store, struct ph_call *call, const Pohmel__Change *change)
{
    struct ph_journal_intent intent = {.sequence = call->sequence, .request_crc = call->request_crc};
    call->record = NULL;
    if (store->journal == NULL || !call->in_slot || call->client == NULL)
        return;
    intent.command = (uint16_t) change->command_case;
    if (!made_put(&intent, change) && !name_change_put(&intent, change) &&
        !object_change_put(&intent, call, change))
        intent.command = 0;
    struct ph_journal_record *record =
        ph_journal_record(store->journal, call->session, call->client, call->session_number, call->slot);
    if (record == NULL)
        return;
    if (intent.command == 0) { /* what stood there is of no use any more */
        ph_journal_drop(store->journal, record);
        return;
    }
    const uint64_t ids[] = {intent.object, intent.parent, intent.to_parent};
    ph_objects_remember(store, ids, G_N_ELEMENTS(ids));
    ph_journal_begin(store->journal, record, &intent);
    call->record = record;
}

void ph_store_journal_end(struct ph_posix_store *store, struct ph_call *call, uint32_t status,
                          const Pohmel__TransactReply *reply)
{
    struct ph_journal_record *record = g_steal_pointer(&call->record);
    uint8_t bytes[PH_JOURNAL_ANSWER_MAX_BYTES];
    if (record == NULL)
        return;
    size_t len = status == PH_ST_OK ? ph_encoded_size(&reply->base) : sizeof bytes + 1;
    if (len > sizeof bytes) {
        ph_journal_drop(store->journal, record);
        return;
    }
    ph_encode(&reply->base, bytes);
    ph_journal_answer(store->journal, record, bytes, len);
}

static struct ph_journal_named named_of(const struct ph_victim *victim)
{
    if (victim == NULL || victim->object == NULL)
        return (struct ph_journal_named){0};
    struct ph_identity identity = ph_identity_of(&victim->stx);
    return (struct ph_journal_named){
        .id = victim->object->id,
        .dev = identity.dev,
        .ino = identity.ino,
        .btime_ns = identity.btime_ns,
        .links = victim->stx.stx_nlink,
        .type = victim->stx.stx_mode & S_IFMT,
    };
}

void ph_store_journal_note(struct ph_posix_store *store, struct ph_call *call, const struct ph_victim *victim,
                           const struct ph_victim *replaced, uint64_t number)
{
    if (call->record == NULL)
        return;
    struct ph_journal_before before = {
        .object = named_of(victim), .replaced = named_of(replaced), .number = number};
    ph_journal_note(store->journal, call->record, &before);
}

/* ---- Answers of an earlier run ---- */

/* HANDLE of the object ID is open again, unless its client was faster. False: it is not, the object is gone.
 */
static bool handle_again(struct ph_posix_store *store, struct ph_call *call, uint64_t handle, uint32_t access,
                         uint64_t id)
{
    bool open_now = false;
    struct ph_handle *present = NULL;
    struct ph_fd *reach = NULL;
    char path[32];
    struct ph_object *object = ph_object_by_id(store, id);
    if (object != NULL && S_ISREG(object->type) &&
        ph_store_handle_check(store, call, handle, object->id, &present) == PH_ST_OK && present == NULL &&
        ph_object_fd(store, object, &reach) == PH_ST_OK) {
        ph_creds_server();
        ph_proc_path(reach->fd, path);
        int fd = open(path, O_CLOEXEC | (access == ACCESS_BOTH    ? O_RDWR
                                         : access == ACCESS_WRITE ? O_WRONLY
                                                                  : O_RDONLY));
        open_now = fd >= 0 && ph_store_handle_open(store, call, handle, object, fd, access) == PH_ST_OK;
    }
    open_now = open_now || present != NULL;
    call->fault = (struct ph_fault){0};
    ph_store_handle_unref(store, present);
    ph_fd_unref(reach);
    ph_object_unref(store, object);
    return open_now;
}

/* Where the result of a CREATE was not kept, the object is the one that it was to make. */
static void created_again(struct ph_posix_store *store, struct ph_call *call,
                          const Pohmel__CreateRequest *request, const Pohmel__ChangeResult *result)
{
    const Pohmel__CreateResult *created =
        result != NULL && result->result_case == POHMEL__CHANGE_RESULT__RESULT_CREATE ? result->create : NULL;
    if (request->handle == 0 || (created != NULL && created->attr == NULL))
        return;
    handle_again(store, call, request->handle, request->access,
                 created != NULL ? created->attr->object : request->object);
}

bool ph_posix_recorded(void *self, struct ph_call *call, const Pohmel__TransactRequest *request,
                       Pohmel__TransactReply *reply)
{
    struct ph_posix_store *store = self;
    struct ph_journal_intent intent;
    struct ph_fault fault = {0};
    const uint8_t *bytes;
    size_t len;
    if (store->journal == NULL || !call->in_slot || call->client == NULL)
        return false;
    struct ph_journal_record *record =
        ph_journal_find(store->journal, call->client, call->session_number, call->slot);
    if (record == NULL || !ph_journal_is_earlier(record) || !ph_journal_intent(record, &intent) ||
        intent.sequence != call->sequence || intent.request_crc != call->request_crc ||
        !ph_journal_answered(record, &bytes, &len))
        return false;
    Pohmel__TransactReply *recorded = (Pohmel__TransactReply *) ph_decode(
        ph_command_info(PH_CMD_TRANSACT)->reply, bytes, len, call->arena, &fault);
    bool several = intent.command == PH_CMD_TRANSACT; /* its results may have taken too much room */
    if (recorded == NULL ||
        (recorded->n_results != request->n_changes && !(several && recorded->n_results == 0)))
        return false;
    /* A file without a name that nobody had open when the time to come back was over went: it is made again.
     */
    const Pohmel__Change *first = request->changes[0];
    if (intent.command == PH_CMD_TMPFILE && first->command_case == POHMEL__CHANGE__COMMAND_TMPFILE &&
        !handle_again(store, call, first->tmpfile->handle, first->tmpfile->access, first->tmpfile->object))
        return false;
    *reply = *recorded;
    for (size_t i = 0; i < request->n_changes; i++)
        if (request->changes[i]->command_case == POHMEL__CHANGE__COMMAND_CREATE)
            created_again(store, call, request->changes[i]->create,
                          i < reply->n_results ? reply->results[i] : NULL);
    /* From now on the session is served, and its records with it. */
    ph_journal_record(store->journal, call->session, call->client, call->session_number, call->slot);
    return true;
}

void ph_posix_forget_session(void *self, const uint8_t *client, uint64_t number)
{
    struct ph_posix_store *store = self;
    if (store->journal != NULL)
        ph_journal_forget(store->journal, client, number);
    if (store->staged != NULL)
        ph_stage_forget(store->staged, client, number);
}

bool ph_posix_continued(void *self)
{
    const struct ph_posix_store *store = self;
    return store->journal != NULL && ph_journal_continued(store->journal);
}
