/* The small filesystem: its objects, and what is told of them. */
#include "client/core/tests/wb_model.h"

#include <string.h>
#include <sys/stat.h>

#include "client/core/tests/wb_model_private.h"
#include "runtime/base/limits.h"

enum { OWNER = 1000, ROOT = PH_OBJECT_ROOT };

static void free_node(void *data)
{
    struct wb_node *node = data;
    g_byte_array_unref(node->data);
    g_hash_table_unref(node->xattrs);
    if (node->names != NULL)
        g_hash_table_unref(node->names);
    g_free(node);
}

struct wb_node *wb_model_node(const struct wb_model *model, uint64_t id)
{
    return g_hash_table_lookup(model->nodes, &id);
}

struct wb_node *wb_model_make(struct wb_model *model, uint64_t id, uint32_t mode, uint64_t parent)
{
    struct wb_node *node = g_new0(struct wb_node, 1);
    *node = (struct wb_node){.id = id, .version = 1, .mode = mode, .links = S_ISDIR(mode) ? 2 : 1};
    if (model->timed)
        node->version = ++model->latest;
    node->uid = node->gid = OWNER;
    node->parent = parent;
    node->modified = model->now; /* when it was read last is compared only where somebody set it */
    node->data = g_byte_array_new();
    node->xattrs = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify) g_bytes_unref);
    node->last_seq = 2; /* those of "." and ".." */
    if (S_ISDIR(mode))
        node->names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    g_hash_table_insert(model->nodes, &node->id, node);
    return node;
}

struct wb_model *wb_model_new(bool is_server, GRand *rand)
{
    struct wb_model *model = g_new0(struct wb_model, 1);
    model->is_server = is_server;
    model->rand = rand;
    model->nodes = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, free_node);
    model->handles = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
    model->last_lease = PH_LEASE_OWN_MAX;
    wb_model_make(model, ROOT, S_IFDIR | 0777, ROOT);
    return model;
}

void wb_model_free(struct wb_model *model)
{
    g_hash_table_unref(model->nodes);
    g_hash_table_unref(model->handles);
    g_free(model);
}

void wb_model_reply_clear(struct wb_model_reply *reply)
{
    if (reply->message != NULL)
        protobuf_c_message_free_unpacked(reply->message, NULL);
    ph_blob_unref(reply->payload);
    *reply = (struct wb_model_reply){0};
}

/* An object that nobody can reach goes. */
void wb_model_settle(struct wb_model *model, struct wb_node *node)
{
    if (node->links == 0 && node->opens == 0)
        g_hash_table_remove(model->nodes, &node->id);
}

void wb_model_end_session(struct wb_model *model)
{
    GHashTableIter iter;
    void *key, *value;
    g_hash_table_remove_all(model->handles);
    g_hash_table_iter_init(&iter, model->nodes);
    while (g_hash_table_iter_next(&iter, &key, &value)) {
        struct wb_node *node = value;
        node->opens = 0;
        node->lease = 0;
        node->recalled = false;
        if (node->links == 0)
            g_hash_table_iter_remove(&iter);
    }
}

uint16_t wb_model_inner(uint16_t command, const ProtobufCMessage *message, const ProtobufCMessage **inner)
{
    const Pohmel__TransactRequest *transact = (const Pohmel__TransactRequest *) message;
    *inner = message;
    if (command != PH_CMD_TRANSACT || transact->n_changes != 1)
        return command;
    *inner = (const ProtobufCMessage *) transact->changes[0]->create;
    return (uint16_t) transact->changes[0]->command_case;
}

/* --- Comparing --- */

static char *differ_names(const struct wb_node *x, const struct wb_node *y)
{
    GHashTableIter iter;
    void *key, *value;
    if (x->names == NULL || y->names == NULL)
        return NULL;
    g_hash_table_iter_init(&iter, x->names);
    while (g_hash_table_iter_next(&iter, &key, &value)) {
        const struct wb_entry *here = value, *there = g_hash_table_lookup(y->names, key);
        if (there == NULL || there->id != here->id)
            return g_strdup_printf("name \"%s\" in %" G_GUINT64_FORMAT " is %" G_GUINT64_FORMAT
                                   " and %" G_GUINT64_FORMAT,
                                   (char *) key, x->id, here->id, there != NULL ? there->id : 0);
    }
    if (g_hash_table_size(x->names) == g_hash_table_size(y->names))
        return NULL;
    return g_strdup_printf("%" G_GUINT64_FORMAT " has %u and %u names", x->id, g_hash_table_size(x->names),
                           g_hash_table_size(y->names));
}

char *wb_model_differ(const struct wb_model *a, const struct wb_model *b, uint64_t id)
{
    const struct wb_node *x = wb_model_node(a, id), *y = wb_model_node(b, id);
    if (x == NULL && y == NULL)
        return NULL;
    if (x == NULL || y == NULL)
        return g_strdup_printf("object %" G_GUINT64_FORMAT " is only in the %s", id,
                               x != NULL ? "first" : "second");
    if (x->mode != y->mode || x->links != y->links || x->uid != y->uid || x->gid != y->gid)
        return g_strdup_printf("%" G_GUINT64_FORMAT ": mode %o and %o, links %u and %u, owner %u and %u", id,
                               x->mode, y->mode, x->links, y->links, x->uid, y->uid);
    if (x->data->len != y->data->len)
        return g_strdup_printf("%" G_GUINT64_FORMAT ": size %u and %u", id, x->data->len, y->data->len);
    for (guint i = 0; i < x->data->len; i++)
        if (x->data->data[i] != y->data->data[i])
            return g_strdup_printf("%" G_GUINT64_FORMAT ": byte %u is %02x and %02x", id, i, x->data->data[i],
                                   y->data->data[i]);
    if (x->names == NULL && x->modified.seconds != y->modified.seconds)
        return g_strdup_printf("%" G_GUINT64_FORMAT ": modified at %" G_GINT64_FORMAT
                               " and %" G_GINT64_FORMAT,
                               id, x->modified.seconds, y->modified.seconds);
    if (x->accessed.seconds != y->accessed.seconds)
        return g_strdup_printf("%" G_GUINT64_FORMAT ": accessed at %" G_GINT64_FORMAT
                               " and %" G_GINT64_FORMAT,
                               id, x->accessed.seconds, y->accessed.seconds);
    char *words = wb_model_differ_xattrs(x, y);
    return words != NULL ? words : differ_names(x, y);
}

static char *differ_side(const struct wb_model *a, const struct wb_model *b)
{
    GHashTableIter iter;
    void *key, *value;
    g_hash_table_iter_init(&iter, a->nodes);
    while (g_hash_table_iter_next(&iter, &key, &value)) {
        const struct wb_node *node = value;
        char *words = node->links > 0 ? wb_model_differ(a, b, node->id) : NULL;
        if (words != NULL)
            return words;
    }
    return NULL;
}

char *wb_model_differ_all(const struct wb_model *a, const struct wb_model *b)
{
    char *words = differ_side(a, b);
    return words != NULL ? words : differ_side(b, a);
}
