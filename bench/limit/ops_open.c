/* Reading and writing of what is open, files and directories. */
#include <errno.h>
#include <stdlib.h>

#include "bench/limit/ops.h"
#include "client/fuse/hook.h"

void ph_limit_open(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *info)
{
    info->keep_cache = 1;
    fuse_reply_open(req, info);
}

void ph_limit_read(fuse_req_t req, fuse_ino_t id, size_t size, off_t offset, struct fuse_file_info *info)
{
    struct ph_limit_node *node = ph_limit_node_of(req, id);
    struct iovec spans[PH_LIMIT_SPANS];
    /* Under the lock until the kernel has copied it. */
    pthread_mutex_lock(&node->lock);
    unsigned count = ph_limit_content_read(&node->content, (uint64_t) offset, size, spans);
    fuse_reply_iov(req, spans, (int) count);
    pthread_mutex_unlock(&node->lock);
}

static int write_locked(struct ph_limit_tree *tree, struct ph_limit_node *node, const char *data, size_t size,
                        uint64_t offset)
{
    uint64_t held = node->content.held_bytes;
    if (tree->held_bytes + size > tree->max_bytes ||
        !ph_limit_content_write(&node->content, offset, data, size))
        return ENOSPC;
    tree->held_bytes += node->content.held_bytes - held;
    node->stat.st_mtim = node->stat.st_ctim = ph_limit_now();
    if (ph_hook_note()->kill_privileges)
        node->stat.st_mode &= ~(mode_t) (S_ISUID | ((node->stat.st_mode & S_IXGRP) != 0 ? S_ISGID : 0));
    return 0;
}

void ph_limit_write(fuse_req_t req, fuse_ino_t id, const char *data, size_t size, off_t offset,
                    struct fuse_file_info *info)
{
    struct ph_limit_node *node = ph_limit_node_of(req, id);
    pthread_mutex_lock(&node->lock);
    int error = write_locked(ph_limit_tree_of(req), node, data, size, (uint64_t) offset);
    pthread_mutex_unlock(&node->lock);
    if (error != 0)
        fuse_reply_err(req, error);
    else
        fuse_reply_write(req, size);
}

void ph_limit_done(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *info)
{
    fuse_reply_err(req, 0);
}

void ph_limit_fsync(fuse_req_t req, fuse_ino_t id, int data_only, struct fuse_file_info *info)
{
    /* Memory is as stable as it will get, but a disk takes its time. */
    g_usleep(ph_limit_tree_of(req)->fsync_us);
    fuse_reply_err(req, 0);
}

void ph_limit_opendir(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *info)
{
    struct ph_limit_tree *tree = ph_limit_tree_of(req);
    struct ph_limit_node *node = ph_limit_node_of(req, id);
    ph_limit_tree_listing(tree, node, 1);
    info->cache_readdir = 1;
    info->keep_cache = 1;
    if (fuse_reply_open(req, info) != 0)
        ph_limit_tree_listing(tree, node, -1);
}

void ph_limit_releasedir(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *info)
{
    ph_limit_tree_listing(ph_limit_tree_of(req), ph_limit_node_of(req, id), -1);
    fuse_reply_err(req, 0);
}

/* An answer to READDIR or READDIRPLUS being packed. */
struct page {
    fuse_req_t req;
    char *bytes;
    size_t len, size;
    bool plus;
};

static bool is_dots(const char *name)
{
    return name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

static bool pack(void *data, const char *name, struct ph_limit_node *node, uint64_t after)
{
    struct page *page = data;
    struct fuse_entry_param entry;
    ph_limit_entry(node, &entry);
    bool counts = page->plus && !is_dots(name);
    if (!counts)
        entry.ino = 0; /* the kernel looks at none, or at those of dots not */
    char *at = page->bytes + page->len;
    size_t left = page->size - page->len;
    size_t need = page->plus ? fuse_add_direntry_plus(page->req, at, left, name, &entry, (off_t) after)
                             : fuse_add_direntry(page->req, at, left, name, &entry.attr, (off_t) after);
    if (need > left)
        return false;
    page->len += need;
    if (counts)
        node->lookups++;
    return true;
}

static void list(fuse_req_t req, fuse_ino_t id, size_t size, off_t offset, bool plus)
{
    struct page page = {.req = req, .bytes = malloc(size), .size = size, .plus = plus};
    if (page.bytes == NULL) {
        fuse_reply_err(req, ENOMEM);
        return;
    }
    ph_limit_tree_list(ph_limit_tree_of(req), ph_limit_node_of(req, id), (uint64_t) offset, pack, &page);
    fuse_reply_buf(req, page.bytes, page.len);
    free(page.bytes);
}

void ph_limit_readdir(fuse_req_t req, fuse_ino_t id, size_t size, off_t offset, struct fuse_file_info *info)
{
    list(req, id, size, offset, false);
}

void ph_limit_readdirplus(fuse_req_t req, fuse_ino_t id, size_t size, off_t offset,
                          struct fuse_file_info *info)
{
    list(req, id, size, offset, true);
}
