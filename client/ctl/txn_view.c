/* A view of a directory for one command: overlayfs, mounted over the directory in a mount namespace that
 * nobody else sees. What the command changes is kept beside it, and gone with the namespace. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "client/ctl/call.h"
#include "client/ctl/mounts.h"
#include "client/ctl/txn.h"
#include "runtime/base/limits.h"

enum { MARK_BYTES = PATH_MAX, LOWER_PATIENCE_MS = 20000, LOWER_LOOK_MS = 5, LOWER_END_MS = 2000 };

static bool fail(GError **error, const char *path, const char *what)
{
    int code = errno;
    g_set_error(error, PH_CALL_ERROR, code, "%s: cannot %s: %s", path, what, g_strerror(code));
    return false;
}

/* --- Namespaces --- */

static bool write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    ssize_t len = (ssize_t) strlen(text);
    bool written = fd >= 0 && write(fd, text, (size_t) len) == len;
    if (fd >= 0)
        close(fd);
    return written;
}

/* Who may not mount may in a user namespace of their own, where they are who they were. What others unmount
 * meanwhile, where they share their mounts, is not kept here. */
static bool leave(const char *path, bool *own_users, GError **error)
{
    uid_t uid = geteuid();
    gid_t gid = getegid();
    *own_users = false;
    if (unshare(CLONE_NEWNS) != 0) {
        if (errno != EPERM || unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
            return fail(error, path, "make a mount namespace of its own");
        *own_users = true;
        g_autofree char *users = g_strdup_printf("%u %u 1", uid, uid);
        g_autofree char *groups = g_strdup_printf("%u %u 1", gid, gid);
        if (!write_file("/proc/self/setgroups", "deny") || !write_file("/proc/self/uid_map", users) ||
            !write_file("/proc/self/gid_map", groups))
            return fail(error, path, "make a user namespace of its own");
    }
    return mount("none", "/", NULL, MS_REC | MS_SLAVE, NULL) == 0 ||
           fail(error, path, "make a mount namespace of its own");
}

/* --- Where changes are kept --- */

/* A new directory, in memory or below SCRATCH. Its descriptor, or -1 with ERROR. */
static int make_store(struct ctl_view *view, const char *scratch, GError **error)
{
    g_autofree char *path = g_build_filename(scratch != NULL ? scratch : "/tmp", "pohmel-txn.XXXXXX", NULL);
    if (mkdtemp(path) == NULL) {
        fail(error, path, "make a directory");
        return -1;
    }
    if (scratch != NULL)
        view->kept = realpath(path, NULL);
    bool mounted =
        scratch == NULL && mount("pohmel-txn", path, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0700") == 0;
    int store = scratch != NULL || mounted ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (store < 0)
        fail(error, path, "keep changes there");
    return store;
}

/* The store and the mount below the view are in use where they are; they need no names any more. ON_DISK: the
 * store keeps its own. */
static void hide_store(int store, bool on_disk)
{
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof(link), on_disk ? "/proc/self/fd/%d/lower" : "/proc/self/fd/%d", store);
    g_autofree char *real = realpath(link, path) != NULL ? g_strdup(path) : NULL;
    if (real != NULL && umount2(real, MNT_DETACH) == 0)
        rmdir(real);
}

/* The view begins with the attributes of the directory; as far as they can be given away. */
static bool like_directory(struct ctl_view *view, GError **error)
{
    struct stat found;
    if (fstat(view->lower, &found) != 0)
        return fail(error, view->path, "look at it");
    if (fchown(view->upper, found.st_uid, found.st_gid) == 0 || found.st_uid == geteuid())
        fchmod(view->upper, found.st_mode & ALLPERMS);
    /* Lists that are inherited matter to what is made in it; what cannot be kept here is none of them. */
    ctl_txn_copy_xattrs(view, view->upper, view->lower, view->path, NULL);
    const struct timespec times[] = {found.st_atim, found.st_mtim};
    if (futimens(view->upper, times) != 0 || fstat(view->upper, &view->first) != 0)
        return fail(error, view->path, "make a view of it");
    view->keeps_attributes = fsetxattr(view->upper, "user.pohmel", "", 0, 0) == 0;
    fremovexattr(view->upper, "user.pohmel");
    return true;
}

/* --- The view --- */

static bool overlay(const struct ctl_view *view, int store, bool own_users, GError **error)
{
    char below[PATH_MAX];
    /* Read-only, in place of the mount: what the view does not cover cannot be changed. */
    if (own_users) {
        snprintf(below, sizeof(below), "/proc/self/fd/%d/lower", store);
        if (mount(below, view->root, NULL, MS_BIND, NULL) != 0)
            return fail(error, view->root, "make a view of it");
    }
    /* By a descriptor: options know no names with commas in them. */
    snprintf(below, sizeof(below), "lower%s", view->path + strlen(view->root));
    int lower = openat(store, below, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (lower < 0)
        return fail(error, view->path, "make a view of it");
    g_autofree char *options =
        g_strdup_printf("lowerdir=/proc/self/fd/%d,upperdir=/proc/self/fd/%d/upper,workdir=/proc/self/fd/%d/"
                        "work,index=off,%s",
                        lower, store, store, own_users ? "userxattr" : "redirect_dir=on,metacopy=off");
    g_autofree char *quick = g_strconcat(options, ",volatile", NULL);
    bool mounted = mount("pohmel-txn", view->path, "overlay", 0, quick) == 0 ||
                   mount("pohmel-txn", view->path, "overlay", 0, options) == 0 ||
                   fail(error, view->path,
                        errno == ENODEV ? "make a view of it (this system has no overlayfs)"
                                        : "make a view of it with overlayfs");
    close(lower);
    return mounted;
}

/* Of the mount that PATH lies in: its root, in view->root, and what is mounted there, which is to be freed.
 * NULL with ERROR. */
static char *find_mount(struct ctl_view *view, const char *path, GError **error)
{
    struct stat here, above;
    view->path = realpath(path, NULL);
    if (view->path == NULL || stat(view->path, &here) != 0) {
        fail(error, path, "use it");
        return NULL;
    }
    view->root = strdup(view->path);
    for (;;) {
        g_autofree char *parent = g_path_get_dirname(view->root);
        if (stat(parent, &above) != 0 || above.st_dev != here.st_dev || strcmp(parent, view->root) == 0)
            break;
        free(view->root);
        view->root = strdup(parent);
        here = above;
    }
    g_autoptr(GPtrArray) mounts = ph_mounts_read(error);
    const struct ph_mount_entry *entry = mounts != NULL ? ph_mounts_at(mounts, view->root) : NULL;
    if (entry != NULL && ph_mount_is_pohmel(entry) && here.st_ino == PH_OBJECT_ROOT)
        return g_strdup(entry->source);
    if (mounts != NULL)
        g_set_error(error, PH_CALL_ERROR, ENOTTY, "%s: %s", path,
                    entry != NULL && ph_mount_is_pohmel(entry) ? "only a part of a mount is bound there"
                                                               : "it is not on a Pohmel mount");
    return NULL;
}

/* The program that mounts, beside this one or where programs are. To be freed. */
static char *mount_program(void)
{
    char self[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
    self[len > 0 ? len : 0] = '\0';
    g_autofree char *directory = g_path_get_dirname(self);
    g_autofree char *beside = g_build_filename(directory, "pohmelfs", NULL);
    return access(beside, X_OK) == 0 ? g_steal_pointer(&beside) : g_strdup("pohmelfs");
}

/* What this process may do in its own user namespace, the program that it becomes may as well: mount. */
static void hand_on(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3];
    if (syscall(SYS_capget, &header, sets) != 0)
        return;
    sets[0].inheritable |= 1U << CAP_SYS_ADMIN;
    if (syscall(SYS_capset, &header, sets) == 0)
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SYS_ADMIN, 0, 0);
}

/* Becomes the program that mounts SOURCE on "lower" in STORE; what it says goes to SAYS. */
static G_NORETURN void serve_lower(int store, const char *source, pid_t parent, int says)
{
    g_autofree char *program = mount_program();
    if (geteuid() != 0)
        hand_on();
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    dup2(says, STDOUT_FILENO);
    dup2(says, STDERR_FILENO);
    if (getppid() == parent && setsid() >= 0 && fchdir(store) == 0)
        execlp(program, program, "-f", "-o", "ro,nocache", source, "lower", (char *) NULL);
    dprintf(STDERR_FILENO, "%s: %s", program, g_strerror(errno));
    _exit(EXIT_FAILURE);
}

static bool is_mounted(int store)
{
    struct statfs filesystem;
    int fd = openat(store, "lower", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool mounted = fd >= 0 && fstatfs(fd, &filesystem) == 0 && filesystem.f_type == FUSE_SUPER_MAGIC;
    if (fd >= 0)
        close(fd);
    return mounted;
}

/* Waits for the mount; false when its program ended, or takes too long. */
static bool wait_for_lower(struct ctl_view *view, int store)
{
    for (unsigned waited = 0; view->server > 0 && waited < LOWER_PATIENCE_MS; waited += LOWER_LOOK_MS) {
        if (is_mounted(store))
            return true;
        if (waitpid(view->server, NULL, WNOHANG) == view->server)
            view->server = -1;
        else
            usleep(LOWER_LOOK_MS * 1000);
    }
    return false;
}

/* Mounts SOURCE on "lower" in STORE, for reading; the mount ends with this process. */
static bool mount_lower(struct ctl_view *view, int store, const char *source, GError **error)
{
    char words[512] = "it takes too long";
    int says[2];
    pid_t parent = getpid();
    if (pipe2(says, O_CLOEXEC) != 0)
        return fail(error, view->path, "mount it once more");
    view->server = fork();
    if (view->server == 0)
        serve_lower(store, source, parent, says[1]);
    close(says[1]);
    bool mounted = wait_for_lower(view, store);
    if (!mounted && view->server < 0) {
        ssize_t len = read(says[0], words, sizeof(words) - 1);
        words[len > 0 ? len : 0] = '\0';
    }
    close(says[0]);
    if (!mounted)
        g_set_error(error, PH_CALL_ERROR, EIO, "%s: cannot mount %s once more, for the command's view: %s",
                    view->path, source, g_strstrip(words));
    return mounted;
}

static bool make_directories(int store)
{
    return mkdirat(store, "upper", 0755) == 0 && mkdirat(store, "work", 0755) == 0 &&
           mkdirat(store, "lower", 0755) == 0;
}

bool ctl_view_make(struct ctl_view *view, const char *path, const char *scratch, GError **error)
{
    bool own_users;
    *view = (struct ctl_view){.lower = -1, .upper = -1, .server = -1};
    g_autofree char *source = find_mount(view, path, error);
    if (source == NULL || !leave(view->path, &own_users, error))
        return false;
    /* Directories of others cannot be copied without privileges: then the view has none of those above. */
    if (!own_users) {
        free(view->path);
        view->path = strdup(view->root);
    }
    view->bound = own_users;
    view->attribute = own_users ? "user.overlay." : "trusted.overlay.";
    view->lower = open(view->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (view->lower < 0)
        return fail(error, view->path, "open it");
    if (!ph_call_is_pohmel(view->lower, view->path, error))
        return false;
    int store = make_store(view, scratch, error);
    bool made = store >= 0 && (make_directories(store) || fail(error, view->path, "keep changes"));
    view->upper = made ? openat(store, "upper", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    made = made && mount_lower(view, store, source, error) && like_directory(view, error) &&
           overlay(view, store, own_users, error);
    if (store >= 0)
        hide_store(store, scratch != NULL);
    if (store >= 0)
        close(store);
    view->made = made;
    clock_gettime(CLOCK_REALTIME, &view->begun);
    return made;
}

bool ctl_view_end(const struct ctl_view *view, GError **error)
{
    if (mount(NULL, view->path, NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0)
        return true;
    if (errno != EBUSY)
        return fail(error, view->path, "end the view of it");
    g_set_error(error, PH_CALL_ERROR, EBUSY,
                "%s: a process that the command left behind is still writing there", view->path);
    return false;
}

/* Everything below FD, which is on one filesystem. */
static void remove_below(const char *path)
{
    char *arguments[] = {"rm", "-rf", "--one-file-system", "--", (char *) path, NULL};
    g_spawn_sync(NULL, arguments, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, NULL, NULL);
}

/* The mount below the view ends when nobody uses that; what still does is not waited for. */
static void end_lower(const struct ctl_view *view)
{
    for (unsigned waited = 0; view->server > 0; waited += LOWER_LOOK_MS) {
        if (waitpid(view->server, NULL, WNOHANG) != 0)
            return;
        if (waited == LOWER_END_MS)
            kill(view->server, SIGTERM);
        if (waited > 2 * LOWER_END_MS)
            return;
        usleep(LOWER_LOOK_MS * 1000);
    }
}

void ctl_view_clear(struct ctl_view *view)
{
    if (view->made)
        umount2(view->path, MNT_DETACH);
    if (view->made && view->bound)
        umount2(view->root, MNT_DETACH);
    end_lower(view);
    if (view->upper >= 0)
        close(view->upper);
    if (view->lower >= 0)
        close(view->lower);
    if (view->kept != NULL)
        remove_below(view->kept);
    free(view->kept);
    free(view->path);
    free(view->root);
}

char *ctl_view_mark(const struct ctl_view *view, int fd, const char *name)
{
    char value[MARK_BYTES + 1];
    g_autofree char *whole = g_strconcat(view->attribute, name, NULL);
    ssize_t len = fgetxattr(fd, whole, value, MARK_BYTES);
    return len > 0 ? g_strndup(value, (gsize) len) : NULL;
}
