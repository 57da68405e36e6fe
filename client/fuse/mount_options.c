#include "client/fuse/mount_options.h"

#include <gio/gio.h>
#include <getopt.h>
#include <string.h>

#include "runtime/base/limits.h"

enum { PATIENCE_MAX_S = 86400, PORT_MAX = 65535, FLUSH_AGE_MAX_MS = 3600 * 1000 };

#define DIRTY_LIMIT_MAX_BYTES (UINT64_C(64) << 30)

/* While the options are read. */
struct state {
    struct ph_mount_options *out;
    GString *kernel;
    bool allow_other, sloppy;
    guint16 port;
};

/* Handed on to the kernel, or to fusermount3. */
static const char *const passed_on[] = {"suid",    "nosuid",     "dev",  "nodev",   "exec",
                                        "noexec",  "async",      "sync", "dirsync", "atime",
                                        "noatime", "nodiratime", NULL};

/* For mount(8), systemd and fstab, or without a meaning here. */
static const char *const ignored[] = {
    "defaults",      "auto",    "noauto",   "user",       "nouser",   "users",    "owner",      "group",
    "nofail",        "_netdev", "relatime", "norelatime", "diratime", "lazytime", "nolazytime", "strictatime",
    "nostrictatime", "silent",  "loud",     "mand",       "nomand",   "iversion", "noiversion", NULL};
static const char *const ignored_prefixes[] = {"x-", "X-", "comment=", "user=", NULL};

static gboolean fail(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);

static gboolean fail(GError **error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT, text);
    return FALSE;
}

gboolean ph_mount_spec_parse(const char *spec, guint16 port, struct ph_address *address, char **export_name,
                             GError **error)
{
    static const char form[] =
        "HOST:/EXPORT, HOST:PORT:/EXPORT, [V6ADDRESS]:PORT:/EXPORT or unix:/SOCKET:/EXPORT";
    const char *split = g_strrstr(spec, ":/");
    bool only_unix = split != NULL && split == spec + strlen("unix") && g_str_has_prefix(spec, "unix:/");
    if (split == NULL || only_unix)
        return fail(error, "'%s' does not say what to mount: expected %s", spec, form);
    g_autofree char *server = g_strndup(spec, (gsize) (split - spec));
    if (server[0] == '\0' || server[0] == ':')
        return fail(error, "'%s' names no server: expected %s", spec, form);
    if (!ph_address_parse(server, port, address, error))
        return FALSE;
    *export_name = g_strdup(split + strlen(":/"));
    return TRUE;
}

static gboolean parse_number(const char *option, const char *text, guint64 min, guint64 max, guint64 *out,
                             GError **error)
{
    g_autoptr(GError) why = NULL;
    if (g_ascii_string_to_unsigned(text, 10, min, max, out, &why))
        return TRUE;
    return fail(error, "option %s: '%s' is not a number from %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT,
                option, text, min, max);
}

/* What a number may be followed by, and what that makes of it. */
struct unit {
    const char *name;
    guint64 factor;
};

static const struct unit times[] = {{"ms", 1}, {"s", 1000}, {"", 1000}, {NULL, 0}};
static const struct unit sizes[] = {{"K", 1 << 10}, {"M", 1 << 20}, {"G", 1 << 30}, {"", 1}, {NULL, 0}};

/* "NAME=NUMBER" with one of UNITS. */
static gboolean parse_unit(const char *name, const char *option, const struct unit *units, guint64 max,
                           guint64 *out, GError **error)
{
    const char *text = strchr(option, '=') + 1;
    char *end = NULL;
    guint64 number = g_ascii_isdigit(text[0]) ? g_ascii_strtoull(text, &end, 10) : 0;
    for (const struct unit *unit = units; end != NULL && unit->name != NULL; unit++) {
        if (g_ascii_strcasecmp(end, unit->name) == 0 && number <= max / unit->factor && number > 0) {
            *out = number * unit->factor;
            return TRUE;
        }
    }
    return fail(error,
                units == times ? "option %s: '%s' is not a time such as 500ms or 5s"
                               : "option %s: '%s' is not a size such as 512K, 256M or 1G",
                name, text);
}

static bool is_ignored(const char *option)
{
    if (g_strv_contains(ignored, option))
        return true;
    for (size_t i = 0; ignored_prefixes[i] != NULL; i++)
        if (g_str_has_prefix(option, ignored_prefixes[i]))
            return true;
    return false;
}

static gboolean parse_mmap(const char *option, struct ph_mount_options *out, GError **error)
{
    const char *text = strchr(option, '=') + 1;
    if (!g_str_equal(text, "strict") && !g_str_equal(text, "flush"))
        return fail(error,
                    "option mmap: '%s' is neither 'strict' (what is stored into a mapping shows elsewhere at "
                    "once) nor 'flush' (it does at msync, munmap and close)",
                    text);
    out->mmap_flush = g_str_equal(text, "flush");
    return TRUE;
}

static gboolean take_option(struct state *state, const char *option, GError **error)
{
    guint64 number;
    if (option[0] == '\0' || is_ignored(option))
        return TRUE;
    if (strcmp(option, "ro") == 0 || strcmp(option, "rw") == 0) {
        state->out->read_only = option[1] == 'o';
    } else if (strcmp(option, "allow_other") == 0 || strcmp(option, "noallow_other") == 0) {
        state->allow_other = option[0] == 'a';
    } else if (g_strv_contains(passed_on, option)) {
        g_string_append_printf(state->kernel, ",%s", option);
    } else if (g_str_equal(option, "cache") || g_str_equal(option, "nocache")) {
        state->out->cache = option[0] == 'c';
    } else if (g_str_equal(option, "writeback") || g_str_equal(option, "writethrough")) {
        state->out->write_back = g_str_equal(option, "writeback");
    } else if (g_str_equal(option, "keep") || g_str_equal(option, "nokeep")) {
        state->out->keep = option[0] == 'k';
    } else if (g_str_has_prefix(option, "flush_age=")) {
        return parse_unit("flush_age", option, times, FLUSH_AGE_MAX_MS, &state->out->flush_age_ms, error);
    } else if (g_str_has_prefix(option, "dirty_limit=")) {
        return parse_unit("dirty_limit", option, sizes, DIRTY_LIMIT_MAX_BYTES, &state->out->dirty_limit_bytes,
                          error);
    } else if (g_str_has_prefix(option, "mmap=")) {
        return parse_mmap(option, state->out, error);
    } else if (g_str_equal(option, "hard")) {
        state->out->patience_s = PH_LINK_PATIENCE_FOREVER;
    } else if (g_str_has_prefix(option, "soft=") || g_str_has_prefix(option, "patience=")) {
        const char *name = option[0] == 's' ? "soft" : "patience";
        if (!parse_number(name, strchr(option, '=') + 1, 0, PATIENCE_MAX_S, &number, error))
            return FALSE;
        state->out->patience_s = (guint) number;
    } else if (g_str_has_prefix(option, "conflicts=")) {
        const char *directory = strchr(option, '=') + 1;
        if (directory[0] != '/')
            return fail(error, "option conflicts: '%s' is not an absolute path", directory);
        g_free(state->out->conflicts);
        state->out->conflicts = g_strdup(directory);
    } else if (g_str_has_prefix(option, "port=")) {
        if (!parse_number("port", strchr(option, '=') + 1, 1, PORT_MAX, &number, error))
            return FALSE;
        state->port = (guint16) number;
    } else if (!state->sloppy) {
        return fail(error, "unknown mount option '%s'; 'pohmelfs --help' lists them", option);
    }
    return TRUE;
}

static gboolean take_options(struct state *state, const char *text, GError **error)
{
    g_auto(GStrv) options = g_strsplit(text, ",", -1);
    for (size_t i = 0; options[i] != NULL; i++)
        if (!take_option(state, options[i], error))
            return FALSE;
    return TRUE;
}

static gboolean take_flag(struct state *state, int flag, bool helper, GError **error)
{
    switch (flag) {
    case 'o':
        return take_options(state, optarg, error);
    case 'f':
        if (helper)
            state->out->action = PH_DO_NOTHING; /* of mount(8): all but the mount itself */
        else
            state->out->foreground = true;
        return TRUE;
    case 'r':
        state->out->read_only = true;
        return TRUE;
    case 's':
        state->sloppy = true;
        return TRUE;
    case 'w':
    case 'n':
    case 'v':
    case 't':
    case 'N':
        return TRUE; /* of mount(8), without a meaning here */
    case 'h':
        state->out->action = PH_DO_HELP;
        return TRUE;
    case 'V':
        state->out->action = PH_DO_VERSION;
        return TRUE;
    case ':':
        return fail(error, "option -%c needs an argument", optopt);
    default:
        return fail(error, "unknown option; 'pohmelfs --help' lists them");
    }
}

static gboolean take_command_line(struct state *state, int argc, char **argv, GError **error)
{
    static const struct option long_options[] = {
        {"foreground", no_argument, NULL, 'f'},
        {"options", required_argument, NULL, 'o'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
        {NULL},
    };
    g_autofree char *name = g_path_get_basename(argv[0]);
    bool helper = g_str_has_prefix(name, "mount.");
    opterr = 0;
    optind = 0;
    for (int flag; (flag = getopt_long(argc, argv, ":fo:hVrwsnvt:N:", long_options, NULL)) != -1;) {
        if (flag == '?' && optind >= 1 && argv[optind - 1][0] == '-')
            return fail(error, "unknown option '%s'; 'pohmelfs --help' lists them", argv[optind - 1]);
        if (!take_flag(state, flag, helper, error))
            return FALSE;
        if (state->out->action == PH_DO_HELP || state->out->action == PH_DO_VERSION)
            return TRUE;
    }
    if (argc - optind < 2)
        return fail(error, "%s is missing: expected 'pohmelfs HOST:/EXPORT MOUNTPOINT'",
                    argc == optind ? "what to mount" : "the mount point");
    if (argc - optind > 2)
        return fail(error, "'%s' is too much: expected 'pohmelfs HOST:/EXPORT MOUNTPOINT'", argv[optind + 2]);
    state->out->spec = g_strdup(argv[optind]);
    state->out->mount_point = g_strdup(argv[optind + 1]);
    return TRUE;
}

/* Options of libfuse are separated by commas, so those in TEXT are escaped. */
static void append_escaped(GString *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == ',' || *text == '\\')
            g_string_append_c(out, '\\');
        g_string_append_c(out, *text);
    }
}

gboolean ph_mount_options_parse(int argc, char **argv, bool root, struct ph_mount_options *out,
                                GError **error)
{
    *out = (struct ph_mount_options){
        .patience_s = PH_LINK_PATIENCE_FOREVER,
        .cache = true,
        .write_back = true,
        .keep = true,
        .flush_age_ms = PH_FLUSH_AGE_DEFAULT_MS,
        .dirty_limit_bytes = PH_DIRTY_LIMIT_DEFAULT_BYTES,
    };
    struct state state = {
        .out = out,
        .kernel = g_string_new(root ? "suid,dev" : "nosuid,nodev"),
        .allow_other = root,
        .port = PH_DEFAULT_PORT,
    };
    gboolean sound = take_command_line(&state, argc, argv, error);
    bool mounts = out->action == PH_DO_MOUNT || out->action == PH_DO_NOTHING;
    if (sound && mounts)
        sound = ph_mount_spec_parse(out->spec, state.port, &out->address, &out->export_name, error);
    if (sound && mounts) {
        if (state.allow_other)
            g_string_append(state.kernel, ",allow_other");
        g_string_append(state.kernel, ",subtype=pohmelfs,fsname=");
        append_escaped(state.kernel, out->spec);
    }
    out->kernel = g_string_free(state.kernel, FALSE);
    if (!sound)
        ph_mount_options_clear(out);
    return sound;
}

void ph_mount_options_clear(struct ph_mount_options *options)
{
    ph_address_clear(&options->address);
    g_clear_pointer(&options->spec, g_free);
    g_clear_pointer(&options->export_name, g_free);
    g_clear_pointer(&options->mount_point, g_free);
    g_clear_pointer(&options->conflicts, g_free);
    g_clear_pointer(&options->kernel, g_free);
}
