/* What write-back is made of; shared by client/core/wb_*.c.
 *
 * An object has an entry here while it is held exclusively, or something pins it: operations of the log,
 * handles that were opened here, calls that change it at the server. What is known of a directory's names
 * is in its entry. Attributes of an entry are those that its holder sees: the server's, with the changes of
 * the log applied. */
#ifndef PH_CLIENT_CORE_WB_PRIVATE_H
#define PH_CLIENT_CORE_WB_PRIVATE_H

#include <sys/stat.h>

#include "client/core/lru.h"
#include "client/core/wb.h"
#include "client/core/wb_data.h"
#include "client/core/wb_names.h"
#include "client/core/wb_quota.h"
#include "runtime/base/limits.h"

enum {
    WB_OP_BYTES = 512,           /* what an operation counts for in what is dirty */
    WB_TRACKED_MAX = 256 * 1024, /* objects without operations that are kept */
    WB_MARKS_MAX = 4096,         /* objects of which it is remembered that others want them */
    WB_MARK_TRIES = 8,
    WB_ROOM_TRIES = 4096, /* a listing brings up to 1024 */
    WB_TICK_AGAIN_MS = 10,
    WB_USED_MS = 2000,  /* a file is being written for so long after a write, unless it is closed */
    WB_REFUSED_MAX = 8, /* leases that are refused so often are asked for only now and then */
    WB_REFUSED_MS = 100,
    WB_HOT_MS = 2000, /* for so long no EXCLUSIVE lease is asked for after a recall */
    WB_SPACE_AGAIN_MS = 100,
    WB_SPACE_IDLE_MS = 2000, /* for so long nothing was dirty, and what is reserved is given back */
    WB_OBJECTS_SHARE = 4,    /* of the objects that can be made, that one client takes for granted */
    WB_BLOCK_BYTES = 4096,   /* that data takes at least */
    WB_TREE_PARTS = 64,      /* of data, one of which is what filesystems need to find it */
    WB_OBJECT_BYTES = 4096,  /* that an object takes at least */
    WB_PIECES_AT_ONCE = 8,   /* WRITEs of one file under way */
    WB_CALL_OBJECTS = 6,
    WB_ROUNDS_MAX = 8,   /* what a release waits for may bring more */
    WB_LINKS_MAX = 1000, /* of one object made here: filesystems differ in how many they take */
};

/* What is kept reserved for what comes next, when nothing is dirty. */
#define WB_SPACE_IDLE_BYTES (UINT64_C(16) << 20)
#define WB_TICKET_BIT (UINT64_C(1) << 63)
/* Larger files are the server's business: it knows its limits. */
#define WB_LOCAL_SIZE_MAX (UINT64_C(1) << 42)

enum { WB_NO_REPLACE = 1 }; /* RenameRequest.flags */

struct wb_caller {
    unsigned refs;
    Pohmel__Caller caller;
    uint32_t groups[];
};

enum wb_op_kind { WB_MAKE, WB_STATE, WB_LINK, WB_REMOVE, WB_RMDIR, WB_RENAME, WB_OPEN, WB_XATTR, WB_RANGE };

enum wb_step { WB_STEP_START, WB_STEP_OPEN, WB_STEP_CUT, WB_STEP_WRITE, WB_STEP_FINAL, WB_STEP_CHECK };

struct wb_object;
struct wb_op;

/* Membership of an operation among those in a directory. */
struct wb_child {
    struct wb_op *op;
    struct wb_object *directory;
    struct wb_child *next, *previous;
};

struct wb_waiter {
    struct wb_waiter *next;
    struct ph_wb_call *call;
};

/* What an operation waits for: OP, at whose dependents it is AT. */
struct wb_dep {
    struct wb_op *op;
    size_t at;
};

struct wb_op {
    enum wb_op_kind kind;
    bool due, queued, sent, done;
    bool later;      /* goes in a later session than that in which it was made */
    bool uncertain;  /* was sent in a session that ended before the answer */
    bool fresh_name; /* nothing else was under way about its names */
    unsigned refs;   /* the log, deps of others, calls */
    unsigned blockers;
    struct wb_op *next, *previous; /* in the log */
    struct wb_op *queue_next;      /* ready or stalled */
    struct wb_dep *deps;           /* what it waits for (references) */
    struct wb_op **dependents; /* what waits for it (references); NULL where something does not any more */
    size_t dep_count, dep_capacity, dependent_count, dependent_capacity, dependents_gone;
    struct wb_waiter *waiters;

    struct wb_object *objects[2]; /* what it is about: pinned */
    struct wb_child dirs[2];      /* directories of the names */
    char *names[2];
    size_t lens[2];
    struct wb_caller *caller;
    uint64_t made_ms;
    uint64_t charge;             /* space that it may take at the server */
    struct wb_due dues[WB_DUES]; /* and whose quota it comes out of, as far as there are any */

    uint16_t command;      /* MAKE, XATTR */
    struct ph_blob *value; /* XATTR: a reference, or NULL; names[0] is what it is called */
    uint32_t mode, umask, flags;
    uint64_t device, handle; /* handle: of OPEN; of STATE while it writes */
    char *target;
    uint32_t access;
    struct wb_op *folded; /* STATE that travels with MAKE: a reference */

    uint32_t which; /* STATE: attributes to be set at the end */
    enum wb_step step;
    unsigned outstanding;
    uint64_t cursor;
    uint64_t end;              /* of what was written */
    uint64_t cut, size, bytes; /* the size it was cut to and has in the end; how much is sent */
    bool data;                 /* some is being sent */
    bool cuts, writes, opened; /* it was cut; a handle is needed; there is one */
    bool said;                 /* the end of it was said with the data */
    uint32_t status;           /* first failure */
};

struct wb_handle {
    struct ph_lru_entry lru;
    struct wb_object *object;
    struct wb_caller *caller;
    uint32_t access;
    bool open;                         /* at the server */
    bool refused;                      /* the server would not open it: it is not asked again */
    bool closing;                      /* to be closed as soon as it is */
    struct wb_op *op;                  /* that opens it, or NULL */
    struct wb_handle *next, *previous; /* of the object */
};

struct wb_object {
    struct ph_lru_entry lru;
    struct ph_lru_entry lease_lru; /* key: lease; in `leases` while it is not 0 */
    bool in_leases;
    struct ph_cached_attr attr;
    bool known;     /* ATTR is */
    bool plain;     /* the mode bits say all */
    bool exclusive; /* held so, or not known to the server */
    bool recalled;  /* on its way back */
    bool born;      /* the server knows it */
    bool dead;      /* it could not be made */
    bool unnamed;   /* the server took away the last name that was known of it */
    bool touched;   /* directories: what happened in it has to show in its time of change */
    bool stale;     /* ATTR does not show what the server did to it */
    bool suspect;   /* the session changed: see whether others changed it */
    bool unleased;  /* no lease is to be had: operations go without */
    uint64_t lease;
    uint64_t server_version;
    struct ph_cached_attr *there; /* what the server said when all was written back; NULL: it did not */
    uint64_t there_for;           /* the version that ATTR had then */
    struct ph_lru_entry kept_lru;
    struct ph_blob *kept;                  /* all of a small file (wb_kept.c); or NULL */
    uint64_t kept_for;                     /* the version of ATTR at which that is right */
    struct ph_cached_time server_changed;  /* its time of change after what was written back last */
    struct ph_cached_time server_modified; /* with that version */
    uint64_t sent_end, sent_least;         /* sizes that what is being sent gives it: at most, at least */
    /* The times of modification that it gives, and whether it gives one, or leaves that to the server. */
    struct ph_cached_time sent_first, sent_last;
    bool sent_timed, sent_untimed;
    bool moved;  /* a change of ours moved its version without our being told */
    bool passed; /* one of names may have, which leaves size and time of modification */
    uint64_t pins, busy;
    struct wb_op **ops; /* about it, in order */
    size_t op_count, op_capacity;
    struct wb_child children; /* directories: list head of operations on names in it */
    struct ph_wb_names *names;
    uint64_t listing_next, listing_epoch; /* a listing under way: where it goes on */
    uint64_t epoch;                       /* moves when the lease goes */
    uint64_t changed;                     /* clock: when the server last changed it for us */
    uint64_t learned;                     /* clock: not before ATTR was asked for, or made here */
    struct ph_wb_data *data;
    uint64_t used_until_ms; /* it is being written here */
    uint64_t stuck_ms;      /* when a tick found it recalled, and no way to write it back; or 0 */
    uint64_t server_size, cut;
    bool is_cut;
    struct wb_handle *handles;
    struct wb_xattr *xattrs; /* those that are known (wb_xattr.h) */
    bool xattrs_whole;       /* it has no others */
    uint64_t xattrs_changed; /* clock: when one was changed here */
};

struct wb_mark {
    struct ph_lru_entry lru; /* object */
    uint64_t floor;          /* highest lease that was recalled or given back */
    uint64_t hot_until_ms, wanted_until_ms;
    uint32_t refused;        /* so often in a row it was not granted */
    uint64_t range_after_ms; /* no range is asked for before */
    uint32_t range_back_off_ms;
    uint32_t error;
};

enum wb_call_kind { WB_CALL_USER, WB_CALL_OP, WB_CALL_FLUSH, WB_CALL_OWNED };

struct ph_wb_call {
    struct ph_lru_entry lru; /* ticket */
    enum wb_call_kind kind;
    uint16_t command, outer; /* of the change, and as it was submitted */
    const ProtobufCMessage *message, *outer_message;
    ProtobufCMessage *owned; /* a copy of the outer one */
    struct ph_blob *payload;
    ph_reply_fn fn;
    void *data;
    uint64_t link_ticket, session;
    struct wb_due due;     /* of what was sent on: whose quota it comes out of */
    uint64_t owned_number; /* of the last change that was kept when it was sent */
    bool submitting;       /* MESSAGE is the caller's */
    bool flushed, sent, over;
    bool blind;      /* it changes what is not known here */
    bool everything; /* and anything at all of that: wb_everything.c */
    unsigned waiting;
    uint32_t status;
    struct wb_object *busy[WB_CALL_OBJECTS]; /* pinned */
    unsigned busy_count;
    unsigned rounds;
    uint64_t flushing;     /* WB_CALL_FLUSH: the object, 0 for all */
    uint64_t made_whole;   /* a directory that the answer tells of */
    unsigned told;         /* bits: whose attributes came with the answer */
    uint64_t epoch, clock; /* when it was sent: of the directory that it reads; of everything */
    struct wb_op *op;      /* WB_CALL_OP: a reference */
    enum wb_step step;
    struct wb_outgoing *outgoing; /* the message of WB_CALL_OP, owned */
    struct ph_wb_call *throttled;
};

/* What a call that nobody waits for may still change: its `busy`, as a call without anything else. */
struct ph_wb_orphan {
    struct ph_wb_call rest;
};

struct ph_wb {
    struct ph_wb_config config;
    bool open, write_back;
    uint64_t session, generation, clock;
    struct ph_lru objects, leases, handles, marks, calls, vanished, parted, kept;
    uint64_t kept_bytes;
    struct ph_lru ranges, range_leases; /* wb_range.h */
    bool ranges_granted;                /* the server knows leases on ranges */
    struct wb_op *first, *last;         /* the log */
    struct wb_op *ready_first, *ready_last, *stalled;
    struct wb_caller *caller; /* the last one seen */
    uint64_t last_ticket, last_lease, last_handle;
    uint64_t floor;   /* highest lease that went of objects that have no mark any more */
    uint64_t changed; /* latest `changed` of objects that have no entry any more */
    uint64_t blind;   /* clock: when the server last changed for us what is not known here */
    unsigned blind_running;
    uint64_t all; /* clock: when that could last be anything; and how many such changes are under way */
    unsigned all_running;
    unsigned in_flight;
    unsigned xattr_spaces; /* enum wb_xattr_space: those that the export keeps, as far as is known */
    uint64_t op_count, data_bytes;
    uint64_t reserved_bytes, charged_bytes; /* at the server; of these, what is dirty may take */
    uint64_t spent_bytes;                   /* charges of what was sent since it was asked for */
    uint64_t reserved_first, space_asked_ms, clean_ms;
    uint64_t space_objects;      /* that may be made here without asking; counted down */
    struct wb_account *accounts; /* wb_quota.c */
    size_t account_count;
    bool quota_short;                            /* SPACE_SHORT of a quota */
    unsigned quotas_of;                          /* those that the server enforces, as in QuotaWish */
    bool space_known, space_asking, space_short; /* SHORT: it was not enough when last needed */
    bool any_unleased;                           /* operations of objects without a lease may be waiting */
    uint64_t ticked_ms;
    uint64_t away_ms; /* when a tick first found no session; 0 while there is one */
    struct ph_wb_call *throttled_first, *throttled_last;
    uint64_t pace_amount, pace_bytes,
        paced_ms; /* wb_pace.c: what was dirty when last looked; what may be written */
    struct ph_wb_counters counters;
    struct wb_owned *owned; /* wb_owned.h */
};

#define MAX_OF(a, b) ((a) > (b) ? (a) : (b))
#define MIN_OF(a, b) ((a) < (b) ? (a) : (b))
#define WB_OF(entry, type, member) ((type *) ((char *) (entry) -offsetof(type, member)))

/* wb.c */
void *wb_alloc(size_t size); /* zeroed; never NULL */
struct wb_object *wb_find(const struct ph_wb *wb, uint64_t object);
/* Where no pointer to an object is held. */
void wb_make_room(struct ph_wb *wb, struct ph_wb_actions *actions);
struct wb_object *wb_object(struct ph_wb *wb, uint64_t object); /* made if need be */
void wb_unpin(struct ph_wb *wb, struct wb_object *o);
void wb_settle(struct ph_wb *wb, struct wb_object *o);  /* frees it when nothing keeps it */
void wb_untrack(struct ph_wb *wb, struct wb_object *o); /* it is not held exclusively any more */
void wb_set_lease(struct ph_wb *wb, struct wb_object *o, uint64_t lease);
struct wb_mark *wb_mark(struct ph_wb *wb, uint64_t object); /* made if need be */
struct wb_mark *wb_find_mark(const struct ph_wb *wb, uint64_t object);
/* LEASE on OBJECT was recalled or given back, whatever replies still name it (R-9.3-7). */
void wb_gone(struct ph_wb *wb, uint64_t object, uint64_t lease);
bool wb_is_gone(const struct ph_wb *wb, uint64_t object, uint64_t lease);
struct wb_caller *wb_caller(struct ph_wb *wb, const Pohmel__Caller *caller);
void wb_caller_unref(struct wb_caller *caller);
bool wb_same_caller(const Pohmel__Caller *a, const Pohmel__Caller *b);
/* Names in directory O may be changed in the cache; and O itself. */
bool wb_holds(const struct ph_wb *wb, const struct wb_object *o, const struct ph_wb_now *now);
bool wb_writable(const struct ph_wb *wb, const struct wb_object *o, const struct ph_wb_now *now);
/* How many names O has is known: nothing that was sent on without knowing what it takes away may have taken
 * one. */
/* The server said that O is as ATTR says. */
void wb_server_has(struct wb_object *o, const Pohmel__Attr *attr);
bool wb_links_known(const struct ph_wb *wb, const struct wb_object *o);
/* What counts as dirty, in bytes. */
uint64_t wb_amount(const struct ph_wb *wb);
/* Writers wait: more is dirty, or kept until it is stable, than may be, and something is done about it. */
bool wb_is_full(const struct ph_wb *wb);
struct ph_wb_action *wb_action(struct ph_wb_actions *actions, enum ph_wb_action_kind kind);
void wb_action_over(struct ph_wb_actions *actions, struct ph_wb_call *call); /* CALL is freed with ACTIONS */
void wb_want(struct ph_wb *wb, uint64_t object, const struct ph_wb_now *now, struct ph_wb_actions *actions);

/* wb_space.c: space that is reserved at the server, and what of it is dirty here may take. */

/* The answer to a STATFS that reserves. */
void wb_learn_space(struct ph_wb *wb, const Pohmel__StatfsReply *reply, uint64_t now_ms);
/* What LEN bytes at OFFSET may take. */
uint64_t wb_space_of(uint64_t offset, uint64_t len);
/* OP, which is in the log, may take BYTES and OBJECTS more; all of it no more than LIMIT. Returns how much
 * more that is. */
uint64_t wb_charge(struct ph_wb *wb, struct wb_op *op, uint64_t bytes, uint64_t objects, uint64_t limit);
/* OP is over: what it was charged is spent, if it was sent. */
void wb_discharge(struct ph_wb *wb, const struct wb_op *op);
/* What is reserved and nothing that is dirty may take. A command that is sent on takes BYTES of it. */
uint64_t wb_space_left(const struct ph_wb *wb);
void wb_spend(struct ph_wb *wb, uint64_t bytes);
/* More is needed soon: asks for it, unless that was done just now. */
void wb_space_ask(struct ph_wb *wb, const struct ph_wb_now *now, struct ph_wb_actions *actions);
/* Something is asked: space is reserved before it is needed. */
void wb_space_begin(struct ph_wb *wb, const struct ph_wb_now *now, struct ph_wb_actions *actions);
/* What was reserved in a session that is over is not. */
void wb_space_lost(struct ph_wb *wb);
/* Time passed: what is not needed is given back. */
void wb_space_tick(struct ph_wb *wb, const struct ph_wb_now *now, struct ph_wb_actions *actions);
/* BYTES and OBJECTS more fit into what is reserved. False: the server is to say. */
bool wb_space(struct ph_wb *wb, uint64_t bytes, uint64_t objects, const struct ph_wb_now *now,
              struct ph_wb_actions *actions);

/* wb_log.c: operations, and what they wait for. */
struct wb_op *wb_op_new(struct ph_wb *wb, enum wb_op_kind kind, struct wb_caller *caller, uint64_t now_ms);
void wb_op_about(struct ph_wb *wb, struct wb_op *op, struct wb_object *o); /* up to twice */
void wb_op_in(struct ph_wb *wb, struct wb_op *op, struct wb_object *directory, const void *name, size_t len);
/* OP is about O, and goes before LATER, which is about O as well and was not sent yet. Instead of about. */
void wb_op_before(struct ph_wb *wb, struct wb_op *op, struct wb_object *o, struct wb_op *later);
/* OP is sent once more, later. What was sent of it and not answered may have been executed, or not. */
void wb_op_begin_again(struct ph_wb *wb, struct wb_op *op);
void wb_op_append(struct ph_wb *wb, struct wb_op *op); /* after about and in */
void wb_op_depend(struct wb_op *op, struct wb_op *on);
void wb_op_due(struct ph_wb *wb, struct wb_op *op); /* and all that it waits for */
/* It is over: takes it out of the log and lets go what waits for it; waiting calls get STATUS. Those that
 * have nothing left to wait for are put into *RESUME (linked by throttled). */
void wb_op_done(struct ph_wb *wb, struct wb_op *op, uint32_t status, struct ph_wb_call **resume);
/* It need not be done, and was not sent: as above, but what waits for it waits for what it waited for. */
void wb_op_cancel(struct ph_wb *wb, struct wb_op *op, struct ph_wb_call **resume);
/* The operation under way, if any, that comes before OP on its name WHICH. */
struct wb_op *wb_op_before_on_name(const struct wb_op *op, int which);
void wb_op_unref(struct wb_op *op);
struct wb_op *wb_op_next_ready(struct ph_wb *wb);
void wb_op_stall(struct ph_wb *wb, struct wb_op *op);
void wb_op_unstall(struct ph_wb *wb);
void wb_op_wait(struct wb_op *op, struct ph_wb_call *call);
void wb_op_forget_waiters(struct wb_op *op);
struct wb_op *wb_make_of(const struct wb_object *o); /* its MAKE, if that is pending */
struct wb_op *wb_last_of(const struct wb_object *o);
/* All ops about O are unsent MAKE, STATE and XATTR: it can vanish, or be renamed, without the server. */
bool wb_only_here(const struct wb_object *o);

/* wb_call.c */
struct ph_wb_call *wb_call_new(struct ph_wb *wb, enum wb_call_kind kind);
/* The message that CALL was submitted with outlives the submission. */
void wb_own_message(struct ph_wb_call *call);
void wb_call_over(struct ph_wb *wb, struct ph_wb_call *call, struct ph_wb_actions *actions);
void wb_send(struct ph_wb *wb, struct ph_wb_call *call, uint16_t command, const ProtobufCMessage *message,
             struct ph_wb_actions *actions);
/* Names in D, a directory that is held, that our own changes concern which are under way are not known until
 * these are answered. wb_learn.c */
void wb_mark_running(struct ph_wb *wb, struct wb_object *d);
/* CALL asks what MESSAGE, which is copied, does, instead of what it was submitted with. */
void wb_replace_message(struct ph_wb_call *call, const ProtobufCMessage *message);
/* Answers CALL from here; ANSWER is owned by the action. */
void wb_answer(struct ph_wb *wb, struct ph_wb_call *call, struct ph_wb_answer *answer,
               struct ph_blob *payload, struct ph_wb_actions *actions);
void wb_fail(struct ph_wb *wb, struct ph_wb_call *call, uint32_t status, const char *text,
             struct ph_wb_actions *actions);
/* Goes on with what waited; throttled writers too. */
void wb_resume(struct ph_wb *wb, struct ph_wb_call *resume, const struct ph_wb_now *now,
               struct ph_wb_actions *actions);

/* wb_need.c */
struct wb_need {
    struct wb_object *about[WB_CALL_OBJECTS]; /* what is dirty of these is written back first */
    unsigned about_count;
    struct wb_object *whole[2]; /* and what happened in these directories */
    unsigned whole_count;
    struct wb_op *ops[4]; /* and these */
    unsigned op_count;
    uint64_t handles[2];               /* opened here, needed there */
    uint64_t changes[WB_CALL_OBJECTS]; /* objects that the server will change by it */
    unsigned change_count;
    uint64_t wants[2]; /* of which an EXCLUSIVE lease is worth having; 0 for none */
    struct {
        uint64_t directory;
        ProtobufCBinaryData name;
    } names[2]; /* that will not be known until it is answered */
    unsigned name_count;
    bool all;
};
void wb_need(struct ph_wb *wb, const struct ph_wb_call *call, struct wb_need *need);

/* wb_learn.c */
void wb_learn_reply(struct ph_wb *wb, struct ph_wb_call *call, const struct ph_reply *reply,
                    const struct ph_wb_now *now, struct ph_wb_actions *actions);
void wb_patch(const struct wb_object *o, Pohmel__Attr *attr);
/* CALL, a command of an operation about O that is over, was answered with ATTR (NULL: with none), which is
 * kept where nothing more is to be written back of O. */
void wb_hear(const struct ph_wb_call *call, struct wb_object *o, const Pohmel__Attr *attr);
/* Whether attributes of O are known that the server would tell, and taking them for O's. */
bool wb_heard(const struct wb_object *o);
void wb_take_heard(struct wb_object *o);
/* wb_glimpse.c: what was written back of O made the server say ATTR. */
void wb_learn_changed(struct wb_object *o, const Pohmel__Attr *attr);

/* wb_local.c, wb_make.c, wb_name.c, wb_file.c: true when CALL was answered here. */
bool wb_local(struct ph_wb *wb, struct ph_wb_call *call, const struct ph_wb_now *now,
              struct ph_wb_actions *actions);
bool wb_local_make(struct ph_wb *wb, struct ph_wb_call *call, const struct ph_wb_now *now,
                   struct ph_wb_actions *actions);
bool wb_local_link(struct ph_wb *wb, struct ph_wb_call *call, const struct ph_wb_now *now,
                   struct ph_wb_actions *actions);
bool wb_local_remove(struct ph_wb *wb, struct ph_wb_call *call, const struct ph_wb_now *now,
                     struct ph_wb_actions *actions);
bool wb_local_rename(struct ph_wb *wb, struct ph_wb_call *call, const struct ph_wb_now *now,
                     struct ph_wb_actions *actions);
bool wb_local_write(struct ph_wb *wb, struct ph_wb_call *call, const struct ph_wb_now *now,
                    struct ph_wb_actions *actions);
bool wb_local_setattr(struct ph_wb *wb, struct ph_wb_call *call, const struct ph_wb_now *now,
                      struct ph_wb_actions *actions);
bool wb_local_read(struct ph_wb *wb, struct ph_wb_call *call, const struct ph_wb_now *now,
                   struct ph_wb_actions *actions);
bool wb_local_open(struct ph_wb *wb, struct ph_wb_call *call, const struct ph_wb_now *now,
                   struct ph_wb_actions *actions);
bool wb_local_close(struct ph_wb *wb, struct ph_wb_call *call, const struct ph_wb_now *now,
                    struct ph_wb_actions *actions);
bool wb_local_release(struct ph_wb *wb, struct ph_wb_call *call, const struct ph_wb_now *now,
                      struct ph_wb_actions *actions);
bool wb_local_lookup(struct ph_wb *wb, struct ph_wb_call *call, const struct ph_wb_now *now,
                     struct ph_wb_actions *actions);
void wb_changed(struct wb_object *o, const struct ph_wb_now *now, bool data); /* times and version */
struct wb_op *wb_state(struct ph_wb *wb, struct wb_object *o, const Pohmel__Caller *caller, uint64_t now_ms);
void wb_handle_add(struct ph_wb *wb, struct wb_object *o, uint64_t handle, uint32_t access,
                   const Pohmel__Caller *caller);
void wb_handle_free(struct ph_wb *wb, struct wb_handle *handle);
/* HANDLE of O is to be opened at the server: the operation that does it. */
struct wb_op *wb_handle_open(struct ph_wb *wb, struct wb_handle *handle, uint64_t now_ms);
void wb_data_account(struct ph_wb *wb, struct wb_object *o, uint64_t before);

/* wb_supersede.c */
/* What the server has where something vanishes. */
struct wb_under {
    struct wb_object *object; /* goes by what comes next; NULL for none */
    uint64_t made_ms;         /* since when that waits, or 0 */
};
/* O, which NAME in D stands for and CALLER takes away, vanishes without the server when it never was there,
 * that is its last name, and nobody has it open. */
bool wb_vanishes(struct ph_wb *wb, const struct wb_object *o, const struct wb_object *d,
                 const ProtobufCBinaryData *name, const Pohmel__Caller *caller, struct wb_under *under);
/* O vanishes, having lost its name: its operations are forgotten. */
void wb_vanish(struct ph_wb *wb, struct wb_object *o, struct ph_wb_call **resume);
/* What is done with O stands for what waits since UNDER says: who replaces without end has it sent in time.
 */
void wb_as_old(struct wb_object *o, const struct wb_under *under);

/* wb_pace.c */
/* What became less dirty since this was last called lets writers go on. */
void wb_pace(struct ph_wb *wb);
/* Whether something may be written now; LEN bytes are. */
bool wb_has_room(const struct ph_wb *wb);
void wb_fill(struct ph_wb *wb, uint64_t len);
/* Time passed: nobody waits for ever for what does not arrive. */
void wb_pace_tick(struct ph_wb *wb, const struct ph_wb_now *now);

/* wb_kept.c */
/* O holds what PAYLOAD (NULL: nobody knows) has, which the server has by now; it may be kept. */
void wb_keep(struct ph_wb *wb, struct wb_object *o, const struct ph_blob *payload);
void wb_drop_kept(struct ph_wb *wb, struct wb_object *o);
/* All that O (NULL is fine) holds, where it was kept and is right: a reference, or NULL. */
struct ph_blob *wb_kept(struct ph_wb *wb, struct wb_object *o, const struct ph_wb_now *now);

/* wb_shorten.c: resumes what waited for nothing else. */
/* O, which is being made as NAME in D, loses that name, and has another there that was not sent: it is made
 * under that. False: it cannot be done so; nothing was done. */
bool wb_make_as_linked(struct ph_wb *wb, struct wb_object *o, struct wb_object *d,
                       const ProtobufCBinaryData *name, struct ph_wb_call **resume);
/* O, which is to lose *NAME in D, was given that by CALLER in place of another that it still has at the
 * server: that is *NAME now, and D's, as long as the entry of that name is there. */
bool wb_remove_unmoved(struct ph_wb *wb, struct wb_object *o, struct wb_object *d, ProtobufCBinaryData *name,
                       const Pohmel__Caller *caller, struct ph_wb_call **resume);

/* Too much is dirty: CALL goes on when some of it was sent. */
void wb_throttle(struct ph_wb *wb, struct ph_wb_call *call);

/* wb_vanished.c */
/* O vanished, with the attributes that it has now and no name. */
void wb_vanished_add(struct ph_wb *wb, const struct wb_object *o);
/* What OBJECT was last, if it vanished a while ago, or NULL. */
const struct ph_cached_attr *wb_vanished_find(const struct ph_wb *wb, uint64_t object);
void wb_vanished_clear(struct ph_wb *wb);

/* wb_answer.c */
struct ph_wb_answer {
    Pohmel__TransactReply transact;
    Pohmel__ChangeResult result, *results[1];
    union {
        Pohmel__CreateResult create;
        Pohmel__AttrResult attr;
        Pohmel__NameResult name;
        Pohmel__WriteResult write;
        Pohmel__LookupReply lookup;
        Pohmel__GetattrReply getattr;
        Pohmel__OpenReply open;
        Pohmel__ReadReply read;
        Pohmel__Nothing nothing;
        Pohmel__GetxattrReply getxattr;
        Pohmel__ListxattrReply listxattr;
        Pohmel__ReadlinkReply readlink;
        Pohmel__LeaseReleaseReply release;
    } message;
    struct ph_cached_attr_wire attr, directory;
    Pohmel__Attr *found[1];
    const ProtobufCMessage *reply;
};
/* An answer, with the attributes of O where it carries some (NULL: none). */
struct ph_wb_answer *wb_answer_attr(const struct wb_object *o);
Pohmel__Attr *wb_attr_to_wire(const struct wb_object *o, struct ph_cached_attr_wire *wire);

/* wb_flush.c */
/* A command of ours. */
struct wb_outgoing {
    Pohmel__TransactRequest transact;
    Pohmel__Change change, *changes[1];
    union {
        Pohmel__CreateRequest create;
        Pohmel__MkdirRequest mkdir;
        Pohmel__SymlinkRequest symlink;
        Pohmel__MknodRequest mknod;
        Pohmel__LinkRequest link;
        Pohmel__RemoveRequest remove;
        Pohmel__RmdirRequest rmdir;
        Pohmel__RenameRequest rename;
        Pohmel__SetattrRequest setattr;
        Pohmel__SetxattrRequest setxattr;
        Pohmel__RemovexattrRequest removexattr;
        Pohmel__WriteRequest write;
        Pohmel__OpenRequest open;
        Pohmel__CloseRequest close;
        Pohmel__GetattrRequest getattr;
        Pohmel__LookupRequest lookup;
        Pohmel__SyncRequest sync;
        Pohmel__OutcomeRequest outcome;
    } message;
    ProtobufCBinaryData name; /* of LOOKUP */
    Pohmel__NewAttributes attributes;
    Pohmel__Time accessed, modified;
    Pohmel__Caller owner;
};
/* A command of OP, for STEP of it; its message is to be filled in. */
struct ph_wb_call *wb_op_call(struct ph_wb *wb, struct wb_op *op, enum wb_step step);
/* Sends it: the message is that of COMMAND. */
void wb_op_send(struct ph_wb *wb, struct ph_wb_call *call, uint16_t command, struct ph_wb_actions *actions);
/* Closes HANDLE of OBJECT at the server; nobody waits for the answer. */
void wb_close(struct ph_wb *wb, uint64_t handle, uint64_t object, struct ph_wb_actions *actions);
/* OP is over, with STATUS: what waits for it goes on, what was seen of it is given up where it failed. */
void wb_op_finish(struct ph_wb *wb, struct wb_op *op, uint32_t status, const struct ph_wb_now *now,
                  struct ph_wb_actions *actions);

/* wb_failed.c. OP failed with STATUS: what it was to write is handed out, its objects are asked for again,
 * and their fsync fails. */
void wb_op_failed(struct ph_wb *wb, struct wb_op *op, uint32_t status, struct ph_wb_actions *actions);
/* Whether nobody can reach any more what OP was to change, an object that is not there. Its data are let go.
 */
bool wb_op_is_needless(struct ph_wb *wb, struct wb_op *op);
/* wb_flush_state.c */
void wb_state_start(struct ph_wb *wb, struct wb_op *op, const struct ph_wb_now *now,
                    struct ph_wb_actions *actions);
void wb_state_answered(struct ph_wb *wb, struct ph_wb_call *call, const struct ph_reply *reply,
                       const struct ph_wb_now *now, struct ph_wb_actions *actions);
/* The whole STATE of O in one message with its making; false when it does not fit. */
bool wb_state_fold(struct ph_wb *wb, struct wb_op *make, struct wb_op *state, struct ph_wb_call *call);
void wb_time_to_wire(const struct ph_cached_time *from, Pohmel__Time *to);
/* wb_session.c: a session is open, and all that waited for it goes on. */
void wb_go_on(struct ph_wb *wb, const struct ph_wb_now *now, struct ph_wb_actions *actions);
void wb_lose_lease(struct ph_wb *wb, struct wb_object *o); /* O is pinned */
/* wb_flush.c */
void wb_pump(struct ph_wb *wb, const struct ph_wb_now *now, struct ph_wb_actions *actions);
void wb_op_answered(struct ph_wb *wb, struct ph_wb_call *call, const struct ph_reply *reply,
                    const struct ph_wb_now *now, struct ph_wb_actions *actions);

#endif
