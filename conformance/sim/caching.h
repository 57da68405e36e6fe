/* A simulated machine that caches: a kernel, which keeps what it is told for as long as it is told, and
 * the client behind it, which does with client/core/cache.h what client/fuse/coherence*.c does. One task
 * at a time for each program; what it asked for is told by a function, never at once. */
#ifndef PH_CONFORMANCE_SIM_CACHING_H
#define PH_CONFORMANCE_SIM_CACHING_H

#include "client/core/cache.h"
#include "conformance/sim/world.h"

/* What the kernel has of an object. */
struct sim_inode {
    uint64_t id;
    uint64_t refs;
    struct ph_cached_attr attr;
    uint64_t attr_until_ms; /* 0: it has none */
    uint64_t attr_stamp;    /* moves when it is to forget them: answers under way are not kept */
    GBytes *pages;          /* all of the file, or NULL */
    uint64_t page_stamp;
    unsigned covered;    /* reads under way under a lease */
    unsigned writes;     /* of our own that are under way */
    unsigned drops;      /* under way */
    uint64_t drop_lease; /* a drop that waits for these reads; 0 for none */
    GQueue parked;       /* struct sim_task: reads that wait for a lease to go back */
};

enum { SIM_SLOTS = SIM_GROUPS * PH_SLOTS };

/* What the kernel has of a name. */
struct sim_name {
    uint64_t object, until_ms; /* UNTIL_MS 0: it has nothing */
    uint64_t stamp;
};

struct sim_caching {
    struct sim_client *client;
    struct ph_cache *cache;
    uint64_t generation;
    gboolean granted;
    GHashTable *inodes; /* uint64_t -> struct sim_inode */
    struct sim_name names[SIM_SLOTS];
    struct ph_cache_work *work;
};

/* What a program is told. */
struct sim_answer {
    uint32_t status;
    gboolean has_attr;
    struct ph_cached_attr attr;
    uint64_t object; /* of a name; 0: absent */
    gboolean created;
    GBytes *data;    /* what was read */
    gboolean listed; /* all names are there, in OBJECTS; 0: absent */
    uint64_t objects[SIM_SLOTS];
};

typedef void (*sim_answer_fn)(struct sim_process *process, const struct sim_answer *answer);

struct sim_task {
    struct sim_process *process;
    struct sim_caching *caching;
    sim_answer_fn fn;
    struct sim_answer answer;
    struct ph_cache_ask ask;
    struct ph_cache_change change;
    struct ph_cache_listing listing;
    gboolean changing;
    /* What it is about. */
    uint64_t object, handle;
    unsigned slot, slot2, count;
    uint64_t cookie, moved, replaced;
    unsigned flags, tries;
    gboolean covered;
    uint64_t page_stamp;
    /* What the kernel is about to be told. */
    uint64_t entry_ms, attr_ms; /* 0: nothing to keep */
    uint64_t until_ms;
    uint64_t held[2]; /* objects whose recalls wait for that */
    gboolean entry, reference;
    uint64_t name_stamp, attr_stamp;
};

/* Where a slot is. */
uint64_t sim_slot_directory(unsigned slot);
ProtobufCBinaryData sim_slot_name(unsigned slot);

/* --- kernel.c --- */

/* What it has of OBJECT; made if need be. */
struct sim_inode *sim_inode(struct sim_caching *caching, uint64_t object);

/* It knows nothing; it goes. */
void sim_kernel_init(struct sim_caching *caching);
void sim_kernel_clear(struct sim_caching *caching);

/* The kernel forgets what it knows, or is told it while it is under way. */
void sim_kernel_forget_attr(struct sim_caching *caching, uint64_t object);
void sim_kernel_forget_attrs(struct sim_caching *caching); /* of all objects */
void sim_kernel_forget_name(struct sim_caching *caching, unsigned slot);
void sim_kernel_forget_names(struct sim_caching *caching);
void sim_kernel_drop_pages(struct sim_caching *caching, uint64_t object);

/* It is short of memory: an object goes that nobody uses. */
void sim_kernel_evict(struct sim_caching *caching);

/* What it knows itself: TRUE with *OBJECT; attributes or NULL; pages or NULL. */
gboolean sim_kernel_name(struct sim_caching *caching, unsigned slot, uint64_t *object);
const struct ph_cached_attr *sim_kernel_attr(struct sim_caching *caching, uint64_t object);
GBytes *sim_kernel_pages(struct sim_caching *caching, uint64_t object);

/* TASK's answer goes to the kernel, which keeps it, then to the program. */
void sim_kernel_tell(struct sim_task *task);

/* --- caching.c --- */

/* The cache's time. */
uint64_t sim_caching_now(struct sim_caching *caching);

/* Does what the cache wants done. */
void sim_caching_work(struct sim_caching *caching);

/* A drop that waited for reads of INODE can go on, when there are none any more. */
void sim_caching_read_ended(struct sim_caching *caching, struct sim_inode *inode);

/* The kernel is about to be told of ATTR, valid for VALID_MS; of an entry of the slot of TASK. */
void sim_tell_attr(struct sim_task *task, uint64_t valid_ms);
void sim_tell_entry(struct sim_task *task, uint64_t directory, uint64_t valid_ms);
void sim_tell_reference(struct sim_task *task);

/* A task of PROCESS, whose answer is for FN. */
struct sim_task *sim_task_new(struct sim_process *process, sim_answer_fn fn);
void sim_task_free(struct sim_task *task);

/* TASK ends with STATUS. */
void sim_task_end(struct sim_task *task, uint32_t status);

/* caching_data.c: TASK, a read, looks anew how it can be done. */
void sim_read_go(struct sim_task *task);

/* --- What a program can ask for: each is answered by FN, once --- */

/* What the name SLOT stands for. */
void sim_ask_lookup(struct sim_process *process, unsigned slot, sim_answer_fn fn);

/* Attributes of OBJECT. */
void sim_ask_attr(struct sim_process *process, uint64_t object, sim_answer_fn fn);

/* The names in DIRECTORY, COUNT with each request. */
void sim_ask_list(struct sim_process *process, uint64_t directory, unsigned count, sim_answer_fn fn);

/* OBJECT is opened as HANDLE, for reading and writing; all of it is read. */
void sim_ask_open(struct sim_process *process, uint64_t object, uint64_t handle, sim_answer_fn fn);
void sim_ask_read(struct sim_process *process, uint64_t object, uint64_t handle, sim_answer_fn fn);

/* What was written is stable afterwards. */
void sim_ask_sync(struct sim_process *process, uint64_t object, uint64_t handle, sim_answer_fn fn);

/* The same of all there is. */
void sim_ask_sync_all(struct sim_process *process, sim_answer_fn fn);

/* OFFSET UINT64_MAX: at the end. BYTES is taken over. */
void sim_ask_write(struct sim_process *process, uint64_t object, uint64_t handle, uint64_t offset,
                   GBytes *bytes, sim_answer_fn fn);

/* OWNER becomes the owner of OBJECT. */
void sim_ask_chown(struct sim_process *process, uint64_t object, uint32_t owner, sim_answer_fn fn);

/* A file, or (DIRECTORY) a directory, with id OBJECT. */
void sim_ask_create(struct sim_process *process, unsigned slot, uint64_t object, gboolean exclusive,
                    gboolean directory, sim_answer_fn fn);

/* The name SLOT is taken away; OBJECT gets it; it is moved to SLOT2 (FLAGS as in RENAME). */
void sim_ask_remove(struct sim_process *process, unsigned slot, gboolean directory, sim_answer_fn fn);
void sim_ask_link(struct sim_process *process, uint64_t object, unsigned slot, sim_answer_fn fn);
void sim_ask_rename(struct sim_process *process, unsigned slot, unsigned slot2, unsigned flags,
                    sim_answer_fn fn);

/* SEVERAL at once, or nothing of it. */
void sim_ask_several(struct sim_process *process, const struct sim_several *several, sim_answer_fn fn);

#endif
