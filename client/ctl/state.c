/* pohmelctl state: whether what programs did to a file has reached the server. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/ctl/call.h"
#include "client/ctl/commands.h"
#include "client/ctl/json.h"

struct state_options {
    gboolean verbose, json;
};

static const char *state_name(uint32_t state)
{
    switch (state) {
    case PH_IOC_DIRTY:
        return "dirty";
    case PH_IOC_STABLE:
        return "stable";
    default:
        return "clean";
    }
}

static const char *lease_name(const struct ph_ioc_state *control)
{
    if (control->lease == PH_IOC_LEASE_NONE)
        return "none";
    if (control->lease != PH_IOC_LEASE_HELD)
        return "going back";
    return control->mode == 2 ? "exclusive" : "shared";
}

static void print(const struct state_options *options, const char *path, const struct ph_ioc_state *control)
{
    g_autoptr(GString) out = g_string_new(NULL);
    if (options->json) {
        g_string_append(out, "{\"path\": ");
        ctl_json_string(out, path, strlen(path));
        g_string_append_printf(out,
                               ", \"object\": %" G_GUINT64_FORMAT ", \"state\": \"%s\", \"lease\": \"%s\"}",
                               (guint64) control->object, state_name(control->state), lease_name(control));
    } else {
        g_string_append_printf(out, "%-6s ", state_name(control->state));
        if (options->verbose)
            g_string_append_printf(out, "lease: %-10s ", lease_name(control));
        ctl_shown(out, path, strlen(path));
    }
    puts(out->str);
}

static gboolean tell(const struct state_options *options, const char *path, GError **error)
{
    g_autofree struct ph_ioc_state *control = g_new0(struct ph_ioc_state, 1);
    int fd = ph_call_open_about(path, &control->object, error);
    if (fd < 0)
        return FALSE;
    gboolean told = ph_call_state(fd, path, control, error);
    close(fd);
    if (told)
        print(options, path, control);
    return told;
}

int ctl_state(int argc, char **argv)
{
    static const struct option long_options[] = {{"json", no_argument, NULL, 'j'}, {NULL, 0, NULL, 0}};
    struct state_options options = {0};
    int code = CTL_OK;
    for (int option; (option = getopt_long(argc, argv, "v", long_options, NULL)) != -1;) {
        if (option == 'j')
            options.json = TRUE;
        else if (option == 'v')
            options.verbose = TRUE;
        else
            return ctl_usage("state");
    }
    if (optind == argc)
        return ctl_usage("state");
    for (int i = optind; i < argc; i++) {
        g_autoptr(GError) error = NULL;
        if (!tell(&options, argv[i], &error))
            code = ctl_complain("%s", error->message);
    }
    return code;
}
