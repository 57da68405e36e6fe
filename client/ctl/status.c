/* pohmelctl status: how mounts are doing. */
#include <stdio.h>
#include <unistd.h>

#include "client/ctl/call.h"
#include "client/ctl/commands.h"
#include "client/ctl/mounts.h"

static gboolean
print_status(const char *path, const char *heading, GError **error)
{
    int fd = ph_call_open(path, error);
    if (fd < 0)
        return FALSE;
    g_autofree struct ph_ioc_status *control = g_new0(struct ph_ioc_status, 1);
    gboolean done = ph_call_is_pohmel(fd, path, error) && ph_call_status(fd, path, control, error);
    close(fd);
    if (!done)
        return FALSE;
    if (heading)
        printf("mount: %s\n", heading);
    printf("daemon: %d\n", control->pid);
    fwrite(control->text, 1, control->length, stdout);
    return TRUE;
}

static int
all_mounts(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) mounts = ph_mounts_read(&error);
    if (!mounts)
        return ctl_complain("%s", error->message);
    int code = CTL_OK;
    guint count = 0;
    for (guint i = 0; i < mounts->len; i++) {
        const struct ph_mount_entry *mount = mounts->pdata[i];
        if (!ph_mount_is_pohmel(mount))
            continue;
        if (count++)
            putchar('\n');
        g_autofree char *heading = g_strdup_printf("%s on %s", mount->source, mount->path);
        g_autoptr(GError) trouble = NULL;
        if (!print_status(mount->path, heading, &trouble))
            code = ctl_complain("%s", trouble->message);
    }
    if (count == 0)
        puts("nothing is mounted");
    return code;
}

int
ctl_status(int argc, char **argv)
{
    if (getopt(argc, argv, "+") != -1)
        return ctl_usage("status");
    if (optind == argc)
        return all_mounts();
    int code = CTL_OK;
    for (int i = optind; i < argc; i++) {
        g_autoptr(GError) error = NULL;
        if (!print_status(argv[i], argc - optind > 1 ? argv[i] : NULL, &error))
            code = ctl_complain("%s", error->message);
    }
    return code;
}
