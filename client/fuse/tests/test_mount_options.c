/* What the command line of pohmelfs means, and what is wrong with it. */
#include <glib.h>
#include <string.h>

#include "client/fuse/mount_options.h"
#include "client/fuse/mount_point.h"
#include "runtime/base/limits.h"

static gboolean parse(const char *line, gboolean root, struct ph_mount_options *out, GError **error)
{
    g_auto(GStrv) argv = g_strsplit(line, " ", -1);
    g_autofree char **borrowed =
        g_memdup2(argv, (g_strv_length(argv) + 1) * sizeof *argv); /* getopt permutes */
    return ph_mount_options_parse((int) g_strv_length(argv), borrowed, root, out, error);
}

struct mistake {
    const char *line, *words;
};

static const struct mistake mistakes[] = {
    {"pohmelfs", "what to mount is missing"},
    {"pohmelfs host:/x", "the mount point is missing"},
    {"pohmelfs host:/x /a /b", "'/b' is too much"},
    {"pohmelfs host /mnt", "'host' does not say what to mount"},
    {"pohmelfs :/x /mnt", "names no server"},
    {"pohmelfs unix:/run/socket /mnt", "does not say what to mount"},
    {"pohmelfs -o bogus host:/x /mnt", "unknown mount option 'bogus'"},
    {"pohmelfs -o ro,bogus=1,rw host:/x /mnt", "unknown mount option 'bogus=1'"},
    {"pohmelfs -o patience=long host:/x /mnt", "option patience: 'long' is not a number from 0 to 86400"},
    {"pohmelfs -o soft=long host:/x /mnt", "option soft: 'long' is not a number from 0 to 86400"},
    {"pohmelfs -o soft host:/x /mnt", "unknown mount option 'soft'"},
    {"pohmelfs -o hard=3 host:/x /mnt", "unknown mount option 'hard=3'"},
    {"pohmelfs -o patience=-1 host:/x /mnt", "is not a number"},
    {"pohmelfs -o mmap=always host:/x /mnt", "option mmap: 'always' is neither 'strict'"},
    {"pohmelfs -o mmap host:/x /mnt", "unknown mount option 'mmap'"},
    {"pohmelfs -o port=0 host:/x /mnt", "option port: '0' is not a number from 1 to 65535"},
    {"pohmelfs -o port=65536 host:/x /mnt", "is not a number from 1 to 65535"},
    {"pohmelfs host:/x /mnt -o", "option -o needs an argument"},
    {"pohmelfs --bogus host:/x /mnt", "unknown option '--bogus'"},
    {"pohmelfs -q host:/x /mnt", "unknown option"},
    {"pohmelfs host:99999:/x /mnt", "99999"},
    {"pohmelfs [::1:/x /mnt", "[::1"},
};

static void test_mistakes(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(mistakes); i++) {
        struct ph_mount_options options;
        g_autoptr(GError) error = NULL;
        g_test_message("%s", mistakes[i].line);
        g_assert_false(parse(mistakes[i].line, TRUE, &options, &error));
        g_assert_nonnull(error);
        if (strstr(error->message, mistakes[i].words) == NULL)
            g_error("'%s' was answered '%s', without '%s'", mistakes[i].line, error->message,
                    mistakes[i].words);
        g_assert_null(strchr(error->message, '\n'));
    }
}

struct form {
    const char *spec, *host, *path;
    guint16 port;
    const char *export_name;
};

static const struct form forms[] = {
    {"nas:/home", "nas", NULL, PH_DEFAULT_PORT, "home"},
    {"nas:/", "nas", NULL, PH_DEFAULT_PORT, ""},
    {"10.0.0.7:2049:/a b", "10.0.0.7", NULL, 2049, "a b"},
    {"[::1]:/x", "::1", NULL, PH_DEFAULT_PORT, "x"},
    {"[fe80::2]:7:/x", "fe80::2", NULL, 7, "x"},
    {"unix:/run/pohmel.sock:/x", NULL, "/run/pohmel.sock", 0, "x"},
    {"unix:/run/pohmel.sock:/", NULL, "/run/pohmel.sock", 0, ""},
};

static void test_forms(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(forms); i++) {
        struct ph_address address = {0};
        g_autofree char *export_name = NULL;
        g_autoptr(GError) error = NULL;
        g_test_message("%s", forms[i].spec);
        g_assert_true(ph_mount_spec_parse(forms[i].spec, PH_DEFAULT_PORT, &address, &export_name, &error));
        g_assert_cmpstr(address.host, ==, forms[i].host);
        g_assert_cmpstr(address.path, ==, forms[i].path);
        if (forms[i].path == NULL)
            g_assert_cmpuint(address.port, ==, forms[i].port);
        g_assert_cmpstr(export_name, ==, forms[i].export_name);
        ph_address_clear(&address);
    }
}

static void test_fstab(void)
{
    struct ph_mount_options options;
    g_autoptr(GError) error = NULL;
    g_assert_true(
        parse("mount.fuse.pohmelfs nas:/home /mnt -o "
              "rw,noatime,_netdev,nofail,x-systemd.automount,user=joe,comment=a,patience=7,port=99 -n -v",
              TRUE, &options, &error));
    g_assert_cmpint(options.action, ==, PH_DO_MOUNT);
    g_assert_cmpstr(options.kernel, ==, "suid,dev,noatime,allow_other,subtype=pohmelfs,fsname=nas:/home");
    g_assert_cmpuint(options.patience_s, ==, 7);
    g_assert_cmpuint(options.address.port, ==, 99);
    g_assert_false(options.read_only);
    ph_mount_options_clear(&options);

    g_assert_true(parse("mount.fuse.pohmelfs nas:/home /mnt -s -f -o ro,unheard", TRUE, &options, &error));
    g_assert_cmpint(options.action, ==, PH_DO_NOTHING);
    g_assert_true(options.read_only);
    ph_mount_options_clear(&options);
}

static void test_ordinary_user(void)
{
    struct ph_mount_options options;
    g_autoptr(GError) error = NULL;
    g_assert_true(parse("pohmelfs -f nas:/a,b\\c /mnt", FALSE, &options, &error));
    g_assert_true(options.foreground);
    g_assert_cmpuint(options.patience_s, ==, PH_LINK_PATIENCE_FOREVER);
    g_assert_cmpstr(options.kernel, ==, "nosuid,nodev,subtype=pohmelfs,fsname=nas:/a\\,b\\\\c");
    ph_mount_options_clear(&options);
    g_assert_true(parse("pohmelfs -o noallow_other,ro,rw nas:/x /mnt", TRUE, &options, &error));
    g_assert_null(strstr(options.kernel, "allow_other"));
    g_assert_true(options.keep);
    g_assert_false(options.read_only);
    ph_mount_options_clear(&options);
    g_assert_true(parse("pohmelfs -o nokeep nas:/x /mnt", TRUE, &options, &error));
    g_assert_false(options.keep);
    ph_mount_options_clear(&options);
}

static void test_mount_table(void)
{
    static const char table[] = "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
                                "40 22 0:41 / /mnt/with\\040space rw - fuse.pohmelfs nas:/x rw,user_id=0\n"
                                "41 22 0:42 / /mnt/a rw master:1 propagate_from:2 - tmpfs tmpfs rw\n"
                                "42 41 0:43 / /mnt/a rw - fuse.pohmelfs nas:/y rw\n"
                                "broken line\n";
    unsigned device_major = 0, device_minor = 0;
    g_autofree char *type = NULL;
    g_assert_true(ph_mount_point_find(table, "/mnt/with space", &device_major, &device_minor, &type));
    g_assert_cmpuint(device_minor, ==, 41);
    g_assert_cmpstr(type, ==, "fuse.pohmelfs");
    g_assert_true(ph_mount_point_find(table, "/mnt/a", &device_major, &device_minor, &type));
    g_assert_cmpuint(device_minor, ==, 43);
    g_assert_true(ph_mount_point_find(table, "/", &device_major, &device_minor, &type));
    g_assert_cmpuint(device_major, ==, 254);
    g_assert_cmpstr(type, ==, "ext4");
    g_assert_false(ph_mount_point_find(table, "/mnt", &device_major, &device_minor, &type));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/mount-options/a mistake is named in one line", test_mistakes);
    g_test_add_func("/mount-options/every form of a server's address is understood", test_forms);
    g_test_add_func("/mount-options/what mount and fstab pass is understood", test_fstab);
    g_test_add_func("/mount-options/an ordinary user mounts for himself", test_ordinary_user);
    g_test_add_func("/mount-options/the topmost mount is found", test_mount_table);
    return g_test_run();
}
