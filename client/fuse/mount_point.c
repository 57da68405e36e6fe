#include "client/fuse/mount_point.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum {
    READ_AHEAD_KIB = 16384, /* the kernel works up to it; credits allow some more */
    /* Fields of a line of mountinfo. */
    FIELD_DEVICE = 2,
    FIELD_PLACE = 4,
    FIELDS_BEFORE_OPTIONAL = 6,
};

static char *failed(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);

static char *failed(GError **error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_FAILED, text);
    return NULL;
}

/* Type of the mount that the fields of a line describe: behind the lone "-". */
static const char *type_of(char **fields)
{
    for (size_t i = FIELDS_BEFORE_OPTIONAL; fields[i] != NULL; i++)
        if (strcmp(fields[i], "-") == 0)
            return fields[i + 1];
    return NULL;
}

gboolean ph_mount_point_find(const char *table, const char *path, unsigned *device_major,
                             unsigned *device_minor, char **type)
{
    gboolean found = FALSE;
    g_auto(GStrv) lines = g_strsplit(table, "\n", -1);
    for (size_t i = 0; lines[i] != NULL; i++) {
        g_auto(GStrv) fields = g_strsplit(lines[i], " ", -1);
        if (g_strv_length(fields) < FIELDS_BEFORE_OPTIONAL)
            continue;
        g_autofree char *place = g_strcompress(fields[FIELD_PLACE]); /* octal escapes */
        const char *its_type = type_of(fields);
        if (strcmp(place, path) != 0 || its_type == NULL ||
            sscanf(fields[FIELD_DEVICE], "%u:%u", device_major, device_minor) != 2)
            continue;
        g_free(*type);
        *type = g_strdup(its_type);
        found = TRUE; /* later lines lie above */
    }
    return found;
}

static gboolean find_now(const char *path, unsigned *device_major, unsigned *device_minor, char **type)
{
    g_autofree char *table = NULL;
    return g_file_get_contents("/proc/self/mountinfo", &table, NULL, NULL) &&
           ph_mount_point_find(table, path, device_major, device_minor, type);
}

static bool can_mount(bool root, GError **error)
{
    if (access("/dev/fuse", F_OK) != 0) {
        failed(error, "there is no /dev/fuse: load the kernel's fuse module ('modprobe fuse'), or let this "
                      "container use the device");
        return false;
    }
    if (access("/dev/fuse", R_OK | W_OK) != 0) {
        failed(error,
               "no permission for /dev/fuse: the administrator can give it with 'chmod 666 /dev/fuse'");
        return false;
    }
    g_autofree char *helper = root ? NULL : g_find_program_in_path("fusermount3");
    if (!root && helper == NULL) {
        failed(error,
               "fusermount3 is missing, which mounts for users other than root: install the package fuse3");
        return false;
    }
    return true;
}

char *ph_mount_point_check(const char *path, bool root, GError **error)
{
    struct stat stat_buf;
    g_autofree char *type = NULL;
    unsigned device_major, device_minor;
    char *resolved = realpath(path, NULL);
    if (resolved == NULL && errno == ENOTCONN)
        return failed(error, "%s holds a dead mount, its program is gone: run 'umount %s' first", path, path);
    if (resolved == NULL && errno == ENOENT)
        return failed(error, "mount point %s does not exist", path);
    if (resolved == NULL || stat(resolved, &stat_buf) != 0) {
        int reason = errno;
        free(resolved);
        if (reason == ENOTCONN)
            return failed(error, "%s holds a dead mount, its program is gone: run 'umount %s' first", path,
                          path);
        return failed(error, "mount point %s cannot be used: %s", path, g_strerror(reason));
    }
    g_autofree char *place = g_strdup(resolved);
    free(resolved);
    if (!S_ISDIR(stat_buf.st_mode))
        return failed(error, "mount point %s is not a directory", path);
    if (find_now(place, &device_major, &device_minor, &type) && g_str_has_prefix(type, "fuse.pohmelfs"))
        return failed(error, "%s is busy: a Pohmel mount is there already; run 'umount %s' first", path,
                      path);
    if (!can_mount(root, error))
        return NULL;
    return g_steal_pointer(&place);
}

dev_t ph_mount_point_device(const char *path)
{
    unsigned device_major, device_minor;
    g_autofree char *type = NULL;
    return find_now(path, &device_major, &device_minor, &type) ? makedev(device_major, device_minor) : 0;
}

void ph_mount_point_set_read_ahead(const char *path)
{
    dev_t device = ph_mount_point_device(path);
    g_autofree char *file =
        g_strdup_printf("/sys/class/bdi/%u:%u/read_ahead_kb", major(device), minor(device));
    FILE *out = fopen(file, "we");
    if (out == NULL)
        return;
    fprintf(out, "%d\n", READ_AHEAD_KIB);
    fclose(out);
}

bool ph_mount_point_unmount(const char *path, bool lazy)
{
    if (umount2(path, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) == 0)
        return true;
    if (errno != EPERM)
        return false;
    const char *argv[] = {"fusermount3",      "-u", "-q", lazy ? "-z" : "--", lazy ? "--" : path,
                          lazy ? path : NULL, NULL};
    int status = 0;
    return g_spawn_sync("/", (char **) argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, &status,
                        NULL) &&
           status == 0;
}
