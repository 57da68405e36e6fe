/* pohmelctl leases: what mounts hold, page by page; or what a server gave out. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/ctl/call.h"
#include "client/ctl/commands.h"
#include "client/ctl/json.h"
#include "client/ctl/mounts.h"
#include "runtime/base/limits.h"

enum { MS_PER_S = 1000, S_PER_MIN = 60, MIN_PER_HOUR = 60 };

static const char *mode_name(unsigned mode)
{
    return mode == 2 ? "exclusive" : "shared";
}

static const char *state_name(unsigned state)
{
    switch (state) {
    case PH_IOC_LEASE_HELD:
        return "held";
    case PH_IOC_LEASE_RECALLED:
        return "recalled";
    case PH_IOC_LEASE_DROPPING:
        return "dropping";
    default:
        return "none";
    }
}

static const char *kind_name(const struct ph_ioc_lease *lease)
{
    return lease->flags & PH_IOC_LEASE_DIRECTORY ? "directory" : "file";
}

/* How long ago: "-", "3s", "12m" or "5h". */
static void add_age(GString *out, const struct ph_ioc_lease *lease)
{
    guint64 seconds = lease->age_ms / MS_PER_S;
    g_autofree char *text = NULL;
    if (!(lease->flags & PH_IOC_LEASE_AGED))
        text = g_strdup("-");
    else if (seconds < 2 * S_PER_MIN)
        text = g_strdup_printf("%" G_GUINT64_FORMAT "s", seconds);
    else if (seconds < 2 * S_PER_MIN * MIN_PER_HOUR)
        text = g_strdup_printf("%" G_GUINT64_FORMAT "m", seconds / S_PER_MIN);
    else
        text = g_strdup_printf("%" G_GUINT64_FORMAT "h", seconds / S_PER_MIN / MIN_PER_HOUR);
    g_string_append_printf(out, " %5s ", text);
}

static void add_plain(GString *out, const struct ph_ioc_lease *lease, const char *path)
{
    g_string_append_printf(out, "%-20" G_GUINT64_FORMAT " %-9s %-9s %-8s", (guint64) lease->object,
                           mode_name(lease->mode), kind_name(lease), state_name(lease->state));
    add_age(out, lease);
    if (lease->path > 0)
        ctl_shown(out, path, lease->path);
    else
        g_string_append_c(out, '-');
    if (lease->flags & PH_IOC_LEASE_RANGE && lease->end == UINT64_MAX)
        g_string_append_printf(out, " (from byte %" G_GUINT64_FORMAT " on)", (guint64) lease->start);
    else if (lease->flags & PH_IOC_LEASE_RANGE)
        g_string_append_printf(out, " (bytes %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT ")",
                               (guint64) lease->start, (guint64) lease->end - 1);
    g_string_append(out, lease->flags & PH_IOC_LEASE_DIRTY ? " (dirty)\n" : "\n");
}

static const char *truth(gboolean is)
{
    return is ? "true" : "false";
}

static void add_json(GString *out, const struct ph_ioc_lease *lease, const char *path, const char *mount)
{
    g_string_append(out, "{\"mount\": ");
    ctl_json_string(out, mount, strlen(mount));
    g_string_append_printf(out,
                           ", \"object\": %" G_GUINT64_FORMAT ", \"lease\": %" G_GUINT64_FORMAT
                           ", \"mode\": \"%s\", \"kind\": \"%s\", \"state\": \"%s\", \"dirty\": %s, "
                           "\"pages\": %s, \"complete\": %s, \"names\": %u",
                           (guint64) lease->object, (guint64) lease->lease, mode_name(lease->mode),
                           kind_name(lease), state_name(lease->state),
                           truth(lease->flags & PH_IOC_LEASE_DIRTY), truth(lease->flags & PH_IOC_LEASE_PAGES),
                           truth(lease->flags & PH_IOC_LEASE_COMPLETE), lease->names);
    if (lease->flags & PH_IOC_LEASE_AGED)
        g_string_append_printf(out, ", \"age-ms\": %" G_GUINT64_FORMAT, (guint64) lease->age_ms);
    if (lease->flags & PH_IOC_LEASE_RANGE)
        g_string_append_printf(out, ", \"start\": %" G_GUINT64_FORMAT, (guint64) lease->start);
    if (lease->flags & PH_IOC_LEASE_RANGE && lease->end != UINT64_MAX)
        g_string_append_printf(out, ", \"end\": %" G_GUINT64_FORMAT, (guint64) lease->end);
    if (lease->path > 0) {
        g_string_append(out, ", \"path\": ");
        ctl_json_string(out, path, lease->path);
    }
    g_string_append(out, "}\n");
}

/* Prints the records of CONTROL; FALSE when they are not as control.h says. */
static gboolean print_page(const struct ph_ioc_leases *control, const char *mount, gboolean json)
{
    g_autoptr(GString) out = g_string_new(NULL);
    for (guint32 at = 0; at < control->length;) {
        struct ph_ioc_lease lease;
        guint32 left = control->length - at;
        if (left < sizeof(lease))
            return FALSE;
        memcpy(&lease, control->records + at, sizeof(lease));
        if (lease.bytes > left || lease.bytes < sizeof(lease) || lease.path > lease.bytes - sizeof(lease))
            return FALSE;
        const char *path = control->records + at + sizeof(lease);
        if (json)
            add_json(out, &lease, path, mount);
        else
            add_plain(out, &lease, path);
        at += lease.bytes;
    }
    return fwrite(out->str, 1, out->len, stdout) == out->len;
}

static gboolean list(const char *path, gboolean json, GError **error)
{
    uint64_t object = 0;
    int fd = ph_call_open_about(path, &object, error);
    if (fd < 0)
        return FALSE;
    g_autofree struct ph_ioc_leases *control = g_new0(struct ph_ioc_leases, 1);
    gboolean ok = TRUE;
    control->below = object == PH_OBJECT_ROOT ? 0 : object;
    do {
        ok = ph_call_leases(fd, path, control, error);
        if (ok && !print_page(control, path, json)) {
            g_set_error(error, PH_CALL_ERROR, 0, "%s: the list could not be read or printed", path);
            ok = FALSE;
        }
    } while (ok && control->more);
    close(fd);
    return ok;
}

static int list_all(GPtrArray *paths, gboolean json)
{
    int code = CTL_OK;
    for (guint i = 0; i < paths->len; i++) {
        g_autoptr(GError) error = NULL;
        const char *path = paths->pdata[i];
        if (!json && paths->len > 1)
            printf("%smount: %s\n", i > 0 ? "\n" : "", path);
        if (!json)
            printf("%-20s %-9s %-9s %-8s %5s %s\n", "OBJECT", "MODE", "KIND", "STATE", "AGE", "PATH");
        if (!list(path, json, &error))
            code = ctl_complain("%s", error->message);
    }
    return code;
}

static int list_mounts(gboolean json)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) mounts = ph_mounts_read(&error);
    g_autoptr(GPtrArray) paths = g_ptr_array_new();
    if (!mounts)
        return ctl_complain("%s", error->message);
    for (guint i = 0; i < mounts->len; i++) {
        struct ph_mount_entry *mount = mounts->pdata[i];
        if (ph_mount_is_pohmel(mount))
            g_ptr_array_add(paths, mount->path);
    }
    if (paths->len == 0 && !json)
        puts("nothing is mounted");
    return list_all(paths, json);
}

int ctl_leases(int argc, char **argv)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'},
        {"server", required_argument, NULL, 's'},
        {NULL, 0, NULL, 0},
    };
    const char *server = NULL;
    gboolean json = FALSE;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 'j')
            json = TRUE;
        else if (option == 's')
            server = optarg;
        else
            return ctl_usage("leases");
    }
    if (server)
        return optind < argc ? ctl_usage("leases") : ctl_ask_server(server, json ? "leases json" : "leases");
    if (optind == argc)
        return list_mounts(json);
    g_autoptr(GPtrArray) paths = g_ptr_array_new();
    for (int i = optind; i < argc; i++)
        g_ptr_array_add(paths, argv[i]);
    return list_all(paths, json);
}
