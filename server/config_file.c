/* The configuration file: [server] and one [export NAME] for each export. */
#include <stdlib.h>
#include <string.h>

#include "server/config.h"

struct reader {
    struct ph_config *config;
    GKeyFile *file;
    const char *path;
    GError **error;
};

/* One key that may stand in a group. SET gets its value; FALSE: EXPECTED was not met. */
struct key {
    const char *name, *expected;
    gboolean (*set)(struct reader *reader, struct ph_export_config *export, const char *value);
};

static gboolean set_listen(struct reader *reader, struct ph_export_config *export, const char *value)
{
    g_auto(GStrv) list = g_strsplit(value, ";", -1);

    for (char **item = list; *item != NULL; item++) {
        g_strstrip(*item);
        if (**item != '\0')
            g_ptr_array_add(reader->config->listen, g_strdup(*item));
    }
    reader->config->listen_origin = g_strdup_printf("%s: [server] listen", reader->path);
    return reader->config->listen->len > 0;
}

static gboolean set_server_state_dir(struct reader *reader, struct ph_export_config *export,
                                     const char *value)
{
    if (!g_path_is_absolute(value))
        return FALSE;
    reader->config->state_dir = g_strdup(value);
    return TRUE;
}

static gboolean set_workers(struct reader *reader, struct ph_export_config *export, const char *value)
{
    guint64 workers;

    if (!g_ascii_string_to_unsigned(value, 10, 1, PH_WORKERS_MAX, &workers, NULL))
        return FALSE;
    reader->config->workers = (unsigned) workers;
    return TRUE;
}

static gboolean set_lease_time(struct reader *reader, struct ph_export_config *export, const char *value)
{
    guint64 seconds;

    if (!g_ascii_string_to_unsigned(value, 10, PH_LEASE_TIME_MIN_S, PH_LEASE_TIME_MAX_S, &seconds, NULL))
        return FALSE;
    reader->config->lease_time_s = (unsigned) seconds;
    return TRUE;
}

static gboolean parse_bool(const char *value, bool *out)
{
    *out = strcmp(value, "true") == 0;
    return *out || strcmp(value, "false") == 0;
}

static gboolean set_verbose(struct reader *reader, struct ph_export_config *export, const char *value)
{
    return parse_bool(value, &reader->config->verbose);
}

static gboolean set_watch(struct reader *reader, struct ph_export_config *export, const char *value)
{
    bool watch = true;

    if (!parse_bool(value, &watch))
        return FALSE;
    reader->config->no_watch = !watch;
    return TRUE;
}

static gboolean set_directory(struct reader *reader, struct ph_export_config *export, const char *value)
{
    g_free(export->directory);
    export->directory = g_strdup(value);
    return g_path_is_absolute(value);
}

static gboolean set_read_only(struct reader *reader, struct ph_export_config *export, const char *value)
{
    return parse_bool(value, &export->read_only);
}

static gboolean set_size_limit(struct reader *reader, struct ph_export_config *export, const char *value)
{
    return ph_config_parse_size(value, &export->size_limit);
}

static gboolean set_state_dir(struct reader *reader, struct ph_export_config *export, const char *value)
{
    export->state_dir = g_strdup(value);
    return g_path_is_absolute(value);
}

static const struct key server_keys[] = {
    {"listen", "a list of addresses ending in ';', as in \"127.0.0.1:1025;[::1]:1025;\"", set_listen},
    {"state-dir", "a path that begins with '/'", set_server_state_dir},
    {"workers", "a number from 1 to 64", set_workers},
    {"lease-time", "seconds from 4 to 600", set_lease_time},
    {"verbose", "true or false", set_verbose},
    {"watch", "true or false", set_watch},
    {NULL, NULL, NULL},
};

static const struct key export_keys[] = {
    {"directory", "a path that begins with '/'", set_directory},
    {"read-only", "true or false", set_read_only},
    {"size-limit", "a number with K, M, G or T", set_size_limit},
    {"state-dir", "a path that begins with '/'", set_state_dir},
    {NULL, NULL, NULL},
};

/* How to say "is not a ...", for the few kinds of values there are. */
static const char *kind_of(const struct key *key)
{
    if (key->set == set_size_limit)
        return "a size";
    if (key->set == set_workers)
        return "a number of workers";
    if (key->set == set_lease_time)
        return "a time of leases";
    if (strcmp(key->expected, "true or false") == 0)
        return "a yes or no";
    return key->set == set_listen ? "a list of addresses" : "an absolute path";
}

static const struct key *find_key(const struct key *keys, const char *name)
{
    while (keys->name != NULL && strcmp(keys->name, name) != 0)
        keys++;
    return keys->name == NULL ? NULL : keys;
}

static gboolean read_key(struct reader *reader, const char *group, const struct key *keys, const char *name,
                         struct ph_export_config *export)
{
    const struct key *key = find_key(keys, name);
    g_autofree char *value = g_key_file_get_value(reader->file, group, name, NULL);

    if (key == NULL) {
        g_autoptr(GString) known = g_string_new(NULL);

        for (; keys->name != NULL; keys++)
            g_string_append_printf(known, "%s%s", known->len == 0 ? "" : ", ", keys->name);
        g_set_error(reader->error, PH_CONFIG_ERROR, 0,
                    "%s: [%s] %s: there is no such key; expected one of %s", reader->path, group, name,
                    known->str);
        return FALSE;
    }
    g_strstrip(value);
    if (!key->set(reader, export, value)) {
        g_autofree char *shown = g_strescape(value, NULL);

        g_set_error(reader->error, PH_CONFIG_ERROR, 0, "%s: [%s] %s: \"%s\" is not %s; expected %s",
                    reader->path, group, name, shown, kind_of(key), key->expected);
        return FALSE;
    }
    return TRUE;
}

static gboolean read_keys(struct reader *reader, const char *group, const struct key *keys,
                          struct ph_export_config *export)
{
    g_auto(GStrv) names = g_key_file_get_keys(reader->file, group, NULL, NULL);

    for (char **name = names; *name != NULL; name++) {
        if (!read_key(reader, group, keys, *name, export))
            return FALSE;
    }
    return TRUE;
}

static gboolean read_export(struct reader *reader, const char *group, const char *name)
{
    g_autofree char *origin = g_strdup_printf("%s: [%s]", reader->path, group);
    struct ph_export_config *export;

    if (!g_key_file_has_key(reader->file, group, "directory", NULL)) {
        g_set_error(reader->error, PH_CONFIG_ERROR, 0,
                    "%s: [%s] directory: the key is missing; expected what is to be exported", reader->path,
                    group);
        return FALSE;
    }
    if (!ph_config_add_export(reader->config, name, "", origin, reader->error))
        return FALSE;
    export = ph_config_find_export(reader->config, name);
    g_free(export->origin);
    export->origin = g_strdup_printf("%s directory", origin);
    return read_keys(reader, group, export_keys, export);
}

static gboolean read_group(struct reader *reader, const char *group)
{
    static const char prefix[] = "export ";

    if (strcmp(group, "server") == 0)
        return read_keys(reader, group, server_keys, NULL);
    if (g_str_has_prefix(group, prefix))
        return read_export(reader, group, group + strlen(prefix));
    g_set_error(reader->error, PH_CONFIG_ERROR, 0,
                "%s: [%s]: there is no such group; expected [server] or [export NAME]", reader->path, group);
    return FALSE;
}

/* GLib joins groups, and takes the last of keys, that stand there twice; here
 * that is a mistake, since one of the two is not what its writer thinks. */
static gboolean check_doubles(const char *path, GError **error)
{
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autofree char *text = NULL, *group = g_strdup("");
    g_auto(GStrv) lines = NULL;

    if (!g_file_get_contents(path, &text, NULL, error))
        return FALSE;
    lines = g_strsplit(text, "\n", -1);
    for (guint i = 0; lines[i] != NULL; i++) {
        char *line = g_strstrip(lines[i]);
        char *equals = strchr(line, '=');
        g_autofree char *name = NULL;

        if (*line == '[') {
            g_free(group);
            group = g_strdup(line);
            name = g_strdup(line);
        } else if (*line != '#' && equals != NULL) {
            g_autofree char *key = g_strndup(line, (gsize) (equals - line));

            name = g_strdup_printf("%s %s", group, g_strchomp(key));
        }
        if (name != NULL && g_hash_table_contains(seen, name)) {
            g_set_error(error, PH_CONFIG_ERROR, 0,
                        "%s: %s: stands there twice, again in line %u; expected once", path, name, i + 1);
            return FALSE;
        }
        if (name != NULL)
            g_hash_table_add(seen, g_steal_pointer(&name));
    }
    return TRUE;
}

gboolean ph_config_read_file(struct ph_config *config, const char *path, GError **error)
{
    g_autoptr(GKeyFile) file = g_key_file_new();
    g_autoptr(GError) wrong = NULL;
    g_auto(GStrv) groups = NULL;
    struct reader reader = {.config = config, .file = file, .path = path, .error = error};

    if (!g_key_file_load_from_file(file, path, G_KEY_FILE_NONE, &wrong)) {
        g_set_error(error, PH_CONFIG_ERROR, 0,
                    "%s: %s; expected a readable file of groups [NAME] and lines KEY=VALUE", path,
                    wrong->message);
        return FALSE;
    }
    if (!check_doubles(path, error))
        return FALSE;
    groups = g_key_file_get_groups(file, NULL);
    for (char **group = groups; *group != NULL; group++) {
        if (!read_group(&reader, *group))
            return FALSE;
    }
    return TRUE;
}
