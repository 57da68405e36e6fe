/* What the cache is made of; shared by client/core/cache*.c.
 *
 * `clock` moves with each grant and at the begin and the end of each change of ours. Whether
 * a reply still tells the truth is decided by what the clock showed when it was asked for:
 * objects remember when their lease was granted and when they were changed last. An object
 * that is let go leaves its marks to `floor` and `changed`, which hold for all unknown ones. */
#ifndef PH_CLIENT_CORE_CACHE_PRIVATE_H
#define PH_CLIENT_CORE_CACHE_PRIVATE_H

#include "client/core/cache.h"
#include "client/core/lru.h"

enum {
    /* Objects of which only the marks are kept, so that those of one need not count for all. */
    PH_CACHE_IDLE_MAX = 4096,
    /* Ids to be released; more come only from a server that recalls what it never granted. */
    PH_CACHE_RELEASES_MAX = 4 * 1024 * 1024,
};

#define PH_CACHE_UNKNOWN UINT64_MAX /* what an entry stands for while a change of it is under way */

/* One name. */
struct ph_cache_entry {
    struct ph_cache_entry *chain;
    uint64_t object; /* 0: there is no such name; PH_CACHE_UNKNOWN: ask */
    uint64_t learned_ms;
    uint32_t hash;
    bool told;    /* the kernel may know it */
    uint8_t type; /* of what it stands for, as in struct dirent; 0 for not known */
    uint8_t len, name[];
};

/* The names of a directory; there only while a lease is. */
struct ph_cache_directory {
    struct ph_cache_entry **buckets;
    uint32_t bucket_count; /* a power of two */
    uint32_t count, told;
    bool complete; /* names that are not here do not exist */
    uint64_t complete_ms;
};

enum ph_cache_giving {
    PH_CACHE_KEPT,     /* held, or none */
    PH_CACHE_WAITING,  /* marked; replies are being written */
    PH_CACHE_OPENING,  /* files that are open here only are being opened at the server, or in the list for it
                        */
    PH_CACHE_READY,    /* in the list of what is to be dropped */
    PH_CACHE_DROPPING, /* the shell makes the kernel forget */
};

struct ph_cache_object {
    struct ph_lru_entry lru;                 /* first: the table hands out this address */
    struct ph_cache_object *next, *previous; /* in LIST */
    struct ph_cache_list *list;              /* leased, ready, idle; or NULL */
    struct ph_cache_directory *directory;    /* or NULL */
    uint64_t lease;                          /* 0: none */
    uint64_t floor;                          /* ids up to this one are recalled or given back */
    uint64_t granted, changed;               /* clock: lease held since; begin or end of last change */
    uint64_t kernel;                         /* its references */
    uint64_t parent;                         /* directories: that in which it was found; 0 for not known */
    uint64_t learned_ms, learned;            /* attributes: when asked for; clock when stored */
    uint32_t running;                        /* changes of ours under way */
    uint32_t targeting;                      /* those that rest on what its names stand for */
    uint32_t in_reply;                       /* replies being written */
    uint32_t opens;                          /* of the file, that the server does not know of */
    uint32_t writers;                        /* that may store into its pages */
    uint8_t mode;                            /* LeaseMode */
    uint8_t giving;                          /* enum ph_cache_giving */
    bool attr_told;                          /* to the kernel, with a timeout */
    uint64_t hot_until_ms;                   /* others change it all the time */
    bool downgraded;                         /* the lease was EXCLUSIVE and is only SHARED now */
    bool recalled;                           /* by the server, in this session: FLOOR is not just inherited */
    bool known;                              /* ATTR is filled in */
    bool is_directory, pages;
    struct ph_cache_xattr *xattrs; /* learned under the lease */
    uint64_t xattrs_changed;       /* clock: begin or end of the last change of ours of these */
    uint32_t xattrs_running;       /* such changes under way */
    uint32_t untold_until_s;       /* the kernel may not have read of a change until then; 0: of none */
    struct ph_cached_attr attr;
};

struct ph_cache_list {
    struct ph_cache_object *first, *last; /* first: since longest */
    size_t count;
};

struct ph_cache_ids {
    uint64_t *ids; /* FIRST up to COUNT are waiting */
    size_t first, count, capacity;
};

struct ph_cache {
    struct ph_lru table; /* all objects; its order is that of their making */
    size_t objects_max, leases_max;
    uint64_t generation; /* 0: no session */
    uint64_t lease_ms;   /* how long leases hold from the sending of a request */
    uint64_t valid_until_ms;
    bool granting, watched;

    uint64_t clock;
    uint64_t floor, changed;             /* of objects that are not in the table */
    uint64_t blind_changed, all_changed; /* clock: changes of unknown attributes, of anything */
    uint32_t blind_running, all_running;

    struct ph_cache_list leased; /* in use; least recently used first */
    struct ph_cache_list ready;  /* to be dropped */
    struct ph_cache_list idle;   /* only their marks count */
    struct ph_cache_ids releases, kept;
    uint64_t leases[2][3]; /* [is_directory][mode], in use */
    struct ph_cache_counters counters;
};

/* cache.c */

/* OBJECT, or NULL. */
struct ph_cache_object *ph_cache_find(const struct ph_cache *cache, uint64_t object);

/* OBJECT; made if need be. ph_cache_settle is due when done. */
struct ph_cache_object *ph_cache_object(struct ph_cache *cache, uint64_t object);

/* O may be idle now, or not any more; it may be gone afterwards. */
void ph_cache_settle(struct ph_cache *cache, struct ph_cache_object *o);

/* O is in no list afterwards; it may have been in none. */
void ph_cache_list_remove(struct ph_cache_object *o);
/* O is the last of LIST, and in no other. */
void ph_cache_list_append(struct ph_cache_list *list, struct ph_cache_object *o);

/* Whether a reply to ASK belongs to the session that is open now, and leases are granted in it. */
bool ph_cache_is_live(const struct ph_cache *cache, const struct ph_cache_ask *ask);

/* O has a lease that may be used, but for its time. */
bool ph_cache_is_usable(const struct ph_cache *cache, const struct ph_cache_object *o);

/* What is left at NOW_MS for something asked for at ASKED_MS, under a usable lease. */
uint64_t ph_cache_left_ms(const struct ph_cache *cache, uint64_t asked_ms, uint64_t now_ms);

/* Whether no change of ours can have touched what was asked for at CLOCK: of O, of which
 * OWN changes are known to run, or of everything. */
bool ph_cache_untouched(const struct ph_cache *cache, const struct ph_cache_object *o, uint64_t clock,
                        uint32_t own);

/* cache_entry.c */

/* Forgets the names of O. */
void ph_cache_entries_free(struct ph_cache *cache, struct ph_cache_object *o);

/* The entry of NAME in O or NULL. */
struct ph_cache_entry *ph_cache_entry_find(const struct ph_cache_object *o, const void *name, size_t len);

/* NAME in O is OBJECT; makes the entry if need be. */
struct ph_cache_entry *ph_cache_entry_put(struct ph_cache *cache, struct ph_cache_object *o, const void *name,
                                          size_t len, uint64_t object, uint64_t asked_ms);

/* O has no entry ENTRY any more; frees it. */
void ph_cache_entry_remove(struct ph_cache *cache, struct ph_cache_object *o, struct ph_cache_entry *entry);

/* The kernel knows ENTRY (or not). */
void ph_cache_entry_tell(struct ph_cache_object *o, struct ph_cache_entry *entry, bool told);

/* What O has names in; made if need be. */
struct ph_cache_directory *ph_cache_directory_of(struct ph_cache_object *o);

/* As ph_cache_learn_entry, where the kernel is only told with TELL. Returns whether it was learned; for
 * how long it may be kept in *VALID_MS. */
bool ph_cache_entry_learn(struct ph_cache *cache, const struct ph_cache_ask *ask, uint64_t directory,
                          uint64_t lease, const void *name, size_t len, uint64_t object, bool tell,
                          uint64_t now_ms, uint64_t *valid_ms);

/* cache_xattr.c */

/* Forgets the extended attributes of O: all, or those that any change may take away. */
void ph_cache_xattrs_forget(struct ph_cache *cache, struct ph_cache_object *o, bool all);

/* cache_attr.c */

/* Attributes of O may be served, for *VALID_MS. */
bool ph_cache_attr_usable(const struct ph_cache *cache, const struct ph_cache_object *o, uint64_t now_ms,
                          uint64_t *valid_ms);

/* As ph_cache_learn; OWN changes of the object, those of the asker, are known to run. */
uint64_t ph_cache_learn_own(struct ph_cache *cache, const struct ph_cache_ask *ask, const Pohmel__Attr *attr,
                            uint32_t own, uint64_t now_ms, struct ph_cached_attr *out);

/* cache_lease.c */

/* A reply named LEASE on O. Whether it may be used. */
bool ph_cache_adopt(struct ph_cache *cache, struct ph_cache_object *o, uint64_t lease, uint32_t mode);

/* O was used just now. */
void ph_cache_touch(struct ph_cache *cache, struct ph_cache_object *o);

/* The lease of O, which is usable, begins its way back. O may be gone afterwards. */
void ph_cache_mark(struct ph_cache *cache, struct ph_cache_object *o);

/* O has no lease any more, and nothing learned under it. */
void ph_cache_end_lease(struct ph_cache *cache, struct ph_cache_object *o);

/* cache_recall.c */

/* A marked O may go on: nothing is being written about it. O may be gone afterwards. */
void ph_cache_go_on(struct ph_cache *cache, struct ph_cache_object *o);

/* LEASE is to be released. */
void ph_cache_push(struct ph_cache_ids *ids, uint64_t lease);

#endif
