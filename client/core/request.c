#include "client/core/request.h"

#include <stdlib.h>

struct ph_client_request *
ph_request_new(uint16_t command, size_t message_len, struct ph_blob *payload)
{
    struct ph_client_request *request = calloc(1, sizeof(*request) + message_len);
    if (!request)
        abort();
    atomic_init(&request->refs, 1);
    atomic_init(&request->wire, 0);
    request->command = command;
    request->queue = PH_QUEUE_PLAIN;
    request->payload = payload ? ph_blob_ref(payload) : NULL;
    request->cost = 1;
    request->message_len = message_len;
    request->slot = PH_NO_SLOT;
    request->deadline_ms = UINT64_MAX;
    return request;
}

struct ph_client_request *
ph_request_ref(struct ph_client_request *request)
{
    atomic_fetch_add_explicit(&request->refs, 1, memory_order_relaxed);
    return request;
}

void
ph_request_unref(struct ph_client_request *request)
{
    if (!request || atomic_fetch_sub_explicit(&request->refs, 1, memory_order_acq_rel) != 1)
        return;
    ph_blob_unref(request->payload);
    free(request);
}
