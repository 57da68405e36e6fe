#include "client/core/request.h"

#include <stdlib.h>

#include "ph_commands.h"
#include "runtime/base/limits.h"
#include "runtime/wire/command.h"

struct ph_client_request *ph_request_new(uint16_t command, size_t message_len, struct ph_blob *payload)
{
    struct ph_client_request *request = calloc(1, sizeof(*request) + message_len);
    if (!request)
        abort();
    atomic_init(&request->refs, 1);
    atomic_init(&request->wire, 0);
    request->command = request->kind = command;
    request->queue = PH_QUEUE_PLAIN;
    request->payload = payload ? ph_blob_ref(payload) : NULL;
    request->cost = 1;
    request->message_len = message_len;
    request->slot = PH_NO_SLOT;
    request->deadline_ms = UINT64_MAX;
    return request;
}

static enum ph_request_queue queue_of(uint16_t command, const ProtobufCMessage *message)
{
    switch (command) {
    case PH_CMD_TRANSACT:
        return PH_QUEUE_TRANSACT;
    case PH_CMD_LOCK:
        return ((const Pohmel__LockRequest *) message)->wait ? PH_QUEUE_WAIT : PH_QUEUE_PLAIN;
    case PH_CMD_LEASE_ACQUIRE:
        return PH_QUEUE_WAIT;
    case PH_CMD_UNLOCK:
    case PH_CMD_CLOSE:
    case PH_CMD_LEASE_RELEASE:
    case PH_CMD_GLIMPSE_ANSWER:
    case PH_CMD_SESSION_RENEW:
    case PH_CMD_SESSION_CLOSE:
        return PH_QUEUE_RELEASE;
    /* What reads an object waits while another client holds that exclusively (section 9.11). A READ does not
     * where a lease of our own covers it, and then others may wait for its answer: it is not among these. */
    case PH_CMD_LOOKUP:
    case PH_CMD_GETATTR:
    case PH_CMD_READLINK:
    case PH_CMD_ACCESS:
    case PH_CMD_OPEN:
    case PH_CMD_READDIR:
    case PH_CMD_SEEK:
    case PH_CMD_GETXATTR:
    case PH_CMD_LISTXATTR:
        return PH_QUEUE_HELD;
    default:
        return PH_QUEUE_PLAIN;
    }
}

static uint16_t kind_of(uint16_t command, const ProtobufCMessage *message)
{
    const Pohmel__TransactRequest *transact = (const Pohmel__TransactRequest *) message;
    bool one = command == PH_CMD_TRANSACT && transact->n_changes == 1;
    return one ? (uint16_t) transact->changes[0]->command_case : command;
}

/* The handle that COMMAND opens or closes, 0 for none. */
static uint64_t handle_of(uint16_t command, const ProtobufCMessage *message)
{
    if (command == PH_CMD_OPEN)
        return ((const Pohmel__OpenRequest *) message)->handle;
    if (command == PH_CMD_CLOSE)
        return ((const Pohmel__CloseRequest *) message)->handle;
    const Pohmel__TransactRequest *transact = (const Pohmel__TransactRequest *) message;
    if (command != PH_CMD_TRANSACT || transact->n_changes != 1)
        return 0;
    const Pohmel__Change *change = transact->changes[0];
    if (change->command_case == POHMEL__CHANGE__COMMAND_CREATE)
        return change->create->handle;
    return change->command_case == POHMEL__CHANGE__COMMAND_TMPFILE ? change->tmpfile->handle : 0;
}

struct ph_client_request *ph_request_encode(uint16_t command, const ProtobufCMessage *message,
                                            struct ph_blob *payload)
{
    struct ph_client_request *request = ph_request_new(command, ph_encoded_size(message), payload);
    ph_encode(message, request->message);
    request->queue = queue_of(command, message);
    request->kind = kind_of(command, message);
    request->handle = handle_of(command, message);
    request->brief = command == PH_CMD_OPEN && ((const Pohmel__OpenRequest *) message)->brief;
    uint32_t wanted = command == PH_CMD_READ ? ((const Pohmel__ReadRequest *) message)->length : 0;
    request->cost = ph_credit_cost(payload ? (uint32_t) payload->len : 0, wanted);
    return request;
}

void ph_request_for_flush(struct ph_client_request *request, uint64_t generation)
{
    request->generation = generation;
    if (request->queue != PH_QUEUE_RELEASE)
        request->queue = PH_QUEUE_FLUSH;
}

bool ph_request_needs_slot(const struct ph_client_request *request)
{
    return request->command == PH_CMD_TRANSACT;
}

struct ph_client_request *ph_request_ref(struct ph_client_request *request)
{
    atomic_fetch_add_explicit(&request->refs, 1, memory_order_relaxed);
    return request;
}

void ph_request_unref(struct ph_client_request *request)
{
    if (!request || atomic_fetch_sub_explicit(&request->refs, 1, memory_order_acq_rel) != 1)
        return;
    ph_blob_unref(request->payload);
    free(request);
}
