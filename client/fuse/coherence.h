/* What this mount and its kernel keep under leases: the cache (client/core/cache.h) with its lock, and the
 * deeds that it asks for: having the kernel forget, and telling the server. docs/decisions/0006.
 *
 * How an operation uses it:
 *   ask the cache (..._lookup, ..._getattr), and answer from it; or
 *   ..._ask (or a change: ..._change_..., ..._change_sent), send, and learn from the reply.
 * Both fill in a struct ph_told: what the kernel is about to be told and for how long it holds. From then
 * until ph_coherence_told recalls of these objects wait, so the answer must follow at once.
 * All functions may be called from any thread; none waits. */
#ifndef PH_CLIENT_FUSE_COHERENCE_H
#define PH_CLIENT_FUSE_COHERENCE_H

#include "client/core/cache.h"
#include "client/fuse/attr.h"
#include "client/fuse/busy.h"
#include "client/fuse/mount.h"

struct ph_coherence;

/* Knows nothing; CACHING or not, the calls are the same. Never NULL. */
struct ph_coherence *ph_coherence_new(bool caching);

/* What is stored into mappings shows elsewhere when it is flushed (FLUSHES), or at once. Before the mount is
 * used; without it, at once. */
void ph_coherence_set_mappings(struct ph_coherence *coherence, bool flushes);

/* Whether it shows at once: whoever writes goes past the pages, and pages of a file that is open for reading
 * and writing are held under an EXCLUSIVE lease. Only where the kernel can map files that go past the pages.
 */
bool ph_coherence_maps_strictly(const struct ph_coherence *coherence);

/* OBJECT was opened for reading and writing, and can be mapped so as soon as that is answered; was closed. */
void ph_coherence_writer_begin(struct ph_coherence *coherence, uint64_t object);
void ph_coherence_writer_end(struct ph_coherence *coherence, uint64_t object);

/* Whether there is one. */
bool ph_coherence_has_writer(struct ph_coherence *coherence, uint64_t object);

/* Nothing uses it any more. NULL is fine. */
void ph_coherence_free(struct ph_coherence *coherence);

/* Events for ph_link_open, with the coherence as their data. */
extern const struct ph_link_events ph_coherence_events;

/* The link is open: requests can be sent. */
void ph_coherence_use_link(struct ph_coherence *coherence, struct ph_link *link);

/* The kernel serves the mount: it can be told. Called again with NULL, it cannot any more. */
void ph_coherence_use_kernel(struct ph_coherence *coherence, struct ph_notifier *notifier,
                             struct ph_workers *workers, struct ph_workers *attempts);

/* The mount is gone: whoever waits in here goes on, and what is kept does not matter any more. The link still
 * answers. */
void ph_coherence_end(struct ph_coherence *coherence);

/* The mount answers the kernel's INIT with EPOCHS known or not: without them names get no timeout. */
void ph_coherence_set_epochs(struct ph_coherence *coherence, bool epochs);

/* Changes are made here and written back by WRITEBACK, which is told of the session and of recalls, and
 * through which leases are released. NULL: no longer. */
void ph_coherence_use_writeback(struct ph_coherence *coherence, struct ph_writeback *writeback);

/* Until when leases hold; 0 without a session. */
uint64_t ph_coherence_leases_until_ms(struct ph_coherence *coherence);

/* OBJECT, made here under OLD_LEASE, is known to the server, which named LEASE in MODE. */
void ph_coherence_born(struct ph_coherence *coherence, uint64_t object, uint64_t old_lease, uint64_t lease,
                       uint32_t mode);

/* DIRECTORY was made here and is empty. */
void ph_coherence_whole(struct ph_coherence *coherence, uint64_t directory);

/* What is kept of OBJECT is not true: its lease goes back. */
void ph_coherence_give_up(struct ph_coherence *coherence, uint64_t object);

/* --- Telling the kernel --- */

struct ph_told {
    uint64_t objects[2]; /* whose recalls wait; 0 for none */
    uint64_t entry;      /* object of which the kernel gets a reference; 0 for none */
    struct ph_cached_attr attr;
    double entry_timeout, attr_timeout; /* seconds */
    bool kept;                          /* ATTR is the state under a lease that is held */
};

/* The answer was written; FAILED: the kernel did not take it. */
void ph_coherence_told(struct ph_coherence *coherence, const struct ph_told *told, bool failed);

/* The entry of TOLD for fuse_reply_entry and the like. */
void ph_told_entry(const struct ph_told *told, struct fuse_entry_param *entry);

/* --- Answering from memory --- */

/* NAME in DIRECTORY: FOUND or ABSENT with *TOLD filled in, or MISS. */
enum ph_cache_found ph_coherence_lookup(struct ph_coherence *coherence, uint64_t directory, const char *name,
                                        struct ph_told *told);

/* Attributes of OBJECT in *TOLD; false when they are not known. */
bool ph_coherence_getattr(struct ph_coherence *coherence, uint64_t object, struct ph_told *told);

/* --- Reading --- */

/* The attributes of OBJECT are asked for, and were answered: what the kernel is told to forget waits for
 * that. */
void ph_coherence_attr_begin(struct ph_coherence *coherence, uint64_t object);
void ph_coherence_attr_end(struct ph_coherence *coherence, uint64_t object);

/* Whether OBJECT is known to be a directory. */
bool ph_coherence_is_directory(struct ph_coherence *coherence, uint64_t object);

/* Whether they are being asked for now. */
bool ph_coherence_asks_attr(struct ph_coherence *coherence, uint64_t object);

/* To be remembered with a request that reads, just before it is sent. */
struct ph_cache_ask ph_coherence_ask(struct ph_coherence *coherence);

/* A reply told ATTR. */
void ph_coherence_learn(struct ph_coherence *coherence, const struct ph_cache_ask *ask,
                        const Pohmel__Attr *attr, struct ph_told *told);

/* A reply told that NAME in the directory is FOUND, or is not there (NULL); DIRECTORY may be NULL. */
void ph_coherence_learn_entry(struct ph_coherence *coherence, const struct ph_cache_ask *ask,
                              uint64_t directory_id, const Pohmel__Attr *directory, const char *name,
                              const Pohmel__Attr *found, struct ph_told *told);

/* Entries of DIRECTORY, with attributes, came from position COOKIE on. LISTING is kept from the first part to
 * the last one: names that were not in it are known not to be there then. */
void ph_coherence_learn_listing(struct ph_coherence *coherence, const struct ph_cache_ask *ask,
                                uint64_t directory, uint64_t cookie, const Pohmel__ReaddirReply *reply,
                                struct ph_cache_listing *listing);

/* --- Changing --- */

/* Whether CHANGE was begun and has not ended. */
static inline bool ph_coherence_changing(const struct ph_cache_change *change)
{
    return change->count > 0 || change->all || change->blind;
}

/* Each change: what it concerns, then sent; and end in whatever way it was answered. TARGET: what NAME
 * stands for is changed as well. */
void ph_coherence_change_object(struct ph_coherence *coherence, struct ph_cache_change *change,
                                uint64_t object);
void ph_coherence_change_name(struct ph_coherence *coherence, struct ph_cache_change *change,
                              uint64_t directory, const char *name, bool target);

/* The same for an extended attribute of OBJECT. */
void ph_coherence_change_xattrs(struct ph_coherence *coherence, struct ph_cache_change *change,
                                uint64_t object);

/* Before it is sent: by the answer to CHANGE, should that succeed, the kernel knows the attributes of all
 * objects concerned, or that it has to ask for them. So where nobody else can see the change before, it need
 * not be told. */
static inline void ph_coherence_change_tells(struct ph_cache_change *change)
{
    change->told = true;
}

/* Of what nobody can list. */
void ph_coherence_change_all(struct ph_coherence *coherence, struct ph_cache_change *change);
void ph_coherence_change_sent(struct ph_coherence *coherence, struct ph_cache_change *change);

/* The same for one that was answered after its requester had been killed: the kernel may have read again,
 * meanwhile, what it changed. */
void ph_coherence_change_end_late(struct ph_coherence *coherence, struct ph_cache_change *change);

/* Ends it, unless that was done. */
void ph_coherence_change_end(struct ph_coherence *coherence, struct ph_cache_change *change);

/* It told ATTR of an object concerned, or made. Ends the change. */
void ph_coherence_changed(struct ph_coherence *coherence, struct ph_cache_change *change,
                          const Pohmel__Attr *attr, struct ph_told *told);

/* It made the object of ATTR, without a name, and the kernel gets a reference. Ends the change. */
void ph_coherence_made(struct ph_coherence *coherence, struct ph_cache_change *change,
                       const Pohmel__Attr *attr, struct ph_told *told);

/* An existing file was opened and cut by it, which could not be announced as long as it was not known which.
 */
void ph_coherence_cut(struct ph_coherence *coherence, uint64_t object);

/* What OBJECT is like is known to others better than here: the kernel and the cache ask again. Does not wait.
 */
void ph_coherence_ask_attr_again(struct ph_coherence *coherence, uint64_t object);

/* It made NAME in DIRECTORY stand for the object of ATTR. Ends the change. */
void ph_coherence_changed_entry(struct ph_coherence *coherence, struct ph_cache_change *change,
                                uint64_t directory, const char *name, const Pohmel__Attr *attr,
                                struct ph_told *told);

/* NAME in DIRECTORY is OBJECT (0: nothing) now. Before the end of the change. Whether that may be kept. */
bool ph_coherence_changed_name(struct ph_coherence *coherence, const struct ph_cache_change *change,
                               uint64_t directory, const char *name, uint64_t object);

/* What NAME in DIRECTORY was last known to stand for; 0 for not known. */
uint64_t ph_coherence_entry_object(struct ph_coherence *coherence, uint64_t directory, const char *name);

/* Names may have changed that the kernel knows: it is to ask again. */
void ph_coherence_names_changed(struct ph_coherence *coherence);

/* --- Data --- */

/* Whether a lease on OBJECT is held, be it on its way back; true also where there are none to be had. */
bool ph_coherence_holds(struct ph_coherence *coherence, uint64_t object);

/* An access list of OBJECT is asked for: the kernel will keep it with the attributes. */
void ph_coherence_access_list(struct ph_coherence *coherence, uint64_t object);

/* Whether OBJECT is known, under a lease, to have no access lists; the kernel is about to be told so. */
bool ph_coherence_has_no_access_list(struct ph_coherence *coherence, uint64_t object);

/* The extended attribute NAME of OBJECT, or the list of names (NULL), as CALLER may see it: FOUND with *VALUE
 * (a reference; NULL for length 0), ABSENT, or MISS. */
enum ph_cache_found ph_coherence_getxattr(struct ph_coherence *coherence, uint64_t object, const char *name,
                                          const Pohmel__Caller *caller, struct ph_blob **value);

/* A reply to ASK told it. */
void ph_coherence_learn_xattr(struct ph_coherence *coherence, const struct ph_cache_ask *ask, uint64_t object,
                              const char *name, const Pohmel__Caller *caller, bool absent,
                              struct ph_blob *value);

/* Whether others wanted OBJECT lately: what they change all the time is better not kept by the kernel. */
bool ph_coherence_is_hot(struct ph_coherence *coherence, uint64_t object);

/* How a read is to go. */
enum ph_read_way {
    PH_READ_GO, /* send it: a lease covers it, which does not leave before it has ended; or there are none */
    PH_READ_ACQUIRE, /* ask for a lease, EXCLUSIVE where somebody may store into the pages; then see again */
    /* a lease is on its way back, or what is to be read is being written: READ's wake is called when that is
     * over; then see again */
    PH_READ_PARKED,
};

/* A read of OBJECT through the page cache came (READ has its place, size and wake); to be ended whatever
 * becomes of it. */
enum ph_read_way ph_coherence_read_begin(struct ph_coherence *coherence, uint64_t object,
                                         struct ph_busy_read *read);
enum ph_read_way ph_coherence_read_again(struct ph_coherence *coherence, uint64_t object,
                                         struct ph_busy_read *read);

/* It is sent though no lease was to be had. */
void ph_coherence_read_uncovered(struct ph_coherence *coherence, uint64_t object, struct ph_busy_read *read);

/* Data is about to be given to the kernel. */
void ph_coherence_read_answering(struct ph_coherence *coherence, uint64_t object);

/* LEN bytes at OFFSET were given to the kernel (0: none). Pages that no lease covers are dropped again. */
void ph_coherence_read_end(struct ph_coherence *coherence, uint64_t object, struct ph_busy_read *read,
                           uint64_t offset, uint64_t len);

/* Whether what was read of OBJECT at ASK is what it holds now: under a lease, not changed since, and not
 * stored into through a mapping of this mount unseen. */
bool ph_coherence_is_unchanged(struct ph_coherence *coherence, uint64_t object,
                               const struct ph_cache_ask *ask);

/* Whether OBJECT is a file that is known, under a lease, to have nothing at OFFSET and behind. */
bool ph_coherence_ends_before(struct ph_coherence *coherence, uint64_t object, uint64_t offset);

/* As ph_coherence_read_begin for a read whose data is at hand since ASK, under a lease and not changed; false
 * when it is not right any more, and the read goes the other way. */
bool ph_coherence_read_at_hand(struct ph_coherence *coherence, uint64_t object,
                               const struct ph_cache_ask *ask, struct ph_busy_read *read);

/* Whether the kernel may keep the pages that it has of OBJECT when the file is opened. */
bool ph_coherence_keeps_pages(struct ph_coherence *coherence, uint64_t object);

/* A write came (WRITE has its place and size, and whether it is direct); it was answered. */
void ph_coherence_write_begin(struct ph_coherence *coherence, uint64_t object, struct ph_busy_write *write);
void ph_coherence_write_end(struct ph_coherence *coherence, uint64_t object, struct ph_busy_write *write);

/* How a write that was done is to be answered. */
enum ph_write_way {
    PH_WRITE_ANSWER, /* at once: no page hides it */
    /* when the kernel has dropped its pages there, which waits for no more than reads that come from now on.
     * They may wait for a recall, and that for what was told of OBJECT: ph_coherence_told goes before. */
    PH_WRITE_DROP,
    /* after ph_coherence_unspoil: reads are under way that may bring pages from before, or questions for
     * attributes whose answers would be thrown away. That waits, so on a worker. */
    PH_WRITE_UNSPOIL,
};
enum ph_write_way ph_coherence_write_done(struct ph_coherence *coherence, uint64_t object,
                                          struct ph_busy_write *write);
void ph_coherence_unspoil(struct ph_coherence *coherence, uint64_t object, const struct ph_busy_write *write);

/* FORGET of the kernel. */
void ph_coherence_forget(struct ph_coherence *coherence, uint64_t object, uint64_t lookups);

/* Counters as "key: value" lines, appended to OUT. */
void ph_coherence_status(struct ph_coherence *coherence, GString *out);

#endif
