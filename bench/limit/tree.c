#include "bench/limit/tree.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    POSITION_DOT = 1,
    POSITION_DOTDOT = 2,
    POSITION_NAMES = 3, /* of the first place in `order` and on */
    HOLES_MIN = 64,     /* not worth closing up below that */
    BLOCK_BYTES = 4096,
};

struct name {
    struct ph_limit_node *node;
    guint hash, place;
    const char *text; /* behind the struct, or of who looks for it */
};

struct timespec ph_limit_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    return now;
}

static guint name_hash(gconstpointer key)
{
    return ((const struct name *) key)->hash;
}

static gboolean name_equal(gconstpointer a, gconstpointer b)
{
    const struct name *one = a, *other = b;
    return one->hash == other->hash && strcmp(one->text, other->text) == 0;
}

static struct name *find(const struct ph_limit_node *directory, const char *text)
{
    const struct name key = {.hash = g_str_hash(text), .text = text};
    return g_hash_table_lookup(directory->names, &key);
}

/* Closes up the places of names that went, unless somebody stands at a position. */
static void close_up(struct ph_limit_node *directory)
{
    GPtrArray *order = directory->order;
    guint live = g_hash_table_size(directory->names);
    if (directory->listings > 0 || order->len < 2 * live + HOLES_MIN)
        return;
    guint place = 0;
    for (guint i = 0; i < order->len; i++) {
        struct name *name = order->pdata[i];
        if (name == NULL)
            continue;
        name->place = place;
        order->pdata[place++] = name;
    }
    g_ptr_array_set_size(order, (gint) place);
}

static void put(struct ph_limit_node *directory, const char *text, struct ph_limit_node *node)
{
    size_t len = strlen(text) + 1;
    struct name *name = g_malloc(sizeof *name + len);
    close_up(directory);
    *name = (struct name){.node = node, .hash = g_str_hash(text), .place = directory->order->len};
    name->text = memcpy(name + 1, text, len);
    g_ptr_array_add(directory->order, name);
    g_hash_table_add(directory->names, name);
}

static void drop(struct ph_limit_node *directory, struct name *name)
{
    directory->order->pdata[name->place] = NULL;
    g_hash_table_remove(directory->names, name); /* frees it */
}

static bool is_directory_node(const struct ph_limit_node *node)
{
    return node->names != NULL;
}

/* Moves the count of links of NODE; its status changed with that. */
static void count_links(struct ph_limit_node *node, int by, struct timespec now)
{
    pthread_mutex_lock(&node->lock);
    node->stat.st_nlink += (nlink_t) by;
    node->stat.st_ctim = now;
    pthread_mutex_unlock(&node->lock);
}

/* A name of DIRECTORY came or went; BY is by how many its directories changed. */
static void touch(struct ph_limit_node *directory, int by, struct timespec now)
{
    pthread_mutex_lock(&directory->lock);
    directory->stat.st_nlink += (nlink_t) by;
    directory->stat.st_size = g_hash_table_size(directory->names);
    directory->stat.st_mtim = directory->stat.st_ctim = now;
    pthread_mutex_unlock(&directory->lock);
}

static struct ph_limit_node *new_node(struct ph_limit_tree *tree, const struct ph_limit_make *make)
{
    struct ph_limit_node *node = g_new0(struct ph_limit_node, 1);
    struct timespec now = ph_limit_now();
    bool directory = S_ISDIR(make->mode);
    pthread_mutex_init(&node->lock, NULL);
    node->generation = ++tree->last_number;
    node->stat = (struct stat){
        .st_ino = node->generation,
        .st_mode = make->mode,
        .st_nlink = directory ? 2 : 1,
        .st_uid = make->uid,
        .st_gid = make->gid,
        .st_rdev = make->device,
        .st_blksize = BLOCK_BYTES,
        .st_atim = now,
        .st_mtim = now,
        .st_ctim = now,
    };
    if (directory) {
        node->names = g_hash_table_new_full(name_hash, name_equal, g_free, NULL);
        node->order = g_ptr_array_new();
    }
    if (make->target != NULL) {
        node->target = g_strdup(make->target);
        node->stat.st_size = (off_t) strlen(make->target);
    }
    LIST_INSERT_HEAD(&tree->all, node, all);
    tree->nodes++;
    return node;
}

static void free_node(struct ph_limit_tree *tree, struct ph_limit_node *node)
{
    LIST_REMOVE(node, all);
    tree->nodes--;
    tree->held_bytes -= node->content.held_bytes;
    ph_limit_content_clear(&node->content);
    g_clear_pointer(&node->names, g_hash_table_destroy);
    if (node->order != NULL)
        g_ptr_array_free(node->order, TRUE);
    g_clear_pointer(&node->xattrs, g_hash_table_destroy);
    g_free(node->target);
    pthread_mutex_destroy(&node->lock);
    g_free(node);
}

/* Frees NODE when it has no name and the kernel does not know it. */
static void free_if_gone(struct ph_limit_tree *tree, struct ph_limit_node *node)
{
    if (node->stat.st_nlink == 0 && node->lookups == 0)
        free_node(tree, node);
}

struct ph_limit_tree *ph_limit_tree_new(uint64_t max_bytes)
{
    struct ph_limit_tree *tree = g_new0(struct ph_limit_tree, 1);
    pthread_mutex_init(&tree->lock, NULL);
    LIST_INIT(&tree->all);
    tree->max_bytes = max_bytes;
    tree->root = new_node(tree, &(struct ph_limit_make){.mode = S_IFDIR | 0755});
    tree->root->parent = tree->root;
    return tree;
}

void ph_limit_tree_free(struct ph_limit_tree *tree)
{
    while (!LIST_EMPTY(&tree->all))
        free_node(tree, LIST_FIRST(&tree->all));
    pthread_mutex_destroy(&tree->lock);
    g_free(tree);
}

int ph_limit_tree_lookup(struct ph_limit_tree *tree, struct ph_limit_node *directory, const char *name,
                         struct ph_limit_node **node)
{
    pthread_mutex_lock(&tree->lock);
    const struct name *found = find(directory, name);
    if (found != NULL) {
        *node = found->node;
        found->node->lookups++;
    }
    pthread_mutex_unlock(&tree->lock);
    return found != NULL ? 0 : ENOENT;
}

int ph_limit_tree_make(struct ph_limit_tree *tree, struct ph_limit_node *directory, const char *name,
                       const struct ph_limit_make *make, struct ph_limit_node **node)
{
    int error = 0;
    pthread_mutex_lock(&tree->lock);
    if (name != NULL && find(directory, name) != NULL) {
        error = EEXIST;
    } else {
        *node = new_node(tree, make);
        (*node)->parent = directory;
        (*node)->lookups = 1;
        if (name != NULL) {
            put(directory, name, *node);
            touch(directory, S_ISDIR(make->mode) ? 1 : 0, ph_limit_now());
        } else {
            (*node)->stat.st_nlink = 0;
        }
    }
    pthread_mutex_unlock(&tree->lock);
    return error;
}

int ph_limit_tree_link(struct ph_limit_tree *tree, struct ph_limit_node *node,
                       struct ph_limit_node *directory, const char *name)
{
    int error = 0;
    pthread_mutex_lock(&tree->lock);
    if (find(directory, name) != NULL) {
        error = EEXIST;
    } else {
        struct timespec now = ph_limit_now();
        put(directory, name, node);
        count_links(node, 1, now);
        touch(directory, 0, now);
        node->lookups++;
    }
    pthread_mutex_unlock(&tree->lock);
    return error;
}

/* Whether NODE, which is to be a directory or must not be one, may lose its name. */
static int check_removable(const struct ph_limit_node *node, bool is_directory)
{
    if (is_directory_node(node) != is_directory)
        return is_directory ? ENOTDIR : EISDIR;
    return is_directory && g_hash_table_size(node->names) > 0 ? ENOTEMPTY : 0;
}

/* NAME goes for good, and with it perhaps what it stands for. */
static void remove_name(struct ph_limit_tree *tree, struct ph_limit_node *directory, struct name *name,
                        struct timespec now)
{
    struct ph_limit_node *node = name->node;
    bool is_directory = is_directory_node(node);
    drop(directory, name);
    if (is_directory)
        node->parent = node;
    count_links(node, is_directory ? -2 : -1, now);
    touch(directory, is_directory ? -1 : 0, now);
    free_if_gone(tree, node);
}

int ph_limit_tree_remove(struct ph_limit_tree *tree, struct ph_limit_node *directory, const char *name,
                         bool is_directory)
{
    pthread_mutex_lock(&tree->lock);
    struct name *found = find(directory, name);
    int error = found != NULL ? check_removable(found->node, is_directory) : ENOENT;
    if (error == 0)
        remove_name(tree, directory, found, ph_limit_now());
    pthread_mutex_unlock(&tree->lock);
    return error;
}

/* NODE stands in TO now, no longer in FROM. */
static void move_node(struct ph_limit_node *node, struct ph_limit_node *from, struct ph_limit_node *to,
                      struct timespec now)
{
    bool is_directory = is_directory_node(node);
    node->parent = to;
    touch(from, is_directory ? -1 : 0, now);
    touch(to, is_directory ? 1 : 0, now);
    count_links(node, 0, now);
}

static void exchange(struct ph_limit_node *from, struct name *a, struct ph_limit_node *to, struct name *b)
{
    struct timespec now = ph_limit_now();
    struct ph_limit_node *node = a->node;
    a->node = b->node;
    b->node = node;
    move_node(node, from, to, now);
    move_node(a->node, to, from, now);
}

static int rename_locked(struct ph_limit_tree *tree, struct ph_limit_node *from, const char *name,
                         struct ph_limit_node *to, const char *new_name, unsigned flags)
{
    struct name *source = find(from, name), *target = find(to, new_name);
    if (source == NULL)
        return ENOENT;
    if (flags == RENAME_EXCHANGE) {
        if (target == NULL)
            return ENOENT;
        exchange(from, source, to, target);
        return 0;
    }
    if (target != NULL && flags == RENAME_NOREPLACE)
        return EEXIST;
    struct ph_limit_node *node = source->node;
    struct timespec now = ph_limit_now();
    if (target != NULL) {
        if (target->node == node)
            return 0;
        int error = check_removable(target->node, is_directory_node(node));
        if (error != 0)
            return error;
        remove_name(tree, to, target, now);
    }
    drop(from, source);
    put(to, new_name, node);
    move_node(node, from, to, now);
    return 0;
}

int ph_limit_tree_rename(struct ph_limit_tree *tree, struct ph_limit_node *from, const char *name,
                         struct ph_limit_node *to, const char *new_name, unsigned flags)
{
    if (flags != 0 && flags != RENAME_NOREPLACE && flags != RENAME_EXCHANGE)
        return EINVAL;
    pthread_mutex_lock(&tree->lock);
    int error = rename_locked(tree, from, name, to, new_name, flags);
    pthread_mutex_unlock(&tree->lock);
    return error;
}

void ph_limit_tree_forget(struct ph_limit_tree *tree, struct ph_limit_node *node, uint64_t count)
{
    pthread_mutex_lock(&tree->lock);
    if (node != tree->root) {
        node->lookups -= MIN(count, node->lookups);
        free_if_gone(tree, node);
    }
    pthread_mutex_unlock(&tree->lock);
}

void ph_limit_tree_list(struct ph_limit_tree *tree, struct ph_limit_node *directory, uint64_t position,
                        ph_limit_name_fn fn, void *data)
{
    pthread_mutex_lock(&tree->lock);
    bool more = true;
    if (position < POSITION_DOT)
        more = fn(data, ".", directory, POSITION_DOT);
    if (more && position < POSITION_DOTDOT)
        more = fn(data, "..", directory->parent, POSITION_DOTDOT);
    /* A position names the place before it, whence it goes on. */
    guint start = position < POSITION_NAMES ? 0 : (guint) (position - POSITION_NAMES + 1);
    for (guint i = start; more && i < directory->order->len; i++) {
        const struct name *name = directory->order->pdata[i];
        if (name != NULL)
            more = fn(data, name->text, name->node, i + POSITION_NAMES);
    }
    pthread_mutex_unlock(&tree->lock);
}

void ph_limit_tree_listing(struct ph_limit_tree *tree, struct ph_limit_node *directory, int by)
{
    pthread_mutex_lock(&tree->lock);
    directory->listings += (unsigned) by;
    pthread_mutex_unlock(&tree->lock);
}
