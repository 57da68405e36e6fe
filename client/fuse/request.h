/* One request of the kernel on its way to the server and back. */
#ifndef PH_CLIENT_FUSE_REQUEST_H
#define PH_CLIENT_FUSE_REQUEST_H

#include <stdatomic.h>
#include <string.h>

#include "client/core/cache.h"
#include "client/fuse/busy.h"
#include "client/fuse/mount.h"
#include "client/fuse/open_file.h"
#include "runtime/wire/stub.h"

struct ph_groups;

/* What may end the wait of a request before its answer is there. */
enum ph_wait {
    PH_WAIT_KILLED, /* only the death of the process: other signals must not leak into results */
    PH_WAIT_SIGNAL, /* any signal: waits for locks */
    PH_WAIT_FORCED, /* the kernel will not say; looked after when the process is exiting */
};

struct ph_request {
    struct ph_mount *mount;
    fuse_req_t req;
    Pohmel__Caller caller; /* to point messages at; valid until ph_request_sent */

    /* For the callback; each operation uses what it needs. */
    uint64_t object; /* object, or directory that holds NAME */
    uint64_t handle; /* handle that the request opens, 0 for none */
    uint64_t offset;
    uint64_t position; /* of a directory, at the server */
    uint64_t owner;
    size_t size;
    unsigned flags;
    struct ph_open *open; /* open file or directory concerned; a reference, or NULL */
    char *name;           /* owned, or NULL */
    void *extra;          /* owned, freed with g_free, or NULL */

    /* For the coherence: when it asked; what it changes, if anything; a write of pages. */
    struct ph_cache_ask ask;
    struct ph_cache_change change;
    struct ph_busy_read read;
    struct ph_busy_write write;
    uint64_t renamed, replaced; /* objects of the names of a RENAME; 0 for not known */
    bool attr_once;             /* the kernel takes the attributes of this answer whatever it heard since */
    bool tracked;               /* READ or WRITE that the coherence was told of */
    unsigned tries;             /* to get a lease */
    bool opens_again;           /* what it has opened at the server is asked for a second time */
    bool opens_to_read;         /* where all data come with that, it need not stay open there */
    uint64_t opens_of;          /* before it, files of this object are opened at the server (open_here.h) */
    void (*went)(struct ph_request *request); /* what that is done for */
    struct ph_blob *value;                    /* payload of a change that is not sent yet; or NULL */
    struct ph_blob *brought;                /* all data of a small file, which its opening brought; or NULL */
    void (*go)(struct ph_request *request); /* what an ACQUIRE was sent for */
    void (*fail)(struct ph_request *request,
                 uint32_t status); /* and what when it was cancelled; NULL: finish */

    /* Of request.c and interrupt.c. */
    struct ph_groups *groups;
    _Atomic int refs;
    _Atomic uint64_t ticket;
    uint64_t number;
    pid_t pid;
    enum ph_wait wait;
    uint64_t cancel_at_ms;  /* when the wait is to be given up; 0: never */
    bool interrupted;       /* a signal is pending for the process */
    _Atomic bool abandoned; /* the process is being killed: nobody hears the answer */
    struct ph_request *next, *previous;
};

/* Starts a request: fills in who asks, and lets interrupts find it. Never fails
 * (aborts without memory for a few hundred bytes, like all of GLib). */
struct ph_request *ph_request_begin(fuse_req_t req, enum ph_wait wait);

/* The sender is done with it; TICKET is what ph_send_... returned. The request may be gone
 * afterwards. */
void ph_request_sent(struct ph_request *request, uint64_t ticket);

/* The callback sends another message for the same request: ph_request_sent is due once more. */
void ph_request_again(struct ph_request *request);

/* The callback is done with it, having answered the kernel or going to do so
 * right now. Called at the start of each callback's answer: interrupts do not
 * find the request any more. */
void ph_request_settle(struct ph_request *request);

/* The callback gives up its reference, last of all. */
void ph_request_end(struct ph_request *request);

/* settle, answer the kernel with the errno of STATUS (0 for done), end. */
void ph_request_finish(struct ph_request *request, uint32_t status);

/* The same with an errno. */
void ph_request_fail(struct ph_request *request, int error);

/* The request was never sent: answers the kernel with ERROR and frees it. */
void ph_request_refuse(struct ph_request *request, int error);

/* REQUEST, about to be sent, changes OBJECT (attributes, data) and nothing else: the coherence is told. */
void ph_request_changes(struct ph_request *request, uint64_t object);

/* The same for a SETATTR that leaves the size alone: the kernel takes the attributes from its answer. */
void ph_request_changes_attributes(struct ph_request *request, uint64_t object);

/* The same for an extended attribute of OBJECT. */
void ph_request_changes_xattrs(struct ph_request *request, uint64_t object);

/* A callback for requests whose reply carries nothing: answers the status. */
void ph_request_done(void *data, const struct ph_reply *reply);

enum { PH_ACQUIRE_TRIES = 100 }; /* for a lease that others always take away before it is used */

/* Asks for a lease on the request's object, then calls GO, whatever the answer was; a request that was
 * cancelled meanwhile is ended by its `fail` instead (NULL: ph_request_finish). */
void ph_request_acquire(struct ph_request *request, void (*go)(struct ph_request *request));

/* errno for the kernel; statuses of a broken session become EIO. */
int ph_request_errno(uint32_t status);

/* The mount behind a request of the kernel. */
static inline struct ph_mount *ph_mount_of(fuse_req_t req)
{
    return fuse_req_userdata(req);
}

/* TEXT as bytes of a message; borrowed. */
static inline ProtobufCBinaryData ph_name_bytes(const char *text)
{
    return (ProtobufCBinaryData){.len = strlen(text), .data = (uint8_t *) text};
}

#endif
