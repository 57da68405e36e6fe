/* pohmelctl mkpath: the deepest directory that exists is opened, the names behind it go in one command. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/ctl/call.h"
#include "client/ctl/commands.h"

enum { NAMES_MAX = 2048 /* of one command */, MODE_MAX = 07777 };

static gboolean is_dot(const char *name)
{
    return strcmp(name, ".") == 0;
}

/* Components of PATH without empty ones and ".". */
static GPtrArray *components(const char *path)
{
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    g_auto(GStrv) parts = g_strsplit(path, "/", -1);
    for (char **part = parts; *part; part++) {
        if (**part && !is_dot(*part))
            g_ptr_array_add(names, g_strdup(*part));
    }
    return names;
}

static gboolean fail(GError **error, int code, const char *path, const char *why)
{
    g_set_error(error, PH_CALL_ERROR, code, "cannot make %s: %s", path, why);
    return FALSE;
}

/* Goes down from *FD as far as the directories exist, one name at a time, so
 * that a path may be longer than the kernel takes at once. *AT names are behind us. */
static gboolean descend(int *fd, GPtrArray *names, guint *at, const char *path, GError **error)
{
    for (; *at < names->len; ++*at) {
        const char *name = names->pdata[*at];
        int next = openat(*fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (next < 0 && errno == ENOENT)
            return TRUE;
        if (next < 0 && errno == ENOTDIR) {
            g_set_error(error, PH_CALL_ERROR, ENOTDIR, "cannot make %s: \"%s\" exists and is not a directory",
                        path, name);
            return FALSE;
        }
        if (next < 0)
            return fail(error, errno, path, g_strerror(errno));
        close(*fd);
        *fd = next;
    }
    return TRUE;
}

/* Names from AT on, as many as one command takes, into CONTROL. Returns how many; 0 with ERROR. */
static guint pack(GPtrArray *names, guint at, struct ph_ioc_mkpath *control, const char *path, GError **error)
{
    guint count = 0;
    control->length = 0;
    for (; at < names->len && count < NAMES_MAX; at++, count++) {
        const char *name = names->pdata[at];
        size_t len = strlen(name), sep = count ? 1 : 0;
        if (strcmp(name, "..") == 0) {
            fail(error, EINVAL, path, "\"..\" stands behind a directory that does not exist");
            return 0;
        }
        if (len > NAME_MAX) {
            fail(error, ENAMETOOLONG, path, "a name is longer than 255 bytes");
            return 0;
        }
        if (control->length + sep + len > sizeof(control->names))
            break;
        if (sep)
            control->names[control->length++] = '/';
        memcpy(control->names + control->length, name, len);
        control->length += (guint32) len;
    }
    return count;
}

/* Without read permission a directory cannot be opened for an ioctl, though it may be written to. */
static gboolean make_one_by_one(int *fd, GPtrArray *names, guint at, guint32 mode, guint *made,
                                const char *path, GError **error)
{
    for (; at < names->len; at++) {
        const char *name = names->pdata[at];
        if (mkdirat(*fd, name, mode) == 0)
            ++*made;
        else if (errno != EEXIST)
            return fail(error, errno, path, g_strerror(errno));
        int next = openat(*fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (next < 0)
            return fail(error, errno, path, g_strerror(errno));
        close(*fd);
        *fd = next;
    }
    return TRUE;
}

/* Makes what is missing below *FD. */
static gboolean make_missing(int *fd, GPtrArray *names, guint at, guint32 mode, guint *made, const char *path,
                             GError **error)
{
    g_autofree struct ph_ioc_mkpath *control = g_new0(struct ph_ioc_mkpath, 1);
    while (at < names->len) {
        guint count = pack(names, at, control, path, error);
        if (count == 0)
            return FALSE;
        int directory = openat(*fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (directory < 0 && errno == EACCES)
            return make_one_by_one(fd, names, at, mode, made, path, error);
        if (directory < 0)
            return fail(error, errno, path, g_strerror(errno));
        control->mode = mode;
        gboolean done =
            ph_call_is_pohmel(directory, path, error) && ph_call_mkpath(directory, path, control, error);
        close(directory);
        if (!done)
            return FALSE;
        *made += control->made;
        guint end = at + count;
        if (end == names->len)
            return TRUE;
        if (!descend(fd, names, &at, path, error))
            return FALSE;
        if (at < end)
            return fail(error, ENOENT, path, "it was removed while it was made");
    }
    return TRUE;
}

gboolean ctl_make_path(const char *path, guint32 mode, guint *made, GError **error)
{
    if (!*path)
        return fail(error, ENOENT, "\"\"", "the path is empty");
    g_autoptr(GPtrArray) names = components(path);
    int fd = open(*path == '/' ? "/" : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return fail(error, errno, path, g_strerror(errno));
    guint at = 0;
    gboolean done =
        descend(&fd, names, &at, path, error) && make_missing(&fd, names, at, mode, made, path, error);
    close(fd);
    return done;
}

static gboolean parse_mode(const char *text, guint32 *mode)
{
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 8);
    if (errno || *end || end == text || value > MODE_MAX || *text == '-' || *text == '+')
        return FALSE;
    *mode = (guint32) value;
    return TRUE;
}

int ctl_mkpath(int argc, char **argv)
{
    mode_t mask = umask(0);
    guint32 mode = 0777 & ~mask;
    gboolean verbose = FALSE;
    umask(mask);
    for (int option; (option = getopt(argc, argv, "vm:")) != -1;) {
        if (option == 'v') {
            verbose = TRUE;
        } else if (option != 'm') {
            return ctl_usage("mkpath");
        } else if (!parse_mode(optarg, &mode)) {
            ctl_complain("\"%s\" is not a mode; expected octal permission bits, like 0755", optarg);
            return CTL_USAGE;
        }
    }
    if (optind == argc)
        return ctl_usage("mkpath");
    int code = CTL_OK;
    for (int i = optind; i < argc; i++) {
        g_autoptr(GError) error = NULL;
        guint made = 0;
        if (!ctl_make_path(argv[i], mode, &made, &error))
            code = ctl_complain("%s", error->message);
        else if (verbose)
            g_print("%s: %u director%s made\n", argv[i], made, made == 1 ? "y" : "ies");
    }
    return code;
}
