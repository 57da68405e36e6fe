/* pohmelctl flush: everything below a path becomes stable on the server. */
#include <errno.h>
#include <getopt.h>
#include <unistd.h>

#include "client/ctl/call.h"
#include "client/ctl/commands.h"

static gboolean flush(const char *path, GError **error)
{
    int fd = ph_call_open(path, error);
    if (fd < 0)
        return FALSE;
    g_autofree struct ph_ioc_flush *control = g_new0(struct ph_ioc_flush, 1);
    gboolean done = ph_call_is_pohmel(fd, path, error);
    /* Pages of shared mappings are still with the kernel: it sends them on
     * when asked to sync, though it never tells the mount that it was asked. */
    if (done && syncfs(fd) != 0) {
        g_set_error(error, PH_CALL_ERROR, errno, "%s: %s", path, g_strerror(errno));
        done = FALSE;
    }
    done = done && ph_call_flush(fd, path, control, error);
    close(fd);
    return done;
}

static int flush_all(char **paths, gboolean verbose)
{
    int code = CTL_OK;
    for (char **path = paths; *path; path++) {
        g_autoptr(GError) error = NULL;
        if (!flush(*path, &error))
            code = ctl_complain("%s", error->message);
        else if (verbose)
            g_print("%s: flushed\n", *path);
    }
    return code;
}

int ctl_flush(int argc, char **argv)
{
    static const struct option options[] = {{"server", required_argument, NULL, 's'}, {NULL, 0, NULL, 0}};
    const char *server = NULL;
    gboolean verbose = FALSE;
    for (int option; (option = getopt_long(argc, argv, "v", options, NULL)) != -1;) {
        if (option == 'v')
            verbose = TRUE;
        else if (option == 's')
            server = optarg;
        else
            return ctl_usage("flush");
    }
    if (server)
        return optind < argc ? ctl_usage("flush")
                             : ctl_ask_server(server, verbose ? "flush verbose" : "flush");
    char *here[] = {".", NULL};
    return flush_all(optind < argc ? argv + optind : here, verbose);
}
