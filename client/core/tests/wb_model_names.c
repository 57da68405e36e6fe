/* The small filesystem: names, made, moved and taken away. */
#include <string.h>
#include <sys/stat.h>

#include "client/core/tests/wb_model_private.h"

enum { SET_MODE = 1, SET_UID = 2, SET_GID = 4, SET_ACCESSED = 16, SET_MODIFIED = 32, EXCHANGE = 2 };

static struct wb_entry *entry_of(const struct wb_node *d, const char *name)
{
    return g_hash_table_lookup(d->names, name);
}

static void put(struct wb_node *d, const char *name, uint64_t id)
{
    struct wb_entry *entry = g_new(struct wb_entry, 1);
    *entry = (struct wb_entry){id, ++d->last_seq};
    g_hash_table_replace(d->names, g_strdup(name), entry);
}

static uint32_t directory(const struct wb_model *model, uint64_t id, struct wb_node **out)
{
    *out = wb_model_node(model, id);
    if (*out == NULL)
        return PH_ST_STALE;
    if ((*out)->names == NULL)
        return PH_ST_NOT_DIRECTORY;
    return (*out)->links == 0 ? PH_ST_NOT_FOUND : PH_ST_OK;
}

static struct ph_cached_time time_of(const Pohmel__Time *time)
{
    return (struct ph_cached_time){.seconds = time->seconds, .nanoseconds = time->nanoseconds};
}

static void apply(struct wb_node *node, const Pohmel__NewAttributes *attributes)
{
    if (attributes == NULL)
        return;
    if (attributes->which & SET_MODE)
        node->mode = (node->mode & S_IFMT) | attributes->mode;
    if (attributes->which & SET_UID)
        node->uid = attributes->uid;
    if (attributes->which & SET_GID)
        node->gid = attributes->gid;
    if (attributes->which & SET_ACCESSED)
        node->accessed = time_of(attributes->accessed);
    if (attributes->which & SET_MODIFIED)
        node->modified = time_of(attributes->modified);
}

static void say_attr(struct wb_execution *x, struct wb_node *node, bool created)
{
    struct ph_cached_attr_wire wire;
    Pohmel__Attr *attr = wb_model_attr(x->model, node, true, &wire);
    Pohmel__CreateResult create = POHMEL__CREATE_RESULT__INIT;
    Pohmel__AttrResult result = POHMEL__ATTR_RESULT__INIT;
    create.attr = result.attr = attr;
    create.created = created;
    if (x->command == PH_CMD_CREATE)
        wb_model_say_result(x, &create);
    else
        wb_model_say_result(x, &result);
}

static struct wb_node *make(struct wb_execution *x, struct wb_node *d, const char *name, uint64_t id,
                            uint32_t mode, const Pohmel__Caller *caller)
{
    struct wb_node *node = wb_model_make(x->model, id, mode, d->id);
    node->uid = caller->uid;
    node->gid = caller->gid;
    put(d, name, id);
    if (S_ISDIR(mode))
        d->links++;
    wb_model_touch(x->model, d, true);
    return node;
}

void wb_model_survives(struct wb_model *model, uint64_t directory, const char *name, uint64_t id,
                       uint32_t mode)
{
    wb_model_make(model, id, mode, directory)->found = true;
    put(wb_model_node(model, directory), name, id);
}

/* R-9.15-4 */
static bool adopt(struct wb_execution *x, struct wb_entry *entry, uint64_t id, uint64_t survivor)
{
    struct wb_node *node = wb_model_node(x->model, entry->id);
    if (!node->found || node->version > survivor)
        return false;
    g_hash_table_steal(x->model->nodes, &node->id);
    node->id = entry->id = id;
    node->found = false;
    g_hash_table_insert(x->model->nodes, &node->id, node);
    say_attr(x, node, true);
    return true;
}

static uint32_t create_found(struct wb_execution *x, struct wb_entry *entry)
{
    const Pohmel__CreateRequest *request = x->message;
    struct wb_node *node = wb_model_node(x->model, entry->id);
    if (request->exclusive)
        return adopt(x, entry, request->object, request->survivor) ? PH_ST_OK : PH_ST_EXISTS;
    if (S_ISDIR(node->mode))
        return PH_ST_IS_DIRECTORY;
    if (!S_ISREG(node->mode))
        return PH_ST_LOOP;
    if (request->truncate) {
        g_byte_array_set_size(node->data, 0);
        wb_model_touch(x->model, node, true);
    }
    if (request->handle != 0)
        wb_model_open(x->model, request->handle, node);
    say_attr(x, node, false);
    return PH_ST_OK;
}

static uint32_t create(struct wb_execution *x)
{
    const Pohmel__CreateRequest *request = x->message;
    g_autofree char *name = wb_model_text(&request->name);
    struct wb_node *d;
    uint32_t status = directory(x->model, request->parent, &d);
    if (status != PH_ST_OK)
        return status;
    struct wb_entry *entry = entry_of(d, name);
    if (entry != NULL)
        return create_found(x, entry);
    if (wb_model_node(x->model, request->object) != NULL)
        return PH_ST_INVALID;
    struct wb_node *node =
        make(x, d, name, request->object, S_IFREG | (request->mode & ~request->umask), request->caller);
    g_assert_cmpuint(request->length, ==, x->payload != NULL ? x->payload->len : 0);
    if (x->payload != NULL)
        g_byte_array_append(node->data, x->payload->data, (guint) x->payload->len);
    apply(node, request->attributes);
    if (request->handle != 0)
        wb_model_open(x->model, request->handle, node);
    say_attr(x, node, true);
    return PH_ST_OK;
}

static uint32_t make_other(struct wb_execution *x)
{
    const Pohmel__MkdirRequest *mkdir = x->message;
    const Pohmel__SymlinkRequest *symlink = x->message;
    const Pohmel__MknodRequest *mknod = x->message;
    bool is_mkdir = x->command == PH_CMD_MKDIR, is_symlink = x->command == PH_CMD_SYMLINK;
    uint64_t parent = is_mkdir ? mkdir->parent : is_symlink ? symlink->parent : mknod->parent;
    uint64_t object = is_mkdir ? mkdir->object : is_symlink ? symlink->object : mknod->object;
    uint32_t mode = is_mkdir     ? S_IFDIR | (mkdir->mode & ~mkdir->umask)
                    : is_symlink ? S_IFLNK | 0777
                                 : mknod->mode & ~mknod->umask;
    g_autofree char *name = wb_model_text(is_mkdir     ? &mkdir->name
                                          : is_symlink ? &symlink->name
                                                       : &mknod->name);
    struct wb_node *d;
    uint32_t status = directory(x->model, parent, &d);
    if (status != PH_ST_OK)
        return status;
    struct wb_entry *entry = entry_of(d, name);
    if (entry != NULL)
        return is_mkdir && adopt(x, entry, object, mkdir->survivor) ? PH_ST_OK : PH_ST_EXISTS;
    if (wb_model_node(x->model, object) != NULL)
        return PH_ST_INVALID;
    struct wb_node *node = make(x, d, name, object, mode,
                                is_mkdir     ? mkdir->caller
                                : is_symlink ? symlink->caller
                                             : mknod->caller);
    if (is_symlink)
        g_byte_array_append(node->data, symlink->target.data, (guint) symlink->target.len);
    say_attr(x, node, true);
    return PH_ST_OK;
}

static uint32_t make_link(struct wb_execution *x)
{
    const Pohmel__LinkRequest *request = x->message;
    g_autofree char *name = wb_model_text(&request->name);
    struct wb_node *d, *node = wb_model_node(x->model, request->object);
    uint32_t status = directory(x->model, request->parent, &d);
    if (status != PH_ST_OK)
        return status;
    if (node == NULL)
        return PH_ST_STALE;
    if (S_ISDIR(node->mode))
        return PH_ST_NOT_PERMITTED;
    if (node->links == 0)
        return PH_ST_NOT_FOUND;
    if (entry_of(d, name) != NULL)
        return PH_ST_EXISTS;
    put(d, name, node->id);
    node->links++;
    wb_model_touch(x->model, node, false);
    wb_model_touch(x->model, d, true);
    say_attr(x, node, true);
    return PH_ST_OK;
}

static void say_name(struct wb_execution *x, const struct wb_node *d)
{
    Pohmel__NameResult result = POHMEL__NAME_RESULT__INIT;
    result.directory_version = d->version;
    wb_model_say_result(x, &result);
}

static void lose(struct wb_model *model, struct wb_node *node, struct wb_node *d)
{
    if (S_ISDIR(node->mode)) {
        node->links = 0;
        d->links--;
    } else {
        node->links--;
    }
    wb_model_touch(model, node, false);
    wb_model_settle(model, node);
}

static uint32_t take_away(struct wb_execution *x)
{
    const Pohmel__RemoveRequest *remove = x->message;
    const Pohmel__RmdirRequest *rmdir = x->message;
    bool is_rmdir = x->command == PH_CMD_RMDIR;
    g_autofree char *name = wb_model_text(is_rmdir ? &rmdir->name : &remove->name);
    uint64_t expected = is_rmdir ? rmdir->object : remove->object;
    struct wb_node *d;
    uint32_t status = directory(x->model, is_rmdir ? rmdir->parent : remove->parent, &d);
    if (status != PH_ST_OK)
        return status;
    const struct wb_entry *entry = entry_of(d, name);
    struct wb_node *node = entry != NULL ? wb_model_node(x->model, entry->id) : NULL;
    if (node == NULL)
        return PH_ST_NOT_FOUND;
    if (expected != 0 && expected != node->id)
        return PH_ST_MISMATCH;
    if (is_rmdir != (node->names != NULL))
        return is_rmdir ? PH_ST_NOT_DIRECTORY : PH_ST_IS_DIRECTORY;
    if (is_rmdir && g_hash_table_size(node->names) > 0)
        return PH_ST_NOT_EMPTY;
    g_hash_table_remove(d->names, name);
    wb_model_touch(x->model, d, true);
    lose(x->model, node, d);
    say_name(x, d);
    return PH_ST_OK;
}

static bool is_below(const struct wb_model *model, uint64_t id, uint64_t above)
{
    for (const struct wb_node *node = wb_model_node(model, id); node != NULL && node->parent != node->id;
         node = wb_model_node(model, node->parent))
        if (node->id == above)
            return true;
    return id == above;
}

static uint32_t may_replace(const struct wb_model *model, const Pohmel__RenameRequest *request,
                            const struct wb_node *node, const struct wb_node *there)
{
    if (node->names != NULL && is_below(model, request->new_parent, node->id))
        return PH_ST_INVALID;
    if (there == NULL)
        return PH_ST_OK;
    if (request->flags == 1)
        return PH_ST_EXISTS;
    if ((node->names != NULL) != (there->names != NULL))
        return there->names != NULL ? PH_ST_IS_DIRECTORY : PH_ST_NOT_DIRECTORY;
    return there->names != NULL && g_hash_table_size(there->names) > 0 ? PH_ST_NOT_EMPTY : PH_ST_OK;
}

static void move(struct wb_model *model, struct wb_node *node, struct wb_node *from, struct wb_node *to)
{
    if (node->names != NULL) {
        node->parent = to->id;
        from->links--;
        to->links++;
    }
    wb_model_touch(model, node, false);
}

static uint32_t rename_to(struct wb_execution *x)
{
    const Pohmel__RenameRequest *request = x->message;
    g_autofree char *from = wb_model_text(&request->old_name), *to = wb_model_text(&request->new_name);
    struct wb_node *d1, *d2;
    uint32_t status = directory(x->model, request->old_parent, &d1);
    if (status == PH_ST_OK)
        status = directory(x->model, request->new_parent, &d2);
    if (status != PH_ST_OK)
        return status;
    const struct wb_entry *old = entry_of(d1, from), *new = entry_of(d2, to);
    struct wb_node *node = old != NULL ? wb_model_node(x->model, old->id) : NULL;
    struct wb_node *there = new != NULL ? wb_model_node(x->model, new->id) : NULL;
    if (node == NULL)
        return PH_ST_NOT_FOUND;
    if ((request->object != 0 && request->object != node->id) ||
        (request->replaced != 0 && (there == NULL || request->replaced != there->id)))
        return PH_ST_MISMATCH;
    if (request->flags & EXCHANGE)
        return PH_ST_UNSUPPORTED;
    status = may_replace(x->model, request, node, there);
    if (status != PH_ST_OK)
        return status;
    if (node != there) {
        uint64_t id = node->id;
        g_hash_table_remove(d1->names, from);
        if (there != NULL)
            lose(x->model, there, d2);
        put(d2, to, id);
        move(x->model, node, d1, d2);
        wb_model_touch(x->model, d1, true);
        wb_model_touch(x->model, d2, true);
    }
    say_name(x, d2);
    return PH_ST_OK;
}

uint32_t wb_model_name(struct wb_execution *x)
{
    switch (x->command) {
    case PH_CMD_CREATE:
        return create(x);
    case PH_CMD_LINK:
        return make_link(x);
    case PH_CMD_REMOVE:
    case PH_CMD_RMDIR:
        return take_away(x);
    case PH_CMD_RENAME:
        return rename_to(x);
    default:
        return make_other(x);
    }
}
