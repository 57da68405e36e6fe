#include "server/config.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/base/limits.h"
#include "runtime/io/address.h"

G_DEFINE_QUARK(ph - config - error - quark, ph_config_error)

static void export_free(void *data)
{
    struct ph_export_config *export = data;

    g_free(export->name);
    g_free(export->directory);
    g_free(export->state_dir);
    g_free(export->origin);
    g_free(export);
}

struct ph_config *ph_config_new(void)
{
    struct ph_config *config = g_new0(struct ph_config, 1);

    config->lease_time_s = PH_LEASE_TTL_MS / 1000;
    config->exports = g_ptr_array_new_with_free_func(export_free);
    config->listen = g_ptr_array_new_with_free_func(g_free);
    return config;
}

void ph_config_free(struct ph_config *config)
{
    if (config == NULL)
        return;
    g_ptr_array_unref(config->exports);
    g_ptr_array_unref(config->listen);
    g_free(config->listen_origin);
    g_free(config->state_dir);
    g_free(config);
}

struct ph_export_config *ph_config_find_export(const struct ph_config *config, const char *name)
{
    for (guint i = 0; i < config->exports->len; i++) {
        struct ph_export_config *export = config->exports->pdata[i];

        if (strcmp(export->name, name) == 0)
            return export;
    }
    return NULL;
}

static gboolean check_name(const char *name, const char *origin, GError **error)
{
    size_t len = strlen(name);

    if (len == 0 || len > PH_NAME_MAX_BYTES || strchr(name, '/') != NULL || strcmp(name, ".") == 0 ||
        strcmp(name, "..") == 0 || !g_utf8_validate(name, -1, NULL)) {
        g_autofree char *shown = g_strescape(name, NULL);

        g_set_error(error, PH_CONFIG_ERROR, 0,
                    "%s: \"%s\" is not a name for an export; expected 1 to %d bytes of text without '/'",
                    origin, shown, PH_NAME_MAX_BYTES);
        return FALSE;
    }
    return TRUE;
}

gboolean ph_config_add_export(struct ph_config *config, const char *name, const char *directory,
                              const char *origin, GError **error)
{
    const struct ph_export_config *same = ph_config_find_export(config, name);
    struct ph_export_config *export;

    if (!check_name(name, origin, error))
        return FALSE;
    if (same != NULL) {
        g_set_error(error, PH_CONFIG_ERROR, 0,
                    "%s: two exports are named \"%s\" (%s and %s); give one of them another name: NAME=DIR",
                    origin, name, same->directory, directory);
        return FALSE;
    }
    export = g_new0(struct ph_export_config, 1);
    export->name = g_strdup(name);
    export->directory = g_strdup(directory);
    export->origin = g_strdup(origin);
    g_ptr_array_add(config->exports, export);
    return TRUE;
}

gboolean ph_config_parse_size(const char *text, uint64_t *bytes)
{
    static const char units[] = "KMGT";
    const char *end = text;
    guint64 number;
    const char *unit;
    unsigned shift = 0;

    if (!g_ascii_isdigit(*text))
        return FALSE;
    number = g_ascii_strtoull(text, (char **) &end, 10);
    if (*end != '\0') {
        unit = strchr(units, g_ascii_toupper(*end));
        if (unit == NULL || end[1] != '\0')
            return FALSE;
        shift = 10 * (unsigned) (unit - units + 1);
    }
    if (number == 0 || number > (guint64) INT64_MAX >> shift)
        return FALSE;
    *bytes = number << shift;
    return TRUE;
}

static gboolean check_directory(struct ph_export_config *export, GError **error)
{
    char *real = realpath(export->directory, NULL);

    if (real == NULL || !g_file_test(real, G_FILE_TEST_IS_DIR)) {
        g_set_error(error, PH_CONFIG_ERROR, 0,
                    "%s: \"%s\" is not a directory; expected the existing directory to export",
                    export->origin, export->directory);
        free(real);
        return FALSE;
    }
    g_free(export->directory);
    export->directory = g_strdup(real);
    free(real);
    return TRUE;
}

/* A directory of its own below the usual place: the path's last name, for
 * people, and a hash of it all, so that no two exports share one. */
static char *default_state_dir(const char *directory)
{
    g_autofree char *base = g_path_get_basename(directory);
    g_autofree char *hash = g_compute_checksum_for_string(G_CHECKSUM_SHA256, directory, -1);
    g_autofree char *name = g_strdup_printf("%s-%.16s", strcmp(base, "/") == 0 ? "root" : base, hash);

    if (geteuid() == 0)
        return g_build_filename("/var/lib/pohmel", name, NULL);
    return g_build_filename(g_get_user_state_dir(), "pohmel", name, NULL);
}

static void set_state_dir(const struct ph_config *config, struct ph_export_config *export)
{
    g_autofree char *given = NULL;

    if (export->state_dir == NULL && config->state_dir == NULL)
        export->state_dir = default_state_dir(export->directory);
    else if (export->state_dir == NULL && config->exports->len == 1)
        export->state_dir = g_strdup(config->state_dir);
    else if (export->state_dir == NULL)
        export->state_dir = g_build_filename(config->state_dir, export->name, NULL);
    given = g_steal_pointer(&export->state_dir);
    export->state_dir = g_canonicalize_filename(given, NULL);
}

static gboolean lies_in(const char *path, const char *directory)
{
    size_t len = strlen(directory);

    return strncmp(path, directory, len) == 0 &&
           (path[len] == '/' || path[len] == '\0' || directory[len - 1] == '/');
}

/* Clients of one export must not get at what the server remembers of another. */
static gboolean check_state_dirs(const struct ph_config *config, GError **error)
{
    for (guint i = 0; i < config->exports->len * config->exports->len; i++) {
        const struct ph_export_config *export = config->exports->pdata[i / config->exports->len];
        const struct ph_export_config *other = config->exports->pdata[i % config->exports->len];

        if (!lies_in(export->state_dir, other->directory))
            continue;
        g_set_error(error, PH_CONFIG_ERROR, 0,
                    "%s: the state directory %s lies inside the export %s; choose one outside of it",
                    export->origin, export->state_dir, other->directory);
        return FALSE;
    }
    return TRUE;
}

static gboolean check_twice(const struct ph_config *config, guint index, GError **error)
{
    const struct ph_export_config *export = config->exports->pdata[index];

    for (guint i = 0; i < index; i++) {
        const struct ph_export_config *other = config->exports->pdata[i];

        if (strcmp(other->directory, export->directory) == 0)
            g_set_error(error, PH_CONFIG_ERROR, 0,
                        "%s: %s is exported twice, as \"%s\" and \"%s\"; export it once", export->origin,
                        export->directory, other->name, export->name);
        else if (strcmp(other->state_dir, export->state_dir) == 0)
            g_set_error(error, PH_CONFIG_ERROR, 0,
                        "%s: exports \"%s\" and \"%s\" have the same state directory %s; give each its own",
                        export->origin, other->name, export->name, export->state_dir);
        else
            continue;
        return FALSE;
    }
    return TRUE;
}

static gboolean check_listen(const struct ph_config *config, GError **error)
{
    for (guint i = 0; i < config->listen->len; i++) {
        struct ph_address address = {0};
        g_autoptr(GError) wrong = NULL;

        if (!ph_address_parse(config->listen->pdata[i], PH_DEFAULT_PORT, &address, &wrong)) {
            g_set_error(error, PH_CONFIG_ERROR, 0, "%s: %s", config->listen_origin, wrong->message);
            return FALSE;
        }
        ph_address_clear(&address);
    }
    return TRUE;
}

gboolean ph_config_check(struct ph_config *config, GError **error)
{
    if (config->exports->len == 0) {
        g_set_error(error, PH_CONFIG_ERROR, 0,
                    "nothing to export: give --export DIR, or --config FILE with a group [export NAME]");
        return FALSE;
    }
    for (guint i = 0; i < config->exports->len; i++) {
        if (!check_directory(config->exports->pdata[i], error))
            return FALSE;
        set_state_dir(config, config->exports->pdata[i]);
        if (!check_twice(config, i, error))
            return FALSE;
    }
    return check_state_dirs(config, error) && check_listen(config, error);
}
