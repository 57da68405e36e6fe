/* pohmelctl rmtree: one command removes a name with everything below it, once
 * it is sure that no mount point and nothing but that name is meant. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/ctl/call.h"
#include "client/ctl/commands.h"
#include "client/ctl/mounts.h"

static gboolean fail(GError **error, int code, const char *path, const char *why)
{
    g_set_error(error, PH_CALL_ERROR, code, "cannot remove %s: %s", path, why);
    return FALSE;
}

/* Cuts PATH into the directory and the last name; FALSE when that is no name. */
static gboolean split(const char *path, char **parent, char **name, GError **error)
{
    g_autofree char *trimmed = g_strdup(path);
    size_t len = strlen(trimmed);
    while (len > 1 && trimmed[len - 1] == '/')
        trimmed[--len] = '\0';
    if (len == 0)
        return fail(error, ENOENT, "\"\"", "the path is empty");
    if (strcmp(trimmed, "/") == 0)
        return fail(error, EBUSY, path, "it is the root of the system");
    char *slash = strrchr(trimmed, '/');
    const char *last = slash ? slash + 1 : trimmed;
    if (strcmp(last, ".") == 0 || strcmp(last, "..") == 0)
        return fail(error, EINVAL, path, "\".\" and \"..\" are not names; write out what is meant");
    if (strlen(last) > NAME_MAX)
        return fail(error, ENAMETOOLONG, path, "the name is longer than 255 bytes");
    *name = g_strdup(last);
    if (!slash)
        *parent = g_strdup(".");
    else if (slash == trimmed)
        *parent = g_strdup("/");
    else
        *parent = g_strndup(trimmed, (gsize) (slash - trimmed));
    return TRUE;
}

/* Nothing is mounted at NAME in PARENT or below it. */
static gboolean check_mounts(const char *path, const char *parent, const char *name, GError **error)
{
    g_autoptr(GPtrArray) mounts = ph_mounts_read(error);
    if (!mounts)
        return FALSE;
    g_autofree char *real = realpath(parent, NULL);
    if (!real)
        return fail(error, errno, path, g_strerror(errno));
    g_autofree char *whole = g_build_filename(real, name, NULL);
    const struct ph_mount_entry *mount = ph_mounts_below(mounts, whole);
    if (!mount)
        return TRUE;
    g_set_error(error, PH_CALL_ERROR, EBUSY, "cannot remove %s: %s is a mount point; unmount it first", path,
                mount->path);
    return FALSE;
}

static gboolean remove_in(int fd, const char *path, const char *parent, const char *name, guint64 *removed,
                          GError **error)
{
    struct stat status, above;
    if (fstatat(fd, name, &status, AT_SYMLINK_NOFOLLOW) != 0 || fstat(fd, &above) != 0)
        return fail(error, errno, path, g_strerror(errno));
    if (status.st_dev != above.st_dev)
        return fail(error, EBUSY, path, "it is a mount point; unmount it first");
    if (!check_mounts(path, parent, name, error) || !ph_call_is_pohmel(fd, path, error))
        return FALSE;
    struct ph_ioc_rmtree control = {.length = (guint32) strlen(name), .object = status.st_ino};
    memcpy(control.name, name, control.length);
    if (!ph_call_rmtree(fd, path, &control, error))
        return FALSE;
    *removed += control.removed;
    return TRUE;
}

gboolean ctl_remove_tree(const char *path, guint64 *removed, GError **error)
{
    g_autofree char *parent = NULL, *name = NULL;
    if (!split(path, &parent, &name, error))
        return FALSE;
    int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return fail(error, errno, path, g_strerror(errno));
    gboolean done = remove_in(fd, path, parent, name, removed, error);
    close(fd);
    return done;
}

int ctl_rmtree(int argc, char **argv)
{
    gboolean verbose = FALSE, force = FALSE;
    for (int option; (option = getopt(argc, argv, "vf")) != -1;) {
        if (option == 'v')
            verbose = TRUE;
        else if (option == 'f')
            force = TRUE;
        else
            return ctl_usage("rmtree");
    }
    if (optind == argc)
        return force ? CTL_OK : ctl_usage("rmtree");
    int code = CTL_OK;
    for (int i = optind; i < argc; i++) {
        g_autoptr(GError) error = NULL;
        guint64 removed = 0;
        if (ctl_remove_tree(argv[i], &removed, &error)) {
            if (verbose)
                g_print("%s: %" G_GUINT64_FORMAT " removed\n", argv[i], removed);
        } else if (!force || !g_error_matches(error, PH_CALL_ERROR, ENOENT) || !*argv[i]) {
            code = ctl_complain("%s", error->message);
        }
    }
    return code;
}
