#include "client/ctl/call.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

G_DEFINE_QUARK(ph - call - error, ph_call_error)

int ph_call_open(const char *path, GError **error)
{
    /* Not blocking: a fifo must not wait for a writer. */
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        g_set_error(error, PH_CALL_ERROR, errno, "cannot open %s: %s", path, g_strerror(errno));
    return fd;
}

bool ph_call_is_pohmel(int fd, const char *path, GError **error)
{
    struct statfs filesystem;
    struct ph_ioc_status *control = g_new0(struct ph_ioc_status, 1);
    /* Others might understand our numbers as theirs: FUSE mounts only are asked. */
    bool ours = fstatfs(fd, &filesystem) == 0 && filesystem.f_type == FUSE_SUPER_MAGIC &&
                ioctl(fd, PH_IOC_STATUS, control) == 0;
    g_free(control);
    if (!ours)
        g_set_error(error, PH_CALL_ERROR, ENOTTY, "%s is not on a Pohmel mount", path);
    return ours;
}

int ph_call_open_about(const char *path, uint64_t *object, GError **error)
{
    struct stat found;
    g_autofree char *above = g_path_get_dirname(path);
    if (lstat(path, &found) != 0) {
        g_set_error(error, PH_CALL_ERROR, errno, "%s: %s", path, g_strerror(errno));
        return -1;
    }
    *object = found.st_ino;
    int fd = ph_call_open(S_ISDIR(found.st_mode) ? path : above, error);
    if (fd < 0 || ph_call_is_pohmel(fd, path, error))
        return fd;
    close(fd);
    return -1;
}

/* What came of an ioctl on PATH that returned RESULT, DONE and TEXT being its own words. */
static bool outcome(int result, const char *path, int32_t done, char text[PH_IOC_TEXT_BYTES], GError **error)
{
    if (result == 0 && done == 0)
        return true;
    if (result == 0) {
        text[PH_IOC_TEXT_BYTES - 1] = '\0';
        g_set_error(error, PH_CALL_ERROR, done, "%s: %s", path, text[0] ? text : g_strerror(done));
    } else if (errno == ENOTTY) {
        g_set_error(error, PH_CALL_ERROR, ENOTTY, "%s is not on a Pohmel mount", path);
    } else {
        g_set_error(error, PH_CALL_ERROR, errno, "%s: %s", path, g_strerror(errno));
    }
    return false;
}

bool ph_call_flush(int fd, const char *path, struct ph_ioc_flush *control, GError **error)
{
    int result = ioctl(fd, PH_IOC_FLUSH, control);
    return outcome(result, path, control->error, control->text, error);
}

bool ph_call_mkpath(int fd, const char *path, struct ph_ioc_mkpath *control, GError **error)
{
    int result = ioctl(fd, PH_IOC_MKPATH, control);
    return outcome(result, path, control->error, control->text, error);
}

bool ph_call_rmtree(int fd, const char *path, struct ph_ioc_rmtree *control, GError **error)
{
    int result = ioctl(fd, PH_IOC_RMTREE, control);
    return outcome(result, path, control->error, control->text, error);
}

bool ph_call_leases(int fd, const char *path, struct ph_ioc_leases *control, GError **error)
{
    int result = ioctl(fd, PH_IOC_LEASES, control);
    if (control->length > sizeof(control->records))
        control->length = sizeof(control->records);
    return outcome(result, path, control->error, control->text, error);
}

bool ph_call_state(int fd, const char *path, struct ph_ioc_state *control, GError **error)
{
    int result = ioctl(fd, PH_IOC_STATE, control);
    return outcome(result, path, control->error, control->text, error);
}

bool ph_call_status(int fd, const char *path, struct ph_ioc_status *control, GError **error)
{
    char none[PH_IOC_TEXT_BYTES] = "";
    int result = ioctl(fd, PH_IOC_STATUS, control);
    control->server[sizeof(control->server) - 1] = '\0';
    if (control->length > sizeof(control->text))
        control->length = sizeof(control->text);
    return outcome(result, path, 0, none, error);
}
