/* Names and nodes of a filesystem that lives in memory and is gone with the process.
 *
 * The tree has one lock, for names, counts of links and who still refers to a
 * node; each node one for its attributes and content, taken inside of that one or alone.
 * Functions return 0 or a positive errno, and may be called from any thread. */
#ifndef PH_BENCH_LIMIT_TREE_H
#define PH_BENCH_LIMIT_TREE_H

#include <glib.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/queue.h>
#include <sys/stat.h>

#include "bench/limit/content.h"

struct ph_limit_node {
    uint64_t generation; /* never the same for two nodes at one address */
    struct ph_limit_content content;
    char *target;       /* of a symbolic link */
    GHashTable *xattrs; /* name to GBytes; NULL: none */
    struct stat stat;
    pthread_mutex_t lock; /* for the four above */

    /* The lock of the tree is for what follows. */
    uint64_t lookups; /* how often the kernel was told of it and has not forgotten it */
    struct ph_limit_node *parent;
    GHashTable *names; /* of a directory: struct name, by name */
    GPtrArray *order;  /* the same in the order in which they came; NULL where one went */
    unsigned listings; /* open ones; positions stay while there are any */
    LIST_ENTRY(ph_limit_node) all;
};

struct ph_limit_tree {
    pthread_mutex_t lock;
    struct ph_limit_node *root;
    uint64_t last_number;
    _Atomic uint64_t nodes;
    _Atomic uint64_t held_bytes; /* of file content, as memory */
    uint64_t max_bytes;          /* ENOSPC beyond; set once */
    unsigned long fsync_us;      /* that an fsync takes; set once */
    LIST_HEAD(, ph_limit_node) all;
};

/* What a new node is to be. */
struct ph_limit_make {
    mode_t mode; /* with its type */
    dev_t device;
    uid_t uid;
    gid_t gid;
    const char *target; /* of a symbolic link, else NULL */
};

/* A tree with an empty root, which holds up to MAX_BYTES of content. Never NULL. */
struct ph_limit_tree *ph_limit_tree_new(uint64_t max_bytes);

/* Frees TREE and all nodes. */
void ph_limit_tree_free(struct ph_limit_tree *tree);

/* NAME in DIRECTORY. The caller owes a ph_limit_tree_forget for the node. ENOENT. */
int ph_limit_tree_lookup(struct ph_limit_tree *tree, struct ph_limit_node *directory, const char *name,
                         struct ph_limit_node **node);

/* Makes NAME in DIRECTORY, or a file without a name where NAME is NULL. The caller owes a
 * ph_limit_tree_forget for the node. EEXIST. */
int ph_limit_tree_make(struct ph_limit_tree *tree, struct ph_limit_node *directory, const char *name,
                       const struct ph_limit_make *make, struct ph_limit_node **node);

/* Another name for NODE, of which the caller owes one more ph_limit_tree_forget then. EEXIST. */
int ph_limit_tree_link(struct ph_limit_tree *tree, struct ph_limit_node *node,
                       struct ph_limit_node *directory, const char *name);

/* Removes NAME, which has to stand for a directory or must not. ENOENT, ENOTDIR, EISDIR, ENOTEMPTY. */
int ph_limit_tree_remove(struct ph_limit_tree *tree, struct ph_limit_node *directory, const char *name,
                         bool is_directory);

/* As renameat2(2) with FLAGS 0, RENAME_NOREPLACE or RENAME_EXCHANGE; the caller made
 * sure that no directory moves below itself. ENOENT, EEXIST, ENOTEMPTY, EISDIR, ENOTDIR, EINVAL. */
int ph_limit_tree_rename(struct ph_limit_tree *tree, struct ph_limit_node *from, const char *name,
                         struct ph_limit_node *to, const char *new_name, unsigned flags);

/* The kernel forgot NODE COUNT times; it is freed if nothing else holds it. */
void ph_limit_tree_forget(struct ph_limit_tree *tree, struct ph_limit_node *node, uint64_t count);

/* One name of a listing. AFTER is the position behind it; the lookups of NODE may be raised
 * (one ph_limit_tree_forget owed for each). False ends the listing before this name. */
typedef bool (*ph_limit_name_fn)(void *data, const char *name, struct ph_limit_node *node, uint64_t after);

/* Names of DIRECTORY from POSITION on (0: the beginning, with "." and ".."). */
void ph_limit_tree_list(struct ph_limit_tree *tree, struct ph_limit_node *directory, uint64_t position,
                        ph_limit_name_fn fn, void *data);

/* A listing of DIRECTORY begins or ends (BY is 1 or -1): positions stay in between. */
void ph_limit_tree_listing(struct ph_limit_tree *tree, struct ph_limit_node *directory, int by);

/* The time now, as filesystems of the kernel take it. */
struct timespec ph_limit_now(void);

#endif
