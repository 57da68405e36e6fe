/* Handles of files are the business of each filesystem. Those of a few are plain
 * to read; a look at the root shows whether this kernel still writes them so. Else
 * the kernel is asked, which costs some microseconds for each event, and fails
 * for a file that is gone. */
#include "server/watch_volume.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

enum {
    HANDLE_INO32_GEN = 1,    /* FILEID_INO32_GEN; tmpfs uses it for a layout of its own */
    HANDLE_XFS_INO64 = 0x81, /* the same of XFS, with 64 bits */
    HANDLE_BTRFS = 0x4d,     /* FILEID_BTRFS_WITHOUT_PARENT: inode number and subvolume, 64 bits each */
    HANDLE_BYTES_MAX = 128,  /* MAX_HANDLE_SZ of the kernel */
};

enum layout {
    LAYOUT_OTHER = 0, /* ask the kernel */
    LAYOUT_INO,       /* the inode number first: 32 bits, or 64 where the type says so */
    LAYOUT_TMPFS,     /* generation, then two halves of the inode number */
    LAYOUT_BTRFS,     /* the same for files of the volume's own subvolume; others have devices of their own */
};

/* Filesystems that only this machine changes, all of whose changes the kernel tells. */
static const struct known {
    const char *type;
    enum layout layout;
} known_types[] = {
    {"ext2", LAYOUT_INO}, {"ext3", LAYOUT_INO},    {"ext4", LAYOUT_INO},    {"xfs", LAYOUT_INO},
    {"f2fs", LAYOUT_INO}, {"tmpfs", LAYOUT_TMPFS}, {"btrfs", LAYOUT_BTRFS},
};

struct ph_volume {
    enum layout layout;
    int32_t fsid[2];
    uint64_t dev;
    uint64_t subvolume; /* number of that on which the mount lies, for LAYOUT_BTRFS */
    int fd;             /* to ask the kernel by; else -1, so that the filesystem can be unmounted */
};

/* ---- Mounts ---- */

static void mount_free(void *data)
{
    struct ph_mount *mount = data;

    g_free(mount->point);
    g_free(mount->type);
    g_free(mount);
}

static struct ph_mount *mount_parse(const char *line)
{
    g_auto(GStrv) fields = g_strsplit(line, " ", -1);
    guint dash = 6; /* id, parent, device, root, point, options; then some that may be missing */
    struct ph_mount *mount;

    if (g_strv_length(fields) < dash)
        return NULL;
    while (fields[dash] != NULL && strcmp(fields[dash], "-") != 0)
        dash++;
    if (fields[dash] == NULL || fields[dash + 1] == NULL)
        return NULL;
    mount = g_new0(struct ph_mount, 1);
    mount->id = (unsigned) strtoul(fields[0], NULL, 10);
    mount->point = g_strcompress(fields[4]); /* blanks are written \040 */
    mount->type = g_strdup(fields[dash + 1]);
    return mount;
}

GPtrArray *ph_mounts_parse(const char *text)
{
    GPtrArray *mounts = g_ptr_array_new_with_free_func(mount_free);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

    for (char **line = lines; *line != NULL; line++) {
        struct ph_mount *mount = mount_parse(*line);

        if (mount != NULL)
            g_ptr_array_add(mounts, mount);
    }
    return mounts;
}

/* ---- Volumes ---- */

static bool read_btrfs(const struct ph_volume *volume, const struct ph_file_id *file, uint64_t *ino)
{
    uint64_t words[2];

    if (file->handle_type != HANDLE_BTRFS || file->handle_bytes < sizeof words)
        return false;
    memcpy(words, file->handle, sizeof words);
    *ino = words[0];
    return words[1] == volume->subvolume;
}

static bool read_ino64(const struct ph_file_id *file, uint64_t *ino)
{
    if (file->handle_bytes < sizeof *ino)
        return false;
    memcpy(ino, file->handle, sizeof *ino);
    return true;
}

static bool read_plain(const struct ph_volume *volume, const struct ph_file_id *file, uint64_t *ino)
{
    uint32_t words[3];
    size_t needed = volume->layout == LAYOUT_TMPFS ? sizeof words : sizeof words[0];

    if (volume->layout == LAYOUT_BTRFS)
        return read_btrfs(volume, file, ino);
    if (volume->layout == LAYOUT_INO && file->handle_type == HANDLE_XFS_INO64)
        return read_ino64(file, ino);
    if (volume->layout == LAYOUT_OTHER || file->handle_type != HANDLE_INO32_GEN ||
        file->handle_bytes < needed)
        return false;
    memcpy(words, file->handle, needed);
    *ino = volume->layout == LAYOUT_TMPFS ? words[1] | (uint64_t) words[2] << 32 : words[0];
    return true;
}

/* A handle with room for all that the kernel may write. */
union handle {
    struct file_handle head;
    char room[sizeof(struct file_handle) + HANDLE_BYTES_MAX];
};

/* Whether the layout is still as it was when this was written. */
static bool layout_holds(struct ph_volume *volume, const char *path, const struct statx *stx)
{
    union handle handle = {.head = {.handle_bytes = HANDLE_BYTES_MAX}};
    int mount_id;
    uint64_t ino;

    if (name_to_handle_at(AT_FDCWD, path, &handle.head, &mount_id, 0) != 0)
        return false;
    struct ph_file_id file = {
        .handle_type = handle.head.handle_type,
        .handle_bytes = handle.head.handle_bytes,
        .handle = handle.head.f_handle,
    };
    if (volume->layout == LAYOUT_BTRFS && file.handle_bytes >= 2 * sizeof volume->subvolume)
        memcpy(&volume->subvolume, file.handle + sizeof volume->subvolume, sizeof volume->subvolume);
    return read_plain(volume, &file, &ino) && ino == stx->stx_ino;
}

static bool look(struct ph_volume *volume, const char *path)
{
    struct statfs space;
    struct statx stx;

    if (statfs(path, &space) != 0 || statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_INO, &stx) != 0)
        return false;
    memcpy(volume->fsid, &space.f_fsid, sizeof volume->fsid);
    volume->dev = makedev(stx.stx_dev_major, stx.stx_dev_minor);
    if (!layout_holds(volume, path, &stx))
        volume->layout = LAYOUT_OTHER;
    if (volume->layout != LAYOUT_OTHER && volume->layout != LAYOUT_BTRFS)
        return true;
    volume->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    return volume->fd >= 0;
}

struct ph_volume *ph_volume_new(const struct ph_mount *mount, const char *path, const char **why)
{
    const struct known *known = known_types, *end = known_types + G_N_ELEMENTS(known_types);
    struct ph_volume *volume;

    while (known < end && strcmp(known->type, mount->type) != 0)
        known++;
    if (known == end) {
        *why = "not a local filesystem of a kind that tells all changes";
        return NULL;
    }
    volume = g_new0(struct ph_volume, 1);
    volume->layout = known->layout;
    volume->fd = -1;
    if (!look(volume, path)) {
        *why = g_strerror(errno);
        g_free(volume);
        return NULL;
    }
    return volume;
}

void ph_volume_free(struct ph_volume *volume)
{
    if (volume != NULL && volume->fd >= 0)
        close(volume->fd);
    g_free(volume);
}

bool ph_volume_same(const struct ph_volume *volume, const struct ph_volume *other)
{
    return volume->dev == other->dev && memcmp(volume->fsid, other->fsid, sizeof volume->fsid) == 0;
}

bool ph_volume_has(const struct ph_volume *volume, const struct ph_file_id *file)
{
    return memcmp(volume->fsid, file->fsid, sizeof volume->fsid) == 0;
}

/* By opening it: works for whatever can be exported, as long as the file is there. */
static bool ask(const struct ph_volume *volume, const struct ph_file_id *file, uint64_t *dev, uint64_t *ino)
{
    union handle handle = {.head = {.handle_type = file->handle_type, .handle_bytes = file->handle_bytes}};
    struct statx stx;

    if (volume->fd < 0 || file->handle_bytes > HANDLE_BYTES_MAX)
        return false;
    memcpy(handle.room + sizeof handle.head, file->handle, file->handle_bytes);
    int fd = open_by_handle_at(volume->fd, &handle.head, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool there = statx(fd, "", AT_EMPTY_PATH, STATX_INO, &stx) == 0;
    close(fd);
    if (there) {
        *dev = makedev(stx.stx_dev_major, stx.stx_dev_minor);
        *ino = stx.stx_ino;
    }
    return there;
}

bool ph_volume_identify(const struct ph_volume *volume, const struct ph_file_id *file, uint64_t *dev,
                        uint64_t *ino)
{
    *dev = volume->dev;
    return read_plain(volume, file, ino) || ask(volume, file, dev, ino);
}
