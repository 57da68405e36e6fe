/* Data and extended attributes of what a transaction publishes. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "client/ctl/call.h"
#include "client/ctl/txn.h"

enum { BUFFER_BYTES = 1 << 20, NAMES_BYTES = 64 * 1024, VALUE_BYTES = 64 * 1024 };

static bool fail(GError **error, const char *path, const char *what)
{
    int code = errno;
    g_set_error(error, PH_CALL_ERROR, code, "%s: cannot %s: %s", path, what, g_strerror(code));
    return false;
}

/* --- Data --- */

static bool copy_range(int to, int from, off_t at, off_t end, char *buffer, const char *path, GError **error)
{
    while (at < end) {
        ssize_t got = pread(from, buffer, (size_t) MIN(end - at, BUFFER_BYTES), at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail(error, path, "read what was written");
        if (got == 0)
            return true;
        for (ssize_t done = 0; done < got;) {
            ssize_t put = pwrite(to, buffer + done, (size_t) (got - done), at + done);
            if (put < 0 && errno != EINTR)
                return fail(error, path, "write to the mount");
            done += put > 0 ? put : 0;
        }
        at += got;
    }
    return true;
}

/* Holes stay holes. */
static bool copy_data(int to, int from, off_t size, const char *path, GError **error)
{
    g_autofree char *buffer = g_malloc(BUFFER_BYTES);
    for (off_t at = 0; at < size;) {
        off_t data = lseek(from, at, SEEK_DATA);
        if (data < 0 && errno == ENXIO)
            break;
        off_t hole = data >= 0 ? lseek(from, data, SEEK_HOLE) : -1;
        if (data < 0 || hole < 0)
            data = at, hole = size;
        if (!copy_range(to, from, data, hole, buffer, path, error))
            return false;
        at = hole;
    }
    return size == 0 || ftruncate(to, size) == 0 || fail(error, path, "write to the mount");
}

bool ctl_txn_differ(int a, int b, const char *path, bool *differ, GError **error)
{
    g_autofree char *one = g_malloc(BUFFER_BYTES), *other = g_malloc(BUFFER_BYTES);
    *differ = false;
    for (off_t at = 0;;) {
        ssize_t n = pread(a, one, BUFFER_BYTES, at);
        if (n < 0)
            return fail(error, path, "read it");
        for (ssize_t have = 0; have < n;) {
            ssize_t m = pread(b, other + have, (size_t) (n - have), at + have);
            if (m < 0)
                return fail(error, path, "read it");
            *differ = m == 0;
            if (m == 0)
                return true;
            have += m;
        }
        *differ = n > 0 && memcmp(one, other, (size_t) n) != 0;
        if (n == 0 || *differ)
            return true;
        at += n;
    }
}

/* --- Extended attributes --- */

/* Names of FD's, ended by NUL each; their bytes in *LEN. */
static char *list(int fd, size_t *len)
{
    g_autofree char *names = g_malloc(NAMES_BYTES);
    ssize_t got = fd >= 0 ? flistxattr(fd, names, NAMES_BYTES) : 0;
    *len = got > 0 ? (size_t) got : 0;
    return g_steal_pointer(&names);
}

/* What belongs to a file, and not to the filesystem that it is on. */
static bool is_kept(const struct ctl_view *view, const char *name)
{
    return !g_str_has_prefix(name, view->attribute) &&
           (g_str_has_prefix(name, "user.") || g_str_has_prefix(name, "trusted.") ||
            g_str_has_prefix(name, "system.posix_acl_") || strcmp(name, "security.capability") == 0);
}

/* Whether TO has NAME with the same value. */
static bool has_same(int to, const char *name, const char *value, ssize_t len)
{
    g_autofree char *there = g_malloc(VALUE_BYTES);
    return to >= 0 && fgetxattr(to, name, there, VALUE_BYTES) == len &&
           memcmp(there, value, (size_t) len) == 0;
}

static bool set(struct ctl_txn *txn, uint32_t subject, const char *name, const char *value, ssize_t len,
                const char *path, GError **error)
{
    g_autofree struct ph_ioc_txn *step = g_new0(struct ph_ioc_txn, 1);
    if (len > (ssize_t) sizeof(step->value)) {
        errno = E2BIG;
        return fail(error, path, "set an extended attribute of that size in a transaction");
    }
    ctl_txn_name(step, value != NULL ? PH_IOC_TXN_SETXATTR : PH_IOC_TXN_REMOVEXATTR, 0, name);
    step->subject = subject;
    if (value != NULL)
        ctl_txn_value(step, value, (size_t) len);
    return ctl_txn_step(txn, step, path, error);
}

bool ctl_txn_xattrs(struct ctl_txn *txn, uint32_t subject, int from, int to, bool withdraw, const char *path,
                    GError **error)
{
    size_t len;
    g_autofree char *names = list(from, &len), *value = g_malloc(VALUE_BYTES);
    for (const char *name = names; name < names + len; name += strlen(name) + 1) {
        ssize_t got = is_kept(txn->view, name) ? fgetxattr(from, name, value, VALUE_BYTES) : -1;
        if (got >= 0 && !has_same(to, name, value, got) && !set(txn, subject, name, value, got, path, error))
            return false;
    }
    g_autofree char *old = list(withdraw ? to : -1, &len);
    for (const char *name = old; name < old + len; name += strlen(name) + 1) {
        bool gone = is_kept(txn->view, name) && fgetxattr(from, name, NULL, 0) < 0 && errno == ENODATA;
        if (g_str_has_prefix(name, "user.") && !txn->view->keeps_attributes)
            gone = false;
        if (gone && !set(txn, subject, name, NULL, 0, path, error))
            return false;
    }
    return true;
}

bool ctl_txn_copy_xattrs(const struct ctl_view *view, int to, int from, const char *path, GError **error)
{
    size_t len;
    g_autofree char *names = list(from, &len), *value = g_malloc(VALUE_BYTES);
    for (const char *name = names; name < names + len; name += strlen(name) + 1) {
        ssize_t got = is_kept(view, name) ? fgetxattr(from, name, value, VALUE_BYTES) : -1;
        if (got >= 0 && fsetxattr(to, name, value, (size_t) got, 0) != 0)
            return fail(error, path, "set its extended attributes on the mount");
    }
    return true;
}

/* --- A whole file --- */

static bool copy_attributes(const struct ctl_view *view, int to, int from, const struct stat *found,
                            const char *path, GError **error)
{
    struct stat made;
    const struct timespec times[] = {found->st_atim, found->st_mtim};
    if (fstat(to, &made) != 0)
        return fail(error, path, "look at what was made on the mount");
    if ((made.st_uid != found->st_uid || made.st_gid != found->st_gid) &&
        fchown(to, found->st_uid, found->st_gid) != 0)
        return fail(error, path, "set its owner on the mount");
    if (fchmod(to, found->st_mode & ALLPERMS) != 0)
        return fail(error, path, "set its mode on the mount");
    return ctl_txn_copy_xattrs(view, to, from, path, error) &&
           (futimens(to, times) == 0 || fail(error, path, "set its times on the mount"));
}

int ctl_txn_copy(const struct ctl_view *view, int place, int from, const struct stat *found, const char *path,
                 GError **error)
{
    int to = openat(place, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (to < 0) {
        fail(error, path,
             errno == EMFILE ? "have so many new files open; raise the limit (ulimit -Hn)"
                             : "make a file on the mount");
        return -1;
    }
    if (copy_data(to, from, found->st_size, path, error) &&
        copy_attributes(view, to, from, found, path, error))
        return to;
    close(to);
    return -1;
}
