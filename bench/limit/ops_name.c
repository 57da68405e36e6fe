/* Looking up, making, renaming and removing names. */
#include <errno.h>

#include "bench/limit/ops.h"
#include "client/fuse/hook.h"

void ph_limit_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct ph_limit_node *node;
    if (ph_limit_tree_lookup(ph_limit_tree_of(req), ph_limit_node_of(req, parent), name, &node) == 0) {
        ph_limit_reply_entry(req, node);
        return;
    }
    /* That there is no such name is kept too. */
    const struct fuse_entry_param absent = {.entry_timeout = ph_limit_for_ever_s};
    fuse_reply_entry(req, &absent);
}

void ph_limit_forget(fuse_req_t req, fuse_ino_t node, uint64_t count)
{
    ph_limit_tree_forget(ph_limit_tree_of(req), ph_limit_node_of(req, node), count);
    fuse_reply_none(req);
}

void ph_limit_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
    for (size_t i = 0; i < count; i++)
        ph_limit_tree_forget(ph_limit_tree_of(req), ph_limit_node_of(req, forgets[i].ino),
                             forgets[i].nlookup);
    fuse_reply_none(req);
}

/* Makes what REQ asks for, as its caller's: with the umask, and the group of a set-gid directory. */
static int make(fuse_req_t req, fuse_ino_t parent, const char *name, struct ph_limit_make *what,
                struct ph_limit_node **node)
{
    struct ph_limit_node *directory = ph_limit_node_of(req, parent);
    const struct fuse_ctx *caller = fuse_req_ctx(req);
    struct stat stat;
    ph_limit_stat(directory, &stat);
    if (what->target == NULL)
        what->mode &= ~caller->umask;
    what->uid = caller->uid;
    what->gid = (stat.st_mode & S_ISGID) != 0 ? stat.st_gid : caller->gid;
    if ((stat.st_mode & S_ISGID) != 0 && S_ISDIR(what->mode))
        what->mode |= S_ISGID;
    return ph_limit_tree_make(ph_limit_tree_of(req), directory, name, what, node);
}

static void make_and_reply(fuse_req_t req, fuse_ino_t parent, const char *name, struct ph_limit_make what)
{
    struct ph_limit_node *node;
    int error = make(req, parent, name, &what, &node);
    if (error != 0)
        fuse_reply_err(req, error);
    else
        ph_limit_reply_entry(req, node);
}

void ph_limit_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t device)
{
    make_and_reply(req, parent, name, (struct ph_limit_make){.mode = mode, .device = device});
}

void ph_limit_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
    make_and_reply(req, parent, name, (struct ph_limit_make){.mode = mode | S_IFDIR});
}

void ph_limit_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
    make_and_reply(req, parent, name, (struct ph_limit_make){.mode = S_IFLNK | 0777, .target = target});
}

void ph_limit_link(fuse_req_t req, fuse_ino_t id, fuse_ino_t parent, const char *name)
{
    struct ph_limit_node *node = ph_limit_node_of(req, id);
    int error = ph_limit_tree_link(ph_limit_tree_of(req), node, ph_limit_node_of(req, parent), name);
    if (error != 0)
        fuse_reply_err(req, error);
    else
        ph_limit_reply_entry(req, node);
}

void ph_limit_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    fuse_reply_err(req,
                   ph_limit_tree_remove(ph_limit_tree_of(req), ph_limit_node_of(req, parent), name, false));
}

void ph_limit_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    fuse_reply_err(req,
                   ph_limit_tree_remove(ph_limit_tree_of(req), ph_limit_node_of(req, parent), name, true));
}

void ph_limit_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
                     const char *new_name, unsigned flags)
{
    fuse_reply_err(req, ph_limit_tree_rename(ph_limit_tree_of(req), ph_limit_node_of(req, parent), name,
                                             ph_limit_node_of(req, new_parent), new_name, flags));
}

void ph_limit_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
                     struct fuse_file_info *info)
{
    struct ph_limit_tree *tree = ph_limit_tree_of(req);
    struct ph_limit_make what = {.mode = mode | S_IFREG};
    struct ph_limit_node *node;
    int error = make(req, parent, ph_hook_note()->tmpfile ? NULL : name, &what, &node);
    if (error == EEXIST && (info->flags & O_EXCL) == 0)
        error = ph_limit_tree_lookup(tree, ph_limit_node_of(req, parent), name, &node);
    if (error != 0) {
        fuse_reply_err(req, error);
        return;
    }
    struct fuse_entry_param entry;
    ph_limit_entry(node, &entry);
    info->keep_cache = 1;
    if (fuse_reply_create(req, &entry, info) != 0)
        ph_limit_tree_forget(tree, node, 1);
}
