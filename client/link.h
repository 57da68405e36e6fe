/* The link of a mount to its server: connection, session, requests in flight,
 * ids; the shell around client/core. All functions may be called from any
 * thread; none waits for the network except where it says so. */
#ifndef PH_CLIENT_LINK_H
#define PH_CLIENT_LINK_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "ph_protocol.h"
#include "runtime/io/address.h"
#include "runtime/wire/stub.h"

struct ph_link;
struct ph_reclaim;

/* What a session was told of leases. */
struct ph_link_leases {
    uint64_t generation; /* of the session, as ph_link_generation */
    bool granted, watched;
    bool write_back; /* changes may be made here: everybody acts with their own ids, and may write */
    bool ranges;     /* leases on ranges of bytes are granted */
    uint32_t ttl_ms;
    uint64_t epoch, unbroken; /* start of the server, and since which one nothing was lost */
};

/* What happens to the session, told to who caches under its leases. All on the link's thread, in the
 * order in which it came over the connection, replies among them. None may wait. */
struct ph_link_events {
    void (*opened)(void *data, const struct ph_link_leases *leases); /* before its first reply */
    void (*lost)(void *data); /* before its requests fail. May come twice */
    /* the session may go on, but its leases have run out: what was promised under them is to be taken back,
     * and is good again only from when a request was answered in it. May be followed by LOST. */
    void (*expired)(void *data);
    /* The server was started anew: every lease that is held is added to RECLAIM (client/core/reclaim.h) ...
     */
    void (*claims)(void *data, struct ph_reclaim *reclaim);
    /* ... and goes on under the id that RECLAIM has by now, or not at all. */
    void (*claimed)(void *data, const struct ph_reclaim *reclaim);
    /* no session, for now: TEXT says why, for a person. HOPELESS: it is another server, see ph_link_hopeless
     */
    void (*refused)(void *data, const char *text, bool hopeless);
    void (*reached)(void *data); /* there is a session again, after REFUSED */
    void (*recall)(void *data, const Pohmel__RecallEvent *recall);
    void (*glimpse)(void *data,
                    const Pohmel__GlimpseEvent *glimpse); /* NULL where write_back is not asked for */
};

#define PH_LINK_PATIENCE_FOREVER G_MAXUINT

enum { PH_LINK_CLIENT_BYTES = 16 };

struct ph_link_options {
    struct ph_address address;
    /* PH_LINK_CLIENT_BYTES random bytes that name the client: whoever knows them has its sessions. NULL: they
     * are made up. */
    const uint8_t *client;
    /* One session whose number is above those of all others of CLIENT, which end by it, and which holds
     * nothing: for who knows that the client is dead (R-4.1-12). */
    bool last_session;
    const char *export_name; /* "" for the server's only one */
    bool read_only;
    bool write_back;                     /* asks for exclusive leases where nobody else holds any */
    const struct ph_link_events *events; /* asks for leases; NULL: the user of the link does not cache */
    void *events_data;
    /* Seconds for which requests wait while the server cannot be reached before
     * they are answered IO_ERROR; 0: at once; PH_LINK_PATIENCE_FOREVER. */
    guint patience_s;
};

/* What the session was given; fixed for the life of the link but for SPACE. */
struct ph_link_info {
    uint64_t root;
    bool read_only, xattrs, acls, acts_as_caller;
    bool leases; /* granted in the first session */
    uint8_t volume[16];
    char *server_name; /* "host:port" */
    uint32_t payload_max;
    uint32_t commands_max; /* of one transaction, as the first session has it; 0 and 1: one */
};

/* Connects and opens a session; waits until it is open or has failed. Then
 * runs on a thread of its own until closed, and opens a new session by itself
 * whenever the connection was lost. NULL with ERROR, one line for a person. */
struct ph_link *ph_link_open(const struct ph_link_options *options, GError **error);

/* Ends the session in order: requests in flight are answered first, later ones fail at once. Waits. Whether
 * the server knows: it may still keep the session where it could not be reached. */
bool ph_link_shutdown(struct ph_link *link);

/* Does that, if it was not done, and frees the link. Waits. */
void ph_link_close(struct ph_link *link);

/* Valid for the life of LINK. */
const struct ph_link_info *ph_link_info(struct ph_link *link);

/* What the generated stubs send through. Requests that find no free slot or credit are queued. */
const struct ph_stub *ph_link_stub(struct ph_link *link);

/* Sends a command of write-back itself, as the stub does. It belongs to session GENERATION (as told to
 * events->opened), is sent in no other, and completes NO_SESSION where that is over: on the thread of the
 * link, after events->lost. Slots and credits are kept for such, so that they do not wait for what users
 * asked for, which may wait for other clients; they are never refused because too many requests wait, and
 * must be bounded by who sends them. They are to concern only objects that the session holds EXCLUSIVE or
 * made (R-9.11-12), or read what it holds a lease on. */
uint64_t ph_link_send_flush(struct ph_link *link, uint64_t generation, uint16_t command,
                            const ProtobufCMessage *message, struct ph_blob *payload, ph_reply_fn fn,
                            void *data);

/* The requester no longer waits for TICKET: a request still queued is answered
 * CANCELLED at once; of one that is under way the server is told, and its answer
 * comes as usual. Unknown tickets are ignored. */
void ph_link_cancel(struct ph_link *link, uint64_t ticket);

/* From now on who writes back makes again what a server lost, and says with ph_link_restored that that is
 * done: until then users' requests wait in a session that is opened after a loss. client/core/session.h. */
void ph_link_restores(struct ph_link *link);
void ph_link_restored(struct ph_link *link); /* NULL, while the first session opens, is fine */

/* The requester is gone (killed): its callback runs at once with CANCELLED,
 * and the server's answer is dropped when it comes. */
void ph_link_abandon(struct ph_link *link, uint64_t ticket);

/* TICKET was abandoned: LATE(DATA) is called when the server's answer has come after all, or never will
 * any more; at once where that is so already. On any thread. */
void ph_link_when_late(struct ph_link *link, uint64_t ticket, void (*late)(void *data), void *data);

/* COUNT ids in a row for new objects, from the ranges the server gave; waits
 * for the server only when none are left. 0 when there are none to be had. */
uint64_t ph_link_new_objects(struct ph_link *link, uint32_t count);

/* A handle never used before. */
uint64_t ph_link_new_handle(struct ph_link *link);

/* Whether HANDLE is open at the server, or will be again before what is sent from now on: what was open in a
 * session that was lost is opened again in the next, but for what had locks. Section 4.7. */
bool ph_link_has_handle(struct ph_link *link, uint64_t handle);

/* Number of sessions opened so far. */
uint64_t ph_link_generation(struct ph_link *link);

/* When the latest answered request of the session was sent, as ph_link_now_ms counts. Leases
 * live from then on. */
uint64_t ph_link_answered_sent_ms(struct ph_link *link);

/* Monotonic milliseconds, as all of the link counts. */
uint64_t ph_link_now_ms(void);

/* Whether a session is open now. */
bool ph_link_connected(struct ph_link *link);

/* Whether the server is another one than it was: nothing is sent to it, and nothing waits for it. */
bool ph_link_hopeless(struct ph_link *link);

/* Why there is no session, for a person; "" where there is one. To be freed with g_free. */
char *ph_link_trouble(struct ph_link *link);

/* OBJECT was seen under NAME (LEN bytes) in PARENT. With what was learned the
 * link finds objects again that a server forgot in a restart: a request that is
 * answered STALE is sent once more after the path was walked from the root
 * and led to the same object. Kept for a bounded number of objects. */
void ph_link_learn(struct ph_link *link, uint64_t object, uint64_t parent, const void *name, size_t len);

/* The same for all entries of a listing of DIRECTORY whose attributes came along. */
void ph_link_learn_listing(struct ph_link *link, uint64_t directory, const Pohmel__ReaddirReply *reply);

/* Where OBJECT was seen last, as a path from the root of the mount ("/" for that), ended by NUL, into OUT of
 * SIZE bytes. *BELOW is whether the object ABOVE (0: any) is on the way, or is OBJECT itself. False, with OUT
 * empty, when the path is not known or does not fit; *BELOW is told then as far as it is known. */
bool ph_link_path(struct ph_link *link, uint64_t object, uint64_t above, char *out, size_t size, bool *below);

/* Counters and state as "key: value" lines for pohmelctl status; free with g_free. */
char *ph_link_status_text(struct ph_link *link);

#endif
