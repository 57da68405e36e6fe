/* The client's cache of attributes and names under leases (docs/protocol.md, section 9;
 * docs/decisions/0006-leases-on-attributes.md). It knows what the session holds, answers from
 * what it learned under it, and says what is to be done to give a lease back: DROP (make the
 * kernel forget), then RELEASE (tell the server). Pure; not thread safe: the shell holds one
 * lock across each group of calls that belong together, and never across a system call.
 *
 * Times are monotonic milliseconds. "Valid for N ms" is what the kernel may be told as its
 * timeout; 0 means: use it once. The lock must not be let go between the call that returned a
 * validity above 0 and ph_cache_reply_begin for the objects concerned.
 *
 * How a request that reads goes:   ask = ph_cache_ask() ... send ... reply: learn with ask.
 * How a change goes:               begin, add what it concerns, sent ... send ... reply:
 *                                  changed, changed_name, end. */
#ifndef PH_CLIENT_CORE_CACHE_H
#define PH_CLIENT_CORE_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/core/claim.h"
#include "ph_protocol.h"
#include "runtime/base/limits.h"

struct ph_cache;

struct ph_cached_time {
    int64_t seconds;
    uint32_t nanoseconds;
};

/* What an Attr carries, without pointers. */
struct ph_cached_attr {
    uint64_t object, size, blocks, device, version;
    struct ph_cached_time accessed, modified, changed, created;
    uint32_t mode, links, uid, gid, block_size;
    bool has_created;
    bool plain; /* Attr.plain: the mode bits say all about permissions */
    bool bare;  /* Attr.bare: there are no extended attributes */
};

/* An Attr for functions that want one; points into itself, so it must not be copied. */
struct ph_cached_attr_wire {
    Pohmel__Attr attr; /* without lease */
    Pohmel__Time accessed, modified, changed, created;
};

/* FROM as a message; valid as long as WIRE. Returns &wire->attr. */
const Pohmel__Attr *ph_cached_attr_to_wire(const struct ph_cached_attr *from,
                                           struct ph_cached_attr_wire *wire);

/* ATTR without pointers; times that are missing are 0. */
void ph_cached_attr_from_wire(const Pohmel__Attr *attr, struct ph_cached_attr *out);

/* OBJECTS_MAX: objects that the kernel does not hold, and likewise names, beyond which leases
 * are given up; LEASES_MAX: leases. Both 1 or more. Never NULL. */
struct ph_cache *ph_cache_new(size_t objects_max, size_t leases_max);

/* NULL is fine. */
void ph_cache_free(struct ph_cache *cache);

/* --- The session --- */

/* A session opened: GENERATION (never 0, larger than any before) names it, its leases live
 * LEASE_TTL_MS. Without LEASES_GRANTED nothing is cached; without WATCHED nothing for longer
 * than PH_UNWATCHED_TIMEOUT_MS. If one was open, it counts as lost. */
void ph_cache_session(struct ph_cache *cache, uint64_t generation, uint32_t lease_ttl_ms, bool leases_granted,
                      bool watched);

/* The connection is gone, and every lease with it: all attributes and names are forgotten, work
 * not yet handed out is void, and replies to what was asked before teach nothing. Kernel
 * references, changes under way and replies being written stay. The kernel has to forget too:
 * ph_cache_each_kernel. Twice is fine. */
void ph_cache_lost(struct ph_cache *cache);

/* A request sent at SENT_MS was answered in session GENERATION: leases hold from SENT_MS on.
 * Older news and other sessions' are ignored. Learning does this by itself. Rules 10 and 11. */
void ph_cache_answered(struct ph_cache *cache, uint64_t generation, uint64_t sent_ms);

/* Until when leases hold, as far as answers have told; 0 without a session. */
uint64_t ph_cache_leases_until_ms(const struct ph_cache *cache);

/* The server was started anew, and the session goes on. Calls FN for each lease that is to be claimed. FN
 * must not change the cache. Rule 15. */
void ph_cache_claims(const struct ph_cache *cache, void (*fn)(void *data, const struct ph_claim *claim),
                     void *data);

/* CLAIM was answered: the lease goes on as LEASE in MODE, or, where LEASE is 0, is given up like a recalled
 * one. So is one whose claim told no version: nobody can tell whether the object was changed meanwhile. */
void ph_cache_reclaimed(struct ph_cache *cache, const struct ph_claim *claim, uint64_t lease, uint32_t mode);

/* An object that the kernel refers to. */
struct ph_cache_held {
    uint64_t object;
    bool is_directory; /* false where it was never learned */
    bool pages;        /* it may keep pages, or a listing; the mark is cleared: drop them */
};

/* Calls FN for each object that the kernel refers to. FN must not change the cache. */
void ph_cache_each_kernel(struct ph_cache *cache, void (*fn)(void *data, const struct ph_cache_held *held),
                          void *data);

/* --- Learning from replies --- */

/* What a request must remember from when it was sent for its reply to teach anything: the
 * session, and which changes of ours came before. */
struct ph_cache_ask {
    uint64_t generation; /* 0: no session, teaches nothing */
    uint64_t clock;
    uint64_t sent_ms;
};

/* To be called just before a request is handed to the link. */
struct ph_cache_ask ph_cache_ask(const struct ph_cache *cache, uint64_t now_ms);

/* ATTR came in a reply to ASK. *OUT is what to use: ATTR, or what is known where that is newer
 * (rule 19). Returns for how many ms *OUT may be kept: 0 without a lease, with one that was
 * recalled already (rule 4; it is queued for release), when this mount changed the object since
 * ASK or is changing it, or when the session moved on. A version that moved under a lease without
 * a change of ours tells of a change behind the server's back: the lease is given up. */
uint64_t ph_cache_learn(struct ph_cache *cache, const struct ph_cache_ask *ask, const Pohmel__Attr *attr,
                        uint64_t now_ms, struct ph_cached_attr *out);

/* NAME (1 to 255 bytes) in DIRECTORY is OBJECT, or nothing if 0: said by a reply to ASK. LEASE
 * is the lease on DIRECTORY that this reply carried (0 for none), which was learned before. It is
 * kept only if the lease on DIRECTORY covered the reading: it is the one held, or one was held
 * already when ASK was sent; and if no change of ours in DIRECTORY came in between. Returns for how many
 * ms the entry may be kept by the kernel; a value above 0 counts as told to the kernel. */
uint64_t ph_cache_learn_entry(struct ph_cache *cache, const struct ph_cache_ask *ask, uint64_t directory,
                              uint64_t lease, const void *name, size_t len, uint64_t object, uint64_t now_ms);

/* A listing being read, in one or several replies. */
struct ph_cache_listing {
    uint64_t directory, lease, clock, granted, sent_ms;
    bool sound; /* false: it will not make the directory complete */
};

/* The first part (from position 0) came in reply to ASK. LEASE as above: for instance that of
 * the entry "." or of the OPEN of the directory when that was answered before ASK; 0 is fine
 * when the lease was held already at ASK. */
void ph_cache_listing_begin(struct ph_cache *cache, struct ph_cache_listing *listing,
                            const struct ph_cache_ask *ask, uint64_t directory, uint64_t lease);

/* An entry of a part, which came in reply to ASK; "." and ".." are left out. Learns the entry
 * (whether the kernel is told of it is up to TELL); what it returns is that of ph_cache_learn_entry,
 * 0 without TELL. */
uint64_t ph_cache_listing_add(struct ph_cache *cache, struct ph_cache_listing *listing,
                              const struct ph_cache_ask *ask, const void *name, size_t len, uint64_t object,
                              bool tell, uint64_t now_ms);

/* NAME in DIRECTORY, if it is known, is of TYPE (bits as in st_mode; 0: not known). */
void ph_cache_set_type(struct ph_cache *cache, uint64_t directory, const void *name, size_t len,
                       uint32_t type);

/* The part that says "end" was added whole, and all before it. True: from now on names that are
 * not known are known not to be there. False if the lease went or the directory changed meanwhile. */
bool ph_cache_listing_end(struct ph_cache *cache, struct ph_cache_listing *listing);

/* DIRECTORY, which is empty, was made by this mount in its cache: as if it had been listed whole when its
 * attributes were learned. Without an EXCLUSIVE lease on it, nothing. */
void ph_cache_set_whole(struct ph_cache *cache, uint64_t directory);

/* --- Changes by this mount --- */

enum { PH_CACHE_CHANGE_OBJECTS = 6, PH_CACHE_CHANGE_NAMES = 2 };

/* A change on its way; lives in the request that carries it. Every change of an object that the mount
 * sends (WRITE, SETATTR, SETXATTR, ...) is to be announced, else what a slow reply tells
 * would be taken for new. */
struct ph_cache_change {
    struct ph_cache_ask ask;
    uint64_t objects[PH_CACHE_CHANGE_OBJECTS];
    unsigned count;
    struct { /* what names stand for was known under this lease of the directory */
        uint64_t directory, granted;
    } targets[PH_CACHE_CHANGE_NAMES];
    unsigned target_count;
    bool blind;  /* it changes attributes of an object that is not known */
    bool xattrs; /* it changes extended attributes of its objects, by name */
    bool all;    /* it changes what is not known */
    bool told;   /* the kernel knows by the answer what becomes of the attributes of its objects */
    bool untold; /* which spared it a notification */
};

/* A change that concerns nothing yet. */
void ph_cache_change_begin(struct ph_cache_change *change);

/* The change is about OBJECT (attributes, data): its attributes are not served until the end.
 * Each object once, however often it is added; at most PH_CACHE_CHANGE_OBJECTS. */
void ph_cache_change_add(struct ph_cache *cache, struct ph_cache_change *change, uint64_t object);

/* The same for SETXATTR and REMOVEXATTR. All other changes make no extended attribute, and take away or
 * change none but those of the kernel (security., system.). */
void ph_cache_change_add_xattrs(struct ph_cache *cache, struct ph_cache_change *change, uint64_t object);

/* The change is about NAME in DIRECTORY: adds DIRECTORY and forgets the name; other names in it are
 * served on. TARGET: what has that name is changed too (REMOVE, RMDIR, both names of RENAME; not what makes
 * a new name) and is added; where it is not known, no attributes at all are served until the end. */
void ph_cache_change_add_name(struct ph_cache *cache, struct ph_cache_change *change, uint64_t directory,
                              const void *name, size_t len, bool target);

/* The change is about objects and names that nobody can list (MKPATH, RMTREE): all leases are given
 * up, and nothing is learned until the end. */
void ph_cache_change_add_all(struct ph_cache *cache, struct ph_cache_change *change);

/* After the last add, just before the request is handed to the link. */
void ph_cache_change_sent(struct ph_cache *cache, struct ph_cache_change *change, uint64_t now_ms);

/* The reply told ATTR. As ph_cache_learn, for an object that was added (no other change of it may
 * have run meanwhile for it to be kept) or for one that the change made. */
uint64_t ph_cache_changed(struct ph_cache *cache, const struct ph_cache_change *change,
                          const Pohmel__Attr *attr, uint64_t now_ms, struct ph_cached_attr *out);

/* The change succeeded: NAME in DIRECTORY is now OBJECT, or nothing if 0. Kept only under a lease
 * that was held all the time and if no other change in DIRECTORY ran meanwhile; what is moved (OBJECT, and
 * targets were added) must have been known so in its old directory, too. As ph_cache_learn_entry.
 * After RENAME the kernel keeps OBJECT's new name for what was left of the timeout of the old one: where this
 * returns 0 nobody will tell when it is out of date, and the kernel must be made to ask again (epoch). */
uint64_t ph_cache_changed_name(struct ph_cache *cache, const struct ph_cache_change *change,
                               uint64_t directory, const void *name, size_t len, uint64_t object,
                               uint64_t now_ms);

/* The change was answered, with success or not: due once for each begin. A change whose fate is
 * not known (its requester was killed before the answer) must not be ended before its answer has
 * come; until then its objects are asked for each time. */
void ph_cache_change_end(struct ph_cache *cache, struct ph_cache_change *change);

/* OBJECT was changed by a change that ends now and could not name it before (CREATE that cut an existing
 * file): its attributes are forgotten, and replies to what was asked before now teach nothing of it. */
void ph_cache_forget_attr(struct ph_cache *cache, uint64_t object);

/* --- Asking --- */

enum ph_cache_found {
    PH_CACHE_MISS,   /* not known: ask the server */
    PH_CACHE_FOUND,  /* *ATTR is filled in */
    PH_CACHE_ABSENT, /* there is no such name */
};

/* NAME in DIRECTORY. FOUND: for how many ms the entry and the attributes may be kept; ABSENT: the
 * entry alone. What is found counts as told to the kernel. */
enum ph_cache_found ph_cache_lookup(struct ph_cache *cache, uint64_t directory, const void *name, size_t len,
                                    uint64_t now_ms, struct ph_cached_attr *attr, uint64_t *entry_valid_ms,
                                    uint64_t *attr_valid_ms);

/* Attributes of OBJECT, valid for *VALID_MS; false: ask the server. */
bool ph_cache_getattr(struct ph_cache *cache, uint64_t object, uint64_t now_ms, struct ph_cached_attr *attr,
                      uint64_t *valid_ms);

/* For how long what is covered by the lease on OBJECT other than its attributes and names (data,
 * target, extended attributes, a listing) may be kept if it was asked for under that lease; 0: it is
 * not leased, being recalled, or past its time. Attributes: use what learn, changed and getattr return. */
uint64_t ph_cache_valid_ms(const struct ph_cache *cache, uint64_t object, uint64_t now_ms);

/* The same as a yes or no. */
bool ph_cache_is_leased(const struct ph_cache *cache, uint64_t object, uint64_t now_ms);

/* Since when, as the cache counts, the lease on OBJECT is held without a gap, where that alone says when what
 * the kernel keeps of it is out of date; 0: it does not. */
uint64_t ph_cache_held_since(const struct ph_cache *cache, uint64_t object, uint64_t now_ms);

/* Whether a lease on OBJECT is held, be it on its way back already: it does not leave before the
 * kernel has dropped what it covers. */
bool ph_cache_is_held(const struct ph_cache *cache, uint64_t object);

/* Whether it is held EXCLUSIVE, and not on its way back. */
bool ph_cache_is_exclusive(const struct ph_cache *cache, uint64_t object);

/* One writer more (BY 1) or less (-1) of OBJECT here who may map it and store into its pages. As long as
 * there are any, SHARED is not kept of an EXCLUSIVE lease that is recalled: pages could be stored into
 * without anybody being asked. */
void ph_cache_writers(struct ph_cache *cache, uint64_t object, int by);
bool ph_cache_has_writers(const struct ph_cache *cache, uint64_t object);

/* Whether OBJECT is known to be a directory. */
bool ph_cache_is_directory(const struct ph_cache *cache, uint64_t object);

/* Whether the lease on OBJECT is on its way back. */
bool ph_cache_is_going_back(const struct ph_cache *cache, uint64_t object);

/* Whether a lease on OBJECT was held when ASK was sent and is held still, and this mount did not change the
 * object itself since then and is not doing so: what the reply says of its data is still right. */
bool ph_cache_unchanged(const struct ph_cache *cache, uint64_t object, const struct ph_cache_ask *ask,
                        uint64_t now_ms);

/* Whether all names in DIRECTORY are known, as after ph_cache_listing_end. */
bool ph_cache_is_whole(const struct ph_cache *cache, uint64_t directory, uint64_t now_ms);

/* A name in a directory that is known whole. */
struct ph_cache_listed {
    const void *name; /* LEN bytes, borrowed */
    size_t len;
    uint64_t object;
    uint32_t type;   /* bits as in st_mode */
    bool attributes; /* ph_cache_lookup finds them */
};

/* Calls FN for each name in DIRECTORY, "." and ".." first. False when not all of them are known, or not all
 * types, or a change of ours is under way on one: what FN was told is then worth nothing. FN must not
 * change the cache. */
bool ph_cache_list(struct ph_cache *cache, uint64_t directory, uint64_t now_ms,
                   void (*fn)(void *data, const struct ph_cache_listed *listed), void *data);

/* The object that NAME in DIRECTORY was last known to stand for, whether or not that may be served; 0: none.
 */
uint64_t ph_cache_entry_object(const struct ph_cache *cache, uint64_t directory, const void *name,
                               size_t len);

/* --- Extended attributes --- */

struct ph_blob;

/* The attribute NAME of OBJECT (LEN bytes; 0: the list of all names, as in listxattr(2)) as CALLER may see
 * it. FOUND: *VALUE is it (borrowed until the cache is used again; NULL for length 0). */
enum ph_cache_found ph_cache_getxattr(const struct ph_cache *cache, uint64_t object, const void *name,
                                      size_t len, const Pohmel__Caller *caller, uint64_t now_ms,
                                      struct ph_blob **value);

/* A reply to ASK told that NAME of OBJECT is VALUE (borrowed; NULL for length 0), as CALLER is
 * told, or with ABSENT that there is none. It is kept where a lease covered the reading and no change of ours
 * came in between; large values are not. */
void ph_cache_learn_xattr(struct ph_cache *cache, const struct ph_cache_ask *ask, uint64_t object,
                          const void *name, size_t len, const Pohmel__Caller *caller, bool absent,
                          struct ph_blob *value, uint64_t now_ms);

/* --- The kernel --- */

/* A reply about OBJECT that gives the kernel a timeout above 0 is about to be written: a recall of
 * it waits until ph_cache_reply_end. For an entry: its directory and what it stands for. */
void ph_cache_reply_begin(struct ph_cache *cache, uint64_t object);

/* It was written (or failed to be). */
void ph_cache_reply_end(struct ph_cache *cache, uint64_t object);

/* The file OBJECT is opened here, and the server is not told. False: there is no lease that may be used, and
 * nothing happens. A lease does not leave before ph_cache_open_end: others could remove the file, or forbid
 * it, which whoever has it open must not notice. */
bool ph_cache_open_begin(struct ph_cache *cache, uint64_t object, uint64_t now_ms);

/* It was closed, or is open at the server now, or never will be. Due once for each begin that was true,
 * whatever became of the lease and the session. */
void ph_cache_open_end(struct ph_cache *cache, uint64_t object);

/* The kernel is about to be handed N references to OBJECT (1 with each entry). Before the reply
 * is written; taken back with ph_cache_kernel_forget when that fails. The root is held from the mount
 * on: add it once. */
void ph_cache_kernel_add(struct ph_cache *cache, uint64_t object, uint64_t n);

/* FORGET: the kernel dropped N of them. */
void ph_cache_kernel_forget(struct ph_cache *cache, uint64_t object, uint64_t n);

/* Whether it has any. When a notification answers ENOENT and this is true, the kernel has not read the reply
 * yet. */
bool ph_cache_kernel_has(const struct ph_cache *cache, uint64_t object);

/* The kernel was or may be given pages of OBJECT (READ, a file opened for writing), its target, or a
 * listing that it keeps: a drop must drop them. Returns as ph_cache_is_leased: where false, nobody will
 * tell when the pages are out of date. */
bool ph_cache_pages(struct ph_cache *cache, uint64_t object, uint64_t now_ms);

/* The kernel is about to be told attributes of OBJECT that it may keep. */
void ph_cache_attr_told(struct ph_cache *cache, uint64_t object);

/* Whether it was since this was last asked: then it has to be made to forget them. */
bool ph_cache_take_attr_told(struct ph_cache *cache, uint64_t object);

/* A change of OBJECT begins or ends at NOW_MS of which the kernel hears by its answer only. */
void ph_cache_set_untold(struct ph_cache *cache, uint64_t object, uint64_t now_ms);

/* Whether there is, or was a moment ago, one that the kernel may not have read of: nobody else is to be told
 * what OBJECT is like before its lease was given back, for which the kernel is made to forget. */
bool ph_cache_is_untold(const struct ph_cache *cache, uint64_t object, uint64_t now_ms);

/* OBJECT was wanted by others: until UNTIL_MS its attributes are better not kept by the kernel, which loses
 * answers to questions under way when it is made to forget. */
void ph_cache_set_hot(struct ph_cache *cache, uint64_t object, uint64_t until_ms);
bool ph_cache_is_hot(const struct ph_cache *cache, uint64_t object, uint64_t now_ms);

/* Whether the kernel may have pages of OBJECT: it was given some since they were dropped last, or that is
 * being done. */
bool ph_cache_may_have_pages(const struct ph_cache *cache, uint64_t object);

/* --- Objects that the server did not know --- */

/* OBJECT was made by this mount in its cache, under OLD_LEASE, an id of our own (PH_LEASE_OWN_MAX). The
 * server knows it now and named NEW_LEASE in MODE, which takes the place of OLD_LEASE without a gap. Where
 * NEW_LEASE is 0 or was recalled already the lease goes back like a recalled one; the release of OLD_LEASE,
 * which comes up as well then, concerns nobody but ourselves. Where OLD_LEASE is not held any more NEW_LEASE
 * is released; if another one is held by now it was named in a reply, and nothing happens. */
void ph_cache_promote(struct ph_cache *cache, uint64_t object, uint64_t old_lease, uint64_t new_lease,
                      uint32_t mode);

/* --- Giving back --- */

/* The server recalled LEASE on OBJECT; KEEP is the mode that may be kept. From now on nothing is
 * served or given a timeout under it; then work comes up, in this order: wait for replies being
 * written, OPEN, DROP, RELEASE. A lease that is not held is released at once, and a grant with an id not
 * above it that comes later is not used. Rules 4 to 7. */
void ph_cache_recall(struct ph_cache *cache, uint64_t object, uint64_t lease, uint32_t keep);

/* Gives the lease on OBJECT back unasked, in the same way. False: none is held, or it is on its way back
 * already. */
bool ph_cache_give_up(struct ph_cache *cache, uint64_t object);

/* The same for all. Returns how many. */
size_t ph_cache_give_up_all(struct ph_cache *cache);

/* Gives up those used least recently, COUNT at most, as long as a bound of ph_cache_new is exceeded.
 * Returns how many. To be called after learning, with a small COUNT. */
size_t ph_cache_release_some(struct ph_cache *cache, size_t count);

enum ph_cache_work_kind { PH_CACHE_OPEN, PH_CACHE_DROP, PH_CACHE_RELEASE };

struct ph_cache_work {
    enum ph_cache_work_kind kind;
    union {
        /* Every file of OBJECT that is open here only is to be opened at the server, as long as the lease
         * keeps it as it is there; ph_cache_open_end is due for each, and a DROP follows the last. */
        struct {
            uint64_t object;
        } open;
        /* The kernel must forget attributes, names, pages and listing of OBJECT; when it has,
         * ph_cache_dropped is due with OBJECT and LEASE. */
        struct {
            uint64_t object, lease;
            uint64_t generation; /* of the session; after a loss, the drop is still due, the answer not */
            size_t names;        /* that the kernel may know */
            bool is_directory;
            bool kernel; /* the kernel refers to it (without that, a drop is never asked for) */
            bool pages;  /* it may keep pages or a listing */
        } drop;
        /* To be sent as LEASE_RELEASE, in session GENERATION only. */
        struct {
            uint64_t generation;
            size_t count, kept_count;
            uint64_t leases[PH_LEASES_PER_RELEASE], kept[PH_LEASES_PER_RELEASE];
        } release;
    };
};

/* Takes the next piece of work; false when there is none now. DROP comes before RELEASE. The structure
 * is large (two full lists of leases): one for each thread that works, not one for each call. */
bool ph_cache_next_work(struct ph_cache *cache, struct ph_cache_work *work);

/* Whether there is any. To be looked at after recall, give_up, release_some, learn, changed, reply_end,
 * dropped. */
bool ph_cache_has_work(const struct ph_cache *cache);

/* The kernel has forgotten what DROP named; a RELEASE follows. Ignored if that lease has gone meanwhile. */
void ph_cache_dropped(struct ph_cache *cache, uint64_t object, uint64_t lease);

/* --- For people --- */

struct ph_cache_counters {
    /* Now. */
    uint64_t objects, entries, complete_directories, kernel_objects;
    uint64_t xattr_bytes; /* memory that extended attributes take */
    uint64_t directories_shared, directories_exclusive, files_shared, files_exclusive; /* leases in use */
    uint64_t recalls_pending; /* leases being given back */
    /* Since the start. */
    uint64_t hits, misses;  /* lookups and attributes; ABSENT is a hit */
    uint64_t recalls;       /* of the server */
    uint64_t early_recalls; /* grants that came after their recall */
    uint64_t given_up;      /* by ourselves */
    uint64_t behind;        /* changes behind the server's back that were noticed */
    uint64_t losses;
};

/* Counters as they are now. */
void ph_cache_count(const struct ph_cache *cache, struct ph_cache_counters *out);

#endif
