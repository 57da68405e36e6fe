/* Asking for a lease before something that the kernel is going to keep is read: without one nobody would
 * tell when it is out of date. */
#include "client/fuse/coherence.h"
#include "client/fuse/request.h"
#include "ph_commands.h"
#include "ph_stubs.h"

/* With the lease or without, the request goes on; what is read without does not stay. */
static void acquired(void *data, const struct ph_reply *reply)
{
    struct ph_request *request = data;
    const Pohmel__LeaseAcquireReply *acquired = ph_reply_lease_acquire(reply);
    if (reply->status == PH_ST_CANCELLED) {
        (request->fail != NULL ? request->fail : ph_request_finish)(request, reply->status);
        return;
    }
    if (acquired != NULL) {
        struct ph_told told;
        Pohmel__Attr *attr = acquired->grant->attr;
        attr->lease = acquired->grant->lease;
        attr->lease_mode = acquired->grant->mode;
        ph_coherence_learn(request->mount->coherence, &request->ask, attr, &told);
        ph_coherence_told(request->mount->coherence, &told, false);
    }
    /* One of our own that is on its way back is in the way: that passes. All else does not. */
    if (acquired == NULL && reply->status != PH_ST_NO_LEASE) {
        request->tries = request->read.yielding ? PH_ACQUIRE_TRIES : 0;
        request->read.yielding = true; /* a shared one may be had */
    }
    ph_request_again(request);
    request->go(request);
}

void ph_request_acquire(struct ph_request *request, void (*go)(struct ph_request *request))
{
    Pohmel__LeaseAcquireRequest message = POHMEL__LEASE_ACQUIRE_REQUEST__INIT;
    bool exclusive = request->tracked && !request->read.yielding &&
                     ph_coherence_has_writer(request->mount->coherence, request->object);
    request->go = go;
    message.object = request->object;
    message.mode = exclusive ? POHMEL__LEASE_MODE__MODE_EXCLUSIVE : POHMEL__LEASE_MODE__MODE_SHARED;
    ph_request_sent(request, ph_send_lease_acquire(request->mount->stub, &message, NULL, acquired, request));
}
