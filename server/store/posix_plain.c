/* Attr.plain: whether mode bits are all there is to permissions on an object. A client that makes
 * changes in its cache decides by it what the caller may do; so what is not known is not plain. And
 * Attr.bare: whether it has no extended attributes at all, which mostly answers the former. */
#include <errno.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "server/store/posix_internal.h"

#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC 0x58465342
#endif

#ifdef SYS_getxattrat
#define SYS_GETXATTRAT SYS_getxattrat
#else
#define SYS_GETXATTRAT 464 /* of all machines but Alpha */
#endif

#ifdef SYS_listxattrat
#define SYS_LISTXATTRAT SYS_listxattrat
#else
#define SYS_LISTXATTRAT 465
#endif

/* What was found is good as long as the change time stands still; a change that comes within
 * one tick of the filesystem's clock would not move it. */
enum { TICK_NS_MAX = 40 * 1000 * 1000 };

enum { PATH_ROOM = 32 + PH_NAME_MAX_BYTES + 1 };

/* What was found out. */
struct found {
    bool plain, bare;
};

bool ph_plain_filesystem(int fd)
{
    struct statfs fs;
    if (fstatfs(fd, &fs) != 0)
        return false;
    switch ((unsigned long) fs.f_type) {
    case EXT4_SUPER_MAGIC: /* and its elders */
    case XFS_SUPER_MAGIC:
    case BTRFS_SUPER_MAGIC:
    case TMPFS_MAGIC:
    case F2FS_SUPER_MAGIC:
    case OVERLAYFS_SUPER_MAGIC:
        return true;
    default:
        return false;
    }
}

/* ext4 and its elders have a journal or not: the kernel shows the thread that writes it. */
static bool has_journal(int fd)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return false;
    g_autofree char *device = g_strdup_printf("/sys/dev/block/%u:%u", major(st.st_dev), minor(st.st_dev));
    g_autofree char *target = g_file_read_link(device, NULL);
    if (target == NULL)
        return false;
    g_autofree char *name = g_path_get_basename(target);
    g_autofree char *task = g_build_filename("/sys/fs/ext4", name, "journal_task", NULL);
    return access(task, F_OK) == 0;
}

bool ph_syncs_in_order(int fd)
{
    struct statfs fs;
    if (fstatfs(fd, &fs) != 0)
        return false;
    return (unsigned long) fs.f_type == XFS_SUPER_MAGIC ||
           ((unsigned long) fs.f_type == EXT4_SUPER_MAGIC && has_journal(fd));
}

bool ph_is_realtime(int fd)
{
    struct fsxattr attributes;
    return ioctl(fd, FS_IOC_FSGETXATTR, &attributes) != 0 || (attributes.fsx_xflags & FS_XFLAG_REALTIME) != 0;
}

dev_t ph_fsync_flushes(int fd)
{
    struct stat st;
    return ph_syncs_in_order(fd) && fstat(fd, &st) == 0 && !ph_is_realtime(fd) ? st.st_dev : 0;
}

static bool is_absent(ssize_t len)
{
    return len < 0 && (errno == ENODATA || errno == EOPNOTSUPP);
}

/* getxattrat(2), Linux 6.13, which the C library does not know yet; ENOSYS before. */
static ssize_t get_at(int dir, const char *name, const char *attribute)
{
    struct {
        uint64_t value;
        uint32_t size, flags;
    } nothing = {0};
    return syscall(SYS_GETXATTRAT, dir, name, AT_SYMLINK_NOFOLLOW, attribute, &nothing, sizeof nothing);
}

/* The object at PLACE as a path for system calls that know no directories. */
static void path_of(const struct ph_place *place, char path[static PATH_ROOM])
{
    ph_proc_path(place->dir->fd, path);
    if (place->name[0] == '\0')
        return;
    g_strlcat(path, "/", PATH_ROOM);
    g_strlcat(path, place->name, PATH_ROOM);
}

/* Whether the object at PLACE has no attribute NAME; a filesystem without such attributes has none. */
static bool lacks(const struct ph_place *place, bool directory, const char *name)
{
    char path[PATH_ROOM];
    if (directory || place->name[0] != '\0') {
        ssize_t len = get_at(place->dir->fd, directory ? "." : place->name, name);
        if (len >= 0 || errno != ENOSYS)
            return is_absent(len);
    }
    path_of(place, path);
    return is_absent(place->name[0] == '\0' ? getxattr(path, name, NULL, 0) : lgetxattr(path, name, NULL, 0));
}

/* Whether the object at PLACE surely has no attributes. */
static bool is_bare(const struct ph_place *place, bool directory)
{
    char path[PATH_ROOM];
    if (directory || place->name[0] != '\0') {
        long len = syscall(SYS_LISTXATTRAT, place->dir->fd, directory ? "." : place->name,
                           AT_SYMLINK_NOFOLLOW, NULL, 0);
        if (len >= 0 || errno != ENOSYS)
            return len == 0;
    }
    path_of(place, path);
    return (place->name[0] == '\0' ? listxattr(path, NULL, 0) : llistxattr(path, NULL, 0)) == 0;
}

/* Whether the directory tells names apart that differ in case only. */
static bool case_matters(int dir)
{
    int flags = 0;
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool known = ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0;
    bool unheard_of = !known && (errno == ENOTTY || errno == EOPNOTSUPP);
    close(fd);
    return known ? (flags & FS_CASEFOLD_FL) == 0 : unheard_of;
}

/* The thread acts as the server. */
static struct found look(struct ph_posix_store *store, struct ph_object *object)
{
    struct ph_place place;
    struct statx stx;
    if (ph_object_place(store, object, &place, &stx) != PH_ST_OK)
        return (struct found){0};
    bool directory = S_ISDIR(object->type), bare = is_bare(&place, directory);
    bool plain = bare || !store->acls || lacks(&place, directory, "system.posix_acl_access");
    if (plain && directory)
        plain = (bare || !store->acls || lacks(&place, true, "system.posix_acl_default")) &&
                case_matters(place.dir->fd);
    ph_place_clear(&place);
    return (struct found){plain, bare};
}

static struct found look_at_file(const struct ph_posix_store *store, int fd)
{
    bool bare = flistxattr(fd, NULL, 0) == 0;
    return (struct found){
        bare || !store->acls || is_absent(fgetxattr(fd, "system.posix_acl_access", NULL, 0)), bare};
}

/* Whether nothing was changed so lately that the same change time could stand for two states. */
static bool settled(uint64_t ctime_ns)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return ctime_ns + TICK_NS_MAX < (uint64_t) now.tv_sec * 1000000000u + (uint64_t) now.tv_nsec;
}

void ph_attr_plain(struct ph_posix_store *store, struct ph_object *object, const struct statx *stx, int fd,
                   Pohmel__Attr *attr)
{
    uint64_t ctime_ns = (uint64_t) stx->stx_ctime.tv_sec * 1000000000u + stx->stx_ctime.tv_nsec;
    uint64_t hindering = STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND;
    attr->plain = attr->bare = false;
    if (!store->acts_as_caller || !store->plain_filesystem || object->identity.dev != store->dev ||
        (stx->stx_attributes_mask & hindering) != hindering || (stx->stx_attributes & hindering) != 0)
        return;
    attr->plain = S_ISLNK(object->type);
    if (attr->plain)
        return;
    pthread_mutex_lock(&store->lock);
    bool known = object->plain_ctime_ns == ctime_ns;
    struct found found = {object->plain, object->bare};
    pthread_mutex_unlock(&store->lock);
    bool keep = !known && settled(ctime_ns);
    if (!known && fd >= 0 && S_ISREG(object->type)) {
        found = look_at_file(store, fd);
    } else if (!known) {
        bool lent = ph_creds_lend();
        found = look(store, object);
        ph_creds_return(lent);
    }
    attr->plain = found.plain;
    attr->bare = found.bare;
    if (!keep)
        return;
    pthread_mutex_lock(&store->lock);
    object->plain_ctime_ns = ctime_ns;
    object->plain = found.plain;
    object->bare = found.bare;
    pthread_mutex_unlock(&store->lock);
}
