/* The command line. */
#include <string.h>

#include "server/config.h"

struct options {
    char **exports, **listen;
    char *state_dir, *config_file, *size_limit;
    int workers, lease_time;
    gboolean read_only, verbose, no_watch, no_journal, check, repair, version;
};

typedef struct options options_t;

static void options_clear(struct options *options)
{
    g_strfreev(options->exports);
    g_strfreev(options->listen);
    g_free(options->state_dir);
    g_free(options->config_file);
    g_free(options->size_limit);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(options_t, options_clear)

/* "NAME=DIR" or "DIR"; the name is then the directory's last one. */
static gboolean add_export(struct ph_config *config, const char *text, GError **error)
{
    const char *equals = strchr(text, '=');
    const char *slash = strchr(text, '/');
    g_autofree char *name = NULL;
    const char *directory = text;
    struct ph_export_config *from_file;

    if (equals != NULL && (slash == NULL || equals < slash)) {
        name = g_strndup(text, (gsize) (equals - text));
        directory = equals + 1;
    } else {
        g_autofree char *full = g_canonicalize_filename(text, NULL);

        name = g_path_get_basename(full);
        if (strcmp(name, "/") == 0) {
            g_free(name);
            name = g_strdup("root");
        }
    }
    if (*directory == '\0') {
        g_set_error(error, PH_CONFIG_ERROR, 0, "--export: \"%s\" names no directory; expected [NAME=]DIR",
                    text);
        return FALSE;
    }
    /* The file's export of that name is served from here instead. */
    from_file = ph_config_find_export(config, name);
    if (from_file != NULL && strcmp(from_file->origin, "--export") != 0) {
        g_free(from_file->directory);
        g_free(from_file->origin);
        from_file->directory = g_strdup(directory);
        from_file->origin = g_strdup("--export");
        return TRUE;
    }
    return ph_config_add_export(config, name, directory, "--export", error);
}

static gboolean apply_size_limit(struct ph_config *config, const char *text, GError **error)
{
    uint64_t bytes = 0;

    if (!ph_config_parse_size(text, &bytes)) {
        g_set_error(error, PH_CONFIG_ERROR, 0,
                    "--size-limit: \"%s\" is not a size; expected a number with K, M, G or T", text);
        return FALSE;
    }
    for (guint i = 0; i < config->exports->len; i++)
        ((struct ph_export_config *) config->exports->pdata[i])->size_limit = bytes;
    return TRUE;
}

static gboolean apply_workers(struct ph_config *config, int workers, GError **error)
{
    if (workers == 0)
        return TRUE;
    if (workers < 0 || workers > PH_WORKERS_MAX) {
        g_set_error(error, PH_CONFIG_ERROR, 0,
                    "--workers: %d is out of range; expected a number from 1 to %d", workers, PH_WORKERS_MAX);
        return FALSE;
    }
    config->workers = (unsigned) workers;
    return TRUE;
}

static gboolean apply_lease_time(struct ph_config *config, int seconds, GError **error)
{
    if (seconds == 0)
        return TRUE;
    if (seconds < PH_LEASE_TIME_MIN_S || seconds > PH_LEASE_TIME_MAX_S) {
        g_set_error(error, PH_CONFIG_ERROR, 0,
                    "--lease-time: %d is out of range; expected seconds from %d to %d", seconds,
                    PH_LEASE_TIME_MIN_S, PH_LEASE_TIME_MAX_S);
        return FALSE;
    }
    config->lease_time_s = (unsigned) seconds;
    return TRUE;
}

/* What the command line says wins over what CONFIG has from the file. */
static gboolean apply(struct ph_config *config, const struct options *options, GError **error)
{
    for (char **text = options->exports; text != NULL && *text != NULL; text++) {
        if (!add_export(config, *text, error))
            return FALSE;
    }
    if (options->listen != NULL) {
        g_ptr_array_set_size(config->listen, 0);
        g_free(config->listen_origin);
        config->listen_origin = g_strdup("--listen");
    }
    for (char **text = options->listen; text != NULL && *text != NULL; text++)
        g_ptr_array_add(config->listen, g_strdup(*text));
    if (options->state_dir != NULL) {
        g_free(config->state_dir);
        config->state_dir = g_strdup(options->state_dir);
    }
    for (guint i = 0; options->read_only && i < config->exports->len; i++)
        ((struct ph_export_config *) config->exports->pdata[i])->read_only = true;
    config->verbose = config->verbose || options->verbose;
    config->repair = options->repair;
    config->no_journal = options->no_journal;
    config->no_watch = config->no_watch || options->no_watch;
    if (options->size_limit != NULL && !apply_size_limit(config, options->size_limit, error))
        return FALSE;
    return apply_lease_time(config, options->lease_time, error) &&
           apply_workers(config, options->workers, error);
}

static gboolean parse(char **arguments, struct options *options, GError **error)
{
    const GOptionEntry entries[] = {
        {"export", 'e', 0, G_OPTION_ARG_FILENAME_ARRAY, &options->exports,
         "Serve directory DIR (as NAME; else as its last name); may be repeated", "[NAME=]DIR"},
        {"listen", 'l', 0, G_OPTION_ARG_STRING_ARRAY, &options->listen,
         "Listen there (default: port 1025 of loopback); also [IPV6]:PORT, unix:/PATH; may be repeated",
         "ADDR[:PORT]"},
        {"state-dir", 's', 0, G_OPTION_ARG_FILENAME, &options->state_dir,
         "Keep ids and orphans there (default: below /var/lib/pohmel or ~/.local/state/pohmel)", "DIR"},
        {"config", 'c', 0, G_OPTION_ARG_FILENAME, &options->config_file, "Read FILE; options win over it",
         "FILE"},
        {"read-only", 'r', 0, G_OPTION_ARG_NONE, &options->read_only, "Allow no changes", NULL},
        {"size-limit", 0, 0, G_OPTION_ARG_STRING, &options->size_limit,
         "Let an export hold SIZE at most, as in 10G", "SIZE"},
        {"workers", 'w', 0, G_OPTION_ARG_INT, &options->workers, "Number of main loops (default: processors)",
         "N"},
        {"lease-time", 0, 0, G_OPTION_ARG_INT, &options->lease_time,
         "Wait that long for a client that is gone when others want what it holds (default: 20)", "SECONDS"},
        {"no-watch", 0, 0, G_OPTION_ARG_NONE, &options->no_watch,
         "Do not look for changes that other programs make in the exports", NULL},
        {"check", 0, 0, G_OPTION_ARG_NONE, &options->check,
         "Do not serve: check the state directories against the exports, and say what is found", NULL},
        {"repair", 0, 0, G_OPTION_ARG_NONE, &options->repair, "With --check: put right what can be", NULL},
        {"no-journal", 0, 0, G_OPTION_ARG_NONE, &options->no_journal,
         "For measurements: do not keep what a server that is killed was doing", NULL},
        {"verbose", 'v', 0, G_OPTION_ARG_NONE, &options->verbose, "Log connections and refused commands",
         NULL},
        {"version", 'V', 0, G_OPTION_ARG_NONE, &options->version, "Show the version", NULL},
        {NULL, 0, 0, 0, NULL, NULL, NULL},
    };
    g_autoptr(GOptionContext) context = g_option_context_new("- serve directories to pohmelfs mounts");
    g_autoptr(GError) wrong = NULL;

    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse_strv(context, &arguments, &wrong)) {
        g_set_error(error, PH_CONFIG_ERROR, 0, "%s; see pohmel-server --help", wrong->message);
        return FALSE;
    }
    if (arguments[0] != NULL && arguments[1] != NULL) {
        g_set_error(error, PH_CONFIG_ERROR, 0,
                    "\"%s\" is not an option; to serve a directory give --export %s", arguments[1],
                    arguments[1]);
        return FALSE;
    }
    return TRUE;
}

struct ph_config *ph_config_from_arguments(char **arguments, enum ph_config_request *request, GError **error)
{
    g_autoptr(ph_config_t) config = ph_config_new();
    g_auto(options_t) options = {0};
    g_auto(GStrv) copy = g_strdupv(arguments);

    if (!parse(copy, &options, error))
        return NULL;
    if (options.repair && !options.check) {
        g_set_error(error, PH_CONFIG_ERROR, 0, "--repair: only together with --check");
        return NULL;
    }
    *request = options.version ? PH_CONFIG_VERSION : options.check ? PH_CONFIG_CHECK : PH_CONFIG_SERVE;
    if (options.version)
        return g_steal_pointer(&config);
    if (options.config_file != NULL && !ph_config_read_file(config, options.config_file, error))
        return NULL;
    if (!apply(config, &options, error))
        return NULL;
    return g_steal_pointer(&config);
}
