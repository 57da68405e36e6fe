#include <errno.h>
#include <unistd.h>

#include "client/umount/umount.h"

static gboolean fail(GError **error, const char *words)
{
    g_set_error_literal(error, g_quark_from_static_string("umount"), EINVAL, words);
    return FALSE;
}

gboolean umount_parse(int argc, char **argv, struct umount_options *options, GError **error)
{
    *options = (struct umount_options){0};
    opterr = 0;
    optind = 0;
    /* umount(8) puts the mount point first: getopt moves it behind the options. */
    for (int option; (option = getopt(argc, argv, ":flnrvt:N:")) != -1;) {
        switch (option) {
        case 'f':
            options->force = TRUE;
            break;
        case 'l':
            options->lazy = TRUE;
            break;
        case 'r':
            options->read_only_instead = TRUE;
            break;
        case 'v':
            options->verbose = TRUE;
            break;
        case 'N':
            options->mount_namespace = optarg;
            break;
        case 'n': /* there is no mtab to be left alone */
        case 't':
            break;
        case ':':
            return fail(error, "an option lacks its value");
        default:
            return fail(error, "there is an unknown option");
        }
    }
    if (argc - optind != 1)
        return fail(error, "expected one mount point");
    options->mount_point = argv[optind];
    return TRUE;
}
