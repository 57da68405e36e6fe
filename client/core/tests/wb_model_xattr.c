/* The small filesystem: extended attributes. */
#include <string.h>
#include <sys/stat.h>

#include "client/core/may.h"
#include "client/core/tests/wb_model_private.h"

enum { FLAG_CREATE = 1, FLAG_REPLACE = 2, ACL_BYTES = 28, NAMES_MAX_BYTES = 4096 };

#define ACCESS_LIST "system.posix_acl_access"

static uint32_t may(const Pohmel__Caller *caller, const struct wb_node *node, const char *name, bool change)
{
    if (g_str_has_prefix(name, "trusted."))
        return caller->uid == 0 ? PH_ST_OK : change ? PH_ST_NOT_PERMITTED : PH_ST_NO_ATTRIBUTE;
    if (!g_str_has_prefix(name, "user."))
        return PH_ST_UNSUPPORTED;
    if (change && !S_ISREG(node->mode) && !S_ISDIR(node->mode))
        return PH_ST_NOT_PERMITTED;
    return ph_may_access(caller, node->mode, node->uid, node->gid, true,
                         change ? PH_MAY_WRITE : PH_MAY_READ) == PH_MAY_YES
               ? PH_ST_OK
               : PH_ST_ACCESS_DENIED;
}

static uint32_t answer(struct wb_execution *x, struct wb_node *node)
{
    struct ph_cached_attr_wire wire;
    Pohmel__AttrResult result = POHMEL__ATTR_RESULT__INIT;
    wb_model_touch(x->model, node, false);
    result.attr = wb_model_attr(x->model, node, false, &wire);
    wb_model_say_result(x, &result);
    return PH_ST_OK;
}

/* Only such lists come as say what mode bits say. */
static uint32_t set_list(struct wb_execution *x, struct wb_node *node, const Pohmel__Caller *caller)
{
    const uint8_t *list = x->payload->data;
    g_assert_cmpuint(x->payload->len, ==, ACL_BYTES);
    if (S_ISLNK(node->mode))
        return PH_ST_UNSUPPORTED;
    if (caller->uid != 0 && caller->uid != node->uid)
        return PH_ST_NOT_PERMITTED;
    node->mode = (node->mode & ~0777u) | (uint32_t) list[6] << 6 | (uint32_t) list[14] << 3 | list[22];
    return answer(x, node);
}

static uint32_t set(struct wb_execution *x)
{
    const Pohmel__SetxattrRequest *request = x->message;
    struct wb_node *node = wb_model_node(x->model, request->object);
    g_autofree char *name = wb_model_text(&request->name);
    if (node == NULL)
        return PH_ST_STALE;
    if (g_str_equal(name, ACCESS_LIST))
        return set_list(x, node, request->caller);
    uint32_t status = may(request->caller, node, name, true);
    if (status != PH_ST_OK)
        return status;
    bool there = g_hash_table_contains(node->xattrs, name);
    if (request->flags & FLAG_CREATE && there)
        return PH_ST_EXISTS;
    if (request->flags & FLAG_REPLACE && !there)
        return PH_ST_NO_ATTRIBUTE;
    size_t len = x->payload != NULL ? x->payload->len : 0;
    g_assert_cmpuint(len, ==, request->length);
    g_hash_table_insert(node->xattrs, g_steal_pointer(&name),
                        g_bytes_new(len > 0 ? x->payload->data : NULL, len));
    return answer(x, node);
}

static uint32_t take_away(struct wb_execution *x)
{
    const Pohmel__RemovexattrRequest *request = x->message;
    struct wb_node *node = wb_model_node(x->model, request->object);
    g_autofree char *name = wb_model_text(&request->name);
    if (node == NULL)
        return PH_ST_STALE;
    uint32_t status = may(request->caller, node, name, true);
    if (status != PH_ST_OK)
        return status;
    return g_hash_table_remove(node->xattrs, name) ? answer(x, node) : PH_ST_NO_ATTRIBUTE;
}

uint32_t wb_model_set_xattr(struct wb_execution *x)
{
    return x->command == PH_CMD_SETXATTR ? set(x) : take_away(x);
}

static struct ph_blob *blob_of(const void *data, size_t len)
{
    return len > 0 ? ph_blob_copy(data, len) : NULL;
}

static uint32_t get(struct wb_execution *x)
{
    const Pohmel__GetxattrRequest *request = x->message;
    struct wb_node *node = wb_model_node(x->model, request->object);
    g_autofree char *name = wb_model_text(&request->name);
    Pohmel__GetxattrReply reply = POHMEL__GETXATTR_REPLY__INIT;
    if (node == NULL)
        return PH_ST_STALE;
    uint32_t status = may(request->caller, node, name, false);
    if (status != PH_ST_OK)
        return status;
    GBytes *value = g_hash_table_lookup(node->xattrs, name);
    if (value == NULL)
        return PH_ST_NO_ATTRIBUTE;
    reply.version = node->version;
    x->out->payload = blob_of(g_bytes_get_data(value, NULL), g_bytes_get_size(value));
    wb_model_say(x->out, &reply.base);
    return PH_ST_OK;
}

static uint32_t list(struct wb_execution *x)
{
    const Pohmel__ListxattrRequest *request = x->message;
    struct wb_node *node = wb_model_node(x->model, request->object);
    Pohmel__ListxattrReply reply = POHMEL__LISTXATTR_REPLY__INIT;
    if (node == NULL)
        return PH_ST_STALE;
    g_autoptr(GList) names = g_list_sort(g_hash_table_get_keys(node->xattrs), (GCompareFunc) strcmp);
    g_autoptr(GByteArray) out = g_byte_array_new();
    for (GList *at = names; at != NULL; at = at->next)
        if (request->caller->uid == 0 || !g_str_has_prefix(at->data, "trusted."))
            g_byte_array_append(out, at->data, (guint) strlen(at->data) + 1);
    reply.version = node->version;
    x->out->payload = blob_of(out->data, out->len);
    wb_model_say(x->out, &reply.base);
    return PH_ST_OK;
}

uint32_t wb_model_get_xattr(struct wb_execution *x)
{
    return x->command == PH_CMD_GETXATTR ? get(x) : list(x);
}

char *wb_model_differ_xattrs(const struct wb_node *a, const struct wb_node *b)
{
    GHashTableIter iter;
    void *key, *value;
    g_hash_table_iter_init(&iter, a->xattrs);
    while (g_hash_table_iter_next(&iter, &key, &value)) {
        GBytes *other = g_hash_table_lookup(b->xattrs, key);
        if (other == NULL || !g_bytes_equal(value, other))
            return g_strdup_printf("%" G_GUINT64_FORMAT ": attribute %s is %s", a->id, (char *) key,
                                   other == NULL ? "missing" : "another");
    }
    if (g_hash_table_size(a->xattrs) != g_hash_table_size(b->xattrs))
        return g_strdup_printf("%" G_GUINT64_FORMAT ": %u and %u attributes", a->id,
                               g_hash_table_size(a->xattrs), g_hash_table_size(b->xattrs));
    return NULL;
}
