/* Answers that the model store keeps together with what they are about. */
#include <string.h>

#include "conformance/sim/model_private.h"
#include "runtime/wire/command.h"

void model_record_free(void *data)
{
    struct model_record *record = data;
    g_bytes_unref(record->reply);
    g_free(record);
}

/* That of the slot of CALL, or NULL. */
static struct model_record *find(struct model_store *store, const struct ph_call *call)
{
    for (guint i = 0; i < store->records->len; i++) {
        struct model_record *record = store->records->pdata[i];
        if (record->session == call->session_number && record->slot == call->slot &&
            memcmp(record->client, call->client, PH_CLIENT_ID_BYTES) == 0)
            return record;
    }
    return NULL;
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
    uint8_t *packed = g_malloc(len + 1);
    pohmel__transact_reply__pack(reply, packed);
    g_clear_pointer(&record->reply, g_bytes_unref);
    record->reply = g_bytes_new_take(packed, len);
    record->epoch = store->epoch;
    record->sequence = call->sequence;
    record->crc = call->request_crc;
}

/* What a CREATE had opened is open again. */
static void open_again(struct model_store *store, const struct ph_call *call, const Pohmel__Change *change,
                       const Pohmel__ChangeResult *result)
{
    if (change->command_case != POHMEL__CHANGE__COMMAND_CREATE || change->create->handle == 0)
        return;
    uint64_t object = result->create->attr->object;
    if (model_find(store, object) && !model_handle(store, call->session, change->create->handle))
        model_handle_add(store, call->session, change->create->handle, object);
}

bool model_record_find(void *self, struct ph_call *call, const Pohmel__TransactRequest *request,
                       Pohmel__TransactReply *reply)
{
    struct model_store *store = self;
    const struct model_record *record = call->in_slot ? find(store, call) : NULL;
    struct ph_fault fault = {0};
    if (!record || record->epoch == store->epoch || record->sequence != call->sequence ||
        record->crc != call->request_crc)
        return false;
    const Pohmel__TransactReply *kept = (const Pohmel__TransactReply *) ph_decode(
        ph_command_info(PH_CMD_TRANSACT)->reply, g_bytes_get_data(record->reply, NULL),
        g_bytes_get_size(record->reply), call->arena, &fault);
    if (!kept)
        return false;
    *reply = *kept;
    for (size_t i = 0; i < request->n_changes; i++)
        open_again(store, call, request->changes[i], kept->results[i]);
    return true;
}
