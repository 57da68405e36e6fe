#include "server/store/tests/power_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/loop.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define BOOT_ID "/proc/sys/kernel/random/boot_id"

/* Of both filesystems. */
#define SHUTDOWN _IOR('X', 125, uint32_t)

enum {
    NO_LOG_FLUSH = 2,
    MIB = 1024 * 1024,
    EXT4_MIB = 128,
    XFS_MIB = 320, /* the least that it takes */
    TRIES = 600,
    AGAIN_US = 100 * 1000,
    LOOP_MAJOR = 7
};

struct power_disk {
    char *kind, *top, *image, *path, *device;
    int loop; /* it is attached as long as this is open, or it is mounted */
};

static void boot_anew(void)
{
    g_autofree char *id = g_uuid_string_random(), *line = g_strconcat(id, "\n", NULL);
    FILE *file = fopen(BOOT_ID, "w"); /* a file of ours is mounted there */
    g_assert_nonnull(file);
    g_assert_cmpint(fputs(line, file), >=, 0);
    g_assert_cmpint(fclose(file), ==, 0);
}

bool power_machine(void)
{
    static bool done;
    char path[] = "/tmp/ph-boot-XXXXXX";
    if (done)
        return true;
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        return false;
    int fd = mkstemp(path);
    g_assert_cmpint(fd, >=, 0);
    close(fd);
    done = mount(path, BOOT_ID, NULL, MS_BIND, NULL) == 0;
    unlink(path); /* the mount has it */
    if (done)
        boot_anew();
    return done;
}

/* A loop device on FILE; others may be looking for one as well. */
static bool attach(struct power_disk *disk, int file)
{
    struct loop_config config = {.fd = (uint32_t) file, .info.lo_flags = LO_FLAGS_AUTOCLEAR};
    int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    disk->loop = -1;
    for (int i = 0; i < TRIES && control >= 0 && disk->loop < 0; i++) {
        int number = ioctl(control, LOOP_CTL_GET_FREE);
        g_free(disk->device);
        disk->device = g_strdup_printf("/dev/loop%d", number);
        disk->loop = number >= 0 ? open(disk->device, O_RDWR | O_CLOEXEC) : -1;
        if (disk->loop >= 0 && ioctl(disk->loop, LOOP_CONFIGURE, &config) != 0) {
            close(disk->loop);
            disk->loop = -1;
            if (errno != EBUSY)
                break;
        }
    }
    if (control >= 0)
        close(control);
    return disk->loop >= 0;
}

static bool image_make(struct power_disk *disk)
{
    bool ext4 = strcmp(disk->kind, "ext4") == 0;
    g_autofree char *make = g_strconcat("mkfs.", disk->kind, NULL);
    const char *argv[] = {make, "-q", ext4 ? "-F" : "-f", disk->image, NULL};
    int failed = 0, fd = open(disk->image, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, (off_t) (ext4 ? EXT4_MIB : XFS_MIB) * MIB), ==, 0);
    bool made = g_spawn_sync(NULL, (char **) argv, NULL,
                             G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL | G_SPAWN_STDERR_TO_DEV_NULL,
                             NULL, NULL, NULL, NULL, &failed, NULL) &&
                failed == 0 && attach(disk, fd);
    close(fd);
    return made;
}

struct power_disk *power_disk_new(const char *kind, const char **why)
{
    *why = "needs root, loop devices and mkfs of ext4 and xfs";
    if (geteuid() != 0 || !power_machine())
        return NULL;
    struct power_disk *disk = g_new0(struct power_disk, 1);
    const char *base = g_getenv("PH_TEST_DIR");
    disk->kind = g_strdup(kind);
    disk->loop = -1;
    disk->top = g_build_filename(base != NULL ? base : g_get_tmp_dir(), "ph-power-XXXXXX", NULL);
    g_assert_nonnull(g_mkdtemp(disk->top));
    disk->image = g_build_filename(disk->top, "image", NULL);
    disk->path = g_build_filename(disk->top, "disk", NULL);
    g_assert_cmpint(mkdir(disk->path, 0755), ==, 0);
    if (image_make(disk) && mount(disk->device, disk->path, kind, 0, NULL) == 0) {
        chmod(disk->top, 0755);
        return disk;
    }
    power_disk_free(disk);
    return NULL;
}

void power_disk_free(struct power_disk *disk)
{
    umount2(disk->path, MNT_DETACH);
    if (disk->loop >= 0)
        close(disk->loop);
    unlink(disk->image);
    rmdir(disk->path);
    rmdir(disk->top);
    g_free(disk->kind);
    g_free(disk->top);
    g_free(disk->image);
    g_free(disk->path);
    g_free(disk->device);
    g_free(disk);
}

const char *power_disk_path(const struct power_disk *disk)
{
    return disk->path;
}

static int root_open(const struct power_disk *disk)
{
    int fd = open(disk->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    g_assert_cmpint(fd, >=, 0);
    return fd;
}

/* The directory has to be changed for there to be anything to write. */
void power_disk_log(const struct power_disk *disk)
{
    int fd = root_open(disk);
    g_assert_cmpint(fchmod(fd, 0750), ==, 0);
    g_assert_cmpint(fchmod(fd, 0755), ==, 0);
    g_assert_cmpint(fsync(fd), ==, 0);
    close(fd);
}

void power_disk_cut(const struct power_disk *disk)
{
    uint32_t how = NO_LOG_FLUSH;
    int fd = root_open(disk);
    g_assert_cmpint(ioctl(fd, SHUTDOWN, &how), ==, 0);
    close(fd);
}

/* What a process that was just killed had open may be given up a moment later. */
void power_disk_restart(struct power_disk *disk)
{
    int failed = -1;
    for (int i = 0; i < TRIES && failed != 0; i++) {
        failed = umount(disk->path);
        g_assert_true(failed == 0 || errno == EBUSY);
        if (failed != 0)
            g_usleep(AGAIN_US);
    }
    g_assert_cmpint(failed, ==, 0);
    g_assert_cmpint(mount(disk->device, disk->path, disk->kind, 0, NULL), ==, 0);
    boot_anew();
}
