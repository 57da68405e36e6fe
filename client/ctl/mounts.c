#include "client/ctl/mounts.h"

#include <string.h>

/* Field of a mountinfo line, see proc(5); behind the lone "-" stand type and source. */
enum { FIELD_PATH = 4, FIELDS_BEFORE_OPTIONAL = 6 };

static void entry_free(void *data)
{
    struct ph_mount_entry *entry = data;
    g_free(entry->path);
    g_free(entry->type);
    g_free(entry->source);
    g_free(entry);
}

/* mountinfo writes blanks, tabs, newlines and backslashes as \ooo. */
static char *unescape(const char *text)
{
    return g_strcompress(text);
}

static struct ph_mount_entry *parse_line(const char *line)
{
    g_auto(GStrv) fields = g_strsplit(line, " ", -1);
    guint count = g_strv_length(fields), dash = FIELDS_BEFORE_OPTIONAL;
    while (dash < count && strcmp(fields[dash], "-") != 0)
        dash++;
    if (dash + 2 >= count)
        return NULL;
    struct ph_mount_entry *entry = g_new0(struct ph_mount_entry, 1);
    entry->path = unescape(fields[FIELD_PATH]);
    entry->type = unescape(fields[dash + 1]);
    entry->source = unescape(fields[dash + 2]);
    return entry;
}

GPtrArray *ph_mounts_parse(const char *text)
{
    GPtrArray *mounts = g_ptr_array_new_with_free_func(entry_free);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++) {
        struct ph_mount_entry *entry = parse_line(*line);
        if (entry)
            g_ptr_array_add(mounts, entry);
    }
    return mounts;
}

GPtrArray *ph_mounts_read(GError **error)
{
    g_autofree char *text = NULL;
    if (!g_file_get_contents("/proc/self/mountinfo", &text, NULL, error))
        return NULL;
    return ph_mounts_parse(text);
}

const struct ph_mount_entry *ph_mounts_at(GPtrArray *mounts, const char *path)
{
    for (guint i = mounts->len; i > 0; i--) {
        const struct ph_mount_entry *entry = mounts->pdata[i - 1];
        if (strcmp(entry->path, path) == 0)
            return entry;
    }
    return NULL;
}

const struct ph_mount_entry *ph_mounts_below(GPtrArray *mounts, const char *path)
{
    size_t len = strlen(path);
    for (guint i = 0; i < mounts->len; i++) {
        const struct ph_mount_entry *entry = mounts->pdata[i];
        if (strncmp(entry->path, path, len) == 0 && (entry->path[len] == '\0' || entry->path[len] == '/'))
            return entry;
    }
    return NULL;
}

bool ph_mount_is_pohmel(const struct ph_mount_entry *entry)
{
    return strcmp(entry->type, PH_MOUNT_TYPE) == 0;
}
