/* Answers that the model store keeps together with what they are about. */
#include <string.h>

#include "conformance/sim/model_private.h"
#include "runtime/base/mutant.h"
#include "runtime/wire/command.h"

void model_record_free(void *data)
{
    struct model_record *record = data;
    g_clear_pointer(&record->reply, g_bytes_unref);
    g_free(record);
}

/* Results of several commands that take more room are not kept. */
enum { ROOM_BYTES = 200 };

/* That of the slot of SESSION of CLIENT, or NULL. */
static struct model_record *find_slot(struct model_store *store, const uint8_t *client, uint64_t session,
                                      uint32_t slot)
{
    for (guint i = 0; i < store->records->len; i++) {
        struct model_record *record = store->records->pdata[i];
        if (record->session == session && record->slot == slot &&
            memcmp(record->client, client, PH_CLIENT_ID_BYTES) == 0)
            return record;
    }
    return NULL;
}

static struct model_record *find(struct model_store *store, const struct ph_call *call)
{
    return find_slot(store, call->client, call->session_number, call->slot);
}

void model_record_keep(struct model_store *store, const struct ph_call *call,
                       const Pohmel__TransactReply *reply)
{
    struct model_record *record = call->in_slot ? find(store, call) : NULL;
    if (!call->in_slot)
        return;
    if (!record) {
        record = g_new0(struct model_record, 1);
        memcpy(record->client, call->client, PH_CLIENT_ID_BYTES);
        record->session = call->session_number;
        record->slot = call->slot;
        g_ptr_array_add(store->records, record);
    }
    gsize len = pohmel__transact_reply__get_packed_size(reply);
    g_clear_pointer(&record->reply, g_bytes_unref);
    if (reply->n_results == 1 || len <= ROOM_BYTES) {
        uint8_t *packed = g_malloc(len + 1);
        pohmel__transact_reply__pack(reply, packed);
        record->reply = g_bytes_new_take(packed, len);
    }
    record->epoch = store->epoch;
    record->sequence = call->sequence;
    record->crc = call->request_crc;
}

void model_record_done(struct model_store *store, const struct model_record *of)
{
    struct model_record *record = find_slot(store, of->client, of->session, of->slot);
    if (record && record->sequence == of->sequence && record->crc == of->crc)
        return; /* with its results, perhaps */
    if (!record) {
        record = g_new0(struct model_record, 1);
        g_ptr_array_add(store->records, record);
    }
    g_clear_pointer(&record->reply, g_bytes_unref);
    *record = *of;
}

/* What a CREATE had opened is open again; RESULT may be NULL. */
static void open_again(struct model_store *store, const struct ph_call *call, const Pohmel__Change *change,
                       const Pohmel__ChangeResult *result)
{
    if (change->command_case != POHMEL__CHANGE__COMMAND_CREATE || change->create->handle == 0)
        return;
    uint64_t object = result ? result->create->attr->object : change->create->object;
    if (model_find(store, object) && !model_handle(store, call->session, change->create->handle))
        model_handle_add(store, call->session, change->create->handle, object);
}

/* The results of RECORD; NULL where they cannot be read. */
static const Pohmel__TransactReply *reply_of(const struct model_record *record, struct ph_call *call)
{
    struct ph_fault fault = {0};
    if (!record->reply) {
        Pohmel__TransactReply *none = PH_ARENA_NEW(call->arena, Pohmel__TransactReply);
        pohmel__transact_reply__init(none);
        return none;
    }
    return (const Pohmel__TransactReply *) ph_decode(ph_command_info(PH_CMD_TRANSACT)->reply,
                                                     g_bytes_get_data(record->reply, NULL),
                                                     g_bytes_get_size(record->reply), call->arena, &fault);
}

bool model_record_find(void *self, struct ph_call *call, const Pohmel__TransactRequest *request,
                       Pohmel__TransactReply *reply)
{
    struct model_store *store = self;
    const struct model_record *record = call->in_slot ? find(store, call) : NULL;
    if (!record || record->epoch == store->epoch || record->sequence != call->sequence ||
        record->crc != call->request_crc || (PH_MUTANT(DONE_AGAIN) && request->n_changes > 1))
        return false;
    const Pohmel__TransactReply *kept = reply_of(record, call);
    if (!kept)
        return false;
    *reply = *kept;
    for (size_t i = 0; i < request->n_changes; i++)
        open_again(store, call, request->changes[i], i < kept->n_results ? kept->results[i] : NULL);
    return true;
}
