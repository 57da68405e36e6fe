/* Answers as text, to be compared. */
#include "client/core/tests/wb_text.h"

#include <string.h>
#include <sys/stat.h>

bool wb_text_overlap, wb_text_by_name;

static void say_attr(GString *out, const Pohmel__Attr *attr, bool links, bool state)
{
    g_string_append_printf(out, " %" G_GUINT64_FORMAT, attr->object);
    if (state)
        g_string_append_printf(out, " mode %o owner %u size %" G_GUINT64_FORMAT, attr->mode, attr->uid,
                               attr->size);
    if (state && !wb_text_overlap && !S_ISDIR(attr->mode))
        g_string_append_printf(out, " modified %" G_GINT64_FORMAT, attr->modified->seconds);
    if (state && !wb_text_overlap && links)
        g_string_append_printf(out, " links %u", attr->links);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *) a, *(char *const *) b);
}

static void say_listing(GString *out, const Pohmel__ReaddirReply *reply)
{
    g_autoptr(GPtrArray) lines = g_ptr_array_new_with_free_func(g_free);
    for (size_t i = 0; i < reply->n_entries; i++) {
        const Pohmel__DirEntry *entry = reply->entries[i];
        g_ptr_array_add(lines, g_strdup_printf(" %.*s=%" G_GUINT64_FORMAT, (int) entry->name.len,
                                               (char *) entry->name.data, entry->object));
    }
    g_ptr_array_sort(lines, by_text);
    for (guint i = 0; i < lines->len; i++)
        g_string_append(out, g_ptr_array_index(lines, i));
}

/* Names that end with NUL each, in whatever order they come. */
static void say_names(GString *out, const struct ph_blob *names)
{
    g_autoptr(GPtrArray) all = g_ptr_array_new();
    for (size_t at = 0; names != NULL && at < names->len; at += strlen((char *) names->data + at) + 1)
        g_ptr_array_add(all, names->data + at);
    g_ptr_array_sort(all, by_text);
    for (guint i = 0; i < all->len; i++)
        g_string_append_printf(out, " %s", (char *) g_ptr_array_index(all, i));
}

const Pohmel__Attr *wb_text_attr(uint16_t command, const ProtobufCMessage *message)
{
    const Pohmel__ChangeResult *result = ((const Pohmel__TransactReply *) message)->results[0];
    if (command == PH_CMD_REMOVE || command == PH_CMD_RMDIR || command == PH_CMD_RENAME)
        return NULL;
    return command == PH_CMD_WRITE ? result->write->attr : result->create->attr;
}

/* A change that took away a name without its being known of what is told of only when attributes are asked
 * for. */
static bool tells_links(uint16_t command)
{
    return command == PH_CMD_LINK;
}

char *wb_text_of(uint16_t command, const struct wb_model_reply *reply, const Pohmel__Attr *attr)
{
    GString *out = g_string_new(ph_status_text(reply->status));
    const void *message = reply->message;
    const Pohmel__LookupReply *lookup = message;
    if (reply->status != PH_ST_OK)
        return g_string_free(out, FALSE);
    switch (command) {
    case PH_CMD_LOOKUP:
        if (lookup->n_found > 0)
            say_attr(out, lookup->found[0], !S_ISDIR(lookup->found[0]->mode), wb_text_by_name);
        break;
    case PH_CMD_GETATTR:
        say_attr(out, ((const Pohmel__GetattrReply *) message)->attr, true, true);
        break;
    case PH_CMD_OPEN:
        say_attr(out, attr != NULL ? attr : ((const Pohmel__OpenReply *) message)->attr, false,
                 wb_text_by_name);
        break;
    case PH_CMD_READDIR:
        say_listing(out, message);
        break;
    case PH_CMD_READ:
    case PH_CMD_READLINK:
    case PH_CMD_GETXATTR:
        for (size_t i = 0; reply->payload != NULL && i < reply->payload->len; i++)
            g_string_append_printf(out, " %02x", reply->payload->data[i]);
        break;
    case PH_CMD_LISTXATTR:
        say_names(out, reply->payload);
        break;
    case PH_CMD_SYNC:
    case PH_CMD_CLOSE:
        break;
    default:
        attr = attr != NULL ? attr : wb_text_attr(command, message);
        if (attr != NULL)
            say_attr(out, attr, tells_links(command), command != PH_CMD_CREATE || wb_text_by_name);
        if (command == PH_CMD_WRITE)
            g_string_append_printf(out, " at %" G_GUINT64_FORMAT,
                                   ((const Pohmel__TransactReply *) message)->results[0]->write->offset);
    }
    return g_string_free(out, FALSE);
}

bool wb_text_is_mixture(const GPtrArray *answers, const char *text)
{
    size_t shortest = SIZE_MAX, longest = 0, len = strlen(text);
    for (guint j = 0; j < answers->len; j++) {
        shortest = MIN(shortest, strlen(g_ptr_array_index(answers, j)));
        longest = MAX(longest, strlen(g_ptr_array_index(answers, j)));
    }
    for (size_t i = 0; text[i] != '\0'; i++) {
        bool found = false;
        for (guint j = 0; j < answers->len && !found; j++) {
            const char *other = g_ptr_array_index(answers, j);
            /* Where a file had no bytes yet it has holes. */
            found = i < strlen(other) ? other[i] == text[i] : strchr("0 ", text[i]) != NULL;
        }
        if (!found)
            return false;
    }
    return len >= shortest && len <= longest;
}

static bool is_in_all(const GPtrArray *answers, const char *entry)
{
    for (guint j = 0; j < answers->len; j++) {
        g_auto(GStrv) entries = g_strsplit(g_ptr_array_index(answers, j), " ", -1);
        if (!g_strv_contains((const char *const *) entries, entry))
            return false;
    }
    return true;
}

static bool is_in_any(const GPtrArray *answers, const char *entry)
{
    for (guint j = 0; j < answers->len; j++) {
        g_auto(GStrv) entries = g_strsplit(g_ptr_array_index(answers, j), " ", -1);
        if (g_strv_contains((const char *const *) entries, entry))
            return true;
    }
    return false;
}

bool wb_text_is_mixed_listing(const GPtrArray *answers, const char *text)
{
    g_auto(GStrv) entries = g_strsplit(text, " ", -1);
    for (unsigned i = 0; entries[i] != NULL; i++)
        if (!is_in_any(answers, entries[i]))
            return false;
    for (guint j = 0; j < answers->len; j++) {
        g_auto(GStrv) others = g_strsplit(g_ptr_array_index(answers, j), " ", -1);
        for (unsigned i = 0; others[i] != NULL; i++)
            if (is_in_all(answers, others[i]) && !g_strv_contains((const char *const *) entries, others[i]))
                return false;
    }
    return true;
}
