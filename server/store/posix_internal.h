/* What the files of the POSIX store share. Objects: posix_object.c; reaching
 * them: posix_resolve.c; handles and ranges of ids: posix_handle.c. */
#ifndef PH_SERVER_STORE_POSIX_INTERNAL_H
#define PH_SERVER_STORE_POSIX_INTERNAL_H

#include <fcntl.h>
#include <glib.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/types.h>

#include "ph_dispatch.h"
#include "runtime/base/limits.h"
#include "runtime/wire/call.h"
#include "server/store/gone_ids.h"
#include "server/store/other_names.h"
#include "server/store/journal.h"
#include "server/store/quotas.h"
#include "server/store/reserves.h"
#include "server/store/posix_creds.h"
#include "server/store/state_db.h"
#include "server/store/store.h"
#include "server/store/trouble.h"

#define PH_HIDDEN_NAME ".pohmel" /* directory at the root of the export that nobody is shown */
#define PH_STATX_MASK (STATX_BASIC_STATS | STATX_BTIME)

enum {
    PH_STORE_OBJECTS_MAX = 1000000,    /* objects in memory without being in use */
    PH_STORE_PINS_MAX = 1024,          /* descriptors held for objects that have links but no known name */
    PH_STORE_LATELY_REMOVED_MAX = 512, /* removed directories, special and small replaced files in reach */
    PH_STORE_REPLACED_MAX_BYTES = 64 * 1024, /* larger files that were replaced are not kept in reach */
    PH_STORE_RANGES_MAX = 4096,              /* ranges of ids that one client may hold */
    PH_STORE_DEPTH_MAX = 2048,               /* directories between an object and the root */
    PH_STORE_IDS_AHEAD = 1 << 20,            /* ids made durable at a time */
};

/* A descriptor that several users share; closed with the last reference. */
struct ph_fd {
    int fd;
    atomic_int refs;
};

/* What an object is on disk. */
struct ph_identity {
    uint64_t dev, ino, btime_ns;
};

struct ph_handle;
struct ph_object;

/* What only directories have: most objects are none, and the server remembers a million of them. */
struct ph_directory {
    struct ph_object *children; /* known ones */
    struct ph_fd *fd;           /* O_PATH descriptor, in the store's dirs_lru; or NULL */
    GList link;
};

/* An object known by its id. Everything below `lock:` is guarded by the store's lock. */
struct ph_object {
    uint64_t id; /* first: the key of by_id is the object */
    struct ph_identity identity;

    /* lock: */
    struct ph_object *parent;          /* holds a reference; NULL for the root and where no name is known */
    char *name;                        /* one name below PARENT; NULL with it */
    struct ph_object *next, *previous; /* of the same parent */
    struct ph_directory *directory;    /* NULL until it is needed */
    struct ph_handle *handles;         /* open ones */
    struct ph_fd *pin;                 /* O_PATH descriptor of an object without a known name */
    GList lru_link;
    uint64_t version, seen_ctime_ns;
    uint64_t changed_at;          /* the last of all changes that was made of this object */
    uint64_t blocks;              /* last seen, units of 512 bytes */
    uint64_t plain_ctime_ns;      /* change time at which PLAIN and BARE were found out; 0 for never */
    uint32_t type;                /* S_IFMT bits; not guarded */
    uint32_t refs;                /* of running commands, handles and children */
    uint32_t named, named_stable; /* times that it was given a name; the last of them that is stable */
    bool listed;                  /* reachable by id and identity */
    bool idle;                    /* in the store's idle list */
    bool removed;                 /* has no name for anybody any more */
    bool orphan;                  /* has a link in the hidden orphan directory */
    bool nameable;                /* made without a name, and may be given one */
    bool sought;                  /* small and replaced: stays in reach for a while */
    bool remembered;              /* in lately_removed */
    bool persisted;               /* the state database has a row for it */
    bool plain, bare;
};

/* An open handle of a session. */
struct ph_handle {
    uint64_t session, number;
    struct ph_object *object; /* holds a reference */
    struct ph_fd *fd;
    uint32_t access; /* 1 read, 2 write */
    atomic_int refs;
    pthread_mutex_t position_lock; /* the descriptor's position: appends, seeks, listings */
    struct ph_handle *next;        /* of the same object, under the store's lock */
};

struct ph_named;

/* SYNCs of all of the export: one at a time, for all who wait. */
struct ph_sync_all {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    int fd; /* that meets each failure of the disk once; -1 before the first */
    bool running;
    uint64_t wanted, done; /* numbers of those who asked */
    int failed;            /* errno of the last one */
};

struct ph_posix_store {
    struct ph_store shell; /* what others see of it */
    bool read_only, acts_as_caller, acls;
    bool plain_filesystem; /* of the root: names and permissions are nothing special */
    bool syncs_in_order; /* of the root: making a file stable makes all names stable that were given before */
    uint64_t size_limit;
    atomic_uint_fast64_t used; /* bytes, with a size limit only */
    uint32_t objects_max, dirs_max, handles_max;
    dev_t dev; /* of the root */
    struct ph_state_db *db;
    struct ph_state_sessions *session_list;
    uint64_t unbroken;          /* start since which nothing was lost; 0 for a store that is only read */
    struct ph_journal *journal; /* NULL where there is none */
    struct ph_undo_log *undo; /* of the transaction of several commands under way; NULL: these are refused */
    struct ph_stage *staged;  /* parts of large ones; NULL: there can be none */
    pthread_mutex_t several_lock; /* one of them at a time */
    int several_fd;               /* the root, by which they make the export stable; -1: they are refused */
    int state_lock_fd;
    struct ph_object *root;
    int root_fd;
    int hidden_fd, orphans_fd, trash_fd, undo_fd; /* -1 until needed; under hidden_lock */
    pthread_mutex_t hidden_lock;

    pthread_mutex_t lock;
    GHashTable *by_id, *by_identity;
    struct ph_gone_ids gone_ids; /* of objects that clients made, and removed by their last name */
    struct ph_other_names *other_names;
    GQueue idle, dirs_lru;
    GQueue lately_removed; /* each with a reference */
    uint32_t pins;
    bool evicted; /* objects that clients may know had to leave memory */

    /* Makers of new objects hold the lock of their directory for reading from
     * before the file appears until its id is known; whoever finds a file
     * that is not known waits for them. */
    pthread_rwlock_t making[64];

    /* Appends of one file follow each other, so that its end tells afterwards which were made. */
    pthread_mutex_t appending[64];

    pthread_mutex_t sessions_lock;
    GHashTable *sessions, *clients;
    GQueue clients_left; /* those without a session, oldest first */
    uint32_t n_handles;
    uint64_t ids_next, ids_end; /* reserved in the database, not given out yet */

    pthread_mutex_t reserves_lock;
    struct ph_reserves reserves; /* space promised to sessions */
    struct ph_quotas quotas;     /* and what of it is promised of whose quota */

    struct ph_sync_all sync_all;

    pthread_mutex_t trash_lock;
    pthread_cond_t trash_wake;
    pthread_t trash_thread;
    bool trash_running, trash_due;
    bool claimed;    /* what is kept is wanted by nobody any more, but for what is open */
    bool closing;    /* handles go with the server, not with their sessions */
    GPtrArray *kept; /* files without a name from before the start, with references; of the thread */
    atomic_bool trash_stop;
    atomic_uint_fast64_t trash_names;
};

/* posix.c: errors. */
uint32_t ph_store_status(int error); /* errno -> status; TOO_MANY_OPEN and others that the table lacks */
uint32_t ph_store_errno(struct ph_call *call,
                        const char *doing); /* status of errno; words where it is the server's trouble */
uint32_t ph_store_become(struct ph_posix_store *store, const Pohmel__Caller *caller);
uint32_t ph_store_stale(struct ph_call *call, uint64_t id);
uint32_t ph_store_check_writable(struct ph_posix_store *store, struct ph_call *call);
/* Waits until the database can take another object; NO_SPACE where it cannot. Without a lock. */
uint32_t ph_state_check(struct ph_posix_store *store, struct ph_call *call);
bool ph_store_hidden(const struct ph_posix_store *store, const struct ph_object *directory, const char *name);
/* NAME of the wire as a string; false when it is too long or holds a NUL. */
bool ph_store_name(const ProtobufCBinaryData *bytes, char name[PH_NAME_MAX_BYTES + 1]);

/* posix_identity.c. Equal is what may be the same inode with another file in it; same is the file, as far as
 * it is known when it was made. */
guint ph_identity_hash(gconstpointer key);
gboolean ph_identity_equal(gconstpointer a, gconstpointer b);
struct ph_identity ph_identity_of(const struct statx *stx);
bool ph_identity_same(const struct ph_identity *a, const struct ph_identity *b);

/* posix_object.c: the table. A returned object carries a reference. */
void ph_objects_init(struct ph_posix_store *store);
void ph_objects_clear(struct ph_posix_store *store);
struct ph_object *ph_object_ref(struct ph_posix_store *store, struct ph_object *object);
void ph_object_unref(struct ph_posix_store *store, struct ph_object *object);
/* The object ID, from the database where memory has it no more. NULL: not known (answer STALE). */
struct ph_object *ph_object_by_id(struct ph_posix_store *store, uint64_t id);

/* The object that the table has under IDENTITY, or NULL. With the lock held. */
struct ph_object *ph_object_identified(const struct ph_posix_store *store,
                                       const struct ph_identity *identity);

/* What OBJECT has as a directory, made when it is first asked for. With the lock held. */
struct ph_directory *ph_object_directory(struct ph_object *object);

/* The object found as NAME below PARENT; gets an id when it has none.
 * NULL: no ids left, or STX is of a file that is gone (another look shows what is there now). */
struct ph_object *ph_object_found(struct ph_posix_store *store, struct ph_object *parent, const char *name,
                                  const struct statx *stx);
/* Looks NAME up below DIR, the descriptor of PARENT, and finds the object. 0, or an errno; EAGAIN: no ids are
 * left. */
int ph_object_look(struct ph_posix_store *store, struct ph_object *parent, int dir, const char *name,
                   struct statx *stx, struct ph_object **object);
/* The object just made through us, with the id that its maker chose. PARENT and NAME are NULL for one without
 * a name. */
struct ph_object *ph_object_made(struct ph_posix_store *store, struct ph_object *parent, const char *name,
                                 const struct statx *stx, uint64_t id);
/* posix_sync.c. */
void ph_sync_all_init(struct ph_posix_store *store);
void ph_sync_all_clear(struct ph_posix_store *store);
/* posix_adopt.c: what has the name NAMED by now, an object of TYPE that has no id of its own and is no newer
 * than SURVIVOR says, is the one that was made as ID and whose id was lost. False: it is another one. */
bool ph_object_adopt(struct ph_posix_store *store, const struct ph_named *named, uint64_t id, uint32_t type,
                     uint64_t survivor);
/* What ID was given to is not there, and was not removed since the start: power may have been lost between
 * the two, and who made it may make it again (R-9.15-4). */
bool ph_id_is_vacant(struct ph_posix_store *store, uint64_t id);
/* Id of an entry of a listing that was not looked at any closer. */
uint64_t ph_object_id_of_entry(struct ph_posix_store *store, uint64_t dev, uint64_t ino);
/* OBJECT is known after a restart as well, whoever was told of it. With the store's lock held. */
void ph_object_remember(struct ph_posix_store *store, struct ph_object *object);
/* Objects of COUNT ids (0 for none) that memory knows are known after a restart as well. */
void ph_objects_remember(struct ph_posix_store *store, const uint64_t *ids, size_t count);
/* OBJECT can be reached as NAME below PARENT from now on; KEEPS: as the name that it had before, too. */
void ph_object_rename(struct ph_posix_store *store, struct ph_object *object, struct ph_object *parent,
                      const char *name, bool keeps);
/* NAME below PARENT is gone; PIN (taken over, may be NULL) reaches the object where links remain. */
void ph_object_unname(struct ph_posix_store *store, struct ph_object *object, struct ph_object *parent,
                      const char *name, struct ph_fd *pin);
/* The last name is gone: for good, or until the last handle is closed, or (PIN, taken
 * over, may be NULL) until PH_STORE_LATELY_REMOVED_MAX others have gone the same way. */
void ph_object_removed(struct ph_posix_store *store, struct ph_object *object, bool orphan,
                       struct ph_fd *pin);
/* Everything below OBJECT is gone with it. */
void ph_object_tree_removed(struct ph_posix_store *store, struct ph_object *object, struct ph_fd *pin);
/* Nobody is left who could reach what was lately removed: lets go of its descriptors. */
void ph_objects_forget_removed(struct ph_posix_store *store);
bool ph_object_is_open(struct ph_posix_store *store, struct ph_object *object);

/* posix_resolve.c: reaching objects. */
struct ph_fd *ph_fd_new(int fd);
struct ph_fd *ph_fd_ref(struct ph_fd *fd);
void ph_fd_unref(struct ph_fd *fd);
/* Where an object is: NAME below DIR, or DIR itself when NAME is empty. */
struct ph_place {
    struct ph_fd *dir;
    char name[PH_NAME_MAX_BYTES + 1];
};
/* Gives the descriptor back; the place may be filled in again. */
void ph_place_clear(struct ph_place *place);
/* Descriptor of a directory, to reach what is below. Acts as the server where it has to walk. 0, STALE,
 * NOT_DIRECTORY ... */
uint32_t ph_dir_fd(struct ph_posix_store *store, struct ph_object *object, struct ph_fd **fd);
/* Where OBJECT is, and what it is there, verified. */
uint32_t ph_object_place(struct ph_posix_store *store, struct ph_object *object, struct ph_place *place,
                         struct statx *stx);
/* A descriptor of the object itself, good for /proc/self/fd and AT_EMPTY_PATH. */
uint32_t ph_object_fd(struct ph_posix_store *store, struct ph_object *object, struct ph_fd **fd);
int ph_statx(int dir, const char *name, struct statx *stx); /* of NAME, or of DIR itself when it is "" */
void ph_proc_path(int fd, char path[32]);

/* posix_names.c: a directory and a name in it, as most changes have. */
struct ph_named {
    struct ph_object *parent;
    struct ph_fd *dir;
    char name[PH_NAME_MAX_BYTES + 1];
};
/* Finds the directory, and makes the thread act as CALLER. What is hidden is
 * answered HIDDEN_STATUS. NAMED is to be ended in any case. */
uint32_t ph_named_begin(struct ph_posix_store *store, struct ph_call *call, const Pohmel__Caller *caller,
                        uint64_t parent, const ProtobufCBinaryData *name, uint32_t hidden_status,
                        struct ph_named *named);
void ph_named_end(struct ph_posix_store *store, struct ph_named *named);
/* What a removal or a move takes a name from. */
struct ph_victim {
    struct ph_object *object; /* NULL: nothing has the name */
    struct statx stx;
    struct ph_fd *pin;
    bool orphan, sought;
    bool replaced; /* another file gets its name in the same moment */
};
/* Looks NAMED up and compares with the object EXPECTED (0: whichever). 0, MISMATCH, NOT_FOUND ... */
uint32_t ph_victim_find(struct ph_posix_store *store, struct ph_call *call, const struct ph_named *named,
                        uint64_t expected, struct ph_victim *victim);
/* Before the name goes: keeps what is open or has other names within reach. The thread acts as the server
 * afterwards. */
void ph_victim_keep(struct ph_posix_store *store, const struct ph_named *named, struct ph_victim *victim);
/* The name is gone (GONE), or stayed: the table follows. Frees what VICTIM holds. */
void ph_victim_end(struct ph_posix_store *store, const struct ph_named *named, struct ph_victim *victim,
                   bool gone);

/* posix_journal.c. */
/* CHANGE of CALL is about to be executed; what it will have to do with is remembered across a restart. */
void ph_store_journal_begin(struct ph_posix_store *store, struct ph_call *call, const Pohmel__Change *change);
/* It was, and is answered STATUS and REPLY. */
void ph_store_journal_end(struct ph_posix_store *store, struct ph_call *call, uint32_t status,
                          const Pohmel__TransactReply *reply);
/* Before the effect: what names stand for (either may be NULL), and a number that the command goes by. */
void ph_store_journal_note(struct ph_posix_store *store, struct ph_call *call, const struct ph_victim *victim,
                           const struct ph_victim *replaced, uint64_t number);
bool ph_posix_recorded(void *self, struct ph_call *call, const Pohmel__TransactRequest *request,
                       Pohmel__TransactReply *reply);
void ph_posix_forget_session(void *self, const uint8_t *client, uint64_t number);
bool ph_posix_continued(void *self);

/* posix_handle.c: sessions. */
void ph_store_handles_init(struct ph_posix_store *store);
void ph_store_handles_clear(struct ph_posix_store *store);
/* The open handle NUMBER on OBJECT (0 for whichever) for ACCESS bits, with a reference; BAD_HANDLE. */
uint32_t ph_store_handle_get(struct ph_posix_store *store, struct ph_call *call, uint64_t number,
                             uint64_t object, uint32_t access, struct ph_handle **handle);
void ph_store_handle_unref(struct ph_posix_store *store, struct ph_handle *handle);
/* Checks that NUMBER can be opened: free (0, *OPEN NULL), or open on OBJECT already (*OPEN, referenced). */
uint32_t ph_store_handle_check(struct ph_posix_store *store, struct ph_call *call, uint64_t number,
                               uint64_t object, struct ph_handle **open);
/* Enters FD (taken over in any case) as handle NUMBER of OBJECT. */
uint32_t ph_store_handle_open(struct ph_posix_store *store, struct ph_call *call, uint64_t number,
                              struct ph_object *object, int fd, uint32_t access);
uint32_t ph_posix_close(void *self, uint64_t session, uint64_t handle);
void ph_posix_end_session(void *self, uint64_t session);

/* posix_session.c: as of struct ph_store. */
uint32_t ph_posix_enter_session(void *self, const struct ph_store_session *session, struct ph_fault *fault);
void ph_posix_leave_session(void *self, const uint8_t client[PH_CLIENT_ID_BYTES], uint64_t number);
size_t ph_posix_sessions(void *self, struct ph_store_session *out, size_t max);
/* COUNT ids from FIRST on may be used by this session and, unless AGAIN, are not in use. INVALID else. */
uint32_t ph_ids_check(struct ph_posix_store *store, struct ph_call *call, uint64_t first, uint32_t count,
                      bool again);
/* ID is that of an object. */
bool ph_id_in_use(struct ph_posix_store *store, uint64_t id);
uint64_t ph_ids_allocate(struct ph_posix_store *store, uint64_t count); /* of the store's own; 0: none left */

/* posix_attr.c. */
/* The version of what was seen while another change of the object was made: none (R-6-4). */
enum { PH_VERSION_OVERTAKEN = 0 };
/* How many changes were made by now. ph_statx leaves in stx_mnt_id, which nobody asks for, how many there
 * were before. */
uint64_t ph_changes_made(void);
/* Fills in ATTR from STX, raises the version, accounts the space. CHANGED: by this command. */
uint32_t ph_attr_fill(struct ph_posix_store *store, struct ph_call *call, struct ph_object *object,
                      const struct statx *stx, bool changed, Pohmel__Attr *attr);
/* The same into a new attr from the call's arena. */
uint32_t ph_attr_new(struct ph_posix_store *store, struct ph_call *call, struct ph_object *object,
                     const struct statx *stx, bool changed, Pohmel__Attr **attr);
/* The same for an object that is open as FD. */
uint32_t ph_attr_open(struct ph_posix_store *store, struct ph_call *call, struct ph_object *object, int fd,
                      const struct statx *stx, bool changed, Pohmel__Attr **attr);
/* Stats the object and does that. */
uint32_t ph_attr_of(struct ph_posix_store *store, struct ph_call *call, struct ph_object *object,
                    bool changed, Pohmel__Attr **attr);
uint64_t ph_object_version(struct ph_posix_store *store, struct ph_object *object, const struct statx *stx,
                           bool changed);
/* Version of a directory whose entries this command changed. */
uint64_t ph_dir_changed(struct ph_posix_store *store, struct ph_object *directory, int fd);
void ph_kill_privileges(int fd); /* clears set-id bits and capabilities, as the server */

/* Changes the attributes of FD as REQUEST's caller; HANDLE, through which it is done, may be NULL. All
 * steps or, where one fails, some of them. The thread acts as somebody afterwards. */
uint32_t ph_attr_set(struct ph_posix_store *store, struct ph_call *call,
                     const Pohmel__SetattrRequest *request, int fd, const struct ph_handle *handle);

/* posix_plain.c. */
bool ph_syncs_in_order(int fd); /* whether its filesystem has one journal, whose order is that of changes */
/* Whether the file has its data on another device than its filesystem's journal; true where nobody knows. */
bool ph_is_realtime(int fd);
/* The filesystem of FD, if an fsync of it flushes its whole device; else 0. */
dev_t ph_fsync_flushes(int fd);
bool ph_plain_filesystem(int fd); /* whether its filesystem is one that is known to be ordinary */
/* Sets plain and bare of ATTR, that of OBJECT, of which STX was told. FD has it open (not as a path only)
 * where that is at hand; else -1. The thread goes on acting as whom it does. */
void ph_attr_plain(struct ph_posix_store *store, struct ph_object *object, const struct statx *stx, int fd,
                   Pohmel__Attr *attr);

/* posix_inspect.c: whether CALLER may remove all of NAMED, entry by entry, and how many *NAMES that
 * takes away. 0, ACCESS_DENIED, NOT_PERMITTED, CROSS_DEVICE, BUSY ... The thread acts as the caller
 * afterwards. */
uint32_t ph_tree_inspect(struct ph_posix_store *store, struct ph_call *call, const Pohmel__Caller *caller,
                         const struct ph_named *named, uint64_t *names);

/* posix_space.c. */
bool ph_space_walk(struct ph_posix_store *store, GError **error);
void ph_space_seen(struct ph_posix_store *store, struct ph_object *object, uint64_t blocks); /* lock held */
/* A change takes MORE bytes: NO_SPACE beyond the limit, and where the rest is promised to other sessions.
 * What the session has reserved itself is used up by it. */
uint32_t ph_space_check(struct ph_posix_store *store, struct ph_call *call, uint64_t more);
/* Whether there is anything to check. */
bool ph_space_is_limited(struct ph_posix_store *store);
/* What SESSION has reserved goes. */
void ph_space_end_session(struct ph_posix_store *store, uint64_t session);
uint32_t ph_space_of(struct ph_posix_store *store, struct ph_arena *arena, Pohmel__Space **space);

/* ---- posix_quota.c ---- */
/* Reserves what REQUEST asks for of quotas, instead of what its session had, and says so in REPLY. */
uint32_t ph_quota_reserve(struct ph_posix_store *store, struct ph_call *call,
                          const Pohmel__StatfsRequest *request, Pohmel__StatfsReply *reply);
/* BYTES and OBJECTS are charged to UID and GID: they come out of what is promised to the session of CALL, or
 * must leave what is promised to others (else QUOTA). */
uint32_t ph_quota_check(struct ph_posix_store *store, struct ph_call *call, uint32_t uid, uint32_t gid,
                        uint64_t bytes, uint64_t objects);
void ph_quota_end_session(struct ph_posix_store *store, uint64_t session);

/* posix_orphan.c: the hidden directory. */
void ph_hidden_init(struct ph_posix_store *store);
bool ph_hidden_open(struct ph_posix_store *store, GError **error); /* finds what is there */
void ph_hidden_resume(struct ph_posix_store *store);               /* goes on with what is to be deleted */
/* ST was the last name there of what is not an object in memory: its space is free. */
void ph_hidden_removed(struct ph_posix_store *store, const struct stat *st);
void ph_hidden_close(struct ph_posix_store *store);
/* Gives what FD reaches, the object ID, a link there, as the server. NAMEABLE: made without a name, and may
 * be given one. False: not possible here. */
bool ph_orphan_link(struct ph_posix_store *store, uint64_t id, int fd, bool nameable);
void ph_orphan_unlink(struct ph_posix_store *store, uint64_t id);
int ph_orphans_fd(struct ph_posix_store *store);
int ph_undo_fd(struct ph_posix_store *store); /* of what transactions of several commands keep aside */
void ph_orphan_name(uint64_t id, bool nameable, char name[PH_NAME_MAX_BYTES + 1]);
/* Moves NAME below DIR into the trash, to be deleted in the background. 0 or an errno. */
int ph_trash_move(struct ph_posix_store *store, int dir, const char *name);

/* posix_kept.c: what files without a name the last server left is taken up, or deleted where nobody comes
 * back. */
void ph_kept_take_up(struct ph_posix_store *store);
/* Those that nobody opened again go. On the thread of the trash. */
void ph_kept_release(struct ph_posix_store *store);
void ph_posix_claimed(void *self); /* as of struct ph_store */

/* The payload of CALL becomes all data of OBJECT, a file that LOOKUP found last, where its caller may read it
 * and it is not longer than `data_max`; else there is none. */
void ph_posix_add_data(struct ph_posix_store *store, struct ph_call *call,
                       const Pohmel__LookupRequest *lookup, struct ph_object *object);

/* The commands. */
uint32_t ph_posix_lookup(void *, struct ph_call *, const Pohmel__LookupRequest *, Pohmel__LookupReply *);
uint32_t ph_posix_getattr(void *, struct ph_call *, const Pohmel__GetattrRequest *, Pohmel__GetattrReply *);
uint32_t ph_posix_readlink(void *, struct ph_call *, const Pohmel__ReadlinkRequest *,
                           Pohmel__ReadlinkReply *);
uint32_t ph_posix_access(void *, struct ph_call *, const Pohmel__AccessRequest *, Pohmel__Nothing *);
uint32_t ph_posix_readdir(void *, struct ph_call *, const Pohmel__ReaddirRequest *, Pohmel__ReaddirReply *);
uint32_t ph_posix_open(void *, struct ph_call *, const Pohmel__OpenRequest *, Pohmel__OpenReply *);
uint32_t ph_posix_read(void *, struct ph_call *, const Pohmel__ReadRequest *, Pohmel__ReadReply *);
uint32_t ph_posix_seek(void *, struct ph_call *, const Pohmel__SeekRequest *, Pohmel__SeekReply *);
uint32_t ph_posix_getxattr(void *, struct ph_call *, const Pohmel__GetxattrRequest *,
                           Pohmel__GetxattrReply *);
uint32_t ph_posix_listxattr(void *, struct ph_call *, const Pohmel__ListxattrRequest *,
                            Pohmel__ListxattrReply *);
uint32_t ph_posix_sync(void *, struct ph_call *, const Pohmel__SyncRequest *, Pohmel__Nothing *);
uint32_t ph_posix_statfs(void *, struct ph_call *, const Pohmel__StatfsRequest *, Pohmel__StatfsReply *);
uint32_t ph_posix_ids_grant(void *, struct ph_call *, const Pohmel__IdsGrantRequest *,
                            Pohmel__IdsGrantReply *);
uint32_t ph_posix_create(void *, struct ph_call *, const Pohmel__CreateRequest *, Pohmel__CreateResult *);
uint32_t ph_posix_mkdir(void *, struct ph_call *, const Pohmel__MkdirRequest *, Pohmel__AttrResult *);
uint32_t ph_posix_symlink(void *, struct ph_call *, const Pohmel__SymlinkRequest *, Pohmel__AttrResult *);
uint32_t ph_posix_mknod(void *, struct ph_call *, const Pohmel__MknodRequest *, Pohmel__AttrResult *);
uint32_t ph_posix_tmpfile(void *, struct ph_call *, const Pohmel__TmpfileRequest *, Pohmel__AttrResult *);
uint32_t ph_posix_link(void *, struct ph_call *, const Pohmel__LinkRequest *, Pohmel__AttrResult *);
uint32_t ph_posix_remove(void *, struct ph_call *, const Pohmel__RemoveRequest *, Pohmel__NameResult *);
uint32_t ph_posix_rmdir(void *, struct ph_call *, const Pohmel__RmdirRequest *, Pohmel__NameResult *);
uint32_t ph_posix_rename(void *, struct ph_call *, const Pohmel__RenameRequest *, Pohmel__NameResult *);
uint32_t ph_posix_setattr(void *, struct ph_call *, const Pohmel__SetattrRequest *, Pohmel__AttrResult *);
uint32_t ph_posix_write(void *, struct ph_call *, const Pohmel__WriteRequest *, Pohmel__WriteResult *);
uint32_t ph_posix_allocate(void *, struct ph_call *, const Pohmel__AllocateRequest *, Pohmel__AttrResult *);
uint32_t ph_posix_copy(void *, struct ph_call *, const Pohmel__CopyRequest *, Pohmel__CopyResult *);
uint32_t ph_posix_setxattr(void *, struct ph_call *, const Pohmel__SetxattrRequest *, Pohmel__AttrResult *);
uint32_t ph_posix_removexattr(void *, struct ph_call *, const Pohmel__RemovexattrRequest *,
                              Pohmel__AttrResult *);
uint32_t ph_posix_mkpath(void *, struct ph_call *, const Pohmel__MkpathRequest *, Pohmel__MkpathResult *);
uint32_t ph_posix_rmtree(void *, struct ph_call *, const Pohmel__RmtreeRequest *, Pohmel__RmtreeResult *);

#endif
